/* SPDX-License-Identifier: MIT */
#include "monitor/history-schema.h"

/* clang-format off */
const char history_schema[] =
    "CREATE TABLE reading (id INTEGER PRIMARY KEY, end_ns INTEGER NOT NULL, interval_ns INTEGER NOT NULL);"
    "CREATE INDEX reading_end ON reading (end_ns);"
    "CREATE TABLE host (reading INTEGER PRIMARY KEY REFERENCES reading ON DELETE CASCADE, processors INTEGER NOT NULL,"
    " busy_ns INTEGER NOT NULL, steal_ns INTEGER NOT NULL, memory_bytes INTEGER NOT NULL,"
    " available_bytes INTEGER NOT NULL);"
    "CREATE TABLE guest (id INTEGER PRIMARY KEY, name TEXT NOT NULL, started_ns INTEGER NOT NULL,"
    " vcpus INTEGER NOT NULL, memory_bytes INTEGER NOT NULL, UNIQUE (name, started_ns));"
    "CREATE TABLE disk (guest INTEGER NOT NULL REFERENCES guest ON DELETE CASCADE, disk INTEGER NOT NULL,"
    " name TEXT NOT NULL, PRIMARY KEY (guest, disk)) WITHOUT ROWID;"
    "CREATE TABLE network (guest INTEGER NOT NULL REFERENCES guest ON DELETE CASCADE, network INTEGER NOT NULL,"
    " kind TEXT NOT NULL, mac TEXT NOT NULL, PRIMARY KEY (guest, network)) WITHOUT ROWID;"
    "CREATE TABLE vcpu_sample (reading INTEGER NOT NULL REFERENCES reading ON DELETE CASCADE,"
    " guest INTEGER NOT NULL REFERENCES guest, vcpu INTEGER NOT NULL, interval_ns INTEGER NOT NULL,"
    " guest_ns INTEGER NOT NULL, exit_ns INTEGER NOT NULL, translate_ns INTEGER NOT NULL, device_ns INTEGER NOT NULL,"
    " idle_ns INTEGER NOT NULL, ready_ns INTEGER NOT NULL, costop_ns INTEGER NOT NULL, limited_ns INTEGER NOT NULL,"
    " paging_ns INTEGER NOT NULL, paused_ns INTEGER NOT NULL, preempted_ns INTEGER NOT NULL,"
    " blocked_ns INTEGER NOT NULL, exits INTEGER NOT NULL, interrupts INTEGER NOT NULL, exceptions INTEGER NOT NULL,"
    " page_faults INTEGER NOT NULL, halts INTEGER NOT NULL, device_accesses INTEGER NOT NULL,"
    " PRIMARY KEY (reading, guest, vcpu)) WITHOUT ROWID;"
    "CREATE TABLE guest_sample (reading INTEGER NOT NULL REFERENCES reading ON DELETE CASCADE,"
    " guest INTEGER NOT NULL REFERENCES guest, interval_ns INTEGER NOT NULL, system_ns INTEGER NOT NULL,"
    " resident_bytes INTEGER NOT NULL, overhead_bytes INTEGER NOT NULL, PRIMARY KEY (reading, guest)) WITHOUT ROWID;"
    "CREATE INDEX guest_sample_guest ON guest_sample (guest);"
    "CREATE TABLE disk_sample (reading INTEGER NOT NULL REFERENCES reading ON DELETE CASCADE,"
    " guest INTEGER NOT NULL REFERENCES guest, disk INTEGER NOT NULL, reads INTEGER NOT NULL,"
    " read_bytes INTEGER NOT NULL, read_ns INTEGER NOT NULL, writes INTEGER NOT NULL, write_bytes INTEGER NOT NULL,"
    " write_ns INTEGER NOT NULL, flushes INTEGER NOT NULL, flush_ns INTEGER NOT NULL, failed INTEGER NOT NULL,"
    " PRIMARY KEY (reading, guest, disk)) WITHOUT ROWID;"
    "CREATE TABLE network_sample (reading INTEGER NOT NULL REFERENCES reading ON DELETE CASCADE,"
    " guest INTEGER NOT NULL REFERENCES guest, network INTEGER NOT NULL, received_frames INTEGER NOT NULL,"
    " received_bytes INTEGER NOT NULL, receive_drops INTEGER NOT NULL, sent_frames INTEGER NOT NULL,"
    " sent_bytes INTEGER NOT NULL, send_drops INTEGER NOT NULL, PRIMARY KEY (reading, guest, network)) WITHOUT ROWID;"
    "CREATE TABLE delay_sample (reading INTEGER NOT NULL REFERENCES reading ON DELETE CASCADE,"
    " guest INTEGER NOT NULL REFERENCES guest, delay TEXT NOT NULL, count INTEGER NOT NULL, total_ns INTEGER NOT NULL,"
    " PRIMARY KEY (reading, guest, delay)) WITHOUT ROWID;"
    /* Percent of one processor: of each virtual processor over its own interval, then summed. */
    "CREATE VIEW guest_rate AS SELECT r.id AS reading, r.end_ns AS end_ns, g.id AS guest, g.name AS name,"
    " v.run + 100.0 * s.system_ns / s.interval_ns AS used, v.run AS run,"
    " 100.0 * s.system_ns / s.interval_ns AS system, v.ready AS ready, v.costop AS costop,"
    " v.max_limited AS max_limited, v.wait AS wait, v.idle AS idle, v.swap_wait AS swap_wait,"
    " s.resident_bytes AS resident_bytes, s.overhead_bytes AS overhead_bytes"
    " FROM guest_sample s JOIN reading r ON r.id = s.reading JOIN guest g ON g.id = s.guest JOIN"
    " (SELECT reading, guest, sum(100.0 * (guest_ns + exit_ns + translate_ns + device_ns) / interval_ns) AS run,"
    " sum(100.0 * (ready_ns + limited_ns + preempted_ns) / interval_ns) AS ready,"
    " sum(100.0 * costop_ns / interval_ns) AS costop, sum(100.0 * limited_ns / interval_ns) AS max_limited,"
    " sum(100.0 * (idle_ns + paging_ns + paused_ns + blocked_ns) / interval_ns) AS wait,"
    " sum(100.0 * idle_ns / interval_ns) AS idle, sum(100.0 * paging_ns / interval_ns) AS swap_wait"
    " FROM vcpu_sample GROUP BY reading, guest) v ON v.reading = s.reading AND v.guest = s.guest;";

const char *const history_sql[STATEMENT_COUNT] = {
    [INSERT_READING] = "INSERT INTO reading (end_ns, interval_ns) VALUES (?, ?)",
    [INSERT_HOST] = "INSERT INTO host VALUES (?, ?, ?, ?, ?, ?)",
    [INSERT_GUEST] = "INSERT OR IGNORE INTO guest (name, started_ns, vcpus, memory_bytes) VALUES (?, ?, ?, ?)",
    [FIND_GUEST] = "SELECT id FROM guest WHERE name = ? AND started_ns = ?",
    [INSERT_DISK] = "INSERT OR IGNORE INTO disk VALUES (?, ?, ?)",
    [INSERT_NETWORK] = "INSERT OR IGNORE INTO network VALUES (?, ?, ?, ?)",
    [INSERT_VCPU_SAMPLE] =
	"INSERT INTO vcpu_sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [INSERT_GUEST_SAMPLE] = "INSERT INTO guest_sample VALUES (?, ?, ?, ?, ?, ?)",
    [INSERT_DISK_SAMPLE] = "INSERT INTO disk_sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [INSERT_NETWORK_SAMPLE] = "INSERT INTO network_sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [INSERT_DELAY_SAMPLE] = "INSERT INTO delay_sample VALUES (?, ?, ?, ?, ?)",
    [DROP_READINGS] = "DELETE FROM reading WHERE end_ns < ?",
    [DROP_GUESTS] = "DELETE FROM guest WHERE NOT EXISTS (SELECT 1 FROM guest_sample WHERE guest = guest.id)",
};
/* clang-format on */

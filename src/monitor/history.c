/* SPDX-License-Identifier: MIT */
#include "monitor/history.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "monitor/history-schema.h"
#include "monitor/terms.h"

#define BUSY_MS 5000

struct history {
	sqlite3 *database;
	sqlite3_stmt *statement[STATEMENT_COUNT];
};

/* ---- errors ---- */

static bool fail(const struct history *history, const char *what, struct error *error)
{
	int code = history->database != NULL ? sqlite3_extended_errcode(history->database) : SQLITE_NOMEM;
	const char *why = history->database != NULL ? sqlite3_errmsg(history->database) : "out of memory";
	if ((code & 0xff) == SQLITE_NOTADB)
		return error_set(error, ERROR_INPUT, "%s: this file is no SQLite database: give another name", what);
	return error_set(error, ERROR_HOST, "%s: %s", what, why);
}

static bool execute(const struct history *history, const char *sql)
{
	return sqlite3_exec(history->database, sql, NULL, NULL, NULL) == SQLITE_OK;
}

/* Binds integers to the statement's parameters from `first` on, `count` of them, and runs it. */
static bool run(struct history *history, enum history_statement which, int first, const sqlite3_int64 *values,
		int count)
{
	sqlite3_stmt *statement = history->statement[which];
	bool good = true;
	for (int i = 0; good && i < count; i++)
		good = sqlite3_bind_int64(statement, first + i, values[i]) == SQLITE_OK;
	int result = good ? sqlite3_step(statement) : SQLITE_ERROR;
	return (sqlite3_reset(statement) == SQLITE_OK && result == SQLITE_DONE) && good;
}

#define RUN(history, which, ...)                                                                                       \
	run(history, which, 1, (const sqlite3_int64[]){__VA_ARGS__},                                                   \
	    (int)(sizeof((const sqlite3_int64[]){__VA_ARGS__}) / sizeof(sqlite3_int64)))

static bool bind_text(struct history *history, enum history_statement which, int at, const char *text)
{
	return sqlite3_bind_text(history->statement[which], at, text, -1, SQLITE_STATIC) == SQLITE_OK;
}

/* ---- opening ---- */

static bool pragma_read(const struct history *history, const char *sql, sqlite3_int64 *value)
{
	sqlite3_stmt *statement = NULL;
	bool good = sqlite3_prepare_v2(history->database, sql, -1, &statement, NULL) == SQLITE_OK &&
		    sqlite3_step(statement) == SQLITE_ROW;
	if (good)
		*value = sqlite3_column_int64(statement, 0);
	(void)sqlite3_finalize(statement);
	return good;
}

static bool create_tables(const struct history *history)
{
	char head[96];
	(void)snprintf(head, sizeof head, "PRAGMA application_id = %d; PRAGMA user_version = %d;", HISTORY_APPLICATION,
		       HISTORY_VERSION);
	return execute(history, head) && execute(history, history_schema);
}

/* Within a transaction, so that two that begin at once do not both make the tables. */
static bool check_tables(const struct history *history, const char *path, struct error *error)
{
	sqlite3_int64 application = 0, version = 0, tables = 0;
	if (!pragma_read(history, "PRAGMA application_id", &application) ||
	    !pragma_read(history, "PRAGMA user_version", &version) ||
	    !pragma_read(history, "SELECT count(*) FROM sqlite_master", &tables))
		return fail(history, path, error);
	if (tables == 0 && application == 0)
		return create_tables(history) || fail(history, path, error);
	if (application != HISTORY_APPLICATION)
		return error_set(error, ERROR_INPUT, "%s: a database, but no history of nfold: give another name",
				 path);
	if (version != HISTORY_VERSION)
		return error_set(error, ERROR_INPUT,
				 "%s: a history of version %lld, and this program writes version %d: give another name",
				 path, (long long)version, HISTORY_VERSION);
	return true;
}

static bool prepare(struct history *history, const char *path, struct error *error)
{
	for (unsigned i = 0; i < STATEMENT_COUNT; i++)
		if (sqlite3_prepare_v3(history->database, history_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &history->statement[i], NULL) != SQLITE_OK)
			return fail(history, path, error);
	return true;
}

static bool open_database(struct history *history, const char *path, struct error *error)
{
	if (sqlite3_open_v2(path, &history->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
		return fail(history, path, error);
	(void)sqlite3_extended_result_codes(history->database, 1);
	(void)sqlite3_busy_timeout(history->database, BUSY_MS);
	if (!execute(history, "PRAGMA foreign_keys = ON") || !execute(history, "BEGIN IMMEDIATE"))
		return fail(history, path, error);
	if (check_tables(history, path, error))
		return execute(history, "COMMIT") || fail(history, path, error);
	(void)execute(history, "ROLLBACK");
	return false;
}

struct history *history_open(const char *path, struct error *error)
{
	struct history *history = calloc(1, sizeof *history);
	if (history == NULL) {
		error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	if (open_database(history, path, error) && prepare(history, path, error))
		return history;
	history_close(history);
	return NULL;
}

void history_close(struct history *history)
{
	if (history == NULL)
		return;
	for (unsigned i = 0; i < STATEMENT_COUNT; i++)
		(void)sqlite3_finalize(history->statement[i]);
	(void)sqlite3_close(history->database);
	free(history);
}

/* ---- writing ---- */

static sqlite3_int64 of(uint64_t value)
{
	return value <= INT64_MAX ? (sqlite3_int64)value : INT64_MAX;
}

/* The row of this start of the guest, made when it is seen first. 0: failed. */
static sqlite3_int64 guest_row(struct history *history, const struct monitor_guest *guest)
{
	sqlite3_stmt *find = history->statement[FIND_GUEST];
	const sqlite3_int64 values[] = {of(guest->started_ns), guest->vcpu_count, of(guest->memory_bytes)};
	sqlite3_int64 id = 0;
	if (!bind_text(history, INSERT_GUEST, 1, guest->name) || !run(history, INSERT_GUEST, 2, values, 3) ||
	    !bind_text(history, FIND_GUEST, 1, guest->name) ||
	    sqlite3_bind_int64(find, 2, of(guest->started_ns)) != SQLITE_OK)
		return 0;
	if (sqlite3_step(find) == SQLITE_ROW)
		id = sqlite3_column_int64(find, 0);
	(void)sqlite3_reset(find);
	return id;
}

static bool write_names(struct history *history, sqlite3_int64 id, const struct monitor_guest *guest)
{
	for (unsigned i = 0; i < guest->disk_count; i++)
		if (!bind_text(history, INSERT_DISK, 3, guest->disk[i]) || !RUN(history, INSERT_DISK, id, i))
			return false;
	for (unsigned i = 0; i < guest->network_count; i++)
		if (!bind_text(history, INSERT_NETWORK, 3, guest->network[i].kind) ||
		    !bind_text(history, INSERT_NETWORK, 4, guest->network[i].mac) ||
		    !RUN(history, INSERT_NETWORK, id, i))
			return false;
	return true;
}

static bool write_vcpu(struct history *history, sqlite3_int64 reading, sqlite3_int64 id, unsigned vcpu,
		       const struct ledger_reading *gain)
{
	sqlite3_int64 values[4 + LEDGER_STATE_COUNT + 6] = {reading, id, vcpu, of(gain->wall_ns)};
	const uint64_t *count = gain->count;
	int used = 4;
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
		values[used++] = of(gain->state_ns[i]);
	values[used++] = of(count[LEDGER_COUNT_EXIT_DISPATCH] + count[LEDGER_COUNT_EXIT_EVENT]);
	values[used++] = of(count[LEDGER_COUNT_INTERRUPT]);
	values[used++] = of(count[LEDGER_COUNT_EXCEPTION]);
	values[used++] = of(count[LEDGER_COUNT_PAGE_FAULT]);
	values[used++] = of(count[LEDGER_COUNT_HALT]);
	values[used++] = of(count[LEDGER_COUNT_PORT_READ] + count[LEDGER_COUNT_PORT_WRITE] +
			    count[LEDGER_COUNT_MMIO_READ] + count[LEDGER_COUNT_MMIO_WRITE]);
	return run(history, INSERT_VCPU_SAMPLE, 1, values, used);
}

static bool write_devices(struct history *history, sqlite3_int64 reading, sqlite3_int64 id,
			  const struct monitor_guest *guest)
{
	for (unsigned i = 0; i < guest->disk_count; i++) {
		struct ledger_disk_line reads = disk_sum(&guest->gain.disk[i], DISK_READS);
		struct ledger_disk_line writes = disk_sum(&guest->gain.disk[i], DISK_WRITES);
		struct ledger_disk_line flushes = disk_sum(&guest->gain.disk[i], DISK_FLUSHES);
		if (!RUN(history, INSERT_DISK_SAMPLE, reading, id, i, of(reads.count), of(reads.bytes), of(reads.ns),
			 of(writes.count), of(writes.bytes), of(writes.ns), of(flushes.count), of(flushes.ns),
			 of(reads.failed + writes.failed + flushes.failed)))
			return false;
	}
	for (unsigned i = 0; i < guest->network_count; i++) {
		const uint64_t *count = guest->gain.network[i];
		if (!RUN(history, INSERT_NETWORK_SAMPLE, reading, id, i, of(count[LEDGER_NETWORK_RECEIVED_FRAMES]),
			 of(count[LEDGER_NETWORK_RECEIVED_BYTES]), of(count[LEDGER_NETWORK_RECEIVE_DROPS]),
			 of(count[LEDGER_NETWORK_SENT_FRAMES]), of(count[LEDGER_NETWORK_SENT_BYTES]),
			 of(count[LEDGER_NETWORK_SEND_DROPS])))
			return false;
	}
	return true;
}

static bool write_delays(struct history *history, sqlite3_int64 reading, sqlite3_int64 id,
			 const struct monitor_guest *guest)
{
	for (unsigned i = 0; i < LEDGER_DELAY_COUNT; i++) {
		uint64_t count = 0, ns = 0;
		for (unsigned k = 0; k < guest->vcpu_count; k++) {
			count += guest->gain.vcpu[k].delay[i].count;
			ns += guest->gain.vcpu[k].delay[i].ns;
		}
		const sqlite3_int64 counts[] = {of(count), of(ns)};
		sqlite3_stmt *statement = history->statement[INSERT_DELAY_SAMPLE];
		if (sqlite3_bind_int64(statement, 1, reading) != SQLITE_OK ||
		    sqlite3_bind_int64(statement, 2, id) != SQLITE_OK ||
		    !bind_text(history, INSERT_DELAY_SAMPLE, 3, ledger_delay_key[i]) ||
		    !run(history, INSERT_DELAY_SAMPLE, 4, counts, 2))
			return false;
	}
	return true;
}

static bool write_guest(struct history *history, sqlite3_int64 reading, const struct monitor_guest *guest)
{
	if (!guest->known || guest->gain.vcpu[0].wall_ns == 0)
		return true;
	sqlite3_int64 id = guest_row(history, guest);
	if (id == 0 || !write_names(history, id, guest))
		return false;
	for (unsigned i = 0; i < guest->vcpu_count; i++)
		if (!write_vcpu(history, reading, id, i, &guest->gain.vcpu[i]))
			return false;
	return RUN(history, INSERT_GUEST_SAMPLE, reading, id, of(guest->gain.vcpu[0].wall_ns),
		   of(guest->gain.system_ns), of(guest->resident_bytes), of(guest->overhead_bytes)) &&
	       write_devices(history, reading, id, guest) && write_delays(history, reading, id, guest);
}

static bool write_all(struct history *history, const struct monitor *monitor, uint64_t keep_ns)
{
	const struct monitor_host *host = monitor_host(monitor);
	uint64_t now = monitor_realtime_ns(monitor);
	if (!execute(history, "BEGIN IMMEDIATE") ||
	    !RUN(history, INSERT_READING, of(now), of(monitor_interval_ns(monitor))))
		return false;
	sqlite3_int64 reading = sqlite3_last_insert_rowid(history->database);
	if (!RUN(history, INSERT_HOST, reading, host->processors, of(host->gain_busy_ns), of(host->gain_steal_ns),
		 of(host->memory_bytes), of(host->available_bytes)))
		return false;
	for (unsigned i = 0; i < monitor_guest_count(monitor); i++)
		if (!write_guest(history, reading, monitor_guest(monitor, i)))
			return false;
	if (!RUN(history, DROP_READINGS, of(now > keep_ns ? now - keep_ns : 0)))
		return false;
	if (sqlite3_changes(history->database) > 0 && !run(history, DROP_GUESTS, 1, NULL, 0))
		return false;
	return execute(history, "COMMIT");
}

static enum history_result result_of(int code)
{
	switch (code & 0xff) {
	case SQLITE_FULL:
	case SQLITE_IOERR: /* what a file system that is full, or a quota, may say too */
		return HISTORY_FULL;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return HISTORY_BUSY;
	default:
		return HISTORY_FAILED;
	}
}

enum history_result history_write(struct history *history, const struct monitor *monitor, uint64_t keep_ns,
				  struct error *error)
{
	if (write_all(history, monitor, keep_ns))
		return HISTORY_DONE;
	enum history_result result = result_of(sqlite3_extended_errcode(history->database));
	(void)fail(history, "the history", error);
	if (sqlite3_get_autocommit(history->database) == 0)
		(void)execute(history, "ROLLBACK");
	return result;
}

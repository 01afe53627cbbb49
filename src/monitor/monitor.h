/* SPDX-License-Identifier: MIT */
/*
 * The ledgers of all running guests of the user, read again and again.
 *
 * Theory of operation. Guests are found in the runtime directory (control/runtime.h), whoever started them. Of each the
 * ledger is mapped once (guest.ledger); a reading is then a copy out of shared memory. Before it, every guest is asked
 * at the same time to settle its clocks (guest.settle), and those that do not answer within MONITOR_ANSWER_MS are read
 * as they stand: `settled` says so, and nobody waits for them again until they have answered. So one stuck guest holds
 * up no other. What comes out of a ledger is another process's word: counts are bounded here, names are made printable.
 *
 * Each guest has its totals as of the last reading, and `gain`: what happened in between. Of a guest that began
 * meanwhile that is all of it; of one that ran before the monitor's first reading there is none after one reading
 * (gain.known).
 */
#ifndef NFOLD_MONITOR_MONITOR_H
#define NFOLD_MONITOR_MONITOR_H

#include <sys/types.h>

#include "control/runtime.h"
#include "ledger/ledger.h"

#define MONITOR_TEXT_MAX 256
#define MONITOR_ANSWER_MS 300

/* Sums that only grow, or what they grew by. */
struct monitor_totals {
	uint64_t system_ns; /* processor time of the guest's process outside its vCPUs */
	struct ledger_reading vcpu[LEDGER_MAX_VCPUS];
	uint64_t network[LEDGER_MAX_NETWORKS][LEDGER_NETWORK_COUNTER_COUNT];
	struct ledger_disk disk[LEDGER_MAX_DISKS];
	struct ledger_ticks ticks[LEDGER_TIMER_COUNT];
};

struct monitor_network {
	char kind[16], mac[18];
};

struct monitor_guest {
	char name[NAME_LENGTH_MAX + 1];
	pid_t pid;
	uint64_t started_ns; /* CLOCK_REALTIME when its ledger was opened */
	uint64_t memory_bytes, resident_bytes, overhead_bytes;
	unsigned vcpu_count, disk_count, network_count;
	char disk[LEDGER_MAX_DISKS][MONITOR_TEXT_MAX];
	struct monitor_network network[LEDGER_MAX_NETWORKS];
	const struct ledger *ledger; /* for its scale; NULL: it has never answered */
	bool settled;		     /* it answered this time */
	bool paused;
	bool known; /* `gain` is of an interval */
	struct monitor_totals now, gain;
};

/* The machine below; from /proc. */
struct monitor_host {
	char name[65];
	unsigned processors;
	uint64_t busy_ns, steal_ns; /* of all processors together, since boot */
	uint64_t memory_bytes, available_bytes;
	uint64_t gain_busy_ns, gain_steal_ns;
};

struct monitor;

struct monitor *monitor_create(struct error *error);
void monitor_destroy(struct monitor *monitor);

/* Takes a reading of all guests that run now. */
bool monitor_read(struct monitor *monitor, struct error *error);

/* As of the last reading, in the order of their names. Valid until the next. */
unsigned monitor_guest_count(const struct monitor *monitor);
const struct monitor_guest *monitor_guest(const struct monitor *monitor, unsigned index);
const struct monitor_host *monitor_host(const struct monitor *monitor);

/* CLOCK_REALTIME of the last reading, and the time since the one before by a clock that nobody sets (0: the first). */
uint64_t monitor_realtime_ns(const struct monitor *monitor);
uint64_t monitor_interval_ns(const struct monitor *monitor);

/* What the totals grew by. No clock's gain is negative, and each vCPU's sum to its wall time's. */
void monitor_subtract(const struct monitor_totals *now, const struct monitor_totals *before,
		      struct monitor_totals *gain);

#endif

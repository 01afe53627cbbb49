/* SPDX-License-Identifier: MIT */
/*
 * What esxtop's terms mean in the ledger's clocks, and the rates of disks and networks. docs/ledger.md has the same
 * table for its readers.
 */
#ifndef NFOLD_MONITOR_TERMS_H
#define NFOLD_MONITOR_TERMS_H

#include "monitor/monitor.h"

#define STATE(name) (1u << LEDGER_##name)
#define TERM_SYSTEM (1u << LEDGER_STATE_COUNT) /* the guest's processor time outside its vCPUs */
#define TERM_RUN_STATES (STATE(GUEST) | STATE(EXIT) | STATE(TRANSLATE) | STATE(DEVICE))

/*
 * X(name, column, counter, clocks, text): `column` as nfold top heads it, `counter` as the CSV names it, and the clocks
 * that it is the sum of. RUN + RDY + CSTP + WAIT is all of a vCPU's time.
 */
#define MONITOR_TERMS(X)                                                                                               \
	X(USED, "%USED", "% Used", TERM_RUN_STATES | TERM_SYSTEM, "on a processor, for all that it does")              \
	X(RUN, "%RUN", "% Run", TERM_RUN_STATES, "of it: the virtual processors")                                      \
	X(SYS, "%SYS", "% System", TERM_SYSTEM, "of it: the event loop, disk and network threads")                     \
	X(WAIT, "%WAIT", "% Wait", STATE(IDLE) | STATE(PAGING) | STATE(PAUSED) | STATE(BLOCKED),                       \
	  "wanted no processor: idle included")                                                                        \
	X(RDY, "%RDY", "% Ready", STATE(READY) | STATE(LIMITED) | STATE(PREEMPTED), "wanted one and had none")         \
	X(CSTP, "%CSTP", "% CoStop", STATE(COSTOP), "held back for its siblings")                                      \
	X(MLMTD, "%MLMTD", "% Max Limited", STATE(LIMITED), "of %RDY: held back by its limit")                         \
	X(IDLE, "%IDLE", "% Idle", STATE(IDLE), "of %WAIT: halted")                                                    \
	X(SWPWT, "%SWPWT", "% Swap Wait", STATE(PAGING), "of %WAIT: for swapped memory")                               \
	X(EXIT, "%EXIT", "% Exit", STATE(EXIT), "of %RUN: engine and system code for the guest")                       \
	X(TRANS, "%TRANS", "% Translate", STATE(TRANSLATE), "of %RUN: translating")                                    \
	X(DEV, "%DEV", "% Device", STATE(DEVICE), "of %RUN: device models")                                            \
	X(PRMPT, "%PRMPT", "% Preempted", STATE(PREEMPTED), "of %RDY: Linux ran something else")

enum monitor_term {
#define X(name, column, counter, clocks, text) TERM_##name,
	MONITOR_TERMS(X)
#undef X
	    TERM_COUNT
};

struct monitor_term_row {
	const char *column, *counter;
	uint32_t clocks;
	const char *text;
};

extern const struct monitor_term_row monitor_term[TERM_COUNT];

/* Percent of one processor, over the gain's own interval. Of a vCPU, %SYS is 0: that time is the guest's. */
double term_of_vcpu(const struct ledger_reading *gain, enum monitor_term term);
double term_of_guest(const struct monitor_guest *guest, enum monitor_term term);

/* A guest's interval: that of its gain. At least 1 ns, so that it divides. */
double gain_seconds(const struct monitor_guest *guest);

/* What a disk did: reads, or writes together with discards and writes of zeros. */
struct disk_rate {
	double operations, bytes; /* for each second */
	double response_ms;	  /* of one, on average; 0 without any */
};
struct disk_rate disk_rate(const struct monitor_guest *guest, unsigned disk, uint32_t operations);
#define DISK_READS (1u << LEDGER_DISK_READ)
#define DISK_WRITES (1u << LEDGER_DISK_WRITE | 1u << LEDGER_DISK_DISCARD | 1u << LEDGER_DISK_ZERO)
#define DISK_FLUSHES (1u << LEDGER_DISK_FLUSH)
#define DISK_ALL (DISK_READS | DISK_WRITES | DISK_FLUSHES)

/* The sum of the lines that `operations` names, of a gain or a total. */
struct ledger_disk_line disk_sum(const struct ledger_disk *disk, uint32_t operations);

/* Per second. */
double network_rate(const struct monitor_guest *guest, unsigned network, enum ledger_network_counter counter);

#endif

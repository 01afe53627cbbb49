/* SPDX-License-Identifier: MIT */
#include "cli/advice.h"

/* Percent from which on something is worth a person's time. */
#define HELD_BACK 5.0
#define DELAYED 10.0
#define HEAVY 15.0
#define NEARLY_ALL 95.0
#define LOOP 90.0
#define SAMPLES_LEAST 50u
#define TICKS_LEAST 100u /* due, and this part of them lost */

#define SHARE(name, state_, least)                                                                                     \
	static bool name(const struct advice_facts *facts)                                                             \
	{                                                                                                              \
		return facts->state[LEDGER_##state_] >= (least);                                                       \
	}
SHARE(is_paused, PAUSED, DELAYED)
SHARE(is_limited, LIMITED, HELD_BACK)
SHARE(is_costopped, COSTOP, HELD_BACK)
SHARE(is_paging, PAGING, HELD_BACK)
SHARE(is_ready, READY, DELAYED)
SHARE(is_preempted, PREEMPTED, DELAYED)
SHARE(is_blocked, BLOCKED, DELAYED)
SHARE(is_device_heavy, DEVICE, HEAVY)
SHARE(is_exit_heavy, EXIT, HEAVY)
SHARE(is_idle, IDLE, NEARLY_ALL)
#undef SHARE

static bool is_runaway(const struct advice_facts *facts)
{
	return facts->samples >= SAMPLES_LEAST && facts->wanted >= NEARLY_ALL && facts->hottest >= LOOP;
}

static bool is_cache_full(const struct advice_facts *facts)
{
	return facts->cache_evictions > 0 && facts->state[LEDGER_TRANSLATE] >= HELD_BACK;
}

static bool is_losing_ticks(const struct advice_facts *facts)
{
	return facts->ticks_due >= TICKS_LEAST && facts->ticks_lost >= facts->ticks_due / TICKS_LEAST;
}

static bool is_translating(const struct advice_facts *facts)
{
	return facts->state[LEDGER_TRANSLATE] >= HEAVY && !is_cache_full(facts);
}

static bool always(const struct advice_facts *facts)
{
	(void)facts;
	return true;
}

const struct advice_rule advice_rules[] = {
    {"paused", is_paused, "It was paused.", "nfold resume lets it go on."},
    {"runaway", is_runaway, "Runaway: a processor ran without a pause in one small loop.",
     "See below which code it is, and look at that program in the guest."},
    {"limited", is_limited, "Its limit held it back.", "Raise the limit, or accept what it is there for."},
    {"costop", is_costopped, "Its processors waited for each other to be scheduled together.",
     "Give it fewer processors, or relax its co-scheduling."},
    {"paging", is_paging, "It waited for memory that the host had swapped out.",
     "Give the host more memory, or the guests less."},
    {"ready", is_ready, "It wanted a processor, and other guests had them.",
     "Raise its shares or its reservation, or run fewer guests here."},
    {"preempted", is_preempted, "Linux ran something else while it wanted a processor.",
     "See in top what else runs on this host, and stop or move it."},
    {"blocked", is_blocked, "It was held up inside Linux: a lock, or a page that the host had to find.",
     "See in vmstat 1 whether the host swaps, or waits for its disks."},
    {"ticks", is_losing_ticks, "Clock ticks were lost, since it did not run when they came.",
     "Mend what held it back. A guest that keeps time by counting ticks is slow now: let it use the TSC, or NTP."},
    {"device", is_device_heavy, "Much of its time went into device models.",
     "Use virtio for disks and networks: --disk FILE,device=virtio; the devices are named below."},
    {"cache", is_cache_full, "Its translated code did not fit into the code cache, and was translated again.",
     "Give it more with --code-cache."},
    {"translate", is_translating, "Much of its time went into translating code.",
     "It runs code for the first time, or writes its own: watch it again when it has been up for a while."},
    {"exit", is_exit_heavy, "Much of its time went into exceptions, interrupts and careful instructions.",
     "The counts below say which: timers, page faults, or accesses that span pages."},
    {"idle", is_idle, "It had next to nothing to do.", "Nothing to mend; its memory may be of use to others."},
    {"used", always, "Nothing held it back: it ran, or had nothing to do.",
     "For more speed see the hottest code below."},
};

const size_t advice_rule_count = sizeof advice_rules / sizeof advice_rules[0];

bool advice_told(const struct advice_facts *facts, size_t rule)
{
	if (!advice_rules[rule].applies(facts))
		return false;
	for (size_t i = 0; rule + 1 == advice_rule_count && i < rule; i++)
		if (advice_rules[i].applies(facts))
			return false;
	return true;
}

/* SPDX-License-Identifier: MIT */
#include "machine/steal.h"

#include "memory/memory.h"

#define NS_PER_SECOND UINT64_C(1000000000)
#define UPDATES_PER_SECOND 1000
#define STEAL_ADDRESS (~UINT64_C(0x3f))

/* struct kvm_steal_time of KVM's interface, as far as it is used here; the rest of the 64 bytes stays the guest's. */
struct steal_record {
	uint64_t steal; /* nanoseconds */
	uint32_t version;
};

/* In cycles, as of the last settlement. */
static uint64_t stolen(const struct steal *steal)
{
	const uint64_t *clock = steal->ledger->vcpu[steal->cpu->index].settled.clock;
	return clock[LEDGER_READY] + clock[LEDGER_COSTOP] + clock[LEDGER_LIMITED] + clock[LEDGER_PREEMPTED];
}

/* The version is odd while `steal` changes. Other vCPUs see x86's order of stores. */
static void record_add(struct memory *memory, uint64_t gpa, uint64_t ns)
{
	struct steal_record record;
	const uint64_t version_gpa = gpa + offsetof(struct steal_record, version);
	if (!memory_read(memory, gpa, &record, sizeof record))
		return;
	record.version |= 1;
	record.steal += ns;
	(void)memory_write(memory, version_gpa, &record.version, sizeof record.version);
	(void)memory_write(memory, gpa, &record.steal, sizeof record.steal);
	record.version++;
	(void)memory_write(memory, version_gpa, &record.version, sizeof record.version);
}

static void steal_update(void *opaque)
{
	struct steal *steal = opaque;
	struct cpu *cpu = steal->cpu;
	uint64_t now = ledger_tsc(), hz = steal->ledger->tsc_hz;
	if (now - steal->told_at < hz / UPDATES_PER_SECOND)
		return;
	steal->told_at = now;
	ledger_settle_if_due(steal->ledger, cpu->index, steal->thread);
	uint64_t all = stolen(steal);
	if (all <= steal->told)
		return;
	uint64_t ns = (uint64_t)((unsigned __int128)(all - steal->told) * NS_PER_SECOND / hz);
	steal->told = all;
	/* As devices write: a page that holds translated code is looked after by who holds the lock. */
	cpu->device_lock(cpu->device_lock_opaque);
	record_add(cpu->memory, cpu->steal & STEAL_ADDRESS, ns);
	cpu->device_unlock(cpu->device_lock_opaque);
}

/* What was stolen before the guest asked is not told. */
static void steal_changed(void *opaque)
{
	struct steal *steal = opaque;
	steal->told = stolen(steal);
}

void steal_init(struct steal *steal, struct cpu *cpu, struct ledger *ledger, const struct ledger_thread *thread)
{
	*steal = (struct steal){.cpu = cpu, .ledger = ledger, .thread = thread};
	cpu->steal_changed = steal_changed;
	cpu->steal_update = steal_update;
	cpu->steal_opaque = steal;
}

/* SPDX-License-Identifier: MIT */
#include "translate/world.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include "translate/block.h"

/* Most waits are shorter than the way into the kernel and back. */
#define SPINS 200

static long raw_syscall(long number, uint32_t *word, long operation, long value)
{
	long result;
	register long timeout __asm__("r10") = 0;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(word), "S"(operation), "d"(value), "r"(timeout)
			 : "rcx", "r11", "memory");
	return result;
}

/* Waits until a word is not what it was. */
static void word_wait(uint32_t *word, uint32_t seen)
{
	for (unsigned i = 0; i < SPINS; i++) {
		if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != seen)
			return;
		__builtin_ia32_pause();
	}
	while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == seen)
		(void)raw_syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen);
}

static void word_wake(uint32_t *word)
{
	(void)raw_syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX);
}

static bool is_shared(const struct world *world)
{
	return world->engine_count > 1;
}

static struct engine_vcpu *vcpu_at(const struct world *world, unsigned index)
{
	return world->engine[index] == NULL ? NULL : world->engine[index]->vcpu;
}

static uint32_t owner_of(const struct world *world)
{
	return __atomic_load_n(&world->owner, __ATOMIC_SEQ_CST);
}

/* Each side stores its own word and then looks at the other's: at least one of the two sees the other. */
void world_enter(struct engine_vcpu *vcpu)
{
	struct world *world = vcpu->engine->world;
	if (!is_shared(world))
		return;
	for (;;) {
		__atomic_store_n(&vcpu->inside, 1, __ATOMIC_SEQ_CST);
		if (owner_of(world) == 0)
			return;
		world_leave(vcpu);
		word_wait(&world->owner, 1);
	}
}

void world_leave(struct engine_vcpu *vcpu)
{
	struct world *world = vcpu->engine->world;
	if (!is_shared(world))
		return;
	__atomic_store_n(&vcpu->inside, 0, __ATOMIC_SEQ_CST);
	if (owner_of(world) != 0)
		word_wake(&vcpu->inside);
}

void world_pass(struct engine_vcpu *vcpu)
{
	world_leave(vcpu);
	world_enter(vcpu);
}

static void ask_to_leave(struct engine_vcpu *vcpu)
{
	__atomic_or_fetch(&vcpu->cpu.requests, CPU_REQUEST_WORLD, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vcpu->cpu.run, 0, __ATOMIC_SEQ_CST);
}

static void become_owner(struct world *world)
{
	uint32_t free = 0;
	while (!__atomic_compare_exchange_n(&world->owner, &free, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		word_wait(&world->owner, 1);
		free = 0;
	}
}

void world_stop(struct world *world, struct engine_vcpu *vcpu)
{
	if (!is_shared(world) || (vcpu != NULL && vcpu->section_depth++ > 0))
		return;
	if (vcpu != NULL) {
		cpu_count(&vcpu->cpu, LEDGER_COUNT_WORLD_STOP);
		vcpu->was_inside = vcpu->inside;
		world_leave(vcpu);
	}
	become_owner(world);
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		struct engine_vcpu *other = vcpu_at(world, i);
		if (other != NULL && other != vcpu && __atomic_load_n(&other->inside, __ATOMIC_SEQ_CST) != 0)
			ask_to_leave(other);
	}
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		struct engine_vcpu *other = vcpu_at(world, i);
		if (other == NULL || other == vcpu)
			continue;
		word_wait(&other->inside, 1);
		other->disturbed = 1;
	}
}

void world_start(struct world *world, struct engine_vcpu *vcpu)
{
	if (!is_shared(world) || (vcpu != NULL && --vcpu->section_depth > 0))
		return;
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		struct engine_vcpu *other = vcpu_at(world, i);
		if (other != NULL)
			__atomic_and_fetch(&other->cpu.requests, ~(uint32_t)CPU_REQUEST_WORLD, __ATOMIC_SEQ_CST);
	}
	if (vcpu != NULL)
		__atomic_store_n(&vcpu->inside, vcpu->was_inside, __ATOMIC_SEQ_CST);
	__atomic_store_n(&world->owner, 0, __ATOMIC_SEQ_CST);
	word_wake(&world->owner);
}

void world_yield(struct engine_vcpu *vcpu)
{
	world_leave(vcpu);
	(void)raw_syscall(SYS_sched_yield, NULL, 0, 0);
	world_enter(vcpu);
}

bool world_invalidate(struct world *world, uint64_t gpa, uint64_t size)
{
	bool any = false;
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		if (world->engine[i] != NULL)
			any |= blocks_invalidate(world->engine[i], gpa, size);
	}
	return any;
}

bool world_has_blocks(const struct world *world, uint64_t page_number)
{
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		if (world->engine[i] != NULL && world->engine[i]->pages[page_number].blocks != NULL)
			return true;
	}
	return false;
}

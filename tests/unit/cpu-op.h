/* SPDX-License-Identifier: MIT */
/* Running one operation of cpu_ops in the fixture, faults left pending. */
#ifndef NFOLD_TESTS_CPU_OP_H
#define NFOLD_TESTS_CPU_OP_H

#include "cpu-fixture.h"

/* Completes what the decoder would fill in. Memory operands are by displacement only. */
static inline enum cpu_next op_run(struct fixture *fixture, enum cpu_op op, struct cpu_insn insn)
{
	struct cpu *cpu = fixture->cpu;
	enum cpu_next next;

	insn.op = (uint16_t)op;
	insn.length = 2;
	if (insn.address_size == 0)
		insn.address_size = cpu_code64(cpu) ? 8 : 4;
	if (insn.segment == 0)
		insn.segment = CPU_DS;
	insn.base = CPU_NO_REGISTER;
	if (op != CPU_OP_gather)
		insn.index = CPU_NO_REGISTER;
	if (insn.scale == 0)
		insn.scale = 1;
	next = cpu_ops[op](cpu, &insn);
	assert_int_equal(next == CPU_FAULT, cpu->pending.valid);
	return next;
}

static inline void op_succeeds(struct fixture *fixture, enum cpu_op op, struct cpu_insn insn)
{
	enum cpu_next next = op_run(fixture, op, insn);

	assert_true(next == CPU_CONTINUE || next == CPU_EXIT);
}

static inline void op_faults(struct fixture *fixture, enum cpu_op op, struct cpu_insn insn, unsigned vector,
			     uint32_t error_code)
{
	assert_int_equal(op_run(fixture, op, insn), CPU_FAULT);
	assert_fault(fixture, vector, error_code);
}

/* Register operands by number, memory operands by address. */
#define INSN(...) ((struct cpu_insn){__VA_ARGS__})
#define MEMORY(address) .has_memory = true, .displacement = (int64_t)(address)

/* A generator for reproducible random cases (xorshift64*). */
struct random {
	uint64_t state;
};

static inline uint64_t random_next(struct random *random)
{
	random->state ^= random->state >> 12;
	random->state ^= random->state << 25;
	random->state ^= random->state >> 27;
	return random->state * UINT64_C(0x2545f4914f6cdd1d);
}

static inline uint64_t random_below(struct random *random, uint64_t limit)
{
	return random_next(random) % limit;
}

#endif

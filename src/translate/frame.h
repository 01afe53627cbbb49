/* SPDX-License-Identifier: MIT */
/*
 * The vCPU frame: what translated code reaches through the host's RSP, and where guest registers live.
 *
 * Register assignment while guest code runs. It is the same at every instruction boundary, so a guest state can
 * be rebuilt from a host PC with little more than the guest PC.
 *
 * - host RSP: the frame (struct engine_vcpu, whose first member is struct cpu); below it, a stack for helpers
 * - host RAX: scratch; holds the guest's arithmetic flags, as LAHF and SETO AL leave them, where EFLAGS is clobbered
 * - host RCX: scratch; index into the TLB; JRCXZ tests without touching flags
 * - host R12: scratch; the address of a memory operand
 * - host R13, R14, R15: guest RCX, RSP, RAX
 * - host RDX RBX RBP RSI RDI R8-R11: the guest registers of the same names
 * - cpu.gpr[12..15]: guest R12-R15, slots that an 8-bit displacement reaches
 * - host EFLAGS: the guest's arithmetic flags at every block boundary
 * - host x87, SSE, AVX: the guest's
 *
 * Each vCPU has a code cache of its own (world.h). Code still names no vCPU: all it touches is relative to RSP.
 */
#ifndef NFOLD_TRANSLATE_FRAME_H
#define NFOLD_TRANSLATE_FRAME_H

#include <time.h>

#include "cpu/cpu.h"
#include "translate/asm.h"
#include "translate/engine.h"
#include "translate/idle.h"

#define REG_FLAGS HOST_RAX
#define REG_INDEX HOST_RCX
#define REG_ADDRESS HOST_R12
#define REG_GUEST_RCX HOST_R13
#define REG_GUEST_RSP HOST_R14
#define REG_GUEST_RAX HOST_R15

#define FIRST_SPILLED CPU_R12 /* guest registers from here on live in cpu.gpr */

#define DR6_SINGLE_STEP BIT64(14)

#define HELPER_STACK_SIZE (256u * 1024)

/* Modes that may be known at once; mode 0 is none. */
#define MODE_MAX 1024

/*
 * The jump cache, for indirect branches. A line is found by bits of the guest PC plus the number of the mode, and its
 * key is the whole guest PC. So a line and a key name one PC in one mode: no value that a guest puts into a register
 * can lead to the code of another mode. An empty line has the key of PC 0 and leads to the dispatcher. A line is held
 * by one target, and a kernel has tens of thousands of them: hence so many lines.
 */
#define JUMP_CACHE_BITS 16
#define JUMP_CACHE_SIZE (1u << JUMP_CACHE_BITS)
#define JUMP_CACHE_LINES (JUMP_CACHE_SIZE + MODE_MAX)

#define SHARE_SLOTS 4

/* Why translated code came back. */
enum exit_code {
	EXIT_LINK = 1, /* exit_index: a link without a target yet; EFLAGS state saved */
	EXIT_INDIRECT, /* rip set; not in the jump cache; exit_index: INDIRECT_FROM */
	EXIT_GUARD,    /* exit_index: a block whose page mapping must be looked up again; rip is its start */
	EXIT_EVENT,    /* exit_index: a link whose poll found run == 0 */
	EXIT_NEXT,     /* rip is set: go on there (after system instructions, single steps) */
	EXIT_FAULT,    /* cpu.pending is filled; rip is the instruction */
	EXIT_CAREFUL,  /* rip is an instruction to be run again with bounce buffers */
	EXIT_RESTART,  /* rip is a REP instruction that was interrupted */
	EXIT_COUNT,    /* exit_index: a block of more instructions than are left to run */
};
#define EXIT_CODES 16 /* above all of them, and below any address of code */

/* The instruction that left with EXIT_INDIRECT: number of its block and its place there. */
#define INDIRECT_FROM(block, insn) ((uint32_t)(block) | (uint32_t)(insn) << 20)
#define INDIRECT_BLOCK(index) ((index)&0xfffff)
#define INDIRECT_INSN(index) ((index) >> 20)

/* An instruction that C executes, referred to by translated code. */
struct block;
struct c_insn {
	cpu_op_function *function;
	uint64_t rip;
	const struct block *block;
	bool ends_trap;	     /* INT n, SYSCALL and their like: no single-step trap after them */
	uint8_t insn_index;  /* in its block */
	bool serializes;     /* and other vCPUs run: what was stored before is seen before what follows is loaded */
	bool begins_trap;    /* SYSRET: a trap at once when it has set TF */
	uint8_t ledger_kind; /* enum ledger_kind */
	struct cpu_insn insn;
};

/* A guest goes to and fro between few modes: user and kernel, with and without access to user pages. */
#define MODE_MEMO 64u
struct mode_memo {
	uint64_t cs_base;
	uint32_t bits, cs_limit, id; /* id 0: empty */
	uint32_t epoch;		     /* engine->mode_epoch when it was true */
};

struct bounce {
	uint64_t linear;
	uint32_t size;
	bool commit;   /* write the buffer back after the operation */
	bool traced;   /* the operation stores to `gpa`, in a page with code */
	bool split;    /* a locked operand on two pages, in an exclusive section from begin to end */
	bool deferred; /* ACCESS_RESULT_FIRST: the address faults, unless the result comes to something else */
	uint64_t gpa;
	struct bounce_part {
		uint8_t *host;
		uint64_t gpa;
		uint32_t size;
	} part[2]; /* of a split one */
	uint8_t data[128] __attribute__((aligned(64)));
};

struct engine_vcpu {
	struct cpu cpu;
	uint64_t host_rsp; /* of engine_run's C frame */
	uint64_t scratch[2];
	uint64_t branch_target; /* of an indirect call, across its push */
	uint64_t saved_flags;	/* RAX across a helper */
	uint32_t exit_code;	/* enum exit_code */
	uint32_t exit_index;
	int64_t budget;			      /* instructions until translated code must leave: count.h */
	uint8_t helper_failed;		      /* the helper asks for exit_code instead of going on */
	uint8_t code_changed;		      /* translated code was invalidated since the dispatcher last looked */
	uint8_t trap_suppressed;	      /* the last C instruction is followed by no single-step trap */
	uint8_t segment_fault;		      /* pending, and to be deferred: ACCESS_RESULT_FIRST */
	uint64_t kept[SHARE_SLOTS];	      /* host addresses that several accesses of a block share */
	uint64_t jump_mask;		      /* for PEXT: the bits of a guest PC that select a jump cache line */
	uint64_t jump_key[JUMP_CACHE_LINES];  /* jump_key() */
	uint64_t jump_host[JUMP_CACHE_LINES]; /* the block's guarded entry, or thunks.empty */
	struct bounce bounce[2];
	struct cpu_pending deferred_fault;
	uint8_t deferred_state[CPU_XSAVE_SIZE]; /* vector state before the operation */

	/* C only */
	struct engine *engine;
	uint64_t count_end;	     /* the count when `budget` is used up */
	uint32_t uncounted;	     /* taken off `budget`, but not executed */
	uint32_t mode_bits, mode_id; /* the last mode seen and its number */
	uint64_t mode_cs_base, mode_cs_limit;
	struct mode_memo mode_memo[MODE_MEMO]; /* others seen lately */
	uint32_t inside;		       /* futex: see world.h */
	uint32_t was_inside;		       /* before the exclusive section that it has or waits for */
	uint32_t section_depth;
	uint8_t disturbed;     /* another vCPU had an exclusive section since this was cleared */
	timer_t profile_timer; /* see profile.c */
	uint8_t profile_state; /* enum profile_state, atomic */
	bool profile_dozes;    /* the timer was stopped since the thread sleeps */
	struct idle idle;
	void *signal_stack;
	void *allocation;
	size_t allocation_size;
};

#define FRAME(field) offsetof(struct engine_vcpu, field)

static inline unsigned jump_line(uint64_t rip, uint32_t mode_id)
{
	return ((unsigned)(rip >> 1) & (JUMP_CACHE_SIZE - 1)) + mode_id;
}
#define JUMP_MASK ((uint64_t)(JUMP_CACHE_SIZE - 1) << 1)

static inline struct engine_vcpu *vcpu_of(struct cpu *cpu)
{
	return (struct engine_vcpu *)(void *)cpu;
}

#endif

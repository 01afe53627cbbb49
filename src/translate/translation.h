/* SPDX-License-Identifier: MIT */
/*
 * One translation in progress: the state shared by the files that emit code.
 *
 * Flags. Guest arithmetic flags are in the host's EFLAGS, in RAX (as LAHF and SETO AL leave them), or both. A memory
 * check clobbers EFLAGS, so it saves them first where they are not saved yet; an instruction that needs them gets them
 * back. Nothing is ever dropped, so the flags a fault handler sees are exact.
 *
 * Precision. Until an instruction's last possible fault no guest register, no flag and no memory has changed: checks
 * come first, then the re-emitted instruction, then write-backs of registers that live elsewhere.
 */
#ifndef NFOLD_TRANSLATE_TRANSLATION_H
#define NFOLD_TRANSLATE_TRANSLATION_H

#include "translate/block.h"
#include "translate/rows.h"
#include "translate/thunks.h"

enum flags_location { FLAGS_HOST, FLAGS_BOTH, FLAGS_SAVED };

/* Where a check that failed goes on: restores R12, calls the helper, and comes back behind the check. */
struct slow_stub {
	uint8_t *jump;	 /* rel32 field to patch */
	uint8_t *resume; /* writable address after the check */
	const uint8_t *thunk;
	const struct c_insn *record; /* or C does the whole instruction instead */
	uint32_t descriptor;
	int32_t tag; /* frame offset of the tag that was subtracted, or 0 */

	/* Of a check that others may share: share.c */
	bool shares, followed; /* it may be shared, it is */
	bool write, write_too; /* it checks for writing; it must do so for those that follow */
	bool kept;	       /* R12 is stored in the slot */
	uint8_t base, index, scale;
	int32_t low, high; /* the range of all accesses, as displacements from base + index * scale */
	int32_t own;	   /* that of the first */
	int32_t bias;	   /* what displacements count from, if not from the base */
	uint64_t rip;
	uint8_t *place_field, *size_field, *tag_field, *keep_field;
	struct host_rm slot;
};

/* The fields of a lookup in the TLB that may be filled later. */
struct lookup {
	uint8_t *jump, *tag_field, *size_field;
};

/* A check that the next accesses may share. Its R12 is kept in the slot of the same number. */
struct share {
	bool live;
	uint8_t view;
	uint8_t link_count; /* when it was emitted: no branch leaves the block in between */
	unsigned stub;
	uint32_t r12_used; /* when R12 was last its address */
};

/* An access whose displacement depends on the range of its check. */
struct member {
	uint8_t *field;
	uint16_t stub;
	int32_t displacement;
};

struct link_plan {
	uint8_t *field;
	uint8_t *event_field;	/* rel8 of the poll's JRCXZ, or NULL */
	uint8_t *event_field32; /* rel32 of the jump behind a poll of all requests, or NULL */
	uint64_t target;
	uint32_t cs_base; /* of a far one */
	uint32_t mode_id; /* of the target, or 0: see struct link */
	bool guarded, far, own_checks;
	bool saved; /* the flags are in RAX: it goes to the guarded entry that wants them there */
};

/* Conditional branches that a block goes on behind. More would make longer blocks of code that is rarely reached. */
#define SIDE_LINKS 3

/* Checks of a block that may be shared, and accesses that share them. */
#define SHARE_LINKS 24
#define MAX_MEMBERS (BLOCK_MAX_INSNS * 2)

#define MAX_STUBS (BLOCK_MAX_INSNS * 4 + 8)

struct translation {
	struct engine *engine;
	struct assembler as;
	const struct cpu_model *model;
	uint32_t mode; /* enum-like MODE_* bits, the engine's included */
	uint32_t mode_id, jump_mode_id;
	uint64_t cs_base;
	uint32_t cs_limit;
	unsigned code_bytes;  /* 2, 4, 8 */
	unsigned stack_bytes; /* 2, 4, 8 */
	enum tlb_view view;
	bool careful;
	ZydisDecoder decoder;

	struct block *block;
	uint64_t rip, next_rip;
	const uint8_t *bytes; /* of the current instruction */
	unsigned examined;    /* how many of them decide what it is: all that were looked at where none is */
	unsigned insn_index;
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
	const struct row *row;

	enum flags_location flags;
	bool ended;	    /* control has left: no fall-through link */
	bool clear_shadow;  /* the instruction being translated ends an interrupt shadow */
	bool sets_shadow;   /* the instruction just translated opens one */
	bool opened_by_sti; /* the open shadow is that of an STI in this block: IF is set */
	bool drop_repeat;   /* TZCNT and LZCNT that are not promised run as BSF and BSR */
	bool writes_memory;
	bool failed;		     /* the arena is full */
	const struct c_insn *record; /* between else_begin and else_end */
	unsigned record_stubs;	     /* the first that belongs to it */

	/* Shared checks: share.c */
	bool shares, member_pending;
	int32_t delta[16]; /* what known constants have added to each register since the block's begin */
	struct share share[SHARE_SLOTS];
	unsigned share_next, share_links;

	struct block_insn insns[BLOCK_MAX_INSNS];
	struct slow_stub stub[MAX_STUBS];
	unsigned stub_count;
	uint8_t *count_field, *count_jump; /* of emit_count, to be filled */
	struct link_plan link[SIDE_LINKS + 2 + SHARE_LINKS];
	unsigned link_count;
	struct member member[MAX_MEMBERS];
	unsigned member_count;
};

/* ---- flags (flags.c) ---- */
void flags_save(struct translation *t);			  /* afterwards RAX holds them too */
void flags_restore(struct translation *t);		  /* afterwards EFLAGS holds them; RAX may too */
void flags_free_rax(struct translation *t);		  /* afterwards EFLAGS holds them and RAX is free */
static inline void flags_clobbered(struct translation *t) /* EFLAGS is about to change by our own code; saved before */
{
	t->flags = FLAGS_SAVED;
}

/* ---- registers ---- */
#define SPILLED 0xff
unsigned register_home(unsigned guest); /* host register or SPILLED */
struct host_rm register_slot(unsigned guest);
/* The value of a guest register in a host register: its home, or `scratch` after loading it. */
unsigned register_value(struct translation *t, unsigned guest, unsigned scratch);
/* Writes a host register to a guest register, 64 bits. */
void register_write(struct translation *t, unsigned guest, unsigned host);

/* The number of a general register and whether it is AH, CH, DH or BH. */
struct gpr_name {
	bool is_gpr, high;
	uint8_t number, bytes;
};
struct gpr_name gpr_of(ZydisRegister reg);

/* ---- memory operands (access.c) ---- */
struct access {
	uint8_t segment; /* enum cpu_segment_name */
	uint16_t size;
	bool read, write, stack;
	bool aligned, unaligned_ok, x87_waits, result_first, locked; /* see thunks.h */
	uint8_t buffer;						     /* which bounce buffer, 0 or 1 */
};
/* R12 = the operand's offset, address size applied. Uses RCX. rsp_bias is added to the value of guest RSP. */
void emit_effective_address(struct translation *t, const ZydisDecodedOperand *operand, int32_t rsp_bias);
/* R12: offset -> host address. Flags end up saved. Uses RCX. */
void emit_access(struct translation *t, const struct access *access);
bool segment_is_flat(const struct translation *t, unsigned segment);
struct lookup emit_lookup(struct translation *t, int32_t tag, int32_t limit);
struct slow_stub *emit_check(struct translation *t, const struct access *access);
/* After the operation, where the operand was written. R12 must still be what emit_access left. */
void emit_commit(struct translation *t, const struct access *access);
struct access access_of(const ZydisDecodedOperand *operand);
const ZydisDecodedOperand *memory_operand_of(const struct translation *t);
void emit_slow_stubs(struct translation *t);
/*
 * An instruction that runs here if all its checks hold, and else in C, from its beginning: checks between else_begin
 * and else_end, before anything has changed. False: the arena is full.
 */
bool else_begin(struct translation *t, enum cpu_op op);
void emit_else(struct translation *t, uint8_t *jump32);
void else_end(struct translation *t);
/* The next host instruction may raise a host signal that becomes a guest fault of this instruction. */
void note_fault_point(struct translation *t);

/* ---- accesses that share a check (share.c) ---- */
bool sharing_begin(const struct translation *t);
/* What follows in the block makes checks of its own: C may change mappings. */
void sharing_end(struct translation *t);
/* Address and check of a memory operand: where it is then. note_place() must follow the instruction that goes there. */
struct host_rm emit_operand_access(struct translation *t, const ZydisDecodedOperand *operand,
				   const struct access *access);
/* The same at guest RSP + bias. False: nothing was emitted, it cannot be shared. */
bool emit_stack_shared(struct translation *t, const struct access *access, int32_t bias, struct host_rm *rm);
void note_place(struct translation *t);
void sharing_step(struct translation *t); /* behind each instruction: which registers has it changed? */
/* When all ranges are known. The number of links that emit_shared_stub will add. */
unsigned sharing_finish(struct translation *t);
void emit_shared_stub(struct translation *t, const struct slow_stub *stub);

/* ---- instructions ---- */
void lower_plain(struct translation *t); /* plain.c */
void emit_reencoded(struct translation *t, unsigned reg, struct host_rm rm, unsigned vvvv, unsigned opcode_reg,
		    bool force_rex);
void lower_high_byte(struct translation *t);
void lower_c(struct translation *t, enum cpu_op op); /* c_insn.c */
void lower_raise(struct translation *t, enum cpu_vector vector);
void emit_c_call(struct translation *t, struct c_insn *record);
/* The record that a call into C takes, or NULL: the arena is full. */
struct c_insn *c_record(struct translation *t, enum cpu_op op);
unsigned loaded_segment(const struct translation *t); /* by LDS and its kin */
void lower_push(struct translation *t);		      /* stack.c */
void lower_pop(struct translation *t);
void lower_leave(struct translation *t);
void lower_lea(struct translation *t);
void lower_far_branch(struct translation *t, bool call); /* far.c */
void lower_far_return(struct translation *t);
void lower_pusha(struct translation *t); /* registers.c */
void lower_popa(struct translation *t);
void lower_pushf(struct translation *t);
void lower_bit_string(struct translation *t);		  /* bits.c */
bool lower_system(struct translation *t, enum cpu_op op); /* system.c; false: nothing was emitted, C has to do it */
void lower_string(struct translation *t, enum cpu_op op); /* string.c */
void lower_mov_to_segment(struct translation *t);	  /* segment.c */
void lower_mov_from_segment(struct translation *t);
void lower_push_segment(struct translation *t, unsigned name);
void lower_pop_segment(struct translation *t, unsigned name);
void lower_load_far_pointer(struct translation *t, unsigned name);
void lower_call(struct translation *t); /* branch.c */
void lower_jmp(struct translation *t);
void lower_ret(struct translation *t);
void lower_jcc(struct translation *t);
void lower_loop(struct translation *t);
void lower_jcxz(struct translation *t);
void emit_link(struct translation *t, uint64_t target);
/* To another code segment of real or virtual-8086 mode. */
void emit_far_link(struct translation *t, uint64_t target, uint32_t cs_base);
/* To a block of another mode, which the instruction has set. */
void emit_mode_link(struct translation *t, uint64_t target, uint32_t mode_id);
/* Room for the links that are planned, and more. False: the arena is full. */
bool links_allocate(struct translation *t, unsigned more);
/* The ways to the dispatcher of all links that have none yet. */
void emit_link_stubs(struct translation *t);
void emit_next(struct translation *t, uint64_t rip); /* to the dispatcher, which goes on at rip */
void emit_guard(struct translation *t);
void emit_count(struct translation *t);	     /* count.c: takes the block's instructions off the budget */
void emit_count_stub(struct translation *t); /* when their number is known */
void lower_insn(struct translation *t);
/* Does it work on x87, MMX, SSE or AVX registers? */
bool lower_is_vector(const struct translation *t);
/* What a plain instruction's memory operand demands besides permission. */
void access_demands(const struct translation *t, struct access *access);

static inline uint64_t rip_mask(const struct translation *t)
{
	return t->code_bytes == 8 ? UINT64_MAX : UINT32_MAX; /* 16-bit code: wrapped by operand size where it matters */
}

#endif

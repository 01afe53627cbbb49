/* SPDX-License-Identifier: MIT */
/*
 * The fixed pieces of host code between translated code and C. Written once at the start of the code cache, so that
 * translated code reaches them by 32-bit calls. See frame.h for the register assignment.
 *
 * Helpers are C functions compiled with -mgeneral-regs-only. The guest's vector state stays live across them; its
 * general registers and flags are stored in struct cpu before and loaded again after.
 */
#include "translate/thunks.h"

struct home {
	uint8_t guest, host;
};

static const struct home homes[] = {
    {CPU_RDX, HOST_RDX}, {CPU_RBX, HOST_RBX},	   {CPU_RBP, HOST_RBP},	     {CPU_RSI, HOST_RSI},
    {CPU_RDI, HOST_RDI}, {CPU_R8, HOST_R8},	   {CPU_R9, HOST_R9},	     {CPU_R10, HOST_R10},
    {CPU_R11, HOST_R11}, {CPU_RCX, REG_GUEST_RCX}, {CPU_RSP, REG_GUEST_RSP}, {CPU_RAX, REG_GUEST_RAX},
};

static const uint8_t callee_saved[] = {HOST_RBX, HOST_RBP, HOST_R12, HOST_R13, HOST_R14, HOST_R15};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* `above`: bytes pushed below the frame since RSP was the frame. */
static void store_registers(struct assembler *as, int32_t above)
{
	for (size_t i = 0; i < COUNT(homes); i++)
		asm_store(as, rm_memory(HOST_RSP, (int32_t)(FRAME(cpu.gpr) + 8u * homes[i].guest) + above),
			  homes[i].host);
}

static void load_registers(struct assembler *as, int32_t above)
{
	for (size_t i = 0; i < COUNT(homes); i++)
		asm_load(as, homes[i].host,
			 rm_memory(HOST_RSP, (int32_t)(FRAME(cpu.gpr) + 8u * homes[i].guest) + above));
}

/* RAX as LAHF and SETO AL left it -> cpu.flags_arithmetic. Uses ECX. */
static void store_flags(struct assembler *as, int32_t above)
{
	asm_op(as, 0, false, 0x0fb6, HOST_RCX, rm_register(4)); /* movzx ecx, ah */
	asm_group_immediate(as, false, 4, rm_register(HOST_RCX), FLAGS_ARITHMETIC & 0xff);
	asm_op(as, 0, false, 0x0fb6, HOST_RAX, rm_register(HOST_RAX)); /* movzx eax, al */
	asm_op(as, 0, false, 0xc1, 4, rm_register(HOST_RAX));	       /* shl eax, 11 */
	asm_byte(as, 11);
	asm_op(as, 0, false, 0x09, HOST_RCX, rm_register(HOST_RAX)); /* or eax, ecx */
	asm_store32(as, rm_memory(HOST_RSP, (int32_t)FRAME(cpu.flags_arithmetic) + above), HOST_RAX);
}

/* cpu.flags_arithmetic -> EFLAGS, and RAX as LAHF and SETO AL would leave it. Uses ECX. */
static void load_flags(struct assembler *as, int32_t above)
{
	asm_load32(as, HOST_RCX, rm_memory(HOST_RSP, (int32_t)FRAME(cpu.flags_arithmetic) + above));
	asm_mov32(as, HOST_RAX, HOST_RCX);
	asm_op(as, 0, false, 0xc1, 4, rm_register(HOST_RAX)); /* shl eax, 8: SF..CF into AH */
	asm_byte(as, 8);
	asm_op(as, 0, false, 0xc1, 5, rm_register(HOST_RCX)); /* shr ecx, 11 */
	asm_byte(as, 11);
	asm_group_immediate(as, false, 4, rm_register(HOST_RCX), 1);
	asm_op(as, 0, false, 0x09, HOST_RCX, rm_register(HOST_RAX));
	flags_from_rax(as);
}

void flags_to_rax(struct assembler *as)
{
	asm_byte(as, 0x9f);					/* lahf */
	asm_op(as, 0, false, 0x0f90, 0, rm_register(HOST_RAX)); /* seto al */
}

void flags_from_rax(struct assembler *as)
{
	asm_byte(as, 0x3c); /* cmp al, 0x81: overflows exactly when AL is 1, and leaves AL alone */
	asm_byte(as, 0x81);
	asm_byte(as, 0x9e); /* sahf */
}

static void call_c(struct assembler *as, const void *function)
{
	asm_mov_immediate(as, HOST_RAX, (uint64_t)(uintptr_t)function);
	asm_op(as, 0, false, 0xff, 2, rm_register(HOST_RAX));
}

/* All state is stored; RSP is the frame. Returns the exit code to C. */
static void leave_to_c(struct assembler *as)
{
	asm_load32(as, HOST_RAX, rm_frame(FRAME(exit_code)));
	asm_load(as, HOST_RSP, rm_frame(FRAME(host_rsp)));
	for (size_t i = COUNT(callee_saved); i-- > 0;) {
		if (callee_saved[i] >= 8)
			asm_byte(as, 0x41);
		asm_byte(as, 0x58 | (callee_saved[i] & 7u));
	}
	asm_byte(as, 0xc3);
}

static uint8_t *begin(struct assembler *as)
{
	while (((uintptr_t)as->next & 15) != 0)
		asm_byte(as, 0xcc);
	return asm_run_address(as);
}

static uint8_t *make_enter(struct assembler *as)
{
	uint8_t *start = begin(as);
	for (size_t i = 0; i < COUNT(callee_saved); i++) {
		if (callee_saved[i] >= 8)
			asm_byte(as, 0x41);
		asm_byte(as, 0x50 | (callee_saved[i] & 7u));
	}
	asm_store(as, rm_memory(HOST_RDI, (int32_t)FRAME(host_rsp)), HOST_RSP);
	asm_mov(as, HOST_RSP, HOST_RDI);
	asm_store(as, rm_frame(FRAME(scratch)), HOST_RSI);
	load_registers(as, 0);
	load_flags(as, 0);
	asm_op(as, 0, false, 0xff, 4, rm_frame(FRAME(scratch))); /* jmp [scratch] */
	return start;
}

/* RAX holds the flags, RSP is the frame, exit_code is set. */
static uint8_t *make_exit_common(struct assembler *as)
{
	uint8_t *start = begin(as);
	store_registers(as, 0);
	store_flags(as, 0);
	leave_to_c(as);
	return start;
}

static uint8_t *make_exit(struct assembler *as, enum exit_code code, bool stores_index, bool stores_rip,
			  const uint8_t *common)
{
	uint8_t *start = begin(as);
	if (stores_index)
		asm_store32(as, rm_frame(FRAME(exit_index)), HOST_RCX);
	if (stores_rip)
		asm_store(as, rm_frame(FRAME(cpu.rip)), REG_ADDRESS);
	flags_to_rax(as);
	asm_store32_immediate(as, rm_frame(FRAME(exit_code)), code);
	asm_jump_to(as, common);
	return start;
}

/* Flags are in RAX. */
static uint8_t *make_empty(struct assembler *as, const uint8_t *next)
{
	uint8_t *start = begin(as);
	flags_from_rax(as);
	asm_jump_to(as, next);
	return start;
}

/*
 * A helper called from the middle of an instruction: R12 is an address, ECX a descriptor, RAX the flags. The C function
 * gets (vcpu, address, descriptor, return address) and gives the new R12. When it sets helper_failed, the instruction
 * is given up.
 */
static uint8_t *make_helper(struct assembler *as, const void *function)
{
	uint8_t *start = begin(as);
	store_registers(as, 8);
	asm_store(as, rm_memory(HOST_RSP, (int32_t)FRAME(saved_flags) + 8), HOST_RAX);
	asm_lea(as, HOST_RDI, rm_memory(HOST_RSP, 8), 8);
	asm_mov(as, HOST_RSI, REG_ADDRESS);
	asm_mov32(as, HOST_RDX, HOST_RCX);
	asm_load(as, HOST_RCX, rm_memory(HOST_RSP, 0));
	asm_group_immediate(as, true, 5, rm_register(HOST_RSP), 8);
	call_c(as, function);
	asm_group_immediate(as, true, 0, rm_register(HOST_RSP), 8);
	asm_mov(as, REG_ADDRESS, HOST_RAX);
	asm_op(as, 0, false, 0x80, 7, rm_memory(HOST_RSP, (int32_t)FRAME(helper_failed) + 8)); /* cmp byte, 0 */
	asm_byte(as, 0);
	uint8_t *failed = asm_jump_if32(as, 5);
	load_registers(as, 8);
	asm_load(as, HOST_RAX, rm_memory(HOST_RSP, (int32_t)FRAME(saved_flags) + 8));
	asm_byte(as, 0xc3);
	asm_patch32_here(as, failed);
	asm_group_immediate(as, true, 0, rm_register(HOST_RSP), 8);
	asm_load(as, HOST_RAX, rm_frame(FRAME(saved_flags)));
	store_flags(as, 0);
	leave_to_c(as);
	return start;
}

/* A whole instruction in C: RCX is its struct c_insn, RAX the flags. The function gives 0, an exit code or the host
 * address of the block to go on with. */
static uint8_t *make_c_op(struct assembler *as, const void *function)
{
	uint8_t *start = begin(as);
	asm_store(as, rm_memory(HOST_RSP, (int32_t)FRAME(scratch) + 8), HOST_RCX);
	store_registers(as, 8);
	store_flags(as, 8);
	asm_lea(as, HOST_RDI, rm_memory(HOST_RSP, 8), 8);
	asm_load(as, HOST_RSI, rm_memory(HOST_RSP, (int32_t)FRAME(scratch) + 8));
	asm_group_immediate(as, true, 5, rm_register(HOST_RSP), 8);
	call_c(as, function);
	asm_group_immediate(as, true, 0, rm_register(HOST_RSP), 8);
	asm_op(as, 0, true, 0x85, HOST_RAX, rm_register(HOST_RAX));
	uint8_t *elsewhere = asm_jump_if32(as, 5);
	load_registers(as, 8);
	load_flags(as, 8);
	asm_byte(as, 0xc3);
	asm_patch32_here(as, elsewhere);
	asm_group_immediate(as, true, 0, rm_register(HOST_RSP), 8);
	asm_group_immediate(as, true, 7, rm_register(HOST_RAX), EXIT_CODES);
	uint8_t *leaves = asm_jump_if32(as, 2); /* below */
	asm_store(as, rm_frame(FRAME(scratch)), HOST_RAX);
	load_registers(as, 0);
	load_flags(as, 0);
	asm_op(as, 0, false, 0xff, 4, rm_frame(FRAME(scratch))); /* jmp [scratch] */
	asm_patch32_here(as, leaves);
	asm_store32(as, rm_frame(FRAME(exit_code)), HOST_RAX);
	leave_to_c(as);
	return start;
}

void thunks_make(struct engine *engine, const struct helpers *helpers)
{
	struct assembler as = code_cache_permanent(&engine->cache);
	struct thunks *thunks = &engine->thunks;
	thunks->enter = make_enter(&as);
	uint8_t *common = make_exit_common(&as);
	thunks->fault = common;
	thunks->link = make_exit(&as, EXIT_LINK, true, false, common);
	thunks->event = make_exit(&as, EXIT_EVENT, true, false, common);
	thunks->count = make_exit(&as, EXIT_COUNT, true, false, common);
	thunks->guard = make_exit(&as, EXIT_GUARD, true, false, common);
	thunks->indirect = make_exit(&as, EXIT_INDIRECT, true, true, common);
	thunks->next = make_exit(&as, EXIT_NEXT, false, true, common);
	thunks->empty = guards_take_saved(engine) ? make_empty(&as, thunks->next) : thunks->next;
	thunks->slow = make_helper(&as, (const void *)helpers->slow);
	thunks->bounce_begin = make_helper(&as, (const void *)helpers->bounce_begin);
	thunks->bounce_end = make_helper(&as, (const void *)helpers->bounce_end);
	thunks->segment = make_helper(&as, (const void *)helpers->segment);
	thunks->self_check = make_helper(&as, (const void *)helpers->self_check);
	thunks->c_op = make_c_op(&as, (const void *)helpers->c_op);
	bug_if(as.full);
}

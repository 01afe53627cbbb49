/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "cpu/cpu.h"
#include "layout.h"
#include "native_frame.h"
#include "segments.h"

/* Shared with native.S, which reaches it without a register: hence one for the process, as the signal handlers are. */
struct native_frame {
	uint8_t xsave[STATE_XSAVE_SIZE];
	uint64_t gpr[16];
	uint64_t rflags, fs_base, gs_base;
	uint64_t rip, cs, ss; /* as IRETQ wants them */
	uint16_t ds, fs, gs, es;
	uint64_t host_rsp, host_fs_base, host_gs_base, out_fs_base, out_gs_base;
	uint16_t out_fs, out_gs, out_ds, out_es;
	uint32_t active, mode32;
	uint64_t iret_stack;
} __attribute__((aligned(64)));

extern struct native_frame native_frame;
void native_enter(void);
void native_signal(int number, siginfo_t *info, void *context);
void native_forward(int number, siginfo_t *info, void *context);
void native_capture(int number, siginfo_t *info, void *context);

_Static_assert(offsetof(struct native_frame, gpr) == FRAME_GPR, "layout of native_frame.h");
_Static_assert(offsetof(struct native_frame, rflags) == FRAME_RFLAGS, "layout of native_frame.h");
_Static_assert(offsetof(struct native_frame, gs_base) == FRAME_GS_BASE, "layout of native_frame.h");
_Static_assert(offsetof(struct native_frame, rip) == FRAME_RIP, "layout of native_frame.h");
_Static_assert(offsetof(struct native_frame, ds) == FRAME_DS, "layout of native_frame.h");
_Static_assert(offsetof(struct native_frame, host_rsp) == FRAME_HOST_RSP, "layout of native_frame.h");
_Static_assert(offsetof(struct native_frame, es) == FRAME_ES, "layout of native_frame.h");
_Static_assert(offsetof(struct native_frame, out_gs) == FRAME_OUT_GS, "layout of native_frame.h");
_Static_assert(offsetof(struct native_frame, out_es) == FRAME_OUT_ES, "layout of native_frame.h");
_Static_assert(offsetof(struct native_frame, active) == FRAME_ACTIVE, "layout of native_frame.h");
_Static_assert(offsetof(struct native_frame, mode32) == FRAME_MODE32, "layout of native_frame.h");
_Static_assert(offsetof(struct native_frame, iret_stack) == FRAME_IRET_STACK, "layout of native_frame.h");
_Static_assert(sizeof(struct native_frame) == FRAME_SIZE, "layout of native_frame.h");

static const int native_signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
#define NATIVE_SIGNALS (sizeof native_signals / sizeof native_signals[0])
#define NATIVE_ALTERNATE_STACK 65536
#define NATIVE_RUNS_PER_ALARM 256
#define FLAG_TRAP 0x100u
#define NATIVE_IRET_PAGE 0x8000u

struct native_capture {
	struct insn_state state;
	int signal;
	uint64_t trap, error, cr2;
};

struct native {
	uint8_t *code, *data;
	int code_fd, data_fd;
	bool mode32, segments, alarm_armed;
	unsigned runs;
	void *alternate_stack;
	struct sigaction previous[NATIVE_SIGNALS];
	struct native_capture capture;
};

/* The instance the handlers belong to: sigaction takes no owner. */
static struct native *native_owner;

void native_forward(int number, siginfo_t *info, void *context)
{
	if (native_owner == NULL || number == SIGALRM) {
		if (native_owner != NULL)
			native_owner->alarm_armed = false;
		return;
	}
	for (unsigned i = 0; i < NATIVE_SIGNALS; i++) {
		const struct sigaction *previous = &native_owner->previous[i];
		if (native_signals[i] != number)
			continue;
		if ((previous->sa_flags & SA_SIGINFO) && previous->sa_sigaction != NULL) {
			previous->sa_sigaction(number, info, context);
			return;
		}
		/* Not ours and nobody else's: let it kill the process where it happened. */
		sigaction(number, previous, NULL);
		return;
	}
}

static void capture_registers(struct insn_state *state, const greg_t *gregs)
{
	static const uint8_t order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
					  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
	for (unsigned i = 0; i < 16; i++)
		state->gpr[i] = (uint64_t)gregs[order[i]];
	state->rip = (uint64_t)gregs[REG_RIP];
	state->rflags = (uint64_t)gregs[REG_EFL];
	state->fs_base = native_frame.out_fs_base;
	state->gs_base = native_frame.out_gs_base;
	state->selector[CPU_CS] = (uint16_t)gregs[REG_CSGSFS];
	state->selector[CPU_SS] = (uint16_t)(gregs[REG_CSGSFS] >> 48);
	state->selector[CPU_DS] = native_frame.out_ds;
	state->selector[CPU_ES] = native_frame.out_es;
	state->selector[CPU_FS] = native_frame.out_fs;
	state->selector[CPU_GS] = native_frame.out_gs;
}

void native_capture(int number, siginfo_t *info, void *context)
{
	(void)info;
	const ucontext_t *ucontext = context;
	struct native_capture *capture = &native_owner->capture;
	const greg_t *gregs = ucontext->uc_mcontext.gregs;
	capture_registers(&capture->state, gregs);
	/* The kernel saves with XSAVE in the standard format, which writes components in their initial state too. */
	memcpy(capture->state.xsave, ucontext->uc_mcontext.fpregs, STATE_XSAVE_SIZE);
	capture->signal = number;
	capture->trap = (uint64_t)gregs[REG_TRAPNO];
	capture->error = (uint64_t)gregs[REG_ERR];
	capture->cr2 = (uint64_t)gregs[REG_CR2];
}

static void *map_at(uint64_t address, size_t size, int protection, int fd, uint64_t offset)
{
	return mmap((void *)(uintptr_t)address, size, protection, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE,
		    fd, // NOLINT
		    (off_t)offset);
}

static int protection_of(unsigned page)
{
	switch (layout_page(page)) {
	case PAGE_NONE:
		return PROT_NONE;
	case PAGE_RAM_READ_ONLY:
		return PROT_READ;
	default:
		return PROT_READ | PROT_WRITE;
	}
}

static bool map_area(struct native *native, uint64_t base, uint64_t offset)
{
	for (unsigned page = 0; page < LAYOUT_AREA_PAGES; page++) {
		uint64_t within = page * (uint64_t)LAYOUT_PAGE;
		void *at = map_at(base + within, LAYOUT_PAGE, protection_of(page), native->data_fd, offset + within);
		if (at == MAP_FAILED)
			return false;
	}
	return true;
}

static bool map_all(struct native *native, struct error *error)
{
	native->code_fd = memfd_create("insn-code", MFD_CLOEXEC);
	native->data_fd = memfd_create("insn-data", MFD_CLOEXEC);
	if (native->code_fd < 0 || native->data_fd < 0 || ftruncate(native->code_fd, LAYOUT_CODE_SIZE) != 0 ||
	    ftruncate(native->data_fd, LAYOUT_DATA_SIZE) != 0)
		return error_set_errno(error, "cannot make the memory of the reference processor");
	native->code = mmap(NULL, LAYOUT_CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, native->code_fd, 0);
	native->data = mmap(NULL, LAYOUT_DATA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, native->data_fd, 0);
	if (native->code == MAP_FAILED || native->data == MAP_FAILED)
		return error_set_errno(error, "cannot map the memory of the reference processor");
	memset(native->code, 0xcc, LAYOUT_CODE_SIZE);
	if (map_at(LAYOUT_CODE, LAYOUT_CODE_SIZE, PROT_READ | PROT_EXEC, native->code_fd, 0) == MAP_FAILED)
		return error_set_errno(error, "cannot map code at its fixed address");
	for (unsigned area = 0; area < AREA_COUNT; area++) {
		uint64_t low = layout_area_base((enum layout_area)area, false);
		uint64_t high = layout_area_base((enum layout_area)area, true);
		uint64_t offset = area * (uint64_t)LAYOUT_AREA_SIZE;
		if (!map_area(native, low, offset) || (high != low && !map_area(native, high, offset)))
			return error_set_errno(error, "cannot map data at its fixed address");
	}
	return true;
}

static bool ldt_set(unsigned number)
{
	const struct segment_entry *entry = &segment_entries[number];
	struct user_desc descriptor = {.entry_number = number,
				       .base_addr = entry->base,
				       .limit = entry->limit,
				       .contents = entry->code	 ? MODIFY_LDT_CONTENTS_CODE
						   : entry->down ? MODIFY_LDT_CONTENTS_STACK
								 : MODIFY_LDT_CONTENTS_DATA,
				       .seg_32bit = entry->big,
				       .read_exec_only = entry->locked,
				       .seg_not_present = entry->absent,
				       .limit_in_pages = entry->pages};
	return syscall(SYS_modify_ldt, 0x11, &descriptor, sizeof descriptor) == 0;
}

static bool install_handlers(struct native *native, struct error *error)
{
	stack_t current;
	if (sigaltstack(NULL, &current) != 0)
		return error_set_errno(error, "cannot read the alternate signal stack");
	if (current.ss_flags & SS_DISABLE) {
		native->alternate_stack = malloc(NATIVE_ALTERNATE_STACK);
		stack_t stack = {.ss_sp = native->alternate_stack, .ss_size = NATIVE_ALTERNATE_STACK};
		if (native->alternate_stack == NULL || sigaltstack(&stack, NULL) != 0)
			return error_set_errno(error, "cannot make an alternate signal stack");
	}
	struct sigaction action = {.sa_sigaction = native_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	for (unsigned i = 0; i < NATIVE_SIGNALS; i++) {
		if (sigaction(native_signals[i], &action, &native->previous[i]) != 0)
			return error_set_errno(error, "cannot catch signals");
	}
	return true;
}

/* A code segment that does not work raises a fault, at once. */
static bool probe(struct native *native, const uint16_t selector[6], uint64_t rip)
{
	struct insn_state state = {.rip = rip, .rflags = 0x202};
	memcpy(state.selector, selector, sizeof state.selector);
	state.gpr[CPU_RSP] = (uint64_t)segment_stack_high[0] << 16 | 0x1000;
	state.xsave[0] = 0x7f;
	state.xsave[1] = 0x03;
	state.xsave[24] = 0x80;
	state.xsave[25] = 0x1f;
	struct insn_result result;
	native_run(native, false, false, &state, &result);
	return result.outcome == OUTCOME_DONE && result.state.rip == rip &&
	       result.state.gpr[CPU_RSP] == state.gpr[CPU_RSP];
}

static bool probe_mode32(struct native *native)
{
	static const uint16_t selector[6] = {LAYOUT_DS, LAYOUT_CS32, LAYOUT_DS, LAYOUT_DS, LAYOUT_FS32, LAYOUT_GS32};
	return ldt_set(0) && ldt_set(1) && probe(native, selector, LAYOUT_CODE);
}

/* A 16-bit code segment with a 16-bit stack. Kernels without CONFIG_X86_16BIT refuse the descriptors. */
static bool probe_segments(struct native *native)
{
	uint16_t selector[6] = {LAYOUT_DS, 0, 0, LAYOUT_DS, LAYOUT_DS, LAYOUT_DS};
	uint64_t rip = 0;
	for (unsigned i = 0; i < SEGMENT_ENTRIES; i++) {
		const struct segment_entry *entry = &segment_entries[i];
		if (!ldt_set(i))
			return false;
		if (entry->code && !entry->big && !entry->absent && selector[CPU_CS] == 0) {
			selector[CPU_CS] = SEGMENT_SELECTOR(i);
			rip = LAYOUT_CODE - entry->base;
		}
		if (entry->reach == REACH_STACK && !entry->big && selector[CPU_SS] == 0)
			selector[CPU_SS] = SEGMENT_SELECTOR(i);
	}
	return probe(native, selector, rip);
}

/* IRET leaves the upper half of ESP alone when SS is a 16-bit segment. So the one wanted must be there before. */
static bool map_iret_stacks(struct error *error)
{
	for (unsigned i = 0; i < SEGMENT_STACK_HIGHS; i++) {
		void *wanted = (void *)((uintptr_t)segment_stack_high[i] << 16 | NATIVE_IRET_PAGE); // NOLINT
		if (mmap(wanted, LAYOUT_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0) != wanted)
			return error_set_errno(error, "cannot map a stack at its fixed address");
	}
	return true;
}

static void unmap_iret_stacks(void)
{
	for (unsigned i = 0; i < SEGMENT_STACK_HIGHS; i++)
		munmap((void *)((uintptr_t)segment_stack_high[i] << 16 | NATIVE_IRET_PAGE), LAYOUT_PAGE); // NOLINT
}

/* The top of the stack that IRET pops from. */
static uint64_t iret_stack(const struct insn_state *state)
{
	uint64_t high = segment_stack_high[0];
	const struct segment_entry *stack = segment_find(state->selector[CPU_SS]);
	if (stack != NULL && !stack->big) {
		high = state->gpr[CPU_RSP] >> 16;
		bug_if(high != segment_stack_high[0] && high != segment_stack_high[1]);
	}
	return high << 16 | (NATIVE_IRET_PAGE + LAYOUT_PAGE / 2);
}

struct native *native_create(struct error *error)
{
	if (!(getauxval(AT_HWCAP2) & 2)) {
		error_set(error, ERROR_HOST, "the kernel does not allow FSGSBASE; Linux 5.9 or later is needed");
		return NULL;
	}
	struct native *native = calloc(1, sizeof *native);
	if (native == NULL) {
		error_set_errno(error, "out of memory");
		return NULL;
	}
	native->code_fd = native->data_fd = -1;
	native_owner = native;
	if (!map_all(native, error) || !map_iret_stacks(error) || !install_handlers(native, error)) {
		native_destroy(native);
		return NULL;
	}
	native->mode32 = probe_mode32(native);
	native->segments = native->mode32 && probe_segments(native);
	return native;
}

static void unmap(void *at, size_t size)
{
	if (at != NULL && at != MAP_FAILED)
		munmap(at, size);
}

void native_destroy(struct native *native)
{
	if (native == NULL)
		return;
	for (unsigned i = 0; i < NATIVE_SIGNALS; i++) {
		if (native->previous[i].sa_sigaction != NULL || native->alternate_stack != NULL)
			sigaction(native_signals[i], &native->previous[i], NULL);
	}
	if (native->alternate_stack != NULL) {
		stack_t off = {.ss_flags = SS_DISABLE};
		sigaltstack(&off, NULL);
	}
	unmap(native->code, LAYOUT_CODE_SIZE);
	unmap(native->data, LAYOUT_DATA_SIZE);
	munmap((void *)LAYOUT_CODE, LAYOUT_CODE_SIZE);
	unmap_iret_stacks();
	for (unsigned area = 0; area < AREA_COUNT; area++) {
		munmap((void *)layout_area_base((enum layout_area)area, false), LAYOUT_AREA_SIZE); // NOLINT
		munmap((void *)layout_area_base((enum layout_area)area, true), LAYOUT_AREA_SIZE);  // NOLINT
	}
	close(native->code_fd);
	close(native->data_fd);
	free(native->alternate_stack);
	native_owner = NULL;
	free(native);
}

static void populate_area(uint64_t base)
{
	for (unsigned page = 0; page < LAYOUT_AREA_PAGES; page++) {
		if (layout_page(page) != PAGE_NONE)
			(void)*(volatile const uint8_t *)(uintptr_t)(base + page * (uint64_t)LAYOUT_PAGE); // NOLINT
	}
}

void native_populate(struct native *native)
{
	native->alarm_armed = false; /* timers are not inherited either */
	for (unsigned area = 0; area < AREA_COUNT; area++) {
		populate_area(layout_area_base((enum layout_area)area, false));
		populate_area(layout_area_base((enum layout_area)area, true));
	}
}

bool native_has_mode32(const struct native *native)
{
	return native->mode32;
}

bool native_has_segments(const struct native *native)
{
	return native->segments;
}

uint8_t *native_code(struct native *native)
{
	return native->code;
}

uint8_t *native_data(struct native *native)
{
	return native->data;
}

/* An instruction that loops on itself is ended by the alarm, which is armed anew now and then and so never fires
 * otherwise. */
static void arm_alarm(struct native *native)
{
	if (native->alarm_armed && ++native->runs % NATIVE_RUNS_PER_ALARM != 0)
		return;
	static const struct itimerval timer = {.it_value = {.tv_sec = 2}};
	setitimer(ITIMER_REAL, &timer, NULL);
	native->alarm_armed = true;
}

/* Components this host has at all: XRSTOR refuses others. */
static uint8_t host_components(void)
{
	uint32_t low, high;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint8_t)(low & 7);
}

static void frame_fill(bool mode64, bool single_step, const struct insn_state *state)
{
	struct native_frame *frame = &native_frame;
	memcpy(frame->xsave, state->xsave, STATE_XSAVE_SIZE);
	frame->xsave[STATE_XSAVE_HEADER] &= host_components();
	memcpy(frame->gpr, state->gpr, sizeof frame->gpr);
	frame->rflags = state->rflags | (single_step ? FLAG_TRAP : 0);
	frame->fs_base = state->fs_base;
	frame->gs_base = state->gs_base;
	frame->rip = state->rip;
	frame->cs = state->selector[CPU_CS];
	frame->ss = state->selector[CPU_SS];
	frame->ds = state->selector[CPU_DS];
	frame->es = state->selector[CPU_ES];
	frame->fs = state->selector[CPU_FS];
	frame->gs = state->selector[CPU_GS];
	frame->iret_stack = iret_stack(state);
	frame->mode32 = !mode64;
}

static void classify(const struct native_capture *capture, const struct insn_state *start, bool single_step,
		     struct insn_result *result)
{
	enum { TRAP_DEBUG = 1, TRAP_BREAKPOINT = 3, TRAP_PROTECTION = 13, TRAP_PAGE_FAULT = 14, ERROR_FETCH = 16 };
	bool at_start = result->state.rip == start->rip && result->state.selector[CPU_CS] == start->selector[CPU_CS];
	if (capture->signal == SIGALRM) {
		result->outcome = OUTCOME_TIMEOUT;
	} else if (capture->trap == TRAP_BREAKPOINT) {
		result->outcome = OUTCOME_DONE;
		result->state.rip--;
	} else if (capture->trap == TRAP_DEBUG && single_step) {
		result->outcome = OUTCOME_DONE;
	} else if (capture->trap == TRAP_PAGE_FAULT && (capture->error & ERROR_FETCH)) {
		result->outcome = at_start ? OUTCOME_FETCH : OUTCOME_DONE;
	} else if (at_start) {
		result->outcome = OUTCOME_FAULT;
	} else if (capture->trap == TRAP_PROTECTION) {
		result->outcome = OUTCOME_DONE; /* the next instruction lies beyond the limit of CS */
	} else {
		result->outcome = OUTCOME_UNKNOWN;
	}
	result->vector = (uint8_t)capture->trap;
	result->error_code = (uint32_t)capture->error;
	result->address = capture->cr2;
}

void native_run(struct native *native, bool mode64, bool single_step, const struct insn_state *state,
		struct insn_result *result)
{
	arm_alarm(native);
	frame_fill(mode64, single_step, state);
	native_enter();
	result->state = native->capture.state;
	if (single_step)
		result->state.rflags &= ~(uint64_t)FLAG_TRAP;
	classify(&native->capture, state, single_step, result);
	if (result->outcome == OUTCOME_TIMEOUT)
		native->alarm_armed = false;
}

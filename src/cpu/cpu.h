/* SPDX-License-Identifier: MIT */
/*
 * The architectural state of one virtual processor, and what hardware defines about it. Sources: Intel SDM
 * volumes 2 and 3, AMD APM volumes 2 and 3.
 *
 * Theory of operation.
 *
 * The cpu layer is engine-neutral. It holds the state, walks page tables, delivers exceptions and
 * interrupts, and executes every instruction that is not plain computation (cpu/insn.h). An engine runs the
 * plain instructions and calls in here for the rest.
 *
 * `struct cpu` is addressed by translated code through one base register, so the fields that such code touches come
 * first: gpr[12..15] lie within a signed 8-bit displacement. Offsets are taken with offsetof, never written down twice.
 *
 * No libc, no vector registers. Translated code calls this layer with the guest's x87, SSE and AVX state live in
 * the host's registers. All files of this layer are therefore compiled with -mgeneral-regs-only and call nothing
 * outside this layer and the inline functions of the layers below, except between cpu_fpu_park() and the return to the
 * engine. A test checks the objects' undefined symbols. Copies use copy_bytes(), not memcpy or struct assignment
 * of more than a few words.
 *
 * Flags. CF PF AF ZF SF OF live in flags_arithmetic while C runs (in the host's own flags while guest code runs). IF is
 * a byte of its own, so that translated CLI and STI are one store. Everything else of RFLAGS is in flags_system. Use
 * cpu_rflags() and cpu_rflags_set().
 *
 * Faults. A function that can fault returns false after cpu_fault() has filled `pending`; the caller returns at once,
 * having changed no architectural state (or only such as hardware would have). The engine then calls
 * cpu_deliver_pending().
 *
 * Events. Any thread sets bits in `requests` and then clears `run`; translated code polls `run` at back-edges,
 * indirect branches and in REP loops and leaves when it is zero. The vCPU's thread sets `run` to 1 before it reads
 * `requests`.
 *
 * Threading: everything else in here belongs to the vCPU's thread.
 */
#ifndef NFOLD_CPU_CPU_H
#define NFOLD_CPU_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"
#include "cpu/debugger.h"
#include "cpu/tlb.h"
#include "io/bus.h"
#include "io/clock.h"
#include "io/irq.h"
#include "ledger/ledger.h"
#include "memory/memory.h"

enum cpu_gpr {
	CPU_RAX,
	CPU_RCX,
	CPU_RDX,
	CPU_RBX,
	CPU_RSP,
	CPU_RBP,
	CPU_RSI,
	CPU_RDI,
	CPU_R8,
	CPU_R9,
	CPU_R10,
	CPU_R11,
	CPU_R12,
	CPU_R13,
	CPU_R14,
	CPU_R15
};

/* In the encoding's order. */
enum cpu_segment_name { CPU_ES, CPU_CS, CPU_SS, CPU_DS, CPU_FS, CPU_GS, CPU_SEGMENT_COUNT };

/* After MOV SS and POP SS debug exceptions wait too, after STI they do not. Translated STI stores IF - 1. */
#define CPU_SHADOW_SS 1
#define CPU_SHADOW_STI 0xff

/* RFLAGS */
#define FLAG_CF BIT32(0)
#define FLAG_FIXED BIT32(1)
#define FLAG_PF BIT32(2)
#define FLAG_AF BIT32(4)
#define FLAG_ZF BIT32(6)
#define FLAG_SF BIT32(7)
#define FLAG_TF BIT32(8)
#define FLAG_IF BIT32(9)
#define FLAG_DF BIT32(10)
#define FLAG_OF BIT32(11)
#define FLAG_IOPL (3u << 12)
#define FLAG_NT BIT32(14)
#define FLAG_RF BIT32(16)
#define FLAG_VM BIT32(17)
#define FLAG_AC BIT32(18)
#define FLAG_VIF BIT32(19)
#define FLAG_VIP BIT32(20)
#define FLAG_ID BIT32(21)
#define FLAGS_ARITHMETIC (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)
#define FLAGS_ALL 0x3f7fd5u /* every defined bit but the fixed one */

#define CR0_PE BIT64(0)
#define CR0_MP BIT64(1)
#define CR0_EM BIT64(2)
#define CR0_TS BIT64(3)
#define CR0_ET BIT64(4)
#define CR0_NE BIT64(5)
#define CR0_WP BIT64(16)
#define CR0_AM BIT64(18)
#define CR0_NW BIT64(29)
#define CR0_CD BIT64(30)
#define CR0_PG BIT64(31)

#define CR4_VME BIT64(0)
#define CR4_PVI BIT64(1)
#define CR4_TSD BIT64(2)
#define CR4_DE BIT64(3)
#define CR4_PSE BIT64(4)
#define CR4_PAE BIT64(5)
#define CR4_MCE BIT64(6)
#define CR4_PGE BIT64(7)
#define CR4_PCE BIT64(8)
#define CR4_OSFXSR BIT64(9)
#define CR4_OSXMMEXCPT BIT64(10)
#define CR4_UMIP BIT64(11)
#define CR4_FSGSBASE BIT64(16)
#define CR4_PCIDE BIT64(17)
#define CR4_OSXSAVE BIT64(18)
#define CR4_SMEP BIT64(20)
#define CR4_SMAP BIT64(21)

#define EFER_SCE BIT64(0)
#define EFER_LME BIT64(8)
#define EFER_LMA BIT64(10)
#define EFER_NXE BIT64(11)

enum cpu_vector {
	VECTOR_DE = 0,
	VECTOR_DB = 1,
	VECTOR_NMI = 2,
	VECTOR_BP = 3,
	VECTOR_OF = 4,
	VECTOR_BR = 5,
	VECTOR_UD = 6,
	VECTOR_NM = 7,
	VECTOR_DF = 8,
	VECTOR_TS = 10,
	VECTOR_NP = 11,
	VECTOR_SS = 12,
	VECTOR_GP = 13,
	VECTOR_PF = 14,
	VECTOR_MF = 16,
	VECTOR_AC = 17,
	VECTOR_MC = 18,
	VECTOR_XM = 19
};

/* Page-fault error code */
#define PF_PRESENT 1u
#define PF_WRITE 2u
#define PF_USER 4u
#define PF_RESERVED 8u
#define PF_FETCH 16u

/* A segment register with its hidden part. `access` is descriptor bits 40-47 | bits 52-55 << 12: type in
 * bits 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15. A null selector has P clear. */
struct cpu_segment {
	uint64_t base;
	uint32_t limit; /* in bytes, inclusive, granularity applied */
	uint16_t selector;
	uint16_t access;
};
#define SEGMENT_P 0x80u
#define SEGMENT_S 0x10u
#define SEGMENT_L 0x2000u
#define SEGMENT_DB 0x4000u
#define SEGMENT_G 0x8000u

/* The last offset that may be read and written without more ado; -1: cpu_linear() decides. Not for 64-bit code. */
struct cpu_reach {
	int64_t read, write;
};

struct cpu_table {
	uint64_t base;
	uint16_t limit;
};

/* An exception or interrupt on its way into the guest. */
struct cpu_pending {
	bool valid;
	uint8_t vector;
	bool has_error_code;
	bool software;		  /* INT n, INT3, INTO: gate DPL is checked, no EXT bit, the saved IP is the next one */
	bool privileged_software; /* INT1 (ICEBP): as an event, but the saved IP is the next one */
	uint32_t error_code;
	uint64_t cr2;	   /* for VECTOR_PF */
	uint64_t dr6;	   /* for VECTOR_DB: bits to set */
	uint64_t next_rip; /* software: the return address */
};

#define CPU_XSAVE_SIZE 4096 /* at least what the host's XSAVE of the components we use needs */

enum cpu_event { CPU_EVENT_INTERRUPT, CPU_EVENT_NMI, CPU_EVENT_EXCEPTION };

/* What the presented CPUID promises; made once per machine by cpu_model_init (cpu/cpuid.h). */
struct cpu_model;
struct mmu_page;

struct cpu {
	/* --- addressed by translated code --- */
	uint64_t gpr[16];
	uint64_t
	    rip; /* the current instruction while C runs on its behalf; offset from CS.base, as the guest sees it */
	uint32_t requests; /* enum cpu_request, atomic */
	uint32_t flags_arithmetic;
	uint32_t flags_system;
	uint8_t interrupt_enable; /* RFLAGS.IF, 0 or 1 */
	uint8_t interrupt_shadow; /* 0 or CPU_SHADOW_*: the next instruction comes before any interrupt */
	uint8_t cpl;
	uint8_t fpu_live; /* guest vector state is in the host's registers, not in xsave */
	uint32_t mode;	  /* cpu_mode(), kept current by cpu_mode_update() */
	struct cpu_segment segment[CPU_SEGMENT_COUNT];
	struct cpu_reach reach[CPU_SEGMENT_COUNT]; /* of segment[], kept current by cpu_mode_update() */
	uint64_t tsc_offset;			   /* guest TSC = host TSC + this (CLOCK_REAL) */
	struct tlb tlb;

	/* --- C only --- */
	struct cpu_segment ldtr, tr;
	struct cpu_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, xcr0;
	uint64_t pdpte[4]; /* PAE: loaded with CR3 */
	uint64_t
	    a20_masked; /* bits of physical addresses that are forced to 0: bit 20 while A20 is off (mmu_set_a20()) */
	uint64_t dr[8]; /* 4 and 5 unused */
	uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, misc_enable, tsc_aux, tsc_adjust, mtrr_def_type, debugctl, spec_ctrl, bios_sign_id;
	uint64_t mtrr_fixed[11], mtrr_variable[16];
	uint64_t steal;					   /* MSR_KVM_STEAL_TIME */
	bool halted, nmi_blocked, wait_for_sipi, shutdown; /* shutdown: triple fault */
	bool debug_trap;    /* a single-step or data breakpoint trap is due after the current instruction (bits in
			       debug_dr6) */
	uint64_t debug_dr6; /* 0 with debug_trap: the trap is the debugger's, and no #DB follows */
	struct cpu_debug debug;
	struct cpu_pending pending;
	/* x87 error pointers as the guest loaded them; those that the host's FPU records are its own and never shown
	 * (cpu/x87.h). */
	uint64_t fpu_ip, fpu_dp;
	uint16_t fpu_opcode;
	uint32_t index;		  /* of this vCPU; its APIC ID */
	uint8_t startup_vector;	  /* written before CPU_REQUEST_STARTUP is set */
	uint64_t interrupt_since; /* host TSC when CPU_REQUEST_INTERRUPT was set, 0: not told. Atomic; for the ledger */
	/* While *token is not token_held, the vCPU may not run. NULL: it always may. */
	const uint32_t *token;
	uint32_t token_held;
	uint64_t pause_begin, pause_last; /* host TSC: of the first and the last PAUSE of a spin */
	uint64_t host_xstate; /* XSAVE components saved and loaded for the guest; 0: the host has FXSAVE only */

	/* --- owners and neighbours, set at wiring time --- */
	const struct cpu_model *model;
	struct memory *memory;
	struct io_map *ports, *mmio;
	struct interrupt_controller controller;
	struct ledger_vcpu *ledger;
	uint64_t events_wanted; /* kinds that are told (ledger/events.h), set while the vCPU runs; atomic */
	uint64_t *events;	/* their ring */
	struct clock *clock;
	void (*device_lock)(void *opaque);
	void (*device_unlock)(void *opaque);
	void *device_lock_opaque;
	/* FERR#: raised in place of #MF while CR0.NE is clear. Not wired: #MF. Called with the device lock held. */
	struct irq_line ferr;
	/* Set by the engine. Called by the cpu layer when a mapping or a mode that the engine caches may have changed.
	 */
	void (*flush_all)(void *opaque, bool global); /* after the TLB itself was flushed */
	void (*flush_page)(void *opaque, uint64_t linear);
	/* Called after the cpu layer's own stores, page-walk A/D updates included, changed bytes of a PAGE_CODE page.
	 * Other vCPUs may change mappings, pages' flags and TLBs meanwhile; and likewise in device_lock. What was
	 * translated before either call is to be translated again. */
	void (*code_write)(void *opaque, uint64_t gpa, uint64_t size);
	/* NULL, or called while the guest spins: others may use the processor. */
	void (*spin)(void *opaque);
	/* NULL, or told of each translation that the TLB did not have: what MMIO there is, and the first write to each
	 * page since tlb_revoke_writes(). */
	void (*page_watcher)(void *opaque, const struct mmu_page *page, enum tlb_access access);
	/* With steal time in the model: the MSR was written; and, while it is enabled, before each interrupt, with the
	 * vector state parked. */
	void (*steal_changed)(void *opaque);
	void (*steal_update)(void *opaque);
	void *steal_opaque;
	void *engine_opaque;
	/* NULL, or told of each interrupt and exception before it is delivered, with the vector state parked. */
	void (*event_watcher)(void *opaque, enum cpu_event event, const struct cpu *cpu, uint8_t vector);
	void *event_watcher_opaque;

	/* While !fpu_live: standard format. All of x87, SSE and AVX data is valid there whatever XSTATE_BV says;
	 * who changes a component sets its bit (cpu/fpu.h). */
	uint8_t xsave[CPU_XSAVE_SIZE] __attribute__((aligned(64)));

	/* 0: leave guest code at the next poll. In a page of its own, since others than the guest's process may clear
	 * it: see ledger/token.h. */
	uint32_t run __attribute__((aligned(4096)));
};

_Static_assert(offsetof(struct cpu, gpr) == 0, "spilled registers are addressed with 8-bit displacements");

/* Puts an event into the ring. `address` and `value`: as event_row says. */
void cpu_tell(const struct cpu *cpu, unsigned kind, unsigned size, uint64_t address, uint64_t value);

/* Counts what has numbers that tell more; and tells it where somebody wants to know. */
static inline void cpu_count_with(const struct cpu *cpu, enum ledger_counter counter, unsigned size, uint64_t address,
				  uint64_t value)
{
	ledger_count(cpu->ledger, counter);
	if (__builtin_expect((__atomic_load_n(&cpu->events_wanted, __ATOMIC_RELAXED) >> counter & 1) != 0, 0))
		cpu_tell(cpu, counter, size, address, value);
}

static inline void cpu_count(const struct cpu *cpu, enum ledger_counter counter)
{
	cpu_count_with(cpu, counter, 0, 0, 0);
}

/* To be looked at after `run` was set: who takes the token changes it before he clears `run`. */
static inline bool cpu_lost_token(const struct cpu *cpu)
{
	return cpu->token != NULL && __atomic_load_n(cpu->token, __ATOMIC_SEQ_CST) != cpu->token_held;
}

static inline uint64_t cpu_rflags(const struct cpu *cpu)
{
	return (uint64_t)cpu->flags_arithmetic | cpu->flags_system | ((uint64_t)cpu->interrupt_enable << 9) |
	       FLAG_FIXED;
}

/* Sets all of RFLAGS. The caller has applied the privilege rules; the caller calls cpu_mode_update() when TF, AC or VM
 * changed. */
static inline void cpu_rflags_set(struct cpu *cpu, uint64_t value)
{
	cpu->flags_arithmetic = (uint32_t)value & FLAGS_ARITHMETIC;
	cpu->flags_system = (uint32_t)value & FLAGS_ALL & ~(FLAGS_ARITHMETIC | FLAG_IF);
	cpu->interrupt_enable = (value & FLAG_IF) != 0;
}

void cpu_fault_record(struct cpu *cpu, enum cpu_vector vector, bool has_error_code, uint32_t error_code);

/* These record an exception at the current rip. They always return false; inline, so that the compiler knows it. */
static inline bool cpu_fault(struct cpu *cpu, enum cpu_vector vector)
{
	cpu_fault_record(cpu, vector, false, 0);
	return false;
}

static inline bool cpu_fault_code(struct cpu *cpu, enum cpu_vector vector, uint32_t error_code)
{
	cpu_fault_record(cpu, vector, true, error_code);
	return false;
}

static inline bool cpu_fault_page(struct cpu *cpu, uint64_t linear, uint32_t error_code)
{
	cpu_fault_record(cpu, VECTOR_PF, true, error_code);
	cpu->pending.cr2 = linear;
	return false;
}

/* The state after RESET (SDM 3A, 10.1.1) or INIT. Keeps owners and neighbours. */
void cpu_reset(struct cpu *cpu);
void cpu_init_signal(struct cpu *cpu);

/* ---- mode: what translated code depends on besides addresses ---- */

#define MODE_CODE16 0u /* bits 1:0 */
#define MODE_CODE32 1u
#define MODE_CODE64 2u
#define MODE_CODE_MASK 3u
#define MODE_CPL_SHIFT 2      /* bits 3:2 */
#define MODE_STACK32 BIT32(4) /* SS.B; always set in 64-bit mode */
#define MODE_TF BIT32(5)      /* single-step: one instruction a block */
#define MODE_VIEW_SHIFT 6     /* bits 7:6: enum tlb_view of data accesses */
#define MODE_ALIGN BIT32(8)   /* #AC is on: CR0.AM, EFLAGS.AC, CPL 3 */
#define MODE_FPU_TS BIT32(9)  /* CR0.TS */
#define MODE_FPU_EM BIT32(10) /* CR0.EM */
#define MODE_FPU_MP BIT32(11) /* CR0.MP */
#define MODE_SSE BIT32(12)    /* CR4.OSFXSR */
#define MODE_AVX BIT32(13)    /* CR4.OSXSAVE and XCR0 has SSE and AVX */
#define MODE_REAL BIT32(14)   /* CR0.PE clear */
#define MODE_VM86 BIT32(15)
#define MODE_FLAT_DS BIT32(16) /* base 0, limit 4 GiB, readable and writable: no check needed */
#define MODE_FLAT_ES BIT32(17)
#define MODE_FLAT_SS BIT32(18)
#define MODE_FLAT_CS BIT32(19) /* base 0, limit 4 GiB, readable */
#define MODE_FLAT_FS BIT32(20) /* as FLAT_DS but with any base: only the base need be added */
#define MODE_FLAT_GS BIT32(21)
#define MODE_DEBUG BIT32(22) /* DR7 has an instruction breakpoint, or I/O ones: one instruction a block, checked */
#define MODE_OSXMMEXCPT BIT32(23)
#define MODE_NE BIT32(24) /* CR0.NE */
#define MODE_OSXSAVE BIT32(25)
#define MODE_IOPL_OK BIT32(26)	     /* CPL <= IOPL: CLI and STI are allowed */
#define MODE_TSC_OK BIT32(27)	     /* RDTSC is allowed */
#define MODE_ENGINE_MASK 0xf0000000u /* left to the engine */

/* Recomputes cpu->mode from the state. Every function that changes an input calls it. */
void cpu_mode_update(struct cpu *cpu);
/* The same, sooner, where nothing but CS, SS, CPL and RFLAGS may have changed: system calls, exceptions, IRET. */
void cpu_mode_update_transfer(struct cpu *cpu);

static inline unsigned cpu_code_bytes(const struct cpu *cpu) /* 2, 4 or 8 */
{
	return 2u << (cpu->mode & MODE_CODE_MASK);
}

static inline bool cpu_long_mode(const struct cpu *cpu) /* EFER.LMA: 64-bit or compatibility mode */
{
	return (cpu->efer & EFER_LMA) != 0;
}

static inline bool cpu_code64(const struct cpu *cpu)
{
	return (cpu->mode & MODE_CODE_MASK) == MODE_CODE64;
}

/* The linear address of the instruction pointer. */
static inline uint64_t cpu_linear_rip(const struct cpu *cpu)
{
	uint64_t linear = cpu->segment[CPU_CS].base + cpu->rip;
	return cpu_code64(cpu) ? linear : (uint32_t)linear;
}

/* ---- events ---- */

/* Delivers cpu->pending through the IDT, with #DF and shutdown as the manual says (SDM 3A 6.15, "double fault").
 * Sets cpu->shutdown on a triple fault. Afterwards pending.valid is false. */
void cpu_deliver_pending(struct cpu *cpu);

/* Delivers an external interrupt or NMI. Wakes from HLT. */
void cpu_interrupt(struct cpu *cpu, uint8_t vector);
void cpu_nmi(struct cpu *cpu);

/*
 * What the dispatcher does before it enters guest code: takes debug traps that are due, then NMI, then the
 * highest interrupt if IF is set and no shadow holds. Clears INIT, SIPI and NMI requests it served. Returns true when
 * the vCPU may run guest code, false when it is halted, shut down, waiting for SIPI, has CPU_REQUEST_STOP set or lost
 * its token. Parks
 * the FPU where it calls the interrupt controller. A shadow is left set: the engine clears it after the one instruction
 * it covers, and then asks again.
 */
bool cpu_service_events(struct cpu *cpu);

/* True when service_events would find something that ends a halt. */
bool cpu_has_wake_event(const struct cpu *cpu);

/* ---- vector state ---- */

/* Saves the guest's x87, SSE and AVX state from the host's registers if it is live there, and gives C a clean
 * environment: default MXCSR and x87 control, DF clear. Until the next cpu_fpu_unpark(), libc may be called. */
void cpu_fpu_park(struct cpu *cpu);
/* Loads the guest's state into the host's registers if it is parked. The engine calls it before guest code. */
void cpu_fpu_unpark(struct cpu *cpu);

#endif

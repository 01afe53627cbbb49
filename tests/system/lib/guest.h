/* SPDX-License-Identifier: MIT */
/*
 * What every system-behaviour guest is built on: a Multiboot kernel without an operating system that runs unchanged
 * under nfold, QEMU and Bochs, and says on COM1 what it saw.
 *
 * Theory of operation.
 *
 * A guest is one C file with guest_main(), built for 64-bit mode, for 32-bit mode or for both. Start code brings up a
 * flat GDT, an IDT with a stub for each vector, a TSS, and in 64-bit mode an identity map of the first 4 GiB with 2 MiB
 * pages.
 *
 * The behaviour under test is a FRAGMENT: a few assembler lines with labels. run() calls it at CPL 0 and run_user() at
 * CPL 3, with the general registers of `regs`; both come back when the fragment returns or when a trap is taken, and
 * leave what was seen in `trap` (trap.vector is NO_TRAP when there was none) and the registers at that moment in
 * `regs`. A guest that wants to go on after a trap sets `trap_hook`.
 *
 * What was seen becomes a fact: one line "name value" on COM1. tests/system/oracle.py compares the facts of the three.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef unsigned long word; /* as wide as a register */

#ifdef __x86_64__
#define IS64 1
#else
#define IS64 0
#endif

/* ---- facts ---- */

void print(const char *text);
void print_flush(void);
extern const char *fact_prefix; /* before every name: "" at first */
void fact(const char *name, uint64_t value);
void fact_of(const char *group, const char *name, uint64_t value); /* "group.name" */
void check(const char *name, bool holds);			   /* "name ok" or "name BAD" */
/* The processor does not offer it: the driver does not miss the facts whose names begin with "group.". */
void absent(const char *group);
__attribute__((noreturn)) void finish(void);

/* ---- selectors ---- */

#define KERNEL_CODE 0x08
#define KERNEL_DATA 0x10
#define USER_CODE32 0x1b
#define USER_DATA 0x23
#define USER_CODE64 0x2b
#define KERNEL_CODE32 0x30
#define TSS_SELECTOR 0x38
#define FREE_SELECTOR 0x50 /* from here on the guest's own */
#define GDT_ENTRIES 64
#define USER_CODE (IS64 ? USER_CODE64 : USER_CODE32)

extern uint64_t gdt[GDT_ENTRIES];
/* access: descriptor bits 40-47; flags: bits 52-55 (8 = G, 4 = D/B, 2 = L) */
uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags);
void gdt_set(unsigned selector, uint64_t value);

struct tss {
#ifdef __x86_64__
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, io_map;
#else
	uint32_t link;
	struct {
		uint32_t esp, ss;
	} stack[3];
	uint32_t cr3, eip, eflags, gpr[8], segment[6], ldt;
	uint16_t trap, io_map;
#endif
	uint8_t bitmap[8192 + 1];
} __attribute__((packed));
extern struct tss tss;
#define TSS_BITMAP ((uint16_t)offsetof(struct tss, bitmap))

/* ---- gates ---- */

#define GATE_INTERRUPT 0x8e
#define GATE_TRAP 0x8f
#define GATE_DPL3 0x60
#define GATE_CALL 0x8c
#define GATE_TASK 0x85

struct gate {
	uint64_t low;
#ifdef __x86_64__
	uint64_t high;
#endif
};
extern struct gate idt[256];
/* type: one of GATE_*, DPL added; ist: 64-bit only */
struct gate gate(word target, unsigned selector, unsigned type, unsigned ist);
word trap_stub(unsigned vector); /* where the IDT's own gate for a vector leads */

/* ---- running code ---- */

struct regs {
	word ax, cx, dx, bx, sp, bp, si, di;
#ifdef __x86_64__
	word r8, r9, r10, r11, r12, r13, r14, r15;
#endif
	word flags; /* at the return of a fragment that was not trapped */
};
extern struct regs regs;

/* As the stubs leave it on the stack. */
struct frame {
#ifdef __x86_64__
	word r15, r14, r13, r12, r11, r10, r9, r8;
#else
	word gs, fs, es, ds;
#endif
	word di, si, bp, bx, dx, cx, ax;
	word vector, error, ip, cs, flags, sp, ss; /* sp and ss: in 32-bit mode only after a change of privilege */
};

#define NO_TRAP 0xfff

struct trap {
	word vector, error, ip, cs, flags, sp, ss, cr2, handler_sp;
	unsigned count; /* since run() */
};
extern struct trap trap;

/* Returns true to go on with the frame (iret), false to end the run. */
typedef bool trap_hook_function(struct frame *frame);
extern trap_hook_function *trap_hook;

typedef void code_function(void);
#define FRAGMENT(name, text)                                                                                           \
	void name(void);                                                                                               \
	__asm__(".text\n.balign 16\n.globl " #name "\n" #name ":\n" text "\nret\n.type " #name ", @function\n")

/* The registers of the guest's width, for the texts of fragments. */
#ifdef __x86_64__
#define AX "%rax"
#define CX "%rcx"
#define DX "%rdx"
#define BX "%rbx"
#define SP "%rsp"
#define BP "%rbp"
#define SI "%rsi"
#define DI "%rdi"
#else
#define AX "%eax"
#define CX "%ecx"
#define DX "%edx"
#define BX "%ebx"
#define SP "%esp"
#define BP "%ebp"
#define SI "%esi"
#define DI "%edi"
#endif

#define RUN_FLAGS_NONE 2
extern word run_flags; /* RFLAGS for run_user; run() starts with all flags clear */

void run(code_function *code);
void run_user(code_function *code);
void run_at(unsigned cs, word ip, unsigned ss, word sp); /* by iret, to anywhere */
extern char user_stack_top[], trap_stack_top[], ist_stack_top[], user_return[];

extern word resume_sp; /* run(): the stack before the fragment's return address */

/* vector, error, ip (relative to code), and for page faults cr2: as facts of a group. */
void trap_facts(const char *group, code_function *code);
/* The same in one fact: NO_TRAP, or vector << 16 | error code (7777h: none). */
void outcome(const char *name, code_function *code);
void outcome_user(const char *name, code_function *code);
/* run + trap_facts; the same for user mode. */
void probe(const char *group, code_function *code);
void probe_user(const char *group, code_function *code);

/* ---- paging (paging.c) ---- */

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_PWT 8ull
#define PTE_PCD 16ull
#define PTE_A 32ull
#define PTE_D 64ull
#define PTE_PS 128ull
#define PTE_G 256ull
#define PTE_NX (1ull << 63)

#define PAGE 4096ul
/* Linear addresses where nothing is mapped at first. */
#ifdef __x86_64__
#define AREA 0x8000000000ul
#else
#define AREA 0x40000000ul
#define AREA_END 0x80000000ul
#endif

enum paging_format { PAGING_32 = 2, PAGING_PAE = 3, PAGING_4LEVEL = 4 };

/* 32-bit guests: maps everything but the area one to one with large pages and turns paging on. 64-bit guests start so.
 */
void paging_start(enum paging_format format);
void paging_stop(void);			     /* 32-bit only */
void *page_alloc(void);			     /* zeroed */
void *entry_of(word linear, unsigned level); /* makes the tables above it; level 1: the 4 KiB page's */
uint64_t entry_read(const void *entry);
void entry_write(void *entry, uint64_t value);
void map(word linear, uint64_t physical, uint64_t flags); /* 4 KiB; flushes the page */
void map_level(word linear, uint64_t physical, uint64_t flags, unsigned level);
void unmap(word linear);
void identity_user(bool user); /* may CPL 3 use the identity map: yes at first */
/* A second address space with the same identity map. For space_enter and the mapping functions. */
word space_create(void);
void space_select(word space); /* what the mapping functions change */
void space_enter(word space);  /* loads CR3 */
word space_current(void);

/* ---- the processor ---- */

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};
struct cpuid cpuid(uint32_t leaf, uint32_t subleaf);
bool cpu_has(unsigned bit); /* of leaf 1: ECX 0-31, EDX 32-63; leaf 7: EBX 64-95, ECX 96-127; 80000001h: ECX 128-, EDX
			       160-; Dh.1 EAX 192- */
#define HAS_X2APIC 21
#define HAS_PCID 17
#define HAS_TSC_DEADLINE 24
#define HAS_XSAVE 26
#define HAS_AVX 28
#define HAS_RDRAND 30
#define HAS_SEP (32 + 11)
#define HAS_FSGSBASE 64
#define HAS_SMEP (64 + 7)
#define HAS_INVPCID (64 + 10)
#define HAS_SMAP (64 + 20)
#define HAS_UMIP (96 + 2)
#define HAS_NX (160 + 20)
#define HAS_PAGE1G (160 + 26)
#define HAS_RDTSCP (160 + 27)
#define HAS_XSAVEOPT 192
#define HAS_XSAVEC 193

static inline word read_cr0(void)
{
	word value;
	__asm__ volatile("mov %%cr0, %0" : "=r"(value));
	return value;
}
static inline void write_cr0(word value)
{
	__asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}
static inline word read_cr2(void)
{
	word value;
	__asm__ volatile("mov %%cr2, %0" : "=r"(value));
	return value;
}
static inline word read_cr3(void)
{
	word value;
	__asm__ volatile("mov %%cr3, %0" : "=r"(value));
	return value;
}
static inline void write_cr3(word value)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}
static inline word read_cr4(void)
{
	word value;
	__asm__ volatile("mov %%cr4, %0" : "=r"(value));
	return value;
}
static inline void write_cr4(word value)
{
	__asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}
static inline word read_dr6(void)
{
	word value;
	__asm__ volatile("mov %%dr6, %0" : "=r"(value));
	return value;
}
static inline void write_dr6(word value)
{
	__asm__ volatile("mov %0, %%dr6" : : "r"(value));
}
static inline void write_dr7(word value)
{
	__asm__ volatile("mov %0, %%dr7" : : "r"(value));
}
static inline void write_dr0(word value)
{
	__asm__ volatile("mov %0, %%dr0" : : "r"(value));
}
static inline void invlpg(word linear)
{
	__asm__ volatile("invlpg (%0)" : : "r"(linear) : "memory");
}
static inline uint64_t read_msr(uint32_t index)
{
	uint32_t low, high;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
	return (uint64_t)high << 32 | low;
}
static inline void write_msr(uint32_t index, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}
static inline uint64_t read_tsc(void)
{
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}
static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
	uint8_t value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

#define CR0_MP 2ul
#define CR0_EM 4ul
#define CR0_TS 8ul
#define CR0_NE 0x20ul
#define CR0_WP 0x10000ul
#define CR0_AM 0x40000ul
#define CR0_PG 0x80000000ul
#define CR4_TSD 4ul
#define CR4_DE 8ul
#define CR4_PSE 0x10ul
#define CR4_PAE 0x20ul
#define CR4_PGE 0x80ul
#define CR4_PCE 0x100ul
#define CR4_OSFXSR 0x200ul
#define CR4_OSXMMEXCPT 0x400ul
#define CR4_UMIP 0x800ul
#define CR4_FSGSBASE 0x10000ul
#define CR4_PCIDE 0x20000ul
#define CR4_OSXSAVE 0x40000ul
#define CR4_SMEP 0x100000ul
#define CR4_SMAP 0x200000ul
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_SYSENTER_CS 0x174u
#define MSR_SYSENTER_ESP 0x175u
#define MSR_SYSENTER_EIP 0x176u
#define MSR_APIC_BASE 0x1bu
#define EFER_SCE 1ull
#define EFER_NXE 0x800ull
#define FLAG_CF 1ul
#define FLAG_ZF 0x40ul
#define FLAG_TF 0x100ul
#define FLAG_IF 0x200ul
#define FLAG_DF 0x400ul
#define FLAG_IOPL 0x3000ul
#define FLAG_NT 0x4000ul
#define FLAG_RF 0x10000ul
#define FLAG_AC 0x40000ul

/* Both 8259s: vectors 20h and 28h, everything masked, nothing latched. */
void pic_start(void);
void copy_bytes(void *to, const void *from, word size);
void fill_bytes(void *to, uint8_t value, word size);
void guest_main(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * From mode to mode: real, 16-bit and 32-bit protected, compatibility and 64-bit mode and back; what stays of a segment
 * register when CR0.PE changes without a load ("unreal mode"); LMSW and SMSW.
 */
#include "real.h"

#define FLAT 0x10
#define CODE32 0x50  /* base REAL_LINEAR, 32-bit */
#define SMALL 0x58   /* 4 KiB at DS */
#define STACK32 0x60 /* base of the real-mode stack, big */
#define DATA16 0x68  /* base of DS, 64 KiB */
#define CODE64 0x70
#define LARGE_CODE 0x78 /* base REAL_LINEAR, 16-bit, 4 GiB */
#define FLAT_CODE 0x80	/* 16-bit, base 0, 4 GiB */
#define POINTER 0x10	/* in DS: for LGDT */
#define FAR_POINTER 0x20

__asm__("flat = 0x10\n code32 = 0x50\n small = 0x58\n stack32 = 0x60\n data16 = 0x68\n code64 = 0x70\n large_code = "
	"0x78\n flat_code = 0x80\n"
	"code16 = 0x1e8\n");

#define PE_ON "cli\n lgdtl 0x10\n mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n"
#define PE_OFF "mov %cr0, %eax\n and $0xfe, %al\n mov %eax, %cr0\n"
#define RESTORE                                                                                                        \
	"mov $0x3000, %ax\n mov %ax, %ds\n mov $0x4000, %ax\n mov %ax, %es\n mov $0x5000, %ax\n mov %ax, %ss\n mov "   \
	"$0xf000, %sp\n"

/* ---- what a segment register keeps ---- */

FRAGMENT16(unreal_flat,
	   PE_ON "mov $flat, %bx\n mov %bx, %ds\n" PE_OFF "mov $0x30100, %esi\n mov (%esi), %ebx\n mov %ds, %cx\n"
		 "mov $0x3000, %ax\n mov %ax, %ds\n mov $0x20100, %esi\n mov (%esi), %edx\n movl $0x5a5a5a5a, 4(%esi)");
FRAGMENT16(unreal_loaded, PE_ON "mov $flat, %bx\n mov %bx, %fs\n" PE_OFF
				"xor %ax, %ax\n mov %ax, %fs\n mov $0x100000, %esi\n mov %fs:(%esi), "
				"%ebx\n mov $0x1000, %ax\n mov %ax, %fs\n mov $0x40100, %esi\n mov %fs:(%esi), %ecx");
FRAGMENT16(unreal_small, PE_ON "mov $small, %bx\n mov %bx, %ds\n" PE_OFF
			       "mov 0xffe, %bx\n mov $0x3000, %ax\n mov %ax, %ds\n mov 0xffe, %cx\n mov "
			       "0xfff, %dx");
FRAGMENT16(unreal_stack, PE_ON "mov $stack32, %bx\n mov %bx, %ss\n mov $0x1f000, %esp\n" PE_OFF
			       "pushw $0x1234\n mov %esp, %ebx\n mov $0x5000, %ax\n"
			       "mov %ax, %ss\n popw %cx\n mov %esp, %edx\n mov $0xf000, %esp");
FRAGMENT16(unreal_string, PE_ON "mov $flat, %bx\n mov %bx, %ds\n mov %bx, %es\n" PE_OFF
				"mov $0x30100, %esi\n mov $0x40200, %edi\n mov $4, %ecx\n addr32 "
				"rep movsl\n mov $0x40200, %esi\n mov (%esi), %ebx\n mov %esi, %edx");
FRAGMENT16(unreal_int, PE_ON "mov $flat, %bx\n mov %bx, %ds\n" PE_OFF
			     "int $0x45\n mov $0x30100, %esi\n mov (%esi), %ebx\n int $0xfe\n .org unreal_int "
			     "+ 0x80\n mov $0x30104, %edi\n mov (%edi), %ecx\n iret");
FRAGMENT16(unreal_code, PE_ON "ljmpl $large_code, $0x1020\n .org unreal_code + 0x20\n" PE_OFF
			      "mov %cs, %bx\n ljmp $0x2000, $0x1040\n .org unreal_code + "
			      "0x40\n mov $0x10100, %esi\n mov %cs:(%esi), %ecx\n mov %cs, %dx");
/* The same with base 0: what was flat is not any more. */
FRAGMENT16(unreal_flat_code,
	   PE_ON "ljmpl $flat_code, $0x21020\n .org unreal_flat_code + 0x20\n" PE_OFF
		 "mov %cs, %bx\n mov $0x100000, %esi\n mov %cs:(%esi), %edi\n ljmp $0x2000, $0x1050\n .org "
		 "unreal_flat_code + 0x50\n mov %cs:0x1050, %ecx\n mov %cs, %dx\n lcall $0x2100, $0x70\n mov "
		 "%cs:0x1050, %ebp\n int $0xfe\n .org unreal_flat_code + 0x70\n mov "
		 "%cs:0x50, %esi\n lret");
FRAGMENT16(
    protected_small,
    "lgdtl 0x10\n mov 0xffff, %al\n mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n mov 0x100, %ebx\n mov %ds, %cx\n"
    "mov %es:0x100, %edx\n mov %cs, %si\n and $0xfe, %al\n mov %eax, %cr0\n mov 0x104, %edi");
FRAGMENT16(protected_stack,
	   "push $0x1234\n" PE_ON "pop %bx\n push $0x5678\n call 1f\n 1: pop %si\n" PE_OFF "pop %cx\n mov %ss, %dx");

/* ---- far transfers between modes ---- */

FRAGMENT16(to_16, PE_ON "ljmp $code16, $0x1020\n .org to_16 + 0x20\n mov $data16, %bx\n mov %bx, %ds\n mov 0x100, "
			"%ecx\n mov %cs, %dx\n" PE_OFF "ljmp $0x2000, $0x1050\n .org to_16 + 0x50\n mov %cs, %si");
FRAGMENT16(to_32,
	   PE_ON "ljmpl $code32, $0x1020\n .org to_32 + 0x20\n .code32\n mov $flat, %eax\n mov %eax, %ds\n mov "
		 "0x30100, %ebx\n mov %cs, %ecx\n"
		 "ljmpw $code16, $0x1050\n .org to_32 + 0x50\n .code16\n mov $data16, %ax\n mov %ax, %ds\n" PE_OFF
		 "ljmp $0x2000, $0x1080\n .org to_32 + 0x80\n mov %cs, %dx\n mov 0x104, %esi");
/* Real mode with 32-bit code: D stays until a far jump in protected mode. */
FRAGMENT16(real_32,
	   PE_ON "ljmpl $code32, $0x1020\n .org real_32 + 0x20\n .code32\n mov %cr0, %eax\n and $0xfe, %al\n mov %eax, "
		 "%cr0\n mov $0x12345678, "
		 "%ebx\n push %ebx\n pop %ecx\n mov %esp, %edx\n mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n ljmpw "
		 "$code16, $0x1060\n "
		 ".org real_32 + 0x60\n .code16\n" PE_OFF "ljmp $0x2000, $0x1080\n .org real_32 + 0x80\n mov %cs, %si");
FRAGMENT16(far_to_real_32, PE_ON "ljmpl $code32, $0x1020\n .org far_to_real_32 + 0x20\n .code32\n mov %cr0, %eax\n and "
				 "$0xfe, %al\n mov %eax, %cr0\n ljmpl "
				 "$0x2000, $0x1040\n .org far_to_real_32 + 0x40\n mov $0x12345678, %ebx\n mov %cs, "
				 "%ecx\n mov %cr0, %eax\n or $1, %al\n mov "
				 "%eax, %cr0\n ljmpw $code16, $0x1080\n .org far_to_real_32 + 0x80\n .code16\n" PE_OFF
				 "ljmp $0x2000, $0x10a0\n .org far_to_real_32 + 0xa0\n mov %cs, %si");
FRAGMENT16(msw, "smsw %bx\n mov $0xff0, %ax\n lmsw %ax\n smsw %cx\n mov $0x12, %ax\n lmsw %ax\n smsw %dx\n clts\n "
		"lgdtl 0x10\n mov $0x13, %ax\n lmsw %ax\n "
		"smsw %si\n mov $0x12, %ax\n lmsw %ax\n smsw %di\n" PE_OFF);

/*
 * All the way: paging, PE and long mode at once, from real mode; 64-bit code, compatibility mode, and out again. The
 * 64-bit part is in bytes: this is a 32-bit object.
 */
FRAGMENT16(to_64,
	   "cli\n lgdtl 0x10\n mov %cr4, %eax\n or $0x20, %ax\n mov %eax, %cr4\n mov 0x30, %eax\n mov %eax, %cr3\n mov "
	   "$0xc0000080, %ecx\n rdmsr\n"
	   "or $0x100, %ax\n wrmsr\n mov %cr0, %eax\n or $0x80000001, %eax\n mov %eax, %cr0\n rdmsr\n mov %eax, %ebp\n "
	   "ljmpl $code64, $0x21060\n"
	   ".org to_64 + 0x60\n"
	   ".byte 0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11\n" /* mov $0x1122334455667788, %rax */
	   ".byte 0x48, 0xc1, 0xe8, 0x14\n"					/* shr $20, %rax */
	   ".byte 0x41, 0x89, 0xc0, 0x44, 0x89, 0xc3\n"				/* mov %eax, %r8d; mov %r8d, %ebx */
	   ".byte 0x8c, 0xce\n"							/* mov %cs, %esi */
	   ".byte 0xff, 0x2c, 0x25, 0x20, 0x00, 0x03, 0x00\n"			/* ljmpl *0x30020 */
	   ".org to_64 + 0xa0\n .code32\n mov %cs, %edx\n mov %ebx, %eax\n inc %eax\n dec %ebx\n mov %eax, %edi\n"
	   "mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n mov $0xc0000080, %ecx\n xor %eax, %eax\n push "
	   "%edx\n xor %edx, %edx\n "
	   "rdmsr\n mov %eax, %ecx\n push %ecx\n mov $0xc0000080, %ecx\n and $~0x100, %eax\n wrmsr\n pop %ecx\n pop "
	   "%edx\n mov %cr4, %eax\n and "
	   "$~0x20, %eax\n mov %eax, %cr4\n ljmpw $code16, $0x1100\n .org to_64 + 0x100\n .code16\n" PE_OFF
	   "ljmp $0x2000, $0x1120\n .org to_64 + 0x120\n");

static uint64_t tables[3][512] __attribute__((aligned(4096)));

struct row {
	const char *name;
	const uint8_t *code, *end;
};
#define ROW(name)                                                                                                      \
	{                                                                                                              \
#name, name, name##_end                                                                                \
	}

static void prepare(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) pointer = {sizeof(gdt) - 1, (word)gdt};

	for (unsigned k = 0; k < 0x20000; k++)
		real_data(0)[k] = (uint8_t)(k * 5 + (k >> 8) * 3);
	*(volatile uint32_t *)0x100000 = 0xf1a7f1a7;
	copy_bytes(real_data(POINTER), &pointer, sizeof(pointer));
	*(uint32_t *)(void *)real_data(FAR_POINTER) = REAL_FRAGMENT + 0xa0;
	*(uint16_t *)(void *)real_data(FAR_POINTER + 4) = CODE32;
	*(uint32_t *)(void *)real_data(0x30) = (word)tables[0];
}

static void cleanup(void)
{
	real_regs_clear();
	write_cr0(read_cr0() & ~(CR0_TS | CR0_EM));
}

void guest_main(void)
{
	static const struct row table[] = {
	    ROW(unreal_flat),	  ROW(unreal_loaded),	ROW(unreal_small), ROW(unreal_stack),
	    ROW(unreal_string),	  ROW(unreal_int),	ROW(unreal_code),  ROW(unreal_flat_code),
	    ROW(protected_small), ROW(protected_stack), ROW(to_16),	   ROW(to_32),
	    ROW(real_32),	  ROW(far_to_real_32),	ROW(msw),	   ROW(to_64),
	};
	uint32_t data = REAL_DATA_SEGMENT << 4;

	real_start();
	gdt_set(CODE32, descriptor(REAL_LINEAR, 0xffff, 0x9b, 4));
	gdt_set(SMALL, descriptor(data, 0xfff, 0x93, 0));
	gdt_set(STACK32, descriptor(REAL_STACK_SEGMENT << 4, 0xfffff, 0x93, 4));
	gdt_set(DATA16, descriptor(data, 0xffff, 0x93, 0));
	gdt_set(CODE64, descriptor(0, 0xfffff, 0x9b, 0xa));
	gdt_set(LARGE_CODE, descriptor(REAL_LINEAR, 0xfffff, 0x9b, 8));
	gdt_set(FLAT_CODE, descriptor(0, 0xfffff, 0x9b, 8));
	real_vector_set(0x45, REAL_SEGMENT, REAL_FRAGMENT + 0x80);
	tables[0][0] = (word)tables[1] | 7;
	tables[1][0] = (word)tables[2] | 7;
	for (unsigned i = 0; i < 512; i++)
		tables[2][i] = i * 0x200000ull | 0x87;
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		prepare();
		real_probe(table[i].name, table[i].code, table[i].end);
		fact_of(table[i].name, "ax", real_regs.ax);
		fact_of(table[i].name, "bx", real_regs.bx);
		fact_of(table[i].name, "cx", real_regs.cx);
		fact_of(table[i].name, "dx", real_regs.dx);
		fact_of(table[i].name, "si", real_regs.si);
		fact_of(table[i].name, "di", real_regs.di);
		fact_of(table[i].name, "bp", real_regs.bp);
		fact_of(table[i].name, "cr0", real_regs.cr0);
		cleanup();
	}
}

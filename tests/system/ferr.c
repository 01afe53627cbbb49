/* SPDX-License-Identifier: MIT */
/*
 * x87 errors while CR0.NE is clear: IRQ 13 at the next instruction that waits, in real and in protected mode; INT 10h
 * has nothing to do with it. Port F0h takes the request back. QEMU 7.2
 * aborts here.
 */
#include "real.h"

#define IRQ13_VECTOR 0x2d
#define LOG 0x10 /* in DS */
#define HANDLER 0x100

/* Unmasks division by zero, and divides. */
#define DIVIDE "fninit\n movw $0x37b, 0x80\n fldcw 0x80\n fld1\n fldz\n fdivrp\n"
#define NE_OFF "mov %cr0, %eax\n and $~0x20, %eax\n mov %eax, %cr0\n"
#define NE_ON "mov %cr0, %eax\n or $0x20, %eax\n mov %eax, %cr0\n"

/* Counts, notes the interrupted IP and the status word; clears request, error and interrupt. */
#define HANDLING(name)                                                                                                 \
	"int $0xfe\n .org " #name " + 0x100\n push %bp\n mov %sp, %bp\n push %ax\n incw 0x10\n mov 2(%bp), %ax\n sub " \
	"$0x1000, %ax\n mov %ax, 0x12\n"                                                                               \
	"fnstsw 0x14\n fnclex\n xor %al, %al\n out %al, $0xf0\n mov $0x20, %al\n out %al, $0xa0\n out %al, $0x20\n "   \
	"pop %ax\n pop %bp\n iret\n"

FRAGMENT16(waits,
	   NE_OFF DIVIDE "sti\n nop\n nop\n mov 0x10, %bx\n fwait\n mov 0x10, %cx\n cli\n" NE_ON HANDLING(waits));
FRAGMENT16(next_waits, NE_OFF DIVIDE "sti\n nop\n fld1\n mov 0x10, %cx\n cli\n fninit\n" NE_ON HANDLING(next_waits));
FRAGMENT16(twice, NE_OFF DIVIDE
	   "sti\n fwait\n fld1\n fldz\n fdivrp\n fwait\n mov 0x10, %cx\n cli\n fninit\n" NE_ON HANDLING(twice));
FRAGMENT16(no_wait, NE_OFF DIVIDE
	   "sti\n fnstsw %ax\n mov %ax, %dx\n fnstcw 0x90\n fnclex\n fwait\n nop\n mov 0x10, %cx\n cli\n fninit\n" NE_ON
	       HANDLING(no_wait));
FRAGMENT16(masked, NE_OFF
	   "fninit\n fld1\n fldz\n fdivrp\n sti\n fwait\n nop\n mov 0x10, %cx\n fnstsw %ax\n mov %ax, %dx\n cli\n" NE_ON
	       HANDLING(masked));
FRAGMENT16(exception, DIVIDE "sti\n fwait\n nop\n cli\n" HANDLING(exception)); /* NE set: #MF */

static void real(const char *group, const uint8_t *code, const uint8_t *end)
{
	fill_bytes(real_data(0), 0, 0x100);
	outb(0x21, 0xfb);
	outb(0xa1, 0xdf);
	real_probe(group, code, end);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	__asm__ volatile("fninit");
	outb(0xf0, 0);
	write_cr0(read_cr0() | CR0_NE);
	fact_of(group, "count", *real_data(LOG));
	fact_of(group, "at", *(uint16_t *)(void *)real_data(LOG + 2));
	fact_of(group, "status", *(uint16_t *)(void *)real_data(LOG + 4) & 0xff);
	fact_of(group, "bx", real_regs.bx);
	fact_of(group, "cx", real_regs.cx);
	real_regs_clear();
}
#define REAL(name) real(#name, name, name##_end)

/* ---- protected mode ---- */

static unsigned seen;
static word seen_ip;

static bool irq_hook(struct frame *frame)
{
	if (frame->vector != IRQ13_VECTOR)
		return false;
	seen++;
	seen_ip = frame->ip;
	__asm__ volatile("fnclex");
	outb(0xf0, 0);
	outb(0xa0, 0x20);
	outb(0x20, 0x20);
	return true;
}

static uint16_t control __attribute__((used)) = 0x37b;
FRAGMENT(flat_waits, "fninit\n fldcw control\n fld1\n fldz\n fdivrp\n sti\n nop\n fwait\n cli");
FRAGMENT(flat_store, "fninit\n fldcw control\n fld1\n fldz\n fdivrp\n sti\n nop\n fstps control_store\n cli\n fninit");
uint32_t control_store __attribute__((used));

static void protected(const char *group, code_function *code)
{
	outb(0x21, 0xfb);
	outb(0xa1, 0xdf);
	write_cr0(read_cr0() & ~CR0_NE);
	seen = 0;
	seen_ip = 0;
	trap_hook = irq_hook;
	run(code);
	trap_hook = NULL;
	write_cr0(read_cr0() | CR0_NE);
	__asm__ volatile("fninit");
	outb(0xf0, 0);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	fact_of(group, "vector", trap.vector);
	fact_of(group, "count", seen);
	fact_of(group, "ip", seen_ip - (word)code);
}

void guest_main(void)
{
	real_start();
	real_vector_set(IRQ13_VECTOR, REAL_SEGMENT, REAL_FRAGMENT + HANDLER);
	REAL(waits);
	REAL(next_waits);
	REAL(twice);
	REAL(no_wait);
	REAL(masked);
	REAL(exception);
	protected("flat_waits", flat_waits);
	protected("flat_store", flat_store);
	fact_prefix = "again.";
	REAL(waits);
}

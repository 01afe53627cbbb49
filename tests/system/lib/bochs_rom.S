/* SPDX-License-Identifier: MIT */
/*
 * The last 4 KiB of the ROM that Bochs runs in place of a BIOS: from reset straight into the guest's ELF entry
 * with the Multiboot 1 machine state (32-bit protected mode, flat segments, paging off, EAX = 2BADB002h).
 *
 * tests/system/oracle.py puts the guest's segments below this block and fills in `count` and `table`:
 * for each segment its destination, its source in the ROM, bytes to copy, bytes to clear after them.
 * Linked for F000h:F000h and FFFFF000h alike: 16-bit code uses offsets, 32-bit code linear addresses.
 */
#define ROM 0xfffff000

	.code16
	.section .text
block:
count:	.long 0
entry:	.long 0
table:	.fill 16 * 16, 1, 0

start16:
	cli
	/* SDM 3A 10.1.4: the first far jump would lose the ROM's base; stay at FFFF0000h until protected mode. */
	lgdtl	%cs:(gdt_pointer - block + 0xf000)
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$8, $(start32 - block + ROM)

	.code32
start32:
	movl	$16, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	movl	%eax, %ss
	movl	$0x7000, %esp
	movb	$2, %al /* A20 on */
	outb	%al, $0x92
	cld
	movl	ROM, %ebx
	movl	$(ROM + table - block), %ebp
1:	testl	%ebx, %ebx
	jz	2f
	movl	0(%ebp), %edi
	movl	4(%ebp), %esi
	movl	8(%ebp), %ecx
	rep movsb
	movl	12(%ebp), %ecx
	xorl	%eax, %eax
	rep stosb
	addl	$16, %ebp
	decl	%ebx
	jmp	1b
2:	/* A Multiboot information block that says nothing but the memory size. */
	movl	$0x6000, %edi
	movl	$32, %ecx
	xorl	%eax, %eax
	rep stosl
	movl	$0x6000, %ebx
	movl	$1, (%ebx)
	movl	$640, 4(%ebx)
	movl	$(31 * 1024), 8(%ebx)
	movl	$0x2badb002, %eax
	jmpl	*(ROM + 4)

	.balign 8
gdt:	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
gdt_pointer:
	.word	23
	.long	gdt - block + ROM

	.org	0xff0
	.code16
	.byte	0xe9 /* jmp start16 */
	.word	start16 - block - 0xff3
	.org	0x1000

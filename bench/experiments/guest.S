/* SPDX-License-Identifier: MIT */
/*
 * The smallest guest that works and says how much it has done: a Multiboot kernel that computes for ever, in 32-bit protected
 * mode without paging, and writes a byte to the serial port for each unit of work. UNIT is how many rounds make one.
 */
#define COM1 0x3f8
#define COM1_LSR (COM1 + 5)

	.section .text
	.code32
	.globl _start
_start:
	jmp	main
	.balign	4
	.long	0x1badb002, 0, -0x1badb002

main:
	cli
	mov	$1, %eax
	mov	$area, %esi
unit:
	mov	$UNIT, %ecx
1:	mov	%eax, %edx /* xorshift, and a sum somewhere in a page */
	shl	$13, %edx
	xor	%edx, %eax
	mov	%eax, %edx
	shr	$17, %edx
	xor	%edx, %eax
	mov	%eax, %edx
	shl	$5, %edx
	xor	%edx, %eax
	mov	%eax, %edx
	and	$0xffc, %edx
	add	%eax, (%esi, %edx)
	dec	%ecx
	jnz	1b
	mov	%eax, %ebx
	mov	$COM1_LSR, %edx
2:	in	(%dx), %al
	test	$0x20, %al /* transmitter holding register empty */
	jz	2b
	mov	$'.', %al
	mov	$COM1, %edx
	out	%al, (%dx)
	mov	%ebx, %eax
	jmp	unit

	.section .bss
	.balign	4096
	.lcomm	area, 4096

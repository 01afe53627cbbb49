/* SPDX-License-Identifier: MIT */
/*
 * Boot sectors that never halt, in real mode on the BIOS's interrupts. GUEST_name chooses one. Each prints '>' when it
 * has begun.
 */
	.code16
	.globl _start
_start:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0x7c00, %sp
	sti
	mov	$'>', %al
	call	print

#if defined(GUEST_words)
	/* Looks at two words of memory with interrupts on, as idle loops of old kernels do: head and tail of the BIOS's
	 * keyboard queue. Then prints the key. */
wait:
	sti
	nop
	nop
	cli
	mov	0x41a, %ax
	cmp	0x41c, %ax
	je	wait
	sti
	xor	%ah, %ah
	int	$0x16
	call	print
	jmp	wait

#elif defined(GUEST_bios)
	/* Asks the BIOS for a key again and again, as DOS does. */
wait:
	int	$0x11 /* what is installed: one more call that changes nothing */
	mov	$1, %ah
	int	$0x16
	jz	wait
	xor	%ah, %ah
	int	$0x16
	call	print
	jmp	wait

#elif defined(GUEST_count)
	/* Counts in memory up to zero; all registers are the same at each turn. Prints '=' at the end. */
count:
	incl	counter
	jnz	count
	mov	$'=', %al
	call	print
1:	hlt
	jmp	1b
	.balign	4
counter:
	.long	TURNS
#else
#error "GUEST_name is not defined"
#endif

print:
	push	%ax
	push	%bx
	mov	$0x0e, %ah
	mov	$7, %bx
	int	$0x10
	pop	%bx
	pop	%ax
	ret

	.org	510
	.word	0xaa55

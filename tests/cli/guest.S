/* SPDX-License-Identifier: MIT */
/*
 * Small Multiboot guests for the tests of the commands. GUEST_name chooses one. They run in 32-bit protected mode without
 * paging, as a Multiboot loader leaves them, with interrupts off.
 */
#define COM1 0x3f8
#define COM1_LSR (COM1 + 5)
#define DEBUG_EXIT 0xf4
#define PM1A_CNT 0x604 /* of the PIIX4's power management block at 0x600 */

	.section .text
	.code32
	.globl _start
_start:
	jmp	main
	.balign	4
header:
	.long	0x1badb002, 0, -0x1badb002

/* Writes %al to the serial port. Keeps everything but %edx. */
put:
	push	%eax
	mov	$COM1_LSR, %edx
1:	in	(%dx), %al
	test	$0x20, %al /* transmitter holding register empty */
	jz	1b
	pop	%eax
	mov	$COM1, %edx
	out	%al, (%dx)
	ret

#if defined(GUEST_clock) || defined(GUEST_wakes) || defined(GUEST_ticks)
/* Interrupts of the timer every 5 ms. Keeps nothing. */
timer_on:
	lidt	clock_idtr
	mov	$0x34, %al /* PIT channel 0, mode 2, about 5 ms */
	out	%al, $0x43
	mov	$0x17, %al
	out	%al, $0x40
	out	%al, $0x40
	mov	$0x11, %al /* 8259: vectors from 20h, the timer alone */
	out	%al, $0x20
	mov	$0x20, %al
	out	%al, $0x21
	mov	$0x04, %al
	out	%al, $0x21
	mov	$0x01, %al
	out	%al, $0x21
	mov	$0xfe, %al
	out	%al, $0x21
	movw	%cs, clock_gate + 2
	mov	$on_timer, %eax
	mov	%ax, clock_gate
	shr	$16, %eax
	mov	%ax, clock_gate + 6
	ret
on_timer:
	push	%eax
	mov	$0x20, %al
	out	%al, $0x20
	pop	%eax
	iret
	.balign	8
clock_idt:
	.skip	0x20 * 8
clock_gate:
	.long	0, 0x8e00
#if defined(GUEST_ticks)
	.skip	3 * 8
serial_gate: /* 24h: IRQ 4 */
	.long	0, 0x8e00
	.skip	11 * 8
apic_gate: /* 30h */
	.long	0, 0x8e00
#endif
clock_idtr:
	.word	. - clock_idt - 1
	.long	clock_idt
#endif

main:
	mov	$stack_end, %esp

#if defined(GUEST_spin)
	cli
1:	jmp	1b

#elif defined(GUEST_loop) /* a longer loop, with stores */
	cli
1:	incl	stack
	jmp	1b

#elif defined(GUEST_user) /* goes to privilege level 3 and stays there */
	lgdt	gdt_pointer
	mov	$0x23, %eax
	mov	%eax, %ds
	mov	%eax, %es
	push	$0x23
	push	$stack_end
	push	$0x3002 /* IOPL 3, interrupts off */
	push	$0x1b
	push	$user_loop
	iret
user_loop:
	inc	%ecx
	jmp	user_loop
	.balign	8
gdt:
	.quad	0, 0, 0
	.quad	0x00cffb000000ffff /* 1Bh: code */
	.quad	0x00cff3000000ffff /* 23h: data */
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt

#elif defined(GUEST_kernel) /* an instruction in C, over and over */
kernel_loop:
	cpuid
	jmp	kernel_loop

#elif defined(GUEST_halt)
	cli
1:	hlt
	jmp	1b

#elif defined(GUEST_wakes) /* HLT until a timer interrupt, over and over, with little work in between */
	call	timer_on
	sti
1:	hlt
	mov	$20000, %ecx
2:	loop	2b
	jmp	1b

#elif defined(GUEST_ticks) /* two periodic timers of 5 ms, and for each tick of one an interrupt of the serial port */
	call	timer_on
	movw	%cs, serial_gate + 2
	mov	$on_serial, %eax
	mov	%ax, serial_gate
	shr	$16, %eax
	mov	%ax, serial_gate + 6
	movw	%cs, apic_gate + 2
	mov	$on_apic, %eax
	mov	%ax, apic_gate
	shr	$16, %eax
	mov	%ax, apic_gate + 6
	mov	$0xee, %al /* IRQ 4 too */
	out	%al, $0x21
	mov	$COM1 + 4, %edx /* OUT2 lets the serial port interrupt */
	mov	$0x08, %al
	out	%al, (%dx)
	movl	$0x0b, 0xfee003e0
	movl	$0x20030, 0xfee00320
	movl	$5000000, 0xfee00380
	sti
1:	incl	stack
	jmp	1b
on_apic: /* the holding register is empty: enabling its interrupt raises it */
	push	%eax
	push	%edx
	mov	$COM1 + 1, %edx
	xor	%eax, %eax
	out	%al, (%dx)
	mov	$0x02, %al
	out	%al, (%dx)
	movl	$0, 0xfee000b0
	pop	%edx
	pop	%eax
	iret
on_serial: /* reading its cause takes it back */
	push	%eax
	push	%edx
	mov	$COM1 + 2, %edx
	in	(%dx), %al
	mov	$0x20, %al
	out	%al, $0x20
	pop	%edx
	pop	%eax
	iret

#elif defined(GUEST_all) /* all processors are busy */
	movl	$0x900006ff, 0x8000 /* incw 0x9000 */
	movw	$0xfaeb, 0x8004 /* and again */
	movl	$0x000c4500, 0xfee00300 /* INIT to all others */
	mov	$2000000, %ecx
1:	loop	1b
	movl	$0x000c4608, 0xfee00300 /* start-up at 8000h */
1:	incl	stack
	jmp	1b

#elif defined(GUEST_triple)
	lidt	no_idt
	ud2

#elif defined(GUEST_reset) /* by the keyboard controller */
	mov	$0xfe, %al
	out	%al, $0x64
1:	hlt
	jmp	1b

#elif defined(GUEST_reset_pci) /* by the reset control register of the PIIX3 */
	mov	$0xcf9, %edx
	mov	$0x06, %al
	out	%al, (%dx)
1:	hlt
	jmp	1b

#elif defined(GUEST_poweroff) /* S5: SLP_TYP 0, SLP_EN */
	mov	$PM1A_CNT, %edx
	mov	$0x2000, %ax
	out	%ax, (%dx)
1:	hlt
	jmp	1b

#elif defined(GUEST_exit)
	mov	$EXIT_VALUE, %eax
	out	%al, $DEBUG_EXIT
1:	hlt
	jmp	1b

#elif defined(GUEST_tick) /* 'B' at each boot, then dots */
	mov	$'B', %al
	call	put
1:	mov	$200000, %ecx
2:	loop	2b
	mov	$'.', %al
	call	put
	jmp	1b

#elif defined(GUEST_echo) /* sends back what it receives, each byte plus one */
1:	mov	$COM1_LSR, %edx
	in	(%dx), %al
	test	$1, %al
	jz	1b
	mov	$COM1, %edx
	in	(%dx), %al
	inc	%al
	call	put
	jmp	1b

#elif defined(GUEST_ports) /* garbage to and from every port, in every width, for ever */
	rdtsc
	or	$1, %eax
	mov	%eax, %esi
1:	mov	%esi, %eax /* xorshift */
	shl	$13, %eax
	xor	%eax, %esi
	mov	%esi, %eax
	shr	$17, %eax
	xor	%eax, %esi
	mov	%esi, %eax
	shl	$5, %eax
	xor	%eax, %esi
	inc	%ebx
	movzwl	%bx, %edx
	mov	%esi, %eax
	mov	%esi, %ecx
	shr	$11, %ecx
	and	$7, %ecx
	jmp	*actions(,%ecx,4)
2:	in	(%dx), %al
	jmp	1b
3:	in	(%dx), %ax
	jmp	1b
4:	in	(%dx), %eax
	jmp	1b
5:	out	%al, (%dx)
	jmp	1b
6:	out	%ax, (%dx)
	jmp	1b
7:	out	%eax, (%dx)
	jmp	1b
actions: /* writes more often than reads */
	.long	2b, 3b, 4b, 5b, 5b, 6b, 6b, 7b

#elif defined(GUEST_clock) /* the TSC and the RTC's seconds, 16 times, in hexadecimal; HLT until a timer, in between */
	call	timer_on
	mov	$16, %esi
	sti
1:	rdtsc
	call	hex
	xor	%eax, %eax
	out	%al, $0x70
	in	$0x71, %al
	call	hex
	hlt
	dec	%esi
	jnz	1b
	mov	$EXIT_VALUE, %eax
	out	%al, $DEBUG_EXIT
1:	hlt
	jmp	1b
hex:	mov	$8, %ecx
1:	rol	$4, %eax
	push	%eax
	and	$15, %al
	cmp	$10, %al
	sbb	$0x69, %al
	das
	call	put
	pop	%eax
	loop	1b
	ret

#else
#error "no guest chosen"
#endif

no_idt:
	.word	0
	.long	0

	.balign	16
stack:
	.space	1024
stack_end:

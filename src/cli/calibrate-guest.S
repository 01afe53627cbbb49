/* SPDX-License-Identifier: MIT */
/*
 * The guest that nfold calibrate measures: a Multiboot kernel that does one kind of work as often as its command line says,
 * "#" and a letter and a number, and ends by the debug exit port. 32-bit protected mode, paging by pages of 4 MiB but for
 * the 4 MiB from FAULTS on, which have a page table of their own.
 */
#define DEBUG_EXIT 0xf4
#define FAULTS 0x800000
#define APIC 0xfee00000
#define APIC_VERSION 0x30
#define APIC_EOI 0xb0
#define APIC_SPURIOUS 0xf0
#define APIC_ICR 0x300
#define IPI_SELF 0x00044031 /* to itself, asserted, fixed, vector 0x31 */
#define PIT_HZ 1193182

	.section .text
	.code32
	.globl _start
_start:
	jmp	main
	.balign	4
	.long	0x1badb002, 0, -0x1badb002

main:
	cli
	mov	$stack_end, %esp
	mov	16(%ebx), %esi /* the command line, by the Multiboot information */
	call	read_line
	lgdt	gdt_pointer
	ljmp	$8, $1f
1:	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	call	paging_start
	call	gates_start
	movl	$0x1ff, APIC + APIC_SPURIOUS /* enabled */
	mov	count, %ecx
	jmp	*work

/* Finds '#', a letter and a number. */
read_line:
	lodsb
	cmp	$'#', %al
	jne	read_line
	lodsb
	movzbl	%al, %eax
	mov	table - 'a' * 4(, %eax, 4), %eax
	mov	%eax, work
	xor	%edx, %edx
1:	lodsb
	sub	$'0', %al
	cmp	$9, %al
	ja	2f
	movzbl	%al, %eax
	imul	$10, %edx
	add	%eax, %edx
	jmp	1b
2:	mov	%edx, count
	ret

paging_start:
	mov	$directory, %edi
	mov	$0x83, %eax /* present, writable, 4 MiB */
	mov	$1024, %ecx
1:	stosl
	add	$0x400000, %eax
	loop	1b
	movl	$faults + 3, directory + FAULTS / 0x400000 * 4
	mov	%cr4, %eax
	or	$0x10, %eax /* PSE */
	mov	%eax, %cr4
	mov	$directory, %eax
	mov	%eax, %cr3
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	ret

/* Gate %eax to %edx. */
gate:
	mov	%dx, idt(, %eax, 8)
	movw	$8, idt + 2(, %eax, 8)
	movw	$0x8e00, idt + 4(, %eax, 8)
	shr	$16, %edx
	mov	%dx, idt + 6(, %eax, 8)
	ret

gates_start:
	mov	$0x0e, %eax
	mov	$page_fault, %edx
	call	gate
	mov	$0x20, %eax
	mov	$tick, %edx
	call	gate
	mov	$0x31, %eax
	mov	$interrupt, %edx
	call	gate
	mov	$0x80, %eax
	mov	$nothing, %edx
	call	gate
	lidt	idt_pointer
	ret

page_fault:
	movl	$FAULTS + 3, faults
	add	$4, %esp /* the error code */
	iret
interrupt:
	movl	$0, APIC + APIC_EOI
nothing:
	iret
tick:
	push	%eax
	mov	$0x20, %al
	out	%al, $0x20
	pop	%eax
	iret

end:
	xor	%eax, %eax
	mov	$DEBUG_EXIT, %edx
	out	%al, (%dx)
1:	cli
	hlt
	jmp	1b

/* The same as calibrate_native, instruction for instruction. */
compute:
	mov	$1, %eax
	mov	$area, %esi
1:	mov	%eax, %edx
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
	test	$3, %al
	jz	2f
	add	$1, %eax
2:	dec	%ecx
	jnz	1b
	jmp	end

privileged: /* four */
	cli
	mov	%cr0, %eax
	clts
	mov	%cr2, %eax
	dec	%ecx
	jnz	privileged
	jmp	end

space:
	mov	%cr3, %eax
	mov	%eax, %cr3
	dec	%ecx
	jnz	space
	jmp	end

fault:
	movl	$0, faults
	invlpg	FAULTS
	mov	FAULTS, %eax
	dec	%ecx
	jnz	fault
	jmp	end

software:
	int	$0x80
	dec	%ecx
	jnz	software
	jmp	end

port:
	out	%al, $0x80
	dec	%ecx
	jnz	port
	jmp	end

mmio:
	mov	APIC + APIC_VERSION, %eax
	dec	%ecx
	jnz	mmio
	jmp	end

self:
	sti
1:	movl	$IPI_SELF, APIC + APIC_ICR
	nop
	dec	%ecx
	jnz	1b
	jmp	end

/* One sector by PIO: the primary channel's first disk (ATA-6, 8.34 READ SECTOR(S)). */
disk:
	mov	$0x1f2, %edx
	mov	$1, %al
	out	%al, (%dx)
	xor	%al, %al
	inc	%edx
	out	%al, (%dx)
	inc	%edx
	out	%al, (%dx)
	inc	%edx
	out	%al, (%dx)
	inc	%edx
	mov	$0xe0, %al
	out	%al, (%dx)
	inc	%edx
	mov	$0x20, %al
	out	%al, (%dx)
1:	in	(%dx), %al
	and	$0x88, %al
	cmp	$0x08, %al /* data, and not busy */
	jne	1b
	push	%ecx
	mov	$area, %edi
	mov	$256, %ecx
	mov	$0x1f0, %edx
	rep insw
	pop	%ecx
	dec	%ecx
	jnz	disk
	jmp	end

/* Halted but for a clock of 100 Hz. */
idle:
	mov	$pic_words, %esi
1:	movzbl	(%esi), %edx
	mov	1(%esi), %al
	out	%al, (%dx)
	add	$2, %esi
	cmp	$pic_words_end, %esi
	jne	1b
	sti
2:	hlt
	dec	%ecx
	jnz	2b
	jmp	end

	.section .data
	.balign	8
pic_words: /* both 8259: vectors from 0x20, all masked but the clock; the 8254: mode 2 */
	.byte	0x20, 0x11, 0x21, 0x20, 0x21, 0x04, 0x21, 0x01, 0x21, 0xfe
	.byte	0xa0, 0x11, 0xa1, 0x28, 0xa1, 0x02, 0xa1, 0x01, 0xa1, 0xff
	.byte	0x43, 0x34, 0x40, (PIT_HZ / 100) & 0xff, 0x40, (PIT_HZ / 100) >> 8
pic_words_end:
	.balign	8
table: /* a to j */
	.long	compute, privileged, space, fault, software, port, mmio, self, disk, idle
gdt:
	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt
idt_pointer:
	.word	256 * 8 - 1
	.long	idt

	.section .bss
	.balign	4096
	.lcomm	directory, 4096
	.lcomm	faults, 4096
	.lcomm	area, 4096
	.lcomm	idt, 2048
	.lcomm	stack, 4096
	.equ	stack_end, stack + 4096
	.lcomm	work, 4
	.lcomm	count, 4

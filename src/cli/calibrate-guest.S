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
#define PCI_ADDRESS 0xcf8
#define PCI_DATA 0xcfc
#define RECEIVER 0x80008000 /* the adapters: function 16.0 */
#define SENDER 0x80008800   /* and 17.0, which joins the switch later: it knows the other from the beginning */
#define BATCH 8		    /* frames */
#define PATIENCE 6000	    /* ticks: a minute */
#define FRAME 1514
#define MORE 0xc00000	    /* memory that nothing else uses begins here */
#define HOLD 30000	    /* ticks: five minutes, should nobody end it before */
#define SEND (0x8300f000 | (4096 - FRAME))  /* a descriptor: the chip's, a frame's start and end */
#define RECEIVE (0x8000f000 | (4096 - 2048)) /* the chip's, 2048 bytes */

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
	decl	ticks
	mov	$0x20, %al
	out	%al, $0x20
	pop	%eax
	iret

received:
	push	%eax
	push	%edx
	mov	receive_port, %edx
	mov	$0x7f40, %eax /* CSR0: every cause is cleared, IENA stays */
	out	%ax, (%dx)
	mov	$0x20, %al
	out	%al, $0xa0
	out	%al, $0x20
	pop	%edx
	pop	%eax
	iret

/* Both 8259, of which only the clock's line is open, and the clock. */
clock_start:
	mov	$pic_words, %esi
1:	movzbl	(%esi), %edx
	mov	1(%esi), %al
	out	%al, (%dx)
	add	$2, %esi
	cmp	$pic_words_end, %esi
	jne	1b
	ret

failed:
	mov	$1, %eax
	jmp	ended
end:
	xor	%eax, %eax
ended:
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

/*
 * Adapter %edi (Am79C973: PCI, then software style 2 in BCR20, the block %esi in CSR1 and 2, INIT and STRT in CSR0).
 * Returns its data port in %edx; the register that is chosen is CSR0.
 */
adapter_start:
	mov	$PCI_ADDRESS, %edx
	lea	0x10(%edi), %eax
	out	%eax, (%dx)
	mov	$PCI_DATA, %edx
	in	(%dx), %eax
	and	$0xfffc, %eax
	mov	%eax, %ebx
	mov	$PCI_ADDRESS, %edx
	lea	4(%edi), %eax
	out	%eax, (%dx)
	mov	$PCI_DATA, %edx
	mov	$5, %eax /* ports, bus master */
	out	%ax, (%dx)
	lea	0x12(%ebx), %edx
	mov	$20, %eax
	out	%ax, (%dx)
	lea	0x16(%ebx), %edx
	mov	$2, %eax
	out	%ax, (%dx)
	lea	0x12(%ebx), %edx
	mov	$1, %eax
	out	%ax, (%dx)
	lea	0x10(%ebx), %edx
	mov	%esi, %eax
	out	%ax, (%dx)
	lea	0x12(%ebx), %edx
	mov	$2, %eax
	out	%ax, (%dx)
	lea	0x10(%ebx), %edx
	mov	%esi, %eax
	shr	$16, %eax
	out	%ax, (%dx)
	lea	0x12(%ebx), %edx
	xor	%eax, %eax
	out	%ax, (%dx)
	lea	0x10(%ebx), %edx
	mov	$3, %eax
	out	%ax, (%dx)
	ret

/*
 * Frames to the switch, eight at a time, and halted until the other adapter, by interrupt, has taken the last from there.
 * Should it never come, the clock ends it.
 */
network:
	call	clock_start
	mov	$RECEIVER, %edi
	mov	$receiver_block, %esi
	call	adapter_start
	mov	%edx, receive_port
	mov	$0x40, %eax /* CSR0: IENA */
	out	%ax, (%dx)
	mov	$PCI_ADDRESS, %edx
	mov	$RECEIVER + 0x3c, %eax /* its interrupt line */
	out	%eax, (%dx)
	mov	$PCI_DATA, %edx
	in	(%dx), %al
	movzbl	%al, %ebx
	and	$15, %ebx
	lea	0x20(%ebx), %eax
	mov	$received, %edx
	call	gate
	movzwl	pic_mask, %eax
	btr	%ebx, %eax
	out	%al, $0x21
	mov	%ah, %al
	out	%al, $0xa1
	mov	$SENDER, %edi
	mov	$sender_block, %esi
	call	adapter_start
1:	xor	%esi, %esi
2:	movl	$RECEIVE, receive_ring + 4(%esi)
	add	$16, %esi
	cmp	$BATCH * 16, %esi
	jne	2b
	mov	$BATCH, %ebx
3:	movl	$SEND, send_ring + 4
	mov	$8, %eax /* TDMD */
	out	%ax, (%dx)
4:	cmpl	$0, send_ring + 4
	js	4b
	dec	%ebx
	jnz	3b
	movl	$PATIENCE, ticks
5:	cmpl	$0, receive_ring + BATCH * 16 - 12
	jns	6f
	cmpl	$0, ticks
	je	failed
	sti
	hlt
	cli
	jmp	5b
6:	dec	%ecx
	jnz	1b
	jmp	end

/* Halted but for a clock of 100 Hz, or of 1000. */
ticking:
	mov	$PIT_HZ / 1000, %eax
	mov	%al, pic_words_end - 3
	mov	%ah, pic_words_end - 1
idle:
	call	clock_start
	sti
2:	hlt
	dec	%ecx
	jnz	2b
	jmp	end

/* Runs so many KiB of code, each piece once, and then stays, for its memory to be looked at. */
holding_code:
	shl	$10, %ecx
	mov	$MORE, %edi
1:	mov	$piece, %esi
	mov	$piece_end - piece, %edx
2:	movsb
	dec	%edx
	jnz	2b
	sub	$piece_end - piece, %ecx
	ja	1b
	movb	$0xc3, (%edi) /* RET */
	mov	$1, %eax
	mov	$area, %esi
	mov	$MORE, %edi
	call	*%edi
hold:
	mov	$HOLD, %ecx
	jmp	idle

/* The kinds of instructions of compilers' code, in their usual numbers: a branch after five. */
piece:
	mov	(%esi), %edx
	add	%eax, %edx
	mov	%edx, 8(%esi)
	test	$3, %al
	jz	1f
	lea	1(%eax, %edx), %eax
	push	%eax
	mov	4(%esi), %edx
	pop	%eax
1:	cmp	%edx, %eax
	jb	2f
	xor	%edx, %eax
2:	add	$1, %eax
piece_end:

/* Writes to each page of so many MiB, and stays. */
holding_memory:
	shl	$8, %ecx
	mov	$MORE, %edi
1:	mov	%edi, (%edi)
	add	$4096, %edi
	dec	%ecx
	jnz	1b
	jmp	hold

	.section .data
	.balign	8
pic_words: /* both 8259: vectors from 0x20, all masked but the clock; the 8254: mode 2 */
	.byte	0x20, 0x11, 0x21, 0x20, 0x21, 0x04, 0x21, 0x01, 0x21, 0xfe
	.byte	0xa0, 0x11, 0xa1, 0x28, 0xa1, 0x02, 0xa1, 0x01, 0xa1, 0xff
	.byte	0x43, 0x34, 0x40, (PIT_HZ / 100) & 0xff, 0x40, (PIT_HZ / 100) >> 8
pic_words_end:
	.balign	8
table: /* a to n */
	.long	compute, privileged, space, fault, software, port, mmio, self, disk, network, idle, ticking
	.long	holding_code, holding_memory
sender_block: /* mode: no receiver; one descriptor */
	.long	1, 0x00005452, 0x0100, 0, 0, 0, send_ring
receiver_block: /* mode: any address, no transmitter; 8 descriptors */
	.long	0x00308002, 0x00005452, 0x0200, 0, 0, receive_ring, 0
pic_mask: /* the clock and the second 8259 */
	.word	0xfffa
	.balign	16
send_ring:
	.long	frame, 0, 0, 0
receive_ring:
	.rept	BATCH
	.long	area, RECEIVE, 0, 0
	.endr
frame: /* to all, of a type for experiments (IEEE 802) */
	.byte	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1, 0x88, 0xb5
	.fill	FRAME - 14
	.balign	8
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
	.lcomm	ticks, 4
	.lcomm	receive_port, 4
	.lcomm	count, 4

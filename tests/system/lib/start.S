/* SPDX-License-Identifier: MIT */
/*
 * Entry from a Multiboot 1 loader, trap stubs, and the ways into and out of code under test. See guest.h.
 */
	.section .multiboot, "a"
	.balign 4
	.long	0x1badb002, 0x00000003, -(0x1badb002 + 0x00000003)

	.text
	.code32
	.globl	_start
_start:
	cli
	cld
	movl	$boot_stack_top, %esp
	pushl	$0
	popfl
#ifdef __x86_64__
	/* One to one, 2 MiB pages, for everyone. */
	movl	$pml4, %edi
	movl	$(pdpt + 7), (%edi)
	movl	$pdpt, %edi
	movl	$(directories + 7), %eax
	movl	$4, %ecx
1:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$4096, %eax
	loop	1b
	movl	$directories, %edi
	movl	$0x87, %eax
	movl	$2048, %ecx
1:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	loop	1b
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0x6a0, %eax /* PAE, PGE, OSFXSR, OSXMMEXCPT */
	movl	%eax, %cr4
	movl	$0xc0000080, %ecx
	rdmsr
	orl	$0x900, %eax /* LME, NXE */
	wrmsr
	movl	$0x80000033, %eax /* PG, NE, ET, MP, PE */
	movl	%eax, %cr0
	lgdtl	boot_gdt_pointer
	ljmpl	$8, $start64
	.code64
start64:
	movl	$16, %eax
#else
	movl	$0x600, %eax
	movl	%eax, %cr4
	movl	$0x33, %eax
	movl	%eax, %cr0
	lgdtl	boot_gdt_pointer
	ljmpl	$8, $1f
1:	movl	$16, %eax
#endif
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	movl	%eax, %ss
	fninit
	call	guest_start
	hlt

	.balign 8
boot_gdt:
	.quad	0
#ifdef __x86_64__
	.quad	0x00af9b000000ffff
#else
	.quad	0x00cf9b000000ffff
#endif
	.quad	0x00cf93000000ffff
boot_gdt_pointer:
	.word	23
	.long	boot_gdt
	.long	0

/* Stubs of 16 bytes each. Vectors 8, 10-14, 17 and 21 come with an error code. */
	.balign 16
	.globl	trap_stubs
trap_stubs:
	vector = 0
	.rept	256
	.balign	16
	.if	(vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21)
	.else
	push	$0x7777	/* no error code */
	.endif
#ifdef __x86_64__
	pushq	$vector
#else
	pushl	$vector
#endif
	jmp	trap_common
	vector = vector + 1
	.endr

trap_common:
#ifdef __x86_64__
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	cld
	mov	%rsp, %rdi
	mov	%rsp, %rbx
	and	$-16, %rsp
	call	trap_entry
	mov	%rbx, %rsp
	.globl	trap_leave
trap_leave:
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq
#else
	push	%eax
	push	%ecx
	push	%edx
	push	%ebx
	push	%ebp
	push	%esi
	push	%edi
	pushl	%ds
	pushl	%es
	pushl	%fs
	pushl	%gs
	movl	$16, %eax
	movl	%eax, %ds
	movl	%eax, %es
	cld
	pushl	%esp
	call	trap_entry
	addl	$4, %esp
	popl	%gs
	popl	%fs
	popl	%es
	popl	%ds
	pop	%edi
	pop	%esi
	pop	%ebp
	pop	%ebx
	pop	%edx
	pop	%ecx
	pop	%eax
	addl	$8, %esp
	iretl
#endif

/*
 * run_inside: calls run_code with the registers of `regs`. run_by_iret: enters the frame iret_frame the same way.
 * Both return through resume_point: after a trap, trap_resume() leads there.
 */
#ifdef __x86_64__
#define LOAD_REGS                                                                                                              \
	mov regs+0, %rax; mov regs+8, %rcx; mov regs+16, %rdx; mov regs+24, %rbx; mov regs+40, %rbp; mov regs+48, %rsi;       \
	mov regs+56, %rdi; mov regs+64, %r8; mov regs+72, %r9; mov regs+80, %r10; mov regs+88, %r11; mov regs+96, %r12;       \
	mov regs+104, %r13; mov regs+112, %r14; mov regs+120, %r15
	.globl	run_inside
run_inside:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, resume_sp
	pushq	$2
	popfq
	LOAD_REGS
	call	*run_code
	mov	%rax, regs+0
	mov	%rcx, regs+8
	mov	%rdx, regs+16
	mov	%rbx, regs+24
	mov	%rsp, regs+32
	mov	%rbp, regs+40
	mov	%rsi, regs+48
	mov	%rdi, regs+56
	mov	%r8, regs+64
	mov	%r9, regs+72
	mov	%r10, regs+80
	mov	%r11, regs+88
	mov	%r12, regs+96
	mov	%r13, regs+104
	mov	%r14, regs+112
	mov	%r15, regs+120
	pushfq
	popq	regs+128
	jmp	resume_point

	.globl	run_by_iret
run_by_iret:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, resume_sp
	pushq	iret_frame+32
	pushq	iret_frame+24
	pushq	iret_frame+16
	pushq	iret_frame+8
	pushq	iret_frame+0
	mov	$0x23, %eax /* compatibility mode looks at them */
	mov	%eax, %ds
	mov	%eax, %es
	LOAD_REGS
	iretq

	.globl	trap_resume
trap_resume:
	mov	resume_sp, %rsp
	mov	%rsp, %rax
	pushq	$16
	pushq	%rax
	pushq	$2
	pushq	$8
	pushq	$resume_point
	iretq
resume_point:
	cld
	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
#else
#define LOAD_REGS                                                                                                              \
	mov regs+0, %eax; mov regs+4, %ecx; mov regs+8, %edx; mov regs+12, %ebx; mov regs+20, %ebp; mov regs+24, %esi;        \
	mov regs+28, %edi
	.globl	run_inside
run_inside:
	push	%ebx
	push	%ebp
	push	%esi
	push	%edi
	mov	%esp, resume_sp
	pushl	$2
	popfl
	LOAD_REGS
	call	*run_code
	mov	%eax, %ss:regs+0
	mov	%ecx, %ss:regs+4
	mov	%edx, %ss:regs+8
	mov	%ebx, %ss:regs+12
	mov	%esp, %ss:regs+16
	mov	%ebp, %ss:regs+20
	mov	%esi, %ss:regs+24
	mov	%edi, %ss:regs+28
	pushfl
	popl	%ss:regs+32
	jmp	resume_point

	.globl	run_by_iret
run_by_iret:
	push	%ebx
	push	%ebp
	push	%esi
	push	%edi
	mov	%esp, resume_sp
	testl	$3, iret_frame+4
	jz	1f
	pushl	iret_frame+16
	pushl	iret_frame+12
1:	pushl	iret_frame+8
	pushl	iret_frame+4
	pushl	iret_frame+0
	mov	$0x23, %eax
	mov	%eax, %ds
	mov	%eax, %es
	LOAD_REGS
	iretl

	.globl	trap_resume
trap_resume:
	movl	resume_sp, %esp
	pushl	$2
	pushl	$8
	pushl	$resume_point
	iretl
resume_point:
	cld
	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	pop	%edi
	pop	%esi
	pop	%ebp
	pop	%ebx
	ret
#endif

/* Where a fragment at CPL 3 returns to. */
	.globl	user_return
user_return:
	int	$0x80
	jmp	user_return

	.bss
	.balign	4096
#ifdef __x86_64__
	.globl	pml4
pml4:	.skip	4096
pdpt:	.skip	4096
directories: .skip 4 * 4096
#endif
	.skip	16384
boot_stack_top:
	.skip	8192
	.globl	user_stack_top
user_stack_top:
	.skip	8192
	.globl	trap_stack_top
trap_stack_top:
	.skip	8192
	.globl	ist_stack_top
ist_stack_top:
	.skip	16
	.globl	resume_sp, run_code, iret_frame
resume_sp: .skip 8
run_code: .skip 8
iret_frame: .skip 40
	.section .note.GNU-stack, "", @progbits

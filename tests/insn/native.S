/* SPDX-License-Identifier: MIT */
/* Entry to and exit from guest state for native.c; see native.h for how it works. */
#include "native_frame.h"

	.text

/* void native_enter(void): returns after a signal has been caught. */
	.globl native_enter
	.type native_enter, @function
native_enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	lea	native_frame(%rip), %rbx
	mov	%rsp, FRAME_HOST_RSP(%rbx)
	rdfsbase %rax
	mov	%rax, FRAME_HOST_FS_BASE(%rbx)
	rdgsbase %rax
	mov	%rax, FRAME_HOST_GS_BASE(%rbx)
	mov	$7, %eax
	xor	%edx, %edx
	xrstor64 FRAME_XSAVE(%rbx)
	movl	$1, FRAME_ACTIVE(%rbx)
	mov	FRAME_DS(%rbx), %ds
	mov	FRAME_ES(%rbx), %es
	mov	FRAME_FS(%rbx), %fs
	mov	FRAME_GS(%rbx), %gs
	cmpl	$0, FRAME_MODE32(%rbx)
	jne	1f
	mov	FRAME_FS_BASE(%rbx), %rax
	wrfsbase %rax
	mov	FRAME_GS_BASE(%rbx), %rax
	wrgsbase %rax
1:	mov	FRAME_IRET_STACK(%rbx), %rsp
	pushq	FRAME_SS(%rbx)
	pushq	FRAME_GPR+32(%rbx)
	pushq	FRAME_RFLAGS(%rbx)
	pushq	FRAME_CS(%rbx)
	pushq	FRAME_RIP(%rbx)
	mov	FRAME_GPR+0(%rbx), %rax
	mov	FRAME_GPR+8(%rbx), %rcx
	mov	FRAME_GPR+16(%rbx), %rdx
	mov	FRAME_GPR+40(%rbx), %rbp
	mov	FRAME_GPR+48(%rbx), %rsi
	mov	FRAME_GPR+56(%rbx), %rdi
	mov	FRAME_GPR+64(%rbx), %r8
	mov	FRAME_GPR+72(%rbx), %r9
	mov	FRAME_GPR+80(%rbx), %r10
	mov	FRAME_GPR+88(%rbx), %r11
	mov	FRAME_GPR+96(%rbx), %r12
	mov	FRAME_GPR+104(%rbx), %r13
	mov	FRAME_GPR+112(%rbx), %r14
	mov	FRAME_GPR+120(%rbx), %r15
	mov	native_frame+FRAME_GPR+24(%rip), %rbx
	iretq /* all at once: with TF set, the trap comes after the guest's instruction */
	.size native_enter, . - native_enter

/* The signal handler: (rdi) number, (rsi) siginfo, (rdx) ucontext, on the alternate stack. Alignment checks may be on, the
 * FS base may be anything. */
	.globl native_signal
	.type native_signal, @function
native_signal:
	pushfq
	andl	$~0x44000, (%rsp) /* AC, and NT, which IRETQ would choke on */
	popfq
	lea	native_frame(%rip), %rbx
	cmpl	$0, FRAME_ACTIVE(%rbx)
	jne	1f
	jmp	native_forward
1:	movl	$0, FRAME_ACTIVE(%rbx)
	rdfsbase %rax
	mov	%rax, FRAME_OUT_FS_BASE(%rbx)
	rdgsbase %rax
	mov	%rax, FRAME_OUT_GS_BASE(%rbx)
	mov	%fs, FRAME_OUT_FS(%rbx)
	mov	%gs, FRAME_OUT_GS(%rbx)
	mov	%ds, FRAME_OUT_DS(%rbx)
	mov	%es, FRAME_OUT_ES(%rbx)
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	FRAME_HOST_FS_BASE(%rbx), %rax
	wrfsbase %rax
	mov	FRAME_HOST_GS_BASE(%rbx), %rax
	wrgsbase %rax
	sub	$8, %rsp
	call	native_capture
	lea	native_frame(%rip), %rbx
	mov	FRAME_HOST_RSP(%rbx), %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
	.size native_signal, . - native_signal

	.bss
	.balign 64
	.globl native_frame
	.type native_frame, @object
	.size native_frame, FRAME_SIZE
native_frame:
	.zero	FRAME_SIZE

	.section .note.GNU-stack, "", @progbits

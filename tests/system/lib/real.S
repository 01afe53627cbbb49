/* SPDX-License-Identifier: MIT */
/*
 * Into real mode and virtual-8086 mode and back, for 32-bit guests. See real.h.
 *
 * Everything between real_code and real_code_end is copied to REAL_SEGMENT:0 and runs there; it names its own labels as
 * distances from real_code, and data by their offsets in the segment.
 */
#include "real.h"

#ifndef __x86_64__

#define OFFSET(label) ((label) - real_code)

	.text
	.balign	16
	.globl	real_code, real_code_end, real_stubs
real_code:

/* From a 16-bit protected-mode segment with the same base. */
	.code16
switch_off:
	movw	$REAL_DATA16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	%ax, %ss
	movl	%cr0, %eax
	andb	$0xfe, %al
	movl	%eax, %cr0
	ljmpw	$REAL_SEGMENT, $OFFSET(in_real)
in_real:
	lidtl	%cs:(OFFSET(real_idt))
	movw	%cs:(REAL_REGS + REAL_SS), %ss
	movl	%cs:(REAL_REGS + REAL_SP), %esp
	movl	%cs:(REAL_REGS + 0), %eax
	movl	%cs:(REAL_REGS + 4), %ecx
	movl	%cs:(REAL_REGS + 8), %edx
	movl	%cs:(REAL_REGS + 12), %ebx
	movl	%cs:(REAL_REGS + 20), %ebp
	movl	%cs:(REAL_REGS + 24), %esi
	movl	%cs:(REAL_REGS + 28), %edi
	movw	%cs:(REAL_REGS + REAL_ES), %es
	movw	%cs:(REAL_REGS + REAL_FS), %fs
	movw	%cs:(REAL_REGS + REAL_GS), %gs
	movw	%cs:(REAL_REGS + REAL_DS), %ds
	pushfw
	popw	%cs:(REAL_REGS + REAL_FLAGS)
	jmp	real_code + REAL_FRAGMENT

/* Where the interrupt vectors lead: eight bytes each. */
	.balign	8
real_stubs:
	vector = 0
	.rept	256
	.byte	0x68 /* pushw $vector */
	.word	vector
	.byte	0xe9 /* jmp real_trap */
	.word	real_trap - (. + 2)
	.balign 8
	vector = vector + 1
	.endr

real_trap:
	movl	%eax, %cs:(REAL_REGS + 0)
	movl	%ecx, %cs:(REAL_REGS + 4)
	movl	%edx, %cs:(REAL_REGS + 8)
	movl	%ebx, %cs:(REAL_REGS + 12)
	movl	%ebp, %cs:(REAL_REGS + 20)
	movl	%esi, %cs:(REAL_REGS + 24)
	movl	%edi, %cs:(REAL_REGS + 28)
	movw	%ds, %cs:(REAL_REGS + REAL_DS)
	movw	%es, %cs:(REAL_REGS + REAL_ES)
	movw	%fs, %cs:(REAL_REGS + REAL_FS)
	movw	%gs, %cs:(REAL_REGS + REAL_GS)
	movw	%ss, %cs:(REAL_REGS + REAL_SS)
	pushfw
	popw	%cs:(REAL_REGS + REAL_HANDLER_FLAGS)
	popw	%cs:(REAL_REGS + REAL_VECTOR)
	popw	%cs:(REAL_REGS + REAL_IP)
	popw	%cs:(REAL_REGS + REAL_CS)
	popw	%cs:(REAL_REGS + REAL_FLAGS)
	movl	%esp, %cs:(REAL_REGS + REAL_SP)
	movl	%cr0, %eax
	movl	%eax, %cs:(REAL_REGS + REAL_CR0)
	cli
	lgdtl	%cs:(OFFSET(real_gdt))
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$8, $protected

real_idt:
	.word	0x3ff
	.long	0
	.globl	real_gdt
real_gdt:
	.word	0
	.long	0
real_code_end:

	.code32
protected:
	movl	$16, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	movl	%eax, %ss
	movl	real_sp, %esp
	lidtl	real_saved_idt
	popl	%edi
	popl	%esi
	popl	%ebp
	popl	%ebx
	cld
	ret

	.globl	real_enter
real_enter:
	pushl	%ebx
	pushl	%ebp
	pushl	%esi
	pushl	%edi
	pushl	$2
	popfl
	movl	%esp, real_sp
	sidtl	real_saved_idt
	ljmpl	$REAL_CODE16, $OFFSET(switch_off)

/* Virtual-8086 mode by IRET, with the registers in the segment; back through trap_resume() as for any other trap. */
	.globl	v86_enter
v86_enter:
	push	%ebx
	push	%ebp
	push	%esi
	push	%edi
	mov	%esp, resume_sp
	movl	$REAL_LINEAR + REAL_REGS, %ebp
	movzwl	REAL_GS(%ebp), %eax
	pushl	%eax
	movzwl	REAL_FS(%ebp), %eax
	pushl	%eax
	movzwl	REAL_DS(%ebp), %eax
	pushl	%eax
	movzwl	REAL_ES(%ebp), %eax
	pushl	%eax
	movzwl	REAL_SS(%ebp), %eax
	pushl	%eax
	pushl	REAL_SP(%ebp)
	pushl	v86_flags
	movzwl	REAL_CS(%ebp), %eax
	pushl	%eax
	movzwl	REAL_IP(%ebp), %eax
	pushl	%eax
	movl	0(%ebp), %eax
	movl	4(%ebp), %ecx
	movl	8(%ebp), %edx
	movl	12(%ebp), %ebx
	movl	24(%ebp), %esi
	movl	28(%ebp), %edi
	movl	20(%ebp), %ebp
	.globl	v86_iret
v86_iret:
	iretl

	.bss
	.balign	8
real_sp: .skip	4
real_saved_idt: .skip 8
#endif
	.section .note.GNU-stack, "", @progbits

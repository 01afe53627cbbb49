/* SPDX-License-Identifier: MIT */
/*
 * A boot sector for tests of what nfold run boots, and of its screen and keyboard through firmware. Prints LETTER and the
 * BIOS number of its drive; tries to write to the drive and prints W, or R if it cannot; then shows on the screen what
 * is typed. Enter starts a new line; F1 switches to graphics mode 13h, fills the screen with colour 4 and stops.
 */
	.code16
	.globl _start
_start:
	cli
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	sti
	mov %dl, drive
	mov $LETTER, %al
	call print
	movb drive, %al
	shr $7, %al
	add $'0', %al
	call print
	/* INT 13h AH=03h: this sector onto itself. */
	mov $0x0301, %ax
	mov $0x0001, %cx
	xor %dh, %dh
	mov drive, %dl
	mov $0x7c00, %bx
	int $0x13
	mov $'W', %al
	jnc 1f
	mov $'R', %al
1:	call print
	mov $'>', %al
	call print
key:
	xor %ah, %ah
	int $0x16
	cmp $0x3b, %ah
	je graphics
	cmp $'\r', %al
	jne 2f
	call print
	mov $'\n', %al
2:	call print
	jmp key
graphics:
	mov $0x0013, %ax
	int $0x10
	mov $0xa000, %ax
	mov %ax, %es
	xor %di, %di
	mov $32000, %cx
	mov $0x0404, %ax
	cld
	rep stosw
3:	hlt
	jmp 3b

print:
	mov $0x0e, %ah
	mov $0x0007, %bx
	int $0x10
	ret

drive:	.byte 0
	.org 510
	.word 0xaa55

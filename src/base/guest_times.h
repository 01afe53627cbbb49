/* SPDX-License-Identifier: MIT */
/*
 * Where a guest finds what the ledger says of its processors' time: docs/guest-interface.md. What the device and the
 * guest's own program must agree on.
 */
#ifndef NFOLD_BASE_GUEST_TIMES_H
#define NFOLD_BASE_GUEST_TIMES_H

/* CPUID: the leaf, whose EAX is the first port and EBX the bytes of the registers; behind leaf 40000000H with this
 * signature in EBX, ECX and EDX. */
#define GUEST_TIMES_LEAF 0x40000001u
#define GUEST_TIMES_SIGNATURE "nfoldnfoldnf"

/* Registers, by their distance from the first port. */
#define GUEST_TIMES_SNAPSHOT 0u	  /* 32 bits. Write: take one, of this processor. Read: how many were taken */
#define GUEST_TIMES_PROCESSORS 4u /* 32 bits: that the snapshot is of; 0: there is no such processor */
#define GUEST_TIMES_USED 8u	  /* nanoseconds, 64 bits each */
#define GUEST_TIMES_READY 16u
#define GUEST_TIMES_COSTOP 24u
#define GUEST_TIMES_WAIT 32u
#define GUEST_TIMES_ELAPSED 40u
#define GUEST_TIMES_BYTES 48u

/* Written for a snapshot of all processors together. */
#define GUEST_TIMES_ALL 0xffffffffu

#endif

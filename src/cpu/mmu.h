/* SPDX-License-Identifier: MIT */
/*
 * Page walks and the C side's accesses to guest linear memory. SDM 3A chapter 4.
 */
#ifndef NFOLD_CPU_MMU_H
#define NFOLD_CPU_MMU_H

#include "cpu/cpu.h"

/* Where a linear address leads. */
struct mmu_page {
	uint64_t gpa;  /* of the address itself */
	uint8_t *host; /* host address of the byte, or NULL: not RAM */
	bool writable; /* plain stores may go to `host` directly: permitted, dirty, no code, no ROM, no watchpoint */
	bool read_only_memory;
	bool global, large;
	bool watched; /* a data breakpoint lies on the page: accesses must be checked one by one */
};

/*
 * Translates for one access of a view, sets A and D bits as that access would (by compare-and-exchange), and fills the
 * TLB for it where plain RAM allows. On a fault records it and returns false. `linear` need not be canonical: #GP, or
 * #SS when `stack`. TLB_FETCH uses SMEP, NX and the view's privilege, and fills the fetch entry.
 */
bool mmu_translate(struct cpu *cpu, uint64_t linear, enum tlb_access access, enum tlb_view view, bool stack,
		   struct mmu_page *page);

/* The same without faults, A/D bits or TLB: for debuggers and tests. */
bool mmu_probe(const struct cpu *cpu, uint64_t linear, uint64_t *gpa);

/* The view of ordinary data accesses in the current mode, and that of implicit supervisor ones (descriptor tables,
 * TSS). */
static inline enum tlb_view cpu_view(const struct cpu *cpu)
{
	return (enum tlb_view)((cpu->mode >> MODE_VIEW_SHIFT) & 3);
}
#define CPU_VIEW_IMPLICIT(cpu) (((cpu)->cr4 & CR4_SMAP) ? TLB_VIEW_SUPERVISOR : TLB_VIEW_SUPERVISOR_AC)

/*
 * Reads and writes of 1 to 64 bytes at a linear address: TLB hit, walk, page-crossing (both pages are checked before a
 * byte moves), MMIO (parks the FPU and takes the device lock), code pages and data breakpoints all handled. False:
 * fault recorded.
 */
bool cpu_read(struct cpu *cpu, uint64_t linear, void *to, unsigned size, enum tlb_view view);
bool cpu_write(struct cpu *cpu, uint64_t linear, const void *from, unsigned size, enum tlb_view view);
/* Would a write or a read of that size succeed? Checks and faults, changes nothing but A and D bits. */
bool cpu_check_write(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_view view);
bool cpu_check_read(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_view view);

bool cpu_read_value(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_view view, uint64_t *value);
bool cpu_write_value(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_view view, uint64_t value);

/* After a store of C's own to RAM, before anything else is called: the engine hears of it if code lies there. */
void mmu_stored(struct cpu *cpu, uint64_t gpa, unsigned size);

/* The same where only the host address is at hand, within one page. */
void mmu_stored_at(struct cpu *cpu, const uint8_t *host, unsigned size);

/* Records the data breakpoints that an access touches, where struct mmu_page says that the page is watched. */
void cpu_watch(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_access access);

/* Guest-physical accesses after translation: RAM, MMIO or nothing. */
void cpu_physical_read(struct cpu *cpu, uint64_t gpa, void *to, unsigned size);
void cpu_physical_write(struct cpu *cpu, uint64_t gpa, const void *from, unsigned size);

/*
 * The linear address of offset in a segment for an access, with the segment's checks in the current mode: type, limit,
 * canonical form. False: #GP(0), or #SS(0) for SS. In 64-bit mode only FS and GS have a base and only canonical form is
 * checked.
 */
bool cpu_linear(struct cpu *cpu, enum cpu_segment_name segment, uint64_t offset, unsigned size, enum tlb_access access,
		uint64_t *linear);

/* After CR0, CR3, CR4 or EFER changed: flushes as the manual says. */
void mmu_flush_all(struct cpu *cpu, bool global);
/* Sets CR3, checked before. `keep`: bit 63 of the operand, with PCIDs on: what the TLB has of the PCID stays. */
void mmu_load_space(struct cpu *cpu, uint64_t cr3, bool keep);
/* Address line 20: while it is off, bit 20 of every physical address that the processor puts out is 0. Called by the
 * vCPU's own thread, or while the vCPU is parked. */
void mmu_set_a20(struct cpu *cpu, bool on);
void mmu_flush_page(struct cpu *cpu, uint64_t linear);
/* Loads the PAE page-directory pointers from CR3; false: #GP, reserved bits set. */
bool mmu_load_pdpte(struct cpu *cpu, uint64_t cr3);

#endif

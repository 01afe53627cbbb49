/* SPDX-License-Identifier: MIT */
#include "cpu/op.h"

uint64_t cpu_effective_address(const struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t address = (uint64_t)insn->displacement;

	if (insn->base == CPU_RIP_BASE)
		address += cpu->rip;
	else if (insn->base != CPU_NO_REGISTER)
		address += cpu->gpr[insn->base & 15];
	if (insn->index != CPU_NO_REGISTER)
		address += cpu->gpr[insn->index & 15] * insn->scale;
	return address & size_mask(insn->address_size);
}

bool cpu_operand_linear(struct cpu *cpu, const struct cpu_insn *insn, unsigned size, enum tlb_access access,
			uint64_t *linear)
{
	return cpu_linear(cpu, (enum cpu_segment_name)insn->segment, cpu_effective_address(cpu, insn), size, access,
			  linear);
}

/* Without REX, 8-bit registers 4 to 7 are the second bytes of registers 0 to 3. */
static bool register_is_high_byte(const struct cpu_insn *insn, unsigned number, unsigned size)
{
	return size == 1 && !insn->rex && number >= 4 && number < 8;
}

uint64_t cpu_register(const struct cpu *cpu, const struct cpu_insn *insn, unsigned number, unsigned size)
{
	if (register_is_high_byte(insn, number, size))
		return (cpu->gpr[number - 4] >> 8) & 0xff;
	return cpu->gpr[number & 15] & size_mask(size);
}

void cpu_register_set(struct cpu *cpu, const struct cpu_insn *insn, unsigned number, unsigned size, uint64_t value)
{
	uint64_t *gpr;

	if (register_is_high_byte(insn, number, size)) {
		gpr = &cpu->gpr[number - 4];
		*gpr = (*gpr & ~UINT64_C(0xff00)) | ((value & 0xff) << 8);
		return;
	}
	gpr = &cpu->gpr[number & 15];
	if (size >= 4)
		*gpr = value & size_mask(size);
	else
		*gpr = (*gpr & ~size_mask(size)) | (value & size_mask(size));
}

uint8_t *op_atomic(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t *gpa, bool *fault)
{
	enum tlb_view view = cpu_view(cpu);
	const struct tlb_entry *entry = &cpu->tlb.entry[view][TLB_INDEX(linear)];
	struct mmu_page page;

	*fault = false;
	if ((linear & PAGE_MASK) + size > PAGE_SIZE)
		return NULL;
	if (linear - entry->write_tag < PAGE_SIZE) {
		*gpa = align_down(entry->info, PAGE_SIZE) | (linear & PAGE_MASK);
		return tlb_host(entry, linear);
	}
	if (!mmu_translate(cpu, linear, TLB_WRITE, view, false, &page)) {
		*fault = true;
		return NULL;
	}
	if (page.host == NULL || page.read_only_memory)
		return NULL;
	if (page.watched) {
		cpu_watch(cpu, linear, size, TLB_READ);
		cpu_watch(cpu, linear, size, TLB_WRITE);
	}
	*gpa = page.gpa;
	return page.host;
}

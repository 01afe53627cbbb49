/* SPDX-License-Identifier: MIT */
#include "engine_runner.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/mmu.h"
#include "cpu/segment.h"
#include "ledger/ledger.h"
#include "translate/engine.h"

struct engine_runner {
	struct guest guest;
	struct engine *engine;
	struct engine_vcpu *vcpu;
	bool attached;
	struct cpu *cpu;
	struct clock clock;
	struct ledger *ledger;
	int ledger_fd;
	const struct cpu_model *model;
	int paging; /* enum insn_paging in force, or -1 */
};

/* ---- neighbours of the vCPU: one thread, so the device lock locks nothing; no interrupt ever comes ---- */

static void no_lock(void *opaque)
{
	(void)opaque;
}

static int no_interrupt(void *opaque)
{
	(void)opaque;
	return -1;
}

static uint8_t zero_cr8(void *opaque)
{
	(void)opaque;
	return 0;
}

static void ignore_cr8(void *opaque, uint8_t value)
{
	(void)opaque;
	(void)value;
}

static bool no_msr_read(void *opaque, uint32_t msr, uint64_t *value)
{
	(void)opaque;
	(void)msr;
	(void)value;
	return false;
}

static bool no_msr_write(void *opaque, uint32_t msr, uint64_t value)
{
	(void)opaque;
	(void)msr;
	(void)value;
	return false;
}

static void wire(struct engine_runner *runner)
{
	struct cpu *cpu = runner->cpu;
	cpu->ports = &runner->guest.ports;
	cpu->mmio = &runner->guest.mmio;
	cpu->ledger = &runner->ledger->vcpu[0];
	cpu->clock = &runner->clock;
	cpu->device_lock = cpu->device_unlock = no_lock;
	cpu->controller = (struct interrupt_controller){.acknowledge = no_interrupt,
							.cr8_read = zero_cr8,
							.cr8_write = ignore_cr8,
							.msr_read = no_msr_read,
							.msr_write = no_msr_write};
}

struct engine_runner *engine_runner_create(const struct cpu_model *model, const struct engine_options *options,
					   struct error *error)
{
	struct engine_runner *runner = calloc(1, sizeof *runner);
	if (runner == NULL) {
		error_set_errno(error, "out of memory");
		return NULL;
	}
	runner->ledger_fd = -1;
	runner->model = model;
	runner->paging = -1;
	if (!guest_init(&runner->guest, error) ||
	    (runner->ledger = ledger_create(1, &runner->ledger_fd, error)) == NULL ||
	    (runner->engine = engine_create(&runner->guest.memory, model, options, error)) == NULL ||
	    (runner->vcpu = engine_vcpu_create(runner->engine, 0, error)) == NULL) {
		engine_runner_destroy(runner);
		return NULL;
	}
	clock_init(&runner->clock, CLOCK_MANUAL);
	runner->cpu = engine_vcpu_cpu(runner->vcpu);
	wire(runner);
	cpu_reset(runner->cpu);
	if (!engine_vcpu_attach(runner->vcpu, error)) {
		engine_runner_destroy(runner);
		return NULL;
	}
	runner->attached = true;
	return runner;
}

void engine_runner_destroy(struct engine_runner *runner)
{
	if (runner == NULL)
		return;
	if (runner->attached)
		engine_vcpu_detach(runner->vcpu);
	if (runner->vcpu != NULL)
		engine_vcpu_destroy(runner->vcpu);
	if (runner->engine != NULL)
		engine_destroy(runner->engine);
	if (runner->ledger != NULL)
		ledger_close(runner->ledger, runner->ledger_fd);
	guest_destroy(&runner->guest);
	free(runner);
}

struct guest *engine_runner_guest(struct engine_runner *runner)
{
	return &runner->guest;
}

/* ---- the processor's mode: as Linux has it in user space ---- */

#define ACCESS_CODE 0xfbu /* readable code, accessed, DPL 3, present */
#define ACCESS_DATA 0xf3u /* writable data, accessed, DPL 3, present */
#define ACCESS_LDT 0x82u
#define ACCESS_TSS 0x8bu /* busy TSS */
#define FLAT_LIMIT 0xffffffffu

static void set_segment(struct cpu *cpu, enum cpu_segment_name name, uint16_t selector, uint64_t base, uint32_t limit,
			uint16_t access)
{
	cpu->segment[name] = (struct cpu_segment){.base = base, .limit = limit, .selector = selector, .access = access};
}

static void set_segments_flat64(struct cpu *cpu)
{
	uint16_t flat = ACCESS_DATA | SEGMENT_DB | SEGMENT_G;
	set_segment(cpu, CPU_CS, LAYOUT_CS64, 0, FLAT_LIMIT, ACCESS_CODE | SEGMENT_L | SEGMENT_G);
	set_segment(cpu, CPU_SS, LAYOUT_DS, 0, FLAT_LIMIT, flat);
	set_segment(cpu, CPU_DS, LAYOUT_DS, 0, FLAT_LIMIT, flat);
	set_segment(cpu, CPU_ES, LAYOUT_DS, 0, FLAT_LIMIT, flat);
	set_segment(cpu, CPU_FS, 0, LAYOUT_FS_BASE64, 0, 0);
	set_segment(cpu, CPU_GS, 0, LAYOUT_GS_BASE64, 0, 0);
}

static void set_segments(struct cpu *cpu, const struct insn_state *state)
{
	for (unsigned i = 0; i < CPU_SEGMENT_COUNT; i++) {
		const struct segment_entry *entry = segment_find(state->selector[i]);
		if (entry == NULL)
			segment_set_null(&cpu->segment[i], state->selector[i]);
		else
			segment_from_descriptor(&cpu->segment[i], state->selector[i], segment_descriptor(entry));
	}
}

static void set_system_segments(struct cpu *cpu)
{
	cpu->tr = (struct cpu_segment){.base = GUEST_TSS, .limit = 0x67, .selector = 0x40, .access = ACCESS_TSS};
	cpu->ldtr = (struct cpu_segment){
	    .base = GUEST_LDT, .limit = 8 * SEGMENT_ENTRIES - 1, .selector = 0x48, .access = ACCESS_LDT};
	cpu->gdtr = (struct cpu_table){.base = GUEST_TSS, .limit = 7};
	cpu->cpl = 3;
}

static void set_control(struct engine_runner *runner, enum insn_paging paging)
{
	struct cpu *cpu = runner->cpu;
	bool long_mode = paging == PAGING_4_LEVEL || paging == PAGING_COMPATIBILITY;
	uint64_t cr4 =
	    CR4_DE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_OSXSAVE | CR4_SMEP;
	if (paging != PAGING_32)
		cr4 |= CR4_PAE;
	cpu->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	cpu->cr4 = cr4 & runner->model->cr4_allowed;
	cpu->efer = EFER_NXE | EFER_SCE | (long_mode ? EFER_LME | EFER_LMA : 0);
	cpu->xcr0 = 7 & runner->model->xcr0_allowed;
	cpu->cr3 = runner->guest.cr3[paging];
	if (paging == PAGING_PAE)
		mmu_load_pdpte(cpu, cpu->cr3);
}

static void set_mode(struct engine_runner *runner, const struct insn_case *insn_case)
{
	enum insn_paging paging = insn_case->paging;
	if (insn_case->mode64)
		set_segments_flat64(runner->cpu);
	else
		set_segments(runner->cpu, &insn_case->initial);
	set_system_segments(runner->cpu);
	if (runner->paging == (int)paging)
		return;
	runner->paging = (int)paging;
	set_control(runner, paging);
	cpu_mode_update(runner->cpu);
	mmu_flush_all(runner->cpu, true);
}

/* ---- one case ---- */

static void touch(struct cpu *cpu, uint64_t linear, const struct case_access *access)
{
	struct mmu_page page;
	if (access->read)
		mmu_translate(cpu, linear, TLB_READ, TLB_VIEW_USER, false, &page);
	if (access->write)
		mmu_translate(cpu, linear, TLB_WRITE, TLB_VIEW_USER, false, &page);
	cpu->pending.valid = false;
}

static void prepare_tlb(struct cpu *cpu, const struct insn_case *insn_case)
{
	if (insn_case->variant == VARIANT_MISS)
		mmu_flush_all(cpu, true);
	if (insn_case->variant != VARIANT_HIT)
		return;
	for (unsigned i = 0; i < insn_case->access_count; i++) {
		const struct case_access *access = &insn_case->access[i];
		touch(cpu, access->linear, access);
		touch(cpu, access->linear + access->size - 1, access);
	}
}

static void load_state(struct cpu *cpu, const struct insn_state *state)
{
	memcpy(cpu->gpr, state->gpr, sizeof cpu->gpr);
	cpu->rip = state->rip;
	cpu_rflags_set(cpu, state->rflags);
	cpu->interrupt_shadow = 0;
	cpu->pending.valid = false;
	cpu->cr2 = 0;
	cpu->fpu_live = 0;
	memcpy(cpu->xsave, state->xsave, STATE_XSAVE_SIZE);
	cpu_mode_update(cpu);
}

static void read_state(struct cpu *cpu, struct insn_state *state)
{
	cpu_fpu_park(cpu);
	memcpy(state->gpr, cpu->gpr, sizeof state->gpr);
	state->rip = cpu->rip;
	state->rflags = cpu_rflags(cpu);
	memcpy(state->xsave, cpu->xsave, STATE_XSAVE_SIZE);
	state->fs_base = cpu->segment[CPU_FS].base;
	state->gs_base = cpu->segment[CPU_GS].base;
	for (unsigned i = 0; i < CPU_SEGMENT_COUNT; i++)
		state->selector[i] = cpu->segment[i].selector;
}

void engine_runner_run(struct engine_runner *runner, const struct insn_case *insn_case, struct insn_result *result)
{
	struct cpu *cpu = runner->cpu;
	set_mode(runner, insn_case);
	load_state(cpu, &insn_case->initial);
	prepare_tlb(cpu, insn_case);
	enum engine_step step = engine_step(runner->vcpu);
	read_state(cpu, &result->state);
	static const enum insn_outcome outcomes[] = {[ENGINE_STEP_DONE] = OUTCOME_DONE,
						     [ENGINE_STEP_FAULT] = OUTCOME_FAULT,
						     [ENGINE_STEP_FETCH_FAULT] = OUTCOME_FETCH};
	result->outcome = outcomes[step];
	result->vector = cpu->pending.vector;
	if (result->outcome == OUTCOME_FETCH && result->vector == VECTOR_GP)
		result->outcome = OUTCOME_FAULT; /* beyond the limit of CS: nothing tells the two apart */
	result->error_code = cpu->pending.has_error_code ? cpu->pending.error_code : 0;
	result->address = cpu->pending.cr2;
	cpu->pending.valid = false;
}

void engine_runner_write_code(struct engine_runner *runner, uint64_t offset, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		size_t room = LAYOUT_PAGE - offset % LAYOUT_PAGE;
		size_t now = size < room ? size : room;
		cpu_physical_write(runner->cpu, guest_code_gpa(offset), bytes, (unsigned)now);
		bytes += now;
		offset += now;
		size -= now;
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * What translated code calls in C: TLB misses, bounce buffers, segment checks, whole instructions. The guest's vector
 * state is live: no libc, no vector registers (this file is compiled with -mgeneral-regs-only), unless it is parked
 * first.
 */
#include "translate/helpers.h"

#include "cpu/mmu.h"
#include "translate/count.h"
#include "translate/thunks.h"

/* Of the instruction in whose middle a helper was called. Until the helper succeeds, it is not executed. */
static uint64_t block_insn_rip(struct engine_vcpu *vcpu, uint64_t return_address, uint32_t descriptor)
{
	const struct block *block = block_at(vcpu->engine, return_address - 1);
	bug_if(block == NULL);
	unsigned insn = ACCESS_INSN(descriptor);
	bug_if(insn >= block->insn_count);
	vcpu->uncounted = block->insn_count - insn;
	uint64_t rip = block->rip + block->insns[insn].guest_offset;
	return (vcpu->cpu.mode & MODE_CODE_MASK) == MODE_CODE64 ? rip : (uint32_t)rip;
}

/* The instruction is given up; translated code leaves with `code`. */
static uint64_t give_up(struct engine_vcpu *vcpu, enum exit_code code)
{
	vcpu->helper_failed = 1;
	vcpu->exit_code = code;
	cpu_fpu_unpark(&vcpu->cpu);
	return 0;
}

/* The same, where cpu.rip is not set yet: finding it is too slow for a mere TLB refill. */
static uint64_t give_up_insn(struct engine_vcpu *vcpu, enum exit_code code, uint64_t return_address,
			     uint32_t descriptor)
{
	vcpu->cpu.rip = block_insn_rip(vcpu, return_address, descriptor);
	return give_up(vcpu, code);
}

static enum tlb_view view_of(uint32_t descriptor)
{
	return (enum tlb_view)ACCESS_VIEW(descriptor);
}

static bool x87_error_pending(void)
{
	uint16_t status;
	__asm__ volatile("fnstsw %0" : "=a"(status));
	return (status & 0x80) != 0;
}

/* An x87 store with an unmasked invalid operation, overflow or underflow leaves memory alone. */
static bool x87_store_suppressed(void)
{
	uint16_t status, control;
	__asm__ volatile("fnstsw %0" : "=a"(status));
	__asm__ volatile("fnstcw %0" : "=m"(control));
	return (status & ~control & 0x19) != 0;
}

/* Faults that come before the address is translated. True: one is pending. */
static bool early_fault(struct cpu *cpu, uint64_t linear, uint32_t descriptor)
{
	if ((descriptor & ACCESS_X87_WAITS) != 0 && x87_error_pending()) {
		cpu_fault(cpu, VECTOR_MF);
		return true;
	}
	if ((descriptor & ACCESS_ALIGNED) != 0 && (linear & (ACCESS_SIZE(descriptor) - 1)) != 0) {
		cpu_fault_code(cpu, VECTOR_GP, 0);
		return true;
	}
	return false;
}

static uint64_t slow_access(struct engine_vcpu *vcpu, uint64_t linear, uint32_t descriptor, uint64_t return_address)
{
	struct cpu *cpu = &vcpu->cpu;
	bool write = (descriptor & ACCESS_WRITE) != 0;
	struct mmu_page page;
	if (early_fault(cpu, linear, descriptor))
		return give_up_insn(vcpu, EXIT_FAULT, return_address, descriptor);
	if ((linear & PAGE_MASK) + ACCESS_SIZE(descriptor) > PAGE_SIZE)
		return give_up_insn(vcpu, EXIT_CAREFUL, return_address, descriptor);
	vcpu->disturbed = 0;
	if (!mmu_translate(cpu, linear, write ? TLB_WRITE : TLB_READ, view_of(descriptor),
			   (descriptor & ACCESS_STACK) != 0, &page)) {
		if ((descriptor & ACCESS_RESULT_FIRST) == 0)
			return give_up_insn(vcpu, EXIT_FAULT, return_address, descriptor);
		cpu->pending.valid = false;
		return give_up_insn(vcpu, EXIT_CAREFUL, return_address, descriptor);
	}
	/* After a section of another vCPU, in the middle of the walk, no check that the block has made counts any more.
	 */
	if (page.host == NULL || page.watched || (write && !page.writable) || vcpu->disturbed)
		return give_up_insn(vcpu, EXIT_CAREFUL, return_address, descriptor);
	cpu_fpu_unpark(cpu);
	return (uint64_t)(uintptr_t)page.host;
}

uint64_t helper_slow(struct engine_vcpu *vcpu, uint64_t linear, uint32_t descriptor, uint64_t return_address)
{
	struct ledger_vcpu *line = vcpu->cpu.ledger;
	if (!ledger_count_kind(line, LEDGER_KIND_REFILL))
		return slow_access(vcpu, linear, descriptor, return_address);
	uint64_t begin = ledger_sample_begin(line);
	uint64_t address = slow_access(vcpu, linear, descriptor, return_address);
	ledger_sample_end(line, LEDGER_KIND_REFILL, begin);
	return address;
}

/* #AC concerns operands of up to 8 bytes, and 10-byte ones as if they had 8; vector operands never raise it. */
static bool misaligned(const struct cpu *cpu, uint64_t linear, uint32_t descriptor)
{
	unsigned size = ACCESS_SIZE(descriptor);
	if ((cpu->mode & MODE_ALIGN) == 0 || (descriptor & ACCESS_UNALIGNED_OK) != 0 || size > 10)
		return false;
	return (linear & ((size == 10 ? 8 : size) - 1)) != 0;
}

static bool page_is_traced(const struct engine_vcpu *vcpu, uint64_t gpa)
{
	const uint8_t *flags = memory_page_flags(vcpu->cpu.memory, gpa);
	return flags != NULL && (__atomic_load_n(flags, __ATOMIC_SEQ_CST) & PAGE_CODE) != 0;
}

/* RAM of one page that can be used in place, so that atomic instructions stay atomic: those that are locked also where
 * a data breakpoint is to be looked at. */
static uint8_t *in_place(struct engine_vcpu *vcpu, const struct mmu_page *page, struct bounce *bounce,
			 uint32_t descriptor)
{
	bool write = (descriptor & ACCESS_WRITE) != 0;
	if (page->host == NULL || (bounce->linear & PAGE_MASK) + bounce->size > PAGE_SIZE ||
	    (write && page->read_only_memory) || (page->watched && (descriptor & ACCESS_LOCKED) == 0))
		return NULL;
	if (page->watched) {
		if ((descriptor & ACCESS_READ) != 0)
			cpu_watch(&vcpu->cpu, bounce->linear, bounce->size, TLB_READ);
		cpu_watch(&vcpu->cpu, bounce->linear, bounce->size, TLB_WRITE);
	}
	bounce->gpa = page->gpa;
	bounce->traced = write && page_is_traced(vcpu, page->gpa);
	return page->host;
}

static bool split_part(struct engine_vcpu *vcpu, struct bounce_part *part, uint64_t linear, uint32_t descriptor,
		       bool *fault)
{
	struct mmu_page page;
	*fault = !mmu_translate(&vcpu->cpu, linear, TLB_WRITE, (enum tlb_view)ACCESS_VIEW(descriptor),
				(descriptor & ACCESS_STACK) != 0, &page);
	if (*fault || page.host == NULL || page.read_only_memory || page.watched)
		return false;
	part->host = page.host;
	part->gpa = page.gpa;
	return true;
}

/*
 * A locked operand on two pages of RAM: from here to split_end() no other vCPU runs. False: it cannot be had, or with
 * *fault set, faults. On devices, ROM, and under a data breakpoint it is a read and a write, as a bus without locks
 * would do them.
 */
static bool split_begin(struct engine_vcpu *vcpu, struct bounce *bounce, uint8_t *data, uint32_t descriptor,
			bool *fault)
{
	uint64_t second = align_down(bounce->linear, PAGE_SIZE) + PAGE_SIZE;
	*fault = false;
	if (!engine_is_shared(vcpu->engine) || (bounce->linear & PAGE_MASK) + bounce->size <= PAGE_SIZE)
		return false;
	if (!cpu_code64(&vcpu->cpu))
		second = (uint32_t)second;
	bounce->part[0].size = PAGE_SIZE - (uint32_t)(bounce->linear & PAGE_MASK);
	bounce->part[1].size = bounce->size - bounce->part[0].size;
	world_stop(vcpu->engine->world, vcpu);
	if (!split_part(vcpu, &bounce->part[0], bounce->linear, descriptor, fault) ||
	    !split_part(vcpu, &bounce->part[1], second, descriptor, fault)) {
		world_start(vcpu->engine->world, vcpu);
		return false;
	}
	cpu_count(&vcpu->cpu, LEDGER_COUNT_SPLIT_LOCK);
	copy_bytes(data, bounce->part[0].host, bounce->part[0].size);
	copy_bytes(data + bounce->part[0].size, bounce->part[1].host, bounce->part[1].size);
	bounce->split = true;
	return true;
}

static void split_end(struct engine_vcpu *vcpu, struct bounce *bounce)
{
	const uint8_t *data = bounce->data + (bounce->linear & 63);
	for (unsigned i = 0; i < 2; i++) {
		const struct bounce_part *part = &bounce->part[i];
		copy_bytes(part->host, data, part->size);
		data += part->size;
		if (page_is_traced(vcpu, part->gpa))
			engine_code_write(vcpu, part->gpa, part->size);
	}
	bounce->split = false;
	world_start(vcpu->engine->world, vcpu);
}

static bool is_canonical(const struct cpu *cpu, uint64_t linear)
{
	return !cpu_code64(cpu) || sign_extend(linear, 48) == linear;
}

/* The operation runs on the buffer; its address faults afterwards, with the state from before. */
static uint64_t defer_fault(struct engine_vcpu *vcpu, struct bounce *bounce)
{
	struct cpu *cpu = &vcpu->cpu;
	copy_bytes(&vcpu->deferred_fault, &cpu->pending, sizeof cpu->pending);
	cpu->pending.valid = false;
	cpu_fpu_park(cpu);
	copy_bytes(vcpu->deferred_state, cpu->xsave, sizeof cpu->xsave);
	cpu_fpu_unpark(cpu);
	bounce->deferred = true;
	vcpu->uncounted = 0;
	return (uint64_t)(uintptr_t)bounce->data;
}

static uint64_t fault_or_defer(struct engine_vcpu *vcpu, struct bounce *bounce, uint32_t descriptor)
{
	return (descriptor & ACCESS_RESULT_FIRST) != 0 ? defer_fault(vcpu, bounce) : give_up(vcpu, EXIT_FAULT);
}

static uint64_t raise_deferred(struct engine_vcpu *vcpu)
{
	struct cpu *cpu = &vcpu->cpu;
	cpu_fpu_park(cpu);
	copy_bytes(cpu->xsave, vcpu->deferred_state, sizeof cpu->xsave);
	copy_bytes(&cpu->pending, &vcpu->deferred_fault, sizeof cpu->pending);
	vcpu->uncounted = 1;
	return give_up(vcpu, EXIT_FAULT);
}

uint64_t helper_bounce_begin(struct engine_vcpu *vcpu, uint64_t linear, uint32_t descriptor, uint64_t return_address)
{
	struct cpu *cpu = &vcpu->cpu;
	struct bounce *bounce = &vcpu->bounce[ACCESS_BUFFER(descriptor)];
	unsigned size = ACCESS_SIZE(descriptor);
	bool write = (descriptor & ACCESS_WRITE) != 0;
	struct mmu_page page;
	cpu->rip = block_insn_rip(vcpu, return_address, descriptor);
	bounce->linear = linear;
	bounce->size = size;
	bounce->commit = false;
	bounce->traced = false;
	bounce->split = false;
	bounce->deferred = false;
	if (vcpu->segment_fault != 0) {
		vcpu->segment_fault = 0;
		return defer_fault(vcpu, bounce);
	}
	if (early_fault(cpu, linear, descriptor))
		return give_up(vcpu, EXIT_FAULT);
	bool canonical = is_canonical(cpu, linear) && is_canonical(cpu, linear + size - 1);
	uint64_t first =
	    is_canonical(cpu, linear) && !canonical ? linear + size - 1 : linear; /* the one to complain about */
	if (canonical && misaligned(cpu, linear, descriptor)) {
		cpu_fault_code(cpu, VECTOR_AC, 0);
		return fault_or_defer(vcpu, bounce, descriptor);
	}
	if (!mmu_translate(cpu, first, write ? TLB_WRITE : TLB_READ, view_of(descriptor),
			   (descriptor & ACCESS_STACK) != 0, &page))
		return fault_or_defer(vcpu, bounce, descriptor);
	uint8_t *host = in_place(vcpu, &page, bounce, descriptor);
	if (host != NULL) {
		vcpu->uncounted = 0;
		cpu_fpu_unpark(cpu);
		return (uint64_t)(uintptr_t)host;
	}
	/* The same offset into a 64-byte line: alignment checks of vector instructions see what the guest's address
	 * would give. */
	uint8_t *data = bounce->data + (linear & 63);
	bool fault = false;
	if ((descriptor & ACCESS_LOCKED) != 0 && split_begin(vcpu, bounce, data, descriptor, &fault)) {
		vcpu->uncounted = 0;
		cpu_fpu_unpark(cpu);
		return (uint64_t)(uintptr_t)data;
	}
	if (fault)
		return give_up(vcpu, EXIT_FAULT);
	if (write && !cpu_check_write(cpu, linear, size, view_of(descriptor)))
		return fault_or_defer(vcpu, bounce, descriptor);
	if ((descriptor & ACCESS_READ) != 0 && !cpu_read(cpu, linear, data, size, view_of(descriptor)))
		return give_up(vcpu, EXIT_FAULT);
	bounce->commit = write;
	vcpu->uncounted = 0;
	cpu_fpu_unpark(cpu);
	return (uint64_t)(uintptr_t)data;
}

uint64_t helper_bounce_end(struct engine_vcpu *vcpu, uint64_t address, uint32_t descriptor, uint64_t return_address)
{
	struct cpu *cpu = &vcpu->cpu;
	struct bounce *bounce = &vcpu->bounce[ACCESS_BUFFER(descriptor)];
	(void)return_address;
	bool suppressed = (descriptor & ACCESS_X87_WAITS) != 0 && x87_store_suppressed();
	if (bounce->deferred && !suppressed)
		return raise_deferred(vcpu);
	if (bounce->split) {
		split_end(vcpu, bounce);
		cpu_fpu_unpark(cpu);
		return address;
	}
	if (bounce->traced) { /* also where it was suppressed: that is rare */
		bounce->traced = false;
		engine_code_write(vcpu, bounce->gpa, bounce->size);
		cpu_fpu_unpark(cpu);
		return address;
	}
	if (!bounce->commit || suppressed)
		return address;
	bounce->commit = false;
	vcpu->uncounted = 1; /* a careful block is one instruction, and a device may read the clock */
	if (!cpu_write(cpu, bounce->linear, bounce->data + (bounce->linear & 63), bounce->size, view_of(descriptor)))
		return give_up(vcpu, EXIT_FAULT);
	vcpu->uncounted = 0;
	cpu_fpu_unpark(cpu);
	return address;
}

uint64_t helper_segment(struct engine_vcpu *vcpu, uint64_t offset, uint32_t descriptor, uint64_t return_address)
{
	struct cpu *cpu = &vcpu->cpu;
	bool write = (descriptor & ACCESS_WRITE) != 0;
	enum cpu_segment_name name = (enum cpu_segment_name)ACCESS_SEGMENT(descriptor);
	uint64_t linear = 0;
	cpu->rip = block_insn_rip(vcpu, return_address, descriptor);
	if (early_fault(cpu, (uint32_t)(cpu->segment[name].base + offset), descriptor))
		return give_up(vcpu, EXIT_FAULT);
	if (cpu_linear(cpu, name, offset, ACCESS_SIZE(descriptor), write ? TLB_WRITE : TLB_READ, &linear)) {
		vcpu->uncounted = 0;
		return linear;
	}
	if ((descriptor & ACCESS_RESULT_FIRST) == 0)
		return give_up(vcpu, EXIT_FAULT);
	if ((vcpu->mode_bits & MODE_CAREFUL) == 0) {
		cpu->pending.valid = false;
		return give_up(vcpu, EXIT_CAREFUL);
	}
	vcpu->uncounted = 0;
	vcpu->segment_fault = 1; /* helper_bounce_begin, which is called next, defers it */
	return linear;
}

/* Nothing changed for long: the page's writes are traced again, at the price of making its blocks anew. */
static bool self_check_is_over(struct engine *engine, const struct block *block)
{
	size_t number = ram_page(engine, block->gpa);
	if (number == SIZE_MAX || !engine_uses(engine, ENGINE_RETRACE))
		return false;
	struct code_page *page = &engine->pages[number];
	if (++page->checks < SELF_CHECK_PATIENCE << page->patience)
		return false;
	if (page->patience < SELF_CHECK_PATIENCE_SHIFT_MAX)
		page->patience++;
	page->checks = 0;
	engine_count(engine, LEDGER_COUNT_CODE_TRACED);
	world_stop(engine->world, engine->vcpu);
	(void)world_invalidate(engine->world, align_down(block->gpa, PAGE_SIZE), PAGE_SIZE);
	__atomic_store_n(&engine->memory->page_flags[number], 0, __ATOMIC_SEQ_CST);
	world_start(engine->world, engine->vcpu);
	return true;
}

uint64_t helper_self_check(struct engine_vcpu *vcpu, uint64_t address, uint32_t number, uint64_t return_address)
{
	struct engine *engine = vcpu->engine;
	struct block *block = engine->list[number];
	(void)return_address;
	if (!block_is_current(engine, block)) {
		cpu_count(&vcpu->cpu, LEDGER_COUNT_CODE_STALE);
		block_discard(engine, block);
	} else if (!self_check_is_over(engine, block)) {
		return address;
	}
	vcpu->exit_index = number;
	return give_up(vcpu, EXIT_GUARD); /* nothing has run yet: the same again, without events or traps */
}

static uint64_t next_rip(const struct cpu *cpu, const struct c_insn *record)
{
	uint64_t rip = record->rip + record->insn.length;
	return cpu_code64(cpu) ? rip : (uint32_t)rip;
}

/* The shadow that was open before an instruction ends with it. */
static void close_shadow(struct cpu *cpu, bool was_open, enum cpu_next next)
{
	if (was_open && next != CPU_FAULT && next != CPU_RESTART)
		cpu->interrupt_shadow = 0;
}

/* What the thunk does next: 0 to go on in the block, an exit code, or the host address of another block's entry. */
static uint64_t go_on_elsewhere(struct engine_vcpu *vcpu)
{
	if (vcpu->code_changed)
		return EXIT_NEXT;
	const uint8_t *code = engine_next_code(vcpu);
	if (code == NULL)
		return EXIT_NEXT;
	vcpu->trap_suppressed = 0;
	cpu_fpu_unpark(&vcpu->cpu);
	return (uint64_t)(uintptr_t)code;
}

static uint64_t run_c_op(struct engine_vcpu *vcpu, const struct c_insn *record)
{
	struct cpu *cpu = &vcpu->cpu;
	bool shadow = cpu->interrupt_shadow != 0;
	cpu->rip = record->rip;
	vcpu->code_changed = 0;
	if (record->serializes)
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	enum cpu_next next = record->function(cpu, &record->insn);
	close_shadow(cpu, shadow, next);
	vcpu->trap_suppressed = record->ends_trap && next == CPU_EXIT;
	if (record->begins_trap && next == CPU_EXIT && (cpu->mode & MODE_TF) != 0) {
		cpu->debug_trap = true;
		cpu->debug_dr6 |= DR6_SINGLE_STEP;
	}
	switch (next) {
	case CPU_FAULT:
		return EXIT_FAULT;
	case CPU_RESTART:
		return EXIT_RESTART;
	case CPU_EXIT:
		return go_on_elsewhere(vcpu);
	case CPU_CONTINUE:
		break;
	}
	bool waiting = cpu->interrupt_enable && __atomic_load_n(&cpu->requests, __ATOMIC_ACQUIRE) != 0;
	if (vcpu->code_changed || waiting || cpu->debug_trap) { /* what follows may be stale, or must wait */
		cpu->rip = next_rip(cpu, record);
		return EXIT_NEXT;
	}
	cpu_fpu_unpark(cpu);
	return 0;
}

uint64_t helper_c_op(struct engine_vcpu *vcpu, const struct c_insn *record)
{
	struct ledger_vcpu *line = vcpu->cpu.ledger;
	enum ledger_kind kind = (enum ledger_kind)record->ledger_kind;
	if (!ledger_count_kind(line, kind))
		return run_c_op(vcpu, record);
	uint64_t begin = ledger_sample_begin(line);
	uint64_t next = run_c_op(vcpu, record); /* the record may be gone after it */
	ledger_sample_end(line, kind, begin);
	return next;
}

/*
 * The same where instructions are counted. What the block took for instructions that do not run now is given back by
 * the dispatcher, or here, where another block follows at once.
 */
uint64_t helper_c_op_counted(struct engine_vcpu *vcpu, const struct c_insn *record)
{
	unsigned left = record->block->insn_count - record->insn_index;
	uint64_t rip = next_rip(&vcpu->cpu, record); /* the record may be gone afterwards */
	vcpu->uncounted = left;
	uint64_t next = helper_c_op(vcpu, record);
	if (next == EXIT_FAULT || next == EXIT_RESTART)
		return next;
	if (next == 0 && vcpu->budget < 0) { /* something is due within what is left of the block */
		vcpu->cpu.rip = rip;
		next = EXIT_NEXT;
	}
	vcpu->uncounted = 0;
	if (next == EXIT_NEXT)
		vcpu->uncounted = left - 1;
	else if (next != 0)
		count_give_back(vcpu, left - 1);
	return next;
}

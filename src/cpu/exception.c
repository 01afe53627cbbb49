/* SPDX-License-Identifier: MIT */
/*
 * Exceptions and interrupts on their way in: what is saved, and what happens when delivery itself faults.
 * SDM 3A chapter 6; table 6-5 for double faults; 18.3.1 and 6.8.3 for RF.
 */
#include "cpu/debug.h"
#include "cpu/event.h"
#include "cpu/gate.h"
#include "cpu/segment.h"

enum event_kind { EVENT_EXTERNAL, EVENT_EXCEPTION, EVENT_SOFTWARE, EVENT_ICEBP };

/* For the double-fault rule. */
enum event_class { CLASS_BENIGN, CLASS_CONTRIBUTORY, CLASS_PAGE_FAULT, CLASS_DOUBLE_FAULT };

static enum event_class event_class(uint8_t vector, enum event_kind kind)
{
	static const uint8_t classes[32] = {
	    [VECTOR_DE] = CLASS_CONTRIBUTORY, [VECTOR_TS] = CLASS_CONTRIBUTORY, [VECTOR_NP] = CLASS_CONTRIBUTORY,
	    [VECTOR_SS] = CLASS_CONTRIBUTORY, [VECTOR_GP] = CLASS_CONTRIBUTORY, [VECTOR_PF] = CLASS_PAGE_FAULT,
	    [VECTOR_DF] = CLASS_DOUBLE_FAULT,
	};
	return kind == EVENT_EXCEPTION && vector < 32 ? classes[vector] : CLASS_BENIGN;
}

enum nesting { NEST_SERIAL, NEST_DOUBLE_FAULT, NEST_SHUTDOWN };

static enum nesting event_nesting(enum event_class first, enum event_class second)
{
	if (second == CLASS_BENIGN || first == CLASS_BENIGN)
		return NEST_SERIAL;
	if (first == CLASS_DOUBLE_FAULT)
		return NEST_SHUTDOWN;
	return first == CLASS_CONTRIBUTORY && second == CLASS_PAGE_FAULT ? NEST_SERIAL : NEST_DOUBLE_FAULT;
}

/* Does the vector's error code name a selector, and so have an EXT bit? */
static bool error_code_has_ext(uint8_t vector)
{
	return vector >= VECTOR_TS && vector <= VECTOR_GP;
}

/* RF in the saved image: faults set it, so that the handler's IRET does not hit an instruction breakpoint again. Traps
 * and the #DB of an instruction breakpoint save what it was. */
static uint64_t event_flags(const struct cpu *cpu, uint8_t vector, enum event_kind kind)
{
	uint64_t flags = cpu_rflags(cpu);
	if (kind != EVENT_EXCEPTION || vector == VECTOR_DF || vector == VECTOR_MC)
		return flags;
	if (vector == VECTOR_DB && !(cpu->pending.dr6 & DR6_BD))
		return flags & ~(uint64_t)FLAG_RF;
	return flags | FLAG_RF;
}

static void event_tell(struct cpu *cpu, enum cpu_event event, uint8_t vector)
{
	if (cpu->event_watcher == NULL)
		return;
	cpu_fpu_park(cpu);
	cpu->event_watcher(cpu->event_watcher_opaque, event, cpu, vector);
}

/* Registers that change when an exception is recognised, before its delivery. */
static void event_recognise(struct cpu *cpu, const struct gate_event *event, enum event_kind kind)
{
	if (kind != EVENT_EXCEPTION)
		return;
	cpu_count_with(cpu, LEDGER_COUNT_EXCEPTION, 0, event->error_code, event->vector);
	event_tell(cpu, CPU_EVENT_EXCEPTION, event->vector);
	if (event->vector == VECTOR_PF) {
		cpu_count_with(cpu, LEDGER_COUNT_PAGE_FAULT, 0, cpu->pending.cr2, event->error_code);
		if ((event->error_code & PF_PRESENT) != 0)
			cpu_count(cpu, LEDGER_COUNT_PAGE_FAULT_PRESENT);
		cpu->cr2 = cpu->pending.cr2;
	} else if (event->vector == VECTOR_DB) {
		cpu->dr[6] = (cpu->dr[6] & ~UINT64_C(0xf)) | cpu->pending.dr6;
		cpu->dr[7] &= ~DR7_GD;
	}
}

/* Takes cpu->pending, an exception at the current rip, as what to deliver next. */
static void event_from_pending(struct cpu *cpu, struct gate_event *event)
{
	event->vector = cpu->pending.vector;
	event->has_error_code = cpu->pending.has_error_code;
	event->error_code = event->has_error_code ? cpu->pending.error_code : 0;
	event->rip = cpu->rip;
	event->software = false;
	event->flags = event_flags(cpu, event->vector, EVENT_EXCEPTION);
}

static void event_double_fault(struct gate_event *event)
{
	event->vector = VECTOR_DF;
	event->has_error_code = true;
	event->error_code = 0;
}

static void forget_breakpoints(struct cpu *cpu)
{
	cpu->debug_trap = false;
	cpu->debug_dr6 = 0;
}

/* Delivers, and turns faults on the way into the next event. Ends: each turn moves towards shutdown. */
static void event_deliver(struct cpu *cpu, struct gate_event *event, enum event_kind kind)
{
	for (;;) {
		event_recognise(cpu, event, kind);
		cpu->pending.valid = false;
		if (cpu->mode & MODE_REAL)
			event->has_error_code = false;
		if (gate_deliver(cpu, event)) {
			cpu->interrupt_shadow = 0;
			cpu->halted = false;
			/* A breakpoint on the stack of #DB itself would be met without end: hardware hangs on it, we do
			 * not. */
			if (event->vector == VECTOR_DB)
				forget_breakpoints(cpu);
			return;
		}
		bool external = kind == EVENT_EXTERNAL || kind == EVENT_EXCEPTION || kind == EVENT_ICEBP;
		enum event_class first = event_class(event->vector, kind);
		event_from_pending(cpu, event);
		kind = EVENT_EXCEPTION;
		enum nesting nesting = event_nesting(first, event_class(event->vector, kind));
		if (nesting == NEST_SHUTDOWN)
			break;
		if (nesting == NEST_DOUBLE_FAULT) {
			event_recognise(cpu, event, kind); /* CR2 of a second page fault is visible */
			event_double_fault(event);
		} else if (external && event->has_error_code && error_code_has_ext(event->vector)) {
			event->error_code |= 1;
		}
	}
	cpu->pending.valid = false;
	cpu->shutdown = true;
}

/*
 * An x87 error while CR0.NE is clear: not an exception but the FERR# pin, which a PC leads to IRQ 13. The instruction
 * waits for whatever interrupt comes (SDM 3A 8.7), and so it does here: it is tried again and again, and events come
 * between.
 */
static bool is_x87_pin_error(const struct cpu *cpu)
{
	return cpu->pending.vector == VECTOR_MF && !cpu->pending.software && !(cpu->cr0 & CR0_NE) &&
	       cpu->ferr.set != NULL;
}

static void assert_ferr(struct cpu *cpu)
{
	cpu->pending.valid = false;
	cpu->interrupt_shadow = 0; /* of an STI before: the instruction it covers would never end */
	cpu_fpu_park(cpu);
	enum ledger_state left = ledger_enter(cpu->ledger, LEDGER_DEVICE);
	cpu->device_lock(cpu->device_lock_opaque);
	irq_set(&cpu->ferr, true);
	cpu->device_unlock(cpu->device_lock_opaque);
	ledger_enter(cpu->ledger, left);
}

void cpu_deliver_pending(struct cpu *cpu)
{
	if (is_x87_pin_error(cpu)) {
		assert_ferr(cpu);
		return;
	}
	struct gate_event event;
	enum event_kind kind = EVENT_EXCEPTION;
	event_from_pending(cpu, &event);
	if (cpu->pending.software || cpu->pending.privileged_software) {
		kind = cpu->pending.software ? EVENT_SOFTWARE : EVENT_ICEBP;
		event.software = cpu->pending.software;
		event.has_error_code = false;
		event.rip = cpu->pending.next_rip;
		event.flags = cpu_rflags(cpu);
	}
	/* Breakpoints that a faulting instruction touched are met again when it restarts. */
	forget_breakpoints(cpu);
	event_deliver(cpu, &event, kind);
}

void cpu_interrupt(struct cpu *cpu, uint8_t vector)
{
	cpu_count_with(cpu, LEDGER_COUNT_INTERRUPT, 0, 0, vector);
	event_tell(cpu, CPU_EVENT_INTERRUPT, vector);
	struct gate_event event = {.vector = vector, .rip = cpu->rip, .flags = cpu_rflags(cpu)};
	cpu->halted = false;
	event_deliver(cpu, &event, EVENT_EXTERNAL);
}

void cpu_nmi(struct cpu *cpu)
{
	cpu_count_with(cpu, LEDGER_COUNT_NMI, 0, 0, VECTOR_NMI);
	event_tell(cpu, CPU_EVENT_NMI, VECTOR_NMI);
	struct gate_event event = {.vector = VECTOR_NMI, .rip = cpu->rip, .flags = cpu_rflags(cpu)};
	cpu->halted = false;
	cpu->nmi_blocked = true;
	event_deliver(cpu, &event, EVENT_EXTERNAL);
}

/* SPDX-License-Identifier: MIT */
/*
 * What happens between instructions. SDM 3A 6.9 gives the order: INIT, traps of the previous
 * instruction, NMI, maskable interrupts, instruction breakpoints of the next one.
 *
 * The interrupt shadow. While interrupt_shadow is set nothing is taken; the engine then runs exactly one instruction
 * and clears it, and comes back here. Delivery of any event clears it too.
 *
 * RF. It suppresses the instruction breakpoint of the next instruction only, so it is cleared on the way into guest
 * code. It matters only under MODE_DEBUG, in which the engine comes here before every instruction.
 */
#include "cpu/event.h"

#include "cpu/debug.h"
#include "cpu/fpu.h"
#include "cpu/segment.h"

static void request_clear(struct cpu *cpu, uint32_t bits)
{
	__atomic_and_fetch(&cpu->requests, ~bits, __ATOMIC_ACQ_REL);
}

/* INIT, start-up and what we do not have. Returns the requests left. */
static uint32_t serve_signals(struct cpu *cpu, uint32_t requests)
{
	if (requests & CPU_REQUEST_SMI)
		request_clear(cpu, CPU_REQUEST_SMI); /* no SMM */
	if (requests & CPU_REQUEST_INIT) {
		request_clear(cpu, CPU_REQUEST_INIT);
		cpu_init_signal(cpu);
	}
	if (requests & CPU_REQUEST_STARTUP) {
		request_clear(cpu, CPU_REQUEST_STARTUP);
		if (cpu->wait_for_sipi) {
			cpu->wait_for_sipi = false;
			cpu->segment[CPU_CS].selector = (uint16_t)(cpu->startup_vector << 8);
			cpu->segment[CPU_CS].base = (uint64_t)cpu->startup_vector << 12;
			cpu->rip = 0;
		}
	}
	return requests & ~(uint32_t)(CPU_REQUEST_SMI | CPU_REQUEST_INIT | CPU_REQUEST_STARTUP);
}

/* Takes one event. False when there is none to take now. */
static bool serve_one(struct cpu *cpu, uint32_t requests)
{
	bool shadow =
	    cpu->interrupt_shadow != 0 && !cpu->halted; /* HLT was the instruction that the shadow of STI covers */
	if (shadow && cpu->interrupt_shadow == CPU_SHADOW_SS)
		return false;
	if (cpu->debug_trap && cpu->debug_dr6 == 0) {
		cpu->debug_trap = false; /* only the debugger's, who has seen it */
		return true;
	}
	if (cpu->debug_trap) {
		uint64_t bits = cpu->debug_dr6;
		cpu_fault(cpu, VECTOR_DB);
		cpu->pending.dr6 = bits;
		cpu->halted = false;
		cpu_deliver_pending(cpu);
		return true;
	}
	if (shadow)
		return false;
	if ((requests & CPU_REQUEST_NMI) && !cpu->nmi_blocked) {
		request_clear(cpu, CPU_REQUEST_NMI);
		cpu_nmi(cpu);
		return true;
	}
	if (!(requests & CPU_REQUEST_INTERRUPT) || !cpu->interrupt_enable)
		return false;
	cpu_fpu_park(cpu);
	uint64_t since = __atomic_exchange_n(&cpu->interrupt_since, 0, __ATOMIC_RELAXED);
	int vector = cpu->controller.acknowledge(cpu->controller.opaque);
	if (vector < 0)
		return false;
	if ((cpu->steal & 1) != 0 && cpu->steal_update != NULL)
		cpu->steal_update(cpu->steal_opaque);
	if (since != 0)
		ledger_delay_add(cpu->ledger, LEDGER_DELAY_INTERRUPT, since);
	cpu_interrupt(cpu, (uint8_t)vector);
	return true;
}

/* SDM 3B 18.2.4: which enabled instruction breakpoints lie on the next instruction. */
static uint64_t breakpoints_hit(const struct cpu *cpu)
{
	uint64_t linear = cpu_linear_rip(cpu);
	uint64_t hit = 0;
	for (unsigned i = 0; i < 4; i++) {
		if (breakpoint_is_enabled(cpu->dr[7], i) && breakpoint_type(cpu->dr[7], i) == BREAKPOINT_EXECUTE &&
		    cpu->dr[i] == linear)
			hit |= BIT64(i);
	}
	return hit;
}

/* The handler's own first instruction is not checked: breakpoints on it would never let it run. */
static void serve_breakpoints(struct cpu *cpu)
{
	if (!(cpu->flags_system & FLAG_RF) && cpu->interrupt_shadow != CPU_SHADOW_SS) {
		uint64_t hit = breakpoints_hit(cpu);
		if (hit != 0) {
			cpu_fault(cpu, VECTOR_DB);
			cpu->pending.dr6 = hit;
			cpu_deliver_pending(cpu);
		}
	}
}

static bool waits(const struct cpu *cpu)
{
	return cpu->halted || cpu->shutdown || cpu->wait_for_sipi;
}

bool cpu_service_events(struct cpu *cpu)
{
	uint32_t requests;
	do {
		__atomic_store_n(&cpu->run, 1, __ATOMIC_SEQ_CST);
		requests = __atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST);
		if (requests & (CPU_REQUEST_SMI | CPU_REQUEST_INIT | CPU_REQUEST_STARTUP))
			requests = serve_signals(cpu, requests);
		if ((requests & CPU_REQUEST_STOP) != 0 || cpu_lost_token(cpu))
			return false;
	} while (!cpu->shutdown && !cpu->wait_for_sipi && serve_one(cpu, requests));
	if (waits(cpu))
		return false;
	if (cpu->mode & MODE_DEBUG)
		serve_breakpoints(cpu);
	cpu->flags_system &= ~FLAG_RF;
	return !cpu->shutdown;
}

bool cpu_has_wake_event(const struct cpu *cpu)
{
	uint32_t requests = __atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST);
	if (requests & (CPU_REQUEST_INIT | CPU_REQUEST_STOP | CPU_REQUEST_CODE))
		return true;
	if (cpu->wait_for_sipi)
		return (requests & CPU_REQUEST_STARTUP) != 0;
	if (cpu->shutdown)
		return false;
	if (!cpu->halted || cpu->debug_trap)
		return true;
	return ((requests & CPU_REQUEST_NMI) && !cpu->nmi_blocked) ||
	       ((requests & CPU_REQUEST_INTERRUPT) && cpu->interrupt_enable);
}

/* SPDX-License-Identifier: MIT */
#include "translate/debug.h"

#include "cpu/mmu.h"
#include "translate/engine.h"
#include "translate/frame.h"
#include "translate/translation.h"

bool debug_stops(struct engine_vcpu *vcpu)
{
	struct cpu *cpu = &vcpu->cpu;
	struct cpu_debug *debug = &cpu->debug;
	if (debug->stop != DEBUGGER_RUNS)
		return true;
	uint64_t linear = cpu_linear_rip(cpu);
	if (debug->pass || cpu->halted || !debugger_breaks_near(debug->debugger, linear))
		return false;
	if (debugger_breaks_at(debug->debugger, linear))
		debug->stop = DEBUGGER_AT_BREAKPOINT;
	else
		debug->pass = true;
	return debug->stop != DEBUGGER_RUNS;
}

void debug_turned(struct engine_vcpu *vcpu, bool complete, bool restarts)
{
	struct cpu_debug *debug = &vcpu->cpu.debug;
	if (complete) {
		debug->pass = false;
		if (debug->step && debug->stop == DEBUGGER_RUNS)
			debug->stop = DEBUGGER_STEPPED;
	} else if (restarts) {
		debug->pass = true; /* a REP goes on: it has met its breakpoint */
	}
}

bool debug_holds_events(const struct cpu *cpu)
{
	return cpu->debug.step && !cpu->halted && !cpu->wait_for_sipi && !cpu->shutdown &&
	       (__atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST) & CPU_REQUEST_STOP) == 0;
}

bool translation_breaks_at(const struct translation *t, uint64_t rip)
{
	const struct debugger *debugger = t->engine->debugger;
	if (debugger == NULL || (t->mode & (MODE_STEP | MODE_CAREFUL)) != 0)
		return false;
	return debugger_breaks_near(debugger, t->code_bytes == 8 ? rip : t->cs_base + rip);
}

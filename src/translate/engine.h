/* SPDX-License-Identifier: MIT */
/*
 * The translating engine as the machine sees it. How it works: docs/engine.md.
 *
 * One engine serves one machine; each vCPU has its own `struct engine_vcpu`, which embeds its struct cpu, and a code
 * cache of its own. All vCPUs are created before one of them runs.
 *
 * Threading: engine_run and engine_step are called by the vCPU's own thread. That thread must have an alternate signal
 * stack, which engine_vcpu_attach sets up.
 */
#ifndef NFOLD_TRANSLATE_ENGINE_H
#define NFOLD_TRANSLATE_ENGINE_H

#include "base/engine_switches.h"
#include "base/error.h"
#include "cpu/cpu.h"

struct engine;
struct engine_vcpu;
struct samples;

struct engine_options {
	uint64_t code_cache_bytes; /* 0: default; see base/engine_switches.h for the least and most */
	uint32_t off;		   /* enum engine_switch: what shall not be used */
	bool counted;		   /* instructions are counted: see count.h */
};

enum engine_exit {
	ENGINE_HALTED,	 /* HLT: wait until cpu_has_wake_event(), then run again */
	ENGINE_STOPPED,	 /* CPU_REQUEST_STOP is set, or the token is lost: struct cpu */
	ENGINE_SHUTDOWN, /* triple fault */
	ENGINE_DEBUG,	 /* cpu->debug.stop says why */
	ENGINE_NAPPING,	 /* the guest goes round in a loop that only waits: see engine_nap(), then run again */
	ENGINE_COUNTED,	 /* the count of engine_run_until() is reached: move it on, then run again */
};

enum engine_step {
	ENGINE_STEP_DONE,  /* one instruction ran (for REP: to its end); cpu->rip is the next */
	ENGINE_STEP_FAULT, /* cpu->pending holds an exception that has not been delivered; cpu->rip is the instruction
			    */
	ENGINE_STEP_FETCH_FAULT, /* as before; the instruction could not be fetched */
};

/* Creates the code cache and installs the process's signal handlers for SIGSEGV, SIGBUS, SIGFPE (once per process). */
struct engine *engine_create(struct memory *memory, const struct cpu_model *model, const struct engine_options *options,
			     struct error *error);
void engine_destroy(struct engine *engine);

/* The vCPU's struct cpu has its engine hooks, memory and model set; the machine fills the other neighbours and
 * calls cpu_reset(). */
struct engine_vcpu *engine_vcpu_create(struct engine *engine, unsigned index, struct error *error);
void engine_vcpu_destroy(struct engine_vcpu *vcpu);
struct cpu *engine_vcpu_cpu(struct engine_vcpu *vcpu);

/* Called once by the thread that will run the vCPU; engine_vcpu_detach before that thread ends. */
bool engine_vcpu_attach(struct engine_vcpu *vcpu, struct error *error);
void engine_vcpu_detach(struct engine_vcpu *vcpu);

/* Runs guest code until one of the exits. Books the ledger's states GUEST, EXIT, TRANSLATE; leaves it in EXIT. */
enum engine_exit engine_run(struct engine_vcpu *vcpu);

/* After ENGINE_NAPPING: sleep until `cpu.requests` is not `requests`, but not for long. */
struct engine_nap {
	uint32_t requests;
	uint32_t number; /* of naps in a row, from 1 */
	uint64_t cost;	 /* of finding out that it still waits, in cycles of the host's TSC */
};
struct engine_nap engine_nap(const struct engine_vcpu *vcpu);

/*
 * Of an engine with engine_options.counted: how many instructions the vCPU has executed. From any thread; exact on the
 * vCPU's own, also in device accesses.
 */
uint64_t engine_executed(const struct engine_vcpu *vcpu);
/* engine_run() returns ENGINE_COUNTED when so many have been executed. UINT64_MAX: never. Called on the vCPU's thread,
 * or while the vCPU does not run. */
void engine_run_until(struct engine_vcpu *vcpu, uint64_t count);

/* Runs exactly one instruction at cs:rip without serving events. For oracles and debuggers. */
enum engine_step engine_step(struct engine_vcpu *vcpu);

/*
 * Samples where the vCPUs are for so long from now, some thousand times a second, or for longer if that was asked
 * before. Only one thread calls it. False: the host refused.
 */
bool engine_sample(struct engine *engine, unsigned milliseconds, uint64_t tsc_hz, struct error *error);
/* What was sampled, or NULL: nobody has asked. Lives as long as the engine. */
const struct samples *engine_samples(const struct engine *engine);

/* The debugger's points, or who debugs at all (NULL: nobody), are different from now on. The vCPUs do not run. */
void engine_debugger_changed(struct engine *engine, const struct debugger *debugger);
/*
 * Around what a vCPU's thread does, in engine_run(), that may wait for another vCPU's thread: a lock that it holds.
 * Meanwhile others may change what this one has translated or looked up.
 */
void engine_step_aside(struct engine_vcpu *vcpu);
void engine_step_back(struct engine_vcpu *vcpu);

/* Between these two no vCPU but the caller's uses anything of the engine's. Called by a vCPU's thread, or by one that
 * runs none, with or without the device lock, which must not be taken in between. */
void engine_stop_others(struct engine *engine);
void engine_start_others(struct engine *engine);

/* Bytes the engine holds beyond guest RAM: cache, tables, vCPU frames. */
uint64_t engine_memory_used(const struct engine *engine);

#endif

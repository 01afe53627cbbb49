/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's thread.
 *
 * Theory of operation. The thread runs guest code in the engine until it halts, is asked to stop or shuts down. What
 * wants its attention sets bits in cpu->requests and clears cpu->run; a thread that sleeps in HLT waits on the
 * futex word `bell` of its page of run tokens, which every request advances. It runs guest code in turns, as the host
 * lends it processors: machine/turn.h.
 *
 * Stopping. vcpu_ask_stop() never waits, so that devices may call it from the vCPU's own thread. The thread then parks:
 * it books the state PAUSED and waits on `changed` until vcpu_start(). Whoever stops vCPUs calls vcpu_wait_parked()
 * next, without the device lock.
 *
 * A reset is done by the thread itself on its way out of the park, since struct cpu belongs to it.
 *
 * Waking. A request advances `bell` and then looks at `sleeping`; a thread that goes to sleep sets `sleeping`, reads
 * `bell`, and then looks at the requests. Each stores before it looks, so one of them sees the other, and a request
 * that comes in between makes the futex word another one. An IPI is a request like any other. While a host schedules,
 * a request wakes the thread by way of the host, which grants it a token.
 *
 * Locking: `mutex` guards what follows it. Order: device lock, then `mutex`.
 */
#ifndef NFOLD_MACHINE_VCPU_H
#define NFOLD_MACHINE_VCPU_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "ledger/settle.h"
#include "machine/boot.h"
#include "machine/steal.h"
#include "machine/turn.h"
#include "translate/engine.h"

struct vcpu {
	unsigned index;
	struct engine_vcpu *engine;
	struct cpu *cpu;
	struct clock *clock;
	struct ledger *ledger;
	int tasks;			    /* ledger_tasks_open(), until the thread has started */
	struct ledger_thread ledger_thread; /* the thread's own */
	struct ledger_thread ledger_reader; /* the same for others, while the thread lives */
	struct device_lock lock;
	pthread_mutex_t *device_mutex; /* behind it */
	/* Called on the thread when the guest can run no further: a triple fault. */
	void (*shut_down)(void *opaque);
	/* Called on the thread when the debugger wants the vCPU: cpu->debug.stop. It asks the vCPU to stop. */
	void (*debugged)(void *opaque);
	/* Called on the thread when it cannot start. */
	void (*failed)(void *opaque, const char *why);
	/* Called on the thread when the count that the engine was to reach is reached, and when the guest has halted
	 * and no event is there to end it. False: nothing will come by itself. NULL: nobody counts. */
	bool (*counted)(void *opaque, bool halted);
	void *opaque;

	struct turn turn;
	uint64_t woken_at; /* host TSC of the request that ended the last halt; 0: none yet */
	struct steal steal;

	pthread_t thread;
	bool thread_made;

	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool stop_wanted, parked, exit_wanted;
	bool reset_wanted;
	const struct boot_state *boot; /* for the reset, in place of firmware; NULL: there is firmware */
	uint64_t clock_offset;	       /* of the TSC, when the thread parked last */
};

/* `engine` and the callbacks are set. Makes nothing that needs undoing. */
bool vcpu_init(struct vcpu *vcpu, struct turns *turns, struct error *error);

/* Makes the thread, parked. */
bool vcpu_create_thread(struct vcpu *vcpu, struct error *error);
/* Ends the thread, wherever it is. */
void vcpu_join_thread(struct vcpu *vcpu);

void vcpu_ask_stop(struct vcpu *vcpu);
void vcpu_wait_parked(struct vcpu *vcpu);
void vcpu_start(struct vcpu *vcpu);

/* To be done before the next start; the vCPU is parked. */
void vcpu_plan_reset(struct vcpu *vcpu, const struct boot_state *boot);

/* How interrupt controllers reach it. */
struct cpu_pin vcpu_pin(struct vcpu *vcpu);

/*
 * The device lock as the vCPU's thread takes it in the middle of an instruction. Where it has to wait, other vCPUs may
 * change what the engine keeps: whoever has the lock may want just that.
 */
struct device_lock vcpu_device_lock(struct vcpu *vcpu);

/* The guest's TSC, for the local APIC's deadline. */
uint64_t vcpu_tsc(void *opaque);

#endif

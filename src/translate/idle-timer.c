/* SPDX-License-Identifier: MIT */
/* When to look whether a vCPU only waits: see idle.h. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "translate/block.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid /* glibc before 2.38 has no name for it */
#endif

#define TICK_NS 2000000 /* of processor time */

static bool timer_make(clockid_t clock, timer_t *timer)
{
	struct sigevent event;
	memset(&event, 0, sizeof event);
	event.sigev_notify = SIGEV_THREAD_ID;
	event.sigev_signo = SIGPROF;
	event.sigev_value.sival_int = IDLE_SIGNAL_VALUE;
	event.sigev_notify_thread_id = gettid();
	return timer_create(clock, &event, timer) == 0;
}

/* Without timers nobody looks. */
void idle_attach(struct engine_vcpu *vcpu)
{
	struct idle *idle = &vcpu->idle;
	const struct itimerspec period = {.it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS};
	if (vcpu->engine->counted || !engine_uses(vcpu->engine, ENGINE_IDLE_LOOPS))
		return;
	if (!timer_make(CLOCK_THREAD_CPUTIME_ID, &idle->tick))
		return;
	if (!timer_make(CLOCK_MONOTONIC, &idle->once)) {
		(void)timer_delete(idle->tick);
		return;
	}
	idle->has_timers = true;
	(void)timer_settime(idle->tick, 0, &period, NULL);
}

void idle_detach(struct engine_vcpu *vcpu)
{
	struct idle *idle = &vcpu->idle;
	if (!idle->has_timers)
		return;
	idle->has_timers = false;
	(void)timer_delete(idle->tick);
	(void)timer_delete(idle->once);
}

void idle_ask_soon(struct engine_vcpu *vcpu, uint64_t ns)
{
	const struct itimerspec when = {
	    .it_value = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)}};
	(void)timer_settime(vcpu->idle.once, 0, &when, NULL);
}

/* The bit first, then `run`: guest code that sees run clear leaves to a dispatcher that finds the bit. */
void idle_ask(struct engine_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->idle.asked, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vcpu->cpu.run, 0, __ATOMIC_SEQ_CST);
}

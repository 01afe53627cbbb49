/* SPDX-License-Identifier: MIT */
#include "machine/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ledger/events.h"

/* ---- requests ---- */

/* The bits first, then `run`: guest code that sees run clear finds the bits. */
static void vcpu_request(void *opaque, uint32_t bits)
{
	struct vcpu *vcpu = opaque;
	uint64_t *since = &vcpu->cpu->interrupt_since;
	if ((bits & CPU_REQUEST_INTERRUPT) != 0 && __atomic_load_n(since, __ATOMIC_RELAXED) == 0)
		__atomic_store_n(since, ledger_tsc(), __ATOMIC_RELAXED);
	__atomic_fetch_or(&vcpu->cpu->requests, bits, __ATOMIC_SEQ_CST);
	uint64_t now = ledger_tsc();
	bool timer = __atomic_load_n(&vcpu->clock->firing, __ATOMIC_RELAXED);
	bool stop = (bits & CPU_REQUEST_STOP) != 0;
	if (turn_wake(&vcpu->turn, stop, timer ? TOKEN_WANTS_BY_TIMER : TOKEN_WANTS_BY_EVENT))
		__atomic_store_n(&vcpu->woken_at, now, __ATOMIC_RELAXED);
}

static void vcpu_withdraw(void *opaque, uint32_t bits)
{
	struct vcpu *vcpu = opaque;
	if ((bits & CPU_REQUEST_INTERRUPT) != 0)
		__atomic_store_n(&vcpu->cpu->interrupt_since, 0, __ATOMIC_RELAXED);
	__atomic_fetch_and(&vcpu->cpu->requests, ~bits, __ATOMIC_SEQ_CST);
}

static void vcpu_set_startup_vector(void *opaque, uint8_t vector)
{
	struct vcpu *vcpu = opaque;
	vcpu->cpu->startup_vector = vector;
}

struct cpu_pin vcpu_pin(struct vcpu *vcpu)
{
	return (struct cpu_pin){.request = vcpu_request,
				.withdraw = vcpu_withdraw,
				.set_startup_vector = vcpu_set_startup_vector,
				.opaque = vcpu};
}

static void lock_devices(void *opaque)
{
	struct vcpu *vcpu = opaque;
	if (pthread_mutex_trylock(vcpu->device_mutex) == 0)
		return;
	engine_step_aside(vcpu->engine);
	(void)pthread_mutex_lock(vcpu->device_mutex);
	engine_step_back(vcpu->engine);
}

static void unlock_devices(void *opaque)
{
	struct vcpu *vcpu = opaque;
	(void)pthread_mutex_unlock(vcpu->device_mutex);
}

struct device_lock vcpu_device_lock(struct vcpu *vcpu)
{
	return (struct device_lock){.lock = lock_devices, .unlock = unlock_devices, .opaque = vcpu};
}

uint64_t vcpu_tsc(void *opaque)
{
	const struct vcpu *vcpu = opaque;
	return clock_tsc(vcpu->clock) + (vcpu->cpu->tsc_offset - vcpu->clock_offset);
}

/* ---- the thread ---- */

static uint32_t requests_of(const struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->cpu->requests, __ATOMIC_SEQ_CST);
}

static void sleep_begins(struct vcpu *vcpu, enum ledger_state state)
{
	ledger_settle_if_due(vcpu->ledger, vcpu->index, &vcpu->ledger_thread);
	(void)ledger_enter(vcpu->cpu->ledger, state);
}

static void sleep_ends(struct vcpu *vcpu)
{
	(void)ledger_enter(vcpu->cpu->ledger, LEDGER_EXIT);
	ledger_settle_if_due(vcpu->ledger, vcpu->index, &vcpu->ledger_thread);
}

/* Sleeps until a request may have ended the halt. `bell` is read before the requests, so that none is missed. */
static void wait_in_halt(struct vcpu *vcpu, bool wakeable)
{
	sleep_begins(vcpu, LEDGER_IDLE);
	__atomic_store_n(&vcpu->woken_at, 0, __ATOMIC_RELAXED);
	turn_sleep_begins(&vcpu->turn);
	for (;;) {
		uint32_t bell = turn_bell(&vcpu->turn);
		if ((requests_of(vcpu) & CPU_REQUEST_STOP) != 0 || (wakeable && cpu_has_wake_event(vcpu->cpu)))
			break;
		turn_idle(&vcpu->turn);
		turn_sleep(&vcpu->turn, bell);
	}
	turn_sleep_ends(&vcpu->turn);
	sleep_ends(vcpu);
}

/*
 * In a loop that only waits: until a request comes. Nobody tells when memory changes that the loop looks at, so the
 * guest looks itself, first after 50 us, then after up to 1 ms. Of a long loop more rarely: that takes at most a
 * twentieth of the processor. A processor lent by the host is given back when the naps have grown long: for short ones
 * it is not worth the host's time.
 */
#define NAP_FIRST_US 50u
#define NAP_MOST_US 1000u
#define NAP_LONGEST_US 20000u
#define NAPS_SHORT 5u

static uint64_t nap_us(const struct vcpu *vcpu, const struct engine_nap *nap)
{
	unsigned doubled = nap->number - 1 < NAPS_SHORT ? nap->number - 1 : NAPS_SHORT;
	uint64_t us = (uint64_t)NAP_FIRST_US << doubled;
	uint64_t least = nap->cost * 20 / (vcpu->ledger->tsc_hz / 1000000);
	us = us < NAP_MOST_US ? us : NAP_MOST_US;
	us = us > least ? us : least;
	return us < NAP_LONGEST_US ? us : NAP_LONGEST_US;
}

static void nap(struct vcpu *vcpu)
{
	struct engine_nap nap = engine_nap(vcpu->engine);
	uint64_t us = nap_us(vcpu, &nap);
	uint32_t bell;
	sleep_begins(vcpu, LEDGER_IDLE);
	__atomic_store_n(&vcpu->woken_at, 0, __ATOMIC_RELAXED);
	turn_sleep_begins(&vcpu->turn);
	if (nap.number > NAPS_SHORT)
		turn_idle(&vcpu->turn);
	do
		bell = turn_bell(&vcpu->turn);
	while (requests_of(vcpu) == nap.requests && turn_keeps(&vcpu->turn) && turn_sleep_for(&vcpu->turn, bell, us));
	turn_sleep_ends(&vcpu->turn);
	sleep_ends(vcpu);
}

static void do_reset(struct vcpu *vcpu)
{
	cpu_reset(vcpu->cpu);
	if (vcpu->boot == NULL)
		return;
	if (vcpu->index == 0)
		boot_apply(vcpu->boot, vcpu->cpu);
	else
		boot_prepare(vcpu->cpu);
}

/* The guest's TSC stood still with the clock: follow the clock's new origin. */
static void follow_clock(struct vcpu *vcpu)
{
	device_lock_take(&vcpu->lock);
	uint64_t offset = clock_tsc_offset(vcpu->clock);
	vcpu->cpu->tsc_offset += offset - vcpu->clock_offset;
	vcpu->clock_offset = offset;
	device_lock_drop(&vcpu->lock);
}

/* Waits while the machine wants it to. Returns false when the thread shall end. */
static bool wait_parked(struct vcpu *vcpu, bool *reset)
{
	(void)pthread_mutex_lock(&vcpu->mutex);
	if (vcpu->stop_wanted) {
		sleep_begins(vcpu, LEDGER_PAUSED);
		vcpu->parked = true;
		(void)pthread_cond_broadcast(&vcpu->changed);
		while (vcpu->stop_wanted && !vcpu->exit_wanted)
			(void)pthread_cond_wait(&vcpu->changed, &vcpu->mutex);
		vcpu->parked = false;
		sleep_ends(vcpu);
	}
	vcpu_withdraw(vcpu, CPU_REQUEST_STOP);
	*reset = vcpu->reset_wanted;
	vcpu->reset_wanted = false;
	bool go_on = !vcpu->exit_wanted;
	(void)pthread_mutex_unlock(&vcpu->mutex);
	return go_on;
}

static bool stop_point(struct vcpu *vcpu)
{
	bool reset;
	if (!wait_parked(vcpu, &reset))
		return false;
	follow_clock(vcpu);
	if (reset)
		do_reset(vcpu);
	return true;
}

/* Time that is counted does not pass in a halt: it goes on to where something happens. */
static void halt(struct vcpu *vcpu)
{
	bool counts = vcpu->counted != NULL && !cpu_has_wake_event(vcpu->cpu);
	if (!counts || !vcpu->counted(vcpu->opaque, true))
		wait_in_halt(vcpu, true);
}

/* What was booked to waits for a processor. */
static uint64_t waited(const struct vcpu *vcpu)
{
	const uint64_t *clock = vcpu->cpu->ledger->clock;
	return clock[LEDGER_READY] + clock[LEDGER_COSTOP] + clock[LEDGER_LIMITED];
}

static void tell(const struct vcpu *vcpu, enum ledger_event kind, uint64_t cycles)
{
	if ((__atomic_load_n(&vcpu->cpu->events_wanted, __ATOMIC_RELAXED) >> kind & 1) != 0)
		cpu_tell(vcpu->cpu, kind, 0, 0, cycles);
}

/* Waits for a processor. False: the thread is to stop. */
static bool begin_turn(struct vcpu *vcpu)
{
	uint64_t before = waited(vcpu);
	if (!turn_begin(&vcpu->turn))
		return false;
	if (waited(vcpu) != before)
		tell(vcpu, EVENT_TURN, waited(vcpu) - before);
	uint64_t woken_at = __atomic_load_n(&vcpu->woken_at, __ATOMIC_RELAXED);
	if (woken_at != 0) {
		ledger_delay_add(vcpu->cpu->ledger, LEDGER_DELAY_WAKE, woken_at);
		tell(vcpu, EVENT_WAKE, ledger_tsc() - woken_at);
	}
	__atomic_store_n(&vcpu->woken_at, 0, __ATOMIC_RELAXED);
	return true;
}

static void run_guest(struct vcpu *vcpu)
{
	while (stop_point(vcpu)) {
		enum engine_exit why = ENGINE_HALTED;
		while (why != ENGINE_DEBUG && why != ENGINE_SHUTDOWN && begin_turn(vcpu)) {
			why = engine_run(vcpu->engine);
			if (why == ENGINE_HALTED)
				halt(vcpu);
			else if (why == ENGINE_NAPPING)
				nap(vcpu);
			else if (why == ENGINE_COUNTED)
				(void)vcpu->counted(vcpu->opaque, false);
		}
		turn_idle(&vcpu->turn);
		if (why == ENGINE_DEBUG)
			vcpu->debugged(vcpu->opaque);
		if (why == ENGINE_SHUTDOWN) {
			vcpu->shut_down(vcpu->opaque);
			wait_in_halt(vcpu, false);
		}
	}
}

/* Signals sent to the process are for the thread that runs the event loop; only faults are ours. */
static void block_signals(void)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	sigset_t set;
	(void)sigfillset(&set);
	for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++)
		(void)sigdelset(&set, faults[i]);
	(void)pthread_sigmask(SIG_SETMASK, &set, NULL);
}

static void *thread_main(void *opaque)
{
	struct vcpu *vcpu = opaque;
	struct error error;
	char name[16];
	block_signals();
	(void)snprintf(name, sizeof name, "vcpu%u", vcpu->index);
	(void)pthread_setname_np(pthread_self(), name);
	if (ledger_thread_open(&vcpu->ledger_thread, vcpu->tasks, (uint64_t)gettid(), true))
		ledger_settle_begin(vcpu->ledger, vcpu->index, &vcpu->ledger_thread);
	(void)ledger_thread_open(&vcpu->ledger_reader, vcpu->tasks, (uint64_t)gettid(), false);
	__atomic_store_n(&vcpu->cpu->ledger->thread_id, (uint64_t)gettid(), __ATOMIC_RELAXED);
	turn_attach(&vcpu->turn, &vcpu->ledger_thread);

	if (engine_vcpu_attach(vcpu->engine, &error)) {
		run_guest(vcpu);
		engine_vcpu_detach(vcpu->engine);
	} else {
		bool reset;
		vcpu->failed(vcpu->opaque, error.text);
		while (wait_parked(vcpu, &reset))
			wait_in_halt(vcpu, false);
	}
	__atomic_store_n(&vcpu->cpu->ledger->thread_id, 0, __ATOMIC_RELAXED);
	ledger_settle(vcpu->ledger, vcpu->index, &vcpu->ledger_thread);
	ledger_thread_close(&vcpu->ledger_thread);
	return NULL;
}

bool vcpu_init(struct vcpu *vcpu, struct turns *turns, struct error *error)
{
	vcpu->cpu = engine_vcpu_cpu(vcpu->engine);
	vcpu->cpu->index = vcpu->index;
	(void)pthread_mutex_init(&vcpu->mutex, NULL);
	(void)pthread_cond_init(&vcpu->changed, NULL);
	return turn_init(&vcpu->turn, turns, vcpu->cpu, vcpu->index, error);
}

bool vcpu_create_thread(struct vcpu *vcpu, struct error *error)
{
	vcpu->stop_wanted = true;
	vcpu->exit_wanted = false;
	int failure = pthread_create(&vcpu->thread, NULL, thread_main, vcpu);
	if (failure != 0) {
		errno = failure;
		return error_set_errno(error, "cannot create the thread of vCPU %u", vcpu->index);
	}
	vcpu->thread_made = true;
	return true;
}

void vcpu_join_thread(struct vcpu *vcpu)
{
	if (!vcpu->thread_made)
		return;
	(void)pthread_mutex_lock(&vcpu->mutex);
	vcpu->stop_wanted = vcpu->exit_wanted = true;
	vcpu_request(vcpu, CPU_REQUEST_STOP);
	(void)pthread_cond_broadcast(&vcpu->changed);
	(void)pthread_mutex_unlock(&vcpu->mutex);
	(void)pthread_join(vcpu->thread, NULL);
	ledger_thread_close(&vcpu->ledger_reader);
	vcpu->thread_made = false;
}

void vcpu_ask_stop(struct vcpu *vcpu)
{
	(void)pthread_mutex_lock(&vcpu->mutex);
	vcpu->stop_wanted = true;
	vcpu_request(vcpu, CPU_REQUEST_STOP);
	(void)pthread_mutex_unlock(&vcpu->mutex);
}

void vcpu_wait_parked(struct vcpu *vcpu)
{
	(void)pthread_mutex_lock(&vcpu->mutex);
	while (vcpu->thread_made && !vcpu->parked)
		(void)pthread_cond_wait(&vcpu->changed, &vcpu->mutex);
	(void)pthread_mutex_unlock(&vcpu->mutex);
}

void vcpu_start(struct vcpu *vcpu)
{
	(void)pthread_mutex_lock(&vcpu->mutex);
	vcpu->stop_wanted = false;
	(void)pthread_cond_broadcast(&vcpu->changed);
	(void)pthread_mutex_unlock(&vcpu->mutex);
}

/* What came in before the reset is of the past. The interrupt request is the local APIC's, which has been reset. */
void vcpu_plan_reset(struct vcpu *vcpu, const struct boot_state *boot)
{
	vcpu_withdraw(vcpu, CPU_REQUEST_NMI | CPU_REQUEST_INIT | CPU_REQUEST_STARTUP | CPU_REQUEST_SMI);
	(void)pthread_mutex_lock(&vcpu->mutex);
	vcpu->reset_wanted = true;
	vcpu->boot = boot;
	(void)pthread_mutex_unlock(&vcpu->mutex);
}

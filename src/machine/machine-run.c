/* SPDX-License-Identifier: MIT */
/* Running a machine: its timer, its requests, and the thread that serves both. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cpu/mmu.h"
#include "machine/machine-impl.h"

/* About what an access to a device on the ISA bus takes. */
#define DEVICE_ACCESS_NS 1000

/* ---- the virtual clock's deadline on the loop's timer; all with the device lock held ---- */

static void arm(struct machine *machine, uint64_t deadline)
{
	uint64_t now = clock_now(&machine->clock);
	machine->armed = deadline;
	if (machine->config.deterministic) {
		engine_run_until(machine->vcpu[0].engine, clock_count_at(&machine->clock, deadline));
		return;
	}
	loop_set_timer(&machine->loop, deadline == CLOCK_NEVER ? LOOP_NEVER : deadline > now ? deadline - now : 0);
}

/* A deadline that moved back is left alone: the timer finds nothing due and is set again, which is cheaper. */
void machine_rearm(void *opaque, uint64_t deadline)
{
	struct machine *machine = opaque;
	bool moved = machine->config.deterministic || (!machine->clock.paused && deadline < machine->armed);
	if (moved && machine->vcpu_count > 0)
		arm(machine, deadline);
}

/*
 * The device lock as a deterministic machine's vCPU takes it. Each access costs time, as on a PC: a loop that asks a
 * device until it is ready would otherwise run a thousand times for each time it runs there.
 */
void machine_lock_counted(void *opaque)
{
	struct machine *machine = opaque;
	(void)pthread_mutex_lock(&machine->device_mutex);
	clock_charge(&machine->clock, DEVICE_ACCESS_NS);
	arm(machine, machine->armed);
}

/* Of a deterministic machine: timers fire here, on the vCPU's thread, and nowhere else while it runs. */
bool machine_counted(void *opaque, bool halted)
{
	struct machine *machine = opaque;
	struct clock *clock = &machine->clock;
	cpu_fpu_park(machine->vcpu[0].cpu);
	(void)pthread_mutex_lock(&machine->device_mutex);
	bool good = !clock->paused && (!halted || clock_skip(clock));
	if (good) {
		arm(machine, clock_run(clock));
		if (machine->trace != NULL)
			trace_timers(machine->trace);
	}
	(void)pthread_mutex_unlock(&machine->device_mutex);
	return good;
}

void machine_on_timer(void *opaque, int fd, uint32_t events)
{
	struct machine *machine = opaque;
	(void)fd;
	(void)events;
	machine->armed = CLOCK_NEVER;
	if (!machine->clock.paused)
		arm(machine, clock_run(&machine->clock));
}

/* ---- requests ---- */

static void post(struct machine *machine, uint32_t bits)
{
	__atomic_fetch_or(&machine->requests, bits, __ATOMIC_SEQ_CST);
	loop_wake(&machine->loop);
}

/* From the guest: whichever vCPU asked, none runs any further. */
static void post_from_guest(struct machine *machine, uint32_t bits)
{
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		vcpu_ask_stop(&machine->vcpu[i]);
	post(machine, bits);
}

void machine_guest_power_off(void *opaque)
{
	post_from_guest(opaque, REQUEST_POWER_OFF);
}

void machine_guest_reset(void *opaque)
{
	post_from_guest(opaque, REQUEST_GUEST_RESET);
}

/* In a device access, or at reset. */
void machine_guest_a20(void *opaque, bool on)
{
	struct machine *machine = opaque;
	if (machine->vcpu_count == 0)
		return;
	engine_stop_others(machine->engine);
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		mmu_set_a20(machine->vcpu[i].cpu, on);
	engine_start_others(machine->engine);
}

void machine_guest_debug_exit(void *opaque, uint32_t value)
{
	struct machine *machine = opaque;
	machine->debug_exit_code = (int)((value << 1 | 1) & 0xff);
	post_from_guest(machine, REQUEST_DEBUG_EXIT);
}

/* With the device lock held, by whichever thread found out. */
void machine_stop_for_image(struct machine *machine)
{
	__atomic_store_n(&machine->pause_wanted, true, __ATOMIC_SEQ_CST);
	post_from_guest(machine, REQUEST_PAUSE_STATE);
}

void machine_vcpu_shut_down(void *opaque)
{
	post_from_guest(opaque, REQUEST_TRIPLE_FAULT);
}

/* The others stop too. What each has met stays in its debug.stop. */
void machine_vcpu_debugged(void *opaque)
{
	struct machine *machine = opaque;
	__atomic_store_n(&machine->pause_wanted, true, __ATOMIC_SEQ_CST);
	post_from_guest(machine, REQUEST_DEBUG | REQUEST_PAUSE_STATE);
}

void machine_vcpu_failed(void *opaque, const char *why)
{
	struct machine *machine = opaque;
	(void)snprintf(machine->failure, sizeof machine->failure, "%s", why);
	post_from_guest(machine, REQUEST_FAIL);
}

/* ---- serving them, on the loop's thread without the device lock ---- */

static void set_state(struct machine *machine, enum machine_state state)
{
	__atomic_store_n(&machine->state, (uint32_t)state, __ATOMIC_SEQ_CST);
}

static void stop_vcpus(struct machine *machine)
{
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		vcpu_ask_stop(&machine->vcpu[i]);
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		vcpu_wait_parked(&machine->vcpu[i]);
}

static void start_vcpus(struct machine *machine)
{
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		if (!machine->vcpu[i].cpu->debug.hold)
			vcpu_start(&machine->vcpu[i]);
}

static void end(struct machine *machine, enum machine_end how)
{
	if (machine_state(machine) == MACHINE_ENDED)
		return;
	machine->end = how;
	set_state(machine, MACHINE_ENDED);
	stop_vcpus(machine);
}

static void pause_guest(struct machine *machine)
{
	stop_vcpus(machine);
	(void)pthread_mutex_lock(&machine->device_mutex);
	clock_pause(&machine->clock);
	arm(machine, CLOCK_NEVER);
	(void)pthread_mutex_unlock(&machine->device_mutex);
	set_state(machine, MACHINE_PAUSED);
}

static void resume_guest(struct machine *machine)
{
	(void)pthread_mutex_lock(&machine->device_mutex);
	clock_resume(&machine->clock);
	arm(machine, clock_run(&machine->clock));
	machine_retry_images(machine);
	(void)pthread_mutex_unlock(&machine->device_mutex);
	set_state(machine, MACHINE_RUNNING);
	start_vcpus(machine);
}

/* The vCPUs are parked. */
static void plan_vcpu_resets(struct machine *machine)
{
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		vcpu_plan_reset(&machine->vcpu[i], machine->config.kernel != NULL ? &machine->boot : NULL);
}

static void reset(struct machine *machine)
{
	struct error error;
	stop_vcpus(machine);
	(void)pthread_mutex_lock(&machine->device_mutex);
	pc_reset(machine->pc);
	(void)pthread_mutex_unlock(&machine->device_mutex);
	if (!machine_load(machine, &error)) {
		(void)snprintf(machine->failure, sizeof machine->failure, "%s", error.text);
		end(machine, MACHINE_FAILED);
		return;
	}
	plan_vcpu_resets(machine);
	if (machine_state(machine) == MACHINE_RUNNING)
		start_vcpus(machine);
}

/* A device changes outside of any vCPU's instruction: only while nobody counts them. */
static void press_power_button(struct machine *machine)
{
	bool stop = machine->config.deterministic && machine_state(machine) == MACHINE_RUNNING;
	if (stop)
		stop_vcpus(machine);
	(void)pthread_mutex_lock(&machine->device_mutex);
	pc_power_button(machine->pc);
	(void)pthread_mutex_unlock(&machine->device_mutex);
	if (stop)
		start_vcpus(machine);
}

static void serve_pause_state(struct machine *machine)
{
	bool wanted = __atomic_load_n(&machine->pause_wanted, __ATOMIC_SEQ_CST);
	bool paused = machine_state(machine) == MACHINE_PAUSED;
	if (wanted && !paused)
		pause_guest(machine);
	else if (!wanted && paused)
		resume_guest(machine);
}

/* Ends first, in order of their strength; then what goes on. */
static void serve_requests(struct machine *machine)
{
	uint32_t bits = __atomic_exchange_n(&machine->requests, 0, __ATOMIC_SEQ_CST);
	bool no_reboot = machine->config.no_reboot;
	if ((bits & REQUEST_KILL) != 0)
		end(machine, MACHINE_KILLED);
	else if ((bits & REQUEST_FAIL) != 0)
		end(machine, MACHINE_FAILED);
	else if ((bits & REQUEST_DEBUG_EXIT) != 0)
		end(machine, MACHINE_DEBUG_EXIT);
	else if ((bits & REQUEST_POWER_OFF) != 0)
		end(machine, MACHINE_POWERED_OFF);
	else if ((bits & (REQUEST_GUEST_RESET | REQUEST_USER_RESET)) != 0 && no_reboot)
		end(machine, MACHINE_REBOOTED);
	else if ((bits & REQUEST_TRIPLE_FAULT) != 0 && no_reboot)
		end(machine, MACHINE_SHUTDOWN);
	if (machine_state(machine) == MACHINE_ENDED)
		return;
	if ((bits & (REQUEST_GUEST_RESET | REQUEST_TRIPLE_FAULT | REQUEST_USER_RESET)) != 0)
		reset(machine);
	if ((bits & REQUEST_POWER_BUTTON) != 0)
		press_power_button(machine);
	if ((bits & REQUEST_PAUSE_STATE) != 0 && machine_state(machine) != MACHINE_ENDED)
		serve_pause_state(machine);
	if ((bits & REQUEST_DEBUG) != 0 && machine->debug_stopped != NULL && machine_state(machine) == MACHINE_PAUSED)
		machine->debug_stopped(machine->debug_opaque);
}

/* ---- what callers see ---- */

void machine_settle(struct machine *machine)
{
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		ledger_settle(machine->ledger, i, &machine->vcpu[i].ledger_reader);
}

static void request(struct machine *machine, uint32_t bits)
{
	post(machine, bits);
	if (__atomic_load_n(&machine->looping, __ATOMIC_SEQ_CST) &&
	    pthread_equal(machine->loop_thread, pthread_self()) != 0)
		serve_requests(machine);
}

void machine_pause(struct machine *machine)
{
	__atomic_store_n(&machine->pause_wanted, true, __ATOMIC_SEQ_CST);
	request(machine, REQUEST_PAUSE_STATE);
}

void machine_resume(struct machine *machine)
{
	__atomic_store_n(&machine->pause_wanted, false, __ATOMIC_SEQ_CST);
	request(machine, REQUEST_PAUSE_STATE);
}

void machine_reset(struct machine *machine)
{
	request(machine, REQUEST_USER_RESET);
}

void machine_power_button(struct machine *machine)
{
	request(machine, REQUEST_POWER_BUTTON);
}

void machine_kill(struct machine *machine)
{
	request(machine, REQUEST_KILL);
}

bool machine_schedule(struct machine *machine, int *page_fd, int *doorbell_fd, struct error *error)
{
	*page_fd = machine->turns.page_fd;
	*doorbell_fd = machine->turns.doorbell;
	return turns_watch(&machine->turns, error);
}

enum machine_state machine_state(struct machine *machine)
{
	return (enum machine_state)__atomic_load_n(&machine->state, __ATOMIC_SEQ_CST);
}

int machine_debug_exit_code(const struct machine *machine)
{
	return machine->debug_exit_code;
}

const char *machine_failure(const struct machine *machine)
{
	return machine->failure;
}

void machine_on_debug(struct machine *machine, machine_debug_function *stopped, void *opaque)
{
	machine->debug_stopped = stopped;
	machine->debug_opaque = opaque;
}

void machine_set_debugger(struct machine *machine, const struct debugger *debugger)
{
	bug_if(__atomic_load_n(&machine->looping, __ATOMIC_SEQ_CST) && machine_state(machine) == MACHINE_RUNNING);
	engine_debugger_changed(machine->engine, debugger);
}

unsigned machine_cpu_count(const struct machine *machine)
{
	return machine->vcpu_count;
}

struct cpu *machine_cpu(struct machine *machine, unsigned index)
{
	return machine->vcpu[index].cpu;
}

bool machine_watch(struct machine *machine, int fd, uint32_t epoll_events, machine_watch_function *function,
		   void *opaque, struct error *error)
{
	return loop_watch(&machine->loop, fd, epoll_events, NULL, function, opaque, error);
}

void machine_unwatch(struct machine *machine, int fd)
{
	loop_unwatch(&machine->loop, fd);
}

static bool create_vcpu_threads(struct machine *machine, struct error *error)
{
	for (unsigned i = 0; i < machine->vcpu_count; i++) {
		machine->vcpu[i].tasks = machine->tasks;
		if (!vcpu_create_thread(&machine->vcpu[i], error))
			return false;
	}
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		vcpu_wait_parked(&machine->vcpu[i]);
	/* It leads out of a new root; and from here on no thread looks its figures up. */
	(void)close(machine->tasks);
	machine->tasks = -1;
	return true;
}

static bool create_threads(struct machine *machine)
{
	const struct machine_config *config = &machine->config;
	struct error error;
	if (networks_start(&machine->networks, &error) && create_vcpu_threads(machine, &error) &&
	    (config->before_guest == NULL || config->before_guest(config->before_guest_opaque, &error)))
		return true;
	(void)snprintf(machine->failure, sizeof machine->failure, "%s", error.text);
	return false;
}

static void start(struct machine *machine)
{
	(void)pthread_mutex_lock(&machine->device_mutex);
	pc_reset(machine->pc);
	(void)pthread_mutex_unlock(&machine->device_mutex);
	plan_vcpu_resets(machine);
	if (__atomic_load_n(&machine->pause_wanted, __ATOMIC_SEQ_CST))
		set_state(machine, MACHINE_PAUSED);
	else
		resume_guest(machine);
}

enum machine_end machine_run(struct machine *machine)
{
	/* A serial port's reader that goes away is an error of the write, not the end of the process. */
	sigset_t pipe, before;
	(void)sigemptyset(&pipe);
	(void)sigaddset(&pipe, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &pipe, &before);

	machine->loop_thread = pthread_self();
	__atomic_store_n(&machine->looping, true, __ATOMIC_SEQ_CST);
	if (create_threads(machine))
		start(machine);
	else
		end(machine, MACHINE_FAILED);
	serve_requests(machine);
	while (machine_state(machine) != MACHINE_ENDED) {
		loop_run_once(&machine->loop);
		serve_requests(machine);
	}
	__atomic_store_n(&machine->looping, false, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		vcpu_join_thread(&machine->vcpu[i]);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return machine->end;
}

/* SPDX-License-Identifier: MIT */
/*
 * A machine without a processor, for tests of everything around it: the control socket, the lifecycle of a guest's
 * process and the terminal. It implements machine/machine.h. Its "kernel" is a text file whose first word says what the
 * guest does:
 *
 *   spin       runs until killed           echo   copies serial input to serial output, runs until killed
 *   poweroff   powers off at once          deaf   never lets go: neither machine_kill nor the power button ends it
 *   reboot     asks for a reset            hang   blocks the event loop for ever
 *   triple     triple-faults               crash  the process aborts
 *   exit:N     writes N to the debug-exit port
 *   fail       a host error at run time
 *   try:WORD   does what its process should not be able to (confined_attacks.h), and powers off if it still can
 *
 *   keys       reads the keyboard and writes each byte to serial output, in hexadecimal
 *   screen, wide, graphics, off   reads the keyboard and has a screen: see screen_double.h
 *
 * The power button powers it off. Without a kernel the firmware takes its place: it prints the configuration that it
 * was given, one line for each thing, on serial output, and powers off.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "confined_attacks.h"
#include "ledger/events.h"
#include "ledger/samples.h"
#include "ledger/settle.h"
#include "machine/machine.h"
#include "screen_double.h"

#define WATCH_MAX 64
#define FILE_MAX 8192

struct watch {
	int fd;
	machine_watch_function *function;
	void *opaque;
};

struct machine {
	const struct machine_config *config;
	char script[64];
	pthread_mutex_t lock;
	struct screen_double screen;
	int epoll;
	struct watch watch[WATCH_MAX];
	struct ledger *ledger;
	int ledger_fd;
	struct samples *samples;
	struct events events;
	pthread_t thread;
	int tasks;
	struct ledger_thread reader;
	pthread_barrier_t started;
	atomic_int state; /* enum machine_state */
	atomic_bool stop_thread;
	enum machine_end end;
	int exit_code;
};

/* The first word is the script; what follows its line is the screen's. */
static bool read_script(struct machine *machine, char text[FILE_MAX], struct error *error)
{
	text[0] = '\0';
	if (machine->config->kernel == NULL) {
		(void)snprintf(machine->script, sizeof machine->script, "firmware");
		return true;
	}
	FILE *file = fopen(machine->config->kernel, "re");
	if (file == NULL)
		return error_set_errno(error, "%s", machine->config->kernel) || (error->kind = ERROR_INPUT, false);
	bool good = fscanf(file, "%63s%*1[\n]", machine->script) == 1;
	size_t got = fread(text, 1, FILE_MAX - 1, file);
	text[got] = '\0';
	(void)fclose(file);
	return good || error_set(error, ERROR_INPUT, "%s: no script", machine->config->kernel);
}

struct machine *machine_create(const struct machine_config *config, struct error *error)
{
	struct machine *machine = calloc(1, sizeof *machine);
	char text[FILE_MAX];
	if (machine == NULL)
		return NULL;
	machine->config = config;
	machine->tasks = ledger_tasks_open();
	machine->reader = (struct ledger_thread){.schedstat = -1, .stat = -1};
	if (!read_script(machine, text, error) || !screen_double_init(&machine->screen, machine->script, text, error)) {
		free(machine);
		return NULL;
	}
	for (unsigned i = 0; i < WATCH_MAX; i++)
		machine->watch[i].fd = -1;
	(void)pthread_mutex_init(&machine->lock, NULL);
	machine->epoll = epoll_create1(EPOLL_CLOEXEC);
	machine->ledger = ledger_create(config->cpus, &machine->ledger_fd, error);
	(void)events_open(&machine->events, error);
	return machine;
}

void machine_destroy(struct machine *machine)
{
	close(machine->epoll);
	if (machine->tasks >= 0)
		close(machine->tasks);
	screen_double_free(&machine->screen);
	free(machine->samples);
	events_close(&machine->events);
	ledger_close(machine->ledger, machine->ledger_fd);
	free(machine);
}

static void end_with(struct machine *machine, enum machine_end end)
{
	machine->end = end;
	atomic_store(&machine->state, MACHINE_ENDED);
}

static void print_config(const struct machine_config *config)
{
	static const char *const devices[] = {
	    [BOOT_FROM_FLOPPY] = "floppy", [BOOT_FROM_CDROM] = "cdrom", [BOOT_FROM_DISK] = "disk"};
	int out = config->serial_fd_out;
	(void)dprintf(out, "name %s\n", config->name);
	for (unsigned i = 0; i < config->disk_count; i++)
		(void)dprintf(out, "disk %s%s%s\n", config->disk[i].path, config->disk[i].virtio ? " virtio" : "",
			      config->disk[i].read_only ? " readonly" : "");
	if (config->cdrom != NULL)
		(void)dprintf(out, "cdrom %s\n", config->cdrom);
	for (unsigned i = 0; i < config->floppy_count; i++)
		(void)dprintf(out, "floppy %s%s\n", config->floppy[i], config->floppy_read_only[i] ? " readonly" : "");
	for (unsigned i = 0; i < config->boot_count; i++)
		(void)dprintf(out, "boot %s\n", devices[config->boot[i]]);
	(void)dprintf(out, "firmware %s\n", config->firmware);
	(void)dprintf(out, "vga %s\n", config->vga_firmware != NULL ? config->vga_firmware : "none");
}

static void play(struct machine *machine)
{
	static const struct {
		const char *word;
		enum machine_end end;
	} ends[] = {{"poweroff", MACHINE_POWERED_OFF},
		    {"reboot", MACHINE_REBOOTED},
		    {"triple", MACHINE_SHUTDOWN},
		    {"fail", MACHINE_FAILED},
		    {"firmware", MACHINE_POWERED_OFF}};
	if (strcmp(machine->script, "firmware") == 0)
		print_config(machine->config);
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		if (strcmp(machine->script, ends[i].word) == 0)
			end_with(machine, ends[i].end);
	if (sscanf(machine->script, "exit:%d", &machine->exit_code) == 1)
		end_with(machine, MACHINE_DEBUG_EXIT);
	if (strncmp(machine->script, "try:", 4) == 0 &&
	    confined_attack(machine->script + 4, machine->config->serial_fd_out))
		end_with(machine, MACHINE_POWERED_OFF);
	if (strcmp(machine->script, "crash") == 0)
		(void)raise(SIGABRT);
	while (strcmp(machine->script, "hang") == 0)
		(void)sleep(1);
}

static bool reads_keys(const struct machine *machine)
{
	static const char *const scripts[] = {"keys", "screen", "wide", "graphics", "off"};
	for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
		if (strcmp(machine->script, scripts[i]) == 0)
			return true;
	return false;
}

static void read_key(struct machine *machine)
{
	uint8_t byte;
	machine_lock(machine);
	bool got = screen_double_read_key(&machine->screen, &byte);
	machine_unlock(machine);
	if (got && strcmp(machine->script, "keys") == 0)
		(void)dprintf(machine->config->serial_fd_out, "%02x ", byte);
}

/* The processor: wanders through the states of the ledger. */
static void *processor(void *opaque)
{
	struct machine *machine = opaque;
	struct ledger_vcpu *line = &machine->ledger->vcpu[0];
	line->thread_id = (uint64_t)gettid();
	(void)ledger_thread_open(&machine->reader, machine->tasks, line->thread_id, false);
	(void)pthread_barrier_wait(&machine->started);
	for (unsigned i = 0; !atomic_load(&machine->stop_thread); i++) {
		struct timespec pause = {.tv_nsec = 200000};
		bool paused = atomic_load(&machine->state) == MACHINE_PAUSED;
		ledger_enter(line, paused ? LEDGER_PAUSED : (enum ledger_state)(i % LEDGER_PAUSED));
		ledger_count(line, LEDGER_COUNT_HALT);
		if (!paused && reads_keys(machine))
			read_key(machine);
		(void)nanosleep(&pause, NULL);
	}
	return NULL;
}

static void echo_input(void *opaque, int fd, uint32_t events)
{
	struct machine *machine = opaque;
	char bytes[256];
	ssize_t got = read(fd, bytes, sizeof bytes);
	(void)events;
	if (got <= 0)
		machine_unwatch(machine, fd);
	else if (write(machine->config->serial_fd_out, bytes, (size_t)got) != got)
		end_with(machine, MACHINE_FAILED);
}

static void loop_once(struct machine *machine)
{
	struct epoll_event event;
	if (epoll_wait(machine->epoll, &event, 1, -1) != 1)
		return;
	const struct watch *watch = event.data.ptr;
	if (watch->fd >= 0)
		watch->function(watch->opaque, watch->fd, event.events);
}

enum machine_end machine_run(struct machine *machine)
{
	if (strcmp(machine->script, "echo") == 0)
		(void)machine_watch(machine, machine->config->serial_fd_in, EPOLLIN, echo_input, machine, NULL);
	struct error error = {0};
	(void)pthread_barrier_init(&machine->started, NULL, 2);
	(void)pthread_create(&machine->thread, NULL, processor, machine);
	(void)pthread_barrier_wait(&machine->started);
	close(machine->tasks);
	machine->tasks = -1;
	if (machine->config->before_guest != NULL &&
	    !machine->config->before_guest(machine->config->before_guest_opaque, &error))
		end_with(machine, MACHINE_FAILED);
	play(machine);
	while (atomic_load(&machine->state) != MACHINE_ENDED)
		loop_once(machine);
	atomic_store(&machine->stop_thread, true);
	(void)pthread_join(machine->thread, NULL);
	ledger_thread_close(&machine->reader);
	return machine->end;
}

int machine_debug_exit_code(const struct machine *machine)
{
	return machine->exit_code << 1 | 1;
}

const char *machine_failure(const struct machine *machine)
{
	(void)machine;
	return "the double was told to fail";
}

void machine_pause(struct machine *machine)
{
	int running = MACHINE_RUNNING;
	(void)atomic_compare_exchange_strong(&machine->state, &running, MACHINE_PAUSED);
}

void machine_resume(struct machine *machine)
{
	int paused = MACHINE_PAUSED;
	(void)atomic_compare_exchange_strong(&machine->state, &paused, MACHINE_RUNNING);
}

void machine_reset(struct machine *machine)
{
	if (machine->config->no_reboot)
		end_with(machine, MACHINE_REBOOTED);
}

void machine_power_button(struct machine *machine)
{
	if (strcmp(machine->script, "deaf") != 0 && strcmp(machine->script, "spin") != 0)
		end_with(machine, MACHINE_POWERED_OFF);
}

void machine_kill(struct machine *machine)
{
	if (strcmp(machine->script, "deaf") != 0)
		end_with(machine, MACHINE_KILLED);
}

/* It has no processors. */
bool machine_schedule(struct machine *machine, int *page_fd, int *doorbell_fd, struct error *error)
{
	(void)machine;
	(void)page_fd;
	(void)doorbell_fd;
	return error_set(error, ERROR_HOST, "there are no processors");
}

enum machine_state machine_state(struct machine *machine)
{
	return (enum machine_state)atomic_load(&machine->state);
}

/* No processors to be debugged. */
void machine_on_debug(struct machine *machine, machine_debug_function *stopped, void *opaque)
{
	(void)machine;
	(void)stopped;
	(void)opaque;
}

void machine_set_debugger(struct machine *machine, const struct debugger *debugger)
{
	(void)machine;
	(void)debugger;
}

unsigned machine_cpu_count(const struct machine *machine)
{
	(void)machine;
	return 0;
}

struct cpu *machine_cpu(struct machine *machine, unsigned index)
{
	(void)machine;
	(void)index;
	return NULL;
}

void machine_lock(struct machine *machine)
{
	(void)pthread_mutex_lock(&machine->lock);
}

void machine_unlock(struct machine *machine)
{
	(void)pthread_mutex_unlock(&machine->lock);
}

struct display *machine_display(struct machine *machine)
{
	return &machine->screen.display;
}

struct ps2keyboard *machine_keyboard(struct machine *machine)
{
	return machine->screen.keyboard;
}

struct ledger *machine_ledger(const struct machine *machine)
{
	return machine->ledger;
}

bool machine_sample(struct machine *machine, unsigned milliseconds, struct error *error)
{
	if (machine->samples == NULL)
		machine->samples = calloc(1, sizeof *machine->samples);
	if (machine->samples == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	for (unsigned i = 0; i < milliseconds; i++)
		samples_add(machine->samples, &(struct sample){.address = UINT64_MAX - i,
							       .block = UINT64_MAX - i,
							       .what = (uint8_t)(i % SAMPLE_WHAT_COUNT),
							       .bits = 64,
							       .device = i % 2 ? "a device" : NULL});
	return true;
}

const struct samples *machine_samples(const struct machine *machine)
{
	return machine->samples;
}

void machine_trace(struct machine *machine, uint64_t wanted)
{
	machine->events.wanted = wanted;
}

const struct events *machine_events(const struct machine *machine)
{
	return &machine->events;
}

uint64_t machine_syscall_entry(const struct machine *machine)
{
	(void)machine;
	return 0xffffffff81e00080;
}

void machine_settle(struct machine *machine)
{
	ledger_settle(machine->ledger, 0, &machine->reader);
}

int machine_agent_fd(const struct machine *machine)
{
	(void)machine;
	return -1;
}

bool machine_agent_listens(struct machine *machine)
{
	(void)machine;
	return false;
}

int machine_ledger_fd(const struct machine *machine)
{
	return machine->ledger_fd;
}

uint64_t machine_overhead_bytes(const struct machine *machine)
{
	return sizeof *machine;
}

bool machine_watch(struct machine *machine, int fd, uint32_t epoll_events, machine_watch_function *function,
		   void *opaque, struct error *error)
{
	for (unsigned i = 0; i < WATCH_MAX; i++) {
		struct watch *watch = &machine->watch[i];
		struct epoll_event event = {.events = epoll_events, .data.ptr = watch};
		if (watch->fd >= 0)
			continue;
		if (epoll_ctl(machine->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
			return error_set_errno(error, "cannot watch descriptor %d", fd);
		*watch = (struct watch){fd, function, opaque};
		return true;
	}
	return error_set(error, ERROR_HOST, "too many descriptors");
}

void machine_unwatch(struct machine *machine, int fd)
{
	for (unsigned i = 0; i < WATCH_MAX; i++)
		if (machine->watch[i].fd == fd)
			machine->watch[i].fd = -1;
	(void)epoll_ctl(machine->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * nfold-vm: one guest. Started by nfold, with the guest's options as `nfold run` takes them.
 *
 * Order of events, each undone in reverse when a later one fails: the options are checked, signals are blocked, the
 * name is claimed, the control socket opened, the machine made, the process confined, the parent told, the guest run.
 * Files that belong to the user are opened by machine_create, the last step that can fail for their sake.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "control/guest_options.h"
#include "control/report.h"
#include "control/runtime.h"
#include "control/server.h"
#include "kvm/probe.h"
#include "vm/agent.h"
#include "vm/confined.h"
#include "vm/firmware.h"
#include "vm/gdb.h"
#include "vm/methods.h"
#include "vm/network.h"
#include "vm/signals.h"
#include "vm/trace.h"
#include "vm/typist.h"

#define NAME_TRIES 1000

struct vm {
	struct guest_options options;
	struct machine_config config;
	struct firmware firmware;
	struct vm_networks networks;
	char disk[GUEST_DISKS_MAX][PATH_MAX];
	char trace[PATH_MAX];
	char floppy[GUEST_FLOPPIES_MAX][PATH_MAX];
	struct runtime runtime;
	struct claim claim;
	struct server *server;
	struct machine *machine;
	struct method_context context;
	struct gdb *gdb; /* or NULL */
	struct vm_confinement confinement;
	struct vm_signals signals;
	struct termios terminal;
	bool terminal_saved;
};

static bool claim_name(struct vm *vm, struct error *error)
{
	const char *stem = vm->options.name;
	char name[NAME_LENGTH_MAX + 16];
	(void)snprintf(name, sizeof name, "%s", stem);
	for (unsigned i = 2; i < NAME_TRIES; i++) {
		enum claim_result result = runtime_claim(&vm->runtime, name, &vm->claim, error);
		if (result != CLAIM_TAKEN)
			return result == CLAIM_DONE;
		if (!vm->options.name_free)
			return error_set(error, ERROR_INPUT, "a guest named '%s' runs already: give another --name",
					 name);
		(void)snprintf(name, sizeof name, "%s-%u", stem, i);
	}
	return error_set(error, ERROR_INPUT, "too many guests are named '%s': give a --name", stem);
}

static void set_serial(struct machine_config *config, const char *serial)
{
	static const char unix_prefix[] = "unix:";
	config->serial_fd_in = STDIN_FILENO;
	config->serial_fd_out = STDOUT_FILENO;
	if (strcmp(serial, "stdio") == 0) {
		config->serial = SERIAL_STDIO;
	} else if (strcmp(serial, "none") == 0) {
		config->serial = SERIAL_NONE;
	} else if (strncmp(serial, unix_prefix, strlen(unix_prefix)) == 0) {
		config->serial = SERIAL_UNIX;
		config->serial_path = serial + strlen(unix_prefix);
	} else {
		config->serial = SERIAL_FILE;
		config->serial_path = serial;
	}
}

/* The path of an image as a string of its own. guest_options_check() saw that it fits. */
static const char *keep_path(char path[PATH_MAX], struct guest_image image)
{
	memcpy(path, image.path, image.length);
	path[image.length] = '\0';
	return path;
}

static void set_disk(struct machine_disk *config, char path[PATH_MAX], const char *text)
{
	static const enum disk_format formats[GUEST_DISK_FORMATS] = {
	    [GUEST_DISK_AUTO] = DISK_FORMAT_AUTO,   [GUEST_DISK_RAW] = DISK_FORMAT_RAW,
	    [GUEST_DISK_QCOW2] = DISK_FORMAT_QCOW2, [GUEST_DISK_VMDK] = DISK_FORMAT_VMDK,
	    [GUEST_DISK_VHD] = DISK_FORMAT_VHD,	    [GUEST_DISK_VHDX] = DISK_FORMAT_VHDX};
	static const enum disk_cache caches[GUEST_CACHES] = {[GUEST_CACHE_WRITEBACK] = DISK_WRITEBACK,
							     [GUEST_CACHE_WRITETHROUGH] = DISK_WRITETHROUGH,
							     [GUEST_CACHE_NONE] = DISK_DIRECT,
							     [GUEST_CACHE_UNSAFE] = DISK_UNSAFE};
	struct guest_disk disk;
	(void)guest_disk_read(text, &disk, NULL); /* guest_options_check() has been content with it */
	const struct guest_image image = {.path = disk.path, .length = disk.length};
	*config = (struct machine_disk){.path = keep_path(path, image),
					.format = formats[disk.format],
					.cache = caches[disk.cache],
					.read_only = disk.read_only,
					.virtio = disk.device == GUEST_DISK_VIRTIO,
					.on_error =
					    disk.on_error == GUEST_DISK_STOPS ? DISK_ERROR_STOPS : DISK_ERROR_REPORTS};
}

static void report_disk(void *opaque, const char *text)
{
	(void)opaque;
	report_line("%s", text);
}

static void set_images(struct vm *vm)
{
	const struct guest_options *options = &vm->options;
	struct machine_config *config = &vm->config;
	_Static_assert(GUEST_DISKS_MAX == MACHINE_MAX_DISKS && GUEST_IDE_MAX == MACHINE_MAX_IDE_DISKS &&
			   GUEST_VIRTIO_DISKS_MAX == MACHINE_MAX_VIRTIO_DISKS &&
			   GUEST_FLOPPIES_MAX == MACHINE_MAX_FLOPPIES,
		       "every image given fits");
	for (unsigned i = 0; i < options->disk.count; i++)
		set_disk(&config->disk[i], vm->disk[i], options->disk.item[i]);
	config->disk_count = options->disk.count;
	config->report = report_disk;
	for (unsigned i = 0; i < options->floppy.count; i++) {
		struct guest_image image = guest_image_read(options->floppy.item[i]);
		config->floppy[i] = keep_path(vm->floppy[i], image);
		config->floppy_read_only[i] = image.read_only;
	}
	config->floppy_count = options->floppy.count;
	config->cdrom = options->cdrom;
}

static bool set_boot(struct vm *vm, struct error *error)
{
	static const enum machine_boot devices[GUEST_BOOT_KINDS] = {[GUEST_BOOT_FLOPPY] = BOOT_FROM_FLOPPY,
								    [GUEST_BOOT_CDROM] = BOOT_FROM_CDROM,
								    [GUEST_BOOT_DISK] = BOOT_FROM_DISK};
	struct guest_boot_order order = {0};
	if (vm->options.boot != NULL && !guest_boot_read(vm->options.boot, &order, error))
		return false;
	for (unsigned i = 0; i < order.count; i++)
		vm->config.boot[i] = devices[order.device[i]];
	vm->config.boot_count = order.count;
	return true;
}

/* A kernel is entered directly, with no firmware before it. The VGA BIOS only lends it its font, where there is one. */
static bool set_firmware(struct vm *vm, struct error *error)
{
	bool direct = vm->options.kernel != NULL;
	if (!firmware_find(&vm->firmware, vm->options.firmware, direct ? NULL : error))
		return direct;
	vm->config.firmware = direct ? NULL : vm->firmware.bios;
	vm->config.vga_firmware = vm->firmware.vga[0] != '\0' ? vm->firmware.vga : NULL;
	if (vm->options.verbose)
		report_line("firmware: %s, VGA BIOS: %s", direct ? "none" : vm->firmware.bios,
			    vm->firmware.vga[0] != '\0' ? vm->firmware.vga : "none found");
	return true;
}

static bool set_engine(struct vm *vm, struct error *error)
{
	struct guest_engine engine;
	bool good = guest_engine_read(vm->options.engine, &engine, error);
	vm->config.engine_off = engine.off;
	vm->config.code_cache_bytes = vm->options.code_cache;
	return good;
}

static bool set_clock(struct vm *vm, struct error *error)
{
	const struct guest_options *options = &vm->options;
	struct machine_config *config = &vm->config;
	config->deterministic = guest_options_deterministic(options);
	if (options->trace_events != NULL) {
		struct guest_trace trace = guest_trace_read(options->trace_events);
		memcpy(vm->trace, trace.path, trace.length); /* guest_options_check() saw that it fits */
		config->trace_path = vm->trace;
		config->trace_exceptions = trace.exceptions;
	}
	config->hpet = options->hpet != NULL && strcmp(options->hpet, "on") == 0;
	config->agent = guest_options_agent(options);
	if (options->console != NULL)
		config->console = guest_console_read(options->console, &config->console_socket);
	config->entropy = guest_options_rng(options);
	return guest_rtc_read(options, &config->rtc_given, &config->rtc_seconds, error);
}

static bool make_config(struct vm *vm, struct error *error)
{
	const struct guest_options *options = &vm->options;
	vm->config = (struct machine_config){
	    .name = vm->claim.name,
	    .memory_size = options->memory,
	    .cpus = (unsigned)options->cpus,
	    .cpu_model = options->cpu,
	    .kernel = options->kernel,
	    .initrd = options->initrd,
	    .append = options->append,
	    .module_count = options->module.count,
	    .no_reboot = options->no_reboot,
	    .debug_console = options->debug_console,
	    .debug_exit_port = options->debug_exit == OPTION_UNSET ? -1 : (int)options->debug_exit,
	};
	_Static_assert(OPTION_LIST_MAX == MACHINE_MAX_MODULES, "every module given fits");
	for (unsigned i = 0; i < options->module.count; i++)
		vm->config.module[i] = options->module.item[i];
	set_serial(&vm->config, guest_options_serial(options));
	set_images(vm);
	return set_engine(vm, error) && set_clock(vm, error) && set_boot(vm, error) && set_firmware(vm, error) &&
	       vm_networks_configure(&vm->networks, &vm->options, &vm->runtime, &vm->config, error) &&
	       vm_confinement_configure(&vm->confinement, &vm->options, &vm->config, &vm->runtime, error);
}

/* Every way to end the process from outside ends the guest in good order. */
static void signals_arrived(void *opaque, int fd, uint32_t events)
{
	struct vm *vm = opaque;
	uint64_t signals;
	(void)events;
	if (read(fd, &signals, sizeof signals) == (ssize_t)sizeof signals)
		machine_kill(vm->machine);
}

static void stop_timer_expired(void *opaque, int fd, uint32_t events)
{
	struct vm *vm = opaque;
	uint64_t expirations;
	(void)events;
	if (read(fd, &expirations, sizeof expirations) == (ssize_t)sizeof expirations)
		machine_kill(vm->machine);
}

static void terminal_save(struct vm *vm)
{
	if (vm->options.terminal_fd != OPTION_UNSET)
		vm->terminal_saved = tcgetattr((int)vm->options.terminal_fd, &vm->terminal) == 0;
}

/* syscall base: ioctl[1=TCGETS], ioctl[1=TCSETS], ioctl[1=FIONREAD], getppid -- the user's terminal is set right */
/* syscall base: fcntl[1=F_GETFL], fcntl[1=F_SETFL] -- the same */
/* The terminal may be stopped, or gone: then there is nothing to set right. */
static void terminal_write(int fd, const char *text)
{
	int flags = fcntl(fd, F_GETFL);
	(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	ssize_t ignored = write(fd, text, strlen(text));
	(void)ignored;
	(void)fcntl(fd, F_SETFL, flags);
}

/* nfold restores its terminal itself, unless it was killed: then we are somebody else's child now. */
static void terminal_restore(const struct vm *vm, pid_t parent)
{
	if (!vm->terminal_saved || getppid() == parent)
		return;
	if (vm->options.terminal_reset != NULL)
		terminal_write((int)vm->options.terminal_fd, vm->options.terminal_reset);
	(void)tcsetattr((int)vm->options.terminal_fd, TCSANOW, &vm->terminal);
}

static bool open_control(struct vm *vm, struct error *error)
{
	struct sockaddr_un address;
	if (!runtime_socket_address(&vm->runtime, vm->claim.name, &address, error))
		return false;
	vm->server = server_create(&address, error);
	return vm->server != NULL;
}

static bool watch_for_server(void *opaque, int fd, uint32_t events, server_ready_function *function, void *with,
			     struct error *error)
{
	return machine_watch(opaque, fd, events, function, with, error);
}

static void unwatch_for_server(void *opaque, int fd)
{
	machine_unwatch(opaque, fd);
}

static bool start_server(struct vm *vm, struct error *error)
{
	const struct server_loop loop = {
	    .opaque = vm->machine, .watch = watch_for_server, .unwatch = unwatch_for_server};
	const struct server_service service = {.methods = &vm_methods,
					       .context = &vm->context,
					       .answers_unread = &vm->context.answers_unread,
					       .answer_fd = &vm->context.answer_fd,
					       .later = &vm->context.later,
					       .own_users = vm_confinement_has(&vm->confinement, CONFINE_NS_USER)};
	return server_start(vm->server, &loop, &service, error);
}

static void answer_later(void *opaque, uint64_t ticket, json_t *result, const struct method_error *error)
{
	const struct vm *vm = opaque;
	server_answer_later(vm->server, ticket, result, error);
}

static bool join_loop(struct vm *vm, struct error *error)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	vm->context = (struct method_context){
	    .machine = vm->machine,
	    .config = &vm->config,
	    .engine = "translate",
	    .started_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
	    .stop_timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
	    .typist = typist_create(vm->machine, error),
	    .confinement = &vm->confinement.confinement,
	    .agent = agent_create(vm->machine, answer_later, vm, error),
	    .tracer = tracer_create(vm->machine, error),
	    .answer_fd = -1,
	};
	stats_files_open(&vm->context.stats_files);
	if (vm->context.typist == NULL || vm->context.agent == NULL || vm->context.tracer == NULL)
		return false;
	if (vm->context.stop_timer < 0)
		return error_set_errno(error, "cannot create a timer");
	return machine_watch(vm->machine, vm->signals.fd, EPOLLIN, signals_arrived, vm, error) &&
	       machine_watch(vm->machine, vm->context.stop_timer, EPOLLIN, stop_timer_expired, vm, error) &&
	       start_server(vm, error);
}

static bool open_gdb(struct vm *vm, struct error *error)
{
	struct guest_gdb options;
	if (vm->options.gdb == NULL)
		return true;
	if (guest_gdb_read(vm->options.gdb, &options, error))
		vm->gdb = gdb_create(&options, vm->machine, error);
	return vm->gdb != NULL;
}

/* From here on the parent passes input on and puts its terminal into raw mode. */
static void tell_parent(const struct vm *vm)
{
	if (vm->options.ready_fd == OPTION_UNSET)
		return;
	int fd = (int)vm->options.ready_fd;
	char line[NAME_LENGTH_MAX + 2];
	int length = snprintf(line, sizeof line, "%s\n", vm->claim.name);
	/* A parent that is gone is noticed by its signal. */
	ssize_t ignored = write(fd, line, (size_t)length);
	(void)ignored;
	close(fd);
}

static int end_status(const struct vm *vm, enum machine_end end)
{
	switch (end) {
	case MACHINE_POWERED_OFF:
		return STATUS_OK;
	case MACHINE_REBOOTED:
		return STATUS_REBOOT;
	case MACHINE_SHUTDOWN:
		return STATUS_TRIPLE_FAULT;
	case MACHINE_DEBUG_EXIT:
		return machine_debug_exit_code(vm->machine);
	case MACHINE_KILLED:
		return STATUS_KILLED;
	case MACHINE_FAILED:
		break;
	}
	report_line("%s", machine_failure(vm->machine));
	return STATUS_HOST;
}

/* From here on no file is opened by its name. */
static bool confine(struct vm *vm, struct error *error)
{
	json_object_seed(0); /* it would read /dev/urandom for its first object */
	return vm_confinement_isolate(&vm->confinement, &vm->runtime, error);
}

static bool before_guest(void *opaque, struct error *error)
{
	struct vm *vm = opaque;
	/* A thread that is there before would keep its rights. */
	return vm_confinement_filter(&vm->confinement, error) && vm_signals_wait(&vm->signals, error);
}

static int run_machine(struct vm *vm)
{
	struct error error = {0};
	int status;
	vm->config.before_guest = before_guest;
	vm->config.before_guest_opaque = vm;
	vm->machine = machine_create(&vm->config, &error);
	if (vm->machine == NULL)
		return (int)report_error(&error);
	if (join_loop(vm, &error) && open_gdb(vm, &error) && confine(vm, &error)) {
		tell_parent(vm);
		status = end_status(vm, machine_run(vm->machine));
	} else {
		status = (int)report_error(&error);
	}
	gdb_destroy(vm->gdb);
	server_destroy(vm->server);
	vm->server = NULL;
	agent_destroy(vm->context.agent);
	tracer_destroy(vm->context.tracer);
	typist_destroy(vm->context.typist);
	stats_files_close(&vm->context.stats_files);
	machine_destroy(vm->machine);
	if (vm->context.stop_timer >= 0)
		close(vm->context.stop_timer);
	return status;
}

static int run_claimed(struct vm *vm)
{
	struct error error = {0};
	if (!make_config(vm, &error) || !open_control(vm, &error))
		return (int)report_error(&error);
	terminal_save(vm);
	int status = run_machine(vm);
	server_destroy(vm->server);
	return status;
}

/* There is one engine so far; what KVM could do is only of interest to those who ask. */
static void explain_engine(const struct guest_options *options)
{
	struct kvm_probe probe;
	if (!options->verbose)
		return;
	if (strcmp(options->engine, "auto") != 0) {
		report_line("engine: %s, as asked", options->engine);
		return;
	}
	kvm_probe_run(&probe);
	report_line("engine: translate (%s; the KVM engine is not built yet)", probe.text);
}

/* Who cannot wait for us learns from a file how we ended. */
static void tell_end(const struct vm *vm, int status)
{
	if (vm->options.end_fd != OPTION_UNSET)
		(void)dprintf((int)vm->options.end_fd, "%d\n", status);
}

static int run_vm(struct vm *vm)
{
	struct error error = {0};
	pid_t parent = getppid();
	vm_confinement_begin(&vm->confinement, &vm->options);
	explain_engine(&vm->options);
	/* Before a name is claimed, so that it is always given back. */
	if (!vm_signals_block(&vm->signals, &error) || !runtime_open(&vm->runtime, true, &error) ||
	    !claim_name(vm, &error))
		return (int)report_error(&error);
	int status = run_claimed(vm);
	vm_signals_end(&vm->signals);
	terminal_restore(vm, parent);
	tell_end(vm, status);
	runtime_release(&vm->runtime, &vm->claim);
	runtime_close(&vm->runtime);
	return status;
}

static int usage(void)
{
	printf("Usage: nfold-vm --name NAME [OPTION]...\n\n"
	       "Runs one guest. Started by 'nfold run', which takes the same options.\n\nOptions:\n");
	options_print(guest_option_table, stdout);
	return STATUS_OK;
}

int main(int argc, char **argv)
{
	struct vm vm = {0};
	struct option_rest rest;
	struct error error = {0};
	if (!options_parse(guest_option_table, OPTIONS_FROM_PROGRAM, "nfold-vm", argc - 1, argv + 1, &vm.options, &rest,
			   &error))
		return (int)report_error(&error);
	if (rest.help)
		return usage();
	if (vm.options.name == NULL || rest.count > 0)
		error_set(&error, ERROR_INPUT, "nfold-vm takes a --name and no arguments: use nfold run");
	else if (guest_options_check(&vm.options, &error))
		return run_vm(&vm);
	return (int)report_error(&error);
}

/* SPDX-License-Identifier: MIT */
/* Making and unmaking a machine, in the order in which its parts need each other. */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/entropy.h"
#include "base/bits.h"
#include "machine/acpi.h"
#include "machine/bios-data.h"
#include "machine/layout.h"
#include "machine/machine-impl.h"
#include "machine/mptable.h"
#include "machine/smbios.h"
#include "machine/times.h"
#include "machine/vga-text-mode.h"

#define VIDEO_MEMORY (UINT64_C(16) << 20)
#define VGA_ROM_LIMIT (UINT64_C(256) << 10)

/* ---- the device lock ---- */

static void lock_devices(void *opaque)
{
	struct machine *machine = opaque;
	(void)pthread_mutex_lock(&machine->device_mutex);
}

static void unlock_devices(void *opaque)
{
	struct machine *machine = opaque;
	(void)pthread_mutex_unlock(&machine->device_mutex);
}

static struct device_lock device_lock_of(struct machine *machine)
{
	return (struct device_lock){.lock = lock_devices, .unlock = unlock_devices, .opaque = machine};
}

/* ---- images ---- */

static bool check_config(const struct machine_config *config, struct error *error)
{
	uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t size = config->memory_size;
	if (size < LAYOUT_MEMORY_MIN)
		return error_set(error, ERROR_INPUT, "a guest needs at least %llu MiB of memory",
				 (unsigned long long)(LAYOUT_MEMORY_MIN >> 20));
	if ((size & PAGE_MASK) != 0)
		return error_set(error, ERROR_INPUT, "the guest's memory must be a multiple of 4 KiB");
	if (size > LAYOUT_MEMORY_MAX)
		return error_set(error, ERROR_INPUT, "a guest can have at most %llu GiB of memory",
				 (unsigned long long)(LAYOUT_MEMORY_MAX >> 30));
	if (size > host)
		return error_set(error, ERROR_INPUT,
				 "the guest's %llu MiB of memory are more than this host has (%llu MiB)",
				 (unsigned long long)(size >> 20), (unsigned long long)(host >> 20));
	if (config->deterministic && config->cpus != 1)
		return error_set(error, ERROR_INPUT, "a deterministic guest has one processor");
	if (config->deterministic && (config->entropy || config->agent))
		return error_set(error, ERROR_INPUT, "a deterministic guest has no random bytes and no agent");
	if (config->cpus < 1 || config->cpus > LEDGER_MAX_VCPUS)
		return error_set(error, ERROR_INPUT, "a guest can have 1 to %d processors", LEDGER_MAX_VCPUS);
	if (config->module_count > BOOT_MAX_MODULES)
		return error_set(error, ERROR_INPUT, "a guest can have at most %d modules", BOOT_MAX_MODULES);
	if (config->kernel == NULL && config->firmware == NULL)
		return error_set(error, ERROR_INPUT, "there is neither a kernel nor firmware to boot");
	if (config->kernel == NULL && (config->initrd != NULL || config->module_count > 0 || config->append != NULL))
		return error_set(error, ERROR_INPUT,
				 "--initrd, --append and --module are for a kernel: name one with --kernel");
	return true;
}

/* A module's file name ends at the first blank. */
static bool open_module(struct machine *machine, const char *text, struct error *error)
{
	struct boot_module *module = &machine->module[machine->module_count];
	char *path = strndup(text, strcspn(text, " "));
	if (path == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	bool opened = image_open(&module->image, path, "module", machine->config.memory_size, error);
	free(path);
	module->text = text;
	if (opened)
		machine->module_count++;
	return opened;
}

static bool open_images(struct machine *machine, struct error *error)
{
	const struct machine_config *config = &machine->config;
	uint64_t limit = config->memory_size;
	if (config->kernel != NULL && !image_open(&machine->kernel, config->kernel, "kernel", limit, error))
		return false;
	if (config->initrd != NULL && !image_open(&machine->initrd, config->initrd, "initrd", limit, error))
		return false;
	for (unsigned i = 0; i < config->module_count; i++)
		if (!open_module(machine, config->module[i], error))
			return false;
	return true;
}

/* The VGA BIOS is read for as long as the machine lives: the guest reads it from the chip's ROM BAR. */
static bool open_firmware(struct machine *machine, struct error *error)
{
	const struct machine_config *config = &machine->config;
	if (config->kernel == NULL &&
	    (!image_open(&machine->firmware, config->firmware, "firmware", MEMORY_MAP_ROM_MAX, error) ||
	     !memory_map_check_rom(&machine->firmware, error)))
		return false;
	return config->vga_firmware == NULL ||
	       (image_open(&machine->vga_rom, config->vga_firmware, "VGA BIOS", VGA_ROM_LIMIT, error) &&
		image_read(&machine->vga_rom, error));
}

static bool create_memory(struct machine *machine, struct error *error)
{
	const struct memory_map_config map = {.memory_size = machine->config.memory_size,
					      .rom = machine->config.kernel == NULL ? &machine->firmware : NULL,
					      .video_size = VIDEO_MEMORY};
	return memory_map_create(&machine->map, &machine->memory, &map, error);
}

static bool load_tables(struct machine *machine, struct error *error)
{
	const struct machine_config *config = &machine->config;
	const struct acpi_config acpi = {
	    .cpus = config->cpus, .memory_size = config->memory_size, .hpet = config->hpet};
	const struct smbios_config smbios = {
	    .name = config->name, .memory_size = config->memory_size, .cpus = config->cpus};
	uint32_t size = LAYOUT_MPTABLE_BASE + MPTABLE_AREA_SIZE - LAYOUT_ACPI_BASE;
	uint8_t *area = calloc(1, size);
	if (area == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	acpi_place(&acpi, area, LAYOUT_ACPI_BASE);
	_Static_assert(LAYOUT_SMBIOS_BASE + SMBIOS_AREA_SIZE <= LAYOUT_MPTABLE_BASE, "tables overlap");
	smbios_place(&smbios, area + (LAYOUT_SMBIOS_BASE - LAYOUT_ACPI_BASE), LAYOUT_SMBIOS_BASE);
	mptable_place(config->cpus, area + (LAYOUT_MPTABLE_BASE - LAYOUT_ACPI_BASE), LAYOUT_MPTABLE_BASE);
	bool loaded = memory_load(&machine->memory, LAYOUT_ACPI_BASE, area, size);
	free(area);
	return loaded || error_set(error, ERROR_HOST, "guest memory has no room for ACPI, SMBIOS and MP tables");
}

static bool load_bios_data(struct machine *machine, bool text_screen, struct error *error)
{
	const struct bios_data_config config = {
	    .floppies = machine->config.floppy_count, .disks = machine->config.disk_count, .text_screen = text_screen};
	return bios_data_load(&machine->memory, &config) ||
	       error_set(error, ERROR_HOST, "guest memory has no room for the BIOS data area");
}

bool machine_load(struct machine *machine, struct error *error)
{
	const struct machine_config *config = &machine->config;
	if (config->kernel == NULL)
		return true; /* firmware finds its way */
	bool text_screen = vga_text_font(machine->vga_rom.bytes, machine->vga_rom.size) != NULL;
	const struct boot_request request = {
	    .memory = &machine->memory,
	    .memory_size = config->memory_size,
	    .kernel = &machine->kernel,
	    .initrd = config->initrd != NULL ? &machine->initrd : NULL,
	    .module = machine->module,
	    .module_count = machine->module_count,
	    .command_line = config->append != NULL ? config->append : "",
	    .rsdp = LAYOUT_ACPI_BASE + ACPI_RSDP_OFFSET,
	    .text_screen = text_screen,
	};
	if (!load_tables(machine, error) || !load_bios_data(machine, text_screen, error) ||
	    !image_read(&machine->kernel, error))
		return false;
	bool loaded = boot_load(&request, &machine->boot, error);
	image_forget(&machine->kernel);
	return loaded;
}

/* ---- the serial port's stream and networks on the loop ---- */

bool machine_watch_backend(void *opaque, int fd, uint32_t epoll_events, void (*ready)(void *, int, uint32_t),
			   void *ready_opaque)
{
	struct machine *machine = opaque;
	return loop_watch(&machine->loop, fd, epoll_events, &machine->device_mutex, ready, ready_opaque, NULL);
}

void machine_unwatch_backend(void *opaque, int fd)
{
	struct machine *machine = opaque;
	loop_unwatch(&machine->loop, fd);
}

/* A deterministic guest does not see how fast its output is read. */
static bool hide_pace(const struct machine *machine, struct chardev **stream, struct error *error)
{
	if (!machine->config.deterministic || *stream == NULL)
		return *stream != NULL;
	struct chardev *queue = chardev_open_queue(*stream, error);
	if (queue != NULL)
		*stream = queue;
	return queue != NULL;
}

static bool open_serial(struct machine *machine, struct error *error)
{
	const struct machine_config *config = &machine->config;
	const struct chardev_loop loop = {
	    .watch = machine_watch_backend, .unwatch = machine_unwatch_backend, .opaque = machine};
	switch (config->serial) {
	case SERIAL_STDIO:
		machine->serial = chardev_open_stdio(config->serial_fd_in, config->serial_fd_out, &loop, error);
		break;
	case SERIAL_FILE:
		machine->serial = chardev_open_file(config->serial_path, &loop, error);
		break;
	case SERIAL_UNIX:
		machine->serial = chardev_open_socket(config->serial_path, &loop, error);
		break;
	case SERIAL_NONE:
		machine->serial = chardev_open_none(error);
		break;
	}
	if (hide_pace(machine, &machine->serial, error))
		machine->no_serial = chardev_open_none(error);
	if (machine->no_serial == NULL || config->debug_console == NULL)
		return machine->no_serial != NULL;
	machine->debug_console = chardev_open_file(config->debug_console, &loop, error);
	return hide_pace(machine, &machine->debug_console, error);
}

/* One end of a socket pair is the port, the other the owner's. */
static bool open_agent(struct machine *machine, const struct chardev_loop *loop, struct error *error)
{
	int ends[2];
	if (!machine->config.agent)
		return true;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return error_set_errno(error, "cannot create a channel to the guest's agent");
	machine->agent_fd = ends[0];
	machine->agent = chardev_open_stdio(ends[1], ends[1], loop, error);
	close(ends[1]);
	return machine->agent != NULL;
}

static bool open_console(struct machine *machine, struct error *error)
{
	const struct machine_config *config = &machine->config;
	const struct chardev_loop loop = {
	    .watch = machine_watch_backend, .unwatch = machine_unwatch_backend, .opaque = machine};
	if (config->console != NULL) {
		machine->console = config->console_socket ? chardev_open_socket(config->console, &loop, error)
							  : chardev_open_file(config->console, &loop, error);
		if (!hide_pace(machine, &machine->console, error))
			return false;
	}
	return open_agent(machine, &loop, error);
}

/* ---- networks ---- */

static void tell_frame(void *opaque, bool received, uint32_t length)
{
	const struct machine_adapter *adapter = opaque;
	struct machine *machine = adapter->machine;
	unsigned kind = received ? EVENT_FRAME_RECEIVED : EVENT_FRAME_SENT;
	if (!events_want(&machine->events, kind))
		return;
	const struct event event = {.tsc = ledger_tsc(),
				    .value = length,
				    .kind = (uint8_t)kind,
				    .vcpu = EVENT_NO_VCPU,
				    .device = adapter->index};
	events_add(machine->events.ring, &event);
}

static bool open_networks(struct machine *machine, struct error *error)
{
	const struct network_host host = {.watch = machine_watch_backend,
					  .unwatch = machine_unwatch_backend,
					  .lock = lock_devices,
					  .unlock = unlock_devices,
					  .opaque = machine};
	if (!networks_open(&machine->networks, &machine->config, &host, machine->ledger, error))
		return false;
	for (unsigned i = 0; i < machine->networks.count; i++) {
		machine->adapter[i] = (struct machine_adapter){.machine = machine, .index = i};
		network_set_watcher(machine->networks.network[i], tell_frame, &machine->adapter[i]);
	}
	return true;
}

static void describe_networks(const struct machine *machine, struct pc_config *pc)
{
	for (unsigned i = 0; i < machine->networks.count; i++) {
		const struct machine_network *of = &machine->config.network[i];
		pc->network[i] =
		    (struct pc_network){.network = machine->networks.network[i], .virtio = of->model == NETWORK_VIRTIO};
		memcpy(pc->network[i].mac, of->mac, sizeof of->mac);
	}
	pc->networks = machine->networks.count;
}

/* ---- processors and board ---- */

static bool create_vcpu(struct machine *machine, unsigned index, struct error *error)
{
	struct vcpu *vcpu = &machine->vcpu[index];
	struct device_lock lock = device_lock_of(machine);
	*vcpu = (struct vcpu){.index = index,
			      .clock = &machine->clock,
			      .ledger = machine->ledger,
			      .ledger_thread = {.schedstat = -1, .stat = -1},
			      .ledger_reader = {.schedstat = -1, .stat = -1},
			      .lock = lock,
			      .device_mutex = &machine->device_mutex,
			      .shut_down = machine_vcpu_shut_down,
			      .debugged = machine_vcpu_debugged,
			      .failed = machine_vcpu_failed,
			      .counted = machine->config.deterministic ? machine_counted : NULL,
			      .opaque = machine};
	vcpu->engine = engine_vcpu_create(machine->engine, index, error);
	if (vcpu->engine == NULL)
		return false;
	machine->vcpu_count++;
	if (!vcpu_init(vcpu, &machine->turns, error))
		return false;

	io_map_init(&machine->vcpu_mmio[index], 0);
	io_map_set_behind(&machine->vcpu_mmio[index], &machine->mmio);
	struct cpu *cpu = vcpu->cpu;
	cpu->ports = &machine->ports;
	cpu->mmio = &machine->vcpu_mmio[index];
	cpu->ledger = &machine->ledger->vcpu[index];
	cpu->events = machine->events.ring;
	cpu->clock = &machine->clock;
	if (machine->config.cpus > 1)
		lock = vcpu_device_lock(vcpu);
	cpu->device_lock = machine->config.deterministic ? machine_lock_counted : lock.lock;
	cpu->device_unlock = lock.unlock;
	cpu->device_lock_opaque = lock.opaque;
	steal_init(&vcpu->steal, cpu, machine->ledger, &vcpu->ledger_thread);
	return true;
}

static bool create_engine(struct machine *machine, struct error *error)
{
	const struct engine_options options = {.off = machine->config.engine_off,
					       .code_cache_bytes = machine->config.code_cache_bytes,
					       .counted = machine->config.deterministic};
	machine->engine = engine_create(&machine->memory, &machine->model, &options, error);
	for (unsigned i = 0; machine->engine != NULL && i < machine->config.cpus; i++)
		if (!create_vcpu(machine, i, error))
			return false;
	return machine->engine != NULL;
}

/* What firmware is told. */
static void describe(const struct machine *machine, struct pc_config *pc)
{
	const struct machine_config *config = &machine->config;
	pc->cmos = (struct cmos_config){
	    .memory_size = config->memory_size, .cpus = config->cpus, .boot_count = config->boot_count};
	pc->firmware_config = (struct firmware_config){.name = config->name,
						       .memory_size = config->memory_size,
						       .cpus = config->cpus,
						       .hpet = config->hpet,
						       .boot_count = config->boot_count};
	memcpy(pc->cmos.boot, config->boot, sizeof config->boot);
	memcpy(pc->firmware_config.boot, config->boot, sizeof config->boot);
	media_describe(&machine->media, &pc->cmos, &pc->firmware_config);
}

static bool create_board(struct machine *machine, struct error *error)
{
	struct pc_config config = {.clock = &machine->clock,
				   .ledger = machine->ledger,
				   .ports = &machine->ports,
				   .mmio = &machine->mmio,
				   .sockets = machine->vcpu_count,
				   .physical_bits = machine->model.physical_bits,
				   .memory = &machine->memory,
				   .map = &machine->map,
				   .display = &machine->display,
				   .serial = {machine->serial, machine->no_serial},
				   .debug_console = machine->debug_console,
				   .vga_rom = machine->vga_rom.bytes != NULL ? &machine->vga_rom : NULL,
				   .firmware = machine->config.kernel == NULL,
				   .hpet = machine->config.hpet,
				   .console = machine->console,
				   .agent = machine->agent,
				   .entropy = machine->config.entropy ? entropy_fill : NULL,
				   .debug_exit_port = machine->config.debug_exit_port,
				   .rtc_given = machine->config.rtc_given,
				   .rtc_seconds = machine->config.rtc_seconds,
				   .power_off = machine_guest_power_off,
				   .reset = machine_guest_reset,
				   .a20 = machine_guest_a20,
				   .debug_exit = machine_guest_debug_exit,
				   .processor_times = machine->config.deterministic ? NULL : machine_processor_times,
				   .opaque = machine};
	describe(machine, &config);
	memcpy(config.ide, machine->media.drive, sizeof config.ide);
	memcpy(config.virtio, machine->media.virtio, sizeof config.virtio);
	memcpy(config.floppy, machine->media.floppy, sizeof config.floppy);
	describe_networks(machine, &config);
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		config.socket[i] = (struct pc_socket){
		    .pin = vcpu_pin(&machine->vcpu[i]),
		    .lock = machine->vcpu_count > 1 ? vcpu_device_lock(&machine->vcpu[i]) : device_lock_of(machine),
		    .mmio = &machine->vcpu_mmio[i],
		    .tsc = vcpu_tsc,
		    .tsc_opaque = &machine->vcpu[i]};
	machine->pc = pc_create(&config, error);
	for (unsigned i = 0; machine->pc != NULL && i < machine->vcpu_count; i++)
		machine->vcpu[i].cpu->controller = pc_interrupt_controller(machine->pc, i);
	if (machine->pc != NULL)
		machine->vcpu[0].cpu->ferr = pc_coprocessor_error(machine->pc);
	return machine->pc != NULL;
}

static bool create_clock(struct machine *machine)
{
	clock_init(&machine->clock, machine->config.deterministic ? CLOCK_COUNTED : CLOCK_REAL);
	clock_pause(&machine->clock); /* until the guest runs */
	machine->clock.rearm = machine_rearm;
	machine->clock.rearm_opaque = machine;
	return true;
}

static bool create_model(struct machine *machine, struct error *error)
{
	const struct machine_config *config = &machine->config;
	struct cpu_host host;
	cpu_host_read(&host);
	if (config->deterministic)
		cpu_host_hide_random(&host);
	if (!cpu_model_build(&machine->model, config->cpu_model, config->cpus, machine->clock.tsc_hz, &host, error))
		return false;
	/* What others took is not the same in each run. */
	if (config->deterministic)
		return true;
	cpu_model_offer_steal_time(&machine->model);
	cpu_model_offer_times(&machine->model, LAYOUT_TIMES_PORT, GUEST_TIMES_BYTES);
	return true;
}

static uint64_t count_of_vcpu(void *opaque)
{
	const struct machine *machine = opaque;
	return engine_executed(machine->vcpu[0].engine);
}

static bool create_counting(struct machine *machine, struct error *error)
{
	const struct machine_config *config = &machine->config;
	if (!config->deterministic)
		return true;
	machine->clock.count = count_of_vcpu;
	machine->clock.count_opaque = machine;
	if (config->trace_path == NULL)
		return true;
	machine->trace =
	    trace_open(config->trace_path, config->trace_exceptions, machine->vcpu[0].cpu, &machine->clock, error);
	return machine->trace != NULL;
}

/* Files are opened and checked first: whatever is wrong with them, nothing has been made or overwritten yet. */
static bool create_parts(struct machine *machine, struct error *error)
{
	const struct machine_config *config = &machine->config;
	return open_images(machine, error) && open_firmware(machine, error) &&
	       media_open(&machine->media, config, error) && create_memory(machine, error) &&
	       machine_load(machine, error) && create_clock(machine) && create_model(machine, error) &&
	       (machine->ledger = ledger_create(config->cpus, &machine->ledger_fd, error)) != NULL &&
	       events_open(&machine->events, error) &&
	       turns_create(&machine->turns, machine->ledger, &machine->loop, error) && create_engine(machine, error) &&
	       create_counting(machine, error) &&
	       loop_init(&machine->loop, &machine->device_mutex, machine_on_timer, machine, error) &&
	       machine_attach_images(machine, error) && open_serial(machine, error) && open_console(machine, error) &&
	       open_networks(machine, error) && create_board(machine, error);
}

struct machine *machine_create(const struct machine_config *config, struct error *error)
{
	if (!check_config(config, error))
		return NULL;
	struct machine *machine = calloc(1, sizeof *machine);
	if (machine == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	machine->config = *config;
	machine->ledger_fd = machine->memory.fd = machine->kernel.fd = machine->initrd.fd = -1;
	machine->firmware.fd = machine->vga_rom.fd = machine->agent_fd = -1;
	machine->tasks = ledger_tasks_open();
	machine->turns = (struct turns){.page_fd = -1, .doorbell = -1, .timer = -1};
	display_init(&machine->display);
	machine->loop.epoll_fd = machine->loop.timer_fd = machine->loop.wake_fd = -1;
	machine->armed = CLOCK_NEVER;
	machine->state = MACHINE_RUNNING;
	(void)pthread_mutex_init(&machine->device_mutex, NULL);
	io_map_init(&machine->ports, 0x10000);
	io_map_init(&machine->mmio, 0);
	if (create_parts(machine, error))
		return machine;
	machine_destroy(machine);
	return NULL;
}

/* The other way round. Threads are gone: machine_run() joins them. */
void machine_destroy(struct machine *machine)
{
	if (machine == NULL)
		return;
	if (machine->tasks >= 0)
		(void)close(machine->tasks);
	trace_close(machine->trace);
	networks_stop(&machine->networks);
	pc_destroy(machine->pc);
	networks_close(&machine->networks);
	chardev_close(machine->debug_console);
	chardev_close(machine->agent);
	if (machine->agent_fd >= 0)
		close(machine->agent_fd);
	chardev_close(machine->console);
	chardev_close(machine->no_serial);
	chardev_close(machine->serial);
	media_close(&machine->media);
	turns_destroy(&machine->turns);
	loop_destroy(&machine->loop);
	while (machine->vcpu_count > 0)
		engine_vcpu_destroy(machine->vcpu[--machine->vcpu_count].engine);
	if (machine->engine != NULL)
		engine_destroy(machine->engine);
	events_close(&machine->events);
	if (machine->ledger != NULL)
		ledger_close(machine->ledger, machine->ledger_fd);
	memory_destroy(&machine->memory);
	while (machine->module_count > 0)
		image_close(&machine->module[--machine->module_count].image);
	image_close(&machine->vga_rom);
	image_close(&machine->firmware);
	image_close(&machine->initrd);
	image_close(&machine->kernel);
	free(machine);
}

void machine_lock(struct machine *machine)
{
	lock_devices(machine);
}

void machine_unlock(struct machine *machine)
{
	unlock_devices(machine);
}

struct display *machine_display(struct machine *machine)
{
	return &machine->display;
}

struct ps2keyboard *machine_keyboard(struct machine *machine)
{
	return pc_keyboard(machine->pc);
}

struct ledger *machine_ledger(const struct machine *machine)
{
	return machine->ledger;
}

int machine_agent_fd(const struct machine *machine)
{
	return machine->agent_fd;
}

bool machine_agent_listens(struct machine *machine)
{
	lock_devices(machine);
	bool open = pc_agent_is_open(machine->pc);
	unlock_devices(machine);
	return open;
}

void machine_trace(struct machine *machine, uint64_t wanted)
{
	__atomic_store_n(&machine->events.wanted, wanted, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		__atomic_store_n(&machine->vcpu[i].cpu->events_wanted, wanted, __ATOMIC_RELAXED);
}

const struct events *machine_events(const struct machine *machine)
{
	return &machine->events;
}

bool machine_sample(struct machine *machine, unsigned milliseconds, struct error *error)
{
	return engine_sample(machine->engine, milliseconds, machine->ledger->tsc_hz, error);
}

const struct samples *machine_samples(const struct machine *machine)
{
	return engine_samples(machine->engine);
}

uint64_t machine_syscall_entry(const struct machine *machine)
{
	return __atomic_load_n(&machine->vcpu[0].cpu->lstar, __ATOMIC_RELAXED);
}

int machine_ledger_fd(const struct machine *machine)
{
	return machine->ledger_fd;
}

uint64_t machine_overhead_bytes(const struct machine *machine)
{
	return engine_memory_used(machine->engine) + sizeof *machine + align_up(sizeof(struct ledger), PAGE_SIZE);
}

/* SPDX-License-Identifier: MIT */
#include "control/guest_options.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/engine_switches.h"
#include "control/runtime.h"
#include "ledger/ledger.h"

#define MEMORY_MINIMUM (UINT64_C(2) << 20)
#define FD_MAXIMUM 1023
#define RTC_FIXED "2026-01-01T00:00:00"

static const char *const clocks[] = {"real", "deterministic", NULL};
static const char *const on_or_off[] = {"on", "off", NULL};
static const char *const displays[] = {"none", "terminal", NULL};
static const char *const on_off[] = {"on", "off", NULL};
static const char *const cpu_models[] = {"x86-64", "x86-64-v2", "x86-64-v3", "max", NULL};

#define FIELD(field) .offset = offsetof(struct guest_options, field)

const struct option guest_option_table[] = {
    {"name", "NAME", NULL, "name of the guest (default: made from a file's name)", .kind = OPTION_TEXT, FIELD(name)},
    {"memory", "SIZE", "512M", "guest memory in bytes, or with the suffix K, M or G", .kind = OPTION_SIZE,
     FIELD(memory)},
    {"cpus", "N", "1", "number of virtual processors, 1 to 8", .kind = OPTION_NUMBER, FIELD(cpus)},
    {"cpu", "MODEL", "max", "processor shown to the guest: x86-64, x86-64-v2, x86-64-v3 or max", .kind = OPTION_CHOICE,
     .choices = cpu_models, FIELD(cpu)},
    {"disk", "FILE[,WORD...]", NULL,
     "image of a hard disk, or a URI beginning with nbd:// or nbd+unix://; up to 4 on IDE and 12 virtio disks. Words: "
     "format=raw|qcow2|vmdk|vhd|vhdx, cache=writeback|writethrough|none|unsafe, device=ide|virtio, "
     "on-error=report|stop, readonly",
     .kind = OPTION_LIST, .maximum = GUEST_DISKS_MAX, FIELD(disk)},
    {"cdrom", "FILE", NULL, "image of the disc in the CD-ROM drive", .kind = OPTION_TEXT, FIELD(cdrom)},
    {"floppy", "FILE[,readonly]", NULL, "image of the disk in a floppy drive; up to 2", .kind = OPTION_LIST,
     .maximum = GUEST_FLOPPIES_MAX, FIELD(floppy)},
    {"net", "NETWORK[,...]", NULL,
     "a network adapter and what it is connected to: user, tap=NAME, bridge=NAME, switch=NAME or none; then model=, "
     "mac=, "
     "and with user forward=[udp:][ADDRESS:]PORT:GUEST-PORT; up to 8",
     .kind = OPTION_LIST, .maximum = GUEST_NETS_MAX, FIELD(net)},
    {"rng", "on|off", NULL, "virtio entropy device (default: on; off with --clock deterministic)",
     .kind = OPTION_CHOICE, .choices = on_off, FIELD(rng)},
    {"agent", "on|off", NULL,
     "channel to a QEMU guest agent, for 'nfold guest' (default: on; off with --clock deterministic)",
     .kind = OPTION_CHOICE, .choices = on_off, FIELD(agent)},
    {"console", "WHERE", NULL, "virtio console: a file's name or unix:PATH", .kind = OPTION_TEXT, FIELD(console)},
    {"hpet", "on|off", NULL, "high precision event timer (default: off)", .kind = OPTION_CHOICE, .choices = on_off,
     FIELD(hpet)},
    {"boot", "ORDER", NULL, "what to boot from, in order: floppy, cdrom, disk, with commas between",
     .kind = OPTION_TEXT, FIELD(boot)},
    {"firmware", "FILE", NULL, "PC BIOS image (default: SeaBIOS)", .kind = OPTION_TEXT, FIELD(firmware)},
    {"kernel", "FILE", NULL, "Linux bzImage or Multiboot 1 ELF kernel to start without firmware", .kind = OPTION_TEXT,
     FIELD(kernel)},
    {"initrd", "FILE", NULL, "initial RAM disk for a Linux kernel", .kind = OPTION_TEXT, FIELD(initrd)},
    {"append", "TEXT", NULL, "kernel command line", .kind = OPTION_TEXT, FIELD(append)},
    {"module", "'FILE [ARGS]'", NULL, "Multiboot module; can be repeated", .kind = OPTION_LIST, FIELD(module)},
    {"display", "WHERE", "none", "where the screen is shown: none, or terminal for its text, with the keyboard",
     .kind = OPTION_CHOICE, .choices = displays, FIELD(display)},
    {"serial", "WHERE", NULL,
     "first serial port: stdio, a file's name, unix:PATH or none (default: stdio; none with --display terminal)",
     .kind = OPTION_TEXT, FIELD(serial)},
    {"no-reboot", NULL, NULL, "end when the guest resets or triple-faults, with status 8 or 6", .kind = OPTION_FLAG,
     FIELD(no_reboot)},
    {"debug-exit", "PORT", NULL, "end with status (value << 1) | 1 when the guest writes value to this port",
     .kind = OPTION_NUMBER, .maximum = 0xffff, FIELD(debug_exit)},
    {"debug-console", "FILE", NULL, "file for what firmware and guest write to ports 0xe9 and 0x402",
     .kind = OPTION_TEXT, FIELD(debug_console)},
    {"engine", "ENGINE[,no-PART...]", "auto",
     "what runs guest code: auto, translate or kvm; then, with a comma before each, parts of the translating engine "
     "that it shall do without:" ENGINE_SWITCH_LIST,
     .kind = OPTION_TEXT, FIELD(engine)},
    {"code-cache", "SIZE", "20M",
     "memory for translated code, 136K to 256M; what belongs to the code takes about as much again",
     .kind = OPTION_SIZE, FIELD(code_cache)},
    {"clock", "CLOCK", "real",
     "real: the guest's time is the host's; deterministic: it counts the guest's instructions, and each run is the "
     "same",
     .kind = OPTION_CHOICE, .choices = clocks, FIELD(clock)},
    {"rtc", "TIME", NULL,
     "where the real-time clock starts, in UTC, such as 2026-01-31T23:59:59 (default: the host's time; " RTC_FIXED
     " with --clock deterministic)",
     .kind = OPTION_TEXT, FIELD(rtc)},
    {"trace-events", "FILE[,exceptions]", NULL,
     "with --clock deterministic: file for the guest's events and hashes of its state at each", .kind = OPTION_TEXT,
     FIELD(trace_events)},
    {"gdb", "[ADDRESS:]PORT[,wait][,i386]", NULL,
     "let gdb attach on this TCP port (of 127.0.0.1 unless an address is given) or on unix:PATH; wait: the guest "
     "starts "
     "when gdb lets it; i386: the registers of a 32-bit processor",
     .kind = OPTION_TEXT, FIELD(gdb)},
    {"confine", "on|off", "on", "off: the guest's process keeps the user's rights; only to look for errors in nfold",
     .kind = OPTION_CHOICE, .choices = on_or_off, FIELD(confine)},
    {"verbose", NULL, NULL, "say on stderr what was decided and why", .kind = OPTION_FLAG, FIELD(verbose)},
    {"name-free", NULL, NULL, "", .kind = OPTION_FLAG, .hidden = true, FIELD(name_free)},
    {"ready-fd", "FD", NULL, "", .kind = OPTION_NUMBER, .hidden = true, .maximum = FD_MAXIMUM, FIELD(ready_fd)},
    {"end-fd", "FD", NULL, "", .kind = OPTION_NUMBER, .hidden = true, .maximum = FD_MAXIMUM, FIELD(end_fd)},
    {"terminal-fd", "FD", NULL, "", .kind = OPTION_NUMBER, .hidden = true, .maximum = FD_MAXIMUM, FIELD(terminal_fd)},
    {"terminal-reset", "TEXT", NULL, "", .kind = OPTION_TEXT, .hidden = true, FIELD(terminal_reset)},
    {0},
};

static uint64_t host_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page_size = sysconf(_SC_PAGESIZE);
	return pages > 0 && page_size > 0 ? (uint64_t)pages * (uint64_t)page_size : UINT64_MAX;
}

static bool memory_check(uint64_t memory, struct error *error)
{
	if (memory < MEMORY_MINIMUM)
		return error_set(error, ERROR_INPUT, "--memory %llu bytes: too small, give at least 2M",
				 (unsigned long long)memory);
	if (memory % 4096 != 0)
		return error_set(error, ERROR_INPUT, "--memory %llu bytes: give a multiple of 4K",
				 (unsigned long long)memory);
	if (memory > host_memory())
		return error_set(error, ERROR_INPUT, "--memory: %llu MiB is more than this host's %llu MiB, give less",
				 (unsigned long long)(memory >> 20), (unsigned long long)(host_memory() >> 20));
	return true;
}

static bool code_cache_check(uint64_t bytes, struct error *error)
{
	if (bytes < ENGINE_CODE_CACHE_MIN || bytes > ENGINE_CODE_CACHE_MAX)
		return error_set(error, ERROR_INPUT, "--code-cache %llu bytes: give 136K to 256M",
				 (unsigned long long)bytes);
	return true;
}

const char *guest_options_serial(const struct guest_options *options)
{
	if (options->serial != NULL)
		return options->serial;
	return guest_options_show_screen(options) ? "none" : "stdio";
}

bool guest_options_show_screen(const struct guest_options *options)
{
	return strcmp(options->display, "terminal") == 0;
}

static bool serial_check(const struct guest_options *options, struct error *error)
{
	const char *serial = guest_options_serial(options);
	if (serial[0] == '\0' || strcmp(serial, "unix:") == 0)
		return error_set(error, ERROR_INPUT, "--serial '%s': give stdio, a file's name, unix:PATH or none",
				 serial);
	bool socket;
	if (options->console != NULL && guest_console_read(options->console, &socket)[0] == '\0')
		return error_set(error, ERROR_INPUT, "--console '%s': give a file's name or unix:PATH",
				 options->console);
	if (strcmp(serial, "stdio") == 0 && guest_options_show_screen(options))
		return error_set(error, ERROR_INPUT,
				 "--display terminal takes the terminal: give --serial a file, unix:PATH or none");
	return true;
}

const char *guest_options_main_file(const struct guest_options *options)
{
	if (options->kernel != NULL)
		return options->kernel;
	if (options->disk.count > 0)
		return options->disk.item[0];
	if (options->cdrom != NULL)
		return options->cdrom;
	return options->floppy.count > 0 ? options->floppy.item[0] : NULL;
}

struct guest_image guest_image_read(const char *text)
{
	static const char suffix[] = ",readonly";
	struct guest_image image = {.path = text, .length = strlen(text)};
	size_t suffix_length = strlen(suffix);
	if (image.length >= suffix_length && strcmp(text + image.length - suffix_length, suffix) == 0) {
		image.length -= suffix_length;
		image.read_only = true;
	}
	return image;
}

static bool image_check(const char *option, const char *text, struct error *error)
{
	struct guest_image image = guest_image_read(text);
	if (image.length == 0)
		return error_set(error, ERROR_INPUT, "--%s '%s': give the name of an image", option, text);
	if (image.length >= PATH_MAX)
		return error_set(error, ERROR_INPUT, "--%s '%.64s...': File name too long", option, text);
	return true;
}

static bool image_is_same(const struct guest_image *a, const struct guest_image *b)
{
	return a->length == b->length && memcmp(a->path, b->path, a->length) == 0 && !(a->read_only && b->read_only);
}

/* Other names of the same file are found by its lock. */
static bool floppies_check(const struct option_list *list, struct error *error)
{
	struct guest_image image[OPTION_LIST_MAX];
	for (unsigned i = 0; i < list->count; i++) {
		if (!image_check("floppy", list->item[i], error))
			return false;
		image[i] = guest_image_read(list->item[i]);
		for (unsigned k = 0; k < i; k++)
			if (image_is_same(&image[i], &image[k]))
				return error_set(error, ERROR_INPUT, "--floppy %s: the same image is given twice",
						 list->item[i]);
	}
	return true;
}

/* *ide: how many go to the IDE controller. */
static bool disks_check(const struct option_list *list, unsigned *ide, struct error *error)
{
	struct guest_image image[OPTION_LIST_MAX];
	struct guest_disk disk;
	*ide = 0;
	for (unsigned i = 0; i < list->count; i++) {
		if (!guest_disk_read(list->item[i], &disk, error))
			return false;
		*ide += disk.device == GUEST_DISK_IDE;
		image[i] = (struct guest_image){.path = disk.path, .length = disk.length, .read_only = disk.read_only};
		for (unsigned k = 0; k < i; k++)
			if (image_is_same(&image[i], &image[k]))
				return error_set(error, ERROR_INPUT, "--disk %s: the same image is given twice",
						 list->item[i]);
	}
	if (*ide > GUEST_IDE_MAX)
		return error_set(error, ERROR_INPUT,
				 "--disk: %u disks are more than IDE has room for, 4; give the others "
				 "device=virtio",
				 *ide);
	if (list->count - *ide > GUEST_VIRTIO_DISKS_MAX)
		return error_set(error, ERROR_INPUT, "--disk: a guest can have at most %d virtio disks",
				 GUEST_VIRTIO_DISKS_MAX);
	return true;
}

static bool images_check(const struct guest_options *options, struct error *error)
{
	unsigned ide;
	if (!disks_check(&options->disk, &ide, error) || !floppies_check(&options->floppy, error))
		return false;
	if (options->cdrom == NULL)
		return true;
	if (options->cdrom[0] == '\0')
		return error_set(error, ERROR_INPUT, "--cdrom '': give the name of an image");
	if (ide == GUEST_IDE_MAX)
		return error_set(error, ERROR_INPUT,
				 "--cdrom: 4 IDE disks leave no place for the drive, give 3 at most");
	return true;
}

bool guest_engine_read(const char *text, struct guest_engine *engine, struct error *error)
{
	static const char *const names[GUEST_ENGINE_KINDS] = {
	    [GUEST_ENGINE_AUTO] = "auto", [GUEST_ENGINE_TRANSLATE] = "translate", [GUEST_ENGINE_KVM] = "kvm"};
	size_t length = strcspn(text, ",");
	unsigned kind = 0;
	while (kind < GUEST_ENGINE_KINDS && (strlen(names[kind]) != length || memcmp(names[kind], text, length) != 0))
		kind++;
	*engine = (struct guest_engine){.kind = (enum guest_engine_kind)kind};
	if (kind == GUEST_ENGINE_KINDS)
		return error_set(error, ERROR_INPUT, "--engine '%.64s': give one of auto, translate, kvm", text);
	if (kind == GUEST_ENGINE_KVM)
		return error_set(error, ERROR_INPUT, "the KVM engine is not built yet; use --engine translate");
	return text[length] == '\0' || engine_switches_read("--engine", text + length + 1, &engine->off, error);
}

static bool boot_device_read(const char *name, size_t length, enum guest_boot *device)
{
	static const char *const names[GUEST_BOOT_KINDS] = {
	    [GUEST_BOOT_FLOPPY] = "floppy", [GUEST_BOOT_CDROM] = "cdrom", [GUEST_BOOT_DISK] = "disk"};
	for (unsigned i = 0; i < GUEST_BOOT_KINDS; i++) {
		if (strlen(names[i]) != length || memcmp(names[i], name, length) != 0)
			continue;
		*device = (enum guest_boot)i;
		return true;
	}
	return false;
}

bool guest_boot_read(const char *text, struct guest_boot_order *order, struct error *error)
{
	unsigned seen = 0;
	*order = (struct guest_boot_order){0};
	for (const char *from = text;; from++) {
		size_t length = strcspn(from, ",");
		enum guest_boot device;
		if (!boot_device_read(from, length, &device))
			return error_set(
			    error, ERROR_INPUT,
			    "--boot: no device '%.*s'; give floppy, cdrom and disk in order, as in cdrom,disk",
			    (int)(length < 64 ? length : 64), from);
		if ((seen >> device & 1) != 0)
			return error_set(error, ERROR_INPUT, "--boot %s: give each device once", text);
		seen |= 1u << device;
		order->device[order->count++] = device;
		from += length;
		if (*from == '\0')
			return true;
	}
}

bool guest_options_deterministic(const struct guest_options *options)
{
	return strcmp(options->clock, "deterministic") == 0;
}

bool guest_options_rng(const struct guest_options *options)
{
	return options->rng != NULL ? strcmp(options->rng, "on") == 0 : !guest_options_deterministic(options);
}

bool guest_options_agent(const struct guest_options *options)
{
	return options->agent != NULL ? strcmp(options->agent, "on") == 0 : !guest_options_deterministic(options);
}

const char *guest_console_read(const char *text, bool *socket)
{
	static const char unix_prefix[] = "unix:";
	*socket = strncmp(text, unix_prefix, strlen(unix_prefix)) == 0;
	return *socket ? text + strlen(unix_prefix) : text;
}

/* The RTC has two digits and a century. */
bool guest_rtc_read(const struct guest_options *options, bool *given, int64_t *seconds, struct error *error)
{
	const char *text = options->rtc;
	struct tm tm = {0}, copy;
	if (text == NULL && guest_options_deterministic(options))
		text = RTC_FIXED;
	*given = text != NULL;
	*seconds = 0;
	if (text == NULL)
		return true;
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	copy = tm;
	*seconds = timegm(&copy);
	bool real = end != NULL && *end == '\0' && copy.tm_mday == tm.tm_mday && copy.tm_sec == tm.tm_sec;
	return (real && tm.tm_year >= 70 && tm.tm_year < 200) ||
	       error_set(error, ERROR_INPUT, "--rtc '%.64s': give a time from 1970 to 2099 such as " RTC_FIXED, text);
}

struct guest_trace guest_trace_read(const char *text)
{
	static const char suffix[] = ",exceptions";
	struct guest_trace trace = {.path = text, .length = strlen(text)};
	size_t suffix_length = strlen(suffix);
	if (trace.length >= suffix_length && strcmp(text + trace.length - suffix_length, suffix) == 0) {
		trace.length -= suffix_length;
		trace.exceptions = true;
	}
	return trace;
}

/* [ADDRESS:]PORT, `length` bytes at `text`. */
static bool read_port(const char *text, size_t length, struct guest_gdb *gdb)
{
	char buffer[32], *end;
	struct in_addr address;
	if (length == 0 || length >= sizeof buffer)
		return false;
	memcpy(buffer, text, length);
	buffer[length] = '\0';
	char *colon = strchr(buffer, ':'), *digits = colon == NULL ? buffer : colon + 1;
	if (colon != NULL)
		*colon = '\0';
	if (inet_pton(AF_INET, colon == NULL ? "127.0.0.1" : buffer, &address) != 1 ||
	    strspn(digits, "0123456789") == 0)
		return false;
	unsigned long port = strtoul(digits, &end, 10);
	gdb->address = ntohl(address.s_addr);
	gdb->port = (uint16_t)port;
	return *end == '\0' && port > 0 && port <= UINT16_MAX;
}

bool guest_gdb_read(const char *text, struct guest_gdb *gdb, struct error *error)
{
	static const char unix_prefix[] = "unix:", wait[] = ",wait", i386[] = ",i386";
	size_t length = strlen(text), prefix = sizeof unix_prefix - 1;
	*gdb = (struct guest_gdb){0};
	for (bool more = true; more;) {
		bool waits = !gdb->wait && length > sizeof wait - 1 &&
			     memcmp(text + length - (sizeof wait - 1), wait, sizeof wait - 1) == 0;
		bool small = !waits && !gdb->i386 && length > sizeof i386 - 1 &&
			     memcmp(text + length - (sizeof i386 - 1), i386, sizeof i386 - 1) == 0;
		gdb->wait = gdb->wait || waits;
		gdb->i386 = gdb->i386 || small;
		more = waits || small;
		length -= waits ? sizeof wait - 1 : small ? sizeof i386 - 1 : 0;
	}
	if (length > prefix && memcmp(text, unix_prefix, prefix) == 0) {
		gdb->path = text + prefix;
		gdb->path_length = length - prefix;
		return true;
	}
	return read_port(text, length, gdb) ||
	       error_set(error, ERROR_INPUT, "--gdb '%.64s': give a port from 1 to 65535, ADDRESS:PORT or unix:PATH",
			 text);
}

/* Each run the same: nothing may come from outside. */
static bool clock_check(const struct guest_options *options, struct error *error)
{
	bool given;
	int64_t seconds;
	if (!guest_rtc_read(options, &given, &seconds, error))
		return false;
	if (guest_options_deterministic(options) && guest_options_show_screen(options))
		return error_set(error, ERROR_INPUT,
				 "--clock deterministic takes no input, so there is no --display terminal");
	if (guest_options_deterministic(options) && options->cpus > 1)
		return error_set(error, ERROR_INPUT, "--clock deterministic is for one processor: leave out --cpus");
	if (guest_options_deterministic(options) && guest_options_rng(options))
		return error_set(error, ERROR_INPUT,
				 "--clock deterministic takes no random bytes from the host: leave out --rng on");
	if (guest_options_deterministic(options) && guest_options_agent(options))
		return error_set(error, ERROR_INPUT,
				 "--clock deterministic takes no input, so there is no agent: leave out --agent on");
	if (options->trace_events == NULL)
		return true;
	if (!guest_options_deterministic(options))
		return error_set(error, ERROR_INPUT, "--trace-events needs --clock deterministic");
	struct guest_trace trace = guest_trace_read(options->trace_events);
	if (trace.length == 0 || trace.length >= PATH_MAX)
		return error_set(error, ERROR_INPUT, "--trace-events '%.64s': give the name of a file",
				 options->trace_events);
	return true;
}

/* Frames come when they come. */
static bool nets_check(const struct guest_options *options, struct error *error)
{
	struct guest_net net;
	for (unsigned i = 0; i < options->net.count; i++) {
		if (!guest_net_read(options->net.item[i], &net, error))
			return false;
		if (guest_options_deterministic(options) && net.kind != GUEST_NET_NONE)
			return error_set(
			    error, ERROR_INPUT,
			    "--clock deterministic takes no input, so there is no network: give --net none");
	}
	return true;
}

/* What only a kernel or only firmware looks at. */
static bool start_check(const struct guest_options *options, struct error *error)
{
	struct guest_boot_order order;
	bool kernel = options->kernel != NULL;
	const struct {
		bool given, for_kernel;
		const char *name;
	} rules[] = {
	    {options->initrd != NULL, true, "initrd"},	    {options->append != NULL, true, "append"},
	    {options->module.count > 0, true, "module"},    {options->boot != NULL, false, "boot"},
	    {options->firmware != NULL, false, "firmware"},
	};
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		if (!rules[i].given || rules[i].for_kernel == kernel)
			continue;
		return error_set(error, ERROR_INPUT,
				 kernel ? "--%s: a --kernel starts without firmware, leave one of them out"
					: "--%s needs a --kernel FILE",
				 rules[i].name);
	}
	return options->boot == NULL || guest_boot_read(options->boot, &order, error);
}

bool guest_options_check(const struct guest_options *options, struct error *error)
{
	if (options->name != NULL && !name_check(options->name, error))
		return false;
	if (options->cpus < 1 || options->cpus > LEDGER_MAX_VCPUS)
		return error_set(error, ERROR_INPUT, "--cpus %llu: a guest can have 1 to %d processors",
				 (unsigned long long)options->cpus, LEDGER_MAX_VCPUS);
	struct guest_engine engine;
	struct guest_gdb gdb;
	if (!guest_engine_read(options->engine, &engine, error) ||
	    (options->gdb != NULL && !guest_gdb_read(options->gdb, &gdb, error)))
		return false;
	return clock_check(options, error) && nets_check(options, error) && start_check(options, error) &&
	       images_check(options, error) && memory_check(options->memory, error) &&
	       code_cache_check(options->code_cache, error) && serial_check(options, error);
}

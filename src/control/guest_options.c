/* SPDX-License-Identifier: MIT */
#include "control/guest_options.h"

#include <string.h>
#include <unistd.h>

#include "control/runtime.h"

#define MEMORY_MINIMUM (UINT64_C(2) << 20)
#define FD_MAXIMUM 1023

static const char *const engines[] = {"auto", "translate", "kvm", NULL};
static const char *const cpu_models[] = {"x86-64", "x86-64-v2", "x86-64-v3", "max", NULL};

#define FIELD(field) .offset = offsetof(struct guest_options, field)

const struct option guest_option_table[] = {
    {"name", "NAME", NULL, "name of the guest (default: made from the kernel's file name)", .kind = OPTION_TEXT,
     FIELD(name)},
    {"memory", "SIZE", "512M", "guest memory in bytes, or with the suffix K, M or G", .kind = OPTION_SIZE,
     FIELD(memory)},
    {"cpus", "N", "1", "number of virtual processors; 1 for now", .kind = OPTION_NUMBER, FIELD(cpus)},
    {"cpu", "MODEL", "max", "processor shown to the guest: x86-64, x86-64-v2, x86-64-v3 or max", .kind = OPTION_CHOICE,
     .choices = cpu_models, FIELD(cpu)},
    {"kernel", "FILE", NULL, "Linux bzImage or Multiboot 1 ELF kernel (required)", .kind = OPTION_TEXT, FIELD(kernel)},
    {"initrd", "FILE", NULL, "initial RAM disk for a Linux kernel", .kind = OPTION_TEXT, FIELD(initrd)},
    {"append", "TEXT", NULL, "kernel command line", .kind = OPTION_TEXT, FIELD(append)},
    {"module", "'FILE [ARGS]'", NULL, "Multiboot module; can be repeated", .kind = OPTION_LIST, FIELD(module)},
    {"serial", "WHERE", "stdio", "first serial port: stdio, a file's name, unix:PATH or none", .kind = OPTION_TEXT,
     FIELD(serial)},
    {"no-reboot", NULL, NULL, "end when the guest resets or triple-faults, with status 8 or 6", .kind = OPTION_FLAG,
     FIELD(no_reboot)},
    {"debug-exit", "PORT", NULL, "end with status (value << 1) | 1 when the guest writes value to this port",
     .kind = OPTION_NUMBER, .maximum = 0xffff, FIELD(debug_exit)},
    {"engine", "ENGINE", "auto", "what runs guest code: auto, translate or kvm", .kind = OPTION_CHOICE,
     .choices = engines, FIELD(engine)},
    {"verbose", NULL, NULL, "say on stderr what was decided and why", .kind = OPTION_FLAG, FIELD(verbose)},
    {"name-free", NULL, NULL, "", .kind = OPTION_FLAG, .hidden = true, FIELD(name_free)},
    {"ready-fd", "FD", NULL, "", .kind = OPTION_NUMBER, .hidden = true, .maximum = FD_MAXIMUM, FIELD(ready_fd)},
    {"terminal-fd", "FD", NULL, "", .kind = OPTION_NUMBER, .hidden = true, .maximum = FD_MAXIMUM, FIELD(terminal_fd)},
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

static bool serial_check(const char *serial, struct error *error)
{
	if (serial[0] == '\0' || strcmp(serial, "unix:") == 0)
		return error_set(error, ERROR_INPUT, "--serial '%s': give stdio, a file's name, unix:PATH or none",
				 serial);
	return true;
}

bool guest_options_check(const struct guest_options *options, struct error *error)
{
	if (options->kernel == NULL)
		return error_set(error, ERROR_INPUT, "no kernel: give one with --kernel FILE");
	if (options->name != NULL && !name_check(options->name, error))
		return false;
	if (options->cpus != 1)
		return error_set(error, ERROR_INPUT, "--cpus %llu: this version runs one virtual processor, give 1",
				 (unsigned long long)options->cpus);
	if (strcmp(options->engine, "kvm") == 0)
		return error_set(error, ERROR_INPUT, "the KVM engine is not built yet; use --engine translate");
	return memory_check(options->memory, error) && serial_check(options->serial, error);
}

/* SPDX-License-Identifier: MIT */
/*
 * The options that describe a guest: one table for `nfold run`, which checks them and names the guest, and `nfold-vm`,
 * which gets the same words on its own command line.
 */
#ifndef NFOLD_CONTROL_GUEST_OPTIONS_H
#define NFOLD_CONTROL_GUEST_OPTIONS_H

#include "control/disk_option.h"
#include "control/guest_net.h"
#include "control/options.h"

#define GUEST_IDE_MAX 4
#define GUEST_VIRTIO_DISKS_MAX 12
#define GUEST_DISKS_MAX 16
#define GUEST_FLOPPIES_MAX 2

/* What firmware can start a system from, as --boot names it. */
enum guest_boot { GUEST_BOOT_FLOPPY, GUEST_BOOT_CDROM, GUEST_BOOT_DISK, GUEST_BOOT_KINDS };

struct guest_boot_order {
	enum guest_boot device[GUEST_BOOT_KINDS];
	unsigned count; /* 0: the firmware's own order */
};

/* An image given as FILE or FILE,readonly. The path is `length` bytes at `path`. */
struct guest_image {
	const char *path;
	size_t length;
	bool read_only;
};

/* --engine, taken apart. */
enum guest_engine_kind { GUEST_ENGINE_AUTO, GUEST_ENGINE_TRANSLATE, GUEST_ENGINE_KVM, GUEST_ENGINE_KINDS };

struct guest_engine {
	enum guest_engine_kind kind;
	uint32_t off; /* enum engine_switch */
};

/* --trace-events, taken apart. The path is `length` bytes at `path`. */
struct guest_trace {
	const char *path;
	size_t length;
	bool exceptions;
};

/* --gdb, taken apart. */
struct guest_gdb {
	const char *path; /* of a Unix socket: path_length bytes; 0: none, TCP */
	size_t path_length;
	uint32_t address; /* IPv4, in the host's order */
	uint16_t port;
	bool wait; /* the guest starts when gdb lets it */
	bool i386; /* gdb is told of a 32-bit processor */
};

struct guest_options {
	const char *name;
	uint64_t memory;
	uint64_t code_cache;
	uint64_t cpus;
	const char *kernel;
	const char *initrd;
	const char *append;
	struct option_list module;
	struct option_list disk;
	const char *cdrom;
	struct option_list floppy;
	struct option_list net;
	const char *agent;   /* NULL: guest_options_agent() knows */
	const char *console; /* NULL: none */
	const char *hpet;    /* NULL: off */
	const char *rng;     /* NULL: guest_options_rng() knows */
	const char *boot;
	const char *firmware;
	const char *display;
	const char *serial; /* NULL: guest_options_serial() knows */
	bool no_reboot;
	const char *debug_console; /* NULL: none */
	uint64_t debug_exit;	   /* OPTION_UNSET: none */
	const char *engine;
	const char *clock;
	const char *rtc;	  /* NULL: the host's time, or a fixed one */
	const char *trace_events; /* NULL: none */
	const char *gdb;	  /* NULL: none */
	const char *cpu;
	const char *confine; /* on, off */
	bool verbose;
	/* Between nfold and nfold-vm only. */
	bool name_free;		    /* `name` is a stem: take the first free of NAME, NAME-2, NAME-3 ... */
	uint64_t end_fd;	    /* where to write the exit status at the end */
	uint64_t ready_fd;	    /* where to write the name once the guest is ready to run */
	uint64_t terminal_fd;	    /* a terminal whose modes to restore should the parent die */
	const char *terminal_reset; /* and what to write to it then, or NULL */
};

extern const struct option guest_option_table[];

/* What can be judged from the words alone and the size of the host. The files are judged where they are opened. */
bool guest_options_check(const struct guest_options *options, struct error *error);

struct guest_image guest_image_read(const char *text);
bool guest_engine_read(const char *text, struct guest_engine *engine, struct error *error);
struct guest_trace guest_trace_read(const char *text);
bool guest_gdb_read(const char *text, struct guest_gdb *gdb, struct error *error);
bool guest_options_deterministic(const struct guest_options *options);
/* When the real-time clock starts: seconds since 1970. *given is false where the host's time is meant. */
bool guest_rtc_read(const struct guest_options *options, bool *given, int64_t *seconds, struct error *error);
bool guest_boot_read(const char *text, struct guest_boot_order *order, struct error *error);

/* Whether there is a virtio entropy device. */
bool guest_options_rng(const struct guest_options *options);
/* Whether there is a channel to an agent in the guest. */
bool guest_options_agent(const struct guest_options *options);
/* Where the virtio console goes: a file's name, or a socket's. */
const char *guest_console_read(const char *text, bool *socket);

/* What the serial port is connected to: the terminal, unless it shows the screen. */
const char *guest_options_serial(const struct guest_options *options);
bool guest_options_show_screen(const struct guest_options *options);

/* The file that the guest is named after: the kernel or the first image. NULL when there is none. */
const char *guest_options_main_file(const struct guest_options *options);

#endif

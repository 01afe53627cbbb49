/* SPDX-License-Identifier: MIT */
/*
 * A whole machine: guest RAM, vCPUs, devices, clock and event loop.
 *
 * machine/pc.c wires a PC top to bottom in one readable function. machine_start() makes one thread for each vCPU; the
 * caller's thread runs the event loop (timers, character streams, control socket) in machine_loop() until the guest
 * ends.
 *
 * The device lock. All device models, the virtual clock and the io maps are guarded by one mutex. vCPU threads take it
 * around port and MMIO accesses; the event loop holds it while it fires timers and feeds input, never while it sleeps.
 */
#ifndef NFOLD_MACHINE_MACHINE_H
#define NFOLD_MACHINE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/disk.h"
#include "backend/network.h"
#include "base/error.h"
#include "ledger/ledger.h"

#define MACHINE_MAX_MODULES 16
#define MACHINE_MAX_DISKS 16
#define MACHINE_MAX_IDE_DISKS 4
#define MACHINE_MAX_VIRTIO_DISKS 12
#define MACHINE_MAX_FLOPPIES 2
#define MACHINE_MAX_NETWORKS 8

struct cpu;
struct debugger;
struct display;
struct events;
struct ps2keyboard;
struct samples;

/* Kinds of device that firmware starts a system from. */
enum machine_boot { BOOT_FROM_FLOPPY, BOOT_FROM_CDROM, BOOT_FROM_DISK, BOOT_KINDS };

enum machine_serial { SERIAL_STDIO, SERIAL_FILE, SERIAL_UNIX, SERIAL_NONE };

/* A network adapter and what it is connected to. */
enum machine_network_kind { NETWORK_NONE, NETWORK_USER, NETWORK_TAP, NETWORK_BRIDGE, NETWORK_SWITCH };
enum machine_network_model { NETWORK_PCNET, NETWORK_VIRTIO };

struct machine_network {
	enum machine_network_kind kind;
	enum machine_network_model model;
	const char *name; /* of the interface or bridge, or the folder of the switch */
	uint8_t mac[NETWORK_MAC_SIZE];
	struct network_forward forward[NETWORK_FORWARDS_MAX];
	unsigned forwards;
};

/* A hard disk. */
struct machine_disk {
	const char *path; /* or a URI */
	enum disk_format format;
	enum disk_cache cache;
	bool read_only;
	bool virtio;
	enum disk_error_policy on_error;
};

/* What the user asked for. Strings belong to the caller and outlive the machine. */
struct machine_config {
	const char *name;
	uint64_t memory_size; /* bytes */
	unsigned cpus;
	const char *cpu_model;	   /* x86-64, x86-64-v2, x86-64-v3, max */
	uint32_t engine_off;	   /* enum engine_switch: parts of the engine that are not used */
	uint64_t code_cache_bytes; /* 0: the engine's default */
	const char *kernel;	   /* bzImage or Multiboot 1 ELF, entered without firmware; NULL: firmware boots */
	const char *initrd;
	const char *append;
	const char *module[MACHINE_MAX_MODULES]; /* "FILE [ARGUMENTS]", Multiboot only */
	unsigned module_count;

	/* IDE disks are, in this order, primary master, primary slave, secondary slave and, without a CD, the
	 * secondary master, which otherwise is the CD-ROM drive, with or without a disc. */
	struct machine_disk disk[MACHINE_MAX_DISKS];
	unsigned disk_count;
	const char *cdrom; /* NULL: no disc */
	const char *floppy[MACHINE_MAX_FLOPPIES];
	bool floppy_read_only[MACHINE_MAX_FLOPPIES];
	unsigned floppy_count;
	struct machine_network network[MACHINE_MAX_NETWORKS];
	unsigned network_count;
	bool hpet;			    /* a high precision event timer */
	bool agent;			    /* a channel to an agent in the guest; not of deterministic guests */
	const char *console;		    /* a virtio console into this file; NULL: none */
	bool console_socket;		    /* a Unix socket's path it is */
	bool entropy;			    /* a virtio entropy device; not of deterministic guests */
	enum machine_boot boot[BOOT_KINDS]; /* in this order */
	unsigned boot_count;		    /* 0: floppy, CD-ROM, disk, as far as there are any */
	const char *firmware;		    /* a PC BIOS image; needed when there is no kernel */
	const char *debug_console;	    /* a file for what goes to ports E9h and 402h; NULL: they are not there */
	const char *vga_firmware;	    /* the VGA BIOS; NULL: the graphics chip has no ROM */

	enum machine_serial serial;
	const char *serial_path;
	/* The clock counts instructions, input is not taken, and nothing comes from the host's clocks: each run is the
	 * same. One processor only. */
	bool deterministic;
	bool rtc_given;
	int64_t rtc_seconds;	/* since 1970: where the RTC starts, else at the host's time */
	const char *trace_path; /* a file for the guest's events (trace.h), or NULL; of deterministic runs only */
	bool trace_exceptions;	/* a line for each of them too */
	int serial_fd_in, serial_fd_out; /* SERIAL_STDIO */
	bool no_reboot;
	int debug_exit_port; /* -1: none */

	/* Called when all threads are there and none has run guest code; it may take rights from the process. False
	 * ends the guest. May be NULL. */
	bool (*before_guest)(void *opaque, struct error *error);
	void *before_guest_opaque;

	/* What happens to images at run time, a line for the user each. NULL: nobody wants to know. */
	void (*report)(void *opaque, const char *text);
	void *report_opaque;
};

enum machine_end {
	MACHINE_POWERED_OFF, /* ACPI S5 */
	MACHINE_REBOOTED,    /* a reset with no_reboot, whoever asked for it */
	MACHINE_SHUTDOWN,    /* triple fault with no_reboot */
	MACHINE_DEBUG_EXIT,  /* machine_debug_exit_code() has the status */
	MACHINE_KILLED,	     /* by the user */
	MACHINE_FAILED,	     /* host error at run time: machine_failure() says which */
};

enum machine_state { MACHINE_RUNNING, MACHINE_PAUSED, MACHINE_ENDED };

struct machine;

/* Reads the images, creates everything, starts nothing. Nothing is left behind on failure. */
struct machine *machine_create(const struct machine_config *config, struct error *error);
void machine_destroy(struct machine *machine);

/* Starts the vCPU threads and runs the event loop until the guest ends. */
enum machine_end machine_run(struct machine *machine);
int machine_debug_exit_code(const struct machine *machine); /* (value << 1) | 1, as isa-debug-exit */
const char *machine_failure(const struct machine *machine);

/* Any thread. */
void machine_pause(struct machine *machine);
void machine_resume(struct machine *machine);
void machine_reset(struct machine *machine);
void machine_power_button(struct machine *machine); /* ACPI power button */
void machine_kill(struct machine *machine);
/*
 * Lets a host schedule the vCPUs: the descriptors of the page of run tokens and of the doorbell, which stay the
 * machine's. Called on the event loop's thread. What both are: ledger/token.h.
 */
bool machine_schedule(struct machine *machine, int *page_fd, int *doorbell_fd, struct error *error);

enum machine_state machine_state(struct machine *machine);

/*
 * The screen and the keyboard (backend/display.h, devices/ps2keyboard.h): never NULL, and every call on them is made
 * between machine_lock() and machine_unlock(), which are the device lock.
 */
void machine_lock(struct machine *machine);
void machine_unlock(struct machine *machine);
struct display *machine_display(struct machine *machine);
struct ps2keyboard *machine_keyboard(struct machine *machine);

/*
 * Profiles. machine_sample() samples where the vCPUs are for so long from now; samples are read from the ring
 * (ledger/samples.h), which is NULL before the first call. On the event loop's thread.
 */
bool machine_sample(struct machine *machine, unsigned milliseconds, struct error *error);
const struct samples *machine_samples(const struct machine *machine);
/* Where the first vCPU goes at SYSCALL (LSTAR): by its symbol one finds where a kernel lies. */
uint64_t machine_syscall_entry(const struct machine *machine);

/*
 * Events (ledger/events.h): those of these kinds are told from now on, bits 1 << enum ledger_event; 0 ends it. On the
 * event loop's thread.
 */
void machine_trace(struct machine *machine, uint64_t wanted);
const struct events *machine_events(const struct machine *machine);

/*
 * Debugging, on the event loop's thread. Before machine_run() and while the machine is paused its vCPUs may be read and
 * written (cpu/cpu.h), and the debugger's points (cpu/debugger.h) set: NULL ends debugging. When a vCPU meets one the
 * machine is paused, and `stopped` is called; each vCPU that has its debug.stop set has met one.
 */
typedef void machine_debug_function(void *opaque);
void machine_on_debug(struct machine *machine, machine_debug_function *stopped, void *opaque);
void machine_set_debugger(struct machine *machine, const struct debugger *debugger);
unsigned machine_cpu_count(const struct machine *machine);
struct cpu *machine_cpu(struct machine *machine, unsigned index);

/*
 * The channel to an agent in the guest: our end of a stream socket, the machine's to close, or -1. What is sent while
 * machine_agent_listens() says no is dropped. Any thread.
 */
int machine_agent_fd(const struct machine *machine);
bool machine_agent_listens(struct machine *machine);

struct ledger *machine_ledger(const struct machine *machine);
void machine_settle(struct machine *machine); /* all vCPUs' clocks (ledger/settle.h), on the event loop's thread */
int machine_ledger_fd(const struct machine *machine);
uint64_t machine_overhead_bytes(const struct machine *machine);

/* Lets the owner's descriptors join the event loop: called with the device lock NOT held, on the loop's thread. */
typedef void machine_watch_function(void *opaque, int fd, uint32_t epoll_events);
bool machine_watch(struct machine *machine, int fd, uint32_t epoll_events, machine_watch_function *function,
		   void *opaque, struct error *error);
void machine_unwatch(struct machine *machine, int fd);

#endif

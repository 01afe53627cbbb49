/* SPDX-License-Identifier: MIT */
/*
 * A machine's parts. Internal to machine*.c.
 *
 * Control. Whoever wants something of the machine sets bits in `requests`; the loop's thread serves them and is the
 * only one that stops and starts vCPUs. What the guest itself asks for (power-off, reset) comes from a vCPU's thread
 * with the device lock held: it asks the vCPUs to stop, so that the guest runs no further, and leaves the rest to the
 * loop.
 */
#ifndef NFOLD_MACHINE_MACHINE_IMPL_H
#define NFOLD_MACHINE_MACHINE_IMPL_H

#include "backend/chardev.h"
#include "cpu/cpuid.h"
#include "ledger/events.h"
#include "machine/boot.h"
#include "machine/loop.h"
#include "machine/machine.h"
#include "machine/media.h"
#include "machine/networks.h"
#include "machine/pc.h"
#include "machine/trace.h"
#include "machine/vcpu.h"

enum machine_request {
	REQUEST_PAUSE_STATE = 1, /* make the state what pause_wanted says */
	REQUEST_USER_RESET = 2,
	REQUEST_GUEST_RESET = 4,
	REQUEST_TRIPLE_FAULT = 8,
	REQUEST_POWER_BUTTON = 16,
	REQUEST_POWER_OFF = 32,
	REQUEST_DEBUG_EXIT = 64,
	REQUEST_KILL = 128,
	REQUEST_FAIL = 256,
	REQUEST_DEBUG = 512, /* a vCPU met a point of the debugger */
};

/* A network adapter whose frames are told. */
struct machine_adapter {
	struct machine *machine;
	unsigned index;
};

/* An image as its own host sees it. */
struct machine_image {
	struct machine *machine;
	unsigned index;
	struct disk *disk; /* NULL: none */
	struct ledger_disk *line;
};

struct machine {
	struct machine_config config;
	struct ledger *ledger;
	int ledger_fd;
	struct events events;
	int tasks; /* ledger_tasks_open(), until the threads have started; else -1 */
	struct memory memory;
	struct memory_map map;
	struct clock clock;	   /* under the device lock */
	struct io_map ports, mmio; /* under the device lock */
	struct io_map vcpu_mmio[LEDGER_MAX_VCPUS];
	pthread_mutex_t device_mutex; /* the device lock */
	uint64_t armed;		      /* the deadline that the loop's timer is set to; under the device lock */
	struct cpu_model model;
	struct engine *engine;
	struct turns turns; /* of the vCPUs on the host's processors */
	struct vcpu vcpu[LEDGER_MAX_VCPUS];
	unsigned vcpu_count;				    /* made so far */
	struct chardev *serial, *no_serial, *debug_console; /* COM1, COM2, ports */
	struct chardev *console, *agent;		    /* ports of the virtio console, or NULL */
	int agent_fd;					    /* the other end of `agent`, or -1 */
	struct display display;				    /* under the device lock */
	struct media media;
	struct networks networks;
	struct machine_image image[MEDIA_IMAGES];
	struct machine_adapter adapter[MACHINE_MAX_NETWORKS];
	struct pc *pc;
	struct loop loop;

	struct image kernel, initrd, firmware, vga_rom;
	struct boot_module module[BOOT_MAX_MODULES];
	unsigned module_count;
	struct boot_state boot;

	uint32_t requests;		       /* atomic */
	bool pause_wanted;		       /* atomic */
	uint32_t state;			       /* enum machine_state, atomic */
	struct trace *trace;		       /* or NULL */
	machine_debug_function *debug_stopped; /* or NULL */
	void *debug_opaque;
	bool looping; /* loop_thread is valid; atomic */
	pthread_t loop_thread;
	enum machine_end end;
	int debug_exit_code;
	char failure[sizeof((struct error *)NULL)->text]; /* written once, before REQUEST_FAIL is set */
};

/* machine.c: puts the images and tables into guest memory, for the first time or again. */
bool machine_load(struct machine *machine, struct error *error);

/* machine.c: descriptors of backends; what is called when they are ready is called with the device lock held. */
bool machine_watch_backend(void *opaque, int fd, uint32_t epoll_events, void (*ready)(void *, int, uint32_t),
			   void *ready_opaque);
void machine_unwatch_backend(void *opaque, int fd);

/* machine-images.c: disk images work on the event loop, report to the user and count in the ledger. */
bool machine_attach_images(struct machine *machine, struct error *error);
void machine_retry_images(struct machine *machine); /* the guest goes on; with the device lock held */

/* machine-run.c: the ways in for the guest's side. */
void machine_stop_for_image(struct machine *machine);
void machine_guest_power_off(void *opaque);
void machine_guest_reset(void *opaque);
void machine_guest_a20(void *opaque, bool on);
void machine_guest_debug_exit(void *opaque, uint32_t value);
void machine_vcpu_shut_down(void *opaque);
void machine_vcpu_debugged(void *opaque);
void machine_vcpu_failed(void *opaque, const char *why);
void machine_on_timer(void *opaque, int fd, uint32_t events);
void machine_lock_counted(void *opaque);
bool machine_counted(void *opaque, bool halted);
void machine_rearm(void *opaque, uint64_t deadline);

#endif

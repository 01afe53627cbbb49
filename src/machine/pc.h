/* SPDX-License-Identifier: MIT */
/*
 * The PC's board: which chips there are and how they are wired. Knows devices, not threads.
 *
 * Threading: every function is called with the device lock held, or before there are other threads.
 */
#ifndef NFOLD_MACHINE_PC_H
#define NFOLD_MACHINE_PC_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/chardev.h"
#include "backend/disk.h"
#include "backend/display.h"
#include "backend/floppy.h"
#include "backend/network.h"
#include "base/error.h"
#include "devices/cputimes.h"
#include "io/bus.h"
#include "io/clock.h"
#include "io/irq.h"
#include "ledger/ledger.h"
#include "machine/cmos.h"
#include "machine/firmware-config.h"
#include "machine/memory-map.h"

struct pc;

/* A processor's socket. */
struct pc_socket {
	struct cpu_pin pin;
	struct device_lock lock; /* as its thread takes it */
	struct io_map *mmio;	 /* the processor's own map: its local APIC's page, the board's map behind it */
	uint64_t (*tsc)(void *opaque);
	void *tsc_opaque;
};

/* What a place on an IDE channel holds. */
struct pc_drive {
	enum { PC_NO_DRIVE, PC_DISK, PC_CDROM } kind;
	struct disk *image; /* the caller's; of a CD-ROM drive NULL: no disc */
	const char *serial;
};

#define PC_AGENT_PORT "org.qemu.guest_agent.0"
#define PC_IDE_DRIVES 4u
#define PC_FLOPPY_DRIVES 2u
#define PC_NETWORKS 8u

/* A network adapter. */
struct pc_network {
	struct network *network; /* the caller's */
	bool virtio;		 /* else a PCnet */
	uint8_t mac[NETWORK_MAC_SIZE];
};
/* Random bytes for the guest, as virtiorng.h wants them. */
typedef bool pc_entropy_function(void *opaque, uint8_t *bytes, size_t size);
#define PC_VIRTIO_DISKS 12u
#define PC_VIRTIO_DISK_DEVICE 4u /* the first one's PCI device number */

struct pc_config {
	struct clock *clock;
	struct ledger *ledger; /* NULL: none */
	struct io_map *ports, *mmio;
	struct pc_socket socket[LEDGER_MAX_VCPUS];
	unsigned sockets;
	unsigned physical_bits;
	struct memory *memory;
	struct memory_map *map;
	struct display *display;
	struct chardev *serial[2];     /* COM1 and COM2; these, images and what else is pointed to stay the caller's */
	struct chardev *debug_console; /* ports E9h and 402h; NULL: none */
	const struct image *vga_rom;   /* read; NULL: none */
	struct pc_drive ide[PC_IDE_DRIVES];	 /* primary master and slave, secondary master and slave */
	struct pc_drive virtio[PC_VIRTIO_DISKS]; /* PC_DISK or PC_NO_DRIVE */
	struct floppy *floppy[PC_FLOPPY_DRIVES];
	struct pc_network network[PC_NETWORKS];
	unsigned networks;
	pc_entropy_function *entropy;	 /* NULL: no virtio entropy device */
	struct chardev *console, *agent; /* of a virtio console's ports; NULL: not there */
	struct cmos_config cmos;
	struct firmware_config firmware_config;
	bool firmware;	     /* a PC BIOS runs first; otherwise pc_reset() does its part */
	int debug_exit_port; /* -1: none */
	bool hpet;	     /* a high precision event timer */
	bool rtc_given;
	int64_t rtc_seconds; /* since 1970: where the RTC starts, else at the host's time */

	/* What the guest can do to its machine. Called with the device lock held. */
	void (*power_off)(void *opaque);
	void (*reset)(void *opaque);
	void (*a20)(void *opaque, bool on);
	void (*debug_exit)(void *opaque, uint32_t value);
	cputimes_function *processor_times; /* NULL: it cannot ask */
	void *opaque;
};

/* Nothing is left behind on failure but ranges in the io maps. */
struct pc *pc_create(const struct pc_config *config, struct error *error);
void pc_destroy(struct pc *pc);

/* Resets the chips; without firmware, also does what that would: shadow RAM, BARs, interrupt routes, IDE. */
void pc_reset(struct pc *pc);

/* Whether a program of the guest listens on the port named PC_AGENT_PORT. */
bool pc_agent_is_open(const struct pc *pc);
void pc_power_button(struct pc *pc);
struct ps2keyboard *pc_keyboard(struct pc *pc);
struct ps2mouse *pc_mouse(struct pc *pc);
struct interrupt_controller pc_interrupt_controller(struct pc *pc, unsigned socket);
/* For FERR# of the first processor. */
struct irq_line pc_coprocessor_error(struct pc *pc);

#endif

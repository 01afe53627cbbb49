/* SPDX-License-Identifier: MIT */
/*
 * A virtio console device (virtio.h): byte streams between the guest and character streams of the host
 * (backend/chardev.h).
 *
 *   port 0   a console (hvc0 of a Linux guest), or not there
 *   port 1   a named channel, for an agent inside the guest, or not there
 *   queues   0 and 1: port 0, to and from the guest; 2 and 3: control; 4 and 5: port 1
 *
 * Implemented: several ports with names, that come when the guest's driver is ready; both sides learn who has a port
 * open. Bytes wait until the guest gives buffers for them. What the guest writes waits in its own buffers, one of which
 * a port has in its hands, until the stream takes it. Bytes for a port that nobody in the guest has open are dropped:
 * they were meant for a reader that is gone.
 *
 * Linux waits in a loop for the console to take each piece: a stream that nobody reads, and that keeps no more, holds
 * up a guest that writes to it. Nothing is lost.
 *
 * Control messages to the guest are kept as one bit for each kind and port, so that a guest which asks without end and
 * takes no answer makes nothing grow.
 *
 * Not implemented: the size of the console, emergency write, ports that go away, a device without
 * VIRTIO_CONSOLE_F_MULTIPORT (a driver that does not accept it finds no ports).
 *
 * Source: VIRTIO Version 1.2, 5.3.
 */
#ifndef NFOLD_DEVICES_VIRTIOCONSOLE_H
#define NFOLD_DEVICES_VIRTIOCONSOLE_H

#include "backend/chardev.h"
#include "devices/virtio.h"
#include "io/clock.h"

struct virtioconsole;

enum virtioconsole_port { VIRTIOCONSOLE_CONSOLE, VIRTIOCONSOLE_CHANNEL, VIRTIOCONSOLE_PORTS };

struct virtioconsole_config {
	struct pci_bus *bus;
	unsigned device; /* PCI device number; function 0 */
	struct clock *clock;
	struct memory *memory;
	struct chardev *port[VIRTIOCONSOLE_PORTS]; /* the caller's, which outlive the device; NULL: not there */
	const char *channel_name;		   /* at most 60 characters */
};

struct virtioconsole *virtioconsole_create(const struct virtioconsole_config *config, struct error *error);
void virtioconsole_destroy(struct virtioconsole *console);
void virtioconsole_reset(struct virtioconsole *console); /* RST# */

/* Whether a program in the guest, or its kernel, has the port open. */
bool virtioconsole_is_open(const struct virtioconsole *console, enum virtioconsole_port port);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Intel 8042 keyboard controller of the PS/2, with a keyboard port and an auxiliary port.
 *
 *                +--------+
 *   port 60h <-->| data   |--> IRQ 1   (keyboard port, struct irq_line)
 *   port 64h <-->| status |--> IRQ 12  (auxiliary port, struct irq_line)
 *                |        |--> reset, A20
 *                |        |<--> keyboard, mouse (the PS/2 wire, io/ps2.h)
 *                +--------+
 *
 * Implemented: status, command byte and its RAM, self test, port tests, disabling and enabling of both ports, input,
 * output and test ports, the commands that write into the output buffers, output pulses with reset (FEh), translation
 * of scan code set 2 to set 1. Bytes come from the devices at the pace of the wire, one every 0.66 ms of virtual time;
 * the controller's own answers are there at once, and a device's byte that one overtakes comes again after it. A byte
 * for a port with nothing attached is answered with FEh and the time-out bit of the status.
 *
 * The machine attaches a device in three steps: i8042_create() with a clock, the device with the port from
 * i8042_port(), and i8042_attach(). Nothing attached needs no clock.
 *
 * Not implemented: the lock switch (reads as unlocked), passwords, parity errors, the diagnostic dump (ACh).
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".
 */
#ifndef NFOLD_DEVICES_I8042_H
#define NFOLD_DEVICES_I8042_H

#include <stdbool.h>
#include <stdint.h>

#include "io/bus.h"
#include "io/clock.h"
#include "io/irq.h"
#include "io/ps2.h"

enum i8042_port { I8042_KEYBOARD, I8042_AUXILIARY, I8042_PORTS };

struct i8042;

struct i8042_config {
	struct irq_line keyboard_irq, auxiliary_irq;
	void (*reset)(void *opaque); /* the processor's reset line was pulsed */
	void *reset_opaque;
	void (*a20)(void *opaque, bool on); /* NULL: the bit is kept, no more. Called by reset, too */
	void *a20_opaque;
	struct clock *clock; /* needed where a device is attached */
};

struct i8042 *i8042_create(const struct i8042_config *config, struct error *error);
void i8042_destroy(struct i8042 *i8042);
void i8042_reset(struct i8042 *i8042);

/* Claims ports 60h and 64h. */
bool i8042_map(struct i8042 *i8042, struct io_map *ports, struct error *error);

/* The port as its device sees it, and the device as the port sees it. */
struct ps2_port i8042_port(struct i8042 *i8042, enum i8042_port port);
void i8042_attach(struct i8042 *i8042, enum i8042_port port, const struct ps2_device *device);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Intel 8042 keyboard controller, with nothing plugged into it.
 *
 *                +--------+
 *   port 60h <-->| data   |--> IRQ 1   (keyboard port, struct irq_line)
 *   port 64h <-->| status |--> IRQ 12  (auxiliary port, struct irq_line)
 *                |        |--> reset
 *                +--------+
 *
 * Implemented: the controller itself: status, command byte and its RAM, self test, port tests, disabling and enabling
 * of both ports, input and output port, the commands that write into the output buffers, A20 commands (kept in the
 * output port; address line 20 is never masked), output pulses with reset (FEh). A byte sent to either port is answered
 * as with no device there: FEh with the time-out bit of the status.
 *
 * Not implemented: keyboard and mouse, scan code translation, the lock switch (reads as unlocked), passwords.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".
 */
#ifndef NFOLD_DEVICES_I8042_H
#define NFOLD_DEVICES_I8042_H

#include <stdbool.h>
#include <stdint.h>

#include "io/bus.h"
#include "io/irq.h"

struct i8042;

struct i8042_config {
	struct irq_line keyboard_irq, auxiliary_irq;
	void (*reset)(void *opaque); /* the processor's reset line was pulsed */
	void *reset_opaque;
};

struct i8042 *i8042_create(const struct i8042_config *config, struct error *error);
void i8042_destroy(struct i8042 *i8042);
void i8042_reset(struct i8042 *i8042);

/* Claims ports 60h and 64h. */
bool i8042_map(struct i8042 *i8042, struct io_map *ports, struct error *error);

#endif

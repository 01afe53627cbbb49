/* SPDX-License-Identifier: MIT */
/*
 * PS/2 mouse with three buttons and a wheel.
 *
 *                         +-------+
 *   motion, wheel, keys ->| mouse |<--> the PS/2 wire (io/ps2.h)
 *                         +-------+
 *
 * Implemented: all commands of the standard mouse: stream, remote and wrap mode, scaling, resolution, sample rate on
 * the virtual clock, status, identify, defaults, resend, reset with its self test (BAT); the wheel (ID 3, packets of
 * four bytes) after the sample rates 200, 100, 80. Motion that does not fit into one packet goes into the next ones.
 *
 * Not implemented: resolution (it is kept; the machine gives motion in counts), the five-button protocol. The BAT takes
 * 20 ms.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Mouse"; Microsoft, "Plug and Play support for
 * IntelliMouse".
 */
#ifndef NFOLD_DEVICES_PS2MOUSE_H
#define NFOLD_DEVICES_PS2MOUSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "io/clock.h"
#include "io/ps2.h"

#define PS2_BUTTON_LEFT 1u
#define PS2_BUTTON_RIGHT 2u
#define PS2_BUTTON_MIDDLE 4u

struct ps2mouse;

struct ps2mouse *ps2mouse_create(struct clock *clock, const struct ps2_port *port, struct error *error);
void ps2mouse_destroy(struct ps2mouse *mouse);
/* As after power came on: the BAT runs. */
void ps2mouse_reset(struct ps2mouse *mouse);
struct ps2_device ps2mouse_device(struct ps2mouse *mouse);

/* Right, down, and the wheel towards the user are positive. */
void ps2mouse_move(struct ps2mouse *mouse, int x, int y, int wheel);
/* PS2_BUTTON_* bits of the buttons that are down. */
void ps2mouse_buttons(struct ps2mouse *mouse, uint8_t buttons);

#endif

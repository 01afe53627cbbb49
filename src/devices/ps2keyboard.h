/* SPDX-License-Identifier: MIT */
/*
 * PS/2 keyboard, 104 keys and the one beside the left shift.
 *
 *                    +----------+
 *   keys down, up -->| keyboard |<--> the PS/2 wire (io/ps2.h)
 *                    |          |---> LEDs
 *                    +----------+
 *
 * Implemented: scan code sets 1, 2 and 3 with the special codes of Print Screen and Pause, a queue of 16 bytes with the
 * overrun code, typematic repeat of the last key on the virtual clock, all commands: LEDs, echo, scan code set,
 * identify, typematic rate, enable, disable, defaults, key types of set 3, resend, reset with its self test (BAT).
 *
 * Not implemented: the shift codes that a keyboard wraps around its cursor keys while Shift or Num Lock is down; key
 * types of set 3 for single keys (FBh-FDh take their keys, without effect). The BAT takes 20 ms.
 *
 * ps2keyboard-table.c holds the keys: their names, codes and characters on a US layout.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-key)".
 */
#ifndef NFOLD_DEVICES_PS2KEYBOARD_H
#define NFOLD_DEVICES_PS2KEYBOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "io/clock.h"
#include "io/ps2.h"

#define PS2_QUEUE 16u
#define PS2_CHORD_MAX 8u /* keys of one chord */

#define PS2_LED_SCROLL 1u
#define PS2_LED_NUM 2u
#define PS2_LED_CAPS 4u

enum ps2_special_key { PS2_KEY_PLAIN, PS2_KEY_PRINT, PS2_KEY_PAUSE };

/* One key. Codes above FFh have the prefix E0h. */
struct ps2_key {
	const char *name;
	uint16_t set1, set2;
	uint8_t set3;
	char plain, shifted; /* what it types, alone and with Shift; 0: nothing */
	enum ps2_special_key special;
};

extern const struct ps2_key ps2_keys[];
extern const unsigned ps2_key_count;

struct ps2keyboard;

struct ps2keyboard *ps2keyboard_create(struct clock *clock, const struct ps2_port *port, struct error *error);
void ps2keyboard_destroy(struct ps2keyboard *keyboard);
/* As after power came on: the BAT runs. Keys that are down count as up. */
void ps2keyboard_reset(struct ps2keyboard *keyboard);
struct ps2_device ps2keyboard_device(struct ps2keyboard *keyboard);

/* A key, by its row in the table, goes down or up. A key that is already there does nothing. */
void ps2keyboard_key(struct ps2keyboard *keyboard, unsigned key, bool down);
/* Everything was taken by the guest: a program that types waits for this. */
bool ps2keyboard_is_idle(const struct ps2keyboard *keyboard);
/* PS2_LED_* bits. */
uint8_t ps2keyboard_leds(const struct ps2keyboard *keyboard);

/* The row of a key's name, or -1. */
int ps2keyboard_find_name(const char *name);
/* The row of the key that types a character, and whether with Shift; -1 when none does. */
int ps2keyboard_find_character(char character, bool *shift);
/* "ctrl-alt-delete" as rows, in order; the number of them. 0 with an error when a key does not exist. */
unsigned ps2keyboard_parse_chord(const char *text, uint8_t keys[PS2_CHORD_MAX], struct error *error);

#endif

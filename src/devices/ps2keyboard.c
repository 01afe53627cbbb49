/* SPDX-License-Identifier: MIT */
#include "devices/ps2keyboard.h"

#include <stdlib.h>
#include <string.h>

#define REPLY_ACK 0xfau
#define REPLY_RESEND 0xfeu
#define REPLY_ECHO 0xeeu
#define BAT_PASSED 0xaau

#define OVERRUN_SET1 0xffu
#define OVERRUN 0x00u

#define BAT_NS UINT64_C(20000000)
#define TYPEMATIC_DEFAULT 0x2bu /* 10.9 a second after 500 ms */
#define NO_KEY UINT32_MAX

/* Commands that wait for a parameter. */
#define CMD_LEDS 0xedu
#define CMD_SET 0xf0u
#define CMD_TYPEMATIC 0xf3u
#define CMD_KEYS 0xfbu /* FBh-FDh: the next bytes name keys */

/* What a key of set 3 does when held and when let go. Sets 1 and 2 do both. */
enum key_type { KEY_TYPEMATIC_MAKE_BREAK, KEY_TYPEMATIC, KEY_MAKE_BREAK, KEY_MAKE };

/* Bytes in their order. The last place is the overrun code's. */
struct ps2_fifo {
	uint8_t byte[PS2_QUEUE + 1];
	unsigned head, count;
};

struct ps2keyboard {
	struct clock *clock;
	struct ps2_port port;
	struct clock_timer repeat, bat;
	struct ps2_fifo keys;
	struct ps2_fifo replies; /* go out before keys */
	uint64_t down[2];	 /* a bit for each key */
	uint32_t repeating;	 /* the key that repeats, or NO_KEY */
	uint8_t command;	 /* waits for its parameter; 0: none */
	uint8_t set;
	uint8_t typematic;
	uint8_t leds;
	uint8_t last_sent;
	bool scanning;
	bool overrun;	    /* the overrun code is the queue's last byte */
	enum key_type type; /* of all keys in set 3 */
};

/* ---- queues ---- */

static void fifo_clear(struct ps2_fifo *fifo)
{
	fifo->head = 0;
	fifo->count = 0;
}

static void fifo_push(struct ps2_fifo *fifo, uint8_t byte)
{
	const unsigned size = sizeof fifo->byte;
	if (fifo->count < size)
		fifo->byte[(fifo->head + fifo->count++) % size] = byte;
}

static uint8_t fifo_pop(struct ps2_fifo *fifo)
{
	uint8_t byte = fifo->byte[fifo->head];
	fifo->head = (fifo->head + 1) % (unsigned)sizeof fifo->byte;
	fifo->count--;
	return byte;
}

static void keyboard_reply(struct ps2keyboard *keyboard, uint8_t byte)
{
	fifo_push(&keyboard->replies, byte);
	ps2_ready(&keyboard->port);
}

static void keyboard_clear_keys(struct ps2keyboard *keyboard)
{
	fifo_clear(&keyboard->keys);
	keyboard->overrun = false;
	keyboard->repeating = NO_KEY;
	clock_timer_cancel(&keyboard->repeat);
}

/* A key's bytes go in together or not at all. The first that finds no room leaves the overrun code. */
static void keyboard_queue(struct ps2keyboard *keyboard, const uint8_t *bytes, unsigned count)
{
	if (keyboard->overrun)
		return;
	if (keyboard->keys.count + count > PS2_QUEUE) {
		fifo_push(&keyboard->keys, keyboard->set == 1 ? OVERRUN_SET1 : OVERRUN);
		keyboard->overrun = true;
		return;
	}
	for (unsigned i = 0; i < count; i++)
		fifo_push(&keyboard->keys, bytes[i]);
	ps2_ready(&keyboard->port);
}

/* ---- scan codes ---- */

struct scan_code {
	uint8_t byte[8];
	unsigned count;
};

static void code_add(struct scan_code *code, unsigned byte)
{
	if (code->count < sizeof code->byte)
		code->byte[code->count++] = (uint8_t)byte;
}

/* One code of set 1 or 2 as make or break code, with its prefix. */
static void code_add_key(struct scan_code *code, unsigned set, unsigned key, bool down)
{
	if (key > 0xff)
		code_add(code, key >> 8);
	if (set == 2 && !down)
		code_add(code, 0xf0);
	code_add(code, set == 1 && !down ? (key & 0xff) | 0x80 : key & 0xff);
}

static bool keyboard_is_down(const struct ps2keyboard *keyboard, const char *name, const char *other)
{
	int first = ps2keyboard_find_name(name), second = ps2keyboard_find_name(other);
	return (keyboard->down[first / 64] >> (first % 64) & 1) != 0 ||
	       (keyboard->down[second / 64] >> (second % 64) & 1) != 0;
}

/* Print Screen wraps its code in a shift, unless one is down; with Alt it is System Request. */
static void code_add_print(const struct ps2keyboard *keyboard, struct scan_code *code, bool down)
{
	unsigned set = keyboard->set;
	unsigned shift = set == 1 ? 0xe02a : 0xe012, print = set == 1 ? 0xe037 : 0xe07c;
	bool wrapped =
	    !keyboard_is_down(keyboard, "shift", "rightshift") && !keyboard_is_down(keyboard, "ctrl", "rightctrl");
	if (keyboard_is_down(keyboard, "alt", "rightalt")) {
		code_add_key(code, set, set == 1 ? 0x54 : 0x84, down);
		return;
	}
	if (wrapped && down)
		code_add_key(code, set, shift, true);
	code_add_key(code, set, print, down);
	if (wrapped && !down)
		code_add_key(code, set, shift, false);
}

/* Pause sends make and break at once, and nothing when it is let go; with Ctrl it is Break. */
static void code_add_pause(const struct ps2keyboard *keyboard, struct scan_code *code, bool down)
{
	unsigned set = keyboard->set;
	if (!down)
		return;
	if (keyboard_is_down(keyboard, "ctrl", "rightctrl")) {
		code_add_key(code, set, set == 1 ? 0xe046 : 0xe07e, true);
		code_add_key(code, set, set == 1 ? 0xe046 : 0xe07e, false);
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		code_add_key(code, set, set == 1 ? 0xe11d : 0xe114, i == 0);
		code_add_key(code, set, set == 1 ? 0x45 : 0x77, i == 0);
	}
}

static void code_add_set3(const struct ps2keyboard *keyboard, struct scan_code *code, const struct ps2_key *key,
			  bool down)
{
	bool breaks = keyboard->type == KEY_TYPEMATIC_MAKE_BREAK || keyboard->type == KEY_MAKE_BREAK;
	if (!down && !breaks)
		return;
	if (!down)
		code_add(code, 0xf0);
	code_add(code, key->set3);
}

static void keyboard_send_key(struct ps2keyboard *keyboard, unsigned row, bool down)
{
	const struct ps2_key *key = &ps2_keys[row];
	struct scan_code code = {.count = 0};
	if (keyboard->set == 3)
		code_add_set3(keyboard, &code, key, down);
	else if (key->special == PS2_KEY_PRINT)
		code_add_print(keyboard, &code, down);
	else if (key->special == PS2_KEY_PAUSE)
		code_add_pause(keyboard, &code, down);
	else
		code_add_key(&code, keyboard->set, keyboard->set == 1 ? key->set1 : key->set2, down);
	keyboard_queue(keyboard, code.byte, code.count);
}

/* ---- typematic ---- */

/* Delay 250 ms steps; period (8 + A) * 2^B / 240 s, with A and B the low bits ("Set Typematic Rate/Delay"). */
static uint64_t typematic_delay(uint8_t value)
{
	return ((value >> 5 & 3u) + 1) * (CLOCK_SECOND / 4);
}

static uint64_t typematic_period(uint8_t value)
{
	return (UINT64_C(8) + (value & 7)) * (UINT64_C(1) << (value >> 3 & 3)) * CLOCK_SECOND / 240;
}

static void keyboard_start_repeat(struct ps2keyboard *keyboard, unsigned key)
{
	bool repeats =
	    keyboard->set != 3 || keyboard->type == KEY_TYPEMATIC_MAKE_BREAK || keyboard->type == KEY_TYPEMATIC;
	if (!repeats || ps2_keys[key].special == PS2_KEY_PAUSE)
		return;
	keyboard->repeating = key;
	clock_timer_set(&keyboard->repeat, clock_now(keyboard->clock) + typematic_delay(keyboard->typematic));
}

static void keyboard_stop_repeat(struct ps2keyboard *keyboard)
{
	keyboard->repeating = NO_KEY;
	clock_timer_cancel(&keyboard->repeat);
}

/* A repeat that finds bytes waiting is left out, so that a host that does not listen sees no overrun. */
static void keyboard_repeat_fire(void *opaque)
{
	struct ps2keyboard *keyboard = opaque;
	if (keyboard->repeating == NO_KEY)
		return;
	if (keyboard->keys.count == 0)
		keyboard_send_key(keyboard, keyboard->repeating, true);
	clock_timer_set(&keyboard->repeat, clock_now(keyboard->clock) + typematic_period(keyboard->typematic));
}

void ps2keyboard_key(struct ps2keyboard *keyboard, unsigned key, bool down)
{
	if (key >= ps2_key_count)
		return;
	uint64_t *word = &keyboard->down[key / 64], bit = UINT64_C(1) << (key % 64);
	if (((*word & bit) != 0) == down)
		return;
	*word ^= bit;
	if (!down && keyboard->repeating == key)
		keyboard_stop_repeat(keyboard);
	if (!keyboard->scanning)
		return;
	keyboard_send_key(keyboard, key, down);
	if (down)
		keyboard_start_repeat(keyboard, key);
}

/* ---- commands ---- */

static void keyboard_set_defaults(struct ps2keyboard *keyboard)
{
	keyboard_clear_keys(keyboard);
	keyboard->set = 2;
	keyboard->typematic = TYPEMATIC_DEFAULT;
	keyboard->type = KEY_TYPEMATIC_MAKE_BREAK;
}

static void keyboard_start_bat(struct ps2keyboard *keyboard)
{
	keyboard_set_defaults(keyboard);
	keyboard->scanning = false;
	keyboard->leds = 0;
	keyboard->command = 0;
	clock_timer_set(&keyboard->bat, clock_now(keyboard->clock) + BAT_NS);
}

static void keyboard_bat_fire(void *opaque)
{
	struct ps2keyboard *keyboard = opaque;
	keyboard->scanning = true;
	keyboard_reply(keyboard, BAT_PASSED);
}

/* Parameter 0 asks for the set in use. */
static void keyboard_choose_set(struct ps2keyboard *keyboard, uint8_t set)
{
	if (set > 3) {
		keyboard_reply(keyboard, REPLY_RESEND);
		return;
	}
	keyboard_reply(keyboard, REPLY_ACK);
	if (set == 0) {
		keyboard_reply(keyboard, keyboard->set);
		return;
	}
	keyboard_clear_keys(keyboard);
	keyboard->set = set;
}

/* Returns whether the byte was a parameter. Commands begin at EDh, so one in place of a parameter is seen. */
static bool keyboard_take_parameter(struct ps2keyboard *keyboard, uint8_t byte)
{
	uint8_t command = keyboard->command;
	if (command == 0 || byte >= CMD_LEDS) {
		keyboard->command = 0;
		return false;
	}
	if (command != CMD_KEYS)
		keyboard->command = 0;
	if (command == CMD_SET) {
		keyboard_choose_set(keyboard, byte);
		return true;
	}
	if (command == CMD_LEDS)
		keyboard->leds = byte & 7;
	else if (command == CMD_TYPEMATIC)
		keyboard->typematic = byte & 0x7f;
	keyboard_reply(keyboard, REPLY_ACK);
	return true;
}

/* F7h-FAh: how all keys of set 3 behave. */
static enum key_type type_of_command(uint8_t command)
{
	static const enum key_type types[4] = {KEY_TYPEMATIC, KEY_MAKE_BREAK, KEY_MAKE, KEY_TYPEMATIC_MAKE_BREAK};
	return types[(command - 0xf7) & 3];
}

static void keyboard_command(struct ps2keyboard *keyboard, uint8_t command)
{
	switch (command) {
	case CMD_LEDS:
	case CMD_SET:
	case CMD_TYPEMATIC:
		keyboard->command = command;
		break;
	case 0xee:
		keyboard_reply(keyboard, REPLY_ECHO);
		return;
	case 0xf2: /* identify: an MF2 keyboard */
		keyboard_reply(keyboard, REPLY_ACK);
		keyboard_reply(keyboard, 0xab);
		keyboard_reply(keyboard, 0x83);
		return;
	case 0xf4:
		keyboard_clear_keys(keyboard);
		keyboard->scanning = true;
		break;
	case 0xf5:
	case 0xf6:
		keyboard_set_defaults(keyboard);
		keyboard->scanning = command == 0xf6;
		break;
	case 0xf7 ... 0xfa:
		keyboard->type = type_of_command(command);
		break;
	case 0xfb ... 0xfd:
		keyboard->command = CMD_KEYS;
		break;
	case 0xfe:
		keyboard_reply(keyboard, keyboard->last_sent);
		return;
	case 0xff:
		fifo_clear(&keyboard->replies);
		keyboard_start_bat(keyboard);
		break;
	default:
		keyboard_reply(keyboard, REPLY_RESEND);
		return;
	}
	keyboard_reply(keyboard, REPLY_ACK);
}

/* ---- the wire ---- */

/* A new byte from the host makes what was left of the last reply void. */
static void keyboard_receive(void *opaque, uint8_t byte)
{
	struct ps2keyboard *keyboard = opaque;
	fifo_clear(&keyboard->replies);
	if (!keyboard_take_parameter(keyboard, byte))
		keyboard_command(keyboard, byte);
}

static bool keyboard_has_byte(void *opaque)
{
	const struct ps2keyboard *keyboard = opaque;
	return keyboard->replies.count > 0 || (keyboard->keys.count > 0 && keyboard->command == 0);
}

/* No keys between a command and its parameter. */
static bool keyboard_transmit(void *opaque, uint8_t *byte)
{
	struct ps2keyboard *keyboard = opaque;
	if (!keyboard_has_byte(keyboard))
		return false;
	if (keyboard->replies.count > 0) {
		*byte = fifo_pop(&keyboard->replies);
	} else {
		*byte = fifo_pop(&keyboard->keys);
		keyboard->overrun = keyboard->overrun && keyboard->keys.count > 0;
	}
	if (*byte != REPLY_RESEND)
		keyboard->last_sent = *byte;
	return true;
}

struct ps2_device ps2keyboard_device(struct ps2keyboard *keyboard)
{
	return (struct ps2_device){.receive = keyboard_receive,
				   .transmit = keyboard_transmit,
				   .has_byte = keyboard_has_byte,
				   .opaque = keyboard};
}

bool ps2keyboard_is_idle(const struct ps2keyboard *keyboard)
{
	return keyboard->keys.count == 0 && keyboard->replies.count == 0;
}

uint8_t ps2keyboard_leds(const struct ps2keyboard *keyboard)
{
	return keyboard->leds;
}

struct ps2keyboard *ps2keyboard_create(struct clock *clock, const struct ps2_port *port, struct error *error)
{
	struct ps2keyboard *keyboard = calloc(1, sizeof *keyboard);
	if (keyboard == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for the keyboard");
		return NULL;
	}
	keyboard->clock = clock;
	keyboard->port = *port;
	clock_timer_init(&keyboard->repeat, clock, keyboard_repeat_fire, keyboard);
	clock_timer_init(&keyboard->bat, clock, keyboard_bat_fire, keyboard);
	ps2keyboard_reset(keyboard);
	return keyboard;
}

void ps2keyboard_destroy(struct ps2keyboard *keyboard)
{
	clock_timer_cancel(&keyboard->repeat);
	clock_timer_cancel(&keyboard->bat);
	free(keyboard);
}

void ps2keyboard_reset(struct ps2keyboard *keyboard)
{
	memset(keyboard->down, 0, sizeof keyboard->down);
	fifo_clear(&keyboard->replies);
	keyboard->last_sent = 0;
	keyboard_start_bat(keyboard);
}

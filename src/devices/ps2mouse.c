/* SPDX-License-Identifier: MIT */
#include "devices/ps2mouse.h"

#include <stdlib.h>
#include <string.h>

#define REPLY_ACK 0xfau
#define REPLY_RESEND 0xfeu
#define REPLY_ERROR 0xfcu /* the second invalid byte in a row */
#define BAT_PASSED 0xaau

#define ID_STANDARD 0x00u
#define ID_WHEEL 0x03u

#define CMD_RESOLUTION 0xe8u
#define CMD_RATE 0xf3u

#define STATUS_REMOTE 0x40u
#define STATUS_ENABLED 0x20u
#define STATUS_SCALING 0x10u

#define PACKET_ALWAYS 0x08u
#define PACKET_X_SIGN 0x10u
#define PACKET_Y_SIGN 0x20u

#define BAT_NS UINT64_C(20000000)
#define MOTION_LIMIT 65535 /* what is kept for later packets */
#define QUEUE 16u

struct ps2mouse {
	struct clock *clock;
	struct ps2_port port;
	struct clock_timer sample, bat;
	uint8_t queue[QUEUE]; /* a ring */
	unsigned head, count;
	int x, y, wheel; /* since the last packet; y upwards */
	uint8_t buttons, reported_buttons;
	uint8_t last_packet[4];
	unsigned last_size;
	uint8_t command; /* waits for its parameter; 0: none */
	uint8_t resolution, rate, id;
	uint8_t rates[3]; /* the last sample rates, the newest last */
	bool remote, wrap, enabled, double_scale;
	bool invalid; /* the last byte was not understood */
};

/* ---- sending ---- */

static void mouse_clear_queue(struct ps2mouse *mouse)
{
	mouse->head = 0;
	mouse->count = 0;
}

static void mouse_send(struct ps2mouse *mouse, uint8_t byte)
{
	if (mouse->count == QUEUE)
		return;
	mouse->queue[(mouse->head + mouse->count++) % QUEUE] = byte;
	ps2_ready(&mouse->port);
}

static int clamp(int value, int low, int high)
{
	return value < low ? low : value > high ? high : value;
}

/* Takes what fits into one packet out of an accumulator. */
static int mouse_take(int *motion, int low, int high)
{
	int part = clamp(*motion, low, high);
	*motion -= part;
	return part;
}

/* 2:1 scaling of what stream mode sends ("Set Scaling 2:1"). */
static int mouse_scale(int counts)
{
	static const uint8_t scaled[6] = {0, 1, 1, 3, 6, 9};
	int size = counts < 0 ? -counts : counts;
	int result = size < 6 ? scaled[size] : clamp(2 * size, 0, 255);
	return counts < 0 ? -result : result;
}

static void mouse_send_packet(struct ps2mouse *mouse, bool stream)
{
	int x = mouse_take(&mouse->x, -255, 255), y = mouse_take(&mouse->y, -255, 255);
	if (stream && mouse->double_scale) {
		x = mouse_scale(x);
		y = mouse_scale(y);
	}
	mouse->reported_buttons = mouse->buttons;
	mouse->last_packet[0] =
	    (uint8_t)(PACKET_ALWAYS | mouse->buttons | (x < 0 ? PACKET_X_SIGN : 0) | (y < 0 ? PACKET_Y_SIGN : 0));
	mouse->last_packet[1] = (uint8_t)x;
	mouse->last_packet[2] = (uint8_t)y;
	mouse->last_packet[3] = (uint8_t)mouse_take(&mouse->wheel, -8, 7);
	mouse->last_size = mouse->id == ID_WHEEL ? 4 : 3;
	for (unsigned i = 0; i < mouse->last_size; i++)
		mouse_send(mouse, mouse->last_packet[i]);
}

/* ---- stream mode ---- */

static bool mouse_has_news(const struct ps2mouse *mouse)
{
	return mouse->x != 0 || mouse->y != 0 || mouse->buttons != mouse->reported_buttons ||
	       (mouse->id == ID_WHEEL && mouse->wheel != 0);
}

static bool mouse_streams(const struct ps2mouse *mouse)
{
	return mouse->enabled && !mouse->remote && !mouse->wrap;
}

/* The sample timer runs only while there may be something to say. */
static void mouse_arm(struct ps2mouse *mouse)
{
	if (mouse_streams(mouse) && mouse_has_news(mouse) && !mouse->sample.armed)
		clock_timer_set(&mouse->sample, clock_now(mouse->clock) + CLOCK_SECOND / mouse->rate);
}

/* While the host has not taken the last packet, motion adds up. */
static void mouse_sample_fire(void *opaque)
{
	struct ps2mouse *mouse = opaque;
	if (mouse_streams(mouse) && mouse->count == 0 && mouse->command == 0 && mouse_has_news(mouse))
		mouse_send_packet(mouse, true);
	mouse_arm(mouse);
}

static void mouse_forget_motion(struct ps2mouse *mouse)
{
	mouse->x = 0;
	mouse->y = 0;
	mouse->wheel = 0;
	mouse->reported_buttons = mouse->buttons;
}

static int add_motion(int sum, int more, int limit)
{
	return clamp(sum + clamp(more, -limit, limit), -limit, limit);
}

void ps2mouse_move(struct ps2mouse *mouse, int x, int y, int wheel)
{
	mouse->x = add_motion(mouse->x, x, MOTION_LIMIT);
	mouse->y = add_motion(mouse->y, -clamp(y, -MOTION_LIMIT, MOTION_LIMIT), MOTION_LIMIT);
	mouse->wheel = add_motion(mouse->wheel, wheel, MOTION_LIMIT);
	mouse_arm(mouse);
}

void ps2mouse_buttons(struct ps2mouse *mouse, uint8_t buttons)
{
	mouse->buttons = buttons & (PS2_BUTTON_LEFT | PS2_BUTTON_RIGHT | PS2_BUTTON_MIDDLE);
	mouse_arm(mouse);
}

/* ---- commands ---- */

static void mouse_set_defaults(struct ps2mouse *mouse)
{
	clock_timer_cancel(&mouse->sample);
	mouse->rate = 100;
	mouse->resolution = 2;
	mouse->remote = false;
	mouse->wrap = false;
	mouse->enabled = false;
	mouse->double_scale = false;
	mouse_forget_motion(mouse);
}

static void mouse_start_bat(struct ps2mouse *mouse)
{
	mouse_set_defaults(mouse);
	mouse->id = ID_STANDARD;
	mouse->command = 0;
	mouse->last_size = 0;
	memset(mouse->rates, 0, sizeof mouse->rates);
	clock_timer_set(&mouse->bat, clock_now(mouse->clock) + BAT_NS);
}

static void mouse_bat_fire(void *opaque)
{
	struct ps2mouse *mouse = opaque;
	mouse_send(mouse, BAT_PASSED);
	mouse_send(mouse, mouse->id);
}

static void mouse_refuse(struct ps2mouse *mouse)
{
	mouse_send(mouse, mouse->invalid ? REPLY_ERROR : REPLY_RESEND);
	mouse->invalid = !mouse->invalid;
}

static bool is_sample_rate(uint8_t rate)
{
	static const uint8_t rates[] = {10, 20, 40, 60, 80, 100, 200};
	return memchr(rates, rate, sizeof rates) != NULL;
}

/* The knock that turns the wheel on: 200, 100, 80. */
static void mouse_set_rate(struct ps2mouse *mouse, uint8_t rate)
{
	mouse->rate = rate;
	mouse->rates[0] = mouse->rates[1];
	mouse->rates[1] = mouse->rates[2];
	mouse->rates[2] = rate;
	if (mouse->rates[0] == 200 && mouse->rates[1] == 100 && mouse->rates[2] == 80)
		mouse->id = ID_WHEEL;
}

static void mouse_take_parameter(struct ps2mouse *mouse, uint8_t byte)
{
	uint8_t command = mouse->command;
	if (command == CMD_RATE ? !is_sample_rate(byte) : byte > 3) {
		if (mouse->invalid)
			mouse->command = 0;
		mouse_refuse(mouse);
		return;
	}
	mouse->command = 0;
	mouse->invalid = false;
	if (command == CMD_RATE)
		mouse_set_rate(mouse, byte);
	else
		mouse->resolution = byte;
	mouse_send(mouse, REPLY_ACK);
	mouse_arm(mouse);
}

static void mouse_send_status(struct ps2mouse *mouse)
{
	/* Here the left button is bit 2 and the right one bit 0. */
	unsigned buttons = (mouse->buttons & PS2_BUTTON_LEFT ? 4u : 0) | (mouse->buttons & PS2_BUTTON_MIDDLE ? 2u : 0) |
			   (mouse->buttons & PS2_BUTTON_RIGHT ? 1u : 0);
	mouse_send(mouse,
		   (uint8_t)(buttons | (mouse->remote ? STATUS_REMOTE : 0) | (mouse->enabled ? STATUS_ENABLED : 0) |
			     (mouse->double_scale ? STATUS_SCALING : 0)));
	mouse_send(mouse, mouse->resolution);
	mouse_send(mouse, mouse->rate);
}

/* The last packet once more; without one, there is nothing but the self test's answer. */
static void mouse_resend(struct ps2mouse *mouse)
{
	for (unsigned i = 0; i < mouse->last_size; i++)
		mouse_send(mouse, mouse->last_packet[i]);
	if (mouse->last_size == 0) {
		mouse_send(mouse, BAT_PASSED);
		mouse_send(mouse, mouse->id);
	}
}

/* What a command does before its acknowledgement. Returns false for a byte that is no command. */
static bool mouse_execute(struct ps2mouse *mouse, uint8_t command)
{
	switch (command) {
	case 0xe6:
	case 0xe7:
		mouse->double_scale = command == 0xe7;
		return true;
	case CMD_RESOLUTION:
	case CMD_RATE:
		mouse->command = command;
		return true;
	case 0xea:
	case 0xf0:
		mouse->remote = command == 0xf0;
		mouse_forget_motion(mouse);
		return true;
	case 0xec:
	case 0xee:
		mouse->wrap = command == 0xee;
		mouse_forget_motion(mouse);
		return true;
	case 0xf4:
	case 0xf5:
		mouse->enabled = command == 0xf4;
		mouse_forget_motion(mouse);
		return true;
	case 0xf6:
		mouse_set_defaults(mouse);
		return true;
	case 0xff:
		mouse_start_bat(mouse);
		return true;
	case 0xe9: /* these answer after the acknowledgement */
	case 0xeb:
	case 0xf2:
		return true;
	default:
		return false;
	}
}

static void mouse_command(struct ps2mouse *mouse, uint8_t command)
{
	if (command == 0xfe) {
		mouse_resend(mouse);
		return;
	}
	if (!mouse_execute(mouse, command)) {
		mouse_refuse(mouse);
		return;
	}
	mouse->invalid = false;
	mouse_send(mouse, REPLY_ACK);
	if (command == 0xe9)
		mouse_send_status(mouse);
	else if (command == 0xeb)
		mouse_send_packet(mouse, false);
	else if (command == 0xf2)
		mouse_send(mouse, mouse->id);
}

/* ---- the wire ---- */

/* A byte from the host makes void what was not sent yet. In wrap mode all but two commands come back. */
static void mouse_receive(void *opaque, uint8_t byte)
{
	struct ps2mouse *mouse = opaque;
	mouse_clear_queue(mouse);
	if (mouse->wrap && byte != 0xff && byte != 0xec)
		mouse_send(mouse, byte);
	else if (mouse->command != 0 && byte < 0xe6)
		mouse_take_parameter(mouse, byte);
	else {
		mouse->command = 0;
		mouse_command(mouse, byte);
	}
}

static bool mouse_has_byte(void *opaque)
{
	const struct ps2mouse *mouse = opaque;
	return mouse->count > 0;
}

static bool mouse_transmit(void *opaque, uint8_t *byte)
{
	struct ps2mouse *mouse = opaque;
	if (mouse->count == 0)
		return false;
	*byte = mouse->queue[mouse->head];
	mouse->head = (mouse->head + 1) % QUEUE;
	mouse->count--;
	return true;
}

struct ps2_device ps2mouse_device(struct ps2mouse *mouse)
{
	return (struct ps2_device){
	    .receive = mouse_receive, .transmit = mouse_transmit, .has_byte = mouse_has_byte, .opaque = mouse};
}

struct ps2mouse *ps2mouse_create(struct clock *clock, const struct ps2_port *port, struct error *error)
{
	struct ps2mouse *mouse = calloc(1, sizeof *mouse);
	if (mouse == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for the mouse");
		return NULL;
	}
	mouse->clock = clock;
	mouse->port = *port;
	clock_timer_init(&mouse->sample, clock, mouse_sample_fire, mouse);
	clock_timer_init(&mouse->bat, clock, mouse_bat_fire, mouse);
	ps2mouse_reset(mouse);
	return mouse;
}

void ps2mouse_destroy(struct ps2mouse *mouse)
{
	clock_timer_cancel(&mouse->sample);
	clock_timer_cancel(&mouse->bat);
	free(mouse);
}

void ps2mouse_reset(struct ps2mouse *mouse)
{
	mouse_clear_queue(mouse);
	mouse->invalid = false;
	mouse_start_bat(mouse);
}

/* SPDX-License-Identifier: MIT */
#include "devices/i8042.h"

#include <stdlib.h>
#include <string.h>

#define STATUS_OUTPUT_FULL 0x01u
#define STATUS_SYSTEM 0x04u
#define STATUS_COMMAND 0x08u
#define STATUS_UNLOCKED 0x10u
#define STATUS_AUXILIARY 0x20u
#define STATUS_TIMEOUT 0x40u

#define MODE_KEYBOARD_IRQ 0x01u
#define MODE_AUXILIARY_IRQ 0x02u
#define MODE_SYSTEM 0x04u
#define MODE_KEYBOARD_OFF 0x10u
#define MODE_AUXILIARY_OFF 0x20u
#define MODE_TRANSLATE 0x40u

#define OUTPUT_NOT_RESET 0x01u
#define OUTPUT_A20 0x02u
#define OUTPUT_KEYBOARD_FULL 0x10u
#define OUTPUT_AUXILIARY_FULL 0x20u

#define SELF_TEST_PASSED 0x55u
#define PORT_TEST_PASSED 0x00u
#define NO_DEVICE_ANSWER 0xfeu
#define NO_PASSWORD 0xf1u

/* A byte on the wire: start, 8 data, parity and stop bit at 16.7 kHz, the fastest that the manual allows. */
#define BYTE_NS UINT64_C(660000)

/* Where a byte written to port 60h goes: named by the command before it. */
#define NO_COMMAND 0

struct i8042 {
	struct i8042_config config;
	uint8_t ram[32]; /* byte 0 is the command byte ("mode") */
	uint8_t status;
	uint8_t output; /* the output buffer */
	uint8_t output_port;
	uint8_t command; /* waits for its parameter */
	struct ps2_device device[I8042_PORTS];
	struct clock_timer wire; /* armed while a byte is on its way from a device */
	enum i8042_port last_port;
	bool from_device; /* the output buffer holds a device's byte */
	bool held;	  /* a device's byte that the controller's own answer has overtaken */
	uint8_t held_byte, held_flags;
	bool break_prefix; /* translation: F0h came, the next code is a break code */
};

/* Scan code set 2 to set 1 (IBM PS/2 Technical Reference, "Keyboard Scan Code Translation"). The rest stays as it is.
 */
static const uint8_t translation[0x85] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, 0x65, 0x38, 0x2a,
    0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05,
    0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a,
    0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26,
    0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63,
    0x76, 0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53,
    0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54, 0x80, 0x81, 0x82, 0x41, 0x54,
};

static void i8042_update_irq(const struct i8042 *i8042)
{
	bool full = (i8042->status & STATUS_OUTPUT_FULL) != 0;
	bool auxiliary = (i8042->status & STATUS_AUXILIARY) != 0;
	irq_set(&i8042->config.keyboard_irq, full && !auxiliary && (i8042->ram[0] & MODE_KEYBOARD_IRQ));
	irq_set(&i8042->config.auxiliary_irq, full && auxiliary && (i8042->ram[0] & MODE_AUXILIARY_IRQ));
}

/* Fills the output buffer. `flags`: STATUS_AUXILIARY, STATUS_TIMEOUT. */
static void i8042_fill(struct i8042 *i8042, uint8_t value, uint8_t flags)
{
	i8042->output = value;
	i8042->status &= (uint8_t) ~(STATUS_AUXILIARY | STATUS_TIMEOUT);
	i8042->status |= (uint8_t)(STATUS_OUTPUT_FULL | flags);
}

/* The controller's own byte. A device's byte that nobody has read yet comes again after it. */
static void i8042_answer(struct i8042 *i8042, uint8_t value, uint8_t flags)
{
	if (i8042->from_device && (i8042->status & STATUS_OUTPUT_FULL)) {
		i8042->held = true;
		i8042->held_byte = i8042->output;
		i8042->held_flags = i8042->status & STATUS_AUXILIARY;
	}
	i8042->from_device = false;
	i8042_fill(i8042, value, flags);
}

/* ---- the wires to keyboard and mouse ---- */

static bool i8042_is_attached(const struct i8042 *i8042, enum i8042_port port)
{
	return i8042->device[port].receive != NULL;
}

static bool i8042_can_transmit(const struct i8042 *i8042, enum i8042_port port)
{
	static const uint8_t off[I8042_PORTS] = {MODE_KEYBOARD_OFF, MODE_AUXILIARY_OFF};
	const struct ps2_device *device = &i8042->device[port];
	return i8042_is_attached(i8042, port) && !(i8042->ram[0] & off[port]) && device->has_byte(device->opaque);
}

/* Starts the next byte's way when there is room for it. Both ports take turns. */
static void i8042_listen(struct i8042 *i8042)
{
	if (i8042->wire.clock == NULL || i8042->wire.armed || i8042->held || (i8042->status & STATUS_OUTPUT_FULL))
		return;
	if (i8042_can_transmit(i8042, I8042_KEYBOARD) || i8042_can_transmit(i8042, I8042_AUXILIARY))
		clock_timer_set(&i8042->wire, clock_now(i8042->wire.clock) + BYTE_NS);
}

/* Returns false for the prefix of a break code, which the host does not see. */
static bool i8042_translate(struct i8042 *i8042, uint8_t *byte)
{
	if (!(i8042->ram[0] & MODE_TRANSLATE))
		return true;
	if (*byte == 0xf0) {
		i8042->break_prefix = true;
		return false;
	}
	if (*byte < sizeof translation)
		*byte = translation[*byte];
	if (i8042->break_prefix)
		*byte |= 0x80;
	i8042->break_prefix = false;
	return true;
}

static void i8042_take_byte(struct i8042 *i8042, enum i8042_port port)
{
	const struct ps2_device *device = &i8042->device[port];
	uint8_t byte;
	i8042->last_port = port;
	if (!device->transmit(device->opaque, &byte))
		return;
	if (port == I8042_KEYBOARD && !i8042_translate(i8042, &byte))
		return;
	i8042_fill(i8042, byte, port == I8042_AUXILIARY ? STATUS_AUXILIARY : 0);
	i8042->from_device = true;
	i8042_update_irq(i8042);
}

static void i8042_wire_fire(void *opaque)
{
	struct i8042 *i8042 = opaque;
	enum i8042_port first = i8042->last_port == I8042_KEYBOARD ? I8042_AUXILIARY : I8042_KEYBOARD;
	enum i8042_port second = i8042->last_port;
	if (!i8042->held && !(i8042->status & STATUS_OUTPUT_FULL)) {
		if (i8042_can_transmit(i8042, first))
			i8042_take_byte(i8042, first);
		else if (i8042_can_transmit(i8042, second))
			i8042_take_byte(i8042, second);
	}
	i8042_listen(i8042);
}

static void i8042_device_ready(void *opaque, int port)
{
	(void)port;
	i8042_listen(opaque);
}

/* A byte for a device also enables its port. Where nobody is, the controller says so. */
static void i8042_send(struct i8042 *i8042, enum i8042_port port, uint8_t byte)
{
	static const uint8_t off[I8042_PORTS] = {MODE_KEYBOARD_OFF, MODE_AUXILIARY_OFF};
	const struct ps2_device *device = &i8042->device[port];
	if (!i8042_is_attached(i8042, port)) {
		i8042_answer(i8042, NO_DEVICE_ANSWER,
			     (uint8_t)(STATUS_TIMEOUT | (port == I8042_AUXILIARY ? STATUS_AUXILIARY : 0)));
		return;
	}
	i8042->ram[0] &= (uint8_t)~off[port];
	if (port == I8042_KEYBOARD)
		i8042->break_prefix = false;
	device->receive(device->opaque, byte);
}

struct ps2_port i8042_port(struct i8042 *i8042, enum i8042_port port)
{
	return (struct ps2_port){.ready = i8042_device_ready, .opaque = i8042, .port = (int)port};
}

void i8042_attach(struct i8042 *i8042, enum i8042_port port, const struct ps2_device *device)
{
	i8042->device[port] = *device;
	i8042_listen(i8042);
}

/* ---- ports and commands ---- */

static uint8_t i8042_read_output_port(const struct i8042 *i8042)
{
	uint8_t value = i8042->output_port;
	if (i8042->status & STATUS_OUTPUT_FULL)
		value |= (i8042->status & STATUS_AUXILIARY) ? OUTPUT_AUXILIARY_FULL : OUTPUT_KEYBOARD_FULL;
	return value;
}

static void i8042_pulse_reset(struct i8042 *i8042)
{
	if (i8042->config.reset != NULL)
		i8042->config.reset(i8042->config.reset_opaque);
}

static void i8042_set_a20(struct i8042 *i8042, bool on)
{
	i8042->output_port = (uint8_t)(on ? i8042->output_port | OUTPUT_A20 : i8042->output_port & ~OUTPUT_A20);
	if (i8042->config.a20 != NULL)
		i8042->config.a20(i8042->config.a20_opaque, on);
}

static void i8042_write_output_port(struct i8042 *i8042, uint8_t value)
{
	i8042->output_port = value & OUTPUT_NOT_RESET;
	i8042_set_a20(i8042, (value & OUTPUT_A20) != 0);
	if (!(value & OUTPUT_NOT_RESET)) {
		i8042->output_port |= OUTPUT_NOT_RESET;
		i8042_pulse_reset(i8042);
	}
}

static void i8042_write_ram(struct i8042 *i8042, unsigned index, uint8_t value)
{
	i8042->ram[index] = value;
	if (index == 0)
		i8042->status =
		    (uint8_t)((i8042->status & ~STATUS_SYSTEM) | ((value & MODE_SYSTEM) ? STATUS_SYSTEM : 0));
}

/* The parameter of the command before. Without one the byte is for the keyboard. */
static void i8042_write_data(struct i8042 *i8042, uint8_t value)
{
	uint8_t command = i8042->command;
	i8042->command = NO_COMMAND;
	i8042->status &= (uint8_t)~STATUS_COMMAND;
	if (command >= 0x60 && command <= 0x7f)
		i8042_write_ram(i8042, command & 31, value);
	else if (command == 0xd1)
		i8042_write_output_port(i8042, value);
	else if (command == 0xd2)
		i8042_answer(i8042, value, 0);
	else if (command == 0xd3)
		i8042_answer(i8042, value, STATUS_AUXILIARY);
	else if (command == 0xd4)
		i8042_send(i8042, I8042_AUXILIARY, value);
	else
		i8042_send(i8042, I8042_KEYBOARD, value);
}

static void i8042_self_test(struct i8042 *i8042)
{
	i8042_write_ram(i8042, 0, MODE_SYSTEM | MODE_KEYBOARD_OFF | MODE_AUXILIARY_OFF);
	i8042_answer(i8042, SELF_TEST_PASSED, 0);
}

static void i8042_write_command(struct i8042 *i8042, uint8_t command)
{
	i8042->command = NO_COMMAND;
	i8042->status |= STATUS_COMMAND;
	switch (command) {
	case 0x20 ... 0x3f:
		i8042_answer(i8042, i8042->ram[command & 31], 0);
		break;
	case 0x60 ... 0x7f:
	case 0xd1 ... 0xd4:
		i8042->command = command;
		break;
	case 0xa4:
		i8042_answer(i8042, NO_PASSWORD, 0);
		break;
	case 0xa7:
		i8042->ram[0] |= MODE_AUXILIARY_OFF;
		break;
	case 0xa8:
		i8042->ram[0] &= (uint8_t)~MODE_AUXILIARY_OFF;
		break;
	case 0xaa:
		i8042_self_test(i8042);
		break;
	case 0xa9: /* the port's lines are neither stuck high nor low */
	case 0xab:
		i8042_answer(i8042, PORT_TEST_PASSED, 0);
		break;
	case 0xad:
		i8042->ram[0] |= MODE_KEYBOARD_OFF;
		break;
	case 0xae:
		i8042->ram[0] &= (uint8_t)~MODE_KEYBOARD_OFF;
		break;
	case 0xc0:
		i8042_answer(i8042, 0x80, 0); /* input port: not locked */
		break;
	case 0xd0:
		i8042_answer(i8042, i8042_read_output_port(i8042), 0);
		break;
	case 0xdd:
		i8042_set_a20(i8042, false);
		break;
	case 0xdf:
		i8042_set_a20(i8042, true);
		break;
	case 0xe0: /* test inputs: the clock lines of both ports, high unless inhibited */
		i8042_answer(i8042,
			     (uint8_t)(((i8042->ram[0] & MODE_KEYBOARD_OFF) ? 0 : 1) |
				       ((i8042->ram[0] & MODE_AUXILIARY_OFF) ? 0 : 2)),
			     0);
		break;
	case 0xf0 ... 0xff: /* pulses low the output bits that are zero: bit 0 is reset */
		if (!(command & 1))
			i8042_pulse_reset(i8042);
		break;
	default:
		break;
	}
}

static uint64_t i8042_read_data_port(void *opaque, uint64_t offset, unsigned size)
{
	struct i8042 *i8042 = opaque;
	(void)offset;
	(void)size;
	uint8_t value = i8042->output;
	i8042->status &= (uint8_t) ~(STATUS_OUTPUT_FULL | STATUS_AUXILIARY | STATUS_TIMEOUT);
	i8042->from_device = false;
	i8042_update_irq(i8042);
	if (i8042->held) {
		i8042->held = false;
		i8042_fill(i8042, i8042->held_byte, i8042->held_flags);
		i8042->from_device = true;
		i8042_update_irq(i8042);
	}
	i8042_listen(i8042);
	return value;
}

static void i8042_write_data_port(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *i8042 = opaque;
	(void)offset;
	(void)size;
	i8042_write_data(i8042, (uint8_t)value);
	i8042_update_irq(i8042);
	i8042_listen(i8042);
}

static uint64_t i8042_read_status_port(void *opaque, uint64_t offset, unsigned size)
{
	const struct i8042 *i8042 = opaque;
	(void)offset;
	(void)size;
	return i8042->status;
}

static void i8042_write_command_port(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *i8042 = opaque;
	(void)offset;
	(void)size;
	i8042_write_command(i8042, (uint8_t)value);
	i8042_update_irq(i8042);
	i8042_listen(i8042);
}

static const struct io_ops i8042_data_ops = {
    .read = i8042_read_data_port, .write = i8042_write_data_port, .max_size = 1};
static const struct io_ops i8042_status_ops = {
    .read = i8042_read_status_port, .write = i8042_write_command_port, .max_size = 1};

struct i8042 *i8042_create(const struct i8042_config *config, struct error *error)
{
	struct i8042 *i8042 = calloc(1, sizeof *i8042);
	if (i8042 == NULL) {
		error_set(error, ERROR_HOST, "out of memory for the keyboard controller");
		return NULL;
	}
	i8042->config = *config;
	if (config->clock != NULL)
		clock_timer_init(&i8042->wire, config->clock, i8042_wire_fire, i8042);
	i8042_reset(i8042);
	return i8042;
}

void i8042_destroy(struct i8042 *i8042)
{
	if (i8042->wire.clock != NULL)
		clock_timer_cancel(&i8042->wire);
	free(i8042);
}

void i8042_reset(struct i8042 *i8042)
{
	memset(i8042->ram, 0, sizeof i8042->ram);
	i8042->ram[0] = MODE_KEYBOARD_OFF | MODE_AUXILIARY_OFF;
	i8042->status = STATUS_UNLOCKED;
	i8042->output = 0;
	i8042->output_port = OUTPUT_NOT_RESET;
	i8042_set_a20(i8042, true);
	i8042->command = NO_COMMAND;
	i8042->from_device = false;
	i8042->held = false;
	i8042->break_prefix = false;
	i8042->last_port = I8042_AUXILIARY;
	if (i8042->wire.clock != NULL)
		clock_timer_cancel(&i8042->wire);
	i8042_update_irq(i8042);
}

bool i8042_map(struct i8042 *i8042, struct io_map *ports, struct error *error)
{
	return io_map_add(ports, 0x60, 1, &i8042_data_ops, i8042, "i8042-data", error) &&
	       io_map_add(ports, 0x64, 1, &i8042_status_ops, i8042, "i8042-status", error);
}

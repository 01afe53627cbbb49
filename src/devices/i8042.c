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

#define OUTPUT_NOT_RESET 0x01u
#define OUTPUT_A20 0x02u
#define OUTPUT_KEYBOARD_FULL 0x10u
#define OUTPUT_AUXILIARY_FULL 0x20u

#define SELF_TEST_PASSED 0x55u
#define PORT_TEST_PASSED 0x00u
#define NO_DEVICE_ANSWER 0xfeu

/* Where a byte written to port 60h goes: named by the command before it. */
#define NO_COMMAND 0

struct i8042 {
	struct i8042_config config;
	uint8_t ram[32]; /* byte 0 is the command byte ("mode") */
	uint8_t status;
	uint8_t output; /* the output buffer */
	uint8_t output_port;
	uint8_t command; /* waits for its parameter */
};

static void i8042_update_irq(const struct i8042 *i8042)
{
	bool full = (i8042->status & STATUS_OUTPUT_FULL) != 0;
	bool auxiliary = (i8042->status & STATUS_AUXILIARY) != 0;
	irq_set(&i8042->config.keyboard_irq, full && !auxiliary && (i8042->ram[0] & MODE_KEYBOARD_IRQ));
	irq_set(&i8042->config.auxiliary_irq, full && auxiliary && (i8042->ram[0] & MODE_AUXILIARY_IRQ));
}

/* Fills the output buffer. `flags`: STATUS_AUXILIARY, STATUS_TIMEOUT. */
static void i8042_answer(struct i8042 *i8042, uint8_t value, uint8_t flags)
{
	i8042->output = value;
	i8042->status &= (uint8_t) ~(STATUS_AUXILIARY | STATUS_TIMEOUT);
	i8042->status |= (uint8_t)(STATUS_OUTPUT_FULL | flags);
}

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

static void i8042_write_output_port(struct i8042 *i8042, uint8_t value)
{
	i8042->output_port = value & (OUTPUT_NOT_RESET | OUTPUT_A20);
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
		i8042_answer(i8042, NO_DEVICE_ANSWER, STATUS_AUXILIARY | STATUS_TIMEOUT);
	else
		i8042_answer(i8042, NO_DEVICE_ANSWER, STATUS_TIMEOUT);
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
		i8042->output_port &= (uint8_t)~OUTPUT_A20;
		break;
	case 0xdf:
		i8042->output_port |= OUTPUT_A20;
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
	i8042->status &= (uint8_t) ~(STATUS_OUTPUT_FULL | STATUS_AUXILIARY | STATUS_TIMEOUT);
	i8042_update_irq(i8042);
	return i8042->output;
}

static void i8042_write_data_port(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *i8042 = opaque;
	(void)offset;
	(void)size;
	i8042_write_data(i8042, (uint8_t)value);
	i8042_update_irq(i8042);
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
	i8042_reset(i8042);
	return i8042;
}

void i8042_destroy(struct i8042 *i8042)
{
	free(i8042);
}

void i8042_reset(struct i8042 *i8042)
{
	memset(i8042->ram, 0, sizeof i8042->ram);
	i8042->ram[0] = MODE_KEYBOARD_OFF | MODE_AUXILIARY_OFF;
	i8042->status = STATUS_UNLOCKED;
	i8042->output = 0;
	i8042->output_port = OUTPUT_NOT_RESET | OUTPUT_A20;
	i8042->command = NO_COMMAND;
	i8042_update_irq(i8042);
}

bool i8042_map(struct i8042 *i8042, struct io_map *ports, struct error *error)
{
	return io_map_add(ports, 0x60, 1, &i8042_data_ops, i8042, "i8042-data", error) &&
	       io_map_add(ports, 0x64, 1, &i8042_status_ops, i8042, "i8042-status", error);
}

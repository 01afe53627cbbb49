/* SPDX-License-Identifier: MIT */
#include "devices/i8237.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_DISABLE 0x04u

#define MODE_TRANSFER 0x0cu
#define MODE_VERIFY 0x00u
#define MODE_WRITE 0x04u /* device to memory */
#define MODE_READ 0x08u	 /* memory to device */
#define MODE_AUTOINIT 0x10u
#define MODE_DECREMENT 0x20u
#define MODE_KIND 0xc0u
#define MODE_CASCADE 0xc0u

#define REQUEST_SET 0x04u
#define MASK_SET 0x04u

#define CHUNK 512u /* bytes moved between looks at DREQ */

enum i8237_register {
	DMA_STATUS_COMMAND = 8,
	DMA_REQUEST = 9,
	DMA_MASK_ONE = 10,
	DMA_MODE = 11,
	DMA_CLEAR_POINTER = 12,
	DMA_TEMPORARY_CLEAR = 13,
	DMA_CLEAR_MASK = 14,
	DMA_MASK_ALL = 15,
};

/* Which page register, of ports 80h-8Fh, belongs to which channel (PC/AT; channel 4's is the refresh page). */
static const uint8_t page_of_channel[I8237_CHANNELS] = {0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa};

struct dma_channel {
	uint16_t base_address, base_count;
	uint16_t address, count;
	uint8_t mode;
	bool running; /* its device is being called: no second round from within */
	struct dma_device device;
};

struct dma_chip {
	struct dma_channel channel[4];
	uint8_t command, mask; /* mask: a bit for each channel */
	uint8_t dreq, software_request, terminal_count;
	bool high_byte; /* the byte pointer flip-flop */
};

struct i8237 {
	struct memory *memory;
	struct dma_chip chip[2]; /* channels 0-3, and 4-7 */
	uint8_t page[16];
};

static uint8_t channel_bit(unsigned line)
{
	return (uint8_t)(1u << line);
}

static struct dma_channel *dma_channel_of(struct i8237 *dma, unsigned number)
{
	return &dma->chip[number / 4].channel[number % 4];
}

/* ---- transfers ---- */

/* The channel's address on the bus. Channels 5-7 count words and ignore bit 0 of the page. */
static uint32_t dma_bus_address(const struct i8237 *dma, unsigned number, uint16_t address)
{
	uint32_t page = dma->page[page_of_channel[number]];
	if (number < 4)
		return page << 16 | address;
	return (page & 0xfe) << 16 | (uint32_t)address << 1;
}

/* How many units lie in one piece, from the address on upwards, before the 16-bit address wraps. */
static uint32_t dma_units_in_piece(const struct dma_channel *channel, unsigned width)
{
	uint32_t units = channel->count + UINT32_C(1);
	uint32_t to_wrap = UINT32_C(0x10000) - channel->address;
	uint32_t chunk = CHUNK / width;
	if (channel->mode & MODE_DECREMENT)
		return 1;
	units = units < to_wrap ? units : to_wrap;
	return units < chunk ? units : chunk;
}

/* Between the device and one piece of memory. Returns the bytes moved. */
static unsigned dma_move(struct i8237 *dma, const struct dma_channel *channel, uint32_t address, unsigned size)
{
	uint8_t bytes[CHUNK];
	const struct dma_device *device = &channel->device;
	unsigned kind = channel->mode & MODE_TRANSFER;
	if (kind == MODE_READ) {
		if (device->write == NULL)
			return 0;
		memset(bytes, 0xff, size);
		(void)memory_read(dma->memory, address, bytes, size);
		return device->write(device->opaque, bytes, size);
	}
	if (device->read == NULL || (kind != MODE_WRITE && kind != MODE_VERIFY))
		return 0;
	unsigned moved = device->read(device->opaque, bytes, size);
	assert(moved <= size);
	if (kind == MODE_WRITE)
		(void)memory_write(dma->memory, address, bytes, moved);
	return moved;
}

/* Returns whether the count has ended: it rolled over from 0 to FFFFh. */
static bool dma_count(struct dma_channel *channel, uint32_t units)
{
	bool ended = units > channel->count;
	channel->address =
	    (uint16_t)((channel->mode & MODE_DECREMENT) ? channel->address - units : channel->address + units);
	channel->count = (uint16_t)(channel->count - units);
	return ended;
}

static void dma_end(struct dma_chip *chip, unsigned line)
{
	struct dma_channel *channel = &chip->channel[line];
	chip->terminal_count |= channel_bit(line);
	chip->software_request &= (uint8_t)~channel_bit(line);
	if (channel->mode & MODE_AUTOINIT) {
		channel->address = channel->base_address;
		channel->count = channel->base_count;
	} else {
		chip->mask |= channel_bit(line);
	}
	if (channel->device.terminal_count != NULL)
		channel->device.terminal_count(channel->device.opaque);
}

/* Channels of the first chip reach the bus through the cascade of the second. */
static bool dma_cascade_open(const struct i8237 *dma)
{
	const struct dma_chip *chip = &dma->chip[1];
	return !(chip->command & COMMAND_DISABLE) && !(chip->mask & 1) &&
	       (chip->channel[0].mode & MODE_KIND) == MODE_CASCADE;
}

static bool dma_may_run(const struct i8237 *dma, unsigned number)
{
	const struct dma_chip *chip = &dma->chip[number / 4];
	uint8_t bit = channel_bit(number % 4);
	if (number == I8237_CASCADE || (chip->command & COMMAND_DISABLE) ||
	    (chip->channel[number % 4].mode & MODE_KIND) == MODE_CASCADE)
		return false;
	if (number < 4 && !dma_cascade_open(dma))
		return false;
	/* Software requests are not maskable (data sheet, "Request Register"). */
	return (chip->software_request & bit) != 0 || ((chip->dreq & bit) && !(chip->mask & bit));
}

/*
 * Runs a channel until its device pauses, lowers DREQ, or the count ends. One count at most, so that autoinitialization
 * cannot go on for ever: a device that wants another round raises DREQ again.
 */
static void dma_run_channel(struct i8237 *dma, unsigned number)
{
	struct dma_channel *channel = dma_channel_of(dma, number);
	unsigned width = number < 4 ? 1 : 2;
	if (channel->running)
		return;
	channel->running = true;
	while (dma_may_run(dma, number)) {
		uint32_t units = dma_units_in_piece(channel, width);
		uint32_t address = dma_bus_address(dma, number, channel->address);
		uint32_t moved = dma_move(dma, channel, address, units * width) / width;
		if (moved > 0 && dma_count(channel, moved)) {
			dma_end(&dma->chip[number / 4], number % 4);
			break;
		}
		if (moved < units)
			break;
	}
	channel->running = false;
}

static void dma_run_all(struct i8237 *dma)
{
	for (unsigned i = 0; i < I8237_CHANNELS; i++)
		dma_run_channel(dma, i);
}

static void dma_set_request(void *opaque, int channel, bool level)
{
	struct i8237 *dma = opaque;
	struct dma_chip *chip = &dma->chip[channel / 4];
	uint8_t bit = channel_bit((unsigned)channel % 4);
	chip->dreq = (uint8_t)(level ? chip->dreq | bit : chip->dreq & ~bit);
	if (level)
		dma_run_channel(dma, (unsigned)channel);
}

struct dma_request i8237_attach(struct i8237 *dma, int channel, const struct dma_device *device)
{
	assert(channel >= 0 && channel < I8237_CHANNELS && channel != I8237_CASCADE);
	dma_channel_of(dma, (unsigned)channel)->device = *device;
	return (struct dma_request){.set = dma_set_request, .opaque = dma, .channel = channel};
}

/* ---- registers ---- */

static uint8_t dma_read_half(struct dma_chip *chip, uint16_t value)
{
	bool high = chip->high_byte;
	chip->high_byte = !high;
	return (uint8_t)(high ? value >> 8 : value);
}

/* Base and current register are written together. */
static void dma_write_half(struct dma_chip *chip, uint16_t *base, uint16_t *current, uint8_t value)
{
	*base = (uint16_t)(chip->high_byte ? (*base & 0x00ff) | value << 8 : (*base & 0xff00) | value);
	*current = (uint16_t)(chip->high_byte ? (*current & 0x00ff) | value << 8 : (*current & 0xff00) | value);
	chip->high_byte = !chip->high_byte;
}

static void dma_chip_clear(struct dma_chip *chip)
{
	chip->command = 0;
	chip->software_request = 0;
	chip->terminal_count = 0;
	chip->high_byte = false;
	chip->mask = 0x0f;
}

static uint8_t dma_read_status(struct dma_chip *chip)
{
	uint8_t status = (uint8_t)((unsigned)(chip->dreq | chip->software_request) << 4 | chip->terminal_count);
	chip->terminal_count = 0;
	return status;
}

static uint8_t dma_chip_read(struct dma_chip *chip, unsigned reg)
{
	if (reg < 8) {
		const struct dma_channel *channel = &chip->channel[reg / 2];
		return dma_read_half(chip, (reg & 1) ? channel->count : channel->address);
	}
	if (reg == DMA_STATUS_COMMAND)
		return dma_read_status(chip);
	if (reg == DMA_MASK_ALL)
		return (uint8_t)(chip->mask | 0xf0);
	return 0; /* the temporary register: no memory-to-memory transfer has filled it */
}

static uint8_t set_or_clear(uint8_t bits, uint8_t bit, bool set)
{
	return (uint8_t)(set ? bits | bit : bits & ~bit);
}

static void dma_chip_write_control(struct dma_chip *chip, unsigned reg, uint8_t value)
{
	uint8_t bit = channel_bit(value & 3);
	switch (reg) {
	case DMA_STATUS_COMMAND:
		chip->command = value;
		break;
	case DMA_REQUEST:
		chip->software_request = set_or_clear(chip->software_request, bit, value & REQUEST_SET);
		break;
	case DMA_MASK_ONE:
		chip->mask = set_or_clear(chip->mask, bit, value & MASK_SET);
		break;
	case DMA_MODE:
		chip->channel[value & 3].mode = value;
		break;
	case DMA_CLEAR_POINTER:
		chip->high_byte = false;
		break;
	case DMA_TEMPORARY_CLEAR:
		dma_chip_clear(chip);
		break;
	case DMA_CLEAR_MASK:
		chip->mask = 0;
		break;
	default: /* DMA_MASK_ALL */
		chip->mask = value & 0x0f;
		break;
	}
}

static void dma_chip_write(struct dma_chip *chip, unsigned reg, uint8_t value)
{
	struct dma_channel *channel = &chip->channel[reg / 2 % 4];
	if (reg >= 8)
		dma_chip_write_control(chip, reg, value);
	else if (reg & 1)
		dma_write_half(chip, &channel->base_count, &channel->count, value);
	else
		dma_write_half(chip, &channel->base_address, &channel->address, value);
}

static uint64_t dma_read_first(void *opaque, uint64_t offset, unsigned size)
{
	struct i8237 *dma = opaque;
	(void)size;
	return dma_chip_read(&dma->chip[0], (unsigned)offset);
}

static void dma_write_first(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8237 *dma = opaque;
	(void)size;
	dma_chip_write(&dma->chip[0], (unsigned)offset, (uint8_t)value);
	dma_run_all(dma);
}

/* The second chip's registers are two ports apart; the odd ports mirror the even ones. */
static uint64_t dma_read_second(void *opaque, uint64_t offset, unsigned size)
{
	struct i8237 *dma = opaque;
	(void)size;
	return dma_chip_read(&dma->chip[1], (unsigned)offset / 2);
}

static void dma_write_second(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8237 *dma = opaque;
	(void)size;
	dma_chip_write(&dma->chip[1], (unsigned)offset / 2, (uint8_t)value);
	dma_run_all(dma);
}

static uint64_t dma_read_page(void *opaque, uint64_t offset, unsigned size)
{
	const struct i8237 *dma = opaque;
	(void)size;
	return dma->page[offset];
}

static void dma_write_page(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8237 *dma = opaque;
	(void)size;
	dma->page[offset] = (uint8_t)value;
}

static const struct io_ops first_ops = {.read = dma_read_first, .write = dma_write_first, .max_size = 1};
static const struct io_ops second_ops = {.read = dma_read_second, .write = dma_write_second, .max_size = 1};
static const struct io_ops page_ops = {.read = dma_read_page, .write = dma_write_page, .max_size = 1};

bool i8237_map(struct i8237 *dma, struct io_map *ports, struct error *error)
{
	return io_map_add(ports, 0x00, 16, &first_ops, dma, "i8237-1", error) &&
	       io_map_add(ports, 0x80, 16, &page_ops, dma, "i8237-page", error) &&
	       io_map_add(ports, 0xc0, 32, &second_ops, dma, "i8237-2", error);
}

struct i8237 *i8237_create(struct memory *memory, struct error *error)
{
	struct i8237 *dma = calloc(1, sizeof *dma);
	if (dma == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for the DMA controllers");
		return NULL;
	}
	dma->memory = memory;
	i8237_reset(dma);
	return dma;
}

void i8237_destroy(struct i8237 *dma)
{
	free(dma);
}

/* DREQ lines are the devices'; they stay as they are. */
void i8237_reset(struct i8237 *dma)
{
	for (unsigned i = 0; i < I8237_CHANNELS; i++) {
		struct dma_channel *channel = dma_channel_of(dma, i);
		const struct dma_device device = channel->device;
		*channel = (struct dma_channel){.device = device};
	}
	dma_chip_clear(&dma->chip[0]);
	dma_chip_clear(&dma->chip[1]);
	memset(dma->page, 0, sizeof dma->page);
}

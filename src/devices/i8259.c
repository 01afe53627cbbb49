/* SPDX-License-Identifier: MIT */
#include "devices/i8259.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define PIC_CASCADE 2u
#define PIC_NONE 8u /* no input */

/* Inputs that the PIIX4 wires to edge-triggered sources: their ELCR bits read as zero. */
#define ELCR_MASTER_MASK 0xf8u
#define ELCR_SLAVE_MASK 0xdeu

#define ICW1_START 0x10u
#define ICW1_LEVEL 0x08u
#define ICW1_SINGLE 0x02u
#define ICW1_ICW4 0x01u
#define ICW4_SPECIAL_NESTED 0x10u
#define ICW4_AUTO_EOI 0x02u
#define OCW3_SELECT 0x08u
#define OCW3_SET_MASK_MODE 0x40u
#define OCW3_MASK_MODE 0x20u
#define OCW3_POLL 0x04u
#define OCW3_READ_REGISTER 0x02u
#define OCW3_READ_ISR 0x01u

enum pic_expect { EXPECT_OCW, EXPECT_ICW2, EXPECT_ICW3, EXPECT_ICW4 };

struct pic_chip {
	uint8_t line; /* levels of the inputs */
	uint8_t edge; /* edge latches: set by a rising input, cleared by the acknowledge and by the fall */
	uint8_t mask, service;
	uint8_t elcr, elcr_mask;
	uint8_t vector_base;
	uint8_t icw1, icw4;
	uint8_t lowest; /* the input of lowest priority */
	enum pic_expect expect;
	bool special_mask, rotate_auto, poll, read_service;
	bool master;
	struct i8259 *pair;
	struct irq_watcher watcher[8];
};

struct i8259 {
	struct pic_chip chip[2]; /* master, slave */
	struct irq_line intr;
};

/* ---- requests and priorities ---- */

static uint8_t chip_level_inputs(const struct pic_chip *chip)
{
	return (chip->icw1 & ICW1_LEVEL) ? 0xff : chip->elcr;
}

static uint8_t chip_requests(const struct pic_chip *chip)
{
	uint8_t level = chip_level_inputs(chip);
	return (uint8_t)((chip->line & level) | (chip->edge & ~level));
}

/* The input of highest priority among `inputs`, or PIC_NONE. */
static unsigned chip_highest(const struct pic_chip *chip, uint8_t inputs)
{
	for (unsigned i = 1; i <= 8; i++) {
		unsigned input = (chip->lowest + i) & 7;
		if (inputs & BIT32(input))
			return input;
	}
	return PIC_NONE;
}

/* 0 is the highest priority, 8 that of PIC_NONE. */
static unsigned chip_priority(const struct pic_chip *chip, unsigned input)
{
	return input == PIC_NONE ? 8 : (input - chip->lowest - 1) & 7;
}

/*
 * The input that raises INT, or PIC_NONE. A request must be of higher priority than everything in service. Special mask
 * mode lets masked inputs in service block nobody. Special fully nested mode lets the slave interrupt itself.
 */
static unsigned chip_pending(const struct pic_chip *chip)
{
	unsigned input = chip_highest(chip, chip_requests(chip) & (uint8_t)~chip->mask);
	if (input == PIC_NONE)
		return PIC_NONE;
	uint8_t service = chip->service;
	if (chip->special_mask)
		service &= (uint8_t)~chip->mask;
	if (chip->master && (chip->icw4 & ICW4_SPECIAL_NESTED) && input == PIC_CASCADE)
		service &= (uint8_t)~BIT32(PIC_CASCADE);
	if (chip_priority(chip, input) >= chip_priority(chip, chip_highest(chip, service)))
		return PIC_NONE;
	return input;
}

static void chip_set_line(struct pic_chip *chip, unsigned input, bool level)
{
	uint8_t bit = (uint8_t)BIT32(input);
	if (level) {
		chip->edge |= (uint8_t)(bit & ~chip->line);
		chip->line |= bit;
	} else {
		chip->edge &= (uint8_t)~bit;
		chip->line &= (uint8_t)~bit;
	}
}

/* Carries the slave's INT to the master and the master's to the processor. */
static void pic_update(struct i8259 *pic)
{
	chip_set_line(&pic->chip[0], PIC_CASCADE, chip_pending(&pic->chip[1]) != PIC_NONE);
	irq_set(&pic->intr, chip_pending(&pic->chip[0]) != PIC_NONE);
}

void i8259_input(void *opaque, int input, bool level)
{
	struct i8259 *pic = opaque;
	if (input < 0 || input > 15 || input == (int)PIC_CASCADE)
		return;
	chip_set_line(&pic->chip[input >> 3], (unsigned)input & 7, level);
	pic_update(pic);
}

/* ---- acknowledge ---- */

/* Takes the pending input into service. Without one the chip answers as for IR7 and sets nothing. */
static unsigned chip_acknowledge(struct pic_chip *chip)
{
	unsigned input = chip_pending(chip);
	if (input == PIC_NONE)
		return PIC_NONE;
	uint8_t bit = (uint8_t)BIT32(input);
	chip->edge &= (uint8_t)~bit;
	if (!(chip->icw4 & ICW4_AUTO_EOI))
		chip->service |= bit;
	else if (chip->rotate_auto)
		chip->lowest = (uint8_t)input;
	if (chip->watcher[input].taken != NULL)
		chip->watcher[input].taken(chip->watcher[input].opaque);
	return input;
}

static uint8_t chip_vector(const struct pic_chip *chip, unsigned input)
{
	return (uint8_t)(chip->vector_base | (input == PIC_NONE ? 7 : input));
}

uint8_t i8259_acknowledge(struct i8259 *pic)
{
	struct pic_chip *answers = &pic->chip[0];
	unsigned input = chip_acknowledge(answers);
	if (input == PIC_CASCADE && !(answers->icw1 & ICW1_SINGLE)) {
		answers = &pic->chip[1];
		input = chip_acknowledge(answers);
	}
	uint8_t vector = chip_vector(answers, input);
	pic_update(pic);
	return vector;
}

/* ---- commands ---- */

static void chip_set_mask(struct pic_chip *chip, uint8_t mask)
{
	uint8_t unmasked = chip->mask & (uint8_t)~mask;
	chip->mask = mask;
	for (unsigned i = 0; i < 8; i++)
		if ((unmasked & BIT32(i)) && chip->watcher[i].unmasked != NULL)
			chip->watcher[i].unmasked(chip->watcher[i].opaque);
}

static void chip_start(struct pic_chip *chip, uint8_t icw1)
{
	chip->icw1 = icw1;
	chip->icw4 = 0;
	chip->edge = 0;
	chip_set_mask(chip, 0);
	chip->service = 0;
	chip->lowest = 7;
	chip->special_mask = false;
	chip->rotate_auto = false;
	chip->poll = false;
	chip->read_service = false;
	chip->expect = EXPECT_ICW2;
}

/* OCW2: bits 7:5 are R (rotate), SL (the input is given), EOI. */
static void chip_end_of_interrupt(struct pic_chip *chip, bool rotate, bool specific, unsigned input)
{
	if (!specific) {
		uint8_t service = chip->service;
		if (chip->special_mask) /* masked inputs are not cleared by a non-specific EOI */
			service &= (uint8_t)~chip->mask;
		input = chip_highest(chip, service);
	}
	if (input == PIC_NONE)
		return;
	chip->service &= (uint8_t)~BIT32(input);
	if (rotate)
		chip->lowest = (uint8_t)input;
}

static void chip_ocw2(struct pic_chip *chip, uint8_t value)
{
	bool rotate = (value & 0x80) != 0, specific = (value & 0x40) != 0, end = (value & 0x20) != 0;
	if (end)
		chip_end_of_interrupt(chip, rotate, specific, value & 7);
	else if (specific && rotate)
		chip->lowest = value & 7;
	else if (!specific)
		chip->rotate_auto = rotate;
}

static void chip_ocw3(struct pic_chip *chip, uint8_t value)
{
	if (value & OCW3_SET_MASK_MODE)
		chip->special_mask = (value & OCW3_MASK_MODE) != 0;
	if (value & OCW3_READ_REGISTER)
		chip->read_service = (value & OCW3_READ_ISR) != 0;
	chip->poll = (value & OCW3_POLL) != 0;
}

static void chip_write_command(struct pic_chip *chip, uint8_t value)
{
	if (value & ICW1_START)
		chip_start(chip, value);
	else if (value & OCW3_SELECT)
		chip_ocw3(chip, value);
	else
		chip_ocw2(chip, value);
}

static void chip_write_data(struct pic_chip *chip, uint8_t value)
{
	switch (chip->expect) {
	case EXPECT_ICW2:
		chip->vector_base = value & 0xf8;
		chip->expect = EXPECT_ICW3;
		if (!(chip->icw1 & ICW1_SINGLE))
			return;
		break;
	case EXPECT_ICW3: /* the cascade is wired, whatever this says */
		break;
	case EXPECT_ICW4:
		chip->icw4 = value;
		chip->expect = EXPECT_OCW;
		return;
	case EXPECT_OCW:
		chip_set_mask(chip, value);
		return;
	}
	chip->expect = (chip->icw1 & ICW1_ICW4) ? EXPECT_ICW4 : EXPECT_OCW;
}

/* The poll command makes the next read an acknowledge: bit 7 says that bits 2:0 are an input now in service. */
static uint8_t chip_poll(struct pic_chip *chip)
{
	chip->poll = false;
	unsigned input = chip_acknowledge(chip);
	return input == PIC_NONE ? 0 : (uint8_t)(0x80 | input);
}

static uint64_t pic_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pic_chip *chip = opaque;
	(void)size;
	if (chip->poll) {
		uint8_t answer = chip_poll(chip);
		pic_update(chip->pair);
		return answer;
	}
	if (offset == 1)
		return chip->mask;
	return chip->read_service ? chip->service : chip_requests(chip);
}

static void pic_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct pic_chip *chip = opaque;
	(void)size;
	if (offset == 0)
		chip_write_command(chip, (uint8_t)value);
	else
		chip_write_data(chip, (uint8_t)value);
	pic_update(chip->pair);
}

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i8259 *pic = opaque;
	(void)size;
	return pic->chip[offset].elcr;
}

static void elcr_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8259 *pic = opaque;
	struct pic_chip *chip = &pic->chip[offset];
	(void)size;
	chip->elcr = (uint8_t)value & chip->elcr_mask;
	pic_update(pic);
}

static const struct io_ops pic_ops = {.read = pic_read, .write = pic_write, .max_size = 1};
static const struct io_ops elcr_ops = {.read = elcr_read, .write = elcr_write, .max_size = 1};

/* ---- life ---- */

struct i8259 *i8259_create(const struct irq_line *intr, struct error *error)
{
	struct i8259 *pic = calloc(1, sizeof *pic);
	if (pic == NULL) {
		error_set(error, ERROR_HOST, "out of memory for the interrupt controllers");
		return NULL;
	}
	pic->intr = *intr;
	for (int i = 0; i < 2; i++)
		pic->chip[i].pair = pic;
	pic->chip[0].master = true;
	pic->chip[0].elcr_mask = ELCR_MASTER_MASK;
	pic->chip[1].elcr_mask = ELCR_SLAVE_MASK;
	i8259_reset(pic);
	return pic;
}

void i8259_destroy(struct i8259 *pic)
{
	free(pic);
}

/* The 8259A has no reset pin: it waits for ICW1. Until then nothing is requested here, as everything is masked. */
void i8259_reset(struct i8259 *pic)
{
	for (int i = 0; i < 2; i++) {
		struct pic_chip *chip = &pic->chip[i];
		chip_start(chip, 0);
		chip->expect = EXPECT_OCW;
		chip->vector_base = 0;
		chip->elcr = 0;
		chip->mask = 0xff;
	}
	pic_update(pic);
}

bool i8259_map(struct i8259 *pic, struct io_map *ports, struct error *error)
{
	return io_map_add(ports, 0x20, 2, &pic_ops, &pic->chip[0], "i8259-master", error) &&
	       io_map_add(ports, 0xa0, 2, &pic_ops, &pic->chip[1], "i8259-slave", error) &&
	       io_map_add(ports, 0x4d0, 2, &elcr_ops, pic, "i8259-elcr", error);
}

void i8259_watch(struct i8259 *pic, int irq, const struct irq_watcher *watcher)
{
	assert(irq >= 0 && irq < 16);
	pic->chip[irq / 8].watcher[irq % 8] = *watcher;
}

bool i8259_is_masked(const struct i8259 *pic, int irq)
{
	assert(irq >= 0 && irq < 16);
	return (pic->chip[irq / 8].mask & BIT32(irq % 8)) != 0;
}

void i8259_set_level_triggered(struct i8259 *pic, uint16_t irqs)
{
	elcr_write(pic, 0, 1, irqs & 0xff);
	elcr_write(pic, 1, 1, irqs >> 8);
}

/* SPDX-License-Identifier: MIT */
#include "devices/coprocessor.h"

#define COPROCESSOR_PORT 0xf0

static uint64_t coprocessor_read(void *opaque, uint64_t offset, unsigned size)
{
	(void)opaque;
	(void)offset;
	(void)size;
	return 0xff;
}

static void coprocessor_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	const struct coprocessor *coprocessor = opaque;
	(void)offset;
	(void)size;
	(void)value;
	irq_set(&coprocessor->irq, false);
}

static const struct io_ops coprocessor_ops = {.read = coprocessor_read, .write = coprocessor_write, .max_size = 1};

static void coprocessor_ferr(void *opaque, int input, bool level)
{
	const struct coprocessor *coprocessor = opaque;
	(void)input;
	if (level)
		irq_set(&coprocessor->irq, true);
}

void coprocessor_init(struct coprocessor *coprocessor, const struct irq_line *irq)
{
	*coprocessor = (struct coprocessor){.irq = *irq};
}

void coprocessor_reset(struct coprocessor *coprocessor)
{
	irq_set(&coprocessor->irq, false);
}

bool coprocessor_map(struct coprocessor *coprocessor, struct io_map *ports, struct error *error)
{
	return io_map_add(ports, COPROCESSOR_PORT, 2, &coprocessor_ops, coprocessor, "coprocessor", error);
}

struct irq_line coprocessor_error(struct coprocessor *coprocessor)
{
	return (struct irq_line){.set = coprocessor_ferr, .opaque = coprocessor};
}

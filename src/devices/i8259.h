/* SPDX-License-Identifier: MIT */
/*
 * Intel 8259A programmable interrupt controllers: the PC's cascaded pair, with the PCI chip sets' ELCR.
 *
 *               +-------+               +-------+
 *   IR0  IRQ0 ->|       |   IR0  IRQ8 ->|       |
 *   IR1  IRQ1 ->| 20h   |   IR1  IRQ9 ->| A0h   |
 *   IR2      +->| 21h   |--> INTR       | A1h   |--+
 *   ...      |  | 4D0h  |   ...         | 4D1h  |  |
 *   IR7  IRQ7 ->|       |   IR7 IRQ15 ->|       |  |
 *            |  +-------+               +-------+  |
 *            +-------------------------------------+
 *
 * Implemented: ICW1-ICW4 with cascading, single mode, automatic EOI, special fully nested mode; OCW1-OCW3 with all EOI
 * and rotation commands, poll, special mask mode, IRR and ISR reading; edge and level triggering by LTIM and by the
 * ELCR ports; the spurious IR7 (vector 7 of either chip) when a request is gone before its acknowledge.
 *
 * Edge triggered inputs must stay high until the acknowledge (data sheet, "Interrupt Triggering"): a falling input
 * takes its request back.
 *
 * Not implemented: the 8080/8085 mode (ICW4 bit 0 clear, ADI, call addresses; taken as 8086 mode), buffered
 * mode (a matter of pins), slaves elsewhere than on IR2.
 *
 * Sources: 8259A data sheet 231468-003; 82371AB (PIIX4) data sheet for the ELCR.
 */
#ifndef NFOLD_DEVICES_I8259_H
#define NFOLD_DEVICES_I8259_H

#include <stdbool.h>
#include <stdint.h>

#include "io/bus.h"
#include "io/irq.h"

struct i8259;

/* `intr` is the master's INTR output. */
struct i8259 *i8259_create(const struct irq_line *intr, struct error *error);
void i8259_destroy(struct i8259 *pic);
void i8259_reset(struct i8259 *pic);

/* Claims 20h-21h, A0h-A1h and 4D0h-4D1h. */
bool i8259_map(struct i8259 *pic, struct io_map *ports, struct error *error);

/* An irq_line's `set`: opaque is the struct i8259, input 0-15 the IRQ. IRQ2 is the cascade and ignored. */
void i8259_input(void *opaque, int input, bool level);

/* The processor's acknowledge cycle: returns the vector. Spurious when nothing is requested. */
uint8_t i8259_acknowledge(struct i8259 *pic);

/* Tells of an input's fate. `watcher` is copied; the functions may be NULL. */
void i8259_watch(struct i8259 *pic, int irq, const struct irq_watcher *watcher);

/* Whether the guest keeps an input from reaching the processor. */
bool i8259_is_masked(const struct i8259 *pic, int irq);

/* What firmware programs into the ELCR: one bit for each level-triggered IRQ. IRQ 0, 1, 2, 8 and 13 stay edge. */
void i8259_set_level_triggered(struct i8259 *pic, uint16_t irqs);

#endif

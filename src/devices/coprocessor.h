/* SPDX-License-Identifier: MIT */
/*
 * The chipset's part in x87 errors as PCs since the AT report them: ports F0h and F1h.
 *
 *   FERR# of the processor -->|latch|--> IRQ 13
 *                                ^
 *          write to F0h or F1h --+ clears it
 *
 * The processor asserts FERR# instead of raising #MF while CR0.NE is clear (SDM 3A 8.7; SDM 1, appendix D). The
 * firmware's handler of IRQ 13 writes to F0h and goes on with INT 2, where programs wait.
 *
 * Implemented: the above. Not implemented: IGNNE#, by which the processor would let FPU instructions that check for
 * errors pass between that write and the clearing of the error. F1h reset the 287 itself; later FPUs do not listen.
 *
 * Source: 82371AB data sheet, "Coprocessor error register" (F0h).
 */
#ifndef NFOLD_DEVICES_COPROCESSOR_H
#define NFOLD_DEVICES_COPROCESSOR_H

#include "io/bus.h"
#include "io/irq.h"

struct coprocessor {
	struct irq_line irq;
};

void coprocessor_init(struct coprocessor *coprocessor, const struct irq_line *irq);
void coprocessor_reset(struct coprocessor *coprocessor);
bool coprocessor_map(struct coprocessor *coprocessor, struct io_map *ports, struct error *error);
/* What FERR# is wired to. Only its rising edge counts. */
struct irq_line coprocessor_error(struct coprocessor *coprocessor);

#endif

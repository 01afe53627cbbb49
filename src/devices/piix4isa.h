/* SPDX-License-Identifier: MIT */
/*
 * Intel 82371AB (PIIX4) function 0: PCI-to-ISA bridge with interrupt router and reset control register.
 *
 *               +------------------+
 *   PIRQA-D --->| 60h-63h: routing |---> ISA IRQ 3-7, 9-12, 14, 15 (struct irq_line[16])
 *               | CF9h: reset      |---> reset
 *               +------------------+
 *
 * Implemented: the identity (8086:7110), PIRQ routing registers, the reset control register. Several PIRQs on one ISA
 * interrupt are joined; an ISA device on the same interrupt is not, so do not route onto one that is in use.
 *
 * Not implemented: the other registers of the bridge (X-bus chip selects, positive decoding, DMA, serial IRQ): kept
 * where firmware writes them (4Eh-4Fh, 69h-6Ah, 80h-83h), absent else. The 8259s, 8254 and the ELCR are chips of their
 * own here.
 *
 * Source: 82371AB data sheet 290562-001.
 */
#ifndef NFOLD_DEVICES_PIIX4ISA_H
#define NFOLD_DEVICES_PIIX4ISA_H

#include "devices/pci.h"

#define PIIX4ISA_IRQS 16

struct piix4isa;

struct piix4isa_config {
	struct pci_bus *bus;
	unsigned device;
	struct irq_line isa_irq[PIIX4ISA_IRQS];
	void (*reset)(void *opaque); /* asks for a reset of the machine, which happens later */
	void *reset_opaque;
};

struct piix4isa *piix4isa_create(const struct piix4isa_config *config, struct error *error);
void piix4isa_destroy(struct piix4isa *isa);
void piix4isa_reset(struct piix4isa *isa);

/* An irq_line's `set`: opaque is the struct piix4isa, input 0-3 is PIRQA-PIRQD. */
void piix4isa_pirq(void *opaque, int input, bool level);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Intel 82371AB (PIIX4) function 1: PCI IDE controller with bus-master DMA.
 *
 *                    +----------------+
 *   1F0h-1F7h, 3F6h  | primary        |---> IRQ 14
 *   170h-177h, 376h  | secondary      |---> IRQ 15
 *   BAR 4: 16 ports  | bus master x 2 |<--> guest memory, through its checked gate
 *                    +----------------+
 *
 * It owns two IDE channels (ide.h) and is the bus master of both. Implemented: identity (8086:7111); compatibility
 * mode; decoding of each channel by IDETIM bit 15 and the command register's I/O bit, both clear after a reset;
 * bus-master command, status and descriptor table registers; physical region descriptors with any addresses and
 * lengths. Transfers happen while Start and the command register's bus-master bit are set and a drive asks.
 *
 * A descriptor or region that is not all RAM ends the transfer with the Error bit, as does a drive that moves bytes
 * against the direction bit; the drive then waits until it is reset. So does a drive that has more bytes than
 * the table has room for, without the Error bit. Addresses wrap at 4 GiB, the table at 64 KiB.
 *
 * Not implemented: timing registers are kept and change nothing; native mode (the chip has none).
 *
 * Sources: 82371AB data sheet 290562-001, chapter 5; SFF-8038i 1.0.
 */
#ifndef NFOLD_DEVICES_PIIX4IDE_H
#define NFOLD_DEVICES_PIIX4IDE_H

#include "devices/ide.h"
#include "devices/pci.h"
#include "memory/memory.h"

#define PIIX4IDE_CHANNELS 2u

struct piix4ide;

struct piix4ide_config {
	struct pci_bus *bus;
	unsigned device;
	struct io_map *ports;
	struct memory *memory;
	struct irq_line irq[PIIX4IDE_CHANNELS]; /* ISA interrupts 14 and 15 */
};

struct piix4ide *piix4ide_create(const struct piix4ide_config *config, struct error *error);
void piix4ide_destroy(struct piix4ide *ide); /* after the drives */
void piix4ide_reset(struct piix4ide *ide);   /* resets the drives too */

struct ide_channel *piix4ide_channel(struct piix4ide *ide, unsigned number);

#endif

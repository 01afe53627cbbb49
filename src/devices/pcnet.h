/* SPDX-License-Identifier: MIT */
/*
 * AMD Am79C973 (PCnet-FAST III): PCI Ethernet controller of the PCnet family.
 *
 *                         +------------------+
 *   BAR 0: 32 ports   --->| CSRs, BCRs       |---> INTA#
 *   BAR 1: 32 bytes   --->| APROM  PHY (30)  |
 *   guest memory     <--->| descriptor rings |<--> network (backend/network.h)
 *                         +------------------+
 *
 * Implemented: identity (1022:2000, part 2625h); word and double-word I/O; H_RESET, S_RESET, STOP; initialization
 * blocks of 16 and 32 bits; software styles 0 to 3; rings of any length, frames over several buffers; address filter
 * with physical, broadcast and hashed multicast addresses and promiscuous mode; suspension; all interrupts that
 * something here causes, with their masks; TOKINTD and LTINTEN; missed and received frame counters; loopback;
 * APROM; the internal PHY with a 100 Mbit/s full-duplex link; the EEPROM as read at power-on.
 *
 * A frame for which there is no receive buffer waits for one, as in the chip's memory, for up to 20 ms. Then it
 * is missed (CSR0 MISS). What is not guest RAM where the chip looks for a descriptor or a buffer sets MERR and turns
 * transmitter and receiver off. A transmit ring that never ends is looked at again after a pause.
 *
 * Not implemented: polling of the transmit ring without TDMD while nothing else happens; magic packets, pattern
 * matching and power management; the serial EEPROM's own wires; external PHYs; expansion ROM and SRAM; the mirrors of
 * prefetched descriptors (CSR 18-45 and 60-67 but for the current ones' addresses); BSWP; line speed: frames take no
 * time; collisions.
 *
 * Sources: Am79C973/Am79C975 data sheet 21510, Am79C970A data sheet 19436.
 */
#ifndef NFOLD_DEVICES_PCNET_H
#define NFOLD_DEVICES_PCNET_H

#include "backend/network.h"
#include "devices/pci.h"
#include "io/clock.h"
#include "memory/memory.h"

struct pcnet;

struct pcnet_config {
	struct pci_bus *bus;
	unsigned device;
	struct clock *clock;
	struct memory *memory;
	struct network *network; /* the caller's */
	uint8_t mac[NETWORK_MAC_SIZE];
};

struct pcnet *pcnet_create(const struct pcnet_config *config, struct error *error);
void pcnet_destroy(struct pcnet *pcnet); /* the network is stopped */
void pcnet_reset(struct pcnet *pcnet);	 /* H_RESET */

#endif

/* SPDX-License-Identifier: MIT */
/* The PCnet's parts: pcnet.c (life, I/O), pcnet-registers.c (CSRs, BCRs, PHY), pcnet-ring.c (descriptors, frames). */
#ifndef NFOLD_DEVICES_PCNET_IMPL_H
#define NFOLD_DEVICES_PCNET_IMPL_H

#include "devices/pcnet.h"

#define PCNET_CSRS 128u
#define PCNET_BCRS 50u
#define PCNET_APROM_SIZE 16u
#define PCNET_PHY_REGISTERS 32u
#define PCNET_FCS_SIZE 4u
#define PCNET_FRAME_MAX 1518u /* with a VLAN tag, without FCS */
#define PCNET_FRAME_ROOM 2048u

/* CSR0. The error and interrupt bits 8-14 are cleared by writing ones. */
enum pcnet_csr0 {
	CSR0_INIT = 0x0001,
	CSR0_STRT = 0x0002,
	CSR0_STOP = 0x0004,
	CSR0_TDMD = 0x0008,
	CSR0_TXON = 0x0010,
	CSR0_RXON = 0x0020,
	CSR0_IENA = 0x0040,
	CSR0_INTR = 0x0080,
	CSR0_IDON = 0x0100,
	CSR0_TINT = 0x0200,
	CSR0_RINT = 0x0400,
	CSR0_MERR = 0x0800,
	CSR0_MISS = 0x1000,
	CSR0_CERR = 0x2000,
	CSR0_BABL = 0x4000,
	CSR0_ERR = 0x8000,
	CSR0_CLEARS = 0x7f00,
	CSR0_ERRORS = CSR0_BABL | CSR0_CERR | CSR0_MISS | CSR0_MERR,
};

enum pcnet_bits {
	CSR4_ASTRP_RCV = 0x0400,
	CSR4_MFCO = 0x0200,
	CSR4_UINTCMD = 0x0080,
	CSR4_UINT = 0x0040,
	CSR4_RCVCCO = 0x0020,
	CSR4_TXSTRT = 0x0008,
	CSR5_TOKINTD = 0x8000,
	CSR5_LTINTEN = 0x4000,
	CSR5_SPND = 0x0001,
	CSR7_RDMD = 0x2000,
	MODE_PROM = 0x8000,
	MODE_DRCVBC = 0x4000,
	MODE_DRCVPA = 0x2000,
	MODE_DXMTFCS = 0x0008,
	MODE_LOOP = 0x0004,
	MODE_DTX = 0x0002,
	MODE_DRX = 0x0001,
	BCR32_LOOP = 0x0002,
};

/* Registers that more than one file uses. */
enum pcnet_csr {
	CSR_IADR = 1,
	CSR_LADRF = 8,
	CSR_PADR = 12,
	CSR_MODE = 15,
	CSR_RX_BASE = 24,
	CSR_RX_CURRENT = 28,
	CSR_TX_BASE = 30,
	CSR_TX_CURRENT = 34,
	CSR_STYLE = 58,
	CSR_RX_COUNTER = 72, /* counts down from the ring's length */
	CSR_TX_COUNTER = 74,
	CSR_RX_LENGTH = 76, /* two's complement */
	CSR_TX_LENGTH = 78,
	CSR_CHIP = 88,
	CSR_MISSED = 112,
	CSR_COLLISIONS = 114,
};

struct pcnet {
	struct pci_function function;
	struct pcnet_config config;
	uint16_t csr[PCNET_CSRS];
	uint16_t bcr[PCNET_BCRS];
	uint8_t aprom[PCNET_APROM_SIZE];
	uint16_t phy_control, phy_advertised;
	uint16_t rap;
	bool dword; /* DWIO */

	struct clock_timer retry; /* something waits that no register access may wake */
	unsigned rx_tries;	  /* how often the frame that comes found no buffer */
	bool rx_refused;

	bool tx_started;    /* a frame's first buffer has been taken */
	bool tx_refused;    /* the network had no room for `tx` */
	uint32_t tx_length; /* may be more than there is room for */
	uint8_t tx[PCNET_FRAME_ROOM];
	uint8_t rx[PCNET_FRAME_ROOM];
	uint32_t fcs_table[4][256];
};

/* pcnet-registers.c */
uint16_t pcnet_csr_read(const struct pcnet *pcnet, unsigned number);
void pcnet_csr_write(struct pcnet *pcnet, unsigned number, uint16_t value);
uint16_t pcnet_bcr_read(const struct pcnet *pcnet, unsigned number);
void pcnet_bcr_write(struct pcnet *pcnet, unsigned number, uint16_t value);
void pcnet_registers_reset(struct pcnet *pcnet, bool hard);
void pcnet_update_interrupt(struct pcnet *pcnet);

/* pcnet-ring.c */
void pcnet_fcs_init(struct pcnet *pcnet);
bool pcnet_read_block(struct pcnet *pcnet); /* the initialization block; false: it is not RAM */
void pcnet_forget_frames(struct pcnet *pcnet);
void pcnet_transmit(struct pcnet *pcnet);
void pcnet_run(struct pcnet *pcnet); /* whatever waited may go on */
bool pcnet_receive(void *opaque, const struct network_frame *frame);
void pcnet_send_ready(void *opaque);
void pcnet_retry(void *opaque);
uint32_t pcnet_current(const struct pcnet *pcnet, bool receive); /* the current descriptor's address */

static inline uint32_t pcnet_csr32(const struct pcnet *pcnet, unsigned low)
{
	return pcnet->csr[low] | (uint32_t)pcnet->csr[low + 1] << 16;
}

static inline void pcnet_set_csr32(struct pcnet *pcnet, unsigned low, uint32_t value)
{
	pcnet->csr[low] = (uint16_t)value;
	pcnet->csr[low + 1] = (uint16_t)(value >> 16);
}

static inline unsigned pcnet_style(const struct pcnet *pcnet)
{
	return pcnet->bcr[20] & 3u;
}

static inline void pcnet_raise(struct pcnet *pcnet, unsigned csr0_bits)
{
	pcnet->csr[0] = (uint16_t)(pcnet->csr[0] | csr0_bits);
}

#endif

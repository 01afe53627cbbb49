/* SPDX-License-Identifier: MIT */
/* The PCnet's control and status registers, bus configuration registers and PHY. Data sheet 21510, "User Accessible
 * Registers". */
#include "base/bits.h"
#include "devices/pcnet-impl.h"

#define PHY_ADDRESS 30u
#define STYLE_RESERVED 0x0200u /* CSRPCNET: the interrupt bits are PCnet's, not ILACC's */
#define STYLE_WIDE 0x0100u     /* SSIZE32 */
#define BCR18_DWIO 0x0080u
#define BCR4_LINK 0x8040u /* LEDOUT and LNKSTE */
#define PHY_RESET 0x8000u
#define PHY_RESTART 0x0200u
#define PHY_CONTROL 0x3100u /* 100 Mbit/s, negotiation, full duplex */
#define PHY_STATUS 0x7809u  /* 100 and 10 Mbit/s, both duplexes; negotiates; extended registers */
#define PHY_STATUS_UP 0x0024u
#define PHY_ABILITIES 0x01e1u
#define PHY_PARTNER 0x45e1u

/* ---- what a write changes ---- */

enum when { ALWAYS, HALTED /* only while stopped or suspended */ };

/* Bits that a write stores and bits that a written one clears; the others stay. */
struct register_rule {
	uint16_t stores, clears;
	enum when when;
};

static const struct register_rule csr_rules[PCNET_CSRS] = {
    [1 ... 2] = {.stores = 0xffff, .when = HALTED},
    [3] = {.stores = 0x5f7c},
    [4] = {.stores = 0xdd15, .clears = 0x026a},
    [5] = {.stores = 0xc56f, .clears = 0x0a90},
    [7] = {.stores = 0xd555, .clears = 0x0aaa},
    [8 ... 15] = {.stores = 0xffff, .when = HALTED},
    [16 ... 17] = {.stores = 0xffff, .when = HALTED},
    [24 ... 25] = {.stores = 0xffff, .when = HALTED},
    [30 ... 31] = {.stores = 0xffff, .when = HALTED},
    [46 ... 49] = {.stores = 0xffff, .when = HALTED},
    [72] = {.stores = 0xffff, .when = HALTED},
    [74] = {.stores = 0xffff, .when = HALTED},
    [76] = {.stores = 0xffff, .when = HALTED},
    [78] = {.stores = 0xffff, .when = HALTED},
    [80] = {.stores = 0x3fff},
    [82] = {.stores = 0xffff},
    [100] = {.stores = 0xffff},
    [112] = {.stores = 0xffff},
    [114] = {.stores = 0xffff},
    [116] = {.stores = 0x03ff},
    [122] = {.stores = 0x0001},
    [124 ... 125] = {.stores = 0xffff},
};

/* BCR 18: DWIO is not written; BCR 20 and 34 have functions of their own; BCR 35 and 36 are the EEPROM's. */
static const uint16_t bcr_stores[PCNET_BCRS] = {
    [2] = 0xffff,  [4] = 0x7fff,  [5] = 0x7fff,	 [6] = 0x7fff,	[7] = 0x7fff,  [9] = 0x0007,
    [18] = 0xff7f, [19] = 0x0017, [21] = 0xffff, [22] = 0xffff, [23] = 0xffff, [24] = 0xffff,
    [25] = 0x00ff, [26] = 0x00ff, [27] = 0xc000, [28] = 0xffff, [29] = 0x1fff, [31] = 0xffff,
    [32] = 0xbfff, [33] = 0x03ff, [48] = 0x7fff, [49] = 0xffff};

static const struct {
	uint8_t number;
	uint16_t value;
} bcr_reset[] = {{0, 0x0005},  {1, 0x0005},  {2, 0x0002},  {4, 0x00c0},	 {5, 0x0084},  {6, 0x0088},  {7, 0x0090},
		 {18, 0x9001}, {19, 0x8002}, {20, 0x0200}, {22, 0xff06}, {23, 0x1022}, {24, 0x2000}, {31, 0xffff},
		 {32, 0x4400}, {35, 0x1022}, {36, 0xc811}, {48, 0x0082}, {49, 0x8101}};

/* ---- interrupts ---- */

/* Of CSR4, 5 and 7 each flag's enable or mask is the bit below it. */
static bool interrupt_pending(const struct pcnet *pcnet)
{
	const uint16_t *csr = pcnet->csr;
	return (csr[0] & ~csr[3] & 0x5f00) != 0 || (csr[4] >> 1 & ~csr[4] & 0x0115) != 0 || (csr[4] & CSR4_UINT) != 0 ||
	       (csr[5] >> 1 & csr[5] & 0x0548) != 0 || (csr[7] >> 1 & csr[7] & 0x0555) != 0;
}

void pcnet_update_interrupt(struct pcnet *pcnet)
{
	bool pending = interrupt_pending(pcnet);
	unsigned value = pcnet->csr[0] & ~(unsigned)(CSR0_INTR | CSR0_ERR);
	value |= (pending ? CSR0_INTR : 0) | ((value & CSR0_ERRORS) != 0 ? CSR0_ERR : 0);
	pcnet->csr[0] = (uint16_t)value;
	pci_set_interrupt(&pcnet->function, pending && (value & CSR0_IENA) != 0);
}

/* ---- CSR0 ---- */

static void stop(struct pcnet *pcnet)
{
	pcnet->csr[0] = CSR0_STOP;
	pcnet->csr[4] &= (uint16_t)~0x026a;
	pcnet->csr[5] &= (uint16_t) ~(0x0a90 | CSR5_SPND);
	pcnet_forget_frames(pcnet);
}

static void initialize(struct pcnet *pcnet)
{
	pcnet->csr[0] &= (uint16_t)~CSR0_STOP;
	if (pcnet_read_block(pcnet))
		pcnet_raise(pcnet, CSR0_INIT | CSR0_IDON);
	else
		pcnet_raise(pcnet, CSR0_INIT | CSR0_MERR);
}

static void start(struct pcnet *pcnet)
{
	uint16_t mode = pcnet->csr[CSR_MODE];
	pcnet->csr[0] &= (uint16_t)~CSR0_STOP;
	pcnet_raise(pcnet,
		    CSR0_STRT | ((mode & MODE_DTX) != 0 ? 0 : CSR0_TXON) | ((mode & MODE_DRX) != 0 ? 0 : CSR0_RXON));
}

/* Setting STOP overrules INIT and STRT; both together initialize first. */
static void write_csr0(struct pcnet *pcnet, uint16_t value)
{
	unsigned now = pcnet->csr[0] & ~(unsigned)(value & CSR0_CLEARS);
	pcnet->csr[0] = (uint16_t)((now & ~(unsigned)CSR0_IENA) | (value & CSR0_IENA));
	if ((value & CSR0_STOP) != 0) {
		stop(pcnet);
		return;
	}
	if ((value & CSR0_INIT) != 0 && (now & CSR0_INIT) == 0)
		initialize(pcnet);
	if ((value & CSR0_STRT) != 0 && (now & CSR0_STRT) == 0)
		start(pcnet);
	pcnet_run(pcnet);
}

/* ---- other CSRs ---- */

static bool halted(const struct pcnet *pcnet)
{
	return (pcnet->csr[0] & CSR0_STOP) != 0 || (pcnet->csr[5] & CSR5_SPND) != 0;
}

/* Style 0 has structures of 16 bits, the others of 32. */
static void write_style(struct pcnet *pcnet, uint16_t value)
{
	unsigned style = value & 0xff;
	if (!halted(pcnet) || style > 3)
		return;
	pcnet->bcr[20] = (uint16_t)(style | (style != 1 ? STYLE_RESERVED : 0) | (style != 0 ? STYLE_WIDE : 0));
}

static unsigned csr_alias(unsigned number)
{
	return number == 16 || number == 17 ? number - 16 + CSR_IADR : number;
}

uint16_t pcnet_csr_read(const struct pcnet *pcnet, unsigned number)
{
	number = csr_alias(number % PCNET_CSRS);
	switch (number) {
	case CSR_RX_CURRENT:
	case CSR_RX_CURRENT + 1:
		return (uint16_t)(pcnet_current(pcnet, true) >> 16 * (number - CSR_RX_CURRENT));
	case CSR_TX_CURRENT:
	case CSR_TX_CURRENT + 1:
		return (uint16_t)(pcnet_current(pcnet, false) >> 16 * (number - CSR_TX_CURRENT));
	case CSR_STYLE:
		return pcnet->bcr[20];
	default:
		return pcnet->csr[number];
	}
}

static void store_csr(struct pcnet *pcnet, unsigned number, uint16_t value)
{
	const struct register_rule *rule = &csr_rules[number];
	unsigned now = pcnet->csr[number];
	if (rule->when == HALTED && !halted(pcnet))
		return;
	now &= ~(unsigned)(value & rule->clears);
	pcnet->csr[number] = (uint16_t)((now & ~(unsigned)rule->stores) | (value & rule->stores));
}

void pcnet_csr_write(struct pcnet *pcnet, unsigned number, uint16_t value)
{
	number = csr_alias(number % PCNET_CSRS);
	if (number == 0)
		write_csr0(pcnet, value);
	else if (number == CSR_STYLE)
		write_style(pcnet, value);
	else
		store_csr(pcnet, number, value);
	if (number == 4 && (value & CSR4_UINTCMD) != 0)
		pcnet->csr[4] |= CSR4_UINT;
	if (number == 5 || number == 7)
		pcnet_run(pcnet); /* suspension may have ended, or RDMD asks for the ring */
	pcnet_update_interrupt(pcnet);
}

/* ---- PHY: IEEE 802.3 clause 22 ---- */

static uint16_t phy_read(const struct pcnet *pcnet, unsigned address, unsigned number)
{
	bool up = network_link(pcnet->config.network);
	if (address != PHY_ADDRESS)
		return 0xffff;
	switch (number) {
	case 0:
		return pcnet->phy_control;
	case 1:
		return PHY_STATUS | (up ? PHY_STATUS_UP : 0);
	case 2:
		return 0x0000; /* AMD's OUI, 00001Ah ... */
	case 3:
		return 0x6b61; /* ... and the model, 36h */
	case 4:
		return pcnet->phy_advertised;
	case 5:
		return up ? PHY_PARTNER : 0;
	case 6:
		return up ? 1 : 0; /* the partner negotiates */
	default:
		return 0;
	}
}

static void phy_write(struct pcnet *pcnet, unsigned address, unsigned number, uint16_t value)
{
	if (address != PHY_ADDRESS)
		return;
	if (number == 0 && (value & PHY_RESET) != 0) {
		pcnet->phy_control = PHY_CONTROL;
		pcnet->phy_advertised = PHY_ABILITIES;
	} else if (number == 0) {
		pcnet->phy_control = (uint16_t)(value & ~PHY_RESTART);
	} else if (number == 4) {
		pcnet->phy_advertised = value;
	}
}

/* ---- BCRs ---- */

uint16_t pcnet_bcr_read(const struct pcnet *pcnet, unsigned number)
{
	if (number >= PCNET_BCRS)
		return 0;
	uint16_t value = pcnet->bcr[number];
	switch (number) {
	case 4:
		return value | (network_link(pcnet->config.network) && (value & BCR4_LINK) != 0 ? 0x8000 : 0);
	case 18:
		return value | (pcnet->dword ? BCR18_DWIO : 0);
	case 34:
		return phy_read(pcnet, pcnet->bcr[33] >> 5 & 31, pcnet->bcr[33] & 31);
	default:
		return value;
	}
}

void pcnet_bcr_write(struct pcnet *pcnet, unsigned number, uint16_t value)
{
	if (number >= PCNET_BCRS)
		return;
	if (number == 20)
		write_style(pcnet, value);
	else if (number == 34)
		phy_write(pcnet, pcnet->bcr[33] >> 5 & 31, pcnet->bcr[33] & 31, value);
	else
		pcnet->bcr[number] =
		    (uint16_t)((pcnet->bcr[number] & ~(unsigned)bcr_stores[number]) | (value & bcr_stores[number]));
}

/* ---- reset ---- */

/* A soft reset leaves BCRs, addresses and rings alone. */
void pcnet_registers_reset(struct pcnet *pcnet, bool hard)
{
	stop(pcnet);
	pcnet->csr[3] = pcnet->csr[5] = pcnet->csr[7] = 0;
	pcnet->csr[4] = 0x0115;
	pcnet->csr[CSR_MODE] = 0;
	pcnet->csr[80] = 0x1410;
	pcnet->csr[82] = pcnet->csr[CSR_MISSED] = pcnet->csr[CSR_COLLISIONS] = pcnet->csr[124] = 0;
	pcnet->csr[100] = 0x0200;
	pcnet->csr[125] = 0x603c;
	pcnet_set_csr32(pcnet, CSR_CHIP, 0x02625003);
	if (hard) {
		for (unsigned i = 0; i < PCNET_BCRS; i++)
			pcnet->bcr[i] = 0;
		for (unsigned i = 0; i < sizeof bcr_reset / sizeof bcr_reset[0]; i++)
			pcnet->bcr[bcr_reset[i].number] = bcr_reset[i].value;
		for (unsigned i = 0; i < 3; i++)
			pcnet->csr[CSR_PADR + i] = (uint16_t)load_le(&pcnet->aprom[2 * i], 2);
		pcnet->csr[CSR_RX_LENGTH] = pcnet->csr[CSR_TX_LENGTH] = UINT16_MAX; /* one descriptor */
		pcnet->phy_control = PHY_CONTROL;
		pcnet->phy_advertised = PHY_ABILITIES;
		pcnet->dword = false;
	}
	pcnet_update_interrupt(pcnet);
}

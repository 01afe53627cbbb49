/* SPDX-License-Identifier: MIT */
/*
 * The PCnet's work on descriptor rings: transmitting and receiving frames.
 *
 * Theory of operation. A ring is a base address, a length and a counter that runs from the length down to 1; the
 * current descriptor is the one at length - counter. The chip works on descriptors whose OWN bit is set, clears it when
 * it is done with one, and advances. A frame begins in a descriptor with STP and ends in one with ENP.
 *
 * The four software styles differ in where a descriptor keeps what. struct descriptor has it in one form: `flags` are
 * the upper 16 bits of the status word of the 32-bit styles, which style 0 has alike.
 *
 * Nothing here trusts the ring: addresses are checked where memory is read, the number of descriptors that one call
 * works on is limited, and a frame's buffers are only counted once they are more than a frame.
 */
#include <string.h>

#include "base/bits.h"
#include "devices/pcnet-impl.h"

#define FLAG_OWN 0x8000u
#define FLAG_ERR 0x4000u
#define FLAG_OFLO 0x1000u /* receive */
#define FLAG_BUFF 0x0400u
#define FLAG_ADD_FCS 0x2000u /* transmit */
#define FLAG_LTINT 0x1000u
#define FLAG_STP 0x0200u
#define FLAG_ENP 0x0100u
#define FLAG_PAM 0x0040u /* matched the physical, a multicast, the broadcast address */
#define FLAG_LAFM 0x0020u
#define FLAG_BAM 0x0010u
#define STATUS_LCAR 0x08000000u /* transmit: no carrier */

/* A buffer of 4096 bytes has the count 0. */
#define COUNT_MASK 0xfffu
#define COUNT_SPAN 0x1000u

#define TX_BUDGET 512u /* descriptors at a time: more than drivers' rings have */
#define TX_PAUSE_NS 1000000u
#define RX_PAUSE_NS 1000000u
#define RX_TRIES 20u
#define RING_LENGTH_MAX_LOG 9u
#define LENGTH_FIELD_MAX 46u /* 802.3: shorter frames are padded to that */

/* ---- FCS: CRC-32 of IEEE 802.3, four bytes at a time ---- */

#define FCS_POLYNOMIAL 0xedb88320u

void pcnet_fcs_init(struct pcnet *pcnet)
{
	uint32_t(*table)[256] = pcnet->fcs_table;
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t value = byte;
		for (unsigned bit = 0; bit < 8; bit++)
			value = value >> 1 ^ (value & 1 ? FCS_POLYNOMIAL : 0);
		table[0][byte] = value;
	}
	for (unsigned i = 1; i < 4; i++)
		for (unsigned byte = 0; byte < 256; byte++)
			table[i][byte] = table[i - 1][byte] >> 8 ^ table[0][table[i - 1][byte] & 0xff];
}

/* Without the final complement. */
static uint32_t fcs_sum(const struct pcnet *pcnet, const uint8_t *bytes, uint32_t length)
{
	const uint32_t(*table)[256] = pcnet->fcs_table;
	uint32_t sum = UINT32_MAX;
	for (; length >= 4; bytes += 4, length -= 4) {
		sum ^= (uint32_t)load_le(bytes, 4);
		sum =
		    table[3][sum & 0xff] ^ table[2][sum >> 8 & 0xff] ^ table[1][sum >> 16 & 0xff] ^ table[0][sum >> 24];
	}
	for (uint32_t i = 0; i < length; i++)
		sum = sum >> 8 ^ table[0][(sum ^ bytes[i]) & 0xff];
	return sum;
}

/* ---- the initialization block ---- */

static uint32_t block_address(const struct pcnet *pcnet)
{
	return pcnet_csr32(pcnet, CSR_IADR);
}

/* Style 0 has addresses of 24 bits; the rest comes from CSR2 (SSIZE32). */
static uint32_t upper_byte(const struct pcnet *pcnet)
{
	return pcnet_style(pcnet) == 0 ? (uint32_t)(pcnet->csr[CSR_IADR + 1] & 0xff00) << 16 : 0;
}

static uint16_t ring_length(unsigned log)
{
	return (uint16_t)(0u - (1u << (log < RING_LENGTH_MAX_LOG ? log : RING_LENGTH_MAX_LOG)));
}

static void take_block(struct pcnet *pcnet, unsigned mode, const uint8_t *addresses, uint32_t rx, uint32_t tx)
{
	pcnet->csr[CSR_MODE] = (uint16_t)mode;
	for (unsigned i = 0; i < 3; i++)
		pcnet->csr[CSR_PADR + i] = (uint16_t)load_le(&addresses[2 * i], 2);
	pcnet_set_csr32(pcnet, CSR_RX_BASE, rx);
	pcnet_set_csr32(pcnet, CSR_TX_BASE, tx);
}

static void take_filter(struct pcnet *pcnet, const uint8_t *bytes)
{
	for (unsigned i = 0; i < 4; i++)
		pcnet->csr[CSR_LADRF + i] = (uint16_t)load_le(&bytes[2 * i], 2);
}

bool pcnet_read_block(struct pcnet *pcnet)
{
	uint8_t block[28];
	bool wide = pcnet_style(pcnet) != 0;
	if (!pci_may_master(&pcnet->function) ||
	    !memory_read(pcnet->config.memory, block_address(pcnet), block, wide ? 28 : 24))
		return false;
	unsigned rx_log, tx_log;
	if (wide) {
		rx_log = block[2] >> 4;
		tx_log = block[3] >> 4;
		take_block(pcnet, (unsigned)load_le(block, 2), &block[4], (uint32_t)load_le(&block[20], 4),
			   (uint32_t)load_le(&block[24], 4));
		take_filter(pcnet, &block[12]);
	} else {
		rx_log = block[19] >> 5;
		tx_log = block[23] >> 5;
		uint32_t rx = (uint32_t)load_le(&block[16], 4) & 0xffffff,
			 tx = (uint32_t)load_le(&block[20], 4) & 0xffffff;
		take_block(pcnet, (unsigned)load_le(block, 2), &block[2], rx | upper_byte(pcnet),
			   tx | upper_byte(pcnet));
		take_filter(pcnet, &block[8]);
	}
	pcnet->csr[CSR_RX_LENGTH] = ring_length(rx_log);
	pcnet->csr[CSR_TX_LENGTH] = ring_length(tx_log);
	pcnet->csr[CSR_RX_COUNTER] = (uint16_t)-pcnet->csr[CSR_RX_LENGTH];
	pcnet->csr[CSR_TX_COUNTER] = (uint16_t)-pcnet->csr[CSR_TX_LENGTH];
	return true;
}

/* ---- descriptors ---- */

struct descriptor {
	uint32_t at;	  /* its own address */
	uint32_t address; /* of the buffer */
	uint32_t size;
	uint32_t word; /* what holds the flags, but for them */
	uint16_t flags;
};

uint32_t pcnet_current(const struct pcnet *pcnet, bool receive)
{
	uint16_t length = (uint16_t)-pcnet->csr[receive ? CSR_RX_LENGTH : CSR_TX_LENGTH];
	uint16_t counter = pcnet->csr[receive ? CSR_RX_COUNTER : CSR_TX_COUNTER];
	uint32_t base = pcnet_csr32(pcnet, receive ? CSR_RX_BASE : CSR_TX_BASE);
	return base + (uint32_t)(uint16_t)(length - counter) * (pcnet_style(pcnet) == 0 ? 8 : 16);
}

static void advance(struct pcnet *pcnet, bool receive)
{
	uint16_t *counter = &pcnet->csr[receive ? CSR_RX_COUNTER : CSR_TX_COUNTER];
	uint16_t length = (uint16_t)-pcnet->csr[receive ? CSR_RX_LENGTH : CSR_TX_LENGTH];
	*counter = *counter <= 1 || *counter > length ? length : (uint16_t)(*counter - 1);
}

/* What is not RAM stops the chip (data sheet 21510, "Bus Master: Advanced Parity Error Handling and aborts"). */
static bool memory_error(struct pcnet *pcnet)
{
	pcnet->csr[0] &= (uint16_t) ~(CSR0_TXON | CSR0_RXON);
	pcnet_raise(pcnet, CSR0_MERR);
	pcnet_update_interrupt(pcnet);
	return false;
}

static uint32_t buffer_size(uint32_t count)
{
	return COUNT_SPAN - (count & COUNT_MASK);
}

static bool descriptor_read(struct pcnet *pcnet, bool receive, struct descriptor *descriptor)
{
	uint8_t bytes[16];
	unsigned style = pcnet_style(pcnet);
	uint32_t at = pcnet_current(pcnet, receive);
	*descriptor = (struct descriptor){.at = at};
	if (!memory_read(pcnet->config.memory, at, bytes, style == 0 ? 8 : 16))
		return memory_error(pcnet);
	uint32_t word = (uint32_t)load_le(&bytes[style == 0 ? 2 : 4], style == 0 ? 2 : 4);
	if (style == 0) {
		descriptor->address = (uint32_t)load_le(bytes, 2) | (word & 0xff) << 16 | upper_byte(pcnet);
		descriptor->size = buffer_size((uint32_t)load_le(&bytes[4], 2));
		descriptor->flags = (uint16_t)(word & 0xff00);
		descriptor->word = word & 0xff;
	} else {
		descriptor->address = (uint32_t)load_le(&bytes[style == 3 ? 8 : 0], 4);
		descriptor->size = buffer_size(word);
		descriptor->flags = (uint16_t)(word >> 16);
		descriptor->word = word & 0xffff;
	}
	return true;
}

/* Gives a descriptor back: the status first, the flags with OWN last. */
static bool descriptor_write(struct pcnet *pcnet, const struct descriptor *descriptor, uint32_t status)
{
	struct memory *memory = pcnet->config.memory;
	unsigned style = pcnet_style(pcnet);
	uint8_t word[4], bytes[4];
	bool good;
	store_le(bytes, style == 0 ? status >> 16 : status, style == 0 ? 2 : 4);
	if (style == 0) {
		store_le(word, descriptor->word | (descriptor->flags & 0xff00u), 2);
		good = memory_write(memory, descriptor->at + 6, bytes, 2) &&
		       memory_write(memory, descriptor->at + 2, word, 2);
	} else {
		store_le(word, descriptor->word | (uint32_t)descriptor->flags << 16, 4);
		good = memory_write(memory, descriptor->at + (style == 3 ? 0 : 8), bytes, 4) &&
		       memory_write(memory, descriptor->at + 4, word, 4);
	}
	return good || memory_error(pcnet);
}

/* ---- receiving ---- */

static bool suspended(const struct pcnet *pcnet)
{
	return (pcnet->csr[5] & CSR5_SPND) != 0;
}

static bool loops_back(const struct pcnet *pcnet)
{
	return (pcnet->csr[CSR_MODE] & MODE_LOOP) != 0 || (pcnet->bcr[32] & BCR32_LOOP) != 0;
}

/* The match flag of a frame's address; 0: it is not for us. */
static unsigned address_match(const struct pcnet *pcnet, const uint8_t *address)
{
	static const uint8_t broadcast[NETWORK_MAC_SIZE] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint16_t mode = pcnet->csr[CSR_MODE];
	if (memcmp(address, broadcast, sizeof broadcast) == 0)
		return (mode & MODE_DRCVBC) == 0 || (mode & MODE_PROM) != 0 ? FLAG_BAM : 0;
	if ((address[0] & 1) != 0) {
		uint32_t hash = fcs_sum(pcnet, address, NETWORK_MAC_SIZE) >> 26;
		bool hit = (pcnet->csr[CSR_LADRF + hash / 16] >> hash % 16 & 1) != 0;
		return hit ? FLAG_LAFM : (mode & MODE_PROM) != 0 ? FLAG_ENP : 0;
	}
	bool ours = (mode & MODE_DRCVPA) == 0;
	for (unsigned i = 0; i < 3 && ours; i++)
		ours = load_le(&address[2 * i], 2) == pcnet->csr[CSR_PADR + i];
	return ours ? FLAG_PAM : (mode & MODE_PROM) != 0 ? FLAG_ENP : 0;
}

/* The frame as the guest gets it, in `rx`: padded, with FCS. Returns its length. */
static uint32_t dress(struct pcnet *pcnet, const uint8_t *bytes, uint32_t length)
{
	uint8_t *rx = pcnet->rx;
	uint32_t field = length >= NETWORK_HEADER_SIZE ? (uint32_t)bytes[12] << 8 | bytes[13] : 0;
	memcpy(rx, bytes, length);
	if (length < NETWORK_FRAME_MIN) {
		memset(&rx[length], 0, NETWORK_FRAME_MIN - length);
		length = NETWORK_FRAME_MIN;
	}
	if ((pcnet->csr[4] & CSR4_ASTRP_RCV) != 0 && field < LENGTH_FIELD_MAX)
		return NETWORK_HEADER_SIZE + field; /* pad and FCS are stripped */
	store_le(&rx[length], ~fcs_sum(pcnet, rx, length), PCNET_FCS_SIZE);
	return length + PCNET_FCS_SIZE;
}

/* Style 0 has no room for what matched, and 12 bits of length. */
static bool receive_end(struct pcnet *pcnet, struct descriptor *descriptor, unsigned flags, uint32_t length)
{
	if (pcnet_style(pcnet) == 0)
		flags &= 0xff00;
	descriptor->flags = (uint16_t)flags;
	uint32_t status = length & COUNT_MASK;
	if (!descriptor_write(pcnet, descriptor, pcnet_style(pcnet) == 0 ? status << 16 : status))
		return false;
	advance(pcnet, true);
	return true;
}

/* Spreads `rx` over buffers, the first of which is given. A missing later one ends it with BUFF and OFLO. */
static void receive_store(struct pcnet *pcnet, struct descriptor *descriptor, uint32_t length, unsigned match)
{
	uint32_t done = 0;
	unsigned flags = FLAG_STP;
	for (;;) {
		uint32_t size = length - done < descriptor->size ? length - done : descriptor->size;
		if (!memory_write(pcnet->config.memory, descriptor->address, &pcnet->rx[done], size)) {
			(void)memory_error(pcnet);
			return;
		}
		done += size;
		if (done == length) {
			if (receive_end(pcnet, descriptor, flags | FLAG_ENP | match, length))
				pcnet_raise(pcnet, CSR0_RINT);
			return;
		}
		struct descriptor this = *descriptor;
		uint16_t counter = pcnet->csr[CSR_RX_COUNTER];
		advance(pcnet, true);
		if (!descriptor_read(pcnet, true, descriptor))
			return;
		pcnet->csr[CSR_RX_COUNTER] = counter;
		bool next = (descriptor->flags & FLAG_OWN) != 0 && descriptor->at != this.at;
		if (!receive_end(pcnet, &this, next ? flags : flags | FLAG_ERR | FLAG_OFLO | FLAG_BUFF, 0))
			return;
		flags = 0;
		if (!next) {
			pcnet_raise(pcnet, CSR0_RINT);
			return;
		}
	}
}

/* False: there is no buffer. */
static bool receive_frame(struct pcnet *pcnet, const uint8_t *bytes, uint32_t length)
{
	struct descriptor descriptor;
	unsigned match = length >= NETWORK_MAC_SIZE ? address_match(pcnet, bytes) : 0;
	if (match == 0)
		return true;
	if (!descriptor_read(pcnet, true, &descriptor))
		return true;
	if ((descriptor.flags & FLAG_OWN) == 0)
		return false;
	/* Promiscuous: matched nothing. */
	receive_store(pcnet, &descriptor, dress(pcnet, bytes, length), match == FLAG_ENP ? 0 : match);
	return true;
}

static void receive_miss(struct pcnet *pcnet)
{
	pcnet_raise(pcnet, CSR0_MISS);
	if (++pcnet->csr[CSR_MISSED] == 0)
		pcnet->csr[4] |= CSR4_MFCO;
}

bool pcnet_receive(void *opaque, const struct network_frame *frame)
{
	struct pcnet *pcnet = opaque;
	bool busy = false;
	if ((pcnet->csr[0] & CSR0_RXON) == 0 || frame->length > PCNET_FRAME_MAX || loops_back(pcnet) ||
	    !pci_may_master(&pcnet->function)) {
		network_count_drop(pcnet->config.network, true);
	} else if (suspended(pcnet) || !receive_frame(pcnet, frame->bytes, frame->length)) {
		busy = ++pcnet->rx_tries < RX_TRIES;
		if (!busy) {
			receive_miss(pcnet);
			network_count_drop(pcnet->config.network, true);
		}
	}
	if (busy && !pcnet->retry.armed)
		clock_timer_set(&pcnet->retry, clock_now(pcnet->config.clock) + RX_PAUSE_NS);
	if (!busy)
		pcnet->rx_tries = 0;
	pcnet->rx_refused = busy;
	pcnet_update_interrupt(pcnet);
	return !busy;
}

/* ---- transmitting ---- */

static bool transmitter_on(const struct pcnet *pcnet)
{
	return (pcnet->csr[0] & CSR0_TXON) != 0 && !suspended(pcnet) && pci_may_master(&pcnet->function);
}

/* The frame in `tx`, without an FCS that software brought itself. False: the network has no room. */
static bool transmit_frame(struct pcnet *pcnet, unsigned flags)
{
	bool has_fcs = (pcnet->csr[CSR_MODE] & MODE_DXMTFCS) != 0 && (flags & FLAG_ADD_FCS) == 0;
	uint32_t length = pcnet->tx_length;
	if (has_fcs)
		length = length < PCNET_FCS_SIZE ? 0 : length - PCNET_FCS_SIZE;
	if (length > PCNET_FRAME_MAX) {
		pcnet_raise(pcnet, CSR0_BABL);
		network_count_drop(pcnet->config.network, false);
		return true;
	}
	if (loops_back(pcnet)) {
		if ((pcnet->csr[0] & CSR0_RXON) != 0 && !receive_frame(pcnet, pcnet->tx, length))
			receive_miss(pcnet);
		return true;
	}
	const struct network_frame frame = {.bytes = pcnet->tx, .length = length};
	return network_send(pcnet->config.network, &frame);
}

/* TINT: for each frame, or with TOKINTD only for one that carries LTINT. */
static void transmit_interrupt(struct pcnet *pcnet, unsigned flags)
{
	bool last = (pcnet->csr[5] & CSR5_LTINTEN) != 0 && (flags & FLAG_LTINT) != 0;
	if ((pcnet->csr[5] & CSR5_TOKINTD) == 0 || last)
		pcnet_raise(pcnet, CSR0_TINT);
	pcnet->csr[4] |= CSR4_TXSTRT;
}

static bool take_buffer(struct pcnet *pcnet, const struct descriptor *descriptor)
{
	uint32_t room = pcnet->tx_length < PCNET_FRAME_ROOM ? PCNET_FRAME_ROOM - pcnet->tx_length : 0;
	uint32_t size = descriptor->size < room ? descriptor->size : room;
	if (size > 0 && !memory_read(pcnet->config.memory, descriptor->address, &pcnet->tx[pcnet->tx_length], size))
		return memory_error(pcnet);
	if (pcnet->tx_length < PCNET_FRAME_ROOM + COUNT_SPAN)
		pcnet->tx_length += descriptor->size;
	return true;
}

/* False: nothing more can be done now. */
static bool transmit_descriptor(struct pcnet *pcnet)
{
	struct descriptor descriptor;
	bool link = network_link(pcnet->config.network) || loops_back(pcnet);
	if (!descriptor_read(pcnet, false, &descriptor) || (descriptor.flags & FLAG_OWN) == 0)
		return false;
	if ((descriptor.flags & FLAG_STP) != 0 && !pcnet->tx_refused) {
		pcnet->tx_started = true;
		pcnet->tx_length = 0;
	}
	if (pcnet->tx_started && !pcnet->tx_refused && !take_buffer(pcnet, &descriptor))
		return false;
	bool end = pcnet->tx_started && (descriptor.flags & FLAG_ENP) != 0;
	if (end && link) {
		pcnet->tx_refused = !transmit_frame(pcnet, descriptor.flags);
		if (pcnet->tx_refused || !transmitter_on(pcnet))
			return false;
	}
	unsigned flags = descriptor.flags;
	descriptor.flags = (uint16_t)((flags & ~(FLAG_OWN | FLAG_ERR)) | (end && !link ? FLAG_ERR : 0));
	if (!descriptor_write(pcnet, &descriptor, end && !link ? STATUS_LCAR : 0))
		return false;
	advance(pcnet, false);
	if (end) {
		pcnet->tx_started = false;
		transmit_interrupt(pcnet, flags);
	}
	return true;
}

void pcnet_transmit(struct pcnet *pcnet)
{
	unsigned budget = TX_BUDGET;
	while (transmitter_on(pcnet) && transmit_descriptor(pcnet))
		if (--budget == 0) {
			clock_timer_set(&pcnet->retry, clock_now(pcnet->config.clock) + TX_PAUSE_NS);
			break;
		}
	pcnet_update_interrupt(pcnet);
}

void pcnet_send_ready(void *opaque)
{
	pcnet_transmit(opaque);
}

void pcnet_run(struct pcnet *pcnet)
{
	/* The frame that waited is offered again from within, and says what became of it. */
	if (pcnet->rx_refused) {
		pcnet->rx_refused = false;
		network_receive_ready(pcnet->config.network);
	}
	pcnet_transmit(pcnet);
}

void pcnet_retry(void *opaque)
{
	pcnet_run(opaque);
}

/* What is half done is forgotten. A frame that waited is offered again, and dropped: the receiver is off. */
void pcnet_forget_frames(struct pcnet *pcnet)
{
	pcnet->tx_started = pcnet->tx_refused = false;
	pcnet->tx_length = 0;
	pcnet->rx_tries = 0;
	if (pcnet->rx_refused) {
		pcnet->rx_refused = false;
		network_receive_ready(pcnet->config.network);
	}
}

/* SPDX-License-Identifier: MIT */
/* PCnet: identity, registers, initialization, rings in all styles, filter, interrupts, and guests that mean no good. */
#include "base/bits.h"
#include "devices/pcnet.h"
#include "network-double.h"
#include "rig.h"

#define DEVICE 4u
#define DEVFN PCI_DEVFN(DEVICE, 0)
#define BASE 0xc000u
#define RAM 0x100000u
#define BLOCK 0x1000u
#define RX_RING 0x2000u
#define TX_RING 0x3000u
#define BUFFERS 0x10000u
#define BUFFER_SIZE 2048u
#define OWN 0x8000u
#define STP 0x0200u
#define ENP 0x0100u
#define IDON 0x0100u
#define TINT 0x0200u
#define RINT 0x0400u

static const uint8_t mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};

struct fixture {
	struct rig rig;
	struct pci_bus *bus;
	struct memory memory;
	struct probe pirq[PCI_PINS];
	struct network_double network;
	uint64_t counters[NETWORK_COUNTERS];
	struct pcnet *pcnet;
	unsigned style;
};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	if (!memory_init(&f->memory, RAM, NULL) || !memory_add_region(&f->memory, 0, RAM, 0, false, NULL))
		return -1;
	struct pci_bus_config bus = {.ports = &f->rig.ports, .mmio = &f->rig.mmio};
	for (int i = 0; i < (int)PCI_PINS; i++)
		bus.pirq[i] = probe_line(f->pirq, i);
	f->bus = pci_bus_create(&bus, NULL);
	network_double_init(&f->network, 0);
	network_set_counters(&f->network.base, f->counters);
	struct pcnet_config config = {
	    .bus = f->bus, .device = DEVICE, .clock = &f->rig.clock, .memory = &f->memory, .network = &f->network.base};
	memcpy(config.mac, mac, sizeof mac);
	f->pcnet = pcnet_create(&config, NULL);
	pci_config_write(f->bus, DEVFN, PCI_BAR0, 4, BASE);
	pci_config_write(f->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	*state = f;
	return f->pcnet != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	pcnet_destroy(f->pcnet);
	pci_bus_destroy(f->bus);
	for (unsigned i = 0; i < PCI_PINS; i++)
		assert_false(f->pirq[i].level);
	network_close(&f->network.base);
	memory_destroy(&f->memory);
	test_free(f);
	return 0;
}

static uint16_t csr(struct fixture *f, unsigned number)
{
	io_write(&f->rig.ports, BASE + 0x12, 2, number);
	return (uint16_t)io_read(&f->rig.ports, BASE + 0x10, 2);
}

static void set_csr(struct fixture *f, unsigned number, unsigned value)
{
	io_write(&f->rig.ports, BASE + 0x12, 2, number);
	io_write(&f->rig.ports, BASE + 0x10, 2, value);
}

static uint16_t bcr(struct fixture *f, unsigned number)
{
	io_write(&f->rig.ports, BASE + 0x12, 2, number);
	return (uint16_t)io_read(&f->rig.ports, BASE + 0x16, 2);
}

static void set_bcr(struct fixture *f, unsigned number, unsigned value)
{
	io_write(&f->rig.ports, BASE + 0x12, 2, number);
	io_write(&f->rig.ports, BASE + 0x16, 2, value);
}

static bool interrupted(struct fixture *f)
{
	return f->pirq[pci_pirq(DEVICE, 1)].level;
}

static void poke(struct fixture *f, uint32_t address, unsigned size, uint64_t value)
{
	uint8_t bytes[8];
	store_le(bytes, value, size);
	assert_true(memory_write(&f->memory, address, bytes, size));
}

static uint32_t peek(struct fixture *f, uint32_t address, unsigned size)
{
	uint8_t bytes[8];
	assert_true(memory_read(&f->memory, address, bytes, size));
	return (uint32_t)load_le(bytes, size);
}

/* Descriptors as the styles lay them out, from the data sheet's tables. */
static uint32_t descriptor_at(const struct fixture *f, bool receive, unsigned index)
{
	return (receive ? RX_RING : TX_RING) + index * (f->style == 0 ? 8 : 16);
}

static void set_descriptor(struct fixture *f, bool receive, unsigned index, uint32_t buffer, unsigned size,
			   unsigned flags)
{
	uint32_t at = descriptor_at(f, receive, index);
	uint16_t count = (uint16_t)(0xf000 | (-size & 0xfff));
	if (f->style == 0) {
		poke(f, at, 2, buffer & 0xffff);
		poke(f, at + 4, 2, count);
		poke(f, at + 6, 2, 0);
		poke(f, at + 2, 2, flags | buffer >> 16);
	} else {
		poke(f, at + (f->style == 3 ? 8 : 0), 4, buffer);
		poke(f, at + (f->style == 3 ? 0 : 8), 4, 0);
		poke(f, at + 4, 4, flags << 16 | count);
	}
}

static unsigned descriptor_flags(struct fixture *f, bool receive, unsigned index)
{
	uint32_t at = descriptor_at(f, receive, index);
	return f->style == 0 ? peek(f, at + 2, 2) & 0xff00 : peek(f, at + 4, 4) >> 16;
}

static unsigned received_length(struct fixture *f, unsigned index)
{
	uint32_t at = descriptor_at(f, true, index);
	return (f->style == 0 ? peek(f, at + 6, 2) : peek(f, at + (f->style == 3 ? 0 : 8), 4)) & 0xfff;
}

static uint32_t buffer_of(bool receive, unsigned index)
{
	return BUFFERS + (receive ? 0 : 0x40000) + index * BUFFER_SIZE;
}

/* Rings of 4, all receive buffers given to the chip, started with all interrupts. */
static void start(struct fixture *f, unsigned style, unsigned mode)
{
	f->style = style;
	set_bcr(f, 20, style);
	assert_int_equal(bcr(f, 20) & 0xff, style);
	poke(f, BLOCK, 4, mode | (style != 0 ? 2u << 20 | 2u << 28 : 0));
	uint32_t at = BLOCK + (style != 0 ? 4 : 2);
	assert_true(memory_write(&f->memory, at, mac, 6));
	at = BLOCK + (style != 0 ? 12 : 8);
	poke(f, at, 8, 0);
	poke(f, at + 8, 4, RX_RING | (style != 0 ? 0 : 2u << 29));
	poke(f, at + 12, 4, TX_RING | (style != 0 ? 0 : 2u << 29));
	for (unsigned i = 0; i < 4; i++) {
		set_descriptor(f, true, i, buffer_of(true, i), BUFFER_SIZE, OWN);
		set_descriptor(f, false, i, buffer_of(false, i), BUFFER_SIZE, 0);
	}
	set_csr(f, 1, BLOCK & 0xffff);
	set_csr(f, 2, BLOCK >> 16);
	set_csr(f, 0, 0x0041);
	assert_true(csr(f, 0) & IDON);
	assert_true(interrupted(f));
	set_csr(f, 0, IDON | 0x42);
	assert_false(interrupted(f));
}

static void make_frame(uint8_t *frame, const uint8_t *to, uint32_t length)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, "\x02\x99\x99\x99\x99\x99\x08\x00", 8);
	for (uint32_t i = 14; i < length; i++)
		frame[i] = (uint8_t)(i * 7);
}

static void give_to_send(struct fixture *f, unsigned index, const uint8_t *bytes, uint32_t length, unsigned flags)
{
	assert_true(memory_write(&f->memory, buffer_of(false, index), bytes, length));
	set_descriptor(f, false, index, buffer_of(false, index), length, flags);
}

/* ---- tests ---- */

static void is_the_chip_that_drivers_look_for(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_config_read(f->bus, DEVFN, 0, 4), 0x20001022);
	assert_int_equal(io_read(&f->rig.ports, BASE + 0x14, 2), 0); /* S_RESET */
	assert_int_equal(csr(f, 0), 0x0004);
	assert_int_equal((csr(f, 88) | csr(f, 89) << 16) >> 12, 0x2625);
	unsigned sum = 0;
	for (unsigned i = 0; i < 16; i++)
		sum += i == 12 || i == 13 ? 0 : in8(&f->rig, (uint16_t)(BASE + i));
	assert_int_equal(in8(&f->rig, BASE + 12) | in8(&f->rig, BASE + 13) << 8, sum);
	assert_int_equal(in8(&f->rig, BASE + 14), 'W');
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(csr(f, 12 + i), mac[2 * i] | mac[2 * i + 1] << 8);
		assert_int_equal(io_read(&f->rig.ports, BASE + 2 * i, 2), mac[2 * i] | mac[2 * i + 1] << 8);
	}
}

static void has_double_word_access_too(void **state)
{
	struct fixture *f = *state;
	io_write(&f->rig.ports, BASE + 0x10, 4, 0);
	io_write(&f->rig.ports, BASE + 0x14, 4, 88);
	assert_int_equal(io_read(&f->rig.ports, BASE + 0x10, 4), 0x5003);
	assert_int_equal(io_read(&f->rig.ports, BASE + 0x12, 2), 0xffff);
	io_write(&f->rig.ports, BASE + 0x14, 4, 18);
	assert_true(io_read(&f->rig.ports, BASE + 0x1c, 4) & 0x80);
	(void)io_read(&f->rig.ports, BASE + 0x18, 4); /* S_RESET does not change it */
	io_write(&f->rig.ports, BASE + 0x14, 4, 88);
	assert_int_equal(io_read(&f->rig.ports, BASE + 0x10, 4), 0x5003);
	pcnet_reset(f->pcnet);
	pci_config_write(f->bus, DEVFN, PCI_BAR0, 4, BASE);
	pci_config_write(f->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_IO);
	assert_int_equal(csr(f, 88), 0x5003);
}

static void its_phy_has_a_link(void **state)
{
	struct fixture *f = *state;
	set_bcr(f, 33, 30 << 5 | 1);
	assert_int_equal(bcr(f, 34) & 0x24, 0x24);
	set_bcr(f, 33, 30 << 5 | 3);
	assert_int_equal(bcr(f, 34), 0x6b61);
	set_bcr(f, 33, 1 << 5 | 3);
	assert_int_equal(bcr(f, 34), 0xffff);
	assert_int_equal(bcr(f, 4) & 0x8000, 0x8000);
}

static void sends_and_receives_in_every_style(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[200], got[204];
	make_frame(frame, mac, sizeof frame);
	for (unsigned style = 0; style < 4; style++) {
		set_csr(f, 0, 4);
		start(f, style, 0);
		unsigned sent = f->network.sent;
		for (unsigned i = 0; i < 6; i++) { /* round the rings of 4 */
			frame[20] = (uint8_t)i;
			give_to_send(f, i % 4, frame, sizeof frame, OWN | STP | ENP);
			set_csr(f, 0, 0x48);
			assert_int_equal(f->network.sent, sent + i + 1);
			assert_int_equal(f->network.length, sizeof frame);
			assert_memory_equal(f->network.bytes, frame, sizeof frame);
			assert_int_equal(descriptor_flags(f, false, i % 4) & OWN, 0);
			assert_true(interrupted(f));
			set_csr(f, 0, 0x40 | TINT);

			assert_true(network_double_deliver(&f->network, frame, sizeof frame));
			assert_true(csr(f, 0) & RINT);
			unsigned flags = descriptor_flags(f, true, i % 4);
			assert_int_equal(flags & (OWN | STP | ENP | 0x7c00), STP | ENP);
			assert_int_equal(received_length(f, i % 4), sizeof frame + 4);
			assert_true(memory_read(&f->memory, buffer_of(true, i % 4), got, sizeof got));
			assert_memory_equal(got, frame, sizeof frame);
			set_descriptor(f, true, i % 4, buffer_of(true, i % 4), BUFFER_SIZE, OWN);
			set_csr(f, 0, 0x40 | RINT);
			assert_false(interrupted(f));
		}
	}
	assert_int_equal(f->counters[NETWORK_SENT_FRAMES], 24);
	assert_int_equal(f->counters[NETWORK_RECEIVED_BYTES], 24 * sizeof frame);
}

/* The FCS of a frame of "123456789" is CBF43926h by definition; here it is that of a padded one. */
static void pads_short_frames_and_appends_the_fcs(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[42], got[64];
	make_frame(frame, mac, sizeof frame);
	start(f, 2, 0);
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	assert_int_equal(received_length(f, 0), 64);
	assert_true(memory_read(&f->memory, buffer_of(true, 0), got, 64));
	uint32_t crc = UINT32_MAX;
	for (unsigned i = 0; i < 64; i++) {
		crc ^= got[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	assert_int_equal(crc, 0xdebb20e3); /* the residue of a good frame */
}

static void frames_span_buffers(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[300], got[304];
	make_frame(frame, mac, sizeof frame);
	start(f, 2, 0);
	for (unsigned i = 0; i < 4; i++)
		set_descriptor(f, true, i, buffer_of(true, i), 128, OWN);
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	assert_int_equal(descriptor_flags(f, true, 0) & 0xff00, STP);
	assert_int_equal(descriptor_flags(f, true, 1) & 0xff00, 0);
	assert_int_equal(descriptor_flags(f, true, 2) & 0xff00, ENP);
	assert_int_equal(received_length(f, 2), 304);
	for (unsigned i = 0; i < 3; i++)
		assert_true(memory_read(&f->memory, buffer_of(true, i), got + 128 * i, i == 2 ? 48 : 128));
	assert_memory_equal(got, frame, sizeof frame);
	/* One buffer is left: the next frame ends early. */
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	assert_int_equal(descriptor_flags(f, true, 3) & 0xff00, STP | 0x4000 | 0x1000 | 0x0400);

	give_to_send(f, 0, frame, 100, OWN | STP);
	give_to_send(f, 1, frame + 100, 100, OWN);
	set_csr(f, 0, 0x48);
	assert_int_equal(f->network.sent, 0);
	give_to_send(f, 2, frame + 200, 100, OWN | ENP);
	set_csr(f, 0, 0x48);
	assert_int_equal(f->network.sent, 1);
	assert_int_equal(f->network.length, 300);
	assert_memory_equal(f->network.bytes, frame, 300);
}

static bool takes(struct fixture *f, const uint8_t *address)
{
	uint8_t frame[60];
	make_frame(frame, address, sizeof frame);
	set_csr(f, 0, 0x40 | RINT);
	unsigned index = 0;
	while (index < 3 && (descriptor_flags(f, true, index) & OWN) == 0)
		index++;
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	bool taken = (csr(f, 0) & RINT) != 0;
	for (unsigned i = 0; i < 4; i++)
		set_descriptor(f, true, i, buffer_of(true, i), BUFFER_SIZE, OWN);
	return taken;
}

static void filters_addresses(void **state)
{
	struct fixture *f = *state;
	static const uint8_t other[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x56};
	static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};
	static const uint8_t all_hosts[6] = {0x01, 0x00, 0x5e, 0x00, 0x00, 0x01};
	start(f, 2, 0);
	assert_true(takes(f, mac));
	assert_true(takes(f, broadcast));
	assert_false(takes(f, other));
	assert_false(takes(f, all_hosts));
	set_csr(f, 5, 1); /* suspended: the filter can be changed */
	/* Linux's ether_crc_le of 01:00:5e:00:00:01 has 110110b in its upper six bits. */
	for (unsigned bit = 0; bit < 64; bit++) {
		for (unsigned i = 0; i < 4; i++)
			set_csr(f, 8 + i, bit / 16 == i ? 1u << bit % 16 : 0);
		set_csr(f, 5, 0);
		bool hit = takes(f, all_hosts);
		assert_int_equal(hit, bit == 54);
		set_csr(f, 5, 1);
	}
	set_csr(f, 15, 0x8000);
	set_csr(f, 5, 0);
	assert_true(takes(f, other));
	set_csr(f, 5, 1);
	set_csr(f, 15, 0x6000);
	set_csr(f, 5, 0);
	assert_false(takes(f, mac));
	assert_false(takes(f, broadcast));
}

static void waits_for_buffers_and_then_misses(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[60];
	make_frame(frame, mac, sizeof frame);
	start(f, 2, 0);
	for (unsigned i = 0; i < 4; i++)
		assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	assert_false(network_double_deliver(&f->network, frame, sizeof frame));
	unsigned readies = f->network.readies;
	set_descriptor(f, true, 0, buffer_of(true, 0), BUFFER_SIZE, OWN);
	set_csr(f, 0, 0x40 | RINT); /* the driver is done with its interrupt: the chip looks again */
	assert_int_equal(f->network.readies, readies + 1);
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	bool missed = false;
	for (unsigned i = 0; i < 100 && !missed; i++) {
		readies = f->network.readies;
		missed = network_double_deliver(&f->network, frame, sizeof frame);
		clock_advance(&f->rig.clock, 2000000);
		assert_true(missed || f->network.readies > readies);
	}
	assert_true(missed);
	assert_true(csr(f, 0) & 0x1000);
	assert_int_equal(csr(f, 112), 1);
	assert_int_equal(f->counters[NETWORK_RECEIVE_DROPS], 1);
}

static void waits_for_the_network(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[60];
	make_frame(frame, mac, sizeof frame);
	start(f, 3, 0);
	f->network.refuses = true;
	give_to_send(f, 0, frame, sizeof frame, OWN | STP | ENP);
	set_csr(f, 0, 0x48);
	assert_int_equal(descriptor_flags(f, false, 0) & OWN, OWN);
	assert_false(csr(f, 0) & TINT);
	network_double_room(&f->network);
	assert_int_equal(f->network.sent, 1);
	assert_int_equal(f->network.length, sizeof frame);
	assert_int_equal(descriptor_flags(f, false, 0) & OWN, 0);
	assert_true(csr(f, 0) & TINT);
}

static void loops_back(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[100], got[100];
	make_frame(frame, mac, sizeof frame);
	start(f, 2, 0x0044);
	give_to_send(f, 0, frame, sizeof frame, OWN | STP | ENP);
	set_csr(f, 0, 0x48);
	assert_int_equal(f->network.sent, 0);
	assert_true(csr(f, 0) & RINT);
	assert_int_equal(received_length(f, 0), 104);
	assert_true(memory_read(&f->memory, buffer_of(true, 0), got, sizeof got));
	assert_memory_equal(got, frame, sizeof got);
}

static void masks_interrupts(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[60];
	make_frame(frame, mac, sizeof frame);
	start(f, 2, 0);
	set_csr(f, 3, RINT);
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	assert_true(csr(f, 0) & RINT);
	assert_false(interrupted(f));
	set_csr(f, 3, 0);
	assert_true(interrupted(f));
	set_csr(f, 0, 0); /* IENA off */
	assert_false(interrupted(f));
	set_csr(f, 0, 0x40);
	assert_true(interrupted(f));
	set_csr(f, 0, 4); /* STOP takes all back */
	assert_int_equal(csr(f, 0), 4);
	assert_false(interrupted(f));
	set_csr(f, 5, 0xc000); /* TOKINTD, LTINTEN: only frames with LTINT interrupt */
	start(f, 2, 0);
	give_to_send(f, 0, frame, sizeof frame, OWN | STP | ENP);
	set_csr(f, 0, 0x48);
	assert_false(csr(f, 0) & TINT);
	give_to_send(f, 1, frame, sizeof frame, OWN | STP | ENP | 0x1000);
	set_csr(f, 0, 0x48);
	assert_true(csr(f, 0) & TINT);
}

static void stops_where_there_is_no_memory(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[60];
	make_frame(frame, mac, sizeof frame);
	start(f, 2, 0);
	set_descriptor(f, true, 0, 0xfffffff0, BUFFER_SIZE, OWN);
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	assert_int_equal(csr(f, 0) & 0x0830, 0x0800); /* MERR, and neither TXON nor RXON */
	set_csr(f, 0, 4);
	start(f, 2, 0);
	set_descriptor(f, false, 0, RAM - 4, 100, OWN | STP | ENP);
	set_csr(f, 0, 0x48);
	assert_int_equal(csr(f, 0) & 0x0830, 0x0800);
	set_csr(f, 0, 4);
	set_csr(f, 1, 0xfff0);
	set_csr(f, 2, 0xffff);
	set_csr(f, 0, 0x43);
	assert_true(csr(f, 0) & 0x0800);
	assert_int_equal(f->network.sent, 0);
}

/* A ring in read-only memory never ends, and frames may have no end either: each call does a bounded part. */
static void endless_rings_get_a_pause(void **state)
{
	struct fixture *f = *state;
	start(f, 2, 0);
	for (unsigned i = 0; i < 4; i++)
		set_descriptor(f, false, i, buffer_of(false, i), i == 0 ? 4096 : 1500, OWN | (i == 0 ? STP : 0));
	set_csr(f, 0, 0x48);
	for (unsigned i = 0; i < 4; i++)
		set_descriptor(f, false, i, buffer_of(false, i), 1500, OWN | (i == 3 ? ENP : 0));
	set_csr(f, 0, 0x48);
	assert_int_equal(f->network.sent, 0); /* too long for a wire */
	assert_true(csr(f, 0) & 0x4000);      /* BABL */
	assert_int_equal(f->counters[NETWORK_SEND_DROPS], 1);

	set_csr(f, 0, 4);
	start(f, 2, 0);
	uint8_t ring[16 * 4];
	for (unsigned i = 0; i < 4; i++)
		set_descriptor(f, false, i, buffer_of(false, i), 60, OWN | STP | ENP);
	assert_true(memory_read(&f->memory, TX_RING, ring, sizeof ring));
	int region = memory_add_movable_region(&f->memory, NULL);
	const struct memory_region rom = {.base = 0x200000, .size = 0x1000, .offset = 0, .read_only = true};
	assert_true(region >= 0);
	memory_move_region(&f->memory, region, &rom);
	assert_true(memory_write(&f->memory, 0, ring, sizeof ring));
	set_csr(f, 5, 1);
	set_csr(f, 30, 0);
	set_csr(f, 31, 0x20);
	set_csr(f, 5, 0);
	assert_in_range(f->network.sent, 1, 5000);
	unsigned before = f->network.sent;
	clock_advance(&f->rig.clock, 10000000);
	assert_true(f->network.sent > before);
}

static void does_nothing_without_the_bus(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[60];
	make_frame(frame, mac, sizeof frame);
	start(f, 2, 0);
	pci_config_write(f->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_IO);
	give_to_send(f, 0, frame, sizeof frame, OWN | STP | ENP);
	set_csr(f, 0, 0x48);
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	assert_int_equal(f->network.sent, 0);
	assert_int_equal(descriptor_flags(f, true, 0) & OWN, OWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(is_the_chip_that_drivers_look_for),
	    TEST(has_double_word_access_too),
	    TEST(its_phy_has_a_link),
	    TEST(sends_and_receives_in_every_style),
	    TEST(pads_short_frames_and_appends_the_fcs),
	    TEST(frames_span_buffers),
	    TEST(filters_addresses),
	    TEST(waits_for_buffers_and_then_misses),
	    TEST(waits_for_the_network),
	    TEST(loops_back),
	    TEST(masks_interrupts),
	    TEST(stops_where_there_is_no_memory),
	    TEST(endless_rings_get_a_pause),
	    TEST(does_nothing_without_the_bus),
	};
	return cmocka_run_group_tests_name("dev-pcnet", tests, NULL, NULL);
}

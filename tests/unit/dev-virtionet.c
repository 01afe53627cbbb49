/* SPDX-License-Identifier: MIT */
/* The virtio network adapter: features, frames both ways with offloads, merged buffers, control queue, hostile guests.
 */
#include "devices/virtionet.h"
#include "network-double.h"
#include "virtio-rig.h"

#define F_CSUM BIT64(0)
#define F_GUEST_CSUM BIT64(1)
#define F_MTU BIT64(3)
#define F_GUEST_TSO4 BIT64(7)
#define F_HOST_TSO4 BIT64(11)
#define F_MRG_RXBUF BIT64(15)
#define F_CTRL_VQ BIT64(17)
#define F_CTRL_RX BIT64(18)
#define F_CTRL_RX_EXTRA BIT64(20)
#define F_CTRL_MAC_ADDR BIT64(23)
#define HEADER 12u
#define RX 0u
#define TX 1u
#define CONTROL 2u
#define RX_BUFFERS VIRTIO_RIG_BUFFERS
#define TX_BUFFERS (VIRTIO_RIG_BUFFERS + 0x40000u)
#define CONTROL_BUFFERS (VIRTIO_RIG_BUFFERS + 0x80000u)

static const uint8_t mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};

struct fixture {
	struct virtio_rig rig;
	struct network_double network;
	uint64_t counters[NETWORK_COUNTERS];
	struct virtionet *net;
};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	virtio_rig_init(&f->rig);
	network_double_init(&f->network, NETWORK_TAKES_CHECKSUM | NETWORK_TAKES_TCP4 | NETWORK_TAKES_TCP6);
	network_set_counters(&f->network.base, f->counters);
	struct virtionet_config config = {.bus = f->rig.bus,
					  .device = VIRTIO_RIG_DEVICE,
					  .clock = &f->rig.rig.clock,
					  .memory = &f->rig.memory,
					  .network = &f->network.base};
	memcpy(config.mac, mac, sizeof mac);
	f->net = virtionet_create(&config, NULL);
	*state = f;
	return f->net != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	virtionet_destroy(f->net);
	network_close(&f->network.base);
	virtio_rig_destroy(&f->rig);
	test_free(f);
	return 0;
}

/* Receive buffers of this size, each one descriptor. */
static void offer_buffers(struct fixture *f, unsigned count, uint32_t size)
{
	for (unsigned i = 0; i < count; i++) {
		descriptor(&f->rig, RX, i, RX_BUFFERS + i * 0x1000, size, DESC_WRITE, 0);
		make_available(&f->rig, RX, (uint16_t)i);
	}
	ring_queue(&f->rig, RX);
}

static void send_bytes(struct fixture *f, const uint8_t *header, const uint8_t *bytes, uint32_t length)
{
	assert_true(memory_write(&f->rig.memory, TX_BUFFERS, header, HEADER));
	assert_true(memory_write(&f->rig.memory, TX_BUFFERS + 0x100, bytes, length));
	descriptor(&f->rig, TX, 0, TX_BUFFERS, HEADER, DESC_NEXT, 1);
	descriptor(&f->rig, TX, 1, TX_BUFFERS + 0x100, length, 0, 0);
	give(&f->rig, TX, 0);
}

static void make_frame(uint8_t *frame, uint32_t length)
{
	memcpy(frame, mac, 6);
	memcpy(frame + 6, "\x02\x99\x99\x99\x99\x99\x88\xb5", 8);
	for (uint32_t i = 14; i < length; i++)
		frame[i] = (uint8_t)(i * 7 + i / 256);
}

static uint8_t control(struct fixture *f, unsigned class, unsigned command, const void *data, uint32_t size)
{
	uint8_t words[2] = {(uint8_t) class, (uint8_t)command};
	assert_true(memory_write(&f->rig.memory, CONTROL_BUFFERS, words, 2));
	assert_true(memory_write(&f->rig.memory, CONTROL_BUFFERS + 0x100, data, size));
	poke(&f->rig, CONTROL_BUFFERS + 0x1000, 1, 0x77);
	descriptor(&f->rig, CONTROL, 0, CONTROL_BUFFERS, 2, DESC_NEXT, 1);
	descriptor(&f->rig, CONTROL, 1, CONTROL_BUFFERS + 0x100, size, DESC_NEXT, 2);
	descriptor(&f->rig, CONTROL, 2, CONTROL_BUFFERS + 0x1000, 1, DESC_WRITE, 0);
	give(&f->rig, CONTROL, 0);
	assert_int_equal(take(&f->rig, CONTROL, 0), 1);
	return (uint8_t)peek(&f->rig, CONTROL_BUFFERS + 0x1000, 1);
}

/* ---- tests ---- */

static void says_what_it_is(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_config_read(f->rig.bus, VIRTIO_RIG_DEVFN, 0, 4), 0x10411af4);
	virtio_rig_place(&f->rig);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(bar_in(&f->rig, 0x2000 + i, 1), mac[i]);
	assert_int_equal(bar_in(&f->rig, 0x2006, 2), 1);
	assert_int_equal(bar_in(&f->rig, 0x2008, 2), 1);
	assert_int_equal(offered_features(&f->rig) & F_MTU, 0); /* 1500 goes without saying */
}

static void sends_with_offloads(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[3000], header[HEADER] = {0};
	make_frame(frame, sizeof frame);
	start_driver(&f->rig, F_CSUM | F_HOST_TSO4, 3, 16);
	send_bytes(f, header, frame, sizeof frame);
	assert_int_equal(take(&f->rig, TX, 0), 0);
	assert_int_equal(f->network.length, sizeof frame);
	assert_memory_equal(f->network.bytes, frame, sizeof frame);
	assert_false(f->network.offload.checksum);

	static const uint8_t ip[] = {0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
	memcpy(frame + 12, ip, sizeof ip);
	frame[34 + 12] = 0x50;
	header[0] = 1; /* NEEDS_CSUM */
	header[1] = 1; /* TCPV4 */
	store_le(&header[4], 1448, 2);
	store_le(&header[6], 34, 2);
	store_le(&header[8], 16, 2);
	send_bytes(f, header, frame, sizeof frame);
	assert_int_equal(take(&f->rig, TX, 0), 0);
	assert_int_equal(f->network.sent, 2);
	assert_true(f->network.offload.checksum);
	assert_int_equal(f->network.offload.segment, NETWORK_TCP4);
	assert_int_equal(f->network.offload.size, 1448);

	header[1] = 3; /* UDP fragmentation: not offered */
	send_bytes(f, header, frame, sizeof frame);
	assert_int_equal(take(&f->rig, TX, 0), 0);
	header[1] = 1;
	store_le(&header[6], 60000, 2);
	send_bytes(f, header, frame, sizeof frame);
	assert_int_equal(take(&f->rig, TX, 0), 0);
	assert_int_equal(f->network.sent, 2);
	assert_int_equal(f->counters[NETWORK_SEND_DROPS], 2);
}

static void waits_for_the_network(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[100], header[HEADER] = {0};
	make_frame(frame, sizeof frame);
	start_driver(&f->rig, 0, 3, 16);
	f->network.refuses = true;
	send_bytes(f, header, frame, sizeof frame);
	assert_true(nothing_used(&f->rig, TX));
	ring_queue(&f->rig, TX); /* does not ask again by itself */
	assert_int_equal(f->network.refused, 1);
	network_double_room(&f->network);
	assert_int_equal(take(&f->rig, TX, 0), 0);
	assert_int_equal(f->network.sent, 1);
}

static void receives_into_one_buffer(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[1514], got[1514];
	make_frame(frame, sizeof frame);
	start_driver(&f->rig, 0, 3, 16);
	assert_false(network_double_deliver(&f->network, frame, sizeof frame)); /* no buffers yet */
	unsigned readies = f->network.readies;
	offer_buffers(f, 4, 1600);
	assert_int_equal(f->network.readies, readies + 1);
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	assert_int_equal(take(&f->rig, RX, 0), HEADER + sizeof frame);
	assert_int_equal(peek(&f->rig, RX_BUFFERS + 10, 2), 1);
	assert_true(memory_read(&f->rig.memory, RX_BUFFERS + HEADER, got, sizeof got));
	assert_memory_equal(got, frame, sizeof frame);
	assert_true(virtio_rig_intx(&f->rig)->level);
	(void)bar_in(&f->rig, 0x1000, 1);
	uint8_t big[1600];
	make_frame(big, sizeof big); /* does not fit, and buffers are not merged */
	assert_true(network_double_deliver(&f->network, big, sizeof big));
	assert_true(nothing_used(&f->rig, RX));
	assert_int_equal(f->counters[NETWORK_RECEIVE_DROPS], 1);
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	assert_int_equal(take(&f->rig, RX, 1), HEADER + sizeof frame);
}

static void merges_buffers(void **state)
{
	struct fixture *f = *state;
	static uint8_t frame[9000], got[9000];
	make_frame(frame, sizeof frame);
	start_driver(&f->rig, F_MRG_RXBUF | F_GUEST_CSUM, 3, 16);
	offer_buffers(f, 8, 1000);
	assert_false(network_double_deliver(&f->network, frame, sizeof frame)); /* needs ten */
	assert_true(nothing_used(&f->rig, RX));
	descriptor(&f->rig, RX, 8, RX_BUFFERS + 8 * 0x1000, 1000, DESC_WRITE, 0);
	descriptor(&f->rig, RX, 9, RX_BUFFERS + 9 * 0x1000, 1000, DESC_WRITE, 0);
	make_available(&f->rig, RX, 8);
	give(&f->rig, RX, 9);
	const struct network_frame whole = {.bytes = frame, .length = sizeof frame, .offload.trusted = true};
	assert_true(network_deliver(&f->network.base, &whole));
	uint32_t done = 0;
	for (unsigned i = 0; i < 10; i++) {
		uint32_t written = take(&f->rig, RX, (uint16_t)i), skip = i == 0 ? HEADER : 0;
		assert_int_equal(written, i < 9 ? 1000 : 12);
		assert_true(memory_read(&f->rig.memory, RX_BUFFERS + i * 0x1000 + skip, got + done, written - skip));
		done += written - skip;
	}
	assert_memory_equal(got, frame, sizeof frame);
	assert_int_equal(peek(&f->rig, RX_BUFFERS + 10, 2), 10);
	assert_int_equal(peek(&f->rig, RX_BUFFERS, 1), 2); /* DATA_VALID */
}

static bool takes(struct fixture *f, const uint8_t *address)
{
	uint8_t frame[60];
	make_frame(frame, sizeof frame);
	memcpy(frame, address, 6);
	uint64_t before = peek(&f->rig, used_ring(RX) + 2, 2);
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	return peek(&f->rig, used_ring(RX) + 2, 2) != before;
}

static void filters_by_the_control_queue(void **state)
{
	static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255}, other[6] = {2, 1, 1, 1, 1, 1},
			     group[6] = {0x33, 0x33, 0, 0, 0, 1}, group2[6] = {0x33, 0x33, 0, 0, 0, 2};
	static const uint8_t table[] = {1, 0, 0, 0, 2, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 1};
	static const uint8_t many[] = {0, 0, 0, 0, 65, 0, 0, 0};
	static const uint8_t on = 1, off = 0;
	struct fixture *f = *state;
	uint8_t long_table[8 + 65 * 6] = {0};
	start_driver(&f->rig, F_CTRL_VQ | F_CTRL_RX | F_CTRL_RX_EXTRA | F_CTRL_MAC_ADDR, 3, 64);
	offer_buffers(f, 32, 200);
	assert_true(takes(f, other)); /* takes all until it is told */
	assert_int_equal(control(f, 0, 0, &off, 1), 0);
	assert_true(takes(f, mac) && takes(f, broadcast));
	assert_false(takes(f, other) || takes(f, group));
	assert_int_equal(control(f, 1, 0, table, sizeof table), 0);
	assert_true(takes(f, other) && takes(f, group));
	assert_false(takes(f, group2));
	assert_int_equal(control(f, 0, 1, &on, 1), 0);
	assert_true(takes(f, group2));
	assert_int_equal(control(f, 0, 5, &on, 1), 0);
	assert_false(takes(f, broadcast));
	assert_int_equal(control(f, 0, 1, &off, 1), 0);
	memcpy(long_table, many, sizeof many);
	assert_int_equal(control(f, 1, 0, long_table, sizeof long_table), 0);
	assert_true(takes(f, group2)); /* more than fit: all */
	assert_false(takes(f, other));
	assert_int_equal(control(f, 1, 1, other, 6), 0);
	assert_true(takes(f, other));
	assert_false(takes(f, mac));
	/* Nonsense is refused. */
	assert_int_equal(control(f, 1, 0, many, sizeof many), 1);
	assert_int_equal(control(f, 1, 0, "\xff\xff\xff\xff", 4), 1);
	assert_int_equal(control(f, 0, 6, &on, 1), 1);
	assert_int_equal(control(f, 4, 0, &on, 1), 1);
	assert_int_equal(control(f, 1, 1, other, 5), 1);
	bar_out(&f->rig, 20, 1, 0); /* reset: as it was */
	assert_int_equal(bar_in(&f->rig, 0x2000, 1), mac[0]);
	assert_int_equal(bar_in(&f->rig, 0x2005, 1), mac[5]);
}

static void survives_bad_buffers(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[100], header[HEADER] = {0};
	make_frame(frame, sizeof frame);
	start_driver(&f->rig, F_MRG_RXBUF, 3, 16);
	descriptor(&f->rig, TX, 0, 0xffffffff0000, 200, 0, 0); /* no memory */
	give(&f->rig, TX, 0);
	assert_int_equal(take(&f->rig, TX, 0), 0);
	descriptor(&f->rig, TX, 0, TX_BUFFERS, 5, 0, 0); /* not even a header */
	give(&f->rig, TX, 0);
	assert_int_equal(take(&f->rig, TX, 0), 0);
	descriptor(&f->rig, TX, 0, TX_BUFFERS, 0x70000, 0, 0); /* longer than any frame */
	give(&f->rig, TX, 0);
	assert_int_equal(take(&f->rig, TX, 0), 0);
	assert_int_equal(f->network.sent, 0);
	assert_int_equal(f->counters[NETWORK_SEND_DROPS], 3);
	send_bytes(f, header, frame, sizeof frame);
	assert_int_equal(take(&f->rig, TX, 0), 0);
	assert_int_equal(f->network.sent, 1);
	descriptor(&f->rig, RX, 0, RX_BUFFERS, 4, DESC_WRITE, 0); /* smaller than a header */
	give(&f->rig, RX, 0);
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	assert_true(bar_in(&f->rig, 20, 1) & VIRTIO_STATUS_NEEDS_RESET);
	assert_true(network_double_deliver(&f->network, frame, sizeof frame));
	assert_int_equal(f->counters[NETWORK_RECEIVE_DROPS], 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(says_what_it_is),	    TEST(sends_with_offloads), TEST(waits_for_the_network),
	    TEST(receives_into_one_buffer), TEST(merges_buffers),      TEST(filters_by_the_control_queue),
	    TEST(survives_bad_buffers),
	};
	return cmocka_run_group_tests_name("dev-virtionet", tests, NULL, NULL);
}

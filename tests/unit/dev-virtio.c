/* SPDX-License-Identifier: MIT */
/* Virtio over PCI: what the guest finds, negotiation, split queues good and bad, interrupts of both kinds, reset. */
#include "virtio-rig.h"

#define FEATURE (UINT64_C(1) << 5)
#define QUEUES 2
#define SIZE 8

/* Gives back what it reads, and 'x' where there is more room; or keeps chains until it is told. */
struct echo {
	struct virtio virtio;
	bool keeps;
	unsigned started, resets, config_writes;
	unsigned kept;
	struct virtio_chain chain[SIZE];
};

struct fixture {
	struct virtio_rig r;
	struct echo echo;
};

static void echo_answer(struct echo *echo, unsigned queue, const struct virtio_chain *chain)
{
	uint8_t bytes[256];
	size_t size = virtio_read(&echo->virtio, chain, 0, bytes, sizeof bytes);
	memset(bytes + size, 'x', sizeof bytes - size);
	size_t written = virtio_write(&echo->virtio, chain, 0, bytes, sizeof bytes);
	virtio_push(&echo->virtio, queue, chain->head, (uint32_t)written);
}

static void echo_notified(struct virtio *virtio, unsigned queue)
{
	struct echo *echo = container_of(virtio, struct echo, virtio);
	while (virtio_pop(virtio, queue, &echo->chain[echo->kept])) {
		if (echo->keeps)
			echo->kept++;
		else
			echo_answer(echo, queue, &echo->chain[0]);
		if (echo->kept == SIZE)
			break;
	}
	virtio_signal(virtio, queue);
}

static bool echo_reset(struct virtio *virtio)
{
	struct echo *echo = container_of(virtio, struct echo, virtio);
	echo->resets++;
	return echo->kept == 0;
}

static void echo_started(struct virtio *virtio)
{
	container_of(virtio, struct echo, virtio)->started++;
}

static void echo_config_written(struct virtio *virtio, unsigned offset, unsigned size, uint32_t value)
{
	container_of(virtio, struct echo, virtio)->config_writes++;
	store_le(&virtio->config[offset], value, size);
}

static const struct virtio_ops echo_ops = {
    .notified = echo_notified, .reset = echo_reset, .started = echo_started, .config_written = echo_config_written};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	virtio_rig_init(&f->r);
	const struct virtio_config config = {.ops = &echo_ops,
					     .bus = f->r.bus,
					     .device = VIRTIO_RIG_DEVICE,
					     .memory = &f->r.memory,
					     .type = VIRTIO_ENTROPY,
					     .class_code = 0x00ff00,
					     .features = FEATURE,
					     .queues = QUEUES,
					     .queue_size = 64,
					     .config_size = 6,
					     .name = "echo"};
	assert_true(virtio_init(&f->echo.virtio, &config, NULL));
	memcpy(f->echo.virtio.config, "config", 6);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	virtio_exit(&f->echo.virtio);
	virtio_rig_destroy(&f->r);
	test_free(f);
	return 0;
}

static uint32_t config_in(struct fixture *f, unsigned offset, unsigned size)
{
	return pci_config_read(f->r.bus, VIRTIO_RIG_DEVFN, offset, size);
}

static void config_out(struct fixture *f, unsigned offset, unsigned size, uint32_t value)
{
	pci_config_write(f->r.bus, VIRTIO_RIG_DEVFN, offset, size, value);
}

/* Finds a vendor capability by its type, as drivers do. */
static unsigned find_capability(struct fixture *f, unsigned id, unsigned type)
{
	unsigned at = config_in(f, PCI_CAPABILITIES, 1);
	for (unsigned i = 0; at != 0 && i < 16; i++, at = config_in(f, at + 1, 1))
		if (config_in(f, at, 1) == id && (id != PCI_CAPABILITY_VENDOR || config_in(f, at + 3, 1) == type))
			return at;
	fail_msg("no capability %u, %u", id, type);
	return 0;
}

/* 4.1.2, 4.1.4: identity and structures. */
static void is_found(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(config_in(f, 0, 4), 0x10441af4);
	assert_int_equal(config_in(f, PCI_REVISION, 1), 1);
	assert_int_equal(config_in(f, PCI_SUBSYSTEM, 2), 0x1044);
	assert_true(config_in(f, PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES);
	static const uint32_t offset[] = {0, 0x0000, 0x3000, 0x1000, 0x2000};
	static const uint32_t size[] = {0, 56, 8, 1, 6};
	for (unsigned type = 1; type <= 4; type++) {
		unsigned at = find_capability(f, PCI_CAPABILITY_VENDOR, type);
		assert_int_equal(config_in(f, at + 4, 1), 0);
		assert_int_equal(config_in(f, at + 8, 4), offset[type]);
		assert_int_equal(config_in(f, at + 12, 4), size[type]);
	}
	assert_int_equal(config_in(f, find_capability(f, PCI_CAPABILITY_VENDOR, 2) + 16, 4), 4);
	unsigned msix = find_capability(f, PCI_CAPABILITY_MSIX, 0);
	assert_int_equal(config_in(f, msix + 2, 2), QUEUES);
	assert_int_equal(config_in(f, msix + 4, 4), 0x4000);
	assert_int_equal(config_in(f, msix + 8, 4), 0x5000);
	virtio_rig_place(&f->r);
	assert_int_equal(bar_in(&f->r, 18, 2), QUEUES);
	assert_int_equal(bar_in(&f->r, 24, 2), 64);
	bar_out(&f->r, 22, 2, 1);
	assert_int_equal(bar_in(&f->r, 30, 2), 1);
	bar_out(&f->r, 22, 2, QUEUES); /* 4.1.4.3.1: a queue that is not there has size 0 */
	assert_int_equal(bar_in(&f->r, 24, 2), 0);
	assert_int_equal(bar_in(&f->r, 0x2000, 4), 0x666e6f63);
	assert_int_equal(bar_in(&f->r, 0x2004, 4), 0x6769); /* and nothing behind the end */
	bar_out(&f->r, 0x2004, 2, 0x4241);
	assert_int_equal(bar_in(&f->r, 0x2004, 2), 0x4241);
	bar_out(&f->r, 0x2005, 2, 0);
	assert_int_equal(f->echo.config_writes, 1);
}

/* 4.1.4.9: the same registers through configuration space. */
static void window_reaches_the_registers(void **state)
{
	struct fixture *f = *state;
	unsigned at = find_capability(f, PCI_CAPABILITY_VENDOR, 5);
	config_out(f, at + 8, 4, 18);
	config_out(f, at + 12, 4, 2);
	assert_int_equal(config_in(f, at + 16, 4), QUEUES);
	config_out(f, at + 8, 4, 20);
	config_out(f, at + 12, 4, 1);
	config_out(f, at + 16, 1, 1);
	assert_int_equal(config_in(f, at + 16, 4), 1);
	config_out(f, at + 8, 4, 0x8000); /* beyond the BAR */
	config_out(f, at + 16, 4, 0x55aa55aa);
	assert_int_equal(config_in(f, at + 16, 4), 0x55aa55aa);
	config_out(f, at + 8, 4, 20);
	config_out(f, at + 4, 1, 1); /* no such BAR */
	config_out(f, at + 16, 1, 3);
	config_out(f, at + 4, 1, 0);
	assert_int_equal(config_in(f, at + 16, 4), 1);
	config_out(f, at + 12, 4, 3); /* no such size */
	config_out(f, at + 16, 4, 3);
	config_out(f, at + 12, 4, 1);
	assert_int_equal(config_in(f, at + 16, 4), 1);
}

/* 2.2, 3.1.1. */
static void features_are_negotiated(void **state)
{
	struct fixture *f = *state;
	uint64_t all = FEATURE | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1;
	virtio_rig_place(&f->r);
	assert_true(offered_features(&f->r) == all);
	bar_out(&f->r, 0, 4, 2);
	assert_int_equal(bar_in(&f->r, 4, 4), 0);
	assert_int_equal(accept_features(&f->r, FEATURE), 3); /* no legacy interface */
	bar_out(&f->r, 20, 1, 15);
	assert_int_equal(bar_in(&f->r, 20, 1), 3);			     /* and no DRIVER_OK without FEATURES_OK */
	assert_int_equal(accept_features(&f->r, VIRTIO_F_VERSION_1 | 1), 3); /* never offered */
	assert_int_equal(accept_features(&f->r, VIRTIO_F_VERSION_1 | FEATURE), 11);
	bar_out(&f->r, 8, 4, 0);
	bar_out(&f->r, 12, 4, 0); /* too late */
	assert_true(virtio_has(&f->echo.virtio, FEATURE));
	assert_int_equal(f->echo.started, 0);
	bar_out(&f->r, 20, 1, 15);
	assert_int_equal(f->echo.started, 1);
	bar_out(&f->r, 20, 1, 0);
	assert_int_equal(bar_in(&f->r, 20, 1), 0);
	assert_false(virtio_has(&f->echo.virtio, FEATURE));
}

static void text(struct virtio_rig *r, uint64_t address, const char *what)
{
	assert_true(memory_write(&r->memory, address, what, strlen(what)));
}

static void expect_text(struct virtio_rig *r, uint64_t address, const char *what)
{
	char found[64] = "";
	assert_true(memory_read(&r->memory, address, found, strlen(what)));
	assert_string_equal(found, what);
}

static void chain_goes_round(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	uint64_t at = VIRTIO_RIG_BUFFERS;
	start_driver(r, 0, QUEUES, SIZE);
	text(r, at, "hello");
	descriptor(r, 1, 3, at, 2, DESC_NEXT, 1);
	descriptor(r, 1, 1, at + 2, 3, DESC_NEXT, 5);
	descriptor(r, 1, 5, at + 100, 4, DESC_NEXT | DESC_WRITE, 0);
	descriptor(r, 1, 0, at + 200, 3, DESC_WRITE, 0);
	for (unsigned i = 0; i < 3 * SIZE; i++) { /* round the rings more than once */
		give(r, 1, 3);
		assert_int_equal(take(r, 1, 3), 7);
		expect_text(r, at + 100, "hell");
		expect_text(r, at + 200, "oxx");
	}
	assert_int_equal(virtio_rig_intx(r)->rises, 1);
	assert_int_equal(bar_in(r, 0x1000, 1), 1);
	assert_false(virtio_rig_intx(r)->level);
	assert_int_equal(bar_in(r, 0x1000, 1), 0);
}

/* 2.7.5.3. */
static void indirect_table_is_followed(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	uint64_t at = VIRTIO_RIG_BUFFERS;
	start_driver(r, VIRTIO_F_INDIRECT_DESC, QUEUES, SIZE);
	text(r, at, "abc");
	put_descriptor(r, at + 0x1000, 0, at, 3, DESC_NEXT, 2);
	put_descriptor(r, at + 0x1000, 2, at + 100, 5, DESC_WRITE, 0);
	descriptor(r, 0, 7, at + 0x1000, 48, DESC_INDIRECT, 0);
	give(r, 0, 7);
	assert_int_equal(take(r, 0, 7), 5);
	expect_text(r, at + 100, "abcxx");
}

static void expect_broken(struct fixture *f)
{
	struct virtio_rig *r = &f->r;
	assert_true(bar_in(r, 20, 1) & VIRTIO_STATUS_NEEDS_RESET);
	assert_true(nothing_used(r, 0));
	assert_int_equal(bar_in(r, 0x1000, 1), 2); /* 2.1.2: a configuration change says so */
	descriptor(r, 0, 0, VIRTIO_RIG_BUFFERS, 4, 0, 0);
	give(r, 0, 0);
	assert_true(nothing_used(r, 0));
	start_driver(r, VIRTIO_F_INDIRECT_DESC, QUEUES, SIZE);
}

/* What 2.7 forbids the driver stops the device, and nothing worse. */
static void bad_chains_stop_the_device(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	uint64_t at = VIRTIO_RIG_BUFFERS;
	start_driver(r, VIRTIO_F_INDIRECT_DESC, QUEUES, SIZE);
	descriptor(r, 0, 0, at, 4, DESC_NEXT, 1); /* a loop */
	descriptor(r, 0, 1, at, 4, DESC_NEXT, 0);
	give(r, 0, 0);
	expect_broken(f);
	give(r, 0, SIZE); /* no such descriptor */
	expect_broken(f);
	descriptor(r, 0, 0, at, 4, DESC_NEXT, SIZE);
	give(r, 0, 0);
	expect_broken(f);
	descriptor(r, 0, 0, at, 4, DESC_NEXT | DESC_WRITE, 1); /* readable after writable */
	descriptor(r, 0, 1, at, 4, 0, 0);
	give(r, 0, 0);
	expect_broken(f);
	descriptor(r, 0, 0, UINT64_MAX - 2, 4, 0, 0); /* beyond the last address */
	give(r, 0, 0);
	expect_broken(f);
	for (unsigned i = 0; i < 3; i++) /* more than 2^32 bytes */
		descriptor(r, 0, i, at, 0x80000000, i < 2 ? DESC_NEXT : 0, i + 1);
	give(r, 0, 0);
	expect_broken(f);
}

static void bad_indirect_tables_stop_the_device(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	uint64_t table = VIRTIO_RIG_BUFFERS;
	start_driver(r, VIRTIO_F_INDIRECT_DESC, QUEUES, SIZE);
	for (unsigned i = 0; i < 1024; i++)
		put_descriptor(r, table, i, table, 1, i == 1023 ? 0 : DESC_NEXT, i + 1);
	static const struct {
		uint32_t size;
		unsigned flags;
	} bad[] = {{0, DESC_INDIRECT},
		   {24, DESC_INDIRECT},
		   {16, DESC_INDIRECT | DESC_NEXT},
		   {64, DESC_INDIRECT}, /* leads out of the table */
		   {16 * 257, DESC_INDIRECT},
		   {UINT32_C(0xfffffff0), DESC_INDIRECT}};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		descriptor(r, 0, 0, table, bad[i].size, bad[i].flags, 0);
		give(r, 0, 0);
		expect_broken(f);
	}
	descriptor(r, 0, 0, VIRTIO_RIG_RAM - 8, 16, DESC_INDIRECT, 0);
	give(r, 0, 0);
	expect_broken(f);
	put_descriptor(r, table, 0, table, 16, DESC_INDIRECT, 0); /* nested */
	descriptor(r, 0, 0, table, 16, DESC_INDIRECT, 0);
	give(r, 0, 0);
	expect_broken(f);
	start_driver(r, 0, QUEUES, SIZE); /* not agreed upon */
	put_descriptor(r, table, 0, table, 16, 0, 0);
	descriptor(r, 0, 0, table, 16, DESC_INDIRECT, 0);
	give(r, 0, 0);
	expect_broken(f);
}

static void bad_rings_stop_the_device(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	start_driver(r, 0, QUEUES, SIZE);
	poke(r, available_ring(0) + 2, 2, SIZE + 1); /* more than the ring holds */
	ring_queue(r, 0);
	assert_true(bar_in(r, 20, 1) & VIRTIO_STATUS_NEEDS_RESET);
	static const struct {
		uint32_t reg, value;
	} bad[] = {{24, 7}, {24, 0}, {24, 128}, {32, 0x10008}, {40, 0x10001}, {48, 0x10002}};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		virtio_rig_place(r);
		assert_int_equal(accept_features(r, VIRTIO_F_VERSION_1), 11);
		bar_out(r, 22, 2, 0);
		bar_out(r, bad[i].reg, bad[i].reg == 24 ? 2 : 4, bad[i].value);
		bar_out(r, 28, 2, 1);
		assert_int_equal(bar_in(r, 28, 2), 0);
		assert_true(bar_in(r, 20, 1) & VIRTIO_STATUS_NEEDS_RESET);
	}
	static const uint32_t half[] = {36, 44, 52}; /* each part outside of memory */
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(accept_features(r, VIRTIO_F_VERSION_1), 11);
		bar_out(r, 22, 2, 0);
		bar_out(r, half[i], 4, 1);
		set_queue(r, 0, SIZE);
		bar_out(r, 20, 1, 15);
		descriptor(r, 0, 0, VIRTIO_RIG_BUFFERS, 4, 0, 0);
		give(r, 0, 0);
		assert_true(bar_in(r, 20, 1) & VIRTIO_STATUS_NEEDS_RESET);
	}
}

/* A driver cannot have more chains out than the queue has entries, however often it names the same one. */
static void chains_are_limited(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	start_driver(r, 0, QUEUES, SIZE / 2);
	f->echo.keeps = true;
	descriptor(r, 0, 0, VIRTIO_RIG_BUFFERS, 4, 0, 0);
	for (unsigned i = 0; i < SIZE / 2; i++)
		give(r, 0, 0);
	assert_int_equal(f->echo.kept, SIZE / 2);
	assert_int_equal(bar_in(r, 20, 1), 15);
	give(r, 0, 0);
	assert_int_equal(f->echo.kept, SIZE / 2);
	assert_true(bar_in(r, 20, 1) & VIRTIO_STATUS_NEEDS_RESET);
	f->echo.kept = 0;
}

static void unpopped_chains_come_again(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	start_driver(r, 0, QUEUES, SIZE);
	f->echo.keeps = true;
	descriptor(r, 0, 2, VIRTIO_RIG_BUFFERS, 4, DESC_WRITE, 0);
	descriptor(r, 0, 4, VIRTIO_RIG_BUFFERS, 4, DESC_WRITE, 0);
	make_available(r, 0, 2);
	give(r, 0, 4);
	assert_int_equal(f->echo.kept, 2);
	virtio_unpop(&f->echo.virtio, 0, 1);
	assert_true(virtio_pop(&f->echo.virtio, 0, &f->echo.chain[1]));
	assert_int_equal(f->echo.chain[1].head, 4);
	virtio_stage(&f->echo.virtio, 0, 2, 1);
	virtio_stage(&f->echo.virtio, 0, 4, 3);
	assert_true(nothing_used(r, 0)); /* until published: then both */
	virtio_publish(&f->echo.virtio, 0);
	assert_int_equal(take(r, 0, 2), 1);
	assert_int_equal(take(r, 0, 4), 3);
	f->echo.kept = 0;
}

static void bytes_end_where_memory_does(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	uint8_t bytes[32];
	start_driver(r, 0, QUEUES, SIZE);
	f->echo.keeps = true;
	descriptor(r, 0, 0, VIRTIO_RIG_BUFFERS, 8, DESC_NEXT, 1);
	descriptor(r, 0, 1, VIRTIO_RIG_RAM, 8, DESC_NEXT, 2);
	descriptor(r, 0, 2, VIRTIO_RIG_BUFFERS, 8, DESC_WRITE, 0);
	give(r, 0, 0);
	const struct virtio_chain *chain = &f->echo.chain[0];
	assert_int_equal(chain->read_size, 16);
	assert_int_equal(virtio_read(&f->echo.virtio, chain, 0, bytes, 16), 8);
	assert_int_equal(virtio_read(&f->echo.virtio, chain, 3, bytes, 5), 5);
	assert_int_equal(virtio_read(&f->echo.virtio, chain, 8, bytes, 1), 0);
	assert_int_equal(virtio_read(&f->echo.virtio, chain, 16, bytes, 1), 0);
	assert_int_equal(virtio_read(&f->echo.virtio, chain, UINT64_MAX, bytes, 1), 0);
	assert_int_equal(virtio_write(&f->echo.virtio, chain, 6, bytes, 32), 2);
	f->echo.kept = 0;
}

/* 2.7.7, 2.7.10. */
static void guest_says_when_it_wants_interrupts(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	start_driver(r, 0, QUEUES, SIZE);
	descriptor(r, 0, 0, VIRTIO_RIG_BUFFERS, 4, 0, 0);
	poke(r, available_ring(0), 2, 1);
	give(r, 0, 0);
	assert_false(virtio_rig_intx(r)->level);
	poke(r, available_ring(0), 2, 0);
	give(r, 0, 0);
	assert_true(virtio_rig_intx(r)->level);

	start_driver(r, VIRTIO_F_EVENT_IDX, QUEUES, SIZE);
	uint64_t used_event = available_ring(0) + 4 + 2 * SIZE, available_event = used_ring(0) + 4 + 8 * SIZE;
	descriptor(r, 0, 0, VIRTIO_RIG_BUFFERS, 4, 0, 0);
	poke(r, used_event, 2, 2);
	for (unsigned i = 1; i <= 3; i++) {
		give(r, 0, 0);
		assert_int_equal(virtio_rig_intx(r)->level, i == 3);
		assert_int_equal(peek(r, available_event, 2), i);
	}
	assert_int_equal(bar_in(r, 0x1000, 1), 1);
	give(r, 0, 0);
	assert_false(virtio_rig_intx(r)->level);
}

static void set_vector(struct virtio_rig *r, unsigned vector, uint32_t data, uint32_t masked)
{
	bar_out(r, 0x4000 + 16 * vector, 4, 0xfee01000);
	bar_out(r, 0x4004 + 16 * vector, 4, 0);
	bar_out(r, 0x4008 + 16 * vector, 4, data);
	bar_out(r, 0x400c + 16 * vector, 4, masked);
}

/* PCI 3.0, 6.8.2; 4.1.5.1. */
static void messages_instead_of_lines(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	unsigned control = find_capability(f, PCI_CAPABILITY_MSIX, 0) + 2;
	start_driver(r, 0, QUEUES, SIZE);
	descriptor(r, 0, 0, VIRTIO_RIG_BUFFERS, 4, 0, 0);
	config_out(f, control, 2, 0x8000);
	bar_out(r, 22, 2, 0);
	bar_out(r, 26, 2, QUEUES + 1); /* no such vector */
	assert_int_equal(bar_in(r, 26, 2), VIRTIO_NO_VECTOR);
	bar_out(r, 26, 2, 1);
	bar_out(r, 16, 2, 2);
	set_vector(r, 1, 0x41, 0);
	give(r, 0, 0);
	assert_int_equal(r->messages, 1);
	assert_int_equal(r->message_data, 0x41);
	assert_true(r->message_address == 0xfee01000);
	assert_false(virtio_rig_intx(r)->level);
	set_vector(r, 1, 0x42, 1);
	give(r, 0, 0);
	give(r, 0, 0);
	assert_int_equal(r->messages, 1);
	assert_int_equal(bar_in(r, 0x5000, 4), 2);
	bar_out(r, 0x400c + 16, 4, 0);
	assert_int_equal(r->messages, 2); /* once, however often */
	assert_int_equal(bar_in(r, 0x5000, 4), 0);
	config_out(f, control, 2, 0xc000); /* all masked */
	give(r, 0, 0);
	assert_int_equal(r->messages, 2);
	config_out(f, control, 2, 0x8000);
	assert_int_equal(r->messages, 3);
	set_vector(r, 2, 0x43, 0);
	virtio_config_changing(&f->echo.virtio);
	virtio_config_changed(&f->echo.virtio);
	assert_int_equal(r->message_data, 0x43);
	assert_int_equal(bar_in(r, 21, 1), 1);
	bar_out(r, 26, 2, VIRTIO_NO_VECTOR);
	give(r, 0, 0);
	assert_int_equal(r->messages, 4);
	config_out(f, control, 2, 0);
	give(r, 0, 0);
	assert_true(virtio_rig_intx(r)->level);
	config_out(f, control, 2, 0x8000); /* with messages on, the line is quiet */
	assert_false(virtio_rig_intx(r)->level);
	config_out(f, control, 2, 0);
	assert_true(virtio_rig_intx(r)->level);
	assert_int_equal(bar_in(r, 0x1000, 1), 1);
}

static void odd_table_accesses(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	virtio_rig_place(r);
	bar_out(r, 0x4000, 4, UINT32_MAX);
	assert_int_equal(bar_in(r, 0x4000, 4), 0xfffffffc);
	bar_out(r, 0x400c, 4, UINT32_MAX);
	assert_int_equal(bar_in(r, 0x400c, 4), 1);
	bar_out(r, 0x400e, 4, UINT32_MAX); /* over two entries */
	assert_int_equal(bar_in(r, 0x4010, 4), 0);
	bar_out(r, 0x4000 + 16 * (QUEUES + 1), 4, UINT32_MAX);
	assert_int_equal(bar_in(r, 0x4000 + 16 * (QUEUES + 1), 4), 0);
	assert_int_equal(bar_in(r, 0x5006, 4), 0);
	assert_int_equal(bar_in(r, 0x7ffc, 4), 0);
}

/* 2.4: the guest waits until the status is 0, and the device until nothing is under way. */
static void reset_waits_for_what_is_under_way(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	start_driver(r, 0, QUEUES, SIZE);
	f->echo.keeps = true;
	descriptor(r, 0, 0, VIRTIO_RIG_BUFFERS, 4, 0, 0);
	give(r, 0, 0);
	assert_int_equal(f->echo.kept, 1);
	bar_out(r, 20, 1, 0);
	assert_int_equal(bar_in(r, 20, 1), 15);
	bar_out(r, 20, 1, 0);
	assert_int_equal(f->echo.resets, 2); /* start_driver() made one */
	give(r, 0, 0);
	assert_int_equal(f->echo.kept, 1);
	virtio_push(&f->echo.virtio, 0, 0, 0); /* too late */
	virtio_signal(&f->echo.virtio, 0);
	assert_true(nothing_used(r, 0));
	assert_false(virtio_rig_intx(r)->level);
	f->echo.kept = 0;
	virtio_reset_done(&f->echo.virtio);
	assert_int_equal(bar_in(r, 20, 1), 0);
	f->echo.keeps = false;
	start_driver(r, 0, QUEUES, SIZE);
	descriptor(r, 0, 0, VIRTIO_RIG_BUFFERS, 4, 0, 0);
	give(r, 0, 0);
	assert_int_equal(take(r, 0, 0), 0);
	virtio_reset(&f->echo.virtio);
	assert_int_equal(r->rig.mmio.count, 0);
	assert_false(virtio_rig_intx(r)->level);
	virtio_rig_place(r);
	assert_int_equal(bar_in(r, 20, 1), 0);
	assert_int_equal(bar_in(r, 24, 2), 64);
}

static void needs_the_master_bit(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	start_driver(r, 0, QUEUES, SIZE);
	config_out(f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	descriptor(r, 0, 0, VIRTIO_RIG_BUFFERS, 4, 0, 0);
	give(r, 0, 0);
	assert_true(nothing_used(r, 0));
	config_out(f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(take(r, 0, 0), 0);
	assert_int_equal(bar_in(r, 0x1000, 1), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(is_found),
	    TEST(window_reaches_the_registers),
	    TEST(features_are_negotiated),
	    TEST(chain_goes_round),
	    TEST(indirect_table_is_followed),
	    TEST(bad_chains_stop_the_device),
	    TEST(bad_indirect_tables_stop_the_device),
	    TEST(bad_rings_stop_the_device),
	    TEST(chains_are_limited),
	    TEST(unpopped_chains_come_again),
	    TEST(bytes_end_where_memory_does),
	    TEST(guest_says_when_it_wants_interrupts),
	    TEST(messages_instead_of_lines),
	    TEST(odd_table_accesses),
	    TEST(reset_waits_for_what_is_under_way),
	    TEST(needs_the_master_bit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

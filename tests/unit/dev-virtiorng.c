/* SPDX-License-Identifier: MIT */
/* The virtio entropy device: bytes in the guest's memory, the limit on how many, a host without any, bad buffers,
 * reset. */
#include "devices/virtiorng.h"
#include "virtio-rig.h"

#define SIZE 8u
#define BUFFER VIRTIO_RIG_BUFFERS

struct fixture {
	struct virtio_rig r;
	struct virtiorng *rng;
	bool dry;
	uint8_t next; /* the source counts */
	uint32_t given;
};

static bool count_up(void *opaque, uint8_t *bytes, size_t size)
{
	struct fixture *f = opaque;
	assert_true(size > 0 && size <= VIRTIORNG_FILL_MAX);
	if (f->dry)
		return false;
	for (size_t i = 0; i < size; i++)
		bytes[i] = ++f->next;
	f->given += (uint32_t)size;
	return true;
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	virtio_rig_init(&f->r);
	const struct virtiorng_config config = {.bus = f->r.bus,
						.device = VIRTIO_RIG_DEVICE,
						.clock = &f->r.rig.clock,
						.memory = &f->r.memory,
						.fill = count_up,
						.opaque = f};
	f->rng = virtiorng_create(&config, NULL);
	assert_non_null(f->rng);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	virtiorng_destroy(f->rng);
	assert_null(f->r.rig.clock.timers);
	virtio_rig_destroy(&f->r);
	test_free(f);
	return 0;
}

static void ask(struct fixture *f, uint32_t size)
{
	descriptor(&f->r, 0, 0, BUFFER, size, DESC_WRITE, 0);
	give(&f->r, 0, 0);
}

/* Nothing is configured, so there is no capability of type 4 (4.1.4.6). */
static void says_what_it_is(void **state)
{
	struct fixture *f = *state;
	unsigned types = 0, at = pci_config_read(f->r.bus, VIRTIO_RIG_DEVFN, 0x34, 1);
	assert_int_equal(pci_config_read(f->r.bus, VIRTIO_RIG_DEVFN, 0, 4), 0x10441af4);
	for (; at != 0; at = pci_config_read(f->r.bus, VIRTIO_RIG_DEVFN, at + 1, 1))
		if (pci_config_read(f->r.bus, VIRTIO_RIG_DEVFN, at, 1) == 9)
			types |= 1u << pci_config_read(f->r.bus, VIRTIO_RIG_DEVFN, at + 3, 1);
	assert_int_equal(types, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5);
}

static void fills_buffers(void **state)
{
	struct fixture *f = *state;
	start_driver(&f->r, 0, 1, SIZE);
	descriptor(&f->r, 0, 0, BUFFER, 3, DESC_WRITE | DESC_NEXT, 1);
	descriptor(&f->r, 0, 1, BUFFER + 16, 5, DESC_WRITE, 0);
	give(&f->r, 0, 0);
	assert_int_equal(take(&f->r, 0, 0), 8);
	assert_int_equal(peek(&f->r, BUFFER, 4), 0x030201);
	assert_int_equal(peek(&f->r, BUFFER + 16, 8), UINT64_C(0x0807060504));
	assert_true(virtio_rig_intx(&f->r)->level);
}

static void gives_a_part_of_what_is_too_much(void **state)
{
	struct fixture *f = *state;
	start_driver(&f->r, 0, 1, SIZE);
	poke(&f->r, BUFFER + VIRTIORNG_REQUEST_MAX, 1, 0xee);
	ask(f, 0x80000);
	assert_int_equal(take(&f->r, 0, 0), VIRTIORNG_REQUEST_MAX);
	assert_int_equal(f->given, VIRTIORNG_REQUEST_MAX);
	assert_int_equal(peek(&f->r, BUFFER + VIRTIORNG_REQUEST_MAX, 1), 0xee);
}

/* The guest asks without end: it gets its share of each period, and the rest in time. */
static void gives_no_more_than_its_share(void **state)
{
	struct fixture *f = *state;
	start_driver(&f->r, 0, 1, SIZE);
	for (unsigned i = 0; i < VIRTIORNG_PERIOD_BYTES / VIRTIORNG_REQUEST_MAX; i++) {
		ask(f, VIRTIORNG_REQUEST_MAX);
		assert_int_equal(take(&f->r, 0, 0), VIRTIORNG_REQUEST_MAX);
	}
	ask(f, 1);
	ring_queue(&f->r, 0);
	assert_true(nothing_used(&f->r, 0));
	clock_advance(&f->r.rig.clock, VIRTIORNG_PERIOD_NS - 1);
	ring_queue(&f->r, 0);
	assert_true(nothing_used(&f->r, 0));
	assert_int_equal(f->given, VIRTIORNG_PERIOD_BYTES);
	clock_advance(&f->r.rig.clock, 1);
	assert_int_equal(take(&f->r, 0, 0), 1);
}

static void counts_small_requests_too(void **state)
{
	struct fixture *f = *state;
	unsigned served = 0;
	start_driver(&f->r, 0, 1, SIZE);
	for (ask(f, 1); !nothing_used(&f->r, 0); ask(f, 1), served++)
		assert_int_equal(take(&f->r, 0, 0), 1);
	assert_int_equal(served, VIRTIORNG_PERIOD_BYTES / VIRTIORNG_REQUEST_COST);
}

static void waits_for_the_host(void **state)
{
	struct fixture *f = *state;
	start_driver(&f->r, 0, 1, SIZE);
	f->dry = true;
	ask(f, 64);
	clock_advance(&f->r.rig.clock, 3 * VIRTIORNG_PERIOD_NS);
	assert_true(nothing_used(&f->r, 0));
	f->dry = false;
	clock_advance(&f->r.rig.clock, VIRTIORNG_PERIOD_NS);
	assert_int_equal(take(&f->r, 0, 0), 64);
}

static void stops_at_bad_buffers(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint64_t address;
		uint32_t size;
		unsigned flags;
	} bad[] = {{BUFFER, 8, 0}, {BUFFER, 0, DESC_WRITE}, {UINT64_C(1) << 40, 8, DESC_WRITE}};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		start_driver(&f->r, 0, 1, SIZE);
		descriptor(&f->r, 0, 0, bad[i].address, bad[i].size, bad[i].flags, 0);
		give(&f->r, 0, 0);
		assert_true(nothing_used(&f->r, 0));
		assert_int_equal(bar_in(&f->r, 20, 1), 15 | VIRTIO_STATUS_NEEDS_RESET);
	}
	start_driver(&f->r, 0, 1, SIZE);
	ask(f, 8);
	assert_int_equal(take(&f->r, 0, 0), 8);
}

/* A reset gives up what waits, and is no way to more bytes. */
static void forgets_at_reset(void **state)
{
	struct fixture *f = *state;
	start_driver(&f->r, 0, 1, SIZE);
	for (ask(f, VIRTIORNG_REQUEST_MAX); !nothing_used(&f->r, 0); ask(f, VIRTIORNG_REQUEST_MAX))
		(void)take(&f->r, 0, 0);
	virtiorng_reset(f->rng);
	assert_null(f->r.rig.clock.timers);
	start_driver(&f->r, 0, 1, SIZE);
	ask(f, 64);
	assert_true(nothing_used(&f->r, 0));
	clock_advance(&f->r.rig.clock, VIRTIORNG_PERIOD_NS);
	assert_int_equal(take(&f->r, 0, 0), 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(says_what_it_is, setup, teardown),
	    cmocka_unit_test_setup_teardown(fills_buffers, setup, teardown),
	    cmocka_unit_test_setup_teardown(gives_a_part_of_what_is_too_much, setup, teardown),
	    cmocka_unit_test_setup_teardown(gives_no_more_than_its_share, setup, teardown),
	    cmocka_unit_test_setup_teardown(counts_small_requests_too, setup, teardown),
	    cmocka_unit_test_setup_teardown(waits_for_the_host, setup, teardown),
	    cmocka_unit_test_setup_teardown(stops_at_bad_buffers, setup, teardown),
	    cmocka_unit_test_setup_teardown(forgets_at_reset, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

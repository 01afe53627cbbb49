/* SPDX-License-Identifier: MIT */
/* Firmware configuration: items by port and by DMA, the directory, and addresses and lengths that lie. */
#include "devices/fwcfg.h"
#include "rig.h"

#define RAM_SIZE 0x10000u
#define DESCRIPTOR 0x100u
#define BUFFER 0x1000u
#define READ 2u
#define SKIP 4u
#define SELECT 8u
#define WRITE 16u

struct fixture {
	struct rig rig;
	struct memory memory;
	struct fwcfg *fwcfg;
};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	assert_true(memory_init(&f->memory, RAM_SIZE, NULL));
	assert_true(memory_add_region(&f->memory, 0, RAM_SIZE, 0, false, NULL));
	f->fwcfg = fwcfg_create(&f->memory, NULL);
	assert_true(fwcfg_map(f->fwcfg, &f->rig.ports, NULL));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	fwcfg_destroy(f->fwcfg);
	memory_destroy(&f->memory);
	test_free(f);
	return 0;
}

static void choose(struct fixture *f, unsigned key)
{
	io_write(&f->rig.ports, 0x510, 2, key);
}

static uint64_t number(struct fixture *f, unsigned bytes, bool big_endian)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < bytes; i++) {
		uint64_t byte = in8(&f->rig, 0x511);
		value = big_endian ? value << 8 | byte : value | byte << (8 * i);
	}
	return value;
}

/* Runs one descriptor and returns the control word that the device left. */
static uint32_t dma(struct fixture *f, uint32_t control, uint32_t length, uint64_t address)
{
	uint32_t words[4] = {__builtin_bswap32(control), __builtin_bswap32(length),
			     __builtin_bswap32((uint32_t)(address >> 32)), __builtin_bswap32((uint32_t)address)};
	assert_true(memory_write(&f->memory, DESCRIPTOR, words, sizeof words));
	io_write(&f->rig.ports, 0x514, 4, 0);
	io_write(&f->rig.ports, 0x518, 4, __builtin_bswap32(DESCRIPTOR));
	assert_true(memory_read(&f->memory, DESCRIPTOR, words, sizeof words));
	return __builtin_bswap32(words[0]);
}

static void ports_read_items(void **state)
{
	struct fixture *f = *state;
	choose(f, FWCFG_SIGNATURE);
	assert_int_equal(number(f, 4, true), 0x51454d55);
	assert_int_equal(in8(&f->rig, 0x511), 0); /* beyond the end */
	choose(f, FWCFG_ID);
	assert_int_equal(number(f, 4, false), 3);
	assert_true(fwcfg_add_number(f->fwcfg, FWCFG_RAM_SIZE, UINT64_C(0x123456789a), 8, NULL));
	choose(f, FWCFG_RAM_SIZE | 0x4000);
	out8(&f->rig, 0x511, 0xff); /* no effect */
	assert_int_equal(number(f, 8, false), UINT64_C(0x123456789a));
	choose(f, 0x7777);
	assert_int_equal(number(f, 4, false), 0);
	choose(f, FWCFG_ID);
	assert_int_equal(in8(&f->rig, 0x511), 3);
	fwcfg_reset(f->fwcfg);
	assert_int_equal(in8(&f->rig, 0x511), 'Q');
	assert_int_equal(in8(&f->rig, 0x510), 0);
}

static void directory_names_the_files(void **state)
{
	struct fixture *f = *state;
	assert_true(fwcfg_add_file(f->fwcfg, "etc/one", "abc", 3, false, NULL));
	assert_true(fwcfg_add_file(f->fwcfg, "bootorder", "x", 1, false, NULL));
	choose(f, FWCFG_FILE_DIRECTORY);
	assert_int_equal(number(f, 4, true), 2);
	assert_int_equal(number(f, 4, true), 3);
	unsigned key = (unsigned)number(f, 2, true);
	assert_int_equal(number(f, 2, true), 0);
	char name[FWCFG_NAME];
	for (unsigned i = 0; i < sizeof name; i++)
		name[i] = (char)in8(&f->rig, 0x511);
	assert_string_equal(name, "etc/one");
	assert_int_equal(number(f, 4, true), 1);
	assert_int_equal(number(f, 2, true), key + 1);
	choose(f, key);
	assert_int_equal(number(f, 3, true), 0x616263);
}

static void wiring_errors_are_told(void **state)
{
	struct fixture *f = *state;
	struct error error;
	assert_false(fwcfg_add_number(f->fwcfg, FWCFG_ID, 1, 4, &error));
	assert_false(fwcfg_add_number(f->fwcfg, 0x20, 1, 4, &error));
	assert_false(fwcfg_add_number(f->fwcfg, 0xc001, 1, 4, &error));
	assert_false(fwcfg_add(f->fwcfg, 7, "", FWCFG_ITEM_SIZE + 1, &error));
	assert_int_equal(error.kind, ERROR_INPUT);
	char name[FWCFG_NAME + 1];
	memset(name, 'n', FWCFG_NAME);
	name[FWCFG_NAME] = 0;
	assert_false(fwcfg_add_file(f->fwcfg, name, "", 0, false, &error));
	assert_false(fwcfg_add_file(f->fwcfg, "", "", 0, false, &error));
	unsigned added = 0;
	for (unsigned i = 0; i < FWCFG_ITEMS; i++) {
		name[1] = 0;
		name[0] = (char)('0' + i);
		added += fwcfg_add_file(f->fwcfg, name, "", 0, false, &error);
		assert_false(fwcfg_add_file(f->fwcfg, name, "", 0, false, &error)); /* the name is in use */
	}
	assert_int_equal(added, FWCFG_ITEMS - 3);
}

static void dma_reads_skips_and_selects(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[8];
	assert_int_equal(io_read(&f->rig.ports, 0x514, 4), 0x554d4551); /* "QEMU" in order */
	assert_int_equal(io_read(&f->rig.ports, 0x518, 4), 0x47464320);
	assert_true(fwcfg_add_file(f->fwcfg, "f", "abcdef", 6, false, NULL));
	assert_true(memory_fill(&f->memory, BUFFER, 0xee, 8));
	assert_int_equal(dma(f, 0x20u << 16 | SELECT | SKIP, 2, 0), 0);
	assert_int_equal(dma(f, READ, 2, BUFFER), 0);
	assert_true(memory_read(&f->memory, BUFFER, bytes, 8));
	assert_memory_equal(bytes, "cd\xee\xee", 4);
	assert_int_equal(dma(f, READ, 4, BUFFER), 0); /* zeros after the end */
	assert_true(memory_read(&f->memory, BUFFER, bytes, 8));
	assert_memory_equal(bytes, "ef\0\0\xee", 5);
	assert_int_equal(dma(f, 0x777u << 16 | SELECT | READ, 8, BUFFER), 0);
	assert_true(memory_read(&f->memory, BUFFER, bytes, 8));
	assert_memory_equal(bytes, "\0\0\0\0\0\0\0\0", 8);
	assert_int_equal(dma(f, SKIP, UINT32_MAX, 0), 0);
	assert_int_equal(dma(f, 0, 0, 0), 0);
}

static void dma_writes_only_what_is_writable(void **state)
{
	struct fixture *f = *state;
	assert_true(fwcfg_add_file(f->fwcfg, "fixed", "abcd", 4, false, NULL));
	assert_true(fwcfg_add_file(f->fwcfg, "open", "abcd", 4, true, NULL));
	assert_true(memory_write(&f->memory, BUFFER, "WXYZ.", 5));
	assert_int_equal(dma(f, 0x20u << 16 | SELECT | WRITE, 4, BUFFER), 1);
	assert_int_equal(dma(f, 0x21u << 16 | SELECT | WRITE, 5, BUFFER), 1); /* longer than the file */
	assert_int_equal(dma(f, 0x21u << 16 | SELECT | SKIP, 1, 0), 0);
	assert_int_equal(dma(f, WRITE, 2, BUFFER), 0);
	choose(f, 0x21);
	assert_int_equal(number(f, 4, true), 0x61575864);
	choose(f, 0x20);
	assert_int_equal(number(f, 4, true), 0x61626364);
}

static void dma_addresses_are_checked(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(dma(f, SELECT | READ, 4, RAM_SIZE), 1);
	assert_int_equal(dma(f, SELECT | READ, 4, RAM_SIZE - 2), 1);
	assert_int_equal(dma(f, SELECT | READ, UINT32_MAX, UINT64_MAX - 2), 1);
	assert_int_equal(dma(f, SELECT | READ, 4, UINT64_MAX), 1);
	assert_int_equal(dma(f, SELECT | READ, UINT32_MAX, RAM_SIZE - 64), 1);
	for (uint64_t low = 0; low < 32; low++) { /* a descriptor that is not in RAM, or partly */
		io_write(&f->rig.ports, 0x514, 4, UINT32_MAX);
		io_write(&f->rig.ports, 0x518, 4, __builtin_bswap32((uint32_t)(UINT32_MAX - low)));
		io_write(&f->rig.ports, 0x518, 4, __builtin_bswap32((uint32_t)(RAM_SIZE - low)));
	}
	io_write(&f->rig.ports, 0x514, 2, 0xffff); /* neither half */
	assert_int_equal(dma(f, SELECT | READ, 4, BUFFER), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(ports_read_items),
	    TEST(directory_names_the_files),
	    TEST(wiring_errors_are_told),
	    TEST(dma_reads_skips_and_selects),
	    TEST(dma_writes_only_what_is_writable),
	    TEST(dma_addresses_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

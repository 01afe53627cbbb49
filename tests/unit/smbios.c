/* SPDX-License-Identifier: MIT */
/* SMBIOS: the structures in a row, their strings, the entry point; walked as a reader would. */
#include "machine/smbios.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"

#define BASE 0xf0000u
#define MIB(n) ((uint64_t)(n) << 20)

/* The next structure's place: behind the strings, which end with an empty one. */
static const uint8_t *next(const uint8_t *at, const uint8_t *end)
{
	assert_true(end - at >= 6);
	assert_true(at[1] >= 4 && at[1] <= end - at - 2);
	at += at[1];
	while (at[0] != 0 || at[1] != 0) {
		at++;
		assert_true(end - at >= 2);
	}
	return at + 2;
}

/* The n-th structure of a type. */
static const uint8_t *find(const struct smbios_tables *tables, unsigned type, unsigned n)
{
	const uint8_t *end = tables->bytes + tables->size;
	for (const uint8_t *at = tables->bytes; at < end; at = next(at, end))
		if (at[0] == type && n-- == 0)
			return at;
	return NULL;
}

/* The string that a field names; "" for number 0. */
static const char *string(const uint8_t *structure, unsigned field)
{
	const char *text = (const char *)structure + structure[1];
	if (structure[field] == 0)
		return "";
	for (unsigned i = 1; i < structure[field]; i++)
		text += strlen(text) + 1;
	return text;
}

static struct smbios_tables *build(const char *name, uint64_t memory_size, unsigned cpus, bool firmware)
{
	const struct smbios_config config = {
	    .name = name, .memory_size = memory_size, .cpus = cpus, .firmware = firmware};
	struct smbios_tables *tables = malloc(sizeof *tables);
	smbios_build(&config, tables);
	return tables;
}

static void structures_are_as_the_entry_point_counts_them(void **state)
{
	(void)state;
	for (unsigned firmware = 0; firmware < 2; firmware++) {
		struct smbios_tables *tables = build("web", MIB(256), 8, firmware);
		const uint8_t *end = tables->bytes + tables->size;
		unsigned count = 0, last = 0;
		ptrdiff_t largest = 0;
		uint16_t handles[64];
		for (const uint8_t *at = tables->bytes; at < end; count++) {
			const uint8_t *following = next(at, end);
			largest = following - at > largest ? following - at : largest;
			last = at[0];
			handles[count] = (uint16_t)load_le(at + 2, 2);
			for (unsigned i = 0; i < count; i++)
				assert_int_not_equal(handles[i], handles[count]);
			at = following;
		}
		assert_int_equal(last, 127);
		assert_memory_equal(tables->anchor, "_SM_", 4);
		assert_int_equal(tables->anchor[5], 0x1f);
		assert_int_equal(load_le(tables->anchor + 8, 2), largest);
		assert_int_equal(load_le(tables->anchor + 22, 2), tables->size);
		assert_int_equal(load_le(tables->anchor + 28, 2), count);
		assert_int_equal(find(tables, 0, 0) != NULL, !firmware); /* firmware describes itself */
		assert_non_null(find(tables, 4, 7));
		assert_null(find(tables, 4, 8));
		free(tables);
	}
}

static void strings_are_where_fields_say(void **state)
{
	(void)state;
	char longest[200];
	memset(longest, 'n', sizeof longest - 1);
	longest[sizeof longest - 1] = 0;
	struct smbios_tables *tables = build(longest, MIB(256), 2, false);
	assert_string_equal(string(find(tables, 1, 0), 4), "nfold");
	assert_int_equal(strlen(string(find(tables, 3, 0), 8)), 64);
	assert_string_equal(string(find(tables, 4, 1), 4), "CPU 001");
	assert_string_equal(string(find(tables, 17, 0), 16), "DIMM 0");
	free(tables);
	tables = build(NULL, MIB(256), 1, false);
	assert_string_equal(string(find(tables, 3, 0), 8), "");
	free(tables);
}

/* Sizes in the field that holds them, and in the wider one where it does not. */
static void memory_at_every_limit(void **state)
{
	static const struct {
		uint64_t size;
		uint32_t device, device_extended, last_kib;
	} cases[] = {
	    {MIB(2), 2, 0, (2u << 10) - 1},
	    {MIB(3072), 3072, 0, (3072u << 10) - 1},
	    {MIB(0x7ffe), 0x7ffe, 0, (3072u << 10) - 1},
	    {MIB(0x7fff), 0x7fff, 0x7fff, (3072u << 10) - 1},
	};
	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct smbios_tables *tables = build(NULL, cases[i].size, 1, true);
		const uint8_t *device = find(tables, 17, 0);
		assert_int_equal(load_le(device + 12, 2), cases[i].device);
		assert_int_equal(load_le(device + 28, 4), cases[i].device_extended);
		assert_int_equal(load_le(device + 4, 2), load_le(find(tables, 16, 0) + 2, 2));
		assert_int_equal(load_le(find(tables, 16, 0) + 7, 4), cases[i].size >> 10);
		assert_int_equal(load_le(find(tables, 19, 0) + 8, 4), cases[i].last_kib);
		const uint8_t *high = find(tables, 19, 1);
		assert_int_equal(high != NULL, cases[i].size > MIB(3072));
		if (high != NULL) {
			assert_int_equal(load_le(high + 4, 4), MIB(4096) >> 10);
			assert_int_equal(load_le(high + 8, 4), ((MIB(1024) + cases[i].size) >> 10) - 1);
		}
		free(tables);
	}
}

static uint8_t sum(const uint8_t *bytes, unsigned count)
{
	uint8_t value = 0;
	while (count-- > 0)
		value = (uint8_t)(value + *bytes++);
	return value;
}

static void placed_tables_have_address_and_checksums(void **state)
{
	const struct smbios_config config = {.memory_size = MIB(64), .cpus = 1};
	struct smbios_tables *tables = build(NULL, MIB(64), 1, false);
	uint8_t *area = calloc(1, SMBIOS_AREA_SIZE);
	(void)state;
	smbios_place(&config, area, BASE);
	assert_int_equal((BASE + SMBIOS_ANCHOR_OFFSET) % 16, 0);
	assert_int_equal(sum(area, 31), 0);
	assert_int_equal(sum(area + 16, 15), 0);
	uint64_t address = load_le(area + 24, 4);
	assert_in_range(address, BASE + 31, BASE + SMBIOS_AREA_SIZE - tables->size);
	assert_memory_equal(area + (address - BASE), tables->bytes, tables->size);
	free(area);
	free(tables);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(structures_are_as_the_entry_point_counts_them),
	    cmocka_unit_test(strings_are_where_fields_say),
	    cmocka_unit_test(memory_at_every_limit),
	    cmocka_unit_test(placed_tables_have_address_and_checksums),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

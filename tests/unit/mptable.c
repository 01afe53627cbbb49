/* SPDX-License-Identifier: MIT */
/* The MP tables read as the specification says, chapter 4, by a walk that shares nothing with what wrote them. */
#include "machine/mptable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define BASE 0xf4000u

static uint32_t read_le(const uint8_t *at, unsigned bytes)
{
	uint32_t value = 0;
	while (bytes-- > 0)
		value = value << 8 | at[bytes];
	return value;
}

static uint8_t sum(const uint8_t *at, uint32_t size)
{
	uint8_t total = 0;
	while (size-- > 0)
		total = (uint8_t)(total + *at++);
	return total;
}

struct seen {
	unsigned processors, buses, ioapics, interrupts, locals;
	uint8_t input_of_pci[128], input_of_isa[16];
	unsigned boots, ioapic_id;
};

static const uint8_t *walk(const uint8_t *at, unsigned entries, struct seen *seen)
{
	for (; entries > 0; entries--) {
		unsigned type = at[0];
		assert_true(type <= 4);
		if (type == 0) {
			assert_int_equal(at[1], seen->processors);
			assert_int_equal(at[3] & 1, 1);
			seen->boots += at[3] >> 1 & 1;
			seen->processors++;
		} else if (type == 1) {
			assert_memory_equal(at + 2, at[1] == 0 ? "PCI   " : "ISA   ", 6);
			seen->buses++;
		} else if (type == 2) {
			assert_int_equal(read_le(at + 4, 4), 0xfec00000);
			seen->ioapic_id = at[1];
			seen->ioapics++;
		} else if (type == 3) {
			assert_int_equal(at[6], seen->ioapic_id);
			assert_int_equal(at[1], 0);
			*(at[4] == 0 ? &seen->input_of_pci[at[5]] : &seen->input_of_isa[at[5]]) = at[7];
			seen->interrupts++;
		} else {
			assert_int_equal(at[1], at[7] == 0 ? 3 : 1); /* LINT0: the 8259s; LINT1: NMI */
			seen->locals++;
		}
		at += type == 0 ? 20 : 8;
	}
	return at;
}

static void tables_describe_the_board(void **state)
{
	(void)state;
	for (unsigned cpus = 1; cpus <= 8; cpus++) {
		uint8_t area[MPTABLE_AREA_SIZE] = {0};
		struct seen seen = {0};
		mptable_place(cpus, area, BASE);
		assert_memory_equal(area, "_MP_", 4);
		assert_int_equal(area[8], 1);
		assert_int_equal(sum(area, 16), 0);
		const uint8_t *table = area + (read_le(area + 4, 4) - BASE);
		uint32_t size = read_le(table + 4, 2);
		assert_memory_equal(table, "PCMP", 4);
		assert_true(table + size <= area + sizeof area);
		assert_int_equal(sum(table, size), 0);
		assert_int_equal(read_le(table + 36, 4), 0xfee00000);
		assert_ptr_equal(walk(table + 44, read_le(table + 34, 2), &seen), table + size);
		assert_int_equal(seen.processors, cpus);
		assert_int_equal(seen.boots, 1);
		assert_int_equal(seen.buses, 2);
		assert_int_equal(seen.ioapics, 1);
		assert_int_equal(seen.ioapic_id, cpus);
		assert_int_equal(seen.interrupts, 15 + 31 * 4);
		assert_int_equal(seen.locals, 2);
		assert_int_equal(seen.input_of_isa[0], 2);
		assert_int_equal(seen.input_of_isa[4], 4);
		assert_int_equal(seen.input_of_pci[1 << 2 | 0], 16);
		assert_int_equal(seen.input_of_pci[3 << 2 | 0], 18);
		assert_int_equal(seen.input_of_pci[5 << 2 | 3], 19);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(tables_describe_the_board)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

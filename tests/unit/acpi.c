/* SPDX-License-Identifier: MIT */
/* The ACPI tables: checksums, pointers, contents, and that the DSDT's terms nest; ACPICA's disassembler agrees where it
 * is installed. */
#include "machine/acpi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "devices/pci.h"

#define BASE 0xe0000u
#define MEMORY_SIZE (UINT64_C(256) << 20)

struct fixture {
	uint8_t area[ACPI_AREA_SIZE];
};

static int set_up_cpus(void **state, unsigned cpus)
{
	const struct acpi_config config = {.cpus = cpus, .memory_size = MEMORY_SIZE, .hpet = cpus == 8};
	struct fixture *f = calloc(1, sizeof *f);
	acpi_place(&config, f->area, BASE);
	*state = f;
	return 0;
}

static int set_up(void **state)
{
	return set_up_cpus(state, 1);
}

static int set_up_8(void **state)
{
	return set_up_cpus(state, 8);
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static void assert_sums_to_zero(const uint8_t *bytes, size_t size)
{
	uint8_t sum = 0;
	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + bytes[i]);
	assert_int_equal(sum, 0);
}

/* The table at a guest-physical address, its header checked. */
static const uint8_t *table_at(const struct fixture *f, uint64_t address, const char *signature)
{
	assert_true(address >= BASE && address < BASE + ACPI_AREA_SIZE - 36);
	const uint8_t *table = f->area + (address - BASE);
	uint64_t size = load_le(table + 4, 4);
	assert_memory_equal(table, signature, 4);
	assert_true(size <= BASE + ACPI_AREA_SIZE - address);
	if (strcmp(signature, "FACS") != 0)
		assert_sums_to_zero(table, size);
	return table;
}

static const uint8_t *table_of_root(const struct fixture *f, unsigned index, const char *signature)
{
	const uint8_t *rsdt = table_at(f, load_le(f->area + 16, 4), "RSDT");
	const uint8_t *xsdt = table_at(f, load_le(f->area + 24, 8), "XSDT");
	assert_int_equal(load_le(rsdt + 36 + 4 * index, 4), load_le(xsdt + 36 + 8 * index, 8));
	return table_at(f, load_le(xsdt + 36 + 8 * index, 8), signature);
}

static void hpet_is_described(void **state)
{
	const struct fixture *f = *state;
	const uint8_t *hpet = table_of_root(f, 2, "HPET");
	assert_int_equal(load_le(hpet + 4, 4), 56);
	assert_int_equal(load_le(hpet + 36, 4), 0x8086a201);
	assert_int_equal(load_le(hpet + 44, 8), 0xfed00000);
}

static void root_pointer_leads_to_all_tables(void **state)
{
	const struct fixture *f = *state;
	const uint8_t *rsdp = f->area + ACPI_RSDP_OFFSET;
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal((BASE + ACPI_RSDP_OFFSET) % 16, 0);
	assert_int_equal(rsdp[15], 2);
	assert_sums_to_zero(rsdp, 20);
	assert_sums_to_zero(rsdp, 36);
	assert_int_equal(load_le(table_at(f, load_le(rsdp + 16, 4), "RSDT") + 4, 4), 36 + 2 * 4);
	assert_int_equal(load_le(table_at(f, load_le(rsdp + 24, 8), "XSDT") + 4, 4), 36 + 2 * 8);
	const uint8_t *fadt = table_of_root(f, 0, "FACP");
	assert_int_equal(load_le(fadt + 40, 4), load_le(fadt + 140, 8));
	(void)table_at(f, load_le(fadt + 40, 4), "DSDT");
	assert_int_equal(load_le(fadt + 36, 4) % 64, 0);
	(void)table_at(f, load_le(fadt + 36, 4), "FACS");
}

static void fixed_hardware_is_where_the_chips_are(void **state)
{
	const uint8_t *fadt = table_of_root(*state, 0, "FACP");
	assert_int_equal(load_le(fadt + 46, 2), 9);
	assert_int_equal(load_le(fadt + 48, 4), 0xb2);
	assert_int_equal(load_le(fadt + 52, 2), 0xf0f1);
	assert_int_equal(load_le(fadt + 56, 4), load_le(fadt + 148 + 4, 8));
	assert_int_equal(load_le(fadt + 64, 4), load_le(fadt + 56, 4) + 4);
	assert_int_equal(load_le(fadt + 76, 4), load_le(fadt + 56, 4) + 8);
	assert_int_equal(load_le(fadt + 116 + 4, 8), 0xcf9);
	assert_int_equal(fadt[128], 6);
	assert_int_equal(load_le(fadt + 112, 4) & BIT32(20), 0); /* not hardware-reduced */
	assert_int_equal(load_le(fadt + 112, 4) & BIT32(4), 0);	 /* the power button is fixed hardware */
}

/* Counts the entries of a type; *last is the last one. */
static unsigned madt_entries(const uint8_t *madt, uint8_t type, const uint8_t **last)
{
	unsigned count = 0;
	const uint8_t *end = madt + load_le(madt + 4, 4);
	const uint8_t *at = madt + 44;
	for (; at < end; at += at[1]) {
		assert_true(at[1] >= 2 && at[1] <= end - at);
		if (at[0] != type)
			continue;
		count++;
		*last = at;
	}
	return count;
}

static void assert_madt(const struct fixture *f, unsigned cpus)
{
	const uint8_t *madt = table_of_root(f, 1, "APIC");
	const uint8_t *entry = NULL;
	assert_int_equal(madt_entries(madt, 0, &entry), cpus);
	assert_int_equal(entry[3], cpus - 1);
	assert_int_equal(madt_entries(madt, 1, &entry), 1);
	assert_int_equal(load_le(entry + 4, 4), 0xfec00000);
	assert_true(entry[2] >= cpus); /* no processor has the IOAPIC's ID */
	assert_int_equal(madt_entries(madt, 2, &entry), 2);
	assert_int_equal(entry[3], 9);
	assert_int_equal(load_le(entry + 8, 2), 0xd);
	assert_int_equal(madt_entries(madt, 4, &entry), 1);
}

static void madt_lists_one_processor(void **state)
{
	assert_madt(*state, 1);
}

static void madt_lists_eight_processors(void **state)
{
	assert_madt(*state, 8);
}

/* ---- a walk over the DSDT's terms: every length must end where its content ends ---- */

static const uint8_t *read_length(const uint8_t *at, const uint8_t **end)
{
	unsigned more = at[0] >> 6;
	size_t length = more == 0 ? at[0] & 63u : at[0] & 15u;
	for (unsigned i = 0; i < more; i++)
		length |= (size_t)at[1 + i] << (4 + 8 * i);
	*end = at + length;
	return at + 1 + more;
}

static const uint8_t *skip_name(const uint8_t *at)
{
	if (*at == '\\')
		at++;
	bool dual = *at == 0x2e;
	at += dual;
	for (unsigned i = 0; i < (dual ? 8 : 4); i++, at++)
		assert_true((*at >= 'A' && *at <= 'Z') || *at == '_' || (i % 4 > 0 && *at >= '0' && *at <= '9'));
	return at;
}

static const uint8_t *skip_data(const uint8_t *at)
{
	const uint8_t *end;
	if (*at >= 'A' && *at <= 'Z')
		return skip_name(at);
	switch (*at++) {
	case 0x00:
	case 0x01:
		return at;
	case 0x0a:
		return at + 1;
	case 0x0b:
		return at + 2;
	case 0x0c:
		return at + 4;
	case 0x11: {
		at = read_length(at, &end);
		assert_int_equal(*at, 0x0b);
		size_t size = load_le(at + 1, 2);
		assert_ptr_equal(at + 3 + size, end);
		assert_int_equal(end[-2], 0x79); /* resources end with a tag */
		return end;
	}
	case 0x12: {
		at = read_length(at, &end);
		for (unsigned left = *at++; left > 0; left--)
			at = skip_data(at);
		assert_ptr_equal(at, end);
		return end;
	}
	default:
		fail_msg("data object %02x", at[-1]);
		return NULL;
	}
}

struct census {
	unsigned names, methods, devices, scopes, regions, fields;
};

/* The fields of a byte field: names of 8 bits each. */
static void walk_field(const uint8_t *at, const uint8_t *end, struct census *census)
{
	assert_int_equal(*at++, 1);
	for (; at < end; census->fields++) {
		at = skip_name(at);
		assert_int_equal(*at++, 8);
	}
	assert_ptr_equal(at, end);
}

/* Terms without a length. Returns what follows, or NULL for another term. */
static const uint8_t *walk_plain(const uint8_t *at, struct census *census)
{
	if (at[0] == 0x08) {
		census->names++;
		return skip_data(skip_name(at + 1));
	}
	if (at[0] == 0x5b && at[1] == 0x80) {
		census->regions++;
		at = skip_name(at + 2);
		assert_int_equal(*at, 2); /* PCI configuration space */
		return skip_data(skip_data(at + 1));
	}
	return NULL;
}

static void walk(const uint8_t *at, const uint8_t *end, struct census *census)
{
	const uint8_t *inner_end;
	while (at < end) {
		const uint8_t *next = walk_plain(at, census);
		if (next != NULL) {
			at = next;
			continue;
		}
		uint8_t op = *at++;
		if (op == 0x5b)
			op = *at++;
		at = read_length(at, &inner_end);
		assert_true(inner_end <= end);
		const uint8_t *inner = skip_name(at);
		if (op == 0x10 || op == 0x82)
			walk(inner, inner_end, census);
		else if (op == 0x81)
			walk_field(inner, inner_end, census);
		else
			assert_int_equal(op, 0x14);
		census->scopes += op == 0x10;
		census->devices += op == 0x82;
		census->methods += op == 0x14;
		at = inner_end;
	}
	assert_ptr_equal(at, end);
}

static const uint8_t *dsdt_of(const struct fixture *f)
{
	return table_at(f, load_le(table_of_root(f, 0, "FACP") + 40, 4), "DSDT");
}

static void dsdt_terms_nest(void **state)
{
	const uint8_t *dsdt = dsdt_of(*state);
	struct census census = {0};
	walk(dsdt + 36, dsdt + load_le(dsdt + 4, 4), &census);
	assert_int_equal(census.scopes, 1);
	assert_int_equal(census.devices, 1 + 1 + 12 + 3 + 4); /* bridges, ISA, IDE, links */
	assert_int_equal(census.methods, 2 + 4 * 4);
	assert_int_equal(census.regions, 1);
	assert_int_equal(census.fields, 4);
	assert_true(census.names > 20);
}

/* Each length of a package has its own encoding; the borders between them are where they go wrong. */
static void package_lengths_at_every_border(void **state)
{
	static const size_t fill[] = {0, 57, 58, 59, 4087, 4088, 4089, 5000};
	uint8_t *bytes = malloc(8192);
	(void)state;
	for (unsigned i = 0; i < sizeof fill / sizeof fill[0]; i++) {
		struct aml aml = {.bytes = bytes, .limit = 8192};
		const uint8_t *end;
		aml_mark mark = aml_open_scope(&aml, "_SB_");
		for (size_t n = 0; n < fill[i]; n++)
			aml_put(&aml, 0xa3, 1);
		aml_close(&aml, mark);
		const uint8_t *name = read_length(bytes + 1, &end);
		assert_memory_equal(name, "_SB_", 4);
		assert_ptr_equal(end, name + 4 + fill[i]);
		assert_ptr_equal(end, bytes + aml.size);
		assert_false(aml.overflow);
	}
	free(bytes);
}

static void running_out_of_room_is_noticed(void **state)
{
	uint8_t bytes[16] = {0};
	(void)state;
	for (size_t limit = 0; limit < 12; limit++) {
		struct aml aml = {.bytes = bytes, .limit = limit};
		memset(bytes, 0x77, sizeof bytes);
		aml_mark mark = aml_open_device(&aml, "PCI0");
		aml_name_integer(&aml, "_ADR", 0);
		aml_close(&aml, mark);
		assert_true(aml.overflow);
		assert_true(aml.size <= limit);
		assert_int_equal(bytes[limit], 0x77);
	}
}

static void eisa_ids_are_packed(void **state)
{
	uint8_t bytes[8];
	struct aml aml = {.bytes = bytes, .limit = sizeof bytes};
	(void)state;
	aml_eisa_id(&aml, "PNP0A03");
	assert_int_equal(aml.size, 5);
	assert_memory_equal(bytes, "\x0c\x41\xd0\x0a\x03", 5);
}

static uint64_t data_integer(const uint8_t *at)
{
	static const uint8_t bytes[] = {[0x0a] = 1, [0x0b] = 2, [0x0c] = 4};
	if (*at <= 1)
		return *at;
	assert_in_range(*at, 0x0a, 0x0c);
	return load_le(at + 1, bytes[*at]);
}

/* The package behind Name(name, ...). */
static const uint8_t *find_package(const uint8_t *dsdt, const char *name)
{
	uint8_t term[6] = {0x08, [5] = 0x12};
	memcpy(term + 1, name, 4);
	const uint8_t *at = memmem(dsdt, load_le(dsdt + 4, 4), term, sizeof term);
	assert_non_null(at);
	return at + sizeof term;
}

/* Every pin of every slot goes where the bus wires it: to an input of the IOAPIC, or to the link of its PIRQ. */
static void routing_is_as_the_bus_is_wired(void **state)
{
	static const char *const names[] = {"PRTA", "PRTP"};
	const uint8_t *end, *entry_end;
	for (unsigned links = 0; links < 2; links++) {
		const uint8_t *at = read_length(find_package(dsdt_of(*state), names[links]), &end);
		unsigned count = *at++;
		assert_int_equal(count, 31 * 4);
		for (unsigned i = 0; i < count; i++, at = entry_end) {
			unsigned slot = 1 + i / 4, pin = i % 4, pirq = pci_pirq(slot, pin + 1);
			assert_int_equal(*at++, 0x12);
			const uint8_t *field = read_length(at, &entry_end);
			assert_int_equal(*field++, 4);
			assert_int_equal(data_integer(field), slot << 16 | 0xffff);
			field = skip_data(field);
			assert_int_equal(data_integer(field), pin);
			field = skip_data(field);
			if (links) {
				const uint8_t link[4] = {'L', 'N', 'K', (uint8_t)('A' + pirq)};
				assert_memory_equal(field, link, 4);
			}
			assert_int_equal(data_integer(skip_data(field)), links ? 0 : 16 + pirq);
		}
		assert_ptr_equal(at, end);
	}
}

/* Writes the DSDT into a new folder under /tmp and runs a shell command there, with its output in the file log. */
static void assert_acpica(void **state, const char *shell)
{
	const uint8_t *dsdt = dsdt_of(*state);
	char folder[] = "/tmp/nfold-acpi-XXXXXX", command[1024];
	if (system("command -v iasl >/dev/null && command -v acpiexec >/dev/null") != 0)
		skip();
	assert_non_null(mkdtemp(folder));
	(void)snprintf(command, sizeof command, "%s/dsdt.dat", folder);
	FILE *file = fopen(command, "wb");
	assert_non_null(file);
	size_t size = load_le(dsdt + 4, 4);
	assert_int_equal(fwrite(dsdt, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(command, sizeof command, "cd %s && { %s; }", folder, shell);
	int failure = system(command);
	(void)snprintf(command, sizeof command, "cd %s && %s rm -f dsdt.* log && rmdir %s", folder,
		       failure != 0 ? "cat log >&2;" : "", folder);
	assert_int_equal(system(command), 0);
	assert_int_equal(failure, 0);
}

/* Disassembled and compiled again without an error or a warning, by whoever else reads AML for a living. */
static void acpica_finds_nothing_wrong(void **state)
{
	assert_acpica(state, "iasl -d dsdt.dat >log 2>&1 && iasl -we dsdt.dsl >>log 2>&1 && "
			     "grep -q '0 Errors, 0 Warnings' log && ! grep -qi 'ACPI Error' log");
}

/* ACPICA's interpreter over its own simulated registers: a link is disabled, then set to interrupt 5. */
static void acpica_runs_the_link_devices(void **state)
{
	assert_acpica(
	    state, "printf '%s\\n' 'execute \\_SB.LNKB._DIS' 'execute \\_SB.LNKB._STA' 'execute \\_SB.LNKB._CRS' "
		   "'execute \\_SB.LNKB._SRS (23 20 00 18 79 00)' 'execute \\_SB.LNKB._STA' "
		   "'execute \\_SB.LNKB._CRS' 'execute \\_SB.LNKA._STA' quit | timeout 20 acpiexec dsdt.dat >log 2>&1; "
		   "! grep -qi 'ACPI Error' log && "
		   "test \"$(grep -o '0000000[9B]$\\|0000: 23 .. ..' log | tr '\\n' ,)\" = "
		   "'00000009,0000: 23 00 00,0000000B,0000: 23 20 00,0000000B,'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(hpet_is_described, set_up_8, tear_down),
	    cmocka_unit_test_setup_teardown(root_pointer_leads_to_all_tables, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(fixed_hardware_is_where_the_chips_are, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(madt_lists_one_processor, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(madt_lists_eight_processors, set_up_8, tear_down),
	    cmocka_unit_test_setup_teardown(dsdt_terms_nest, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(routing_is_as_the_bus_is_wired, set_up, tear_down),
	    cmocka_unit_test(package_lengths_at_every_border),
	    cmocka_unit_test(running_out_of_room_is_noticed),
	    cmocka_unit_test(eisa_ids_are_packed),
	    cmocka_unit_test_setup_teardown(acpica_finds_nothing_wrong, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(acpica_finds_nothing_wrong, set_up_8, tear_down),
	    cmocka_unit_test_setup_teardown(acpica_runs_the_link_devices, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

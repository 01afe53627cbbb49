/* SPDX-License-Identifier: MIT */
/* What firmware finds in fw_cfg: read through the ports, the table loader's commands carried out as firmware does. */
#include "machine/firmware-config.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "rig.h"

#define MIB(n) ((uint64_t)(n) << 20)
#define FILE_MAX 0x10000u

struct fixture {
	struct rig rig;
	struct memory memory;
	struct fwcfg *fwcfg;
};

/* A file of the guest's, and where "firmware" placed it. */
struct file {
	char name[FWCFG_NAME];
	uint8_t *bytes;
	uint32_t size;
	uint64_t address;
};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	assert_true(memory_init(&f->memory, 0x10000, NULL));
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

static void read_bytes(struct fixture *f, uint8_t *bytes, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)in8(&f->rig, 0x511);
}

static uint64_t item(struct fixture *f, unsigned key, unsigned bytes)
{
	uint8_t value[8] = {0};
	io_write(&f->rig.ports, 0x510, 2, key);
	read_bytes(f, value, bytes);
	return load_le(value, 8);
}

/* The whole file, by its name in the directory. False: there is none. */
static bool read_file(struct fixture *f, const char *name, struct file *file)
{
	uint8_t count[4], entry[64];
	io_write(&f->rig.ports, 0x510, 2, FWCFG_FILE_DIRECTORY);
	read_bytes(f, count, 4);
	for (unsigned i = 0; i < count[3]; i++) {
		read_bytes(f, entry, sizeof entry);
		if (strcmp((const char *)entry + 8, name) != 0)
			continue;
		*file = (struct file){.size = (uint32_t)entry[1] << 16 | (uint32_t)entry[2] << 8 | entry[3]};
		assert_in_range(file->size, 1, FILE_MAX);
		(void)snprintf(file->name, sizeof file->name, "%s", name);
		file->bytes = malloc(file->size);
		io_write(&f->rig.ports, 0x510, 2, (unsigned)entry[4] << 8 | entry[5]);
		read_bytes(f, file->bytes, file->size);
		return true;
	}
	return false;
}

static void assert_boot_order(const struct firmware_config *config, const char *expected)
{
	void *state;
	struct file file;
	(void)setup(&state);
	struct fixture *f = state;
	assert_true(firmware_config_add(f->fwcfg, config, NULL));
	if (read_file(f, "bootorder", &file)) {
		assert_int_equal(file.bytes[file.size - 1], 0);
		assert_string_equal((const char *)file.bytes, expected);
		free(file.bytes);
	} else {
		assert_string_equal("", expected);
	}
	(void)teardown(&state);
}

static void boot_order_names_the_drives(void **state)
{
	struct firmware_config config = {.memory_size = MIB(64), .cpus = 1};
	(void)state;
	assert_boot_order(&config, "");
	config.floppies = 2;
	config.drive[0] = config.drive[3] = FIRMWARE_DISK;
	config.drive[2] = FIRMWARE_CDROM;
	assert_boot_order(&config, "/pci@i0cf8/isa@1/fdc@03f0/floppy@0\n"
				   "/pci@i0cf8/isa@1/fdc@03f0/floppy@1\n"
				   "/pci@i0cf8/ide@1,1/drive@1/disk@0\n"
				   "/pci@i0cf8/ide@1,1/drive@0/disk@0\n"
				   "/pci@i0cf8/ide@1,1/drive@1/disk@1");
	config.boot[0] = BOOT_FROM_DISK;
	config.boot[1] = BOOT_FROM_FLOPPY;
	config.boot_count = 2;
	config.floppies = 1;
	assert_boot_order(&config, "/pci@i0cf8/ide@1,1/drive@0/disk@0\n"
				   "/pci@i0cf8/ide@1,1/drive@1/disk@1\n"
				   "/pci@i0cf8/isa@1/fdc@03f0/floppy@0");
	config.boot_count = 1;
	config.virtio_device = 16;
	config.virtio_disks = 2;
	config.drive[3] = FIRMWARE_NO_DRIVE;
	assert_boot_order(&config, "/pci@i0cf8/ide@1,1/drive@0/disk@0\n"
				   "/pci@i0cf8/scsi@10/disk@0,0\n"
				   "/pci@i0cf8/scsi@11/disk@0,0");
	config.virtio_first = true;
	config.virtio_disks = 1;
	assert_boot_order(&config, "/pci@i0cf8/scsi@10/disk@0,0\n"
				   "/pci@i0cf8/ide@1,1/drive@0/disk@0");
}

static void numbers_and_memory_map(void **state)
{
	struct fixture *f = *state;
	struct file file;
	const struct firmware_config config = {.memory_size = MIB(5120), .cpus = 3};
	assert_true(firmware_config_add(f->fwcfg, &config, NULL));
	assert_int_equal(item(f, FWCFG_RAM_SIZE, 8), MIB(5120));
	assert_int_equal(item(f, FWCFG_CPU_COUNT, 2), 3);
	assert_int_equal(item(f, FWCFG_MAX_CPU_COUNT, 2), 3);
	assert_int_equal(item(f, FWCFG_IRQ0_OVERRIDE, 1), 1);
	assert_int_equal(item(f, FWCFG_BOOT_MENU, 2), 0);
	assert_true(read_file(f, "etc/e820", &file));
	assert_int_equal(file.size, 40);
	assert_int_equal(load_le(file.bytes, 8), 0);
	assert_int_equal(load_le(file.bytes + 8, 8), MIB(3072));
	assert_int_equal(load_le(file.bytes + 16, 4), 1);
	assert_int_equal(load_le(file.bytes + 20, 8), MIB(4096));
	assert_int_equal(load_le(file.bytes + 28, 8), MIB(2048));
	assert_int_equal(load_le(file.bytes + 36, 4), 1);
	free(file.bytes);
}

/* ---- the table loader ---- */

static struct file *placed(struct file *files, unsigned count, const uint8_t *name)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(files[i].name, (const char *)name) == 0)
			return &files[i];
	fail_msg("the command names a file that was not allocated");
	return NULL;
}

static void add_pointer(struct file *files, unsigned count, const uint8_t *command)
{
	const struct file *to = placed(files, count, command + 4), *from = placed(files, count, command + 60);
	uint32_t offset = (uint32_t)load_le(command + 116, 4);
	assert_true(offset + command[120] <= to->size);
	uint64_t value = load_le(to->bytes + offset, command[120]);
	assert_true(value < from->size);
	store_le(to->bytes + offset, value + from->address, command[120]);
}

static void add_checksum(struct file *files, unsigned count, const uint8_t *command)
{
	const struct file *file = placed(files, count, command + 4);
	uint32_t at = (uint32_t)load_le(command + 60, 4), start = (uint32_t)load_le(command + 64, 4);
	uint32_t size = (uint32_t)load_le(command + 68, 4);
	assert_true(at >= start && at < start + size && start + size <= file->size);
	for (uint32_t i = 0; i < size; i++)
		if (start + i != at)
			file->bytes[at] = (uint8_t)(file->bytes[at] - file->bytes[start + i]);
}

/* Carries out the loader's commands. Returns how many files it placed. */
static unsigned load_tables(struct fixture *f, struct file files[4])
{
	struct file loader;
	unsigned count = 0;
	assert_true(read_file(f, "etc/table-loader", &loader));
	assert_int_equal(loader.size % 128, 0);
	for (const uint8_t *command = loader.bytes; command < loader.bytes + loader.size; command += 128) {
		switch (load_le(command, 4)) {
		case 1:
			assert_true(count < 4 && read_file(f, (const char *)command + 4, &files[count]));
			files[count].address = command[64] == 2 ? 0xf5550 : 0xffe0000;
			assert_int_equal(files[count++].address % load_le(command + 60, 4), 0);
			break;
		case 2:
			add_pointer(files, count, command);
			break;
		case 3:
			add_checksum(files, count, command);
			break;
		default:
			fail_msg("command %u", (unsigned)load_le(command, 4));
		}
	}
	free(loader.bytes);
	return count;
}

static uint8_t sum(const uint8_t *bytes, uint64_t count)
{
	uint8_t value = 0;
	while (count-- > 0)
		value = (uint8_t)(value + *bytes++);
	return value;
}

static const uint8_t *table_at(const struct file *tables, uint64_t address, const char *signature)
{
	assert_in_range(address, tables->address, tables->address + tables->size - 36);
	const uint8_t *table = tables->bytes + (address - tables->address);
	assert_memory_equal(table, signature, 4);
	assert_int_equal(sum(table, load_le(table + 4, 4)), 0);
	return table;
}

static void acpi_tables_load(void **state)
{
	struct fixture *f = *state;
	struct file files[4];
	const struct firmware_config config = {.memory_size = MIB(64), .cpus = 2};
	assert_true(firmware_config_add(f->fwcfg, &config, NULL));
	unsigned count = load_tables(f, files);
	assert_int_equal(count, 2);
	const struct file *rsdp = placed(files, count, (const uint8_t *)"etc/acpi/rsdp");
	const struct file *tables = placed(files, count, (const uint8_t *)"etc/acpi/tables");
	assert_memory_equal(rsdp->bytes, "RSD PTR ", 8);
	assert_in_range(rsdp->address, 0xf0000, 0xfffff);
	assert_int_equal(sum(rsdp->bytes, 20), 0);
	assert_int_equal(sum(rsdp->bytes, 36), 0);
	const uint8_t *rsdt = table_at(tables, load_le(rsdp->bytes + 16, 4), "RSDT");
	const uint8_t *xsdt = table_at(tables, load_le(rsdp->bytes + 24, 8), "XSDT");
	const uint8_t *fadt = table_at(tables, load_le(xsdt + 36, 8), "FACP");
	(void)table_at(tables, load_le(xsdt + 44, 8), "APIC");
	assert_ptr_equal(table_at(tables, load_le(rsdt + 36, 4), "FACP"), fadt);
	assert_ptr_equal(table_at(tables, load_le(fadt + 40, 4), "DSDT"),
			 table_at(tables, load_le(fadt + 140, 8), "DSDT"));
	assert_int_equal(load_le(fadt + 36, 4) % 64, 0);
	assert_memory_equal(tables->bytes + (load_le(fadt + 36, 4) - tables->address), "FACS", 4);
	for (unsigned i = 0; i < count; i++)
		free(files[i].bytes);
}

static void smbios_is_there_without_address_and_checksums(void **state)
{
	struct fixture *f = *state;
	struct file anchor, tables;
	const struct firmware_config config = {.name = "web", .memory_size = MIB(64), .cpus = 2};
	assert_true(firmware_config_add(f->fwcfg, &config, NULL));
	assert_true(read_file(f, "etc/smbios/smbios-anchor", &anchor));
	assert_true(read_file(f, "etc/smbios/smbios-tables", &tables));
	assert_int_equal(anchor.size, 31);
	assert_memory_equal(anchor.bytes, "_SM_", 4);
	assert_int_equal(load_le(anchor.bytes + 22, 2), tables.size);
	assert_int_equal(load_le(anchor.bytes + 24, 4) | anchor.bytes[4] | anchor.bytes[21], 0);
	assert_non_null(memmem(tables.bytes, tables.size, "web", 4));
	assert_int_not_equal(tables.bytes[0], 0); /* firmware adds type 0 itself */
	free(anchor.bytes);
	free(tables.bytes);
}

static void a_key_in_use_is_told(void **state)
{
	struct fixture *f = *state;
	struct error error = {0};
	const struct firmware_config config = {.memory_size = MIB(64), .cpus = 1};
	assert_true(firmware_config_add(f->fwcfg, &config, &error));
	assert_false(firmware_config_add(f->fwcfg, &config, &error));
	assert_int_equal(error.kind, ERROR_HOST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(boot_order_names_the_drives),	 TEST(numbers_and_memory_map), TEST(acpi_tables_load),
	    TEST(smbios_is_there_without_address_and_checksums), TEST(a_key_in_use_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

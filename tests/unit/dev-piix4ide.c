/* SPDX-License-Identifier: MIT */
/* PIIX4 IDE: decoding, bus-master DMA in both directions, descriptors of all kinds, bad addresses, interrupts. */
#include "devices/ata.h"
#include "devices/piix4ide.h"
#include "ide-rig.h"

#define DEVFN PCI_DEVFN(1, 1)
#define MASTER 0xc000u
#define SECTORS 2000u
#define RAM 0x100000u
#define TABLE 0x1000u

struct fixture {
	struct rig rig;
	struct pci_bus *bus;
	struct memory memory;
	struct piix4ide *ide;
	struct probe irq[2];
	struct memory_disk disk;
	struct ata *ata;
	uint8_t bytes[SECTORS * DISK_SECTOR_SIZE];
};

static void start(struct fixture *f)
{
	pci_config_write(f->bus, DEVFN, 0x20, 4, MASTER);
	pci_config_write(f->bus, DEVFN, 0x40, 4, 0x80008000);
	pci_config_write(f->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	struct error error = {0};
	rig_init(&f->rig);
	if (!memory_init(&f->memory, RAM, &error) || !memory_add_region(&f->memory, 0, RAM, 0, false, &error))
		return -1;
	const struct pci_bus_config bus = {.ports = &f->rig.ports, .mmio = &f->rig.mmio};
	f->bus = pci_bus_create(&bus, NULL);
	const struct piix4ide_config config = {.bus = f->bus,
					       .device = 1,
					       .ports = &f->rig.ports,
					       .memory = &f->memory,
					       .irq = {probe_line(f->irq, 0), probe_line(f->irq, 1)}};
	f->ide = piix4ide_create(&config, NULL);
	memory_disk_init(&f->disk, SECTORS, f->bytes);
	for (unsigned i = 0; i < SECTORS; i++)
		memcpy(&f->bytes[i * DISK_SECTOR_SIZE], &i, sizeof i);
	const struct ata_config ata = {.channel = piix4ide_channel(f->ide, 0), .disk = &f->disk.base, .serial = "NF1"};
	f->ata = ata_create(&ata, NULL);
	*state = f;
	start(f);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	ata_destroy(f->ata);
	piix4ide_destroy(f->ide);
	pci_bus_destroy(f->bus);
	assert_int_equal(f->rig.ports.count, 0);
	memory_destroy(&f->memory);
	test_free(f);
	return 0;
}

static void descriptor(struct fixture *f, unsigned index, uint32_t address, uint32_t control)
{
	uint32_t words[2] = {address, control};
	assert_true(memory_write(&f->memory, TABLE + 8 * index, words, 8));
}

static void start_dma(struct fixture *f, bool to_memory)
{
	io_write(&f->rig.ports, MASTER + 4, 4, TABLE);
	out8(&f->rig, MASTER + 2, 0x66);
	out8(&f->rig, MASTER, to_memory ? 9 : 1);
}

static uint32_t memory_word(struct fixture *f, uint64_t address)
{
	uint32_t word = 0;
	assert_true(memory_read(&f->memory, address, &word, 4));
	return word;
}

static void is_decoded_when_enabled(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_config_read(f->bus, DEVFN, 0, 4), 0x71118086);
	assert_int_equal(pci_config_read(f->bus, DEVFN, 8, 4) >> 8, 0x010180);
	assert_int_equal(in8(&f->rig, COMMAND), 0x50);
	assert_int_equal(in8(&f->rig, 0x177), 0x7f);
	pci_config_write(f->bus, DEVFN, 0x40, 2, 0);
	assert_int_equal(in8(&f->rig, COMMAND), 0xff);
	assert_int_equal(in8(&f->rig, 0x377 - 1), 0x7f);
	pci_config_write(f->bus, DEVFN, 0x40, 2, 0x8000);
	assert_int_equal(in8(&f->rig, COMMAND), 0x50);
	piix4ide_reset(f->ide);
	assert_int_equal(in8(&f->rig, COMMAND), 0xff);
	assert_int_equal(in8(&f->rig, MASTER + 2), 0xff);
}

static void reads_into_scattered_memory(void **state)
{
	struct fixture *f = *state;
	descriptor(f, 0, 0x20000, 0x600);
	descriptor(f, 1, 0x40000, 0x200);
	descriptor(f, 2, 0x60000, 0x80000000 | 0x800);
	command28(&f->rig, 0xc8, 700, 8);
	assert_int_equal(f->irq[0].rises, 0);
	start_dma(f, true);
	assert_true(f->irq[0].level);
	assert_int_equal(in8(&f->rig, MASTER + 2), 0x64); /* interrupt, not active */
	assert_int_equal(in8(&f->rig, COMMAND), 0x50);
	assert_int_equal(memory_word(f, 0x20000), 700);
	assert_int_equal(memory_word(f, 0x20400), 702);
	assert_int_equal(memory_word(f, 0x20600), 0);
	assert_int_equal(memory_word(f, 0x40000), 703);
	assert_int_equal(memory_word(f, 0x60000), 704);
	assert_int_equal(memory_word(f, 0x60600), 707);
	out8(&f->rig, MASTER, 0);
	out8(&f->rig, MASTER + 2, 0x04);
	assert_int_equal(in8(&f->rig, MASTER + 2), 0);
}

static void writes_in_either_order(void **state)
{
	struct fixture *f = *state;
	uint32_t value = 0x12345678;
	assert_true(memory_write(&f->memory, 0x30200, &value, 4));
	descriptor(f, 0, 0x30000, 0x80000000); /* 64 KiB: more than is needed */
	start_dma(f, false);
	assert_int_equal(in8(&f->rig, MASTER + 2), 0x61);
	command28(&f->rig, 0xca, 10, 2);
	assert_int_equal(in8(&f->rig, MASTER + 2), 0x65); /* still active */
	assert_int_equal(in8(&f->rig, COMMAND), 0x50);
	assert_memory_equal(&f->bytes[11 * 512], &value, 4);
	out8(&f->rig, MASTER, 0);
	assert_int_equal(in8(&f->rig, MASTER + 2), 0x64);
}

static void long_transfer_goes_on_by_itself(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 8; i++)
		descriptor(f, i, 0x20000 + 0x10000 * i, i == 7 ? 0x80000000 : 0);
	f->disk.slow = true;
	command48(&f->rig, 0x25, 100, 1024);
	start_dma(f, true);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(in8(&f->rig, MASTER + 2), 0x61);
		assert_int_equal(in8(&f->rig, CONTROL), 0x80);
		memory_disk_answer(&f->disk);
	}
	assert_int_equal(in8(&f->rig, MASTER + 2), 0x64);
	for (unsigned i = 0; i < 1024; i++)
		assert_int_equal(memory_word(f, 0x20000 + 512 * i), 100 + i);
}

static void short_table_leaves_the_drive_waiting(void **state)
{
	struct fixture *f = *state;
	descriptor(f, 0, 0x20000, 0x80000000 | 0x200);
	command28(&f->rig, 0xc8, 5, 2);
	start_dma(f, true);
	assert_int_equal(in8(&f->rig, MASTER + 2), 0x60);
	assert_int_equal(in8(&f->rig, COMMAND), 0x58);
	out8(&f->rig, MASTER, 0);
	start_dma(f, true); /* software may give it another table */
	assert_int_equal(in8(&f->rig, MASTER + 2), 0x64);
	assert_int_equal(memory_word(f, 0x20000), 6);
}

static void expect_failure(struct fixture *f, bool to_memory)
{
	command28(&f->rig, 0xc8, 5, 2);
	start_dma(f, to_memory);
	assert_int_equal(in8(&f->rig, MASTER + 2), 0x62);
	out8(&f->rig, MASTER, 0);
	assert_false(f->irq[0].level);
	out8(&f->rig, CONTROL, 4);
	out8(&f->rig, CONTROL, 0);
	assert_int_equal(in8(&f->rig, COMMAND), 0x50);
}

static void bad_addresses_are_errors(void **state)
{
	struct fixture *f = *state;
	descriptor(f, 0, RAM, 0x80000400);
	expect_failure(f, true);
	descriptor(f, 0, RAM - 0x200, 0x80000400); /* ends outside */
	expect_failure(f, true);
	descriptor(f, 0, 0xfffffffe, 0x80000400);
	expect_failure(f, true);
	descriptor(f, 0, 0x20000, 0x80000400);
	expect_failure(f, false); /* against the direction */
	io_write(&f->rig.ports, MASTER + 4, 4, 0xfffffffc);
	assert_int_equal(io_read(&f->rig.ports, MASTER + 4, 4), 0xfffffffc);
	command28(&f->rig, 0xc8, 5, 2);
	out8(&f->rig, MASTER + 2, 6);
	out8(&f->rig, MASTER, 9);
	assert_int_equal(in8(&f->rig, MASTER + 2), 2);
}

static void needs_the_master_bit(void **state)
{
	struct fixture *f = *state;
	descriptor(f, 0, 0x20000, 0x80000200);
	pci_config_write(f->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_IO);
	command28(&f->rig, 0xc8, 5, 1);
	start_dma(f, true);
	assert_int_equal(in8(&f->rig, MASTER + 2), 0x61);
	assert_int_equal(memory_word(f, 0x20000), 0);
	pci_config_write(f->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	assert_int_equal(in8(&f->rig, MASTER + 2), 0x64);
	assert_int_equal(memory_word(f, 0x20000), 5);
}

static void bad_sector_ends_dma_with_the_good_ones(void **state)
{
	struct fixture *f = *state;
	descriptor(f, 0, 0x20000, 0x80000800);
	f->disk.bad = 51;
	command28(&f->rig, 0xc8, 50, 4);
	start_dma(f, true);
	assert_int_equal(in8(&f->rig, MASTER + 2), 0x65);
	assert_int_equal(in8(&f->rig, COMMAND), 0x51);
	assert_int_equal(in8(&f->rig, FEATURES), IDE_ERROR_UNC);
	assert_int_equal(in8(&f->rig, LBA_LOW), 51);
	assert_int_equal(memory_word(f, 0x20000), 50);
}

static void channels_are_apart(void **state)
{
	struct fixture *f = *state;
	struct memory_disk disk;
	memory_disk_init(&disk, SECTORS, NULL);
	const struct ata_config config = {
	    .channel = piix4ide_channel(f->ide, 1), .number = 1, .disk = &disk.base, .serial = "NF2"};
	struct ata *ata = ata_create(&config, NULL);
	descriptor(f, 0, 0x20000, 0x80000200);
	out8(&f->rig, 0x176, 0xf0);
	out8(&f->rig, 0x172, 1);
	out8(&f->rig, 0x173, 77);
	out8(&f->rig, 0x174, 0);
	out8(&f->rig, 0x175, 0);
	out8(&f->rig, 0x177, 0xc8);
	io_write(&f->rig.ports, MASTER + 12, 4, TABLE);
	out8(&f->rig, MASTER + 8, 9);
	assert_int_equal(in8(&f->rig, MASTER + 10), 4);
	assert_int_equal(in8(&f->rig, MASTER + 2), 0);
	assert_true(f->irq[1].level);
	assert_false(f->irq[0].level);
	assert_int_equal(memory_word(f, 0x20000), 77);
	assert_int_equal(in8(&f->rig, 0x177), 0x50);
	assert_false(f->irq[1].level);
	ata_destroy(ata);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(is_decoded_when_enabled, setup, teardown),
	    cmocka_unit_test_setup_teardown(reads_into_scattered_memory, setup, teardown),
	    cmocka_unit_test_setup_teardown(writes_in_either_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(long_transfer_goes_on_by_itself, setup, teardown),
	    cmocka_unit_test_setup_teardown(short_table_leaves_the_drive_waiting, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_addresses_are_errors, setup, teardown),
	    cmocka_unit_test_setup_teardown(needs_the_master_bit, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_sector_ends_dma_with_the_good_ones, setup, teardown),
	    cmocka_unit_test_setup_teardown(channels_are_apart, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The PCI bus, host bridge and ISA bridge: configuration cycles, BARs that come and go, interrupt routing, CF9h. */
#include "base/bits.h"
#include "devices/i440fx.h"
#include "devices/pci.h"
#include "devices/piix4isa.h"
#include "rig.h"

#define DEVICE 4

/* A device with a BAR of each kind. */
struct card {
	struct pci_function function;
	unsigned reads;
	unsigned config_writes;
};

struct fixture {
	struct rig rig;
	struct pci_bus *bus;
	struct i440fx *host;
	struct piix4isa *isa;
	struct card card, other;
	struct probe isa_irq[16];
	unsigned resets;
};

static uint64_t card_read(void *opaque, uint64_t offset, unsigned size)
{
	struct card *card = opaque;
	(void)size;
	card->reads++;
	return offset;
}

static void card_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	(void)opaque;
	(void)offset;
	(void)size;
	(void)value;
}

static const struct io_ops card_ops = {card_read, card_write, 4};

static void card_config_written(struct pci_function *function, unsigned offset, unsigned size)
{
	(void)offset;
	(void)size;
	container_of(function, struct card, function)->config_writes++;
}

static void card_init(struct card *card, uint8_t pin)
{
	const struct pci_identity identity = {.vendor = 0x1234,
					      .device = 0x5678,
					      .class_code = 0xff0102,
					      .revision = 3,
					      .subsystem_vendor = 0x9abc,
					      .subsystem = 0xdef0,
					      .interrupt_pin = pin};
	const struct pci_bar io = {.size = 32, .io = true, .ops = &card_ops, .opaque = card, .name = "card-io"};
	const struct pci_bar memory = {.size = 4096, .ops = &card_ops, .opaque = card, .name = "card-memory"};
	const struct pci_bar wide = {
	    .size = UINT64_C(1) << 33, .wide = true, .ops = &card_ops, .opaque = card, .name = "card-wide"};
	pci_function_init(&card->function, &identity);
	pci_function_set_bar(&card->function, 0, &io);
	pci_function_set_bar(&card->function, 1, &memory);
	pci_function_set_bar(&card->function, 2, &wide);
	card->function.config_written = card_config_written;
}

static void count_reset(void *opaque)
{
	((struct fixture *)opaque)->resets++;
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	struct pci_bus_config bus = {.ports = &f->rig.ports, .mmio = &f->rig.mmio};
	struct piix4isa_config isa = {.device = 1, .reset = count_reset, .reset_opaque = f};
	for (int i = 0; i < 16; i++)
		isa.isa_irq[i] = probe_line(f->isa_irq, i);
	/* The router is made after the bus and found through f->isa, as a machine would do it. */
	f->bus = pci_bus_create(&bus, NULL);
	isa.bus = f->bus;
	f->host = i440fx_create(f->bus, 0, NULL, NULL);
	f->isa = piix4isa_create(&isa, NULL);
	card_init(&f->card, 1);
	card_init(&f->other, 2);
	assert_true(pci_bus_attach(f->bus, &f->card.function, DEVICE, 0, NULL));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	pci_bus_detach(&f->card.function);
	pci_bus_detach(&f->other.function);
	piix4isa_destroy(f->isa);
	i440fx_destroy(f->host);
	pci_bus_destroy(f->bus);
	assert_int_equal(f->rig.ports.count, 0);
	assert_int_equal(f->rig.mmio.count, 0);
	test_free(f);
	return 0;
}

static void select(struct fixture *f, unsigned device, unsigned function, unsigned reg)
{
	io_write(&f->rig.ports, 0xcf8, 4, 0x80000000u | PCI_DEVFN(device, function) << 8 | (reg & 0xfc));
}

static uint32_t get(struct fixture *f, unsigned device, unsigned reg, unsigned size)
{
	select(f, device, 0, reg);
	return (uint32_t)io_read(&f->rig.ports, 0xcfc + (reg & 3), size);
}

static void put(struct fixture *f, unsigned device, unsigned reg, unsigned size, uint32_t value)
{
	select(f, device, 0, reg);
	io_write(&f->rig.ports, 0xcfc + (reg & 3), size, value);
}

static void mechanism_one(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(get(f, 0, 0, 4), 0x12378086);
	assert_int_equal(get(f, 1, 0, 4), 0x71108086);
	assert_int_equal(get(f, DEVICE, 0, 4), 0x56781234);
	assert_int_equal(get(f, DEVICE, 2, 2), 0x5678);
	assert_int_equal(get(f, DEVICE, 8, 4), 0xff010203);
	assert_int_equal(get(f, DEVICE, 0x2c, 4), 0xdef09abc);
	assert_int_equal(get(f, DEVICE, 0x3d, 1), 1);
	assert_int_equal(io_read(&f->rig.ports, 0xcf8, 4), 0x80000000u | DEVICE << 11 | 0x3c);
	/* Absent devices, other buses, a disabled address register. */
	assert_int_equal(get(f, 9, 0, 4), UINT32_MAX);
	io_write(&f->rig.ports, 0xcf8, 4, 0x80010000);
	assert_int_equal(io_read(&f->rig.ports, 0xcfc, 4), UINT32_MAX);
	io_write(&f->rig.ports, 0xcf8, 4, 0);
	assert_int_equal(io_read(&f->rig.ports, 0xcfc, 4), UINT32_MAX);
	/* The address register takes whole double words only, and keeps only what it has. */
	io_write(&f->rig.ports, 0xcf8, 2, 0xffff);
	assert_int_equal(io_read(&f->rig.ports, 0xcf8, 4), 0);
	io_write(&f->rig.ports, 0xcf8, 4, UINT32_MAX);
	assert_int_equal(io_read(&f->rig.ports, 0xcf8, 4), 0x80fffffc);
}

static void identity_is_read_only(void **state)
{
	struct fixture *f = *state;
	for (unsigned reg = 0; reg < 256; reg += 4)
		put(f, DEVICE, reg, 4, 0xffffffff);
	assert_int_equal(get(f, DEVICE, 0, 4), 0x56781234);
	assert_int_equal(get(f, DEVICE, 4, 4), 0x02000407);
	assert_int_equal(get(f, DEVICE, 0x3c, 4), 0x000001ff);
	assert_int_equal(f->card.config_writes, 64);
}

static void bars_size_and_decode(void **state)
{
	struct fixture *f = *state;
	put(f, DEVICE, 0x10, 4, UINT32_MAX);
	put(f, DEVICE, 0x14, 4, UINT32_MAX);
	put(f, DEVICE, 0x18, 4, UINT32_MAX);
	put(f, DEVICE, 0x1c, 4, UINT32_MAX);
	assert_int_equal(get(f, DEVICE, 0x10, 4), 0xffffffe1);
	assert_int_equal(get(f, DEVICE, 0x14, 4), 0xfffff000);
	assert_int_equal(get(f, DEVICE, 0x18, 4), 0x00000004);
	assert_int_equal(get(f, DEVICE, 0x1c, 4), 0xfffffffe);
	put(f, DEVICE, 0x10, 4, 0xc000);
	put(f, DEVICE, 0x14, 4, 0xe0000000);
	put(f, DEVICE, 0x18, 4, 0);
	put(f, DEVICE, 0x1c, 4, 0x10);
	uint64_t address;
	assert_false(pci_bar_address(&f->card.function, 0, &address));
	assert_int_equal(in8(&f->rig, 0xc005), 0xff); /* not decoded yet */
	put(f, DEVICE, 4, 2, 1);
	assert_int_equal(in8(&f->rig, 0xc005), 5);
	assert_int_equal(io_read(&f->rig.mmio, 0xe0000010, 4), UINT32_MAX);
	put(f, DEVICE, 4, 2, 2);
	assert_int_equal(in8(&f->rig, 0xc005), 0xff);
	assert_int_equal(io_read(&f->rig.mmio, 0xe0000010, 4), 0x10);
	assert_int_equal(io_read(&f->rig.mmio, UINT64_C(0x1000000008), 4), 8);
	assert_true(pci_bar_address(&f->card.function, 2, &address));
	assert_true(address == UINT64_C(0x1000000000));
	put(f, DEVICE, 0x15, 1, 0x10); /* moved by one byte of it */
	assert_int_equal(io_read(&f->rig.mmio, 0xe0000010, 4), UINT32_MAX);
	assert_int_equal(io_read(&f->rig.mmio, 0xe0001010, 4), 0x10);
	pci_function_reset(&f->card.function);
	assert_int_equal(f->rig.mmio.count, 0);
	assert_int_equal(get(f, DEVICE, 0x10, 4), 1);
}

static void overlapping_bars_wait_for_their_place(void **state)
{
	struct fixture *f = *state;
	assert_true(pci_bus_attach(f->bus, &f->other.function, DEVICE + 1, 0, NULL));
	put(f, DEVICE, 0x14, 4, 0xe0000000);
	put(f, DEVICE, 4, 2, 2);
	put(f, DEVICE + 1, 0x14, 4, 0xe0000000);
	put(f, DEVICE + 1, 4, 2, 2);
	(void)io_read(&f->rig.mmio, 0xe0000000, 4);
	assert_int_equal(f->card.reads, 1);
	put(f, DEVICE, 4, 2, 0); /* the first leaves: now the second is seen */
	(void)io_read(&f->rig.mmio, 0xe0000000, 4);
	assert_int_equal(f->card.reads, 1);
	assert_int_equal(f->other.reads, 1);
	/* A port BAR put on the configuration ports does not hide them, and one at zero is nowhere. */
	put(f, DEVICE, 0x10, 4, 0xce0);
	put(f, DEVICE, 4, 2, 1);
	assert_int_equal(get(f, DEVICE, 0, 4), 0x56781234);
	put(f, DEVICE, 0x10, 4, 0);
	assert_int_equal(in8(&f->rig, 0), 0xff);
}

static void slots_are_taken_once(void **state)
{
	struct fixture *f = *state;
	struct error error;
	assert_false(pci_bus_attach(f->bus, &f->other.function, DEVICE, 0, &error));
	assert_int_equal(get(f, DEVICE, 0x0e, 1), 0);
	assert_true(pci_bus_attach(f->bus, &f->other.function, DEVICE, 3, NULL));
	assert_int_equal(get(f, DEVICE, 0x0e, 1), 0x80);
	select(f, DEVICE, 3, 0);
	assert_int_equal(io_read(&f->rig.ports, 0xcfc, 2), 0x1234);
	pci_bus_detach(&f->other.function);
	assert_int_equal(get(f, DEVICE, 0x0e, 1), 0);
}

static void interrupts_share_lines_and_can_be_disabled(void **state)
{
	struct fixture *f = *state;
	struct probe pirq[4] = {0};
	struct rig rig;
	struct card cards[8] = {0};
	rig_init(&rig);
	struct pci_bus_config config = {.ports = &rig.ports, .mmio = &rig.mmio};
	for (int i = 0; i < 4; i++)
		config.pirq[i] = probe_line(pirq, i);
	struct pci_bus *bus = pci_bus_create(&config, NULL);
	(void)f;
	/* Device d, pin p (0-3) is on line (d - 1 + p) mod 4: each by itself. */
	for (unsigned i = 0; i < 8; i++) {
		card_init(&cards[i], (uint8_t)(1 + i / 4));
		assert_true(pci_bus_attach(bus, &cards[i].function, i, 0, NULL));
		pci_set_interrupt(&cards[i].function, true);
		for (unsigned line = 0; line < 4; line++)
			assert_int_equal(pirq[line].level, line == (i + 3 + i / 4) % 4);
		pci_set_interrupt(&cards[i].function, false);
		assert_false(pirq[(i + 3 + i / 4) % 4].level);
	}
	/* 0 and 7 share PIRQD. */
	pci_set_interrupt(&cards[0].function, true);
	pci_set_interrupt(&cards[7].function, true);
	pci_set_interrupt(&cards[0].function, false);
	assert_true(pirq[3].level);
	pci_config_write(bus, PCI_DEVFN(7, 0), PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	assert_false(pirq[3].level);
	assert_int_equal(pci_config_read(bus, PCI_DEVFN(7, 0), PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, 8);
	pci_config_write(bus, PCI_DEVFN(7, 0), PCI_COMMAND, 2, 0);
	assert_true(pirq[3].level);
	for (unsigned i = 0; i < 8; i++)
		pci_bus_detach(&cards[i].function); /* lets go of its line */
	assert_false(pirq[3].level);
	pci_bus_destroy(bus);
}

static void isa_bridge_routes_pirqs(void **state)
{
	struct fixture *f = *state;
	piix4isa_pirq(f->isa, 0, true); /* not routed after reset */
	for (unsigned i = 0; i < 16; i++)
		assert_false(f->isa_irq[i].level);
	for (unsigned irq = 0; irq < 16; irq++) {
		put(f, 1, 0x60, 1, irq);
		bool routable = (0xdef8u >> irq & 1) != 0;
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(f->isa_irq[i].level, routable && i == irq);
	}
	put(f, 1, 0x60, 4, 0x800b0b0b); /* A, B and C on 11 */
	piix4isa_pirq(f->isa, 2, true);
	piix4isa_pirq(f->isa, 0, false);
	assert_true(f->isa_irq[11].level);
	piix4isa_pirq(f->isa, 2, false);
	assert_false(f->isa_irq[11].level);
	put(f, 1, 0x60, 2, 0x0a0b); /* two at a time on two */
	piix4isa_pirq(f->isa, 0, true);
	piix4isa_pirq(f->isa, 1, true);
	assert_true(f->isa_irq[10].level && f->isa_irq[11].level);
	piix4isa_pirq(f->isa, 0, false);
	piix4isa_pirq(f->isa, 1, false);
	piix4isa_pirq(f->isa, 3, true);
	put(f, 1, 0x63, 1, 0x0a);
	assert_true(f->isa_irq[10].level);
	piix4isa_reset(f->isa);
	assert_false(f->isa_irq[10].level);
	assert_int_equal(get(f, 1, 0x60, 4), 0x80808080);
	piix4isa_pirq(f->isa, 4, true);
	piix4isa_pirq(f->isa, -1, true);
}

static void cf9_resets_on_a_rising_bit_2(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, 0xcf9, 0x02);
	assert_int_equal(f->resets, 0);
	out8(&f->rig, 0xcf9, 0x06);
	out8(&f->rig, 0xcf9, 0x06);
	assert_int_equal(f->resets, 1);
	assert_int_equal(in8(&f->rig, 0xcf9), 0x06);
	io_write(&f->rig.ports, 0xcf8, 4, 0x80000600); /* a double word is an address, not a reset */
	assert_int_equal(f->resets, 1);
}

static void edges_of_configuration_space(void **state)
{
	struct fixture *f = *state;
	/* A BAR write leaves its neighbours mapped; a write beside the BARs moves nothing. */
	put(f, DEVICE, 0x14, 4, 0xe0000000);
	put(f, DEVICE, 0x10, 4, 0xc000);
	put(f, DEVICE, 4, 2, 3);
	put(f, DEVICE, 0x0c, 4, UINT32_MAX);
	put(f, DEVICE, 0x28, 4, UINT32_MAX);
	put(f, DEVICE, 0x10, 4, 0xd000);
	assert_int_equal(in8(&f->rig, 0xd001), 1);
	assert_int_equal(in8(&f->rig, 0xc001), 0xff);
	assert_int_equal(io_read(&f->rig.mmio, 0xe0000004, 4), 4);
	/* Writing without enable, to an absent function, and across the end of the space does nothing. */
	io_write(&f->rig.ports, 0xcf8, 4, DEVICE << 11 | 0x14);
	io_write(&f->rig.ports, 0xcfc, 4, 0xe1000000);
	put(f, 9, 0x14, 4, 0xe1000000);
	pci_config_write(f->bus, PCI_DEVFN(DEVICE, 0), 0xfe, 4, UINT32_MAX);
	assert_int_equal(pci_config_read(f->bus, PCI_DEVFN(DEVICE, 0), 0xfe, 4), UINT32_MAX);
	assert_int_equal(pci_config_read(f->bus, PCI_DEVFN(DEVICE, 0), 0xfc, 4), 0);
	assert_int_equal(get(f, DEVICE, 0x14, 4), 0xe0000000);
	pci_bus_reset(f->bus);
	assert_int_equal(io_read(&f->rig.ports, 0xcf8, 4), 0);
	/* Reset turns decoding off and forgets the interrupt. */
	put(f, DEVICE, 0x3c, 1, 11);
	pci_set_interrupt(&f->card.function, true);
	pci_function_reset(&f->card.function);
	assert_int_equal(get(f, DEVICE, 4, 4), 0x02000000);
	assert_int_equal(get(f, DEVICE, 0x3c, 1), 0);
	/* A function without a pin asserts nothing, though it says so. */
	card_init(&f->other, 0);
	assert_true(pci_bus_attach(f->bus, &f->other.function, 9, 0, NULL));
	pci_set_interrupt(&f->other.function, true);
	assert_int_equal(get(f, 9, 6, 2) & 8, 8);
}

static void host_bridge_keeps_its_registers(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(get(f, 0, 0x72, 1), 0x02);
	for (unsigned reg = 0x59; reg <= 0x5f; reg++)
		put(f, 0, reg, 1, 0x30 | reg);
	for (unsigned reg = 0x59; reg <= 0x5f; reg++)
		assert_int_equal(get(f, 0, reg, 1), 0x30 | reg);
	put(f, 0, 0x90, 1, 0xff);
	assert_int_equal(get(f, 0, 0x90, 1), 0);
	i440fx_reset(f->host);
	assert_int_equal(get(f, 0, 0x59, 1), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(mechanism_one),
	    TEST(identity_is_read_only),
	    TEST(bars_size_and_decode),
	    TEST(overlapping_bars_wait_for_their_place),
	    TEST(slots_are_taken_once),
	    TEST(interrupts_share_lines_and_can_be_disabled),
	    TEST(isa_bridge_routes_pirqs),
	    TEST(cf9_resets_on_a_rising_bit_2),
	    TEST(edges_of_configuration_space),
	    TEST(host_bridge_keeps_its_registers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

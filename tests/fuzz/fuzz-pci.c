/* SPDX-License-Identifier: MIT */
/*
 * The PCI bus with host bridge, ISA bridge, power management and a card with BARs: any configuration cycles. Whatever
 * is put where, the configuration ports stay reachable and everything goes away at the end.
 */
#include "fuzz-rig.h"

#include "devices/i440fx.h"
#include "devices/piix4isa.h"
#include "devices/piix4pm.h"

static uint64_t card_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct pci_bar *bar = opaque;
	assert(offset + size <= bar->size);
	return offset;
}

static void card_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	const struct pci_bar *bar = opaque;
	(void)value;
	assert(offset + size <= bar->size);
}

static const struct io_ops card_ops = {card_read, card_write, 4};

static void nothing(void *opaque)
{
	(void)opaque;
}

struct board {
	struct pci_bus *bus;
	struct i440fx *host;
	struct piix4isa *isa;
	struct piix4pm *pm;
	struct pci_function card;
};

static void board_create(struct board *board, struct fuzz_rig *rig)
{
	static const struct pci_identity identity = {.vendor = 0x1234, .device = 1, .interrupt_pin = 3};
	static const struct pci_bar bars[2] = {{.size = 64, .io = true, .ops = &card_ops, .name = "card-io"},
					       {.size = 4096, .wide = true, .ops = &card_ops, .name = "card"}};
	const struct pci_bus_config bus = {.ports = &rig->ports, .mmio = &rig->mmio, .pirq = {fuzz_line(rig, 16)}};
	board->bus = pci_bus_create(&bus, NULL);
	struct piix4isa_config isa = {.bus = board->bus, .device = 1, .reset = nothing};
	for (int i = 0; i < PIIX4ISA_IRQS; i++)
		isa.isa_irq[i] = fuzz_line(rig, i);
	const struct piix4pm_config pm = {.bus = board->bus,
					  .device = 1,
					  .ports = &rig->ports,
					  .clock = &rig->clock,
					  .sci = fuzz_line(rig, 20),
					  .base = 0x600,
					  .power_off = nothing};
	board->host = i440fx_create(board->bus, 0, NULL, NULL);
	board->isa = piix4isa_create(&isa, NULL);
	board->pm = piix4pm_create(&pm, NULL);
	pci_function_init(&board->card, &identity);
	for (unsigned i = 0; i < 2; i++) {
		pci_function_set_bar(&board->card, 2 * i, &bars[i]);
		board->card.bar[2 * i].opaque = &board->card.bar[2 * i];
	}
	assert(pci_bus_attach(board->bus, &board->card, 4, 0, NULL));
}

static void board_destroy(struct board *board)
{
	pci_bus_detach(&board->card);
	piix4pm_destroy(board->pm);
	piix4isa_destroy(board->isa);
	i440fx_destroy(board->host);
	pci_bus_destroy(board->bus);
}

static void configure(struct fuzz_rig *rig)
{
	static const uint8_t devfns[4] = {PCI_DEVFN(0, 0), PCI_DEVFN(1, 0), PCI_DEVFN(1, 3), PCI_DEVFN(4, 0)};
	uint8_t choice = fuzz_byte(rig);
	uint8_t reg = fuzz_byte(rig) & (choice & 0x80 ? 0x1f : 0xff);
	io_write(&rig->ports, 0xcf8, 4, 0x80000000u | (uint32_t)devfns[choice & 3] << 8 | (reg & 0xfc));
	unsigned size = 1u << (choice >> 2) % 3;
	if (choice & 0x40)
		io_write(&rig->ports, 0xcfc + (reg & 3), size, fuzz_number(rig, size));
	else
		(void)io_read(&rig->ports, 0xcfc + (reg & 3), size);
}

static void check_ports_reachable(struct fuzz_rig *rig)
{
	io_write(&rig->ports, 0xcf8, 4, 0x80000000);
	assert(io_read(&rig->ports, 0xcfc, 4) == 0x12378086);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {
	    {false, 0xcf8, 8}, {false, 0xb2, 2}, {false, 0x600, 64}, {false, 0, 0xfff8}, {true, 0, 0x8000}};
	struct fuzz_rig rig;
	struct board board;
	fuzz_init(&rig, data, size);
	board_create(&board, &rig);
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action < 0x80)
			configure(&rig);
		else if (action < 0xa0)
			fuzz_access(&rig, windows, 5, true);
		else if (action < 0xc0)
			fuzz_access(&rig, windows, 5, false);
		else if (action < 0xd0)
			pci_set_interrupt(&board.card, (action & 1) != 0);
		else if (action < 0xe0)
			piix4isa_pirq(board.isa, action & 3, (action & 4) != 0);
		else if (action < 0xf0)
			fuzz_advance(&rig, 34);
		else if (action < 0xf8)
			(void)piix4pm_power_button(board.pm);
		else
			check_ports_reachable(&rig);
	}
	board_destroy(&board);
	assert(rig.ports.count == 0 && rig.mmio.count == 0 && rig.clock.timers == NULL);
	assert(!fuzz_level(&rig, 16));
	return 0;
}

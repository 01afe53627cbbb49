/* SPDX-License-Identifier: MIT */
/* BARs of all kinds and sizes get places that are aligned, disjoint, in their window, and answered. */
#include "machine/pci-assign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "machine/layout.h"

static uint64_t read_name(void *opaque, uint64_t offset, unsigned size)
{
	(void)offset;
	(void)size;
	return *(const uint8_t *)opaque;
}

static void write_nothing(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	(void)opaque;
	(void)offset;
	(void)size;
	(void)value;
}

static const struct io_ops bar_ops = {.read = read_name, .write = write_nothing, .max_size = 1};

struct bar_case {
	unsigned device, index;
	uint64_t size;
	bool io, wide, fits;
};

static const struct bar_case cases[] = {
    {2, 0, 16, false, false, true},
    {2, 1, 4, true, false, true},
    {3, 0, UINT64_C(1) << 28, false, false, true},
    {3, 1, 4096, false, true, true},
    {3, 3, 256, true, false, true},
    {4, 4, 1 << 20, false, true, true},
    {5, 5, 32, true, false, true},
    {6, 0, UINT64_C(1) << 30, false, false, false}, /* larger than what is left */
    {7, 0, UINT64_C(1) << 33, false, true, false},  /* beyond 4 GiB */
    {8, 0, 64, false, false, true},
};
#define CASES (sizeof cases / sizeof cases[0])

struct fixture {
	struct io_map ports, mmio;
	struct pci_bus *bus;
	struct pci_function function[PCI_DEVICES];
	uint8_t name[CASES];
};

static void attach_functions(struct fixture *f)
{
	for (unsigned i = 0; i < CASES; i++) {
		const struct bar_case *c = &cases[i];
		struct pci_function *function = &f->function[c->device];
		const struct pci_identity identity = {
		    .vendor = 0x1234, .device = (uint16_t)c->device, .interrupt_pin = (uint8_t)(1 + c->device % 4)};
		const struct pci_bar bar = {.size = c->size,
					    .io = c->io,
					    .wide = c->wide,
					    .ops = &bar_ops,
					    .opaque = &f->name[i],
					    .name = "bar"};
		f->name[i] = (uint8_t)(0x40 + i);
		if (i == 0 || cases[i - 1].device != c->device)
			pci_function_init(function, &identity);
		pci_function_set_bar(function, c->index, &bar);
		if (i + 1 == CASES || cases[i + 1].device != c->device)
			assert_true(pci_bus_attach(f->bus, function, c->device, 0, NULL));
	}
}

static void assert_places(struct fixture *f)
{
	uint64_t base[CASES];
	for (unsigned i = 0; i < CASES; i++) {
		const struct bar_case *c = &cases[i];
		assert_int_equal(pci_bar_address(&f->function[c->device], c->index, &base[i]), c->fits);
		if (!c->fits) {
			base[i] = 0;
			continue;
		}
		assert_int_equal(base[i] % c->size, 0);
		assert_true(base[i] >= (c->io ? LAYOUT_PCI_IO_BASE : LAYOUT_PCI_MEMORY_BASE));
		assert_true(base[i] + c->size <= (c->io ? LAYOUT_PCI_IO_END : LAYOUT_PCI_MEMORY_END));
		assert_int_equal(io_read(c->io ? &f->ports : &f->mmio, base[i], 1), 0x40 + i);
		for (unsigned j = 0; j < i; j++)
			if (cases[j].fits && cases[j].io == c->io)
				assert_true(base[i] >= base[j] + cases[j].size || base[j] >= base[i] + c->size);
	}
}

static void every_bar_has_its_place(void **state)
{
	struct fixture f = {0};
	(void)state;
	io_map_init(&f.ports, 0x10000);
	io_map_init(&f.mmio, 0);
	const struct pci_bus_config config = {.ports = &f.ports, .mmio = &f.mmio};
	f.bus = pci_bus_create(&config, NULL);
	assert_non_null(f.bus);
	attach_functions(&f);
	pci_assign(f.bus);
	assert_places(&f);
	pci_assign(f.bus); /* as after a reset by hand: the same again */
	assert_places(&f);

	assert_int_equal(pci_config_read(f.bus, PCI_DEVFN(2, 0), PCI_COMMAND, 2) & 3, 3);
	assert_int_equal(pci_config_read(f.bus, PCI_DEVFN(5, 0), PCI_COMMAND, 2) & 3, 1);
	assert_int_equal(pci_config_read(f.bus, PCI_DEVFN(6, 0), PCI_COMMAND, 2) & 3, 0);
	for (unsigned device = 2; device <= 8; device++) {
		unsigned pirq = pci_pirq(device, 1 + device % 4);
		assert_int_equal(pci_config_read(f.bus, PCI_DEVFN(device, 0), PCI_INTERRUPT_LINE, 1),
				 LAYOUT_PCI_IRQ(pirq));
	}
	for (unsigned device = 2; device <= 8; device++)
		pci_bus_detach(&f.function[device]);
	pci_bus_destroy(f.bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_bar_has_its_place)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

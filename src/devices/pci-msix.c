/* SPDX-License-Identifier: MIT */
/* MSI-X (PCI Local Bus Specification 3.0, 6.8.2): a table of addresses and data, pending bits, and masks. */
#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "devices/pci.h"

#define CAPABILITY_SIZE 12u
#define CONTROL 2u /* offsets in the capability */
#define TABLE 4u
#define PENDING 8u
#define CONTROL_MASK_ALL 0x4000u
#define CONTROL_ENABLE 0x8000u

/* Offsets in an entry of the table. */
#define ENTRY_DATA 8u
#define ENTRY_CONTROL 12u
#define ENTRY_MASKED 1u

static uint64_t msix_control(const struct pci_msix *msix)
{
	return load_le(&msix->function->config[msix->capability + CONTROL], 2);
}

bool pci_msix_enabled(const struct pci_msix *msix)
{
	return (msix_control(msix) & CONTROL_ENABLE) != 0;
}

static bool msix_may_send(const struct pci_msix *msix)
{
	return pci_may_master(msix->function) &&
	       (msix_control(msix) & (CONTROL_ENABLE | CONTROL_MASK_ALL)) == CONTROL_ENABLE;
}

void pci_msix_update(struct pci_msix *msix)
{
	if (msix->pending == 0 || !msix_may_send(msix))
		return;
	for (unsigned i = 0; i < msix->vectors; i++) {
		const uint8_t *entry = &msix->table[i * PCI_MSIX_ENTRY];
		if ((msix->pending & BIT64(i)) == 0 || (entry[ENTRY_CONTROL] & ENTRY_MASKED) != 0)
			continue;
		msix->pending &= ~BIT64(i);
		pci_bus_send_message(msix->function, load_le(entry, 8), (uint32_t)load_le(entry + ENTRY_DATA, 4));
	}
}

void pci_msix_signal(struct pci_msix *msix, unsigned vector)
{
	if (vector >= msix->vectors || !pci_msix_enabled(msix))
		return;
	msix->pending |= BIT64(vector);
	pci_msix_update(msix);
}

uint64_t pci_msix_read_table(const struct pci_msix *msix, uint64_t offset, unsigned size)
{
	uint64_t end = (uint64_t)msix->vectors * PCI_MSIX_ENTRY;
	return offset >= end || size > end - offset ? 0 : load_le(&msix->table[offset], size);
}

void pci_msix_write_table(struct pci_msix *msix, uint64_t offset, unsigned size, uint64_t value)
{
	uint64_t end = (uint64_t)msix->vectors * PCI_MSIX_ENTRY;
	if (offset >= end || size > end - offset || offset % size != 0)
		return;
	store_le(&msix->table[offset], value, size);
	/* Reserved: the low bits of the address, all but the lowest of the vector control. */
	uint8_t *entry = &msix->table[offset / PCI_MSIX_ENTRY * PCI_MSIX_ENTRY];
	entry[0] &= 0xfc;
	store_le(entry + ENTRY_CONTROL, entry[ENTRY_CONTROL] & ENTRY_MASKED, 4);
	pci_msix_update(msix);
}

uint64_t pci_msix_read_pending(const struct pci_msix *msix, uint64_t offset, unsigned size)
{
	return offset >= 8 || size > 8 - offset ? 0 : msix->pending >> 8 * offset & size_mask(size);
}

void pci_msix_init(struct pci_msix *msix, struct pci_function *function, unsigned capability, unsigned vectors,
		   unsigned bar, uint32_t table, uint32_t pending)
{
	assert(vectors >= 1 && vectors <= PCI_MSIX_VECTORS_MAX && table % 8 == 0 && pending % 8 == 0);
	*msix = (struct pci_msix){.function = function, .capability = capability, .vectors = vectors};
	pci_function_add_capability(function, capability, PCI_CAPABILITY_MSIX, CAPABILITY_SIZE);
	store_le(&function->config[capability + CONTROL], vectors - 1, 2);
	store_le(&function->writable[capability + CONTROL], CONTROL_ENABLE | CONTROL_MASK_ALL, 2);
	store_le(&function->config[capability + TABLE], table | bar, 4);
	store_le(&function->config[capability + PENDING], pending | bar, 4);
	function->msix = msix;
	pci_msix_reset(msix);
}

/* All vectors are masked after a reset. */
void pci_msix_reset(struct pci_msix *msix)
{
	memset(msix->table, 0, sizeof msix->table);
	for (unsigned i = 0; i < msix->vectors; i++)
		msix->table[i * PCI_MSIX_ENTRY + ENTRY_CONTROL] = ENTRY_MASKED;
	msix->pending = 0;
	store_le(&msix->function->config[msix->capability + CONTROL], msix->vectors - 1, 2);
}

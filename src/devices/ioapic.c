/* SPDX-License-Identifier: MIT */
#include "devices/ioapic.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "ledger/ledger.h"

#define MMIO_SELECT 0x00u
#define MMIO_WINDOW 0x10u
#define MMIO_EOI 0x40u

#define REGISTER_ID 0x00u
#define REGISTER_VERSION 0x01u
#define REGISTER_ARBITRATION 0x02u
#define REGISTER_ENTRIES 0x10u

#define VERSION_VALUE (0x20u | (IOAPIC_INPUTS - 1) << 16)
#define ID_SHIFT 24
#define ID_BITS (15u << ID_SHIFT)

#define ENTRY_LOGICAL BIT64(11)
#define ENTRY_REMOTE_IRR BIT64(14)
#define ENTRY_LEVEL BIT64(15)
#define ENTRY_MASKED BIT64(16)
#define ENTRY_WRITABLE UINT64_C(0xff0000000001afff) /* all but remote IRR and delivery status */

struct ioapic {
	struct apic_sink sink;
	uint64_t entry[IOAPIC_INPUTS];
	uint32_t lines; /* levels of the inputs */
	uint32_t id;
	uint8_t initial_id;
	uint8_t select;
	uint32_t timers;		/* inputs that are watched */
	uint64_t raised[IOAPIC_INPUTS]; /* host TSC of the rise that has not been sent; 0: none */
	struct irq_watcher watcher[IOAPIC_INPUTS];
};

/* Since when a device waits. One that holds its line high over the end of an interrupt waits from then on. */
static uint64_t take_raised(struct ioapic *ioapic, unsigned input)
{
	uint64_t raised = ioapic->raised[input];
	ioapic->raised[input] = 0;
	if (ioapic->timers & BIT32(input))
		return 0;
	return raised != 0 ? raised : ledger_tsc();
}

/* Returns whether a local APIC took it. */
static bool ioapic_send(struct ioapic *ioapic, unsigned input)
{
	uint64_t entry = ioapic->entry[input];
	uint32_t destination = (uint32_t)(entry >> 56);
	const struct apic_message message = {
	    .destination = destination == 0xff ? APIC_BROADCAST : destination,
	    .logical = (entry & ENTRY_LOGICAL) != 0,
	    .level = (entry & ENTRY_LEVEL) != 0,
	    .vector = (uint8_t)entry,
	    .delivery = (enum apic_delivery)(entry >> 8 & 7),
	    .since = take_raised(ioapic, input),
	    .watcher = (ioapic->timers & BIT32(input)) ? &ioapic->watcher[input] : NULL,
	};
	return ioapic->sink.send(ioapic->sink.opaque, &message);
}

/* Sends a level-triggered input that is high and not in service anywhere. */
static void ioapic_service_level(struct ioapic *ioapic, unsigned input)
{
	uint64_t *entry = &ioapic->entry[input];
	if (!(*entry & ENTRY_LEVEL) || (*entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)))
		return;
	if ((ioapic->lines & BIT32(input)) && ioapic_send(ioapic, input))
		*entry |= ENTRY_REMOTE_IRR;
}

void ioapic_input(void *opaque, int input, bool level)
{
	struct ioapic *ioapic = opaque;
	if (input < 0 || input >= IOAPIC_INPUTS)
		return;
	uint32_t bit = BIT32(input);
	bool rising = level && !(ioapic->lines & bit);
	ioapic->lines = level ? ioapic->lines | bit : ioapic->lines & ~bit;
	if (rising || !level)
		ioapic->raised[input] = rising ? ledger_tsc() : 0;
	uint64_t entry = ioapic->entry[input];
	if (entry & ENTRY_LEVEL)
		ioapic_service_level(ioapic, (unsigned)input);
	else if (rising && !(entry & ENTRY_MASKED))
		(void)ioapic_send(ioapic, (unsigned)input);
}

void ioapic_eoi(void *opaque, uint8_t vector)
{
	struct ioapic *ioapic = opaque;
	for (unsigned i = 0; i < IOAPIC_INPUTS; i++) {
		uint64_t *entry = &ioapic->entry[i];
		if ((uint8_t)*entry != vector || !(*entry & ENTRY_LEVEL))
			continue;
		*entry &= ~ENTRY_REMOTE_IRR;
		ioapic_service_level(ioapic, i);
	}
}

/* ---- registers ---- */

static void ioapic_write_entry(struct ioapic *ioapic, unsigned input, bool high, uint32_t value)
{
	uint64_t *entry = &ioapic->entry[input];
	uint64_t written = high ? (uint64_t)value << 32 | (uint32_t)*entry : (*entry >> 32) << 32 | value;
	uint64_t remote_irr = *entry & ENTRY_REMOTE_IRR;
	*entry = (written & ENTRY_WRITABLE) | remote_irr;
	if (!(*entry & ENTRY_LEVEL))
		*entry &= ~ENTRY_REMOTE_IRR; /* it has no meaning for edges */
	ioapic_service_level(ioapic, input);
}

static uint32_t ioapic_read_register(const struct ioapic *ioapic)
{
	unsigned index = ioapic->select;
	if (index == REGISTER_ID || index == REGISTER_ARBITRATION)
		return ioapic->id;
	if (index == REGISTER_VERSION)
		return VERSION_VALUE;
	if (index < REGISTER_ENTRIES || index >= REGISTER_ENTRIES + 2 * IOAPIC_INPUTS)
		return 0;
	index -= REGISTER_ENTRIES;
	return (uint32_t)(ioapic->entry[index / 2] >> (index % 2 * 32));
}

static void ioapic_write_register(struct ioapic *ioapic, uint32_t value)
{
	unsigned index = ioapic->select;
	if (index == REGISTER_ID)
		ioapic->id = value & ID_BITS;
	if (index < REGISTER_ENTRIES || index >= REGISTER_ENTRIES + 2 * IOAPIC_INPUTS)
		return;
	index -= REGISTER_ENTRIES;
	ioapic_write_entry(ioapic, index / 2, index % 2 != 0, value);
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ioapic *ioapic = opaque;
	(void)size;
	switch (offset) {
	case MMIO_SELECT:
		return ioapic->select;
	case MMIO_WINDOW:
		return ioapic_read_register(ioapic);
	default:
		return 0;
	}
}

static void ioapic_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct ioapic *ioapic = opaque;
	if (offset == MMIO_SELECT)
		ioapic->select = (uint8_t)value;
	else if (offset == MMIO_WINDOW && size == 4) /* registers are written as a whole */
		ioapic_write_register(ioapic, (uint32_t)value);
	else if (offset == MMIO_EOI)
		ioapic_eoi(ioapic, (uint8_t)value);
}

static const struct io_ops ioapic_ops = {.read = ioapic_read, .write = ioapic_write, .max_size = 4};

/* ---- life ---- */

struct ioapic *ioapic_create(const struct apic_sink *sink, uint8_t id, struct error *error)
{
	struct ioapic *ioapic = calloc(1, sizeof *ioapic);
	if (ioapic == NULL) {
		error_set(error, ERROR_HOST, "out of memory for the I/O APIC");
		return NULL;
	}
	ioapic->sink = *sink;
	ioapic->initial_id = id;
	ioapic_reset(ioapic);
	return ioapic;
}

void ioapic_destroy(struct ioapic *ioapic)
{
	free(ioapic);
}

/* The inputs keep their levels: they belong to the devices. */
void ioapic_reset(struct ioapic *ioapic)
{
	ioapic->id = (uint32_t)ioapic->initial_id << ID_SHIFT & ID_BITS;
	ioapic->select = 0;
	for (unsigned i = 0; i < IOAPIC_INPUTS; i++)
		ioapic->entry[i] = ENTRY_MASKED;
}

void ioapic_watch(struct ioapic *ioapic, unsigned input, const struct irq_watcher *watcher)
{
	assert(input < IOAPIC_INPUTS);
	ioapic->watcher[input] = *watcher;
	ioapic->timers |= BIT32(input);
}

bool ioapic_is_masked(const struct ioapic *ioapic, unsigned input)
{
	assert(input < IOAPIC_INPUTS);
	return (ioapic->entry[input] & ENTRY_MASKED) != 0;
}

bool ioapic_map(struct ioapic *ioapic, struct io_map *mmio, uint64_t base, struct error *error)
{
	return io_map_add(mmio, base, 0x1000, &ioapic_ops, ioapic, "ioapic", error);
}

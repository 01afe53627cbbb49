/* SPDX-License-Identifier: MIT */
/* Messages between local APICs, and from the I/O APIC and MSIs to them (SDM 3A, "Issuing Interprocessor Interrupts").
 */
#include "devices/lapic-impl.h"

#include <stdlib.h>

#define ICR_DELIVERY_SHIFT 8
#define ICR_LOGICAL 0x800u
#define ICR_ASSERT 0x4000u
#define ICR_LEVEL 0x8000u
#define ICR_SHORTHAND_SHIFT 18

enum icr_shorthand { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

struct lapic_bus *lapic_bus_create(void (*eoi)(void *opaque, uint8_t vector), void *eoi_opaque, struct error *error)
{
	struct lapic_bus *bus = calloc(1, sizeof *bus);
	if (bus == NULL) {
		error_set(error, ERROR_HOST, "out of memory for the APIC bus");
		return NULL;
	}
	bus->eoi = eoi;
	bus->eoi_opaque = eoi_opaque;
	return bus;
}

void lapic_bus_destroy(struct lapic_bus *bus)
{
	free(bus);
}

void lapic_bus_join(struct lapic_bus *bus, struct lapic *lapic)
{
	bus->member[bus->count++] = lapic;
}

void lapic_bus_leave(struct lapic_bus *bus, struct lapic *lapic)
{
	for (unsigned i = 0; i < bus->count; i++) {
		if (bus->member[i] != lapic)
			continue;
		bus->member[i] = bus->member[--bus->count];
		return;
	}
}

void lapic_bus_eoi(struct lapic_bus *bus, uint8_t vector)
{
	if (bus->eoi != NULL)
		bus->eoi(bus->eoi_opaque, vector);
}

/* ---- destinations ---- */

/* The logical ID of x2APIC mode is made from the APIC ID: cluster in bits 31:16, one bit of 16 below. */
static uint32_t lapic_x2apic_ldr(const struct lapic *lapic)
{
	uint32_t id = lapic->config.id;
	return (id >> 4) << 16 | 1u << (id & 15);
}

static bool lapic_matches_logical(const struct lapic *lapic, uint32_t destination)
{
	if (lapic_x2apic(lapic)) {
		uint32_t ldr = lapic_x2apic_ldr(lapic);
		return destination >> 16 == ldr >> 16 && (destination & ldr & 0xffff) != 0;
	}
	uint32_t ldr = lapic->reg[LAPIC_LDR] >> 24;
	bool flat = lapic->reg[LAPIC_DFR] >> 28 == 15;
	if (destination > 0xff)
		return false;
	if (flat)
		return (destination & ldr) != 0;
	return destination >> 4 == ldr >> 4 && (destination & ldr & 15) != 0;
}

static bool lapic_matches(const struct lapic *lapic, const struct apic_message *message)
{
	if (!lapic_hardware_enabled(lapic))
		return false;
	if (message->destination == APIC_BROADCAST)
		return true;
	return message->logical ? lapic_matches_logical(lapic, message->destination)
				: message->destination == lapic->config.id;
}

/* ---- sending ---- */

/* The member of lowest processor priority among those addressed; equals take turns. */
static struct lapic *bus_arbitrate(struct lapic_bus *bus, const struct apic_message *message)
{
	struct lapic *best = NULL;
	unsigned best_index = 0;
	for (unsigned i = 0; i < bus->count; i++) {
		unsigned index = (bus->next_lowest + i) % bus->count;
		struct lapic *lapic = bus->member[index];
		if (!lapic_matches(lapic, message) || !lapic_software_enabled(lapic))
			continue;
		if (best != NULL && lapic_ppr(lapic) >= lapic_ppr(best))
			continue;
		best = lapic;
		best_index = index;
	}
	bus->next_lowest = best_index + 1;
	return best;
}

/* Delivers to all members that the message names, except one (NULL for none). */
static bool bus_send(struct lapic_bus *bus, const struct apic_message *message, const struct lapic *except)
{
	if (message->delivery == APIC_LOWEST_PRIORITY) {
		struct lapic *lapic = bus_arbitrate(bus, message);
		return lapic != NULL && lapic_deliver(lapic, message);
	}
	bool taken = false;
	for (unsigned i = 0; i < bus->count; i++) {
		struct lapic *lapic = bus->member[i];
		if (lapic != except && lapic_matches(lapic, message))
			taken |= lapic_deliver(lapic, message);
	}
	return taken;
}

static bool bus_sink_send(void *opaque, const struct apic_message *message)
{
	return bus_send(opaque, message, NULL);
}

struct apic_sink lapic_bus_sink(struct lapic_bus *bus)
{
	return (struct apic_sink){.send = bus_sink_send, .opaque = bus};
}

/* SDM 3A, "Message Signalled Interrupts". The redirection hint adds nothing to the delivery mode. */
bool lapic_bus_msi(struct lapic_bus *bus, uint64_t address, uint32_t data)
{
	if (address >> 20 != 0xfee)
		return false;
	uint32_t destination = (uint32_t)(address >> 12 & 0xff);
	const struct apic_message message = {
	    .destination = destination == 0xff ? APIC_BROADCAST : destination,
	    .logical = (address & 4) != 0,
	    .level = (data & 0x8000) != 0,
	    .vector = (uint8_t)data,
	    .delivery = (enum apic_delivery)(data >> 8 & 7),
	    .since = ledger_tsc(),
	};
	return bus_send(bus, &message, NULL);
}

/* Who an ICR's destination is, for senders in either mode. */
static uint32_t icr_destination(const struct lapic *lapic, uint32_t icr_high)
{
	if (lapic_x2apic(lapic))
		return icr_high;
	return icr_high >> 24 == 0xff ? APIC_BROADCAST : icr_high >> 24;
}

/* The level de-assert of INIT only set arbitration IDs on old buses: nobody takes it. */
static bool icr_is_init_deassert(uint32_t low)
{
	return (low >> ICR_DELIVERY_SHIFT & 7) == APIC_INIT && (low & ICR_LEVEL) && !(low & ICR_ASSERT);
}

void lapic_send(struct lapic *lapic, uint32_t icr_low, uint32_t icr_high)
{
	/* The trigger mode counts for INIT only: an IPI is always edge-triggered (SDM 3A, "Interrupt Command
	 * Register"). */
	struct apic_message message = {
	    .destination = icr_destination(lapic, icr_high),
	    .logical = (icr_low & ICR_LOGICAL) != 0,
	    .vector = (uint8_t)icr_low,
	    .delivery = (enum apic_delivery)(icr_low >> ICR_DELIVERY_SHIFT & 7),
	};
	bool vectored = message.delivery == APIC_FIXED || message.delivery == APIC_LOWEST_PRIORITY;
	if (vectored && message.vector < FIRST_LEGAL_VECTOR) {
		lapic_error(lapic, ESR_SEND_ILLEGAL_VECTOR);
		return;
	}
	if (icr_is_init_deassert(icr_low) || message.delivery == APIC_EXTINT)
		return;
	struct lapic_bus *bus = lapic->config.bus;
	switch ((enum icr_shorthand)(icr_low >> ICR_SHORTHAND_SHIFT & 3)) {
	case SHORTHAND_NONE:
		(void)bus_send(bus, &message, NULL);
		break;
	case SHORTHAND_SELF:
		(void)lapic_deliver(lapic, &message);
		break;
	case SHORTHAND_ALL:
		message.destination = APIC_BROADCAST;
		(void)bus_send(bus, &message, NULL);
		break;
	case SHORTHAND_OTHERS:
		message.destination = APIC_BROADCAST;
		(void)bus_send(bus, &message, lapic);
		break;
	}
}

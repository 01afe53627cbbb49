/* SPDX-License-Identifier: MIT */
#include "devices/lapic-impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

/* ---- 256-bit registers ---- */

static int vectors_highest(const uint32_t *words)
{
	for (int i = 7; i >= 0; i--)
		if (words[i] != 0)
			return i * 32 + 31 - __builtin_clz(words[i]);
	return -1;
}

static bool vectors_test(const uint32_t *words, unsigned vector)
{
	return (words[vector / 32] & BIT32(vector % 32)) != 0;
}

static void vectors_put(uint32_t *words, unsigned vector, bool value)
{
	if (value)
		words[vector / 32] |= BIT32(vector % 32);
	else
		words[vector / 32] &= ~BIT32(vector % 32);
}

/* ---- priorities ---- */

/* The processor priority: the higher class of TPR and the vector in service (SDM 3A, "Task and Processor Priorities").
 */
uint8_t lapic_ppr(const struct lapic *lapic)
{
	uint32_t task = lapic->reg[LAPIC_TPR] & 0xff;
	int in_service = vectors_highest(&lapic->reg[LAPIC_ISR]);
	uint32_t service_class = in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;
	return (uint8_t)((task & 0xf0) >= service_class ? task : service_class);
}

/* The vector that the vCPU would get now, or -1. */
static int lapic_pending_vector(const struct lapic *lapic)
{
	int vector = vectors_highest(&lapic->reg[LAPIC_IRR]);
	return vector >= 0 && (vector & 0xf0) > (lapic_ppr(lapic) & 0xf0) ? vector : -1;
}

/* The 8259 interrupts through LINT0 in ExtINT mode, by message, or directly when the local APIC is off. */
static bool lapic_pending_extint(const struct lapic *lapic)
{
	if (lapic->config.extint_acknowledge == NULL)
		return false;
	if (lapic->extint || !lapic_hardware_enabled(lapic))
		return lapic->extint || lapic->lint[0];
	uint32_t lvt = lapic->reg[LAPIC_LVT_LINT0];
	return lapic->lint[0] && !(lvt & LVT_MASKED) && (lvt >> LVT_DELIVERY_SHIFT & 7) == APIC_EXTINT;
}

void lapic_update(struct lapic *lapic)
{
	bool wanted = lapic_pending_vector(lapic) >= 0 || lapic_pending_extint(lapic);
	const struct cpu_pin *pin = &lapic->config.pin;
	if (wanted)
		pin->request(pin->opaque, CPU_REQUEST_INTERRUPT);
	else if (lapic->requested)
		pin->withdraw(pin->opaque, CPU_REQUEST_INTERRUPT);
	lapic->requested = wanted;
}

/* ---- accepting ---- */

/* A vector that is requested already keeps the older request's time. */
static void note_origin(struct lapic *lapic, const struct apic_message *message)
{
	unsigned vector = message->vector;
	bool requested = vectors_test(&lapic->reg[LAPIC_IRR], vector);
	if (!requested || lapic->since[vector] == 0)
		lapic->since[vector] = message->since;
	if (!requested || message->watcher != NULL)
		lapic->watcher[vector] = message->watcher;
}

static bool lapic_accept_vector(struct lapic *lapic, const struct apic_message *message)
{
	if (!lapic_software_enabled(lapic))
		return false;
	if (message->vector < FIRST_LEGAL_VECTOR) {
		lapic_error(lapic, ESR_RECEIVE_ILLEGAL_VECTOR);
		return true;
	}
	note_origin(lapic, message);
	vectors_put(&lapic->reg[LAPIC_IRR], message->vector, true);
	vectors_put(&lapic->reg[LAPIC_TMR], message->vector, message->level);
	lapic_update(lapic);
	return true;
}

static bool lapic_accept_init(struct lapic *lapic)
{
	lapic_reset_registers(lapic);
	lapic->config.pin.request(lapic->config.pin.opaque, CPU_REQUEST_INIT);
	return true;
}

static bool lapic_accept_startup(struct lapic *lapic, uint8_t vector)
{
	const struct cpu_pin *pin = &lapic->config.pin;
	if (pin->set_startup_vector != NULL)
		pin->set_startup_vector(pin->opaque, vector);
	pin->request(pin->opaque, CPU_REQUEST_STARTUP);
	return true;
}

bool lapic_deliver(struct lapic *lapic, const struct apic_message *message)
{
	const struct cpu_pin *pin = &lapic->config.pin;
	if (!lapic_hardware_enabled(lapic))
		return false;
	switch (message->delivery) {
	case APIC_FIXED:
	case APIC_LOWEST_PRIORITY:
		return lapic_accept_vector(lapic, message);
	case APIC_SMI:
		pin->request(pin->opaque, CPU_REQUEST_SMI);
		return true;
	case APIC_NMI:
		pin->request(pin->opaque, CPU_REQUEST_NMI);
		return true;
	case APIC_INIT:
		return lapic_accept_init(lapic);
	case APIC_STARTUP:
		return lapic_accept_startup(lapic, message->vector);
	case APIC_EXTINT:
		lapic->extint = lapic_software_enabled(lapic);
		lapic_update(lapic);
		return lapic->extint;
	}
	return false; /* a reserved mode */
}

/* ---- the local vector table ---- */

void lapic_lvt_fire(struct lapic *lapic, enum lapic_register entry)
{
	uint32_t lvt = lapic->reg[entry];
	if (lvt & LVT_MASKED)
		return;
	struct apic_message message = {.vector = lvt & LVT_VECTOR, .delivery = APIC_FIXED};
	if (entry != LAPIC_LVT_TIMER && entry != LAPIC_LVT_ERROR)
		message.delivery = (enum apic_delivery)(lvt >> LVT_DELIVERY_SHIFT & 7);
	if (message.delivery == APIC_EXTINT || message.delivery == APIC_STARTUP)
		return; /* ExtINT is the level of the pin, not an event */
	(void)lapic_deliver(lapic, &message);
}

/* An error is latched, and raises its interrupt, when it is new since the last write to ESR. */
void lapic_error(struct lapic *lapic, uint32_t esr_bit)
{
	if (lapic->esr_pending & esr_bit)
		return;
	lapic->esr_pending |= esr_bit;
	lapic_lvt_fire(lapic, LAPIC_LVT_ERROR);
}

/* Fixed delivery from LINT0 may be level-triggered: requested again after each EOI while the pin is high. */
static bool lint_is_level(const struct lapic *lapic, int input)
{
	uint32_t lvt = lapic->reg[LAPIC_LVT_LINT0 + input];
	return input == 0 && (lvt & LVT_LEVEL) && (lvt >> LVT_DELIVERY_SHIFT & 7) == APIC_FIXED;
}

void lapic_lint_evaluate(struct lapic *lapic, int input, bool rising)
{
	uint32_t *lvt = &lapic->reg[LAPIC_LVT_LINT0 + input];
	if (lint_is_level(lapic, input)) {
		if (!lapic->lint[input] || (*lvt & (LVT_MASKED | LVT_REMOTE_IRR)))
			return;
		const struct apic_message message = {.vector = *lvt & LVT_VECTOR, .level = true};
		if (lapic_accept_vector(lapic, &message))
			*lvt |= LVT_REMOTE_IRR;
	} else if (rising) {
		lapic_lvt_fire(lapic, (enum lapic_register)(LAPIC_LVT_LINT0 + input));
	}
}

void lapic_lint(void *opaque, int input, bool level)
{
	struct lapic *lapic = opaque;
	if (input < 0 || input > 1)
		return;
	bool rising = level && !lapic->lint[input];
	lapic->lint[input] = level;
	if (lapic_hardware_enabled(lapic))
		lapic_lint_evaluate(lapic, input, rising);
	lapic_update(lapic);
}

/* ---- the end ---- */

void lapic_end_of_interrupt(struct lapic *lapic)
{
	int vector = vectors_highest(&lapic->reg[LAPIC_ISR]);
	if (vector < 0)
		return;
	vectors_put(&lapic->reg[LAPIC_ISR], (unsigned)vector, false);
	uint32_t *lint0 = &lapic->reg[LAPIC_LVT_LINT0];
	if ((*lint0 & LVT_REMOTE_IRR) && (int)(*lint0 & LVT_VECTOR) == vector) {
		*lint0 &= ~LVT_REMOTE_IRR;
		lapic_lint_evaluate(lapic, 0, false);
	}
	if (vectors_test(&lapic->reg[LAPIC_TMR], (unsigned)vector) && !(lapic->reg[LAPIC_SVR] & SVR_NO_EOI_BROADCAST))
		lapic_bus_eoi(lapic->config.bus, (uint8_t)vector);
}

/* ---- what the vCPU calls ---- */

/* Those who want to know that the vector is on its way into the guest. */
static void tell_taken(struct lapic *lapic, unsigned vector)
{
	const struct irq_watcher *watcher = lapic->watcher[vector];
	if (lapic->since[vector] != 0 && lapic->config.ledger != NULL)
		ledger_delay_add(lapic->config.ledger, LEDGER_DELAY_DEVICE, lapic->since[vector]);
	lapic->since[vector] = 0;
	lapic->watcher[vector] = NULL;
	if (watcher != NULL && watcher->taken != NULL)
		watcher->taken(watcher->opaque);
	if (vector == lapic->tick_vector)
		ticks_taken(&lapic->ticks, clock_now(lapic->config.clock));
}

static int lapic_take_interrupt(struct lapic *lapic)
{
	int vector = lapic_pending_vector(lapic);
	if (vector >= 0) {
		vectors_put(&lapic->reg[LAPIC_IRR], (unsigned)vector, false);
		vectors_put(&lapic->reg[LAPIC_ISR], (unsigned)vector, true);
		tell_taken(lapic, (unsigned)vector);
		return vector;
	}
	if (!lapic_pending_extint(lapic))
		return -1;
	lapic->extint = false;
	return lapic->config.extint_acknowledge(lapic->config.extint_opaque);
}

static int lapic_acknowledge(void *opaque)
{
	struct lapic *lapic = opaque;
	device_lock_take(&lapic->config.lock);
	int vector = lapic_take_interrupt(lapic);
	lapic_update(lapic);
	device_lock_drop(&lapic->config.lock);
	return vector;
}

static uint8_t lapic_cr8_read(void *opaque)
{
	struct lapic *lapic = opaque;
	device_lock_take(&lapic->config.lock);
	uint8_t value = (uint8_t)(lapic->reg[LAPIC_TPR] >> 4 & 15);
	device_lock_drop(&lapic->config.lock);
	return value;
}

static void lapic_cr8_write(void *opaque, uint8_t value)
{
	struct lapic *lapic = opaque;
	device_lock_take(&lapic->config.lock);
	lapic->reg[LAPIC_TPR] = (uint32_t)(value & 15) << 4;
	lapic_update(lapic);
	device_lock_drop(&lapic->config.lock);
}

struct interrupt_controller lapic_controller(struct lapic *lapic)
{
	return (struct interrupt_controller){
	    .acknowledge = lapic_acknowledge,
	    .cr8_read = lapic_cr8_read,
	    .cr8_write = lapic_cr8_write,
	    .msr_read = lapic_msr_read,
	    .msr_write = lapic_msr_write,
	    .tsc_changed = lapic_tsc_changed,
	    .opaque = lapic,
	};
}

/* ---- life ---- */

/* SDM 3A, "Local APIC State After Power-Up or Reset" and "After INIT": the ID and IA32_APIC_BASE stay. */
void lapic_reset_registers(struct lapic *lapic)
{
	memset(lapic->reg, 0, sizeof lapic->reg);
	lapic->reg[LAPIC_ID] = lapic->config.id;
	lapic->reg[LAPIC_VERSION] = LAPIC_VERSION_VALUE;
	lapic->reg[LAPIC_DFR] = UINT32_MAX;
	lapic->reg[LAPIC_SVR] = 0xff;
	for (unsigned entry = LAPIC_LVT_TIMER; entry <= LAPIC_LVT_ERROR; entry++)
		lapic->reg[entry] = LVT_MASKED;
	memset(lapic->since, 0, sizeof lapic->since);
	memset(lapic->watcher, 0, sizeof lapic->watcher);
	ticks_drop(&lapic->ticks);
	lapic->esr_pending = 0;
	lapic->extint = false;
	lapic->tsc_deadline = 0;
	lapic_timer_arm(lapic);
	lapic_update(lapic);
}

struct lapic *lapic_create(const struct lapic_config *config, struct error *error)
{
	assert(config->id < LAPIC_MAX && config->bus->count < LAPIC_MAX);
	assert(config->physical_bits >= 32 && config->physical_bits <= 52);
	struct lapic *lapic = calloc(1, sizeof *lapic);
	if (lapic == NULL) {
		error_set(error, ERROR_HOST, "out of memory for a local APIC");
		return NULL;
	}
	lapic->config = *config;
	lapic->ticks.line = config->ticks;
	clock_timer_init(&lapic->timer, config->clock, lapic_timer_fire, lapic);
	lapic_bus_join(config->bus, lapic);
	lapic_reset(lapic);
	return lapic;
}

void lapic_destroy(struct lapic *lapic)
{
	if (lapic == NULL)
		return;
	lapic_set_base(lapic, 0);
	lapic_bus_leave(lapic->config.bus, lapic);
	clock_timer_cancel(&lapic->timer);
	free(lapic);
}

void lapic_reset(struct lapic *lapic)
{
	lapic_set_base(lapic, LAPIC_DEFAULT_BASE | BASE_ENABLED | (lapic->config.bootstrap ? BASE_BSP : 0));
	lapic_reset_registers(lapic);
}

void lapic_virtual_wire(struct lapic *lapic)
{
	lapic->reg[LAPIC_SVR] = SVR_ENABLED | 0xff;
	lapic->reg[LAPIC_LVT_LINT0] = (uint32_t)APIC_EXTINT << LVT_DELIVERY_SHIFT;
	lapic->reg[LAPIC_LVT_LINT1] = (uint32_t)APIC_NMI << LVT_DELIVERY_SHIFT;
	lapic_update(lapic);
}

/* SPDX-License-Identifier: MIT */
#include "devices/piix4pm.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define CONFIG_PMBASE 0x40u
#define CONFIG_DEVACTB 0x58u
#define CONFIG_PMREGMISC 0x80u
#define DEVACTB_APMC_EN 0x02000000u
#define PMREGMISC_IO_ENABLE 0x01u
#define PMBASE_BITS 0xffc0u
#define PMBASE_IO 0x0001u

#define PM_REGISTERS 64u
#define PM_STATUS 0x00u
#define PM_ENABLE 0x02u
#define PM_CONTROL 0x04u
#define PM_TIMER 0x08u
#define GPE_STATUS 0x0cu
#define GPE_ENABLE 0x0eu

#define EVENT_TIMER 0x0001u
#define EVENT_GLOBAL 0x0020u
#define EVENT_POWER_BUTTON 0x0100u
#define EVENT_RTC 0x0400u
#define EVENT_WAKE 0x8000u /* status only */
#define EVENTS_ENABLED (EVENT_TIMER | EVENT_GLOBAL | EVENT_POWER_BUTTON | EVENT_RTC)

#define CONTROL_SCI_EN 0x0001u
#define CONTROL_BITS 0x1c03u /* SUS_TYP, BRLD_EN_BM, SCI_EN */
#define CONTROL_SUS_TYP_SHIFT 10
#define CONTROL_SUS_EN 0x2000u

#define TIMER_BITS 0xffffffu
#define TIMER_HALF_SHIFT 23 /* the status is set when bit 23 changes */

struct piix4pm {
	struct pci_function function;
	struct piix4pm_config config;
	struct clock_timer timer;
	uint8_t reg[PM_REGISTERS]; /* the timer's bytes are computed when read */
	uint64_t half_periods_seen;
	uint16_t mapped_base; /* 0: not mapped */
	uint8_t apm_command, apm_status;
};

static uint16_t pm_get(const struct piix4pm *pm, unsigned offset)
{
	return (uint16_t)load_le(&pm->reg[offset], 2);
}

static void pm_put(struct piix4pm *pm, unsigned offset, unsigned value)
{
	store_le(&pm->reg[offset], value, 2);
}

/* ---- events ---- */

static uint64_t pm_timer_ticks(const struct piix4pm *pm)
{
	return clock_scale(clock_now(pm->config.clock), PIIX4PM_TIMER_HZ, CLOCK_SECOND);
}

static void pm_update_sci(struct piix4pm *pm)
{
	unsigned events = pm_get(pm, PM_STATUS) & pm_get(pm, PM_ENABLE) & EVENTS_ENABLED;
	unsigned general = pm_get(pm, GPE_STATUS) & pm_get(pm, GPE_ENABLE);
	irq_set(&pm->config.sci, (pm_get(pm, PM_CONTROL) & CONTROL_SCI_EN) && (events || general));
}

/* The overflow is noticed here; a timer is armed only while the guest wants the interrupt. */
static void pm_sync(struct piix4pm *pm)
{
	uint64_t half_periods = pm_timer_ticks(pm) >> TIMER_HALF_SHIFT;
	if (half_periods != pm->half_periods_seen)
		pm_put(pm, PM_STATUS, pm_get(pm, PM_STATUS) | EVENT_TIMER);
	pm->half_periods_seen = half_periods;
	uint64_t next = CLOCK_NEVER;
	if (pm_get(pm, PM_ENABLE) & EVENT_TIMER)
		next = clock_scale_up((half_periods + 1) << TIMER_HALF_SHIFT, CLOCK_SECOND, PIIX4PM_TIMER_HZ);
	clock_timer_set(&pm->timer, next);
	pm_update_sci(pm);
}

static void pm_timer_fire(void *opaque)
{
	pm_sync(opaque);
}

bool piix4pm_power_button(struct piix4pm *pm)
{
	pm_put(pm, PM_STATUS, pm_get(pm, PM_STATUS) | EVENT_POWER_BUTTON);
	pm_update_sci(pm);
	return (pm_get(pm, PM_CONTROL) & CONTROL_SCI_EN) && (pm_get(pm, PM_ENABLE) & EVENT_POWER_BUTTON);
}

/* ---- the registers at PMBASE ---- */

struct pm_rule {
	uint8_t writable, clears;
};

/* By byte. Registers that are not here read as zero. */
static const struct pm_rule pm_rules[PM_REGISTERS] = {
    [PM_STATUS] = {.clears = (uint8_t)(EVENT_TIMER | EVENT_GLOBAL)},
    [PM_STATUS + 1] = {.clears = (EVENT_POWER_BUTTON | EVENT_RTC | EVENT_WAKE) >> 8},
    [PM_ENABLE] = {.writable = (uint8_t)(EVENT_TIMER | EVENT_GLOBAL)},
    [PM_ENABLE + 1] = {.writable = (EVENT_POWER_BUTTON | EVENT_RTC) >> 8},
    [PM_CONTROL] = {.writable = (uint8_t)CONTROL_BITS},
    [PM_CONTROL + 1] = {.writable = CONTROL_BITS >> 8},
    [GPE_STATUS] = {.clears = 0xff},
    [GPE_STATUS + 1] = {.clears = 0xff},
    [GPE_ENABLE] = {.writable = 0xff},
    [GPE_ENABLE + 1] = {.writable = 0xff},
};

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
	struct piix4pm *pm = opaque;
	pm_sync(pm);
	store_le(&pm->reg[PM_TIMER], pm_timer_ticks(pm) & TIMER_BITS, 4);
	return load_le(&pm->reg[offset], size);
}

static void pm_write_byte(struct piix4pm *pm, unsigned offset, uint8_t value)
{
	uint8_t *byte = &pm->reg[offset];
	const struct pm_rule *rule = &pm_rules[offset];
	*byte = (uint8_t)((*byte & ~rule->writable) | (value & rule->writable));
	*byte &= (uint8_t) ~(value & rule->clears);
	if (offset != PM_CONTROL + 1 || !(value & CONTROL_SUS_EN >> 8))
		return;
	unsigned sleep_type = pm_get(pm, PM_CONTROL) >> CONTROL_SUS_TYP_SHIFT & 7;
	if (sleep_type == PIIX4PM_SLP_TYP_S5 && pm->config.power_off != NULL)
		pm->config.power_off(pm->config.power_off_opaque);
}

static void pm_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct piix4pm *pm = opaque;
	pm_sync(pm);
	for (unsigned i = 0; i < size; i++)
		pm_write_byte(pm, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
	pm_sync(pm);
}

static const struct io_ops pm_ops = {.read = pm_read, .write = pm_write, .max_size = 4};

/* ---- B2h, B3h ---- */

static uint64_t apm_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct piix4pm *pm = opaque;
	(void)size;
	return offset == 0 ? pm->apm_command : pm->apm_status;
}

static void apm_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct piix4pm *pm = opaque;
	(void)size;
	if (offset != 0) {
		pm->apm_status = (uint8_t)value;
		return;
	}
	pm->apm_command = (uint8_t)value;
	unsigned control = pm_get(pm, PM_CONTROL);
	if (value == PIIX4PM_ACPI_ENABLE)
		pm_put(pm, PM_CONTROL, control | CONTROL_SCI_EN);
	else if (value == PIIX4PM_ACPI_DISABLE)
		pm_put(pm, PM_CONTROL, control & ~CONTROL_SCI_EN);
	pm_update_sci(pm);
}

static const struct io_ops apm_ops = {.read = apm_read, .write = apm_write, .max_size = 1};

/* ---- configuration space ---- */

/* Moves the registers to where PMBASE says; onto a taken range they do not appear. */
static void pm_remap(struct piix4pm *pm)
{
	const uint8_t *config = pm->function.config;
	bool enabled = (config[CONFIG_PMREGMISC] & PMREGMISC_IO_ENABLE) != 0;
	uint16_t base = enabled ? (uint16_t)(load_le(&config[CONFIG_PMBASE], 2) & PMBASE_BITS) : 0;
	if (base == pm->mapped_base)
		return;
	if (pm->mapped_base != 0)
		io_map_remove(pm->config.ports, pm->mapped_base);
	pm->mapped_base = 0;
	if (base != 0 && io_map_add(pm->config.ports, base, PM_REGISTERS, &pm_ops, pm, "piix4pm", NULL))
		pm->mapped_base = base;
}

static void pm_config_written(struct pci_function *function, unsigned offset, unsigned size)
{
	(void)offset;
	(void)size;
	pm_remap(container_of(function, struct piix4pm, function));
}

/* ---- life ---- */

void piix4pm_reset(struct piix4pm *pm)
{
	uint8_t *config = pm->function.config;
	pci_function_reset(&pm->function);
	store_le(&config[CONFIG_PMBASE], (pm->config.base & PMBASE_BITS) | PMBASE_IO, 4);
	store_le(&config[CONFIG_DEVACTB], DEVACTB_APMC_EN, 4);
	config[CONFIG_PMREGMISC] = pm->config.base != 0 ? PMREGMISC_IO_ENABLE : 0;
	memset(pm->reg, 0, sizeof pm->reg);
	pm->apm_command = 0;
	pm->apm_status = 0;
	pm->half_periods_seen = pm_timer_ticks(pm) >> TIMER_HALF_SHIFT;
	pm_remap(pm);
	pm_sync(pm);
}

static void pm_describe(struct piix4pm *pm)
{
	static const struct pci_identity identity = {
	    .vendor = 0x8086, .device = 0x7113, .class_code = 0x068000, .revision = 3, .interrupt_pin = 1};
	pci_function_init(&pm->function, &identity);
	store_le(&pm->function.writable[CONFIG_PMBASE], PMBASE_BITS, 4);
	store_le(&pm->function.writable[CONFIG_DEVACTB], UINT32_MAX, 4);
	pm->function.writable[CONFIG_PMREGMISC] = PMREGMISC_IO_ENABLE;
	pm->function.config_written = pm_config_written;
}

struct piix4pm *piix4pm_create(const struct piix4pm_config *config, struct error *error)
{
	struct piix4pm *pm = calloc(1, sizeof *pm);
	if (pm == NULL) {
		error_set(error, ERROR_HOST, "out of memory for power management");
		return NULL;
	}
	pm->config = *config;
	pm_describe(pm);
	clock_timer_init(&pm->timer, config->clock, pm_timer_fire, pm);
	if (!pci_bus_attach(config->bus, &pm->function, config->device, 3, error)) {
		free(pm);
		return NULL;
	}
	if (!io_map_add(config->ports, PIIX4PM_COMMAND_PORT, 2, &apm_ops, pm, "apm", error)) {
		pci_bus_detach(&pm->function);
		free(pm);
		return NULL;
	}
	piix4pm_reset(pm);
	return pm;
}

void piix4pm_destroy(struct piix4pm *pm)
{
	if (pm == NULL)
		return;
	pm->function.config[CONFIG_PMREGMISC] = 0;
	pm_remap(pm);
	io_map_remove(pm->config.ports, PIIX4PM_COMMAND_PORT);
	pci_bus_detach(&pm->function);
	clock_timer_cancel(&pm->timer);
	free(pm);
}

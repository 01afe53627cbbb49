/* SPDX-License-Identifier: MIT */
#include "devices/i440fx.h"

#include <stdlib.h>
#include <string.h>

/* Device-specific registers that are kept, and their values after reset. */
static const struct {
	uint8_t first, count, value;
} i440fx_registers[] = {
    {0x50, 4, 0x00}, /* PMCCFG, DETURBO, DBC */
    {0x57, 1, 0x01}, /* DRAMC */
    {0x58, 1, 0x10}, /* DRAMT */
    {I440FX_PAM_FIRST, I440FX_PAM_LAST - I440FX_PAM_FIRST + 1, 0x00},
    {0x60, 8, 0x00}, /* DRB */
    {0x68, 1, 0x00}, /* FDHC */
    {0x72, 1, 0x02}, /* SMRAM */
};

#define PAM_READ 1u
#define PAM_WRITE 2u

struct i440fx {
	struct pci_function function;
	struct i440fx_shadow shadow;
};

/* Two segments to a register, low half first; the first register has one, in its high half. */
static void i440fx_tell_segment(const struct i440fx *host, unsigned segment)
{
	unsigned half = segment + 1;
	uint8_t bits = host->function.config[I440FX_PAM_FIRST + half / 2] >> (half % 2 * 4);
	struct i440fx_segment at = i440fx_segment(segment);
	host->shadow.set(host->shadow.opaque, at.base, at.size, bits & PAM_READ, bits & PAM_WRITE);
}

static void i440fx_tell_shadow(const struct i440fx *host)
{
	for (unsigned segment = 0; host->shadow.set != NULL && segment < I440FX_SEGMENTS; segment++)
		i440fx_tell_segment(host, segment);
}

static void i440fx_written(struct pci_function *function, unsigned offset, unsigned size)
{
	if (offset <= I440FX_PAM_LAST && offset + size > I440FX_PAM_FIRST)
		i440fx_tell_shadow((const struct i440fx *)(const void *)function);
}

void i440fx_reset(struct i440fx *host)
{
	pci_function_reset(&host->function);
	for (unsigned i = 0; i < sizeof i440fx_registers / sizeof i440fx_registers[0]; i++)
		memset(&host->function.config[i440fx_registers[i].first], i440fx_registers[i].value,
		       i440fx_registers[i].count);
	i440fx_tell_shadow(host);
}

struct i440fx *i440fx_create(struct pci_bus *bus, unsigned device, const struct i440fx_shadow *shadow,
			     struct error *error)
{
	static const struct pci_identity identity = {
	    .vendor = 0x8086, .device = 0x1237, .class_code = 0x060000, .revision = 2};
	struct i440fx *host = calloc(1, sizeof *host);
	if (host == NULL) {
		error_set(error, ERROR_HOST, "out of memory for the host bridge");
		return NULL;
	}
	if (shadow != NULL)
		host->shadow = *shadow;
	pci_function_init(&host->function, &identity);
	host->function.config_written = i440fx_written;
	for (unsigned i = 0; i < sizeof i440fx_registers / sizeof i440fx_registers[0]; i++)
		memset(&host->function.writable[i440fx_registers[i].first], 0xff, i440fx_registers[i].count);
	if (!pci_bus_attach(bus, &host->function, device, 0, error)) {
		free(host);
		return NULL;
	}
	i440fx_reset(host);
	return host;
}

void i440fx_destroy(struct i440fx *host)
{
	if (host == NULL)
		return;
	pci_bus_detach(&host->function);
	free(host);
}

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
    {0x59, 7, 0x00}, /* PAM */
    {0x60, 8, 0x00}, /* DRB */
    {0x68, 1, 0x00}, /* FDHC */
    {0x72, 1, 0x02}, /* SMRAM */
};

struct i440fx {
	struct pci_function function;
};

void i440fx_reset(struct i440fx *host)
{
	pci_function_reset(&host->function);
	for (unsigned i = 0; i < sizeof i440fx_registers / sizeof i440fx_registers[0]; i++)
		memset(&host->function.config[i440fx_registers[i].first], i440fx_registers[i].value,
		       i440fx_registers[i].count);
}

struct i440fx *i440fx_create(struct pci_bus *bus, unsigned device, struct error *error)
{
	static const struct pci_identity identity = {
	    .vendor = 0x8086, .device = 0x1237, .class_code = 0x060000, .revision = 2};
	struct i440fx *host = calloc(1, sizeof *host);
	if (host == NULL) {
		error_set(error, ERROR_HOST, "out of memory for the host bridge");
		return NULL;
	}
	pci_function_init(&host->function, &identity);
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

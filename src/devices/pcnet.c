/* SPDX-License-Identifier: MIT */
/* The PCnet's life and its window of 32 ports or bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "devices/pcnet-impl.h"

#define WINDOW_SIZE 32u
#define WINDOW_REGISTERS 0x10u

/* The registers behind the APROM: words, or double words after DWIO (data sheet 21510, "I/O Resources"). */
enum window_register { WINDOW_RDP, WINDOW_RAP, WINDOW_RESET, WINDOW_BDP };

static uint32_t aprom_read(const struct pcnet *pcnet, unsigned offset, unsigned size)
{
	uint32_t value = 0;
	for (unsigned i = 0; i < size && offset + i < PCNET_APROM_SIZE; i++)
		value |= (uint32_t)pcnet->aprom[offset + i] << 8 * i;
	return value;
}

/* Which register an access means; false: none, as its size is another mode's or it is not aligned. */
static bool find_register(const struct pcnet *pcnet, unsigned offset, unsigned size, enum window_register *found)
{
	unsigned width = pcnet->dword ? 4 : 2;
	unsigned number = (offset - WINDOW_REGISTERS) / width;
	*found = (enum window_register)number;
	return size == width && offset % width == 0 && number <= WINDOW_BDP;
}

static uint64_t window_read(void *opaque, uint64_t at, unsigned size)
{
	struct pcnet *pcnet = opaque;
	unsigned offset = (unsigned)at;
	enum window_register number;
	if (offset < WINDOW_REGISTERS)
		return aprom_read(pcnet, offset, size);
	if (!find_register(pcnet, offset, size, &number))
		return size_mask(size);
	switch (number) {
	case WINDOW_RDP:
		return pcnet_csr_read(pcnet, pcnet->rap);
	case WINDOW_RAP:
		return pcnet->rap;
	case WINDOW_RESET:
		pcnet_registers_reset(pcnet, false);
		return 0;
	case WINDOW_BDP:
		return pcnet_bcr_read(pcnet, pcnet->rap);
	}
	return size_mask(size);
}

/* APROMWE in BCR2 opens the APROM. */
static void aprom_write(struct pcnet *pcnet, unsigned offset, unsigned size, uint64_t value)
{
	if ((pcnet->bcr[2] & 0x0100) == 0)
		return;
	for (unsigned i = 0; i < size && offset + i < PCNET_APROM_SIZE; i++)
		pcnet->aprom[offset + i] = (uint8_t)(value >> 8 * i);
}

static void window_write(void *opaque, uint64_t at, unsigned size, uint64_t value)
{
	struct pcnet *pcnet = opaque;
	unsigned offset = (unsigned)at;
	enum window_register number;
	if (offset < WINDOW_REGISTERS) {
		aprom_write(pcnet, offset, size, value);
		return;
	}
	if (size == 4 && offset == WINDOW_REGISTERS)
		pcnet->dword = true; /* until H_RESET */
	if (!find_register(pcnet, offset, size, &number))
		return;
	if (number == WINDOW_RDP)
		pcnet_csr_write(pcnet, pcnet->rap, (uint16_t)value);
	else if (number == WINDOW_RAP)
		pcnet->rap = (uint16_t)(value & 0xff);
	else if (number == WINDOW_BDP)
		pcnet_bcr_write(pcnet, pcnet->rap, (uint16_t)value);
}

static const struct io_ops window_ops = {.read = window_read, .write = window_write, .max_size = 4};

/* ---- life ---- */

/* Bytes 12 and 13 are the sum of the others (data sheet 21510, table of the APROM's locations). */
static void aprom_fill(struct pcnet *pcnet)
{
	uint8_t *aprom = pcnet->aprom;
	unsigned sum = 0;
	memset(aprom, 0, PCNET_APROM_SIZE);
	memcpy(aprom, pcnet->config.mac, NETWORK_MAC_SIZE);
	aprom[9] = 0x11;
	aprom[14] = aprom[15] = 'W';
	for (unsigned i = 0; i < PCNET_APROM_SIZE; i++)
		sum += aprom[i];
	store_le(&aprom[12], sum, 2);
}

static void pcnet_init_function(struct pcnet *pcnet)
{
	static const struct pci_identity identity = {.vendor = 0x1022,
						     .device = 0x2000,
						     .class_code = 0x020000,
						     .revision = 0x40,
						     .subsystem_vendor = 0x1022,
						     .subsystem = 0x2000,
						     .interrupt_pin = 1};
	struct pci_bar window = {.size = WINDOW_SIZE, .io = true, .ops = &window_ops, .opaque = pcnet, .name = "pcnet"};
	pci_function_init(&pcnet->function, &identity);
	pci_function_set_bar(&pcnet->function, 0, &window);
	window.io = false;
	pci_function_set_bar(&pcnet->function, 1, &window);
	pcnet->function.config[0x3e] = 0x06; /* MIN_GNT and MAX_LAT, as BCR22 says */
	pcnet->function.config[0x3f] = 0xff;
}

struct pcnet *pcnet_create(const struct pcnet_config *config, struct error *error)
{
	struct pcnet *pcnet = calloc(1, sizeof *pcnet);
	if (pcnet == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for a network adapter");
		return NULL;
	}
	pcnet->config = *config;
	pcnet_fcs_init(pcnet);
	clock_timer_init(&pcnet->retry, config->clock, pcnet_retry, pcnet);
	pcnet_init_function(pcnet);
	if (!pci_bus_attach(config->bus, &pcnet->function, config->device, 0, error)) {
		free(pcnet);
		return NULL;
	}
	pcnet_reset(pcnet);
	const struct network_front front = {.receive = pcnet_receive, .send_ready = pcnet_send_ready, .opaque = pcnet};
	network_attach(config->network, &front);
	return pcnet;
}

void pcnet_destroy(struct pcnet *pcnet)
{
	if (pcnet == NULL)
		return;
	network_attach(pcnet->config.network, NULL);
	clock_timer_cancel(&pcnet->retry);
	pci_bus_detach(&pcnet->function);
	free(pcnet);
}

void pcnet_reset(struct pcnet *pcnet)
{
	pci_function_reset(&pcnet->function);
	aprom_fill(pcnet);
	pcnet->rap = 0;
	clock_timer_cancel(&pcnet->retry);
	pcnet_registers_reset(pcnet, true);
}

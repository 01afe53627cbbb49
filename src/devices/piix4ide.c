/* SPDX-License-Identifier: MIT */
#include "devices/piix4ide.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define BAR_MASTER 4u
#define MASTER_PORTS 16u /* 8 for each channel */
#define IDETIM 0x40u	 /* 16 bits for each channel */
#define IDETIM_DECODE 0x8000u

#define COMMAND_START 0x01u
#define COMMAND_TO_MEMORY 0x08u
#define STATUS_ACTIVE 0x01u
#define STATUS_ERROR 0x02u
#define STATUS_INTERRUPT 0x04u
#define STATUS_DRIVES 0x60u /* software says here which drives can do DMA */

#define PRD_SIZE 8u
#define PRD_LAST 0x80000000u

/* Bus-master registers in one channel's half of the BAR. */
enum master_register { MASTER_COMMAND = 0, MASTER_STATUS = 2, MASTER_TABLE = 4 };

struct channel {
	struct piix4ide *ide;
	unsigned number;
	struct ide_channel *bus;
	bool mapped;
	bool irq;
	uint8_t command, status;
	uint32_t table;
	/* The transfer at work. */
	bool running;  /* guards against a drive that asks for more while it is served */
	uint32_t next; /* descriptor */
	uint32_t address, left;
	bool last;
};

struct piix4ide {
	struct pci_function function;
	struct piix4ide_config config;
	struct channel channel[PIIX4IDE_CHANNELS];
};

static const struct {
	uint16_t command, control;
	const char *name;
} channel_ports[PIIX4IDE_CHANNELS] = {{0x1f0, 0x3f6, "ide-primary"}, {0x170, 0x376, "ide-secondary"}};

/* ---- the bus master ---- */

static bool channel_may_master(const struct channel *channel)
{
	return (channel->status & STATUS_ACTIVE) &&
	       (load_le(&channel->ide->function.config[PCI_COMMAND], 2) & PCI_COMMAND_MASTER);
}

static void channel_fail(struct channel *channel)
{
	channel->status = (uint8_t)((channel->status & ~STATUS_ACTIVE) | STATUS_ERROR);
}

/* SFF-8038i, 1.2: address, byte count of 16 bits where 0 is 64 KiB, end of table in bit 31. Both are even. */
static bool channel_fetch_descriptor(struct channel *channel)
{
	uint8_t descriptor[PRD_SIZE];
	for (unsigned i = 0; i < PRD_SIZE; i += 4) {
		if (!memory_read(channel->ide->config.memory, channel->next, &descriptor[i], 4))
			return false;
		channel->next = (channel->next & 0xffff0000) | ((channel->next + 4) & 0xffff);
	}
	uint32_t control = (uint32_t)load_le(&descriptor[4], 4);
	channel->address = (uint32_t)load_le(descriptor, 4) & ~UINT32_C(1);
	channel->left = control & 0xfffe;
	if (channel->left == 0)
		channel->left = 0x10000;
	channel->last = (control & PRD_LAST) != 0;
	return true;
}

static bool channel_copy(struct channel *channel, uint8_t *bytes, size_t size, bool to_memory)
{
	struct memory *memory = channel->ide->config.memory;
	return to_memory ? memory_write(memory, channel->address, bytes, size)
			 : memory_read(memory, channel->address, bytes, size);
}

/* Moves what the drive offers and one region holds. False: the transfer failed. */
static bool channel_move(struct channel *channel, uint8_t *bytes, size_t size, bool to_memory)
{
	if (to_memory != ((channel->command & COMMAND_TO_MEMORY) != 0))
		return false;
	if (channel->left == 0 && !channel_fetch_descriptor(channel))
		return false;
	uint64_t below_wrap = (UINT64_C(1) << 32) - channel->address;
	size = size < channel->left ? size : channel->left;
	size = size < below_wrap ? size : (size_t)below_wrap;
	if (!channel_copy(channel, bytes, size, to_memory))
		return false;
	channel->address += (uint32_t)size;
	channel->left -= (uint32_t)size;
	/* Before the drive's interrupt: whoever sees that finds the transfer at its end. */
	if (channel->left == 0 && channel->last)
		channel->status &= (uint8_t)~STATUS_ACTIVE;
	ide_dma_advance(channel->bus, size);
	return true;
}

static void channel_run(void *opaque)
{
	struct channel *channel = opaque;
	if (channel->running)
		return;
	channel->running = true;
	while (channel_may_master(channel)) {
		size_t size;
		bool to_memory;
		uint8_t *bytes = ide_dma_window(channel->bus, &size, &to_memory);
		if (bytes == NULL)
			break;
		if (!channel_move(channel, bytes, size, to_memory))
			channel_fail(channel);
	}
	channel->running = false;
}

static void channel_set_irq(void *opaque, int input, bool level)
{
	struct channel *channel = &((struct piix4ide *)opaque)->channel[input];
	if (level && !channel->irq)
		channel->status |= STATUS_INTERRUPT;
	channel->irq = level;
	irq_set(&channel->ide->config.irq[input], level);
}

/* ---- registers ---- */

static void channel_write_command(struct channel *channel, uint8_t value)
{
	uint8_t old = channel->command;
	channel->command = value & (COMMAND_START | COMMAND_TO_MEMORY);
	if (!(value & COMMAND_START)) {
		channel->status &= (uint8_t)~STATUS_ACTIVE;
	} else if (!(old & COMMAND_START)) {
		channel->status |= STATUS_ACTIVE;
		channel->next = channel->table;
		channel->left = 0;
		channel_run(channel);
	}
}

static void channel_write_status(struct channel *channel, uint8_t value)
{
	uint8_t kept = channel->status & (STATUS_ACTIVE | STATUS_ERROR | STATUS_INTERRUPT);
	kept &= (uint8_t) ~(value & (STATUS_ERROR | STATUS_INTERRUPT));
	channel->status = kept | (value & STATUS_DRIVES);
}

static void channel_write_table(struct channel *channel, unsigned byte, uint8_t value)
{
	uint32_t shift = 8 * byte;
	channel->table = (channel->table & ~(UINT32_C(0xff) << shift)) | (uint32_t)value << shift;
	channel->table &= ~UINT32_C(3);
}

static uint8_t channel_read(const struct channel *channel, unsigned reg)
{
	if (reg >= MASTER_TABLE)
		return (uint8_t)(channel->table >> 8 * (reg - MASTER_TABLE));
	return reg == MASTER_COMMAND ? channel->command : reg == MASTER_STATUS ? channel->status : 0;
}

static void channel_write(struct channel *channel, unsigned reg, uint8_t value)
{
	if (reg >= MASTER_TABLE)
		channel_write_table(channel, reg - MASTER_TABLE, value);
	else if (reg == MASTER_COMMAND)
		channel_write_command(channel, value);
	else if (reg == MASTER_STATUS)
		channel_write_status(channel, value);
}

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct piix4ide *ide = opaque;
	uint64_t value = 0;
	for (unsigned i = 0; i < size; i++) {
		unsigned at = ((unsigned)offset + i) % MASTER_PORTS;
		value |= (uint64_t)channel_read(&ide->channel[at / 8], at % 8) << 8 * i;
	}
	return value;
}

static void master_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct piix4ide *ide = opaque;
	for (unsigned i = 0; i < size; i++) {
		unsigned at = ((unsigned)offset + i) % MASTER_PORTS;
		channel_write(&ide->channel[at / 8], at % 8, (uint8_t)(value >> 8 * i));
	}
}

static const struct io_ops master_ops = {.read = master_read, .write = master_write, .max_size = 4};

/* ---- decoding ---- */

static bool channel_is_decoded(const struct channel *channel)
{
	const uint8_t *config = channel->ide->function.config;
	return (load_le(&config[PCI_COMMAND], 2) & PCI_COMMAND_IO) &&
	       (load_le(&config[IDETIM + 2 * channel->number], 2) & IDETIM_DECODE);
}

/* Another device's BAR may be in the way: then the channel stays away until the next change. */
static void channel_map(struct channel *channel)
{
	struct io_map *ports = channel->ide->config.ports;
	uint16_t command = channel_ports[channel->number].command, control = channel_ports[channel->number].control;
	const char *name = channel_ports[channel->number].name;
	if (!io_map_add(ports, command, 8, &ide_command_ops, channel->bus, name, NULL))
		return;
	channel->mapped = io_map_add(ports, control, 1, &ide_control_ops, channel->bus, name, NULL);
	if (!channel->mapped)
		io_map_remove(ports, command);
}

static void channel_unmap(struct channel *channel)
{
	io_map_remove(channel->ide->config.ports, channel_ports[channel->number].command);
	io_map_remove(channel->ide->config.ports, channel_ports[channel->number].control);
	channel->mapped = false;
}

static void channel_update(struct channel *channel)
{
	bool decoded = channel_is_decoded(channel);
	if (decoded && !channel->mapped)
		channel_map(channel);
	else if (!decoded && channel->mapped)
		channel_unmap(channel);
}

static void ide_config_written(struct pci_function *function, unsigned offset, unsigned size)
{
	struct piix4ide *ide = container_of(function, struct piix4ide, function);
	(void)offset;
	(void)size;
	for (unsigned i = 0; i < PIIX4IDE_CHANNELS; i++) {
		channel_update(&ide->channel[i]);
		channel_run(&ide->channel[i]); /* the bus-master bit may have been set */
	}
}

/* ---- life ---- */

struct ide_channel *piix4ide_channel(struct piix4ide *ide, unsigned number)
{
	return ide->channel[number].bus;
}

static void channel_reset(struct channel *channel)
{
	ide_channel_reset(channel->bus);
	channel->command = channel->status = 0;
	channel->table = channel->left = 0;
	channel_update(channel);
}

void piix4ide_reset(struct piix4ide *ide)
{
	pci_function_reset(&ide->function);
	memset(&ide->function.config[IDETIM], 0, 0x0c);
	for (unsigned i = 0; i < PIIX4IDE_CHANNELS; i++)
		channel_reset(&ide->channel[i]);
}

static void ide_init_function(struct piix4ide *ide)
{
	static const struct pci_identity identity = {
	    .vendor = 0x8086, .device = 0x7111, .class_code = 0x010180, .revision = 1};
	static const struct {
		uint8_t offset, mask;
	} writable[] = {{0x40, 0xff}, {0x41, 0xf3}, {0x42, 0xff}, {0x43, 0xf3},
			{0x44, 0xff}, {0x48, 0x0f}, {0x4a, 0x33}, {0x4b, 0x33}};
	const struct pci_bar master = {
	    .size = MASTER_PORTS, .io = true, .ops = &master_ops, .opaque = ide, .name = "ide-master"};
	pci_function_init(&ide->function, &identity);
	pci_function_set_bar(&ide->function, BAR_MASTER, &master);
	for (unsigned i = 0; i < sizeof writable / sizeof writable[0]; i++)
		ide->function.writable[writable[i].offset] = writable[i].mask;
	ide->function.config_written = ide_config_written;
}

static bool ide_create_channels(struct piix4ide *ide, struct error *error)
{
	for (unsigned i = 0; i < PIIX4IDE_CHANNELS; i++) {
		struct channel *channel = &ide->channel[i];
		const struct ide_channel_config config = {
		    .irq = {.set = channel_set_irq, .opaque = ide, .input = (int)i},
		    .master = {.request = channel_run, .opaque = channel}};
		channel->ide = ide;
		channel->number = i;
		channel->bus = ide_channel_create(&config, error);
		if (channel->bus == NULL)
			return false;
	}
	return true;
}

static void ide_free(struct piix4ide *ide)
{
	for (unsigned i = 0; i < PIIX4IDE_CHANNELS; i++)
		ide_channel_destroy(ide->channel[i].bus);
	free(ide);
}

struct piix4ide *piix4ide_create(const struct piix4ide_config *config, struct error *error)
{
	struct piix4ide *ide = calloc(1, sizeof *ide);
	if (ide == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for the IDE controller");
		return NULL;
	}
	ide->config = *config;
	ide_init_function(ide);
	if (!ide_create_channels(ide, error) ||
	    !pci_bus_attach(config->bus, &ide->function, config->device, 1, error)) {
		ide_free(ide);
		return NULL;
	}
	return ide;
}

void piix4ide_destroy(struct piix4ide *ide)
{
	if (ide == NULL)
		return;
	pci_bus_detach(&ide->function);
	for (unsigned i = 0; i < PIIX4IDE_CHANNELS; i++)
		channel_update(&ide->channel[i]);
	ide_free(ide);
}

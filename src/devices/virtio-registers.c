/* SPDX-License-Identifier: MIT */
/* What the guest sees of a virtio device over PCI (4.1.4): capabilities, and the areas of the BAR that they name. */
#include <string.h>

#include "base/bits.h"
#include "devices/virtio-impl.h"

/* ---- common configuration (4.1.4.3) ---- */

struct common_register {
	uint8_t offset, size;
	uint32_t (*read)(const struct virtio *virtio);
	void (*write)(struct virtio *virtio, uint32_t value); /* NULL: read-only */
};

static const struct virtio_queue *selected(const struct virtio *virtio)
{
	return virtio->queue_select < virtio->queues ? &virtio->queue[virtio->queue_select] : NULL;
}

/* 4.1.4.3.2: the guest sets a queue up before it enables it. NULL: there is nothing to set. */
static struct virtio_queue *settable(struct virtio *virtio)
{
	struct virtio_queue *queue =
	    virtio->queue_select < virtio->queues ? &virtio->queue[virtio->queue_select] : NULL;
	return queue == NULL || queue->enabled || virtio->resetting ? NULL : queue;
}

static uint32_t read_offered_select(const struct virtio *virtio)
{
	return virtio->offered_select;
}

static void write_offered_select(struct virtio *virtio, uint32_t value)
{
	virtio->offered_select = value;
}

static uint32_t read_offered(const struct virtio *virtio)
{
	return virtio->offered_select < 2 ? (uint32_t)(virtio->offered >> 32 * virtio->offered_select) : 0;
}

static uint32_t read_accepted_select(const struct virtio *virtio)
{
	return virtio->accepted_select;
}

static void write_accepted_select(struct virtio *virtio, uint32_t value)
{
	virtio->accepted_select = value;
}

static uint32_t read_accepted(const struct virtio *virtio)
{
	return virtio->accepted_select < 2 ? (uint32_t)(virtio->accepted >> 32 * virtio->accepted_select) : 0;
}

/* 3.1.1: not after FEATURES_OK. */
static void write_accepted(struct virtio *virtio, uint32_t value)
{
	unsigned shift = 32 * (virtio->accepted_select & 1);
	if (virtio->accepted_select > 1 || virtio->resetting || (virtio->status & VIRTIO_STATUS_FEATURES_OK) != 0)
		return;
	virtio->accepted = (virtio->accepted & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)value << shift;
}

/* 4.1.5.1.2.1: a vector that is not there reads back as none. */
static uint16_t existing_vector(const struct virtio *virtio, uint32_t vector)
{
	return vector < virtio->msix.vectors ? (uint16_t)vector : VIRTIO_NO_VECTOR;
}

static uint32_t read_config_vector(const struct virtio *virtio)
{
	return virtio->config_vector;
}

static void write_config_vector(struct virtio *virtio, uint32_t value)
{
	virtio->config_vector = existing_vector(virtio, value);
}

static uint32_t read_queues(const struct virtio *virtio)
{
	return virtio->queues;
}

static uint32_t read_status(const struct virtio *virtio)
{
	return virtio->status;
}

static void write_status(struct virtio *virtio, uint32_t value)
{
	virtio_set_status(virtio, (uint8_t)value);
}

static uint32_t read_generation(const struct virtio *virtio)
{
	return virtio->generation;
}

static uint32_t read_queue_select(const struct virtio *virtio)
{
	return virtio->queue_select;
}

static void write_queue_select(struct virtio *virtio, uint32_t value)
{
	virtio->queue_select = (uint16_t)value;
}

static uint32_t read_queue_size(const struct virtio *virtio)
{
	const struct virtio_queue *queue = selected(virtio);
	return queue == NULL ? 0 : queue->size;
}

static void write_queue_size(struct virtio *virtio, uint32_t value)
{
	struct virtio_queue *queue = settable(virtio);
	if (queue != NULL)
		queue->size = (uint16_t)value;
}

static uint32_t read_queue_vector(const struct virtio *virtio)
{
	const struct virtio_queue *queue = selected(virtio);
	return queue == NULL ? VIRTIO_NO_VECTOR : queue->vector;
}

static void write_queue_vector(struct virtio *virtio, uint32_t value)
{
	if (virtio->queue_select < virtio->queues)
		virtio->queue[virtio->queue_select].vector = existing_vector(virtio, value);
}

static uint32_t read_queue_enable(const struct virtio *virtio)
{
	const struct virtio_queue *queue = selected(virtio);
	return queue != NULL && queue->enabled;
}

static void write_queue_enable(struct virtio *virtio, uint32_t value)
{
	struct virtio_queue *queue = settable(virtio);
	if (queue != NULL && value == 1)
		virtio_queue_enable(virtio, queue);
}

static uint32_t read_queue_notify(const struct virtio *virtio)
{
	return selected(virtio) == NULL ? 0 : virtio->queue_select;
}

/* The three addresses: 4.1.3.1 lets the guest access a 64-bit field in halves. */
#define ADDRESSES 32u
#define ADDRESSES_SIZE 24u

static uint64_t queue_address(const struct virtio_queue *queue, unsigned which)
{
	return which == 0 ? queue->descriptors : which == 1 ? queue->driver : queue->device;
}

static uint8_t address_read_byte(const struct virtio *virtio, unsigned offset)
{
	const struct virtio_queue *queue = selected(virtio);
	return queue == NULL ? 0 : (uint8_t)(queue_address(queue, offset / 8) >> 8 * (offset % 8));
}

static void address_write(struct virtio *virtio, unsigned offset, unsigned size, uint64_t value)
{
	struct virtio_queue *queue = settable(virtio);
	if (queue == NULL || size != 4 || offset % 4 != 0)
		return;
	uint64_t *const address[] = {&queue->descriptors, &queue->driver, &queue->device};
	uint64_t *at = address[offset / 8];
	unsigned shift = 8 * (offset % 8);
	*at = (*at & ~(UINT64_C(0xffffffff) << shift)) | value << shift;
}

static const struct common_register common_register[] = {
    {0, 4, read_offered_select, write_offered_select},
    {4, 4, read_offered, NULL},
    {8, 4, read_accepted_select, write_accepted_select},
    {12, 4, read_accepted, write_accepted},
    {16, 2, read_config_vector, write_config_vector},
    {18, 2, read_queues, NULL},
    {20, 1, read_status, write_status},
    {21, 1, read_generation, NULL},
    {22, 2, read_queue_select, write_queue_select},
    {24, 2, read_queue_size, write_queue_size},
    {26, 2, read_queue_vector, write_queue_vector},
    {28, 2, read_queue_enable, write_queue_enable},
    {30, 2, read_queue_notify, NULL},
};

static const struct common_register *find_register(unsigned offset)
{
	for (unsigned i = 0; i < sizeof common_register / sizeof common_register[0]; i++)
		if (offset - common_register[i].offset < common_register[i].size)
			return &common_register[i];
	return NULL;
}

static uint8_t common_read_byte(const struct virtio *virtio, unsigned offset)
{
	const struct common_register *reg = find_register(offset);
	if (offset - ADDRESSES < ADDRESSES_SIZE)
		return address_read_byte(virtio, offset - ADDRESSES);
	return reg == NULL ? 0 : (uint8_t)(reg->read(virtio) >> 8 * (offset - reg->offset));
}

/* Reads need not be of one whole register. */
static uint64_t common_read(struct virtio *virtio, unsigned offset, unsigned size)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)common_read_byte(virtio, offset + i) << 8 * i;
	return value;
}

/* Writes must (4.1.3.1); others are ignored. */
static void common_write(struct virtio *virtio, unsigned offset, unsigned size, uint64_t value)
{
	const struct common_register *reg = find_register(offset);
	if (offset - ADDRESSES < ADDRESSES_SIZE)
		address_write(virtio, offset - ADDRESSES, size, value);
	else if (reg != NULL && reg->offset == offset && reg->size == size && reg->write != NULL)
		reg->write(virtio, (uint32_t)value);
}

/* ---- the other areas ---- */

/* Reading acknowledges (4.1.4.5.1). */
static uint64_t isr_read(struct virtio *virtio, unsigned offset, unsigned size)
{
	(void)size;
	if (offset != 0)
		return 0;
	uint8_t isr = virtio->isr;
	virtio->isr = 0;
	pci_set_interrupt(&virtio->function, false);
	return isr;
}

static uint64_t device_read(struct virtio *virtio, unsigned offset, unsigned size)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < size; i++)
		if (offset + i < virtio->config_size)
			value |= (uint64_t)virtio->config[offset + i] << 8 * i;
	return value;
}

static void device_write(struct virtio *virtio, unsigned offset, unsigned size, uint64_t value)
{
	if (virtio->ops->config_written != NULL && offset + size <= virtio->config_size && !virtio->resetting)
		virtio->ops->config_written(virtio, offset, size, (uint32_t)value);
}

/* The place says which queue (4.1.4.4); the value does as well, and is not looked at. */
static void notify_write(struct virtio *virtio, unsigned offset, unsigned size, uint64_t value)
{
	unsigned queue = offset / VIRTIO_NOTIFY_MULTIPLIER;
	(void)size;
	(void)value;
	if (offset % VIRTIO_NOTIFY_MULTIPLIER == 0 && queue < virtio->queues && virtio->queue[queue].enabled &&
	    virtio_running(virtio))
		virtio->ops->notified(virtio, queue);
}

static uint64_t msix_table_read(struct virtio *virtio, unsigned offset, unsigned size)
{
	return pci_msix_read_table(&virtio->msix, offset, size);
}

static void msix_table_write(struct virtio *virtio, unsigned offset, unsigned size, uint64_t value)
{
	pci_msix_write_table(&virtio->msix, offset, size, value);
}

static uint64_t msix_pending_read(struct virtio *virtio, unsigned offset, unsigned size)
{
	return pci_msix_read_pending(&virtio->msix, offset, size);
}

static const struct {
	uint64_t (*read)(struct virtio *virtio, unsigned offset, unsigned size);
	void (*write)(struct virtio *virtio, unsigned offset, unsigned size, uint64_t value);
} area[VIRTIO_AREAS] = {
    [VIRTIO_AREA_COMMON] = {common_read, common_write},
    [VIRTIO_AREA_ISR] = {isr_read, NULL},
    [VIRTIO_AREA_DEVICE] = {device_read, device_write},
    [VIRTIO_AREA_NOTIFY] = {NULL, notify_write},
    [VIRTIO_AREA_MSIX_TABLE] = {msix_table_read, msix_table_write},
    [VIRTIO_AREA_MSIX_PENDING] = {msix_pending_read, NULL},
};

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
	unsigned which = (unsigned)(offset / VIRTIO_AREA_SIZE);
	if (which >= VIRTIO_AREAS || area[which].read == NULL)
		return 0;
	return area[which].read(opaque, (unsigned)(offset % VIRTIO_AREA_SIZE), size);
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	unsigned which = (unsigned)(offset / VIRTIO_AREA_SIZE);
	if (which < VIRTIO_AREAS && area[which].write != NULL)
		area[which].write(opaque, (unsigned)(offset % VIRTIO_AREA_SIZE), size, value);
}

static const struct io_ops bar_ops = {.read = bar_read, .write = bar_write, .max_size = 4};

/* ---- capabilities (4.1.4) ---- */

enum capability_type { CAPABILITY_COMMON = 1, CAPABILITY_NOTIFY, CAPABILITY_ISR, CAPABILITY_DEVICE, CAPABILITY_PCI };

/* Where they lie in configuration space. */
#define PLACE_MSIX 0x40u
#define PLACE_COMMON 0x50u
#define PLACE_NOTIFY 0x60u
#define PLACE_ISR 0x74u
#define PLACE_DEVICE 0x84u
#define PLACE_PCI 0x94u
#define PLACE_PCI_LENGTH 20u

/* Offsets in a capability. */
#define CAPABILITY_LENGTH 2u
#define CAPABILITY_TYPE 3u
#define CAPABILITY_BAR 4u
#define CAPABILITY_OFFSET 8u
#define CAPABILITY_SIZE 12u
#define CAPABILITY_EXTRA 16u /* the notification multiplier; the data of the configuration access capability */

static void add_capability(struct virtio *virtio, unsigned place, enum capability_type type, unsigned length,
			   enum virtio_area where, uint32_t size)
{
	uint8_t *config = virtio->function.config;
	pci_function_add_capability(&virtio->function, place, PCI_CAPABILITY_VENDOR, length);
	config[place + CAPABILITY_LENGTH] = (uint8_t)length;
	config[place + CAPABILITY_TYPE] = (uint8_t)type;
	config[place + CAPABILITY_BAR] = VIRTIO_BAR;
	store_le(&config[place + CAPABILITY_OFFSET], (uint32_t)where * VIRTIO_AREA_SIZE, 4);
	store_le(&config[place + CAPABILITY_SIZE], size, 4);
}

/* 4.1.4.9: another way to the BAR, for those who cannot reach memory there. False: it points nowhere. */
static bool window(const struct virtio *virtio, uint32_t *offset, unsigned *size)
{
	const uint8_t *capability = &virtio->function.config[PLACE_PCI];
	*offset = (uint32_t)load_le(&capability[CAPABILITY_OFFSET], 4);
	*size = (unsigned)load_le(&capability[CAPABILITY_SIZE], 4);
	return capability[CAPABILITY_BAR] == VIRTIO_BAR && (*size == 1 || *size == 2 || *size == 4) &&
	       *offset % *size == 0 && *offset < VIRTIO_BAR_SIZE;
}

static void config_reading(struct pci_function *function, unsigned offset, unsigned size)
{
	struct virtio *virtio = container_of(function, struct virtio, function);
	uint32_t at;
	unsigned width;
	(void)size;
	if (offset == PLACE_PCI + CAPABILITY_EXTRA && window(virtio, &at, &width))
		store_le(&function->config[offset], bar_read(virtio, at, width), 4);
}

static void config_written(struct pci_function *function, unsigned offset, unsigned size)
{
	struct virtio *virtio = container_of(function, struct virtio, function);
	uint32_t at;
	unsigned width;
	if (offset == PLACE_PCI + CAPABILITY_EXTRA && window(virtio, &at, &width) && width <= size)
		bar_write(virtio, at, width, load_le(&function->config[offset], width));
	if (offset <= PCI_COMMAND && offset + size > PCI_COMMAND)
		virtio_notify_queues(virtio); /* the bus-master bit may have been set */
}

void virtio_registers_reset(struct virtio *virtio)
{
	uint8_t *capability = &virtio->function.config[PLACE_PCI];
	memset(capability + CAPABILITY_BAR, 0, PLACE_PCI_LENGTH - CAPABILITY_BAR);
}

void virtio_registers_init(struct virtio *virtio, const char *name)
{
	struct pci_function *function = &virtio->function;
	const struct pci_bar bar = {.size = VIRTIO_BAR_SIZE, .ops = &bar_ops, .opaque = virtio, .name = name};
	pci_function_set_bar(function, VIRTIO_BAR, &bar);
	pci_msix_init(&virtio->msix, function, PLACE_MSIX, virtio->queues + 1, VIRTIO_BAR,
		      VIRTIO_AREA_MSIX_TABLE * VIRTIO_AREA_SIZE, VIRTIO_AREA_MSIX_PENDING * VIRTIO_AREA_SIZE);
	add_capability(virtio, PLACE_PCI, CAPABILITY_PCI, PLACE_PCI_LENGTH, VIRTIO_AREA_COMMON, 0);
	if (virtio->config_size > 0) /* 4.1.4.6: of devices that have a configuration */
		add_capability(virtio, PLACE_DEVICE, CAPABILITY_DEVICE, 16, VIRTIO_AREA_DEVICE, virtio->config_size);
	add_capability(virtio, PLACE_ISR, CAPABILITY_ISR, 16, VIRTIO_AREA_ISR, 1);
	add_capability(virtio, PLACE_NOTIFY, CAPABILITY_NOTIFY, 20, VIRTIO_AREA_NOTIFY,
		       virtio->queues * VIRTIO_NOTIFY_MULTIPLIER);
	add_capability(virtio, PLACE_COMMON, CAPABILITY_COMMON, 16, VIRTIO_AREA_COMMON, VIRTIO_COMMON_SIZE);
	store_le(&function->config[PLACE_NOTIFY + CAPABILITY_EXTRA], VIRTIO_NOTIFY_MULTIPLIER, 4);
	function->writable[PLACE_PCI + CAPABILITY_BAR] = 0xff;
	store_le(&function->writable[PLACE_PCI + CAPABILITY_OFFSET], UINT32_MAX, 4);
	store_le(&function->writable[PLACE_PCI + CAPABILITY_SIZE], UINT32_MAX, 4);
	store_le(&function->writable[PLACE_PCI + CAPABILITY_EXTRA], UINT32_MAX, 4);
	function->config_reading = config_reading;
	function->config_written = config_written;
}

/* SPDX-License-Identifier: MIT */
/* A virtio device's life: status, features, interrupts, reset. */
#include "devices/virtio.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "devices/virtio-impl.h"

#define VENDOR 0x1af4u
#define DEVICE_BASE 0x1040u /* 4.1.2 */
#define STATUS_WRITABLE                                                                                                \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FEATURES_OK |      \
	 VIRTIO_STATUS_FAILED)

/* ---- interrupts ---- */

/* 4.1.5.1.4, 4.1.5.2: with MSI-X the vector says it all, and NO_VECTOR says nothing. */
void virtio_interrupt(struct virtio *virtio, uint8_t bit, uint16_t vector)
{
	if (pci_msix_enabled(&virtio->msix)) {
		if (vector != VIRTIO_NO_VECTOR)
			pci_msix_signal(&virtio->msix, vector);
		return;
	}
	virtio->isr |= bit;
	pci_set_interrupt(&virtio->function, true);
}

static void config_interrupt(struct virtio *virtio)
{
	if ((virtio->status & VIRTIO_STATUS_DRIVER_OK) != 0)
		virtio_interrupt(virtio, VIRTIO_ISR_CONFIG, virtio->config_vector);
}

/* 4.1.4.3.1: the guest reads the generation before and after the configuration, and again if it changed. */
void virtio_config_changing(struct virtio *virtio)
{
	virtio->generation++;
}

void virtio_config_changed(struct virtio *virtio)
{
	config_interrupt(virtio);
}

void virtio_fail(struct virtio *virtio)
{
	if ((virtio->status & VIRTIO_STATUS_NEEDS_RESET) != 0)
		return;
	virtio->status |= VIRTIO_STATUS_NEEDS_RESET;
	config_interrupt(virtio);
}

/* ---- status ---- */

bool virtio_running(const struct virtio *virtio)
{
	uint8_t bits = VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED;
	return (virtio->status & bits) == VIRTIO_STATUS_DRIVER_OK && !virtio->resetting &&
	       pci_may_master(&virtio->function);
}

void virtio_notify_queues(struct virtio *virtio)
{
	for (unsigned i = 0; i < virtio->queues; i++)
		if (virtio->queue[i].enabled && virtio_running(virtio))
			virtio->ops->notified(virtio, i);
}

/* Everything that the guest set, but what belongs to PCI. */
static void forget(struct virtio *virtio)
{
	virtio->resetting = false;
	virtio->accepted = 0;
	virtio->status = virtio->isr = virtio->generation = 0;
	virtio->offered_select = virtio->accepted_select = 0;
	virtio->queue_select = 0;
	virtio->config_vector = VIRTIO_NO_VECTOR;
	for (unsigned i = 0; i < virtio->queues; i++)
		virtio_queue_reset(&virtio->queue[i]);
	pci_set_interrupt(&virtio->function, false);
}

void virtio_reset_done(struct virtio *virtio)
{
	if (virtio->resetting)
		forget(virtio);
}

/* 2.4: the guest waits until device_status reads 0. */
static void begin_reset(struct virtio *virtio)
{
	virtio->resetting = true;
	if (virtio->ops->reset(virtio))
		forget(virtio);
}

/* 2.2.2: all that the guest accepts was offered; there is no legacy interface. */
static bool features_are_good(const struct virtio *virtio)
{
	return (virtio->accepted & ~virtio->offered) == 0 && virtio_has(virtio, VIRTIO_F_VERSION_1);
}

void virtio_set_status(struct virtio *virtio, uint8_t value)
{
	if (virtio->resetting)
		return;
	if (value == 0) {
		begin_reset(virtio);
		return;
	}
	uint8_t added = (uint8_t)(value & STATUS_WRITABLE & ~virtio->status);
	if ((added & VIRTIO_STATUS_FEATURES_OK) != 0 && !features_are_good(virtio))
		added &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	if (((virtio->status | added) & VIRTIO_STATUS_FEATURES_OK) == 0)
		added &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
	virtio->status |= added;
	if ((added & VIRTIO_STATUS_DRIVER_OK) == 0)
		return;
	if (virtio->ops->started != NULL)
		virtio->ops->started(virtio);
	virtio_notify_queues(virtio);
}

/* ---- life ---- */

void virtio_reset(struct virtio *virtio)
{
	virtio->resetting = true;
	bool idle = virtio->ops->reset(virtio);
	assert(idle);
	(void)idle;
	forget(virtio);
	virtio_registers_reset(virtio);
	pci_msix_reset(&virtio->msix);
	pci_function_reset(&virtio->function);
}

bool virtio_init(struct virtio *virtio, const struct virtio_config *config, struct error *error)
{
	/* 4.1.2.1: a device without a legacy interface has revision 1 and a subsystem of 40h or more. */
	const struct pci_identity identity = {.vendor = VENDOR,
					      .device = (uint16_t)(DEVICE_BASE + config->type),
					      .class_code = config->class_code,
					      .revision = 1,
					      .subsystem_vendor = VENDOR,
					      .subsystem = (uint16_t)(DEVICE_BASE + config->type),
					      .interrupt_pin = 1};
	uint16_t size = config->queue_size;
	assert(config->queues >= 1 && config->queues <= VIRTIO_QUEUES_MAX && config->config_size <= VIRTIO_CONFIG_MAX);
	assert(size >= 1 && size <= VIRTIO_QUEUE_SIZE_MAX && (size & (size - 1)) == 0);
	memset(virtio, 0, sizeof *virtio);
	virtio->ops = config->ops;
	virtio->memory = config->memory;
	virtio->queues = config->queues;
	virtio->config_size = config->config_size;
	virtio->offered = config->features | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1;
	for (unsigned i = 0; i < virtio->queues; i++)
		virtio->queue[i].size_max = size;
	pci_function_init(&virtio->function, &identity);
	virtio_registers_init(virtio, config->name);
	forget(virtio);
	return pci_bus_attach(config->bus, &virtio->function, config->device, config->number, error);
}

void virtio_exit(struct virtio *virtio)
{
	pci_bus_detach(&virtio->function);
}

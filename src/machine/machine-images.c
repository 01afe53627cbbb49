/* SPDX-License-Identifier: MIT */
/* A machine as the host of its disk images (backend/disk.h). All with the device lock held. */
#include "machine/machine-impl.h"

static bool watch_image(void *opaque, int fd, uint32_t epoll_events, void (*ready)(void *, int, uint32_t),
			void *ready_opaque)
{
	const struct machine_image *image = opaque;
	return machine_watch_backend(image->machine, fd, epoll_events, ready, ready_opaque);
}

static void unwatch_image(void *opaque, int fd)
{
	const struct machine_image *image = opaque;
	machine_unwatch_backend(image->machine, fd);
}

static void report_image(void *opaque, const char *text)
{
	const struct machine_image *image = opaque;
	const struct machine_config *config = &image->machine->config;
	if (config->report != NULL)
		config->report(config->report_opaque, text);
}

static void stop_for_image(void *opaque)
{
	const struct machine_image *image = opaque;
	machine_stop_for_image(image->machine);
}

/* In the host's cycles, as all times of events are. */
static void tell_outcome(const struct machine_image *image, enum ledger_disk_operation operation,
			 const struct disk_outcome *outcome)
{
	const struct machine *machine = image->machine;
	if (!events_want(&machine->events, EVENT_DISK_DONE))
		return;
	double cycles = (double)outcome->nanoseconds * (double)machine->ledger->tsc_hz / 1e9;
	const struct event event = {.tsc = ledger_tsc(),
				    .address = outcome->bytes,
				    .value = (uint64_t)cycles,
				    .kind = EVENT_DISK_DONE,
				    .vcpu = EVENT_NO_VCPU,
				    .size = (uint8_t)operation,
				    .device = image->index};
	events_add(machine->events.ring, &event);
}

static void count_image(void *opaque, const struct disk_outcome *outcome)
{
	static const enum ledger_disk_operation operation[DISK_OPERATIONS] = {[DISK_READ] = LEDGER_DISK_READ,
									      [DISK_WRITE] = LEDGER_DISK_WRITE,
									      [DISK_FLUSH] = LEDGER_DISK_FLUSH,
									      [DISK_DISCARD] = LEDGER_DISK_DISCARD,
									      [DISK_ZERO] = LEDGER_DISK_ZERO};
	const struct machine_image *image = opaque;
	ledger_disk_add(image->line, operation[outcome->operation], outcome->bytes, outcome->nanoseconds,
			outcome->failed);
	tell_outcome(image, operation[outcome->operation], outcome);
}

/* A deterministic guest's disks take no time: what comes from outside comes at another moment in each run. */
bool machine_attach_images(struct machine *machine, struct error *error)
{
	_Static_assert(MEDIA_IMAGES <= LEDGER_MAX_DISKS, "a line for each image");
	for (unsigned i = 0; i < MEDIA_IMAGES; i++) {
		struct machine_image *image = &machine->image[i];
		struct disk *disk = machine->media.image[i];
		if (disk == NULL)
			continue;
		*image = (struct machine_image){
		    .machine = machine, .index = i, .disk = disk, .line = &machine->ledger->disk[i]};
		const struct disk_host host = {.watch = machine->config.deterministic ? NULL : watch_image,
					       .unwatch = unwatch_image,
					       .report = report_image,
					       .stop = stop_for_image,
					       .count = count_image,
					       .opaque = image};
		if (!disk_attach(disk, &host, error))
			return false;
	}
	machine->ledger->disk_count = machine->media.image_count;
	return true;
}

void machine_retry_images(struct machine *machine)
{
	for (unsigned i = 0; i < MEDIA_IMAGES; i++)
		if (machine->image[i].disk != NULL)
			disk_retry(machine->image[i].disk);
}

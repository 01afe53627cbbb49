/* SPDX-License-Identifier: MIT */
#include "machine/media.h"

#include <stdio.h>
#include <string.h>

/* The CD-ROM drive's place is the secondary master's: disks keep away from it as long as there is another place. */
#define CDROM_PLACE 2u

static const unsigned disk_place_beside_cdrom[] = {0, 1, 3, 2};

static void put_drive(struct media *media, unsigned place, bool cdrom, struct disk *image, unsigned number)
{
	(void)snprintf(media->serial[place], sizeof media->serial[place], "nfold-%s%u", cdrom ? "cdrom" : "disk",
		       number);
	media->drive[place] =
	    (struct pc_drive){.kind = cdrom ? PC_CDROM : PC_DISK, .image = image, .serial = media->serial[place]};
}

/* An IDE disk's place depends on how many there are before it; a virtio disk's is the next one. */
static void place_disk(struct media *media, const struct machine_disk *config, struct disk *image, unsigned number)
{
	if (!config->virtio) {
		put_drive(media, disk_place_beside_cdrom[media->ide_disks++], false, image, number);
		return;
	}
	unsigned place = media->virtio_disks++;
	char *serial = media->virtio_serial[place];
	(void)snprintf(serial, MEDIA_SERIAL_SIZE, "nfold-disk%u", number);
	media->virtio[place] = (struct pc_drive){.kind = PC_DISK, .image = image, .serial = serial};
}

static bool open_disks(struct media *media, const struct machine_config *config, struct error *error)
{
	for (unsigned i = 0; i < config->disk_count; i++) {
		const struct machine_disk *disk = &config->disk[i];
		const struct disk_options options = {.read_only = disk->read_only, .cache = disk->cache};
		struct disk *image = disk_open(disk->path, disk->format, &options, error);
		if (image == NULL)
			return false;
		image->on_error = disk->on_error;
		media->image[media->image_count++] = image;
		place_disk(media, disk, image, i);
	}
	media->virtio_first = config->disk_count > 0 && config->disk[0].virtio;
	return true;
}

/* ISO 9660 (ECMA-119) 8.1: volume descriptors begin at sector 16 and carry their standard's name. A disc may also hold
 * something else, but then it is no use to a PC. */
static void read_done(struct disk_request *request)
{
	(void)request; /* its owner waits for it by disk_drain() */
}

static bool is_iso(struct disk *image)
{
	uint8_t sector[DISK_SECTOR_SIZE];
	struct disk_request request = {
	    .operation = DISK_READ, .sector = 64, .count = 1, .bytes = sector, .done = read_done};
	if (image->sectors < 68)
		return false;
	disk_submit(image, &request);
	disk_drain(image);
	const void *name = sector + 1;
	return request.error == 0 && (memcmp(name, "CD001", 5) == 0 || memcmp(name, "BEA01", 5) == 0);
}

static bool open_cdrom(struct media *media, const struct machine_config *config, struct error *error)
{
	const struct disk_options options = {.read_only = true};
	struct disk *image = NULL;
	if (config->cdrom != NULL) {
		image = disk_open_raw(config->cdrom, &options, error);
		if (image == NULL)
			return false;
		media->image[media->image_count++] = image;
		if (!is_iso(image))
			return error_set(error, ERROR_INPUT, "%s is no CD-ROM: it has no ISO 9660 volume descriptor",
					 config->cdrom);
	}
	put_drive(media, CDROM_PLACE, true, image, 0);
	return true;
}

static bool open_floppies(struct media *media, const struct machine_config *config, struct error *error)
{
	for (unsigned i = 0; i < config->floppy_count; i++) {
		media->floppy[i] = floppy_open(config->floppy[i], config->floppy_read_only[i], error);
		if (media->floppy[i] == NULL)
			return false;
	}
	return true;
}

static bool check(const struct machine_config *config, struct error *error)
{
	unsigned limit = config->cdrom != NULL ? MACHINE_MAX_IDE_DISKS - 1 : MACHINE_MAX_IDE_DISKS;
	unsigned ide = 0;
	for (unsigned i = 0; i < config->disk_count && i < MACHINE_MAX_DISKS; i++)
		ide += !config->disk[i].virtio;
	if (ide > limit)
		return error_set(error, ERROR_INPUT, "a guest can have at most %u IDE disks%s", limit,
				 config->cdrom != NULL ? " beside a CD-ROM" : "");
	if (config->disk_count - ide > MACHINE_MAX_VIRTIO_DISKS)
		return error_set(error, ERROR_INPUT, "a guest can have at most %d virtio disks",
				 MACHINE_MAX_VIRTIO_DISKS);
	if (config->floppy_count > MACHINE_MAX_FLOPPIES)
		return error_set(error, ERROR_INPUT, "a guest can have at most %d floppies", MACHINE_MAX_FLOPPIES);
	return true;
}

bool media_open(struct media *media, const struct machine_config *config, struct error *error)
{
	*media = (struct media){0};
	if (check(config, error) && open_disks(media, config, error) &&
	    (media->drive[CDROM_PLACE].kind != PC_NO_DRIVE || open_cdrom(media, config, error)) &&
	    open_floppies(media, config, error))
		return true;
	media_close(media);
	return false;
}

void media_close(struct media *media)
{
	for (unsigned i = 0; i < media->image_count; i++)
		disk_close(media->image[i]);
	for (unsigned i = 0; i < PC_FLOPPY_DRIVES; i++)
		if (media->floppy[i] != NULL)
			floppy_close(media->floppy[i]);
	*media = (struct media){0};
}

void media_describe(const struct media *media, struct cmos_config *cmos, struct firmware_config *firmware)
{
	static const enum firmware_drive kind[] = {
	    [PC_NO_DRIVE] = FIRMWARE_NO_DRIVE, [PC_DISK] = FIRMWARE_DISK, [PC_CDROM] = FIRMWARE_CDROM};
	for (unsigned i = 0; i < PC_IDE_DRIVES; i++) {
		firmware->drive[i] = kind[media->drive[i].kind];
		cmos->disk_sectors[i] = media->drive[i].kind == PC_DISK ? media->drive[i].image->sectors : 0;
	}
	firmware->virtio_disks = media->virtio_disks;
	firmware->virtio_device = PC_VIRTIO_DISK_DEVICE;
	firmware->virtio_first = media->virtio_first;
	/*
	 * No disk is put in while the guest runs, so a drive without one is not there: firmware, boot loaders and
	 * systems would each search it for seconds.
	 */
	for (unsigned i = 0; i < PC_FLOPPY_DRIVES; i++) {
		if (media->floppy[i] == NULL)
			continue;
		cmos->floppy[i] = cmos_floppy_for(floppy_geometry(media->floppy[i]));
		firmware->floppies = i + 1;
	}
}

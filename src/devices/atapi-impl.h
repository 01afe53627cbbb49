/* SPDX-License-Identifier: MIT */
/* What the parts of the CD-ROM drive share: atapi.c has the ATA side and the data, atapi-packet.c the packet commands.
 */
#ifndef NFOLD_DEVICES_ATAPI_IMPL_H
#define NFOLD_DEVICES_ATAPI_IMPL_H

#include "devices/atapi.h"

#define ATAPI_BLOCK_SIZE 2048u
#define ATAPI_BLOCK_SECTORS (ATAPI_BLOCK_SIZE / DISK_SECTOR_SIZE)
#define ATAPI_BUFFER_BLOCKS 32u
#define ATAPI_PACKET_SIZE 12u
#define ATAPI_SERIAL_SIZE 20u

/* Sense key, additional sense code and its qualifier. */
struct atapi_sense {
	uint8_t key, code, qualifier;
};

#define SENSE_NO_MEDIUM_CLOSED ((struct atapi_sense){0x02, 0x3a, 0x01})
#define SENSE_NO_MEDIUM_OPEN ((struct atapi_sense){0x02, 0x3a, 0x02})
#define SENSE_UNREADABLE ((struct atapi_sense){0x03, 0x11, 0x00})
#define SENSE_BAD_COMMAND ((struct atapi_sense){0x05, 0x20, 0x00})
#define SENSE_BAD_ADDRESS ((struct atapi_sense){0x05, 0x21, 0x00})
#define SENSE_BAD_FIELD ((struct atapi_sense){0x05, 0x24, 0x00})
#define SENSE_NOT_SAVED ((struct atapi_sense){0x05, 0x39, 0x00})
#define SENSE_LOCKED ((struct atapi_sense){0x05, 0x53, 0x02})
#define SENSE_MEDIUM_CHANGED ((struct atapi_sense){0x06, 0x28, 0x00})
#define SENSE_RESET ((struct atapi_sense){0x06, 0x29, 0x00})

enum atapi_phase { PHASE_NONE, PHASE_PAGE, PHASE_PACKET, PHASE_DATA };

/* Media events (MMC-3, 6.6.2.6). */
enum atapi_event { EVENT_NONE = 0, EVENT_NEW_MEDIA = 2, EVENT_MEDIA_REMOVAL = 3 };

struct atapi {
	struct ide_drive drive;
	struct disk *disk;
	char serial[ATAPI_SERIAL_SIZE + 1];
	uint8_t multiword, ultra; /* the transfer mode, as bits of words 63 and 88 */
	bool open, locked;
	struct atapi_sense sense;
	struct atapi_sense attention; /* reported once before anything else; key 0: none */
	uint8_t event;
	/* The packet at work. */
	enum atapi_phase phase;
	uint8_t packet[ATAPI_PACKET_SIZE];
	bool dma;
	uint32_t limit;		/* bytes in a piece of PIO */
	uint32_t at, left;	/* bytes in the buffer that the host has not seen */
	uint64_t block;		/* the next to be read from the image */
	uint32_t blocks;	/* how many of them */
	bool unreadable, moved; /* the image failed; data went to the host */
	bool running;
	struct disk_request request;
	uint8_t *buffer; /* ATAPI_BUFFER_BLOCKS blocks */
};

/* Called once the packet is there; ends with one of the four below. */
void atapi_execute(struct atapi *atapi);

void atapi_succeed(struct atapi *atapi);
void atapi_fail(struct atapi *atapi, struct atapi_sense sense);
void atapi_reply(struct atapi *atapi, uint32_t size, uint32_t room); /* of the buffer; room: the allocation length */
void atapi_read(struct atapi *atapi, uint64_t block, uint32_t count);

static inline bool atapi_has_medium(const struct atapi *atapi)
{
	return atapi->disk != NULL && !atapi->open;
}

static inline uint64_t atapi_blocks(const struct atapi *atapi)
{
	return (atapi->disk->sectors + ATAPI_BLOCK_SECTORS - 1) / ATAPI_BLOCK_SECTORS;
}

#endif

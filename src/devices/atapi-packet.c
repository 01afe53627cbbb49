/* SPDX-License-Identifier: MIT */
/* The packet commands (SFF-8020i, MMC-3). Numbers in packets and replies are big-endian. */
#include <string.h>

#include "devices/atapi-impl.h"

enum packet_flag {
	PACKET_MEDIUM = 1, /* fails without a disc */
	PACKET_ALWAYS = 2, /* not held up by a unit attention */
};

struct packet_command {
	void (*execute)(struct atapi *atapi);
	uint8_t flags;
};

static uint32_t get_be(const uint8_t *from, unsigned bytes)
{
	uint32_t value = 0;
	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | from[i];
	return value;
}

static void put_be(uint8_t *to, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

/* Copies a reply's constant part into the empty buffer. */
static uint8_t *reply_begin(struct atapi *atapi, const void *bytes, size_t size)
{
	memset(atapi->buffer, 0, 512);
	memcpy(atapi->buffer, bytes, size);
	return atapi->buffer;
}

static void packet_test_unit_ready(struct atapi *atapi)
{
	atapi_succeed(atapi);
}

static void packet_request_sense(struct atapi *atapi)
{
	static const uint8_t fixed[18] = {[0] = 0x70, [7] = 10};
	uint8_t *reply = reply_begin(atapi, fixed, sizeof fixed);
	struct atapi_sense sense = atapi->sense;
	if (sense.key == 0) {
		sense = atapi->attention;
		atapi->attention = (struct atapi_sense){0};
	}
	reply[2] = sense.key;
	reply[12] = sense.code;
	reply[13] = sense.qualifier;
	atapi_reply(atapi, sizeof fixed, atapi->packet[4]);
}

static void packet_inquiry(struct atapi *atapi)
{
	static const uint8_t fixed[] = {0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0}; /* CD-ROM, removable, ATAPI */
	if (atapi->packet[1] & 1) {					      /* vital product data */
		atapi_fail(atapi, SENSE_BAD_FIELD);
		return;
	}
	uint8_t *reply = reply_begin(atapi, fixed, sizeof fixed);
	memcpy(reply + 8, "NFOLD   CD-ROM          1.0 ", 28);
	atapi_reply(atapi, 36, get_be(&atapi->packet[3], 2));
}

/* LoEj and Start: eject, load; without LoEj the motor, which there is none of. */
static void packet_start_stop(struct atapi *atapi)
{
	bool load = (atapi->packet[4] & 3) == 3, eject = (atapi->packet[4] & 3) == 2;
	if (eject && atapi->locked) {
		atapi_fail(atapi, SENSE_LOCKED);
		return;
	}
	if (eject && !atapi->open) {
		atapi->event = EVENT_MEDIA_REMOVAL;
		atapi->open = true;
	} else if (load && atapi->open) {
		atapi->open = false;
		if (atapi->disk != NULL) {
			atapi->event = EVENT_NEW_MEDIA;
			atapi->attention = SENSE_MEDIUM_CHANGED;
		}
	}
	atapi_succeed(atapi);
}

static void packet_prevent(struct atapi *atapi)
{
	atapi->locked = (atapi->packet[4] & 1) != 0;
	atapi_succeed(atapi);
}

static void packet_read_capacity(struct atapi *atapi)
{
	uint64_t last = atapi_blocks(atapi) - 1;
	put_be(atapi->buffer, last > UINT32_MAX ? UINT32_MAX : (uint32_t)last, 4);
	put_be(atapi->buffer + 4, ATAPI_BLOCK_SIZE, 4);
	atapi_reply(atapi, 8, 8);
}

static void packet_read_10(struct atapi *atapi)
{
	atapi_read(atapi, get_be(&atapi->packet[2], 4), get_be(&atapi->packet[7], 2));
}

static void packet_read_12(struct atapi *atapi)
{
	atapi_read(atapi, get_be(&atapi->packet[2], 4), get_be(&atapi->packet[6], 4));
}

static void packet_seek(struct atapi *atapi)
{
	atapi_read(atapi, get_be(&atapi->packet[2], 4), 0);
}

/* Blocks of mode 1, and of them nothing or the user data. */
static void packet_read_cd(struct atapi *atapi)
{
	const uint8_t *packet = atapi->packet;
	uint8_t type = packet[1] >> 2 & 7;
	bool known = (type == 0 || type == 2) && (packet[9] == 0x00 || packet[9] == 0x10) && (packet[10] & 7) == 0;
	if (!known)
		atapi_fail(atapi, SENSE_BAD_FIELD);
	else
		atapi_read(atapi, get_be(&packet[2], 4), packet[9] == 0 ? 0 : get_be(&packet[6], 3));
}

/* An address as block number, or as minute, second and frame, which start 150 frames before block 0. */
static void put_address(uint8_t *to, uint64_t block, bool msf)
{
	if (!msf) {
		put_be(to, (uint32_t)block, 4);
		return;
	}
	uint64_t frame = block + 150;
	to[0] = 0;
	to[1] = (uint8_t)(frame / (60 * 75));
	to[2] = (uint8_t)(frame / 75 % 60);
	to[3] = (uint8_t)(frame % 75);
}

static uint8_t *put_track(uint8_t *to, uint8_t track, uint64_t block, bool msf)
{
	to[1] = 0x14; /* a data track */
	to[2] = track;
	put_address(to + 4, block, msf);
	return to + 8;
}

#define TRACK_LEAD_OUT 0xaau

static void packet_read_toc(struct atapi *atapi)
{
	static const uint8_t fixed[] = {0, 0, 1, 1}; /* first and last track, or session */
	const uint8_t *packet = atapi->packet;
	bool msf = (packet[1] & 2) != 0;
	/* MMC's place of the format, or SFF-8020i's. */
	uint8_t format = packet[2] & 0x0f ? packet[2] & 0x0f : packet[9] >> 6, start = packet[6];
	if (format > 1 || (format == 0 && start > 1 && start != TRACK_LEAD_OUT)) {
		atapi_fail(atapi, SENSE_BAD_FIELD);
		return;
	}
	uint8_t *reply = reply_begin(atapi, fixed, sizeof fixed);
	uint8_t *end = reply + 4;
	if (format == 1 || start <= 1)
		end = put_track(end, 1, 0, msf);
	if (format == 0)
		end = put_track(end, TRACK_LEAD_OUT, atapi_blocks(atapi), msf);
	put_be(reply, (uint32_t)(end - reply) - 2, 2);
	atapi_reply(atapi, (uint32_t)(end - reply), get_be(&packet[7], 2));
}

/* MMC-3, 5.3 and 6.5. */
static void packet_get_configuration(struct atapi *atapi)
{
	static const struct {
		uint16_t feature;
		uint8_t flags; /* version, persistent; 1 is "current" and depends on the medium where it is clear */
		uint8_t length;
		uint8_t bytes[8];
	} features[] = {
	    {0x0000, 0x03, 4, {0x00, 0x08, 0x00}},	    /* profiles: CD-ROM */
	    {0x0001, 0x03, 4, {0, 0, 0, 2}},		    /* core: ATAPI */
	    {0x0003, 0x03, 4, {0x29}},			    /* removable medium: tray, eject, lock */
	    {0x0010, 0x00, 8, {0, 0, 0x08, 0, 0, 1, 0, 0}}, /* random readable: blocks of 2048 */
	    {0x001e, 0x00, 0, {0}},			    /* CD read */
	};
	uint8_t how = atapi->packet[1] & 3;
	uint16_t start = (uint16_t)get_be(&atapi->packet[2], 2);
	bool medium = atapi_has_medium(atapi);
	uint8_t *reply = reply_begin(atapi, "", 0);
	uint8_t *end = reply + 8;
	for (unsigned i = 0; i < sizeof features / sizeof features[0]; i++) {
		bool current = (features[i].flags & 1) || medium;
		bool wanted = how == 2 ? features[i].feature == start : features[i].feature >= start;
		if (!wanted || (how == 1 && !current))
			continue;
		put_be(end, features[i].feature, 2);
		end[2] = (uint8_t)(features[i].flags | current);
		end[3] = features[i].length;
		memcpy(end + 4, features[i].bytes, features[i].length);
		if (features[i].feature == 0)
			end[6] = medium;
		end += 4 + features[i].length;
	}
	put_be(reply, (uint32_t)(end - reply) - 4, 4);
	put_be(reply + 6, medium ? 0x0008 : 0, 2);
	atapi_reply(atapi, (uint32_t)(end - reply), get_be(&atapi->packet[7], 2));
}

#define EVENT_CLASS_MEDIA 4u
#define EVENT_NONE_AVAILABLE 0x80u

static void packet_get_event(struct atapi *atapi)
{
	static const uint8_t fixed[] = {0, 2, EVENT_NONE_AVAILABLE, 1u << EVENT_CLASS_MEDIA};
	uint32_t size = 4;
	if (!(atapi->packet[1] & 1)) { /* asynchronous */
		atapi_fail(atapi, SENSE_BAD_FIELD);
		return;
	}
	uint8_t *reply = reply_begin(atapi, fixed, sizeof fixed);
	if (atapi->packet[4] & 1u << EVENT_CLASS_MEDIA) {
		size = 8;
		reply[1] = 6;
		reply[2] = EVENT_CLASS_MEDIA;
		reply[4] = atapi->event;
		reply[5] = (uint8_t)((atapi->open ? 1 : 0) | (atapi_has_medium(atapi) ? 2 : 0));
		atapi->event = EVENT_NONE;
	}
	atapi_reply(atapi, size, get_be(&atapi->packet[7], 2));
}

#define PAGE_RECOVERY 0x01u
#define PAGE_CAPABILITIES 0x2au
#define PAGE_ALL 0x3fu

static uint8_t *put_page(const struct atapi *atapi, uint8_t *to, uint8_t page)
{
	static const uint8_t recovery[8] = {PAGE_RECOVERY, 6};
	/* Reads CD-R and CD-RW, modes 1 and 2, sessions; tray, eject, lock; 24 times 176.4 kB/s. */
	static const uint8_t capabilities[20] = {
	    PAGE_CAPABILITIES, 18, 0x03, 0x00, 0x70, 0x00, 0x29, 0x00, 0x10, 0x8a, 0, 0, 0, 64, 0x10, 0x8a};
	if (page == PAGE_RECOVERY || page == PAGE_ALL) {
		memcpy(to, recovery, sizeof recovery);
		to += sizeof recovery;
	}
	if (page == PAGE_CAPABILITIES || page == PAGE_ALL) {
		memcpy(to, capabilities, sizeof capabilities);
		to[6] |= atapi->locked ? 2 : 0;
		to += sizeof capabilities;
	}
	return to;
}

static void packet_mode_sense(struct atapi *atapi)
{
	uint8_t *reply = reply_begin(atapi, "", 0);
	uint8_t *end = put_page(atapi, reply + 8, atapi->packet[2] & 0x3f);
	uint8_t control = atapi->packet[2] >> 6;
	if (end == reply + 8 || control == 3) {
		atapi_fail(atapi, control == 3 ? SENSE_NOT_SAVED : SENSE_BAD_FIELD);
		return;
	}
	if (control == 1) /* which bits can be changed: none */
		for (uint8_t *page = reply + 8; page < end; page += 2 + page[1])
			memset(page + 2, 0, page[1]);
	put_be(reply, (uint32_t)(end - reply) - 2, 2);
	reply[2] = atapi->open ? 0x71 : atapi->disk != NULL ? 0x01 : 0x70; /* data disc, none, open */
	atapi_reply(atapi, (uint32_t)(end - reply), get_be(&atapi->packet[7], 2));
}

static void packet_mechanism_status(struct atapi *atapi)
{
	uint8_t *reply = reply_begin(atapi, "", 0);
	reply[1] = atapi->open ? 0x10 : 0;
	atapi_reply(atapi, 8, get_be(&atapi->packet[8], 2));
}

/* ---- dispatch ---- */

static const struct packet_command packets[256] = {
    [0x00] = {packet_test_unit_ready, PACKET_MEDIUM},
    [0x03] = {packet_request_sense, PACKET_ALWAYS},
    [0x12] = {packet_inquiry, PACKET_ALWAYS},
    [0x1b] = {packet_start_stop, 0},
    [0x1e] = {packet_prevent, 0},
    [0x25] = {packet_read_capacity, PACKET_MEDIUM},
    [0x28] = {packet_read_10, PACKET_MEDIUM},
    [0x2b] = {packet_seek, PACKET_MEDIUM},
    [0x43] = {packet_read_toc, PACKET_MEDIUM},
    [0x46] = {packet_get_configuration, PACKET_ALWAYS},
    [0x4a] = {packet_get_event, PACKET_ALWAYS},
    [0x5a] = {packet_mode_sense, 0},
    [0xa8] = {packet_read_12, PACKET_MEDIUM},
    [0xbd] = {packet_mechanism_status, 0},
    [0xbe] = {packet_read_cd, PACKET_MEDIUM},
};

void atapi_execute(struct atapi *atapi)
{
	const struct packet_command *command = &packets[atapi->packet[0]];
	if (atapi->attention.key != 0 && !(command->flags & PACKET_ALWAYS)) {
		struct atapi_sense attention = atapi->attention;
		atapi->attention = (struct atapi_sense){0};
		atapi_fail(atapi, attention);
	} else if (command->execute == NULL) {
		atapi_fail(atapi, SENSE_BAD_COMMAND);
	} else if ((command->flags & PACKET_MEDIUM) && !atapi_has_medium(atapi)) {
		atapi_fail(atapi, atapi->open ? SENSE_NO_MEDIUM_OPEN : SENSE_NO_MEDIUM_CLOSED);
	} else {
		command->execute(atapi);
	}
}

/* SPDX-License-Identifier: MIT */
/* What all images share: refusals, outcomes, reports, and requests held until the guest goes on. */
#include "backend/disk.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/disk-impl.h"

/* The same trouble is reported once in so long. */
#define REPORT_INTERVAL UINT64_C(10000000000)

static uint64_t host_time(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- outcomes ---- */

static void report(struct disk *disk, const struct disk_request *request, int error)
{
	static const char *const doing[DISK_OPERATIONS] = {[DISK_READ] = "reading",
							   [DISK_WRITE] = "writing",
							   [DISK_FLUSH] = "flushing",
							   [DISK_DISCARD] = "discarding",
							   [DISK_ZERO] = "writing zeros"};
	char text[400];
	uint64_t now = host_time();
	bool stops = disk->on_error == DISK_ERROR_STOPS;
	if (disk->host.report == NULL ||
	    (!stops && error == disk->reported_error && now - disk->reported_at < REPORT_INTERVAL))
		return;
	disk->reported_error = error;
	disk->reported_at = now;
	(void)snprintf(
	    text, sizeof text, "disk %s: %s at sector %" PRIu64 ": %s; %s", disk->name != NULL ? disk->name : "?",
	    doing[request->operation], request->sector, strerror(error),
	    stops ? "the guest is stopped: mend it and resume the guest" : "the guest was given an I/O error");
	disk->host.report(disk->host.opaque, text);
}

static void count(const struct disk *disk, const struct disk_request *request)
{
	if (disk->host.count == NULL)
		return;
	const struct disk_outcome outcome = {.operation = request->operation,
					     .bytes = (uint64_t)request->completed * DISK_SECTOR_SIZE,
					     .nanoseconds = host_time() - request->submitted,
					     .failed = request->error != 0};
	disk->host.count(disk->host.opaque, &outcome);
}

static void hand_back(struct disk *disk, struct disk_request *request)
{
	count(disk, request);
	request->done(request);
}

static void hold(struct disk *disk, struct disk_request *request)
{
	request->next = NULL;
	*disk->held_end = request;
	disk->held_end = &request->next;
	disk->host.stop(disk->host.opaque);
}

void disk_finish(struct disk *disk, struct disk_request *request, int error, uint32_t completed)
{
	request->error = error;
	request->completed = completed;
	if (error != 0)
		report(disk, request, error);
	if (error != 0 && disk->on_error == DISK_ERROR_STOPS && disk->host.stop != NULL && !disk->draining)
		hold(disk, request);
	else
		hand_back(disk, request);
}

/* ---- requests ---- */

static int request_refusal(const struct disk *disk, const struct disk_request *request)
{
	if (request->operation == DISK_FLUSH)
		return 0;
	if (request->operation != DISK_READ && disk->read_only)
		return EROFS;
	if (request->sector > disk->sectors || request->count > disk->sectors - request->sector)
		return EINVAL;
	return 0;
}

/* The guest's own fault is neither reported nor held. */
void disk_submit(struct disk *disk, struct disk_request *request)
{
	request->error = request_refusal(disk, request);
	request->completed = 0;
	request->hopeless = false;
	request->submitted = disk->host.count != NULL ? host_time() : 0;
	if (request->error != 0)
		hand_back(disk, request);
	else
		disk->ops->submit(disk, request);
}

static struct disk_request *take_held(struct disk *disk)
{
	struct disk_request *first = disk->held;
	disk->held = NULL;
	disk->held_end = &disk->held;
	return first;
}

/* What fails again is held again, and the guest stopped again. */
void disk_retry(struct disk *disk)
{
	struct disk_request *request = take_held(disk);
	while (request != NULL) {
		struct disk_request *next = request->next;
		if (request->hopeless)
			hand_back(disk, request);
		else
			disk->ops->submit(disk, request);
		request = next;
	}
}

void disk_drain(struct disk *disk)
{
	if (disk == NULL)
		return;
	disk->draining = true;
	do {
		if (disk->ops->drain != NULL)
			disk->ops->drain(disk);
		struct disk_request *request = take_held(disk);
		while (request != NULL) {
			struct disk_request *next = request->next;
			hand_back(disk, request);
			request = next;
		}
	} while (disk->held != NULL);
	disk->draining = false;
}

/* ---- life ---- */

bool disk_init(struct disk *disk, const struct disk_ops *ops, const char *name, bool read_only, struct error *error)
{
	*disk = (struct disk){.ops = ops, .read_only = read_only, .name = strdup(name)};
	disk->held_end = &disk->held;
	return disk->name != NULL || error_set(error, ERROR_HOST, "out of memory for disk image %s", name);
}

void disk_destroy(struct disk *disk)
{
	free(disk->name);
}

bool disk_attach(struct disk *disk, const struct disk_host *host, struct error *error)
{
	assert(disk->held == NULL);
	disk->host = *host;
	return disk->ops->attach == NULL || disk->ops->attach(disk, error);
}

void disk_close(struct disk *disk)
{
	if (disk == NULL)
		return;
	disk_drain(disk);
	disk->ops->close(disk);
}

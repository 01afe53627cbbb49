/* SPDX-License-Identifier: MIT */
/*
 * Images behind an NBD server: one that the user names by its URI, or a qemu-nbd of our own (disk-server.h).
 *
 * Theory of operation. libnbd speaks the protocol. Its handle has one socket, which the event loop watches; when it is
 * ready, libnbd reads and writes, and tells of finished commands by a callback. In there its handle is locked: the
 * callback only queues the request, and it is finished when libnbd has returned. A write that is to be durable where
 * the server has no FUA is a write and a flush.
 *
 * A connection that breaks is not made again: what the server had taken and not flushed may be lost, and no later
 * flush could make that good. All requests from then on fail; the guest gets I/O errors, the user a message.
 */
#include <assert.h>
#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "backend/disk-impl.h"
#include "backend/disk-nbd.h"
#include "backend/disk-server.h"

#define CONNECT_MS 20000 /* then it is not there */
#define DRAIN_MS 30000	 /* then it never will answer */
#define ZEROS_SIZE 65536u

struct nbd_disk {
	struct disk base;
	struct nbd_handle *nbd;
	struct disk_server *server; /* NULL: not ours */
	enum disk_cache cache;
	bool can_fua, can_trim, can_zero;
	bool dead;
	int watched_fd; /* -1: none */
	uint32_t watched_events;
	unsigned under_way;
	struct disk_work *finished, **finished_end;
	bool handing_over;
};

/* Written where the server cannot do it by itself. */
static const uint8_t zeros[ZEROS_SIZE];

static struct nbd_disk *nbd_of(struct disk *disk)
{
	return (struct nbd_disk *)disk;
}

static uint64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the connection ---- */

static uint32_t wanted_events(const struct nbd_disk *disk)
{
	unsigned direction = nbd_aio_get_direction(disk->nbd);
	return (direction & LIBNBD_AIO_DIRECTION_READ ? (uint32_t)EPOLLIN : 0) |
	       (direction & LIBNBD_AIO_DIRECTION_WRITE ? (uint32_t)EPOLLOUT : 0);
}

static void nbd_ready(void *opaque, int fd, uint32_t events);

static void unwatch(struct nbd_disk *disk)
{
	if (disk->watched_fd >= 0)
		disk->base.host.unwatch(disk->base.host.opaque, disk->watched_fd);
	disk->watched_fd = -1;
}

/* What libnbd waits for changes when the socket is full. */
static bool watch(struct nbd_disk *disk)
{
	uint32_t events = disk->dead ? 0 : wanted_events(disk);
	if (disk->base.host.watch == NULL || (disk->watched_fd >= 0 && events == disk->watched_events))
		return true;
	unwatch(disk);
	if (disk->dead)
		return true;
	int fd = nbd_aio_get_fd(disk->nbd);
	disk->watched_events = events;
	if (disk->base.host.watch(disk->base.host.opaque, fd, events, nbd_ready, disk))
		disk->watched_fd = fd;
	return disk->watched_fd >= 0;
}

static void report_death(struct nbd_disk *disk)
{
	char why[256] = "", text[400];
	if (disk->server != NULL)
		disk_server_describe(disk->server, why, sizeof why);
	(void)snprintf(text, sizeof text, "disk %s: %s%s%s; all further accesses fail", disk->base.name,
		       disk->server != NULL ? "its server qemu-nbd is gone" : "the connection to its server is lost",
		       why[0] != '\0' ? ": " : "", why);
	if (disk->base.host.report != NULL)
		disk->base.host.report(disk->base.host.opaque, text);
}

/* libnbd ends all commands when it finds the connection dead. */
static void look_for_death(struct nbd_disk *disk)
{
	if (disk->dead || (nbd_aio_is_dead(disk->nbd) <= 0 && nbd_aio_is_closed(disk->nbd) <= 0))
		return;
	disk->dead = true;
	unwatch(disk);
	report_death(disk);
}

/* ---- requests ---- */

static void nbd_step(struct nbd_disk *disk, struct disk_request *request);

static void nbd_finish(struct nbd_disk *disk, struct disk_request *request, int error)
{
	uint64_t good = error != 0 ? 0 : request->work.size;
	request->hopeless = disk->dead;
	disk_finish(&disk->base, request, error, (uint32_t)(good / DISK_SECTOR_SIZE));
}

/* From within libnbd. Returning 1 retires the command. */
static int command_done(void *user_data, int *error)
{
	struct disk_work *work = user_data;
	struct nbd_disk *disk = nbd_of(work->disk);
	work->result = *error;
	work->next = NULL;
	*disk->finished_end = work;
	disk->finished_end = &work->next;
	return 1;
}

/* A step is over: there may be more zeros to write, or a flush to be done. */
static void nbd_went_on(struct nbd_disk *disk, struct disk_request *request)
{
	struct disk_work *work = &request->work;
	if (work->result != 0) {
		nbd_finish(disk, request, (int)work->result);
		return;
	}
	work->done += work->length;
	if (work->kind == WORK_SYNC || (work->done == work->size && work->kind != WORK_WRITE)) {
		nbd_finish(disk, request, 0);
		return;
	}
	if (work->done == work->size)
		work->kind = WORK_SYNC;
	nbd_step(disk, request);
}

static void hand_over(struct nbd_disk *disk)
{
	if (disk->handing_over)
		return;
	disk->handing_over = true;
	look_for_death(disk);
	while (disk->finished != NULL) {
		struct disk_work *work = disk->finished;
		disk->finished = work->next;
		if (disk->finished == NULL)
			disk->finished_end = &disk->finished;
		assert(disk->under_way > 0);
		disk->under_way--;
		nbd_went_on(disk, request_of(work));
		look_for_death(disk);
	}
	disk->handing_over = false;
	if (!watch(disk) && disk->base.host.report != NULL)
		disk->base.host.report(disk->base.host.opaque, "too many descriptors: a disk's server cannot be heard");
}

static bool writes_durably(const struct nbd_disk *disk, const struct disk_request *request)
{
	return disk->cache != DISK_UNSAFE && (request->durable || disk->base.write_through);
}

static int64_t give_command(struct nbd_disk *disk, struct disk_request *request)
{
	struct disk_work *work = &request->work;
	const nbd_completion_callback done = {.callback = command_done, .user_data = work};
	uint64_t offset = request->sector * DISK_SECTOR_SIZE + work->done;
	uint32_t fua = writes_durably(disk, request) && disk->can_fua ? LIBNBD_CMD_FLAG_FUA : 0;
	switch ((enum disk_work_kind)work->kind) {
	case WORK_READ:
		return nbd_aio_pread(disk->nbd, request->bytes, work->length, offset, done, 0);
	case WORK_WRITE:
		return nbd_aio_pwrite(disk->nbd, request->operation == DISK_ZERO ? zeros : request->bytes, work->length,
				      offset, done, fua);
	case WORK_SYNC:
		return nbd_aio_flush(disk->nbd, done, 0);
	case WORK_PUNCH:
		return nbd_aio_trim(disk->nbd, work->length, offset, done, 0);
	default:
		return nbd_aio_zero(disk->nbd, work->length, offset, done,
				    fua | (request->unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE));
	}
}

static void nbd_step(struct nbd_disk *disk, struct disk_request *request)
{
	struct disk_work *work = &request->work;
	work->length = work->kind == WORK_SYNC ? 0 : work->size - work->done;
	if (work->kind == WORK_WRITE && request->operation == DISK_ZERO && work->length > ZEROS_SIZE)
		work->length = ZEROS_SIZE;
	if (work->kind == WORK_SYNC && request->operation != DISK_FLUSH &&
	    (disk->can_fua || !writes_durably(disk, request))) {
		nbd_finish(disk, request, 0);
		return;
	}
	disk->under_way++;
	if (!disk->dead && give_command(disk, request) >= 0)
		return;
	disk->under_way--;
	int error = disk->dead ? EIO : nbd_get_errno();
	nbd_finish(disk, request, error > 0 ? error : EIO);
}

static int kind_of(const struct nbd_disk *disk, const struct disk_request *request)
{
	static const int kinds[DISK_OPERATIONS] = {[DISK_READ] = WORK_READ,
						   [DISK_WRITE] = WORK_WRITE,
						   [DISK_FLUSH] = WORK_SYNC,
						   [DISK_DISCARD] = WORK_PUNCH,
						   [DISK_ZERO] = WORK_ZERO};
	return request->operation == DISK_ZERO && !disk->can_zero ? WORK_WRITE : kinds[request->operation];
}

static void nbd_drain(struct disk *base);

static void nbd_submit(struct disk *base, struct disk_request *request)
{
	struct nbd_disk *disk = nbd_of(base);
	request->work = (struct disk_work){
	    .disk = base, .kind = kind_of(disk, request), .size = (uint64_t)request->count * DISK_SECTOR_SIZE};
	bool flush = request->operation == DISK_FLUSH;
	bool nothing = flush ? disk->cache == DISK_UNSAFE || base->read_only : request->count == 0;
	if (flush)
		request->work.size = 0;
	if (nothing || (request->operation == DISK_DISCARD && !disk->can_trim)) {
		nbd_finish(disk, request, 0);
		return;
	}
	nbd_step(disk, request);
	hand_over(disk);
	/* From within a completion, whoever drains goes on to this one. */
	if (base->host.watch == NULL && !disk->handing_over)
		nbd_drain(base);
}

/* ---- the socket is ready ---- */

static void notify(struct nbd_disk *disk, uint32_t events)
{
	unsigned direction = nbd_aio_get_direction(disk->nbd);
	if ((direction & LIBNBD_AIO_DIRECTION_READ) && (events & ~(uint32_t)EPOLLOUT))
		(void)nbd_aio_notify_read(disk->nbd); /* an error ends the connection, which is looked for */
	else if ((direction & LIBNBD_AIO_DIRECTION_WRITE) && (events & ~(uint32_t)EPOLLIN))
		(void)nbd_aio_notify_write(disk->nbd);
}

static void nbd_ready(void *opaque, int fd, uint32_t events)
{
	struct nbd_disk *disk = opaque;
	(void)fd;
	if (disk->dead)
		return;
	notify(disk, events);
	hand_over(disk);
}

/* Waits once. False: it took too long. */
static bool wait_once(struct nbd_disk *disk, uint64_t deadline)
{
	uint64_t now = now_ms();
	struct pollfd fd = {.fd = nbd_aio_get_fd(disk->nbd), .events = (short)wanted_events(disk)};
	int count = now >= deadline ? 0 : poll(&fd, 1, (int)(deadline - now));
	if (count > 0)
		notify(disk, (uint32_t)fd.revents);
	return count != 0;
}

/* A server that does not answer is left: libnbd then ends what it was asked for. */
static void nbd_drain(struct disk *base)
{
	struct nbd_disk *disk = nbd_of(base);
	uint64_t deadline = now_ms() + DRAIN_MS;
	while (disk->under_way > 0) {
		bool idle = disk->finished == NULL && !disk->dead;
		if (idle && !wait_once(disk, deadline)) {
			(void)shutdown(nbd_aio_get_fd(disk->nbd), SHUT_RDWR);
			deadline += DRAIN_MS;
		}
		hand_over(disk);
	}
}

/* ---- life ---- */

static bool nbd_attach(struct disk *base, struct error *error)
{
	return watch(nbd_of(base)) ||
	       error_set(error, ERROR_HOST, "too many descriptors in the event loop: use fewer disks");
}

static void nbd_close_disk(struct disk *base)
{
	struct nbd_disk *disk = nbd_of(base);
	unwatch(disk);
	if (disk->nbd != NULL) {
		if (!disk->dead)
			(void)nbd_aio_disconnect(disk->nbd, 0);
		nbd_close(disk->nbd);
	}
	disk_server_stop(disk->server);
	disk_destroy(base);
	free(disk);
}

static const struct disk_ops nbd_ops = {
    .submit = nbd_submit, .attach = nbd_attach, .drain = nbd_drain, .close = nbd_close_disk};

static bool say_why(struct nbd_disk *disk, const char *fallback, struct error *error)
{
	char why[256] = "";
	const char *name = disk->base.name;
	if (disk->server == NULL)
		return error_set(error, ERROR_INPUT, "disk %s: cannot reach its NBD server: %s", name, fallback);
	nbd_close(disk->nbd); /* so that it ends */
	disk->nbd = NULL;
	disk_server_describe(disk->server, why, sizeof why);
	if (strstr(why, "exec: ") != NULL)
		return error_set(error, ERROR_INPUT,
				 "disk image %s: its format needs the program qemu-nbd; install qemu-utils, or give a "
				 "raw image",
				 name);
	if (strstr(why, " lock") != NULL)
		return error_set(error, ERROR_INPUT,
				 "disk image %s is in use: another guest or program holds its lock (%s)", name, why);
	return error_set(error, ERROR_INPUT, "disk image %s: qemu-nbd: %s", name, why[0] != '\0' ? why : fallback);
}

static bool await_ready(struct nbd_disk *disk, struct error *error)
{
	uint64_t deadline = now_ms() + CONNECT_MS;
	while (nbd_aio_is_ready(disk->nbd) <= 0) {
		if (nbd_aio_is_dead(disk->nbd) > 0 || nbd_aio_is_closed(disk->nbd) > 0) {
			const char *why = nbd_get_error();
			return say_why(disk, why != NULL ? why : "it hung up", error);
		}
		if (!wait_once(disk, deadline))
			return say_why(disk, "it does not answer", error);
	}
	return true;
}

/* What the server offers must do for a disk. */
static bool check_export(struct nbd_disk *disk, bool read_only, struct error *error)
{
	struct disk *base = &disk->base;
	int64_t size = nbd_get_size(disk->nbd), block = nbd_get_block_size(disk->nbd, LIBNBD_SIZE_MINIMUM);
	if (size < (int64_t)DISK_SECTOR_SIZE)
		return error_set(error, ERROR_INPUT, "disk %s is too small: it needs 512 bytes at least", base->name);
	if (block > (int64_t)DISK_SECTOR_SIZE)
		return error_set(error, ERROR_INPUT,
				 "disk %s: its server takes blocks of %lld bytes only, and a sector has %u", base->name,
				 (long long)block, DISK_SECTOR_SIZE);
	if (!read_only && nbd_is_read_only(disk->nbd) > 0)
		return error_set(error, ERROR_INPUT, "disk %s is read-only at its server: give readonly too",
				 base->name);
	if (!read_only && nbd_can_flush(disk->nbd) <= 0 && disk->cache != DISK_UNSAFE)
		return error_set(
		    error, ERROR_INPUT,
		    "disk %s: its server cannot flush, so nothing is ever safe; if that is meant, give cache=unsafe",
		    base->name);
	base->sectors = (uint64_t)size / DISK_SECTOR_SIZE;
	disk->can_fua = nbd_can_fua(disk->nbd) > 0;
	disk->can_trim = nbd_can_trim(disk->nbd) > 0;
	disk->can_zero = nbd_can_zero(disk->nbd) > 0;
	base->discards = !read_only && disk->can_trim;
	base->write_through = disk->cache == DISK_WRITETHROUGH;
	return true;
}

static struct nbd_disk *nbd_create_disk(const char *name, const struct disk_options *options, struct error *error)
{
	struct nbd_disk *disk = calloc(1, sizeof *disk);
	if (disk == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for disk %s", name);
		return NULL;
	}
	disk->watched_fd = -1;
	disk->finished_end = &disk->finished;
	disk->cache = options->cache;
	if (disk_init(&disk->base, &nbd_ops, name, options->read_only, error)) {
		disk->nbd = nbd_create();
		if (disk->nbd != NULL)
			return disk;
		(void)error_set(error, ERROR_HOST, "out of memory for disk %s", name);
	}
	nbd_close_disk(&disk->base);
	return NULL;
}

static struct disk *nbd_open(struct nbd_disk *disk, bool connected, const struct disk_options *options,
			     struct error *error)
{
	if (!connected)
		(void)say_why(disk, nbd_get_error() != NULL ? nbd_get_error() : "no connection", error);
	else if (await_ready(disk, error) && check_export(disk, options->read_only, error))
		return &disk->base;
	nbd_close_disk(&disk->base);
	return NULL;
}

struct disk *disk_open_nbd(const char *uri, const struct disk_options *options, struct error *error)
{
	struct nbd_disk *disk = nbd_create_disk(uri, options, error);
	if (disk == NULL)
		return NULL;
	return nbd_open(disk, nbd_aio_connect_uri(disk->nbd, uri) == 0, options, error);
}

struct disk *disk_open_served(const char *path, enum disk_format format, const struct disk_options *options,
			      struct error *error)
{
	int socket;
	struct nbd_disk *disk = nbd_create_disk(path, options, error);
	if (disk == NULL)
		return NULL;
	disk->server = disk_server_start(path, format, options, &socket, error);
	if (disk->server == NULL) {
		nbd_close_disk(&disk->base);
		return NULL;
	}
	return nbd_open(disk, nbd_aio_connect_socket(disk->nbd, socket) == 0, options, error);
}

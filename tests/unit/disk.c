/* SPDX-License-Identifier: MIT */
/*
 * Raw disk images: bytes, locks, odd sizes, images that shrink, a full host disk, things that are no image; the engines
 * that work in the background, cache modes, what reaches the host's disk and when, guests that stop on errors.
 */
#include "backend/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	char folder[64];
	char path[96];
	uint8_t bytes[64 * DISK_SECTOR_SIZE];
	unsigned done;
};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	strcpy(f->folder, "/tmp/nfold-disk-XXXXXX");
	if (mkdtemp(f->folder) == NULL)
		return -1;
	(void)snprintf(f->path, sizeof f->path, "%s/image", f->folder);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	(void)unlink(f->path);
	(void)rmdir(f->folder);
	test_free(f);
	return 0;
}

static void make(struct fixture *f, off_t size)
{
	FILE *file = fopen(f->path, "w");
	assert_non_null(file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(truncate(f->path, size), 0);
}

static struct disk *open_disk(struct fixture *f, bool read_only)
{
	struct error error = {0};
	struct disk *disk = disk_open_raw(f->path, &(struct disk_options){.read_only = read_only}, &error);
	if (disk == NULL)
		fail_msg("%s", error.text);
	return disk;
}

static void count_done(struct disk_request *request)
{
	((struct fixture *)request->opaque)->done++;
}

static struct disk_request submit(struct fixture *f, struct disk *disk, enum disk_operation operation, uint64_t sector,
				  uint32_t count)
{
	struct disk_request request = {.operation = operation,
				       .sector = sector,
				       .count = count,
				       .bytes = f->bytes,
				       .done = count_done,
				       .opaque = f,
				       .error = -1};
	f->done = 0;
	disk_submit(disk, &request);
	disk_drain(disk);
	assert_int_equal(f->done, 1);
	return request;
}

static void expect(struct fixture *f, struct disk *disk, enum disk_operation operation, uint64_t sector, uint32_t count,
		   int error, uint32_t completed)
{
	struct disk_request request = submit(f, disk, operation, sector, count);
	assert_int_equal(request.error, error);
	assert_int_equal(request.completed, completed);
}

static void bytes_stay(void **state)
{
	struct fixture *f = *state;
	make(f, 100 * 512);
	struct disk *disk = open_disk(f, false);
	assert_int_equal(disk->sectors, 100);
	memset(f->bytes, 0x5a, sizeof f->bytes);
	expect(f, disk, DISK_WRITE, 98, 2, 0, 2);
	expect(f, disk, DISK_FLUSH, 0, 0, 0, 0);
	disk_close(disk);
	disk = open_disk(f, true);
	expect(f, disk, DISK_READ, 97, 3, 0, 3);
	assert_int_equal(f->bytes[511], 0);
	assert_int_equal(f->bytes[512], 0x5a);
	expect(f, disk, DISK_WRITE, 0, 1, EROFS, 0);
	expect(f, disk, DISK_FLUSH, 0, 0, 0, 0);
	disk_close(disk);
}

static void range_is_checked(void **state)
{
	struct fixture *f = *state;
	make(f, 10 * 512);
	struct disk *disk = open_disk(f, false);
	expect(f, disk, DISK_READ, 9, 2, EINVAL, 0);
	expect(f, disk, DISK_WRITE, 10, 1, EINVAL, 0);
	expect(f, disk, DISK_WRITE, UINT64_MAX, 2, EINVAL, 0);
	expect(f, disk, DISK_READ, 10, 0, 0, 0);
	disk_close(disk);
	struct stat status;
	assert_int_equal(stat(f->path, &status), 0);
	assert_int_equal(status.st_size, 10 * 512);
}

static void expect_refused(struct fixture *f, bool read_only, const char *text)
{
	struct error error = {0};
	assert_null(disk_open_raw(f->path, &(struct disk_options){.read_only = read_only}, &error));
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_non_null(strstr(error.text, text));
}

static void one_writer_or_many_readers(void **state)
{
	struct fixture *f = *state;
	make(f, 512);
	struct disk *disk = open_disk(f, false);
	expect_refused(f, false, "in use");
	expect_refused(f, true, "in use");
	disk_close(disk);
	disk = open_disk(f, true);
	struct disk *other = open_disk(f, true);
	expect_refused(f, false, "in use");
	disk_close(disk);
	expect_refused(f, false, "in use");
	disk_close(other);
	disk_close(open_disk(f, false));
}

static void odd_sizes(void **state)
{
	struct fixture *f = *state;
	make(f, 511);
	expect_refused(f, false, "too small");
	make(f, 512 + 100);
	struct disk *disk = open_disk(f, false);
	assert_int_equal(disk->sectors, 1);
	disk_close(disk);
	disk = open_disk(f, true);
	assert_int_equal(disk->sectors, 2);
	memset(f->bytes, 0x77, sizeof f->bytes);
	expect(f, disk, DISK_READ, 0, 2, 0, 2);
	assert_int_equal(f->bytes[1023], 0);
	disk_close(disk);
}

static void shrinking_is_an_error(void **state)
{
	struct fixture *f = *state;
	make(f, 20 * 512);
	struct disk *disk = open_disk(f, false);
	assert_int_equal(truncate(f->path, 10 * 512 + 7), 0);
	expect(f, disk, DISK_READ, 8, 4, EIO, 2);
	expect(f, disk, DISK_WRITE, 8, 4, EIO, 0);
	expect(f, disk, DISK_WRITE, 8, 2, 0, 2);
	disk_close(disk);
	struct stat status;
	assert_int_equal(stat(f->path, &status), 0);
	assert_int_equal(status.st_size, 10 * 512 + 7);
}

/* The host's refusal in the middle of a write, made with a limit on the size of files. */
static void full_host_disk_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct rlimit old;
	make(f, 20 * 512);
	struct disk *disk = open_disk(f, false);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	struct rlimit small = {.rlim_cur = 10 * 512 + 100, .rlim_max = old.rlim_max};
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	struct disk_request request = submit(f, disk, DISK_WRITE, 8, 4);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	(void)signal(SIGXFSZ, handler);
	assert_int_equal(request.error, EFBIG);
	assert_int_equal(request.completed, 2);
	expect(f, disk, DISK_WRITE, 8, 4, 0, 4);
	disk_close(disk);
}

/* ---- with a host ---- */

/* The linker puts this one in the place of the C library's. */
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

static struct {
	unsigned count;
	bool fails;
} syncs;

int __wrap_fdatasync(int fd)
{
	__atomic_fetch_add(&syncs.count, 1, __ATOMIC_SEQ_CST);
	if (syncs.fails) {
		errno = EIO;
		return -1;
	}
	return __real_fdatasync(fd);
}

/* An event loop of one descriptor. */
struct host {
	struct disk_host host;
	int fd;
	void (*ready)(void *opaque, int fd, uint32_t epoll_events);
	void *ready_opaque;
	unsigned reports, stops, outcomes, failures;
	uint64_t bytes[DISK_OPERATIONS];
	char text[400];
};

static bool host_watch(void *opaque, int fd, uint32_t epoll_events, void (*ready)(void *, int, uint32_t),
		       void *ready_opaque)
{
	struct host *host = opaque;
	(void)epoll_events;
	assert_int_equal(host->fd, -1);
	host->fd = fd;
	host->ready = ready;
	host->ready_opaque = ready_opaque;
	return true;
}

static void host_unwatch(void *opaque, int fd)
{
	struct host *host = opaque;
	assert_int_equal(host->fd, fd);
	host->fd = -1;
}

static void host_report(void *opaque, const char *text)
{
	struct host *host = opaque;
	host->reports++;
	(void)snprintf(host->text, sizeof host->text, "%s", text);
}

static void host_stop(void *opaque)
{
	((struct host *)opaque)->stops++;
}

static void host_count(void *opaque, const struct disk_outcome *outcome)
{
	struct host *host = opaque;
	host->outcomes++;
	host->failures += outcome->failed;
	host->bytes[outcome->operation] += outcome->bytes;
}

static void host_init(struct host *host, enum disk_engine engine)
{
	*host = (struct host){.fd = -1};
	host->host = (struct disk_host){.engine = engine,
					.watch = host_watch,
					.unwatch = host_unwatch,
					.report = host_report,
					.stop = host_stop,
					.count = host_count,
					.opaque = host};
}

static void host_run(struct host *host)
{
	struct pollfd poll_fd = {.fd = host->fd, .events = POLLIN};
	assert_int_equal(poll(&poll_fd, 1, 20000), 1);
	host->ready(host->ready_opaque, host->fd, POLLIN);
}

static const enum disk_engine engines[] = {DISK_ENGINE_URING, DISK_ENGINE_THREADS};
#define ENGINES (sizeof engines / sizeof engines[0])

/* NULL: the kernel does not let us. */
static struct disk *open_attached(struct fixture *f, struct host *host, enum disk_engine engine, enum disk_cache cache)
{
	struct error error = {0};
	const struct disk_options options = {.cache = cache};
	host_init(host, engine);
	struct disk *disk = disk_open_raw(f->path, &options, &error);
	if (disk == NULL) {
		print_message("skipped: %s\n", error.text);
		return NULL;
	}
	if (disk_attach(disk, &host->host, &error))
		return disk;
	print_message("skipped: %s\n", error.text);
	disk_close(disk);
	return NULL;
}

#define REQUESTS 32u

static void fill_requests(struct fixture *f, struct disk_request *request, enum disk_operation operation)
{
	for (unsigned i = 0; i < REQUESTS; i++)
		request[i] = (struct disk_request){.operation = operation,
						   .sector = 4 * i,
						   .count = 2,
						   .bytes = f->bytes + 2 * i * DISK_SECTOR_SIZE,
						   .done = count_done,
						   .opaque = f};
	f->done = 0;
}

static void many_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct disk_request request[REQUESTS];
	for (unsigned e = 0; e < ENGINES; e++) {
		struct host host;
		make(f, 200 * 512);
		struct disk *disk = open_attached(f, &host, engines[e], DISK_WRITEBACK);
		if (disk == NULL)
			continue;
		for (unsigned i = 0; i < sizeof f->bytes; i++)
			f->bytes[i] = (uint8_t)(i * 7 + i / 512);
		fill_requests(f, request, DISK_WRITE);
		for (unsigned i = 0; i < REQUESTS; i++)
			disk_submit(disk, &request[i]);
		while (f->done < REQUESTS)
			host_run(&host);
		assert_int_equal(host.bytes[DISK_WRITE], REQUESTS * 1024);
		uint8_t before[sizeof f->bytes];
		memcpy(before, f->bytes, sizeof before);
		memset(f->bytes, 0, sizeof f->bytes);
		fill_requests(f, request, DISK_READ);
		for (unsigned i = 0; i < REQUESTS; i++)
			disk_submit(disk, &request[i]);
		disk_drain(disk);
		assert_int_equal(f->done, REQUESTS);
		assert_memory_equal(before, f->bytes, sizeof before);
		expect(f, disk, DISK_READ, 199, 2, EINVAL, 0);
		expect(f, disk, DISK_FLUSH, 0, 0, 0, 0);
		assert_int_equal(truncate(f->path, 100 * 512), 0);
		expect(f, disk, DISK_READ, 98, 4, EIO, 2);
		expect(f, disk, DISK_WRITE, 98, 4, EIO, 0);
		assert_int_equal(host.failures, 3);
		disk_close(disk);
		assert_int_equal(host.fd, -1);
	}
}

/* Pages of the file that the host has not written; -1 where this kernel or file system cannot say. */
static long dirty_pages(const struct fixture *f)
{
	const struct {
		uint64_t offset, length;
	} range = {0, 0};
	struct {
		uint64_t cache, dirty, writeback, evicted, recently_evicted;
	} found = {0};
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	long result = syscall(451 /* cachestat */, fd, &range, &found, 0);
	(void)close(fd);
	return result == 0 ? (long)(found.dirty + found.writeback) : -1;
}

/* What the guest was told is on the disk has left the host's page cache. */
static void flush_reaches_the_host_disk(void **state)
{
	struct fixture *f = *state;
	for (unsigned e = 0; e < ENGINES; e++) {
		struct host host;
		make(f, 200 * 512);
		struct disk *disk = open_attached(f, &host, engines[e], DISK_WRITEBACK);
		if (disk == NULL)
			continue;
		expect(f, disk, DISK_WRITE, 0, 64, 0, 64);
		bool tells = dirty_pages(f) > 0;
		expect(f, disk, DISK_FLUSH, 0, 0, 0, 0);
		if (tells)
			assert_int_equal(dirty_pages(f), 0);
		else
			print_message("skipped: the file system does not tell what is dirty\n");
		struct disk_request durable = {.operation = DISK_WRITE,
					       .durable = true,
					       .count = 64,
					       .bytes = f->bytes,
					       .done = count_done,
					       .opaque = f};
		disk_submit(disk, &durable);
		disk_drain(disk);
		assert_int_equal(durable.error, 0);
		if (tells)
			assert_int_equal(dirty_pages(f), 0);
		disk_close(disk);
	}
}

static void cache_modes_sync_as_they_say(void **state)
{
	struct fixture *f = *state;
	static const struct {
		enum disk_cache cache;
		unsigned write, flush; /* syncs */
	} modes[] = {{DISK_WRITEBACK, 0, 1}, {DISK_WRITETHROUGH, 1, 1}, {DISK_DIRECT, 0, 1}, {DISK_UNSAFE, 0, 0}};
	for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		struct host host;
		make(f, 200 * 512);
		struct disk *disk = open_attached(f, &host, DISK_ENGINE_THREADS, modes[i].cache);
		if (disk == NULL)
			continue;
		memset(f->bytes, (int)i + 1, sizeof f->bytes);
		syncs.count = 0;
		expect(f, disk, DISK_WRITE, 3, 5, 0, 5);
		assert_int_equal(syncs.count, modes[i].write);
		syncs.count = 0;
		expect(f, disk, DISK_FLUSH, 0, 0, 0, 0);
		assert_int_equal(syncs.count, modes[i].flush);
		memset(f->bytes, 0, sizeof f->bytes);
		struct disk_request odd = {.operation = DISK_READ, /* not where O_DIRECT would like it */
					   .sector = 7,
					   .count = 2,
					   .bytes = f->bytes + 1,
					   .done = count_done,
					   .opaque = f};
		disk_submit(disk, &odd);
		disk_drain(disk);
		assert_int_equal(odd.error, 0);
		assert_int_equal(f->bytes[0], 0);
		assert_int_equal(f->bytes[512], i + 1);
		assert_int_equal(f->bytes[513], 0);
		disk_close(disk);
	}
}

static void failed_flush_is_never_good_again(void **state)
{
	struct fixture *f = *state;
	struct host host;
	make(f, 200 * 512);
	struct disk *disk = open_attached(f, &host, DISK_ENGINE_THREADS, DISK_WRITEBACK);
	assert_non_null(disk);
	syncs.fails = true;
	expect(f, disk, DISK_FLUSH, 0, 0, EIO, 0);
	syncs.fails = false;
	expect(f, disk, DISK_FLUSH, 0, 0, EIO, 0);
	assert_int_equal(host.reports, 1); /* the same thing is said once */
	assert_non_null(strstr(host.text, "flushing"));
	expect(f, disk, DISK_WRITE, 0, 2, 0, 2);
	disk_close(disk);
}

static void holes_and_zeros(void **state)
{
	struct fixture *f = *state;
	for (unsigned e = 0; e < ENGINES; e++) {
		struct host host;
		struct stat status;
		make(f, 4096 * 512);
		struct disk *disk = open_attached(f, &host, engines[e], DISK_WRITEBACK);
		if (disk == NULL)
			continue;
		memset(f->bytes, 0x33, sizeof f->bytes);
		for (unsigned i = 0; i < 4096; i += 64)
			expect(f, disk, DISK_WRITE, i, 64, 0, 64);
		expect(f, disk, DISK_ZERO, 1, 1000, 0, 1000);
		expect(f, disk, DISK_READ, 0, 2, 0, 2);
		assert_int_equal(f->bytes[511], 0x33);
		assert_int_equal(f->bytes[512], 0);
		expect(f, disk, DISK_READ, 1000, 2, 0, 2);
		assert_int_equal(f->bytes[511], 0);
		assert_int_equal(f->bytes[512], 0x33);
		assert_int_equal(stat(f->path, &status), 0);
		blkcnt_t before = status.st_blocks;
		expect(f, disk, DISK_DISCARD, 2048, 2048, 0, 2048);
		assert_int_equal(stat(f->path, &status), 0);
		assert_true(status.st_blocks < before);
		assert_int_equal(status.st_size, 4096 * 512);
		expect(f, disk, DISK_DISCARD, 4000, 100, EINVAL, 0);
		disk_close(disk);
	}
}

/* ---- guests that stop ---- */

struct limit {
	struct rlimit old;
	void (*handler)(int);
};

static struct limit limit_files(rlim_t size)
{
	struct limit limit = {.handler = signal(SIGXFSZ, SIG_IGN)};
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit.old), 0);
	struct rlimit small = {.rlim_cur = size, .rlim_max = limit.old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	return limit;
}

static void unlimit_files(const struct limit *limit)
{
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit->old), 0);
	(void)signal(SIGXFSZ, limit->handler);
}

static void full_host_disk_stops_the_guest(void **state)
{
	struct fixture *f = *state;
	for (unsigned e = 0; e < ENGINES; e++) {
		struct host host;
		make(f, 200 * 512);
		struct disk *disk = open_attached(f, &host, engines[e], DISK_WRITEBACK);
		if (disk == NULL)
			continue;
		disk->on_error = DISK_ERROR_STOPS;
		struct limit limit = limit_files(100 * 512);
		struct disk_request request[2];
		for (unsigned i = 0; i < 2; i++)
			request[i] = (struct disk_request){.operation = DISK_WRITE,
							   .sector = 98 + i,
							   .count = 4,
							   .bytes = f->bytes,
							   .done = count_done,
							   .opaque = f};
		f->done = 0;
		for (unsigned i = 0; i < 2; i++)
			disk_submit(disk, &request[i]);
		while (host.stops < 2)
			host_run(&host);
		assert_int_equal(f->done, 0);
		assert_non_null(strstr(host.text, "the guest is stopped"));
		disk_retry(disk); /* as full as before */
		while (host.stops < 4)
			host_run(&host);
		unlimit_files(&limit);
		disk_retry(disk);
		while (f->done < 2)
			host_run(&host);
		assert_int_equal(request[0].error, 0);
		assert_int_equal(request[1].completed, 4);
		assert_int_equal(host.failures, 0);
		expect(f, disk, DISK_WRITE, 199, 2, EINVAL, 0); /* the guest's own fault stops nobody */
		assert_int_equal(host.stops, 4);
		disk_close(disk);
	}
}

static void held_requests_end_with_the_device(void **state)
{
	struct fixture *f = *state;
	struct host host;
	make(f, 200 * 512);
	struct disk *disk = open_attached(f, &host, DISK_ENGINE_THREADS, DISK_WRITEBACK);
	assert_non_null(disk);
	disk->on_error = DISK_ERROR_STOPS;
	assert_int_equal(truncate(f->path, 512), 0);
	struct disk_request request = {
	    .operation = DISK_READ, .sector = 5, .count = 1, .bytes = f->bytes, .done = count_done, .opaque = f};
	f->done = 0;
	disk_submit(disk, &request);
	while (host.stops == 0)
		host_run(&host);
	disk_drain(disk);
	assert_int_equal(f->done, 1);
	assert_int_equal(request.error, EIO);
	syncs.fails = true;
	request.operation = DISK_FLUSH;
	disk_submit(disk, &request);
	while (host.stops == 1)
		host_run(&host);
	syncs.fails = false;
	assert_int_equal(f->done, 1);
	disk_retry(disk); /* a flush is not tried again */
	assert_int_equal(f->done, 2);
	assert_int_equal(request.error, EIO);
	assert_int_equal(host.stops, 2);
	disk_close(disk);
}

static void no_images(void **state)
{
	struct fixture *f = *state;
	expect_refused(f, false, "No such file");
	assert_int_equal(mkfifo(f->path, 0600), 0);
	expect_refused(f, true, "no disk image");
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(mkdir(f->path, 0700), 0);
	expect_refused(f, true, "no disk image");
	expect_refused(f, false, "directory");
	assert_int_equal(rmdir(f->path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(bytes_stay, setup, teardown),
	    cmocka_unit_test_setup_teardown(range_is_checked, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_writer_or_many_readers, setup, teardown),
	    cmocka_unit_test_setup_teardown(odd_sizes, setup, teardown),
	    cmocka_unit_test_setup_teardown(shrinking_is_an_error, setup, teardown),
	    cmocka_unit_test_setup_teardown(full_host_disk_is_an_error, setup, teardown),
	    cmocka_unit_test_setup_teardown(many_at_a_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(flush_reaches_the_host_disk, setup, teardown),
	    cmocka_unit_test_setup_teardown(cache_modes_sync_as_they_say, setup, teardown),
	    cmocka_unit_test_setup_teardown(failed_flush_is_never_good_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(holes_and_zeros, setup, teardown),
	    cmocka_unit_test_setup_teardown(full_host_disk_stops_the_guest, setup, teardown),
	    cmocka_unit_test_setup_teardown(held_requests_end_with_the_device, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_images, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

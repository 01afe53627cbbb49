/* SPDX-License-Identifier: MIT */
/* Raw disk images: bytes, locks, odd sizes, images that shrink, a full host disk, things that are no image. */
#include "backend/disk.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
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
	struct disk *disk = disk_open_raw(f->path, read_only, &error);
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
	assert_null(disk_open_raw(f->path, read_only, &error));
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
	    cmocka_unit_test_setup_teardown(no_images, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

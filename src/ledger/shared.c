/* SPDX-License-Identifier: MIT */
#include "ledger/shared.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int sealed_memfd(const char *name, const char *what, size_t size, struct error *error)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0) {
		error_set_errno(error, "cannot create the shared memory of %s", what);
		return -1;
	}
	if (ftruncate(fd, (off_t)size) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
		error_set_errno(error, "cannot size the shared memory of %s to %zu bytes", what, size);
		close(fd);
		return -1;
	}
	return fd;
}

void *shared_create(const char *name, const char *what, size_t size, int *fd, struct error *error)
{
	int memfd = sealed_memfd(name, what, size, error);
	if (memfd < 0)
		return NULL;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (memory == MAP_FAILED) {
		error_set_errno(error, "cannot map %s", what);
		close(memfd);
		return NULL;
	}
	/* The descriptor is passed to readers: from now on nobody writes through it. */
	if (fcntl(memfd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
		error_set_errno(error, "cannot seal %s", what);
		shared_close(memory, size, memfd);
		return NULL;
	}
	*fd = memfd;
	return memory;
}

void shared_close(void *memory, size_t size, int fd)
{
	if (memory == NULL)
		return;
	(void)munmap(memory, size);
	close(fd);
}

const void *shared_map(int fd, const char *what, size_t size, struct error *error)
{
	struct stat status;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &status) != 0 || status.st_size < (off_t)size) {
		error_set(error, ERROR_HOST, "not %s: no sealed shared memory of at least %zu bytes", what, size);
		return NULL;
	}
	const void *memory = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		error_set_errno(error, "cannot map %s", what);
		return NULL;
	}
	return memory;
}

void shared_unmap(const void *memory, size_t size)
{
	if (memory != NULL)
		(void)munmap((void *)(uintptr_t)memory, size);
}

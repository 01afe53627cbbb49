/* SPDX-License-Identifier: MIT */
#include "ledger/token.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(offsetof(struct token_vcpu, run) == 0 && sizeof(struct token_vcpu) == TOKEN_PAGE_SIZE,
	       "a vCPU's page is mapped where its struct cpu ends");
_Static_assert(offsetof(struct token_page, vcpu) == TOKEN_PAGE_SIZE, "behind the header's page");

uint64_t token_now(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static struct token_page *map(int fd, struct error *error)
{
	struct token_page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page != MAP_FAILED)
		return page;
	error_set_errno(error, "cannot map the run tokens");
	return NULL;
}

/* The seals promise the host that its mapping cannot be cut short under it (SIGBUS). */
struct token_page *token_page_create(unsigned vcpu_count, int *fd, struct error *error)
{
	int memfd = memfd_create("nfold-tokens", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memfd < 0 || ftruncate(memfd, sizeof(struct token_page)) != 0 ||
	    fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		error_set_errno(error, "cannot create the shared memory of the run tokens");
		if (memfd >= 0)
			close(memfd);
		return NULL;
	}
	struct token_page *page = map(memfd, error);
	if (page == NULL) {
		close(memfd);
		return NULL;
	}
	page->magic = TOKEN_MAGIC;
	page->version = TOKEN_VERSION;
	page->size = sizeof *page;
	page->vcpu_count = vcpu_count;
	for (unsigned i = 0; i < vcpu_count; i++)
		page->vcpu[i].token = TOKEN_NEXT | TOKEN_READY;
	*fd = memfd;
	return page;
}

struct token_page *token_page_map(int fd, unsigned vcpu_count, struct error *error)
{
	struct stat status;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &status) != 0 ||
	    status.st_size < (off_t)sizeof(struct token_page)) {
		error_set(error, ERROR_HOST, "not a page of run tokens: no sealed shared memory of its size");
		return NULL;
	}
	struct token_page *page = map(fd, error);
	if (page == NULL)
		return NULL;
	if (page->magic == TOKEN_MAGIC && page->version == TOKEN_VERSION && page->size == sizeof *page &&
	    page->vcpu_count == vcpu_count)
		return page;
	error_set(error, ERROR_HOST, "the guest's run tokens are not those of this release, or not for %u processors",
		  vcpu_count);
	token_page_unmap(page);
	return NULL;
}

void token_page_unmap(struct token_page *page)
{
	if (page != NULL)
		(void)munmap(page, sizeof *page);
}

bool token_page_leased(const struct token_page *page, uint64_t now)
{
	return (__atomic_load_n(&page->epoch, __ATOMIC_SEQ_CST) & 1) != 0 &&
	       now < __atomic_load_n(&page->lease_until, __ATOMIC_SEQ_CST);
}

void token_ring(struct token_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run, 0, __ATOMIC_SEQ_CST);
	(void)__atomic_fetch_add(&vcpu->bell, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&vcpu->sleeping, __ATOMIC_SEQ_CST) != 0)
		(void)syscall(SYS_futex, &vcpu->bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void token_sleep(struct token_vcpu *vcpu, uint32_t bell)
{
	(void)syscall(SYS_futex, &vcpu->bell, FUTEX_WAIT, bell, NULL, NULL, 0);
}

bool token_sleep_for(struct token_vcpu *vcpu, uint32_t bell, uint64_t ns)
{
	const struct timespec time = {.tv_sec = (time_t)(ns / UINT64_C(1000000000)),
				      .tv_nsec = (long)(ns % UINT64_C(1000000000))};
	return syscall(SYS_futex, &vcpu->bell, FUTEX_WAIT, bell, &time, NULL, 0) == 0 || errno != ETIMEDOUT;
}

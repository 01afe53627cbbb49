/* SPDX-License-Identifier: MIT */
/* fault touch|unmap: first writes to the pages of a large mapping; many small mappings made, touched and removed. */

#include <string.h>
#include <sys/mman.h>

#include "bench.h"

#define PAGE 4096
#define LARGE (16384UL * PAGE)
#define LARGE_ROUNDS 2
#define SMALL (8UL * PAGE)
#define SMALL_ROUNDS 4000

static uint64_t touch(size_t size)
{
	unsigned char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t sum = 0;

	need(memory != MAP_FAILED, "mmap");
	/* Pages of 4 KiB, whatever the kernel would like better: each is to fault. */
	(void)madvise(memory, size, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < size; at += PAGE)
		sum += ++memory[at];
	need(munmap(memory, size) == 0, "munmap");
	return sum;
}

int main(int count, char **words)
{
	int small = count > 1 && strcmp(words[1], "unmap") == 0;
	uint64_t answer = 0;

	for (int i = 0; i < (small ? SMALL_ROUNDS : LARGE_ROUNDS); i++)
		answer += touch(small ? SMALL : LARGE);
	print_answer(answer);
	return 0;
}

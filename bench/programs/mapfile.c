/* SPDX-License-Identifier: MIT */
/* A file mapped again and again: shared and read, then private and written, which copies its pages. */

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define PAGE 4096
#define SIZE (1024UL * PAGE)
#define ROUNDS 100
#define NAME "/tmp/bench-mapfile"

static uint64_t walk(int file, int flags)
{
	unsigned char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, file, 0);
	uint64_t sum = 0;

	need(memory != MAP_FAILED, "mmap");
	for (size_t at = 0; at < SIZE; at += PAGE) {
		if (flags == MAP_PRIVATE)
			memory[at]++;
		sum = sum * 31 + memory[at];
	}
	need(munmap(memory, SIZE) == 0, "munmap");
	return sum;
}

int main(void)
{
	int file = open(NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);
	uint64_t answer = 0, state = 77;

	need(file >= 0, NAME);
	for (size_t at = 0; at < SIZE; at += PAGE) {
		random_next(&state);
		need(pwrite(file, &state, sizeof(state), (off_t)at) == sizeof(state), "pwrite");
	}
	need(ftruncate(file, SIZE) == 0, "ftruncate");
	for (int i = 0; i < ROUNDS; i++)
		answer = answer * 31 + walk(file, i % 2 ? MAP_PRIVATE : MAP_SHARED);
	unlink(NAME);
	print_answer(answer);
	return 0;
}

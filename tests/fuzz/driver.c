/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target without a fuzzer: `fuzz-x RUNS SEED [FOLDER]` feeds it RUNS inputs made from SEED, the same ones
 * on every machine, and the files of the folder, if it is there; `fuzz-x FILE...` feeds it files, as to reproduce what
 * a fuzzer found. Input i of a run is input 0 of SEED + i.
 */
#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* splitmix64, in the public domain by Sebastiano Vigna. */
static uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Bytes from a small alphabet in half of the inputs: registers that are written repeatedly get further. */
static size_t input_make(uint8_t *bytes, uint64_t seed)
{
	uint64_t state = seed;
	size_t size = random_next(&state) % (INPUT_MAX + 1);
	bool small = random_next(&state) & 1;
	uint8_t alphabet[16];
	for (size_t i = 0; i < sizeof alphabet; i++)
		alphabet[i] = (uint8_t)random_next(&state);
	for (size_t i = 0; i < size; i++) {
		uint64_t random = random_next(&state);
		bytes[i] = small && (random & 0x300) ? alphabet[random % sizeof alphabet] : (uint8_t)random;
	}
	return size;
}

static void run_seeds(uint64_t runs, uint64_t seed)
{
	/* On the heap and of the exact size, so that a sanitizer sees what reads beyond. */
	uint8_t bytes[INPUT_MAX];
	for (uint64_t i = 0; i < runs; i++) {
		size_t size = input_make(bytes, seed + i);
		uint8_t *input = malloc(size != 0 ? size : 1);
		if (input == NULL)
			abort();
		memcpy(input, bytes, size);
		(void)LLVMFuzzerTestOneInput(input, size);
		free(input);
	}
}

static bool run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (file == NULL) {
		perror(path);
		return false;
	}
	static uint8_t bytes[1u << 20];
	size_t size = fread(bytes, 1, sizeof bytes, file);
	(void)fclose(file);
	(void)LLVMFuzzerTestOneInput(bytes, size);
	return true;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* False: a file cannot be read. There need not be a folder. */
static bool run_folder(const char *folder)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, is_visible, alphasort);
	bool good = true;
	for (int i = 0; i < count; i++) {
		char path[PATH_MAX];
		(void)snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
		good &= run_file(path);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	printf("%d files\n", count < 0 ? 0 : count);
	return good;
}

int main(int argc, char **argv)
{
	char *end = argv[0];
	bool seeded = argc == 3 || argc == 4;
	unsigned long runs = seeded ? strtoul(argv[1], &end, 10) : 0;
	if (seeded && *end == 0) {
		run_seeds(runs, strtoul(argv[2], NULL, 10));
		printf("%lu inputs\n", runs);
		return argc == 3 || run_folder(argv[3]) ? 0 : 1;
	}
	if (argc < 2) {
		(void)fprintf(stderr, "usage: %s RUNS SEED [FOLDER] | FILE...\n", argv[0]);
		return 2;
	}
	for (int i = 1; i < argc; i++)
		if (!run_file(argv[i]))
			return 1;
	return 0;
}

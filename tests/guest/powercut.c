/* SPDX-License-Identifier: MIT */
/*
 * A guest's program for the power-cut test. It is static, and runs from an initramfs.
 *
 *   powercut write NAME FILE   writes records from the number after the highest one found on, each at its place,
 * flushes, and then says "ack NAME NUMBER" on a line; a few records go before some flushes powercut check NAME FILE
 * ACKNOWLEDGED says "good NAME HIGHEST" if all records up to the acknowledged one are there that no later one has
 * replaced, else "lost NAME NUMBER"
 *
 * A record is 4096 bytes that follow from its number, so any part of it that is old or torn is seen.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORDS 512u
#define RECORD (WORDS * 8u)
#define SLOTS 512u

static uint64_t mix(uint64_t value)
{
	value ^= value >> 30;
	value *= UINT64_C(0xbf58476d1ce4e5b9);
	value ^= value >> 27;
	value *= UINT64_C(0x94d049bb133111eb);
	return value ^ value >> 31;
}

/* The number is the first word. */
static void make_record(uint64_t record[WORDS], uint64_t number)
{
	record[0] = number;
	for (unsigned i = 1; i < WORDS; i++)
		record[i] = mix(number * WORDS + i);
}

/* The number of the record in a slot; 0: no whole one. */
static uint64_t read_slot(int fd, unsigned slot)
{
	uint64_t found[WORDS], whole[WORDS];
	if (pread(fd, found, RECORD, (off_t)slot * RECORD) != (ssize_t)RECORD)
		return 0;
	make_record(whole, found[0]);
	return memcmp(found, whole, RECORD) == 0 && found[0] % SLOTS == slot ? found[0] : 0;
}

static uint64_t read_all(int fd, uint64_t number[SLOTS])
{
	uint64_t highest = 0;
	for (unsigned i = 0; i < SLOTS; i++) {
		number[i] = read_slot(fd, i);
		highest = number[i] > highest ? number[i] : highest;
	}
	return highest;
}

static int write_records(const char *name, int fd)
{
	uint64_t number[SLOTS], record[WORDS];
	char line[64];
	for (uint64_t next = read_all(fd, number) + 1;;) {
		for (uint64_t batch = 1 + mix(next) % 4; batch > 0; batch--, next++) {
			make_record(record, next);
			if (pwrite(fd, record, RECORD, (off_t)(next % SLOTS) * RECORD) != (ssize_t)RECORD)
				return 1;
		}
		if (fdatasync(fd) != 0)
			return 1;
		int length = snprintf(line, sizeof line, "ack %s %" PRIu64 "\n", name, next - 1);
		if (write(STDOUT_FILENO, line, (size_t)length) != length)
			return 1;
	}
}

static int check_records(const char *name, int fd, uint64_t acknowledged)
{
	uint64_t number[SLOTS];
	uint64_t highest = read_all(fd, number);
	uint64_t first = acknowledged >= SLOTS ? acknowledged - SLOTS + 1 : 1;
	for (uint64_t i = first; i <= acknowledged; i++) {
		uint64_t found = number[i % SLOTS];
		/* The next one of the slot may have been on its way, whole or torn. */
		bool replaced = i + SLOTS <= acknowledged + 4;
		if (found == i || found == i + SLOTS || replaced)
			continue;
		printf("lost %s %" PRIu64 "\n", name, i);
		return 1;
	}
	printf("good %s %" PRIu64 "\n", name, highest);
	return 0;
}

int main(int argc, char **argv)
{
	bool writes = argc == 4 && strcmp(argv[1], "write") == 0;
	if (!writes && (argc != 5 || strcmp(argv[1], "check") != 0))
		return 2;
	int fd = open(argv[3], O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		perror(argv[3]);
		return 1;
	}
	return writes ? write_records(argv[2], fd) : check_records(argv[2], fd, strtoull(argv[4], NULL, 10));
}

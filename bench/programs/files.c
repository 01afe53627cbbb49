/* SPDX-License-Identifier: MIT */
/* Small files: created, written, looked up, read, removed. */

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define FILES 400
#define ROUNDS 30
#define FOLDER "/tmp/bench-files"

static void name_file(char *name, size_t size, int number)
{
	snprintf(name, size, FOLDER "/file-%d", number);
}

static void write_file(const char *name, const char *text, size_t size)
{
	int file = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	need(file >= 0, name);
	need(write(file, text, size) == (ssize_t)size, "write");
	close(file);
}

static uint64_t read_file(const char *name)
{
	char text[2048];
	struct stat status;
	int file = open(name, O_RDONLY);
	ssize_t size;

	need(file >= 0 && fstat(file, &status) == 0, name);
	size = read(file, text, sizeof(text));
	need(size > 0 && size == status.st_size, "read");
	close(file);
	return (uint64_t)text[size - 1] + (uint64_t)size;
}

int main(void)
{
	uint64_t answer = 0, state = 5;
	char text[2048], name[64];

	memset(text, 'x', sizeof(text));
	need(mkdir(FOLDER, 0700) == 0, FOLDER);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < FILES; i++) {
			name_file(name, sizeof(name), i);
			write_file(name, text, 1 + random_next(&state) % sizeof(text));
		}
		for (int i = 0; i < FILES; i++) {
			name_file(name, sizeof(name), i);
			answer = answer * 31 + read_file(name);
			need(unlink(name) == 0, "unlink");
		}
	}
	rmdir(FOLDER);
	print_answer(answer);
	return 0;
}

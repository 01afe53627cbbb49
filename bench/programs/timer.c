/* SPDX-License-Identifier: MIT */
/*
 * timer COMMAND ARGUMENT...: runs a command and says how long it took by CLOCK_MONOTONIC, from before fork to after
 * wait.
 *
 * Three lines go to the standard output, which in a guest is the serial console:
 *
 *   @B                     the clock is about to start
 *   @E NANOSECONDS STATUS  it has stopped; the wait status
 *   @H HASH                FNV-1a of what the command wrote
 *
 * The first two arrive the same stretch apart by the host's clock. The command's own output goes to a file,
 * so that no console is in the measurement.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT "/tmp/bench-output"

static int64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static uint64_t hash_file(int file)
{
	static unsigned char buffer[65536];
	uint64_t hash = 0xcbf29ce484222325ULL;
	off_t offset = 0;
	ssize_t count;

	while ((count = pread(file, buffer, sizeof(buffer), offset)) > 0) {
		for (ssize_t i = 0; i < count; i++)
			hash = (hash ^ buffer[i]) * 0x100000001b3ULL;
		offset += count;
	}
	return hash;
}

/* The wait status, or -1 where there was no fork. */
static int run(char **words, int output, int64_t *elapsed)
{
	int64_t start = clock_ns();
	pid_t child = fork();
	int status = -1;

	if (child == 0) {
		if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
			_exit(126);
		execvp(words[0], words);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	*elapsed = clock_ns() - start;
	return status;
}

int main(int count, char **words)
{
	int64_t elapsed = 0;
	int output, status;

	if (count < 2)
		return 2;
	output = open(OUTPUT, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (output < 0) {
		perror(OUTPUT);
		return 1;
	}
	dprintf(STDOUT_FILENO, "@B\n");
	/* A pipe has nothing to drain: the failure there means nothing. */
	(void)tcdrain(STDOUT_FILENO);
	status = run(words + 1, output, &elapsed);
	dprintf(STDOUT_FILENO, "@E %" PRId64 " %d\n", elapsed, status);
	dprintf(STDOUT_FILENO, "@H %016" PRIx64 "\n", hash_file(output));
	return 0;
}

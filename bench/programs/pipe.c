/* SPDX-License-Identifier: MIT */
/* pipe PROCESSES: a byte goes round a ring of processes that are joined by pipes; each hop is a context switch. */

#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define HOPS 80000
#define MOST 16

static void pass_on(int from, int to, int laps)
{
	unsigned char byte;

	for (int i = 0; i < laps; i++) {
		need(read(from, &byte, 1) == 1, "read");
		byte++;
		need(write(to, &byte, 1) == 1, "write");
	}
	_exit(0);
}

int main(int count, char **words)
{
	int processes = count > 1 ? atoi(words[1]) : 2, ends[MOST][2], laps = HOPS / processes;
	unsigned char byte = 0;

	if (processes < 2 || processes > MOST)
		return 2;
	for (int i = 0; i < processes; i++)
		need(pipe(ends[i]) == 0, "pipe");
	for (int i = 1; i < processes; i++) {
		pid_t child = fork();

		need(child >= 0, "fork");
		if (child == 0)
			pass_on(ends[i - 1][0], ends[i][1], laps);
	}
	for (int i = 0; i < laps; i++) {
		need(write(ends[0][1], &byte, 1) == 1, "write");
		need(read(ends[processes - 1][0], &byte, 1) == 1, "read");
	}
	while (wait(NULL) > 0)
		;
	print_answer(byte);
	return 0;
}

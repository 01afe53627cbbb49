/* SPDX-License-Identifier: MIT */
/* fork exit|exec: a child that ends at once, or one that becomes this program anew. */

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define EXITS 2000
#define EXECS 400

static char *const child_words[] = {"fork", "child", NULL};

static int run_child(int becomes_program)
{
	pid_t child = fork();
	int status = 0;

	need(child >= 0, "fork");
	if (child == 0) {
		if (becomes_program)
			execv("/proc/self/exe", child_words);
		_exit(5);
	}
	need(waitpid(child, &status, 0) == child, "waitpid");
	return WEXITSTATUS(status);
}

int main(int count, char **words)
{
	const char *mode = count > 1 ? words[1] : "exit";
	int executes = strcmp(mode, "exec") == 0;
	uint64_t answer = 0;

	if (strcmp(mode, "child") == 0)
		return 6;
	for (int i = 0; i < (executes ? EXECS : EXITS); i++)
		answer += (uint64_t)run_child(executes);
	print_answer(answer);
	return 0;
}

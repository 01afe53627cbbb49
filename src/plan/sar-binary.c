/* SPDX-License-Identifier: MIT */
/* sar's own files: sadf, as a process of its own, writes them as JSON. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plan/parse.h"

extern char **environ;

/* sysstat's file_magic begins with SYSSTAT_MAGIC, D596 hexadecimal, in the byte order of the machine. */
static bool sar_probe(const struct parse *parse, const char *head, size_t size)
{
	(void)parse;
	return size >= 4 && (memcmp(head, "\x96\xd5", 2) == 0 || memcmp(head, "\xd5\x96", 2) == 0);
}

static int spawn(const char *path, int output, pid_t *pid)
{
	char dash[] = "--", program[] = "sadf", form[] = "-j";
	char cpu[] = "-u", memory[] = "-r", all[] = "ALL", io[] = "-b", disk[] = "-d", net[] = "-n", dev[] = "DEV",
	     swap[] = "-W";
	char *safe = NULL;
	/* A name that begins with a dash is no option. */
	if (asprintf(&safe, "%s%s", path[0] == '-' ? "./" : "", path) < 0)
		return ENOMEM;
	char *const argv[] = {program, form, safe, dash, cpu, all, memory, all, io, disk, net, dev, swap, NULL};
	posix_spawn_file_actions_t actions;
	int failed = posix_spawn_file_actions_init(&actions);
	if (failed == 0) {
		(void)posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
		(void)posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
		(void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
		failed = posix_spawnp(pid, program, &actions, NULL, argv, environ);
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	free(safe);
	return failed;
}

static int wait_for(pid_t pid)
{
	int status = -1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Reads what sadf writes in the place of the file. */
static bool read_output(struct parse *parse, int fd, struct error *error)
{
	struct parse inner = *parse;
	inner.input = input_open(input_path(parse->input), fd, error);
	if (inner.input == NULL)
		return false;
	bool good = format_sadf_json.read(&inner, error);
	input_close(inner.input);
	parse->bad = inner.bad;
	memcpy(parse->first_bad, inner.first_bad, sizeof parse->first_bad);
	return good;
}

static bool sar_read(struct parse *parse, struct error *error)
{
	const char *path = input_path(parse->input);
	int end[2];
	pid_t pid = -1;
	if (pipe2(end, O_CLOEXEC) != 0)
		return error_set_errno(error, "%s: pipe", path);
	int failed = spawn(path, end[1], &pid);
	(void)close(end[1]);
	if (failed != 0) {
		(void)close(end[0]);
		return error_set(error, ERROR_INPUT,
				 "%.160s: a binary sar file needs sadf of the package sysstat, which cannot be run: %s",
				 path, strerror(failed));
	}
	bool good = read_output(parse, end[0], error);
	int status = wait_for(pid);
	if (status != 0 && error->kind != ERROR_HOST)
		return error_set(
		    error, ERROR_INPUT,
		    "%.160s: sadf ends with status %d: 'sadf %.100s' says why, 'sadf -c' converts old files", path,
		    status, path);
	return good;
}

const struct format format_sar = {.name = "sar", .family = "sar", .probe = sar_probe, .read = sar_read};

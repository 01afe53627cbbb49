/* SPDX-License-Identifier: MIT */
/*
 * Starting nfold-vm for a guest, and finding out why it ended.
 *
 * The process gets a session of its own, no terminal, a file for its messages, and of our descriptors only two: a pipe
 * into which it says that it is ready, and its status file. Between fork and exec nothing is called that a process of
 * many threads must not call there.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control/exit_status.h"
#include "control/program.h"
#include "host/host.h"

#define OWN_WORDS 8

struct spawn {
	char path[PATH_MAX], ready_text[32], end_text[32];
	char *serial; /* or NULL */
	char **words;
	int ready[2], messages, status, null;
};

static char *word(const char *text)
{
	return (char *)(uintptr_t)text;
}

static bool make_words(struct spawn *spawn, const struct guest *guest, struct error *error)
{
	const struct definition *definition = &guest->definition;
	struct sockaddr_un address;
	size_t count = 0;
	if (definition->options.guest.serial == NULL) {
		if (!runtime_serial_address(&guest->host->runtime, guest->name, &address, error))
			return false;
		if (asprintf(&spawn->serial, "--serial=unix:%s", address.sun_path) < 0)
			spawn->serial = NULL;
	}
	spawn->words = calloc(definition->guest_words + OWN_WORDS, sizeof *spawn->words);
	if (spawn->words == NULL || (definition->options.guest.serial == NULL && spawn->serial == NULL))
		return error_set(error, ERROR_HOST, "out of memory");
	program_path("nfold-vm", spawn->path);
	(void)snprintf(spawn->ready_text, sizeof spawn->ready_text, "--ready-fd=%d", spawn->ready[1]);
	(void)snprintf(spawn->end_text, sizeof spawn->end_text, "--end-fd=%d", spawn->status);
	spawn->words[count++] = word("nfold-vm");
	for (unsigned i = 0; i < definition->guest_words; i++)
		spawn->words[count++] = definition->word[i];
	spawn->words[count++] = word("--name");
	spawn->words[count++] = word(guest->name);
	spawn->words[count++] = spawn->ready_text;
	spawn->words[count++] = spawn->end_text;
	if (spawn->serial != NULL)
		spawn->words[count++] = spawn->serial;
	return true;
}

static bool open_files(struct spawn *spawn, const struct guest *guest, struct error *error)
{
	const struct store *store = &guest->host->store;
	spawn->messages = store_open_log(store, guest->name, "messages", true);
	spawn->status = store_open_log(store, guest->name, "status", true);
	spawn->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (spawn->messages < 0 || spawn->status < 0)
		return error_set_errno(error, "cannot write the logs of guest '%s' in %.200s", guest->name,
				       store->path);
	return (spawn->null >= 0 && pipe2(spawn->ready, O_CLOEXEC | O_NONBLOCK) == 0) ||
	       error_set_errno(error, "cannot start guest '%s'", guest->name);
}

static void child_fail(void)
{
	static const char text[] = "nfold: cannot start nfold-vm: it should be next to nfoldd or in PATH\n";
	ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
	(void)ignored;
	_exit(STATUS_HOST);
}

/* In the child. */
static void become_vm(const struct spawn *spawn, const sigset_t *mask)
{
	(void)setsid();
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)dup2(spawn->null, STDIN_FILENO);
	(void)dup2(spawn->messages, STDOUT_FILENO);
	(void)dup2(spawn->messages, STDERR_FILENO);
	(void)fcntl(spawn->ready[1], F_SETFD, 0);
	(void)fcntl(spawn->status, F_SETFD, 0);
	if (chdir("/") == 0)
		(void)execvp(spawn->path, spawn->words);
	child_fail();
}

static bool fork_vm(struct spawn *spawn, struct guest *guest, struct error *error)
{
	sigset_t none;
	(void)sigemptyset(&none); /* not ours, which has what the loop reads from its signalfd */
	pid_t pid = fork();
	if (pid == 0)
		become_vm(spawn, &none);
	if (pid < 0)
		return error_set_errno(error, "cannot start a process for guest '%s'", guest->name);
	guest->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (guest->pidfd < 0) {
		error_set_errno(error, "cannot watch the process of guest '%s'", guest->name);
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return false;
	}
	guest->pid = pid;
	guest->child = true;
	guest->ready_fd = spawn->ready[0];
	spawn->ready[0] = -1;
	return true;
}

bool guest_spawn(struct guest *guest, struct error *error)
{
	struct spawn spawn = {.ready = {-1, -1}, .messages = -1, .status = -1, .null = -1};
	bool good =
	    open_files(&spawn, guest, error) && make_words(&spawn, guest, error) && fork_vm(&spawn, guest, error);
	const int fds[] = {spawn.ready[0], spawn.ready[1], spawn.messages, spawn.status, spawn.null};
	for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(spawn.words);
	free(spawn.serial);
	return good;
}

/* ---- the end ---- */

/* The last line of its messages, without our name before it; false: it said nothing. */
static bool last_message(const struct guest *guest, char *line, size_t size)
{
	char bytes[400];
	size_t used = store_read_log(&guest->host->store, guest->name, "messages", bytes, sizeof bytes - 1);
	while (used > 0 && bytes[used - 1] == '\n')
		used--;
	bytes[used] = '\0';
	const char *last = strrchr(bytes, '\n');
	last = last != NULL ? last + 1 : bytes;
	if (strncmp(last, "nfold: ", 7) == 0)
		last += 7;
	(void)snprintf(line, size, "%s", last);
	for (char *c = line; *c != '\0'; c++)
		*c = (unsigned char)*c < ' ' || (unsigned char)*c > '~' ? '?' : *c; /* it becomes part of JSON */
	return line[0] != '\0';
}

/* What it wrote before its end, or -1. */
static int written_status(const struct guest *guest)
{
	char bytes[16] = "";
	char *end;
	size_t used = store_read_log(&guest->host->store, guest->name, "status", bytes, sizeof bytes - 1);
	bytes[used] = '\0';
	long status = strtol(bytes, &end, 10);
	return used > 0 && *end == '\n' && status >= 0 && status <= 255 ? (int)status : -1;
}

static void explain_status(const struct guest *guest, int status, char *text, size_t size)
{
	switch (status) {
	case STATUS_OK:
		(void)snprintf(text, size, "powered off");
		return;
	case STATUS_TRIPLE_FAULT:
		(void)snprintf(text, size, "triple fault");
		return;
	case STATUS_REBOOT:
		(void)snprintf(text, size, "reset");
		return;
	case STATUS_KILLED:
		(void)snprintf(text, size, "killed");
		return;
	case STATUS_CONFINED:
		(void)snprintf(text, size, "stopped: its process tried what its confinement forbids");
		return;
	default:
		break;
	}
	if ((status & 1) != 0)
		(void)snprintf(text, size, "ended itself with status %d", status);
	else if (!last_message(guest, text, size))
		(void)snprintf(text, size, "nfold-vm failed with status %d and without a message", status);
}

static void explain_signal(const struct guest *guest, int number, char *text, size_t size)
{
	if (guest->killed || (guest->end_wanted && number == SIGKILL))
		(void)snprintf(text, size, "killed");
	else if (number == SIGKILL)
		(void)snprintf(text, size, "killed from outside (SIGKILL)");
	else
		(void)snprintf(text, size, "nfold-vm crashed (%s)", strsignal(number));
}

/* The wall clock's time is only kept to be shown. */
static json_t *end_object(const struct guest *guest, const char *reason, const char *key, int value)
{
	json_t *end = json_pack("{s:s, s:I, s:I}", "reason", reason, "at", (json_int_t)time(NULL), "starts",
				(json_int_t)guest->starts);
	if (end != NULL && key != NULL)
		(void)json_object_set_new(end, key, json_integer(value));
	return end;
}

json_t *guest_end_reason(const struct guest *guest)
{
	char text[400];
	siginfo_t info = {0};
	if (!guest->child) {
		int status = written_status(guest);
		if (status >= 0)
			explain_status(guest, status, text, sizeof text);
		else
			(void)snprintf(text, sizeof text,
				       guest->killed || guest->end_wanted ? "killed"
									  : "its process was killed or crashed");
		return status >= 0 ? end_object(guest, text, "status", status) : end_object(guest, text, NULL, 0);
	}
	if (waitid(P_PIDFD, (id_t)guest->pidfd, &info, WEXITED) != 0 || info.si_code == CLD_EXITED) {
		explain_status(guest, info.si_status, text, sizeof text);
		return end_object(guest, text, "status", info.si_status);
	}
	explain_signal(guest, info.si_status, text, sizeof text);
	return end_object(guest, text, "signal", info.si_status);
}

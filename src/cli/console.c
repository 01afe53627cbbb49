/* SPDX-License-Identifier: MIT */
/* A guest's serial port on the terminal, as long as one likes. Without a host, straight from the guest's socket. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/hosted.h"
#include "cli/terminal.h"
#include "control/report.h"
#include "control/runtime.h"

#define CHUNK 4096

/* The guest's own socket, for when no host is there. -1 with the error. */
static int open_serial(const char *name, struct error *error)
{
	struct runtime runtime;
	struct sockaddr_un address;
	if (!name_check(name, error) || !runtime_open(&runtime, false, error))
		return -1;
	int fd = -1;
	if (runtime_owner(&runtime, name) == 0)
		error_set(error, ERROR_INPUT, "no guest named '%s' runs: 'nfold list' shows those that do", name);
	else if (runtime_serial_address(&runtime, name, &address, error)) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
			error_set(error, ERROR_INPUT,
				  "guest '%s' was not started by the host: its console is elsewhere", name);
			if (fd >= 0)
				close(fd);
			fd = -1;
		}
	}
	runtime_close(&runtime);
	return fd;
}

static bool host_runs(void)
{
	struct runtime runtime;
	if (!runtime_open(&runtime, false, NULL))
		return false;
	bool runs = runtime_owner(&runtime, RUNTIME_HOST) != 0;
	runtime_close(&runtime);
	return runs;
}

static int open_console(const char *name, struct error *error)
{
	int fd = -1;
	if (!host_runs())
		return open_serial(name, error);
	json_decref(hosted_call_fd("guest.console", json_pack("{s:s}", "name", name), &fd, error));
	return fd;
}

static bool write_all(int fd, const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t put = write(fd, bytes, size);
		struct pollfd room = {.fd = fd, .events = POLLOUT};
		if (put < 0 && errno == EAGAIN)
			(void)poll(&room, 1, -1);
		else if (put < 0 && errno != EINTR)
			return false;
		bytes += put > 0 ? put : 0;
		size -= put > 0 ? (size_t)put : 0;
	}
	return true;
}

/* False: the guest has ended, or another session took over. */
static bool from_guest(int fd)
{
	char bytes[CHUNK];
	ssize_t got = read(fd, bytes, sizeof bytes);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	return got > 0 && write_all(STDOUT_FILENO, bytes, (size_t)got);
}

/* At its end, input is over and output goes on. */
static bool from_terminal(int fd, struct escape *escape, bool *open)
{
	char bytes[CHUNK], filtered[CHUNK];
	ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	*open = got > 0;
	if (got <= 0)
		return true;
	size_t count = (size_t)got;
	if (escape != NULL)
		count = escape_filter(escape, bytes, count, filtered);
	return write_all(fd, escape != NULL ? filtered : bytes, count) && (escape == NULL || !escape->quit);
}

static void relay(int fd, bool terminal)
{
	struct escape escape = {.detach = true};
	bool open = true, good = true;
	while (good) {
		struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
				       {.fd = open ? STDIN_FILENO : -1, .events = POLLIN}};
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents != 0)
			good = from_guest(fd);
		if (good && fds[1].revents != 0)
			good = from_terminal(fd, terminal ? &escape : NULL, &open);
	}
}

static int console_run(const struct command_call *call)
{
	struct error error = {0};
	struct terminal terminal = {.fd = STDIN_FILENO};
	bool on_terminal = isatty(STDIN_FILENO) == 1;
	int fd = open_console(call->argument[0], &error);
	if (fd < 0)
		return (int)report_error(&error);
	if (on_terminal) {
		report_line("console of guest '%s'; Ctrl-] leaves it", call->argument[0]);
		terminal_enter(&terminal);
	}
	relay(fd, on_terminal);
	terminal_leave(&terminal);
	close(fd);
	return STATUS_OK;
}

const struct command command_console = {
    .name = "console",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "use a guest's serial port",
    .description = "Puts the serial port of a guest of the host on the terminal, beginning with the last of what it\n"
		   "said. Ctrl-] leaves it; the guest runs on. A new session takes the place of another. Without a\n"
		   "terminal, input is passed on as it is until the guest ends.",
    .run = console_run,
};

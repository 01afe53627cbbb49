/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. The guest's output goes straight from nfold-vm to our stdout. Input goes straight too, unless
 * stdin is a terminal: then we read it, look for the escape key, and pass the rest on through a pipe. What the guest
 * does not take is kept up to INPUT_MAX bytes and then dropped, so that the escape key always works.
 *
 * nfold-vm writes its name to the ready pipe when the guest is about to run. Only then does the terminal become raw, so
 * that errors before are printed on a terminal in order. Whoever of the two lives longer restores the terminal: we,
 * when nfold-vm ends for any reason; nfold-vm, when we are killed (it gets SIGTERM by PR_SET_PDEATHSIG).
 *
 * With the screen on the terminal, the viewer (viewer.h) has both: the guest's process gets /dev/null and a file for
 * its messages, which are shown when the terminal is as it was before.
 *
 * Signals arrive through a signalfd. Those that end a process are passed on; a child that has not ended GRACE_MS later
 * is killed.
 */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/terminal.h"
#include "cli/viewer.h"
#include "control/program.h"
#include "control/report.h"
#include "control/runtime.h"
#include "control/signals.h"

#define INPUT_MAX 65536
#define GRACE_MS 800
#define EXTRA_WORDS 10

struct child {
	pid_t pid;
	int signals;   /* signalfd */
	int ready;     /* read end, -1 after the child is ready */
	int input;     /* write end to the guest's serial input, -1: none */
	bool console;  /* stdin is a terminal and ours to read, once ready */
	bool screen;   /* so is the whole terminal, for the viewer */
	bool firmware; /* what the guest has to say is on its screen, not on the serial port */
	int messages;  /* with the screen: the file that has the child's standard error */
	struct viewer *viewer;
	bool stdin_open; /* not yet at its end */
	bool ended, killed;
	int status;	    /* of waitpid */
	int64_t kill_at_ms; /* INT64_MAX: not asked to end */
	struct terminal terminal;
	struct escape escape;
	char name[NAME_LENGTH_MAX + 2];
	size_t name_used;
	size_t waiting; /* bytes in buffer */
	char buffer[INPUT_MAX];
};

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- start ---- */

static void keep_open(int fd)
{
	(void)fcntl(fd, F_SETFD, 0);
}

/* The terminal, as a descriptor that the child keeps to set it right if we are killed. */
static void keep_terminal(char text[static 32])
{
	int terminal = fcntl(STDIN_FILENO, F_DUPFD, 3);
	if (terminal >= 0)
		(void)snprintf(text, 32, "--terminal-fd=%d", terminal);
}

static void exec_vm(const struct child *child, const struct child_request *request, int ready, int input)
{
	char path[PATH_MAX], ready_text[32], terminal_text[32] = "";
	char **words = calloc((size_t)request->argc + EXTRA_WORDS, sizeof *words);
	size_t count = 0;
	if (words == NULL)
		return;
	program_path("nfold-vm", path);
	words[count++] = (char *)(uintptr_t) "nfold-vm";
	if (request->name_free) {
		words[count++] = (char *)(uintptr_t) "--name-free";
		words[count++] = (char *)(uintptr_t) "--name";
		words[count++] = (char *)(uintptr_t)request->name;
	}
	(void)snprintf(ready_text, sizeof ready_text, "--ready-fd=%d", ready);
	words[count++] = ready_text;
	keep_open(ready);
	if (child->console || child->screen)
		keep_terminal(terminal_text);
	if (terminal_text[0] != '\0')
		words[count++] = terminal_text;
	if (child->console)
		(void)dup2(input, STDIN_FILENO);
	if (child->screen) {
		words[count++] = (char *)(uintptr_t) "--terminal-reset";
		words[count++] = (char *)(uintptr_t)request->terminal_reset;
		(void)dup2(input, STDIN_FILENO);
		(void)dup2(child->messages, STDOUT_FILENO);
		(void)dup2(child->messages, STDERR_FILENO);
	}
	memcpy(words + count, request->argv, (size_t)request->argc * sizeof *words);
	(void)execvp(path, words);
}

/* Runs in the child. */
static void become_vm(const struct child *child, const struct child_request *request, pid_t parent,
		      const sigset_t *mask, int ready, int input)
{
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() == parent)
		exec_vm(child, request, ready, input);
	report_line("cannot start nfold-vm: %s; it should be next to nfold or in PATH", strerror(errno));
	_exit(STATUS_HOST);
}

static bool block_signals(struct child *child, sigset_t *before)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGTSTP, SIGCONT, SIGWINCH};
	(void)signal(SIGPIPE, SIG_IGN);
	child->signals = signals_open(numbers, sizeof numbers / sizeof numbers[0], before);
	return child->signals >= 0;
}

/* The child's standard input, and our end of it: a pipe for the console, nothing for the screen. */
static bool open_input(struct child *child, int input[2])
{
	input[0] = input[1] = -1;
	if (child->console)
		return pipe2(input, O_CLOEXEC) == 0;
	if (!child->screen)
		return true;
	child->messages = memfd_create("nfold-messages", MFD_CLOEXEC);
	input[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	return child->messages >= 0 && input[0] >= 0;
}

static bool child_start(struct child *child, const struct child_request *request)
{
	int ready[2], input[2];
	sigset_t mask;
	pid_t self = getpid();
	child->console = request->console && isatty(STDIN_FILENO);
	child->screen = request->screen;
	child->firmware = request->firmware;
	if (!block_signals(child, &mask) || pipe2(ready, O_CLOEXEC) != 0 || !open_input(child, input))
		return false;
	child->pid = fork();
	if (child->pid == 0)
		become_vm(child, request, self, &mask, ready[1], input[0]);
	close(ready[1]);
	child->ready = ready[0];
	if (input[0] >= 0)
		close(input[0]);
	if (input[1] >= 0)
		(void)fcntl(input[1], F_SETFL, O_NONBLOCK);
	child->input = input[1];
	return child->pid > 0;
}

/* ---- while it runs ---- */

static void child_end(struct child *child, int signal_number)
{
	(void)kill(child->pid, signal_number);
	if (child->kill_at_ms == INT64_MAX)
		child->kill_at_ms = now_ms() + GRACE_MS;
}

static void open_viewer(struct child *child)
{
	struct error error = {0};
	child->viewer = viewer_open(child->name, &error);
	if (child->viewer != NULL)
		return;
	terminal_leave(&child->terminal);
	child->stdin_open = false;
	(void)report_error(&error);
	child_end(child, SIGTERM);
}

static void became_ready(struct child *child)
{
	close(child->ready);
	child->ready = -1;
	if (!child->console && !child->screen)
		return;
	if (child->firmware && !child->screen)
		report_line("guest '%s' runs; Ctrl-] q ends it; 'nfold screen %s' shows its screen", child->name,
			    child->name);
	else
		report_line("guest '%s' runs; Ctrl-] q ends it, Ctrl-] Ctrl-] sends Ctrl-]", child->name);
	child->stdin_open = true;
	terminal_enter(&child->terminal);
	if (child->screen)
		open_viewer(child);
}

/* The name and a newline; the end of the file without them means that the child failed, and says so itself. */
static void read_ready(struct child *child)
{
	ssize_t got = read(child->ready, child->name + child->name_used, sizeof child->name - 1 - child->name_used);
	if (got < 0 && errno == EINTR)
		return;
	if (got > 0)
		child->name_used += (size_t)got;
	char *end = memchr(child->name, '\n', child->name_used);
	if (end != NULL) {
		*end = '\0';
		became_ready(child);
	} else if (got <= 0 || child->name_used == sizeof child->name - 1) {
		close(child->ready);
		child->ready = -1;
	}
}

static void read_terminal(struct child *child)
{
	char bytes[512], filtered[512];
	ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (got <= 0) {
		child->stdin_open = false;
		return;
	}
	size_t count = escape_filter(&child->escape, bytes, (size_t)got, filtered);
	if (count > sizeof child->buffer - child->waiting)
		count = sizeof child->buffer - child->waiting;
	memcpy(child->buffer + child->waiting, filtered, count);
	child->waiting += count;
	if (child->escape.quit)
		child_end(child, SIGTERM);
}

/* A terminal that was hung up is readable and empty for ever. */
static void read_viewer_keys(struct child *child)
{
	int bytes = 0;
	if (ioctl(STDIN_FILENO, FIONREAD, &bytes) != 0 || bytes == 0)
		child->stdin_open = false;
	else if (!viewer_read_keys(child->viewer))
		child_end(child, SIGTERM);
}

static void write_input(struct child *child)
{
	ssize_t sent = write(child->input, child->buffer, child->waiting);
	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (sent < 0) {
		close(child->input);
		child->input = -1;
		child->waiting = 0;
		return;
	}
	child->waiting -= (size_t)sent;
	memmove(child->buffer, child->buffer + sent, child->waiting);
}

static void read_signal(struct child *child)
{
	struct signalfd_siginfo info;
	if (read(child->signals, &info, sizeof info) != (ssize_t)sizeof info)
		return;
	switch (info.ssi_signo) {
	case SIGCHLD:
		child->ended = waitpid(child->pid, &child->status, WNOHANG) == child->pid;
		break;
	case SIGTSTP:
		if (child->viewer != NULL)
			viewer_suspend(child->viewer);
		terminal_leave(&child->terminal);
		(void)raise(SIGSTOP);
		break;
	case SIGCONT:
		if (child->stdin_open)
			terminal_enter(&child->terminal);
		if (child->viewer != NULL)
			viewer_resume(child->viewer);
		break;
	case SIGWINCH:
		if (child->viewer != NULL)
			viewer_resize(child->viewer);
		break;
	default:
		child_end(child, (int)info.ssi_signo);
	}
}

static int wait_ms(const struct child *child)
{
	int viewer_ms = child->viewer != NULL ? viewer_wait_ms(child->viewer) : -1;
	if (child->kill_at_ms == INT64_MAX || child->killed)
		return viewer_ms;
	int64_t left = child->kill_at_ms - now_ms();
	int kill_ms = left > 0 ? (int)left : 0;
	return viewer_ms >= 0 && viewer_ms < kill_ms ? viewer_ms : kill_ms;
}

static void child_wait_once(struct child *child)
{
	struct pollfd fds[] = {
	    {.fd = child->signals, .events = POLLIN},
	    {.fd = child->ready, .events = POLLIN},
	    {.fd = child->stdin_open ? STDIN_FILENO : -1, .events = POLLIN},
	    {.fd = child->waiting > 0 ? child->input : -1, .events = POLLOUT},
	    {.fd = child->viewer != NULL ? viewer_fd(child->viewer) : -1, .events = POLLIN},
	};
	(void)poll(fds, sizeof fds / sizeof fds[0], wait_ms(child));
	if (fds[1].revents != 0)
		read_ready(child);
	if (fds[2].revents != 0 && child->viewer != NULL)
		read_viewer_keys(child);
	else if (fds[2].revents != 0)
		read_terminal(child);
	if (child->viewer != NULL)
		viewer_step(child->viewer);
	if (fds[3].revents != 0)
		write_input(child);
	if (fds[0].revents != 0)
		read_signal(child);
	if (!child->ended && !child->killed && now_ms() >= child->kill_at_ms) {
		(void)kill(child->pid, SIGKILL);
		child->killed = true;
	}
}

/* ---- end ---- */

/* A child that could not clean up behind itself. Its name is free again: take it and give it back. */
static void remove_leftovers(const char *name)
{
	struct runtime runtime;
	struct claim claim;
	if (name[0] == '\0' || !runtime_open(&runtime, false, NULL))
		return;
	if (runtime_claim(&runtime, name, &claim, NULL) == CLAIM_DONE)
		runtime_release(&runtime, &claim);
	runtime_close(&runtime);
}

/* What the child had to say while the terminal was not for messages. */
static void show_messages(const struct child *child)
{
	char text[512];
	off_t at = 0;
	ssize_t got;
	if (!child->screen)
		return;
	while ((got = pread(child->messages, text, sizeof text, at)) > 0 && write(STDERR_FILENO, text, (size_t)got) > 0)
		at += got;
	close(child->messages);
}

static int child_exit_status(const struct child *child, const char *name)
{
	if (WIFEXITED(child->status) && WEXITSTATUS(child->status) == STATUS_CONFINED)
		remove_leftovers(name); /* it said itself what it did */
	if (WIFEXITED(child->status))
		return WEXITSTATUS(child->status);
	int number = WTERMSIG(child->status);
	remove_leftovers(name);
	if (child->killed)
		return STATUS_KILLED;
	if (number == SIGKILL) {
		report_line("guest '%s' was killed from outside", name);
		return STATUS_KILLED;
	}
	if (number == SIGSYS) {
		report_line("nfold-vm made a forbidden system call and was stopped");
		return STATUS_CONFINED;
	}
	report_line("guest '%s' ended by a fault of nfold-vm (%s): please report it", name, strsignal(number));
	return STATUS_HOST;
}

/* A closed standard descriptor would be given to the next file opened, and the guest's output with it. */
static void fill_standard_fds(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

int child_run(const struct child_request *request)
{
	fill_standard_fds();
	struct child *child = calloc(1, sizeof *child);
	if (child == NULL) {
		report_line("out of memory");
		return STATUS_HOST;
	}
	child->input = child->ready = -1;
	child->kill_at_ms = INT64_MAX;
	child->terminal.fd = STDIN_FILENO;
	if (!child_start(child, request)) {
		report_line("cannot start a process: %s", strerror(errno));
		free(child);
		return STATUS_HOST;
	}
	while (!child->ended)
		child_wait_once(child);
	viewer_close(child->viewer);
	terminal_leave(&child->terminal);
	show_messages(child);
	const char *known = memchr(child->name, '\0', child->name_used) != NULL ? child->name : "";
	int status = child_exit_status(child, known[0] != '\0' || request->name_free ? known : request->name);
	free(child);
	return status;
}

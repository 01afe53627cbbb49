/* SPDX-License-Identifier: MIT */
/* nfoldd: the host. host.h says how it works. Started by `nfold host start` or by systemd. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/daemon_options.h"
#include "control/report.h"
#include "control/server.h"
#include "control/signals.h"
#include "host/methods.h"
#include "host/metrics.h"

struct daemon {
	struct daemon_options options;
	struct host host;
	struct claim claim;
	struct method_context context;
	struct server *server;
	int signals; /* signalfd */
};

static bool watch_for_server(void *opaque, int fd, uint32_t events, server_ready_function *function, void *with,
			     struct error *error)
{
	return host_loop_watch(opaque, fd, events, function, with, error);
}

static void unwatch_for_server(void *opaque, int fd)
{
	host_loop_unwatch(opaque, fd);
}

static bool start_server(struct daemon *daemon, struct error *error)
{
	struct host *host = &daemon->host;
	struct sockaddr_un address;
	const struct server_loop loop = {
	    .opaque = &host->loop, .watch = watch_for_server, .unwatch = unwatch_for_server};
	const struct server_service service = {.methods = &host_methods,
					       .context = &daemon->context,
					       .answers_unread = &host->answers_unread,
					       .answer_fd = &host->answer_fd};
	if (!runtime_socket_address(&host->runtime, RUNTIME_HOST, &address, error))
		return false;
	daemon->server = server_create(&address, error);
	return daemon->server != NULL && server_start(daemon->server, &loop, &service, error);
}

static bool start_metrics(struct daemon *daemon, struct error *error)
{
	struct host *host = &daemon->host;
	if (daemon->options.metrics == NULL)
		return true;
	host->metrics = host_metrics_create(daemon->options.metrics, host->dispatcher, error);
	return host->metrics != NULL;
}

/* Guests run on. */
static void signals_arrived(void *opaque, int fd, uint32_t events)
{
	struct daemon *daemon = opaque;
	struct signalfd_siginfo info;
	(void)events;
	if (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
		daemon->host.ending = true;
		daemon->host.ending_guests = false;
	}
}

static bool open_signals(struct daemon *daemon, struct error *error)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)signal(SIGCHLD, SIG_DFL); /* ignored, it would reap guests before we know why they ended */
	daemon->signals = signals_open(numbers, sizeof numbers / sizeof numbers[0], NULL);
	if (daemon->signals < 0)
		return error_set_errno(error, "cannot create a signalfd");
	return host_loop_watch(&daemon->host.loop, daemon->signals, EPOLLIN, signals_arrived, daemon, error);
}

/* Each guest takes a few descriptors. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static bool claim_host(struct daemon *daemon, struct error *error)
{
	struct host *host = &daemon->host;
	enum claim_result result = runtime_claim(&host->runtime, RUNTIME_HOST, &daemon->claim, error);
	if (result == CLAIM_TAKEN)
		error_set(error, ERROR_INPUT, "a host runs already (process %d): 'nfold host stop' ends it",
			  (int)runtime_owner(&host->runtime, RUNTIME_HOST));
	return result == CLAIM_DONE;
}

#define LOG_MAX (1 << 20)

/* From here on errors go to the log: in the background in any case, lest they come to a terminal that is used for
 * something else by then. It begins anew when it has become long. */
static bool move_to_log(const struct daemon *daemon, struct error *error)
{
	char path[PATH_MAX];
	struct stat status;
	if (daemon->options.log != NULL)
		(void)snprintf(path, sizeof path, "%s", daemon->options.log);
	else if (daemon->options.ready_fd != OPTION_UNSET)
		(void)snprintf(path, sizeof path, "%s/log", daemon->host.store.path);
	else
		return true;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0)
		return error_set_errno(error, "cannot open the log %.200s", path);
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > LOG_MAX)
		(void)ftruncate(fd, 0);
	(void)dup2(fd, STDOUT_FILENO);
	(void)dup2(fd, STDERR_FILENO);
	close(fd);
	return true;
}

static void tell_parent(const struct daemon *daemon)
{
	if (daemon->options.ready_fd == OPTION_UNSET)
		return;
	ssize_t ignored = write((int)daemon->options.ready_fd, "ready\n", 6);
	(void)ignored;
	close((int)daemon->options.ready_fd);
}

/* Guests that run are there already: refresh has adopted them. */
static void mark_autostart(const struct host *host)
{
	for (struct guest *guest = host->guests; guest != NULL; guest = guest->next)
		guest->autostart_due = guest->state == GUEST_STOPPED && guest->definition.options.host.autostart;
}

static void serve(struct host *host)
{
	while (!host->ending || (host->ending_guests && guests_any_active(host))) {
		int64_t next = guests_work(host), left = next - host_now_ms();
		host_loop_run_once(&host->loop, next == HOST_NEVER ? -1
						: left <= 0	   ? 0
						: left > 1000000   ? 1000000
								   : (int)left);
	}
}

static int run_claimed(struct daemon *daemon)
{
	struct host *host = &daemon->host;
	struct error error = {0};
	const struct sched_policy policy = {.slice_ns = daemon->options.slice_ms * 1000000};
	bool good = store_open(&host->store, &error);
	if (good && (host->dispatcher = dispatcher_create(&policy, &error)) != NULL && guests_refresh(host, &error) &&
	    start_server(daemon, &error) && start_metrics(daemon, &error) && move_to_log(daemon, &error)) {
		tell_parent(daemon);
		mark_autostart(host);
		guests_autostart(host);
		serve(host);
	}
	host_metrics_destroy(host->metrics);
	server_destroy(daemon->server);
	guests_forget(host);
	dispatcher_destroy(host->dispatcher);
	if (good)
		store_close(&host->store);
	return error.kind != ERROR_NONE ? (int)report_error(&error) : STATUS_OK;
}

static int run_daemon(struct daemon *daemon)
{
	struct host *host = &daemon->host;
	struct error error = {0};
	raise_descriptor_limit();
	daemon->context.host = host;
	host->answer_fd = -1;
	host->started_ms = host_now_ms();
	if (!host_loop_open(&host->loop, &error) || !open_signals(daemon, &error) ||
	    !runtime_open(&host->runtime, true, &error) || !claim_host(daemon, &error)) {
		host_loop_close(&host->loop);
		return (int)report_error(&error);
	}
	int status = run_claimed(daemon);
	runtime_release(&host->runtime, &daemon->claim);
	runtime_close(&host->runtime);
	host_loop_close(&host->loop);
	close(daemon->signals);
	return status;
}

static int usage(void)
{
	printf("Usage: nfoldd [OPTION]...\n\n"
	       "The host: keeps guests, starts and stops them. Stays in the foreground; 'nfold host start' starts it\n"
	       "in the background.\n\nOptions:\n");
	options_print(daemon_option_table, stdout);
	return STATUS_OK;
}

int main(int argc, char **argv)
{
	struct daemon daemon = {0};
	struct option_rest rest;
	struct error error = {0};
	if (!options_parse(daemon_option_table, OPTIONS_FROM_PROGRAM, "nfoldd", argc - 1, argv + 1, &daemon.options,
			   &rest, &error))
		return (int)report_error(&error);
	if (rest.help)
		return usage();
	if (rest.count > 0) {
		report_line("nfoldd takes options alone: 'nfoldd --help' lists them");
		return STATUS_INPUT;
	}
	return run_daemon(&daemon);
}

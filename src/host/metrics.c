/* SPDX-License-Identifier: MIT */
#include "host/metrics.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/report.h"
#include "monitor/metrics-server.h"

struct host_metrics {
	struct dispatcher *dispatcher;
	struct monitor *monitor;
	struct metrics_server *server;
	int end_fd; /* an eventfd that the thread ends at */
	pthread_t thread;
	bool thread_made;
};

static unsigned read_dispatcher(void *opaque, struct metrics_row row[METRICS_MORE_MAX])
{
	const struct host_metrics *metrics = opaque;
	struct dispatcher_report report;
	dispatcher_read(metrics->dispatcher, &report);
	const struct metrics_row rows[] = {
	    {"nfold_dispatcher_guests", "gauge", NULL, "Guests that the host lends processors to", report.guests,
	     false},
	    {"nfold_dispatcher_processor_seconds", "counter", "seconds", "Processor time of the host's dispatcher",
	     report.cpu_ns, true},
	    {"nfold_dispatcher_wakes", "counter", NULL, "Times that it woke", report.wakes, false},
	    {"nfold_dispatcher_decisions", "counter", NULL, "Times that it chose who runs", report.decisions, false},
	    {"nfold_dispatcher_grants", "counter", NULL, "Run tokens that it gave", report.grants, false},
	    {"nfold_dispatcher_withdrawals", "counter", NULL, "Run tokens that it asked back", report.withdrawals,
	     false},
	    {"nfold_dispatcher_late", "counter", NULL, "Run tokens that came back late", report.late, false},
	};
	_Static_assert(sizeof rows / sizeof rows[0] <= METRICS_MORE_MAX, "they fit");
	memcpy(row, rows, sizeof rows);
	return sizeof rows / sizeof rows[0];
}

static void *thread_main(void *opaque)
{
	struct host_metrics *metrics = opaque;
	struct error error = {0};
	if (!metrics_server_run(metrics->server, metrics->end_fd, &error))
		(void)report_error(&error);
	return NULL;
}

/* Signals are for the event loop. */
static bool create_thread(struct host_metrics *metrics, struct error *error)
{
	sigset_t all, before;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int failure = pthread_create(&metrics->thread, NULL, thread_main, metrics);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = failure;
	metrics->thread_made = failure == 0;
	return failure == 0 || error_set_errno(error, "cannot create the thread for metrics");
}

struct host_metrics *host_metrics_create(const char *where, struct dispatcher *dispatcher, struct error *error)
{
	struct host_metrics *metrics = calloc(1, sizeof *metrics);
	if (metrics == NULL) {
		error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	const struct metrics_more more = {.read = read_dispatcher, .opaque = metrics};
	metrics->dispatcher = dispatcher;
	metrics->end_fd = eventfd(0, EFD_CLOEXEC);
	if (metrics->end_fd < 0)
		error_set_errno(error, "cannot create an eventfd");
	else if ((metrics->monitor = monitor_create(error)) != NULL &&
		 (metrics->server = metrics_server_create(metrics->monitor, &more, where, error)) != NULL &&
		 create_thread(metrics, error))
		return metrics;
	host_metrics_destroy(metrics);
	return NULL;
}

void host_metrics_destroy(struct host_metrics *metrics)
{
	const uint64_t end = 1;
	if (metrics == NULL)
		return;
	if (metrics->thread_made && write(metrics->end_fd, &end, sizeof end) == (ssize_t)sizeof end)
		(void)pthread_join(metrics->thread, NULL);
	metrics_server_destroy(metrics->server);
	monitor_destroy(metrics->monitor);
	if (metrics->end_fd >= 0)
		close(metrics->end_fd);
	free(metrics);
}

const char *host_metrics_url(const struct host_metrics *metrics)
{
	return metrics != NULL ? metrics_server_url(metrics->server) : NULL;
}

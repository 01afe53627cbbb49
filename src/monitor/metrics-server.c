/* SPDX-License-Identifier: MIT */
#include "monitor/metrics-server.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECTIONS_MAX 32u
#define CONNECTION_SECONDS 10u
#define TIMEOUT_MAX_MS 60000
#define CONNECTION_MEMORY ((size_t)16384) /* what a client can make us keep */

struct metrics_server {
	struct monitor *monitor;
	struct metrics_more more;
	struct listener listener;
	char url[LISTEN_URL_MAX];
	struct MHD_Daemon *daemon;
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response)
{
	if (response == NULL)
		return MHD_NO;
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status, const char *text)
{
	/* The library's type is of a buffer that it may own; this one stays as it is. */
	return answer(connection, status,
		      MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result answer_metrics(struct metrics_server *server, struct MHD_Connection *connection)
{
	const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
	bool open = accept != NULL && strstr(accept, "application/openmetrics-text") != NULL;
	enum metrics_format format = open ? METRICS_OPENMETRICS : METRICS_TEXT;
	char *text = NULL;
	size_t size = 0;
	if (!monitor_read(server->monitor, NULL))
		return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "the guests cannot be read\n");
	FILE *to = open_memstream(&text, &size);
	if (to == NULL)
		return MHD_NO;
	metrics_write(server->monitor, &server->more, format, to);
	if (fclose(to) != 0) {
		free(text);
		return MHD_NO;
	}
	struct MHD_Response *response = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
	if (response == NULL)
		free(text);
	else
		(void)MHD_add_response_header(response, "Content-Type", metrics_content_type[format]);
	return answer(connection, MHD_HTTP_OK, response);
}

static enum MHD_Result handle(void *opaque, struct MHD_Connection *connection, const char *url, const char *method,
			      const char *version, const char *data, size_t *data_size, void **state)
{
	(void)version;
	(void)data;
	(void)state;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return *data_size != 0 ? MHD_NO
				       : answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	if (strcmp(url, "/metrics") != 0)
		return answer_text(connection, MHD_HTTP_NOT_FOUND, "there is only /metrics\n");
	return answer_metrics(opaque, connection);
}

/* What a client did wrong is nobody's business here. */
static void log_nothing(void *opaque, const char *format, va_list arguments)
{
	(void)opaque;
	(void)format;
	(void)arguments;
}

/* The daemon takes over the socket, and closes it at its end. */
static bool start_daemon(struct metrics_server *server)
{
	server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, handle, server,
					  MHD_OPTION_EXTERNAL_LOGGER, log_nothing, NULL, MHD_OPTION_LISTEN_SOCKET,
					  server->listener.fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
					  MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_SECONDS,
					  MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_END);
	return server->daemon != NULL;
}

struct metrics_server *metrics_server_create(struct monitor *monitor, const struct metrics_more *more,
					     const char *where, struct error *error)
{
	struct listen_address address;
	if (!listen_parse(where, &address, error))
		return NULL;
	struct metrics_server *server = calloc(1, sizeof *server);
	if (server == NULL) {
		error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	server->monitor = monitor;
	server->more = *more;
	if (!listener_open(&server->listener, &address, error)) {
		free(server);
		return NULL;
	}
	listen_url(&server->listener.address, "/metrics", server->url);
	if (start_daemon(server))
		return server;
	error_set(error, ERROR_HOST, "cannot serve HTTP at %s", server->url);
	listener_remove_file(&server->listener);
	close(server->listener.fd);
	free(server);
	return NULL;
}

void metrics_server_destroy(struct metrics_server *server)
{
	if (server == NULL)
		return;
	listener_remove_file(&server->listener);
	MHD_stop_daemon(server->daemon);
	free(server);
}

const char *metrics_server_url(const struct metrics_server *server)
{
	return server->url;
}

/* Milliseconds until it must be served in any case; -1: no limit. */
static int timeout_ms(const struct metrics_server *server)
{
	MHD_UNSIGNED_LONG_LONG ms = 0;
	if (MHD_get_timeout(server->daemon, &ms) != MHD_YES)
		return -1;
	return ms < TIMEOUT_MAX_MS ? (int)ms : TIMEOUT_MAX_MS;
}

bool metrics_server_run(struct metrics_server *server, int end_fd, struct error *error)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	struct pollfd fds[] = {{.fd = info != NULL ? info->epoll_fd : -1, .events = POLLIN},
			       {.fd = end_fd, .events = POLLIN}};
	while (fds[1].revents == 0) {
		if (poll(fds, 2, timeout_ms(server)) < 0 && errno != EINTR)
			return error_set_errno(error, "cannot wait for requests");
		(void)MHD_run(server->daemon);
	}
	return true;
}

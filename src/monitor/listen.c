/* SPDX-License-Identifier: MIT */
#include "monitor/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define UNIX_PREFIX "unix:"
#define BACKLOG 32
#define PORT_MAX 65535u

/* ---- addresses ---- */

static bool refuse(const char *text, struct error *error)
{
	return error_set(
	    error, ERROR_INPUT,
	    "cannot listen on '%.120s': give a port, an address in numbers and a port as in 192.0.2.1:9100 or "
	    "[2001:db8::1]:9100, or unix:PATH",
	    text);
}

static bool parse_port(const char *text, uint16_t *port)
{
	unsigned value = 0;
	const char *at = text;
	for (; *at >= '0' && *at <= '9' && value <= PORT_MAX; at++)
		value = value * 10 + (unsigned)(*at - '0');
	*port = htons((uint16_t)value);
	return at != text && *at == '\0' && value <= PORT_MAX;
}

static bool parse_unix(const char *path, struct listen_address *address, struct error *error)
{
	struct sockaddr_un *to = (struct sockaddr_un *)&address->at;
	size_t length = strlen(path);
	if (length == 0)
		return error_set(error, ERROR_INPUT, "unix: wants a path behind it, as in unix:/run/nfold-metrics");
	if (length >= sizeof to->sun_path)
		return error_set(error, ERROR_INPUT,
				 "the path %.120s... is too long for a socket: %zu characters at most", path,
				 sizeof to->sun_path - 1);
	to->sun_family = AF_UNIX;
	memcpy(to->sun_path, path, length + 1);
	address->size = sizeof *to;
	return true;
}

/* ADDRESS:PORT; the last colon is the port's. */
static bool parse_internet(const char *text, struct listen_address *address)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address->at;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->at;
	char host[INET6_ADDRSTRLEN + 2];
	const char *colon = strrchr(text, ':');
	size_t length = colon != NULL ? (size_t)(colon - text) : 0;
	uint16_t port;
	if (length == 0 || length >= sizeof host || !parse_port(colon + 1, &port))
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	if (host[0] == '[' && host[length - 1] == ']') {
		host[length - 1] = '\0';
		*v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
		address->size = sizeof *v6;
		return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1;
	}
	*v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
	address->size = sizeof *v4;
	return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

bool listen_parse(const char *text, struct listen_address *address, struct error *error)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address->at;
	uint16_t port;
	*address = (struct listen_address){0};
	if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
		return parse_unix(text + strlen(UNIX_PREFIX), address, error);
	if (!parse_port(text, &port))
		return parse_internet(text, address) || refuse(text, error);
	*v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	address->size = sizeof *v4;
	return true;
}

void listen_url(const struct listen_address *address, const char *path, char url[LISTEN_URL_MAX])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->at;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->at;
	const struct sockaddr_un *local = (const struct sockaddr_un *)&address->at;
	char host[INET6_ADDRSTRLEN] = "";
	if (address->at.ss_family == AF_UNIX) {
		(void)snprintf(url, LISTEN_URL_MAX, UNIX_PREFIX "%s", local->sun_path);
	} else if (address->at.ss_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
		(void)snprintf(url, LISTEN_URL_MAX, "http://[%s]:%u%s", host, ntohs(v6->sin6_port), path);
	} else {
		(void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
		(void)snprintf(url, LISTEN_URL_MAX, "http://%s:%u%s", host, ntohs(v4->sin_port), path);
	}
}

/* ---- sockets ---- */

/* Whether the file is a socket that nobody listens on any more. */
static bool is_stale(const struct sockaddr_un *address)
{
	struct stat status;
	if (lstat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
		return false;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	bool stale = connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static bool bind_socket(struct listener *listener)
{
	const struct sockaddr_un *local = (const struct sockaddr_un *)&listener->address.at;
	const struct sockaddr *at = (const struct sockaddr *)&listener->address.at;
	bool unix_socket = at->sa_family == AF_UNIX;
	struct stat status;
	int on = 1;
	if (!unix_socket)
		(void)setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (unix_socket && is_stale(local))
		(void)unlink(local->sun_path);
	if (bind(listener->fd, at, listener->address.size) != 0)
		return false;
	if (unix_socket && lstat(local->sun_path, &status) == 0) {
		listener->device = status.st_dev;
		listener->inode = status.st_ino;
	}
	return true;
}

bool listener_open(struct listener *listener, const struct listen_address *address, struct error *error)
{
	char url[LISTEN_URL_MAX];
	*listener = (struct listener){.address = *address};
	listener->fd = socket(address->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool bound = listener->fd >= 0 && bind_socket(listener);
	if (bound && listen(listener->fd, BACKLOG) == 0) {
		socklen_t size = sizeof listener->address.at;
		if (address->at.ss_family != AF_UNIX)
			(void)getsockname(listener->fd, (struct sockaddr *)&listener->address.at, &size);
		return true;
	}
	listen_url(address, "", url);
	error_set_errno(error, "cannot listen on %s", url);
	if (bound)
		listener_remove_file(listener);
	if (listener->fd >= 0)
		close(listener->fd);
	listener->fd = -1;
	return false;
}

void listener_remove_file(const struct listener *listener)
{
	const struct sockaddr_un *local = (const struct sockaddr_un *)&listener->address.at;
	struct stat status;
	if (listener->address.at.ss_family == AF_UNIX && lstat(local->sun_path, &status) == 0 &&
	    status.st_dev == listener->device && status.st_ino == listener->inode)
		(void)unlink(local->sun_path);
}

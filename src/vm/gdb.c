/* SPDX-License-Identifier: MIT */
/* The socket and the framing of packets: $DATA#SUM, acknowledged by + or -, and ^C by itself. */
#include "vm/gdb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/report.h"
#include "vm/gdb-impl.h"

#define INTERRUPT 3 /* ^C */

static void connection_ready(void *opaque, int fd, uint32_t events);

static void connection_close(struct gdb *gdb)
{
	if (gdb->fd < 0)
		return;
	machine_unwatch(gdb->machine, gdb->fd);
	close(gdb->fd);
	gdb->fd = -1;
	gdb->in_used = gdb->out_used = gdb->out_sent = 0;
	gdb->no_ack = gdb->closing = gdb->waiting = false;
	gdb_let_go(gdb);
}

static void connection_watch(struct gdb *gdb, uint32_t events)
{
	if (gdb->fd < 0 || gdb->events == events)
		return;
	if (gdb->events != 0)
		machine_unwatch(gdb->machine, gdb->fd);
	gdb->events = events;
	if (!machine_watch(gdb->machine, gdb->fd, events, connection_ready, gdb, NULL))
		connection_close(gdb);
}

/* Sends what the socket takes; while some is left nothing is read. False: the connection is gone. */
static bool connection_flush(struct gdb *gdb)
{
	while (gdb->out_sent < gdb->out_used) {
		ssize_t sent =
		    send(gdb->fd, gdb->out + gdb->out_sent, gdb->out_used - gdb->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK;
		gdb->out_sent += (size_t)sent;
	}
	gdb->out_used = gdb->out_sent = 0;
	return !gdb->closing;
}

static void put(struct gdb *gdb, const char *bytes, size_t size)
{
	if (size > sizeof gdb->out - gdb->out_used) {
		gdb->closing = true; /* it asks without listening */
		return;
	}
	memcpy(gdb->out + gdb->out_used, bytes, size);
	gdb->out_used += size;
}

void gdb_reply(struct gdb *gdb, const char *text, size_t size)
{
	uint8_t sum = 0;
	char tail[4];
	if (gdb->fd < 0)
		return;
	put(gdb, "$", 1);
	for (size_t i = 0; i < size; i++) {
		bool escaped = text[i] == '#' || text[i] == '$' || text[i] == '}' || text[i] == '*';
		const char pair[2] = {'}', (char)(text[i] ^ 0x20)};
		put(gdb, escaped ? pair : &text[i], escaped ? 2 : 1);
		sum = (uint8_t)(sum + (escaped ? (uint8_t)pair[0] + (uint8_t)pair[1] : (uint8_t)text[i]));
	}
	(void)snprintf(tail, sizeof tail, "#%02x", sum);
	put(gdb, tail, 3);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* Takes the escapes out, in place. Returns the length. */
static size_t unescape(char *data, size_t size)
{
	size_t used = 0;
	for (size_t i = 0; i < size; i++) {
		bool escaped = data[i] == '}' && i + 1 < size;
		i += escaped;
		data[used++] = escaped ? (char)(data[i] ^ 0x20) : data[i];
	}
	data[used] = '\0';
	return used;
}

static void take_packet(struct gdb *gdb, char *data, size_t size, const char *sum_text)
{
	uint8_t sum = 0;
	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + (uint8_t)data[i]);
	int high = hex_digit(sum_text[0]), low = hex_digit(sum_text[1]);
	bool good = high >= 0 && low >= 0 && sum == high * 16 + low;
	if (!gdb->no_ack)
		put(gdb, good ? "+" : "-", 1);
	if (!good)
		return;
	gdb_command(gdb, data, unescape(data, size));
}

/* One thing from the front of what came in. Returns the bytes it took, 0: it has not all come yet. */
static size_t take_front(struct gdb *gdb, char *in, size_t used)
{
	if (in[0] == INTERRUPT) {
		gdb->interrupted = true;
		machine_pause(gdb->machine);
		gdb_tell_stop(gdb);
		return 1;
	}
	if (in[0] != '$')
		return 1; /* an acknowledgement, or noise */
	char *end = memchr(in, '#', used);
	if (end == NULL || (size_t)(end - in) + 3 > used)
		return 0;
	size_t size = (size_t)(end - in) - 1;
	if (size <= GDB_PACKET_MAX)
		take_packet(gdb, in + 1, size, end + 1);
	return size + 4;
}

static void take_input(struct gdb *gdb)
{
	size_t done = 0;
	while (gdb->fd >= 0 && done < gdb->in_used && gdb->out_used == 0) {
		size_t taken = take_front(gdb, gdb->in + done, gdb->in_used - done);
		done += taken;
		if (taken == 0)
			break;
		if (!connection_flush(gdb)) {
			connection_close(gdb);
			return;
		}
	}
	if (done == 0 && gdb->in_used == sizeof gdb->in)
		done = gdb->in_used; /* a packet that does not end */
	memmove(gdb->in, gdb->in + done, gdb->in_used - done);
	gdb->in_used -= done;
}

static void connection_ready(void *opaque, int fd, uint32_t events)
{
	struct gdb *gdb = opaque;
	if (!connection_flush(gdb)) {
		connection_close(gdb);
		return;
	}
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && gdb->out_used == 0 && gdb->in_used < sizeof gdb->in) {
		ssize_t got = recv(fd, gdb->in + gdb->in_used, sizeof gdb->in - gdb->in_used, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
			connection_close(gdb);
			return;
		}
		gdb->in_used += got > 0 ? (size_t)got : 0;
	}
	take_input(gdb);
	connection_watch(gdb, gdb->out_used != 0 ? EPOLLOUT : EPOLLIN);
}

/* gdb expects that the guest stands still when it comes. */
static void listener_ready(void *opaque, int fd, uint32_t events)
{
	struct gdb *gdb = opaque;
	int on = 1;
	(void)events;
	int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (accepted < 0)
		return;
	if (gdb->fd >= 0) { /* one at a time */
		close(accepted);
		return;
	}
	(void)setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* refused by a Unix socket */
	gdb->fd = accepted;
	gdb->events = 0;
	gdb->thread = gdb->current = 0;
	machine_pause(gdb->machine);
	if (machine_state(gdb->machine) == MACHINE_PAUSED)
		machine_set_debugger(gdb->machine, &gdb->points);
	connection_watch(gdb, EPOLLIN);
}

static void guest_stopped(void *opaque)
{
	struct gdb *gdb = opaque;
	gdb_tell_stop(gdb);
	if (gdb->fd >= 0 && !connection_flush(gdb))
		connection_close(gdb);
	connection_watch(gdb, gdb->out_used != 0 ? EPOLLOUT : EPOLLIN);
}

static bool listen_unix(struct gdb *gdb, const struct guest_gdb *options, struct error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (options->path_length >= sizeof address.sun_path)
		return error_set(error, ERROR_INPUT, "--gdb: the path of the socket is too long");
	memcpy(address.sun_path, options->path, options->path_length);
	gdb->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t before = umask(0177);
	bool bound = gdb->listener >= 0 && bind(gdb->listener, (struct sockaddr *)&address, sizeof address) == 0;
	(void)umask(before);
	if (!bound)
		return error_set(error, ERROR_INPUT, "--gdb: cannot make the socket '%s': %s", address.sun_path,
				 strerror(errno));
	memcpy(gdb->path, address.sun_path, sizeof gdb->path);
	return true;
}

static bool listen_tcp(struct gdb *gdb, const struct guest_gdb *options, struct error *error)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options->port)};
	int on = 1;
	address.sin_addr.s_addr = htonl(options->address);
	gdb->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (gdb->listener >= 0)
		(void)setsockopt(gdb->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (gdb->listener < 0 || bind(gdb->listener, (struct sockaddr *)&address, sizeof address) != 0)
		return error_set(error, ERROR_INPUT, "--gdb: cannot listen on port %u: %s", options->port,
				 strerror(errno));
	return true;
}

/* After the reset, so that its state is there to be seen, and before the first instruction. */
static void stop_at_start(struct gdb *gdb)
{
	machine_set_debugger(gdb->machine, &gdb->points);
	for (unsigned i = 0; i < machine_cpu_count(gdb->machine); i++)
		machine_cpu(gdb->machine, i)->debug.stop = DEBUGGER_STEPPED;
}

struct gdb *gdb_create(const struct guest_gdb *options, struct machine *machine, struct error *error)
{
	struct gdb *gdb = calloc(1, sizeof *gdb);
	if (gdb == NULL) {
		error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	gdb->machine = machine;
	gdb->registers = gdb_registers_of(options->i386);
	gdb->listener = gdb->fd = -1;
	bool good = options->path_length > 0 ? listen_unix(gdb, options, error) : listen_tcp(gdb, options, error);
	if (good && listen(gdb->listener, 1) != 0)
		good = error_set_errno(error, "--gdb: cannot listen");
	if (!good || !machine_watch(machine, gdb->listener, EPOLLIN, listener_ready, gdb, error)) {
		gdb_destroy(gdb);
		return NULL;
	}
	machine_on_debug(machine, guest_stopped, gdb);
	if (options->wait)
		stop_at_start(gdb);
	return gdb;
}

void gdb_destroy(struct gdb *gdb)
{
	if (gdb == NULL)
		return;
	machine_on_debug(gdb->machine, NULL, NULL);
	if (gdb->fd >= 0) {
		gdb_reply(gdb, "W00", 3); /* the guest has ended */
		(void)connection_flush(gdb);
		machine_unwatch(gdb->machine, gdb->fd);
		close(gdb->fd);
	}
	if (gdb->listener >= 0) {
		machine_unwatch(gdb->machine, gdb->listener);
		close(gdb->listener);
	}
	if (gdb->path[0] != '\0')
		(void)unlink(gdb->path);
	free(gdb);
}

/* SPDX-License-Identifier: MIT */
/*
 * A learning switch between the guests of one user on one host, without anybody who runs it.
 *
 * Theory of operation. A switch is a folder. Each adapter on it, a port, has a datagram socket there, named by a random
 * number, and a socket connected to each other port's. It sends frames directly to whom they are for: to the port
 * from which the address was last seen, or to all. So each port does the switch's learning for itself, and a frame is
 * copied once, by Linux, from one guest's process to the other's.
 *
 * A port that joins binds its socket first and then says hello to all that it finds in the folder; who hears of a
 * number it does not know connects to it. Of two that join at once, one finds the other. A hello that is lost does no
 * harm: the first frame is as good.
 *
 * Ports may die at any time. Sending to a dead one fails with ECONNREFUSED: whoever notices forgets it and removes its
 * file. Numbers are not used again, so nobody else's file is meant.
 *
 * Back-pressure. A port that does not read fast enough fills its socket: then the sender's adapter waits, up to
 * PATIENCE. After that the port is slow, and frames to it are dropped while its socket is full.
 *
 * What comes from other ports is checked as the guests' own frames are: they are processes of the same user, but guests
 * may have taken them over.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/network-impl.h"

#define PORTS_MAX 64u
#define ADDRESSES 256u	  /* a hash table, without chains */
#define MAGIC 0x7773666eu /* "nfsw" */
#define VERSION 1u
#define PATIENCE_NS 50000000
#define BATCH 64u /* datagrams read before others get the device lock */
#define SEND_BUFFER (1 << 20)
#define NAME_DIGITS 16

enum message_kind { MESSAGE_HELLO = 1, MESSAGE_FRAME = 2 };

/* In front of each datagram; of one host, so in its byte order. */
struct message {
	uint32_t magic;
	uint8_t version, kind;
	uint8_t segment, checksum, trusted, reserved[3];
	uint16_t size, start, offset, zero;
	uint64_t sender;
};

struct port {
	uint64_t number; /* 0: free */
	int fd;
	bool watched; /* for room */
	bool slow;
};

struct address {
	uint8_t mac[NETWORK_MAC_SIZE];
	uint64_t port; /* 0: none */
};

struct switch_network {
	struct network base;
	struct network_host host;
	struct sockaddr_un own; /* our socket's path; the folder is its first `folder_length` bytes */
	size_t folder_length;
	uint64_t number;
	int fd, timer;
	bool bound, watched, timer_watched;
	bool reading; /* guards against a front that asks for more while it is served */
	bool pending; /* the datagram in `buffer` was refused */
	size_t pending_length;
	struct port port[PORTS_MAX];
	struct address address[ADDRESSES];
	uint8_t buffer[sizeof(struct message) + NETWORK_FRAME_MAX];
};

static struct switch_network *switch_of(struct network *network)
{
	return (struct switch_network *)network;
}

/* ---- ports ---- */

static void port_path(const struct switch_network *net, uint64_t number, struct sockaddr_un *path)
{
	*path = net->own;
	(void)snprintf(path->sun_path + net->folder_length, sizeof path->sun_path - net->folder_length, "%016llx",
		       (unsigned long long)number);
}

static struct port *port_find(struct switch_network *net, uint64_t number)
{
	for (unsigned i = 0; i < PORTS_MAX; i++)
		if (net->port[i].number == number)
			return &net->port[i];
	return NULL;
}

static void port_unwatch(const struct switch_network *net, struct port *port)
{
	if (port->watched)
		net->host.unwatch(net->host.opaque, port->fd);
	port->watched = false;
}

static void port_drop(struct switch_network *net, struct port *port)
{
	struct sockaddr_un path;
	port_unwatch(net, port);
	(void)close(port->fd);
	port_path(net, port->number, &path);
	(void)unlink(path.sun_path);
	for (unsigned i = 0; i < ADDRESSES; i++)
		if (net->address[i].port == port->number)
			net->address[i].port = 0;
	*port = (struct port){0};
}

/* syscall network-switch: socket[0=AF_UNIX][1&SOCKET_TYPE=SOCK_DGRAM], connect -- ports that come later. The control
 * sockets of other guests are streams, and cannot be connected to */
/* NULL: it is dead, or there is no room for one more. */
static struct port *port_add(struct switch_network *net, uint64_t number)
{
	struct sockaddr_un path;
	struct port *port = port_find(net, 0);
	int size = SEND_BUFFER;
	if (port == NULL || number == 0 || number == net->number)
		return NULL;
	port_path(net, number, &path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return NULL;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	if (connect(fd, (const struct sockaddr *)&path, sizeof path) != 0) {
		int why = errno;
		(void)close(fd);
		if (why == ECONNREFUSED)
			(void)unlink(path.sun_path);
		return NULL;
	}
	*port = (struct port){.number = number, .fd = fd};
	return port;
}

enum sent { SENT, SENT_NO_ROOM, SENT_NOWHERE };

static enum sent port_send(struct switch_network *net, struct port *port, enum message_kind kind,
			   const struct network_frame *frame)
{
	struct message message = {.magic = MAGIC,
				  .version = VERSION,
				  .kind = (uint8_t)kind,
				  .segment = frame->offload.segment,
				  .checksum = frame->offload.checksum,
				  .trusted = frame->offload.trusted,
				  .size = frame->offload.size,
				  .start = frame->offload.start,
				  .offset = frame->offload.offset,
				  .sender = net->number};
	struct iovec parts[2] = {{.iov_base = &message, .iov_len = sizeof message},
				 {.iov_base = (void *)(uintptr_t)frame->bytes, .iov_len = frame->length}};
	const struct msghdr header = {.msg_iov = parts, .msg_iovlen = frame->length != 0 ? 2 : 1};
	if (sendmsg(port->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
		port->slow = false;
		return SENT;
	}
	if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == EINTR)
		return SENT_NO_ROOM;
	port_drop(net, port);
	return SENT_NOWHERE;
}

static void say_hello(struct switch_network *net, uint64_t number)
{
	static const struct network_frame nothing;
	struct port *port = port_add(net, number);
	if (port != NULL)
		(void)port_send(net, port, MESSAGE_HELLO, &nothing);
}

/* ---- addresses ---- */

static struct address *address_slot(struct switch_network *net, const uint8_t *mac)
{
	uint32_t hash = 0;
	for (unsigned i = 0; i < NETWORK_MAC_SIZE; i++)
		hash = hash * 31 + mac[i];
	return &net->address[(hash ^ hash >> 8) % ADDRESSES];
}

static void address_learn(struct switch_network *net, const uint8_t *mac, uint64_t port)
{
	struct address *slot = address_slot(net, mac);
	if ((mac[0] & 1) != 0)
		return;
	memcpy(slot->mac, mac, sizeof slot->mac);
	slot->port = port;
}

static struct port *address_find(struct switch_network *net, const uint8_t *mac)
{
	const struct address *slot = address_slot(net, mac);
	bool known = slot->port != 0 && memcmp(slot->mac, mac, sizeof slot->mac) == 0;
	return known ? port_find(net, slot->port) : NULL;
}

/* ---- sending ---- */

/* Who waited offers its frame again: to a port with room, or to one that is slow. */
static void stop_waiting(struct switch_network *net)
{
	static const struct itimerspec never;
	for (unsigned i = 0; i < PORTS_MAX; i++)
		port_unwatch(net, &net->port[i]);
	(void)timerfd_settime(net->timer, 0, &never, NULL);
	if (net->base.front.send_ready != NULL)
		net->base.front.send_ready(net->base.front.opaque);
}

static void port_has_room(void *opaque, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	stop_waiting(opaque);
}

static void patience_ended(void *opaque, int fd, uint32_t events)
{
	struct switch_network *net = opaque;
	uint64_t count;
	(void)events;
	ssize_t got = read(fd, &count, sizeof count);
	(void)got; /* set anew meanwhile: as good */
	for (unsigned i = 0; i < PORTS_MAX; i++)
		net->port[i].slow |= net->port[i].watched;
	stop_waiting(net);
}

/* False: nobody would wake us. */
static bool wait_for_room(struct switch_network *net, struct port *port)
{
	static const struct itimerspec soon = {.it_value.tv_nsec = PATIENCE_NS};
	if (!port->watched)
		port->watched = net->host.watch(net->host.opaque, port->fd, EPOLLOUT, port_has_room, net);
	return port->watched && timerfd_settime(net->timer, 0, &soon, NULL) == 0;
}

static void flood(struct switch_network *net, const struct network_frame *frame)
{
	for (unsigned i = 0; i < PORTS_MAX; i++)
		if (net->port[i].number != 0 && port_send(net, &net->port[i], MESSAGE_FRAME, frame) == SENT_NO_ROOM)
			network_count_drop(&net->base, false);
}

static bool switch_send(struct network *network, const struct network_frame *frame)
{
	struct switch_network *net = switch_of(network);
	struct port *port = (frame->bytes[0] & 1) != 0 ? NULL : address_find(net, frame->bytes);
	if (port == NULL) {
		flood(net, frame);
		return true;
	}
	if (port_send(net, port, MESSAGE_FRAME, frame) != SENT_NO_ROOM)
		return true;
	if (!port->slow && wait_for_room(net, port))
		return false;
	network_count_drop(network, false);
	return true;
}

/* ---- receiving ---- */

/* A datagram in `buffer`. False: the adapter has no room. */
static bool take_message(struct switch_network *net, size_t length)
{
	struct message message;
	if (length < sizeof message)
		return true;
	memcpy(&message, net->buffer, sizeof message);
	if (message.magic != MAGIC || message.version != VERSION || message.sender == net->number ||
	    message.sender == 0)
		return true;
	if (port_find(net, message.sender) == NULL)
		(void)port_add(net, message.sender);
	const struct network_frame frame = {.bytes = net->buffer + sizeof message,
					    .length = (uint32_t)(length - sizeof message),
					    .offload = {.segment = message.segment,
							.checksum = message.checksum != 0,
							.trusted = message.trusted != 0,
							.size = message.size,
							.start = message.start,
							.offset = message.offset}};
	if (message.kind != MESSAGE_FRAME || frame.length < NETWORK_HEADER_SIZE)
		return true;
	address_learn(net, &frame.bytes[NETWORK_MAC_SIZE], message.sender);
	return network_deliver(&net->base, &frame);
}

static void switch_is_readable(void *opaque, int fd, uint32_t events);

static void rewatch(struct switch_network *net)
{
	bool wanted = !net->pending;
	if (net->watched && !wanted)
		net->host.unwatch(net->host.opaque, net->fd);
	if (!net->watched && wanted)
		wanted = net->host.watch(net->host.opaque, net->fd, EPOLLIN, switch_is_readable, net);
	net->watched = wanted;
}

static void switch_read(struct switch_network *net)
{
	if (net->reading)
		return;
	net->reading = true;
	if (net->pending)
		net->pending = !take_message(net, net->pending_length);
	for (unsigned i = 0; i < BATCH && !net->pending; i++) {
		ssize_t got = recv(net->fd, net->buffer, sizeof net->buffer, MSG_DONTWAIT | MSG_TRUNC);
		if (got < 0)
			break;
		if ((size_t)got <= sizeof net->buffer)
			net->pending = !take_message(net, (size_t)got);
		net->pending_length = (size_t)got;
	}
	rewatch(net);
	net->reading = false;
}

static void switch_is_readable(void *opaque, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	switch_read(opaque);
}

static void switch_receive_ready(struct network *network)
{
	struct switch_network *net = switch_of(network);
	if (net->pending)
		switch_read(net);
}

/* ---- life ---- */

static void switch_close(struct network *network)
{
	struct switch_network *net = switch_of(network);
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		port_unwatch(net, &net->port[i]);
		if (net->port[i].number != 0)
			(void)close(net->port[i].fd);
	}
	if (net->watched)
		net->host.unwatch(net->host.opaque, net->fd);
	if (net->timer_watched)
		net->host.unwatch(net->host.opaque, net->timer);
	if (net->timer >= 0)
		(void)close(net->timer);
	if (net->bound)
		(void)unlink(net->own.sun_path);
	if (net->fd >= 0)
		(void)close(net->fd);
	network_release(network);
	free(net);
}

static const struct network_ops switch_ops = {
    .send = switch_send, .receive_ready = switch_receive_ready, .close = switch_close};

static bool set_path(struct switch_network *net, const char *folder, struct error *error)
{
	char *path = net->own.sun_path;
	net->own.sun_family = AF_UNIX;
	int length = snprintf(path, sizeof net->own.sun_path, "%s/", folder);
	if (length < 0 || (size_t)length + NAME_DIGITS >= sizeof net->own.sun_path)
		return error_set(error, ERROR_INPUT,
				 "the folder of the switch, %.200s, has too long a path: give the "
				 "switch a shorter name",
				 folder);
	net->folder_length = (size_t)length;
	while (net->number == 0)
		if (getrandom(&net->number, sizeof net->number, 0) != (ssize_t)sizeof net->number)
			return error_set_errno(error, "cannot get a random number");
	port_path(net, net->number, &net->own);
	return true;
}

static bool open_socket(struct switch_network *net, struct error *error)
{
	net->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	net->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (net->fd < 0 || net->timer < 0)
		return error_set_errno(error, "cannot create a socket for the switch");
	(void)fchmod(net->fd, 0600); /* the mode that the file will have */
	if (bind(net->fd, (const struct sockaddr *)&net->own, sizeof net->own) != 0)
		return error_set_errno(error, "cannot join the switch at %s", net->own.sun_path);
	net->bound = true;
	net->timer_watched = net->host.watch(net->host.opaque, net->timer, EPOLLIN, patience_ended, net);
	rewatch(net);
	return (net->watched && net->timer_watched) ||
	       error_set(error, ERROR_HOST, "cannot wait for frames of the switch");
}

/* Everyone in the folder. Files that are no port's are left alone. */
static bool greet(struct switch_network *net, const char *folder, struct error *error)
{
	DIR *entries = opendir(folder);
	if (entries == NULL)
		return error_set_errno(error, "cannot read the folder of the switch, %s", folder);
	for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
		char *end;
		unsigned long long number = strtoull(entry->d_name, &end, 16);
		if (*end == '\0' && end - entry->d_name == NAME_DIGITS && port_find(net, number) == NULL)
			say_hello(net, number);
	}
	(void)closedir(entries);
	return true;
}

struct network *network_open_switch(const char *directory, const struct network_host *host, struct error *error)
{
	struct switch_network *net = calloc(1, sizeof *net);
	if (net == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for a network");
		return NULL;
	}
	network_init(&net->base, &switch_ops, NETWORK_TAKES_CHECKSUM | NETWORK_TAKES_TCP4 | NETWORK_TAKES_TCP6,
		     NETWORK_MTU);
	net->host = *host;
	net->fd = net->timer = -1;
	if (set_path(net, directory, error) && open_socket(net, error) && greet(net, directory, error))
		return &net->base;
	switch_close(&net->base);
	return NULL;
}

/* SPDX-License-Identifier: MIT */
#include "control/server.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 16

struct client {
	struct server *server;
	int fd; /* -1: the place is free */
	uint64_t last_heard;
	uint32_t events;  /* watched for */
	bool closing;	  /* after the last answer is out */
	uint64_t ticket;  /* of the request that is answered later */
	json_t *later_id; /* and its id; NULL: there is none */
	size_t in_used;
	char *out; /* answers the client has not taken, or NULL */
	size_t out_size, out_sent;
	int out_fd; /* goes with the first byte of out; -1: none */
	char in[SERVER_REQUEST_MAX];
};

struct server {
	int fd;
	bool started;
	struct server_loop loop;
	struct server_service service;
	uint64_t heard; /* counts messages: the clients' clock */
	uint64_t tickets;
	struct client client[SERVER_CLIENTS_MAX];
};

static void client_ready(void *opaque, int fd, uint32_t events);

static bool server_watch(struct server *server, int fd, uint32_t events, server_ready_function *function, void *with,
			 struct error *error)
{
	return server->loop.watch(server->loop.opaque, fd, events, function, with, error);
}

static void server_unwatch(struct server *server, int fd)
{
	server->loop.unwatch(server->loop.opaque, fd);
}

static void client_drop_fd(struct client *client)
{
	if (client->out_fd >= 0)
		close(client->out_fd);
	client->out_fd = -1;
}

static void client_close(struct client *client)
{
	if (client->fd < 0)
		return;
	server_unwatch(client->server, client->fd);
	close(client->fd);
	free(client->out);
	client_drop_fd(client);
	json_decref(client->later_id);
	client->later_id = NULL;
	client->fd = -1;
	client->out = NULL;
	client->out_size = client->out_sent = client->in_used = 0;
	client->closing = false;
}

/* Watches for what the client can do next. Closes it if the loop refuses. */
static void client_watch(struct client *client, uint32_t events)
{
	if (client->events == events)
		return;
	if (client->events != 0)
		server_unwatch(client->server, client->fd);
	client->events = events;
	if (!server_watch(client->server, client->fd, events, client_ready, client, NULL))
		client_close(client);
}

/* One send; the descriptor, if there is one, goes with its first byte. */
static ssize_t client_send(struct client *client)
{
	struct iovec text = {client->out + client->out_sent, client->out_size - client->out_sent};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};
	if (client->out_fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof control;
		control.header = (struct cmsghdr){
		    .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(&control.header), &client->out_fd, sizeof(int));
	}
	ssize_t sent = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent > 0)
		client_drop_fd(client);
	return sent;
}

/* Sends what the socket takes. Returns false when the client is gone. */
static bool client_flush(struct client *client)
{
	while (client->out_sent < client->out_size) {
		ssize_t sent = client_send(client);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN;
		client->out_sent += (size_t)sent;
	}
	free(client->out);
	client->out = NULL;
	client->out_size = client->out_sent = 0;
	return !client->closing;
}

/* Answers one line. Takes over `answer`, an allocated text or NULL. */
static bool client_answer(struct client *client, char *answer)
{
	if (answer == NULL) {
		client_drop_fd(client);
		return true;
	}
	client->out = answer;
	client->out_size = strlen(answer);
	client->out_sent = 0;
	answer[client->out_size++] = '\n'; /* in the place of the terminating zero */
	return client_flush(client);
}

static size_t client_line_length(const struct client *client)
{
	const char *end = memchr(client->in, '\n', client->in_used);
	return end != NULL ? (size_t)(end - client->in) + 1 : 0;
}

/* Whether the socket holds bytes that the client has not read. */
static bool client_is_behind(const struct client *client)
{
	int bytes = 0;
	return ioctl(client->fd, SIOCOUTQ, &bytes) != 0 || bytes > 0;
}

/* Serves the first line in the buffer if it is complete. Returns false when the client is gone. */
static bool client_serve(struct client *client)
{
	size_t length = client_line_length(client);
	if (length > 0) {
		const struct server_service *service = &client->server->service;
		*service->answers_unread = client_is_behind(client);
		if (service->later != NULL)
			service->later->ticket = client->ticket = ++client->server->tickets;
		char *answer = rpc_answer(service->methods, service->context, service->later, client->in, length - 1);
		client->later_id = service->later != NULL ? service->later->id : NULL;
		client->out_fd = *service->answer_fd;
		*service->answer_fd = -1;
		client->last_heard = ++client->server->heard;
		client->in_used -= length;
		memmove(client->in, client->in + length, client->in_used);
		return client_answer(client, answer);
	}
	if (client->in_used < sizeof client->in)
		return true;
	client->closing = true;
	return client_answer(client, rpc_too_long(SERVER_REQUEST_MAX));
}

static bool client_read(struct client *client)
{
	ssize_t got = recv(client->fd, client->in + client->in_used, sizeof client->in - client->in_used, MSG_DONTWAIT);
	if (got == 0)
		return false;
	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	client->in_used += (size_t)got;
	return true;
}

/* What the client is watched for: while it waits for a late answer, only for its end. */
static void client_go_on(struct client *client, bool good)
{
	if (!good)
		client_close(client);
	else if (client->later_id != NULL)
		client_watch(client, EPOLLHUP);
	else
		client_watch(client, client->out != NULL || client_line_length(client) > 0 ? EPOLLOUT : EPOLLIN);
}

static void client_ready(void *opaque, int fd, uint32_t events)
{
	struct client *client = opaque;
	bool good = true;
	if (client->fd != fd)
		return;
	if (client->later_id != NULL)
		good = (events & (EPOLLERR | EPOLLHUP)) == 0;
	else if (client->out != NULL)
		good = client_flush(client);
	else if (client_line_length(client) == 0)
		good = (events & EPOLLIN) != 0 ? client_read(client) : (events & (EPOLLERR | EPOLLHUP)) == 0;
	if (good && client->out == NULL && client->later_id == NULL)
		good = client_serve(client);
	client_go_on(client, good);
}

void server_answer_later(struct server *server, uint64_t ticket, json_t *result, const struct method_error *error)
{
	for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++) {
		struct client *client = &server->client[i];
		if (client->fd < 0 || client->later_id == NULL || client->ticket != ticket)
			continue;
		char *answer = rpc_answer_late(client->later_id, result, error);
		json_decref(client->later_id);
		client->later_id = NULL;
		client_go_on(client, client_answer(client, answer));
		return;
	}
	json_decref(result);
}

/* The client that has been silent for longest, or NULL if there is none. */
static struct client *server_oldest(struct server *server)
{
	struct client *best = NULL;
	for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++) {
		struct client *client = &server->client[i];
		if (client->fd >= 0 && (best == NULL || client->last_heard < best->last_heard))
			best = client;
	}
	return best;
}

/* A free place, or that of the client that has been silent for longest. */
static struct client *server_place(struct server *server)
{
	for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++)
		if (server->client[i].fd < 0)
			return &server->client[i];
	struct client *oldest = server_oldest(server);
	client_close(oldest);
	return oldest;
}

/* The directory and the socket's mode already keep others out; root may look after everybody's guests. In a user
 * namespace of our own Linux gives root, as everybody but us, the number of nobody: credentials(7). */
static bool peer_is_allowed(const struct server *server, int fd)
{
	enum { OVERFLOW_USER = 65534 };
	struct ucred peer;
	socklen_t size = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0 || (server->service.own_users && peer.uid == OVERFLOW_USER));
}

/* syscall base: accept4, recvfrom, sendmsg, sendto, recvmsg, shutdown -- sockets that are there, and their clients */
/* syscall base: getsockopt, setsockopt, geteuid, ioctl[1=SIOCOUTQ] -- who a client is, and what it has read */
/* syscall base: poll, ppoll, epoll_wait, epoll_pwait, epoll_ctl, timerfd_settime -- the event loop */
static void server_ready(void *opaque, int listener, uint32_t events)
{
	struct server *server = opaque;
	(void)events;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		/* Out of descriptors: the next try has the oldest client's. */
		struct client *oldest = errno == EMFILE || errno == ENFILE ? server_oldest(server) : NULL;
		if (oldest != NULL)
			client_close(oldest);
		return;
	}
	if (!peer_is_allowed(server, fd)) {
		close(fd);
		return;
	}
	struct client *client = server_place(server);
	client->server = server;
	client->fd = fd;
	client->last_heard = ++server->heard;
	client->events = 0;
	client_watch(client, EPOLLIN);
}

static int listener_create(const struct sockaddr_un *address, struct error *error)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		error_set_errno(error, "cannot create the control socket");
		return -1;
	}
	/* The mode of a socket's file comes from the socket's own, less the umask. */
	if (fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)address, sizeof *address) != 0 ||
	    listen(fd, BACKLOG) != 0) {
		error_set_errno(error, "cannot open the control socket %s", address->sun_path);
		close(fd);
		return -1;
	}
	return fd;
}

struct server *server_create(const struct sockaddr_un *address, struct error *error)
{
	struct server *server = calloc(1, sizeof *server);
	if (server == NULL) {
		error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++)
		server->client[i].fd = server->client[i].out_fd = -1;
	server->fd = listener_create(address, error);
	if (server->fd < 0) {
		free(server);
		return NULL;
	}
	return server;
}

bool server_start(struct server *server, const struct server_loop *loop, const struct server_service *service,
		  struct error *error)
{
	server->loop = *loop;
	server->service = *service;
	server->started = server_watch(server, server->fd, EPOLLIN, server_ready, server, error);
	return server->started;
}

void server_destroy(struct server *server)
{
	if (server == NULL)
		return;
	if (server->started) {
		for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++)
			client_close(&server->client[i]);
		server_unwatch(server, server->fd);
	}
	close(server->fd);
	free(server);
}

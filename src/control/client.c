/* SPDX-License-Identifier: MIT */
#include "control/client.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX (4u << 20)
#define READ_SIZE 65536u

struct client {
	char name[NAME_LENGTH_MAX + 1];
	int fd;
	int passed; /* a descriptor that came along and was not asked for yet, or -1 */
	int timeout_ms;
	int64_t deadline_ms;
	char *text; /* what was received */
	size_t used, room;
};

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool is_host(const struct client *client)
{
	return strcmp(client->name, RUNTIME_HOST) == 0;
}

/* "guest 'web'", in one of two places. */
static const char *peer(const struct client *client, char text[static NAME_LENGTH_MAX + 16])
{
	if (is_host(client))
		return "the host";
	(void)snprintf(text, NAME_LENGTH_MAX + 16, "guest '%s'", client->name);
	return text;
}

static bool no_answer(const struct client *client, struct error *error)
{
	if (is_host(client))
		return error_set(error, ERROR_HOST, "the host does not answer");
	return error_set(error, ERROR_HOST, "guest '%s' does not answer: 'nfold kill %s' ends it", client->name,
			 client->name);
}

static bool client_wait(const struct client *client, short events, struct error *error)
{
	for (;;) {
		struct pollfd poll_fd = {.fd = client->fd, .events = events};
		int64_t left = client->deadline_ms - now_ms();
		if (left <= 0)
			return no_answer(client, error);
		int ready = poll(&poll_fd, 1, (int)left);
		if (ready > 0)
			return true;
		if (ready < 0 && errno != EINTR)
			return error_set_errno(error, "cannot wait for %s",
					       peer(client, (char[NAME_LENGTH_MAX + 16]){0}));
	}
}

/* ---- connecting ---- */

/* The socket may be in another user's hands only if the directory is: that was checked. Still, never talk to a
 * stranger. */
static bool peer_is_ours(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

static bool client_connect(struct client *client, const struct runtime *runtime, struct error *error)
{
	struct sockaddr_un address;
	if (runtime_owner(runtime, client->name) == 0 && is_host(client))
		return error_set(error, ERROR_INPUT, "no host runs: 'nfold host start' starts it");
	if (runtime_owner(runtime, client->name) == 0)
		return error_set(error, ERROR_INPUT, "no guest named '%s' runs: 'nfold list' shows those that do",
				 client->name);
	if (!runtime_socket_address(runtime, client->name, &address, error))
		return false;
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (client->fd < 0)
		return error_set_errno(error, "cannot create a socket");
	/* A full backlog says EAGAIN at once: a guest that accepts nobody does not answer. */
	while (connect(client->fd, (const struct sockaddr *)&address, sizeof address) != 0) {
		struct timespec pause = {.tv_nsec = 10000000};
		if (errno != EAGAIN && errno != ECONNREFUSED && errno != ENOENT)
			return error_set_errno(error, "cannot connect to %s",
					       peer(client, (char[NAME_LENGTH_MAX + 16]){0}));
		if (now_ms() >= client->deadline_ms)
			return no_answer(client, error);
		(void)nanosleep(&pause, NULL);
	}
	if (!peer_is_ours(client->fd))
		return error_set(error, ERROR_HOST, "%s belongs to another user", address.sun_path);
	return true;
}

struct client *client_open(const struct runtime *runtime, const char *name, int timeout_ms, struct error *error)
{
	if (strcmp(name, RUNTIME_HOST) != 0 && !name_check(name, error))
		return NULL;
	struct client *client = calloc(1, sizeof *client);
	if (client == NULL) {
		error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	(void)snprintf(client->name, sizeof client->name, "%s", name);
	client->fd = client->passed = -1;
	client->timeout_ms = timeout_ms;
	client->deadline_ms = now_ms() + timeout_ms;
	if (client_connect(client, runtime, error))
		return client;
	client_close(client);
	return NULL;
}

void client_close(struct client *client)
{
	if (client == NULL)
		return;
	if (client->fd >= 0)
		close(client->fd);
	if (client->passed >= 0)
		close(client->passed);
	free(client->text);
	free(client);
}

int client_fd(const struct client *client)
{
	return client->fd;
}

int client_take_fd(struct client *client)
{
	int fd = client->passed;
	client->passed = -1;
	return fd;
}

/* ---- sending ---- */

static bool send_text(const struct client *client, const char *text, size_t size, struct error *error)
{
	while (size > 0) {
		ssize_t sent = send(client->fd, text, size, MSG_NOSIGNAL);
		if (sent > 0) {
			text += sent;
			size -= (size_t)sent;
		} else if (errno == EAGAIN) {
			if (!client_wait(client, POLLOUT, error))
				return false;
		} else if (errno != EINTR) {
			return error_set_errno(error, "cannot send to %s",
					       peer(client, (char[NAME_LENGTH_MAX + 16]){0}));
		}
	}
	return true;
}

/* Takes over params. */
static bool send_request(const struct client *client, const char *method, json_t *params, struct error *error)
{
	json_t *request = json_pack("{s:s, s:i, s:s}", "jsonrpc", "2.0", "id", 1, "method", method);
	if (params != NULL)
		(void)json_object_set_new(request, "params", params);
	char *text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (text == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	bool good = send_text(client, text, strlen(text), error) && send_text(client, "\n", 1, error);
	free(text);
	return good;
}

bool client_send(struct client *client, const char *method, json_t *params, struct error *error)
{
	client->deadline_ms = now_ms() + client->timeout_ms;
	return send_request(client, method, params, error);
}

/* ---- receiving ---- */

static bool make_room(struct client *client)
{
	if (client->used < client->room)
		return true;
	size_t room = client->room * 2 + READ_SIZE;
	char *grown = client->used < ANSWER_MAX ? realloc(client->text, room) : NULL;
	if (grown == NULL)
		return false;
	client->text = grown;
	client->room = room;
	return true;
}

/* As recv(), and keeps a descriptor that comes along. */
static ssize_t receive_some(struct client *client)
{
	struct iovec bytes = {client->text + client->used, client->room - client->used};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {
	    .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t got = recvmsg(client->fd, &message, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(sizeof(int))) {
		if (client->passed >= 0)
			close(client->passed);
		memcpy(&client->passed, CMSG_DATA(header), sizeof(int));
	}
	return got;
}

static enum client_state broken(const struct client *client, struct error *error)
{
	error_set(error, ERROR_HOST, "%s ended the conversation without an answer",
		  peer(client, (char[NAME_LENGTH_MAX + 16]){0}));
	return CLIENT_BROKEN;
}

/* `text` is one line. */
static enum client_state read_answer(const struct client *client, const char *text, size_t size, json_t **result,
				     struct error *error)
{
	json_t *answer = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	const char *message = json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
	enum client_state state = CLIENT_ANSWERED;
	*result = json_incref(json_object_get(answer, "result"));
	if (*result == NULL && message != NULL) {
		if (is_host(client))
			error_set(error, ERROR_INPUT, "%s", message);
		else
			error_set(error, ERROR_INPUT, "guest '%s': %s", client->name, message);
		state = CLIENT_REFUSED;
	} else if (*result == NULL) {
		error_set(error, ERROR_HOST, "%s gave an answer that is not JSON-RPC 2.0",
			  peer(client, (char[NAME_LENGTH_MAX + 16]){0}));
		state = CLIENT_BROKEN;
	}
	json_decref(answer);
	return state;
}

enum client_state client_receive(struct client *client, json_t **result, struct error *error)
{
	*result = NULL;
	for (;;) {
		if (!make_room(client))
			return broken(client, error);
		ssize_t got = receive_some(client);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return CLIENT_WAITS;
		if (got <= 0)
			return broken(client, error);
		const char *end = memchr(client->text + client->used, '\n', (size_t)got);
		client->used += (size_t)got;
		if (end == NULL)
			continue;
		/* One call at a time: nothing comes behind an answer. */
		client->used = 0;
		return read_answer(client, client->text, (size_t)(end - client->text), result, error);
	}
}

/* ---- all at once ---- */

static json_t *call_on(struct client *client, const char *method, json_t *params, struct error *error)
{
	if (!send_request(client, method, params, error))
		return NULL;
	for (;;) {
		json_t *result;
		enum client_state state = client_receive(client, &result, error);
		if (state != CLIENT_WAITS)
			return result;
		if (!client_wait(client, POLLIN, error))
			return NULL;
	}
}

json_t *client_call_fd(const struct runtime *runtime, const char *name, const char *method, json_t *params,
		       int timeout_ms, int *fd, struct error *error)
{
	struct client *client = client_open(runtime, name, timeout_ms, error);
	*fd = -1;
	if (client == NULL) {
		json_decref(params);
		return NULL;
	}
	json_t *result = call_on(client, method, params, error);
	if (result != NULL)
		*fd = client_take_fd(client);
	client_close(client);
	return result;
}

json_t *client_call(const struct runtime *runtime, const char *name, const char *method, json_t *params, int timeout_ms,
		    struct error *error)
{
	int fd;
	json_t *result = client_call_fd(runtime, name, method, params, timeout_ms, &fd, error);
	if (fd >= 0)
		close(fd);
	return result;
}

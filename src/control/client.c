/* SPDX-License-Identifier: MIT */
#include "control/client.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX (4u << 20)

struct call {
	const char *name;
	int fd;
	int64_t deadline_ms;
	struct error *error;
};

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool no_answer(const struct call *call)
{
	return error_set(call->error, ERROR_HOST, "guest '%s' does not answer: 'nfold kill %s' ends it", call->name,
			 call->name);
}

static bool call_wait(const struct call *call, short events)
{
	for (;;) {
		struct pollfd poll_fd = {.fd = call->fd, .events = events};
		int64_t left = call->deadline_ms - now_ms();
		if (left <= 0)
			return no_answer(call);
		int ready = poll(&poll_fd, 1, (int)left);
		if (ready > 0)
			return true;
		if (ready < 0 && errno != EINTR)
			return error_set_errno(call->error, "cannot wait for guest '%s'", call->name);
	}
}

/* The socket may be in another user's hands only if the directory is: that was checked. Still, never talk to a
 * stranger. */
static bool peer_is_ours(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

static bool call_connect(struct call *call, const struct runtime *runtime)
{
	struct sockaddr_un address;
	if (runtime_owner(runtime, call->name) == 0)
		return error_set(call->error, ERROR_INPUT, "no guest named '%s' runs: 'nfold list' shows those that do",
				 call->name);
	if (!runtime_socket_address(runtime, call->name, &address, call->error))
		return false;
	call->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (call->fd < 0)
		return error_set_errno(call->error, "cannot create a socket");
	/* A full backlog says EAGAIN at once: a guest that accepts nobody does not answer. */
	while (connect(call->fd, (const struct sockaddr *)&address, sizeof address) != 0) {
		struct timespec pause = {.tv_nsec = 10000000};
		if (errno != EAGAIN && errno != ECONNREFUSED && errno != ENOENT)
			return error_set_errno(call->error, "cannot connect to guest '%s'", call->name);
		if (now_ms() >= call->deadline_ms)
			return no_answer(call);
		(void)nanosleep(&pause, NULL);
	}
	if (!peer_is_ours(call->fd))
		return error_set(call->error, ERROR_HOST, "%s belongs to another user", address.sun_path);
	return true;
}

static bool call_send(const struct call *call, const char *text, size_t size)
{
	while (size > 0) {
		ssize_t sent = send(call->fd, text, size, MSG_NOSIGNAL);
		if (sent > 0) {
			text += sent;
			size -= (size_t)sent;
		} else if (errno == EAGAIN) {
			if (!call_wait(call, POLLOUT))
				return false;
		} else if (errno != EINTR) {
			return error_set_errno(call->error, "cannot send to guest '%s'", call->name);
		}
	}
	return true;
}

/* Reads up to the newline. Returns an allocated string without it, or NULL. */
static char *call_receive(const struct call *call)
{
	char *text = NULL;
	size_t used = 0, room = 0;
	while (used < ANSWER_MAX) {
		if (used == room) {
			room = room * 2 + 4096;
			char *grown = realloc(text, room + 1);
			if (grown == NULL)
				break;
			text = grown;
		}
		ssize_t got = recv(call->fd, text + used, room - used, 0);
		if (got > 0) {
			char *end = memchr(text + used, '\n', (size_t)got);
			used += (size_t)got;
			if (end != NULL) {
				*end = '\0';
				return text;
			}
		} else if (got < 0 && errno == EAGAIN) {
			if (!call_wait(call, POLLIN))
				goto fail;
		} else if (got == 0 || errno != EINTR) {
			break;
		}
	}
	error_set(call->error, ERROR_HOST, "guest '%s' ended the conversation without an answer", call->name);
fail:
	free(text);
	return NULL;
}

static json_t *answer_result(const struct call *call, const char *text)
{
	json_t *answer = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	json_t *result = json_incref(json_object_get(answer, "result"));
	const char *message = json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
	if (result == NULL && message != NULL)
		error_set(call->error, ERROR_INPUT, "guest '%s': %s", call->name, message);
	else if (result == NULL)
		error_set(call->error, ERROR_HOST, "guest '%s' gave an answer that is not JSON-RPC 2.0", call->name);
	json_decref(answer);
	return result;
}

static json_t *call_run(struct call *call, const struct runtime *runtime, const char *request)
{
	if (!call_connect(call, runtime) || !call_send(call, request, strlen(request)) || !call_send(call, "\n", 1))
		return NULL;
	char *text = call_receive(call);
	json_t *result = text != NULL ? answer_result(call, text) : NULL;
	free(text);
	return result;
}

json_t *client_call(const struct runtime *runtime, const char *name, const char *method, json_t *params, int timeout_ms,
		    struct error *error)
{
	struct call call = {.name = name, .fd = -1, .deadline_ms = now_ms() + timeout_ms, .error = error};
	if (!name_check(name, error)) {
		json_decref(params);
		return NULL;
	}
	json_t *request = json_pack("{s:s, s:i, s:s}", "jsonrpc", "2.0", "id", 1, "method", method);
	if (params != NULL)
		(void)json_object_set_new(request, "params", params);
	char *text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (text == NULL) {
		error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	json_t *result = call_run(&call, runtime, text);
	free(text);
	if (call.fd >= 0)
		close(call.fd);
	return result;
}

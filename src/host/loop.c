/* SPDX-License-Identifier: MIT */
#include "host/loop.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

int64_t host_now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool host_loop_open(struct host_loop *loop, struct error *error)
{
	*loop = (struct host_loop){.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
	return loop->epoll_fd >= 0 || error_set_errno(error, "cannot create an event loop");
}

void host_loop_close(struct host_loop *loop)
{
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	free(loop->watch);
	*loop = (struct host_loop){.epoll_fd = -1};
}

static bool make_room(struct host_loop *loop, int fd)
{
	if ((unsigned)fd < loop->room)
		return true;
	unsigned room = (unsigned)fd * 2 + 64;
	struct host_loop_watch *grown = realloc(loop->watch, room * sizeof *grown);
	if (grown == NULL)
		return false;
	memset(grown + loop->room, 0, (room - loop->room) * sizeof *grown);
	loop->watch = grown;
	loop->room = room;
	return true;
}

bool host_loop_watch(struct host_loop *loop, int fd, uint32_t events, host_loop_function *function, void *opaque,
		     struct error *error)
{
	struct epoll_event event = {.events = events, .data.fd = fd};
	if (!make_room(loop, fd))
		return error_set(error, ERROR_HOST, "out of memory");
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		return error_set_errno(error, "cannot wait for a descriptor");
	loop->watch[fd] = (struct host_loop_watch){function, opaque};
	return true;
}

void host_loop_unwatch(struct host_loop *loop, int fd)
{
	if ((unsigned)fd >= loop->room || loop->watch[fd].function == NULL)
		return;
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	loop->watch[fd].function = NULL;
}

void host_loop_run_once(struct host_loop *loop, int timeout_ms)
{
	struct epoll_event event;
	if (epoll_wait(loop->epoll_fd, &event, 1, timeout_ms) != 1)
		return;
	const struct host_loop_watch watch = loop->watch[event.data.fd];
	if (watch.function != NULL)
		watch.function(watch.opaque, event.data.fd, event.events);
}

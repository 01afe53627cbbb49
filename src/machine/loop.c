/* SPDX-License-Identifier: MIT */
#include "machine/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 16
#define NANOSECONDS UINT64_C(1000000000)

static void drain(int fd)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof count);
	(void)got; /* nothing to read is as good */
}

static void wake_is_ready(void *opaque, int fd, uint32_t events)
{
	(void)opaque;
	(void)events;
	drain(fd);
}

bool loop_init(struct loop *loop, pthread_mutex_t *held, loop_function *on_timer, void *opaque, struct error *error)
{
	*loop = (struct loop){.mutex = PTHREAD_MUTEX_INITIALIZER};
	for (unsigned i = 0; i < LOOP_MAX_WATCHES; i++)
		loop->watch[i].fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epoll_fd < 0 || loop->timer_fd < 0 || loop->wake_fd < 0)
		(void)error_set_errno(error, "cannot create the event loop");
	else if (loop_watch(loop, loop->timer_fd, EPOLLIN, held, on_timer, opaque, error) &&
		 loop_watch(loop, loop->wake_fd, EPOLLIN, NULL, wake_is_ready, NULL, error))
		return true;
	loop_destroy(loop);
	return false;
}

void loop_destroy(struct loop *loop)
{
	const int fd[] = {loop->epoll_fd, loop->timer_fd, loop->wake_fd};
	for (unsigned i = 0; i < sizeof fd / sizeof fd[0]; i++)
		if (fd[i] >= 0)
			(void)close(fd[i]);
	loop->epoll_fd = loop->timer_fd = loop->wake_fd = -1;
}

/* The mutex is held. */
static struct loop_watch *find_watch(struct loop *loop, int fd)
{
	for (unsigned i = 0; i < LOOP_MAX_WATCHES; i++)
		if (loop->watch[i].fd == fd)
			return &loop->watch[i];
	return NULL;
}

static bool add_watch(struct loop *loop, int fd, uint32_t events, const struct loop_watch *watch, struct error *error)
{
	struct loop_watch *slot = find_watch(loop, -1);
	if (slot == NULL)
		return error_set(error, ERROR_HOST, "too many descriptors in the event loop");
	uint32_t generation = ++loop->generation;
	uint64_t key = (uint64_t)generation << 32 | (uint32_t)(slot - loop->watch);
	struct epoll_event event = {.events = events, .data.u64 = key};
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		return error_set_errno(error, "cannot wait for descriptor %d", fd);
	*slot = *watch;
	slot->generation = generation;
	return true;
}

bool loop_watch(struct loop *loop, int fd, uint32_t epoll_events, pthread_mutex_t *held, loop_function *function,
		void *opaque, struct error *error)
{
	struct loop_watch watch = {.fd = fd, .held = held, .function = function, .opaque = opaque};
	(void)pthread_mutex_lock(&loop->mutex);
	bool added = add_watch(loop, fd, epoll_events, &watch, error);
	(void)pthread_mutex_unlock(&loop->mutex);
	return added;
}

void loop_unwatch(struct loop *loop, int fd)
{
	(void)pthread_mutex_lock(&loop->mutex);
	struct loop_watch *watch = fd < 0 ? NULL : find_watch(loop, fd);
	if (watch != NULL) {
		(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		watch->fd = -1;
	}
	(void)pthread_mutex_unlock(&loop->mutex);
}

void loop_set_timer(struct loop *loop, uint64_t nanoseconds)
{
	struct itimerspec when = {0};
	if (nanoseconds == 0)
		nanoseconds = 1; /* 0 would disarm it */
	if (nanoseconds != LOOP_NEVER) {
		when.it_value.tv_sec = (time_t)(nanoseconds / NANOSECONDS);
		when.it_value.tv_nsec = (long)(nanoseconds % NANOSECONDS);
	}
	(void)timerfd_settime(loop->timer_fd, 0, &when, NULL);
}

void loop_wake(struct loop *loop)
{
	uint64_t one = 1;
	ssize_t put = write(loop->wake_fd, &one, sizeof one);
	(void)put; /* full means that it is awake */
}

/* A copy of the watch an event belongs to; false when it has been removed since. */
static bool look_up(struct loop *loop, uint64_t key, struct loop_watch *copy)
{
	(void)pthread_mutex_lock(&loop->mutex);
	*copy = loop->watch[(uint32_t)key % LOOP_MAX_WATCHES];
	(void)pthread_mutex_unlock(&loop->mutex);
	return copy->fd >= 0 && copy->generation == key >> 32;
}

/* With a mutex to be held, the watch may go while we wait for it: look again. */
static void dispatch(struct loop *loop, const struct epoll_event *event)
{
	struct loop_watch watch;
	if (!look_up(loop, event->data.u64, &watch))
		return;
	pthread_mutex_t *held = watch.held;
	if (held != NULL)
		(void)pthread_mutex_lock(held);
	if (look_up(loop, event->data.u64, &watch)) {
		if (watch.fd == loop->timer_fd)
			drain(watch.fd);
		watch.function(watch.opaque, watch.fd, event->events);
	}
	if (held != NULL)
		(void)pthread_mutex_unlock(held);
}

void loop_run_once(struct loop *loop)
{
	struct epoll_event event[EVENTS_AT_ONCE];
	int count = epoll_wait(loop->epoll_fd, event, EVENTS_AT_ONCE, -1);
	for (int i = 0; i < count; i++)
		dispatch(loop, &event[i]);
}

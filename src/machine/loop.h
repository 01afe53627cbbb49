/* SPDX-License-Identifier: MIT */
/*
 * The event loop: descriptors, one timer, and a way to wake it.
 *
 * Threading: loop_run_once() is called by one thread, which calls all watch functions. Everything else may be called by
 * any thread. A watch may have a mutex (the device lock): it is held while its function runs, and who
 * holds it can be sure that a watch it removed is not called any more. Lock order: that mutex, then the loop's own.
 */
#ifndef NFOLD_MACHINE_LOOP_H
#define NFOLD_MACHINE_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define LOOP_MAX_WATCHES 64

typedef void loop_function(void *opaque, int fd, uint32_t epoll_events);

struct loop_watch {
	int fd;		     /* -1: free */
	uint32_t generation; /* tells an event of this watch from one of its slot's former user */
	pthread_mutex_t *held;
	loop_function *function;
	void *opaque;
};

struct loop {
	int epoll_fd, timer_fd, wake_fd;
	pthread_mutex_t mutex; /* guards the watches */
	struct loop_watch watch[LOOP_MAX_WATCHES];
	uint32_t generation;
};

/* on_timer is called with `held` held. */
bool loop_init(struct loop *loop, pthread_mutex_t *held, loop_function *on_timer, void *opaque, struct error *error);
void loop_destroy(struct loop *loop);

/* False: the table is full or the descriptor cannot be waited for. */
bool loop_watch(struct loop *loop, int fd, uint32_t epoll_events, pthread_mutex_t *held, loop_function *function,
		void *opaque, struct error *error);
void loop_unwatch(struct loop *loop, int fd);

/* Fires on_timer after so many nanoseconds (at once for 0), or never for LOOP_NEVER. The last call counts. */
#define LOOP_NEVER UINT64_MAX
void loop_set_timer(struct loop *loop, uint64_t nanoseconds);

/* Makes the current or next loop_run_once() return soon. */
void loop_wake(struct loop *loop);

/* Sleeps until something happens, and calls the functions of all that did. */
void loop_run_once(struct loop *loop);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * nfoldd's event loop. One thread; one event in a turn, so that a function may close any descriptor, and what is called
 * next is never about one that is gone.
 */
#ifndef NFOLD_HOST_LOOP_H
#define NFOLD_HOST_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef void host_loop_function(void *opaque, int fd, uint32_t events);

struct host_loop_watch {
	host_loop_function *function; /* NULL: not watched */
	void *opaque;
};

struct host_loop {
	int epoll_fd;
	struct host_loop_watch *watch; /* by descriptor */
	unsigned room;
};

bool host_loop_open(struct host_loop *loop, struct error *error);
void host_loop_close(struct host_loop *loop);

/* One function a descriptor. */
bool host_loop_watch(struct host_loop *loop, int fd, uint32_t events, host_loop_function *function, void *opaque,
		     struct error *error);
void host_loop_unwatch(struct host_loop *loop, int fd);

/* Waits for one event, or so long (-1: for ever). */
void host_loop_run_once(struct host_loop *loop, int timeout_ms);

/* CLOCK_MONOTONIC: whoever sets the clock changes no timeout. */
#define HOST_NEVER INT64_MAX
int64_t host_now_ms(void);

#endif

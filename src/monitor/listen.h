/* SPDX-License-Identifier: MIT */
/* Where a server listens, as a user writes it: PORT, ADDRESS:PORT or unix:PATH. */
#ifndef NFOLD_MONITOR_LISTEN_H
#define NFOLD_MONITOR_LISTEN_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/error.h"

struct listen_address {
	struct sockaddr_storage at;
	socklen_t size;
};

/*
 * PORT alone is on 127.0.0.1, and 0 any free one. ADDRESS is written in numbers, as 192.0.2.1 or [2001:db8::1]: a name
 * may have several addresses, and nobody should listen on more of them than was meant.
 */
bool listen_parse(const char *text, struct listen_address *address, struct error *error);

/* A socket that listens. The file of a Unix socket is removed again when it is closed, if it is still ours. */
struct listener {
	int fd;
	struct listen_address address; /* with the port that it got */
	dev_t device;		       /* of a Unix socket's file */
	ino_t inode;
};

bool listener_open(struct listener *listener, const struct listen_address *address, struct error *error);
/* Leaves fd, which its new owner closes. */
void listener_remove_file(const struct listener *listener);

#define LISTEN_URL_MAX 256

/* Where to find `path` ("/metrics"): an HTTP URL, or unix:FILE. */
void listen_url(const struct listen_address *address, const char *path, char url[LISTEN_URL_MAX]);

#endif

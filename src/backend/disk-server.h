/* SPDX-License-Identifier: MIT */
/*
 * A process of our own, qemu-nbd, that reads and writes an image of a format we do not know ourselves, and serves it to
 * us over a socket. Internal to the backends.
 *
 * The socket is made and connected before the process begins, and has no name afterwards: nobody else can be its
 * client. It ends when its only client is gone, however we ended; when it ends before, the socket is closed, and the
 * server can say why.
 */
#ifndef NFOLD_BACKEND_DISK_SERVER_H
#define NFOLD_BACKEND_DISK_SERVER_H

#include "backend/disk.h"

struct disk_server;

/* *socket is connected; it is the caller's. */
struct disk_server *disk_server_start(const char *path, enum disk_format format, const struct disk_options *options,
				      int *socket, struct error *error);

/* What it said last, or how it ended; an empty text if there is nothing to tell. */
void disk_server_describe(struct disk_server *server, char *text, unsigned size);

/* After its socket was closed: waits for its end, and sees to it. */
void disk_server_stop(struct disk_server *server);

#endif

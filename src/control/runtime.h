/* SPDX-License-Identifier: MIT */
/*
 * The user's runtime directory, where running guests are found.
 *
 * Each guest has two files there. NAME.lock: its process holds a POSIX record lock on it from before anything else
 * exists until it ends, so the kernel itself says whether a guest lives and which process it is (F_GETLK); no pid is
 * ever read from a file and believed. NAME.sock: the control socket. NAME.tty: the serial port of a guest that the host
 * started. All are removed by the guest's process while it
 * holds the lock; those of a process that died without are stale: the next guest of that name takes the lock and
 * replaces them.
 *
 * The directory is $XDG_RUNTIME_DIR/nfold, else /run/user/UID/nfold, else /tmp/nfold-UID. It must be ours and closed to
 * everybody else.
 */
#ifndef NFOLD_CONTROL_RUNTIME_H
#define NFOLD_CONTROL_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/error.h"

#define NAME_LENGTH_MAX 64
/* The name that the host itself claims. No guest can have it. */
#define RUNTIME_HOST ".host"

struct runtime {
	int fd; /* of the directory */
	char path[sizeof((struct sockaddr_un *)0)->sun_path];
};

/* 1 to 64 letters, digits, dots, underscores and dashes, a letter or digit first. */
bool name_check(const char *name, struct error *error);

/* Makes a good name of any file name. */
void name_from_path(const char *path, char name[NAME_LENGTH_MAX + 1]);

/* Opens the directory, and creates it if it is missing and `create` is set. Without it, a missing one is ERROR_INPUT.
 */
bool runtime_open(struct runtime *runtime, bool create, struct error *error);
void runtime_close(struct runtime *runtime);

/* A guest's claim on its name. */
struct claim {
	char name[NAME_LENGTH_MAX + 1];
	int fd; /* of the locked file */
};

enum claim_result { CLAIM_TAKEN, CLAIM_DONE, CLAIM_ERROR };

/* Takes the name's lock and removes a stale socket. CLAIM_TAKEN: another guest lives under this name. */
enum claim_result runtime_claim(const struct runtime *runtime, const char *name, struct claim *claim,
				struct error *error);
/* Removes the guest's files and gives the name back. */
void runtime_release(const struct runtime *runtime, struct claim *claim);

/* The process that holds the name's lock, or 0 when no guest of that name lives. */
pid_t runtime_owner(const struct runtime *runtime, const char *name);

/* The address of the name's control socket. */
bool runtime_socket_address(const struct runtime *runtime, const char *name, struct sockaddr_un *address,
			    struct error *error);

/* The socket of the serial port of a guest that the host started. */
bool runtime_serial_address(const struct runtime *runtime, const char *name, struct sockaddr_un *address,
			    struct error *error);

/* Calls the function with the name of each living guest, in the order of their names. */
typedef void runtime_visitor(void *opaque, const char *name, pid_t owner);
bool runtime_visit(const struct runtime *runtime, runtime_visitor *visitor, void *opaque, struct error *error);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What the host keeps on the disk, below $XDG_STATE_HOME/nfold or ~/.local/state/nfold, for root /var/lib/nfold:
 *
 * guests/NAME.json   the definition. It is all that makes the guest exist.
 * logs/NAME.messages what its process said on stderr, since the last start
 * logs/NAME.status   the exit status that its process wrote at its end; empty if it did not live to do that
 * logs/NAME.end      why it ended, when, and how often it was started
 * logs/NAME.console  the last of what came out of its serial port; NAME.console.1 what was before
 *
 * One host at a time holds the lock on the file `lock`; while none does, a command that changes something takes it.
 * Files are replaced whole (control/replace_file.h). What a dead host left half done is removed at the next start:
 * temporary files, and logs of guests that are not there.
 */
#ifndef NFOLD_CONTROL_STORE_H
#define NFOLD_CONTROL_STORE_H

#include <limits.h>

#include "control/definition.h"
#include "control/runtime.h"

#define STORE_LOG_MAX (256u << 10)

struct store {
	char path[PATH_MAX - 256]; /* room for the names below it */
	int lock, guests, logs;	   /* descriptors of the file and of the folders */
};

bool store_open(struct store *store, struct error *error);
/* To read alone: creates nothing, removes nothing and takes no lock. `path`: of a host that runs; NULL: ours.
 * ERROR_INPUT: there is none yet. */
bool store_look(struct store *store, const char *path, struct error *error);
void store_close(struct store *store);

/* Where it is, or would be. */
bool store_path(char *path, size_t size, struct error *error);

/* Calls the function for each definition that is there. */
typedef void store_visitor(void *opaque, const char *name);
bool store_visit(const struct store *store, store_visitor *visitor, void *opaque, struct error *error);

/* What tells a file from a later one of the same name. */
struct store_stamp {
	ino_t inode;
	off_t size;
	struct timespec changed;
};
bool store_stamp(const struct store *store, const char *name, struct store_stamp *stamp);
bool store_stamp_is_same(const struct store_stamp *a, const struct store_stamp *b);

bool store_read(const struct store *store, const char *name, struct definition *definition, struct error *error);
/* The definition as it stands in the file, allocated. NULL with the error. */
char *store_read_text(const struct store *store, const char *name, size_t *size, struct error *error);
bool store_write_text(const struct store *store, const char *name, const char *text, size_t size, struct error *error);
bool store_write(const struct store *store, const char *name, const json_t *object, struct error *error);
/* The definition first: then nothing of the guest counts any more. */
bool store_remove(const struct store *store, const char *name, struct error *error);

/* Opens a log for appending. `fresh`: empty. -1 with errno. */
int store_open_log(const struct store *store, const char *name, const char *kind, bool fresh);
/* Starts a new log and keeps the last one as KIND.1. */
void store_turn_log(const struct store *store, const char *name, const char *kind);
/* The last bytes of a log. Returns how many. */
size_t store_read_log(const struct store *store, const char *name, const char *kind, char *bytes, size_t size);

bool store_write_end(const struct store *store, const char *name, const json_t *end, struct error *error);
/* NULL: there is none. */
json_t *store_read_end(const struct store *store, const char *name);

#endif

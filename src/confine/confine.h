/* SPDX-License-Identifier: MIT */
/*
 * What a guest's process takes from itself before its guest's first instruction.
 *
 * Theory of operation. A guest that breaks out of the engine is to find a process that can do nothing but run this
 * guest. Each step is taken as far as the host allows, and what is on is told; the system call filter is the one that
 * must succeed.
 *
 *   confine_begin()   first thing in main: closes what was left open by whoever started us.
 *   confine_isolate() when everything that has a name is open, and while there is one thread: own namespaces with an
 *                     empty root folder, no capabilities, no new privileges, no core dumps.
 *   confine_filter()  when the threads exist and none of them has run guest code: from then on a system call that is
 *                     not in the table ends the process.
 *
 * The table of system calls is made when nfold is built, from notes beside the code that needs each call:
 * tools/confine-table says how they look. A note belongs to a feature, and a process gets the features it was made
 * with: one without a network cannot make a socket. docs/confinement.md says how to add one.
 *
 * There is no process-id namespace: the host finds a guest's process and its threads by their numbers. Signals to
 * others are kept away by the filter.
 */
#ifndef NFOLD_CONFINE_CONFINE_H
#define NFOLD_CONFINE_CONFINE_H

#include <stdbool.h>

#include "base/error.h"

/* In notes, the words behind CONFINE_FEATURE_ with '-' for '_' and in lower case. */
enum confine_feature {
	CONFINE_FEATURE_BASE,
	CONFINE_FEATURE_DISK,
	CONFINE_FEATURE_NETWORK_USER,
	CONFINE_FEATURE_NETWORK_TAP,
	CONFINE_FEATURE_NETWORK_SWITCH,
	CONFINE_FEATURES
};

/* What is on, as confine_part_name[] has it. */
enum confine_part {
	CONFINE_DESCRIPTORS,
	CONFINE_NO_NEW_PRIVILEGES,
	CONFINE_CAPABILITIES,
	CONFINE_LIMITS,
	CONFINE_SYSTEM_CALLS,
	CONFINE_NS_USER,
	CONFINE_NS_MOUNT,
	CONFINE_NS_IPC,
	CONFINE_NS_UTS,
	CONFINE_NS_CGROUP,
	CONFINE_NS_NETWORK,
	CONFINE_PARTS
};
extern const char *const confine_part_name[CONFINE_PARTS];

#define CONFINE_FOLDERS_MAX 16u

struct confinement {
	unsigned features;			 /* bits: 1 << enum confine_feature */
	const char *folder[CONFINE_FOLDERS_MAX]; /* that stay where they are, to be written to */
	unsigned folders;
	bool host_network; /* sockets are made later that reach the host's networks */
	bool resolver;	   /* the host's name servers are looked up later */
	unsigned parts;	   /* what is on: bits, 1 << enum confine_part */
};

/* False in builds with the address or thread sanitizer, whose own machinery needs more than a guest may. */
bool confine_supported(void);

/* Keeps standard input, output and error, and what is listed; -1 is none. */
void confine_begin(struct confinement *confinement, const int *keep, unsigned count);

/* The string stays the caller's. An absolute path, or one from the current folder. */
bool confine_keep_folder(struct confinement *confinement, const char *folder, struct error *error);

/* Never fails: `parts` says what it could do. */
void confine_isolate(struct confinement *confinement);

/* For all threads of the process, and those to come. A forbidden call ends it with `status`, with a line on stderr. */
bool confine_filter(struct confinement *confinement, struct error *error);

/* Exit status of a process that made a forbidden system call. */
#define CONFINE_EXIT_STATUS 12

#endif

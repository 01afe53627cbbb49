/* SPDX-License-Identifier: MIT */
/* The ledger and the process's memory as JSON. The fields are documented in docs/control-protocol.md. */
#ifndef NFOLD_VM_STATS_H
#define NFOLD_VM_STATS_H

#include <jansson.h>
#include <stdio.h>

#include "machine/machine.h"

#define STATS_MAC_SIZE 18

/* Proportional set sizes: a page mapped twice counts once, one shared with other processes in part. */
struct resident {
	uint64_t ram, beyond;
};
/* By /proc/self/smaps, or NULL. */
struct resident stats_resident(FILE *file);

const char *stats_network_kind(const struct machine_network *network);
void stats_mac(const struct machine_network *network, char text[STATS_MAC_SIZE]);
/* Behind the disks comes the disc. */
const char *stats_disk_name(const struct machine_config *config, unsigned index);

/* Files of /proc, open from before the process confines itself; NULL: this host has none. */
struct stats_files {
	FILE *smaps; /* of this process */
	FILE *stat;  /* of the host */
};

void stats_files_open(struct stats_files *files);
void stats_files_close(struct stats_files *files);

/* A new reference, or NULL when out of memory. */
json_t *stats_json(struct machine *machine, const struct machine_config *config, const struct stats_files *files);

#endif

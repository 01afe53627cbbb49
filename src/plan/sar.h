/* SPDX-License-Identifier: MIT */
/*
 * What sysstat's two text formats have in common: each value has the name of a sar field, "rkB/s" in `sadf -d` and
 * "rkB" in `sadf -j`, within an activity. A sample is put together from the activities of one host and time.
 */
#ifndef NFOLD_PLAN_SAR_H
#define NFOLD_PLAN_SAR_H

#include "plan/parse.h"

enum sar_field {
	SAR_IDLE,	 /* % */
	SAR_IOWAIT,	 /* % */
	SAR_STEAL,	 /* % */
	SAR_SYSTEM,	 /* %; with SAR_IRQ and SAR_SOFT beside it, without them */
	SAR_IRQ,	 /* % */
	SAR_SOFT,	 /* % */
	SAR_SWAP_IN,	 /* pages/s */
	SAR_SWAP_OUT,	 /* pages/s */
	SAR_READ_OPS,	 /* of all disks, transfers/s */
	SAR_WRITE_OPS,	 /* of all disks */
	SAR_BLOCKS_READ, /* of all disks, of 512 bytes/s */
	SAR_BLOCKS_WRITTEN,
	SAR_MEMORY_FREE, /* KiB */
	SAR_MEMORY_AVAILABLE,
	SAR_MEMORY_USED,
	SAR_MEMORY_USED_PERCENT,
	SAR_MEMORY_BUFFERS,
	SAR_MEMORY_CACHED,
	SAR_MEMORY_SLAB,
	SAR_DISK_OPS,	       /* of one disk, transfers/s */
	SAR_DISK_READ,	       /* of one disk, KiB/s */
	SAR_DISK_WRITTEN,      /* of one disk, KiB/s */
	SAR_DISK_SECTORS_READ, /* of one disk, of 512 bytes/s */
	SAR_DISK_SECTORS_WRITTEN,
	SAR_NET_RECEIVED, /* of one interface, KiB/s */
	SAR_NET_SENT,
	SAR_FIELD_COUNT,
};

/* What has fields: the machine, or one of its parts. */
enum sar_part { SAR_MACHINE, SAR_DISK, SAR_INTERFACE };

/* SAR_FIELD_COUNT: no field that matters. `json` decides between the two ways of writing them. */
enum sar_field sar_field_find(const char *name, bool json);
enum sar_part sar_field_part(enum sar_field field);

/* A disk or interface that is no other's copy or part: no partition, loop, LVM or RAID volume; no bridge, tunnel or
 * VLAN. */
bool sar_part_counts(enum sar_part part, const char *name);

/* The values of one host at one time; NaN: not there. Values of parts are sums. */
struct sar_sample {
	double value[SAR_FIELD_COUNT];
};

void sar_sample_clear(struct sar_sample *sample);
void sar_sample_take(struct sar_sample *sample, enum sar_field field, double value);

/* Adds it to the collector. interval: seconds. Memory installed is found out where the fields allow it. */
bool sar_sample_add(struct parse *parse, size_t server, const struct sar_sample *sample, int64_t time_ms,
		    double interval, struct error *error);

#endif

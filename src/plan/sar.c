/* SPDX-License-Identifier: MIT */
#include "plan/sar.h"

#include <stdlib.h>
#include <string.h>

#include "plan/value.h"

#define KIB 1024.0
#define PERCENT_EXACT 12 /* above it two decimals tell the sum to a thousandth */

/* Field names of sysstat 10 to 12: `sadf -d` and `sadf -j`. Of some there are two. */
static const struct sar_row {
	const char *text, *json;
	enum sar_field field;
	enum sar_part part;
} sar_table[] = {
    {"%idle", "idle", SAR_IDLE, SAR_MACHINE},
    {"%iowait", "iowait", SAR_IOWAIT, SAR_MACHINE},
    {"%steal", "steal", SAR_STEAL, SAR_MACHINE},
    {"%system", "system", SAR_SYSTEM, SAR_MACHINE},
    {"%sys", "sys", SAR_SYSTEM, SAR_MACHINE},
    {"%irq", "irq", SAR_IRQ, SAR_MACHINE},
    {"%soft", "soft", SAR_SOFT, SAR_MACHINE},
    {"pswpin/s", "pswpin", SAR_SWAP_IN, SAR_MACHINE},
    {"pswpout/s", "pswpout", SAR_SWAP_OUT, SAR_MACHINE},
    {"rtps", "rtps", SAR_READ_OPS, SAR_MACHINE},
    {"wtps", "wtps", SAR_WRITE_OPS, SAR_MACHINE},
    {"bread/s", "bread", SAR_BLOCKS_READ, SAR_MACHINE},
    {"bwrtn/s", "bwrtn", SAR_BLOCKS_WRITTEN, SAR_MACHINE},
    {"kbmemfree", "memfree", SAR_MEMORY_FREE, SAR_MACHINE},
    {"kbavail", "avail", SAR_MEMORY_AVAILABLE, SAR_MACHINE},
    {"kbmemused", "memused", SAR_MEMORY_USED, SAR_MACHINE},
    {"%memused", "memused-percent", SAR_MEMORY_USED_PERCENT, SAR_MACHINE},
    {"kbbuffers", "buffers", SAR_MEMORY_BUFFERS, SAR_MACHINE},
    {"kbcached", "cached", SAR_MEMORY_CACHED, SAR_MACHINE},
    {"kbslab", "slab", SAR_MEMORY_SLAB, SAR_MACHINE},
    {"tps", "tps", SAR_DISK_OPS, SAR_DISK},
    {"rkB/s", "rkB", SAR_DISK_READ, SAR_DISK},
    {"wkB/s", "wkB", SAR_DISK_WRITTEN, SAR_DISK},
    {"rd_sec/s", "rd_sec", SAR_DISK_SECTORS_READ, SAR_DISK},
    {"wr_sec/s", "wr_sec", SAR_DISK_SECTORS_WRITTEN, SAR_DISK},
    {"rxkB/s", "rxkB", SAR_NET_RECEIVED, SAR_INTERFACE},
    {"txkB/s", "txkB", SAR_NET_SENT, SAR_INTERFACE},
};

#define ROWS (sizeof sar_table / sizeof sar_table[0])

/* Beginnings of names. dev253 and dev9 are the numbers that older versions give to LVM and RAID volumes. */
static const char *const inner_disks[] = {"loop", "ram",     "zram",  "dm-",   "md",
					  "sr",	  "dev253-", "dev7-", "dev9-", "dev11-"};
static const char *const inner_interfaces[] = {"lo",	"ifb", "veth", "virbr", "docker", "br",	  "vnet", "tap", "tun",
					       "dummy", "sit", "bond", "team",	"ip6tnl", "ovs-", "cni",  "cali"};

enum sar_field sar_field_find(const char *name, bool json)
{
	for (size_t i = 0; i < ROWS; i++)
		if (strcmp(json ? sar_table[i].json : sar_table[i].text, name) == 0)
			return sar_table[i].field;
	return SAR_FIELD_COUNT;
}

enum sar_part sar_field_part(enum sar_field field)
{
	for (size_t i = 0; i < ROWS; i++)
		if (sar_table[i].field == field)
			return sar_table[i].part;
	return SAR_MACHINE;
}

static bool begins_with_any(const char *name, const char *const *table, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strncmp(name, table[i], strlen(table[i])) == 0)
			return true;
	return false;
}

bool sar_part_counts(enum sar_part part, const char *name)
{
	if (part == SAR_DISK)
		return !begins_with_any(name, inner_disks, sizeof inner_disks / sizeof inner_disks[0]);
	/* eth0.100 is a VLAN of eth0. */
	return part != SAR_INTERFACE ||
	       (strchr(name, '.') == NULL &&
		!begins_with_any(name, inner_interfaces, sizeof inner_interfaces / sizeof inner_interfaces[0]));
}

void sar_sample_clear(struct sar_sample *sample)
{
	for (unsigned i = 0; i < SAR_FIELD_COUNT; i++)
		sample->value[i] = NAN;
}

void sar_sample_take(struct sar_sample *sample, enum sar_field field, double value)
{
	double *to = &sample->value[field];
	*to = sar_field_part(field) == SAR_MACHINE || isnan(*to) ? value : *to + value;
}

/* What is not NaN, or 0. */
static double or_zero(double value)
{
	return isnan(value) ? 0 : value;
}

/* Time stolen was wanted, and is part of what the server needs; waiting for disks is idle. */
static void take_processors(const double *value, struct collect_sample *out)
{
	if (!isnan(value[SAR_IDLE])) {
		double busy = (100 - value[SAR_IDLE] - or_zero(value[SAR_IOWAIT])) / 100;
		/* Three values rounded to hundredths. */
		out->value[ESTATE_CPU] = busy < 0 && busy > -2e-4 ? 0 : busy;
	}
	if (isnan(value[SAR_SYSTEM]))
		return;
	out->value[ESTATE_KERNEL] = (value[SAR_SYSTEM] + or_zero(value[SAR_IRQ]) + or_zero(value[SAR_SOFT])) / 100;
	if (!isnan(value[SAR_IRQ]) && !isnan(value[SAR_SOFT]))
		out->value[ESTATE_INTERRUPT] = (value[SAR_IRQ] + value[SAR_SOFT]) / 100;
}

/*
 * Versions differ in what is used: without buffers and caches (12), or with them. Together with the share in percent it
 * tells the sum; the larger the share, the better.
 */
static void take_memory(struct parse *parse, size_t server, const double *value, struct collect_sample *out)
{
	double total = value[SAR_MEMORY_FREE] + value[SAR_MEMORY_USED];
	double with_caches =
	    total + value[SAR_MEMORY_BUFFERS] + value[SAR_MEMORY_CACHED] + or_zero(value[SAR_MEMORY_SLAB]);
	double percent = value[SAR_MEMORY_USED_PERCENT];
	if (isnan(total))
		return;
	/* Of the two sums the one that the share is of. */
	double by_percent = value[SAR_MEMORY_USED] / percent * 100;
	if (percent > 0 && !isnan(with_caches) && fabs(with_caches - by_percent) < fabs(total - by_percent))
		total = isnan(value[SAR_MEMORY_SLAB]) && percent >= PERCENT_EXACT ? by_percent : with_caches;
	collector_attribute(parse->collector, server, COLLECT_INSTALLED, total * KIB, false);
	if (!isnan(value[SAR_MEMORY_AVAILABLE])) {
		out->value[ESTATE_MEMORY] = fmax(0, total - value[SAR_MEMORY_AVAILABLE]) * KIB;
		return;
	}
	double caches = or_zero(value[SAR_MEMORY_BUFFERS]) + or_zero(value[SAR_MEMORY_CACHED]);
	out->value[ESTATE_MEMORY] = fmax(0, total - value[SAR_MEMORY_FREE] - caches) * KIB;
}

/* The sum over all disks, or else the sum of what each has; reads and writes then share the operations by their bytes.
 */
static void take_disks(const double *value, struct collect_sample *out)
{
	double read = value[SAR_DISK_READ] * KIB, written = value[SAR_DISK_WRITTEN] * KIB;
	if (!isnan(value[SAR_BLOCKS_READ])) {
		out->value[ESTATE_DISK_READ] = value[SAR_BLOCKS_READ] * 512;
		out->value[ESTATE_DISK_WRITE] = value[SAR_BLOCKS_WRITTEN] * 512;
		out->value[ESTATE_DISK_READ_OPS] = value[SAR_READ_OPS];
		out->value[ESTATE_DISK_WRITE_OPS] = value[SAR_WRITE_OPS];
		return;
	}
	if (isnan(read)) {
		read = value[SAR_DISK_SECTORS_READ] * 512;
		written = value[SAR_DISK_SECTORS_WRITTEN] * 512;
	}
	if (isnan(read) || isnan(written))
		return;
	double share = read + written > 0 ? read / (read + written) : 0.5;
	out->value[ESTATE_DISK_READ] = read;
	out->value[ESTATE_DISK_WRITE] = written;
	out->value[ESTATE_DISK_READ_OPS] = value[SAR_DISK_OPS] * share;
	out->value[ESTATE_DISK_WRITE_OPS] = value[SAR_DISK_OPS] * (1 - share);
}

bool sar_sample_add(struct parse *parse, size_t server, const struct sar_sample *sample, int64_t time_ms,
		    double interval, struct error *error)
{
	const double *value = sample->value;
	struct collect_sample out = collect_sample_at(time_ms);
	if (interval > 0 && interval <= ESTATE_INTERVAL_MAX)
		out.width_ms = (uint32_t)(interval * 1000);
	take_processors(value, &out);
	take_memory(parse, server, value, &out);
	take_disks(value, &out);
	out.value[ESTATE_PAGING] = value[SAR_SWAP_IN] + value[SAR_SWAP_OUT];
	out.value[ESTATE_NET_RECEIVE] = value[SAR_NET_RECEIVED] * KIB;
	out.value[ESTATE_NET_SEND] = value[SAR_NET_SENT] * KIB;
	return collector_add(parse->collector, server, &out, error);
}

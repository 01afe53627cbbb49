/* SPDX-License-Identifier: MIT */
/*
 * `esxtop -b`: the servers are the virtual machines of the host. A machine is a scheduling group that has disks,
 * network ports or virtual processors of its own; other groups are the hypervisor's. A file without any machine is of
 * the host itself.
 */
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/parse.h"
#include "plan/pdh.h"
#include "plan/uses.h"

#define MIB 1048576.0
#define MBIT 125000.0
#define PAGES_PER_MIB 256
#define INSTALLED (COLLECT_CHANNEL_COUNT + COLLECT_INSTALLED)

/* Where in an instance the machine's name is: behind so many colons. */
enum owner {
	GROUP = 1, /* Group Cpu(1234:name), Vcpu(1234:name:1240:vmx-vcpu-0:name) */
	DISK = 0,  /* Virtual Disk(name), Virtual Disk(name:scsi0:0) */
	PORT = 3,  /* Network Port(vSwitch0:50331660:1234:name.eth0) */
	HOST = 9,
};

static const struct esxtop_row {
	const char *object, *counter;
	enum owner owner;
	unsigned channel, rank;
	double factor;
} esxtop_table[] = {
    {"Group Cpu", "% Used", GROUP, COLLECT_PROCESSORS, 0, 0.01},
    {"Group Cpu", "% Run", GROUP, COLLECT_PROCESSORS, 1, 0.01},
    {"Group Memory", "Memory Consumed Size MBytes", GROUP, ESTATE_MEMORY, 0, MIB},
    {"Group Memory", "Memory Granted Size MBytes", GROUP, ESTATE_MEMORY, 1, MIB},
    {"Group Memory", "Touched MBytes", GROUP, ESTATE_MEMORY, 2, MIB},
    {"Group Memory", "Memory Size MBytes", GROUP, INSTALLED, 0, MIB},
    {"Group Memory", "Swap Read MBytes/sec", GROUP, ESTATE_PAGING, 0, PAGES_PER_MIB},
    {"Group Memory", "Swap Written MBytes/sec", GROUP, ESTATE_PAGING, 0, PAGES_PER_MIB},
    {"Virtual Disk", "MBytes Read/sec", DISK, ESTATE_DISK_READ, 0, MIB},
    {"Virtual Disk", "MBytes Written/sec", DISK, ESTATE_DISK_WRITE, 0, MIB},
    {"Virtual Disk", "Reads/sec", DISK, ESTATE_DISK_READ_OPS, 0, 1},
    {"Virtual Disk", "Writes/sec", DISK, ESTATE_DISK_WRITE_OPS, 0, 1},
    {"Network Port", "MBits Received/sec", PORT, ESTATE_NET_RECEIVE, 0, MBIT},
    {"Network Port", "MBits Transmitted/sec", PORT, ESTATE_NET_SEND, 0, MBIT},
    {"Physical Cpu", "% Processor Time", HOST, ESTATE_CPU, 0, 0.01},
    {"Physical Cpu", "% Util Time", HOST, ESTATE_CPU, 1, 0.01},
    {"Memory", "Machine MBytes", HOST, INSTALLED, 0, MIB},
    {"Memory", "Free MBytes", HOST, COLLECT_AVAILABLE, 0, MIB},
    {"Physical Disk Adapter", "MBytes Read/sec", HOST, ESTATE_DISK_READ, 0, MIB},
    {"Physical Disk Adapter", "MBytes Written/sec", HOST, ESTATE_DISK_WRITE, 0, MIB},
    {"Physical Disk Adapter", "Reads/sec", HOST, ESTATE_DISK_READ_OPS, 0, 1},
    {"Physical Disk Adapter", "Writes/sec", HOST, ESTATE_DISK_WRITE_OPS, 0, 1},
    {"Network Port", "MBits Received/sec", HOST, ESTATE_NET_RECEIVE, 0, MBIT},
    {"Network Port", "MBits Transmitted/sec", HOST, ESTATE_NET_SEND, 0, MBIT},
};

/* Names in a tree; each is its own key. */
struct names {
	void *tree;
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool names_add(struct names *names, const char *name)
{
	if (tfind(name, &names->tree, compare_names) != NULL)
		return true;
	char *copy = strdup(name);
	if (copy != NULL && tsearch(copy, &names->tree, compare_names) != NULL)
		return true;
	free(copy);
	return false;
}

static bool names_have(const struct names *names, const char *name)
{
	return tfind(name, &names->tree, compare_names) != NULL;
}

/* The part behind `colons` colons, to the next colon or the end. False: there is none. */
static bool part_of(const char *instance, unsigned colons, char *part, size_t size)
{
	for (; colons > 0; colons--) {
		instance = strchr(instance, ':');
		if (instance == NULL)
			return false;
		instance++;
	}
	size_t length = strcspn(instance, ":");
	if (length == 0 || length >= size)
		return false;
	memcpy(part, instance, length);
	part[length] = '\0';
	return true;
}

/* "web.eth0" of a port is the machine "web". */
static void cut_adapter(char *name)
{
	char *dot = strstr(name, ".eth");
	if (dot != NULL && dot[4 + strspn(dot + 4, "0123456789")] == '\0')
		*dot = '\0';
}

static bool owner_name(const struct pdh_counter *counter, enum owner owner, char *name, size_t size)
{
	if (!part_of(counter->instance, owner, name, size))
		return false;
	if (owner == PORT)
		cut_adapter(name);
	return true;
}

static bool is_virtual_processor(const struct pdh_counter *counter)
{
	char world[PDH_PART_MAX];
	return strcmp(counter->object, "Vcpu") == 0 && strcmp(counter->counter, "% Used") == 0 &&
	       part_of(counter->instance, 3, world, sizeof world) &&
	       (strstr(world, "vcpu") != NULL || strncmp(world, "vmm", 3) == 0);
}

/* The name, if the column is one that only machines have. */
static bool machine_of(const struct pdh_counter *counter, char *name, size_t size)
{
	if (strcmp(counter->object, "Virtual Disk") == 0)
		return owner_name(counter, DISK, name, size);
	if (strcmp(counter->object, "Network Port") == 0)
		return owner_name(counter, PORT, name, size);
	return is_virtual_processor(counter) && owner_name(counter, GROUP, name, size);
}

struct esxtop {
	struct parse *parse;
	struct uses *uses;
	struct names machines;
};

/* A disk has a column for itself and one for the machine's sum; the sum is the instance without a colon. */
static bool is_part(const struct pdh_counter *counter, enum owner owner)
{
	return owner == DISK && strchr(counter->instance, ':') != NULL;
}

static bool host_fits(const struct esxtop_row *row, const struct pdh_counter *counter)
{
	char port[PDH_PART_MAX];
	if (strcmp(row->object, "Physical Cpu") == 0)
		return strcmp(counter->instance, "_Total") == 0;
	if (strcmp(row->object, "Network Port") == 0)
		return part_of(counter->instance, 2, port, sizeof port) && strncmp(port, "vmnic", 5) == 0;
	return true;
}

static bool add_use(struct esxtop *esxtop, const struct esxtop_row *row, const char *name, unsigned rank, size_t column,
		    struct error *error)
{
	size_t server = collector_server(esxtop->parse->collector, name, error);
	const struct use use = {
	    .column = column, .server = server, .channel = row->channel, .rank = rank, .factor = row->factor};
	return server != SIZE_MAX && uses_add(esxtop->uses, &use, error);
}

static bool take_row(struct esxtop *esxtop, const struct esxtop_row *row, const struct pdh_counter *counter,
		     size_t column, struct error *error)
{
	char name[PDH_PART_MAX];
	bool host = esxtop->machines.tree == NULL;
	if (strcmp(row->object, counter->object) != 0 || strcmp(row->counter, counter->counter) != 0 ||
	    host != (row->owner == HOST))
		return true;
	if (host)
		return !host_fits(row, counter) || add_use(esxtop, row, counter->host, row->rank, column, error);
	if (!owner_name(counter, row->owner, name, sizeof name) || !names_have(&esxtop->machines, name))
		return true;
	return add_use(esxtop, row, name, row->rank + 4 * is_part(counter, row->owner), column, error);
}

/* Each virtual processor is one column of the header; those of a machine come together. */
static bool count_processors(struct esxtop *esxtop, const struct rows *header, struct error *error)
{
	size_t last = SIZE_MAX;
	double count = 0;
	for (size_t i = 1; i < rows_count(header); i++) {
		struct pdh_counter counter;
		char name[PDH_PART_MAX];
		if (!pdh_counter_read(rows_field(header, i), &counter) || !is_virtual_processor(&counter) ||
		    !owner_name(&counter, GROUP, name, sizeof name))
			continue;
		size_t server = collector_server(esxtop->parse->collector, name, error);
		if (server == SIZE_MAX)
			return false;
		if (last != SIZE_MAX && server != last)
			collector_attribute(esxtop->parse->collector, last, COLLECT_CPUS, count, false);
		count = server == last ? count + 1 : 1;
		last = server;
	}
	if (last != SIZE_MAX)
		collector_attribute(esxtop->parse->collector, last, COLLECT_CPUS, count, false);
	return true;
}

static bool find_machines(struct esxtop *esxtop, const struct rows *header, struct error *error)
{
	for (size_t i = 1; i < rows_count(header); i++) {
		struct pdh_counter counter;
		char name[PDH_PART_MAX];
		if (!pdh_counter_read(rows_field(header, i), &counter))
			continue;
		if (machine_of(&counter, name, sizeof name) && !names_add(&esxtop->machines, name))
			return error_set(error, ERROR_HOST, "out of memory");
	}
	return true;
}

static bool resolve_all(struct esxtop *esxtop, const struct rows *header, struct error *error)
{
	if (!find_machines(esxtop, header, error) || !count_processors(esxtop, header, error))
		return false;
	if (esxtop->machines.tree == NULL)
		parse_remark(esxtop->parse, "no virtual machine in it: the host itself is the server");
	for (size_t i = 1; i < rows_count(header); i++) {
		struct pdh_counter counter;
		if (!pdh_counter_read(rows_field(header, i), &counter))
			continue;
		for (size_t k = 0; k < sizeof esxtop_table / sizeof esxtop_table[0]; k++)
			if (!take_row(esxtop, &esxtop_table[k], &counter, i, error))
				return false;
	}
	return true;
}

static bool esxtop_resolve(struct parse *parse, const struct rows *header, struct uses *uses, struct error *error)
{
	struct esxtop esxtop = {.parse = parse, .uses = uses};
	bool good = resolve_all(&esxtop, header, error);
	tdestroy(esxtop.machines.tree, free);
	return good;
}

static bool esxtop_probe(const struct parse *parse, const char *head, size_t size)
{
	(void)parse;
	return head_contains(head, size < 64 ? size : 64, "(PDH-CSV") &&
	       (head_contains(head, size, "\\Memory\\Memory Overcommit") || head_contains(head, size, "\\Group Cpu(") ||
		head_contains(head, size, "\\Group Memory(") || head_contains(head, size, "\\Physical Cpu("));
}

static bool esxtop_read(struct parse *parse, struct error *error)
{
	return pdh_read(parse, esxtop_resolve, error);
}

const struct format format_esxtop = {.name = "esxtop", .family = "esxtop", .probe = esxtop_probe, .read = esxtop_read};

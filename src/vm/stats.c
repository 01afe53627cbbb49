/* SPDX-License-Identifier: MIT */
#include "vm/stats.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ledger/settle.h"

#define NS_PER_SECOND UINT64_C(1000000000)
#define RAM_MAPPING "/memfd:guest-ram"

static bool is_mapping_header(const char *line)
{
	const char *word_end = strchr(line, ' ');
	return isxdigit((unsigned char)line[0]) != 0 && word_end != NULL && word_end[-1] != ':';
}

/* /proc/self/smaps: a header for each mapping, then its figures, one in a line. */
struct resident stats_resident(FILE *file)
{
	struct resident resident = {0};
	char line[512];
	bool is_ram = false;
	uint64_t kib;
	if (file != NULL)
		rewind(file);
	while (file != NULL && fgets(line, sizeof line, file) != NULL) {
		if (is_mapping_header(line))
			is_ram = strstr(line, RAM_MAPPING) != NULL;
		else if (sscanf(line, "Pss: %" SCNu64, &kib) == 1)
			*(is_ram ? &resident.ram : &resident.beyond) += kib << 10;
	}
	return resident;
}

/* What a hypervisor below this host took from all its processors since it booted. proc_stat(5): the eighth figure of
 * cpu. */
static uint64_t host_steal_ns(FILE *file)
{
	uint64_t ticks = 0;
	if (file == NULL)
		return 0;
	rewind(file);
	if (fscanf(file, "cpu %*u %*u %*u %*u %*u %*u %*u %" SCNu64, &ticks) != 1)
		ticks = 0;
	return ticks * (NS_PER_SECOND / (uint64_t)sysconf(_SC_CLK_TCK));
}

static json_t *values_json(const char *const *keys, const uint64_t *values, unsigned count)
{
	json_t *object = json_object();
	for (unsigned i = 0; i < count; i++)
		(void)json_object_set_new(object, keys[i], json_integer((json_int_t)values[i]));
	return object;
}

static json_t *kinds_json(const struct ledger_reading *reading)
{
	json_t *object = json_object();
	for (unsigned i = 0; i < LEDGER_KIND_COUNT; i++) {
		const struct ledger_estimate *kind = &reading->kind[i];
		(void)json_object_set_new(object, ledger_kind_key[i],
					  json_pack("{s:I, s:I, s:I}", "count", (json_int_t)kind->count, "samples",
						    (json_int_t)kind->samples, "estimated_ns", (json_int_t)kind->ns));
	}
	return object;
}

/* Each delay's buckets up to the last that counted any, as [below_ns, count]; below_ns is null for what has no bound.
 */
static json_t *buckets_json(const struct ledger *ledger, const struct ledger_delays *delays)
{
	json_t *list = json_array();
	unsigned used = LEDGER_DELAY_BUCKETS;
	while (used > 0 && delays->bucket[used - 1] == 0)
		used--;
	for (unsigned i = 0; i < used; i++) {
		uint64_t end = ledger_bucket_end(ledger, i);
		(void)json_array_append_new(
		    list, json_pack("[o, I]", end == UINT64_MAX ? json_null() : json_integer((json_int_t)end),
				    (json_int_t)delays->bucket[i]));
	}
	return list;
}

static json_t *delays_json(const struct ledger *ledger, const struct ledger_reading *reading)
{
	json_t *object = json_object();
	for (unsigned i = 0; i < LEDGER_DELAY_COUNT; i++) {
		const struct ledger_delays *delays = &reading->delay[i];
		(void)json_object_set_new(object, ledger_delay_key[i],
					  json_pack("{s:I, s:I, s:o}", "count", (json_int_t)delays->count, "total_ns",
						    (json_int_t)delays->ns, "buckets", buckets_json(ledger, delays)));
	}
	return object;
}

static json_t *vcpu_json(struct ledger *ledger, unsigned index)
{
	struct ledger_reading reading;
	ledger_read(ledger, index, &reading);
	uint64_t thread_id = __atomic_load_n(&ledger->vcpu[index].thread_id, __ATOMIC_RELAXED);
	return json_pack("{s:I, s:I, s:s, s:I, s:I, s:o, s:o, s:o, s:o}", "index", (json_int_t)index, "thread_id",
			 (json_int_t)thread_id, "state", ledger_state_key[reading.state], "wall_ns",
			 (json_int_t)reading.wall_ns, "unsettled_ns", (json_int_t)reading.unsettled_ns, "clocks_ns",
			 values_json(ledger_state_key, reading.state_ns, LEDGER_STATE_COUNT), "kinds",
			 kinds_json(&reading), "delays", delays_json(ledger, &reading), "counts",
			 values_json(ledger_counter_key, reading.count, LEDGER_COUNTER_COUNT));
}

const char *stats_network_kind(const struct machine_network *network)
{
	static const char *const kinds[] = {[NETWORK_NONE] = "none",
					    [NETWORK_USER] = "user",
					    [NETWORK_TAP] = "tap",
					    [NETWORK_BRIDGE] = "bridge",
					    [NETWORK_SWITCH] = "switch"};
	return kinds[network->kind];
}

void stats_mac(const struct machine_network *network, char text[STATS_MAC_SIZE])
{
	const uint8_t *mac = network->mac;
	(void)snprintf(text, STATS_MAC_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		       mac[5]);
}

const char *stats_disk_name(const struct machine_config *config, unsigned index)
{
	return index < config->disk_count ? config->disk[index].path : config->cdrom;
}

/* Each adapter: what it is, and its counters. */
static json_t *networks_json(const struct ledger *ledger, const struct machine_config *config)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < config->network_count; i++) {
		const struct machine_network *of = &config->network[i];
		uint64_t counts[LEDGER_NETWORK_COUNTER_COUNT];
		char mac[STATS_MAC_SIZE];
		for (unsigned k = 0; k < LEDGER_NETWORK_COUNTER_COUNT; k++)
			counts[k] = __atomic_load_n(&ledger->network[i].count[k], __ATOMIC_RELAXED);
		stats_mac(of, mac);
		(void)json_array_append_new(
		    list,
		    json_pack("{s:I, s:s, s:s, s:s, s:o}", "index", (json_int_t)i, "network", stats_network_kind(of),
			      "model", of->model == NETWORK_VIRTIO ? "virtio" : "pcnet", "mac", mac, "counts",
			      values_json(ledger_network_counter_key, counts, LEDGER_NETWORK_COUNTER_COUNT)));
	}
	return list;
}

static json_t *ticks_json(const struct ledger *ledger)
{
	json_t *object = json_object();
	for (unsigned i = 0; i < LEDGER_TIMER_COUNT; i++) {
		uint64_t counts[LEDGER_TICK_COUNTER_COUNT];
		for (unsigned k = 0; k < LEDGER_TICK_COUNTER_COUNT; k++)
			counts[k] = __atomic_load_n(&ledger->ticks[i].count[k], __ATOMIC_RELAXED);
		(void)json_object_set_new(object, ledger_timer_key[i],
					  values_json(ledger_tick_key, counts, LEDGER_TICK_COUNTER_COUNT));
	}
	return object;
}

/* As buckets_json(), of response times. */
static json_t *response_json(const struct ledger_disk_line *line)
{
	json_t *list = json_array();
	unsigned used = LEDGER_DISK_BUCKETS;
	while (used > 0 && line->bucket[used - 1] == 0)
		used--;
	for (unsigned i = 0; i < used; i++) {
		json_t *below = i == LEDGER_DISK_BUCKETS - 1 ? json_null() : json_integer((json_int_t)1000 << i);
		(void)json_array_append_new(list, json_pack("[o, I]", below, (json_int_t)line->bucket[i]));
	}
	return list;
}

static json_t *disk_json(const struct ledger_disk *disk, const char *name)
{
	json_t *object = json_pack("{s:s}", "name", name);
	for (unsigned i = 0; i < LEDGER_DISK_OPERATION_COUNT; i++) {
		const struct ledger_disk_line *line = &disk->operation[i];
		(void)json_object_set_new(object, ledger_disk_key[i],
					  json_pack("{s:I, s:I, s:I, s:I, s:o}", "count", (json_int_t)line->count,
						    "failed", (json_int_t)line->failed, "bytes",
						    (json_int_t)line->bytes, "total_ns", (json_int_t)line->ns,
						    "buckets", response_json(line)));
	}
	return object;
}

/* Behind the disks comes the disc. */
static json_t *disks_json(const struct ledger *ledger, const struct machine_config *config)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < ledger->disk_count; i++)
		(void)json_array_append_new(list, disk_json(&ledger->disk[i], stats_disk_name(config, i)));
	return list;
}

void stats_files_open(struct stats_files *files)
{
	files->smaps = fopen("/proc/self/smaps", "re");
	files->stat = fopen("/proc/stat", "re");
}

void stats_files_close(struct stats_files *files)
{
	if (files->smaps != NULL)
		(void)fclose(files->smaps);
	if (files->stat != NULL)
		(void)fclose(files->stat);
}

json_t *stats_json(struct machine *machine, const struct machine_config *config, const struct stats_files *files)
{
	struct ledger *ledger = machine_ledger(machine);
	struct resident resident = stats_resident(files->smaps);
	json_t *vcpus = json_array();
	machine_settle(machine);
	for (unsigned i = 0; i < ledger->vcpu_count; i++)
		(void)json_array_append_new(vcpus, vcpu_json(ledger, i));
	json_t *schedule =
	    json_pack("{s:b, s:I, s:I}", "scheduled", __atomic_load_n(&ledger->scheduled, __ATOMIC_RELAXED) != 0,
		      "lapses", (json_int_t)__atomic_load_n(&ledger->lapse_count, __ATOMIC_RELAXED), "lapsed_ns",
		      (json_int_t)ledger_lapse_ns(ledger));
	return json_pack(
	    "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "name", config->name, "memory_bytes",
	    (json_int_t)config->memory_size, "memory_resident_bytes", (json_int_t)resident.ram, "beyond_resident_bytes",
	    (json_int_t)resident.beyond, "overhead_bytes", (json_int_t)machine_overhead_bytes(machine), "host_steal_ns",
	    (json_int_t)host_steal_ns(files->stat), "tsc_hz", (json_int_t)ledger->tsc_hz, "opened_realtime_ns",
	    (json_int_t)ledger->opened_realtime_ns, "schedule", schedule, "vcpus", vcpus, "networks",
	    networks_json(ledger, config), "disks", disks_json(ledger, config), "ticks", ticks_json(ledger));
}

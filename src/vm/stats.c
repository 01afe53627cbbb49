/* SPDX-License-Identifier: MIT */
#include "vm/stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* How long Linux kept the thread waiting for a processor: the second word of its schedstat. 0 where the kernel does not
 * say. */
static uint64_t thread_run_delay(uint64_t thread_id)
{
	char path[64];
	uint64_t on_cpu = 0, delay = 0;
	(void)snprintf(path, sizeof path, "/proc/self/task/%" PRIu64 "/schedstat", thread_id);
	FILE *file = thread_id != 0 ? fopen(path, "re") : NULL;
	if (file == NULL)
		return 0;
	if (fscanf(file, "%" SCNu64 " %" SCNu64, &on_cpu, &delay) != 2)
		delay = 0;
	(void)fclose(file);
	return delay;
}

/* Bytes of the process that are in the host's memory, guest RAM included. */
static uint64_t resident_bytes(void)
{
	uint64_t total = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	if (file == NULL)
		return 0;
	if (fscanf(file, "%" SCNu64 " %" SCNu64, &total, &resident) != 2)
		resident = 0;
	(void)fclose(file);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static json_t *values_json(const char *const *keys, const uint64_t *values, unsigned count)
{
	json_t *object = json_object();
	for (unsigned i = 0; i < count; i++)
		(void)json_object_set_new(object, keys[i], json_integer((json_int_t)values[i]));
	return object;
}

static json_t *vcpu_json(const struct ledger *ledger, unsigned index)
{
	struct ledger_reading reading;
	ledger_read(ledger, index, &reading);
	uint64_t thread_id = __atomic_load_n(&ledger->vcpu[index].thread_id, __ATOMIC_RELAXED);
	return json_pack("{s:I, s:I, s:s, s:I, s:I, s:o, s:o}", "index", (json_int_t)index, "thread_id",
			 (json_int_t)thread_id, "state", ledger_state_key[reading.state], "wall_ns",
			 (json_int_t)reading.wall_ns, "run_delay_ns", (json_int_t)thread_run_delay(thread_id),
			 "clocks_ns", values_json(ledger_state_key, reading.state_ns, LEDGER_STATE_COUNT), "counts",
			 values_json(ledger_counter_key, reading.count, LEDGER_COUNTER_COUNT));
}

json_t *stats_json(const struct machine *machine, const struct machine_config *config)
{
	const struct ledger *ledger = machine_ledger(machine);
	json_t *vcpus = json_array();
	for (unsigned i = 0; i < ledger->vcpu_count; i++)
		(void)json_array_append_new(vcpus, vcpu_json(ledger, i));
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "name", config->name, "memory_bytes",
			 (json_int_t)config->memory_size, "overhead_bytes", (json_int_t)machine_overhead_bytes(machine),
			 "resident_bytes", (json_int_t)resident_bytes(), "tsc_hz", (json_int_t)ledger->tsc_hz,
			 "opened_realtime_ns", (json_int_t)ledger->opened_realtime_ns, "vcpus", vcpus);
}

/* SPDX-License-Identifier: MIT */
#include "vm/ledger.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "ledger/settle.h"
#include "vm/stats.h"

#define NS_PER_SECOND UINT64_C(1000000000)

static json_t *disk_names(const struct ledger *ledger, const struct machine_config *config)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < ledger->disk_count; i++) {
		json_t *name = json_string(stats_disk_name(config, i)); /* NULL where a path is not UTF-8 */
		(void)json_array_append_new(list, name != NULL ? name : json_string("?"));
	}
	return list;
}

static json_t *network_names(const struct machine_config *config)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < config->network_count; i++) {
		const struct machine_network *network = &config->network[i];
		char mac[STATS_MAC_SIZE];
		stats_mac(network, mac);
		(void)json_array_append_new(
		    list, json_pack("{s:s, s:s}", "network", stats_network_kind(network), "mac", mac));
	}
	return list;
}

/* syscall base: fcntl[1=F_DUPFD_CLOEXEC] -- the ledger for a client */
json_t *guest_ledger(struct method_context *context, json_t *params, struct method_error *error)
{
	const struct ledger *ledger = machine_ledger(context->machine);
	(void)params;
	if (context->answer_fd >= 0 || context->answers_unread)
		return method_fail(error, RPC_WRONG_STATE,
				   "the ledger is sent to who has read all answers before it: read those first");
	int fd = fcntl(machine_ledger_fd(context->machine), F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return method_fail(error, RPC_INTERNAL_ERROR, "the host has no descriptor left for it");
	json_t *result = json_pack("{s:i, s:I, s:I, s:o, s:o}", "version", (int)LEDGER_VERSION, "memory_bytes",
				   (json_int_t)context->config->memory_size, "opened_realtime_ns",
				   (json_int_t)ledger->opened_realtime_ns, "disks", disk_names(ledger, context->config),
				   "networks", network_names(context->config));
	if (result == NULL)
		close(fd);
	else
		context->answer_fd = fd;
	return result;
}

/* Processor time of the process outside its vCPUs: the event loop, disk and network threads. As of the last settlement.
 */
static json_int_t system_ns(const struct ledger *ledger)
{
	struct timespec used = {0};
	uint64_t vcpus = 0;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	uint64_t all = (uint64_t)used.tv_sec * NS_PER_SECOND + (uint64_t)used.tv_nsec;
	for (unsigned i = 0; i < ledger->vcpu_count; i++)
		vcpus += __atomic_load_n(&ledger->vcpu[i].settled.cpu, __ATOMIC_RELAXED);
	uint64_t theirs = (uint64_t)((unsigned __int128)vcpus * NS_PER_SECOND / ledger->tsc_hz);
	return (json_int_t)(all > theirs ? all - theirs : 0);
}

static void add_memory(json_t *result, FILE *smaps)
{
	struct resident resident = stats_resident(smaps);
	(void)json_object_set_new(result, "memory_resident_bytes", json_integer((json_int_t)resident.ram));
	(void)json_object_set_new(result, "beyond_resident_bytes", json_integer((json_int_t)resident.beyond));
}

json_t *guest_settle(struct method_context *context, json_t *params, struct method_error *error)
{
	struct ledger *ledger = machine_ledger(context->machine);
	json_t *memory = json_object_get(params, "memory");
	if (memory != NULL && !json_is_boolean(memory))
		return method_fail(error, RPC_INVALID_PARAMS, "memory must be true or false");
	json_t *result = json_pack("{s:b}", "paused", machine_state(context->machine) == MACHINE_PAUSED);
	if (json_is_true(memory))
		add_memory(result, context->stats_files.smaps);
	/* Last, so that it is as late as can be before the reader looks. */
	machine_settle(context->machine);
	(void)json_object_set_new(result, "system_ns", json_integer(system_ns(ledger)));
	return result;
}

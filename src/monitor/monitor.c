/* SPDX-License-Identifier: MIT */
#include "monitor/monitor.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/client.h"
#include "monitor/host.h"

#define NS_PER_SECOND UINT64_C(1000000000)
#define ATTACH_MS 500
#define RETRY_NS (5 * NS_PER_SECOND)  /* until a guest that did not answer is asked for its ledger again */
#define MEMORY_NS (2 * NS_PER_SECOND) /* reading what memory a process takes costs milliseconds: not more often */

struct watched {
	struct monitor_guest guest;
	struct monitor_totals before;
	struct client *client; /* NULL: not attached */
	uint64_t retry_ns;     /* when to try to attach again */
	uint64_t memory_ns;    /* when its memory was asked for last */
	uint64_t system_ns;    /* by its last answer */
	unsigned readings;
	bool asked; /* guest.settle is under way */
	bool seen;  /* it runs now */
};

struct monitor {
	struct runtime runtime;
	bool opened;
	struct watched **watched; /* in the order of their names */
	unsigned count, room;
	struct monitor_host host;
	uint64_t at_ns, before_ns; /* CLOCK_MONOTONIC of this reading and the one before; 0: none */
	uint64_t realtime_ns;
	bool out_of_memory;
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec now;
	(void)clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* ---- attaching ---- */

/* Another process's text, for tables and files: one line of printable characters; UTF-8 is left as it is. */
static void take_text(char *to, size_t size, const json_t *from)
{
	const char *text = json_string_value(from);
	(void)snprintf(to, size, "%s", text != NULL ? text : "?");
	for (char *at = to; *at != '\0'; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
}

static unsigned at_most(uint64_t value, unsigned limit)
{
	return value < limit ? (unsigned)value : limit;
}

static void take_description(struct monitor_guest *guest, const json_t *answer)
{
	const struct ledger *ledger = guest->ledger;
	const json_t *disks = json_object_get(answer, "disks"), *networks = json_object_get(answer, "networks");
	guest->started_ns = ledger->opened_realtime_ns;
	guest->memory_bytes = (uint64_t)json_integer_value(json_object_get(answer, "memory_bytes"));
	guest->vcpu_count = at_most(ledger->vcpu_count, LEDGER_MAX_VCPUS);
	guest->disk_count = at_most(ledger->disk_count, LEDGER_MAX_DISKS);
	guest->network_count = at_most(ledger->network_count, LEDGER_MAX_NETWORKS);
	for (unsigned i = 0; i < guest->disk_count; i++)
		take_text(guest->disk[i], sizeof guest->disk[i], json_array_get(disks, i));
	for (unsigned i = 0; i < guest->network_count; i++) {
		const json_t *network = json_array_get(networks, i);
		take_text(guest->network[i].kind, sizeof guest->network[i].kind, json_object_get(network, "network"));
		take_text(guest->network[i].mac, sizeof guest->network[i].mac, json_object_get(network, "mac"));
	}
}

static void detach(struct watched *watched)
{
	client_close(watched->client);
	watched->client = NULL;
	watched->asked = false;
}

static json_t *wait_answer(struct client *client, int timeout_ms)
{
	json_t *answer = NULL;
	uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * 1000000;
	while (client_receive(client, &answer, NULL) == CLIENT_WAITS) {
		struct pollfd poll_fd = {.fd = client_fd(client), .events = POLLIN};
		uint64_t now = clock_ns(CLOCK_MONOTONIC);
		if (now >= deadline || (poll(&poll_fd, 1, (int)((deadline - now) / 1000000) + 1) < 0 && errno != EINTR))
			return NULL;
	}
	return answer;
}

static void take_ledger(struct watched *watched, const json_t *answer)
{
	int fd = client_take_fd(watched->client);
	watched->guest.ledger = fd >= 0 ? ledger_map(fd, NULL) : NULL;
	if (fd >= 0)
		close(fd);
	if (watched->guest.ledger != NULL)
		take_description(&watched->guest, answer);
}

static void attach(struct monitor *monitor, struct watched *watched)
{
	if (watched->client != NULL || monitor->at_ns < watched->retry_ns)
		return;
	watched->retry_ns = monitor->at_ns + RETRY_NS;
	watched->client = client_open(&monitor->runtime, watched->guest.name, ATTACH_MS, NULL);
	if (watched->client == NULL || watched->guest.ledger != NULL)
		return;
	json_t *answer = NULL;
	if (client_send(watched->client, "guest.ledger", NULL, NULL))
		answer = wait_answer(watched->client, ATTACH_MS);
	if (answer != NULL)
		take_ledger(watched, answer);
	json_decref(answer);
	if (watched->guest.ledger == NULL)
		detach(watched);
}

static void forget(struct watched *watched)
{
	detach(watched);
	ledger_unmap(watched->guest.ledger);
	free(watched);
}

/* ---- which guests there are ---- */

static bool make_room(struct monitor *monitor)
{
	if (monitor->count < monitor->room)
		return true;
	unsigned room = monitor->room * 2 + 16;
	struct watched **grown = realloc(monitor->watched, room * sizeof *grown);
	if (grown == NULL)
		return false;
	monitor->watched = grown;
	monitor->room = room;
	return true;
}

static struct watched *find(const struct monitor *monitor, const char *name, pid_t owner)
{
	for (unsigned i = 0; i < monitor->count; i++)
		if (monitor->watched[i]->guest.pid == owner && strcmp(monitor->watched[i]->guest.name, name) == 0)
			return monitor->watched[i];
	return NULL;
}

static void visit(void *opaque, const char *name, pid_t owner)
{
	struct monitor *monitor = opaque;
	struct watched *watched = find(monitor, name, owner);
	if (watched == NULL) {
		/* It has parts of a ledger, which are aligned as its cache lines are. */
		watched = make_room(monitor) ? aligned_alloc(_Alignof(struct watched), sizeof *watched) : NULL;
		if (watched == NULL) {
			monitor->out_of_memory = true;
			return;
		}
		memset(watched, 0, sizeof *watched);
		(void)snprintf(watched->guest.name, sizeof watched->guest.name, "%s", name);
		watched->guest.pid = owner;
		monitor->watched[monitor->count++] = watched;
	}
	watched->seen = true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct watched *const *)a)->guest.name, (*(struct watched *const *)b)->guest.name);
}

static void drop_ended(struct monitor *monitor)
{
	unsigned left = 0;
	for (unsigned i = 0; i < monitor->count; i++) {
		if (monitor->watched[i]->seen)
			monitor->watched[left++] = monitor->watched[i];
		else
			forget(monitor->watched[i]);
	}
	monitor->count = left;
	if (left > 0)
		qsort(monitor->watched, left, sizeof(struct watched *), by_name);
}

/* No directory: no guest has run yet. */
static bool open_runtime(struct monitor *monitor, struct error *error)
{
	struct error why = {0};
	if (monitor->opened)
		return true;
	monitor->opened = runtime_open(&monitor->runtime, false, &why);
	if (monitor->opened || why.kind == ERROR_INPUT)
		return true;
	return error_set(error, why.kind, "%s", why.text);
}

static bool find_guests(struct monitor *monitor, struct error *error)
{
	if (!open_runtime(monitor, error))
		return false;
	for (unsigned i = 0; i < monitor->count; i++)
		monitor->watched[i]->seen = false;
	if (monitor->opened && !runtime_visit(&monitor->runtime, visit, monitor, error))
		return false;
	if (monitor->out_of_memory)
		return error_set(error, ERROR_HOST, "out of memory for the guests' ledgers");
	drop_ended(monitor);
	for (unsigned i = 0; i < monitor->count; i++)
		attach(monitor, monitor->watched[i]);
	return true;
}

/* ---- settling ---- */

static void ask(const struct monitor *monitor, struct watched *watched)
{
	watched->guest.settled = false;
	if (watched->client == NULL || watched->asked)
		return;
	bool memory = watched->memory_ns == 0 || monitor->at_ns - watched->memory_ns >= MEMORY_NS;
	if (memory)
		watched->memory_ns = monitor->at_ns;
	if (client_send(watched->client, "guest.settle", memory ? json_pack("{s:b}", "memory", 1) : NULL, NULL))
		watched->asked = true;
	else
		detach(watched);
}

static void take_answer(struct watched *watched, const json_t *answer)
{
	struct monitor_guest *guest = &watched->guest;
	const json_t *resident = json_object_get(answer, "memory_resident_bytes");
	guest->settled = true;
	guest->paused = json_is_true(json_object_get(answer, "paused"));
	watched->system_ns = (uint64_t)json_integer_value(json_object_get(answer, "system_ns"));
	if (resident == NULL)
		return;
	guest->resident_bytes = (uint64_t)json_integer_value(resident);
	guest->overhead_bytes = (uint64_t)json_integer_value(json_object_get(answer, "beyond_resident_bytes"));
}

static void receive(struct watched *watched)
{
	json_t *answer = NULL;
	enum client_state state = client_receive(watched->client, &answer, NULL);
	if (state == CLIENT_WAITS)
		return;
	watched->asked = false;
	if (state == CLIENT_ANSWERED)
		take_answer(watched, answer);
	else
		detach(watched);
	json_decref(answer);
}

/* How many descriptors to wait for, in the order of `of`. */
static unsigned pending(const struct monitor *monitor, struct pollfd *fds, struct watched **of)
{
	unsigned count = 0;
	for (unsigned i = 0; i < monitor->count; i++) {
		if (monitor->watched[i]->client == NULL || !monitor->watched[i]->asked)
			continue;
		fds[count] = (struct pollfd){.fd = client_fd(monitor->watched[i]->client), .events = POLLIN};
		of[count++] = monitor->watched[i];
	}
	return count;
}

static bool settle(struct monitor *monitor, struct error *error)
{
	struct pollfd *fds = calloc(monitor->count + 1, sizeof *fds);
	struct watched **of = calloc(monitor->count + 1, sizeof(struct watched *));
	uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + UINT64_C(1000000) * MONITOR_ANSWER_MS;
	bool good = fds != NULL && of != NULL;
	for (unsigned i = 0; good && i < monitor->count; i++)
		ask(monitor, monitor->watched[i]);
	while (good) {
		unsigned count = pending(monitor, fds, of);
		uint64_t now = clock_ns(CLOCK_MONOTONIC);
		if (count == 0 || now >= deadline)
			break;
		if (poll(fds, count, (int)((deadline - now) / 1000000) + 1) <= 0)
			continue;
		for (unsigned i = 0; i < count; i++)
			if (fds[i].revents != 0)
				receive(of[i]);
	}
	free(fds);
	free(of);
	return good || error_set(error, ERROR_HOST, "out of memory for the guests' ledgers");
}

/* ---- reading ---- */

static void copy_words(uint64_t *to, const uint64_t *from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

static void read_totals(const struct monitor_guest *guest, struct monitor_totals *totals)
{
	const struct ledger *ledger = guest->ledger;
	ledger_read_all(ledger, guest->vcpu_count, totals->vcpu);
	for (unsigned i = 0; i < guest->network_count; i++)
		copy_words(totals->network[i], ledger->network[i].count, LEDGER_NETWORK_COUNTER_COUNT);
	for (unsigned i = 0; i < LEDGER_TIMER_COUNT; i++)
		copy_words(totals->ticks[i].count, ledger->ticks[i].count, LEDGER_TICK_COUNTER_COUNT);
	for (unsigned i = 0; i < guest->disk_count; i++)
		copy_words((uint64_t *)&totals->disk[i], (const uint64_t *)&ledger->disk[i],
			   sizeof(struct ledger_disk) / sizeof(uint64_t));
}

/* A guest whose ledger was opened after the last reading began in this interval: all of it is gain. */
static bool began_meanwhile(const struct monitor *monitor, const struct watched *watched)
{
	return monitor->before_ns != 0 &&
	       watched->guest.now.vcpu[0].wall_ns < monitor->at_ns - monitor->before_ns + NS_PER_SECOND / 100;
}

static void read_guest(const struct monitor *monitor, struct watched *watched)
{
	struct monitor_guest *guest = &watched->guest;
	if (guest->ledger == NULL)
		return;
	watched->before = guest->now;
	read_totals(guest, &guest->now);
	guest->now.system_ns = watched->system_ns;
	guest->known = watched->readings > 0 || began_meanwhile(monitor, watched);
	if (guest->known)
		monitor_subtract(&guest->now, &watched->before, &guest->gain);
	watched->readings += watched->readings < 2;
}

bool monitor_read(struct monitor *monitor, struct error *error)
{
	monitor->before_ns = monitor->at_ns;
	monitor->at_ns = clock_ns(CLOCK_MONOTONIC);
	if (!find_guests(monitor, error) || !settle(monitor, error))
		return false;
	/* What was waited for belongs to the interval. */
	monitor->at_ns = clock_ns(CLOCK_MONOTONIC);
	monitor->realtime_ns = clock_ns(CLOCK_REALTIME);
	host_read(&monitor->host, monitor->before_ns == 0);
	for (unsigned i = 0; i < monitor->count; i++)
		read_guest(monitor, monitor->watched[i]);
	return true;
}

/* ---- the rest ---- */

struct monitor *monitor_create(struct error *error)
{
	struct monitor *monitor = calloc(1, sizeof *monitor);
	if (monitor == NULL)
		error_set(error, ERROR_HOST, "out of memory");
	return monitor;
}

void monitor_destroy(struct monitor *monitor)
{
	if (monitor == NULL)
		return;
	for (unsigned i = 0; i < monitor->count; i++)
		forget(monitor->watched[i]);
	free(monitor->watched);
	if (monitor->opened)
		runtime_close(&monitor->runtime);
	free(monitor);
}

unsigned monitor_guest_count(const struct monitor *monitor)
{
	return monitor->count;
}

const struct monitor_guest *monitor_guest(const struct monitor *monitor, unsigned index)
{
	return &monitor->watched[index]->guest;
}

const struct monitor_host *monitor_host(const struct monitor *monitor)
{
	return &monitor->host;
}

uint64_t monitor_realtime_ns(const struct monitor *monitor)
{
	return monitor->realtime_ns;
}

uint64_t monitor_interval_ns(const struct monitor *monitor)
{
	return monitor->before_ns == 0 ? 0 : monitor->at_ns - monitor->before_ns;
}

/* SPDX-License-Identifier: MIT */
/*
 * Ledgers as the monitor reads them: guests that write anything into the memory they passed, between two readings too,
 * pass something else, and answer with anything. Whatever they do, the readings stay within bounds, and what is shown
 * of them as metrics and CSV keeps its form.
 *
 * The connection to a guest and the runtime directory are doubles, in place of control/client.c and control/runtime.c.
 */
#include "fuzz-rig.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/client.h"
#include "ledger/shared.h"
#include "monitor/csv.h"
#include "monitor/metrics.h"
#include "monitor/terms.h"

#define GUESTS 3u

struct guest {
	const char *name;
	bool runs;
	pid_t pid;
	struct ledger *ledger;
	int ledger_fd;
};

static struct world {
	struct fuzz_rig *rig;
	struct guest guest[GUESTS];
} world;

struct client {
	const struct guest *guest;
	int ready;
	bool asks_for_ledger;
};

/* ---- the doubles ---- */

bool runtime_open(struct runtime *runtime, bool create, struct error *error)
{
	(void)create;
	(void)error;
	runtime->fd = -1;
	return true;
}

void runtime_close(struct runtime *runtime)
{
	(void)runtime;
}

bool runtime_visit(const struct runtime *runtime, runtime_visitor *visitor, void *opaque, struct error *error)
{
	(void)runtime;
	(void)error;
	for (unsigned i = 0; i < GUESTS; i++)
		if (world.guest[i].runs)
			visitor(opaque, world.guest[i].name, world.guest[i].pid);
	return true;
}

struct client *client_open(const struct runtime *runtime, const char *name, int timeout_ms, struct error *error)
{
	(void)runtime;
	(void)timeout_ms;
	(void)error;
	struct client *client = fuzz_byte(world.rig) < 0xf0 ? calloc(1, sizeof *client) : NULL;
	for (unsigned i = 0; client != NULL && i < GUESTS; i++)
		if (strcmp(world.guest[i].name, name) == 0)
			client->guest = &world.guest[i];
	if (client != NULL)
		client->ready = eventfd(1, EFD_CLOEXEC);
	return client;
}

void client_close(struct client *client)
{
	if (client != NULL)
		close(client->ready);
	free(client);
}

int client_fd(const struct client *client)
{
	return client->ready;
}

bool client_send(struct client *client, const char *method, json_t *params, struct error *error)
{
	(void)error;
	json_decref(params);
	client->asks_for_ledger = strcmp(method, "guest.ledger") == 0;
	return fuzz_byte(world.rig) < 0xf8;
}

/* The ledger, or something else. */
int client_take_fd(struct client *client)
{
	uint8_t choice = client->asks_for_ledger ? fuzz_byte(world.rig) : 0xff;
	if (choice < 0xe8)
		return fcntl(client->guest->ledger_fd, F_DUPFD_CLOEXEC, 0);
	return choice < 0xf0 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : choice < 0xf8 ? eventfd(0, EFD_CLOEXEC) : -1;
}

static json_t *any_value(struct fuzz_rig *rig)
{
	static const char *const texts[] = {"disk.img", "", "a\"b\\c", "line\nbreak\r\t\x01\x7f", "\xe2\x82\xac", "}"};
	uint8_t choice = fuzz_byte(rig);
	char longer[600];
	switch (choice & 7) {
	case 0:
		memset(longer, 'x', sizeof longer);
		return json_stringn(longer, fuzz_number(rig, 2) % sizeof longer);
	case 1:
		return json_integer((json_int_t)fuzz_number(rig, 8));
	case 2:
		return json_pack("[s, i, {s:s, s:s}]", "one", 2, "network", "user\n", "mac", "\"");
	case 3:
		return choice & 8 ? json_null() : json_boolean(choice & 0x10);
	default:
		return json_string(texts[choice >> 3 & 7 ? choice % 6 : 0]);
	}
}

static json_t *any_answer(struct fuzz_rig *rig)
{
	static const char *const keys[] = {"version",
					   "memory_bytes",
					   "disks",
					   "networks",
					   "paused",
					   "system_ns",
					   "memory_resident_bytes",
					   "beyond_resident_bytes"};
	json_t *answer = json_object();
	for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		uint8_t choice = fuzz_byte(rig);
		json_t *value = choice < 0xc0 ? any_value(rig) : NULL;
		if (choice < 0x40 && value != NULL) {
			json_t *list = json_array();
			for (unsigned k = 0; k < choice % 24u; k++)
				(void)json_array_append(list, value);
			json_decref(value);
			value = list;
		}
		if (value != NULL)
			(void)json_object_set_new(answer, keys[i], value);
	}
	return answer;
}

/* A guest that does not answer at all is waited for, which is for tests that have the time. */
enum client_state client_receive(struct client *client, json_t **result, struct error *error)
{
	uint8_t choice = fuzz_byte(world.rig);
	(void)client;
	(void)error;
	*result = choice < 0xf0 ? any_answer(world.rig) : choice < 0xf4 ? json_integer(choice) : NULL;
	return choice < 0xf4 ? CLIENT_ANSWERED : choice < 0xfa ? CLIENT_REFUSED : CLIENT_BROKEN;
}

/* ---- the guests ---- */

/* One that is as the guest's process makes it: measuring the clock each time would take too long. */
static const struct ledger *sample(void)
{
	static struct ledger *made;
	int fd;
	if (made == NULL)
		made = ledger_create(2, &fd, NULL);
	assert(made != NULL);
	return made;
}

static void open_guest(struct guest *guest, const char *name, pid_t pid)
{
	*guest = (struct guest){.name = name, .runs = true, .pid = pid};
	guest->ledger = shared_create("fuzz-ledger", "a ledger", sizeof *guest->ledger, &guest->ledger_fd, NULL);
	assert(guest->ledger != NULL);
	memcpy(guest->ledger, sample(), sizeof *guest->ledger);
	guest->ledger->network_count = guest->ledger->disk_count = 2;
}

/* A word that says a change is under way would be waited for: it is made even. */
static bool is_sequence(const struct ledger *ledger, const uint64_t *word)
{
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++)
		if (word == &ledger->vcpu[i].sequence || word == &ledger->vcpu[i].settled.sequence)
			return true;
	return false;
}

static void scribble(struct world *in, struct guest *guest)
{
	uint64_t *words = (uint64_t *)guest->ledger;
	uint8_t choice = fuzz_byte(in->rig);
	size_t count = (choice & 0x80) != 0   ? sizeof *guest->ledger / 8
		       : (choice & 0x40) != 0 ? offsetof(struct ledger, vcpu[1]) / 8
					      : offsetof(struct ledger, vcpu) / 8;
	uint64_t *word = &words[fuzz_number(in->rig, 2) % count];
	const uint64_t values[] = {
	    0, 1, UINT64_MAX, UINT64_C(1) << 63, ledger_tsc(), *word + 1000, ~*word, fuzz_number(in->rig, 8)};
	uint64_t value = values[choice & 7];
	__atomic_store_n(word, is_sequence(guest->ledger, word) ? value & ~UINT64_C(1) : value, __ATOMIC_RELAXED);
}

/* ---- what is shown ---- */

static void check_metrics(const struct monitor *monitor, enum metrics_format format)
{
	const struct metrics_more none = {0};
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	assert(to != NULL);
	metrics_write(monitor, &none, format, to);
	assert(fclose(to) == 0 && size > 0 && text[size - 1] == '\n');
	for (char *line = text, *end; *line != '\0'; line = end + 1) {
		end = strchr(line, '\n');
		assert(strncmp(line, "# ", 2) == 0 || strncmp(line, "nfold_", 6) == 0);
		for (const char *at = line; at < end; at++)
			assert(!iscntrl((unsigned char)*at));
		assert(line[0] == '#' || isdigit((unsigned char)end[-1]));
	}
	free(text);
}

static unsigned quotes(const char *text, size_t size)
{
	unsigned count = 0;
	for (size_t i = 0; i < size; i++)
		count += text[i] == '"';
	return count;
}

/* Two lines without anything that a line cannot have. */
static void check_csv(struct monitor *monitor)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	assert(to != NULL);
	struct csv *csv = csv_create(monitor, to);
	assert(csv != NULL);
	csv_row(csv, monitor, to);
	csv_destroy(csv);
	assert(fclose(to) == 0 && size > 0 && text[size - 1] == '\n');
	for (size_t i = 0; i < size; i++)
		assert(!iscntrl((unsigned char)text[i]) || text[i] == '\n' || text[i] == '\r');
	char *first = strchr(text, '\n');
	assert(first != NULL && strchr(first + 1, '\n') == text + size - 1);
	assert(quotes(text, (size_t)(first - text)) % 2 == 0);
	free(text);
}

/* It ends where its field does, and fits a line. */
static void check_text(const char *text, size_t size)
{
	assert(memchr(text, '\0', size) != NULL);
	for (; *text != '\0'; text++)
		assert(!iscntrl((unsigned char)*text));
}

static void check_guest(const struct monitor_guest *guest)
{
	for (unsigned i = 0; i < LEDGER_MAX_DISKS; i++)
		check_text(guest->disk[i], sizeof guest->disk[i]);
	for (unsigned i = 0; i < LEDGER_MAX_NETWORKS; i++) {
		check_text(guest->network[i].kind, sizeof guest->network[i].kind);
		check_text(guest->network[i].mac, sizeof guest->network[i].mac);
	}
	assert(guest->vcpu_count <= LEDGER_MAX_VCPUS && guest->disk_count <= LEDGER_MAX_DISKS &&
	       guest->network_count <= LEDGER_MAX_NETWORKS);
	for (unsigned i = 0; i < guest->vcpu_count; i++) {
		const struct ledger_reading *gain = &guest->gain.vcpu[i];
		assert((unsigned)guest->now.vcpu[i].state < LEDGER_BOOKED_COUNT);
		for (unsigned term = 0; term < TERM_COUNT; term++)
			assert(term_of_vcpu(gain, (enum monitor_term)term) >= 0);
	}
	assert(gain_seconds(guest) > 0);
}

static void read_and_check(struct monitor *monitor)
{
	assert(monitor_read(monitor, NULL));
	for (unsigned i = 0; i < monitor_guest_count(monitor); i++)
		check_guest(monitor_guest(monitor, i));
	check_metrics(monitor, METRICS_OPENMETRICS);
	check_metrics(monitor, METRICS_TEXT);
	check_csv(monitor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[GUESTS] = {"a", "b.c", "web-1"};
	struct fuzz_rig rig = {.data = data, .left = size};
	struct monitor *monitor = monitor_create(NULL);
	assert(monitor != NULL);
	world.rig = &rig;
	for (unsigned i = 0; i < GUESTS; i++)
		open_guest(&world.guest[i], names[i], (pid_t)(1000 + i));
	for (unsigned i = 0; rig.left > 0 && i < 6; i++) {
		for (unsigned writes = fuzz_byte(&rig) % 32; writes > 0; writes--)
			scribble(&world, &world.guest[fuzz_byte(&rig) % GUESTS]);
		struct guest *guest = &world.guest[fuzz_byte(&rig) % GUESTS];
		uint8_t choice = fuzz_byte(&rig);
		if (choice < 0x20)
			guest->runs = !guest->runs;
		else if (choice < 0x40)
			guest->pid++; /* another process has its name */
		read_and_check(monitor);
	}
	monitor_destroy(monitor);
	for (unsigned i = 0; i < GUESTS; i++)
		shared_close(world.guest[i].ledger, sizeof *world.guest[i].ledger, world.guest[i].ledger_fd);
	return 0;
}

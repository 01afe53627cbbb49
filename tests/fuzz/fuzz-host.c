/* SPDX-License-Identifier: MIT */
/*
 * What nfoldd's control socket is asked: requests of any bytes, and requests made of its methods with names and
 * definitions of all kinds, while definitions are edited by hand, vanish, and guests start and end. Each request has
 * one answer at most, which is JSON with a result or an error; what the host knows of its guests stays in order, and no
 * descriptor is left behind.
 *
 * The host's state is in a folder of its own; its guests' programs are a script that says it is ready and ends.
 */
#include "fuzz-rpc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/definition.h"
#include "control/report.h"
#include "host/methods.h"

#define STARTS_MAX 3u /* of processes for an input: they take longer than all the rest */

static const char program[] = "#!/bin/sh\n"
			      "for word; do\n"
			      "	case $word in --ready-fd=*) eval \"echo ready >&${word#*=}\" ;; esac\n"
			      "done\n"
			      "case \"$*\" in *'--cpus 2'*) exit 2 ;; esac\n";

/* What the host tells its user is of no interest here. */
void report_line(const char *format, ...)
{
	(void)format;
}

enum exit_status report_error(const struct error *error)
{
	(void)error;
	return STATUS_HOST;
}

/* ---- folders ---- */

static void write_file(int folder, const char *name, const void *bytes, size_t size, mode_t mode)
{
	int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	assert(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
	close(fd);
}

/* Where nothing is kept for long, syncing costs nothing; but programs must start there. No other nfold-vm is found. */
static void make_folder(char path[64])
{
	struct statvfs shared;
	bool fits = statvfs("/dev/shm", &shared) == 0 && (shared.f_flag & ST_NOEXEC) == 0;
	strcpy(path, "/dev/shm/nfold-fuzz-XXXXXX");
	if (!fits || mkdtemp(path) == NULL) {
		strcpy(path, "/tmp/nfold-fuzz-XXXXXX");
		assert(mkdtemp(path) != NULL);
	}
	assert(setenv("XDG_STATE_HOME", path, 1) == 0 && setenv("XDG_RUNTIME_DIR", path, 1) == 0 &&
	       setenv("PATH", path, 1) == 0);
	int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert(folder >= 0);
	write_file(folder, "nfold-vm", program, sizeof program - 1, 0700);
	close(folder);
}

static void empty(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, entry->d_name, 0) == 0)
			continue;
		empty(fd, entry->d_name);
		(void)unlinkat(fd, entry->d_name, AT_REMOVEDIR);
	}
	if (folder != NULL)
		closedir(folder);
}

static unsigned count_descriptors(void)
{
	unsigned count = 0;
	DIR *folder = opendir("/proc/self/fd");
	assert(folder != NULL);
	while (readdir(folder) != NULL)
		count++;
	closedir(folder);
	return count;
}

/* ---- requests ---- */

static const char *const names[] = {"a", "b.c", "web-1", "", "../x", ".host", "a/b", "-a", "a.json"};

static const char *const definitions[] = {
    "{\"memory\": \"16M\"}",
    "{\"memory\": \"16M\", \"cpus\": 2, \"restart\": \"always\"}",
    "{\"shares\": 10, \"limit\": \"50%\", \"kernel\": \"/dev/null\"}",
    "{\"reservation\": \"1000000MHz\"}",
    "{\"reservation\": \"1%\", \"autostart\": true}",
    "{\"affinity\": \"0\", \"dedicated\": true}",
    "{\"affinity\": \"9-1,300\"}",
    "{\"cpus\": 2, \"coscheduling\": \"strict\"}",
    "{\"name\": \"other\"}",
    "{\"serial\": \"stdio\"}",
    "{\"memory\": null, \"limit\": null}",
    "{\"restart\": \"on-failure\", \"stop-timeout\": 0}",
    "{\"cpus\": 99}",
    "{}",
    "[]",
    "\"memory\"",
};

static const char *const values[] = {"1", "0", "-1", "null", "true", "false", "86401", "\"x\"", "1e9", "[]", "{}"};

/* Any option with any value. */
static size_t append_option(struct fuzz_rig *rig, char *text, size_t used, size_t size)
{
	const struct option *option = option_first(definition_option_table);
	for (unsigned skip = fuzz_byte(rig) % 60; skip > 0; skip--) {
		option = option_next(option);
		if (option == NULL)
			option = option_first(definition_option_table);
	}
	used = fuzz_append(text, used, size, "{\"");
	used = fuzz_append(text, used, size, option->name);
	used = fuzz_append(text, used, size, "\": ");
	used = FUZZ_APPEND_ONE(values, fuzz_byte(rig), text, used, size);
	return fuzz_append(text, used, size, "}");
}

static size_t append_value(struct fuzz_rig *rig, uint8_t choice, const char *param, char *text, size_t used,
			   size_t size)
{
	if ((choice & 0x70) == 0)
		return FUZZ_APPEND_ONE(values, choice, text, used, size);
	if (strcmp(param, "definition") == 0)
		return (choice & 0x70) == 0x10 ? append_option(rig, text, used, size)
					       : FUZZ_APPEND_ONE(definitions, choice, text, used, size);
	if (strcmp(param, "name") != 0)
		return FUZZ_APPEND_ONE(values, choice, text, used, size);
	used = fuzz_append(text, used, size, "\"");
	used = fuzz_append(text, used, size, names[(choice & 0x40) != 0 ? choice & 1 : choice % 9]);
	return fuzz_append(text, used, size, "\"");
}

/* One request as a client of ours would write it, of a guest that there may be: only its values may be wrong. */
static char *make_good_request(struct fuzz_rig *rig, size_t *length)
{
	char text[FUZZ_RPC_MAX];
	uint8_t choice = fuzz_byte(rig);
	const struct method *method = &host_methods.method[fuzz_byte(rig) % host_methods.count];
	size_t used = fuzz_append(text, 0, sizeof text, "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"");
	used = fuzz_append(text, used, sizeof text, method->name);
	used = fuzz_append(text, used, sizeof text, "\", \"params\": {");
	for (unsigned i = 0; i < METHOD_PARAMS_MAX && method->param[i] != NULL; i++) {
		bool known = strcmp(method->param[i], "name") == 0 || strcmp(method->param[i], "definition") == 0;
		if (!known && (choice & 0x80) != 0)
			continue;
		used = fuzz_append(text, used, sizeof text, text[used - 1] == '{' ? "\"" : ", \"");
		used = fuzz_append(text, used, sizeof text, method->param[i]);
		used = fuzz_append(text, used, sizeof text, "\": ");
		used = append_value(rig, known ? 0x40 | (choice & 0x0f) : choice, method->param[i], text, used,
				    sizeof text);
	}
	used = fuzz_append(text, used, sizeof text, "}}");
	*length = used;
	char *exact = malloc(used);
	assert(exact != NULL);
	memcpy(exact, text, used);
	return exact;
}

static bool asks_to_start(const char *text, size_t length)
{
	return memmem(text, length, "guest.start", 11) != NULL;
}

static void ask(struct fuzz_rig *rig, struct host *host, unsigned *starts)
{
	static const struct fuzz_rpc rpc = {.table = &host_methods, .append_value = append_value};
	struct method_context context = {.host = host};
	uint8_t kind = fuzz_byte(rig);
	size_t length;
	char *text = (kind & 8) != 0   ? make_good_request(rig, &length)
		     : (kind & 7) != 0 ? fuzz_make_requests(rig, &rpc, &length)
				       : fuzz_raw_requests(rig, fuzz_byte(rig), &length);
	host->answers_unread = (kind & 0xc0) == 0xc0;
	bool may = !asks_to_start(text, length) || ++*starts <= STARTS_MAX;
	if (may)
		fuzz_check_answer(rpc_answer(&host_methods, &context, NULL, text, length));
	free(text);
	if (host->answer_fd >= 0)
		assert(close(host->answer_fd) == 0);
	host->answer_fd = -1;
}

/* ---- what happens beside ---- */

static void edit_by_hand(struct fuzz_rig *rig, const struct host *host)
{
	uint8_t choice = fuzz_byte(rig);
	char file[32], bytes[256];
	size_t size = 0;
	(void)snprintf(file, sizeof file, "%s.json", names[choice & 1]);
	if ((choice & 0xc0) == 0) {
		(void)unlinkat(host->store.guests, file, 0);
		return;
	}
	if ((choice & 0xc0) == 0x40)
		size = FUZZ_APPEND_ONE(definitions, choice >> 1, bytes, size, sizeof bytes);
	for (; (choice & 0x80) != 0 && size < choice && rig->left > 0; size++)
		bytes[size] = (char)fuzz_byte(rig);
	write_file(host->store.guests, file, bytes, size, 0600);
}

static void go_on(struct fuzz_rig *rig, struct host *host, unsigned *starts)
{
	host_loop_run_once(&host->loop, fuzz_byte(rig) % 4);
	for (struct guest *guest = host->guests; guest != NULL; guest = guest->next)
		if (guest->restart_at_ms != HOST_NEVER && ++*starts > STARTS_MAX)
			guest->restart_at_ms = HOST_NEVER;
	(void)guests_work(host);
}

/* A guest's state and what is held of its process go together; names are good, and in order. */
static void check_guests(const struct host *host)
{
	for (const struct guest *guest = host->guests; guest != NULL; guest = guest->next) {
		assert(name_check(guest->name, NULL));
		assert(guest->next == NULL || strcmp(guest->name, guest->next->name) < 0);
		assert((guest->state == GUEST_STOPPED) == (guest->pidfd < 0));
		assert(guest->state != GUEST_STOPPED ||
		       (guest->ready_fd < 0 && guest->call == NULL && guest->dispatched == NULL));
		assert(guest->definition.object != NULL || guest->problem[0] != '\0' || !guest->defined);
	}
}

static void step(struct fuzz_rig *rig, struct host *host, unsigned *starts)
{
	uint8_t action = fuzz_byte(rig);
	if (action < 0xa0)
		ask(rig, host, starts);
	else if (action < 0xd0)
		edit_by_hand(rig, host);
	else
		go_on(rig, host, starts);
	host->ending = host->ending && action >= 0x40; /* asked for: not for ever */
	check_guests(host);
}

/* ---- the host ---- */

/* With a guest that can be started. */
static void host_open(struct host *host)
{
	struct error error = {0};
	const char *first = definitions[0];
	const struct sched_policy policy = {.processors = 2};
	*host = (struct host){.answer_fd = -1, .started_ms = host_now_ms()};
	assert(host_loop_open(&host->loop, &error) && runtime_open(&host->runtime, true, &error) &&
	       store_open(&host->store, &error));
	write_file(host->store.guests, "a.json", first, strlen(first), 0600);
	host->dispatcher = dispatcher_create(&policy, &error);
	assert(host->dispatcher != NULL && guests_refresh(host, &error));
}

/* Its guests live on; these end by themselves. */
static void host_close(struct host *host)
{
	pid_t left[STARTS_MAX];
	unsigned count = 0;
	for (const struct guest *guest = host->guests; guest != NULL; guest = guest->next)
		if (guest->state != GUEST_STOPPED && count < STARTS_MAX)
			left[count++] = guest->pid;
	guests_forget(host);
	dispatcher_destroy(host->dispatcher);
	store_close(&host->store);
	runtime_close(&host->runtime);
	host_loop_close(&host->loop);
	for (unsigned i = 0; i < count; i++)
		while (waitpid(left[i], NULL, 0) < 0 && errno == EINTR)
			;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_rig rig = {.data = data, .left = size};
	char folder[64];
	struct host host;
	unsigned starts = 0;
	(void)signal(SIGPIPE, SIG_IGN);
	unsigned descriptors = count_descriptors();
	make_folder(folder);
	host_open(&host);
	for (unsigned i = 0; rig.left > 0 && i < 64; i++)
		step(&rig, &host, &starts);
	host_close(&host);
	empty(AT_FDCWD, folder);
	assert(rmdir(folder) == 0);
	assert(count_descriptors() == descriptors);
	return 0;
}

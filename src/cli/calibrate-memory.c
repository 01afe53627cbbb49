/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. nfoldd runs in folders of its own, so that it meets no other host and leaves nothing, and starts
 * small guests of calibrate-guest.S that work a little and then stay. All memory is counted as the kernel shares it out
 * (proportional set size), with the page tables, and without the guests' own; so the sums over several processes are
 * true. Differences give the figures: three guests and one, a guest that has run more code than the engine keeps and
 * one that has not, a guest that uses much memory and one that does not.
 *
 * Whatever happens, nothing is left: nfoldd dies with us, signals wait until it is gone, and guests that nobody has
 * ended end themselves after five minutes.
 */
#include "cli/calibrate-memory.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/hosted.h"
#include "control/client.h"
#include "control/program.h"
#include "control/runtime.h"

#define KIB 1024.0
#define MIB (1024 * KIB)
#define POLL_NS 20000000
#define POLLS_MAX 9000 /* three minutes */
#define TOUCHED_MIB 192

/* In this order: the first alone, then with two that are the same. */
static const struct held {
	const char *name, *append, *memory;
} held[] = {
    {"first", "#m1", "32M"},  {"second", "#m1", "32M"},
    {"third", "#m1", "32M"},  {"code", "#m4096", "32M"}, /* CODE_KIB */
    {"ram", "#n192", "256M"},				 /* TOUCHED_MIB */
};
enum { HELD_FIRST, HELD_THIRD = 2, HELD_CODE, HELD_RAM, HELD_COUNT };
_Static_assert(sizeof held / sizeof held[0] == HELD_COUNT, "a row each");

/* In bytes. */
struct guest_memory {
	double beyond, own;
};

struct host {
	char folder[32], kernel[64];
	char *runtime_before, *state_before; /* of the environment; NULL: not set */
	sigset_t mask_before;
	pid_t pid; /* of nfoldd, 0: none */
};

/* ---- what the kernel says ---- */

/* The figure of a line "KEY: N kB" in bytes, or 0. */
static double kib_line(const char *path, const char *key)
{
	char line[256];
	double value = 0;
	size_t length = strlen(key);
	FILE *file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (strncmp(line, key, length) == 0 && line[length] == ':')
			value = strtod(line + length + 1, NULL) * KIB;
	if (file != NULL)
		(void)fclose(file);
	return value;
}

static double process_line(pid_t pid, const char *file, const char *key)
{
	char path[64];
	(void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	return kib_line(path, key);
}

static double host_bytes(const struct host *host)
{
	return process_line(host->pid, "smaps_rollup", "Pss") + process_line(host->pid, "status", "VmPTE");
}

/* ---- nfoldd ---- */

static char *environment_set(const char *name, const char *value)
{
	const char *before = getenv(name);
	char *kept = before != NULL ? strdup(before) : NULL;
	(void)setenv(name, value, 1);
	return kept;
}

static void environment_restore(const char *name, char *before)
{
	if (before != NULL)
		(void)setenv(name, before, 1);
	else
		(void)unsetenv(name);
	free(before);
}

static bool kernel_write(struct host *host, const char *image, size_t size, struct error *error)
{
	(void)snprintf(host->kernel, sizeof host->kernel, "%s/kernel", host->folder);
	FILE *file = fopen(host->kernel, "we");
	bool good = file != NULL && fwrite(image, 1, size, file) == size;
	if (file != NULL && fclose(file) != 0)
		good = false;
	return good || error_set_errno(error, "cannot write %s", host->kernel);
}

/* In the child. A session of its own: the terminal's signals are for us, and we end it. */
static _Noreturn void host_exec(const struct host *host, pid_t parent, int ready)
{
	char path[PATH_MAX], text[32];
	program_path("nfoldd", path);
	(void)snprintf(text, sizeof text, "--ready-fd=%d", ready);
	char *words[] = {(char *)(uintptr_t) "nfoldd", text, NULL};
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)setsid();
	(void)fcntl(ready, F_SETFD, 0);
	(void)sigprocmask(SIG_SETMASK, &host->mask_before, NULL);
	if (getppid() == parent)
		(void)execvp(path, words);
	_exit(127);
}

static bool host_run(struct host *host, struct error *error)
{
	int ready[2];
	char byte;
	pid_t parent = getpid();
	if (pipe2(ready, O_CLOEXEC) != 0)
		return error_set_errno(error, "cannot create a pipe");
	host->pid = fork();
	if (host->pid == 0)
		host_exec(host, parent, ready[1]);
	(void)close(ready[1]);
	ssize_t got;
	do
		got = read(ready[0], &byte, 1);
	while (got < 0 && errno == EINTR);
	(void)close(ready[0]);
	return got == 1 || error_set(error, ERROR_HOST, "cannot start nfoldd: it should be next to nfold or in PATH");
}

static bool host_start(struct host *host, const char *image, size_t size, struct error *error)
{
	sigset_t ending;
	(void)sigemptyset(&ending);
	(void)sigaddset(&ending, SIGINT);
	(void)sigaddset(&ending, SIGTERM);
	(void)sigaddset(&ending, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &ending, &host->mask_before);
	(void)snprintf(host->folder, sizeof host->folder, P_tmpdir "/nfold-calibrate-XXXXXX");
	if (mkdtemp(host->folder) == NULL) {
		host->folder[0] = '\0';
		return error_set_errno(error, "cannot make a folder in " P_tmpdir);
	}
	host->runtime_before = environment_set("XDG_RUNTIME_DIR", host->folder);
	/* A folder of its own: in the other both would be called the same. */
	char state[64];
	(void)snprintf(state, sizeof state, "%s/state", host->folder);
	host->state_before = environment_set("XDG_STATE_HOME", state);
	return kernel_write(host, image, size, error) && host_run(host, error);
}

static int file_remove(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	(void)status;
	(void)kind;
	(void)place;
	(void)remove(path);
	return 0;
}

static void host_end(struct host *host)
{
	if (host->pid > 0) {
		json_t *answer = hosted_call("host.stop", json_pack("{s:b}", "guests", 1), NULL);
		if (answer == NULL)
			(void)kill(host->pid, SIGTERM);
		json_decref(answer);
		while (waitpid(host->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (host->folder[0] != '\0') {
		(void)nftw(host->folder, file_remove, 8, FTW_DEPTH | FTW_PHYS);
		environment_restore("XDG_RUNTIME_DIR", host->runtime_before);
		environment_restore("XDG_STATE_HOME", host->state_before);
	}
	(void)sigprocmask(SIG_SETMASK, &host->mask_before, NULL);
}

/* ---- guests ---- */

static bool host_do(const char *method, json_t *params, struct error *error)
{
	json_t *answer = hosted_call(method, params, error);
	json_decref(answer);
	return answer != NULL;
}

/* One look. It stays when it has halted for the first time. */
static bool guest_look(const struct runtime *runtime, const char *name, bool *stays, struct guest_memory *memory,
		       struct error *error)
{
	json_t *stats = client_call(runtime, name, "guest.stats", NULL, CLIENT_TIMEOUT_MS, error);
	const json_t *counts = json_object_get(json_array_get(json_object_get(stats, "vcpus"), 0), "counts");
	*stays = json_integer_value(json_object_get(counts, "halt")) > 0;
	memory->own = (double)json_integer_value(json_object_get(stats, "memory_resident_bytes"));
	memory->beyond = (double)json_integer_value(json_object_get(stats, "beyond_resident_bytes")) +
			 process_line(runtime_owner(runtime, name), "status", "VmPTE");
	json_decref(stats);
	return stats != NULL;
}

static bool guest_wait(const char *name, struct guest_memory *memory, struct error *error)
{
	const struct timespec pause = {.tv_nsec = POLL_NS};
	struct runtime runtime;
	bool stays = false;
	if (!runtime_open(&runtime, false, error))
		return false;
	for (unsigned i = 0; i < POLLS_MAX && !stays; i++) {
		/* Until it has its socket, it is not there. */
		bool there = runtime_owner(&runtime, name) != 0 && guest_look(&runtime, name, &stays, memory, NULL);
		if (!there || !stays)
			(void)nanosleep(&pause, NULL);
	}
	runtime_close(&runtime);
	return stays || error_set(error, ERROR_HOST, "the guest '%s' did not get ready", name);
}

static bool guest_start(const struct host *host, const struct held *guest, struct guest_memory *memory,
			struct error *error)
{
	json_t *definition =
	    json_pack("{s:s, s:s, s:s, s:s, s:s, s:i}", "kernel", host->kernel, "append", guest->append, "memory",
		      guest->memory, "serial", "none", "debug-exit", "0xf4", "stop-timeout", 0);
	return host_do("guest.create", json_pack("{s:s, s:o}", "name", guest->name, "definition", definition), error) &&
	       host_do("guest.start", json_pack("{s:s}", "name", guest->name), error) &&
	       guest_wait(guest->name, memory, error);
}

/* All of the host and of the guests up to this one, without the guests' own. */
static bool sum_take(const struct host *host, unsigned last, double *sum, struct error *error)
{
	struct guest_memory memory = {0};
	*sum = host_bytes(host);
	for (unsigned i = 0; i <= last; i++) {
		if (!guest_wait(held[i].name, &memory, error))
			return false;
		*sum += memory.beyond;
	}
	return true;
}

static bool host_measure(const struct host *host, struct calibrate_memory *memory, struct error *error)
{
	struct guest_memory guest[HELD_COUNT] = {0};
	double one = 0, three = 0;
	for (unsigned i = 0; i < HELD_COUNT; i++)
		if (!guest_start(host, &held[i], &guest[i], error) ||
		    (i == HELD_FIRST && !sum_take(host, i, &one, error)) ||
		    (i == HELD_THIRD && !sum_take(host, i, &three, error)))
			return false;
	/* Again, now that all are there: what the processes have in common is shared by all of them. */
	for (unsigned i = 0; i < HELD_COUNT; i++)
		if (!guest_wait(held[i].name, &guest[i], error))
			return false;
	const struct guest_memory *plain = &guest[HELD_FIRST], *code = &guest[HELD_CODE], *ram = &guest[HELD_RAM];
	memory->guest_mib = (three - one) / 2 / MIB;
	memory->host_mib = one / MIB - memory->guest_mib;
	memory->code_mib = (code->beyond - plain->beyond) / MIB;
	memory->ram_share = (ram->beyond - plain->beyond) / (ram->own - plain->own);
	return ram->own - plain->own > TOUCHED_MIB * MIB / 2 ||
	       error_set(error, ERROR_HOST, "the guest that uses memory did not");
}

bool calibrate_memory_measure(struct calibrate_memory *memory, const char *image, size_t size, struct error *error)
{
	struct host host = {0};
	memory->in_use_mib = (kib_line("/proc/meminfo", "MemTotal") - kib_line("/proc/meminfo", "MemAvailable")) / MIB;
	bool good = host_start(&host, image, size, error) && host_measure(&host, memory, error);
	host_end(&host);
	return good;
}

/* SPDX-License-Identifier: MIT */
/*
 * nfold calibrate: what the engine costs on this machine, as a file for nfold plan fit --calibration.
 *
 * Theory of operation. A small guest (calibrate-guest.S) does one kind of work so many times and ends. What it took is
 * the processor time of its process, user and system, as the host's kernel counts it for a child that has ended: the
 * time of other work on the machine is not in it, though it shows, by caches and shared cores. The cost of one is the
 * difference to a guest that does it once, divided. The number of times is raised until the time is well above the
 * clock's grain; then the measurement is repeated, and the median counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/calibrate-image.h"
#include "cli/calibrate-memory.h"
#include "cli/calibrate-native.h"
#include "cli/command.h"
#include "control/report.h"
#include "control/runtime.h"

#define RUNS_MAX 99
#define GROWTH 4
#define COUNT_MAX 2000000000u
#define DISK_SIZE (1 << 20)
#define ENDED_WELL 1 /* of run --debug-exit, where the guest wrote 0 */
#define NOISY 0.1    /* spread, by the median */
#define IDLE_HZ 100
#define TICK_HZ 1000
#define CODE_MIB 4		  /* of different code, that an operating system with its programs runs: assumption */
#define INTERRUPT_LEAST_NS 200.0  /* natively: less is none that was seen */
#define WORDS_WITHOUT_NETWORKS 17 /* of nfold run, before its --net */

/* In the order of calibrate-guest.S: the letters a, b, c... */
static const struct work {
	const char *key, *what;
	unsigned count, of; /* to begin with; of these, in one round */
	bool fixed;	    /* time passes by the clock: the count is not raised */
	bool networks;	    /* has two adapters on a switch */
} works[] = {
    {"compute", "a round of arithmetic, memory and branches", 1000000, 1, false, false},
    {"privileged", "a privileged instruction: CLI, CLTS, MOV from CR0 and CR2", 100000, 4, false, false},
    {"address_space", "a change of the address space (MOV to CR3)", 20000, 1, false, false},
    {"page_fault", "a page fault, taken, mapped and returned from, with INVLPG", 20000, 1, false, false},
    {"software_interrupt", "INT and IRET", 50000, 1, false, false},
    {"port", "a write to a port without a device", 20000, 1, false, false},
    {"mmio", "a read of the local APIC", 50000, 1, false, false},
    {"interrupt", "an interrupt: sent by the local APIC, taken, acknowledged", 20000, 1, false, false},
    {"disk_sector", "a sector read from an IDE disk by PIO, polled", 500, 1, false, false},
    {"network_frame", "a frame of 1514 bytes from a PCnet over a switch to another, by eights", 100, 8, false, true},
    {"idle", "a tick of an idle guest with a clock of 100 Hz", 100, 1, true, false},
    {"tick", "a tick of an idle guest with a clock of 1000 Hz", 1000, 1, true, false},
};
#define WORKS (sizeof works / sizeof works[0])
enum { WORK_COMPUTE, WORK_FAULT = 3, WORK_SOFTWARE = 4, WORK_MMIO = 6, WORK_IDLE = 10, WORK_TICK = 11 };
enum { NATIVE_COMPUTE = WORKS, NATIVE_SYSCALL, NATIVE_FAULT, NATIVE_CYCLE, NATIVE_INTERRUPT, COSTS };

struct calibrate_options {
	const char *output;
	uint64_t runs, milliseconds;
};

static const struct option calibrate_options[] = {
    {"output", "FILE", NULL, "the calibration file; needed", .kind = OPTION_TEXT,
     .offset = offsetof(struct calibrate_options, output), .letter = 'o'},
    {"runs", "N", "7", "how often each is measured; the median counts", .kind = OPTION_NUMBER,
     .offset = offsetof(struct calibrate_options, runs), .minimum = 1, .maximum = RUNS_MAX},
    {"milliseconds", "N", "200", "processor time of a measurement, at least", .kind = OPTION_NUMBER,
     .offset = offsetof(struct calibrate_options, milliseconds), .minimum = 10, .maximum = 10000},
    {0},
};

struct cost {
	double ns, spread; /* median; (highest - lowest) / median */
};

struct calibration {
	const struct calibrate_options *options;
	int kernel, disk; /* memfds */
	struct cost cost[COSTS];
	struct calibrate_memory memory;
};

/* The file ends with the section headers, as the linker writes it. */
static size_t image_size(void)
{
	uint32_t offset;
	uint16_t size, count;
	memcpy(&offset, calibrate_image + 32, sizeof offset);
	memcpy(&size, calibrate_image + 46, sizeof size);
	memcpy(&count, calibrate_image + 48, sizeof count);
	return offset + (size_t)size * count;
}

static bool files_make(struct calibration *calibration, struct error *error)
{
	size_t size = image_size();
	calibration->kernel = memfd_create("calibrate-guest", MFD_CLOEXEC);
	calibration->disk = memfd_create("calibrate-disk", MFD_CLOEXEC);
	if (calibration->kernel < 0 || calibration->disk < 0 ||
	    write(calibration->kernel, calibrate_image, size) != (ssize_t)size ||
	    ftruncate(calibration->disk, DISK_SIZE) != 0)
		return error_set_errno(error, "cannot make the guest's files");
	return true;
}

/* The child: becomes nfold run, and dies with us. */
static _Noreturn void guest_start(const struct calibration *calibration, pid_t parent, unsigned work, unsigned count)
{
	char kernel[64], disk[64], name[64], append[32], net[96];
	char *words[] = {"nfold",  "run",   "--kernel",	   kernel,	   "--append", append,	   "--disk", disk,
			 "--name", name,    "--no-reboot", "--debug-exit", "0xf4",     "--serial", "none",   "--memory",
			 "16M",	   "--net", net,	   "--net",	   net,	       NULL};
	(void)snprintf(kernel, sizeof kernel, "/proc/%d/fd/%d", (int)parent, calibration->kernel);
	(void)snprintf(disk, sizeof disk, "/proc/%d/fd/%d", (int)parent, calibration->disk);
	(void)snprintf(name, sizeof name, "calibrate-%d", (int)parent);
	(void)snprintf(append, sizeof append, "#%c%u", (int)('a' + work), count);
	(void)snprintf(net, sizeof net, "switch=%s,model=pcnet", name);
	if (!works[work].networks)
		words[WORDS_WITHOUT_NETWORKS] = NULL;
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (getppid() == parent && nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 &&
	    dup2(nothing, STDOUT_FILENO) >= 0)
		(void)execv("/proc/self/exe", words);
	_exit(127);
}

/* The guests' switch is a folder, whose ports have left it. It keeps nothing. */
static void switch_remove(void)
{
	struct runtime runtime;
	char name[64];
	if (!runtime_open(&runtime, false, NULL))
		return;
	(void)snprintf(name, sizeof name, "switches/calibrate-%d", (int)getpid());
	(void)unlinkat(runtime.fd, name, AT_REMOVEDIR);
	runtime_close(&runtime);
}

static double seconds_of(const struct timeval *time)
{
	return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

/* Processor time of nfold and the guest's process together, in ns; negative with *error. */
static double guest_time(const struct calibration *calibration, unsigned work, unsigned count, struct error *error)
{
	struct rusage usage;
	int status;
	pid_t parent = getpid(), pid = fork();
	if (pid == 0)
		guest_start(calibration, parent, work, count);
	pid_t ended;
	do
		ended = pid < 0 ? pid : wait4(pid, &status, 0, &usage);
	while (ended < 0 && pid > 0 && errno == EINTR);
	if (ended < 0) {
		(void)error_set_errno(error, "cannot start a guest");
		return -1;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != ENDED_WELL) {
		(void)error_set(error, ERROR_HOST, "the guest for '%s' ended with %s %d", works[work].key,
				WIFEXITED(status) ? "status" : "signal",
				WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
		return -1;
	}
	return (seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime)) * 1e9;
}

static int by_value(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;
	return (one > other) - (one < other);
}

static struct cost cost_of(double *value, unsigned count)
{
	qsort(value, count, sizeof *value, by_value);
	double median = count % 2 ? value[count / 2] : (value[count / 2 - 1] + value[count / 2]) / 2;
	return (struct cost){median, median > 0 ? (value[count - 1] - value[0]) / median : 1};
}

/* How many take long enough. 0 with *error. */
static unsigned count_find(const struct calibration *calibration, unsigned work, struct error *error)
{
	double enough = (double)calibration->options->milliseconds * 1e6;
	unsigned count = works[work].count;
	double once = guest_time(calibration, work, 1, error);
	for (;;) {
		double time = once < 0 ? once : guest_time(calibration, work, count, error);
		if (time < 0)
			return 0;
		if (time - once >= enough || works[work].fixed || count > COUNT_MAX / GROWTH)
			return count;
		count *= GROWTH;
	}
}

static bool work_measure(struct calibration *calibration, unsigned work, struct error *error)
{
	double value[RUNS_MAX] = {0};
	unsigned runs = (unsigned)calibration->options->runs, count = count_find(calibration, work, error);
	for (unsigned i = 0; i < runs && count != 0; i++) {
		double once = guest_time(calibration, work, 1, error);
		double all = once < 0 ? -1 : guest_time(calibration, work, count, error);
		if (all < 0)
			return false;
		value[i] = fmax(all - once, 0) / ((double)(count - 1) * works[work].of);
	}
	if (count != 0)
		calibration->cost[work] = cost_of(value, runs);
	return count != 0;
}

static bool native_measure(struct calibration *calibration, unsigned which, struct error *error)
{
	double value[RUNS_MAX] = {0};
	const struct calibrate_native *native = &calibrate_native[which];
	for (unsigned i = 0; i < calibration->options->runs; i++) {
		value[i] = native->measure(native->count);
		if (value[i] < 0)
			return error_set_errno(error, "cannot measure %s", native->what);
	}
	calibration->cost[WORKS + which] = cost_of(value, (unsigned)calibration->options->runs);
	return true;
}

static void print_cost(const char *key, const char *what, const struct cost *cost)
{
	printf("%-20s %10.1f ns  +- %5.1f %%%s  %s\n", key, cost->ns, 50 * cost->spread,
	       cost->spread > NOISY ? " noisy" : "      ", what);
	(void)fflush(stdout);
}

static bool measure_all(struct calibration *calibration, struct error *error)
{
	for (unsigned i = 0; i < CALIBRATE_NATIVE_COUNT; i++) {
		if (!native_measure(calibration, i, error))
			return false;
		print_cost(calibrate_native[i].key, calibrate_native[i].what, &calibration->cost[WORKS + i]);
	}
	for (unsigned i = 0; i < WORKS; i++) {
		if (!work_measure(calibration, i, error))
			return false;
		print_cost(works[i].key, works[i].what, &calibration->cost[i]);
	}
	return calibrate_memory_measure(&calibration->memory, calibrate_image, image_size(), error);
}

static unsigned noisy_count(const struct calibration *calibration)
{
	unsigned noisy = 0;
	for (unsigned i = 0; i < COSTS; i++)
		noisy += (i >= WORKS || !works[i].fixed) && calibration->cost[i].spread > NOISY;
	return noisy;
}

static json_t *figure_json(double value, const char *how, const char *date)
{
	char source[160];
	(void)snprintf(source, sizeof source, "%s: nfold calibrate, %s", how, date);
	return json_pack("{s:f, s:s}", "value", value > 0 ? round(value * 1e4) / 1e4 : 0, "source", source);
}

/*
 * What an interrupt takes an idle guest's process: of two rates of its clock, so that what comes with time and not with
 * ticks is in neither.
 */
static double interrupt_ns(const struct calibration *calibration)
{
	double seldom = calibration->cost[WORK_IDLE].ns * IDLE_HZ, often = calibration->cost[WORK_TICK].ns * TICK_HZ;
	return fmax(often - seldom, 0) / (TICK_HZ - IDLE_HZ);
}

/* What the costs come to in the planner's terms; docs/planner.md has the formulas. */
static json_t *figures_json(const struct calibration *calibration, const char *date)
{
	const struct cost *cost = calibration->cost;
	const struct calibrate_memory *memory = &calibration->memory;
	double kernel =
	    (cost[WORK_SOFTWARE].ns / cost[NATIVE_SYSCALL].ns + cost[WORK_FAULT].ns / cost[NATIVE_FAULT].ns) / 2;
	double io = cost[WORK_MMIO].ns / cost[NATIVE_CYCLE].ns, interrupt = cost[NATIVE_INTERRUPT].ns;
	const struct {
		const char *key, *how;
		double value;
		bool known;
	} figures[] = {
	    {"user", "a loop in the guest and natively", cost[WORK_COMPUTE].ns / cost[NATIVE_COMPUTE].ns - 1, true},
	    {"kernel", "INT/IRET by a system call, fault by fault, half each", kernel, true},
	    {"interrupt", "the host's driver, and a tick by a native interrupt",
	     1 + interrupt_ns(calibration) / fmax(interrupt, INTERRUPT_LEAST_NS), interrupt >= INTERRUPT_LEAST_NS},
	    {"cycles_per_io", "a device register", round(io), true},
	    {"guest_memory", "one more guest, the engine keeping all the code that it does",
	     memory->guest_mib + memory->code_mib, true},
	    {"memory_share", "a guest that uses much memory and one that does not", memory->ram_share, true},
	    {"host_memory", "what was in use on the machine, and nfoldd", memory->in_use_mib + memory->host_mib, true},
	};
	json_t *list = json_object();
	for (unsigned i = 0; i < sizeof figures / sizeof figures[0]; i++)
		if (figures[i].known)
			(void)json_object_set_new(list, figures[i].key,
						  figure_json(figures[i].value, figures[i].how, date));
	return list;
}

static json_t *memory_json(const struct calibrate_memory *memory)
{
	return json_pack("{s:f, s:f, s:f, s:f, s:f}", "in_use_mib", round(memory->in_use_mib * 10) / 10, "host_mib",
			 round(memory->host_mib * 10) / 10, "guest_mib", round(memory->guest_mib * 10) / 10, "code_mib",
			 round(memory->code_mib * 10) / 10, "ram_share", round(memory->ram_share * 1e5) / 1e5);
}

static json_t *costs_json(const struct calibration *calibration)
{
	json_t *costs = json_object();
	for (unsigned i = 0; i < COSTS; i++) {
		const struct cost *cost = &calibration->cost[i];
		(void)json_object_set_new(costs, i < WORKS ? works[i].key : calibrate_native[i - WORKS].key,
					  json_pack("{s:f, s:f, s:s}", "ns", round(cost->ns * 1000) / 1000, "spread",
						    round(cost->spread * 1000) / 1000, "what",
						    i < WORKS ? works[i].what : calibrate_native[i - WORKS].what));
	}
	return costs;
}

/* "model name" of /proc/cpuinfo. */
static void machine_name(char *name, size_t size)
{
	char line[256];
	FILE *file = fopen("/proc/cpuinfo", "r");
	(void)snprintf(name, size, "unknown");
	while (file != NULL && fgets(line, sizeof line, file) != NULL) {
		const char *colon = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
		if (colon == NULL)
			continue;
		(void)snprintf(name, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
		break;
	}
	if (file != NULL)
		(void)fclose(file);
}

static json_t *calibration_json(const struct calibration *calibration)
{
	char machine[128], date[32] = "";
	time_t now = time(NULL);
	struct tm tm;
	machine_name(machine, sizeof machine);
	if (gmtime_r(&now, &tm) != NULL)
		(void)strftime(date, sizeof date, "%Y-%m-%d", &tm);
	return json_pack("{s:s, s:i, s:s, s:s, s:i, s:b, s:f, s:o, s:o, s:{s:o}}", "format", "nfold-calibration",
			 "version", 1, "machine", machine, "date", date, "runs", (int)calibration->options->runs,
			 "noisy", noisy_count(calibration) != 0, "idle_share",
			 round(calibration->cost[WORK_IDLE].ns * IDLE_HZ / 1e9 * 1e5) / 1e5, "memory",
			 memory_json(&calibration->memory), "costs", costs_json(calibration), "engines", "translate",
			 figures_json(calibration, date));
}

static bool calibration_write(const struct calibration *calibration, struct error *error)
{
	const char *path = calibration->options->output;
	json_t *json = calibration_json(calibration);
	FILE *file = json != NULL ? fopen(path, "w") : NULL;
	bool good = file != NULL && json_dumpf(json, file, JSON_INDENT(1) | JSON_REAL_PRECISION(8)) == 0 &&
		    fputc('\n', file) != EOF;
	if (file != NULL && fclose(file) != 0)
		good = false;
	json_decref(json);
	return good || error_set_errno(error, "cannot write %.200s", path);
}

static bool file_can_be_written(const char *path, struct error *error)
{
	FILE *file = fopen(path, "a");
	return (file != NULL && fclose(file) == 0) || error_set_errno(error, "cannot write %.200s", path);
}

static void print_memory(const struct calibrate_memory *memory)
{
	printf("A guest takes %.1f MiB besides its memory, up to %.1f more for its code, and %.2f %% of what it uses "
	       "of its "
	       "memory.\n",
	       memory->guest_mib, memory->code_mib, 100 * memory->ram_share);
	printf("nfoldd takes %.1f MiB; %.0f MiB were in use on this machine before it ran.\n", memory->host_mib,
	       memory->in_use_mib);
}

static int calibrate_run(const struct command_call *call)
{
	struct calibration calibration = {.options = call->options, .kernel = -1, .disk = -1};
	struct error error = {0};
	if (calibration.options->output == NULL) {
		report_line("calibrate: -o FILE says where the calibration goes");
		return STATUS_INPUT;
	}
	/* Not after a minute of measuring. */
	bool good = file_can_be_written(calibration.options->output, &error) && files_make(&calibration, &error) &&
		    measure_all(&calibration, &error) && calibration_write(&calibration, &error);
	switch_remove();
	if (calibration.kernel >= 0)
		(void)close(calibration.kernel);
	if (calibration.disk >= 0)
		(void)close(calibration.disk);
	if (!good)
		return (int)report_error(&error);
	printf("An idle guest takes %.2f %% of a processor.\n", calibration.cost[WORK_IDLE].ns * IDLE_HZ / 1e7);
	print_memory(&calibration.memory);
	if (noisy_count(&calibration) != 0)
		printf(
		    "The machine was too noisy for %u of %d figures: measure again when it has nothing else to do.\n",
		    noisy_count(&calibration), (int)COSTS);
	return STATUS_OK;
}

const struct command command_calibrate = {
    .name = "calibrate",
    .summary = "measure what the engine costs on this machine, for the planner",
    .description = "Runs small guests that do one thing many times, and writes what each costs in processor time, and\n"
		   "what memory guests and host take besides, for nfold plan fit --calibration. It takes about a\n"
		   "minute. Nothing else should run meanwhile.",
    .options = calibrate_options,
    .run = calibrate_run,
};

/* SPDX-License-Identifier: MIT */
/*
 * What a person gives nfold plan beside the estate: kinds of host and shares as words, rules, a calibration, ratings, a
 * plan and a simulation as files. The first input byte chooses which; its top bit, whether the rest is the text itself
 * or changes to a right one, three bytes each: where (16 bits) and what. What is refused has one line of reason; what
 * is taken is in order.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plan/host-spec.h"
#include "plan/overhead.h"
#include "plan/ratings.h"
#include "plan/report.h"
#include "plan/rules.h"
#include "plan/simulation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PEAK "{\"cpu\":1,\"memory\":2,\"disk\":0,\"iops\":0,\"net\":0}"

static const char spec[] = "name=big,cpus=32,ghz=2.6,memory=512G,disk=2000MB/s,iops=50000,net=25Gb/"
			   "s,count=10,cost=9000,rating=7.5,model=Xeon*";
static const char shares[] = "cpu=20%,memory=10%,disk=0%,iops=5%,net=1.5%";
static const char rules[] = "{\"together\":[[\"a\",\"b\"]],\"apart\":[[\"c*\"],[\"a\",\"d\"]],\"sites\":{\"s\":\"x\"},"
			    "\"pin\":{\"a\":\"s\"},\"now\":{\"c1\":\"s\"},\"barred\":{\"d\":[\"y\"]}}";
static const char calibration[] = "{\"engines\":{\"kvm\":{\"user\":{\"value\":0.1,\"source\":\"here\"},\"kernel\":2}}}";
static const char ratings[] = "model,server,rating\n\"Xeon*6430\",,7.5\n,web*,3\n*,,1\n";
static const char plan[] =
    "{\"format\":\"nfold-plan\",\"version\":1,\"demand\":{\"estate\":\"e\",\"guests\":1,\"start\":0,\"interval\":300,"
    "\"samples\":2},\"options\":{\"engine\":\"kvm\",\"percentile\":100,\"spares\":0,\"headroom\":" PEAK
    ",\"growth\":" PEAK
    "},\"answer\":{\"hosts\":1,\"by_peaks\":1},\"bound\":{\"hosts\":1,\"cost\":1,\"proof\":\"sum\",\"text\":\"t\","
    "\"resource\":\"cpu\",\"time\":0},\"choices\":{\"native\":{\"machines\":1},\"one_os\":{\"machines\":1},\"virtual\":"
    "{\"machines\":1}},\"classes\":[{\"name\":\"x\",\"count\":0,\"capacity\":" PEAK ",\"usable\":" PEAK
    "}],\"overhead\":[],"
    "\"flags\":{\"f\":\"t\"},\"risks\":[{\"host\":0,\"time\":0,\"resource\":\"cpu\",\"share\":0.5}],\"chart_points\":2,"
    "\"hosts\":[{\"name\":\"x-1\",\"class\":\"x\",\"spare\":false,\"guests\":[0],\"resources\":{\"cpu\":{\"peak\":1,"
    "\"share\":1,"
    "\"mean\":1,\"time\":0,\"samples_over\":0,\"chart\":[[1,1]]},\"memory\":{\"peak\":1,\"share\":1,\"mean\":1,"
    "\"time\":0,"
    "\"samples_over\":0,\"chart\":[[1,1]]}}}],\"guests\":[{\"name\":\"a\",\"host\":0,\"peak\":" PEAK
    ",\"flags\":[\"f\"],\"gap_samples\":0,\"kernel_assumed\":true}]}";

static const char simulation[] =
    "{\"format\":\"nfold-simulation\",\"version\":1,\"assumptions\":[{\"key\":\"k\",\"value\":1,\"unit\":\"\","
    "\"what\":\"w\",\"source\":\"s\"}],\"windows\":[{\"host\":0,\"name\":\"x-1\",\"time\":0,\"seconds\":60,"
    "\"processors\":4,"
    "\"used\":0.5,\"ready\":0,\"co_stop\":0,\"disk_busy\":0,\"disk\":false,\"network_busy\":0,\"network\":true,"
    "\"guests\":[{\"name\":\"a\",\"vcpus\":1,"
    "\"requests\":0,\"messages\":1,\"saturated\":false,\"used\":1,\"ready\":0,\"co_stop\":0,\"limited\":0,\"undone\":0,"
    "\"burst_ms\":1,"
    "\"burst_p95_ms\":2,\"io_ms\":0,\"io_p95_ms\":0,\"disk_queue_ms\":0,\"network_ms\":1,\"network_p95_ms\":2,"
    "\"network_queue_ms\":1}]}]}";

static void try_spec(const char *text, struct error *error)
{
	struct host_spec read;
	if (host_spec_read(&read, text, error))
		assert(read.capacity[RESOURCE_CPU] > 0 && read.capacity[RESOURCE_MEMORY] > 0 && read.name[0] != '\0');
}

static void try_shares(const char *text, struct error *error)
{
	double share[RESOURCE_COUNT] = {0};
	if (shares_read(share, "growth", text, error))
		for (unsigned r = 0; r < RESOURCE_COUNT; r++)
			assert(share[r] >= 0 && share[r] < 1e12);
}

/* Calls `act` with the path of a file that has the text. */
static void with_file(const char *text, void (*act)(const char *path, struct error *error), struct error *error)
{
	char path[64];
	int fd = memfd_create("fuzz", 0);
	assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	act(path, error);
	(void)close(fd);
}

static void load_rules(const char *path, struct error *error)
{
	static const char *const names[] = {"a", "b", "c1", "c2", "d"};
	static const struct fit_class classes[] = {{.name = "x"}, {.name = "y"}};
	const struct demand demand = {.guests = 5, .samples = 1, .name = names};
	struct fit_task task = {.demand = &demand, .host_class = classes, .classes = 2};
	struct rules *read = rules_load(&task, path, error);
	for (unsigned i = 0; read != NULL && i < demand.guests; i++) {
		assert(task.pin == NULL || task.pin[i] == FIT_NONE || task.pin[i] < task.sites);
		assert(task.now == NULL || task.now[i] == FIT_NONE || task.now[i] < task.sites);
		assert(task.classes_barred == NULL || task.classes_barred[i] < 4);
	}
	for (unsigned g = 0; read != NULL && g < task.groups; g++)
		for (unsigned i = 0; i < task.group[g].count; i++)
			assert(task.group[g].guest[i] < demand.guests);
	rules_free(read);
}

static void load_calibration(const char *path, struct error *error)
{
	struct overhead overhead;
	overhead_default(&overhead, "kvm");
	(void)overhead_load(&overhead, path, error);
	for (unsigned i = 0; i < OVERHEAD_FIGURE_COUNT; i++)
		assert(overhead.figure[i] >= 0 && overhead.figure[i] <= 1e12);
}

static void load_plan(const char *path, struct error *error)
{
	json_t *read = report_load(path, error);
	FILE *page = read != NULL ? fopen("/dev/null", "w") : NULL;
	if (page != NULL) {
		assert(report_write(read, page, error));
		(void)fclose(page);
	}
	json_decref(read);
}

static void load_ratings(const char *path, struct error *error)
{
	struct ratings *read = ratings_load(path, error);
	double rating = ratings_of_model(read, "Xeon 6430") + ratings_of_server(read, "web1");
	assert(rating >= 0 && rating <= 2 * RATING_MAX);
	ratings_free(read);
}

static void load_simulation(const char *path, struct error *error)
{
	json_t *of = report_parse(plan, strlen(plan), "plan", error), *read = simulation_load(path, of, error);
	assert(of != NULL);
	FILE *nothing = read != NULL ? fopen("/dev/null", "w") : NULL;
	if (nothing != NULL) {
		simulation_print(read, nothing);
		assert(simulation_csv(read, nothing, error));
		(void)fclose(nothing);
	}
	json_decref(read);
	json_decref(of);
}

static void try_rules(const char *text, struct error *error)
{
	with_file(text, load_rules, error);
}

static void try_calibration(const char *text, struct error *error)
{
	with_file(text, load_calibration, error);
}

static void try_plan(const char *text, struct error *error)
{
	with_file(text, load_plan, error);
}

static void try_ratings(const char *text, struct error *error)
{
	with_file(text, load_ratings, error);
}

static void try_simulation(const char *text, struct error *error)
{
	with_file(text, load_simulation, error);
}

static const struct {
	const char *right;
	void (*act)(const char *text, struct error *error);
} subjects[] = {{spec, try_spec}, {shares, try_shares},		{rules, try_rules},    {calibration, try_calibration},
		{plan, try_plan}, {simulation, try_simulation}, {ratings, try_ratings}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error error = {0};
	if (size == 0)
		return 0;
	unsigned subject = (data[0] & 0x7f) % (sizeof subjects / sizeof subjects[0]);
	size_t length = strlen(subjects[subject].right);
	char *text = data[0] & 0x80 ? strndup((const char *)data + 1, size - 1) : strdup(subjects[subject].right);
	assert(text != NULL);
	/* Most changes are digits, quotes and brackets: other bytes end a parse soon. */
	static const char bytes[] = "0123456789-\"{}[]:,.=%abcxs*";
	for (size_t i = 1; !(data[0] & 0x80) && i + 3 <= size && i < 10; i += 3)
		text[(data[i] | data[i + 1] << 8) % length] = bytes[data[i + 2] % (sizeof bytes - 1)];
	subjects[subject].act(text, &error);
	assert(error.kind == ERROR_NONE || (error.text[0] != '\0' && strchr(error.text, '\n') == NULL));
	free(text);
	return 0;
}

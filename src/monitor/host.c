/* SPDX-License-Identifier: MIT */
#include "monitor/host.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_SECOND UINT64_C(1000000000)

/* proc_stat(5): user nice system idle iowait irq softirq steal. Guests of KVM are part of user. */
static void read_processors(struct monitor_host *host)
{
	uint64_t ticks[8] = {0};
	uint64_t ns = NS_PER_SECOND / (uint64_t)sysconf(_SC_CLK_TCK);
	FILE *file = fopen("/proc/stat", "re");
	if (file == NULL)
		return;
	if (fscanf(file,
		   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
		   &ticks[0], &ticks[1], &ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6], &ticks[7]) == 8) {
		host->busy_ns = (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) * ns;
		host->steal_ns = ticks[7] * ns;
	}
	(void)fclose(file);
}

static void read_memory(struct monitor_host *host)
{
	char line[128];
	uint64_t kib;
	FILE *file = fopen("/proc/meminfo", "re");
	while (file != NULL && fgets(line, sizeof line, file) != NULL) {
		if (sscanf(line, "MemTotal: %" SCNu64, &kib) == 1)
			host->memory_bytes = kib << 10;
		else if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			host->available_bytes = kib << 10;
	}
	if (file != NULL)
		(void)fclose(file);
}

/* The name goes into paths of counters, where backslashes and parentheses mean something. */
static void read_name(struct monitor_host *host)
{
	if (gethostname(host->name, sizeof host->name - 1) != 0 || host->name[0] == '\0')
		(void)snprintf(host->name, sizeof host->name, "localhost");
	for (char *at = host->name; *at != '\0'; at++)
		if (strchr("\\()\",", *at) != NULL || *at <= ' ' || *at > '~')
			*at = '-';
}

void host_read(struct monitor_host *host, bool first)
{
	struct monitor_host before = *host;
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	host->processors = online > 0 ? (unsigned)online : 1;
	read_name(host);
	read_processors(host);
	read_memory(host);
	host->gain_busy_ns = first || host->busy_ns < before.busy_ns ? 0 : host->busy_ns - before.busy_ns;
	host->gain_steal_ns = first || host->steal_ns < before.steal_ns ? 0 : host->steal_ns - before.steal_ns;
}

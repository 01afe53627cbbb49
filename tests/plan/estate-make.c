/* SPDX-License-Identifier: MIT */
/*
 * estate-make FILE SERVERS DAYS: an estate for tests of the commands, the same each time. Web servers (web0...) are
 * busy by day, batch servers (batch0...) by night, every fifth has a gap, and db0 does much input and output.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "plan/estate-write.h"

#define INTERVAL 300
#define DAY (86400 / INTERVAL)

static void series_make(unsigned server, unsigned count, float *const column[ESTATE_SERIES_COUNT])
{
	for (unsigned t = 0; t < count; t++) {
		double hour = (t % DAY) * 24.0 / DAY;
		double day = hour > 8 && hour < 18 ? 1 : 0.1, night = hour < 5 ? 1 : 0.05;
		double wave = 0.5 + 0.4 * sin(t * 0.37 + server);
		double cpu = (server % 2 ? night : day) * (0.4 + 0.4 * wave);
		column[ESTATE_CPU][t] = (float)cpu;
		column[ESTATE_KERNEL][t] = (float)(cpu * 0.25);
		column[ESTATE_INTERRUPT][t] = (float)(cpu * 0.02);
		column[ESTATE_MEMORY][t] = (float)((2.0 + server % 7) * 1073741824.0 * (0.8 + 0.2 * wave));
		column[ESTATE_DISK_READ][t] = (float)((server == 2 ? 9e7 : 2e6) * wave);
		column[ESTATE_DISK_READ_OPS][t] = (float)((server == 2 ? 3000 : 50) * wave);
		column[ESTATE_NET_SEND][t] = (float)(3e6 * day * wave);
		if (server % 5 == 4 && t / 12 % 50 == 7)
			column[ESTATE_CPU][t] = column[ESTATE_MEMORY][t] = NAN;
	}
}

static int fail(const struct error *error)
{
	(void)fprintf(stderr, "estate-make: %s\n", error->text);
	return 1;
}

int main(int argc, char **argv)
{
	struct error error = {0};
	unsigned servers = argc > 2 ? (unsigned)atoi(argv[2]) : 0, count = argc > 3 ? (unsigned)atoi(argv[3]) * DAY : 0;
	if (servers == 0 || count == 0)
		return 2;
	struct estate_writer *writer = estate_writer_create(argv[1], &error);
	if (writer == NULL)
		return fail(&error);
	float *column[ESTATE_SERIES_COUNT] = {NULL};
	static const enum estate_series made[] = {ESTATE_CPU,	  ESTATE_KERNEL,    ESTATE_INTERRUPT,
						  ESTATE_MEMORY,  ESTATE_DISK_READ, ESTATE_DISK_READ_OPS,
						  ESTATE_NET_SEND};
	for (unsigned i = 0; i < sizeof made / sizeof made[0]; i++)
		column[made[i]] = calloc(count, sizeof(float));
	for (unsigned s = 0; s < servers; s++) {
		char name[32];
		(void)snprintf(name, sizeof name, "%s%u", s == 2 ? "db" : s % 2 ? "batch" : "web", s / 2 * (s != 2));
		series_make(s, count, column);
		struct estate_server server = {.name = name,
					       .source = "estate-make",
					       .cpus = 2 + 2 * (s % 3),
					       .mhz = 2400,
					       .memory = UINT64_C(16) << 30,
					       .grid = {1700006400, count, INTERVAL}};
		if (!estate_writer_add(writer, &server, (const float *const *)column, &error))
			return fail(&error);
	}
	for (unsigned i = 0; i < ESTATE_SERIES_COUNT; i++)
		free(column[i]);
	return estate_writer_finish(writer, "{}", &error) ? 0 : fail(&error);
}

/* SPDX-License-Identifier: MIT */
#include "control/amount.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WHOLE_MAX UINT64_C(1000000000)
#define DECIMALS 6

/* Digits, and up to six more behind a point: in millionths. More decimals are refused rather than dropped. */
static bool decimal_read(const char **text, uint64_t *millionths)
{
	const char *at = *text;
	uint64_t value = 0;
	unsigned digits = 0, decimals = 0;
	for (; *at >= '0' && *at <= '9'; at++, digits++) {
		value = value * 10 + (uint64_t)(*at - '0');
		if (value > WHOLE_MAX)
			return false;
	}
	if (*at == '.') {
		for (at++; *at >= '0' && *at <= '9' && decimals < DECIMALS; at++, decimals++)
			value = value * 10 + (uint64_t)(*at - '0');
		if (decimals == 0)
			return false;
	}
	for (; decimals < DECIMALS; decimals++)
		value *= 10;
	*text = at;
	*millionths = value;
	return digits > 0;
}

/* value / 10^6 * unit_hz of clock_hz, in millionths. */
static uint64_t share_of_clock(uint64_t value, uint64_t unit_hz, uint64_t clock_hz)
{
	return (uint64_t)(((unsigned __int128)value * unit_hz + clock_hz / 2) / clock_hz);
}

bool amount_read(const char *option, const char *text, uint64_t clock_hz, uint64_t *millionths, struct error *error)
{
	const char *at = text;
	uint64_t value, hz;
	bool good = decimal_read(&at, &value);
	bool clock = good && (strcasecmp(at, "MHz") == 0 || strcasecmp(at, "GHz") == 0);
	if (clock && clock_hz == 0)
		return error_set(error, ERROR_INPUT,
				 "--%s %s: this host does not say how fast its processors are, give percent", option,
				 text);
	if (clock) {
		hz = strcasecmp(at, "MHz") == 0 ? 1000000u : 1000000000u;
		value = share_of_clock(value, hz, clock_hz);
	} else if (good && strcmp(at, "%") == 0) {
		value = (value + 50) / 100;
	} else {
		good = good && *at == '\0';
	}
	if (!good || value > AMOUNT_PROCESSORS_MAX * AMOUNT_PROCESSOR)
		return error_set(error, ERROR_INPUT,
				 "--%s '%.64s': give percent of a processor as in 50%%, a clock as in 500MHz, or "
				 "processors as in 1 or 0.5",
				 option, text);
	*millionths = value;
	return true;
}

static uint64_t clock_in_file(const char *path, const char *key, double unit_hz)
{
	char line[256];
	double value = 0;
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return 0;
	while (value <= 0 && fgets(line, sizeof line, file) != NULL)
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtod(line + strlen(key) + strspn(line + strlen(key), " \t:"), NULL);
	(void)fclose(file);
	return value > 0 && value * unit_hz < 1e12 ? (uint64_t)(value * unit_hz) : 0;
}

uint64_t amount_host_clock(void)
{
	static const struct {
		const char *path, *key;
		double unit_hz;
	} sources[] = {
	    {"/sys/devices/system/cpu/cpu0/cpufreq/base_frequency", "", 1e3},
	    {"/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "", 1e3},
	    {"/proc/cpuinfo", "cpu MHz", 1e6},
	};
	uint64_t hz = 0;
	for (unsigned i = 0; hz == 0 && i < sizeof sources / sizeof sources[0]; i++)
		hz = clock_in_file(sources[i].path, sources[i].key, sources[i].unit_hz);
	return hz;
}

static bool processor_read(const char **text, unsigned *number)
{
	const char *at = *text;
	unsigned value = 0;
	for (; *at >= '0' && *at <= '9' && value < AMOUNT_PROCESSORS_MAX; at++)
		value = value * 10 + (unsigned)(*at - '0');
	bool good = at != *text && value < AMOUNT_PROCESSORS_MAX;
	*text = at;
	*number = value;
	return good;
}

static bool range_read(const char **text, struct processor_set *set)
{
	unsigned first, last;
	if (!processor_read(text, &first))
		return false;
	last = first;
	if (**text == '-') {
		++*text;
		if (!processor_read(text, &last) || last < first)
			return false;
	}
	for (unsigned i = first; i <= last; i++)
		set->word[i / 64] |= UINT64_C(1) << (i % 64);
	return true;
}

bool processor_set_read(const char *option, const char *text, struct processor_set *set, struct error *error)
{
	const char *at = text;
	*set = (struct processor_set){0};
	bool good = range_read(&at, set);
	while (good && *at == ',') {
		at++;
		good = range_read(&at, set);
	}
	if (good && *at == '\0')
		return true;
	return error_set(error, ERROR_INPUT, "--%s '%.64s': give numbers of processors below %d, as in 0,2-3", option,
			 text, AMOUNT_PROCESSORS_MAX);
}

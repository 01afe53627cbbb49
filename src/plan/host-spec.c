/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/host-spec.h"
#include "plan/text.h"

#define NUMBER_MAX 1e12

struct suffix {
	const char *text;
	double factor;
};

static const struct suffix no_suffix[] = {{"", 1}, {NULL, 0}};
static const struct suffix memory_suffix[] = {{"M", 1},	     {"G", 1024},      {"T", 1048576},	  {"MiB", 1},
					      {"GiB", 1024}, {"TiB", 1048576}, {"K", 1 / 1024.0}, {NULL, 0}};
/* To MB/s and to Mbit/s. */
static const struct suffix disk_suffix[] = {{"MB/s", 1}, {"GB/s", 1000}, {"kB/s", 0.001}, {"KB/s", 0.001}, {NULL, 0}};
static const struct suffix net_suffix[] = {{"Mb/s", 1}, {"Gb/s", 1000}, {"MB/s", 8}, {"GB/s", 8000}, {NULL, 0}};

/* A number > 0 with one of the suffixes. */
static bool number_read(const char *text, const struct suffix *suffix, double *value)
{
	char *end;
	/* strtod would also take hexadecimal, "inf" and "nan". */
	if (text[strspn(text, "0123456789.")] != '\0' && strspn(text, "0123456789.") == 0)
		return false;
	double number = strtod(text, &end);
	for (; suffix->text != NULL; suffix++)
		if (strcmp(end, suffix->text) == 0) {
			*value = number * suffix->factor;
			return end != text && *value > 0 && *value <= NUMBER_MAX;
		}
	return false;
}

enum spec_key {
	KEY_CPUS,
	KEY_GHZ,
	KEY_MEMORY,
	KEY_DISK,
	KEY_IOPS,
	KEY_NET,
	KEY_COUNT,
	KEY_COST,
	KEY_RATING,
	KEY_TOTAL
};

static const struct {
	const char *name;
	const struct suffix *suffix;
	const char *example;
} keys[KEY_TOTAL] = {
    [KEY_CPUS] = {"cpus", no_suffix, "32"},	      [KEY_GHZ] = {"ghz", no_suffix, "2.6"},
    [KEY_MEMORY] = {"memory", memory_suffix, "512G"}, [KEY_DISK] = {"disk", disk_suffix, "2000MB/s"},
    [KEY_IOPS] = {"iops", no_suffix, "50000"},	      [KEY_NET] = {"net", net_suffix, "25Gb/s"},
    [KEY_COUNT] = {"count", no_suffix, "10"},	      [KEY_COST] = {"cost", no_suffix, "9000"},
    [KEY_RATING] = {"rating", no_suffix, "7.5"},
};

static bool name_is_plain(const char *name)
{
	for (const char *at = name; *at != '\0'; at++)
		if ((unsigned char)*at <= ' ' || *at == '"' || *at == 0x7f)
			return false;
	return *name != '\0';
}

static bool spec_read_word(struct host_spec *spec, double *values, char *word, struct error *error)
{
	char *value = strchr(word, '=');
	if (value == NULL)
		return error_set(error, ERROR_INPUT,
				 "--host: '%.40s' is not KEY=VALUE; write cpus=32,ghz=2.6,memory=512G", word);
	*value++ = '\0';
	if (strcmp(word, "name") == 0) {
		if (strlen(value) >= sizeof spec->name || !name_is_plain(value))
			return error_set(error, ERROR_INPUT, "--host: a name has 1 to %zu characters and no blank",
					 sizeof spec->name - 1);
		memcpy(spec->name, value, strlen(value) + 1);
		return true;
	}
	if (strcmp(word, "model") == 0) {
		if (strlen(value) >= sizeof spec->model || !text_is_clean(value, strlen(value)) || *value == '\0')
			return error_set(error, ERROR_INPUT, "--host: a model has 1 to %zu characters",
					 sizeof spec->model - 1);
		memcpy(spec->model, value, strlen(value) + 1);
		return true;
	}
	for (unsigned i = 0; i < KEY_TOTAL; i++) {
		if (strcmp(word, keys[i].name) != 0)
			continue;
		if (values[i] > 0)
			return error_set(error, ERROR_INPUT, "--host: '%s' is given twice", word);
		return number_read(value, keys[i].suffix, &values[i]) ||
		       error_set(error, ERROR_INPUT, "--host: '%s=%.40s' is no size of a host; write %s=%s", word,
				 value, word, keys[i].example);
	}
	return error_set(error, ERROR_INPUT,
			 "--host: there is no '%.40s'; there are name, cpus, ghz, memory, disk, iops, net, count, "
			 "cost, rating, model",
			 word);
}

bool host_spec_read(struct host_spec *spec, const char *text, struct error *error)
{
	char copy[512], *rest = copy;
	double values[KEY_TOTAL] = {0};
	*spec = (struct host_spec){.name = "host"};
	if (strlen(text) >= sizeof copy)
		return error_set(error, ERROR_INPUT, "--host: longer than %zu characters", sizeof copy - 1);
	memcpy(copy, text, strlen(text) + 1);
	for (char *word; (word = strsep(&rest, ",")) != NULL;)
		if (!spec_read_word(spec, values, word, error))
			return false;
	if (!(values[KEY_CPUS] > 0 && values[KEY_GHZ] > 0 && values[KEY_MEMORY] > 0))
		return error_set(error, ERROR_INPUT,
				 "--host: cpus, ghz and memory are needed: cpus=32,ghz=2.6,memory=512G");
	if (values[KEY_COUNT] > 1e6 || floor(values[KEY_COUNT]) < values[KEY_COUNT])
		return error_set(error, ERROR_INPUT, "--host: count is a whole number up to 1000000");
	spec->processors = values[KEY_CPUS];
	spec->rating = values[KEY_RATING];
	spec->capacity[RESOURCE_CPU] = values[KEY_CPUS] * values[KEY_GHZ] * 1000;
	spec->capacity[RESOURCE_MEMORY] = values[KEY_MEMORY];
	spec->capacity[RESOURCE_DISK] = values[KEY_DISK];
	spec->capacity[RESOURCE_IOPS] = values[KEY_IOPS];
	spec->capacity[RESOURCE_NET] = values[KEY_NET];
	spec->count = (unsigned)values[KEY_COUNT];
	spec->cost = values[KEY_COST];
	return true;
}

static bool share_read(const char *text, double *share)
{
	static const struct suffix percent[] = {{"%", 0.01}, {NULL, 0}};
	double value;
	if (strcmp(text, "0%") == 0 || strcmp(text, "0") == 0) {
		*share = 0;
		return true;
	}
	if (!number_read(text, percent, &value))
		return false;
	*share = value;
	return true;
}

bool shares_read(double share[RESOURCE_COUNT], const char *option, const char *text, struct error *error)
{
	char copy[256], *rest = copy;
	double all;
	if (share_read(text, &all)) {
		for (unsigned r = 0; r < RESOURCE_COUNT; r++)
			share[r] = all;
		return true;
	}
	if (strlen(text) >= sizeof copy)
		return error_set(error, ERROR_INPUT, "--%s: longer than %zu characters", option, sizeof copy - 1);
	memcpy(copy, text, strlen(text) + 1);
	for (char *word; (word = strsep(&rest, ",")) != NULL;) {
		char *value = strchr(word, '=');
		unsigned r = 0;
		if (value != NULL)
			*value++ = '\0';
		while (r < RESOURCE_COUNT && strcmp(resource_key[r], word) != 0)
			r++;
		if (value == NULL || r == RESOURCE_COUNT || !share_read(value, &share[r]))
			return error_set(error, ERROR_INPUT,
					 "--%s: write 15%%, or cpu=20%%,memory=10%% and so on with disk, iops, net",
					 option);
	}
	return true;
}

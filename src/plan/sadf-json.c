/* SPDX-License-Identifier: MIT */
/*
 * `sadf -j`: sysstat.hosts[].statistics[], each with a timestamp and its activities, read as a stream by yajl. Values
 * are collected from the object they are in; at its end its part's name is known, and they go into the sample.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "plan/parse.h"
#include "plan/sar.h"
#include "plan/value.h"

#define DEPTH_MAX 32u
#define KEY_MAX 32u
#define TEXT_MAX 256u

struct sadf_json {
	struct parse *parse;
	struct error *error;
	bool failed; /* *error is filled */
	unsigned depth;
	char key[DEPTH_MAX][KEY_MAX]; /* the last key at each depth; of arrays, that of the array */
	bool array[DEPTH_MAX];
	/* The object being read. */
	struct sar_sample values;
	enum sar_part part;
	bool per_processor, all_processors;
	char name[TEXT_MAX];
	/* The sample and its host. */
	struct sar_sample sample;
	size_t server;
	double cpus;
	char date[TEXT_MAX], time[TEXT_MAX];
	bool utc, remarked, any;
	double interval;
	struct local_clock clock;
};

static bool fail(struct sadf_json *json, const char *what)
{
	json->failed = true;
	return error_set(json->error, ERROR_INPUT, "%.160s: %s", input_path(json->parse->input), what);
}

/* The values of the object go into the sample; another begins. */
static void end_object(struct sadf_json *json)
{
	bool counts = json->part == SAR_MACHINE ? !json->per_processor || json->all_processors
						: sar_part_counts(json->part, json->name);
	for (unsigned i = 0; counts && i < SAR_FIELD_COUNT; i++)
		if (!isnan(json->values.value[i]) && sar_field_part((enum sar_field)i) == json->part) {
			sar_sample_take(&json->sample, (enum sar_field)i, json->values.value[i]);
			json->any = true;
		}
	sar_sample_clear(&json->values);
	json->part = SAR_MACHINE;
	json->per_processor = json->all_processors = false;
	json->name[0] = '\0';
}

static bool sample_time(struct sadf_json *json, int64_t *ms)
{
	char text[2 * TEXT_MAX + 8];
	struct value_time time;
	bool stepped;
	(void)snprintf(text, sizeof text, "%s %s", json->date, json->time);
	if (!value_time_read(text, &time))
		return fail(json, "a sample without a date and time");
	*ms = time.ms;
	if (json->utc || time.zoned)
		return true;
	*ms = local_clock_time(&json->clock, time.ms, &stepped) - json->parse->zone * INT64_C(1000);
	if (stepped)
		collector_note(json->parse->collector, json->server, ESTATE_CLOCK_STEP, 1);
	if (!json->parse->zone_given && !json->remarked)
		parse_remark(json->parse, "local times of an unknown zone are taken for UTC (--timezone)");
	json->remarked = true;
	return true;
}

static bool end_sample(struct sadf_json *json)
{
	int64_t ms = 0;
	if (json->server == SIZE_MAX)
		return fail(json, "statistics of a host without a nodename");
	if (!sample_time(json, &ms))
		return false;
	bool good = sar_sample_add(json->parse, json->server, &json->sample, ms, json->interval, json->error);
	json->failed |= !good;
	sar_sample_clear(&json->sample);
	json->date[0] = json->time[0] = '\0';
	return good;
}

/* True if the depths above are the keys sysstat, hosts, [], statistics, []: in an object of that array. */
static bool in_statistics(const struct sadf_json *json)
{
	return json->depth >= 5 && strcmp(json->key[2], "hosts") == 0 && strcmp(json->key[4], "statistics") == 0;
}

static bool in_host(const struct sadf_json *json)
{
	return json->depth == 4 && strcmp(json->key[2], "hosts") == 0;
}

static const char *current_key(const struct sadf_json *json)
{
	return json->depth > 0 ? json->key[json->depth] : "";
}

static bool in_timestamp(const struct sadf_json *json)
{
	return json->depth >= 2 && strcmp(json->key[json->depth - 1], "timestamp") == 0;
}

static int begin(struct sadf_json *json, bool array)
{
	if (json->depth + 1 >= DEPTH_MAX)
		return fail(json, "nested too deeply for sadf -j");
	if (in_statistics(json))
		end_object(json);
	json->depth++;
	json->array[json->depth] = array;
	if (array)
		memcpy(json->key[json->depth], json->key[json->depth - 1], KEY_MAX);
	else
		json->key[json->depth][0] = '\0';
	return 1;
}

static int begin_map(void *owner)
{
	struct sadf_json *json = owner;
	int go_on = begin(json, false);
	if (go_on && in_host(json)) {
		json->server = SIZE_MAX;
		json->cpus = 0;
		json->clock = (struct local_clock){0};
		collector_rewind(json->parse->collector);
	}
	return go_on;
}

static int begin_array(void *owner)
{
	return begin(owner, true);
}

static int end_any(void *owner)
{
	struct sadf_json *json = owner;
	bool statistics = in_statistics(json);
	bool good = true;
	if (statistics)
		end_object(json);
	/* An element of the array of statistics is at its depth 6. */
	if (statistics && json->depth == 6 && !json->array[6])
		good = end_sample(json);
	json->depth -= json->depth > 0;
	return good;
}

static int take_key(void *owner, const unsigned char *text, size_t length)
{
	struct sadf_json *json = owner;
	size_t taken = length < KEY_MAX - 1 ? length : KEY_MAX - 1;
	memcpy(json->key[json->depth], text, taken);
	json->key[json->depth][taken] = '\0';
	return 1;
}

static void set_cpus(struct sadf_json *json)
{
	if (json->server != SIZE_MAX)
		collector_attribute(json->parse->collector, json->server, COLLECT_CPUS, json->cpus, false);
}

static int take_number(void *owner, const char *text, size_t length)
{
	struct sadf_json *json = owner;
	const char *key = current_key(json);
	double value;
	if (value_read(text, length, false, &value) != VALUE_NUMBER)
		return 1;
	if (in_host(json) && strcmp(key, "number-of-cpus") == 0) {
		json->cpus = value;
		set_cpus(json);
	}
	if (!in_statistics(json))
		return 1;
	if (in_timestamp(json)) {
		if (strcmp(key, "utc") == 0)
			json->utc = value > 0;
		if (strcmp(key, "interval") == 0)
			json->interval = value;
		return 1;
	}
	enum sar_field field = sar_field_find(key, true);
	if (field != SAR_FIELD_COUNT)
		json->values.value[field] = value;
	return 1;
}

static bool take_host(struct sadf_json *json, const char *name)
{
	struct error why = {0};
	json->server = collector_server(json->parse->collector, name, &why);
	if (json->server == SIZE_MAX)
		return fail(json, why.text);
	set_cpus(json);
	return true;
}

/* Where a text of an object in the statistics goes. */
static void take_text(struct sadf_json *json, const char *key, const char *text)
{
	if (in_timestamp(json)) {
		if (strcmp(key, "date") == 0)
			(void)snprintf(json->date, TEXT_MAX, "%s", text);
		if (strcmp(key, "time") == 0)
			(void)snprintf(json->time, TEXT_MAX, "%s", text);
	} else if (strcmp(key, "cpu") == 0) {
		json->per_processor = true;
		json->all_processors = strcmp(text, "all") == 0;
	} else if (strcmp(key, "disk-device") == 0 || strcmp(key, "iface") == 0) {
		json->part = key[0] == 'd' ? SAR_DISK : SAR_INTERFACE;
		(void)snprintf(json->name, TEXT_MAX, "%s", text);
	}
}

static int take_string(void *owner, const unsigned char *bytes, size_t length)
{
	struct sadf_json *json = owner;
	char text[TEXT_MAX];
	const char *key = current_key(json);
	if (length >= TEXT_MAX || memchr(bytes, '\0', length) != NULL)
		return 1;
	memcpy(text, bytes, length);
	text[length] = '\0';
	if (in_host(json) && strcmp(key, "nodename") == 0)
		return take_host(json, text);
	if (in_statistics(json))
		take_text(json, key, text);
	return 1;
}

/* Where in the file a text is that yajl did not like. */
struct place {
	uint64_t line, column;
};

static void place_advance(struct place *place, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		place->column++;
		if (bytes[i] == '\n') {
			place->line++;
			place->column = 1;
		}
	}
}

/* True: go on with what there is. */
static bool bad_json(struct sadf_json *json, const struct place *place)
{
	if (json->failed)
		return false;
	return parse_bad(json->parse, place->line, place->column, json->error, "not JSON as sadf -j writes it");
}

static bool read_stream(struct sadf_json *json, yajl_handle handle, struct error *error)
{
	struct place place = {1, 1};
	for (;;) {
		const char *bytes;
		size_t size;
		enum input_result result = input_bytes(json->parse->input, &bytes, &size, error);
		if (result == INPUT_ERROR)
			return false;
		yajl_status status = result == INPUT_END ? yajl_complete_parse(handle)
							 : yajl_parse(handle, (const unsigned char *)bytes, size);
		if (status != yajl_status_ok) {
			size_t consumed = result == INPUT_END ? 0 : yajl_get_bytes_consumed(handle);
			place_advance(&place, bytes, consumed - (consumed > 0));
			return bad_json(json, &place);
		}
		if (result == INPUT_END)
			return true;
		place_advance(&place, bytes, size);
	}
}

static bool sadf_json_read(struct parse *parse, struct error *error)
{
	static const yajl_callbacks callbacks = {.yajl_number = take_number,
						 .yajl_string = take_string,
						 .yajl_start_map = begin_map,
						 .yajl_map_key = take_key,
						 .yajl_end_map = end_any,
						 .yajl_start_array = begin_array,
						 .yajl_end_array = end_any};
	struct sadf_json *json = calloc(1, sizeof *json);
	if (json == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	json->parse = parse;
	json->error = error;
	json->server = SIZE_MAX;
	sar_sample_clear(&json->values);
	sar_sample_clear(&json->sample);
	yajl_handle handle = yajl_alloc(&callbacks, NULL, json);
	bool good = handle != NULL || error_set(error, ERROR_HOST, "out of memory");
	if (good) {
		(void)yajl_config(handle, yajl_allow_multiple_values, 1);
		good = read_stream(json, handle, error);
		yajl_free(handle);
	}
	if (good && !json->any)
		good = error_set(error, ERROR_INPUT,
				 "%.160s: no activity that nfold knows: give sadf -j -- -u ALL -r ALL -b -n DEV",
				 input_path(parse->input));
	free(json);
	return good;
}

static bool sadf_json_probe(const struct parse *parse, const char *head, size_t size)
{
	(void)parse;
	size_t at = 0;
	while (at < size && strchr(" \t\r\n", head[at]) != NULL && head[at] != '\0')
		at++;
	return at < size && head[at] == '{' && head_contains(head, size, "\"sysstat\"");
}

const struct format format_sadf_json = {
    .name = "sadf-json", .family = "sar", .probe = sadf_json_probe, .read = sadf_json_read};

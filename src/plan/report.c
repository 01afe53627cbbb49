/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "plan/answer.h"
#include "plan/report-assets.h"
#include "plan/report.h"

static bool wrong(struct error *error, const char *name, const char *what)
{
	return error_set(error, ERROR_INPUT, "%.200s: %s is missing or wrong: write the file with nfold plan fit -o",
			 name, what);
}

/* Each checks one element of an array; the page draws it without asking again. */
struct part {
	const char *key;
	bool (*check)(const json_t *root, const json_t *element);
};

static bool numbers_check(const json_t *object)
{
	for (unsigned r = 0; r < RESOURCE_COUNT; r++)
		if (!json_is_number(json_object_get(object, resource_key[r])))
			return false;
	return true;
}

static bool is_resource(const json_t *text)
{
	for (unsigned r = 0; json_is_string(text) && r < RESOURCE_COUNT; r++)
		if (strcmp(json_string_value(text), resource_key[r]) == 0)
			return true;
	return false;
}

static bool is_index(const json_t *number, const json_t *array)
{
	return json_is_integer(number) && json_integer_value(number) >= 0 &&
	       (size_t)json_integer_value(number) < json_array_size(array);
}

static bool strings_check(const json_t *array)
{
	size_t i;
	json_t *text;
	json_array_foreach((json_t *)array, i, text)
	{
		if (!json_is_string(text))
			return false;
	}
	return json_is_array(array);
}

static bool is_time(const json_t *time)
{
	/* Beyond the year 9999 the browser's dates end. */
	return json_is_integer(time) && json_integer_value(time) >= 0 &&
	       json_integer_value(time) < INT64_C(253402300800);
}

static bool class_check(const json_t *root, const json_t *element)
{
	(void)root;
	return json_is_string(json_object_get(element, "name")) && json_is_integer(json_object_get(element, "count")) &&
	       numbers_check(json_object_get(element, "capacity")) && numbers_check(json_object_get(element, "usable"));
}

static bool figure_check(const json_t *root, const json_t *element)
{
	(void)root;
	return json_is_number(json_object_get(element, "value")) && json_is_string(json_object_get(element, "unit")) &&
	       json_is_string(json_object_get(element, "what")) && json_is_string(json_object_get(element, "source"));
}

static bool risk_check(const json_t *root, const json_t *element)
{
	return is_index(json_object_get(element, "host"), json_object_get(root, "hosts")) &&
	       is_resource(json_object_get(element, "resource")) && is_time(json_object_get(element, "time")) &&
	       json_is_number(json_object_get(element, "share"));
}

static bool guest_check(const json_t *root, const json_t *element)
{
	const json_t *flags = json_object_get(element, "flags");
	size_t i;
	json_t *flag;
	if (!strings_check(flags))
		return false;
	json_array_foreach((json_t *)flags, i, flag)
	{
		if (json_object_get(json_object_get(root, "flags"), json_string_value(flag)) == NULL)
			return false;
	}
	return json_is_string(json_object_get(element, "name")) &&
	       is_index(json_object_get(element, "host"), json_object_get(root, "hosts")) &&
	       numbers_check(json_object_get(element, "peak")) &&
	       json_is_integer(json_object_get(element, "gap_samples")) &&
	       json_is_boolean(json_object_get(element, "kernel_assumed"));
}

static bool chart_check(const json_t *chart, size_t guests, size_t points)
{
	size_t i, k;
	json_t *series, *value;
	if (!json_is_array(chart) || json_array_size(chart) != guests)
		return false;
	json_array_foreach((json_t *)chart, i, series)
	{
		if (json_array_size(series) != points)
			return false;
		json_array_foreach(series, k, value)
		{
			if (!json_is_number(value))
				return false;
		}
	}
	return true;
}

static bool resources_check(const json_t *root, const json_t *resources, size_t guests)
{
	const json_t *classes = json_object_get(root, "classes");
	size_t points = (size_t)json_integer_value(json_object_get(root, "chart_points"));
	const char *key;
	json_t *resource;
	for (unsigned r = 0; r < RESOURCE_COUNT; r++) {
		const json_t *usable = json_object_get(json_array_get(classes, 0), "usable");
		bool used = json_number_value(json_object_get(usable, resource_key[r])) > 0;
		if (used != (json_object_get(resources, resource_key[r]) != NULL))
			return false;
	}
	json_object_foreach((json_t *)resources, key, resource)
	{
		if (!json_is_number(json_object_get(resource, "peak")) ||
		    !json_is_number(json_object_get(resource, "share")) ||
		    !json_is_number(json_object_get(resource, "mean")) || !is_time(json_object_get(resource, "time")) ||
		    !json_is_integer(json_object_get(resource, "samples_over")) ||
		    !chart_check(json_object_get(resource, "chart"), guests, points))
			return false;
	}
	return true;
}

static bool host_check(const json_t *root, const json_t *element)
{
	const json_t *guests = json_object_get(element, "guests"), *kind = json_object_get(element, "class");
	bool known = false;
	size_t i;
	json_t *value;
	if (!json_is_string(json_object_get(element, "name")) || !json_is_string(kind) || !json_is_array(guests) ||
	    !json_is_boolean(json_object_get(element, "spare")))
		return false;
	json_array_foreach(json_object_get(root, "classes"), i, value)
	{
		known =
		    known || strcmp(json_string_value(json_object_get(value, "name")), json_string_value(kind)) == 0;
	}
	json_array_foreach((json_t *)guests, i, value)
	{
		known = known && is_index(value, json_object_get(root, "guests"));
	}
	return known && (json_is_true(json_object_get(element, "spare")) ||
			 resources_check(root, json_object_get(element, "resources"), json_array_size(guests)));
}

/* In this order: later ones rely on earlier ones. */
static const struct part parts[] = {
    {"classes", class_check}, {"overhead", figure_check}, {"risks", risk_check},
    {"guests", guest_check},  {"hosts", host_check},
};

static bool parts_check(const json_t *root, const char *name, struct error *error)
{
	for (unsigned p = 0; p < sizeof parts / sizeof parts[0]; p++) {
		const json_t *list = json_object_get(root, parts[p].key);
		size_t i;
		json_t *element;
		if (!json_is_array(list))
			return wrong(error, name, parts[p].key);
		json_array_foreach((json_t *)list, i, element)
		{
			if (!parts[p].check(root, element))
				return error_set(error, ERROR_INPUT,
						 "%.200s: %s[%zu] is not what nfold plan fit -o writes", name,
						 parts[p].key, i);
		}
	}
	return true;
}

static bool demand_check(const json_t *demand)
{
	json_int_t samples = json_integer_value(json_object_get(demand, "samples"));
	json_int_t interval = json_integer_value(json_object_get(demand, "interval"));
	const json_t *start = json_object_get(demand, "start");
	return json_is_string(json_object_get(demand, "estate")) &&
	       json_is_integer(json_object_get(demand, "guests")) && samples > 0 && samples <= DEMAND_SAMPLES_MAX &&
	       interval > 0 && interval <= ESTATE_INTERVAL_MAX && is_time(start) &&
	       json_integer_value(start) + samples * interval < ESTATE_START_MAX;
}

static bool heads_check(const json_t *root, const char *name, struct error *error)
{
	const json_t *demand = json_object_get(root, "demand"), *bound = json_object_get(root, "bound");
	const json_t *points = json_object_get(root, "chart_points"), *options = json_object_get(root, "options");
	json_error_t where;
	if (json_unpack_ex((json_t *)root, &where, JSON_VALIDATE_ONLY,
			   "{s:{s:i,s:i},s:{s:i,s:F,s:s,s:s},s:{s:s,s:F,s:i},s:{s:{s:i},s:{s:i},s:{s:i}}}", "answer",
			   "hosts", "by_peaks", "bound", "hosts", "cost", "proof", "text", "options", "engine",
			   "percentile", "spares", "choices", "native", "machines", "one_os", "machines", "virtual",
			   "machines") != 0)
		return error_set(error, ERROR_INPUT, "%.200s: %.150s: write the file with nfold plan fit -o", name,
				 where.text);
	if (!demand_check(demand))
		return wrong(error, name, "demand");
	if (!is_resource(json_object_get(bound, "resource")) || !is_time(json_object_get(bound, "time")))
		return wrong(error, name, "bound");
	if (!numbers_check(json_object_get(options, "headroom")) || !numbers_check(json_object_get(options, "growth")))
		return wrong(error, name, "options");
	if (!json_is_integer(points) || json_integer_value(points) <= 0 ||
	    json_integer_value(points) > DEMAND_SAMPLES_MAX)
		return wrong(error, name, "chart_points");
	return json_is_object(json_object_get(root, "flags")) || wrong(error, name, "flags");
}

static bool plan_check(const json_t *root, const char *name, struct error *error)
{
	const char *format = json_string_value(json_object_get(root, "format"));
	if (format == NULL || strcmp(format, ANSWER_FORMAT) != 0)
		return error_set(error, ERROR_INPUT, "%.200s: this is not a plan: nfold plan fit -o writes one", name);
	json_int_t version = json_integer_value(json_object_get(root, "version"));
	if (version != ANSWER_VERSION)
		return error_set(error, ERROR_INPUT, "%.200s: this plan has version %lld, this nfold reads %d", name,
				 (long long)version, ANSWER_VERSION);
	return heads_check(root, name, error) && parts_check(root, name, error);
}

static json_t *report_take(json_t *root, const json_error_t *where, const char *name, struct error *error)
{
	if (root == NULL) {
		(void)error_set(error, ERROR_INPUT, "%.200s:%d:%d: %.120s", name, where->line, where->column,
				where->text);
		return NULL;
	}
	if (plan_check(root, name, error))
		return root;
	json_decref(root);
	return NULL;
}

json_t *report_load(const char *path, struct error *error)
{
	json_error_t where;
	json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
	return report_take(root, &where, path, error);
}

json_t *report_parse(const char *bytes, size_t length, const char *name, struct error *error)
{
	json_error_t where;
	json_t *root = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &where);
	return report_take(root, &where, name, error);
}

/* JSON within a script element: no '<' may be seen there. */
static bool write_escaped(FILE *to, const char *text)
{
	for (const char *at; (at = strchr(text, '<')) != NULL; text = at + 1)
		if (fwrite(text, 1, (size_t)(at - text), to) != (size_t)(at - text) || fputs("\\u003c", to) == EOF)
			return false;
	return fputs(text, to) != EOF;
}

static bool page_write(const json_t *data, const char *title, const char *html, const char *script, FILE *to,
		       struct error *error)
{
	char *text = json_dumps(data, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
	if (text == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	bool good = fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
			  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
			  to) != EOF &&
		    fputs(title, to) != EOF && fputs("</title>\n<style>\n", to) != EOF &&
		    fputs(report_asset_css, to) != EOF && fputs("</style>\n</head>\n<body>\n", to) != EOF &&
		    fputs(html, to) != EOF && fputs("<script type=\"application/json\" id=\"plan\">", to) != EOF &&
		    write_escaped(to, text) && fputs("</script>\n<script>\n", to) != EOF &&
		    fputs(report_asset_chart, to) != EOF && fputs("\n</script>\n<script>\n", to) != EOF &&
		    fputs(script, to) != EOF && fputs("</script>\n</body>\n</html>\n", to) != EOF;
	free(text);
	return good || error_set_errno(error, "cannot write the page");
}

bool report_write(const json_t *plan, FILE *to, struct error *error)
{
	return page_write(plan, "Plan", report_asset_html, report_asset_js, to, error);
}

bool report_write_estate(const json_t *estate, FILE *to, struct error *error)
{
	return page_write(estate, "Estate", report_asset_estate_html, report_asset_estate_js, to, error);
}

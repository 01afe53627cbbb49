/* SPDX-License-Identifier: MIT */
#include "plan/import.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "plan/import-impl.h"
#include "plan/value.h"

/* The first that says yes reads the file. A mapping is for what none of the others knows. */
static const struct format *const format_table[] = {&format_esxtop,    &format_perfmon, &format_sadf,
						    &format_sadf_json, &format_sar,	&format_history,
						    &format_bitbrains, &format_mapped};

static bool create_parts(struct import *import, const char *output, struct error *error)
{
	const struct import_options *options = &import->options;
	import->files = json_array();
	import->lost = json_array();
	import->remarks = json_array();
	if (import->files == NULL || import->lost == NULL || import->remarks == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	if (options->zone != NULL && !value_zone_read(options->zone, &import->zone))
		return error_set(error, ERROR_INPUT,
				 "--timezone '%.40s': give UTC or hours from it, such as +01:00 or -0530",
				 options->zone);
	if (options->ratings != NULL && options->attributes == NULL)
		return error_set(error, ERROR_INPUT, "--ratings needs --attributes with a column 'model'");
	if (options->map != NULL && !mapping_load(options->map, &import->mapping, error))
		return false;
	import->writer = estate_writer_create(output, error);
	if (import->writer == NULL)
		return false;
	import->collector = collector_create(output, error);
	return import->collector != NULL;
}

struct import *import_create(const struct import_options *options, const char *output, struct error *error)
{
	struct import *import = calloc(1, sizeof *import);
	if (import == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	import->options = *options;
	if (create_parts(import, output, error))
		return import;
	import_destroy(import);
	return NULL;
}

void import_destroy(struct import *import)
{
	if (import == NULL)
		return;
	estate_writer_discard(import->writer);
	collector_destroy(import->collector);
	json_decref(import->files);
	json_decref(import->lost);
	json_decref(import->remarks);
	free(import);
}

/* The file's name without its folder, ".gz" and the last part behind a dot. */
static void make_stem(const char *path, char *stem, size_t size)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	(void)snprintf(stem, size, "%s", name);
	size_t length = strlen(stem);
	if (length > 3 && strcmp(stem + length - 3, ".gz") == 0)
		stem[length - 3] = '\0';
	char *dot = strrchr(stem, '.');
	if (dot != NULL && dot != stem)
		*dot = '\0';
}

static void take_remark(void *owner, const char *what, const char *text)
{
	import_remark_add(owner, what, text);
}

static const struct format *find_format(const struct parse *parse, const char *head, size_t size)
{
	for (size_t i = 0; i < sizeof format_table / sizeof format_table[0]; i++)
		if (format_table[i]->probe(parse, head, size))
			return format_table[i];
	return NULL;
}

enum found { FOUND_GOOD, FOUND_BAD, FOUND_UNKNOWN };

static enum found read_file(struct import *import, struct parse *parse, const char *family, struct error *error)
{
	const char *head, *path = input_path(parse->input);
	size_t size;
	if (!input_head(parse->input, &head, &size, error))
		return FOUND_BAD;
	if (size == 0) {
		(void)error_set(error, ERROR_INPUT, "%.200s: it is empty", path);
		return FOUND_UNKNOWN;
	}
	const struct format *format = find_format(parse, head, size);
	if (format == NULL || (family != NULL && strcmp(format->family, family) != 0)) {
		(void)error_set(error, ERROR_INPUT, "%.160s:1: not a file of %s; other tables need a mapping (--map)",
				path,
				family != NULL ? family : "perfmon, sar, sadf, esxtop, nfold record or Bitbrains");
		return FOUND_UNKNOWN;
	}
	uint64_t before = collector_samples(import->collector);
	if (!collector_begin(import->collector, path, error) || !format->read(parse, error))
		return FOUND_BAD;
	import_file_done(import, parse, format->name, collector_samples(import->collector) - before);
	return FOUND_GOOD;
}

static enum found open_file(struct import *import, const char *path, const char *family, struct error *error)
{
	char stem[COLLECT_NAME_MAX];
	make_stem(path, stem, sizeof stem);
	struct parse parse = {
	    .collector = import->collector,
	    .input = input_open(path, -1, error),
	    .stem = stem,
	    .mapping = import->options.map != NULL ? &import->mapping : NULL,
	    .zone = import->zone,
	    .zone_given = import->options.zone != NULL,
	    .keep_going = import->options.keep_going,
	    .owner = import,
	    .remark = take_remark,
	};
	if (parse.input == NULL)
		return FOUND_BAD;
	enum found found = read_file(import, &parse, family, error);
	input_close(parse.input);
	return found;
}

/* `searched`: the file was found in a folder, where others may lie too. */
static bool add_file(struct import *import, const char *path, const char *family, bool searched, struct error *error)
{
	struct error why = {0};
	enum found found = open_file(import, path, family, &why);
	import->summary.files += found == FOUND_GOOD;
	if (found == FOUND_GOOD)
		return true;
	if (found == FOUND_UNKNOWN && searched) {
		import_remark_add(import, path, "left out: nfold does not know what it is, or it is empty");
		return true;
	}
	if (import->options.keep_going && why.kind == ERROR_INPUT) {
		import_file_lost(import, path, why.text);
		return true;
	}
	*error = why;
	return false;
}

static int compare_entries(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool add_entry(struct import *import, FTS *tree, FTSENT *entry, const char *family, struct error *error)
{
	switch (entry->fts_info) {
	case FTS_D:
		/* What is hidden is not meant. */
		if (entry->fts_level > 0 && entry->fts_name[0] == '.')
			(void)fts_set(tree, entry, FTS_SKIP);
		return true;
	case FTS_F:
		return entry->fts_name[0] == '.' || add_file(import, entry->fts_path, family, true, error);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		if (!import->options.keep_going)
			return error_set(error, ERROR_INPUT, "%.200s: %s", entry->fts_path, strerror(entry->fts_errno));
		import_file_lost(import, entry->fts_path, strerror(entry->fts_errno));
		return true;
	default:
		return true;
	}
}

static bool add_folder(struct import *import, const char *path, const char *family, struct error *error)
{
	char *copy = strdup(path);
	char *const roots[] = {copy, NULL};
	FTS *tree = copy != NULL ? fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, compare_entries) : NULL;
	bool good = tree != NULL || error_set_errno(error, "%s", path);
	while (good) {
		errno = 0;
		FTSENT *entry = fts_read(tree);
		if (entry == NULL) {
			good = errno == 0 || error_set_errno(error, "%s", path);
			break;
		}
		good = add_entry(import, tree, entry, family, error);
	}
	if (tree != NULL)
		(void)fts_close(tree);
	free(copy);
	return good;
}

bool import_add(struct import *import, const char *path, const char *family, struct error *error)
{
	struct stat status;
	if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		return add_folder(import, path, family, error);
	return add_file(import, path, family, false, error);
}

static bool server_refused(void *owner, const char *server, const struct error *error)
{
	struct import *import = owner;
	if (!import->options.keep_going)
		return false;
	import_server_lost(import, server, error->text);
	return true;
}

bool import_finish(struct import *import, struct import_summary *summary, struct error *error)
{
	const struct collect_listener listener = {.owner = import, .refused = server_refused, .remark = take_remark};
	if (import->options.attributes != NULL && !import_attributes(import, import->options.attributes, error))
		return false;
	if (!collector_write(import->collector, import->writer, &listener, error))
		return false;
	import->summary.samples = collector_samples(import->collector);
	import->summary.servers = collector_servers(import->collector) - import->summary.servers_lost;
	*summary = import->summary;
	if (summary->servers == 0)
		return error_set(error, ERROR_INPUT, "no server was found in %llu files",
				 (unsigned long long)summary->files + summary->files_lost);
	char *report = import_report(import);
	if (report == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	struct estate_writer *writer = import->writer;
	import->writer = NULL;
	bool good = estate_writer_finish(writer, report, error);
	free(report);
	return good;
}

/* SPDX-License-Identifier: MIT */
/*
 * What nfold record wrote: an SQLite database, docs/history.md. A sample is one guest in one reading.
 *
 * The file may be anything that begins like a database. SQLite is told to trust nothing in it; an authorizer lets only
 * columns of the tables be read, so that no view, trigger or function of the file's own runs; and steps are counted, in
 * proportion to the file's size.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "plan/parse.h"

#define APPLICATION 1852204136 /* "nfdh" */
#define SCHEMA 1
#define BUSY_MS 5000
#define LENGTH_MAX 1000000 /* of a row or a text */
#define STEPS_AT_ONCE 100000
#define STEPS_LEAST 1000 /* of those */
#define BYTES_A_STEP 2000

static const char magic[] = "SQLite format 3"; /* and its zero byte */

static bool history_probe(const struct parse *parse, const char *head, size_t size)
{
	(void)parse;
	return size >= sizeof magic && memcmp(head, magic, sizeof magic) == 0;
}

struct history {
	struct parse *parse;
	sqlite3 *database;
	uint64_t steps; /* left */
};

static const char query[] =
    "SELECT g.name, g.vcpus, g.memory_bytes, r.end_ns, s.interval_ns, s.resident_bytes, "
    "(SELECT total(v.guest_ns) FROM vcpu_sample v WHERE v.reading = s.reading AND v.guest = s.guest), "
    "(SELECT total(v.exit_ns) + total(v.translate_ns) + total(v.device_ns) FROM vcpu_sample v WHERE v.reading = "
    "s.reading "
    "AND v.guest = s.guest), "
    "(SELECT total(v.ready_ns) + total(v.preempted_ns) FROM vcpu_sample v WHERE v.reading = s.reading AND v.guest = "
    "s.guest), "
    "(SELECT sum(d.read_bytes) FROM disk_sample d WHERE d.reading = s.reading AND d.guest = s.guest), "
    "(SELECT sum(d.write_bytes) FROM disk_sample d WHERE d.reading = s.reading AND d.guest = s.guest), "
    "(SELECT sum(d.reads) FROM disk_sample d WHERE d.reading = s.reading AND d.guest = s.guest), "
    "(SELECT sum(d.writes) FROM disk_sample d WHERE d.reading = s.reading AND d.guest = s.guest), "
    "(SELECT sum(n.received_bytes) FROM network_sample n WHERE n.reading = s.reading AND n.guest = s.guest), "
    "(SELECT sum(n.sent_bytes) FROM network_sample n WHERE n.reading = s.reading AND n.guest = s.guest) "
    "FROM guest_sample s JOIN reading r ON r.id = s.reading JOIN guest g ON g.id = s.guest";

enum query_column {
	QUERY_NAME,
	QUERY_VCPUS,
	QUERY_MEMORY,
	QUERY_END,
	QUERY_INTERVAL,
	QUERY_RESIDENT,
	QUERY_WORK,
	QUERY_ENGINE,
	QUERY_WAITED,
	QUERY_RATES, /* and those behind it */
};

/* Of the columns from QUERY_RATES on. */
static const unsigned rate_channel[] = {ESTATE_DISK_READ,      ESTATE_DISK_WRITE,  ESTATE_DISK_READ_OPS,
					ESTATE_DISK_WRITE_OPS, ESTATE_NET_RECEIVE, ESTATE_NET_SEND};
#define RATES (sizeof rate_channel / sizeof rate_channel[0])

/* What SQLite says, as the one line of an error. */
static bool history_fail(const struct history *history, struct error *error)
{
	int code = sqlite3_errcode(history->database);
	const char *why = code == SQLITE_INTERRUPT ? "it is not as nfold record makes it: reading it takes too long"
						   : sqlite3_errmsg(history->database);
	if (code == SQLITE_NOMEM)
		return error_set(error, ERROR_HOST, "out of memory");
	char line[160];
	(void)snprintf(line, sizeof line, "%s", why);
	for (char *at = line; *at != '\0'; at++)
		*at = (unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at;
	return error_set(error, ERROR_INPUT, "%.160s: the history cannot be read: %s",
			 input_path(history->parse->input), line);
}

static int history_allow(void *owner, int action, const char *one, const char *other, const char *database,
			 const char *by)
{
	static const char *const functions[] = {"total", "sum"};
	(void)owner;
	(void)database;
	(void)one;
	if (action == SQLITE_SELECT)
		return SQLITE_OK;
	if (action == SQLITE_READ) /* of a table, by the query itself and no view */
		return by == NULL ? SQLITE_OK : SQLITE_DENY;
	for (unsigned i = 0; action == SQLITE_FUNCTION && i < 2; i++)
		if (strcmp(functions[i], other) == 0)
			return SQLITE_OK;
	return SQLITE_DENY;
}

static int history_step(void *owner)
{
	struct history *history = owner;
	return history->steps == 0 || --history->steps == 0;
}

static bool number_is(const struct history *history, const char *pragma, int wanted)
{
	sqlite3_stmt *statement = NULL;
	bool good = sqlite3_prepare_v2(history->database, pragma, -1, &statement, NULL) == SQLITE_OK &&
		    sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_int(statement, 0) == wanted;
	(void)sqlite3_finalize(statement);
	return good;
}

static bool history_open(struct history *history, struct error *error)
{
	const char *path = input_path(history->parse->input);
	struct stat status;
	char *safe = NULL;
	/* A name that begins with "file:" or ":" is none of SQLite's own. */
	if (asprintf(&safe, "%s%s", path[0] == '/' ? "" : "./", path) < 0)
		return error_set(error, ERROR_HOST, "out of memory");
	bool plain = stat(safe, &status) == 0 && S_ISREG(status.st_mode);
	int code = sqlite3_open_v2(safe, &history->database, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
	free(safe);
	if (!plain)
		return error_set(error, ERROR_INPUT, "%.160s: a history must be a file, not a pipe", path);
	if (code != SQLITE_OK)
		return history_fail(history, error);
	(void)sqlite3_db_config(history->database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(history->database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	(void)sqlite3_db_config(history->database, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	(void)sqlite3_db_config(history->database, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	(void)sqlite3_limit(history->database, SQLITE_LIMIT_LENGTH, LENGTH_MAX);
	(void)sqlite3_busy_timeout(history->database, BUSY_MS);
	history->steps = STEPS_LEAST + (uint64_t)status.st_size / BYTES_A_STEP;
	sqlite3_progress_handler(history->database, STEPS_AT_ONCE, history_step, history);
	if (!number_is(history, "PRAGMA application_id", APPLICATION))
		return sqlite3_errcode(history->database) != SQLITE_ROW &&
			       sqlite3_errcode(history->database) != SQLITE_OK
			   ? history_fail(history, error)
			   : error_set(error, ERROR_INPUT, "%.160s: this database is not of nfold record", path);
	if (!number_is(history, "PRAGMA user_version", SCHEMA))
		return error_set(error, ERROR_INPUT, "%.160s: its history has another version; this nfold reads %d",
				 path, SCHEMA);
	return sqlite3_exec(history->database, "PRAGMA cell_size_check = ON", NULL, NULL, NULL) == SQLITE_OK ||
	       history_fail(history, error);
}

/* NaN: not there, or no number that can be. */
static double rate(sqlite3_stmt *statement, int column, double seconds)
{
	int type = sqlite3_column_type(statement, column);
	if (type != SQLITE_INTEGER && type != SQLITE_FLOAT)
		return NAN;
	return sqlite3_column_double(statement, column) / seconds;
}

/*
 * Processors that the guest's own work takes. What the engine does for it is left out, in and beside the virtual
 * processors: the plan adds the overhead of the engine that it is for. Time in which a processor was wanted and not
 * there would have been spent on both, as the rest was.
 */
static double processors(sqlite3_stmt *statement, double interval)
{
	double work = rate(statement, QUERY_WORK, interval), engine = rate(statement, QUERY_ENGINE, interval);
	double waited = rate(statement, QUERY_WAITED, interval), run = work + engine;
	return run > 0 ? work + waited * (work / run) : run + waited;
}

static bool row_take(struct history *history, sqlite3_stmt *statement, struct error *error)
{
	struct collector *collector = history->parse->collector;
	const char *name = (const char *)sqlite3_column_text(statement, QUERY_NAME);
	double interval = sqlite3_column_double(statement, QUERY_INTERVAL);
	if (name == NULL || !(interval >= 1e6) || interval > 1e9 * ESTATE_INTERVAL_MAX)
		return parse_bad(history->parse, collector_samples(collector) + 1, 0, error,
				 "a sample without a guest's name or with an impossible interval");
	size_t server = collector_server(collector, name, error);
	if (server == SIZE_MAX)
		return false;
	struct collect_sample sample = collect_sample_at(sqlite3_column_int64(statement, QUERY_END) / 1000000);
	sample.width_ms = (uint32_t)(interval / 1e6);
	collector_attribute(collector, server, COLLECT_CPUS, sqlite3_column_double(statement, QUERY_VCPUS), false);
	collector_attribute(collector, server, COLLECT_INSTALLED, sqlite3_column_double(statement, QUERY_MEMORY),
			    false);
	sample.value[COLLECT_PROCESSORS] = processors(statement, interval);
	sample.value[ESTATE_MEMORY] = rate(statement, QUERY_RESIDENT, 1);
	for (unsigned i = 0; i < RATES; i++)
		sample.value[rate_channel[i]] = rate(statement, (int)(QUERY_RATES + i), interval / 1e9);
	return collector_add(collector, server, &sample, error);
}

static bool rows_take(struct history *history, struct error *error)
{
	sqlite3_stmt *statement = NULL;
	(void)sqlite3_set_authorizer(history->database, history_allow, NULL);
	int code = sqlite3_prepare_v2(history->database, query, -1, &statement, NULL);
	bool good = code == SQLITE_OK || history_fail(history, error);
	while (good && (code = sqlite3_step(statement)) == SQLITE_ROW)
		good = row_take(history, statement, error);
	if (good && code != SQLITE_DONE)
		good = history_fail(history, error);
	(void)sqlite3_finalize(statement);
	return good;
}

static bool history_read(struct parse *parse, struct error *error)
{
	struct history history = {.parse = parse};
	bool good = history_open(&history, error) && rows_take(&history, error);
	(void)sqlite3_close(history.database);
	return good;
}

const struct format format_history = {
    .name = "nfold record", .family = "record", .probe = history_probe, .read = history_read};

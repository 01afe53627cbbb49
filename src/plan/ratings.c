/* SPDX-License-Identifier: MIT */
#include "plan/ratings.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "plan/rows.h"
#include "plan/value.h"

#define ROWS_MAX 1000000u

enum ratings_column { RATINGS_MODEL, RATINGS_SERVER, RATINGS_RATING, RATINGS_COLUMNS };

static const char *const column_name[RATINGS_COLUMNS] = {"model", "server", "rating"};

struct ratings_row {
	char *pattern[2]; /* of the model, of the server; one of them is NULL */
	double rating;
};

struct ratings {
	struct ratings_row *row;
	size_t count, room;
};

struct reading {
	struct ratings *ratings;
	const char *path;
	struct rows *rows;
	size_t column[RATINGS_COLUMNS]; /* SIZE_MAX: none */
};

static bool head_read(struct reading *reading, struct error *error)
{
	for (unsigned i = 0; i < RATINGS_COLUMNS; i++)
		reading->column[i] = SIZE_MAX;
	for (size_t k = 0; k < rows_count(reading->rows); k++) {
		unsigned i = 0;
		while (i < RATINGS_COLUMNS && strcmp(column_name[i], rows_field(reading->rows, k)) != 0)
			i++;
		if (i == RATINGS_COLUMNS)
			return error_set(error, ERROR_INPUT, "%.160s:1:%zu: no column '%.40s': model, server, rating",
					 reading->path, k + 1, rows_field(reading->rows, k));
		reading->column[i] = k;
	}
	return (reading->column[RATINGS_RATING] != SIZE_MAX &&
		(reading->column[RATINGS_MODEL] != SIZE_MAX || reading->column[RATINGS_SERVER] != SIZE_MAX)) ||
	       error_set(error, ERROR_INPUT, "%.160s:1: there must be columns 'rating', and 'model' or 'server'",
			 reading->path);
}

/* "" where there is none. */
static const char *field(const struct reading *reading, unsigned column)
{
	size_t at = reading->column[column];
	return at == SIZE_MAX || at >= rows_count(reading->rows) ? "" : rows_field(reading->rows, at);
}

static struct ratings_row *row_add(struct ratings *ratings)
{
	if (ratings->count == ratings->room) {
		size_t room = ratings->room * 2 + 64;
		struct ratings_row *larger =
		    room <= 2 * ROWS_MAX ? reallocarray(ratings->row, room, sizeof *larger) : NULL;
		if (larger == NULL)
			return NULL;
		ratings->row = larger;
		ratings->room = room;
	}
	struct ratings_row *row = &ratings->row[ratings->count++];
	*row = (struct ratings_row){0};
	return row;
}

static bool row_read(const struct reading *reading, struct error *error)
{
	unsigned long long line = (unsigned long long)rows_line(reading->rows);
	const char *rating = field(reading, RATINGS_RATING);
	double value;
	if (value_read(rating, strlen(rating), true, &value) != VALUE_NUMBER || !(value > 0) || value > RATING_MAX)
		return error_set(error, ERROR_INPUT, "%.160s:%llu:%zu: '%.40s' is no rating: a number > 0, up to %g",
				 reading->path, line, reading->column[RATINGS_RATING] + 1, rating, RATING_MAX);
	bool has_model = *field(reading, RATINGS_MODEL) != '\0', has_server = *field(reading, RATINGS_SERVER) != '\0';
	if (has_model == has_server)
		return error_set(error, ERROR_INPUT, "%.160s:%llu: a row is of a model or of a server", reading->path,
				 line);
	struct ratings_row *row = row_add(reading->ratings);
	if (row == NULL ||
	    (row->pattern[has_server] = strdup(field(reading, has_server ? RATINGS_SERVER : RATINGS_MODEL))) == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	row->rating = value;
	return true;
}

static bool rows_read(struct reading *reading, struct error *error)
{
	bool header = true;
	for (;;) {
		enum input_result result = rows_next(reading->rows, error);
		if (result != INPUT_LINE)
			return result == INPUT_END &&
			       (reading->ratings->count != 0 ||
				error_set(error, ERROR_INPUT, "%.160s: there is no rating in it", reading->path));
		if (!(header ? head_read(reading, error) : row_read(reading, error)))
			return false;
		header = false;
	}
}

struct ratings *ratings_load(const char *path, struct error *error)
{
	struct reading reading = {.path = path, .ratings = calloc(1, sizeof *reading.ratings)};
	const char *head;
	size_t size;
	if (reading.ratings == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	struct input *input = input_open(path, -1, error);
	bool good = input != NULL && input_head(input, &head, &size, error);
	if (good)
		reading.rows = rows_make(input, rows_guess_separator(head, size), error);
	good = good && reading.rows != NULL && rows_read(&reading, error);
	rows_destroy(reading.rows);
	input_close(input);
	if (good)
		return reading.ratings;
	ratings_free(reading.ratings);
	return NULL;
}

void ratings_free(struct ratings *ratings)
{
	if (ratings == NULL)
		return;
	for (size_t i = 0; i < ratings->count; i++) {
		free(ratings->row[i].pattern[0]);
		free(ratings->row[i].pattern[1]);
	}
	free(ratings->row);
	free(ratings);
}

static double rating_of(const struct ratings *ratings, const char *name, unsigned which)
{
	for (size_t i = 0; ratings != NULL && i < ratings->count; i++)
		if (ratings->row[i].pattern[which] != NULL &&
		    fnmatch(ratings->row[i].pattern[which], name, FNM_CASEFOLD) == 0)
			return ratings->row[i].rating;
	return 0;
}

double ratings_of_model(const struct ratings *ratings, const char *model)
{
	return rating_of(ratings, model, 0);
}

double ratings_of_server(const struct ratings *ratings, const char *server)
{
	return rating_of(ratings, server, 1);
}

double *ratings_servers(const struct ratings *ratings, const struct estate *estate, double mhz_of_one,
			struct error *error)
{
	size_t count = estate_count(estate);
	double *mhz = calloc(count + 1, sizeof *mhz);
	if (mhz == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		const struct estate_server *server = estate_server(estate, i);
		double rating = ratings_of_server(ratings, server->name) * server->cpus;
		rating = rating > 0 ? rating : server->rating;
		if (!(rating > 0) || rating > RATING_MAX * 1e4) {
			(void)error_set(error, ERROR_INPUT,
					"server '%.80s' has no rating: give it one, in a row of --ratings or when "
					"importing, or leave ratings out of --host",
					server->name);
			free(mhz);
			return NULL;
		}
		mhz[i] = rating * mhz_of_one;
	}
	return mhz;
}

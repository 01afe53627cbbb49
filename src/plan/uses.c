/* SPDX-License-Identifier: MIT */
#include "plan/uses.h"

#include <stdlib.h>

#include "plan/value.h"

bool uses_add(struct uses *uses, const struct use *use, struct error *error)
{
	if (uses->count == uses->room) {
		size_t room = 2 * uses->room + 32;
		struct use *grown = reallocarray(uses->use, room, sizeof *grown);
		if (grown == NULL)
			return error_set(error, ERROR_HOST, "out of memory");
		uses->use = grown;
		uses->room = room;
	}
	uses->use[uses->count++] = *use;
	return true;
}

void uses_destroy(struct uses *uses)
{
	free(uses->use);
	*uses = (struct uses){0};
}

static int compare_uses(const void *a, const void *b)
{
	const struct use *left = a, *right = b;
	if (left->server != right->server)
		return left->server < right->server ? -1 : 1;
	if (left->channel != right->channel)
		return left->channel < right->channel ? -1 : 1;
	if (left->rank != right->rank)
		return left->rank < right->rank ? -1 : 1;
	return (left->column > right->column) - (left->column < right->column);
}

void uses_settle(struct uses *uses)
{
	size_t kept = 0;
	if (uses->count == 0)
		return;
	qsort(uses->use, uses->count, sizeof *uses->use, compare_uses);
	for (size_t i = 1; i < uses->count; i++) {
		const struct use *best = &uses->use[kept], *next = &uses->use[i];
		if (next->server == best->server && next->channel == best->channel && next->rank != best->rank)
			continue;
		uses->use[++kept] = *next;
	}
	uses->count = kept + 1;
}

/* One channel of one server: the columns from *at on. False: give up. */
static bool read_channel(const struct uses *uses, size_t *at, struct parse *parse, const struct rows *rows, bool comma,
			 double *value, struct error *error)
{
	const struct use *first = &uses->use[*at];
	double sum = 0;
	unsigned count = 0;
	for (; *at < uses->count; ++*at) {
		const struct use *use = &uses->use[*at];
		double part;
		if (use->server != first->server || use->channel != first->channel)
			break;
		const char *text = rows_field(rows, use->column);
		switch (value_read(text, rows_length(rows, use->column), comma, &part)) {
		case VALUE_NUMBER:
			sum += part * use->factor;
			count++;
			break;
		case VALUE_MISSING:
			collector_note(parse->collector, use->server, ESTATE_MISSING, 1);
			break;
		case VALUE_BAD:
			collector_note(parse->collector, use->server, ESTATE_MISSING, 1);
			if (!parse_bad(parse, rows_line(rows), use->column + 1, error, "'%.40s' is not a number", text))
				return false;
		}
	}
	*value = count == 0 ? NAN : first->mean ? sum / count : sum;
	if (first->highest > 0 && *value > first->highest)
		*value = first->highest;
	return true;
}

bool uses_row(const struct uses *uses, struct parse *parse, const struct rows *rows, bool comma, int64_t time_ms,
	      struct error *error)
{
	for (size_t at = 0; at < uses->count;) {
		size_t server = uses->use[at].server;
		struct collect_sample sample = collect_sample_at(time_ms);
		while (at < uses->count && uses->use[at].server == server) {
			unsigned channel = uses->use[at].channel;
			double value;
			if (!read_channel(uses, &at, parse, rows, comma, &value, error))
				return false;
			if (channel < COLLECT_CHANNEL_COUNT)
				sample.value[channel] = value;
			else
				collector_attribute(parse->collector, server,
						    (enum collect_attribute)(channel - COLLECT_CHANNEL_COUNT), value,
						    false);
		}
		if (!collector_add(parse->collector, server, &sample, error))
			return false;
	}
	return true;
}

void uses_note(const struct uses *uses, struct parse *parse, enum estate_note note)
{
	for (size_t i = 0; i < uses->count; i++)
		if (i == 0 || uses->use[i].server != uses->use[i - 1].server)
			collector_note(parse->collector, uses->use[i].server, note, 1);
}

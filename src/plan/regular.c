/* SPDX-License-Identifier: MIT */
#include "plan/regular.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/grid.h"

#define WINDOW 8u /* distances looked at to each side */
#define WINDOW_MAX (2 * WINDOW + 1)

/* A gap may be long, but not so that nearly all slots are gaps: then a date is wrong. */
#define SLOTS_FREE 1000000u
#define SLOTS_PER_SAMPLE 1000u

bool samples_make(struct samples *samples, size_t count, uint32_t channels)
{
	*samples = (struct samples){.count = count};
	samples->time_ms = malloc(count * sizeof *samples->time_ms + 1);
	samples->width_ms = malloc(count * sizeof *samples->width_ms + 1);
	bool good = samples->time_ms != NULL && samples->width_ms != NULL;
	for (unsigned i = 0; good && i < COLLECT_CHANNEL_COUNT; i++) {
		if ((channels >> i & 1) == 0)
			continue;
		samples->value[i] = malloc(count * sizeof(double) + 1);
		good = samples->value[i] != NULL;
		for (size_t k = 0; good && k < count; k++)
			samples->value[i][k] = NAN;
	}
	if (!good)
		samples_destroy(samples);
	return good;
}

void samples_destroy(struct samples *samples)
{
	free(samples->time_ms);
	free(samples->width_ms);
	for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++)
		free(samples->value[i]);
	*samples = (struct samples){0};
}

void regular_destroy(struct regular *regular)
{
	for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++)
		free(regular->value[i]);
	*regular = (struct regular){0};
}

static bool is_sorted(const struct samples *samples)
{
	for (size_t i = 1; i < samples->count; i++)
		if (samples->time_ms[i] <= samples->time_ms[i - 1])
			return false;
	return true;
}

struct place {
	int64_t time_ms;
	size_t index;
};

static int compare_places(const void *a, const void *b)
{
	const struct place *left = a, *right = b;
	if (left->time_ms != right->time_ms)
		return left->time_ms < right->time_ms ? -1 : 1;
	return (left->index > right->index) - (left->index < right->index);
}

/* Puts the values in the places' order, through `scratch`. */
static void permute(void *values, size_t size, const struct place *place, size_t count, void *scratch)
{
	char *to = scratch;
	for (size_t i = 0; i < count; i++)
		memcpy(to + i * size, (const char *)values + place[i].index * size, size);
	memcpy(values, scratch, count * size);
}

/*
 * Sample b goes into sample a, of the same time and read earlier. Values that only one has are parts of one sample;
 * where both have one, the later counts.
 */
static void merge_same_time(struct samples *samples, size_t a, size_t b, uint64_t note[ESTATE_NOTE_COUNT])
{
	bool same = false, different = false;
	for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++) {
		double *value = samples->value[i];
		if (value == NULL || isnan(value[b]))
			continue;
		if (!isnan(value[a])) {
			same = true;
			different |= value[a] < value[b] || value[a] > value[b];
		}
		value[a] = value[b];
	}
	if (samples->width_ms[a] == 0)
		samples->width_ms[a] = samples->width_ms[b];
	if (different)
		note[ESTATE_CONFLICT]++;
	else if (same)
		note[ESTATE_DUPLICATE]++;
}

static void move_sample(struct samples *samples, size_t to, size_t from)
{
	samples->time_ms[to] = samples->time_ms[from];
	samples->width_ms[to] = samples->width_ms[from];
	for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++)
		if (samples->value[i] != NULL)
			samples->value[i][to] = samples->value[i][from];
}

static void merge_all(struct samples *samples, uint64_t note[ESTATE_NOTE_COUNT])
{
	size_t kept = 0;
	for (size_t i = 1; i < samples->count; i++) {
		if (samples->time_ms[i] == samples->time_ms[kept])
			merge_same_time(samples, kept, i, note);
		else
			move_sample(samples, ++kept, i);
	}
	samples->count = kept + 1;
}

bool samples_sort(struct samples *samples, uint64_t note[ESTATE_NOTE_COUNT])
{
	if (is_sorted(samples))
		return true;
	size_t count = samples->count;
	struct place *place = malloc(count * sizeof *place);
	double *scratch = malloc(count * sizeof *scratch);
	bool good = place != NULL && scratch != NULL;
	if (good) {
		for (size_t i = 0; i < count; i++)
			place[i] = (struct place){samples->time_ms[i], i};
		qsort(place, count, sizeof *place, compare_places);
		permute(samples->time_ms, sizeof(int64_t), place, count, scratch);
		permute(samples->width_ms, sizeof(uint32_t), place, count, scratch);
		for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++)
			if (samples->value[i] != NULL)
				permute(samples->value[i], sizeof(double), place, count, scratch);
		merge_all(samples, note);
	}
	free(place);
	free(scratch);
	return good;
}

struct counter {
	double end;	/* where it wraps; 0: to be found out */
	double fastest; /* largest rate seen */
	uint64_t *note;
};

/* The gain from one total to a smaller one, or NaN for a reset. */
static double counter_wrapped(const struct counter *counter, double before, double after, double seconds)
{
	double end = counter->end > 0 ? counter->end : before < 4294967296.0 ? 4294967296.0 : 18446744073709551616.0;
	double gain = end - before + after;
	if (before >= end)
		return NAN;
	return counter->end > 0 || gain / seconds <= 2 * counter->fastest ? gain : NAN;
}

static double counter_rate(struct counter *counter, double before, double after, double seconds)
{
	double gain = after - before;
	if (gain < 0) {
		gain = counter_wrapped(counter, before, after, seconds);
		counter->note[isnan(gain) ? ESTATE_RESET : ESTATE_WRAP]++;
	}
	double rate = gain / seconds;
	if (rate > counter->fastest)
		counter->fastest = rate;
	return rate;
}

void samples_count(struct samples *samples, enum collect_channel channel, unsigned bits,
		   uint64_t note[ESTATE_NOTE_COUNT])
{
	double *value = samples->value[channel];
	if (value == NULL)
		return;
	struct counter counter = {.end = bits != 0 ? ldexp(1, (int)bits) : 0, .note = note};
	double before = NAN;
	int64_t before_ms = 0;
	for (size_t i = 0; i < samples->count; i++) {
		double now = value[i];
		if (isnan(now))
			continue;
		double seconds = (double)(samples->time_ms[i] - before_ms) / 1000;
		value[i] = isnan(before) ? NAN : counter_rate(&counter, before, now, seconds);
		before = now;
		before_ms = samples->time_ms[i];
	}
}

/* The lower median of the distances around sample i. */
static int64_t local_median(const struct samples *samples, size_t i)
{
	int64_t sorted[WINDOW_MAX];
	unsigned count = 0;
	size_t first = i > WINDOW ? i - WINDOW : 1;
	for (size_t k = first; k < samples->count && k <= i + WINDOW; k++) {
		int64_t distance = samples->time_ms[k] - samples->time_ms[k - 1];
		unsigned at = count++;
		for (; at > 0 && sorted[at - 1] > distance; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = distance;
	}
	return count > 0 ? sorted[(count - 1) / 2] : 0;
}

static bool is_near(int64_t a, int64_t b)
{
	return 2 * a > b && 2 * a < 3 * b;
}

static uint32_t clamp_width(int64_t ms)
{
	int64_t most = (int64_t)ESTATE_INTERVAL_MAX * 1000;
	return (uint32_t)(ms < 1 ? 1 : ms > most ? most : ms);
}

/* The median is computed only where a distance is not as the ones before. */
void samples_widths(struct samples *samples, uint64_t note[ESTATE_NOTE_COUNT])
{
	int64_t usual = 0, last = 0;
	for (size_t i = 0; i < samples->count; i++) {
		int64_t distance = i > 0 ? samples->time_ms[i] - samples->time_ms[i - 1] : 0;
		if (samples->width_ms[i] == 0) {
			if (usual == 0 || distance != usual)
				usual = local_median(samples, i > 0 ? i : 1);
			samples->width_ms[i] = clamp_width(i > 0 && 2 * distance < 3 * usual ? distance : usual);
		}
		int64_t width = samples->width_ms[i];
		note[ESTATE_INTERVALS] += last != 0 && !is_near(width, last) && !is_near(last, width);
		last = width;
	}
	if (samples->count == 1 && samples->width_ms[0] <= 1)
		samples->width_ms[0] = 1000;
}

static int compare_numbers(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
	return (left > right) - (left < right);
}

/* The lower median; sorts. */
static int64_t median(int64_t *number, size_t count)
{
	qsort(number, count, sizeof *number, compare_numbers);
	return number[(count - 1) / 2];
}

/* Twice the middle, so that it is whole. */
static int64_t twice_middle(const struct samples *samples, size_t i)
{
	return 2 * samples->time_ms[i] - samples->width_ms[i];
}

/* Collectors wait for round times, and are a little late or early. */
static int64_t round_interval(int64_t ms)
{
	static const int64_t usual[] = {1,   2,	  5,   10,   15,   20,	 30,   60,    120,   180,   240,
					300, 600, 900, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400};
	for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
		if (llabs(ms - 1000 * usual[i]) <= 20 * usual[i]) /* a fiftieth */
			return usual[i];
	return (ms + 500) / 1000;
}

static bool choose_interval(const struct samples *samples, int64_t *scratch, uint32_t *interval)
{
	for (size_t i = 0; i < samples->count; i++)
		scratch[i] = samples->width_ms[i];
	int64_t seconds = round_interval(median(scratch, samples->count));
	*interval = (uint32_t)(seconds < 1 ? 1 : seconds);
	return *interval <= ESTATE_INTERVAL_MAX;
}

/* The start, in seconds, of the slot that holds the first middle, with the median phase of those of the usual width. */
static int64_t choose_start(const struct samples *samples, int64_t *scratch, uint32_t interval)
{
	int64_t period = 2000 * (int64_t)interval; /* of twice the time in ms */
	int64_t reference = twice_middle(samples, 0);
	size_t count = 0;
	for (size_t i = 0; i < samples->count; i++) {
		int64_t off = twice_middle(samples, i) - reference + period / 2;
		if (i == 0 || is_near(samples->width_ms[i], period / 2))
			scratch[count++] = off - divide_down(off, period) * period - period / 2;
	}
	int64_t middle = reference + median(scratch, count);
	int64_t start = divide_down(middle - period / 2 + 1000, 2000); /* to the nearest second */
	int64_t slots = divide_down(reference - 2000 * start, period);
	return start + slots * interval;
}

/* Slots: the one of the sample's middle, and those whose middles it covers. */
struct span {
	int64_t middle, first, last; /* first > last: it covers none */
};

static struct span sample_span(const struct samples *samples, size_t i, const struct estate_grid *grid)
{
	int64_t interval = 1000 * (int64_t)grid->interval;
	int64_t end = samples->time_ms[i] - 1000 * grid->start, begin = end - samples->width_ms[i];
	/* Slots k with begin < (k + 1/2) interval <= end. */
	return (struct span){.middle = divide_down(begin + end, 2 * interval),
			     .first = divide_down(2 * begin - interval, 2 * interval) + 1,
			     .last = divide_down(2 * end - interval, 2 * interval)};
}

static bool choose_grid(const struct samples *samples, struct estate_grid *grid, struct error *error)
{
	int64_t *scratch = malloc(samples->count * sizeof *scratch);
	if (scratch == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	bool good = choose_interval(samples, scratch, &grid->interval);
	grid->start = choose_start(samples, scratch, grid->interval);
	free(scratch);
	int64_t first = 0, last = 0;
	for (size_t i = 0; i < samples->count; i++) {
		const struct span span = sample_span(samples, i, grid);
		first = span.middle < first ? span.middle : first;
		last = span.middle > last ? span.middle : last;
		last = span.last > last ? span.last : last;
	}
	grid->start += first * grid->interval;
	grid->count = (uint64_t)(last - first + 1);
	if (!good || !grid_valid(grid) || grid->count > SLOTS_FREE + SLOTS_PER_SAMPLE * (uint64_t)samples->count)
		return error_set(error, ERROR_INPUT,
				 "%zu samples over %" PRIu64 " intervals of %" PRIu32
				 " s: a date in its files is wrong",
				 samples->count, grid->count, grid->interval);
	return true;
}

/* Means of the samples whose middles lie in a slot. Samples are sorted by end; middles nearly. */
static void fill_means(const struct samples *samples, const double *value, const struct estate_grid *grid, float *out,
		       double *weight)
{
	memset(weight, 0, grid->count * sizeof *weight);
	for (uint64_t k = 0; k < grid->count; k++)
		out[k] = NAN;
	for (size_t i = 0; i < samples->count; i++) {
		if (isnan(value[i]))
			continue;
		int64_t k = sample_span(samples, i, grid).middle;
		double width = samples->width_ms[i];
		double sum = weight[k] > 0 ? (double)out[k] * weight[k] : 0;
		weight[k] += width;
		out[k] = (float)((sum + value[i] * width) / weight[k]);
	}
}

/* Empty slots take the sample that covers their middle. */
static void fill_held(const struct samples *samples, const double *value, const struct estate_grid *grid, float *out)
{
	for (size_t i = 0; i < samples->count; i++) {
		const struct span span = sample_span(samples, i, grid);
		if (isnan(value[i]))
			continue;
		for (int64_t k = span.first < 0 ? 0 : span.first; k <= span.last; k++)
			if (isnan(out[k]))
				out[k] = (float)value[i];
	}
}

enum slot { SLOT_EMPTY, SLOT_OWN, SLOT_HELD };

/* What is true of a slot is so if it is of any channel. */
static void note_slots(const char *slot, uint64_t count, uint64_t note[ESTATE_NOTE_COUNT])
{
	for (uint64_t k = 0; k < count; k++) {
		note[ESTATE_HELD] += slot[k] == SLOT_HELD;
		note[ESTATE_GAP_SLOTS] += slot[k] == SLOT_EMPTY;
		note[ESTATE_GAPS] += slot[k] == SLOT_EMPTY && (k == 0 || slot[k - 1] != SLOT_EMPTY);
	}
}

static void mark_slots(char *slot, const float *value, uint64_t count, enum slot what)
{
	for (uint64_t k = 0; k < count; k++)
		if (slot[k] == SLOT_EMPTY && !isnan(value[k]))
			slot[k] = (char)what;
}

/* Samples beyond the first whose middle lies in one slot. */
static void note_merged(const struct samples *samples, const struct estate_grid *grid, uint64_t note[ESTATE_NOTE_COUNT])
{
	int64_t before = -1;
	for (size_t i = 0; i < samples->count; i++) {
		int64_t slot = sample_span(samples, i, grid).middle;
		note[ESTATE_MERGED] += slot == before;
		before = slot;
	}
}

static bool fill_all(const struct samples *samples, struct regular *regular, double *weight, char *slot)
{
	const struct estate_grid *grid = &regular->grid;
	memset(slot, SLOT_EMPTY, grid->count);
	for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++) {
		if (samples->value[i] == NULL)
			continue;
		regular->value[i] = malloc(grid->count * sizeof(float));
		if (regular->value[i] == NULL)
			return false;
		fill_means(samples, samples->value[i], grid, regular->value[i], weight);
		mark_slots(slot, regular->value[i], grid->count, SLOT_OWN);
	}
	for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++) {
		if (samples->value[i] == NULL)
			continue;
		fill_held(samples, samples->value[i], grid, regular->value[i]);
		mark_slots(slot, regular->value[i], grid->count, SLOT_HELD);
	}
	return true;
}

bool samples_regular(const struct samples *samples, struct regular *regular, uint64_t note[ESTATE_NOTE_COUNT],
		     struct error *error)
{
	*regular = (struct regular){0};
	if (!choose_grid(samples, &regular->grid, error))
		return false;
	double *weight = malloc(regular->grid.count * sizeof *weight);
	char *slot = malloc(regular->grid.count);
	bool good = weight != NULL && slot != NULL && fill_all(samples, regular, weight, slot);
	if (good) {
		note_slots(slot, regular->grid.count, note);
		note_merged(samples, &regular->grid, note);
	} else {
		regular_destroy(regular);
		(void)error_set(error, ERROR_HOST, "out of memory");
	}
	free(weight);
	free(slot);
	return good;
}

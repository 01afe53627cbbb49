/* SPDX-License-Identifier: MIT */
#include "cli/profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL_ALIGNMENT UINT64_C(0x200000) /* the least that Linux moves itself by */

/* ---- samples ---- */

static int compare_keys(const struct profile_place *a, const struct profile_place *b)
{
	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	if (a->space != b->space)
		return a->space < b->space ? -1 : 1;
	if (a->cpl != b->cpl)
		return a->cpl - b->cpl;
	return a->what - b->what;
}

static int compare_places(const void *a, const void *b)
{
	return compare_keys(a, b);
}

/* One place for all samples of the same. */
static void compact(struct profile *profile)
{
	size_t kept = 0;
	qsort(profile->place, profile->count, sizeof profile->place[0], compare_places);
	for (size_t i = 0; i < profile->count; i++) {
		struct profile_place *last = kept > 0 ? &profile->place[kept - 1] : NULL;
		if (last != NULL && compare_keys(last, &profile->place[i]) == 0)
			last->samples += profile->place[i].samples;
		else
			profile->place[kept++] = profile->place[i];
	}
	profile->count = kept;
}

static bool make_room(struct profile *profile)
{
	if (profile->count < profile->room)
		return true;
	if (profile->count > 0)
		compact(profile);
	if (profile->count < profile->room / 2)
		return true;
	size_t room = profile->room == 0 ? 8192 : profile->room * 2;
	struct profile_place *place = realloc(profile->place, room * sizeof *place);
	if (place == NULL)
		return false;
	profile->place = place;
	profile->room = room;
	return true;
}

static unsigned what_of_key(const char *key)
{
	unsigned what = 0;
	while (what < SAMPLE_WHAT_COUNT && (key == NULL || strcmp(sample_key[what], key) != 0))
		what++;
	return what;
}

static uint64_t hexadecimal(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? strtoull(text, NULL, 16) : 0;
}

static void count_device(struct profile *profile, const char *name)
{
	unsigned i = 0;
	while (i < profile->device_count && strncmp(profile->device[i].name, name, PROFILE_DEVICE_NAME_MAX - 1) != 0)
		i++;
	if (i == PROFILE_DEVICES_MAX)
		return;
	if (i == profile->device_count)
		(void)snprintf(profile->device[profile->device_count++].name, PROFILE_DEVICE_NAME_MAX, "%s", name);
	profile->device[i].samples++;
}

static bool add_sample(struct profile *profile, const json_t *sample)
{
	unsigned what = what_of_key(json_string_value(json_object_get(sample, "what")));
	const char *device = json_string_value(json_object_get(sample, "device"));
	unsigned cpl = (unsigned)json_integer_value(json_object_get(sample, "cpl")) & 3;
	if (what == SAMPLE_WHAT_COUNT)
		return true;
	if (!make_room(profile))
		return false;
	profile->place[profile->count++] = (struct profile_place){.address = hexadecimal(sample, "block"),
								  .space = hexadecimal(sample, "space"),
								  .samples = 1,
								  .what = (uint8_t)what,
								  .cpl = (uint8_t)cpl};
	profile->samples++;
	profile->by_what[what][cpl == 3 ? PROFILE_USER : PROFILE_KERNEL]++;
	if (what == SAMPLE_DEVICE)
		count_device(profile, device != NULL ? device : "(no device, or its lock)");
	return true;
}

bool profile_add(struct profile *profile, const json_t *answer)
{
	size_t index;
	json_t *sample;
	profile->lost += (uint64_t)json_integer_value(json_object_get(answer, "lost"));
	profile->syscall_entry = hexadecimal(answer, "syscall_entry");
	json_array_foreach(json_object_get(answer, "samples"), index, sample)
	{
		if (!add_sample(profile, sample))
			return false;
	}
	return true;
}

void profile_destroy(struct profile *profile)
{
	free(profile->place);
	*profile = (struct profile){0};
}

/* ---- the ledger ---- */

static uint64_t number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static uint64_t gain_of(const json_t *before, const json_t *after, const char *key)
{
	uint64_t a = number(before, key), b = number(after, key);
	return b > a ? b - a : 0;
}

struct buckets {
	uint64_t below_ns[LEDGER_DELAY_BUCKETS];
	uint64_t count[LEDGER_DELAY_BUCKETS];
};

static void load_buckets(const json_t *list, struct buckets *buckets)
{
	*buckets = (struct buckets){0};
	for (size_t i = 0; i < LEDGER_DELAY_BUCKETS; i++) {
		const json_t *pair = json_array_get(list, i);
		const json_t *below = json_array_get(pair, 0);
		buckets->below_ns[i] = json_is_integer(below) ? (uint64_t)json_integer_value(below) : UINT64_MAX;
		buckets->count[i] = (uint64_t)json_integer_value(json_array_get(pair, 1));
	}
}

/* The bound below which at least so many of 100 delays are. */
static uint64_t percentile(const struct buckets *buckets, uint64_t total, unsigned percent)
{
	uint64_t seen = 0;
	for (size_t i = 0; i < LEDGER_DELAY_BUCKETS; i++) {
		seen += buckets->count[i];
		if (total > 0 && seen * 100 >= total * percent)
			return buckets->below_ns[i];
	}
	return 0;
}

/* Of one vCPU into the sum of all: counts add up, the bounds are the worst vCPU's. */
static void gain_delay(const json_t *before, const json_t *after, struct profile_delay *delay)
{
	struct buckets old, buckets;
	uint64_t total = 0;
	load_buckets(json_object_get(before, "buckets"), &old);
	load_buckets(json_object_get(after, "buckets"), &buckets);
	for (size_t i = 0; i < LEDGER_DELAY_BUCKETS; i++) {
		buckets.count[i] -= buckets.count[i] > old.count[i] ? old.count[i] : buckets.count[i];
		total += buckets.count[i];
	}
	uint64_t half = percentile(&buckets, total, 50), most = percentile(&buckets, total, 99);
	delay->count += total;
	delay->ns += gain_of(before, after, "total_ns");
	delay->half_below_ns = half > delay->half_below_ns ? half : delay->half_below_ns;
	delay->most_below_ns = most > delay->most_below_ns ? most : delay->most_below_ns;
}

/* That it ran, was ready, or was kept from it. */
static void find_busiest(const json_t *before, const json_t *after, uint64_t wall_ns, struct profile_gain *gain)
{
	static const enum ledger_state wants[] = {LEDGER_READY, LEDGER_COSTOP, LEDGER_LIMITED, LEDGER_PREEMPTED};
	uint64_t ran = 0, wanted = 0;
	for (unsigned i = 0; i < LEDGER_RUNNING_COUNT; i++)
		ran += gain_of(before, after, ledger_state_key[i]);
	for (unsigned i = 0; i < sizeof wants / sizeof wants[0]; i++)
		wanted += gain_of(before, after, ledger_state_key[wants[i]]);
	wanted += ran;
	if (wall_ns == 0 || wanted < gain->busiest_wanted_ns)
		return;
	gain->busiest_wall_ns = wall_ns;
	gain->busiest_wanted_ns = wanted;
	gain->busiest_ran_ns = ran;
}

static void gain_vcpu(const json_t *before, const json_t *after, struct profile_gain *gain)
{
	const json_t *clocks[] = {json_object_get(before, "clocks_ns"), json_object_get(after, "clocks_ns")};
	const json_t *counts[] = {json_object_get(before, "counts"), json_object_get(after, "counts")};
	const json_t *delays[] = {json_object_get(before, "delays"), json_object_get(after, "delays")};
	gain->wall_ns += gain_of(before, after, "wall_ns");
	find_busiest(clocks[0], clocks[1], gain_of(before, after, "wall_ns"), gain);
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
		gain->state_ns[i] += gain_of(clocks[0], clocks[1], ledger_state_key[i]);
	for (unsigned i = 0; i < LEDGER_COUNTER_COUNT; i++)
		gain->count[i] += gain_of(counts[0], counts[1], ledger_counter_key[i]);
	for (unsigned i = 0; i < LEDGER_DELAY_COUNT; i++)
		gain_delay(json_object_get(delays[0], ledger_delay_key[i]),
			   json_object_get(delays[1], ledger_delay_key[i]), &gain->delay[i]);
}

static void gain_ticks(const json_t *before, const json_t *after, struct profile_gain *gain)
{
	for (unsigned i = 0; i < LEDGER_TIMER_COUNT; i++)
		for (unsigned k = 0; k < LEDGER_TICK_COUNTER_COUNT; k++)
			gain->ticks[i][k] = gain_of(json_object_get(before, ledger_timer_key[i]),
						    json_object_get(after, ledger_timer_key[i]), ledger_tick_key[k]);
}

void profile_gain(const json_t *before, const json_t *after, struct profile_gain *gain)
{
	const json_t *old = json_object_get(before, "vcpus");
	size_t index;
	json_t *vcpu;
	*gain = (struct profile_gain){0};
	gain_ticks(json_object_get(before, "ticks"), json_object_get(after, "ticks"), gain);
	json_array_foreach(json_object_get(after, "vcpus"), index, vcpu)
	{
		gain_vcpu(json_array_get(old, index), vcpu, gain);
		gain->vcpus++;
	}
}

enum ledger_state profile_state(enum sample_what what)
{
	switch (what) {
	case SAMPLE_EXIT:
		return LEDGER_EXIT;
	case SAMPLE_TRANSLATE:
		return LEDGER_TRANSLATE;
	case SAMPLE_DEVICE:
		return LEDGER_DEVICE;
	default:
		return LEDGER_GUEST;
	}
}

struct profile_time profile_time(const struct profile *profile, const struct profile_gain *gain, enum sample_what what)
{
	struct profile_time time = {{0}};
	enum ledger_state state = profile_state(what);
	uint64_t all = 0;
	for (unsigned i = 0; i < SAMPLE_WHAT_COUNT; i++) {
		if (profile_state((enum sample_what)i) == state)
			all += profile->by_what[i][PROFILE_KERNEL] + profile->by_what[i][PROFILE_USER];
	}
	for (unsigned mode = 0; mode < PROFILE_MODES && all > 0; mode++)
		time.ns[mode] =
		    (uint64_t)((double)gain->state_ns[state] * (double)profile->by_what[what][mode] / (double)all);
	return time;
}

/* ---- the hottest code ---- */

static struct profile_row row_of(const struct profile_place *place, const struct symbols *symbols)
{
	struct profile_row row = {.user = place->cpl == 3, .samples = place->samples};
	row.code = place->what == SAMPLE_CODE ? place->samples : 0;
	row.name = symbols_find(symbols, place->address, &row.address);
	if (row.name == NULL) {
		row.address = place->address;
		row.space = row.user ? place->space : 0;
	}
	return row;
}

/* The same code comes together. */
static int compare_code(const void *a, const void *b)
{
	const struct profile_row *one = a, *other = b;
	if (one->address != other->address)
		return one->address < other->address ? -1 : 1;
	if (one->space != other->space)
		return one->space < other->space ? -1 : 1;
	return one->user - other->user;
}

static int compare_heat(const void *a, const void *b)
{
	const struct profile_row *one = a, *other = b;
	if (one->samples != other->samples)
		return one->samples > other->samples ? -1 : 1;
	return compare_code(a, b);
}

struct profile_row *profile_rows(const struct profile *profile, const struct symbols *symbols, size_t *count)
{
	struct profile_row *row = profile->count > 0 ? calloc(profile->count, sizeof *row) : NULL;
	size_t kept = 0;
	*count = 0;
	if (row == NULL)
		return NULL;
	for (size_t i = 0; i < profile->count; i++)
		row[i] = row_of(&profile->place[i], symbols);
	qsort(row, profile->count, sizeof *row, compare_code);
	for (size_t i = 0; i < profile->count; i++) {
		if (kept > 0 && compare_code(&row[kept - 1], &row[i]) == 0) {
			row[kept - 1].samples += row[i].samples;
			row[kept - 1].code += row[i].code;
		} else {
			row[kept++] = row[i];
		}
	}
	qsort(row, kept, sizeof *row, compare_heat);
	*count = kept;
	return row;
}

bool profile_find_kernel(const struct profile *profile, struct symbols *symbols, uint64_t *distance)
{
	uint64_t linked;
	if (profile->syscall_entry == 0 || !symbols_address(symbols, "entry_SYSCALL_64", &linked))
		return false;
	*distance = profile->syscall_entry - linked;
	if (*distance % KERNEL_ALIGNMENT != 0)
		return false;
	symbols_shift_kernel(symbols, *distance);
	return true;
}

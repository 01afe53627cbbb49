/* SPDX-License-Identifier: MIT */
#include "ledger/ledger.h"

#include "base/tsc.h"
#include "ledger/line.h"
#include "ledger/shared.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND UINT64_C(1000000000)
#define SAMPLE_TRIES 256

#define X(name, key, text) key,
const char *const ledger_state_key[LEDGER_STATE_COUNT] = {LEDGER_STATES(X)};
const char *const ledger_kind_key[LEDGER_KIND_COUNT] = {LEDGER_KINDS(X)};
const char *const ledger_delay_key[LEDGER_DELAY_COUNT] = {LEDGER_DELAYS(X)};
const char *const ledger_counter_key[LEDGER_COUNTER_COUNT] = {LEDGER_COUNTERS(X)};
const char *const ledger_network_counter_key[LEDGER_NETWORK_COUNTER_COUNT] = {LEDGER_NETWORK_COUNTERS(X)};
const char *const ledger_timer_key[LEDGER_TIMER_COUNT] = {LEDGER_TIMERS(X)};
const char *const ledger_tick_key[LEDGER_TICK_COUNTER_COUNT] = {LEDGER_TICK_COUNTERS(X)};
const char *const ledger_disk_key[LEDGER_DISK_OPERATION_COUNT] = {LEDGER_DISK_OPERATIONS(X)};
#undef X
#define X(name, key, text) text,
const char *const ledger_state_text[LEDGER_STATE_COUNT] = {LEDGER_STATES(X)};
const char *const ledger_kind_text[LEDGER_KIND_COUNT] = {LEDGER_KINDS(X)};
const char *const ledger_timer_text[LEDGER_TIMER_COUNT] = {LEDGER_TIMERS(X)};
const char *const ledger_tick_text[LEDGER_TICK_COUNTER_COUNT] = {LEDGER_TICK_COUNTERS(X)};
const char *const ledger_disk_text[LEDGER_DISK_OPERATION_COUNT] = {LEDGER_DISK_OPERATIONS(X)};
const char *const ledger_delay_text[LEDGER_DELAY_COUNT] = {LEDGER_DELAYS(X)};
const char *const ledger_counter_text[LEDGER_COUNTER_COUNT] = {LEDGER_COUNTERS(X)};
const char *const ledger_network_counter_text[LEDGER_NETWORK_COUNTER_COUNT] = {LEDGER_NETWORK_COUNTERS(X)};
#undef X

static uint64_t clock_ns(clockid_t id)
{
	struct timespec now;
	(void)clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* The least that a sample of nothing takes. */
static uint64_t measure_sample_cost(void)
{
	struct ledger_vcpu line = {.state = LEDGER_GUEST};
	uint64_t least = UINT64_MAX;
	for (unsigned i = 0; i < SAMPLE_TRIES; i++) {
		uint64_t before = line.kind[0].cycles;
		ledger_sample_end(&line, (enum ledger_kind)0, ledger_sample_begin(&line));
		uint64_t cost = line.kind[0].cycles - before;
		least = cost < least ? cost : least;
	}
	return least;
}

static void ledger_open_clocks(struct ledger *ledger, unsigned vcpu_count)
{
	*ledger = (struct ledger){
	    .magic = LEDGER_MAGIC,
	    .version = LEDGER_VERSION,
	    .size = sizeof *ledger,
	    .tsc_hz = tsc_measure_hz(CLOCK_MONOTONIC),
	    .vcpu_count = vcpu_count,
	    .pid = (uint64_t)getpid(),
	    .sample_cost = measure_sample_cost(),
	};
	ledger->opened_realtime_ns = clock_ns(CLOCK_REALTIME);
	ledger->opened_tsc = ledger_tsc();
	for (unsigned i = 0; i < vcpu_count; i++) {
		ledger->vcpu[i].state = LEDGER_PAUSED;
		ledger->vcpu[i].since = ledger->vcpu[i].settled.at = ledger->opened_tsc;
		for (unsigned kind = 0; kind < LEDGER_KIND_COUNT; kind++)
			ledger->vcpu[i].kind[kind].sample_at = LEDGER_SAMPLE_EVERY;
	}
}

struct ledger *ledger_create(unsigned vcpu_count, int *fd, struct error *error)
{
	if (vcpu_count == 0 || vcpu_count > LEDGER_MAX_VCPUS) {
		error_set(error, ERROR_INPUT, "a ledger holds 1 to %d vCPUs, not %u", LEDGER_MAX_VCPUS, vcpu_count);
		return NULL;
	}
	struct ledger *ledger = shared_create("nfold-ledger", "the ledger", sizeof *ledger, fd, error);
	if (ledger == NULL)
		return NULL;
	ledger_open_clocks(ledger, vcpu_count);
	return ledger;
}

void ledger_close(struct ledger *ledger, int fd)
{
	shared_close(ledger, sizeof *ledger, fd);
}

void ledger_lapse_begin(struct ledger *ledger, uint64_t tsc)
{
	__atomic_store_n(&ledger->lapse_since, tsc, __ATOMIC_RELAXED);
	ledger_word_add(&ledger->lapse_count, 1);
}

/* The sum first: a reader in between counts a lapse twice for a moment, and never loses one. */
void ledger_lapse_end(struct ledger *ledger)
{
	if (ledger->lapse_since == 0)
		return;
	ledger_word_add(&ledger->lapse_cycles, ledger_gain(ledger_tsc(), ledger->lapse_since));
	__atomic_store_n(&ledger->lapse_since, 0, __ATOMIC_RELAXED);
}

uint64_t ledger_lapse_ns(const struct ledger *ledger)
{
	uint64_t since = __atomic_load_n(&ledger->lapse_since, __ATOMIC_RELAXED);
	uint64_t cycles = __atomic_load_n(&ledger->lapse_cycles, __ATOMIC_RELAXED);
	if (since != 0)
		cycles += ledger_gain(ledger_tsc(), since);
	return ledger_scale(cycles, NS_PER_SECOND, ledger->tsc_hz);
}

static bool ledger_check(const struct ledger *ledger, struct error *error)
{
	if (ledger->magic != LEDGER_MAGIC)
		return error_set(error, ERROR_HOST, "not a ledger: wrong magic number");
	if (ledger->version != LEDGER_VERSION || ledger->size != sizeof *ledger)
		return error_set(
		    error, ERROR_HOST,
		    "the ledger has version %llu and this program reads version %u: use programs of one release",
		    (unsigned long long)ledger->version, LEDGER_VERSION);
	if (ledger->vcpu_count == 0 || ledger->vcpu_count > LEDGER_MAX_VCPUS || ledger->tsc_hz == 0)
		return error_set(error, ERROR_HOST, "the ledger's header is damaged");
	return true;
}

const struct ledger *ledger_map(int fd, struct error *error)
{
	const struct ledger *ledger = shared_map(fd, "a ledger", sizeof *ledger, error);
	if (ledger == NULL)
		return NULL;
	if (!ledger_check(ledger, error)) {
		ledger_unmap(ledger);
		return NULL;
	}
	return ledger;
}

void ledger_unmap(const struct ledger *ledger)
{
	shared_unmap(ledger, sizeof *ledger);
}

static void line_load(const struct ledger_vcpu *line, struct ledger_line_copy *copy)
{
	copy->state = __atomic_load_n(&line->state, __ATOMIC_RELAXED);
	copy->since = __atomic_load_n(&line->since, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < LEDGER_BOOKED_COUNT; i++)
		copy->clock[i] = __atomic_load_n(&line->clock[i], __ATOMIC_RELAXED);
	copy->now = ledger_tsc();
}

/* Whether to try again, after a pause. */
static bool may_try_again(unsigned try, unsigned *tries)
{
	struct timespec nap = {.tv_nsec = LEDGER_READ_NAP_NS};
	if (*tries == 0)
		return false;
	--*tries;
	if (try >= LEDGER_READ_SPINS)
		(void)nanosleep(&nap, NULL);
	return true;
}

void ledger_line_copy(const struct ledger_vcpu *line, struct ledger_line_copy *copy, unsigned *tries)
{
	for (unsigned try = 0;; try++) {
		uint64_t before = __atomic_load_n(&line->sequence, __ATOMIC_ACQUIRE);
		line_load(line, copy);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if ((before & 1) == 0 && __atomic_load_n(&line->sequence, __ATOMIC_RELAXED) == before)
			break;
		if (!may_try_again(try, tries))
			break;
	}
	/* The object belongs to another process: never index with what it says. */
	if (copy->state >= LEDGER_BOOKED_COUNT)
		copy->state = LEDGER_PAUSED;
	/* Two processors' TSCs may differ by some cycles. */
	if (copy->now < copy->since)
		copy->now = copy->since;
	copy->clock[copy->state] += copy->now - copy->since;
}

static void settled_copy(const struct ledger_settled *settled, struct ledger_settled *copy, unsigned *tries)
{
	for (unsigned try = 0;; try++) {
		uint64_t before = __atomic_load_n(&settled->sequence, __ATOMIC_ACQUIRE);
		copy->at = __atomic_load_n(&settled->at, __ATOMIC_RELAXED);
		for (unsigned i = 0; i < LEDGER_BOOKED_COUNT; i++)
			copy->booked[i] = __atomic_load_n(&settled->booked[i], __ATOMIC_RELAXED);
		for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
			copy->clock[i] = __atomic_load_n(&settled->clock[i], __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if ((before & 1) == 0 && __atomic_load_n(&settled->sequence, __ATOMIC_RELAXED) == before)
			break;
		if (!may_try_again(try, tries))
			break;
	}
}

/* Of a part that other estimates share, no more than the whole. */
static void estimates_fit(struct ledger_reading *reading)
{
	uint64_t sum = 0;
	uint64_t whole = reading->state_ns[LEDGER_GUEST];
	for (unsigned i = 0; i < LEDGER_KIND_COUNT; i++)
		sum += reading->kind[i].ns;
	for (unsigned i = 0; sum > whole && i < LEDGER_KIND_COUNT; i++)
		reading->kind[i].ns = ledger_scale(reading->kind[i].ns, whole, sum);
}

static void read_estimates(const struct ledger *ledger, const struct ledger_vcpu *line, struct ledger_reading *reading)
{
	for (unsigned i = 0; i < LEDGER_KIND_COUNT; i++) {
		struct ledger_estimate *estimate = &reading->kind[i];
		estimate->count = __atomic_load_n(&line->kind[i].count, __ATOMIC_RELAXED);
		estimate->samples = __atomic_load_n(&line->kind[i].samples, __ATOMIC_RELAXED);
		uint64_t cycles = __atomic_load_n(&line->kind[i].cycles, __ATOMIC_RELAXED);
		uint64_t cost = estimate->samples * ledger->sample_cost;
		if (estimate->samples == 0 || cycles <= cost)
			continue;
		estimate->ns = ledger_scale(ledger_scale(cycles - cost, estimate->count, estimate->samples),
					    NS_PER_SECOND, ledger->tsc_hz);
	}
	estimates_fit(reading);
}

static void read_delays(const struct ledger *ledger, const struct ledger_vcpu *line, struct ledger_reading *reading)
{
	for (unsigned i = 0; i < LEDGER_DELAY_COUNT; i++) {
		struct ledger_delays *delays = &reading->delay[i];
		uint64_t cycles = __atomic_load_n(&line->delay[i].cycles, __ATOMIC_RELAXED);
		delays->ns = ledger_scale(cycles, NS_PER_SECOND, ledger->tsc_hz);
		for (unsigned k = 0; k < LEDGER_DELAY_BUCKETS; k++) {
			delays->bucket[k] = __atomic_load_n(&line->delay[i].bucket[k], __ATOMIC_RELAXED);
			delays->count += delays->bucket[k];
		}
	}
}

uint64_t ledger_bucket_end(const struct ledger *ledger, unsigned bucket)
{
	if (bucket >= LEDGER_DELAY_BUCKETS - 1)
		return UINT64_MAX;
	return ledger_scale(UINT64_C(1) << bucket, NS_PER_SECOND, ledger->tsc_hz);
}

void ledger_read_settled(const struct ledger *ledger, unsigned vcpu, uint64_t state_ns[LEDGER_STATE_COUNT])
{
	const struct ledger_vcpu *line = &ledger->vcpu[vcpu];
	struct ledger_settled settled;
	struct ledger_line_copy copy;
	unsigned tries = LEDGER_READ_TRIES;
	settled_copy(&line->settled, &settled, &tries);
	if (settled.at == ledger->opened_tsc) {
		ledger_line_copy(line, &copy, &tries);
		memcpy(settled.clock, copy.clock, sizeof copy.clock);
	}
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
		state_ns[i] = ledger_scale(settled.clock[i], NS_PER_SECOND, ledger->tsc_hz);
}

static void read_vcpu(const struct ledger *ledger, unsigned vcpu, struct ledger_reading *reading, unsigned *tries)
{
	const struct ledger_vcpu *line = &ledger->vcpu[vcpu];
	struct ledger_settled settled;
	struct ledger_line_copy copy;
	uint64_t hz = ledger->tsc_hz;
	settled_copy(&line->settled, &settled, tries); /* first: what it was made from is not newer than what follows */
	ledger_line_copy(line, &copy, tries);
	*reading = (struct ledger_reading){.state = (enum ledger_state)copy.state};
	reading->wall_ns = ledger_scale(copy.now - ledger->opened_tsc, NS_PER_SECOND, hz);
	reading->unsettled_ns = ledger_scale(ledger_gain(copy.now, settled.at), NS_PER_SECOND, hz);
	for (unsigned i = 0; i < LEDGER_BOOKED_COUNT; i++)
		settled.clock[i] += ledger_gain(copy.clock[i], settled.booked[i]);
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
		reading->state_ns[i] = ledger_scale(settled.clock[i], NS_PER_SECOND, hz);
	for (unsigned i = 0; i < LEDGER_COUNTER_COUNT; i++)
		reading->count[i] = __atomic_load_n(&line->count[i], __ATOMIC_RELAXED);
	read_estimates(ledger, line, reading);
	read_delays(ledger, line, reading);
}

void ledger_read(const struct ledger *ledger, unsigned vcpu, struct ledger_reading *reading)
{
	unsigned tries = LEDGER_READ_TRIES;
	read_vcpu(ledger, vcpu, reading, &tries);
}

void ledger_read_all(const struct ledger *ledger, unsigned vcpus, struct ledger_reading *reading)
{
	unsigned tries = LEDGER_READ_TRIES;
	for (unsigned i = 0; i < vcpus; i++)
		read_vcpu(ledger, i, &reading[i], &tries);
}

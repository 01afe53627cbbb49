/* SPDX-License-Identifier: MIT */
#include "devices/hpet.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "io/ticks.h"

/* Registers (2.3.2); a timer's are from 100h on, 20h bytes each. */
enum hpet_register {
	REGISTER_CAPABILITIES = 0x00,
	REGISTER_CONFIGURATION = 0x10,
	REGISTER_STATUS = 0x20,
	REGISTER_COUNTER = 0xf0,
	REGISTER_TIMERS = 0x100,
};
#define TIMER_SIZE 0x20u
#define TIMER_CONFIGURATION 0x00u
#define TIMER_COMPARATOR 0x08u
#define FEMTOSECONDS UINT64_C(1000000)

/* General configuration (2.3.5). */
#define CONF_ENABLE 1u
#define CONF_LEGACY 2u

/* A timer's configuration (2.3.8). */
#define TIMER_LEVEL BIT64(1)
#define TIMER_ENABLE BIT64(2)
#define TIMER_PERIODIC BIT64(3)
#define TIMER_SET_VALUE BIT64(6)
#define TIMER_32_BITS BIT64(8)
#define TIMER_ROUTE_SHIFT 9u
#define TIMER_ROUTE_MASK UINT64_C(31)
#define TIMER_WRITABLE                                                                                                 \
	(TIMER_LEVEL | TIMER_ENABLE | TIMER_PERIODIC | TIMER_SET_VALUE | TIMER_32_BITS |                               \
	 TIMER_ROUTE_MASK << TIMER_ROUTE_SHIFT)
#define TIMER_CAPABILITIES (BIT64(4) | BIT64(5) | UINT64_C(0xf) << (32 + HPET_ROUTE_FIRST))

#define OUTPUTS (HPET_ROUTES + HPET_LEGACY)

struct timer {
	struct hpet *hpet;
	struct clock_timer clock;
	uint64_t configuration, comparator, period;
	struct ticks ticks;
};

/* What is told that a processor took an interrupt. */
struct output {
	struct hpet *hpet;
	unsigned number;
};

struct hpet {
	struct hpet_config config;
	uint32_t configuration;
	uint32_t status;  /* of level-triggered timers, a bit each */
	uint64_t counter; /* while it stands still, or at `origin` */
	uint64_t origin;  /* ns */
	bool input[HPET_LEGACY];
	uint32_t driven; /* outputs that are high */
	uint32_t held;	 /* of them: since an edge-triggered timer fired */
	struct timer timer[HPET_TIMERS];
	struct output output[OUTPUTS];
};

/* ---- the counter ---- */

static bool is_counting(const struct hpet *hpet)
{
	return (hpet->configuration & CONF_ENABLE) != 0;
}

static uint64_t counter_at(const struct hpet *hpet, uint64_t now)
{
	return is_counting(hpet) ? hpet->counter + (now - hpet->origin) / HPET_TICK_NS : hpet->counter;
}

static uint64_t counter_now(const struct hpet *hpet)
{
	return counter_at(hpet, clock_now(hpet->config.clock));
}

/* ---- outputs ---- */

/* The output of a timer, or OUTPUTS: its route leads nowhere (2.3.8, Tn_INT_ROUTE_CNF). */
static unsigned output_of(const struct hpet *hpet, unsigned number)
{
	uint64_t route = hpet->timer[number].configuration >> TIMER_ROUTE_SHIFT & TIMER_ROUTE_MASK;
	if ((hpet->configuration & CONF_LEGACY) != 0 && number < HPET_LEGACY)
		return HPET_ROUTES + number;
	return route >= HPET_ROUTE_FIRST && route < HPET_ROUTE_FIRST + HPET_ROUTES ? (unsigned)route - HPET_ROUTE_FIRST
										   : OUTPUTS;
}

static bool may_interrupt(const struct hpet *hpet, unsigned number)
{
	return is_counting(hpet) && (hpet->timer[number].configuration & TIMER_ENABLE) != 0;
}

static uint32_t wanted_outputs(const struct hpet *hpet)
{
	uint32_t wanted = 0;
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		if ((hpet->status >> i & 1) != 0 && may_interrupt(hpet, i))
			wanted |= 1u << output_of(hpet, i);
	for (unsigned i = 0; i < HPET_LEGACY; i++)
		if ((hpet->configuration & CONF_LEGACY) == 0 && hpet->input[i])
			wanted |= 1u << (HPET_ROUTES + i);
	wanted |= hpet->held;
	return wanted & ((1u << OUTPUTS) - 1);
}

static void drive(struct hpet *hpet, uint32_t wanted)
{
	uint32_t changed = hpet->driven ^ wanted;
	hpet->driven = wanted;
	for (unsigned i = 0; i < OUTPUTS; i++)
		if ((changed >> i & 1) != 0)
			irq_set(i < HPET_ROUTES ? &hpet->config.route[i] : &hpet->config.legacy[i - HPET_ROUTES],
				(wanted >> i & 1) != 0);
}

static void settle(struct hpet *hpet)
{
	drive(hpet, wanted_outputs(hpet));
}

/* An edge. An 8259 forgets a request whose line falls before it was acknowledged: a legacy output falls before the next
 * edge, not after this one. */
static void pulse(struct hpet *hpet, unsigned output)
{
	uint32_t bit = 1u << output;
	drive(hpet, hpet->driven & ~bit);
	drive(hpet, hpet->driven | bit);
	if (output >= HPET_ROUTES)
		hpet->held |= bit;
}

/* ---- timers ---- */

static uint64_t timer_mask(const struct timer *timer)
{
	return (timer->configuration & TIMER_32_BITS) != 0 ? UINT32_MAX : UINT64_MAX;
}

/* Ticks until the counter meets the comparator the next time: all of a round if it just does. */
static uint64_t ticks_left(const struct timer *timer, uint64_t counter)
{
	uint64_t mask = timer_mask(timer), left = (timer->comparator - counter) & mask;
	return left != 0 ? left : mask == UINT32_MAX ? BIT64(32) : UINT64_MAX;
}

static void timer_arm(struct timer *timer, uint64_t earliest)
{
	struct hpet *hpet = timer->hpet;
	uint64_t now = clock_now(hpet->config.clock), at = CLOCK_NEVER;
	uint64_t left = ticks_left(timer, counter_at(hpet, now));
	if (is_counting(hpet) && left < (CLOCK_NEVER - now) / HPET_TICK_NS)
		at = now - (now - hpet->origin) % HPET_TICK_NS + left * HPET_TICK_NS;
	clock_timer_set(&timer->clock, at < earliest ? earliest : at);
}

/* 2.3.9.2.2: the comparator moves on by the period, over those that nobody saw too. How many have ended; 0: the timer
 * is not periodic. */
static uint64_t timer_move_on(struct timer *timer, uint64_t counter)
{
	uint64_t mask = timer_mask(timer), behind = (counter - timer->comparator) & mask;
	if ((timer->configuration & TIMER_PERIODIC) == 0 || timer->period == 0)
		return 0;
	uint64_t ended = behind / timer->period + 1;
	timer->comparator = (timer->comparator + ended * timer->period) & mask;
	return ended;
}

static void count_ticks(struct timer *timer, uint64_t ended)
{
	unsigned number = (unsigned)(timer - timer->hpet->timer);
	if (ended == 0 || !may_interrupt(timer->hpet, number) || output_of(timer->hpet, number) == OUTPUTS)
		return;
	ticks_due(&timer->ticks, ended, timer->period * HPET_TICK_NS);
	ticks_lost(&timer->ticks, ended - 1);
	ticks_raise(&timer->ticks);
}

static void output_taken(void *opaque)
{
	const struct output *output = opaque;
	struct hpet *hpet = output->hpet;
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		if (output_of(hpet, i) == output->number && (hpet->timer[i].configuration & TIMER_LEVEL) == 0)
			ticks_taken(&hpet->timer[i].ticks, clock_now(hpet->config.clock));
}

struct irq_watcher hpet_watcher(struct hpet *hpet, unsigned output)
{
	return (struct irq_watcher){.taken = output_taken, .opaque = &hpet->output[output]};
}

bool hpet_is_legacy(const struct hpet *hpet)
{
	return (hpet->configuration & CONF_LEGACY) != 0;
}

/* The guest has seen these level-triggered timers. */
static void clear_status(struct hpet *hpet, uint32_t bits)
{
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		if ((hpet->status & bits & 1u << i) != 0)
			ticks_taken(&hpet->timer[i].ticks, clock_now(hpet->config.clock));
	hpet->status &= ~bits;
}

static void timer_fired(void *opaque)
{
	struct timer *timer = opaque;
	struct hpet *hpet = timer->hpet;
	unsigned number = (unsigned)(timer - hpet->timer);
	uint64_t now = clock_now(hpet->config.clock);
	count_ticks(timer, timer_move_on(timer, counter_at(hpet, now)));
	if ((timer->configuration & TIMER_LEVEL) != 0) {
		hpet->status |= 1u << number;
	} else if (may_interrupt(hpet, number) && output_of(hpet, number) < OUTPUTS) {
		pulse(hpet, output_of(hpet, number));
	}
	settle(hpet);
	timer_arm(timer, now + HPET_MINIMUM_NS);
}

/* ---- registers ---- */

/* HPET_TIMERS: the offset is no timer's. */
static unsigned timer_number(uint64_t offset)
{
	uint64_t number = (offset - REGISTER_TIMERS) / TIMER_SIZE;
	return offset >= REGISTER_TIMERS && number < HPET_TIMERS ? (unsigned)number : HPET_TIMERS;
}

static uint64_t register_read(struct hpet *hpet, uint64_t offset)
{
	unsigned number = timer_number(offset);
	switch (offset) {
	case REGISTER_CAPABILITIES:
		return HPET_TICK_NS * FEMTOSECONDS << 32 | HPET_ID;
	case REGISTER_CONFIGURATION:
		return hpet->configuration;
	case REGISTER_STATUS:
		return hpet->status;
	case REGISTER_COUNTER:
		return counter_now(hpet);
	default:
		break;
	}
	if (number < HPET_TIMERS && offset % TIMER_SIZE == TIMER_CONFIGURATION)
		return hpet->timer[number].configuration | TIMER_CAPABILITIES;
	return number < HPET_TIMERS && offset % TIMER_SIZE == TIMER_COMPARATOR ? hpet->timer[number].comparator : 0;
}

static void arm_all(struct hpet *hpet)
{
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		timer_arm(&hpet->timer[i], 0);
}

static void set_configuration(struct hpet *hpet, uint32_t value)
{
	uint64_t now = clock_now(hpet->config.clock);
	hpet->counter = counter_at(hpet, now);
	hpet->origin = now;
	hpet->configuration = value & (CONF_ENABLE | CONF_LEGACY);
	hpet->held = 0;
	arm_all(hpet);
}

static void set_counter(struct hpet *hpet, uint64_t value)
{
	hpet->counter = value;
	hpet->origin = clock_now(hpet->config.clock);
	arm_all(hpet);
}

static void timer_configure(struct timer *timer, uint64_t value)
{
	timer->configuration = value & TIMER_WRITABLE;
	timer->comparator &= timer_mask(timer);
	timer->period &= timer_mask(timer);
	if ((timer->configuration & TIMER_LEVEL) == 0)
		timer->hpet->status &= ~(1u << (timer - timer->hpet->timer));
	timer_arm(timer, 0);
}

/* 2.3.8, Tn_VAL_SET_CNF: of a periodic timer a write is the period, and the comparator too if that was asked for. */
static void timer_compare(struct timer *timer, uint64_t keep, uint64_t value)
{
	bool periodic = (timer->configuration & TIMER_PERIODIC) != 0;
	uint64_t mask = timer_mask(timer);
	if (!periodic || (timer->configuration & TIMER_SET_VALUE) != 0)
		timer->comparator = ((timer->comparator & keep) | value) & mask;
	if (periodic)
		timer->period = ((timer->period & keep) | value) & mask;
	timer->configuration &= ~TIMER_SET_VALUE;
	timer_arm(timer, 0);
}

/* `value` has the bits that are written in their places, `keep` is ones where the others are. */
static void register_write(struct hpet *hpet, uint64_t offset, uint64_t keep, uint64_t value)
{
	unsigned number = timer_number(offset);
	switch (offset) {
	case REGISTER_CONFIGURATION:
		set_configuration(hpet, (uint32_t)((hpet->configuration & keep) | value));
		break;
	case REGISTER_STATUS:
		clear_status(hpet, (uint32_t)value);
		break;
	case REGISTER_COUNTER:
		set_counter(hpet, (counter_now(hpet) & keep) | value);
		break;
	default:
		if (number < HPET_TIMERS && offset % TIMER_SIZE == TIMER_CONFIGURATION)
			timer_configure(&hpet->timer[number], (hpet->timer[number].configuration & keep) | value);
		else if (number < HPET_TIMERS && offset % TIMER_SIZE == TIMER_COMPARATOR)
			timer_compare(&hpet->timer[number], keep, value);
		break;
	}
	settle(hpet);
}

static uint64_t ones(unsigned size)
{
	return size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1;
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
	unsigned shift = (unsigned)(offset & 7) * 8;
	return register_read(opaque, offset & ~UINT64_C(7)) >> shift & ones(size);
}

/* 2.3.2.1: software writes 4 or 8 aligned bytes. */
static void hpet_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	unsigned shift = (unsigned)(offset & 7) * 8;
	if (size < 4 || offset % size != 0)
		return;
	register_write(opaque, offset & ~UINT64_C(7), ~(ones(size) << shift), (value & ones(size)) << shift);
}

static const struct io_ops hpet_ops = {.read = hpet_read, .write = hpet_write, .max_size = 8};

/* ---- life ---- */

static void input_set(void *opaque, int input, bool level)
{
	struct hpet *hpet = opaque;
	hpet->input[input] = level;
	settle(hpet);
}

struct irq_line hpet_input(struct hpet *hpet, enum hpet_legacy which)
{
	return (struct irq_line){.set = input_set, .opaque = hpet, .input = (int)which};
}

void hpet_reset(struct hpet *hpet)
{
	hpet->configuration = hpet->status = hpet->held = 0;
	hpet->counter = hpet->origin = 0;
	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		struct timer *timer = &hpet->timer[i];
		timer->configuration = timer->period = 0;
		timer->comparator = UINT64_MAX;
		clock_timer_cancel(&timer->clock);
		ticks_drop(&timer->ticks);
	}
	settle(hpet);
}

struct hpet *hpet_create(const struct hpet_config *config, struct error *error)
{
	struct hpet *hpet = calloc(1, sizeof *hpet);
	if (hpet == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	hpet->config = *config;
	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		hpet->timer[i].hpet = hpet;
		hpet->timer[i].ticks.line = config->ticks;
		clock_timer_init(&hpet->timer[i].clock, config->clock, timer_fired, &hpet->timer[i]);
	}
	for (unsigned i = 0; i < OUTPUTS; i++)
		hpet->output[i] = (struct output){hpet, i};
	hpet_reset(hpet);
	return hpet;
}

void hpet_destroy(struct hpet *hpet)
{
	if (hpet == NULL)
		return;
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		clock_timer_cancel(&hpet->timer[i].clock);
	free(hpet);
}

bool hpet_map(struct hpet *hpet, struct io_map *mmio, uint64_t base, struct error *error)
{
	return io_map_add(mmio, base, HPET_SIZE, &hpet_ops, hpet, "hpet", error);
}

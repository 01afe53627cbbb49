/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation.
 *
 * No counter ever counts. Time is measured in ticks of CLK since the virtual clock started, and everything visible is
 * a function of the tick: the count (channel_count), OUT (channel_out) and the next change of OUT
 * (channel_next_change). A channel remembers the tick at which its count was loaded and, while a low gate holds it, how
 * far it had come.
 *
 * channel_sync() is called before anything else looks at a channel. In modes 2 and 3 it applies a count that was
 * written while counting once the period in progress has ended.
 */
#include "devices/i8254.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "io/ticks.h"

#define PIT_CHANNELS 3u
#define REFRESH_HALF_PERIOD_NS 15085u
#define MODE2_MINIMUM 2u
#define OWING_MINIMUM 120u	  /* CLKs in a period: 100 us */
#define OWED_LIMIT (2 * I8254_HZ) /* CLKs */

enum pit_access { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

/* What a channel does with its count. */
enum pit_state {
	PIT_IDLE,     /* no count yet, or half of one: OUT stays at its initial level */
	PIT_WAITING,  /* modes 1 and 5: a count, but no trigger yet */
	PIT_COUNTING, /* since tick `start` */
	PIT_HELD,     /* stopped by the gate after `elapsed` ticks */
};

struct pit_channel {
	enum pit_state state;
	enum pit_access access;
	uint8_t mode;
	bool bcd, gate;
	uint32_t count;	  /* the counting element's initial count, 1-65536 */
	uint32_t written; /* the count register: what the next load takes */
	bool pending;	  /* modes 2, 3: `written` is loaded at tick pending_at */
	uint64_t pending_at;
	uint64_t start;
	uint64_t elapsed;
	uint8_t low_byte; /* ACCESS_BOTH: the half written first */
	bool write_high, read_high;
	bool count_latched, status_latched;
	uint16_t latch;
	uint8_t status;
};

struct i8254 {
	struct pit_channel channel[PIT_CHANNELS];
	struct clock_timer timer; /* the next change of OUT0 */
	struct clock *clock;
	struct irq_line irq;
	uint64_t rise;	/* the next rising edge of OUT0, not yet shown on the line */
	uint8_t port61; /* bits 3:0 */
	/* Ticks that the guest has not got. */
	struct clock_timer catch_up;
	uint64_t owed;
	uint64_t shown; /* ns: the last edge on the line */
	bool taken;	/* and the guest has taken it */
	struct ticks ticks;
	enum i8254_path (*path)(void *opaque); /* or NULL */
	void *path_opaque;
};

/* Ticks start late enough that a period that began before the machine can be named. */
#define PIT_FIRST_TICK UINT64_C(65536)

static uint64_t pit_tick(const struct i8254 *pit)
{
	return clock_scale(clock_now(pit->clock), I8254_HZ, CLOCK_SECOND) + PIT_FIRST_TICK;
}

static uint64_t pit_tick_ns(uint64_t tick)
{
	return clock_scale_up(tick - PIT_FIRST_TICK, CLOCK_SECOND, I8254_HZ);
}

/* ---- a channel as a function of time ---- */

static bool channel_periodic(const struct pit_channel *channel)
{
	return channel->mode == 2 || channel->mode == 3;
}

static bool channel_triggered(const struct pit_channel *channel)
{
	return channel->mode == 1 || channel->mode == 5;
}

/* Ticks since the count was loaded. Before the loading CLK it is none. */
static uint64_t channel_elapsed(const struct pit_channel *channel, uint64_t tick)
{
	if (channel->state == PIT_HELD)
		return channel->elapsed;
	return tick > channel->start ? tick - channel->start : 0;
}

static uint32_t channel_modulus(const struct pit_channel *channel)
{
	return channel->bcd ? 10000 : 65536;
}

/* Mode 3: an odd count is high for one tick longer than low. */
static uint32_t channel_high_ticks(const struct pit_channel *channel)
{
	return (channel->count + 1) / 2;
}

/* Mode 3 counts down by two from an even number, twice in a period. */
static uint32_t square_wave_count(const struct pit_channel *channel, uint64_t elapsed)
{
	uint32_t phase = (uint32_t)(elapsed % channel->count);
	uint32_t high = channel_high_ticks(channel);
	uint32_t into_half = phase < high ? phase : phase - high;
	return (channel->count & ~1u) - 2 * into_half;
}

/* The counting element, 0-65535 (0-9999 in BCD counting). */
static uint32_t channel_count(const struct pit_channel *channel, uint64_t tick)
{
	uint32_t modulus = channel_modulus(channel);
	if (channel->state == PIT_IDLE || channel->state == PIT_WAITING)
		return channel->count % modulus;
	uint64_t elapsed = channel_elapsed(channel, tick);
	if (channel->mode == 2)
		return (uint32_t)(channel->count - elapsed % channel->count) % modulus;
	if (channel->mode == 3)
		return square_wave_count(channel, elapsed) % modulus;
	/* The others go on counting through zero. */
	return (uint32_t)((channel->count % modulus + modulus - elapsed % modulus) % modulus);
}

static bool channel_out(const struct pit_channel *channel, uint64_t tick)
{
	if (channel->state == PIT_IDLE || channel->state == PIT_WAITING)
		return channel->mode != 0;
	uint64_t elapsed = channel_elapsed(channel, tick);
	switch (channel->mode) {
	case 0:
	case 1:
		return elapsed >= channel->count;
	case 2:
		return channel->state == PIT_HELD || elapsed % channel->count != channel->count - 1;
	case 3:
		return channel->state == PIT_HELD || elapsed % channel->count < channel_high_ticks(channel);
	default:
		return elapsed != channel->count;
	}
}

static uint64_t channel_period_start(const struct pit_channel *channel, uint64_t tick)
{
	uint64_t elapsed = channel_elapsed(channel, tick);
	return channel->start + elapsed - elapsed % channel->count;
}

/* The tick of the next rising edge of OUT after `tick`, or CLOCK_NEVER. */
static uint64_t channel_next_rise(const struct pit_channel *channel, uint64_t tick)
{
	if (channel->state != PIT_COUNTING)
		return CLOCK_NEVER;
	if (channel_periodic(channel))
		return channel_period_start(channel, tick) + channel->count;
	uint64_t strobe = channel->mode >= 4 ? 1 : 0;
	uint64_t rise = channel->start + channel->count + strobe;
	return tick < rise ? rise : CLOCK_NEVER;
}

/* When a count written now takes effect: mode 2 ends its period first, mode 3 its half. */
static uint64_t channel_next_load(const struct pit_channel *channel, uint64_t tick)
{
	bool first_half = channel->mode == 3 && channel_out(channel, tick);
	return channel_period_start(channel, tick) + (first_half ? channel_high_ticks(channel) : channel->count);
}

/* ---- loading and gating ---- */

/* Modes 2 and 3 divide by at least two. */
static void channel_load(struct pit_channel *channel, uint64_t start)
{
	channel->count = channel->written;
	if (channel_periodic(channel) && channel->count < MODE2_MINIMUM)
		channel->count = MODE2_MINIMUM;
	channel->start = start;
	channel->elapsed = 0;
	channel->pending = false;
	channel->state = PIT_COUNTING;
	if (!channel->gate && !channel_triggered(channel))
		channel->state = PIT_HELD;
}

static void channel_sync(struct pit_channel *channel, uint64_t tick)
{
	if (!channel->pending || channel->state != PIT_COUNTING || tick < channel->pending_at)
		return;
	uint64_t at = channel->pending_at;
	bool second_half = channel->mode == 3 && !channel_out(channel, at);
	channel_load(channel, at);
	if (second_half)
		channel->start = at - channel_high_ticks(channel);
}

/* A complete count was written at `tick`. */
static void channel_write_count(struct pit_channel *channel, uint32_t written, uint64_t tick)
{
	channel->written = written;
	if (channel_triggered(channel)) {
		if (channel->state == PIT_IDLE)
			channel->state = PIT_WAITING;
		channel->pending = channel->state == PIT_COUNTING; /* null count until the next trigger */
		channel->pending_at = CLOCK_NEVER;
		return;
	}
	bool running = channel->state == PIT_COUNTING && tick >= channel->start;
	if (!channel_periodic(channel) || !running) {
		channel_load(channel, tick + 1);
	} else if (!channel->pending) {
		channel->pending = true;
		channel->pending_at = channel_next_load(channel, tick);
	}
}

static void channel_set_gate(struct pit_channel *channel, bool gate, uint64_t tick)
{
	if (gate == channel->gate)
		return;
	channel->gate = gate;
	bool triggered = channel_triggered(channel);
	if (!gate && !triggered && channel->state == PIT_COUNTING) {
		channel->elapsed = channel_elapsed(channel, tick);
		channel->state = PIT_HELD;
	} else if (gate && channel->state != PIT_IDLE) {
		if (triggered || channel_periodic(channel)) {
			channel_load(channel, tick + 1);
		} else if (channel->state == PIT_HELD) {
			channel->start = tick - channel->elapsed;
			channel->state = PIT_COUNTING;
		}
	}
}

/* ---- OUT0 ---- */

static void pit_owe(struct i8254 *pit, uint64_t ticks)
{
	uint32_t count = pit->channel[0].count;
	uint64_t limit = count >= OWING_MINIMUM ? OWED_LIMIT / count : 0;
	uint64_t owed = pit->owed + ticks;
	pit->owed = owed < limit ? owed : limit;
	ticks_lost(&pit->ticks, owed - pit->owed);
}

/*
 * The line follows OUT0 in mode 0. In the other modes it is high and shows each rising edge of OUT0 as a fall and a
 * rise at that moment: the time for which OUT0 was low before matters to nobody behind the line.
 */
static void pit_pulse(struct i8254 *pit)
{
	pit->shown = clock_now(pit->clock);
	pit->taken = false;
	irq_set(&pit->irq, false);
	irq_set(&pit->irq, true);
}

/* `more` periods have ended since the one whose edge is shown. An edge that meets one not yet taken is lost to the
 * controller, as are those that the host was too late for. */
static void pit_count_edge(struct i8254 *pit, uint64_t more)
{
	enum i8254_path path = pit->path != NULL ? pit->path(pit->path_opaque) : I8254_WATCHED;
	bool waits = path == I8254_WATCHED && pit->ticks.waits && !pit->taken;
	if (path == I8254_MASKED)
		return;
	ticks_due(&pit->ticks, 1 + more, clock_scale(pit->channel[0].count, CLOCK_SECOND, I8254_HZ));
	if (path == I8254_WATCHED)
		pit_owe(pit, (waits ? 1 : 0) + more);
	else
		ticks_lost(&pit->ticks, more);
	if (!waits)
		ticks_raise(&pit->ticks);
}

static void pit_show_edge(struct i8254 *pit, uint64_t tick)
{
	const struct pit_channel *channel = &pit->channel[0];
	if (tick < pit->rise)
		return;
	if (channel_periodic(channel) && !channel->pending) {
		uint64_t more = (tick - pit->rise) / channel->count;
		pit->rise += (more + 1) * channel->count;
		pit_count_edge(pit, more);
	} else {
		pit->rise = CLOCK_NEVER;
	}
	pit_pulse(pit);
}

static void pit_catch_up_fire(void *opaque)
{
	struct i8254 *pit = opaque;
	if (pit->owed == 0 || !pit->taken)
		return;
	pit->owed--;
	ticks_raise(&pit->ticks);
	pit_pulse(pit);
}

/* Half a period for what the guest has to do besides. */
static void pit_taken(void *opaque)
{
	struct i8254 *pit = opaque;
	pit->taken = true;
	ticks_taken(&pit->ticks, clock_now(pit->clock));
	if (pit->owed > 0)
		clock_timer_set(&pit->catch_up,
				pit->shown + clock_scale(pit->channel[0].count, CLOCK_SECOND / 2, I8254_HZ));
}

static void pit_forget_owed(void *opaque)
{
	struct i8254 *pit = opaque;
	ticks_lost(&pit->ticks, pit->owed);
	pit->owed = 0;
	pit->taken = true;
	clock_timer_cancel(&pit->catch_up);
}

struct irq_watcher i8254_watcher(struct i8254 *pit)
{
	return (struct irq_watcher){.taken = pit_taken, .unmasked = pit_forget_owed, .opaque = pit};
}

void i8254_count_ticks(struct i8254 *pit, struct ledger_ticks *line, enum i8254_path (*path)(void *opaque),
		       void *opaque)
{
	pit->ticks.line = line;
	pit->path = path;
	pit->path_opaque = opaque;
}

void i8254_tick_taken(struct i8254 *pit)
{
	ticks_taken(&pit->ticks, clock_now(pit->clock));
}

/* Brings line and channels up to date. Everything that looks at a channel comes through here first. */
static uint64_t pit_sync(struct i8254 *pit)
{
	uint64_t tick = pit_tick(pit);
	pit_show_edge(pit, tick);
	for (unsigned i = 0; i < PIT_CHANNELS; i++)
		channel_sync(&pit->channel[i], tick);
	return tick;
}

/* Channel 0 was changed, or has passed an edge: arms the next one. */
static void pit_update_irq(struct i8254 *pit, uint64_t tick)
{
	const struct pit_channel *channel = &pit->channel[0];
	irq_set(&pit->irq, channel->mode != 0 || channel_out(channel, tick));
	uint64_t next = channel_next_rise(channel, tick);
	pit->rise = next;
	if (channel->pending && channel->pending_at < next) {
		next = channel->pending_at; /* the edge depends on the new count */
		pit->rise = CLOCK_NEVER;
	}
	clock_timer_set(&pit->timer, next == CLOCK_NEVER ? CLOCK_NEVER : pit_tick_ns(next));
}

/* A guest that asks for an interrupt every other microsecond must not keep the host from everything else. */
static void pit_timer_fire(void *opaque)
{
	struct i8254 *pit = opaque;
	uint64_t earliest = clock_now(pit->clock) + I8254_MINIMUM_PERIOD_NS;
	pit_update_irq(pit, pit_sync(pit));
	if (pit->timer.armed && pit->timer.deadline < earliest)
		clock_timer_set(&pit->timer, earliest);
}

/* ---- registers ---- */

static uint32_t from_bcd(uint32_t digits)
{
	return (digits & 15) + 10 * (digits >> 4 & 15) + 100 * (digits >> 8 & 15) + 1000 * (digits >> 12 & 15);
}

static uint16_t to_bcd(uint32_t value)
{
	return (uint16_t)(value % 10 | (value / 10 % 10) << 4 | (value / 100 % 10) << 8 | (value / 1000 % 10) << 12);
}

/* The count as the data lines show it. */
static uint16_t channel_output_latch(const struct pit_channel *channel, uint64_t tick)
{
	uint32_t count = channel_count(channel, tick);
	return channel->bcd ? to_bcd(count) : (uint16_t)count;
}

static void channel_latch_count(struct pit_channel *channel, uint64_t tick)
{
	if (channel->count_latched)
		return; /* the first latch stands until it was read */
	channel->latch = channel_output_latch(channel, tick);
	channel->count_latched = true;
}

static bool channel_null_count(const struct pit_channel *channel, uint64_t tick)
{
	if (channel->state == PIT_IDLE || channel->state == PIT_WAITING || channel->pending)
		return true;
	return channel->state == PIT_COUNTING && tick < channel->start;
}

static void channel_latch_status(struct pit_channel *channel, uint64_t tick)
{
	if (channel->status_latched)
		return;
	channel->status =
	    (uint8_t)((channel_out(channel, tick) ? 0x80u : 0) | (channel_null_count(channel, tick) ? 0x40u : 0) |
		      (unsigned)channel->access << 4 | (unsigned)channel->mode << 1 | (channel->bcd ? 1u : 0));
	channel->status_latched = true;
}

static uint8_t channel_read(struct pit_channel *channel, uint64_t tick)
{
	if (channel->status_latched) {
		channel->status_latched = false;
		return channel->status;
	}
	uint16_t value = channel->count_latched ? channel->latch : channel_output_latch(channel, tick);
	bool high = channel->access == ACCESS_HIGH || (channel->access == ACCESS_BOTH && channel->read_high);
	bool last = channel->access != ACCESS_BOTH || high;
	channel->read_high = !last;
	if (last)
		channel->count_latched = false;
	return (uint8_t)(high ? value >> 8 : value);
}

static void channel_write(struct pit_channel *channel, uint8_t value, uint64_t tick)
{
	uint32_t count = value;
	if (channel->access == ACCESS_HIGH) {
		count = (uint32_t)value << 8;
	} else if (channel->access == ACCESS_BOTH) {
		channel->write_high = !channel->write_high;
		if (channel->write_high) {
			channel->low_byte = value;
			if (channel->mode == 0) /* the first byte stops the counting and clears OUT */
				channel->state = PIT_IDLE;
			return;
		}
		count = (uint32_t)value << 8 | channel->low_byte;
	}
	if (channel->bcd)
		count = from_bcd(count);
	channel_write_count(channel, count != 0 ? count : channel_modulus(channel), tick);
}

/* A control word for one channel: everything starts anew, OUT takes its initial level. */
static void channel_write_control(struct pit_channel *channel, uint8_t value)
{
	static const uint8_t modes[8] = {0, 1, 2, 3, 4, 5, 2, 3}; /* bit 2 of the mode is ignored for 2 and 3 */
	bool gate = channel->gate;
	uint32_t count = channel->count;
	*channel = (struct pit_channel){
	    .state = PIT_IDLE,
	    .access = (enum pit_access)(value >> 4 & 3),
	    .mode = modes[value >> 1 & 7],
	    .bcd = (value & 1) != 0,
	    .gate = gate,
	    .count = count,
	    .written = count,
	};
}

static void pit_read_back(struct i8254 *pit, uint8_t value, uint64_t tick)
{
	for (unsigned i = 0; i < PIT_CHANNELS; i++) {
		if (!(value & BIT32(i + 1)))
			continue;
		if (!(value & 0x20))
			channel_latch_count(&pit->channel[i], tick);
		if (!(value & 0x10))
			channel_latch_status(&pit->channel[i], tick);
	}
}

static void pit_write_control(struct i8254 *pit, uint8_t value, uint64_t tick)
{
	unsigned select = value >> 6;
	if (select == PIT_CHANNELS)
		pit_read_back(pit, value, tick);
	else if ((value >> 4 & 3) == ACCESS_LATCH)
		channel_latch_count(&pit->channel[select], tick);
	else
		channel_write_control(&pit->channel[select], value);
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i8254 *pit = opaque;
	(void)size;
	if (offset == PIT_CHANNELS)
		return 0xff; /* the control word register cannot be read */
	uint64_t tick = pit_sync(pit);
	return channel_read(&pit->channel[offset], tick);
}

static void pit_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8254 *pit = opaque;
	(void)size;
	uint64_t tick = pit_sync(pit);
	bool programs_0 = offset == 0;
	if (offset == PIT_CHANNELS) {
		programs_0 = (value >> 6 & 3) == 0 && (value >> 4 & 3) != ACCESS_LATCH;
		pit_write_control(pit, (uint8_t)value, tick);
	} else {
		channel_write(&pit->channel[offset], (uint8_t)value, tick);
	}
	if (programs_0)
		pit_forget_owed(pit);
	pit_update_irq(pit, tick);
}

static uint64_t port61_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i8254 *pit = opaque;
	(void)offset;
	(void)size;
	uint64_t tick = pit_sync(pit);
	bool refresh = (clock_now(pit->clock) / REFRESH_HALF_PERIOD_NS & 1) != 0;
	return pit->port61 | (refresh ? 0x10u : 0) | (channel_out(&pit->channel[2], tick) ? 0x20u : 0);
}

static void port61_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8254 *pit = opaque;
	(void)offset;
	(void)size;
	uint64_t tick = pit_sync(pit);
	pit->port61 = value & 0x0f;
	channel_set_gate(&pit->channel[2], (value & 1) != 0, tick);
}

static const struct io_ops pit_ops = {.read = pit_read, .write = pit_write, .max_size = 1};
static const struct io_ops port61_ops = {.read = port61_read, .write = port61_write, .max_size = 1};

/* ---- life ---- */

struct i8254 *i8254_create(struct clock *clock, const struct irq_line *irq0, struct error *error)
{
	struct i8254 *pit = calloc(1, sizeof *pit);
	if (pit == NULL) {
		error_set(error, ERROR_HOST, "out of memory for the interval timer");
		return NULL;
	}
	pit->clock = clock;
	pit->irq = *irq0;
	clock_timer_init(&pit->timer, clock, pit_timer_fire, pit);
	clock_timer_init(&pit->catch_up, clock, pit_catch_up_fire, pit);
	i8254_reset(pit);
	return pit;
}

void i8254_destroy(struct i8254 *pit)
{
	if (pit == NULL)
		return;
	clock_timer_cancel(&pit->timer);
	clock_timer_cancel(&pit->catch_up);
	free(pit);
}

/* The chip's state is undefined after power-up; here every channel waits in mode 3, as a PC's firmware leaves channel
 * 0. */
void i8254_reset(struct i8254 *pit)
{
	for (unsigned i = 0; i < PIT_CHANNELS; i++)
		pit->channel[i] = (struct pit_channel){
		    .access = ACCESS_BOTH, .mode = 3, .gate = i != 2, .count = 65536, .written = 65536};
	pit->port61 = 0;
	pit->rise = CLOCK_NEVER;
	pit_forget_owed(pit);
	pit_update_irq(pit, pit_tick(pit));
}

bool i8254_map(struct i8254 *pit, struct io_map *ports, struct error *error)
{
	return io_map_add(ports, 0x40, 4, &pit_ops, pit, "i8254", error) &&
	       io_map_add(ports, 0x61, 1, &port61_ops, pit, "port61", error);
}

/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation.
 *
 * The registers themselves hold the time, as in the chip, so that whatever the guest writes reads back. Once a second
 * of virtual time an update reads them, adds a second and writes them back. rtc_sync() performs the updates that are
 * due; it runs from a timer and before each access. Periodic events are counted, not timed, unless their interrupt is
 * enabled.
 */
#include "devices/rtc.h"

#include <stdlib.h>
#include <string.h>

#include "io/ticks.h"

enum rtc_register {
	RTC_SECONDS = 0x00,
	RTC_SECONDS_ALARM = 0x01,
	RTC_MINUTES = 0x02,
	RTC_MINUTES_ALARM = 0x03,
	RTC_HOURS = 0x04,
	RTC_HOURS_ALARM = 0x05,
	RTC_WEEKDAY = 0x06,
	RTC_DAY = 0x07,
	RTC_MONTH = 0x08,
	RTC_YEAR = 0x09,
	RTC_A = 0x0a,
	RTC_B = 0x0b,
	RTC_C = 0x0c,
	RTC_D = 0x0d,
	RTC_CENTURY = 0x32,
};

#define RTC_BYTES 128u

#define A_UIP 0x80u
#define A_DIVIDER 0x70u
#define A_DIVIDER_RUN 0x20u
#define A_DIVIDER_RESET 0x60u
#define A_RATE 0x0fu

#define B_SET 0x80u
#define B_PERIODIC 0x40u
#define B_ALARM 0x20u
#define B_UPDATE 0x10u
#define B_BINARY 0x04u
#define B_24_HOURS 0x02u

#define C_IRQ 0x80u
#define C_SOURCES 0x70u /* the same bits as their enables in B */

#define D_VALID 0x80u

#define HOUR_PM 0x80u
#define ALARM_ANY 0xc0u /* both bits set: don't care */

#define RTC_HZ 32768u
#define UPDATE_WARNING_NS 244000u
#define SECONDS_PER_DAY 86400
#define OWED_LIMIT (2 * RTC_HZ)	  /* ticks of the oscillator */
#define MAX_SINGLE_UPDATES 86400u /* an alarm matches once a day, so more need not be stepped through */

struct rtc {
	struct clock *clock;
	struct irq_line irq;
	struct clock_timer update_timer, periodic_timer;
	uint8_t index;
	uint8_t ram[RTC_BYTES];
	uint64_t next_update;	/* ns; CLOCK_NEVER while the divider is in reset */
	uint64_t divider_start; /* ns: periodic events are counted from here */
	uint64_t periods_seen;
	struct clock_timer catch_up;
	uint32_t owed; /* periodic interrupts that the guest has not got */
	struct ticks ticks;
};

/* A moment of the Gregorian calendar. */
struct rtc_time {
	unsigned second, minute, hour, weekday, day, month, year; /* weekday and dates from 1; year with century */
};

/* ---- calendar ---- */

static bool is_leap_year(unsigned year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static unsigned days_in_month(unsigned month, unsigned year)
{
	static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	return month == 2 && is_leap_year(year) ? 29 : days[(month - 1) % 12];
}

static void time_add_day(struct rtc_time *time)
{
	time->weekday = time->weekday % 7 + 1;
	if (++time->day <= days_in_month(time->month, time->year))
		return;
	time->day = 1;
	if (++time->month <= 12)
		return;
	time->month = 1;
	time->year = (time->year + 1) % 10000;
}

static void time_add_second(struct rtc_time *time)
{
	if (++time->second < 60)
		return;
	time->second = 0;
	if (++time->minute < 60)
		return;
	time->minute = 0;
	if (++time->hour < 24)
		return;
	time->hour = 0;
	time_add_day(time);
}

/* Whatever the guest wrote becomes a time that can be advanced. */
static void time_make_valid(struct rtc_time *time)
{
	time->second %= 60;
	time->minute %= 60;
	time->hour %= 24;
	time->weekday = time->weekday >= 1 && time->weekday <= 7 ? time->weekday : 1;
	time->month = time->month >= 1 && time->month <= 12 ? time->month : 1;
	time->year %= 10000;
	if (time->day < 1 || time->day > days_in_month(time->month, time->year))
		time->day = 1;
}

/* Times before 1970 count as its start. */
static struct rtc_time time_from_unix(int64_t seconds)
{
	if (seconds < 0)
		seconds = 0;
	struct rtc_time time = {.weekday = 5, .day = 1, .month = 1, .year = 1970}; /* a Thursday; Sunday is 1 */
	uint64_t days = (uint64_t)seconds / SECONDS_PER_DAY;
	unsigned rest = (unsigned)((uint64_t)seconds % SECONDS_PER_DAY);
	time.hour = rest / 3600;
	time.minute = rest / 60 % 60;
	time.second = rest % 60;
	days %= 146097 * 20; /* 8,000 years: whole Gregorian cycles, and whole weeks */
	for (uint64_t i = 0; i < days; i++)
		time_add_day(&time);
	return time;
}

/* ---- the registers as a time ---- */

static unsigned rtc_decode(const struct rtc *rtc, uint8_t value)
{
	return (rtc->ram[RTC_B] & B_BINARY) ? value : (value & 15u) + 10u * (value >> 4);
}

static uint8_t rtc_encode(const struct rtc *rtc, unsigned value)
{
	return (uint8_t)((rtc->ram[RTC_B] & B_BINARY) ? value : value % 10 | value / 10 % 10 << 4);
}

static unsigned rtc_decode_hour(const struct rtc *rtc, uint8_t value)
{
	if (rtc->ram[RTC_B] & B_24_HOURS)
		return rtc_decode(rtc, value);
	unsigned hour = rtc_decode(rtc, value & (uint8_t)~HOUR_PM) % 12;
	return (value & HOUR_PM) ? hour + 12 : hour;
}

static uint8_t rtc_encode_hour(const struct rtc *rtc, unsigned hour)
{
	if (rtc->ram[RTC_B] & B_24_HOURS)
		return rtc_encode(rtc, hour);
	unsigned twelve = hour % 12 != 0 ? hour % 12 : 12;
	return (uint8_t)(rtc_encode(rtc, twelve) | (hour >= 12 ? HOUR_PM : 0));
}

/* The century byte is RAM to the chip and BCD to firmware, whatever register B says. */
static struct rtc_time rtc_load(const struct rtc *rtc)
{
	const uint8_t *ram = rtc->ram;
	unsigned century = (ram[RTC_CENTURY] & 15u) + 10u * (ram[RTC_CENTURY] >> 4);
	return (struct rtc_time){
	    .second = rtc_decode(rtc, ram[RTC_SECONDS]),
	    .minute = rtc_decode(rtc, ram[RTC_MINUTES]),
	    .hour = rtc_decode_hour(rtc, ram[RTC_HOURS]),
	    .weekday = rtc_decode(rtc, ram[RTC_WEEKDAY]),
	    .day = rtc_decode(rtc, ram[RTC_DAY]),
	    .month = rtc_decode(rtc, ram[RTC_MONTH]),
	    .year = century * 100 + rtc_decode(rtc, ram[RTC_YEAR]) % 100,
	};
}

static void rtc_store(struct rtc *rtc, const struct rtc_time *time)
{
	unsigned century = time->year / 100;
	rtc->ram[RTC_SECONDS] = rtc_encode(rtc, time->second);
	rtc->ram[RTC_MINUTES] = rtc_encode(rtc, time->minute);
	rtc->ram[RTC_HOURS] = rtc_encode_hour(rtc, time->hour);
	rtc->ram[RTC_WEEKDAY] = rtc_encode(rtc, time->weekday);
	rtc->ram[RTC_DAY] = rtc_encode(rtc, time->day);
	rtc->ram[RTC_MONTH] = rtc_encode(rtc, time->month);
	rtc->ram[RTC_YEAR] = rtc_encode(rtc, time->year % 100);
	rtc->ram[RTC_CENTURY] = (uint8_t)(century % 10 | century / 10 << 4);
}

/* ---- events and the interrupt ---- */

static void rtc_update_irq(struct rtc *rtc)
{
	bool pending = (rtc->ram[RTC_B] & rtc->ram[RTC_C] & C_SOURCES) != 0;
	rtc->ram[RTC_C] = (uint8_t)((rtc->ram[RTC_C] & C_SOURCES) | (pending ? C_IRQ : 0));
	irq_set(&rtc->irq, pending);
}

static bool alarm_field_matches(uint8_t alarm, uint8_t now)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || alarm == now;
}

static bool rtc_alarm_matches(const struct rtc *rtc)
{
	const uint8_t *ram = rtc->ram;
	return alarm_field_matches(ram[RTC_SECONDS_ALARM], ram[RTC_SECONDS]) &&
	       alarm_field_matches(ram[RTC_MINUTES_ALARM], ram[RTC_MINUTES]) &&
	       alarm_field_matches(ram[RTC_HOURS_ALARM], ram[RTC_HOURS]);
}

/* One update cycle. While SET is one, the time stands still and there is none. */
static void rtc_update_once(struct rtc *rtc)
{
	if (rtc->ram[RTC_B] & B_SET)
		return;
	struct rtc_time time = rtc_load(rtc);
	time_make_valid(&time);
	time_add_second(&time);
	rtc_store(rtc, &time);
	rtc->ram[RTC_C] |= B_UPDATE;
	if (rtc_alarm_matches(rtc))
		rtc->ram[RTC_C] |= B_ALARM;
}

static bool rtc_divider_runs(const struct rtc *rtc)
{
	return (rtc->ram[RTC_A] & A_DIVIDER_RESET) != A_DIVIDER_RESET;
}

/* The period of periodic events in ticks of 32,768 Hz, 0 for none: rates 1 and 2 are those of 8 and 9 (table 5). */
static uint32_t rtc_period_ticks(const struct rtc *rtc)
{
	unsigned rate = rtc->ram[RTC_A] & A_RATE;
	if (rate == 0)
		return 0;
	return 1u << ((rate <= 2 ? rate + 7 : rate) - 1);
}

/* How many periods have ended since the divider started. */
static uint64_t rtc_periods(const struct rtc *rtc, uint64_t now)
{
	uint32_t ticks = rtc_period_ticks(rtc);
	if (ticks == 0 || !rtc_divider_runs(rtc) || now < rtc->divider_start)
		return 0;
	return clock_scale(now - rtc->divider_start, RTC_HZ, CLOCK_SECOND) / ticks;
}

static void rtc_arm(struct rtc *rtc)
{
	uint64_t periodic = CLOCK_NEVER;
	if ((rtc->ram[RTC_B] & B_PERIODIC) && rtc_period_ticks(rtc) != 0 && rtc_divider_runs(rtc)) {
		uint64_t ticks = (rtc->periods_seen + 1) * rtc_period_ticks(rtc);
		periodic = rtc->divider_start + clock_scale_up(ticks, CLOCK_SECOND, RTC_HZ);
	}
	clock_timer_set(&rtc->periodic_timer, periodic);
	clock_timer_set(&rtc->update_timer, rtc->next_update);
}

/* The flag stands for one interrupt; what it cannot say is owed. */
static void rtc_count_periods(struct rtc *rtc, uint64_t periods)
{
	uint64_t ended = periods - rtc->periods_seen;
	uint32_t ticks = rtc_period_ticks(rtc);
	rtc->periods_seen = periods;
	if (ended == 0 || ticks == 0)
		return;
	if (rtc->ram[RTC_B] & B_PERIODIC) {
		bool shown = (rtc->ram[RTC_C] & B_PERIODIC) == 0;
		uint64_t owed = rtc->owed + ended - (shown ? 1 : 0);
		uint32_t limit = OWED_LIMIT / ticks;
		rtc->owed = owed < limit ? (uint32_t)owed : limit;
		ticks_due(&rtc->ticks, ended, clock_scale(ticks, CLOCK_SECOND, RTC_HZ));
		ticks_lost(&rtc->ticks, owed - rtc->owed);
		if (shown)
			ticks_raise(&rtc->ticks);
	}
	rtc->ram[RTC_C] |= B_PERIODIC;
}

static void rtc_forget_owed(struct rtc *rtc)
{
	ticks_lost(&rtc->ticks, rtc->owed);
	rtc->owed = 0;
	clock_timer_cancel(&rtc->catch_up);
}

static void rtc_catch_up_fire(void *opaque)
{
	struct rtc *rtc = opaque;
	if (rtc->owed == 0 || (rtc->ram[RTC_C] & B_PERIODIC))
		return;
	rtc->owed--;
	rtc->ram[RTC_C] |= B_PERIODIC;
	ticks_raise(&rtc->ticks);
	rtc_update_irq(rtc);
}

/* Half a period for what the guest has to do besides. */
static void rtc_arm_catch_up(struct rtc *rtc)
{
	uint64_t half = clock_scale(rtc_period_ticks(rtc), CLOCK_SECOND / 2, RTC_HZ);
	if (rtc->owed > 0)
		clock_timer_set(&rtc->catch_up, clock_now(rtc->clock) + half);
}

static void rtc_sync(struct rtc *rtc)
{
	uint64_t now = clock_now(rtc->clock);
	for (unsigned i = 0; i < MAX_SINGLE_UPDATES && rtc->next_update <= now; i++) {
		rtc->next_update += CLOCK_SECOND;
		rtc_update_once(rtc);
	}
	rtc_count_periods(rtc, rtc_periods(rtc, now));
	rtc_update_irq(rtc);
	rtc_arm(rtc);
}

static void rtc_timer_fire(void *opaque)
{
	rtc_sync(opaque);
}

/* ---- registers ---- */

/* A divider that leaves its reset updates half a second later (data sheet, "Divider control"). */
static void rtc_write_a(struct rtc *rtc, uint8_t value)
{
	uint64_t now = clock_now(rtc->clock);
	bool ran = rtc_divider_runs(rtc);
	rtc->ram[RTC_A] = value & (uint8_t)~A_UIP;
	bool runs = rtc_divider_runs(rtc);
	if (ran && !runs)
		rtc->next_update = CLOCK_NEVER;
	if (!ran && runs) {
		rtc->next_update = now + CLOCK_SECOND / 2;
		rtc->divider_start = now;
	}
	rtc->periods_seen = rtc_periods(rtc, now);
	rtc_forget_owed(rtc);
}

static void rtc_write(struct rtc *rtc, unsigned index, uint8_t value)
{
	switch (index) {
	case RTC_A:
		rtc_write_a(rtc, value);
		break;
	case RTC_B: /* SET clears the enable of the update-ended interrupt */
		if ((value ^ rtc->ram[RTC_B]) & B_PERIODIC)
			rtc_forget_owed(rtc);
		rtc->ram[RTC_B] = (value & B_SET) ? value & (uint8_t)~B_UPDATE : value;
		break;
	case RTC_C:
	case RTC_D:
		break;
	case RTC_SECONDS: /* bit 7 is read-only */
		rtc->ram[RTC_SECONDS] = value & 0x7f;
		break;
	default:
		rtc->ram[index] = value;
		break;
	}
}

static bool rtc_update_in_progress(const struct rtc *rtc)
{
	uint64_t now = clock_now(rtc->clock);
	return !(rtc->ram[RTC_B] & B_SET) && rtc->next_update != CLOCK_NEVER &&
	       rtc->next_update - now <= UPDATE_WARNING_NS;
}

static uint8_t rtc_read(struct rtc *rtc, unsigned index)
{
	uint8_t value = rtc->ram[index];
	if (index == RTC_A && rtc_update_in_progress(rtc))
		value |= A_UIP;
	if (index == RTC_C) {
		rtc->ram[RTC_C] = 0;
		ticks_taken(&rtc->ticks, clock_now(rtc->clock));
		rtc_arm_catch_up(rtc);
	}
	return value;
}

static uint64_t rtc_port_read(void *opaque, uint64_t offset, unsigned size)
{
	struct rtc *rtc = opaque;
	(void)size;
	if (offset == 0)
		return 0xff; /* the address register is write-only */
	rtc_sync(rtc);
	uint8_t value = rtc_read(rtc, rtc->index);
	rtc_update_irq(rtc);
	return value;
}

static void rtc_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct rtc *rtc = opaque;
	(void)size;
	if (offset == 0) {
		rtc->index = value & (RTC_BYTES - 1);
		return;
	}
	rtc_sync(rtc);
	rtc_write(rtc, rtc->index, (uint8_t)value);
	rtc_update_irq(rtc);
	rtc_arm(rtc);
}

static const struct io_ops rtc_ops = {.read = rtc_port_read, .write = rtc_port_write, .max_size = 1};

/* ---- life ---- */

struct rtc *rtc_create(const struct rtc_config *config, struct error *error)
{
	struct rtc *rtc = calloc(1, sizeof *rtc);
	if (rtc == NULL) {
		error_set(error, ERROR_HOST, "out of memory for the real-time clock");
		return NULL;
	}
	rtc->clock = config->clock;
	rtc->irq = config->irq;
	rtc->ticks.line = config->ticks;
	rtc->ram[RTC_A] = A_DIVIDER_RUN | 6; /* 1,024 Hz */
	rtc->ram[RTC_B] = B_24_HOURS;
	rtc->ram[RTC_D] = D_VALID;
	struct rtc_time time = time_from_unix(config->unix_seconds);
	rtc_store(rtc, &time);
	rtc->divider_start = clock_now(rtc->clock);
	rtc->next_update = rtc->divider_start + CLOCK_SECOND - config->nanoseconds % CLOCK_SECOND;
	clock_timer_init(&rtc->update_timer, rtc->clock, rtc_timer_fire, rtc);
	clock_timer_init(&rtc->periodic_timer, rtc->clock, rtc_timer_fire, rtc);
	clock_timer_init(&rtc->catch_up, rtc->clock, rtc_catch_up_fire, rtc);
	rtc_arm(rtc);
	return rtc;
}

void rtc_destroy(struct rtc *rtc)
{
	if (rtc == NULL)
		return;
	clock_timer_cancel(&rtc->update_timer);
	clock_timer_cancel(&rtc->periodic_timer);
	clock_timer_cancel(&rtc->catch_up);
	free(rtc);
}

void rtc_reset(struct rtc *rtc)
{
	rtc_sync(rtc);
	rtc_forget_owed(rtc);
	ticks_drop(&rtc->ticks);
	rtc->ram[RTC_B] &= (uint8_t) ~(B_PERIODIC | B_ALARM | B_UPDATE);
	rtc->ram[RTC_C] = 0;
	rtc_update_irq(rtc);
	rtc_arm(rtc);
}

bool rtc_map(struct rtc *rtc, struct io_map *ports, struct error *error)
{
	return io_map_add(ports, 0x70, 2, &rtc_ops, rtc, "rtc", error);
}

void rtc_set_ram(struct rtc *rtc, uint8_t index, uint8_t value)
{
	if (index > RTC_D && index < RTC_BYTES && index != RTC_CENTURY)
		rtc->ram[index] = value;
}

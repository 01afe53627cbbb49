/* SPDX-License-Identifier: MIT */
#include "vm/typist.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "devices/ps2keyboard.h"

#define PAUSED_MS 100
#define EVENTS_PER_CHARACTER 4 /* Shift and the key, down and up */
#define EVENTS_MAX (TYPIST_CHARACTERS_MAX * EVENTS_PER_CHARACTER)
#define EVENT_DOWN 0x80u /* the other bits: the key's row in the table */
#define CHORD_TEXT_MAX 128

struct typist {
	struct machine *machine;
	int timer; /* a timerfd, armed while events wait and once more after the last */
	unsigned interval_ms;
	unsigned head, count;
	uint8_t event[EVENTS_MAX];
	bool armed;
};

/* ---- the queue ---- */

static bool push(struct typist *typist, unsigned key, bool down)
{
	if (typist->count == EVENTS_MAX)
		return false;
	typist->event[(typist->head + typist->count++) % EVENTS_MAX] = (uint8_t)(key | (down ? EVENT_DOWN : 0));
	return true;
}

static void arm(struct typist *typist, long ms)
{
	struct itimerspec expiry = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}};
	typist->armed = timerfd_settime(typist->timer, 0, &expiry, NULL) == 0;
}

/* Ends a call: what it pushed behind the `before` older events stays or goes as a whole. */
static bool settle(struct typist *typist, unsigned before, bool good)
{
	if (!good)
		typist->count = before;
	if (typist->count > 0 && !typist->armed)
		arm(typist, 1);
	return good;
}

static bool no_room(struct error *error)
{
	return error_set(error, ERROR_HOST,
			 "too many keys wait to be typed, at most %d characters can: the guest has not read them yet",
			 TYPIST_CHARACTERS_MAX);
}

/* ---- handing over ---- */

/* Returns when to look again, in ms; 0: never. */
static long hand_over(struct typist *typist)
{
	if (typist->count == 0)
		return 0;
	if (machine_state(typist->machine) == MACHINE_PAUSED)
		return PAUSED_MS;
	machine_lock(typist->machine);
	struct ps2keyboard *keyboard = machine_keyboard(typist->machine);
	if (ps2keyboard_is_idle(keyboard)) {
		uint8_t event = typist->event[typist->head];
		typist->head = (typist->head + 1) % EVENTS_MAX;
		typist->count--;
		ps2keyboard_key(keyboard, event & ~EVENT_DOWN, (event & EVENT_DOWN) != 0);
	}
	machine_unlock(typist->machine);
	return (long)typist->interval_ms;
}

static void timer_expired(void *opaque, int fd, uint32_t events)
{
	struct typist *typist = opaque;
	uint64_t expirations;
	(void)events;
	if (read(fd, &expirations, sizeof expirations) != (ssize_t)sizeof expirations)
		return;
	typist->armed = false;
	long again = hand_over(typist);
	if (again != 0)
		arm(typist, again);
}

/* ---- text ---- */

/* One character of valid UTF-8; *length says how many bytes it has. */
static uint32_t character_read(const char *text, size_t *length)
{
	uint8_t first = (uint8_t)text[0];
	unsigned more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0 ? 1 : 0;
	uint32_t character = more == 0 ? first : first & (0x3fu >> more);
	for (unsigned i = 1; i <= more; i++)
		character = character << 6 | ((uint8_t)text[i] & 0x3fu);
	*length = more + 1;
	return character;
}

static bool push_character(struct typist *typist, uint32_t character, unsigned number, struct error *error)
{
	bool shift = false;
	int key = character < 0x80 ? ps2keyboard_find_character((char)character, &shift) : -1;
	if (key < 0)
		return error_set(error, ERROR_INPUT, "no key of a US keyboard types character %u of the text, U+%04X",
				 number, (unsigned)character);
	unsigned shift_key = (unsigned)ps2keyboard_find_name("shift");
	bool good = (!shift || push(typist, shift_key, true)) && push(typist, (unsigned)key, true) &&
		    push(typist, (unsigned)key, false) && (!shift || push(typist, shift_key, false));
	return good || no_room(error);
}

bool typist_add_text(struct typist *typist, const char *text, size_t length, struct error *error)
{
	bool good = true;
	unsigned before = typist->count;
	unsigned number = 0;
	for (size_t at = 0, bytes; good && at < length; at += bytes) {
		uint32_t character = character_read(text + at, &bytes);
		good = ++number <= TYPIST_CHARACTERS_MAX
			   ? push_character(typist, character, number, error)
			   : error_set(error, ERROR_INPUT, "the text is too long: give at most %d characters at a time",
				       TYPIST_CHARACTERS_MAX);
	}
	return settle(typist, before, good);
}

/* ---- chords ---- */

static bool push_chord(struct typist *typist, const char *chord, struct error *error)
{
	char lower[CHORD_TEXT_MAX];
	uint8_t keys[PS2_CHORD_MAX];
	size_t length = strlen(chord);
	if (length >= sizeof lower)
		return error_set(error, ERROR_INPUT, "there is no key \"%.64s...\"", chord);
	for (size_t i = 0; i <= length; i++)
		lower[i] = (char)(chord[i] >= 'A' && chord[i] <= 'Z' ? chord[i] | 0x20 : chord[i]);
	unsigned count = ps2keyboard_parse_chord(lower, keys, error);
	if (count == 0)
		return false;
	bool good = true;
	for (unsigned i = 0; i < count; i++)
		good = good && push(typist, keys[i], true);
	for (unsigned i = count; i > 0; i--)
		good = good && push(typist, keys[i - 1], false);
	return good || no_room(error);
}

bool typist_add_chords(struct typist *typist, const char *const *chords, size_t count, struct error *error)
{
	bool good = true;
	unsigned before = typist->count;
	for (size_t i = 0; good && i < count; i++)
		good = push_chord(typist, chords[i], error);
	return settle(typist, before, good);
}

void typist_set_interval(struct typist *typist, unsigned ms)
{
	typist->interval_ms = ms;
}

unsigned typist_waiting(const struct typist *typist)
{
	return typist->count;
}

/* ---- life ---- */

struct typist *typist_create(struct machine *machine, struct error *error)
{
	struct typist *typist = calloc(1, sizeof *typist);
	if (typist == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	typist->machine = machine;
	typist->interval_ms = TYPIST_INTERVAL_MS;
	typist->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (typist->timer < 0) {
		(void)error_set_errno(error, "cannot create a timer");
		free(typist);
		return NULL;
	}
	if (!machine_watch(machine, typist->timer, EPOLLIN, timer_expired, typist, error)) {
		close(typist->timer);
		free(typist);
		return NULL;
	}
	return typist;
}

void typist_destroy(struct typist *typist)
{
	if (typist == NULL)
		return;
	machine_unwatch(typist->machine, typist->timer);
	close(typist->timer);
	free(typist);
}

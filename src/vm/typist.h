/* SPDX-License-Identifier: MIT */
/*
 * Types on the guest's keyboard at a pace that it can follow.
 *
 * Theory of operation. A real keyboard holds 16 bytes; a program that types faster than the guest reads would lose
 * keys. So keys wait here, as events (one key going down or up), and a timer on the event loop hands over one event at
 * a time: when the keyboard says that the guest took the last one, and not before an interval has passed, so that a
 * guest that polls slowly sees a key go down before it goes up. While the guest is paused nothing moves.
 *
 * Called on the event loop's thread, without the device lock.
 */
#ifndef NFOLD_VM_TYPIST_H
#define NFOLD_VM_TYPIST_H

#include <stddef.h>

#include "base/error.h"
#include "machine/machine.h"

/* Characters of one text, and of all that waits. */
#define TYPIST_CHARACTERS_MAX 4096

/*
 * The interval between events unless another is asked for. A key in 60 ms: programs that wait for the BIOS's keys halt
 * until the timer's next tick, 18.2 times a second, and take one then. Faster keys would fill the BIOS's buffer of 15
 * and be lost.
 */
#define TYPIST_INTERVAL_MS 30
#define TYPIST_INTERVAL_MAX_MS 1000

struct typist;

struct typist *typist_create(struct machine *machine, struct error *error);
void typist_destroy(struct typist *typist);

/* Both take everything or nothing. ERROR_INPUT: no key types this, or there is no such key. ERROR_HOST: too much waits
 * already. The text is UTF-8; newline is Enter, and tab, backspace and escape are the keys of their names. */
bool typist_add_text(struct typist *typist, const char *text, size_t length, struct error *error);
/* "ctrl-alt-delete": the keys go down in order and up in reverse. Names in any case of letters. */
bool typist_add_chords(struct typist *typist, const char *const *chords, size_t count, struct error *error);

/* Of all that waits, too. */
void typist_set_interval(struct typist *typist, unsigned ms);

/* Key events that wait to be handed over. */
unsigned typist_waiting(const struct typist *typist);

#endif

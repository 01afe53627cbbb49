/* SPDX-License-Identifier: MIT */
/* The user's terminal while it is a guest's console: raw mode and the escape key. */
#ifndef NFOLD_CLI_TERMINAL_H
#define NFOLD_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

#define ESCAPE_KEY 0x1d /* Ctrl-] */

struct terminal {
	int fd;
	bool raw;
	struct termios saved;
};

/* Saves the modes and enters raw mode; a no-op if already in it. */
void terminal_enter(struct terminal *terminal);
/* Restores the saved modes, if in raw mode. */
void terminal_leave(struct terminal *terminal);

/* Ctrl-] q quits, Ctrl-] Ctrl-] sends one Ctrl-]; anything else after Ctrl-] is dropped with it. Where only the view is
 * left, Ctrl-] alone does that. */
struct escape {
	bool pending; /* the last byte was an unanswered Ctrl-] */
	bool quit;
	bool detach; /* Ctrl-] alone quits */
};

/* Copies what is for the guest from `in` to `out`, which has room for `size` bytes. Returns how much. Stops at a quit.
 */
size_t escape_filter(struct escape *escape, const char *in, size_t size, char *out);

#endif

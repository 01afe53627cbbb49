/* SPDX-License-Identifier: MIT */
#include "cli/terminal.h"

void terminal_enter(struct terminal *terminal)
{
	if (terminal->raw || tcgetattr(terminal->fd, &terminal->saved) != 0)
		return;
	struct termios raw = terminal->saved;
	cfmakeraw(&raw);
	terminal->raw = tcsetattr(terminal->fd, TCSANOW, &raw) == 0;
}

void terminal_leave(struct terminal *terminal)
{
	if (!terminal->raw)
		return;
	/* Drained, so that the guest's last words are written in the mode they were meant for. */
	(void)tcsetattr(terminal->fd, TCSADRAIN, &terminal->saved);
	terminal->raw = false;
}

size_t escape_filter(struct escape *escape, const char *in, size_t size, char *out)
{
	size_t used = 0;
	for (size_t i = 0; i < size && !escape->quit; i++) {
		if (!escape->pending) {
			escape->pending = in[i] == ESCAPE_KEY;
			escape->quit = escape->pending && escape->detach;
			if (!escape->pending)
				out[used++] = in[i];
			continue;
		}
		escape->pending = false;
		if (in[i] == 'q' || in[i] == 'Q')
			escape->quit = true;
		else if (in[i] == ESCAPE_KEY)
			out[used++] = ESCAPE_KEY;
	}
	return used;
}

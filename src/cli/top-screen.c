/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. One thread waits for three things: keys, signals that end it (as a descriptor, so that the
 * terminal is always given back), and the next reading's time. ncurses has its own handlers for a resized and a
 * stopped terminal; a resize then comes as a key. Everything is drawn anew each time; ncurses sends what changed.
 */
#include "cli/top-screen.h"

#include <curses.h>
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <time.h>
#include <unistd.h>

#include "cli/top-table.h"
#include "control/signals.h"

#define LINE_MAX_CHARACTERS 512
#define HEAD_LINES 3
#define SECONDS_MAX 3600u

struct screen {
	struct monitor *monitor;
	SCREEN *terminal;
	unsigned view;
	unsigned sort[8]; /* of each view */
	bool reverse[8];
	unsigned top; /* the first row shown */
	unsigned seconds;
	bool help;
	struct top_rows rows;
};

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- drawing ---- */

static const char *const help_lines[] = {
    "c  processors by guest        v  virtual processors      o  overhead by cause",
    "m  memory                     d  disks                   n  networks",
    "",
    "< >, left right   sort by the column before or after",
    "r                 reverse the order",
    "up down, PgUp PgDn, Home End   move through the rows",
    "+ -               a longer or shorter time between readings",
    "space             a reading now",
    "q                 quit",
    "",
    "Percent are of one processor. %USED = %RUN + %SYS; a virtual processor's time is",
    "%RUN + %RDY + %CSTP + %WAIT. nfold(1) and docs/ledger.md define each.",
    NULL,
};

static void draw_help(void)
{
	for (int i = 0; help_lines[i] != NULL && i + HEAD_LINES - 1 < LINES; i++)
		(void)mvaddnstr(i + HEAD_LINES - 1, 0, help_lines[i], COLS);
}

static void draw_heads(const struct screen *screen, const struct top_view *view)
{
	char line[LINE_MAX_CHARACTERS];
	int start, length;
	top_format_head(view, line, sizeof line);
	(void)attron(A_REVERSE);
	(void)mvhline(HEAD_LINES - 1, 0, ' ', COLS);
	(void)mvaddnstr(HEAD_LINES - 1, 0, line, COLS);
	(void)attroff(A_REVERSE);
	top_column_place(view, screen->sort[screen->view], &start, &length);
	if (start < COLS)
		(void)mvchgat(HEAD_LINES - 1, start, length, A_BOLD | A_UNDERLINE, 0, NULL);
}

static unsigned rows_shown(void)
{
	return LINES > HEAD_LINES ? (unsigned)(LINES - HEAD_LINES) : 0;
}

static void draw_rows(struct screen *screen, const struct top_view *view)
{
	char line[LINE_MAX_CHARACTERS];
	unsigned shown = rows_shown();
	unsigned last = screen->rows.count > shown ? screen->rows.count - shown : 0;
	screen->top = screen->top < last ? screen->top : last;
	for (unsigned i = 0; i < shown && screen->top + i < screen->rows.count; i++) {
		top_format_row(view, &screen->rows.row[screen->top + i], line, sizeof line);
		(void)mvaddnstr(HEAD_LINES + (int)i, 0, line, COLS);
	}
	if (screen->rows.count == 0)
		(void)mvaddnstr(HEAD_LINES, 0, view->none, COLS);
}

static bool draw(struct screen *screen, struct error *error)
{
	const struct top_view *view = &top_views[screen->view];
	char line[LINE_MAX_CHARACTERS];
	if (!top_rows_fill(&screen->rows, view, screen->sort[screen->view], screen->reverse[screen->view],
			   screen->monitor))
		return error_set(error, ERROR_HOST, "out of memory");
	(void)erase();
	top_format_summary(screen->monitor, line, sizeof line);
	(void)mvaddnstr(0, 0, line, COLS);
	(void)snprintf(line, sizeof line, "%s, every %u s   h help  q quit", view->name, screen->seconds);
	(void)mvaddnstr(1, 0, line, COLS);
	if (screen->help) {
		draw_help();
	} else {
		draw_heads(screen, view);
		draw_rows(screen, view);
	}
	(void)refresh();
	return true;
}

/* ---- keys ---- */

static void scroll_by(struct screen *screen, long rows)
{
	long top = (long)screen->top + rows;
	screen->top = top < 0 ? 0 : (unsigned)top; /* drawing keeps it in the table */
}

static void sort_by(struct screen *screen, int step)
{
	unsigned count = top_view_columns(&top_views[screen->view]);
	screen->sort[screen->view] = (screen->sort[screen->view] + count + (unsigned)step) % count;
}

static void choose_view(struct screen *screen, int key)
{
	for (unsigned i = 0; top_views[i].name != NULL; i++) {
		if (top_views[i].key != key)
			continue;
		screen->view = i;
		screen->top = 0;
	}
}

static void press_moving(struct screen *screen, int key)
{
	long page = (long)rows_shown();
	switch (key) {
	case KEY_UP:
		scroll_by(screen, -1);
		break;
	case KEY_DOWN:
		scroll_by(screen, 1);
		break;
	case KEY_PPAGE:
		scroll_by(screen, -page);
		break;
	case KEY_NPAGE:
		scroll_by(screen, page);
		break;
	case KEY_HOME:
		screen->top = 0;
		break;
	case KEY_END:
		scroll_by(screen, (long)screen->rows.count);
		break;
	default:
		break;
	}
}

/* False: the user quits. *now: a reading is wanted at once. */
static bool press(struct screen *screen, int key, bool *now)
{
	bool helped = screen->help;
	screen->help = key == 'h' || key == '?' || (helped && key == KEY_RESIZE);
	if (key == 'q' || key == 'Q')
		return helped; /* leaves the help first */
	if (key == ' ')
		*now = true;
	else if (key == '<' || key == KEY_LEFT)
		sort_by(screen, -1);
	else if (key == '>' || key == KEY_RIGHT)
		sort_by(screen, 1);
	else if (key == 'r')
		screen->reverse[screen->view] = !screen->reverse[screen->view];
	else if (key == '+' && screen->seconds < SECONDS_MAX)
		screen->seconds++;
	else if (key == '-' && screen->seconds > 1)
		screen->seconds--;
	else
		press_moving(screen, key);
	choose_view(screen, key);
	return true;
}

/* ---- the loop ---- */

enum wake { WAKE_TIME, WAKE_KEYS, WAKE_END };

static enum wake wait_until(int64_t deadline_ms, int signals)
{
	struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
	int64_t left = deadline_ms - now_ms();
	if (left <= 0)
		return WAKE_TIME;
	int ready = poll(fds, 2, (int)left);
	if (ready < 0)
		return errno == EINTR ? WAKE_KEYS : WAKE_END; /* a resize */
	if (ready == 0)
		return WAKE_TIME;
	return fds[1].revents != 0 || (fds[0].revents & (POLLHUP | POLLERR)) != 0 ? WAKE_END : WAKE_KEYS;
}

/* Keys and resizes until the next reading is due. False: the end. */
static bool serve(struct screen *screen, int64_t began_ms, int signals, struct error *error)
{
	bool now = false;
	while (!now) {
		enum wake wake = wait_until(began_ms + (int64_t)screen->seconds * 1000, signals);
		if (wake != WAKE_KEYS)
			return wake == WAKE_TIME;
		for (int key = getch(); key != ERR; key = getch())
			if (!press(screen, key, &now))
				return false;
		if (!draw(screen, error))
			return false;
	}
	return true;
}

static bool run(struct screen *screen, unsigned long count, int signals, struct error *error)
{
	for (unsigned long i = 0; count == 0 || i < count; i++) {
		int64_t began_ms = now_ms();
		if (!monitor_read(screen->monitor, error) || !draw(screen, error))
			return false;
		/* Rates need two readings: the first comes soon. */
		if (i == 0)
			began_ms -= (int64_t)screen->seconds * 1000 - 250;
		if (!serve(screen, began_ms, signals, error))
			return error->kind == ERROR_NONE;
	}
	return true;
}

static bool take_terminal(struct screen *screen, struct error *error)
{
	int reason;
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return error_set(error, ERROR_INPUT,
				 "no terminal to draw on: 'nfold top --once' prints a table, --batch CSV");
	if (setupterm(NULL, STDOUT_FILENO, &reason) != OK || cursor_address == NULL) {
		const char *type = getenv("TERM");
		return error_set(error, ERROR_INPUT,
				 "terminals of type TERM='%.40s' cannot be drawn on: 'nfold top --once' prints a table",
				 type != NULL ? type : "");
	}
	(void)setlocale(LC_CTYPE, "");
	screen->terminal = newterm(NULL, stdout, stdin);
	if (screen->terminal == NULL)
		return error_set(error, ERROR_HOST, "the terminal cannot be drawn on");
	(void)cbreak();
	(void)noecho();
	(void)keypad(stdscr, TRUE);
	(void)nodelay(stdscr, TRUE);
	(void)curs_set(0);
	return true;
}

bool top_screen_run(struct monitor *monitor, unsigned seconds, unsigned long count, struct error *error)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct screen screen = {.monitor = monitor, .seconds = seconds};
	for (unsigned i = 0; top_views[i].name != NULL; i++)
		screen.sort[i] = top_views[i].first_sort;
	int signals = signals_open(ending, sizeof ending / sizeof ending[0], NULL);
	if (signals < 0)
		return error_set_errno(error, "cannot wait for signals");
	bool good = take_terminal(&screen, error);
	if (good) {
		good = run(&screen, count, signals, error);
		(void)endwin();
		delscreen(screen.terminal);
	}
	top_rows_free(&screen.rows);
	close(signals);
	return good;
}

/* SPDX-License-Identifier: MIT */
#include "cli/viewer.h"

#include <curses.h>
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <term.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cli/terminal.h"
#include "cli/viewer-impl.h"
#include "control/client.h"

#define POLL_MS 40
#define RETRY_MS 500	/* after the connection broke */
#define SILENCE_MS 1500 /* without an answer, the user is told */
#define HINT_MS 4000
#define CONNECT_MS 200
#define ESCAPE_DELAY_MS 25
#define STUCK_US 400000 /* a terminal that takes no output for so long is stopped */
#define PENDING_MAX 4096
#define CHORDS_MAX 64 /* of one request */
/* A person's own pace; this only has to keep up with a terminal that repeats a key 30 times a second. */
#define INTERVAL_MS 8

enum request { REQUEST_NONE, REQUEST_SCREEN, REQUEST_KEYS };

struct viewer {
	char guest[NAME_LENGTH_MAX + 1];
	SCREEN *terminal;
	struct client *client; /* NULL: not connected */
	enum request request;  /* the one under way */
	int64_t asked_ms;      /* since when */
	int64_t next_ms;       /* when to ask for the screen, or to connect, next */
	int64_t hint_end_ms;
	bool suspended;
	bool drawn;  /* the terminal shows the screen as it was last got */
	bool escape; /* the last key was the escape key */
	json_t *screen;
	struct drawing drawing;
	unsigned head, count;
	struct pressed pending[PENDING_MAX];
};

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the terminal ---- */

static bool terminal_type_check(struct error *error)
{
	const char *type = getenv("TERM");
	int reason;
	if (setupterm(NULL, STDOUT_FILENO, &reason) != OK)
		return error_set(error, ERROR_INPUT, "--display terminal: terminal type TERM='%.40s' is not known",
				 type != NULL ? type : "");
	if (cursor_address == NULL)
		return error_set(error, ERROR_INPUT,
				 "--display terminal: terminals of type TERM='%.40s' cannot be drawn on", type);
	return true;
}

/* Copies a terminfo string without its padding, which is written $<5> and is for terminals of another age. */
static size_t copy_unpadded(char *to, size_t size, const char *from)
{
	size_t used = 0;
	while (*from != '\0' && used + 1 < size) {
		const char *end = from[0] == '$' && from[1] == '<' ? strchr(from, '>') : NULL;
		if (end != NULL)
			from = end + 1;
		else
			to[used++] = *from++;
	}
	to[used] = '\0';
	return used;
}

static void make_reset(char reset[VIEWER_RESET_SIZE])
{
	const char *const parts[] = {exit_attribute_mode, keypad_local, cursor_normal, exit_ca_mode};
	size_t used = 0;
	reset[0] = '\0';
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (parts[i] != NULL && parts[i] != (char *)-1)
			used += copy_unpadded(reset + used, VIEWER_RESET_SIZE - used, parts[i]);
}

bool viewer_terminal_check(char reset[VIEWER_RESET_SIZE], struct error *error)
{
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return error_set(error, ERROR_INPUT,
				 "--display terminal needs a terminal as standard input and output; nfold screen shows "
				 "the screen without");
	bool good = terminal_type_check(error);
	if (good)
		make_reset(reset);
	TERMINAL *type = set_curterm(NULL);
	if (type != NULL)
		(void)del_curterm(type);
	return good;
}

static bool take_terminal(struct viewer *viewer, struct error *error)
{
	(void)setlocale(LC_CTYPE, "");
	viewer->terminal = newterm(NULL, stdout, stdin);
	if (viewer->terminal == NULL)
		return error_set(error, ERROR_HOST, "the terminal cannot be drawn on");
	(void)raw();
	(void)noecho();
	(void)nonl();
	(void)keypad(stdscr, TRUE);
	(void)nodelay(stdscr, TRUE);
	(void)set_escdelay(ESCAPE_DELAY_MS);
	if (has_colors()) {
		(void)start_color();
		(void)use_default_colors(); /* around the guest's screen */
	}
	return true;
}

/* ---- drawing ---- */

/*
 * A terminal may stop to take output, by Ctrl-S or because nobody reads it any more, and then a write waits for ever,
 * with all signals blocked. So whatever draws does it under this guard: after a while it throws away what the terminal
 * has not taken, as often as is needed for the writer to come to its end.
 */
static void throw_away_output(int number)
{
	(void)number;
	int saved = errno;
	(void)tcflush(STDOUT_FILENO, TCOFLUSH);
	errno = saved;
}

static void guard_set(long us)
{
	struct sigaction action = {.sa_handler = throw_away_output, .sa_flags = SA_RESTART};
	struct itimerval timer = {.it_value.tv_usec = us, .it_interval.tv_usec = us / 4};
	(void)sigaction(SIGALRM, &action, NULL);
	(void)setitimer(ITIMER_REAL, &timer, NULL);
}

static void draw(struct viewer *viewer)
{
	struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
	int64_t started = now_ms();
	viewer->drawn = !viewer->suspended && poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0;
	if (!viewer->drawn)
		return;
	guard_set(STUCK_US);
	drawing_update(&viewer->drawing, viewer->screen);
	guard_set(0);
	if (now_ms() - started >= STUCK_US / 1000) {
		(void)clearok(stdscr, TRUE);
		viewer->drawn = false;
	}
}

static void leave_screen(void)
{
	guard_set(STUCK_US);
	(void)endwin();
	guard_set(0);
}

/* The hint of how to leave stands in the last line for a while, and for ever where the screen leaves room. */
static void set_message(struct viewer *viewer)
{
	char *text = viewer->drawing.message;
	const size_t size = sizeof viewer->drawing.message;
	int64_t now = now_ms();
	size_t rows = json_array_size(json_object_get(viewer->screen, "text"));
	char before[sizeof viewer->drawing.message];
	memcpy(before, text, size);
	text[0] = '\0';
	if (viewer->client == NULL || (viewer->request != REQUEST_NONE && now - viewer->asked_ms > SILENCE_MS))
		(void)snprintf(text, size, " guest '%s' does not answer; Ctrl-] q ends it ", viewer->guest);
	else if (now < viewer->hint_end_ms || rows < (size_t)LINES)
		(void)snprintf(text, size, " guest '%s'; Ctrl-] q ends it, Ctrl-] Ctrl-] sends Ctrl-] ", viewer->guest);
	if (memcmp(before, text, strlen(text) + 1) != 0)
		viewer->drawn = false;
}

/* ---- talking to the guest ---- */

static void disconnect(struct viewer *viewer)
{
	client_close(viewer->client);
	viewer->client = NULL;
	viewer->request = REQUEST_NONE;
	viewer->next_ms = now_ms() + RETRY_MS;
}

static bool connect_guest(struct viewer *viewer, struct error *error)
{
	struct runtime runtime;
	if (!runtime_open(&runtime, false, error))
		return false;
	viewer->client = client_open(&runtime, viewer->guest, CONNECT_MS, error);
	runtime_close(&runtime);
	return viewer->client != NULL;
}

static void ask(struct viewer *viewer, enum request request, const char *method, json_t *params)
{
	viewer->request = request;
	viewer->asked_ms = now_ms();
	if (!client_send(viewer->client, method, params, NULL))
		disconnect(viewer);
}

static void ask_screen(struct viewer *viewer)
{
	json_t *changes = json_object_get(viewer->screen, "changes");
	viewer->next_ms = now_ms() + POLL_MS;
	ask(viewer, REQUEST_SCREEN, "screen.text", changes != NULL ? json_pack("{s:O}", "since", changes) : NULL);
}

static struct pressed take_pending(struct viewer *viewer)
{
	struct pressed first = viewer->pending[viewer->head];
	viewer->head = (viewer->head + 1) % PENDING_MAX;
	viewer->count--;
	return first;
}

static bool next_is_character(const struct viewer *viewer)
{
	return viewer->count > 0 && viewer->pending[viewer->head].character != 0;
}

/* Sends the characters or the chords that come first, as many as there are in a row. */
static void send_keys(struct viewer *viewer)
{
	if (next_is_character(viewer)) {
		char text[PENDING_MAX];
		size_t used = 0;
		while (next_is_character(viewer))
			text[used++] = take_pending(viewer).character;
		ask(viewer, REQUEST_KEYS, "keyboard.type",
		    json_pack("{s:s%, s:i}", "text", text, used, "interval_ms", INTERVAL_MS));
		return;
	}
	json_t *chords = json_array();
	while (viewer->count > 0 && !next_is_character(viewer) && json_array_size(chords) < CHORDS_MAX)
		(void)json_array_append_new(chords, json_string(take_pending(viewer).chord));
	ask(viewer, REQUEST_KEYS, "keyboard.key",
	    json_pack("{s:o, s:i}", "chords", chords, "interval_ms", INTERVAL_MS));
}

static void take_screen(struct viewer *viewer, json_t *answer)
{
	if (json_object_get(answer, "mode") == NULL) {
		json_decref(answer);
		return;
	}
	json_decref(viewer->screen);
	viewer->screen = answer;
	viewer->drawn = false;
}

static void receive(struct viewer *viewer)
{
	json_t *answer;
	enum client_state state = client_receive(viewer->client, &answer, NULL);
	if (state == CLIENT_WAITS)
		return;
	if (state == CLIENT_BROKEN) {
		disconnect(viewer);
		return;
	}
	if (state == CLIENT_REFUSED && viewer->request == REQUEST_KEYS)
		(void)beep(); /* the guest does not take them */
	if (state == CLIENT_ANSWERED && viewer->request == REQUEST_SCREEN)
		take_screen(viewer, answer);
	else
		json_decref(answer);
	viewer->request = REQUEST_NONE;
}

int viewer_fd(const struct viewer *viewer)
{
	return viewer->client != NULL && viewer->request != REQUEST_NONE ? client_fd(viewer->client) : -1;
}

int viewer_wait_ms(const struct viewer *viewer)
{
	int64_t left = viewer->next_ms - now_ms();
	if (viewer->request != REQUEST_NONE)
		return RETRY_MS;
	if (viewer->count > 0 && viewer->client != NULL)
		return 0;
	return left < 0 ? 0 : left < RETRY_MS ? (int)left : RETRY_MS;
}

void viewer_step(struct viewer *viewer)
{
	if (viewer->client != NULL && viewer->request != REQUEST_NONE)
		receive(viewer);
	if (viewer->client == NULL && now_ms() >= viewer->next_ms && !connect_guest(viewer, NULL))
		viewer->next_ms = now_ms() + RETRY_MS;
	if (viewer->client != NULL && viewer->request == REQUEST_NONE) {
		if (viewer->count > 0)
			send_keys(viewer);
		else if (now_ms() >= viewer->next_ms)
			ask_screen(viewer);
	}
	set_message(viewer);
	if (!viewer->drawn)
		draw(viewer);
}

/* ---- keys ---- */

static void press(struct viewer *viewer, const struct pressed *pressed)
{
	if (pressed->character == 0 && pressed->chord[0] == '\0')
		(void)beep(); /* no key of a PC */
	else if (viewer->count < PENDING_MAX)
		viewer->pending[(viewer->head + viewer->count++) % PENDING_MAX] = *pressed;
}

/* The key behind the escape key. Returns false if it is to leave. */
static bool escape_key(struct viewer *viewer, wint_t code, bool function)
{
	viewer->escape = false;
	if (function)
		return true;
	if (code == ESCAPE_KEY)
		press(viewer, &(struct pressed){.chord = "ctrl-rightbracket"});
	return code != 'q' && code != 'Q';
}

/* A key, and what comes at once behind an Escape: a terminal's way of telling Alt. */
static bool read_key(struct viewer *viewer, wint_t code, bool function)
{
	bool alt = false;
	if (viewer->escape)
		return escape_key(viewer, code, function);
	if (!function && code == ESCAPE_KEY) {
		viewer->escape = true;
		return true;
	}
	if (!function && code == 0x1b) {
		wint_t next;
		int kind = get_wch(&next);
		if (kind != ERR && (kind == KEY_CODE_YES || next != ESCAPE_KEY)) {
			alt = true;
			code = next;
			function = kind == KEY_CODE_YES;
		} else if (kind != ERR) {
			viewer->escape = true;
		}
	}
	if (function && code == KEY_RESIZE)
		return true;
	struct pressed pressed = key_translate(code, function, alt);
	press(viewer, &pressed);
	return true;
}

bool viewer_read_keys(struct viewer *viewer)
{
	wint_t code;
	int kind;
	while ((kind = get_wch(&code)) != ERR)
		if (!read_key(viewer, code, kind == KEY_CODE_YES))
			return false;
	return true;
}

/* ---- life ---- */

void viewer_resize(struct viewer *viewer)
{
	struct winsize size;
	if (viewer->suspended || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
		return;
	(void)resizeterm(size.ws_row, size.ws_col);
	(void)clearok(stdscr, TRUE);
	draw(viewer);
}

void viewer_suspend(struct viewer *viewer)
{
	viewer->suspended = true;
	leave_screen();
}

void viewer_resume(struct viewer *viewer)
{
	viewer->suspended = false;
	viewer_resize(viewer);
}

struct viewer *viewer_open(const char *guest, struct error *error)
{
	struct viewer *viewer = calloc(1, sizeof *viewer);
	if (viewer == NULL) {
		error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	(void)snprintf(viewer->guest, sizeof viewer->guest, "%s", guest);
	viewer->hint_end_ms = now_ms() + HINT_MS;
	if (connect_guest(viewer, error) && take_terminal(viewer, error)) {
		drawing_init(&viewer->drawing, viewer->guest);
		return viewer;
	}
	viewer_close(viewer);
	return NULL;
}

void viewer_close(struct viewer *viewer)
{
	if (viewer == NULL)
		return;
	if (viewer->terminal != NULL) {
		if (!viewer->suspended)
			leave_screen();
		delscreen(viewer->terminal);
	}
	client_close(viewer->client);
	json_decref(viewer->screen);
	free(viewer);
}

/* SPDX-License-Identifier: MIT */
/* Character streams, with an event loop of the test's own: flow control in both directions, ends, reconnection. */
#include "backend/chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_WATCHES 8

struct watch {
	int fd;
	uint32_t events;
	void (*ready)(void *opaque, int fd, uint32_t events);
	void *opaque;
};

struct fixture {
	struct chardev_loop loop;
	struct watch watch[MAX_WATCHES];
	unsigned watch_count;
	struct chardev *chardev;
	struct chardev_front front;
	unsigned room;
	unsigned most_at_once;
	uint8_t input[4096];
	unsigned input_count;
	unsigned ready_calls;
	char folder[32], path[64];
};

/* Refuses what epoll refuses. */
static bool add_watch(void *opaque, int fd, uint32_t events, void (*ready)(void *, int, uint32_t), void *ready_opaque)
{
	struct fixture *f = opaque;
	struct stat status;
	assert_int_equal(fstat(fd, &status), 0);
	if (S_ISREG(status.st_mode))
		return false;
	for (unsigned i = 0; i < f->watch_count; i++)
		assert_int_not_equal(f->watch[i].fd, fd);
	assert_true(f->watch_count < MAX_WATCHES);
	f->watch[f->watch_count++] = (struct watch){fd, events, ready, ready_opaque};
	return true;
}

static void remove_watch(void *opaque, int fd)
{
	struct fixture *f = opaque;
	for (unsigned i = 0; i < f->watch_count; i++) {
		if (f->watch[i].fd == fd) {
			f->watch[i] = f->watch[--f->watch_count];
			return;
		}
	}
	fail_msg("descriptor %d is not watched", fd);
}

/* One turn of the loop: true when something was ready. Poll's bits are epoll's. */
static bool turn(struct fixture *f)
{
	for (unsigned i = 0; i < f->watch_count; i++) {
		struct watch watch = f->watch[i];
		struct pollfd pollfd = {.fd = watch.fd, .events = (short)watch.events};
		if (poll(&pollfd, 1, 0) == 1) {
			watch.ready(watch.opaque, watch.fd, (uint32_t)pollfd.revents);
			return true;
		}
	}
	return false;
}

static void turn_until_quiet(struct fixture *f)
{
	unsigned turns = 0;
	while (turn(f))
		assert_true(++turns < 1000); /* a hang-up must not make the loop spin */
}

static unsigned front_room(void *opaque)
{
	const struct fixture *f = opaque;
	return f->room;
}

static void front_input(void *opaque, const uint8_t *bytes, unsigned count)
{
	struct fixture *f = opaque;
	assert_true(count <= f->room && f->input_count + count <= sizeof f->input);
	memcpy(f->input + f->input_count, bytes, count);
	f->input_count += count;
	f->room -= count;
	if (f->most_at_once < count)
		f->most_at_once = count;
}

static void front_ready(void *opaque)
{
	struct fixture *f = opaque;
	f->ready_calls++;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	f->loop = (struct chardev_loop){.watch = add_watch, .unwatch = remove_watch, .opaque = f};
	f->front = (struct chardev_front){
	    .input_room = front_room, .input = front_input, .output_ready = front_ready, .opaque = f};
	f->room = 16;
	strcpy(f->folder, "/tmp/nfold-chardev-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->path, sizeof f->path, "%s/it", f->folder);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	chardev_close(f->chardev);
	assert_int_equal(f->watch_count, 0);
	(void)unlink(f->path);
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}

static void assert_input(struct fixture *f, const char *expected)
{
	assert_int_equal(f->input_count, strlen(expected));
	assert_memory_equal(f->input, expected, f->input_count);
}

static unsigned write_text(struct fixture *f, const char *text)
{
	return chardev_write(f->chardev, (const uint8_t *)text, (unsigned)strlen(text));
}

static size_t read_all(int fd, char *to, size_t size)
{
	ssize_t got = read(fd, to, size - 1);
	assert_true(got >= 0);
	to[got] = 0;
	return (size_t)got;
}

/* ---- descriptors ---- */

static void input_waits_for_room(void **state)
{
	struct fixture *f = *state;
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	f->chardev = chardev_open_stdio(ends[0], -1, &f->loop, NULL);
	assert_int_equal(write(ends[1], "0123456789abcdefghij", 20), 20);
	turn_until_quiet(f);
	assert_int_equal(f->input_count, 0); /* nobody is attached */
	chardev_attach(f->chardev, &f->front);
	assert_input(f, "0123456789abcdef");
	assert_int_equal(f->watch_count, 0); /* no room: not watched, not spun upon */
	(void)close(ends[1]);
	turn_until_quiet(f);
	f->room = 3;
	chardev_input_ready(f->chardev);
	assert_input(f, "0123456789abcdefghi");
	f->room = 3;
	chardev_input_ready(f->chardev);
	assert_input(f, "0123456789abcdefghij");
	turn_until_quiet(f);
	assert_int_equal(f->watch_count, 0); /* the end was reached */
	(void)close(ends[0]);
}

static void plain_files_and_null_are_read_to_their_end(void **state)
{
	struct fixture *f = *state;
	int fd = open(f->path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(write(fd, "text", 4), 4);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	f->chardev = chardev_open_stdio(fd, -1, &f->loop, NULL);
	chardev_attach(f->chardev, &f->front);
	assert_input(f, "text");
	chardev_close(f->chardev);
	(void)close(fd);

	fd = open("/dev/null", O_RDWR);
	f->chardev = chardev_open_stdio(fd, fd, &f->loop, NULL);
	chardev_attach(f->chardev, &f->front);
	assert_int_equal(write_text(f, "gone"), 4);
	assert_input(f, "text");
	(void)close(fd);
}

/* The flags of a terminal or pipe belong to everybody who has it open. */
static void callers_descriptors_stay_blocking(void **state)
{
	struct fixture *f = *state;
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	f->chardev = chardev_open_stdio(ends[0], ends[1], &f->loop, NULL);
	assert_int_equal(fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void full_output_is_refused_and_announced(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[1000] = {0};
	char drain[65536];
	int ends[2];
	unsigned total = 0;
	assert_int_equal(pipe(ends), 0);
	f->chardev = chardev_open_stdio(-1, ends[1], &f->loop, NULL);
	chardev_attach(f->chardev, &f->front);
	unsigned put;
	while ((put = chardev_write(f->chardev, bytes, sizeof bytes)) == sizeof bytes)
		total += put;
	assert_true(total >= 4096 && put < sizeof bytes);
	turn_until_quiet(f);
	assert_int_equal(f->ready_calls, 0);
	(void)read_all(ends[0], drain, sizeof drain);
	turn_until_quiet(f);
	assert_int_equal(f->ready_calls, 1);
	assert_int_equal(chardev_write(f->chardev, bytes, sizeof bytes), sizeof bytes);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void socket_pairs_never_block(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[4096] = {0};
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	f->chardev = chardev_open_stdio(ends[0], ends[0], &f->loop, NULL);
	chardev_attach(f->chardev, &f->front);
	while (chardev_write(f->chardev, bytes, sizeof bytes) == sizeof bytes)
		continue;
	assert_int_equal(write(ends[1], "in", 2), 2);
	turn_until_quiet(f);
	assert_input(f, "in");
	(void)close(ends[0]);
	(void)close(ends[1]);
	turn_until_quiet(f);
	assert_int_equal(f->ready_calls, 1);
	assert_int_equal(chardev_write(f->chardev, bytes, sizeof bytes), sizeof bytes); /* forgotten */
}

static void output_file_is_made_anew(void **state)
{
	struct fixture *f = *state;
	char text[16];
	for (unsigned i = 0; i < 2; i++) {
		f->chardev = chardev_open_file(f->path, &f->loop, NULL);
		chardev_attach(f->chardev, &f->front);
		assert_int_equal(write_text(f, i == 0 ? "first" : "2nd"), i == 0 ? 5 : 3);
		chardev_close(f->chardev);
		f->chardev = NULL;
	}
	int fd = open(f->path, O_RDONLY);
	assert_int_equal(read_all(fd, text, sizeof text), 3);
	assert_string_equal(text, "2nd");
	(void)close(fd);
}

static void bad_paths_are_refused(void **state)
{
	struct fixture *f = *state;
	char longest[200];
	struct error error = {0};
	assert_null(chardev_open_file("/nonexistent/file", &f->loop, &error));
	assert_non_null(strstr(error.text, "/nonexistent/file"));
	assert_null(chardev_open_file(f->folder, &f->loop, &error));
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_null(chardev_open_file(f->path, &f->loop, &error)); /* no reader: no hang */
	assert_null(chardev_open_socket(f->path, &f->loop, &error));
	assert_non_null(strstr(error.text, "not a socket"));
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = 0;
	assert_null(chardev_open_socket(longest, &f->loop, &error));
	assert_null(chardev_open_socket("", &f->loop, &error));
	assert_null(chardev_open_socket("/nonexistent/socket", &f->loop, &error));
	assert_null(chardev_open_stdio(9999, -1, &f->loop, &error));
	assert_null(strchr(error.text, '\n'));
}

/* ---- sockets ---- */

static int try_connect(struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, f->path, strlen(f->path) + 1);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(client, (struct sockaddr *)&address, sizeof address) == 0)
		return client;
	(void)close(client);
	return -1;
}

static int connect_client(struct fixture *f)
{
	int client = try_connect(f);
	assert_true(client >= 0);
	turn_until_quiet(f);
	return client;
}

static void open_socket(struct fixture *f)
{
	struct error error;
	f->chardev = chardev_open_socket(f->path, &f->loop, &error);
	if (f->chardev == NULL)
		fail_msg("%s", error.text);
	chardev_attach(f->chardev, &f->front);
}

static void late_clients_see_what_was_written(void **state)
{
	struct fixture *f = *state;
	char text[65600];
	struct stat status;
	open_socket(f);
	assert_int_equal(stat(f->path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	for (unsigned i = 0; i < 10000; i++) {
		(void)snprintf(text, sizeof text, "line %06u\n", i);
		assert_int_equal(write_text(f, text), 12);
	}
	int client = connect_client(f);
	size_t got = 0;
	for (size_t more = 1; got < 65536 && more > 0; turn_until_quiet(f), got += more)
		more = read_all(client, text + got, sizeof text - got);
	assert_int_equal(got, 65536); /* the last 64 KiB */
	assert_string_equal(text + got - 12, "line 009999\n");
	assert_int_equal(write_text(f, "now"), 3);
	assert_int_equal(read_all(client, text, sizeof text), 3);
	(void)close(client);
	turn_until_quiet(f);
}

static void one_client_at_a_time(void **state)
{
	struct fixture *f = *state;
	char text[16];
	open_socket(f);
	int first = connect_client(f);
	int second = connect_client(f);
	assert_int_equal(write(second, "2", 1), 1);
	assert_int_equal(write(first, "1", 1), 1);
	turn_until_quiet(f);
	assert_input(f, "1");
	(void)close(first);
	turn_until_quiet(f);
	assert_input(f, "12");
	assert_int_equal(write_text(f, "x"), 1);
	assert_int_equal(read_all(second, text, sizeof text), 1);
	(void)close(second);
	turn_until_quiet(f);
}

static void what_a_leaving_client_sent_arrives(void **state)
{
	struct fixture *f = *state;
	char text[16];
	open_socket(f);
	int client = connect_client(f);
	assert_int_equal(write(client, "0123456789abcdefghijklmno", 25), 25);
	(void)close(client);
	turn_until_quiet(f);
	assert_int_equal(f->input_count, 16);
	assert_int_equal(write_text(f, "kept"), 4); /* nobody reads it: for the next one */
	turn_until_quiet(f);
	f->room = 100;
	chardev_input_ready(f->chardev);
	assert_input(f, "0123456789abcdefghijklmno");
	turn_until_quiet(f);
	client = connect_client(f);
	assert_int_equal(read_all(client, text, sizeof text), 4);
	(void)close(client);
	turn_until_quiet(f);
}

static void half_closed_clients_still_read(void **state)
{
	struct fixture *f = *state;
	char text[16];
	open_socket(f);
	int client = connect_client(f);
	assert_int_equal(write(client, "in", 2), 2);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	turn_until_quiet(f);
	assert_input(f, "in");
	assert_int_equal(write_text(f, "out"), 3);
	assert_int_equal(read_all(client, text, sizeof text), 3);
	(void)close(client);
	turn_until_quiet(f);
	client = connect_client(f);
	assert_int_equal(write(client, "b", 1), 1);
	turn_until_quiet(f);
	assert_input(f, "inb");
	(void)close(client);
	turn_until_quiet(f);
}

static void slow_clients_hold_the_device_back(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[4096] = {0};
	open_socket(f);
	int client = connect_client(f);
	while (chardev_write(f->chardev, bytes, sizeof bytes) == sizeof bytes)
		continue;
	turn_until_quiet(f);
	assert_int_equal(f->ready_calls, 0);
	(void)close(client); /* gone: the device must not wait for ever */
	turn_until_quiet(f);
	assert_int_equal(f->ready_calls, 1);
	assert_int_equal(chardev_write(f->chardev, bytes, sizeof bytes), sizeof bytes);
}

static void stale_sockets_are_replaced_and_live_ones_are_not(void **state)
{
	struct fixture *f = *state;
	struct error error = {0};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, f->path, strlen(f->path) + 1);
	int dead = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(dead, (struct sockaddr *)&address, sizeof address), 0);
	(void)close(dead);
	open_socket(f);
	assert_null(chardev_open_socket(f->path, &f->loop, &error));
	assert_non_null(strstr(error.text, "in use"));
	int client = connect_client(f); /* the probe has not harmed the first */
	(void)close(client);
	turn_until_quiet(f);
	chardev_close(f->chardev);
	f->chardev = NULL;
	assert_int_equal(try_connect(f), -1);
	assert_int_not_equal(access(f->path, F_OK), 0);
}

static void none_takes_everything(void **state)
{
	struct fixture *f = *state;
	f->chardev = chardev_open_none(NULL);
	chardev_attach(f->chardev, &f->front);
	assert_int_equal(write_text(f, "gone"), 4);
	chardev_input_ready(f->chardev);
	assert_int_equal(f->input_count, 0);
}

#define LONG_OUTPUT (3u << 20) /* more than a pipe holds */

/* Byte number i of it. */
static uint8_t long_byte(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13);
}

static void queues_take_all_output_at_once(void **state)
{
	struct fixture *f = *state;
	static uint8_t bytes[LONG_OUTPUT], got[LONG_OUTPUT];
	int in[2], out[2];
	assert_int_equal(pipe(in) | pipe(out), 0);
	struct chardev *behind = chardev_open_stdio(in[0], out[1], &f->loop, NULL);
	assert_non_null(behind);
	f->chardev = chardev_open_queue(behind, NULL);
	chardev_attach(f->chardev, &f->front);
	for (size_t i = 0; i < LONG_OUTPUT; i++)
		bytes[i] = long_byte(i);
	for (size_t i = 0; i < LONG_OUTPUT; i += 1 << 18)
		assert_int_equal(chardev_write(f->chardev, bytes + i, 1 << 18), 1 << 18);
	for (size_t done = 0; done < LONG_OUTPUT;) {
		ssize_t count = read(out[0], got + done, LONG_OUTPUT - done);
		assert_true(count > 0);
		done += (size_t)count;
		turn_until_quiet(f);
	}
	assert_memory_equal(got, bytes, LONG_OUTPUT);
	assert_int_equal(f->ready_calls, 0); /* the device never had to wait */

	assert_int_equal(write(in[1], "input", 5), 5);
	turn_until_quiet(f);
	chardev_input_ready(f->chardev);
	assert_int_equal(f->input_count, 0);
	for (unsigned i = 0; i < 2; i++) {
		(void)close(in[i]);
		(void)close(out[i]);
	}
	turn_until_quiet(f);
}

static void queues_are_emptied_when_they_close(void **state)
{
	struct fixture *f = *state;
	int out[2];
	char text[16];
	assert_int_equal(pipe(out), 0);
	struct chardev *queue = chardev_open_queue(chardev_open_stdio(-1, out[1], &f->loop, NULL), NULL);
	(void)chardev_write(queue, (const uint8_t *)"the end", 7);
	chardev_close(queue);
	assert_int_equal(read_all(out[0], text, sizeof text), 7);
	assert_string_equal(text, "the end");
	(void)close(out[0]);
	(void)close(out[1]);
	f->chardev = chardev_open_none(NULL);
}

/* A reader that never reads costs no more than the limit. */
static void queues_forget_what_is_too_much(void **state)
{
	struct fixture *f = *state;
	static uint8_t bytes[1 << 20];
	size_t kept = 0;
	int out[2];
	assert_int_equal(pipe(out), 0);
	f->chardev = chardev_open_queue(chardev_open_stdio(-1, out[1], &f->loop, NULL), NULL);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(chardev_write(f->chardev, bytes, sizeof bytes), sizeof bytes);
	assert_int_equal(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
	for (ssize_t count; (count = read(out[0], bytes, sizeof bytes)) > 0; turn_until_quiet(f))
		kept += (size_t)count;
	assert_in_range(kept, 15 << 20, 17 << 20);
	(void)close(out[0]);
	(void)close(out[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(input_waits_for_room, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(queues_take_all_output_at_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(queues_are_emptied_when_they_close, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(queues_forget_what_is_too_much, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(plain_files_and_null_are_read_to_their_end, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(callers_descriptors_stay_blocking, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(full_output_is_refused_and_announced, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(socket_pairs_never_block, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(output_file_is_made_anew, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bad_paths_are_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(late_clients_see_what_was_written, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(one_client_at_a_time, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_a_leaving_client_sent_arrives, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(half_closed_clients_still_read, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(slow_clients_hold_the_device_back, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(stale_sockets_are_replaced_and_live_ones_are_not, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(none_takes_everything, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * HTTP requests to /metrics: any bytes, in any pieces, to a server on a Unix socket. What comes back begins as an
 * answer of HTTP does, and good requests beside and after it are answered.
 */
#include "fuzz-rig.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "monitor/metrics-server.h"

#define PIECES 8u
#define TEXT_MAX 8192u

struct service {
	char folder[64];
	struct sockaddr_un address;
	struct metrics_server *server;
	struct monitor *monitor;
	pthread_t thread;
	int end_fd;
};

static unsigned no_more(void *opaque, struct metrics_row row[METRICS_MORE_MAX])
{
	(void)opaque;
	(void)row;
	return 0;
}

static void *serve(void *opaque)
{
	struct service *service = opaque;
	assert(metrics_server_run(service->server, service->end_fd, NULL));
	return NULL;
}

/* Its own runtime directory: no guest of whoever runs this is asked. */
static void service_open(struct service *service)
{
	const struct metrics_more more = {.read = no_more};
	char where[128];
	(void)signal(SIGPIPE, SIG_IGN);
	strcpy(service->folder, "/tmp/nfold-fuzz-XXXXXX");
	assert(mkdtemp(service->folder) != NULL && setenv("XDG_RUNTIME_DIR", service->folder, 1) == 0);
	service->address.sun_family = AF_UNIX;
	(void)snprintf(service->address.sun_path, sizeof service->address.sun_path, "%s/socket", service->folder);
	(void)snprintf(where, sizeof where, "unix:%s", service->address.sun_path);
	service->monitor = monitor_create(NULL);
	service->server = metrics_server_create(service->monitor, &more, where, NULL);
	service->end_fd = eventfd(0, EFD_CLOEXEC);
	assert(service->server != NULL && service->end_fd >= 0);
	assert(pthread_create(&service->thread, NULL, serve, service) == 0);
}

static void service_close(struct service *service)
{
	const uint64_t end = 1;
	assert(write(service->end_fd, &end, sizeof end) == (ssize_t)sizeof end);
	assert(pthread_join(service->thread, NULL) == 0);
	metrics_server_destroy(service->server);
	monitor_destroy(service->monitor);
	close(service->end_fd);
	assert(rmdir(service->folder) == 0);
}

/* ---- a client ---- */

static int connect_to(const struct service *service)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(fd >= 0);
	while (connect(fd, (const struct sockaddr *)&service->address, sizeof service->address) != 0)
		assert(errno == EINTR);
	return fd;
}

/* Until the server ends it. The first bytes are kept. libFuzzer's timer interrupts now and then. */
static size_t read_all(int fd, char *start, size_t size)
{
	char more[4096];
	size_t used = 0;
	for (;;) {
		ssize_t got = used < size ? recv(fd, start + used, size - used, 0) : recv(fd, more, sizeof more, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return used;
		used += used < size ? (size_t)got : 0;
	}
}

static void check_good_request(const struct service *service)
{
	static const char request[] = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	static const char expected[] = "HTTP/1.1 200 ";
	char start[sizeof expected] = "";
	int fd = connect_to(service);
	assert(send(fd, request, sizeof request - 1, MSG_NOSIGNAL) == (ssize_t)(sizeof request - 1));
	assert(read_all(fd, start, sizeof start - 1) == sizeof start - 1);
	assert(strcmp(start, expected) == 0);
	close(fd);
}

/* ---- requests ---- */

/* Words of HTTP and other bytes. */
static size_t make_text(struct fuzz_rig *rig, char *text, size_t size)
{
	static const char *const words[] = {"GET ",
					    "HEAD ",
					    "POST ",
					    "/metrics",
					    "/",
					    "?a=b&c",
					    " HTTP/1.1\r\n",
					    " HTTP/1.0\r\n",
					    "Host: x\r\n",
					    "Accept: application/openmetrics-text\r\n",
					    "Content-Length: 5\r\n",
					    "Content-Length: 18446744073709551616\r\n",
					    "Transfer-Encoding: chunked\r\n",
					    "\r\n",
					    "5\r\nhello\r\n0\r\n\r\n",
					    "Connection: keep-alive\r\n",
					    "Expect: 100-continue\r\n",
					    "%2e%2e%00",
					    "X: ",
					    "\r\n \t"};
	size_t used = 0;
	while (rig->left > 0) {
		uint8_t choice = fuzz_byte(rig);
		size_t repeat = choice == 0xff ? fuzz_number(rig, 2) % 2000 : 1;
		const char other[2] = {(char)fuzz_byte(rig), '\0'};
		const char *word = choice < 0xe0 ? words[choice % (sizeof words / sizeof words[0])] : other;
		size_t length = choice < 0xe0 ? strlen(word) : 1;
		for (; repeat > 0 && used + length <= size; repeat--, used += length)
			memcpy(text + used, word, length);
	}
	return used;
}

static void send_in_pieces(int fd, const char *text, size_t size, unsigned pieces)
{
	size_t sent = 0, piece = size / pieces + 1;
	while (sent < size) {
		size_t now = size - sent < piece ? size - sent : piece;
		ssize_t put = send(fd, text + sent, now, MSG_NOSIGNAL);
		if (put <= 0 && errno != EINTR)
			return; /* it has enough */
		sent += put > 0 ? (size_t)put : 0;
	}
}

/* The socket holds all that is asked, so that nothing is sent while the server waits for its answers to be read. A
 * request that has not ended is waited for by the server: not here, but the good one beside it is answered. */
static void ask(const struct service *service, const char *text, size_t size, unsigned pieces)
{
	static const char begin[] = "HTTP/1.";
	char start[sizeof begin] = "";
	int fd = connect_to(service);
	send_in_pieces(fd, text, size, pieces);
	check_good_request(service);
	ssize_t got = recv(fd, start, sizeof start - 1, MSG_DONTWAIT);
	assert(got <= 0 || strncmp(start, begin, (size_t)got) == 0);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_rig rig = {.data = data, .left = size};
	struct service service = {0};
	static char text[TEXT_MAX];
	service_open(&service);
	uint8_t kind = fuzz_byte(&rig);
	size_t length = rig.left < sizeof text ? rig.left : sizeof text;
	if ((kind & 1) != 0)
		length = make_text(&rig, text, sizeof text);
	else
		memcpy(text, rig.data, length);
	ask(&service, text, length, 1 + kind / 2 % PIECES);
	check_good_request(&service); /* the first one is gone, in the middle of whatever it was */
	service_close(&service);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* Networks: offloads done in software, the ring of frames, the switch with real sockets, user mode with real ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/frame-ring.h"
#include "base/bits.h"
#include "network-double.h"

/* ---- frames ---- */

#define IP 14u
#define TCP 34u
#define DATA 54u

/* An IPv4 TCP frame with a payload that tells its place; the checksum is left out. */
static uint32_t make_tcp(uint8_t *frame, uint32_t payload)
{
	static const uint8_t head[] = {0x02, 0,	 0,  0, 0,    2,    0x02, 0,	0,    0,    0, 1, 0x08, 0x00,
				       0x45, 0,	 0,  0, 0x12, 0x34, 0x40, 0,	64,   6,    0, 0, 10,	0,
				       2,    15, 10, 0, 2,    2,    0x30, 0x39, 0x00, 0x50, 0, 0, 0x10, 0,
				       0,    0,	 0,  1, 0x50, 0x19, 0xff, 0xff, 0,    0,    0, 0};
	memcpy(frame, head, sizeof head);
	for (uint32_t i = 0; i < payload; i++)
		frame[DATA + i] = (uint8_t)(i * 13 + i / 251);
	uint32_t length = DATA - IP + payload;
	frame[IP + 2] = (uint8_t)(length >> 8);
	frame[IP + 3] = (uint8_t)length;
	return DATA + payload;
}

static struct network_frame large_frame(const uint8_t *bytes, uint32_t length, uint16_t size)
{
	return (struct network_frame){
	    .bytes = bytes,
	    .length = length,
	    .offload = {.segment = NETWORK_TCP4, .checksum = true, .size = size, .start = TCP, .offset = 16}};
}

/* RFC 1071, as its text has it: 16-bit big-endian words. */
static uint32_t words(const uint8_t *bytes, uint32_t length)
{
	uint32_t sum = 0;
	for (uint32_t i = 0; i < length; i++)
		sum += (uint32_t)bytes[i] << (i % 2 == 0 ? 8 : 0);
	return sum;
}

static uint16_t folded(uint32_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void assert_good_segment(const uint8_t *frame, uint32_t length)
{
	assert_int_equal(folded(words(&frame[IP], 20)), 0xffff);
	uint32_t tcp = words(&frame[IP + 12], 8) + 6 + (length - TCP) + words(&frame[TCP], length - TCP);
	assert_int_equal(folded(tcp), 0xffff);
	assert_int_equal(frame[IP + 2] << 8 | frame[IP + 3], length - IP);
}

struct collected {
	unsigned count, refuse_at;
	uint32_t bytes;
	uint8_t payload[70000];
	uint8_t flags[64];
	uint32_t sequence[64];
};

static bool collect(void *opaque, const struct network_frame *segment)
{
	struct collected *all = opaque;
	if (all->refuse_at == all->count + 1)
		return false;
	assert_true(all->count < 64);
	assert_good_segment(segment->bytes, segment->length);
	all->flags[all->count] = segment->bytes[TCP + 13];
	all->sequence[all->count++] = (uint32_t)segment->bytes[TCP + 4] << 24 |
				      (uint32_t)segment->bytes[TCP + 5] << 16 | (uint32_t)segment->bytes[TCP + 6] << 8 |
				      segment->bytes[TCP + 7];
	memcpy(all->payload + all->bytes, segment->bytes + DATA, segment->length - DATA);
	all->bytes += segment->length - DATA;
	return true;
}

static void cuts_large_frames(void **state)
{
	static uint8_t bytes[NETWORK_FRAME_MAX], scratch[NETWORK_FRAME_MAX];
	static struct collected all;
	(void)state;
	uint32_t payload = 5 * 1448 + 7;
	struct network_frame frame = large_frame(bytes, make_tcp(bytes, payload), 1448);
	assert_true(network_offload_check(&frame));
	assert_true(network_offload_cut(&frame, scratch, collect, &all));
	assert_int_equal(all.count, 6);
	assert_int_equal(all.bytes, payload);
	assert_memory_equal(all.payload, bytes + DATA, payload);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(all.sequence[i], 0x1000 + i * 1448);
		assert_int_equal(all.flags[i], i == 5 ? 0x19 : 0x10); /* FIN and PSH in the last only */
	}
	all = (struct collected){.refuse_at = 1};
	assert_false(network_offload_cut(&frame, scratch, collect, &all));
	all = (struct collected){.refuse_at = 3};
	assert_true(network_offload_cut(&frame, scratch, collect, &all)); /* has begun: the rest is lost */
	assert_int_equal(all.count, 2);
}

static void refuses_what_cannot_be(void **state)
{
	static uint8_t bytes[2000];
	(void)state;
	uint32_t length = make_tcp(bytes, 1900 - DATA);
	struct network_frame good = large_frame(bytes, length, 500), bad;
	assert_true(network_offload_check(&good));
	for (unsigned what = 0; what < 9; what++) {
		uint8_t copy[2000];
		memcpy(copy, bytes, sizeof copy);
		bad = good;
		bad.bytes = copy;
		switch (what) {
		case 0:
			bad.offload.size = 1;
			break;
		case 1:
			bad.offload.start = 33;
			break;
		case 2:
			bad.offload.start = 65535;
			break;
		case 3:
			bad.offload.segment = 3;
			break;
		case 4:
			bad.offload.segment = NETWORK_TCP6;
			break;
		case 5:
			copy[IP + 9] = 17;
			break;
		case 6:
			copy[TCP + 12] = 0x40;
			break;
		case 7:
			bad.length = TCP + 10;
			break;
		default:
			bad.offload.checksum = false;
			break;
		}
		assert_false(network_offload_check(&bad));
	}
	bad = (struct network_frame){
	    .bytes = bytes, .length = 100, .offload = {.checksum = true, .start = 90, .offset = 9}};
	assert_false(network_offload_check(&bad));
	bad.offload.offset = 8;
	assert_true(network_offload_check(&bad));
}

static bool front_receive(void *opaque, const struct network_frame *frame)
{
	struct network_double *front = opaque; /* used as a box */
	if (front->refuses)
		return false;
	front->sent++;
	front->length = frame->length;
	front->offload = frame->offload;
	memcpy(front->bytes, frame->bytes, frame->length);
	return true;
}

static void front_ready(void *opaque)
{
	((struct network_double *)opaque)->readies++;
}

static struct network_front front_of(struct network_double *box)
{
	return (struct network_front){.receive = front_receive, .send_ready = front_ready, .opaque = box};
}

static void does_what_the_other_side_does_not_take(void **state)
{
	static struct network_double back, box;
	static uint8_t bytes[4000];
	uint64_t counters[NETWORK_COUNTERS] = {0};
	const struct network_front front = front_of(&box);
	(void)state;
	network_double_init(&back, 0);
	network_set_counters(&back.base, counters);
	network_attach(&back.base, &front);
	struct network_frame frame = large_frame(bytes, make_tcp(bytes, 3000), 1448);
	assert_true(network_send(&back.base, &frame));
	assert_int_equal(back.sent, 3);
	assert_good_segment(back.bytes, back.length);
	back.base.takes = NETWORK_TAKES_TCP4;
	/* The guest's stack leaves the sum of the pseudo-header where the checksum goes. */
	uint32_t pseudo = folded(words(&bytes[IP + 12], 8) + 6 + (frame.length - TCP));
	bytes[TCP + 16] = (uint8_t)(pseudo >> 8);
	bytes[TCP + 17] = (uint8_t)pseudo;
	assert_true(network_send(&back.base, &frame));
	assert_int_equal(back.sent, 4);
	uint32_t tcp =
	    words(&back.bytes[IP + 12], 8) + 6 + (frame.length - TCP) + words(&back.bytes[TCP], frame.length - TCP);
	assert_int_equal(folded(tcp), 0xffff);
	assert_false(back.offload.checksum);
	back.base.takes |= NETWORK_TAKES_CHECKSUM;
	assert_true(network_send(&back.base, &frame));
	assert_true(back.offload.checksum);
	assert_true(network_deliver(&back.base, &frame));
	assert_int_equal(box.sent, 3);
	network_front_takes(&back.base, NETWORK_TAKES_CHECKSUM | NETWORK_TAKES_TCP4);
	assert_true(network_deliver(&back.base, &frame));
	assert_int_equal(box.sent, 4);
	assert_int_equal(box.offload.segment, NETWORK_TCP4);
	box.refuses = true;
	assert_false(network_deliver(&back.base, &frame));
	assert_int_equal(counters[NETWORK_SENT_FRAMES], 3);
	assert_int_equal(counters[NETWORK_SENT_BYTES], 3 * frame.length);
	assert_int_equal(counters[NETWORK_RECEIVED_FRAMES], 2);
	frame.length = 13;
	assert_true(network_send(&back.base, &frame));
	assert_int_equal(counters[NETWORK_SEND_DROPS], 1);
	network_close(&back.base);
}

static void ring_keeps_order_and_bounds(void **state)
{
	struct frame_ring ring;
	static uint8_t bytes[3000];
	struct network_frame frame = {.bytes = bytes}, got;
	uint32_t put = 0, taken = 0, random = 1;
	(void)state;
	assert_true(ring_init(&ring, 8192));
	for (unsigned i = 0; i < 20000; i++) {
		random = random * 1664525 + 1013904223;
		if (random >> 31 != 0) {
			frame.length = 14 + (put * 2654435761u >> 8) % 2900;
			memset(bytes, (int)put, frame.length);
			frame.offload.start = (uint16_t)put;
			put += ring_put(&ring, &frame);
		} else if (ring_peek(&ring, &got)) {
			assert_int_equal(got.offload.start, (uint16_t)taken);
			assert_int_equal(got.length, 14 + (taken * 2654435761u >> 8) % 2900);
			assert_int_equal(got.bytes[0], (uint8_t)taken);
			assert_int_equal(got.bytes[got.length - 1], (uint8_t)taken);
			ring_take(&ring);
			taken++;
		}
		assert_in_range(put - taken, 0, 8192 / 32);
		assert_in_range(ring_room(&ring), 0, 8192);
	}
	assert_true(taken > 5000);
	ring_free(&ring);
}

/* ---- an event loop for back ends ---- */

#define WATCHES 16

struct test_loop {
	pthread_mutex_t lock;
	struct {
		int fd; /* 0: free */
		uint32_t events;
		void (*ready)(void *opaque, int fd, uint32_t events);
		void *opaque;
	} watch[WATCHES];
};

static bool loop_watch(void *opaque, int fd, uint32_t events, void (*ready)(void *, int, uint32_t), void *ready_opaque)
{
	struct test_loop *loop = opaque;
	for (unsigned i = 0; i < WATCHES; i++) {
		if (loop->watch[i].fd != 0)
			continue;
		loop->watch[i].fd = fd;
		loop->watch[i].events = events;
		loop->watch[i].ready = ready;
		loop->watch[i].opaque = ready_opaque;
		return true;
	}
	return false;
}

static void loop_unwatch(void *opaque, int fd)
{
	struct test_loop *loop = opaque;
	for (unsigned i = 0; i < WATCHES; i++)
		if (loop->watch[i].fd == fd)
			loop->watch[i].fd = 0;
}

static void loop_lock(void *opaque)
{
	(void)pthread_mutex_lock(&((struct test_loop *)opaque)->lock);
}

static void loop_unlock(void *opaque)
{
	(void)pthread_mutex_unlock(&((struct test_loop *)opaque)->lock);
}

static struct network_host host_of(struct test_loop *loop)
{
	return (struct network_host){
	    .watch = loop_watch, .unwatch = loop_unwatch, .lock = loop_lock, .unlock = loop_unlock, .opaque = loop};
}

/* Serves what is ready, and waits up to the time for the first. Linux's poll and epoll bits are the same. */
static unsigned loop_run(struct test_loop *loop, int milliseconds)
{
	struct pollfd fds[WATCHES];
	unsigned served = 0;
	for (unsigned i = 0; i < WATCHES; i++)
		fds[i] = (struct pollfd){.fd = loop->watch[i].fd != 0 ? loop->watch[i].fd : -1,
					 .events = (short)loop->watch[i].events};
	(void)poll(fds, WATCHES, milliseconds);
	for (unsigned i = 0; i < WATCHES; i++) {
		if (fds[i].revents == 0 || loop->watch[i].fd != fds[i].fd)
			continue;
		loop->watch[i].ready(loop->watch[i].opaque, fds[i].fd, (uint32_t)fds[i].revents);
		served++;
	}
	return served;
}

static void loop_settle(struct test_loop *loop)
{
	while (loop_run(loop, 20) > 0)
		;
}

/* ---- the switch ---- */

#define PORTS 3

struct lab {
	struct test_loop loop;
	char folder[64];
	struct network *network[PORTS];
	struct network_double box[PORTS];
	uint64_t counters[PORTS][NETWORK_COUNTERS];
};

static struct network *join(struct lab *lab, unsigned i)
{
	const struct network_host host = host_of(&lab->loop);
	const struct network_front front = front_of(&lab->box[i]);
	struct error error = {0};
	struct network *network = network_open_switch(lab->folder, &host, &error);
	assert_string_equal(error.text, "");
	network_set_counters(network, lab->counters[i]);
	network_attach(network, &front);
	return network;
}

static unsigned files_in(const char *folder)
{
	unsigned count = 0;
	DIR *entries = opendir(folder);
	for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries))
		count += entry->d_name[0] != '.';
	(void)closedir(entries);
	return count;
}

static int lab_setup(void **state)
{
	struct lab *lab = test_calloc(1, sizeof *lab);
	(void)pthread_mutex_init(&lab->loop.lock, NULL);
	(void)snprintf(lab->folder, sizeof lab->folder, "%s/nfold-switch-XXXXXX", P_tmpdir);
	if (mkdtemp(lab->folder) == NULL)
		return -1;
	for (unsigned i = 0; i < PORTS; i++)
		lab->network[i] = join(lab, i);
	loop_settle(&lab->loop);
	*state = lab;
	return 0;
}

static int lab_teardown(void **state)
{
	struct lab *lab = *state;
	for (unsigned i = 0; i < PORTS; i++)
		network_close(lab->network[i]);
	for (unsigned i = 0; i < WATCHES; i++)
		assert_int_equal(lab->loop.watch[i].fd, 0);
	assert_int_equal(files_in(lab->folder), 0);
	(void)rmdir(lab->folder);
	test_free(lab);
	return 0;
}

/* Port i's adapter has the address 02:00:00:00:00:0i. */
static bool say(struct lab *lab, unsigned from, unsigned to, uint32_t length)
{
	static uint8_t bytes[NETWORK_FRAME_MAX];
	const struct network_frame frame = {.bytes = bytes, .length = length};
	memset(bytes, to == UINT32_MAX ? 0xff : 0, 12);
	if (to != UINT32_MAX) {
		bytes[0] = 2;
		bytes[5] = (uint8_t)to;
	}
	memset(bytes + 6, 0, 6);
	bytes[6] = 2;
	bytes[11] = (uint8_t)from;
	return network_send(lab->network[from], &frame);
}

static void switch_learns(void **state)
{
	struct lab *lab = *state;
	assert_true(say(lab, 0, 1, 100)); /* to nobody known: to all */
	loop_settle(&lab->loop);
	assert_int_equal(lab->box[1].sent, 1);
	assert_int_equal(lab->box[2].sent, 1);
	assert_int_equal(lab->box[0].sent, 0);
	assert_true(say(lab, 1, 0, 200));
	loop_settle(&lab->loop);
	assert_int_equal(lab->box[0].sent, 1);
	assert_int_equal(lab->box[0].length, 200);
	assert_int_equal(lab->box[2].sent, 1); /* was not asked */
	assert_true(say(lab, 0, 1, 65000));
	assert_true(say(lab, 2, UINT32_MAX, 60));
	loop_settle(&lab->loop);
	assert_int_equal(lab->box[1].sent, 3);
	assert_int_equal(lab->box[0].sent, 2);
	assert_int_equal(lab->box[2].sent, 1);
}

static void switch_carries_offloads(void **state)
{
	struct lab *lab = *state;
	static uint8_t bytes[4000];
	struct network_frame frame = large_frame(bytes, make_tcp(bytes, 3000), 1448);
	network_front_takes(lab->network[1], NETWORK_TAKES_CHECKSUM | NETWORK_TAKES_TCP4);
	assert_true(network_send(lab->network[0], &frame));
	loop_settle(&lab->loop);
	assert_int_equal(lab->box[1].sent, 1);
	assert_int_equal(lab->box[1].length, frame.length);
	const struct network_offload *got = &lab->box[1].offload, *sent = &frame.offload;
	assert_true(got->segment == sent->segment && got->checksum == sent->checksum && got->trusted == sent->trusted &&
		    got->size == sent->size && got->start == sent->start && got->offset == sent->offset);
	assert_int_equal(lab->box[2].sent, 3); /* takes none: gets segments */
	assert_good_segment(lab->box[2].bytes, lab->box[2].length);
}

static void switch_holds_back_and_gives_up(void **state)
{
	struct lab *lab = *state;
	assert_true(say(lab, 1, 0, 60));
	loop_settle(&lab->loop);
	lab->box[1].refuses = true;
	unsigned taken = 0;
	while (say(lab, 0, 1, 1000)) {
		assert_true(++taken < 100000);
		while (loop_run(&lab->loop, 0) > 0)
			;
	}
	assert_int_equal(lab->box[0].readies, 0);
	lab->box[1].refuses = false;
	network_receive_ready(lab->network[1]);
	loop_settle(&lab->loop);
	assert_true(lab->box[0].readies > 0);
	assert_int_equal(lab->box[1].sent, taken);
	/* Nobody reads for longer than our patience: frames are dropped, and we wait no longer. */
	lab->box[1].refuses = true;
	const uint64_t *drops = &lab->counters[0][NETWORK_SEND_DROPS];
	unsigned readies = lab->box[0].readies;
	for (unsigned i = 0; i < 50 && *drops == 0; i++) {
		while (*drops == 0 && say(lab, 0, 1, 1000))
			;
		(void)loop_run(&lab->loop, 100);
	}
	assert_true(*drops > 0);
	assert_true(lab->box[0].readies > readies);
	assert_true(say(lab, 0, 2, 1000)); /* others are not held up */
	loop_settle(&lab->loop);
	assert_true(lab->box[2].sent > 0);
	lab->box[1].refuses = false;
	network_receive_ready(lab->network[1]);
	loop_settle(&lab->loop);
}

/* A port whose process was killed leaves its file and its open peers behind. */
static void switch_survives_dead_ports(void **state)
{
	struct lab *lab = *state;
	assert_true(say(lab, 2, 0, 60));
	loop_settle(&lab->loop);
	struct sockaddr_un address;
	socklen_t length = sizeof address;
	char path[200];
	int fd = -1;
	for (unsigned i = 0; i < WATCHES; i++) /* the socket of port 2 */
		if (lab->loop.watch[i].fd != 0 && lab->loop.watch[i].opaque == lab->network[2] && fd < 0) {
			length = sizeof address;
			if (getsockname(lab->loop.watch[i].fd, (struct sockaddr *)&address, &length) == 0)
				fd = lab->loop.watch[i].fd;
		}
	assert_true(fd >= 0);
	(void)snprintf(path, sizeof path, "%s", address.sun_path);
	network_close(lab->network[2]);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	(void)close(fd); /* the file stays */
	assert_int_equal(files_in(lab->folder), 3);
	assert_true(say(lab, 0, 2, 60)); /* is refused, and forgotten */
	assert_int_equal(files_in(lab->folder), 2);
	lab->network[2] = join(lab, 2);
	unsigned before = lab->box[2].sent;
	loop_settle(&lab->loop);
	assert_true(say(lab, 0, 2, 60));
	loop_settle(&lab->loop);
	assert_int_equal(lab->box[2].sent, before + 1);
}

/* ---- user mode ---- */

static bool await(struct test_loop *loop, const unsigned *count, unsigned wanted)
{
	for (unsigned i = 0; i < 500; i++) {
		loop_lock(loop);
		bool there = *count >= wanted;
		loop_unlock(loop);
		if (there)
			return true;
		(void)poll(NULL, 0, 10);
	}
	return false;
}

static void user_mode_answers(void **state)
{
	/* Who has 10.0.2.2? Tell 10.0.2.15. (RFC 826) */
	static const uint8_t arp[] = {255, 255, 255, 255, 255, 255, 2, 0,  0, 0, 0,  1, 8, 6, 0, 1, 8, 0,  6, 4, 0,
				      1,   2,	0,   0,	  0,   0,   1, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2};
	static struct test_loop loop = {.lock = PTHREAD_MUTEX_INITIALIZER};
	static struct network_double box;
	const struct network_host host = host_of(&loop);
	const struct network_front front = front_of(&box);
	const struct network_frame frame = {.bytes = arp, .length = sizeof arp};
	struct error error = {0};
	struct network_user_config config = {.guest_name = "test", .mtu = NETWORK_MTU};
	(void)state;
	struct network *network = network_open_user(&config, &host, &error);
	assert_non_null(network);
	loop_lock(&loop);
	network_attach(network, &front);
	loop_unlock(&loop);
	assert_true(network_start(network, &error));
	loop_lock(&loop);
	assert_true(network_send(network, &frame));
	loop_unlock(&loop);
	for (unsigned i = 0; i < 20; i++) { /* it may send something of its own first */
		assert_true(await(&loop, &box.sent, i + 1));
		loop_lock(&loop);
		bool answer = box.bytes[12] == 8 && box.bytes[13] == 6;
		if (answer) {
			assert_int_equal(box.bytes[21], 2);
			assert_memory_equal(&box.bytes[28], "\x0a\x00\x02\x02", 4);
			i = 20;
		}
		loop_unlock(&loop);
	}
	network_stop(network);
	network_stop(network);
	network_close(network);
}

static void user_mode_says_which_port_is_taken(void **state)
{
	static struct test_loop loop = {.lock = PTHREAD_MUTEX_INITIALIZER};
	const struct network_host host = host_of(&loop);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	struct error error = {0};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	struct network_user_config config = {.guest_name = "test", .mtu = NETWORK_MTU, .forwards = 1};
	config.forward[0] = (struct network_forward){
	    .host_address = INADDR_LOOPBACK, .host_port = ntohs(address.sin_port), .guest_port = 80};
	assert_null(network_open_user(&config, &host, &error));
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_non_null(strstr(error.text, "127.0.0.1"));
	assert_non_null(strstr(error.text, "in use"));
	(void)close(fd);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cuts_large_frames),
	    cmocka_unit_test(refuses_what_cannot_be),
	    cmocka_unit_test(does_what_the_other_side_does_not_take),
	    cmocka_unit_test(ring_keeps_order_and_bounds),
	    LAB_TEST(switch_learns),
	    LAB_TEST(switch_carries_offloads),
	    LAB_TEST(switch_holds_back_and_gives_up),
	    LAB_TEST(switch_survives_dead_ports),
	    cmocka_unit_test(user_mode_answers),
	    cmocka_unit_test(user_mode_says_which_port_is_taken),
	};
	return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}

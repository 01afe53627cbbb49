/* SPDX-License-Identifier: MIT */
/*
 * The switch between guests: a port that gets datagrams of any content and length from a socket of the same folder, and
 * sends frames. It never offers the adapter a frame that is shorter than a header or longer than any, and at the end
 * nothing is watched and its file is gone.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/network.h"
#include "base/bits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WATCHES 80
#define MESSAGE_SIZE 32u

struct board {
	struct {
		int fd; /* 0: free */
		void (*ready)(void *opaque, int fd, uint32_t events);
		void *opaque;
	} watch[WATCHES];
	bool refuses;
};

static bool board_watch(void *opaque, int fd, uint32_t events, void (*ready)(void *, int, uint32_t), void *ready_opaque)
{
	struct board *board = opaque;
	(void)events;
	for (unsigned i = 0; i < WATCHES; i++) {
		if (board->watch[i].fd != 0)
			continue;
		board->watch[i].fd = fd;
		board->watch[i].ready = ready;
		board->watch[i].opaque = ready_opaque;
		return true;
	}
	return false;
}

static void board_unwatch(void *opaque, int fd)
{
	struct board *board = opaque;
	for (unsigned i = 0; i < WATCHES; i++)
		if (board->watch[i].fd == fd)
			board->watch[i].fd = 0;
}

static bool receive(void *opaque, const struct network_frame *frame)
{
	const struct board *board = opaque;
	uint8_t sum = 0;
	assert(frame->length >= NETWORK_HEADER_SIZE && frame->length <= NETWORK_FRAME_MAX);
	assert(!frame->offload.checksum && frame->offload.segment == NETWORK_WHOLE); /* this adapter takes neither */
	for (uint32_t i = 0; i < frame->length; i++)				     /* for sanitizers */
		sum ^= frame->bytes[i];
	return !board->refuses || sum == 0;
}

static void serve(struct board *board)
{
	for (unsigned i = 0; i < WATCHES; i++)
		if (board->watch[i].fd != 0)
			board->watch[i].ready(board->watch[i].opaque, board->watch[i].fd, 1);
}

static uint8_t next(const uint8_t **data, size_t *size)
{
	if (*size == 0)
		return 0;
	--*size;
	return *(*data)++;
}

/* A datagram: mostly with a good beginning, from a few senders, who do not exist or are this socket. */
static size_t make_datagram(uint8_t *bytes, const uint8_t **data, size_t *size, uint64_t own)
{
	uint8_t choice = next(data, size);
	size_t length = (size_t)next(data, size) << (choice & 7);
	for (size_t i = 0; i < length && i < MESSAGE_SIZE + 16; i++)
		bytes[i] = (choice & 0x18) == 0x18 && i < MESSAGE_SIZE ? 0 : next(data, size);
	if ((choice & 0x18) == 0)
		return length;
	store_le(bytes, 0x7773666e, 4);
	bytes[4] = 1;
	bytes[5] = choice & 0x20 ? 2 : bytes[5] & 3;
	store_le(&bytes[24], choice & 0x40 ? own : (choice & 0x87u), 8);
	return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[MESSAGE_SIZE + (255u << 7)];
	char folder[] = P_tmpdir "/nfold-fuzz-XXXXXX", own_path[64];
	struct board board = {.refuses = false};
	const struct network_host host = {.watch = board_watch, .unwatch = board_unwatch, .opaque = &board};
	const struct network_front front = {.receive = receive, .opaque = &board};
	struct sockaddr_un address = {.sun_family = AF_UNIX}, own = {.sun_family = AF_UNIX};
	socklen_t address_size = sizeof address;
	assert(mkdtemp(folder) != NULL);
	(void)snprintf(own_path, sizeof own_path, "%s/00000000000000aa", folder);
	strcpy(own.sun_path, own_path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert(fd >= 0 && bind(fd, (struct sockaddr *)&own, sizeof own) == 0);
	struct network *network = network_open_switch(folder, &host, NULL);
	assert(network != NULL);
	network_attach(network, &front);
	for (unsigned i = 0; i < WATCHES; i++)
		if (board.watch[i].fd != 0 &&
		    getsockname(board.watch[i].fd, (struct sockaddr *)&address, &address_size) != 0)
			address_size = sizeof address;
	while (size > 0) {
		uint8_t action = next(&data, &size);
		size_t length = make_datagram(bytes, &data, &size, 0xaa);
		if (action < 0xc0) {
			(void)sendto(fd, bytes, length, 0, (struct sockaddr *)&address, sizeof address);
			serve(&board);
		} else if (action < 0xe0) {
			const struct network_frame frame = {.bytes = bytes, .length = (uint32_t)length};
			(void)network_send(network, &frame);
			while (recv(fd, bytes, sizeof bytes, 0) >= 0)
				;
		} else {
			board.refuses = (action & 1) != 0;
			network_receive_ready(network);
		}
	}
	network_close(network);
	(void)close(fd);
	for (unsigned i = 0; i < WATCHES; i++)
		assert(board.watch[i].fd == 0);
	assert(access(address.sun_path, F_OK) != 0);
	(void)unlink(own_path);
	(void)rmdir(folder);
	return 0;
}

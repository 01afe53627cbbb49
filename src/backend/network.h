/* SPDX-License-Identifier: MIT */
/*
 * Networks: what a network adapter sends Ethernet frames to and receives them from.
 *
 * A network joins one adapter (the front) to a back end: user mode (libslirp), a TAP device, a switch between guests,
 * or nothing. A frame begins with its Ethernet header and has no FCS. Its bytes belong to the caller and are valid
 * during the call only.
 *
 * Offloads. A frame may still need work that hardware can do: a checksum, or to be cut into TCP segments. Front
 * and back end each say what they take (`takes`); network_send() and network_deliver() do the rest in between, so that
 * neither sees a frame that it does not understand. What a frame says of itself is not believed: it is checked here.
 *
 * Back-pressure, both ways alike: who has no room refuses a frame and says so later (send_ready,
 * network_receive_ready); the other offers the frame again then, or drops it and counts that.
 *
 * Threading: every call but network_stop() is made with the machine's device lock held, or while there are no other
 * threads. A back end's own thread takes the lock for its calls.
 */
#ifndef NFOLD_BACKEND_NETWORK_H
#define NFOLD_BACKEND_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define NETWORK_MAC_SIZE 6u
#define NETWORK_HEADER_SIZE 14u
#define NETWORK_FRAME_MIN 60u	 /* on the wire, without FCS: adapters pad shorter ones */
#define NETWORK_FRAME_MAX 65553u /* Ethernet header, VLAN tag, the longest IP packet */
#define NETWORK_MTU 1500u
#define NETWORK_MTU_LARGE 65520u /* where no wire limits it */

enum network_segment { NETWORK_WHOLE, NETWORK_TCP4, NETWORK_TCP6 };

/* What is left to do. All zero: nothing. */
struct network_offload {
	uint8_t segment; /* enum network_segment: to be cut into TCP segments ... */
	bool checksum;	 /* a checksum from `start` to the end is to be put at `start + offset` */
	bool trusted;	 /* checksums are known to be good: nobody needs to look */
	uint16_t size;	 /* ... of at most so many bytes of payload */
	uint16_t start;	 /* of the TCP or UDP header */
	uint16_t offset; /* of the checksum in it */
};

struct network_frame {
	const uint8_t *bytes;
	uint32_t length;
	struct network_offload offload;
};

enum network_takes {
	NETWORK_TAKES_CHECKSUM = 1, /* frames without their checksums */
	NETWORK_TAKES_TCP4 = 2,	    /* large TCP frames */
	NETWORK_TAKES_TCP6 = 4,
};

/* From the guest's side. */
enum network_counter {
	NETWORK_RECEIVED_FRAMES,
	NETWORK_RECEIVED_BYTES,
	NETWORK_RECEIVE_DROPS,
	NETWORK_SENT_FRAMES,
	NETWORK_SENT_BYTES,
	NETWORK_SEND_DROPS,
	NETWORK_COUNTERS
};

/* The adapter. */
struct network_front {
	bool (*receive)(void *opaque, const struct network_frame *frame); /* false: no room */
	void (*send_ready)(void *opaque);				  /* after a refused network_send() */
	void *opaque;
};

struct network;

/* What the machine lends a back end: its event loop, which calls ready() with the device lock held, and the lock. */
struct network_host {
	bool (*watch)(void *opaque, int fd, uint32_t epoll_events,
		      void (*ready)(void *ready_opaque, int fd, uint32_t epoll_events), void *ready_opaque);
	void (*unwatch)(void *opaque, int fd);
	void (*lock)(void *opaque);
	void (*unlock)(void *opaque);
	void *opaque;
};

/* host_address is in the host's byte order. */
struct network_forward {
	bool udp;
	uint32_t host_address;
	uint16_t host_port, guest_port;
};

#define NETWORK_FORWARDS_MAX 32u

struct network_user_config {
	const char *guest_name; /* the host name that DHCP gives */
	unsigned mtu;		/* up to NETWORK_MTU_LARGE */
	struct network_forward forward[NETWORK_FORWARDS_MAX];
	unsigned forwards;
};

struct network *network_open_none(struct error *error);
/* NAT by libslirp: 10.0.2.0/24 with DHCP, gateway 10.0.2.2 (the host's loopback), DNS 10.0.2.3. */
struct network *network_open_user(const struct network_user_config *config, const struct network_host *host,
				  struct error *error);
/* A switch between the guests of this user, in a directory of its own: see network-switch.c. */
struct network *network_open_switch(const char *directory, const struct network_host *host, struct error *error);
/* A TAP device that exists and that this user may open, or a new one on a bridge. */
struct network *network_open_tap(const char *interface, const struct network_host *host, struct error *error);
struct network *network_open_bridge(const char *bridge, const struct network_host *host, struct error *error);

/* Makes the threads that it needs: until then none, and nothing comes from the host. */
bool network_start(struct network *network, struct error *error);
/* No call to the front comes after it. Called without the device lock. */
void network_stop(struct network *network);
void network_close(struct network *network); /* stopped */

/* Words of enum network_counter, which the caller keeps; written under the device lock. */
void network_set_counters(struct network *network, uint64_t *counters);

/* Called for each frame that the guest received or sent. */
typedef void network_watcher_function(void *opaque, bool received, uint32_t length);
void network_set_watcher(struct network *network, network_watcher_function *watcher, void *opaque);

/* Frames come from here on. NULL: no longer. A network without a front drops what comes. */
void network_attach(struct network *network, const struct network_front *front);
void network_front_takes(struct network *network, unsigned takes); /* enum network_takes; a front begins with none */
unsigned network_mtu(const struct network *network);
bool network_link(const struct network *network); /* a cable is plugged in: false only for no network */

/* Returns false, and the frame is as before, when there is no room: send_ready() will say when. */
bool network_send(struct network *network, const struct network_frame *frame);
void network_receive_ready(struct network *network);
/* The front gives a frame up, either way. */
void network_count_drop(struct network *network, bool received);

#endif

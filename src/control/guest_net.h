/* SPDX-License-Identifier: MIT */
/* The option --net: what one network adapter is and what it is connected to. */
#ifndef NFOLD_CONTROL_GUEST_NET_H
#define NFOLD_CONTROL_GUEST_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define GUEST_NETS_MAX 8
#define GUEST_FORWARDS_MAX 32
#define GUEST_NET_NAME_MAX 64

enum guest_net_kind {
	GUEST_NET_USER,
	GUEST_NET_NONE,
	GUEST_NET_TAP,
	GUEST_NET_BRIDGE,
	GUEST_NET_SWITCH,
	GUEST_NET_KINDS
};
enum guest_net_model { GUEST_NET_PCNET, GUEST_NET_VIRTIO, GUEST_NET_MODELS };

/* From a port of the host to the guest. The address is in the host's byte order. */
struct guest_forward {
	bool udp;
	uint32_t address;
	uint16_t host_port, guest_port;
};

struct guest_net {
	enum guest_net_kind kind;
	enum guest_net_model model;
	char name[GUEST_NET_NAME_MAX + 1]; /* of the interface, bridge or switch */
	bool mac_given;
	uint8_t mac[6];
	struct guest_forward forward[GUEST_FORWARDS_MAX];
	unsigned forwards;
};

extern const char *const guest_net_kind_name[GUEST_NET_KINDS];
extern const char *const guest_net_model_name[GUEST_NET_MODELS];

/* Reads what was given to --net. */
bool guest_net_read(const char *text, struct guest_net *net, struct error *error);

/* The address of adapter `number` where none is given: always the same for the same name, and hardly ever for another.
 */
void guest_net_make_mac(const char *guest, unsigned number, uint8_t mac[6]);

#endif

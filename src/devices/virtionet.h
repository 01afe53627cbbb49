/* SPDX-License-Identifier: MIT */
/*
 * Virtio network adapter (virtio.h), device ID 1.
 *
 *   receive queue   <-- network (backend/network.h)
 *   transmit queue  --> network
 *   control queue       receive mode, addresses
 *
 * Implemented: checksum and TCP segmentation offload both ways, as far as the guest accepts them; mergeable receive
 * buffers; MAC address, link status, MTU where the network has a large one; control queue with receive modes,
 * address tables and the address itself.
 *
 * A frame for which the guest has no buffers waits until it has. Until the guest sets a receive mode, the adapter takes
 * all frames.
 *
 * Not implemented: several queue pairs, UDP fragmentation and segmentation, ECN with segmentation, VLAN filter,
 * announcements, receive-side scaling, changing offloads at run time.
 *
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, OASIS, section 5.1.
 */
#ifndef NFOLD_DEVICES_VIRTIONET_H
#define NFOLD_DEVICES_VIRTIONET_H

#include "backend/network.h"
#include "devices/pci.h"
#include "io/clock.h"
#include "memory/memory.h"

struct virtionet;

struct virtionet_config {
	struct pci_bus *bus;
	unsigned device;
	struct clock *clock;
	struct memory *memory;
	struct network *network; /* the caller's */
	uint8_t mac[NETWORK_MAC_SIZE];
};

struct virtionet *virtionet_create(const struct virtionet_config *config, struct error *error);
void virtionet_destroy(struct virtionet *net); /* the network is stopped */
void virtionet_reset(struct virtionet *net);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * TAP devices: the guest's adapter is an interface of the host.
 *
 * A device that exists is opened by name: its owner may, without privileges. On a bridge a new one is made, which needs
 * CAP_NET_ADMIN; who has not got that is helped by the bridge helper that QEMU installs, a process of its own
 * which its administrator has told who may use which bridge (bridge.conf).
 *
 * Frames carry Linux's virtio_net_hdr in front, so checksums and segmentation are left to whoever can do them best.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/network-impl.h"

#define TUN_PATH "/dev/net/tun"
#define BATCH 64u
#define HELPER_SECONDS 10

static const char *const helpers[] = {"/usr/lib/qemu/qemu-bridge-helper", "/usr/libexec/qemu-bridge-helper"};

struct tap_network {
	struct network base;
	struct network_host host;
	int fd;
	bool watched;
	bool reading;
	bool pending; /* the frame in `buffer` was refused */
	size_t pending_length;
	uint8_t buffer[sizeof(struct virtio_net_hdr) + NETWORK_FRAME_MAX];
};

static struct tap_network *tap_of(struct network *network)
{
	return (struct tap_network *)network;
}

/* ---- frames ---- */

/* syscall network-tap: ioctl[1=TUNSETOFFLOAD] -- what the guest's adapter takes */
static bool tap_send(struct network *network, const struct network_frame *frame)
{
	static const uint8_t segments[] = {[NETWORK_WHOLE] = VIRTIO_NET_HDR_GSO_NONE,
					   [NETWORK_TCP4] = VIRTIO_NET_HDR_GSO_TCPV4,
					   [NETWORK_TCP6] = VIRTIO_NET_HDR_GSO_TCPV6};
	const struct network_offload *offload = &frame->offload;
	struct virtio_net_hdr header = {.flags = offload->checksum  ? VIRTIO_NET_HDR_F_NEEDS_CSUM
						 : offload->trusted ? VIRTIO_NET_HDR_F_DATA_VALID
								    : 0,
					.gso_type = segments[offload->segment]};
	if (offload->checksum) {
		header.csum_start = offload->start;
		header.csum_offset = offload->offset;
	}
	if (offload->segment != NETWORK_WHOLE) {
		header.gso_size = offload->size;
		header.hdr_len = (uint16_t)(offload->start + 4 * (frame->bytes[offload->start + 12] >> 4));
	}
	const struct iovec parts[2] = {{.iov_base = &header, .iov_len = sizeof header},
				       {.iov_base = (void *)(uintptr_t)frame->bytes, .iov_len = frame->length}};
	/* An interface that is down, or whose queue is full, loses frames, as a wire does. */
	if (writev(tap_of(network)->fd, parts, 2) < 0)
		network_count_drop(network, false);
	return true;
}

static bool take_frame(struct tap_network *tap, size_t length)
{
	struct virtio_net_hdr header;
	if (length < sizeof header)
		return true;
	memcpy(&header, tap->buffer, sizeof header);
	struct network_frame frame = {.bytes = tap->buffer + sizeof header,
				      .length = (uint32_t)(length - sizeof header),
				      .offload = {.checksum = (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0,
						  .trusted = (header.flags & VIRTIO_NET_HDR_F_DATA_VALID) != 0,
						  .segment = header.gso_type == VIRTIO_NET_HDR_GSO_TCPV4 ? NETWORK_TCP4
							     : header.gso_type == VIRTIO_NET_HDR_GSO_TCPV6
								 ? NETWORK_TCP6
								 : NETWORK_WHOLE,
						  .size = header.gso_size,
						  .start = header.csum_start,
						  .offset = header.csum_offset}};
	return network_deliver(&tap->base, &frame);
}

static void tap_is_readable(void *opaque, int fd, uint32_t events);

static void rewatch(struct tap_network *tap)
{
	bool wanted = !tap->pending;
	if (tap->watched && !wanted)
		tap->host.unwatch(tap->host.opaque, tap->fd);
	if (!tap->watched && wanted)
		wanted = tap->host.watch(tap->host.opaque, tap->fd, EPOLLIN, tap_is_readable, tap);
	tap->watched = wanted;
}

static void tap_read(struct tap_network *tap)
{
	if (tap->reading)
		return;
	tap->reading = true;
	if (tap->pending)
		tap->pending = !take_frame(tap, tap->pending_length);
	for (unsigned i = 0; i < BATCH && !tap->pending; i++) {
		ssize_t got = read(tap->fd, tap->buffer, sizeof tap->buffer);
		if (got < 0)
			break;
		tap->pending_length = (size_t)got;
		tap->pending = !take_frame(tap, (size_t)got);
	}
	rewatch(tap);
	tap->reading = false;
}

/* A device that was deleted reports an error for ever: nothing comes any more. */
static void tap_is_readable(void *opaque, int fd, uint32_t events)
{
	struct tap_network *tap = opaque;
	if ((events & EPOLLERR) != 0) {
		tap->host.unwatch(tap->host.opaque, fd);
		tap->watched = false;
		return;
	}
	tap_read(tap);
}

static void tap_receive_ready(struct network *network)
{
	struct tap_network *tap = tap_of(network);
	if (tap->pending)
		tap_read(tap);
}

/* What the adapter takes is what the host need not do. */
static void tap_front_changed(struct network *network)
{
	unsigned takes = network->front_takes, offload = 0;
	if ((takes & NETWORK_TAKES_CHECKSUM) != 0)
		offload = TUN_F_CSUM | ((takes & NETWORK_TAKES_TCP4) != 0 ? TUN_F_TSO4 : 0) |
			  ((takes & NETWORK_TAKES_TCP6) != 0 ? TUN_F_TSO6 : 0);
	(void)ioctl(tap_of(network)->fd, TUNSETOFFLOAD, (unsigned long)offload); /* else network_deliver() does it */
}

/* ---- life ---- */

static void tap_close(struct network *network)
{
	struct tap_network *tap = tap_of(network);
	if (tap->watched)
		tap->host.unwatch(tap->host.opaque, tap->fd);
	if (tap->fd >= 0)
		(void)close(tap->fd);
	network_release(network);
	free(tap);
}

static const struct network_ops tap_ops = {
    .send = tap_send, .receive_ready = tap_receive_ready, .front_changed = tap_front_changed, .close = tap_close};

/* Takes over the descriptor, also on failure. */
static struct network *tap_create(int fd, const struct network_host *host, struct error *error)
{
	struct tap_network *tap = calloc(1, sizeof *tap);
	if (tap == NULL) {
		(void)close(fd);
		(void)error_set(error, ERROR_HOST, "out of memory for a network");
		return NULL;
	}
	network_init(&tap->base, &tap_ops, NETWORK_TAKES_CHECKSUM | NETWORK_TAKES_TCP4 | NETWORK_TAKES_TCP6,
		     NETWORK_MTU);
	tap->host = *host;
	tap->fd = fd;
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	int size = (int)sizeof(struct virtio_net_hdr);
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) != 0) {
		(void)error_set_errno(error, "the TAP device does not take frames with headers");
	} else {
		tap_front_changed(&tap->base);
		rewatch(tap);
		if (tap->watched)
			return &tap->base;
		(void)error_set(error, ERROR_HOST, "cannot wait for frames of the TAP device");
	}
	tap_close(&tap->base);
	return NULL;
}

/* The name may be a pattern, and is the device's afterwards. Returns a descriptor, or -1 with errno. */
static int tap_open(char name[IFNAMSIZ])
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open(TUN_PATH, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	memcpy(request.ifr_name, name, IFNAMSIZ);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) == 0) {
		memcpy(name, request.ifr_name, IFNAMSIZ);
		return fd;
	}
	int why = errno;
	(void)close(fd);
	errno = why;
	return -1;
}

static bool copy_name(char to[IFNAMSIZ], const char *name)
{
	memset(to, 0, IFNAMSIZ);
	return (size_t)snprintf(to, IFNAMSIZ, "%s", name) < IFNAMSIZ;
}

struct network *network_open_tap(const char *interface, const struct network_host *host, struct error *error)
{
	char name[IFNAMSIZ];
	if (!copy_name(name, interface) || if_nametoindex(name) == 0) {
		(void)error_set(
		    error, ERROR_INPUT,
		    "there is no interface %.64s: 'ip tuntap add dev %.15s mode tap user $USER' as root makes "
		    "one",
		    interface, interface);
		return NULL;
	}
	int fd = tap_open(name);
	if (fd >= 0)
		return tap_create(fd, host, error);
	if (errno == EPERM || errno == EACCES)
		(void)error_set(error, ERROR_INPUT,
				"you may not use %s: 'ip tuntap add dev %s mode tap user $USER' as root makes it yours",
				name, name);
	else if (errno == EBUSY)
		(void)error_set(error, ERROR_INPUT, "%s is in use by another process", name);
	else if (errno == EINVAL)
		(void)error_set(error, ERROR_INPUT, "%s is not a TAP device", name);
	else
		(void)error_set_errno(error, "cannot use %s by way of " TUN_PATH, name);
	return NULL;
}

/* ---- bridges ---- */

/* With the privilege: a device of our own, up, on the bridge. It goes with its descriptor. */
static int bridge_join(const char *bridge)
{
	char name[IFNAMSIZ] = "nfold%d";
	int fd = tap_open(name);
	int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_ifindex = (int)if_nametoindex(name)};
	struct ifreq flags = {0};
	memcpy(flags.ifr_name, name, IFNAMSIZ);
	(void)copy_name(request.ifr_name, bridge);
	bool good = fd >= 0 && control >= 0 && ioctl(control, SIOCBRADDIF, &request) == 0 &&
		    ioctl(control, SIOCGIFFLAGS, &flags) == 0;
	flags.ifr_flags = (short)(flags.ifr_flags | IFF_UP);
	good = good && ioctl(control, SIOCSIFFLAGS, &flags) == 0;
	int why = errno;
	if (control >= 0)
		(void)close(control);
	if (!good && fd >= 0)
		(void)close(fd);
	errno = why;
	return good ? fd : -1;
}

/* One descriptor that the other end sends, or -1. */
static int receive_descriptor(int socket_fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	int fd = -1;
	if (recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC) <= 0)
		return -1;
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(sizeof fd))
		memcpy(&fd, CMSG_DATA(header), sizeof fd);
	return fd;
}

/* The helper sends its TAP device over the socket that it finds as descriptor 3. */
static int run_helper(const char *helper, const char *bridge)
{
	int pair[2], fd = -1, status;
	char bridge_word[IFNAMSIZ + 8];
	(void)snprintf(bridge_word, sizeof bridge_word, "--br=%s", bridge);
	char *words[] = {(char *)(uintptr_t)helper, (char *)(uintptr_t) "--use-vnet", (char *)(uintptr_t) "--fd=3",
			 bridge_word, NULL};
	char *const environment[] = {NULL};
	const struct timeval patience = {.tv_sec = HELPER_SECONDS};
	posix_spawn_file_actions_t actions;
	pid_t child;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	(void)setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_adddup2(&actions, pair[1], 3);
	bool started = posix_spawn(&child, helper, &actions, NULL, words, environment) == 0;
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(pair[1]);
	if (started) {
		fd = receive_descriptor(pair[0]);
		if (fd < 0)
			(void)kill(child, SIGKILL);
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
	}
	(void)close(pair[0]);
	return fd;
}

static int bridge_by_helper(const char *bridge)
{
	for (size_t i = 0; i < sizeof helpers / sizeof helpers[0]; i++)
		if (access(helpers[i], X_OK) == 0)
			return run_helper(helpers[i], bridge);
	return -1;
}

struct network *network_open_bridge(const char *bridge, const struct network_host *host, struct error *error)
{
	char name[IFNAMSIZ];
	if (!copy_name(name, bridge) || if_nametoindex(name) == 0) {
		(void)error_set(error, ERROR_INPUT, "there is no bridge %.64s", bridge);
		return NULL;
	}
	int fd = bridge_join(name);
	int why = errno;
	if (fd < 0 && (why == EPERM || why == EACCES))
		fd = bridge_by_helper(name);
	if (fd >= 0)
		return tap_create(fd, host, error);
	if (why == EPERM || why == EACCES)
		(void)error_set(error, ERROR_INPUT,
				"you may not put an adapter on %s: install qemu-bridge-helper and allow the bridge in "
				"/etc/qemu/bridge.conf, or use --net tap=NAME",
				name);
	else
		(void)error_set(error, ERROR_INPUT, "cannot put an adapter on %s: %s", name, strerror(why));
	return NULL;
}

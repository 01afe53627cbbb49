/* SPDX-License-Identifier: MIT */
/*
 * The user mode network: a TCP/IP stack in this process (libslirp) that turns what the guest does into sockets of
 * this user. It needs no privilege and no configuration of the host.
 *
 * Theory of operation. libslirp is not thread-safe, so one thread does all of it, and the guest runs beside it:
 *
 *   adapter --send--> [to_host] --> thread: slirp_input()
 *   adapter <-receive- [to_guest] <-- thread: send_packet()       sockets <--> thread: poll()
 *
 * to_host is filled under the device lock and emptied by the thread; `mutex` guards it and the flags. to_guest is the
 * thread's own; it takes the device lock to give a batch of frames to the adapter. The thread holds no lock while
 * it is in libslirp or sleeps.
 *
 * `asleep` spares wake-ups: who puts something before the thread writes to the eventfd only if it is set. The thread
 * sets it, looks once more, and then sleeps.
 *
 * A full to_host refuses frames: the adapter waits. While to_guest is half full, sockets are not read: their senders
 * wait. What comes all the same is dropped, and TCP sends it again.
 *
 * libslirp takes large TCP frames as they are, so only their checksums are missing, and its own frames are known good.
 * An adapter that takes long frames is given an MTU of 65,520: nothing here has a wire's limit.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "backend/frame-ring.h"
#include "backend/network-impl.h"

#define RING_SIZE (UINT32_C(1) << 20)
#define RING_HALF (RING_SIZE / 2)
#define NETWORK_ADDRESS 0x0a000200u /* 10.0.2.0/24, as users of other hosts know it */
#define NETWORK_MASK 0xffffff00u
#define HOST_ADDRESS 0x0a000202u
#define DNS_ADDRESS 0x0a000203u
#define GUEST_ADDRESS 0x0a00020fu
#define PREFIX6_LENGTH 64u
#define MILLISECOND INT64_C(1000000)
#define SLEEP_MAX_MS 60000u
#define STACK_SIZE (UINT32_C(256) << 10)

struct user_timer {
	struct user_timer *next;
	SlirpTimerCb function;
	void *opaque;
	int64_t expires_ms; /* INT64_MAX: not set */
};

struct user_network {
	struct network base;
	struct network_host host;
	pthread_t thread;
	bool running; /* there is a thread */
	int wake_fd;

	pthread_mutex_t mutex; /* to_host and the flags */
	struct frame_ring to_host;
	bool stop, asleep;
	bool refused;	  /* the adapter waits for room in to_host */
	bool guest_ready; /* the adapter has room again */

	/* The thread's own. */
	Slirp *slirp;
	struct frame_ring to_guest;
	bool guest_full; /* until guest_ready */
	uint64_t lost;	 /* frames that found no room in to_guest */
	struct user_timer *timers;
	struct pollfd *poll;
	unsigned polls, poll_room;
};

static struct user_network *user_of(struct network *network)
{
	return (struct user_network *)network;
}

/* ---- the adapter's side, with the device lock held ---- */

/* The mutex is held. */
static bool must_wake(struct user_network *user)
{
	bool asleep = user->asleep;
	user->asleep = false;
	return asleep;
}

static void wake(const struct user_network *user)
{
	uint64_t one = 1;
	ssize_t put = write(user->wake_fd, &one, sizeof one);
	(void)put; /* full means that it is awake */
}

static bool user_send(struct network *network, const struct network_frame *frame)
{
	struct user_network *user = user_of(network);
	(void)pthread_mutex_lock(&user->mutex);
	bool taken = ring_put(&user->to_host, frame);
	if (!taken)
		user->refused = true;
	bool sleeps = must_wake(user);
	(void)pthread_mutex_unlock(&user->mutex);
	if (sleeps)
		wake(user);
	return taken;
}

static void user_receive_ready(struct network *network)
{
	struct user_network *user = user_of(network);
	(void)pthread_mutex_lock(&user->mutex);
	user->guest_ready = true;
	bool sleeps = must_wake(user);
	(void)pthread_mutex_unlock(&user->mutex);
	if (sleeps)
		wake(user);
}

/* ---- what libslirp calls, on the thread ---- */

static int64_t now_ns(void *opaque)
{
	struct timespec now;
	(void)opaque;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static ssize_t packet_for_guest(const void *bytes, size_t length, void *opaque)
{
	struct user_network *user = opaque;
	const struct network_frame frame = {.bytes = bytes, .length = (uint32_t)length, .offload.trusted = true};
	if (length > NETWORK_FRAME_MAX || !ring_put(&user->to_guest, &frame))
		user->lost++;
	return (ssize_t)length;
}

static void guest_error(const char *message, void *opaque)
{
	(void)message; /* the guest's own affair */
	(void)opaque;
}

static void *timer_new(SlirpTimerCb function, void *function_opaque, void *opaque)
{
	struct user_network *user = opaque;
	struct user_timer *timer = malloc(sizeof *timer);
	if (timer == NULL)
		return NULL;
	*timer = (struct user_timer){
	    .next = user->timers, .function = function, .opaque = function_opaque, .expires_ms = INT64_MAX};
	user->timers = timer;
	return timer;
}

static void timer_free(void *timer, void *opaque)
{
	struct user_network *user = opaque;
	struct user_timer **link = &user->timers;
	while (*link != NULL && *link != timer)
		link = &(*link)->next;
	if (*link != NULL)
		*link = (*link)->next;
	free(timer);
}

static void timer_set(void *timer, int64_t expires_ms, void *opaque)
{
	(void)opaque;
	if (timer != NULL)
		((struct user_timer *)timer)->expires_ms = expires_ms;
}

/* Each round asks libslirp for all of its descriptors. */
static void ignore_fd(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

static void ignore_notice(void *opaque)
{
	(void)opaque;
}

static const SlirpCb callbacks = {.send_packet = packet_for_guest,
				  .guest_error = guest_error,
				  .clock_get_ns = now_ns,
				  .timer_new = timer_new,
				  .timer_free = timer_free,
				  .timer_mod = timer_set,
				  .register_poll_fd = ignore_fd,
				  .unregister_poll_fd = ignore_fd,
				  .notify = ignore_notice};

/* libslirp's names of poll(2)'s bits. */
static const struct {
	int slirp;
	short poll;
} poll_bits[] = {{SLIRP_POLL_IN, POLLIN},
		 {SLIRP_POLL_OUT, POLLOUT},
		 {SLIRP_POLL_PRI, POLLPRI},
		 {SLIRP_POLL_ERR, POLLERR},
		 {SLIRP_POLL_HUP, POLLHUP}};
#define POLL_BITS (sizeof poll_bits / sizeof poll_bits[0])

/* A descriptor for which there is no memory is reported as not ready. */
static int add_poll(int fd, int events, void *opaque)
{
	struct user_network *user = opaque;
	short wanted = 0;
	for (size_t i = 0; i < POLL_BITS; i++)
		if ((events & poll_bits[i].slirp) != 0)
			wanted = (short)(wanted | poll_bits[i].poll);
	if (user->polls == user->poll_room) {
		unsigned room = user->poll_room * 2;
		struct pollfd *more = realloc(user->poll, room * sizeof *more);
		if (more == NULL)
			return -1;
		user->poll = more;
		user->poll_room = room;
	}
	user->poll[user->polls] = (struct pollfd){.fd = fd, .events = wanted};
	return (int)user->polls++;
}

static int poll_result(int index, void *opaque)
{
	const struct user_network *user = opaque;
	int result = 0;
	if (index < 0 || (unsigned)index >= user->polls)
		return 0;
	for (size_t i = 0; i < POLL_BITS; i++)
		if ((user->poll[index].revents & poll_bits[i].poll) != 0)
			result |= poll_bits[i].slirp;
	return result;
}

/* ---- the thread ---- */

static void run_timers(struct user_network *user)
{
	int64_t now = now_ns(NULL) / MILLISECOND;
	for (struct user_timer *timer = user->timers, *next; timer != NULL; timer = next) {
		next = timer->next;
		if (timer->expires_ms > now)
			continue;
		timer->expires_ms = INT64_MAX;
		timer->function(timer->opaque);
	}
}

static int sleep_ms(const struct user_network *user, uint32_t limit)
{
	int64_t now = now_ns(NULL) / MILLISECOND;
	int64_t least = limit < SLEEP_MAX_MS ? limit : SLEEP_MAX_MS;
	for (const struct user_timer *timer = user->timers; timer != NULL; timer = timer->next)
		if (timer->expires_ms - now < least)
			least = timer->expires_ms - now;
	return least > 0 ? (int)least : 0;
}

/* Frames of the guest, while their answers have room. False: the network is being stopped. */
static bool take_from_guest(struct user_network *user)
{
	struct network_frame frame;
	bool was_refused = false, stop;
	(void)pthread_mutex_lock(&user->mutex);
	while (!user->stop && ring_room(&user->to_guest) >= RING_HALF && ring_peek(&user->to_host, &frame)) {
		(void)pthread_mutex_unlock(&user->mutex);
		slirp_input(user->slirp, frame.bytes, (int)frame.length);
		(void)pthread_mutex_lock(&user->mutex);
		ring_take(&user->to_host);
	}
	if (user->refused && ring_room(&user->to_host) >= RING_HALF) {
		was_refused = true;
		user->refused = false;
	}
	if (user->guest_ready)
		user->guest_full = user->guest_ready = false;
	stop = user->stop;
	(void)pthread_mutex_unlock(&user->mutex);
	if (was_refused && !stop) {
		user->host.lock(user->host.opaque);
		if (user->base.front.send_ready != NULL)
			user->base.front.send_ready(user->base.front.opaque);
		user->host.unlock(user->host.opaque);
	}
	return !stop;
}

static void give_to_guest(struct user_network *user)
{
	struct network_frame frame;
	if (user->guest_full || (ring_is_empty(&user->to_guest) && user->lost == 0))
		return;
	user->host.lock(user->host.opaque);
	while (!user->guest_full && ring_peek(&user->to_guest, &frame)) {
		user->guest_full = !network_deliver(&user->base, &frame);
		if (!user->guest_full)
			ring_take(&user->to_guest);
	}
	for (; user->lost > 0; user->lost--)
		network_count_drop(&user->base, true);
	user->host.unlock(user->host.opaque);
}

/* Is there anything to be done without sleeping? If not, whoever brings something wakes us. */
static bool may_sleep(struct user_network *user)
{
	(void)pthread_mutex_lock(&user->mutex);
	bool work = user->stop || user->guest_ready ||
		    (!ring_is_empty(&user->to_host) && ring_room(&user->to_guest) >= RING_HALF);
	user->asleep = !work;
	(void)pthread_mutex_unlock(&user->mutex);
	return !work;
}

static void woken(struct user_network *user)
{
	uint64_t count;
	(void)pthread_mutex_lock(&user->mutex);
	user->asleep = false;
	(void)pthread_mutex_unlock(&user->mutex);
	if ((user->poll[0].revents & POLLIN) != 0) {
		ssize_t got = read(user->wake_fd, &count, sizeof count);
		(void)got; /* nothing to read is as good */
	}
}

static void wait_and_poll(struct user_network *user)
{
	uint32_t timeout = SLEEP_MAX_MS;
	bool sockets = ring_room(&user->to_guest) >= RING_HALF;
	user->poll[0] = (struct pollfd){.fd = user->wake_fd, .events = POLLIN};
	user->polls = 1;
	if (sockets)
		slirp_pollfds_fill(user->slirp, &timeout, add_poll, user);
	int milliseconds = may_sleep(user) ? sleep_ms(user, timeout) : 0;
	int result = poll(user->poll, user->polls, milliseconds);
	woken(user);
	if (sockets)
		slirp_pollfds_poll(user->slirp, result < 0, poll_result, user);
}

static void *user_thread(void *opaque)
{
	struct user_network *user = opaque;
	while (take_from_guest(user)) {
		give_to_guest(user);
		wait_and_poll(user);
		run_timers(user);
		give_to_guest(user);
	}
	return NULL;
}

/* ---- life ---- */

/* No signal of the process is for this thread. */
static bool user_start(struct network *network, struct error *error)
{
	struct user_network *user = user_of(network);
	sigset_t all, before;
	pthread_attr_t attributes;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
	int why = pthread_create(&user->thread, &attributes, user_thread, user);
	(void)pthread_attr_destroy(&attributes);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	user->running = why == 0;
	return why == 0 || error_set(error, ERROR_HOST, "cannot start a thread for the network: %s", strerror(why));
}

static void user_stop(struct network *network)
{
	struct user_network *user = user_of(network);
	if (!user->running)
		return;
	(void)pthread_mutex_lock(&user->mutex);
	user->stop = true;
	(void)pthread_mutex_unlock(&user->mutex);
	wake(user);
	(void)pthread_join(user->thread, NULL);
	user->running = false;
}

static void user_close(struct network *network)
{
	struct user_network *user = user_of(network);
	user_stop(network);
	if (user->slirp != NULL)
		slirp_cleanup(user->slirp);
	while (user->timers != NULL)
		timer_free(user->timers, user);
	ring_free(&user->to_host);
	ring_free(&user->to_guest);
	free(user->poll);
	if (user->wake_fd >= 0)
		(void)close(user->wake_fd);
	(void)pthread_mutex_destroy(&user->mutex);
	network_release(network);
	free(user);
}

static const struct network_ops user_ops = {.send = user_send,
					    .receive_ready = user_receive_ready,
					    .start = user_start,
					    .stop = user_stop,
					    .close = user_close};

static struct in_addr address(uint32_t number)
{
	return (struct in_addr){.s_addr = htonl(number)};
}

/* syscall network-user: socket[0=AF_INET][1&SOCKET_TYPE=SOCK_STREAM],
 * socket[0=AF_INET][1&SOCKET_TYPE=SOCK_DGRAM], socket[0=AF_INET6][1&SOCKET_TYPE=SOCK_STREAM],
 * socket[0=AF_INET6][1&SOCKET_TYPE=SOCK_DGRAM], bind, connect, listen, accept, getsockname, getpeername,
 * fcntl[1=F_GETFD], fcntl[1=F_SETFD], ioctl[1=FIONBIO] -- what libslirp does for the guest's connections */
/* syscall network-user: openat[2&O_ACCMODE|O_CREAT|O_TRUNC|O_DIRECTORY=0], newfstatat[3=0], stat -- it reads
 * /etc/resolv.conf again when that has changed */
/* syscall network-user: !socket[0=AF_UNIX], !socket[0=AF_NETLINK] -- what the C library tries, to learn of interfaces
 */
/* syscall network-user: !socket[0=AF_INET][1&SOCKET_TYPE=SOCK_RAW], !socket[0=AF_INET6][1&SOCKET_TYPE=SOCK_RAW] -- for
 * ping, where the host has no sockets for that alone */
static bool start_slirp(struct user_network *user, const struct network_user_config *config, struct error *error)
{
	SlirpConfig slirp = {.version = 1,
			     .in_enabled = true,
			     .vnetwork = address(NETWORK_ADDRESS),
			     .vnetmask = address(NETWORK_MASK),
			     .vhost = address(HOST_ADDRESS),
			     .in6_enabled = true,
			     .vprefix_len = PREFIX6_LENGTH,
			     .vhostname = config->guest_name,
			     .vdhcp_start = address(GUEST_ADDRESS),
			     .vnameserver = address(DNS_ADDRESS),
			     .if_mtu = config->mtu,
			     .if_mru = config->mtu};
	(void)inet_pton(AF_INET6, "fec0::", &slirp.vprefix_addr6);
	(void)inet_pton(AF_INET6, "fec0::2", &slirp.vhost6);
	(void)inet_pton(AF_INET6, "fec0::3", &slirp.vnameserver6);
	user->slirp = slirp_new(&slirp, &callbacks, user);
	return user->slirp != NULL || error_set(error, ERROR_HOST, "libslirp does not start");
}

static bool add_forward(struct user_network *user, const struct network_forward *forward, struct error *error)
{
	char text[INET_ADDRSTRLEN];
	struct in_addr host = address(forward->host_address);
	if (slirp_add_hostfwd(user->slirp, forward->udp, host, forward->host_port, address(GUEST_ADDRESS),
			      forward->guest_port) == 0)
		return true;
	int why = errno;
	return error_set(error, ERROR_INPUT, "cannot forward %s port %u of %s: %s", forward->udp ? "UDP" : "TCP",
			 forward->host_port, inet_ntop(AF_INET, &host, text, sizeof text), strerror(why));
}

static bool user_init(struct user_network *user, const struct network_user_config *config, struct error *error)
{
	user->poll_room = 16;
	user->poll = calloc(user->poll_room, sizeof *user->poll);
	if (user->poll == NULL || !ring_init(&user->to_host, RING_SIZE) || !ring_init(&user->to_guest, RING_SIZE))
		return error_set(error, ERROR_HOST, "out of memory for a network");
	user->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (user->wake_fd < 0)
		return error_set_errno(error, "cannot create an eventfd");
	if (!start_slirp(user, config, error))
		return false;
	for (unsigned i = 0; i < config->forwards; i++)
		if (!add_forward(user, &config->forward[i], error))
			return false;
	return true;
}

struct network *network_open_user(const struct network_user_config *config, const struct network_host *host,
				  struct error *error)
{
	struct user_network *user = calloc(1, sizeof *user);
	if (user == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for a network");
		return NULL;
	}
	network_init(&user->base, &user_ops, NETWORK_TAKES_TCP4 | NETWORK_TAKES_TCP6, config->mtu);
	user->host = *host;
	user->wake_fd = -1;
	(void)pthread_mutex_init(&user->mutex, NULL);
	if (user_init(user, config, error))
		return &user->base;
	user_close(&user->base);
	return NULL;
}

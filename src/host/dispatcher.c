/* SPDX-License-Identifier: MIT */
#include "host/dispatcher.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "host/dispatcher-impl.h"

#define EVENTS_MAX 64
#define POKE UINT64_MAX
#define NS_PER_SECOND UINT64_C(1000000000)
#define SHORT_SLICE_NS 100000

static void lock(struct dispatcher *dispatcher)
{
	(void)pthread_mutex_lock(&dispatcher->mutex);
}

/* After what may have changed when the thread has to look next. */
static void unlock_and_poke(struct dispatcher *dispatcher)
{
	const uint64_t one = 1;
	(void)pthread_mutex_unlock(&dispatcher->mutex);
	ssize_t ignored = write(dispatcher->poke_fd, &one, sizeof one);
	(void)ignored;
}

/* ---- the thread ---- */

/* What `struct sched_attr` is in the headers of Linux, which the C library does not have everywhere. */
struct slice_attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* Before ordinary threads, if the system permits; or else with a slice so short that Linux lets it preempt them. */
static bool be_prompt(void)
{
	const struct sched_param first = {.sched_priority = 1};
	(void)prctl(PR_SET_TIMERSLACK, 1UL);
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first) == 0)
		return true;
	struct slice_attributes attributes = {.size = sizeof attributes, .runtime = SHORT_SLICE_NS};
	(void)syscall(SYS_sched_setattr, 0, &attributes, 0);
	return false;
}

static void listen_to(struct dispatched *guest, bool listen)
{
	struct dispatcher *dispatcher = guest->dispatcher;
	struct epoll_event event = {.events = listen ? EPOLLIN | EPOLLET : 0,
				    .data.u64 = (uint64_t)dispatcher->slot[guest->slot].generation << 32 | guest->slot};
	(void)epoll_ctl(dispatcher->epoll_fd, EPOLL_CTL_MOD, guest->doorbell, &event);
	guest->muted = !listen;
	dispatcher->muted += listen ? UINT32_MAX : 1u;
}

static void rung(struct dispatched *guest, uint64_t now)
{
	if (now - guest->window_begin >= RINGS_WINDOW_NS) {
		guest->window_begin = now;
		guest->rings = 0;
	}
	if (++guest->rings > RINGS_MAX && !guest->muted) {
		guest->mutes++;
		guest->dispatcher->report.muted++;
		listen_to(guest, false);
	}
	tokens_look(guest, now);
}

/* Its doorbell has rung meanwhile, and epoll says so as soon as it is listened to. */
static uint64_t unmute(struct dispatcher *dispatcher, uint64_t now)
{
	uint64_t next = SCHED_NEVER;
	for (unsigned i = 0; i < dispatcher->slots && dispatcher->muted > 0; i++) {
		struct dispatched *guest = dispatcher->slot[i].guest;
		if (guest == NULL || !guest->muted)
			continue;
		uint64_t end = guest->window_begin + RINGS_WINDOW_NS;
		if (end <= now)
			listen_to(guest, true);
		else if (end < next)
			next = end;
	}
	return next;
}

/* When it comes too late, since the whole process was stopped, the guests have been running by themselves. */
static void renew_leases(struct dispatcher *dispatcher, uint64_t now)
{
	bool lapsed = now >= dispatcher->lease_until;
	dispatcher->lease_until = now + TOKEN_LEASE_NS;
	for (unsigned i = 0; i < dispatcher->slots; i++) {
		struct dispatched *guest = dispatcher->slot[i].guest;
		if (guest == NULL)
			continue;
		struct token_page *page = guest->page;
		__atomic_store_n(&page->lease_until, dispatcher->lease_until, __ATOMIC_SEQ_CST);
		__atomic_store_n(&page->heartbeat, page->heartbeat + 1, __ATOMIC_RELAXED);
		if (lapsed)
			tokens_attach(guest);
	}
	for (unsigned i = 0; i < dispatcher->places && lapsed; i++)
		sched_set_add(&dispatcher->kicks, i);
}

static void served(struct dispatcher *dispatcher, const struct epoll_event *events, int count, uint64_t now)
{
	for (int i = 0; i < count; i++) {
		uint64_t data = events[i].data.u64, ignored;
		uint32_t number = (uint32_t)data;
		if (data == POKE) {
			ssize_t got = read(dispatcher->poke_fd, &ignored, sizeof ignored);
			(void)got;
		} else if (number < dispatcher->slots && dispatcher->slot[number].guest != NULL &&
			   dispatcher->slot[number].generation == data >> 32) {
			rung(dispatcher->slot[number].guest, now);
		}
	}
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Does what is due, and returns when something will be. */
static uint64_t turn(struct dispatcher *dispatcher, const struct epoll_event *events, int count)
{
	uint64_t now = token_now();
	dispatcher->report.wakes++;
	if (now + TOKEN_LEASE_NS >= dispatcher->lease_until + TOKEN_RENEW_NS)
		renew_leases(dispatcher, now);
	served(dispatcher, events, count, now);
	uint64_t next = unmute(dispatcher, now);
	if (sched_next(dispatcher->sched) <= now)
		sched_advance(dispatcher->sched, now, &dispatcher->kicks);
	tokens_settle(dispatcher, now);
	next = least(next, tokens_overdue(dispatcher, now));
	next = least(next, sched_next(dispatcher->sched));
	return least(next, dispatcher->lease_until - TOKEN_LEASE_NS + TOKEN_RENEW_NS);
}

static int sleep_until(const struct dispatcher *dispatcher, uint64_t next, struct epoll_event *events)
{
	uint64_t now = token_now();
	uint64_t ns = next > now ? next - now : 0;
	struct timespec timeout = {.tv_sec = (time_t)(ns / NS_PER_SECOND), .tv_nsec = (long)(ns % NS_PER_SECOND)};
	return epoll_pwait2(dispatcher->epoll_fd, events, EVENTS_MAX, &timeout, NULL);
}

static void *thread_main(void *opaque)
{
	struct dispatcher *dispatcher = opaque;
	struct epoll_event events[EVENTS_MAX];
	uint64_t next = 0;
	bool prompt = be_prompt();
	(void)pthread_setname_np(pthread_self(), "dispatcher");
	lock(dispatcher);
	dispatcher->report.realtime = prompt;
	while (!dispatcher->stop) {
		(void)pthread_mutex_unlock(&dispatcher->mutex);
		int count = sleep_until(dispatcher, next, events);
		lock(dispatcher);
		next = turn(dispatcher, events, count);
	}
	(void)pthread_mutex_unlock(&dispatcher->mutex);
	return NULL;
}

/* ---- making and unmaking ---- */

static unsigned find_places(struct dispatcher *dispatcher, unsigned wanted)
{
	cpu_set_t set;
	unsigned count = 0, most = wanted != 0 && wanted < SCHED_PROCESSORS_MAX ? wanted : SCHED_PROCESSORS_MAX;
	if (sched_getaffinity(0, sizeof set, &set) != 0)
		return 0;
	for (unsigned i = 0; i < CPU_SETSIZE && count < most; i++)
		if (CPU_ISSET(i, &set))
			dispatcher->place[count++].number = i;
	return count;
}

static void init_mutex(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attributes;
	(void)pthread_mutexattr_init(&attributes);
	(void)pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
	(void)pthread_mutex_init(mutex, &attributes);
	(void)pthread_mutexattr_destroy(&attributes);
}

static bool open_descriptors(struct dispatcher *dispatcher, struct error *error)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = POKE};
	dispatcher->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	dispatcher->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return (dispatcher->epoll_fd >= 0 && dispatcher->poke_fd >= 0 &&
		epoll_ctl(dispatcher->epoll_fd, EPOLL_CTL_ADD, dispatcher->poke_fd, &event) == 0) ||
	       error_set_errno(error, "cannot create the dispatcher's descriptors");
}

/* Signals are for the threads that wait for them. */
static bool create_thread(struct dispatcher *dispatcher, struct error *error)
{
	sigset_t all, before;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	errno = pthread_create(&dispatcher->thread, NULL, thread_main, dispatcher);
	int failure = errno;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = failure;
	dispatcher->thread_made = failure == 0;
	return failure == 0 || error_set_errno(error, "cannot create the dispatcher's thread");
}

struct dispatcher *dispatcher_create(const struct sched_policy *asked, struct error *error)
{
	struct dispatcher *dispatcher = calloc(1, sizeof *dispatcher);
	struct sched_policy policy = *asked;
	if (dispatcher == NULL) {
		error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	init_mutex(&dispatcher->mutex);
	dispatcher->epoll_fd = dispatcher->poke_fd = -1;
	dispatcher->created = token_now();
	dispatcher->lease_until = dispatcher->created + TOKEN_LEASE_NS;
	policy.processors = dispatcher->places = find_places(dispatcher, asked->processors);
	dispatcher->report.slice_ns = policy.slice_ns != 0 ? policy.slice_ns : SCHED_SLICE_DEFAULT_NS;
	dispatcher->sched = sched_create(&policy, error);
	if (dispatcher->sched != NULL && open_descriptors(dispatcher, error) && create_thread(dispatcher, error))
		return dispatcher;
	dispatcher_destroy(dispatcher);
	return NULL;
}

void dispatcher_destroy(struct dispatcher *dispatcher)
{
	if (dispatcher == NULL)
		return;
	lock(dispatcher);
	dispatcher->stop = true;
	unlock_and_poke(dispatcher);
	if (dispatcher->thread_made)
		(void)pthread_join(dispatcher->thread, NULL);
	for (unsigned i = 0; i < dispatcher->slots; i++)
		if (dispatcher->slot[i].guest != NULL)
			dispatcher_remove(dispatcher->slot[i].guest);
	sched_destroy(dispatcher->sched);
	if (dispatcher->epoll_fd >= 0)
		close(dispatcher->epoll_fd);
	if (dispatcher->poke_fd >= 0)
		close(dispatcher->poke_fd);
	free(dispatcher->slot);
	(void)pthread_mutex_destroy(&dispatcher->mutex);
	free(dispatcher);
}

/* ---- guests ---- */

/* Anything else might make epoll turn without end, or not do at all. */
static bool is_eventfd(int fd)
{
	char path[64], target[64];
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(path, target, sizeof target - 1);
	if (length < 0)
		return false;
	target[length] = '\0';
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}

static bool take_slot(struct dispatcher *dispatcher, struct dispatched *guest, struct error *error)
{
	unsigned i = 0;
	while (i < dispatcher->slots && dispatcher->slot[i].guest != NULL)
		i++;
	if (i == dispatcher->slots) {
		unsigned slots = dispatcher->slots == 0 ? 16 : 2 * dispatcher->slots;
		struct slot *slot = realloc(dispatcher->slot, slots * sizeof *slot);
		if (slot == NULL)
			return error_set(error, ERROR_HOST, "out of memory");
		memset(slot + dispatcher->slots, 0, (slots - dispatcher->slots) * sizeof *slot);
		dispatcher->slot = slot;
		dispatcher->slots = slots;
	}
	dispatcher->slot[i].guest = guest;
	guest->slot = i;
	dispatcher->guests++;
	return true;
}

static void leave_slot(struct dispatched *guest)
{
	struct slot *slot = &guest->dispatcher->slot[guest->slot];
	slot->guest = NULL;
	slot->generation++;
	guest->dispatcher->guests--;
}

/* Linux's numbers of processors are the places that have them. */
static bool to_places(const struct dispatcher *dispatcher, const struct sched_guest_policy *asked,
		      struct sched_guest_policy *policy, struct error *error)
{
	struct sched_set numbers = asked->affinity;
	*policy = *asked;
	policy->affinity = (struct sched_set){0};
	for (unsigned i = 0; i < dispatcher->places; i++) {
		uint32_t number = dispatcher->place[i].number;
		if (number >= SCHED_PROCESSORS_MAX || !sched_set_has(&numbers, number))
			continue;
		sched_set_add(&policy->affinity, i);
		sched_set_remove(&numbers, number);
	}
	unsigned missing;
	return !sched_set_take(&numbers, &missing) ||
	       error_set(error, ERROR_INPUT, "the affinity names processor %u, which the host does not have", missing);
}

/* Its doorbell has been rung, perhaps: epoll says so at once. */
static bool join(struct dispatched *guest, struct error *error)
{
	struct dispatcher *dispatcher = guest->dispatcher;
	uint64_t now = token_now();
	guest->sched = sched_guest_add(dispatcher->sched, &guest->policy, guest, now, error);
	if (guest->sched == NULL)
		return false;
	struct epoll_event event = {.events = EPOLLIN | EPOLLET,
				    .data.u64 = (uint64_t)dispatcher->slot[guest->slot].generation << 32 | guest->slot};
	if (epoll_ctl(dispatcher->epoll_fd, EPOLL_CTL_ADD, guest->doorbell, &event) != 0) {
		sched_guest_remove(guest->sched, now, &dispatcher->kicks);
		return error_set_errno(error, "cannot wait for the guest's doorbell");
	}
	for (unsigned i = 0; i < guest->policy.vcpus; i++)
		guest->vcpu[i] =
		    (struct lent){.guest = guest, .shared = &guest->page->vcpu[i], .index = i, .waits_for = NO_PLACE};
	tokens_attach(guest);
	tokens_look(guest, now);
	tokens_settle(dispatcher, now);
	return true;
}

static void close_guest(struct dispatched *guest)
{
	token_page_unmap(guest->page);
	close(guest->token_fd);
	close(guest->doorbell);
	if (guest->tasks_fd >= 0)
		close(guest->tasks_fd);
	free(guest);
}

static bool open_guest(struct dispatched *guest, const struct sched_guest_policy *policy, struct error *error)
{
	if (!to_places(guest->dispatcher, policy, &guest->policy, error))
		return false;
	if (guest->policy.vcpus == 0 || guest->policy.vcpus > LEDGER_MAX_VCPUS)
		return error_set(error, ERROR_INPUT, "a guest has 1 to %d processors", LEDGER_MAX_VCPUS);
	if (!is_eventfd(guest->doorbell))
		return error_set(error, ERROR_HOST, "the guest's doorbell is not an eventfd");
	guest->page = token_page_map(guest->token_fd, guest->policy.vcpus, error);
	return guest->page != NULL;
}

struct dispatched *dispatcher_add(struct dispatcher *dispatcher, const char *name, int token_fd, int event_fd,
				  int tasks_fd, const struct sched_guest_policy *policy, struct error *error)
{
	struct dispatched *guest = calloc(1, sizeof *guest);
	if (guest == NULL) {
		close(token_fd);
		close(event_fd);
		if (tasks_fd >= 0)
			close(tasks_fd);
		error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	*guest = (struct dispatched){
	    .dispatcher = dispatcher, .token_fd = token_fd, .doorbell = event_fd, .tasks_fd = tasks_fd};
	(void)snprintf(guest->name, sizeof guest->name, "%s", name);
	bool good = open_guest(guest, policy, error);
	lock(dispatcher);
	good = good && take_slot(dispatcher, guest, error);
	if (good && !join(guest, error)) {
		leave_slot(guest);
		good = false;
	}
	unlock_and_poke(dispatcher);
	if (good)
		return guest;
	close_guest(guest);
	return NULL;
}

void dispatcher_remove(struct dispatched *guest)
{
	struct dispatcher *dispatcher = guest->dispatcher;
	lock(dispatcher);
	uint64_t now = token_now();
	(void)epoll_ctl(dispatcher->epoll_fd, EPOLL_CTL_DEL, guest->doorbell, NULL);
	if (guest->muted)
		dispatcher->muted--;
	tokens_release(guest);
	sched_guest_remove(guest->sched, now, &dispatcher->kicks);
	leave_slot(guest);
	tokens_settle(dispatcher, now);
	unlock_and_poke(dispatcher);
	close_guest(guest);
}

static bool same_place(const struct sched_guest_policy *one, const struct sched_guest_policy *other)
{
	return memcmp(&one->affinity, &other->affinity, sizeof one->affinity) == 0 &&
	       one->dedicated == other->dedicated && one->coscheduling == other->coscheduling &&
	       one->skew_ns == other->skew_ns && one->blind == other->blind;
}

/* What sched cannot change in place: the guest leaves and comes again. It fits as it was, if it does not otherwise. */
static bool rejoin(struct dispatched *guest, const struct sched_guest_policy *policy, uint64_t now, struct error *error)
{
	struct dispatcher *dispatcher = guest->dispatcher;
	sched_guest_remove(guest->sched, now, &dispatcher->kicks);
	guest->sched = sched_guest_add(dispatcher->sched, policy, guest, now, error);
	bool good = guest->sched != NULL;
	if (good)
		guest->policy = *policy;
	else
		guest->sched = sched_guest_add(dispatcher->sched, &guest->policy, guest, now, NULL);
	for (unsigned i = 0; i < guest->policy.vcpus; i++)
		guest->vcpu[i].awake = false;
	tokens_look(guest, now);
	return good;
}

bool dispatcher_change(struct dispatched *guest, const struct sched_guest_policy *asked, struct error *error)
{
	struct dispatcher *dispatcher = guest->dispatcher;
	struct sched_guest_policy policy;
	if (!to_places(dispatcher, asked, &policy, error))
		return false;
	uint32_t shares = policy.shares != 0 ? policy.shares : SCHED_SHARES_DEFAULT;
	if (policy.vcpus != guest->policy.vcpus)
		return error_set(error, ERROR_INPUT, "the number of processors changes only while the guest is off");
	lock(dispatcher);
	uint64_t now = token_now();
	bool good;
	if (!same_place(&policy, &guest->policy)) {
		good = rejoin(guest, &policy, now, error);
	} else {
		good = sched_guest_change(guest->sched, shares, policy.reservation, policy.limit, now,
					  &dispatcher->kicks, error);
		guest->policy = good ? policy : guest->policy;
	}
	tokens_settle(dispatcher, now);
	unlock_and_poke(dispatcher);
	return good;
}

bool dispatcher_admits(struct dispatcher *dispatcher, const struct sched_guest_policy *asked, struct error *error)
{
	struct sched_guest_policy policy;
	if (!to_places(dispatcher, asked, &policy, error))
		return false;
	lock(dispatcher);
	bool good = sched_admits(dispatcher->sched, &policy, error);
	(void)pthread_mutex_unlock(&dispatcher->mutex);
	return good;
}

/* ---- figures ---- */

void dispatcher_read(struct dispatcher *dispatcher, struct dispatcher_report *report)
{
	clockid_t clock;
	struct timespec cpu = {0};
	if (pthread_getcpuclockid(dispatcher->thread, &clock) == 0)
		(void)clock_gettime(clock, &cpu);
	lock(dispatcher);
	*report = dispatcher->report;
	report->processors = dispatcher->places;
	report->guests = dispatcher->guests;
	report->wall_ns = token_now() - dispatcher->created;
	(void)pthread_mutex_unlock(&dispatcher->mutex);
	report->cpu_ns = (uint64_t)cpu.tv_sec * NS_PER_SECOND + (uint64_t)cpu.tv_nsec;
}

uint64_t dispatcher_percentile(const struct dispatcher_report *report, unsigned percent)
{
	uint64_t all = 0, seen = 0;
	for (unsigned i = 0; i < DISPATCHER_BUCKETS; i++)
		all += report->preemption[i];
	for (unsigned i = 0; i < DISPATCHER_BUCKETS && all > 0; i++) {
		seen += report->preemption[i];
		if (seen * 100 >= all * percent)
			return UINT64_C(1) << i;
	}
	return 0;
}

void dispatched_read(struct dispatched *guest, struct dispatched_report *report)
{
	struct dispatcher *dispatcher = guest->dispatcher;
	*report = (struct dispatched_report){0};
	lock(dispatcher);
	uint64_t now = token_now();
	report->late = guest->late;
	report->muted = guest->mutes;
	for (unsigned i = 0; i < guest->policy.vcpus; i++)
		for (unsigned state = 0; state < SCHED_STATES; state++)
			report->state_ns[state] += sched_time_in(guest->sched, i, (enum sched_state)state, now);
	(void)pthread_mutex_unlock(&dispatcher->mutex);
}

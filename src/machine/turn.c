/* SPDX-License-Identifier: MIT */
#include "machine/turn.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* ---- the machine's ---- */

bool turns_create(struct turns *turns, struct ledger *ledger, struct loop *loop, struct error *error)
{
	turns->ledger = ledger;
	turns->loop = loop;
	turns->page = token_page_create((unsigned)ledger->vcpu_count, &turns->page_fd, error);
	if (turns->page == NULL)
		return false;
	turns->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	turns->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return (turns->doorbell >= 0 && turns->timer >= 0) ||
	       error_set_errno(error, "cannot create the run tokens' descriptors");
}

void turns_destroy(struct turns *turns)
{
	if (turns->watched)
		loop_unwatch(turns->loop, turns->timer);
	if (turns->timer >= 0)
		close(turns->timer);
	if (turns->doorbell >= 0)
		close(turns->doorbell);
	if (turns->page_fd >= 0)
		close(turns->page_fd);
	token_page_unmap(turns->page);
}

static uint64_t tsc_at(const struct ledger *ledger, uint64_t now, uint64_t then)
{
	unsigned __int128 cycles = (unsigned __int128)(now > then ? now - then : 0) * ledger->tsc_hz;
	return ledger_tsc() - (uint64_t)(cycles / UINT64_C(1000000000));
}

/* A host that let go owes nothing; one whose lease ran out is missed. */
static void lease_ended(struct turns *turns, uint64_t now)
{
	struct token_page *page = turns->page;
	uint64_t end = __atomic_load_n(&page->lease_until, __ATOMIC_SEQ_CST);
	if ((__atomic_load_n(&page->epoch, __ATOMIC_SEQ_CST) & 1) != 0)
		ledger_lapse_begin(turns->ledger, tsc_at(turns->ledger, now, end));
	for (unsigned i = 0; i < turns->ledger->vcpu_count; i++)
		token_ring(&page->vcpu[i]);
}

static void look_after_lease(void *opaque, int fd, uint32_t events)
{
	struct turns *turns = opaque;
	uint64_t expirations, now = token_now();
	bool leased = token_page_leased(turns->page, now);
	(void)events;
	if (read(fd, &expirations, sizeof expirations) != (ssize_t)sizeof expirations)
		return;
	if (leased && !turns->was_leased)
		ledger_lapse_end(turns->ledger);
	else if (!leased && turns->was_leased)
		lease_ended(turns, now);
	turns->was_leased = leased;
	__atomic_store_n(&turns->ledger->scheduled, leased, __ATOMIC_RELAXED);
}

bool turns_watch(struct turns *turns, struct error *error)
{
	const struct timespec period = {.tv_nsec = (long)TOKEN_RENEW_NS};
	const struct itimerspec timer = {.it_interval = period, .it_value = period};
	if (turns->watched)
		return true;
	if (timerfd_settime(turns->timer, 0, &timer, NULL) != 0)
		return error_set_errno(error, "cannot set a timer");
	turns->watched = loop_watch(turns->loop, turns->timer, EPOLLIN, NULL, look_after_lease, turns, error);
	return turns->watched;
}

static void ring_doorbell(const struct turns *turns)
{
	const uint64_t one = 1;
	ssize_t ignored = write(turns->doorbell, &one, sizeof one); /* full only if nobody ever listened */
	(void)ignored;
}

/* After a change that a host wants to know. */
static void tell_host(const struct turns *turns)
{
	if (token_page_leased(turns->page, token_now()))
		ring_doorbell(turns);
}

/* ---- a vCPU's ---- */

bool turn_init(struct turn *turn, struct turns *turns, struct cpu *cpu, unsigned index, struct error *error)
{
	_Static_assert(offsetof(struct cpu, run) % TOKEN_PAGE_SIZE == 0 &&
			   sizeof(struct cpu) - offsetof(struct cpu, run) == TOKEN_PAGE_SIZE,
		       "the poll word has a page of its own");
	off_t offset = (off_t)(offsetof(struct token_page, vcpu) + index * sizeof(struct token_vcpu));
	void *page =
	    mmap(&cpu->run, TOKEN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, turns->page_fd, offset);
	if (page == MAP_FAILED)
		return error_set_errno(error, "cannot map the run tokens");
	*turn = (struct turn){.turns = turns, .shared = &turns->page->vcpu[index], .cpu = cpu};
	cpu->token_held = turn->shared->token;
	cpu->token = &turn->shared->token;
	return true;
}

void turn_attach(struct turn *turn, const struct ledger_thread *thread)
{
	turn->thread = thread;
	if (sched_getaffinity(0, sizeof turn->allowed, &turn->allowed) != 0)
		memset(&turn->allowed, 0xff, sizeof turn->allowed);
	__atomic_store_n(&turn->shared->thread, (uint32_t)gettid(), __ATOMIC_SEQ_CST);
}

static unsigned index_of(const struct turn *turn)
{
	return (unsigned)(turn->shared - turn->turns->page->vcpu);
}

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

bool turn_wake(struct turn *turn, bool stop, enum token_want why)
{
	struct token_vcpu *shared = turn->shared;
	uint32_t want = load(&shared->want);
	__atomic_store_n(&shared->run, 0, __ATOMIC_SEQ_CST);
	(void)__atomic_fetch_add(&shared->bell, 1, __ATOMIC_SEQ_CST);
	if (load(&shared->sleeping) == 0)
		return false;
	bool woken = (want & TOKEN_MASK) == TOKEN_IDLE &&
		     __atomic_compare_exchange_n(&shared->want, &want, token_after(want, why), false, __ATOMIC_SEQ_CST,
						 __ATOMIC_SEQ_CST);
	bool leased = token_page_leased(turn->turns->page, token_now());
	if (woken && leased)
		ring_doorbell(turn->turns);
	if (stop || !leased || token_kind(load(&shared->token)) == TOKEN_RUN)
		token_ring(shared);
	return woken;
}

/* What happens between the two is seen by the thread before it sleeps: `want` may then be too much, never too little.
 */
static bool want_set(struct turn *turn, enum token_want want)
{
	struct token_vcpu *shared = turn->shared;
	uint32_t before = load(&shared->want);
	if (((before & TOKEN_MASK) == TOKEN_IDLE) == (want == TOKEN_IDLE))
		return false;
	__atomic_store_n(&shared->want, token_after(before, want), __ATOMIC_SEQ_CST);
	return true;
}

/* syscall base: sched_setaffinity[0=0] -- a vCPU's thread, to the processor that the host lends it, and back */

/*
 * By itself only while it has the token: a thread that slept bound to the processor of its last turn would have to run
 * there once more, behind whoever has it now, only to move to the one it was given. Where Linux refuses, it runs where
 * it may.
 */
static void bind(struct turn *turn, uint32_t processor)
{
	cpu_set_t set;
	turn->bound_by_host = __atomic_load_n(&turn->turns->page->bind, __ATOMIC_RELAXED) == 0;
	if (turn->bound == processor + 1 || processor >= CPU_SETSIZE)
		return;
	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (turn->bound_by_host || sched_setaffinity(0, sizeof set, &set) == 0)
		turn->bound = processor + 1;
}

static void unbind(struct turn *turn)
{
	if (turn->bound != 0)
		(void)sched_setaffinity(0, sizeof turn->allowed, &turn->allowed);
	turn->bound = 0;
}

/* What the host has bound it binds anew before it wakes the thread. */
static void unbind_own(struct turn *turn)
{
	if (!turn->bound_by_host)
		unbind(turn);
}

void turn_idle(struct turn *turn)
{
	unbind_own(turn);
	uint32_t ran = load(&turn->shared->running);
	bool changed = want_set(turn, TOKEN_IDLE);
	__atomic_store_n(&turn->shared->running, 0, __ATOMIC_SEQ_CST);
	if (!changed && ran == 0)
		return;
	tell_host(turn->turns);
	if (turn->thread != NULL)
		ledger_settle_gone(turn->turns->ledger, index_of(turn), turn->thread);
}

bool turn_keeps(const struct turn *turn)
{
	uint32_t running = load(&turn->shared->running);
	return running == 0 || load(&turn->shared->token) == running;
}

/* No host, or none in time: the engine runs until a host changes the token. */
static void run_unscheduled(struct turn *turn, uint32_t token)
{
	turn->cpu->token_held = token;
	__atomic_store_n(&turn->shared->running, 0, __ATOMIC_SEQ_CST);
	unbind(turn);
}

/* False: it was taken back meanwhile. */
static bool take(struct turn *turn, uint32_t token)
{
	struct token_vcpu *shared = turn->shared;
	uint32_t processor = __atomic_load_n(&shared->processor, __ATOMIC_RELAXED);
	__atomic_store_n(&shared->running, token, __ATOMIC_SEQ_CST);
	if (load(&shared->token) != token) {
		__atomic_store_n(&shared->running, 0, __ATOMIC_SEQ_CST);
		ring_doorbell(turn->turns);
		return false;
	}
	turn->cpu->token_held = token;
	bind(turn, processor);
	return true;
}

static void book_wait(const struct turn *turn)
{
	static const enum ledger_state states[] = {[TOKEN_READY] = LEDGER_READY,
						   [TOKEN_COSTOP] = LEDGER_COSTOP,
						   [TOKEN_LIMITED] = LEDGER_LIMITED,
						   [TOKEN_RUN] = LEDGER_READY};
	ledger_resume(turn->cpu->ledger, states[token_kind(load(&turn->shared->token))]);
}

/* What Linux delays the thread from here on, the next having its processor, is waiting for a token. */
static void give_back(struct turn *turn)
{
	struct ledger *ledger = turn->turns->ledger;
	unsigned index = index_of(turn);
	if (turn->thread != NULL)
		ledger_settle_if_due(ledger, index, turn->thread);
	book_wait(turn);
	ring_doorbell(turn->turns);
	if (turn->thread != NULL)
		ledger_settle_gone(ledger, index, turn->thread);
}

/* True: the turn has begun. */
static bool try_to_begin(struct turn *turn)
{
	struct token_vcpu *shared = turn->shared;
	uint32_t token = load(&shared->token);
	uint32_t running = load(&shared->running);
	if (running != 0 && running == token)
		return true;
	bool ran = running != 0;
	__atomic_store_n(&shared->running, 0, __ATOMIC_SEQ_CST);
	bool changed = want_set(turn, TOKEN_WANTS);
	if (!token_page_leased(turn->turns->page, token_now())) {
		run_unscheduled(turn, token);
		return true;
	}
	if (ran)
		give_back(turn);
	else if (changed)
		ring_doorbell(turn->turns);
	return token_kind(token) == TOKEN_RUN && take(turn, token);
}

static bool must_stop(const struct turn *turn)
{
	return (load(&turn->cpu->requests) & CPU_REQUEST_STOP) != 0;
}

bool turn_begin(struct turn *turn)
{
	if (must_stop(turn))
		return false;
	if (try_to_begin(turn)) {
		ledger_resume(turn->cpu->ledger, LEDGER_EXIT);
		return true;
	}
	bool begun = false, stop = false;
	unbind_own(turn);
	turn_sleep_begins(turn);
	for (;;) {
		uint32_t bell = turn_bell(turn);
		stop = must_stop(turn);
		begun = !stop && try_to_begin(turn);
		if (stop || begun)
			break;
		book_wait(turn);
		turn_sleep(turn, bell);
	}
	turn_sleep_ends(turn);
	ledger_resume(turn->cpu->ledger, LEDGER_EXIT);
	return begun;
}

void turn_sleep_begins(struct turn *turn)
{
	__atomic_store_n(&turn->shared->sleeping, 1, __ATOMIC_SEQ_CST);
}

uint32_t turn_bell(const struct turn *turn)
{
	return load(&turn->shared->bell);
}

void turn_sleep(struct turn *turn, uint32_t bell)
{
	token_sleep(turn->shared, bell);
}

bool turn_sleep_for(struct turn *turn, uint32_t bell, uint64_t us)
{
	return token_sleep_for(turn->shared, bell, us * 1000);
}

void turn_sleep_ends(struct turn *turn)
{
	__atomic_store_n(&turn->shared->sleeping, 0, __ATOMIC_SEQ_CST);
}

/* SPDX-License-Identifier: MIT */
/*
 * Run tokens as nfold-vm reads them: a host that writes anything into the page while a vCPU's thread takes its turns,
 * halts and is woken. The thread reaches nothing beside the page, books only states that there are, and ends when it is
 * asked to and is woken.
 */
#include "fuzz-rig.h"

#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/turn.h"

struct world {
	struct fuzz_rig rig;
	struct ledger *ledger;
	int ledger_fd, expired; /* an eventfd in place of the timer */
	struct turns turns;
	struct turn turn;
	struct cpu *cpu;
	pthread_t thread;
	uint32_t ended;
};

/* ---- the event loop, in place of machine/loop.c: the script says when the timer expires ---- */

struct watched {
	loop_function *function;
	void *opaque;
};

static struct watched *watched_of(struct loop *loop)
{
	return (struct watched *)(void *)loop->watch;
}

bool loop_watch(struct loop *loop, int fd, uint32_t epoll_events, pthread_mutex_t *held, loop_function *function,
		void *opaque, struct error *error)
{
	(void)fd;
	(void)epoll_events;
	(void)held;
	(void)error;
	*watched_of(loop) = (struct watched){.function = function, .opaque = opaque};
	return true;
}

void loop_unwatch(struct loop *loop, int fd)
{
	(void)fd;
	*watched_of(loop) = (struct watched){0};
}

static void expire(struct world *world)
{
	const uint64_t one = 1;
	const struct watched *watched = watched_of(world->turns.loop);
	assert(write(world->expired, &one, sizeof one) == (ssize_t)sizeof one);
	watched->function(watched->opaque, world->expired, 0);
}

/* ---- the vCPU's thread, as machine/vcpu.c does it ---- */

static bool must_stop(const struct world *world)
{
	return (__atomic_load_n(&world->cpu->requests, __ATOMIC_SEQ_CST) & CPU_REQUEST_STOP) != 0;
}

static void halt(struct world *world)
{
	struct turn *turn = &world->turn;
	turn_sleep_begins(turn);
	uint32_t bell = turn_bell(turn);
	if (!must_stop(world)) {
		turn_idle(turn);
		(void)turn_sleep_for(turn, bell, 20);
	}
	turn_sleep_ends(turn);
}

static void *vcpu_main(void *opaque)
{
	struct world *world = opaque;
	turn_attach(&world->turn, NULL);
	for (unsigned i = 0; turn_begin(&world->turn); i++) {
		__atomic_store_n(&world->cpu->run, 1, __ATOMIC_SEQ_CST);
		for (unsigned spin = 0; spin < 50 && turn_keeps(&world->turn); spin++)
			(void)cpu_lost_token(world->cpu);
		if (i % 3 == 0)
			halt(world);
	}
	turn_idle(&world->turn);
	__atomic_store_n(&world->ended, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* ---- the host ---- */

static void write_header(struct world *world, uint8_t choice)
{
	struct token_page *page = world->turns.page;
	const uint64_t now = token_now();
	const uint64_t values[] = {
	    0, 1, UINT64_MAX, now, now + 1, now + TOKEN_LEASE_NS, now - TOKEN_LEASE_NS, fuzz_number(&world->rig, 4)};
	uint64_t *const words[] = {&page->epoch, &page->lease_until, &page->heartbeat, &page->epoch};
	if ((choice & 0x20) != 0)
		__atomic_store_n(&page->bind, (uint32_t)values[choice & 7], __ATOMIC_SEQ_CST);
	else
		__atomic_store_n(words[choice >> 3 & 3], values[choice & 7], __ATOMIC_SEQ_CST);
}

static void write_vcpu(struct world *world, uint8_t choice)
{
	struct token_vcpu *vcpu = world->turn.shared;
	uint32_t token = __atomic_load_n(&vcpu->token, __ATOMIC_SEQ_CST);
	const uint32_t values[] = {token_after(token, TOKEN_RUN),
				   token_after(token, TOKEN_RUN),
				   token_after(token, TOKEN_COSTOP),
				   token,
				   0,
				   UINT32_MAX,
				   TOKEN_RUN,
				   (uint32_t)fuzz_number(&world->rig, 4)};
	uint32_t *const words[] = {&vcpu->token, &vcpu->token,	 &vcpu->token,	  &vcpu->processor,
				   &vcpu->want,	 &vcpu->running, &vcpu->sleeping, &vcpu->bell};
	__atomic_store_n(words[choice >> 3 & 7], values[choice & 7], __ATOMIC_SEQ_CST);
}

static void step(struct world *world)
{
	uint8_t action = fuzz_byte(&world->rig), choice = fuzz_byte(&world->rig);
	if (action < 0x30)
		write_header(world, choice);
	else if (action < 0xa0)
		write_vcpu(world, choice);
	else if (action < 0xd0)
		token_ring(world->turn.shared);
	else if (action < 0xe0)
		(void)turn_wake(&world->turn, false, TOKEN_WANTS_BY_EVENT);
	else if (action < 0xf0)
		expire(world);
	else
		(void)sched_yield();
}

static void check_booked(const struct world *world)
{
	struct ledger_reading reading;
	ledger_read(world->ledger, 0, &reading);
	assert(world->ledger->vcpu[0].state < LEDGER_BOOKED_COUNT);
	assert(ledger_lapse_ns(world->ledger) < UINT64_MAX);
	(void)reading;
}

/* ---- making and unmaking ---- */

static void open_world(struct world *world, struct loop *loop)
{
	world->ledger = ledger_create(1, &world->ledger_fd, NULL);
	world->expired = eventfd(0, EFD_CLOEXEC);
	world->turns = (struct turns){.page_fd = -1, .doorbell = -1, .timer = -1};
	world->cpu = mmap(NULL, sizeof *world->cpu, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert(world->ledger != NULL && world->expired >= 0 && world->cpu != MAP_FAILED);
	assert(turns_create(&world->turns, world->ledger, loop, NULL));
	assert(turn_init(&world->turn, &world->turns, world->cpu, 0, NULL));
	world->cpu->ledger = &world->ledger->vcpu[0];
	assert(turns_watch(&world->turns, NULL));
	assert(pthread_create(&world->thread, NULL, vcpu_main, world) == 0);
}

/* A host that takes `sleeping` away keeps the thread from being woken. It is put back for as long as that takes: once
 * it looks, it must end. */
static void close_world(struct world *world)
{
	__atomic_fetch_or(&world->cpu->requests, CPU_REQUEST_STOP, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&world->ended, __ATOMIC_SEQ_CST) == 0) {
		__atomic_store_n(&world->turn.shared->sleeping, 1, __ATOMIC_SEQ_CST);
		(void)turn_wake(&world->turn, true, TOKEN_WANTS_BY_EVENT);
		(void)usleep(20);
	}
	assert(pthread_join(world->thread, NULL) == 0);
	check_booked(world);
	turns_destroy(&world->turns);
	(void)munmap(world->cpu, sizeof *world->cpu);
	ledger_close(world->ledger, world->ledger_fd);
	close(world->expired);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct loop loop = {0};
	struct world world = {.rig = {.data = data, .left = size}};
	open_world(&world, &loop);
	for (unsigned i = 0; world.rig.left > 0 && i < 1000; i++)
		step(&world);
	close_world(&world);
	return 0;
}

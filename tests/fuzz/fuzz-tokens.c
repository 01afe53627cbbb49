/* SPDX-License-Identifier: MIT */
/*
 * Run tokens as the dispatcher reads them: guests that write anything into their pages at any time, beside one that
 * keeps to the protocol. The dispatcher's own books stay in order whatever they write, no processor is lent to two at a
 * time but for those that were waited for long enough, and the honest guest gets its turns.
 *
 * The dispatcher's functions run on a clock of the script's, without its thread. The second guest's process is this
 * one: of the threads that guests name only its own may be bound to processors, not the parent's.
 */
#include "fuzz-rig.h"

#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/dispatcher-impl.h"

#define GUESTS 3u /* the first is honest */
#define VCPUS 2u
#define PLACES 2u
#define SLICE_NS UINT64_C(1000000)
#define TASKS "/proc/self/task"
#define PATIENCE 2000u /* slices in which the honest guest must have had a turn */

struct world {
	struct fuzz_rig rig;
	struct dispatcher dispatcher;
	struct dispatched guest[GUESTS];
	bool joined[GUESTS];
	bool works[VCPUS]; /* the honest guest's processors have something to do */
	uint64_t now;
	struct token_page *page; /* of each guest */
	cpu_set_t allowed, parent;
};

/* ---- the dispatcher, in place of its thread ---- */

/* The tokens' functions note the time of the machine's clock: the script's is never behind that. */
static void pass(struct world *world, uint64_t ns)
{
	uint64_t real = token_now();
	world->now += ns;
	world->now = world->now > real ? world->now : real;
}

static void turn(struct world *world)
{
	struct dispatcher *dispatcher = &world->dispatcher;
	if (sched_next(dispatcher->sched) <= world->now)
		sched_advance(dispatcher->sched, world->now, &dispatcher->kicks);
	tokens_settle(dispatcher, world->now);
	(void)tokens_overdue(dispatcher, world->now);
}

static void join(struct world *world, unsigned index, const struct sched_guest_policy *policy)
{
	struct dispatched *guest = &world->guest[index];
	guest->policy = *policy;
	guest->sched = sched_guest_add(world->dispatcher.sched, policy, guest, world->now, NULL);
	world->joined[index] = guest->sched != NULL;
	if (!world->joined[index])
		return;
	for (unsigned i = 0; i < VCPUS; i++)
		guest->vcpu[i] =
		    (struct lent){.guest = guest, .shared = &guest->page->vcpu[i], .index = i, .waits_for = NO_PLACE};
	tokens_attach(guest);
	tokens_look(guest, world->now);
	tokens_settle(&world->dispatcher, world->now);
}

static void leave(struct world *world, unsigned index)
{
	if (!world->joined[index])
		return;
	tokens_release(&world->guest[index]);
	sched_guest_remove(world->guest[index].sched, world->now, &world->dispatcher.kicks);
	world->joined[index] = false;
	tokens_settle(&world->dispatcher, world->now);
}

/* ---- the books ---- */

static void check_vcpu(const struct world *world, const struct lent *vcpu)
{
	const struct place *place = world->dispatcher.place;
	bool lent = token_kind(vcpu->token) == TOKEN_RUN;
	assert(lent == (vcpu->out && !vcpu->asked));
	assert(!vcpu->asked || vcpu->out);
	assert(!vcpu->late || vcpu->asked);
	assert(vcpu->place < PLACES && (vcpu->waits_for == NO_PLACE || vcpu->waits_for < PLACES));
	if (vcpu->out && !vcpu->late)
		assert(place[vcpu->place].holder == vcpu);
	if (vcpu->waits_for != NO_PLACE)
		assert(place[vcpu->waits_for].next == vcpu);
}

static void check_books(const struct world *world)
{
	const struct dispatcher *dispatcher = &world->dispatcher;
	unsigned asked = 0;
	for (unsigned g = 0; g < GUESTS; g++) {
		for (unsigned i = 0; world->joined[g] && i < VCPUS; i++) {
			const struct lent *vcpu = &world->guest[g].vcpu[i];
			check_vcpu(world, vcpu);
			asked += vcpu->asked && !vcpu->late;
		}
	}
	assert(asked == dispatcher->asked);
	for (unsigned i = 0; i < PLACES; i++) {
		const struct lent *holder = dispatcher->place[i].holder;
		assert(holder == NULL || (holder->out && !holder->late && holder->place == i));
	}
	assert(dispatcher->place[0].holder == NULL || dispatcher->place[0].holder != dispatcher->place[1].holder);
}

/* ---- guests ---- */

static void honest_step(struct world *world)
{
	for (unsigned i = 0; i < VCPUS; i++) {
		struct token_vcpu *shared = &world->guest[0].page->vcpu[i];
		bool idle = (shared->want & TOKEN_MASK) == TOKEN_IDLE;
		if (idle == world->works[i])
			shared->want = token_after(shared->want, world->works[i] ? TOKEN_WANTS : TOKEN_IDLE);
		bool may_run = world->works[i] && token_kind(shared->token) == TOKEN_RUN;
		shared->running = may_run ? shared->token : 0;
	}
	tokens_look(&world->guest[0], world->now);
}

/* Any word of the page, but mostly those that mean something, and what would do harm there. */
static void hostile_write(struct world *world, struct dispatched *guest)
{
	struct fuzz_rig *rig = &world->rig;
	uint8_t choice = fuzz_byte(rig);
	struct token_vcpu *vcpu = &guest->page->vcpu[choice & 1];
	uint32_t *const words[] = {&vcpu->thread, &vcpu->running,   &vcpu->want,     &vcpu->running,
				   &vcpu->token,  &vcpu->processor, &vcpu->sleeping, &vcpu->bell};
	const uint32_t values[] = {0,
				   vcpu->token,
				   vcpu->token ^ TOKEN_NEXT,
				   TOKEN_WANTS,
				   (uint32_t)getppid(),
				   (uint32_t)gettid(),
				   UINT32_MAX,
				   (uint32_t)fuzz_number(rig, 2)};
	uint32_t value = values[choice >> 1 & 7];
	if (choice < 0xe0) {
		__atomic_store_n(words[choice >> 4 & 7], value, __ATOMIC_SEQ_CST);
		return;
	}
	uint32_t *any = (uint32_t *)guest->page;
	__atomic_store_n(&any[fuzz_number(rig, 2) % (sizeof *guest->page / sizeof *any)], value, __ATOMIC_SEQ_CST);
}

static void rejoin(struct world *world, unsigned index)
{
	uint8_t choice = fuzz_byte(&world->rig);
	const struct sched_guest_policy policy = {.vcpus = VCPUS,
						  .shares = 1000,
						  .limit = (choice & 4) != 0 ? 300000 : 0,
						  .coscheduling = (enum sched_coscheduling)(choice & 3) % 3};
	leave(world, index);
	join(world, index, &policy);
}

static void step(struct world *world)
{
	struct fuzz_rig *rig = &world->rig;
	uint8_t action = fuzz_byte(rig);
	unsigned index = 1 + action % (GUESTS - 1);
	if (action < 0x80) {
		hostile_write(world, &world->guest[index]);
		if ((action & 0x40) != 0 && world->joined[index]) /* it rings its doorbell */
			tokens_look(&world->guest[index], world->now);
	} else if (action < 0xb0) {
		pass(world, UINT64_C(1) << fuzz_byte(rig) % 24);
	} else if (action < 0xd0) {
		world->works[action & 1] = (action & 2) != 0;
		honest_step(world);
	} else if (action < 0xf8) {
		honest_step(world);
	} else if (action < 0xfc) {
		rejoin(world, index);
	} else if (world->joined[index]) { /* the host was gone for a while */
		tokens_attach(&world->guest[index]);
		tokens_look(&world->guest[index], world->now);
		for (unsigned i = 0; i < PLACES; i++)
			sched_set_add(&world->dispatcher.kicks, i);
	}
	turn(world);
	check_books(world);
}

/* Whatever the others last wrote stays there: they never run, never give back, or want everything. */
static void check_honest_gets_a_turn(struct world *world)
{
	bool ran = false;
	world->works[0] = true;
	for (unsigned i = 0; i < PATIENCE && !ran; i++) {
		honest_step(world);
		turn(world);
		check_books(world);
		ran = world->guest[0].page->vcpu[0].running != 0;
		pass(world, SLICE_NS);
	}
	assert(ran);
}

/* ---- what a guest passes as its page ---- */

/* Whatever the memory is and says, it is refused or mapped whole. */
static void check_mapping(struct fuzz_rig *rig)
{
	int fd = -1;
	uint8_t choice = fuzz_byte(rig);
	struct token_page *page = token_page_create(VCPUS, &fd, NULL);
	assert(page != NULL);
	uint64_t *const header[] = {&page->magic, &page->version, &page->size, &page->vcpu_count};
	if ((choice & 8) != 0)
		*header[choice & 3] = fuzz_number(rig, 8);
	struct token_page *mapped = token_page_map(fd, (choice & 0x10) != 0 ? fuzz_byte(rig) : VCPUS, NULL);
	assert(mapped != NULL || (choice & 0x18) != 0);
	if (mapped != NULL)
		mapped->vcpu[LEDGER_MAX_VCPUS - 1].bell = 1;
	assert(mapped == NULL || page->vcpu[LEDGER_MAX_VCPUS - 1].bell == 1);
	token_page_unmap(mapped);
	token_page_unmap(page);
	close(fd);
}

/* ---- which threads are bound ---- */

static void note_affinities(cpu_set_t *own, cpu_set_t *parent)
{
	assert(sched_getaffinity(0, sizeof *own, own) == 0);
	if (getppid() == 0 || sched_getaffinity(getppid(), sizeof *parent, parent) != 0)
		CPU_ZERO(parent); /* it is in another namespace */
}

static void check_affinities(const struct world *world)
{
	cpu_set_t own, parent;
	note_affinities(&own, &parent);
	assert(CPU_EQUAL(&parent, &world->parent));
	assert(sched_setaffinity(0, sizeof world->allowed, &world->allowed) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct sched_policy policy = {.processors = PLACES, .slice_ns = SLICE_NS};
	const struct sched_guest_policy plain = {.vcpus = VCPUS, .shares = 1000};
	struct world world = {.rig = {.data = data, .left = size}, .now = token_now()};
	const size_t bytes = GUESTS * sizeof *world.page;
	note_affinities(&world.allowed, &world.parent);
	world.page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert(world.page != MAP_FAILED);
	check_mapping(&world.rig);
	world.dispatcher = (struct dispatcher){
	    .places = PLACES, .sched = sched_create(&policy, NULL), .lease_until = world.now + TOKEN_LEASE_NS};
	assert(world.dispatcher.sched != NULL);
	for (unsigned i = 0; i < PLACES; i++)
		world.dispatcher.place[i].number = i;
	for (unsigned i = 0; i < GUESTS; i++) {
		world.guest[i] = (struct dispatched){.dispatcher = &world.dispatcher,
						     .page = &world.page[i],
						     .token_fd = -1,
						     .doorbell = -1,
						     .tasks_fd = i == 1 ? open(TASKS, O_PATH | O_CLOEXEC) : -1};
		join(&world, i, &plain);
		assert(world.joined[i]);
	}
	for (unsigned i = 0; world.rig.left > 0 && i < 2000; i++)
		step(&world);
	check_honest_gets_a_turn(&world);
	for (unsigned i = 0; i < GUESTS; i++) {
		leave(&world, i);
		if (world.guest[i].tasks_fd >= 0)
			close(world.guest[i].tasks_fd);
	}
	check_books(&world);
	check_affinities(&world);
	sched_destroy(world.dispatcher.sched);
	assert(munmap(world.page, bytes) == 0);
	return 0;
}

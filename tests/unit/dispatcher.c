/* SPDX-License-Identifier: MIT */
/*
 * Run tokens under stress: the guest's side (machine/turn.c) and the dispatcher, with threads that stand in for vCPUs.
 * They run, halt and are woken at random; leases run out; hosts let go and come again. No wake-up may be lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs what stands above. */
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/dispatcher.h"
#include "machine/turn.h"

#define GUESTS 4
#define VCPUS 2
#define PROCESSORS 2

/* A vCPU without an engine: it "runs" while its poll word says so. */
struct runner {
	struct turn turn;
	struct cpu *cpu;
	pthread_t thread;
	uint64_t asked, done; /* wake-ups that were sent; that it has seen */
	uint64_t turns;
};

struct rig {
	struct ledger *ledger;
	int ledger_fd;
	struct loop loop;
	struct turns turns;
	struct runner runner[VCPUS];
};

static void nap(void)
{
	(void)usleep(100);
}

/* Spins for a while, as guest code would, until somebody wants it to leave. */
static void run_some(struct runner *runner, unsigned length)
{
	struct cpu *cpu = runner->cpu;
	for (unsigned i = 0; i < length; i++) {
		if (__atomic_load_n(&cpu->run, __ATOMIC_SEQ_CST) != 0)
			continue;
		__atomic_store_n(&cpu->run, 1, __ATOMIC_SEQ_CST);
		if (cpu_lost_token(cpu) || (__atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST) & CPU_REQUEST_STOP) != 0)
			return;
	}
}

static bool has_work(struct runner *runner)
{
	uint64_t asked = __atomic_load_n(&runner->asked, __ATOMIC_SEQ_CST);
	bool more = asked != runner->done;
	__atomic_store_n(&runner->done, asked, __ATOMIC_SEQ_CST);
	return more;
}

static bool must_stop(const struct runner *runner)
{
	return (__atomic_load_n(&runner->cpu->requests, __ATOMIC_SEQ_CST) & CPU_REQUEST_STOP) != 0;
}

/* As the vCPU's thread does it: machine/vcpu.c. */
static void wait_for_work(struct runner *runner)
{
	turn_sleep_begins(&runner->turn);
	for (;;) {
		uint32_t bell = turn_bell(&runner->turn);
		if (must_stop(runner) || has_work(runner))
			break;
		turn_idle(&runner->turn);
		turn_sleep(&runner->turn, bell);
	}
	turn_sleep_ends(&runner->turn);
}

static void *runner_main(void *opaque)
{
	struct runner *runner = opaque;
	unsigned seed = (unsigned)(uintptr_t)runner;
	turn_attach(&runner->turn, NULL);
	while (turn_begin(&runner->turn)) {
		runner->turns++;
		run_some(runner, (unsigned)rand_r(&seed) % 20000);
		if (!cpu_lost_token(runner->cpu))
			wait_for_work(runner);
	}
	turn_idle(&runner->turn);
	return NULL;
}

static void ask(struct runner *runner)
{
	(void)__atomic_fetch_add(&runner->asked, 1, __ATOMIC_SEQ_CST);
	(void)turn_wake(&runner->turn, false, TOKEN_WANTS_BY_EVENT);
}

static void on_timer(void *opaque, int fd, uint32_t events)
{
	(void)opaque;
	(void)fd;
	(void)events;
}

static void rig_open(struct rig *rig, unsigned vcpus)
{
	struct error error;
	rig->ledger = ledger_create(vcpus, &rig->ledger_fd, &error);
	assert_non_null(rig->ledger);
	assert_true(loop_init(&rig->loop, NULL, on_timer, NULL, &error));
	rig->turns = (struct turns){.page_fd = -1, .doorbell = -1, .timer = -1};
	assert_true(turns_create(&rig->turns, rig->ledger, &rig->loop, &error));
	for (unsigned i = 0; i < vcpus; i++) {
		struct runner *runner = &rig->runner[i];
		*runner = (struct runner){.asked = 1};
		runner->cpu =
		    mmap(NULL, sizeof *runner->cpu, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(runner->cpu, MAP_FAILED);
		runner->cpu->ledger = &rig->ledger->vcpu[i];
		assert_true(turn_init(&runner->turn, &rig->turns, runner->cpu, i, &error));
		assert_int_equal(pthread_create(&runner->thread, NULL, runner_main, runner), 0);
	}
}

static void rig_close(struct rig *rig, unsigned vcpus)
{
	for (unsigned i = 0; i < vcpus; i++) {
		struct runner *runner = &rig->runner[i];
		__atomic_fetch_or(&runner->cpu->requests, CPU_REQUEST_STOP, __ATOMIC_SEQ_CST);
		(void)turn_wake(&runner->turn, true, TOKEN_WANTS_BY_EVENT);
		assert_int_equal(pthread_join(runner->thread, NULL), 0);
		(void)munmap(runner->cpu, sizeof *runner->cpu);
	}
	turns_destroy(&rig->turns);
	loop_destroy(&rig->loop);
	ledger_close(rig->ledger, rig->ledger_fd);
}

static struct dispatched *add(struct dispatcher *dispatcher, struct rig *rig, const struct sched_guest_policy *policy)
{
	struct error error = {0};
	struct dispatched *guest =
	    dispatcher_add(dispatcher, "stress", dup(rig->turns.page_fd), dup(rig->turns.doorbell),
			   open("/proc/self/task", O_PATH | O_CLOEXEC), policy, &error);
	if (guest == NULL)
		fail_msg("%s", error.text);
	return guest;
}

/* Every wake-up sent is seen: else this never ends, and the test's time does. */
static void await_quiet(struct rig *rig)
{
	for (unsigned i = 0; i < VCPUS; i++)
		while (__atomic_load_n(&rig->runner[i].asked, __ATOMIC_SEQ_CST) !=
		       __atomic_load_n(&rig->runner[i].done, __ATOMIC_SEQ_CST))
			nap();
}

static void no_wake_up_is_lost(void **state)
{
	(void)state;
	static const enum sched_coscheduling modes[GUESTS] = {SCHED_CO_NONE, SCHED_CO_RELAXED, SCHED_CO_STRICT,
							      SCHED_CO_NONE};
	struct rig *rig = calloc(GUESTS, sizeof *rig);
	struct dispatched *guest[GUESTS] = {0};
	struct error error;
	struct dispatcher *dispatcher =
	    dispatcher_create(&(struct sched_policy){.processors = PROCESSORS, .slice_ns = 300000}, &error);
	unsigned seed = 1;
	assert_non_null(dispatcher);
	struct dispatcher_report report;
	dispatcher_read(dispatcher, &report);
	for (unsigned i = 0; i < GUESTS; i++)
		rig_open(&rig[i], VCPUS);
	for (unsigned round = 0; round < 40000; round++) {
		unsigned i = (unsigned)rand_r(&seed) % GUESTS, what = (unsigned)rand_r(&seed) % 100;
		struct sched_guest_policy policy = {.vcpus = VCPUS,
						    .shares = 1 + (unsigned)rand_r(&seed) % 1000,
						    .limit = what % 3 == 0 ? 300000 : 0,
						    .coscheduling =
							report.processors < VCPUS ? SCHED_CO_NONE : modes[i]};
		if (what < 2 && guest[i] != NULL) {
			dispatcher_remove(guest[i]);
			guest[i] = NULL;
		} else if (what < 5 && guest[i] == NULL) {
			guest[i] = add(dispatcher, &rig[i], &policy);
		} else if (what < 8 && guest[i] != NULL) {
			assert_true(dispatcher_change(guest[i], &policy, &error));
		} else if (what < 10) {
			await_quiet(&rig[i]);
		} else {
			ask(&rig[i].runner[(unsigned)rand_r(&seed) % VCPUS]);
		}
	}
	for (unsigned i = 0; i < GUESTS; i++)
		await_quiet(&rig[i]);
	dispatcher_read(dispatcher, &report);
	assert_true(report.grants > 0);
	dispatcher_destroy(dispatcher); /* removes the guests */
	for (unsigned i = 0; i < GUESTS; i++) {
		ask(&rig[i].runner[0]);
		await_quiet(&rig[i]);
		rig_close(&rig[i], VCPUS);
	}
	free(rig);
}

/* A host that is gone moves no lease on. The guest's own timer finds out. */
static void leases_expire(void **state)
{
	(void)state;
	struct rig *rig = calloc(1, sizeof *rig);
	struct error error;
	rig_open(rig, VCPUS);
	assert_true(turns_watch(&rig->turns, &error));
	await_quiet(rig);
	struct token_page *page = rig->turns.page;
	__atomic_store_n(&page->lease_until, token_now() + TOKEN_LEASE_NS, __ATOMIC_SEQ_CST);
	__atomic_store_n(&page->epoch, 1, __ATOMIC_SEQ_CST);
	while (!rig->turns.was_leased)
		loop_run_once(&rig->loop);
	for (unsigned i = 0; i < VCPUS; i++)
		ask(&rig->runner[i]); /* nobody grants them a token */
	while (rig->ledger->lapse_count == 0)
		loop_run_once(&rig->loop);
	await_quiet(rig);
	assert_true(ledger_lapse_ns(rig->ledger) > 0);
	/* A host comes, and lets go in good order. */
	struct dispatcher *dispatcher = dispatcher_create(&(struct sched_policy){.processors = 1}, &error);
	assert_non_null(dispatcher);
	struct dispatched *guest = add(dispatcher, rig, &(struct sched_guest_policy){.vcpus = VCPUS});
	while (rig->ledger->lapse_since != 0)
		loop_run_once(&rig->loop);
	ask(&rig->runner[1]);
	await_quiet(rig);
	dispatcher_remove(guest);
	while (rig->turns.was_leased)
		loop_run_once(&rig->loop);
	assert_int_equal(rig->ledger->lapse_count, 1);
	dispatcher_destroy(dispatcher);
	rig_close(rig, VCPUS);
	free(rig);
}

/* What a guest that was taken over can do to its page and its doorbell touches nobody else. */
static void a_hostile_guest_is_outlived(void **state)
{
	(void)state;
	struct rig *bad = calloc(1, sizeof *bad), *good = calloc(1, sizeof *good);
	struct error error;
	unsigned seed = 7;
	struct dispatcher *dispatcher =
	    dispatcher_create(&(struct sched_policy){.processors = 1, .slice_ns = 300000}, &error);
	assert_non_null(dispatcher);
	rig_open(good, VCPUS);
	rig_open(bad, VCPUS);
	(void)add(dispatcher, good, &(struct sched_guest_policy){.vcpus = VCPUS});
	(void)add(dispatcher, bad, &(struct sched_guest_policy){.vcpus = VCPUS});
	struct token_page *page = bad->turns.page;
	for (unsigned round = 0; round < 20000; round++) {
		struct token_vcpu *vcpu = &page->vcpu[(unsigned)rand_r(&seed) % VCPUS];
		uint32_t *words[] = {&vcpu->want, &vcpu->running,   &vcpu->token, &vcpu->thread,
				     &vcpu->bell, &vcpu->processor, &page->bind};
		const uint64_t many = 1 + (uint64_t)rand_r(&seed) % 1000;
		__atomic_store_n(words[(unsigned)rand_r(&seed) % 7], (uint32_t)rand_r(&seed), __ATOMIC_SEQ_CST);
		ssize_t ignored = write(bad->turns.doorbell, &many, sizeof many);
		(void)ignored;
		if (round % 16 == 0)
			ask(&good->runner[round / 16 % VCPUS]);
	}
	await_quiet(good);
	/* Its own threads go on as soon as it is let go. */
	dispatcher_destroy(dispatcher);
	for (unsigned i = 0; i < VCPUS; i++)
		ask(&bad->runner[i]);
	await_quiet(bad);
	rig_close(good, VCPUS);
	rig_close(bad, VCPUS);
	free(good);
	free(bad);
}

static void descriptors_are_checked(void **state)
{
	(void)state;
	struct error error;
	int pipes[2], tokens;
	struct dispatcher *dispatcher = dispatcher_create(&(struct sched_policy){.processors = 1}, &error);
	struct token_page *page = token_page_create(1, &tokens, &error);
	struct sched_guest_policy policy = {.vcpus = 1};
	assert_non_null(dispatcher);
	assert_non_null(page);
	assert_int_equal(pipe(pipes), 0);
	assert_null(dispatcher_add(dispatcher, "pipe", dup(tokens), dup(pipes[0]), -1, &policy, &error));
	assert_null(dispatcher_add(dispatcher, "no page", dup(pipes[0]), eventfd(0, 0), -1, &policy, &error));
	assert_null(dispatcher_add(dispatcher, "closed", -1, -1, -1, &policy, &error));
	int unsealed = memfd_create("unsealed", MFD_CLOEXEC);
	assert_int_equal(ftruncate(unsealed, sizeof *page), 0);
	assert_null(dispatcher_add(dispatcher, "unsealed", unsealed, eventfd(0, 0), -1, &policy, &error));
	policy.vcpus = 2; /* it has one */
	assert_null(dispatcher_add(dispatcher, "two", dup(tokens), eventfd(0, 0), -1, &policy, &error));
	policy.vcpus = 1000;
	assert_null(dispatcher_add(dispatcher, "many", dup(tokens), eventfd(0, 0), -1, &policy, &error));
	policy = (struct sched_guest_policy){.vcpus = 1, .reservation = 900000};
	struct dispatched *guest = dispatcher_add(dispatcher, "good", dup(tokens), eventfd(0, 0), -1, &policy, &error);
	assert_non_null(guest);
	assert_false(dispatcher_admits(dispatcher, &policy, &error)); /* only a tenth is left */
	assert_null(dispatcher_add(dispatcher, "too much", dup(tokens), eventfd(0, 0), -1, &policy, &error));
	policy.reservation = 100000;
	assert_true(dispatcher_admits(dispatcher, &policy, &error));
	assert_true(dispatcher_change(guest, &policy, &error));
	policy.reservation = 2000000;
	assert_false(dispatcher_change(guest, &policy, &error));
	dispatcher_remove(guest);
	assert_int_equal(page->epoch & 1, 0);
	dispatcher_destroy(dispatcher);
	token_page_unmap(page);
	close(tokens);
	close(pipes[0]);
	close(pipes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_wake_up_is_lost),
	    cmocka_unit_test(leases_expire),
	    cmocka_unit_test(a_hostile_guest_is_outlived),
	    cmocka_unit_test(descriptors_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

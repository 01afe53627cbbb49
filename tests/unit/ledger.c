/* SPDX-License-Identifier: MIT */
/* The ledger's clocks sum to wall time, for any transitions and as seen by concurrent readers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ledger/ledger.h"
#include "ledger/settle.h"

#define RUN_NS UINT64_C(400000000)

static uint64_t monotonic_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t sum_states(const struct ledger_reading *reading)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
		sum += reading->state_ns[i];
	return sum;
}

static bool within_permille(uint64_t a, uint64_t b)
{
	uint64_t difference = a > b ? a - b : b - a;
	return difference <= b / 1000 + 1000;
}

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Short and long stays, sleeps included, in every state. Returns how many transitions it made. */
static uint64_t wander(struct ledger_vcpu *line, uint64_t seed, uint64_t duration_ns)
{
	uint64_t transitions = 0;
	uint64_t end = monotonic_ns() + duration_ns;
	while (monotonic_ns() < end) {
		uint64_t random = random_next(&seed);
		ledger_enter(line, (enum ledger_state)(random % LEDGER_BOOKED_COUNT));
		ledger_count(line, (enum ledger_counter)((random >> 8) % LEDGER_COUNTER_COUNT));
		transitions++;
		if ((random >> 16) % 4096 == 0) {
			struct timespec pause = {.tv_nsec = 300000};
			nanosleep(&pause, NULL);
		}
		for (uint64_t i = (random >> 32) % 256; i > 0; i--)
			__asm__ volatile("");
	}
	return transitions;
}

/* The store of the sequence reaches a reader later than the TSC was read: up to 4 us seen in a virtual machine. */
#define STORE_DELAY_NS 20000

/* Keeps the processor busy for so long. */
static void stay_busy(uint64_t ns)
{
	uint64_t end = monotonic_ns() + ns;
	while (monotonic_ns() < end)
		;
}

/* No counter, and not the wall clock, ever goes back. */
static bool never_back(const struct ledger_reading *before, const struct ledger_reading *after)
{
	for (unsigned i = 0; i < LEDGER_COUNTER_COUNT; i++)
		if (after->count[i] < before->count[i])
			return false;
	return after->wall_ns >= before->wall_ns;
}

/* Whether a state's clock went back by more than a store's delay. A host that takes the processor away with the store
 * under way makes that longer, rarely: the caller counts. */
static bool state_went_back(const struct ledger_reading *before, const struct ledger_reading *after)
{
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
		if (after->state_ns[i] + STORE_DELAY_NS < before->state_ns[i])
			return true;
	return false;
}

#define LATE_STORES(readings) ((readings) / 1000 + 3)

/* Reads until *stop. Returns the number of readings, or 0 after an inconsistent one, which it reports. */
static uint64_t read_until(const struct ledger *ledger, const atomic_bool *stop)
{
	struct ledger_reading before, after;
	uint64_t readings = 0, late = 0;
	ledger_read(ledger, 0, &before);
	do {
		ledger_read(ledger, 0, &after);
		uint64_t sum = sum_states(&after);
		bool kept = never_back(&before, &after), summed = within_permille(sum, after.wall_ns);
		late += state_went_back(&before, &after);
		readings++;
		if (!kept || !summed || late > LATE_STORES(readings)) {
			(void)fprintf(stderr,
				      "reading %" PRIu64 ": %s%s%" PRIu64 " late, sum %" PRIu64 " of %" PRIu64
				      " ns, before %" PRIu64 " ns\n",
				      readings, kept ? "" : "went back, ", summed ? "" : "wrong sum, ", late, sum,
				      after.wall_ns, before.wall_ns);
			return 0;
		}
		before = after;
	} while (!atomic_load(stop));
	return readings;
}

struct reader {
	const struct ledger *ledger;
	atomic_bool *stop;
	uint64_t readings;
};

static void *reader_thread(void *opaque)
{
	struct reader *reader = opaque;
	reader->readings = read_until(reader->ledger, reader->stop);
	return NULL;
}

static pid_t start_reader_process(int fd, const atomic_bool *stop)
{
	pid_t pid = fork();
	if (pid == 0) {
		const struct ledger *mapped = ledger_map(fd, NULL);
		_exit(mapped == NULL ? 2 : read_until(mapped, stop) == 0);
	}
	return pid;
}

static void clocks_sum_to_wall_time_for_concurrent_readers(void **state)
{
	(void)state;
	int fd;
	struct ledger *ledger = ledger_create(1, &fd, NULL);
	assert_non_null(ledger);
	atomic_bool *stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(stop, MAP_FAILED);

	pid_t child = start_reader_process(fd, stop);
	assert_true(child > 0);
	struct reader reader = {.ledger = ledger, .stop = stop};
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, reader_thread, &reader), 0);
	uint64_t transitions = wander(&ledger->vcpu[0], 0x9e3779b97f4a7c15u, RUN_NS);
	atomic_store(stop, true);
	pthread_join(thread, NULL);
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);

	assert_true(transitions > 1000);
	assert_true(reader.readings > 10);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);

	struct ledger_reading reading;
	ledger_read(ledger, 0, &reading);
	uint64_t counted = 0;
	for (unsigned i = 0; i < LEDGER_COUNTER_COUNT; i++)
		counted += reading.count[i];
	assert_int_equal(counted, transitions);
	munmap(stop, 4096);
	ledger_close(ledger, fd);
}

static void wall_time_is_the_hosts_clock(void **state)
{
	(void)state;
	int fd;
	uint64_t before = monotonic_ns();
	struct ledger *ledger = ledger_create(2, &fd, NULL);
	assert_non_null(ledger);
	struct ledger_reading start, end;
	uint64_t host_start = monotonic_ns();
	ledger_read(ledger, 1, &start);
	ledger_enter(&ledger->vcpu[1], LEDGER_IDLE);
	wander(&ledger->vcpu[0], 42, RUN_NS);
	ledger_read(ledger, 1, &end);
	uint64_t host_end = monotonic_ns();

	assert_true(start.wall_ns <= host_start - before + 100000);
	assert_true(within_permille(end.wall_ns - start.wall_ns, host_end - host_start));
	assert_int_equal(start.state, LEDGER_PAUSED);
	assert_int_equal(end.state, LEDGER_IDLE);
	/* The vCPU that did nothing but idle has its time there and nowhere else. */
	assert_true(within_permille(end.state_ns[LEDGER_IDLE] + end.state_ns[LEDGER_PAUSED], end.wall_ns));
	assert_true(end.state_ns[LEDGER_IDLE] >= RUN_NS - RUN_NS / 1000);
	assert_int_equal(end.state_ns[LEDGER_GUEST], 0);
	ledger_close(ledger, fd);
}

static void enter_returns_the_state_left(void **state)
{
	(void)state;
	int fd;
	struct ledger *ledger = ledger_create(1, &fd, NULL);
	assert_non_null(ledger);
	assert_int_equal(ledger_enter(&ledger->vcpu[0], LEDGER_GUEST), LEDGER_PAUSED);
	assert_int_equal(ledger_enter(&ledger->vcpu[0], LEDGER_DEVICE), LEDGER_GUEST);
	assert_int_equal(ledger_enter(&ledger->vcpu[0], LEDGER_GUEST), LEDGER_DEVICE);
	ledger_close(ledger, fd);
}

/* A writer that died with an odd sequence must not hang its readers. */
static void dead_writer_does_not_hang_a_reader(void **state)
{
	(void)state;
	int fd;
	struct ledger *ledger = ledger_create(1, &fd, NULL);
	assert_non_null(ledger);
	ledger->vcpu[0].sequence = 1;
	ledger->vcpu[0].state = UINT64_MAX;
	struct ledger_reading reading;
	ledger_read(ledger, 0, &reading);
	assert_true(reading.state < LEDGER_STATE_COUNT);
	ledger_close(ledger, fd);
}

static void refuses_what_is_no_ledger(void **state)
{
	(void)state;
	struct error error;
	int fd;
	assert_null(ledger_create(0, &fd, &error));
	assert_null(ledger_create(LEDGER_MAX_VCPUS + 1, &fd, &error));

	fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_null(ledger_map(fd, &error)); /* not sealed: it could shrink under us */
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_null(ledger_map(fd, &error)); /* too small */
	assert_int_equal(ftruncate(fd, sizeof(struct ledger)), 0);
	assert_null(ledger_map(fd, &error)); /* no magic */
	close(fd);

	struct ledger *ledger = ledger_create(1, &fd, &error);
	assert_non_null(ledger);
	ledger->version++;
	assert_null(ledger_map(fd, &error));
	ledger->version--;
	const struct ledger *mapped = ledger_map(fd, &error);
	assert_non_null(mapped);
	ledger_unmap(mapped);
	ledger_close(ledger, fd);
}

/* ---- settling: the arithmetic ---- */

struct division {
	struct ledger_settled settled;
	uint64_t booked[LEDGER_BOOKED_COUNT];
	struct ledger_usage usage;
};

static void divide(struct division *division)
{
	uint64_t booked = 0, divided = 0;
	ledger_divide(&division->settled, division->booked, &division->usage);
	for (unsigned i = 0; i < LEDGER_BOOKED_COUNT; i++)
		booked += division->booked[i];
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
		divided += division->settled.clock[i];
	assert_int_equal(divided, booked);
}

static void run_delay_comes_off_the_running_states_by_their_share(void **state)
{
	(void)state;
	struct division of = {.booked = {[LEDGER_GUEST] = 600, [LEDGER_TRANSLATE] = 200, [LEDGER_DEVICE] = 200},
			      .usage = {.cpu = 400, .run_delay = 600}};
	divide(&of);
	assert_int_equal(of.settled.clock[LEDGER_GUEST], 240);
	assert_int_equal(of.settled.clock[LEDGER_TRANSLATE], 80);
	assert_int_equal(of.settled.clock[LEDGER_DEVICE], 80);
	assert_int_equal(of.settled.clock[LEDGER_PREEMPTED], 600);
	assert_int_equal(of.settled.clock[LEDGER_BLOCKED], 0);
}

static void run_delay_after_a_wake_up_comes_off_the_sleep(void **state)
{
	(void)state;
	struct division of = {.booked = {[LEDGER_GUEST] = 100, [LEDGER_IDLE] = 900},
			      .usage = {.cpu = 110, .run_delay = 300}};
	divide(&of);
	assert_int_equal(of.settled.clock[LEDGER_GUEST], 100);
	assert_int_equal(of.settled.clock[LEDGER_EXIT], 10); /* the system calls to sleep */
	assert_int_equal(of.settled.clock[LEDGER_IDLE], 590);
	assert_int_equal(of.settled.clock[LEDGER_PREEMPTED], 300);
}

static void sleep_in_a_running_state_is_blocked(void **state)
{
	(void)state;
	struct division of = {.booked = {[LEDGER_DEVICE] = 1000}, .usage = {.cpu = 200, .run_delay = 300}};
	divide(&of);
	assert_int_equal(of.settled.clock[LEDGER_DEVICE], 200);
	assert_int_equal(of.settled.clock[LEDGER_PREEMPTED], 300);
	assert_int_equal(of.settled.clock[LEDGER_BLOCKED], 500);
}

/* Linux tells a wait for a processor when it is over: it must not be booked twice, nor as blocked. */
static void wait_that_goes_on_is_booked_once(void **state)
{
	(void)state;
	struct division of = {.booked = {[LEDGER_GUEST] = 1000}, .usage = {.cpu = 700, .delayed = true}};
	divide(&of);
	assert_int_equal(of.settled.clock[LEDGER_PREEMPTED], 300);
	of.booked[LEDGER_GUEST] = 2000;
	of.usage = (struct ledger_usage){.cpu = 1600, .run_delay = 400};
	divide(&of);
	assert_int_equal(of.settled.clock[LEDGER_GUEST], 1600);
	assert_int_equal(of.settled.clock[LEDGER_PREEMPTED], 400);
	assert_int_equal(of.settled.clock[LEDGER_BLOCKED], 0);
}

/* Its processor given back, the thread waits for one only to go to sleep. */
static void delay_on_the_way_to_sleep_is_waiting(void **state)
{
	(void)state;
	struct division of = {.booked = {[LEDGER_GUEST] = 1000}, .usage = {.cpu = 1000}};
	divide(&of);
	of.booked[LEDGER_READY] = 400;
	of.usage = (struct ledger_usage){.cpu = 1010, .run_delay = 390, .gone = true};
	divide(&of);
	assert_int_equal(of.settled.clock[LEDGER_READY], 390);
	assert_int_equal(of.settled.clock[LEDGER_EXIT], 10);
	assert_int_equal(of.settled.clock[LEDGER_PREEMPTED], 0);
	of.booked[LEDGER_READY] = 900; /* then it sleeps, and waits when it was woken */
	of.usage = (struct ledger_usage){.cpu = 1020, .run_delay = 490};
	divide(&of);
	assert_int_equal(of.settled.clock[LEDGER_READY], 780);
	assert_int_equal(of.settled.clock[LEDGER_PREEMPTED], 100);
}

static void figures_that_do_not_fit_are_carried_over(void **state)
{
	(void)state;
	struct division of = {.booked = {[LEDGER_GUEST] = 1000}, .usage = {.cpu = 1030, .run_delay = 20}};
	divide(&of);
	assert_int_equal(of.settled.clock[LEDGER_GUEST], 1000);
	of.booked[LEDGER_IDLE] = 500;
	divide(&of);
	assert_int_equal(of.settled.clock[LEDGER_GUEST] + of.settled.clock[LEDGER_EXIT], 1030);
	assert_int_equal(of.settled.clock[LEDGER_PREEMPTED], 20);
	assert_int_equal(of.settled.clock[LEDGER_IDLE], 450);
}

static void no_clock_goes_back_and_none_is_lost_whatever_linux_says(void **state)
{
	(void)state;
	struct division of = {0};
	uint64_t seed = 0x1234567;
	for (unsigned i = 0; i < 20000; i++) {
		struct ledger_settled before = of.settled;
		for (unsigned k = 0; k < LEDGER_BOOKED_COUNT; k++)
			of.booked[k] += random_next(&seed) % 3 == 0 ? random_next(&seed) % 100000 : 0;
		of.usage = (struct ledger_usage){.cpu = of.usage.cpu + random_next(&seed) % 200000,
						 .run_delay = of.usage.run_delay + random_next(&seed) % 100000,
						 .delayed = random_next(&seed) % 2 == 0};
		divide(&of);
		for (unsigned k = 0; k < LEDGER_STATE_COUNT; k++)
			assert_true(of.settled.clock[k] >= before.clock[k]);
	}
}

/* ---- settling: with Linux ---- */

static uint64_t thread_cpu_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void pin_to_one_processor(void)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	assert_int_equal(sched_setaffinity(0, sizeof set, &set), 0);
}

static pid_t start_hog(void)
{
	volatile unsigned work = 0;
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	for (;;)
		work++;
}

/* Works and sleeps as a vCPU's thread does, beside a hog on its processor. */
static void time_of_others_is_preempted(void **state)
{
	(void)state;
	cpu_set_t processors;
	int fd;
	struct ledger *ledger = ledger_create(1, &fd, NULL);
	struct ledger_thread thread;
	struct ledger_reading start, end;
	struct ledger_vcpu *line = &ledger->vcpu[0];
	assert_int_equal(sched_getaffinity(0, sizeof processors, &processors), 0);
	pin_to_one_processor();
	int tasks = ledger_tasks_open();
	assert_true(ledger_thread_open(&thread, tasks, (uint64_t)gettid(), true));
	close(tasks);
	pid_t hog = start_hog();
	assert_true(hog > 0);

	ledger_settle_begin(ledger, 0, &thread);
	uint64_t cpu = thread_cpu_ns();
	ledger_read(ledger, 0, &start);
	uint64_t stop = monotonic_ns() + 2 * RUN_NS;
	for (unsigned i = 0; monotonic_ns() < stop; i++) {
		ledger_enter(line, i % 16 == 0 ? LEDGER_TRANSLATE : LEDGER_GUEST);
		stay_busy(20000);
		if (i % 64 != 0)
			continue;
		ledger_settle_if_due(ledger, 0, &thread);
		ledger_enter(line, LEDGER_IDLE);
		struct timespec pause = {.tv_nsec = 1000000};
		nanosleep(&pause, NULL);
		ledger_enter(line, LEDGER_EXIT);
		ledger_settle_if_due(ledger, 0, &thread);
	}
	uint64_t before[LEDGER_STATE_COUNT], settled[LEDGER_STATE_COUNT], until = 0;
	ledger_read_settled(ledger, 0, before);
	ledger_settle(ledger, 0, &thread);
	cpu = thread_cpu_ns() - cpu;
	ledger_read(ledger, 0, &end);
	ledger_read_settled(ledger, 0, settled);
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++) {
		assert_true(settled[i] >= before[i]);
		until += settled[i];
	}
	assert_true(within_permille(until, end.wall_ns - end.unsettled_ns));
	assert_int_equal(kill(hog, SIGKILL), 0);
	assert_int_equal(waitpid(hog, NULL, 0), hog);

	assert_true(within_permille(sum_states(&end), end.wall_ns));
	uint64_t running = 0, wall = end.wall_ns - start.wall_ns;
	for (unsigned i = 0; i < LEDGER_RUNNING_COUNT; i++)
		running += end.state_ns[i] - start.state_ns[i];
	uint64_t error = running > cpu ? running - cpu : cpu - running;
	assert_true(error < cpu / 200 + 1000000);
	assert_true(end.state_ns[LEDGER_PREEMPTED] - start.state_ns[LEDGER_PREEMPTED] > wall / 5);
	ledger_thread_close(&thread);
	ledger_close(ledger, fd);
	assert_int_equal(sched_setaffinity(0, sizeof processors, &processors), 0);
}

static void reader_settles_for_another_thread(void **state)
{
	(void)state;
	int fd;
	struct ledger *ledger = ledger_create(1, &fd, NULL);
	struct ledger_reading reading;
	ledger_settle_thread(ledger, 0); /* no thread yet */
	stay_busy(3000000);
	ledger_read(ledger, 0, &reading);
	assert_true(reading.unsettled_ns >= 1000000);
	ledger->vcpu[0].thread_id = (uint64_t)gettid();
	ledger_settle_thread(ledger, 0);
	ledger_read(ledger, 0, &reading);
	assert_true(reading.unsettled_ns < reading.wall_ns / 2);
	ledger->vcpu[0].thread_id = 1; /* not ours */
	ledger_settle_thread(ledger, 0);
	ledger_close(ledger, fd);
}

/* ---- kinds ---- */

static void one_in_many_is_timed_and_all_are_counted(void **state)
{
	(void)state;
	int fd;
	struct ledger *ledger = ledger_create(1, &fd, NULL);
	struct ledger_vcpu *line = &ledger->vcpu[0];
	struct ledger_reading reading;
	const unsigned rounds = 10 * LEDGER_SAMPLE_EVERY;
	ledger_enter(line, LEDGER_GUEST);
	uint64_t before = monotonic_ns();
	for (unsigned i = 0; i < rounds; i++) {
		bool due = ledger_count_kind(line, LEDGER_KIND_STRING);
		uint64_t begin = ledger_sample_begin(line);
		stay_busy(5000);
		enum ledger_state left =
		    ledger_enter(line, LEDGER_DEVICE); /* has a clock of its own: not in the estimate */
		stay_busy(5000);
		ledger_enter(line, left);
		if (due)
			ledger_sample_end(line, LEDGER_KIND_STRING, begin);
	}
	uint64_t elapsed = monotonic_ns() - before;
	ledger_read(ledger, 0, &reading);
	const struct ledger_estimate *estimate = &reading.kind[LEDGER_KIND_STRING];
	assert_int_equal(estimate->count, rounds);
	assert_true(estimate->samples >= 5 && estimate->samples <= 10);
	assert_true(estimate->ns > rounds * UINT64_C(4500));
	assert_true(estimate->ns <= reading.state_ns[LEDGER_GUEST]);
	assert_true(estimate->ns < elapsed * 9 / 10);
	assert_int_equal(reading.kind[LEDGER_KIND_PORT].ns, 0);
	ledger_close(ledger, fd);
}

static void long_samples_are_dropped(void **state)
{
	(void)state;
	int fd;
	struct ledger *ledger = ledger_create(1, &fd, NULL);
	struct ledger_vcpu *line = &ledger->vcpu[0];
	ledger_enter(line, LEDGER_GUEST);
	uint64_t begin = ledger_sample_begin(line);
	while (ledger_sample_begin(line) - begin <= LEDGER_SAMPLE_MAX)
		;
	ledger_sample_end(line, LEDGER_KIND_STRING, begin);
	assert_int_equal(line->kind[LEDGER_KIND_STRING].samples, 0);
	ledger_close(ledger, fd);
}

/* A process that was taken over writes what it likes into its ledger, after it was checked too: its readers go on. They
 * wait for changes that never end no longer than for one. */
static void hostile_writers_are_outlived(void **state)
{
	(void)state;
	int fd;
	struct ledger *ledger = ledger_create(LEDGER_MAX_VCPUS, &fd, NULL);
	const struct ledger *seen = ledger_map(fd, NULL);
	struct ledger_reading reading[LEDGER_MAX_VCPUS];
	uint64_t settled[LEDGER_STATE_COUNT];
	assert_non_null(seen);
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		ledger->vcpu[i].sequence = ledger->vcpu[i].settled.sequence = 2 * i + 1;
		ledger->vcpu[i].state = UINT64_MAX - i;
		ledger->vcpu[i].since = UINT64_MAX;
	}
	ledger_read_all(seen, LEDGER_MAX_VCPUS, reading);
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++)
		assert_true((unsigned)reading[i].state < LEDGER_BOOKED_COUNT);
	ledger->tsc_hz = 0;
	ledger_read(seen, 0, &reading[0]);
	ledger_read_settled(seen, 0, settled);
	assert_int_equal(reading[0].wall_ns, 0);
	assert_int_equal(settled[0], 0);
	assert_int_equal(ledger_bucket_end(seen, 1), 0);
	assert_int_equal(ledger_lapse_ns(seen), 0);
	ledger_unmap(seen);
	ledger_close(ledger, fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(clocks_sum_to_wall_time_for_concurrent_readers),
	    cmocka_unit_test(wall_time_is_the_hosts_clock),
	    cmocka_unit_test(enter_returns_the_state_left),
	    cmocka_unit_test(dead_writer_does_not_hang_a_reader),
	    cmocka_unit_test(refuses_what_is_no_ledger),
	    cmocka_unit_test(run_delay_comes_off_the_running_states_by_their_share),
	    cmocka_unit_test(run_delay_after_a_wake_up_comes_off_the_sleep),
	    cmocka_unit_test(sleep_in_a_running_state_is_blocked),
	    cmocka_unit_test(wait_that_goes_on_is_booked_once),
	    cmocka_unit_test(delay_on_the_way_to_sleep_is_waiting),
	    cmocka_unit_test(hostile_writers_are_outlived),
	    cmocka_unit_test(figures_that_do_not_fit_are_carried_over),
	    cmocka_unit_test(no_clock_goes_back_and_none_is_lost_whatever_linux_says),
	    cmocka_unit_test(time_of_others_is_preempted),
	    cmocka_unit_test(reader_settles_for_another_thread),
	    cmocka_unit_test(one_in_many_is_timed_and_all_are_counted),
	    cmocka_unit_test(long_samples_are_dropped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

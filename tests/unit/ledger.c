/* SPDX-License-Identifier: MIT */
/* The ledger's clocks sum to wall time, for any transitions and as seen by concurrent readers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ledger/ledger.h"

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

/* What any reader may expect of two readings in a row. */
static bool reading_follows(const struct ledger_reading *before, const struct ledger_reading *after)
{
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
		if (after->state_ns[i] + STORE_DELAY_NS < before->state_ns[i])
			return false;
	for (unsigned i = 0; i < LEDGER_COUNTER_COUNT; i++)
		if (after->count[i] < before->count[i])
			return false;
	return after->wall_ns >= before->wall_ns;
}

/* Reads until *stop. Returns the number of readings, or 0 after an inconsistent one. */
static uint64_t read_until(const struct ledger *ledger, const atomic_bool *stop)
{
	struct ledger_reading before, after;
	uint64_t readings = 0;
	ledger_read(ledger, 0, &before);
	do {
		ledger_read(ledger, 0, &after);
		if (!reading_follows(&before, &after) || !within_permille(sum_states(&after), after.wall_ns))
			return 0;
		before = after;
		readings++;
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
	assert_true(reader.readings > 100);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(clocks_sum_to_wall_time_for_concurrent_readers),
	    cmocka_unit_test(wall_time_is_the_hosts_clock),
	    cmocka_unit_test(enter_returns_the_state_left),
	    cmocka_unit_test(dead_writer_does_not_hang_a_reader),
	    cmocka_unit_test(refuses_what_is_no_ledger),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The simulator against queueing theory: where there is an answer, it must lie in the confidence interval of the
 * simulation's, by batch means, and the interval must be narrow. The seeds are fixed, so each run is the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs what stands above. */
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/sim.h"

#define MS 1000000u
#define SECOND UINT64_C(1000000000)
#define BATCHES 20
#define T_19 3.883 /* Student's t with 19 degrees of freedom: 99.9 % of the distribution lie within */
#define GUESTS_MAX 1000

/* Means of equal numbers of observations, without the first tenth: it began with an empty system. */
struct batches {
	double *value;
	size_t count, room;
};

struct rig {
	struct sim_task task;
	struct sched_guest_policy guest[GUESTS_MAX];
	struct sim_load load[GUESTS_MAX];
	struct batches bursts, requests, messages;
};

static void batches_add(struct batches *batches, double value)
{
	if (batches->count == batches->room) {
		batches->room = batches->room == 0 ? 4096 : batches->room * 2;
		batches->value = realloc(batches->value, batches->room * sizeof *batches->value);
		assert_non_null(batches->value);
	}
	batches->value[batches->count++] = value;
}

static double part_mean(const double *value, size_t count)
{
	double sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += value[i];
	return sum / (double)count;
}

/* The mean must be `expected` within its confidence interval, and that within `width` of it. */
static void batches_check(const struct batches *batches, double expected, double width, const char *what)
{
	size_t skip = batches->count / 10, size = (batches->count - skip) / BATCHES;
	double mean[BATCHES], square = 0;
	assert_true(size > 100);
	for (unsigned b = 0; b < BATCHES; b++)
		mean[b] = part_mean(batches->value + skip + b * size, size);
	double all = part_mean(mean, BATCHES);
	for (unsigned b = 0; b < BATCHES; b++)
		square += (mean[b] - all) * (mean[b] - all);
	double half = T_19 * sqrt(square / (BATCHES - 1) / BATCHES);
	print_message("%s: %.4g ms +- %.2g, theory %.4g, %zu observations\n", what, all / 1e6, half / 1e6,
		      expected / 1e6, batches->count);
	assert_true(half < width * expected);
	assert_true(fabs(all - expected) <= half);
}

static void on_burst(void *owner, unsigned guest, uint64_t took_ns)
{
	(void)guest;
	batches_add(&((struct rig *)owner)->bursts, (double)took_ns);
}

static void on_request(void *owner, unsigned guest, enum sim_kind kind, uint64_t waited_ns)
{
	struct rig *rig = owner;
	(void)guest;
	batches_add(kind == SIM_DISK ? &rig->requests : &rig->messages, (double)waited_ns);
}

/* Guests of `vcpus` each that together want so much of the processors. */
static struct rig *rig_make(unsigned processors, unsigned guests, unsigned vcpus, double use, uint64_t seconds)
{
	struct rig *rig = calloc(1, sizeof *rig);
	assert_non_null(rig);
	for (unsigned g = 0; g < guests; g++) {
		rig->guest[g] = (struct sched_guest_policy){.vcpus = vcpus};
		rig->load[g] = (struct sim_load){.processors = use * processors / guests};
	}
	rig->task = (struct sim_task){.policy = {.processors = processors},
				      .guests = guests,
				      .guest = rig->guest,
				      .slots = 1,
				      .slot_ns = seconds * SECOND,
				      .load = rig->load,
				      .burst = {10 * MS, 1},
				      .seed = 20,
				      .burst_ended = on_burst,
				      .request_served = on_request,
				      .owner = rig};
	return rig;
}

static void rig_free(struct rig *rig)
{
	free(rig->bursts.value);
	free(rig->requests.value);
	free(rig->messages.value);
	free(rig);
}

/* What holds of every simulation. */
static void conservation_check(const struct rig *rig, const struct sim_result *result)
{
	double done = 0;
	for (unsigned g = 0; g < rig->task.guests; g++) {
		const struct sim_guest_result *guest = &result->guest[g];
		double sum = 0;
		for (unsigned s = 0; s < SCHED_STATES; s++)
			sum += guest->time_ns[s];
		assert_true(fabs(sum - (double)result->span_ns * rig->guest[g].vcpus) < 1);
		assert_true(guest->done_ns <= guest->asked_ns);
		assert_true(guest->done_ns <= guest->time_ns[SCHED_RUNNING] + 1);
		done += guest->done_ns;
	}
	assert_true(fabs(done - result->busy_ns) < 1e-6 * done + 1);
	assert_true(result->busy_ns <= (double)result->span_ns * rig->task.policy.processors);
}

static struct sim_result rig_run(struct rig *rig)
{
	struct sim_result result;
	struct error error = {0};
	rig->bursts.count = rig->requests.count = rig->messages.count = 0;
	if (!sim_run(&rig->task, &result, &error))
		fail_msg("%s", error.text);
	conservation_check(rig, &result);
	return result;
}

/* The chance that one who arrives at c servers must wait: Erlang, 1917. */
static double erlang_c(unsigned servers, double use)
{
	double offered = servers * use, blocked = 1;
	for (unsigned k = 1; k <= servers; k++)
		blocked = offered * blocked / (k + offered * blocked);
	return blocked / (1 - use * (1 - blocked));
}

static double erlang_wait(unsigned servers, double use, double service)
{
	return erlang_c(servers, use) * service / (servers * (1 - use));
}

/* One vCPU on one processor: bursts take 1 / (mu - lambda). */
static void test_m_m_1(void **state)
{
	(void)state;
	struct rig *rig = rig_make(1, 1, 1, 0.7, 3000);
	struct sim_result result = rig_run(rig);
	batches_check(&rig->bursts, 10.0 * MS / (1 - 0.7), 0.08, "M/M/1 at 70 %");
	assert_true(result.guest[0].time_ns[SCHED_READY] < 1);
	assert_true(fabs(result.busy_ns / (double)result.span_ns - 0.7) < 0.01);
	sim_result_free(&result);
	rig_free(rig);
}

/* One guest of four vCPUs on four processors: bursts wait in the guest as Erlang's formula says. */
static void test_m_m_c_in_guest(void **state)
{
	(void)state;
	struct rig *rig = rig_make(4, 1, 4, 0.8, 1500);
	struct sim_result result = rig_run(rig);
	batches_check(&rig->bursts, 10.0 * MS + erlang_wait(4, 0.8, 10.0 * MS), 0.05, "M/M/4 in a guest at 80 %");
	assert_true(result.guest[0].time_ns[SCHED_READY] < 1);
	sim_result_free(&result);
	rig_free(rig);
}

/* A thousand guests on eight processors: now vCPUs wait for processors, and their ready time is Erlang's wait. */
static void test_m_m_c_ready_time(void **state)
{
	(void)state;
	struct rig *rig = rig_make(8, 1000, 1, 0.85, 600);
	struct sim_result result = rig_run(rig);
	double ready = 0, delay = 0, bursts = 0;
	batches_check(&rig->bursts, 10.0 * MS + erlang_wait(8, 0.85, 10.0 * MS), 0.05,
		      "M/M/8, a thousand guests, at 85 %");
	for (unsigned g = 0; g < 1000; g++) {
		ready += result.guest[g].time_ns[SCHED_READY];
		delay += result.guest[g].burst.mean_ns * (double)result.guest[g].burst.count;
		bursts += (double)result.guest[g].burst.count;
	}
	print_message("ready time: %.4g of the delay\n", ready / delay);
	/* A burst that waits behind another of its own guest is not ready time: with so many guests few do. */
	assert_true(bursts > 400000 && ready <= delay && ready > 0.93 * delay);
	assert_true(result.spare_ns < 1);
	sim_result_free(&result);
	rig_free(rig);
}

/* Slices far shorter than bursts share the processor: 1 / (mu - lambda), whatever the bursts' distribution. */
static void test_processor_sharing(void **state)
{
	static const double cv[] = {0, 1, 2};
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct rig *rig = rig_make(1, 1000, 1, 0.6, 1500);
		rig->task.policy.slice_ns = MS / 4;
		rig->task.burst.cv = cv[i];
		struct sim_result result = rig_run(rig);
		char what[64];
		(void)snprintf(what, sizeof what, "processor sharing at 60 %%, cv %g", cv[i]);
		batches_check(&rig->bursts, 10.0 * MS / (1 - 0.6), 0.12, what);
		assert_true(result.spare_ns < 1);
		sim_result_free(&result);
		rig_free(rig);
	}
}

/* In one guest bursts are served in order of arrival, where the distribution does matter: Pollaczek and Khinchine. */
static void test_m_g_1_in_guest(void **state)
{
	static const double cv[] = {0, 0.5, 2};
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct rig *rig = rig_make(1, 1, 1, 0.6, 4000);
		rig->task.burst.cv = cv[i];
		struct sim_result result = rig_run(rig);
		double wait = 0.6 * 10.0 * MS * (1 + cv[i] * cv[i]) / 2 / (1 - 0.6);
		batches_check(&rig->bursts, 10.0 * MS + wait, 0.12, "M/G/1 in a guest at 60 %");
		sim_result_free(&result);
		rig_free(rig);
	}
}

/* The disk, one channel: Pollaczek and Khinchine again. Sizes decide where they take longer than an operation does. */
static void test_m_g_1_disk(void **state)
{
	static const double cv[] = {0, 1, 2};
	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct rig *rig = rig_make(1, 7, 1, 0.1, 700);
		bool by_bytes = i >= 3;
		for (unsigned g = 0; g < 7; g++) {
			rig->load[g].request[SIM_DISK].rate = 100;
			rig->load[g].request[SIM_DISK].bytes = by_bytes ? 100000 : 1000;
		}
		rig->task.device[SIM_DISK] = (struct sim_device_task){
		    .channels = 1, .requests = by_bytes ? 2000 : 1000, .bytes = 1e8, .cv = cv[i % 3]};
		struct sim_result result = rig_run(rig);
		double square = cv[i % 3] * cv[i % 3];
		batches_check(&rig->requests, 0.7 * MS * (1 + square) / 2 / (1 - 0.7), 0.15, "M/G/1 disk at 70 %");
		assert_true(fabs(result.device_busy[SIM_DISK] - 0.7) < 0.02);
		sim_result_free(&result);
		rig_free(rig);
	}
}

/* The network beside a disk: each is a queue of its own, and an idle host takes the interrupts of both at once. */
static void test_m_g_1_network(void **state)
{
	static const double cv[] = {0, 1, 2};
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct rig *rig = rig_make(1, 7, 1, 0.001, 1500);
		double square = cv[i] * cv[i];
		for (unsigned g = 0; g < 7; g++) {
			rig->load[g].request[SIM_NETWORK] = (struct sim_requests){100, 125000};
			rig->load[g].request[SIM_DISK] = (struct sim_requests){50, 1000};
		}
		rig->task.device[SIM_NETWORK] = (struct sim_device_task){.channels = 1, .bytes = 1.25e8, .cv = cv[i]};
		rig->task.device[SIM_DISK] = (struct sim_device_task){.channels = 1, .requests = 1000, .cv = 1};
		struct sim_result result = rig_run(rig);
		batches_check(&rig->messages, 0.7 * MS * (1 + square) / 2 / (1 - 0.7), 0.15, "M/G/1 network at 70 %");
		batches_check(&rig->requests, 0.35 * MS / (1 - 0.35), 0.1, "M/M/1 disk beside it at 35 %");
		assert_true(fabs(result.device_busy[SIM_NETWORK] - 0.7) < 0.02);
		assert_true(fabs(result.device_busy[SIM_DISK] - 0.35) < 0.02);
		for (unsigned g = 0; g < 7; g++)
			assert_true(result.guest[g].io[SIM_NETWORK].mean_ns -
					result.guest[g].queue[SIM_NETWORK].mean_ns <
				    0.02 * MS);
		sim_result_free(&result);
		rig_free(rig);
	}
}

/* Several channels: Erlang's wait. What an idle host adds to it, until the interrupt, is nothing. */
static void test_m_m_c_disk(void **state)
{
	(void)state;
	struct rig *rig = rig_make(1, 1, 1, 0.001, 700);
	rig->load[0].request[SIM_DISK].rate = 800;
	rig->task.device[SIM_DISK] = (struct sim_device_task){.channels = 4, .requests = 1000, .cv = 1};
	struct sim_result result = rig_run(rig);
	batches_check(&rig->requests, erlang_wait(4, 0.8, 4.0 * MS), 0.1, "M/M/4 disk at 80 %");
	assert_true(result.guest[0].io[SIM_DISK].mean_ns - result.guest[0].queue[SIM_DISK].mean_ns < 0.01 * MS);
	sim_result_free(&result);
	rig_free(rig);
}

/* Interrupts take from the guest's own demand, no more than half of it. */
static void test_interrupts_are_part_of_the_demand(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = rig_make(1, 2, 1, 0.4, 500);
		rig->load[0].request[SIM_DISK].rate = i == 0 ? 1000 : 20000;
		rig->load[0].request[SIM_NETWORK] = (struct sim_requests){i == 0 ? 500 : 10000, 1000};
		rig->task.interrupt_ns = 50000;
		rig->task.device[SIM_NETWORK] = (struct sim_device_task){.channels = 1, .bytes = 1e8, .cv = 1};
		rig->task.device[SIM_DISK] = (struct sim_device_task){.channels = 8, .requests = 50000, .cv = 1};
		struct sim_result result = rig_run(rig);
		assert_true(fabs(result.busy_ns / (double)result.span_ns - 0.4) < 0.02);
		assert_true(fabs(result.guest[0].asked_ns / (double)result.span_ns - 0.2) < 0.01);
		sim_result_free(&result);
		rig_free(rig);
	}
}

static void test_same_again(void **state)
{
	(void)state;
	struct rig *rig = rig_make(4, 40, 2, 0.9, 60);
	for (unsigned g = 0; g < 40; g++) {
		rig->load[g].request[SIM_DISK].rate = 20;
		rig->guest[g].coscheduling = SCHED_CO_RELAXED;
	}
	rig->task.interrupt_ns = 20000;
	rig->task.device[SIM_DISK] = (struct sim_device_task){.channels = 4, .requests = 1000, .cv = 1};
	struct sim_result one = rig_run(rig), other = rig_run(rig);
	assert_memory_equal(one.guest, other.guest, 40 * sizeof *one.guest);
	assert_true(one.decisions == other.decisions && one.events == other.events);
	rig->task.seed++;
	sim_result_free(&other);
	other = rig_run(rig);
	assert_true(one.events != other.events);
	sim_result_free(&one);
	sim_result_free(&other);
	rig_free(rig);
}

/* Limits and co-scheduling show where they should, and nowhere else. */
static void test_limit_and_co_stop(void **state)
{
	(void)state;
	struct rig *rig = rig_make(4, 8, 4, 0.9, 60);
	struct sim_result none = rig_run(rig);
	for (unsigned g = 0; g < 8; g++)
		rig->guest[g].coscheduling = SCHED_CO_STRICT;
	struct sim_result strict = rig_run(rig);
	for (unsigned g = 0; g < 8; g++)
		rig->guest[g].coscheduling = SCHED_CO_RELAXED;
	rig->guest[0].limit = SCHED_PROCESSOR / 5;
	struct sim_result limited = rig_run(rig);
	double co_stop[3] = {0}, by_limit = 0;
	for (unsigned g = 0; g < 8; g++) {
		co_stop[0] += none.guest[g].time_ns[SCHED_CO_STOP];
		co_stop[1] += strict.guest[g].time_ns[SCHED_CO_STOP];
		co_stop[2] += limited.guest[g].time_ns[SCHED_CO_STOP];
		by_limit += g == 0 ? 0 : limited.guest[g].time_ns[SCHED_LIMITED];
	}
	assert_true(co_stop[0] < 1 && none.spare_ns < 1);
	assert_true(co_stop[1] > 0 && strict.busy_ns < none.busy_ns);
	assert_true(co_stop[2] > 0);
	assert_true(limited.guest[0].time_ns[SCHED_LIMITED] > 0 && by_limit < 1);
	assert_true(limited.guest[0].done_ns <= 0.2001 * 60e9);
	sim_result_free(&none);
	sim_result_free(&strict);
	sim_result_free(&limited);
	rig_free(rig);
}

/* A guest that wants more than its vCPUs give is said to; nothing overflows; slots change the load. */
static void test_slots_and_saturation(void **state)
{
	(void)state;
	struct rig *rig = rig_make(2, 1, 1, 0, 100);
	static const struct sim_load slots[] = {{.processors = 0.1}, {.processors = 0}, {.processors = 0.5}};
	rig->task.slots = 3;
	rig->task.load = slots;
	struct sim_result result = rig_run(rig);
	assert_true(fabs(result.busy_ns / 1e9 - 60) < 3);
	assert_false(result.guest[0].saturated);
	sim_result_free(&result);
	static const struct sim_load much[] = {{.processors = 1e30}, {.processors = 0}, {.processors = 1e30}};
	rig->task.load = much;
	result = rig_run(rig);
	assert_true(result.guest[0].saturated);
	assert_true(result.busy_ns <= 300e9);
	sim_result_free(&result);
	rig_free(rig);
}

static void test_refusals(void **state)
{
	struct sim_result result;
	struct error error = {0};
	(void)state;
	struct rig *rig = rig_make(2, 1, 3, 0.5, 10);
	rig->guest[0].coscheduling = SCHED_CO_STRICT;
	assert_false(sim_run(&rig->task, &result, &error));
	assert_true(error.text[0] != '\0' && result.guest == NULL);
	rig->guest[0].coscheduling = SCHED_CO_NONE;
	rig->task.burst.mean_ns = 1e-3;
	assert_false(sim_run(&rig->task, &result, &error));
	assert_non_null(strstr(error.text, "too many"));
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_m_m_1),
	    cmocka_unit_test(test_m_m_c_in_guest),
	    cmocka_unit_test(test_m_m_c_ready_time),
	    cmocka_unit_test(test_processor_sharing),
	    cmocka_unit_test(test_m_g_1_in_guest),
	    cmocka_unit_test(test_m_g_1_disk),
	    cmocka_unit_test(test_m_g_1_network),
	    cmocka_unit_test(test_m_m_c_disk),
	    cmocka_unit_test(test_interrupts_are_part_of_the_demand),
	    cmocka_unit_test(test_same_again),
	    cmocka_unit_test(test_limit_and_co_stop),
	    cmocka_unit_test(test_slots_and_saturation),
	    cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests_name("the simulator", tests, NULL, NULL);
}

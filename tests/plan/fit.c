/* SPDX-License-Identifier: MIT */
/* The fit against every placement there is, its rules one by one, and its checker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fit-rig.h"
#include "plan/fit-exact.h"
#include "plan/fit-kernel.h"

static struct fit_plan *make(const struct rig *rig)
{
	struct error error = {0};
	struct fit_plan *plan = fit_make(&rig->task, &error);
	if (plan == NULL)
		fail_msg("no fit: %s", error.text);
	if (!fit_check(&rig->task, plan, &error))
		fail_msg("wrong fit: %s", error.text);
	return plan;
}

static void assert_no_fit(const struct rig *rig, const char *one, const char *two)
{
	struct error error = {0};
	struct fit_plan *plan = fit_make(&rig->task, &error);
	assert_null(plan);
	assert_int_equal(error.kind, ERROR_INPUT);
	if (strstr(error.text, one) == NULL || strstr(error.text, two) == NULL)
		fail_msg("'%s' names neither %s nor %s", error.text, one, two);
}

/* bound <= fewest <= found. In tasks as small as these the sets prove nearly always what trying everything finds. */
static void random_tasks(void **unused)
{
	(void)unused;
	unsigned tight = 0, above = 0, folded = 0;
	for (unsigned seed = 1; seed <= 150; seed++) {
		struct rig rig;
		static const unsigned samples[] = {1, 3, 7, 64, 150};
		rig_start(&rig, 4 + seed % 6, samples[seed % 5], 1 + seed % 3);
		rig.random += seed * UINT64_C(0x9e3779b97f4a7c15);
		rig_fill(&rig, 1 + seed % 3, 30 + seed % 71);
		struct fit_plan *plan = make(&rig);
		unsigned fewest = rig_fewest(&rig);
		assert_true(plan->bound.hosts <= fewest);
		assert_true(fewest <= plan->hosts);
		assert_true(plan->hosts <= plan->by_peaks);
		tight += plan->bound.hosts == fewest;
		above += plan->hosts > fewest;
		folded += plan->hosts < plan->by_peaks;
		fit_plan_free(plan);
		rig_end(&rig);
	}
	assert_int_equal(above, 0);
	assert_in_range(tight, 140, 150);
	assert_in_range(folded, 20, 150);
}

static bool has_cbc(void)
{
	return system("command -v cbc >/dev/null 2>&1") == 0;
}

/* The exact search against every placement there is; it starts from a plan with too many hosts. */
static void exact_search(void **unused)
{
	(void)unused;
	if (!has_cbc())
		skip();
	for (unsigned seed = 1; seed <= 24; seed++) {
		struct rig rig;
		struct error error = {0};
		rig_start(&rig, 8, seed % 2 ? 5 : 70, 2);
		rig.random += seed * UINT64_C(0x9e3779b97f4a7c15);
		rig_fill(&rig, 2, 50);
		unsigned apart[2] = {0, 5}, together[2] = {4, 6};
		struct fit_group group[] = {{"apart", apart, 2, true}, {"together", together, 2, false}};
		rig.task.group = group;
		rig.task.groups = 2;
		struct fit_plan *plan = make(&rig);
		plan->bound.hosts = 0;
		assert_true(fit_exact(&rig.task, &plan, 10000, &error));
		assert_int_equal(plan->hosts, rig_fewest(&rig));
		assert_int_equal(plan->bound.hosts, plan->hosts);
		assert_int_equal(plan->bound.proof, FIT_PROOF_EXACT);
		assert_true(fit_check(&rig.task, plan, &error));
		fit_plan_free(plan);
		rig_end(&rig);
	}
}

/* From a host for each guest down to the fewest. */
static void exact_search_improves(void **unused)
{
	(void)unused;
	if (!has_cbc())
		skip();
	struct rig rig;
	struct error error = {0};
	rig_start(&rig, 7, 90, 1);
	rig_fill(&rig, 1, 50);
	struct fit_plan *plan = make(&rig);
	unsigned fewest = rig_fewest(&rig);
	fit_plan_free(plan);
	unsigned everyone[7] = {0, 1, 2, 3, 4, 5, 6};
	struct fit_group group = {"all", everyone, 7, true};
	rig.task.group = &group;
	rig.task.groups = 1;
	plan = make(&rig);
	assert_int_equal(plan->hosts, 7);
	rig.task.groups = 0;
	plan->bound.hosts = 1;
	assert_true(fit_exact(&rig.task, &plan, 10000, &error));
	assert_int_equal(plan->hosts, fewest);
	assert_true(fewest < 7);
	assert_true(fit_check(&rig.task, plan, &error));
	fit_plan_free(plan);
	rig_end(&rig);
}

static void random_groups(void **unused)
{
	(void)unused;
	for (unsigned seed = 1; seed <= 60; seed++) {
		struct rig rig;
		rig_start(&rig, 8, 5, 2);
		rig.random += seed * UINT64_C(0x9e3779b97f4a7c15);
		rig_fill(&rig, 2, 40);
		unsigned apart[3] = {0, 1 + rig_random(&rig, 3), 5}, together[2] = {4, 6}, others[2] = {2, 7};
		struct fit_group group[] = {
		    {"apart", apart, 3, true}, {"together", together, 2, false}, {"others", others, 2, true}};
		rig.task.group = group;
		rig.task.groups = 3;
		struct fit_plan *plan = make(&rig);
		unsigned fewest = rig_fewest(&rig);
		assert_true(plan->bound.hosts >= 3 && plan->bound.hosts <= fewest);
		assert_int_equal(plan->hosts, fewest);
		fit_plan_free(plan);
		rig_end(&rig);
	}
}

/* Two that peak at different times share a host; two that peak together do not. */
static void time_decides(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig, 4, 200, 1);
	for (unsigned g = 0; g < 4; g++)
		for (unsigned t = 0; t < 200; t++)
			rig_series(&rig, g, RESOURCE_CPU)[t] = (t < 100) == (g % 2 == 0) ? 90 : 10;
	struct fit_plan *plan = make(&rig);
	assert_int_equal(plan->hosts, 2);
	assert_int_equal(plan->by_peaks, 4);
	assert_int_not_equal(plan->host_of[0] % 2, plan->host_of[2] % 2);
	assert_int_not_equal(plan->host_of[0], plan->host_of[2]);
	fit_plan_free(plan);
	/* One sample is enough to part them. */
	rig_series(&rig, 0, RESOURCE_CPU)[150] = 11;
	rig_series(&rig, 2, RESOURCE_CPU)[150] = 11;
	plan = make(&rig);
	assert_int_equal(plan->hosts, 4);
	assert_int_equal(plan->bound.hosts, 4);
	assert_int_equal(plan->bound.proof, FIT_PROOF_APART);
	fit_plan_free(plan);
	rig_end(&rig);
}

/* Any two of seven fit a host at all moments, any three do not at some moment: only the sets over time say so. */
/* Hosts that are nearly full at every moment. Throwing guests out alone finds one more than there need be. */
static void pressed(void **unused)
{
	(void)unused;
	enum { HOSTS = 24, EACH = 12, SAMPLES = 4 };
	struct rig rig;
	rig_start(&rig, HOSTS * EACH, SAMPLES, 1);
	for (unsigned h = 0; h < HOSTS; h++)
		for (unsigned t = 0; t < SAMPLES; t++) {
			float left = 98;
			for (unsigned i = 0; i < EACH; i++) {
				float part = left / (float)(EACH - i);
				float value = i + 1 < EACH ? part * (float)(40 + rig_random(&rig, 121)) / 100 : part;
				rig_series(&rig, i * HOSTS + h, RESOURCE_CPU)[t] = value;
				left -= value;
			}
		}
	rig.task.steps = 200000;
	struct fit_plan *plan = make(&rig);
	assert_int_equal(plan->bound.hosts, HOSTS);
	assert_int_equal(plan->hosts, HOSTS);
	fit_plan_free(plan);
	rig_end(&rig);
}

static void triples(void **unused)
{
	(void)unused;
	struct rig rig;
	unsigned moment = 0;
	rig_start(&rig, 7, 35, 1);
	for (unsigned a = 0; a < 7; a++)
		for (unsigned b = a + 1; b < 7; b++)
			for (unsigned c = b + 1; c < 7; c++, moment++)
				for (unsigned g = 0; g < 7; g++)
					rig_series(&rig, g, RESOURCE_CPU)[moment] =
					    g == a || g == b || g == c ? 40 : 10;
	struct fit_plan *plan = make(&rig);
	assert_int_equal(plan->hosts, 4);
	assert_int_equal(plan->bound.hosts, 4);
	assert_int_equal(plan->bound.proof, FIT_PROOF_SETS);
	fit_plan_free(plan);
	/* Without the moment of 0, 1 and 2, and those of 3, 4 and 5, these share hosts, and 6 has one of its own. */
	for (unsigned g = 0; g < 7; g++)
		for (moment = 0; moment < 35; moment++)
			if (rig_series(&rig, 0, RESOURCE_CPU)[moment] + rig_series(&rig, 1, RESOURCE_CPU)[moment] +
				    rig_series(&rig, 2, RESOURCE_CPU)[moment] >
				100 ||
			    rig_series(&rig, 3, RESOURCE_CPU)[moment] + rig_series(&rig, 4, RESOURCE_CPU)[moment] +
				    rig_series(&rig, 5, RESOURCE_CPU)[moment] >
				100)
				rig_series(&rig, g, RESOURCE_CPU)[moment] = 0;
	plan = make(&rig);
	assert_int_equal(plan->hosts, 3);
	assert_int_equal(plan->bound.hosts, 3);
	fit_plan_free(plan);
	rig_end(&rig);
}

static void percentile(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig, 2, 100, 1);
	for (unsigned g = 0; g < 2; g++)
		for (unsigned t = 0; t < 100; t++)
			rig_series(&rig, g, RESOURCE_CPU)[t] = t < 5 ? 80 : 40;
	rig.task.percentile = 95;
	struct fit_plan *plan = make(&rig);
	assert_int_equal(plan->hosts, 1);
	fit_plan_free(plan);
	rig.task.percentile = 96;
	plan = make(&rig);
	assert_int_equal(plan->hosts, 2);
	fit_plan_free(plan);
	rig_end(&rig);
}

static void percentile_random(void **unused)
{
	(void)unused;
	for (unsigned seed = 1; seed <= 30; seed++) {
		struct rig rig;
		rig_start(&rig, 40, 150, 2);
		rig.random += seed * UINT64_C(0x9e3779b97f4a7c15);
		rig_fill(&rig, 2, 90);
		struct fit_plan *strict = make(&rig);
		rig.task.percentile = 90;
		struct fit_plan *loose = make(&rig);
		assert_true(loose->hosts < strict->hosts);
		assert_true(loose->bound.hosts <= loose->hosts);
		fit_plan_free(strict);
		fit_plan_free(loose);
		rig_end(&rig);
	}
}

static void constant(const struct rig *rig, enum resource resource, float value)
{
	for (unsigned g = 0; g < rig->demand.guests; g++)
		for (unsigned t = 0; t < rig->demand.samples; t++)
			rig_series(rig, g, resource)[t] = value;
}

static void pins_and_kinds(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig, 6, 3, 1);
	constant(&rig, RESOURCE_CPU, 25);
	rig.host_class[1] = (struct fit_class){.name = "small", .capacity = {50}, .cost = 0.4};
	rig.task.classes = 2;
	struct fit_plan *plan = make(&rig);
	assert_int_equal(plan->hosts, 3); /* small ones: 0.4 for two beats 1 for four */
	fit_plan_free(plan);
	rig.host_class[1].limit = 1;
	plan = make(&rig);
	assert_int_equal(plan->hosts, 2);
	assert_true(plan->cost > 1.39 && plan->cost < 1.41);
	fit_plan_free(plan);
	uint32_t barred[6] = {2, 2, 2, 2, 2, 2};
	rig.task.classes_barred = barred;
	plan = make(&rig);
	assert_true(plan->cost > 1.99);
	fit_plan_free(plan);
	struct fit_site site[2] = {{"a", 0}, {"b", 0}};
	unsigned pin[6] = {0, 1, FIT_NONE, FIT_NONE, FIT_NONE, 1};
	rig.task.site = site;
	rig.task.sites = 2;
	rig.task.pin = pin;
	plan = make(&rig);
	assert_int_equal(plan->hosts, 2);
	assert_string_equal(plan->host[plan->host_of[5]].name, "b");
	fit_plan_free(plan);
	barred[5] = 3;
	assert_no_fit(&rig, "g0005", "no kind");
	rig_end(&rig);
}

static void keeps_what_runs(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig, 8, 3, 1);
	constant(&rig, RESOURCE_CPU, 24);
	struct fit_site site[3] = {{"a", 0}, {"b", 0}, {"c", 0}};
	unsigned now[8] = {0, 0, 0, 1, 1, 1, 2, FIT_NONE};
	rig.task.site = site;
	rig.task.sites = 3;
	rig.task.now = now;
	rig.task.keep = true;
	struct fit_plan *plan = make(&rig);
	assert_int_equal(plan->hosts, 2);
	assert_int_equal(plan->moved, 1);
	fit_plan_free(plan);
	rig_end(&rig);
}

static void spares(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig, 6, 3, 1);
	constant(&rig, RESOURCE_CPU, 50);
	rig.task.spares = 2;
	struct fit_plan *plan = make(&rig);
	assert_int_equal(plan->hosts, 5);
	assert_int_equal(plan->bound.hosts, 5);
	fit_plan_free(plan);
	rig.host_class[0].limit = 4;
	assert_no_fit(&rig, "spares", "fails");
	rig_end(&rig);
}

static void says_why_not(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig, 3, 3, 2);
	constant(&rig, RESOURCE_CPU, 60);
	rig_series(&rig, 1, RESOURCE_MEMORY)[2] = 101;
	assert_no_fit(&rig, "g0001", "memory");
	rig_series(&rig, 1, RESOURCE_MEMORY)[2] = 1;
	rig.host_class[0].limit = 1;
	assert_no_fit(&rig, "sample 0", "cpu");
	rig.host_class[0].limit = 2;
	assert_no_fit(&rig, "g000", "2 hosts");
	rig.host_class[0].limit = 0;
	rig_series(&rig, 2, RESOURCE_CPU)[1] = -1;
	assert_no_fit(&rig, "g0002", "cpu");
	rig_series(&rig, 2, RESOURCE_CPU)[1] = 0.0F / 0.0F;
	assert_no_fit(&rig, "g0002", "sample 1");
	rig_end(&rig);
}

/* What the checker must find, done to a right answer. */
static void checker_finds(void **unused)
{
	(void)unused;
	struct rig rig;
	struct error error = {0};
	rig_start(&rig, 4, 70, 1);
	constant(&rig, RESOURCE_CPU, 50);
	unsigned pair[2] = {0, 1};
	struct fit_group group = {"pair", pair, 2, false};
	rig.task.group = &group;
	rig.task.groups = 1;
	struct fit_plan *plan = make(&rig);
	rig_series(&rig, 3, RESOURCE_CPU)[69] = 50.1F;
	assert_false(fit_check(&rig.task, plan, &error));
	assert_non_null(strstr(error.text, "sample 69"));
	rig_series(&rig, 3, RESOURCE_CPU)[69] = 50;
	assert_true(fit_check(&rig.task, plan, &error));
	group.apart = true;
	assert_false(fit_check(&rig.task, plan, &error));
	group.apart = false;
	plan->host_of[0] = plan->host_of[2];
	assert_false(fit_check(&rig.task, plan, &error));
	plan->host_of[0] = plan->host_of[1];
	plan->host[plan->host_of[3]].guests--;
	assert_false(fit_check(&rig.task, plan, &error));
	plan->host[plan->host_of[3]].guests++;
	rig.task.spares = 1;
	assert_false(fit_check(&rig.task, plan, &error));
	rig.task.spares = 0;
	rig.host_class[0].limit = 1;
	assert_false(fit_check(&rig.task, plan, &error));
	fit_plan_free(plan);
	rig_end(&rig);
}

static void threads_do_not_matter(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig, 600, 300, 3);
	rig_fill(&rig, 3, 40);
	rig.task.balance = true;
	struct fit_plan *first = NULL;
	static const unsigned threads[] = {1, 2, 4, 1};
	for (unsigned i = 0; i < 4; i++) {
		rig.task.threads = threads[i];
		struct fit_plan *plan = make(&rig);
		if (first == NULL) {
			first = plan;
			continue;
		}
		assert_int_equal(plan->hosts, first->hosts);
		assert_memory_equal(plan->host_of, first->host_of, rig.demand.guests * sizeof *plan->host_of);
		fit_plan_free(plan);
	}
	fit_plan_free(first);
	rig_end(&rig);
}

static double highest(const struct rig *rig, const struct fit_plan *plan)
{
	double most = 0;
	for (unsigned h = 0; h < plan->hosts; h++)
		for (unsigned t = 0; t < rig->demand.samples; t++) {
			double sum = 0;
			for (unsigned i = 0; i < plan->host[h].guests; i++)
				sum += (double)rig_series(rig, plan->host[h].guest[i], RESOURCE_CPU)[t];
			most = sum > most ? sum : most;
		}
	return most;
}

static void balance_levels(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig, 22, 5, 1);
	constant(&rig, RESOURCE_CPU, 5);
	struct fit_plan *plan = make(&rig);
	assert_int_equal(plan->hosts, 2);
	assert_true(highest(&rig, plan) > 99);
	fit_plan_free(plan);
	rig.task.balance = true;
	plan = make(&rig);
	assert_int_equal(plan->hosts, 2);
	assert_true(highest(&rig, plan) < 61);
	fit_plan_free(plan);
	rig_end(&rig);
}

/* Every kind of processor's loops give what the plain ones give. */
static void kernels_agree(void **unused)
{
	(void)unused;
	enum { COUNT = 3 * FIT_BLOCK };
	static uint16_t a[COUNT], b[COUNT], c[COUNT], one[COUNT], two[COUNT];
	struct rig rig = {.random = 1234567};
	for (unsigned round = 0; round < 300; round++) {
		for (unsigned i = 0; i < COUNT; i++) {
			a[i] = (uint16_t)rig_random(&rig, FIT_TOP + 1);
			b[i] = (uint16_t)rig_random(&rig, round % 2 ? FIT_TOP + 1 : 400);
			c[i] = (uint16_t)rig_random(&rig, a[i] + 1U);
		}
		uint16_t capacity = (uint16_t)(1 + rig_random(&rig, FIT_FULL));
		const struct fit_kernel *plain = fit_kernel_at(0), *other;
		for (unsigned k = 1; (other = fit_kernel_at(k)) != NULL; k++) {
			assert_int_equal(plain->count_over(a, b, capacity, COUNT),
					 other->count_over(a, b, capacity, COUNT));
			assert_int_equal(plain->count_over_without(a, b, c, capacity, COUNT),
					 other->count_over_without(a, b, c, capacity, COUNT));
			assert_int_equal(plain->excess(a, b, c, a), other->excess(a, b, c, a));
			memcpy(one, a, sizeof one);
			memcpy(two, a, sizeof two);
			plain->add(one, b, COUNT);
			other->add(two, b, COUNT);
			assert_memory_equal(one, two, sizeof one);
			plain->subtract(one, c, COUNT);
			other->subtract(two, c, COUNT);
			assert_memory_equal(one, two, sizeof one);
			plain->summarize(a, one, one + 3, 3);
			other->summarize(a, two, two + 3, 3);
			assert_memory_equal(one, two, 6 * sizeof *one);
			assert_int_equal(plain->glance(a, c, b, c, capacity, COUNT),
					 other->glance(a, c, b, c, capacity, COUNT));
			for (unsigned i = 0; i < COUNT; i++) {
				one[i] = a[i] >> 4;
				two[i] = b[i] >> 4;
			}
			assert_int_equal(plain->dot((int16_t *)one, (int16_t *)two, COUNT),
					 other->dot((int16_t *)one, (int16_t *)two, COUNT));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_tasks),
	    cmocka_unit_test(random_groups),
	    cmocka_unit_test(exact_search),
	    cmocka_unit_test(exact_search_improves),
	    cmocka_unit_test(time_decides),
	    cmocka_unit_test(triples),
	    cmocka_unit_test(pressed),
	    cmocka_unit_test(percentile),
	    cmocka_unit_test(percentile_random),
	    cmocka_unit_test(pins_and_kinds),
	    cmocka_unit_test(keeps_what_runs),
	    cmocka_unit_test(spares),
	    cmocka_unit_test(says_why_not),
	    cmocka_unit_test(checker_finds),
	    cmocka_unit_test(balance_levels),
	    cmocka_unit_test(kernels_agree),
	    cmocka_unit_test(threads_do_not_matter),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

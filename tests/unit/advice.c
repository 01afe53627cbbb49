/* SPDX-License-Identifier: MIT */
/* The rules of `nfold explain`: each is told where it shall be, and just below its bound it is not. */
#include "cli/advice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

static bool tells(const struct advice_facts *facts, const char *key)
{
	for (size_t i = 0; i < advice_rule_count; i++)
		if (strcmp(advice_rules[i].key, key) == 0)
			return advice_told(facts, i);
	fail_msg("no rule '%s'", key);
	return false;
}

static unsigned told(const struct advice_facts *facts)
{
	unsigned count = 0;
	for (size_t i = 0; i < advice_rule_count; i++)
		count += advice_told(facts, i);
	return count;
}

static void test_states(void **state)
{
	static const struct {
		enum ledger_state state;
		double least;
		const char *key;
	} rows[] = {
	    {LEDGER_PAUSED, 10, "paused"},	 {LEDGER_LIMITED, 5, "limited"}, {LEDGER_COSTOP, 5, "costop"},
	    {LEDGER_PAGING, 5, "paging"},	 {LEDGER_READY, 10, "ready"},	 {LEDGER_PREEMPTED, 10, "preempted"},
	    {LEDGER_BLOCKED, 10, "blocked"},	 {LEDGER_DEVICE, 15, "device"},	 {LEDGER_EXIT, 15, "exit"},
	    {LEDGER_TRANSLATE, 15, "translate"}, {LEDGER_IDLE, 95, "idle"}};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct advice_facts facts = {.samples = 1000};
		facts.state[rows[i].state] = rows[i].least;
		assert_true(tells(&facts, rows[i].key));
		assert_int_equal(told(&facts), 1);
		facts.state[rows[i].state] = rows[i].least - 0.1;
		assert_false(tells(&facts, rows[i].key));
		assert_true(tells(&facts, "used"));
	}
}

static void test_ticks(void **state)
{
	struct advice_facts facts = {.samples = 1000, .ticks_due = 1000, .ticks_lost = 10};
	(void)state;
	assert_true(tells(&facts, "ticks"));
	facts.ticks_lost = 9;
	assert_false(tells(&facts, "ticks"));
	facts = (struct advice_facts){.ticks_due = 99, .ticks_lost = 99};
	assert_false(tells(&facts, "ticks"));
}

static void test_runaway(void **state)
{
	const struct advice_facts good = {.wanted = 95, .hottest = 90, .samples = 50};
	(void)state;
	assert_true(tells(&good, "runaway"));
	for (unsigned i = 0; i < 3; i++) {
		struct advice_facts facts = good;
		facts.wanted -= i == 0 ? 0.1 : 0;
		facts.hottest -= i == 1 ? 0.1 : 0;
		facts.samples -= i == 2;
		assert_false(tells(&facts, "runaway"));
	}
}

static void test_cache(void **state)
{
	struct advice_facts facts = {.cache_evictions = 1};
	(void)state;
	facts.state[LEDGER_TRANSLATE] = 5;
	assert_true(tells(&facts, "cache"));
	facts.state[LEDGER_TRANSLATE] = 50;
	assert_true(tells(&facts, "cache"));
	assert_false(tells(&facts, "translate"));
	facts.cache_evictions = 0;
	assert_false(tells(&facts, "cache"));
	assert_true(tells(&facts, "translate"));
}

static void test_several(void **state)
{
	struct advice_facts facts = {.wanted = 100, .hottest = 99, .samples = 1000};
	(void)state;
	facts.state[LEDGER_PREEMPTED] = 50;
	assert_int_equal(told(&facts), 2);
	assert_false(tells(&facts, "used"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(test_states), cmocka_unit_test(test_ticks),
						  cmocka_unit_test(test_runaway), cmocka_unit_test(test_cache),
						  cmocka_unit_test(test_several)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

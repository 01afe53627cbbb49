/* SPDX-License-Identifier: MIT */
/* x87 errors on their way to IRQ 13. */
#include "devices/coprocessor.h"

#include "rig.h"

struct bench {
	struct rig rig;
	struct probe irq;
	struct coprocessor coprocessor;
	struct irq_line ferr;
};

static int setup(void **state)
{
	static struct bench bench;
	struct error error;
	memset(&bench, 0, sizeof bench);
	rig_init(&bench.rig);
	const struct irq_line irq = probe_line(&bench.irq, 0);
	coprocessor_init(&bench.coprocessor, &irq);
	assert_true(coprocessor_map(&bench.coprocessor, &bench.rig.ports, &error));
	bench.ferr = coprocessor_error(&bench.coprocessor);
	*state = &bench;
	return 0;
}

/* The request stays until the port is written, whatever the processor does meanwhile. */
static void test_latch(void **state)
{
	struct bench *bench = *state;
	irq_set(&bench->ferr, true);
	assert_true(bench->irq.level);
	irq_set(&bench->ferr, false);
	irq_set(&bench->ferr, true);
	assert_int_equal(bench->irq.rises, 1);
	assert_int_equal(in8(&bench->rig, 0xf0), 0xff);
	assert_true(bench->irq.level);
	out8(&bench->rig, 0xf0, 0);
	assert_false(bench->irq.level);
	irq_set(&bench->ferr, true); /* not cleared by its handler, or the next one */
	assert_int_equal(bench->irq.rises, 2);
	out8(&bench->rig, 0xf1, 0);
	assert_false(bench->irq.level);
}

static void test_reset(void **state)
{
	struct bench *bench = *state;
	irq_set(&bench->ferr, true);
	coprocessor_reset(&bench->coprocessor);
	assert_false(bench->irq.level);
	assert_int_equal(bench->irq.falls, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_latch, setup),
	    cmocka_unit_test_setup(test_reset, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

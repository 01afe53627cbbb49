/* SPDX-License-Identifier: MIT */
/* A machine on the double engine, its files in a folder of their own, for the tests of machines. */
#ifndef NFOLD_TESTS_MACHINE_FIXTURE_H
#define NFOLD_TESTS_MACHINE_FIXTURE_H

#include "boot-images.h"
#include "double-engine.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine/machine.h"

#define BOOT_RIP 0x200010u

struct fixture {
	char folder[32], kernel[64], path[64];
	struct guest guest;
	struct machine_config config;
	struct machine *machine;
	struct error error;
	enum machine_end end;
};

static inline int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	uint8_t kernel[TEST_MULTIBOOT_SIZE];
	strcpy(f->folder, "/tmp/nfold-machine-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->kernel, sizeof f->kernel, "%s/kernel", f->folder);
	(void)snprintf(f->path, sizeof f->path, "%s/other", f->folder);
	make_multiboot(kernel);
	FILE *file = fopen(f->kernel, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(kernel, 1, sizeof kernel, file), sizeof kernel);
	assert_int_equal(fclose(file), 0);
	f->config = (struct machine_config){.name = "test",
					    .memory_size = TEST_MEMORY,
					    .cpus = 1,
					    .cpu_model = "max",
					    .kernel = f->kernel,
					    .serial = SERIAL_NONE,
					    .debug_exit_port = -1};
	*state = f;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;
	machine_destroy(f->machine);
	(void)unlink(f->kernel);
	(void)unlink(f->path);
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}

static inline void create(struct fixture *f)
{
	f->guest.boot_rip = BOOT_RIP;
	double_engine_set_guest(&f->guest);
	f->machine = machine_create(&f->config, &f->error);
	if (f->machine == NULL)
		fail_msg("%s", f->error.text);
}

static inline enum machine_end run(struct fixture *f, enum engine_exit (*guest)(struct guest *, struct cpu *))
{
	f->guest.run = guest;
	create(f);
	return machine_run(f->machine);
}

static inline void *run_thread(void *opaque)
{
	struct fixture *f = opaque;
	f->end = machine_run(f->machine);
	return NULL;
}

static inline pthread_t run_beside(struct fixture *f, enum engine_exit (*guest)(struct guest *, struct cpu *))
{
	pthread_t thread;
	f->guest.run = guest;
	create(f);
	assert_int_equal(pthread_create(&thread, NULL, run_thread, f), 0);
	return thread;
}

static inline void sleep_ms(long ms)
{
	struct timespec time = {.tv_nsec = ms * 1000000};
	(void)nanosleep(&time, NULL);
}

/* Waits up to five seconds for a counter to move past a value. */
static inline void await_past(const uint32_t *counter, uint32_t value)
{
	for (unsigned i = 0; i < 5000; i++) {
		if (__atomic_load_n(counter, __ATOMIC_SEQ_CST) > value)
			return;
		sleep_ms(1);
	}
	fail_msg("nothing happened");
}

static inline void await_state(struct fixture *f, enum machine_state wanted)
{
	for (unsigned i = 0; i < 5000; i++) {
		if (machine_state(f->machine) == wanted)
			return;
		sleep_ms(1);
	}
	fail_msg("the machine's state did not change");
}

#endif

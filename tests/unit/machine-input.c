/* SPDX-License-Identifier: MIT */
/* What machines refuse, each with one line that says why. */
#include "machine-fixture.h"

#include <sys/stat.h>

static void assert_refused(struct fixture *f, const char *word)
{
	f->error = (struct error){0};
	double_engine_set_guest(&f->guest);
	assert_null(machine_create(&f->config, &f->error));
	assert_null(strchr(f->error.text, '\n'));
	if (strstr(f->error.text, word) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", f->error.text, word);
}

static void absurd_sizes_are_refused(void **state)
{
	struct fixture *f = *state;
	static const uint64_t sizes[] = {0, 1, 4096, (2 << 20) - 4096, (32 << 20) + 1, UINT64_C(1) << 40, UINT64_MAX};
	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		f->config.memory_size = sizes[i];
		assert_refused(f, "memory");
	}
	f->config.memory_size = TEST_MEMORY;
	f->config.cpus = 0;
	assert_refused(f, "processors");
	f->config.cpus = 9;
	assert_refused(f, "processors");
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void bad_files_are_refused_and_nothing_is_made(void **state)
{
	struct fixture *f = *state;
	f->config.serial = SERIAL_FILE;
	f->config.serial_path = f->path;
	f->config.kernel = "/nonexistent/kernel";
	assert_refused(f, "there is no kernel");
	f->config.kernel = f->folder;
	assert_refused(f, "directory");
	f->config.kernel = "/dev/null";
	assert_refused(f, "regular");
	assert_int_not_equal(access(f->path, F_OK), 0);

	write_file(f->path, "");
	f->config.kernel = f->path;
	assert_refused(f, "empty");
	write_file(f->path, "x");
	assert_refused(f, "no kernel");
	f->config.kernel = f->kernel;
	f->config.initrd = f->path;
	assert_refused(f, "--module");
	f->config.initrd = "/nonexistent/initrd";
	assert_refused(f, "there is no initrd");
	f->config.initrd = NULL;
	f->config.module[0] = "/nonexistent/module argument";
	f->config.module_count = 1;
	assert_refused(f, "there is no module /nonexistent/module");
	assert_int_equal(truncate(f->path, 64 << 20), 0);
	f->config.kernel = f->path;
	assert_refused(f, "too big");
	f->config.kernel = f->kernel;
	f->config.module_count = 0;
	f->config.cpu_model = "z80";
	assert_refused(f, "z80");
	f->config.cpu_model = "max";
	f->config.serial_path = "/nonexistent/serial";
	assert_refused(f, "/nonexistent/serial");
	f->config.serial = SERIAL_UNIX;
	f->config.serial_path = f->kernel;
	assert_refused(f, "not a socket");
	f->config.serial = SERIAL_NONE;
	f->config.debug_exit_port = DOUBLE_COM1;
	assert_refused(f, "0x3f8");
	f->config.debug_exit_port = 0xffff;
	assert_refused(f, "0xffff");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(absurd_sizes_are_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bad_files_are_refused_and_nothing_is_made, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

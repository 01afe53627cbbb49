/* SPDX-License-Identifier: MIT */
/* Names of guests and the claims on them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/runtime.h"

static int make_folder(void **state)
{
	char template[] = "nfold-runtime-XXXXXX";
	char path[256];
	if (mkdtemp(template) == NULL)
		return -1;
	char *folder = realpath(template, NULL);
	*state = folder;
	/* In the build folder the path may be too long for a socket, which is not the subject here. */
	(void)snprintf(path, sizeof path, "/proc/self/cwd/%s", template);
	return setenv("XDG_RUNTIME_DIR", path, 1);
}

static int remove_folder(void **state)
{
	char path[512];
	(void)snprintf(path, sizeof path, "%s/nfold", (char *)*state);
	(void)rmdir(path);
	int result = rmdir(*state); /* fails if something was left */
	free(*state);
	return result;
}

static void names_made_from_paths_are_good(void **state)
{
	static const struct {
		const char *path, *name;
	} cases[] = {
	    {"/boot/vmlinuz-6.1.0-13-cloud-amd64", "vmlinuz-6.1.0-13-cloud-amd64"},
	    {"kernel.elf", "kernel.elf"},
	    {"a b/c d", "c-d"},
	    {"../.hidden", "hidden"},
	    {"/", "guest"},
	    {"", "guest"},
	    {"---", "guest"},
	    {"\xff\xfe"
	     "x\n",
	     "x-"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char name[NAME_LENGTH_MAX + 1];
		name_from_path(cases[i].path, name);
		assert_string_equal(name, cases[i].name);
		assert_true(name_check(name, NULL));
	}
	char path[300], name[NAME_LENGTH_MAX + 1];
	memset(path, 'x', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	name_from_path(path, name);
	assert_true(strlen(name) <= NAME_LENGTH_MAX - 4);
}

static void missing_directory_is_created_only_on_request(void **state)
{
	struct runtime runtime;
	struct error error;
	struct stat status;
	(void)state;
	assert_false(runtime_open(&runtime, false, &error));
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_true(runtime_open(&runtime, true, &error));
	assert_int_equal(fstat(runtime.fd, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0700);
	runtime_close(&runtime);
	assert_true(runtime_open(&runtime, false, &error));
	runtime_close(&runtime);
}

/* A process that claims the name, says so, and waits to be killed. */
static pid_t start_owner(const char *name)
{
	int pipe_fd[2];
	char byte = 0;
	assert_int_equal(pipe(pipe_fd), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct runtime runtime;
		struct claim claim;
		if (runtime_open(&runtime, true, NULL) && runtime_claim(&runtime, name, &claim, NULL) == CLAIM_DONE)
			(void)write(pipe_fd[1], "x", 1);
		for (;;)
			(void)pause();
	}
	assert_true(pid > 0);
	close(pipe_fd[1]);
	assert_int_equal(read(pipe_fd[0], &byte, 1), 1);
	close(pipe_fd[0]);
	return pid;
}

static void collect(void *opaque, const char *name, pid_t owner)
{
	char *text = opaque;
	size_t used = strlen(text);
	(void)snprintf(text + used, 100 - used, "%s=%d ", name, (int)owner);
}

static void the_kernel_says_who_owns_a_name(void **state)
{
	struct runtime runtime;
	struct claim claim;
	struct error error;
	char seen[100] = "", expected[100];
	(void)state;
	assert_true(runtime_open(&runtime, true, &error));
	assert_int_equal(runtime_owner(&runtime, "one"), 0);

	pid_t one = start_owner("one");
	assert_int_equal(runtime_owner(&runtime, "one"), one);
	assert_int_equal(runtime_owner(&runtime, "two"), 0);
	assert_int_equal(runtime_claim(&runtime, "one", &claim, &error), CLAIM_TAKEN);
	assert_true(runtime_visit(&runtime, collect, seen, &error));
	(void)snprintf(expected, sizeof expected, "one=%d ", (int)one);
	assert_string_equal(seen, expected);

	assert_int_equal(kill(one, SIGKILL), 0);
	assert_int_equal(waitpid(one, NULL, 0), one);
	assert_int_equal(runtime_owner(&runtime, "one"), 0);
	seen[0] = '\0';
	assert_true(runtime_visit(&runtime, collect, seen, &error));
	assert_string_equal(seen, "");

	assert_int_equal(runtime_claim(&runtime, "one", &claim, &error), CLAIM_DONE);
	runtime_release(&runtime, &claim);
	runtime_close(&runtime);
}

static void the_address_leads_into_the_directory(void **state)
{
	struct runtime runtime;
	struct sockaddr_un address;
	struct error error;
	(void)state;
	assert_true(runtime_open(&runtime, true, &error));
	assert_true(runtime_socket_address(&runtime, "one", &address, &error));
	assert_non_null(strstr(address.sun_path, "/nfold/one.sock"));
	runtime_close(&runtime);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_made_from_paths_are_good),
	    cmocka_unit_test_setup_teardown(missing_directory_is_created_only_on_request, make_folder, remove_folder),
	    cmocka_unit_test_setup_teardown(the_kernel_says_who_owns_a_name, make_folder, remove_folder),
	    cmocka_unit_test_setup_teardown(the_address_leads_into_the_directory, make_folder, remove_folder),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

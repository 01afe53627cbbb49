/* SPDX-License-Identifier: MIT */
/* The probe of /dev/kvm comes back in time with a verdict, whatever the device is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kvm/probe.h"

static void the_hosts_device_is_judged_in_time(void **state)
{
	struct kvm_probe probe;
	struct timespec start, end;
	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &start);
	kvm_probe_run(&probe);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true((double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9 < 2.0);
	assert_true(strlen(probe.text) > 0);
	assert_null(strchr(probe.text, '\n'));
	if (probe.verdict == KVM_USABLE)
		assert_true(probe.slowdown > 0 && probe.slowdown <= KVM_SLOWDOWN_LIMIT);
	if (probe.verdict == KVM_TOO_SLOW)
		assert_true(probe.slowdown > KVM_SLOWDOWN_LIMIT);
	if (access("/dev/kvm", F_OK) != 0)
		assert_int_equal(probe.verdict, KVM_ABSENT);
	else
		assert_int_not_equal(probe.verdict, KVM_ABSENT);
	/* Its child is gone. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void no_device(void **state)
{
	struct kvm_probe probe;
	(void)state;
	kvm_probe_device(&probe, "/nonexistent/kvm");
	assert_int_equal(probe.verdict, KVM_ABSENT);
}

static void a_device_that_is_no_kvm(void **state)
{
	struct kvm_probe probe;
	(void)state;
	kvm_probe_device(&probe, "/dev/null");
	assert_int_equal(probe.verdict, KVM_BROKEN);
	assert_non_null(strstr(probe.text, "KVM_GET_API_VERSION"));
}

static void a_device_that_cannot_be_opened(void **state)
{
	struct kvm_probe probe;
	(void)state;
	kvm_probe_device(&probe, "/proc/self"); /* a directory cannot be opened for writing, by root neither */
	assert_int_equal(probe.verdict, KVM_NO_ACCESS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_hosts_device_is_judged_in_time),
	    cmocka_unit_test(no_device),
	    cmocka_unit_test(a_device_that_is_no_kvm),
	    cmocka_unit_test(a_device_that_cannot_be_opened),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

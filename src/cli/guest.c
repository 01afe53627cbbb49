/* SPDX-License-Identifier: MIT */
#include "cli/guest.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "control/report.h"

#define POLL_NS 5000000

json_t *guest_call_fd(const char *name, const char *method, json_t *params, int *fd, struct error *error)
{
	struct runtime runtime;
	*fd = -1;
	if (!name_check(name, error) || !runtime_open(&runtime, false, error)) {
		json_decref(params);
		return NULL;
	}
	json_t *result = client_call_fd(&runtime, name, method, params, CLIENT_TIMEOUT_MS, fd, error);
	runtime_close(&runtime);
	return result;
}

json_t *guest_call(const char *name, const char *method, json_t *params, struct error *error)
{
	int fd;
	json_t *result = guest_call_fd(name, method, params, &fd, error);
	if (fd >= 0)
		close(fd);
	return result;
}

int guest_do(const char *name, const char *method, json_t *params)
{
	struct error error = {0};
	json_t *result = guest_call(name, method, params, &error);
	if (result == NULL)
		return (int)report_error(&error);
	json_decref(result);
	return STATUS_OK;
}

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool guest_wait_end(const struct runtime *runtime, const char *name, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms;
	while (runtime_owner(runtime, name) != 0) {
		struct timespec pause = {.tv_nsec = POLL_NS};
		if (now_ms() >= deadline)
			return false;
		(void)nanosleep(&pause, NULL);
	}
	return true;
}

static bool kill_owner(const struct runtime *runtime, const char *name, struct error *error)
{
	pid_t owner = runtime_owner(runtime, name);
	if (owner == 0)
		return true;
	int pidfd = (int)syscall(SYS_pidfd_open, owner, 0);
	if (pidfd < 0)
		return errno == ESRCH ||
		       error_set_errno(error, "cannot reach process %d of guest '%s'", (int)owner, name);
	bool good = true;
	if (runtime_owner(runtime, name) == owner && syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) != 0)
		good =
		    errno == ESRCH || error_set_errno(error, "cannot kill process %d of guest '%s'", (int)owner, name);
	close(pidfd);
	return good;
}

/* Removes the files of a guest that is dead. Whoever claims a name cleans up behind its last owner. */
static void remove_leftovers(const struct runtime *runtime, const char *name)
{
	struct claim claim;
	if (runtime_claim(runtime, name, &claim, NULL) == CLAIM_DONE)
		runtime_release(runtime, &claim);
}

bool guest_kill_hard(const struct runtime *runtime, const char *name, int timeout_ms, struct error *error)
{
	if (!kill_owner(runtime, name, error))
		return false;
	if (!guest_wait_end(runtime, name, timeout_ms))
		return error_set(error, ERROR_HOST,
				 "guest '%s' was sent SIGKILL and has not ended yet: the host keeps it", name);
	remove_leftovers(runtime, name);
	return true;
}

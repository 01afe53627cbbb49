/* SPDX-License-Identifier: MIT */
/* One guest's life: see host.h. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control/exit_status.h"
#include "control/report.h"
#include "host/host.h"

#define KILL_GRACE_MS 2000 /* after the guest's own process should have kept the time */
#define TERM_GRACE_MS 300  /* from SIGTERM to SIGKILL */
#define TIDY_MS 60000
#define RESTART_MS 1000 /* doubled with each failure soon after the start, up to */
#define RESTART_MAX_MS 60000
#define STEADY_MS 60000 /* a guest that ran so long did not fail soon after its start */

static void guest_ended(struct guest *guest);

const char *guest_state_name(const struct guest *guest)
{
	static const char *const names[] = {[GUEST_STOPPED] = "stopped",
					    [GUEST_STARTING] = "starting",
					    [GUEST_RUNNING] = "running",
					    [GUEST_STOPPING] = "stopping"};
	if (guest->state != GUEST_STOPPED)
		return names[guest->state];
	if (guest->definition.object == NULL)
		return "broken";
	return guest->restart_at_ms != HOST_NEVER ? "restarting" : names[GUEST_STOPPED];
}

/* ---- requests to it: sent at once, answered whenever it likes ---- */

struct guest_call {
	struct guest_call *next;
	struct guest *guest;
	struct client *client;
	guest_answered *done;
};

static void call_forget(struct guest_call *call)
{
	struct guest_call **place = &call->guest->call;
	while (*place != call)
		place = &(*place)->next;
	*place = call->next;
	host_loop_unwatch(&call->guest->host->loop, client_fd(call->client));
	client_close(call->client);
	free(call);
}

static void call_ready(void *opaque, int fd, uint32_t events)
{
	struct guest_call *call = opaque;
	struct guest *guest = call->guest;
	struct error error = {0};
	json_t *result;
	(void)fd;
	(void)events;
	enum client_state state = client_receive(call->client, &result, &error);
	if (state == CLIENT_WAITS)
		return;
	guest_answered *done = call->done;
	int passed = client_take_fd(call->client);
	call_forget(call);
	guest->passed_fd = passed;
	done(guest, state, result, &error);
	if (guest->passed_fd >= 0)
		close(guest->passed_fd);
	guest->passed_fd = -1;
	json_decref(result);
}

/* A guest whose backlog is full does not answer. */
bool guest_ask(struct guest *guest, const char *method, json_t *params, guest_answered *done, struct error *error)
{
	struct guest_call *call = calloc(1, sizeof *call);
	struct client *client = client_open(&guest->host->runtime, guest->name, 0, error);
	if (call == NULL || client == NULL || !client_send(client, method, json_incref(params), error) ||
	    !host_loop_watch(&guest->host->loop, client_fd(client), EPOLLIN, call_ready, call, error)) {
		json_decref(params);
		client_close(client);
		free(call);
		return false;
	}
	json_decref(params);
	*call = (struct guest_call){.next = guest->call, .guest = guest, .client = client, .done = done};
	guest->call = call;
	return true;
}

/* ---- its process ---- */

static void send_signal(const struct guest *guest, int number)
{
	(void)syscall(SYS_pidfd_send_signal, guest->pidfd, number, NULL, 0);
}

static void drop_ready_pipe(struct guest *guest)
{
	if (guest->ready_fd < 0)
		return;
	host_loop_unwatch(&guest->host->loop, guest->ready_fd);
	close(guest->ready_fd);
	guest->ready_fd = -1;
}

void guest_let_go(struct guest *guest)
{
	while (guest->call != NULL)
		call_forget(guest->call);
	guest_unschedule(guest);
	console_close(guest);
	drop_ready_pipe(guest);
	if (guest->pidfd < 0)
		return;
	host_loop_unwatch(&guest->host->loop, guest->pidfd);
	close(guest->pidfd);
	guest->pidfd = -1;
}

/* It runs from here on, started or adopted, until guest_ended(). */
static void guest_runs(struct guest *guest)
{
	guest->state = GUEST_RUNNING;
	guest->refusal[0] = '\0';
	console_open(guest);
	guest_schedule(guest);
	guests_autostart(guest->host);
}

/* The name and a newline; the end of the pipe without them means that it fails, which its end will tell. */
static void ready_arrived(void *opaque, int fd, uint32_t events)
{
	struct guest *guest = opaque;
	char bytes[NAME_LENGTH_MAX + 2];
	(void)events;
	ssize_t got = read(fd, bytes, sizeof bytes);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	drop_ready_pipe(guest);
	if (got > 0 && guest->state == GUEST_STARTING)
		guest_runs(guest);
}

static void process_ended(void *opaque, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	guest_ended(opaque);
}

static void begin_life(struct guest *guest)
{
	guest->started_ms = host_now_ms();
	guest->tidy_at_ms = guest->started_ms + TIDY_MS;
	guest->kill_at_ms = guest->restart_at_ms = HOST_NEVER;
	guest->end_wanted = guest->killed = false;
	guest->starts++;
}

/* What goes wrong here would leave a process that nobody watches: it is ended. */
static bool watch_process(struct guest *guest, struct error *error)
{
	struct host_loop *loop = &guest->host->loop;
	if (host_loop_watch(loop, guest->pidfd, EPOLLIN, process_ended, guest, error) &&
	    (guest->ready_fd < 0 || host_loop_watch(loop, guest->ready_fd, EPOLLIN, ready_arrived, guest, error)))
		return true;
	if (guest->child) {
		send_signal(guest, SIGKILL);
		json_decref(guest_end_reason(guest)); /* waits for it */
	}
	guest_let_go(guest);
	guest->state = GUEST_STOPPED;
	return false;
}

static bool may_start(struct guest *guest, struct error *error)
{
	if (!guest->defined || guest->definition.object == NULL)
		return error_set(error, ERROR_INPUT, "guest '%s' cannot start: %s", guest->name,
				 guest->defined ? guest->problem : "its definition is gone");
	if (guest->host->ending)
		return error_set(error, ERROR_INPUT, "the host is ending");
	pid_t owner = runtime_owner(&guest->host->runtime, guest->name);
	if (guest->state == GUEST_STOPPED && owner != 0)
		guest_adopt(guest, owner);
	return guest->state == GUEST_STOPPED || error_set(error, ERROR_INPUT, "guest '%s' runs already", guest->name);
}

bool guest_start(struct guest *guest, struct error *error)
{
	if (!may_start(guest, error))
		return false;
	struct error refused = {0};
	if (!guest_admitted(guest, &refused))
		return error_set(error, ERROR_INPUT, "guest '%s' cannot start: %s", guest->name, refused.text);
	if (!guest_spawn(guest, error))
		return false;
	begin_life(guest);
	guest->state = GUEST_STARTING;
	return watch_process(guest, error);
}

void guest_adopt(struct guest *guest, pid_t owner)
{
	guest->pidfd = (int)syscall(SYS_pidfd_open, owner, 0);
	if (guest->pidfd < 0)
		return;
	/* It could have ended, and another have its pid, before the pidfd held it. */
	if (runtime_owner(&guest->host->runtime, guest->name) != owner) {
		guest_let_go(guest);
		return;
	}
	guest->pid = owner;
	guest->child = false;
	begin_life(guest);
	if (watch_process(guest, NULL))
		guest_runs(guest);
}

/* ---- its end ---- */

static void stop_answered(struct guest *guest, enum client_state state, json_t *result, const struct error *error)
{
	(void)result;
	if (state != CLIENT_REFUSED || guest->state != GUEST_STOPPING)
		return;
	/* It is paused, and says so. */
	guest->state = GUEST_RUNNING;
	guest->end_wanted = false;
	guest->kill_at_ms = HOST_NEVER;
	(void)snprintf(guest->refusal, sizeof guest->refusal, "%s", error->text);
}

/* A guest that is to end is not started again. */
static bool cancel_restart(struct guest *guest)
{
	bool waited = guest->restart_at_ms != HOST_NEVER;
	guest->restart_at_ms = HOST_NEVER;
	return waited;
}

static bool is_active(const struct guest *guest, struct error *error)
{
	return guest->state != GUEST_STOPPED || error_set(error, ERROR_INPUT, "guest '%s' does not run", guest->name);
}

bool guest_stop(struct guest *guest, uint64_t seconds, struct error *error)
{
	struct error asked = {0};
	guest->autostart_due = false;
	if (cancel_restart(guest))
		return true;
	if (!is_active(guest, error))
		return false;
	if (guest->state == GUEST_STARTING)
		return guest_kill(guest, error);
	guest->state = GUEST_STOPPING;
	guest->end_wanted = true;
	guest->refusal[0] = '\0';
	guest->kill_at_ms = host_now_ms() + (int64_t)seconds * 1000 + KILL_GRACE_MS;
	/* If it does not listen, the time limit ends it. */
	if (!guest_ask(guest, "guest.stop", json_pack("{s:I}", "timeout", (json_int_t)seconds), stop_answered, &asked))
		report_line("guest '%s' is not asked to stop: %s", guest->name, asked.text);
	return true;
}

bool guest_kill(struct guest *guest, struct error *error)
{
	guest->autostart_due = false;
	if (cancel_restart(guest))
		return true;
	if (!is_active(guest, error))
		return false;
	guest->state = GUEST_STOPPING;
	guest->end_wanted = true;
	guest->kill_at_ms = host_now_ms() + TERM_GRACE_MS;
	send_signal(guest, SIGTERM); /* ends it in order, if it can */
	return true;
}

/* Whoever claims a name removes what its last owner left. Another may have it already. */
static void remove_leftovers(const struct guest *guest)
{
	struct claim claim;
	if (runtime_claim(&guest->host->runtime, guest->name, &claim, NULL) == CLAIM_DONE)
		runtime_release(&guest->host->runtime, &claim);
}

/* The guest's end by itself is a failure unless it powered off or was reset, or somebody killed it on purpose. */
static bool end_is_failure(const json_t *end)
{
	const json_t *status = json_object_get(end, "status");
	json_int_t number = json_integer_value(status);
	return status == NULL || (number != STATUS_OK && number != STATUS_REBOOT && number != STATUS_KILLED);
}

static bool wants_restart(const struct guest *guest)
{
	const json_t *status = json_object_get(guest->end, "status");
	if (guest->end_wanted || guest->host->ending || guest->definition.object == NULL ||
	    (status != NULL && json_integer_value(status) == STATUS_KILLED))
		return false;
	return guest->policy.restart == RESTART_ALWAYS ||
	       (guest->policy.restart == RESTART_ON_FAILURE && end_is_failure(guest->end));
}

static void plan_restart(struct guest *guest)
{
	int64_t now = host_now_ms(), delay = RESTART_MS;
	guest->failures = now - guest->started_ms < STEADY_MS ? guest->failures + 1 : 0;
	for (unsigned i = 1; i < guest->failures && delay < RESTART_MAX_MS; i++)
		delay *= 2;
	guest->restart_at_ms = now + (delay < RESTART_MAX_MS ? delay : RESTART_MAX_MS);
}

static void keep_reason(struct guest *guest, json_t *end)
{
	struct error error = {0};
	json_decref(guest->end);
	guest->end = end;
	report_line("guest '%s' ended: %s", guest->name, json_string_value(json_object_get(end, "reason")));
	/* A full disk: the reason is known as long as we live. */
	if (guest->defined && end != NULL && !store_write_end(&guest->host->store, guest->name, end, &error))
		report_line("%s", error.text);
}

static void guest_ended(struct guest *guest)
{
	struct host *host = guest->host;
	console_close(guest); /* with what it said last */
	keep_reason(guest, guest_end_reason(guest));
	guest_let_go(guest);
	remove_leftovers(guest);
	guest->state = GUEST_STOPPED;
	guest->kill_at_ms = HOST_NEVER;
	if (wants_restart(guest))
		plan_restart(guest);
	guests_autostart(host);
}

/* ---- in time ---- */

int64_t guest_next(const struct guest *guest)
{
	int64_t next = guest->kill_at_ms < guest->restart_at_ms ? guest->kill_at_ms : guest->restart_at_ms;
	return guest->state != GUEST_STOPPED && guest->tidy_at_ms < next ? guest->tidy_at_ms : next;
}

/* A guest whose disks fail all the time has much to say. */
static void bound_messages(const struct guest *guest)
{
	struct stat status;
	int fd = store_open_log(&guest->host->store, guest->name, "messages", false);
	if (fd < 0)
		return;
	if (fstat(fd, &status) == 0 && status.st_size > STORE_LOG_MAX)
		(void)ftruncate(fd, 0);
	close(fd);
}

static void restart(struct guest *guest)
{
	struct error error = {0};
	guest->restart_at_ms = HOST_NEVER;
	if (guest_start(guest, &error) || guest->state != GUEST_STOPPED || guest->definition.object == NULL)
		return;
	report_line("%s", error.text);
	plan_restart(guest);
}

void guest_work(struct guest *guest, int64_t now)
{
	if (now >= guest->kill_at_ms) {
		send_signal(guest, SIGKILL);
		guest->killed = true;
		guest->kill_at_ms = HOST_NEVER;
	}
	if (guest->state != GUEST_STOPPED && now >= guest->tidy_at_ms) {
		bound_messages(guest);
		guest->tidy_at_ms = now + TIDY_MS;
	}
	if (now >= guest->restart_at_ms)
		restart(guest);
}

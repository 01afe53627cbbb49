/* SPDX-License-Identifier: MIT */
#include "vm/agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "control/report.h"
#include "vm/agent-wire.h"

#define READ_SIZE 65536u
#define OWN_TICKET 0u	   /* of the thaw that we begin ourselves */
#define SILENT_MS 3000	   /* what has no answer if it succeeds is taken to have done so then */
#define THAW_AGAIN_MS 5000 /* after a thaw that failed */
#define NEVER INT64_MAX

enum call_kind { CALL_PLAIN, CALL_SILENT, CALL_FREEZE, CALL_THAW };

struct call {
	struct call *next;
	uint64_t ticket;
	char *text;
	enum call_kind kind;
	unsigned timeout, thaw_after;
	int64_t deadline;
};

struct agent {
	struct machine *machine;
	agent_answer_function *answer;
	void *opaque;
	int fd; /* the machine's, or -1 */
	int timer;
	uint32_t watched;
	struct agent_wire wire;
	json_int_t sync;
	struct call *first; /* has the channel */
	unsigned calls;
	char *out; /* what the channel has not taken yet, or NULL */
	size_t out_size, out_sent;
	int64_t thaw_at; /* NEVER: nothing is frozen */
	unsigned thaw_after;
	bool thaw_reported;
};

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void channel_ready(void *opaque, int fd, uint32_t events);

static void watch(struct agent *agent, uint32_t events)
{
	if (agent->watched == events)
		return;
	if (agent->watched != 0)
		machine_unwatch(agent->machine, agent->fd);
	agent->watched = machine_watch(agent->machine, agent->fd, events, channel_ready, agent, NULL) ? events : 0;
}

/* For the next time limit, whosever it is. */
static void arm(struct agent *agent)
{
	int64_t at = agent->thaw_at;
	for (const struct call *call = agent->first; call != NULL; call = call->next)
		at = call->deadline < at ? call->deadline : at;
	struct itimerspec expiry = {0};
	if (at != NEVER)
		expiry.it_value = (struct timespec){.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000 + 1};
	(void)timerfd_settime(agent->timer, TFD_TIMER_ABSTIME, &expiry, NULL);
}

/* ---- sending ---- */

static void flush(struct agent *agent)
{
	while (agent->out != NULL && agent->out_sent < agent->out_size) {
		ssize_t sent = send(agent->fd, agent->out + agent->out_sent, agent->out_size - agent->out_sent,
				    MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			break; /* it is full: there will be room, or the time is over */
		agent->out_sent += (size_t)sent;
	}
	if (agent->out_sent == agent->out_size) {
		free(agent->out);
		agent->out = NULL;
	}
	watch(agent, agent->out != NULL ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Takes over the text. */
static void send_text(struct agent *agent, char *text)
{
	free(agent->out);
	agent->out = text;
	agent->out_size = text != NULL ? strlen(text) : 0;
	agent->out_sent = 0;
	flush(agent);
}

/* The mark in front makes the agent forget half a command that it may have. */
static void call_begin(struct agent *agent)
{
	char text[128];
	agent_wire_begin(&agent->wire, ++agent->sync);
	(void)snprintf(text, sizeof text,
		       "\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%" JSON_INTEGER_FORMAT "}}\n",
		       agent->sync);
	send_text(agent, strdup(text));
}

/* ---- the end of a call ---- */

static json_t *make_result(const struct call *call, json_t *value)
{
	json_t *result = json_pack("{s:o}", "return", value);
	if (call->kind == CALL_FREEZE)
		(void)json_object_set_new(result, "thaw_after", json_integer((json_int_t)call->thaw_after));
	return result;
}

/* Whoever froze and heard nothing cannot know: then they are thawed soon. */
static void note_freeze(struct agent *agent, const struct call *call, bool done, bool refused)
{
	if (call->kind == CALL_FREEZE && !refused) {
		agent->thaw_after = call->thaw_after;
		agent->thaw_at = done ? now_ms() + (int64_t)call->thaw_after * 1000 : now_ms() + THAW_AGAIN_MS;
		agent->thaw_reported = !done;
	}
	if (call->kind == CALL_THAW && done)
		agent->thaw_at = NEVER;
	else if (call->kind == CALL_THAW && call->ticket == OWN_TICKET)
		agent->thaw_at = now_ms() + THAW_AGAIN_MS;
}

/* Answers and forgets the first call, and begins the next. Takes over the value; NULL: *error has why. */
static void call_end(struct agent *agent, json_t *value, const struct method_error *error)
{
	struct call *call = agent->first;
	note_freeze(agent, call, value != NULL, error != NULL && error->code == RPC_WRONG_STATE);
	agent->first = call->next;
	agent->calls--;
	agent_wire_end(&agent->wire);
	if (call->ticket != OWN_TICKET)
		agent->answer(agent->opaque, call->ticket, value != NULL ? make_result(call, value) : NULL, error);
	else
		json_decref(value);
	free(call->text);
	free(call);
	if (agent->first != NULL)
		call_begin(agent);
	arm(agent);
}

static void call_fail(struct agent *agent, int code, const char *text)
{
	struct method_error error = {.code = code};
	(void)snprintf(error.text, sizeof error.text, "%s", text);
	call_end(agent, NULL, &error);
}

static void call_refused(struct agent *agent, const char *why)
{
	char text[AGENT_ERROR_SIZE + 32];
	(void)snprintf(text, sizeof text, "the guest agent refused: %s", why);
	call_fail(agent, RPC_WRONG_STATE, text);
}

static void call_expired(struct agent *agent)
{
	const struct call *call = agent->first;
	bool asked = agent->wire.state == AGENT_WIRE_ANSWER;
	char text[160];
	if (call->kind == CALL_SILENT && asked && agent->out == NULL) {
		call_end(agent, json_object(), NULL);
		return;
	}
	(void)snprintf(text, sizeof text,
		       asked ? "the guest agent did not answer within %u s: give it more time with --timeout"
			     : "the guest agent does not answer (%u s): it hangs, or the guest does",
		       call->timeout);
	call_fail(agent, RPC_INTERNAL_ERROR, text);
}

/* ---- receiving ---- */

static void command_send(struct agent *agent)
{
	struct call *call = agent->first;
	if (call->kind == CALL_SILENT && call->deadline > now_ms() + SILENT_MS)
		call->deadline = now_ms() + SILENT_MS;
	send_text(agent, call->text);
	call->text = NULL;
	arm(agent);
}

static void take(struct agent *agent, const uint8_t *bytes, size_t count)
{
	char why[AGENT_ERROR_SIZE];
	enum agent_event event;
	json_t *result;
	for (size_t at = 0; at < count;) {
		at += agent_wire_take(&agent->wire, bytes + at, count - at, &event, &result, why);
		if (event == AGENT_SYNCED)
			command_send(agent);
		else if (event == AGENT_ANSWERED)
			call_end(agent, result, NULL);
		else if (event == AGENT_REFUSED)
			call_refused(agent, why);
		else if (event == AGENT_BROKEN)
			call_fail(agent, RPC_INTERNAL_ERROR, why);
	}
}

/* A bounded piece at a time: what comes is the guest's to say, without end if it likes. */
static void channel_ready(void *opaque, int fd, uint32_t events)
{
	struct agent *agent = opaque;
	uint8_t bytes[READ_SIZE];
	if ((events & EPOLLOUT) != 0)
		flush(agent);
	if ((events & ~(uint32_t)EPOLLOUT) == 0)
		return;
	ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
	if (got > 0)
		take(agent, bytes, (size_t)got);
	else if (got == 0 || (errno != EAGAIN && errno != EINTR))
		watch(agent, 0);
}

/* ---- calls ---- */

static enum call_kind kind_of(const char *command)
{
	static const struct {
		const char *command;
		enum call_kind kind;
	} kinds[] = {{"guest-shutdown", CALL_SILENT},
		     {"guest-suspend-disk", CALL_SILENT},
		     {"guest-suspend-ram", CALL_SILENT},
		     {"guest-suspend-hybrid", CALL_SILENT},
		     {"guest-fsfreeze-thaw", CALL_THAW},
		     {"guest-fsfreeze-freeze", CALL_FREEZE},
		     {"guest-fsfreeze-freeze-list", CALL_FREEZE}};
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strcmp(kinds[i].command, command) == 0)
			return kinds[i].kind;
	return CALL_PLAIN;
}

/* NULL: out of memory. */
static char *command_text(const struct agent_request *request)
{
	json_t *command = json_pack("{s:s, s:O*}", "execute", request->command, "arguments", request->arguments);
	char *text = json_dumps(command, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(command);
	char *line = text != NULL ? malloc(strlen(text) + 2) : NULL;
	if (line != NULL)
		(void)sprintf(line, "%s\n", text);
	free(text);
	return line;
}

static bool enqueue(struct agent *agent, const struct agent_request *request, uint64_t ticket)
{
	struct call *call = malloc(sizeof *call), **link = &agent->first;
	char *text = command_text(request);
	if (call == NULL || text == NULL) {
		free(call);
		free(text);
		return false;
	}
	*call = (struct call){.ticket = ticket,
			      .text = text,
			      .kind = kind_of(request->command),
			      .timeout = request->timeout,
			      .thaw_after = request->thaw_after,
			      .deadline = now_ms() + (int64_t)request->timeout * 1000};
	while (*link != NULL)
		link = &(*link)->next;
	*link = call;
	if (agent->calls++ == 0)
		call_begin(agent);
	arm(agent);
	return true;
}

bool agent_call(struct agent *agent, const struct agent_request *request, uint64_t ticket, struct method_error *error)
{
	const char *why = NULL;
	if (agent->fd < 0)
		why = "it has no channel to a guest agent: it runs with --agent off or --clock deterministic";
	else if (machine_state(agent->machine) != MACHINE_RUNNING)
		why = "it is paused, and so is its agent: resume it first";
	else if (!machine_agent_listens(agent->machine))
		why = "no guest agent listens: qemu-guest-agent must be installed and running in the guest";
	else if (agent->calls >= AGENT_CALLS_MAX)
		why = "too many calls wait for the guest agent: try again later";
	if (why != NULL)
		return method_fail(error, RPC_WRONG_STATE, why) != NULL;
	return enqueue(agent, request, ticket) || method_fail(error, RPC_INTERNAL_ERROR, "out of memory") != NULL;
}

/* ---- time ---- */

static void thaw(struct agent *agent)
{
	const struct agent_request request = {.command = "guest-fsfreeze-thaw", .timeout = AGENT_TIMEOUT_DEFAULT};
	if (!agent->thaw_reported)
		report_line("file systems of the guest were frozen for %u s: thawing them", agent->thaw_after);
	agent->thaw_reported = true;
	agent->thaw_at = now_ms() + THAW_AGAIN_MS;
	/* A guest that is paused, or whose agent is not there, gets it later. */
	if (machine_state(agent->machine) == MACHINE_RUNNING && machine_agent_listens(agent->machine) &&
	    agent->calls < AGENT_CALLS_MAX && enqueue(agent, &request, OWN_TICKET))
		agent->thaw_at = NEVER; /* until the call ends */
}

/* Those behind the first one, which never had the channel. */
static void drop_waiting(struct agent *agent, int64_t now)
{
	const struct method_error error = {.code = RPC_WRONG_STATE,
					   .text = "the guest agent is busy with other commands"};
	for (struct call **link = &agent->first->next; *link != NULL;) {
		struct call *call = *link;
		if (call->deadline > now) {
			link = &call->next;
			continue;
		}
		*link = call->next;
		agent->calls--;
		if (call->ticket != OWN_TICKET)
			agent->answer(agent->opaque, call->ticket, NULL, &error);
		else
			agent->thaw_at = now + THAW_AGAIN_MS;
		free(call->text);
		free(call);
	}
}

static void timer_expired(void *opaque, int fd, uint32_t events)
{
	struct agent *agent = opaque;
	uint64_t expirations;
	int64_t now = now_ms();
	(void)events;
	if (read(fd, &expirations, sizeof expirations) != (ssize_t)sizeof expirations)
		return;
	if (agent->first != NULL)
		drop_waiting(agent, now);
	if (agent->first != NULL && agent->first->deadline <= now)
		call_expired(agent);
	if (agent->thaw_at <= now)
		thaw(agent);
	arm(agent);
}

/* ---- life ---- */

struct agent *agent_create(struct machine *machine, agent_answer_function *answer, void *opaque, struct error *error)
{
	struct agent *agent = calloc(1, sizeof *agent);
	if (agent == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	*agent = (struct agent){.machine = machine,
				.answer = answer,
				.opaque = opaque,
				.fd = machine_agent_fd(machine),
				.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
				.thaw_at = NEVER};
	if (agent->timer < 0) {
		(void)error_set_errno(error, "cannot create a timer");
		free(agent);
		return NULL;
	}
	if (!machine_watch(machine, agent->timer, EPOLLIN, timer_expired, agent, error)) {
		close(agent->timer);
		free(agent);
		return NULL;
	}
	if (agent->fd >= 0)
		watch(agent, EPOLLIN);
	return agent;
}

void agent_destroy(struct agent *agent)
{
	if (agent == NULL)
		return;
	while (agent->first != NULL) {
		struct call *call = agent->first;
		agent->first = call->next;
		free(call->text);
		free(call);
	}
	if (agent->watched != 0)
		machine_unwatch(agent->machine, agent->fd);
	machine_unwatch(agent->machine, agent->timer);
	close(agent->timer);
	agent_wire_end(&agent->wire);
	free(agent->out);
	free(agent);
}

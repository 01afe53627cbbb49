/* SPDX-License-Identifier: MIT */
/* nfold guest: what the QEMU guest agent inside a guest does for us. What it answers is the guest's to say: it is
 * checked like a stranger's, and made printable. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/guest.h"
#include "control/client.h"
#include "control/report.h"

#define TIMEOUT_MAX 3600
#define ANSWER_SECONDS 10u
#define GRACE_MS 5000
#define INPUT_MAX 32768u
#define POLL_FIRST_MS 20
#define POLL_MAX_MS 500
#define LINES_MAX 64u
#define TEXT_MAX 256u
#define SIGNAL_STATUS 128

struct agent_options {
	uint64_t timeout, thaw_after;
	bool input, json;
};

static const struct option agent_options[] = {
    {"timeout", "SECONDS", NULL,
     "how long to wait for the agent (default: 10), or for a program that exec runs (default: "
     "as long as it takes)",
     .kind = OPTION_NUMBER, .minimum = 1, .maximum = TIMEOUT_MAX, .offset = offsetof(struct agent_options, timeout)},
    {"thaw-after", "SECONDS", "60", "freeze: thaw after so long, whatever happens", .kind = OPTION_NUMBER, .minimum = 1,
     .maximum = TIMEOUT_MAX, .offset = offsetof(struct agent_options, thaw_after)},
    {"stdin", NULL, NULL, "exec: give the program what comes on standard input, up to 32 KiB", .kind = OPTION_FLAG,
     .offset = offsetof(struct agent_options, input)},
    {"json", NULL, NULL, "info: as JSON", .kind = OPTION_FLAG, .offset = offsetof(struct agent_options, json)},
    {0},
};

struct agent_call {
	struct runtime runtime;
	const char *name;
	const struct agent_options *options;
	const char *const *word; /* of a program and its arguments */
	unsigned words;
};

/* ---- calls ---- */

static unsigned answer_seconds(const struct agent_call *call)
{
	return call->options->timeout == OPTION_UNSET ? ANSWER_SECONDS : (unsigned)call->options->timeout;
}

/* What the agent returned, a new reference. Takes over the arguments, which may be NULL. */
static json_t *ask(const struct agent_call *call, const char *command, json_t *arguments, struct error *error)
{
	unsigned seconds = answer_seconds(call);
	json_t *params = json_pack("{s:s, s:i, s:I, s:o*}", "command", command, "timeout", (int)seconds, "thaw_after",
				   (json_int_t)call->options->thaw_after, "arguments", arguments);
	json_t *result =
	    client_call(&call->runtime, call->name, "guest.agent", params, (int)seconds * 1000 + GRACE_MS, error);
	json_t *value = json_incref(json_object_get(result, "return"));
	json_decref(result);
	if (result != NULL && value == NULL)
		(void)error_set(error, ERROR_HOST, "guest '%s' gave no answer", call->name);
	return value;
}

static int bad_answer(const struct agent_call *call)
{
	report_line("guest '%s': the guest agent's answer is not what it should be", call->name);
	return STATUS_HOST;
}

/* ---- info ---- */

static void print_text(const char *label, const char *text)
{
	char line[TEXT_MAX];
	if (text == NULL)
		return;
	(void)snprintf(line, sizeof line, "%s", text);
	for (char *at = line; *at != '\0'; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	printf("%-12s %s\n", label, line);
}

static void print_addresses(const json_t *interfaces)
{
	unsigned lines = 0;
	size_t i, k;
	json_t *interface, *address;
	json_array_foreach(interfaces, i, interface)
	{
		json_array_foreach(json_object_get(interface, "ip-addresses"), k, address)
		{
			const char *name = json_string_value(json_object_get(interface, "name"));
			const char *number = json_string_value(json_object_get(address, "ip-address"));
			char text[TEXT_MAX];
			if (name == NULL || number == NULL || lines++ == LINES_MAX)
				continue;
			(void)snprintf(text, sizeof text, "%.100s %.100s", name, number);
			print_text(lines == 1 ? "addresses" : "", text);
		}
	}
}

static void print_file_systems(const json_t *systems)
{
	unsigned lines = 0;
	size_t i;
	json_t *system;
	json_array_foreach(systems, i, system)
	{
		const char *at = json_string_value(json_object_get(system, "mountpoint"));
		const char *type = json_string_value(json_object_get(system, "type"));
		char text[TEXT_MAX];
		if (at == NULL || type == NULL || lines++ >= LINES_MAX)
			continue;
		(void)snprintf(text, sizeof text, "%.150s %.60s", at, type);
		print_text(lines == 1 ? "mounted" : "", text);
	}
}

static int run_info(const struct agent_call *call)
{
	static const struct {
		const char *key, *command;
	} part[] = {{"agent", "guest-info"},
		    {"system", "guest-get-osinfo"},
		    {"host", "guest-get-host-name"},
		    {"interfaces", "guest-network-get-interfaces"},
		    {"file_systems", "guest-get-fsinfo"}};
	struct error error = {0};
	json_t *all = json_object();
	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		json_t *value = ask(call, part[i].command, NULL, &error);
		if (value == NULL && i == 0) {
			json_decref(all);
			return (int)report_error(&error);
		}
		if (value != NULL) /* else an agent that does not know it */
			(void)json_object_set_new(all, part[i].key, value);
	}
	if (call->options->json) {
		(void)json_dumpf(all, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
		printf("\n");
	} else {
		const json_t *system = json_object_get(all, "system");
		print_text("agent", json_string_value(json_object_get(json_object_get(all, "agent"), "version")));
		print_text("system", json_string_value(json_object_get(system, "pretty-name")));
		print_text("kernel", json_string_value(json_object_get(system, "kernel-release")));
		print_text("host name", json_string_value(json_object_get(json_object_get(all, "host"), "host-name")));
		print_addresses(json_object_get(all, "interfaces"));
		print_file_systems(json_object_get(all, "file_systems"));
	}
	json_decref(all);
	return STATUS_OK;
}

/* ---- exec ---- */

static const char base64_digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Allocated; NULL: out of memory. */
static char *base64_make(const uint8_t *bytes, size_t size)
{
	char *text = malloc((size + 2) / 3 * 4 + 1), *to = text;
	for (size_t at = 0; text != NULL && at < size; at += 3) {
		uint32_t group = (uint32_t)bytes[at] << 16;
		for (unsigned k = 1; k < 3; k++)
			group |= at + k < size ? (uint32_t)bytes[at + k] << (16 - 8 * k) : 0;
		for (unsigned k = 0; k < 4; k++)
			*to++ = at + k > size ? '=' : base64_digit[group >> (18 - 6 * k) & 63];
	}
	if (text != NULL)
		*to = '\0';
	return text;
}

/* Writes what the text stands for, up to its end or a character that has no place in it. */
static void base64_write(const char *text, FILE *to)
{
	uint32_t bits = 0;
	unsigned count = 0;
	for (; *text != '\0'; text++) {
		const char *digit = strchr(base64_digit, *text);
		if (digit == NULL)
			break;
		bits = bits << 6 | (uint32_t)(digit - base64_digit);
		count += 6;
		if (count < 8)
			continue;
		count -= 8;
		(void)fputc((int)(bits >> count & 0xff), to);
	}
}

/* All of standard input as a JSON string; NULL: it is too long, or out of memory. */
static json_t *read_input(void)
{
	uint8_t bytes[INPUT_MAX + 1];
	size_t size = fread(bytes, 1, sizeof bytes, stdin);
	char *text = size <= INPUT_MAX ? base64_make(bytes, size) : NULL;
	json_t *string = text != NULL ? json_string(text) : NULL;
	free(text);
	return string;
}

static json_t *exec_arguments(const struct agent_call *call)
{
	json_t *words = json_array();
	for (unsigned i = 1; i < call->words; i++)
		(void)json_array_append_new(words, json_string(call->word[i]));
	return json_pack("{s:s, s:o, s:b}", "path", call->word[0], "arg", words, "capture-output", 1);
}

/* The program's own status, as a shell has it. Takes over the answer. */
static int exec_end(const struct agent_call *call, json_t *answer)
{
	const char *out = json_string_value(json_object_get(answer, "out-data"));
	const char *err = json_string_value(json_object_get(answer, "err-data"));
	const json_t *code = json_object_get(answer, "exitcode"), *number = json_object_get(answer, "signal");
	if (out != NULL)
		base64_write(out, stdout);
	(void)fflush(stdout);
	if (err != NULL)
		base64_write(err, stderr);
	if (json_is_true(json_object_get(answer, "out-truncated")) ||
	    json_is_true(json_object_get(answer, "err-truncated")))
		report_line("guest '%s': the guest agent kept only the beginning of the output", call->name);
	int status = json_is_integer(code)     ? (int)(json_integer_value(code) & 0xff)
		     : json_is_integer(number) ? (int)(SIGNAL_STATUS + (json_integer_value(number) & 0x7f))
					       : bad_answer(call);
	json_decref(answer);
	return status;
}

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int exec_wait(const struct agent_call *call, json_int_t pid, int64_t deadline)
{
	const struct agent_options each = {.timeout = OPTION_UNSET, .thaw_after = call->options->thaw_after};
	struct agent_call poll = *call;
	struct error error = {0};
	poll.options = &each;
	for (long pause = POLL_FIRST_MS;; pause = pause * 2 < POLL_MAX_MS ? pause * 2 : POLL_MAX_MS) {
		json_t *answer = ask(&poll, "guest-exec-status", json_pack("{s:I}", "pid", pid), &error);
		if (answer == NULL)
			return (int)report_error(&error);
		if (json_is_true(json_object_get(answer, "exited")))
			return exec_end(call, answer);
		bool sound = json_is_false(json_object_get(answer, "exited"));
		json_decref(answer);
		if (!sound)
			return bad_answer(call);
		if (now_ms() >= deadline) {
			report_line("guest '%s': process %" JSON_INTEGER_FORMAT " has not ended within %" PRIu64
				    " s; it is left running",
				    call->name, pid, call->options->timeout);
			return STATUS_HOST;
		}
		const struct timespec time = {.tv_nsec = pause * 1000000};
		(void)nanosleep(&time, NULL);
	}
}

static int run_exec(const struct agent_call *call)
{
	int64_t deadline = INT64_MAX;
	struct error error = {0};
	json_t *arguments = exec_arguments(call);
	if (arguments == NULL) {
		report_line("the program's name and arguments must be UTF-8");
		return STATUS_INPUT;
	}
	if (call->options->input && json_object_set_new(arguments, "input-data", read_input()) != 0) {
		report_line("--stdin: standard input has more than 32 KiB");
		json_decref(arguments);
		return STATUS_INPUT;
	}
	if (call->options->timeout != OPTION_UNSET)
		deadline = now_ms() + (int64_t)call->options->timeout * 1000;
	json_t *answer = ask(call, "guest-exec", arguments, &error);
	if (answer == NULL)
		return (int)report_error(&error);
	const json_t *pid = json_object_get(answer, "pid");
	json_int_t number = json_integer_value(pid);
	bool sound = json_is_integer(pid);
	json_decref(answer);
	return sound ? exec_wait(call, number, deadline) : bad_answer(call);
}

/* ---- freeze, thaw, shutdown ---- */

static int count_file_systems(const struct agent_call *call, const char *command, json_int_t *count)
{
	struct error error = {0};
	json_t *answer = ask(call, command, NULL, &error);
	if (answer == NULL)
		return (int)report_error(&error);
	*count = json_integer_value(answer);
	bool sound = json_is_integer(answer) && *count >= 0;
	json_decref(answer);
	return sound ? STATUS_OK : bad_answer(call);
}

static const char *plural(json_int_t count)
{
	return count == 1 ? "" : "s";
}

static int run_freeze(const struct agent_call *call)
{
	json_int_t count = 0;
	int status = count_file_systems(call, "guest-fsfreeze-freeze", &count);
	if (status == STATUS_OK)
		printf("%" JSON_INTEGER_FORMAT
		       " file system%s frozen; 'nfold guest %s thaw' ends it, or else nfold does in %" PRIu64 " s\n",
		       count, plural(count), call->name, call->options->thaw_after);
	return status;
}

static int run_thaw(const struct agent_call *call)
{
	json_int_t count = 0;
	int status = count_file_systems(call, "guest-fsfreeze-thaw", &count);
	if (status == STATUS_OK)
		printf("%" JSON_INTEGER_FORMAT " file system%s thawed\n", count, plural(count));
	return status;
}

/* A guest that ends before its agent has answered has done what it should. */
static int run_shutdown(const struct agent_call *call)
{
	struct error error = {0};
	json_t *answer = ask(call, "guest-shutdown", json_pack("{s:s}", "mode", "powerdown"), &error);
	if (answer == NULL && (error.kind == ERROR_INPUT || !guest_wait_end(&call->runtime, call->name, GRACE_MS)))
		return (int)report_error(&error);
	json_decref(answer);
	return STATUS_OK;
}

/* ---- the command ---- */

static const struct action {
	const char *name;
	unsigned words_min, words_max;
	int (*run)(const struct agent_call *call);
} actions[] = {{"info", 0, 0, run_info},
	       {"exec", 1, ARGUMENTS_MAX, run_exec},
	       {"freeze", 0, 0, run_freeze},
	       {"thaw", 0, 0, run_thaw},
	       {"shutdown", 0, 0, run_shutdown}};

static const struct action *find_action(const char *name)
{
	for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
	return NULL;
}

static int agent_run(const struct command_call *command)
{
	struct agent_call call = {.name = command->argument[0],
				  .options = command->options,
				  .word = command->argument + 2,
				  .words = command->argument_count - 2};
	const struct action *action = find_action(command->argument[1]);
	struct error error = {0};
	if (action == NULL) {
		report_line("nfold guest: no action '%.64s': give info, exec, freeze, thaw or shutdown",
			    command->argument[1]);
		return STATUS_INPUT;
	}
	if (call.words < action->words_min || call.words > action->words_max) {
		report_line(action->words_min > 0 ? "nfold guest NAME %s: give a program and its arguments"
						  : "nfold guest NAME %s takes no arguments",
			    action->name);
		return STATUS_INPUT;
	}
	if (!name_check(call.name, &error) || !runtime_open(&call.runtime, false, &error))
		return (int)report_error(&error);
	int status = action->run(&call);
	runtime_close(&call.runtime);
	return status;
}

const struct command command_guest = {
    .name = "guest",
    .arguments = "NAME ACTION [ARGUMENT]...",
    .argument_min = 2,
    .argument_max = ARGUMENTS_MAX,
    .summary = "ask the agent inside a guest",
    .description = "Asks the QEMU guest agent, which must run in the guest (Debian: apt install qemu-guest-agent).\n\n"
		   "  info                       its system, addresses and file systems\n"
		   "  exec -- PROGRAM [ARG]...   runs a program: its output, its exit status\n"
		   "  freeze                     file systems stop changing, for a copy of the disks\n"
		   "  thaw                       they go on\n"
		   "  shutdown                   powers the guest off",
    .options = agent_options,
    .run = agent_run,
};

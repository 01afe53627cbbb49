/* SPDX-License-Identifier: MIT */
/* What a guest's agent sends, good and hostile: synchronization, answers, refusals, pieces of any size, limits. */
#include "vm/agent-wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct got {
	enum agent_event last;
	json_t *result;
	char error[AGENT_ERROR_SIZE];
	unsigned synced, answered;
};

static void feed_bytes(struct agent_wire *wire, struct got *got, const void *bytes, size_t size, size_t piece)
{
	const uint8_t *at = bytes;
	for (size_t done = 0; done < size;) {
		size_t count = size - done < piece ? size - done : piece;
		json_t *result;
		size_t taken = agent_wire_take(wire, at + done, count, &got->last, &result, got->error);
		assert_true(taken > 0 && taken <= count);
		done += taken;
		got->synced += got->last == AGENT_SYNCED;
		got->answered += got->last == AGENT_ANSWERED;
		if (result != NULL) {
			json_decref(got->result);
			got->result = result;
		}
	}
}

static void feed(struct agent_wire *wire, struct got *got, const char *text, size_t piece)
{
	feed_bytes(wire, got, text, strlen(text), piece);
}

static void end(struct agent_wire *wire, struct got *got)
{
	agent_wire_end(wire);
	json_decref(got->result);
	*got = (struct got){0};
}

/* Old answers and half a line come first; the answer arrives whole, or byte by byte. */
static void answers_after_sync(void **state)
{
	static const char text[] =
	    "{\"return\": 1}\n{\"ret\xff{\"return\": 7}\r\n\n{\"return\": {\"pid\": 5}}\n{\"return\": 9}\n";
	(void)state;
	for (size_t piece = 1; piece < sizeof text; piece++) {
		struct agent_wire wire = {0};
		struct got got = {0};
		agent_wire_begin(&wire, 7);
		feed(&wire, &got, text, piece);
		assert_int_equal(got.synced, 1);
		assert_int_equal(got.answered, 1);
		assert_int_equal(json_integer_value(json_object_get(got.result, "pid")), 5);
		assert_int_equal(wire.state, AGENT_WIRE_IDLE);
		end(&wire, &got);
	}
}

/* The mark and number of an older conversation are not ours; neither is a line without end. */
static void waits_for_its_own_sync(void **state)
{
	static const char *const others[] = {"\xff{\"return\": 6}\n",
					     "\xff{\"return\": \"7\"}\n",
					     "\xff[7]\n",
					     "\3777\n",
					     "\xff{\"error\": {}}\n",
					     "\xff\xff\xff\n{}\n",
					     "\xff{\"return\": 7, \"return\": 7}\n"};
	struct agent_wire wire = {0};
	struct got got = {0};
	(void)state;
	agent_wire_begin(&wire, 7);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		feed(&wire, &got, others[i], 3);
	char *longer = malloc(10001);
	memset(longer, ' ', 10000);
	longer[10000] = '\0';
	feed(&wire, &got, "\xff", 1);
	feed(&wire, &got, longer, 4096);
	feed(&wire, &got, "{\"return\": 7}\n", 100);
	assert_int_equal(got.synced, 0);
	feed(&wire, &got, "\xff{\"return\": 7}\n", 100);
	assert_int_equal(got.synced, 1);
	free(longer);
	end(&wire, &got);
}

static void refusals_are_printable(void **state)
{
	struct agent_wire wire = {0};
	struct got got = {0};
	(void)state;
	agent_wire_begin(&wire, 1);
	feed(&wire, &got,
	     "\xff{\"return\": 1}\n{\"error\": {\"class\": \"X\", \"desc\": \"a\\u001b[2J\\u009bb\\n\"}}\n", 1000);
	assert_int_equal(got.last, AGENT_REFUSED);
	assert_string_equal(got.error, "a?[2J??b?");
	end(&wire, &got);
}

static void nonsense_is_broken(void **state)
{
	static const char *const lines[] = {"7\n",   "[]\n", "{}\n", "{\"return\": \n", "\"\"\n", "{\"return\": 1} 2\n",
					    "\x80\n"};
	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		struct agent_wire wire = {0};
		struct got got = {0};
		agent_wire_begin(&wire, 1);
		feed(&wire, &got, "\xff{\"return\": 1}\n", 1000);
		feed(&wire, &got, lines[i], 1000);
		assert_int_equal(got.last, AGENT_BROKEN);
		assert_int_equal(wire.state, AGENT_WIRE_IDLE);
		end(&wire, &got);
	}
}

/* A line that does not end, and one with more values than anybody needs. */
static void limits(void **state)
{
	static const char open[] = "{\"return\": [1";
	struct agent_wire wire = {0};
	struct got got = {0};
	size_t size = AGENT_LINE_MAX + 1;
	char *bytes = malloc(size);
	(void)state;
	memset(bytes, 'a', size);
	agent_wire_begin(&wire, 1);
	feed(&wire, &got, "\xff{\"return\": 1}\n", 1000);
	feed_bytes(&wire, &got, bytes, size, 65536);
	assert_int_equal(got.last, AGENT_BROKEN);
	assert_null(wire.line);
	for (size_t i = 0; i < 40000; i += 2)
		memcpy(bytes + i, ",1", 2);
	memcpy(bytes + 40000, "]}\n", 3);
	agent_wire_begin(&wire, 2);
	feed(&wire, &got, "\xff{\"return\": 2}\n", 1000);
	feed(&wire, &got, open, 1000);
	feed_bytes(&wire, &got, bytes, 40003, 65536);
	assert_int_equal(got.last, AGENT_BROKEN);
	assert_string_equal(got.error, "the guest agent's answer has too many values");
	free(bytes);
	end(&wire, &got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_after_sync),
	    cmocka_unit_test(waits_for_its_own_sync),
	    cmocka_unit_test(refusals_are_printable),
	    cmocka_unit_test(nonsense_is_broken),
	    cmocka_unit_test(limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

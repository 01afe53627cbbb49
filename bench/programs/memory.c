/* SPDX-License-Identifier: MIT */
/* memory copy|strings: the C library's memcpy, memmove and memset of many sizes; its string functions over short and
 * long strings. */

#include <string.h>

#include "bench.h"

#define SIZE (256 * 1024)
#define COPIES 1500000
#define STRINGS 1000
#define LAPS 10000

static char from[SIZE], to[SIZE];

static uint64_t copy(void)
{
	uint64_t state = 11, answer = 0;

	for (int i = 0; i < COPIES; i++) {
		uint64_t number = random_next(&state);
		size_t size = (number >> 40) % (i % 64 == 0 ? SIZE / 2 : 512), a = number % (SIZE / 2),
		       b = (number >> 20) % (SIZE / 2);

		memcpy(to + a, from + b, size);
		memmove(from + a, from + b, size / 2);
		memset(from + b, (int)(number & 127), size / 4);
		answer = answer * 31 + (unsigned char)to[a + size / 2];
	}
	return answer;
}

static uint64_t strings(void)
{
	static char words[STRINGS][64];
	char text[STRINGS * 2] = "";
	uint64_t state = 13, answer = 0;

	for (int i = 0; i < STRINGS; i++)
		snprintf(words[i], sizeof(words[i]), "%.*s%" PRIx64, i % 40,
			 "benchmark-of-common-string-functions-in-c", random_next(&state) % 4096);
	memset(text, 'a', sizeof(text) - 2);
	for (int lap = 0; lap < LAPS; lap++) {
		for (int i = 0; i + 1 < STRINGS; i++) {
			answer += strlen(words[i]) + (strcmp(words[i], words[i + 1]) > 0);
			answer += strchr(words[i], 'f') != NULL;
			answer += strstr(words[i], "of-") != NULL;
			answer = answer * 31 + (strrchr(words[i], '-') != NULL);
		}
		answer += strlen(text) + (memchr(text, 'b', sizeof(text)) == NULL);
	}
	return answer;
}

int main(int count, char **words)
{
	for (int i = 0; i < SIZE; i++)
		from[i] = (char)(i * 7);
	print_answer(count > 1 && strcmp(words[1], "strings") == 0 ? strings() : copy());
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* The C library's regular expressions over lines like those of a log. */

#include <regex.h>
#include <string.h>

#include "bench.h"

#define LINES 40000
#define PATTERNS 4

static const char *const patterns[PATTERNS] = {
    "^([0-9]{1,3}\\.){3}[0-9]{1,3} ",
    "(GET|POST) /([a-z]+)/[0-9a-f]+\\.(html|png) ",
    "\"[^\"]*(fox|dog)[^\"]*\"$",
    " [45][0-9][0-9] [1-9][0-9]*[02468] ",
};

static void make_line(char *line, size_t size, uint64_t *state)
{
	static const char *const kinds[] = {"html", "png", "css", "js"};
	static const char *const ends[] = {"brown fox", "lazy dog", "quick cat", "old horse"};
	uint64_t n = random_next(state);

	snprintf(line, size, "%u.%u.%u.%u %s /pages/%x.%s HTTP/1.1 %u %u \"agent of a %s\"", (unsigned)n & 255,
		 (unsigned)(n >> 8) & 255, (unsigned)(n >> 16) & 255, (unsigned)(n >> 24) & 255,
		 n >> 32 & 1 ? "GET" : "POST", (unsigned)(n >> 33) & 0xfffff, kinds[n >> 53 & 3],
		 (unsigned)(200 + 100 * (n >> 55 & 3)), (unsigned)(n >> 40) & 0xffff, ends[n >> 57 & 3]);
}

int main(void)
{
	static char line[256];
	regex_t compiled[PATTERNS];
	uint64_t state = 23, answer = 0;

	for (int i = 0; i < PATTERNS; i++)
		need(regcomp(&compiled[i], patterns[i], REG_EXTENDED) == 0, patterns[i]);
	for (int i = 0; i < LINES; i++) {
		make_line(line, sizeof(line), &state);
		for (int j = 0; j < PATTERNS; j++) {
			regmatch_t match[4];

			if (regexec(&compiled[j], line, 4, match, 0) == 0)
				answer = answer * 31 + (uint64_t)(match[0].rm_eo + j);
		}
	}
	for (int i = 0; i < PATTERNS; i++)
		regfree(&compiled[i]);
	print_answer(answer);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Writes a large estate as one table: `plan-generate SERVERS SAMPLES`. At each time a row of each server, which is the
 * order that is hardest to import. The numbers are pseudo-random, the same in each run.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t random_next(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static char *put_number(char *at, uint64_t number)
{
	char digits[24];
	unsigned count = 0;
	do
		digits[count++] = (char)('0' + number % 10);
	while ((number /= 10) != 0);
	while (count > 0)
		*at++ = digits[--count];
	return at;
}

int main(int argc, char **argv)
{
	static char buffer[1 << 20];
	if (argc != 3) {
		(void)fprintf(stderr, "usage: %s SERVERS SAMPLES\n", argv[0]);
		return 2;
	}
	unsigned long servers = strtoul(argv[1], NULL, 10), samples = strtoul(argv[2], NULL, 10);
	uint32_t state = 1;
	(void)setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
	printf("time,server,cpus,mhz,installed,cpu,kernel,memory,read,write,receive,send,reads\n");
	for (unsigned long i = 0; i < samples; i++)
		for (unsigned long k = 0; k < servers; k++) {
			char line[256], *at = put_number(line, 1700000000 + 300 * i + k % 300);
			*at++ = ',';
			*at++ = 's';
			at = put_number(at, k);
			at += sprintf(at, ",4,2600,17179869184,0.%02" PRIu32, random_next(&state) % 100);
			at += sprintf(at, ",0.0%" PRIu32, random_next(&state) % 10);
			for (unsigned v = 0; v < 6; v++) {
				*at++ = ',';
				at = put_number(at, random_next(&state));
			}
			*at++ = '\n';
			if (fwrite(line, 1, (size_t)(at - line), stdout) != (size_t)(at - line))
				return 1;
		}
	return fflush(stdout) != 0;
}

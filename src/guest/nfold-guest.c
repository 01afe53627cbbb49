/* SPDX-License-Identifier: MIT */
/*
 * nfold-guest: what this guest got of its host's processors. Runs inside a Linux guest of nfold, as root, and needs
 * nothing there: it is static. docs/guest-interface.md describes the port that it reads.
 */
#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>

#include "base/guest_times.h"

#define PORTS 0x10000u
#define TRIES 10000u

struct times {
	uint32_t processors;
	uint64_t used_ns, ready_ns, costop_ns, wait_ns, elapsed_ns;
};

/* ---- the port ---- */

/* Without a hypervisor the leaves are those of the last basic one: only the signature tells. 0: there is no port. */
static uint16_t find_port(void)
{
	uint32_t a = 0, b = 0, c = 0, d = 0;
	char signature[12];
	__cpuid(GUEST_TIMES_LEAF - 1, a, b, c, d);
	memcpy(signature, &b, 4);
	memcpy(signature + 4, &c, 4);
	memcpy(signature + 8, &d, 4);
	if (memcmp(signature, GUEST_TIMES_SIGNATURE, sizeof signature) != 0 || a < GUEST_TIMES_LEAF)
		return 0;
	__cpuid(GUEST_TIMES_LEAF, a, b, c, d);
	return b >= GUEST_TIMES_BYTES && a <= PORTS - GUEST_TIMES_BYTES ? (uint16_t)a : 0;
}

static uint32_t read_32(uint16_t port, unsigned offset)
{
	return inl((uint16_t)(port + offset));
}

static uint64_t read_64(uint16_t port, unsigned offset)
{
	return read_32(port, offset) | (uint64_t)read_32(port, offset + 4) << 32;
}

/* There is one snapshot for the whole guest: whoever else takes one meanwhile shows in the counter. */
static bool take(uint16_t port, uint32_t processor, struct times *times)
{
	for (unsigned try = 0; try < TRIES; try++) {
		uint32_t before = read_32(port, GUEST_TIMES_SNAPSHOT);
		outl(processor, (uint16_t)(port + GUEST_TIMES_SNAPSHOT));
		*times = (struct times){.processors = read_32(port, GUEST_TIMES_PROCESSORS),
					.used_ns = read_64(port, GUEST_TIMES_USED),
					.ready_ns = read_64(port, GUEST_TIMES_READY),
					.costop_ns = read_64(port, GUEST_TIMES_COSTOP),
					.wait_ns = read_64(port, GUEST_TIMES_WAIT),
					.elapsed_ns = read_64(port, GUEST_TIMES_ELAPSED)};
		if (read_32(port, GUEST_TIMES_SNAPSHOT) == before + 1)
			return true;
	}
	return false;
}

/* ---- output ---- */

static void print_row(const char *name, const struct times *times)
{
	const uint64_t ns[] = {times->used_ns, times->ready_ns, times->costop_ns, times->wait_ns, times->elapsed_ns};
	printf("%-10s", name);
	for (unsigned i = 0; i < sizeof ns / sizeof ns[0]; i++)
		printf(" %13" PRIu64, ns[i] / 1000000);
	printf("\n");
}

static void print_object(const struct times *times)
{
	printf("{\"used_ns\": %" PRIu64 ", \"ready_ns\": %" PRIu64 ", \"costop_ns\": %" PRIu64 ", \"wait_ns\": %" PRIu64
	       ", \"elapsed_ns\": %" PRIu64 "}",
	       times->used_ns, times->ready_ns, times->costop_ns, times->wait_ns, times->elapsed_ns);
}

static void print_json(const struct times *each, const struct times *all)
{
	printf("{\"processors\": [");
	for (uint32_t i = 0; i < all->processors; i++) {
		printf("%s", i > 0 ? ", " : "");
		print_object(&each[i]);
	}
	printf("], \"all\": ");
	print_object(all);
	printf("}\n");
}

static void print_table(const struct times *each, const struct times *all)
{
	printf("%-10s %13s %13s %13s %13s %13s\n", "processor", "used ms", "ready ms", "co-stop ms", "wait ms",
	       "elapsed ms");
	for (uint32_t i = 0; i < all->processors; i++) {
		char name[16];
		(void)snprintf(name, sizeof name, "%" PRIu32, i);
		print_row(name, &each[i]);
	}
	print_row("all", all);
}

/* ---- the command ---- */

static int fail(const char *text, const char *why)
{
	(void)fprintf(stderr, "nfold-guest: %s%s%s\n", text, why != NULL ? ": " : "", why != NULL ? why : "");
	return 1;
}

static int usage(void)
{
	printf(
	    "Usage: nfold-guest [--json]\n\n"
	    "Run in a Linux guest of nfold, as root: what its processors got of the host's since the guest was made.\n"
	    "  used      on a processor of the host\n"
	    "  ready     wanted one, and the host ran something else or kept the guest to its limit\n"
	    "  co-stop   held back until its siblings had caught up\n"
	    "  wait      idle, or paused\n"
	    "  elapsed   the sum of these; of all: of all processors\n\n"
	    "  --json    nanoseconds, as one JSON object\n");
	return 0;
}

static int show(bool json)
{
	enum { MAX = 256 };
	struct times all, each[MAX] = {0};
	uint16_t port = find_port();
	if (port == 0)
		return fail("this machine is no guest of nfold, or one that is not told (--clock deterministic)", NULL);
	if (ioperm(port, GUEST_TIMES_BYTES, 1) != 0)
		return fail("it needs root's right to use ports", strerror(errno));
	bool good = take(port, GUEST_TIMES_ALL, &all) && all.processors <= MAX;
	for (uint32_t i = 0; good && i < all.processors; i++)
		good = take(port, i, &each[i]);
	if (!good)
		return fail("others take snapshots all the time: try again", NULL);
	if (json)
		print_json(each, &all);
	else
		print_table(each, &all);
	return fflush(stdout) == 0 ? 0 : fail("cannot write", strerror(errno));
}

int main(int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage();
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("nfold-guest %s\n", NFOLD_VERSION);
		return 0;
	}
	if (argc > 1 && !json) {
		(void)fail("it takes --json alone: 'nfold-guest --help' explains it", NULL);
		return 2;
	}
	return show(json);
}

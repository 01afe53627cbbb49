/* SPDX-License-Identifier: MIT */
/* See trace.h. All of it runs on the vCPU's thread, or while the vCPU does not run. */
#include "machine/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/fpu.h"

#define MEMORY_INTERVAL_NS (CLOCK_SECOND / 4)

struct trace {
	FILE *file;
	bool exceptions;
	struct cpu *cpu;
	struct clock *clock;
	struct clock_timer timer; /* for the next hash of memory */
	bool memory_due;
	uint64_t chain; /* over all exceptions */
};

/* ---- hashes: not against adversaries, only against chance ---- */

static uint64_t hash_word(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
	return hash ^ hash >> 32;
}

static uint64_t hash_bytes(uint64_t hash, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
		uint64_t word;
		memcpy(&word, bytes + i, sizeof word);
		hash = hash_word(hash, word);
	}
	return hash;
}

/* Of the vector state what a guest can see. The pointers of the last x87 instruction are the host's. */
static uint64_t hash_vectors(uint64_t hash, const struct cpu *cpu)
{
	const uint8_t *image = cpu->xsave;
	hash = hash_word(hash, load_le(image + XSAVE_FCW, 6) & UINT64_C(0xffffffffff)); /* FCW, FSW, FTW */
	hash = hash_word(hash, load_le(image + XSAVE_MXCSR, 4));
	hash = hash_bytes(hash, image + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	hash = hash_bytes(hash, image + XSAVE_XMM, 256);
	return (cpu->host_xstate & XSTATE_AVX) != 0 ? hash_bytes(hash, image + XSAVE_AVX, 256) : hash;
}

static uint64_t hash_registers(const struct cpu *cpu)
{
	uint64_t hash = hash_word(0, cpu->rip);
	hash = hash_word(hash, cpu_rflags(cpu));
	for (unsigned i = 0; i < 16; i++)
		hash = hash_word(hash, cpu->gpr[i]);
	const uint64_t control[] = {cpu->cr0, cpu->cr2, cpu->cr3, cpu->cr4, cpu->efer, cpu->xcr0, cpu->kernel_gs_base};
	for (size_t i = 0; i < sizeof control / sizeof control[0]; i++)
		hash = hash_word(hash, control[i]);
	for (unsigned i = 0; i < CPU_SEGMENT_COUNT; i++) {
		const struct cpu_segment *segment = &cpu->segment[i];
		hash = hash_word(hash, segment->base);
		hash = hash_word(hash,
				 segment->limit | (uint64_t)segment->selector << 32 | (uint64_t)segment->access << 48);
	}
	return hash_vectors(hash, cpu);
}

/* Pages of zeroes count for nothing, whether the host has given them memory or not. */
static uint64_t hash_pages(const struct memory *memory, uint64_t from, uint64_t to)
{
	uint64_t sum = 0, zero = hash_bytes(0, (const uint8_t[PAGE_SIZE]){0}, PAGE_SIZE);
	for (uint64_t at = from; at < to; at += PAGE_SIZE) {
		uint64_t hash = hash_bytes(0, memory->host + at, PAGE_SIZE);
		if (hash != zero)
			sum += hash_word(hash, at);
	}
	return sum;
}

/* Only what the host has given memory: the rest was never touched. */
static uint64_t hash_memory(const struct memory *memory)
{
	uint64_t sum = 0;
	off_t end = (off_t)memory->host_size, from = 0, to;
	while ((from = lseek(memory->fd, from, SEEK_DATA)) >= 0 && from < end) {
		to = lseek(memory->fd, from, SEEK_HOLE);
		if (to < 0 || to > end)
			to = end;
		sum += hash_pages(memory, (uint64_t)from & ~(uint64_t)PAGE_MASK, align_up((uint64_t)to, PAGE_SIZE));
		from = to;
	}
	return sum;
}

/* ---- lines ---- */

static void write_line(struct trace *trace, const char *what, const char *rest)
{
	const struct cpu *cpu = trace->cpu;
	uint64_t count = trace->clock->count(trace->clock->count_opaque);
	(void)fprintf(trace->file, "%llu %llu %s %04x:%016llx %016llx %016llx%s\n", (unsigned long long)count,
		      (unsigned long long)clock_now(trace->clock), what, cpu->segment[CPU_CS].selector,
		      (unsigned long long)cpu->rip, (unsigned long long)hash_registers(cpu),
		      (unsigned long long)trace->chain, rest);
}

static void write_memory_line(struct trace *trace, const char *what)
{
	char rest[24];
	(void)snprintf(rest, sizeof rest, " %016llx", (unsigned long long)hash_memory(trace->cpu->memory));
	write_line(trace, what, rest);
}

static void on_event(void *opaque, enum cpu_event event, const struct cpu *cpu, uint8_t vector)
{
	static const char *const names[] = {
	    [CPU_EVENT_INTERRUPT] = "interrupt", [CPU_EVENT_NMI] = "nmi", [CPU_EVENT_EXCEPTION] = "exception"};
	struct trace *trace = opaque;
	char what[24];
	if (event == CPU_EVENT_EXCEPTION) {
		trace->chain = hash_word(trace->chain, hash_registers(cpu));
		trace->chain = hash_word(trace->chain, cpu->pending.cr2);
		trace->chain = hash_word(trace->chain, cpu->pending.error_code | (uint64_t)vector << 32);
		if (!trace->exceptions)
			return;
	}
	(void)snprintf(what, sizeof what, "%s %02x", names[event], vector);
	write_line(trace, what, "");
}

/* Memory is looked at when the other timers of this moment have fired too. */
static void on_timer(void *opaque)
{
	struct trace *trace = opaque;
	trace->memory_due = true;
	clock_timer_set(&trace->timer, trace->timer.deadline + MEMORY_INTERVAL_NS);
}

void trace_timers(struct trace *trace)
{
	if (!trace->memory_due) {
		write_line(trace, "timer", "");
		return;
	}
	trace->memory_due = false;
	write_memory_line(trace, "memory");
}

struct trace *trace_open(const char *path, bool exceptions, struct cpu *cpu, struct clock *clock, struct error *error)
{
	struct trace *trace = calloc(1, sizeof *trace);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_CLOEXEC, 0666);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	if (trace == NULL || file == NULL) {
		(void)error_set(error, ERROR_INPUT, "cannot write events to %s: %s", path, strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		free(trace);
		return NULL;
	}
	*trace = (struct trace){.file = file, .exceptions = exceptions, .cpu = cpu, .clock = clock};
	clock_timer_init(&trace->timer, clock, on_timer, trace);
	clock_timer_set(&trace->timer, MEMORY_INTERVAL_NS);
	cpu->event_watcher = on_event;
	cpu->event_watcher_opaque = trace;
	return trace;
}

void trace_close(struct trace *trace)
{
	if (trace == NULL)
		return;
	write_memory_line(trace, "end");
	clock_timer_cancel(&trace->timer);
	trace->cpu->event_watcher = NULL;
	(void)fclose(trace->file);
	free(trace);
}

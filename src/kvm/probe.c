/* SPDX-License-Identifier: MIT */
#include "kvm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIME_LIMIT_MS 1500
#define REAP_LIMIT_MS 200
#define ENOUGH_NS UINT64_C(4000000) /* a round this long is not disturbed by the cost of the exit */
#define FIRST_ITERATIONS UINT64_C(1000)
#define LAST_ITERATIONS UINT64_C(100000000)
#define CPUID_ENTRIES 128

/* Where things are in the guest's memory. */
#define GUEST_MEMORY 0x10000u
#define GUEST_PML4 0x1000u
#define GUEST_PDPT 0x2000u
#define GUEST_PD 0x3000u
#define GUEST_CODE 0x4000u
#define GUEST_DATA 0x5000u

#define PTE_PRESENT_WRITABLE 3u
#define PTE_LARGE 0x80u

/* What the child tells, one message a round. */
struct round {
	uint64_t iterations, ns;
	int error;	    /* errno, 0: the round ran */
	const char *failed; /* what failed; a string constant, at the same address in parent and child */
};

struct guest {
	int system, vm, vcpu;
	uint8_t *memory;
	struct kvm_run *run;
};

/* The loop, as in the guest: a store, a decrement and a branch. */
static const uint8_t loop_code[] = {
    0x48, 0x01, 0x0b, /* add [rbx], rcx */
    0x48, 0xff, 0xc9, /* dec rcx */
    0x75, 0xf8,	      /* jnz to the start */
    0xf4,	      /* hlt */
};

static void run_native(uint64_t iterations)
{
	uint64_t cell = 0;
	__asm__ volatile("1: addq %1, (%0)\n\tdecq %1\n\tjnz 1b" : : "b"(&cell), "c"(iterations) : "memory", "cc");
}

static uint64_t now_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Nanoseconds of one iteration on the processor itself: the best of some short runs. */
static double native_cost(void)
{
	const uint64_t iterations = 200000;
	uint64_t best = UINT64_MAX;
	for (int i = 0; i < 5; i++) {
		uint64_t start = now_ns();
		run_native(iterations);
		uint64_t elapsed = now_ns() - start;
		if (elapsed < best)
			best = elapsed;
	}
	return (double)(best > 0 ? best : 1) / (double)iterations;
}

static const char *guest_memory_create(struct guest *guest)
{
	guest->memory = mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (guest->memory == MAP_FAILED)
		return "mmap";
	*(uint64_t *)(guest->memory + GUEST_PML4) = GUEST_PDPT | PTE_PRESENT_WRITABLE;
	*(uint64_t *)(guest->memory + GUEST_PDPT) = GUEST_PD | PTE_PRESENT_WRITABLE;
	*(uint64_t *)(guest->memory + GUEST_PD) = PTE_LARGE | PTE_PRESENT_WRITABLE;
	memcpy(guest->memory + GUEST_CODE, loop_code, sizeof loop_code);
	struct kvm_userspace_memory_region region = {
	    .memory_size = GUEST_MEMORY,
	    .userspace_addr = (uint64_t)(uintptr_t)guest->memory,
	};
	return ioctl(guest->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? "KVM_SET_USER_MEMORY_REGION" : NULL;
}

/* Without it KVM refuses EFER.LME, because the guest's CPUID would not know 64-bit mode. */
static const char *guest_cpuid_set(const struct guest *guest)
{
	static union {
		struct kvm_cpuid2 head;
		uint8_t room[sizeof(struct kvm_cpuid2) + CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2)];
	} cpuid;
	cpuid.head.nent = CPUID_ENTRIES;
	if (ioctl(guest->system, KVM_GET_SUPPORTED_CPUID, &cpuid.head) < 0)
		return "KVM_GET_SUPPORTED_CPUID";
	return ioctl(guest->vcpu, KVM_SET_CPUID2, &cpuid.head) < 0 ? "KVM_SET_CPUID2" : NULL;
}

/* 64-bit mode at ring 0 with paging, flat segments (SDM 3A, 9.8.5). */
static const char *guest_long_mode_set(const struct guest *guest)
{
	static const struct kvm_segment code = {
	    .limit = UINT32_MAX, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
	static const struct kvm_segment data = {
	    .limit = UINT32_MAX, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
	struct kvm_sregs sregs;
	if (ioctl(guest->vcpu, KVM_GET_SREGS, &sregs) < 0)
		return "KVM_GET_SREGS";
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = 0x80000011; /* PG, ET, PE */
	sregs.cr3 = GUEST_PML4;
	sregs.cr4 = 0x20;   /* PAE */
	sregs.efer = 0x500; /* LMA, LME */
	return ioctl(guest->vcpu, KVM_SET_SREGS, &sregs) < 0 ? "KVM_SET_SREGS" : NULL;
}

/* Returns what failed, with errno, or NULL. The child ends soon: nothing is undone. */
static const char *guest_create(struct guest *guest)
{
	const char *failed;
	if (ioctl(guest->system, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return "KVM_GET_API_VERSION";
	guest->vm = ioctl(guest->system, KVM_CREATE_VM, 0);
	if (guest->vm < 0)
		return "KVM_CREATE_VM";
	failed = guest_memory_create(guest);
	if (failed != NULL)
		return failed;
	guest->vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, 0);
	if (guest->vcpu < 0)
		return "KVM_CREATE_VCPU";
	int size = ioctl(guest->system, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof *guest->run)
		return "KVM_GET_VCPU_MMAP_SIZE";
	guest->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->vcpu, 0);
	if (guest->run == MAP_FAILED)
		return "mmap";
	failed = guest_cpuid_set(guest);
	return failed != NULL ? failed : guest_long_mode_set(guest);
}

static const char *guest_run_loop(const struct guest *guest, uint64_t iterations)
{
	struct kvm_regs regs = {.rip = GUEST_CODE, .rbx = GUEST_DATA, .rcx = iterations, .rflags = 2};
	if (ioctl(guest->vcpu, KVM_SET_REGS, &regs) < 0)
		return "KVM_SET_REGS";
	errno = 0;
	if (ioctl(guest->vcpu, KVM_RUN, 0) < 0)
		return "KVM_RUN";
	return guest->run->exit_reason == KVM_EXIT_HLT ? NULL : "KVM_RUN (the loop did not reach its end)";
}

/* The child: longer and longer rounds, each reported, until one is long enough to judge. */
static void child_run(int device, int pipe_fd)
{
	struct guest guest = {.system = device};
	struct round round = {.failed = guest_create(&guest), .error = errno};
	uint64_t iterations = FIRST_ITERATIONS;
	while (round.failed == NULL && round.ns < ENOUGH_NS && iterations <= LAST_ITERATIONS) {
		uint64_t start = now_ns();
		const char *failed = guest_run_loop(&guest, iterations);
		round =
		    (struct round){.iterations = iterations, .ns = now_ns() - start, .error = errno, .failed = failed};
		if (write(pipe_fd, &round, sizeof round) != (ssize_t)sizeof round)
			return;
		iterations *= 4;
	}
	if (round.iterations == 0) {
		ssize_t ignored = write(pipe_fd, &round, sizeof round);
		(void)ignored;
	}
}

/* Collects rounds until the child ends or the time is up. Keeps the last one. */
static void collect_rounds(int pipe_fd, struct round *last)
{
	uint64_t deadline = now_ns() + TIME_LIMIT_MS * UINT64_C(1000000);
	for (uint64_t now = now_ns(); now < deadline; now = now_ns()) {
		struct pollfd poll_fd = {.fd = pipe_fd, .events = POLLIN};
		struct round round;
		if (poll(&poll_fd, 1, (int)((deadline - now) / 1000000) + 1) <= 0)
			continue;
		if (read(pipe_fd, &round, sizeof round) != (ssize_t)sizeof round)
			return;
		*last = round;
	}
}

static void judge(struct kvm_probe *probe, const struct round *last)
{
	double cost = native_cost();
	if (last->failed != NULL) {
		probe->verdict = KVM_BROKEN;
		(void)snprintf(probe->text, sizeof probe->text, "/dev/kvm is not usable: %s failed%s%s", last->failed,
			       last->error != 0 ? ": " : "", last->error != 0 ? strerror(last->error) : "");
		return;
	}
	/* Not even the first round came back: it would have been at least this slow. */
	bool none = last->iterations == 0;
	double guest_cost =
	    none ? TIME_LIMIT_MS * 1e6 / (double)FIRST_ITERATIONS : (double)last->ns / (double)last->iterations;
	probe->slowdown = guest_cost / cost;
	probe->verdict = none || probe->slowdown > KVM_SLOWDOWN_LIMIT ? KVM_TOO_SLOW : KVM_USABLE;
	(void)snprintf(probe->text, sizeof probe->text,
		       probe->verdict == KVM_USABLE
			   ? "/dev/kvm runs ring-0 code at speed (%s%.1f times the processor's own time)"
			   : "/dev/kvm is not usable: it runs ring-0 code %s%.0f times slower than the processor",
		       none ? "more than " : "", probe->slowdown);
}

/* A child that a bad KVM keeps in the kernel cannot die: leave it to init rather than wait for ever. */
static void end_child(pid_t child)
{
	struct timespec pause = {.tv_nsec = 1000000};
	(void)kill(child, SIGKILL);
	for (int i = 0; i < REAP_LIMIT_MS && waitpid(child, NULL, WNOHANG) == 0; i++)
		(void)nanosleep(&pause, NULL);
}

/* Runs the child with its time limit. */
static bool measure(int device, struct round *last)
{
	int pipe_fd[2];
	if (pipe2(pipe_fd, O_CLOEXEC) != 0)
		return false;
	pid_t child = fork();
	if (child == 0) {
		close(pipe_fd[0]);
		child_run(device, pipe_fd[1]);
		(void)raise(SIGKILL); /* no exit handlers of ours, no buffers flushed twice */
	}
	close(pipe_fd[1]);
	if (child > 0) {
		collect_rounds(pipe_fd[0], last);
		end_child(child);
	}
	close(pipe_fd[0]);
	return child > 0;
}

void kvm_probe_device(struct kvm_probe *probe, const char *device)
{
	struct round last = {0};
	*probe = (struct kvm_probe){.verdict = KVM_BROKEN};
	int fd = open(device, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		probe->verdict = errno == ENOENT || errno == ENODEV || errno == ENXIO ? KVM_ABSENT : KVM_NO_ACCESS;
		(void)snprintf(probe->text, sizeof probe->text, "%s cannot be opened: %s", device, strerror(errno));
		return;
	}
	if (measure(fd, &last))
		judge(probe, &last);
	else
		(void)snprintf(probe->text, sizeof probe->text, "%s could not be tried: %s", device, strerror(errno));
	close(fd);
}

void kvm_probe_run(struct kvm_probe *probe)
{
	kvm_probe_device(probe, "/dev/kvm");
}

/* SPDX-License-Identifier: MIT */
/*
 * What an operating system makes of a processor's exceptions, seen from a program: signals with their codes and
 * addresses, code written at run time, single-stepping, threads. Prints one line for each case; exits 0 when all are
 * right.
 */
#include <fenv.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile siginfo_t seen;
static volatile uintptr_t seen_pc;
static int failures;

static void handler(int number, siginfo_t *info, void *context)
{
	(void)number;
	seen = *info;
	seen_pc = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	siglongjmp(back, 1);
}

static void report(const char *name, int right)
{
	printf("%s %s\n", right ? "right" : "WRONG", name);
	failures += !right;
}

/* Runs `statement`, which must raise a signal with this code at this address (NULL: any). */
#define RAISES(name, statement, number, code, address)                                                                 \
	do {                                                                                                           \
		memset((void *)&seen, 0, sizeof(seen));                                                                \
		if (sigsetjmp(back, 1) == 0) {                                                                         \
			statement;                                                                                     \
		}                                                                                                      \
		report(name, seen.si_signo == (number) && seen.si_code == (code) &&                                    \
				 ((address) == NULL || seen.si_addr == (void *)(address)));                            \
	} while (0)

static void signals(void)
{
	static const int numbers[] = {SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGBUS};
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &action, NULL);

	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(page + 4096, 4096, PROT_READ);
	volatile int zero = 0, minus = -1, least = INT32_MIN;

	RAISES("null pointer", *(volatile char *)(uintptr_t)16 = 1, SIGSEGV, SEGV_MAPERR, 16);
	RAISES("write to a read-only page", page[4096] = 1, SIGSEGV, SEGV_ACCERR, page + 4096);
	RAISES("write across into a read-only page",
	       __asm__ volatile("movq $1, (%0)"
				:
				: "r"(page + 4092)
				: "memory"),
	       SIGSEGV, SEGV_ACCERR, page + 4096);
	RAISES("16-byte store across into a read-only page",
	       __asm__ volatile("movups %%xmm0, (%0)"
				:
				: "r"(page + 4088)
				: "memory"),
	       SIGSEGV, SEGV_ACCERR, page + 4096);
	RAISES("misaligned SSE access",
	       __asm__ volatile("movaps (%0), %%xmm0"
				:
				: "r"(page + 8)),
	       SIGSEGV, SI_KERNEL, NULL);
	RAISES("non-canonical address", *(volatile char *)0x8000000000000000 = 1, SIGSEGV, SI_KERNEL, NULL);
	RAISES("jump to a page without execute", ((void (*)(void))page)(), SIGSEGV, SEGV_ACCERR, page);
	RAISES("division by zero", zero = least / zero, SIGFPE, FPE_INTDIV, NULL);
	RAISES("division overflow", zero = least / minus, SIGFPE, FPE_INTDIV, NULL);
	RAISES("undefined instruction", __asm__ volatile("ud2"), SIGILL, ILL_ILLOPN, NULL);
	RAISES("privileged instruction", __asm__ volatile("hlt"), SIGSEGV, SI_KERNEL, NULL);
	RAISES("breakpoint", __asm__ volatile("int3"), SIGTRAP, SI_KERNEL, NULL);
	RAISES("single step",
	       __asm__ volatile("pushf; orq $0x100, (%%rsp); popf; nop; nop"
				:
				:
				: "cc", "memory"),
	       SIGTRAP, TRAP_TRACE, NULL);

	char name[] = "/tmp/nfold-bus";
	FILE *file = fopen(name, "w+");
	char *mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(file), 0);
	RAISES("page beyond the end of a file", zero = *(volatile char *)mapped, SIGBUS, BUS_ADRERR, mapped);
	fclose(file);
	unlink(name);

	feclearexcept(FE_ALL_EXCEPT);
	feenableexcept(FE_DIVBYZERO);
	volatile double d = 0;
	volatile long double x = 0;
	RAISES("SSE division by zero", d = 1 / d, SIGFPE, FPE_FLTDIV, NULL);
	/* The kernel gave the handler a fresh FPU, and siglongjmp kept it. */
	feenableexcept(FE_DIVBYZERO);
	RAISES("x87 division by zero", x = 1 / x; d = (double)x, SIGFPE, FPE_FLTDIV, NULL);
	fedisableexcept(FE_ALL_EXCEPT);
	feclearexcept(FE_ALL_EXCEPT);
}

/* Registers must be exact at a fault in the middle of REP MOVSB. */
static void string_fault(void)
{
	char *page = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(page + 8192, 4096, PROT_NONE);
	static volatile uintptr_t left;
	if (sigsetjmp(back, 1) == 0) {
		uintptr_t count = 300;
		char *to = page + 8192 - 100, *from = page;
		__asm__ volatile("rep movsb" : "+c"(count), "+D"(to), "+S"(from) : : "memory");
	}
	left = (uintptr_t)seen.si_addr;
	report("fault inside rep movsb", seen.si_signo == SIGSEGV && left == (uintptr_t)page + 8192);
}

/* mov $n, %eax; ret, rewritten before each call, without any serializing instruction between. */
static void code_at_run_time(void)
{
	unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int right = 1;
	memcpy(code, "\xb8\0\0\0\0\xc3", 6);
	for (int i = 0; i < 20000; i++) {
		memcpy(code + 1, &i, 4);
		right &= ((int (*)(void))code)() == i;
	}
	report("code rewritten before each call", right);

	/* A loop that rewrites the operand of the addition it is about to execute: eax = 0 + 1 + ... + 9. */
	static const unsigned char loop[] = {
	    0x31, 0xc0,				/* xor %eax, %eax */
	    0x31, 0xc9,				/* xor %ecx, %ecx */
	    0x89, 0x0d, 0x02, 0x00, 0x00, 0x00, /* 1: mov %ecx, 2(%rip), the immediate below */
	    0x90,				/* nop */
	    0x05, 0x00, 0x00, 0x00, 0x00,	/* add $0, %eax */
	    0xff, 0xc1,				/* inc %ecx */
	    0x83, 0xf9, 0x0a,			/* cmp $10, %ecx */
	    0x75, 0xed,				/* jne 1b */
	    0xc3,				/* ret */
	};
	memcpy(code, loop, sizeof(loop));
	report("loop that rewrites itself", ((int (*)(void))code)() == 45);

	/* One code page at two addresses: a write through the one is seen through the other. */
	int fd = memfd_create("code", 0);
	ftruncate(fd, 4096);
	unsigned char *writable = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned char *executable = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	right = 1;
	memcpy(writable, "\xb8\0\0\0\0\xc3", 6);
	for (int i = 0; i < 1000; i++) {
		memcpy(writable + 1, &i, 4);
		right &= ((int (*)(void))executable)() == i;
	}
	report("code written through another mapping", right);
}

/* Two processes with different code at the same address, taking turns. */
static void code_by_process(void)
{
	unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(code, "\xb8\1\0\0\0\xc3", 6);
	int ping[2], pong[2], right = ((int (*)(void))code)() == 1;
	pipe(ping);
	pipe(pong);
	pid_t child = fork();
	char byte = 0;
	if (child == 0) {
		code[1] = 2;
		for (int i = 0; i < 200; i++) {
			read(ping[0], &byte, 1);
			if (((int (*)(void))code)() != 2)
				_exit(1);
			write(pong[1], &byte, 1);
		}
		_exit(0);
	}
	for (int i = 0; i < 200; i++) {
		right &= ((int (*)(void))code)() == 1;
		write(ping[1], &byte, 1);
		read(pong[0], &byte, 1);
	}
	int status;
	waitpid(child, &status, 0);
	report("other code at the same address in another process", right && status == 0);
}

static void steps(void)
{
	pid_t child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		volatile int sum = 0;
		for (int i = 0; i < 50; i++)
			sum += i;
		_exit(sum == 1225 ? 0 : 1);
	}
	int status, count = 0;
	waitpid(child, &status, 0);
	for (; WIFSTOPPED(status) && count < 100000; count++) {
		ptrace(PTRACE_SINGLESTEP, child, 0, 0);
		waitpid(child, &status, 0);
	}
	report("single-stepped process", WIFEXITED(status) && WEXITSTATUS(status) == 0 && count > 150);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t locked, atomics;

static void *worker(void *argument)
{
	static __thread unsigned own;
	for (int i = 0; i < 20000; i++) {
		pthread_mutex_lock(&mutex);
		locked++;
		pthread_mutex_unlock(&mutex);
		__atomic_add_fetch(&atomics, 1, __ATOMIC_SEQ_CST);
		own++;
	}
	*(unsigned *)argument = own;
	return NULL;
}

static void threads(void)
{
	pthread_t thread[4];
	unsigned own[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, worker, &own[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	report("threads, mutex, atomics", locked == 80000 && atomics == 80000 && own[3] == 20000);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	signals();
	string_fault();
	code_at_run_time();
	code_by_process();
	steps();
	threads();
	return failures != 0;
}

/* SPDX-License-Identifier: MIT */
/* Signals delivered to this process: sent by itself, and raised by writes to a page that may not be written. */

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define PAGE 4096
#define SENT 100000
#define RAISED 15000

static volatile sig_atomic_t received;
static unsigned char *page;

static void count_signal(int number)
{
	(void)number;
	received++;
}

static void open_page(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (info->si_addr != page)
		_exit(3);
	received++;
	mprotect(page, PAGE, PROT_READ | PROT_WRITE);
}

int main(void)
{
	struct sigaction sent = {.sa_handler = count_signal},
			 raised = {.sa_sigaction = open_page, .sa_flags = SA_SIGINFO};

	page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(page != MAP_FAILED, "mmap");
	need(sigaction(SIGUSR1, &sent, NULL) == 0 && sigaction(SIGSEGV, &raised, NULL) == 0, "sigaction");
	for (int i = 0; i < SENT; i++)
		need(kill(getpid(), SIGUSR1) == 0, "kill");
	for (int i = 0; i < RAISED; i++) {
		*(volatile unsigned char *)page = 1;
		need(mprotect(page, PAGE, PROT_READ) == 0, "mprotect");
	}
	print_answer((uint64_t)received);
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "vm/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/signals.h"

bool vm_signals_block(struct vm_signals *signals, struct error *error)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN); /* a file as large as allowed is the writer's error, EFBIG */
	(void)signal(SIGTTOU, SIG_IGN); /* terminal_restore may come after the shell took the terminal back */
	signals_block(numbers, sizeof numbers / sizeof numbers[0], &signals->set, NULL);
	signals->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return signals->fd >= 0 || error_set_errno(error, "cannot create an eventfd");
}

/* syscall base: rt_sigtimedwait -- the thread that waits for the signals that end the guest */
static void *wait_for_signals(void *opaque)
{
	struct vm_signals *signals = opaque;
	const uint64_t one = 1;
	(void)pthread_setname_np(pthread_self(), "signals");
	while (!__atomic_load_n(&signals->ends, __ATOMIC_SEQ_CST)) {
		if (sigwaitinfo(&signals->set, NULL) < 0)
			continue;
		ssize_t ignored = write(signals->fd, &one, sizeof one);
		(void)ignored;
	}
	return NULL;
}

bool vm_signals_wait(struct vm_signals *signals, struct error *error)
{
	errno = pthread_create(&signals->thread, NULL, wait_for_signals, signals);
	signals->waits = errno == 0;
	return signals->waits || error_set_errno(error, "cannot create a thread");
}

/* One of its own signals makes the thread look: SIGTERM is never ignored. */
void vm_signals_end(struct vm_signals *signals)
{
	if (!signals->waits)
		return;
	__atomic_store_n(&signals->ends, true, __ATOMIC_SEQ_CST);
	/* NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread): it is blocked, and what the thread waits for */
	(void)pthread_kill(signals->thread, SIGTERM);
	(void)pthread_join(signals->thread, NULL);
	signals->waits = false;
}

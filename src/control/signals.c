/* SPDX-License-Identifier: MIT */
#include "control/signals.h"

#include <stdbool.h>
#include <sys/signalfd.h>

/* SIGTERM must end us, and an ignored SIGCHLD would keep from us that a child ended. */
static bool stays_ignored(int number)
{
	struct sigaction action;
	return number != SIGTERM && number != SIGCHLD && sigaction(number, NULL, &action) == 0 &&
	       action.sa_handler == SIG_IGN;
}

void signals_block(const int *number, size_t count, sigset_t *set, sigset_t *before)
{
	(void)sigemptyset(set);
	for (size_t i = 0; i < count; i++) {
		if (stays_ignored(number[i]))
			continue;
		(void)signal(number[i], SIG_DFL);
		(void)sigaddset(set, number[i]);
	}
	(void)sigprocmask(SIG_BLOCK, set, before);
}

int signals_open(const int *number, size_t count, sigset_t *before)
{
	sigset_t set;
	signals_block(number, count, &set, before);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

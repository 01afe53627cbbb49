/* SPDX-License-Identifier: MIT */
/*
 * Exit statuses of nfold and nfold-vm. Ours are even; every odd one is the guest's own, from its debug-exit port:
 * (value << 1) | 1. Documented in nfold(1).
 */
#ifndef NFOLD_CONTROL_EXIT_STATUS_H
#define NFOLD_CONTROL_EXIT_STATUS_H

enum exit_status {
	STATUS_OK = 0,		 /* the command succeeded; run: the guest powered itself off */
	STATUS_INPUT = 2,	 /* bad usage or input: nothing was started or changed */
	STATUS_HOST = 4,	 /* the host refused something */
	STATUS_TRIPLE_FAULT = 6, /* run --no-reboot: the guest shut down with a triple fault */
	STATUS_REBOOT = 8,	 /* run --no-reboot: the guest asked for a reset */
	STATUS_KILLED = 10,	 /* run: ended by nfold kill, the escape key or a signal */
	STATUS_CONFINED = 12,	 /* run: the guest's process made a system call that it is not to make */
};

#endif

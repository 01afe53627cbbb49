/* SPDX-License-Identifier: MIT */
/* Starts nfold-vm in the foreground and stays with it until it ends: input, signals, exit status. */
#ifndef NFOLD_CLI_CHILD_H
#define NFOLD_CLI_CHILD_H

#include <stdbool.h>

struct child_request {
	const char *name; /* of the guest; a stem if name_free */
	bool name_free;
	bool console;		    /* the guest's serial port is on stdin and stdout */
	bool screen;		    /* the guest's screen is on the terminal */
	bool firmware;		    /* the guest talks on its screen first */
	const char *terminal_reset; /* with it: what sets the terminal right if we are killed */
	int argc;		    /* the guest's options as typed */
	char *const *argv;
};

/* Returns the exit status of nfold run. */
int child_run(const struct child_request *request);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The command table: one file per command, one row per command. A row says everything about its command; parsing,
 * --help and the list in `nfold --help` come from it.
 */
#ifndef NFOLD_CLI_COMMAND_H
#define NFOLD_CLI_COMMAND_H

#include "control/exit_status.h"
#include "control/options.h"

#define COMMAND_OPTIONS_SIZE 2048

struct command_call {
	const void *options;	     /* the command's struct of option values */
	const char *const *argument; /* argument_count of them, as many as the row asks for */
	unsigned argument_count;
	const struct option_rest *rest; /* all that was typed, taken apart */
	int argc;			/* the words as they were typed */
	char *const *argv;
};

struct command {
	const char *name;
	const char *arguments; /* for the usage line, NULL: none */
	unsigned argument_min, argument_max;
	const char *summary;
	const char *description;
	const struct option *options;		     /* NULL: none but --help */
	int (*run)(const struct command_call *call); /* returns the exit status */
	const struct command *const *subcommands;    /* ended by NULL; then there is no `run` and no option */
};

extern const struct command command_calibrate, command_clone, command_console, command_create, command_host, command_rm,
    command_edit, command_set, command_show, command_start, command_explain, command_guest, command_help, command_key,
    command_kill, command_list, command_pause, command_plan, command_reset, command_resume, command_run, command_screen,
    command_stats, command_stop, command_top, command_trace, command_record, command_metrics, command_type,
    command_version;

/* All commands in the order of --help, ended by NULL. */
extern const struct command *const command_table[];

/* By the last word of its name, in a table ended by NULL. NULL: there is none. */
const struct command *command_find(const struct command *const *table, const char *name);
void command_print_help(const struct command *command);
void command_print_list(void);

#endif

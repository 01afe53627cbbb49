/* SPDX-License-Identifier: MIT */
/* nfold: runs guests and talks to running ones. */
#include <stdalign.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "control/report.h"

const struct command *const command_table[] = {
    &command_run,   &command_host, &command_create,    &command_start,	 &command_console, &command_show,
    &command_set,   &command_edit, &command_rm,	       &command_list,	 &command_pause,   &command_resume,
    &command_reset, &command_stop, &command_kill,      &command_screen,	 &command_type,	   &command_key,
    &command_stats, &command_top,  &command_record,    &command_metrics, &command_explain, &command_trace,
    &command_guest, &command_plan, &command_calibrate, &command_clone,	 &command_version, &command_help,
    NULL,
};

static const struct option no_options[] = {{0}};

/* "import" of "plan import". */
static const char *last_word(const char *name)
{
	const char *space = strrchr(name, ' ');
	return space != NULL ? space + 1 : name;
}

const struct command *command_find(const struct command *const *table, const char *name)
{
	for (const struct command *const *command = table; *command != NULL; command++)
		if (strcmp(last_word((*command)->name), name) == 0)
			return *command;
	return NULL;
}

static void print_commands(const struct command *const *table)
{
	printf("Commands:\n");
	for (const struct command *const *command = table; *command != NULL; command++)
		printf("  %-10s%s\n", last_word((*command)->name), (*command)->summary);
}

void command_print_list(void)
{
	printf("Usage: nfold COMMAND [OPTION]... [ARGUMENT]...\n\n"
	       "Runs x86 guests without hardware virtualization.\n\n");
	print_commands(command_table);
	printf("\n'nfold COMMAND --help' tells more about a command, nfold(1) everything.\n");
}

void command_print_help(const struct command *command)
{
	printf("Usage: nfold %s %s%s%s\n\n%s\n\n", command->name,
	       command->subcommands != NULL ? "COMMAND [OPTION]..." : "[OPTION]...",
	       command->arguments != NULL ? " " : "", command->arguments != NULL ? command->arguments : "",
	       command->description);
	if (command->subcommands != NULL) {
		print_commands(command->subcommands);
		printf("\n");
	}
	printf("Options:\n");
	options_print(command->options != NULL ? command->options : no_options, stdout);
}

static int usage_error(const struct command *command)
{
	report_line("usage: nfold %s [OPTION]...%s%s ('nfold %s --help' tells more)", command->name,
		    command->arguments != NULL ? " " : "", command->arguments != NULL ? command->arguments : "",
		    command->name);
	return STATUS_INPUT;
}

/* Each of two recursive functions' calls goes one level down the table. */
static int command_run_words(const struct command *command, int argc, char *const *argv);

static int subcommand_run(const struct command *command, int argc, char *const *argv)
{
	if (argc == 0) {
		report_line("no command: 'nfold %s --help' lists the commands", command->name);
		return STATUS_INPUT;
	}
	if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
		command_print_help(command);
		return STATUS_OK;
	}
	const struct command *below = command_find(command->subcommands, argv[0]);
	if (below == NULL) {
		report_line("unknown command 'nfold %s %.64s': 'nfold %s --help' lists the commands", command->name,
			    argv[0], command->name);
		return STATUS_INPUT;
	}
	return command_run_words(below, argc - 1, argv + 1);
}

static int command_run_words(const struct command *command, int argc, char *const *argv)
{
	alignas(max_align_t) char values[COMMAND_OPTIONS_SIZE] = {0};
	char program[64];
	struct option_rest rest;
	struct error error = {0};
	if (command->subcommands != NULL)
		return subcommand_run(command, argc, argv);
	(void)snprintf(program, sizeof program, "nfold %s", command->name);
	if (!options_parse(command->options != NULL ? command->options : no_options, OPTIONS_FROM_PERSON, program, argc,
			   argv, values, &rest, &error))
		return (int)report_error(&error);
	if (rest.help) {
		command_print_help(command);
		return STATUS_OK;
	}
	if (rest.count < command->argument_min || rest.count > command->argument_max)
		return usage_error(command);
	struct command_call call = {.options = values,
				    .argument = rest.argument,
				    .argument_count = rest.count,
				    .rest = &rest,
				    .argc = argc,
				    .argv = argv};
	return command->run(&call);
}

/* The GNU habit of asking with an option. */
static const char *command_alias(const char *word)
{
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		return "help";
	return strcmp(word, "--version") == 0 ? "version" : word;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		report_line("no command: 'nfold --help' lists the commands");
		return STATUS_INPUT;
	}
	const struct command *command = command_find(command_table, command_alias(argv[1]));
	if (command == NULL) {
		report_line("unknown command '%.64s': 'nfold --help' lists the commands", argv[1]);
		return STATUS_INPUT;
	}
	int status = command_run_words(command, argc - 2, argv + 2);
	if (fflush(stdout) != 0 || ferror(stdout) != 0) {
		report_line("cannot write to standard output");
		return STATUS_HOST;
	}
	return status;
}

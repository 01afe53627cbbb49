/* SPDX-License-Identifier: MIT */
/*
 * nfold edit: a guest's definition in the user's editor.
 *
 * The editor gets a copy. What it leaves is checked, and only then takes the place of the definition, whole: by the
 * host if one runs, which also says whether the processors asked for are to be had. What is wrong is shown with its
 * line, and the editor opened again. Text that was written is never thrown away unless it is in place.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/hosted.h"
#include "cli/unhosted.h"
#include "control/report.h"
#include "control/store.h"

struct edit {
	const char *name, *editor;
	struct store store; /* to look */
	char *before;	    /* the definition's text as it was */
	size_t before_size;
	char path[PATH_MAX]; /* the copy */
};

/* ---- the editor ---- */

static const char *find_editor(void)
{
	static const char *const variables[] = {"VISUAL", "EDITOR"};
	for (unsigned i = 0; i < 2; i++) {
		const char *value = getenv(variables[i]);
		if (value != NULL && value[0] != '\0')
			return value;
	}
	return NULL;
}

/* In the child. The variable may hold options; so a shell takes it apart, as it does for other programs. */
static void become_editor(const struct edit *edit)
{
	char command[PATH_MAX];
	if ((size_t)snprintf(command, sizeof command, "%s \"$@\"", edit->editor) < sizeof command)
		(void)execl("/bin/sh", "sh", "-c", command, edit->editor, edit->path, (char *)NULL);
	_exit(127);
}

/* Interrupts from the keyboard are the editor's, as system(3) does it. */
static bool run_editor(const struct edit *edit, struct error *error)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, interrupt, quit;
	int status = -1;
	(void)sigaction(SIGINT, &ignore, &interrupt);
	(void)sigaction(SIGQUIT, &ignore, &quit);
	pid_t pid = fork();
	if (pid == 0) {
		(void)sigaction(SIGINT, &interrupt, NULL);
		(void)sigaction(SIGQUIT, &quit, NULL);
		become_editor(edit);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	(void)sigaction(SIGINT, &interrupt, NULL);
	(void)sigaction(SIGQUIT, &quit, NULL);
	if (pid < 0)
		return error_set_errno(error, "cannot start the editor");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	return error_set(error, ERROR_INPUT, "the editor '%.100s' failed: set VISUAL or EDITOR to one that works",
			 edit->editor);
}

/* ---- the text ---- */

static bool write_copy(struct edit *edit, struct error *error)
{
	const char *folder = getenv("TMPDIR");
	if (folder == NULL || folder[0] != '/')
		folder = P_tmpdir;
	int length =
	    snprintf(edit->path, sizeof edit->path, "%s/nfold-%s-XXXXXX" DEFINITION_SUFFIX, folder, edit->name);
	int fd = length > 0 && (size_t)length < sizeof edit->path
		     ? mkostemps(edit->path, (int)strlen(DEFINITION_SUFFIX), O_CLOEXEC)
		     : -1;
	if (fd < 0)
		return error_set_errno(error, "cannot write a copy for the editor in %.200s", folder);
	bool good = write(fd, edit->before, edit->before_size) == (ssize_t)edit->before_size;
	good = close(fd) == 0 && good;
	if (!good)
		(void)unlink(edit->path);
	return good || error_set(error, ERROR_HOST, "cannot write a copy for the editor in %.200s", folder);
}

static bool is_same(const struct edit *edit, const char *text, size_t size)
{
	return size == edit->before_size && memcmp(text, edit->before, size) == 0;
}

/* Nobody else's change is written over. */
static bool is_unchanged(const struct edit *edit, struct error *error)
{
	size_t size;
	char *now = store_read_text(&edit->store, edit->name, &size, error);
	bool same = now != NULL && is_same(edit, now, size);
	if (now != NULL && !same)
		error_set(error, ERROR_INPUT, "the definition of '%s' has been changed by somebody else meanwhile",
			  edit->name);
	free(now);
	return same;
}

static bool put_in_place(const struct edit *edit, const char *text, size_t size, struct error *error)
{
	if (!hosted_runs())
		return unhosted_define(edit->name, text, size, error);
	json_t *done =
	    hosted_call("guest.define", json_pack("{s:s, s:s%}", "name", edit->name, "text", text, size), error);
	json_decref(done);
	return done != NULL;
}

/* False: it is as it was. */
static bool use_text(const struct edit *edit, const char *text, size_t size, struct error *error)
{
	char folder[PATH_MAX];
	struct definition definition;
	(void)snprintf(folder, sizeof folder, "%s/guests", edit->store.path);
	if (!definition_parse_for(&definition, edit->name, folder, text, size, error))
		return false;
	definition_free(&definition);
	return is_unchanged(edit, error) && put_in_place(edit, text, size, error);
}

/* ---- the command ---- */

static bool ask_again(void)
{
	char line[16];
	fprintf(stderr, "Edit it again? [Y/n] ");
	return fgets(line, sizeof line, stdin) != NULL && line[0] != 'n' && line[0] != 'N';
}

static bool edit_once(const struct edit *edit, struct error *error)
{
	size_t size;
	if (!run_editor(edit, error))
		return false;
	char *text = definition_file_text(edit->path, &size, error);
	bool good = text != NULL && (is_same(edit, text, size) || use_text(edit, text, size, error));
	free(text);
	return good;
}

static bool copy_is_untouched(const struct edit *edit)
{
	size_t size;
	char *text = definition_file_text(edit->path, &size, NULL);
	bool same = text != NULL && is_same(edit, text, size);
	free(text);
	return same;
}

static int edit_copy(const struct edit *edit)
{
	for (;;) {
		struct error error = {0};
		if (edit_once(edit, &error)) {
			(void)unlink(edit->path);
			return STATUS_OK;
		}
		int status = (int)report_error(&error);
		if (copy_is_untouched(edit)) {
			(void)unlink(edit->path);
			return status;
		}
		if (ask_again())
			continue;
		report_line("the definition of '%s' is as it was; what you wrote is in %s", edit->name, edit->path);
		return status;
	}
}

/* Where the host that runs keeps it, or the next one would. */
static bool look(struct edit *edit, struct error *error)
{
	struct store_stamp stamp;
	json_t *status = hosted_runs() ? hosted_call("host.status", NULL, error) : NULL;
	const char *path = status != NULL ? hosted_text(status, "state_directory") : NULL;
	bool good = store_look(&edit->store, path, error);
	json_decref(status);
	if (good && !store_stamp(&edit->store, edit->name, &stamp)) {
		store_close(&edit->store);
		good = false;
	}
	return good || error_set(error, ERROR_INPUT,
				 "no guest named '%s' is defined: 'nfold list' shows those that are", edit->name);
}

static int edit_run(const struct command_call *call)
{
	struct edit edit = {.name = call->argument[0], .editor = find_editor()};
	struct error error = {0};
	if (!name_check(edit.name, &error))
		return (int)report_error(&error);
	if (edit.editor == NULL)
		error_set(&error, ERROR_INPUT, "no editor is known: set VISUAL or EDITOR");
	else if (!isatty(STDIN_FILENO))
		error_set(&error, ERROR_INPUT, "an editor needs a terminal: use 'nfold set' without one");
	if (error.kind != ERROR_NONE || !look(&edit, &error))
		return (int)report_error(&error);
	edit.before = store_read_text(&edit.store, edit.name, &edit.before_size, &error);
	bool good = edit.before != NULL && write_copy(&edit, &error);
	int status = good ? edit_copy(&edit) : (int)report_error(&error);
	free(edit.before);
	store_close(&edit.store);
	return status;
}

const struct command command_edit = {
    .name = "edit",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "change a guest's definition in your editor",
    .description =
	"Opens the definition of a guest of the host in $VISUAL or $EDITOR. What is written there is checked\n"
	"before it takes effect, as by 'nfold set'; errors are shown with their line, and the editor opens\n"
	"again. Works while no host runs, too.",
    .run = edit_run,
};

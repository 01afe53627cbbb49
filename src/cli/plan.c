/* SPDX-License-Identifier: MIT */
#include "cli/plan.h"

#include <unistd.h>

static const struct command *const plan_table[] = {&command_plan_import,   &command_plan_show,	 &command_plan_fit,
						   &command_plan_simulate, &command_plan_report, NULL};

const struct command command_plan = {
    .name = "plan",
    .summary = "fold many servers into few hosts, by what was measured on them",
    .description = "Plans which servers can run as guests of which hosts, by what was measured on them over time.",
    .subcommands = plan_table,
};

bool plan_file_write(const char *path, const json_t *json, plan_csv_function *csv, struct error *error)
{
	FILE *file = fopen(path, "w");
	if (file == NULL)
		return error_set_errno(error, "cannot write %.200s", path);
	bool good = csv != NULL ? csv(json, file, error)
				: json_dumpf(json, file, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0 &&
				      fputc('\n', file) != EOF;
	if (fclose(file) != 0 || !good) {
		if (error->kind == ERROR_NONE)
			(void)error_set_errno(error, "cannot write %.200s", path);
		(void)unlink(path);
		return false;
	}
	return true;
}

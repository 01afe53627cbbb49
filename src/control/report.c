/* SPDX-License-Identifier: MIT */
#include "control/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 1024

void report_line(const char *format, ...)
{
	char line[LINE_SIZE] = "nfold: ";
	size_t used = strlen(line);
	va_list args;
	va_start(args, format);
	(void)vsnprintf(line + used, sizeof line - used - 1, format, args);
	va_end(args);
	used = strlen(line);
	for (size_t i = 0; i < used; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[used++] = '\n';
	/* There is nowhere left to report that stderr is gone. */
	ssize_t ignored = write(STDERR_FILENO, line, used);
	(void)ignored;
}

enum exit_status report_error(const struct error *error)
{
	report_line("%s", error->text);
	return error->kind == ERROR_INPUT ? STATUS_INPUT : STATUS_HOST;
}

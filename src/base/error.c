/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool error_set(struct error *error, enum error_kind kind, const char *format, ...)
{
	if (error == NULL)
		return false;
	va_list args;
	va_start(args, format);
	error->kind = kind;
	(void)vsnprintf(error->text, sizeof error->text, format, args);
	va_end(args);
	return false;
}

bool error_set_errno(struct error *error, const char *format, ...)
{
	int number = errno;
	if (error == NULL)
		return false;
	va_list args;
	va_start(args, format);
	error->kind = ERROR_HOST;
	int used = vsnprintf(error->text, sizeof error->text, format, args);
	va_end(args);
	if (used >= 0 && (size_t)used < sizeof error->text)
		(void)snprintf(error->text + used, sizeof error->text - (size_t)used, ": %s", strerror(number));
	return false;
}

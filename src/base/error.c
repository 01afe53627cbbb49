/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Names from files may hold anything; an error stays one line. Bytes above 127 are left alone: they are UTF-8. */
static void text_clean(struct error *error)
{
	for (char *at = error->text; *at != '\0'; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
}

bool error_set(struct error *error, enum error_kind kind, const char *format, ...)
{
	if (error == NULL)
		return false;
	va_list args;
	va_start(args, format);
	error->kind = kind;
	(void)vsnprintf(error->text, sizeof error->text, format, args);
	va_end(args);
	text_clean(error);
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
	text_clean(error);
	return false;
}

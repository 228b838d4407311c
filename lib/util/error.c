/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tensorguard/error.h"

int tg_error(struct tg_error *e, int err, const char *format, ...)
{
	va_list args;

	if (!e)
		return err;
	va_start(args, format);
	vsnprintf(e->message, sizeof(e->message), format, args);
	va_end(args);
	return err;
}

int tg_error_prefix(struct tg_error *e, int err, const char *format, ...)
{
	struct tg_error rest;
	va_list args;
	size_t used;

	if (!e)
		return err;
	rest = *e;
	va_start(args, format);
	vsnprintf(e->message, sizeof(e->message), format, args);
	va_end(args);
	used = strlen(e->message);
	snprintf(e->message + used, sizeof(e->message) - used, ": %s", rest.message);
	return err;
}

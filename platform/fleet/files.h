/* SPDX-License-Identifier: BSD-3-Clause */
/* The files of the fleet view's page, as the build put them into the program. */
#ifndef PLATFORM_FLEET_FILES_H
#define PLATFORM_FLEET_FILES_H

#include <stddef.h>

struct web_file {
	const char *path, *type;
	const unsigned char *data;
	size_t len;
};

/* Ended by path NULL. */
extern const struct web_file web_files[];

#endif

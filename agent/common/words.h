/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that get files in memory: {} in their words becomes /proc/self/fd/N. */
#ifndef AGENT_COMMON_WORDS_H
#define AGENT_COMMON_WORDS_H

#include <stddef.h>

#include "tensorguard/error.h"

struct word_file {
	const char *path; /* {PATH} names it; {} is the first one */
	int fd;
};

/*
 * Executes the command, which has `count` words, in place of this program; the descriptors stay open in it.
 * Returns only when that failed: TG_CLI_USAGE when a word names no file, else the kernel's error.
 */
int words_exec(char *const *words, int count, const struct word_file *files, size_t file_count,
	       struct tg_error *e);

#endif

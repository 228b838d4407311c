/* SPDX-License-Identifier: BSD-3-Clause */
/* The files that the agent loads its policy from, and whether they are still the same. */
#ifndef AGENT_GUARD_FILES_H
#define AGENT_GUARD_FILES_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "guard/guard.h"

/* `buffer` may become the answer's place. */
const char *files_policy(const struct guard_conf *conf, char buffer[PATH_MAX]);
/* NULL = there is none. */
const char *files_site(const struct guard_conf *conf, char buffer[PATH_MAX]);

/* Policy and site file; one that is missing has a struct of zeros. */
void files_stat(const struct guard_conf *conf, struct stat files[2]);

/* Whether they are others now. A policy file that is away for the moment counts as unchanged. */
bool files_changed(const struct guard_conf *conf, const struct stat files[2]);

#endif

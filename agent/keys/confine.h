/* SPDX-License-Identifier: BSD-3-Clause */
/* Root's user may write to whatever is root's: Landlock takes that away, for good. */
#ifndef AGENT_KEYS_CONFINE_H
#define AGENT_KEYS_CONFINE_H

#include <stddef.h>

#include "tensorguard/error.h"

/*
 * The calling process makes, changes and removes files below these folders only; reading stays as it is. A
 * folder that is not there is left out. 0 too where the kernel has no Landlock (before 5.13).
 */
int confine_to(const char *const *folders, size_t count, struct tg_error *e);

#endif

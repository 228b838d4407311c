/* SPDX-License-Identifier: BSD-3-Clause */
/* One attempt, by name, in a process of its own, within a sandbox or (NULL) without one. */
#ifndef TESTS_SANDBOX_ATTEMPT_H
#define TESTS_SANDBOX_ATTEMPT_H

#include <stdbool.h>
#include <stddef.h>

#include "supervise/sandbox.h"

bool attempt_succeeds(const char *name, const struct sandbox *sandbox);
bool attempt_returns(const char *name, const struct sandbox *sandbox);	 /* well or with an error */
bool attempt_is_killed(const char *name, const struct sandbox *sandbox); /* by SIGSYS */

/* Each is refused, and does return outside of the sandbox; each succeeds in it. */
void attempt_all_refused(const char *const *names, size_t count, const struct sandbox *sandbox);
void attempt_all_succeed(const char *const *names, size_t count, const struct sandbox *sandbox);

/* Counts a failure and names the attempt. */
void attempt_fail(const char *name, const char *what);

#endif

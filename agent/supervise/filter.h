/* SPDX-License-Identifier: BSD-3-Clause */
/* The system calls of a sandbox, as a seccomp filter. */
#ifndef AGENT_SUPERVISE_FILTER_H
#define AGENT_SUPERVISE_FILTER_H

#include "supervise/sandbox.h"

/* For good, for the calling thread and what it starts. */
int filter_load(const struct sandbox *sandbox, struct tg_error *e);

#endif

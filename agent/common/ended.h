/* SPDX-License-Identifier: BSD-3-Clause */
/* How a process ended, from what waitpid() says. */
#ifndef AGENT_COMMON_ENDED_H
#define AGENT_COMMON_ENDED_H

#include <stddef.h>

/* Its exit status, or 128 and the signal, as a shell has it. */
int ended_status(int status);
/* "ended with status 1", "was ended by signal 9 (Killed)", ... */
void ended_describe(int status, char *text, size_t size);

#endif

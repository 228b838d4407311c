/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs other programs: no shell, a minimal environment, no descriptor of ours but the three standard ones. */
#ifndef AGENT_NET_PROCESS_H
#define AGENT_NET_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "tensorguard/error.h"

struct process {
	const char *const *argv;	/* ended by NULL; argv[0] is looked up in PATH if it has no slash */
	const char *const *environment;	/* beside PATH and LC_ALL; ended by NULL, or NULL */
	const char *input;		/* text for its standard input, NULL = /dev/null */
	bool daemon; /* what it leaves behind must not depend on us: own session, no output kept */
	int nice;    /* with `daemon`: the nice value that it asks for (-20..0), if that is permitted */
	int timeout_ms;
};

struct process_result {
	int status;		/* exit status, or 128 + signal */
	char *output;		/* standard output, up to 16 MB; NULL for a daemon */
	char message[256];	/* first line of standard error that is not blank, or "" */
};

/*
 * Runs it to its end. 0 whatever its exit status was; then the caller frees
 * ret_result->output. -ENOENT when there is no such program, -ETIMEDOUT when it
 * had to be killed.
 */
int process_run(const struct process *process, struct process_result *ret_result, struct tg_error *e);

#endif

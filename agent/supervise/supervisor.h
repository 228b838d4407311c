/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starts the children and starts them again when they end: at once, then later and later (backoff.h). Asks
 * each every two seconds whether it is there, and kills one that does not answer five times in a row. Feeds
 * the service manager's watchdog. TERM and INT end it and its children, HUP makes them read their policies
 * again.
 */
#ifndef AGENT_SUPERVISE_SUPERVISOR_H
#define AGENT_SUPERVISE_SUPERVISOR_H

#include "supervise/child.h"
#include "supervise/oneshot.h"

struct supervisor_conf {
	const struct child_kind *kinds; /* name NULL ends the table */
	const struct oneshot_kind *oneshots; /* likewise */
	char **argv;
	const char *run_dir;
	void (*log)(const char *line);
};

/*
 * Returns when it was told to end: 0. A child that fails before all were ready once is not started again: its
 * exit status is *ret_status, and it has said why. Otherwise *ret_status is 0. Those that are dispensable are
 * not waited for, and are started again whenever they fail.
 */
int supervise(const struct supervisor_conf *conf, int *ret_status, struct tg_error *e);

#endif

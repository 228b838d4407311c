/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a service manager does for the supervisor, where there is none: a parent that does nothing but start
 * the supervisor, as this program executed anew, and start it again when it ends or hangs. It speaks the
 * service manager's protocol (notify.h), so that the supervisor knows no difference.
 *
 * Who ends is started again at once, later and later when that goes on (backoff.h). Who sent no WATCHDOG=1
 * for KEEPER_MISSED ticks of KEEPER_TICK_S is killed: 10 seconds, counted while the machine runs. The
 * supervisor and all its processes end together with the keeper, which whoever starts it may start again.
 */
#ifndef AGENT_SUPERVISE_KEEPER_H
#define AGENT_SUPERVISE_KEEPER_H

#include "tensorguard/error.h"

enum {
	KEEPER_TICK_S = 2,
	KEEPER_MISSED = 5,
	KEEPER_FEED_S = 4,  /* WATCHDOG_USEC: the supervisor sends twice in that time */
	KEEPER_END_S = 8,   /* from TERM to KILL: the supervisor gives its processes five seconds */
};

/*
 * Runs argv[0] by argv until it is told to end (TERM, INT; HUP is passed on). *ret_status: of the supervisor,
 * which has said why if it is not 0. One that fails before it was ready once is not tried again.
 */
int keeper_run(char **argv, void (*log)(const char *line), int *ret_status, struct tg_error *e);

#endif

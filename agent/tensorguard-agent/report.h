/* SPDX-License-Identifier: BSD-3-Clause */
/* What the guard tells of the data plane, every ten seconds: for the Platform's heartbeat. */
#ifndef AGENT_TENSORGUARD_AGENT_REPORT_H
#define AGENT_TENSORGUARD_AGENT_REPORT_H

#include "guard/guard.h"
#include "guard/medical.h"
#include "heal/heal.h"
#include "supervise/child.h"

struct report_timer;

struct report_parts {
	const struct guard_conf *conf;
	const struct guard *guard;
	struct heal *heal;
	const struct medical *medical;
	struct child *child;
};

/* What the parts point to must outlive it. The first report is made at once. */
int report_new(struct event_base *base, const struct report_parts *parts, struct report_timer **ret_timer);
/* Reports at once what else would have to wait: a trouble that has come or gone. */
void report_look(struct report_timer *timer);
void report_end(struct report_timer *timer); /* NULL-safe */

#endif

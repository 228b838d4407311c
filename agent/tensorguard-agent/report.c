/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "instance/instance.h"
#include "report.h"

enum { EVERY_S = 10 };

struct report_timer {
	struct report_parts parts;
	struct event *timer;
	uint8_t troubles;	/* of the last one */
};

static void add_class(const struct dataplane *dp, unsigned class, struct message_stats *stats)
{
	struct tg_stats s;

	if (dataplane_stats_get(dp, TG_OUT, class, &s, NULL))
		return;
	stats->real += s.real_bytes;
	stats->pad += s.pad_bytes;
	stats->dummy += s.dummy_bytes;
	for (unsigned i = 0; i < TG_VIOLATION_COUNT; i++)
		stats->violations += s.violations[i];
}

static void add_tunnel(const struct report_timer *r, const struct tg_policy *policy,
		       const struct tg_tunnel *tunnel, struct message_stats *stats)
{
	struct dataplane *dp;

	if (dataplane_open(r->parts.conf->pin_dir, tunnel->name, &dp, NULL)) {
		stats->state = MESSAGE_DOWN;
		return;
	}
	for (unsigned i = 0; i < tunnel->class_count; i++)
		add_class(dp, i, stats);
	if (tg_tunnel_is_paced(tunnel))
		stats->engine = strcmp(tunnel_engine(policy, tunnel), tg_engine_name(TG_ENGINE_QUEUE))
					? MESSAGE_ENGINE_KERNEL
					: MESSAGE_ENGINE_QUEUE;
	dataplane_close(dp);
}

static uint8_t troubles(const struct report_timer *r)
{
	unsigned bits = 0;

	if (heal_is_broken(r->parts.heal) || medical_is_broken(r->parts.medical))
		bits |= MESSAGE_BROKEN;
	if (medical_has_silent_peer(r->parts.medical))
		bits |= MESSAGE_PEER_SILENT;
	return (uint8_t)bits;
}

static void report(struct report_timer *r)
{
	struct message_stats stats = { .state = MESSAGE_UP };
	const struct tg_policy *policy = guard_policy(r->parts.guard);
	char reason[LOCKDOWN_REASON_LEN];

	for (size_t i = 0; policy && i < policy->tunnel_count; i++)
		add_tunnel(r, policy, &policy->tunnels[i], &stats);
	if (!policy)
		stats.state = MESSAGE_DOWN;
	stats.troubles = r->troubles = troubles(r);
	if (lockdown_is_on(r->parts.conf->run_dir, reason))
		stats.state = MESSAGE_LOCKED;
	/* a supervisor that does not read is no reason to wait: the next one tells as much */
	child_send_stats(r->parts.child, &stats);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	report(ctx);
}

void report_look(struct report_timer *r)
{
	if (troubles(r) != r->troubles)
		report(r);
}

int report_new(struct event_base *base, const struct report_parts *parts, struct report_timer **ret_timer)
{
	const struct timeval every = { .tv_sec = EVERY_S };
	struct report_timer *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	*r = (struct report_timer){ .parts = *parts };
	r->timer = event_new(base, -1, EV_PERSIST, on_timer, r);
	if (!r->timer || event_add(r->timer, &every)) {
		report_end(r);
		return -ENOMEM;
	}
	report(r);
	*ret_timer = r;
	return 0;
}

void report_end(struct report_timer *r)
{
	if (!r)
		return;
	if (r->timer)
		event_free(r->timer);
	free(r);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "dataplane/dataplane.h"
#include "guard/watch.h"
#include "shared/verdict.h"
#include "tensorguard/audit.h"

enum { EVERY_S = 5, KINDS = 3 };

/* What has been told of a tunnel, by its name: policies come and go. */
struct tally {
	char tunnel[TG_TUNNEL_NAME_LEN];
	bool known;		/* at least one look at it */
	uint64_t violations[TG_MAX_CLASSES][KINDS];
	uint64_t dummies;
};

struct watch {
	struct event *timer;
	const char *pin_dir;
	struct watch_ops ops;
	struct tally tallies[TG_MAX_TUNNELS];
};

static const unsigned codes[KINDS] = { TG_AUDIT_VIOLATION_DELAY, TG_AUDIT_VIOLATION_OVERFLOW,
				       TG_AUDIT_VIOLATION_BUDGET };

static void sort_violations(const struct tg_stats *stats, uint64_t ret_counts[static KINDS])
{
	ret_counts[0] = stats->violations[TG_VIOLATION_DELAY];
	ret_counts[1] = stats->violations[TG_VIOLATION_OVERFLOW];
	ret_counts[2] = stats->violations[TG_VIOLATION_DAY] + stats->violations[TG_VIOLATION_SHARE] +
			stats->violations[TG_VIOLATION_METERED];
}

/* Counters that went back were begun anew. */
static void compare(struct watch *w, unsigned code, const struct tally *tally, int class, uint64_t *told,
		    uint64_t now)
{
	uint64_t since = now < *told ? now : now - *told;

	if (tally->known && since && !w->ops.told(w->ops.ctx, code, tally->tunnel, class, since))
		return;
	*told = now;
}

/* Of this name; else one that no tunnel of the policy has. */
static struct tally *find(struct watch *w, const struct tg_policy *policy, const char *tunnel)
{
	for (size_t i = 0; i < TG_MAX_TUNNELS; i++)
		if (!strcmp(w->tallies[i].tunnel, tunnel))
			return &w->tallies[i];
	for (size_t i = 0; i < TG_MAX_TUNNELS; i++) {
		bool used = false;

		for (size_t j = 0; j < policy->tunnel_count; j++)
			used |= !strcmp(w->tallies[i].tunnel, policy->tunnels[j].name);
		if (used)
			continue;
		w->tallies[i] = (struct tally){ .known = false };
		snprintf(w->tallies[i].tunnel, sizeof(w->tallies[i].tunnel), "%s", tunnel);
		return &w->tallies[i];
	}
	return NULL;
}

static void look_at(struct watch *w, const struct tg_tunnel *tunnel, struct tally *tally)
{
	uint64_t counts[KINDS], reasons[TG_REASON_COUNT];
	struct dataplane *dp;
	struct tg_stats stats;

	/* not up, or being made anew */
	if (dataplane_open(w->pin_dir, tunnel->name, &dp, NULL))
		return;
	for (unsigned i = 0; i < tunnel->class_count && i < TG_MAX_CLASSES; i++) {
		if (dataplane_stats_get(dp, TG_OUT, i, &stats, NULL))
			continue;
		sort_violations(&stats, counts);
		for (unsigned k = 0; k < KINDS; k++)
			compare(w, codes[k], tally, (int)i, &tally->violations[i][k], counts[k]);
	}
	if (!dataplane_reasons_get(dp, reasons, NULL))
		compare(w, TG_AUDIT_DUMMY_FAILED, tally, -1, &tally->dummies,
			reasons[TG_NOTE_CLOCK] + reasons[TG_DROP_UNPACED]);
	tally->known = true;
	dataplane_close(dp);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct watch *w = ctx;
	const struct tg_policy *policy = w->ops.policy(w->ops.ctx);

	(void)fd;
	(void)what;
	for (size_t i = 0; i < policy->tunnel_count; i++) {
		struct tally *tally = find(w, policy, policy->tunnels[i].name);

		if (tally)
			look_at(w, &policy->tunnels[i], tally);
	}
}

int watch_new(struct event_base *base, const char *pin_dir, const struct watch_ops *ops,
	      struct watch **ret_watch)
{
	const struct timeval every = { .tv_sec = EVERY_S };
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->pin_dir = pin_dir;
	w->ops = *ops;
	w->timer = event_new(base, -1, EV_PERSIST, on_timer, w);
	if (!w->timer || event_add(w->timer, &every)) {
		watch_free(w);
		return -ENOMEM;
	}
	/* what is there already is no news */
	on_timer(-1, 0, w);
	*ret_watch = w;
	return 0;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	if (w->timer)
		event_free(w->timer);
	free(w);
}

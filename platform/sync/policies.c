/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/log.h"
#include "sync/choose.h"
#include "sync/sync.h"

/* How long the store is not asked again whether there is anything new. */
enum { FRESH_MS = 1000 };

struct policies {
	pthread_mutex_t lock;
	int64_t fresh_ms;
	int64_t looked_ms;	/* 0: never */
	int64_t mark;
	struct policy_table table;
};

/* With the lock. */
static int refresh(struct policies *p, struct store *store, struct tg_error *e)
{
	int64_t now_ms = limiter_clock_ms(), version, mark;
	int ret;

	if (p->looked_ms && now_ms - p->looked_ms < p->fresh_ms)
		return 0;
	ret = store_policy_mark(store, &version, &mark, e);
	if (!ret && (!p->looked_ms || mark != p->mark))
		ret = policy_table_load(&p->table, store, e);
	if (ret)
		return ret;
	p->mark = mark;
	p->looked_ms = now_ms;
	return 0;
}

/* Not what the device has, would refuse because it is older than that, or could not use any more. */
static bool is_news(const struct policy_entry *entry, const struct tg_sync_policy *has, int64_t now)
{
	if (entry->policy.not_after <= now)
		return false;
	if (!has || entry->policy.version > has->version)
		return true;
	/* one version, two texts: a Platform that was put back to an older state; the device says that it
	 * refuses */
	return entry->policy.version == has->version &&
	       memcmp(entry->hash, has->hash, sizeof(has->hash)) != 0;
}

int policies_choose(struct policies *p, struct store *store, const struct store_agent *agent,
		    const struct tg_sync_policy *has, int64_t now, struct tg_signed_policy *ret_policy,
		    bool *ret_found, struct tg_error *e)
{
	const struct policy_entry *entry = NULL;
	int ret;

	pthread_mutex_lock(&p->lock);
	ret = refresh(p, store, e);
	if (!ret)
		entry = policy_table_choose(&p->table, agent, NULL);
	if (entry && is_news(entry, has, now))
		ret = tg_signed_policy_copy(&entry->policy, ret_policy, e);
	else
		entry = NULL;
	pthread_mutex_unlock(&p->lock);
	*ret_found = !ret && entry;
	return ret;
}

void sync_policy(struct sync *sync)
{
	const struct tg_sync_request *message = &sync->message;
	struct tg_error e = { "" };

	if (!policies_choose(sync->platform->policies, sync->request->store, &sync->request->agent,
			     message->has_policy ? &message->policy : NULL, sync->now, &sync->answer.policy,
			     &sync->answer.has_policy, &e))
		return;
	log_error("sync-policy", json_pack("{s:s}", "error", e.message));
	sync_refuse(sync, 503, "internal", "the Platform cannot do this now");
}

struct policies *policies_new(unsigned fresh_ms)
{
	struct policies *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	p->fresh_ms = fresh_ms ? fresh_ms : FRESH_MS;
	return p;
}

void policies_free(struct policies *p)
{
	if (!p)
		return;
	policy_table_clear(&p->table);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

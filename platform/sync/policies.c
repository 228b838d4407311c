/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/log.h"
#include "sync/sync.h"

/* How long the store is not asked again whether there is anything new. */
enum { FRESH_MS = 1000 };

/* In the order of their targets. */
struct table {
	struct entry {
		struct tg_signed_policy policy;
		uint8_t hash[TG_SHA256_LEN];
	} * entries;
	size_t count, room;
	struct tg_error error;	/* why it could not be filled */
};

struct policies {
	pthread_mutex_t lock;
	int64_t fresh_ms;
	int64_t looked_ms;	/* 0: never */
	int64_t mark;
	struct table table;
};

static void table_clear(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		tg_signed_policy_clear(&table->entries[i].policy);
	free(table->entries);
	*table = (struct table){ 0 };
}

static int table_add(void *arg, const struct store_policy *stored, const struct tg_bytes *document)
{
	struct table *table = arg;
	struct entry *entry;
	int ret;

	if (table->count == table->room) {
		size_t room = table->room ? 2 * table->room : 16;
		struct entry *more = reallocarray(table->entries, room, sizeof(*more));

		if (!more)
			return tg_error(&table->error, -ENOMEM, "out of memory");
		table->entries = more;
		table->room = room;
	}
	entry = &table->entries[table->count];
	ret = tg_signed_policy_decode(document->data, document->len, &entry->policy, &table->error);
	if (ret)
		return tg_error_prefix(&table->error, ret, "policy version %lld", (long long)stored->version);
	table->count++;
	return tg_signed_policy_hash(&entry->policy, entry->hash, &table->error);
}

static int by_target(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->policy.target, ((const struct entry *)b)->policy.target);
}

static int fill(struct policies *p, struct store *store, struct tg_error *e)
{
	struct table table = { 0 };
	int ret = store_policy_current(store, table_add, &table, e);

	if (!ret && table.error.message[0]) {
		*e = table.error;
		ret = -EBADMSG;
	}
	if (ret) {
		table_clear(&table);
		return ret;
	}
	/* a database's order of texts need not be strcmp's */
	if (table.count)
		qsort(table.entries, table.count, sizeof(table.entries[0]), by_target);
	table_clear(&p->table);
	p->table = table;
	return 0;
}

/* With the lock. */
static int refresh(struct policies *p, struct store *store, struct tg_error *e)
{
	int64_t now_ms = limiter_clock_ms(), version, mark;
	int ret;

	if (p->looked_ms && now_ms - p->looked_ms < p->fresh_ms)
		return 0;
	ret = store_policy_mark(store, &version, &mark, e);
	if (!ret && (!p->looked_ms || mark != p->mark))
		ret = fill(p, store, e);
	if (ret)
		return ret;
	p->mark = mark;
	p->looked_ms = now_ms;
	return 0;
}

static const struct entry *find(const struct policies *p, const char *kind, const char *name, size_t len)
{
	struct entry key;

	if (!p->table.count || snprintf(key.policy.target, sizeof(key.policy.target), "%s:%.*s", kind,
					(int)len, name) >= (int)sizeof(key.policy.target))
		return NULL;
	return bsearch(&key, p->table.entries, p->table.count, sizeof(key), by_target);
}

static const struct entry *newest_label(const struct policies *p, const char *labels)
{
	const struct entry *best = NULL;
	size_t len;

	for (; *labels; labels += len + (labels[len] == ' ')) {
		const struct entry *entry;

		len = strcspn(labels, " ");
		entry = find(p, "label", labels, len);
		if (entry && (!best || entry->policy.version > best->policy.version))
			best = entry;
	}
	return best;
}

static const struct entry *most_specific(const struct policies *p, const struct store_agent *agent)
{
	const struct entry *entry = find(p, "agent", agent->id, strlen(agent->id));

	if (!entry)
		entry = newest_label(p, agent->labels);
	return entry ? entry : find(p, "fleet", agent->fleet, strlen(agent->fleet));
}

/* Not what the device has, would refuse because it is older than that, or could not use any more. */
static bool is_news(const struct entry *entry, const struct tg_sync_policy *has, int64_t now)
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
	const struct entry *entry = NULL;
	int ret;

	pthread_mutex_lock(&p->lock);
	ret = refresh(p, store, e);
	if (!ret)
		entry = most_specific(p, agent);
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
	table_clear(&p->table);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

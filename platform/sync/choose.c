/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/choose.h"

/* ---- the table ---- */

struct filling {
	struct policy_table table;
	struct tg_error error;	/* why it could not be filled */
};

void policy_table_clear(struct policy_table *table)
{
	for (size_t i = 0; i < table->count; i++)
		tg_signed_policy_clear(&table->entries[i].policy);
	free(table->entries);
	*table = (struct policy_table){ 0 };
}

static int add(void *arg, const struct store_policy *stored, const struct tg_bytes *document)
{
	struct filling *filling = arg;
	struct policy_table *table = &filling->table;
	struct policy_entry *entry;
	int ret;

	if (table->count == table->room) {
		size_t room = table->room ? 2 * table->room : 16;
		struct policy_entry *more = reallocarray(table->entries, room, sizeof(*more));

		if (!more)
			return tg_error(&filling->error, -ENOMEM, "out of memory");
		table->entries = more;
		table->room = room;
	}
	entry = &table->entries[table->count];
	ret = tg_signed_policy_decode(document->data, document->len, &entry->policy, &filling->error);
	if (ret)
		return tg_error_prefix(&filling->error, ret, "policy version %lld",
				       (long long)stored->version);
	table->count++;
	return tg_signed_policy_hash(&entry->policy, entry->hash, &filling->error);
}

static int by_target(const void *a, const void *b)
{
	return strcmp(((const struct policy_entry *)a)->policy.target,
		      ((const struct policy_entry *)b)->policy.target);
}

int policy_table_load(struct policy_table *table, struct store *store, struct tg_error *e)
{
	struct filling filling = { .table = { 0 } };
	int ret = store_policy_current(store, add, &filling, e);

	if (!ret && filling.error.message[0]) {
		*e = filling.error;
		ret = -EBADMSG;
	}
	if (ret) {
		policy_table_clear(&filling.table);
		return ret;
	}
	/* a database's order of texts need not be strcmp's */
	if (filling.table.count)
		qsort(filling.table.entries, filling.table.count, sizeof(filling.table.entries[0]),
		      by_target);
	policy_table_clear(table);
	*table = filling.table;
	return 0;
}

/* ---- the choice ---- */

static const struct policy_entry *find(const struct policy_table *table, const char *kind, const char *name,
				       size_t len)
{
	struct policy_entry key;

	if (!table->count || snprintf(key.policy.target, sizeof(key.policy.target), "%s:%.*s", kind, (int)len,
				      name) >= (int)sizeof(key.policy.target))
		return NULL;
	return bsearch(&key, table->entries, table->count, sizeof(key), by_target);
}

/* Of two the newer one; each may be NULL. */
static const struct policy_entry *newer(const struct policy_entry *a, const struct policy_entry *b)
{
	return !a || (b && b->policy.version > a->policy.version) ? b : a;
}

static const struct policy_entry *if_lockdown(const struct policy_entry *entry)
{
	return entry && entry->policy.kind == TG_POLICY_LOCKDOWN ? entry : NULL;
}

const struct policy_entry *policy_table_choose(const struct policy_table *table,
					       const struct store_agent *agent,
					       const struct policy_entry **ret_specific)
{
	const struct policy_entry *own = find(table, "agent", agent->id, strlen(agent->id));
	const struct policy_entry *fleet = find(table, "fleet", agent->fleet, strlen(agent->fleet));
	const struct policy_entry *lockdown = newer(if_lockdown(own), if_lockdown(fleet));
	const struct policy_entry *label = NULL, *specific;
	size_t len;

	for (const char *name = agent->labels; *name; name += len + (name[len] == ' ')) {
		const struct policy_entry *entry;

		len = strcspn(name, " ");
		entry = find(table, "label", name, len);
		label = newer(label, entry);
		lockdown = newer(lockdown, if_lockdown(entry));
	}
	specific = own ? own : label ? label : fleet;
	if (ret_specific)
		*ret_specific = specific;
	return newer(specific, lockdown);
}

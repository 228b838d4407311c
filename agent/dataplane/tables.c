/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "dataplane/dataplane.h"

static int put(const struct dataplane *dp, enum dp_map map, const void *key, const void *value,
	       struct tg_error *e)
{
	if (bpf_map_update_elem(dp->maps[map], key, value, BPF_ANY))
		return tg_error(e, -errno, "cannot write map %s of %s: %s", dp_map_names[map], dp->tunnel,
				strerror(errno));
	return 0;
}

/* Keys of both tries begin alike. */
struct lpm_head {
	uint32_t prefixlen;
	uint16_t slot, side;
};

/* Removes the entries of one slot from a trie. Deleting while walking would restart the walk: collect first.
 */
static int clear_slot(const struct dataplane *dp, enum dp_map map, size_t key_size, uint16_t slot,
		      struct tg_error *e)
{
	uint8_t *keys = malloc((size_t)TG_MAX_PREFIXES * key_size), *last = NULL;
	struct lpm_head head;
	uint8_t key[sizeof(struct tg_lpm6_key)], next[sizeof(struct tg_lpm6_key)];
	size_t count = 0;
	int ret = 0;

	if (!keys)
		return tg_error(e, -ENOMEM, "out of memory");
	while (count < TG_MAX_PREFIXES && !bpf_map_get_next_key(dp->maps[map], last, next)) {
		memcpy(&head, next, sizeof(head));
		if (head.slot == slot)
			memcpy(keys + count++ * key_size, next, key_size);
		memcpy(key, next, key_size);
		last = key;
	}
	for (size_t i = 0; i < count && !ret; i++)
		if (bpf_map_delete_elem(dp->maps[map], keys + i * key_size) && errno != ENOENT)
			ret = tg_error(e, -errno, "cannot clear map %s: %s", dp_map_names[map],
				       strerror(errno));
	free(keys);
	return ret;
}

/* A peer stands in the trie with its number, plus 1. */
static struct tg_rule_set value_of(const struct tg_compiled_prefix *p, const unsigned *peer_numbers)
{
	struct tg_rule_set set = p->set;

	if (p->side == TG_LPM_ALLOWED)
		set.rules = (peer_numbers ? peer_numbers[p->peer] : p->peer) + 1ull;
	return set;
}

static int put_prefix(const struct dataplane *dp, const struct tg_compiled_prefix *p, uint16_t slot,
		      const unsigned *peer_numbers, struct tg_error *e)
{
	struct tg_rule_set value = value_of(p, peer_numbers);
	struct tg_lpm4_key key4 = { .prefixlen = 32u + p->cidr.length, .slot = slot, .side = p->side };
	struct tg_lpm6_key key6 = { .prefixlen = 32u + p->cidr.length, .slot = slot, .side = p->side };

	if (p->cidr.family == AF_INET) {
		memcpy(key4.addr, p->cidr.addr, sizeof(key4.addr));
		return put(dp, DP_RULES4, &key4, &value, e);
	}
	memcpy(key6.addr, p->cidr.addr, sizeof(key6.addr));
	return put(dp, DP_RULES6, &key6, &value, e);
}

static int put_classes(const struct dataplane *dp, const struct tg_compiled *c, const unsigned *queue_ids,
		       uint32_t slot, struct tg_error *e)
{
	for (uint32_t i = 0; i < TG_MAX_CLASSES; i++) {
		uint32_t index = slot * TG_MAX_CLASSES + i;
		struct tg_class class = { 0 };
		int ret;

		if (i < c->config.class_count) {
			class = c->classes[i];
			if (class.queue != TG_NO_QUEUE)
				class.queue = queue_ids[class.queue];
		}
		ret = put(dp, DP_CLASSES, &index, &class, e);
		if (ret)
			return ret;
	}
	return 0;
}

static int put_rules(const struct dataplane *dp, const struct tg_compiled *c, uint32_t slot,
		     const unsigned *peer_numbers, struct tg_error *e)
{
	int ret = 0;

	for (uint32_t i = 0; i < c->config.rule_count && !ret; i++) {
		uint32_t index = slot * TG_MAX_RULES + i;

		ret = put(dp, DP_RULES, &index, &c->rules[i], e);
	}
	for (size_t i = 0; i < c->prefix_count && !ret; i++)
		ret = put_prefix(dp, &c->prefixes[i], (uint16_t)slot, peer_numbers, e);
	return ret;
}

int dataplane_generation(const struct dataplane *dp, uint64_t *ret_generation, struct tg_error *e)
{
	struct tg_policy_word word;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(dp->maps[DP_POLICY], &zero, &word))
		return tg_error(e, -errno, "cannot read map policy of %s: %s", dp->tunnel, strerror(errno));
	*ret_generation = word.generation;
	return 0;
}

int dataplane_switch(const struct dataplane *dp, const struct tg_compiled *compiled,
		     const unsigned *queue_ids, const unsigned *peer_numbers, uint64_t *ret_generation,
		     struct tg_error *e)
{
	struct tg_policy_word word;
	uint32_t zero = 0, slot;
	uint64_t generation;
	int ret;

	ret = dataplane_generation(dp, &generation, e);
	if (ret)
		return ret;
	word.generation = generation + 1;
	slot = word.generation & 1;
	ret = clear_slot(dp, DP_RULES4, sizeof(struct tg_lpm4_key), (uint16_t)slot, e);
	if (!ret)
		ret = clear_slot(dp, DP_RULES6, sizeof(struct tg_lpm6_key), (uint16_t)slot, e);
	if (!ret)
		ret = put_classes(dp, compiled, queue_ids, slot, e);
	if (!ret)
		ret = put_rules(dp, compiled, slot, peer_numbers, e);
	if (!ret)
		ret = put(dp, DP_CONFIG, &slot, &compiled->config, e);
	if (!ret)
		ret = put(dp, DP_POLICY, &zero, &word, e);
	if (!ret)
		*ret_generation = word.generation;
	return ret;
}

int dataplane_set_devices(const struct dataplane *dp, const struct tg_devices *devices, struct tg_error *e)
{
	uint32_t zero = 0;

	return put(dp, DP_DEVICES, &zero, devices, e);
}

int dataplane_devices_get(const struct dataplane *dp, struct tg_devices *ret_devices, struct tg_error *e)
{
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(dp->maps[DP_DEVICES], &zero, ret_devices))
		return tg_error(e, -errno, "cannot read map devices of %s: %s", dp->tunnel, strerror(errno));
	return 0;
}

int dataplane_budget_set(const struct dataplane *dp, const struct tg_budget *budget, struct tg_error *e)
{
	uint32_t zero = 0;

	return put(dp, DP_BUDGET, &zero, budget, e);
}

int dataplane_port_set(const struct dataplane *dp, unsigned ifindex, uint32_t queue, struct tg_error *e)
{
	struct tg_port_key key = { .ifindex = ifindex };
	struct tg_port port = { .queue = queue };

	return put(dp, DP_PORTS, &key, &port, e);
}

int dataplane_port_clear(const struct dataplane *dp, unsigned ifindex, struct tg_error *e)
{
	struct tg_port_key key = { .ifindex = ifindex };

	if (bpf_map_delete_elem(dp->maps[DP_PORTS], &key) && errno != ENOENT)
		return tg_error(e, -errno, "cannot write map ports of %s: %s", dp->tunnel, strerror(errno));
	return 0;
}

int dataplane_queue_get(const struct dataplane *dp, unsigned id, struct tg_queue *ret_queue,
			struct tg_error *e)
{
	if (bpf_map_lookup_elem(dp->maps[DP_QUEUES], &id, ret_queue))
		return tg_error(e, -errno, "cannot read map queues of %s: %s", dp->tunnel, strerror(errno));
	return 0;
}

int dataplane_queue_set(const struct dataplane *dp, unsigned id, const struct tg_queue *queue,
			struct tg_error *e)
{
	return put(dp, DP_QUEUES, &id, queue, e);
}

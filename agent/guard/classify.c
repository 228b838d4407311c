/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/classify.h"
#include "guard/flowhash.h"

enum {
	FLOWS = 4096,
	EARLY_SEGMENTS = 64,
	CACHE_SIZE = 1024,	/* a power of two */
};

/* Long enough for what is queued already, short enough that ports are not used again by another program. */
#define CACHE_NS 100000000ull

struct cached {
	struct tg_flow_key key;
	uint64_t decided_ns;	/* 0 = empty */
	uint32_t mark, uid;
	struct decision decision;
};

struct classifier {
	const struct tg_policy *policy;
	struct decide_ops ops;
	struct tracker *tracker;
	uint64_t seed;
	bool has_names;		/* some rule of the policy asks for one */
	struct cached cache[CACHE_SIZE];
};

static struct cached *cache_slot(struct classifier *c, const struct tg_flow_key *key)
{
	return &c->cache[flow_hash(key, c->seed) & (CACHE_SIZE - 1)];
}

static bool cache_holds(const struct cached *slot, const struct classify_input *in, const struct packet *p)
{
	return slot->decided_ns && in->now - slot->decided_ns < CACHE_NS && slot->mark == in->mark &&
	       slot->uid == in->uid && !memcmp(&slot->key, &p->key, sizeof(p->key));
}

static void cache_store(struct cached *slot, const struct classify_input *in,
			const struct classify_output *out)
{
	slot->key = out->packet.key;
	slot->decided_ns = in->now;
	slot->mark = in->mark;
	slot->uid = in->uid;
	slot->decision = out->decision;
}

static enum classify_reason rule_reason(const struct tg_policy_rule *rule)
{
	if (rule->sni)
		return CLASSIFY_SNI;
	if (rule->cgroup)
		return CLASSIFY_CGROUP;
	return rule->has_uid ? CLASSIFY_UID : CLASSIFY_RULE;
}

static enum classify_reason ask(struct classifier *c, const struct decide_facts *facts,
				struct decision *decision)
{
	switch (decide(c->policy, &c->ops, facts, decision)) {
	case DECIDE_WAIT:
		return CLASSIFY_WAIT;
	case DECIDE_RULE:
		return rule_reason(&c->policy->rules[decision->rule]);
	default:
		return CLASSIFY_DEFAULT;
	}
}

/* The name is asked for only when a rule waits for it: most flows never enter the tracker. */
static enum classify_reason classify_flow(struct classifier *c, const struct classify_input *in,
					  struct classify_output *out)
{
	bool tcp = out->packet.key.proto == IPPROTO_TCP;
	struct decide_facts facts = {
		.key = &out->packet.key,
		.mark = in->mark,
		.local = in->local,
		.has_uid = in->has_uid,
		.uid = in->uid,
		.tunnel = in->tunnel,
		.name = tcp && c->has_names ? DECIDE_NAME_UNKNOWN : DECIDE_NAME_NONE,
	};
	enum classify_reason reason = ask(c, &facts, &out->decision);

	if (reason == CLASSIFY_WAIT) {
		switch (tracker_packet(c->tracker, &out->packet, in->now, &facts.host)) {
		case TRACKER_WAIT:
			return reason;
		case TRACKER_NAMED:
			facts.name = DECIDE_NAME_KNOWN;
			out->host = facts.host;
			break;
		case TRACKER_NAMELESS:
			facts.name = DECIDE_NAME_NONE;
			break;
		}
		reason = ask(c, &facts, &out->decision);
	}
	return reason;
}

enum classify_reason classify_packet(struct classifier *c, const struct classify_input *in,
				     struct classify_output *out)
{
	enum classify_reason reason;
	struct cached *slot;

	memset(&out->decision, 0, sizeof(out->decision));
	out->host = NULL;
	switch (packet_parse(in->data, in->size, in->total, &out->packet)) {
	case PACKET_FRAGMENT:
		return CLASSIFY_FRAGMENT;
	case PACKET_ICMP_ERROR:
		return CLASSIFY_ICMP_ERROR;
	case PACKET_MALFORMED:
		return CLASSIFY_MALFORMED;
	case PACKET_FLOW:
		break;
	}
	slot = cache_slot(c, &out->packet.key);
	/* a new connection, perhaps on the ports of an old one */
	if (out->packet.tcp_flags & PACKET_SYN)
		slot->decided_ns = 0;
	if (cache_holds(slot, in, &out->packet)) {
		out->decision = slot->decision;
		return CLASSIFY_REPEATED;
	}
	reason = classify_flow(c, in, out);
	if (classify_is_decided(reason))
		cache_store(slot, in, out);
	return reason;
}

void classifier_set_policy(struct classifier *c, const struct tg_policy *policy)
{
	c->policy = policy;
	c->has_names = false;
	for (size_t i = 0; i < policy->rule_count; i++)
		c->has_names = c->has_names || policy->rules[i].sni;
	memset(c->cache, 0, sizeof(c->cache));
}

void classifier_expire(struct classifier *c, uint64_t now)
{
	tracker_expire(c->tracker, now);
}

const struct tracker *classifier_tracker(const struct classifier *c)
{
	return c->tracker;
}

const char *classify_reason_name(enum classify_reason reason)
{
	static const char *const names[CLASSIFY_REASONS] = {
		[CLASSIFY_SNI] = "sni",
		[CLASSIFY_CGROUP] = "cgroup",
		[CLASSIFY_UID] = "uid",
		[CLASSIFY_RULE] = "rule",
		[CLASSIFY_DEFAULT] = "default",
		[CLASSIFY_REPEATED] = "repeated",
		[CLASSIFY_WAIT] = "wait",
		[CLASSIFY_FRAGMENT] = "fragment",
		[CLASSIFY_ICMP_ERROR] = "icmp_error",
		[CLASSIFY_MALFORMED] = "malformed",
	};

	return names[reason];
}

int classifier_new(const struct decide_ops *ops, uint64_t seed, struct classifier **ret_classifier)
{
	struct classifier *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return -ENOMEM;
	c->ops = *ops;
	c->seed = seed;
	ret = tracker_new(FLOWS, EARLY_SEGMENTS, seed, &c->tracker);
	if (ret) {
		free(c);
		return ret;
	}
	*ret_classifier = c;
	return 0;
}

void classifier_free(struct classifier *c)
{
	if (!c)
		return;
	tracker_free(c->tracker);
	free(c);
}

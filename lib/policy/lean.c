/* SPDX-License-Identifier: BSD-3-Clause */
/* What a policy says of `lean`. */
#include <string.h>

#include "policy/parts.h"
#include "tensorguard/aggfrag.h"
#include "tensorguard/compile.h"
#include "util/parse.h"

#define NS_PER_MS 1000000ull
#define NS_PER_S (1000 * NS_PER_MS)
#define MIN_TICK_NS (2 * NS_PER_MS)
#define MAX_TICK_NS NS_PER_S
#define MIN_GAP_NS 500000ull	/* between two slots */
#define MAX_LEARN_NS (60 * NS_PER_S)
#define MAX_SESSION_NS (24 * 3600 * NS_PER_S)
#define MAX_BUDGET_NS (10 * NS_PER_S)
#define DEFAULT_LEARN_NS (3 * NS_PER_S)
#define DEFAULT_LEARN_PERIOD_NS (5 * NS_PER_MS)
#define DEFAULT_BUDGET_NS (100 * NS_PER_MS)
enum {
	MIN_CELL = 96,		/* beside the headers of a shared cell it must carry something */
	DOWN_LEARNS = 2,	/* times as long as up */
};

static int parse_offsets(struct conf_group *g, const char *key, const struct tg_policy_class *class,
			 struct tg_policy_slots *ret_slots)
{
	char least[TG_DURATION_TEXT_LEN], tick[TG_DURATION_TEXT_LEN];
	const config_setting_t *s, *elem = NULL;
	struct tg_policy_slots slots = { .count = 0 };
	int ret;

	ret = conf_require(g, key, &s);
	if (!ret)
		ret = conf_list_length(g->conf, s, TG_LEAN_SLOTS, &slots.count);
	for (size_t i = 0; i < slots.count && !ret; i++) {
		elem = config_setting_get_elem(s, (unsigned)i);
		ret = conf_duration(g->conf, elem, 0, class->tick_ns - 1, &slots.at_ns[i]);
		if (!ret && i && slots.at_ns[i] < slots.at_ns[i - 1] + MIN_GAP_NS)
			ret = conf_expected(g->conf, elem, "slots in order, at least %s apart",
					    tg_duration_text(MIN_GAP_NS, least));
	}
	if (!ret && slots.at_ns[0] + class->tick_ns - slots.at_ns[slots.count - 1] < MIN_GAP_NS)
		ret = conf_expected(
			g->conf, elem, "at least %s up to the first slot of the next tick, which is %s long",
			tg_duration_text(MIN_GAP_NS, least), tg_duration_text(class->tick_ns, tick));
	if (!ret)
		*ret_slots = slots;
	return ret;
}

static int parse_times(struct conf_group *g, struct tg_policy_class *class)
{
	char text[TG_DURATION_TEXT_LEN];
	int ret;

	class->learn_ns = DEFAULT_LEARN_NS;
	class->period_ns = DEFAULT_LEARN_PERIOD_NS;
	ret = conf_get_duration(g, "learn_period", CONF_OPTIONAL, NS_PER_MS, class->tick_ns,
				&class->period_ns);
	if (!ret)
		ret = conf_get_duration(g, "learn", CONF_OPTIONAL, class->period_ns, MAX_LEARN_NS,
					&class->learn_ns);
	if (!ret)
		ret = conf_get_duration(g, "session", CONF_REQUIRED, NS_PER_S, MAX_SESSION_NS,
					&class->session_ns);
	if (!ret && class->session_ns < DOWN_LEARNS * class->learn_ns + class->tick_ns)
		ret = conf_expected(g->conf, conf_get(g, "session"), "more than twice learn, %s, and a tick",
				    tg_duration_text(DOWN_LEARNS * class->learn_ns, text));
	if (!ret)
		ret = conf_get_duration(g, "idle", CONF_REQUIRED, class->tick_ns, MAX_SESSION_NS,
					&class->idle_ns);
	if (!ret && class->idle_ns >= class->session_ns)
		ret = conf_expected(g->conf, conf_get(g, "idle"), "less than session");
	return ret;
}

int policy_parse_lean(struct conf_group *g, const struct tg_tunnel *t, struct tg_policy_class *class)
{
	int64_t mtu = class->cell;
	int ret, overflow = TG_OVERFLOW_DROP;

	if (class->cell < MIN_CELL)
		return conf_expected(g->conf, conf_get(g, "cell"), "at least %d", MIN_CELL);
	ret = conf_get_duration(g, "tick", CONF_REQUIRED, MIN_TICK_NS, MAX_TICK_NS, &class->tick_ns);
	if (!ret)
		ret = parse_offsets(g, "up", class, &class->up);
	if (!ret)
		ret = parse_offsets(g, "down", class, &class->down);
	if (!ret)
		ret = parse_times(g, class);
	class->budget_ns = class->tick_ns > DEFAULT_BUDGET_NS ? class->tick_ns : DEFAULT_BUDGET_NS;
	if (!ret)
		ret = conf_get_duration(g, "delay_budget", CONF_OPTIONAL, class->tick_ns, MAX_BUDGET_NS,
					&class->budget_ns);
	if (!ret)
		ret = conf_get_word(g, "overflow", CONF_OPTIONAL, policy_overflows, &overflow);
	if (!ret)
		ret = conf_get_integer(g, "packet", CONF_OPTIONAL, class->cell, t->mtu, &mtu);
	class->overflow = (enum tg_overflow)overflow;
	class->packet = (unsigned)mtu;
	return ret;
}

const struct tg_policy_slots *tg_lean_slots(const struct tg_policy *policy,
					    const struct tg_policy_class *class)
{
	return policy->role == TG_ROLE_EDGE ? &class->up : &class->down;
}

/*
 * The robot's tick times what goes up, whatever the network does; what comes down answers that. So up is
 * frozen first, and down learns once more as long, from answers to what comes by the pattern already: its
 * phase would be another one.
 */
uint64_t tg_lean_learn_ns(const struct tg_policy *policy, const struct tg_policy_class *class)
{
	return policy->role == TG_ROLE_EDGE ? class->learn_ns : DOWN_LEARNS * class->learn_ns;
}

unsigned tg_class_packet(const struct tg_policy_class *class)
{
	return class->packet > class->cell ? class->packet : class->cell;
}

void policy_compile_lean(const struct tg_policy *policy, const struct tg_policy_class *class,
			 struct tg_schedule *s)
{
	const struct tg_policy_slots *slots = tg_lean_slots(policy, class);
	struct tg_queue *q = &s->queue;
	struct tg_lean *l = &s->lean;
	uint64_t learn_ns = tg_lean_learn_ns(policy, class);
	uint64_t ticks = (class->session_ns - learn_ns) / class->tick_ns;

	l->tick_ns = class->tick_ns;
	l->learn_period_ns = class->period_ns;
	l->learn_slots = (uint32_t)(learn_ns / class->period_ns);
	l->listen_slots = (uint32_t)(class->learn_ns / class->period_ns);
	l->first_slots = l->learn_slots + (uint32_t)(ticks * slots->count);
	l->more_slots = (uint32_t)(class->session_ns / class->tick_ns * slots->count);
	l->slot_count = (uint32_t)slots->count;
	for (size_t i = 0; i < slots->count; i++)
		l->slot_ns[i] = (uint32_t)slots->at_ns[i];
	l->mtu = tg_class_packet(class);
	q->period_ns = class->tick_ns / slots->count;
	q->slots = l->first_slots;
	policy_compile_backlog(class, q);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "policy/parts.h"
#include "util/parse.h"

#define MIN_PERIOD_NS 100000ull
#define MAX_PERIOD_NS 1000000000ull
#define MAX_SESSION_NS (24 * 3600 * 1000000000ull) /* in the shortest periods still below 2^32 slots */
#define MAX_BUDGET_NS (10 * 1000000000ull)
#define DEFAULT_BUDGET_NS (100 * 1000000ull)

/* WireGuard pads to 16 bytes, except at the MTU: other sizes would change on their way. */
static bool size_survives(int64_t size, const struct tg_tunnel *t)
{
	return size % 16 == 0 || size == t->mtu;
}

static int parse_size(const struct conf *c, const config_setting_t *s, const struct tg_tunnel *t,
		      unsigned *ret_size)
{
	int64_t size;
	int ret;

	ret = conf_integer(c, s, TG_MIN_CELL, t->mtu, &size);
	if (ret)
		return ret;
	if (!c->rules_only && !size_survives(size, t))
		return conf_expected(c, s, "a multiple of 16 or the tunnel's mtu, %u", t->mtu);
	*ret_size = (unsigned)size;
	return 0;
}

static int parse_buckets(struct conf_group *g, const struct tg_tunnel *t, struct tg_policy_class *class)
{
	const config_setting_t *s, *elem;
	size_t count = 0;
	int ret;

	ret = conf_require(g, "buckets", &s);
	if (!ret)
		ret = conf_list_length(g->conf, s, TG_MAX_BUCKETS, &count);
	if (ret)
		return ret;
	for (size_t i = 0; i < count; i++) {
		elem = config_setting_get_elem(s, (unsigned)i);
		ret = parse_size(g->conf, elem, t, &class->buckets[i]);
		if (ret)
			return ret;
		if (i && class->buckets[i] <= class->buckets[i - 1])
			return conf_expected(g->conf, elem, "sizes in ascending order");
	}
	if (class->buckets[count - 1] != class->cell)
		return conf_expected(g->conf, config_setting_get_elem(s, (unsigned)count - 1),
				     "the last bucket to equal cell, %u", class->cell);
	class->bucket_count = count;
	return 0;
}

/* Dummies are of that size, so nothing can be any other. */
static int parse_cell(struct conf_group *g, const struct tg_tunnel *t, struct tg_policy_class *class)
{
	const config_setting_t *s;
	int ret = conf_require(g, "cell", &s);

	class->pad_mode = TG_PAD_CELL;
	return ret ? ret : parse_size(g->conf, s, t, &class->cell);
}

/* `keys` ends with "buckets", which only pad = "buckets" has. */
static int parse_padding(struct conf_group *g, const struct tg_tunnel *t, const char *const *keys,
			 size_t count, struct tg_policy_class *class)
{
	const config_setting_t *s;
	int ret, mode = TG_PAD_CELL;

	ret = conf_get_word(g, "pad", CONF_OPTIONAL, policy_pad_modes, &mode);
	if (!ret)
		ret = conf_check_keys(g, keys, count - (mode != TG_PAD_BUCKETS));
	if (ret)
		return ret;
	class->pad_mode = (enum tg_pad_mode)mode;
	class->cell = t->mtu;
	s = conf_get(g, "cell");
	if (s)
		ret = parse_size(g->conf, s, t, &class->cell);
	if (!ret && mode == TG_PAD_BUCKETS)
		ret = parse_buckets(g, t, class);
	return ret;
}

static int parse_pad(struct conf_group *g, const struct tg_tunnel *t, struct tg_policy_class *class)
{
	static const char *const keys[] = { "name", "defence", "pad", "cell", "buckets" };

	return parse_padding(g, t, keys, CONF_KEY_COUNT(keys), class);
}

/* It sends no dummies: any sizes do. */
static int parse_jitter(struct conf_group *g, const struct tg_tunnel *t, struct tg_policy_class *class)
{
	static const char *const keys[] = { "name",         "defence", "distribution", "delay",
					    "delay_budget", "pad",     "cell",         "buckets" };
	int ret = parse_padding(g, t, keys, CONF_KEY_COUNT(keys), class);

	return ret ? ret : policy_parse_jitter(g, class);
}

static int parse_regulator(struct conf_group *g, const struct tg_tunnel *t, struct tg_policy_class *class)
{
	static const char *const keys[] = { "name",      "defence", "cell",         "rate", "decay",
					    "threshold", "dummies", "uplink_ratio", "hold", "idle" };
	int ret;

	ret = conf_check_keys(g, keys, CONF_KEY_COUNT(keys));
	if (!ret)
		ret = parse_cell(g, t, class);
	return ret ? ret : policy_parse_regulator(g, class);
}

static int parse_lean(struct conf_group *g, const struct tg_tunnel *t, struct tg_policy_class *class)
{
	static const char *const keys[] = { "name", "defence",      "cell",    "packet",       "tick",
					    "up",   "down",         "learn",   "learn_period", "session",
					    "idle", "delay_budget", "overflow" };
	int ret;

	ret = conf_check_keys(g, keys, CONF_KEY_COUNT(keys));
	if (!ret)
		ret = parse_cell(g, t, class);
	return ret ? ret : policy_parse_lean(g, t, class);
}

static int parse_session(struct conf_group *g, struct tg_policy_class *class)
{
	const config_setting_t *s;
	char period[TG_DURATION_TEXT_LEN];
	int ret;

	ret = conf_require(g, "session", &s);
	if (ret)
		return ret;
	if (config_setting_get_string(s) && !strcmp(config_setting_get_string(s), "always"))
		return 0;
	ret = conf_duration(g->conf, s, class->period_ns, MAX_SESSION_NS, &class->session_ns);
	if (ret)
		return ret;
	if (class->session_ns % class->period_ns)
		return conf_expected(g->conf, s, "a whole multiple of period, %s",
				     tg_duration_text(class->period_ns, period));
	return 0;
}

/* An endless session has no end that silence could bring. */
static int parse_idle(struct conf_group *g, struct tg_policy_class *class)
{
	const config_setting_t *s = conf_get(g, "idle");
	int ret;

	if (!class->session_ns)
		return s ? conf_fail(g->conf, s,
				     "idle contradicts session = \"always\", expected only one of them")
			 : 0;
	ret = conf_require(g, "idle", &s);
	if (!ret)
		ret = conf_duration(g->conf, s, class->period_ns, MAX_SESSION_NS, &class->idle_ns);
	if (!ret && class->idle_ns >= class->session_ns)
		ret = conf_expected(g->conf, s, "less than session");
	return ret;
}

static int parse_constant(struct conf_group *g, const struct tg_tunnel *t, struct tg_policy_class *class)
{
	static const char *const keys[] = { "name", "defence",      "cell",     "period", "session",
					    "idle", "delay_budget", "overflow", "dither" };
	int ret, overflow = TG_OVERFLOW_DROP;

	ret = conf_check_keys(g, keys, CONF_KEY_COUNT(keys));
	if (!ret)
		ret = parse_cell(g, t, class);
	if (!ret)
		ret = conf_get_duration(g, "period", CONF_REQUIRED, MIN_PERIOD_NS, MAX_PERIOD_NS,
					&class->period_ns);
	if (!ret)
		ret = parse_session(g, class);
	if (!ret)
		ret = parse_idle(g, class);
	if (ret)
		return ret;
	class->budget_ns = class->period_ns > DEFAULT_BUDGET_NS ? class->period_ns : DEFAULT_BUDGET_NS;
	ret = conf_get_duration(g, "delay_budget", CONF_OPTIONAL, class->period_ns, MAX_BUDGET_NS,
				&class->budget_ns);
	if (!ret)
		ret = conf_get_word(g, "overflow", CONF_OPTIONAL, policy_overflows, &overflow);
	class->overflow = (enum tg_overflow)overflow;
	return ret ? ret : conf_get_bool(g, "dither", &class->dither);
}

/* A dummy has the size of the cell: other sizes would tell which packets are real. */
static int parse_metronome(struct conf_group *g, const struct tg_tunnel *t, struct tg_policy_class *class)
{
	static const char *const front[] = { "name",  "defence", "pad",    "cell", "tick",
					     "clock", "dummies", "window", "idle" };
	static const char *const wtfpad[] = { "name", "defence", "pad",   "cell",
					      "tick", "clock",   "burst", "gap" };
	bool is_front = class->defence == TG_DEFENCE_FRONT;
	const config_setting_t *s;
	int ret, mode = TG_PAD_CELL;

	ret = is_front ? conf_check_keys(g, front, CONF_KEY_COUNT(front))
		       : conf_check_keys(g, wtfpad, CONF_KEY_COUNT(wtfpad));
	if (!ret)
		ret = conf_get_word(g, "pad", CONF_OPTIONAL, policy_pad_modes, &mode);
	if (!ret && mode != TG_PAD_CELL)
		ret = conf_expected(
			g->conf, conf_get(g, "pad"),
			"\"cell\", the size of the dummies: any other tells which packets are real");
	if (ret)
		return ret;
	class->pad_mode = TG_PAD_CELL;
	class->cell = t->mtu;
	s = conf_get(g, "cell");
	if (s)
		ret = parse_size(g->conf, s, t, &class->cell);
	if (!ret)
		ret = is_front ? policy_parse_front(g, class) : policy_parse_wtfpad(g, class);
	return ret;
}

/* Without these two nothing is known of the others: a key that no class has is the better thing to name. */
static int check_head(const struct conf_group *g)
{
	static const char *const keys[] = {
		"name",    "defence", "pad",          "cell",     "buckets",      "period",
		"session", "idle",    "delay_budget", "overflow", "tick",         "clock",
		"dummies", "window",  "burst",        "gap",      "distribution", "delay",
		"rate",    "decay",   "threshold",    "hold",     "uplink_ratio", "dither",
		"packet",  "up",      "down",         "learn",    "learn_period"
	};

	if (conf_get(g, "name") && conf_get(g, "defence"))
		return 0;
	return conf_check_keys(g, keys, CONF_KEY_COUNT(keys));
}

int policy_parse_class(struct conf *c, const config_setting_t *s, const struct tg_tunnel *t,
		       struct tg_policy_class *class)
{
	struct conf_group g;
	int ret, defence = 0;

	class->line = config_setting_source_line(s);
	ret = conf_group_begin(c, s, "class", &g);
	if (!ret)
		ret = check_head(&g);
	if (!ret)
		ret = conf_get_name(&g, class->name, sizeof(class->name));
	if (ret)
		return ret;
	snprintf(g.what, sizeof(g.what), "class '%s'", class->name);
	ret = conf_get_word(&g, "defence", CONF_REQUIRED, policy_defences, &defence);
	if (ret)
		return ret;
	class->defence = (enum tg_defence)defence;
	snprintf(g.what, sizeof(g.what), "%s class '%s'", tg_defence_name(class->defence), class->name);
	if (tg_defence_needs_agent(class->defence) && c->out->engine == TG_ENGINE_KERNEL)
		return conf_expected(
			c, conf_get(&g, "defence"),
			"another one under engine = \"kernel\": this one needs engine = \"queue\" or "
			"\"auto\"");
	switch (class->defence) {
	case TG_DEFENCE_PAD:
		return parse_pad(&g, t, class);
	case TG_DEFENCE_CONSTANT:
		return parse_constant(&g, t, class);
	case TG_DEFENCE_FRONT:
	case TG_DEFENCE_WTF_PAD:
		return parse_metronome(&g, t, class);
	case TG_DEFENCE_JITTER:
		return parse_jitter(&g, t, class);
	case TG_DEFENCE_REGULATOR:
		return parse_regulator(&g, t, class);
	case TG_DEFENCE_LEAN:
		return parse_lean(&g, t, class);
	}
	return -EINVAL;
}

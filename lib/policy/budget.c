/* SPDX-License-Identifier: BSD-3-Clause */
/* What a tunnel's dummies may cost. */
#include "policy/parts.h"

#define MAX_DAY_BYTES 1000000000000000ll
#define MAX_LINK_KBIT 100000000ll

/* A share of nothing, or a link of which nothing is said, means nothing. */
static int parse_share(struct conf_group *g, struct tg_policy_budget *b)
{
	const config_setting_t *share = conf_get(g, "dummy_share"), *link = conf_get(g, "link_kbit_s");
	int64_t percent = 0, rate = 0;
	int ret;

	if (!share && !link)
		return 0;
	if (!share || !link)
		return conf_fail(g->conf, g->set,
				 "no key '%s' in %s, expected dummy_share and link_kbit_s together",
				 share ? "link_kbit_s" : "dummy_share", g->what);
	ret = conf_integer(g->conf, share, 1, 100, &percent);
	if (!ret)
		ret = conf_integer(g->conf, link, 1, MAX_LINK_KBIT, &rate);
	b->dummy_share = (unsigned)percent;
	b->link_kbit_s = (uint64_t)rate;
	return ret;
}

static int parse_day(struct conf_group *g, const char *key, bool *ret_limited, uint64_t *ret_bytes)
{
	int64_t bytes = -1;
	int ret = conf_get_integer(g, key, CONF_OPTIONAL, 0, MAX_DAY_BYTES, &bytes);

	if (ret || bytes < 0)
		return ret;
	*ret_limited = true;
	*ret_bytes = (uint64_t)bytes;
	return 0;
}

static int parse_metered(struct conf_group *g, struct tg_policy_budget *b)
{
	const config_setting_t *s = conf_get(g, "metered");
	int ret = parse_day(g, "metered_dummy_bytes_per_day", &b->metered_limited, &b->metered_bytes);

	if (!ret)
		ret = conf_get_bool(g, "metered", &b->metered);
	if (!ret && b->metered && !b->metered_limited)
		return conf_fail(g->conf, s,
				 "metered without metered_dummy_bytes_per_day, expected both: what dummies "
				 "may cost on a metered link");
	return ret;
}

int policy_parse_budget(struct conf *c, const config_setting_t *s, struct tg_policy_budget *b)
{
	static const char *const keys[] = {
		"dummy_bytes_per_day",         "dummy_share", "link_kbit_s", "metered",
		"metered_dummy_bytes_per_day", "violation"
	};
	int ret, violation = TG_BUDGET_STOP_DUMMIES;
	struct conf_group g;

	ret = conf_group_begin(c, s, "budget", &g);
	if (!ret)
		ret = conf_check_keys(&g, keys, CONF_KEY_COUNT(keys));
	if (!ret)
		ret = parse_day(&g, "dummy_bytes_per_day", &b->day_limited, &b->day_bytes);
	if (!ret)
		ret = parse_share(&g, b);
	if (!ret)
		ret = parse_metered(&g, b);
	if (!ret)
		ret = conf_get_word(&g, "violation", CONF_OPTIONAL, policy_violations, &violation);
	if (ret)
		return ret;
	b->violation = (enum tg_budget_violation)violation;
	if (!b->day_limited && !b->metered_limited && !b->dummy_share)
		return conf_fail(c, s,
				 "no limit in budget, expected dummy_bytes_per_day, dummy_share with "
				 "link_kbit_s, or metered_dummy_bytes_per_day");
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What a policy says of `jitter` and `regulator`, and the schedules of all classes that hold packets. */
#include <math.h>
#include <string.h>

#include "policy/parts.h"
#include "tensorguard/compile.h"
#include "util/parse.h"

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
#define MIN_DELAY_NS (100 * NS_PER_US)
#define MAX_DELAY_NS (10 * NS_PER_S)
#define MAX_THRESHOLD_NS (600 * NS_PER_S)
#define MAX_IDLE_NS (24 * 3600 * NS_PER_S)
#define MILLION 1000000u
enum { MAX_RATE = 10000, MAX_DUMMIES = 10000000, MAX_UPLINK_RATIO = 100 };

/* Packets that one session without slots of its own may hold. */
enum { MOST_HELD = 4096 };

/* ---- reading ---- */

int policy_parse_jitter(struct conf_group *g, struct tg_policy_class *class)
{
	char budget[TG_DURATION_TEXT_LEN];
	int ret, distribution;

	ret = conf_get_word(g, "distribution", CONF_REQUIRED, policy_distributions, &distribution);
	if (!ret)
		ret = conf_get_duration(g, "delay", CONF_REQUIRED, MIN_DELAY_NS, MAX_DELAY_NS,
					&class->delay_ns);
	if (ret)
		return ret;
	class->distribution = (enum tg_distribution)distribution;
	class->budget_ns = class->delay_ns;
	ret = conf_get_duration(g, "delay_budget", CONF_OPTIONAL, MIN_DELAY_NS, MAX_DELAY_NS,
				&class->budget_ns);
	if (!ret && class->delay_ns > class->budget_ns)
		ret = conf_expected(g->conf, conf_get(g, "delay"), "at most delay_budget, %s",
				    tg_duration_text(class->budget_ns, budget));
	return ret;
}

static int parse_rate(struct conf_group *g, struct tg_policy_class *class)
{
	const config_setting_t *decay, *ratio;
	int64_t rate = 0;
	int ret;

	ret = conf_get_integer(g, "rate", CONF_REQUIRED, 1, MAX_RATE, &rate);
	if (!ret)
		ret = conf_require(g, "decay", &decay);
	if (!ret)
		ret = conf_decimal(g->conf, decay, 0.01, 0.999, &class->decay);
	if (!ret)
		ret = conf_require(g, "uplink_ratio", &ratio);
	if (!ret)
		ret = conf_decimal(g->conf, ratio, 1, MAX_UPLINK_RATIO, &class->uplink_ratio);
	if (!ret && (uint64_t)rate * MILLION < class->uplink_ratio)
		ret = conf_expected(g->conf, ratio,
				    "at most rate, %d: the uplink sends a cell per second at least",
				    (int)rate);
	class->rate = (unsigned)rate;
	return ret;
}

int policy_parse_regulator(struct conf_group *g, struct tg_policy_class *class)
{
	int64_t dummies = 0;
	int ret;

	ret = parse_rate(g, class);
	if (!ret)
		ret = conf_get_duration(g, "threshold", CONF_REQUIRED, NS_PER_MS, MAX_THRESHOLD_NS,
					&class->threshold_ns);
	if (!ret)
		ret = conf_get_integer(g, "dummies", CONF_REQUIRED, 1, MAX_DUMMIES, &dummies);
	if (!ret)
		ret = conf_get_duration(g, "hold", CONF_REQUIRED, MIN_DELAY_NS, MAX_DELAY_NS,
					&class->budget_ns);
	if (!ret)
		ret = conf_get_duration(g, "idle", CONF_REQUIRED, NS_PER_MS, MAX_IDLE_NS, &class->idle_ns);
	class->dummies = (unsigned)dummies;
	return ret;
}

/* ---- compiling ---- */

/* The edge sends up. */
double tg_regulator_rate(const struct tg_policy *policy, const struct tg_policy_class *class)
{
	return policy->role == TG_ROLE_EDGE ? class->rate / (class->uplink_ratio / 1e6) : class->rate;
}

static void compile_regulator(const struct tg_policy *policy, const struct tg_policy_class *class,
			      struct tg_regulator *out)
{
	double decay = class->decay / 1e6;

	out->first_ns = (uint64_t)(1e9 / tg_regulator_rate(policy, class) + 0.5);
	out->threshold_ns = class->threshold_ns;
	out->hold_ns = class->budget_ns;
	out->dummies = class->dummies;
	for (unsigned i = 0; i < TG_REGULATOR_BITS; i++)
		out->decay[i] = (uint32_t)(pow(decay, (double)(1u << i) / 1024) * 4294967296.0);
}

void policy_compile_backlog(const struct tg_policy_class *class, struct tg_queue *q)
{
	uint64_t limit = (TG_STRETCH_NS + q->period_ns - 1) / q->period_ns;

	q->budget_cells = (uint32_t)(class->budget_ns / q->period_ns);
	if (limit < TG_STRETCH_CELLS)
		limit = TG_STRETCH_CELLS;
	q->limit_cells = class->overflow == TG_OVERFLOW_STRETCH && limit > q->budget_cells ? (uint32_t)limit
											   : q->budget_cells;
	q->overflow = (uint8_t) class->overflow;
	q->dither = class->dither;
}

static void compile_constant(const struct tg_policy_class *class, struct tg_queue *q)
{
	q->period_ns = class->period_ns;
	q->slots = (uint32_t)(class->session_ns / class->period_ns);
	policy_compile_backlog(class, q);
}

void tg_policy_schedule(const struct tg_policy *policy, const struct tg_policy_class *class,
			struct tg_schedule *ret_schedule)
{
	uint64_t promised_ns = tg_profile_budget_ns(policy->profile);
	struct tg_schedule s = { .defence = class->defence, .budget_ns = class->budget_ns };
	struct tg_queue *q = &s.queue;

	q->idle_ns = class->idle_ns;
	q->guard_ns = (uint32_t)(class->budget_ns < promised_ns ? class->budget_ns : promised_ns);
	q->cell = (uint16_t) class->cell;
	if (class->defence == TG_DEFENCE_CONSTANT) {
		compile_constant(class, q);
		s.budget_ns = (uint64_t)q->budget_cells * q->period_ns;
	} else if (class->defence == TG_DEFENCE_LEAN) {
		policy_compile_lean(policy, class, &s);
	} else {
		q->budget_cells = q->limit_cells = MOST_HELD;
		q->overflow = TG_OVERFLOW_DROP;
	}
	if (class->defence == TG_DEFENCE_JITTER)
		s.jitter = (struct tg_jitter){ .delay_ns = class->delay_ns,
					       .distribution = class->distribution };
	if (class->defence == TG_DEFENCE_REGULATOR) {
		compile_regulator(policy, class, &s.regulator);
		q->period_ns = s.regulator.first_ns;
		q->slots = class->dummies;
	}
	*ret_schedule = s;
}

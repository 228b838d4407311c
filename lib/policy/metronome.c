/* SPDX-License-Identifier: BSD-3-Clause */
/* What a policy says of `front` and `wtf-pad`, and its form in the kernel. */
#include <math.h>
#include <string.h>

#include "policy/parts.h"
#include "shared/exponential.h"
#include "tensorguard/compile.h"

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
#define MIN_TICK_NS (200 * NS_PER_US)
#define MAX_TICK_NS (100 * NS_PER_MS)
#define DEFAULT_TICK_NS NS_PER_MS
#define MAX_WINDOW_NS (600 * NS_PER_S)
#define MAX_IDLE_NS (24 * 3600 * NS_PER_S)
#define MIN_EDGE_NS (100 * NS_PER_US)
#define MAX_EDGE_NS (3600 * NS_PER_S)
enum { MAX_DUMMIES = 100000, MAX_TOKENS = 65535 };

/*
 * Between two packets of a robot's telemetry lie some ten milliseconds. Bursts:
 * a dummy follows mostly where a real packet could have; gaps: a burst of a few
 * dummies. A quarter of the draws is infinity.
 */
static const struct tg_policy_histogram default_burst = {
	.bins = { { 10 * NS_PER_MS, 8 },
		  { 20 * NS_PER_MS, 16 },
		  { 40 * NS_PER_MS, 24 },
		  { 80 * NS_PER_MS, 24 },
		  { 160 * NS_PER_MS, 16 },
		  { 320 * NS_PER_MS, 8 },
		  { 0, 32 } },
	.count = 7,
};

static const struct tg_policy_histogram default_gap = {
	.bins = { { 2 * NS_PER_MS, 8 },
		  { 4 * NS_PER_MS, 16 },
		  { 8 * NS_PER_MS, 24 },
		  { 16 * NS_PER_MS, 24 },
		  { 32 * NS_PER_MS, 16 },
		  { 64 * NS_PER_MS, 8 },
		  { 0, 32 } },
	.count = 7,
};

/* ---- reading ---- */

static int parse_clock(struct conf_group *g, struct tg_policy_class *class)
{
	int ret, clock = TG_CLOCK_CHOICE_AUTO;

	class->tick_ns = DEFAULT_TICK_NS;
	ret = conf_get_duration(g, "tick", CONF_OPTIONAL, MIN_TICK_NS, MAX_TICK_NS, &class->tick_ns);
	if (!ret)
		ret = conf_get_word(g, "clock", CONF_OPTIONAL, policy_clocks, &clock);
	class->clock = (enum tg_clock_choice)clock;
	return ret;
}

static int parse_window(struct conf_group *g, struct tg_policy_class *class)
{
	const config_setting_t *s, *max;
	size_t count;
	int ret;

	ret = conf_require(g, "window", &s);
	if (ret)
		return ret;
	if (conf_list_length(g->conf, s, 2, &count) || count != 2)
		return conf_expected(g->conf, s, "two durations: the shortest and the longest window");
	max = config_setting_get_elem(s, 1);
	ret = conf_duration(g->conf, config_setting_get_elem(s, 0), NS_PER_MS, MAX_WINDOW_NS,
			    &class->window_min_ns);
	if (!ret)
		ret = conf_duration(g->conf, max, NS_PER_MS, MAX_WINDOW_NS, &class->window_max_ns);
	if (!ret && class->window_max_ns < class->window_min_ns)
		ret = conf_expected(g->conf, max, "at least the shortest window");
	return ret;
}

int policy_parse_front(struct conf_group *g, struct tg_policy_class *class)
{
	int64_t dummies = 0;
	int ret;

	ret = parse_clock(g, class);
	if (!ret)
		ret = conf_get_integer(g, "dummies", CONF_REQUIRED, 1, MAX_DUMMIES, &dummies);
	if (!ret)
		ret = parse_window(g, class);
	if (!ret)
		ret = conf_get_duration(g, "idle", CONF_REQUIRED, NS_PER_MS, MAX_IDLE_NS, &class->idle_ns);
	class->dummies = (unsigned)dummies;
	return ret;
}

/* ( "20ms", 16 ); the last one ( "infinity", 32 ) */
static int parse_bin(struct conf *c, const config_setting_t *s, bool last, uint64_t after,
		     struct tg_policy_bin *ret_bin)
{
	const config_setting_t *edge = config_setting_get_elem(s, 0);
	const char *text = edge ? config_setting_get_string(edge) : NULL;
	bool infinity = text && !strcmp(text, "infinity");
	int64_t tokens;
	int ret;

	if (!config_setting_is_list(s) || config_setting_length(s) != 2)
		return conf_expected(c, s, "a bin: ( \"20ms\", 16 ), its upper edge and its tokens");
	if (infinity != last)
		return conf_expected(c, edge,
				     last ? "\"infinity\", without which padding never ends"
					  : "\"infinity\" in the last bin only");
	ret_bin->edge_ns = 0;
	ret = infinity ? 0 : conf_duration(c, edge, MIN_EDGE_NS, MAX_EDGE_NS, &ret_bin->edge_ns);
	if (!ret && !infinity && ret_bin->edge_ns <= after)
		ret = conf_expected(c, edge, "edges in ascending order");
	if (!ret)
		ret = conf_integer(c, config_setting_get_elem(s, 1), infinity, MAX_TOKENS, &tokens);
	if (!ret)
		ret_bin->tokens = (unsigned)tokens;
	return ret;
}

static int parse_histogram(struct conf_group *g, const char *key,
			   const struct tg_policy_histogram *by_default,
			   struct tg_policy_histogram *ret_histogram)
{
	const config_setting_t *s = conf_get(g, key);
	struct tg_policy_histogram h = *by_default;
	int ret = 0;

	if (s)
		ret = conf_list_length(g->conf, s, TG_MAX_BINS + 1, &h.count);
	for (size_t i = 0; s && !ret && i < h.count; i++)
		ret = parse_bin(g->conf, config_setting_get_elem(s, (unsigned)i), i + 1 == h.count,
				i ? h.bins[i - 1].edge_ns : 0, &h.bins[i]);
	if (!ret)
		*ret_histogram = h;
	return ret;
}

int policy_parse_wtfpad(struct conf_group *g, struct tg_policy_class *class)
{
	int ret = parse_clock(g, class);

	if (!ret)
		ret = parse_histogram(g, "burst", &default_burst, &class->burst);
	if (!ret)
		ret = parse_histogram(g, "gap", &default_gap, &class->gap);
	return ret;
}

/* ---- compiling ---- */

static void compile_histogram(const struct tg_policy_histogram *h, struct tg_histogram *out)
{
	size_t finite = h->count - 1;

	for (size_t i = 0; i < TG_MAX_BINS; i++) {
		out->edge_us[i + 1] = i < finite ? (uint32_t)(h->bins[i].edge_ns / NS_PER_US) : UINT32_MAX;
		out->tokens[i] = i < finite ? (uint16_t)h->bins[i].tokens : 0;
	}
	out->tokens[TG_MAX_BINS] = (uint16_t)h->bins[finite].tokens;
}

void policy_compile_metronome(const struct tg_policy_class *class, struct tg_compiled_metronome *out)
{
	struct tg_metronome *m = &out->metronome;

	out->choice = class->clock;
	out->frame = class->cell + TG_L2_LEN;
	out->rate = (out->frame * NS_PER_S + class->tick_ns / 2) / class->tick_ns;
	m->tick_ns = class->tick_ns;
	m->defence = (uint16_t) class->defence;
	m->cell = (uint16_t) class->cell;
	if (class->defence == TG_DEFENCE_FRONT) {
		m->idle_ns = class->idle_ns;
		m->dummies = class->dummies;
		m->window_min_us = (uint32_t)(class->window_min_ns / NS_PER_US);
		m->window_max_us = (uint32_t)(class->window_max_ns / NS_PER_US);
	} else {
		compile_histogram(&class->burst, &m->burst);
		compile_histogram(&class->gap, &m->gap);
	}
}

void tg_exponential_fill(struct tg_exponential *ret_table)
{
	for (unsigned i = 0; i < TG_EXPONENTIAL_BINS; i++)
		ret_table->quantile[i] =
			(uint32_t)lround(-log1p(-(double)i / TG_EXPONENTIAL_BINS) * TG_EXPONENTIAL_UNIT);
	ret_table->quantile[TG_EXPONENTIAL_BINS] = ret_table->quantile[TG_EXPONENTIAL_LAST];
}

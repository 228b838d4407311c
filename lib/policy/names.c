/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of the language, for the parser and for whoever shows a policy. */
#include <netinet/in.h>

#include "policy/parts.h"

const struct conf_word policy_roles[] = {
	{ "edge", TG_ROLE_EDGE },
	{ "gateway", TG_ROLE_GATEWAY },
	{ NULL, 0 },
};

const struct conf_word policy_profiles[] = {
	{ "surgical", TG_PROFILE_SURGICAL },
	{ "collaborative", TG_PROFILE_COLLABORATIVE },
	{ "warehouse", TG_PROFILE_WAREHOUSE },
	{ "lab", TG_PROFILE_LAB },
	{ NULL, 0 },
};

const struct conf_word policy_fails[] = {
	{ "closed", TG_FAIL_CLOSED },
	{ "open", TG_FAIL_OPEN },
	{ NULL, 0 },
};

const struct conf_word policy_engines[] = {
	{ "auto", TG_ENGINE_AUTO },
	{ "kernel", TG_ENGINE_KERNEL },
	{ "queue", TG_ENGINE_QUEUE },
	{ NULL, 0 },
};

const struct conf_word policy_defences[] = {
	{ "pad", TG_DEFENCE_PAD },       { "constant", TG_DEFENCE_CONSTANT },
	{ "front", TG_DEFENCE_FRONT },   { "wtf-pad", TG_DEFENCE_WTF_PAD },
	{ "jitter", TG_DEFENCE_JITTER }, { "regulator", TG_DEFENCE_REGULATOR },
	{ "lean", TG_DEFENCE_LEAN },     { NULL, 0 },
};

const struct conf_word policy_pad_modes[] = {
	{ "cell", TG_PAD_CELL },
	{ "buckets", TG_PAD_BUCKETS },
	{ "pow2", TG_PAD_POW2 },
	{ "uniform", TG_PAD_UNIFORM },
	{ NULL, 0 },
};

const struct conf_word policy_clocks[] = {
	{ "auto", TG_CLOCK_CHOICE_AUTO },
	{ "fq", TG_CLOCK_CHOICE_FQ },
	{ "tbf", TG_CLOCK_CHOICE_TBF },
	{ NULL, 0 },
};

const struct conf_word policy_distributions[] = {
	{ "uniform", TG_DISTRIBUTION_UNIFORM },
	{ "laplace", TG_DISTRIBUTION_LAPLACE },
	{ NULL, 0 },
};

const struct conf_word policy_overflows[] = {
	{ "drop", TG_OVERFLOW_DROP },
	{ "stretch", TG_OVERFLOW_STRETCH },
	{ NULL, 0 },
};

const struct conf_word policy_protocols[] = {
	{ "tcp", IPPROTO_TCP },   { "udp", IPPROTO_UDP },       { "sctp", IPPROTO_SCTP },
	{ "icmp", IPPROTO_ICMP }, { "icmpv6", IPPROTO_ICMPV6 }, { NULL, 0 },
};

const struct conf_word policy_violations[] = {
	{ "stop-dummies", TG_BUDGET_STOP_DUMMIES },
	{ "count", TG_BUDGET_COUNT_ONLY },
	{ NULL, 0 },
};

static const char *word_of(const struct conf_word *words, int value)
{
	for (; words->word; words++)
		if (words->value == value)
			return words->word;
	return "unknown";
}

const char *tg_defence_name(enum tg_defence defence)
{
	return word_of(policy_defences, (int)defence);
}

bool tg_defence_has_metronome(enum tg_defence defence)
{
	return defence == TG_DEFENCE_FRONT || defence == TG_DEFENCE_WTF_PAD;
}

bool tg_defence_has_dummies(enum tg_defence defence)
{
	return defence == TG_DEFENCE_CONSTANT || defence == TG_DEFENCE_REGULATOR ||
	       defence == TG_DEFENCE_LEAN || tg_defence_has_metronome(defence);
}

bool tg_defence_needs_agent(enum tg_defence defence)
{
	return defence == TG_DEFENCE_JITTER || defence == TG_DEFENCE_REGULATOR || defence == TG_DEFENCE_LEAN;
}

bool tg_defence_is_paced(enum tg_defence defence)
{
	return defence == TG_DEFENCE_CONSTANT || tg_defence_needs_agent(defence);
}

const char *tg_distribution_name(enum tg_distribution distribution)
{
	return word_of(policy_distributions, (int)distribution);
}

const char *tg_clock_choice_name(enum tg_clock_choice choice)
{
	return word_of(policy_clocks, (int)choice);
}

const char *tg_pad_mode_name(enum tg_pad_mode mode)
{
	return word_of(policy_pad_modes, (int)mode);
}

const char *tg_overflow_name(enum tg_overflow overflow)
{
	return word_of(policy_overflows, (int)overflow);
}

const char *tg_violation_name(enum tg_budget_violation violation)
{
	return word_of(policy_violations, (int)violation);
}

const char *tg_profile_name(enum tg_profile profile)
{
	return word_of(policy_profiles, (int)profile);
}

const char *tg_role_name(enum tg_role role)
{
	return word_of(policy_roles, (int)role);
}

const char *tg_fail_name(enum tg_fail fail)
{
	return word_of(policy_fails, (int)fail);
}

const char *tg_protocol_name(unsigned proto)
{
	const struct conf_word *p = policy_protocols;

	while (p->word && p->value != (int)proto)
		p++;
	return p->word;
}

const char *tg_engine_name(enum tg_engine engine)
{
	return word_of(policy_engines, (int)engine);
}

uint64_t tg_profile_budget_ns(enum tg_profile profile)
{
	switch (profile) {
	case TG_PROFILE_SURGICAL:
		return 500000;
	case TG_PROFILE_COLLABORATIVE:
		return 2000000;
	case TG_PROFILE_WAREHOUSE:
		return 10000000;
	case TG_PROFILE_LAB:
		return 50000000;
	}
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which tunnel and class a flow belongs to: the first rule of the policy whose
 * every condition holds. A name that is still unknown makes an earlier rule
 * wait rather than fail. Pure: what has to be asked is asked through callbacks,
 * and only when the answer matters.
 */
#ifndef AGENT_GUARD_DECIDE_H
#define AGENT_GUARD_DECIDE_H

#include <stdbool.h>

#include "tensorguard/policy.h"

enum decide_name {
	DECIDE_NAME_UNKNOWN,	/* not yet: wait */
	DECIDE_NAME_NONE,	/* rules with a name cannot match */
	DECIDE_NAME_KNOWN,
};

struct decide_ops {
	/* The user who owns the flow's socket; false = cannot be told, and no uid rule matches. */
	bool (*uid)(void *ctx, const struct tg_flow_key *key, uint32_t *ret_uid);
	/* Whether the flow's socket is in the cgroup of policy rule `rule`, or below it. */
	bool (*in_cgroup)(void *ctx, const struct tg_flow_key *key, size_t rule);
	void *ctx;
};

struct decide_facts {
	const struct tg_flow_key *key;
	uint32_t mark;		/* of the packet */
	bool local;		/* sent by this host: only then is there a socket to ask about */
	bool has_uid;		/* the packet told */
	uint32_t uid;
	enum decide_name name;
	const char *host;	/* DECIDE_NAME_KNOWN only; lower case */
	int tunnel;		/* that the packet is about to enter; -1 = not known */
};

enum decide_answer { DECIDE_WAIT, DECIDE_RULE, DECIDE_DEFAULT };

struct decision {
	unsigned tunnel;	/* for DECIDE_WAIT: of the rule that waits */
	unsigned class;		/* not for DECIDE_WAIT */
	size_t rule;		/* not for DECIDE_DEFAULT */
};

/*
 * Without a matching rule the flow gets the default class of the tunnel that
 * its packet is about to enter; where that is not known, of the first rule whose
 * addresses, protocol, ports and mark hold (which is where the routing rules
 * send it); failing that, of the first tunnel.
 */
enum decide_answer decide(const struct tg_policy *policy, const struct decide_ops *ops,
			  const struct decide_facts *facts, struct decision *ret_decision);

/*
 * What the programs in the kernel decide by themselves (bpf/classify.h): the
 * first rule of the tunnel that needs no agent. A fragment has no ports and goes
 * with the flow that it may belong to. False when no rule matches.
 */
bool decide_by_header(const struct tg_policy *policy, unsigned tunnel, const struct tg_flow_key *key,
		      uint32_t mark, bool fragment, unsigned *ret_class);

/*
 * The largest packet that passes the tunnel's route in one piece (rule_mtu() of
 * instance/routing.c), by f's key, mark, tunnel and uid. What no rule matches
 * comes by the routes to the tunnel's own networks.
 */
unsigned decide_route_mtu(const struct tg_policy *policy, const struct decide_facts *f, bool fragment);

/* `pattern` as in struct tg_policy_rule: "host", or ".suffix" for the suffix itself and all below it. */
bool decide_host_matches(const char *pattern, const char *host);

#endif

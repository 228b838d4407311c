/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef AGENT_NET_RULE_H
#define AGENT_NET_RULE_H

#include "net/internal.h"

/* The message that adds or deletes `rule` (RTM_NEWRULE, RTM_DELRULE), in net->out. */
struct nlmsghdr *rule_message(struct net *net, uint16_t type, uint16_t flags, const struct net_rule *rule);

#endif

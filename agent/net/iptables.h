/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Texts for iptables-restore and from iptables-save (iptables_script.c): pure
 * functions, so that what is sent to the tools is tested without root.
 */
#ifndef AGENT_NET_IPTABLES_H
#define AGENT_NET_IPTABLES_H

#include "tensorguard/policy.h"

#define IPTABLES_CHAIN "TENSORGUARD"		/* undecided packets of flow rules to the queue */
#define IPTABLES_SAVE_CHAIN "TENSORGUARD_SAVE"	/* what was decided into the connection mark */
#define IPTABLES_MSS_CHAIN "TENSORGUARD_MSS"	/* TCP segments that fit a cell */
#define IPTABLES_CLOSED_CHAIN "TENSORGUARD_CLOSED" /* fail closed: matched packets on other devices */
#define IPTABLES_PACE_CHAIN "TENSORGUARD_PACE" /* queue engine: packets into tunnels that the agent paces */

enum { IPTABLES_MAX_RULES = 20000 };

/* Whether the policy needs any of the chains for this family. */
bool iptables_wanted(const struct tg_policy *policy, int family);

/*
 * One transaction that turns the mangle table `saved` (what iptables-save
 * prints, "" if it is empty) into what `policy` wants; NULL `policy` wants
 * nothing. *ret_text is NULL when there is nothing to do, else the caller frees
 * it. -E2BIG when the policy needs more than IPTABLES_MAX_RULES rules, -ENOMEM.
 */
int iptables_script(const struct tg_policy *policy, int family, const char *saved, char **ret_text);

/* Whether `saved` is what iptables_script() leaves. The same errors. */
int iptables_matches(const struct tg_policy *policy, int family, const char *saved, bool *ret_matches);

#endif

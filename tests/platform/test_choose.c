/* SPDX-License-Identifier: BSD-3-Clause */
/* Which of several policies an agent should have: the most specific one, or a lockdown that is newer. */
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "sync/choose.h"

enum { POLICIES = 5 };

/* In the order of the targets. A version below 0 is a lockdown's. */
struct published {
	const char *target;
	int version;
};

static void fill(struct policy_table *table, struct policy_entry entries[static POLICIES],
		 const struct published published[static POLICIES])
{
	*table = (struct policy_table){ .entries = entries };
	for (const struct published *p = published; p < published + POLICIES && p->target; p++) {
		struct tg_signed_policy *policy = &entries[table->count++].policy;

		*policy = (struct tg_signed_policy){
			.kind = p->version < 0 ? TG_POLICY_LOCKDOWN : TG_POLICY_NORMAL,
			.version = p->version < 0 ? -p->version : p->version,
		};
		snprintf(policy->target, sizeof(policy->target), "%s", p->target);
	}
}

static int version_of(const struct policy_entry *entry)
{
	return entry ? (int)entry->policy.version : 0;
}

TEST(choose, the_most_specific_unless_a_lockdown_is_newer)
{
	static const struct {
		const char *name;
		struct published published[POLICIES];
		int chosen, specific;
	} cases[] = {
		{ "nothing", { { 0 } }, 0, 0 },
		{ "of others", { { "agent:two", -9 }, { "fleet:plant", -8 }, { "label:c", -7 } }, 0, 0 },
		{ "the fleet's", { { "fleet:lab", 1 } }, 1, 1 },
		{ "a label's, though older", { { "fleet:lab", 2 }, { "label:a", 1 } }, 1, 1 },
		{ "of two labels the newer", { { "label:a", 1 }, { "label:b", 2 } }, 2, 2 },
		{ "its own, though oldest",
		  { { "agent:one", 1 }, { "fleet:lab", 3 }, { "label:a", 2 } },
		  1,
		  1 },
		{ "the fleet's lockdown", { { "fleet:lab", -1 } }, 1, 1 },
		{ "the fleet's and an older policy", { { "agent:one", 1 }, { "fleet:lab", -2 } }, 2, 1 },
		{ "the fleet's and a newer policy", { { "agent:one", 3 }, { "fleet:lab", -2 } }, 3, 3 },
		{ "the fleet's and an older label", { { "fleet:lab", -2 }, { "label:a", 1 } }, 2, 1 },
		{ "the fleet's and a newer label", { { "fleet:lab", -2 }, { "label:a", 3 } }, 3, 3 },
		{ "the fleet's between two labels",
		  { { "fleet:lab", -2 }, { "label:a", 1 }, { "label:b", 3 } },
		  3,
		  3 },
		/* the label's policy is not what this agent would get, so it does not end it either */
		{ "a newer label, an older one of its own",
		  { { "agent:one", 1 }, { "fleet:lab", -2 }, { "label:a", 3 } },
		  2,
		  1 },
		{ "a label's lockdown and an older policy", { { "agent:one", 1 }, { "label:b", -2 } }, 2, 1 },
		{ "a label's lockdown and a newer policy of the fleet",
		  { { "fleet:lab", 3 }, { "label:a", -2 } },
		  2,
		  2 },
		{ "a label's lockdown and a newer label", { { "label:a", -2 }, { "label:b", 3 } }, 3, 3 },
		{ "its own lockdown and newer others",
		  { { "agent:one", -1 }, { "fleet:lab", 3 }, { "label:a", 2 } },
		  1,
		  1 },
		{ "of several lockdowns the newest",
		  { { "agent:one", 1 }, { "fleet:lab", -3 }, { "label:a", -2 }, { "label:b", -4 } },
		  4,
		  1 },
		{ "its own lockdown, and a newer one", { { "agent:one", -1 }, { "fleet:lab", -2 } }, 2, 1 },
		{ "the lockdown of another fleet", { { "agent:one", 1 }, { "fleet:plant", -2 } }, 1, 1 },
	};
	const struct store_agent agent = { .id = "one", .fleet = "lab", .labels = "a b" };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct policy_entry entries[POLICIES];
		const struct policy_entry *chosen, *specific;
		struct policy_table table;

		fill(&table, entries, cases[i].published);
		chosen = policy_table_choose(&table, &agent, &specific);
		if (version_of(chosen) != cases[i].chosen || version_of(specific) != cases[i].specific) {
			printf("%s: %d, specific %d\n", cases[i].name, version_of(chosen),
			       version_of(specific));
			CU_FAIL("another one is chosen");
		}
	}
}

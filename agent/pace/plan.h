/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the agent paces at present: the classes of the running policy that carry
 * TG_CLASS_AGENT in the maps, which is how the loader tells which engine a
 * tunnel has.
 */
#ifndef AGENT_PACE_PLAN_H
#define AGENT_PACE_PLAN_H

#include <sys/types.h>

#include "dataplane/dataplane.h"
#include "guard/queue.h"
#include "pace/lean.h"
#include "pace/pacer.h"
#include "tensorguard/policy.h"

struct plan_class {
	bool paced;
	uint32_t mark;		/* of its dummies */
	struct tg_schedule schedule;
	struct pacer **of_peer;	/* by number: NULL until its first packet */
	struct pacer **made;	/* those that are not NULL */
	size_t made_count;
	struct lean **lean_of_peer; /* of a lean class: the same in the place of these */
	struct lean **lean_made;
	size_t lean_count;
	uint8_t *dummy;		/* the whole packet, `cell` bytes, but for its destination */
};

struct plan_tunnel {
	bool paced;
	unsigned ifindex;
	unsigned head_ifindex, tail_ifindex; /* of the segmenter's pair; 0 without a lean class */
	size_t first_lean;	/* the class under which peers' cells are counted */
	uint64_t generation;
	ino_t pin;		/* of the map `paced`: another one after `tg-load down` and `up` */
	struct dataplane *dp;
	bool flow_rules;	/* some rule is decided per flow */
	struct tg_peer_entry *peers; /* by number, dp->room of them */
	struct tg_paced *shared; /* the maps' memory: TG_MAX_CLASSES entries; dp->paced * dp->room */
	struct tg_session_state *sessions;
	const struct tg_exponential *table; /* the plan's */
	struct plan_class classes[TG_MAX_CLASSES];
};

struct plan {
	struct tg_policy *policy;
	size_t paced;		/* classes, in all tunnels */
	uint32_t limit;		/* packets that they hold at most */
	struct tg_exponential table;
	struct plan_tunnel tunnels[TG_MAX_TUNNELS]; /* as many as the policy has */
};

/* Owns `policy` from here on, whatever it returns. */
int plan_new(const char *pin_dir, struct tg_policy *policy, struct plan **ret_plan, struct tg_error *e);
void plan_free(struct plan *plan);	/* NULL-safe */

/* Whether the pinned maps are still those, of the same generation, and the devices too. */
bool plan_is_current(const struct plan *plan, const char *pin_dir);

/*
 * The pacer of a class's session with a peer, made on first use at `now`. Only
 * for the plan that is in force: it writes into the maps. NULL = out of memory.
 */
struct pacer *plan_pacer(struct plan_tunnel *t, struct plan_class *class, unsigned peer, uint64_t now);

/* The same for a lean class. */
struct lean *plan_lean(struct plan_tunnel *t, struct plan_class *class, unsigned peer, uint64_t now);

/* What is to become of a packet. */
enum plan_answer {
	PLAN_PACE,		/* the pacer of *ret_place takes it */
	PLAN_PASS,		/* none of ours: a class or a device that nobody paces */
	PLAN_REFUSE,		/* the programs at the tunnel drop it, and say why: it must not cost a slot */
};

struct plan_place {
	size_t tunnel, class;
	unsigned peer;		/* its number */
};

/* *ret_place is set for PLAN_PACE only. */
enum plan_answer plan_classify(const struct plan *plan, const struct queue_packet *packet,
			       struct plan_place *ret_place);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the agent paces at present: the classes of the running policy that carry
 * TG_CLASS_AGENT in the maps, which is how the loader tells which engine a
 * tunnel has.
 */
#ifndef AGENT_PACE_PLAN_H
#define AGENT_PACE_PLAN_H

#include <sys/types.h>

#include "guard/queue.h"
#include "pace/pacer.h"
#include "tensorguard/policy.h"

struct plan_class {
	bool paced;
	uint32_t mark;		/* of its dummies */
	struct tg_queue schedule;
	struct pacer pacer;
	uint8_t *dummy;		/* the whole packet: `cell` bytes */
};

struct plan_tunnel {
	bool paced;
	unsigned ifindex;
	uint64_t generation;
	ino_t pin;		/* of the map `paced`: another one after `tg-load down` and `up` */
	int policy;		/* the map with the generation */
	int flows;		/* the map, -1 when no rule is decided per flow */
	struct tg_paced *shared; /* the map's memory, TG_MAX_CLASSES entries */
	struct plan_class classes[TG_MAX_CLASSES];
};

struct plan {
	struct tg_policy *policy;
	size_t paced;		/* classes, in all tunnels */
	uint32_t limit;		/* packets that they hold at most */
	struct plan_tunnel tunnels[TG_MAX_TUNNELS]; /* as many as the policy has */
};

/* Owns `policy` from here on, whatever it returns. */
int plan_new(const char *pin_dir, struct tg_policy *policy, struct plan **ret_plan, struct tg_error *e);
void plan_free(struct plan *plan);	/* NULL-safe */

/* Whether the pinned maps are still those, of the same generation, and the devices too. */
bool plan_is_current(const struct plan *plan, const char *pin_dir);

/* What is to become of a packet. */
enum plan_answer {
	PLAN_PACE,		/* ret_class's pacer takes it */
	PLAN_PASS,		/* none of ours: a class or a device that nobody paces */
	PLAN_REFUSE,		/* the programs at the tunnel drop it, and say why: it must not cost a slot */
};

/* *ret_tunnel and *ret_class are set for PLAN_PACE only. */
enum plan_answer plan_classify(const struct plan *plan, const struct queue_packet *packet, size_t *ret_tunnel,
			       size_t *ret_class);

#endif

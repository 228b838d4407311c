/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One tunnel's share of a policy in the form of the kernel maps. Queues are
 * numbered by the loader, which knows those of the generation before; here a
 * paced class names its queue by its index in `queues`.
 */
#ifndef TENSORGUARD_COMPILE_H
#define TENSORGUARD_COMPILE_H

#include "shared/paced.h"
#include "tensorguard/policy.h"

struct tg_compiled_prefix {
	struct tg_cidr cidr;
	enum tg_lpm_side side;
	struct tg_rule_set set;	/* with the sets of all prefixes around it; TG_LPM_ALLOWED: empty */
	unsigned peer;		/* TG_LPM_ALLOWED: whose it is, an index into the tunnel's peers */
};

struct tg_compiled_queue {
	unsigned class;		/* the class that it serves */
	struct tg_queue queue;	/* ifindexes 0 */
	uint64_t rate; /* bytes per second of each clock, link-layer header included; rounded to nearest, so
			  that the period that it keeps is off by at most 1 / (2 * rate) of itself */
	uint32_t frame;		/* cell + TG_L2_LEN */
};

struct tg_compiled_metronome {
	unsigned class;		/* the class that it serves: also its number */
	enum tg_clock_choice choice;
	struct tg_metronome metronome; /* ifindexes and clock 0 */
	uint64_t rate;		/* of the TBF, as in a queue: one frame per tick */
	uint32_t frame;		/* cell + TG_L2_LEN */
};

struct tg_compiled {
	struct tg_config config;
	struct tg_budget budget;
	/* .queue: index into queues below, or TG_NO_QUEUE, as for all that the agent paces (TG_CLASS_AGENT)
	 */
	struct tg_class classes[TG_MAX_CLASSES];
	struct tg_rule rules[TG_MAX_RULES]; /* a policy rule becomes one or more of these (port ranges) */
	uint16_t rule_origin[TG_MAX_RULES]; /* index of the policy's rule */
	struct tg_compiled_prefix *prefixes; /* both families and sides */
	size_t prefix_count;
	struct tg_compiled_queue queues[TG_MAX_CLASSES]; /* of the paced classes, whoever paces them */
	size_t queue_count;
	struct tg_compiled_metronome metronomes[TG_MAX_CLASSES];
	size_t metronome_count;
};

/*
 * A `stretch` queue drops only beyond this: a second's worth of cells, but at
 * least TG_STRETCH_CELLS and never fewer than the delay budget allows.
 */
#define TG_STRETCH_NS 1000000000ull
#define TG_STRETCH_CELLS 64u

/* Bytes per second, link-layer header included, that let one cell of the queue go per period. */
uint64_t tg_clock_rate(const struct tg_queue *queue);

/* The table of shared/exponential.h. */
void tg_exponential_fill(struct tg_exponential *ret_table);

/* What a cell of `cell` inner bytes is on the wire: IP packet with WireGuard inside, under `mtu`. */
unsigned tg_wire_size(unsigned cell, unsigned mtu, int outer_family);

/* The outer family of a tunnel's first peer; IPv4 where no endpoint tells. */
int tg_outer_family(const struct tg_tunnel *tunnel);

/* The schedule of a paced class of the policy; devices and class 0. */
void tg_policy_schedule(const struct tg_policy *policy, const struct tg_policy_class *class,
			struct tg_schedule *ret_schedule);

/* Cells per second of this end when a regulator's surge begins. */
double tg_regulator_rate(const struct tg_policy *policy, const struct tg_policy_class *class);

/*
 * Compiles the share of tunnel `tunnel`. Errors: -E2BIG when the rules need
 * more than TG_MAX_RULES entries or the prefixes more than TG_MAX_PREFIXES / 2
 * per family, -EINVAL when the policy has no such tunnel, -ENOMEM.
 */
int tg_policy_compile(const struct tg_policy *policy, size_t tunnel, struct tg_compiled **ret_compiled,
		      struct tg_error *e);

/*
 * The mark tag of a tunnel (shared/mark.h): a digest of its name and of the
 * names of its classes in their order, so that class numbers in old marks are
 * not taken for those of another list (one in eight lists collides).
 */
uint32_t tg_mark_tag(const struct tg_tunnel *tunnel);

void tg_compiled_free(struct tg_compiled *compiled);

#endif

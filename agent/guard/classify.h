/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the bytes of a queued packet to its flow's class: packet_parse(), the
 * tracker of names and decide(), with a small cache for the packets of a flow
 * that were queued before its decision took effect.
 */
#ifndef AGENT_GUARD_CLASSIFY_H
#define AGENT_GUARD_CLASSIFY_H

#include "guard/decide.h"
#include "guard/packet.h"
#include "guard/tracker.h"

/* What was made of a packet. */
enum classify_reason {
	/* decided: by a rule with such a condition (the first that applies in this order), or none */
	CLASSIFY_SNI,
	CLASSIFY_CGROUP,
	CLASSIFY_UID,
	CLASSIFY_RULE,		/* by a rule that needs no agent */
	CLASSIFY_DEFAULT,
	CLASSIFY_REPEATED,	/* as the packet before it */
	/* not decided */
	CLASSIFY_WAIT,		/* the name is not known yet */
	CLASSIFY_FRAGMENT,
	CLASSIFY_ICMP_ERROR,
	CLASSIFY_MALFORMED,
	CLASSIFY_REASONS
};

struct classify_input {
	const uint8_t *data;
	size_t size;		/* bytes at hand */
	size_t total;		/* of the packet */
	uint32_t mark;
	bool local, has_uid;
	uint32_t uid;
	int tunnel;		/* as in struct decide_facts */
	uint64_t now;		/* CLOCK_MONOTONIC */
};

struct classify_output {
	struct packet packet;
	struct decision decision; /* whole if classify_is_decided(), the tunnel alone for CLASSIFY_WAIT */
	const char *host;	/* the name that was read, or NULL; valid until the next packet */
};

struct classifier;

int classifier_new(const struct decide_ops *ops, uint64_t seed, struct classifier **ret_classifier);
void classifier_free(struct classifier *classifier);	/* NULL-safe */

/* The policy that decides from now on; stays the caller's and must outlive its use. Names read so far are
 * kept. */
void classifier_set_policy(struct classifier *classifier, const struct tg_policy *policy);

enum classify_reason classify_packet(struct classifier *classifier, const struct classify_input *in,
				     struct classify_output *ret_output);

/* To be called every second or so. */
void classifier_expire(struct classifier *classifier, uint64_t now);

const struct tracker *classifier_tracker(const struct classifier *classifier);

static inline bool classify_is_decided(enum classify_reason reason)
{
	return reason <= CLASSIFY_REPEATED;
}

/* "sni", "cgroup", ... as in the statistics. */
const char *classify_reason_name(enum classify_reason reason);

#endif

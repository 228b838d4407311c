/* SPDX-License-Identifier: BSD-3-Clause */
/* The data plane programs loaded once, with tables of the test's choice, run by BPF_PROG_TEST_RUN. */
#ifndef TESTS_BPF_FIXTURE_H
#define TESTS_BPF_FIXTURE_H

#include <linux/bpf.h>

#include "dataplane/dataplane.h"
#include "packet.h"

struct run {
	const struct packet_spec *packet; /* or frame and frame_len */
	const uint8_t *frame;
	size_t frame_len;
	uint32_t mark, ingress_ifindex, gso_size;
};

struct outcome {
	int verdict;		/* TC_ACT_* */
	size_t len;		/* of the frame, Ethernet header included */
	uint8_t frame[PACKET_ROOM];
	uint32_t priority, mark;
	uint64_t tstamp;	/* when fq is to send it */
	uint64_t reasons[TG_REASON_COUNT]; /* what this run counted */
};

/* Loads (once) and returns the programs; ends the process if the kernel refuses them. */
const struct dataplane *fixture(void);
/* Compiles the text of a policy and puts its first tunnel in force. Queue i gets id i; heads and tails, of
 * metronomes too, are `lo`; their clock is fq only where the policy says so. */
void fixture_policy(const char *text);
struct outcome fixture_run(enum dp_prog prog, const struct run *run);
struct tg_stats fixture_stats(enum tg_direction direction, unsigned class);

/* Nothing is spent of the budget of dummies. */
void fixture_clear_spending(void);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "fixture.h"
#include "guardian.skel.h"

enum { LOOPBACK = 1, ROOM = 4 /* peers */ };

static struct dataplane dataplane = { .tunnel = "test" };

static void die(const char *what)
{
	fprintf(stderr, "bpf-tests: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

const struct dataplane *fixture(void)
{
	static struct guardian_bpf *skel;
	struct net *net;

	if (skel)
		return &dataplane;
	/* a network of our own: clones of dummies really are sent */
	if (unshare(CLONE_NEWNET))
		die("cannot unshare the network namespace (needs root)");
	if (net_open(&net, NULL) || net_link_set_up(net, "lo", true, NULL))
		die("cannot set lo up");
	net_close(net);
	skel = guardian_bpf__open();
	if (!skel)
		die("cannot open the BPF object");
	skel->rodata->tunnel_l2_len = TG_L2_LEN;
	dataplane.queues = TG_MAX_QUEUES;
	dataplane.room = ROOM;
	dataplane.paced = 1;
	if (bpf_map__set_max_entries(skel->maps.peers, ROOM) ||
	    bpf_map__set_max_entries(skel->maps.sessions, TG_MAX_QUEUES * ROOM) ||
	    bpf_map__set_max_entries(skel->maps.paced_sessions, ROOM))
		die("cannot size the maps");
	if (guardian_bpf__load(skel))
		die("the kernel refuses the programs");
	for (int i = 0; i < DP_MAP_COUNT; i++)
		dataplane.maps[i] = bpf_object__find_map_fd_by_name(skel->obj, dp_map_names[i]);
	for (int i = 0; i < DP_PROG_COUNT; i++)
		dataplane.progs[i] =
			bpf_program__fd(bpf_object__find_program_by_name(skel->obj, dp_prog_names[i]));
	return &dataplane;
}

void fixture_policy(const char *text)
{
	const struct tg_devices devices = { .tunnel_ifindex = LOOPBACK, .segmenter_ifindex = LOOPBACK };
	const struct dataplane *dp = fixture();
	unsigned ids[TG_MAX_CLASSES];
	struct tg_compiled *compiled = NULL;
	struct tg_policy *policy = NULL;
	struct tg_error e = { "" };
	uint64_t generation;
	int ret;

	ret = tg_policy_parse(text, strlen(text), "test", &policy, &e);
	if (!ret)
		ret = tg_policy_compile(policy, 0, &compiled, &e);
	for (unsigned i = 0; !ret && i < compiled->queue_count; i++) {
		struct tg_queue queue = compiled->queues[i].queue;

		queue.head_ifindex = queue.tail_ifindex = LOOPBACK;
		queue.class = compiled->queues[i].class;
		queue.first = i * ROOM;
		queue.room = ROOM;
		queue.next = i;
		ids[i] = i;
		for (unsigned n = 0; n < ROOM && !ret; n++)
			ret = dataplane_session_clear(dp, queue.first + n, i, &e);
		if (!ret)
			ret = dataplane_queue_set(dp, i, &queue, &e);
	}
	for (unsigned i = 0; !ret && i < compiled->metronome_count; i++) {
		struct tg_metronome m = compiled->metronomes[i].metronome;

		m.head_ifindex = m.tail_ifindex = LOOPBACK;
		m.clock = compiled->metronomes[i].choice == TG_CLOCK_CHOICE_FQ ? TG_CLOCK_FQ : TG_CLOCK_TBF;
		ret = dataplane_metronome_set(dp, compiled->metronomes[i].class, &m, &e);
	}
	for (unsigned i = 0; !ret && i < TG_MAX_CLASSES; i++)
		ret = dataplane_stats_reset(dp, i, &e);
	if (!ret)
		ret = dataplane_budget_set(dp, &compiled->budget, &e);
	if (!ret)
		ret = dataplane_set_devices(dp, &devices, &e);
	if (!ret)
		ret = dataplane_switch(dp, compiled, ids, NULL, &generation, &e);
	tg_compiled_free(compiled);
	tg_policy_free(policy);
	if (ret) {
		fprintf(stderr, "bpf-tests: %s\n", e.message);
		exit(EXIT_FAILURE);
	}
}

struct outcome fixture_run(enum dp_prog prog, const struct run *run)
{
	const struct dataplane *dp = fixture();
	struct __sk_buff ctx = { .mark = run->mark,
				 .ingress_ifindex = run->ingress_ifindex,
				 .gso_size = run->gso_size,
				 .gso_segs = run->gso_size ? 2 : 0 };
	struct outcome o = { .verdict = -1 };
	uint64_t before[TG_REASON_COUNT];
	uint8_t frame[PACKET_ROOM];
	size_t len = run->frame_len;
	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
			    .ctx_out = &ctx, .ctx_size_out = sizeof(ctx), .data_out = o.frame,
			    .data_size_out = sizeof(o.frame), .repeat = 1);

	if (run->packet)
		len = packet_build(run->packet, frame);
	else
		memcpy(frame, run->frame, len);
	opts.data_in = frame;
	opts.data_size_in = (uint32_t)len;
	dataplane_reasons_get(dp, before, NULL);
	if (bpf_prog_test_run_opts(dp->progs[prog], &opts))
		return o;
	dataplane_reasons_get(dp, o.reasons, NULL);
	for (int i = 0; i < TG_REASON_COUNT; i++)
		o.reasons[i] -= before[i];
	o.verdict = (int)opts.retval;
	o.len = opts.data_size_out;
	o.priority = ctx.priority;
	o.tstamp = ctx.tstamp;
	o.mark = ctx.mark;
	return o;
}

struct tg_stats fixture_stats(enum tg_direction direction, unsigned class)
{
	struct tg_stats st = { 0 };

	dataplane_stats_get(fixture(), direction, class, &st, NULL);
	return st;
}

void fixture_clear_spending(void)
{
	const struct tg_spending none = { .reserved = 0 };
	const uint32_t zero = 0;

	if (bpf_map_update_elem(fixture()->maps[DP_SPENDING], &zero, &none, BPF_F_LOCK))
		die("cannot clear what is spent");
}

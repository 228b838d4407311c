/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nanoseconds per packet of the data plane's programs, by BPF_PROG_TEST_RUN:
 *
 *	tc ROUNDS REPEAT POLICY PACED-POLICY
 *
 * Prints one line per round: empty pass pad paced. Every run is checked: a
 * program that took another way than the one to be measured is an error.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dataplane/dataplane.h"
#include "bpf/tc.skel.h"

enum { EXIT_USAGE = 2, LOOPBACK = 1, SHORT_PACKET = 100, FRAME_ROOM = 2048, MAX_ROUNDS = 100000 };

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "tc: %s: %s\n", what, why);
	return EXIT_FAILURE;
}

/* One loaded copy of the programs with the first tunnel of one policy in force. */
struct plane {
	struct tc_bpf *skel;
	struct dataplane dp;
	uint16_t cell;
};

/* Nothing takes cells out here, but the clock is not to be missed either. */
static int hold_clock(const struct dataplane *dp, unsigned id, struct tg_error *e)
{
	const struct tg_session session = { .state.clock_due_ns = INT64_MAX };

	if (bpf_map_update_elem(dp->maps[DP_SESSIONS], &id, &session, BPF_F_LOCK))
		return tg_error(e, -errno, "cannot write map sessions: %s", strerror(errno));
	return 0;
}

static int fill_tables(struct plane *p, const struct tg_compiled *compiled, struct tg_error *e)
{
	const struct tg_devices devices = { .tunnel_ifindex = LOOPBACK, .segmenter_ifindex = LOOPBACK };
	unsigned ids[TG_MAX_CLASSES];
	uint64_t generation;
	int ret = dataplane_set_devices(&p->dp, &devices, e);

	for (unsigned i = 0; !ret && i < compiled->queue_count; i++) {
		struct tg_queue queue = compiled->queues[i].queue;

		ids[i] = i;
		queue.head_ifindex = queue.tail_ifindex = LOOPBACK;
		queue.class = compiled->queues[i].class;
		queue.first = i;
		queue.room = 1;
		/* nothing takes cells out: the backlog must be able to grow for as long as we count */
		queue.budget_cells = queue.limit_cells = UINT32_MAX;
		ret = dataplane_queue_set(&p->dp, i, &queue, e);
		if (!ret)
			ret = hold_clock(&p->dp, i, e);
	}
	p->cell = compiled->classes[0].cell;
	return ret ? ret : dataplane_switch(&p->dp, compiled, ids, NULL, &generation, e);
}

static int put_policy(struct plane *p, const char *file, struct tg_error *e)
{
	struct tg_compiled *compiled = NULL;
	struct tg_policy *policy = NULL;
	int ret;

	ret = tg_policy_load(file, NULL, &policy, e);
	if (!ret)
		ret = tg_policy_compile(policy, 0, &compiled, e);
	if (!ret)
		ret = fill_tables(p, compiled, e);
	tg_compiled_free(compiled);
	tg_policy_free(policy);
	return ret;
}

static int plane_open(struct plane *p, const char *policy, struct tg_error *e)
{
	p->dp = (struct dataplane){ .tunnel = "bench" };
	p->skel = tc_bpf__open();
	if (!p->skel)
		return tg_error(e, -errno, "cannot open the BPF object: %s", strerror(errno));
	p->skel->rodata->frame_len = ETH_HLEN + SHORT_PACKET;
	if (tc_bpf__load(p->skel))
		return tg_error(e, -errno, "the kernel refuses the programs (needs root): %s",
				strerror(errno));
	for (int i = 0; i < DP_MAP_COUNT; i++)
		p->dp.maps[i] = bpf_object__find_map_fd_by_name(p->skel->obj, dp_map_names[i]);
	return put_policy(p, policy, e);
}

/* A UDP packet of `len` bytes to a host that the shipped policies guard. */
static size_t build_frame(uint8_t frame[static FRAME_ROOM], uint16_t len)
{
	struct ethhdr *eth = (void *)frame;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);

	memset(frame, 0, FRAME_ROOM);
	eth->h_proto = htons(ETH_P_IP);
	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = 64;
	ip->protocol = IPPROTO_UDP;
	ip->tot_len = htons(len);
	inet_pton(AF_INET, "10.84.0.2", &ip->saddr);
	inet_pton(AF_INET, "10.90.0.10", &ip->daddr);
	udp->source = htons(40000);
	udp->dest = htons(7400);
	udp->len = htons(len - sizeof(*ip));
	return ETH_HLEN + len;
}

struct measure {
	const struct plane *plane;
	const struct bpf_program *prog;
	uint16_t len;		/* of the IP packet */
	int reason;		/* what each packet must count; -1: nothing */
};

static uint64_t count_of(const struct measure *m)
{
	uint64_t reasons[TG_REASON_COUNT];

	if (m->reason < 0 || dataplane_reasons_get(&m->plane->dp, reasons, NULL))
		return 0;
	return reasons[m->reason];
}

static int time_one(const struct measure *m, int repeat, uint32_t *ret_ns, struct tg_error *e)
{
	uint8_t in[FRAME_ROOM], out[FRAME_ROOM];
	uint64_t expected = count_of(m) + (m->reason < 0 ? 0 : (uint64_t)repeat);
	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in,
			    .data_size_in = (uint32_t)build_frame(in, m->len), .data_out = out,
			    .data_size_out = sizeof(out), .repeat = repeat);

	if (bpf_prog_test_run_opts(bpf_program__fd(m->prog), &opts))
		return tg_error(e, -errno, "BPF_PROG_TEST_RUN: %s", strerror(errno));
	if (opts.retval == TC_ACT_SHOT || count_of(m) != expected)
		return tg_error(e, -EPROTO, "%s: not every packet went the way that is measured",
				bpf_program__name(m->prog));
	*ret_ns = opts.duration;
	return 0;
}

static int measure_all(const struct plane *pad, const struct plane *paced, int rounds, int repeat,
		       struct tg_error *e)
{
	const struct measure measures[] = {
		{ pad, pad->skel->progs.bench_empty, SHORT_PACKET, -1 },
		{ pad, pad->skel->progs.bench_guard, pad->cell, TG_PASS_PADDED },
		{ pad, pad->skel->progs.bench_guard_trim, SHORT_PACKET, TG_PASS_PADDED },
		{ paced, paced->skel->progs.bench_guard_trim, SHORT_PACKET, TG_PASS_QUEUED },
	};
	const size_t count = sizeof(measures) / sizeof(measures[0]);
	uint32_t ns = 0;

	for (int round = 0; round < rounds; round++)
		for (size_t i = 0; i < count; i++) {
			int ret = time_one(&measures[i], repeat, &ns, e);

			if (ret)
				return ret;
			printf("%u%c", ns, i + 1 < count ? ' ' : '\n');
		}
	return 0;
}

static int positive(const char *text, int limit)
{
	char *end;
	long value = strtol(text, &end, 10);

	return *text && !*end && value > 0 && value <= limit ? (int)value : 0;
}

int main(int argc, char **argv)
{
	struct plane pad = { 0 }, paced = { 0 };
	struct tg_error e = { "" };
	int ret, rounds, repeat;

	rounds = argc == 5 ? positive(argv[1], MAX_ROUNDS) : 0;
	repeat = argc == 5 ? positive(argv[2], 10000000) : 0;
	if (!rounds || !repeat) {
		fprintf(stderr, "usage: tc ROUNDS REPEAT POLICY PACED-POLICY\n");
		return EXIT_USAGE;
	}
	ret = plane_open(&pad, argv[3], &e);
	if (!ret)
		ret = plane_open(&paced, argv[4], &e);
	if (!ret)
		ret = measure_all(&pad, &paced, rounds, repeat, &e);
	tc_bpf__destroy(pad.skel);
	tc_bpf__destroy(paced.skel);
	return ret ? fail("cannot measure", e.message) : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Two processors at one class: what is counted, with the session's lock and without it, must add up to the
 * cell. */
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "fixture.h"
#include "harness.h"

enum { SENDS = 16000, HELD = 8, SLOTS = 100000 };

static const char policy[] =
	"version = 1; name = \"t\"; policy_version = 1L; role = \"edge\"; profile = \"lab\"; fail = "
	"\"closed\";\n"
	"tunnels = ( { name = \"tg0\"; external = \"wgx\"; mtu = 1420; default = \"c\";\n"
	" dummy = { source = \"fd54::2\"; target = \"fd54::1\"; };\n"
	" classes = ( { name = \"c\"; defence = \"constant\"; cell = 160; period = \"5ms\"; session = "
	"\"500s\"; "
	"idle = \"10ms\"; delay_budget = \"50ms\"; } ); } );\n"
	"rules = ( { tunnel = \"tg0\"; class = \"c\"; to = ( \"10.1.0.0/16\" ); } );\n";

/* One sender, pinned: it sends, holds a few of its cells back, and releases the oldest ones. */
struct sender {
	pthread_t thread;
	int cpu;
	uint8_t held[HELD][PACKET_ROOM];
	size_t lengths[HELD];
	unsigned first, count;
	unsigned queued, dropped, released, failed;
	uint32_t numbers[SENDS];
};

static pthread_barrier_t start;

static int run_program(enum dp_prog prog, const uint8_t *in, size_t in_len, uint8_t *out, size_t *ret_len)
{
	struct __sk_buff ctx = { .mark = 0 };
	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
			    .ctx_out = &ctx, .ctx_size_out = sizeof(ctx), .data_in = in,
			    .data_size_in = (uint32_t)in_len, .data_out = out, .data_size_out = PACKET_ROOM,
			    .repeat = 1);

	if (bpf_prog_test_run_opts(fixture()->progs[prog], &opts))
		return -1;
	*ret_len = opts.data_size_out;
	return (int)opts.retval;
}

static void release_oldest(struct sender *s)
{
	uint8_t out[PACKET_ROOM];
	unsigned slot = s->first % HELD;
	size_t len;

	s->failed += run_program(DP_RELEASE, s->held[slot], s->lengths[slot], out, &len) != TC_ACT_REDIRECT;
	s->released++;
	s->first++;
	s->count--;
}

static void send_one(struct sender *s, const uint8_t *frame, size_t len)
{
	unsigned slot = (s->first + s->count) % HELD;
	struct tg_ether_meta meta;
	int verdict = run_program(DP_EGRESS, frame, len, s->held[slot], &s->lengths[slot]);

	if (verdict == TC_ACT_SHOT) {
		s->dropped++;
		return;
	}
	s->failed += verdict != TC_ACT_REDIRECT;
	memcpy(&meta, s->held[slot], sizeof(meta));
	s->numbers[s->queued++] = meta.number;
	s->count++;
}

static void *send_all(void *arg)
{
	const struct packet_spec packet = {
		.family = 4, .src = "10.84.0.2", .dst = "10.1.0.1", .proto = IPPROTO_UDP, .payload = 10
	};
	struct sender *s = arg;
	uint8_t frame[PACKET_ROOM];
	size_t len = packet_build(&packet, frame);
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(s->cpu, &cpus);
	s->failed += sched_setaffinity(0, sizeof(cpus), &cpus) != 0;
	pthread_barrier_wait(&start);
	for (unsigned i = 0; i < SENDS; i++) {
		send_one(s, frame, len);
		/* in steps, so that the two together meet the limit of ten now and then */
		while (s->count == HELD || (s->count && i % 16 > 8))
			release_oldest(s);
	}
	while (s->count)
		release_oldest(s);
	return NULL;
}

/* The first two processors that we may run on. */
static int two_cpus(int *ret_cpus)
{
	cpu_set_t cpus;
	int count = 0;

	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		return 0;
	for (int i = 0; i < CPU_SETSIZE && count < 2; i++)
		if (CPU_ISSET(i, &cpus))
			ret_cpus[count++] = i;
	return count;
}

/* A number may be read twice, and the one before it then never is: what is counted by it is right all the
 * same. */
static int within(const struct sender *senders)
{
	unsigned total = senders[0].queued + senders[1].queued;
	int good = 1;

	for (int k = 0; k < 2; k++)
		for (unsigned i = 0; i < senders[k].queued; i++)
			good &= senders[k].numbers[i] >= 1 && senders[k].numbers[i] <= total;
	return good;
}

TEST(bpf_race, two_processors_give_no_slot_twice_and_skip_none)
{
	static struct sender senders[2];
	struct tg_session_state s = { 0 };
	struct tg_stats st;
	unsigned queued, dropped;
	int cpus[2];

	if (two_cpus(cpus) < 2) {
		harness_skip("needs two processors");
		return;
	}
	fixture_policy(policy);
	pthread_barrier_init(&start, NULL, 2);
	for (int k = 0; k < 2; k++) {
		senders[k] = (struct sender){ .cpu = cpus[k] };
		CU_ASSERT_EQUAL_FATAL(pthread_create(&senders[k].thread, NULL, send_all, &senders[k]), 0);
	}
	for (int k = 0; k < 2; k++)
		pthread_join(senders[k].thread, NULL);
	pthread_barrier_destroy(&start);
	queued = senders[0].queued + senders[1].queued;
	dropped = senders[0].dropped + senders[1].dropped;
	CU_ASSERT_EQUAL(senders[0].failed + senders[1].failed, 0);
	CU_ASSERT_EQUAL(queued + dropped, 2 * SENDS);
	CU_ASSERT_TRUE(queued > SENDS / 2 && dropped > 0);
	CU_ASSERT_TRUE(within(senders));
	dataplane_session_get(fixture(), 0, &s, NULL);
	CU_ASSERT_EQUAL(s.admitted, queued);
	CU_ASSERT_EQUAL(s.released, queued);
	CU_ASSERT_EQUAL(senders[0].released + senders[1].released, queued);
	CU_ASSERT_EQUAL(s.lost, 0);
	CU_ASSERT_EQUAL(tg_session_backlog(&s), 0);
	CU_ASSERT_EQUAL(s.ticks, queued);
	CU_ASSERT_EQUAL(s.left, SLOTS - queued);	/* each cell took one slot */
	CU_ASSERT_EQUAL(s.sessions, 1);
	st = fixture_stats(TG_OUT, 0);
	CU_ASSERT_EQUAL(st.real_packets, queued);
	CU_ASSERT_EQUAL(st.drop_packets, dropped);
	CU_ASSERT_EQUAL(st.violations[TG_VIOLATION_OVERFLOW], dropped);
}

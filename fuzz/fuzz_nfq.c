/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Raw packets through parser, tracker and decision under a fixed policy. The
 * input is a series of packets, each behind a head of four bytes: two of
 * length, one with the bits local, has uid, captured in part, routed, and one
 * by which the clock moves on (in tenths of a second).
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "guard/classify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 4, LOCAL = 1, HAS_UID = 2, PARTIAL = 4, ROUTED = 8 };

static char exact[] = "robot.example", suffix[] = ".plant.example", slice[] = "robot.slice";
static struct tg_cidr to4[] = { { AF_INET, 8, { 10 } } }, to6[] = { { AF_INET6, 8, { 0xfd } } };
static struct tg_port_range https[] = { { 443, 443 }, { 8000, 8999 } };
static struct tg_policy_rule rules[] = {
	{ .proto = IPPROTO_UDP, .to = to4, .to_count = 1, .class = 1 },
	{ .proto = IPPROTO_TCP,
	  .sni = exact,
	  .to = to4,
	  .to_count = 1,
	  .ports = https,
	  .port_count = 2,
	  .class = 2 },
	{ .proto = IPPROTO_TCP, .sni = suffix, .cgroup = slice, .tunnel = 1, .class = 0 },
	{ .proto = IPPROTO_TCP, .sni = suffix, .class = 3 },
	{ .has_uid = true,
	  .uid_lo = 1000,
	  .uid_hi = 2000,
	  .to = to6,
	  .to_count = 1,
	  .tunnel = 1,
	  .class = 1 },
	{ .has_mark = true, .mark = 1, .mark_mask = 3, .class = 0 },
};
static struct tg_tunnel tunnels[] = {
	{ .name = "tg0", .class_count = 4, .default_class = 3 },
	{ .name = "tg1", .class_count = 2 },
};
static const struct tg_policy policy = {
	.tunnels = tunnels,
	.tunnel_count = 2,
	.rules = rules,
	.rule_count = sizeof(rules) / sizeof(rules[0]),
};

static bool answer_uid(void *ctx, const struct tg_flow_key *key, uint32_t *ret_uid)
{
	(void)ctx;
	*ret_uid = key->sport;
	return key->dport & 1;
}

static bool answer_cgroup(void *ctx, const struct tg_flow_key *key, size_t rule)
{
	(void)ctx;
	return (key->sport >> rule) & 1;
}

static void check(enum classify_reason reason, const struct classify_input *in,
		  const struct classify_output *out)
{
	if (out->packet.payload_len > out->packet.payload_total || out->packet.payload_total > in->total)
		abort();
	if (classify_is_decided(reason) &&
	    (out->decision.tunnel > 1 || out->decision.class >= tunnels[out->decision.tunnel].class_count))
		abort();
	if (reason == CLASSIFY_SNI && !out->host)
		abort();
	/* every byte of the payload must be there to be read */
	for (size_t i = 0; i < out->packet.payload_len; i++)
		__asm__ volatile("" : : "r"(out->packet.payload[i]));
}

static void give(struct classifier *c, const uint8_t *head, const uint8_t *data, size_t size, uint64_t now)
{
	uint8_t *packet = malloc(size ? size : 1);
	struct classify_input in = {
		.data = packet,
		.size = size,
		.total = size + (head[2] & PARTIAL ? 1000 : 0),
		.now = now,
		.local = head[2] & LOCAL,
		.has_uid = head[2] & HAS_UID,
		.uid = head[2],
		.mark = head[3],
		.tunnel = head[2] & ROUTED ? 1 : -1,
	};
	struct classify_output out;

	memcpy(packet, data, size);
	check(classify_packet(c, &in, &out), &in, &out);
	free(packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct decide_ops ops = { answer_uid, answer_cgroup, NULL };
	struct classifier *c;
	uint64_t now = 1;

	if (size > 65536 || classifier_new(&ops, 1, &c))
		return 0;
	classifier_set_policy(c, &policy);
	while (size >= HEAD) {
		size_t len = (size_t)data[0] << 8 | data[1];

		if (len > size - HEAD)
			len = size - HEAD;
		now += data[3] * 100000000ull;
		give(c, data, data + HEAD, len, now);
		if (data[3] == 0xff)
			classifier_expire(c, now);
		data += HEAD + len;
		size -= HEAD + len;
	}
	classifier_free(c);
	return 0;
}

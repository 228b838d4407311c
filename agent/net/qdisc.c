/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <stdlib.h>
#include <string.h>

#include "net/internal.h"
#include "net/tbf.h"

#define TBF_HANDLE TC_H_MAKE(1u << 16, 0)
#define TBF_CLASS TC_H_MAKE(1u << 16, 1)
#define INNER_HANDLE TC_H_MAKE(2u << 16, 0)

/* ---- TBF's numbers ---- */

enum { TICK_NS = 64 };		/* PSCHED_SHIFT: unchanged since high resolution timers came in */

uint32_t tbf_ticks(uint64_t rate, uint32_t bytes)
{
	/* bytes < 2^32 and 10^9 < 2^30: the product fits */
	uint64_t ticks = (uint64_t)bytes * 1000000000u / rate / TICK_NS;

	return ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}

uint32_t tbf_bytes(uint64_t rate, uint32_t ticks)
{
	/* the kernel cut the time to whole ticks: the middle of the tick is the best guess */
	__uint128_t ns = (uint64_t)ticks * TICK_NS + TICK_NS / 2;
	__uint128_t bytes = (ns * rate + 500000000u) / 1000000000u;

	return bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
}

bool tbf_same_burst(uint64_t rate, uint32_t bytes, uint32_t ticks)
{
	uint32_t want = tbf_ticks(rate, bytes);
	/* the kernel multiplies by a rounded reciprocal of the rate */
	uint32_t slack = 1 + want / 1000000;

	return (want > ticks ? want - ticks : ticks - want) <= slack;
}

void tbf_options(const struct net_tbf *tbf, unsigned mtu, struct tc_tbf_qopt *ret_options)
{
	struct tc_tbf_qopt options;

	memset(&options, 0, sizeof(options));
	options.rate.linklayer = TC_LINKLAYER_ETHERNET;
	options.rate.rate = tbf->rate >= UINT32_MAX ? UINT32_MAX : (uint32_t)tbf->rate;
	options.limit = tbf->limit;
	options.buffer = tbf_ticks(tbf->rate, tbf->burst);
	options.mtu = tbf_ticks(tbf->rate, mtu);
	*ret_options = options;
}

/* ---- reading ---- */

struct qdisc_state {
	unsigned ifindex;
	struct net_qdisc shown;
	uint32_t root_handle, inner_handle;
	uint32_t limit, burst_ticks;
};

static void read_tbf(const struct nlattr *nest, struct qdisc_state *state)
{
	const struct nlattr *table[TCA_TBF_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, TCA_TBF_MAX };
	struct tc_tbf_qopt options;

	if (!nest || mnl_attr_parse_nested(nest, net_gather, &attrs) < 0 || !table[TCA_TBF_PARMS] ||
	    mnl_attr_get_payload_len(table[TCA_TBF_PARMS]) < sizeof(options))
		return;
	memcpy(&options, mnl_attr_get_payload(table[TCA_TBF_PARMS]), sizeof(options));
	state->shown.rate =
		table[TCA_TBF_RATE64] ? mnl_attr_get_u64(table[TCA_TBF_RATE64]) : options.rate.rate;
	state->shown.burst = tbf_bytes(state->shown.rate, options.buffer);
	state->burst_ticks = options.buffer;
	state->limit = options.limit;
}

static void read_stats(const struct nlattr *nest, struct net_qdisc *shown)
{
	const struct nlattr *table[TCA_STATS_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, TCA_STATS_MAX };
	struct gnet_stats_basic basic;
	struct gnet_stats_queue queue;

	if (!nest || mnl_attr_parse_nested(nest, net_gather, &attrs) < 0)
		return;
	if (table[TCA_STATS_BASIC] && mnl_attr_get_payload_len(table[TCA_STATS_BASIC]) >= 12) {
		memset(&basic, 0, sizeof(basic));
		memcpy(&basic, mnl_attr_get_payload(table[TCA_STATS_BASIC]), 12);
		shown->bytes = basic.bytes;
		shown->packets = basic.packets;
	}
	/* beside it when the 32 bits have run over */
	if (table[TCA_STATS_PKT64] && mnl_attr_get_payload_len(table[TCA_STATS_PKT64]) >= sizeof(uint64_t))
		shown->packets = mnl_attr_get_u64(table[TCA_STATS_PKT64]);
	if (table[TCA_STATS_QUEUE] && mnl_attr_get_payload_len(table[TCA_STATS_QUEUE]) >= sizeof(queue)) {
		memcpy(&queue, mnl_attr_get_payload(table[TCA_STATS_QUEUE]), sizeof(queue));
		shown->drops = queue.drops;
		shown->backlog_packets = queue.qlen;
	}
}

static void read_root(const struct tcmsg *header, const struct nlattr **table, struct qdisc_state *state)
{
	state->root_handle = header->tcm_handle;
	net_attr_text(table[TCA_KIND], state->shown.kind, sizeof(state->shown.kind));
	read_stats(table[TCA_STATS2], &state->shown);
	if (!strcmp(state->shown.kind, "tbf"))
		read_tbf(table[TCA_OPTIONS], state);
}

static int take_qdisc(const struct nlmsghdr *reply, void *data)
{
	const struct nlattr *table[TCA_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, TCA_MAX };
	const struct tcmsg *header = mnl_nlmsg_get_payload(reply);
	struct qdisc_state *state = data;
	char kind[16];

	if (mnl_nlmsg_get_payload_len(reply) < sizeof(*header) ||
	    mnl_attr_parse(reply, sizeof(*header), net_gather, &attrs) < 0)
		return -EBADMSG;
	if (header->tcm_ifindex != (int)state->ifindex)
		return 0;
	net_attr_text(table[TCA_KIND], kind, sizeof(kind));
	if (header->tcm_parent == TC_H_ROOT) {
		read_root(header, table, state);
	} else if (header->tcm_parent == TBF_CLASS) {
		state->inner_handle = header->tcm_handle;
		memcpy(state->shown.inner, kind, sizeof(kind));
	} else if (header->tcm_parent == TC_H_CLSACT && !strcmp(kind, "clsact")) {
		state->shown.clsact = true;
	}
	return 0;
}

static void qdisc_restart(void *data)
{
	struct qdisc_state *state = data;

	*state = (struct qdisc_state){ .ifindex = state->ifindex };
}

static struct nlmsghdr *qdisc_message(struct net *net, uint16_t type, uint16_t flags, unsigned ifindex,
				      uint32_t handle, uint32_t parent)
{
	struct nlmsghdr *message = net_message(net, type, flags);
	struct tcmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));

	header->tcm_family = AF_UNSPEC;
	header->tcm_ifindex = (int)ifindex;
	header->tcm_handle = handle;
	header->tcm_parent = parent;
	return message;
}

static int qdisc_read(struct net *net, unsigned ifindex, struct qdisc_state *ret_state, struct tg_error *e)
{
	struct qdisc_state state = { .ifindex = ifindex };
	int err;

	err = net_dump(net, net->route, qdisc_message(net, RTM_GETQDISC, NLM_F_DUMP, ifindex, 0, 0),
		       take_qdisc, qdisc_restart, &state, e);
	if (err)
		return tg_error_prefix(e, err, "cannot list the qdiscs of device %u", ifindex);
	*ret_state = state;
	return 0;
}

int net_qdisc_get(struct net *net, unsigned ifindex, struct net_qdisc *ret_qdisc, struct tg_error *e)
{
	struct qdisc_state state;
	int err = qdisc_read(net, ifindex, &state, e);

	if (!err)
		*ret_qdisc = state.shown;
	return err;
}

/* ---- changing ---- */

static int put_tbf(struct net *net, unsigned ifindex, const struct net_tbf *tbf, struct tg_error *e)
{
	struct nlmsghdr *message;
	struct tc_tbf_qopt options;
	struct nlattr *nest;

	message = qdisc_message(net, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, ifindex, TBF_HANDLE,
				TC_H_ROOT);
	mnl_attr_put_strz(message, TCA_KIND, "tbf");
	nest = mnl_attr_nest_start(message, TCA_OPTIONS);
	/* TCA_TBF_BURST gives the burst in bytes; the time in the old structure stands in for it on kernels
	 * before 3.13 alone. With a link layer that is stated the kernel wants no rate table. */
	tbf_options(tbf, tbf->burst, &options);
	mnl_attr_put(message, TCA_TBF_PARMS, sizeof(options), &options);
	mnl_attr_put_u32(message, TCA_TBF_BURST, tbf->burst);
	if (tbf->rate >= UINT32_MAX)
		mnl_attr_put_u64(message, TCA_TBF_RATE64, tbf->rate);
	mnl_attr_nest_end(message, nest);
	return net_apply(net, message, e);
}

/*
 * pfifo_fast sizes its rings by the link's transmit queue length when it is
 * made, so that length must be set before; the TBF's own `limit` only bounds
 * the byte queue that it makes for itself and that this one replaces.
 */
static int put_inner(struct net *net, unsigned ifindex, struct tg_error *e)
{
	struct nlmsghdr *message;

	message = qdisc_message(net, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, ifindex, INNER_HANDLE,
				TBF_CLASS);
	mnl_attr_put_strz(message, TCA_KIND, "pfifo_fast");
	return net_apply(net, message, e);
}

static bool same_tbf(const struct qdisc_state *state, const struct net_tbf *tbf)
{
	return !strcmp(state->shown.kind, "tbf") && state->root_handle == TBF_HANDLE &&
	       state->shown.rate == tbf->rate && state->limit == tbf->limit &&
	       tbf_same_burst(tbf->rate, tbf->burst, state->burst_ticks);
}

static bool same_inner(const struct qdisc_state *state)
{
	return !strcmp(state->shown.inner, "pfifo_fast") && state->inner_handle == INNER_HANDLE;
}

int net_tbf_ensure(struct net *net, unsigned ifindex, const struct net_tbf *tbf, bool *ret_changed,
		   struct tg_error *e)
{
	struct qdisc_state state;
	bool changed = false;
	int err;

	if (!tbf->rate || !tbf->burst)
		return tg_error(e, -EINVAL, "device %u: a TBF needs a rate and a burst", ifindex);
	err = qdisc_read(net, ifindex, &state, e);
	if (err)
		return err;
	if (!same_tbf(&state, tbf)) {
		changed = true;
		/* the kernel does not change the kind of a qdisc under its handle */
		if (state.root_handle == TBF_HANDLE && strcmp(state.shown.kind, "tbf"))
			err = net_apply(
				net, qdisc_message(net, RTM_DELQDISC, 0, ifindex, TBF_HANDLE, TC_H_ROOT), e);
		if (!err)
			err = put_tbf(net, ifindex, tbf, e);
	}
	/* a TBF that was changed in place has kept what is inside it, a new one has not */
	if (!err && changed)
		err = qdisc_read(net, ifindex, &state, e);
	if (!err && !same_inner(&state)) {
		changed = true;
		err = put_inner(net, ifindex, e);
	}
	if (err)
		return tg_error_prefix(e, err, "device %u: cannot set the TBF", ifindex);
	*ret_changed = changed;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The clocks of metronomes: one packet that goes round, let go by fq at the time that it carries or by a TBF.
 */
#include <errno.h>
#include <linux/pkt_sched.h>
#include <string.h>

#include "net/internal.h"

#define PACE_HANDLE TC_H_MAKE(3u << 16, 0) /* not that of queues: a handle keeps its kind */

/* A new root qdisc. */
static struct nlmsghdr *root_message(struct net *net, unsigned ifindex)
{
	return net_tc_message(net, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, ifindex, PACE_HANDLE,
			      TC_H_ROOT);
}

int net_pace_fq(struct net *net, unsigned ifindex, struct tg_error *e)
{
	struct nlmsghdr *message = root_message(net, ifindex);
	int err;

	mnl_attr_put_strz(message, TCA_KIND, "fq");
	err = net_apply(net, message, e);
	return err ? tg_error_prefix(e, err, "device %u: cannot set the fq", ifindex) : 0;
}

int net_pace_tbf(struct net *net, unsigned ifindex, uint64_t rate, uint32_t frame, struct tg_error *e)
{
	enum { PACKETS = 16 };
	struct nlmsghdr *message = root_message(net, ifindex);
	struct tc_tbf_qopt options;
	struct nlattr *nest;
	int err;

	memset(&options, 0, sizeof(options));
	/* with a link layer that is stated the kernel wants no rate table */
	options.rate.linklayer = TC_LINKLAYER_ETHERNET;
	options.rate.rate = rate >= UINT32_MAX ? UINT32_MAX : (uint32_t)rate;
	options.limit = frame * PACKETS;
	mnl_attr_put_strz(message, TCA_KIND, "tbf");
	nest = mnl_attr_nest_start(message, TCA_OPTIONS);
	mnl_attr_put(message, TCA_TBF_PARMS, sizeof(options), &options);
	/* half a tick of lateness is made good by the next tick; two never come together */
	mnl_attr_put_u32(message, TCA_TBF_BURST, frame + frame / 2);
	mnl_attr_nest_end(message, nest);
	err = net_apply(net, message, e);
	return err ? tg_error_prefix(e, err, "device %u: cannot set the TBF", ifindex) : 0;
}

struct root_kind {
	unsigned ifindex;
	char kind[16];
};

static int take_root(const struct nlmsghdr *reply, void *data)
{
	const struct nlattr *table[TCA_MAX + 1] = { NULL };
	struct root_kind *root = data;
	const struct tcmsg *header;
	int err = net_tc_parse(reply, table, &header);

	if (!err && header->tcm_ifindex == (int)root->ifindex && header->tcm_parent == TC_H_ROOT)
		net_attr_text(table[TCA_KIND], root->kind, sizeof(root->kind));
	return err;
}

static void forget_root(void *data)
{
	struct root_kind *root = data;

	root->kind[0] = '\0';
}

int net_pace_kind(struct net *net, unsigned ifindex, char ret_kind[static NET_KIND_LEN], struct tg_error *e)
{
	struct root_kind root = { .ifindex = ifindex };
	int err = net_dump(net, net->route, net_tc_message(net, RTM_GETQDISC, NLM_F_DUMP, ifindex, 0, 0),
			   take_root, forget_root, &root, e);

	if (err)
		return tg_error_prefix(e, err, "cannot list the qdiscs of device %u", ifindex);
	memcpy(ret_kind, root.kind, NET_KIND_LEN);
	return 0;
}

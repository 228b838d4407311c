/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/pkt_sched.h>

#include "net/internal.h"

static int count_filter(const struct nlmsghdr *reply, void *data)
{
	unsigned *count = data;

	if (reply->nlmsg_type == RTM_NEWTFILTER)
		(*count)++;
	return 0;
}

static void restart_count(void *data)
{
	unsigned *count = data;

	*count = 0;
}

static int count_filters(struct net *net, unsigned ifindex, uint32_t parent, unsigned *ret_count,
			 struct tg_error *e)
{
	struct nlmsghdr *request = net_message(net, RTM_GETTFILTER, NLM_F_DUMP);
	struct tcmsg *tc = mnl_nlmsg_put_extra_header(request, sizeof(*tc));
	unsigned count = 0;
	int ret;

	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = (int)ifindex;
	tc->tcm_parent = parent;
	ret = net_dump(net, net->route, request, count_filter, restart_count, &count, e);
	if (!ret)
		*ret_count = count;
	return ret;
}

int net_filters_present(struct net *net, unsigned ifindex, bool *ret_present, struct tg_error *e)
{
	unsigned ingress, egress = 0;
	int ret;

	ret = count_filters(net, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), &ingress, e);
	if (!ret)
		ret = count_filters(net, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS), &egress, e);
	if (ret)
		return tg_error_prefix(e, ret, "cannot list the filters of device %u", ifindex);
	*ret_present = ingress || egress;
	return 0;
}

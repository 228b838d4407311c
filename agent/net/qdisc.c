/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "net/htb.h"
#include "net/internal.h"

#define HTB_HANDLE TC_H_MAKE(1u << 16, 0)
/* of the pfifo_fast in class 1:n+1; 1: is the HTB's own */
#define INNER_HANDLE(n) TC_H_MAKE(((uint32_t)(n) + 2) << 16, 0)

_Static_assert(HTB_HANDLE == NET_CLOCK_PARENT, "the filter sits at the HTB");

enum {
	TICK_NS = 64,		/* PSCHED_SHIFT: unchanged since high resolution timers came in */
	FILTER_PRIORITY = 1,
	FILTER_HANDLE = 0x5447,
};

static uint32_t class_of(size_t n)
{
	return HTB_HANDLE | (uint32_t)(n + 1);
}

/* ---- HTB's numbers ---- */

/*
 * A class may send while its tokens are not below 0, and then owes a cell. The
 * tokens that gather beyond that make good the lateness of a timer: half a cell
 * less what the dither may take from one, so that the grid keeps its mean and two
 * cells cannot close up to less than half a period.
 */
uint32_t htb_slack_ticks(uint64_t period_ns)
{
	return (uint32_t)(period_ns * 7 / 16 / TICK_NS);
}

uint64_t htb_rate(uint64_t period_ns)
{
	return (HTB_CELL * 1000000000ull + period_ns / 2) / period_ns;
}

void htb_options(uint64_t period_ns, struct tc_htb_opt *ret_options)
{
	uint64_t rate = htb_rate(period_ns);
	struct tc_htb_opt options;

	memset(&options, 0, sizeof(options));
	/* with a link layer that is stated the kernel wants no rate table */
	options.rate.linklayer = TC_LINKLAYER_ETHERNET;
	options.rate.rate = rate >= UINT32_MAX ? UINT32_MAX : (uint32_t)rate;
	options.ceil = options.rate;
	options.buffer = options.cbuffer = htb_slack_ticks(period_ns);
	options.quantum = HTB_CELL;
	*ret_options = options;
}

/* ---- reading ---- */

struct class_state {
	uint64_t rate, ceil;
	uint32_t buffer, cbuffer, quantum;
	bool inner;		/* pfifo_fast under our handle */
};

struct clock_state {
	unsigned ifindex;
	uint32_t root_handle;
	bool htb;		/* the root is an HTB without a direct queue, and with our size table */
	struct class_state *classes;
	size_t count;
};

/* Behind the last entry the kernel adds that one, which is 0, and begins again with the first. */
static const struct tc_sizespec size_table = { .tsize = TG_DITHER_CYCLE };

void htb_size_table(uint16_t ret_entries[static TG_DITHER_CYCLE])
{
	for (uint32_t i = 0; i < TG_DITHER_CYCLE; i++)
		ret_entries[i] = (uint16_t)tg_dither_cost(i);
}

/* The kernel tells the table's parameters and not its entries; nobody else makes one of this size. */
static bool has_size_table(const struct nlattr *nest)
{
	const struct nlattr *table[TCA_STAB_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, TCA_STAB_MAX };

	return nest && mnl_attr_parse_nested(nest, net_gather, &attrs) >= 0 && table[TCA_STAB_BASE] &&
	       mnl_attr_get_payload_len(table[TCA_STAB_BASE]) >= sizeof(size_table) &&
	       !memcmp(mnl_attr_get_payload(table[TCA_STAB_BASE]), &size_table, sizeof(size_table));
}

static bool is_closed_htb(const struct nlattr **table)
{
	const struct nlattr *options[TCA_HTB_MAX + 1] = { NULL };
	struct net_attrs attrs = { options, TCA_HTB_MAX };
	char kind[16];

	net_attr_text(table[TCA_KIND], kind, sizeof(kind));
	return !strcmp(kind, "htb") && table[TCA_OPTIONS] && has_size_table(table[TCA_STAB]) &&
	       mnl_attr_parse_nested(table[TCA_OPTIONS], net_gather, &attrs) >= 0 &&
	       !net_attr_u32(options[TCA_HTB_DIRECT_QLEN], 1);
}

/* Number of the session whose class that is, or `count` if there is none. */
static size_t session_of(const struct clock_state *state, uint32_t class)
{
	uint32_t minor = TC_H_MIN(class);

	return TC_H_MAJ(class) == HTB_HANDLE && minor && minor <= state->count ? minor - 1 : state->count;
}

static int take_qdisc(const struct nlmsghdr *reply, void *data)
{
	const struct nlattr *table[TCA_MAX + 1] = { NULL };
	struct clock_state *state = data;
	const struct tcmsg *header;
	char kind[16];
	size_t n;
	int err = net_tc_parse(reply, table, &header);

	if (err || header->tcm_ifindex != (int)state->ifindex)
		return err;
	if (header->tcm_parent == TC_H_ROOT) {
		state->root_handle = header->tcm_handle;
		state->htb = header->tcm_handle == HTB_HANDLE && is_closed_htb(table);
	}
	n = session_of(state, header->tcm_parent);
	net_attr_text(table[TCA_KIND], kind, sizeof(kind));
	if (n < state->count)
		state->classes[n].inner =
			header->tcm_handle == INNER_HANDLE(n) && !strcmp(kind, "pfifo_fast");
	return 0;
}

static void read_class(const struct nlattr *nest, struct class_state *class)
{
	const struct nlattr *table[TCA_HTB_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, TCA_HTB_MAX };
	struct tc_htb_opt options;

	if (!nest || mnl_attr_parse_nested(nest, net_gather, &attrs) < 0 || !table[TCA_HTB_PARMS] ||
	    mnl_attr_get_payload_len(table[TCA_HTB_PARMS]) < sizeof(options))
		return;
	memcpy(&options, mnl_attr_get_payload(table[TCA_HTB_PARMS]), sizeof(options));
	class->rate = table[TCA_HTB_RATE64] ? mnl_attr_get_u64(table[TCA_HTB_RATE64]) : options.rate.rate;
	class->ceil = table[TCA_HTB_CEIL64] ? mnl_attr_get_u64(table[TCA_HTB_CEIL64]) : options.ceil.rate;
	class->buffer = options.buffer;
	class->cbuffer = options.cbuffer;
	class->quantum = options.quantum;
}

static int take_class(const struct nlmsghdr *reply, void *data)
{
	const struct nlattr *table[TCA_MAX + 1] = { NULL };
	struct clock_state *state = data;
	const struct tcmsg *header;
	size_t n;
	int err = net_tc_parse(reply, table, &header);

	if (err || header->tcm_ifindex != (int)state->ifindex)
		return err;
	n = session_of(state, header->tcm_handle);
	if (n < state->count && header->tcm_parent == TC_H_ROOT)
		read_class(table[TCA_OPTIONS], &state->classes[n]);
	return 0;
}

static void clock_restart(void *data)
{
	struct clock_state *state = data;

	state->root_handle = 0;
	state->htb = false;
	for (size_t n = 0; n < state->count; n++)
		state->classes[n].inner = false;
}

static void class_restart(void *data)
{
	struct clock_state *state = data;

	for (size_t n = 0; n < state->count; n++)
		state->classes[n].rate = 0;
}

/* Free ret_state->classes. */
static int clock_read(struct net *net, unsigned ifindex, size_t count, struct clock_state *ret_state,
		      struct tg_error *e)
{
	struct clock_state state = { .ifindex = ifindex, .count = count };
	int err;

	state.classes = calloc(count ? count : 1, sizeof(*state.classes));
	if (!state.classes)
		return tg_error(e, -ENOMEM, "out of memory");
	err = net_dump(net, net->route, net_tc_message(net, RTM_GETQDISC, NLM_F_DUMP, ifindex, 0, 0),
		       take_qdisc, clock_restart, &state, e);
	if (!err && state.htb)
		err = net_dump(net, net->route, net_tc_message(net, RTM_GETTCLASS, NLM_F_DUMP, ifindex, 0, 0),
			       take_class, class_restart, &state, e);
	if (err) {
		free(state.classes);
		return tg_error_prefix(e, err, "cannot list the qdiscs of device %u", ifindex);
	}
	*ret_state = state;
	return 0;
}

static bool same_class(const struct class_state *class, uint64_t period_ns)
{
	uint32_t slack = htb_slack_ticks(period_ns);
	uint64_t rate = htb_rate(period_ns);

	return class->rate == rate && class->ceil == rate && class->buffer == slack &&
	       class->cbuffer == slack && class->quantum == HTB_CELL;
}

int net_clock_look(struct net *net, unsigned ifindex, uint64_t period_ns, size_t count, bool *ret_whole,
		   struct tg_error *e)
{
	struct clock_state state;
	int err = clock_read(net, ifindex, count, &state, e);

	if (err)
		return err;
	for (size_t n = 0; n < count; n++)
		ret_whole[n] =
			state.htb && same_class(&state.classes[n], period_ns) && state.classes[n].inner;
	free(state.classes);
	return 0;
}

/* ---- changing ---- */

static int put_root(struct net *net, const struct clock_state *state, struct tg_error *e)
{
	const struct tc_htb_glob init = { .version = TC_HTB_PROTOVER, .rate2quantum = 10 };
	uint16_t entries[TG_DITHER_CYCLE];
	struct nlmsghdr *message;
	struct nlattr *nest;
	int err = 0;

	/* the kernel changes neither the kind of a qdisc under its handle nor an HTB's options */
	if (state->root_handle == HTB_HANDLE)
		err = net_apply(
			net, net_tc_message(net, RTM_DELQDISC, 0, state->ifindex, HTB_HANDLE, TC_H_ROOT), e);
	if (err)
		return err;
	message = net_tc_message(net, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, state->ifindex, HTB_HANDLE,
				 TC_H_ROOT);
	mnl_attr_put_strz(message, TCA_KIND, "htb");
	nest = mnl_attr_nest_start(message, TCA_STAB);
	mnl_attr_put(message, TCA_STAB_BASE, sizeof(size_table), &size_table);
	htb_size_table(entries);
	mnl_attr_put(message, TCA_STAB_DATA, sizeof(entries), entries);
	mnl_attr_nest_end(message, nest);
	nest = mnl_attr_nest_start(message, TCA_OPTIONS);
	mnl_attr_put(message, TCA_HTB_INIT, sizeof(init), &init);
	mnl_attr_put_u32(message, TCA_HTB_DIRECT_QLEN, 0);
	mnl_attr_nest_end(message, nest);
	return net_apply(net, message, e);
}

static int put_filter(struct net *net, unsigned ifindex, int steer, struct tg_error *e)
{
	uint32_t info = TC_H_MAKE((uint32_t)FILTER_PRIORITY << 16, htons(ETH_P_ALL));
	struct nlmsghdr *message = net_tc_message(net, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, ifindex,
						  FILTER_HANDLE, HTB_HANDLE);
	struct tcmsg *header = mnl_nlmsg_get_payload(message);
	struct nlattr *nest;

	header->tcm_info = info;
	mnl_attr_put_strz(message, TCA_KIND, "bpf");
	nest = mnl_attr_nest_start(message, TCA_OPTIONS);
	mnl_attr_put_u32(message, TCA_BPF_FD, (uint32_t)steer);
	mnl_attr_put_strz(message, TCA_BPF_NAME, "tg_steer");
	mnl_attr_put_u32(message, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	/* the program gives the minor number alone */
	mnl_attr_put_u32(message, TCA_BPF_CLASSID, HTB_HANDLE);
	mnl_attr_nest_end(message, nest);
	return net_apply(net, message, e);
}

static int add_class(struct net_batch *batch, unsigned ifindex, size_t n, uint64_t period_ns,
		     struct tg_error *e)
{
	struct nlmsghdr *message = net_tc_message(batch->net, RTM_NEWTCLASS, NLM_F_CREATE | NLM_F_REPLACE,
						  ifindex, class_of(n), HTB_HANDLE);
	uint64_t rate = htb_rate(period_ns);
	struct tc_htb_opt options;
	struct nlattr *nest;

	htb_options(period_ns, &options);
	mnl_attr_put_strz(message, TCA_KIND, "htb");
	nest = mnl_attr_nest_start(message, TCA_OPTIONS);
	mnl_attr_put(message, TCA_HTB_PARMS, sizeof(options), &options);
	if (rate >= UINT32_MAX) {
		mnl_attr_put_u64(message, TCA_HTB_RATE64, rate);
		mnl_attr_put_u64(message, TCA_HTB_CEIL64, rate);
	}
	mnl_attr_nest_end(message, nest);
	return net_batch_add(batch, message, e);
}

/* It sizes its rings by the link's transmit queue length when it is made: that length must be set before. */
static int add_inner(struct net_batch *batch, unsigned ifindex, size_t n, struct tg_error *e)
{
	struct nlmsghdr *message = net_tc_message(batch->net, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE,
						  ifindex, INNER_HANDLE(n), class_of(n));

	mnl_attr_put_strz(message, TCA_KIND, "pfifo_fast");
	return net_batch_add(batch, message, e);
}

static int put_classes(struct net *net, const struct clock_state *state, uint64_t period_ns,
		       const bool *wanted, bool *ret_fresh, struct tg_error *e)
{
	struct net_batch *batch = malloc(sizeof(*batch));
	int err = 0;

	if (!batch)
		return tg_error(e, -ENOMEM, "out of memory");
	batch->net = net;
	batch->used = 0;
	batch->count = 0;
	for (size_t n = 0; n < state->count && !err; n++) {
		bool same = same_class(&state->classes[n], period_ns);

		ret_fresh[n] = wanted[n] && !state->classes[n].inner;
		if (wanted[n] && !same)
			err = add_class(batch, state->ifindex, n, period_ns, e);
		if (ret_fresh[n] && !err)
			err = add_inner(batch, state->ifindex, n, e);
	}
	if (!err)
		err = net_batch_end(batch, e);
	free(batch);
	return err;
}

int net_clock_ensure(struct net *net, unsigned ifindex, uint64_t period_ns, int steer, const bool *wanted,
		     size_t count, bool *ret_fresh, struct tg_error *e)
{
	struct clock_state state;
	int err;

	if (!period_ns)
		return tg_error(e, -EINVAL, "device %u: a clock needs a period", ifindex);
	err = clock_read(net, ifindex, count, &state, e);
	if (err)
		return err;
	if (!state.htb) {
		memset(state.classes, 0, count * sizeof(*state.classes));
		err = put_root(net, &state, e);
	}
	if (!err)
		err = put_filter(net, ifindex, steer, e);
	if (!err)
		err = put_classes(net, &state, period_ns, wanted, ret_fresh, e);
	free(state.classes);
	return err ? tg_error_prefix(e, err, "device %u: cannot set the clocks (htb)", ifindex) : 0;
}

int net_clock_drop(struct net *net, unsigned ifindex, const bool *gone, size_t count, struct tg_error *e)
{
	int err = 0;

	for (size_t n = 0; n < count && !err; n++) {
		if (gone[n])
			err = net_apply(
				net, net_tc_message(net, RTM_DELTCLASS, 0, ifindex, class_of(n), HTB_HANDLE),
				e);
		/* gone already, or with its device */
		if (err == -ENOENT || err == -ENODEV || err == -EINVAL)
			err = 0;
	}
	return err ? tg_error_prefix(e, err, "device %u: cannot remove a clock", ifindex) : 0;
}

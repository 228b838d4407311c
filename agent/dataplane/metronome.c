/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a metronome: a veth pair in which one clock packet goes round for
 * ever, let go by fq at the time that it carries, or once per tick by a TBF.
 * It is made as a whole or not at all: nothing waits in it that could be lost.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#include "common/clock.h"
#include "dataplane/dataplane.h"
#include "dataplane/loop.h"

enum {
	MIN_VETH_MTU = 68,
	TXQLEN = 16,
};

void metronome_names(const char *tunnel, unsigned class, char ret_head[IFNAMSIZ], char ret_tail[IFNAMSIZ])
{
	snprintf(ret_head, IFNAMSIZ, "%.8sm%u", tunnel, class % 100);
	snprintf(ret_tail, IFNAMSIZ, "%.8sm%up", tunnel, class % 100);
}

const char *metronome_clock_name(unsigned clock)
{
	return clock == TG_CLOCK_FQ ? "fq" : "tbf";
}

/* ---- maps ---- */

int dataplane_metronome_get(const struct dataplane *dp, unsigned class, struct tg_metronome *ret_metronome,
			    struct tg_error *e)
{
	if (bpf_map_lookup_elem(dp->maps[DP_METRONOMES], &class, ret_metronome))
		return tg_error(e, -errno, "cannot read map metronomes of %s: %s", dp->tunnel,
				strerror(errno));
	return 0;
}

int dataplane_metronome_set(const struct dataplane *dp, unsigned class, const struct tg_metronome *metronome,
			    struct tg_error *e)
{
	const struct tg_metronome_session silence = { .reserved = 0 };
	struct tg_exponential table;
	unsigned zero = 0;

	tg_exponential_fill(&table);
	if (bpf_map_update_elem(dp->maps[DP_EXPONENTIAL], &zero, &table, BPF_ANY) ||
	    bpf_map_update_elem(dp->maps[DP_METRONOME_STATE], &class, &silence, BPF_F_LOCK) ||
	    bpf_map_update_elem(dp->maps[DP_METRONOMES], &class, metronome, BPF_ANY))
		return tg_error(e, -errno, "cannot write the metronomes of %s: %s", dp->tunnel,
				strerror(errno));
	return 0;
}

int dataplane_metronome_state(const struct dataplane *dp, unsigned class,
			      struct tg_metronome_state *ret_state, struct tg_error *e)
{
	struct tg_metronome_session session;

	if (bpf_map_lookup_elem_flags(dp->maps[DP_METRONOME_STATE], &class, &session, BPF_F_LOCK))
		return tg_error(e, -errno, "cannot read map metronome_state of %s: %s", dp->tunnel,
				strerror(errno));
	*ret_state = session.state;
	return 0;
}

/* ---- the clock ---- */

/* A busy machine may hold the clock back for a while: only waiting tells late from lost. */
int metronome_ticking(const struct dataplane *dp, unsigned class, bool *ret_ticking, struct tg_error *e)
{
	enum { LOST_NS = 500000000, FRESH_NS = 20000000 };
	const struct timespec pause = { .tv_nsec = 5000000 };
	struct tg_metronome_state state;
	struct tg_metronome m;
	uint64_t deadline;
	bool alive;
	int ret;

	ret = dataplane_metronome_get(dp, class, &m, e);
	if (ret)
		return ret;
	deadline = monotonic_ns() + LOST_NS + 2 * m.tick_ns;
	do {
		ret = dataplane_metronome_state(dp, class, &state, e);
		alive = !ret && state.ticks &&
			(int64_t)(monotonic_ns() - state.last_tick_ns) < (int64_t)(4 * m.tick_ns + FRESH_NS);
		if (!ret && !alive)
			nanosleep(&pause, NULL);
	} while (!ret && !alive && monotonic_ns() < deadline);
	if (!ret)
		*ret_ticking = alive;
	return ret;
}

static int start(unsigned class, const struct tg_metronome *m, const struct tg_tunnel *tunnel,
		 struct tg_error *e)
{
	struct loop loop = {
		.ifindex = m->head_ifindex, .index = class, .cell = m->cell, .length = TG_L2_LEN + m->cell
	};
	int ret = loop_open(&loop, e);

	if (!ret)
		ret = loop_start(&loop, 0, &tunnel->dummy_source, &tunnel->dummy_target, e);
	loop_close(&loop);
	return ret;
}

/* fq if it is wanted or, by `auto`, there; else TBF. */
static int set_clock(struct net *net, unsigned ifindex, const struct tg_compiled_metronome *wanted,
		     uint16_t *ret_clock, struct tg_error *e)
{
	int ret = -EOPNOTSUPP;

	if (wanted->choice != TG_CLOCK_CHOICE_TBF)
		ret = net_pace_fq(net, ifindex, e);
	if (!ret) {
		*ret_clock = TG_CLOCK_FQ;
		return 0;
	}
	if (wanted->choice == TG_CLOCK_CHOICE_FQ)
		return ret;
	*ret_clock = TG_CLOCK_TBF;
	return net_pace_tbf(net, ifindex, wanted->rate, wanted->frame, e);
}

/* ---- making and removing ---- */

static bool choice_allows(enum tg_clock_choice choice, unsigned clock)
{
	return choice == TG_CLOCK_CHOICE_AUTO ||
	       clock == (choice == TG_CLOCK_CHOICE_FQ ? TG_CLOCK_FQ : TG_CLOCK_TBF);
}

bool metronome_serves(const struct tg_metronome *running, const struct tg_compiled_metronome *wanted)
{
	struct tg_metronome a = *running;

	a.head_ifindex = a.tail_ifindex = a.clock = 0;
	return running->head_ifindex && choice_allows(wanted->choice, running->clock) &&
	       !memcmp(&a, &wanted->metronome, sizeof(a));
}

/* Whether the metronome that runs is the one that is wanted, and whole. */
static bool is_whole(const struct dataplane *dp, struct net *net, const struct tg_compiled_metronome *wanted)
{
	char head[IFNAMSIZ], tail[IFNAMSIZ], kind[NET_KIND_LEN];
	struct tg_metronome running;
	struct net_link link;
	bool ticking = false, attached = false;

	metronome_names(dp->tunnel, wanted->class, head, tail);
	return !dataplane_metronome_get(dp, wanted->class, &running, NULL) &&
	       metronome_serves(&running, wanted) && !net_link_get(net, head, &link, NULL) &&
	       link.ifindex == running.head_ifindex && link.peer_ifindex == running.tail_ifindex &&
	       !net_pace_kind(net, link.ifindex, kind, NULL) &&
	       !strcmp(kind, metronome_clock_name(running.clock)) &&
	       !dataplane_attached(dp, DP_METRONOME, link.peer_ifindex, DP_HOOK_INGRESS, &attached, NULL) &&
	       attached && !metronome_ticking(dp, wanted->class, &ticking, NULL) && ticking;
}

static int make(const struct dataplane *dp, struct net *net, const struct tg_tunnel *tunnel,
		const struct tg_compiled_metronome *wanted, struct tg_error *e)
{
	unsigned mtu = wanted->metronome.cell < MIN_VETH_MTU ? MIN_VETH_MTU : wanted->metronome.cell;
	struct tg_metronome m = wanted->metronome;
	char head[IFNAMSIZ], tail[IFNAMSIZ], alias[64];
	struct net_link link;
	int ret;

	metronome_names(dp->tunnel, wanted->class, head, tail);
	snprintf(alias, sizeof(alias), TG_LINK_ALIAS "%s metronome", dp->tunnel);
	ret = net_link_remove(net, head, e);
	if (!ret)
		ret = net_veth_ensure(net, head, tail, mtu, TXQLEN, alias, e);
	if (!ret)
		ret = net_link_get(net, head, &link, e);
	if (!ret)
		ret = set_clock(net, link.ifindex, wanted, &m.clock, e);
	if (ret)
		return ret;
	m.head_ifindex = link.ifindex;
	m.tail_ifindex = link.peer_ifindex;
	ret = dataplane_metronome_set(dp, wanted->class, &m, e);
	if (!ret)
		ret = dataplane_port_set(dp, m.tail_ifindex, TG_NO_QUEUE, e);
	if (!ret)
		ret = dataplane_attach(dp, DP_METRONOME, m.tail_ifindex, DP_HOOK_INGRESS, e);
	if (!ret && m.clock == TG_CLOCK_FQ)
		ret = dataplane_attach(dp, DP_TIMED, m.head_ifindex, DP_HOOK_EGRESS, e);
	return ret ? ret : start(wanted->class, &m, tunnel, e);
}

static int forget_port(const struct dataplane *dp, unsigned class, struct tg_error *e)
{
	struct tg_metronome before;
	int ret = dataplane_metronome_get(dp, class, &before, e);

	return ret || !before.tail_ifindex ? ret : dataplane_port_clear(dp, before.tail_ifindex, e);
}

int metronome_ensure(const struct dataplane *dp, struct net *net, const struct tg_tunnel *tunnel,
		     const struct tg_compiled_metronome *wanted, struct tg_error *e)
{
	int ret;

	if (is_whole(dp, net, wanted))
		return 0;
	ret = forget_port(dp, wanted->class, e);
	if (!ret)
		ret = make(dp, net, tunnel, wanted, e);
	return ret ? tg_error_prefix(e, ret, "metronome %u of %s", wanted->class, dp->tunnel) : 0;
}

int metronome_remove(const struct dataplane *dp, struct net *net, unsigned class, struct tg_error *e)
{
	const struct tg_metronome none = { .head_ifindex = 0 };
	char head[IFNAMSIZ], tail[IFNAMSIZ];
	struct tg_metronome running;
	struct net_link link;
	int ret;

	metronome_names(dp->tunnel, class, head, tail);
	ret = dataplane_metronome_get(dp, class, &running, e);
	/* without an entry: a run was killed after it had made the devices */
	if (ret || (!running.head_ifindex && net_link_get(net, head, &link, NULL)))
		return ret;
	ret = net_link_remove(net, head, e);
	if (ret == -EPERM && !running.head_ifindex)
		return 0;	/* somebody else's device of that name */
	if (!ret)
		ret = forget_port(dp, class, e);
	return ret ? ret : dataplane_metronome_set(dp, class, &none, e);
}

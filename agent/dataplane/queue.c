/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a self-clocking queue: a veth pair whose head is paced by a TBF
 * with one cell per period, and clock cells that go round in it for ever.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/ip6.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/dataplane.h"

enum {
	/*
	 * TBF lets tokens gather up to one and a half cells: a late timer is made
	 * good by the next cell, so the grid keeps its mean, and two cells still
	 * cannot close up to less than half a period.
	 */
	BURST_NUMERATOR = 3,
	BURST_DENOMINATOR = 2,
	MIN_VETH_MTU = 68,
	CLOCK_PRIORITY = 2,	/* TC_PRIO_BULK: pfifo_fast's last band */
	/* One would do; the second keeps the clock going should the kernel ever drop the first. */
	CLOCK_CELLS = 2,
	NS_PER_S = 1000000000,
};

void queue_names(const char *tunnel, unsigned id, char ret_head[IFNAMSIZ], char ret_tail[IFNAMSIZ])
{
	snprintf(ret_head, IFNAMSIZ, "%.8sq%u", tunnel, id % 100);
	snprintf(ret_tail, IFNAMSIZ, "%.8sq%up", tunnel, id % 100);
}

bool queue_serves(const struct tg_queue *running, const struct tg_queue *wanted)
{
	struct tg_queue a = *running, b = *wanted;

	a.head_ifindex = a.tail_ifindex = a.class = a.guard_ns = 0;
	b.head_ifindex = b.tail_ifindex = b.class = b.guard_ns = 0;
	return running->head_ifindex && !memcmp(&a, &b, sizeof(a));
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/*
 * Something leaves the queue in time, and where it went silent in between, the
 * clock cell was seen since: real cells alone also tick, on their own time.
 */
static bool seems_alive(const struct tg_session_state *state, const struct tg_queue *queue, uint64_t now)
{
	enum { GRACE_PERIODS = 4, FRESH_NS = 20000000 };
	int64_t fresh = (int64_t)(GRACE_PERIODS * queue->period_ns + FRESH_NS);

	return state->ticks && (int64_t)(now - state->last_tick_ns) < fresh &&
	       (!state->overdue || (int64_t)(now - state->last_clock_ns) < fresh);
}

int queue_ticking(const struct dataplane *dp, unsigned id, bool *ret_ticking, struct tg_error *e)
{
	/* A busy machine may hold the clock back for a while: only waiting tells late from lost. */
	enum { LOST_NS = 500000000 };
	const struct timespec pause = { .tv_nsec = 5000000 };
	struct tg_session_state state;
	uint64_t now, deadline;
	struct tg_queue queue;
	int ret;

	ret = dataplane_queue_get(dp, id, &queue, e);
	if (!ret)
		ret = dataplane_session_get(dp, id, &state, e);
	if (ret)
		return ret;
	now = now_ns();
	deadline = now + LOST_NS + 2 * queue.period_ns;
	while (!ret && !seems_alive(&state, &queue, now) && now < deadline) {
		nanosleep(&pause, NULL);
		ret = dataplane_session_get(dp, id, &state, e);
		now = now_ns();
	}
	if (!ret)
		*ret_ticking = seems_alive(&state, &queue, now);
	return ret;
}

/* A dummy (IPv6, next header 59) behind the internal link header; tg_release makes it a clock cell. `frame`
 * has room for cell + TG_L2_LEN. */
static void build_clock_cell(uint8_t *frame, unsigned id, const struct tg_queue *queue,
			     const struct in6_addr *source, const struct in6_addr *target)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_START,
				      .queue = (uint8_t)id,
				      .h_proto = htons(ETHERTYPE_IPV6) };
	struct ip6_hdr ip = { .ip6_src = *source, .ip6_dst = *target };

	ip.ip6_flow = htonl(6u << 28);
	ip.ip6_plen = htons((uint16_t)(queue->cell - sizeof(ip)));
	ip.ip6_nxt = IPPROTO_NONE;
	ip.ip6_hlim = 64;
	memset(frame, 0, queue->cell + TG_L2_LEN);
	memcpy(frame, &meta, sizeof(meta));
	memcpy(frame + TG_L2_LEN, &ip, sizeof(ip));
}

static int send_frame(unsigned ifindex, const uint8_t *frame, size_t size, struct tg_error *e)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETHERTYPE_IPV6),
				  .sll_ifindex = (int)ifindex,
				  .sll_halen = ETH_ALEN };
	int fd, ret = 0, priority = CLOCK_PRIORITY;

	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return tg_error(e, -errno, "cannot open a packet socket: %s", strerror(errno));
	if (setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority)))
		ret = -errno;
	for (int i = 0; i < CLOCK_CELLS && !ret; i++)
		if (sendto(fd, frame, size, 0, (const struct sockaddr *)&to, sizeof(to)) != (ssize_t)size)
			ret = errno ? -errno : -EIO;
	close(fd);
	return ret ? tg_error(e, ret, "cannot send the clock cell to device %u: %s", ifindex, strerror(-ret))
		   : 0;
}

static int start_clock(unsigned id, const struct tg_queue *queue, const struct in6_addr *source,
		       const struct in6_addr *target, struct tg_error *e)
{
	uint8_t *frame = malloc(queue->cell + TG_L2_LEN);
	int ret;

	if (!frame)
		return tg_error(e, -ENOMEM, "out of memory");
	build_clock_cell(frame, id, queue, source, target);
	ret = send_frame(queue->head_ifindex, frame, queue->cell + TG_L2_LEN, e);
	free(frame);
	return ret;
}

/* The devices and their discipline. A TBF that had to be made anew has lost its cells. */
static int ensure_devices(const struct dataplane *dp, struct net *net, unsigned id,
			  const struct tg_compiled_queue *wanted, struct tg_queue *ret_queue,
			  bool *ret_changed, struct tg_error *e)
{
	unsigned mtu = wanted->queue.cell < MIN_VETH_MTU ? MIN_VETH_MTU : wanted->queue.cell;
	struct net_tbf tbf = { .rate = wanted->rate };
	char head[IFNAMSIZ], tail[IFNAMSIZ], alias[64];
	struct net_link link;
	int ret;

	queue_names(dp->tunnel, id, head, tail);
	snprintf(alias, sizeof(alias), TG_LINK_ALIAS "%s queue", dp->tunnel);
	/* room for the clock cells and for what admission and release count differently for a moment */
	ret = net_veth_ensure(net, head, tail, mtu, wanted->queue.limit_cells + 16, alias, e);
	if (!ret)
		ret = net_link_get(net, head, &link, e);
	if (ret)
		return ret;
	tbf.burst = wanted->frame * BURST_NUMERATOR / BURST_DENOMINATOR;
	tbf.limit = wanted->frame * (wanted->queue.limit_cells + 16);
	ret = net_tbf_ensure(net, link.ifindex, &tbf, ret_changed, e);
	if (ret)
		return ret;
	*ret_queue = wanted->queue;
	ret_queue->class = wanted->class;
	ret_queue->head_ifindex = link.ifindex;
	ret_queue->tail_ifindex = link.peer_ifindex;
	return 0;
}

int queue_ensure(const struct dataplane *dp, struct net *net, const struct tg_tunnel *tunnel, unsigned id,
		 const struct tg_compiled_queue *wanted, struct tg_error *e)
{
	struct tg_queue queue, before;
	bool changed, ticking = false;
	int ret;

	ret = dataplane_queue_get(dp, id, &before, e);
	if (!ret)
		ret = ensure_devices(dp, net, id, wanted, &queue, &changed, e);
	if (ret)
		return tg_error_prefix(e, ret, "queue %u of %s", id, dp->tunnel);
	if (before.head_ifindex != queue.head_ifindex || changed)
		ret = dataplane_session_clear(dp, id, e);
	else
		ret = queue_ticking(dp, id, &ticking, e);
	if (!ret)
		ret = dataplane_queue_set(dp, id, &queue, e);
	if (!ret)
		ret = dataplane_port_set(dp, queue.tail_ifindex, id, e);
	if (!ret)
		ret = dataplane_attach(dp, DP_RELEASE, queue.tail_ifindex, DP_HOOK_INGRESS, e);
	if (!ret && !ticking)
		ret = start_clock(id, &queue, &tunnel->dummy_source, &tunnel->dummy_target, e);
	return ret ? tg_error_prefix(e, ret, "queue %u of %s", id, dp->tunnel) : 0;
}

static int wait_until_empty(const struct dataplane *dp, unsigned id, const struct tg_queue *queue,
			    struct tg_error *e)
{
	uint64_t deadline = now_ns() + (uint64_t)(queue->limit_cells + 16) * queue->period_ns + NS_PER_S / 10;
	struct timespec pause = { .tv_nsec = (long)(queue->period_ns < NS_PER_S ? queue->period_ns
										: NS_PER_S - 1) };
	struct tg_session_state state;
	bool ticking = true;
	int ret = 0;

	do {
		ret = dataplane_session_get(dp, id, &state, e);
		if (!ret)
			ret = queue_ticking(dp, id, &ticking, e);
		/* One more period even when empty: what left the queue may still be on its way to the tunnel.
		 */
		nanosleep(&pause, NULL);
	} while (!ret && ticking && state.backlog && now_ns() < deadline);
	return ret;
}

int queue_drain(const struct dataplane *dp, struct net *net, unsigned id, struct tg_error *e)
{
	char head[IFNAMSIZ], tail[IFNAMSIZ];
	struct tg_queue queue, none = { 0 };
	int ret;

	ret = dataplane_queue_get(dp, id, &queue, e);
	if (!ret && queue.head_ifindex)
		ret = wait_until_empty(dp, id, &queue, e);
	queue_names(dp->tunnel, id, head, tail);
	if (!ret)
		ret = net_link_remove(net, head, e);
	if (ret == -EPERM && !queue.head_ifindex)
		return 0;	/* somebody else's device of that name */
	if (!ret)
		ret = dataplane_queue_set(dp, id, &none, e);
	if (!ret && queue.tail_ifindex)
		ret = dataplane_port_clear(dp, queue.tail_ifindex, e);
	if (!ret)
		ret = dataplane_session_clear(dp, id, e);
	return ret;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a self-clocking queue: a veth pair whose head lets one cell per
 * period and session go, and clock cells that go round in it for ever.
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
	MIN_VETH_MTU = 68,
	CLOCK_PRIORITY = 2,	/* TC_PRIO_BULK: pfifo_fast's last band */
	/* One would do; the second keeps the clock going should the kernel ever drop the first. */
	CLOCK_CELLS = 2,
	SPARE_CELLS = 16, /* the clock cells, and what admission and release count differently for a moment */
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

	a.head_ifindex = a.tail_ifindex = a.class = a.guard_ns = a.first = a.room = 0;
	b.head_ifindex = b.tail_ifindex = b.class = b.guard_ns = b.first = b.room = 0;
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

/* Which of the wanted clocks seem to stand, at one look. */
static int look_at_clocks(const struct dataplane *dp, const struct tg_queue *queue, const bool *wanted,
			  bool *ret_stopped, size_t *ret_count, struct tg_error *e)
{
	struct tg_session_state state;
	size_t count = 0;
	int ret = 0;

	for (unsigned n = 0; n < queue->room && !ret; n++) {
		ret_stopped[n] = false;
		if (!wanted[n])
			continue;
		ret = dataplane_session_get(dp, queue->first + n, &state, e);
		ret_stopped[n] = !seems_alive(&state, queue, now_ns());
		count += ret_stopped[n];
	}
	*ret_count = count;
	return ret;
}

int queue_stopped(const struct dataplane *dp, unsigned id, const bool *wanted, bool *ret_stopped,
		  size_t *ret_count, struct tg_error *e)
{
	/* A busy machine may hold the clock back for a while: only waiting tells late from lost. */
	enum { LOST_NS = 500000000 };
	const struct timespec pause = { .tv_nsec = 5000000 };
	struct tg_queue queue;
	uint64_t deadline;
	int ret = dataplane_queue_get(dp, id, &queue, e);

	if (ret)
		return ret;
	deadline = now_ns() + LOST_NS + 2 * queue.period_ns;
	ret = look_at_clocks(dp, &queue, wanted, ret_stopped, ret_count, e);
	while (!ret && *ret_count && now_ns() < deadline) {
		nanosleep(&pause, NULL);
		ret = look_at_clocks(dp, &queue, wanted, ret_stopped, ret_count, e);
	}
	return ret;
}

/* ---- clock cells ---- */

/* A dummy (IPv6, next header 59) behind the internal link header; tg_release makes it a clock cell. `frame`
 * has room for cell + TG_L2_LEN. */
static void build_clock_cell(uint8_t *frame, unsigned id, unsigned peer, const struct tg_queue *queue,
			     const struct in6_addr *source, const uint8_t *target)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_START,
				      .peer = (uint16_t)peer,
				      .queue = (uint8_t)id,
				      .h_proto = htons(ETHERTYPE_IPV6) };
	struct ip6_hdr ip = { .ip6_src = *source };

	memcpy(&ip.ip6_dst, target, sizeof(ip.ip6_dst));
	ip.ip6_flow = htonl(6u << 28);
	ip.ip6_plen = htons((uint16_t)(queue->cell - sizeof(ip)));
	ip.ip6_nxt = IPPROTO_NONE;
	ip.ip6_hlim = 64;
	memset(frame, 0, queue->cell + TG_L2_LEN);
	memcpy(frame, &meta, sizeof(meta));
	memcpy(frame + TG_L2_LEN, &ip, sizeof(ip));
}

static int open_sender(unsigned ifindex, struct tg_error *e)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)ifindex };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), priority = CLOCK_PRIORITY;

	if (fd < 0)
		return tg_error(e, -errno, "cannot open a packet socket: %s", strerror(errno));
	if (bind(fd, (const struct sockaddr *)&to, sizeof(to)) ||
	    setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority))) {
		int ret = tg_error(e, -errno, "cannot set up a packet socket: %s", strerror(errno));

		close(fd);
		return ret;
	}
	return fd;
}

/*
 * Clocks that start at one instant tick at one instant ever after. Number `n` of
 * `count` begins its share of a period later; what is due within a pause is sent
 * without one.
 */
static void await_turn(uint64_t begun, uint64_t period_ns, size_t n, size_t count)
{
	enum { LEAST_PAUSE_NS = 1000000 };
	uint64_t due = begun + period_ns / count * n, now = now_ns();
	struct timespec pause;

	if (due < now + LEAST_PAUSE_NS)
		return;
	pause = (struct timespec){ .tv_sec = (time_t)((due - now) / NS_PER_S),
				   .tv_nsec = (long)((due - now) % NS_PER_S) };
	nanosleep(&pause, NULL);
}

static int send_cells(int fd, const uint8_t *frame, size_t size)
{
	for (int i = 0; i < CLOCK_CELLS; i++) {
		ssize_t sent = send(fd, frame, size, 0);

		if (sent != (ssize_t)size)
			return sent < 0 ? -errno : -EIO;
	}
	return 0;
}

/* Starts the `count` clocks that have wanted[n]. */
static int start_clocks(unsigned id, const struct tg_queue *queue, const struct in6_addr *source,
			const struct tg_peer_entry *entries, const bool *wanted, size_t count,
			struct tg_error *e)
{
	uint8_t *frame = malloc(queue->cell + TG_L2_LEN);
	uint64_t begun = now_ns();
	size_t started = 0;
	int fd, ret = 0;

	if (!frame)
		return tg_error(e, -ENOMEM, "out of memory");
	fd = open_sender(queue->head_ifindex, e);
	if (fd < 0) {
		free(frame);
		return fd;
	}
	for (unsigned n = 0; n < queue->room && !ret; n++) {
		if (!wanted[n])
			continue;
		build_clock_cell(frame, id, n, queue, source, entries[n].dummy_target);
		await_turn(begun, queue->period_ns, started++, count);
		ret = send_cells(fd, frame, queue->cell + TG_L2_LEN);
	}
	close(fd);
	free(frame);
	return ret ? tg_error(e, ret, "cannot send a clock cell to device %u: %s", queue->head_ifindex,
			      strerror(-ret))
		   : 0;
}

/* ---- making ---- */

struct net_clock queue_clock(const struct tg_queue *queue)
{
	return (struct net_clock){ .rate = tg_clock_rate(queue),
				   .period_ns = queue->period_ns,
				   .frame = queue->cell + TG_L2_LEN };
}

/* The devices and their clocks. One that had to be made anew has lost its cells. */
static int ensure_devices(const struct dataplane *dp, struct net *net, unsigned id,
			  const struct tg_compiled_queue *wanted, const struct roster *roster,
			  struct tg_queue *ret_queue, bool *ret_fresh, struct tg_error *e)
{
	unsigned mtu = wanted->queue.cell < MIN_VETH_MTU ? MIN_VETH_MTU : wanted->queue.cell;
	const struct net_clock clock = queue_clock(&wanted->queue);
	char head[IFNAMSIZ], tail[IFNAMSIZ], alias[64];
	struct net_link link;
	int ret;

	queue_names(dp->tunnel, id, head, tail);
	snprintf(alias, sizeof(alias), TG_LINK_ALIAS "%s queue", dp->tunnel);
	ret = net_veth_ensure(net, head, tail, mtu, wanted->queue.limit_cells + SPARE_CELLS, alias, e);
	if (!ret)
		ret = net_link_get(net, head, &link, e);
	if (!ret)
		ret = net_clock_ensure(net, link.ifindex, &clock, dp->progs[DP_STEER], roster->member,
				       roster->room, ret_fresh, e);
	if (ret)
		return ret;
	*ret_queue = wanted->queue;
	ret_queue->class = wanted->class;
	ret_queue->head_ifindex = link.ifindex;
	ret_queue->tail_ifindex = link.peer_ifindex;
	ret_queue->first = id * dp->room;
	ret_queue->room = dp->room;
	return 0;
}

/* Sessions whose clock was made anew, or all when the devices were, begin from nothing. */
static int clear_fresh(const struct dataplane *dp, const struct tg_queue *queue, const struct roster *roster,
		       bool all, bool *fresh, struct tg_error *e)
{
	int ret = 0;

	for (unsigned n = 0; n < queue->room && !ret; n++) {
		fresh[n] = roster->member[n] && (all || fresh[n]);
		if (fresh[n])
			ret = dataplane_session_clear(dp, queue->first + n, e);
	}
	return ret;
}

/* Those that are to be started: the fresh ones, and the others that stand. */
static int find_silent(const struct dataplane *dp, unsigned id, const struct roster *roster,
		       const bool *fresh, bool *ret_silent, size_t *ret_count, struct tg_error *e)
{
	bool *old = calloc(roster->room + 1, sizeof(*old));
	int ret;

	if (!old)
		return tg_error(e, -ENOMEM, "out of memory");
	for (size_t n = 0; n < roster->room; n++)
		old[n] = roster->member[n] && !fresh[n];
	ret = queue_stopped(dp, id, old, ret_silent, ret_count, e);
	for (size_t n = 0; n < roster->room; n++) {
		ret_silent[n] |= fresh[n];
		*ret_count += fresh[n];
	}
	free(old);
	return ret;
}

static int ensure_queue(const struct dataplane *dp, struct net *net, const struct tg_tunnel *tunnel,
			unsigned id, const struct tg_compiled_queue *wanted, const struct roster *roster,
			bool *fresh, bool *silent, struct tg_error *e)
{
	struct tg_queue queue, before;
	size_t count;
	int ret;

	ret = dataplane_queue_get(dp, id, &before, e);
	if (!ret)
		ret = ensure_devices(dp, net, id, wanted, roster, &queue, fresh, e);
	if (!ret)
		ret = clear_fresh(dp, &queue, roster, before.head_ifindex != queue.head_ifindex, fresh, e);
	if (!ret)
		ret = dataplane_queue_set(dp, id, &queue, e);
	if (!ret)
		ret = dataplane_port_set(dp, queue.tail_ifindex, id, e);
	if (!ret)
		ret = dataplane_attach(dp, DP_RELEASE, queue.tail_ifindex, DP_HOOK_INGRESS, e);
	if (!ret)
		ret = find_silent(dp, id, roster, fresh, silent, &count, e);
	if (!ret && count)
		ret = start_clocks(id, &queue, &tunnel->dummy_source, roster->entries, silent, count, e);
	return ret;
}

int queue_ensure(const struct dataplane *dp, struct net *net, const struct tg_tunnel *tunnel, unsigned id,
		 const struct tg_compiled_queue *wanted, const struct roster *roster, struct tg_error *e)
{
	bool *fresh = calloc(roster->room + 1, sizeof(*fresh));
	bool *silent = calloc(roster->room + 1, sizeof(*silent));
	int ret;

	if (!fresh || !silent)
		ret = tg_error(e, -ENOMEM, "out of memory");
	else
		ret = ensure_queue(dp, net, tunnel, id, wanted, roster, fresh, silent, e);
	free(fresh);
	free(silent);
	return ret ? tg_error_prefix(e, ret, "queue %u of %s", id, dp->tunnel) : 0;
}

/* ---- draining ---- */

/* Whether a session with leaving[n] still has real cells in the queue and a clock that lets them out. */
static int some_waiting(const struct dataplane *dp, const struct tg_queue *queue, const bool *leaving,
			bool *ret_waiting, struct tg_error *e)
{
	struct tg_session_state state;
	int ret = 0;

	*ret_waiting = false;
	for (unsigned n = 0; n < queue->room && !ret; n++) {
		if (!leaving[n])
			continue;
		ret = dataplane_session_get(dp, queue->first + n, &state, e);
		*ret_waiting |= !ret && state.backlog && seems_alive(&state, queue, now_ns());
	}
	return ret;
}

static int wait_until_empty(const struct dataplane *dp, const struct tg_queue *queue, const bool *leaving,
			    struct tg_error *e)
{
	enum { LATE_NS = 500000000 };
	uint64_t deadline =
		now_ns() + (uint64_t)(queue->limit_cells + SPARE_CELLS) * queue->period_ns + LATE_NS;
	struct timespec pause = { .tv_nsec = (long)(queue->period_ns < NS_PER_S ? queue->period_ns
										: NS_PER_S - 1) };
	bool waiting = true;
	int ret = 0;

	do {
		ret = some_waiting(dp, queue, leaving, &waiting, e);
		/* One more period even when empty: what left the queue may still be on its way to the tunnel.
		 */
		nanosleep(&pause, NULL);
	} while (!ret && waiting && now_ns() < deadline);
	return ret;
}

static int clear_sessions(const struct dataplane *dp, const struct tg_queue *queue, const bool *leaving,
			  struct tg_error *e)
{
	int ret = 0;

	for (unsigned n = 0; n < queue->room && !ret; n++)
		if (leaving[n])
			ret = dataplane_session_clear(dp, queue->first + n, e);
	return ret;
}

int queue_drain_gone(const struct dataplane *dp, struct net *net, unsigned id, const struct roster *roster,
		     struct tg_error *e)
{
	struct tg_queue queue;
	bool some = false;
	int ret;

	for (size_t n = 0; n < roster->room; n++)
		some |= roster->gone[n];
	if (!some)
		return 0;
	ret = dataplane_queue_get(dp, id, &queue, e);
	if (!ret)
		ret = wait_until_empty(dp, &queue, roster->gone, e);
	if (!ret)
		ret = net_clock_drop(net, queue.head_ifindex, roster->gone, roster->room, e);
	if (!ret)
		ret = clear_sessions(dp, &queue, roster->gone, e);
	return ret;
}

static int drain_all(const struct dataplane *dp, const struct tg_queue *queue, struct tg_error *e)
{
	bool *taken;
	int ret = roster_taken(dp, &taken, e);

	if (ret)
		return ret;
	ret = wait_until_empty(dp, queue, taken, e);
	free(taken);
	return ret;
}

static int forget_sessions(const struct dataplane *dp, const struct tg_queue *queue, struct tg_error *e)
{
	int ret = 0;

	for (unsigned n = 0; n < queue->room && !ret; n++)
		ret = dataplane_session_clear(dp, queue->first + n, e);
	return ret;
}

int queue_drain(const struct dataplane *dp, struct net *net, unsigned id, struct tg_error *e)
{
	struct tg_queue queue = { 0 }, none = { 0 };
	char head[IFNAMSIZ], tail[IFNAMSIZ];
	int ret = 0;

	/* a device beyond the map is left from a larger one */
	if (id < dp->queues)
		ret = dataplane_queue_get(dp, id, &queue, e);
	if (!ret && queue.head_ifindex)
		ret = drain_all(dp, &queue, e);
	queue_names(dp->tunnel, id, head, tail);
	if (!ret)
		ret = net_link_remove(net, head, e);
	if (ret == -EPERM && !queue.head_ifindex)
		return 0;	/* somebody else's device of that name */
	if (!ret && id < dp->queues)
		ret = dataplane_queue_set(dp, id, &none, e);
	if (!ret && queue.tail_ifindex)
		ret = dataplane_port_clear(dp, queue.tail_ifindex, e);
	if (!ret)
		ret = forget_sessions(dp, &queue, e);
	return ret;
}

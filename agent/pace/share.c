/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip6.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "guard/packet.h"
#include "pace/share.h"
#include "shared/mark.h"

enum { MOST_AT_ONCE = 256 };	/* frames in one go: slots wait for it */

struct share {
	int taps[TG_MAX_TUNNELS];
	unsigned tails[TG_MAX_TUNNELS]; /* where they listen; 0 = nowhere */
	uint8_t frame[TAP_FRAME_MAX];
	uint8_t cell[TG_MAX_CELL];
};

int share_new(struct share **ret_share, struct tg_error *e)
{
	struct share *share = calloc(1, sizeof(*share));
	int ret = share ? 0 : -ENOMEM;

	for (size_t i = 0; share && i < TG_MAX_TUNNELS; i++)
		share->taps[i] = -1;
	for (size_t i = 0; i < TG_MAX_TUNNELS && !ret; i++) {
		share->taps[i] = tap_open();
		if (share->taps[i] < 0)
			ret = share->taps[i];
	}
	if (ret) {
		share_free(share);
		return tg_error(e, ret, "cannot open a packet socket: %s", strerror(-ret));
	}
	*ret_share = share;
	return 0;
}

void share_free(struct share *share)
{
	for (size_t i = 0; share && i < TG_MAX_TUNNELS; i++)
		if (share->taps[i] >= 0)
			close(share->taps[i]);
	free(share);
}

/* What has come by one tunnel's pair must not be taken for the packets of another, whose place is now the
 * same. */
static int listen_at(struct share *share, size_t i, unsigned tail)
{
	int ret = 0;

	if (share->tails[i] != tail)
		ret = tap_silence(share->taps[i]);
	share->tails[i] = 0;
	if (!ret && tail)
		ret = tap_listen(share->taps[i], tail);
	if (!ret)
		share->tails[i] = tail;
	/* remade in this moment: the next plan knows the new one */
	return ret == -ENODEV ? tap_silence(share->taps[i]) : ret;
}

int share_adopt(struct share *share, const struct plan *plan)
{
	int ret = 0;

	for (size_t i = 0; i < TG_MAX_TUNNELS && !ret; i++)
		ret = listen_at(share, i, i < plan->policy->tunnel_count ? plan->tunnels[i].tail_ifindex : 0);
	return ret;
}

int share_fd(const struct share *share, const struct plan *plan, size_t n)
{
	return plan->tunnels[n].tail_ifindex ? share->taps[n] : -1;
}

/* Of a packet whose header has been looked at: behind it there may be padding. */
static size_t ip_length(const uint8_t *data)
{
	return data[0] >> 4 == 4 ? (size_t)(data[2] << 8 | data[3])
				 : sizeof(struct ip6_hdr) + (size_t)(data[4] << 8 | data[5]);
}

/* ---- packets that are to be sent ---- */

static bool is_bare(const struct packet *p)
{
	return p->kind == PACKET_FLOW && p->key.proto == IPPROTO_TCP && !p->payload_total &&
	       !(p->tcp_flags & (PACKET_SYN | PACKET_FIN | PACKET_RST));
}

static void take_own(struct plan_tunnel *t, const struct tg_ether_meta *meta, const uint8_t *data,
		     size_t size)
{
	struct lean_packet packet = { .arrived_ns = monotonic_ns(), .mark = meta->number };
	struct plan_class *class = &t->classes[meta->queue % TG_MAX_CLASSES];
	struct packet parsed;
	struct lean *lean;

	if (!class->paced || class->schedule.defence != TG_DEFENCE_LEAN || meta->peer >= t->dp->room ||
	    roster_is_free(&t->peers[meta->peer]))
		return;		/* of a plan that is not in force any more */
	if (packet_parse(data, size, size, &parsed) == PACKET_MALFORMED)
		return;		/* the program has looked at it already */
	packet.size = (uint32_t)ip_length(data);
	packet.bare = is_bare(&parsed);
	lean = plan_lean(t, class, meta->peer, packet.arrived_ns);
	if (lean)
		lean_admit(lean, &packet, data);
}

/* ---- cells of peers ---- */

/* Whose cell is being taken apart, and where its packets go. */
struct opening {
	struct plan_tunnel *t;
	struct lean *lean;	/* of the first lean class */
	unsigned peer;
	int tap;
};

/* Of a packet that came out of the tunnel: the peer that may send from its address, as WireGuard would have
 * it. */
static bool sender_of(const struct plan_tunnel *t, const struct packet *p, unsigned *ret_peer)
{
	struct tg_flow_key back = { .proto = p->key.proto };

	memcpy(back.daddr, p->key.saddr, sizeof(back.daddr));
	return roster_find(t->dp, t->generation, &back, ret_peer);
}

/* WireGuard has looked at the address of the cell alone: those of the packets in it are ours to look at. */
static void give_packet(void *ctx, const uint8_t *data, size_t size)
{
	static const struct tg_ether_meta meta = { .kind = TG_CELL_INNER };
	struct opening *o = ctx;
	struct tg_lean_count *count = &o->lean->setup.shared->lean;
	struct packet p;
	unsigned peer;

	if (packet_parse(data, size, size, &p) == PACKET_MALFORMED || p.key.proto == TG_LEAN_PROTOCOL ||
	    p.key.proto == IPPROTO_NONE || !sender_of(o->t, &p, &peer) || peer != o->peer ||
	    tap_send(o->tap, o->t->head_ifindex, &meta, 0, data, size))
		count->refused_packets++;
	else
		count->received_packets++;
}

/* The peer can take cells apart: all its sessions may know. It is answered by that of the first class. */
static void hear(struct plan_tunnel *t, unsigned peer, bool asks)
{
	for (size_t i = 0; i < TG_MAX_CLASSES; i++)
		if (t->classes[i].lean_of_peer && t->classes[i].lean_of_peer[peer])
			lean_hear(t->classes[i].lean_of_peer[peer], asks && i == t->first_lean,
				  monotonic_ns());
}

static bool is_hello(const uint8_t *data, size_t size, bool *ret_asks)
{
	struct tg_hello hello;

	if (size < sizeof(struct ip6_hdr) + sizeof(hello))
		return false;
	memcpy(&hello, data + sizeof(struct ip6_hdr), sizeof(hello));
	*ret_asks = hello.flags & TG_HELLO_ASKS;
	return hello.magic == htonl(TG_HELLO_MAGIC) && hello.version == TG_HELLO_VERSION;
}

static void open_cell(struct opening *o, const uint8_t *data, size_t size)
{
	struct tg_aggfrag_reader *reader = &o->lean->reader;
	struct tg_lean_count *count = &o->lean->setup.shared->lean;
	uint64_t lost = reader->lost;
	struct ip6_hdr ip;

	memcpy(&ip, data, sizeof(ip));
	count->received_cells++;
	tg_aggfrag_read(reader, ntohl(ip.ip6_flow) & TG_AGGFRAG_SEQUENCE_MASK, data + sizeof(ip),
			size - sizeof(ip), give_packet, o);
	count->lost_cells += reader->lost - lost;
}

static void take_peers(struct share *share, struct plan_tunnel *t, size_t n, const uint8_t *data, size_t size)
{
	struct opening o = { .t = t, .tap = share->taps[n] };
	struct packet p;
	bool asks;

	if (size < sizeof(struct ip6_hdr) || data[0] >> 4 != 6 ||
	    packet_parse(data, size, size, &p) == PACKET_MALFORMED || !sender_of(t, &p, &o.peer))
		return;
	size = ip_length(data);
	o.lean = plan_lean(t, &t->classes[t->first_lean], o.peer, monotonic_ns());
	if (!o.lean)
		return;
	if (p.key.proto == TG_LEAN_PROTOCOL) {
		hear(t, o.peer, false);
		open_cell(&o, data, size);
	} else if (is_hello(data, size, &asks)) {
		hear(t, o.peer, asks);
	}
}

int share_receive(struct share *share, struct plan *plan, size_t n)
{
	struct plan_tunnel *t = &plan->tunnels[n];
	struct tg_ether_meta meta;
	const uint8_t *packet;
	size_t size;
	int ret = 1;

	for (int i = 0; i < MOST_AT_ONCE && ret > 0; i++) {
		ret = tap_receive(share->taps[n], share->frame, &meta, &packet, &size);
		if (ret > 0 && meta.kind == TG_CELL_TAKEN)
			take_own(t, &meta, packet, size);
		else if (ret > 0)
			take_peers(share, t, n, packet, size);
	}
	return ret < 0 ? ret : 0;
}

/* ---- slots ---- */

int share_step(struct share *share, const struct plan *plan, size_t n, struct lean *lean, uint64_t now,
	       struct share_cell *ret_cell)
{
	static const struct tg_ether_meta meta = { .kind = TG_CELL_SEGMENT };
	struct lean_cell cell;

	ret_cell->data = share->cell;
	ret_cell->step = lean_step(lean, now, share->cell, &cell);
	if (ret_cell->step != LEAN_SINGLE)
		return 0;
	return tap_send(share->taps[n], plan->tunnels[n].head_ifindex, &meta, cell.mark | TG_MARK_PACED,
			share->cell, cell.size);
}

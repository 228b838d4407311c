// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/*
 * The data plane of one tunnel:
 *
 *	tg_egress	tc egress of the tunnel: classify, pad, queue
 *	tg_segment	tc ingress of the segmenter's tail: the same for the pieces of GSO super-packets, and
 *for what the agent sends there; packets out of shared cells, into the tunnel's receive path tg_steer	filter
 *of the HTB on a queue's head: each session's cells to its own clock
 *	tg_release	tc ingress of a queue's tail: what the clock let go, into the tunnel
 *	tg_metronome	tc ingress of a metronome's tail: dummies that are due, into the tunnel
 *	tg_timed	tc egress of a metronome's head with the clock fq: when its packet is to leave
 *	tg_ingress	tc ingress of the tunnel: count, drop the peer's dummies, hand its shared cells to the
 *agent tg_mute		generic XDP of a tunnel with paced classes: drops the dummies before packet sockets
 *			see them
 *
 * Every path ends in exactly one verdict of verdict.h.
 */
#include "guard.h"
#include "hist.h"
#include "spend.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ONE_HASH 0x5447u	/* "TG", as good as any */

/*
 * Link header of the tunnel: none, it is a layer 3 device. Only BPF_PROG_TEST_RUN,
 * which knows nothing but Ethernet, needs another value.
 */
const volatile __u32 tunnel_l2_len = 0;

static __always_inline int to_segmenter(struct __sk_buff *skb)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_SEGMENT, .h_proto = (__be16)skb->protocol };

	if (put_meta(skb, tunnel_l2_len, &meta))
		return drop(TG_DROP_HELPER);
	count_reason(TG_PASS_SEGMENT);
	return bpf_redirect(segmenter_ifindex(), 0);
}

SEC("tc")
int tg_egress(struct __sk_buff *skb)
{
	struct tg_port_key key = { .ifindex = skb->ingress_ifindex };

	/*
	 * Kernel WireGuard keeps the inner flow's hash on the outer packet, and a
	 * fair queue on the way out would put flows and dummies into different
	 * buckets: then they overtake each other, which the counter in clear shows.
	 */
	bpf_set_hash(skb, ONE_HASH);
	/* Locally made packets come from no device; only the kernel sets this field, so nobody can forge it.
	 */
	if (key.ifindex && bpf_map_lookup_elem(&ports, &key)) {
		count_reason(TG_PASS_RELEASED);
		return TC_ACT_OK;
	}
	if (skb->gso_size)
		return to_segmenter(skb);
	return guard(skb, tunnel_l2_len, 1);
}

SEC("tc")
int tg_segment(struct __sk_buff *skb)
{
	__u8 kind;

	if (bpf_skb_load_bytes(skb, offsetof(struct tg_ether_meta, kind), &kind, sizeof(kind)))
		return drop(TG_DROP_STRAY);
	if (kind == TG_CELL_TAKEN || kind == TG_CELL_GIVEN)
		return drop(TG_PASS_HANDED);
	if (kind == TG_CELL_INNER)
		return to_stack(skb);
	if (kind != TG_CELL_SEGMENT)
		return drop(TG_DROP_STRAY);
	if (skb->gso_size)
		return drop(TG_DROP_GSO);
	return guard(skb, TG_L2_LEN, 0);
}

/* HTB's class 1:peer+1 holds the cells of one session: skb->priority remains free to sort them. */
SEC("tc")
int tg_steer(struct __sk_buff *skb)
{
	__u16 peer;

	if (bpf_skb_load_bytes(skb, offsetof(struct tg_ether_meta, peer), &peer, sizeof(peer)))
		return drop(TG_DROP_STRAY);
	skb->tc_classid = peer + 1;
	return TC_ACT_OK;
}

static __always_inline void account_delay(const struct tg_queue *queue, __u64 delay)
{
	struct tg_stats *st = class_stats(TG_OUT, queue->class);
	__u32 bucket = tg_hist_bucket(delay);

	if (!st || bucket >= TG_DELAY_BUCKETS)
		return;
	st->delay[bucket]++;
	if (delay > queue->guard_ns)
		st->violations[TG_VIOLATION_DELAY]++;
	if (delay > (__u64)queue->budget_cells * queue->period_ns) {
		st->late_packets++;
		count_reason(TG_NOTE_LATE);
	}
}

/* A cell that must not leave; if it is a real one, its class counted it as sent when it was admitted. */
static __always_inline int drop_cell(const struct tg_ether_meta *meta, const struct tg_queue *queue,
				     int reason)
{
	struct tg_stats *st = class_stats(TG_OUT, queue->class);

	if (st && meta->kind == TG_CELL_REAL) {
		st->drop_packets++;
		st->drop_bytes += queue->cell;
	}
	return drop(reason);
}

/* Length of the IP packet behind the internal link header; 0 if it cannot be read. */
static __always_inline __u32 ip_length(struct __sk_buff *skb, const struct tg_ether_meta *meta)
{
	__u32 is_v4 = meta->h_proto == bpf_htons(ETH_P_IP);
	__be16 length;

	if (bpf_skb_load_bytes(skb,
			       TG_L2_LEN + (is_v4 ? offsetof(struct iphdr, tot_len)
						  : offsetof(struct ipv6hdr, payload_len)),
			       &length, sizeof(length)))
		return 0;
	return bpf_ntohs(length) + (is_v4 ? 0 : sizeof(struct ipv6hdr));
}

/*
 * Cells have their size only where they leave; in the queue their length says how long they last
 * there. So there is one moment at which a reload changes the size on the wire, for real cells and
 * dummies alike. Returns 0 or the drop reason.
 */
static __always_inline int resize(struct __sk_buff *skb, const struct tg_ether_meta *meta,
				  const struct tg_queue *queue)
{
	__u32 length = ip_length(skb, meta);

	if (!length || queue->cell < TG_MIN_CELL)
		return TG_DROP_HELPER;
	if (length > queue->cell)
		return TG_DROP_OVERSIZE;
	return bpf_skb_change_tail(skb, TG_L2_LEN + queue->cell, 0) ? TG_DROP_HELPER : 0;
}

/* A cell goes into the tunnel: real ones and dummies by the same steps, at the end of the program. */
static __always_inline int leave(struct __sk_buff *skb, int reason)
{
	skb->priority = PRIO_REAL;
	count_reason(reason);
	return bpf_redirect(tunnel_ifindex(), 0);
}

/* The clock cell goes round again. In a session a copy of it does, and it leaves itself, as a dummy. */
static __always_inline int clock_cell(struct __sk_buff *skb, const struct tg_ether_meta *meta,
				      const struct tg_queue *queue, struct tg_session *session,
				      enum tg_release release, __u16 twin)
{
	struct tg_stats *st = class_stats(TG_OUT, queue->class);
	struct tg_ether_meta other = *meta;
	int reason = TG_PASS_CELL_IDLE;

	skb->priority = PRIO_CLOCK;
	if (twin) {
		other.number = twin;
		send_twin(skb, meta, &other, queue->head_ifindex);
	}
	if (draw_anew(skb, session, queue))
		count_reason(TG_DROP_HELPER);	/* it lasts as long as the time before */
	if (release == TG_RELEASE_DUMMY)
		reason = may_send_dummy(queue->cell, st) ? TG_PASS_CELL_DUMMY : TG_PASS_CELL_WITHHELD;
	/* without a copy it goes round itself: an empty slot is less than a lost clock */
	if (reason == TG_PASS_CELL_DUMMY && bpf_clone_redirect(skb, queue->head_ifindex, 0))
		reason = TG_DROP_HELPER;
	if (reason != TG_PASS_CELL_DUMMY) {
		count_reason(reason);
		return bpf_redirect(queue->head_ifindex, 0);
	}
	reason = resize_dummy(skb, TG_L2_LEN, queue->cell);
	if (reason)
		return drop(reason);
	count_dummy_sent(st, queue->cell);
	return leave(skb, TG_PASS_CELL_DUMMY);
}

static __always_inline int start_clock(struct __sk_buff *skb, const struct tg_ether_meta *start,
				       const struct tg_queue *queue, struct tg_session *session)
{
	struct tg_ether_meta meta = *start;

	meta.kind = TG_CELL_CLOCK;
	bpf_spin_lock(&session->lock);
	meta.number = tg_session_start_clock(&session->state, start->queue, start->number);
	bpf_spin_unlock(&session->lock);
	return start_round(skb, &meta, queue->head_ifindex);
}

SEC("tc")
int tg_release(struct __sk_buff *skb)
{
	struct tg_ether_meta meta;
	struct tg_session *session;
	struct tg_queue *queue;
	struct tg_release_notes notes;
	enum tg_release release;
	struct tg_cell cell;
	__u32 index;
	int reason;

	if (bpf_skb_load_bytes(skb, 0, &meta, sizeof(meta)))
		return drop(TG_DROP_STRAY);
	index = meta.queue;
	queue = bpf_map_lookup_elem(&queues, &index);
	session = session_of(queue, meta.peer);
	if (!queue || !session || queue->tail_ifindex != skb->ifindex)
		return drop(TG_DROP_STRAY);
	if (meta.kind == TG_CELL_START)
		return start_clock(skb, &meta, queue, session);
	cell.real = meta.kind == TG_CELL_REAL;
	if (!cell.real && meta.kind != TG_CELL_CLOCK)
		return drop(TG_DROP_STRAY);
	cell.now = bpf_ktime_get_ns();
	cell.waited_ns = tg_stamp_age(meta.enqueued, cell.now);
	cell.number = meta.number;
	cell.queue = meta.queue;
	bpf_spin_lock(&session->lock);
	release = tg_session_release(&session->state, queue, &cell, &notes);
	bpf_spin_unlock(&session->lock);
	if (notes.extended)
		count_reason(TG_NOTE_EXTENDED);
	if (notes.overdue)
		count_reason(TG_NOTE_CLOCK);
	if (release == TG_RELEASE_RETIRE)
		return drop(TG_PASS_CELL_RETIRED);
	if (release == TG_RELEASE_DROP)
		return drop_cell(&meta, queue, TG_DROP_UNPACED);
	if (release == TG_RELEASE_STRAY)
		return drop(TG_DROP_STRAY);
	if (!cell.real)
		return clock_cell(skb, &meta, queue, session, release, notes.twin);
	reason = resize(skb, &meta, queue);
	if (reason)
		return drop_cell(&meta, queue, reason);
	account_delay(queue, cell.waited_ns);
	return leave(skb, TG_PASS_CELL_REAL);
}

SEC("tc")
int tg_metronome(struct __sk_buff *skb)
{
	struct tg_metronome_session *session;
	struct tg_ether_meta meta;
	struct tg_metronome *m;
	__u32 class_id;

	if (bpf_skb_load_bytes(skb, 0, &meta, sizeof(meta)))
		return drop(TG_DROP_STRAY);
	class_id = meta.queue;
	m = bpf_map_lookup_elem(&metronomes, &class_id);
	session = bpf_map_lookup_elem(&metronome_state, &class_id);
	if (!m || !session || m->tail_ifindex != skb->ifindex)
		return drop(TG_DROP_STRAY);
	if (meta.kind == TG_CELL_START)
		return start_metronome(skb, &meta, m, session);
	if (meta.kind != TG_CELL_TICK)
		return drop(TG_DROP_STRAY);
	return tick(skb, class_id, &meta, m, session);
}

SEC("tc")
int tg_timed(struct __sk_buff *skb)
{
	struct tg_ether_meta meta;

	if (bpf_skb_load_bytes(skb, 0, &meta, sizeof(meta)))
		return drop(TG_DROP_STRAY);
	if (meta.kind != TG_CELL_TICK && meta.kind != TG_CELL_START)
		return drop(TG_DROP_STRAY);
	/* fq takes 0 for now */
	skb->tstamp = meta.kind == TG_CELL_START ? 0 : meta.departs_ns;
	count_reason(TG_PASS_TIMED);
	return TC_ACT_OK;
}

static __always_inline void count_dummy(const struct tg_config *conf, __u32 len)
{
	struct tg_stats *st = class_stats(TG_IN, conf->dummy_class);

	if (st) {
		st->dummy_packets++;
		st->dummy_bytes += len;
	}
	count_reason(TG_DROP_DUMMY);
}

SEC("tc")
int tg_ingress(struct __sk_buff *skb)
{
	struct tg_config *conf;
	struct tg_stats *st;
	__u64 generation;
	struct packet p;
	__u32 class_id;

	conf = current_config(&generation);
	/* What is malformed here goes to the stack, which drops it: the tunnel authenticated its sender. */
	if (!conf || parse_packet(skb, tunnel_l2_len, &p))
		return TC_ACT_OK;
	if (p.no_next) {
		count_dummy(conf, skb->len - tunnel_l2_len);
		if (conf->flags & TG_CONFIG_SHARES && has_hello(skb, tunnel_l2_len))
			return hand_cell(skb, tunnel_l2_len, &p);
		return TC_ACT_SHOT;
	}
	if (conf->flags & TG_CONFIG_SHARES && is_shared_cell(&p))
		return hand_cell(skb, tunnel_l2_len, &p);
	reverse_flow(&p.flow);
	class_id = conf->class_count > 1 ? classify(conf, &p, generation, skb->mark) : conf->default_class;
	st = class_stats(TG_IN, class_id == NO_CLASS ? conf->default_class : class_id);
	if (st) {
		st->real_packets++;
		st->real_bytes += p.ip_len;
	}
	count_reason(TG_PASS_INGRESS);
	return TC_ACT_OK;
}

SEC("xdp")
int tg_mute(struct xdp_md *xdp)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	struct ipv6hdr *ip = data + tunnel_l2_len;
	struct tg_hello *hello = (void *)(ip + 1);
	struct tg_config *conf;
	__u64 generation;

	if ((void *)(ip + 1) > end || ip->version != 6 || ip->nexthdr != IPPROTO_NONE)
		return XDP_PASS;
	conf = current_config(&generation);
	/* a hello is for tg_ingress, which hands it to the agent */
	if (conf && conf->flags & TG_CONFIG_SHARES && (void *)(hello + 1) <= end &&
	    hello->magic == bpf_htonl(TG_HELLO_MAGIC))
		return XDP_PASS;
	if (conf)
		count_dummy(conf, end - (void *)ip);
	return XDP_DROP;
}

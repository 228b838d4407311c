// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/*
 * The data plane of one tunnel:
 *
 *	tg_egress	tc egress of the tunnel: classify, pad, queue
 *	tg_segment	tc ingress of the segmenter's tail: the same for the pieces of GSO super-packets
 *	tg_steer	filter of the HTB on a queue's head: each session's cells to its own clock
 *	tg_release	tc ingress of a queue's tail: what the clock let go, into the tunnel
 *	tg_metronome	tc ingress of a metronome's tail: dummies that are due, into the tunnel
 *	tg_timed	tc egress of a metronome's head with the clock fq: when its packet is to leave
 *	tg_ingress	tc ingress of the tunnel: count, drop the peer's dummies
 *	tg_mute		generic XDP of a tunnel with paced classes: drops the dummies before packet sockets
 *see them
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

	if (bpf_skb_load_bytes(skb, offsetof(struct tg_ether_meta, kind), &kind, sizeof(kind)) ||
	    kind != TG_CELL_SEGMENT)
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

static __always_inline void account_delay(const struct tg_ether_meta *meta, const struct tg_queue *queue,
					  __u64 delay)
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

/* A real cell that would leave unpaced; its class counted it as sent when it was admitted. */
static __always_inline int drop_unpaced(const struct tg_ether_meta *meta, const struct tg_queue *queue)
{
	struct tg_stats *st = class_stats(TG_OUT, queue->class);

	if (st && meta->kind == TG_CELL_REAL) {
		st->drop_packets++;
		st->drop_bytes += queue->cell;
	}
	return drop(TG_DROP_UNPACED);
}

/* A copy of the clock cell goes out as a dummy if a session runs; the cell itself goes round again. */
static __always_inline int clock_cell(struct __sk_buff *skb, const struct tg_queue *queue,
				      enum tg_release release)
{
	struct tg_stats *st = class_stats(TG_OUT, queue->class);

	skb->priority = PRIO_CLOCK;
	if (release != TG_RELEASE_DUMMY) {
		count_reason(TG_PASS_CELL_IDLE);
	} else if (!may_send_dummy(queue->cell, st)) {
		count_reason(TG_PASS_CELL_WITHHELD);
	} else if (bpf_clone_redirect(skb, tunnel_ifindex(), 0)) {
		count_reason(TG_DROP_HELPER);
	} else {
		count_reason(TG_PASS_CELL_DUMMY);
		if (st) {
			st->dummy_packets++;
			st->dummy_bytes += queue->cell;
		}
	}
	return bpf_redirect(queue->head_ifindex, 0);
}

/*
 * What the loader sent still holds its packet socket, and that its network
 * namespace, which could then never end. A clone holds nothing: it goes round.
 */
static __always_inline int start_clock(struct __sk_buff *skb, const struct tg_queue *queue)
{
	__u8 kind = TG_CELL_CLOCK;

	skb->priority = PRIO_CLOCK;
	if (bpf_skb_store_bytes(skb, offsetof(struct tg_ether_meta, kind), &kind, sizeof(kind), 0) ||
	    bpf_clone_redirect(skb, queue->head_ifindex, 0))
		return drop(TG_DROP_HELPER);
	count_reason(TG_PASS_CELL_START);
	return TC_ACT_SHOT;
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

	if (bpf_skb_load_bytes(skb, 0, &meta, sizeof(meta)))
		return drop(TG_DROP_STRAY);
	index = meta.queue;
	queue = bpf_map_lookup_elem(&queues, &index);
	session = session_of(queue, meta.peer);
	if (!queue || !session || queue->tail_ifindex != skb->ifindex)
		return drop(TG_DROP_STRAY);
	if (meta.kind == TG_CELL_START)
		return start_clock(skb, queue);
	cell.real = meta.kind == TG_CELL_REAL;
	if (!cell.real && meta.kind != TG_CELL_CLOCK)
		return drop(TG_DROP_STRAY);
	cell.now = bpf_ktime_get_ns();
	cell.waited_ns = tg_stamp_age(meta.enqueued, cell.now);
	cell.number = meta.number;
	bpf_spin_lock(&session->lock);
	release = tg_session_release(&session->state, queue, &cell, &notes);
	bpf_spin_unlock(&session->lock);
	if (notes.extended)
		count_reason(TG_NOTE_EXTENDED);
	if (notes.overdue)
		count_reason(TG_NOTE_CLOCK);
	if (release == TG_RELEASE_DROP)
		return drop_unpaced(&meta, queue);
	if (!cell.real)
		return clock_cell(skb, queue, release);
	account_delay(&meta, queue, cell.waited_ns);
	count_reason(TG_PASS_CELL_REAL);
	return bpf_redirect(tunnel_ifindex(), 0);
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
		return start_metronome(skb, m);
	if (meta.kind != TG_CELL_TICK)
		return drop(TG_DROP_STRAY);
	return tick(skb, class_id, m, session);
}

SEC("tc")
int tg_timed(struct __sk_buff *skb)
{
	struct tg_ether_meta meta;

	if (bpf_skb_load_bytes(skb, 0, &meta, sizeof(meta)))
		return drop(TG_DROP_STRAY);
	if (meta.kind != TG_CELL_TICK && meta.kind != TG_CELL_START)
		return drop(TG_DROP_STRAY);
	/* fq takes 0, as the loader's first packet has it, for now */
	skb->tstamp = meta.departs_ns;
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
		return TC_ACT_SHOT;
	}
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
	struct tg_config *conf;
	__u64 generation;

	if ((void *)(ip + 1) > end || ip->version != 6 || ip->nexthdr != IPPROTO_NONE)
		return XDP_PASS;
	conf = current_config(&generation);
	if (conf)
		count_dummy(conf, end - (void *)ip);
	return XDP_DROP;
}

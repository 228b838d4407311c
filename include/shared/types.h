/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Every type that crosses the kernel boundary: keys and values of the maps
 * pinned under /sys/fs/bpf/tensorguard/<tunnel>/. The maps are a supported
 * interface (BTF makes `bpftool map dump` readable); docs/maps.md describes
 * them for operators.
 *
 * Times are nanoseconds of CLOCK_MONOTONIC, sizes are bytes of the inner IP
 * packet, addresses and ports in the keys are in network byte order unless a
 * field says otherwise.
 */
#ifndef TG_SHARED_TYPES_H
#define TG_SHARED_TYPES_H

#include <linux/types.h>

#include "limits.h"
#include "verdict.h"

enum tg_defence {
	TG_DEFENCE_PAD = 1,	/* sizes only, no delay */
	TG_DEFENCE_CONSTANT = 2, /* one cell per period, real or dummy */
	TG_DEFENCE_FRONT = 3,	/* no delay, dummies at Rayleigh-distributed times after a session's start */
	TG_DEFENCE_WTF_PAD = 4,	/* no delay, dummies where a gap is longer than a drawn one */
	TG_DEFENCE_JITTER = 5,	/* every packet waits for a random time; no dummies */
	TG_DEFENCE_REGULATOR = 6, /* cells at a rate that decays until a backlog renews it */
	TG_DEFENCE_LEAN = 7,	/* cells in a fixed pattern per robot tick, shared by packets */
};

enum tg_pad_mode {
	TG_PAD_CELL = 1,	/* every packet becomes `cell` bytes */
	TG_PAD_BUCKETS = 2,	/* the smallest bucket that holds it */
	TG_PAD_POW2 = 3,	/* the next power of two, at most `cell` */
	TG_PAD_UNIFORM = 4,	/* uniform over the 16-byte steps up to `cell` */
};

enum tg_overflow {
	TG_OVERFLOW_DROP = 1,	/* beyond the delay budget a packet is dropped */
	TG_OVERFLOW_STRETCH = 2, /* it waits longer, up to the hard limit; counted as late */
};

/* map `policy`, ARRAY[1]: the one word that switches generations. Slot = generation & 1. */
struct tg_policy_word {
	__u64 generation;
};

/* flags of tg_config */
#define TG_CONFIG_FROM (1u << 0)	/* some rule restricts the source address */
#define TG_CONFIG_FLOWS (1u << 1)	/* some rule is decided per flow in userspace */
#define TG_CONFIG_MARK (1u << 2)	/* some rule looks at the packet mark */
#define TG_CONFIG_ALLOWED (1u << 3)	/* the destinations that the tunnel has a peer for are known */
#define TG_CONFIG_SHARES (1u << 4)	/* the agent takes the peers' shared cells apart */

/* map `config`, ARRAY[2], index = slot */
struct tg_config {
	__u32 flags;		/* TG_CONFIG_* */
	__u32 rule_count;	/* 0..TG_MAX_RULES */
	__u32 class_count;	/* 1..TG_MAX_CLASSES */
	__u32 default_class;	/* class of what no rule matches */
	__u32 dummy_class;	/* class under which the peer's dummies are counted */
	__u32 mark_tag;		/* under TG_MARK_TAG_MASK: marks with another tag mean other classes */
};

#define TG_NO_QUEUE 0xffffffffu

/* flags of tg_class */
#define TG_CLASS_AGENT (1u << 0)	/* paced by the agent: what does not carry its mark is dropped */
#define TG_CLASS_OPEN (1u << 1)		/* ... or, with fail = "open", sent as it comes */

/* map `classes`, ARRAY[2 * TG_MAX_CLASSES], index = slot * TG_MAX_CLASSES + class */
struct tg_class {
	__u16 defence;		/* enum tg_defence; 0 = entry not configured */
	__u16 pad_mode;		/* enum tg_pad_mode */
	__u16 cell;		/* largest size this class ever sends */
	__u16 bucket_count;	/* TG_PAD_BUCKETS: 1..TG_MAX_BUCKETS */
	__u16 buckets[TG_MAX_BUCKETS]; /* ascending, the last one equals `cell` */
	__u32 queue;		/* index into `queues` and `sessions`, or TG_NO_QUEUE */
	__u32 flags;		/* TG_CLASS_* */
};

/* flags of tg_rule */
#define TG_RULE_FLOW (1u << 0)	/* decided per flow in userspace: the kernel's rule walk skips it */

/* map `rules`, ARRAY[2 * TG_MAX_RULES], index = slot * TG_MAX_RULES + rule; first match wins */
struct tg_rule {
	__u16 dport_lo, dport_hi; /* destination ports, host order, inclusive; 0..65535 = any */
	__u16 sport_lo, sport_hi; /* source ports, likewise */
	__u32 mark, mark_mask;	/* matches when (packet mark & mask) == mark; mask 0 = any */
	__u8 proto;		/* IPPROTO_*, 0 = any */
	__u8 flags;		/* TG_RULE_* */
	__u16 class;		/* index into `classes` */
};

enum tg_lpm_side {
	TG_LPM_TO = 0,		/* destination address of an outgoing packet */
	TG_LPM_FROM = 1,	/* its source address */
	TG_LPM_ALLOWED = 2,	/* its destination address: which peer has it in allowed_ips */
};

/*
 * maps `rules4` and `rules6`, LPM tries. The first 32 bits of the key select
 * the generation slot and the side, so prefixlen = 32 + length of the prefix.
 * The value is the set of rules (bit n = rule n) whose prefixes contain the
 * address: the loader adds to each entry the sets of all prefixes around it.
 * Of side TG_LPM_ALLOWED it is the number of the peer, plus 1, instead.
 */
struct tg_lpm4_key {
	__u32 prefixlen;	/* 32..64 */
	__u16 slot;		/* 0 or 1, host order */
	__u16 side;		/* enum tg_lpm_side, host order */
	__u8 addr[4];
};

struct tg_lpm6_key {
	__u32 prefixlen;	/* 32..160 */
	__u16 slot;
	__u16 side;
	__u8 addr[16];
};

struct tg_rule_set {
	__u64 rules;
};

/*
 * map `flows`, LRU_HASH: what the classifier decided. The key is the flow as
 * this host sends it: an IPv4 address a.b.c.d stands as ::ffff:a.b.c.d, ports
 * are 0 for protocols without them.
 */
struct tg_flow_key {
	__u8 saddr[16], daddr[16];
	__be16 sport, dport;
	__u8 proto;
	__u8 reserved[3];	/* 0 */
};

struct tg_flow {
	__u64 decided_ns;	/* when */
	__u32 generation;	/* low half of the generation that decided: others ignore it */
	__u16 class;
	__u16 reserved;
};

/*
 * map `queues`, ARRAY: one self-clocking queue each, with a session and a clock
 * for every peer. Written before any class names it. The loader sizes `queues`,
 * `sessions` and `peers` by the policy.
 */
struct tg_queue {
	__u32 head_ifindex;	/* veth end that carries the clocks; 0 = entry not configured */
	__u32 tail_ifindex;	/* its peer, where tg_release runs */
	__u64 period_ns;	/* one cell per period */
	__u64 idle_ns;		/* silence that ends a session at its quantum's end */
	__u32 slots;		/* cells per session quantum; 0 = always on */
	__u32 budget_cells;	/* backlog that the delay budget allows */
	__u32 limit_cells;	/* backlog beyond which even `stretch` drops */
	__u16 cell;		/* inner size of every cell of this queue */
	__u8 overflow;		/* enum tg_overflow */
	__u8 dither;		/* 1: what a cell costs is drawn (dither.h); 0: exactly a period */
	__u32 class;		/* the class under which its cells are counted */
	__u32 guard_ns;		/* a wait above this is a violation: the profile's delay, or the budget's */
	__u32 first;		/* entry of peer 0 in `sessions` */
	__u32 room;		/* peers 0..room-1 have an entry */
	__u32 depth;		/* cells that each of its clocks has room for */
	__u32 next;		/* queue that its sessions are to move to; itself, mostly */
};

/* flags of tg_budget */
#define TG_BUDGET_DAY (1u << 0)		/* day_bytes counts */
#define TG_BUDGET_SHARE (1u << 1)	/* share_rate counts */
#define TG_BUDGET_METERED (1u << 2)	/* day_bytes is the budget of a metered link */
#define TG_BUDGET_STOP (1u << 3)	/* what exceeds a budget is not sent; else it is only counted */

/* map `budget`, ARRAY[1]: what the tunnel's dummies may cost; sizes are those on the wire */
struct tg_budget {
	__u32 flags;		/* TG_BUDGET_*; 0 = no budget */
	__u32 overhead;		/* bytes of the outer packet beside the cell */
	__u64 day_bytes;
	__u64 share_rate;	/* bytes per second */
};

/* Promises that the policy makes and a packet broke. */
enum tg_violation {
	TG_VIOLATION_DELAY,	/* a real cell waited longer than guard_ns */
	TG_VIOLATION_OVERFLOW,	/* a real packet found the delay budget used up: dropped or stretched */
	TG_VIOLATION_DAY,	/* a dummy beyond the day's bytes */
	TG_VIOLATION_SHARE,	/* a dummy beyond its share of the link */
	TG_VIOLATION_METERED,	/* a dummy beyond the day's bytes on a metered link */
	TG_VIOLATION_COUNT
};

/* map `peers`, ARRAY: who has which number; it stays with a peer from one policy to the next */
struct tg_peer_entry {
	__u8 identity[32];	/* public key, or the dummy target where there is none; all 0 = free */
	__u8 dummy_target[16];	/* inner IPv6 address that the dummies of its sessions are sent to */
};

enum tg_clock {
	TG_CLOCK_TBF = 1,	/* ticks at a fixed rate */
	TG_CLOCK_FQ = 2,	/* ticks at the time that the clock packet carries */
};

/* Intervals of `wtf-pad` and how many tokens each has. */
struct tg_histogram {
	__u32 edge_us[TG_MAX_BINS +
		      1]; /* bin i: above edge i, up to edge i + 1; from 0; not used: 4294967295 */
	__u16 tokens[TG_MAX_BINS + 1]; /* the last one is infinity */
	__u16 reserved;
};

/* map `metronomes`, ARRAY[TG_MAX_CLASSES], index = class. Written before any class with its defence. */
struct tg_metronome {
	__u32 head_ifindex;	/* veth end that carries the clock; 0 = entry not configured */
	__u32 tail_ifindex;	/* its peer, where tg_metronome runs */
	__u64 tick_ns;		/* period of the tbf clock, longest pause of the fq clock */
	__u16 defence;		/* TG_DEFENCE_FRONT or TG_DEFENCE_WTF_PAD */
	__u16 clock;		/* enum tg_clock */
	__u16 cell;		/* inner size of the clock packet and its dummies */
	__u16 reserved;
	__u64 idle_ns;		/* front: silence after which a real packet starts a session */
	__u32 dummies;		/* front: N */
	__u32 window_min_us, window_max_us; /* front: Wmin, Wmax */
	__u32 reserved2;
	struct tg_histogram burst, gap; /* wtf-pad */
};

/*
 * map `exponential`, ARRAY[1]: -ln(1 - i / TG_EXPONENTIAL_BINS) in units of 2^-24.
 * The last bin has no upper edge: its lower one stands there, so that no index is out of range.
 */
#define TG_EXPONENTIAL_BINS 1024u

struct tg_exponential {
	__u32 quantile[TG_EXPONENTIAL_BINS + 1];
};

/* map `devices`, ARRAY[1]: where the programs send packets */
struct tg_devices {
	__u32 tunnel_ifindex;
	__u32 segmenter_ifindex; /* head of the pair that cuts GSO super-packets */
};

/* values of tg_ether_meta.kind */
#define TG_CELL_REAL 'R'
#define TG_CELL_CLOCK 'C'
#define TG_CELL_START 'S'	/* becomes one of a loop's two clock cells or ticks; `number` says which */
#define TG_CELL_TICK 'T'	/* a metronome's clock packet */
#define TG_CELL_SEGMENT \
	'P' /* a piece of a GSO super-packet, or a packet that the agent sends in a cell of its own */
#define TG_CELL_TAKEN \
	'A' /* to the agent: a packet of a lean class; `number` is its mark, `queue` the class */
#define TG_CELL_GIVEN 'G'	/* to the agent: a cell of a peer's */
#define TG_CELL_INNER 'I'	/* from the agent: a packet out of such a cell */

/*
 * The Ethernet header of the internal veth pairs: never on any wire, so the
 * twelve address bytes carry our own state beside the packet.
 */
struct tg_ether_meta {
	union {
		struct {
			__u32 enqueued;	/* when a real cell entered its queue: tg_stamp() */
			__u32 number;	/* its number among those of its session; of a clock cell: twins.h */
		};
		__u64 departs_ns; /* when a metronome's packet is to leave it (clock fq); 0 = now */
	};
	__u16 peer; /* whose session it is; the class of the clock is 1:peer+1. Of a metronome's packet: its
		       number, twins.h */
	__u8 kind;		/* TG_CELL_* */
	__u8 queue;		/* of a metronome's packet: the class */
	__be16 h_proto;		/* ETH_P_IP or ETH_P_IPV6, as on any Ethernet */
} __attribute__((packed));

/* map `ports`, HASH: internal devices; what enters tg_egress from one of them was shaped already */
struct tg_port_key {
	__u32 ifindex;
};

struct tg_port {
	__u32 queue;		/* TG_NO_QUEUE for the segmenter and for metronomes */
};

#define TG_DELAY_BUCKETS 80	/* hist.h: four per octave of microseconds */

/* map `stats`, PERCPU_ARRAY[2 * TG_MAX_CLASSES], index = direction * TG_MAX_CLASSES + class */
enum tg_direction {
	TG_OUT = 0,		/* into the tunnel */
	TG_IN = 1,		/* out of the tunnel: pad bytes are cut off by WireGuard before we see them */
};

struct tg_stats {
	__u64 real_packets, real_bytes; /* inner IP bytes */
	__u64 pad_bytes;	/* added to real packets */
	__u64 dummy_packets, dummy_bytes;
	__u64 drop_packets, drop_bytes;
	__u64 late_packets;	/* real cells beyond the delay budget */
	__u64 violations[TG_VIOLATION_COUNT]; /* TG_OUT */
	__u64 delay[TG_DELAY_BUCKETS]; /* TG_OUT, paced classes: time in the queue */
};

/* map `reasons`, PERCPU_ARRAY[TG_REASON_COUNT] */
struct tg_reason_count {
	__u64 packets;
};

_Static_assert(sizeof(struct tg_class) == 32, "tg_class layout");
_Static_assert(sizeof(struct tg_rule) == 20, "tg_rule layout");
_Static_assert(sizeof(struct tg_lpm4_key) == 12, "tg_lpm4_key layout");
_Static_assert(sizeof(struct tg_lpm6_key) == 24, "tg_lpm6_key layout");
_Static_assert(sizeof(struct tg_flow_key) == 40, "tg_flow_key layout");
_Static_assert(sizeof(struct tg_flow) == 16, "tg_flow layout");
_Static_assert(sizeof(struct tg_queue) == 64, "tg_queue layout");
_Static_assert(sizeof(struct tg_budget) == 24, "tg_budget layout");
_Static_assert(sizeof(struct tg_peer_entry) == 48, "tg_peer_entry layout");
_Static_assert(sizeof(struct tg_histogram) == 104, "tg_histogram layout");
_Static_assert(sizeof(struct tg_metronome) == 256, "tg_metronome layout");
_Static_assert(sizeof(struct tg_ether_meta) == TG_L2_LEN, "tg_ether_meta replaces an Ethernet header");

#endif

/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What the data plane did with a packet, and why. Every packet that meets a
 * TensorGuard program increments exactly one of these per program run; the
 * comment states the verdict. Names are printed by `tgctl stats` in lower case
 * without the prefix.
 */
#ifndef TG_SHARED_VERDICT_H
#define TG_SHARED_VERDICT_H

enum tg_reason {
	/* sent on */
	TG_PASS_RELEASED,      /* pass: shaped before, comes from an internal pair */
	TG_PASS_PADDED,        /* pass: padded, class without a queue */
	TG_PASS_QUEUED,        /* redirect: padded and put into its class's queue */
	TG_PASS_SEGMENT,       /* redirect: a GSO super-packet, to be cut and padded piece by piece */
	TG_PASS_CELL_REAL,     /* redirect: the queue released a real cell into the tunnel */
	TG_PASS_CELL_DUMMY,    /* redirect: the queue released its clock cell, a dummy went out */
	TG_PASS_CELL_WITHHELD, /* redirect: the clock cell went round, a dummy was due and no budget left for
				  it */
	TG_PASS_CELL_IDLE,     /* redirect: the clock cell went round, no session, nothing sent */
	TG_PASS_CELL_START, /* drop: the cell that the loader sent; a clone of it goes round as clock cell */
	TG_PASS_CELL_RETIRED, /* drop: the clock cell of a clock that its session has left for another */
	TG_PASS_TICK,       /* redirect: a metronome's clock packet, sent round again after its tick */
	TG_PASS_TIMED, /* pass: a metronome's clock packet got the time at which it is to leave (clock fq) */
	TG_PASS_INGRESS, /* pass: a real packet from the peer */
	TG_PASS_TAKEN,   /* redirect: a packet of a lean class, to the agent, which sends it in its cells */
	TG_PASS_SHARED,  /* pass: a cell of the agent's with packets in it */
	TG_PASS_GIVEN,   /* redirect: a peer's cell or its dummy's hello, to the agent */
	TG_PASS_HANDED,  /* drop: what the agent's socket has read on the segmenter's pair */
	TG_PASS_INNER,   /* redirect: a packet out of a peer's cell, to the tunnel's receive path */
	/* sent on, and worth knowing */
	TG_NOTE_FRAGMENT,   /* a fragment: classified by addresses and protocol, ports ignored (counted beside
			       its verdict) */
	TG_NOTE_EXT_HEADER, /* IPv6 extension headers were skipped to find the ports (counted beside its
			       verdict) */
	TG_NOTE_ICMP_ERROR, /* an ICMP error: classified by addresses and protocol (counted beside its
			       verdict) */
	TG_NOTE_DEFAULT,    /* no rule matched: default class (counted beside its verdict) */
	TG_NOTE_ECN,        /* the inner ECN field was set to Not-ECT (counted beside its verdict) */
	TG_NOTE_LATE, /* a real cell waited longer than its class's delay budget (counted beside its verdict)
		       */
	TG_NOTE_EXTENDED, /* a session was not idle at its end: one quantum more (counted beside its verdict)
			   */
	TG_NOTE_CLOCK,    /* a real cell came or left while the clock cell was overdue (counted beside its
			     verdict) */
	TG_NOTE_TWIN,     /* one of the two packets of a clock was lost, and made anew from the other (counted
			     beside     its verdict) */
	TG_NOTE_TICK_DUMMY, /* a metronome sent a dummy (counted beside its verdict) */
	/* dropped */
	TG_DROP_DUMMY,        /* ingress: a dummy from the peer, its job is done */
	TG_DROP_OVERSIZE,     /* longer than the class's cell: padding cannot hide it */
	TG_DROP_TRUNCATED,    /* headers or the stated IP length exceed the packet */
	TG_DROP_NOT_IP,       /* neither IPv4 nor IPv6 */
	TG_DROP_VLAN,         /* a VLAN tag on an L3 tunnel */
	TG_DROP_OVERFLOW,     /* queue beyond the delay budget (overflow = drop) or beyond the hard limit */
	TG_DROP_LINK_CHATTER, /* multicast of link scope that no rule asks for: a tunnel has no link */
	TG_DROP_NOT_ALLOWED,  /* to no peer's allowed_ips: WireGuard would drop it and leave its slot empty */
	TG_DROP_GSO,          /* a super-packet behind the segmenter: someone turned offloads on again */
	TG_DROP_NO_CLASS,     /* the class or its queue is not configured: fail closed */
	TG_DROP_HELPER,       /* a kernel helper failed (no memory, mostly) */
	TG_DROP_UNPACED,      /* a queue ran much faster than its rate: someone took its clock away */
	TG_DROP_UNRELEASED,   /* of a class that the agent paces, and not released by it: fail closed */
	TG_DROP_STRAY,        /* a packet on an internal pair that we did not put there */
	TG_REASON_COUNT
};

#endif

/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Sizes that the kernel side and the userspace side must agree on. */
#ifndef TG_SHARED_LIMITS_H
#define TG_SHARED_LIMITS_H

#define TG_MAX_CLASSES 32	/* per tunnel and policy generation */
#define TG_MAX_RULES 64		/* one bit each in an LPM value */
#define TG_MAX_QUEUES 64	/* paced queues alive at once, draining ones included */
#define TG_MAX_PREFIXES 65536	/* LPM entries per family, both generations */
#define TG_MAX_PEERS 4096	/* per tunnel: sessions of one queue */
#define TG_MAX_FLOWS 65536	/* LRU: flows that the classifier has decided */
#define TG_MAX_BUCKETS 8	/* sizes of a `buckets` class */
#define TG_MAX_BINS 16		/* finite bins of a `wtf-pad` histogram; infinity is one more */
#define TG_MAX_PORTS 256	/* internal devices whose packets were shaped already */

#define TG_MIN_CELL 48		/* an IPv6 header and room for a dummy's counter-free body */
#define TG_MAX_CELL 9000	/* inner IP bytes; bounded again by the tunnel's MTU */

/* The arithmetic is inlined everywhere: BPF forbids calls under a spin lock. */
#define tg_inline static inline __attribute__((__always_inline__))

#define TG_L2_LEN 14		/* Ethernet header of the internal veth pairs */

#endif

/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A clock is a packet that goes round in a loop, and the kernel may drop any
 * packet: a full receive backlog is enough. So two go round, and each one, when
 * it has come round several times without the other, makes the other anew. Both
 * carry a number that the loop's state knows; whoever turns up under another
 * number (one that was late, not lost) is thrown away. There are never more than two.
 *
 * Pure functions over explicit state; the caller holds the lock of the map value
 * that contains it.
 */
#ifndef TG_SHARED_TWINS_H
#define TG_SHARED_TWINS_H

#include <linux/bpf.h>

#include "types.h"

#define TG_TWINS 2u

/* Times in a row, after its own turn, that one comes round before the other counts as lost. */
#define TG_TWINS_ALONE 3u

struct tg_twins {
	__u16 number[TG_TWINS]; /* whom the loop knows; 0 = nobody */
	__u16 newest;		/* last number given away; wraps, and passes over 0 */
	__u8 last;		/* which of the two came round last */
	__u8 alone;		/* how often in a row before that */
};

/* One more goes into the loop, as twin `which`: returns its number. Whoever had that place is a stray now. */
tg_inline __u16 tg_twins_start(struct tg_twins *t, __u32 which)
{
	if (!++t->newest)
		t->newest = 1;
	t->number[which % TG_TWINS] = t->newest;
	return t->newest;
}

/*
 * One came round. Returns 0 if the loop does not know its number. *ret_lost is
 * the number under which a copy of it is to join the loop, for the other is
 * lost; or 0.
 */
tg_inline int tg_twins_seen(struct tg_twins *t, __u16 number, __u16 *ret_lost)
{
	__u8 which = number == t->number[1];

	*ret_lost = 0;
	if (!number || number != t->number[which])
		return 0;
	if (which != t->last) {
		t->last = which;
		t->alone = 0;
		return 1;
	}
	if (++t->alone < TG_TWINS_ALONE)
		return 1;
	t->alone = 0;
	*ret_lost = tg_twins_start(t, !which);
	return 1;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* How long a cell lasts in its queue: drawn here, and told to HTB by the cell's length (dither.h). */
#ifndef BPF_DRAW_H
#define BPF_DRAW_H

#include "maps.h"

/* Whoever knows it knows all draws: random words from the loader, another for each load. */
const volatile struct tg_siphash_key draw_key = { { 0, 0 } };

/* The step of the next cell that enters the session's queue. */
static __always_inline __s32 next_step(const struct tg_session *session, const struct tg_queue *queue)
{
	__u32 zero = 0, draw = 1u << 15;
	const struct tg_siphash_key key = { { draw_key.word[0], draw_key.word[1] } };
	struct tg_draws *d;

	if (!queue->dither)
		return 0;
	d = bpf_map_lookup_elem(&draws, &zero);
	if (d)
		draw = tg_dither_draw(d, &key, bpf_get_smp_processor_id());
	return tg_session_step(&session->state, queue, draw);
}

/* A cell goes round once more: its next time in the queue is a new draw. Returns 0 or the drop reason. */
static __always_inline int draw_anew(struct __sk_buff *skb, struct tg_session *session,
				     const struct tg_queue *queue)
{
	__s32 step = next_step(session, queue);
	__u32 length = tg_dither_length(TG_L2_LEN + queue->cell, step);

	if (skb->len != length && bpf_skb_change_tail(skb, length, 0))
		return TG_DROP_HELPER;
	tg_session_count_cell(&session->state, 0, step);
	return 0;
}

#endif

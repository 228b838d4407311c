/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A packet socket on the segmenter's pair of a tunnel, over which the programs
 * hand packets of lean classes and peers' cells to the agent, and take packets
 * back (bpf/handover.h).
 */
#ifndef AGENT_PACE_TAP_H
#define AGENT_PACE_TAP_H

#include <stddef.h>
#include <stdint.h>

#include "shared/types.h"

/* Before the process gives up its rights. It hears nothing yet. Returns the descriptor or -errno. */
int tap_open(void);

/* From here on it hears what comes to the pair's tail for the agent; 0: nothing any more. */
int tap_listen(int fd, unsigned tail_ifindex);

/* Forgets what it has heard, and hears nothing more until tap_listen(). 0 or -errno. */
int tap_silence(int fd);

enum { TAP_FRAME_MAX = 65536 };

/* One frame into `frame`, which has room for TAP_FRAME_MAX bytes. 1, or 0 when there is none; -errno. */
int tap_receive(int fd, uint8_t *frame, struct tg_ether_meta *ret_meta, const uint8_t **ret_packet,
		size_t *ret_size);

/* A packet into the pair's head; its meta's protocol is that of the packet's version. 0 or -errno. */
int tap_send(int fd, unsigned head_ifindex, const struct tg_ether_meta *meta, uint32_t mark,
	     const uint8_t *packet, size_t size);

#endif

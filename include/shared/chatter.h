/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#ifndef TG_SHARED_CHATTER_H
#define TG_SHARED_CHATTER_H

#include "types.h"

/*
 * Multicast of link scope: routers and hosts talking to a link, which a tunnel
 * has not. The kernel's own chatter (MLD reports, router solicitations) must
 * not start a session; who wants such traffic writes a rule for it. `to` is a
 * flow key's address, whose last four bytes are an IPv4 one.
 */
tg_inline int tg_is_link_chatter(const __u8 *to, int ipv4)
{
	if (ipv4)
		return to[12] == 224 && to[13] == 0 && to[14] == 0;
	return to[0] == 0xff && (to[1] & 15) <= 2;
}

#endif

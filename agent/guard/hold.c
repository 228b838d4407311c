/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "guard/hold.h"

int hold_resize(struct hold *h, size_t limit)
{
	size_t room = limit > h->count ? limit : h->count;
	struct held *packets = realloc(h->packets, (room ? room : 1) * sizeof(*packets));

	if (!packets)
		return -ENOMEM;
	h->packets = packets;
	h->limit = limit;
	return 0;
}

void hold_free(struct hold *h)
{
	free(h->packets);
	*h = (struct hold){ .packets = NULL };
}

bool hold_add(struct hold *h, const struct held *packet)
{
	if (h->count >= h->limit)
		return false;
	h->packets[h->count++] = *packet;
	return true;
}

void hold_release(struct hold *h, uint8_t tunnel, void (*release)(void *ctx, const struct held *packet),
		  void *ctx)
{
	size_t kept = 0;

	for (size_t i = 0; i < h->count; i++) {
		if (h->packets[i].tunnel == tunnel)
			release(ctx, &h->packets[i]);
		else
			h->packets[kept++] = h->packets[i];
	}
	h->count = kept;
}

void hold_renumber(struct hold *h, const int *to, void (*release)(void *ctx, const struct held *packet),
		   void *ctx)
{
	size_t kept = 0;

	for (size_t i = 0; i < h->count; i++) {
		struct held packet = h->packets[i];

		if (to[packet.tunnel] < 0) {
			release(ctx, &packet);
			continue;
		}
		packet.tunnel = (uint8_t)to[packet.tunnel];
		h->packets[kept++] = packet;
	}
	h->count = kept;
}

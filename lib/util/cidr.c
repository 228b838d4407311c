/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "tensorguard/policy.h"

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;
	uint8_t mask = (uint8_t)(0xff << (8 - rest));

	return !memcmp(a, b, bytes) && (!rest || !((a[bytes] ^ b[bytes]) & mask));
}

bool tg_cidr_equal(const struct tg_cidr *a, const struct tg_cidr *b)
{
	return a->family == b->family && a->length == b->length && !memcmp(a->addr, b->addr, sizeof(a->addr));
}

bool tg_cidr_contains(const struct tg_cidr *outer, const struct tg_cidr *inner)
{
	return outer->family == inner->family && outer->length <= inner->length &&
	       same_bits(outer->addr, inner->addr, outer->length);
}

bool tg_cidr_overlap(const struct tg_cidr *a, const struct tg_cidr *b)
{
	return tg_cidr_contains(a, b) || tg_cidr_contains(b, a);
}

struct tg_cidr tg_cidr_network(const struct tg_cidr *cidr)
{
	struct tg_cidr network = *cidr;
	unsigned bytes = cidr->length / 8, rest = cidr->length % 8;

	if (bytes == sizeof(network.addr))
		return network;
	network.addr[bytes] &= (uint8_t)(0xff << (8 - rest));
	memset(network.addr + bytes + 1, 0, sizeof(network.addr) - bytes - 1);
	return network;
}

const char *tg_cidr_text(const struct tg_cidr *cidr, char text[static TG_CIDR_TEXT_LEN])
{
	size_t used;

	if (!inet_ntop(cidr->family, cidr->addr, text, TG_CIDR_TEXT_LEN))
		text[0] = '\0';
	used = strlen(text);
	snprintf(text + used, TG_CIDR_TEXT_LEN - used, "/%u", cidr->length);
	return text;
}

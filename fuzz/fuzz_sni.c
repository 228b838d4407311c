/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first byte chooses how the rest is cut into pieces. The result must not
 * depend on that, and a name that is found must be one.
 */
#include <stdlib.h>
#include <string.h>

#include "tensorguard/sni.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum tg_sni_result feed_in_pieces(struct tg_sni *sni, const uint8_t *data, size_t size, size_t piece)
{
	enum tg_sni_result result = TG_SNI_NEED_MORE;

	tg_sni_init(sni);
	for (size_t at = 0; at < size; at += piece)
		result = tg_sni_feed(sni, data + at, size - at < piece ? size - at : piece);
	return result;
}

static void check_host(const char *host)
{
	size_t len = strlen(host);

	if (!len || len > TG_SNI_MAX_HOST || strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != len ||
	    host[len - 1] == '.')
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tg_sni whole, pieces;

	if (size < 1 || size > 65536)
		return 0;
	if (feed_in_pieces(&whole, data + 1, size - 1, size) !=
	    feed_in_pieces(&pieces, data + 1, size - 1, (size_t)data[0] + 1))
		abort();
	if (!tg_sni_host(&whole) != !tg_sni_host(&pieces))
		abort();
	if (!tg_sni_host(&whole))
		return 0;
	check_host(tg_sni_host(&whole));
	if (strcmp(tg_sni_host(&whole), tg_sni_host(&pieces)))
		abort();
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The sync messages and signed policies. The first byte says which; what is taken is encoded and taken again,
 * and has the same statement then. */
#include <stdlib.h>
#include <string.h>

#include "tensorguard/sync.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool same)
{
	if (!same)
		abort();
}

static void request(const void *text, size_t len)
{
	struct tg_sync_request first, second;
	struct tg_bytes encoded;
	struct tg_error e;

	if (tg_sync_request_decode(text, len, &first, &e))
		return;
	must(!tg_sync_request_encode(&first, &encoded, &e) &&
	     !tg_sync_request_decode(encoded.data, encoded.len, &second, &e));
	tg_sync_request_clear(&first);
	tg_sync_request_clear(&second);
	tg_bytes_free(&encoded);
}

static void answer(const void *text, size_t len)
{
	struct tg_sync_answer first, second;
	struct tg_bytes encoded;
	struct tg_error e;

	if (tg_sync_answer_decode(text, len, &first, &e))
		return;
	must(!tg_sync_answer_encode(&first, &encoded, &e) &&
	     !tg_sync_answer_decode(encoded.data, encoded.len, &second, &e) &&
	     first.has_policy == second.has_policy);
	tg_sync_answer_clear(&first);
	tg_sync_answer_clear(&second);
	tg_bytes_free(&encoded);
}

static void policy(const void *text, size_t len)
{
	struct tg_signed_policy first, second;
	uint8_t one[TG_SHA256_LEN], two[TG_SHA256_LEN];
	struct tg_bytes encoded;
	struct tg_error e;

	if (tg_signed_policy_decode(text, len, &first, &e))
		return;
	must(!tg_signed_policy_encode(&first, &encoded, &e) &&
	     !tg_signed_policy_decode(encoded.data, encoded.len, &second, &e) &&
	     !tg_signed_policy_hash(&first, one, &e) && !tg_signed_policy_hash(&second, two, &e) &&
	     !memcmp(one, two, sizeof(one)));
	tg_signed_policy_clear(&first);
	tg_signed_policy_clear(&second);
	tg_bytes_free(&encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] == 'r')
		request(data + 1, size - 1);
	else if (data[0] == 'a')
		answer(data + 1, size - 1);
	else if (data[0] == 'p')
		policy(data + 1, size - 1);
	return 0;
}

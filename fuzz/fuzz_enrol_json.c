/* SPDX-License-Identifier: BSD-3-Clause */
/* The messages of enrolment. The first byte says which; what is taken is encoded and taken again. */
#include <stdlib.h>

#include "tensorguard/enrol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(bool same)
{
	if (!same)
		abort();
}

static void start(const void *text, size_t len, enum tg_enrol_kind kind)
{
	struct tg_enrol_start first, second;
	struct tg_bytes encoded;
	struct tg_error e;

	if (tg_enrol_start_decode(text, len, kind, &first, &e))
		return;
	again(!tg_enrol_start_encode(&first, kind, &encoded, &e) &&
	      !tg_enrol_start_decode(encoded.data, encoded.len, kind, &second, &e));
	tg_enrol_start_clear(&first);
	tg_enrol_start_clear(&second);
	tg_bytes_free(&encoded);
}

static void challenge(const void *text, size_t len)
{
	struct tg_attest_challenge first, second;
	struct tg_bytes encoded;
	struct tg_error e;

	if (tg_enrol_challenge_decode(text, len, &first, &e))
		return;
	again(!tg_enrol_challenge_encode(&first, &encoded, &e) &&
	      !tg_enrol_challenge_decode(encoded.data, encoded.len, &second, &e));
	tg_attest_challenge_clear(&first);
	tg_attest_challenge_clear(&second);
	tg_bytes_free(&encoded);
}

static void finish(const void *text, size_t len)
{
	struct tg_enrol_finish first, second;
	struct tg_bytes encoded;
	struct tg_error e;

	if (tg_enrol_finish_decode(text, len, &first, &e))
		return;
	again(!tg_enrol_finish_encode(&first, &encoded, &e) &&
	      !tg_enrol_finish_decode(encoded.data, encoded.len, &second, &e));
	tg_enrol_finish_clear(&first);
	tg_enrol_finish_clear(&second);
	tg_bytes_free(&encoded);
}

static void issued(const void *text, size_t len)
{
	struct tg_enrol_issued first, second;
	struct tg_bytes encoded;
	struct tg_error e;

	if (tg_enrol_issued_decode(text, len, &first, &e))
		return;
	again(!tg_enrol_issued_encode(&first, &encoded, &e) &&
	      !tg_enrol_issued_decode(encoded.data, encoded.len, &second, &e));
	tg_enrol_issued_clear(&first);
	tg_enrol_issued_clear(&second);
	tg_bytes_free(&encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0]) {
	case 's':
		start(data + 1, size - 1, TG_ENROL);
		break;
	case 'r':
		start(data + 1, size - 1, TG_RENEW);
		break;
	case 'c':
		challenge(data + 1, size - 1);
		break;
	case 'f':
		finish(data + 1, size - 1);
		break;
	case 'i':
		issued(data + 1, size - 1);
		break;
	default:
		break;
	}
	return 0;
}

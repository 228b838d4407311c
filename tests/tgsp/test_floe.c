/* SPDX-License-Identifier: BSD-3-Clause */
/* FLOE's known answers of three independent implementations, and what must be refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/floe.h"
#include "vectors.h"

static const uint8_t zero_key[TG_FLOE_KEY_LEN];
static const char aad[] = "This is AAD";

enum { AAD_LEN = sizeof(aad) - 1 };

/* The file's name tells the parameters. */
static struct tg_floe_params params_of(const char *name)
{
	struct tg_floe_params params = { 64, TG_FLOE_ROTATION };

	if (strstr(name, "_rotation_"))
		params = (struct tg_floe_params){ 40, 2 };
	else if (strstr(name, "_1M_"))
		params.segment = 1 << 20;
	else if (strstr(name, "_4K_"))
		params.segment = 4096;
	else if (strstr(name, "lastSeg"))
		params.segment = 40;
	return params;
}

/* Opens a whole body. Returns the plaintext's length or a negative errno. */
static long open_body(const struct tg_floe_params *params, const uint8_t *text, size_t len, uint8_t *out)
{
	struct tg_floe *floe;
	uint64_t position = 0;
	size_t used = 0;
	int ret;

	if (len < TG_FLOE_HEADER_LEN)
		return -EBADMSG;
	ret = tg_floe_decrypt_start(params, zero_key, aad, AAD_LEN, text, &floe, NULL);
	if (ret)
		return ret;
	text += TG_FLOE_HEADER_LEN;
	len -= TG_FLOE_HEADER_LEN;
	do {
		size_t n = len < params->segment ? len : params->segment;
		bool last = n == len;

		ret = tg_floe_decrypt(floe, position++, last, text, n, out + used, NULL);
		if (ret)
			break;
		used += n - TG_FLOE_OVERHEAD;
		text += n;
		len -= n;
	} while (len);
	tg_floe_free(floe);
	return ret ? ret : (long)used;
}

static unsigned opened;

static void open_vector(const char *name)
{
	char *pt_name = strdup(name), *ct_text = vectors_text(name, NULL), *pt_text;
	struct tg_floe_params params = params_of(name);
	struct hex ct, pt;
	uint8_t *out;
	long len;

	memcpy(strstr(pt_name, "_ct."), "_pt.", 4);
	pt_text = vectors_text(pt_name, NULL);
	CU_ASSERT_FATAL(ct_text && pt_text);
	ct = hex_bytes(ct_text);
	pt = hex_bytes(pt_text);
	out = malloc(ct.len);
	len = open_body(&params, ct.data, ct.len, out);
	CU_ASSERT_EQUAL(len, (long)pt.len);
	CU_ASSERT(len == (long)pt.len && !memcmp(out, pt.data, pt.len));
	if (len != (long)pt.len)
		printf("%s: %ld\n", name, len);
	opened++;
	/* cut at every length: never accepted */
	for (size_t cut = 0; cut < ct.len && cut < 2000; cut++)
		CU_ASSERT(open_body(&params, ct.data, cut, out) < 0);
	for (size_t at = 0; at < ct.len && at < 1000; at++) {
		ct.data[at] ^= 1;
		CU_ASSERT(open_body(&params, ct.data, ct.len, out) < 0);
		ct.data[at] ^= 1;
	}
	free(out);
	free(ct.data);
	free(pt.data);
	free(ct_text);
	free(pt_text);
	free(pt_name);
}

TEST(floe, known_answers)
{
	opened = 0;
	CU_ASSERT(vectors_each("floe/*_ct.txt", open_vector) > 0);
	CU_ASSERT(opened > 0);
}

/* Encrypts `plain` bytes; *ret_len is that of header and body. */
static uint8_t *seal(const struct tg_floe_params *params, const uint8_t *plain, size_t len, size_t *ret_len)
{
	size_t full = params->segment - TG_FLOE_OVERHEAD, left = len;
	uint64_t segments = tg_floe_segments(params->segment, len);
	uint8_t *out = malloc(TG_FLOE_HEADER_LEN + tg_floe_body_len(params->segment, len)), *p = out;
	struct tg_floe *floe;

	CU_ASSERT_FATAL(!tg_floe_encrypt_start(params, zero_key, aad, AAD_LEN, p, &floe, NULL));
	p += TG_FLOE_HEADER_LEN;
	for (uint64_t i = 0; i < segments; i++) {
		size_t n = left < full ? left : full;

		CU_ASSERT_FATAL(!tg_floe_encrypt(floe, i, i == segments - 1, plain + len - left, n, p, NULL));
		p += n + TG_FLOE_OVERHEAD;
		left -= n;
	}
	tg_floe_free(floe);
	*ret_len = (size_t)(p - out);
	return out;
}

TEST(floe, round_trip)
{
	const struct tg_floe_params params = { 48, 1 };
	uint8_t plain[200], back[200];

	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 7);
	for (size_t len = 0; len <= sizeof(plain); len++) {
		size_t sealed;
		uint8_t *text = seal(&params, plain, len, &sealed);

		CU_ASSERT_EQUAL(sealed, TG_FLOE_HEADER_LEN + tg_floe_body_len(params.segment, len));
		CU_ASSERT_EQUAL(open_body(&params, text, sealed, back), (long)len);
		CU_ASSERT(!memcmp(plain, back, len));
		free(text);
	}
}

/* Any order; another position, another ciphertext's segment, a last one that is not: all refused. */
TEST(floe, random_access)
{
	const struct tg_floe_params params = { 48, 1 };
	uint8_t plain[16 * 5] = "sixteen bytes...and sixteen more and so on", back[16];
	size_t len, other_len;
	uint8_t *text = seal(&params, plain, sizeof(plain), &len);
	uint8_t *other = seal(&params, plain, sizeof(plain), &other_len);
	const uint8_t *body = text + TG_FLOE_HEADER_LEN;
	struct tg_floe *floe;

	CU_ASSERT_FATAL(!tg_floe_decrypt_start(&params, zero_key, aad, AAD_LEN, text, &floe, NULL));
	for (uint64_t i = 5; i--;) {
		CU_ASSERT(!tg_floe_decrypt(floe, i, i == 4, body + 48 * i, 48, back, NULL));
		CU_ASSERT(!memcmp(back, plain + 16 * i, 16));
		CU_ASSERT_EQUAL(tg_floe_decrypt(floe, i, i != 4, body + 48 * i, 48, back, NULL), -EBADMSG);
		CU_ASSERT_EQUAL(tg_floe_decrypt(floe, i + 1, i == 4, body + 48 * i, 48, back, NULL),
				-EBADMSG);
		CU_ASSERT_EQUAL(
			tg_floe_decrypt(floe, i, i == 4, other + TG_FLOE_HEADER_LEN + 48 * i, 48, back, NULL),
			-EBADMSG);
	}
	CU_ASSERT_EQUAL(tg_floe_decrypt(floe, TG_FLOE_MAX_SEGMENTS, false, body, 48, back, NULL), -EFBIG);
	tg_floe_free(floe);
	CU_ASSERT_EQUAL(tg_floe_decrypt_start(&params, zero_key, aad, AAD_LEN - 1, text, &floe, NULL),
			-EBADMSG);
	CU_ASSERT_EQUAL(tg_floe_decrypt_start(&params, plain, aad, AAD_LEN, text, &floe, NULL), -EBADMSG);
	free(text);
	free(other);
}

TEST(floe, lengths)
{
	CU_ASSERT_EQUAL(tg_floe_body_len(1 << 20, 0), 32);
	CU_ASSERT_EQUAL(tg_floe_body_len(1 << 20, (1 << 20) - 32), 1 << 20);
	CU_ASSERT_EQUAL(tg_floe_body_len(1 << 20, (1 << 20) - 31), (1 << 20) + 33);
	CU_ASSERT_EQUAL(tg_floe_body_len(1 << 20, UINT64_MAX), 0);
	CU_ASSERT_EQUAL(tg_floe_body_len(33, 1ull << 41), 0);
}

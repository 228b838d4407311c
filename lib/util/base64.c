/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tensorguard/base64.h"

/* All ones when lo <= c <= hi, else 0, without a branch. */
static int within(int c, int lo, int hi)
{
	return ~((c - lo) | (hi - c)) >> 31;
}

/* 0..63, or -1 for a character outside the alphabet. */
static int decode_char(int c)
{
	int plus_one = 0;

	plus_one |= within(c, 'A', 'Z') & (c - 'A' + 1);
	plus_one |= within(c, 'a', 'z') & (c - 'a' + 27);
	plus_one |= within(c, '0', '9') & (c - '0' + 53);
	plus_one |= within(c, '+', '+') & 63;
	plus_one |= within(c, '/', '/') & 64;
	return plus_one - 1;
}

static char encode_char(int v)
{
	int c = 0;

	c |= within(v, 0, 25) & (v + 'A');
	c |= within(v, 26, 51) & (v - 26 + 'a');
	c |= within(v, 52, 61) & (v - 52 + '0');
	c |= within(v, 62, 62) & '+';
	c |= within(v, 63, 63) & '/';
	return (char)c;
}

/* How many of the last characters are padding: 0, 1 or 2. */
static size_t padding(const char *text, size_t len)
{
	if (!len || text[len - 1] != '=')
		return 0;
	return text[len - 2] == '=' ? 2 : 1;
}

/* Three bytes from four characters, of which the last `pad` are padding; negative when one is no base64. */
static int decode_group(const char *in, size_t pad, uint8_t ret_bytes[static 3])
{
	int a = decode_char((unsigned char)in[0]), b = decode_char((unsigned char)in[1]);
	int c = pad > 1 ? 0 : decode_char((unsigned char)in[2]);
	int d = pad > 0 ? 0 : decode_char((unsigned char)in[3]);
	/* the sign of an invalid character is kept in what is returned; its other bits must not be shifted */
	unsigned bits = ((unsigned)a & 63) << 18 | ((unsigned)b & 63) << 12 | ((unsigned)c & 63) << 6 |
			((unsigned)d & 63);

	ret_bytes[0] = (uint8_t)(bits >> 16);
	ret_bytes[1] = (uint8_t)(bits >> 8);
	ret_bytes[2] = (uint8_t)bits;
	return (a | b | c | d) >> 31;
}

int tg_base64_decode(const char *text, size_t text_len, void *ret_data, size_t room, size_t *ret_len)
{
	uint8_t *out = ret_data, group[3] = { 0 };
	size_t len;
	int bad = 0;

	if (text_len % 4)
		return -EINVAL;
	len = text_len / 4 * 3 - padding(text, text_len);
	if (len > room)
		return -EMSGSIZE;
	for (size_t at = 0; at < len; at += 3) {
		size_t used = len - at < 3 ? len - at : 3;

		bad |= decode_group(text + at / 3 * 4, 3 - used, group);
		for (size_t i = used; i < 3; i++)
			bad |= group[i];
		memcpy(out + at, group, used);
	}
	explicit_bzero(group, sizeof(group));
	if (bad) {
		explicit_bzero(ret_data, len);
		return -EINVAL;
	}
	*ret_len = len;
	return 0;
}

void tg_base64_encode(const void *data, size_t len, char *ret_text)
{
	const uint8_t *in = data;
	char *out = ret_text;

	for (size_t at = 0; at < len; at += 3) {
		size_t left = len - at;
		int bits = in[at] << 16 | (left > 1 ? in[at + 1] << 8 : 0) | (left > 2 ? in[at + 2] : 0);

		*out++ = encode_char(bits >> 18 & 63);
		*out++ = encode_char(bits >> 12 & 63);
		*out++ = left > 1 ? encode_char(bits >> 6 & 63) : '=';
		*out++ = left > 2 ? encode_char(bits & 63) : '=';
	}
	*out = '\0';
}

int tg_key_from_base64(const char *text, uint8_t ret_key[static TG_KEY_BYTES])
{
	uint8_t key[TG_KEY_BYTES];
	size_t len;
	int ret = -EINVAL;

	if (strnlen(text, TG_KEY_TEXT_LEN + 1) == TG_KEY_TEXT_LEN &&
	    !tg_base64_decode(text, TG_KEY_TEXT_LEN, key, sizeof(key), &len) && len == sizeof(key)) {
		memcpy(ret_key, key, sizeof(key));
		ret = 0;
	}
	explicit_bzero(key, sizeof(key));
	return ret;
}

void tg_key_to_base64(const uint8_t key[static TG_KEY_BYTES], char ret_text[static TG_KEY_TEXT_LEN + 1])
{
	tg_base64_encode(key, TG_KEY_BYTES, ret_text);
}

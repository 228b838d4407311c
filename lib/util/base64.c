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

int tg_key_from_base64(const char *text, uint8_t ret_key[static TG_KEY_BYTES])
{
	uint8_t key[TG_KEY_BYTES + 1];	/* one byte of padding: 44 characters hold 33 bytes */
	int bad = 0;

	if (strnlen(text, TG_KEY_TEXT_LEN + 1) != TG_KEY_TEXT_LEN || text[TG_KEY_TEXT_LEN - 1] != '=')
		return -EINVAL;
	for (int group = 0; group < TG_KEY_TEXT_LEN / 4; group++) {
		const char *in = text + 4 * group;
		int last = group == TG_KEY_TEXT_LEN / 4 - 1;
		int a = decode_char((unsigned char)in[0]), b = decode_char((unsigned char)in[1]);
		int c = decode_char((unsigned char)in[2]), d = last ? 0 : decode_char((unsigned char)in[3]);
		/* the sign of an invalid character is kept in `bad`; its other bits must not be shifted */
		unsigned bits = ((unsigned)a & 63) << 18 | ((unsigned)b & 63) << 12 |
				((unsigned)c & 63) << 6 | ((unsigned)d & 63);

		bad |= (a | b | c | d) >> 31;
		key[3 * group] = (uint8_t)(bits >> 16);
		key[3 * group + 1] = (uint8_t)(bits >> 8);
		key[3 * group + 2] = (uint8_t)bits;
	}
	bad |= key[TG_KEY_BYTES];
	if (!bad)
		memcpy(ret_key, key, TG_KEY_BYTES);
	explicit_bzero(key, sizeof(key));
	return bad ? -EINVAL : 0;
}

void tg_key_to_base64(const uint8_t key[static TG_KEY_BYTES], char ret_text[static TG_KEY_TEXT_LEN + 1])
{
	char *out = ret_text;

	for (int i = 0; i < TG_KEY_BYTES; i += 3) {
		int tail = i + 2 == TG_KEY_BYTES;	/* the last group holds two bytes */
		int bits = key[i] << 16 | key[i + 1] << 8 | (tail ? 0 : key[i + 2]);

		*out++ = encode_char(bits >> 18 & 63);
		*out++ = encode_char(bits >> 12 & 63);
		*out++ = encode_char(bits >> 6 & 63);
		*out++ = tail ? '=' : encode_char(bits & 63);
	}
	*out = '\0';
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/base64.h"

TEST(net_base64, known_keys)
{
	static const char zero[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	static const char ones[] = "//////////////////////////////////////////8=";
	static const char count[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
	uint8_t key[TG_KEY_BYTES];
	char text[TG_KEY_TEXT_LEN + 1];

	CU_ASSERT_EQUAL(tg_key_from_base64(zero, key), 0);
	for (int i = 0; i < TG_KEY_BYTES; i++)
		CU_ASSERT_EQUAL(key[i], 0);
	CU_ASSERT_EQUAL(tg_key_from_base64(ones, key), 0);
	for (int i = 0; i < TG_KEY_BYTES; i++)
		CU_ASSERT_EQUAL(key[i], 0xff);
	CU_ASSERT_EQUAL(tg_key_from_base64(count, key), 0);
	for (int i = 0; i < TG_KEY_BYTES; i++)
		CU_ASSERT_EQUAL(key[i], i);
	tg_key_to_base64(key, text);
	CU_ASSERT_STRING_EQUAL(text, count);
}

TEST(net_base64, every_value_in_every_place_round_trips)
{
	for (int place = 0; place < TG_KEY_BYTES; place++) {
		for (int value = 0; value < 256; value++) {
			uint8_t key[TG_KEY_BYTES], back[TG_KEY_BYTES];
			char text[TG_KEY_TEXT_LEN + 1];

			memset(key, 0x5a, sizeof(key));
			key[place] = (uint8_t)value;
			tg_key_to_base64(key, text);
			CU_ASSERT_EQUAL_FATAL(tg_key_from_base64(text, back), 0);
			CU_ASSERT_EQUAL_FATAL(memcmp(key, back, sizeof(key)), 0);
		}
	}
}

TEST(net_base64, refuses_and_leaves_the_output_alone)
{
	static const char *const bad[] = {
		"",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",	/* 43 */
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",	/* 45 */
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",	/* no = */
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",	/* 31 bytes */
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=",	/* a bit beyond the key */
		"AAAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAA=",
		"-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"AAAAAAAAAAAAAAAAAAAAAAAAAA\301AAAAAAAAAAAAAAAA=",
	};
	uint8_t key[TG_KEY_BYTES];

	memset(key, 0x77, sizeof(key));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CU_ASSERT_EQUAL(tg_key_from_base64(bad[i], key), -EINVAL);
		for (int k = 0; k < TG_KEY_BYTES; k++)
			CU_ASSERT_EQUAL(key[k], 0x77);
	}
}

TEST(net_base64, only_the_alphabet_is_taken)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	uint8_t key[TG_KEY_BYTES];

	for (int c = 1; c < 256; c++) {
		text[7] = (char)c;
		CU_ASSERT_EQUAL(tg_key_from_base64(text, key), strchr(alphabet, c) ? 0 : -EINVAL);
	}
}

/* RFC 4648, 10 */
TEST(net_base64, any_length)
{
	static const char *const pairs[][2] = { { "", "" },
						{ "f", "Zg==" },
						{ "f"
						  "o",
						  "Zm8=" },
						{ "foo", "Zm9v" },
						{ "foob", "Zm9vYg==" },
						{ "fooba", "Zm9vYmE=" },
						{ "foobar", "Zm9vYmFy" } };

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		const char *bytes = pairs[i][0], *text = pairs[i][1];
		char encoded[16], decoded[16];
		size_t len = 99;

		tg_base64_encode(bytes, strlen(bytes), encoded);
		CU_ASSERT_STRING_EQUAL(encoded, text);
		CU_ASSERT_EQUAL(TG_BASE64_LEN(strlen(bytes)), strlen(text));
		CU_ASSERT_EQUAL(tg_base64_decode(text, strlen(text), decoded, strlen(bytes), &len), 0);
		CU_ASSERT_EQUAL(len, strlen(bytes));
		CU_ASSERT_EQUAL(memcmp(decoded, bytes, len), 0);
		if (len)
			CU_ASSERT_EQUAL(tg_base64_decode(text, strlen(text), decoded, len - 1, &len),
					-EMSGSIZE);
	}
}

TEST(net_base64, only_canonical_text_of_any_length_is_taken)
{
	static const char *const bad[] = { "=",        "==",       "====",  "A===", "AA=",  "AAA",
					   "Zh==",     "Zm9=",     "Zm8==", "Z=8=", "Zg=g", "Zg\n=",
					   "AA==AAAA", "AAAA====", "AA-_",  " AAA" };
	char data[16];
	size_t len;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(tg_base64_decode(bad[i], strlen(bad[i]), data, sizeof(data), &len), -EINVAL);
}

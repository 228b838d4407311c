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

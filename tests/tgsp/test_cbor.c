/* SPDX-License-Identifier: BSD-3-Clause */
/* RFC 8949, appendix A: what is deterministic and in the subset comes out as it went in, the rest is refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/cbor.h"
#include "vectors.h"

/* Writes again what it reads. */
static void copy_item(struct tg_cbor *r, struct tg_cbor_writer *w)
{
	const uint8_t *data;
	enum tg_cbor_type type;
	size_t len, count;
	const char *text;
	struct tg_cbor at = *r;
	uint64_t value;
	int64_t number;
	bool flag;

	CU_ASSERT_FATAL(!tg_cbor_peek(r, "item", &type));
	switch (type) {
	case TG_CBOR_UINT:
		CU_ASSERT(!tg_cbor_uint(r, "item", &value));
		tg_cbor_put_uint(w, value);
		break;
	case TG_CBOR_NEGATIVE:
		if (tg_cbor_int(r, "item", &number)) { /* below -2^63: only stepped over */
			CU_ASSERT(!tg_cbor_skip(r, "item", &data, &len));
			tg_cbor_put_raw(w, data, len);
		} else {
			tg_cbor_put_int(w, number);
		}
		break;
	case TG_CBOR_BYTES:
		CU_ASSERT(!tg_cbor_bytes(r, "item", &data, &len));
		tg_cbor_put_bytes(w, data, len);
		break;
	case TG_CBOR_TEXT: {
		char copy[256] = "";

		CU_ASSERT_FATAL(!tg_cbor_text(r, "item", &text, &len));
		CU_ASSERT_FATAL(len < sizeof(copy));
		memcpy(copy, text, len);
		tg_cbor_put_text(w, copy);
		break;
	}
	case TG_CBOR_ARRAY:
		CU_ASSERT(!tg_cbor_array(r, "item", &count));
		tg_cbor_put_array(w, count);
		while (count--)
			copy_item(r, w);
		break;
	case TG_CBOR_MAP: {
		struct tg_cbor_map map;

		CU_ASSERT(!tg_cbor_map(r, "item", &map));
		tg_cbor_put_map(w, map.left);
		for (count = 2 * map.left; count--;)
			copy_item(r, w);
		break;
	}
	case TG_CBOR_TAG:
		CU_ASSERT(!tg_cbor_skip(&at, "item", &data, &len));
		/* the tag is what precedes its content */
		r->next++;
		while (tg_cbor_check(r->next, (size_t)(at.next - r->next), NULL))
			r->next++;
		tg_cbor_put_raw(w, data, (size_t)(r->next - data));
		copy_item(r, w);
		break;
	case TG_CBOR_SIMPLE:
		if (tg_cbor_bool(r, "item", &flag)) {
			CU_ASSERT(!tg_cbor_skip(r, "item", &data, &len));
			CU_ASSERT(len == 1 && *data == 0xf6);
			tg_cbor_put_raw(w, data, len);
		} else {
			tg_cbor_put_bool(w, flag);
		}
		break;
	}
}

/* Whether the value uses what TGSP's subset has not: floats, undefined, simple values. */
static bool outside_subset(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned type = data[i] >> 5, info = data[i] & 31;

		if (type == 7 && info != 31)
			return info < 20 || info > 22;
		if (type != 6)	/* the vectors have them bare or in a tag */
			return false;
		i += info == 24 ? 1 : 0;
	}
	return false;
}

TEST(cbor, appendix_a)
{
	json_t *vectors = vectors_json("cbor_appendix_a.json"), *v;
	unsigned accepted = 0, refused = 0;
	size_t i;

	CU_ASSERT_PTR_NOT_NULL_FATAL(vectors);
	json_array_foreach(vectors, i, v)
	{
		struct hex in = hex_member(v, "hex");
		bool good = json_is_true(json_object_get(v, "roundtrip")) && !outside_subset(in.data, in.len);
		int ret = tg_cbor_check(in.data, in.len, NULL);

		CU_ASSERT_EQUAL(ret, good ? 0 : -EBADMSG);
		if (!ret != good)
			printf("%s: %d\n", json_string_value(json_object_get(v, "hex")), ret);
		if (!ret) {
			struct tg_cbor_writer w = { 0 };
			struct tg_cbor r;
			uint8_t *out;
			size_t len;

			tg_cbor_init(&r, in.data, in.len, NULL);
			copy_item(&r, &w);
			CU_ASSERT(!tg_cbor_done(&r, "end"));
			CU_ASSERT_FATAL(!tg_cbor_take(&w, &out, &len));
			CU_ASSERT(len == in.len && !memcmp(out, in.data, len));
			free(out);
		}
		*(ret ? &refused : &accepted) += 1;
		free(in.data);
	}
	json_decref(vectors);
	CU_ASSERT(accepted > 0 && refused > 0);
}

/* Every beginning of an accepted item is refused, and so is the item with something behind it. */
TEST(cbor, cut_and_extended)
{
	json_t *vectors = vectors_json("cbor_appendix_a.json"), *v;
	size_t i;

	CU_ASSERT_PTR_NOT_NULL_FATAL(vectors);
	json_array_foreach(vectors, i, v)
	{
		struct hex in = hex_member(v, "hex");

		if (!tg_cbor_check(in.data, in.len, NULL)) {
			for (size_t len = 0; len < in.len; len++) {
				uint8_t *exact = malloc(len ? len : 1);

				memcpy(exact, in.data, len);
				CU_ASSERT_EQUAL(tg_cbor_check(exact, len, NULL), -EBADMSG);
				free(exact);
			}
			in.data[in.len] = 0;	/* hex_bytes() leaves room */
			CU_ASSERT_EQUAL(tg_cbor_check(in.data, in.len + 1, NULL), -EBADMSG);
		}
		free(in.data);
	}
	json_decref(vectors);
}

TEST(cbor, refused)
{
	static const char *const bad[] = {
		"",
		"1800",
		"1817",
		"190000",
		"1900ff",
		"1a0000ffff",
		"1b00000000ffffffff", /* not the shortest */
		"5800",
		"580141",
		"780161",
		"9800",
		"b800",
		"d801f6",
		"1c",
		"1d",
		"1e",
		"1f",
		"5f",
		"5fff",
		"7fff",
		"9fff",
		"bfff",
		"ff", /* reserved, indefinite */
		"a201010100",
		"a202010101",
		"a220010101",
		"a2616101010a",
		"a10101a0", /* order, twice, more */
		"a26161016162",
		"a2626161016162ff", /* an odd number of items */
		"61ff",
		"62c080",
		"63eda080",
		"64f4908080",
		"64f8888080",
		"62c3",
		"63e0809f", /* not UTF-8 */
		"e0",
		"f0",
		"f3",
		"f7",
		"f800",
		"f818",
		"f820",
		"f90000",
		"fa00000000", /* no floats, no others */
		"fb0000000000000000",
		"818181818181818181818181818181818100", /* 17 deep */
		"9bffffffffffffffff",
		"bbffffffffffffffff",
		"5bffffffffffffffff",
		"7bffffffffffffffff",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct hex in = hex_bytes(bad[i]);

		CU_ASSERT_EQUAL(tg_cbor_check(in.data, in.len, NULL), -EBADMSG);
		if (!tg_cbor_check(in.data, in.len, NULL))
			printf("accepted: %s\n", bad[i]);
		free(in.data);
	}
}

TEST(cbor, typed)
{
	static const uint8_t map[] = { 0xa3, 0x00, 0x01, 0x18, 0x20, 0xf5, 0x20, 0x41, 0xaa };
	static const uint8_t text[] = { 0x62, 'a', 0 };
	const uint8_t *data;
	const char *ignored;
	struct tg_cbor_map m;
	struct tg_error e;
	struct tg_cbor r;
	uint64_t value;
	int64_t key;
	size_t len;
	bool flag;

	tg_cbor_init(&r, map, sizeof(map), &e);
	CU_ASSERT(tg_cbor_uint(&r, "number", &value) == -EBADMSG && r.next == map);
	CU_ASSERT_STRING_EQUAL(e.message, "number, byte 0: expected an unsigned number");
	CU_ASSERT(!tg_cbor_map(&r, "map", &m) && m.left == 3);
	CU_ASSERT(tg_cbor_map_next(&r, "map", &m, &key) == 1 && key == 0);
	CU_ASSERT(!tg_cbor_uint(&r, "value", &value) && value == 1);
	CU_ASSERT(tg_cbor_map_next(&r, "map", &m, &key) == 1 && key == 32);
	CU_ASSERT(!tg_cbor_bool(&r, "flag", &flag) && flag);
	CU_ASSERT(tg_cbor_map_next(&r, "map", &m, &key) == 1 && key == -1);
	CU_ASSERT(!tg_cbor_bytes(&r, "bytes", &data, &len) && len == 1 && *data == 0xaa);
	CU_ASSERT(tg_cbor_map_next(&r, "map", &m, &key) == 0);
	CU_ASSERT(!tg_cbor_done(&r, "end"));
	tg_cbor_init(&r, text, sizeof(text), &e);
	CU_ASSERT_EQUAL(tg_cbor_text(&r, "text", &ignored, &len), -EBADMSG);
}

/* Numbers around every change of length. */
TEST(cbor, numbers)
{
	static const int64_t edges[] = {
		0, 23, 24, 255, 256, 65535, 65536, 4294967295, 4294967296, INT64_MAX
	};

	for (size_t i = 0; i < 2 * sizeof(edges) / sizeof(edges[0]); i++) {
		int64_t want = i % 2 ? -1 - edges[i / 2] : edges[i / 2], got;
		struct tg_cbor_writer w = { 0 };
		struct tg_cbor r;
		uint8_t *out;
		size_t len;

		tg_cbor_put_int(&w, want);
		CU_ASSERT_FATAL(!tg_cbor_take(&w, &out, &len));
		CU_ASSERT(!tg_cbor_check(out, len, NULL));
		tg_cbor_init(&r, out, len, NULL);
		CU_ASSERT(!tg_cbor_int(&r, "number", &got) && got == want);
		free(out);
	}
}

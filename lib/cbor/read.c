/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tensorguard/cbor.h"

enum { INFO_U8 = 24, INFO_U64 = 27, SIMPLE_FALSE = 20, SIMPLE_TRUE = 21, SIMPLE_NULL = 22 };

struct head {
	enum tg_cbor_type type;
	uint64_t value;
	size_t len;		/* of the head itself */
};

static int bad(const struct tg_cbor *r, const char *what, const char *why)
{
	tg_error(r->e, -EBADMSG, "%s, byte %zu: %s", what, (size_t)(r->next - r->start), why);
	return -EBADMSG;
}

void tg_cbor_init(struct tg_cbor *r, const uint8_t *data, size_t len, struct tg_error *e)
{
	*r = (struct tg_cbor){ .start = data, .next = data, .end = data + len, .e = e };
}

/* The number behind the initial byte, which must need all of its bytes. */
static int read_argument(const struct tg_cbor *r, const char *what, unsigned info, struct head *head)
{
	size_t bytes = (size_t)1 << (info - INFO_U8);
	uint64_t value = 0;

	if (bytes >= (size_t)(r->end - r->next))
		return bad(r, what, "the input ends inside an item");
	for (size_t i = 1; i <= bytes; i++)
		value = value << 8 | r->next[i];
	if (bytes == 1 ? value < INFO_U8 : !(value >> (4 * bytes)))
		return bad(r, what, "a number is not in its shortest form");
	head->value = value;
	head->len = 1 + bytes;
	return 0;
}

static int read_head(const struct tg_cbor *r, const char *what, struct head *ret)
{
	struct head head = { .len = 1 };
	unsigned info;
	int err;

	if (r->next == r->end)
		return bad(r, what, "the input ends where an item should begin");
	head.type = (enum tg_cbor_type)(*r->next >> 5);
	info = *r->next & 31;
	head.value = info;
	if (head.type == TG_CBOR_SIMPLE) {
		if (info < SIMPLE_FALSE || info > SIMPLE_NULL)
			return bad(r, what, "a float or simple value, which this format has not");
	} else if (info > INFO_U64) {
		return bad(r, what, info == 31 ? "indefinite length" : "reserved initial byte");
	} else if (info >= INFO_U8) {
		err = read_argument(r, what, info, &head);
		if (err)
			return err;
	}
	*ret = head;
	return 0;
}

static int take_head(struct tg_cbor *r, const char *what, enum tg_cbor_type type, const char *expected,
		     uint64_t *ret_value)
{
	struct head head;
	int err = read_head(r, what, &head);

	if (err)
		return err;
	if (head.type != type)
		return bad(r, what, expected);
	*ret_value = head.value;
	r->next += head.len;
	return 0;
}

/* The bytes that a character's first byte announces; 0 when it cannot be one. */
static size_t utf8_length(uint8_t first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first < 0xe0)
		return 2;
	if ((first & 0xf0) == 0xe0)
		return 3;
	return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

/* What the second byte may be depends on the first: no longer form than needed, no surrogates, <= U+10FFFF.
 */
static bool utf8_second(uint8_t first, uint8_t second)
{
	uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

	return second >= low && second <= high;
}

static bool utf8_valid(const uint8_t *text, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_length(text[i]);
		if (!n || n > len - i || (n > 1 && !utf8_second(text[i], text[i + 1])))
			return false;
		for (size_t k = 2; k < n; k++)
			if ((text[i + k] & 0xc0) != 0x80)
				return false;
	}
	return true;
}

static int take_string(struct tg_cbor *r, const char *what, enum tg_cbor_type type, const char *expected,
		       const uint8_t **ret_data, size_t *ret_len)
{
	struct tg_cbor at = *r;
	uint64_t len;
	int err = take_head(&at, what, type, expected, &len);

	if (err)
		return err;
	if (len > (size_t)(at.end - at.next))
		return bad(r, what, "a string is longer than the input");
	if (type == TG_CBOR_TEXT && !utf8_valid(at.next, (size_t)len))
		return bad(r, what, "a text is not UTF-8");
	*ret_data = at.next;
	*ret_len = (size_t)len;
	r->next = at.next + len;
	return 0;
}

/* Steps over one item, whatever it is; key order is checked on whole encodings. */
static int walk(struct tg_cbor *r, const char *what, unsigned depth);

static int walk_map(struct tg_cbor *r, const char *what, uint64_t pairs, unsigned depth)
{
	const uint8_t *last = NULL;
	size_t last_len = 0;

	while (pairs--) {
		const uint8_t *key = r->next;
		size_t len, common;
		int err = walk(r, what, depth), order;

		if (err)
			return err;
		len = (size_t)(r->next - key);
		common = len < last_len ? len : last_len;
		order = last ? memcmp(last, key, common) : -1;
		if (order > 0 || (!order && last_len >= len))
			return bad(r, what, "map keys out of order or twice");
		last = key;
		last_len = len;
		err = walk(r, what, depth);
		if (err)
			return err;
	}
	return 0;
}

static int walk_items(struct tg_cbor *r, const char *what, const struct head *head, unsigned depth)
{
	uint64_t items = head->type == TG_CBOR_TAG ? 1 : head->value;

	if (!depth)
		return bad(r, what, "nested too deeply");
	if (items > (size_t)(r->end - r->next))
		return bad(r, what, "more elements than the input has bytes");
	if (head->type == TG_CBOR_MAP)
		return walk_map(r, what, items, depth - 1);
	while (items--) {
		int err = walk(r, what, depth - 1);

		if (err)
			return err;
	}
	return 0;
}

static int walk(struct tg_cbor *r, const char *what, unsigned depth)
{
	const uint8_t *data;
	struct head head;
	size_t len;
	int err = read_head(r, what, &head);

	if (err)
		return err;
	if (head.type == TG_CBOR_BYTES || head.type == TG_CBOR_TEXT)
		return take_string(r, what, head.type, "", &data, &len);
	r->next += head.len;
	if (head.type == TG_CBOR_ARRAY || head.type == TG_CBOR_MAP || head.type == TG_CBOR_TAG)
		return walk_items(r, what, &head, depth);
	return 0;
}

int tg_cbor_check(const uint8_t *data, size_t len, struct tg_error *e)
{
	struct tg_cbor r;
	int err;

	tg_cbor_init(&r, data, len, e);
	err = walk(&r, "CBOR", TG_CBOR_DEPTH);
	return err ? err : tg_cbor_done(&r, "CBOR");
}

int tg_cbor_done(const struct tg_cbor *r, const char *what)
{
	return r->next == r->end ? 0 : bad(r, what, "something follows where the end should be");
}

int tg_cbor_peek(const struct tg_cbor *r, const char *what, enum tg_cbor_type *ret_type)
{
	struct head head;
	int err = read_head(r, what, &head);

	if (!err)
		*ret_type = head.type;
	return err;
}

int tg_cbor_uint(struct tg_cbor *r, const char *what, uint64_t *ret_value)
{
	return take_head(r, what, TG_CBOR_UINT, "expected an unsigned number", ret_value);
}

int tg_cbor_int(struct tg_cbor *r, const char *what, int64_t *ret_value)
{
	struct head head;
	int err = read_head(r, what, &head);

	if (err)
		return err;
	if (head.type != TG_CBOR_UINT && head.type != TG_CBOR_NEGATIVE)
		return bad(r, what, "expected a number");
	if (head.value > INT64_MAX)
		return bad(r, what, "a number out of range");
	*ret_value = head.type == TG_CBOR_UINT ? (int64_t)head.value : -1 - (int64_t)head.value;
	r->next += head.len;
	return 0;
}

int tg_cbor_bool(struct tg_cbor *r, const char *what, bool *ret_value)
{
	struct tg_cbor at = *r;
	uint64_t value;
	int err = take_head(&at, what, TG_CBOR_SIMPLE, "expected true or false", &value);

	if (err)
		return err;
	if (value == SIMPLE_NULL)
		return bad(r, what, "expected true or false");
	*ret_value = value == SIMPLE_TRUE;
	r->next = at.next;
	return 0;
}

int tg_cbor_bytes(struct tg_cbor *r, const char *what, const uint8_t **ret_data, size_t *ret_len)
{
	return take_string(r, what, TG_CBOR_BYTES, "expected a byte string", ret_data, ret_len);
}

int tg_cbor_bytes_fixed(struct tg_cbor *r, const char *what, uint8_t *ret_data, size_t len)
{
	struct tg_cbor at = *r;
	const uint8_t *data;
	size_t found;
	int err = tg_cbor_bytes(&at, what, &data, &found);

	if (err)
		return err;
	if (found != len)
		return tg_error(r->e, -EBADMSG, "%s: %zu bytes, expected %zu", what, found, len);
	memcpy(ret_data, data, len);
	r->next = at.next;
	return 0;
}

int tg_cbor_text(struct tg_cbor *r, const char *what, const char **ret_text, size_t *ret_len)
{
	struct tg_cbor at = *r;
	const uint8_t *data;
	size_t len;
	int err = take_string(&at, what, TG_CBOR_TEXT, "expected a text", &data, &len);

	if (err)
		return err;
	if (memchr(data, 0, len))
		return bad(r, what, "a NUL in a text");
	*ret_text = (const char *)data;
	*ret_len = len;
	r->next = at.next;
	return 0;
}

int tg_cbor_array(struct tg_cbor *r, const char *what, size_t *ret_count)
{
	struct tg_cbor at = *r;
	uint64_t count;
	int err = take_head(&at, what, TG_CBOR_ARRAY, "expected an array", &count);

	if (err)
		return err;
	if (count > (size_t)(at.end - at.next))
		return bad(r, what, "more elements than the input has bytes");
	*ret_count = (size_t)count;
	r->next = at.next;
	return 0;
}

int tg_cbor_tag(struct tg_cbor *r, const char *what, uint64_t tag)
{
	struct tg_cbor at = *r;
	uint64_t found;
	int err = take_head(&at, what, TG_CBOR_TAG, "expected a tag", &found);

	if (err)
		return err;
	if (found != tag)
		return bad(r, what, "another tag than expected");
	r->next = at.next;
	return 0;
}

int tg_cbor_skip(struct tg_cbor *r, const char *what, const uint8_t **ret_data, size_t *ret_len)
{
	struct tg_cbor at = *r;
	int err = walk(&at, what, TG_CBOR_DEPTH);

	if (err)
		return err;
	if (ret_data)
		*ret_data = r->next;
	if (ret_len)
		*ret_len = (size_t)(at.next - r->next);
	r->next = at.next;
	return 0;
}

int tg_cbor_map(struct tg_cbor *r, const char *what, struct tg_cbor_map *ret_map)
{
	struct tg_cbor at = *r;
	uint64_t pairs;
	int err = take_head(&at, what, TG_CBOR_MAP, "expected a map", &pairs);

	if (err)
		return err;
	if (pairs > (size_t)(at.end - at.next) / 2)
		return bad(r, what, "more elements than the input has bytes");
	*ret_map = (struct tg_cbor_map){ .left = (size_t)pairs };
	r->next = at.next;
	return 0;
}

int tg_cbor_map_next(struct tg_cbor *r, const char *what, struct tg_cbor_map *map, int64_t *ret_key)
{
	uint64_t magnitude;
	bool negative;
	int64_t key;
	int err;

	if (!map->left)
		return 0;
	err = tg_cbor_int(r, what, &key);
	if (err)
		return err;
	negative = key < 0;
	magnitude = negative ? (uint64_t)(-1 - key) : (uint64_t)key;
	/* numbers of one sign are ordered by magnitude, and negative ones come behind the others */
	if (map->started &&
	    (negative < map->negative || (negative == map->negative && magnitude <= map->last)))
		return bad(r, what, "map keys out of order or twice");
	map->started = true;
	map->negative = negative;
	map->last = magnitude;
	map->left--;
	*ret_key = key;
	return 1;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deterministically encoded CBOR (RFC 8949, section 4.2.1), the subset of TGSP
 * (docs/tgsp.md): integers, byte and text strings, arrays, maps, tags, false,
 * true and null. There is exactly one encoding of a value; the reader refuses
 * every other one: longer integers than needed, indefinite lengths, map keys
 * out of order or twice, invalid UTF-8. It refuses floats, undefined and other
 * simple values as well, because the subset has none.
 *
 * Nothing is copied by the reader: strings point into its input. A length is
 * compared with what is left of the input before it is used.
 */
#ifndef TENSORGUARD_CBOR_H
#define TENSORGUARD_CBOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

#define TG_CBOR_DEPTH 16	/* containers and tags around an item, at most */

enum tg_cbor_type {
	TG_CBOR_UINT,
	TG_CBOR_NEGATIVE,	/* -1 - value */
	TG_CBOR_BYTES,
	TG_CBOR_TEXT,
	TG_CBOR_ARRAY,
	TG_CBOR_MAP,
	TG_CBOR_TAG,
	TG_CBOR_SIMPLE,		/* value 20 false, 21 true, 22 null */
};

/*
 * Whether `data` is exactly one item in deterministic encoding, with nothing
 * behind it. -EBADMSG with the offset and what was wrong in `e`.
 */
int tg_cbor_check(const uint8_t *data, size_t len, struct tg_error *e);

/*
 * A reader over items that follow one another. It starts at what it is given;
 * each function takes one item's head (and a string's contents) or fails with
 * -EBADMSG and leaves the reader where it was. `what` names the item in the
 * message.
 */
struct tg_cbor {
	const uint8_t *start, *next, *end;
	struct tg_error *e;	/* NULL: no messages */
};

void tg_cbor_init(struct tg_cbor *r, const uint8_t *data, size_t len, struct tg_error *e);
/* -EBADMSG unless everything was read. */
int tg_cbor_done(const struct tg_cbor *r, const char *what);
/* The type of what comes next; -EBADMSG at the end. */
int tg_cbor_peek(const struct tg_cbor *r, const char *what, enum tg_cbor_type *ret_type);

int tg_cbor_uint(struct tg_cbor *r, const char *what, uint64_t *ret_value);
/* A signed number; one that does not fit into 64 bits is refused. */
int tg_cbor_int(struct tg_cbor *r, const char *what, int64_t *ret_value);
int tg_cbor_bool(struct tg_cbor *r, const char *what, bool *ret_value);
int tg_cbor_bytes(struct tg_cbor *r, const char *what, const uint8_t **ret_data, size_t *ret_len);
/* Exactly `len` bytes, copied. */
int tg_cbor_bytes_fixed(struct tg_cbor *r, const char *what, uint8_t *ret_data, size_t len);
/* Valid UTF-8, not ended by a NUL; one that contains a NUL is refused. */
int tg_cbor_text(struct tg_cbor *r, const char *what, const char **ret_text, size_t *ret_len);
/* Elements of an array; never more than bytes are left. */
int tg_cbor_array(struct tg_cbor *r, const char *what, size_t *ret_count);
int tg_cbor_tag(struct tg_cbor *r, const char *what, uint64_t tag);
/* Steps over one whole item, which *ret_data and *ret_len (may be NULL) describe. */
int tg_cbor_skip(struct tg_cbor *r, const char *what, const uint8_t **ret_data, size_t *ret_len);

/*
 * Maps with integer keys. tg_cbor_map_next() reads the next key, which must come
 * after the one before in the order of section 4.2.1, and returns 1, or 0 when
 * there are no more. After 1 the caller reads exactly one item.
 */
struct tg_cbor_map {
	size_t left;
	bool started, negative;
	uint64_t last;
};

int tg_cbor_map(struct tg_cbor *r, const char *what, struct tg_cbor_map *ret_map);
int tg_cbor_map_next(struct tg_cbor *r, const char *what, struct tg_cbor_map *map, int64_t *ret_key);

/*
 * A writer into memory of its own, which grows. The first failure (-ENOMEM) is
 * kept, and everything after it does nothing: it is enough to look at
 * tg_cbor_take(). The caller sees to the order of map keys.
 */
struct tg_cbor_writer {
	uint8_t *data;
	size_t len, size;
	int err;
};

void tg_cbor_put_uint(struct tg_cbor_writer *w, uint64_t value);
void tg_cbor_put_int(struct tg_cbor_writer *w, int64_t value);
void tg_cbor_put_bool(struct tg_cbor_writer *w, bool value);
void tg_cbor_put_bytes(struct tg_cbor_writer *w, const void *data, size_t len);
void tg_cbor_put_text(struct tg_cbor_writer *w, const char *text);
void tg_cbor_put_array(struct tg_cbor_writer *w, size_t count);
void tg_cbor_put_map(struct tg_cbor_writer *w, size_t pairs);
void tg_cbor_put_tag(struct tg_cbor_writer *w, uint64_t tag);
/* Items that are encoded already. */
void tg_cbor_put_raw(struct tg_cbor_writer *w, const void *data, size_t len);
/* Hands what was written to the caller (free()) and empties the writer. */
int tg_cbor_take(struct tg_cbor_writer *w, uint8_t **ret_data, size_t *ret_len);
/* Wipes and frees. */
void tg_cbor_writer_clear(struct tg_cbor_writer *w);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads a TPM structure field by field. The first field that does not fit makes
 * the reader fail for good: all later fields are 0 or NULL, and only the end needs
 * to be asked whether everything was there and nothing more.
 */
#ifndef LIB_ATTEST_READER_H
#define LIB_ATTEST_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
	const uint8_t *at;
	size_t left;
	bool failed;
};

static inline struct reader reader_of(const void *data, size_t len)
{
	return (struct reader){ data, data ? len : 0, false };
}

/* `len` bytes, or NULL; never NULL for a length of 0 unless failed. */
static inline const uint8_t *read_bytes(struct reader *r, size_t len)
{
	static const uint8_t nothing;
	const uint8_t *field = r->at ? r->at : &nothing;

	if (r->failed || len > r->left) {
		r->failed = true;
		return NULL;
	}
	if (len) {
		r->at += len;
		r->left -= len;
	}
	return field;
}

/* Big-endian, as the TPM writes. */
static inline uint64_t read_be(struct reader *r, size_t len)
{
	const uint8_t *field = read_bytes(r, len);
	uint64_t value = 0;

	for (size_t i = 0; field && i < len; i++)
		value = value << 8 | field[i];
	return value;
}

/* Little-endian, as firmware writes its event log. */
static inline uint64_t read_le(struct reader *r, size_t len)
{
	const uint8_t *field = read_bytes(r, len);
	uint64_t value = 0;

	for (size_t i = len; field && i > 0; i--)
		value = value << 8 | field[i - 1];
	return value;
}

/* A TPM2B: its size, at most `max`, and as many bytes. */
static inline const uint8_t *read_sized(struct reader *r, size_t max, size_t *ret_len)
{
	size_t len = (size_t)read_be(r, 2);

	if (len > max)
		r->failed = true;
	*ret_len = r->failed ? 0 : len;
	return read_bytes(r, len);
}

/* Whether all fields were there and nothing is left. */
static inline bool read_whole(const struct reader *r)
{
	return !r->failed && !r->left;
}

#endif

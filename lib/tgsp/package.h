/* SPDX-License-Identifier: BSD-3-Clause */
/* What reading, opening and making packages share. */
#ifndef TGSP_PACKAGE_H
#define TGSP_PACKAGE_H

#include "tensorguard/file.h"
#include "tensorguard/tgsp.h"

#define TGSP_MAGIC "TGSP\0\1\r\n"
enum {
	TGSP_MAGIC_LEN = 8,
	TGSP_HEAD_LEN = TGSP_MAGIC_LEN + 4,
	TGSP_KEY_LEN = TG_FLOE_KEY_LEN,
	TGSP_WRAPPED_LEN = TGSP_KEY_LEN + TG_AEAD_TAG_LEN,
	TGSP_SUITE_HPKE_P256_CHACHA = 1,
};
#define TGSP_CONTENT_TYPE "application/vnd.tensorguard.tgsp-manifest"

struct tgsp_recipient {
	uint8_t id[TG_KEY_ID_LEN];
	uint8_t enc[TG_HPKE_ENC_LEN];
	uint8_t wrapped[TGSP_WRAPPED_LEN];
};

struct tg_tgsp {
	int fd;
	uint8_t *envelope;	/* what `cose` and `recipient_list` point into */
	size_t envelope_len;
	struct tg_cose cose;
	const uint8_t *signed_part; /* the COSE_Sign as it stands */
	size_t signed_len;
	struct tg_tgsp_manifest *manifest;
	uint8_t hash[TG_SHA256_LEN];
	struct tgsp_recipient *recipients;
	size_t recipient_count;
	const uint8_t *recipient_list; /* encoded, as the MAC covers it */
	size_t recipient_list_len;
	uint8_t mac[TG_SHA256_LEN];
};

/* Bytes before the payload, for an envelope of this length. */
static inline uint64_t tgsp_payload_offset(size_t envelope_len)
{
	return (TGSP_HEAD_LEN + envelope_len + TG_TGSP_ALIGN - 1) / TG_TGSP_ALIGN * TG_TGSP_ALIGN;
}

/* The data key wrapped for one recipient. */
int tgsp_wrap(const uint8_t data_key[static TGSP_KEY_LEN], const uint8_t hash[static TG_SHA256_LEN],
	      const uint8_t point[static TG_P256_POINT_LEN], struct tgsp_recipient *ret_recipient,
	      struct tg_error *e);
/* The envelope from its signed part and recipients, which are put in order. -EEXIST for one that is there
 * twice. */
int tgsp_envelope(const uint8_t *signed_part, size_t signed_len, struct tgsp_recipient *recipients,
		  size_t count, const uint8_t data_key[static TGSP_KEY_LEN],
		  const uint8_t hash[static TG_SHA256_LEN], uint8_t **ret_envelope, size_t *ret_len,
		  struct tg_error *e);
/* Head, envelope and padding, written from where `fd` stands. */
int tgsp_write_front(int fd, const uint8_t *envelope, size_t len, struct tg_error *e);

/* Segment by segment over a payload. */
struct tgsp_segments {
	uint32_t segment;	/* bytes of a whole one, encrypted */
	uint64_t count, left;	/* left: encrypted bytes, with this one */
	uint64_t position;
};

void tgsp_segments_init(struct tgsp_segments *s, const struct tg_tgsp_manifest *manifest);
/* Length of the segment at `position`; *ret_last tells whether it is the last. */
size_t tgsp_segment_len(const struct tgsp_segments *s, bool *ret_last);
void tgsp_segment_done(struct tgsp_segments *s, size_t len);

static inline void tgsp_report(const struct tg_tgsp_progress *progress, uint64_t done, uint64_t total)
{
	if (progress && progress->report)
		progress->report(progress->ctx, done, total);
}

#endif

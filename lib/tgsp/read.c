/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tgsp/package.h"

static int read_exactly(int fd, uint8_t *data, size_t len, struct tg_error *e)
{
	ssize_t n = tg_read_full(fd, data, len);

	if (n < 0)
		return tg_error(e, (int)n, "the package cannot be read: %s", strerror((int)-n));
	return (size_t)n == len ? 0 : tg_error(e, -EBADMSG, "the package ends too early");
}

static int decode_recipient(struct tg_cbor *r, struct tgsp_recipient *ret)
{
	uint64_t suite;
	size_t parts;
	int err = tg_cbor_array(r, "recipient", &parts);

	if (!err && parts != 4)
		return tg_error(r->e, -EBADMSG, "a recipient of %zu parts, expected 4", parts);
	if (!err)
		err = tg_cbor_bytes_fixed(r, "recipient", ret->id, sizeof(ret->id));
	if (!err)
		err = tg_cbor_uint(r, "recipient's suite", &suite);
	if (!err && suite != TGSP_SUITE_HPKE_P256_CHACHA)
		return tg_error(r->e, -EBADMSG, "recipient suite %llu is not known",
				(unsigned long long)suite);
	if (!err)
		err = tg_cbor_bytes_fixed(r, "recipient's public key", ret->enc, sizeof(ret->enc));
	return err ? err : tg_cbor_bytes_fixed(r, "wrapped key", ret->wrapped, sizeof(ret->wrapped));
}

static int decode_recipients(struct tg_tgsp *p, struct tg_cbor *r)
{
	size_t count;
	int ret;

	p->recipient_list = r->next;
	ret = tg_cbor_array(r, "recipients", &count);
	if (ret)
		return ret;
	if (!count)
		return tg_error(r->e, -EBADMSG, "no recipients");
	/* no more elements than bytes that are left, so at most 1 MiB of them */
	p->recipients = calloc(count, sizeof(*p->recipients));
	if (!p->recipients)
		return tg_error(r->e, -ENOMEM, "out of memory");
	for (; p->recipient_count < count; p->recipient_count++) {
		struct tgsp_recipient *now = &p->recipients[p->recipient_count];

		ret = decode_recipient(r, now);
		if (!ret && p->recipient_count && memcmp(now[-1].id, now->id, TG_KEY_ID_LEN) >= 0)
			ret = tg_error(r->e, -EBADMSG, "recipients out of order or twice");
		if (ret)
			return ret;
	}
	p->recipient_list_len = (size_t)(r->next - p->recipient_list);
	return 0;
}

/* Envelope: array of the COSE_Sign over the manifest, the recipients, their MAC. */
static int decode_envelope(struct tg_tgsp *p, struct tg_error *e)
{
	struct tg_cbor r;
	size_t parts;
	int ret;

	tg_cbor_init(&r, p->envelope, p->envelope_len, e);
	ret = tg_cbor_array(&r, "envelope", &parts);
	if (!ret && parts != 3)
		return tg_error(e, -EBADMSG, "an envelope of %zu parts, expected 3", parts);
	p->signed_part = r.next;
	if (!ret)
		ret = tg_cose_decode(&r, TGSP_CONTENT_TYPE, &p->cose);
	p->signed_len = (size_t)(r.next - p->signed_part);
	if (!ret)
		ret = decode_recipients(p, &r);
	if (!ret)
		ret = tg_cbor_bytes_fixed(&r, "MAC of the recipients", p->mac, sizeof(p->mac));
	if (!ret)
		ret = tg_cbor_done(&r, "envelope");
	if (!ret)
		ret = tg_tgsp_manifest_decode(p->cose.payload, p->cose.payload_len, &p->manifest, e);
	if (!ret)
		ret = tg_sha256(&(struct tg_piece){ p->cose.payload, p->cose.payload_len }, 1, p->hash, e);
	return ret;
}

static int read_envelope(struct tg_tgsp *p, struct tg_error *e)
{
	uint8_t head[TGSP_HEAD_LEN], padding[TG_TGSP_ALIGN] = { 0 };
	size_t len, pad;
	int ret = read_exactly(p->fd, head, sizeof(head), e);

	if (ret)
		return ret;
	if (memcmp(head, TGSP_MAGIC, TGSP_MAGIC_LEN))
		return tg_error(e, -EBADMSG, "not a TGSP package");
	len = (size_t)head[8] << 24 | (size_t)head[9] << 16 | (size_t)head[10] << 8 | head[11];
	if (!len || len > TG_TGSP_MAX_ENVELOPE)
		return tg_error(e, -EBADMSG, "an envelope of %zu bytes, expected 1 to %u", len,
				TG_TGSP_MAX_ENVELOPE);
	p->envelope = malloc(len);
	if (!p->envelope)
		return tg_error(e, -ENOMEM, "out of memory");
	p->envelope_len = len;
	ret = read_exactly(p->fd, p->envelope, len, e);
	pad = (size_t)tgsp_payload_offset(len) - TGSP_HEAD_LEN - len;
	if (!ret)
		ret = read_exactly(p->fd, padding, pad, e);
	for (size_t i = 0; !ret && i < pad; i++)
		if (padding[i])
			ret = tg_error(e, -EBADMSG, "the padding behind the envelope is not zero");
	return ret;
}

int tg_tgsp_read(int fd, struct tg_tgsp **ret_package, struct tg_error *e)
{
	struct tg_tgsp *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return tg_error(e, -ENOMEM, "out of memory");
	p->fd = fd;
	ret = read_envelope(p, e);
	if (!ret)
		ret = decode_envelope(p, e);
	if (ret) {
		tg_tgsp_free(p);
		return ret;
	}
	*ret_package = p;
	return 0;
}

void tg_tgsp_free(struct tg_tgsp *package)
{
	if (!package)
		return;
	tg_tgsp_manifest_free(package->manifest);
	free(package->recipients);
	free(package->envelope);
	free(package);
}

const struct tg_tgsp_manifest *tg_tgsp_manifest(const struct tg_tgsp *package)
{
	return package->manifest;
}

const uint8_t *tg_tgsp_manifest_hash(const struct tg_tgsp *package)
{
	return package->hash;
}

const struct tg_cose *tg_tgsp_signatures(const struct tg_tgsp *package)
{
	return &package->cose;
}

size_t tg_tgsp_recipient_count(const struct tg_tgsp *package)
{
	return package->recipient_count;
}

const uint8_t *tg_tgsp_recipient_id(const struct tg_tgsp *package, size_t recipient)
{
	return package->recipients[recipient].id;
}

static uint64_t body_len(const struct tg_tgsp_manifest *m)
{
	return tg_floe_body_len(m->payload.segment, tg_tgsp_plain_len(m));
}

uint64_t tg_tgsp_file_len(const struct tg_tgsp *package)
{
	return tgsp_payload_offset(package->envelope_len) + body_len(package->manifest);
}

void tgsp_segments_init(struct tgsp_segments *s, const struct tg_tgsp_manifest *manifest)
{
	*s = (struct tgsp_segments){
		.segment = manifest->payload.segment,
		.count = tg_floe_segments(manifest->payload.segment, tg_tgsp_plain_len(manifest)),
		.left = body_len(manifest),
	};
}

size_t tgsp_segment_len(const struct tgsp_segments *s, bool *ret_last)
{
	*ret_last = s->position + 1 == s->count;
	return *ret_last ? (size_t)s->left : s->segment;
}

void tgsp_segment_done(struct tgsp_segments *s, size_t len)
{
	s->position++;
	s->left -= len;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/cbor.h"
#include "tensorguard/tgsp_manifest.h"
#include "tgsp/manifest.h"

static void put_number(struct tg_cbor_writer *w, unsigned key, uint64_t value)
{
	tg_cbor_put_uint(w, key);
	tg_cbor_put_uint(w, value);
}

static void put_text(struct tg_cbor_writer *w, unsigned key, const char *text)
{
	tg_cbor_put_uint(w, key);
	tg_cbor_put_text(w, text);
}

static void put_bytes(struct tg_cbor_writer *w, unsigned key, const void *data, size_t len)
{
	tg_cbor_put_uint(w, key);
	tg_cbor_put_bytes(w, data, len);
}

static void put_names(struct tg_cbor_writer *w, unsigned key, const struct tg_tgsp_names *names)
{
	tg_cbor_put_uint(w, key);
	tg_cbor_put_array(w, names->count);
	for (size_t i = 0; i < names->count; i++)
		tg_cbor_put_text(w, names->names[i]);
}

static void put_files(struct tg_cbor_writer *w, const struct tg_tgsp_manifest *m)
{
	tg_cbor_put_uint(w, M_FILES);
	tg_cbor_put_array(w, m->file_count);
	for (size_t i = 0; i < m->file_count; i++) {
		tg_cbor_put_map(w, 3);
		put_text(w, F_PATH, m->files[i].path);
		put_number(w, F_SIZE, m->files[i].size);
		put_bytes(w, F_SHA256, m->files[i].sha256, TG_SHA256_LEN);
	}
}

static void put_payload(struct tg_cbor_writer *w, const struct tg_tgsp_manifest *m, bool sealed)
{
	tg_cbor_put_uint(w, M_PAYLOAD);
	tg_cbor_put_map(w, 4);
	put_number(w, P_SUITE, TGSP_SUITE_FLOE_AES256GCM);
	put_number(w, P_SEGMENT, m->payload.segment);
	put_bytes(w, P_HEADER, m->payload.header, sealed ? TG_FLOE_HEADER_LEN : 0);
	put_bytes(w, P_ROOT, m->payload.root, sealed ? TG_SHA256_LEN : 0);
}

static void put_policy(struct tg_cbor_writer *w, const struct tg_tgsp_manifest *m)
{
	tg_cbor_put_uint(w, M_POLICY);
	tg_cbor_put_map(w, 5);
	put_names(w, Q_FLEETS, &m->policy.fleets);
	put_text(w, Q_AGENT_VERSION, m->policy.agent_version);
	tg_cbor_put_uint(w, Q_ATTESTED);
	tg_cbor_put_bool(w, m->policy.attested);
	put_names(w, Q_ACCELERATORS, &m->policy.accelerators);
	put_number(w, Q_OFFLINE, m->policy.offline_s);
}

static void put_lineage(struct tg_cbor_writer *w, const struct tg_tgsp_manifest *m)
{
	tg_cbor_put_uint(w, M_LINEAGE);
	tg_cbor_put_map(w, 2u + m->lineage.has_data + m->lineage.has_privacy);
	tg_cbor_put_uint(w, L_PARENTS);
	tg_cbor_put_array(w, m->lineage.parent_count);
	for (size_t i = 0; i < m->lineage.parent_count; i++)
		tg_cbor_put_bytes(w, m->lineage.parents[i], TG_SHA256_LEN);
	put_text(w, L_TRAINING_RUN, m->lineage.training_run);
	if (m->lineage.has_data)
		put_bytes(w, L_DATA, m->lineage.data, TG_SHA256_LEN);
	if (m->lineage.has_privacy) {
		tg_cbor_put_uint(w, L_PRIVACY);
		tg_cbor_put_map(w, 2);
		put_number(w, V_EPSILON, m->lineage.epsilon_micro);
		put_number(w, V_DELTA, m->lineage.delta_pico);
	}
}

/* `sealed`: with what comes out of the encryption. */
static int encode(const struct tg_tgsp_manifest *m, bool sealed, uint8_t **ret_data, size_t *ret_len,
		  struct tg_error *e)
{
	struct tg_cbor_writer w = { 0 };
	int ret = tg_tgsp_manifest_check(m, e);

	if (ret)
		return ret;
	tg_cbor_put_map(&w, M_LINEAGE + (m->has_base ? 1 : 0));
	put_number(&w, M_FORMAT, TGSP_FORMAT);
	put_bytes(&w, M_PACKAGE_ID, m->package_id, TG_TGSP_ID_LEN);
	put_text(&w, M_MODEL, m->model);
	put_text(&w, M_VERSION, m->version);
	put_number(&w, M_RELEASE, m->release);
	put_number(&w, M_CREATED, m->created);
	put_number(&w, M_NOT_BEFORE, m->not_before);
	put_number(&w, M_NOT_AFTER, m->not_after);
	put_bytes(&w, M_AUTHOR, m->author, TG_SHA256_LEN);
	if (m->has_base)
		put_bytes(&w, M_BASE, m->base, TG_SHA256_LEN);
	put_files(&w, m);
	put_payload(&w, m, sealed);
	put_policy(&w, m);
	put_lineage(&w, m);
	ret = tg_cbor_take(&w, ret_data, ret_len);
	return ret ? tg_error(e, ret, "out of memory") : 0;
}

int tg_tgsp_manifest_encode(const struct tg_tgsp_manifest *manifest, uint8_t **ret_data, size_t *ret_len,
			    struct tg_error *e)
{
	return encode(manifest, true, ret_data, ret_len, e);
}

int tg_tgsp_manifest_payload_aad(const struct tg_tgsp_manifest *manifest,
				 uint8_t ret_aad[static TG_SHA256_LEN], struct tg_error *e)
{
	uint8_t *data;
	size_t len;
	int ret = encode(manifest, false, &data, &len, e);

	if (ret)
		return ret;
	ret = tg_sha256(&(struct tg_piece){ data, len }, 1, ret_aad, e);
	free(data);
	return ret;
}

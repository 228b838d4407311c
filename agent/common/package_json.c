/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/package_json.h"
#include "tensorguard/tgsp_lineage.h"

static json_t *json_files(const struct tg_tgsp_manifest *m)
{
	json_t *array = json_array();

	for (size_t i = 0; i < m->file_count; i++)
		json_array_append_new(array, json_pack("{s:s, s:I, s:o}", "path", m->files[i].path, "size",
						       (json_int_t)m->files[i].size, "sha256",
						       tg_hash_json(m->files[i].sha256, TG_SHA256_LEN)));
	return array;
}

static json_t *json_policy(const struct tg_tgsp_manifest *m)
{
	return json_pack("{s:o, s:s, s:b, s:o, s:I}", "fleets", tg_names_json(&m->policy.fleets),
			 "agent_version", m->policy.agent_version, "attested", m->policy.attested,
			 "accelerators", tg_names_json(&m->policy.accelerators), "offline_seconds",
			 (json_int_t)m->policy.offline_s);
}

static json_t *json_payload(const struct tg_tgsp *p)
{
	const struct tg_tgsp_manifest *m = tg_tgsp_manifest(p);

	return json_pack("{s:s, s:I, s:o, s:I}", "suite", "FLOE-AES-256-GCM", "segment",
			 (json_int_t)m->payload.segment, "merkle_root",
			 tg_hash_json(m->payload.root, TG_SHA256_LEN), "file_bytes",
			 (json_int_t)tg_tgsp_file_len(p));
}

static json_t *json_signers(const struct tg_tgsp *p)
{
	const struct tg_cose *cose = tg_tgsp_signatures(p);
	json_t *array = json_array();

	for (size_t i = 0; i < cose->count; i++)
		json_array_append_new(
			array, json_pack("{s:o, s:s}", "key",
					 tg_hash_json(cose->signatures[i].key_id, TG_KEY_ID_LEN), "algorithm",
					 cose->signatures[i].type == TG_KEY_ES256 ? "ES256" : "EdDSA"));
	return array;
}

static json_t *json_recipients(const struct tg_tgsp *p)
{
	json_t *array = json_array();

	for (size_t i = 0; i < tg_tgsp_recipient_count(p); i++)
		json_array_append_new(array, tg_hash_json(tg_tgsp_recipient_id(p, i), TG_KEY_ID_LEN));
	return array;
}

json_t *package_json(const struct tg_tgsp *p)
{
	const struct tg_tgsp_manifest *m = tg_tgsp_manifest(p);
	json_t *o = json_pack("{s:o, s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "manifest",
			      tg_hash_json(tg_tgsp_manifest_hash(p), TG_SHA256_LEN), "package_id",
			      tg_hash_json(m->package_id, TG_TGSP_ID_LEN), "model", m->model, "version",
			      m->version, "release", (json_int_t)m->release, "created",
			      (json_int_t)m->created, "not_before", (json_int_t)m->not_before, "not_after",
			      (json_int_t)m->not_after, "author", tg_hash_json(m->author, TG_KEY_ID_LEN));

	if (m->has_base)
		json_object_set_new(o, "base_model", tg_hash_json(m->base, TG_SHA256_LEN));
	json_object_set_new(o, "files", json_files(m));
	json_object_set_new(o, "payload", json_payload(p));
	json_object_set_new(o, "policy", json_policy(m));
	json_object_set_new(o, "lineage", tg_lineage_json(m));
	json_object_set_new(o, "signers", json_signers(p));
	json_object_set_new(o, "recipients", json_recipients(p));
	return o;
}

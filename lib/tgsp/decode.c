/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/cbor.h"
#include "tensorguard/tgsp_manifest.h"
#include "tgsp/manifest.h"

/*
 * Reads the value of one key into `object`. The key is known when its bit is in
 * `known`; a key that is missing of `required` is an error, and so is one that
 * nobody knows unless it is negative.
 */
typedef int read_field(struct tg_cbor *r, int64_t key, void *object);

static int read_map(struct tg_cbor *r, const char *what, unsigned known, unsigned required, read_field *read,
		    void *object)
{
	struct tg_cbor_map map;
	unsigned seen = 0;
	int ret = tg_cbor_map(r, what, &map), more;
	int64_t key;

	if (ret)
		return ret;
	while ((more = tg_cbor_map_next(r, what, &map, &key)) > 0) {
		if (key < 0) {
			ret = tg_cbor_skip(r, what, NULL, NULL);
		} else if (key > 31 || !(known >> key & 1)) {
			return tg_error(r->e, -EBADMSG, "%s: unknown key %lld", what, (long long)key);
		} else {
			seen |= 1u << key;
			ret = read(r, key, object);
		}
		if (ret)
			return ret;
	}
	if (more < 0)
		return more;
	if (required & ~seen)
		return tg_error(r->e, -EBADMSG, "%s: key %d is missing", what,
				__builtin_ctz(required & ~seen));
	return 0;
}

/* A text of at most `max` bytes into an array of max + 1. */
static int read_text(struct tg_cbor *r, const char *what, char *ret_text, size_t max)
{
	const char *text;
	size_t len;
	int ret = tg_cbor_text(r, what, &text, &len);

	if (ret)
		return ret;
	if (len > max)
		return tg_error(r->e, -EBADMSG, "%s: longer than %zu bytes", what, max);
	memcpy(ret_text, text, len);
	ret_text[len] = '\0';
	return 0;
}

static int read_number(struct tg_cbor *r, const char *what, uint64_t max, uint64_t *ret_value)
{
	uint64_t value;
	int ret = tg_cbor_uint(r, what, &value);

	if (ret)
		return ret;
	if (value > max)
		return tg_error(r->e, -EBADMSG, "%s: %llu is more than %llu", what, (unsigned long long)value,
				(unsigned long long)max);
	*ret_value = value;
	return 0;
}

static int read_count(struct tg_cbor *r, const char *what, size_t max, size_t *ret_count)
{
	int ret = tg_cbor_array(r, what, ret_count);

	if (!ret && *ret_count > max)
		return tg_error(r->e, -EBADMSG, "%s: %zu of them, at most %zu are allowed", what, *ret_count,
				max);
	return ret;
}

static int read_names(struct tg_cbor *r, const char *what, struct tg_tgsp_names *names)
{
	size_t count;
	int ret = read_count(r, what, TG_TGSP_MAX_LIST, &count);

	if (ret)
		return ret;
	names->names = calloc(count ? count : 1, sizeof(*names->names));
	if (!names->names)
		return tg_error(r->e, -ENOMEM, "out of memory");
	for (; names->count < count; names->count++) {
		char name[TG_TGSP_MAX_NAME + 1];

		ret = read_text(r, what, name, TG_TGSP_MAX_NAME);
		if (ret)
			return ret;
		names->names[names->count] = strdup(name);
		if (!names->names[names->count])
			return tg_error(r->e, -ENOMEM, "out of memory");
	}
	return 0;
}

static int read_file_field(struct tg_cbor *r, int64_t key, void *object)
{
	struct tg_tgsp_file *file = object;
	char path[TG_TGSP_MAX_PATH + 1];
	int ret;

	switch (key) {
	case F_PATH:
		ret = read_text(r, "path", path, TG_TGSP_MAX_PATH);
		if (ret)
			return ret;
		file->path = strdup(path);
		return file->path ? 0 : tg_error(r->e, -ENOMEM, "out of memory");
	case F_SIZE:
		return read_number(r, "size", TG_TGSP_MAX_SIZE, &file->size);
	default:
		return tg_cbor_bytes_fixed(r, "sha256", file->sha256, TG_SHA256_LEN);
	}
}

static int read_files(struct tg_cbor *r, struct tg_tgsp_manifest *m)
{
	size_t count;
	int ret = read_count(r, "files", TG_TGSP_MAX_FILES, &count);

	if (ret)
		return ret;
	m->files = calloc(count ? count : 1, sizeof(*m->files));
	if (!m->files)
		return tg_error(r->e, -ENOMEM, "out of memory");
	for (; !ret && m->file_count < count; m->file_count++)
		ret = read_map(r, "file", 7, 7, read_file_field, &m->files[m->file_count]);
	return ret;
}

static int read_payload_field(struct tg_cbor *r, int64_t key, void *object)
{
	struct tg_tgsp_manifest *m = object;
	uint64_t value;
	int ret;

	switch (key) {
	case P_SUITE:
		ret = tg_cbor_uint(r, "suite", &value);
		if (!ret && value != TGSP_SUITE_FLOE_AES256GCM)
			return tg_error(r->e, -EBADMSG, "payload suite %llu is not known",
					(unsigned long long)value);
		return ret;
	case P_SEGMENT:
		ret = read_number(r, "segment size", TG_FLOE_MAX_SEGMENT, &value);
		if (!ret)
			m->payload.segment = (uint32_t)value;
		return ret;
	case P_HEADER:
		return tg_cbor_bytes_fixed(r, "FLOE header", m->payload.header, TG_FLOE_HEADER_LEN);
	default:
		return tg_cbor_bytes_fixed(r, "Merkle root", m->payload.root, TG_SHA256_LEN);
	}
}

static int read_policy_field(struct tg_cbor *r, int64_t key, void *object)
{
	struct tg_tgsp_manifest *m = object;

	switch (key) {
	case Q_FLEETS:
		return read_names(r, "fleets", &m->policy.fleets);
	case Q_AGENT_VERSION:
		return read_text(r, "agent version", m->policy.agent_version, TG_TGSP_MAX_NAME);
	case Q_ATTESTED:
		return tg_cbor_bool(r, "attested", &m->policy.attested);
	case Q_ACCELERATORS:
		return read_names(r, "accelerators", &m->policy.accelerators);
	default:
		return tg_cbor_uint(r, "offline lifetime", &m->policy.offline_s);
	}
}

static int read_privacy_field(struct tg_cbor *r, int64_t key, void *object)
{
	struct tg_tgsp_manifest *m = object;

	return tg_cbor_uint(r, "privacy budget",
			    key == V_EPSILON ? &m->lineage.epsilon_micro : &m->lineage.delta_pico);
}

static int read_parents(struct tg_cbor *r, struct tg_tgsp_manifest *m)
{
	size_t count;
	int ret = read_count(r, "parents", TG_TGSP_MAX_LIST, &count);

	if (ret)
		return ret;
	m->lineage.parents = calloc(count ? count : 1, sizeof(*m->lineage.parents));
	if (!m->lineage.parents)
		return tg_error(r->e, -ENOMEM, "out of memory");
	for (; !ret && m->lineage.parent_count < count; m->lineage.parent_count++)
		ret = tg_cbor_bytes_fixed(r, "parent", m->lineage.parents[m->lineage.parent_count],
					  TG_SHA256_LEN);
	return ret;
}

static int read_lineage_field(struct tg_cbor *r, int64_t key, void *object)
{
	struct tg_tgsp_manifest *m = object;

	switch (key) {
	case L_PARENTS:
		return read_parents(r, m);
	case L_TRAINING_RUN:
		return read_text(r, "training run", m->lineage.training_run, TG_TGSP_MAX_TEXT);
	case L_DATA:
		m->lineage.has_data = true;
		return tg_cbor_bytes_fixed(r, "data-set hash", m->lineage.data, TG_SHA256_LEN);
	default:
		m->lineage.has_privacy = true;
		return read_map(r, "privacy budget", 3, 3, read_privacy_field, m);
	}
}

static int read_format(struct tg_cbor *r)
{
	uint64_t format;
	int ret = tg_cbor_uint(r, "format", &format);

	if (!ret && format != TGSP_FORMAT)
		return tg_error(r->e, -EBADMSG, "format %llu is not known", (unsigned long long)format);
	return ret;
}

static int read_field_of_manifest(struct tg_cbor *r, int64_t key, void *object)
{
	struct tg_tgsp_manifest *m = object;

	switch (key) {
	case M_FORMAT:
		return read_format(r);
	case M_PACKAGE_ID:
		return tg_cbor_bytes_fixed(r, "package id", m->package_id, TG_TGSP_ID_LEN);
	case M_MODEL:
		return read_text(r, "model", m->model, TG_TGSP_MAX_NAME);
	case M_VERSION:
		return read_text(r, "version", m->version, TG_TGSP_MAX_NAME);
	case M_RELEASE:
		return tg_cbor_uint(r, "release", &m->release);
	case M_CREATED:
		return tg_cbor_uint(r, "created", &m->created);
	case M_NOT_BEFORE:
		return tg_cbor_uint(r, "not before", &m->not_before);
	case M_NOT_AFTER:
		return tg_cbor_uint(r, "not after", &m->not_after);
	case M_AUTHOR:
		return tg_cbor_bytes_fixed(r, "author", m->author, TG_SHA256_LEN);
	case M_BASE:
		m->has_base = true;
		return tg_cbor_bytes_fixed(r, "base model", m->base, TG_SHA256_LEN);
	case M_FILES:
		return read_files(r, m);
	case M_PAYLOAD:
		return read_map(r, "payload", 15, 15, read_payload_field, m);
	case M_POLICY:
		return read_map(r, "policy", 31, 31, read_policy_field, m);
	default:
		return read_map(r, "lineage", 15, 1u << L_PARENTS | 1u << L_TRAINING_RUN, read_lineage_field,
				m);
	}
}

int tg_tgsp_manifest_decode(const uint8_t *data, size_t len, struct tg_tgsp_manifest **ret_manifest,
			    struct tg_error *e)
{
	const unsigned known = (1u << (M_LINEAGE + 1)) - 1;
	struct tg_tgsp_manifest *m;
	struct tg_cbor r;
	int ret;

	/* key order and UTF-8 also of what is skipped below */
	ret = tg_cbor_check(data, len, e);
	if (ret)
		return tg_error_prefix(e, ret, "manifest");
	m = calloc(1, sizeof(*m));
	if (!m)
		return tg_error(e, -ENOMEM, "out of memory");
	tg_cbor_init(&r, data, len, e);
	ret = read_map(&r, "manifest", known, known & ~(1u << M_BASE), read_field_of_manifest, m);
	if (!ret)
		ret = tg_cbor_done(&r, "manifest");
	if (!ret && tg_tgsp_manifest_check(m, e))
		ret = -EBADMSG;
	if (ret) {
		tg_tgsp_manifest_free(m);
		return tg_error_prefix(e, ret, "manifest");
	}
	*ret_manifest = m;
	return 0;
}

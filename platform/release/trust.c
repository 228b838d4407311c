/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "blob/blob.h"
#include "data/file.h"
#include "release/package.h"
#include "tensorguard/enrol.h"
#include "tensorguard/file.h"

enum { KNOWN_MAX = 256 };	/* roots and three documents */

/* What the store knows, in its order: roots, targets, snapshot, timestamp. */
struct known {
	struct store_trust documents[KNOWN_MAX];
	size_t count;
};

static int take_known(void *arg, const struct store_trust *trust)
{
	struct known *known = arg;

	if (known->count < KNOWN_MAX)
		known->documents[known->count++] = *trust;
	return 0;
}

static int read_blob(const char *data, const uint8_t *hash, struct tg_bytes *ret_bytes, struct tg_error *e)
{
	uint64_t size;
	int fd, ret;

	ret = blob_open(data, hash, &fd, &size, e);
	if (ret)
		return ret;
	ret = tg_file_read_fd(fd, "trust document", TG_TGSP_MAX_TRUST, ret_bytes, e);
	close(fd);
	return ret;
}

/* The first root, or the next one. */
static int take_root(struct tg_tgsp_trust **trust, const struct tg_bytes *root, struct tg_error *e)
{
	return *trust ? tg_tgsp_trust_rotate(*trust, root, e) : tg_tgsp_trust_new(root, trust, e);
}

static int load_roots(const struct known *known, const char *data, struct tg_tgsp_trust **trust,
		      struct tg_error *e)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < known->count; i++) {
		struct tg_bytes root = { 0 };

		if (known->documents[i].document.role != TG_TGSP_ROOT)
			break;
		ret = read_blob(data, known->documents[i].document.blob, &root, e);
		if (!ret)
			ret = take_root(trust, &root, e);
		tg_bytes_free(&root);
	}
	return ret;
}

static int load_current(const struct known *known, const char *data, int64_t now, struct tg_tgsp_trust *trust,
			struct tg_error *e)
{
	struct tg_bytes documents[TG_TGSP_ROLES] = { 0 };
	int ret = 0;

	for (size_t i = 0; !ret && i < known->count; i++) {
		enum tg_tgsp_role role = known->documents[i].document.role;

		if (role > TG_TGSP_ROOT && role <= TG_TGSP_TIMESTAMP && !documents[role].data)
			ret = read_blob(data, known->documents[i].document.blob, &documents[role], e);
	}
	if (!ret && !documents[TG_TGSP_TIMESTAMP].data)
		ret = tg_error(e, -ENOKEY, "no trust documents are published: see trust publish");
	if (!ret)
		ret = tg_tgsp_trust_update(trust, &documents[TG_TGSP_TIMESTAMP], &documents[TG_TGSP_SNAPSHOT],
					   &documents[TG_TGSP_TARGETS], (uint64_t)now, NULL, e);
	for (size_t i = 0; i < TG_TGSP_ROLES; i++)
		tg_bytes_free(&documents[i]);
	return ret;
}

int trust_load(struct store *store, const char *data, bool current, int64_t now,
	       struct tg_tgsp_trust **ret_trust, struct tg_error *e)
{
	struct tg_tgsp_trust *trust = NULL;
	struct known known = { .count = 0 };
	int ret;

	ret = store_trust_each(store, take_known, &known, e);
	if (!ret)
		ret = load_roots(&known, data, &trust, e);
	if (!ret && !trust)
		ret = tg_error(e, -ENOKEY, "no root is published: see trust publish --root");
	if (!ret && current)
		ret = load_current(&known, data, now, trust, e);
	if (ret)
		tg_tgsp_trust_free(trust);
	else
		*ret_trust = trust;
	return ret;
}

static int take_first(void *arg, const struct store_trust *trust)
{
	*(struct store_trust *)arg = *trust;
	return 1;
}

int trust_first_root(struct store *store, const char *data, struct tg_bytes *ret_root, struct tg_error *e)
{
	struct store_trust first = { .document = { .role = TG_TGSP_ROLES } };
	int ret = store_trust_each(store, take_first, &first, e);

	if (ret || first.document.role != TG_TGSP_ROOT)
		return ret;
	return read_blob(data, first.document.blob, ret_root, e);
}

/* What is published now. */
struct publishing {
	struct store *store;
	const char *data, *folder;
	const struct known *known;
	struct tg_tgsp_trust *trust;
	int64_t now;
};

static const struct store_trust *find_known(const struct known *known, enum tg_tgsp_role role)
{
	for (size_t i = 0; i < known->count; i++)
		if (known->documents[i].document.role == role)
			return &known->documents[i];
	return NULL;
}

static int keep(const struct publishing *p, enum tg_tgsp_role role, const struct tg_bytes *document,
		struct tg_error *e)
{
	const struct tg_tgsp_issue *issue = tg_tgsp_trust_issue(p->trust, role);
	struct store_trust trust = {
		.document = { .role = role, .version = issue->version, .size = document->len },
		.issued = (int64_t)issue->issued,
		.expires = (int64_t)issue->expires
	};
	int ret = blob_add_bytes(p->data, document->data, document->len, trust.document.blob, e);

	return ret ? ret : store_trust_put(p->store, &trust, e);
}

static int read_file(const struct publishing *p, const char *name, struct tg_bytes *ret_bytes,
		     struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	int ret = file_path(p->folder, name, path, e);

	return ret ? ret : tg_file_read(path, TG_TGSP_MAX_TRUST, ret_bytes, e);
}

/* The root in the file: the first one, or the one that we have. */
static int take_first_root(struct publishing *p, const char *path, struct tg_error *e)
{
	const struct store_trust *first = find_known(p->known, TG_TGSP_ROOT);
	struct tg_bytes root = { 0 };
	uint8_t hash[TG_SHA256_LEN];
	int ret = tg_file_read(path, TG_TGSP_MAX_TRUST, &root, e);

	if (!ret)
		ret = tg_sha256(&(struct tg_piece){ root.data, root.len }, 1, hash, e);
	if (!ret && root.len > TG_ENROL_ROOT_MAX)
		ret = tg_error(e, -EFBIG, "%s: %zu bytes, the first root may have %d", path, root.len,
			       TG_ENROL_ROOT_MAX);
	if (!ret && first && memcmp(hash, first->document.blob, sizeof(hash)))
		ret = tg_error(e, -EKEYREJECTED, "%s: devices have another first root", path);
	if (!ret && !first)
		ret = tg_tgsp_trust_new(&root, &p->trust, e);
	if (!ret && !first)
		ret = keep(p, TG_TGSP_ROOT, &root, e);
	tg_bytes_free(&root);
	return ret;
}

static int follow_roots(struct publishing *p, struct tg_error *e)
{
	int ret = 0;

	while (!ret) {
		struct tg_bytes root = { 0 };
		char name[32];

		snprintf(name, sizeof(name), "%llu.root",
			 (unsigned long long)tg_tgsp_trust_root_version(p->trust) + 1);
		ret = read_file(p, name, &root, e);
		if (ret == -ENOENT)
			return 0;
		if (!ret)
			ret = tg_tgsp_trust_rotate(p->trust, &root, e);
		if (!ret)
			ret = keep(p, TG_TGSP_ROOT, &root, e);
		tg_bytes_free(&root);
	}
	return ret;
}

/* Of the version that is published: whether it is what is published. */
static int check_same(const struct store_trust *before, const struct tg_bytes *document, struct tg_error *e)
{
	uint8_t hash[TG_SHA256_LEN];
	int ret = tg_sha256(&(struct tg_piece){ document->data, document->len }, 1, hash, e);

	if (!ret && memcmp(hash, before->document.blob, sizeof(hash)))
		ret = tg_error(e, -ESTALE,
			       "%s: another version %llu is published: make this one again, on top of that",
			       tg_tgsp_role_name(before->document.role),
			       (unsigned long long)before->document.version);
	return ret;
}

/* Devices remember what they saw: a lower version they would only refuse, and of another text under one that
 * they have they would not even hear. */
static int check_versions(const struct publishing *p, const struct tg_bytes documents[static TG_TGSP_ROLES],
			  struct tg_error *e)
{
	int ret = 0;

	for (enum tg_tgsp_role role = TG_TGSP_TARGETS; !ret && role <= TG_TGSP_TIMESTAMP; role++) {
		const struct store_trust *before = find_known(p->known, role);
		uint64_t version = tg_tgsp_trust_issue(p->trust, role)->version;

		if (!before || version > before->document.version)
			continue;
		if (version < before->document.version)
			return tg_error(e, -ESTALE, "%s: version %llu is older than %llu, which is published",
					tg_tgsp_role_name(role), (unsigned long long)version,
					(unsigned long long)before->document.version);
		ret = check_same(before, &documents[role], e);
	}
	return ret;
}

static int publish_current(struct publishing *p, struct tg_error *e)
{
	struct tg_bytes documents[TG_TGSP_ROLES] = { 0 };
	int ret = 0;

	for (enum tg_tgsp_role role = TG_TGSP_TARGETS; !ret && role <= TG_TGSP_TIMESTAMP; role++)
		ret = read_file(p, tg_tgsp_role_name(role), &documents[role], e);
	if (!ret)
		ret = tg_tgsp_trust_update(p->trust, &documents[TG_TGSP_TIMESTAMP],
					   &documents[TG_TGSP_SNAPSHOT], &documents[TG_TGSP_TARGETS],
					   (uint64_t)p->now, NULL, e);
	if (!ret)
		ret = check_versions(p, documents, e);
	for (enum tg_tgsp_role role = TG_TGSP_TARGETS; !ret && role <= TG_TGSP_TIMESTAMP; role++)
		ret = keep(p, role, &documents[role], e);
	for (size_t i = 0; i < TG_TGSP_ROLES; i++)
		tg_bytes_free(&documents[i]);
	return ret;
}

int trust_publish(struct store *store, const char *data, const char *folder, const char *root, int64_t now,
		  struct tg_error *e)
{
	struct known known = { .count = 0 };
	struct publishing p = { .store = store, .data = data, .folder = folder, .known = &known, .now = now };
	int ret;

	ret = store_trust_each(store, take_known, &known, e);
	if (!ret)
		ret = load_roots(&known, data, &p.trust, e);
	if (!ret && root)
		ret = take_first_root(&p, root, e);
	if (!ret && !p.trust)
		ret = tg_error(e, -ENOKEY, "no root is published yet: --root FILE is needed");
	if (!ret)
		ret = follow_roots(&p, e);
	if (!ret)
		ret = publish_current(&p, e);
	tg_tgsp_trust_free(p.trust);
	return ret;
}

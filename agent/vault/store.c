/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/package_json.h"
#include "tensorguard/file.h"
#include "tensorguard/hex.h"
#include "tensorguard/tgsp_lineage.h"
#include "vault/store.h"

enum { PARTIAL_DAYS = 14, DAY = 86400 };

static void join(const struct store *s, const char *name, char ret_path[static PATH_MAX])
{
	/* store_open() has seen to the length */
	snprintf(ret_path, PATH_MAX, "%s/%s", s->directory, name);
}

void store_path(const struct store *s, const char *name, const char *suffix, char ret_path[static PATH_MAX])
{
	snprintf(ret_path, PATH_MAX, "%s/%s.%s", s->directory, name, suffix);
}

static void package_path(const struct store *s, const uint8_t *hash, char ret_path[static PATH_MAX])
{
	char name[STORE_HASH_TEXT];

	tg_hex(hash, TG_SHA256_LEN, name);
	store_path(s, name, "tgsp", ret_path);
}

/* ---- packages ---- */

int store_read(const char *path, int *ret_fd, struct tg_tgsp **ret_package, struct tg_error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), ret;

	if (fd < 0)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	ret = tg_tgsp_read(fd, ret_package, e);
	if (ret)
		close(fd);
	else
		*ret_fd = fd;
	return ret;
}

/* By model, then from the highest release down. */
static int compare(const void *a, const void *b)
{
	const struct release *x = a, *y = b;
	int order = strcmp(x->model, y->model);

	if (order)
		return order;
	return (x->number < y->number) - (x->number > y->number);
}

static void put_lineage(const struct tg_tgsp *package, char ret_line[static STORE_LINEAGE])
{
	char hash[STORE_HASH_TEXT];
	int len;

	tg_hex(tg_tgsp_manifest_hash(package), TG_SHA256_LEN, hash);
	len = snprintf(ret_line, STORE_LINEAGE, "manifest %s, ", hash);
	tg_lineage_line(tg_tgsp_manifest(package), 2 * TG_SHA256_LEN, ret_line + len,
			STORE_LINEAGE - (size_t)len);
}

static int remember(struct store *s, const struct tg_tgsp *package, int64_t installed, struct tg_error *e)
{
	const struct tg_tgsp_manifest *m = tg_tgsp_manifest(package);
	struct release *r = &s->releases[s->count];

	if (s->count == STORE_RELEASES)
		return tg_error(e, -ENOSPC, "there are %d packages already: revoke some", STORE_RELEASES);
	*r = (struct release){ .number = m->release,
			       .not_after = m->not_after,
			       .size = tg_tgsp_plain_len(m),
			       .file_size = tg_tgsp_file_len(package),
			       .installed = installed,
			       .about = package_json(package) };
	if (!r->about)
		return tg_error(e, -ENOMEM, "out of memory");
	memcpy(r->hash, tg_tgsp_manifest_hash(package), sizeof(r->hash));
	strcpy(r->model, m->model);
	put_lineage(package, r->lineage);
	s->count++;
	qsort(s->releases, s->count, sizeof(*r), compare);
	return 0;
}

struct release *store_find(struct store *s, const uint8_t hash[static TG_SHA256_LEN])
{
	for (size_t i = 0; i < s->count; i++)
		if (!memcmp(s->releases[i].hash, hash, TG_SHA256_LEN))
			return &s->releases[i];
	return NULL;
}

struct release *store_next(struct store *s, const char *model, const struct release *after)
{
	for (size_t i = after ? (size_t)(after - s->releases) + 1 : 0; i < s->count; i++)
		if (!model || !strcmp(s->releases[i].model, model))
			return &s->releases[i];
	return NULL;
}

static void forget(struct store *s, struct release *r)
{
	json_decref(r->about);
	s->count--;
	memmove(r, r + 1, (size_t)(&s->releases[s->count] - r) * sizeof(*r));
}

void store_remove(struct store *s, struct release *r)
{
	char path[PATH_MAX];

	package_path(s, r->hash, path);
	unlink(path);
	tg_folder_sync(s->directory, NULL);
	/* what stays in the list names nothing then */
	hashes_remove(&s->platform, r->hash, NULL);
	forget(s, r);
}

int store_add(struct store *s, const struct tg_tgsp *package, const char *partial, uint64_t now,
	      struct tg_error *e)
{
	const uint8_t *hash = tg_tgsp_manifest_hash(package);
	struct release *old = store_find(s, hash);
	char path[PATH_MAX];
	int ret;

	if (old)
		forget(s, old);
	ret = remember(s, package, (int64_t)now, e);
	if (ret)
		return ret;
	package_path(s, hash, path);
	if (rename(partial, path)) {
		ret = tg_error(e, -errno, "%s: %s", path, strerror(errno));
		forget(s, store_find(s, hash));
		return ret;
	}
	return tg_folder_sync(s->directory, e);
}

/* ---- what was revoked ---- */

static void floor_name(const uint8_t *hash, char ret_name[static TG_FLOOR_MAX_NAME])
{
	static const char prefix[] = "revoked:";

	_Static_assert(sizeof(prefix) - 1 + STORE_HASH_TEXT <= TG_FLOOR_MAX_NAME, "a hash fits");
	strcpy(ret_name, prefix);
	tg_hex(hash, TG_SHA256_LEN, ret_name + sizeof(prefix) - 1);
}

bool store_is_revoked(const struct store *s, const uint8_t hash[static TG_SHA256_LEN])
{
	char name[TG_FLOOR_MAX_NAME];

	floor_name(hash, name);
	return hashes_have(&s->revoked, hash) || tg_floor_get(s->floor, name);
}

/* All at once: each raise is a count of the TPM's. */
int store_hold_revoked(struct store *s, struct tg_error *e)
{
	size_t max = s->revoked.count < STORE_REVOKED_HELD ? s->revoked.count : STORE_REVOKED_HELD;
	char(*names)[TG_FLOOR_MAX_NAME] = calloc(max + 1, sizeof(*names));
	struct tg_floor_entry *entries = calloc(max + 1, sizeof(*entries));
	size_t count = 0;
	int ret = names && entries ? 0 : tg_error(e, -ENOMEM, "out of memory");

	for (size_t i = 0; !ret && i < max; i++) {
		floor_name(s->revoked.list[i], names[count]);
		entries[count] = (struct tg_floor_entry){ names[count], 1 };
		count += !tg_floor_get(s->floor, names[count]);
	}
	if (!ret && count)
		ret = tg_floor_raise(s->floor, entries, count, e);
	free(names);
	free(entries);
	return ret;
}

/* ---- what is in the folder ---- */

static int scan_package(struct store *s, const char *path, struct tg_error *e)
{
	struct tg_tgsp *package = NULL;
	struct stat st = { 0 };
	int fd = -1, ret = store_read(path, &fd, &package, e);

	if (!ret && fstat(fd, &st))
		ret = -errno;
	if (!ret && (uint64_t)st.st_size != tg_tgsp_file_len(package))
		ret = tg_error(e, -EBADMSG, "%lld bytes, expected %llu", (long long)st.st_size,
			       (unsigned long long)tg_tgsp_file_len(package));
	if (!ret)
		ret = remember(s, package, st.st_mtime, e);
	tg_tgsp_free(package);
	if (fd >= 0)
		close(fd);
	return ret;
}

static bool ends_with(const char *name, const char *suffix)
{
	size_t len = strlen(name), end = strlen(suffix);

	return len > end && !strcmp(name + len - end, suffix);
}

static bool is_unfinished(const char *name)
{
	return ends_with(name, ".partial") || ends_with(name, ".download");
}

static uint64_t space_of(const struct stat *st)
{
	enum { BLOCK = 512 };
	uint64_t size = (uint64_t)st->st_size, blocks = (uint64_t)st->st_blocks * BLOCK;

	return blocks > size ? blocks : size;
}

uint64_t store_used(const struct store *s, const char *except)
{
	DIR *folder = opendir(s->directory);
	const struct dirent *entry;
	uint64_t used = 0;
	struct stat st;

	while (folder && (entry = readdir(folder)))
		if ((is_unfinished(entry->d_name) || ends_with(entry->d_name, ".tgsp")) &&
		    !ends_with(except, entry->d_name) &&
		    !fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
			used += space_of(&st);
	if (folder)
		closedir(folder);
	return used;
}

/* What nobody has gone on with for so long will not be gone on with. */
static void scan_partial(const char *path, uint64_t now)
{
	struct stat st;

	if (!stat(path, &st) && st.st_mtime >= 0 && (uint64_t)st.st_mtime + PARTIAL_DAYS * DAY < now)
		unlink(path);
}

static void scan_entry(struct store *s, const char *name, uint64_t now, void (*log)(const char *line))
{
	struct tg_error e = { "" };
	char path[PATH_MAX], line[sizeof(e.message) + 128];

	join(s, name, path);
	if (is_unfinished(name))
		scan_partial(path, now);
	if (!ends_with(name, ".tgsp"))
		return;
	if (!scan_package(s, path, &e))
		return;
	snprintf(line, sizeof(line), "vault: %.80s is left out: %s", name, e.message);
	log(line);
}

static int scan(struct store *s, uint64_t now, void (*log)(const char *line), struct tg_error *e)
{
	DIR *folder = opendir(s->directory);
	const struct dirent *entry;

	if (!folder)
		return tg_error(e, -errno, "%s: %s", s->directory, strerror(errno));
	while ((entry = readdir(folder)))
		scan_entry(s, entry->d_name, now, log);
	closedir(folder);
	return 0;
}

/* ---- the floor ---- */

static int read_floor_key(const char *path, uint8_t key[static TG_FLOOR_KEY_LEN], struct tg_error *e)
{
	struct tg_bytes bytes = { 0 };
	int ret = tg_file_read(path, TG_FLOOR_KEY_LEN, &bytes, e);

	if (!ret && bytes.len != TG_FLOOR_KEY_LEN)
		ret = tg_error(e, -EBADMSG, "%s: %zu bytes, expected %d", path, bytes.len, TG_FLOOR_KEY_LEN);
	if (!ret)
		memcpy(key, bytes.data, TG_FLOOR_KEY_LEN);
	tg_bytes_free(&bytes);
	return ret;
}

/*
 * The floor comes first, then its key: a crash in between begins anew. From then on a floor that is missing
 * was removed by somebody, and nothing is opened.
 */
static int begin_floor(struct store *s, const char *key_path, const char *path, struct tg_error *e)
{
	static const struct tg_floor_entry first = { "vault:begun", 1 };
	uint8_t key[TG_FLOOR_KEY_LEN];
	int ret = tg_random(key, sizeof(key), e);

	unlink(path);
	if (!ret)
		ret = tg_floor_open_later(path, key, true, &s->floor, e);
	if (!ret)
		ret = tg_floor_raise(s->floor, &first, 1, e);
	if (!ret)
		ret = tg_file_create(key_path, key, sizeof(key), 0600, e);
	OPENSSL_cleanse(key, sizeof(key));
	return ret;
}

static int open_floor(struct store *s, struct tg_error *e)
{
	char key_path[PATH_MAX], path[PATH_MAX];
	uint8_t key[TG_FLOOR_KEY_LEN];
	int ret;

	join(s, "floor.key", key_path);
	join(s, "floor", path);
	ret = read_floor_key(key_path, key, e);
	if (ret == -ENOENT)
		return begin_floor(s, key_path, path, e);
	if (!ret)
		ret = tg_floor_open_later(path, key, false, &s->floor, e);
	OPENSSL_cleanse(key, sizeof(key));
	return ret;
}

/* ---- trust ---- */

/* Of models.conf, else the pinned one. */
static int read_root(const struct store *s, struct tg_bytes *ret_root, struct tg_error *e)
{
	char path[PATH_MAX];
	int ret;

	if (s->conf->root)
		return tg_file_read(s->conf->root, TG_TGSP_MAX_TRUST, ret_root, e);
	join(s, "root", path);
	ret = tg_file_read(path, TG_TGSP_MAX_TRUST, ret_root, e);
	return ret == -ENOENT ? tg_error(e, -ENOKEY,
					 "there is no first root: models.conf names none, and none came with "
					 "the enrolment")
			      : ret;
}

static int first_root(const struct store *s, struct tg_tgsp_trust **ret_trust, struct tg_error *e)
{
	struct tg_bytes root = { 0 };
	int ret = read_root(s, &root, e);

	if (!ret)
		ret = tg_tgsp_trust_new(&root, ret_trust, e);
	tg_bytes_free(&root);
	return ret;
}

/* The version that a root says it has, by its own keys. */
static int version_of(const struct tg_bytes *root, uint64_t *ret_version, struct tg_error *e)
{
	struct tg_tgsp_trust *trust;
	int ret = tg_tgsp_trust_new(root, &trust, e);

	if (ret)
		return ret;
	*ret_version = tg_tgsp_trust_root_version(trust);
	tg_tgsp_trust_free(trust);
	return 0;
}

/* Those of `roots` that are newer, in their order; they are added to `kept`. */
static int follow(struct tg_tgsp_trust *trust, const struct bundle *roots, struct bundle *kept,
		  struct tg_error *e)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < roots->root_count; i++) {
		uint64_t version;

		ret = version_of(&roots->roots[i], &version, e);
		if (ret || version <= tg_tgsp_trust_root_version(trust))
			continue;
		ret = tg_tgsp_trust_rotate(trust, &roots->roots[i], e);
		if (!ret)
			ret = bundle_add_root(kept, &roots->roots[i], e);
	}
	return ret;
}

static int save_bundle(const struct store *s, const struct bundle *bundle, struct tg_error *e)
{
	struct tg_bytes bytes = { 0 };
	char path[PATH_MAX];
	int ret = bundle_encode(bundle, &bytes, e);

	join(s, "trust", path);
	if (!ret)
		ret = tg_file_replace(path, bytes.data, bytes.len, 0600, e);
	tg_bytes_free(&bytes);
	return ret;
}

static int copy_documents(const struct bundle *from, struct bundle *to, struct tg_error *e)
{
	if (tg_bytes_copy(from->timestamp.data, from->timestamp.len, &to->timestamp) ||
	    tg_bytes_copy(from->snapshot.data, from->snapshot.len, &to->snapshot) ||
	    tg_bytes_copy(from->targets.data, from->targets.len, &to->targets))
		return tg_error(e, -ENOMEM, "out of memory");
	return 0;
}

/* From the first root on: what is kept, then what is new. *ret_kept is what has to be kept from then on. */
static int build_trust(struct store *s, const struct bundle *bundle, uint64_t now,
		       struct tg_tgsp_trust **ret_trust, struct bundle *ret_kept, struct tg_error *e)
{
	struct tg_tgsp_trust *trust = NULL;
	struct bundle kept = { .root_count = 0 };
	int ret = first_root(s, &trust, e);

	if (!ret)
		ret = follow(trust, &s->bundle, &kept, e);
	if (!ret && bundle != &s->bundle)
		ret = follow(trust, bundle, &kept, e);
	if (!ret && bundle->timestamp.len)
		ret = tg_tgsp_trust_update(trust, &bundle->timestamp, &bundle->snapshot, &bundle->targets,
					   now, s->floor, e);
	if (!ret)
		ret = copy_documents(bundle, &kept, e);
	if (ret) {
		tg_tgsp_trust_free(trust);
		bundle_clear(&kept);
		return ret;
	}
	*ret_trust = trust;
	*ret_kept = kept;
	return 0;
}

static int raise_trust(const struct store *s, const struct tg_tgsp_trust *trust, struct tg_error *e)
{
	/* a root alone is followed again from the first one on, each time */
	if (!trust || !tg_tgsp_trust_issue(trust, TG_TGSP_TIMESTAMP)->version)
		return 0;
	return tg_tgsp_trust_raise(trust, s->floor, e);
}

int store_raise_trust(struct store *s, struct tg_error *e)
{
	return raise_trust(s, s->trust, e);
}

int store_documents(struct store *s, const struct bundle *bundle, uint64_t now, struct tg_error *e)
{
	struct tg_tgsp_trust *trust;
	struct bundle kept;
	int ret = build_trust(s, bundle, now, &trust, &kept, e);

	if (ret)
		return ret;
	ret = save_bundle(s, &kept, e);
	/* in this order: a floor above what is kept would refuse it after the next start */
	if (!ret)
		ret = raise_trust(s, trust, e);
	if (ret) {
		tg_tgsp_trust_free(trust);
		bundle_clear(&kept);
		return ret;
	}
	tg_tgsp_trust_free(s->trust);
	bundle_clear(&s->bundle);
	s->trust = trust;
	s->bundle = kept;
	return 0;
}

/* Documents that have expired meanwhile are kept, for their roots; nothing is opened until there are others.
 */
static int load_trust(struct store *s, uint64_t now, struct tg_error *e)
{
	struct tg_bytes bytes = { 0 };
	struct bundle kept;
	char path[PATH_MAX];
	int ret;

	join(s, "trust", path);
	ret = tg_file_read(path, BUNDLE_MAX, &bytes, e);
	if (!ret)
		ret = bundle_decode(&bytes, &s->bundle, e);
	tg_bytes_free(&bytes);
	if (ret && ret != -ENOENT)
		return tg_error_prefix(e, ret, "%s", path);
	ret = build_trust(s, &s->bundle, now, &s->trust, &kept, e);
	if (!ret)
		bundle_clear(&kept);
	return ret;
}

bool store_has_root(const struct store *s)
{
	struct tg_bytes root = { 0 };
	int ret = read_root(s, &root, NULL);

	tg_bytes_free(&root);
	return !ret;
}

static int pin(struct store *s, const struct tg_bytes *root, uint64_t now, struct tg_error *e)
{
	struct tg_tgsp_trust *trust;
	char path[PATH_MAX];
	int ret = tg_tgsp_trust_new(root, &trust, e);

	if (ret)
		return ret;
	tg_tgsp_trust_free(trust);
	bundle_clear(&s->bundle);
	join(s, "root", path);
	ret = tg_file_create(path, root->data, root->len, 0600, e);
	return ret ? ret : load_trust(s, now, e);
}

int store_pin_root(struct store *s, const struct tg_bytes *root, uint64_t now, struct tg_error *e)
{
	struct tg_bytes pinned = { 0 };
	int ret;

	if (s->conf->root)
		return 0;
	ret = read_root(s, &pinned, e);
	if (ret == -ENOKEY)
		return pin(s, root, now, e);
	if (!ret && (pinned.len != root->len || memcmp(pinned.data, root->data, root->len)))
		ret = tg_error(e, -EKEYREJECTED,
			       "the first root of the enrolment is not the one that is pinned here");
	tg_bytes_free(&pinned);
	return ret;
}

uint64_t store_last_contact(const struct store *s)
{
	return s->trust ? tg_tgsp_trust_issue(s->trust, TG_TGSP_TIMESTAMP)->issued : 0;
}

int store_rules(const struct store *s, const struct store_device *device, uint64_t now,
		struct tg_tgsp_device *ret_device, struct tg_tgsp_rules *ret_rules, struct tg_error *e)
{
	if (!s->trust)
		return tg_error(e, -ENOKEY, "there is no trust: %s", s->problem.message);
	*ret_device = (struct tg_tgsp_device){
		.fleet = device->fleet[0] ? device->fleet : NULL,
		.agent_version = TG_VERSION,
		.attested = device->attested,
		.accelerators = (const char *const *)s->conf->accelerators,
		.accelerator_count = s->conf->accelerator_count,
		.last_contact = store_last_contact(s),
	};
	*ret_rules = (struct tg_tgsp_rules){ .trust = s->trust,
					     .listed = s->conf->listed,
					     .now = now,
					     .device = ret_device,
					     .floor = s->floor };
	return 0;
}

/* ---- the folder ---- */

static int take_folder(struct store *s, struct tg_error *e)
{
	char path[PATH_MAX];
	struct stat st;

	if (strlen(s->directory) + 128 > PATH_MAX)
		return tg_error(e, -ENAMETOOLONG, "%.100s...: the path is too long", s->directory);
	if (stat(s->directory, &st))
		return tg_error(e, -errno, "%s: %s", s->directory, strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_mode & 077 || st.st_uid != geteuid())
		return tg_error(e, -EPERM, "%s: expected a folder of mode 0700 that is vault's own",
				s->directory);
	join(s, "lock", path);
	s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock < 0)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	if (flock(s->lock, LOCK_EX | LOCK_NB))
		return tg_error(e, -EBUSY, "%s: somebody else serves it", s->directory);
	return 0;
}

static int load_hashes(struct store *s, struct tg_error *e)
{
	char path[PATH_MAX];
	int ret;

	join(s, "revoked", path);
	ret = hashes_load(path, STORE_REVOKED, &s->revoked, e);
	join(s, "platform", path);
	return ret ? ret : hashes_load(path, STORE_PLATFORM, &s->platform, e);
}

/* What a crash in the middle of an installation or a removal left, and what somebody has put back. */
static void prune(struct store *s)
{
	/* from behind: one that is removed moves those behind it */
	for (size_t i = s->count; i-- > 0;)
		if (store_is_revoked(s, s->releases[i].hash))
			store_remove(s, &s->releases[i]);
	for (size_t i = s->platform.count; i-- > 0;)
		if (!store_find(s, s->platform.list[i]))
			hashes_remove(&s->platform, s->platform.list[i], NULL);
}

static int load(struct store *s, uint64_t now, void (*log)(const char *line), struct tg_error *e)
{
	char line[sizeof(s->problem.message) + 64];
	int ret = take_folder(s, e);

	if (!ret)
		ret = open_floor(s, e);
	if (!ret)
		ret = load_hashes(s, e);
	if (!ret)
		ret = scan(s, now, log, e);
	if (!ret)
		prune(s);
	if (ret || !load_trust(s, now, &s->problem))
		return ret;
	/* it can be shown and mended without trust, only not opened */
	snprintf(line, sizeof(line), "vault: no package is trusted: %s", s->problem.message);
	log(line);
	return 0;
}

int store_open(const char *directory, const struct tg_models_conf *conf, uint64_t now,
	       void (*log)(const char *line), struct store *ret_store, struct tg_error *e)
{
	int ret;

	*ret_store = (struct store){ .directory = directory, .conf = conf, .lock = -1 };
	ret = load(ret_store, now, log, e);
	if (ret)
		store_close(ret_store);
	return ret;
}

void store_close(struct store *s)
{
	while (s->count)
		forget(s, &s->releases[s->count - 1]);
	tg_tgsp_trust_free(s->trust);
	tg_floor_close(s->floor);
	bundle_clear(&s->bundle);
	hashes_free(&s->revoked);
	hashes_free(&s->platform);
	if (s->lock >= 0)
		close(s->lock);
	s->lock = -1;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What comes in: packages, trust documents, and what the Platform means the device to have. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tensorguard/file.h"
#include "tensorguard/hex.h"
#include "vault/install.h"
#include "vault/internal.h"

/* A package that comes. */
struct coming {
	struct client *client;
	struct install install;
	uint8_t key[TG_SHA256_LEN];
	bool platform;	/* from there, and `key` is the hash of the whole */
};

/* It has to be what the Platform means by that blob, and of use to this device. */
static int accept_download(const struct coming *coming, const struct tg_tgsp *package, struct tg_error *e)
{
	struct vault *v = coming->client->vault;
	const struct assigned *one = assigned_blob(&v->assigned, coming->key);
	const uint8_t *hash = tg_tgsp_manifest_hash(package);

	if (!one || memcmp(one->package.manifest, hash, TG_SHA256_LEN))
		return tg_error(e, -EBADMSG, "this is not the package that the Platform announced");
	if (assigned_is_revoked(&v->assigned, hash))
		return tg_error(e, -EKEYREVOKED, "this package was revoked by the Platform");
	if (!link_is_recipient(&v->link, package))
		return tg_error(e, -EBADMSG, "this device's key is none of the package's recipients");
	return 0;
}

/* models.conf says how much there may be, whatever the file system has. */
static int accept_size(const struct coming *coming, const struct tg_tgsp *package, struct tg_error *e)
{
	const struct store *s = &coming->client->vault->store;
	uint64_t used = store_used(s, coming->install.path), size = tg_tgsp_file_len(package);

	if (!s->conf->quota)
		return 0;
	/* with the lock, so that the next one counts it */
	if (size <= s->conf->quota && used <= s->conf->quota - size)
		return install_reserve(&coming->install, e);
	return tg_error(
		e, -ENOSPC, "there is no room for %llu bytes: models.conf allows %llu, and %llu are used",
		(unsigned long long)size, (unsigned long long)s->conf->quota, (unsigned long long)used);
}

static int accept_package(void *ctx, const struct tg_tgsp *package, struct tg_error *e)
{
	const struct coming *coming = ctx;
	struct vault *v = coming->client->vault;
	struct tg_tgsp_device device;
	struct tg_tgsp_rules rules;
	int ret;

	pthread_mutex_lock(&v->lock);
	if (store_is_revoked(&v->store, tg_tgsp_manifest_hash(package)))
		ret = tg_error(e, -EKEYREVOKED, "this package was revoked on this device");
	else
		ret = vault_rules(v, &device, &rules, e);
	if (!ret)
		ret = tg_tgsp_accept(package, &rules, e);
	if (!ret && coming->platform)
		ret = accept_download(coming, package, e);
	if (!ret)
		ret = accept_size(coming, package, e);
	pthread_mutex_unlock(&v->lock);
	return ret;
}

/* Whose it is comes first: a crash leaves a name for nothing, and not the Platform's as an operator's. */
static int add_package(struct coming *coming, struct tg_error *e)
{
	const struct tg_tgsp *package = coming->install.package;
	const uint8_t *hash = tg_tgsp_manifest_hash(package);
	struct vault *v = coming->client->vault;
	int ret = 0;

	/* much may have happened since it was accepted */
	if (store_is_revoked(&v->store, hash))
		ret = tg_error(e, -EKEYREVOKED, "this package was revoked on this device");
	else if (coming->platform && !assigned_blob(&v->assigned, coming->key))
		ret = tg_error(e, -ECANCELED, "the Platform does not mean this device to have it any more");
	else if (coming->platform)
		ret = hashes_add(&v->store.platform, hash, e);
	else
		ret = hashes_remove(&v->store.platform, hash, e);
	return ret ? ret : store_add(&v->store, package, coming->install.path, vault_now(v), e);
}

static bool installed(struct coming *coming)
{
	const struct tg_tgsp_manifest *m = tg_tgsp_manifest(coming->install.package);
	struct client *c = coming->client;
	struct vault *v = c->vault;
	struct tg_error e = { "" };
	int ret;

	pthread_mutex_lock(&v->lock);
	ret = add_package(coming, &e);
	if (!ret) {
		vault_report(v, "installed", m, tg_tgsp_manifest_hash(coming->install.package),
			     coming->platform ? "from the Platform" : "");
		vault_event(v, TG_AUDIT_MODEL_INSTALLED, m->model, m->release, 0);
	}
	pthread_mutex_unlock(&v->lock);
	if (ret)
		return vault_refuse(c, ret, &e);
	return vault_reply(c, json_pack("{s:s, s:s, s:I}", "model", m->model, "version", m->version,
					"release", (json_int_t)m->release));
}

/* The second message, which brings the descriptor. */
static int next_fd(const struct client *c, struct tg_error *e)
{
	struct call_fds fds = { .count = 0 };
	json_t *message;
	int ret = call_receive(c->fd, &message, &fds);

	if (ret <= 0)
		return tg_error(e, ret ? ret : -ECONNRESET, "install: nothing came");
	json_decref(message);
	if (fds.count == 1)
		return fds.fds[0];
	call_close(&fds);
	return tg_error(e, -EINVAL, "install: expected one descriptor");
}

static int run_install(struct coming *coming, struct tg_error *e)
{
	struct install *i = &coming->install;
	struct client *c = coming->client;
	int fd, ret = vault_reply(c, json_pack("{s:I}", "offset", (json_int_t)i->offset)) ? 0 : -ECONNRESET;

	if (ret)
		return ret;
	fd = next_fd(c, e);
	if (fd < 0)
		return fd;
	ret = install_run(i, fd, c->vault->stop, accept_package, coming, e);
	close(fd);
	return ret;
}

static bool run_coming(struct coming *coming)
{
	const struct install *i = &coming->install;
	struct client *c = coming->client;
	struct tg_error e = { "" };
	int ret = run_install(coming, &e);

	if (!ret)
		return installed(coming);
	/* a download that stops is gone on with, again and again */
	if (i->package && !(coming->platform && ret == -EAGAIN))
		vault_report(c->vault, "not installed", tg_tgsp_manifest(i->package),
			     tg_tgsp_manifest_hash(i->package), e.message);
	return vault_refuse(c, ret, &e);
}

static void set_coming(struct client *c, const char *key)
{
	pthread_mutex_lock(&c->vault->lock);
	strcpy(c->coming, key);
	pthread_mutex_unlock(&c->vault->lock);
}

/* {"key": 64 hexadecimal digits, "size": of the file} -> {"offset"}; then a descriptor that stands there. */
bool vault_install(struct client *c, const json_t *request, struct call_fds *fds)
{
	json_int_t size = json_integer_value(json_object_get(request, "size"));
	struct coming coming = { .client = c,
				 .platform = c->peer.uid && c->peer.uid == c->vault->conf.trust };
	const char *key = json_text(request, "key");
	struct tg_error e = { "" };
	char path[PATH_MAX];
	bool ok;
	int ret;

	(void)fds;
	if (size <= 0 || tg_unhex(key, coming.key, sizeof(coming.key))) {
		tg_error(&e, -EINVAL, "install: not as it should be");
		return vault_refuse(c, -EINVAL, &e);
	}
	store_path(&c->vault->store, key, coming.platform ? "download" : "partial", path);
	ret = install_begin(path, (uint64_t)size, &coming.install, &e);
	if (ret)
		return vault_refuse(c, ret, &e);
	c->came = coming.install.offset;
	coming.install.progress = &c->came;
	set_coming(c, coming.platform ? key : "");
	ok = run_coming(&coming);
	set_coming(c, "");
	install_end(&coming.install);
	return ok;
}

/* ---- trust ---- */

static int take_documents(struct vault *v, const struct bundle *bundle, struct tg_error *e)
{
	int ret;

	pthread_mutex_lock(&v->opening);
	pthread_mutex_lock(&v->lock);
	ret = vault_floor_ready(v, e);
	if (!ret)
		ret = store_documents(&v->store, bundle, vault_now(v), e);
	if (!ret)
		held_sweep(v, true);
	pthread_mutex_unlock(&v->lock);
	pthread_mutex_unlock(&v->opening);
	return ret;
}

/* What the request's one descriptor has, which may be a pipe. */
static int read_fd(const struct call_fds *fds, const char *what, size_t max, struct tg_bytes *ret_bytes,
		   struct tg_error *e)
{
	if (fds->count != 1)
		return tg_error(e, -EINVAL, "%s: expected one descriptor", what);
	return tg_file_read_fd(fds->fds[0], what, max, ret_bytes, e);
}

static bool finish(struct client *c, int ret, const struct tg_error *e)
{
	return ret ? vault_refuse(c, ret, e) : vault_reply(c, json_pack("{s:b}", "ok", 1));
}

/* With one descriptor: a bundle (bundle.h). */
bool vault_documents(struct client *c, const json_t *request, struct call_fds *fds)
{
	struct bundle bundle = { .root_count = 0 };
	struct tg_bytes bytes = { 0 };
	struct tg_error e = { "" };
	int ret = read_fd(fds, "documents", BUNDLE_MAX, &bytes, &e);

	(void)request;
	if (!ret)
		ret = bundle_decode(&bytes, &bundle, &e);
	tg_bytes_free(&bytes);
	if (!ret)
		ret = take_documents(c->vault, &bundle, &e);
	bundle_clear(&bundle);
	/* without a first root nothing is wrong with them */
	if (ret && ret != -ENOKEY) {
		vault_report(c->vault, "documents refused", NULL, NULL, e.message);
		vault_event(c->vault, TG_AUDIT_MODEL_TRUST_REFUSED, "", 0, ret);
	}
	return finish(c, ret, &e);
}

/* With one descriptor: the root of the enrolment. */
bool vault_root(struct client *c, const json_t *request, struct call_fds *fds)
{
	struct vault *v = c->vault;
	struct tg_bytes root = { 0 };
	struct tg_error e = { "" };
	int ret = read_fd(fds, "root", TG_TGSP_MAX_TRUST, &root, &e);

	(void)request;
	if (!ret) {
		pthread_mutex_lock(&v->opening);
		pthread_mutex_lock(&v->lock);
		ret = store_pin_root(&v->store, &root, vault_now(v), &e);
		pthread_mutex_unlock(&v->lock);
		pthread_mutex_unlock(&v->opening);
	}
	tg_bytes_free(&root);
	if (ret)
		vault_report(v, "root refused", NULL, NULL, e.message);
	return finish(c, ret, &e);
}

/* ---- what the Platform means the device to have ---- */

/* The Platform's from now on: an operator may have brought it before. */
static void mark_assigned(struct vault *v)
{
	for (size_t i = 0; i < v->assigned.count; i++)
		if (store_find(&v->store, v->assigned.list[i].package.manifest))
			hashes_add(&v->store.platform, v->assigned.list[i].package.manifest, NULL);
}

static void end_unassigned(struct vault *v)
{
	char line[128];

	/* from behind: one that is removed moves those behind it */
	for (size_t i = v->store.count; i-- > 0;) {
		struct release *r = &v->store.releases[i];
		struct held *h = held_find(v, r->hash);

		if (!assigned_ends(&v->assigned, &v->store, r))
			continue;
		snprintf(line, sizeof(line), "release %llu of %s: the Platform %s",
			 (unsigned long long)r->number, r->model,
			 assigned_is_revoked(&v->assigned, r->hash) ? "has revoked it"
								    : "does not mean it for this device");
		vault_report(v, "withdrawn", NULL, r->hash, line);
		vault_event(v, TG_AUDIT_MODEL_WITHDRAWN, r->model, r->number, 0);
		if (h)
			held_drop(v, h);
		store_remove(&v->store, r);
	}
}

/* Downloads that nobody will go on with. */
static void end_downloads(struct vault *v)
{
	uint8_t blob[TG_SHA256_LEN];
	const struct dirent *entry;
	char name[STORE_HASH_TEXT];
	DIR *folder = opendir(v->store.directory);

	while (folder && (entry = readdir(folder))) {
		if (strlen(entry->d_name) < sizeof(name) ||
		    strcmp(entry->d_name + sizeof(name) - 1, ".download"))
			continue;
		memcpy(name, entry->d_name, sizeof(name) - 1);
		name[sizeof(name) - 1] = '\0';
		if (!tg_unhex(name, blob, sizeof(blob)) && !assigned_blob(&v->assigned, blob))
			unlinkat(dirfd(folder), entry->d_name, 0);
	}
	if (folder)
		closedir(folder);
}

bool vault_assigned(struct client *c, const json_t *request, struct call_fds *fds)
{
	struct vault *v = c->vault;
	struct tg_error e = { "" };
	int ret;

	(void)fds;
	pthread_mutex_lock(&v->lock);
	ret = assigned_take(&v->assigned, request, (int64_t)vault_now(v), &e);
	if (!ret && v->assigned.known) {
		mark_assigned(v);
		end_unassigned(v);
		end_downloads(v);
	}
	pthread_mutex_unlock(&v->lock);
	return finish(c, ret, &e);
}

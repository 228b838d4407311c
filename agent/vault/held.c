/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tensorguard/hex.h"
#include "vault/internal.h"

struct held *held_find(struct vault *v, const uint8_t hash[static TG_SHA256_LEN])
{
	for (size_t i = 0; i < VAULT_HELD; i++)
		if (v->held[i].used && !memcmp(v->held[i].hash, hash, TG_SHA256_LEN))
			return &v->held[i];
	return NULL;
}

static void let_go(struct held *h)
{
	tg_tgsp_files_close(&h->files);
	tg_tgsp_free(h->package);
	*h = (struct held){ .used = false };
}

void held_release(struct client *c)
{
	struct held *h = c->held;

	c->held = NULL;
	if (h && --h->leases == 0)
		let_go(h);
}

void held_drop(struct vault *v, struct held *h)
{
	for (size_t i = 0; i < VAULT_CLIENTS; i++) {
		struct client *c = &v->clients[i];

		if (!c->used || c->held != h)
			continue;
		c->held = NULL;
		/* its thread wakes up and ends; the program sees the end of the connection */
		shutdown(c->fd, SHUT_RDWR);
	}
	let_go(h);
}

void held_lease(struct client *c, struct held *h, const char *consumer)
{
	/* before it lets go of what it had: that may be the same */
	h->leases++;
	held_release(c);
	c->held = h;
	c->since = (int64_t)vault_now(c->vault);
	snprintf(c->consumer, sizeof(c->consumer), "%s", consumer);
}

/* ---- opening ---- */

/* Root may be a consumer itself, and is to find a place to revoke. With `lock`. */
static int may_lease(const struct client *c, struct tg_error *e)
{
	unsigned using = 0;

	for (size_t i = 0; i < VAULT_CLIENTS; i++)
		using += c->vault->clients[i].used && c->vault->clients[i].held;
	return c->held || using < VAULT_CLIENTS_USING
		       ? 0
		       : tg_error(e, -EBUSY, "too many programs use models at once");
}

/* By the rules, and by what was revoked here: its file may have been put back. */
static int accept_held(const struct vault *v, const struct tg_tgsp *package,
		       const struct tg_tgsp_rules *rules, struct tg_error *e)
{
	if (store_is_revoked(&v->store, tg_tgsp_manifest_hash(package)))
		return tg_error(e, -EKEYREVOKED, "this package was revoked on this device");
	return tg_tgsp_accept(package, rules, e);
}

/* A package of the model that may be opened now: the highest release of those. What the highest one lacks is
 * the error. With `lock`. */
static int choose(struct vault *v, const char *model, const struct tg_tgsp_rules *rules, int *ret_fd,
		  struct tg_tgsp **ret_package, struct tg_error *e)
{
	int ret = tg_error(e, -ENOENT, "there is no model '%.*s' on this device", TG_TGSP_MAX_NAME, model);
	struct tg_error later, *now = e;
	char name[STORE_HASH_TEXT], path[PATH_MAX];

	for (struct release *r = store_next(&v->store, model, NULL); r; r = store_next(&v->store, model, r)) {
		int err;

		tg_hex(r->hash, sizeof(r->hash), name);
		store_path(&v->store, name, "tgsp", path);
		err = store_read(path, ret_fd, ret_package, now);
		if (!err) {
			err = accept_held(v, *ret_package, rules, now);
			if (!err)
				return 0;
			tg_tgsp_free(*ret_package);
			close(*ret_fd);
		}
		if (now == e)
			ret = err;
		now = &later;
	}
	return ret;
}

static struct held *free_slot(struct vault *v)
{
	for (size_t i = 0; i < VAULT_HELD; i++)
		if (!v->held[i].used)
			return &v->held[i];
	return NULL;
}

/* Releases that the floor refuses from now on are of no more use. With `lock`. */
static void remove_older(struct vault *v, const struct tg_tgsp_manifest *m)
{
	/* from behind: one that is removed moves those behind it */
	for (size_t i = v->store.count; i-- > 0;) {
		struct release *r = &v->store.releases[i];

		if (!strcmp(r->model, m->model) && r->number < m->release)
			store_remove(&v->store, r);
	}
}

/* What was decrypted, unless it was revoked meanwhile. */
static int keep(struct client *c, const struct tg_models_consumer *consumer, struct tg_tgsp *package,
		struct tg_tgsp_files *files, struct tg_error *e)
{
	const uint8_t *hash = tg_tgsp_manifest_hash(package);
	struct vault *v = c->vault;
	struct held *h;
	int ret = 0;

	pthread_mutex_lock(&v->lock);
	h = free_slot(v);
	if (!store_find(&v->store, hash) || store_is_revoked(&v->store, hash))
		ret = tg_error(e, -EKEYREVOKED, "it was revoked");
	else if (!h)
		ret = tg_error(e, -ENOSPC, "%d packages are open already", VAULT_HELD);
	if (!ret) {
		*h = (struct held){ .used = true, .package = package, .files = *files };
		h->since = (int64_t)vault_now(v);
		memcpy(h->hash, hash, sizeof(h->hash));
		held_lease(c, h, consumer->name);
		remove_older(v, tg_tgsp_manifest(package));
	}
	pthread_mutex_unlock(&v->lock);
	if (ret)
		tg_tgsp_files_close(files);
	return ret;
}

/* With `opening`, so that the rules stay what they are. */
static int decrypt(struct client *c, const struct tg_models_consumer *consumer, struct tg_tgsp *package,
		   const struct tg_tgsp_rules *rules, struct tg_error *e)
{
	struct tg_tgsp_files files;
	struct tg_hpke_private key;
	int ret = link_private(&c->vault->link, &key, e);

	if (!ret)
		ret = tg_tgsp_open(package, rules, &key, NULL, &files, e);
	return ret ? ret : keep(c, consumer, package, &files, e);
}

static int open_chosen(struct client *c, const struct tg_models_consumer *consumer, const char *model,
		       struct tg_error *e)
{
	struct tg_tgsp *package = NULL;
	struct vault *v = c->vault;
	struct tg_tgsp_device device;
	struct tg_tgsp_rules rules;
	struct held *h = NULL;
	int fd = -1, ret;

	pthread_mutex_lock(&v->lock);
	ret = may_lease(c, e);
	if (!ret)
		ret = vault_rules(v, &device, &rules, e);
	if (!ret)
		ret = choose(v, model, &rules, &fd, &package, e);
	if (!ret)
		h = held_find(v, tg_tgsp_manifest_hash(package));
	if (h)
		held_lease(c, h, consumer->name);
	pthread_mutex_unlock(&v->lock);
	if (ret)
		return ret;
	if (!h)
		ret = decrypt(c, consumer, package, &rules, e);
	close(fd);
	if (h || ret)
		tg_tgsp_free(package);
	return ret;
}

bool held_is_failure(int error)
{
	switch (error) {
	case 0:
	/* trust or the floor's counter was not there for a moment */
	case -ENOTCONN:
	case -ETIMEDOUT:
	case -EAGAIN:
	/* this device has not heard of the Platform for long: the next documents mend it */
	case -EKEYEXPIRED:
	case -ENETDOWN:
	/* this device has too much to do */
	case -EBUSY:
	case -ENOMEM:
	case -ENOSPC:
	case -EMFILE:
	case -ENFILE:
		return false;
	default:
		return true;
	}
}

/* What an operator, and the Platform, want to know of a release: that it was opened, or why the newest one
 * cannot be. */
static void note_opening(struct client *c, const char *model, int ret, const struct tg_error *e)
{
	struct vault *v = c->vault;
	struct release *r;

	pthread_mutex_lock(&v->lock);
	r = ret || !c->held ? store_next(&v->store, model, NULL) : store_find(&v->store, c->held->hash);
	/* without documents in force no package could be opened */
	if (r && v->store.trust && held_is_failure(ret))
		snprintf(r->failure, sizeof(r->failure), "%.120s", e->message);
	if (r && !ret) {
		r->failure[0] = '\0';
		r->opened = (int64_t)vault_now(v);
	}
	pthread_mutex_unlock(&v->lock);
}

int held_open(struct client *c, const char *model, struct tg_error *e)
{
	const struct tg_models_consumer *consumer;
	struct vault *v = c->vault;
	int ret = peer_consumer(v->conf.models, &c->peer, model, &consumer, e);

	if (ret)
		return ret;
	pthread_mutex_lock(&v->opening);
	ret = vault_floor_ready(v, e);
	if (!ret)
		ret = open_chosen(c, consumer, model, e);
	note_opening(c, model, ret, e);
	pthread_mutex_unlock(&v->opening);
	return ret;
}

/* ---- handing over ---- */

static json_t *batch_json(const struct held *h, size_t from, size_t count)
{
	const struct tg_tgsp_manifest *m = tg_tgsp_manifest(h->package);
	char hash[STORE_HASH_TEXT];
	json_t *files = json_array();

	tg_hex(h->hash, sizeof(h->hash), hash);
	for (size_t i = from; i < from + count; i++)
		json_array_append_new(files, json_pack("{s:s, s:I}", "path", m->files[i].path, "size",
						       (json_int_t)m->files[i].size));
	return json_pack("{s:s, s:s, s:I, s:s, s:I, s:o}", "model", m->model, "version", m->version,
			 "release", (json_int_t)m->release, "manifest", hash, "left",
			 (json_int_t)(m->file_count - from - count), "files", files);
}

/* Descriptors of our own, as the package may be dropped before all is sent. With `lock`. */
static json_t *take_batch(const struct held *h, size_t from, struct call_fds *ret_fds)
{
	size_t count = h->files.count - from < CALL_FDS ? h->files.count - from : CALL_FDS;

	for (ret_fds->count = 0; ret_fds->count < count; ret_fds->count++) {
		int fd = fcntl(h->files.fds[from + ret_fds->count], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			call_close(ret_fds);
			return NULL;
		}
		ret_fds->fds[ret_fds->count] = fd;
	}
	return batch_json(h, from, count);
}

int held_send(struct client *c)
{
	struct vault *v = c->vault;
	struct call_fds fds = { .count = 0 };
	size_t sent = 0, all = 1;
	int ret = 0;

	while (!ret && sent < all) {
		json_t *batch;

		pthread_mutex_lock(&v->lock);
		batch = c->held ? take_batch(c->held, sent, &fds) : NULL;
		all = c->held ? c->held->files.count : 0;
		pthread_mutex_unlock(&v->lock);
		sent += fds.count;
		ret = call_send(c->fd, batch, fds.fds, fds.count);
		call_close(&fds);
	}
	return ret;
}

/* ---- again and again ---- */

/* Its time is over, or documents that are in force name it no more. Without any it may only not be known yet.
 */
static bool is_over(const struct vault *v, const struct tg_tgsp_manifest *m, uint64_t now, int ret)
{
	return (ret == -EKEYREJECTED && store_last_contact(&v->store)) || m->not_after <= now;
}

static void drop_release(struct vault *v, const struct tg_tgsp *package, const struct tg_tgsp_rules *rules,
			 int ret, const char *why)
{
	const struct tg_tgsp_manifest *m = tg_tgsp_manifest(package);
	const uint8_t *hash = tg_tgsp_manifest_hash(package);
	struct held *h = held_find(v, hash);
	struct release *r = store_find(&v->store, hash);
	bool over = is_over(v, m, rules->now, ret);

	if (!h && !over)
		return;
	vault_report(v, over ? "ended" : "closed", m, hash, why);
	vault_event(v, TG_AUDIT_MODEL_CLOSED, m->model, m->release, ret);
	if (r && over)
		store_remove(&v->store, r);
	/* last: `package` may be its */
	if (h)
		held_drop(v, h);
}

static void check_held(struct vault *v, struct held *h, const struct tg_tgsp_rules *rules)
{
	struct tg_error e = { "" };
	int ret = accept_held(v, h->package, rules, &e);

	if (ret)
		drop_release(v, h->package, rules, ret, e.message);
}

static void check_file(struct vault *v, const struct release *r, const struct tg_tgsp_rules *rules)
{
	char name[STORE_HASH_TEXT], path[PATH_MAX];
	struct tg_error e = { "" };
	struct tg_tgsp *package;
	int fd, ret;

	tg_hex(r->hash, sizeof(r->hash), name);
	store_path(&v->store, name, "tgsp", path);
	if (store_read(path, &fd, &package, &e))
		return;
	close(fd);
	ret = tg_tgsp_accept(package, rules, &e);
	if (ret)
		drop_release(v, package, rules, ret, e.message);
	tg_tgsp_free(package);
}

/* `all`: also what is not open, which nothing but documents and its end can change. */
void held_sweep(struct vault *v, bool all)
{
	struct tg_tgsp_device device;
	struct tg_tgsp_rules rules;
	struct tg_error e;

	if (vault_rules(v, &device, &rules, &e))
		return;
	rules.floor = NULL; /* somebody may be raising it; it refuses no release that was opened */
	for (size_t i = 0; i < VAULT_HELD; i++)
		if (v->held[i].used)
			check_held(v, &v->held[i], &rules);
	/* from behind: one that is removed moves those behind it */
	for (size_t i = v->store.count; i-- > 0;)
		if (all || v->store.releases[i].not_after <= rules.now)
			check_file(v, &v->store.releases[i], &rules);
}

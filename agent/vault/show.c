/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is, for who asks. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tensorguard/hex.h"
#include "vault/internal.h"

static json_t *users_json(const struct vault *v, const struct held *h)
{
	json_t *users = json_array();

	for (size_t i = 0; i < VAULT_CLIENTS; i++) {
		const struct client *c = &v->clients[i];

		if (c->used && c->held == h)
			json_array_append_new(users, json_pack("{s:s, s:I, s:I, s:I}", "consumer",
							       c->consumer, "uid", (json_int_t)c->peer.uid,
							       "pid", (json_int_t)c->peer.pid, "since",
							       (json_int_t)c->since));
	}
	return users;
}

/* What the package says of itself, where it is asked for alone; else the little that tells it from others. */
static json_t *release_json(struct vault *v, const struct release *r, bool whole)
{
	static const char *const keys[] = { "model", "version", "release", "manifest", "not_after" };
	json_t *object = whole ? json_copy(r->about) : json_object();
	const struct held *h = held_find(v, r->hash);

	for (size_t i = 0; !whole && i < sizeof(keys) / sizeof(keys[0]); i++)
		json_object_set(object, keys[i], json_object_get(r->about, keys[i]));
	json_object_set_new(object, "size", json_integer((json_int_t)r->size));
	json_object_set_new(object, "file_size", json_integer((json_int_t)r->file_size));
	json_object_set_new(object, "installed", json_integer((json_int_t)r->installed));
	json_object_set_new(object, "state", json_string(h ? "running" : "ready"));
	json_object_set_new(object, "users", h ? users_json(v, h) : json_array());
	json_object_set_new(object, "source",
			    json_string(hashes_have(&v->store.platform, r->hash) ? "platform" : "file"));
	json_object_set_new(object, "opened", json_integer((json_int_t)r->opened));
	/* whether it was opened at some time, by an earlier process too */
	json_object_set_new(object, "used",
			    json_boolean(tg_floor_get(v->store.floor, r->model) >= r->number));
	json_object_set_new(object, "lineage_line", json_string(r->lineage));
	if (r->failure[0])
		json_object_set_new(object, "failure", json_string(r->failure));
	return object;
}

static json_t *releases_json(struct vault *v, const char *model)
{
	json_t *list = json_array();

	for (struct release *r = store_next(&v->store, model, NULL); r; r = store_next(&v->store, model, r))
		json_array_append_new(list, release_json(v, r, model != NULL));
	return list;
}

static json_t *trust_json(const struct store *s)
{
	const struct tg_tgsp_issue *timestamp;

	if (!s->trust)
		return json_pack("{s:s, s:b}", "problem", s->problem.message, "rooted", store_has_root(s));
	timestamp = tg_tgsp_trust_issue(s->trust, TG_TGSP_TIMESTAMP);
	return json_pack("{s:b, s:I, s:I, s:I, s:I}", "rooted", 1, "root",
			 (json_int_t)tg_tgsp_trust_root_version(s->trust), "timestamp",
			 (json_int_t)timestamp->version, "issued", (json_int_t)timestamp->issued, "expires",
			 (json_int_t)timestamp->expires);
}

/* ---- what the Platform means the device to have ---- */

/* How much of a package is here, of which not all is. */
static uint64_t came(const struct vault *v, const char *key)
{
	char path[PATH_MAX];
	struct stat st;

	for (size_t i = 0; i < VAULT_CLIENTS; i++)
		if (v->clients[i].used && !strcmp(v->clients[i].coming, key))
			return v->clients[i].came;
	store_path(&v->store, key, "download", path);
	return stat(path, &st) ? 0 : (uint64_t)st.st_size;
}

static const char *state_of(struct vault *v, const struct assigned *one, const struct release *here)
{
	if (here && here->failure[0])
		return "failed";
	if (here)
		return held_find(v, here->hash) ? "running" : "ready";
	return one->failed ? "failed" : "downloading";
}

static json_t *one_json(struct vault *v, const struct assigned *one)
{
	const struct tg_model_assignment *package = &one->package;
	const struct release *here = store_find(&v->store, package->manifest);
	char manifest[STORE_HASH_TEXT], blob[STORE_HASH_TEXT];

	tg_hex(package->manifest, TG_SHA256_LEN, manifest);
	tg_hex(package->blob, TG_SHA256_LEN, blob);
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:s}", "model", package->model, "release",
			 (json_int_t)package->release, "manifest", manifest, "blob", blob, "state",
			 state_of(v, one, here), "size", (json_int_t)package->size, "came",
			 (json_int_t)(here ? package->size : came(v, blob)), "detail",
			 here ? here->failure : one->detail);
}

static json_t *platform_json(struct vault *v)
{
	const struct assignments *a = &v->assigned;
	json_t *list = json_array();

	for (size_t i = 0; i < a->count; i++)
		json_array_append_new(list, one_json(v, &a->list[i]));
	return json_pack("{s:b, s:I, s:I, s:s, s:o}", "known", a->known, "syncs", (json_int_t)a->syncs,
			 "asked", (json_int_t)a->time, "problem", a->problem, "assigned", list);
}

/* "model": one of them, in full; else all. */
bool vault_status(struct client *c, const json_t *request, struct call_fds *fds)
{
	const char *model = json_string_value(json_object_get(request, "model"));
	struct vault *v = c->vault;
	json_t *device = link_json(&v->link), *answer;
	struct tg_error e;

	(void)fds;
	pthread_mutex_lock(&v->lock);
	if (model && !store_next(&v->store, model, NULL) && !assigned_find(&v->assigned, model)) {
		tg_error(&e, -ENOENT, "there is no model '%.*s' on this device", TG_TGSP_MAX_NAME, model);
		answer = json_pack("{s:s}", "error", e.message);
	} else {
		answer = json_pack("{s:o, s:o, s:o, s:I, s:o}", "device", json_incref(device), "trust",
				   trust_json(&v->store), "platform", platform_json(v), "revoked",
				   (json_int_t)v->store.revoked.count, "models", releases_json(v, model));
	}
	pthread_mutex_unlock(&v->lock);
	json_decref(device);
	return vault_reply(c, answer);
}

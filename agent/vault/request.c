/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vault/internal.h"

bool vault_reply(struct client *c, json_t *answer)
{
	return !call_send(c->fd, answer, NULL, 0);
}

bool vault_refuse(struct client *c, int error, const struct tg_error *e)
{
	return vault_reply(c, json_pack("{s:s, s:s*}", "error", e->message, "reason", call_reason(error)));
}

/* ---- opening ---- */

static void report_refusal(const struct client *c, const char *model, int error, const struct tg_error *e)
{
	char line[sizeof(e->message) + 160];

	snprintf(line, sizeof(line), "%.64s to user %u, process %d: %s", model, (unsigned)c->peer.uid,
		 (int)c->peer.pid, e->message);
	vault_report(c->vault, "refused", NULL, NULL, line);
	vault_event(c->vault, TG_AUDIT_MODEL_REFUSED, model, 0, error);
}

static void report_open(struct client *c)
{
	char line[160];

	pthread_mutex_lock(&c->vault->lock);
	if (c->held) {
		const struct tg_tgsp_manifest *m = tg_tgsp_manifest(c->held->package);

		snprintf(line, sizeof(line), "for %s: user %u, process %d", c->consumer,
			 (unsigned)c->peer.uid, (int)c->peer.pid);
		vault_report(c->vault, "opened", m, c->held->hash, line);
		vault_event(c->vault, TG_AUDIT_MODEL_OPENED, m->model, m->release, 0);
	}
	pthread_mutex_unlock(&c->vault->lock);
}

static bool do_open(struct client *c, const json_t *request, struct call_fds *fds)
{
	const char *model = json_text(request, "model");
	struct tg_error e = { "" };
	int ret = held_open(c, model, &e);

	(void)fds;
	if (ret) {
		report_refusal(c, model, ret, &e);
		return vault_refuse(c, ret, &e);
	}
	report_open(c);
	return !held_send(c);
}

/* ---- what goes ---- */

/* It is closed and gone before it is written down: a full disk must not keep it, and has room then. */
static int revoke_release(struct vault *v, struct release *r, struct tg_error *e)
{
	struct held *h = held_find(v, r->hash);
	uint8_t hash[TG_SHA256_LEN];
	char line[128];
	int ret;

	memcpy(hash, r->hash, sizeof(hash));
	if (h)
		held_drop(v, h);
	snprintf(line, sizeof(line), "release %llu of %s", (unsigned long long)r->number, r->model);
	vault_event(v, TG_AUDIT_MODEL_CLOSED, r->model, r->number, -EKEYREVOKED);
	store_remove(&v->store, r);
	ret = hashes_add(&v->store.revoked, hash, e);
	vault_report(v, ret ? "closed and removed, but not noted as revoked" : "revoked", NULL, hash, line);
	return ret;
}

/* {"model", "release": one of it, 0: all} */
static int revoke_all(struct vault *v, const char *model, uint64_t number, json_int_t *ret_count,
		      struct tg_error *e)
{
	int ret = 0;

	*ret_count = 0;
	for (size_t i = v->store.count; i-- > 0;) {
		struct release *r = &v->store.releases[i];
		int err;

		if (strcmp(r->model, model) || (number && r->number != number))
			continue;
		err = revoke_release(v, r, ret ? NULL : e);
		ret = ret ? ret : err;
		*ret_count += !err;
	}
	if (!ret && !*ret_count)
		ret = tg_error(e, -ENOENT, "there is no such release of '%.*s' on this device",
			       TG_TGSP_MAX_NAME, model);
	return ret;
}

static bool do_revoke(struct client *c, const json_t *request, struct call_fds *fds)
{
	json_int_t count, number = json_integer_value(json_object_get(request, "release"));
	struct vault *v = c->vault;
	struct tg_error e = { "" };
	int ret;

	(void)fds;
	pthread_mutex_lock(&v->lock);
	ret = revoke_all(v, json_text(request, "model"), number > 0 ? (uint64_t)number : 0, &count, &e);
	pthread_mutex_unlock(&v->lock);
	/* it is in force; an opening that is under way is waited for only now */
	pthread_mutex_lock(&v->opening);
	vault_hold_revoked(v);
	pthread_mutex_unlock(&v->opening);
	return ret ? vault_refuse(c, ret, &e) : vault_reply(c, json_pack("{s:I}", "revoked", count));
}

/* ---- the process trust ---- */

/*
 * The link is waited for without `lock`: it may be in the middle of an exchange. Nothing is opened between
 * its coming and the look at the counter.
 */
static bool do_attach(struct client *c, const json_t *request, struct call_fds *fds)
{
	struct vault *v = c->vault;
	struct store_device device;
	struct tg_error e = { "" };
	int ret;

	(void)fds;
	pthread_mutex_lock(&v->opening);
	ret = link_attach(&v->link, c->fd, request, &device, &e);
	if (!ret) {
		pthread_mutex_lock(&v->lock);
		v->device = device;
		/* the link's from now on */
		c->fd = -1;
		pthread_mutex_unlock(&v->lock);
		vault_tie_floor(v);
	}
	pthread_mutex_unlock(&v->opening);
	return ret ? vault_refuse(c, ret, &e) : false;
}

/* {"op": "want"}: what the Platform means the device to have is to be got now. */
static bool do_want(struct client *c, const json_t *request, struct call_fds *fds)
{
	struct vault *v = c->vault;
	struct tg_error e = { "" };
	int ret = link_sync(&v->link, &e);
	uint64_t syncs;

	(void)request;
	(void)fds;
	pthread_mutex_lock(&v->lock);
	syncs = v->assigned.syncs;
	pthread_mutex_unlock(&v->lock);
	return ret ? vault_refuse(c, ret, &e)
		   : vault_reply(c, json_pack("{s:I}", "syncs", (json_int_t)syncs));
}

/* ---- which it is, and who may ---- */

enum { MAY_ROOT = 1, MAY_TRUST = 2, MAY_ANYBODY = 4 };

static const struct {
	const char *op;
	int may;
	bool (*run)(struct client *c, const json_t *request, struct call_fds *fds);
} operations[] = {
	{ "status", MAY_ANYBODY, vault_status },
	{ "open", MAY_ANYBODY, do_open },
	{ "install", MAY_ROOT | MAY_TRUST, vault_install },
	{ "documents", MAY_ROOT | MAY_TRUST, vault_documents },
	{ "revoke", MAY_ROOT, do_revoke },
	{ "want", MAY_ROOT, do_want },
	{ "root", MAY_TRUST, vault_root },
	{ "assigned", MAY_TRUST, vault_assigned },
	{ "attach", MAY_TRUST, do_attach },
};

static bool may(const struct client *c, int whom)
{
	return (whom & MAY_ANYBODY) || ((whom & MAY_ROOT) && c->peer.uid == 0) ||
	       ((whom & MAY_TRUST) && c->peer.uid == c->vault->conf.trust);
}

bool vault_request(struct client *c, const json_t *request, struct call_fds *fds)
{
	const char *op = json_text(request, "op");
	struct tg_error e;

	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (strcmp(operations[i].op, op))
			continue;
		if (may(c, operations[i].may))
			return operations[i].run(c, request, fds);
		tg_error(&e, -EACCES, "'%s' is not for user %u", op, (unsigned)c->peer.uid);
		vault_report(c->vault, "refused", NULL, NULL, e.message);
		return vault_refuse(c, -EACCES, &e);
	}
	tg_error(&e, -EINVAL, "unknown request");
	return vault_refuse(c, -EINVAL, &e);
}

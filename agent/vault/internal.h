/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of vault share. `lock` is held for a moment; `opening` for as long as a package is decrypted
 * or trust documents change, and is taken first. */
#ifndef AGENT_VAULT_INTERNAL_H
#define AGENT_VAULT_INTERNAL_H

#include "common/json.h"
#include "tensorguard/audit.h"
#include "vault/assigned.h"
#include "vault/call.h"
#include "vault/link.h"
#include "vault/peer.h"
#include "vault/store.h"
#include "vault/vault.h"

/* Of the places for clients, consumers leave some to root and trust, who revoke; root's own may be leases. */
enum {
	VAULT_CLIENTS = 48,
	VAULT_CLIENTS_OF_USER = 16,
	VAULT_CLIENTS_USING = VAULT_CLIENTS - 12,
	VAULT_HELD = STORE_RELEASES
};

/* A package that is open, for as long as a program has it. */
struct held {
	bool used;
	uint8_t hash[TG_SHA256_LEN];
	struct tg_tgsp *package; /* its front, to hold it against the rules again */
	struct tg_tgsp_files files;
	unsigned leases;
	int64_t since;
};

struct client {
	struct vault *vault;
	bool used;
	int fd;			/* -1: it became the link to trust */
	struct peer peer;
	struct held *held;	/* what it has; NULL = nothing */
	char consumer[64];	/* whom models.conf calls it */
	int64_t since;
	/* what it installs; for others to see how far it is */
	char coming[STORE_HASH_TEXT]; /* its key; "": nothing */
	_Atomic uint64_t came;
};

struct vault {
	struct vault_conf conf;
	struct event *on_connect, *on_sweep;
	int stop;		/* eventfd */
	pthread_mutex_t lock, opening;
	pthread_cond_t ended;	/* a client did */
	struct store store;
	struct assignments assigned;
	struct link link;
	/* with `opening` */
	struct tg_floor_counter counter;
	bool floor_held;	/* the floor was held against it, with this result */
	int floor_err;
	struct tg_error floor_problem;
	struct store_device device; /* as trust said last: it changes with an enrolment alone */
	struct held held[VAULT_HELD];
	struct client clients[VAULT_CLIENTS];
	unsigned running;	/* clients' threads */
};

static inline uint64_t vault_now(const struct vault *v)
{
	return v->conf.now();
}

/* The rules as they are now. With `lock`. */
int vault_rules(struct vault *v, struct tg_tgsp_device *ret_device, struct tg_tgsp_rules *ret_rules,
		struct tg_error *e);

/* What happened, for the operator. `manifest` may be NULL. */
void vault_report(const struct vault *v, const char *what, const struct tg_tgsp_manifest *manifest,
		  const uint8_t *hash, const char *detail);

/* The same for the audit trail; `error` is a negative errno or 0. */
static inline void vault_event(const struct vault *v, enum tg_audit_code code, const char *model,
			       uint64_t release, int error)
{
	v->conf.event(v->conf.ctx, code, model, release, (uint64_t)-error);
}

/*
 * vault.c: a place for a client of this user, NULL when there is none. Nobody takes all of them from the
 * others, and who manages models finds one in spite of all who use them; what root has open counts for those.
 * With `lock`.
 */
struct client *vault_place(struct vault *v, uid_t uid);

/* What a request is answered with: it takes `answer`; false ends the connection. */
bool vault_reply(struct client *c, json_t *answer);
/* That it failed: `error` is a negative errno. */
bool vault_refuse(struct client *c, int error, const struct tg_error *e);
/* coming.c: packages, roots, documents and assignments on their way in. */
bool vault_install(struct client *c, const json_t *request, struct call_fds *fds);
bool vault_root(struct client *c, const json_t *request, struct call_fds *fds);
bool vault_documents(struct client *c, const json_t *request, struct call_fds *fds);
bool vault_assigned(struct client *c, const json_t *request, struct call_fds *fds);

/* show.c */
bool vault_status(struct client *c, const json_t *request, struct call_fds *fds);

/* tie.c: holds the floor against the TPM's counter, over a link that is new. With `opening`. */
void vault_tie_floor(struct vault *v);
/* What was revoked here since, into the floor; what fails is said, and done with the next link. With
 * `opening`. */
void vault_hold_revoked(struct vault *v);
/* Whether the floor is the last one, as far as this device can tell. With `opening`. */
int vault_floor_ready(const struct vault *v, struct tg_error *e);

/* Requests (request.c): answers, or starts something longer; false ends the connection. */
bool vault_request(struct client *c, const json_t *request, struct call_fds *fds);

/* held.c */
int held_open(struct client *c, const char *model, struct tg_error *e);
/* Whether an opening that ended so says something of the package, and not of the moment. */
bool held_is_failure(int error);
/* Hands over everything that the client has. */
int held_send(struct client *c);
/* The client, as that consumer, has it, and what it had before no more. With `lock`. */
void held_lease(struct client *c, struct held *held, const char *consumer);
/* The client has it no more; the last one lets the memory go. With `lock`. */
void held_release(struct client *c);
/* Closes it, whoever has it: their connections end. With `lock`. */
void held_drop(struct vault *v, struct held *held);
struct held *held_find(struct vault *v, const uint8_t hash[static TG_SHA256_LEN]);
/* Holds everything against the rules again. With `lock`. */
void held_sweep(struct vault *v, bool all);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The folder of vault, VAULT_DIRECTORY, mode 0700:
 *
 *	HASH.tgsp	a package that was verified, under its manifest's hash; still encrypted
 *	KEY.partial	one that is on its way from a file (install.h)
 *	KEY.download	the same from the Platform; KEY is the hash of the whole file there
 *	root		the first root, pinned when it came with the enrolment; not if models.conf names one
 *	trust		the trust documents in force (bundle.h)
 *	revoked		manifest hashes that are refused for good, one a line
 *	platform	those of packages that are here because the Platform means the device to have them
 *	floor		numbers that only grow (floor.h), with floor.key
 *	lock		held by whoever serves the folder
 *
 * Every file appears whole or not at all. Nothing here locks: callers do (vault.c).
 */
#ifndef AGENT_VAULT_STORE_H
#define AGENT_VAULT_STORE_H

#include <jansson.h>
#include <limits.h>

#include "tensorguard/models.h"
#include "tensorguard/tgsp.h"
#include "vault/bundle.h"
#include "vault/hashes.h"

#define VAULT_DIRECTORY "/var/lib/tensorguard-models"

enum {
	STORE_RELEASES = 64,
	STORE_REVOKED = 4096,
	STORE_REVOKED_HELD = 2048, /* of them, in the floor: it has room for models as well */
	STORE_PLATFORM = 2 * STORE_RELEASES,
	STORE_HASH_TEXT = 2 * TG_SHA256_LEN + 1,
	STORE_LINEAGE = 640
};

/* A package that is there. */
struct release {
	uint8_t hash[TG_SHA256_LEN];
	char model[TG_TGSP_MAX_NAME + 1];
	uint64_t number, not_after, size, file_size;
	int64_t installed; /* when */
	int64_t opened;	   /* last, by this process; 0: not yet */
	char failure[128]; /* why the last opening went wrong, or "" */
	char lineage[STORE_LINEAGE]; /* in one line, for the audit trail */
	json_t *about;	   /* all that is shown of it */
};

struct store {
	const char *directory;
	const struct tg_models_conf *conf;
	int lock;
	struct tg_tgsp_trust *trust; /* NULL: the first root cannot be used, and `problem` says why */
	struct bundle bundle;
	struct tg_floor *floor;
	struct tg_error problem;
	struct release releases[STORE_RELEASES];
	size_t count;
	struct hashes revoked, platform;
};

/* What of the device a package's policy asks for. */
struct store_device {
	char fleet[TG_TGSP_MAX_NAME + 1]; /* "": none */
	bool attested;
};

/* Whoever calls it has the folder for itself: -EBUSY. Packages that are damaged are removed, by `log`. */
int store_open(const char *directory, const struct tg_models_conf *conf, uint64_t now,
	       void (*log)(const char *line), struct store *ret_store, struct tg_error *e);
void store_close(struct store *store);

/* What a package has to satisfy now. `ret_device` is what the rules point to. -ENOKEY: there is no root. */
int store_rules(const struct store *store, const struct store_device *device, uint64_t now,
		struct tg_tgsp_device *ret_device, struct tg_tgsp_rules *ret_rules, struct tg_error *e);

/* HASH.tgsp of the folder; `suffix` other than "tgsp" for other files. */
void store_path(const struct store *store, const char *name, const char *suffix,
		char ret_path[static PATH_MAX]);

/* Bytes of packages, whole ones and such that are on their way with what is reserved for them, but for the
 * file `except`. */
uint64_t store_used(const struct store *store, const char *except);

/* Opens a package and reads its front. */
int store_read(const char *path, int *ret_fd, struct tg_tgsp **ret_package, struct tg_error *e);

/* The file PARTIAL, which is all of `package`, becomes a release. -ENOSPC: there are too many. */
int store_add(struct store *store, const struct tg_tgsp *package, const char *partial, uint64_t now,
	      struct tg_error *e);
/* The release after this one, if any, of the model (NULL: of any): from the highest number down. */
struct release *store_next(struct store *store, const char *model, const struct release *after);
struct release *store_find(struct store *store, const uint8_t hash[static TG_SHA256_LEN]);
/* Its ciphertext is gone; the floor stays. */
void store_remove(struct store *store, struct release *release);

/*
 * Whether it was revoked here: the list says so, or the floor, which an older copy of the list does not
 * undo.
 */
bool store_is_revoked(const struct store *store, const uint8_t hash[static TG_SHA256_LEN]);
/* What the list has and the floor has not goes into it: errors are those of tg_floor_raise(). */
int store_hold_revoked(struct store *store, struct tg_error *e);

/*
 * The first root, which came with the enrolment: pinned if models.conf names none, and from then on. 0 too
 * when models.conf does, or it is pinned already; -EKEYREJECTED: another one is.
 */
bool store_has_root(const struct store *store);
int store_pin_root(struct store *store, const struct tg_bytes *root, uint64_t now, struct tg_error *e);

/* New documents: all of them are in force then, or none. Roots that are known already are left out. */
int store_documents(struct store *store, const struct bundle *bundle, uint64_t now, struct tg_error *e);
/* The floor, to the versions of the documents in force: errors are those of tg_floor_raise(). */
int store_raise_trust(struct store *store, struct tg_error *e);
/* When the Platform, or whoever publishes, was heard of last: 0 is never. */
uint64_t store_last_contact(const struct store *store);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The connection that the process trust makes to vault.sock and keeps: over it vault has the device's HPKE
 * key used. The key stays where it is, in the TPM or in the memory of trust; vault gets one X coordinate per
 * package, and makes the package's data key of it, which trust never sees. Begun by an "attach" request
 * (call.h); from then on vault asks and trust answers, one at a time, in these structures.
 */
#ifndef AGENT_VAULT_LINK_H
#define AGENT_VAULT_LINK_H

#include <jansson.h>
#include <pthread.h>

#include "tensorguard/tgsp.h"
#include "vault/store.h"

enum link_kind {
	LINK_ECDH = 1, /* the X coordinate of the key times `point` */
	LINK_SYNC = 2, /* the Platform is to be asked now; `point` is zeros */
	/* The TPM's counter for the floor. -ENOENT: it is not defined. -EOPNOTSUPP: the key is not in a TPM.
	 */
	LINK_COUNTER_READ = 3, /* its value, in host order, in the first 8 bytes of `x` */
	LINK_COUNTER_INCREMENT = 4,
	LINK_COUNTER_DEFINE = 5, /* -EEXIST: there is one */
};

struct link_request {
	uint32_t kind;
	uint32_t number;   /* the answer's */
	uint8_t point[TG_P256_POINT_LEN]; /* of the peer, on P-256 */
	uint8_t reserved[7];
};

struct link_answer {
	int32_t result;	   /* 0 or a negative errno */
	uint32_t number;
	uint8_t x[TG_P256_X_LEN]; /* zeros if it failed */
};

_Static_assert(sizeof(struct link_request) == 80, "layout");
_Static_assert(sizeof(struct link_answer) == 40, "layout");

/* vault's side. */
struct link {
	pthread_mutex_t lock;
	int fd;			/* -1: trust is not there */
	uint32_t number;
	bool attached;		/* it was there once: what follows is known */
	struct store_device device;
	char agent[TG_TGSP_MAX_NAME + 1];
	bool in_tpm;
	uint8_t point[TG_P256_POINT_LEN];
};

void link_init(struct link *link);
void link_close(struct link *link);
/* Ends the connection: trust makes another. */
void link_drop(struct link *link);
/* Takes what an "attach" request says, and the connection if that is well formed: -EBADMSG. */
int link_attach(struct link *link, int fd, const json_t *request, struct store_device *ret_device,
		struct tg_error *e);
/* The counter that a floor is tied to, which borrows `link`; false on a device without a TPM. */
bool link_counter(struct link *link, struct tg_floor_counter *ret_counter);
/* The key as HPKE takes it; it borrows `link`. -ENOTCONN: it is not known yet. */
int link_private(struct link *link, struct tg_hpke_private *ret_key, struct tg_error *e);
/* Has trust ask the Platform now; it does not wait for that. */
int link_sync(struct link *link, struct tg_error *e);
/* Whether a package names this device's key as a recipient; true as long as the key is not known. */
bool link_is_recipient(struct link *link, const struct tg_tgsp *package);
/* Who this device is, for status; NULL when memory is short. */
json_t *link_json(struct link *link);

#endif

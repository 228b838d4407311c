/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part `models` of POST /v1/sync: what a device says of its models, and what the Platform means it to
 *have.
 *
 *	request  {"root": N, "tag": HEX, "reports": [{model, release, manifest, state, since, detail}, ...]}
 *	answer   {"tag": HEX, "assignments": [{model, release, manifest, blob, size}, ...],
 *		  "revoked": [{manifest}, ...], "trust": [{role, version, blob, size}, ...]}
 *
 * The answer is left out as long as the request's tag is that of the current one: nothing has changed, and
 *what the device took then still holds. An answer names everything that the device is to have: a model that
 *is in no assignment is not meant for it any more. Packages and trust documents are fetched by their hash,
 *GET /v1/blobs/HEX, which takes single ranges. Nothing in an answer is to be believed: it says what to fetch,
 *and the device's own root says what to open.
 *
 * Hashes are SHA-256, in lower-case hexadecimal digits; times are seconds since 1970. Decoders and encoders
 * work on one part, as lib/wire's tables do inside the whole message; what sync.h embeds are the structures.
 */
#ifndef TENSORGUARD_MODEL_SYNC_H
#define TENSORGUARD_MODEL_SYNC_H

#include "tensorguard/tgsp_trust.h"

#define TG_MODELS_MAX 64	/* of one device */
#define TG_MODELS_REVOKED_MAX 512 /* releases */
#define TG_MODEL_DETAIL_LEN 128	/* with the final NUL */
#define TG_MODEL_TRUST_MAX 19	/* 16 roots, targets, snapshot, timestamp */
#define TG_MODEL_ROOTS_MAX 16	/* successors of the device's root in one answer: more follow in the next */

enum tg_model_state {
	TG_MODEL_DOWNLOADING,	/* assigned, and not whole yet */
	TG_MODEL_READY,		/* on the device, verified, opened by nobody */
	TG_MODEL_RUNNING,	/* somebody has it open, or had since the last report */
	TG_MODEL_FAILED,	/* cannot be fetched, verified, opened or used: `detail` says why */
	TG_MODEL_REVOKED,	/* closed and refused on this device */
	TG_MODEL_STATES
};
/* "downloading", "ready", ...; "unknown" for other numbers. */
const char *tg_model_state_name(enum tg_model_state state);

struct tg_model_report {
	char model[TG_TGSP_MAX_NAME + 1];
	uint64_t release;
	uint8_t manifest[TG_SHA256_LEN]; /* hash of the package's manifest */
	enum tg_model_state state;
	int64_t since;		/* when it came into this state, by the device's clock */
	char detail[TG_MODEL_DETAIL_LEN]; /* printable ASCII, for people; may be empty */
};

struct tg_models_request {
	uint64_t root;		/* version of the root that the device trusts; 0: it has none */
	uint8_t tag[TG_SHA256_LEN]; /* of the answer that it took last; zeros: none */
	struct tg_model_report reports[TG_MODELS_MAX];
	size_t report_count;
};

struct tg_model_assignment {
	char model[TG_TGSP_MAX_NAME + 1];
	uint64_t release;
	uint8_t manifest[TG_SHA256_LEN];
	uint8_t blob[TG_SHA256_LEN]; /* hash of the whole package */
	uint64_t size;		/* bytes of the package */
};

/* A trust document as its signers made it, at most TG_TGSP_MAX_TRUST bytes. */
struct tg_model_trust {
	enum tg_tgsp_role role;	/* TG_TGSP_ROOT, _TARGETS, _SNAPSHOT or _TIMESTAMP */
	uint64_t version;
	uint8_t blob[TG_SHA256_LEN];
	uint64_t size;
};

/* A release that nobody is to use any more: what is open of it is closed. */
struct tg_model_revoked {
	uint8_t manifest[TG_SHA256_LEN];
};

struct tg_models_answer {
	uint8_t tag[TG_SHA256_LEN]; /* zeros: there is no answer, nothing has changed */
	struct tg_model_assignment assignments[TG_MODELS_MAX]; /* ascending by model, each once */
	size_t assignment_count;
	struct tg_model_revoked revoked[TG_MODELS_REVOKED_MAX]; /* of models of its fleet, the newest */
	size_t revoked_count;
	/* The roots above the device's, ascending; then targets, snapshot, timestamp: all three or none. */
	struct tg_model_trust trust[TG_MODEL_TRUST_MAX];
	size_t trust_count;
};

/*
 * Whether what a decoder took fits together: names of models are well formed, none stands twice, roles and
 * versions stand in their order. Both decoders below have done that; who decodes the whole of a sync message
 * calls it for the part. -EINVAL.
 */
int tg_models_request_check(const struct tg_models_request *request, struct tg_error *e);
int tg_models_answer_check(const struct tg_models_answer *answer, struct tg_error *e);

/* Strict, as enrol.h says of all messages. Nothing in the structures is to be freed. -EINVAL, -ENOMEM. */
int tg_models_request_decode(const void *text, size_t len, struct tg_models_request *ret_request,
			     struct tg_error *e);
int tg_models_request_encode(const struct tg_models_request *request, struct tg_bytes *ret_text,
			     struct tg_error *e);
int tg_models_answer_decode(const void *text, size_t len, struct tg_models_answer *ret_answer,
			    struct tg_error *e);
int tg_models_answer_encode(const struct tg_models_answer *answer, struct tg_bytes *ret_text,
			    struct tg_error *e);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to the Platform: HTTP/1.1 over TLS 1.3 by libcurl, one kept-alive connection, no redirects. What
 * channel binding needs is taken from the live connection itself.
 */
#ifndef AGENT_TRUST_HTTPS_H
#define AGENT_TRUST_HTTPS_H

#include <openssl/types.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tensorguard/attest.h"
#include "tensorguard/bytes.h"
#include "tensorguard/error.h"

struct https;

struct https_conf {
	const char *url;	     /* "https://HOST[:PORT]", without a path */
	const struct tg_bytes *ca; /* PEM; the only CA that the server may have. Empty: those of the system */
	const struct tg_bytes *certificate; /* PEM, or NULL: without a client certificate */
	EVP_PKEY *key;		     /* of `certificate`; NULL: load_key() gets it for each handshake */
	/* So that a connection that lives for hours does not keep a TPM's. The caller frees the key. */
	int (*load_key)(void *arg, EVP_PKEY **ret_key, struct tg_error *e);
	void *arg;
	const atomic_bool *stop;     /* ends a request soon after it becomes true; NULL: never */
	int64_t not_before;	     /* it is later than that, whatever this machine's clock says */
};

/* -EINVAL unless it is "https://", a host, perhaps a port, and nothing else. */
int https_check_url(const char *url, struct tg_error *e);

/* Nothing is sent yet. `conf` stays the caller's until https_close(). */
int https_open(const struct https_conf *conf, struct https **ret_https, struct tg_error *e);
void https_close(struct https *https);

struct https_answer {
	long status;
	struct tg_bytes body;	/* the caller frees it; at most TG_ENROL_BODY_MAX */
};

/*
 * POST of a JSON text. With `same` only over the connection of the request before; -ESTALE, and nothing was
 * sent, when that is gone. -EHOSTUNREACH, -ETIMEDOUT, -EPROTO (TLS failed), -EKEYREJECTED (the server is not
 * who it should be).
 */
int https_post(struct https *https, const char *path, const struct tg_bytes *body, bool same,
	       struct https_answer *ret_answer, struct tg_error *e);

/*
 * Part of a file whose entity tag and size are known: from byte `from` to its end. take() gets what comes, in
 * order, and nothing of another file or another part; a negative errno of its ends the request, and is what
 * https_get() returns then. It may be called in pieces of any size, and may wait.
 */
struct https_file {
	const char *path;
	const char *tag;	/* entity tag, without its quotes */
	uint64_t from, size;
	int (*take)(void *ctx, const void *data, size_t len);
	void *ctx;
};

/*
 * GET of such a part. 0: the answer has a status; with 200 or 206 all of it was taken, else the body says
 * why not. -ESTALE: the server has something else under that path. -EPIPE: it ended too early. Else as
 * https_post(). No more than a few KiB of it are in memory at a time.
 */
int https_get(struct https *https, const struct https_file *file, struct https_answer *ret_answer,
	      struct tg_error *e);

/* RFC 9266 keying material of the last request's connection. */
const uint8_t *https_exporter(const struct https *https);

#endif

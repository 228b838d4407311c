/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Certificates of the Platform's CA: P-256, ECDSA with SHA-256, serial numbers of
 * 128 random bits. Who a client is stands in a URI in its subjectAltName:
 *
 *	tg:agent:FLEET:ID	a device
 *	tg:operator:NAME	an operator
 *
 * Fleets, ids and names are 1 to 63 characters of a-z, 0-9, '-', '_' and '.', the
 * first a letter or a digit.
 */
#ifndef TENSORGUARD_CERTIFICATE_H
#define TENSORGUARD_CERTIFICATE_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/bytes.h"
#include "tensorguard/error.h"

#define TG_ID_LEN 64	/* with the final NUL */
#define TG_AGENT_SECONDS_MAX (24 * 3600)
/* A certificate begins this much before it was issued, for devices whose clocks are slow. */
#define TG_CLOCK_SKEW_SECONDS 300
#define TG_REQUEST_MAX 4096 /* bytes of a request */

enum tg_client_kind { TG_CLIENT_AGENT, TG_CLIENT_OPERATOR };

struct tg_client {
	enum tg_client_kind kind;
	char fleet[TG_ID_LEN];	/* "" for an operator */
	char id[TG_ID_LEN];
};

/* Whether a fleet, an id or a name is well formed. */
bool tg_id_valid(const char *id);

/*
 * A certification request (PKCS #10) in DER, to its last byte, of version 1, signed
 * with SHA-256 or better by its own P-256 key, which the caller frees. What it asks
 * for is not looked at: names and extensions are the Platform's to give. -EINVAL.
 */
int tg_request_parse(const void *der, size_t len, EVP_PKEY **ret_key, struct tg_error *e);

/* A request in DER for `key`, which may live in a TPM. Its subject says `name`. */
int tg_request_make(EVP_PKEY *key, const char *name, struct tg_bytes *ret_der, struct tg_error *e);

/* A certificate for `key` signed by itself: a CA that may sign no other CA. Times are seconds since 1970. */
int tg_ca_make(EVP_PKEY *key, const char *name, int64_t now, int64_t seconds, X509 **ret_certificate,
	       struct tg_error *e);

/*
 * A certificate for a client (clientAuth only), from TG_CLOCK_SKEW_SECONDS before
 * `now` to `now + seconds` or the end of the CA's own, whichever is first. -EINVAL
 * for a device and more than TG_AGENT_SECONDS_MAX, and for bad names.
 */
int tg_client_certificate(EVP_PKEY *ca_key, X509 *ca, EVP_PKEY *key, const struct tg_client *client,
			  int64_t now, int64_t seconds, X509 **ret_certificate, struct tg_error *e);

/* A certificate for a server (serverAuth only) with `names`: DNS names or IP addresses, at least one. */
int tg_server_certificate(EVP_PKEY *ca_key, X509 *ca, EVP_PKEY *key, const char *const *names, size_t count,
			  int64_t now, int64_t seconds, X509 **ret_certificate, struct tg_error *e);

/*
 * Who a certificate belongs to whose chain was verified (by TLS). -EINVAL unless
 * its subjectAltName is exactly one URI as above.
 */
int tg_certificate_client(const X509 *certificate, struct tg_client *ret_client, struct tg_error *e);

/* The serial number in lower-case hexadecimal digits, two for each byte. */
#define TG_SERIAL_TEXT_LEN 41 /* RFC 5280: 20 bytes at most */
int tg_certificate_serial(const X509 *certificate, char ret_text[static TG_SERIAL_TEXT_LEN],
			  struct tg_error *e);

/* The end of its validity in seconds since 1970. */
int tg_certificate_end(const X509 *certificate, int64_t *ret_end, struct tg_error *e);

/* PEM text, with a final NUL that is not in its length; the caller frees it. */
int tg_certificate_pem(X509 *certificate, struct tg_bytes *ret_text, struct tg_error *e);

#endif

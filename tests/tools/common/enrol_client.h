/* SPDX-License-Identifier: BSD-3-Clause */
/* A client of the Platform that does one thing after the other on one connection, honestly or not. */
#ifndef TESTS_TOOLS_ENROL_CLIENT_H
#define TESTS_TOOLS_ENROL_CLIENT_H

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/enrol.h"

struct enrol_client;

/* Where the Platform is: localhost, a port, and the CA that its certificate must end at. */
struct enrol_place {
	uint16_t port;
	const char *ca_file;
};

/* What a request got. */
struct enrol_reply {
	int status;
	char reason[64];	/* of a refusal, else "" */
	struct tg_bytes body;
};
void enrol_reply_clear(struct enrol_reply *reply);

/* The pieces of a connection, for those who do more than one thing at a time: a blocking socket that waits 30
 * s, or a negative errno; TLS on it, with a client certificate or NULL and NULL. NULL: OpenSSL's queue says
 * why. */
int enrol_connect(uint16_t port);
SSL_CTX *enrol_context(const char *ca_file);
SSL *enrol_tls(SSL_CTX *ctx, int fd, X509 *certificate, EVP_PKEY *key);

/* With a client certificate, or NULL and NULL. */
int enrol_client_open(const struct enrol_place *place, X509 *certificate, EVP_PKEY *key,
		      struct enrol_client **ret_client, struct tg_error *e);
void enrol_client_close(struct enrol_client *client);
/* What the server showed; lives as long as the connection. */
X509 *enrol_client_peer(const struct enrol_client *client);
int enrol_client_exporter(struct enrol_client *client, uint8_t ret_exporter[static TG_EXPORTER_LEN],
			  struct tg_error *e);
/* Bytes as they are, within TLS. -EIO when the other end takes no more. */
int enrol_client_send(struct enrol_client *client, const void *data, size_t len);
/* What comes until the other end closes, with a NUL behind it, or until `size` is full. Returns its length.
 */
size_t enrol_client_receive(struct enrol_client *client, char *ret_data, size_t size);
/* Says that nothing more will be sent. */
void enrol_client_end(struct enrol_client *client);
/* A body as it is, and the answer to it. `body` NULL: GET. */
int enrol_client_request(struct enrol_client *client, const char *path, const struct tg_bytes *body,
			 struct enrol_reply *ret_reply, struct tg_error *e);
/* Messages: an answer that is no 200 leaves *ret_challenge or *ret_issued alone and is no error. */
int enrol_client_start(struct enrol_client *client, enum tg_enrol_kind kind,
		       const struct tg_enrol_start *start, struct tg_attest_challenge *ret_challenge,
		       struct enrol_reply *ret_reply, struct tg_error *e);
int enrol_client_finish(struct enrol_client *client, enum tg_enrol_kind kind,
			const struct tg_enrol_finish *finish, struct tg_enrol_issued *ret_issued,
			struct enrol_reply *ret_reply, struct tg_error *e);
/* Both messages of a device without a TPM. `token` NULL: renew. */
int enrol_client_software(struct enrol_client *client, const char *token, EVP_PKEY *key,
			  struct tg_enrol_issued *ret_issued, struct enrol_reply *ret_reply,
			  struct tg_error *e);

#endif

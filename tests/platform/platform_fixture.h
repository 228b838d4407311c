/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_PLATFORM_PLATFORM_FIXTURE_H
#define TESTS_PLATFORM_PLATFORM_FIXTURE_H

#include "api/platform.h"
#include "common/enrol_client.h"

/* A Platform in this process, on the store of $TEST_STORE, with a directory of its own. */
struct fixture {
	char directory[64], ca_file[96];
	struct platform_config config;
	struct platform *platform;
	struct store *store;
	struct enrol_place place;
};

enum { TOKEN_TEXT_SIZE = 65 };

/* `roots`: certificate of a TPM vendor to be pinned, or NULL. Certificates of agents live `lifetime` seconds.
 */
struct fixture *fixture_new(X509 *roots, unsigned lifetime);
/* The same with limits of one's own; 0: one that no test reaches, or the usual one of tokens. */
struct fixture_limits {
	unsigned lifetime, connections, rate, token_rate, agent_rate;
};
struct fixture *fixture_limited(X509 *roots, const struct fixture_limits *limits);
void fixture_free(struct fixture *fixture);
/* Reads certificates, roots and revocation lists again: 0 or a negative errno. */
int fixture_reload(struct fixture *fixture);

/* A fleet that takes the assurances of the mask (TG_ALLOW()). */
void fixture_fleet(struct fixture *fixture, const char *name, unsigned levels);
/* A token for it, for `seconds`, whose agent will be called `name` unless that is NULL. */
void fixture_token(struct fixture *fixture, const char *fleet, const char *name, int64_t seconds,
		   char ret_secret[static TOKEN_TEXT_SIZE]);
/* Waits for a record with that action and outcome. */
bool fixture_audited(struct fixture *fixture, const char *action, const char *outcome);
/* How many were counted for that reason. */
uint64_t fixture_refusals(const struct fixture *fixture, const char *reason);
/* Of all agents. */
int fixture_certificates(struct fixture *fixture);

EVP_PKEY *fixture_key(void);
X509 *fixture_parse(const struct tg_bytes *pem);
/* A connection, with a client certificate or with NULL and NULL. */
struct enrol_client *fixture_client(struct fixture *fixture, X509 *cert, EVP_PKEY *key);
/* Both messages on a connection of its own; the certificate, or NULL with *ret_reply. */
X509 *fixture_enrol(struct fixture *fixture, const char *token, EVP_PKEY *key, struct enrol_reply *ret_reply);
/* An agent with a certificate, on a connection of its own. */
struct enrol_client *fixture_agent(struct fixture *fixture, const char *fleet, const char *name,
				   EVP_PKEY *key);
/* That the reply has this status and reason. */
void fixture_refused(const struct enrol_reply *reply, int status, const char *reason);
/* A request whose only interest is that. */
void fixture_expect(struct enrol_client *client, const char *path, const struct tg_bytes *body, int status,
		    const char *reason);

#endif

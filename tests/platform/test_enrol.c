/* SPDX-License-Identifier: BSD-3-Clause */
/* Enrolment and renewal over TLS, with keys in software and with a TPM that lies on demand (tests/attest). */
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "faketpm.h"
#include "harness.h"
#include "platform_fixture.h"
#include "store/db.h"
#include "store_fixture.h"
#include "tensorguard/crypto.h"
#include "tensorguard/file.h"
#include "tensorguard/hex.h"
#include "tpm_client.h"

static const unsigned software = TG_ALLOW(TG_ASSURANCE_SOFTWARE);
static const unsigned any_tpm = TG_ALLOW(TG_ASSURANCE_TPM_UNENDORSED) | TG_ALLOW(TG_ASSURANCE_TPM_ATTESTED);

TEST(enrol, software)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	char token[TOKEN_TEXT_SIZE];
	EVP_PKEY *key = fixture_key();
	struct enrol_reply reply;
	struct tg_client client = { 0 };
	int64_t end = 0, now = time(NULL);
	X509 *cert;

	fixture_fleet(fixture, "robots", software);
	fixture_token(fixture, "robots", "arm-1", 60, token);
	cert = fixture_enrol(fixture, token, key, &reply);
	CU_ASSERT_PTR_NOT_NULL_FATAL(cert);
	CU_ASSERT_EQUAL(tg_certificate_client(cert, &client, NULL), 0);
	CU_ASSERT_EQUAL(client.kind, TG_CLIENT_AGENT);
	CU_ASSERT_STRING_EQUAL(client.fleet, "robots");
	CU_ASSERT_STRING_EQUAL(client.id, "arm-1");
	CU_ASSERT_EQUAL(X509_check_private_key(cert, key), 1);
	CU_ASSERT_EQUAL(X509_verify(cert, X509_get0_pubkey(fixture->platform->keys.ca_cert)), 1);
	CU_ASSERT_EQUAL(tg_certificate_end(cert, &end, NULL), 0);
	CU_ASSERT(end >= now + 86400 && end <= time(NULL) + 86400);
	CU_ASSERT(fixture_audited(fixture, "enrol", "done"));
	X509_free(cert);
	/* the token is used up, for this key and for any other */
	CU_ASSERT_PTR_NULL(fixture_enrol(fixture, token, key, &reply));
	fixture_refused(&reply, 403, "token-used");
	CU_ASSERT(fixture_audited(fixture, "enrol", "token-used"));
	CU_ASSERT_EQUAL(fixture_certificates(fixture), 1);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

TEST(enrol, tokens_that_are_refused)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	char token[TOKEN_TEXT_SIZE], id[17] = "";
	EVP_PKEY *key = fixture_key();
	struct enrol_reply reply;

	fixture_fleet(fixture, "robots", software);
	fixture_fleet(fixture, "vaults", any_tpm);
	CU_ASSERT_PTR_NULL(fixture_enrol(fixture, "0123456789abcdef0123456789abcdef", key, &reply));
	fixture_refused(&reply, 403, "token-unknown");
	CU_ASSERT(fixture_audited(fixture, "enrol", "token-unknown"));
	fixture_token(fixture, "robots", NULL, 0, token);
	CU_ASSERT_PTR_NULL(fixture_enrol(fixture, token, key, &reply));
	fixture_refused(&reply, 403, "token-expired");
	fixture_token(fixture, "robots", NULL, 60, token);
	memcpy(id, token, 16);
	CU_ASSERT_EQUAL(store_token_revoke(fixture->store, id, time(NULL), NULL), 0);
	CU_ASSERT_PTR_NULL(fixture_enrol(fixture, token, key, &reply));
	fixture_refused(&reply, 403, "token-revoked");
	fixture_token(fixture, "vaults", NULL, 60, token);
	CU_ASSERT_PTR_NULL(fixture_enrol(fixture, token, key, &reply));
	fixture_refused(&reply, 403, "assurance-not-allowed");
	CU_ASSERT(fixture_audited(fixture, "enrol", "assurance-not-allowed"));
	CU_ASSERT_EQUAL(fixture_certificates(fixture), 0);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

/* Ten attempts a minute with one token, whoever makes them. */
TEST(enrol, a_token_is_limited)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	struct enrol_reply reply = { 0 };
	EVP_PKEY *key = fixture_key();

	for (int i = 0; i < 11; i++)
		CU_ASSERT_PTR_NULL(fixture_enrol(fixture, "no-such-token", key, &reply));
	fixture_refused(&reply, 429, "rate");
	CU_ASSERT_PTR_NULL(fixture_enrol(fixture, "another-token", key, &reply));
	fixture_refused(&reply, 403, "token-unknown");
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

TEST(enrol, an_id_has_one_key)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	EVP_PKEY *key = fixture_key(), *other = fixture_key();
	char token[TOKEN_TEXT_SIZE];
	struct enrol_reply reply;
	X509 *cert;

	fixture_fleet(fixture, "robots", software);
	fixture_token(fixture, "robots", "arm-1", 60, token);
	cert = fixture_enrol(fixture, token, key, &reply);
	CU_ASSERT_PTR_NOT_NULL(cert);
	X509_free(cert);
	fixture_token(fixture, "robots", "arm-1", 60, token);
	CU_ASSERT_PTR_NULL(fixture_enrol(fixture, token, other, &reply));
	fixture_refused(&reply, 403, "agent-has-another-ek");
	CU_ASSERT(fixture_audited(fixture, "enrol", "agent-has-another-ek"));
	/* the refusal has not used the token up: the right device may */
	cert = fixture_enrol(fixture, token, key, &reply);
	CU_ASSERT_PTR_NOT_NULL(cert);
	X509_free(cert);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	fixture_free(fixture);
}

/* Begins an enrolment and makes what finishes it. */
static struct enrol_client *begin(struct fixture *fixture, const char *token, EVP_PKEY *key,
				  struct tg_enrol_finish *ret_finish)
{
	struct enrol_client *client = fixture_client(fixture, NULL, NULL);
	struct tg_attest_challenge challenge = { 0 };
	struct tg_enrol_start start = { 0 };
	struct enrol_reply reply = { 0 };

	snprintf(start.token, sizeof(start.token), "%s", token);
	CU_ASSERT_EQUAL(enrol_client_start(client, TG_ENROL, &start, &challenge, &reply, NULL), 0);
	CU_ASSERT_EQUAL(reply.status, 200);
	enrol_reply_clear(&reply);
	memset(ret_finish, 0, sizeof(*ret_finish));
	memcpy(ret_finish->session, challenge.session, sizeof(challenge.session));
	tg_attest_challenge_clear(&challenge);
	CU_ASSERT_EQUAL(tg_request_make(key, "x", &ret_finish->evidence.csr, NULL), 0);
	return client;
}

static void finish(struct enrol_client *client, const struct tg_enrol_finish *message, int status,
		   const char *reason)
{
	struct tg_enrol_issued issued = { 0 };
	struct enrol_reply reply = { 0 };

	CU_ASSERT_EQUAL(enrol_client_finish(client, TG_ENROL, message, &issued, &reply, NULL), 0);
	fixture_refused(&reply, status, reason);
	tg_enrol_issued_clear(&issued);
	enrol_reply_clear(&reply);
}

TEST(enrol, a_session_serves_once_and_on_its_connection)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	struct enrol_client *client, *other;
	struct tg_enrol_finish message;
	char token[TOKEN_TEXT_SIZE];
	EVP_PKEY *key = fixture_key();

	fixture_fleet(fixture, "robots", software);
	fixture_token(fixture, "robots", NULL, 60, token);
	client = begin(fixture, token, key, &message);
	CU_ASSERT_EQUAL(sessions_count(fixture->platform->sessions), 1);
	finish(client, &message, 200, "");
	finish(client, &message, 403, "session-unknown");
	CU_ASSERT(fixture_audited(fixture, "enrol", "session-unknown"));
	tg_enrol_finish_clear(&message);
	enrol_client_close(client);

	fixture_token(fixture, "robots", NULL, 60, token);
	client = begin(fixture, token, key, &message);
	other = fixture_client(fixture, NULL, NULL);
	finish(other, &message, 403, "session-of-another-connection");
	/* even that attempt has used the session up */
	finish(client, &message, 403, "session-unknown");
	CU_ASSERT_EQUAL(sessions_count(fixture->platform->sessions), 0);
	tg_enrol_finish_clear(&message);
	enrol_client_close(client);
	enrol_client_close(other);

	/* two sessions with one token: the first that finishes has it */
	client = begin(fixture, token, key, &message);
	{
		struct tg_enrol_finish second;

		other = begin(fixture, token, key, &second);
		finish(client, &message, 200, "");
		finish(other, &second, 403, "token-used");
		tg_enrol_finish_clear(&second);
	}
	CU_ASSERT_EQUAL(fixture_certificates(fixture), 2);
	tg_enrol_finish_clear(&message);
	enrol_client_close(client);
	enrol_client_close(other);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

TEST(enrol, malformed)
{
	static const char *const bodies[] = { "",
					      "{",
					      "[]",
					      "{}",
					      "{\"token\":1}",
					      "{\"token\":\"\"}",
					      "{\"token\":\"a\",\"token\":\"b\"}",
					      "{\"token\":\"a\",\"more\":1}",
					      "{\"token\":\"a\"} x" };
	static const char *const paths[] = { "/v1/enrol/start", "/v1/enrol/finish" };
	struct fixture *fixture = fixture_new(NULL, 86400);
	struct enrol_client *client = fixture_client(fixture, NULL, NULL);

	for (size_t i = 0; i < 2 * sizeof(bodies) / sizeof(bodies[0]); i++) {
		const char *text = bodies[i / 2];
		struct tg_bytes body = { (uint8_t *)(uintptr_t)text, strlen(text) };
		struct enrol_reply reply = { 0 };

		CU_ASSERT_EQUAL(enrol_client_request(client, paths[i % 2], &body, &reply, NULL), 0);
		fixture_refused(&reply, 400, "malformed");
		enrol_reply_clear(&reply);
	}
	CU_ASSERT(fixture_audited(fixture, "enrol", "malformed"));
	enrol_client_close(client);
	fixture_free(fixture);
}

TEST(renew, software_and_revocation)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	EVP_PKEY *key = fixture_key(), *next = fixture_key();
	struct tg_enrol_issued issued = { 0 };
	struct enrol_client *client;
	struct enrol_reply reply = { 0 };
	char token[TOKEN_TEXT_SIZE];
	X509 *cert, *renewed;

	fixture_fleet(fixture, "robots", software);
	fixture_token(fixture, "robots", "arm-1", 60, token);
	cert = fixture_enrol(fixture, token, key, &reply);
	CU_ASSERT_PTR_NOT_NULL_FATAL(cert);
	client = fixture_client(fixture, cert, key);
	CU_ASSERT_EQUAL(enrol_client_software(client, NULL, next, &issued, &reply, NULL), 0);
	CU_ASSERT_EQUAL(reply.status, 200);
	enrol_reply_clear(&reply);
	renewed = fixture_parse(&issued.certificate);
	CU_ASSERT_EQUAL(X509_check_private_key(renewed, next), 1);
	CU_ASSERT_STRING_EQUAL(issued.agent, "arm-1");
	CU_ASSERT_EQUAL(issued.assurance, TG_ASSURANCE_SOFTWARE);
	tg_enrol_issued_clear(&issued);
	CU_ASSERT(fixture_audited(fixture, "renew", "done"));
	CU_ASSERT_EQUAL(fixture_certificates(fixture), 2);

	/* the connection stays open: the next request on it is refused */
	CU_ASSERT_EQUAL(store_agent_revoke(fixture->store, "arm-1", "stolen", time(NULL), NULL), 0);
	CU_ASSERT_EQUAL(enrol_client_software(client, NULL, next, &issued, &reply, NULL), 0);
	fixture_refused(&reply, 403, "agent-revoked");
	enrol_reply_clear(&reply);
	CU_ASSERT(fixture_audited(fixture, "request", "agent-revoked"));
	enrol_client_close(client);
	/* and so is one with the renewed certificate, and a new enrolment */
	client = fixture_client(fixture, renewed, next);
	CU_ASSERT_EQUAL(enrol_client_software(client, NULL, key, &issued, &reply, NULL), 0);
	fixture_refused(&reply, 403, "agent-revoked");
	enrol_reply_clear(&reply);
	enrol_client_close(client);
	fixture_token(fixture, "robots", "arm-1", 60, token);
	CU_ASSERT_PTR_NULL(fixture_enrol(fixture, token, key, &reply));
	fixture_refused(&reply, 403, "agent-revoked");
	CU_ASSERT_EQUAL(fixture_certificates(fixture), 2);
	X509_free(cert);
	X509_free(renewed);
	EVP_PKEY_free(key);
	EVP_PKEY_free(next);
	fixture_free(fixture);
}

/* A revocation between the two messages counts as well. */
TEST(renew, revoked_between_the_messages)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	struct tg_attest_challenge challenge = { 0 };
	struct tg_enrol_finish message = { 0 };
	struct tg_enrol_start start = { 0 };
	struct tg_enrol_issued issued = { 0 };
	struct enrol_reply reply = { 0 };
	struct enrol_client *client;
	char token[TOKEN_TEXT_SIZE];
	EVP_PKEY *key = fixture_key();
	X509 *cert;

	fixture_fleet(fixture, "robots", software);
	fixture_token(fixture, "robots", "arm-1", 60, token);
	cert = fixture_enrol(fixture, token, key, &reply);
	CU_ASSERT_PTR_NOT_NULL_FATAL(cert);
	client = fixture_client(fixture, cert, key);
	CU_ASSERT_EQUAL(enrol_client_start(client, TG_RENEW, &start, &challenge, &reply, NULL), 0);
	CU_ASSERT_EQUAL(reply.status, 200);
	enrol_reply_clear(&reply);
	CU_ASSERT_EQUAL(store_agent_revoke(fixture->store, "arm-1", "stolen", time(NULL), NULL), 0);
	memcpy(message.session, challenge.session, sizeof(message.session));
	CU_ASSERT_EQUAL(tg_request_make(key, "x", &message.evidence.csr, NULL), 0);
	CU_ASSERT_EQUAL(enrol_client_finish(client, TG_RENEW, &message, &issued, &reply, NULL), 0);
	fixture_refused(&reply, 403, "agent-revoked");
	enrol_reply_clear(&reply);
	CU_ASSERT_EQUAL(fixture_certificates(fixture), 1);
	tg_attest_challenge_clear(&challenge);
	tg_enrol_finish_clear(&message);
	enrol_client_close(client);
	X509_free(cert);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

TEST(renew, needs_a_certificate_that_is_valid)
{
	struct fixture *fixture = fixture_new(NULL, 2);
	struct enrol_client *client = fixture_client(fixture, NULL, NULL);
	struct tg_bytes body = { (uint8_t *)(uintptr_t) "{}", 2 };
	struct enrol_reply reply = { 0 };
	char token[TOKEN_TEXT_SIZE];
	EVP_PKEY *key = fixture_key();
	struct tg_error e = { "" };
	int64_t end = 0;
	X509 *cert;

	CU_ASSERT_EQUAL(enrol_client_request(client, "/v1/renew/start", &body, &reply, NULL), 0);
	fixture_refused(&reply, 401, "certificate-missing");
	enrol_reply_clear(&reply);
	CU_ASSERT_EQUAL(enrol_client_request(client, "/v1/renew/finish", &body, &reply, NULL), 0);
	fixture_refused(&reply, 401, "certificate-missing");
	enrol_reply_clear(&reply);
	enrol_client_close(client);
	fixture_fleet(fixture, "robots", software);
	fixture_token(fixture, "robots", NULL, 60, token);
	cert = fixture_enrol(fixture, token, key, &reply);
	CU_ASSERT_PTR_NOT_NULL_FATAL(cert);
	client = fixture_client(fixture, cert, key);
	CU_ASSERT_EQUAL(tg_certificate_end(cert, &end, NULL), 0);
	while (time(NULL) <= end)
		usleep(50000);
	/* it has ended, on a connection that is open and on a new one; this fleet has no grace */
	CU_ASSERT_EQUAL(enrol_client_request(client, "/v1/renew/start", &body, &reply, &e), 0);
	fixture_refused(&reply, 401, "certificate-expired");
	enrol_reply_clear(&reply);
	enrol_client_close(client);
	client = fixture_client(fixture, cert, key);
	fixture_expect(client, "/v1/renew/start", &body, 401, "certificate-expired");
	fixture_expect(client, "/v1/renew/finish", &body, 401, "certificate-expired");
	enrol_client_close(client);
	X509_free(cert);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

TEST(enrol, tpm_attested_and_renewed)
{
	struct fake *fake = fake_new(&(struct fake_options){ .now = time(NULL) });
	struct fixture *fixture = fixture_new(fake->root, 86400);
	enum tg_assurance assurance = TG_ASSURANCE_NONE;
	struct store_agent agent = { 0 };
	struct enrol_client *client;
	struct enrol_reply reply;
	char token[TOKEN_TEXT_SIZE];
	X509 *cert, *renewed;

	fixture_fleet(fixture, "vaults", any_tpm);
	fixture_token(fixture, "vaults", "vault-1", 60, token);
	client = fixture_client(fixture, NULL, NULL);
	cert = with_tpm(client, fake, token, &reply, &assurance);
	enrol_client_close(client);
	fixture_refused(&reply, 200, "");
	CU_ASSERT_PTR_NOT_NULL_FATAL(cert);
	CU_ASSERT_EQUAL(assurance, TG_ASSURANCE_TPM_ATTESTED);
	CU_ASSERT_EQUAL(store_agent_get(fixture->store, "vault-1", &agent, NULL), 0);
	CU_ASSERT_EQUAL(agent.level, TG_ASSURANCE_TPM_ATTESTED);
	CU_ASSERT_EQUAL(agent.ak_public_len, fake->claim.ak_public.len);
	CU_ASSERT_EQUAL(memcmp(agent.ak_public, fake->claim.ak_public.data, agent.ak_public_len), 0);
	CU_ASSERT_EQUAL(agent.hpke_point[0], 4);
	client = fixture_client(fixture, cert, fake->tls);
	renewed = with_tpm(client, fake, NULL, &reply, &assurance);
	fixture_refused(&reply, 200, "");
	CU_ASSERT_PTR_NOT_NULL(renewed);
	CU_ASSERT_EQUAL(assurance, TG_ASSURANCE_TPM_ATTESTED);
	CU_ASSERT_EQUAL(fixture_certificates(fixture), 2);
	enrol_client_close(client);
	X509_free(cert);
	X509_free(renewed);
	fake_free(fake);
	fixture_free(fixture);
}

/* What the fake does wrong, what follows from it. The reasons are lib/attest's; here they must get through.
 */
TEST(enrol, tpm_lies)
{
	const int64_t now = time(NULL);
	const struct {
		struct fake_options options;
		const char *reason;
	} cases[] = {
		{ { .now = now, .certificate = FAKE_CERTIFICATE_OTHER_ROOT }, "ek-chain" },
		{ { .now = now, .certificate = FAKE_CERTIFICATE_CA }, "ek-certificate" },
		{ { .now = now, .ek_ecc = true, .certificate = FAKE_CERTIFICATE_OTHER_KEY }, "ek-key" },
		{ { .now = now, .ak_attributes = FAKE_AK_ATTRIBUTES & ~0x10000u }, "ak-template" },
		{ { .now = now, .magic = 0x12345678 }, "certify-tls" },
		{ { .now = now, .quote_mask = 0x7f }, "pcr-selection" },
		{ { .now = now, .wrong_digest = true }, "pcr-digest" },
	};
	struct fake *vendor = fake_new(&(struct fake_options){ .now = now });
	struct fixture *fixture = fixture_new(vendor->root, 86400);
	char token[TOKEN_TEXT_SIZE];

	fixture_fleet(fixture, "vaults", any_tpm);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fake *fake = fake_new(&cases[i].options);
		struct enrol_client *client = fixture_client(fixture, NULL, NULL);
		enum tg_assurance assurance = TG_ASSURANCE_NONE;
		struct enrol_reply reply;

		fixture_token(fixture, "vaults", NULL, 60, token);
		CU_ASSERT_PTR_NULL(with_tpm(client, fake, token, &reply, &assurance));
		fixture_refused(&reply, 403, cases[i].reason);
		CU_ASSERT(fixture_audited(fixture, "enrol", cases[i].reason));
		enrol_client_close(client);
		fake_free(fake);
	}
	CU_ASSERT_EQUAL(fixture_certificates(fixture), 0);
	fake_free(vendor);
	fixture_free(fixture);
}

/* A device that answers over its own connection for a thief's: the exporters differ. */
/* A token as an operator makes it, with the program, for the TPM whose EK has that key. */
static void pinned_token(const struct fixture *fixture, const char *fleet, EVP_PKEY *ek,
			 char ret_secret[static TOKEN_TEXT_SIZE])
{
	char command[400], hex[2 * TG_SHA256_LEN + 1], path[128];
	const char *build = getenv("BUILD");
	uint8_t hash[TG_SHA256_LEN], *der = NULL;
	int len = i2d_PUBKEY(ek, &der);
	struct tg_bytes text = { 0 };

	/* the SubjectPublicKeyInfo, as tpm2_createek -f pem or openssl would show it */
	CU_ASSERT_EQUAL_FATAL(tg_sha256(&(struct tg_piece){ der, (size_t)len }, 1, hash, NULL), 0);
	OPENSSL_free(der);
	tg_hex(hash, sizeof(hash), hex);
	snprintf(path, sizeof(path), "%s/token", fixture->directory);
	unlink(path);
	snprintf(command, sizeof(command),
		 "'%s/bin/tensorguard-platform' token create --data '%s' --fleet %s --ek-hash %s --out '%s'",
		 build ? build : "build", fixture->directory, fleet, hex, path);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
	CU_ASSERT_EQUAL_FATAL(tg_file_read(path, TOKEN_TEXT_SIZE, &text, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(text.len, TOKEN_TEXT_SIZE);
	memcpy(ret_secret, text.data, TOKEN_TEXT_SIZE - 1);
	ret_secret[TOKEN_TEXT_SIZE - 1] = '\0';
	tg_bytes_free(&text);
}

/* A token that is pinned to a TPM is worth nothing with another, of the same vendor, or with none. */
TEST(enrol, a_token_for_one_tpm)
{
	struct fake *fake = fake_new(&(struct fake_options){ .now = time(NULL) });
	EVP_PKEY *other = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048), *key = fixture_key();
	struct fixture *fixture = fixture_new(fake->root, 86400);
	enum tg_assurance assurance = TG_ASSURANCE_NONE;
	struct enrol_client *client;
	struct enrol_reply reply;
	char token[TOKEN_TEXT_SIZE];
	X509 *cert;

	fixture_fleet(fixture, "vaults", any_tpm | software);
	pinned_token(fixture, "vaults", other, token);
	client = fixture_client(fixture, NULL, NULL);
	CU_ASSERT_PTR_NULL(with_tpm(client, fake, token, &reply, &assurance));
	fixture_refused(&reply, 403, "token-pinned-to-another-ek");
	CU_ASSERT(fixture_audited(fixture, "enrol", "token-pinned-to-another-ek"));
	CU_ASSERT_EQUAL(sessions_count(fixture->platform->sessions), 0);

	pinned_token(fixture, "vaults", fake->ek, token);
	CU_ASSERT_PTR_NULL(fixture_enrol(fixture, token, key, &reply));
	fixture_refused(&reply, 403, "token-pinned-to-another-ek");
	CU_ASSERT_EQUAL(fixture_certificates(fixture), 0);
	/* the refusal has not used it up */
	cert = with_tpm(client, fake, token, &reply, &assurance);
	fixture_refused(&reply, 200, "");
	CU_ASSERT_PTR_NOT_NULL(cert);
	CU_ASSERT_EQUAL(assurance, TG_ASSURANCE_TPM_ATTESTED);
	CU_ASSERT_EQUAL(fixture_certificates(fixture), 1);
	enrol_client_close(client);
	X509_free(cert);
	EVP_PKEY_free(other);
	EVP_PKEY_free(key);
	fake_free(fake);
	fixture_free(fixture);
}

TEST(enrol, relayed_through_another_connection)
{
	struct fake *fake = fake_new(&(struct fake_options){ .now = time(NULL) });
	struct fixture *fixture = fixture_new(fake->root, 86400);
	struct enrol_client *thief = fixture_client(fixture, NULL, NULL),
			    *device = fixture_client(fixture, NULL, NULL);
	struct tg_enrol_start start = { .claim = fake->claim };
	struct tg_attest_challenge challenge = { 0 };
	struct tg_enrol_finish message = { 0 };
	uint8_t exporter[TG_EXPORTER_LEN];
	struct enrol_reply reply = { 0 };

	fixture_fleet(fixture, "vaults", any_tpm);
	fixture_token(fixture, "vaults", NULL, 60, start.token);
	CU_ASSERT_EQUAL(enrol_client_start(thief, TG_ENROL, &start, &challenge, &reply, NULL), 0);
	CU_ASSERT_EQUAL(reply.status, 200);
	enrol_reply_clear(&reply);
	CU_ASSERT_EQUAL(enrol_client_exporter(device, exporter, NULL), 0);
	memcpy(message.session, challenge.session, sizeof(message.session));
	fake_answer(fake, &challenge, exporter, false, &message.evidence);
	finish(thief, &message, 403, "proof");
	CU_ASSERT(fixture_audited(fixture, "enrol", "proof"));
	CU_ASSERT_EQUAL(fixture_certificates(fixture), 0);
	tg_attest_challenge_clear(&challenge);
	tg_enrol_finish_clear(&message);
	enrol_client_close(thief);
	enrol_client_close(device);
	fake_free(fake);
	fixture_free(fixture);
}

TEST(enrol, bodies_that_are_too_long)
{
	static const char *const paths[] = { "/v1/enrol/start", "/v1/renew/start", "/v1/enrol/finish",
					     "/v1/renew/finish" };
	struct fixture *fixture = fixture_new(NULL, 86400);
	struct enrol_client *client;
	EVP_PKEY *key = fixture_key();
	struct tg_bytes body;

	fixture_fleet(fixture, "robots", software);
	client = fixture_agent(fixture, "robots", "arm", key);
	for (size_t i = 0; i < 4; i++) {
		body.len = (i < 2 ? 64 * 1024 : TG_ENROL_BODY_MAX) + 1;
		body.data = calloc(1, body.len);
		CU_ASSERT_PTR_NOT_NULL_FATAL(body.data);
		memset(body.data, ' ', body.len);
		fixture_expect(client, paths[i], &body, 413, "size");
		/* one byte less is looked at */
		body.len--;
		fixture_expect(client, paths[i], &body, 400, "malformed");
		tg_bytes_free(&body);
	}
	enrol_client_close(client);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

/* An operator's certificate opens no agent's route, nor does an agent's of a fleet that it has left. */
TEST(renew, certificates_of_others)
{
	struct tg_client operator= { .kind = TG_CLIENT_OPERATOR, .id = "operator" };
	struct tg_bytes body = { (uint8_t *)(uintptr_t) "{}", 2 };
	struct fixture *fixture = fixture_new(NULL, 86400);
	const struct data_keys *keys = &fixture->platform->keys;
	EVP_PKEY *key = fixture_key();
	struct enrol_client *client;
	X509 *cert = NULL;

	CU_ASSERT_EQUAL_FATAL(tg_client_certificate(keys->ca_key, keys->ca_cert, key, &operator, time(NULL),
						    60, &cert, NULL),
			      0);
	client = fixture_client(fixture, cert, key);
	fixture_expect(client, "/v1/renew/start", &body, 403, "certificate-of-another-kind");
	fixture_expect(client, "/v1/renew/finish", &body, 403, "certificate-of-another-kind");
	enrol_client_close(client);
	X509_free(cert);
	cert = NULL;
	CU_ASSERT_EQUAL_FATAL(
		tg_client_certificate(keys->ca_key, keys->ca_cert, key,
				      &(struct tg_client){ TG_CLIENT_AGENT, "robots", "nobody" }, time(NULL),
				      60, &cert, NULL),
		0);
	client = fixture_client(fixture, cert, key);
	fixture_expect(client, "/v1/renew/start", &body, 403, "agent-unknown");
	enrol_client_close(client);
	X509_free(cert);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

static void rename_table(const char *from, const char *to)
{
	struct tg_error e = { "" };
	struct db *db = NULL;
	char sql[128];

	snprintf(sql, sizeof(sql), "ALTER TABLE %s RENAME TO %s", from, to);
	CU_ASSERT_EQUAL_FATAL(db_open(store_url(), &db, &e), 0);
	CU_ASSERT_EQUAL_FATAL(db_script(db, sql, &e), 0);
	db_close(db);
}

/* Whatever the store cannot do ends in 503, and in nothing else. */
TEST(enrol, a_broken_store)
{
	static const char token_body[] = "{\"token\":\"a\"}";
	struct tg_bytes start = { (uint8_t *)(uintptr_t)token_body, sizeof(token_body) - 1 };
	struct fixture *fixture = fixture_new(NULL, 86400);
	struct enrol_client *agent, *client;
	struct tg_enrol_finish message;
	char token[TOKEN_TEXT_SIZE];
	EVP_PKEY *key = fixture_key(), *other = fixture_key();

	fixture_fleet(fixture, "robots", software);
	agent = fixture_agent(fixture, "robots", "arm", key);
	fixture_token(fixture, "robots", NULL, 60, token);
	client = begin(fixture, token, other, &message);
	rename_table("certificate", "gone");
	finish(client, &message, 503, "internal");
	rename_table("gone", "certificate");
	/* nothing of it has stayed: the token serves */
	tg_enrol_finish_clear(&message);
	enrol_client_close(client);
	client = begin(fixture, token, other, &message);
	finish(client, &message, 200, "");
	CU_ASSERT_EQUAL(fixture_certificates(fixture), 2);
	rename_table("token", "gone");
	fixture_expect(client, "/v1/enrol/start", &start, 503, "internal");
	rename_table("gone", "token");
	rename_table("agent", "gone");
	fixture_expect(agent, "/v1/renew/start", &start, 503, "store");
	fixture_expect(agent, "/v1/renew/finish", &start, 503, "store");
	rename_table("gone", "agent");
	rename_table("schema_version", "gone");
	fixture_expect(client, "/healthz", NULL, 503, "store");
	rename_table("gone", "schema_version");
	fixture_expect(client, "/healthz", NULL, 200, "");
	tg_enrol_finish_clear(&message);
	enrol_client_close(agent);
	enrol_client_close(client);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	fixture_free(fixture);
}

/* The wall clock as the Platform sees it, beside the right one. */
static _Atomic time_t shift;

/* In the place of the C library's, for this whole program. */
time_t time(time_t *ret_time)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += shift;
	if (ret_time)
		*ret_time = now.tv_sec;
	return now.tv_sec;
}

/* A clock that is set does not make them older, nor keep them for as long as it was set back. */
TEST(enrol, sessions_do_not_age_by_the_wall_clock)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	struct tg_enrol_finish message;
	struct enrol_client *client;
	char token[TOKEN_TEXT_SIZE];
	EVP_PKEY *key = fixture_key();

	fixture_fleet(fixture, "robots", software);
	for (int i = 1; i <= 2; i++) {
		fixture_token(fixture, "robots", NULL, 86400, token);
		client = begin(fixture, token, key, &message);
		tg_enrol_finish_clear(&message);
		enrol_client_close(client);
		CU_ASSERT_EQUAL(sessions_count(fixture->platform->sessions), (size_t)i);
		shift += 2 * TG_SESSION_SECONDS;
	}
	shift = 0;
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Certificates that ended while their agents could not reach the Platform: what they still open within a
 * fleet's grace, and that it is of no use to anybody else.
 */
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "faketpm.h"
#include "harness.h"
#include "platform_fixture.h"
#include "store/db.h"
#include "store_fixture.h"
#include "tpm_client.h"

enum { ENDED = 100 /* seconds ago */, LIFETIME = 60 };

/* A device with a TPM that enrolled, and a certificate of it that has ended. */
struct late {
	struct fake *fake;
	struct fixture *fixture;
	X509 *cert;
};

static void set_grace(struct fixture *fixture, const char *fleet, int64_t grace, int64_t software)
{
	struct store_fleet f;

	CU_ASSERT_EQUAL_FATAL(store_fleet_get(fixture->store, fleet, &f, NULL), 0);
	f.grace = grace;
	f.grace_software = software;
	CU_ASSERT_EQUAL_FATAL(store_fleet_set(fixture->store, &f, NULL), 0);
}

/* One of the Platform's CA that ended so long ago. */
static X509 *ended(struct fixture *fixture, EVP_PKEY *key, const struct tg_client *client, int64_t ago)
{
	const struct data_keys *keys = &fixture->platform->keys;
	X509 *cert = NULL;

	CU_ASSERT_EQUAL_FATAL(tg_client_certificate(keys->ca_key, keys->ca_cert, key, client,
						    time(NULL) - ago - LIFETIME, LIFETIME, &cert, NULL),
			      0);
	return cert;
}

static struct late late_new(void)
{
	struct late l = { .fake = fake_new(&(struct fake_options){ .now = time(NULL) }) };
	enum tg_assurance assurance = TG_ASSURANCE_NONE;
	struct enrol_client *client;
	struct enrol_reply reply;
	char token[TOKEN_TEXT_SIZE];

	l.fixture = fixture_new(l.fake->root, 86400);
	fixture_fleet(l.fixture, "vaults", TG_ALLOW(TG_ASSURANCE_TPM_ATTESTED));
	set_grace(l.fixture, "vaults", 2 * ENDED, 0);
	fixture_token(l.fixture, "vaults", "vault-1", 60, token);
	client = fixture_client(l.fixture, NULL, NULL);
	X509_free(with_tpm(client, l.fake, token, &reply, &assurance));
	enrol_client_close(client);
	CU_ASSERT_EQUAL_FATAL(assurance, TG_ASSURANCE_TPM_ATTESTED);
	l.cert = ended(l.fixture, l.fake->tls, &(struct tg_client){ TG_CLIENT_AGENT, "vaults", "vault-1" },
		       ENDED);
	return l;
}

static void late_free(struct late *l)
{
	X509_free(l->cert);
	fake_free(l->fake);
	fixture_free(l->fixture);
}

/* A renewal with that certificate and the evidence of `fake`; its status and reason are as given. */
static void renewed(struct late *l, const struct fake *fake, int status, const char *reason)
{
	struct enrol_client *client = fixture_client(l->fixture, l->cert, l->fake->tls);
	enum tg_assurance assurance = TG_ASSURANCE_NONE;
	struct enrol_reply reply;
	X509 *cert = with_tpm(client, fake, NULL, &reply, &assurance);

	fixture_refused(&reply, status, reason);
	CU_ASSERT_EQUAL(cert != NULL, status == 200);
	X509_free(cert);
	enrol_client_close(client);
}

TEST(grace, the_same_tpm_recovers)
{
	struct late l = late_new();

	renewed(&l, l.fake, 200, "");
	CU_ASSERT(fixture_audited(l.fixture, "renew", "done"));
	CU_ASSERT_EQUAL(fixture_certificates(l.fixture), 2);
	late_free(&l);
}

/* Issued while the Platform's clock was ahead: it serves for a renewal and for nothing else, whatever the
 * grace. */
TEST(grace, one_that_has_not_begun_recovers)
{
	const struct tg_client vault = { TG_CLIENT_AGENT, "vaults", "vault-1" };
	struct tg_bytes body = { (uint8_t *)(uintptr_t) "{}", 2 };
	struct late l = late_new();
	struct enrol_client *client;

	X509_free(l.cert);
	l.cert = ended(l.fixture, l.fake->tls, &vault, -2 * LIFETIME - TG_CLOCK_SKEW_SECONDS - 1);
	set_grace(l.fixture, "vaults", 0, 0);
	client = fixture_client(l.fixture, l.cert, l.fake->tls);
	fixture_expect(client, "/v1/sync", &body, 401, "certificate-expired");
	enrol_client_close(client);
	renewed(&l, l.fake, 200, "");
	late_free(&l);
}

TEST(grace, ends)
{
	struct late l = late_new();

	set_grace(l.fixture, "vaults", ENDED / 2, 0);
	renewed(&l, l.fake, 403, "grace-ended");
	CU_ASSERT(fixture_audited(l.fixture, "request", "grace-ended"));
	set_grace(l.fixture, "vaults", 0, 2 * ENDED);
	renewed(&l, l.fake, 401, "certificate-expired");
	CU_ASSERT_EQUAL(fixture_certificates(l.fixture), 1);
	/* an operator who gives more time has the device back */
	set_grace(l.fixture, "vaults", 2 * ENDED, 0);
	renewed(&l, l.fake, 200, "");
	late_free(&l);
}

TEST(grace, a_revoked_device_stays_out)
{
	struct late l = late_new();

	CU_ASSERT_EQUAL(store_agent_revoke(l.fixture->store, "vault-1", "stolen", time(NULL), NULL), 0);
	renewed(&l, l.fake, 403, "agent-revoked");
	CU_ASSERT_EQUAL(fixture_certificates(l.fixture), 1);
	late_free(&l);
}

/* Somebody who has the TLS key, which no TPM gives away, and a TPM of his own of the same vendor. */
TEST(grace, another_tpm_does_not_pass)
{
	struct late l = late_new();
	struct fake *other = fake_new(&(struct fake_options){ .now = time(NULL) });

	renewed(&l, other, 403, "certify-tls");
	CU_ASSERT(fixture_audited(l.fixture, "renew", "certify-tls"));
	CU_ASSERT_EQUAL(fixture_certificates(l.fixture), 1);
	fake_free(other);
	late_free(&l);
}

static void begin(struct late *l, struct enrol_client *client, struct tg_attest_challenge *ret_challenge)
{
	struct tg_enrol_start start = { .claim = l->fake->claim };
	struct enrol_reply reply = { 0 };

	CU_ASSERT_EQUAL_FATAL(enrol_client_start(client, TG_RENEW, &start, ret_challenge, &reply, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(reply.status, 200);
	enrol_reply_clear(&reply);
}

static void finish(struct enrol_client *client, const struct tg_attest_challenge *challenge,
		   const struct tg_attest_evidence *evidence, int status, const char *reason)
{
	struct tg_enrol_finish message = { .evidence = *evidence };
	struct tg_enrol_issued issued = { 0 };
	struct enrol_reply reply = { 0 };

	memcpy(message.session, challenge->session, sizeof(message.session));
	CU_ASSERT_EQUAL(enrol_client_finish(client, TG_RENEW, &message, &issued, &reply, NULL), 0);
	fixture_refused(&reply, status, reason);
	tg_enrol_issued_clear(&issued);
	enrol_reply_clear(&reply);
}

TEST(grace, evidence_serves_once)
{
	struct late l = late_new();
	struct enrol_client *client = fixture_client(l.fixture, l.cert, l.fake->tls);
	struct tg_attest_challenge first = { 0 }, second = { 0 };
	struct tg_attest_evidence evidence = { 0 };
	uint8_t exporter[TG_EXPORTER_LEN];

	begin(&l, client, &first);
	CU_ASSERT_EQUAL(enrol_client_exporter(client, exporter, NULL), 0);
	fake_answer(l.fake, &first, exporter, true, &evidence);
	finish(client, &first, &evidence, 200, "");
	finish(client, &first, &evidence, 403, "session-unknown");
	/* for another challenge of the same connection */
	begin(&l, client, &second);
	finish(client, &second, &evidence, 403, "certify-tls");
	CU_ASSERT_EQUAL(fixture_certificates(l.fixture), 2);
	tg_attest_evidence_clear(&evidence);
	tg_attest_challenge_clear(&first);
	tg_attest_challenge_clear(&second);
	enrol_client_close(client);
	late_free(&l);
}

/* The device answers over its own connection for a thief's, who has its TLS key. */
TEST(grace, a_relay_does_not_pass)
{
	struct late l = late_new();
	struct enrol_client *thief = fixture_client(l.fixture, l.cert, l.fake->tls),
			    *device = fixture_client(l.fixture, l.cert, l.fake->tls);
	struct tg_attest_challenge challenge = { 0 };
	struct tg_attest_evidence evidence = { 0 };
	uint8_t exporter[TG_EXPORTER_LEN];

	begin(&l, thief, &challenge);
	CU_ASSERT_EQUAL(enrol_client_exporter(device, exporter, NULL), 0);
	fake_answer(l.fake, &challenge, exporter, true, &evidence);
	finish(thief, &challenge, &evidence, 403, "certify-tls");
	/* and the session itself on the device's connection */
	tg_attest_challenge_clear(&challenge);
	begin(&l, thief, &challenge);
	finish(device, &challenge, &evidence, 403, "session-of-another-connection");
	CU_ASSERT_EQUAL(fixture_certificates(l.fixture), 1);
	tg_attest_evidence_clear(&evidence);
	tg_attest_challenge_clear(&challenge);
	enrol_client_close(thief);
	enrol_client_close(device);
	late_free(&l);
}

TEST(grace, opens_nothing_but_a_renewal)
{
	struct late l = late_new();
	struct enrol_client *client = fixture_client(l.fixture, l.cert, l.fake->tls);
	struct tg_bytes body = { (uint8_t *)(uintptr_t) "{}", 2 };
	size_t agents = 0;

	for (const struct route *route = platform_routes; route->path; route++) {
		if (route->client != ROUTE_AGENT || route->method != EVHTTP_REQ_POST)
			continue;
		fixture_expect(client, route->path, &body, 401, "certificate-expired");
		agents++;
	}
	CU_ASSERT(agents > 0);
	fixture_expect(client, "/v1/fleet/agents", NULL, 401, "certificate-expired");
	enrol_client_close(client);
	late_free(&l);
}

/* TLS itself lets nobody else in late: no operator, and nobody whose certificate is of another CA. */
TEST(grace, is_for_agents_of_this_platform)
{
	struct late l = late_new();
	struct enrol_reply reply = { 0 };
	X509 *operator= ended(l.fixture, l.fake->tls,
			      &(struct tg_client){ TG_CLIENT_OPERATOR, "", "operator" }, ENDED),
	     *forged = NULL;
	struct enrol_client *client = fixture_client(l.fixture, operator, l.fake->tls);
	EVP_PKEY *key = fixture_key();

	CU_ASSERT_NOT_EQUAL(enrol_client_request(client, "/healthz", NULL, &reply, NULL), 0);
	enrol_reply_clear(&reply);
	enrol_client_close(client);
	/* the CA's name, and another key */
	CU_ASSERT_EQUAL_FATAL(
		tg_client_certificate(key, l.fixture->platform->keys.ca_cert, l.fake->tls,
				      &(struct tg_client){ TG_CLIENT_AGENT, "vaults", "vault-1" },
				      time(NULL) - ENDED - LIFETIME, LIFETIME, &forged, NULL),
		0);
	client = fixture_client(l.fixture, forged, l.fake->tls);
	CU_ASSERT_NOT_EQUAL(enrol_client_request(client, "/healthz", NULL, &reply, NULL), 0);
	enrol_reply_clear(&reply);
	enrol_client_close(client);
	EVP_PKEY_free(key);
	X509_free(operator);
	X509_free(forged);
	late_free(&l);
}

/* Whoever has an old key of a device does not use up its requests. */
TEST(grace, an_old_certificate_takes_nothing_from_the_new_one)
{
	enum { MANY = 100 };
	const struct tg_client vault = { TG_CLIENT_AGENT, "vaults", "vault-1" };
	struct late l = late_new();
	struct enrol_client *thief = fixture_client(l.fixture, l.cert, l.fake->tls);
	X509 *cert = ended(l.fixture, l.fake->tls, &vault, -LIFETIME);
	struct enrol_client *device = fixture_client(l.fixture, cert, l.fake->tls);
	struct tg_bytes body = { (uint8_t *)(uintptr_t) "{}", 2 };

	for (int i = 0; i < MANY; i++)
		fixture_expect(thief, "/v1/sync", &body, 401, "certificate-expired");
	fixture_expect(device, "/v1/sync", &body, 400, "malformed");
	enrol_client_close(thief);
	enrol_client_close(device);
	X509_free(cert);
	late_free(&l);
}

/* Nor one whose certificate is in force still, though there is a newer one. */
TEST(grace, a_superseded_certificate_takes_nothing_from_the_new_one)
{
	enum { MANY = 100 };
	const struct tg_client vault = { TG_CLIENT_AGENT, "vaults", "vault-1" };
	struct late l = late_new();
	X509 *old = ended(l.fixture, l.fake->tls, &vault, -LIFETIME / 2);
	X509 *new = ended(l.fixture, l.fake->tls, &vault, -LIFETIME);
	struct enrol_client *thief = fixture_client(l.fixture, old, l.fake->tls);
	struct enrol_client *device = fixture_client(l.fixture, new, l.fake->tls);
	struct tg_bytes body = { (uint8_t *)(uintptr_t) "{}", 2 };
	struct enrol_reply reply = { .status = 400 };

	for (int i = 0; i < MANY && reply.status != 429; i++) {
		enrol_reply_clear(&reply);
		CU_ASSERT_EQUAL_FATAL(enrol_client_request(thief, "/v1/sync", &body, &reply, NULL), 0);
	}
	CU_ASSERT_EQUAL(reply.status, 429);
	enrol_reply_clear(&reply);
	fixture_expect(device, "/v1/sync", &body, 400, "malformed");
	enrol_client_close(thief);
	enrol_client_close(device);
	X509_free(old);
	X509_free(new);
	late_free(&l);
}

/* ---- without a TPM ---- */

static void set_end(int64_t end)
{
	struct db *db = NULL;

	CU_ASSERT_EQUAL_FATAL(db_open(store_url(), &db, NULL), 0);
	CU_ASSERT(db_run(db, "UPDATE agent SET not_after = $1", DB_VALUES(db_int(end)), NULL, NULL, NULL) >=
		  0);
	db_close(db);
}

static void software_renewed(struct fixture *fixture, X509 *cert, EVP_PKEY *key, int status,
			     const char *reason)
{
	struct enrol_client *client = fixture_client(fixture, cert, key);
	struct tg_enrol_issued issued = { 0 };
	struct enrol_reply reply = { 0 };
	EVP_PKEY *next = fixture_key();

	CU_ASSERT_EQUAL(enrol_client_software(client, NULL, next, &issued, &reply, NULL), 0);
	fixture_refused(&reply, status, reason);
	enrol_reply_clear(&reply);
	tg_enrol_issued_clear(&issued);
	enrol_client_close(client);
	EVP_PKEY_free(next);
}

TEST(grace, software_keys_if_the_fleet_says_so)
{
	const struct tg_client arm = { TG_CLIENT_AGENT, "robots", "arm-1" };
	struct fixture *fixture = fixture_new(NULL, 86400);
	EVP_PKEY *key = fixture_key();
	struct enrol_client *client;
	int64_t end = 0;
	X509 *cert;

	fixture_fleet(fixture, "robots", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	client = fixture_agent(fixture, "robots", "arm-1", key);
	enrol_client_close(client);
	cert = ended(fixture, key, &arm, ENDED);
	CU_ASSERT_EQUAL(tg_certificate_end(cert, &end, NULL), 0);
	set_end(end);
	/* the grace of TPMs is not theirs */
	set_grace(fixture, "robots", 2 * ENDED, 0);
	software_renewed(fixture, cert, key, 401, "certificate-expired");
	set_grace(fixture, "robots", 0, ENDED / 2);
	software_renewed(fixture, cert, key, 403, "grace-ended");
	/* a copy of an older certificate, or of a key that was renewed since */
	set_grace(fixture, "robots", 0, 2 * ENDED);
	set_end(end + 1);
	software_renewed(fixture, cert, key, 403, "certificate-superseded");
	set_end(end);
	software_renewed(fixture, cert, key, 200, "");
	software_renewed(fixture, cert, key, 403, "certificate-superseded");
	CU_ASSERT_EQUAL(store_agent_revoke(fixture->store, "arm-1", "stolen", time(NULL), NULL), 0);
	software_renewed(fixture, cert, key, 403, "agent-revoked");
	X509_free(cert);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Whom the Platform trusts, and no longer: operators, TPM vendors, an AK that another enrolment replaced. */
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "data/key.h"
#include "faketpm.h"
#include "harness.h"
#include "platform_fixture.h"
#include "store_fixture.h"
#include "tensorguard/crypto.h"
#include "tpm_client.h"

static const unsigned any_tpm = TG_ALLOW(TG_ASSURANCE_TPM_UNENDORSED) | TG_ALLOW(TG_ASSURANCE_TPM_ATTESTED);

/* A connection with a certificate of the data directory, or of a file. */
static struct enrol_client *operator_client(struct fixture *fixture, const char *prefix)
{
	char cert_path[FILE_PATH_SIZE], key_path[FILE_PATH_SIZE], name[64];
	struct enrol_client *client;
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;

	snprintf(name, sizeof(name), "%s.crt", prefix);
	CU_ASSERT_EQUAL_FATAL(file_path(fixture->directory, name, cert_path, NULL), 0);
	snprintf(name, sizeof(name), "%s.key", prefix);
	CU_ASSERT_EQUAL_FATAL(file_path(fixture->directory, name, key_path, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(cert_load(cert_path, &cert, NULL, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(key_load(key_path, NULL, &key, NULL), 0);
	client = fixture_client(fixture, cert, key);
	X509_free(cert);
	EVP_PKEY_free(key);
	return client;
}

static void issue_operator(struct fixture *fixture, const char *name, const char *prefix,
			   struct store_operator *ret_operator)
{
	const struct data_keys *keys = &fixture->platform->keys;
	char cert_path[FILE_PATH_SIZE], key_path[FILE_PATH_SIZE];

	snprintf(cert_path, sizeof(cert_path), "%s/%s.crt", fixture->directory, prefix);
	snprintf(key_path, sizeof(key_path), "%s/%s.key", fixture->directory, prefix);
	CU_ASSERT_EQUAL_FATAL(data_operator_make(keys->ca_key, keys->ca_cert, name, key_path, cert_path,
						 ret_operator, NULL),
			      0);
	CU_ASSERT_EQUAL(store_operator_add(fixture->store, ret_operator, NULL), 0);
}

/* A revocation bites at the next request of a connection that is open, and for that operator alone. */
TEST(operators, revoked_within_one_request)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	struct store_operator first = { 0 }, second = { 0 };
	struct enrol_client *alice, *again, *initial = operator_client(fixture, "operator");

	issue_operator(fixture, "alice", "alice-1", &first);
	issue_operator(fixture, "alice", "alice-2", &second);
	alice = operator_client(fixture, "alice-1");
	again = operator_client(fixture, "alice-2");
	fixture_expect(alice, "/metrics", NULL, 200, "");
	fixture_expect(again, "/metrics", NULL, 200, "");
	/* one of the two, by its number */
	CU_ASSERT_EQUAL(
		store_operator_revoke(fixture->store, "alice", first.serial, "lost", time(NULL), NULL), 0);
	fixture_expect(alice, "/metrics", NULL, 403, "operator-revoked");
	fixture_expect(again, "/metrics", NULL, 200, "");
	CU_ASSERT(fixture_audited(fixture, "request", "operator-revoked"));
	/* what needs no certificate is open to everybody, with one that was revoked too */
	fixture_expect(alice, "/healthz", NULL, 200, "");
	CU_ASSERT_EQUAL(store_operator_revoke(fixture->store, "alice", NULL, "left", time(NULL), NULL), 0);
	fixture_expect(again, "/metrics", NULL, 403, "operator-revoked");
	fixture_expect(initial, "/metrics", NULL, 200, "");
	CU_ASSERT_EQUAL(store_operator_revoke(fixture->store, "alice", NULL, "left", time(NULL), NULL),
			-EALREADY);
	CU_ASSERT_EQUAL(store_operator_revoke(fixture->store, "alice", "00", "x", time(NULL), NULL), -ENOENT);
	CU_ASSERT_EQUAL(store_operator_revoke(fixture->store, "bob", NULL, "x", time(NULL), NULL), -ENOENT);
	/* the name may be given out again */
	issue_operator(fixture, "alice", "alice-3", &first);
	enrol_client_close(alice);
	alice = operator_client(fixture, "alice-3");
	fixture_expect(alice, "/metrics", NULL, 200, "");
	enrol_client_close(alice);
	enrol_client_close(again);
	enrol_client_close(initial);
	fixture_free(fixture);
}

/* The CA's signature is not enough: a certificate that the store does not know is nobody's. */
TEST(operators, unknown_certificates_are_refused)
{
	struct tg_client operator= { .kind = TG_CLIENT_OPERATOR, .id = "operator" };
	struct fixture *fixture = fixture_new(NULL, 86400);
	const struct data_keys *keys = &fixture->platform->keys;
	EVP_PKEY *key = fixture_key();
	struct enrol_client *client;
	X509 *cert = NULL;

	CU_ASSERT_EQUAL_FATAL(tg_client_certificate(keys->ca_key, keys->ca_cert, key, &operator, time(NULL),
						    60, &cert, NULL),
			      0);
	client = fixture_client(fixture, cert, key);
	fixture_expect(client, "/metrics", NULL, 403, "operator-unknown");
	CU_ASSERT(fixture_audited(fixture, "request", "operator-unknown"));
	enrol_client_close(client);
	X509_free(cert);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

static int collect(void *arg, const struct store_operator *operator)
{
	struct store_operator **at = arg;

	*(*at)++ = *operator;
	return 0;
}

TEST(operators, come_back_as_they_were)
{
	struct store_operator made = { .serial = "0a", .name = "alice", .issued = NOW, .not_after = NOW + 9 };
	struct store_operator found[4] = { 0 }, *at = found, one = { 0 };
	struct store *store = fresh_store();

	CU_ASSERT_EQUAL(store_operator_add(store, &made, NULL), 0);
	CU_ASSERT_EQUAL(store_operator_add(store, &made, NULL), -EEXIST);
	CU_ASSERT_EQUAL(store_operator_get(store, "0b", &one, NULL), -ENOENT);
	CU_ASSERT_EQUAL(store_operator_get(store, "0a", &one, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(&one, &made, sizeof(one)), 0);
	CU_ASSERT_EQUAL(store_operator_revoke(store, "alice", NULL, "left us", NOW + 1, NULL), 0);
	CU_ASSERT_EQUAL(store_operator_each(store, collect, &at, NULL), 0);
	CU_ASSERT_EQUAL(at - found, 1);
	CU_ASSERT_EQUAL(found[0].revoked, NOW + 1);
	CU_ASSERT_STRING_EQUAL(found[0].reason, "left us");
	store_close(store);
}

/* A device with a TPM that has enrolled, and what it then does. */
struct device {
	struct fixture *fixture;
	struct fake *fake;
	X509 *cert;
	char roots[FILE_PATH_SIZE], list[FILE_PATH_SIZE];
};

static void set_up(struct device *d)
{
	enum tg_assurance assurance = TG_ASSURANCE_NONE;
	struct enrol_client *client;
	char token[TOKEN_TEXT_SIZE];
	struct enrol_reply reply;

	d->fake = fake_new(&(struct fake_options){ .now = time(NULL) });
	d->fixture = fixture_new(d->fake->root, 86400);
	snprintf(d->roots, sizeof(d->roots), "%s/ek-roots/vendor.pem", d->fixture->directory);
	snprintf(d->list, sizeof(d->list), "%s/ek-roots/vendor.crl", d->fixture->directory);
	fixture_fleet(d->fixture, "vaults", any_tpm);
	fixture_token(d->fixture, "vaults", "vault-1", 60, token);
	client = fixture_client(d->fixture, NULL, NULL);
	d->cert = with_tpm(client, d->fake, token, &reply, &assurance);
	enrol_client_close(client);
	CU_ASSERT_PTR_NOT_NULL_FATAL(d->cert);
	CU_ASSERT_EQUAL(assurance, TG_ASSURANCE_TPM_ATTESTED);
}

static void tear_down(struct device *d)
{
	X509_free(d->cert);
	fake_free(d->fake);
	fixture_free(d->fixture);
}

static void renews(struct device *d, int status, const char *reason)
{
	struct enrol_client *client = fixture_client(d->fixture, d->cert, d->fake->tls);
	enum tg_assurance assurance = TG_ASSURANCE_NONE;
	struct enrol_reply reply;
	X509 *cert = with_tpm(client, d->fake, NULL, &reply, &assurance);

	fixture_refused(&reply, status, reason);
	CU_ASSERT_EQUAL(assurance, status == 200 ? TG_ASSURANCE_TPM_ATTESTED : TG_ASSURANCE_NONE);
	X509_free(cert);
	enrol_client_close(client);
}

/* What is in ek-roots counts for those who enrolled before as well, from the reload on. */
TEST(vendors, withdrawn_and_revoked)
{
	struct fake_list list = { 0 };
	struct device d;

	set_up(&d);
	renews(&d, 200, "");
	CU_ASSERT_EQUAL(rename(d.roots, d.list), 0);
	/* a list that is none: nothing is changed */
	CU_ASSERT_EQUAL(fixture_reload(d.fixture), -EINVAL);
	renews(&d, 200, "");
	CU_ASSERT_EQUAL(unlink(d.list), 0);
	CU_ASSERT_EQUAL(fixture_reload(d.fixture), 0);
	renews(&d, 403, "ek-chain");
	CU_ASSERT(fixture_audited(d.fixture, "renew", "ek-chain"));
	/* back again, with a list that does not name it, and with one that does */
	CU_ASSERT_EQUAL(cert_save(d.roots, d.fake->root, NULL), 0);
	fake_list_write(d.fake, &list, d.list);
	CU_ASSERT_EQUAL(fixture_reload(d.fixture), 0);
	CU_ASSERT(d.fixture->platform->crl_end > time(NULL));
	renews(&d, 200, "");
	list.revokes = true;
	fake_list_write(d.fake, &list, d.list);
	renews(&d, 200, "");
	CU_ASSERT_EQUAL(fixture_reload(d.fixture), 0);
	renews(&d, 403, "ek-chain");
	tear_down(&d);
}

/* The agent enrols again, with another AK, while a renewal by the old one is between its messages. */
TEST(renew, ends_when_the_agent_enrols_again)
{
	struct tg_attest_challenge challenge = { 0 };
	struct store_enrolment again;
	struct tg_enrol_finish message = { 0 };
	struct tg_enrol_issued issued = { 0 };
	struct tg_enrol_start start = { 0 };
	struct enrol_reply reply = { 0 };
	uint8_t exporter[TG_EXPORTER_LEN];
	struct enrol_client *client;
	struct store_agent agent;
	struct device d;

	set_up(&d);
	client = fixture_client(d.fixture, d.cert, d.fake->tls);
	start.claim.tls_public = d.fake->claim.tls_public;
	start.claim.hpke_public = d.fake->claim.hpke_public;
	CU_ASSERT_EQUAL(enrol_client_exporter(client, exporter, NULL), 0);
	CU_ASSERT_EQUAL(enrol_client_start(client, TG_RENEW, &start, &challenge, &reply, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(reply.status, 200);
	enrol_reply_clear(&reply);

	CU_ASSERT_EQUAL(store_agent_get(d.fixture->store, "vault-1", &agent, NULL), 0);
	make_token(d.fixture->store, "vaults", 7);
	again = enrolment(7, "vaults", "vault-1", 0, "serial");
	again.now = NOW;
	agent.ak_public[agent.ak_public_len - 1] ^= 1;
	again.agent = agent;
	CU_ASSERT_EQUAL(enrol(d.fixture->store, &again), STORE_ACCEPTED);

	memcpy(message.session, challenge.session, sizeof(message.session));
	fake_answer(d.fake, &challenge, exporter, true, &message.evidence);
	CU_ASSERT_EQUAL(enrol_client_finish(client, TG_RENEW, &message, &issued, &reply, NULL), 0);
	fixture_refused(&reply, 403, "agent-enrolled-again");
	CU_ASSERT(fixture_audited(d.fixture, "renew", "agent-enrolled-again"));
	CU_ASSERT_EQUAL(count_certificates(d.fixture->store, "vault-1"), 2);
	enrol_reply_clear(&reply);
	tg_attest_challenge_clear(&challenge);
	tg_enrol_finish_clear(&message);
	enrol_client_close(client);
	tear_down(&d);
}

/* Connections that are open keep the old certificate and go on; new ones see the new one. */
TEST(reload, the_servers_certificate_without_dropping_a_connection)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	struct enrol_client *old = fixture_client(fixture, NULL, NULL), *fresh;
	struct data_renewal renewal = { .directory = fixture->directory };
	char path[FILE_PATH_SIZE];
	X509 *cert = NULL;

	fixture_expect(old, "/healthz", NULL, 200, "");
	CU_ASSERT_EQUAL(data_server_renew(&renewal, NULL), 0);
	snprintf(path, sizeof(path), "%s/server.crt", fixture->directory);
	CU_ASSERT_EQUAL_FATAL(cert_load(path, &cert, NULL, NULL), 0);
	CU_ASSERT_NOT_EQUAL(X509_cmp(cert, fixture->platform->keys.server_cert), 0);
	CU_ASSERT_EQUAL(fixture_reload(fixture), 0);
	fixture_expect(old, "/healthz", NULL, 200, "");
	fresh = fixture_client(fixture, NULL, NULL);
	fixture_expect(fresh, "/healthz", NULL, 200, "");
	CU_ASSERT_EQUAL(X509_cmp(enrol_client_peer(fresh), cert), 0);
	CU_ASSERT_EQUAL(X509_cmp(enrol_client_peer(old), fixture->platform->keys.server_cert), 0);
	X509_free(cert);
	enrol_client_close(old);
	enrol_client_close(fresh);
	fixture_free(fixture);
}

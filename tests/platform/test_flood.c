/* SPDX-License-Identifier: BSD-3-Clause */
/* Whoever is refused again and again costs no more than that: the disk does not fill with its records. */
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "platform_fixture.h"
#include "tensorguard/crypto.h"

enum { TIMES = 200, PER_MINUTE = 60, RECORDED_AT_ONCE = 10 };

struct records {
	const char *outcome;
	int count;
};

static int count_one(void *arg, const struct store_audit *record)
{
	struct records *records = arg;

	records->count += !strcmp(record->outcome, records->outcome);
	return 0;
}

/* Of what was audited before a last record that `end` names. */
static int recorded(struct fixture *fixture, const char *outcome)
{
	struct records records = { outcome, 0 };

	platform_audit(fixture->platform, "test", "test", "", "the-end", "");
	CU_ASSERT(fixture_audited(fixture, "test", "the-end"));
	CU_ASSERT_EQUAL(store_audit_each(fixture->store, 10 * TIMES, count_one, &records, NULL), 0);
	return records.count;
}

static X509 *parse(const struct tg_bytes *pem)
{
	BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	CU_ASSERT_PTR_NOT_NULL_FATAL(cert);
	return cert;
}

/* A connection with the certificate of an agent that has been revoked since. */
static struct enrol_client *revoked_agent(struct fixture *fixture, EVP_PKEY *key)
{
	struct tg_enrol_issued issued = { 0 };
	struct enrol_reply reply = { 0 };
	struct enrol_client *client = NULL;
	char token[TOKEN_TEXT_SIZE];
	X509 *cert;

	fixture_fleet(fixture, "robots", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	fixture_token(fixture, "robots", "arm-1", 60, token);
	CU_ASSERT_EQUAL_FATAL(enrol_client_open(&fixture->place, NULL, NULL, &client, NULL), 0);
	CU_ASSERT_EQUAL(enrol_client_software(client, token, key, &issued, &reply, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(reply.status, 200);
	enrol_reply_clear(&reply);
	enrol_client_close(client);
	cert = parse(&issued.certificate);
	tg_enrol_issued_clear(&issued);
	CU_ASSERT_EQUAL(store_agent_revoke(fixture->store, "arm-1", "stolen", time(NULL), NULL), 0);
	CU_ASSERT_EQUAL_FATAL(enrol_client_open(&fixture->place, cert, key, &client, NULL), 0);
	X509_free(cert);
	return client;
}

/* How many of the requests were answered with `status`. */
static int ask(struct enrol_client *client, const char *path, int status)
{
	struct tg_bytes body = { (uint8_t *)"{}", 2 };
	int count = 0;

	for (int i = 0; i < TIMES; i++) {
		struct enrol_reply reply = { 0 };

		CU_ASSERT_EQUAL(enrol_client_request(client, path, &body, &reply, NULL), 0);
		count += reply.status == status;
		enrol_reply_clear(&reply);
	}
	return count;
}

TEST(flood, a_revoked_agent_is_limited_as_any_agent_is)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	EVP_PKEY *key = NULL;
	struct enrol_client *client;
	time_t begin = time(NULL);
	int limited, refused;

	CU_ASSERT_EQUAL_FATAL(tg_p256_generate(&key, NULL), 0);
	client = revoked_agent(fixture, key);
	limited = ask(client, "/v1/renew/start", 429);
	refused = recorded(fixture, "agent-revoked");
	CU_ASSERT(limited > 0);
	/* the first ones, and then one a minute */
	CU_ASSERT(refused >= RECORDED_AT_ONCE);
	CU_ASSERT(refused <= RECORDED_AT_ONCE + (int)(time(NULL) - begin) / 60 + 1);
	enrol_client_close(client);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

TEST(flood, refusals_that_name_nobody_are_all_counted_but_not_all_recorded)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	struct enrol_client *client = NULL;
	time_t begin = time(NULL);
	int records;

	CU_ASSERT_EQUAL_FATAL(enrol_client_open(&fixture->place, NULL, NULL, &client, NULL), 0);
	CU_ASSERT_EQUAL(ask(client, "/v1/enrol/start", 400), TIMES);
	records = recorded(fixture, "malformed");
	CU_ASSERT(records >= PER_MINUTE);
	CU_ASSERT(records <= PER_MINUTE + (int)(time(NULL) - begin) + 2);
	enrol_client_close(client);
	fixture_free(fixture);
}

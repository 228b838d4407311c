/* SPDX-License-Identifier: BSD-3-Clause */
/* Whoever is refused again and again costs no more than that: the disk does not fill with its records. */
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "platform_fixture.h"
#include "tensorguard/audit.h"
#include "tensorguard/crypto.h"
#include "tensorguard/sync.h"

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

/* Of TIMES refusals for one reason the first ones are recorded, and then one a minute; all are counted. */
static void check_named(struct fixture *fixture, const char *reason, time_t begin)
{
	int records = recorded(fixture, reason);

	CU_ASSERT(records >= RECORDED_AT_ONCE);
	CU_ASSERT(records <= RECORDED_AT_ONCE + (int)(time(NULL) - begin) / 60 + 1);
	CU_ASSERT_EQUAL(fixture_refusals(fixture, reason), TIMES);
	if (records < RECORDED_AT_ONCE || records > RECORDED_AT_ONCE + 1)
		printf("%s: %d records\n", reason, records);
}

static void sync_often(struct enrol_client *client, const struct tg_sync_request *request)
{
	struct tg_bytes text = { 0 };

	CU_ASSERT_EQUAL_FATAL(tg_sync_request_encode(request, &text, NULL), 0);
	for (int i = 0; i < TIMES; i++)
		fixture_expect(client, "/v1/sync", &text, 200, "");
	tg_bytes_free(&text);
}

static struct tg_sync_request beat(void)
{
	return (struct tg_sync_request){
		.format = TG_SYNC_FORMAT,
		.heartbeat = { .version = "1", .kernel = "6", .state = TG_SYNC_UP },
	};
}

/* A batch of `agent` that another key than its own has signed. */
static struct tg_sync_request foreign_batch(const char *agent, EVP_PKEY *key)
{
	const struct tg_audit_event event = {
		.time_ms = 1, .actor = "guard", .action = "test", .outcome = "done"
	};
	struct tg_sync_request request = beat();
	struct tg_audit_chain chain;
	struct tg_bytes record = { 0 };

	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_begin(agent, &chain, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_add(&chain, &event, &record, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_audit_batch_make(&record, 1, key, &request.audit.batch, NULL), 0);
	request.has_audit = true;
	tg_bytes_free(&record);
	return request;
}

static struct tg_sync_request with_key(int key)
{
	struct tg_sync_request request = beat();

	request.has_keys = true;
	request.keys.tunnel_count = 1;
	strcpy(request.keys.tunnels[0].tunnel, "tg0");
	memset(request.keys.tunnels[0].current, key, sizeof(request.keys.tunnels[0].current));
	return request;
}

/* Whatever part of a sync is refused. */
TEST(flood, refused_syncs_are_all_counted_but_not_all_recorded)
{
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .agent_rate = 100000 });
	EVP_PKEY *keys[] = { fixture_key(), fixture_key() };
	struct tg_sync_request request;
	struct enrol_client *arm, *leg;
	time_t begin = time(NULL);

	fixture_fleet(fixture, "robots", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	arm = fixture_agent(fixture, "robots", "arm", keys[0]);
	leg = fixture_agent(fixture, "robots", "leg", keys[1]);
	CU_ASSERT_EQUAL(ask(arm, "/v1/sync", 400), TIMES);
	check_named(fixture, "malformed", begin);
	request = foreign_batch("arm", keys[1]);
	sync_often(arm, &request);
	check_named(fixture, "audit-signature", begin);
	tg_bytes_free(&request.audit.batch);
	request = foreign_batch("leg", keys[0]);
	sync_often(arm, &request);
	check_named(fixture, "audit-stranger", begin);
	tg_bytes_free(&request.audit.batch);
	request = with_key(7);
	sync_often(leg, &request);
	sync_often(arm, &request);
	check_named(fixture, "key-taken", begin);
	enrol_client_close(arm);
	enrol_client_close(leg);
	EVP_PKEY_free(keys[0]);
	EVP_PKEY_free(keys[1]);
	fixture_free(fixture);
}

/* A token that was used, once it is in the wrong hands. */
TEST(flood, refused_enrolments_are_all_counted_but_not_all_recorded)
{
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .token_rate = 1000000 });
	struct tg_enrol_start start = { 0 };
	struct enrol_reply reply = { 0 };
	EVP_PKEY *key = fixture_key();
	struct enrol_client *client;
	time_t begin = time(NULL);

	fixture_fleet(fixture, "robots", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	fixture_token(fixture, "robots", "arm", 600, start.token);
	X509_free(fixture_enrol(fixture, start.token, key, &reply));
	enrol_reply_clear(&reply);
	client = fixture_client(fixture, NULL, NULL);
	for (int i = 0; i < TIMES; i++) {
		struct tg_attest_challenge challenge = { 0 };

		CU_ASSERT_EQUAL(enrol_client_start(client, TG_ENROL, &start, &challenge, &reply, NULL), 0);
		CU_ASSERT_EQUAL(reply.status, 403);
		tg_attest_challenge_clear(&challenge);
		enrol_reply_clear(&reply);
	}
	check_named(fixture, "token-used", begin);
	enrol_client_close(client);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

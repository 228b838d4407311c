/* SPDX-License-Identifier: BSD-3-Clause */
/* POST /v1/sync: heartbeats in the store, and which policy an agent is given. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "data/data.h"
#include "harness.h"
#include "platform_fixture.h"
#include "store/db.h"
#include "store_fixture.h"
#include "tensorguard/sync.h"

enum { TRIES = 200, TRY_US = 25000 };

static struct tg_error e;

static struct tg_sync_request beat(void)
{
	return (struct tg_sync_request){
		.format = TG_SYNC_FORMAT,
		.heartbeat = { .version = "1.2.3",
			       .kernel = "6.1.0-13-amd64",
			       .engine = TG_SYNC_ENGINE_KERNEL,
			       .state = TG_SYNC_UP,
			       .uptime = 17,
			       .real = 1000,
			       .pad = 200,
			       .dummy = 30000,
			       .violations = 4,
			       .restarts = 5,
			       .faults = { "guard-absent", "policy-refused:expired" },
			       .fault_count = 2 },
	};
}

static void sync_with(struct enrol_client *client, const struct tg_sync_request *request,
		      struct tg_sync_answer *ret_answer)
{
	struct enrol_reply reply = { 0 };
	struct tg_bytes text = { 0 };

	CU_ASSERT_EQUAL_FATAL(tg_sync_request_encode(request, &text, &e), 0);
	CU_ASSERT_EQUAL_FATAL(enrol_client_request(client, "/v1/sync", &text, &reply, &e), 0);
	CU_ASSERT_EQUAL_FATAL(reply.status, 200);
	if (tg_sync_answer_decode(reply.body.data, reply.body.len, ret_answer, &e))
		printf("answer: %s\n", e.message);
	CU_ASSERT_EQUAL_FATAL(ret_answer->format, TG_SYNC_FORMAT);
	tg_bytes_free(&text);
	enrol_reply_clear(&reply);
}

/* As `tensorguard-platform policy publish` and `policy lockdown` do. */
static void publish_kind(struct fixture *fixture, enum tg_policy_kind kind, const char *target,
			 int64_t version, int64_t seconds)
{
	char text[] = "version = 1;";
	struct tg_signed_policy policy = { .kind = kind,
					   .version = version,
					   .not_before = time(NULL) - 1000,
					   .not_after = time(NULL) + seconds,
					   .text = { (uint8_t *)text, sizeof(text) - 1 } };
	struct store_policy stored = { .version = version, .kind = kind, .published = 1, .name = "p" };
	struct tg_bytes document = { 0 };
	EVP_PKEY *key = NULL;

	strcpy(policy.target, target);
	strcpy(stored.target, target);
	CU_ASSERT_EQUAL_FATAL(data_policy_key_load(fixture->directory, NULL, &key, &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_signed_policy_sign(&policy, key, &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_signed_policy_encode(&policy, &document, &e), 0);
	CU_ASSERT_EQUAL(store_policy_publish(fixture->store, &stored, &document, &e), 0);
	tg_bytes_free(&document);
	EVP_PKEY_free(key);
}

static void publish(struct fixture *fixture, const char *target, int64_t version, int64_t seconds)
{
	publish_kind(fixture, TG_POLICY_NORMAL, target, version, seconds);
}

/* The version that an agent with version `has` (0: none) is given, 0 for none, when it becomes `wanted`. */
static int64_t given(struct enrol_client *client, int64_t has, int64_t wanted)
{
	struct tg_sync_request request = beat();
	int64_t version = -1;

	request.has_policy = has > 0;
	request.policy.version = has;
	/* the Platform looks into its store once a second */
	for (int i = 0; i < TRIES && version != wanted; i++) {
		struct tg_sync_answer answer = { 0 };

		if (i)
			usleep(TRY_US);
		sync_with(client, &request, &answer);
		version = answer.has_policy ? answer.policy.version : 0;
		tg_sync_answer_clear(&answer);
	}
	return version;
}

static bool stored(struct fixture *fixture, const char *agent, int64_t dummy,
		   struct store_heartbeat *ret_beat)
{
	for (int i = 0; i < TRIES; i++) {
		if (!store_heartbeat_get(fixture->store, agent, ret_beat, &e) && ret_beat->dummy == dummy)
			return true;
		usleep(TRY_US);
	}
	return false;
}

TEST(sync, keeps_the_last_heartbeat_and_says_when_to_come_again)
{
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .agent_rate = 100000 });
	struct tg_sync_request request = beat();
	struct tg_sync_answer answer = { 0 };
	struct store_heartbeat row;
	EVP_PKEY *key = fixture_key();
	struct enrol_client *client;

	fixture_fleet(fixture, "lab", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	client = fixture_agent(fixture, "lab", "arm", key);
	CU_ASSERT_EQUAL(store_heartbeat_get(fixture->store, "arm", &row, &e), -ENOENT);
	sync_with(client, &request, &answer);
	CU_ASSERT(answer.time >= time(NULL) - 5 && answer.time <= time(NULL));
	CU_ASSERT_EQUAL(answer.period, TG_SYNC_PERIOD);
	CU_ASSERT_FALSE(answer.has_policy);
	CU_ASSERT_FATAL(stored(fixture, "arm", 30000, &row));
	CU_ASSERT(row.time >= time(NULL) - 20 && row.time <= time(NULL));
	CU_ASSERT_STRING_EQUAL(row.version, "1.2.3");
	CU_ASSERT_STRING_EQUAL(row.kernel, "6.1.0-13-amd64");
	CU_ASSERT_STRING_EQUAL(row.faults, "guard-absent policy-refused:expired");
	CU_ASSERT_EQUAL(row.engine, TG_SYNC_ENGINE_KERNEL);
	CU_ASSERT_EQUAL(row.state, TG_SYNC_UP);
	CU_ASSERT_EQUAL(row.real + row.pad + row.violations + row.restarts + row.uptime,
			1000 + 200 + 4 + 5 + 17);
	CU_ASSERT_EQUAL(row.policy_version, 0);
	request.heartbeat.dummy = 30001;
	request.heartbeat.fault_count = 0;
	request.has_policy = true;
	request.policy.version = 9;
	for (int i = 0; i < 20; i++, request.heartbeat.dummy++)
		sync_with(client, &request, &answer);
	CU_ASSERT_FATAL(stored(fixture, "arm", 30020, &row));
	CU_ASSERT_STRING_EQUAL(row.faults, "");
	CU_ASSERT_EQUAL(row.policy_version, 9);
	enrol_client_close(client);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

TEST(sync, gives_the_most_specific_policy_that_is_newer)
{
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .agent_rate = 100000 });
	EVP_PKEY *keys[] = { fixture_key(), fixture_key() };
	struct enrol_client *one, *two;

	fixture_fleet(fixture, "lab", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	fixture_fleet(fixture, "plant", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	one = fixture_agent(fixture, "lab", "one", keys[0]);
	two = fixture_agent(fixture, "plant", "two", keys[1]);
	CU_ASSERT_EQUAL(given(one, 0, 0), 0);
	publish(fixture, "fleet:lab", 1, 600);
	CU_ASSERT_EQUAL(given(one, 0, 1), 1);
	CU_ASSERT_EQUAL(given(two, 0, 0), 0);
	CU_ASSERT_EQUAL(given(one, 2, 0), 0);
	/* a label is nobody's until it is given; then it wins over the fleet, whatever is newer */
	publish(fixture, "label:new", 2, 600);
	publish(fixture, "fleet:lab", 3, 600);
	publish(fixture, "fleet:plant", 4, 600);
	CU_ASSERT_EQUAL(given(one, 1, 3), 3);
	CU_ASSERT_EQUAL(store_agent_label(fixture->store, "one", "a new z", &e), 0);
	CU_ASSERT_EQUAL(given(one, 1, 2), 2);
	CU_ASSERT_EQUAL(given(one, 3, 0), 0);
	CU_ASSERT_EQUAL(given(two, 0, 4), 4);
	/* of two labels the newer policy */
	publish(fixture, "label:z", 5, 600);
	CU_ASSERT_EQUAL(given(one, 3, 5), 5);
	publish(fixture, "agent:one", 6, 600);
	CU_ASSERT_EQUAL(given(one, 5, 6), 6);
	CU_ASSERT_EQUAL(given(two, 5, 0), 0);
	/* the same version of another content (its hash is not 0) */
	CU_ASSERT_EQUAL(given(two, 4, 4), 4);
	publish(fixture, "label:z", 7, 600);
	CU_ASSERT_EQUAL(given(one, 5, 6), 6);
	CU_ASSERT_EQUAL(store_policy_withdraw(fixture->store, "agent:one", time(NULL), &e), 0);
	CU_ASSERT_EQUAL(given(one, 6, 7), 7);
	CU_ASSERT_EQUAL(store_policy_withdraw(fixture->store, "agent:one", time(NULL), &e), -ENOENT);
	/* what has ended is not given out */
	publish(fixture, "fleet:plant", 8, -1);
	CU_ASSERT_EQUAL(given(two, 0, 0), 0);
	enrol_client_close(one);
	enrol_client_close(two);
	EVP_PKEY_free(keys[0]);
	EVP_PKEY_free(keys[1]);
	fixture_free(fixture);
}

/* Whatever is given next is newer than what the device has: it takes nothing else. */
TEST(sync, a_lockdown_comes_before_older_policies)
{
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .agent_rate = 100000 });
	EVP_PKEY *keys[] = { fixture_key(), fixture_key() };
	struct enrol_client *one, *two;

	fixture_fleet(fixture, "lab", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	one = fixture_agent(fixture, "lab", "one", keys[0]);
	two = fixture_agent(fixture, "lab", "two", keys[1]);
	CU_ASSERT_EQUAL(store_agent_label(fixture->store, "two", "z", &e), 0);
	publish(fixture, "fleet:lab", 1, 600);
	publish(fixture, "agent:one", 2, 600);
	publish(fixture, "label:z", 3, 600);
	CU_ASSERT_EQUAL(given(one, 0, 2), 2);
	CU_ASSERT_EQUAL(given(two, 0, 3), 3);
	publish_kind(fixture, TG_POLICY_LOCKDOWN, "fleet:lab", 4, 600);
	CU_ASSERT_EQUAL(given(one, 2, 4), 4);
	CU_ASSERT_EQUAL(given(two, 3, 4), 4);
	CU_ASSERT_EQUAL(given(one, 5, 0), 0);
	/* ended for one of the two, then for the fleet: the other one keeps it until its own is newer */
	publish(fixture, "label:z", 5, 600);
	CU_ASSERT_EQUAL(given(two, 4, 5), 5);
	CU_ASSERT_EQUAL(given(one, 2, 4), 4);
	publish(fixture, "fleet:lab", 6, 600);
	CU_ASSERT_EQUAL(given(one, 1, 2), 2);
	CU_ASSERT_EQUAL(given(one, 4, 0), 0);
	publish(fixture, "agent:one", 7, 600);
	CU_ASSERT_EQUAL(given(one, 4, 7), 7);
	/* withdrawn: as if it had not been */
	publish_kind(fixture, TG_POLICY_LOCKDOWN, "label:z", 8, 600);
	CU_ASSERT_EQUAL(given(two, 5, 8), 8);
	CU_ASSERT_EQUAL(store_policy_withdraw(fixture->store, "label:z", time(NULL), &e), 0);
	CU_ASSERT_EQUAL(given(two, 5, 6), 6);
	CU_ASSERT_EQUAL(given(two, 8, 0), 0);
	enrol_client_close(one);
	enrol_client_close(two);
	EVP_PKEY_free(keys[0]);
	EVP_PKEY_free(keys[1]);
	fixture_free(fixture);
}

TEST(sync, publishes_only_what_is_newer)
{
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .agent_rate = 100000 });
	struct store_policy low = { .version = 5, .target = "fleet:lab" }, read = { 0 };
	struct tg_bytes document = { 0 };

	publish(fixture, "fleet:lab", 5, 600);
	CU_ASSERT_EQUAL(store_policy_publish(fixture->store, &low, &document, &e), -ESTALE);
	low.version = 4;
	CU_ASSERT_EQUAL(store_policy_publish(fixture->store, &low, &document, &e), -ESTALE);
	CU_ASSERT_EQUAL(store_policy_get(fixture->store, 4, &read, &document, &e), -ENOENT);
	CU_ASSERT_EQUAL(store_policy_get(fixture->store, 5, &read, &document, &e), 0);
	CU_ASSERT_STRING_EQUAL(read.target, "fleet:lab");
	CU_ASSERT(document.len > 100);
	tg_bytes_free(&document);
	fixture_free(fixture);
}

TEST(sync, refuses_who_and_what_it_must)
{
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .agent_rate = 100000 });
	struct tg_bytes nonsense = { (uint8_t *)(uintptr_t) "{\"format\":1}", 12 }, text = { 0 }, large;
	struct tg_sync_request request = beat();
	EVP_PKEY *key = fixture_key();
	struct enrol_client *client, *nobody;
	struct db *db = NULL;

	fixture_fleet(fixture, "lab", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	client = fixture_agent(fixture, "lab", "arm", key);
	nobody = fixture_client(fixture, NULL, NULL);
	CU_ASSERT_EQUAL_FATAL(tg_sync_request_encode(&request, &text, &e), 0);
	fixture_expect(nobody, "/v1/sync", &text, 401, "certificate-missing");
	fixture_expect(client, "/v1/sync", &nonsense, 400, "malformed");
	CU_ASSERT(fixture_audited(fixture, "sync", "malformed"));
	large = (struct tg_bytes){ calloc(1, TG_SYNC_REQUEST_MAX + 1), TG_SYNC_REQUEST_MAX + 1 };
	fixture_expect(client, "/v1/sync", &large, 413, "size");
	/* revoked in between, on the same connection */
	CU_ASSERT_EQUAL(store_agent_revoke(fixture->store, "arm", "test", 1, &e), 0);
	fixture_expect(client, "/v1/sync", &text, 403, "agent-revoked");
	CU_ASSERT_EQUAL_FATAL(db_open(store_url(), &db, &e), 0);
	CU_ASSERT_EQUAL(db_script(db, "UPDATE agent SET revoked = 0", &e), 0);
	CU_ASSERT_EQUAL(db_script(db, "ALTER TABLE policy RENAME TO gone", &e), 0);
	fixture_expect(client, "/v1/sync", &text, 503, "internal");
	db_close(db);
	tg_bytes_free(&large);
	tg_bytes_free(&text);
	enrol_client_close(client);
	enrol_client_close(nobody);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

/* ---- audit ---- */

/* `count` more records of the chain as a batch. */
static void make_batch(struct tg_audit_chain *chain, size_t count, EVP_PKEY *key, struct tg_bytes *ret_batch)
{
	const struct tg_audit_event event = {
		.time_ms = 1, .actor = "guard", .action = "test", .outcome = "done"
	};
	struct tg_bytes records[TG_AUDIT_BATCH_RECORDS] = { 0 };

	for (size_t i = 0; i < count; i++)
		CU_ASSERT_EQUAL_FATAL(tg_audit_chain_add(chain, &event, &records[i], &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_audit_batch_make(records, count, key, ret_batch, &e), 0);
	for (size_t i = 0; i < count; i++)
		tg_bytes_free(&records[i]);
}

/* That the checkpoint is the ledger's and continues *head, which it becomes. */
static void check_pull(const struct tg_audit_pull *pull, struct tg_tlog_head *head)
{
	struct tg_tlog_head newer;
	struct tg_tlog_proof proof;
	struct tg_tlog_key key;

	CU_ASSERT_EQUAL_FATAL(tg_tlog_key_parse(pull->key, &key, &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_tlog_checkpoint_verify((const char *)pull->checkpoint.data,
							pull->checkpoint.len, &key, &newer, &e),
			      0);
	tg_audit_pull_proof(pull, &proof);
	CU_ASSERT_EQUAL(tg_tlog_check_consistency(&proof, head, &newer, &e), 0);
	*head = newer;
}

TEST(sync, takes_audit_records_and_proves_its_ledger)
{
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .agent_rate = 100000 });
	struct tg_sync_request request = beat();
	struct tg_sync_answer answer = { 0 };
	struct tg_audit_chain chain, before;
	struct tg_tlog_head head = { .size = 0 };
	EVP_PKEY *key = fixture_key(), *other;
	struct enrol_client *client;
	uint64_t first;

	fixture_fleet(fixture, "lab", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	client = fixture_agent(fixture, "lab", "arm", key);
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_begin("arm", &chain, &e), 0);
	request.has_audit = true;
	sync_with(client, &request, &answer);
	CU_ASSERT_FATAL(answer.has_audit);
	CU_ASSERT_EQUAL(answer.audit.stored, 0);
	check_pull(&answer.audit, &head);
	first = head.size;
	tg_sync_answer_clear(&answer);
	for (int i = 0; i < 3; i++) {
		before = chain;
		make_batch(&chain, 5, key, &request.audit.batch);
		request.audit.checkpoint = head.size;
		memset(&answer, 0, sizeof(answer));
		sync_with(client, &request, &answer);
		CU_ASSERT_EQUAL(answer.audit.stored, chain.sequence);
		CU_ASSERT_STRING_EQUAL(answer.audit.refused, "");
		check_pull(&answer.audit, &head);
		CU_ASSERT(head.size >= first + chain.sequence);
		tg_sync_answer_clear(&answer);
		tg_bytes_free(&request.audit.batch);
	}
	/* another past */
	other = fixture_key();
	make_batch(&before, 5, other, &request.audit.batch);
	memset(&answer, 0, sizeof(answer));
	sync_with(client, &request, &answer);
	CU_ASSERT_STRING_EQUAL(answer.audit.refused, "audit-signature");
	tg_sync_answer_clear(&answer);
	tg_bytes_free(&request.audit.batch);
	CU_ASSERT_TRUE(fixture_audited(fixture, "audit", "audit-signature"));
	enrol_client_close(client);
	EVP_PKEY_free(other);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

/* A ledger that does not work keeps no lockdown from an agent that has records to hand over. */
TEST(sync, gives_policies_while_the_ledger_fails)
{
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .agent_rate = 100000 });
	struct tg_sync_request request = beat();
	struct tg_sync_answer answer = { 0 };
	struct tg_audit_chain chain;
	struct tg_tlog_head head = { .size = 0 };
	EVP_PKEY *key = fixture_key();
	struct enrol_client *client;
	struct db *db = NULL;
	uint64_t failures;

	fixture_fleet(fixture, "lab", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	client = fixture_agent(fixture, "lab", "arm", key);
	publish_kind(fixture, TG_POLICY_LOCKDOWN, "fleet:lab", 1, 600);
	CU_ASSERT_EQUAL(given(client, 0, 1), 1);
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_begin("arm", &chain, &e), 0);
	make_batch(&chain, 5, key, &request.audit.batch);
	request.has_audit = true;
	CU_ASSERT_EQUAL_FATAL(db_open(store_url(), &db, &e), 0);
	CU_ASSERT_EQUAL(db_script(db, "ALTER TABLE ledger_leaf RENAME TO gone", &e), 0);
	failures = metrics_value(&fixture->platform->metrics, METRICS_STORE_FAILURES);
	sync_with(client, &request, &answer);
	CU_ASSERT_FALSE(answer.has_audit);
	CU_ASSERT_FATAL(answer.has_policy);
	CU_ASSERT_EQUAL(answer.policy.kind, TG_POLICY_LOCKDOWN);
	CU_ASSERT_EQUAL(metrics_value(&fixture->platform->metrics, METRICS_STORE_FAILURES), failures + 1);
	tg_sync_answer_clear(&answer);
	/* said again when it works again */
	CU_ASSERT_EQUAL(db_script(db, "ALTER TABLE gone RENAME TO ledger_leaf", &e), 0);
	memset(&answer, 0, sizeof(answer));
	sync_with(client, &request, &answer);
	CU_ASSERT_EQUAL(answer.audit.stored, 5);
	check_pull(&answer.audit, &head);
	tg_sync_answer_clear(&answer);
	tg_bytes_free(&request.audit.batch);
	db_close(db);
	enrol_client_close(client);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

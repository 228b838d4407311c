/* SPDX-License-Identifier: BSD-3-Clause */
/* The store, on the back-end that $TEST_STORE names: the same tests for both. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "store/db.h"
#include "store_fixture.h"

TEST(store, schema_is_new_and_opens_again)
{
	struct store *store = fresh_store();
	int64_t version = 0;

	CU_ASSERT_EQUAL(store_schema_version(store, &version, NULL), 0);
	CU_ASSERT_EQUAL(version, store_schema_latest());
	make_fleet(store, "robots");
	store_close(store);
	store = NULL;
	CU_ASSERT_EQUAL_FATAL(store_open(store_url(), &store, NULL), 0);
	CU_ASSERT_EQUAL(store_fleet_get(store, "robots", &(struct store_fleet){ 0 }, NULL), 0);
	store_close(store);
}

TEST(store, newer_schema_is_refused)
{
	struct tg_error e = { "" };
	struct store *store = fresh_store();
	struct db *db = NULL;

	store_close(store);
	CU_ASSERT_EQUAL_FATAL(db_open(store_url(), &db, &e), 0);
	CU_ASSERT_EQUAL(db_script(db, "INSERT INTO schema_version VALUES (9999, 1)", &e), 0);
	db_close(db);
	store = NULL;
	CU_ASSERT_EQUAL(store_open(store_url(), &store, &e), -EPROTO);
	CU_ASSERT_PTR_NULL(store);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.message, "9999"));
}

TEST(store, unknown_address_is_refused)
{
	struct tg_error e = { "" };
	struct store *store = NULL;

	CU_ASSERT_EQUAL(store_open("mysql://user:secret@host", &store, &e), -EINVAL);
	CU_ASSERT_PTR_NULL(strstr(e.message, "secret"));
}

TEST(store, fleet_comes_back_as_it_was)
{
	struct store_fleet fleet = { .name = "robots",
				     .levels = 6,
				     .pcr_mask = 0x800091,
				     .pcr_count = 2,
				     .event_log_optional = true,
				     .created = NOW },
			   back = { 0 };
	struct store *store = fresh_store();

	fleet.pcrs[0].index = 23;
	memset(fleet.pcrs[0].value, 0xfe, STORE_HASH_LEN);
	fleet.pcrs[1].index = 0;
	CU_ASSERT_EQUAL(store_fleet_create(store, &fleet, NULL), 0);
	CU_ASSERT_EQUAL(store_fleet_get(store, "robots", &back, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(&fleet, &back, sizeof(fleet)), 0);
	CU_ASSERT_EQUAL(store_fleet_create(store, &fleet, NULL), -EEXIST);
	fleet.levels = 2;
	fleet.pcr_count = 0;
	memset(fleet.pcrs, 0, sizeof(fleet.pcrs));
	CU_ASSERT_EQUAL(store_fleet_set(store, &fleet, NULL), 0);
	memset(&back, 0, sizeof(back));
	CU_ASSERT_EQUAL(store_fleet_get(store, "robots", &back, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(&fleet, &back, sizeof(fleet)), 0);
	snprintf(fleet.name, sizeof(fleet.name), "others");
	CU_ASSERT_EQUAL(store_fleet_set(store, &fleet, NULL), -ENOENT);
	CU_ASSERT_EQUAL(store_fleet_get(store, "others", &back, NULL), -ENOENT);
	store_close(store);
}

TEST(store, token_comes_back_as_it_was)
{
	struct store_token token = { .id = "one",
				     .fleet = "robots",
				     .pinned = true,
				     .name = "arm-7",
				     .created = NOW,
				     .expires = NOW + 60 },
			   back = { 0 };
	struct store *store = fresh_store();

	memset(token.hash, 0xff, sizeof(token.hash));
	memset(token.ek_hash, 0x11, sizeof(token.ek_hash));
	CU_ASSERT_EQUAL(store_token_create(store, &token, NULL), -ENOENT);
	make_fleet(store, "robots");
	CU_ASSERT_EQUAL(store_token_create(store, &token, NULL), 0);
	CU_ASSERT_EQUAL(store_token_find(store, token.hash, &back, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(&token, &back, sizeof(token)), 0);
	token.hash[31] ^= 1;
	CU_ASSERT_EQUAL(store_token_find(store, token.hash, &back, NULL), -ENOENT);
	store_close(store);
}

TEST(store, token_states)
{
	struct store_token token = { .expires = NOW };

	CU_ASSERT_EQUAL(store_token_state(&token, NOW - 1), TOKEN_UNUSED);
	CU_ASSERT_EQUAL(store_token_state(&token, NOW), TOKEN_EXPIRED);
	token.revoked = NOW;
	CU_ASSERT_EQUAL(store_token_state(&token, NOW - 1), TOKEN_REVOKED);
	token.used = NOW;
	CU_ASSERT_EQUAL(store_token_state(&token, NOW + 9), TOKEN_USED);
}

TEST(store, token_revoked_once)
{
	struct store *store = fresh_store();
	struct store_enrolment wanted = enrolment(1, "robots", "a", 1, "01");

	make_fleet(store, "robots");
	make_token(store, "robots", 1);
	CU_ASSERT_EQUAL(store_token_revoke(store, "nobody", NOW, NULL), -ENOENT);
	CU_ASSERT_EQUAL(store_token_revoke(store, "token-01", NOW, NULL), 0);
	CU_ASSERT_EQUAL(store_token_revoke(store, "token-01", NOW, NULL), -EALREADY);
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_TOKEN_REVOKED);
	store_close(store);
}

TEST(store, enrolment_consumes_the_token)
{
	struct store_enrolment wanted = enrolment(1, "robots", "arm", 7, "0a"), again;
	struct store *store = fresh_store();
	struct store_agent agent = { 0 };
	struct store_token token = { 0 };

	make_fleet(store, "robots");
	make_token(store, "robots", 1);
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_ACCEPTED);
	CU_ASSERT_EQUAL(store_agent_get(store, "arm", &agent, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(agent.identity, wanted.agent.identity, STORE_HASH_LEN), 0);
	CU_ASSERT_EQUAL(agent.ak_public_len, 100);
	CU_ASSERT_EQUAL(memcmp(agent.ak_public, wanted.agent.ak_public, 100), 0);
	CU_ASSERT_EQUAL(agent.level, FLEET_LEVEL);
	CU_ASSERT_EQUAL(agent.not_after, NOW + 86400);
	CU_ASSERT_EQUAL(count_certificates(store, "arm"), 1);
	CU_ASSERT_EQUAL(store_token_find(store, wanted.token_hash, &token, NULL), 0);
	CU_ASSERT_EQUAL(token.used, NOW);
	CU_ASSERT_STRING_EQUAL(token.agent, "arm");
	again = enrolment(1, "robots", "arm", 7, "0b");
	CU_ASSERT_EQUAL(enrol(store, &again), STORE_TOKEN_USED);
	CU_ASSERT_EQUAL(count_certificates(store, "arm"), 1);
	CU_ASSERT_EQUAL(store_token_revoke(store, "token-01", NOW, NULL), -EALREADY);
	store_close(store);
}

TEST(store, enrolment_refusals)
{
	struct store_enrolment wanted;
	struct store_token pinned = { .id = "pinned", .fleet = "robots", .pinned = true, .expires = NOW + 9 };
	struct store_token named = { .id = "named", .fleet = "robots", .name = "arm-1", .expires = NOW + 9 };
	struct store *store = fresh_store();

	make_fleet(store, "robots");
	make_fleet(store, "others");
	make_token(store, "robots", 1);
	memset(pinned.hash, 2, sizeof(pinned.hash));
	memset(pinned.ek_hash, 9, sizeof(pinned.ek_hash));
	memset(named.hash, 3, sizeof(named.hash));
	CU_ASSERT_EQUAL(store_token_create(store, &pinned, NULL), 0);
	CU_ASSERT_EQUAL(store_token_create(store, &named, NULL), 0);
	wanted = enrolment(8, "robots", "a", 1, "01");
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_TOKEN_UNKNOWN);
	wanted = enrolment(1, "others", "a", 1, "01");
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_TOKEN_FLEET);
	wanted = enrolment(1, "robots", "a", 1, "01");
	wanted.now = NOW + 3600;
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_TOKEN_EXPIRED);
	wanted.now = NOW;
	wanted.agent.level = FLEET_LEVEL + 1;
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_LEVEL_REFUSED);
	wanted = enrolment(2, "robots", "a", 8, "01");
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_TOKEN_PINNED);
	wanted = enrolment(3, "robots", "arm-2", 8, "01");
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_TOKEN_NAME);
	CU_ASSERT_EQUAL(store_agent_get(store, "a", &wanted.agent, NULL), -ENOENT);
	wanted = enrolment(2, "robots", "a", 9, "01");
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_ACCEPTED);
	wanted = enrolment(3, "robots", "arm-1", 8, "02");
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_ACCEPTED);
	store_close(store);
}

/* CVE-2025-13609: a second EK must not take over an id, nor an EK a second id. */
TEST(store, an_id_has_one_ek)
{
	struct store *store = fresh_store();
	struct store_enrolment wanted = enrolment(1, "robots", "arm", 7, "01");

	make_fleet(store, "robots");
	make_token(store, "robots", 1);
	make_token(store, "robots", 2);
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_ACCEPTED);
	wanted = enrolment(2, "robots", "arm", 8, "02");
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_AGENT_TAKEN);
	wanted = enrolment(2, "robots", "leg", 7, "02");
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_AGENT_TAKEN);
	CU_ASSERT_EQUAL(count_certificates(store, "arm"), 1);
	/* the same device may enrol again with a token of its own */
	wanted = enrolment(2, "robots", "arm", 7, "02");
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_ACCEPTED);
	CU_ASSERT_EQUAL(count_certificates(store, "arm"), 2);
	store_close(store);
}

TEST(store, a_revoked_agent_stays_out)
{
	struct store *store = fresh_store();
	struct store_enrolment wanted = enrolment(1, "robots", "arm", 7, "01");
	enum store_refusal refusal = STORE_ACCEPTED;
	struct store_agent agent;

	make_fleet(store, "robots");
	make_token(store, "robots", 1);
	make_token(store, "robots", 2);
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_ACCEPTED);
	CU_ASSERT_EQUAL(store_agent_revoke(store, "arm", "stolen", NOW + 1, NULL), 0);
	CU_ASSERT_EQUAL(store_agent_revoke(store, "arm", "stolen", NOW + 1, NULL), -EALREADY);
	CU_ASSERT_EQUAL(store_agent_get(store, "arm", &agent, NULL), 0);
	CU_ASSERT_EQUAL(agent.revoked, NOW + 1);
	CU_ASSERT_STRING_EQUAL(agent.reason, "stolen");
	wanted = enrolment(2, "robots", "arm", 7, "02");
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_AGENT_REVOKED);
	CU_ASSERT_EQUAL(store_begin(store, NULL), 0);
	CU_ASSERT_EQUAL(store_renew(store, &wanted, &refusal, NULL), 0);
	CU_ASSERT_EQUAL(refusal, STORE_AGENT_REVOKED);
	store_rollback(store);
	CU_ASSERT_EQUAL(count_certificates(store, "arm"), 1);
	store_close(store);
}

static enum store_refusal renew(struct store *store, const struct store_enrolment *wanted)
{
	enum store_refusal refusal = STORE_REFUSALS;

	CU_ASSERT_EQUAL_FATAL(store_begin(store, NULL), 0);
	CU_ASSERT_EQUAL(store_renew(store, wanted, &refusal, NULL), 0);
	CU_ASSERT_EQUAL(store_commit(store, NULL), 0);
	return refusal;
}

TEST(store, renewal)
{
	struct store *store = fresh_store();
	struct store_enrolment wanted = enrolment(1, "robots", "arm", 7, "01");

	make_fleet(store, "robots");
	make_token(store, "robots", 1);
	CU_ASSERT_EQUAL(renew(store, &wanted), STORE_AGENT_UNKNOWN);
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_ACCEPTED);
	for (int i = 2; i < 6; i++) {
		snprintf(wanted.certificate.serial, sizeof(wanted.certificate.serial), "%02d", i);
		wanted.now += 86400;
		wanted.certificate.not_after = wanted.now + 86400;
		CU_ASSERT_EQUAL(renew(store, &wanted), STORE_ACCEPTED);
	}
	/* the token's own, the last one, and the one that ends just now */
	CU_ASSERT_EQUAL(count_certificates(store, "arm"), 3);
	wanted.agent.identity[0] ^= 1;
	CU_ASSERT_EQUAL(renew(store, &wanted), STORE_AGENT_TAKEN);
	store_close(store);
}

TEST(store, a_serial_number_is_used_once)
{
	struct store *store = fresh_store();
	struct store_enrolment wanted = enrolment(1, "robots", "arm", 7, "01");
	enum store_refusal refusal = STORE_ACCEPTED;

	make_fleet(store, "robots");
	make_token(store, "robots", 1);
	make_token(store, "robots", 2);
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_ACCEPTED);
	wanted = enrolment(2, "robots", "leg", 8, "01");
	CU_ASSERT_EQUAL(store_begin(store, NULL), 0);
	CU_ASSERT_EQUAL(store_enrol(store, &wanted, &refusal, NULL), -EEXIST);
	store_rollback(store);
	/* and nothing of it stays */
	CU_ASSERT_EQUAL(store_agent_get(store, "leg", &wanted.agent, NULL), -ENOENT);
	wanted = enrolment(2, "robots", "leg", 8, "02");
	CU_ASSERT_EQUAL(enrol(store, &wanted), STORE_ACCEPTED);
	store_close(store);
}

static int last_sequence(void *arg, const struct store_audit *record)
{
	*(int64_t *)arg = record->sequence;
	CU_ASSERT_STRING_EQUAL(record->detail, "\xc3\xa4 'quoted' \"text\"; DROP TABLE audit");
	CU_ASSERT_STRING_EQUAL(record->outcome, "done");
	return 1;
}

TEST(store, audit_is_numbered)
{
	struct store_audit record = { .time = NOW,
				      .actor = "operator",
				      .action = "test",
				      .target = "",
				      .outcome = "done",
				      .detail = "\xc3\xa4 'quoted' \"text\"; DROP TABLE audit" };
	struct store *store = fresh_store();
	int64_t sequence = 0;

	for (int i = 1; i <= 3; i++) {
		CU_ASSERT_EQUAL(store_audit_add(store, &record, NULL), 0);
		CU_ASSERT_EQUAL(store_audit_each(store, 1, last_sequence, &sequence, NULL), 0);
		CU_ASSERT_EQUAL(sequence, i);
	}
	store_close(store);
}

TEST(store, a_savepoint_is_undone_alone)
{
	struct store *store = fresh_store();
	struct store_fleet fleet = { .name = "twice" }, back;

	CU_ASSERT_EQUAL(store_begin(store, NULL), 0);
	CU_ASSERT_EQUAL(store_savepoint(store, NULL), 0);
	CU_ASSERT_EQUAL(store_fleet_create(store, &fleet, NULL), 0);
	CU_ASSERT_EQUAL(store_savepoint_keep(store, NULL), 0);
	CU_ASSERT_EQUAL(store_savepoint(store, NULL), 0);
	CU_ASSERT_EQUAL(store_fleet_create(store, &fleet, NULL), -EEXIST);
	CU_ASSERT_EQUAL(store_savepoint_undo(store, NULL), 0);
	CU_ASSERT_EQUAL(store_commit(store, NULL), 0);
	CU_ASSERT_EQUAL(store_fleet_get(store, "twice", &back, NULL), 0);
	store_close(store);
}

/* Whoever can write to the store can do harm, but not to the memory of the Platform. */
TEST(store, blobs_of_another_length_are_not_taken)
{
	struct store *store = fresh_store();
	struct store_fleet fleet = { .name = "odd", .levels = 2, .pcr_mask = 1, .created = 1 };
	static const uint8_t blob[33 * (STORE_PCRS_MAX + 1)];
	static const size_t lengths[] = { sizeof(blob), 32, 34 };
	struct db *db = NULL;
	struct tg_error e = { "" };

	CU_ASSERT_EQUAL(store_fleet_create(store, &fleet, &e), 0);
	CU_ASSERT_EQUAL_FATAL(db_open(store_url(), &db, &e), 0);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		CU_ASSERT_EQUAL(db_run(db, "UPDATE fleet SET pcrs = $1 WHERE name = 'odd'",
				       DB_VALUES(db_blob(blob, lengths[i])), NULL, NULL, &e),
				1);
		CU_ASSERT_EQUAL(store_fleet_get(store, "odd", &fleet, &e), 0);
		CU_ASSERT_EQUAL(fleet.pcr_count, 0);
		CU_ASSERT_EQUAL(fleet.levels, 0);
	}
	db_close(db);
	store_close(store);
}

static int take_number(void *arg, const struct db_row *row)
{
	*(int64_t *)arg = db_row_int(row, 0);
	return 0;
}

static int64_t insert_trust(struct db *db, int64_t version)
{
	return db_run(db, "INSERT INTO trust VALUES (0, $1, $2, 1, 1, 1)",
		      DB_VALUES(db_int(version), db_blob(&version, sizeof(version))), NULL, NULL, NULL);
}

/* The server ends the connection in the middle of a transaction: nothing of it is done, and it is said. */
TEST(store, a_lost_connection_takes_its_transaction_along)
{
	struct db *db = NULL, *other = NULL;
	int64_t process = 0, count = -1;

	if (strncmp(store_url(), "postgresql:", 11))
		return; /* the embedded one has no connection */
	store_close(fresh_store());
	CU_ASSERT_EQUAL_FATAL(db_open(store_url(), &db, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(db_open(store_url(), &other, NULL), 0);
	CU_ASSERT_EQUAL(db_begin(db, NULL), 0);
	CU_ASSERT_EQUAL(insert_trust(db, 1), 1);
	CU_ASSERT_EQUAL(db_run(db, "SELECT pg_backend_pid()::bigint", NULL, 0, take_number, &process, NULL),
			1);
	CU_ASSERT_EQUAL(db_run(other, "SELECT pg_terminate_backend(CAST($1 AS BIGINT)::integer, 5000)",
			       DB_VALUES(db_int(process)), NULL, NULL, NULL),
			1);
	for (int64_t version = 2; version < 5; version++)
		CU_ASSERT(insert_trust(db, version) < 0);
	CU_ASSERT(db_commit(db, NULL) < 0);
	CU_ASSERT_EQUAL(db_run(other, "SELECT COUNT(*) FROM trust", NULL, 0, take_number, &count, NULL), 1);
	CU_ASSERT_EQUAL(count, 0);
	/* the next one has a connection again */
	CU_ASSERT_EQUAL(db_begin(db, NULL), 0);
	CU_ASSERT_EQUAL(insert_trust(db, 5), 1);
	CU_ASSERT_EQUAL(db_commit(db, NULL), 0);
	db_close(db);
	db_close(other);
}

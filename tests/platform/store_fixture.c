/* SPDX-License-Identifier: BSD-3-Clause */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/db.h"
#include "store_fixture.h"

const char *store_url(void)
{
	const char *url = getenv("TEST_STORE");

	if (!url) {
		fprintf(stderr, "platform-tests: TEST_STORE is not set; tests/platform/run does that\n");
		exit(EXIT_FAILURE);
	}
	return url;
}

static void empty_files(const char *path)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	char name[512];

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		unlink(name);
	}
}

static void empty_schema(const char *url)
{
	struct tg_error e = { "" };
	struct db *db = NULL;

	CU_ASSERT_EQUAL_FATAL(db_open(url, &db, &e), 0);
	CU_ASSERT_EQUAL_FATAL(db_script(db, "DROP SCHEMA public CASCADE; CREATE SCHEMA public", &e), 0);
	db_close(db);
}

struct store *fresh_store(void)
{
	const char *url = store_url();
	struct tg_error e = { "" };
	struct store *store = NULL;

	if (!strncmp(url, "sqlite:", 7))
		empty_files(url + 7);
	else
		empty_schema(url);
	if (store_open(url, &store, &e))
		printf("store: %s\n", e.message);
	CU_ASSERT_PTR_NOT_NULL_FATAL(store);
	return store;
}

void make_fleet(struct store *store, const char *name)
{
	struct store_fleet fleet = { .levels = 1u << FLEET_LEVEL, .pcr_mask = 0xff, .created = NOW };

	snprintf(fleet.name, sizeof(fleet.name), "%s", name);
	CU_ASSERT_EQUAL(store_fleet_create(store, &fleet, NULL), 0);
}

struct store_token make_token(struct store *store, const char *fleet, uint8_t byte)
{
	struct store_token token = { .created = NOW, .expires = NOW + 3600 };

	snprintf(token.id, sizeof(token.id), "token-%02x", byte);
	snprintf(token.fleet, sizeof(token.fleet), "%s", fleet);
	memset(token.hash, byte, sizeof(token.hash));
	CU_ASSERT_EQUAL(store_token_create(store, &token, NULL), 0);
	return token;
}

struct store_enrolment enrolment(uint8_t token_byte, const char *fleet, const char *id, uint8_t device,
				 const char *serial)
{
	struct store_enrolment made = { .agent = { .level = FLEET_LEVEL, .not_after = NOW + 86400 },
					.certificate = { .not_after = NOW + 86400 },
					.now = NOW };

	memset(made.token_hash, token_byte, sizeof(made.token_hash));
	memset(made.agent.identity, device, sizeof(made.agent.identity));
	memset(made.agent.ak_public, device, 100);
	made.agent.ak_public_len = 100;
	snprintf(made.agent.id, sizeof(made.agent.id), "%s", id);
	snprintf(made.agent.fleet, sizeof(made.agent.fleet), "%s", fleet);
	snprintf(made.certificate.serial, sizeof(made.certificate.serial), "%s", serial);
	return made;
}

enum store_refusal enrol(struct store *store, const struct store_enrolment *wanted)
{
	enum store_refusal refusal = STORE_REFUSALS;
	struct tg_error e = { "" };

	CU_ASSERT_EQUAL_FATAL(store_begin(store, &e), 0);
	if (store_enrol(store, wanted, &refusal, &e))
		printf("store_enrol: %s\n", e.message);
	CU_ASSERT_EQUAL(store_commit(store, &e), 0);
	return refusal;
}

static int count(void *arg, const struct store_certificate *certificate)
{
	(void)certificate;
	++*(int *)arg;
	return 0;
}

int count_certificates(struct store *store, const char *agent)
{
	int n = 0;

	CU_ASSERT_EQUAL(store_certificate_each(store, agent, count, &n, NULL), 0);
	return n;
}

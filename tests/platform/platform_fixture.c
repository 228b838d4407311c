/* SPDX-License-Identifier: BSD-3-Clause */
#include <CUnit/CUnit.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "data/key.h"
#include "platform_fixture.h"
#include "store_fixture.h"
#include "tensorguard/crypto.h"
#include "tensorguard/hex.h"

/* Something in the tests' own setting failed: nothing that follows would mean anything. */
static void must(int ret, const struct tg_error *e)
{
	if (!ret)
		return;
	printf("platform fixture: %s\n", e->message);
	abort();
}

static void pin(const struct fixture *fixture, X509 *roots)
{
	struct tg_error e = { "" };
	char path[128];

	if (!roots)
		return;
	snprintf(path, sizeof(path), "%s/ek-roots/vendor.pem", fixture->directory);
	must(cert_save(path, roots, &e), &e);
}

struct fixture *fixture_new(X509 *roots, unsigned lifetime)
{
	return fixture_limited(roots, &(struct fixture_limits){ .lifetime = lifetime });
}

int fixture_reload(struct fixture *fixture)
{
	return platform_reload(fixture->platform, &fixture->config, NULL);
}

static unsigned either(unsigned value, unsigned standard)
{
	return value ? value : standard;
}

struct fixture *fixture_limited(X509 *roots, const struct fixture_limits *limits)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct tg_error e = { "" };
	struct data_init init = { .store = store_url(), .names = "localhost" };
	struct platform_config config = { .listen = "127.0.0.1:0",
					  .workers = 2,
					  .connections = either(limits->connections, 1000),
					  .rate = either(limits->rate, 100000),
					  .agent_rate = either(limits->agent_rate, PLATFORM_AGENT_RATE),
					  .policy_ms = 20,
					  .token_rate = either(limits->token_rate, PLATFORM_TOKEN_RATE),
					  .lifetime = either(limits->lifetime, 86400) };

	if (!fixture)
		abort();
	/* a connection that the server has closed is an error of the call, not the end of the tests */
	signal(SIGPIPE, SIG_IGN);
	store_close(fresh_store());
	snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/platform-tests.XXXXXX");
	if (!mkdtemp(fixture->directory))
		abort();
	init.directory = config.data = fixture->directory;
	fixture->config = config;
	must(data_init(&init, &e), &e);
	pin(fixture, roots);
	must(platform_start(&config, &fixture->platform, &e), &e);
	must(store_open(store_url(), &fixture->store, &e), &e);
	snprintf(fixture->ca_file, sizeof(fixture->ca_file), "%s/ca.crt", fixture->directory);
	fixture->place = (struct enrol_place){ server_port(fixture->platform->server), fixture->ca_file };
	return fixture;
}

void fixture_free(struct fixture *fixture)
{
	char command[128];

	platform_stop(fixture->platform);
	store_close(fixture->store);
	snprintf(command, sizeof(command), "rm -rf '%s'", fixture->directory);
	CU_ASSERT_EQUAL(system(command), 0);
	free(fixture);
}

void fixture_fleet(struct fixture *fixture, const char *name, unsigned levels)
{
	struct store_fleet fleet = { .levels = levels, .pcr_mask = 0xff, .created = time(NULL) };
	struct tg_error e = { "" };

	snprintf(fleet.name, sizeof(fleet.name), "%s", name);
	must(store_fleet_create(fixture->store, &fleet, &e), &e);
}

void fixture_token(struct fixture *fixture, const char *fleet, const char *name, int64_t seconds,
		   char ret_secret[static TOKEN_TEXT_SIZE])
{
	struct store_token token = { .created = time(NULL) };
	struct tg_error e = { "" };
	uint8_t secret[32];

	must(tg_random(secret, sizeof(secret), &e), &e);
	tg_hex(secret, sizeof(secret), ret_secret);
	tg_hex(secret, 8, token.id);
	must(tg_sha256(&(struct tg_piece){ ret_secret, 64 }, 1, token.hash, &e), &e);
	token.expires = token.created + seconds;
	snprintf(token.fleet, sizeof(token.fleet), "%s", fleet);
	snprintf(token.name, sizeof(token.name), "%s", name ? name : "");
	must(store_token_create(fixture->store, &token, &e), &e);
}

struct wanted {
	const char *action, *outcome;
	bool found;
};

static int look(void *arg, const struct store_audit *record)
{
	struct wanted *wanted = arg;

	wanted->found = !strcmp(record->action, wanted->action) && !strcmp(record->outcome, wanted->outcome);
	return wanted->found;
}

bool fixture_audited(struct fixture *fixture, const char *action, const char *outcome)
{
	struct wanted wanted = { action, outcome, false };

	/* the record follows the answer: it waits for nobody */
	for (int i = 0; i < 1000 && !wanted.found; i++) {
		store_audit_each(fixture->store, 100, look, &wanted, NULL);
		if (!wanted.found)
			usleep(10000);
	}
	return wanted.found;
}

uint64_t fixture_refusals(const struct fixture *fixture, const char *reason)
{
	const struct metrics *metrics = &fixture->platform->metrics;

	for (size_t i = 0; i < METRICS_REASONS && metrics->refusals[i].name; i++)
		if (!strcmp(metrics->refusals[i].name, reason))
			return metrics->refusals[i].count;
	return 0;
}

struct sum {
	struct store *store;
	int certificates;
};

static int add_agent(void *arg, const struct store_agent *agent)
{
	struct sum *sum = arg;

	sum->certificates += count_certificates(sum->store, agent->id);
	return 0;
}

int fixture_certificates(struct fixture *fixture)
{
	struct sum sum = { 0 };
	struct tg_error e = { "" };

	must(store_open(store_url(), &sum.store, &e), &e);
	must(store_agent_each(fixture->store, add_agent, &sum, &e), &e);
	store_close(sum.store);
	return sum.certificates;
}

EVP_PKEY *fixture_key(void)
{
	EVP_PKEY *key = NULL;

	CU_ASSERT_EQUAL_FATAL(tg_p256_generate(&key, NULL), 0);
	return key;
}

struct enrol_client *fixture_client(struct fixture *fixture, X509 *cert, EVP_PKEY *key)
{
	struct enrol_client *client = NULL;
	struct tg_error e = { "" };

	if (enrol_client_open(&fixture->place, cert, key, &client, &e))
		printf("client: %s\n", e.message);
	CU_ASSERT_PTR_NOT_NULL_FATAL(client);
	return client;
}

X509 *fixture_parse(const struct tg_bytes *pem)
{
	BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	CU_ASSERT_PTR_NOT_NULL_FATAL(cert);
	return cert;
}

X509 *fixture_enrol(struct fixture *fixture, const char *token, EVP_PKEY *key, struct enrol_reply *ret_reply)
{
	struct enrol_client *client = fixture_client(fixture, NULL, NULL);
	struct tg_enrol_issued issued = { 0 };
	struct tg_error e = { "" };
	X509 *cert = NULL;

	memset(ret_reply, 0, sizeof(*ret_reply));
	CU_ASSERT_EQUAL(enrol_client_software(client, token, key, &issued, ret_reply, &e), 0);
	if (ret_reply->status == 200)
		cert = fixture_parse(&issued.certificate);
	tg_enrol_issued_clear(&issued);
	enrol_reply_clear(&(struct enrol_reply){ .body = ret_reply->body });
	ret_reply->body = (struct tg_bytes){ 0 };
	enrol_client_close(client);
	return cert;
}

void fixture_refused(const struct enrol_reply *reply, int status, const char *reason)
{
	CU_ASSERT_EQUAL(reply->status, status);
	CU_ASSERT_STRING_EQUAL(reply->reason, reason);
	if (reply->status != status || strcmp(reply->reason, reason) != 0)
		printf("expected %d %s, got %d %s\n", status, reason, reply->status, reply->reason);
}

void fixture_expect(struct enrol_client *client, const char *path, const struct tg_bytes *body, int status,
		    const char *reason)
{
	struct enrol_reply reply = { 0 };
	struct tg_error e = { "" };

	CU_ASSERT_EQUAL(enrol_client_request(client, path, body, &reply, &e), 0);
	if (reply.status != status)
		printf("%s: ", path);
	fixture_refused(&reply, status, reason);
	enrol_reply_clear(&reply);
}

struct enrol_client *fixture_agent(struct fixture *fixture, const char *fleet, const char *name,
				   EVP_PKEY *key)
{
	struct enrol_client *client;
	char token[TOKEN_TEXT_SIZE];
	struct enrol_reply reply;
	X509 *cert;

	fixture_token(fixture, fleet, name, 60, token);
	cert = fixture_enrol(fixture, token, key, &reply);
	CU_ASSERT_PTR_NOT_NULL_FATAL(cert);
	client = fixture_client(fixture, cert, key);
	X509_free(cert);
	return client;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HTTP: what a client sends within TLS, to a whole Platform in this process. The first byte of an input says
 * whose certificate the client has, 'a' an agent's, 'o' an operator's, another one nobody's; the rest goes as
 * it is. The store has a fleet "robots" and a token "token" that is unused.
 */
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/platform.h"
#include "common/enrol_client.h"
#include "data/key.h"
#include "tensorguard/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ANSWER_SIZE = 256 * 1024, RATE = 1000000 };

static struct platform *platform;
static char directory[64], ca_file[96];
static struct enrol_place place;
static struct {
	X509 *cert;
	EVP_PKEY *key;
} agent, operator;

static void must(bool done, const char *what)
{
	if (done)
		return;
	fprintf(stderr, "fuzz_http: %s\n", what);
	abort();
}

static void add_token(struct store *store, const char *secret, const char *id)
{
	struct store_token token = { .fleet = "robots", .created = time(NULL) };

	snprintf(token.id, sizeof(token.id), "%s", id);
	token.expires = token.created + 365 * 86400ll;
	must(!tg_sha256(&(struct tg_piece){ secret, strlen(secret) }, 1, token.hash, NULL) &&
		     !store_token_create(store, &token, NULL),
	     "token");
}

static void fill_store(void)
{
	struct store_fleet fleet = { .name = "robots",
				     .levels = TG_ALLOW(TG_ASSURANCE_SOFTWARE) |
					       TG_ALLOW(TG_ASSURANCE_TPM_UNENDORSED),
				     .pcr_mask = 0xff,
				     .created = time(NULL) };
	struct store *store = NULL;
	char url[128];

	must(!data_store_url(directory, url, sizeof(url), NULL) && !store_open(url, &store, NULL), "store");
	must(!store_fleet_create(store, &fleet, NULL), "fleet");
	add_token(store, "token", "unused");
	add_token(store, "token-of-the-agent", "used");
	store_close(store);
}

static void enrol_agent(void)
{
	struct tg_enrol_issued issued = { 0 };
	struct enrol_reply reply = { 0 };
	struct enrol_client *client;
	BIO *pem;

	must(!tg_p256_generate(&agent.key, NULL), "key");
	must(!enrol_client_open(&place, NULL, NULL, &client, NULL), "connection");
	must(!enrol_client_software(client, "token-of-the-agent", agent.key, &issued, &reply, NULL) &&
		     reply.status == 200,
	     "enrolment");
	pem = BIO_new_mem_buf(issued.certificate.data, (int)issued.certificate.len);
	agent.cert = PEM_read_bio_X509(pem, NULL, NULL, NULL);
	must(agent.cert, "certificate");
	BIO_free(pem);
	tg_enrol_issued_clear(&issued);
	enrol_reply_clear(&reply);
	enrol_client_close(client);
}

static void load_operator(void)
{
	char path[FILE_PATH_SIZE];

	must(!file_path(directory, "operator.crt", path, NULL) &&
		     !cert_load(path, &operator.cert, NULL, NULL) &&
		     !file_path(directory, "operator.key", path, NULL) &&
		     !key_load(path, NULL, &operator.key, NULL),
	     "operator");
}

/* Before OpenSSL cleans up behind the workers' backs. */
static void take_down(void)
{
	char command[96];

	platform_stop(platform);
	X509_free(agent.cert);
	EVP_PKEY_free(agent.key);
	X509_free(operator.cert);
	EVP_PKEY_free(operator.key);
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	must(!system(command), "rm");
}

static void set_up(void)
{
	struct platform_config config = { .data = directory,
					  .listen = "127.0.0.1:0",
					  .workers = 1,
					  .connections = 100,
					  .lifetime = 86400,
					  .rate = RATE,
					  .agent_rate = RATE,
					  .token_rate = RATE };
	struct data_init init = { .directory = directory, .names = "localhost" };
	struct tg_error e = { "" };

	signal(SIGPIPE, SIG_IGN);
	/* a store in memory, if there is a place for one: a sync costs nothing there */
	snprintf(directory, sizeof(directory), "%s/tensorguard-fuzz.XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	must(mkdtemp(directory), "folder");
	snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", directory);
	must(!data_init(&init, &e), e.message);
	fill_store();
	must(!platform_start(&config, &platform, &e), e.message);
	place = (struct enrol_place){ server_port(platform->server), ca_file };
	atexit(take_down);
	load_operator();
	enrol_agent();
}

/* Nothing, or answers of HTTP, the first of which is not "I broke". */
static void check(const char *answer)
{
	int status;

	if (!answer[0])
		return;
	if (sscanf(answer, "HTTP/1.%*1d %d ", &status) != 1 || status < 200 || status == 500)
		must(false, answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char answer[ANSWER_SIZE];
	struct tg_error e = { "connection" };
	struct enrol_client *client;
	X509 *cert = NULL;
	EVP_PKEY *key = NULL;

	if (!size)
		return 0;
	if (!platform)
		set_up();
	if (data[0] == 'a')
		cert = agent.cert, key = agent.key;
	else if (data[0] == 'o')
		cert = operator.cert, key = operator.key;
	must(!enrol_client_open(&place, cert, key, &client, &e), e.message);
	enrol_client_send(client, data + 1, size - 1);
	enrol_client_end(client);
	enrol_client_receive(client, answer, sizeof(answer));
	enrol_client_close(client);
	check(answer);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What one client can take from the others: time, connections, sessions, requests. */
#include <errno.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "platform_fixture.h"
#include "tensorguard/crypto.h"
#include "tensorguard/hex.h"
#include "tensorguard/sync.h"

enum { DRIP_MS = 200, GIVE_UP_SECONDS = 60, ANSWER_SIZE = 4096 };

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A client that sends `begin`, then a byte of `drip` again and again until the server has had enough of it.
 */
struct slow {
	const char *name, *begin, *drip;	/* drip "": nothing more */
	bool tls;
	double limit;			/* seconds, as documented */
	const struct fixture *fixture;
	pthread_t thread;
	double lasted;			/* seconds, or -1 */
};

static int connect_plain(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&at, sizeof(at))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* One byte more: whether the other end is still there. */
static bool drip_on(struct enrol_client *client, int fd, const char *drip)
{
	char byte[2];

	usleep(DRIP_MS * 1000);
	if (client)
		return drip[0] ? !enrol_client_send(client, drip, 1)
			       : enrol_client_receive(client, byte, sizeof(byte)) > 0;
	if (drip[0] && send(fd, drip, 1, MSG_NOSIGNAL) != 1)
		return false;
	return recv(fd, byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void *be_slow(void *arg)
{
	struct slow *slow = arg;
	struct enrol_client *client = NULL;
	double begin = seconds_now();
	int fd = -1;

	slow->lasted = -1;
	if (slow->tls ? enrol_client_open(&slow->fixture->place, NULL, NULL, &client, NULL) != 0
		      : (fd = connect_plain(slow->fixture->place.port)) < 0)
		return NULL;
	/* TLS: the time of a request begins with its first byte */
	if (slow->tls && slow->begin[0])
		begin = seconds_now();
	if (client)
		enrol_client_send(client, slow->begin, strlen(slow->begin));
	else
		send(fd, slow->begin, strlen(slow->begin), MSG_NOSIGNAL);
	while (seconds_now() - begin < GIVE_UP_SECONDS)
		if (!drip_on(client, fd, slow->drip)) {
			slow->lasted = seconds_now() - begin;
			break;
		}
	enrol_client_close(client);
	if (fd >= 0)
		close(fd);
	return NULL;
}

static int get(struct enrol_client *client, const char *path)
{
	struct enrol_reply reply = { 0 };
	int status;

	if (enrol_client_request(client, path, NULL, &reply, NULL))
		return -1;
	status = reply.status;
	enrol_reply_clear(&reply);
	return status;
}

/* All at once, so that the test takes as long as the longest. */
TEST(limits, slow_clients_are_cut_off)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	struct slow clients[] = {
		{ .name = "no byte at all", .begin = "", .drip = "", .limit = 10 },
		{ .name = "a handshake in drops", .begin = "\x16\x03\x01\x02", .drip = "\x01", .limit = 10 },
		{ .name = "no request", .begin = "", .drip = "", .tls = true, .limit = 10 },
		{ .name = "a request line in drops",
		  .begin = "GET /",
		  .drip = "a",
		  .tls = true,
		  .limit = 20 },
		{ .name = "headers in drops",
		  .begin = "GET /healthz HTTP/1.1\r\nX: ",
		  .drip = "a",
		  .tls = true,
		  .limit = 20 },
		{ .name = "a body in drops",
		  .begin = "POST /v1/enrol/start HTTP/1.1\r\nContent-Length: 9999\r\n\r\n{",
		  .drip = " ",
		  .tls = true,
		  .limit = 20 },
	};
	enum { COUNT = sizeof(clients) / sizeof(clients[0]) };
	struct enrol_client *quick = fixture_client(fixture, NULL, NULL);

	for (size_t i = 0; i < COUNT; i++) {
		clients[i].fixture = fixture;
		CU_ASSERT_EQUAL_FATAL(pthread_create(&clients[i].thread, NULL, be_slow, &clients[i]), 0);
	}
	/* the others are served meanwhile */
	CU_ASSERT_EQUAL(get(quick, "/healthz"), 200);
	for (size_t i = 0; i < COUNT; i++) {
		const struct slow *slow = &clients[i];

		pthread_join(slow->thread, NULL);
		/* no earlier than documented, nor much later, even on a busy machine */
		CU_ASSERT(slow->lasted > slow->limit - 1.5 && slow->lasted < slow->limit + 15);
		if (slow->lasted <= slow->limit - 1.5 || slow->lasted >= slow->limit + 15)
			printf("%s: cut off after %.1f s, not %.0f\n", slow->name, slow->lasted, slow->limit);
	}
	CU_ASSERT_EQUAL(metrics_value(&fixture->platform->metrics, METRICS_TIMEOUTS), COUNT);
	/* a connection that has been idle for as long is not cut off */
	CU_ASSERT_EQUAL(get(quick, "/healthz"), 200);
	enrol_client_close(quick);
	fixture_free(fixture);
}

TEST(limits, connections)
{
	enum { MOST = 5 };
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .connections = MOST });
	struct enrol_client *clients[MOST], *more = NULL;
	double begin;

	for (int i = 0; i < MOST; i++)
		clients[i] = fixture_client(fixture, NULL, NULL);
	CU_ASSERT_NOT_EQUAL(enrol_client_open(&fixture->place, NULL, NULL, &more, NULL), 0);
	CU_ASSERT_EQUAL(metrics_value(&fixture->platform->metrics, METRICS_CONNECTIONS_REFUSED), 1);
	/* those that are there stay */
	for (int i = 0; i < MOST; i++)
		CU_ASSERT_EQUAL(get(clients[i], "/healthz"), 200);
	enrol_client_close(clients[0]);
	begin = seconds_now();
	while (enrol_client_open(&fixture->place, NULL, NULL, &more, NULL) &&
	       seconds_now() - begin < GIVE_UP_SECONDS)
		usleep(10000);
	CU_ASSERT_PTR_NOT_NULL_FATAL(more);
	CU_ASSERT_EQUAL(get(more, "/healthz"), 200);
	enrol_client_close(more);
	for (int i = 1; i < MOST; i++)
		enrol_client_close(clients[i]);
	fixture_free(fixture);
}

/* Whether the server closes one of these connections on which nothing was said, well before it would have to.
 * Which one depends on the order in which its workers take them. */
static bool one_closed_at_once(const int *fds, size_t count)
{
	struct pollfd wait[64];

	CU_ASSERT_FATAL(count <= 64);
	for (size_t i = 0; i < count; i++)
		wait[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	return poll(wait, count, 5000) > 0;
}

/* What costs a client nothing must not take the others' places. */
TEST(limits, connections_that_say_nothing)
{
	enum { MOST = 5, MANY = 40, BURST = 4 * 2 };
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .connections = MOST });
	double begin;
	int fds[MANY];

	for (int i = 0; i <= MOST; i++)
		fds[i] = connect_plain(fixture->place.port);
	CU_ASSERT_TRUE(one_closed_at_once(fds, MOST + 1));
	for (int i = 0; i <= MOST; i++)
		close(fds[i]);
	fixture_free(fixture);

	fixture = fixture_limited(NULL, &(struct fixture_limits){ .rate = 2 });
	begin = seconds_now();
	for (int i = 0; i < MANY; i++)
		fds[i] = connect_plain(fixture->place.port);
	CU_ASSERT_TRUE(one_closed_at_once(fds, MANY));
	while ((double)metrics_value(&fixture->platform->metrics, METRICS_CONNECTIONS_REFUSED) <
		       MANY - BURST - 2 * (seconds_now() - begin) - 2 &&
	       seconds_now() - begin < 5)
		usleep(10000);
	CU_ASSERT(seconds_now() - begin < 5);
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	fixture_free(fixture);
}

/* Requests until one is refused: how many were not. Only `burst`, and what came free in the meantime, may be.
 */
static void until_too_many(struct enrol_client *client, const char *path, const struct tg_bytes *body,
			   int status, double burst, double per_second)
{
	struct enrol_reply reply = { 0 };
	double begin = seconds_now();
	int allowed = 0;

	while (!enrol_client_request(client, path, body, &reply, NULL) && reply.status == status) {
		enrol_reply_clear(&reply);
		if (++allowed > 1000)
			break;
	}
	fixture_refused(&reply, 429, "rate");
	CU_ASSERT(allowed >= burst);
	CU_ASSERT(allowed <= burst + per_second * (seconds_now() - begin) + 1);
	enrol_reply_clear(&reply);
}

TEST(limits, requests_of_an_address)
{
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .rate = 2 });
	struct enrol_client *client = fixture_client(fixture, NULL, NULL), *more = NULL;
	struct tg_error e = { "" };
	int refused = 0;

	/* four seconds' worth, of which the handshake was one */
	until_too_many(client, "/healthz", NULL, 200, 7, 2);
	/* paths that are not there count as well */
	until_too_many(client, "/nothing", NULL, 404, 0, 2);
	for (int i = 0; i < 10 && !refused; i++) {
		refused = enrol_client_open(&fixture->place, NULL, NULL, &more, &e) != 0;
		if (!refused)
			enrol_client_close(more);
	}
	CU_ASSERT(refused);
	CU_ASSERT(metrics_value(&fixture->platform->metrics, METRICS_CONNECTIONS_REFUSED) >= 1);
	enrol_client_close(client);
	fixture_free(fixture);
}

TEST(limits, requests_of_an_agent)
{
	struct fixture *fixture = fixture_new(NULL, 86400);
	EVP_PKEY *key = fixture_key(), *other_key = fixture_key();
	struct tg_bytes nothing = { 0 };
	struct enrol_client *client, *other;

	fixture_fleet(fixture, "robots", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	client = fixture_agent(fixture, "robots", "arm-1", key);
	other = fixture_agent(fixture, "robots", "arm-2", other_key);
	until_too_many(client, "/v1/renew/start", &nothing, 400, 30, 1);
	/* from the same address */
	fixture_expect(other, "/v1/renew/start", &nothing, 400, "malformed");
	enrol_client_close(client);
	enrol_client_close(other);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other_key);
	fixture_free(fixture);
}

/* A batch of 1 KiB records by one agent, nearly as large as there are. */
static void large_batch(const char *agent, EVP_PKEY *key, struct tg_bytes *ret_batch)
{
	enum { COUNT = 96 };
	struct tg_bytes records[COUNT] = { 0 };
	struct tg_audit_event event = { .time_ms = 1, .actor = "guard", .action = "test", .outcome = "done" };
	struct tg_audit_chain chain;
	char detail[1000];

	memset(detail, 'x', sizeof(detail) - 1);
	detail[sizeof(detail) - 1] = '\0';
	event.detail = detail;
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_begin(agent, &chain, NULL), 0);
	for (int i = 0; i < COUNT; i++)
		CU_ASSERT_EQUAL_FATAL(tg_audit_chain_add(&chain, &event, &records[i], NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_audit_batch_make(records, COUNT, key, ret_batch, NULL), 0);
	for (int i = 0; i < COUNT; i++)
		tg_bytes_free(&records[i]);
}

/* Whether the answer says what is stored. */
static bool batch_taken(struct enrol_client *client, const struct tg_bytes *batch)
{
	struct tg_sync_request request = { .format = TG_SYNC_FORMAT,
					   .heartbeat = { .version = "1", .kernel = "6" },
					   .has_audit = true,
					   .audit.batch = *batch };
	struct tg_sync_answer answer = { 0 };
	struct enrol_reply reply = { 0 };
	struct tg_bytes text = { 0 };
	bool taken;

	CU_ASSERT_EQUAL_FATAL(tg_sync_request_encode(&request, &text, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(enrol_client_request(client, "/v1/sync", &text, &reply, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(reply.status, 200);
	CU_ASSERT_EQUAL_FATAL(tg_sync_answer_decode(reply.body.data, reply.body.len, &answer, NULL), 0);
	taken = answer.has_audit && answer.audit.stored > 0;
	tg_sync_answer_clear(&answer);
	tg_bytes_free(&text);
	enrol_reply_clear(&reply);
	return taken;
}

/* Its records stay for ever: 4 MiB at once, and 128 KiB a minute. */
TEST(limits, audit_records_of_an_agent)
{
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .agent_rate = 1000000 });
	EVP_PKEY *key = fixture_key(), *other_key = fixture_key();
	struct tg_bytes batch = { 0 }, others = { 0 };
	struct enrol_client *client, *other;
	double begin = seconds_now(), kib;
	int taken = 0;

	fixture_fleet(fixture, "robots", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	client = fixture_agent(fixture, "robots", "arm-1", key);
	other = fixture_agent(fixture, "robots", "arm-2", other_key);
	large_batch("arm-1", key, &batch);
	large_batch("arm-2", other_key, &others);
	kib = (double)((batch.len + 1023) / 1024);
	while (taken < 1000 && batch_taken(client, &batch))
		taken++;
	CU_ASSERT(kib > 100);
	CU_ASSERT(taken * kib > 4096 - kib);
	CU_ASSERT(taken * kib <= 4096 + 128 / 60.0 * (seconds_now() - begin) + 1);
	/* it is still heard, and the others lose nothing by it */
	CU_ASSERT_FALSE(batch_taken(client, &batch));
	CU_ASSERT_TRUE(batch_taken(other, &others));
	tg_bytes_free(&batch);
	tg_bytes_free(&others);
	enrol_client_close(client);
	enrol_client_close(other);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other_key);
	fixture_free(fixture);
}

static int count_requests(void *arg, const struct store_audit *record)
{
	*(int *)arg += !strcmp(record->action, "request") && !strcmp(record->outcome, "agent-revoked");
	return 0;
}

/* Who is revoked can ask for as long as he likes: that is no reason to write it down each time. */
TEST(limits, records_of_a_revoked_agent)
{
	enum { MANY = 60, BURST = 10 };
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .agent_rate = 1000000 });
	struct tg_bytes nothing = { 0 };
	EVP_PKEY *key = fixture_key();
	struct enrol_client *client;
	double begin = seconds_now();
	int count = 0;

	fixture_fleet(fixture, "robots", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	client = fixture_agent(fixture, "robots", "arm-1", key);
	CU_ASSERT_EQUAL(store_agent_revoke(fixture->store, "arm-1", "stolen", time(NULL), NULL), 0);
	for (int i = 0; i < MANY; i++)
		fixture_expect(client, "/v1/sync", &nothing, 403, "agent-revoked");
	/* the last of the records is there before what is asked for after them */
	fixture_expect(client, "/v1/fleet/agents", NULL, 403, "certificate-of-another-kind");
	CU_ASSERT(fixture_audited(fixture, "request", "certificate-of-another-kind"));
	CU_ASSERT_EQUAL(store_audit_each(fixture->store, 1000, count_requests, &count, NULL), 0);
	CU_ASSERT(count >= BURST && count <= BURST + 1 + (seconds_now() - begin) / 60);
	enrol_client_close(client);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

TEST(limits, enrolments_under_way)
{
	struct fixture *fixture = fixture_limited(NULL, &(struct fixture_limits){ .token_rate = 1000000 });
	struct enrol_client *client = fixture_client(fixture, NULL, NULL);
	struct tg_attest_challenge challenge = { 0 };
	struct tg_enrol_issued issued = { 0 };
	struct tg_enrol_finish finish = { 0 };
	struct tg_enrol_start start = { 0 };
	struct enrol_reply reply = { 0 };
	EVP_PKEY *key = fixture_key();
	double begin = seconds_now();
	int begun = 0;

	fixture_fleet(fixture, "robots", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	fixture_token(fixture, "robots", NULL, 600, start.token);
	while (begun <= SESSIONS_MAX &&
	       !enrol_client_start(client, TG_ENROL, &start, &challenge, &reply, NULL) &&
	       reply.status == 200) {
		memcpy(finish.session, challenge.session, sizeof(finish.session));
		tg_attest_challenge_clear(&challenge);
		enrol_reply_clear(&reply);
		begun++;
	}
	fixture_refused(&reply, 503, "busy");
	enrol_reply_clear(&reply);
	/* the first ones live for a minute: on a machine that took as long, more could begin */
	CU_ASSERT(begun >= SESSIONS_MAX);
	CU_ASSERT(begun == SESSIONS_MAX || seconds_now() - begin > 60);
	CU_ASSERT(fixture_audited(fixture, "enrol", "busy"));
	/* one that ends makes room for one */
	CU_ASSERT_EQUAL(tg_request_make(key, "x", &finish.evidence.csr, NULL), 0);
	CU_ASSERT_EQUAL(enrol_client_finish(client, TG_ENROL, &finish, &issued, &reply, NULL), 0);
	fixture_refused(&reply, 200, "");
	enrol_reply_clear(&reply);
	tg_enrol_issued_clear(&issued);
	tg_enrol_finish_clear(&finish);
	fixture_token(fixture, "robots", NULL, 600, start.token);
	CU_ASSERT_EQUAL(enrol_client_start(client, TG_ENROL, &start, &challenge, &reply, NULL), 0);
	fixture_refused(&reply, 200, "");
	tg_attest_challenge_clear(&challenge);
	enrol_reply_clear(&reply);
	enrol_client_close(client);
	EVP_PKEY_free(key);
	fixture_free(fixture);
}

/* One request as text, and all that comes for it. */
static void raw(struct fixture *fixture, const char *text, size_t len, char ret_answer[static ANSWER_SIZE])
{
	struct enrol_client *client = fixture_client(fixture, NULL, NULL);

	enrol_client_send(client, text, len);
	enrol_client_receive(client, ret_answer, ANSWER_SIZE);
	enrol_client_close(client);
}

TEST(limits, size_of_headers)
{
	static const char begin[] = "GET /healthz HTTP/1.1\r\nConnection: close\r\nX: ", end[] = "\r\n\r\n";
	struct fixture *fixture = fixture_new(NULL, 86400);
	char text[10000], answer[ANSWER_SIZE];
	/* at the limit, beyond it, and beyond it without an end */
	static const size_t lens[] = { 8192, 9000, 9990 };
	static const int status[] = { 200, 400, 400 };

	for (size_t i = 0; i < 3; i++) {
		size_t fill = lens[i] - (sizeof(begin) - 1) - (i < 2 ? sizeof(end) - 1 : 0);
		int got = 0;

		memcpy(text, begin, sizeof(begin) - 1);
		memset(text + sizeof(begin) - 1, 'a', fill);
		if (i < 2)
			memcpy(text + sizeof(begin) - 1 + fill, end, sizeof(end) - 1);
		raw(fixture, text, lens[i], answer);
		CU_ASSERT_EQUAL(sscanf(answer, "HTTP/1.1 %d", &got), 1);
		CU_ASSERT_EQUAL(got, status[i]);
		if (got != status[i])
			printf("%zu bytes: %.60s\n", lens[i], answer);
	}
	fixture_free(fixture);
}

/* Whatever a client says, the answer is in our form, also where evhttp gives it. */
TEST(limits, every_refusal_is_json)
{
	static const struct {
		const char *request, *reason;
		int status;
	} cases[] = {
		{ "NONSENSE\r\n\r\n", "http", 400 },
		{ "\r\n\r\n\r\n", "http", 400 },
		{ "GET /healthz HTTP/2.0\r\n\r\n", "http", 400 },
		{ "GET /healthz HTTP/0.9\r\n\r\n", "http", 400 },
		{ "GET /healthz HTTP/-3.5\r\n\r\n", "http", 400 },
		{ "GET /healthz HTTP/1.1\r\nno colon\r\n\r\n", "http", 400 },
		{ "POST /v1/enrol/start HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "http", 400 },
		{ "POST /v1/enrol/start HTTP/1.1\r\nContent-Length: 1x\r\n\r\n", "http", 400 },
		{ "POST /v1/enrol/start HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "size", 413 },
		{ "POST /v1/enrol/start HTTP/1.1\r\nExpect: nothing\r\nContent-Length: 2\r\n\r\n",
		  "expectation", 417 },
		{ "BREW /healthz HTTP/1.1\r\n\r\n", "method", 501 },
		{ "TRACE /healthz HTTP/1.1\r\n\r\n", "method", 501 },
		{ "GET /?x HTTP/1.0\r\n\r\n", "path", 400 },
		/* a good one in front changes nothing for the next */
		{ "GET /nothing HTTP/1.1\r\n\r\nNONSENSE\r\n\r\n", "path", 404 },
	};
	struct fixture *fixture = fixture_new(NULL, 86400);
	char answer[ANSWER_SIZE], wanted[96];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *body;
		int status = 0;

		raw(fixture, cases[i].request, strlen(cases[i].request), answer);
		body = strstr(answer, "\r\n\r\n{\"error\":\"");
		snprintf(wanted, sizeof(wanted), "\"reason\":\"%s\"}\n", cases[i].reason);
		if (sscanf(answer, "HTTP/1.%*1d %d ", &status) != 1 || status != cases[i].status || !body ||
		    !strstr(body, wanted) || strstr(answer, "HTML") ||
		    !strstr(answer, "Content-Type: application/json\r\n")) {
			printf("%.40s: %s\n", cases[i].request, answer);
			CU_FAIL("another answer");
		}
	}
	/* both answers of the last one, and the second is in our form too */
	CU_ASSERT_PTR_NOT_NULL(strstr(answer, "}\nHTTP/1.1 400 Refused\r\n"));
	fixture_free(fixture);
}

/* Who reads no answers: the requests that follow wait in sockets, not in the Platform's memory. */
TEST(limits, answers_nobody_reads)
{
	static const char request[] = "GET /nothing HTTP/1.1\r\n\r\n";
	enum { LEN = sizeof(request) - 1, AT_ONCE = 600, ENOUGH = 64 * 1024 * 1024 };
	struct fixture *fixture = fixture_new(NULL, 86400);
	SSL_CTX *ctx = enrol_context(fixture->place.ca_file);
	struct timeval patience = { .tv_sec = 3 };
	int fd = enrol_connect(fixture->place.port);
	char text[AT_ONCE * LEN];
	size_t sent = 0;
	SSL *tls;

	CU_ASSERT_FATAL(ctx && fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	tls = enrol_tls(ctx, fd, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(tls);
	CU_ASSERT_EQUAL(SSL_connect(tls), 1);
	for (int i = 0; i < AT_ONCE; i++)
		memcpy(text + i * LEN, request, LEN);
	while (sent < ENOUGH && SSL_write(tls, text, sizeof(text)) == (int)sizeof(text))
		sent += sizeof(text);
	/* what was answered, what may wait, and what the kernel holds for both ends */
	CU_ASSERT(sent < ENOUGH / 2);
	if (sent >= ENOUGH / 2)
		printf("%zu bytes were taken\n", sent);
	SSL_free(tls);
	SSL_CTX_free(ctx);
	close(fd);
	fixture_free(fixture);
}

/* Far above any limit: the client sends on, and still sees the answer. */
TEST(limits, a_body_without_measure)
{
	static const char begin[] = "POST /v1/enrol/start HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n";
	struct fixture *fixture = fixture_new(NULL, 86400);
	struct enrol_client *client = fixture_client(fixture, NULL, NULL);
	char *body = calloc(1, 3000000), answer[ANSWER_SIZE];

	CU_ASSERT_PTR_NOT_NULL_FATAL(body);
	CU_ASSERT_EQUAL(enrol_client_send(client, begin, sizeof(begin) - 1), 0);
	CU_ASSERT_EQUAL(enrol_client_send(client, body, 3000000), 0);
	enrol_client_receive(client, answer, sizeof(answer));
	CU_ASSERT_EQUAL(strncmp(answer, "HTTP/1.1 413 ", 13), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(answer, "\"reason\":\"size\"}"));
	enrol_client_close(client);
	free(body);
	fixture_free(fixture);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fleet of devices without a TPM, all in one process:
 *
 *	agents tokens STORE FLEET COUNT FILE
 *		puts tokens into the store, and their secrets into FILE
 *	agents enrol PORT CA TOKENS PID FILE
 *		enrols a device with each; keys and certificates go to FILE
 *	agents keep PORT CA FILE PID SECONDS
 *		all connect and stay; each asks once a cycle, GET /healthz or, once in all, to
 *		renew its certificate
 *	agents make STORE CA-CERT CA-KEY FLEET COUNT FILE
 *		enrolled agents straight into the store, for `sync`
 *	agents sync PORT CA FILE PID SECONDS PERIOD KEPT
 *		each asks POST /v1/sync once a PERIOD (seconds), for SECONDS; KEPT connect and stay,
 *		the others connect for each request
 *
 * PID is the server's. What was measured are lines "NAME VALUE".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/enrol_client.h"
#include "common/tool.h"
#include "store/store.h"
#include "tensorguard/crypto.h"
#include "tensorguard/hex.h"
#include "tensorguard/sync.h"

#define PROGRAM "agents"
enum {
	FLEET_MAX = 100000,
	SECRET_LEN = 32,
	THREADS = 8,	/* that enrol */
	PART = 500,	/* devices of one figure for enrolments */
	CYCLES = 3,
	FIRST = 100,	/* connections before memory is counted: caches and heaps are there then */
	SHAKING_MAX = 64,
	BODY_MAX = 8192,
	WAIT_MS = 20000,
	EVENTS = 256,
	WARM_STEP = 500,
};
#define WARM_NS 60000000000ll

enum ask { HEALTHZ, RENEW_START, RENEW_FINISH, SYNC, ASKS };

struct agent {
	X509 *certificate;
	EVP_PKEY *key;
	SSL *tls;
	int fd;
	enum { CLOSED, SHAKING, IDLE, ASKING, LOST } state;
	enum ask ask;
	int64_t asked_ns;
	char *answer;	/* BODY_MAX */
	size_t answered;
	bool visits;	/* connects for a request, and goes */
	size_t asks;	/* the number of that request */
};

struct latencies {
	double *ms;
	size_t count, room;
};

struct fleet {
	struct agent *agents;
	size_t count, shaking, open, lost, late, renewed, visited;
	struct latencies latencies[ASKS];
	SSL_CTX *ctx;
	int epoll;
	uint16_t port;
	pid_t pid;
	bool counting;
};

static void must(bool good, const char *what, const struct tg_error *e)
{
	struct tg_error text;

	if (good)
		return;
	ERR_print_errors_fp(stderr);
	tg_error(&text, 0, "%s%s%s", what, e ? ": " : "", e ? e->message : "");
	exit(tool_fail(PROGRAM, TOOL_FAILED, &text));
}

static uint64_t whole(const char *text, const char *what, uint64_t max)
{
	struct tg_error e = { "" };
	uint64_t value = 0;

	must(!tool_parse_whole(text, what, 1, max, &value, &e), "call", &e);
	return value;
}

static FILE *open_file(const char *path, const char *mode)
{
	FILE *file = fopen(path, mode);

	must(file != NULL, path, NULL);
	return file;
}

static int64_t processor_ns(pid_t pid)
{
	clockid_t clock;

	must(!clock_getcpuclockid(pid, &clock), "the server is gone", NULL);
	return tool_now_ns(clock);
}

/* agents tokens */

static int make_token(struct store *store, const char *fleet, uint64_t number, FILE *secrets,
		      struct tg_error *e)
{
	struct store_token token = { .created = time(NULL) };
	char text[2 * SECRET_LEN + 1];
	uint8_t secret[SECRET_LEN];
	int ret = tg_random(secret, sizeof(secret), e);

	tg_hex(secret, sizeof(secret), text);
	snprintf(token.id, sizeof(token.id), "bench-%lu", (unsigned long)number);
	snprintf(token.fleet, sizeof(token.fleet), "%s", fleet);
	token.expires = token.created + 3600;
	if (!ret)
		ret = tg_sha256(&(struct tg_piece){ text, 2 * SECRET_LEN }, 1, token.hash, e);
	if (!ret)
		ret = store_token_create(store, &token, e);
	if (!ret)
		fprintf(secrets, "%s\n", text);
	return ret;
}

/* In one transaction: as many calls of `token create` would take minutes. */
static void tokens(char **args)
{
	FILE *secrets = open_file(args[3], "we");
	uint64_t count = whole(args[2], "COUNT", FLEET_MAX);
	struct store *store = NULL;
	struct tg_error e = { "" };
	int ret = store_open(args[0], &store, &e);

	if (!ret)
		ret = store_begin(store, &e);
	for (uint64_t i = 0; i < count && !ret; i++)
		ret = make_token(store, args[1], i, secrets, &e);
	if (!ret)
		ret = store_commit(store, &e);
	must(!ret, "tokens", &e);
	store_close(store);
	must(!fclose(secrets), args[3], NULL);
}

/* agents enrol */

struct enrolment {
	struct enrol_place place;
	pthread_mutex_t lock;	/* of the files and of `done` */
	FILE *tokens, *out;
	size_t done;
	pid_t pid;
	int64_t begin_ns, spent_ns;
};

/* After each part: enrolments per second, and per second of the server's processor time. */
static void note_part(struct enrolment *enrolment)
{
	int64_t now = tool_now_ns(CLOCK_MONOTONIC), spent = processor_ns(enrolment->pid);

	printf("enrolments %.1f\nenrolments_cpu %.1f\n", PART * 1e9 / (double)(now - enrolment->begin_ns),
	       PART * 1e9 / (double)(spent - enrolment->spent_ns));
	enrolment->begin_ns = now;
	enrolment->spent_ns = spent;
}

static void keep_result(struct enrolment *enrolment, EVP_PKEY *key, const struct tg_enrol_issued *issued)
{
	pthread_mutex_lock(&enrolment->lock);
	must(PEM_write_PrivateKey(enrolment->out, key, NULL, NULL, 0, NULL, NULL) == 1 &&
		     fwrite(issued->certificate.data, 1, issued->certificate.len, enrolment->out) ==
			     issued->certificate.len,
	     "cannot write a certificate", NULL);
	if (++enrolment->done % PART == 0)
		note_part(enrolment);
	pthread_mutex_unlock(&enrolment->lock);
}

static void enrol_one(struct enrolment *enrolment, const char *token)
{
	struct enrol_client *client = NULL;
	struct tg_enrol_issued issued = { 0 };
	struct enrol_reply reply = { 0 };
	struct tg_error e = { "" };
	EVP_PKEY *key = NULL;

	must(!tg_p256_generate(&key, &e), "key", &e);
	must(!enrol_client_open(&enrolment->place, NULL, NULL, &client, &e), "connection", &e);
	must(!enrol_client_software(client, token, key, &issued, &reply, &e), "enrolment", &e);
	must(reply.status == 200, "an enrolment was refused", NULL);
	keep_result(enrolment, key, &issued);
	enrol_client_close(client);
	enrol_reply_clear(&reply);
	tg_enrol_issued_clear(&issued);
	EVP_PKEY_free(key);
}

static void *enrol_all(void *arg)
{
	struct enrolment *enrolment = arg;
	char line[TG_TOKEN_LEN];
	bool more;

	for (;;) {
		pthread_mutex_lock(&enrolment->lock);
		more = fgets(line, sizeof(line), enrolment->tokens) != NULL;
		pthread_mutex_unlock(&enrolment->lock);
		if (!more)
			return NULL;
		line[strcspn(line, "\n")] = '\0';
		enrol_one(enrolment, line);
	}
}

static void enrol(char **args)
{
	struct enrolment enrolment = { .lock = PTHREAD_MUTEX_INITIALIZER,
				       .tokens = open_file(args[2], "re"),
				       .out = open_file(args[4], "we"),
				       .pid = (pid_t)whole(args[3], "PID", 1 << 22) };
	pthread_t threads[THREADS];

	enrolment.place.port = (uint16_t)whole(args[0], "PORT", 65535);
	enrolment.place.ca_file = args[1];
	enrolment.begin_ns = tool_now_ns(CLOCK_MONOTONIC);
	enrolment.spent_ns = processor_ns(enrolment.pid);
	for (unsigned i = 0; i < THREADS; i++)
		must(!pthread_create(&threads[i], NULL, enrol_all, &enrolment), "thread", NULL);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	fclose(enrolment.tokens);
	must(!fclose(enrolment.out), args[4], NULL);
}

/* agents keep */

static void lose(struct fleet *fleet, struct agent *agent, const char *why)
{
	if (!fleet->lost++)
		fprintf(stderr, PROGRAM ": the first that was lost: %s\n", why);
	fleet->shaking -= agent->state == SHAKING;
	agent->state = LOST;
	free(agent->answer);
	agent->answer = NULL;
	epoll_ctl(fleet->epoll, EPOLL_CTL_DEL, agent->fd, NULL);
}

static void send_request(struct fleet *fleet, struct agent *agent, enum ask ask, const struct tg_bytes *body)
{
	static const char *const heads[ASKS] = { [HEALTHZ] = "GET /healthz",
						 [RENEW_START] = "POST /v1/renew/start",
						 [RENEW_FINISH] = "POST /v1/renew/finish",
						 [SYNC] = "POST /v1/sync" };
	char text[BODY_MAX];
	int len = snprintf(text, sizeof(text),
			   "%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%.*s", heads[ask],
			   body->len, (int)body->len, body->len ? (const char *)body->data : "");

	agent->answer = malloc(BODY_MAX);
	must(agent->answer && len < BODY_MAX, "memory", NULL);
	agent->answered = 0;
	agent->ask = ask;
	agent->state = ASKING;
	agent->asked_ns = tool_now_ns(CLOCK_MONOTONIC);
	if (SSL_write(agent->tls, text, len) != len)
		lose(fleet, agent, "a request could not be written");
}

static void ask_healthz(struct fleet *fleet, struct agent *agent)
{
	send_request(fleet, agent, HEALTHZ, &(struct tg_bytes){ 0 });
}

/* Its heartbeat is another one each time. */
static void ask_sync(struct fleet *fleet, struct agent *agent, size_t n)
{
	const struct tg_sync_request request = {
		.format = TG_SYNC_FORMAT,
		.heartbeat = { .version = "1.0.0",
			       .kernel = "6.1.0",
			       .engine = TG_SYNC_ENGINE_KERNEL,
			       .state = TG_SYNC_UP,
			       .uptime = (int64_t)n,
			       .real = (int64_t)n * 1000,
			       .pad = (int64_t)n * 100,
			       .dummy = (int64_t)n * 10000 },
		.has_policy = true,
		/* newer than what is published: a fleet at rest */
		.policy = { .version = 2 },
	};
	struct tg_error e = { "" };
	struct tg_bytes body;

	must(!tg_sync_request_encode(&request, &body, &e), "heartbeat", &e);
	send_request(fleet, agent, SYNC, &body);
	tg_bytes_free(&body);
}

static void ask_renewal(struct fleet *fleet, struct agent *agent)
{
	struct tg_error e = { "" };
	struct tg_bytes body;

	must(!tg_enrol_start_encode(&(struct tg_enrol_start){ 0 }, TG_RENEW, &body, &e), "start", &e);
	send_request(fleet, agent, RENEW_START, &body);
	tg_bytes_free(&body);
}

/* The certificate is for a new key, as it is in an agent; here nobody needs the key any more. */
static void finish_renewal(struct fleet *fleet, struct agent *agent, const char *text, size_t len)
{
	struct tg_attest_challenge challenge = { 0 };
	struct tg_enrol_finish finish = { 0 };
	struct tg_bytes body = { 0 };
	struct tg_error e = { "" };
	EVP_PKEY *key = NULL;

	must(!tg_enrol_challenge_decode(text, len, &challenge, &e), "challenge", &e);
	memcpy(finish.session, challenge.session, sizeof(finish.session));
	must(!tg_p256_generate(&key, &e) && !tg_request_make(key, "device", &finish.evidence.csr, &e) &&
		     !tg_enrol_finish_encode(&finish, &body, &e),
	     "finish", &e);
	send_request(fleet, agent, RENEW_FINISH, &body);
	tg_bytes_free(&body);
	EVP_PKEY_free(key);
	tg_attest_challenge_clear(&challenge);
	tg_enrol_finish_clear(&finish);
}

static void end_renewal(struct fleet *fleet, const char *text, size_t len)
{
	struct tg_enrol_issued issued;
	struct tg_error e = { "" };

	must(!tg_enrol_issued_decode(text, len, &issued, &e), "certificate", &e);
	tg_enrol_issued_clear(&issued);
	fleet->renewed++;
}

static void note_latency(struct fleet *fleet, const struct agent *agent)
{
	struct latencies *all = &fleet->latencies[agent->ask];

	if (!fleet->counting)
		return;
	if (all->count == all->room) {
		all->room = all->room ? 2 * all->room : 1024;
		all->ms = reallocarray(all->ms, all->room, sizeof(*all->ms));
		must(all->ms != NULL, "memory", NULL);
	}
	all->ms[all->count++] = (double)(tool_now_ns(CLOCK_MONOTONIC) - agent->asked_ns) / 1e6;
}

static void leave(struct fleet *fleet, struct agent *agent)
{
	epoll_ctl(fleet->epoll, EPOLL_CTL_DEL, agent->fd, NULL);
	SSL_shutdown(agent->tls);
	SSL_free(agent->tls);
	close(agent->fd);
	agent->tls = NULL;
	agent->fd = -1;
	agent->state = CLOSED;
	fleet->open--;
	fleet->visited++;
}

static void take_answer(struct fleet *fleet, struct agent *agent, const char *body, size_t len)
{
	char *answer = agent->answer;
	enum ask ask = agent->ask;

	note_latency(fleet, agent);
	agent->answer = NULL;
	agent->state = IDLE;
	if (ask == RENEW_START)
		finish_renewal(fleet, agent, body, len);
	else if (ask == RENEW_FINISH)
		end_renewal(fleet, body, len);
	free(answer);
	if (agent->visits)
		leave(fleet, agent);
}

/* Whether the answer is whole, and taken. */
static void look_at_answer(struct fleet *fleet, struct agent *agent)
{
	char *end, *length;
	size_t head, body;

	agent->answer[agent->answered] = '\0';
	end = strstr(agent->answer, "\r\n\r\n");
	if (!end)
		return;
	length = strcasestr(agent->answer, "\r\nContent-Length: ");
	if (strncmp(agent->answer, "HTTP/1.1 200 ", 13) != 0 || !length || length > end) {
		lose(fleet, agent, agent->answer);
		return;
	}
	head = (size_t)(end - agent->answer) + 4;
	body = strtoul(length + strlen("\r\nContent-Length: "), NULL, 10);
	if (agent->answered >= head + body)
		take_answer(fleet, agent, agent->answer + head, body);
}

static void on_answer(struct fleet *fleet, struct agent *agent)
{
	char none[1];
	bool asking = agent->state == ASKING;
	char *to = asking ? agent->answer + agent->answered : none;
	int room = asking ? (int)(BODY_MAX - 1 - agent->answered) : 1, n = SSL_read(agent->tls, to, room);

	if (n > 0 && asking) {
		agent->answered += (size_t)n;
		look_at_answer(fleet, agent);
	} else if (n > 0 || SSL_get_error(agent->tls, n) != SSL_ERROR_WANT_READ) {
		lose(fleet, agent, n > 0 ? "an answer to nothing" : "the server ended the connection");
	}
}

/* The first request proves that the server has taken the certificate. */
static void go_on_shaking(struct fleet *fleet, struct agent *agent)
{
	int ret = SSL_connect(agent->tls);

	if (ret == 1) {
		fleet->shaking--;
		fleet->open++;
		if (agent->visits)
			ask_sync(fleet, agent, agent->asks);
		else
			ask_healthz(fleet, agent);
	} else if (SSL_get_error(agent->tls, ret) != SSL_ERROR_WANT_READ) {
		lose(fleet, agent, "handshake");
	}
}

static void open_connection(struct fleet *fleet, struct agent *agent)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = agent };

	agent->fd = enrol_connect(fleet->port);
	must(agent->fd >= 0 && !fcntl(agent->fd, F_SETFL, O_NONBLOCK), "no connection", NULL);
	agent->tls = enrol_tls(fleet->ctx, agent->fd, agent->certificate, agent->key);
	must(agent->tls && !epoll_ctl(fleet->epoll, EPOLL_CTL_ADD, agent->fd, &event), "TLS", NULL);
	agent->state = SHAKING;
	fleet->shaking++;
	go_on_shaking(fleet, agent);
}

static void wait_events(struct fleet *fleet, int ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(fleet->epoll, events, EVENTS, ms);

	must(n >= 0 || errno == EINTR, "epoll_wait", NULL);
	for (int i = 0; i < n; i++) {
		struct agent *agent = events[i].data.ptr;

		if (agent->state == SHAKING)
			go_on_shaking(fleet, agent);
		else if (agent->state != LOST)
			on_answer(fleet, agent);
	}
}

static size_t under_way(const struct fleet *fleet)
{
	size_t n = 0;

	for (size_t i = 0; i < fleet->count; i++)
		n += fleet->agents[i].state == ASKING || fleet->agents[i].state == SHAKING;
	return n;
}

/* Until nothing is under way. Who is not answered in time is lost. */
static void settle(struct fleet *fleet)
{
	int64_t end = tool_now_ns(CLOCK_MONOTONIC) + WAIT_MS * 1000000ll;

	while (under_way(fleet) && tool_now_ns(CLOCK_MONOTONIC) < end)
		wait_events(fleet, 100);
	for (size_t i = 0; i < fleet->count; i++)
		if (fleet->agents[i].state == ASKING || fleet->agents[i].state == SHAKING)
			lose(fleet, &fleet->agents[i], "no answer");
}

static void open_until(struct fleet *fleet, size_t *next, size_t end)
{
	for (; *next < end; ++*next) {
		while (fleet->shaking >= SHAKING_MAX)
			wait_events(fleet, 100);
		open_connection(fleet, &fleet->agents[*next]);
		wait_events(fleet, 0);
	}
	settle(fleet);
}

static double resident_kib(pid_t pid)
{
	char path[64], line[256];
	double kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = open_file(path, "re");
	while (fgets(line, sizeof(line), file))
		sscanf(line, "VmRSS: %lf", &kib);
	fclose(file);
	must(kib > 0, "no VmRSS", NULL);
	return kib;
}

static size_t files_of(pid_t pid)
{
	char path[64];
	size_t n = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	folder = opendir(path);
	must(folder != NULL, path, NULL);
	for (struct dirent *entry; (entry = readdir(folder));)
		n += entry->d_name[0] != '.';
	closedir(folder);
	return n;
}

/* One request of each agent in each cycle, evenly over the time; each renews in one of them. */
static void ask_all(struct fleet *fleet, double seconds)
{
	int64_t begin = tool_now_ns(CLOCK_MONOTONIC);
	size_t all = fleet->count * CYCLES;

	for (size_t n = 0; n < all; n++) {
		size_t at = n % fleet->count;
		struct agent *agent = &fleet->agents[at];
		int64_t due = begin + (int64_t)(seconds * 1e9 * (double)n / (double)all);

		for (int64_t now; (now = tool_now_ns(CLOCK_MONOTONIC)) < due;)
			wait_events(fleet, (int)((due - now) / 1000000));
		wait_events(fleet, 0);
		if (agent->state == ASKING)
			fleet->late++;
		else if (agent->state == IDLE && n / fleet->count == at % CYCLES)
			ask_renewal(fleet, agent);
		else if (agent->state == IDLE)
			ask_healthz(fleet, agent);
	}
	settle(fleet);
}

/* Each agent once a period, at a time of its own. */
static void sync_one(struct fleet *fleet, struct agent *agent, size_t n)
{
	if (agent->state == ASKING || agent->state == SHAKING) {
		fleet->late++;
	} else if (agent->state == IDLE) {
		ask_sync(fleet, agent, n);
	} else if (agent->visits && agent->state == CLOSED) {
		agent->asks = n;
		open_connection(fleet, agent);
	}
}

static void sync_all(struct fleet *fleet, double seconds, double period)
{
	int64_t begin = tool_now_ns(CLOCK_MONOTONIC);
	double rate = (double)fleet->count / period;
	size_t all = (size_t)(seconds * rate);

	for (size_t n = 0; n < all; n++) {
		struct agent *agent = &fleet->agents[n % fleet->count];
		int64_t due = begin + (int64_t)(1e9 * (double)n / rate);

		for (int64_t now; (now = tool_now_ns(CLOCK_MONOTONIC)) < due;)
			wait_events(fleet, (int)((due - now) / 1000000));
		wait_events(fleet, 0);
		sync_one(fleet, agent, n);
	}
	settle(fleet);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_latencies(struct fleet *fleet, enum ask ask, const char *name)
{
	struct latencies *all = &fleet->latencies[ask];

	must(all->count > 0, "no request was answered", NULL);
	qsort(all->ms, all->count, sizeof(*all->ms), compare);
	printf("%s_requests %zu\n%s_p50 %.3f\n%s_p99 %.3f\n", name, all->count, name, all->ms[all->count / 2],
	       name, all->ms[all->count - 1 - all->count / 100]);
}

static void read_fleet(struct fleet *fleet, const char *path)
{
	FILE *file = open_file(path, "re");
	struct agent *agent;

	fleet->agents = calloc(FLEET_MAX, sizeof(*fleet->agents));
	must(fleet->agents != NULL, "memory", NULL);
	for (; fleet->count < FLEET_MAX; fleet->count++) {
		agent = &fleet->agents[fleet->count];
		agent->key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
		if (!agent->key)
			break;
		agent->certificate = PEM_read_X509(file, NULL, NULL, NULL);
		must(agent->certificate != NULL, path, NULL);
	}
	ERR_clear_error(); /* the end of the file */
	fclose(file);
	must(fleet->count > FIRST, "too few agents", NULL);
}

static void allow_files(size_t count)
{
	struct rlimit limit;

	must(!getrlimit(RLIMIT_NOFILE, &limit), "limit of open files", NULL);
	if (limit.rlim_cur < count + 64)
		limit.rlim_cur = count + 64;
	if (limit.rlim_max < limit.rlim_cur)
		limit.rlim_max = limit.rlim_cur;
	must(!setrlimit(RLIMIT_NOFILE, &limit), "limit of open files", NULL);
}

static void close_all(struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->count; i++) {
		SSL_free(fleet->agents[i].tls);
		close(fleet->agents[i].fd);
		X509_free(fleet->agents[i].certificate);
		EVP_PKEY_free(fleet->agents[i].key);
	}
	for (unsigned i = 0; i < ASKS; i++)
		free(fleet->latencies[i].ms);
	free(fleet->agents);
	SSL_CTX_free(fleet->ctx);
	close(fleet->epoll);
}

static void measure(struct fleet *fleet, double seconds)
{
	size_t next = 0, files = files_of(fleet->pid);
	double before, after;
	int64_t spent;

	open_until(fleet, &next, FIRST);
	before = resident_kib(fleet->pid);
	open_until(fleet, &next, fleet->count);
	after = resident_kib(fleet->pid);
	printf("open %zu\nidle_kib %.2f\nfiles %zu\n", fleet->open,
	       (after - before) / (double)(fleet->count - FIRST), files_of(fleet->pid) - files);
	fleet->counting = true;
	spent = processor_ns(fleet->pid);
	ask_all(fleet, seconds);
	spent = processor_ns(fleet->pid) - spent;
	printf("failed %zu\nlate %zu\nrenewed %zu\nrss_mib %.1f\n", fleet->lost, fleet->late, fleet->renewed,
	       resident_kib(fleet->pid) / 1024);
	printf("asked_cpu %.1f\n", (double)spent / 1e7 / seconds);
	print_latencies(fleet, HEALTHZ, "healthz");
	print_latencies(fleet, RENEW_START, "renew_start");
	print_latencies(fleet, RENEW_FINISH, "renew_finish");
}

/* As an agent would, whose first sync is long ago: the server ends connections on which nobody asks. */
static void keep_warm(struct fleet *fleet, size_t *at, size_t end)
{
	for (; end; *at = (*at + 1) % end) {
		struct agent *agent = &fleet->agents[*at];

		if (agent->state != IDLE || tool_now_ns(CLOCK_MONOTONIC) - agent->asked_ns < WARM_NS)
			return;
		ask_healthz(fleet, agent);
	}
}

static void open_kept(struct fleet *fleet, size_t kept)
{
	size_t next = 0, warm = 0;

	while (next < kept) {
		size_t end = next + WARM_STEP;

		open_until(fleet, &next, end < kept ? end : kept);
		keep_warm(fleet, &warm, next);
	}
	for (; next < fleet->count; next++) {
		fleet->agents[next].visits = true;
		fleet->agents[next].fd = -1;
	}
}

static void measure_sync(struct fleet *fleet, double seconds, double period, size_t kept)
{
	int64_t spent;

	open_kept(fleet, kept < fleet->count ? kept : fleet->count);
	printf("sync_open %zu\n", fleet->open);
	fleet->counting = true;
	spent = processor_ns(fleet->pid);
	sync_all(fleet, seconds, period);
	spent = processor_ns(fleet->pid) - spent;
	printf("sync_failed %zu\nsync_late %zu\nsync_rss %.1f\nsync_rate %.1f\n", fleet->lost, fleet->late,
	       resident_kib(fleet->pid) / 1024, (double)fleet->latencies[SYNC].count / seconds);
	printf("sync_cpu %.2f\nsync_cost %.1f\n", (double)spent / 1e7 / seconds,
	       (double)spent / 1e3 / (double)fleet->latencies[SYNC].count);
	printf("sync_visits %zu\n", fleet->visited);
	print_latencies(fleet, SYNC, "sync");
}

static void sync_fleet(char **args)
{
	struct fleet fleet = { .epoll = epoll_create1(EPOLL_CLOEXEC), .ctx = enrol_context(args[1]) };
	struct tg_error e = { "" };
	double seconds = 0, period = 0;
	uint64_t kept;

	must(fleet.epoll >= 0 && fleet.ctx, "cannot begin", NULL);
	fleet.port = (uint16_t)whole(args[0], "PORT", 65535);
	fleet.pid = (pid_t)whole(args[3], "PID", 1 << 22);
	must(!tool_parse_real(args[4], "SECONDS", 0.1, 3600, &seconds, &e), "call", &e);
	must(!tool_parse_real(args[5], "PERIOD", 0.1, 3600, &period, &e), "call", &e);
	kept = whole(args[6], "KEPT", FLEET_MAX);
	read_fleet(&fleet, args[2]);
	allow_files(kept);
	measure_sync(&fleet, seconds, period, kept);
	close_all(&fleet);
}

/* agents make */

/* The same key for all: it is the server's work that is measured. */
static void make_agent(struct store *store, EVP_PKEY *ca_key, X509 *ca, EVP_PKEY *key, const char *fleet,
		       uint64_t number, FILE *out)
{
	struct store_enrolment enrolment = { .now = time(NULL) };
	struct tg_client client = { .kind = TG_CLIENT_AGENT };
	struct store_token token = { .created = enrolment.now, .expires = enrolment.now + 3600 };
	enum store_refusal refusal = STORE_REFUSALS;
	struct tg_error e = { "" };
	X509 *certificate = NULL;

	snprintf(client.id, sizeof(client.id), "agent-%lu", (unsigned long)number);
	snprintf(client.fleet, sizeof(client.fleet), "%s", fleet);
	must(!tg_client_certificate(ca_key, ca, key, &client, enrolment.now, TG_AGENT_SECONDS_MAX,
				    &certificate, &e),
	     "certificate", &e);
	snprintf(token.id, sizeof(token.id), "made-%lu", (unsigned long)number);
	snprintf(token.fleet, sizeof(token.fleet), "%s", fleet);
	must(!tg_random(token.hash, sizeof(token.hash), &e), "token", &e);
	memcpy(enrolment.token_hash, token.hash, sizeof(token.hash));
	memcpy(enrolment.agent.identity, token.hash, sizeof(token.hash));
	snprintf(enrolment.agent.id, sizeof(enrolment.agent.id), "%s", client.id);
	snprintf(enrolment.agent.fleet, sizeof(enrolment.agent.fleet), "%s", fleet);
	enrolment.agent.level = TG_ASSURANCE_SOFTWARE;
	enrolment.agent.not_after = enrolment.certificate.not_after = enrolment.now + TG_AGENT_SECONDS_MAX;
	must(!tg_certificate_serial(certificate, enrolment.certificate.serial, &e), "serial", &e);
	must(!store_token_create(store, &token, &e) && !store_enrol(store, &enrolment, &refusal, &e) &&
		     !refusal,
	     "enrolment", &e);
	must(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1 &&
		     PEM_write_X509(out, certificate) == 1,
	     "cannot write a certificate", NULL);
	X509_free(certificate);
}

static void make(char **args)
{
	FILE *ca_file = open_file(args[1], "re"), *key_file = open_file(args[2], "re"),
	     *out = open_file(args[5], "we");
	X509 *ca = PEM_read_X509(ca_file, NULL, NULL, NULL);
	EVP_PKEY *ca_key = PEM_read_PrivateKey(key_file, NULL, NULL, NULL), *key = NULL;
	uint64_t count = whole(args[4], "COUNT", FLEET_MAX);
	struct store *store = NULL;
	struct tg_error e = { "" };

	must(ca && ca_key && !tg_p256_generate(&key, &e), "keys", &e);
	must(!store_open(args[0], &store, &e) && !store_begin(store, &e), "store", &e);
	for (uint64_t i = 0; i < count; i++)
		make_agent(store, ca_key, ca, key, args[3], i, out);
	must(!store_commit(store, &e), "store", &e);
	store_close(store);
	must(!fclose(out), args[5], NULL);
	fclose(ca_file);
	fclose(key_file);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
}

static void keep(char **args)
{
	struct fleet fleet = { .epoll = epoll_create1(EPOLL_CLOEXEC), .ctx = enrol_context(args[1]) };
	struct tg_error e = { "" };
	double seconds = 0;

	must(fleet.epoll >= 0 && fleet.ctx, "cannot begin", NULL);
	fleet.port = (uint16_t)whole(args[0], "PORT", 65535);
	fleet.pid = (pid_t)whole(args[3], "PID", 1 << 22);
	must(!tool_parse_real(args[4], "SECONDS", 0.1, 3600, &seconds, &e), "call", &e);
	read_fleet(&fleet, args[2]);
	allow_files(fleet.count);
	measure(&fleet, seconds);
	close_all(&fleet);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int arguments;
		void (*run)(char **args);
	} commands[] = { { "tokens", 4, tokens },
			 { "enrol", 5, enrol },
			 { "keep", 5, keep },
			 { "make", 6, make },
			 { "sync", 7, sync_fleet } };

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name) && argc - 2 == commands[i].arguments) {
			commands[i].run(argv + 2);
			return EXIT_SUCCESS;
		}
	fprintf(stderr, "Usage: %s tokens|enrol|keep|make|sync ARGUMENT...\n", argv[0]);
	return TOOL_USAGE;
}

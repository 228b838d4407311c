/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Enrols devices without a TPM, one for each token of a file, several at a time: tg-enrol PORT CA-FILE TOKENS
 * THREADS. Each device comes on a connection of its own. Prints one JSON object for each token that was
 * answered in any way, {"line": N, "status": ..., "reason": ..., "serial": ...}, as soon as it is, and a
 * summary at the end.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/enrol_client.h"
#include "common/tool.h"
#include "tensorguard/crypto.h"
#include "tensorguard/file.h"

#define PROGRAM "tg-enrol"
enum { MAX_THREADS = 64, MAX_TOKENS = 100000, FILE_MAX = 16 << 20 };

struct work {
	pthread_mutex_t lock;
	struct enrol_place place;
	char **tokens;
	size_t count, next;
	unsigned issued, refused, failed;
};

/* The next token's number; the count of all when there is none left. */
static size_t take(struct work *work)
{
	size_t at;

	pthread_mutex_lock(&work->lock);
	at = work->next < work->count ? work->next++ : work->count;
	pthread_mutex_unlock(&work->lock);
	return at;
}

static void serial_of(const struct tg_bytes *pem, char ret_serial[static TG_SERIAL_TEXT_LEN])
{
	BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	ret_serial[0] = '\0';
	if (cert)
		tg_certificate_serial(cert, ret_serial, NULL);
	X509_free(cert);
	BIO_free(bio);
}

/* One line each: they are read while they come. */
static void print_line(json_t *object)
{
	if (object && !json_dumpf(object, stdout, JSON_COMPACT) && putchar('\n') != EOF)
		fflush(stdout);
	json_decref(object);
}

static void report(struct work *work, size_t line, int ret, const struct enrol_reply *reply,
		   const char *serial)
{
	pthread_mutex_lock(&work->lock);
	if (ret)
		work->failed++;
	else if (reply->status == 200)
		work->issued++;
	else
		work->refused++;
	if (!ret)
		print_line(json_pack("{s:i, s:i, s:s, s:s}", "line", (int)line, "status", reply->status,
				     "reason", reply->reason, "serial", serial));
	pthread_mutex_unlock(&work->lock);
}

static void enrol_one(struct work *work, size_t at)
{
	char serial[TG_SERIAL_TEXT_LEN] = "";
	struct enrol_client *client = NULL;
	struct tg_enrol_issued issued = { 0 };
	struct enrol_reply reply = { 0 };
	EVP_PKEY *key = NULL;
	int ret = tg_p256_generate(&key, NULL);

	if (!ret)
		ret = enrol_client_open(&work->place, NULL, NULL, &client, NULL);
	if (!ret)
		ret = enrol_client_software(client, work->tokens[at], key, &issued, &reply, NULL);
	if (!ret && reply.status == 200)
		serial_of(&issued.certificate, serial);
	report(work, at + 1, ret, &reply, serial);
	tg_enrol_issued_clear(&issued);
	enrol_reply_clear(&reply);
	enrol_client_close(client);
	EVP_PKEY_free(key);
}

static void *enrol_all(void *arg)
{
	struct work *work = arg;
	size_t at;

	while ((at = take(work)) < work->count)
		enrol_one(work, at);
	return NULL;
}

static int read_tokens(const char *path, struct work *work, struct tg_bytes *ret_text, struct tg_error *e)
{
	char *rest, *line;
	int ret = tg_file_read(path, FILE_MAX, ret_text, e);

	if (ret)
		return ret;
	work->tokens = calloc(MAX_TOKENS, sizeof(*work->tokens));
	rest = work->tokens ? strndup((const char *)ret_text->data, ret_text->len) : NULL;
	tg_bytes_free(ret_text);
	*ret_text = (struct tg_bytes){ (uint8_t *)rest, 0 };
	if (!rest)
		return tg_error(e, -ENOMEM, "out of memory");
	while (work->count < MAX_TOKENS && (line = strsep(&rest, "\n")))
		if (*line)
			work->tokens[work->count++] = line;
	return work->count ? 0 : tg_error(e, -EINVAL, "%s: no tokens", path);
}

static void run_threads(struct work *work, unsigned count)
{
	pthread_t threads[MAX_THREADS];
	unsigned started = 0;

	while (started < count && !pthread_create(&threads[started], NULL, enrol_all, work))
		started++;
	while (started)
		pthread_join(threads[--started], NULL);
}

static int run(char **args, struct tg_error *e)
{
	struct work work = { .lock = PTHREAD_MUTEX_INITIALIZER, .place.ca_file = args[2] };
	uint64_t port, threads, begin, end;
	struct tg_bytes text = { 0 };
	int ret;

	ret = tool_parse_whole(args[1], "PORT", 1, 65535, &port, e);
	if (!ret)
		ret = tool_parse_whole(args[4], "THREADS", 1, MAX_THREADS, &threads, e);
	if (!ret)
		ret = read_tokens(args[3], &work, &text, e);
	if (!ret) {
		work.place.port = (uint16_t)port;
		begin = (uint64_t)tool_now_ns(CLOCK_MONOTONIC);
		run_threads(&work, (unsigned)threads);
		end = (uint64_t)tool_now_ns(CLOCK_MONOTONIC);
		print_line(json_pack("{s:i, s:i, s:i, s:f}", "issued", work.issued, "refused", work.refused,
				     "failed", work.failed, "seconds",
				     (double)(end - begin) / TOOL_NS_PER_S));
	}
	free(work.tokens);
	tg_bytes_free(&text);
	return ret;
}

int main(int argc, char **argv)
{
	struct tg_error e = { "" };

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 5) {
		tg_error(&e, 0, "expected PORT CA-FILE TOKENS THREADS");
		return tool_fail(PROGRAM, TOOL_USAGE, &e);
	}
	return run(argv, &e) ? tool_fail(PROGRAM, TOOL_FAILED, &e) : 0;
}

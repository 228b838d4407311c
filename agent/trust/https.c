/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "tensorguard/crypto.h"
#include "tensorguard/enrol.h"
#include "trust/https.h"
#include "trust/libcurl.h"

enum {
	CONNECT_SECONDS = 15,
	REQUEST_SECONDS = 60,
	URL_MAX = 512,
	SLOW_BYTES = 512,	/* a second: a file that comes more slowly does not come */
	SLOW_SECONDS = 30,
};

struct https {
	struct https_conf conf;
	CURL *curl;
	struct curl_slist *headers;
	X509 *certificate;
	uint8_t exporter[TG_EXPORTER_LEN];
	bool same;		/* the request must go over the connection that `exporter` is of */
	char key_error[sizeof(((struct tg_error *)0)->message)]; /* of load_key() */
	int stopped;		/* why a callback of ours ended the request: a negative errno */
	struct tg_bytes body;	/* of the answer, as far as it came */
	const struct https_file *file; /* what is got; NULL: the body is kept */
	uint64_t came;		/* bytes of it */
	char tag[128], range[128]; /* headers of its answer; "": not there */
	char message[CURL_ERROR_SIZE];
};

int https_check_url(const char *url, struct tg_error *e)
{
	char *scheme = NULL, *path = NULL, *rest = NULL;
	int ret = libcurl_load(e);
	CURLU *parts;
	bool ok;

	if (ret)
		return ret;
	parts = curl_url();
	if (!parts)
		return tg_error(e, -ENOMEM, "out of memory");
	ok = strlen(url) < URL_MAX / 2 && !curl_url_set(parts, CURLUPART_URL, url, 0) &&
	     !libcurl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) && !strcmp(scheme, "https") &&
	     !libcurl_url_get(parts, CURLUPART_PATH, &path, 0) && !strcmp(path, "/") &&
	     libcurl_url_get(parts, CURLUPART_USER, &rest, 0) &&
	     libcurl_url_get(parts, CURLUPART_QUERY, &rest, 0) &&
	     libcurl_url_get(parts, CURLUPART_FRAGMENT, &rest, 0);
	curl_free(scheme);
	curl_free(path);
	curl_free(rest);
	curl_url_cleanup(parts);
	return ok ? 0 : tg_error(e, -EINVAL, "'%.100s': expected https://HOST or https://HOST:PORT", url);
}

/* ---- what libcurl calls ---- */

/* A clock that was set back, or that lost its battery, is no reason to call the Platform's certificate too
 * new. */
static void set_time(const struct https *https, SSL_CTX *tls)
{
	int64_t now = time(NULL);

	if (now < https->conf.not_before)
		X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(tls), https->conf.not_before);
}

/* Only the connection has the key, and only until it is up (on_connected). */
static int on_certificate(SSL *tls, X509 **ret_certificate, EVP_PKEY **ret_key)
{
	struct https *https = SSL_CTX_get_app_data(SSL_get_SSL_CTX(tls));
	struct tg_error e = { "" };

	https->stopped = https->conf.load_key(https->conf.arg, ret_key, &e);
	if (https->stopped) {
		snprintf(https->key_error, sizeof(https->key_error), "%s", e.message);
		return 0;
	}
	X509_up_ref(https->certificate);
	*ret_certificate = https->certificate;
	return 1;
}

static void forget_key(CURL *curl)
{
	struct curl_tlssessioninfo *info = NULL;

	if (!curl_easy_getinfo(curl, CURLINFO_TLS_SSL_PTR, &info) && info &&
	    info->backend == CURLSSLBACKEND_OPENSSL && info->internals)
		SSL_certs_clear(info->internals);
}

static CURLcode on_tls(CURL *curl, void *tls, void *arg)
{
	struct https *https = arg;

	(void)curl;
	set_time(https, tls);
	if (!https->certificate)
		return CURLE_OK;
	if (!https->conf.key) {
		SSL_CTX_set_app_data(tls, https);
		SSL_CTX_set_client_cert_cb(tls, on_certificate);
		return CURLE_OK;
	}
	if (SSL_CTX_use_certificate(tls, https->certificate) == 1 &&
	    SSL_CTX_use_PrivateKey(tls, https->conf.key) == 1)
		return CURLE_OK;
	return CURLE_SSL_CERTPROBLEM;
}

/* RFC 9266: no context, which for TLS 1.3 is the same as an empty one. */
static int read_exporter(CURL *curl, uint8_t ret_exporter[static TG_EXPORTER_LEN])
{
	struct curl_tlssessioninfo *info = NULL;

	if (curl_easy_getinfo(curl, CURLINFO_TLS_SSL_PTR, &info) || !info ||
	    info->backend != CURLSSLBACKEND_OPENSSL || !info->internals)
		return -EPROTO;
	if (SSL_export_keying_material(info->internals, ret_exporter, TG_EXPORTER_LEN, TG_EXPORTER_LABEL,
				       strlen(TG_EXPORTER_LABEL), NULL, 0, 0) != 1)
		return -EPROTO;
	return 0;
}

/* The connection is up and nothing was sent on it for this request. */
static int on_connected(void *arg, char *peer, char *local, int peer_port, int local_port)
{
	struct https *https = arg;
	uint8_t exporter[TG_EXPORTER_LEN];

	(void)peer;
	(void)local;
	(void)peer_port;
	(void)local_port;
	if (https->certificate && !https->conf.key)
		forget_key(https->curl);
	https->stopped = read_exporter(https->curl, exporter);
	if (!https->stopped && https->same && !tg_equal(exporter, https->exporter, sizeof(exporter)))
		https->stopped = -ESTALE;
	if (!https->stopped)
		memcpy(https->exporter, exporter, sizeof(exporter));
	OPENSSL_cleanse(exporter, sizeof(exporter));
	return https->stopped ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* "Name: VALUE", without the blanks around the value. */
static void take_header(const char *line, size_t len, const char *name, char *ret_value, size_t size)
{
	size_t skip = strlen(name);

	if (len <= skip || strncasecmp(line, name, skip) || line[skip] != ':')
		return;
	for (skip++; skip < len && (line[skip] == ' ' || line[skip] == '\t'); skip++)
		;
	while (len > skip && isspace((unsigned char)line[len - 1]))
		len--;
	snprintf(ret_value, size, "%.*s", (int)(len - skip), line + skip);
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	struct https *https = arg;

	(void)size;
	take_header(data, count, "ETag", https->tag, sizeof(https->tag));
	take_header(data, count, "Content-Range", https->range, sizeof(https->range));
	return count;
}

/* Whether the answer is the part of the file that was asked for. */
static bool is_asked_for(const struct https *https, long status)
{
	const struct https_file *file = https->file;
	char tag[sizeof(https->tag)], range[sizeof(https->range)];
	curl_off_t len = -1;

	snprintf(tag, sizeof(tag), "\"%s\"", file->tag);
	snprintf(range, sizeof(range), "bytes %llu-%llu/%llu", (unsigned long long)file->from,
		 (unsigned long long)file->size - 1, (unsigned long long)file->size);
	curl_easy_getinfo(https->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &len);
	if (strcmp(https->tag, tag) || len < 0 || (uint64_t)len != file->size - file->from)
		return false;
	return status == 206 ? !strcmp(https->range, range) : !file->from;
}

static size_t take_file(struct https *https, const char *data, size_t count)
{
	long status = 0;

	curl_easy_getinfo(https->curl, CURLINFO_RESPONSE_CODE, &status);
	if (!https->came && !is_asked_for(https, status))
		https->stopped = -ESTALE;
	else
		https->stopped = https->file->take(https->file->ctx, data, count);
	https->came += count;
	return https->stopped ? 0 : count;
}

static bool is_file(const struct https *https)
{
	long status = 0;

	curl_easy_getinfo(https->curl, CURLINFO_RESPONSE_CODE, &status);
	return https->file && (status == 200 || status == 206);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct https *https = arg;
	struct tg_bytes more;

	(void)size;
	if (is_file(https))
		return take_file(https, data, count);
	if (https->body.len + count > TG_ENROL_BODY_MAX) {
		https->stopped = -EFBIG;
		return 0;
	}
	more = (struct tg_bytes){ malloc(https->body.len + count + 1), https->body.len + count };
	if (!more.data) {
		https->stopped = -ENOMEM;
		return 0;
	}
	if (https->body.len)
		memcpy(more.data, https->body.data, https->body.len);
	memcpy(more.data + https->body.len, data, count);
	more.data[more.len] = '\0';
	tg_bytes_free(&https->body);
	https->body = more;
	return count;
}

/* Called at least once a second while a request runs. */
static int on_progress(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
	struct https *https = arg;

	(void)down_all;
	(void)down;
	(void)up_all;
	(void)up;
	if (https->conf.stop && atomic_load(https->conf.stop))
		https->stopped = -ECANCELED;
	return https->stopped;
}

/* ---- setting up ---- */

static int read_certificate(const struct tg_bytes *pem, X509 **ret_certificate, struct tg_error *e)
{
	BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);
	X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	if (!certificate)
		return tg_openssl_error(e, -EBADMSG, "the device's certificate");
	*ret_certificate = certificate;
	return 0;
}

static CURLcode set_ca(CURL *curl, const struct tg_bytes *ca)
{
	struct curl_blob blob = { ca->data, ca->len, CURL_BLOB_NOCOPY };
	CURLcode code;

	if (!ca->len)
		return CURLE_OK;
	/* the system's CAs go: this one is pinned */
	code = curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
	if (!code)
		code = curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	return code ? code : curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
}

static CURLcode set_options(struct https *https)
{
	CURL *curl = https->curl;
	CURLcode code = set_ca(curl, https->conf.ca);

#define SET(option, value)                                            \
	do {                                                          \
		if (!code)                                            \
			code = curl_easy_setopt(curl, option, value); \
	} while (0)
	SET(CURLOPT_PROTOCOLS_STR, "https");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	SET(CURLOPT_SSL_CTX_FUNCTION, on_tls);
	SET(CURLOPT_SSL_CTX_DATA, https);
	SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
	SET(CURLOPT_PREREQFUNCTION, on_connected);
	SET(CURLOPT_PREREQDATA, https);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, https);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, https);
	SET(CURLOPT_XFERINFOFUNCTION, on_progress);
	SET(CURLOPT_XFERINFODATA, https);
	SET(CURLOPT_NOPROGRESS, 0L);
	SET(CURLOPT_ERRORBUFFER, https->message);
	SET(CURLOPT_HTTPHEADER, https->headers);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
	SET(CURLOPT_TIMEOUT, (long)REQUEST_SECONDS);
#undef SET
	return code;
}

int https_open(const struct https_conf *conf, struct https **ret_https, struct tg_error *e)
{
	struct https *https;
	int ret = libcurl_load(e);

	if (ret)
		return ret;
	https = calloc(1, sizeof(*https));
	if (!https)
		return tg_error(e, -ENOMEM, "out of memory");
	https->conf = *conf;
	https->curl = curl_easy_init();
	/* no "Expect: 100-continue", which costs a round trip */
	https->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (https->headers)
		curl_slist_append(https->headers, "Expect:");
	if (conf->certificate)
		ret = read_certificate(conf->certificate, &https->certificate, e);
	if (!ret && (!https->curl || !https->headers || set_options(https)))
		ret = tg_error(e, -ENOMEM, "libcurl cannot be set up");
	if (ret)
		https_close(https);
	else
		*ret_https = https;
	return ret;
}

void https_close(struct https *https)
{
	if (!https)
		return;
	if (https->curl)
		curl_easy_cleanup(https->curl);
	curl_slist_free_all(https->headers);
	X509_free(https->certificate);
	tg_bytes_free(&https->body);
	OPENSSL_cleanse(https, sizeof(*https));
	free(https);
}

/* ---- a request ---- */

static int error_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_PEER_FAILED_VERIFICATION:
		return -EKEYREJECTED;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_RECV_ERROR:
		return -EPROTO;
	default:
		return -EHOSTUNREACH;
	}
}

/* Wrong clocks are what makes right certificates wrong. */
static void say_time(char text[static 64])
{
	time_t now = time(NULL);
	struct tm tm;

	strftime(text, 64, " (this machine's clock says %Y-%m-%d %H:%M:%S UTC)", gmtime_r(&now, &tm));
}

static int failed(const struct https *https, CURLcode code, struct tg_error *e)
{
	char clock[64] = "";
	int ret = error_of(code);

	if (https->key_error[0])
		return tg_error(e, https->stopped ? https->stopped : -EIO, "%s", https->key_error);
	if (https->stopped == -ESTALE)
		return tg_error(e, -ESTALE, "the connection to the Platform was lost");
	if (https->stopped == -EFBIG)
		return tg_error(e, -EBADMSG, "the Platform's answer is too large");
	if (https->stopped)
		return tg_error(e, https->stopped, "the connection to the Platform cannot be used: %s",
				strerror(-https->stopped));
	if (ret == -EKEYREJECTED)
		say_time(clock);
	return tg_error(e, ret, "%s: %s%s", https->conf.url,
			https->message[0] ? https->message : curl_easy_strerror(code), clock);
}

static CURLcode set_url(struct https *https, const char *path)
{
	char url[URL_MAX];
	size_t len = strlen(https->conf.url);

	while (len && https->conf.url[len - 1] == '/')
		len--;
	snprintf(url, sizeof(url), "%.*s%s", (int)len, https->conf.url, path);
	return curl_easy_setopt(https->curl, CURLOPT_URL, url);
}

static void begin(struct https *https, bool same, const struct https_file *file)
{
	https->same = same;
	https->file = file;
	https->came = 0;
	https->stopped = 0;
	https->key_error[0] = https->message[0] = https->tag[0] = https->range[0] = '\0';
	tg_bytes_free(&https->body);
}

static int end(struct https *https, CURLcode code, struct https_answer *ret_answer, struct tg_error *e)
{
	if (code)
		return failed(https, code, e);
	curl_easy_getinfo(https->curl, CURLINFO_RESPONSE_CODE, &ret_answer->status);
	ret_answer->body = https->body;
	https->body = (struct tg_bytes){ 0 };
	return 0;
}

int https_post(struct https *https, const char *path, const struct tg_bytes *body, bool same,
	       struct https_answer *ret_answer, struct tg_error *e)
{
	CURLcode code = set_url(https, path);

	begin(https, same, NULL);
	if (!code)
		code = curl_easy_setopt(https->curl, CURLOPT_POSTFIELDSIZE, (long)body->len);
	if (!code)
		code = curl_easy_setopt(https->curl, CURLOPT_POSTFIELDS, (const char *)body->data);
	if (!code)
		code = curl_easy_perform(https->curl);
	return end(https, code, ret_answer, e);
}

/* No limit to the whole: it may be large. What stands still is given up. */
static CURLcode set_get(struct https *https, const struct curl_slist *headers, const char *range)
{
	CURLcode code = curl_easy_setopt(https->curl, CURLOPT_HTTPGET, 1L);

	if (!code)
		code = curl_easy_setopt(https->curl, CURLOPT_HTTPHEADER, headers);
	if (!code)
		code = curl_easy_setopt(https->curl, CURLOPT_RANGE, range);
	if (!code)
		code = curl_easy_setopt(https->curl, CURLOPT_TIMEOUT, 0L);
	if (!code)
		code = curl_easy_setopt(https->curl, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES);
	return code ? code : curl_easy_setopt(https->curl, CURLOPT_LOW_SPEED_TIME, (long)SLOW_SECONDS);
}

/* As set_options() has it. */
static void set_post(struct https *https)
{
	curl_easy_setopt(https->curl, CURLOPT_HTTPHEADER, https->headers);
	curl_easy_setopt(https->curl, CURLOPT_RANGE, NULL);
	curl_easy_setopt(https->curl, CURLOPT_TIMEOUT, (long)REQUEST_SECONDS);
	curl_easy_setopt(https->curl, CURLOPT_LOW_SPEED_TIME, 0L);
}

int https_get(struct https *https, const struct https_file *file, struct https_answer *ret_answer,
	      struct tg_error *e)
{
	struct curl_slist *headers = NULL;
	char range[32], condition[sizeof(https->tag) + 16];
	CURLcode code = set_url(https, file->path);

	begin(https, false, file);
	snprintf(range, sizeof(range), "%llu-", (unsigned long long)file->from);
	snprintf(condition, sizeof(condition), "If-Range: \"%s\"", file->tag);
	if (!code && file->from)
		headers = curl_slist_append(NULL, condition);
	if (!code && file->from && !headers)
		code = CURLE_OUT_OF_MEMORY;
	if (!code)
		code = set_get(https, headers, file->from ? range : NULL);
	if (!code)
		code = curl_easy_perform(https->curl);
	set_post(https);
	curl_slist_free_all(headers);
	https->file = NULL;
	if (code && https->stopped && !https->key_error[0])
		return tg_error(e, https->stopped, "%s: %s", https->conf.url,
				https->stopped == -ESTALE ? "it has something else in the file's place"
							  : strerror(-https->stopped));
	if (code == CURLE_PARTIAL_FILE)
		return tg_error(e, -EPIPE, "%s: the connection ended in the middle", https->conf.url);
	return end(https, code, ret_answer, e);
}

const uint8_t *https_exporter(const struct https *https)
{
	return https->exporter;
}

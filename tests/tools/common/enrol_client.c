/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/enrol_client.h"
#include "tensorguard/crypto.h"

enum { ANSWER_MAX = 1024 * 1024, TIMEOUT_SECONDS = 30 };

struct enrol_client {
	SSL_CTX *ctx;
	SSL *tls;
	int fd;
};

void enrol_reply_clear(struct enrol_reply *reply)
{
	tg_bytes_free(&reply->body);
	memset(reply, 0, sizeof(*reply));
}

X509 *enrol_client_peer(const struct enrol_client *client)
{
	return SSL_get0_peer_certificate(client->tls);
}

void enrol_client_close(struct enrol_client *client)
{
	if (!client)
		return;
	SSL_free(client->tls);
	SSL_CTX_free(client->ctx);
	if (client->fd >= 0)
		close(client->fd);
	free(client);
}

int enrol_connect(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { .tv_sec = TIMEOUT_SECONDS };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -errno;
	/* head and body are two writes: the second would wait for the first to be acknowledged */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&at, sizeof(at))) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	return fd;
}

SSL_CTX *enrol_context(const char *ca_file)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx && SSL_CTX_load_verify_file(ctx, ca_file) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	if (ctx)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return ctx;
}

SSL *enrol_tls(SSL_CTX *ctx, int fd, X509 *certificate, EVP_PKEY *key)
{
	SSL *tls = SSL_new(ctx);

	if (tls && SSL_set1_host(tls, "localhost") == 1 && SSL_set_fd(tls, fd) == 1 &&
	    (!certificate ||
	     (SSL_use_certificate(tls, certificate) == 1 && SSL_use_PrivateKey(tls, key) == 1)))
		return tls;
	SSL_free(tls);
	return NULL;
}

static int shake_hands(struct enrol_client *client, const char *ca_file, X509 *certificate, EVP_PKEY *key)
{
	client->ctx = enrol_context(ca_file);
	client->tls = client->ctx ? enrol_tls(client->ctx, client->fd, certificate, key) : NULL;
	if (!client->tls)
		return -EINVAL;
	return SSL_connect(client->tls) == 1 ? 0 : -EPROTO;
}

int enrol_client_open(const struct enrol_place *place, X509 *certificate, EVP_PKEY *key,
		      struct enrol_client **ret_client, struct tg_error *e)
{
	struct enrol_client *client = calloc(1, sizeof(*client));
	int ret;

	if (!client)
		return tg_error(e, -ENOMEM, "out of memory");
	client->fd = enrol_connect(place->port);
	ret = client->fd < 0 ? tg_error(e, client->fd, "connect: %s", strerror(-client->fd))
			     : shake_hands(client, place->ca_file, certificate, key);
	if (ret) {
		if (client->fd >= 0)
			ret = tg_openssl_error(e, ret, "TLS");
		enrol_client_close(client);
		return ret;
	}
	*ret_client = client;
	return 0;
}

int enrol_client_exporter(struct enrol_client *client, uint8_t ret_exporter[static TG_EXPORTER_LEN],
			  struct tg_error *e)
{
	if (SSL_export_keying_material(client->tls, ret_exporter, TG_EXPORTER_LEN, TG_EXPORTER_LABEL,
				       strlen(TG_EXPORTER_LABEL), NULL, 0, 0) != 1)
		return tg_openssl_error(e, -EIO, "exporter");
	return 0;
}

int enrol_client_send(struct enrol_client *client, const void *data, size_t len)
{
	return !len || SSL_write(client->tls, data, (int)len) == (int)len ? 0 : -EIO;
}

size_t enrol_client_receive(struct enrol_client *client, char *ret_data, size_t size)
{
	size_t used = 0;
	int n;

	while (used < size - 1 && (n = SSL_read(client->tls, ret_data + used, (int)(size - 1 - used))) > 0)
		used += (size_t)n;
	ret_data[used] = '\0';
	return used;
}

void enrol_client_end(struct enrol_client *client)
{
	SSL_shutdown(client->tls);
	shutdown(client->fd, SHUT_WR);
}

static int send_request(struct enrol_client *client, const char *path, const struct tg_bytes *body)
{
	char head[512];
	int len;

	if (!body)
		len = snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
	else
		len = snprintf(head, sizeof(head),
			       "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", path,
			       body->len);
	if (enrol_client_send(client, head, (size_t)len))
		return -EIO;
	return body ? enrol_client_send(client, body->data, body->len) : 0;
}

/* Up to the empty line. Returns the length of the body that follows. */
static int read_head(struct enrol_client *client, int *ret_status, size_t *ret_len)
{
	char head[4096];
	const char *length;
	size_t used = 0;

	while (used < 4 || memcmp(head + used - 4, "\r\n\r\n", 4) != 0) {
		if (used == sizeof(head) - 1 || SSL_read(client->tls, head + used, 1) != 1)
			return -EIO;
		used++;
	}
	head[used] = '\0';
	length = strcasestr(head, "\r\nContent-Length: ");
	if (sscanf(head, "HTTP/1.1 %d", ret_status) != 1 || !length)
		return -EPROTO;
	*ret_len = strtoul(length + strlen("\r\nContent-Length: "), NULL, 10);
	return *ret_len > ANSWER_MAX ? -EPROTO : 0;
}

static int read_body(struct enrol_client *client, size_t len, struct tg_bytes *ret_body)
{
	struct tg_bytes body = { calloc(1, len + 1), 0 };

	while (body.data && body.len < len) {
		int n = SSL_read(client->tls, body.data + body.len, (int)(len - body.len));

		if (n <= 0) {
			tg_bytes_free(&body);
			return -EIO;
		}
		body.len += (size_t)n;
	}
	*ret_body = body;
	return body.data ? 0 : -ENOMEM;
}

static void read_reason(struct enrol_reply *reply)
{
	json_t *object = json_loadb((const char *)reply->body.data, reply->body.len, 0, NULL);
	const char *reason = json_string_value(json_object_get(object, "reason"));

	snprintf(reply->reason, sizeof(reply->reason), "%s", reason ? reason : "");
	json_decref(object);
}

/* For a test that compares what was seen with what is documented: a line in the file $TEST_SEEN. */
static void note(const char *method, const char *path, int status)
{
	const char *name = getenv("TEST_SEEN");
	FILE *file = name ? fopen(name, "ae") : NULL;

	if (!file)
		return;
	fprintf(file, "%s %s %d\n", method, path, status);
	fclose(file);
}

int enrol_client_request(struct enrol_client *client, const char *path, const struct tg_bytes *body,
			 struct enrol_reply *ret_reply, struct tg_error *e)
{
	struct enrol_reply reply = { 0 };
	size_t len = 0;
	int ret = send_request(client, path, body);

	if (!ret)
		ret = read_head(client, &reply.status, &len);
	if (!ret)
		ret = read_body(client, len, &reply.body);
	if (ret)
		return tg_error(e, ret, "%s: no answer", path);
	note(body ? "POST" : "GET", path, reply.status);
	if (reply.status != 200)
		read_reason(&reply);
	*ret_reply = reply;
	return 0;
}

int enrol_client_start(struct enrol_client *client, enum tg_enrol_kind kind,
		       const struct tg_enrol_start *start, struct tg_attest_challenge *ret_challenge,
		       struct enrol_reply *ret_reply, struct tg_error *e)
{
	struct tg_bytes body;
	int ret = tg_enrol_start_encode(start, kind, &body, e);

	if (ret)
		return ret;
	ret = enrol_client_request(client, kind == TG_ENROL ? "/v1/enrol/start" : "/v1/renew/start", &body,
				   ret_reply, e);
	tg_bytes_free(&body);
	if (!ret && ret_reply->status == 200)
		ret = tg_enrol_challenge_decode(ret_reply->body.data, ret_reply->body.len, ret_challenge, e);
	return ret;
}

int enrol_client_finish(struct enrol_client *client, enum tg_enrol_kind kind,
			const struct tg_enrol_finish *finish, struct tg_enrol_issued *ret_issued,
			struct enrol_reply *ret_reply, struct tg_error *e)
{
	struct tg_bytes body;
	int ret = tg_enrol_finish_encode(finish, &body, e);

	if (ret)
		return ret;
	ret = enrol_client_request(client, kind == TG_ENROL ? "/v1/enrol/finish" : "/v1/renew/finish", &body,
				   ret_reply, e);
	tg_bytes_free(&body);
	if (!ret && ret_reply->status == 200)
		ret = tg_enrol_issued_decode(ret_reply->body.data, ret_reply->body.len, ret_issued, e);
	return ret;
}

int enrol_client_software(struct enrol_client *client, const char *token, EVP_PKEY *key,
			  struct tg_enrol_issued *ret_issued, struct enrol_reply *ret_reply,
			  struct tg_error *e)
{
	enum tg_enrol_kind kind = token ? TG_ENROL : TG_RENEW;
	struct tg_attest_challenge challenge = { 0 };
	struct tg_enrol_finish finish = { 0 };
	struct tg_enrol_start start = { 0 };
	int ret;

	snprintf(start.token, sizeof(start.token), "%s", token ? token : "");
	ret = enrol_client_start(client, kind, &start, &challenge, ret_reply, e);
	if (!ret && ret_reply->status == 200) {
		enrol_reply_clear(ret_reply);
		memcpy(finish.session, challenge.session, sizeof(finish.session));
		ret = tg_request_make(key, "device", &finish.evidence.csr, e);
		if (!ret)
			ret = enrol_client_finish(client, kind, &finish, ret_issued, ret_reply, e);
	}
	tg_attest_challenge_clear(&challenge);
	tg_enrol_finish_clear(&finish);
	tg_enrol_start_clear(&start);
	return ret;
}

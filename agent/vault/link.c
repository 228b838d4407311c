/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tensorguard/hex.h"
#include "vault/link.h"

enum { ANSWER_SECONDS = 20 };

void link_init(struct link *l)
{
	*l = (struct link){ .fd = -1 };
	pthread_mutex_init(&l->lock, NULL);
}

static void hang_up(struct link *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

void link_close(struct link *l)
{
	hang_up(l);
	pthread_mutex_destroy(&l->lock);
}

void link_drop(struct link *l)
{
	pthread_mutex_lock(&l->lock);
	hang_up(l);
	pthread_mutex_unlock(&l->lock);
}

static int take_name(const json_t *value, char ret_name[static TG_TGSP_MAX_NAME + 1])
{
	const char *text = json_string_value(value);

	if (!text || strlen(text) > TG_TGSP_MAX_NAME)
		return -EBADMSG;
	strcpy(ret_name, text);
	return 0;
}

int link_attach(struct link *l, int fd, const json_t *request, struct store_device *ret_device,
		struct tg_error *e)
{
	const struct timeval limit = { .tv_sec = ANSWER_SECONDS };
	const char *point = json_string_value(json_object_get(request, "point"));
	const json_t *attested = json_object_get(request, "attested"), *tpm = json_object_get(request, "tpm");
	struct link fresh = { .attached = true };

	if (take_name(json_object_get(request, "agent"), fresh.agent) ||
	    take_name(json_object_get(request, "fleet"), fresh.device.fleet) || !json_is_boolean(attested) ||
	    !json_is_boolean(tpm) || !point || tg_unhex(point, fresh.point, sizeof(fresh.point)))
		return tg_error(e, -EBADMSG, "attach: not as it should be");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		return tg_error(e, -errno, "attach: %s", strerror(errno));
	pthread_mutex_lock(&l->lock);
	hang_up(l);
	l->fd = fd;
	l->attached = true;
	l->device = fresh.device;
	l->device.attested = json_is_true(attested);
	l->in_tpm = json_is_true(tpm);
	memcpy(l->agent, fresh.agent, sizeof(l->agent));
	memcpy(l->point, fresh.point, sizeof(l->point));
	*ret_device = l->device;
	pthread_mutex_unlock(&l->lock);
	return 0;
}

/* One question and its answer. Anything that is neither ends the connection: trust makes another. */
static int exchange(struct link *l, struct link_request *request, struct link_answer *ret_answer)
{
	ssize_t n;

	if (l->fd < 0)
		return -ENOTCONN;
	request->number = ++l->number;
	if (send(l->fd, request, sizeof(*request), MSG_NOSIGNAL) != sizeof(*request)) {
		hang_up(l);
		return -ENOTCONN;
	}
	do {
		n = recv(l->fd, ret_answer, sizeof(*ret_answer), MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	if (n == sizeof(*ret_answer) && ret_answer->number == request->number && ret_answer->result <= 0)
		return ret_answer->result;
	hang_up(l);
	return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? -ETIMEDOUT : -ENOTCONN;
}

static int ask(struct link *l, struct link_request *request, struct link_answer *ret_answer,
	       struct tg_error *e)
{
	int ret;

	pthread_mutex_lock(&l->lock);
	ret = exchange(l, request, ret_answer);
	pthread_mutex_unlock(&l->lock);
	if (ret == -ENOTCONN)
		return tg_error(e, ret,
				"the agent's process trust, which has the device's key, is not there");
	return ret ? tg_error(e, ret, "the agent's process trust cannot do it: %s", strerror(-ret)) : 0;
}

static int ecdh(void *ctx, const uint8_t peer[static TG_P256_POINT_LEN], uint8_t ret_x[static TG_P256_X_LEN],
		struct tg_error *e)
{
	struct link_request request = { .kind = LINK_ECDH };
	struct link_answer answer;
	int ret;

	memcpy(request.point, peer, sizeof(request.point));
	ret = ask(ctx, &request, &answer, e);
	if (!ret)
		memcpy(ret_x, answer.x, sizeof(answer.x));
	OPENSSL_cleanse(&answer, sizeof(answer));
	return ret;
}

int link_sync(struct link *l, struct tg_error *e)
{
	struct link_request request = { .kind = LINK_SYNC };
	struct link_answer answer;

	return ask(l, &request, &answer, e);
}

static int ask_counter(struct link *l, uint32_t kind, struct link_answer *ret_answer, struct tg_error *e)
{
	struct link_request request = { .kind = kind };
	int ret = ask(l, &request, ret_answer, e);

	return ret && ret != -ENOTCONN ? tg_error(e, ret, "the TPM's counter: %s", strerror(-ret)) : ret;
}

static int counter_read(void *ctx, uint64_t *ret_value, struct tg_error *e)
{
	struct link_answer answer;
	int ret = ask_counter(ctx, LINK_COUNTER_READ, &answer, e);

	if (!ret)
		memcpy(ret_value, answer.x, sizeof(*ret_value));
	return ret;
}

static int counter_increment(void *ctx, struct tg_error *e)
{
	struct link_answer answer;

	return ask_counter(ctx, LINK_COUNTER_INCREMENT, &answer, e);
}

static int counter_define(void *ctx, struct tg_error *e)
{
	struct link_answer answer;

	return ask_counter(ctx, LINK_COUNTER_DEFINE, &answer, e);
}

bool link_counter(struct link *l, struct tg_floor_counter *ret_counter)
{
	bool in_tpm;

	pthread_mutex_lock(&l->lock);
	in_tpm = l->in_tpm;
	pthread_mutex_unlock(&l->lock);
	*ret_counter = (struct tg_floor_counter){ counter_read, counter_increment, l, counter_define };
	return in_tpm;
}

int link_private(struct link *l, struct tg_hpke_private *ret_key, struct tg_error *e)
{
	bool attached;

	pthread_mutex_lock(&l->lock);
	attached = l->attached;
	*ret_key = (struct tg_hpke_private){ .ecdh = ecdh, .ctx = l };
	memcpy(ret_key->point, l->point, sizeof(l->point));
	pthread_mutex_unlock(&l->lock);
	return attached ? 0
			: tg_error(e, -ENOTCONN,
				   "the device's key is not known yet: it is not enrolled, or the "
				   "agent's process trust is not there");
}

static int key_id(const uint8_t point[static TG_P256_POINT_LEN], uint8_t ret_id[static TG_KEY_ID_LEN])
{
	EVP_PKEY *key = NULL;
	int ret = tg_p256_from_point(point, &key, NULL);

	if (!ret)
		ret = tg_public_key_hash(key, ret_id, NULL);
	EVP_PKEY_free(key);
	return ret;
}

bool link_is_recipient(struct link *l, const struct tg_tgsp *package)
{
	uint8_t point[TG_P256_POINT_LEN], id[TG_KEY_ID_LEN];
	bool attached;

	pthread_mutex_lock(&l->lock);
	attached = l->attached;
	memcpy(point, l->point, sizeof(point));
	pthread_mutex_unlock(&l->lock);
	if (!attached || key_id(point, id))
		return true;
	for (size_t i = 0; i < tg_tgsp_recipient_count(package); i++)
		if (!memcmp(tg_tgsp_recipient_id(package, i), id, sizeof(id)))
			return true;
	return false;
}

/* As `tgsp pack --recipient` reads it, and the id that `tgsp inspect` shows. */
static int add_key(json_t *object, const uint8_t point[static TG_P256_POINT_LEN])
{
	char id_text[2 * TG_KEY_ID_LEN + 1], *pem = NULL;
	uint8_t id[TG_KEY_ID_LEN];
	EVP_PKEY *key = NULL;
	size_t len;
	int ret = tg_p256_from_point(point, &key, NULL);

	if (!ret)
		ret = tg_public_key_hash(key, id, NULL);
	if (!ret)
		ret = tg_key_write_public(key, &pem, &len, NULL);
	if (!ret) {
		tg_hex(id, sizeof(id), id_text);
		json_object_set_new(object, "recipient", json_string(id_text));
		json_object_set_new(object, "public_key", json_stringn(pem, len));
	}
	free(pem);
	EVP_PKEY_free(key);
	return ret;
}

json_t *link_json(struct link *l)
{
	json_t *object;

	pthread_mutex_lock(&l->lock);
	if (l->attached)
		object = json_pack("{s:s, s:s, s:b, s:s, s:b}", "agent", l->agent, "fleet", l->device.fleet,
				   "attested", l->device.attested, "key", l->in_tpm ? "tpm" : "software",
				   "connected", l->fd >= 0);
	else
		object = json_null();
	if (l->attached && object)
		(void)add_key(object, l->point);
	pthread_mutex_unlock(&l->lock);
	return object;
}

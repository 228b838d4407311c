/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tensorguard/hex.h"
#include "tensorguard/softkey.h"
#include "tensorguard/tpm.h"
#include "trust/download.h"
#include "trust/models.h"
#include "trust/state.h"
#include "vault/call.h"
#include "vault/link.h"

enum { PAUSE_MS = 1000, LOOK_MS = 5000 };

/* Of the floor under the releases that vault has opened (docs/models.md). */
#define COUNTER (TG_TPM_COUNTER_FIRST + 0x5447)

struct trust_models {
	const struct trust_conf *conf;
	int stop, hurry; /* eventfds */
	pthread_t thread;
	bool running;

	/* the identity that was attached, and its key */
	unsigned generation;
	char tcti[TRUST_TCTI_LEN];
	struct tg_tpm_key tpm_key;
	EVP_PKEY *soft_key; /* NULL: it is in the TPM */
	uint8_t point[TG_P256_POINT_LEN];
};

/* Whether it is to end; else after that time at most, or when `fd` has something. */
static bool wait_for(const struct trust_models *m, int fd, int ms, bool *ret_ready)
{
	struct pollfd fds[] = { { .fd = m->stop, .events = POLLIN }, { .fd = fd, .events = POLLIN } };

	*ret_ready = poll(fds, 2, ms) > 0 && fds[1].revents;
	return fds[0].revents;
}

/* ---- the key ---- */

static void forget_key(struct trust_models *m)
{
	tg_tpm_key_free(&m->tpm_key);
	EVP_PKEY_free(m->soft_key);
	m->soft_key = NULL;
	m->generation = 0;
}

static int soft_key(struct trust_models *m, struct tg_error *e)
{
	char path[PATH_MAX];
	int ret;

	if (!m->conf->secret)
		return tg_error(e, -ENOKEY, "there is no secret that the key is encrypted with");
	if (snprintf(path, sizeof(path), "%s/hpke.pem", m->conf->directory) >= (int)sizeof(path))
		return tg_error(e, -ENAMETOOLONG, "%.100s...: the path is too long", m->conf->directory);
	ret = tg_softkey_load(path, m->conf->secret, &m->soft_key, e);
	if (ret == -ENOENT)
		ret = tg_softkey_create(path, m->conf->secret, &m->soft_key, e);
	return ret ? ret : tg_p256_point(m->soft_key, m->point, e);
}

static int tpm_key(struct trust_models *m, const struct trust_identity *identity, struct tg_error *e)
{
	char path[PATH_MAX];
	int ret;

	if (snprintf(path, sizeof(path), "%s/hpke.pem", identity->folder) >= (int)sizeof(path))
		return tg_error(e, -ENAMETOOLONG, "%.100s...: the path is too long", identity->folder);
	ret = tg_tpm_key_load(path, &m->tpm_key, e);
	strcpy(m->tcti, identity->tcti);
	return ret ? ret : tg_tpm_key_point(&m->tpm_key, m->point, e);
}

/* The TPM is opened for one operation: it has few places, and whoever renews the certificate needs it too. */
static int use_key(const struct trust_models *m, const struct link_request *request,
		   struct link_answer *answer)
{
	struct tg_tpm *tpm;
	int ret;

	if (m->soft_key)
		return tg_key_ecdh(m->soft_key, request->point, answer->x, NULL);
	ret = tg_tpm_open(m->tcti, &tpm, NULL);
	if (ret)
		return ret;
	ret = tg_tpm_ecdh(tpm, &m->tpm_key, request->point, answer->x, NULL);
	tg_tpm_close(tpm);
	return ret;
}

/* The counter belongs to the device, not to an identity: a new enrolment goes on with it. */
static int use_counter(const struct trust_models *m, uint32_t kind, struct link_answer *answer)
{
	struct tg_tpm *tpm;
	uint64_t value;
	int ret;

	if (m->soft_key)
		return -EOPNOTSUPP;
	ret = tg_tpm_open(m->tcti, &tpm, NULL);
	if (ret)	/* -ENOENT is for the counter */
		return ret == -ENOENT ? -ENODEV : ret;
	if (kind == LINK_COUNTER_DEFINE)
		ret = tg_tpm_counter_define(tpm, COUNTER, NULL, 0, NULL);
	else if (kind == LINK_COUNTER_INCREMENT)
		ret = tg_tpm_counter_increment(tpm, COUNTER, NULL, 0, NULL);
	else
		ret = tg_tpm_counter_read(tpm, COUNTER, NULL, 0, &value, NULL);
	if (!ret && kind == LINK_COUNTER_READ)
		memcpy(answer->x, &value, sizeof(value));
	tg_tpm_close(tpm);
	return ret;
}

/* ---- the connection ---- */

static json_t *attach_json(const struct trust_models *m, const struct trust_identity *identity)
{
	char point[2 * TG_P256_POINT_LEN + 1];

	tg_hex(m->point, sizeof(m->point), point);
	return json_pack("{s:s, s:s, s:s, s:b, s:b, s:s}", "op", "attach", "agent", identity->agent, "fleet",
			 identity->fleet, "attested", identity->assurance == TG_ASSURANCE_TPM_ATTESTED, "tpm",
			 !identity->software, "point", point);
}

/* The first root, as it came with the enrolment: vault pins it. That it has another one is no reason not to
 * use the key for what it has. */
static void give_root(const struct trust_models *m, int fd, const struct trust_identity *identity)
{
	static const atomic_bool go_on;
	char line[sizeof(struct tg_error) + 64];
	struct tg_error e;

	if (!identity->model_root.len || !download_give(fd, "root", &identity->model_root, &go_on, &e))
		return;
	snprintf(line, sizeof(line), "trust: vault does not take the first root of models: %s", e.message);
	m->conf->log(line);
}

static int attach(struct trust_models *m, int fd, struct tg_error *e)
{
	struct trust_identity identity = { 0 };
	int ret = trust_identity_load(m->conf->directory, &identity, e);

	if (ret)
		return ret;
	forget_key(m);
	give_root(m, fd, &identity);
	ret = identity.software ? soft_key(m, e) : tpm_key(m, &identity, e);
	if (!ret && call_send(fd, attach_json(m, &identity), NULL, 0))
		ret = tg_error(e, -ENOTCONN, "vault hung up");
	if (!ret)
		m->generation = identity.generation;
	trust_identity_clear(&identity);
	return ret;
}

static int answer(struct trust_models *m, const struct link_request *request, struct link_answer *reply)
{
	switch (request->kind) {
	case LINK_ECDH:
		return use_key(m, request, reply);
	case LINK_SYNC:
		return eventfd_write(m->hurry, 1) ? -errno : 0;
	case LINK_COUNTER_READ:
	case LINK_COUNTER_INCREMENT:
	case LINK_COUNTER_DEFINE:
		return use_counter(m, request->kind, reply);
	default:
		return -EOPNOTSUPP;
	}
}

/* What is no request ends the connection. */
static bool serve_one(struct trust_models *m, int fd)
{
	struct link_request request;
	struct link_answer reply = { .result = 0 };
	ssize_t n = recv(fd, &request, sizeof(request), MSG_TRUNC | MSG_DONTWAIT);
	bool sent;

	if (n != sizeof(request))
		return false;
	reply.number = request.number;
	reply.result = answer(m, &request, &reply);
	if (reply.result)
		memset(reply.x, 0, sizeof(reply.x));
	sent = send(fd, &reply, sizeof(reply), MSG_NOSIGNAL) == sizeof(reply);
	OPENSSL_cleanse(&reply, sizeof(reply));
	return sent;
}

/* Until either end goes, or there is another identity. */
static void serve(struct trust_models *m, int fd)
{
	bool ready;

	while (!wait_for(m, fd, LOOK_MS, &ready)) {
		if (ready && !serve_one(m, fd))
			return;
		if (!ready && trust_generation(m->conf->directory) != m->generation)
			return;
	}
}

static void say_once(const struct trust_models *m, char *said, size_t size, const struct tg_error *e)
{
	char line[sizeof(e->message) + 64];

	if (!strcmp(said, e->message))
		return;
	snprintf(said, size, "%s", e->message);
	snprintf(line, sizeof(line), "trust: vault cannot use the device's key: %s", e->message);
	m->conf->log(line);
}

static void *run(void *ctx)
{
	struct trust_models *m = ctx;
	struct tg_error e = { "" }, said = { "" };
	bool ready;
	int fd;

	/* that nobody listens is no error: vault may not have been asked for */
	while (!wait_for(m, -1, PAUSE_MS, &ready)) {
		if (!trust_generation(m->conf->directory) || call_connect(m->conf->run_dir, &fd, &e))
			continue;
		if (attach(m, fd, &e))
			say_once(m, said.message, sizeof(said.message), &e);
		else
			serve(m, fd);
		close(fd);
	}
	return NULL;
}

int trust_models_start(const struct trust_conf *conf, int hurry, struct trust_models **ret_models,
		       struct tg_error *e)
{
	struct trust_models *m = calloc(1, sizeof(*m));
	sigset_t all, before;
	int ret;

	if (!m)
		return tg_error(e, -ENOMEM, "out of memory");
	m->conf = conf;
	m->hurry = hurry;
	m->stop = eventfd(0, EFD_CLOEXEC);
	sigfillset(&all);
	/* signals are the event loop's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = m->stop < 0 ? errno : pthread_create(&m->thread, NULL, run, m);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	m->running = !ret;
	if (ret) {
		trust_models_stop(m);
		return tg_error(e, -ret, "no thread to serve vault with: %s", strerror(ret));
	}
	*ret_models = m;
	return 0;
}

void trust_models_stop(struct trust_models *m)
{
	if (!m)
		return;
	if (m->running) {
		eventfd_write(m->stop, 1);
		pthread_join(m->thread, NULL);
	}
	if (m->stop >= 0)
		close(m->stop);
	forget_key(m);
	free(m);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tensorguard/hex.h"
#include "tensorguard/tgsp_lineage.h"
#include "vault/internal.h"

enum { SWEEP_S = 2, SEND_S = 10, STOP_S = 3, STACK = 1 << 20, LOG_DIGITS = 16 };

int vault_rules(struct vault *v, struct tg_tgsp_device *ret_device, struct tg_tgsp_rules *ret_rules,
		struct tg_error *e)
{
	return store_rules(&v->store, &v->device, vault_now(v), ret_device, ret_rules, e);
}

void vault_report(const struct vault *v, const char *what, const struct tg_tgsp_manifest *m,
		  const uint8_t *hash, const char *detail)
{
	char line[1024], hash_text[2 * TG_SHA256_LEN + 1] = "", lineage[256] = "", of[192] = "";

	if (hash)
		tg_hex(hash, TG_SHA256_LEN, hash_text);
	if (m) {
		tg_lineage_line(m, LOG_DIGITS, lineage, sizeof(lineage));
		snprintf(of, sizeof(of), " %s %s, release %llu", m->model, m->version,
			 (unsigned long long)m->release);
	}
	snprintf(line, sizeof(line), "vault: %s%s%s%.*s%s%s%s%s", what, of, hash ? ", manifest " : "",
		 LOG_DIGITS, hash_text, lineage[0] ? ", " : "", lineage, detail[0] ? ": " : "", detail);
	v->conf.log(line);
}

/* ---- clients ---- */

static void end_client(struct client *c)
{
	struct vault *v = c->vault;

	pthread_mutex_lock(&v->lock);
	held_release(c);
	if (c->fd >= 0)
		close(c->fd);
	peer_close(&c->peer);
	*c = (struct client){ .used = false };
	v->running--;
	pthread_cond_signal(&v->ended);
	pthread_mutex_unlock(&v->lock);
}

static void *run_client(void *ctx)
{
	struct client *c = ctx;
	struct call_fds fds = { .count = 0 };
	json_t *request;
	bool more = true;

	while (more && call_receive(c->fd, &request, &fds) > 0) {
		more = vault_request(c, request, &fds);
		json_decref(request);
		call_close(&fds);
	}
	end_client(c);
	return NULL;
}

/* Signals are the event loop's. */
static int start_thread(struct client *c)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	int ret;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&thread, &attributes, run_client, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -ret;
}

static bool is_manager(const struct vault *v, uid_t uid)
{
	return uid == 0 || uid == v->conf.trust;
}

struct client *vault_place(struct vault *v, uid_t uid)
{
	struct client *place = NULL;
	unsigned same = 0, using = 0;
	bool manager = is_manager(v, uid);

	for (size_t i = 0; i < VAULT_CLIENTS; i++) {
		const struct client *c = &v->clients[i];
		bool uses = c->held || !is_manager(v, c->peer.uid);

		if (!c->used) {
			place = &v->clients[i];
			continue;
		}
		using += uses;
		same += c->peer.uid == uid && (!manager || !uses);
	}
	if (!manager && using >= VAULT_CLIENTS_USING)
		return NULL;
	return same < VAULT_CLIENTS_OF_USER ? place : NULL;
}

static int take_client(struct vault *v, int fd, struct tg_error *e)
{
	const struct timeval limit = { .tv_sec = SEND_S };
	struct client *c;
	struct peer peer;
	int ret = peer_of(fd, &peer, e);

	if (ret)
		return ret;
	if (!is_manager(v, peer.uid) && !peer_is_known(v->conf.models, peer.uid)) {
		peer_close(&peer);
		return tg_error(e, -EACCES, "models.conf has nothing for user %u", (unsigned)peer.uid);
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	pthread_mutex_lock(&v->lock);
	c = vault_place(v, peer.uid);
	if (c) {
		*c = (struct client){ .vault = v, .used = true, .fd = fd, .peer = peer };
		ret = start_thread(c);
		if (ret)
			*c = (struct client){ .used = false };
		else
			v->running++;
	}
	pthread_mutex_unlock(&v->lock);
	if (c && !ret)
		return 0;
	peer_close(&peer);
	return tg_error(e, -EBUSY, "too many programs use models at once");
}

static void on_connect(evutil_socket_t listener, short what, void *ctx)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct vault *v = ctx;
	struct tg_error e;

	(void)what;
	if (fd < 0)
		return;
	if (!take_client(v, fd, &e))
		return;
	vault_report(v, "refused", NULL, NULL, e.message);
	/* the connection is new: there is room for one message */
	call_send(fd, json_pack("{s:s}", "error", e.message), NULL, 0);
	close(fd);
}

static void on_sweep(evutil_socket_t fd, short what, void *ctx)
{
	struct vault *v = ctx;

	(void)fd;
	(void)what;
	pthread_mutex_lock(&v->lock);
	held_sweep(v, false);
	pthread_mutex_unlock(&v->lock);
}

/* ---- beginning and end ---- */

static int watch(struct vault *v, struct event_base *base, struct tg_error *e)
{
	const struct timeval every = { .tv_sec = SWEEP_S };

	v->on_connect = event_new(base, v->conf.fd, EV_READ | EV_PERSIST, on_connect, v);
	v->on_sweep = event_new(base, -1, EV_PERSIST, on_sweep, v);
	if (!v->on_connect || !v->on_sweep || event_add(v->on_connect, NULL) ||
	    event_add(v->on_sweep, &every))
		return tg_error(e, -ENOMEM, "cannot watch the socket");
	return 0;
}

int vault_start(struct event_base *base, const struct vault_conf *conf, struct vault **ret_vault,
		struct tg_error *e)
{
	struct vault *v = calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return tg_error(e, -ENOMEM, "out of memory");
	v->conf = *conf;
	v->store.lock = -1;
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->opening, NULL);
	pthread_cond_init(&v->ended, NULL);
	link_init(&v->link);
	v->stop = eventfd(0, EFD_CLOEXEC);
	ret = v->stop < 0 ? tg_error(e, -errno, "%s", strerror(errno))
			  : store_open(conf->directory, conf->models, vault_now(v), conf->log, &v->store, e);
	if (!ret)
		ret = watch(v, base, e);
	if (ret) {
		vault_stop(v);
		return ret;
	}
	pthread_mutex_lock(&v->lock);
	held_sweep(v, false);
	pthread_mutex_unlock(&v->lock);
	*ret_vault = v;
	return 0;
}

/* Whether all threads have ended; they are told to, and have little time. */
static bool end_clients(struct vault *v)
{
	struct timespec limit;
	int ret = 0;

	eventfd_write(v->stop, 1);
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += STOP_S;
	pthread_mutex_lock(&v->lock);
	for (size_t i = 0; i < VAULT_CLIENTS; i++)
		if (v->clients[i].used && v->clients[i].fd >= 0)
			shutdown(v->clients[i].fd, SHUT_RDWR);
	while (v->running && !ret)
		ret = pthread_cond_timedwait(&v->ended, &v->lock, &limit);
	pthread_mutex_unlock(&v->lock);
	return !ret;
}

void vault_stop(struct vault *v)
{
	if (!v)
		return;
	if (v->on_connect)
		event_free(v->on_connect);
	if (v->on_sweep)
		event_free(v->on_sweep);
	/* one that decrypts still: the process ends, and the kernel takes the memory back */
	if (v->stop >= 0 && !end_clients(v))
		return;
	store_close(&v->store);
	link_close(&v->link);
	if (v->stop >= 0)
		close(v->stop);
	pthread_mutex_destroy(&v->lock);
	pthread_mutex_destroy(&v->opening);
	pthread_cond_destroy(&v->ended);
	free(v);
}

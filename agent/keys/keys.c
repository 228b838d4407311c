/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "instance/instance.h"
#include "keys/confine.h"
#include "keys/tunnel.h"
#include "tensorguard/base64.h"
#include "tensorguard/file.h"

enum { HASTE_MS = 1, PACE_MS = 100, WATCH_MS = 250, TEND_MS = 1000 };

void keys_say(const struct keys *k, const char *format, ...)
{
	char line[512];
	va_list args;
	int len = snprintf(line, sizeof(line), "keys: ");

	va_start(args, format);
	vsnprintf(line + len, sizeof(line) - (size_t)len, format, args);
	va_end(args);
	k->conf->log(line);
}

/* ---- the lock of the instance ---- */

int keys_lock(const struct keys *k)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;

	if (snprintf(path, sizeof(path), "%s/lock", k->conf->run_dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	/* whoever took the instance away has unlinked it */
	if (!flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &st) && st.st_nlink > 0)
		return fd;
	close(fd);
	return -EBUSY;
}

void keys_unlock(const struct keys *k, int fd)
{
	(void)k;
	close(fd);
}

/* ---- the policy in force ---- */

static void end(struct tunnel *tunnels, size_t count)
{
	for (size_t i = 0; i < count; i++)
		tunnel_end(&tunnels[i]);
	free(tunnels);
}

static void end_all(struct keys *k)
{
	end(k->tunnels, k->count);
	k->tunnels = NULL;
	k->count = 0;
}

static int begin_all(struct keys *k, struct tg_error *e)
{
	const struct tg_policy *policy = k->policy;
	int ret = 0;

	k->tunnels = calloc(policy->tunnel_count + 1, sizeof(*k->tunnels));
	if (!k->tunnels)
		return tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < policy->tunnel_count && !ret; i++)
		if (tg_tunnel_has_agents(&policy->tunnels[i]))
			ret = tunnel_begin(&k->tunnels[k->count++], k, &policy->tunnels[i], e);
	return ret;
}

static struct timespec mark_of(const struct keys *k, const char *name)
{
	const struct timespec none = { 0 };
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", k->conf->run_dir, name);
	return stat(path, &st) ? none : st.st_ctim;
}

static bool same_mark(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool any_switched(const struct keys *k)
{
	for (size_t i = 0; i < k->count; i++)
		if (k->tunnels[i].rotate.phase == ROTATE_SWITCHED)
			return true;
	return false;
}

/* ---- where it may write ---- */

static bool may_write(const struct keys *k, const char *folder)
{
	for (size_t i = 0; i < k->folder_count; i++)
		if (!strcmp(k->folders[i], folder))
			return true;
	return false;
}

static int add_folder(struct keys *k, const char *folder)
{
	if (may_write(k, folder))
		return 0;
	k->folders[k->folder_count] = strdup(folder);
	return k->folders[k->folder_count] ? (k->folder_count++, 0) : -ENOMEM;
}

static int confine(struct keys *k, struct tg_error *e)
{
	char folder[PATH_MAX];
	int ret = add_folder(k, k->conf->run_dir);

	for (size_t i = 0; i < k->count && !ret; i++) {
		keys_folder(k->tunnels[i].conf, folder);
		ret = add_folder(k, folder);
	}
	return ret ? tg_error(e, ret, "out of memory")
		   : confine_to((const char *const *)k->folders, k->folder_count, e);
}

/* Another policy may keep keys elsewhere: that is for another process, which is started at once. */
static void check_folders(struct keys *k)
{
	char folder[PATH_MAX];

	for (size_t i = 0; k->folder_count && i < k->count; i++) {
		keys_folder(k->tunnels[i].conf, folder);
		if (may_write(k, folder))
			continue;
		keys_say(k, "keys are in %s from now on: started again for that", folder);
		event_base_loopbreak(k->base);
	}
}

/* Another policy makes nobody forget how old a key is and who is there. */
static void inherit_all(struct keys *k, const struct tunnel *former, size_t count)
{
	for (size_t i = 0; i < k->count; i++)
		for (size_t j = 0; j < count; j++)
			tunnel_inherit(&k->tunnels[i], &former[j]);
}

static void take_policy(struct keys *k, struct tg_policy *fresh)
{
	struct tunnel *former = k->tunnels;
	struct tg_policy *old = k->policy;
	size_t count = k->count;
	struct tg_error e;

	k->policy = fresh;
	k->tunnels = NULL;
	k->count = 0;
	if (fresh && begin_all(k, &e)) {
		keys_say(k, "%s", e.message);
		end_all(k);
	}
	inherit_all(k, former, count);
	end(former, count);
	tg_policy_free(old);
}

static void read_policy(struct keys *k)
{
	struct timespec policy = mark_of(k, "policy.conf"), site = mark_of(k, "site.conf");
	struct tg_policy *fresh = NULL;
	struct tg_error e;

	if ((same_mark(&policy, &k->policy_mark) && same_mark(&site, &k->site_mark)) || any_switched(k))
		return;
	k->policy_mark = policy;
	k->site_mark = site;
	if (state_load(k->conf->run_dir, &fresh, &e) && policy.tv_sec)
		keys_say(k, "%s", e.message);
	take_policy(k, fresh);
	/* what the Platform said is told to the new ones as well */
	k->book_mark = (struct timespec){ 0 };
	check_folders(k);
}

/* True: it is another one. */
static bool read_book(struct keys *k)
{
	struct keys_book book;
	struct tg_error e;
	int ret = keys_book_read(k->conf->state_dir, &k->book_mark, &book, &e);

	if (ret < 0)
		keys_say(k, "%s", e.message);
	if (ret <= 0)
		return false;
	keys_book_free(&k->book);
	k->book = book;
	k->has_book = true;
	if (book.refused[0])
		keys_say(k, "the Platform refuses this device's keys: %s", book.refused);
	return true;
}

/* ---- keys.json ---- */

static json_t *peer_json(const struct link *l)
{
	json_t *object = json_pack("{s:s}", "agent", l->conf->agent);
	char text[TG_KEY_TEXT_LEN + 1];
	const uint8_t *candidate = keys_candidate(l->peer);

	if (l->peer->has_active) {
		tg_key_to_base64(l->peer->active, text);
		json_object_set_new(object, "key", json_string(text));
	}
	if (candidate) {
		tg_key_to_base64(candidate, text);
		json_object_set_new(object, "other", json_string(text));
	}
	return object;
}

static json_t *tunnel_json(const struct tunnel *t)
{
	json_t *peers = json_array(), *object;

	for (size_t i = 0; i < t->state.count; i++)
		json_array_append_new(peers, peer_json(&t->links[i]));
	object = json_pack("{s:s, s:s, s:I, s:I, s:I, s:b, s:i, s:s, s:o}", "tunnel", t->conf->name, "state",
			   rotate_phase_name(t->rotate.phase), "epoch", (json_int_t)t->state.epoch, "made",
			   (json_int_t)t->state.made, "rotation",
			   (json_int_t)(t->conf->rotation_ns / 1000000000u), "published", t->published,
			   "failures", (int)t->rotate.failures, "failure", t->failure, "peers", peers);
	if (t->has_own)
		keys_put(object, &t->own);
	return object;
}

static void write_file(struct keys *k)
{
	json_t *tunnels = json_array(), *root;
	char path[PATH_MAX], *text;
	struct tg_error e;

	for (size_t i = 0; i < k->count; i++)
		json_array_append_new(tunnels, tunnel_json(&k->tunnels[i]));
	root = json_pack("{s:i, s:o}", "format", KEYS_FORMAT, "tunnels", tunnels);
	text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	json_decref(root);
	if (!text || (k->written && !strcmp(text, k->written)) ||
	    snprintf(path, sizeof(path), "%s/" KEYS_FILE, k->conf->run_dir) >= (int)sizeof(path)) {
		free(text);
		return;
	}
	if (tg_file_replace(path, text, strlen(text), 0644, &e)) {
		keys_say(k, "%s", e.message);
		free(text);
		return;
	}
	free(k->written);
	k->written = text;
}

/* ---- the loop ---- */

static void tend(struct keys *k, uint64_t now)
{
	k->looked_ms = now;
	read_policy(k);
	for (size_t i = 0; i < k->count; i++)
		tunnel_tend(&k->tunnels[i], now);
	for (size_t i = 0; k->has_book && i < k->count; i++)
		tunnel_learn(&k->tunnels[i], &k->book);
	write_file(k);
}

/* What the Platform says is not waited for. */
static void learn(struct keys *k)
{
	if (any_switched(k) || !read_book(k))
		return;
	for (size_t i = 0; i < k->count; i++)
		tunnel_learn(&k->tunnels[i], &k->book);
	write_file(k);
}

static bool step_all(struct keys *k, uint64_t now)
{
	bool hasty = false, watch = now - k->watched_ms >= WATCH_MS;

	if (watch) {
		k->watched_ms = now;
		learn(k);
	}
	for (size_t i = 0; i < k->count; i++) {
		if (watch || tunnel_is_hasty(&k->tunnels[i], now))
			tunnel_step(&k->tunnels[i], now);
		hasty |= tunnel_is_hasty(&k->tunnels[i], now);
	}
	return hasty;
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct timeval wait = { .tv_usec = PACE_MS * 1000 };
	uint64_t now = monotonic_ns() / 1000000u;
	struct keys *k = ctx;

	(void)fd;
	(void)what;
	/* nothing that can wait comes between a key and its session */
	if (now - k->looked_ms >= TEND_MS && !any_switched(k))
		tend(k, now);
	if (step_all(k, now))
		wait.tv_usec = HASTE_MS * 1000;
	evtimer_add(k->timer, &wait);
}

int keys_start(struct event_base *base, const struct keys_conf *conf, struct keys **ret_keys,
	       struct tg_error *e)
{
	const struct timeval now = { 0 };
	struct keys *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return tg_error(e, -ENOMEM, "out of memory");
	k->conf = conf;
	k->base = base;
	read_policy(k);
	ret = confine(k, e);
	if (!ret)
		ret = net_open(&k->net, e);
	k->timer = evtimer_new(base, on_timer, k);
	if (!ret && (!k->timer || evtimer_add(k->timer, &now)))
		ret = tg_error(e, -ENOMEM, "out of memory");
	if (ret)
		keys_stop(k);
	else
		*ret_keys = k;
	return ret;
}

void keys_stop(struct keys *k)
{
	if (!k)
		return;
	end_all(k);
	tg_policy_free(k->policy);
	keys_book_free(&k->book);
	net_close(k->net);
	if (k->timer)
		event_free(k->timer);
	for (size_t i = 0; i < k->folder_count; i++)
		free(k->folders[i]);
	free(k->written);
	free(k);
}

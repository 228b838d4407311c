/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tensorguard/file.h"
#include "tensorguard/secret.h"
#include "tgsp/pass.h"

/* So many segments may be handled before the one that is the oldest not to be. */
enum { AHEAD = 256 };

struct pass {
	const struct tg_tgsp *package;
	tgsp_each *each;
	void *ctx;
	const struct tg_tgsp_progress *progress;
	size_t text_size;
	int stop;		/* an eventfd, which ends the waiting for a pipe */

	pthread_mutex_t reading; /* for the descriptor and these two */
	struct tgsp_segments segments;
	bool ended;		/* nothing more is to be read */

	pthread_mutex_t lock;	/* for the rest */
	pthread_cond_t room;	/* the tree has grown, or there is an error */
	struct tg_merkle tree;
	/* of segments that are not in the tree yet, by position modulo AHEAD */
	struct {
		bool there;
		uint8_t hash[TG_SHA256_LEN];
	} leaves[AHEAD];
	uint64_t done, total;	/* bytes */
	int err;
	uint64_t err_position;
	struct tg_error message;
};

struct worker {
	struct pass *pass;
	unsigned number;
	uint8_t *text;
};

/* Of all errors that of the first segment counts: all before it have been read and will be handled. */
static void fail(struct pass *p, uint64_t position, int err, const struct tg_error *message)
{
	pthread_mutex_lock(&p->lock);
	if (!p->err || position < p->err_position) {
		p->err = err;
		p->err_position = position;
		p->message = *message;
	}
	pthread_cond_broadcast(&p->room);
	pthread_mutex_unlock(&p->lock);
	eventfd_write(p->stop, 1);
}

/* 1, or 0 behind the last one, when the descriptor is at its end too. With `reading`. */
static int read_segment(struct pass *p, struct tgsp_read_segment *s, struct tg_error *e)
{
	uint8_t more;
	ssize_t n;

	if (!p->segments.left) {
		n = tg_read_until(p->package->fd, p->stop, &more, 1);
		return n ? tg_error(e, -EBADMSG, "the payload is longer than the manifest says") : 0;
	}
	s->len = tgsp_segment_len(&p->segments, &s->last);
	n = tg_read_until(p->package->fd, p->stop, s->text, s->len);
	if (n < 0)
		return tg_error(e, (int)n, "the package cannot be read: %s", strerror((int)-n));
	if ((size_t)n < s->len)
		return tg_error(e, -EBADMSG, "the payload is shorter than the manifest says");
	tgsp_segment_done(&p->segments, s->len);
	return 1;
}

/* False when there is no use in going on. */
static bool wait_for_room(struct pass *p, uint64_t position)
{
	bool useful;

	pthread_mutex_lock(&p->lock);
	while (!p->err && position - p->tree.count >= AHEAD)
		pthread_cond_wait(&p->room, &p->lock);
	useful = !p->err;
	pthread_mutex_unlock(&p->lock);
	return useful;
}

static int next_segment(struct pass *p, struct tgsp_read_segment *s, struct tg_error *e)
{
	int ret = 0;

	pthread_mutex_lock(&p->reading);
	s->position = p->segments.position;
	if (!p->ended && wait_for_room(p, s->position))
		ret = read_segment(p, s, e);
	p->ended = ret <= 0;
	pthread_mutex_unlock(&p->reading);
	return ret;
}

static int add_leaf(struct pass *p, const struct tgsp_read_segment *s, const uint8_t *leaf,
		    struct tg_error *e)
{
	int ret = 0;

	pthread_mutex_lock(&p->lock);
	p->leaves[s->position % AHEAD].there = true;
	memcpy(p->leaves[s->position % AHEAD].hash, leaf, TG_SHA256_LEN);
	for (size_t at = p->tree.count % AHEAD; !ret && p->leaves[at].there; at = p->tree.count % AHEAD) {
		p->leaves[at].there = false;
		ret = tg_merkle_add(&p->tree, p->leaves[at].hash, e);
	}
	p->done += s->len;
	tgsp_report(p->progress, p->done, p->total);
	pthread_cond_broadcast(&p->room);
	pthread_mutex_unlock(&p->lock);
	return ret;
}

static void work(struct worker *w)
{
	struct tgsp_read_segment s = { .text = w->text };
	struct pass *p = w->pass;
	struct tg_error message;
	int ret;

	while ((ret = next_segment(p, &s, &message)) > 0) {
		uint8_t leaf[TG_SHA256_LEN];

		ret = tg_merkle_leaf(s.text, s.len, leaf, &message);
		if (!ret && p->each)
			ret = p->each(p->ctx, w->number, &s, &message);
		if (!ret)
			ret = add_leaf(p, &s, leaf, &message);
		if (ret)
			break;
	}
	if (ret)
		fail(p, s.position, ret, &message);
}

static void *run(void *worker)
{
	work(worker);
	return NULL;
}

/* The caller's thread does its part; without others, which a limit may refuse, it does all. */
static int run_all(struct pass *p, struct tg_error *e)
{
	struct worker workers[TGSP_WORKERS] = { { .pass = p } };
	pthread_t threads[TGSP_WORKERS];
	unsigned count = 1;

	workers[0].text = tg_secret_new(p->text_size);
	if (!workers[0].text)
		return tg_error(e, -ENOMEM, "out of memory");
	for (unsigned i = 1; i < TGSP_WORKERS && p->segments.count > i; i++, count++) {
		workers[i] = (struct worker){ p, i, tg_secret_new(p->text_size) };
		if (!workers[i].text || pthread_create(&threads[i], NULL, run, &workers[i])) {
			tg_secret_free(workers[i].text, p->text_size);
			break;
		}
	}
	work(&workers[0]);
	for (unsigned i = 1; i < count; i++) {
		pthread_join(threads[i], NULL);
		tg_secret_free(workers[i].text, p->text_size);
	}
	tg_secret_free(workers[0].text, p->text_size);
	return p->err ? tg_error(e, p->err, "%s", p->message.message) : 0;
}

int tgsp_pass(const struct tg_tgsp *package, tgsp_each *each, void *ctx,
	      const struct tg_tgsp_progress *progress, struct tg_error *e)
{
	struct pass p = { .package = package,
			  .each = each,
			  .ctx = ctx,
			  .progress = progress,
			  .stop = eventfd(0, EFD_CLOEXEC) };
	int ret;

	if (p.stop < 0)
		return tg_error(e, -errno, "the package cannot be read: %s", strerror(errno));
	tgsp_segments_init(&p.segments, package->manifest);
	p.total = p.segments.left;
	p.text_size = p.segments.left < p.segments.segment ? (size_t)p.segments.left : p.segments.segment;
	pthread_mutex_init(&p.reading, NULL);
	pthread_mutex_init(&p.lock, NULL);
	pthread_cond_init(&p.room, NULL);
	ret = run_all(&p, e);
	pthread_cond_destroy(&p.room);
	pthread_mutex_destroy(&p.lock);
	pthread_mutex_destroy(&p.reading);
	close(p.stop);
	return ret ? ret : tgsp_check_root(package, &p.tree, e);
}

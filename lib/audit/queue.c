/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/ring.h"
#include "tensorguard/file.h"

/* An event that the disk has not taken. */
struct waiting {
	struct waiting *next;
	uint64_t time_ms, count;
	char *texts;	/* actor, action, target, outcome, detail, each with its NUL */
};

struct tg_audit_queue {
	char path[PATH_MAX];
	int fd;
	const struct tg_audit_io *io;
	struct ring_slot slot;	/* as on the disk */
	struct tg_audit_chain end;
	uint64_t head;
	struct waiting *first, **last;
	unsigned waiting;
	/*
	 * Events that neither file nor memory had room for. While there are any, nothing is added but the
	 * record that counts them; on the disk, `slot.lost` with the sequence that this record will have
	 * (lost_at): if there is a record of that sequence, it is this one, and the count is settled.
	 */
	uint64_t lost, lost_since_ms;
};

static int system_allocate(int fd, off_t at, off_t len)
{
	return fallocate(fd, 0, at, len);
}

static const struct tg_audit_io system_io = { pwrite, fdatasync, system_allocate, link, rename };

/* ---- writing ---- */

static int write_at(const struct tg_audit_queue *q, int fd, const void *data, size_t len, off_t at)
{
	const uint8_t *from = data;

	while (len) {
		ssize_t done = q->io->pwrite(fd, from, len, at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EIO;
		from += done;
		at += done;
		len -= (size_t)done;
	}
	return 0;
}

static int sync_file(const struct tg_audit_queue *q, int fd)
{
	return q->io->fsync(fd) ? -errno : 0;
}

static int put_slot(const struct tg_audit_queue *q, int fd, const struct ring_slot *slot, struct tg_error *e)
{
	off_t at = slot->generation % 2 ? RING_SLOT_STEP : 0;
	uint8_t data[RING_SLOT];
	int ret = ring_slot_encode(slot, data, e);

	if (ret)
		return ret;
	ret = write_at(q, fd, data, sizeof(data), at);
	if (!ret)
		ret = sync_file(q, fd);
	return ret ? tg_error(e, ret, "%s: %s", q->path, strerror(-ret)) : 0;
}

/* Over the older slot: the other one stays until this one is on the disk. */
static int change_slot(struct tg_audit_queue *q, struct ring_slot *slot, struct tg_error *e)
{
	int ret;

	slot->generation = q->slot.generation + 1;
	ret = put_slot(q, q->fd, slot, e);
	if (!ret)
		q->slot = *slot;
	return ret;
}

static int put_ring(const struct tg_audit_queue *q, int fd, uint64_t size, uint64_t offset,
		    const uint8_t *data, size_t len)
{
	size_t at = (size_t)(offset % size), first = size - at < len ? (size_t)(size - at) : len;
	int ret = write_at(q, fd, data, first, (off_t)(RING_DATA + at));

	return ret || first == len ? ret : write_at(q, fd, data + first, len - first, RING_DATA);
}

/* Where a chain stands in a file that is written. */
struct place {
	int fd;
	const struct ring_slot *slot;
	struct tg_audit_chain *end;
	uint64_t *head;
};

/*
 * Behind the last frame; without the fsync. -ENOBUFS: it does not fit. A failure leaves the place as it was,
 * and the next try writes the same bytes' place again: a page that an fsync failed for is not written by
 * itself.
 */
static int put_event(const struct tg_audit_queue *q, const struct place *at,
		     const struct tg_audit_event *event, struct tg_error *e)
{
	struct tg_audit_chain next = *at->end;
	struct tg_bytes record, frame;
	int ret = tg_audit_chain_add(&next, event, &record, e);

	if (ret)
		return ret;
	ret = ring_frame(&record, &frame, e);
	tg_bytes_free(&record);
	if (ret)
		return ret;
	if (frame.len > at->slot->size - (*at->head - at->slot->tail))
		ret = -ENOBUFS;
	if (!ret)
		ret = put_ring(q, at->fd, at->slot->size, *at->head, frame.data, frame.len);
	if (!ret) {
		*at->end = next;
		*at->head += frame.len - RING_END;
	}
	tg_bytes_free(&frame);
	return ret ? tg_error(e, ret, "%s: %s", q->path, strerror(-ret)) : 0;
}

/* On the disk when it returns 0. */
static int append(struct tg_audit_queue *q, const struct tg_audit_event *event, struct tg_error *e)
{
	struct tg_audit_chain end = q->end;
	uint64_t head = q->head;
	const struct place at = { q->fd, &q->slot, &end, &head };
	int ret = put_event(q, &at, event, e);

	if (!ret) {
		ret = sync_file(q, q->fd);
		if (ret)
			return tg_error(e, ret, "%s: %s", q->path, strerror(-ret));
		q->end = end;
		q->head = head;
	}
	return ret;
}

/* ---- what the disk does not take ---- */

static int note_lost(struct tg_audit_queue *q, struct tg_error *e)
{
	struct ring_slot slot = q->slot;

	if (slot.lost == q->lost && slot.lost_at == q->end.sequence + 1)
		return 0;
	slot.lost = q->lost;
	slot.lost_at = q->end.sequence + 1;
	slot.lost_since_ms = q->lost_since_ms;
	return change_slot(q, &slot, e);
}

static void count_lost(struct tg_audit_queue *q, uint64_t time_ms, uint64_t count)
{
	if (!q->lost || time_ms < q->lost_since_ms)
		q->lost_since_ms = time_ms;
	q->lost += count ? count : 1;
}

/* -ENOBUFS: the file is still full. */
static int append_lost(struct tg_audit_queue *q, struct tg_error *e)
{
	char room[TG_AUDIT_DETAIL_SIZE];
	struct tg_audit_event event;
	struct ring_slot slot;
	int ret = note_lost(q, e);

	if (ret)
		return ret;
	tg_audit_event_of(TG_AUDIT_RECORDS_LOST, q->lost_since_ms, q->lost, "", 0, 0, "", room, &event);
	ret = append(q, &event, e);
	if (ret)
		return ret;
	q->lost = 0;
	slot = q->slot;
	slot.lost = slot.lost_at = slot.lost_since_ms = 0;
	/* should that fail, the record itself says that the count is settled */
	change_slot(q, &slot, NULL);
	return 0;
}

/* *ret_taken: the event is on the disk or counted, and not to be kept elsewhere. */
static int append_or_count(struct tg_audit_queue *q, const struct tg_audit_event *event, bool *ret_taken,
			   struct tg_error *e)
{
	int ret = q->lost ? append_lost(q, e) : 0;

	if (!ret)
		ret = append(q, event, e);
	*ret_taken = !ret || ret == -ENOBUFS;
	if (ret != -ENOBUFS)
		return ret;
	count_lost(q, event->time_ms, event->count);
	return note_lost(q, e);
}

static struct tg_audit_event event_of(const struct waiting *w)
{
	struct tg_audit_event event = { .time_ms = w->time_ms, .count = w->count };
	const char **texts[] = { &event.actor, &event.action, &event.target, &event.outcome, &event.detail };
	const char *at = w->texts;

	for (size_t i = 0; i < 5; i++) {
		*texts[i] = at;
		at += strlen(at) + 1;
	}
	return event;
}

static struct waiting *waiting_new(const struct tg_audit_event *event)
{
	const char *texts[] = { event->actor, event->action, event->target, event->outcome, event->detail };
	struct waiting *w = calloc(1, sizeof(*w));
	size_t len = 0;
	char *at;

	if (!w)
		return NULL;
	for (size_t i = 0; i < 5; i++)
		len += (texts[i] ? strlen(texts[i]) : 0) + 1;
	*w = (struct waiting){ .time_ms = event->time_ms, .count = event->count, .texts = malloc(len) };
	if (!w->texts) {
		free(w);
		return NULL;
	}
	at = w->texts;
	for (size_t i = 0; i < 5; i++)
		at = stpcpy(at, texts[i] ? texts[i] : "") + 1;
	return w;
}

static void drop_first(struct tg_audit_queue *q)
{
	struct waiting *w = q->first;

	q->first = w->next;
	if (!q->first)
		q->last = &q->first;
	q->waiting--;
	free(w->texts);
	free(w);
}

/*
 * Those in memory came before what is counted only in memory. One that finds the file full is counted, and
 * all behind it, so that what is counted stays one stretch.
 */
static int flush_waiting(struct tg_audit_queue *q, struct tg_error *e)
{
	int ret = 0;

	while (q->first && !ret) {
		const struct tg_audit_event event = event_of(q->first);

		ret = append(q, &event, e);
		if (!ret)
			drop_first(q);
	}
	if (ret != -ENOBUFS)
		return ret;
	for (; q->first; drop_first(q))
		count_lost(q, q->first->time_ms, q->first->count);
	return note_lost(q, e);
}

int tg_audit_queue_flush(struct tg_audit_queue *q, struct tg_error *e)
{
	int ret = flush_waiting(q, e);

	if (!ret && q->lost)
		ret = append_lost(q, e);
	return ret;
}

/* Events in memory keep their order; what even memory has no room for is counted. */
static void keep(struct tg_audit_queue *q, const struct tg_audit_event *event)
{
	struct waiting *w = q->waiting < TG_AUDIT_BACKLOG && !q->lost ? waiting_new(event) : NULL;

	if (!w) {
		count_lost(q, event->time_ms, event->count);
		return;
	}
	*q->last = w;
	q->last = &w->next;
	q->waiting++;
}

int tg_audit_queue_add(struct tg_audit_queue *q, const struct tg_audit_event *event, struct tg_error *e)
{
	bool taken = false;
	int ret = flush_waiting(q, e);

	if (!ret)
		ret = append_or_count(q, event, &taken, e);
	if (ret && !taken)
		keep(q, event);
	return ret;
}

/* ---- making a file ---- */

static int folder_sync(const struct tg_audit_queue *q)
{
	char copy[PATH_MAX];
	int fd, ret;

	snprintf(copy, sizeof(copy), "%s", q->path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = sync_file(q, fd);
	close(fd);
	return ret;
}

static int beside(const struct tg_audit_queue *q, const char *suffix, char ret_path[static PATH_MAX])
{
	int len = snprintf(ret_path, PATH_MAX, "%s%s", q->path, suffix);

	return len < 0 || len >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* An empty file with all its blocks, locked, that has not its name yet. */
static int make_file(const struct tg_audit_queue *q, const char *path, uint64_t size, int *ret_fd)
{
	int fd, ret = 0;

	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB))
		ret = -errno;
	if (!ret && q->io->allocate(fd, 0, (off_t)(RING_DATA + size)))
		ret = -errno;
	/* where blocks cannot be taken ahead (some network file systems) a full disk may refuse later */
	if (ret == -EOPNOTSUPP && !ftruncate(fd, (off_t)(RING_DATA + size)))
		ret = 0;
	if (ret) {
		close(fd);
		unlink(path);
		return ret;
	}
	*ret_fd = fd;
	return 0;
}

/* What a new file holds from the beginning. */
struct filling {
	const struct tg_audit_queue *q;
	struct place at;
	struct tg_audit_chain end;
	uint64_t head;
	struct ring_slot slot;
	uint64_t lost;		/* what did not fit, and what was counted before */
	uint64_t lost_since_ms;
	bool full;
	struct tg_error *e;
};

static int refill(void *arg, const struct tg_audit_record *record, const uint8_t *data, size_t len)
{
	const struct tg_audit_event event = tg_audit_event_again(record);
	struct filling *f = arg;
	int ret = f->full ? -ENOBUFS : put_event(f->q, &f->at, &event, f->e);

	(void)data;
	(void)len;
	if (ret != -ENOBUFS)
		return ret;
	if (!f->lost || record->time_ms < f->lost_since_ms)
		f->lost_since_ms = record->time_ms;
	f->lost += record->count;
	f->full = true;
	return 0;
}

/* A file that exists is only replaced when all of the new one is on the disk. */
static int give_name(const struct tg_audit_queue *q, struct filling *f, const char *path, bool keep_old)
{
	char damaged[PATH_MAX];
	int ret;

	f->slot.generation = 1;
	f->slot.lost = f->lost;
	f->slot.lost_at = f->end.sequence + 1;
	f->slot.lost_since_ms = f->lost_since_ms;
	ret = put_slot(q, f->at.fd, &f->slot, f->e);
	if (!ret && keep_old) {
		ret = beside(q, ".damaged", damaged);
		if (!ret)
			unlink(damaged);
		if (!ret && q->io->link(q->path, damaged) && errno != ENOENT)
			ret = -errno;
	}
	if (!ret && q->io->rename(path, q->path))
		ret = -errno;
	return ret;
}

/* Makes the new file the queue's. */
static void take_over(struct tg_audit_queue *q, const struct filling *f)
{
	if (q->fd >= 0)
		close(q->fd);
	q->fd = f->at.fd;
	q->slot = f->slot;
	q->end = f->end;
	q->head = f->head;
	q->lost = f->lost;
	q->lost_since_ms = f->lost_since_ms;
}

/*
 * A new file for the slot's chain with what `fill` puts into it, which then replaces the old one or, on
 * failure, leaves it as it was. An error after that, of the folder, does not undo it: whoever opens it next
 * syncs it again.
 */
static int remake(struct tg_audit_queue *q, const struct ring_slot *slot, bool keep_old,
		  int (*fill)(struct filling *f, const void *arg), const void *arg, struct tg_error *e)
{
	struct filling f = { .q = q,
			     .slot = *slot,
			     .end = slot->base,
			     .lost = q->lost,
			     .lost_since_ms = q->lost_since_ms,
			     .e = e };
	char path[PATH_MAX];
	int ret = beside(q, ".new", path);

	f.slot.tail = 0;
	f.at = (struct place){ -1, &f.slot, &f.end, &f.head };
	if (!ret)
		ret = make_file(q, path, slot->size, &f.at.fd);
	if (!ret)
		ret = fill ? fill(&f, arg) : 0;
	if (!ret)
		ret = give_name(q, &f, path, keep_old);
	if (!ret) {
		take_over(q, &f);
		ret = folder_sync(q);
	} else if (f.at.fd >= 0) {
		close(f.at.fd);
		unlink(path);
	}
	return ret ? tg_error(e, ret, "%s: %s", q->path, strerror(-ret)) : 0;
}

/* ---- opening ---- */

struct opening {
	const struct tg_audit_queue_conf *conf;
	const uint8_t *ring;		/* NULL: the file is too short to have one */
	const struct ring_slot *slot;	/* NULL: none is valid */
	struct ring_found found;
	uint64_t missing, rescued;
};

static int count_rescued(void *arg, const struct tg_audit_record *record, const uint8_t *data, size_t len)
{
	struct opening *o = arg;

	(void)data;
	(void)len;
	/* between what could be followed and what comes behind the damage */
	if (!o->rescued && o->slot)
		o->missing = record->sequence - o->found.end.sequence - 1;
	o->rescued++;
	return 0;
}

static int put_code(struct filling *f, unsigned code, const struct opening *o, uint64_t a, uint64_t b)
{
	char room[TG_AUDIT_DETAIL_SIZE];
	struct tg_audit_event event;

	tg_audit_event_of(code, o->conf->now_ms, 1, "", a, b, "", room, &event);
	return put_event(f->q, &f->at, &event, f->e);
}

/* Old records again, the damage, and what could be read behind it. */
static int fill_rescued(struct filling *f, const void *arg)
{
	const struct opening *o = arg;
	struct ring_found found;
	int ret = o->slot ? ring_follow(o->slot, o->ring, refill, f, &found, f->e) : 0;

	if (!ret)
		ret = put_code(f, TG_AUDIT_QUEUE_DAMAGED, o, o->missing, o->rescued);
	if (ret || !o->ring)
		return ret;
	ret = ring_rescue(o->ring, f->slot.size, o->slot ? o->slot->base.chain : NULL,
			  o->slot ? o->found.end.sequence + 1 : 1, refill, f, f->e);
	return ret < 0 ? ret : 0;
}

static int begin_slot(const struct tg_audit_queue_conf *conf, struct ring_slot *ret_slot, struct tg_error *e)
{
	struct ring_slot slot = { .size = conf->size ? conf->size : TG_AUDIT_QUEUE_SIZE };
	int ret = tg_audit_chain_begin(conf->source, &slot.base, e);

	if (!ret)
		*ret_slot = slot;
	return ret;
}

/* What was counted and has no record yet. */
static void take_lost(struct tg_audit_queue *q, const struct opening *o)
{
	if (o->slot->lost && o->found.end.sequence < o->slot->lost_at) {
		q->lost = o->slot->lost;
		q->lost_since_ms = o->slot->lost_since_ms;
	}
}

static int open_damaged(struct tg_audit_queue *q, struct opening *o, size_t file_len, struct tg_error *e)
{
	struct ring_slot slot;
	int ret;

	if (o->slot) {
		slot = *o->slot;
		take_lost(q, o);
	} else {
		ret = begin_slot(o->conf, &slot, e);
		if (ret)
			return ret;
		/* a file that was cut short has no ring to look into */
		if (file_len < RING_DATA + slot.size)
			o->ring = NULL;
	}
	if (!o->ring)
		return remake(q, &slot, true, fill_rescued, o, e);
	ret = ring_rescue(o->ring, slot.size, o->slot ? slot.base.chain : NULL,
			  o->slot ? o->found.end.sequence + 1 : 1, count_rescued, o, e);
	return ret < 0 ? ret : remake(q, &slot, true, fill_rescued, o, e);
}

/* Nothing whole comes behind it: a record that was being written when the power went. */
static int cut_off(struct tg_audit_queue *q, struct opening *o, struct tg_error *e)
{
	static const uint8_t end[RING_END];
	char room[TG_AUDIT_DETAIL_SIZE];
	struct tg_audit_event event;
	int ret = put_ring(q, q->fd, q->slot.size, q->head, end, sizeof(end));

	if (!ret)
		ret = sync_file(q, q->fd);
	if (ret)
		return tg_error(e, ret, "%s: %s", q->path, strerror(-ret));
	tg_audit_event_of(TG_AUDIT_QUEUE_CUT, o->conf->now_ms, 1, "", 0, 0, "", room, &event);
	ret = tg_audit_queue_add(q, &event, e);
	return ret == -ENOMEM ? ret : 0;
}

static int open_found(struct tg_audit_queue *q, struct opening *o, struct tg_error *e)
{
	q->slot = *o->slot;
	q->end = o->found.end;
	q->head = o->found.head;
	take_lost(q, o);
	return o->found.rest ? cut_off(q, o, e) : 0;
}

static int read_all(const struct tg_audit_queue *q, struct tg_bytes *ret_file, struct tg_error *e)
{
	return tg_file_read_fd(q->fd, q->path, RING_SIZE_MAX + RING_DATA, ret_file, e);
}

static int open_old(struct tg_audit_queue *q, const struct tg_audit_queue_conf *conf, struct tg_error *e)
{
	struct tg_bytes file = { 0 };
	struct ring_slot slot;
	struct opening o = { .conf = conf };
	bool damaged;
	int ret = folder_sync(q);

	if (ret)
		return tg_error(e, ret, "%s: %s", q->path, strerror(-ret));
	ret = read_all(q, &file, e);
	if (ret)
		return ret;
	o.ring = file.len > RING_DATA ? file.data + RING_DATA : NULL;
	damaged = ring_slot_choose(file.data, file.len, &slot);
	if (!damaged) {
		o.slot = &slot;
		ret = ring_follow(&slot, file.data + RING_DATA, NULL, NULL, &o.found, e);
	}
	if (!ret && !damaged && o.found.rest) {
		ret = ring_rescue(file.data + RING_DATA, slot.size, slot.base.chain, o.found.end.sequence + 1,
				  NULL, NULL, e);
		damaged = ret > 0;
		ret = ret < 0 ? ret : 0;
	}
	if (!ret)
		ret = damaged ? open_damaged(q, &o, file.len, e) : open_found(q, &o, e);
	tg_bytes_free(&file);
	return ret;
}

static int open_new(struct tg_audit_queue *q, const struct tg_audit_queue_conf *conf, struct tg_error *e)
{
	struct ring_slot slot;
	int ret = begin_slot(conf, &slot, e);

	return ret ? ret : remake(q, &slot, false, NULL, NULL, e);
}

/* Another process that has it open may be replacing it: then the name is another file's by now. */
static int lock_file(struct tg_audit_queue *q, struct tg_error *e)
{
	struct stat mine, named;

	q->fd = open(q->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	if (q->fd < 0)
		return errno == ENOENT ? -ENOENT : tg_error(e, -errno, "%s: %s", q->path, strerror(errno));
	if (flock(q->fd, LOCK_EX | LOCK_NB))
		return tg_error(e, errno == EWOULDBLOCK ? -EBUSY : -errno, "%s: %s", q->path,
				errno == EWOULDBLOCK ? "another process has it" : strerror(errno));
	if (fstat(q->fd, &mine) || stat(q->path, &named))
		return tg_error(e, -errno, "%s: %s", q->path, strerror(errno));
	if (!S_ISREG(mine.st_mode) || mine.st_ino != named.st_ino || mine.st_dev != named.st_dev)
		return tg_error(e, -EBUSY, "%s: not a file, or being replaced", q->path);
	return 0;
}

int tg_audit_queue_open(const struct tg_audit_queue_conf *conf, struct tg_audit_queue **ret_queue,
			struct tg_error *e)
{
	struct tg_audit_queue *q = calloc(1, sizeof(*q));
	int ret;

	if (!q)
		return tg_error(e, -ENOMEM, "out of memory");
	q->fd = -1;
	q->last = &q->first;
	q->io = conf->io ? conf->io : &system_io;
	if (snprintf(q->path, sizeof(q->path), "%s", conf->path) >= (int)sizeof(q->path))
		ret = tg_error(e, -ENAMETOOLONG, "%.60s...: the path is too long", conf->path);
	else
		ret = lock_file(q, e);
	if (!ret)
		ret = open_old(q, conf, e);
	else if (ret == -ENOENT)
		ret = open_new(q, conf, e);
	if (!ret && strcmp(q->end.source, conf->source))
		ret = tg_audit_queue_restart(q, conf->source, "another name", conf->now_ms, e);
	if (ret)
		tg_audit_queue_close(q);
	else
		*ret_queue = q;
	return ret;
}

void tg_audit_queue_close(struct tg_audit_queue *q)
{
	if (!q)
		return;
	while (q->first)
		drop_first(q);
	if (q->fd >= 0)
		close(q->fd);
	free(q);
}

/* ---- handing over ---- */

static int get_ring(const struct tg_audit_queue *q, uint64_t offset, uint8_t *ret_data, size_t len)
{
	size_t at = (size_t)(offset % q->slot.size);
	size_t first = q->slot.size - at < len ? (size_t)(q->slot.size - at) : len;
	ssize_t got = pread(q->fd, ret_data, first, (off_t)(RING_DATA + at));

	if (got == (ssize_t)first && first < len)
		got = pread(q->fd, ret_data + first, len - first, RING_DATA) == (ssize_t)(len - first)
			      ? (ssize_t)first
			      : -1;
	return got == (ssize_t)first ? 0 : -EIO;
}

/* The record there, checked again: what is handed over is what was written. */
static int get_record(const struct tg_audit_queue *q, uint64_t offset, struct tg_audit_chain *end,
		      struct tg_bytes *ret_record, struct tg_error *e)
{
	uint8_t head[4], data[TG_AUDIT_RECORD_MAX];
	struct tg_audit_record record;
	int ret = get_ring(q, offset, head, sizeof(head));
	size_t len = ret ? 0 : ring_be32(head);

	if (!ret && (!len || len > sizeof(data)))
		ret = -EIO;
	if (!ret)
		ret = get_ring(q, offset + 4, data, len);
	if (!ret && tg_audit_chain_follow(end, data, len, &record, NULL))
		ret = -EIO;
	if (!ret)
		ret = tg_bytes_copy(data, len, ret_record);
	return ret ? tg_error(e, ret, "%s: a record cannot be read again", q->path) : 0;
}

/* Records and the signature have some bytes of CBOR around them. */
static bool fits(size_t used, size_t len)
{
	return used + len + 3 <= TG_AUDIT_BATCH_MAX - 256;
}

int tg_audit_queue_peek(struct tg_audit_queue *q, struct tg_bytes ret_records[static TG_AUDIT_BATCH_RECORDS],
			size_t *ret_count, struct tg_error *e)
{
	struct tg_audit_chain end = q->slot.base;
	uint64_t offset = q->slot.tail;
	size_t count = 0, used = 0;
	int ret = 0;

	while (offset < q->head && count < TG_AUDIT_BATCH_RECORDS) {
		ret = get_record(q, offset, &end, &ret_records[count], e);
		if (ret)
			break;
		if (!fits(used, ret_records[count].len)) {
			tg_bytes_free(&ret_records[count]);
			break;
		}
		used += ret_records[count].len + 3;
		offset += RING_FRAME + ret_records[count++].len;
	}
	while (ret && count)
		tg_bytes_free(&ret_records[--count]);
	if (!ret)
		*ret_count = count;
	return ret;
}

int tg_audit_queue_ack(struct tg_audit_queue *q, uint64_t sequence, struct tg_error *e)
{
	struct ring_slot slot = q->slot;
	struct tg_bytes record;
	int ret = 0;

	if (sequence <= slot.base.sequence || sequence > q->end.sequence)
		return 0;
	while (slot.base.sequence < sequence) {
		ret = get_record(q, slot.tail, &slot.base, &record, e);
		if (ret)
			return ret;
		slot.tail += RING_FRAME + record.len;
		tg_bytes_free(&record);
	}
	return change_slot(q, &slot, e);
}

struct restart {
	struct tg_audit_queue *q;
	const uint8_t *file;
	const char *why;
	uint64_t now_ms;
};

static int fill_restart(struct filling *f, const void *arg)
{
	const struct restart *r = arg;
	char room[TG_AUDIT_DETAIL_SIZE], text[TG_AUDIT_DETAIL_SIZE / 2],
		chain[2 * TG_AUDIT_CHAIN_LEN + 1] = "";
	struct tg_audit_event event;
	struct ring_found found;
	int ret;

	for (size_t i = 0; i < TG_AUDIT_CHAIN_LEN; i++)
		snprintf(chain + 2 * i, 3, "%02x", r->q->end.chain[i]);
	snprintf(text, sizeof(text), "%.128s; source=%s; chain=%s", r->why, r->q->end.source, chain);
	tg_audit_event_of(TG_AUDIT_CHAIN_RESTARTED, r->now_ms, 1, "", r->q->slot.base.sequence, 0, text, room,
			  &event);
	ret = put_event(f->q, &f->at, &event, f->e);
	return ret ? ret : ring_follow(&r->q->slot, r->file + RING_DATA, refill, f, &found, f->e);
}

int tg_audit_queue_restart(struct tg_audit_queue *q, const char *source, const char *why, uint64_t now_ms,
			   struct tg_error *e)
{
	struct restart restart = { .q = q, .why = why, .now_ms = now_ms };
	struct ring_slot slot = { .size = q->slot.size, .mark = q->slot.mark };
	struct tg_bytes file = { 0 };
	int ret = flush_waiting(q, e);

	if (!ret)
		ret = tg_audit_chain_begin(source, &slot.base, e);
	if (ret)
		return ret;
	if (lseek(q->fd, 0, SEEK_SET))
		return tg_error(e, -EIO, "%s: cannot be read again", q->path);
	ret = read_all(q, &file, e);
	restart.file = file.data;
	if (!ret && file.len < RING_DATA + q->slot.size)
		ret = tg_error(e, -EIO, "%s: it has become shorter", q->path);
	if (!ret)
		ret = remake(q, &slot, false, fill_restart, &restart, e);
	tg_bytes_free(&file);
	return ret;
}

/* ---- looking ---- */

uint64_t tg_audit_queue_mark(const struct tg_audit_queue *q)
{
	return q->slot.mark;
}

int tg_audit_queue_set_mark(struct tg_audit_queue *q, uint64_t mark, struct tg_error *e)
{
	struct ring_slot slot = q->slot;

	slot.mark = mark;
	return mark == q->slot.mark ? 0 : change_slot(q, &slot, e);
}

void tg_audit_queue_state(const struct tg_audit_queue *q, struct tg_audit_queue_state *ret_state)
{
	*ret_state = (struct tg_audit_queue_state){ .base = q->slot.base,
						    .end = q->end,
						    .used = q->head - q->slot.tail,
						    .size = q->slot.size,
						    .lost = q->lost,
						    .backlog = q->waiting };
}

int tg_audit_queue_scan(const uint8_t *data, size_t len, struct tg_audit_queue_state *ret_state,
			int (*each)(void *arg, const struct tg_audit_record *record, const uint8_t *data,
				    size_t len),
			void *arg, struct tg_error *e)
{
	struct ring_found found;
	struct ring_slot slot;
	int ret;

	if (ring_slot_choose(data, len, &slot))
		return tg_error(e, -EBADMSG, "not a queue of audit records, or damaged at its beginning");
	ret = ring_follow(&slot, data + RING_DATA, each, arg, &found, e);
	if (ret)
		return ret;
	*ret_state = (struct tg_audit_queue_state){ .base = slot.base,
						    .end = found.end,
						    .used = found.head - slot.tail,
						    .size = slot.size,
						    .lost = slot.lost };
	if (slot.lost && found.end.sequence >= slot.lost_at)
		ret_state->lost = 0;
	return found.rest ? tg_error(e, -EBADMSG, "record %" PRIu64 " is unfinished or damaged",
				     found.end.sequence + 1)
			  : 0;
}

int tg_audit_queue_read(const char *path, struct tg_audit_queue_state *ret_state,
			int (*each)(void *arg, const struct tg_audit_record *record, const uint8_t *data,
				    size_t len),
			void *arg, struct tg_error *e)
{
	struct tg_bytes file;
	int ret = tg_file_read(path, RING_SIZE_MAX + RING_DATA, &file, e);

	if (ret)
		return ret;
	ret = tg_audit_queue_scan(file.data, file.len, ret_state, each, arg, e);
	tg_bytes_free(&file);
	return ret == -EBADMSG ? tg_error_prefix(e, ret, "%s", path) : ret;
}

int tg_audit_queue_recent(const char *path, struct tg_audit_queue_state *ret_state,
			  int (*each)(void *arg, const struct tg_audit_record *record, const uint8_t *data,
				      size_t len),
			  void *arg, struct tg_error *e)
{
	struct ring_slot slot;
	struct tg_bytes file;
	int ret = tg_file_read(path, RING_SIZE_MAX + RING_DATA, &file, e);

	if (ret)
		return ret;
	ret = tg_audit_queue_scan(file.data, file.len, ret_state, NULL, NULL, e);
	if (!ret && !ring_slot_choose(file.data, file.len, &slot))
		ret = ring_rescue(file.data + RING_DATA, slot.size, slot.base.chain, 1, each, arg, e);
	tg_bytes_free(&file);
	if (ret == -EBADMSG)
		return tg_error_prefix(e, ret, "%s", path);
	return ret < 0 ? ret : 0;
}

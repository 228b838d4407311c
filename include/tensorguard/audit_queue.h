/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Audit records on a device's disk until the Platform has them: a file of fixed size that is filled in a
 * ring, so that a full disk cannot stop it once it is there (docs/audit.md has its layout).
 *
 * What tg_audit_queue_add() answered with 0 survives kill -9 and a power cut, once, and in its order. An
 * event that the disk does not take stays in memory, before those that come later, and is written as soon as
 * it can be. When the file is full, what is in it stays: newer events are counted, and the first record that
 * fits again says how many are missing. Nothing is lost without a record that says so, but for what was only
 * in memory, because the disk took nothing, when the process died.
 *
 * For one thread at a time; the file is locked while it is open.
 */
#ifndef TENSORGUARD_AUDIT_QUEUE_H
#define TENSORGUARD_AUDIT_QUEUE_H

#include <sys/types.h>

#include "tensorguard/audit.h"

enum {
	TG_AUDIT_QUEUE_SIZE = 2 * 1024 * 1024,	/* bytes for records */
	TG_AUDIT_QUEUE_SIZE_MIN = 8 * 1024,
	TG_AUDIT_BACKLOG = 256,			/* events in memory while the disk takes nothing */
};

/* The system calls that change something, for tests that let them fail. Each as the system's. */
struct tg_audit_io {
	ssize_t (*pwrite)(int fd, const void *data, size_t len, off_t at);
	int (*fsync)(int fd);	/* also for what is usually fdatasync() */
	int (*allocate)(int fd, off_t at, off_t len);	/* fallocate(fd, 0, at, len) */
	int (*link)(const char *from, const char *to);
	int (*rename)(const char *from, const char *to);
};

struct tg_audit_queue;

struct tg_audit_queue_conf {
	const char *path;	/* of the file; "PATH.new" and "PATH.damaged" are its own too */
	const char *source;	/* whose records these are: another one begins another chain */
	size_t size;		/* of a file that is made; 0 is TG_AUDIT_QUEUE_SIZE */
	const struct tg_audit_io *io;	/* NULL: the system's */
	uint64_t now_ms;	/* of records about the queue itself */
};

/*
 * Opens or makes it. What was unfinished is cut off, what is damaged moved aside, and a record says so.
 * -EBUSY: another process has it; everything else as the disk says it. `conf` need not live longer than the
 * call.
 */
int tg_audit_queue_open(const struct tg_audit_queue_conf *conf, struct tg_audit_queue **ret_queue,
			struct tg_error *e);
void tg_audit_queue_close(struct tg_audit_queue *queue); /* NULL-safe */

/*
 * 0: the event, and all before it, are on the disk, or counted as lost because the file is full. Else a
 * negative errno: it is in memory, and later calls try again.
 */
int tg_audit_queue_add(struct tg_audit_queue *queue, const struct tg_audit_event *event, struct tg_error *e);
/* Tries to write what is in memory or was counted. 0: nothing is left there. */
int tg_audit_queue_flush(struct tg_audit_queue *queue, struct tg_error *e);

/* The oldest records on the disk, at most TG_AUDIT_BATCH_RECORDS and no more than fit into a batch. The
 * caller frees each. */
int tg_audit_queue_peek(struct tg_audit_queue *queue,
			struct tg_bytes ret_records[static TG_AUDIT_BATCH_RECORDS], size_t *ret_count,
			struct tg_error *e);
/* The Platform has all up to this sequence: they are given up. One that is not in the queue changes nothing.
 */
int tg_audit_queue_ack(struct tg_audit_queue *queue, uint64_t sequence, struct tg_error *e);
/*
 * Begins another chain, because the Platform's memory of this one differs or the device has another name;
 * what waits goes into it, behind a record that says so. All or nothing.
 */
int tg_audit_queue_restart(struct tg_audit_queue *queue, const char *source, const char *why, uint64_t now_ms,
			   struct tg_error *e);

/* A number that is the caller's, kept beside the records; 0 at first. */
uint64_t tg_audit_queue_mark(const struct tg_audit_queue *queue);
int tg_audit_queue_set_mark(struct tg_audit_queue *queue, uint64_t mark, struct tg_error *e);

struct tg_audit_queue_state {
	struct tg_audit_chain base, end; /* before the oldest, and after the newest record on the disk */
	uint64_t used, size;	/* bytes */
	uint64_t lost;		/* events counted since the file was full */
	unsigned backlog;	/* events in memory */
};
void tg_audit_queue_state(const struct tg_audit_queue *queue, struct tg_audit_queue_state *ret_state);

/*
 * Reads a file that nobody need lock, for showing: each record from the oldest, until `each` returns
 * something else than 0, which is returned. -EBADMSG: it is damaged; the records before have been given.
 */
int tg_audit_queue_read(const char *path, struct tg_audit_queue_state *ret_state,
			int (*each)(void *arg, const struct tg_audit_record *record, const uint8_t *data,
				    size_t len),
			void *arg, struct tg_error *e);
/* All records that the file still has whole, those that were handed over too, the oldest first. Sequences
 * below may be missing. */
int tg_audit_queue_recent(const char *path, struct tg_audit_queue_state *ret_state,
			  int (*each)(void *arg, const struct tg_audit_record *record, const uint8_t *data,
				      size_t len),
			  void *arg, struct tg_error *e);
/* tg_audit_queue_read() for a file's bytes; what tg_audit_queue_open() would make of them. For fuzzing too.
 */
int tg_audit_queue_scan(const uint8_t *data, size_t len, struct tg_audit_queue_state *ret_state,
			int (*each)(void *arg, const struct tg_audit_record *record, const uint8_t *data,
				    size_t len),
			void *arg, struct tg_error *e);

#endif

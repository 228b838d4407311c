/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one thread that changes the store while the Platform serves. What is waiting is written in one
 * transaction (group commit): one fsync serves many enrolments. A job that fails is undone alone.
 */
#ifndef PLATFORM_STORE_WRITER_H
#define PLATFORM_STORE_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct writer;

struct store_job {
	/* In the writer's thread, within a transaction. Not 0: what it changed is undone. */
	int (*run)(struct store *store, struct store_job *job, struct tg_error *e);
	/* In the writer's thread, when the transaction is on disk, or has failed: see `result`. */
	void (*done)(struct store_job *job);
	int result;	/* 0, or what run() or the commit returned */
	struct tg_error error;
	struct store_job *next;	/* the writer's */
};

int writer_start(const char *url, struct writer **ret_writer, struct tg_error *e);
/* Does what is waiting, then ends. NULL is fine. */
void writer_stop(struct writer *writer);
/* -EBUSY when too many are waiting. The job stays the caller's and must live until done() is called. */
int writer_submit(struct writer *writer, struct store_job *job);

struct writer_counts {
	uint64_t groups, jobs, failed;	/* since the start */
	size_t waiting;
};
void writer_count(struct writer *writer, struct writer_counts *ret_counts);

#endif

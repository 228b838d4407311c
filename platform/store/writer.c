/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "store/writer.h"

enum { MAX_WAITING = 4096, MAX_GROUP = 128 };

struct writer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct store *store;	/* the thread's own */
	struct store_job *first, **last;
	struct writer_counts counts;
	bool stop;
};

/* Waits for work. Returns a list of at most MAX_GROUP jobs; NULL when it is time to end. */
static struct store_job *take_group(struct writer *writer)
{
	struct store_job *group, **end;

	pthread_mutex_lock(&writer->lock);
	while (!writer->first && !writer->stop)
		pthread_cond_wait(&writer->wake, &writer->lock);
	group = writer->first;
	end = &writer->first;
	for (int n = 0; *end && n < MAX_GROUP; n++) {
		end = &(*end)->next;
		writer->counts.waiting--;
	}
	if (group) {
		struct store_job *rest = *end;

		*end = NULL;
		writer->first = rest;
		if (!rest)
			writer->last = &writer->first;
	}
	pthread_mutex_unlock(&writer->lock);
	return group;
}

/* 0 even when the job itself failed; then it is undone. An error means that the transaction is lost. */
static int run_job(struct store *store, struct store_job *job, struct tg_error *e)
{
	int ret = store_savepoint(store, e);

	if (ret)
		return ret;
	job->result = job->run(store, job, &job->error);
	return job->result ? store_savepoint_undo(store, e) : store_savepoint_keep(store, e);
}

static void fail_group(struct store_job *group, int err, const struct tg_error *e)
{
	for (struct store_job *job = group; job; job = job->next) {
		if (job->result)
			continue;
		job->result = err;
		job->error = *e;
	}
}

static void write_group(struct store *store, struct store_job *group)
{
	struct tg_error e = { "" };
	int ret = store_begin(store, &e);

	if (!ret) {
		for (struct store_job *job = group; job && !ret; job = job->next)
			ret = run_job(store, job, &e);
		if (ret)
			store_rollback(store);
		else
			ret = store_commit(store, &e);
	}
	if (ret)
		fail_group(group, ret, &e);
}

static void count_group(struct writer *writer, const struct store_job *group)
{
	pthread_mutex_lock(&writer->lock);
	writer->counts.groups++;
	for (; group; group = group->next) {
		writer->counts.jobs++;
		writer->counts.failed += group->result != 0;
	}
	pthread_mutex_unlock(&writer->lock);
}

static void finish_group(struct store_job *group)
{
	while (group) {
		struct store_job *job = group;

		group = job->next;	/* done() may free the job */
		job->done(job);
	}
}

static void *writer_thread(void *arg)
{
	struct writer *writer = arg;
	struct store_job *group;

	while ((group = take_group(writer))) {
		write_group(writer->store, group);
		count_group(writer, group);
		finish_group(group);
	}
	return NULL;
}

int writer_start(const char *url, struct writer **ret_writer, struct tg_error *e)
{
	struct writer *writer = calloc(1, sizeof(*writer));
	int ret;

	if (!writer)
		return tg_error(e, -ENOMEM, "out of memory");
	writer->last = &writer->first;
	pthread_mutex_init(&writer->lock, NULL);
	pthread_cond_init(&writer->wake, NULL);
	ret = store_open(url, &writer->store, e);
	if (!ret) {
		ret = -pthread_create(&writer->thread, NULL, writer_thread, writer);
		if (ret)
			tg_error(e, ret, "cannot start the store's thread");
	}
	if (ret) {
		store_close(writer->store);
		free(writer);
		return ret;
	}
	*ret_writer = writer;
	return 0;
}

void writer_stop(struct writer *writer)
{
	if (!writer)
		return;
	pthread_mutex_lock(&writer->lock);
	writer->stop = true;
	pthread_cond_signal(&writer->wake);
	pthread_mutex_unlock(&writer->lock);
	pthread_join(writer->thread, NULL);
	store_close(writer->store);
	pthread_cond_destroy(&writer->wake);
	pthread_mutex_destroy(&writer->lock);
	free(writer);
}

int writer_submit(struct writer *writer, struct store_job *job)
{
	int ret = 0;

	job->next = NULL;
	job->result = 0;
	job->error.message[0] = '\0';
	pthread_mutex_lock(&writer->lock);
	if (writer->counts.waiting >= MAX_WAITING || writer->stop) {
		ret = -EBUSY;
	} else {
		*writer->last = job;
		writer->last = &job->next;
		writer->counts.waiting++;
		pthread_cond_signal(&writer->wake);
	}
	pthread_mutex_unlock(&writer->lock);
	return ret;
}

void writer_count(struct writer *writer, struct writer_counts *ret_counts)
{
	pthread_mutex_lock(&writer->lock);
	*ret_counts = writer->counts;
	pthread_mutex_unlock(&writer->lock);
}

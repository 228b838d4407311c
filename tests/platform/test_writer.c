/* SPDX-License-Identifier: BSD-3-Clause */
/* The writer thread: group commit, a failure that is alone, many that want one token. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "store/writer.h"
#include "store_fixture.h"

enum { JOBS = 100 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_done = PTHREAD_COND_INITIALIZER;
static int done_count;

struct enrol_job {
	struct store_job job;
	struct store_enrolment wanted;
	enum store_refusal refusal;
	bool break_after;
};

static int run(struct store *store, struct store_job *job, struct tg_error *e)
{
	struct enrol_job *enrol_job = (struct enrol_job *)job;
	int ret = store_enrol(store, &enrol_job->wanted, &enrol_job->refusal, e);

	return ret ? ret : enrol_job->break_after ? -ECANCELED : 0;
}

static void done(struct store_job *job)
{
	(void)job;
	pthread_mutex_lock(&lock);
	done_count++;
	pthread_cond_signal(&all_done);
	pthread_mutex_unlock(&lock);
}

static void submit_all(struct writer *writer, struct enrol_job *jobs, int count)
{
	done_count = 0;
	for (int i = 0; i < count; i++) {
		jobs[i].job.run = run;
		jobs[i].job.done = done;
		CU_ASSERT_EQUAL_FATAL(writer_submit(writer, &jobs[i].job), 0);
	}
	pthread_mutex_lock(&lock);
	while (done_count < count)
		pthread_cond_wait(&all_done, &lock);
	pthread_mutex_unlock(&lock);
}

TEST(writer, one_token_serves_one_of_many)
{
	static struct enrol_job jobs[JOBS];
	struct store *store = fresh_store();
	struct writer_counts counts;
	struct writer *writer = NULL;
	char id[16], serial[16];
	int accepted = 0;

	make_fleet(store, "robots");
	make_token(store, "robots", 1);
	CU_ASSERT_EQUAL_FATAL(writer_start(store_url(), &writer, NULL), 0);
	for (int i = 0; i < JOBS; i++) {
		snprintf(id, sizeof(id), "a%d", i);
		snprintf(serial, sizeof(serial), "%04x", i);
		jobs[i] = (struct enrol_job){ .wanted = enrolment(1, "robots", id, (uint8_t)i, serial) };
	}
	submit_all(writer, jobs, JOBS);
	for (int i = 0; i < JOBS; i++) {
		CU_ASSERT_EQUAL(jobs[i].job.result, 0);
		CU_ASSERT(jobs[i].refusal == STORE_ACCEPTED || jobs[i].refusal == STORE_TOKEN_USED);
		accepted += jobs[i].refusal == STORE_ACCEPTED;
	}
	CU_ASSERT_EQUAL(accepted, 1);
	writer_count(writer, &counts);
	CU_ASSERT_EQUAL(counts.waiting, 0);
	CU_ASSERT_EQUAL(counts.jobs, JOBS);
	CU_ASSERT(counts.groups < JOBS);
	writer_stop(writer);
	store_close(store);
}

TEST(writer, a_failed_job_is_undone_alone)
{
	static struct enrol_job jobs[3];
	struct store *store = fresh_store();
	struct writer *writer = NULL;
	struct store_agent agent;

	make_fleet(store, "robots");
	for (uint8_t i = 0; i < 3; i++)
		make_token(store, "robots", (uint8_t)(1 + i));
	CU_ASSERT_EQUAL_FATAL(writer_start(store_url(), &writer, NULL), 0);
	jobs[0] = (struct enrol_job){ .wanted = enrolment(1, "robots", "a", 1, "01") };
	jobs[1] = (struct enrol_job){ .wanted = enrolment(2, "robots", "b", 2, "02"), .break_after = true };
	/* a serial number twice: the store itself refuses, which on PostgreSQL breaks the transaction */
	jobs[2] = (struct enrol_job){ .wanted = enrolment(3, "robots", "c", 3, "01") };
	submit_all(writer, jobs, 3);
	CU_ASSERT_EQUAL(jobs[0].job.result, 0);
	CU_ASSERT_EQUAL(jobs[1].job.result, -ECANCELED);
	CU_ASSERT_EQUAL(jobs[2].job.result, -EEXIST);
	CU_ASSERT_EQUAL(store_agent_get(store, "a", &agent, NULL), 0);
	CU_ASSERT_EQUAL(store_agent_get(store, "b", &agent, NULL), -ENOENT);
	CU_ASSERT_EQUAL(store_agent_get(store, "c", &agent, NULL), -ENOENT);
	/* what was undone can be done */
	jobs[0] = (struct enrol_job){ .wanted = enrolment(2, "robots", "b", 2, "02") };
	submit_all(writer, jobs, 1);
	CU_ASSERT_EQUAL(jobs[0].job.result, 0);
	CU_ASSERT_EQUAL(store_agent_get(store, "b", &agent, NULL), 0);
	writer_stop(writer);
	store_close(store);
}

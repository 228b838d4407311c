/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "trust/audit.h"

enum { EARLY_MAX = 32 };

/* An event while there is no queue: the identity is not known yet, or the disk does not let it be opened. */
struct early {
	unsigned code;
	uint64_t time_ms, a, b;
	char target[64], text[256];
};

struct audit_log {
	struct audit_log_conf conf;
	char path[PATH_MAX];
	char agent[TG_ID_LEN];
	struct tg_audit_queue *queue;
	struct early early[EARLY_MAX];
	unsigned early_count;
	uint64_t early_lost;
	/* told by the supervisor: number 0 is none; `added`: it is in the queue, if only in memory */
	struct message_event told;
	char told_text[TG_AUDIT_DETAIL_SIZE];
	bool added;
	bool said_broken;
};

int audit_log_new(const struct audit_log_conf *conf, struct audit_log **ret_log)
{
	struct audit_log *log = calloc(1, sizeof(*log));

	if (!log)
		return -ENOMEM;
	log->conf = *conf;
	*ret_log = log;
	return 0;
}

void audit_log_free(struct audit_log *log)
{
	if (!log)
		return;
	tg_audit_queue_close(log->queue);
	free(log);
}

/* Once for each time that it breaks. */
static void say_state(struct audit_log *log, int ret, const struct tg_error *e)
{
	char line[sizeof(e->message) + 64];

	if (ret && !log->said_broken) {
		snprintf(line, sizeof(line), "trust: audit records wait in memory: %s", e->message);
		log->conf.log(line);
	} else if (!ret && log->said_broken) {
		log->conf.log("trust: audit records are on the disk again");
	}
	log->said_broken = ret != 0;
}

static int add(struct audit_log *log, unsigned code, uint64_t time_ms, uint64_t count, const char *target,
	       uint64_t a, uint64_t b, const char *text)
{
	char room[TG_AUDIT_DETAIL_SIZE];
	struct tg_audit_event event;
	struct tg_error e = { "" };
	int ret = tg_audit_event_of(code, time_ms, count, target, a, b, text, room, &event);

	if (!ret) {
		ret = tg_audit_queue_add(log->queue, &event, &e);
		say_state(log, ret, &e);
	}
	return ret;
}

static void add_early(struct audit_log *log, unsigned code, const char *target, uint64_t a, uint64_t b,
		      const char *text)
{
	struct early *early = &log->early[log->early_count];

	if (log->early_count == EARLY_MAX) {
		log->early_lost++;
		return;
	}
	*early = (struct early){ .code = code, .time_ms = realtime_ms(), .a = a, .b = b };
	snprintf(early->target, sizeof(early->target), "%s", target);
	snprintf(early->text, sizeof(early->text), "%s", text);
	log->early_count++;
}

void audit_log_add(struct audit_log *log, unsigned code, const char *target, uint64_t a, uint64_t b,
		   const char *text)
{
	if (log->queue)
		add(log, code, realtime_ms(), 1, target, a, b, text);
	else
		add_early(log, code, target, a, b, text);
}

static void flush_early(struct audit_log *log)
{
	for (unsigned i = 0; i < log->early_count; i++) {
		const struct early *early = &log->early[i];

		add(log, early->code, early->time_ms, 1, early->target, early->a, early->b, early->text);
	}
	if (log->early_lost)
		add(log, TG_AUDIT_RECORDS_LOST, realtime_ms(), log->early_lost, "", 0, 0,
		    "no queue could be opened");
	log->early_count = 0;
	log->early_lost = 0;
}

/* The supervisor tells the next one when this one is on the disk. */
static void try_told(struct audit_log *log)
{
	char subject[sizeof(log->told.subject) + 1] = "";
	const struct message_event *t = &log->told;
	int ret;

	if (!t->number || !log->queue)
		return;
	memcpy(subject, t->subject, sizeof(t->subject));
	if (log->added)
		ret = tg_audit_queue_flush(log->queue, NULL);
	else
		ret = add(log, t->code, t->time_ms, t->count, subject, t->a, t->b, log->told_text);
	/* a code that nobody knows cannot come: the channel looks at them */
	log->added = ret != -EINVAL;
	/* a full file counts what it does not take */
	if (ret && ret != -EINVAL && ret != -ENOBUFS)
		return;
	log->conf.recorded(log->conf.ctx, t->number);
	log->told.number = 0;
}

void audit_log_event(struct audit_log *log, const struct message_event *event, const char *text)
{
	log->told = *event;
	snprintf(log->told_text, sizeof(log->told_text), "%s", text);
	log->added = false;
	try_told(log);
}

/* ---- whose it is ---- */

static int open_queue(struct audit_log *log, const char *agent, struct tg_error *e)
{
	const struct tg_audit_queue_conf conf = { .path = log->path,
						  .source = agent,
						  .now_ms = realtime_ms() };
	char folder[PATH_MAX];

	snprintf(folder, sizeof(folder), "%s/" AUDIT_FOLDER, log->conf.directory);
	if (mkdir(folder, 0700) && errno != EEXIST)
		return tg_error(e, -errno, "%s: %s", folder, strerror(errno));
	if (snprintf(log->path, sizeof(log->path), "%s/queue", folder) >= (int)sizeof(log->path))
		return tg_error(e, -ENAMETOOLONG, "%s: the path is too long", folder);
	return tg_audit_queue_open(&conf, &log->queue, e);
}

/* The queue's mark is the generation that has a record: a crash in between gives two records, not none. */
static void note_generation(struct audit_log *log, unsigned generation, bool renewed)
{
	if (tg_audit_queue_mark(log->queue) == generation)
		return;
	add(log, renewed ? TG_AUDIT_RENEWED : TG_AUDIT_ENROLLED, realtime_ms(), 1, log->agent, 0, 0, "");
	tg_audit_queue_set_mark(log->queue, generation, NULL);
}

void audit_log_identity(struct audit_log *log, const char *agent, unsigned generation, bool renewed)
{
	struct tg_error e = { "" };
	int ret = 0;

	if (log->queue && strcmp(log->agent, agent))
		ret = tg_audit_queue_restart(log->queue, agent, "another name", realtime_ms(), &e);
	else if (!log->queue)
		ret = open_queue(log, agent, &e);
	if (!ret)
		snprintf(log->agent, sizeof(log->agent), "%s", agent);
	say_state(log, ret, &e);
	if (!log->queue)
		return;
	if (!ret) {
		flush_early(log);
		note_generation(log, generation, renewed);
	}
	ret = tg_audit_queue_flush(log->queue, &e);
	/* full is not broken: a count stands for what is missing */
	say_state(log, ret == -ENOBUFS ? 0 : ret, &e);
	try_told(log);
}

/* ---- for the Platform ---- */

int audit_log_peek(struct audit_log *log, struct tg_bytes ret_records[static TG_AUDIT_BATCH_RECORDS],
		   size_t *ret_count)
{
	struct tg_error e = { "" };

	*ret_count = 0;
	return log->queue ? tg_audit_queue_peek(log->queue, ret_records, ret_count, &e) : 0;
}

void audit_log_stored(struct audit_log *log, uint64_t sequence)
{
	struct tg_error e = { "" };

	if (log->queue)
		say_state(log, tg_audit_queue_ack(log->queue, sequence, &e), &e);
}

void audit_log_refused(struct audit_log *log, const char *reason)
{
	struct tg_error e = { "" };

	if (log->queue)
		say_state(log, tg_audit_queue_restart(log->queue, log->agent, reason, realtime_ms(), &e), &e);
}

bool audit_log_is_empty(const struct audit_log *log)
{
	struct tg_audit_queue_state state;

	if (!log->queue)
		return true;
	tg_audit_queue_state(log->queue, &state);
	return !state.used && !state.backlog && !state.lost;
}

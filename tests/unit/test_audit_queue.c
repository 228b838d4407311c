/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The queue on the disk: a Platform of the test's own takes what it hands over and checks that nothing is
 * lost, doubled or out of order, whatever fails in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "tensorguard/audit_queue.h"
#include "tensorguard/file.h"

enum { SMALL = TG_AUDIT_QUEUE_SIZE_MIN, EVENTS_MAX = 1024, KILLS = 200 };

static char folder[32], path[64];

/* In memory where that is possible: nothing here needs a disk that really keeps anything. */
static void fresh(void)
{
	char command[128];

	if (!path[0]) {
		snprintf(folder, sizeof(folder), "%s/tg-queue-XXXXXX",
			 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
		CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
		snprintf(path, sizeof(path), "%s/queue", folder);
	}
	snprintf(command, sizeof(command), "rm -rf %s/*", folder);
	CU_ASSERT_EQUAL(system(command), 0);
}

/* ---- a Platform ---- */

struct platform {
	struct tg_audit_chain chain;
	int next;		/* number of the event that comes next */
	uint64_t lost;		/* that records say */
	unsigned cut, damaged, restarts;
	bool repeats; /* events may come again: a damage or a new chain before an answer was noted */
	int seen[EVENTS_MAX];
};

static bool is_code(const struct tg_audit_record *record, const char *action, const char *outcome)
{
	return !strcmp(record->action, action) && !strcmp(record->outcome, outcome);
}

static void take_event(struct platform *p, const struct tg_audit_record *record)
{
	int number = -1;

	if (is_code(record, "audit-lost", "lost")) {
		p->lost += record->count;
		p->next += (int)record->count;
	} else if (is_code(record, "audit-queue", "cut")) {
		p->cut++;
	} else if (is_code(record, "audit-queue", "damaged")) {
		p->damaged++;
	} else if (!strcmp(record->action, "audit-chain")) {
		p->restarts++;
	} else {
		CU_ASSERT_EQUAL_FATAL(sscanf(record->detail, "%d", &number), 1);
		if (number != p->next && !p->repeats)
			CU_FAIL("an event is missing, doubled or out of order");
		p->next = number + 1;
		p->seen[number % EVENTS_MAX]++;
	}
}

/* Records that it has already are passed over; a fork or gap is none of the queue's. */
static void take_record(struct platform *p, const struct tg_bytes *data)
{
	struct tg_audit_record record;

	CU_ASSERT_EQUAL_FATAL(tg_audit_decode(data->data, data->len, &record, NULL), 0);
	if (memcmp(record.chain, p->chain.chain, sizeof(record.chain)) ||
	    strcmp(record.source, p->chain.source)) {
		CU_ASSERT_EQUAL(record.sequence, 1);
		memset(&p->chain, 0, sizeof(p->chain));
		memcpy(p->chain.chain, record.chain, sizeof(record.chain));
		memcpy(p->chain.source, record.source, sizeof(record.source));
	}
	if (record.sequence <= p->chain.sequence)
		return;
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_follow(&p->chain, data->data, data->len, &record, NULL), 0);
	take_event(p, &record);
}

/* One batch; false when there was none. */
static bool sync_once(struct platform *p, struct tg_audit_queue *q, bool answer)
{
	struct tg_bytes records[TG_AUDIT_BATCH_RECORDS];
	size_t count = 0;
	uint64_t last = 0;

	if (tg_audit_queue_peek(q, records, &count, NULL) || !count)
		return false;
	for (size_t i = 0; i < count; i++) {
		take_record(p, &records[i]);
		tg_bytes_free(&records[i]);
	}
	last = p->chain.sequence;
	return answer && !tg_audit_queue_ack(q, last, NULL);
}

static void sync_all(struct platform *p, struct tg_audit_queue *q)
{
	struct tg_audit_queue_state state;

	do {
		while (sync_once(p, q, true))
			;
		CU_ASSERT_EQUAL(tg_audit_queue_flush(q, NULL), 0);
		tg_audit_queue_state(q, &state);
	} while (state.used || state.backlog || state.lost);
}

static int add_sized(struct tg_audit_queue *q, int number, size_t padding)
{
	char detail[TG_AUDIT_DETAIL_SIZE];
	struct tg_audit_event event = { .time_ms = 1700000000000 + (uint64_t)number,
					.actor = "test",
					.action = "event",
					.detail = detail };
	int len = snprintf(detail, sizeof(detail), "%d ", number);

	memset(detail + len, '.', padding);
	detail[(size_t)len + padding] = '\0';
	return tg_audit_queue_add(q, &event, NULL);
}

static int add(struct tg_audit_queue *q, int number)
{
	return add_sized(q, number, (size_t)(number * 37 % 300));
}

static struct tg_audit_queue *open_with(const struct tg_audit_io *io)
{
	struct tg_audit_queue_conf conf = {
		.path = path, .source = "robot-1", .size = SMALL, .io = io, .now_ms = 5
	};
	struct tg_audit_queue *q = NULL;

	tg_audit_queue_open(&conf, &q, NULL);
	return q;
}

static struct tg_audit_queue *reopen(struct tg_audit_queue *q)
{
	tg_audit_queue_close(q);
	q = open_with(NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(q);
	return q;
}

/* ---- tests ---- */

TEST(audit_queue, goes_round_its_ring_many_times)
{
	static struct platform p;
	struct tg_audit_queue *q;
	int number = 0;

	fresh();
	p = (struct platform){ 0 };
	q = open_with(NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(q);
	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < 1 + round % 9; i++)
			CU_ASSERT_EQUAL(add(q, number++), 0);
		if (round % 3 == 0)
			q = reopen(q);
		sync_once(&p, q, round % 5 != 0);
	}
	sync_all(&p, q);
	CU_ASSERT_EQUAL(p.next, number);
	CU_ASSERT_EQUAL(p.lost + p.cut + p.damaged + p.restarts, 0);
	tg_audit_queue_close(q);
}

TEST(audit_queue, is_of_one_process_at_a_time)
{
	struct tg_audit_queue_conf conf = { .path = path, .source = "robot-1", .size = SMALL };
	struct tg_audit_queue *q, *second = NULL;

	fresh();
	q = open_with(NULL);
	CU_ASSERT_EQUAL(tg_audit_queue_open(&conf, &second, NULL), -EBUSY);
	CU_ASSERT_PTR_NULL(second);
	tg_audit_queue_close(q);
	CU_ASSERT_EQUAL(tg_audit_queue_open(&conf, &second, NULL), 0);
	tg_audit_queue_close(second);
}

TEST(audit_queue, what_is_full_says_how_many_are_missing)
{
	static struct platform p;
	struct tg_audit_queue_state state;
	struct tg_audit_queue *q;
	int kept;

	fresh();
	p = (struct platform){ 0 };
	q = open_with(NULL);
	for (int i = 0; i < 100; i++) {
		CU_ASSERT_EQUAL(add_sized(q, i, 100), 0);
		if (i % 10 == 0)
			q = reopen(q);
	}
	tg_audit_queue_state(q, &state);
	kept = (int)state.end.sequence;
	CU_ASSERT(kept > 10 && kept < 90);
	CU_ASSERT_EQUAL(state.lost, 100u - (unsigned)kept);
	/* the oldest are there, in their order; then the count; then what came after there was room */
	sync_once(&p, q, true);
	CU_ASSERT_EQUAL(p.next, kept);
	CU_ASSERT_EQUAL(add(q, 100), 0);
	sync_all(&p, q);
	CU_ASSERT_EQUAL(p.lost, 100u - (unsigned)kept);
	CU_ASSERT_EQUAL(p.next, 101);
	tg_audit_queue_close(q);
}

TEST(audit_queue, keeps_the_callers_mark)
{
	struct tg_audit_queue *q;

	fresh();
	q = open_with(NULL);
	CU_ASSERT_EQUAL(tg_audit_queue_mark(q), 0);
	CU_ASSERT_EQUAL(tg_audit_queue_set_mark(q, 77, NULL), 0);
	add(q, 0);
	q = reopen(q);
	CU_ASSERT_EQUAL(tg_audit_queue_mark(q), 77);
	CU_ASSERT_EQUAL(tg_audit_queue_restart(q, "robot-1", "test", 6, NULL), 0);
	CU_ASSERT_EQUAL(tg_audit_queue_mark(q), 77);
	tg_audit_queue_close(q);
}

TEST(audit_queue, a_new_chain_takes_what_waits)
{
	static struct platform p;
	struct tg_audit_queue_conf other = { .path = path, .source = "robot-2", .size = SMALL };
	struct tg_audit_queue *q;

	fresh();
	p = (struct platform){ 0 };
	q = open_with(NULL);
	for (int i = 0; i < 6; i++)
		add(q, i);
	sync_once(&p, q, true);
	for (int i = 6; i < 12; i++)
		add(q, i);
	CU_ASSERT_EQUAL(tg_audit_queue_restart(q, "robot-1", "fork", 6, NULL), 0);
	q = reopen(q);
	add(q, 12);
	sync_all(&p, q);
	CU_ASSERT_EQUAL(p.next, 13);
	CU_ASSERT_EQUAL(p.restarts, 1);
	add(q, 13);
	tg_audit_queue_close(q);
	/* the device has another name now */
	CU_ASSERT_EQUAL_FATAL(tg_audit_queue_open(&other, &q, NULL), 0);
	sync_all(&p, q);
	CU_ASSERT_EQUAL(p.next, 14);
	CU_ASSERT_EQUAL(p.restarts, 2);
	CU_ASSERT_STRING_EQUAL(p.chain.source, "robot-2");
	tg_audit_queue_close(q);
}

/* ---- faults ---- */

enum fault { NO_SPACE, READ_ONLY, BROKEN, SHORT_AND_DEAD, DEAD };

static struct {
	enum fault kind;
	int at;		/* the call that fails */
	int calls;
	bool hit, dead;
} fault;

/* 0: the call goes on; else its errno. */
static int fails(bool *ret_short)
{
	bool now = fault.calls++ == fault.at;

	*ret_short = now && fault.kind == SHORT_AND_DEAD;
	fault.hit |= now;
	if (now && fault.kind >= SHORT_AND_DEAD)
		fault.dead = true;
	if (!now && !fault.dead)
		return 0;
	return fault.kind == NO_SPACE ? ENOSPC : fault.kind == READ_ONLY ? EROFS : EIO;
}

static ssize_t faulty_pwrite(int fd, const void *data, size_t len, off_t at)
{
	bool cut;

	errno = fails(&cut);
	if (errno && !cut)
		return -1;
	return cut ? pwrite(fd, data, len - len / 2, at) : pwrite(fd, data, len, at);
}

static int faulty_fsync(int fd)
{
	bool cut;

	errno = fails(&cut);
	return errno ? -1 : fsync(fd);
}

static int faulty_allocate(int fd, off_t at, off_t len)
{
	bool cut;

	errno = fails(&cut);
	return errno ? -1 : fallocate(fd, 0, at, len);
}

static int faulty_link(const char *from, const char *to)
{
	bool cut;

	errno = fails(&cut);
	return errno ? -1 : link(from, to);
}

static int faulty_rename(const char *from, const char *to)
{
	bool cut;

	errno = fails(&cut);
	return errno ? -1 : rename(from, to);
}

static const struct tg_audit_io faulty = { faulty_pwrite, faulty_fsync, faulty_allocate, faulty_link,
					   faulty_rename };

/* Adds, hands over, begins a chain anew, with a fault somewhere. *ret_kept[i]: add() said 0. */
static int story(struct platform *p, bool *ret_kept)
{
	struct tg_audit_queue *q = NULL;
	int number = 0;

	for (int round = 0; round < 8; round++) {
		if (!q)
			q = open_with(&faulty);
		for (int i = 0; q && i < 3; i++, number++)
			ret_kept[number] = !add(q, number);
		/* what was handed over and not given up goes into the new chain once more */
		if (q && round % 2 && !sync_once(p, q, round != 5) && round < 4)
			p->repeats = true;
		if (q && round == 4)
			tg_audit_queue_restart(q, "robot-1", "story", 5, NULL);
		if (round == 6 && !fault.dead) {
			/* what is in memory would go with it */
			if (q && !tg_audit_queue_flush(q, NULL)) {
				tg_audit_queue_close(q);
				q = NULL;
			}
		}
	}
	if (q && !fault.dead)
		sync_all(p, q);
	tg_audit_queue_close(q);
	return number;
}

/* After the death of the process: all that add() promised is there. */
static void look_after(struct platform *p, const bool *kept, int count)
{
	struct tg_audit_queue *q = open_with(NULL);
	bool twice = p->repeats;

	CU_ASSERT_PTR_NOT_NULL_FATAL(q);
	p->repeats = true;
	sync_all(p, q);
	tg_audit_queue_close(q);
	for (int i = 0; i < count; i++)
		if (kept[i] && p->seen[i] != 1 && !(twice && p->seen[i] == 2)) {
			printf("fault %d at %d: event %d seen %d times\n", fault.kind, fault.at, i,
			       p->seen[i]);
			CU_FAIL("a record that was promised is missing or doubled");
			return;
		}
	CU_ASSERT_EQUAL(p->damaged, 0);
}

TEST(audit_queue, every_call_that_changes_the_disk_may_fail)
{
	static struct platform p;
	int tried = 0;

	for (int kind = NO_SPACE; kind <= DEAD; kind++)
		for (int at = 0;; at++) {
			bool kept[64] = { false };
			int count;

			fresh();
			p = (struct platform){ 0 };
			memset(&fault, 0, sizeof(fault));
			fault.kind = (enum fault)kind;
			fault.at = at;
			count = story(&p, kept);
			tried++;
			look_after(&p, kept, count);
			if (!fault.dead) {
				/* one failure only: memory has kept what the disk did not take */
				CU_ASSERT_EQUAL(p.next, count);
				CU_ASSERT_EQUAL(p.lost + p.damaged, 0);
			}
			if (!fault.hit)
				break;
		}
	CU_ASSERT(tried > 200);
}

/* A disk that takes nothing for a while: all in order afterwards; what memory had no room for is counted. */
TEST(audit_queue, a_disk_that_comes_back_gets_what_memory_kept)
{
	static struct platform p;
	struct tg_audit_queue *q;

	fresh();
	p = (struct platform){ 0 };
	memset(&fault, 0, sizeof(fault));
	fault.at = -1;
	q = open_with(&faulty);
	CU_ASSERT_PTR_NOT_NULL_FATAL(q);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(add_sized(q, i, 0), 0);
	fault.kind = READ_ONLY;
	fault.dead = true;
	for (int i = 3; i < 3 + TG_AUDIT_BACKLOG + 10; i++)
		CU_ASSERT_EQUAL(add_sized(q, i, 0), -EROFS);
	fault.dead = false;
	/* the ring holds fewer than memory did: what does not fit is counted with the ten */
	CU_ASSERT_EQUAL(add_sized(q, 3 + TG_AUDIT_BACKLOG + 10, 0), 0);
	sync_all(&p, q);
	CU_ASSERT_EQUAL(p.next, 3 + TG_AUDIT_BACKLOG + 11);
	CU_ASSERT(p.lost >= 10);
	tg_audit_queue_close(q);
}

/* Slots and records, about. */
static bool is_used(size_t at, size_t records)
{
	return at < 256 || (at >= 4090 && at < 4096 + 256) || (at >= 8190 && at < 8192 + records * 200);
}

/* Whatever bit of the file is another one: nothing crashes, the chain goes on, and a record says so unless
 * the bit was in what nobody needs any more. */
TEST(audit_queue, every_byte_of_the_file_may_be_damaged)
{
	static struct platform p;
	struct tg_bytes file = { 0 };
	struct tg_audit_queue *q;
	int missing = 0, said = 0;

	fresh();
	q = open_with(NULL);
	for (int i = 0; i < 12; i++)
		add_sized(q, i, 10);
	tg_audit_queue_close(q);
	CU_ASSERT_EQUAL_FATAL(tg_file_read(path, 1 << 20, &file, NULL), 0);
	for (size_t at = 0; at < file.len; at += is_used(at, 12) ? 2 : 510) {
		fresh();
		p = (struct platform){ .repeats = true };
		file.data[at] ^= 0x40;
		CU_ASSERT_EQUAL_FATAL(tg_file_replace(path, file.data, file.len, 0600, NULL), 0);
		file.data[at] ^= 0x40;
		q = open_with(NULL);
		CU_ASSERT_PTR_NOT_NULL_FATAL(q);
		add_sized(q, 12, 10);
		sync_all(&p, q);
		tg_audit_queue_close(q);
		int lost = 0;
		for (int i = 0; i < 13; i++)
			lost += !p.seen[i];
		CU_ASSERT(p.seen[12] == 1 && lost <= 1);
		if (lost && !(p.cut + p.damaged))
			CU_FAIL("a record is missing, and nothing says so");
		missing += lost;
		said += p.cut + p.damaged > 0;
	}
	CU_ASSERT(missing > 100 && said >= missing);
	tg_bytes_free(&file);
}

TEST(audit_queue, junk_is_moved_aside)
{
	static const char junk[] = "this is no queue";
	static struct platform p;
	char aside[80];
	struct tg_audit_queue *q;
	struct tg_bytes moved;

	for (int empty = 0; empty < 2; empty++) {
		fresh();
		p = (struct platform){ 0 };
		CU_ASSERT_EQUAL(tg_file_replace(path, junk, empty ? 0 : sizeof(junk), 0600, NULL), 0);
		q = open_with(NULL);
		CU_ASSERT_PTR_NOT_NULL_FATAL(q);
		add(q, 0);
		sync_all(&p, q);
		CU_ASSERT(p.damaged == 1 && p.next == 1);
		snprintf(aside, sizeof(aside), "%s.damaged", path);
		CU_ASSERT_EQUAL(tg_file_read(aside, 100, &moved, NULL), 0);
		CU_ASSERT_EQUAL(moved.len, empty ? 0 : sizeof(junk));
		tg_bytes_free(&moved);
		tg_audit_queue_close(q);
	}
}

/* ---- kill -9 ---- */

/* Adds for ever, and says each number when it is promised. */
static void child(int from, int out)
{
	struct tg_audit_queue *q = open_with(NULL);

	if (!q)
		_exit(1);
	for (int number = from;; number++) {
		if (add(q, number) || write(out, &number, sizeof(number)) != sizeof(number))
			_exit(2);
		/* changes the slots as well */
		if (number % 7 == 6)
			tg_audit_queue_set_mark(q, (uint64_t)number, NULL);
	}
}

TEST(audit_queue, kill_9_two_hundred_times)
{
	static struct platform p;
	int from = 0, promised = -1;

	fresh();
	p = (struct platform){ 0 };
	for (int round = 0; round < KILLS; round++) {
		int pipes[2], number, status;
		struct tg_audit_queue *q;
		pid_t pid;

		CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
		pid = fork();
		CU_ASSERT_FATAL(pid >= 0);
		if (!pid)
			child(from, pipes[1]);
		close(pipes[1]);
		/* at some moment after a few promises */
		for (int i = 0; i <= round % 11 && read(pipes[0], &number, sizeof(number)) == sizeof(number);
		     i++)
			promised = number;
		usleep((useconds_t)(round * 131 % 400));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		CU_ASSERT(WIFSIGNALED(status));
		while (read(pipes[0], &number, sizeof(number)) == sizeof(number))
			promised = number;
		close(pipes[0]);
		q = open_with(NULL);
		CU_ASSERT_PTR_NOT_NULL_FATAL(q);
		sync_all(&p, q);
		tg_audit_queue_close(q);
		/* the one that was being written when it died may be there or not */
		CU_ASSERT_FATAL(p.next == promised + 1 || p.next == promised + 2);
		from = p.next;
	}
	CU_ASSERT_EQUAL(p.damaged, 0);
	CU_ASSERT(from > 5 * KILLS);
}

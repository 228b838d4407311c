/* SPDX-License-Identifier: BSD-3-Clause */
/* The anti-rollback state: growth, damage, older copies, a counter, a crash between the two. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "tensorguard/file.h"
#include "tensorguard/floor.h"

static const uint8_t key[TG_FLOOR_KEY_LEN] = "a key", other_key[TG_FLOOR_KEY_LEN] = "another";

struct place {
	char folder[64], path[80];
};

static void place_init(struct place *p)
{
	strcpy(p->folder, "/tmp/tgsp-floor-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(p->folder));
	snprintf(p->path, sizeof(p->path), "%s/state", p->folder);
}

static void place_clear(struct place *p)
{
	char lock[90];

	snprintf(lock, sizeof(lock), "%s.lock", p->path);
	unlink(lock);
	unlink(p->path);
	CU_ASSERT_EQUAL(rmdir(p->folder), 0);	/* no temporary file was left */
}

static int open_it(const struct place *p, const struct tg_floor_counter *counter, struct tg_floor **ret)
{
	return tg_floor_open(p->path, key, counter, false, ret, NULL);
}

static int raise_one(struct tg_floor *floor, const char *name, uint64_t value)
{
	return tg_floor_raise(floor, &(struct tg_floor_entry){ name, value }, 1, NULL);
}

TEST(floor, grows_only)
{
	struct tg_floor *floor, *second;
	struct place p;

	place_init(&p);
	CU_ASSERT_EQUAL(open_it(&p, NULL, &floor), -ENOENT);
	CU_ASSERT_FATAL(!tg_floor_open(p.path, key, NULL, true, &floor, NULL));
	CU_ASSERT_EQUAL(tg_floor_get(floor, "grasp"), 0);
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 7), 0);
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 3), 0);
	CU_ASSERT_EQUAL(tg_floor_get(floor, "grasp"), 7);
	CU_ASSERT_EQUAL(raise_one(floor, "arm", UINT64_MAX), 0);
	CU_ASSERT_EQUAL(raise_one(floor, "", 1), -EINVAL);
	CU_ASSERT_EQUAL(tg_floor_open(p.path, key, NULL, true, &second, NULL), -EBUSY);
	tg_floor_close(floor);
	CU_ASSERT_FATAL(!open_it(&p, NULL, &floor));
	CU_ASSERT(tg_floor_get(floor, "grasp") == 7 && tg_floor_get(floor, "arm") == UINT64_MAX);
	tg_floor_close(floor);
	CU_ASSERT_EQUAL(tg_floor_open(p.path, other_key, NULL, true, &floor, NULL), -EBADMSG);
	place_clear(&p);
}

struct asking {
	struct tg_floor *floor;
	uint64_t seen;
	bool shrank;
};

static void *ask(void *arg)
{
	struct asking *asking = arg;

	while (asking->seen < 50) {
		uint64_t now = tg_floor_get(asking->floor, "grasp");

		asking->shrank = asking->shrank || now < asking->seen;
		asking->seen = now;
	}
	return NULL;
}

/* vault opens a model while others ask for its state: under ASan the old entries would be seen to be used. */
TEST(floor, raised_while_others_ask)
{
	struct asking asking = { .seen = 0 };
	pthread_t thread;
	struct place p;

	place_init(&p);
	CU_ASSERT_FATAL(!tg_floor_open(p.path, key, NULL, true, &asking.floor, NULL));
	CU_ASSERT_FATAL(!pthread_create(&thread, NULL, ask, &asking));
	for (uint64_t i = 1; i <= 50; i++)
		CU_ASSERT_EQUAL(raise_one(asking.floor, "grasp", i), 0);
	pthread_join(thread, NULL);
	CU_ASSERT_FALSE(asking.shrank);
	tg_floor_close(asking.floor);
	place_clear(&p);
}

TEST(floor, damaged)
{
	struct tg_bytes state;
	struct tg_floor *floor;
	struct place p;

	place_init(&p);
	CU_ASSERT_FATAL(!tg_floor_open(p.path, key, NULL, true, &floor, NULL));
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 7), 0);
	tg_floor_close(floor);
	CU_ASSERT_FATAL(!tg_file_read(p.path, 4096, &state, NULL));
	for (size_t at = 0; at < state.len; at++) {
		state.data[at] ^= 0x10;
		CU_ASSERT(!tg_file_replace(p.path, state.data, state.len, 0600, NULL));
		CU_ASSERT_EQUAL(open_it(&p, NULL, &floor), -EBADMSG);
		state.data[at] ^= 0x10;
		CU_ASSERT(!tg_file_replace(p.path, state.data, at, 0600, NULL));
		CU_ASSERT_EQUAL(open_it(&p, NULL, &floor), -EBADMSG);
	}
	tg_bytes_free(&state);
	place_clear(&p);
}

struct counter {
	uint64_t value;
	bool broken, missing;
};

static int counter_read(void *ctx, uint64_t *ret_value, struct tg_error *e)
{
	const struct counter *c = ctx;

	(void)e;
	*ret_value = c->value;
	return c->missing ? -ENOENT : 0;
}

static int counter_define(void *ctx, struct tg_error *e)
{
	struct counter *c = ctx;

	(void)e;
	CU_ASSERT(c->missing);
	c->missing = false;
	return 0;
}

static int counter_increment(void *ctx, struct tg_error *e)
{
	struct counter *c = ctx;

	(void)e;
	if (c->broken)
		return -EIO;
	c->value++;
	return 0;
}

/* An older copy of the file is recognised by the counter; so is a file from before the counter. */
TEST(floor, older_copy)
{
	struct counter c = { .value = 40 };
	const struct tg_floor_counter counter = { counter_read, counter_increment, &c, counter_define };
	struct tg_bytes old;
	struct tg_floor *floor;
	struct place p;

	place_init(&p);
	CU_ASSERT_FATAL(!tg_floor_open(p.path, key, &counter, true, &floor, NULL));
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 7), 0);
	CU_ASSERT_FATAL(!tg_file_read(p.path, 4096, &old, NULL));
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 8), 0);
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 8), 0);
	CU_ASSERT_EQUAL(c.value, 42);	/* a raise that changes nothing costs no count */
	tg_floor_close(floor);
	CU_ASSERT_EQUAL(open_it(&p, &counter, &floor), 0);
	tg_floor_close(floor);
	CU_ASSERT_EQUAL(open_it(&p, NULL, &floor), -EBADMSG);
	CU_ASSERT(!tg_file_replace(p.path, old.data, old.len, 0600, NULL));
	CU_ASSERT_EQUAL(open_it(&p, &counter, &floor), -ESTALE);
	CU_ASSERT_EQUAL(tg_floor_open(p.path, key, &counter, true, &floor, NULL), -ESTALE);
	tg_bytes_free(&old);
	place_clear(&p);
}

/* A crash after the file and before the counter: the next opening makes the counter follow. */
TEST(floor, crash_between)
{
	struct counter c = { .value = 40, .broken = true };
	const struct tg_floor_counter counter = { counter_read, counter_increment, &c, counter_define };
	struct tg_floor *floor;
	struct place p;

	place_init(&p);
	CU_ASSERT_FATAL(!tg_floor_open(p.path, key, &counter, true, &floor, NULL));
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 7), -EIO);
	CU_ASSERT_EQUAL(tg_floor_get(floor, "grasp"), 7);	/* as on the disk */
	/* nothing else is written for this count: there would be two files for it */
	CU_ASSERT_EQUAL(raise_one(floor, "arm", 1), -EIO);
	CU_ASSERT_EQUAL(tg_floor_get(floor, "arm"), 0);
	tg_floor_close(floor);
	c.broken = false;
	CU_ASSERT_EQUAL(open_it(&p, &counter, &floor), 0);
	CU_ASSERT(tg_floor_get(floor, "grasp") == 7 && c.value == 41);
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 9), 0);
	tg_floor_close(floor);
	CU_ASSERT_EQUAL(open_it(&p, &counter, &floor), 0);
	CU_ASSERT(tg_floor_get(floor, "grasp") == 9 && c.value == 42);
	tg_floor_close(floor);
	place_clear(&p);
}

/* A floor that learns of its counter later is tied to it once, and no copy from before is taken again. */
TEST(floor, tied_later)
{
	struct counter c = { .value = 40, .missing = true };
	const struct tg_floor_counter counter = { counter_read, counter_increment, &c, counter_define };
	struct tg_bytes untied, first;
	struct tg_floor *floor;
	struct place p;

	place_init(&p);
	CU_ASSERT_FATAL(!tg_floor_open_later(p.path, key, true, &floor, NULL));
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 7), 0);
	CU_ASSERT_FATAL(!tg_file_read(p.path, 4096, &untied, NULL));
	CU_ASSERT(!tg_floor_is_tied(floor));
	CU_ASSERT_EQUAL(tg_floor_tie(floor, &counter, NULL), 0);
	CU_ASSERT(tg_floor_is_tied(floor) && !c.missing && c.value == 40);
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 8), 0);
	CU_ASSERT_EQUAL(tg_floor_tie(floor, &counter, NULL), 0);
	CU_ASSERT_FATAL(!tg_file_read(p.path, 4096, &first, NULL));
	tg_floor_close(floor);

	CU_ASSERT_FATAL(!tg_floor_open_later(p.path, key, false, &floor, NULL));
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 9), -EAGAIN);
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 8), 0);	/* it is that already */
	CU_ASSERT_EQUAL(tg_floor_tie(floor, NULL, NULL), -ESTALE);
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 9), -EAGAIN);
	CU_ASSERT_EQUAL(tg_floor_tie(floor, &counter, NULL), 0);
	CU_ASSERT_EQUAL(raise_one(floor, "grasp", 9), 0);
	CU_ASSERT_EQUAL(c.value, 42);
	c.missing = true;
	CU_ASSERT_EQUAL(tg_floor_tie(floor, &counter, NULL), -ESTALE);
	c.missing = false;
	tg_floor_close(floor);

	/* the state of before, one without a counter, and a new one in its place */
	CU_ASSERT(!tg_file_replace(p.path, first.data, first.len, 0600, NULL));
	CU_ASSERT_FATAL(!tg_floor_open_later(p.path, key, false, &floor, NULL));
	CU_ASSERT_EQUAL(tg_floor_tie(floor, &counter, NULL), -ESTALE);
	tg_floor_close(floor);
	CU_ASSERT(!tg_file_replace(p.path, untied.data, untied.len, 0600, NULL));
	CU_ASSERT_FATAL(!tg_floor_open_later(p.path, key, false, &floor, NULL));
	CU_ASSERT_EQUAL(tg_floor_tie(floor, &counter, NULL), -ESTALE);
	tg_floor_close(floor);
	CU_ASSERT_EQUAL(unlink(p.path), 0);
	CU_ASSERT_FATAL(!tg_floor_open_later(p.path, key, true, &floor, NULL));
	CU_ASSERT_EQUAL(tg_floor_tie(floor, &counter, NULL), -ESTALE);
	tg_floor_close(floor);
	CU_ASSERT_EQUAL(c.value, 42);
	tg_bytes_free(&untied);
	tg_bytes_free(&first);
	place_clear(&p);
}

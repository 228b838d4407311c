/* SPDX-License-Identifier: BSD-3-Clause */
/* Staged roll-outs: the arithmetic, one device, and 10,000 devices through the real store. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "release/release.h"
#include "store/db.h"
#include "store_fixture.h"
#include "tensorguard/cli.h"

static struct tg_error e;

TEST(stage, percentages)
{
	static const char *const bad[] = { "",    "0",   "0.001", "100.01",
					   "101", "1,1", "10,1",  "1,,2",
					   "1,",  "1.",  ".5",    "-1",
					   "1 ",  "a",   "1e1",   "1,2,3,4,5,6,7,8,9" };
	char text[STAGES_TEXT_SIZE];
	struct stages stages;

	CU_ASSERT_EQUAL_FATAL(stages_parse("0.1,1,10.25,100", &stages, &e), 0);
	CU_ASSERT_EQUAL(stages.count, 4);
	CU_ASSERT_EQUAL(stages.buckets[0], 10);
	CU_ASSERT_EQUAL(stages.buckets[1], 100);
	CU_ASSERT_EQUAL(stages.buckets[2], 1025);
	CU_ASSERT_EQUAL(stages.buckets[3], 10000);
	stages_print(&stages, text);
	CU_ASSERT_STRING_EQUAL(text, "0.1,1,10.25,100");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(stages_parse(bad[i], &stages, &e), TG_CLI_USAGE);
}

/* The values were computed with another implementation (Python). */
TEST(stage, buckets_are_the_same_for_ever_and_spread)
{
	uint8_t manifest[32] = { 0 };
	unsigned tenths[10] = { 0 };
	uint32_t bucket, other;
	char id[24];

	CU_ASSERT_EQUAL(stage_bucket(manifest, "robot-1", &bucket, &e), 0);
	CU_ASSERT_EQUAL(bucket, 9558);
	CU_ASSERT_EQUAL(stage_bucket(manifest, "robot-2", &bucket, &e), 0);
	CU_ASSERT_EQUAL(bucket, 7484);
	manifest[0] = 1;
	CU_ASSERT_EQUAL(stage_bucket(manifest, "robot-2", &other, &e), 0);
	CU_ASSERT_NOT_EQUAL(bucket, other);
	for (int i = 0; i < 10000; i++) {
		snprintf(id, sizeof(id), "robot-%d", i);
		CU_ASSERT_EQUAL(stage_bucket(manifest, id, &bucket, &e), 0);
		CU_ASSERT_FATAL(bucket < STAGE_ALL);
		tenths[bucket / 1000]++;
	}
	for (int i = 0; i < 10; i++)
		CU_ASSERT(tenths[i] > 880 && tenths[i] < 1120); /* four standard deviations */
}

TEST(stage, verdicts)
{
	static const struct stage_rule rule = { .failures = 500, .quorum = 9000, .soak = 100 };
	static const struct {
		int64_t told, healthy, failed, quiet;
		enum stage_verdict verdict;
	} cases[] = {
		{ 0, 0, 0, 99, STAGE_WAIT },
		{ 0, 0, 0, 100, STAGE_NEXT }, /* nobody in this stage */
		{ 10, 8, 0, 100, STAGE_WAIT },
		{ 10, 9, 0, 100, STAGE_NEXT }, /* the quorum */
		{ 10, 9, 0, 99, STAGE_WAIT },
		{ 1, 0, 1, 5, STAGE_WAIT }, /* one failure is not enough */
		{ 1, 0, 1, 100, STAGE_STOP },
		{ 10, 0, 2, 5, STAGE_STOP }, /* two of two are */
		{ 20, 8, 2, 5, STAGE_STOP },
		{ 20, 18, 2, 5, STAGE_WAIT }, /* 20 % of 10; 10 % of 20 */
		{ 20, 18, 2, 100, STAGE_STOP },
		{ 100, 95, 5, 100, STAGE_NEXT }, /* at the end: 5 % are borne */
		{ 100, 94, 6, 100, STAGE_STOP },
		{ 100, 94, 6, 99, STAGE_WAIT },
		{ 1000, 920, 80, 5, STAGE_STOP }, /* 8 % of a thousand */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stage_counts counts = { cases[i].told, cases[i].healthy, cases[i].failed };

		if (stage_judge(&rule, &counts, cases[i].quiet) != cases[i].verdict)
			printf("case %zu\n", i);
		CU_ASSERT_EQUAL(stage_judge(&rule, &counts, cases[i].quiet), cases[i].verdict);
	}
}

TEST(stage, devices_without_an_answer_are_few)
{
	CU_ASSERT(stage_admits(&(struct stage_counts){ 9, 0, 0 }));
	CU_ASSERT(!stage_admits(&(struct stage_counts){ 10, 0, 0 }));
	CU_ASSERT(stage_admits(&(struct stage_counts){ 10, 0, 1 }));
	CU_ASSERT(stage_admits(&(struct stage_counts){ 199, 100, 0 }));
	CU_ASSERT(!stage_admits(&(struct stage_counts){ 200, 100, 0 }));
}

/* One device: what it should have, in each state of the roll-out and of itself. */
TEST(release, one_device)
{
	static const struct {
		enum rollout_state state;
		int64_t told;
		enum device_verdict verdict;
		int64_t ran;
		uint32_t bucket;
		int64_t expected;
	} cases[] = {
		{ ROLLOUT_RUNNING, 0, DEVICE_UNTOLD, 0, 99, 8 },
		{ ROLLOUT_RUNNING, 0, DEVICE_UNTOLD, 0, 100, 7 },
		{ ROLLOUT_RUNNING, 8, DEVICE_TOLD, 0, 5000, 8 },	/* told in an earlier life */
		{ ROLLOUT_RUNNING, 8, DEVICE_FAILED, 0, 5, 7 },	/* back: its floor allows it */
		{ ROLLOUT_RUNNING, 8, DEVICE_FAILED, 8, 5, 8 },	/* its floor does not */
		{ ROLLOUT_PAUSED, 0, DEVICE_UNTOLD, 0, 5, 7 },
		{ ROLLOUT_PAUSED, 8, DEVICE_HEALTHY, 8, 5, 8 },
		{ ROLLOUT_STOPPED, 0, DEVICE_UNTOLD, 0, 5, 7 },
		{ ROLLOUT_STOPPED, 8, DEVICE_HEALTHY, 0, 5, 7 },
		{ ROLLOUT_STOPPED, 8, DEVICE_HEALTHY, 8, 5, 8 },
		{ ROLLOUT_ROLLED_BACK, 8, DEVICE_TOLD, 0, 5, 7 },
		{ ROLLOUT_ROLLED_BACK, 8, DEVICE_FAILED, 8, 5, 8 },
		{ ROLLOUT_DONE, 0, DEVICE_UNTOLD, 0, 9999, 8 },
		{ ROLLOUT_DONE, 8, DEVICE_FAILED, 0, 5, 8 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct store_rollout rollout = { .base = 7, .candidate = 8, .state = cases[i].state };
		struct store_model device = { .told = cases[i].told,
					      .verdict = cases[i].verdict,
					      .ran = cases[i].ran };
		struct release_case one = { .rollout = &rollout,
					    .device = &device,
					    .bucket = cases[i].bucket };

		rollout.stages = (struct stages){ .buckets = { 100 }, .count = 1 };
		if (release_decide(&one) != cases[i].expected)
			printf("case %zu\n", i);
		CU_ASSERT_EQUAL(release_decide(&one), cases[i].expected);
	}
}

/* A roll-out between the base and this one was stopped; this device had its release open: nothing older
 * serves. */
TEST(release, what_a_device_ran_stays)
{
	static const struct {
		enum rollout_state state;
		int64_t told;
		enum device_verdict verdict;
		int64_t ran, expected;
	} cases[] = {
		{ ROLLOUT_RUNNING, 6, DEVICE_HEALTHY, 6, 6 }, /* not its turn yet */
		{ ROLLOUT_RUNNING, 8, DEVICE_TOLD, 6, 8 },
		{ ROLLOUT_RUNNING, 8, DEVICE_FAILED, 6, 6 },
		{ ROLLOUT_STOPPED, 8, DEVICE_HEALTHY, 6, 6 },
		{ ROLLOUT_ROLLED_BACK, 8, DEVICE_TOLD, 6, 6 },
		{ ROLLOUT_ROLLED_BACK, 8, DEVICE_TOLD, 3, 4 },
		{ ROLLOUT_ROLLED_BACK, 8, DEVICE_HEALTHY, 8, 8 },
		{ ROLLOUT_DONE, 8, DEVICE_FAILED, 6, 8 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct store_rollout rollout = { .base = 4, .candidate = 8, .state = cases[i].state };
		struct store_model device = { .told = cases[i].told,
					      .verdict = cases[i].verdict,
					      .ran = cases[i].ran };
		struct release_case one = { .rollout = &rollout, .device = &device, .bucket = 9000 };

		rollout.stages = (struct stages){ .buckets = { 100 }, .count = 1 };
		CU_ASSERT_EQUAL(release_decide(&one), cases[i].expected);
	}
}

/* Also when it is told another one before the Platform hears of it. */
TEST(release, what_a_device_ran_is_noted)
{
	struct store_rollout rollout = { .base = 4, .candidate = 8, .state = ROLLOUT_DONE };
	struct tg_model_report report = { .release = 6, .state = TG_MODEL_RUNNING };
	struct store_model device = { .told = 8, .verdict = DEVICE_TOLD };
	struct release_case one = { .rollout = &rollout, .device = &device, .report = &report };

	CU_ASSERT_EQUAL(release_decide(&one), 8);
	CU_ASSERT_EQUAL(device.ran, 6);
	report.release = 9; /* what this roll-out does not know */
	release_decide(&one);
	report.release = 5;
	release_decide(&one);
	CU_ASSERT_EQUAL(device.ran, 6);
}

TEST(release, reports_are_counted_once_and_follow_the_device)
{
	struct store_rollout rollout = { .base = 7,
					 .candidate = 8,
					 .stages = { .buckets = { 10000 }, .count = 1 } };
	struct tg_model_report report = { .release = 8 };
	struct store_model device = { 0 };
	struct release_case one = { .rollout = &rollout, .device = &device, .report = &report, .faults = 1 };
	static const struct {
		enum tg_model_state state;
		int64_t faults, healthy, failed;
	} steps[] = {
		{ TG_MODEL_DOWNLOADING, 1, 0, 0 },
		{ TG_MODEL_READY, 1, 1, 0 },
		{ TG_MODEL_RUNNING, 1, 1, 0 },
		{ TG_MODEL_RUNNING, 2, 0, 1 }, /* a fault more than when it was told */
		{ TG_MODEL_RUNNING, 1, 1, 0 },
		{ TG_MODEL_FAILED, 1, 0, 1 },
		{ TG_MODEL_FAILED, 0, 0, 1 },
		{ TG_MODEL_REVOKED, 0, 0, 1 },
	};

	one.report = NULL;
	CU_ASSERT_EQUAL(release_decide(&one), 8);
	CU_ASSERT_EQUAL(rollout.counts.told, 1);
	one.report = &report;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		report.state = steps[i].state;
		one.faults = steps[i].faults;
		for (int twice = 0; twice < 2; twice++)
			CU_ASSERT_EQUAL(release_decide(&one), 8);
		CU_ASSERT_EQUAL(rollout.counts.told, 1);
		CU_ASSERT_EQUAL(rollout.counts.healthy, steps[i].healthy);
		CU_ASSERT_EQUAL(rollout.counts.failed, steps[i].failed);
	}
	/* what it says of another release says nothing of this one */
	report.release = 7;
	report.state = TG_MODEL_RUNNING;
	release_decide(&one);
	CU_ASSERT_EQUAL(rollout.counts.failed, 1);
}

enum { DEVICES = 10000, FEW = 500, PERIOD = 60, RUNS = 3 };

static void add_release(struct store *store, int64_t number, uint8_t mark)
{
	struct store_release release = { .model = "grasp",
					 .number = number,
					 .size = 4096,
					 .added = NOW,
					 .document = (const uint8_t *)"x",
					 .document_len = 1 };

	memset(release.manifest, (int)number, STORE_HASH_LEN);
	release.manifest[0] = mark;
	memset(release.content, (int)number, STORE_HASH_LEN);
	memset(release.blob, (int)number, STORE_HASH_LEN);
	CU_ASSERT_EQUAL_FATAL(store_release_add(store, &release, &e), 0);
}

/* Straight into the table: enrolments are tested elsewhere. */
static void add_agents(const char *fleet, int count)
{
	static const uint8_t none[1];
	struct db *db = NULL;
	char id[32];

	CU_ASSERT_EQUAL_FATAL(db_open(store_url(), &db, &e), 0);
	CU_ASSERT_EQUAL_FATAL(db_begin(db, &e), 0);
	for (int i = 0; i < count; i++) {
		snprintf(id, sizeof(id), "robot-%d", i);
		CU_ASSERT_EQUAL_FATAL(db_run(db,
					     "INSERT INTO agent (id, identity, fleet, level, ak_public, "
					     "hpke_point, enrolled,"
					     " renewed, not_after, revoked, reason)"
					     " VALUES ($1, $2, $3, 3, $4, $4, 1, 1, 1, 0, '')",
					     DB_VALUES(db_text(id), db_blob(id, strlen(id)), db_text(fleet),
						       db_blob(none, 0)),
					     NULL, NULL, &e),
				      1);
	}
	CU_ASSERT_EQUAL_FATAL(db_commit(db, &e), 0);
	db_close(db);
}

static void promote(struct store *store, int64_t number, const char *stages, int ret)
{
	struct release_promotion promotion = {
		.model = "grasp",
		.fleet = "robots",
		.candidate = number,
		.rule = { .failures = 500, .quorum = 9000, .soak = 2 * PERIOD },
		.reason = "promoted",
		.now = NOW
	};

	CU_ASSERT_EQUAL_FATAL(stages_parse(stages, &promotion.stages, &e), 0);
	CU_ASSERT_EQUAL_FATAL(release_promote(store, &promotion, &e), ret);
}

/* What the simulated devices have, and how they fare with release 9. */
struct fleet {
	struct {
		uint64_t release;
		bool fails, holds;
		uint8_t tag[TG_SHA256_LEN];
	} devices[DEVICES];
	int count, holders;	/* devices; those that have had release 9 */
};

static void one_sync(struct store *store, struct fleet *fleet, int i, int64_t now)
{
	static struct tg_models_request request;
	static struct tg_models_answer answer;
	char id[32];
	struct release_device device = { .agent = id, .fleet = "robots" };
	uint64_t has = fleet->devices[i].release;
	int ret;

	snprintf(id, sizeof(id), "robot-%d", i);
	memcpy(request.tag, fleet->devices[i].tag, sizeof(request.tag));
	request.report_count = has != 0;
	request.reports[0] = (struct tg_model_report){ .model = "grasp", .release = has, .since = NOW };
	request.reports[0].state = has == 9 && fleet->devices[i].fails ? TG_MODEL_FAILED : TG_MODEL_RUNNING;
	ret = release_sync(store, &device, &request, now, false, &answer, &e);
	if (ret == -EAGAIN)
		ret = release_sync(store, &device, &request, now, true, &answer, &e);
	CU_ASSERT_EQUAL_FATAL(ret, 0);
	if (!memcmp(answer.tag, (uint8_t[TG_SHA256_LEN]){ 0 }, TG_SHA256_LEN))
		return;
	memcpy(fleet->devices[i].tag, answer.tag, sizeof(answer.tag));
	CU_ASSERT_EQUAL_FATAL(answer.assignment_count, 1);
	fleet->devices[i].release = answer.assignments[0].release;
	if (answer.assignments[0].release == 9 && !fleet->devices[i].holds) {
		fleet->devices[i].holds = true;
		fleet->holders++;
	}
}

/* One period, in an order that looks drawn. A transaction for a hundred devices, as the writer makes them. */
static void one_period(struct store *store, struct fleet *fleet, int64_t now)
{
	CU_ASSERT_EQUAL_FATAL(store_begin(store, &e), 0);
	for (int k = 0; k < fleet->count; k++) {
		one_sync(store, fleet, (int)((k * 7919ll + now) % fleet->count),
			 now + k * PERIOD / fleet->count);
		if (k % 100 == 99) {
			CU_ASSERT_EQUAL_FATAL(store_commit(store, &e), 0);
			CU_ASSERT_EQUAL_FATAL(store_begin(store, &e), 0);
		}
	}
	CU_ASSERT_EQUAL_FATAL(release_tick(store, now + PERIOD, &e), 0);
	CU_ASSERT_EQUAL_FATAL(store_commit(store, &e), 0);
}

static struct store_rollout rollout_now(struct store *store)
{
	struct store_rollout rollout = { 0 };

	CU_ASSERT_EQUAL(store_rollout_get(store, "grasp", "robots", &rollout, &e), 0);
	return rollout;
}

static int count_stops(void *arg, const struct store_audit *record)
{
	*(int *)arg += !strcmp(record->action, "release-rollout") && !strcmp(record->outcome, "stopped");
	return 0;
}

/* Release 7 is everywhere; release 9 fails on every fifth device, by another draw in each run. */
static void simulate(int run, int count, unsigned failing_percent, struct fleet *fleet,
		     enum rollout_state expected)
{
	struct store *store = fresh_store();
	int64_t now = NOW;
	int stops = 0;

	make_fleet(store, "robots");
	add_agents("robots", count);
	add_release(store, 7, 0);
	add_release(store, 9, (uint8_t)run);
	promote(store, 7, "100", 0);
	{
		struct store_rollout whole = rollout_now(store);

		whole.state = ROLLOUT_DONE;
		CU_ASSERT_EQUAL(store_rollout_put(store, &whole, &e), 0);
	}
	promote(store, 9, "0.1,1,10,100", 0);
	memset(fleet, 0, sizeof(*fleet));
	fleet->count = count;
	srand((unsigned)run + 1);
	for (int i = 0; i < count; i++)
		fleet->devices[i].fails = (unsigned)rand() % 100 < failing_percent;
	for (int k = 0; k < 40 && rollout_now(store).state == ROLLOUT_RUNNING; k++, now += PERIOD)
		one_period(store, fleet, now);
	CU_ASSERT_EQUAL(rollout_now(store).state, expected);
	CU_ASSERT_EQUAL(store_audit_each(store, 100, count_stops, &stops, &e), 0);
	CU_ASSERT_EQUAL(stops, expected == ROLLOUT_STOPPED);
	printf("run %d: %d devices have had release 9, %lld seconds: %s\n", run, fleet->holders,
	       (long long)(now - NOW), rollout_now(store).reason);
	store_close(store);
}

/* A round trip for each statement: PostgreSQL gets one draw of a smaller fleet, of which 1 % would be too
 * few. */
TEST(release, twenty_percent_of_failures_stop_before_one_percent_of_the_fleet)
{
	struct fleet *fleet = calloc(1, sizeof(*fleet));
	bool embedded = !strncmp(store_url(), "sqlite:", 7);

	CU_ASSERT_PTR_NOT_NULL_FATAL(fleet);
	for (int run = 1; run <= (embedded ? RUNS : 1); run++) {
		simulate(run, embedded ? DEVICES : FEW, 20, fleet, ROLLOUT_STOPPED);
		CU_ASSERT(fleet->holders < DEVICES / 100);
	}
	free(fleet);
}

TEST(release, one_percent_of_failures_reach_the_whole_fleet)
{
	struct fleet *fleet = calloc(1, sizeof(*fleet));

	CU_ASSERT_PTR_NOT_NULL_FATAL(fleet);
	simulate(1, FEW, 1, fleet, ROLLOUT_DONE);
	CU_ASSERT_EQUAL(fleet->holders, FEW);
	free(fleet);
}

static int count_revoked(void *arg, const uint8_t manifest[static STORE_HASH_LEN])
{
	(void)manifest;
	++*(int *)arg;
	return 0;
}

static int revoked_in(struct store *store, const char *fleet)
{
	int count = 0;

	CU_ASSERT_EQUAL(store_revoked_each(store, fleet, 1000, count_revoked, &count, &e), 0);
	return count;
}

/* A device that was away while the fleet went on hears of it as well. */
TEST(release, a_revocation_is_not_forgotten)
{
	struct store *store = fresh_store();
	struct store_release release = { .number = 0 };
	bool used = true;

	make_fleet(store, "robots");
	for (int64_t number = 7; number <= 9; number++)
		add_release(store, number, 0);
	promote(store, 7, "100", 0);
	CU_ASSERT_EQUAL(store_release_revoke(store, "grasp", 8, NOW, &e), 0);
	CU_ASSERT_EQUAL(store_release_remove(store, "grasp", 8, &e), -EBUSY);
	CU_ASSERT_EQUAL(revoked_in(store, "robots"), 1);
	CU_ASSERT_EQUAL(store_release_get(store, "grasp", 8, &release, &e), 0);
	CU_ASSERT_EQUAL(release.revoked, NOW);
	/* its package is of no use any more */
	CU_ASSERT_EQUAL(store_blob_used(store, release.blob, &used, &e), 0);
	CU_ASSERT_FALSE(used);
	CU_ASSERT_EQUAL(store_release_remove(store, "grasp", 9, &e), 0);
	CU_ASSERT_EQUAL(store_release_remove(store, "grasp", 9, &e), -ENOENT);
	CU_ASSERT_EQUAL(store_release_remove(store, "grasp", 7, &e), -EBUSY);
	store_close(store);
}

/* More of them than a device has models. */
TEST(release, every_revocation_is_told)
{
	enum { MANY = 100 };
	static struct tg_models_request request;
	static struct tg_models_answer answer;
	const struct release_device device = { .agent = "robot-0", .fleet = "robots" };
	struct store *store = fresh_store();

	make_fleet(store, "robots");
	add_agents("robots", 1);
	for (int number = 1; number <= MANY; number++)
		add_release(store, number, 0);
	promote(store, MANY, "100", 0);
	for (int number = 1; number < MANY; number++)
		CU_ASSERT_EQUAL(store_release_revoke(store, "grasp", number, NOW + number, &e), 0);
	CU_ASSERT_EQUAL(release_sync(store, &device, &request, NOW + MANY, true, &answer, &e), 0);
	CU_ASSERT_EQUAL(answer.revoked_count, MANY - 1);
	store_close(store);
}

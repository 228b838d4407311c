/* SPDX-License-Identifier: BSD-3-Clause */
/* What the Platform means a device to have: as trust tells vault, as vault acts on it, as both report it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "trust/reports.h"
#include "vault/assigned.h"
#include "vault/call.h"

static struct tg_error e;

/* ---- sets of hashes ---- */

static void fill(uint8_t hash[static TG_SHA256_LEN], int value)
{
	memset(hash, value, TG_SHA256_LEN);
}

static void append(const char *path, const char *text)
{
	FILE *file = fopen(path, "a");

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fputs(text, file);
	fclose(file);
}

TEST(models_platform, hashes_are_on_the_disk_when_they_are_said_to_be)
{
	char folder[] = "/tmp/hashes.XXXXXX", path[64];
	struct hashes h, again;
	uint8_t a[TG_SHA256_LEN], b[TG_SHA256_LEN], c[TG_SHA256_LEN];

	fill(a, 1);
	fill(b, 2);
	fill(c, 3);
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/set", folder);
	CU_ASSERT_EQUAL_FATAL(hashes_load(path, 2, &h, &e), 0);
	CU_ASSERT_EQUAL(h.count, 0);
	CU_ASSERT_EQUAL(hashes_add(&h, a, &e), 0);
	CU_ASSERT_EQUAL(hashes_add(&h, a, &e), 0);
	CU_ASSERT_EQUAL(hashes_add(&h, b, &e), 0);
	CU_ASSERT_EQUAL(hashes_add(&h, c, &e), -ENOSPC);
	CU_ASSERT_EQUAL(hashes_remove(&h, a, &e), 0);
	CU_ASSERT_EQUAL(hashes_remove(&h, c, &e), 0);
	CU_ASSERT_EQUAL_FATAL(hashes_load(path, 2, &again, &e), 0);
	CU_ASSERT_EQUAL(again.count, 1);
	CU_ASSERT_TRUE(hashes_have(&again, b));
	CU_ASSERT_FALSE(hashes_have(&again, a));
	hashes_free(&again);
	append(path, "no hash\n");
	CU_ASSERT_EQUAL(hashes_load(path, 2, &again, &e), -EBADMSG);
	/* a folder that is gone: nothing changes */
	unlink(path);
	rmdir(folder);
	CU_ASSERT_NOT_EQUAL(hashes_add(&h, c, &e), 0);
	CU_ASSERT_NOT_EQUAL(hashes_remove(&h, b, &e), 0);
	CU_ASSERT_EQUAL(h.count, 1);
	CU_ASSERT_TRUE(hashes_have(&h, b));
	hashes_free(&h);
}

/* ---- assignments ---- */

static void make_assignments(struct assignments *a)
{
	*a = (struct assignments){ .known = true, .count = 2, .revoked_count = 1, .syncs = 7 };
	strcpy(a->list[0].package.model, "arm");
	a->list[0].package.release = 5;
	a->list[0].package.size = 4096;
	fill(a->list[0].package.manifest, 5);
	fill(a->list[0].package.blob, 0x55);
	strcpy(a->list[1].package.model, "leg");
	a->list[1].failed = true;
	strcpy(a->list[1].detail, "no \"room\"");
	fill(a->revoked[0], 4);
	strcpy(a->problem, "nobody there");
}

TEST(models_platform, assignments_come_as_they_were_told)
{
	static struct assignments told, taken;
	json_t *message, *bad;

	make_assignments(&told);
	message = assigned_message(&told);
	CU_ASSERT_EQUAL_FATAL(assigned_take(&taken, message, 1234, &e), 0);
	told.time = 1234;
	CU_ASSERT(!memcmp(&told, &taken, sizeof(told)));
	CU_ASSERT_PTR_NOT_NULL(assigned_find(&taken, "leg"));
	CU_ASSERT_PTR_NULL(assigned_find(&taken, "le"));
	CU_ASSERT_PTR_EQUAL(assigned_blob(&taken, told.list[0].package.blob), &taken.list[0]);
	CU_ASSERT_TRUE(assigned_is_revoked(&taken, told.revoked[0]));
	CU_ASSERT_FALSE(assigned_is_revoked(&taken, told.list[0].package.manifest));
	/* what is not as it should be changes nothing */
	bad = json_deep_copy(message);
	json_object_set_new(json_array_get(json_object_get(bad, "assignments"), 1), "blob",
			    json_string("ab"));
	json_object_set_new(bad, "syncs", json_integer(8));
	CU_ASSERT_EQUAL(assigned_take(&taken, bad, 1, &e), -EBADMSG);
	CU_ASSERT(!memcmp(&told, &taken, sizeof(told)));
	json_decref(bad);
	/* without an answer what was known stays */
	bad = json_pack("{s:s, s:I, s:s}", "op", "assigned", "syncs", (json_int_t)9, "problem", "");
	CU_ASSERT_EQUAL(assigned_take(&taken, bad, 1235, &e), 0);
	CU_ASSERT_TRUE(taken.known && taken.count == 2 && taken.syncs == 9 && !taken.problem[0]);
	json_decref(bad);
	json_decref(message);
}

/* As much as an answer of the Platform's can say fits into one message. */
TEST(models_platform, the_largest_assignments_fit)
{
	static struct assignments told, taken;
	json_t *message;
	char *text;

	told = (struct assignments){ .known = true,
				     .count = TG_MODELS_MAX,
				     .revoked_count = TG_MODELS_REVOKED_MAX,
				     .syncs = INT64_MAX };
	memset(told.problem, '"', sizeof(told.problem) - 1);
	for (size_t i = 0; i < TG_MODELS_MAX; i++) {
		struct tg_model_assignment *package = &told.list[i].package;

		memset(package->model, 'x', sizeof(package->model) - 1);
		package->release = package->size = INT64_MAX;
		memset(told.list[i].detail, '"', sizeof(told.list[i].detail) - 1);
	}
	for (size_t i = 0; i < TG_MODELS_REVOKED_MAX; i++)
		fill(told.revoked[i], (uint8_t)i);
	message = assigned_message(&told);
	text = json_dumps(message, JSON_COMPACT);
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT(strlen(text) <= CALL_MAX);
	CU_ASSERT_EQUAL(assigned_take(&taken, message, 0, &e), 0);
	CU_ASSERT(!memcmp(&told, &taken, sizeof(told)));
	free(text);
	json_decref(message);
}

/* Which of what the Platform brought has to go. */
TEST(models_platform, what_is_not_meant_for_the_device_ends)
{
	static const struct {
		const char *model;
		uint64_t release;
		int manifest;
		bool platform, ends;
	} cases[] = {
		{ "arm", 5, 5, true, false },	/* it is meant */
		{ "arm", 3, 3, true, false },	/* until the newer one was opened */
		{ "arm", 4, 4, true, true },	/* revoked */
		{ "arm", 6, 6, true, true },	/* rolled back */
		{ "arm", 5, 9, true, true },	/* of that number, and another one */
		{ "hand", 1, 1, true, true },	/* the model is not meant for it */
		{ "hand", 1, 1, false, false }, /* an operator brought it */
		{ "arm", 4, 4, false, false },
	};
	static struct assignments a;
	static struct store store;
	struct release release = { .number = 0 };

	make_assignments(&a);
	store.platform = (struct hashes){ .list = calloc(1, TG_SHA256_LEN), .count = 1, .max = 1 };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		strcpy(release.model, cases[i].model);
		release.number = cases[i].release;
		fill(release.hash, cases[i].manifest);
		fill(store.platform.list[0], cases[i].platform ? cases[i].manifest : 0xee);
		if (assigned_ends(&a, &store, &release) != cases[i].ends)
			printf("# case %zu\n", i);
		CU_ASSERT_EQUAL(assigned_ends(&a, &store, &release), cases[i].ends);
	}
	a.known = false;
	fill(store.platform.list[0], 4);
	fill(release.hash, 4);
	CU_ASSERT_FALSE(assigned_ends(&a, &store, &release));
	hashes_free(&store.platform);
}

/* ---- reports ---- */

#define HEX5 "0505050505050505050505050505050505050505050505050505050505050505"
#define HEX7 "0707070707070707070707070707070707070707070707070707070707070707"

static void report(const char *models, const struct wanted *wanted, size_t count, int64_t after,
		   struct tg_models_request *ret_request)
{
	json_t *list = json_loads(models, 0, NULL), *status = json_pack("{s:o}", "models", list);

	*ret_request = (struct tg_models_request){ .root = 0 };
	reports_make(status, wanted, count, after, ret_request);
	json_decref(status);
}

static bool is(const struct tg_models_request *r, size_t i, const char *model, uint64_t release,
	       enum tg_model_state state, int64_t since)
{
	return r->report_count > i && !strcmp(r->reports[i].model, model) &&
	       r->reports[i].release == release && r->reports[i].state == state &&
	       r->reports[i].since == since;
}

TEST(models_platform, one_report_for_each_model)
{
	static struct tg_models_request r;
	struct wanted wanted[] = {
		{ .package = { .model = "arm", .release = 6 }, .since = 50 },
		{ .package = { .model = "leg", .release = 1 }, .since = 60, .failed = true }
	};
	static const char models[] =
		"[{\"model\":\"arm\",\"release\":5,\"manifest\":\"" HEX5 "\",\"installed\":10,\"opened\":20,"
		"\"users\":[{\"since\":22},{\"since\":21}],\"source\":\"platform\"},"
		"{\"model\":\"eye\",\"release\":2,\"manifest\":\"" HEX7
		"\",\"installed\":11,\"opened\":0,\"used\":true,\"users\":[],\"source\":\"file\"},"
		"{\"model\":\"eye\",\"release\":1,\"manifest\":\"" HEX5 "\",\"installed\":9,\"users\":[]}]";

	strcpy(wanted[1].detail, "caf\xc3\xa9");
	fill(wanted[0].package.manifest, 6);
	report(models, wanted, 2, 15, &r);
	CU_ASSERT_EQUAL(r.report_count, 3);
	/* what is wanted and not here comes first, and hides what is here of the model */
	CU_ASSERT_TRUE(is(&r, 0, "arm", 6, TG_MODEL_DOWNLOADING, 50));
	CU_ASSERT_TRUE(is(&r, 1, "leg", 1, TG_MODEL_FAILED, 60));
	CU_ASSERT_STRING_EQUAL(r.reports[1].detail, "caf??");
	CU_ASSERT_TRUE(is(&r, 2, "eye", 2, TG_MODEL_READY, 11));
	CU_ASSERT_STRING_EQUAL(r.reports[2].detail, "from a file, 0 in use");
	/* the first report of a process says of what was ever opened that it ran */
	report(models, wanted, 2, 0, &r);
	CU_ASSERT_TRUE(is(&r, 2, "eye", 2, TG_MODEL_RUNNING, 11));
	fill(wanted[0].package.manifest, 5);
	report(models, wanted, 1, 15, &r);
	CU_ASSERT_TRUE(is(&r, 0, "arm", 5, TG_MODEL_RUNNING, 21));
	CU_ASSERT_STRING_EQUAL(r.reports[0].detail, "from the Platform, 2 in use");
}

TEST(models_platform, what_was_withdrawn_is_reported_unless_more_is_known)
{
	static struct tg_models_request r;
	struct wanted withdrawn[] = {
		{ .package = { .model = "arm", .release = 4 }, .revoked = true, .since = 5 },
		{ .package = { .model = "leg", .release = 3 }, .revoked = true, .since = 6 }
	};

	report("[{\"model\":\"arm\",\"release\":5,\"manifest\":\"" HEX5
	       "\",\"installed\":10,\"users\":[],\"failure\":\"torn\"}]",
	       NULL, 0, 1, &r);
	reports_withdrawn(withdrawn, 2, &r);
	CU_ASSERT_EQUAL(r.report_count, 2);
	CU_ASSERT_TRUE(is(&r, 0, "arm", 5, TG_MODEL_FAILED, 10));
	CU_ASSERT_STRING_EQUAL(r.reports[0].detail, "torn");
	CU_ASSERT_TRUE(is(&r, 1, "leg", 3, TG_MODEL_REVOKED, 6));
}

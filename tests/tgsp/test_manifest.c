/* SPDX-License-Identifier: BSD-3-Clause */
/* The manifest: round trip, hostile ones, and the device's policy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "harness.h"
#include "tensorguard/cbor.h"

static const size_t small[FIXTURE_FILES] = { 20, 150, 0 };

/* A manifest with something in every field. */
static void full(const struct fixture *f, struct tg_tgsp_manifest *m)
{
	fixture_manifest(f, m);
	m->payload.segment = 64;
	m->has_base = true;
	memset(m->base, 7, sizeof(m->base));
	for (size_t i = 0; i < m->file_count; i++)
		m->files[i].size = i * 1000;
	CU_ASSERT(!tg_tgsp_names_add(&m->policy.fleets, "north", NULL));
	CU_ASSERT(!tg_tgsp_names_add(&m->policy.fleets, "arms", NULL));
	CU_ASSERT_EQUAL(tg_tgsp_names_add(&m->policy.fleets, "arms", NULL), -EEXIST);
	CU_ASSERT_EQUAL(tg_tgsp_names_add(&m->policy.fleets, "a b", NULL), -EINVAL);
	CU_ASSERT(!tg_tgsp_names_add(&m->policy.accelerators, "cuda-8.7", NULL));
	strcpy(m->policy.agent_version, "1.10.0");
	m->policy.attested = true;
	m->policy.offline_s = 3600;
	m->lineage.parents = calloc(2, TG_SHA256_LEN);
	m->lineage.parent_count = 2;
	m->lineage.parents[1][0] = 1;
	strcpy(m->lineage.training_run, "run 2026-11 \xc3\xa9");
	m->lineage.has_data = m->lineage.has_privacy = true;
	m->lineage.epsilon_micro = 1500000;
	m->lineage.delta_pico = UINT64_MAX;
}

TEST(manifest, round_trip)
{
	struct tg_tgsp_manifest m, *back;
	uint8_t *data, *again;
	size_t len, again_len;
	struct tg_error e;
	struct fixture f;

	fixture_init(&f, small);
	full(&f, &m);
	CU_ASSERT_FATAL(!tg_tgsp_manifest_encode(&m, &data, &len, &e));
	CU_ASSERT(!tg_cbor_check(data, len, NULL));
	CU_ASSERT_FATAL(!tg_tgsp_manifest_decode(data, len, &back, &e));
	CU_ASSERT_STRING_EQUAL(back->policy.fleets.names[0], "arms");
	CU_ASSERT(back->policy.attested && back->lineage.delta_pico == UINT64_MAX);
	CU_ASSERT_FATAL(!tg_tgsp_manifest_encode(back, &again, &again_len, &e));
	CU_ASSERT(len == again_len && !memcmp(data, again, len));
	free(again);
	tg_tgsp_manifest_free(back);
	/* every beginning is refused; a change of a byte gives another manifest or none */
	for (size_t cut = 0; cut < len; cut++)
		CU_ASSERT_EQUAL(tg_tgsp_manifest_decode(data, cut, &back, &e), -EBADMSG);
	for (size_t at = 0; at < len; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			data[at] ^= (uint8_t)(1u << bit);
			if (!tg_tgsp_manifest_decode(data, len, &back, &e)) {
				CU_ASSERT_FATAL(!tg_tgsp_manifest_encode(back, &again, &again_len, &e));
				/* a last key that became negative is an extension, and left out */
				CU_ASSERT(again_len < len || !memcmp(data, again, len));
				CU_ASSERT(again_len <= len);
				free(again);
				tg_tgsp_manifest_free(back);
			}
			data[at] ^= (uint8_t)(1u << bit);
		}
	}
	free(data);
	tg_tgsp_manifest_clear(&m);
	fixture_clear(&f);
}

/* The map with a pair put in behind its last one. */
static uint8_t *with_pair(const uint8_t *data, size_t len, const uint8_t *pair, size_t pair_len)
{
	uint8_t *more = malloc(len + pair_len);

	memcpy(more, data, len);
	memcpy(more + len, pair, pair_len);
	more[0]++;
	return more;
}

TEST(manifest, unknown_keys)
{
	static const uint8_t critical[] = { 0x0e, 0x01 }, extension[] = { 0x20, 0x61, 'x' },
			     bad[] = { 0x20, 0xf7 };
	struct tg_tgsp_manifest m, *back;
	uint8_t *data, *more;
	size_t len;
	struct tg_error e;
	struct fixture f;

	fixture_init(&f, small);
	full(&f, &m);
	CU_ASSERT_FATAL(!tg_tgsp_manifest_encode(&m, &data, &len, &e));
	more = with_pair(data, len, critical, sizeof(critical));
	CU_ASSERT_EQUAL(tg_tgsp_manifest_decode(more, len + sizeof(critical), &back, &e), -EBADMSG);
	CU_ASSERT_STRING_EQUAL(e.message, "manifest: manifest: unknown key 14");
	free(more);
	more = with_pair(data, len, extension, sizeof(extension));
	CU_ASSERT_EQUAL(tg_tgsp_manifest_decode(more, len + sizeof(extension), &back, &e), 0);
	tg_tgsp_manifest_free(back);
	free(more);
	more = with_pair(data, len, bad, sizeof(bad));
	CU_ASSERT_EQUAL(tg_tgsp_manifest_decode(more, len + sizeof(bad), &back, &e), -EBADMSG);
	free(more);
	free(data);
	tg_tgsp_manifest_clear(&m);
	fixture_clear(&f);
}

TEST(manifest, paths)
{
	static const char *const bad[] = {
		"",    "/",   "/etc/passwd", "..", "../x", "a/../b", "a/..", ".",
		"./a", "a/.", "a//b",        "a/", "a\\b", "a\nb",   "\x7f", "a/\x01",
	};
	static const char *const good[] = { "a", "a/b/c", "...", "..a", "a..", ".hidden", "a b", "\xc3\xa9" };
	char longest[TG_TGSP_MAX_PATH + 2];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(tg_tgsp_path_check(bad[i], strlen(bad[i]), NULL), -EINVAL);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CU_ASSERT_EQUAL(tg_tgsp_path_check(good[i], strlen(good[i]), NULL), 0);
	memset(longest, 'x', sizeof(longest));
	CU_ASSERT_EQUAL(tg_tgsp_path_check(longest, TG_TGSP_MAX_PATH, NULL), 0);
	CU_ASSERT_EQUAL(tg_tgsp_path_check(longest, TG_TGSP_MAX_PATH + 1, NULL), -EINVAL);
}

struct change {
	const char *what;
	void (*make)(struct tg_tgsp_manifest *m);
};

static void set_path(struct tg_tgsp_manifest *m, size_t file, const char *path)
{
	free(m->files[file].path);
	m->files[file].path = strdup(path);
}

static void path_up(struct tg_tgsp_manifest *m)
{
	set_path(m, 0, "../x");
}

static void path_twice(struct tg_tgsp_manifest *m)
{
	set_path(m, 2, m->files[1].path);
}

static void paths_out_of_order(struct tg_tgsp_manifest *m)
{
	set_path(m, 0, "z");
}

/* "model" with "model-x" between it and "model/weights.bin" in the order of bytes */
static void file_is_folder(struct tg_tgsp_manifest *m)
{
	set_path(m, 0, "model");
}

static void no_files(struct tg_tgsp_manifest *m)
{
	while (m->file_count)
		free(m->files[--m->file_count].path);
}

static void too_large(struct tg_tgsp_manifest *m)
{
	m->files[0].size = m->files[1].size = TG_TGSP_MAX_SIZE / 2 + 1;
}

static void too_many_segments(struct tg_tgsp_manifest *m)
{
	m->payload.segment = TG_FLOE_MIN_SEGMENT;
	m->files[0].size = TG_FLOE_MAX_SEGMENTS + 1;
}

static void segment_too_large(struct tg_tgsp_manifest *m)
{
	m->payload.segment = TG_FLOE_MAX_SEGMENT + 1;
}

static void never_valid(struct tg_tgsp_manifest *m)
{
	m->not_after = m->not_before;
}

static void bad_version(struct tg_tgsp_manifest *m)
{
	strcpy(m->version, "1.02.3");
}

static void bad_model(struct tg_tgsp_manifest *m)
{
	strcpy(m->model, "a/b");
}

static void bad_agent(struct tg_tgsp_manifest *m)
{
	strcpy(m->policy.agent_version, "1.2.3-rc");
}

static void fleets_out_of_order(struct tg_tgsp_manifest *m)
{
	memset(m->policy.fleets.names[0], 'z', 4);
}

static void parents_twice(struct tg_tgsp_manifest *m)
{
	m->lineage.parents[1][0] = 0;
}

TEST(manifest, refused)
{
	static const struct change changes[] = {
		{ "path up", path_up },
		{ "path twice", path_twice },
		{ "paths out of order", paths_out_of_order },
		{ "file is folder", file_is_folder },
		{ "no files", no_files },
		{ "too large", too_large },
		{ "too many segments", too_many_segments },
		{ "segment too large", segment_too_large },
		{ "never valid", never_valid },
		{ "bad version", bad_version },
		{ "bad model", bad_model },
		{ "bad agent", bad_agent },
		{ "fleets out of order", fleets_out_of_order },
		{ "parents twice", parents_twice },
	};
	struct fixture f;

	fixture_init(&f, small);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct tg_tgsp_manifest m;
		uint8_t *data;
		size_t len;
		int ret;

		full(&f, &m);
		changes[i].make(&m);
		ret = tg_tgsp_manifest_encode(&m, &data, &len, NULL);
		CU_ASSERT_EQUAL(ret, -EINVAL);
		if (!ret)
			printf("accepted: %s\n", changes[i].what);
		tg_tgsp_manifest_clear(&m);
	}
	fixture_clear(&f);
}

TEST(manifest, semantic_versions)
{
	static const char *const good[] = { "0.0.0",
					    "1.2.3",
					    "10.20.30",
					    "1.0.0-alpha.1",
					    "1.0.0-0.3.7",
					    "1.0.0-x-y-z.--",
					    "1.0.0+20130313144700",
					    "1.0.0-beta+exp.sha.5114f85",
					    "1.0.0+001",
					    "1.0.0-0a" };
	static const char *const bad[] = { "",           "1",
					   "1.2",        "1.2.3.4",
					   "01.2.3",     "1.2.3-",
					   "1.2.3+",     "1.2.3-01",
					   "1.2.3-a..b", "v1.2.3",
					   "1.2.3 ",     "1.2.3-\xc3\xa9",
					   "1.2.3+a+b",  "99999999999.0.0" };
	struct tg_tgsp_manifest m;
	struct fixture f;

	fixture_init(&f, small);
	full(&f, &m);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		strcpy(m.version, good[i]);
		CU_ASSERT_EQUAL(tg_tgsp_manifest_check(&m, NULL), 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		strcpy(m.version, bad[i]);
		CU_ASSERT_EQUAL(tg_tgsp_manifest_check(&m, NULL), -EINVAL);
	}
	tg_tgsp_manifest_clear(&m);
	fixture_clear(&f);
}

/* Each condition of the policy, on both sides of its edge. */
TEST(manifest, device_policy)
{
	static const char *const accelerators[] = { "npu", "cuda-8.7" };
	const struct tg_tgsp_device good = { "north", "1.10.0", true, accelerators, 2, NOW - 3600 };
	struct tg_tgsp_device d = good;
	struct tg_tgsp_manifest m;
	struct fixture f;

	fixture_init(&f, small);
	full(&f, &m);
	CU_ASSERT_EQUAL(tg_tgsp_manifest_permits(&m, &d, NOW, NULL), 0);
	CU_ASSERT_EQUAL(tg_tgsp_manifest_permits(&m, &d, m.not_before - 1, NULL), -EPERM);
	CU_ASSERT_EQUAL(tg_tgsp_manifest_valid_at(&m, m.not_before, NULL), 0);
	CU_ASSERT_EQUAL(tg_tgsp_manifest_valid_at(&m, m.not_after - 1, NULL), 0);
	CU_ASSERT_EQUAL(tg_tgsp_manifest_valid_at(&m, m.not_after, NULL), -EPERM);
	d.fleet = "south";
	CU_ASSERT_EQUAL(tg_tgsp_manifest_permits(&m, &d, NOW, NULL), -EPERM);
	d.fleet = NULL;
	CU_ASSERT_EQUAL(tg_tgsp_manifest_permits(&m, &d, NOW, NULL), -EPERM);
	d = good;
	d.agent_version = "1.9.99";
	CU_ASSERT_EQUAL(tg_tgsp_manifest_permits(&m, &d, NOW, NULL), -EPERM);
	d.agent_version = "2.0.0";
	CU_ASSERT_EQUAL(tg_tgsp_manifest_permits(&m, &d, NOW, NULL), 0);
	d.agent_version = "nonsense";
	CU_ASSERT_EQUAL(tg_tgsp_manifest_permits(&m, &d, NOW, NULL), -EPERM);
	d = good;
	d.attested = false;
	CU_ASSERT_EQUAL(tg_tgsp_manifest_permits(&m, &d, NOW, NULL), -EPERM);
	d = good;
	d.accelerator_count = 1;
	CU_ASSERT_EQUAL(tg_tgsp_manifest_permits(&m, &d, NOW, NULL), -EPERM);
	d = good;
	d.last_contact--;
	CU_ASSERT_EQUAL(tg_tgsp_manifest_permits(&m, &d, NOW, NULL), -ENETDOWN);
	d.last_contact = 0;
	CU_ASSERT_EQUAL(tg_tgsp_manifest_permits(&m, &d, NOW, NULL), -ENETDOWN);
	d.last_contact = NOW + 1;	/* the clock was set back */
	CU_ASSERT_EQUAL(tg_tgsp_manifest_permits(&m, &d, NOW, NULL), -ENETDOWN);
	tg_tgsp_manifest_clear(&m);
	fixture_clear(&f);
}

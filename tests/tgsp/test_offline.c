/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that hears nothing of its Platform: vault's folder and rules by a clock of ours. What is there
 * opens until the package's offline lifetime or the timestamp document ends, also after a restart; a clock
 * that was set back before the last contact opens nothing.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "harness.h"
#include "tensorguard/file.h"
#include "vault/store.h"

static const size_t small[FIXTURE_FILES] = { 20, 150, 0 };

enum { OFFLINE = 3600, TIMESTAMP = 7200, SEGMENT = 64 };

struct device {
	struct fixture f;
	char folder[32], root_path[64];
	struct tg_models_conf conf;
	struct store store;
	int limited, unlimited;	/* packages with an offline lifetime and without */
};

static void quiet(const char *line)
{
	(void)line;
}

static int pack_with(struct device *d, uint64_t release, uint64_t offline, struct tg_tgsp_target *ret_target)
{
	struct tg_tgsp_manifest m;
	struct tg_tgsp *package;
	int fd;

	fixture_manifest(&d->f, &m);
	m.release = release;
	m.not_before = NOW - 1000000;
	m.not_after = NOW + 1000000;
	m.policy.offline_s = offline;
	m.payload.segment = SEGMENT;
	fd = fixture_pack_manifest(&d->f, &m, false);
	tg_tgsp_manifest_clear(&m);
	lseek(fd, 0, SEEK_SET);
	CU_ASSERT_FATAL(!tg_tgsp_read(fd, &package, NULL));
	*ret_target = (struct tg_tgsp_target){ .model = "grasp", .release = release };
	memcpy(ret_target->manifest, tg_tgsp_manifest_hash(package), TG_SHA256_LEN);
	tg_tgsp_free(package);
	return fd;
}

static void make_root(struct device *d)
{
	struct tg_tgsp_root root = { .issue = { 1, NOW - 10, NOW + 10000000 } };
	const struct tg_key_set set = { &d->f.author, 1 };
	struct tg_bytes document;

	for (int role = 0; role < TG_TGSP_ROLES; role++)
		root.roles[role] = (struct tg_tgsp_role_keys){ 1, { d->f.author }, 1 };
	CU_ASSERT_FATAL(!tg_tgsp_root_sign(&root, &set, &document, NULL));
	CU_ASSERT_FATAL(!tg_file_replace(d->root_path, document.data, document.len, 0600, NULL));
	tg_bytes_free(&document);
}

/* Documents of this version, as they come from the Platform at this time. */
static int contact(struct device *d, const struct tg_tgsp_target *targets, uint64_t version, uint64_t now)
{
	const struct tg_tgsp_issue issue = { version, now, now + TIMESTAMP };
	const struct tg_key_set set = { &d->f.author, 1 };
	struct tg_tgsp_target copy[2] = { targets[0], targets[1] };
	struct bundle b = { .root_count = 0 };
	int ret;

	CU_ASSERT_FATAL(!tg_tgsp_targets_sign(&issue, copy, 2, &set, &b.targets, NULL));
	CU_ASSERT_FATAL(!tg_tgsp_pointer_sign(TG_TGSP_SNAPSHOT, &issue, &b.targets, version, &set,
					      &b.snapshot, NULL));
	CU_ASSERT_FATAL(!tg_tgsp_pointer_sign(TG_TGSP_TIMESTAMP, &issue, &b.snapshot, version, &set,
					      &b.timestamp, NULL));
	ret = store_documents(&d->store, &b, now, NULL);
	bundle_clear(&b);
	return ret;
}

static void start(struct device *d, uint64_t now)
{
	CU_ASSERT_FATAL(!store_open(d->folder, &d->conf, now, quiet, &d->store, NULL));
}

static void device_init(struct device *d, struct tg_tgsp_target targets[2])
{
	*d = (struct device){ .folder = "/tmp/offline.XXXXXX" };
	fixture_init(&d->f, small);
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(d->folder));
	snprintf(d->root_path, sizeof(d->root_path), "%s/root", d->folder);
	d->conf = (struct tg_models_conf){ .root = d->root_path, .listed = true };
	d->limited = pack_with(d, 7, OFFLINE, &targets[0]);
	d->unlimited = pack_with(d, 8, 0, &targets[1]);
	make_root(d);
	start(d, NOW);
}

static void device_clear(struct device *d)
{
	static const char *const files[] = { "root", "trust", "floor", "floor.key", "floor.lock", "lock" };
	char path[64];

	store_close(&d->store);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", d->folder, files[i]);
		unlink(path);
	}
	CU_ASSERT_EQUAL(rmdir(d->folder), 0);
	close(d->limited);
	close(d->unlimited);
	fixture_clear(&d->f);
}

/* With the floor left where it is: releases 7 and 8 are opened in turn. */
static int open_at(struct device *d, int fd, uint64_t now)
{
	const struct store_device device = { .attested = false };
	struct tg_tgsp_device about;
	struct tg_tgsp_rules rules;
	struct tg_error e;
	int ret = store_rules(&d->store, &device, now, &about, &rules, &e);

	if (ret)
		return ret;
	rules.floor = NULL;
	return fixture_open_as(&d->f, fd, &rules, &d->f.device_key, &e);
}

/* Documents that cannot be kept do not raise the floor: those that are kept would be too old after a restart.
 */
TEST(offline, documents_that_cannot_be_kept)
{
	struct tg_tgsp_target targets[2];
	char path[64], away[64];
	struct device d;

	device_init(&d, targets);
	CU_ASSERT_EQUAL(contact(&d, targets, 1, NOW), 0);
	snprintf(path, sizeof(path), "%s/trust", d.folder);
	snprintf(away, sizeof(away), "%s/away", d.folder);
	CU_ASSERT_FATAL(!rename(path, away) && !mkdir(path, 0700));
	CU_ASSERT(contact(&d, targets, 2, NOW + 1) < 0);
	CU_ASSERT_EQUAL(tg_floor_get(d.store.floor, "trust:timestamp"), 1);
	CU_ASSERT_EQUAL(open_at(&d, d.unlimited, NOW + 1), 0);
	CU_ASSERT_FATAL(!rmdir(path) && !rename(away, path));
	store_close(&d.store);
	start(&d, NOW + 1);
	CU_ASSERT_EQUAL(open_at(&d, d.unlimited, NOW + 1), 0);
	device_clear(&d);
}

TEST(offline, until_it_ends)
{
	struct tg_tgsp_target targets[2];
	struct device d;

	device_init(&d, targets);
	/* never heard of anybody: there are no targets */
	CU_ASSERT_EQUAL(open_at(&d, d.unlimited, NOW), -EKEYREJECTED);
	CU_ASSERT_EQUAL(contact(&d, targets, 1, NOW), 0);
	for (int restarted = 0; restarted < 2; restarted++) {
		CU_ASSERT_EQUAL(open_at(&d, d.limited, NOW), 0);
		CU_ASSERT_EQUAL(open_at(&d, d.limited, NOW + OFFLINE), 0);
		CU_ASSERT_EQUAL(open_at(&d, d.limited, NOW + OFFLINE + 1), -ENETDOWN);
		CU_ASSERT_EQUAL(open_at(&d, d.unlimited, NOW + OFFLINE + 1), 0);
		CU_ASSERT_EQUAL(open_at(&d, d.unlimited, NOW + TIMESTAMP - 1), 0);
		CU_ASSERT_EQUAL(open_at(&d, d.unlimited, NOW + TIMESTAMP), -EKEYEXPIRED);
		CU_ASSERT_EQUAL(open_at(&d, d.limited, NOW + TIMESTAMP), -EKEYEXPIRED);
		store_close(&d.store);
		start(&d, NOW + OFFLINE);
	}
	/* started when all has ended: nothing opens until somebody is heard of again */
	store_close(&d.store);
	start(&d, NOW + TIMESTAMP);
	CU_ASSERT_EQUAL(open_at(&d, d.unlimited, NOW + TIMESTAMP), -ENOKEY);
	CU_ASSERT_EQUAL(contact(&d, targets, 2, NOW + 2 * TIMESTAMP), 0);
	CU_ASSERT_EQUAL(open_at(&d, d.limited, NOW + 2 * TIMESTAMP + OFFLINE), 0);
	CU_ASSERT_EQUAL(open_at(&d, d.limited, NOW + 2 * TIMESTAMP + OFFLINE + 1), -ENETDOWN);
	device_clear(&d);
}

TEST(offline, clock_set_back)
{
	struct tg_tgsp_target targets[2];
	struct device d;

	device_init(&d, targets);
	CU_ASSERT_EQUAL(contact(&d, targets, 1, NOW), 0);
	CU_ASSERT_EQUAL(open_at(&d, d.limited, NOW - 1), -ENETDOWN);
	CU_ASSERT_EQUAL(open_at(&d, d.unlimited, NOW - TG_TGSP_CLOCK_SKEW), 0);
	CU_ASSERT_EQUAL(open_at(&d, d.unlimited, NOW - TG_TGSP_CLOCK_SKEW - 1), -EKEYEXPIRED);
	/* and when it starts like that, with the documents that are there or older ones again */
	CU_ASSERT_EQUAL(contact(&d, targets, 2, NOW + TIMESTAMP), 0);
	store_close(&d.store);
	start(&d, NOW);
	CU_ASSERT_EQUAL(open_at(&d, d.unlimited, NOW), -ENOKEY);
	CU_ASSERT_EQUAL(contact(&d, targets, 1, NOW), -ESTALE);
	CU_ASSERT_EQUAL(open_at(&d, d.unlimited, NOW), -ENOKEY);
	device_clear(&d);
}

/* Whoever can write vault's folder: a byte of its trust documents changed or the file cut, nothing opens. */
TEST(offline, documents_damaged_on_the_disk)
{
	struct tg_tgsp_target targets[2];
	unsigned accepted = 0;
	struct tg_bytes file;
	struct device d;
	char path[64];

	device_init(&d, targets);
	CU_ASSERT_EQUAL(contact(&d, targets, 1, NOW), 0);
	store_close(&d.store);
	snprintf(path, sizeof(path), "%s/trust", d.folder);
	CU_ASSERT_FATAL(!tg_file_read(path, 65536, &file, NULL));
	for (size_t at = 0; at < file.len; at++) {
		file.data[at] ^= (uint8_t)(1u << (at % 8));
		CU_ASSERT_FATAL(!tg_file_replace(path, file.data, file.len, 0600, NULL));
		start(&d, NOW);
		accepted += !open_at(&d, d.unlimited, NOW);
		store_close(&d.store);
		file.data[at] ^= (uint8_t)(1u << (at % 8));
		if (at % 16)
			continue;
		CU_ASSERT_FATAL(!tg_file_replace(path, file.data, at, 0600, NULL));
		start(&d, NOW);
		accepted += !open_at(&d, d.unlimited, NOW);
		store_close(&d.store);
	}
	CU_ASSERT_EQUAL(accepted, 0);
	CU_ASSERT_FATAL(!tg_file_replace(path, file.data, file.len, 0600, NULL));
	start(&d, NOW);
	CU_ASSERT_EQUAL(open_at(&d, d.unlimited, NOW), 0);
	tg_bytes_free(&file);
	device_clear(&d);
}

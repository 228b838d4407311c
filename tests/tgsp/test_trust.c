/* SPDX-License-Identifier: BSD-3-Clause */
/* Roots and their rotation, timestamp, snapshot, targets; rollback, freeze, mix and match. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "harness.h"

static const size_t small[FIXTURE_FILES] = { 20, 150, 0 };

enum { KEYS = 6, HOUR = 3600 };

struct repository {
	struct fixture f;
	EVP_PKEY *keys[KEYS];	/* root: 2 of 0, 1, 2; targets 3; snapshot and timestamp 4 */
	struct tg_bytes root, targets, snapshot, timestamp;
	struct tg_tgsp_target target;
	char floor_path[64];
};

static void set_role(struct tg_tgsp_root *root, enum tg_tgsp_role role, unsigned threshold, EVP_PKEY **keys,
		     size_t count)
{
	root->roles[role].threshold = threshold;
	root->roles[role].count = count;
	memcpy(root->roles[role].keys, keys, count * sizeof(*keys));
}

static struct tg_tgsp_root root_of(struct repository *r, uint64_t version)
{
	struct tg_tgsp_root root = { .issue = { version, NOW - HOUR, NOW + 10 * HOUR } };

	set_role(&root, TG_TGSP_ROOT, 2, r->keys, 3);
	set_role(&root, TG_TGSP_TARGETS, 1, r->keys + 3, 1);
	set_role(&root, TG_TGSP_SNAPSHOT, 1, r->keys + 4, 1);
	set_role(&root, TG_TGSP_TIMESTAMP, 1, r->keys + 4, 1);
	set_role(&root, TG_TGSP_PACKAGE, 1, &r->f.author, 1);
	return root;
}

static struct tg_bytes sign_root(const struct tg_tgsp_root *root, EVP_PKEY **keys, size_t count)
{
	const struct tg_key_set signers = { keys, count };
	struct tg_bytes document = { 0 };
	struct tg_error e;
	int ret = tg_tgsp_root_sign(root, &signers, &document, &e);

	if (ret)
		printf("root: %s\n", e.message);
	CU_ASSERT_FATAL(!ret);
	return document;
}

/* The three documents in these versions, expiring an hour later (the timestamp) or in ten. */
static void publish(struct repository *r, uint64_t version)
{
	const struct tg_tgsp_issue issue = { version, NOW - 60, NOW + 10 * HOUR };
	const struct tg_tgsp_issue soon = { version, NOW - 60, NOW + HOUR };
	struct tg_key_set signers = { r->keys + 3, 1 };

	tg_bytes_free(&r->targets);
	tg_bytes_free(&r->snapshot);
	tg_bytes_free(&r->timestamp);
	CU_ASSERT_FATAL(!tg_tgsp_targets_sign(&issue, &r->target, 1, &signers, &r->targets, NULL));
	signers.keys = r->keys + 4;
	CU_ASSERT_FATAL(!tg_tgsp_pointer_sign(TG_TGSP_SNAPSHOT, &issue, &r->targets, version, &signers,
					      &r->snapshot, NULL));
	CU_ASSERT_FATAL(!tg_tgsp_pointer_sign(TG_TGSP_TIMESTAMP, &soon, &r->snapshot, version, &signers,
					      &r->timestamp, NULL));
}

static void repository_init(struct repository *r)
{
	struct tg_tgsp_root root;

	memset(r, 0, sizeof(*r));
	fixture_init(&r->f, small);
	for (int i = 0; i < KEYS; i++)
		CU_ASSERT_FATAL(!tg_key_generate(i % 2 ? TG_KEY_EDDSA : TG_KEY_ES256, &r->keys[i], NULL));
	root = root_of(r, 1);
	r->root = sign_root(&root, r->keys, 2);
	strcpy(r->target.model, "grasp");
	r->target.release = 7;
	publish(r, 1);
	strcpy(r->floor_path, "/tmp/tgsp-floor-XXXXXX");
	close(mkstemp(r->floor_path));
	unlink(r->floor_path);
}

static void repository_clear(struct repository *r)
{
	char lock[80];

	snprintf(lock, sizeof(lock), "%s.lock", r->floor_path);
	unlink(lock);
	unlink(r->floor_path);
	tg_bytes_free(&r->root);
	tg_bytes_free(&r->targets);
	tg_bytes_free(&r->snapshot);
	tg_bytes_free(&r->timestamp);
	for (int i = 0; i < KEYS; i++)
		EVP_PKEY_free(r->keys[i]);
	fixture_clear(&r->f);
}

static int update_at(struct repository *r, struct tg_tgsp_trust *trust, uint64_t now, struct tg_floor *floor)
{
	int ret = tg_tgsp_trust_update(trust, &r->timestamp, &r->snapshot, &r->targets, now, floor, NULL);

	return ret || !floor ? ret : tg_tgsp_trust_raise(trust, floor, NULL);
}

static struct tg_tgsp_trust *trusted(struct repository *r)
{
	struct tg_tgsp_trust *trust = NULL;
	struct tg_error e;

	if (tg_tgsp_trust_new(&r->root, &trust, &e))
		printf("root: %s\n", e.message);
	CU_ASSERT_PTR_NOT_NULL_FATAL(trust);
	return trust;
}

TEST(trust, chain)
{
	struct tg_tgsp_trust *trust;
	struct repository r;
	size_t count;

	repository_init(&r);
	trust = trusted(&r);
	CU_ASSERT_EQUAL(update_at(&r, trust, NOW, NULL), 0);
	CU_ASSERT_STRING_EQUAL(tg_tgsp_trust_targets(trust, &count)->model, "grasp");
	CU_ASSERT(count == 1 && tg_tgsp_trust_issue(trust, TG_TGSP_TIMESTAMP)->version == 1);
	tg_tgsp_trust_free(trust);
	repository_clear(&r);
}

/* Freeze: the timestamp ends after an hour, whatever else still holds. A clock that went back is noticed too.
 */
TEST(trust, freeze)
{
	struct tg_tgsp_trust *trust;
	struct repository r;

	repository_init(&r);
	trust = trusted(&r);
	CU_ASSERT_EQUAL(update_at(&r, trust, NOW + HOUR - 1, NULL), 0);
	CU_ASSERT_EQUAL(update_at(&r, trust, NOW + HOUR, NULL), -EKEYEXPIRED);
	CU_ASSERT_EQUAL(update_at(&r, trust, NOW - 60 - TG_TGSP_CLOCK_SKEW, NULL), 0);
	CU_ASSERT_EQUAL(update_at(&r, trust, NOW - 61 - TG_TGSP_CLOCK_SKEW, NULL), -EKEYEXPIRED);
	CU_ASSERT_EQUAL(update_at(&r, trust, NOW + 10 * HOUR, NULL), -EKEYEXPIRED);
	tg_tgsp_trust_free(trust);
	repository_clear(&r);
}

/* Every byte of every document: a changed one is never taken. */
TEST(trust, every_byte_flipped)
{
	struct repository r;
	struct tg_bytes *documents[4] = { &r.root, &r.timestamp, &r.snapshot, &r.targets };
	unsigned accepted = 0;

	repository_init(&r);
	for (int d = 0; d < 4; d++) {
		for (size_t at = 0; at < documents[d]->len; at++) {
			struct tg_tgsp_trust *trust = NULL;

			documents[d]->data[at] ^= (uint8_t)(1u << (at % 8));
			if (!tg_tgsp_trust_new(&r.root, &trust, NULL) && !update_at(&r, trust, NOW, NULL))
				accepted++;
			tg_tgsp_trust_free(trust);
			documents[d]->data[at] ^= (uint8_t)(1u << (at % 8));
		}
		for (size_t cut = 0; cut < documents[d]->len; cut++) {
			struct tg_bytes whole = *documents[d];
			struct tg_tgsp_trust *trust = NULL;

			documents[d]->len = cut;
			if (!tg_tgsp_trust_new(&r.root, &trust, NULL) && !update_at(&r, trust, NOW, NULL))
				accepted++;
			tg_tgsp_trust_free(trust);
			*documents[d] = whole;
		}
	}
	CU_ASSERT_EQUAL(accepted, 0);
	repository_clear(&r);
}

/* Mix and match: documents of two states of the repository, each of them signed and valid. */
TEST(trust, mix_and_match)
{
	struct tg_bytes old[3];
	struct tg_tgsp_trust *trust;
	struct repository r;

	repository_init(&r);
	trust = trusted(&r);
	CU_ASSERT_FATAL(!tg_bytes_copy(r.timestamp.data, r.timestamp.len, &old[0]) &&
			!tg_bytes_copy(r.snapshot.data, r.snapshot.len, &old[1]) &&
			!tg_bytes_copy(r.targets.data, r.targets.len, &old[2]));
	publish(&r, 2);
	for (unsigned which = 1; which < 7; which++) {	/* all mixtures but the two pure ones */
		CU_ASSERT_EQUAL(tg_tgsp_trust_update(trust, which & 1 ? &old[0] : &r.timestamp,
						     which & 2 ? &old[1] : &r.snapshot,
						     which & 4 ? &old[2] : &r.targets, NOW, NULL, NULL),
				-EBADMSG);
	}
	CU_ASSERT_EQUAL(update_at(&r, trust, NOW, NULL), 0);
	for (int i = 0; i < 3; i++)
		tg_bytes_free(&old[i]);
	tg_tgsp_trust_free(trust);
	repository_clear(&r);
}

/* Rollback of the whole set: the floor remembers. One kind of document is not another's stand-in. */
TEST(trust, rollback)
{
	static const uint8_t key[TG_FLOOR_KEY_LEN] = "key";
	struct tg_tgsp_trust *trust;
	struct tg_floor *floor;
	struct repository r;

	repository_init(&r);
	trust = trusted(&r);
	CU_ASSERT_FATAL(!tg_floor_open(r.floor_path, key, NULL, true, &floor, NULL));
	publish(&r, 5);
	CU_ASSERT_EQUAL(update_at(&r, trust, NOW, floor), 0);
	CU_ASSERT_EQUAL(tg_floor_get(floor, "trust:timestamp"), 5);
	publish(&r, 4);
	CU_ASSERT_EQUAL(update_at(&r, trust, NOW, floor), -ESTALE);
	publish(&r, 5);
	CU_ASSERT_EQUAL(update_at(&r, trust, NOW, floor), 0);
	CU_ASSERT_EQUAL(tg_tgsp_trust_update(trust, &r.snapshot, &r.snapshot, &r.targets, NOW, NULL, NULL),
			-EBADMSG);
	tg_floor_close(floor);
	tg_tgsp_trust_free(trust);
	repository_clear(&r);
}

/* Nor any byte of the next root, nor a part of it. */
static unsigned damaged_and_taken(struct tg_tgsp_trust *trust, const struct tg_bytes *document)
{
	unsigned taken = 0;

	for (size_t at = 0; at < document->len; at++) {
		const struct tg_bytes cut = { document->data, at };

		document->data[at] ^= (uint8_t)(1u << (at % 8));
		taken += !tg_tgsp_trust_rotate(trust, document, NULL);
		document->data[at] ^= (uint8_t)(1u << (at % 8));
		taken += !tg_tgsp_trust_rotate(trust, &cut, NULL);
	}
	return taken;
}

TEST(trust, rotation)
{
	struct tg_tgsp_root next;
	struct tg_tgsp_trust *trust;
	struct tg_bytes document;
	struct repository r;
	EVP_PKEY *mixed[4];

	repository_init(&r);
	trust = trusted(&r);
	/* root 2: keys 2, 3, 5 instead of 0, 1, 2 */
	next = root_of(&r, 2);
	mixed[0] = r.keys[2];
	mixed[1] = r.keys[3];
	mixed[2] = r.keys[5];
	set_role(&next, TG_TGSP_ROOT, 2, mixed, 3);
	document = sign_root(&next, mixed, 3);	/* its own keys; of the old ones only key 2 */
	CU_ASSERT_EQUAL(tg_tgsp_trust_rotate(trust, &document, NULL), -EKEYREJECTED);
	tg_bytes_free(&document);
	document = sign_root(&next, r.keys, 2);	/* the old ones only */
	CU_ASSERT_EQUAL(tg_tgsp_trust_rotate(trust, &document, NULL), -EKEYREJECTED);
	tg_bytes_free(&document);
	mixed[0] = r.keys[0];
	mixed[1] = r.keys[1];
	mixed[2] = r.keys[3];
	mixed[3] = r.keys[5];
	document = sign_root(&next, mixed, 4);
	CU_ASSERT_EQUAL(damaged_and_taken(trust, &document), 0);
	CU_ASSERT_EQUAL(tg_tgsp_trust_rotate(trust, &document, NULL), 0);
	CU_ASSERT_EQUAL(tg_tgsp_trust_root_version(trust), 2);
	CU_ASSERT_EQUAL(tg_tgsp_trust_rotate(trust, &document, NULL), -ESTALE);	/* the same again */
	CU_ASSERT_EQUAL(tg_tgsp_trust_rotate(trust, &r.root, NULL), -ESTALE);	/* back */
	tg_bytes_free(&document);
	next.issue.version = 4;	/* a step left out */
	document = sign_root(&next, mixed, 4);
	CU_ASSERT_EQUAL(tg_tgsp_trust_rotate(trust, &document, NULL), -ESTALE);
	tg_bytes_free(&document);
	tg_tgsp_trust_free(trust);
	repository_clear(&r);
}

/* A root that its own threshold of keys did not sign is none; one key does not count twice. */
TEST(trust, threshold)
{
	struct tg_tgsp_root root;
	struct tg_tgsp_trust *trust;
	struct tg_bytes document;
	struct repository r;
	EVP_PKEY *twice[2];

	repository_init(&r);
	root = root_of(&r, 1);
	document = sign_root(&root, r.keys, 1);
	CU_ASSERT_EQUAL(tg_tgsp_trust_new(&document, &trust, NULL), -EKEYREJECTED);
	tg_bytes_free(&document);
	document = sign_root(&root, r.keys + 1, 3);	/* two of its keys and a stranger's */
	CU_ASSERT_EQUAL(tg_tgsp_trust_new(&document, &trust, NULL), 0);
	tg_tgsp_trust_free(trust);
	tg_bytes_free(&document);
	twice[0] = twice[1] = r.keys[0];
	{
		const struct tg_key_set signers = { twice, 2 };

		CU_ASSERT_EQUAL(tg_tgsp_root_sign(&root, &signers, &document, NULL), -EINVAL);
	}
	set_role(&root, TG_TGSP_ROOT, 2, twice, 2);
	{
		const struct tg_key_set signers = { r.keys, 1 };

		CU_ASSERT_EQUAL(tg_tgsp_root_sign(&root, &signers, &document, NULL), -EEXIST);
	}
	set_role(&root, TG_TGSP_ROOT, 4, r.keys, 3);
	{
		const struct tg_key_set signers = { r.keys, 1 };

		CU_ASSERT_EQUAL(tg_tgsp_root_sign(&root, &signers, &document, NULL), -EINVAL);
	}
	repository_clear(&r);
}

static int accept(struct repository *r, int fd, struct tg_tgsp_rules *rules)
{
	return fixture_open_as(&r->f, fd, rules, &r->f.device_key, NULL);
}

static void hash_of(int fd, uint8_t ret[static TG_SHA256_LEN])
{
	struct tg_tgsp *package;

	lseek(fd, 0, SEEK_SET);
	CU_ASSERT_FATAL(!tg_tgsp_read(fd, &package, NULL));
	memcpy(ret, tg_tgsp_manifest_hash(package), TG_SHA256_LEN);
	tg_tgsp_free(package);
}

/* What the targets do not name is not opened, although its signature is good. */
TEST(trust, listed)
{
	struct tg_tgsp_rules rules;
	struct tg_tgsp_trust *trust;
	struct repository r;
	int named, unnamed;

	repository_init(&r);
	named = fixture_pack(&r.f, 64);
	unnamed = fixture_pack(&r.f, 64);
	hash_of(named, r.target.manifest);
	publish(&r, 2);
	trust = trusted(&r);
	rules = (struct tg_tgsp_rules){ .trust = trust, .listed = true, .now = NOW };
	CU_ASSERT_EQUAL(accept(&r, named, &rules), -EKEYREJECTED);	/* no targets yet */
	rules.listed = false;
	CU_ASSERT_EQUAL(accept(&r, unnamed, &rules), 0);
	CU_ASSERT_EQUAL(update_at(&r, trust, NOW, NULL), 0);
	CU_ASSERT_EQUAL(accept(&r, named, &rules), 0);
	CU_ASSERT_EQUAL(accept(&r, unnamed, &rules), -EKEYREJECTED);
	rules.now = NOW + HOUR;	/* the timestamp has expired meanwhile */
	CU_ASSERT_EQUAL(accept(&r, named, &rules), -EKEYEXPIRED);
	rules.now = NOW;
	r.target.release = 8;	/* named with another release than it says */
	publish(&r, 3);
	CU_ASSERT_EQUAL(update_at(&r, trust, NOW, NULL), 0);
	CU_ASSERT_EQUAL(accept(&r, named, &rules), -EKEYREJECTED);
	close(named);
	close(unnamed);
	tg_tgsp_trust_free(trust);
	repository_clear(&r);
}

/* Rollback of a model: an older release is refused once a newer one was opened; a failed opening raises
 * nothing. */
TEST(trust, older_release)
{
	static const uint8_t key[TG_FLOOR_KEY_LEN] = "key";
	struct tg_tgsp_manifest m;
	struct tg_tgsp_rules rules;
	struct tg_floor *floor;
	struct repository r;
	uint8_t changed = 0xff;
	int seven, eight;
	off_t end;

	repository_init(&r);
	seven = fixture_pack(&r.f, 64);
	fixture_manifest(&r.f, &m);
	m.payload.segment = 64;
	m.release = 8;
	eight = fixture_pack_manifest(&r.f, &m, false);
	CU_ASSERT_FATAL(!tg_floor_open(r.floor_path, key, NULL, true, &floor, NULL));
	rules = r.f.rules;
	rules.floor = floor;
	CU_ASSERT_EQUAL(accept(&r, seven, &rules), 0);
	end = lseek(eight, 0, SEEK_END);
	CU_ASSERT(pwrite(eight, &changed, 1, end) == 1);
	CU_ASSERT_EQUAL(accept(&r, eight, &rules), -EBADMSG);
	CU_ASSERT_EQUAL(accept(&r, seven, &rules), 0);
	CU_ASSERT(!ftruncate(eight, end));
	CU_ASSERT_EQUAL(accept(&r, eight, &rules), 0);
	CU_ASSERT_EQUAL(accept(&r, seven, &rules), -ESTALE);
	tg_floor_close(floor);
	CU_ASSERT_FATAL(!tg_floor_open(r.floor_path, key, NULL, false, &floor, NULL));
	rules.floor = floor;
	CU_ASSERT_EQUAL(accept(&r, seven, &rules), -ESTALE);
	CU_ASSERT_EQUAL(accept(&r, eight, &rules), 0);
	tg_floor_close(floor);
	tg_tgsp_manifest_clear(&m);
	close(seven);
	close(eight);
	repository_clear(&r);
}

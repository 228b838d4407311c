/* SPDX-License-Identifier: BSD-3-Clause */
/* Whole packages: what opens, and every way of damaging one. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "harness.h"

static const size_t small[FIXTURE_FILES] = { 20, 150, 0 };

enum { SEGMENT = 64 };

TEST(package, round_trip)
{
	static const size_t sizes[][FIXTURE_FILES] = {
		{ 0, 0, 0 }, { 1, 0, 0 }, { 0, 32, 0 }, { 32, 32, 32 }, { 31, 34, 700 }, { 5, 0, 5000 },
	};
	struct tg_error e;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct fixture f;
		int fd;

		fixture_init(&f, sizes[i]);
		fd = fixture_pack(&f, SEGMENT);
		CU_ASSERT_EQUAL(fixture_open(&f, fd, &e), 0);
		CU_ASSERT_EQUAL(fixture_verify(&f, fd, &e), 0);
		CU_ASSERT_EQUAL(fixture_open_as(&f, fd, &f.rules, &f.other_key, &e), -ENOKEY);
		close(fd);
		fixture_clear(&f);
	}
}

/* The default segment, more than two of them; the file is as long as the head says, and little is added. */
TEST(package, large)
{
	static const size_t large[FIXTURE_FILES] = { 100, 5 << 20, 1 };
	struct tg_tgsp *package;
	struct fixture f;
	size_t len;
	int fd;

	fixture_init(&f, large);
	fd = fixture_pack(&f, 0);
	CU_ASSERT_EQUAL(fixture_open(&f, fd, NULL), 0);
	free(content_of(fd, &len));
	lseek(fd, 0, SEEK_SET);
	CU_ASSERT_FATAL(!tg_tgsp_read(fd, &package, NULL));
	CU_ASSERT_EQUAL(tg_tgsp_file_len(package), len);
	CU_ASSERT(len - (large[0] + large[1] + large[2]) <= TG_TGSP_ALIGN + 6 * TG_FLOE_OVERHEAD);
	tg_tgsp_free(package);
	close(fd);
	fixture_clear(&f);
}

TEST(package, from_a_pipe)
{
	struct fixture f;
	int fd, ends[2];
	uint8_t *data;
	size_t len;
	pid_t pid;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	data = content_of(fd, &len);
	CU_ASSERT_FATAL(!pipe(ends));
	pid = fork();
	if (!pid) {
		for (size_t i = 0; i < len; i++)	/* byte by byte */
			if (write(ends[1], data + i, 1) != 1)
				_exit(1);
		_exit(0);
	}
	close(ends[1]);
	{
		struct tg_tgsp_files files = { 0 };
		struct tg_tgsp *package;

		CU_ASSERT_FATAL(!tg_tgsp_read(ends[0], &package, NULL));
		CU_ASSERT(!tg_tgsp_open(package, &f.rules, &f.device_key, NULL, &files, NULL));
		CU_ASSERT_EQUAL(files.count, FIXTURE_FILES);
		tg_tgsp_files_close(&files);
		tg_tgsp_free(package);
	}
	close(ends[0]);
	waitpid(pid, NULL, 0);
	free(data);
	close(fd);
	fixture_clear(&f);
}

/* Nobody can write, grow, shrink or unseal what was opened. */
TEST(package, memory_files_are_sealed)
{
	struct tg_tgsp_files files = { 0 };
	struct tg_tgsp *package;
	struct fixture f;
	int fd;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	lseek(fd, 0, SEEK_SET);
	CU_ASSERT_FATAL(!tg_tgsp_read(fd, &package, NULL));
	CU_ASSERT_FATAL(!tg_tgsp_open(package, &f.rules, &f.device_key, NULL, &files, NULL));
	for (size_t i = 0; i < files.count; i++) {
		CU_ASSERT(pwrite(files.fds[i], "x", 1, 0) < 0 && errno == EPERM);
		CU_ASSERT(ftruncate(files.fds[i], 0) == (f.len[i] ? -1 : 0));
		CU_ASSERT(ftruncate(files.fds[i], 10000) < 0 && errno == EPERM);
		CU_ASSERT(fcntl(files.fds[i], F_ADD_SEALS, F_SEAL_WRITE) < 0 && errno == EPERM);
		CU_ASSERT(fcntl(files.fds[i], F_GETFD) & FD_CLOEXEC);
	}
	tg_tgsp_files_close(&files);
	tg_tgsp_free(package);
	close(fd);
	fixture_clear(&f);
}

/* Cut at every byte: that has every segment boundary in it. */
TEST(package, truncated)
{
	struct fixture f;
	uint8_t *data;
	size_t len;
	int fd;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	data = content_of(fd, &len);
	for (size_t cut = len; cut--;) {
		if (cut > 2000 && cut < TG_TGSP_ALIGN - 3)
			continue;	/* inside the padding: the ends of it are enough */
		CU_ASSERT_FATAL(!ftruncate(fd, (off_t)cut));
		CU_ASSERT_EQUAL(fixture_open(&f, fd, NULL), -EBADMSG);
		CU_ASSERT_EQUAL(fixture_verify(&f, fd, NULL), -EBADMSG);
	}
	free(data);
	close(fd);
	fixture_clear(&f);
}

static int descending(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return (x < y) - (x > y);
}

/* One of four large segments, cut at every end of one, beside it, and anywhere. */
TEST(package, truncated_large)
{
	enum { SEGMENTS = 4, RANDOM = 40 };
	static const size_t large[FIXTURE_FILES] = { 100, (SEGMENTS - 1) << 20, 1 };
	size_t cuts[3 * SEGMENTS + RANDOM], count = 0, len;
	struct fixture f;
	int fd;

	fixture_init(&f, large);
	fd = fixture_pack(&f, 0);
	free(content_of(fd, &len));
	for (size_t i = 0; i < SEGMENTS; i++)
		for (size_t beside = 0; beside < 3; beside++)
			cuts[count++] = TG_TGSP_ALIGN + i * TG_TGSP_SEGMENT + beside - 1;
	srand(11);
	while (count < sizeof(cuts) / sizeof(cuts[0]))
		cuts[count++] = (size_t)rand() % len;
	qsort(cuts, count, sizeof(cuts[0]), descending);
	for (size_t i = 0; i < count; i++) {
		CU_ASSERT_FATAL(!ftruncate(fd, (off_t)cuts[i]));
		CU_ASSERT_EQUAL(fixture_open(&f, fd, NULL), -EBADMSG);
		CU_ASSERT_EQUAL(fixture_verify(&f, fd, NULL), -EBADMSG);
	}
	close(fd);
	fixture_clear(&f);
}

TEST(package, something_behind_it)
{
	struct fixture f;
	uint8_t *data;
	size_t len;
	int fd;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	data = content_of(fd, &len);
	CU_ASSERT_FATAL(pwrite(fd, "", 1, (off_t)len) == 1);
	CU_ASSERT_EQUAL(fixture_open(&f, fd, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(fixture_verify(&f, fd, NULL), -EBADMSG);
	free(data);
	close(fd);
	fixture_clear(&f);
}

/*
 * Every byte, one at a time, one bit in it and all bits: a device never accepts
 * the package. Without the key the list of recipients cannot be judged: whoever
 * verifies accepts a change there and nowhere else.
 */
TEST(package, every_byte_flipped)
{
	static const uint8_t masks[] = { 0x01, 0x80, 0xff };
	size_t len, accepted = 0, opened = 0;
	struct tg_tgsp *package;
	struct fixture f;
	uint8_t *data;
	int fd;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	data = content_of(fd, &len);
	for (size_t at = 0; at < len; at++) {
		for (size_t k = 0; k < sizeof(masks); k++) {
			uint8_t changed = data[at] ^ masks[k];

			CU_ASSERT_FATAL(pwrite(fd, &changed, 1, (off_t)at) == 1);
			opened += !fixture_open(&f, fd, NULL);
			accepted += !fixture_verify(&f, fd, NULL);
		}
		CU_ASSERT_FATAL(pwrite(fd, data + at, 1, (off_t)at) == 1);
	}
	CU_ASSERT_EQUAL(opened, 0);
	/* id, public key, wrapped key and MAC are opaque without a key */
	CU_ASSERT(accepted <= 3 * (TG_KEY_ID_LEN + TG_HPKE_ENC_LEN + 48 + TG_SHA256_LEN));
	lseek(fd, 0, SEEK_SET);
	CU_ASSERT_FATAL(!tg_tgsp_read(fd, &package, NULL));
	CU_ASSERT_EQUAL(fixture_open(&f, fd, NULL), 0);
	tg_tgsp_free(package);
	free(data);
	close(fd);
	fixture_clear(&f);
}

/* Random damage of several bytes, insertions, parts left out. */
TEST(package, random_damage)
{
	struct fixture f;
	uint8_t *data, *copy;
	size_t len;
	int fd;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	data = content_of(fd, &len);
	copy = malloc(2 * len);
	srand(7);
	for (int round = 0; round < 3000; round++) {
		size_t from = (size_t)rand() % len, n = (size_t)rand() % 40 + 1, to = (size_t)rand() % len,
		       size = len;
		int damaged;

		n = n > len - from ? len - from : n;
		n = n > len - to ? len - to : n;
		memcpy(copy, data, len);
		switch (round % 3) {
		case 0:	/* one part over another */
			memcpy(copy + to, data + from, n);
			break;
		case 1:	/* a part left out */
			memmove(copy + from, data + from + n, len - from - n);
			size = len - n;
			break;
		default: /* a part twice */
			memcpy(copy + from + n, data + from, len - from);
			size = len + n;
		}
		if (size == len && !memcmp(copy, data, len))
			continue;
		damaged = file_of(copy, size);
		CU_ASSERT(fixture_open(&f, damaged, NULL) < 0);
		close(damaged);
	}
	free(copy);
	free(data);
	close(fd);
	fixture_clear(&f);
}

/* Of several damaged segments the first is named, whichever thread has it and however often one looks. */
TEST(package, first_damage_is_named)
{
	static const size_t sizes[FIXTURE_FILES] = { 0, 9000, 0 };
	const size_t plain = SEGMENT - TG_FLOE_OVERHEAD;
	struct fixture f;
	struct tg_error e;
	int fd;

	fixture_init(&f, sizes);
	fd = fixture_pack(&f, SEGMENT);
	for (size_t at = 5; at < sizes[1] / plain; at += 2) {
		uint8_t bad = 0;	/* in the length, which is 0xffffffff here */

		CU_ASSERT_FATAL(pwrite(fd, &bad, 1, (off_t)(TG_TGSP_ALIGN + at * SEGMENT)) == 1);
	}
	for (int i = 0; i < 50; i++) {
		CU_ASSERT_EQUAL(fixture_open(&f, fd, &e), -EBADMSG);
		CU_ASSERT(!strncmp(e.message, "segment 5 ", 10));
	}
	close(fd);
	fixture_clear(&f);
}

/* A segment that is not authentic ends the opening, though the pipe is open and says nothing more. */
TEST(package, damage_in_a_silent_pipe)
{
	struct tg_tgsp_files files = { 0 };
	struct tg_tgsp *package;
	struct fixture f;
	struct tg_error e;
	uint8_t *data;
	int fd, ends[2];
	size_t len;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	data = content_of(fd, &len);
	data[TG_TGSP_ALIGN + SEGMENT - 1] ^= 1;
	CU_ASSERT_FATAL(!pipe(ends));
	len = TG_TGSP_ALIGN + SEGMENT + SEGMENT / 2;
	CU_ASSERT_FATAL(write(ends[1], data, len) == (ssize_t)len);
	CU_ASSERT_FATAL(!tg_tgsp_read(ends[0], &package, NULL));
	CU_ASSERT_EQUAL(tg_tgsp_open(package, &f.rules, &f.device_key, NULL, &files, &e), -EBADMSG);
	CU_ASSERT(!strncmp(e.message, "segment 0", 9));
	tg_tgsp_free(package);
	close(ends[0]);
	close(ends[1]);
	free(data);
	close(fd);
	fixture_clear(&f);
}

/* Whoever writes the first piece takes its time; the others wait when they are far enough ahead. */
struct late {
	uint8_t *text;
	size_t first_len;
	unsigned begun, ended;
};

static int late_begin(void *ctx, size_t file, struct tg_error *e)
{
	struct late *late = ctx;

	(void)file;
	(void)e;
	late->begun++;
	return 0;
}

static int late_write(void *ctx, size_t file, uint64_t offset, const uint8_t *data, size_t len,
		      struct tg_error *e)
{
	struct late *late = ctx;

	(void)e;
	if (!file && !offset)
		usleep(100000);
	memcpy(late->text + (file ? late->first_len : 0) + offset, data, len);
	return 0;
}

static int late_end(void *ctx, size_t file, struct tg_error *e)
{
	struct late *late = ctx;

	(void)file;
	(void)e;
	late->ended++;
	return 0;
}

TEST(package, a_late_segment)
{
	static const size_t sizes[FIXTURE_FILES] = { 20, 40000, 0 };
	struct late late = { .text = calloc(1, 40020), .first_len = sizes[0] };
	const struct tg_tgsp_sink sink = { late_begin, late_write, late_end, &late };
	struct tg_tgsp *package;
	struct fixture f;
	int fd;

	fixture_init(&f, sizes);
	fd = fixture_pack(&f, SEGMENT);
	lseek(fd, 0, SEEK_SET);
	CU_ASSERT_PTR_NOT_NULL_FATAL(late.text);
	CU_ASSERT_FATAL(!tg_tgsp_read(fd, &package, NULL));
	CU_ASSERT_EQUAL(tg_tgsp_decrypt(package, &f.rules, &f.device_key, &sink, NULL, NULL), 0);
	CU_ASSERT(!memcmp(late.text, f.content[0], sizes[0]));
	CU_ASSERT(!memcmp(late.text + sizes[0], f.content[1], sizes[1]));
	CU_ASSERT(late.begun == FIXTURE_FILES && late.ended == FIXTURE_FILES);
	tg_tgsp_free(package);
	free(late.text);
	close(fd);
	fixture_clear(&f);
}

/* Segments of the payload exchanged, and those of another package with the same key pair put in. */
TEST(package, segments_exchanged)
{
	struct fixture f;
	uint8_t *data, *other;
	size_t len, other_len;
	int fd, fd2;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	fd2 = fixture_pack(&f, SEGMENT);
	data = content_of(fd, &len);
	other = content_of(fd2, &other_len);
	CU_ASSERT_FATAL(len == other_len);
	CU_ASSERT(pwrite(fd, data + TG_TGSP_ALIGN + SEGMENT, SEGMENT, TG_TGSP_ALIGN) == SEGMENT);
	CU_ASSERT(pwrite(fd, data + TG_TGSP_ALIGN, SEGMENT, TG_TGSP_ALIGN + SEGMENT) == SEGMENT);
	CU_ASSERT_EQUAL(fixture_open(&f, fd, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(fixture_verify(&f, fd, NULL), -EBADMSG);
	/* mix and match: head of one, payload of the other */
	CU_ASSERT(pwrite(fd, other + TG_TGSP_ALIGN, len - TG_TGSP_ALIGN, TG_TGSP_ALIGN) > 0);
	CU_ASSERT_EQUAL(fixture_open(&f, fd, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(fixture_verify(&f, fd, NULL), -EBADMSG);
	free(data);
	free(other);
	close(fd);
	close(fd2);
	fixture_clear(&f);
}

/*
 * A recipient knows the data key and can encrypt what it likes under the
 * package's own FLOE header; the signed Merkle root gives that away.
 */
TEST(package, forged_by_a_recipient)
{
	const struct tg_floe_params params = { SEGMENT, TG_FLOE_ROTATION };
	uint8_t key[TG_FLOE_KEY_LEN], aad[TG_SHA256_LEN], text[SEGMENT],
		plain[SEGMENT - TG_FLOE_OVERHEAD] = "mine";
	struct tg_tgsp *package;
	struct tg_floe *floe;
	struct fixture f;
	struct tg_error e;
	int fd;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	lseek(fd, 0, SEEK_SET);
	CU_ASSERT_FATAL(!tg_tgsp_read(fd, &package, NULL));
	CU_ASSERT_FATAL(!tg_tgsp_data_key(package, &f.device_key, key, NULL));
	CU_ASSERT_FATAL(!tg_tgsp_manifest_payload_aad(tg_tgsp_manifest(package), aad, NULL));
	CU_ASSERT_FATAL(!tg_floe_decrypt_start(&params, key, aad, sizeof(aad),
					       tg_tgsp_manifest(package)->payload.header, &floe, NULL));
	CU_ASSERT(!tg_floe_encrypt(floe, 0, false, plain, sizeof(plain), text, NULL));
	CU_ASSERT(!tg_floe_decrypt(floe, 0, false, text, sizeof(text), plain, NULL));
	CU_ASSERT(pwrite(fd, text, sizeof(text), TG_TGSP_ALIGN) == sizeof(text));
	CU_ASSERT_EQUAL(fixture_open(&f, fd, &e), -EBADMSG);
	CU_ASSERT_STRING_EQUAL(e.message, "the payload is not the one that was signed");
	CU_ASSERT_EQUAL(fixture_verify(&f, fd, NULL), -EBADMSG);
	tg_floe_free(floe);
	tg_tgsp_free(package);
	close(fd);
	fixture_clear(&f);
}

/* Lengths that promise more than there is: refused before anything is allocated for them. */
TEST(package, endless)
{
	static const uint8_t heads[][12] = {
		{ 'T', 'G', 'S', 'P', 0, 1, '\r', '\n', 0xff, 0xff, 0xff, 0xff },
		{ 'T', 'G', 'S', 'P', 0, 1, '\r', '\n', 0, 0x10, 0, 1 },
		{ 'T', 'G', 'S', 'P', 0, 1, '\r', '\n', 0, 0, 0, 0 },
		{ 'T', 'G', 'S', 'P', 0, 2, '\r', '\n', 0, 0, 0, 9 },
		{ 'T', 'G', 'S', 'P', 0, 1, '\n', '\n', 0, 0, 0, 9 },
	};
	struct tg_tgsp *package;
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		int fd = file_of(heads[i], sizeof(heads[i]));

		CU_ASSERT_EQUAL(tg_tgsp_read(fd, &package, NULL), -EBADMSG);
		close(fd);
	}
	CU_ASSERT_EQUAL(tg_tgsp_read(zero, &package, NULL), -EBADMSG);
	close(zero);
}

/* A payload that never ends is left after the length that the manifest says. */
TEST(package, endless_payload)
{
	struct tg_tgsp_verifier v = { .done = 0 };
	uint8_t block[4 * SEGMENT] = { 0 };
	struct tg_tgsp *package;
	struct fixture f;
	size_t used, total = 0;
	int fd, ret = 0;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	lseek(fd, 0, SEEK_SET);
	CU_ASSERT_FATAL(!tg_tgsp_read(fd, &package, NULL));
	while (!ret && total < 10000) {
		ret = tg_tgsp_verify_update(package, &v, block, sizeof(block), &used, NULL);
		total += sizeof(block);
	}
	CU_ASSERT_EQUAL(ret, -EBADMSG);
	CU_ASSERT(total <= 3 * sizeof(block));
	tg_tgsp_free(package);
	close(fd);
	fixture_clear(&f);
}

/* A download in pieces of any size, broken off and taken up again at what was verified. */
TEST(package, verified_as_it_lands)
{
	struct tg_tgsp *package;
	struct fixture f;
	uint8_t *data;
	size_t len;
	int fd;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	data = content_of(fd, &len);
	lseek(fd, 0, SEEK_SET);
	CU_ASSERT_FATAL(!tg_tgsp_read(fd, &package, NULL));
	for (size_t piece = 1; piece < 300; piece += 7) {
		struct tg_tgsp_verifier v = { .done = 0 }, stored;
		size_t have = 0, used;

		while (TG_TGSP_ALIGN + v.done < len) {
			size_t left = len - TG_TGSP_ALIGN - v.done;

			have = have + piece < left ? have + piece : left;
			CU_ASSERT_FATAL(!tg_tgsp_verify_update(package, &v, data + TG_TGSP_ALIGN + v.done,
							       have, &used, NULL));
			CU_ASSERT_EQUAL(used % SEGMENT, TG_TGSP_ALIGN + v.done == len ? used % SEGMENT : 0);
			have -= used;
			CU_ASSERT(TG_TGSP_ALIGN + v.done == len ||
				  tg_tgsp_verify_final(package, &v, NULL) == -EBADMSG);
			stored = v;	/* as if written to disk and read again */
			memset(&v, 0xee, sizeof(v));
			v = stored;
		}
		CU_ASSERT_EQUAL(tg_tgsp_verify_final(package, &v, NULL), 0);
	}
	tg_tgsp_free(package);
	free(data);
	close(fd);
	fixture_clear(&f);
}

TEST(package, two_signatures)
{
	EVP_PKEY *keys[2];
	struct tg_tgsp_trust *both, *only_second;
	struct tg_tgsp_manifest m;
	struct tg_tgsp_rules rules;
	struct tg_key_set set;
	struct fixture f;
	int one, two;

	fixture_init(&f, small);
	keys[0] = f.author;
	keys[1] = f.second;
	set = (struct tg_key_set){ keys, 2 };
	CU_ASSERT_FATAL(!tg_tgsp_trust_keys(&set, 2, &both, NULL));
	set = (struct tg_key_set){ keys + 1, 1 };
	CU_ASSERT_FATAL(!tg_tgsp_trust_keys(&set, 1, &only_second, NULL));
	one = fixture_pack(&f, SEGMENT);
	fixture_manifest(&f, &m);
	two = fixture_pack_manifest(&f, &m, true);
	rules = f.rules;
	rules.trust = both;
	CU_ASSERT_EQUAL(fixture_open_as(&f, one, &rules, &f.device_key, NULL), -EKEYREJECTED);
	CU_ASSERT_EQUAL(fixture_open_as(&f, two, &rules, &f.device_key, NULL), 0);
	/* the author's signature could be anything: nobody has a key to look at it */
	rules.trust = only_second;
	CU_ASSERT_EQUAL(fixture_open_as(&f, one, &rules, &f.device_key, NULL), -EKEYREJECTED);
	CU_ASSERT_EQUAL(fixture_open_as(&f, two, &rules, &f.device_key, NULL), -EKEYREJECTED);
	CU_ASSERT_EQUAL(fixture_open(&f, two, NULL), 0);
	tg_tgsp_manifest_clear(&m);
	tg_tgsp_trust_free(both);
	tg_tgsp_trust_free(only_second);
	close(one);
	close(two);
	fixture_clear(&f);
}

/* A package that somebody signed whom the device does not know. */
TEST(package, self_signed)
{
	struct fixture f, stranger;
	struct tg_error e;
	int fd;

	fixture_init(&f, small);
	fixture_init(&stranger, small);
	fd = fixture_pack(&stranger, SEGMENT);
	CU_ASSERT_EQUAL(fixture_open_as(&stranger, fd, &f.rules, &stranger.device_key, &e), -EKEYREJECTED);
	CU_ASSERT_STRING_EQUAL(e.message, "signed by 0 of the 1 trusted keys, 1 must have");
	close(fd);
	fixture_clear(&stranger);
	fixture_clear(&f);
}

static int rewrap(struct fixture *f, int fd, const struct tg_hpke_private *key, const EVP_PKEY *add,
		  const EVP_PKEY *remove, int *ret_fd)
{
	uint8_t point[1][TG_P256_POINT_LEN], id[1][TG_KEY_ID_LEN];
	const struct tg_tgsp_recipients to = { point, add ? 1 : 0 };
	struct tg_tgsp *package;
	int ret;

	(void)f;
	if (add)
		CU_ASSERT_FATAL(!tg_p256_point(add, point[0], NULL));
	if (remove)
		CU_ASSERT_FATAL(!tg_public_key_hash(remove, id[0], NULL));
	lseek(fd, 0, SEEK_SET);
	CU_ASSERT_FATAL(!tg_tgsp_read(fd, &package, NULL));
	*ret_fd = memfd_create("rewrapped", MFD_CLOEXEC);
	ret = tg_tgsp_rewrap(package, key, &to, id, remove ? 1 : 0, *ret_fd, NULL, NULL);
	tg_tgsp_free(package);
	return ret;
}

TEST(package, recipients)
{
	struct fixture f;
	uint8_t *before, *after;
	size_t before_len, after_len;
	int fd, added, removed, none;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	CU_ASSERT_EQUAL(rewrap(&f, fd, &f.other_key, f.other, NULL, &none), -ENOKEY);
	close(none);
	CU_ASSERT_EQUAL(rewrap(&f, fd, &f.device_key, f.device, NULL, &none), -EEXIST);
	close(none);
	CU_ASSERT_EQUAL(rewrap(&f, fd, &f.device_key, NULL, f.other, &none), -ENOENT);
	close(none);
	CU_ASSERT_EQUAL(rewrap(&f, fd, &f.device_key, NULL, f.device, &none), -EINVAL);
	close(none);
	CU_ASSERT_EQUAL(rewrap(&f, fd, &f.device_key, f.other, NULL, &added), 0);
	CU_ASSERT_EQUAL(fixture_open(&f, added, NULL), 0);
	CU_ASSERT_EQUAL(fixture_open_as(&f, added, &f.rules, &f.other_key, NULL), 0);
	CU_ASSERT_EQUAL(rewrap(&f, added, &f.other_key, NULL, f.device, &removed), 0);
	CU_ASSERT_EQUAL(fixture_open(&f, removed, NULL), -ENOKEY);
	CU_ASSERT_EQUAL(fixture_open_as(&f, removed, &f.rules, &f.other_key, NULL), 0);
	/* the payload is the same, byte by byte */
	before = content_of(fd, &before_len);
	after = content_of(removed, &after_len);
	CU_ASSERT(before_len == after_len &&
		  !memcmp(before + TG_TGSP_ALIGN, after + TG_TGSP_ALIGN, before_len - TG_TGSP_ALIGN));
	free(before);
	free(after);
	close(fd);
	close(added);
	close(removed);
	fixture_clear(&f);
}

/* Another list of recipients from an older state of the package, or one with somebody left out. */
TEST(package, list_of_recipients_exchanged)
{
	struct fixture f;
	uint8_t *one, *two, *at;
	size_t len, len2;
	int fd, fd2;

	fixture_init(&f, small);
	fd = fixture_pack(&f, SEGMENT);
	fd2 = fixture_pack(&f, SEGMENT);
	one = content_of(fd, &len);
	two = content_of(fd2, &len2);
	/* both envelopes end with recipient and MAC, 34 + 152 bytes, before the padding */
	for (at = one + TG_TGSP_ALIGN; !at[-1]; at--)
		;
	at -= 34;
	CU_ASSERT(pwrite(fd, two + (at - one), 34, at - one) == 34);
	CU_ASSERT_EQUAL(fixture_open(&f, fd, NULL), -EBADMSG);
	free(one);
	free(two);
	close(fd);
	close(fd2);
	fixture_clear(&f);
}

/* A source that changes between the two readings is noticed. */
struct meddler {
	struct fixture *f;
	bool done;
};

static void meddle(void *ctx, uint64_t done, uint64_t total)
{
	struct meddler *meddler = ctx;

	/* all files have been hashed, and not all read again */
	if (done < total / 2 || meddler->done)
		return;
	CU_ASSERT(pwrite(meddler->f->source_fd[1], "changed", 7, 140) == 7);
	meddler->done = true;
}

TEST(package, source_changes)
{
	struct tg_tgsp_manifest m;
	struct fixture f;
	struct meddler meddler = { &f, false };
	const struct tg_tgsp_progress progress = { meddle, &meddler };
	int fd = memfd_create("package", MFD_CLOEXEC);

	fixture_init(&f, small);
	fixture_manifest(&f, &m);
	m.payload.segment = SEGMENT;
	{
		const char *const sources[FIXTURE_FILES] = { f.source[0], f.source[1], f.source[2] };
		const struct tg_key_set signers = { &f.author, 1 };
		const struct tg_tgsp_recipients to = { &f.device_key.point, 1 };

		CU_ASSERT_EQUAL(tg_tgsp_pack(&m, sources, &signers, &to, fd, &progress, NULL), -ESTALE);
	}
	CU_ASSERT(meddler.done);
	tg_tgsp_manifest_clear(&m);
	close(fd);
	fixture_clear(&f);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fixture.h"
#include "harness.h"

static const char *const paths[FIXTURE_FILES] = { "config.json", "model/weights.bin", "model/z-empty" };

int file_of(const void *data, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_FATAL(pwrite(fd, data, len, 0) == (ssize_t)len);
	return fd;
}

uint8_t *content_of(int fd, size_t *ret_len)
{
	off_t len = lseek(fd, 0, SEEK_END);
	uint8_t *data = malloc((size_t)len + 1);

	CU_ASSERT_FATAL(len >= 0 && data && pread(fd, data, (size_t)len, 0) == len);
	*ret_len = (size_t)len;
	return data;
}

void fixture_init(struct fixture *f, const size_t len[FIXTURE_FILES])
{
	struct tg_key_set author;

	*f = (struct fixture){ .author = NULL };
	CU_ASSERT_FATAL(!tg_key_generate(TG_KEY_ES256, &f->author, NULL));
	CU_ASSERT_FATAL(!tg_key_generate(TG_KEY_EDDSA, &f->second, NULL));
	CU_ASSERT_FATAL(!tg_key_generate(TG_KEY_ES256, &f->device, NULL));
	CU_ASSERT_FATAL(!tg_key_generate(TG_KEY_ES256, &f->other, NULL));
	CU_ASSERT_FATAL(!tg_hpke_private_from_key(f->device, &f->device_key, NULL));
	CU_ASSERT_FATAL(!tg_hpke_private_from_key(f->other, &f->other_key, NULL));
	author = (struct tg_key_set){ &f->author, 1 };
	CU_ASSERT_FATAL(!tg_tgsp_trust_keys(&author, 1, &f->trust, NULL));
	f->rules = (struct tg_tgsp_rules){ .trust = f->trust, .now = NOW };
	for (int i = 0; i < FIXTURE_FILES; i++) {
		f->len[i] = len[i];
		f->content[i] = malloc(len[i] + 1);
		CU_ASSERT_FATAL(!tg_random(f->content[i], len[i], NULL));
		f->source_fd[i] = file_of(f->content[i], len[i]);
		snprintf(f->source[i], sizeof(f->source[i]), "/proc/self/fd/%d", f->source_fd[i]);
	}
}

void fixture_clear(struct fixture *f)
{
	tg_tgsp_trust_free(f->trust);
	EVP_PKEY_free(f->author);
	EVP_PKEY_free(f->second);
	EVP_PKEY_free(f->device);
	EVP_PKEY_free(f->other);
	for (int i = 0; i < FIXTURE_FILES; i++) {
		free(f->content[i]);
		close(f->source_fd[i]);
	}
}

void fixture_manifest(const struct fixture *f, struct tg_tgsp_manifest *m)
{
	*m = (struct tg_tgsp_manifest){ .model = "grasp",
					.version = "1.2.3-rc.1",
					.release = 7,
					.created = NOW - 10,
					.not_before = NOW - 10,
					.not_after = NOW + 1000 };
	m->files = calloc(FIXTURE_FILES, sizeof(*m->files));
	CU_ASSERT_PTR_NOT_NULL_FATAL(m->files);
	for (m->file_count = 0; m->file_count < FIXTURE_FILES; m->file_count++)
		m->files[m->file_count].path = strdup(paths[m->file_count]);
	(void)f;
}

int fixture_pack_manifest(struct fixture *f, struct tg_tgsp_manifest *m, bool both)
{
	const char *const sources[FIXTURE_FILES] = { f->source[0], f->source[1], f->source[2] };
	EVP_PKEY *keys[] = { f->author, f->second };
	const struct tg_key_set signers = { keys, both ? 2 : 1 };
	const struct tg_tgsp_recipients to = { &f->device_key.point, 1 };
	int fd = memfd_create("package", MFD_CLOEXEC), ret;
	struct tg_error e = { "" };

	ret = tg_tgsp_pack(m, sources, &signers, &to, fd, NULL, &e);
	if (ret)
		printf("pack: %s\n", e.message);
	CU_ASSERT_FATAL(!ret);
	return fd;
}

int fixture_pack(struct fixture *f, uint32_t segment)
{
	struct tg_tgsp_manifest m;
	int fd;

	fixture_manifest(f, &m);
	m.payload.segment = segment;
	fd = fixture_pack_manifest(f, &m, false);
	tg_tgsp_manifest_clear(&m);
	return fd;
}

static void compare(const struct fixture *f, const struct tg_tgsp_files *files)
{
	CU_ASSERT_FATAL(files->count == FIXTURE_FILES);
	for (int i = 0; i < FIXTURE_FILES; i++) {
		size_t len;
		uint8_t *data = content_of(files->fds[i], &len);

		CU_ASSERT(len == f->len[i] && !memcmp(data, f->content[i], len));
		free(data);
	}
}

int fixture_open_as(struct fixture *f, int fd, const struct tg_tgsp_rules *rules,
		    const struct tg_hpke_private *key, struct tg_error *e)
{
	struct tg_tgsp_files files = { 0 };
	struct tg_tgsp *package;
	int ret;

	CU_ASSERT_FATAL(!lseek(fd, 0, SEEK_SET));
	ret = tg_tgsp_read(fd, &package, e);
	if (ret)
		return ret;
	ret = tg_tgsp_open(package, rules, key, NULL, &files, e);
	if (ret) {
		CU_ASSERT(!files.fds && !files.count);
	} else {
		compare(f, &files);
	}
	tg_tgsp_files_close(&files);
	tg_tgsp_free(package);
	return ret;
}

int fixture_open(struct fixture *f, int fd, struct tg_error *e)
{
	return fixture_open_as(f, fd, &f->rules, &f->device_key, e);
}

int fixture_verify(struct fixture *f, int fd, struct tg_error *e)
{
	struct tg_tgsp *package;
	int ret;

	CU_ASSERT_FATAL(!lseek(fd, 0, SEEK_SET));
	ret = tg_tgsp_read(fd, &package, e);
	if (ret)
		return ret;
	ret = tg_tgsp_accept(package, &f->rules, e);
	if (!ret)
		ret = tg_tgsp_verify(package, NULL, e);
	tg_tgsp_free(package);
	return ret;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys, files and packages for tests. Everything is in memory files; a failed step ends the test. */
#ifndef TESTS_TGSP_FIXTURE_H
#define TESTS_TGSP_FIXTURE_H

#include "tensorguard/tgsp.h"

enum { FIXTURE_FILES = 3, NOW = 2000000000 };

struct fixture {
	EVP_PKEY *author, *second, *device, *other; /* ES256, EdDSA; two recipients */
	struct tg_hpke_private device_key, other_key;
	struct tg_tgsp_trust *trust;	/* the author alone */
	struct tg_tgsp_rules rules;
	uint8_t *content[FIXTURE_FILES];
	size_t len[FIXTURE_FILES];
	char source[FIXTURE_FILES][32];
	int source_fd[FIXTURE_FILES];
};

/* Files of these sizes; their contents are all different. */
void fixture_init(struct fixture *f, const size_t len[FIXTURE_FILES]);
void fixture_clear(struct fixture *f);

/* The manifest that fixture_pack() uses, to be changed before. */
void fixture_manifest(const struct fixture *f, struct tg_tgsp_manifest *m);
/* Packs for `device`; signed by the author, and `second` as well if `both`. Returns a memory file. */
int fixture_pack_manifest(struct fixture *f, struct tg_tgsp_manifest *m, bool both);
int fixture_pack(struct fixture *f, uint32_t segment);

/* A memory file with this content, offset 0; one's content. */
int file_of(const void *data, size_t len);
uint8_t *content_of(int fd, size_t *ret_len);

/* Reads and opens what is in `fd` from its beginning; the files are compared with the fixture's. 0 or a
 * negative errno. */
int fixture_open(struct fixture *f, int fd, struct tg_error *e);
int fixture_open_as(struct fixture *f, int fd, const struct tg_tgsp_rules *rules,
		    const struct tg_hpke_private *key, struct tg_error *e);
/* The same for verification without a key. */
int fixture_verify(struct fixture *f, int fd, struct tg_error *e);

#endif

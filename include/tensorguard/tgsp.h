/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TGSP, the secure model package: making, verifying and opening. The format is
 * described in docs/tgsp.md. Nothing here reads a package into memory as a whole:
 * beside what is decrypted, a few MiB are enough for any size.
 */
#ifndef TENSORGUARD_TGSP_H
#define TENSORGUARD_TGSP_H

#include "tensorguard/hpke.h"
#include "tensorguard/merkle.h"
#include "tensorguard/tgsp_manifest.h"
#include "tensorguard/tgsp_trust.h"

#define TG_TGSP_MAX_ENVELOPE (1u << 20)
#define TG_TGSP_ALIGN 4096		/* where the payload begins */
#define TG_TGSP_SEGMENT (1u << 20)	/* bytes of an encrypted segment, unless told otherwise */

/* Called from time to time with bytes done and all bytes, by one thread at a time. May be NULL. */
struct tg_tgsp_progress {
	void (*report)(void *ctx, uint64_t done, uint64_t total);
	void *ctx;
};

/* Reading. */

struct tg_tgsp;

/*
 * Reads head and envelope from a file, a pipe or a socket and decodes them. The
 * descriptor is borrowed and read in order, from where it stands; the payload
 * comes next. Nothing is trusted yet. -EBADMSG for what is no package.
 */
int tg_tgsp_read(int fd, struct tg_tgsp **ret_package, struct tg_error *e);
void tg_tgsp_free(struct tg_tgsp *package);

const struct tg_tgsp_manifest *tg_tgsp_manifest(const struct tg_tgsp *package);
/* SHA-256 of the encoded manifest: the package's name in trust documents and lineage. */
const uint8_t *tg_tgsp_manifest_hash(const struct tg_tgsp *package);
const struct tg_cose *tg_tgsp_signatures(const struct tg_tgsp *package);
size_t tg_tgsp_recipient_count(const struct tg_tgsp *package);
/* The id of the key that a recipient opens it with. */
const uint8_t *tg_tgsp_recipient_id(const struct tg_tgsp *package, size_t recipient);
/* Bytes of the whole file, as head and manifest say. */
uint64_t tg_tgsp_file_len(const struct tg_tgsp *package);

/* What a package has to satisfy. */
struct tg_tgsp_rules {
	const struct tg_tgsp_trust *trust;
	bool listed;		/* it must be named by the trust's targets */
	uint64_t now;		/* seconds since 1970 */
	const struct tg_tgsp_device *device; /* NULL: only the times are checked */
	struct tg_floor *floor;	/* NULL: no check against rollback */
};

/*
 * Signatures, targets, policy and floor, in this order; the payload was not
 * looked at. -EKEYREJECTED, -EBADMSG, -EPERM, -ENETDOWN, -EKEYEXPIRED,
 * -ESTALE.
 */
int tg_tgsp_accept(const struct tg_tgsp *package, const struct tg_tgsp_rules *rules, struct tg_error *e);

/*
 * Verification of a payload that comes in pieces of any size, as from a download;
 * no key is needed. The state is plain data and may be stored between pieces, so
 * that a download can be taken up again.
 */
struct tg_tgsp_verifier {
	struct tg_merkle tree;
	uint64_t done;		/* bytes of whole segments, which is where to go on after a break */
};

/* The bytes that follow `done`, as many whole segments as there are; *ret_used tells how many were taken. */
int tg_tgsp_verify_update(const struct tg_tgsp *package, struct tg_tgsp_verifier *verifier,
			  const uint8_t *data, size_t len, size_t *ret_used, struct tg_error *e);
/* -EBADMSG unless that was all of the payload and its root is the signed one. */
int tg_tgsp_verify_final(const struct tg_tgsp *package, const struct tg_tgsp_verifier *verifier,
			 struct tg_error *e);
/* All of it from the package's descriptor, which must end with it. */
int tg_tgsp_verify(const struct tg_tgsp *package, const struct tg_tgsp_progress *progress,
		   struct tg_error *e);

/*
 * Where plaintext goes. `begin` is called for each file, then `write` with its bytes
 * in pieces, then `end`. Two threads call, one of them the caller's: `begin` and
 * `end` one at a time, `write` at once; files and pieces come in any order. What was
 * written is authentic, but only success of the whole says that it is complete and
 * that the author signed it: nobody may use it before.
 */
struct tg_tgsp_sink {
	int (*begin)(void *ctx, size_t file, struct tg_error *e);
	int (*write)(void *ctx, size_t file, uint64_t offset, const uint8_t *data, size_t len,
		     struct tg_error *e);
	int (*end)(void *ctx, size_t file, struct tg_error *e);
	void *ctx;
};

/*
 * Accepts (tg_tgsp_accept()), unwraps the data key, decrypts segment by segment
 * while the Merkle root is computed, compares it, and raises the floor. The
 * descriptor must end with the package. -ENOKEY when `key` is none of its
 * recipients; else as above.
 */
int tg_tgsp_decrypt(const struct tg_tgsp *package, const struct tg_tgsp_rules *rules,
		    const struct tg_hpke_private *key, const struct tg_tgsp_sink *sink,
		    const struct tg_tgsp_progress *progress, struct tg_error *e);

/*
 * The data key alone, for who decrypts single segments (floe.h), and checks before
 * that the payload was verified. The list of recipients is checked with it. The
 * caller wipes it. -ENOKEY, -EBADMSG.
 */
int tg_tgsp_data_key(const struct tg_tgsp *package, const struct tg_hpke_private *key,
		     uint8_t ret_data_key[static TG_FLOE_KEY_LEN], struct tg_error *e);

/* The files as sealed memfds, in the manifest's order. */
struct tg_tgsp_files {
	int *fds;
	size_t count;
};

/* tg_tgsp_decrypt() into memory: each descriptor is sealed against writing and resizing, offset 0. */
int tg_tgsp_open(const struct tg_tgsp *package, const struct tg_tgsp_rules *rules,
		 const struct tg_hpke_private *key, const struct tg_tgsp_progress *progress,
		 struct tg_tgsp_files *ret_files, struct tg_error *e);
void tg_tgsp_files_close(struct tg_tgsp_files *files);

/* Making. */

struct tg_tgsp_recipients {
	const uint8_t (*points)[TG_P256_POINT_LEN]; /* public keys */
	size_t count;
};

/*
 * Packs. `manifest` has everything but package_id, author, payload.header and
 * .root, and sizes and hashes of files, which are filled in; payload.segment 0
 * becomes TG_TGSP_SEGMENT. The author is the first signer. Files are read from
 * sources[i], a path of this system, twice: a file that changes meanwhile is
 * -ESTALE. `fd` is a new, empty file that can be sought in.
 */
int tg_tgsp_pack(struct tg_tgsp_manifest *manifest, const char *const *sources,
		 const struct tg_key_set *signers, const struct tg_tgsp_recipients *recipients, int fd,
		 const struct tg_tgsp_progress *progress, struct tg_error *e);

/*
 * Copies a package to `fd` with recipients added and others (by id) removed; the
 * payload and the author's signatures stay as they are, the payload is verified
 * on the way. `key` is that of a recipient. -ENOKEY, -EEXIST, -ENOENT; removing
 * the last one is -EINVAL. Who is removed may have kept the data key: a new
 * release is what locks somebody out.
 */
int tg_tgsp_rewrap(const struct tg_tgsp *package, const struct tg_hpke_private *key,
		   const struct tg_tgsp_recipients *add, const uint8_t (*remove)[TG_KEY_ID_LEN],
		   size_t remove_count, int fd, const struct tg_tgsp_progress *progress, struct tg_error *e);

#endif

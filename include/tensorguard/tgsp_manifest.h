/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The manifest of a TGSP package: what the author signs. docs/tgsp.md has its
 * encoding. Numbers are unsigned 64-bit, times seconds since 1970 in UTC.
 */
#ifndef TENSORGUARD_TGSP_MANIFEST_H
#define TENSORGUARD_TGSP_MANIFEST_H

#include "tensorguard/crypto.h"
#include "tensorguard/floe.h"

#define TG_TGSP_ID_LEN 16
#define TG_TGSP_MAX_FILES 4096
#define TG_TGSP_MAX_PATH 255		/* bytes of a file's path, without the NUL */
#define TG_TGSP_MAX_NAME 64		/* likewise of names and versions */
#define TG_TGSP_MAX_TEXT 256		/* likewise of a training run */
#define TG_TGSP_MAX_LIST 256		/* fleets, accelerators, parents */
#define TG_TGSP_MAX_SIZE (1ull << 50)	/* of all files together */

struct tg_tgsp_file {
	char *path;		/* relative, components that are neither empty nor "." nor ".." */
	uint64_t size;
	uint8_t sha256[TG_SHA256_LEN];
};

struct tg_tgsp_names {
	char **names;
	size_t count;		/* ascending, none twice */
};

struct tg_tgsp_manifest {
	uint8_t package_id[TG_TGSP_ID_LEN]; /* random */
	char model[TG_TGSP_MAX_NAME + 1]; /* letters, digits, '.', '_', '-'; the first a letter or digit */
	char version[TG_TGSP_MAX_NAME + 1]; /* semantic version */
	uint64_t release;	/* grows with each release of a model; what rollback is judged by */
	uint64_t created, not_before, not_after;
	uint8_t author[TG_SHA256_LEN]; /* key id */
	bool has_base;
	uint8_t base[TG_SHA256_LEN]; /* of the base model */
	struct tg_tgsp_file *files; /* ascending by path */
	size_t file_count;	/* 1..TG_TGSP_MAX_FILES */
	struct {
		uint32_t segment; /* bytes of an encrypted segment */
		uint8_t header[TG_FLOE_HEADER_LEN];
		uint8_t root[TG_SHA256_LEN]; /* Merkle root over the encrypted segments */
	} payload;
	struct {
		struct tg_tgsp_names fleets; /* that may open it; none: all */
		char agent_version[TG_TGSP_MAX_NAME + 1]; /* the lowest, MAJOR.MINOR.PATCH; "": any */
		bool attested;	/* only on devices whose state a TPM attests */
		struct tg_tgsp_names accelerators; /* of which the device needs one; none: any */
		uint64_t offline_s; /* how long after its last contact a device may open it; 0: for ever */
	} policy;
	struct {
		uint8_t (*parents)[TG_SHA256_LEN]; /* manifest hashes, ascending */
		size_t parent_count;
		char training_run[TG_TGSP_MAX_TEXT + 1]; /* "": not said */
		bool has_data, has_privacy;
		uint8_t data[TG_SHA256_LEN]; /* hash of the data set */
		uint64_t epsilon_micro, delta_pico; /* privacy budget spent, in 10^-6 and 10^-12 */
	} lineage;
};

/*
 * Decodes strictly: deterministic CBOR, every field within its limits, unknown
 * fields refused unless their key is negative. On success the caller frees with
 * tg_tgsp_manifest_free(). -EBADMSG, -ENOMEM.
 */
int tg_tgsp_manifest_decode(const uint8_t *data, size_t len, struct tg_tgsp_manifest **ret_manifest,
			    struct tg_error *e);
void tg_tgsp_manifest_free(struct tg_tgsp_manifest *manifest);

/* Frees what the manifest points to and makes it empty: for one that a caller fills. */
void tg_tgsp_manifest_clear(struct tg_tgsp_manifest *manifest);

/* -EINVAL when a field is not within its limits; decoding what is encoded then succeeds. */
int tg_tgsp_manifest_check(const struct tg_tgsp_manifest *manifest, struct tg_error *e);
int tg_tgsp_manifest_encode(const struct tg_tgsp_manifest *manifest, uint8_t **ret_data, size_t *ret_len,
			    struct tg_error *e);

/*
 * The additional data of the payload's encryption: SHA-256 of the manifest with
 * FLOE header and Merkle root empty, because both come out of the encryption.
 */
int tg_tgsp_manifest_payload_aad(const struct tg_tgsp_manifest *manifest,
				 uint8_t ret_aad[static TG_SHA256_LEN], struct tg_error *e);

/* Bytes of all files together. */
uint64_t tg_tgsp_plain_len(const struct tg_tgsp_manifest *manifest);

/* Adds a name to a list, which stays in order; -EEXIST, -E2BIG, -EINVAL, -ENOMEM. */
int tg_tgsp_names_add(struct tg_tgsp_names *names, const char *name, struct tg_error *e);

/* -EINVAL for a path that the format does not allow. */
int tg_tgsp_path_check(const char *path, size_t len, struct tg_error *e);

/* What a manifest's policy is held against. */
struct tg_tgsp_device {
	const char *fleet;	/* NULL: none */
	const char *agent_version; /* MAJOR.MINOR.PATCH */
	bool attested;
	const char *const *accelerators;
	size_t accelerator_count;
	uint64_t last_contact;	/* when it last had a fresh answer of its Platform; 0: never */
};

/* -EPERM with the reason when this device may not open it at this time; -ENETDOWN when it was offline for too
 * long, which the next contact mends. */
int tg_tgsp_manifest_permits(const struct tg_tgsp_manifest *manifest, const struct tg_tgsp_device *device,
			     uint64_t now, struct tg_error *e);
/* The times alone. */
int tg_tgsp_manifest_valid_at(const struct tg_tgsp_manifest *manifest, uint64_t now, struct tg_error *e);

#endif

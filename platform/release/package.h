/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packages and trust documents on the Platform's disk. The Platform has no key of any of the root's roles: it
 * keeps and serves what the release engineers' `tgsp trust` made, and judges it as a device would.
 */
#ifndef PLATFORM_RELEASE_PACKAGE_H
#define PLATFORM_RELEASE_PACKAGE_H

#include "store/release.h"
#include "tensorguard/tgsp.h"

/*
 * Takes over timestamp, snapshot, targets and the successors of the root (2.root, 3.root, ...) from `folder`.
 * The first time, `root` is a file with the first root; later it must be NULL or the same. -EKEYREJECTED,
 * -EBADMSG, -EKEYEXPIRED, and -ESTALE for what is older than what is published. Within a transaction of the
 * caller.
 */
int trust_publish(struct store *store, const char *data, const char *folder, const char *root, int64_t now,
		  struct tg_error *e);
/* The first root, which devices are given at their enrolment; empty when none is published. */
int trust_first_root(struct store *store, const char *data, struct tg_bytes *ret_root, struct tg_error *e);
/* The published root and its successors; with `current` the three documents too, which must be in force.
 * -ENOKEY when there is no root. The caller frees it. */
int trust_load(struct store *store, const char *data, bool current, int64_t now,
	       struct tg_tgsp_trust **ret_trust, struct tg_error *e);

/*
 * Copies a package into the blobs, and checks the copy: signatures by the role `package`, all of the payload.
 * What is refused is removed again. *ret_release has everything but `added`; its document is on the heap, the
 * caller frees it.
 */
int package_add(struct store *store, const char *data, const char *path, int64_t now,
		struct store_release *ret_release, struct tg_error *e);
/* Whether devices of the fleet would take it now: the published targets name it, its times and its fleets. */
int package_promotable(struct store *store, const char *data, const struct store_release *release,
		       const char *fleet, int64_t now, struct tg_error *e);
/* Removes blobs that nothing refers to. *ret_count: how many. */
int package_sweep(struct store *store, const char *data, unsigned *ret_count, struct tg_error *e);

#endif

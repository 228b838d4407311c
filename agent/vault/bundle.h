/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trust documents in one piece, as they are handed to vault and kept by it: deterministic CBOR
 * [[root, ...], timestamp, snapshot, targets], all byte strings. The roots are those that follow the device's
 * own; the other three are empty while there are none.
 */
#ifndef AGENT_VAULT_BUNDLE_H
#define AGENT_VAULT_BUNDLE_H

#include "tensorguard/bytes.h"
#include "tensorguard/tgsp_trust.h"

enum { BUNDLE_ROOTS = 64, BUNDLE_MAX = 8 << 20 };

struct bundle {
	struct tg_bytes roots[BUNDLE_ROOTS];
	size_t root_count;
	struct tg_bytes timestamp, snapshot, targets;
};

void bundle_clear(struct bundle *bundle);
int bundle_encode(const struct bundle *bundle, struct tg_bytes *ret_bytes, struct tg_error *e);
int bundle_decode(const struct tg_bytes *bytes, struct bundle *ret_bundle, struct tg_error *e);
/* A copy of `root` behind the others. */
int bundle_add_root(struct bundle *bundle, const struct tg_bytes *root, struct tg_error *e);

/* A folder as `tgsp trust publish` fills it: 2.root, 3.root and so on, timestamp, snapshot, targets. */
int bundle_read_folder(const char *folder, struct bundle *ret_bundle, struct tg_error *e);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Blobs of the Platform: small ones into memory, packages through a pipe into vault. */
#ifndef AGENT_TRUST_DOWNLOAD_H
#define AGENT_TRUST_DOWNLOAD_H

#include <stdatomic.h>

#include "tensorguard/model_sync.h"
#include "trust/https.h"

/* A blob that is at most TG_TGSP_MAX_TRUST bytes, compared with its hash: -EBADMSG. */
int download_small(struct https *https, const uint8_t blob[static TG_SHA256_LEN], uint64_t size,
		   struct tg_bytes *ret_bytes, struct tg_error *e);

/*
 * A package into vault, over the connection `vault` to its socket, from where vault has it. Gives up soon
 * after `*stop` becomes true. *ret_moved: how many bytes vault took of it now. *ret_refused: the error is
 * vault's, of the package, and not one of the way here. -EAGAIN: it is to be gone on with.
 */
int download_package(struct https *https, int vault, const struct tg_model_assignment *package,
		     const atomic_bool *stop, uint64_t *ret_moved, bool *ret_refused, struct tg_error *e);

/* Bytes as the one descriptor of a request to vault: a pipe, since this process has no other memory to give
 * away. */
int download_give(int vault, const char *op, const struct tg_bytes *bytes, const atomic_bool *stop,
		  struct tg_error *e);

#endif

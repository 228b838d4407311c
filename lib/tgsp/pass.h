/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Goes over a whole payload. Two threads, one of them the caller's, read a segment
 * each, hash it and handle it, and take the next one that nobody has. Neither waits
 * for the other, except to read, so that it costs nothing when one of them is kept
 * from running; and a segment stays in one processor's cache.
 */
#ifndef TGSP_PASS_H
#define TGSP_PASS_H

#include "tgsp/package.h"

enum { TGSP_WORKERS = 2 };

struct tgsp_read_segment {
	uint64_t position;
	uint8_t *text;		/* secret memory that may be written over */
	size_t len;
	bool last;
};

/* Handles a segment. Called by all workers, each with its number from 0, at once and in any order. */
typedef int tgsp_each(void *ctx, unsigned worker, const struct tgsp_read_segment *segment,
		      struct tg_error *e);

/*
 * From where the package's descriptor stands to its end, which must be that of the payload; then the Merkle
 * root is compared. `each` may be NULL. Of several errors the first in the file is returned.
 */
int tgsp_pass(const struct tg_tgsp *package, tgsp_each *each, void *ctx,
	      const struct tg_tgsp_progress *progress, struct tg_error *e);

/* -EBADMSG unless that is the root that was signed. */
int tgsp_check_root(const struct tg_tgsp *package, const struct tg_merkle *tree, struct tg_error *e);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A package on its way into the store, from a descriptor that may be a pipe: verified segment by segment as
 * it lands, written to KEY.partial, and taken up again after any kind of end. What is on the disk is hashed
 * anew when it is taken up: the tree is what the bytes are, and a stored one could say something else.
 */
#ifndef AGENT_VAULT_INSTALL_H
#define AGENT_VAULT_INSTALL_H

#include <limits.h>
#include <stdint.h>

#include "tensorguard/tgsp.h"

struct install {
	char path[PATH_MAX];
	int fd;			 /* of the file, locked */
	uint64_t size;		 /* what the whole file has to have */
	uint64_t offset;	 /* where it goes on: 0, or the end of a whole segment */
	struct tg_tgsp *package; /* NULL as long as its front is not there */
	struct tg_tgsp_verifier verifier;
	_Atomic uint64_t *progress; /* gets `offset`, for others to look at; NULL: nobody does */
};

/* Whether the package may be installed at all, as soon as its front is there and before the rest comes. */
typedef int install_accept(void *ctx, const struct tg_tgsp *package, struct tg_error *e);

/* Opens the file, or begins it. -EBUSY: somebody else is at it. */
int install_begin(const char *path, uint64_t size, struct install *ret_install, struct tg_error *e);

/*
 * Room on the disk for all of it, where the file system can do that; install_run() does so after `accept`,
 * which may before, while it holds what it counted. -ENOSPC and other errors of fallocate(2).
 */
int install_reserve(const struct install *install, struct tg_error *e);

/*
 * Reads from `from`, from `offset` on, until the file is complete, and `from` has to end then. `stop` is a
 * descriptor that becomes readable when it has to give up. What came of whole segments stays on the disk
 * unless it is wrong: -EBADMSG and what `accept` said remove the file. -EAGAIN: it ended too early.
 */
int install_run(struct install *install, int from, int stop, install_accept *accept, void *ctx,
		struct tg_error *e);

/* Closes; the file stays. */
void install_end(struct install *install);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers that only grow: the lowest release of each model that may still be
 * opened, the versions of trust documents seen last. They are kept in a file
 * with a MAC, and tied to a monotonic counter (a TPM's) where there is one: then
 * an older copy of the file is recognised. Without one, who can write the file
 * can put an older copy back; who has not the MAC's key can do nothing else.
 */
#ifndef TENSORGUARD_FLOOR_H
#define TENSORGUARD_FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

#define TG_FLOOR_KEY_LEN 32
#define TG_FLOOR_MAX_ENTRIES 4096
#define TG_FLOOR_MAX_NAME 80

/* A counter that never goes back, such as a TPM's NV counter. */
struct tg_floor_counter {
	int (*read)(void *ctx, uint64_t *ret_value, struct tg_error *e); /* -ENOENT: there is none yet */
	int (*increment)(void *ctx, struct tg_error *e);
	void *ctx;
	int (*define)(void *ctx, struct tg_error *e); /* makes it; only tg_floor_tie() does that */
};

struct tg_floor;

/*
 * Opens the file, or with `create` begins an empty one where there is none, which
 * is for a device's first time only: who can remove the file can otherwise have it
 * begun anew. It is written with the first tg_floor_raise(). The file is locked until
 * tg_floor_close(). `counter` may be NULL and is borrowed; a file that was tied to
 * one does not open without it, nor the reverse. Errors: -ENOENT; -EBADMSG for a
 * file that is damaged or has another key's MAC; -ESTALE for an older copy;
 * -EBUSY when another process has it open.
 */
int tg_floor_open(const char *path, const uint8_t key[static TG_FLOOR_KEY_LEN],
		  const struct tg_floor_counter *counter, bool create, struct tg_floor **ret_floor,
		  struct tg_error *e);

/*
 * The same when the counter is not at hand yet. What the numbers say is not to be relied on, and a floor
 * that is tied cannot be raised, until tg_floor_tie() has succeeded.
 */
int tg_floor_open_later(const char *path, const uint8_t key[static TG_FLOOR_KEY_LEN], bool create,
			struct tg_floor **ret_floor, struct tg_error *e);
/* Whether the file is tied to a counter. */
bool tg_floor_is_tied(const struct tg_floor *floor);

/*
 * Holds the floor against its counter, which is borrowed; again as often as one
 * likes. A floor that is tied to none is tied now, and the counter made for it: if
 * there is one already, the file is a copy from before, or a new one in the place
 * of one that was lost. NULL: this device has no counter. -ESTALE for whatever is
 * not the last state, else the counter's errors.
 */
int tg_floor_tie(struct tg_floor *floor, const struct tg_floor_counter *counter, struct tg_error *e);

/* 0 for a name without an entry. */
uint64_t tg_floor_get(struct tg_floor *floor, const char *name);

struct tg_floor_entry {
	const char *name;	/* 1 to TG_FLOOR_MAX_NAME bytes */
	uint64_t value;
};

/*
 * Raises entries that are lower, all or none, and returns when that is on the disk
 * (and in the counter). Values that are not higher change nothing. If the counter
 * alone fails, they are raised nevertheless, and it is made to follow next time.
 */
int tg_floor_raise(struct tg_floor *floor, const struct tg_floor_entry *entries, size_t count,
		   struct tg_error *e);

/* NULL-safe. */
void tg_floor_close(struct tg_floor *floor);

#endif

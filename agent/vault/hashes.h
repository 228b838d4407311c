/* SPDX-License-Identifier: BSD-3-Clause */
/* A set of manifest hashes that is kept in a file of vault's folder, one a line, and replaced as a whole. */
#ifndef AGENT_VAULT_HASHES_H
#define AGENT_VAULT_HASHES_H

#include <limits.h>
#include <stdbool.h>

#include "tensorguard/crypto.h"

struct hashes {
	char path[PATH_MAX];
	uint8_t (*list)[TG_SHA256_LEN];
	size_t count, max;
};

/* An empty set where there is no file. -EBADMSG: it is damaged. */
int hashes_load(const char *path, size_t max, struct hashes *ret_hashes, struct tg_error *e);
void hashes_free(struct hashes *hashes);
bool hashes_have(const struct hashes *hashes, const uint8_t hash[static TG_SHA256_LEN]);
/* On the disk when it returns; what fails changes nothing. -ENOSPC: there are `max` already. */
int hashes_add(struct hashes *hashes, const uint8_t hash[static TG_SHA256_LEN], struct tg_error *e);
int hashes_remove(struct hashes *hashes, const uint8_t hash[static TG_SHA256_LEN], struct tg_error *e);

#endif

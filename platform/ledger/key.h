/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ledger's key in the data directory: audit.key (Ed25519), and audit.vkey, its public half with the log's
 * name, as clients of transparency logs take it: "NAME+HASH+BASE64".
 */
#ifndef PLATFORM_LEDGER_KEY_H
#define PLATFORM_LEDGER_KEY_H

#include <openssl/evp.h>

#include "tensorguard/tlog.h"

struct ledger_key {
	EVP_PKEY *key;		/* NULL: only the public half was asked for */
	struct tg_tlog_key public;
	char text[TG_TLOG_KEY_SIZE];
};

/* Makes both files with a name that nobody else has; -EEXIST when there is one of them. */
int ledger_key_make(const char *directory, const char *passphrase, struct tg_error *e);
/*
 * -ENOENT: both are missing, because the directory is older than the ledger. -EBADMSG: they do not belong
 * together, or one is missing: a log that was published must not get another key unnoticed.
 */
int ledger_key_load(const char *directory, const char *passphrase, struct ledger_key *ret_key,
		    struct tg_error *e);
/* The public half alone. */
int ledger_key_public(const char *directory, struct ledger_key *ret_key, struct tg_error *e);
void ledger_key_clear(struct ledger_key *key);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys of a device without a TPM: P-256 in files that are encrypted by a secret
 * which is not on that disk in clear. PKCS #8, "ENCRYPTED PRIVATE KEY" in PEM:
 * AES-256-CBC with a key that scrypt (N 16384, r 8, p 1: 16 MiB for a moment)
 * makes of the secret. `openssl pkey` reads it.
 */
#ifndef TENSORGUARD_SOFTKEY_H
#define TENSORGUARD_SOFTKEY_H

#include <openssl/types.h>

#include "tensorguard/bytes.h"
#include "tensorguard/error.h"

#define TG_SOFTKEY_SECRET_MAX 1024

/*
 * The secret from a descriptor that somebody passed on: all that is left to read,
 * but for one newline at its end. -EINVAL if that is nothing, -EFBIG above
 * TG_SOFTKEY_SECRET_MAX bytes. The descriptor stays open. Free it with tg_bytes_free.
 */
int tg_softkey_secret_from_fd(int fd, struct tg_bytes *ret_secret, struct tg_error *e);
/*
 * The secret from the credential of that name which systemd decrypted for this
 * service (LoadCredentialEncrypted=, systemd-creds(1)), byte by byte. -ENOENT:
 * the service has none.
 */
int tg_softkey_secret_from_credential(const char *name, struct tg_bytes *ret_secret, struct tg_error *e);

/* Makes a key and saves it; the caller frees it with EVP_PKEY_free. */
int tg_softkey_create(const char *path, const struct tg_bytes *secret, EVP_PKEY **ret_key,
		      struct tg_error *e);
/* Replaces the file as a whole or not at all, with mode 0600. -EINVAL unless the key is P-256. */
int tg_softkey_save(const EVP_PKEY *key, const char *path, const struct tg_bytes *secret, struct tg_error *e);
/*
 * -EACCES: the secret is not this file's, or the file was altered. -EBADMSG: no
 * such file; a key in clear is one of these. -ENOENT and the like as open(2) has them.
 */
int tg_softkey_load(const char *path, const struct tg_bytes *secret, EVP_PKEY **ret_key, struct tg_error *e);

#endif

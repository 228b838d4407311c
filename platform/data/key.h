/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private keys and certificates of the Platform in files. Keys are PKCS #8, encrypted (scrypt, AES-256) if
 * there is a passphrase.
 */
#ifndef PLATFORM_DATA_KEY_H
#define PLATFORM_DATA_KEY_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "tensorguard/error.h"

/* "P-256" for certificates, "ED25519" for policies. */
int key_generate(const char *kind, EVP_PKEY **ret_key, struct tg_error *e);
/* Creates the file; `passphrase` may be NULL. */
int key_save(const char *path, const EVP_PKEY *key, const char *passphrase, struct tg_error *e);
/* -EKEYREJECTED when the file is encrypted and the passphrase is missing or wrong. */
int key_load(const char *path, const char *passphrase, EVP_PKEY **ret_key, struct tg_error *e);
/* The public half as PEM. */
int key_save_public(const char *path, const EVP_PKEY *key, struct tg_error *e);

int cert_save(const char *path, X509 *cert, struct tg_error *e);
/* The first certificate of a PEM file; those behind it into *ret_chain, if that is not NULL. */
int cert_load(const char *path, X509 **ret_cert, STACK_OF(X509) * *ret_chain, struct tg_error *e);

#endif

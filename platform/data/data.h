/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data directory, mode 0700:
 *
 *	ca.key, ca.crt			the certificate authority
 *	server.key, server.crt		what the server shows; server.crt may hold a chain
 *	server.key.next			the key of server.crt, while a renewal is under way or after it broke
 *					off
 *	operator.key, operator.crt	the first operator's client certificate
 *	policy.key, policy.pub		Ed25519, signs policies
 *	audit.key, audit.vkey		Ed25519, signs the audit ledger's checkpoints
 *	ek-roots/			certificates of TPM vendors that EKs may end at, and revocation lists
 *	store				the store's address; written last: without it the directory is not
 *					complete
 *	platform.db			the SQLite store, unless the address names another
 */
#ifndef PLATFORM_DATA_DATA_H
#define PLATFORM_DATA_DATA_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "data/file.h"
#include "store/store.h"
#include "tensorguard/bytes.h"
#include "tensorguard/error.h"

#define DATA_DIRECTORY "/var/lib/tensorguard-platform"

struct data_init {
	const char *directory;
	const char *store;	/* address, or NULL for platform.db */
	const char *names;	/* of the server: host names and IP addresses, separated by "," */
	const char *server_cert, *server_key;	/* files to be taken over, or both NULL */
	const char *passphrase;	/* for all private keys but the operator's, or NULL */
};

/* Makes the directory's content. -EEXIST when there is some already; nothing is changed then. */
int data_init(const struct data_init *init, struct tg_error *e);

/*
 * A new key and a certificate for it that lives a year, for an operator called `name`, in two new files. The
 * key is not encrypted: it is carried to the operator's machine, which knows nothing of our passphrase. What
 * the store has to know of it is in *ret_operator.
 */
int data_operator_make(EVP_PKEY *ca_key, X509 *ca_cert, const char *name, const char *key_path,
		       const char *cert_path, struct store_operator *ret_operator, struct tg_error *e);

struct data_renewal {
	const char *directory;
	const char *passphrase;	/* as in struct data_init */
	const char *names;	/* as there; NULL: those of the certificate that is there */
	const char *server_cert, *server_key;	/* likewise */
};

/*
 * Puts a new key and certificate of the server in the place of the old ones, so that after a crash there are
 * the old ones or the new ones. -EBUSY while another renewal is under way; -EINVAL when the old certificate
 * is of another CA and no new one is given.
 */
int data_server_renew(const struct data_renewal *renewal, struct tg_error *e);

/*
 * For init and renewal: "a.example,192.0.2.1" as the server's certificate for `key`, of the CA; a given
 * certificate and its key, compared.
 */
int data_server_issue(EVP_PKEY *ca_key, X509 *ca_cert, EVP_PKEY *key, const char *names, X509 **ret_cert,
		      struct tg_error *e);
int data_server_take(const char *cert_path, const char *key_path, EVP_PKEY **ret_key, char **ret_chain,
		     size_t *ret_len, struct tg_error *e);

/* The store's address, for store_open(). -ENOENT with a hint when the directory has not been made. */
int data_store_url(const char *directory, char *ret_url, size_t size, struct tg_error *e);

/* What `serve` needs, in memory. */
struct data_keys {
	EVP_PKEY *ca_key, *server_key;
	X509 *ca_cert, *server_cert;
	STACK_OF(X509) * server_chain;
	struct tg_bytes policy_key;	/* the public half, SubjectPublicKeyInfo in DER */
};
int data_keys_load(const char *directory, const char *passphrase, struct data_keys *ret_keys,
		   struct tg_error *e);
void data_keys_free(struct data_keys *keys);
/* What signs policies. */
int data_policy_key_load(const char *directory, const char *passphrase, EVP_PKEY **ret_key,
			 struct tg_error *e);
/* Its public half alone, SubjectPublicKeyInfo in DER. */
int data_policy_public_load(const char *directory, struct tg_bytes *ret_spki, struct tg_error *e);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of the OpenSSL provider. Its functions return 1 or 0 as OpenSSL's do, and put the reason on its
 * queue. */
#ifndef LIB_TPM_PROVIDER_H
#define LIB_TPM_PROVIDER_H

#include <openssl/core_dispatch.h>
#include <stdatomic.h>

#include "tensorguard/tpm.h"

#define PROVIDER_NAME "tensorguard-tpm"
/* Key parameter that holds a pointer to a struct provider_key of this process, as an octet string. */
#define PROVIDER_KEY_PARAM "tensorguard-key"

enum { SIGNATURE_MAX = 72 };	/* ECDSA over P-256 in DER */

/* A key is never changed once it is made: threads share it by counting its holders. */
struct provider_key {
	atomic_uint holders;
	struct tg_tpm *tpm;	/* NULL if this is the public half alone */
	struct tg_tpm_key key;
	uint8_t point[TG_TPM_POINT_BYTES];
};

struct provider_key *provider_key_ref(struct provider_key *key);
void provider_key_unref(struct provider_key *key);

/* The key behind what OpenSSL hands over for one; NULL if there is none. */
struct provider_key *provider_key_of(void *data);

/* An entry of a dispatch table. */
#define FUNCTION(id, function)                 \
	{                                      \
		id, (void (*)(void))(function) \
	}
extern const OSSL_DISPATCH tg_provider_keymgmt[], tg_provider_signature[];

/* An error onto OpenSSL's queue; returns 0. */
int provider_error(const char *message);

#endif

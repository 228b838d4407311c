/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>

#include "tensorguard/x25519.h"

int tg_x25519_generate(uint8_t ret_private[static TG_X25519_LEN], struct tg_error *e)
{
	if (getrandom(ret_private, TG_X25519_LEN, 0) != TG_X25519_LEN) {
		explicit_bzero(ret_private, TG_X25519_LEN);
		return tg_error(e, -EIO, "no random bytes are to be had");
	}
	ret_private[0] &= 248;
	ret_private[31] &= 127;
	ret_private[31] |= 64;
	return 0;
}

int tg_x25519_public(const uint8_t private_key[static TG_X25519_LEN],
		     uint8_t ret_public[static TG_X25519_LEN], struct tg_error *e)
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, TG_X25519_LEN);
	size_t len = TG_X25519_LEN;
	int done = key && EVP_PKEY_get_raw_public_key(key, ret_public, &len) == 1 && len == TG_X25519_LEN;

	/* it wipes what it held */
	EVP_PKEY_free(key);
	return done ? 0 : tg_error(e, -EIO, "no public key could be made of a private one");
}

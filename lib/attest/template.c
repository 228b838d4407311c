/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tensorguard/tpm_public.h"

#define FIXED (TG_TPMA_FIXED_TPM | TG_TPMA_FIXED_PARENT | TG_TPMA_SENSITIVE_DATA_ORIGIN)
#define EK_ATTRIBUTES (FIXED | TG_TPMA_ADMIN_WITH_POLICY | TG_TPMA_RESTRICTED | TG_TPMA_DECRYPT)
/* How a key is authorised is its owner's choice; what it may be used for is not. */
#define FREE (TG_TPMA_USER_WITH_AUTH | TG_TPMA_ADMIN_WITH_POLICY | TG_TPMA_NO_DA)

/* PolicySecret(TPM_RH_ENDORSEMENT): EK Credential Profile 2.5, B.3 */
static const uint8_t ek_policy[TG_SHA256_LEN] = {
	0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
	0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};

static int refuse(struct tg_error *e, const char *what)
{
	return tg_error(e, -EKEYREJECTED, "%s", what);
}

static int check_ek(const struct tg_tpm_public *p, struct tg_error *e)
{
	if (p->attributes != EK_ATTRIBUTES)
		return tg_error(e, -EKEYREJECTED, "EK: attributes %#x are not those of the TCG's template",
				p->attributes);
	if (p->policy_len != sizeof(ek_policy) || memcmp(p->policy, ek_policy, sizeof(ek_policy)))
		return refuse(e, "EK: the policy is not that of the TCG's template");
	if (p->symmetric != TG_TPM_ALG_AES || p->symmetric_bits != 128 || p->symmetric_mode != TG_TPM_ALG_CFB)
		return refuse(e, "EK: its symmetric algorithm is not AES-128-CFB");
	if (p->scheme != TG_TPM_ALG_NULL)
		return refuse(e, "EK: a scheme is set");
	if (p->type == TG_TPM_ALG_RSA && (p->rsa_bits != 2048 || p->exponent))
		return refuse(e, "EK: not RSA with 2048 bits and the default exponent");
	return 0;
}

static int check_attributes(const struct tg_tpm_public *p, uint32_t wanted, const char *key,
			    struct tg_error *e)
{
	if ((p->attributes & ~(uint32_t)FREE) == wanted)
		return 0;
	return tg_error(e, -EKEYREJECTED, "%s: attributes %#x, expected %#x besides how it is authorised",
			key, p->attributes, wanted);
}

static int check_ak(const struct tg_tpm_public *p, struct tg_error *e)
{
	int ret = check_attributes(p, FIXED | TG_TPMA_RESTRICTED | TG_TPMA_SIGN, "AK", e);

	if (ret)
		return ret;
	if (p->scheme == TG_TPM_ALG_NULL || p->scheme == TG_TPM_ALG_ECDH)
		return refuse(e, "AK: no explicit signing scheme");
	if (p->scheme_hash != TG_TPM_ALG_SHA256)
		return refuse(e, "AK: its scheme does not use SHA-256");
	if (p->symmetric != TG_TPM_ALG_NULL)
		return refuse(e, "AK: a symmetric algorithm is set");
	if (p->type == TG_TPM_ALG_RSA && p->rsa_bits < 2048)
		return refuse(e, "AK: fewer than 2048 bits of RSA");
	return 0;
}

/* A P-256 key for one use, with no scheme or that of the use. */
static int check_plain(const struct tg_tpm_public *p, uint32_t use, uint16_t scheme, const char *key,
		       struct tg_error *e)
{
	int ret = check_attributes(p, FIXED | use, key, e);

	if (ret)
		return ret;
	if (p->type != TG_TPM_ALG_ECC)
		return tg_error(e, -EKEYREJECTED, "%s: not a P-256 key", key);
	if (p->symmetric != TG_TPM_ALG_NULL)
		return tg_error(e, -EKEYREJECTED, "%s: a symmetric algorithm is set", key);
	if (p->scheme != TG_TPM_ALG_NULL && (p->scheme != scheme || p->scheme_hash != TG_TPM_ALG_SHA256))
		return tg_error(e, -EKEYREJECTED, "%s: its scheme %#x is for another use", key, p->scheme);
	return 0;
}

int tg_tpm_public_check(const struct tg_tpm_public *public, enum tg_tpm_role role, struct tg_error *e)
{
	switch (role) {
	case TG_TPM_ROLE_EK:
		return check_ek(public, e);
	case TG_TPM_ROLE_AK:
		return check_ak(public, e);
	case TG_TPM_ROLE_TLS:
		return check_plain(public, TG_TPMA_SIGN, TG_TPM_ALG_ECDSA, "TLS key", e);
	case TG_TPM_ROLE_HPKE:
		return check_plain(public, TG_TPMA_DECRYPT, TG_TPM_ALG_ECDH, "HPKE key", e);
	}
	return tg_error(e, -EINVAL, "no such role of a key: %d", (int)role);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

#include "attest/reader.h"
#include "tensorguard/tpm_public.h"

enum { TPM_ECC_NIST_P256 = 3 };

/* TPMT_SYM_DEF_OBJECT */
static void read_symmetric(struct reader *r, struct tg_tpm_public *p)
{
	p->symmetric = (uint16_t)read_be(r, 2);
	if (p->symmetric == TG_TPM_ALG_NULL)
		return;
	if (p->symmetric != TG_TPM_ALG_AES)
		r->failed = true;
	p->symmetric_bits = (uint16_t)read_be(r, 2);
	p->symmetric_mode = (uint16_t)read_be(r, 2);
}

/* TPMT_RSA_SCHEME, TPMT_ECC_SCHEME: the schemes that are taken have a digest and nothing else. */
static void read_scheme(struct reader *r, struct tg_tpm_public *p)
{
	p->scheme = (uint16_t)read_be(r, 2);
	switch (p->scheme) {
	case TG_TPM_ALG_NULL:
		return;
	case TG_TPM_ALG_RSASSA:
	case TG_TPM_ALG_RSAPSS:
		r->failed |= p->type != TG_TPM_ALG_RSA;
		break;
	case TG_TPM_ALG_ECDSA:
	case TG_TPM_ALG_ECDH:
		r->failed |= p->type != TG_TPM_ALG_ECC;
		break;
	default:
		r->failed = true;
	}
	p->scheme_hash = (uint16_t)read_be(r, 2);
}

static void read_rsa(struct reader *r, struct tg_tpm_public *p)
{
	const uint8_t *modulus;
	size_t len;

	p->rsa_bits = (unsigned)read_be(r, 2);
	p->exponent = (uint32_t)read_be(r, 4);
	modulus = read_sized(r, sizeof(p->modulus), &len);
	if (!modulus || len * 8 != p->rsa_bits)
		r->failed = true;
	else
		memcpy(p->modulus, modulus, len);
}

/* A coordinate, which some TPMs give without its leading zeros. */
static const uint8_t *read_coordinate(struct reader *r, uint8_t ret_padded[static 32], size_t *ret_len)
{
	const uint8_t *field = read_sized(r, 32, ret_len);

	if (!field || !*ret_len) {
		r->failed = true;
		return NULL;
	}
	memcpy(ret_padded + 32 - *ret_len, field, *ret_len);
	return field;
}

static void read_ecc(struct reader *r, struct tg_tpm_public *p)
{
	const uint8_t *x;
	size_t y_len;

	if (read_be(r, 2) != TPM_ECC_NIST_P256 || read_be(r, 2) != TG_TPM_ALG_NULL) /* curve, KDF */
		r->failed = true;
	p->point[0] = POINT_CONVERSION_UNCOMPRESSED;
	x = read_coordinate(r, p->point + 1, &p->x_len);
	if (x)
		memcpy(p->x, x, p->x_len);
	read_coordinate(r, p->point + 33, &y_len);
}

static void read_public(struct reader *r, struct tg_tpm_public *p)
{
	const uint8_t *policy;

	p->type = (uint16_t)read_be(r, 2);
	if (read_be(r, 2) != TG_TPM_ALG_SHA256)
		r->failed = true;
	p->attributes = (uint32_t)read_be(r, 4);
	policy = read_sized(r, sizeof(p->policy), &p->policy_len);
	if (policy)
		memcpy(p->policy, policy, p->policy_len);
	if (p->policy_len && p->policy_len != sizeof(p->policy))
		r->failed = true;
	if (p->type != TG_TPM_ALG_RSA && p->type != TG_TPM_ALG_ECC)
		r->failed = true;
	if (r->failed)
		return;
	read_symmetric(r, p);
	read_scheme(r, p);
	if (p->type == TG_TPM_ALG_RSA)
		read_rsa(r, p);
	else
		read_ecc(r, p);
}

int tg_tpm_public_parse(const void *data, size_t len, struct tg_tpm_public *ret_public, struct tg_error *e)
{
	struct reader whole = reader_of(data, len), r;
	struct tg_tpm_public public = { .name = { TG_TPM_ALG_SHA256 >> 8, TG_TPM_ALG_SHA256 & 0xff } };
	const uint8_t *area;
	size_t area_len;
	int ret;

	area = read_sized(&whole, TG_TPM_PUBLIC_MAX, &area_len);
	if (!area || !read_whole(&whole))
		return tg_error(e, -EINVAL, "not a TPM2B_PUBLIC: its size is wrong");
	r = reader_of(area, area_len);
	read_public(&r, &public);
	if (!read_whole(&r))
		return tg_error(e, -EINVAL, "not a TPM2B_PUBLIC of an RSA or P-256 key with SHA-256");
	ret = tg_sha256(&(struct tg_piece){ area, area_len }, 1, public.name + 2, e);
	if (!ret)
		*ret_public = public;
	return ret;
}

static int rsa_key(const struct tg_tpm_public *public, EVP_PKEY **ret_key)
{
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	BIGNUM *n = BN_bin2bn(public->modulus, (int)(public->rsa_bits / 8), NULL);
	OSSL_PARAM *params = NULL;
	EVP_PKEY *key = NULL;
	int ret = -EIO;

	if (!builder || !context || !n)
		goto out;
	if (OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) != 1 ||
	    OSSL_PARAM_BLD_push_uint32(builder, OSSL_PKEY_PARAM_RSA_E, 65537) != 1)
		goto out;
	params = OSSL_PARAM_BLD_to_param(builder);
	if (!params || EVP_PKEY_fromdata_init(context) != 1 ||
	    EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		goto out;
	*ret_key = key;
	key = NULL;
	ret = 0;
out:
	EVP_PKEY_free(key);
	OSSL_PARAM_free(params);
	BN_free(n);
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_BLD_free(builder);
	return ret;
}

int tg_tpm_public_key(const struct tg_tpm_public *public, EVP_PKEY **ret_key, struct tg_error *e)
{
	size_t len = public->rsa_bits / 8;

	if (public->type == TG_TPM_ALG_ECC)
		return tg_p256_from_point(public->point, ret_key, e);
	if (len < 128 || !(public->modulus[0] & 0x80) || !(public->modulus[len - 1] & 1))
		return tg_error(e, -EINVAL, "not an RSA modulus of %u bits", public->rsa_bits);
	if (public->exponent && public->exponent != 65537)
		return tg_error(e, -EINVAL, "RSA exponent %u: only 65537 is taken", public->exponent);
	if (rsa_key(public, ret_key))
		return tg_openssl_error(e, -EIO, "the RSA key cannot be loaded");
	return 0;
}

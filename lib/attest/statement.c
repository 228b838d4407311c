/* SPDX-License-Identifier: BSD-3-Clause */
/* What an AK signed, and whether it did. */
#include <errno.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "attest/parts.h"
#include "attest/reader.h"

static const uint32_t generated_value =
	0xff544347; /* only a TPM signs, with a restricted key, what begins so */
enum { TPM_MAX_DIGEST = 64, TPM_MAX_NAME = 2 + TPM_MAX_DIGEST, PCR_SELECT_LEN = 3 };

/* TPML_PCR_SELECTION. Anything but one selection of 24 bits in the SHA-256 bank reads as none. */
static uint32_t read_selection(struct reader *r)
{
	uint32_t count = (uint32_t)read_be(r, 4), mask = 0;

	if (count > 16)
		r->failed = true;
	for (uint32_t i = 0; i < count && !r->failed; i++) {
		bool sha256 = read_be(r, 2) == TG_TPM_ALG_SHA256;
		size_t len = (size_t)read_be(r, 1);
		const uint8_t *select = read_bytes(r, len);

		if (select && sha256 && count == 1 && len == PCR_SELECT_LEN)
			mask = (uint32_t)(select[0] | select[1] << 8 | select[2] << 16);
	}
	return mask;
}

int attest_parse(const struct tg_bytes *bytes, unsigned type, struct statement *ret_statement,
		 struct tg_error *e)
{
	struct reader r = reader_of(bytes->data, bytes->len);
	struct statement s = { 0 };
	size_t unused;

	if (bytes->len > TG_ATTEST_MAX)
		return tg_error(e, -EINVAL, "a TPMS_ATTEST of %zu bytes", bytes->len);
	if (read_be(&r, 4) != generated_value)
		return tg_error(e, -EINVAL, "a TPMS_ATTEST that was not made inside a TPM: wrong magic");
	if (read_be(&r, 2) != type)
		return tg_error(e, -EINVAL, "a TPMS_ATTEST of another type than %#x", type);
	read_sized(&r, TPM_MAX_NAME, &unused); /* qualifiedSigner: depends on the hierarchy */
	s.extra = read_sized(&r, TPM_MAX_NAME, &s.extra_len);
	read_be(&r, 8); /* clock */
	s.reset_count = (uint32_t)read_be(&r, 4);
	s.restart_count = (uint32_t)read_be(&r, 4);
	if (read_be(&r, 1) > 1)	/* safe */
		r.failed = true;
	s.firmware = read_be(&r, 8);
	if (type == STATEMENT_CERTIFY) {
		s.name = read_sized(&r, TPM_MAX_NAME, &s.name_len);
		read_sized(&r, TPM_MAX_NAME, &unused); /* qualifiedName */
	} else {
		s.pcr_mask = read_selection(&r);
		s.digest = read_sized(&r, TPM_MAX_DIGEST, &s.digest_len);
	}
	if (!read_whole(&r))
		return tg_error(e, -EINVAL, "a TPMS_ATTEST that is cut off or has bytes behind it");
	*ret_statement = s;
	return 0;
}

/* TPMS_SIGNATURE_ECC as the DER that OpenSSL takes; the caller frees it. */
static int ecdsa_der(struct reader *r, unsigned char **ret_der, size_t *ret_len)
{
	size_t r_len, s_len;
	const uint8_t *r_data = read_sized(r, 32, &r_len), *s_data = read_sized(r, 32, &s_len);
	ECDSA_SIG *signature;
	BIGNUM *r_value, *s_value;
	int len;

	if (!read_whole(r) || !r_len || !s_len)
		return -EINVAL;
	signature = ECDSA_SIG_new();
	r_value = BN_bin2bn(r_data, (int)r_len, NULL);
	s_value = BN_bin2bn(s_data, (int)s_len, NULL);
	if (!signature || ECDSA_SIG_set0(signature, r_value, s_value) != 1) {
		BN_free(r_value);
		BN_free(s_value);
		ECDSA_SIG_free(signature);
		return -ENOMEM;
	}
	len = i2d_ECDSA_SIG(signature, ret_der);
	ECDSA_SIG_free(signature);
	if (len <= 0)
		return -ENOMEM;
	*ret_len = (size_t)len;
	return 0;
}

static int rsa_signature(struct reader *r, unsigned char **ret_data, size_t *ret_len)
{
	const uint8_t *data = read_sized(r, TG_TPM_RSA_MAX, ret_len);

	if (!read_whole(r) || !*ret_len)
		return -EINVAL;
	*ret_data = OPENSSL_memdup(data, *ret_len);
	return *ret_data ? 0 : -ENOMEM;
}

static bool set_padding(EVP_PKEY_CTX *context, uint16_t scheme)
{
	if (scheme == TG_TPM_ALG_ECDSA)
		return true;
	if (scheme == TG_TPM_ALG_RSASSA)
		return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
	return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_AUTO) == 1;
}

static int verify(EVP_PKEY *key, uint16_t scheme, const unsigned char *signature, size_t signature_len,
		  const struct tg_bytes *bytes, struct tg_error *e)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key_context = NULL;
	int ret;

	if (!context || EVP_DigestVerifyInit(context, &key_context, EVP_sha256(), NULL, key) != 1 ||
	    !set_padding(key_context, scheme))
		ret = tg_openssl_error(e, -EIO, "the AK's signature cannot be checked");
	else if (EVP_DigestVerify(context, signature, signature_len, bytes->data, bytes->len) != 1)
		ret = tg_openssl_error(e, -EKEYREJECTED, "not a signature of the AK");
	else
		ret = 0;
	EVP_MD_CTX_free(context);
	return ret;
}

int attest_check_signature(const struct tg_tpm_public *ak, const struct tg_bytes *signature,
			   const struct tg_bytes *bytes, struct tg_error *e)
{
	struct reader r = reader_of(signature->data, signature->len);
	unsigned char *plain = NULL;
	EVP_PKEY *key = NULL;
	size_t len = 0;
	int ret;

	if (read_be(&r, 2) != ak->scheme || read_be(&r, 2) != ak->scheme_hash || r.failed)
		return tg_error(e, -EKEYREJECTED, "not a TPMT_SIGNATURE by the AK's scheme");
	ret = ak->scheme == TG_TPM_ALG_ECDSA ? ecdsa_der(&r, &plain, &len) : rsa_signature(&r, &plain, &len);
	if (ret == -EINVAL)
		return tg_error(e, -EKEYREJECTED, "not a TPMT_SIGNATURE: cut off, or bytes behind it");
	if (ret)
		return tg_openssl_error(e, ret, "the AK's signature cannot be read");
	ret = tg_tpm_public_key(ak, &key, e);
	if (!ret)
		ret = verify(key, ak->scheme, plain, len, bytes, e);
	EVP_PKEY_free(key);
	OPENSSL_free(plain);
	return ret;
}

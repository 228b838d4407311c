/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "tensorguard/certificate.h"
#include "tensorguard/crypto.h"

static bool signed_well(X509_REQ *request)
{
	int digest, key;

	return OBJ_find_sigid_algs(X509_REQ_get_signature_nid(request), &digest, &key) == 1 &&
	       key == NID_X9_62_id_ecPublicKey &&
	       (digest == NID_sha256 || digest == NID_sha384 || digest == NID_sha512);
}

static int check_request(X509_REQ *request, EVP_PKEY *key, struct tg_error *e)
{
	uint8_t point[TG_P256_POINT_LEN];
	int ret = key ? tg_p256_point(key, point, e) : tg_openssl_error(e, -EINVAL, "request: no key");

	if (ret)
		return tg_error_prefix(e, ret, "request");
	if (X509_REQ_get_version(request) != X509_REQ_VERSION_1)
		return tg_error(e, -EINVAL, "request: not of version 1");
	if (!signed_well(request))
		return tg_error(e, -EINVAL, "request: not signed by ECDSA with SHA-256 or better");
	if (X509_REQ_verify(request, key) != 1)
		return tg_openssl_error(e, -EINVAL, "request: not signed by its own key");
	return 0;
}

int tg_request_parse(const void *der, size_t len, EVP_PKEY **ret_key, struct tg_error *e)
{
	const unsigned char *at = der;
	X509_REQ *request = NULL;
	EVP_PKEY *key = NULL;
	int ret;

	if (len && len <= TG_REQUEST_MAX)
		request = d2i_X509_REQ(NULL, &at, (long)len);
	if (!request || at != (const unsigned char *)der + len) {
		ret = tg_openssl_error(e, -EINVAL, "not a certification request in DER");
	} else {
		key = X509_REQ_get_pubkey(request);
		ret = check_request(request, key, e);
	}
	if (ret)
		EVP_PKEY_free(key);
	else
		*ret_key = key;
	X509_REQ_free(request);
	return ret;
}

int tg_request_make(EVP_PKEY *key, const char *name, struct tg_bytes *ret_der, struct tg_error *e)
{
	X509_REQ *request = X509_REQ_new();
	X509_NAME *subject = request ? X509_REQ_get_subject_name(request) : NULL;
	unsigned char *der = NULL;
	int len = -1, ret;

	if (subject && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
	    X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, (const unsigned char *)name,
				       -1, -1, 0) == 1 &&
	    X509_REQ_set_pubkey(request, key) == 1 && X509_REQ_sign(request, key, EVP_sha256()) > 0)
		len = i2d_X509_REQ(request, &der);
	if (len > 0)
		ret = tg_bytes_copy(der, (size_t)len, ret_der);
	else
		ret = tg_openssl_error(e, -EIO, "no certification request could be made");
	OPENSSL_free(der);
	X509_REQ_free(request);
	return ret;
}

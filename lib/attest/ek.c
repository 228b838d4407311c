/* SPDX-License-Identifier: BSD-3-Clause */
/* Certificates of endorsement keys: TCG EK Credential Profile for TPM Family 2.0, 2.5, 3; and what revokes
 * them. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "attest/parts.h"

enum { DEPTH_MAX = TG_EK_CERTIFICATES_MAX };
static const char ek_purpose[] = "2.23.133.8.1"; /* tcg-kp-EKCertificate */
/* tcg-at-tpmManufacturer, -Model, -Version: what the directory name in the subjectAltName has to say */
static const char *const ek_attributes[] = { "2.23.133.2.1", "2.23.133.2.2", "2.23.133.2.3" };

struct tg_attest_roots *tg_attest_roots_ref(struct tg_attest_roots *roots)
{
	if (roots)
		atomic_fetch_add(&roots->users, 1);
	return roots;
}

void tg_attest_roots_free(struct tg_attest_roots *roots)
{
	if (!roots || atomic_fetch_sub(&roots->users, 1) > 1)
		return;
	X509_STORE_free(roots->store);
	free(roots);
}

int64_t tg_attest_roots_crl_end(const struct tg_attest_roots *roots)
{
	return roots ? roots->crl_end : 0;
}

static bool self_signed(X509 *certificate)
{
	return X509_self_signed(certificate, 0) == 1;
}

static int open_file(const char *path, BIO **ret_file, struct tg_error *e)
{
	int ret;

	*ret_file = BIO_new_file(path, "r");
	if (*ret_file)
		return 0;
	ret = errno ? -errno : -EIO;
	ERR_clear_error();
	return tg_error(e, ret, "%s: %s", path, strerror(-ret));
}

/* All certificates of a PEM file. */
static int load_certificates(struct tg_attest_roots *roots, const char *path, struct tg_error *e)
{
	size_t found = 0;
	X509 *certificate;
	unsigned long last;
	BIO *file;
	int ret = open_file(path, &file, e);

	if (ret)
		return ret;
	while (!ret && (certificate = PEM_read_bio_X509(file, NULL, NULL, NULL))) {
		if (X509_STORE_add_cert(roots->store, certificate) != 1)
			ret = tg_openssl_error(e, -ENOMEM, path);
		roots->roots += self_signed(certificate);
		found++;
		X509_free(certificate);
	}
	last = ERR_peek_last_error();
	if (!ret && (!found || ERR_GET_REASON(last) != PEM_R_NO_START_LINE))
		ret = tg_error(e, -EINVAL, "%s: not a file of certificates in PEM", path);
	ERR_clear_error();
	BIO_free(file);
	return ret;
}

/* Vendors publish lists in DER; PEM is taken too. */
static X509_CRL *read_crl(BIO *file)
{
	X509_CRL *crl = PEM_read_bio_X509_CRL(file, NULL, NULL, NULL);

	if (!crl && BIO_reset(file) == 0)
		crl = d2i_X509_CRL_bio(file, NULL);
	return crl;
}

/* A list that says nothing about its end is none that can be trusted tomorrow. */
static int crl_end(const X509_CRL *crl, int64_t *ret_end)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
	struct tm tm;

	if (!next || ASN1_TIME_to_tm(next, &tm) != 1)
		return -EINVAL;
	*ret_end = timegm(&tm);
	return 0;
}

/* What its issuer's signature is worth is found out when a chain needs it. */
static int load_crl(struct tg_attest_roots *roots, const char *path, struct tg_error *e)
{
	X509_CRL *crl;
	int64_t end = 0;
	BIO *file;
	int ret = open_file(path, &file, e);

	if (ret)
		return ret;
	crl = read_crl(file);
	if (!crl || crl_end(crl, &end))
		ret = tg_error(e, -EINVAL, "%s: not a certificate revocation list that says when it ends",
			       path);
	else if (X509_STORE_add_crl(roots->store, crl) != 1)
		ret = tg_openssl_error(e, -ENOMEM, path);
	if (!ret) {
		if (!roots->crls++ || end < roots->crl_end)
			roots->crl_end = end;
	}
	ERR_clear_error();
	X509_CRL_free(crl);
	BIO_free(file);
	return ret;
}

static bool has_ending(const char *name, const char *ending)
{
	const char *dot = strrchr(name, '.');

	return name[0] != '.' && dot && !strcmp(dot, ending);
}

static int load_file(struct tg_attest_roots *roots, const char *path, const char *name, struct tg_error *e)
{
	if (has_ending(name, ".pem") || has_ending(name, ".crt"))
		return load_certificates(roots, path, e);
	return has_ending(name, ".crl") ? load_crl(roots, path, e) : 0;
}

static int load_folder(struct tg_attest_roots *roots, const char *path, struct tg_error *e)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	int ret = 0;

	if (!folder)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	while (!ret && (entry = readdir(folder))) {
		char file[PATH_MAX];

		if ((size_t)snprintf(file, sizeof(file), "%s/%s", path, entry->d_name) >= sizeof(file))
			ret = tg_error(e, -ENAMETOOLONG, "%s: a path that is too long", path);
		else
			ret = load_file(roots, file, entry->d_name, e);
	}
	closedir(folder);
	return ret;
}

int tg_attest_roots_load(const char *path, struct tg_attest_roots **ret_roots, struct tg_error *e)
{
	struct tg_attest_roots *roots;
	struct stat info;
	int ret;

	if (stat(path, &info))
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	roots = calloc(1, sizeof(*roots));
	if (!roots)
		return -ENOMEM;
	roots->users = 1;
	roots->store = X509_STORE_new();
	if (!roots->store)
		ret = tg_openssl_error(e, -ENOMEM, "no store for certificates");
	else
		ret = S_ISDIR(info.st_mode) ? load_folder(roots, path, e) : load_certificates(roots, path, e);
	if (!ret && !roots->roots)
		ret = tg_error(e, -EINVAL, "%s: no root among its certificates", path);
	if (ret)
		tg_attest_roots_free(roots);
	else
		*ret_roots = roots;
	return ret;
}

/* One DER certificate to its last byte. */
static int parse_certificate(const struct tg_bytes *der, X509 **ret_certificate, struct tg_error *e)
{
	const unsigned char *at = der->data;
	X509 *certificate = NULL;

	if (der->len && der->len <= TG_EK_CERTIFICATE_MAX)
		certificate = d2i_X509(NULL, &at, (long)der->len);
	if (!certificate || at != der->data + der->len) {
		X509_free(certificate);
		return tg_openssl_error(e, -EINVAL, "not a certificate in DER");
	}
	*ret_certificate = certificate;
	return 0;
}

/* Certificates in DER, one behind the other: what the store keeps. */
static int parse_kept(const struct tg_bytes *kept, X509 **ret_leaf, STACK_OF(X509) * chain,
		      struct tg_error *e)
{
	const unsigned char *at = kept->data, *end = kept->data + kept->len;

	while (at < end) {
		X509 *certificate = d2i_X509(NULL, &at, (long)(end - at));

		if (!certificate)
			return tg_openssl_error(e, -EINVAL, "the EK chain that was kept cannot be read");
		if (!*ret_leaf) {
			*ret_leaf = certificate;
		} else if (!sk_X509_push(chain, certificate)) {
			X509_free(certificate);
			return tg_openssl_error(e, -ENOMEM, "the chain cannot be kept");
		}
	}
	return *ret_leaf ? 0
			 : tg_error(e, -EINVAL, "no EK certificate was kept: the device must enrol again");
}

static int parse_chain(const struct tg_attest_claim *claim, X509 **ret_leaf, STACK_OF(X509) * chain,
		       struct tg_error *e)
{
	int ret = parse_certificate(&claim->ek_certificates[0], ret_leaf, e);

	for (size_t i = 1; !ret && i < claim->ek_certificate_count; i++) {
		X509 *certificate = NULL;

		ret = parse_certificate(&claim->ek_certificates[i], &certificate, e);
		if (!ret && !sk_X509_push(chain, certificate)) {
			X509_free(certificate);
			ret = tg_openssl_error(e, -ENOMEM, "the chain cannot be kept");
		}
	}
	return ret;
}

/* OpenSSL takes old forms of CA certificates for CAs as well; here only a CA is one that says so. */
static int check_authorities(X509_STORE_CTX *context, struct tg_error *e)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(context);

	for (int i = 1; i < sk_X509_num(chain); i++)
		if (X509_check_ca(sk_X509_value(chain, i)) != 1)
			return tg_error(e, -EKEYREJECTED,
					"EK chain: a certificate above the EK's is no CA's");
	return 0;
}

/* A list is looked at where there is one: not every authority of a chain publishes any. */
static int forgive_missing_lists(int ok, X509_STORE_CTX *context)
{
	return ok || X509_STORE_CTX_get_error(context) == X509_V_ERR_UNABLE_TO_GET_CRL;
}

/*
 * No purpose is given to OpenSSL: an EK serves none that it knows; check_leaf()
 * looks at the leaf. Level 1 refuses what is signed by means of SHA-1 or MD5.
 */
static void set_rules(X509_STORE_CTX *context, const struct tg_attest_roots *roots, int64_t now)
{
	X509_VERIFY_PARAM *rules = X509_STORE_CTX_get0_param(context);

	if (roots->crls) {
		X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
		X509_STORE_CTX_set_verify_cb(context, forgive_missing_lists);
	}

	X509_VERIFY_PARAM_set_time(rules, (time_t)now);
	X509_VERIFY_PARAM_set_depth(rules, DEPTH_MAX);
	X509_VERIFY_PARAM_set_auth_level(rules, 1);
}

static int verify_chain(const struct tg_attest_roots *roots, X509 *leaf, STACK_OF(X509) * chain, int64_t now,
			struct tg_error *e)
{
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	int ret;

	if (!context || X509_STORE_CTX_init(context, roots->store, leaf, chain) != 1) {
		ret = tg_openssl_error(e, -ENOMEM, "the EK chain cannot be checked");
		goto out;
	}
	set_rules(context, roots, now);
	if (X509_verify_cert(context) == 1) {
		ret = check_authorities(context, e);
	} else {
		int error = X509_STORE_CTX_get_error(context);

		ret = tg_error(e, error == X509_V_ERR_OUT_OF_MEM ? -ENOMEM : -EKEYREJECTED, "EK chain: %s",
			       X509_verify_cert_error_string(error));
	}
	ERR_clear_error();
out:
	X509_STORE_CTX_free(context);
	return ret;
}

static bool has_purpose(X509 *leaf)
{
	EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(leaf, NID_ext_key_usage, NULL, NULL);
	ASN1_OBJECT *wanted = OBJ_txt2obj(ek_purpose, 1);
	bool found = false;

	for (int i = 0; wanted && i < sk_ASN1_OBJECT_num(usages); i++)
		found |= !OBJ_cmp(sk_ASN1_OBJECT_value(usages, i), wanted);
	ASN1_OBJECT_free(wanted);
	EXTENDED_KEY_USAGE_free(usages);
	return found;
}

static bool names_tpm(const X509_NAME *name)
{
	for (size_t i = 0; i < sizeof(ek_attributes) / sizeof(ek_attributes[0]); i++) {
		ASN1_OBJECT *attribute = OBJ_txt2obj(ek_attributes[i], 1);
		bool found = attribute && X509_NAME_get_index_by_OBJ(name, attribute, -1) >= 0;

		ASN1_OBJECT_free(attribute);
		if (!found)
			return false;
	}
	return true;
}

/* The subjectAltName, critical where the subject is empty, is a directory name that says which TPM it is. */
static bool has_tpm_name(X509 *leaf)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		found |= name->type == GEN_DIRNAME && names_tpm(name->d.directoryName);
	}
	GENERAL_NAMES_free(names);
	return found;
}

static bool usage_fits(X509 *leaf, const EVP_PKEY *key)
{
	uint32_t usage = X509_get_key_usage(leaf); /* all bits when there is no such extension */

	return usage & (EVP_PKEY_is_a(key, "EC") ? X509v3_KU_KEY_AGREEMENT : X509v3_KU_KEY_ENCIPHERMENT);
}

static int check_leaf(X509 *leaf, const EVP_PKEY *key, struct tg_error *e)
{
	if (X509_get_version(leaf) != X509_VERSION_3)
		return tg_error(e, -EKEYREJECTED, "EK certificate: not of version 3");
	if (X509_get_extension_flags(leaf) & EXFLAG_INVALID)
		return tg_error(e, -EKEYREJECTED, "EK certificate: an extension cannot be read");
	/* X509_check_ca() says no for a CA whose key usage lets it sign nothing */
	if (X509_get_extension_flags(leaf) & EXFLAG_CA || X509_check_ca(leaf))
		return tg_error(e, -EKEYREJECTED, "EK certificate: a CA's");
	if (!has_purpose(leaf))
		return tg_error(e, -EKEYREJECTED, "EK certificate: not for the purpose %s", ek_purpose);
	if (!usage_fits(leaf, key))
		return tg_error(e, -EKEYREJECTED, "EK certificate: its key usage is not that of an EK");
	if (!has_tpm_name(leaf))
		return tg_error(e, -EKEYREJECTED, "EK certificate: its subjectAltName names no TPM");
	return 0;
}

/* `ek_key` NULL: it was compared before. */
static int check_certificate(const struct tg_attest_roots *roots, X509 *leaf, STACK_OF(X509) * chain,
			     const EVP_PKEY *ek_key, int64_t now, enum tg_attest_reason *ret_reason,
			     struct tg_error *e)
{
	const EVP_PKEY *key = X509_get0_pubkey(leaf);
	int ret;

	if (!key)
		return attest_blame(tg_openssl_error(e, -EINVAL, "EK certificate: its key cannot be read"),
				    TG_ATTEST_EK_CERTIFICATE, ret_reason);
	ret = verify_chain(roots, leaf, chain, now, e);
	if (ret)
		return attest_blame(ret, TG_ATTEST_EK_CHAIN, ret_reason);
	ret = check_leaf(leaf, key, e);
	if (ret)
		return attest_blame(ret, TG_ATTEST_EK_CERTIFICATE, ret_reason);
	if (ek_key && EVP_PKEY_eq(key, ek_key) != 1)
		return attest_refuse(ret_reason, TG_ATTEST_EK_KEY, e, "the EK is not its certificate's key");
	return 0;
}

/* Exactly one of `claim` and `kept` is given. */
static int check_ek(const struct tg_attest_roots *roots, const struct tg_attest_claim *claim,
		    const struct tg_bytes *kept, const EVP_PKEY *ek_key, int64_t now,
		    enum tg_attest_reason *ret_reason, struct tg_error *e)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509 *leaf = NULL;
	int ret;

	if (!roots)
		ret = attest_refuse(ret_reason, TG_ATTEST_EK_CHAIN, e, "EK chain: no root is pinned");
	else if (!chain)
		ret = attest_blame(tg_openssl_error(e, -ENOMEM, "the EK chain cannot be kept"),
				   TG_ATTEST_INTERNAL, ret_reason);
	else
		ret = attest_blame(claim ? parse_chain(claim, &leaf, chain, e)
					 : parse_kept(kept, &leaf, chain, e),
				   TG_ATTEST_EK_CERTIFICATE, ret_reason);
	if (!ret)
		ret = check_certificate(roots, leaf, chain, ek_key, now, ret_reason, e);
	X509_free(leaf);
	sk_X509_pop_free(chain, X509_free);
	return ret;
}

int attest_check_ek(const struct tg_attest_roots *roots, const struct tg_attest_claim *claim,
		    const EVP_PKEY *ek_key, int64_t now, enum tg_attest_reason *ret_reason,
		    struct tg_error *e)
{
	return check_ek(roots, claim, NULL, ek_key, now, ret_reason, e);
}

int attest_check_kept_ek(const struct tg_attest_roots *roots, const struct tg_bytes *chain, int64_t now,
			 enum tg_attest_reason *ret_reason, struct tg_error *e)
{
	return check_ek(roots, NULL, chain, NULL, now, ret_reason, e);
}

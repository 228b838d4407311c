/* SPDX-License-Identifier: BSD-3-Clause */
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faketpm.h"
#include "tensorguard/certificate.h"

#define MUST(condition) must(condition, #condition, __LINE__)

static void must(bool condition, const char *text, int line)
{
	if (condition)
		return;
	fprintf(stderr, "faketpm.c:%d: %s\n", line, text);
	abort();
}

struct writer {
	uint8_t data[TG_EVENT_LOG_MAX / 8];
	size_t len;
};

static void put(struct writer *w, const void *data, size_t len)
{
	MUST(len <= sizeof(w->data) - w->len);
	memcpy(w->data + w->len, data, len);
	w->len += len;
}

static void put_be(struct writer *w, uint64_t value, int len)
{
	while (len--)
		put(w, &(uint8_t){ (uint8_t)(value >> (8 * len)) }, 1);
}

static void put_le(struct writer *w, uint64_t value, int len)
{
	for (int i = 0; i < len; i++)
		put(w, &(uint8_t){ (uint8_t)(value >> (8 * i)) }, 1);
}

static void put_sized(struct writer *w, const void *data, size_t len)
{
	put_be(w, len, 2);
	put(w, data, len);
}

static struct tg_bytes written(const struct writer *w)
{
	struct tg_bytes bytes;

	MUST(!tg_bytes_copy(w->data, w->len, &bytes));
	return bytes;
}

static void put_rsa(struct writer *w, EVP_PKEY *key)
{
	uint8_t modulus[TG_TPM_RSA_MAX];
	BIGNUM *n = NULL;
	int len;

	MUST(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) == 1);
	len = BN_bn2bin(n, modulus);
	put_be(w, (uint64_t)len * 8, 2);
	put_be(w, 0, 4);
	put_sized(w, modulus, (size_t)len);
	BN_free(n);
}

static void put_ecc(struct writer *w, EVP_PKEY *key, bool short_x)
{
	uint8_t point[TG_P256_POINT_LEN];

	MUST(!tg_p256_point(key, point, NULL));
	put_be(w, 3, 2);
	put_be(w, TG_TPM_ALG_NULL, 2);
	put_sized(w, point + 1 + short_x, 32 - short_x);
	put_sized(w, point + 33, 32);
}

struct tg_bytes fake_public(EVP_PKEY *key, uint32_t attributes, bool ek, uint16_t scheme, bool short_x)
{
	static const uint8_t policy[] = {
		0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc,
		0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52,
		0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
	};
	bool rsa = EVP_PKEY_is_a(key, "RSA");
	static struct writer w, sized;

	w.len = sized.len = 0;
	put_be(&w, rsa ? TG_TPM_ALG_RSA : TG_TPM_ALG_ECC, 2);
	put_be(&w, TG_TPM_ALG_SHA256, 2);
	put_be(&w, attributes, 4);
	put_sized(&w, policy, ek ? sizeof(policy) : 0);
	put_be(&w, ek ? TG_TPM_ALG_AES : TG_TPM_ALG_NULL, 2);
	if (ek) {
		put_be(&w, 128, 2);
		put_be(&w, TG_TPM_ALG_CFB, 2);
	}
	put_be(&w, scheme, 2);
	if (scheme != TG_TPM_ALG_NULL)
		put_be(&w, TG_TPM_ALG_SHA256, 2);
	if (rsa)
		put_rsa(&w, key);
	else
		put_ecc(&w, key, short_x);
	put_sized(&sized, w.data, w.len);
	return written(&sized);
}

static EVP_PKEY *new_p256(void)
{
	EVP_PKEY *key = NULL;

	MUST(!tg_p256_generate(&key, NULL));
	return key;
}

/* RSA keys take long to make: each role has one for the whole run. */
enum rsa_role { RSA_ROOT, RSA_ISSUER, RSA_OTHER_ROOT, RSA_EK, RSA_AK, RSA_ROLES };

static EVP_PKEY *rsa_key(enum rsa_role role)
{
	static EVP_PKEY *keys[RSA_ROLES];

	if (!keys[role])
		keys[role] = EVP_RSA_gen(2048);
	MUST(keys[role] && EVP_PKEY_up_ref(keys[role]) == 1);
	return keys[role];
}

static EVP_PKEY *new_short_p256(void)
{
	uint8_t point[TG_P256_POINT_LEN];
	EVP_PKEY *key;

	for (;;) {
		key = new_p256();
		MUST(!tg_p256_point(key, point, NULL));
		if (!point[1] && point[2])
			return key;
		EVP_PKEY_free(key);
	}
}

static void add_ext(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX context;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	MUST(extension && X509_add_ext(certificate, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

static X509 *certificate_begin(EVP_PKEY *key, X509 *issuer, const char *name, int64_t from, int64_t to)
{
	X509 *certificate = X509_new();
	time_t begin = (time_t)from, end = (time_t)to;
	static long serial;

	MUST(certificate && X509_set_version(certificate, X509_VERSION_3) == 1 &&
	     ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial) == 1 &&
	     X509_time_adj_ex(X509_getm_notBefore(certificate), 0, 0, &begin) &&
	     X509_time_adj_ex(X509_getm_notAfter(certificate), 0, 0, &end) &&
	     X509_set_pubkey(certificate, key) == 1);
	if (name)
		MUST(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
						(const unsigned char *)name, -1, -1, 0) == 1);
	MUST(X509_set_issuer_name(certificate, X509_get_subject_name(issuer ? issuer : certificate)) == 1);
	return certificate;
}

static int64_t now_of(const struct fake *fake)
{
	return fake->options.now ? fake->options.now : FAKE_NOW;
}

static X509 *new_ca(const struct fake *fake, EVP_PKEY *key, const char *name, X509 *issuer,
		    EVP_PKEY *issuer_key, bool ca)
{
	const int64_t year = 365 * 86400;
	X509 *certificate =
		certificate_begin(key, issuer, name, now_of(fake) - 5 * year, now_of(fake) + 5 * year);

	add_ext(certificate, certificate, NID_basic_constraints,
		ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	add_ext(certificate, certificate, NID_key_usage,
		ca ? "critical,keyCertSign,cRLSign" : "digitalSignature");
	MUST(X509_sign(certificate, issuer_key, EVP_sha256()) > 0);
	return certificate;
}

/* The critical subjectAltName of a certificate whose subject is empty. */
static void add_tpm_name(X509 *certificate)
{
	static const char *const attributes[][2] = { { "2.23.133.2.1", "id:54475446" },
						     { "2.23.133.2.2", "fake" },
						     { "2.23.133.2.3", "id:00010000" } };
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *name = GENERAL_NAME_new();
	X509_NAME *directory = X509_NAME_new();

	MUST(names && name && directory);
	for (size_t i = 0; i < 3; i++) {
		ASN1_OBJECT *object = OBJ_txt2obj(attributes[i][0], 1);

		MUST(X509_NAME_add_entry_by_OBJ(directory, object, MBSTRING_UTF8,
						(const unsigned char *)attributes[i][1], -1, -1, 0) == 1);
		ASN1_OBJECT_free(object);
	}
	GENERAL_NAME_set0_value(name, GEN_DIRNAME, directory);
	MUST(sk_GENERAL_NAME_push(names, name) > 0 &&
	     X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 1, 0) == 1);
	GENERAL_NAMES_free(names);
}

static void add_unknown_critical(X509 *certificate)
{
	ASN1_OBJECT *object = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *extension;

	MUST(object && value && ASN1_OCTET_STRING_set(value, (const unsigned char *)"\5\0", 2) == 1);
	extension = X509_EXTENSION_create_by_OBJ(NULL, object, 1, value);
	MUST(extension && X509_add_ext(certificate, extension, -1) == 1);
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(object);
}

static struct tg_bytes certificate_der(X509 *certificate)
{
	struct tg_bytes bytes = { 0 };
	unsigned char *der = NULL;
	int len = i2d_X509(certificate, &der);

	MUST(len > 0 && !tg_bytes_copy(der, (size_t)len, &bytes));
	OPENSSL_free(der);
	return bytes;
}

static struct tg_bytes new_ek_certificate(const struct fake *fake, X509 *issuer)
{
	enum fake_certificate kind = fake->options.certificate;
	const int64_t year = 365 * 86400;
	int64_t from = now_of(fake) - year, to = now_of(fake) + year;
	bool key_agreement = fake->options.ek_ecc != (kind == FAKE_CERTIFICATE_WRONG_USAGE);
	struct tg_bytes der;
	X509 *certificate;

	if (kind == FAKE_CERTIFICATE_EXPIRED)
		to = now_of(fake) - 1;
	if (kind == FAKE_CERTIFICATE_FUTURE)
		from = now_of(fake) + 1;
	certificate = certificate_begin(kind == FAKE_CERTIFICATE_OTHER_KEY ? fake->other : fake->ek, issuer,
					NULL, from, to);
	add_ext(certificate, issuer, NID_basic_constraints,
		kind == FAKE_CERTIFICATE_CA ? "critical,CA:TRUE" : "critical,CA:FALSE");
	add_ext(certificate, issuer, NID_key_usage,
		key_agreement ? "critical,keyAgreement" : "critical,keyEncipherment");
	add_ext(certificate, issuer, NID_ext_key_usage,
		kind == FAKE_CERTIFICATE_NO_PURPOSE ? "clientAuth" : "2.23.133.8.1");
	if (kind == FAKE_CERTIFICATE_NO_NAME)
		add_ext(certificate, issuer, NID_subject_alt_name, "critical,DNS:tpm.example");
	else
		add_tpm_name(certificate);
	if (kind == FAKE_CERTIFICATE_UNKNOWN_CRITICAL)
		add_unknown_critical(certificate);
	MUST(X509_sign(certificate, fake->issuer_key,
		       kind == FAKE_CERTIFICATE_SHA1 ? EVP_sha1() : EVP_sha256()) > 0);
	der = certificate_der(certificate);
	if (kind == FAKE_CERTIFICATE_TRAILING) {
		der.data = realloc(der.data, der.len + 1);
		MUST(der.data);
		der.data[der.len++] = 0;
	}
	if (kind == FAKE_CERTIFICATE_GARBAGE)
		der.data[1] ^= 0x40;
	X509_free(certificate);
	return der;
}

static void make_vendor(struct fake *fake)
{
	enum fake_certificate kind = fake->options.certificate;
	EVP_PKEY *other_key = NULL;
	X509 *other = NULL, *issuer;

	fake->root_key = rsa_key(RSA_ROOT);
	fake->issuer_key = rsa_key(RSA_ISSUER);
	fake->root = new_ca(fake, fake->root_key, "Fake TPM root", NULL, fake->root_key, true);
	if (kind == FAKE_CERTIFICATE_OTHER_ROOT) {
		other_key = rsa_key(RSA_OTHER_ROOT);
		other = new_ca(fake, other_key, "Fake TPM root", NULL, other_key, true);
	}
	issuer = new_ca(fake, fake->issuer_key, "Fake TPM issuer", other ? other : fake->root,
			other ? other_key : fake->root_key, kind != FAKE_CERTIFICATE_LEAF_ISSUER);
	fake->issuer = issuer;
	if (kind != FAKE_CERTIFICATE_NONE) {
		fake->claim.ek_certificates[0] = new_ek_certificate(fake, issuer);
		fake->claim.ek_certificates[1] = certificate_der(issuer);
		fake->claim.ek_certificate_count = 2;
		if (other)
			fake->claim.ek_certificates[fake->claim.ek_certificate_count++] =
				certificate_der(other);
	}
	X509_free(other);
	EVP_PKEY_free(other_key);
}

static void name_of(const struct tg_bytes *public, uint8_t ret_name[static TG_TPM_NAME_LEN])
{
	ret_name[0] = 0;
	ret_name[1] = TG_TPM_ALG_SHA256;
	MUST(EVP_Digest(public->data + 2, public->len - 2, ret_name + 2, NULL, EVP_sha256(), NULL) == 1);
}

static uint16_t ak_scheme(const struct fake *fake)
{
	if (!fake->options.ak_rsa)
		return TG_TPM_ALG_ECDSA;
	return fake->options.ak_pss ? TG_TPM_ALG_RSAPSS : TG_TPM_ALG_RSASSA;
}

static uint32_t or_else(uint32_t option, uint32_t otherwise)
{
	return option ? option : otherwise;
}

struct fake *fake_new(const struct fake_options *options)
{
	struct fake *fake = calloc(1, sizeof(*fake));
	const struct fake_options *o = &fake->options;

	MUST(fake);
	fake->options = *options;
	if (o->ek_ecc)
		fake->ek = o->ek_short_x ? new_short_p256() : new_p256();
	else
		fake->ek = rsa_key(RSA_EK);
	fake->ak = o->ak_rsa ? rsa_key(RSA_AK) : new_p256();
	fake->tls = new_p256();
	fake->hpke = new_p256();
	fake->other = new_p256();
	make_vendor(fake);
	fake->claim.ek_public = fake_public(fake->ek, or_else(o->ek_attributes, FAKE_EK_ATTRIBUTES), true,
					    TG_TPM_ALG_NULL, o->ek_short_x);
	fake->claim.ak_public = fake_public(fake->ak, or_else(o->ak_attributes, FAKE_AK_ATTRIBUTES), false,
					    (uint16_t)or_else(o->ak_scheme, ak_scheme(fake)), false);
	fake->claim.tls_public = fake_public(fake->tls, or_else(o->tls_attributes, FAKE_TLS_ATTRIBUTES),
					     false, TG_TPM_ALG_NULL, false);
	fake->claim.hpke_public = fake_public(fake->hpke, or_else(o->hpke_attributes, FAKE_HPKE_ATTRIBUTES),
					      false, TG_TPM_ALG_NULL, false);
	name_of(&fake->claim.ak_public, fake->ak_name);
	name_of(&fake->claim.tls_public, fake->tls_name);
	name_of(&fake->claim.hpke_public, fake->hpke_name);
	fake->event_log = fake_event_log(fake->pcrs);
	return fake;
}

void fake_free(struct fake *fake)
{
	if (!fake)
		return;
	tg_attest_claim_clear(&fake->claim);
	tg_bytes_free(&fake->event_log);
	X509_free(fake->root);
	X509_free(fake->issuer);
	EVP_PKEY_free(fake->root_key);
	EVP_PKEY_free(fake->issuer_key);
	EVP_PKEY_free(fake->ek);
	EVP_PKEY_free(fake->ak);
	EVP_PKEY_free(fake->tls);
	EVP_PKEY_free(fake->hpke);
	EVP_PKEY_free(fake->other);
	free(fake);
}

static void add_revoked(X509_CRL *crl, const struct fake *fake, bool of_root, const ASN1_TIME *when)
{
	const unsigned char *at = fake->claim.ek_certificates[0].data;
	X509 *leaf = d2i_X509(NULL, &at, (long)fake->claim.ek_certificates[0].len);
	X509_REVOKED *entry = X509_REVOKED_new();

	MUST(leaf && entry &&
	     X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(of_root ? fake->issuer : leaf)) ==
		     1 &&
	     X509_REVOKED_set_revocationDate(entry, (ASN1_TIME *)(uintptr_t)when) == 1 &&
	     X509_CRL_add0_revoked(crl, entry) == 1);
	X509_free(leaf);
}

void fake_list_write(const struct fake *fake, const struct fake_list *list, const char *path)
{
	int64_t until = list->until ? list->until : now_of(fake) + 86400;
	ASN1_TIME *from = ASN1_TIME_adj(NULL, (time_t)now_of(fake) - 86400, 0, 0),
		  *to = ASN1_TIME_adj(NULL, (time_t)until, 0, 0);
	EVP_PKEY *key = list->of_root ? fake->root_key : fake->issuer_key;
	X509_CRL *crl = X509_CRL_new();
	FILE *file = fopen(path, "we");

	MUST(crl && file && from && to && X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
	     X509_CRL_set_issuer_name(
		     crl, X509_get_subject_name(list->of_root ? fake->root : fake->issuer)) == 1 &&
	     X509_CRL_set1_lastUpdate(crl, from) == 1 &&
	     (list->no_end || X509_CRL_set1_nextUpdate(crl, to) == 1));
	if (list->revokes)
		add_revoked(crl, fake, list->of_root, from);
	MUST(X509_CRL_sort(crl) == 1 &&
	     X509_CRL_sign(crl, list->foreign_key ? fake->other : key, EVP_sha256()) > 0);
	MUST(i2d_X509_CRL_fp(file, crl) == 1 && !fclose(file));
	X509_CRL_free(crl);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
}

static void write_root(const struct fake *fake, const char *path)
{
	FILE *file = fopen(path, "we");

	MUST(file && PEM_write_X509(file, fake->root) == 1 && !fclose(file));
}

struct tg_attest_roots *fake_roots(const struct fake *fake)
{
	return fake_roots_with(fake, NULL, 0);
}

struct tg_attest_roots *fake_roots_with(const struct fake *fake, const struct fake_list *lists, size_t count)
{
	char folder[] = "/tmp/tg-fake-roots-XXXXXX", path[64];
	struct tg_attest_roots *roots = NULL;
	struct tg_error e;

	MUST(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/root.pem", folder);
	write_root(fake, path);
	for (size_t i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%zu.crl", folder, i);
		fake_list_write(fake, &lists[i], path);
	}
	MUST(!tg_attest_roots_load(folder, &roots, &e));
	for (size_t i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%zu.crl", folder, i);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/root.pem", folder);
	unlink(path);
	rmdir(folder);
	return roots;
}

static bool kdf(const char *algorithm, OSSL_PARAM *params, uint8_t *key, size_t len)
{
	EVP_KDF *method = EVP_KDF_fetch(NULL, algorithm, NULL);
	EVP_KDF_CTX *context = EVP_KDF_CTX_new(method);
	bool done = context && EVP_KDF_derive(context, key, len, params) == 1;

	EVP_KDF_CTX_free(context);
	EVP_KDF_free(method);
	return done;
}

/* KDFa is the counter mode of SP 800-108 */
static void kdf_a(uint8_t *seed, const char *label, const uint8_t *context, size_t context_len, uint8_t *key,
		  size_t len)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_utf8_string("mac", (char *)"HMAC", 4),
		OSSL_PARAM_utf8_string("digest", (char *)"SHA256", 6),
		OSSL_PARAM_octet_string("key", seed, TG_SHA256_LEN),
		OSSL_PARAM_octet_string("salt", (char *)label, strlen(label)),
		OSSL_PARAM_octet_string("info", (uint8_t *)context, context_len),
		OSSL_PARAM_END,
	};

	MUST(kdf("KBKDF", params, key, len));
}

/* KDFe is the one-step derivation of SP 800-56C */
static void kdf_e(uint8_t *z, uint8_t *info, size_t info_len, uint8_t *seed)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_utf8_string("digest", (char *)"SHA256", 6),
		OSSL_PARAM_octet_string("key", z, 32),
		OSSL_PARAM_octet_string("info", info, info_len),
		OSSL_PARAM_END,
	};

	MUST(kdf("SSKDF", params, seed, TG_SHA256_LEN));
}

static bool seed_rsa(const struct fake *fake, const struct tg_bytes *secret, uint8_t *seed)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(fake->ek, NULL);
	size_t len = 256;
	uint8_t plain[256];
	bool done = EVP_PKEY_decrypt_init(context) == 1 &&
		    EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
		    EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) == 1 &&
		    EVP_PKEY_CTX_set0_rsa_oaep_label(context, OPENSSL_memdup("IDENTITY", 9), 9) == 1 &&
		    EVP_PKEY_decrypt(context, plain, &len, secret->data + 2, secret->len - 2) == 1 &&
		    len == 32;

	EVP_PKEY_CTX_free(context);
	if (done)
		memcpy(seed, plain, 32);
	return done;
}

static bool seed_ecc(const struct fake *fake, const struct tg_bytes *secret, uint8_t *seed)
{
	uint8_t point[TG_P256_POINT_LEN] = { 4 }, own[TG_P256_POINT_LEN], z[32], info[9 + 64] = "IDENTITY";
	size_t len = sizeof(z), skip = fake->options.ek_short_x;
	EVP_PKEY_CTX *context;
	EVP_PKEY *peer = NULL;
	bool done;

	MUST(secret->len == 2 + 68);
	memcpy(point + 1, secret->data + 4, 32);
	memcpy(point + 33, secret->data + 38, 32);
	MUST(!tg_p256_from_point(point, &peer, NULL) && !tg_p256_point(fake->ek, own, NULL));
	context = EVP_PKEY_CTX_new(fake->ek, NULL);
	done = EVP_PKEY_derive_init(context) == 1 && EVP_PKEY_derive_set_peer(context, peer) == 1 &&
	       EVP_PKEY_derive(context, z, &len) == 1;
	memcpy(info + 9, point + 1, 32);
	memcpy(info + 41, own + 1 + skip, 32 - skip);
	kdf_e(z, info, sizeof(info) - skip, seed);
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(peer);
	return done;
}

bool fake_activate(const struct fake *fake, const struct tg_attest_challenge *challenge,
		   const uint8_t name[static TG_TPM_NAME_LEN], uint8_t ret_secret[static TG_SHA256_LEN])
{
	uint8_t seed[32], key[32], mac[32], plain[64], covered[34 + TG_TPM_NAME_LEN], iv[16] = { 0 };
	const uint8_t *blob = challenge->credential.data;
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	unsigned mac_len = sizeof(mac);
	int len;

	MUST(challenge->credential.len == 2 + 2 + 32 + 34);
	MUST(fake->options.ek_ecc ? seed_ecc(fake, &challenge->secret, seed)
				  : seed_rsa(fake, &challenge->secret, seed));
	kdf_a(seed, "INTEGRITY", NULL, 0, key, 32);
	memcpy(covered, blob + 36, 34);
	memcpy(covered + 34, name, TG_TPM_NAME_LEN);
	MUST(HMAC(EVP_sha256(), key, 32, covered, sizeof(covered), mac, &mac_len) != NULL);
	kdf_a(seed, "STORAGE", name, TG_TPM_NAME_LEN, key, 16);
	MUST(EVP_DecryptInit_ex(cipher, EVP_aes_128_cfb128(), NULL, key, iv) == 1 &&
	     EVP_DecryptUpdate(cipher, plain, &len, blob + 36, 34) == 1 && len == 34);
	EVP_CIPHER_CTX_free(cipher);
	memcpy(ret_secret, plain + 2, 32);
	return !memcmp(mac, blob + 4, 32) && plain[0] == 0 && plain[1] == 32;
}

static void put_signature(struct writer *w, const struct fake *fake, EVP_PKEY *ak,
			  const struct tg_bytes *attest)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key_context;
	uint8_t signature[512];
	size_t len = sizeof(signature);
	bool rsa = EVP_PKEY_is_a(ak, "RSA");

	put_be(w, rsa ? ak_scheme(fake) : TG_TPM_ALG_ECDSA, 2);
	put_be(w, TG_TPM_ALG_SHA256, 2);
	MUST(EVP_DigestSignInit(context, &key_context, EVP_sha256(), NULL, ak) == 1);
	if (rsa && fake->options.ak_pss)
		MUST(EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING) == 1 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context, RSA_PSS_SALTLEN_DIGEST) == 1);
	MUST(EVP_DigestSign(context, signature, &len, attest->data, attest->len) == 1);
	EVP_MD_CTX_free(context);
	if (rsa) {
		put_sized(w, signature, len);
	} else {
		const unsigned char *at = signature;
		ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)len);
		uint8_t number[32];

		BN_bn2binpad(ECDSA_SIG_get0_r(pair), number, 32);
		put_sized(w, number, 32);
		BN_bn2binpad(ECDSA_SIG_get0_s(pair), number, 32);
		put_sized(w, number, 32);
		ECDSA_SIG_free(pair);
	}
}

static void put_head(struct writer *w, const struct fake *fake, uint16_t type, const uint8_t *binding)
{
	put_be(w, or_else(fake->options.magic, 0xff544347), 4);
	put_be(w, type, 2);
	put_sized(w, fake->ak_name, TG_TPM_NAME_LEN); /* of the right shape; nobody can check it */
	put_sized(w, binding, TG_BINDING_LEN);
	put_be(w, 12345, 8);
	put_be(w, 7, 4);
	put_be(w, 1, 4);
	put_be(w, 1, 1);
	put_be(w, 0x2024010100000000, 8);
}

static struct tg_attest_statement sign(const struct fake *fake, EVP_PKEY *ak, const struct writer *attest)
{
	struct tg_attest_statement statement = { .attest = written(attest) };
	static struct writer w;

	w.len = 0;
	put_signature(&w, fake, ak, &statement.attest);
	statement.signature = written(&w);
	return statement;
}

struct tg_attest_statement fake_certify(const struct fake *fake, EVP_PKEY *ak,
					const uint8_t name[static TG_TPM_NAME_LEN],
					const uint8_t binding[static TG_BINDING_LEN])
{
	static struct writer w;

	w.len = 0;
	put_head(&w, fake, (uint16_t)or_else(fake->options.certify_type, 0x8017), binding);
	put_sized(&w, name, TG_TPM_NAME_LEN);
	put_sized(&w, name, TG_TPM_NAME_LEN);
	return sign(fake, ak, &w);
}

static void put_selection(struct writer *w, uint16_t bank, uint32_t mask)
{
	put_be(w, bank, 2);
	put_be(w, 3, 1);
	put_le(w, mask, 3);
}

static void put_values(struct writer *w, const struct fake *fake, uint32_t mask)
{
	for (unsigned i = 0; i < TG_PCR_COUNT; i++)
		if (mask >> i & 1)
			put(w, fake->pcrs[i], TG_SHA256_LEN);
}

struct tg_attest_statement fake_quote(const struct fake *fake, EVP_PKEY *ak, uint32_t mask,
				      const uint8_t binding[static TG_BINDING_LEN])
{
	uint16_t bank = (uint16_t)or_else(fake->options.quote_bank, TG_TPM_ALG_SHA256);
	static struct writer w, values;
	uint8_t digest[TG_SHA256_LEN];

	w.len = values.len = 0;
	put_values(&values, fake, mask);
	MUST(EVP_Digest(values.data, values.len, digest, NULL, EVP_sha256(), NULL) == 1);
	if (fake->options.wrong_digest)
		digest[31] ^= 1;
	put_head(&w, fake, (uint16_t)or_else(fake->options.quote_type, 0x8018), binding);
	put_be(&w, fake->options.quote_two_banks ? 2 : 1, 4);
	put_selection(&w, bank, mask);
	if (fake->options.quote_two_banks)
		put_selection(&w, 0x0004, 0);
	put_sized(&w, digest, sizeof(digest));
	return sign(fake, ak, &w);
}

void fake_statement_free(struct tg_attest_statement *statement)
{
	tg_bytes_free(&statement->attest);
	tg_bytes_free(&statement->signature);
}

void fake_answer(const struct fake *fake, const struct tg_attest_challenge *challenge,
		 const uint8_t exporter[static TG_EXPORTER_LEN], bool renewal,
		 struct tg_attest_evidence *ret_evidence)
{
	uint8_t binding[TG_BINDING_LEN], secret[TG_SHA256_LEN], proof[TG_PROOF_LEN];
	struct tg_bytes key = { secret, sizeof(secret) };
	struct tg_attest_evidence evidence = { 0 };
	static struct writer values;

	values.len = 0;
	MUST(!tg_request_make(fake->tls, "agent", &evidence.csr, NULL));
	MUST(!tg_attest_binding(challenge->nonce, &evidence.csr, fake->ak_name, exporter, binding, NULL));
	if (!renewal) {
		MUST(fake_activate(fake, challenge, fake->ak_name, secret));
		MUST(!tg_attest_proof(&key, &fake->claim, challenge, binding, proof, NULL));
		MUST(!tg_bytes_copy(proof, sizeof(proof), &evidence.proof));
	}
	evidence.certify_tls = fake_certify(fake, fake->ak, fake->tls_name, binding);
	evidence.certify_hpke = fake_certify(fake, fake->ak, fake->hpke_name, binding);
	evidence.quote =
		fake_quote(fake, fake->ak, or_else(fake->options.quote_mask, challenge->pcr_mask), binding);
	put_values(&values, fake, or_else(fake->options.quote_mask, challenge->pcr_mask));
	evidence.pcrs = written(&values);
	MUST(!tg_bytes_copy(fake->event_log.data, fake->event_log.len, &evidence.event_log));
	*ret_evidence = evidence;
}

static void extend(uint8_t value[static TG_SHA256_LEN], const uint8_t digest[static TG_SHA256_LEN])
{
	uint8_t both[2 * TG_SHA256_LEN];

	memcpy(both, value, TG_SHA256_LEN);
	memcpy(both + TG_SHA256_LEN, digest, TG_SHA256_LEN);
	MUST(EVP_Digest(both, sizeof(both), value, NULL, EVP_sha256(), NULL) == 1);
}

static void put_log_head(struct writer *w)
{
	static const uint8_t zero[20];

	put_le(w, 0, 4);
	put_le(w, 3, 4);
	put(w, zero, sizeof(zero));
	put_le(w, 16 + 4 + 4 + 4 + 2 * 4 + 1, 4);
	put(w, "Spec ID Event03", 16);
	put_le(w, 0, 4);
	put(w, (const uint8_t[]){ 0, 2, 105, 2 }, 4);
	put_le(w, 2, 4);
	put_le(w, 0x0004, 2);
	put_le(w, 20, 2);
	put_le(w, TG_TPM_ALG_SHA256, 2);
	put_le(w, 32, 2);
	put_le(w, 0, 1);
}

struct tg_bytes fake_event_log(uint8_t ret_pcrs[static TG_PCR_COUNT][TG_SHA256_LEN])
{
	static struct writer w;

	w.len = 0;
	memset(ret_pcrs, 0, TG_PCR_COUNT * TG_SHA256_LEN);
	for (int i = 17; i <= 22; i++)
		memset(ret_pcrs[i], 0xff, TG_SHA256_LEN);
	put_log_head(&w);
	for (unsigned i = 0; i < 40; i++) {
		char text[32];
		uint8_t sha1[20], sha256[32];
		int len = snprintf(text, sizeof(text), "event %u", i);

		MUST(EVP_Digest(text, (size_t)len, sha1, NULL, EVP_sha1(), NULL) == 1 &&
		     EVP_Digest(text, (size_t)len, sha256, NULL, EVP_sha256(), NULL) == 1);
		put_le(&w, i % 8, 4);
		put_le(&w, i < 32 ? 0x8000000a : 4, 4);
		put_le(&w, 2, 4);
		put_le(&w, 0x0004, 2);
		put(&w, sha1, sizeof(sha1));
		put_le(&w, TG_TPM_ALG_SHA256, 2);
		put(&w, sha256, sizeof(sha256));
		put_le(&w, (uint64_t)len, 4);
		put(&w, text, (size_t)len);
		extend(ret_pcrs[i % 8], sha256);
	}
	return written(&w);
}

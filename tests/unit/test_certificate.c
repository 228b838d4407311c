/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/certificate.h"
#include "tensorguard/crypto.h"

enum { NOW = 1800000000, DAY = 86400 };
static struct tg_error e;

struct authority {
	EVP_PKEY *key, *client_key;
	X509 *certificate;
};

static void setup(struct authority *ca)
{
	memset(ca, 0, sizeof(*ca));
	CU_ASSERT_EQUAL_FATAL(tg_p256_generate(&ca->key, &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_p256_generate(&ca->client_key, &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_ca_make(ca->key, "test CA", NOW, 10 * DAY, &ca->certificate, &e), 0);
}

static void teardown(struct authority *ca)
{
	X509_free(ca->certificate);
	EVP_PKEY_free(ca->key);
	EVP_PKEY_free(ca->client_key);
}

/* OpenSSL's verdict on a certificate for a purpose. */
static int verdict(const struct authority *ca, X509 *certificate, int purpose, int64_t at)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	int error;

	X509_STORE_add_cert(store, ca->certificate);
	X509_STORE_CTX_init(context, store, certificate, NULL);
	X509_STORE_CTX_set_purpose(context, purpose);
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(context), (time_t)at);
	X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(context), X509_V_FLAG_X509_STRICT);
	X509_verify_cert(context);
	error = X509_STORE_CTX_get_error(context);
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	return error;
}

TEST(certificate, a_device_gets_one_for_clients_alone)
{
	const struct tg_client client = { TG_CLIENT_AGENT, "line-2", "arm.7" };
	struct tg_client read;
	struct authority ca;
	X509 *certificate;
	char serial[TG_SERIAL_TEXT_LEN];
	int64_t end;

	setup(&ca);
	CU_ASSERT_EQUAL_FATAL(tg_client_certificate(ca.key, ca.certificate, ca.client_key, &client, NOW + DAY,
						    DAY, &certificate, &e),
			      0);
	CU_ASSERT_EQUAL(verdict(&ca, certificate, X509_PURPOSE_SSL_CLIENT, NOW + DAY), X509_V_OK);
	CU_ASSERT_EQUAL(verdict(&ca, certificate, X509_PURPOSE_SSL_SERVER, NOW + DAY),
			X509_V_ERR_INVALID_PURPOSE);
	CU_ASSERT_EQUAL(verdict(&ca, certificate, X509_PURPOSE_SSL_CLIENT, NOW + DAY - 299), X509_V_OK);
	CU_ASSERT_EQUAL(verdict(&ca, certificate, X509_PURPOSE_SSL_CLIENT, NOW + DAY - 301),
			X509_V_ERR_CERT_NOT_YET_VALID);
	CU_ASSERT_EQUAL(verdict(&ca, certificate, X509_PURPOSE_SSL_CLIENT, NOW + 2 * DAY - 1), X509_V_OK);
	CU_ASSERT_EQUAL(verdict(&ca, certificate, X509_PURPOSE_SSL_CLIENT, NOW + 2 * DAY + 1),
			X509_V_ERR_CERT_HAS_EXPIRED);
	CU_ASSERT_EQUAL(tg_certificate_client(certificate, &read, &e), 0);
	CU_ASSERT_EQUAL(read.kind, TG_CLIENT_AGENT);
	CU_ASSERT_STRING_EQUAL(read.fleet, "line-2");
	CU_ASSERT_STRING_EQUAL(read.id, "arm.7");
	CU_ASSERT_EQUAL(tg_certificate_end(certificate, &end, &e), 0);
	CU_ASSERT_EQUAL(end, NOW + 2 * DAY);
	CU_ASSERT_EQUAL(tg_certificate_serial(certificate, serial, &e), 0);
	CU_ASSERT(strlen(serial) > 24 && strlen(serial) <= 32);
	X509_free(certificate);
	teardown(&ca);
}

TEST(certificate, none_outlives_its_ca)
{
	const struct tg_client client = { TG_CLIENT_AGENT, "f", "a" };
	struct authority ca;
	X509 *certificate;
	int64_t end;

	setup(&ca);
	CU_ASSERT_EQUAL_FATAL(tg_client_certificate(ca.key, ca.certificate, ca.client_key, &client,
						    NOW + 10 * DAY - 60, DAY, &certificate, &e),
			      0);
	CU_ASSERT_EQUAL(tg_certificate_end(certificate, &end, &e), 0);
	CU_ASSERT_EQUAL(end, NOW + 10 * DAY);
	X509_free(certificate);
	teardown(&ca);
}

TEST(certificate, a_device_gets_none_for_longer_than_a_day_nor_under_a_bad_name)
{
	static const struct tg_client bad[] = {
		{ TG_CLIENT_AGENT, "f", "" },         { TG_CLIENT_AGENT, "", "a" },
		{ TG_CLIENT_AGENT, "f:x", "a" },      { TG_CLIENT_AGENT, "F", "a" },
		{ TG_CLIENT_AGENT, "f", "-a" },       { TG_CLIENT_AGENT, "f", "a/b" },
		{ TG_CLIENT_OPERATOR, "f", "a" },     { TG_CLIENT_OPERATOR, "", "," },
		{ (enum tg_client_kind)7, "f", "a" },
	};
	const struct tg_client client = { TG_CLIENT_AGENT, "f", "a" };
	struct authority ca;
	X509 *certificate;

	setup(&ca);
	CU_ASSERT_EQUAL(tg_client_certificate(ca.key, ca.certificate, ca.client_key, &client, NOW, DAY + 1,
					      &certificate, &e),
			-EINVAL);
	CU_ASSERT_EQUAL(tg_client_certificate(ca.key, ca.certificate, ca.client_key, &client, NOW, 0,
					      &certificate, &e),
			-EINVAL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(tg_client_certificate(ca.key, ca.certificate, ca.client_key, &bad[i], NOW,
						      DAY, &certificate, &e),
				-EINVAL);
	teardown(&ca);
}

TEST(certificate, operators_and_servers_get_theirs)
{
	static const char *const names[] = { "platform.example", "192.0.2.7", "2001:db8::7" };
	static const char *const bad[] = { "a b" };
	const struct tg_client client = { TG_CLIENT_OPERATOR, "", "chief" };
	struct tg_client read;
	struct authority ca;
	X509 *certificate;

	setup(&ca);
	CU_ASSERT_EQUAL_FATAL(tg_client_certificate(ca.key, ca.certificate, ca.client_key, &client, NOW,
						    5 * DAY, &certificate, &e),
			      0);
	CU_ASSERT_EQUAL(tg_certificate_client(certificate, &read, &e), 0);
	CU_ASSERT_EQUAL(read.kind, TG_CLIENT_OPERATOR);
	CU_ASSERT_STRING_EQUAL(read.id, "chief");
	CU_ASSERT_EQUAL(verdict(&ca, certificate, X509_PURPOSE_SSL_CLIENT, NOW), X509_V_OK);
	X509_free(certificate);

	CU_ASSERT_EQUAL_FATAL(tg_server_certificate(ca.key, ca.certificate, ca.client_key, names, 3, NOW,
						    5 * DAY, &certificate, &e),
			      0);
	CU_ASSERT_EQUAL(verdict(&ca, certificate, X509_PURPOSE_SSL_SERVER, NOW), X509_V_OK);
	CU_ASSERT_EQUAL(verdict(&ca, certificate, X509_PURPOSE_SSL_CLIENT, NOW), X509_V_ERR_INVALID_PURPOSE);
	CU_ASSERT_EQUAL(X509_check_host(certificate, "platform.example", 0, 0, NULL), 1);
	CU_ASSERT_EQUAL(X509_check_ip_asc(certificate, "192.0.2.7", 0), 1);
	CU_ASSERT_EQUAL(X509_check_ip_asc(certificate, "2001:db8::7", 0), 1);
	/* a server is no client of ours */
	CU_ASSERT_EQUAL(tg_certificate_client(certificate, &read, &e), -EINVAL);
	X509_free(certificate);
	CU_ASSERT_EQUAL(tg_server_certificate(ca.key, ca.certificate, ca.client_key, bad, 1, NOW, DAY,
					      &certificate, &e),
			-EIO);
	teardown(&ca);
}

/* A certificate with a subjectAltName of our choice. */
static int client_of(const struct authority *ca, const char *names, struct tg_client *ret_client)
{
	X509 *certificate = X509_new();
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
	int ret;

	CU_ASSERT_PTR_NOT_NULL_FATAL(extension);
	X509_add_ext(certificate, extension, -1);
	X509_set_pubkey(certificate, ca->client_key);
	ret = tg_certificate_client(certificate, ret_client, &e);
	X509_EXTENSION_free(extension);
	X509_free(certificate);
	return ret;
}

TEST(certificate, only_one_name_of_ours_is_a_client)
{
	static const char *const bad[] = {
		"URI:tg:agent:f",
		"URI:tg:agent:f:",
		"URI:tg:agent::a",
		"URI:tg:agent:f:a:b",
		"URI:tg:operator:",
		"URI:tg:operator:a:b",
		"URI:TG:agent:f:a",
		"URI:http://f/a",
		"DNS:tg",
		"URI:tg:agent:f:a,DNS:a",
		"URI:tg:agent:f:a,URI:tg:agent:f:b",
		"URI:tg:agent:f:0123456789012345678901234567890123456789012345678901234567890123",
	};
	struct tg_client client;
	struct authority ca;

	setup(&ca);
	CU_ASSERT_EQUAL(client_of(&ca, "URI:tg:agent:f:a", &client), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(client_of(&ca, bad[i], &client), -EINVAL);
	CU_ASSERT_EQUAL(tg_certificate_client(ca.certificate, &client, &e), -EINVAL);
	teardown(&ca);
}

TEST(certificate, requests_are_by_their_own_p256_key)
{
	EVP_PKEY *key = NULL, *rsa = EVP_RSA_gen(2048), *p384 = EVP_EC_gen("P-384"), *read = NULL;
	EVP_PKEY *others[] = { rsa, p384 };
	struct tg_bytes der;

	CU_ASSERT_EQUAL_FATAL(tg_p256_generate(&key, &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_request_make(key, "arm", &der, &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_request_parse(der.data, der.len, &read, &e), 0);
	CU_ASSERT_EQUAL(EVP_PKEY_eq(key, read), 1);
	EVP_PKEY_free(read);
	for (size_t len = 0; len < der.len; len++)
		CU_ASSERT_EQUAL(tg_request_parse(der.data, len, &read, &e), -EINVAL);
	for (size_t at = 0; at < der.len; at++) {
		der.data[at] ^= 0x10;
		CU_ASSERT_NOT_EQUAL(tg_request_parse(der.data, der.len, &read, &e), 0);
		der.data[at] ^= 0x10;
	}
	tg_bytes_free(&der);
	for (size_t i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL_FATAL(tg_request_make(others[i], "arm", &der, &e), 0);
		CU_ASSERT_EQUAL(tg_request_parse(der.data, der.len, &read, &e), -EINVAL);
		CU_ASSERT_STRING_EQUAL(e.message, "request: not a P-256 key");
		tg_bytes_free(&der);
	}
	EVP_PKEY_free(key);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(p384);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "swtpm.h"

static struct tg_error e;

static bool done(bool ok)
{
	if (!ok)
		ERR_print_errors_fp(stderr);
	ERR_clear_error();
	return ok;
}

static EVP_PKEY *provided(struct tg_tpm *tpm, enum tg_tpm_use use)
{
	struct tg_tpm_key key = { 0 };
	EVP_PKEY *pkey = NULL;

	OK(tg_tpm_key_create(tpm, use, TG_TPM_OWNER, &key, &e));
	OK(tg_tpm_provider_key(tpm, &key, &pkey, &e));
	CU_ASSERT_PTR_NOT_NULL_FATAL(pkey);
	tg_tpm_key_free(&key);
	return pkey;
}

static X509_NAME *named(const char *name)
{
	X509_NAME *x = X509_NAME_new();

	X509_NAME_add_entry_by_txt(x, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	return x;
}

/* The openssl command takes the request and finds its signature good. */
TEST(tpm_provider, signs_a_request)
{
	struct tg_tpm *tpm = swtpm_open();
	EVP_PKEY *pkey = provided(tpm, TG_TPM_TLS);
	X509_REQ *request = X509_REQ_new();
	X509_NAME *name = named("a device");
	BIO *file = BIO_new_file(swtpm_path("request.pem"), "w");

	tg_tpm_close(tpm);	/* the key holds it open */
	CU_ASSERT(done(X509_REQ_set_subject_name(request, name)));
	CU_ASSERT(done(X509_REQ_set_pubkey(request, pkey)));
	CU_ASSERT(done(X509_REQ_sign(request, pkey, EVP_sha256())));
	CU_ASSERT(done(PEM_write_bio_X509_REQ(file, request)));
	BIO_free(file);
	CU_ASSERT(!X509_REQ_sign(request, pkey, EVP_sha384()));
	ERR_clear_error();
	X509_NAME_free(name);
	X509_REQ_free(request);
	EVP_PKEY_free(pkey);
	CU_ASSERT(swtpm_shell(
		"openssl req -in request.pem -verify -noout -text > text; grep -q 'ASN1 OID: prime256v1' "
		"text; grep -q ecdsa-with-SHA256 text"));
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

/* A restricted key signs no request, and OpenSSL's queue holds the TPM's reason. */
TEST(tpm_provider, restricted_key_signs_nothing)
{
	struct tg_tpm *tpm = swtpm_open();
	EVP_PKEY *pkey = provided(tpm, TG_TPM_AK);
	X509_REQ *request = X509_REQ_new();
	const char *data = NULL;
	int flags;

	CU_ASSERT(done(X509_REQ_set_pubkey(request, pkey)));
	CU_ASSERT_EQUAL(X509_REQ_sign(request, pkey, EVP_sha256()), 0);
	ERR_peek_error_data(&data, &flags);
	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	CU_ASSERT_PTR_NOT_NULL(strstr(data, "TPM: sign: "));
	ERR_clear_error();
	X509_REQ_free(request);
	EVP_PKEY_free(pkey);
	tg_tpm_close(tpm);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

static X509 *certificate_for(EVP_PKEY *subject, EVP_PKEY *issuer, const char *common_name)
{
	X509 *certificate = X509_new();
	X509_NAME *name = named(common_name), *ca = named("a CA");

	CU_ASSERT(X509_set_version(certificate, X509_VERSION_3));
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_set_subject_name(certificate, name);
	X509_set_issuer_name(certificate, ca);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	if (subject == issuer) {
		X509_EXTENSION *is_ca =
			X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

		CU_ASSERT(X509_add_ext(certificate, is_ca, -1));
		X509_EXTENSION_free(is_ca);
	}
	CU_ASSERT(done(X509_set_pubkey(certificate, subject)));
	CU_ASSERT(done(X509_sign(certificate, issuer, EVP_sha256())));
	X509_NAME_free(name);
	X509_NAME_free(ca);
	return certificate;
}

static SSL_CTX *side(const SSL_METHOD *method, X509 *certificate, EVP_PKEY *key, X509 *ca)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	CU_ASSERT(done(SSL_CTX_use_certificate(ctx, certificate) == 1));
	CU_ASSERT(done(SSL_CTX_use_PrivateKey(ctx, key) == 1));
	CU_ASSERT(done(SSL_CTX_check_private_key(ctx) == 1));
	CU_ASSERT(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca));
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return ctx;
}

/* Both ends in memory, a step of one after a step of the other. */
static bool shake_hands(SSL_CTX *server_ctx, SSL_CTX *client_ctx)
{
	SSL *server = SSL_new(server_ctx), *client = SSL_new(client_ctx);
	BIO *a, *b;
	int server_done = 0, client_done = 0;
	bool ok;

	BIO_new_bio_pair(&a, 0, &b, 0);
	SSL_set_bio(server, a, a);
	SSL_set_bio(client, b, b);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	for (int i = 0; i < 20 && !(server_done == 1 && client_done == 1); i++) {
		client_done = SSL_do_handshake(client);
		server_done = SSL_do_handshake(server);
	}
	ok = server_done == 1 && client_done == 1 && SSL_get_verify_result(server) == X509_V_OK &&
	     SSL_get0_peer_certificate(server) != NULL;
	SSL_free(server);
	SSL_free(client);
	return done(ok);
}

struct ends {
	SSL_CTX *server, *client;
	bool ok;
};

static void *four_handshakes(void *data)
{
	struct ends *ends = data;

	ends->ok = true;
	for (int i = 0; i < 4; i++)
		ends->ok &= shake_hands(ends->server, ends->client);
	return NULL;
}

/* The client proves itself by its TPM, in several threads that share one key. */
TEST(tpm_provider, tls13_client_in_threads)
{
	enum { THREADS = 4 };
	struct tg_tpm *tpm = swtpm_open();
	EVP_PKEY *client_key = provided(tpm, TG_TPM_TLS), *ca_key = EVP_EC_gen("P-256"),
		 *server_key = EVP_EC_gen("P-256"), *other_key = provided(tpm, TG_TPM_TLS);
	X509 *ca = certificate_for(ca_key, ca_key, "a CA");
	X509 *server = certificate_for(server_key, ca_key, "a server");
	X509 *client = certificate_for(client_key, ca_key, "a device");
	struct ends ends[THREADS];
	pthread_t threads[THREADS];
	SSL_CTX *server_ctx = side(TLS_server_method(), server, server_key, ca);
	SSL_CTX *client_ctx = side(TLS_client_method(), client, client_key, ca);

	/* that the certificate is another key's is noticed */
	CU_ASSERT_NOT_EQUAL(SSL_CTX_use_PrivateKey(client_ctx, other_key), 1);
	ERR_clear_error();
	for (int i = 0; i < THREADS; i++) {
		ends[i] = (struct ends){ server_ctx, client_ctx, false };
		CU_ASSERT_EQUAL(pthread_create(&threads[i], NULL, four_handshakes, &ends[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		CU_ASSERT(ends[i].ok);
	}
	SSL_CTX_free(server_ctx);
	SSL_CTX_free(client_ctx);
	X509_free(ca);
	X509_free(server);
	X509_free(client);
	EVP_PKEY_free(client_key);
	EVP_PKEY_free(other_key);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(server_key);
	tg_tpm_close(tpm);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

/* Keys of the program's own go on being OpenSSL's, and ours compare with their public halves. */
TEST(tpm_provider, changes_nothing_for_other_keys)
{
	struct tg_tpm *tpm = swtpm_open();
	EVP_PKEY *ours = provided(tpm, TG_TPM_TLS), *theirs = EVP_EC_gen("P-256"), *parsed = NULL;
	unsigned char *der = NULL;
	const unsigned char *at;
	int len;

	CU_ASSERT_STRING_EQUAL(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(theirs)), "default");
	CU_ASSERT_STRING_EQUAL(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(ours)), "tensorguard-tpm");
	len = i2d_PUBKEY(ours, &der);
	CU_ASSERT(done(len > 0));
	at = der;
	parsed = d2i_PUBKEY(NULL, &at, len);
	CU_ASSERT_PTR_NOT_NULL_FATAL(parsed);
	CU_ASSERT_STRING_EQUAL(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(parsed)), "default");
	CU_ASSERT_EQUAL(EVP_PKEY_eq(parsed, ours), 1);
	CU_ASSERT_EQUAL(EVP_PKEY_eq(ours, parsed), 1);
	CU_ASSERT_NOT_EQUAL(EVP_PKEY_eq(ours, theirs), 1);
	CU_ASSERT_EQUAL(i2d_PrivateKey(ours, NULL) > 0, 0);
	ERR_clear_error();
	OPENSSL_free(der);
	EVP_PKEY_free(parsed);
	EVP_PKEY_free(ours);
	EVP_PKEY_free(theirs);
	tg_tpm_close(tpm);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "swtpm.h"

static struct tg_error e;

/* The certificate of swtpm-localca is for the key that our template derives. */
TEST(tpm_attest, endorsement_key_is_the_certified_one)
{
	struct tg_tpm *tpm = swtpm_open();
	struct tg_bytes der = { 0 }, public = { 0 };
	const unsigned char *at;
	X509 *certificate;

	OK(tg_tpm_ek_certificate(tpm, TG_TPM_EK_RSA2048, &der, &e));
	OK(tg_tpm_ek_public(tpm, TG_TPM_EK_RSA2048, &public, &e));
	at = der.data;
	certificate = d2i_X509(NULL, &at, (long)der.len);
	CU_ASSERT_PTR_NOT_NULL_FATAL(certificate);
	CU_ASSERT_PTR_EQUAL(at, der.data + der.len);
	if (public.len > 256) {
		BIGNUM *n = NULL, *ek = BN_bin2bn(public.data + public.len - 256, 256, NULL);

		CU_ASSERT_EQUAL(EVP_PKEY_get_bn_param(X509_get0_pubkey(certificate), "n", &n), 1);
		CU_ASSERT_EQUAL(BN_cmp(n, ek), 0);
		BN_free(n);
		BN_free(ek);
	}
	X509_free(certificate);
	tg_bytes_free(&der);
	CU_ASSERT_EQUAL(tg_tpm_ek_certificate(tpm, TG_TPM_EK_P256, &der, &e), -ENOENT);
	tg_bytes_free(&public);
	tg_tpm_close(tpm);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

static void activate_with(enum tg_tpm_ek ek)
{
	static const char secret[] = "a secret of thirty-one bytes ..";
	struct tg_tpm *tpm = swtpm_open();
	struct tg_tpm_key ak = { 0 };
	struct tg_bytes public = { 0 }, blob, object, encrypted, opened = { 0 };
	uint8_t name[2 + TG_TPM_DIGEST_BYTES];
	char hex[2 * sizeof(name) + 1];

	OK(tg_tpm_key_create(tpm, TG_TPM_AK, TG_TPM_OWNER, &ak, &e));
	OK(tg_tpm_key_name(&ak, name, &e));
	OK(tg_tpm_ek_public(tpm, ek, &public, &e));
	swtpm_hex(name, sizeof(name), hex);
	write_file("ek.pub", public.data, public.len);
	swtpm_make_credential(secret, hex, &blob, &object, &encrypted);
	if (OK(tg_tpm_activate(tpm, ek, &ak, &object, &encrypted, &opened, &e))) {
		CU_ASSERT_EQUAL(opened.len, strlen(secret));
		CU_ASSERT_EQUAL(memcmp(opened.data, secret, strlen(secret)), 0);
	}
	tg_bytes_free(&opened);
	object.data[10] ^= 1;
	CU_ASSERT_NOT_EQUAL(tg_tpm_activate(tpm, ek, &ak, &object, &encrypted, &opened, &e), 0);
	object.data[10] ^= 1;
	/* another key of the same template does not get it */
	tg_tpm_key_free(&ak);
	OK(tg_tpm_key_create(tpm, TG_TPM_AK, TG_TPM_OWNER, &ak, &e));
	CU_ASSERT_NOT_EQUAL(tg_tpm_activate(tpm, ek, &ak, &object, &encrypted, &opened, &e), 0);
	CU_ASSERT_PTR_NULL(opened.data);
	encrypted.len--;
	CU_ASSERT_EQUAL(tg_tpm_activate(tpm, ek, &ak, &object, &encrypted, &opened, &e), -EBADMSG);
	tg_bytes_free(&blob);
	tg_bytes_free(&public);
	tg_tpm_key_free(&ak);
	tg_tpm_close(tpm);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

TEST(tpm_attest, activates_what_tpm2_makecredential_made_for_rsa)
{
	activate_with(TG_TPM_EK_RSA2048);
}

TEST(tpm_attest, activates_what_tpm2_makecredential_made_for_p256)
{
	activate_with(TG_TPM_EK_P256);
}

/* A P-256 endorsement key's certificate: ours, as a manufacturer's tool would put it into an index that is
 * larger. */
TEST(tpm_attest, certificate_is_trimmed)
{
	enum { SIZE = 2000 };	/* more than one TPM2_NV_Read returns */
	struct tg_tpm *tpm;
	struct tg_bytes der = { 0 }, expected;
	uint8_t content[SIZE];

	swtpm_tcti();
	CU_ASSERT(swtpm_shell(
		"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout nv.key "
		"-subj /CN=ek -addext nsComment=%01300d -outform DER -out nv.der",
		1));
	expected = read_file("nv.der");
	CU_ASSERT_FATAL(expected.len > 1400 && expected.len < SIZE);
	memset(content, 0xff, sizeof(content));
	memcpy(content, expected.data, expected.len);
	write_file("nv", content, sizeof(content));
	CU_ASSERT(swtpm_shell("tpm2_nvdefine -C o -s %d -a 'ownerread|authread|ownerwrite' 0x01c0000a;"
			      "tpm2_nvwrite -C o -i nv 0x01c0000a",
			      SIZE));
	tpm = swtpm_open();
	if (OK(tg_tpm_ek_certificate(tpm, TG_TPM_EK_P256, &der, &e))) {
		CU_ASSERT_EQUAL(der.len, expected.len);
		CU_ASSERT_EQUAL(memcmp(der.data, expected.data, der.len), 0);
	}
	tg_bytes_free(&der);
	tg_tpm_close(tpm);
	/* what is no certificate is an error */
	content[1] ^= 1;
	write_file("nv", content, sizeof(content));
	CU_ASSERT(swtpm_shell("tpm2_nvwrite -C o -i nv 0x01c0000a"));
	tpm = swtpm_open();
	CU_ASSERT_EQUAL(tg_tpm_ek_certificate(tpm, TG_TPM_EK_P256, &der, &e), -EBADMSG);
	CU_ASSERT_PTR_NULL(der.data);
	tg_tpm_close(tpm);
	CU_ASSERT(swtpm_shell("tpm2_nvundefine -C o 0x01c0000a"));
	tg_bytes_free(&expected);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

/* The public half in PEM, for the tools. */
static void write_public(const struct tg_tpm_key *key, struct tg_tpm *tpm, const char *name)
{
	EVP_PKEY *pkey = NULL;
	FILE *f = fopen(swtpm_path(name), "w");

	OK(tg_tpm_provider_key(tpm, key, &pkey, &e));
	CU_ASSERT_EQUAL(PEM_write_PUBKEY(f, pkey), 1);
	fclose(f);
	EVP_PKEY_free(pkey);
}

/* TPMT_SIGNATURE: ECDSA, SHA-256, then r and s, each with its size in front. */
static void write_der(const struct tg_bytes *tpm_signature)
{
	const uint8_t *r = tpm_signature->data + 6, *s = r + 34;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	unsigned char *der = NULL;
	int len;

	CU_ASSERT_EQUAL_FATAL(tpm_signature->len, 72);
	CU_ASSERT_EQUAL(memcmp(tpm_signature->data, "\x00\x18\x00\x0b\x00\x20", 6), 0);
	ECDSA_SIG_set0(sig, BN_bin2bn(r, 32, NULL), BN_bin2bn(s, 32, NULL));
	len = i2d_ECDSA_SIG(sig, &der);
	write_file("signature.der", der, (size_t)len);
	OPENSSL_free(der);
	ECDSA_SIG_free(sig);
}

static void write_statement(const struct tg_tpm_statement *statement)
{
	write_der(&statement->signature);
	write_file("attest", statement->attest.data, statement->attest.len);
	write_file("signature", statement->signature.data, statement->signature.len);
}

/* tpm2_checkquote takes a quote of ours with this qualification and these PCRs, and with no other. */
TEST(tpm_attest, quote_is_taken_by_tpm2_checkquote)
{
	struct tg_tpm *tpm;
	struct tg_tpm_key ak = { 0 };
	struct tg_tpm_statement statement = { 0 };
	uint8_t values[TG_TPM_PCRS][TG_TPM_DIGEST_BYTES] = { 0 };

	swtpm_tcti();
	/* 16 and 23 can be reset; the others show what other tests put into them */
	CU_ASSERT(swtpm_shell("tpm2_pcrextend 16:sha256=%064d 23:sha256=%064d", 16, 23));
	tpm = swtpm_open();
	OK(tg_tpm_key_create(tpm, TG_TPM_AK, TG_TPM_ENDORSEMENT, &ak, &e));
	OK(tg_tpm_quote(tpm, &ak, "\x12\x34\x56", 3, 1 << 0 | 1 << 16 | 1 << 23, &statement, &e));
	OK(tg_tpm_pcr_read(tpm, 0xffffff, values, &e));
	write_public(&ak, tpm, "ak.pem");
	tg_tpm_close(tpm);
	write_statement(&statement);
	write_file("ours", values, sizeof(values));
	CU_ASSERT(swtpm_shell(
		"tpm2_pcrread sha256:0,16,23 -o pcrs;"
		"tpm2_checkquote -u ak.pem -m attest -s signature -f pcrs -l sha256:0,16,23 -q 123456"));
	CU_ASSERT(swtpm_shell(
		"! tpm2_checkquote -u ak.pem -m attest -s signature -f pcrs -l sha256:0,16,23 -q 123457"));
	CU_ASSERT(swtpm_shell(
		"tpm2_pcrread sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23 "
		"-F values -o theirs; cmp ours theirs; tpm2_pcrreset 16 23"));
	tg_tpm_statement_free(&statement);
	CU_ASSERT_EQUAL(tg_tpm_quote(tpm, &ak, "", 0, 0, &statement, &e), -EINVAL);
	CU_ASSERT_EQUAL(tg_tpm_quote(tpm, &ak, "", 0, 1 << 24, &statement, &e), -EINVAL);
	CU_ASSERT_EQUAL(tg_tpm_quote(tpm, &ak, values, TG_TPM_QUALIFY_MAX + 1, 1, &statement, &e), -EINVAL);
	tg_tpm_key_free(&ak);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

/* What we certify names the key, and the signature is the attestation key's. */
TEST(tpm_attest, certify_names_the_key)
{
	struct tg_tpm *tpm = swtpm_open();
	struct tg_tpm_key ak = { 0 }, hpke = { 0 };
	struct tg_tpm_statement statement = { 0 };
	uint8_t name[2 + TG_TPM_DIGEST_BYTES];
	const uint8_t *attest;

	OK(tg_tpm_key_create(tpm, TG_TPM_AK, TG_TPM_OWNER, &ak, &e));
	OK(tg_tpm_key_create(tpm, TG_TPM_HPKE, TG_TPM_OWNER, &hpke, &e));
	OK(tg_tpm_key_name(&hpke, name, &e));
	CU_ASSERT_FATAL(OK(tg_tpm_certify(tpm, &hpke, &ak, "binding", 7, &statement, &e)));
	write_public(&ak, tpm, "ak.pem");
	write_statement(&statement);
	/* magic, TPM_ST_ATTEST_CERTIFY, the signer's qualified name, the qualification, ..., name, qualified
	 * name */
	attest = statement.attest.data;
	CU_ASSERT_EQUAL_FATAL(statement.attest.len, 4 + 2 + 36 + 9 + 25 + 2 * 36);
	CU_ASSERT_EQUAL(memcmp(attest, "\xff\x54\x43\x47\x80\x17\x00\x22\x00\x0b", 10), 0);
	CU_ASSERT_EQUAL(memcmp(attest + 42,
			       "\x00\x07"
			       "binding",
			       9),
			0);
	CU_ASSERT_EQUAL(memcmp(attest + 76, "\x00\x22", 2), 0);
	CU_ASSERT_EQUAL(memcmp(attest + 78, name, sizeof(name)), 0);
	tg_tpm_statement_free(&statement);
	/* a key that only decrypts certifies nothing */
	CU_ASSERT_NOT_EQUAL(tg_tpm_certify(tpm, &ak, &hpke, "binding", 7, &statement, &e), 0);
	CU_ASSERT_PTR_NULL(statement.attest.data);
	tg_tpm_close(tpm);
	CU_ASSERT(swtpm_shell("openssl dgst -sha256 -verify ak.pem -signature signature.der attest"));
	tg_tpm_key_free(&ak);
	tg_tpm_key_free(&hpke);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

TEST(tpm_attest, event_log_is_bounded)
{
	struct tg_bytes log = { 0 };
	uint8_t bytes[5000];

	swtpm_tcti();
	memset(bytes, 7, sizeof(bytes));
	write_file("log.bin", bytes, sizeof(bytes));
	if (OK(tg_tpm_event_log(swtpm_path("log.bin"), &log, &e))) {
		CU_ASSERT_EQUAL(log.len, sizeof(bytes));
		CU_ASSERT_EQUAL(memcmp(log.data, bytes, sizeof(bytes)), 0);
	}
	tg_bytes_free(&log);
	CU_ASSERT_EQUAL(tg_tpm_event_log(swtpm_path("nothing"), &log, &e), -ENOENT);
	CU_ASSERT(swtpm_shell("truncate -s 4194305 log.bin"));
	CU_ASSERT_EQUAL(tg_tpm_event_log(swtpm_path("log.bin"), &log, &e), -EFBIG);
	CU_ASSERT_PTR_NULL(log.data);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "harness.h"
#include "swtpm.h"

static struct tg_error e;

#define TPM2 "-provider tpm2 -provider default -propquery '?provider=tpm2'"

/* A key of ours, in a file, signs by tpm2-openssl, and plain OpenSSL finds the signature good. */
static void used_by_tpm2_openssl(enum tg_tpm_hierarchy hierarchy)
{
	struct tg_tpm *tpm = swtpm_open();
	struct tg_tpm_key key = { 0 };
	struct stat status;

	OK(tg_tpm_key_create(tpm, TG_TPM_TLS, hierarchy, &key, &e));
	OK(tg_tpm_key_save(&key, swtpm_path("ours.pem"), &e));
	CU_ASSERT_EQUAL(stat(swtpm_path("ours.pem"), &status), 0);
	CU_ASSERT_EQUAL(status.st_mode & 07777, 0600);
	tg_tpm_key_free(&key);
	tg_tpm_close(tpm);
	CU_ASSERT(swtpm_shell("openssl pkey " TPM2
			      " -in ours.pem -pubout -out ours.pub; echo words > message;"
			      "openssl dgst " TPM2 " -sha256 -sign ours.pem -out signature message;"
			      "openssl dgst -sha256 -verify ours.pub -signature signature message;"
			      "openssl req " TPM2 " -new -key ours.pem -subj /CN=device -out req.pem;"
			      "openssl req -in req.pem -verify -noout"));
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

TEST(tpm_pem, ours_is_used_by_tpm2_openssl)
{
	used_by_tpm2_openssl(TG_TPM_OWNER);
}

/* A key that tpm2-openssl wrote is used by us. */
TEST(tpm_pem, theirs_is_used_by_us)
{
	uint8_t digest[TG_TPM_DIGEST_BYTES] = { 1, 2, 3 };
	struct tg_tpm_key key = { 0 };
	struct tg_bytes signature = { 0 };
	struct tg_tpm *tpm;

	swtpm_tcti();
	CU_ASSERT(swtpm_shell("openssl genpkey " TPM2 " -algorithm EC -pkeyopt group:P-256 -out theirs.pem;"
			      "openssl pkey " TPM2 " -in theirs.pem -pubout -out theirs.pub"));
	OK(tg_tpm_key_load(swtpm_path("theirs.pem"), &key, &e));
	tpm = swtpm_open();
	OK(tg_tpm_sign(tpm, &key, digest, &signature, &e));
	tg_tpm_close(tpm);
	write_file("digest", digest, sizeof(digest));
	write_file("signature", signature.data, signature.len);
	CU_ASSERT(swtpm_shell(
		"openssl pkeyutl -verify -pubin -inkey theirs.pub -in digest -sigfile signature"));
	tg_bytes_free(&signature);
	tg_tpm_key_free(&key);
}

/* The persistent storage root key is the parent if there is one, and tpm2-openssl finds it as well. */
TEST(tpm_pem, persistent_parent)
{
	struct tg_tpm_key key = { 0 };
	struct tg_tpm *tpm;

	swtpm_tcti();
	CU_ASSERT(swtpm_shell(
		"tpm2_createprimary -C o -g sha256 -G ecc256:aes128cfb -c srk.ctx -a 'fixedtpm|fixedparent|"
		"sensitivedataorigin|userwithauth|noda|restricted|decrypt'; tpm2_flushcontext -t;"
		"tpm2_evictcontrol -C o -c srk.ctx 0x81000001; tpm2_flushcontext -t"));
	tpm = swtpm_open();
	OK(tg_tpm_key_create(tpm, TG_TPM_TLS, TG_TPM_OWNER, &key, &e));
	CU_ASSERT_EQUAL(key.parent, 0x81000001);
	tg_tpm_key_free(&key);
	tg_tpm_close(tpm);
	used_by_tpm2_openssl(TG_TPM_OWNER);
	CU_ASSERT(
		swtpm_shell("tpm2_evictcontrol -C o -c 0x81000001; tpm2_getcap handles-persistent > handles;"
			    "! grep -q 0x81000001 handles"));
}

/*
 * Whether this is a key; one that is taken is written again just as it was, but for
 * TRUE, which tpm2-openssl writes as 1.
 */
static bool is_accepted(const unsigned char *der, long len)
{
	struct tg_tpm_key key = { 0 };
	struct tg_bytes again = { 0 };
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long text_len;
	bool accepted;

	PEM_write_bio(bio, "TSS2 PRIVATE KEY", "", der, len);
	text_len = BIO_get_mem_data(bio, &text);
	accepted = !tg_tpm_key_from_pem(text, (size_t)text_len, &key, &e);
	if (accepted) {
		OK(tg_tpm_key_to_pem(&key, &again, &e));
		CU_ASSERT_EQUAL(again.len, (size_t)text_len);
		CU_ASSERT_EQUAL(memcmp(again.data, text, again.len), 0);
	}
	CU_ASSERT_EQUAL(!accepted, !key.private_part.data);
	tg_bytes_free(&again);
	tg_tpm_key_free(&key);
	BIO_free(bio);
	return accepted;
}

/* What came back is what was written; what was altered in any byte, or has more around it, is refused or is a
 * key. */
TEST(tpm_pem, strict)
{
	struct tg_tpm *tpm = swtpm_open();
	struct tg_tpm_key key = { 0 }, back = { 0 };
	struct tg_bytes pem = { 0 };
	char *name, *header, more[8192];
	unsigned char *der;
	unsigned accepted = 0;
	BIO *bio;
	long len;

	OK(tg_tpm_key_create(tpm, TG_TPM_TLS, TG_TPM_OWNER, &key, &e));
	tg_tpm_close(tpm);
	OK(tg_tpm_key_to_pem(&key, &pem, &e));
	OK(tg_tpm_key_from_pem(pem.data, pem.len, &back, &e));
	CU_ASSERT_EQUAL(back.parent, key.parent);
	CU_ASSERT_EQUAL(back.public_part.len, key.public_part.len);
	CU_ASSERT_EQUAL(memcmp(back.public_part.data, key.public_part.data, key.public_part.len), 0);
	CU_ASSERT_EQUAL(memcmp(back.private_part.data, key.private_part.data, key.private_part.len), 0);
	tg_tpm_key_free(&back);
	for (size_t cut = 0; cut < pem.len - 1; cut++)
		CU_ASSERT_EQUAL(tg_tpm_key_from_pem(pem.data, cut, &back, &e), -EBADMSG);
	snprintf(more, sizeof(more), "%.*s\nmore", (int)pem.len, (const char *)pem.data);
	CU_ASSERT_EQUAL(tg_tpm_key_from_pem(more, strlen(more), &back, &e), -EBADMSG);
	snprintf(more, sizeof(more), "\n%.*s", (int)pem.len, (const char *)pem.data);
	CU_ASSERT_EQUAL(tg_tpm_key_from_pem(more, strlen(more), &back, &e), -EBADMSG);

	bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	CU_ASSERT_EQUAL_FATAL(PEM_read_bio(bio, &name, &header, &der, &len), 1);
	BIO_free(bio);
	for (long at = 0; at < len; at++) {
		der[at] ^= 0x40;
		accepted += is_accepted(der, len);
		der[at] ^= 0x40;
	}
	/* what the TPM alone can judge is taken: attributes, the point, the wrapped part */
	CU_ASSERT(accepted >= key.private_part.len - 4 && accepted < (unsigned)len - 40);
	CU_ASSERT(is_accepted(der, len));
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(der);
	tg_bytes_free(&pem);
	tg_tpm_key_free(&key);
}

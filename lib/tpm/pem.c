/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * "TSS2 PRIVATE KEY": the file format for wrapped keys that tpm2-openssl and
 * others read and write (ASN.1 Specification for TPM 2.0 Key Files). Of its
 * optional parts only emptyAuth is ours; a key that has another one, or an
 * authorisation value, is refused rather than used without it.
 */
#include <errno.h>
#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "parts.h"
#include "tensorguard/file.h"

#define PEM_NAME "TSS2 PRIVATE KEY"
#define LOADABLE_KEY "2.23.133.10.1.3"

enum { PEM_MAX = 16384 };

typedef struct {
	ASN1_OBJECT *type;
	ASN1_BOOLEAN empty_auth;
	ASN1_INTEGER *parent;
	ASN1_OCTET_STRING *public_part;
	ASN1_OCTET_STRING *private_part;
} KEY_FILE;

ASN1_SEQUENCE(KEY_FILE) = {
	ASN1_SIMPLE(KEY_FILE, type, ASN1_OBJECT),
	ASN1_EXP_OPT(KEY_FILE, empty_auth, ASN1_BOOLEAN, 0),
	ASN1_SIMPLE(KEY_FILE, parent, ASN1_INTEGER),
	ASN1_SIMPLE(KEY_FILE, public_part, ASN1_OCTET_STRING),
	ASN1_SIMPLE(KEY_FILE, private_part, ASN1_OCTET_STRING),
} static_ASN1_SEQUENCE_END(KEY_FILE)

static KEY_FILE *new_file(void)
{
	return (KEY_FILE *)ASN1_item_new(ASN1_ITEM_rptr(KEY_FILE));
}

static void free_file(KEY_FILE *file)
{
	ASN1_item_free((ASN1_VALUE *)file, ASN1_ITEM_rptr(KEY_FILE));
}

static int encode(const KEY_FILE *file, unsigned char **ret_der)
{
	*ret_der = NULL;
	return ASN1_item_i2d((const ASN1_VALUE *)file, ret_der, ASN1_ITEM_rptr(KEY_FILE));
}

static KEY_FILE *file_of_key(const struct tg_tpm_key *key)
{
	KEY_FILE *file = new_file();

	if (!file)
		return NULL;
	ASN1_OBJECT_free(file->type);
	file->type = OBJ_txt2obj(LOADABLE_KEY, 1);
	file->empty_auth = 0xff;
	if (file->type && ASN1_INTEGER_set_uint64(file->parent, key->parent) &&
	    ASN1_OCTET_STRING_set(file->public_part, key->public_part.data, (int)key->public_part.len) &&
	    ASN1_OCTET_STRING_set(file->private_part, key->private_part.data, (int)key->private_part.len))
		return file;
	free_file(file);
	return NULL;
}

static int write_pem(BIO *bio, const struct tg_tpm_key *key)
{
	KEY_FILE *file = file_of_key(key);
	unsigned char *der = NULL;
	int len = file ? encode(file, &der) : -1;
	int r = len > 0 && PEM_write_bio(bio, PEM_NAME, "", der, len) > 0 ? 0 : -ENOMEM;

	OPENSSL_free(der);
	free_file(file);
	return r;
}

int tg_tpm_key_to_pem(const struct tg_tpm_key *key, struct tg_bytes *ret_pem, struct tg_error *e)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;
	int r = bio ? write_pem(bio, key) : -ENOMEM;

	if (!r) {
		len = BIO_get_mem_data(bio, &text);
		r = tg_bytes_copy(text, (size_t)len, ret_pem);
	}
	BIO_free(bio);
	return r ? tg_error(e, r, "out of memory") : 0;
}

static bool is_loadable(const KEY_FILE *file)
{
	ASN1_OBJECT *loadable = OBJ_txt2obj(LOADABLE_KEY, 1);
	bool is = loadable && !OBJ_cmp(file->type, loadable);

	ASN1_OBJECT_free(loadable);
	return is;
}

static int parse_parent(const KEY_FILE *file, uint32_t *ret_parent, struct tg_error *e)
{
	uint64_t parent;

	if (!ASN1_INTEGER_get_uint64(&parent, file->parent) ||
	    (parent != TPM2_RH_OWNER && parent != TPM2_RH_ENDORSEMENT &&
	     parent >> TPM2_HR_SHIFT != TPM2_HT_PERSISTENT))
		return tg_error(e, -EBADMSG,
				"TPM key: its parent is not the owner or endorsement hierarchy, "
				"nor a persistent handle");
	*ret_parent = (uint32_t)parent;
	return 0;
}

static int key_of_file(const KEY_FILE *file, struct tg_tpm_key *ret_key, struct tg_error *e)
{
	struct tg_tpm_key key = { 0 };
	uint8_t point[TG_TPM_POINT_BYTES];
	int r = parse_parent(file, &key.parent, e);

	if (!is_loadable(file))
		return tg_error(e, -EBADMSG, "TPM key: not a loadable key (" LOADABLE_KEY ")");
	/* TRUE is 0xff in DER, but tpm2-openssl writes 1 */
	if (file->empty_auth != 0xff && file->empty_auth != 1)
		return tg_error(e, -EBADMSG, "TPM key: has an authorisation value, which is not supported");
	if (!r)
		r = tg_bytes_copy(ASN1_STRING_get0_data(file->public_part),
				  (size_t)ASN1_STRING_length(file->public_part), &key.public_part);
	if (!r)
		r = tg_bytes_copy(ASN1_STRING_get0_data(file->private_part),
				  (size_t)ASN1_STRING_length(file->private_part), &key.private_part);
	if (!r)
		r = check_private(&key.private_part, e);
	if (!r)
		r = tg_tpm_key_point(&key, point, e);
	if (r)
		tg_tpm_key_free(&key);
	else
		*ret_key = key;
	return r;
}

/* DER has one encoding: what does not encode to itself was something else. */
static int parse_der(const unsigned char *der, long len, struct tg_tpm_key *ret_key, struct tg_error *e)
{
	const unsigned char *end = der;
	KEY_FILE *file = (KEY_FILE *)ASN1_item_d2i(NULL, &end, len, ASN1_ITEM_rptr(KEY_FILE));
	unsigned char *again = NULL;
	int again_len, r;

	if (!file)
		return tg_error(e, -EBADMSG,
				"TPM key: malformed, or with a policy or a secret, which are not supported");
	again_len = encode(file, &again);
	if (again_len != len || memcmp(again, der, (size_t)len))
		r = tg_error(e, -EBADMSG, "TPM key: not in DER");
	else
		r = key_of_file(file, ret_key, e);
	OPENSSL_free(again);
	free_file(file);
	return r;
}

static int read_pem(BIO *bio, struct tg_tpm_key *ret_key, struct tg_error *e)
{
	char *name = NULL, *header = NULL;
	unsigned char *der = NULL;
	long len = 0;
	int r;

	if (PEM_read_bio(bio, &name, &header, &der, &len) != 1 || strcmp(name, PEM_NAME) || *header)
		r = tg_error(e, -EBADMSG, "TPM key: not a " PEM_NAME " in PEM");
	else if (BIO_pending(bio))
		r = tg_error(e, -EBADMSG, "TPM key: something follows its end");
	else
		r = parse_der(der, len, ret_key, e);
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(der);
	return r;
}

int tg_tpm_key_from_pem(const void *pem, size_t len, struct tg_tpm_key *ret_key, struct tg_error *e)
{
	static const char begin[] = "-----BEGIN " PEM_NAME "-----";
	BIO *bio;
	int r;

	if (len > PEM_MAX || len < sizeof(begin) || memcmp(pem, begin, sizeof(begin) - 1))
		return tg_error(e, -EBADMSG, "TPM key: not a " PEM_NAME " in PEM");
	bio = BIO_new_mem_buf(pem, (int)len);
	if (!bio)
		return tg_error(e, -ENOMEM, "out of memory");
	ERR_set_mark();
	r = read_pem(bio, ret_key, e);
	ERR_pop_to_mark();
	BIO_free(bio);
	return r;
}

int tg_tpm_key_save(const struct tg_tpm_key *key, const char *path, struct tg_error *e)
{
	struct tg_bytes pem;
	int r = tg_tpm_key_to_pem(key, &pem, e);

	if (r)
		return r;
	r = tg_file_replace(path, pem.data, pem.len, 0600, e);
	tg_bytes_free(&pem);
	return r;
}

int tg_tpm_key_load(const char *path, struct tg_tpm_key *ret_key, struct tg_error *e)
{
	struct tg_bytes pem;
	int r = tg_file_read(path, PEM_MAX, &pem, e);

	if (r)
		return r;
	r = tg_tpm_key_from_pem(pem.data, pem.len, ret_key, e);
	tg_bytes_free(&pem);
	return r ? tg_error_prefix(e, r, "%s", path) : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/ecdsa.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#include "parts.h"
#include "rc.h"
#include "tensorguard/crypto.h"

enum {
	KEY = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
	      TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA,
};

static const TPMT_ECC_SCHEME ecdsa = { .scheme = TPM2_ALG_ECDSA, .details.ecdsa.hashAlg = TPM2_ALG_SHA256 };

static TPM2B_PUBLIC key_template(enum tg_tpm_use use)
{
	TPM2B_PUBLIC public = { .publicArea = {
		.type = TPM2_ALG_ECC,
		.nameAlg = TPM2_ALG_SHA256,
		.objectAttributes = KEY,
		.parameters.eccDetail = {
			.symmetric.algorithm = TPM2_ALG_NULL,
			.scheme = ecdsa,
			.curveID = TPM2_ECC_NIST_P256,
			.kdf.scheme = TPM2_ALG_NULL,
		},
	} };
	TPMT_PUBLIC *area = &public.publicArea;

	switch (use) {
	case TG_TPM_AK:
		area->objectAttributes |= TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT;
		break;
	case TG_TPM_TLS:
		area->objectAttributes |= TPMA_OBJECT_SIGN_ENCRYPT;
		break;
	case TG_TPM_HPKE:
		area->objectAttributes |= TPMA_OBJECT_DECRYPT;
		area->parameters.eccDetail.scheme = (TPMT_ECC_SCHEME){ .scheme = TPM2_ALG_NULL };
		break;
	}
	return public;
}

int marshal_public(const TPM2B_PUBLIC *public, struct tg_bytes *ret_bytes, struct tg_error *e)
{
	uint8_t buffer[sizeof(*public)];
	size_t len = 0;
	TSS2_RC rc = Tss2_MU_TPM2B_PUBLIC_Marshal(public, buffer, sizeof(buffer), &len);

	if (rc)
		return tg_rc_error(e, rc, "write a public area");
	return tg_bytes_copy(buffer, len, ret_bytes);
}

int parse_public(const struct tg_bytes *bytes, TPM2B_PUBLIC *ret_public, struct tg_error *e)
{
	TPM2B_PUBLIC public = { 0 };
	size_t at = 0;
	TSS2_RC rc = Tss2_MU_TPM2B_PUBLIC_Unmarshal(bytes->data, bytes->len, &at, &public);

	if (rc || at != bytes->len)
		return tg_error(e, -EBADMSG, "TPM: a public area of %zu bytes is malformed", bytes->len);
	*ret_public = public;
	return 0;
}

static int parse_private(const struct tg_bytes *bytes, TPM2B_PRIVATE *ret_private, struct tg_error *e)
{
	TPM2B_PRIVATE private = { 0 };
	size_t at = 0;
	TSS2_RC rc = Tss2_MU_TPM2B_PRIVATE_Unmarshal(bytes->data, bytes->len, &at, &private);

	if (rc || at != bytes->len)
		return tg_error(e, -EBADMSG, "TPM: a wrapped private area of %zu bytes is malformed",
				bytes->len);
	*ret_private = private;
	return 0;
}

int check_private(const struct tg_bytes *bytes, struct tg_error *e)
{
	TPM2B_PRIVATE private;

	return parse_private(bytes, &private, e);
}

static int key_from_parts(TPM2_HANDLE parent, const TPM2B_PUBLIC *public, const TPM2B_PRIVATE *private,
			  struct tg_tpm_key *ret_key, struct tg_error *e)
{
	struct tg_tpm_key key = { .parent = parent };
	uint8_t buffer[sizeof(*private)];
	size_t len = 0;
	TSS2_RC rc = Tss2_MU_TPM2B_PRIVATE_Marshal(private, buffer, sizeof(buffer), &len);
	int r = rc ? tg_rc_error(e, rc, "write a private area")
		   : tg_bytes_copy(buffer, len, &key.private_part);

	if (!r)
		r = marshal_public(public, &key.public_part, e);
	if (r)
		tg_tpm_key_free(&key);
	else
		*ret_key = key;
	return r;
}

static int create(struct operation *op, enum tg_tpm_use use, enum tg_tpm_hierarchy hierarchy,
		  struct tg_tpm_key *ret_key)
{
	static const TPM2B_SENSITIVE_CREATE nothing = { 0 };
	static const TPM2B_DATA no_data = { 0 };
	static const TPML_PCR_SELECTION no_pcrs = { 0 };
	TPM2B_PUBLIC template = key_template(use), *public = NULL;
	TPM2B_PRIVATE *private = NULL;
	TPM2_HANDLE parent = TPM2_RH_ENDORSEMENT;
	ESYS_TR handle;
	int r = hierarchy == TG_TPM_OWNER ? op_owner_parent(op, &parent) : 0;

	if (!r)
		r = op_parent_session(op, parent, &handle);
	if (r)
		return r;
	r = OP_RUN(op, "create a key",
		   Esys_Create(op->esys, handle, op_encrypt(op, TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT),
			       ESYS_TR_NONE, ESYS_TR_NONE, &nothing, &template, &no_data, &no_pcrs, &private,
			       &public, NULL, NULL, NULL));
	if (!r)
		r = key_from_parts(parent, public, private, ret_key, op->e);
	Esys_Free(private);
	Esys_Free(public);
	return r;
}

int tg_tpm_key_create(struct tg_tpm *tpm, enum tg_tpm_use use, enum tg_tpm_hierarchy hierarchy,
		      struct tg_tpm_key *ret_key, struct tg_error *e)
{
	struct operation op;
	int r = op_begin(&op, tpm, e);

	if (r)
		return r;
	r = create(&op, use, hierarchy, ret_key);
	op_end(&op);
	return r;
}

int tg_tpm_key_copy(const struct tg_tpm_key *key, struct tg_tpm_key *ret_key)
{
	struct tg_tpm_key copy = { .parent = key->parent };
	int r = tg_bytes_copy(key->public_part.data, key->public_part.len, &copy.public_part);

	if (!r)
		r = tg_bytes_copy(key->private_part.data, key->private_part.len, &copy.private_part);
	if (r)
		tg_tpm_key_free(&copy);
	else
		*ret_key = copy;
	return r;
}

void tg_tpm_key_free(struct tg_tpm_key *key)
{
	if (!key)
		return;
	tg_bytes_free(&key->public_part);
	tg_bytes_free(&key->private_part);
	key->parent = 0;
}

int tg_tpm_key_name(const struct tg_tpm_key *key, uint8_t ret_name[static 2 + TG_TPM_DIGEST_BYTES],
		    struct tg_error *e)
{
	uint8_t digest[TG_TPM_DIGEST_BYTES];
	struct tg_piece area;
	TPM2B_PUBLIC public;
	int r = parse_public(&key->public_part, &public, e);

	if (r)
		return r;
	if (public.publicArea.nameAlg != TPM2_ALG_SHA256)
		return tg_error(e, -EBADMSG, "TPM: the key's name algorithm is not SHA-256");
	/* the name covers the area without its size */
	area = (struct tg_piece){ key->public_part.data + 2, key->public_part.len - 2 };
	r = tg_sha256(&area, 1, digest, e);
	if (r)
		return r;
	ret_name[0] = TPM2_ALG_SHA256 >> 8;
	ret_name[1] = TPM2_ALG_SHA256 & 0xff;
	memcpy(ret_name + 2, digest, sizeof(digest));
	return 0;
}

/* A TPM may leave zeros in front out. */
static int pad_coordinate(const TPM2B_ECC_PARAMETER *number, uint8_t ret_bytes[static 32], struct tg_error *e)
{
	if (number->size > 32)
		return tg_error(e, -EBADMSG, "TPM: a coordinate of P-256 has %u bytes", number->size);
	memset(ret_bytes, 0, 32);
	memcpy(ret_bytes + 32 - number->size, number->buffer, number->size);
	return 0;
}

int tg_tpm_key_point(const struct tg_tpm_key *key, uint8_t ret_point[static TG_TPM_POINT_BYTES],
		     struct tg_error *e)
{
	uint8_t point[TG_TPM_POINT_BYTES] = { POINT_CONVERSION_UNCOMPRESSED };
	TPM2B_PUBLIC public;
	const TPMT_PUBLIC *area = &public.publicArea;
	int r = parse_public(&key->public_part, &public, e);

	if (r)
		return r;
	if (area->type != TPM2_ALG_ECC || area->parameters.eccDetail.curveID != TPM2_ECC_NIST_P256)
		return tg_error(e, -EBADMSG, "TPM: not a P-256 key");
	r = pad_coordinate(&area->unique.ecc.x, point + 1, e);
	if (!r)
		r = pad_coordinate(&area->unique.ecc.y, point + 33, e);
	if (!r)
		memcpy(ret_point, point, sizeof(point));
	return r;
}

int op_load(struct operation *op, const struct tg_tpm_key *key, ESYS_TR *ret_handle)
{
	TPM2B_PUBLIC public;
	TPM2B_PRIVATE private;
	ESYS_TR parent, handle;
	int r = parse_public(&key->public_part, &public, op->e);

	if (!r)
		r = parse_private(&key->private_part, &private, op->e);
	if (!r)
		r = op_parent_session(op, key->parent, &parent);
	if (r)
		return r;
	r = OP_RUN(op, "load a key",
		   Esys_Load(op->esys, parent, op_encrypt(op, TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT),
			     ESYS_TR_NONE, ESYS_TR_NONE, &private, &public, &handle));
	if (r)
		return r;
	op_keep(op, handle, false);
	op_drop(op, parent);
	*ret_handle = handle;
	return 0;
}

static int signature_der(const TPMT_SIGNATURE *signature, struct tg_bytes *ret_der, struct tg_error *e)
{
	const TPMS_SIGNATURE_ECC *pair = &signature->signature.ecdsa;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *a = BN_bin2bn(pair->signatureR.buffer, pair->signatureR.size, NULL);
	BIGNUM *b = BN_bin2bn(pair->signatureS.buffer, pair->signatureS.size, NULL);
	unsigned char *der = NULL;
	int len, r = -ENOMEM;

	if (!sig || !a || !b || !ECDSA_SIG_set0(sig, a, b)) {
		BN_free(a);
		BN_free(b);
	} else {
		len = i2d_ECDSA_SIG(sig, &der);
		if (len > 0)
			r = tg_bytes_copy(der, (size_t)len, ret_der);
	}
	OPENSSL_free(der);
	ECDSA_SIG_free(sig);
	return r ? tg_error(e, r, "out of memory") : 0;
}

static int sign(struct operation *op, const struct tg_tpm_key *key, const uint8_t *digest,
		struct tg_bytes *ret_der)
{
	static const TPMT_SIG_SCHEME scheme = { .scheme = TPM2_ALG_ECDSA,
						.details.ecdsa.hashAlg = TPM2_ALG_SHA256 };
	/* no ticket: the digest was not made by the TPM, which only restricted keys insist on */
	static const TPMT_TK_HASHCHECK no_ticket = { .tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL };
	TPM2B_DIGEST input = { .size = TG_TPM_DIGEST_BYTES };
	TPMT_SIGNATURE *signature = NULL;
	ESYS_TR handle;
	int r = op_load(op, key, &handle);

	if (r)
		return r;
	memcpy(input.buffer, digest, input.size);
	r = OP_RUN(op, "sign",
		   Esys_Sign(op->esys, handle, op_encrypt(op, TPMA_SESSION_DECRYPT), ESYS_TR_NONE,
			     ESYS_TR_NONE, &input, &scheme, &no_ticket, &signature));
	if (!r && signature->sigAlg != TPM2_ALG_ECDSA)
		r = tg_error(op->e, -EBADMSG, "TPM: signed by algorithm 0x%04x, not ECDSA",
			     signature->sigAlg);
	if (!r)
		r = signature_der(signature, ret_der, op->e);
	Esys_Free(signature);
	return r;
}

int tg_tpm_sign(struct tg_tpm *tpm, const struct tg_tpm_key *key,
		const uint8_t digest[static TG_TPM_DIGEST_BYTES], struct tg_bytes *ret_der,
		struct tg_error *e)
{
	struct operation op;
	int r = op_begin(&op, tpm, e);

	if (r)
		return r;
	r = sign(&op, key, digest, ret_der);
	op_end(&op);
	return r;
}

static int ecdh(struct operation *op, const struct tg_tpm_key *key, const uint8_t *point, uint8_t *ret_x)
{
	TPM2B_ECC_POINT in = { .point = { .x.size = 32, .y.size = 32 } }, *out = NULL;
	ESYS_TR handle;
	int r = op_load(op, key, &handle);

	if (r)
		return r;
	memcpy(in.point.x.buffer, point + 1, 32);
	memcpy(in.point.y.buffer, point + 33, 32);
	r = OP_RUN(op, "agree on a secret",
		   Esys_ECDH_ZGen(op->esys, handle,
				  op_encrypt(op, TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT), ESYS_TR_NONE,
				  ESYS_TR_NONE, &in, &out));
	if (r)
		return r;
	r = pad_coordinate(&out->point.x, ret_x, op->e);
	OPENSSL_cleanse(out, sizeof(*out));
	Esys_Free(out);
	return r;
}

int tg_tpm_ecdh(struct tg_tpm *tpm, const struct tg_tpm_key *key,
		const uint8_t point[static TG_TPM_POINT_BYTES], uint8_t ret_x[static 32], struct tg_error *e)
{
	struct operation op;
	int r;

	if (point[0] != POINT_CONVERSION_UNCOMPRESSED)
		return tg_error(e, -EINVAL, "TPM: the peer's point is not uncompressed");
	r = op_begin(&op, tpm, e);
	if (r)
		return r;
	r = ecdh(&op, key, point, ret_x);
	op_end(&op);
	return r;
}

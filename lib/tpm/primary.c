/* SPDX-License-Identifier: BSD-3-Clause */
/* Endorsement and storage keys: derived by the TPM from its seeds by well-known templates. */
#include <errno.h>
#include <string.h>

#include "parts.h"

/* PolicySecret(TPM_RH_ENDORSEMENT), the policy of both low-range templates (EK Credential Profile, B.3) */
static const uint8_t ek_policy[TG_TPM_DIGEST_BYTES] = {
	0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
	0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};
static const TPMT_SYM_DEF_OBJECT aes_cfb = {
	.algorithm = TPM2_ALG_AES,
	.keyBits.aes = 128,
	.mode.aes = TPM2_ALG_CFB,
};

enum {
	STORAGE = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
		  TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
	EK_RSA_PERSISTENT = 0x81010001,
	EK_P256_PERSISTENT = 0x81010002,
};

static TPM2B_PUBLIC p256_storage(TPMA_OBJECT more)
{
	return (TPM2B_PUBLIC){ .publicArea = {
		.type = TPM2_ALG_ECC,
		.nameAlg = TPM2_ALG_SHA256,
		.objectAttributes = STORAGE | more,
		.parameters.eccDetail = {
			.symmetric = aes_cfb,
			.scheme.scheme = TPM2_ALG_NULL,
			.curveID = TPM2_ECC_NIST_P256,
			.kdf.scheme = TPM2_ALG_NULL,
		},
	} };
}

static TPM2B_PUBLIC ek_template(enum tg_tpm_ek ek)
{
	TPM2B_PUBLIC public = p256_storage(TPMA_OBJECT_ADMINWITHPOLICY);
	TPMT_PUBLIC *area = &public.publicArea;

	area->authPolicy.size = sizeof(ek_policy);
	memcpy(area->authPolicy.buffer, ek_policy, sizeof(ek_policy));
	area->unique.ecc.x.size = area->unique.ecc.y.size = 32;
	if (ek == TG_TPM_EK_P256)
		return public;
	area->type = TPM2_ALG_RSA;
	area->parameters = (TPMU_PUBLIC_PARMS){ .rsaDetail = {
							.symmetric = aes_cfb,
							.scheme.scheme = TPM2_ALG_NULL,
							.keyBits = 2048,
						} };
	area->unique = (TPMU_PUBLIC_ID){ .rsa.size = 256 };
	return public;
}

int op_exists(struct operation *op, TPM2_HANDLE handle)
{
	TPMS_CAPABILITY_DATA *data = NULL;
	TPMI_YES_NO more;
	int r = OP_RUN(op, "list what is persistent",
		       Esys_GetCapability(op->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
					  TPM2_CAP_HANDLES, handle, 1, &more, &data));

	if (!r)
		r = data->data.handles.count > 0 && data->data.handles.handle[0] == handle;
	Esys_Free(data);
	return r;
}

int op_resident(struct operation *op, TPM2_HANDLE handle, const char *doing, ESYS_TR *ret_handle)
{
	ESYS_TR object;
	int r = OP_RUN(
		op, doing,
		Esys_TR_FromTPMPublic(op->esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &object));

	if (r)
		return r;
	op_keep(op, object, true);
	*ret_handle = object;
	return 0;
}

static int create_primary(struct operation *op, ESYS_TR hierarchy, const TPM2B_PUBLIC *template,
			  const char *doing, ESYS_TR *ret_handle, TPM2B_PUBLIC **ret_public)
{
	static const TPM2B_SENSITIVE_CREATE nothing = { 0 };
	static const TPM2B_DATA no_data = { 0 };
	static const TPML_PCR_SELECTION no_pcrs = { 0 };
	ESYS_TR handle;
	int r = OP_RUN(op, doing,
		       Esys_CreatePrimary(op->esys, hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
					  &nothing, template, &no_data, &no_pcrs, &handle, ret_public, NULL,
					  NULL, NULL));

	if (r)
		return r;
	op_keep(op, handle, false);
	*ret_handle = handle;
	return 0;
}

/* What the key at a persistent handle is, beside its own number or point, is what the template says. */
static bool made_by(const TPM2B_PUBLIC *public, const TPM2B_PUBLIC *template)
{
	TPM2B_PUBLIC a = *public, b = *template;
	struct tg_bytes left = { 0 }, right = { 0 };
	bool same;

	memset(&a.publicArea.unique, 0, sizeof(a.publicArea.unique));
	memset(&b.publicArea.unique, 0, sizeof(b.publicArea.unique));
	same = !marshal_public(&a, &left, NULL) && !marshal_public(&b, &right, NULL) &&
	       left.len == right.len && !memcmp(left.data, right.data, left.len);
	tg_bytes_free(&left);
	tg_bytes_free(&right);
	return same;
}

/* The key that somebody made persistent, if it is the one that the template would give: 1, 0 or a negative
 * errno. */
static int use_persistent(struct operation *op, TPM2_HANDLE at, const TPM2B_PUBLIC *template,
			  const char *doing, ESYS_TR *ret_handle, TPM2B_PUBLIC **ret_public)
{
	TPM2B_PUBLIC *public = NULL;
	ESYS_TR handle;
	int r = op_exists(op, at);

	if (r <= 0)
		return r;
	r = op_resident(op, at, doing, &handle);
	if (r)
		return r;
	r = OP_RUN(op, doing,
		   Esys_ReadPublic(op->esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &public, NULL,
				   NULL));
	if (r)
		return r;
	if (!made_by(public, template)) {
		Esys_Free(public);
		op_drop(op, handle);
		return 0;
	}
	*ret_handle = handle;
	if (ret_public)
		*ret_public = public;
	else
		Esys_Free(public);
	return 1;
}

int op_ek(struct operation *op, enum tg_tpm_ek ek, ESYS_TR *ret_ek, TPM2B_PUBLIC **ret_public)
{
	TPM2B_PUBLIC template = ek_template(ek);
	TPM2_HANDLE at = ek == TG_TPM_EK_RSA2048 ? EK_RSA_PERSISTENT : EK_P256_PERSISTENT;
	int r = use_persistent(op, at, &template, "find the endorsement key", ret_ek, ret_public);

	if (r)
		return r < 0 ? r : 0;
	return create_primary(op, ESYS_TR_RH_ENDORSEMENT, &template, "derive the endorsement key", ret_ek,
			      ret_public);
}

int op_parent(struct operation *op, TPM2_HANDLE parent, ESYS_TR *ret_parent)
{
	TPM2B_PUBLIC template = p256_storage(TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA);

	switch (parent) {
	case TPM2_RH_OWNER:
		return create_primary(op, ESYS_TR_RH_OWNER, &template, "derive the storage root key",
				      ret_parent, NULL);
	case TPM2_RH_ENDORSEMENT:
		return create_primary(op, ESYS_TR_RH_ENDORSEMENT, &template,
				      "derive the endorsement storage key", ret_parent, NULL);
	}
	if (parent >> TPM2_HR_SHIFT == TPM2_HT_PERSISTENT)
		return op_resident(op, parent, "find the key's parent", ret_parent);
	return tg_error(op->e, -EINVAL, "TPM: parent 0x%08x is neither a hierarchy nor a persistent handle",
			parent);
}

int op_parent_session(struct operation *op, TPM2_HANDLE parent, ESYS_TR *ret_parent)
{
	ESYS_TR handle;
	int r = op_parent(op, parent, &handle);

	if (!r)
		r = op_session(op, handle);
	if (!r)
		*ret_parent = handle;
	return r;
}

int op_owner_parent(struct operation *op, TPM2_HANDLE *ret_parent)
{
	TPM2B_PUBLIC template = p256_storage(TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA);
	ESYS_TR handle;
	int r = use_persistent(op, SRK_PERSISTENT, &template, "find the storage root key", &handle, NULL);

	if (r < 0)
		return r;
	if (r)
		op_drop(op, handle);
	*ret_parent = r ? (TPM2_HANDLE)SRK_PERSISTENT : TPM2_RH_OWNER;
	return 0;
}

int tg_tpm_ek_public(struct tg_tpm *tpm, enum tg_tpm_ek ek, struct tg_bytes *ret_public, struct tg_error *e)
{
	TPM2B_PUBLIC *public = NULL;
	struct operation op;
	ESYS_TR handle;
	int r = op_begin(&op, tpm, e);

	if (r)
		return r;
	r = op_ek(&op, ek, &handle, &public);
	if (!r)
		r = marshal_public(public, ret_public, e);
	Esys_Free(public);
	op_end(&op);
	return r;
}

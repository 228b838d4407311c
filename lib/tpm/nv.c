/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/asn1.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"

enum {
	EK_RSA_CERTIFICATE = 0x01c00002,
	EK_P256_CERTIFICATE = 0x01c0000a,
	CERTIFICATE_MAX = 8192,
};

/* The most that one TPM2_NV_Read returns. */
static int read_limit(struct operation *op, UINT16 *ret_limit)
{
	TPMS_CAPABILITY_DATA *data = NULL;
	const TPML_TAGGED_TPM_PROPERTY *list;
	TPMI_YES_NO more;
	int r = OP_RUN(op, "read its limits",
		       Esys_GetCapability(op->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
					  TPM2_CAP_TPM_PROPERTIES, TPM2_PT_NV_BUFFER_MAX, 1, &more, &data));

	if (r)
		return r;
	list = &data->data.tpmProperties;
	if (list->count != 1 || list->tpmProperty[0].property != TPM2_PT_NV_BUFFER_MAX ||
	    !list->tpmProperty[0].value || list->tpmProperty[0].value > UINT16_MAX)
		r = tg_error(op->e, -EBADMSG, "TPM: does not say how much it reads at once");
	else
		*ret_limit = (UINT16)list->tpmProperty[0].value;
	Esys_Free(data);
	return r;
}

static int nv_size(struct operation *op, ESYS_TR index, UINT16 *ret_size, TPMA_NV *ret_attributes)
{
	TPM2B_NV_PUBLIC *public = NULL;
	int r = OP_RUN(
		op, "look at the EK certificate",
		Esys_NV_ReadPublic(op->esys, index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &public, NULL));

	if (r)
		return r;
	*ret_size = public->nvPublic.dataSize;
	*ret_attributes = public->nvPublic.attributes;
	Esys_Free(public);
	return 0;
}

/* Reads into `buffer`; what is there is public, and signed by its issuer. */
static int nv_read(struct operation *op, ESYS_TR index, TPMA_NV attributes, uint8_t *buffer, UINT16 size)
{
	ESYS_TR by = attributes & TPMA_NV_AUTHREAD ? index : ESYS_TR_RH_OWNER;
	UINT16 limit = 0, at = 0;
	int r = read_limit(op, &limit);

	while (!r && at < size) {
		UINT16 part = size - at < limit ? size - at : limit;
		TPM2B_MAX_NV_BUFFER *data = NULL;

		r = OP_RUN(op, "read the EK certificate",
			   Esys_NV_Read(op->esys, by, index, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
					part, at, &data));
		if (!r && data->size != part)
			r = tg_error(op->e, -EBADMSG, "TPM: read %u bytes instead of %u", data->size, part);
		if (!r)
			memcpy(buffer + at, data->buffer, part);
		at += part;
		Esys_Free(data);
	}
	return r;
}

/* An index may be larger than what is in it: the certificate ends where its DER says. */
static int trim_certificate(const uint8_t *data, size_t len, struct tg_bytes *ret_der, struct tg_error *e)
{
	const unsigned char *end = data;
	X509 *certificate = d2i_X509(NULL, &end, (long)len);
	int r;

	if (!certificate)
		return tg_error(e, -EBADMSG,
				"TPM: what is at the EK certificate's index is not a certificate");
	r = tg_bytes_copy(data, (size_t)(end - data), ret_der);
	X509_free(certificate);
	return r;
}

static int ek_certificate(struct operation *op, TPM2_HANDLE at, struct tg_bytes *ret_der)
{
	TPMA_NV attributes = 0;
	ESYS_TR index;
	uint8_t *buffer;
	UINT16 size = 0;
	int r = op_exists(op, at);

	if (r <= 0)
		return r ? r : tg_error(op->e, -ENOENT, "TPM: no EK certificate at 0x%08x", at);
	r = op_resident(op, at, "find the EK certificate", &index);
	if (!r)
		r = nv_size(op, index, &size, &attributes);
	if (!r && (!size || size > CERTIFICATE_MAX))
		r = tg_error(op->e, -EBADMSG, "TPM: the EK certificate's index has %u bytes", size);
	if (r)
		return r;
	buffer = malloc(size);
	if (!buffer)
		return tg_error(op->e, -ENOMEM, "out of memory");
	r = nv_read(op, index, attributes, buffer, size);
	if (!r)
		r = trim_certificate(buffer, size, ret_der, op->e);
	free(buffer);
	return r;
}

int tg_tpm_ek_certificate(struct tg_tpm *tpm, enum tg_tpm_ek ek, struct tg_bytes *ret_der, struct tg_error *e)
{
	struct operation op;
	int r = op_begin(&op, tpm, e);

	if (r)
		return r;
	r = ek_certificate(&op, ek == TG_TPM_EK_RSA2048 ? EK_RSA_CERTIFICATE : EK_P256_CERTIFICATE, ret_der);
	op_end(&op);
	return r;
}

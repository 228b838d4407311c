/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "parts.h"

enum {
	COUNTER = TPM2_NT_COUNTER << TPMA_NV_TPM2_NT_SHIFT | TPMA_NV_AUTHWRITE | TPMA_NV_AUTHREAD |
		  TPMA_NV_NO_DA,
};

static int check_arguments(uint32_t index, size_t auth_len, struct tg_error *e)
{
	if (index < TG_TPM_COUNTER_FIRST || index > TG_TPM_COUNTER_LAST)
		return tg_error(e, -EINVAL, "TPM: counter 0x%08x is not within 0x%08x to 0x%08x", index,
				TG_TPM_COUNTER_FIRST, TG_TPM_COUNTER_LAST);
	if (auth_len > TG_TPM_DIGEST_BYTES)
		return tg_error(e, -EINVAL, "TPM: an authorisation value of %zu bytes, at most %d fit",
				auth_len, TG_TPM_DIGEST_BYTES);
	return 0;
}

static TPM2B_AUTH make_auth(const void *auth, size_t auth_len)
{
	TPM2B_AUTH value = { .size = (UINT16)auth_len };

	if (auth_len)
		memcpy(value.buffer, auth, auth_len);
	return value;
}

/* A session, salted to the storage root key, which is out again. */
static int start_session(struct operation *op)
{
	TPM2_HANDLE parent;
	ESYS_TR handle;
	int r = op_owner_parent(op, &parent);

	if (!r)
		r = op_parent_session(op, parent, &handle);
	if (!r)
		op_drop(op, handle);
	return r;
}

static int check_counter(struct operation *op, uint32_t index, ESYS_TR handle)
{
	TPM2B_NV_PUBLIC *public = NULL;
	int r = OP_RUN(op, "look at a counter",
		       Esys_NV_ReadPublic(op->esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &public,
					  NULL));

	if (r)
		return r;
	if (public->nvPublic.dataSize != sizeof(uint64_t) ||
	    (public->nvPublic.attributes & ~(TPMA_NV)TPMA_NV_WRITTEN) != COUNTER)
		r = tg_error(op->e, -EBADMSG, "TPM: what is at 0x%08x is not a counter of ours", index);
	Esys_Free(public);
	return r;
}

/* The counter's handle with its authorisation value, and a session. */
static int find(struct operation *op, uint32_t index, const TPM2B_AUTH *auth, ESYS_TR *ret_handle)
{
	ESYS_TR handle;
	int r = op_exists(op, index);

	if (r <= 0)
		return r ? r : tg_error(op->e, -ENOENT, "TPM: no counter at 0x%08x", index);
	r = start_session(op);
	if (!r)
		r = op_resident(op, index, "find a counter", &handle);
	if (!r)
		r = check_counter(op, index, handle);
	if (!r)
		r = op_result(op, Esys_TR_SetAuth(op->esys, handle, auth), "use a counter");
	if (!r)
		*ret_handle = handle;
	return r;
}

static int increment(struct operation *op, ESYS_TR handle)
{
	return OP_RUN(
		op, "increment a counter",
		Esys_NV_Increment(op->esys, handle, handle, op_encrypt(op, 0), ESYS_TR_NONE, ESYS_TR_NONE));
}

static int define(struct operation *op, uint32_t index, const TPM2B_AUTH *auth)
{
	const TPM2B_NV_PUBLIC public = { .nvPublic = {
						 .nvIndex = index,
						 .nameAlg = TPM2_ALG_SHA256,
						 .attributes = COUNTER,
						 .dataSize = sizeof(uint64_t),
					 } };
	ESYS_TR handle;
	int r = start_session(op);

	if (r)
		return r;
	r = OP_RUN(op, "define a counter",
		   Esys_NV_DefineSpace(op->esys, ESYS_TR_RH_OWNER, op_encrypt(op, TPMA_SESSION_DECRYPT),
				       ESYS_TR_NONE, ESYS_TR_NONE, auth, &public, &handle));
	if (r)
		return r;
	op_keep(op, handle, true);
	return increment(op, handle);
}

static int read_value(struct operation *op, ESYS_TR handle, uint64_t *ret_value)
{
	TPM2B_MAX_NV_BUFFER *data = NULL;
	uint64_t value;
	int r = OP_RUN(op, "read a counter",
		       Esys_NV_Read(op->esys, handle, handle, op_encrypt(op, TPMA_SESSION_ENCRYPT),
				    ESYS_TR_NONE, ESYS_TR_NONE, sizeof(value), 0, &data));

	if (r)
		return r;
	if (data->size != sizeof(value)) {
		r = tg_error(op->e, -EBADMSG, "TPM: a counter of %u bytes", data->size);
	} else {
		memcpy(&value, data->buffer, sizeof(value));
		*ret_value = be64toh(value);
	}
	Esys_Free(data);
	return r;
}

int tg_tpm_counter_define(struct tg_tpm *tpm, uint32_t index, const void *auth, size_t auth_len,
			  struct tg_error *e)
{
	struct operation op;
	TPM2B_AUTH value;
	int r = check_arguments(index, auth_len, e);

	if (!r)
		r = op_begin(&op, tpm, e);
	if (r)
		return r;
	value = make_auth(auth, auth_len);
	r = define(&op, index, &value);
	OPENSSL_cleanse(&value, sizeof(value));
	op_end(&op);
	return r;
}

/* Reads if there is a place for the value, else increments. */
static int use(struct tg_tpm *tpm, uint32_t index, const void *auth, size_t auth_len, uint64_t *ret_value,
	       struct tg_error *e)
{
	struct operation op;
	TPM2B_AUTH value;
	ESYS_TR handle;
	int r = check_arguments(index, auth_len, e);

	if (!r)
		r = op_begin(&op, tpm, e);
	if (r)
		return r;
	value = make_auth(auth, auth_len);
	r = find(&op, index, &value, &handle);
	OPENSSL_cleanse(&value, sizeof(value));
	if (!r)
		r = ret_value ? read_value(&op, handle, ret_value) : increment(&op, handle);
	op_end(&op);
	return r;
}

int tg_tpm_counter_increment(struct tg_tpm *tpm, uint32_t index, const void *auth, size_t auth_len,
			     struct tg_error *e)
{
	return use(tpm, index, auth, auth_len, NULL, e);
}

int tg_tpm_counter_read(struct tg_tpm *tpm, uint32_t index, const void *auth, size_t auth_len,
			uint64_t *ret_value, struct tg_error *e)
{
	return use(tpm, index, auth, auth_len, ret_value, e);
}

static int undefine(struct operation *op, uint32_t index)
{
	static const TPM2B_AUTH nothing = { 0 };
	ESYS_TR handle;
	int r = find(op, index, &nothing, &handle);

	if (r)
		return r;
	r = OP_RUN(op, "remove a counter",
		   Esys_NV_UndefineSpace(op->esys, ESYS_TR_RH_OWNER, handle, op_encrypt(op, 0), ESYS_TR_NONE,
					 ESYS_TR_NONE));
	if (!r)
		op_forget(op, handle);
	return r;
}

int tg_tpm_counter_remove(struct tg_tpm *tpm, uint32_t index, struct tg_error *e)
{
	struct operation op;
	int r = check_arguments(index, 0, e);

	if (!r)
		r = op_begin(&op, tpm, e);
	if (r)
		return r;
	r = undefine(&op, index);
	op_end(&op);
	return r;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "parts.h"

static const TPMT_SYM_DEF aes_cfb = {
	.algorithm = TPM2_ALG_AES,
	.keyBits.aes = 128,
	.mode.aes = TPM2_ALG_CFB,
};
static const TPMT_SYM_DEF no_cipher = { .algorithm = TPM2_ALG_NULL };

int op_session(struct operation *op, ESYS_TR salt)
{
	ESYS_TR session;
	int r;

	if (op->session != ESYS_TR_NONE)
		return 0;
	r = OP_RUN(op, "start a session",
		   Esys_StartAuthSession(op->esys, salt, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
					 ESYS_TR_NONE, NULL, TPM2_SE_HMAC, &aes_cfb, TPM2_ALG_SHA256,
					 &session));
	if (r)
		return r;
	op_keep(op, session, false);
	op->session = session;
	return 0;
}

ESYS_TR op_encrypt(struct operation *op, TPMA_SESSION directions)
{
	/* fails only for a handle that is no session, and then the command that it is given to fails too */
	Esys_TRSess_SetAttributes(op->esys, op->session, TPMA_SESSION_CONTINUESESSION | directions, 0xff);
	return op->session;
}

int op_ek_session(struct operation *op, ESYS_TR *ret_session)
{
	ESYS_TR session;
	int r = OP_RUN(op, "start a policy session",
		       Esys_StartAuthSession(op->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
					     ESYS_TR_NONE, NULL, TPM2_SE_POLICY, &no_cipher, TPM2_ALG_SHA256,
					     &session));

	if (r)
		return r;
	op_keep(op, session, false);
	r = OP_RUN(op, "use the endorsement hierarchy",
		   Esys_PolicySecret(op->esys, ESYS_TR_RH_ENDORSEMENT, session, ESYS_TR_PASSWORD,
				     ESYS_TR_NONE, ESYS_TR_NONE, NULL, NULL, NULL, 0, NULL, NULL));
	if (!r)
		*ret_session = session;
	return r;
}

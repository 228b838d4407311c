/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One operation on the TPM: from the moment it has the context to itself until
 * all that it put into the TPM is out again. op_end flushes what op_keep was
 * given, whatever happened between.
 */
#ifndef LIB_TPM_PARTS_H
#define LIB_TPM_PARTS_H

#include <stdbool.h>
#include <tss2/tss2_esys.h>

#include "tensorguard/tpm.h"

enum {
	OP_HANDLES = 6, /* endorsement key, its policy session, storage root, session, attestation key,
			   another key */
	SRK_PERSISTENT = 0x81000001,
};

struct operation {
	struct tg_tpm *tpm;
	ESYS_CONTEXT *esys;
	struct tg_error *e;
	ESYS_TR session;	/* salted HMAC session, ESYS_TR_NONE before op_session */
	struct {
		ESYS_TR handle;
		bool resident;	/* stays in the TPM: only our reference to it goes */
	} held[OP_HANDLES];
	unsigned held_count;
};

/* Takes the context, and mends it if the operation before left it broken. On error there is nothing to end.
 */
int op_begin(struct operation *op, struct tg_tpm *tpm, struct tg_error *e);
void op_end(struct operation *op);
/* Hands a handle over to the operation. */
void op_keep(struct operation *op, ESYS_TR handle, bool resident);
/* Gives a slot back before the end. */
void op_drop(struct operation *op, ESYS_TR handle);
/* The handle is gone: a command took it. */
void op_forget(struct operation *op, ESYS_TR handle);

/* The salted session, started at first use; `salt` is a decryption key that is loaded. */
int op_session(struct operation *op, ESYS_TR salt);
/* The session, set to encrypt the next command's first parameter (TPMA_SESSION_DECRYPT) and its answer's
 * (_ENCRYPT). */
ESYS_TR op_encrypt(struct operation *op, TPMA_SESSION directions);

/* Runs one ESYS call, again where the TPM asks for that, and turns its code into an errno and a message. */
#define OP_RUN(op, doing, call)                               \
	({                                                    \
		unsigned op_run_try = 0;                      \
		TSS2_RC op_run_rc;                            \
		do                                            \
			op_run_rc = (call);                   \
		while (op_try_again(op_run_rc, &op_run_try)); \
		op_result((op), op_run_rc, (doing));          \
	})
bool op_try_again(TSS2_RC rc, unsigned *tries);
int op_result(struct operation *op, TSS2_RC rc, const char *doing);

/* Whether there is something at a persistent handle or NV index: 1, 0 or a negative errno. */
int op_exists(struct operation *op, TPM2_HANDLE handle);
/* A key or NV index that stays in the TPM. */
int op_resident(struct operation *op, TPM2_HANDLE handle, const char *doing, ESYS_TR *ret_handle);

/* The primary storage key of a hierarchy, or the key at a persistent handle. */
int op_parent(struct operation *op, TPM2_HANDLE parent, ESYS_TR *ret_parent);
/* What new keys of the owner get as their parent: the persistent storage root key if there is one. */
int op_owner_parent(struct operation *op, TPM2_HANDLE *ret_parent);
/* The same, and the session salted to it. */
int op_parent_session(struct operation *op, TPM2_HANDLE parent, ESYS_TR *ret_parent);
int op_ek(struct operation *op, enum tg_tpm_ek ek, ESYS_TR *ret_ek, TPM2B_PUBLIC **ret_public);
/* Loads a key, and drops its parent again; starts the session. */
int op_load(struct operation *op, const struct tg_tpm_key *key, ESYS_TR *ret_handle);
/* Policy session that TPM2_PolicySecret of the endorsement hierarchy has satisfied: what the EK's policy asks
 * for. */
int op_ek_session(struct operation *op, ESYS_TR *ret_session);

int check_pcrs(uint32_t pcrs, struct tg_error *e);
/* PCRs of the SHA-256 bank. */
TPML_PCR_SELECTION select_pcrs(uint32_t pcrs);

/* Strict: nothing may be left over. */
int parse_public(const struct tg_bytes *bytes, TPM2B_PUBLIC *ret_public, struct tg_error *e);
int check_private(const struct tg_bytes *bytes, struct tg_error *e);
int marshal_public(const TPM2B_PUBLIC *public, struct tg_bytes *ret_bytes, struct tg_error *e);

#endif

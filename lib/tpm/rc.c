/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stddef.h>
#include <time.h>
#include <tss2/tss2_tpm2_types.h>

#include "parts.h"
#include "rc.h"

enum {
	TRIES = 6,
	FIRST_WAIT_MS = 20,	/* doubled each time: 620 ms at most */
};

static const struct {
	TSS2_RC rc;
	int err;
} errors[] = {
	{ TPM2_RC_LOCKOUT, -EAGAIN },          { TPM2_RC_RETRY, -EAGAIN },
	{ TPM2_RC_YIELDED, -EAGAIN },          { TPM2_RC_TESTING, -EAGAIN },
	{ TPM2_RC_NV_RATE, -EAGAIN },          { TPM2_RC_OBJECT_MEMORY, -ENOSPC },
	{ TPM2_RC_SESSION_MEMORY, -ENOSPC },   { TPM2_RC_MEMORY, -ENOSPC },
	{ TPM2_RC_OBJECT_HANDLES, -ENOSPC },   { TPM2_RC_SESSION_HANDLES, -ENOSPC },
	{ TPM2_RC_NV_SPACE, -ENOSPC },         { TPM2_RC_NV_DEFINED, -EEXIST },
	{ TPM2_RC_AUTH_FAIL, -EACCES },        { TPM2_RC_BAD_AUTH, -EACCES },
	{ TPM2_RC_AUTH_UNAVAILABLE, -EACCES }, { TPM2_RC_AUTH_TYPE, -EACCES },
	{ TPM2_RC_AUTH_MISSING, -EACCES },     { TPM2_RC_POLICY_FAIL, -EACCES },
	{ TPM2_RC_NV_AUTHORIZATION, -EACCES }, { TPM2_RC_HANDLE, -ENOENT },
	{ TPM2_RC_NV_UNINITIALIZED, -ENOENT }, { TPM2_RC_INTEGRITY, -EBADMSG },
	{ TPM2_RC_SIGNATURE, -EBADMSG },       { TPM2_RC_ECC_POINT, -EBADMSG },
};

bool tg_rc_is_tpm(TSS2_RC rc)
{
	TSS2_RC layer = rc & TSS2_RC_LAYER_MASK;

	return layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER;
}

TSS2_RC tg_rc_base(TSS2_RC rc)
{
	rc &= ~TSS2_RC_LAYER_MASK;
	return rc & TPM2_RC_FMT1 ? rc & (TPM2_RC_FMT1 | 0x3f) : rc;
}

static int rc_errno(TSS2_RC rc)
{
	if (!tg_rc_is_tpm(rc)) {
		switch (rc & ~TSS2_RC_LAYER_MASK) {
		case TSS2_BASE_RC_IO_ERROR:
		case TSS2_BASE_RC_NO_CONNECTION:
			return -EIO;
		case TSS2_BASE_RC_MEMORY:
			return -ENOMEM;
		}
		return -EBADMSG;
	}
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (errors[i].rc == tg_rc_base(rc))
			return errors[i].err;
	return -EIO;
}

int tg_rc_error(struct tg_error *e, TSS2_RC rc, const char *doing)
{
	return tg_error(e, rc_errno(rc), "TPM: %s: %s (0x%x)", doing, Tss2_RC_Decode(rc), rc);
}

bool op_try_again(TSS2_RC rc, unsigned *tries)
{
	long wait_ms = FIRST_WAIT_MS << *tries;

	if (!tg_rc_is_tpm(rc) || ++*tries == TRIES)
		return false;
	switch (tg_rc_base(rc)) {
	case TPM2_RC_RETRY:
	case TPM2_RC_YIELDED:
	case TPM2_RC_TESTING:
	case TPM2_RC_NV_RATE:
		nanosleep(&(struct timespec){ .tv_nsec = wait_ms * 1000000 }, NULL);
		return true;
	}
	return false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The way to the TPM, with one check that tpm2-tss leaves out: an answer is as long as it says. */
#ifndef LIB_TPM_TCTI_H
#define LIB_TPM_TCTI_H

#include <tss2/tss2_tcti.h>

/* A TCTI in front of another. Plain data: nothing to finalise. */
struct checked_tcti {
	TSS2_TCTI_CONTEXT_COMMON_V1 common;
	TSS2_TCTI_CONTEXT *inner;
};

/* Makes `checked` one in front of `inner`; returns it as what it is to ESYS. */
TSS2_TCTI_CONTEXT *checked_tcti(struct checked_tcti *checked, TSS2_TCTI_CONTEXT *inner);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Codes of the TPM and of tpm2-tss as errno and words. */
#ifndef LIB_TPM_RC_H
#define LIB_TPM_RC_H

#include <stdbool.h>
#include <tss2/tss2_common.h>
#include <tss2/tss2_rc.h>

#include "tensorguard/error.h"

/* Whether the TPM (or a resource manager in its name) answered with this, rather than something on the way.
 */
bool tg_rc_is_tpm(TSS2_RC rc);
/* The code without its layer and without the number of the parameter, handle or session that it is about. */
TSS2_RC tg_rc_base(TSS2_RC rc);
/* Puts "TPM: DOING: CODE IN WORDS" into `e` and returns the errno that tpm.h lists. */
int tg_rc_error(struct tg_error *e, TSS2_RC rc, const char *doing);

#endif

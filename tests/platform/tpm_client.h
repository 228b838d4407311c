/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_PLATFORM_TPM_CLIENT_H
#define TESTS_PLATFORM_TPM_CLIENT_H

#include "faketpm.h"
#include "platform_fixture.h"

/* Both messages of a device with a TPM, a renewal when `token` is NULL. The certificate, or NULL. */
X509 *with_tpm(struct enrol_client *client, const struct fake *fake, const char *token,
	       struct enrol_reply *ret_reply, enum tg_assurance *ret_assurance);

#endif

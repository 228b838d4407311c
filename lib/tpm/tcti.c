/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <string.h>

#include "tcti.h"

enum {
	HEADER = 10,		/* tag, size, code */
	SIZE_AT = 2,
};

static const uint64_t magic = 0x74672d74706d;	/* "tg-tpm" */

static TSS2_TCTI_CONTEXT *inner_of(TSS2_TCTI_CONTEXT *tcti)
{
	return ((struct checked_tcti *)(void *)tcti)->inner;
}

static TSS2_RC transmit(TSS2_TCTI_CONTEXT *tcti, size_t size, const uint8_t *command)
{
	return Tss2_Tcti_Transmit(inner_of(tcti), size, command);
}

/* What of a cut answer did not arrive would be read from the buffer, as the answer before left it. */
static TSS2_RC receive(TSS2_TCTI_CONTEXT *tcti, size_t *size, uint8_t *answer, int32_t timeout)
{
	TSS2_RC rc = Tss2_Tcti_Receive(inner_of(tcti), size, answer, timeout);
	uint32_t stated;

	if (rc || !answer)
		return rc;
	if (*size < HEADER)
		return TSS2_TCTI_RC_MALFORMED_RESPONSE;
	memcpy(&stated, answer + SIZE_AT, sizeof(stated));
	return be32toh(stated) == *size ? TSS2_RC_SUCCESS : TSS2_TCTI_RC_MALFORMED_RESPONSE;
}

TSS2_TCTI_CONTEXT *checked_tcti(struct checked_tcti *checked, TSS2_TCTI_CONTEXT *inner)
{
	*checked = (struct checked_tcti){
		.common = { .magic = magic, .version = 1, .transmit = transmit, .receive = receive },
		.inner = inner,
	};
	return (TSS2_TCTI_CONTEXT *)checked;
}

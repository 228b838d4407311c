/* SPDX-License-Identifier: BSD-3-Clause */
/* A TCTI in front of another one that counts commands and spoils one of them, or all from one on. */
#ifndef TESTS_TPM_FAULT_H
#define TESTS_TPM_FAULT_H

#include <stdint.h>
#include <tss2/tss2_tcti.h>

enum fault_kind {
	FAULT_CODE,	/* the TPM does not see the command, the answer is `code` */
	FAULT_LOST,	/* neither the TPM sees the command nor anybody an answer */
	FAULT_SHORT,	/* the TPM executes it, half of the answer arrives */
	FAULT_FLIPPED,	/* the TPM executes it, the last byte of the answer is another */
	FAULT_DEAD,	/* as FAULT_LOST, from that command on */
	FAULT_REFUSED,	/* as FAULT_CODE, from that command on */
};

/* In front of the TCTI with this name; aborts if there is none. */
TSS2_TCTI_CONTEXT *fault_open(const char *name);
void fault_free(TSS2_TCTI_CONTEXT *tcti);

/* Begins to count at 0 and spoils the command with that number. */
void fault_set(TSS2_TCTI_CONTEXT *tcti, enum fault_kind kind, unsigned at, uint32_t code);
void fault_clear(TSS2_TCTI_CONTEXT *tcti);
/* Commands since fault_set or fault_clear. */
unsigned fault_commands(TSS2_TCTI_CONTEXT *tcti);
/* The code of the command that was spoilt, 0 if it did not come to that. */
uint32_t fault_spoilt(TSS2_TCTI_CONTEXT *tcti);
/* Whether its answer carries an HMAC, so that nothing of it can be changed in secret. */
int fault_authenticated(TSS2_TCTI_CONTEXT *tcti);
/* Whether these bytes passed by in one command or answer since the last fault_set or fault_clear: a bus
 * listener. */
int fault_saw(TSS2_TCTI_CONTEXT *tcti, const void *bytes, size_t len);
/* Objects and loaded sessions in the TPM, asked past all faults; negative if it does not answer. */
int fault_loaded(TSS2_TCTI_CONTEXT *tcti);

#endif

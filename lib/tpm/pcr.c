/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "parts.h"
#include "tensorguard/file.h"

int check_pcrs(uint32_t pcrs, struct tg_error *e)
{
	if (!pcrs || pcrs >> TG_TPM_PCRS)
		return tg_error(e, -EINVAL, "TPM: PCR selection 0x%x is not a set of PCR 0 to %d", pcrs,
				TG_TPM_PCRS - 1);
	return 0;
}

TPML_PCR_SELECTION select_pcrs(uint32_t pcrs)
{
	return (TPML_PCR_SELECTION){
		.count = 1,
		.pcrSelections[0] = {
			.hash = TPM2_ALG_SHA256,
			.sizeofSelect = TG_TPM_PCRS / 8,
			.pcrSelect = { pcrs & 0xff, pcrs >> 8 & 0xff, pcrs >> 16 & 0xff },
		},
	};
}

/* The PCRs that an answer is about. Only those that were asked for count. */
static uint32_t selected(const TPML_PCR_SELECTION *selection)
{
	const TPMS_PCR_SELECTION *only = &selection->pcrSelections[0];

	if (selection->count != 1 || only->hash != TPM2_ALG_SHA256 || only->sizeofSelect != TG_TPM_PCRS / 8)
		return 0;
	return only->pcrSelect[0] | (uint32_t)only->pcrSelect[1] << 8 | (uint32_t)only->pcrSelect[2] << 16;
}

/* The TPM answers with as many as fit, in ascending order: one round of it. Returns the PCRs that it took. */
static int take_values(const TPML_PCR_SELECTION *selection, const TPML_DIGEST *digests, uint32_t wanted,
		       uint8_t (*values)[TG_TPM_DIGEST_BYTES], uint32_t *ret_taken, struct tg_error *e)
{
	uint32_t taken = selected(selection), index = 0;

	if (!taken || !digests->count)
		return tg_error(e, -ENOENT, "TPM: no SHA-256 bank holds these PCRs (0x%x)", wanted);
	if (taken & ~wanted || (unsigned)__builtin_popcount(taken) != digests->count)
		return tg_error(e, -EBADMSG, "TPM: answered with PCRs 0x%x to a question for 0x%x", taken,
				wanted);
	for (unsigned pcr = 0; pcr < TG_TPM_PCRS; pcr++) {
		if (!(taken >> pcr & 1))
			continue;
		if (digests->digests[index].size != TG_TPM_DIGEST_BYTES)
			return tg_error(e, -EBADMSG, "TPM: PCR %u has %u bytes", pcr,
					digests->digests[index].size);
		memcpy(values[pcr], digests->digests[index++].buffer, TG_TPM_DIGEST_BYTES);
	}
	*ret_taken = taken;
	return 0;
}

static int read_round(struct operation *op, uint32_t wanted, uint8_t (*values)[TG_TPM_DIGEST_BYTES],
		      uint32_t *ret_taken)
{
	TPML_PCR_SELECTION selection = select_pcrs(wanted), *answer = NULL;
	TPML_DIGEST *digests = NULL;
	int r = OP_RUN(op, "read PCRs",
		       Esys_PCR_Read(op->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &selection, NULL,
				     &answer, &digests));

	if (!r)
		r = take_values(answer, digests, wanted, values, ret_taken, op->e);
	Esys_Free(answer);
	Esys_Free(digests);
	return r;
}

int tg_tpm_pcr_read(struct tg_tpm *tpm, uint32_t pcrs,
		    uint8_t ret_values[static TG_TPM_PCRS][TG_TPM_DIGEST_BYTES], struct tg_error *e)
{
	uint8_t values[TG_TPM_PCRS][TG_TPM_DIGEST_BYTES];
	uint32_t left = pcrs, taken = 0;
	struct operation op;
	int r = check_pcrs(pcrs, e);

	if (!r)
		r = op_begin(&op, tpm, e);
	if (r)
		return r;
	for (; !r && left; left &= ~taken)
		r = read_round(&op, left, values, &taken);
	op_end(&op);
	for (unsigned pcr = 0; !r && pcr < TG_TPM_PCRS; pcr++)
		if (pcrs >> pcr & 1)
			memcpy(ret_values[pcr], values[pcr], TG_TPM_DIGEST_BYTES);
	return r;
}

int tg_tpm_event_log(const char *path, struct tg_bytes *ret_log, struct tg_error *e)
{
	return tg_file_read(path ? path : TG_TPM_EVENT_LOG, TG_TPM_EVENT_LOG_MAX, ret_log, e);
}

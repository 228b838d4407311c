/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_tctildr.h>
#include <tss2/tss2_tpm2_types.h>

#include "fault.h"

enum {
	HEADER = 10,
	MAGIC = 0x7467,
	HANDLE_COUNT = 15, /* where the answer to TPM2_GetCapability(TPM_CAP_HANDLES) holds their number */
};

struct fault {
	TSS2_TCTI_CONTEXT_COMMON_V2 common;
	TSS2_TCTI_CONTEXT *inner;
	enum fault_kind kind;
	unsigned at, count;
	int armed, spoil;	/* whether there is a fault to come, and whether it is this command's */
	uint32_t code, spoilt;
	int authenticated;
	uint8_t seen[1 << 16];
	size_t seen_len;
};

static struct fault *of(TSS2_TCTI_CONTEXT *tcti)
{
	return (struct fault *)(void *)tcti;
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put32(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 24);
	at[1] = (uint8_t)(value >> 16);
	at[2] = (uint8_t)(value >> 8);
	at[3] = (uint8_t)value;
}

static void see(struct fault *fault, const uint8_t *bytes, size_t len)
{
	if (len > sizeof(fault->seen) - fault->seen_len)
		abort();
	memcpy(fault->seen + fault->seen_len, bytes, len);
	fault->seen_len += len;
}

int fault_saw(TSS2_TCTI_CONTEXT *tcti, const void *bytes, size_t len)
{
	return memmem(of(tcti)->seen, of(tcti)->seen_len, bytes, len) != NULL;
}

static int lasts(enum fault_kind kind)
{
	return kind == FAULT_DEAD || kind == FAULT_REFUSED;
}

static int is_code(enum fault_kind kind)
{
	return kind == FAULT_CODE || kind == FAULT_REFUSED;
}

static TSS2_RC transmit(TSS2_TCTI_CONTEXT *tcti, size_t size, const uint8_t *command)
{
	struct fault *fault = of(tcti);

	fault->spoil = fault->armed &&
		       (fault->count == fault->at || (lasts(fault->kind) && fault->count > fault->at));
	fault->count++;
	see(fault, command, size);
	if (!fault->spoil)
		return Tss2_Tcti_Transmit(fault->inner, size, command);
	if (!fault->spoilt)
		fault->spoilt = get32(command + 6);
	switch (fault->kind) {
	case FAULT_LOST:
	case FAULT_DEAD:
		return TSS2_TCTI_RC_IO_ERROR;
	case FAULT_CODE:
	case FAULT_REFUSED:
		return TSS2_RC_SUCCESS;
	default:
		return Tss2_Tcti_Transmit(fault->inner, size, command);
	}
}

static TSS2_RC spoil_answer(struct fault *fault, size_t *size, uint8_t *answer)
{
	/* an answer that is an error already is left as it is */
	if (get32(answer + 6))
		return TSS2_RC_SUCCESS;
	if (fault->kind == FAULT_SHORT) {
		size_t half = HEADER + (*size - HEADER) / 2;

		memset(answer + half, 0, *size - half);
		*size = half;
		return TSS2_RC_SUCCESS;
	}
	answer[*size - 1] ^= 1;
	/* the last byte is one of an HMAC if there is a session that is not the password's, whose HMAC is
	 * empty */
	fault->authenticated = answer[0] == 0x80 && answer[1] == 0x02 && *size > 34 &&
			       answer[*size - 33] == 32 && answer[*size - 34] == 0;
	return TSS2_RC_SUCCESS;
}

static TSS2_RC receive(TSS2_TCTI_CONTEXT *tcti, size_t *size, uint8_t *answer, int32_t timeout)
{
	struct fault *fault = of(tcti);
	TSS2_RC rc;

	if (fault->spoil && is_code(fault->kind)) {
		*size = HEADER;
		if (!answer)
			return TSS2_RC_SUCCESS;
		put32(answer, (uint32_t)TPM2_ST_NO_SESSIONS << 16);
		put32(answer + 2, HEADER);
		put32(answer + 6, fault->code);
		return TSS2_RC_SUCCESS;
	}
	rc = Tss2_Tcti_Receive(fault->inner, size, answer, timeout);
	if (rc || !answer)
		return rc;
	see(fault, answer, *size);
	if (!fault->spoil)
		return TSS2_RC_SUCCESS;
	return spoil_answer(fault, size, answer);
}

TSS2_TCTI_CONTEXT *fault_open(const char *name)
{
	struct fault *fault = calloc(1, sizeof(*fault));
	TSS2_TCTI_CONTEXT *inner = NULL;

	if (!fault || !name || Tss2_TctiLdr_Initialize(name, &inner))
		abort();
	fault->common.v1.magic = MAGIC;
	fault->common.v1.version = 2;
	fault->common.v1.transmit = transmit;
	fault->common.v1.receive = receive;
	fault->inner = inner;
	return (TSS2_TCTI_CONTEXT *)fault;
}

void fault_free(TSS2_TCTI_CONTEXT *tcti)
{
	struct fault *fault = of(tcti);

	Tss2_TctiLdr_Finalize(&fault->inner);
	free(fault);
}

void fault_set(TSS2_TCTI_CONTEXT *tcti, enum fault_kind kind, unsigned at, uint32_t code)
{
	struct fault *fault = of(tcti);

	fault_clear(tcti);
	fault->armed = 1;
	fault->kind = kind;
	fault->at = at;
	fault->code = code;
}

void fault_clear(TSS2_TCTI_CONTEXT *tcti)
{
	struct fault *fault = of(tcti);

	fault->armed = fault->spoil = fault->authenticated = 0;
	fault->count = 0;
	fault->spoilt = 0;
	fault->seen_len = 0;
}

unsigned fault_commands(TSS2_TCTI_CONTEXT *tcti)
{
	return of(tcti)->count;
}

uint32_t fault_spoilt(TSS2_TCTI_CONTEXT *tcti)
{
	return of(tcti)->spoilt;
}

int fault_authenticated(TSS2_TCTI_CONTEXT *tcti)
{
	return of(tcti)->authenticated;
}

static int handles(TSS2_TCTI_CONTEXT *inner, uint8_t first)
{
	const uint8_t command[] = { 0x80, 0x01, 0, 0,     0, 22, 0, 0, 0x01, 0x7a, 0,
				    0,    0,    1, first, 0, 0,  0, 0, 0,    0,    254 };
	uint8_t answer[4096];
	size_t size = sizeof(answer);

	if (Tss2_Tcti_Transmit(inner, sizeof(command), command) ||
	    Tss2_Tcti_Receive(inner, &size, answer, TSS2_TCTI_TIMEOUT_BLOCK) || size < HANDLE_COUNT + 4 ||
	    get32(answer + 6))
		return -1;
	return (int)get32(answer + HANDLE_COUNT);
}

int fault_loaded(TSS2_TCTI_CONTEXT *tcti)
{
	int objects = handles(of(tcti)->inner, TPM2_HT_TRANSIENT);
	int sessions = handles(of(tcti)->inner, TPM2_HT_LOADED_SESSION);

	return objects < 0 || sessions < 0 ? -1 : objects + sessions;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "attest/parts.h"

static const char *const assurance_names[] = {
	[TG_ASSURANCE_NONE] = "none",
	[TG_ASSURANCE_SOFTWARE] = "software",
	[TG_ASSURANCE_TPM_UNENDORSED] = "tpm-unendorsed",
	[TG_ASSURANCE_TPM_ATTESTED] = "tpm-attested",
};
enum { ASSURANCES = sizeof(assurance_names) / sizeof(assurance_names[0]) };

static const struct {
	const char *name, *text;
} reasons[] = {
#define X(symbol, name, text) [TG_ATTEST_##symbol] = { name, text },
	TG_ATTEST_REASONS(X)
#undef X
};
enum { REASONS = sizeof(reasons) / sizeof(reasons[0]) };

const char *tg_assurance_name(enum tg_assurance assurance)
{
	return assurance_names[(unsigned)assurance < ASSURANCES ? assurance : TG_ASSURANCE_NONE];
}

int tg_assurance_from_name(const char *name, enum tg_assurance *ret_assurance)
{
	for (unsigned i = 0; i < ASSURANCES; i++) {
		if (!strcmp(name, assurance_names[i])) {
			*ret_assurance = i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *tg_attest_reason_name(enum tg_attest_reason reason)
{
	return reasons[(unsigned)reason < REASONS ? reason : TG_ATTEST_INTERNAL].name;
}

const char *tg_attest_reason_text(enum tg_attest_reason reason)
{
	return reasons[(unsigned)reason < REASONS ? reason : TG_ATTEST_INTERNAL].text;
}

int attest_blame(int err, enum tg_attest_reason reason, enum tg_attest_reason *ret_reason)
{
	bool refused = err == -EINVAL || err == -EKEYREJECTED;

	*ret_reason = refused ? reason : TG_ATTEST_INTERNAL;
	return refused ? -EKEYREJECTED : err;
}

int attest_refuse(enum tg_attest_reason *ret_reason, enum tg_attest_reason reason, struct tg_error *e,
		  const char *format, ...)
{
	va_list args;
	char text[sizeof(e->message)];

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	*ret_reason = reason;
	return tg_error(e, -EKEYREJECTED, "%s", text);
}

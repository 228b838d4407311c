/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "trust/refusal.h"

/* Reasons that no new try will change. */
static bool is_final(const char *reason)
{
	static const char *const reasons[] = { "agent-revoked", "agent-unknown", "agent-of-another-fleet" };

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (!strcmp(reason, reasons[i]))
			return true;
	return false;
}

static int meaning_of(long status, const char *reason)
{
	if (is_final(reason))
		return -EKEYREVOKED;
	if (status == 429 || status >= 500 || !strncmp(reason, "session-", 8))
		return -EAGAIN;
	return -EKEYREJECTED;
}

/* The answer is somebody else's text: nothing of it but what can be printed. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

int trust_refusal(const struct https_answer *answer, char ret_reason[static TRUST_REASON_LEN],
		  struct tg_error *e)
{
	json_t *root =
		json_loadb((const char *)answer->body.data, answer->body.len, JSON_REJECT_DUPLICATES, NULL);
	const char *reason = json_string_value(json_object_get(root, "reason"));
	const char *message = json_string_value(json_object_get(root, "error"));
	char text[200];

	snprintf(ret_reason, TRUST_REASON_LEN, "%s", reason ? reason : "");
	snprintf(text, sizeof(text), "%s", message ? message : "no message");
	make_printable(ret_reason);
	make_printable(text);
	json_decref(root);
	return tg_error(e, meaning_of(answer->status, ret_reason),
			"the Platform refuses (status %ld%s%s): %s", answer->status,
			ret_reason[0] ? ", " : "", ret_reason, text);
}

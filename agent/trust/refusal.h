/* SPDX-License-Identifier: BSD-3-Clause */
/* What an answer that is not 200 means: for enrolment, renewal and sync alike. */
#ifndef AGENT_TRUST_REFUSAL_H
#define AGENT_TRUST_REFUSAL_H

#include "trust/https.h"
#include "trust/state.h"

/*
 * -EKEYREVOKED: no new try will change it; -EAGAIN: later perhaps; -EKEYREJECTED: it refuses what it was
 * sent. The reason's word, without anything that cannot be printed, goes to `ret_reason`, with the Platform's
 * message into `e`.
 */
int trust_refusal(const struct https_answer *answer, char ret_reason[static TRUST_REASON_LEN],
		  struct tg_error *e);

#endif

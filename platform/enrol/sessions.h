/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Enrolments and renewals between their two messages. A session is found by its id once, whatever comes of it
 * then, and dies after TG_SESSION_SECONDS; there are at most SESSIONS_MAX. Any thread. `now_ms` is by
 * limiter_clock_ms(): by a wall clock that was set back the sessions would not die, and fill the table.
 */
#ifndef PLATFORM_ENROL_SESSIONS_H
#define PLATFORM_ENROL_SESSIONS_H

#include "store/store.h"
#include "tensorguard/enrol.h"

enum { SESSIONS_MAX = 4096 };

struct sessions;

struct session {
	struct tg_attest_session *attest;
	enum tg_enrol_kind kind;
	uint8_t exporter[TG_EXPORTER_LEN];	/* of the connection that began it */
	char fleet[STORE_NAME_SIZE];
	struct store_token token;		/* of an enrolment */
	char agent[STORE_NAME_SIZE];		/* of a renewal */
	uint8_t ak_public[STORE_KEY_MAX];	/* TPM2B_PUBLIC, of an enrolment with a TPM */
	size_t ak_public_len;
	int64_t started_ms;
	struct session *next_in_bucket, *next;	/* the table's */
};

struct sessions *sessions_new(void);
void sessions_free(struct sessions *sessions);
/* The table owns the session from now on. -EBUSY when it is full; then it is still the caller's. */
int sessions_put(struct sessions *sessions, struct session *session, int64_t now_ms);
/* The session with that id, which is the caller's now; NULL when there is none, or none any more. */
struct session *sessions_take(struct sessions *sessions, const uint8_t id[static TG_SESSION_ID_LEN],
			      int64_t now_ms);
size_t sessions_count(struct sessions *sessions);
/* NULL is fine. */
void session_free(struct session *session);

#endif

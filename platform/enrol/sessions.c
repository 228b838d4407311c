/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "enrol/sessions.h"

enum { BUCKETS = 1024 };

/* All live equally long: the list from `first` on is in the order in which they die. */
struct sessions {
	pthread_mutex_t lock;
	struct session *buckets[BUCKETS];
	struct session *first, **last;
	size_t count;
};

struct sessions *sessions_new(void)
{
	struct sessions *sessions = calloc(1, sizeof(*sessions));

	if (!sessions)
		return NULL;
	pthread_mutex_init(&sessions->lock, NULL);
	sessions->last = &sessions->first;
	return sessions;
}

void session_free(struct session *session)
{
	if (!session)
		return;
	tg_attest_session_free(session->attest);
	free(session);
}

void sessions_free(struct sessions *sessions)
{
	if (!sessions)
		return;
	while (sessions->first) {
		struct session *session = sessions->first;

		sessions->first = session->next;
		session_free(session);
	}
	pthread_mutex_destroy(&sessions->lock);
	free(sessions);
}

static const uint8_t *id_of(const struct session *session)
{
	return tg_attest_session_challenge(session->attest)->session;
}

/* Ids are random: any two bytes of them are as good as a hash. */
static struct session **bucket_of(struct sessions *sessions, const uint8_t *id)
{
	return &sessions->buckets[(id[0] << 8 | id[1]) % BUCKETS];
}

static struct session *unlink_bucket(struct sessions *sessions, const uint8_t *id)
{
	struct session **at = bucket_of(sessions, id), *found;

	while (*at && memcmp(id_of(*at), id, TG_SESSION_ID_LEN) != 0)
		at = &(*at)->next_in_bucket;
	found = *at;
	if (found)
		*at = found->next_in_bucket;
	return found;
}

static void unlink_list(struct sessions *sessions, const struct session *session)
{
	struct session **at = &sessions->first;

	while (*at != session)
		at = &(*at)->next;
	*at = session->next;
	if (!*at)
		sessions->last = at;
	sessions->count--;
}

static void drop_dead(struct sessions *sessions, int64_t now_ms)
{
	while (sessions->first && now_ms - sessions->first->started_ms > TG_SESSION_SECONDS * 1000) {
		struct session *session = sessions->first;

		unlink_bucket(sessions, id_of(session));
		unlink_list(sessions, session);
		session_free(session);
	}
}

int sessions_put(struct sessions *sessions, struct session *session, int64_t now_ms)
{
	struct session **bucket = bucket_of(sessions, id_of(session));
	int ret = 0;

	pthread_mutex_lock(&sessions->lock);
	drop_dead(sessions, now_ms);
	if (sessions->count >= SESSIONS_MAX) {
		ret = -EBUSY;
	} else {
		session->started_ms = now_ms;
		session->next = NULL;
		session->next_in_bucket = *bucket;
		*bucket = session;
		*sessions->last = session;
		sessions->last = &session->next;
		sessions->count++;
	}
	pthread_mutex_unlock(&sessions->lock);
	return ret;
}

struct session *sessions_take(struct sessions *sessions, const uint8_t id[static TG_SESSION_ID_LEN],
			      int64_t now_ms)
{
	struct session *session;

	pthread_mutex_lock(&sessions->lock);
	drop_dead(sessions, now_ms);
	session = unlink_bucket(sessions, id);
	if (session)
		unlink_list(sessions, session);
	pthread_mutex_unlock(&sessions->lock);
	return session;
}

size_t sessions_count(struct sessions *sessions)
{
	size_t count;

	pthread_mutex_lock(&sessions->lock);
	count = sessions->count;
	pthread_mutex_unlock(&sessions->lock);
	return count;
}

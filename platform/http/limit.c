/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http/limit.h"
#include "tensorguard/crypto.h"

enum { SETS = 4096, WAYS = 4, MINUTE_MS = 60000 };

struct bucket {
	uint64_t key;	/* 0: free */
	int64_t at_ms;
	uint64_t level;	/* events that may still happen, in units of 1 / MINUTE_MS */
};

struct limiter {
	pthread_mutex_t lock;
	uint64_t seed, per_minute, full;
	struct bucket buckets[SETS][WAYS];
};

struct limiter *limiter_new(uint32_t per_minute, uint32_t burst)
{
	struct limiter *limiter = calloc(1, sizeof(*limiter));

	if (!limiter || tg_random(&limiter->seed, sizeof(limiter->seed), NULL)) {
		free(limiter);
		return NULL;
	}
	pthread_mutex_init(&limiter->lock, NULL);
	limiter->per_minute = per_minute;
	limiter->full = (uint64_t)burst * MINUTE_MS;
	return limiter;
}

void limiter_free(struct limiter *limiter)
{
	if (!limiter)
		return;
	pthread_mutex_destroy(&limiter->lock);
	free(limiter);
}

/* Mixed with a secret: nobody can choose a key that falls together with another's. */
static uint64_t mix(uint64_t seed, const void *key, size_t len)
{
	const uint8_t *bytes = key;
	uint64_t h = seed ^ len;

	for (size_t i = 0; i < len; i++) {
		h = (h ^ bytes[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	h = (h ^ seed) * 0xbf58476d1ce4e5b9ull;
	h ^= h >> 32;
	return h ? h : 1;
}

static struct bucket *find(struct limiter *limiter, uint64_t key, int64_t now_ms)
{
	struct bucket *set = limiter->buckets[key % SETS], *oldest = &set[0];

	for (int i = 0; i < WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
		if (set[i].at_ms < oldest->at_ms || !set[i].key)
			oldest = &set[i];
	}
	*oldest = (struct bucket){ .key = key, .at_ms = now_ms, .level = limiter->full };
	return oldest;
}

static void refill(const struct limiter *limiter, struct bucket *bucket, int64_t now_ms)
{
	uint64_t passed = now_ms > bucket->at_ms ? (uint64_t)(now_ms - bucket->at_ms) : 0;

	/* a bucket is full long before this overflows */
	if (passed > limiter->full / limiter->per_minute)
		bucket->level = limiter->full;
	else
		bucket->level += passed * limiter->per_minute;
	if (bucket->level > limiter->full)
		bucket->level = limiter->full;
	bucket->at_ms = now_ms;
}

bool limiter_take_many(struct limiter *limiter, const void *key, size_t len, uint32_t units, int64_t now_ms)
{
	uint64_t cost = (uint64_t)units * MINUTE_MS;
	struct bucket *bucket;
	bool allowed;

	pthread_mutex_lock(&limiter->lock);
	bucket = find(limiter, mix(limiter->seed, key, len), now_ms);
	refill(limiter, bucket, now_ms);
	allowed = bucket->level >= cost;
	if (allowed)
		bucket->level -= cost;
	pthread_mutex_unlock(&limiter->lock);
	return allowed;
}

bool limiter_take(struct limiter *limiter, const void *key, size_t len, int64_t now_ms)
{
	return limiter_take_many(limiter, key, len, 1, now_ms);
}

int64_t limiter_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

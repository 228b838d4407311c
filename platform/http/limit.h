/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rate limits by key (an address, a token, an agent): a token bucket for each, in a table of fixed size. When
 * it is full the bucket goes that was not used for longest. Any thread.
 */
#ifndef PLATFORM_HTTP_LIMIT_H
#define PLATFORM_HTTP_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct limiter;

/* `per_minute` events for each key in the long run, `burst` at once; both at least 1. NULL: out of memory. */
struct limiter *limiter_new(uint32_t per_minute, uint32_t burst);
void limiter_free(struct limiter *limiter);
/* Whether one more event may happen at `now_ms`, a clock that never goes back; if so it is counted. */
bool limiter_take(struct limiter *limiter, const void *key, size_t len, int64_t now_ms);
/* The same for `units` events at once: all of them or none. */
bool limiter_take_many(struct limiter *limiter, const void *key, size_t len, uint32_t units, int64_t now_ms);
/* The clock for it. */
int64_t limiter_clock_ms(void);

#endif

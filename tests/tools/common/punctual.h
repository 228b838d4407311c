/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control beside a measurement of times: a thread per processor, at the
 * priority of the programs that are measured, sleeps from one multiple of a
 * period to the next and notes when it comes late. Where it was on time, a packet
 * that came late was not the machine's doing.
 */
#ifndef TESTS_TOOLS_PUNCTUAL_H
#define TESTS_TOOLS_PUNCTUAL_H

#include <stdint.h>

#include "tensorguard/error.h"

struct punctual;

struct punctual_result {
	uint64_t wakes;		/* of all processors together */
	uint64_t late;		/* more than half a period late */
	int64_t worst_ns;
};

/* On each processor that the caller may use. End it with punctual_stop(). */
int punctual_start(int64_t period_ns, struct punctual **ret_punctual, struct tg_error *e);
/* NULL is all right, and gives zeros. */
void punctual_stop(struct punctual *punctual, struct punctual_result *ret_result);

#endif

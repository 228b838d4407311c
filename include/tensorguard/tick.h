/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds the control tick of a robot in the times at which its packets came: the
 * period and the phase with which a pattern of slots would have made them wait
 * least. Pure and deterministic.
 */
#ifndef TENSORGUARD_TICK_H
#define TENSORGUARD_TICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/lean.h"

#define TG_TICK_BINS 128	/* the phase is learnt to this part of a tick */
#define TG_TICK_STEPS 40	/* periods tried on either side of the nominal one, ... */
#define TG_TICK_STEP 10000	/* ... each this part of it away from the next */
#define TG_TICK_LEAST 8		/* arrivals that tell anything */
#define TG_TICK_MOST 512	/* the rest is not looked at */

struct tg_tick {
	bool found; /* false: nothing that is coherent for sure; the nominal period, at the best phase */
	uint64_t origin_ns;	/* one tick: slot i of the pattern comes slot_ns[i] after it */
	uint64_t period_ns;
};

/*
 * `arrivals` are at or after `started`, by the same clock. The answer says at
 * most log2(TG_TICK_BINS * (2 * TG_TICK_STEPS + 1)) = 13.4 bits about them.
 */
struct tg_tick tg_tick_learn(const struct tg_lean *pattern, uint64_t started, const uint64_t *arrivals,
			     size_t count);

#endif

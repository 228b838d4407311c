/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef AGENT_COMMON_CLOCK_H
#define AGENT_COMMON_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in nanoseconds, as the BPF programs read it. */
uint64_t monotonic_ns(void);
/* Since 1970, by a clock that may jump: for telling when something was, not how long it took. */
uint64_t realtime_ms(void);

#endif

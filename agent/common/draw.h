/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef AGENT_COMMON_DRAW_H
#define AGENT_COMMON_DRAW_H

#include <stdint.h>

/*
 * Any number, so that devices do not do the same at the same time; 0 when the kernel has none, which only
 * means that they may. Not for secrets.
 */
uint64_t draw_number(void);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RUN_DIR/loops: the names of the children that end again and again (backoff.h), one a line, for `tgctl
 * status`, which cannot ask a guard that does not live. No file: none does.
 */
#ifndef AGENT_SUPERVISE_LOOPS_H
#define AGENT_SUPERVISE_LOOPS_H

#include "supervise/child.h"

#define LOOPS_FILE "loops"

/* `senders` are message_sender bits. A folder that takes no file is no reason to stop: nobody reads it then.
 */
void loops_note(const char *run_dir, const struct child_kind *kinds, uint32_t senders);

#endif

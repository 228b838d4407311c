/* SPDX-License-Identifier: BSD-3-Clause */
/* Files in a folder of somebody else's: root reads what trust has put down, and believes nothing of it. */
#ifndef AGENT_COMMON_UNTRUSTED_H
#define AGENT_COMMON_UNTRUSTED_H

#include "tensorguard/error.h"

/*
 * Opens DIRECTORY/FOLDER/NAME, which must be a regular file, through no symbolic link below DIRECTORY, and
 * without waiting. Returns a descriptor. -ENOENT: it is not there; -EBADMSG: it is something else.
 */
int untrusted_open(const char *directory, const char *folder, const char *name, struct tg_error *e);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef AGENT_TGCTL_AUDIT_H
#define AGENT_TGCTL_AUDIT_H

#include "common/options.h"

int cmd_audit_tail(struct tg_cli *cli, struct tg_error *e);
int cmd_audit_verify(struct tg_cli *cli, struct tg_error *e);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tgctl policy: what a policy file says, before it reaches a device. Needs no
 * privileges. The JSON is documented in tgctl(8) and tensorguard-policy(5).
 */
#ifndef TGCTL_POLICY_H
#define TGCTL_POLICY_H

#include "common/options.h"

/* FILE [--site FILE]: errors, else "FILE: ok, N warnings" and the warnings. */
int cmd_policy_check(struct tg_cli *cli, struct tg_error *e);

/* FILE [--site FILE]: the compiled form of each tunnel. */
int cmd_policy_show(struct tg_cli *cli, struct tg_error *e);

/* [--state-dir DIR]: what is in force; TG_CLI_REPORTED unless something is. */
int cmd_policy_status(struct tg_cli *cli, struct tg_error *e);

#endif

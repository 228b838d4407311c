/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PLATFORM_MAIN_SERVE_H
#define PLATFORM_MAIN_SERVE_H

#include "tensorguard/cli.h"

int cmd_serve(struct tg_cli *cli, struct tg_error *e);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/options.h"

static const struct tg_cli_option table[] = {
	{ "pin-dir", "DIR", "BPF pins (default " DEFAULT_PIN_DIR ")",
	  offsetof(struct agent_options, pin_dir) },
	{ "run-dir", "DIR", "state of the running instance (default " DEFAULT_RUN_DIR ")",
	  offsetof(struct agent_options, run_dir) },
	{ "policy", "FILE", NULL, offsetof(struct agent_options, policy) },
	{ "site", "FILE", NULL, offsetof(struct agent_options, site) },
	{ "interval", "SECONDS", NULL, offsetof(struct agent_options, interval) },
	{ "count", "N", NULL, offsetof(struct agent_options, count) },
	{ "repair", NULL, NULL, offsetof(struct agent_options, repair) },
	{ "state-dir", "DIR", NULL, offsetof(struct agent_options, state_dir) },
	{ "platform", "URL", NULL, offsetof(struct agent_options, platform) },
	{ "token-file", "FILE", NULL, offsetof(struct agent_options, token_file) },
	{ "ca", "FILE", NULL, offsetof(struct agent_options, ca) },
	{ "tpm", "TCTI|none", NULL, offsetof(struct agent_options, tpm) },
	{ "event-log", "FILE", NULL, offsetof(struct agent_options, event_log) },
	{ "key-passphrase-fd", "N", NULL, offsetof(struct agent_options, key_passphrase_fd) },
	{ "trust", "DIR", NULL, offsetof(struct agent_options, trust) },
	{ "release", "N", NULL, offsetof(struct agent_options, release) },
	{ "replace", NULL, NULL, offsetof(struct agent_options, replace) },
	{ "proof", "FILE", NULL, offsetof(struct agent_options, proof) },
	{ NULL, NULL, NULL, 0 },
};

int agent_cli_main(const char *program, const char *about, const struct tg_cli_command *commands, int argc,
		   char **argv)
{
	struct agent_options options = { .pin_dir = DEFAULT_PIN_DIR, .run_dir = DEFAULT_RUN_DIR };
	const struct tg_cli_program p = {
		.name = program, .about = about, .commands = commands, .options = table
	};

	return tg_cli_main(&p, &options, argc, argv);
}

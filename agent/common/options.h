/* SPDX-License-Identifier: BSD-3-Clause */
/* The options that tg-load and tgctl share. */
#ifndef AGENT_COMMON_OPTIONS_H
#define AGENT_COMMON_OPTIONS_H

#include "tensorguard/cli.h"

#define DEFAULT_PIN_DIR "/sys/fs/bpf/tensorguard"
#define DEFAULT_RUN_DIR "/run/tensorguard"

/* Paths and switches; what was not given is NULL or false, but for the two folders. */
struct agent_options {
	const char *pin_dir; /* --pin-dir */
	const char *run_dir; /* --run-dir */
	const char *policy;  /* --policy FILE */
	const char *site;    /* --site FILE */
	const char *interval; /* --interval SECONDS */
	const char *count;   /* --count N */
	bool repair;	     /* --repair */
	const char *state_dir; /* --state-dir DIR */
	const char *platform; /* --platform URL */
	const char *token_file; /* --token-file FILE */
	const char *ca;	     /* --ca FILE */
	const char *tpm;     /* --tpm TCTI|none */
	const char *event_log; /* --event-log FILE */
	const char *key_passphrase_fd; /* --key-passphrase-fd N */
	bool replace;	     /* --replace */
	const char *trust;   /* --trust DIR */
	const char *release; /* --release N */
	const char *proof;   /* --proof FILE */
};

static inline const struct agent_options *agent_options(const struct tg_cli *cli)
{
	return cli->options;
}

/* tg_cli_main() with these options. */
int agent_cli_main(const char *program, const char *about, const struct tg_cli_command *commands, int argc,
		   char **argv);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include <sys/prctl.h>

#include "audit.h"
#include "common/options.h"
#include "identity.h"
#include "model.h"
#include "policy.h"
#include "stats.h"

static const struct tg_cli_command commands[] = {
	{ "status", cmd_status, "", "say what runs and what is wrong with it; exit 1 if anything is" },
	{ "stats", cmd_stats, "", "print the counters of every tunnel, class and direction" },
	{ "metrics", cmd_metrics, "", "print the same as text for Prometheus" },
	{ "watch", cmd_watch, "[--interval S] [--count N]", "print rates and delays again and again" },
	{ "policy check", cmd_policy_check, "FILE [--site FILE]", "check a policy file" },
	{ "policy show", cmd_policy_show, "FILE [--site FILE]", "show a policy file's compiled form" },
	{ "policy status", cmd_policy_status, "[--state-dir DIR]",
	  "say which policy is in force, from where and until when; exit 1 if none is" },
	{ "enroll", cmd_enroll,
	  "--platform URL --token-file FILE [--ca FILE] [--tpm TCTI|none] [--event-log FILE] "
	  "[--key-passphrase-fd N] [--state-dir DIR] [--replace]",
	  "give this device an identity, by a token of the Platform's" },
	{ "identity", cmd_identity, "[--state-dir DIR]",
	  "show this device's identity; exit 1 unless it is valid" },
	{ "model list", cmd_model_list, "", "list the models on this device and who uses them" },
	{ "model status", cmd_model_status, "[MODEL]", "say what is trusted, and all about one model" },
	{ "model fetch", cmd_model_fetch, "MODEL|FILE [--trust DIR]",
	  "get a model from the Platform now, or install a package from a file" },
	{ "model exec", cmd_model_exec, "MODEL -- COMMAND {}...",
	  "run a command on a model's files, in memory only" },
	{ "model revoke", cmd_model_revoke, "MODEL [--release N]",
	  "close a model, remove it and refuse it from now on" },
	{ "audit tail", cmd_audit_tail, "[--count N] [--state-dir DIR]",
	  "show this device's newest audit records, and which of them the Platform does not have yet" },
	{ "audit verify", cmd_audit_verify, "[--proof FILE] [--state-dir DIR]",
	  "check the records' chain, the ledger's checkpoint that is kept, and a proof against it" },
	{ NULL, NULL, NULL, NULL },
};

int main(int argc, char **argv)
{
	/* keys and tokens pass through its memory: no core file of it */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return agent_cli_main("tgctl", "Operates TensorGuard.", commands, argc, argv);
}

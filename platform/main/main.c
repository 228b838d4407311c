/* SPDX-License-Identifier: BSD-3-Clause */
#include <sys/prctl.h>

#include "admin/admin.h"
#include "data/data.h"
#include "main/serve.h"

#define OPTION(name, value, field)                                          \
	{                                                                   \
		name, value, NULL, offsetof(struct platform_options, field) \
	}

static const struct tg_cli_option options[] = {
	{ "data", "DIR", "keys, certificates and store (default " DATA_DIRECTORY ")",
	  offsetof(struct platform_options, data) },
	OPTION("passphrase-fd", "N", passphrase_fd),
	OPTION("store", "ADDRESS", store),
	OPTION("names", "NAME,...", names),
	OPTION("server-cert", "FILE", server_cert),
	OPTION("server-key", "FILE", server_key),
	OPTION("listen", "ADDRESS:PORT", listen),
	OPTION("workers", "N", workers),
	OPTION("connections", "N", connections),
	OPTION("rate", "N", rate),
	OPTION("lifetime", "SECONDS", lifetime),
	OPTION("fleet", "NAME", fleet),
	OPTION("seconds", "N", seconds),
	OPTION("ek-hash", "HEX", ek_hash),
	OPTION("name", "AGENT", name),
	OPTION("out", "FILE", out),
	OPTION("levels", "LEVEL,...", levels),
	OPTION("pcrs", "N,...", pcrs),
	OPTION("pcr-values", "N=HEX,...", pcr_values),
	OPTION("event-log", "required|optional", event_log),
	OPTION("grace", "SECONDS", grace),
	OPTION("grace-software", "SECONDS", grace_software),
	OPTION("reason", "TEXT", reason),
	OPTION("serial", "HEX", serial),
	OPTION("count", "N", count),
	OPTION("period", "SECONDS", period),
	OPTION("target", "KIND:NAME", target),
	OPTION("not-after", "TIME", not_after),
	OPTION("offline", "hold|open|closed", offline),
	OPTION("version-number", "N", version),
	OPTION("agent", "ID", agent),
	OPTION("since", "TIME", since),
	OPTION("format", "json|syslog|cef", format),
	OPTION("older", "SIZE", older),
	OPTION("stages", "PERCENT,...", stages),
	OPTION("failures", "PERCENT", failures),
	OPTION("quorum", "PERCENT", quorum),
	OPTION("soak", "SECONDS", soak),
	OPTION("to", "N", to),
	OPTION("root", "FILE", root),
	{ 0 },
};

#define FLEET_OPTIONS                                                                                   \
	"[--levels LEVEL,...] [--pcrs N,...] [--pcr-values N=HEX,...] [--event-log required|optional] " \
	"[--grace SECONDS] [--grace-software SECONDS]"

#define POLICY_OPTIONS "[--not-after TIME] [--offline hold|open|closed] "

static const struct tg_cli_command commands[] = {
	{ "init", cmd_init,
	  "[--store ADDRESS] [--names NAME,... | --server-cert FILE --server-key FILE] [--passphrase-fd N]",
	  "make keys, certificates and the store" },
	{ "serve", cmd_serve,
	  "[--listen ADDRESS:PORT] [--workers N] [--connections N] [--rate N] [--lifetime SECONDS] "
	  "[--period SECONDS] [--passphrase-fd N]",
	  "answer agents and operators until SIGTERM" },
	{ "fleet create", cmd_fleet_create, "NAME " FLEET_OPTIONS, "make a fleet" },
	{ "fleet set", cmd_fleet_set, "NAME " FLEET_OPTIONS, "change what a fleet demands" },
	{ "fleet list", cmd_fleet_list, "", "list the fleets" },
	{ "token create", cmd_token_create,
	  "--fleet NAME [--seconds N] [--ek-hash HEX] [--name AGENT] [--out FILE]",
	  "make a token that enrols one agent; it is shown once" },
	{ "token list", cmd_token_list, "", "list the tokens, without their secrets" },
	{ "token revoke", cmd_token_revoke, "ID", "make an unused token useless" },
	{ "agent list", cmd_agent_list, "", "list the agents and what their certificates rest on" },
	{ "agent show", cmd_agent_show, "ID", "show an agent and its certificates" },
	{ "agent revoke", cmd_agent_revoke, "ID --reason TEXT", "refuse an agent from its next request on" },
	{ "agent label", cmd_agent_label, "ID LABEL...", "give an agent labels, for policies to aim at" },
	{ "agent unlabel", cmd_agent_unlabel, "ID LABEL...", "take labels of an agent away" },
	{ "policy check", cmd_policy_check, "FILE", "check a policy file as devices will" },
	{ "policy sign", cmd_policy_sign,
	  "FILE --target KIND:NAME --out FILE " POLICY_OPTIONS "[--version-number N] [--passphrase-fd N]",
	  "sign a policy without publishing it" },
	{ "policy publish", cmd_policy_publish,
	  "FILE [--target KIND:NAME " POLICY_OPTIONS "[--passphrase-fd N]]",
	  "give a policy file, or one that was signed, to a fleet, a label or an agent" },
	{ "policy lockdown", cmd_policy_lockdown,
	  "[FILE] --target KIND:NAME " POLICY_OPTIONS "[--passphrase-fd N]",
	  "stop all that a policy matches, until the next one is published" },
	{ "policy history", cmd_policy_history, "[--target KIND:NAME]",
	  "list what was published, the newest first" },
	{ "policy show", cmd_policy_show, "VERSION", "show a version's statement and text" },
	{ "policy rollback", cmd_policy_rollback, "VERSION [--not-after TIME] [--passphrase-fd N]",
	  "publish an older version's text again, under a new version" },
	{ "policy withdraw", cmd_policy_withdraw, "--target KIND:NAME",
	  "let agents have what is published for something less specific" },
	{ "operator issue", cmd_operator_issue, "NAME --out PATH [--passphrase-fd N]",
	  "make PATH.key and PATH.crt, a client certificate for a year" },
	{ "operator list", cmd_operator_list, "", "list the operators' certificates" },
	{ "operator revoke", cmd_operator_revoke, "NAME --reason TEXT [--serial HEX]",
	  "refuse an operator's certificates, or one of them, from the next request on" },
	{ "audit list", cmd_audit_list, "[--count N] [--agent ID] [--since TIME]",
	  "show the newest audit records" },
	{ "audit export", cmd_audit_export, "[--format json|syslog|cef] [--agent ID] [--since TIME]",
	  "print the audit records for a collector, one a line" },
	{ "audit prove", cmd_audit_prove, "INDEX [--older SIZE] [--out DIR] [--passphrase-fd N]",
	  "prove to others that a record is in the ledger, and that it only grew" },
	{ "trust publish", cmd_trust_publish, "DIR [--root FILE]",
	  "take over what `tgsp trust publish` made" },
	{ "trust show", cmd_trust_show, "", "show the trust documents that devices get" },
	{ "release add", cmd_release_add, "FILE", "verify a package and keep it" },
	{ "release remove", cmd_release_remove, "MODEL RELEASE",
	  "remove a release that no fleet has or may get" },
	{ "release revoke", cmd_release_revoke, "MODEL RELEASE --reason TEXT",
	  "take a release back for good, from all devices" },
	{ "release list", cmd_release_list, "", "list releases and roll-outs" },
	{ "release show", cmd_release_show, "MODEL RELEASE",
	  "show a release, its lineage and the devices that have it" },
	{ "release promote", cmd_release_promote,
	  "MODEL RELEASE --fleet NAME [--stages PERCENT,...] [--failures PERCENT] [--quorum PERCENT] [--soak "
	  "SECONDS]",
	  "roll a release out in a fleet, stage by stage" },
	{ "release pause", cmd_release_pause, "MODEL --fleet NAME", "tell no further device" },
	{ "release resume", cmd_release_resume, "MODEL --fleet NAME", "go on after a pause or a stop" },
	{ "release rollback", cmd_release_rollback, "MODEL --fleet NAME [--to N]",
	  "take back a release; with --to, by the older content under a higher number" },
	{ "ca show", cmd_ca_show, "", "print the CA's certificate" },
	{ "ca renew-server", cmd_ca_renew_server,
	  "[--names NAME,... | --server-cert FILE --server-key FILE] [--passphrase-fd N]",
	  "make a new key and certificate for the server" },
	{ 0 },
};

static const struct tg_cli_program program = {
	.name = "tensorguard-platform",
	.about = "TensorGuard's control plane: enrols devices and keeps their certificates short-lived.",
	.commands = commands,
	.options = options,
};

int main(int argc, char **argv)
{
	struct platform_options values = { .data = DATA_DIRECTORY };

	/* keys pass through our memory: no core file of it, whatever the system does with them */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return tg_cli_main(&program, &values, argc, argv);
}

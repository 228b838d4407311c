/* SPDX-License-Identifier: BSD-3-Clause */
/* The subcommands of tensorguard-platform that work on the data directory and the store. */
#ifndef PLATFORM_ADMIN_ADMIN_H
#define PLATFORM_ADMIN_ADMIN_H

#include "store/store.h"
#include "tensorguard/cli.h"

/* What the options say; NULL: not given. */
struct platform_options {
	const char *data, *passphrase_fd;
	const char *store;	/* init */
	const char *names, *server_cert, *server_key;	/* init, ca renew-server */
	const char *listen, *workers, *connections, *rate, *lifetime, *period;	/* serve */
	const char *fleet, *seconds, *ek_hash, *name, *out;	/* token create, operator issue */
	const char *levels, *pcrs, *pcr_values, *event_log;	/* fleet */
	const char *grace, *grace_software;
	const char *reason;	/* agent revoke, operator revoke, release revoke */
	const char *serial;	/* operator revoke */
	const char *target, *not_after, *offline, *version;	/* policy */
	const char *stages, *failures, *quorum, *soak, *to;	/* release */
	const char *root;	/* trust publish */
	const char *count;	/* audit list */
	const char *agent, *since, *format, *older;	/* audit list, export, prove */
};

enum { ADMIN_PASSPHRASE_SIZE = 1024, ADMIN_URL_SIZE = 1024 };

const struct platform_options *admin_options(const struct tg_cli *cli);
/* From --passphrase-fd; *ret_given false and nothing read without it. The caller wipes it. */
int admin_passphrase(const struct tg_cli *cli, char ret_passphrase[static ADMIN_PASSPHRASE_SIZE],
		     bool *ret_given, struct tg_error *e);
int admin_store(const struct tg_cli *cli, struct store **ret_store, struct tg_error *e);
/* The only argument, called `what`. */
int admin_argument(const struct tg_cli *cli, const char *what, const char **ret_text, struct tg_error *e);
/* That --names, --server-cert and --server-key fit together. */
int admin_server_options(const struct tg_cli *cli, struct tg_error *e);
int admin_no_arguments(const struct tg_cli *cli, struct tg_error *e);
/* What a command that takes no arguments lists: `each` prints it, or gathers it in `list` for --json, where
 * it is the member `name`. */
int admin_list(struct tg_cli *cli, const char *name,
	       int (*each)(struct store *store, bool json, json_t *list, struct tg_error *e),
	       struct tg_error *e);
/* At the end of what was printed as text: -EIO when stdout did not take all of it. */
int admin_flush(struct tg_error *e);
/* "2026-11-22T18:00:00Z" */
json_t *admin_time(int64_t seconds);

/* Runs `change` and writes an audit record "operator ACTION TARGET", both or none. */
struct admin_change {
	const char *action, *target, *detail;
	int (*run)(struct store *store, const void *arg, struct tg_error *e);
	const void *arg;
};
int admin_apply(struct store *store, const struct admin_change *change, struct tg_error *e);

/* "valid", "expired" or "revoked": of a certificate, by its end and when it was taken back (0: never). */
const char *admin_state(int64_t revoked, int64_t not_after);

/* A command that takes its only argument, called `what`, back for --reason: `run` changes the store. */
struct admin_revocation {
	const char *name, *serial, *reason;	/* serial: NULL without --serial */
};
int admin_revoke(struct tg_cli *cli, const char *what, const char *action,
		 int (*run)(struct store *store, const void *revocation, struct tg_error *e),
		 struct tg_error *e);

int cmd_init(struct tg_cli *cli, struct tg_error *e);
int cmd_ca_show(struct tg_cli *cli, struct tg_error *e);
int cmd_ca_renew_server(struct tg_cli *cli, struct tg_error *e);
int cmd_fleet_create(struct tg_cli *cli, struct tg_error *e);
int cmd_fleet_set(struct tg_cli *cli, struct tg_error *e);
int cmd_fleet_list(struct tg_cli *cli, struct tg_error *e);
int cmd_token_create(struct tg_cli *cli, struct tg_error *e);
int cmd_token_list(struct tg_cli *cli, struct tg_error *e);
int cmd_token_revoke(struct tg_cli *cli, struct tg_error *e);
int cmd_agent_list(struct tg_cli *cli, struct tg_error *e);
int cmd_agent_show(struct tg_cli *cli, struct tg_error *e);
int cmd_agent_revoke(struct tg_cli *cli, struct tg_error *e);
int cmd_agent_label(struct tg_cli *cli, struct tg_error *e);
int cmd_agent_unlabel(struct tg_cli *cli, struct tg_error *e);
int cmd_policy_check(struct tg_cli *cli, struct tg_error *e);
int cmd_policy_sign(struct tg_cli *cli, struct tg_error *e);
int cmd_policy_publish(struct tg_cli *cli, struct tg_error *e);
int cmd_policy_lockdown(struct tg_cli *cli, struct tg_error *e);
int cmd_policy_history(struct tg_cli *cli, struct tg_error *e);
int cmd_policy_show(struct tg_cli *cli, struct tg_error *e);
int cmd_policy_rollback(struct tg_cli *cli, struct tg_error *e);
int cmd_policy_withdraw(struct tg_cli *cli, struct tg_error *e);
int cmd_operator_issue(struct tg_cli *cli, struct tg_error *e);
int cmd_release_add(struct tg_cli *cli, struct tg_error *e);
int cmd_release_remove(struct tg_cli *cli, struct tg_error *e);
int cmd_release_revoke(struct tg_cli *cli, struct tg_error *e);
int cmd_release_list(struct tg_cli *cli, struct tg_error *e);
int cmd_release_show(struct tg_cli *cli, struct tg_error *e);
int cmd_release_promote(struct tg_cli *cli, struct tg_error *e);
int cmd_release_pause(struct tg_cli *cli, struct tg_error *e);
int cmd_release_resume(struct tg_cli *cli, struct tg_error *e);
int cmd_release_rollback(struct tg_cli *cli, struct tg_error *e);
int cmd_trust_publish(struct tg_cli *cli, struct tg_error *e);
int cmd_trust_show(struct tg_cli *cli, struct tg_error *e);
int cmd_operator_list(struct tg_cli *cli, struct tg_error *e);
int cmd_operator_revoke(struct tg_cli *cli, struct tg_error *e);
int cmd_audit_list(struct tg_cli *cli, struct tg_error *e);
int cmd_audit_export(struct tg_cli *cli, struct tg_error *e);
int cmd_audit_prove(struct tg_cli *cli, struct tg_error *e);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* tgctl policy status: what is in force, from where, in which version, until when. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/options.h"
#include "instance/instance.h"
#include "policy.h"
#include "tensorguard/file.h"
#include "trust/policy.h"

enum { DATE_LEN = 32 };

/* All that is to be known; each may be missing. */
struct known {
	struct tg_policy *running;
	bool has_given, has_kept;	/* by the Platform: stored by trust; put in force by tg-load apply */
	struct tg_signed_policy given, kept;
	bool locked;
	char reason[LOCKDOWN_REASON_LEN];
};

static int load_kept(const char *state_dir, const struct tg_policy_holder *holder, struct known *known,
		     struct tg_error *e)
{
	struct tg_bytes text = { 0 };
	size_t len = strlen(state_dir);
	char path[PATH_MAX];
	int ret;

	while (len > 1 && state_dir[len - 1] == '/')
		len--;
	snprintf(path, sizeof(path), "%.*s-applied/policy.json", (int)len, state_dir);
	ret = tg_file_read(path, TG_SIGNED_POLICY_MAX, &text, e);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	ret = tg_signed_policy_decode(text.data, text.len, &known->kept, e);
	tg_bytes_free(&text);
	if (!ret && tg_signed_policy_verify(&known->kept, holder, e))
		ret = -EKEYREJECTED;
	known->has_kept = !ret;
	return ret;
}

static int load_signed(const char *state_dir, struct known *known, struct tg_error *e)
{
	struct trust_identity identity = { 0 };
	int ret = trust_identity_load(state_dir, &identity, e);
	const struct tg_policy_holder holder = { &identity.policy_key, identity.agent, identity.fleet, 0 };

	if (ret)
		return ret == -ENOENT ? 0 : ret;
	ret = trust_policy_load(state_dir, &identity, &known->given, e);
	known->has_given = !ret;
	if (!ret || ret == -ENOENT)
		ret = load_kept(state_dir, &holder, known, e);
	trust_identity_clear(&identity);
	return ret;
}

static int load_all(struct tg_cli *cli, struct known *known, struct tg_error *e)
{
	const struct agent_options *options = agent_options(cli);
	int ret = load_signed(options->state_dir ? options->state_dir : TRUST_DIRECTORY, known, e);

	if (ret)
		return ret;
	known->locked = lockdown_is_on(options->run_dir, known->reason);
	ret = state_load(options->run_dir, &known->running, e);
	return ret == -ENOENT ? 0 : ret;
}

static const struct tg_signed_policy *platforms(const struct known *known)
{
	return known->has_kept ? &known->kept : known->has_given ? &known->given : NULL;
}

static const char *state_of(const struct known *known)
{
	const struct tg_signed_policy *p = platforms(known);

	if (known->locked)
		return "locked down";
	if (!known->running)
		return "nothing is up";
	if (p && !known->has_kept)
		return "not applied yet";
	return p && p->not_after <= time(NULL) ? "in force, ended" : "in force";
}

static const char *date(int64_t seconds, char text[static DATE_LEN])
{
	time_t t = seconds;
	struct tm tm;

	strftime(text, DATE_LEN, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	return text;
}

static json_t *status_json(const struct known *known)
{
	const struct tg_signed_policy *p = platforms(known);
	char begin[DATE_LEN], end[DATE_LEN];
	json_t *o = json_pack("{s:s, s:s, s:s?, s:s?}", "state", state_of(known), "source",
			      p                ? "platform"
			      : known->running ? "local"
					       : "none",
			      "policy", known->running ? known->running->name : NULL, "locked",
			      known->locked ? known->reason : NULL);

	if (o && p)
		json_object_update_new(
			o, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:I}", "version", (json_int_t)p->version,
				     "target", p->target, "kind", tg_policy_kind_name(p->kind), "offline",
				     tg_offline_name(p->offline), "not_before", date(p->not_before, begin),
				     "not_after", date(p->not_after, end), "given_version",
				     (json_int_t)(known->has_given ? known->given.version : 0)));
	return o;
}

static int status_text(const struct known *known, struct tg_error *e)
{
	const struct tg_signed_policy *p = platforms(known);
	char end[DATE_LEN];

	printf("state     %s%s%s\n", state_of(known), known->locked ? ": " : "",
	       known->locked ? known->reason : "");
	if (known->running)
		printf("policy    %s, version %llu in its text\n", known->running->name,
		       (unsigned long long)known->running->version);
	if (p)
		printf("source    the Platform: version %lld for %s (%s)\nends      %s, then %s\n",
		       (long long)p->version, p->target, tg_policy_kind_name(p->kind),
		       date(p->not_after, end), tg_offline_name(p->offline));
	else if (known->running)
		printf("source    a file of this device\n");
	if (p && known->has_given && known->given.version != p->version)
		printf("given     version %lld, not in force\n", (long long)known->given.version);
	return fflush(stdout) || ferror(stdout) ? tg_error(e, -EIO, "cannot write to standard output") : 0;
}

int cmd_policy_status(struct tg_cli *cli, struct tg_error *e)
{
	struct known known = { 0 };
	int ret;

	if (cli->arg_count)
		return tg_error(e, TG_CLI_USAGE, "policy status: unexpected argument '%.60s'; see --help",
				cli->args[0]);
	ret = load_all(cli, &known, e);
	if (!ret)
		ret = cli->json ? tg_cli_print_json(status_json(&known), e) : status_text(&known, e);
	if (!ret && strncmp(state_of(&known), "in force", strlen("in force")))
		ret = tg_error(e, TG_CLI_REPORTED, "%s", state_of(&known));
	tg_policy_free(known.running);
	tg_signed_policy_clear(&known.given);
	tg_signed_policy_clear(&known.kept);
	return ret;
}

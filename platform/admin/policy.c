/* SPDX-License-Identifier: BSD-3-Clause */
/* policy check, sign, publish, lockdown, history, show, rollback, withdraw. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/admin.h"
#include "data/data.h"
#include "sync/choose.h"
#include "tensorguard/compile.h"
#include "tensorguard/file.h"
#include "tensorguard/hex.h"
#include "tensorguard/policy.h"
#include "tensorguard/signed_policy.h"

enum { DAY = 86400, DEFAULT_DAYS = 30, MAX_SECONDS = 10 * 365 * DAY };

/* ---- texts ---- */

static int check_text(const char *name, const struct tg_bytes *text, struct tg_policy **ret_policy,
		      struct tg_error *e)
{
	struct tg_policy *policy;
	int ret;

	if (text->len > TG_POLICY_TEXT_MAX)
		return tg_error(e, -EFBIG, "%s: longer than %d bytes", name, TG_POLICY_TEXT_MAX);
	ret = tg_policy_parse((const char *)text->data, text->len, name, &policy, e);
	if (ret)
		return ret;
	for (size_t i = 0; i < policy->tunnel_count && !ret; i++) {
		struct tg_compiled *compiled;

		ret = tg_policy_compile(policy, i, &compiled, e);
		if (!ret)
			tg_compiled_free(compiled);
		else
			tg_error_prefix(e, ret, "%s", name);
	}
	if (ret)
		tg_policy_free(policy);
	else
		*ret_policy = policy;
	return ret;
}

/* With a NUL behind it. */
static int read_text(const char *path, struct tg_bytes *ret_text, struct tg_error *e)
{
	struct tg_bytes file = { 0 };
	int ret = tg_file_read(path, TG_SIGNED_POLICY_MAX, &file, e);

	if (ret)
		return ret;
	if (memchr(file.data, 0, file.len))
		ret = tg_error(e, -EINVAL, "%s: a NUL byte has no place in a policy", path);
	else if (tg_bytes_copy(file.data ? file.data : (const uint8_t *)"", file.len, ret_text))
		ret = tg_error(e, -ENOMEM, "out of memory");
	tg_bytes_free(&file);
	if (!ret) {
		uint8_t *longer = realloc(ret_text->data, ret_text->len + 1);

		if (!longer) {
			tg_bytes_free(ret_text);
			return tg_error(e, -ENOMEM, "out of memory");
		}
		longer[ret_text->len] = '\0';
		ret_text->data = longer;
	}
	return ret;
}

static int print_checked(const struct tg_cli *cli, const struct tg_policy *policy, struct tg_error *e)
{
	json_t *warnings;

	if (!cli->json) {
		printf("%s: ok, %zu warning%s\n", cli->args[0], policy->warning_count,
		       policy->warning_count == 1 ? "" : "s");
		for (size_t i = 0; i < policy->warning_count; i++)
			printf("warning: %s\n", policy->warnings[i]);
		return admin_flush(e);
	}
	warnings = json_array();
	for (size_t i = 0; i < policy->warning_count; i++)
		json_array_append_new(warnings, json_string(policy->warnings[i]));
	return tg_cli_print_json(json_pack("{s:s, s:s, s:I, s:o}", "file", cli->args[0], "policy",
					   policy->name, "policy_version", (json_int_t)policy->version,
					   "warnings", warnings),
				 e);
}

int cmd_policy_check(struct tg_cli *cli, struct tg_error *e)
{
	struct tg_policy *policy = NULL;
	struct tg_bytes text = { 0 };
	const char *path;
	int ret = admin_argument(cli, "the policy's file", &path, e);

	if (!ret)
		ret = read_text(path, &text, e);
	if (!ret)
		ret = check_text(path, &text, &policy, e);
	if (!ret)
		ret = print_checked(cli, policy, e);
	tg_policy_free(policy);
	tg_bytes_free(&text);
	return ret;
}

/* ---- what an operator asks for ---- */

/* "2027-01-31T12:00:00Z", or "+SECONDS" from now on. */
static int parse_end(const char *text, int64_t now, int64_t *ret_end, struct tg_error *e)
{
	struct tm tm = { 0 };
	unsigned long seconds;
	const char *rest;

	if (!text) {
		*ret_end = now + DEFAULT_DAYS * DAY;
		return 0;
	}
	if (*text == '+') {
		int ret = tg_cli_parse_number(text + 1, "--not-after", 1, MAX_SECONDS, &seconds, e);

		if (!ret)
			*ret_end = now + (int64_t)seconds;
		return ret;
	}
	rest = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (!rest || *rest)
		return tg_error(e, TG_CLI_USAGE,
				"--not-after: '%.40s', expected YYYY-MM-DDTHH:MM:SSZ or +SECONDS", text);
	*ret_end = timegm(&tm);
	return *ret_end > now ? 0 : tg_error(e, TG_CLI_USAGE, "--not-after: it has passed");
}

static int take_target(const char *text, char ret_target[static TG_TARGET_LEN], struct tg_error *e)
{
	if (!text)
		return tg_error(e, TG_CLI_USAGE, "--target is needed: fleet:NAME, label:NAME or agent:ID");
	if (strlen(text) >= TG_TARGET_LEN || !tg_target_valid(text))
		return tg_error(e, TG_CLI_USAGE,
				"--target: '%.80s', expected fleet:NAME, label:NAME or agent:ID", text);
	strcpy(ret_target, text);
	return 0;
}

static int take_options(const struct platform_options *options, struct tg_signed_policy *policy,
			struct tg_error *e)
{
	int ret = take_target(options->target, policy->target, e);

	policy->not_before = time(NULL);
	if (!ret)
		ret = parse_end(options->not_after, policy->not_before, &policy->not_after, e);
	if (!ret && options->offline && tg_offline_from_name(options->offline, &policy->offline))
		ret = tg_error(e, TG_CLI_USAGE, "--offline: '%.40s', expected hold, open or closed",
			       options->offline);
	return ret;
}

/* A typing mistake must not publish to nobody. Labels may be given later. */
static int check_target(struct store *store, const char *target, struct tg_error *e)
{
	const char *name = strchr(target, ':') + 1;
	struct store_fleet fleet;
	struct store_agent agent;

	if (!strncmp(target, "fleet:", 6))
		return store_fleet_get(store, name, &fleet, e);
	return strncmp(target, "agent:", 6) ? 0 : store_agent_get(store, name, &agent, e);
}

static int next_version(struct store *store, int64_t *ret_version, struct tg_error *e)
{
	int64_t newest, mark;
	int ret = store_policy_mark(store, &newest, &mark, e);

	if (!ret)
		*ret_version = newest + 1;
	return ret;
}

/* By the key in the data directory. */
static int sign(const struct tg_cli *cli, struct tg_signed_policy *policy, struct tg_error *e)
{
	char passphrase[ADMIN_PASSPHRASE_SIZE];
	EVP_PKEY *key = NULL;
	bool given;
	int ret = admin_passphrase(cli, passphrase, &given, e);

	if (ret)
		return ret;
	ret = data_policy_key_load(admin_options(cli)->data, given ? passphrase : NULL, &key, e);
	OPENSSL_cleanse(passphrase, sizeof(passphrase));
	if (!ret)
		ret = tg_signed_policy_sign(policy, key, e);
	EVP_PKEY_free(key);
	return ret;
}

static json_t *policy_json(const struct store_policy *p)
{
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "version",
			 (json_int_t)p->version, "target", p->target, "kind",
			 tg_policy_kind_name((enum tg_policy_kind)p->kind), "name", p->name, "offline",
			 tg_offline_name((enum tg_offline)p->offline), "not_before",
			 admin_time(p->not_before), "not_after", admin_time(p->not_after), "published",
			 admin_time(p->published), "withdrawn", admin_time(p->withdrawn), "rollback_of",
			 p->origin ? json_integer((json_int_t)p->origin) : json_null());
}

static int print_published(const struct tg_cli *cli, const struct store_policy *policy, struct tg_error *e)
{
	json_t *end;

	if (cli->json)
		return tg_cli_print_json(policy_json(policy), e);
	end = admin_time(policy->not_after);
	printf("version %lld for %s: %s '%s', until %s, then %s\n", (long long)policy->version,
	       policy->target, tg_policy_kind_name((enum tg_policy_kind)policy->kind), policy->name,
	       json_string_value(end), tg_offline_name((enum tg_offline)policy->offline));
	json_decref(end);
	return admin_flush(e);
}

/* Those who have a lockdown to follow, and the older policies of theirs that it comes before. */
struct cover {
	struct policy_table table;
	int64_t version;
	json_int_t agents;
	json_t *before;		/* versions by target */
};

static int cover_agent(void *arg, const struct store_agent *agent)
{
	struct cover *cover = arg;
	const struct policy_entry *specific, *chosen = policy_table_choose(&cover->table, agent, &specific);

	if (agent->revoked || !chosen || chosen->policy.version != cover->version)
		return 0;
	cover->agents++;
	if (specific != chosen)
		json_object_set_new(cover->before, specific->policy.target,
				    json_integer((json_int_t)specific->policy.version));
	return 0;
}

static int print_cover(const struct tg_cli *cli, const struct store_policy *policy, struct cover *cover,
		       struct tg_error *e)
{
	const char *target;
	json_t *object, *version;
	int ret;

	if (cli->json) {
		object = policy_json(policy);
		json_object_set_new(object, "agents", json_integer(cover->agents));
		json_object_set(object, "before", cover->before);
		return tg_cli_print_json(object, e);
	}
	ret = print_published(cli, policy, e);
	printf("%lld agent%s to stop\n", (long long)cover->agents, cover->agents == 1 ? " has" : "s have");
	json_object_foreach(cover->before, target, version)
		printf("it comes before %s, until something newer is published for that: policy rollback"
		       " %lld\n",
		       target, (long long)json_integer_value(version));
	return ret ? ret : admin_flush(e);
}

/* What was published already: that whom it covers cannot be told does not undo it. */
static int print_lockdown(const struct tg_cli *cli, struct store *store, const struct store_policy *policy,
			  struct tg_error *e)
{
	struct cover cover = { .version = policy->version, .before = json_object() };
	int ret = policy_table_load(&cover.table, store, e);

	if (!ret)
		ret = store_agent_each(store, cover_agent, &cover, e);
	if (ret)
		tg_error_prefix(e, ret, "version %lld is published, whom it covers is not known",
				(long long)policy->version);
	else
		ret = print_cover(cli, policy, &cover, e);
	policy_table_clear(&cover.table);
	json_decref(cover.before);
	return ret;
}

/* ---- sign ---- */

static int write_signed(const struct tg_cli *cli, const struct tg_signed_policy *policy, struct tg_error *e)
{
	const char *out = admin_options(cli)->out;
	struct tg_bytes document = { 0 };
	int ret = tg_signed_policy_encode(policy, &document, e);

	if (!ret)
		ret = tg_file_create(out, document.data, document.len, 0644, e);
	tg_bytes_free(&document);
	if (!ret && cli->json)
		ret = tg_cli_print_json(json_pack("{s:s, s:I, s:s}", "signed", out, "version",
						  (json_int_t)policy->version, "target", policy->target),
					e);
	return ret;
}

static int choose_version(const struct tg_cli *cli, struct tg_signed_policy *policy, struct tg_error *e)
{
	const char *text = admin_options(cli)->version;
	struct store *store = NULL;
	unsigned long version;
	int ret;

	if (text) {
		ret = tg_cli_parse_number(text, "--version-number", 1, INT32_MAX, &version, e);
		if (!ret)
			policy->version = (int64_t)version;
		return ret;
	}
	ret = admin_store(cli, &store, e);
	if (!ret)
		ret = next_version(store, &policy->version, e);
	store_close(store);
	return ret;
}

int cmd_policy_sign(struct tg_cli *cli, struct tg_error *e)
{
	struct tg_signed_policy signed_policy = { 0 };
	struct tg_policy *policy = NULL;
	const char *path;
	int ret = admin_argument(cli, "the policy's file", &path, e);

	if (!ret && !admin_options(cli)->out)
		ret = tg_error(e, TG_CLI_USAGE, "--out is needed");
	if (!ret)
		ret = take_options(admin_options(cli), &signed_policy, e);
	if (!ret)
		ret = read_text(path, &signed_policy.text, e);
	if (!ret)
		ret = check_text(path, &signed_policy.text, &policy, e);
	if (!ret)
		ret = choose_version(cli, &signed_policy, e);
	if (!ret)
		ret = sign(cli, &signed_policy, e);
	if (!ret)
		ret = write_signed(cli, &signed_policy, e);
	tg_policy_free(policy);
	tg_signed_policy_clear(&signed_policy);
	return ret;
}

/* ---- publish ---- */

struct publication {
	struct store_policy policy;
	struct tg_bytes document;
};

static int run_publish(struct store *store, const void *arg, struct tg_error *e)
{
	const struct publication *publication = arg;

	return store_policy_publish(store, &publication->policy, &publication->document, e);
}

static int describe(const struct tg_signed_policy *p, int64_t origin, struct store_policy *ret_policy,
		    struct tg_error *e)
{
	struct tg_policy *policy;
	int ret = check_text("the policy", &p->text, &policy, e);

	if (ret)
		return ret;
	*ret_policy = (struct store_policy){ .version = p->version,
					     .kind = p->kind,
					     .not_before = p->not_before,
					     .not_after = p->not_after,
					     .offline = p->offline,
					     .published = time(NULL),
					     .origin = origin };
	snprintf(ret_policy->target, sizeof(ret_policy->target), "%s", p->target);
	snprintf(ret_policy->name, sizeof(ret_policy->name), "%s", policy->name);
	tg_policy_free(policy);
	return 0;
}

/* Nothing is stored that devices would refuse. */
static int verify_own(const struct tg_cli *cli, const struct tg_signed_policy *policy, struct tg_error *e)
{
	const char *name = strchr(policy->target, ':') + 1;
	struct tg_bytes key = { 0 };
	struct tg_policy_holder holder = { .key = &key, .agent = name, .fleet = name };
	int ret = data_policy_public_load(admin_options(cli)->data, &key, e);

	if (!ret && tg_signed_policy_admit(policy, &holder, time(NULL), e))
		ret = -EKEYREJECTED;
	tg_bytes_free(&key);
	return ret;
}

static int publish(struct tg_cli *cli, struct store *store, const struct tg_signed_policy *policy,
		   int64_t origin, struct tg_error *e)
{
	struct publication publication = { 0 };
	char detail[STORE_TEXT_SIZE];
	struct admin_change change = { .action = policy->kind == TG_POLICY_LOCKDOWN ? "policy-lockdown"
										    : "policy-publish",
				       .target = policy->target,
				       .detail = detail,
				       .run = run_publish,
				       .arg = &publication };
	int ret = verify_own(cli, policy, e);

	if (!ret)
		ret = check_target(store, policy->target, e);
	if (!ret)
		ret = describe(policy, origin, &publication.policy, e);
	if (!ret)
		ret = tg_signed_policy_encode(policy, &publication.document, e);
	snprintf(detail, sizeof(detail), "version %lld, '%s'", (long long)policy->version,
		 publication.policy.name);
	if (!ret)
		ret = admin_apply(store, &change, e);
	if (!ret)
		ret = policy->kind == TG_POLICY_LOCKDOWN ? print_lockdown(cli, store, &publication.policy, e)
							 : print_published(cli, &publication.policy, e);
	tg_bytes_free(&publication.document);
	return ret;
}

/* What `policy sign` wrote begins as JSON does, and no policy does. */
static bool is_signed(const struct tg_bytes *text)
{
	return text->len && text->data[0] == '{';
}

static int prepare(struct tg_cli *cli, struct store *store, struct tg_bytes *text,
		   struct tg_signed_policy *policy, struct tg_error *e)
{
	const struct platform_options *options = admin_options(cli);
	int ret;

	if (is_signed(text)) {
		if (options->target || options->not_after || options->offline || options->passphrase_fd)
			return tg_error(e, TG_CLI_USAGE, "%s is signed: nothing of it can be chosen any more",
					cli->args[0]);
		return tg_signed_policy_decode(text->data, text->len, policy, e);
	}
	ret = take_options(options, policy, e);
	policy->text = *text;
	*text = (struct tg_bytes){ 0 };
	if (!ret)
		ret = next_version(store, &policy->version, e);
	return ret ? ret : sign(cli, policy, e);
}

int cmd_policy_publish(struct tg_cli *cli, struct tg_error *e)
{
	struct tg_signed_policy policy = { 0 };
	struct tg_bytes text = { 0 };
	struct store *store = NULL;
	const char *path;
	int ret = admin_argument(cli, "the policy's file", &path, e);

	if (!ret)
		ret = read_text(path, &text, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = prepare(cli, store, &text, &policy, e);
	if (!ret)
		ret = publish(cli, store, &policy, 0, e);
	store_close(store);
	tg_bytes_free(&text);
	tg_signed_policy_clear(&policy);
	return ret;
}

/* ---- lockdown ---- */

struct search {
	const char *target;
	struct tg_signed_policy *policy;
	bool found;
	int result;
	struct tg_error *e;
};

static int compare_target(void *arg, const struct store_policy *stored, const struct tg_bytes *document)
{
	struct search *search = arg;

	if (strcmp(stored->target, search->target))
		return 0;
	search->found = true;
	search->result = tg_signed_policy_decode(document->data, document->len, search->policy, search->e);
	return 1;
}

static int find_current(struct store *store, const char *target, struct tg_signed_policy *ret_policy,
			bool *ret_found, struct tg_error *e)
{
	struct search search = { .target = target, .policy = ret_policy, .e = e };
	int ret = store_policy_current(store, compare_target, &search, e);

	*ret_found = search.found && !search.result;
	return ret ? ret : search.result;
}

/* The text that is in force for the target; for an agent without one of its own, its fleet's. */
static int find_text(struct store *store, const char *target, struct tg_bytes *ret_text, struct tg_error *e)
{
	struct tg_signed_policy current = { 0 };
	char fleet[TG_TARGET_LEN];
	struct store_agent agent;
	bool found;
	int ret = find_current(store, target, &current, &found, e);

	if (!ret && !found && !strncmp(target, "agent:", 6)) {
		ret = store_agent_get(store, target + 6, &agent, e);
		if (!ret) {
			snprintf(fleet, sizeof(fleet), "fleet:%s", agent.fleet);
			ret = find_current(store, fleet, &current, &found, e);
		}
	}
	if (!ret && !found)
		return tg_error(e, -ENOENT,
				"no policy is published for %s: name the FILE whose rules are to be stopped",
				target);
	if (!ret)
		*ret_text = current.text;
	return ret;
}

int cmd_policy_lockdown(struct tg_cli *cli, struct tg_error *e)
{
	struct tg_signed_policy policy = { .kind = TG_POLICY_LOCKDOWN, .offline = TG_OFFLINE_HOLD };
	struct store *store = NULL;
	int ret = take_options(admin_options(cli), &policy, e);

	if (!ret && cli->arg_count > 1)
		ret = tg_error(e, TG_CLI_USAGE, "unexpected argument '%.60s'", cli->args[1]);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = cli->arg_count ? read_text(cli->args[0], &policy.text, e)
				     : find_text(store, policy.target, &policy.text, e);
	if (!ret)
		ret = next_version(store, &policy.version, e);
	if (!ret)
		ret = sign(cli, &policy, e);
	if (!ret)
		ret = publish(cli, store, &policy, 0, e);
	store_close(store);
	tg_signed_policy_clear(&policy);
	return ret;
}

/* ---- history, show ---- */

struct listing {
	const char *target;	/* NULL: all */
	json_t *list;		/* NULL: text */
};

static int list_one(void *arg, const struct store_policy *p)
{
	const struct listing *listing = arg;
	json_t *published, *end;

	if (listing->target && strcmp(listing->target, p->target))
		return 0;
	if (listing->list) {
		json_array_append_new(listing->list, policy_json(p));
		return 0;
	}
	published = admin_time(p->published);
	end = admin_time(p->not_after);
	printf("%6lld %-24s %-8s %-16s %s until %s, then %s", (long long)p->version, p->target,
	       tg_policy_kind_name((enum tg_policy_kind)p->kind), p->name, json_string_value(published),
	       json_string_value(end), tg_offline_name((enum tg_offline)p->offline));
	if (p->origin)
		printf(", rollback of %lld", (long long)p->origin);
	printf("%s\n", p->withdrawn ? ", withdrawn" : "");
	json_decref(published);
	json_decref(end);
	return 0;
}

int cmd_policy_history(struct tg_cli *cli, struct tg_error *e)
{
	struct listing listing = { .target = admin_options(cli)->target,
				   .list = cli->json ? json_array() : NULL };
	char target[TG_TARGET_LEN];
	struct store *store = NULL;
	int ret = admin_no_arguments(cli, e);

	if (!ret && listing.target)
		ret = take_target(listing.target, target, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = store_policy_each(store, list_one, &listing, e);
	if (!ret)
		ret = cli->json ? tg_cli_print_json(json_pack("{s:O}", "policies", listing.list), e)
				: admin_flush(e);
	json_decref(listing.list);
	store_close(store);
	return ret;
}

static int load_version(struct tg_cli *cli, struct store **ret_store, struct store_policy *ret_stored,
			struct tg_signed_policy *ret_policy, struct tg_error *e)
{
	struct tg_bytes document = { 0 };
	struct store *store = NULL;
	unsigned long version;
	const char *text;
	int ret = admin_argument(cli, "the version", &text, e);

	if (!ret)
		ret = tg_cli_parse_number(text, "the version", 1, INT32_MAX, &version, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = store_policy_get(store, (int64_t)version, ret_stored, &document, e);
	if (!ret)
		ret = tg_signed_policy_decode(document.data, document.len, ret_policy, e);
	tg_bytes_free(&document);
	if (ret)
		store_close(store);
	else
		*ret_store = store;
	return ret;
}

static int print_policy(const struct tg_cli *cli, const struct store_policy *stored,
			const struct tg_signed_policy *policy, struct tg_error *e)
{
	char statement[TG_STATEMENT_MAX], signature[2 * TG_SIGNATURE_LEN + 1];
	json_t *object;
	size_t len;
	int ret = tg_signed_policy_statement(policy, statement, &len, e);

	if (ret)
		return ret;
	tg_hex(policy->signature, sizeof(policy->signature), signature);
	if (!cli->json) {
		printf("%ssignature %s\n\n%s", statement, signature, policy->text.data);
		return admin_flush(e);
	}
	object = policy_json(stored);
	json_object_set_new(object, "statement", json_string(statement));
	json_object_set_new(object, "signature", json_string(signature));
	json_object_set_new(object, "text", json_string((const char *)policy->text.data));
	return tg_cli_print_json(object, e);
}

int cmd_policy_show(struct tg_cli *cli, struct tg_error *e)
{
	struct tg_signed_policy policy = { 0 };
	struct store_policy stored = { 0 };
	struct store *store = NULL;
	int ret = load_version(cli, &store, &stored, &policy, e);

	if (!ret)
		ret = print_policy(cli, &stored, &policy, e);
	store_close(store);
	tg_signed_policy_clear(&policy);
	return ret;
}

/* ---- rollback, withdraw ---- */

/* Devices take only what is newer: the old text gets a new version. */
int cmd_policy_rollback(struct tg_cli *cli, struct tg_error *e)
{
	struct tg_signed_policy policy = { 0 };
	struct store_policy stored = { 0 };
	struct store *store = NULL;
	int ret = load_version(cli, &store, &stored, &policy, e);

	policy.not_before = time(NULL);
	if (!ret)
		ret = parse_end(admin_options(cli)->not_after, policy.not_before, &policy.not_after, e);
	if (!ret)
		ret = next_version(store, &policy.version, e);
	if (!ret)
		ret = sign(cli, &policy, e);
	if (!ret)
		ret = publish(cli, store, &policy, stored.version, e);
	store_close(store);
	tg_signed_policy_clear(&policy);
	return ret;
}

static int run_withdraw(struct store *store, const void *arg, struct tg_error *e)
{
	return store_policy_withdraw(store, arg, time(NULL), e);
}

int cmd_policy_withdraw(struct tg_cli *cli, struct tg_error *e)
{
	char target[TG_TARGET_LEN];
	struct admin_change change = { .action = "policy-withdraw",
				       .target = target,
				       .detail = "",
				       .run = run_withdraw,
				       .arg = target };
	struct store *store = NULL;
	int ret = admin_no_arguments(cli, e);

	if (!ret)
		ret = take_target(admin_options(cli)->target, target, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = admin_apply(store, &change, e);
	if (!ret && cli->json)
		ret = tg_cli_print_json(json_pack("{s:s}", "withdrawn", target), e);
	store_close(store);
	return ret;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/admin.h"
#include "store/tunnel.h"
#include "tensorguard/attest.h"
#include "tensorguard/base64.h"
#include "tensorguard/certificate.h"
#include "tensorguard/hex.h"
#include "tensorguard/sync.h"

/* "a b" */
static json_t *words_json(const char *text)
{
	json_t *list = json_array();
	size_t len;

	for (; *text; text += len + (text[len] == ' ')) {
		len = strcspn(text, " ");
		json_array_append_new(list, json_stringn(text, len));
	}
	return list;
}

/* What it said of itself last; null: nothing yet. */
static json_t *heartbeat_json(const struct store_heartbeat *beat)
{
	json_t *faults;

	if (!beat->time)
		return json_null();
	faults = words_json(beat->faults);
	return json_pack("{s:o, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I}", "last_seen",
			 admin_time(beat->time), "version", beat->version, "kernel", beat->kernel, "engine",
			 tg_sync_engine_name((enum tg_sync_engine)beat->engine), "state",
			 tg_sync_state_name((enum tg_sync_state)beat->state), "uptime",
			 (json_int_t)beat->uptime, "real_bytes", (json_int_t)beat->real, "pad_bytes",
			 (json_int_t)beat->pad, "dummy_bytes", (json_int_t)beat->dummy, "violations",
			 (json_int_t)beat->violations, "restarts", (json_int_t)beat->restarts, "faults",
			 faults, "policy_version", (json_int_t)beat->policy_version);
}

static json_t *agent_json(const struct store_agent *agent, const struct store_heartbeat *beat)
{
	char identity[2 * STORE_HASH_LEN + 1];

	tg_hex(agent->identity, sizeof(agent->identity), identity);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:s?, s:o, s:o}", "id", agent->id,
			 "fleet", agent->fleet, "assurance",
			 tg_assurance_name((enum tg_assurance)agent->level), "state",
			 admin_state(agent->revoked, agent->not_after), "identity", identity, "enrolled",
			 admin_time(agent->enrolled), "renewed", admin_time(agent->renewed), "not_after",
			 admin_time(agent->not_after), "revoked", admin_time(agent->revoked), "reason",
			 agent->revoked ? agent->reason : NULL, "labels", words_json(agent->labels),
			 "heartbeat", heartbeat_json(beat));
}

struct listing {
	struct store *store;
	json_t *list;	/* NULL: text */
};

static void print_agent(const struct store_agent *agent, const struct store_heartbeat *beat)
{
	char seen[32] = "never seen";

	if (beat->time)
		snprintf(seen, sizeof(seen), "%s %llds ago",
			 tg_sync_state_name((enum tg_sync_state)beat->state),
			 (long long)(time(NULL) - beat->time));
	printf("%-34s %-16s %-15s %-8s policy %-6lld %s\n", agent->id, agent->fleet,
	       tg_assurance_name((enum tg_assurance)agent->level),
	       admin_state(agent->revoked, agent->not_after), (long long)beat->policy_version, seen);
}

static int list_one(void *arg, const struct store_agent *agent)
{
	const struct listing *listing = arg;
	struct store_heartbeat beat;

	store_heartbeat_get(listing->store, agent->id, &beat, NULL);
	if (listing->list)
		json_array_append_new(listing->list, agent_json(agent, &beat));
	else
		print_agent(agent, &beat);
	return 0;
}

static int each_agent(struct store *store, bool json, json_t *list, struct tg_error *e)
{
	struct listing listing = { store, json ? list : NULL };

	return store_agent_each(store, list_one, &listing, e);
}

int cmd_agent_list(struct tg_cli *cli, struct tg_error *e)
{
	return admin_list(cli, "agents", each_agent, e);
}

static int collect_certificate(void *arg, const struct store_certificate *certificate)
{
	json_array_append_new(arg, json_pack("{s:s, s:o, s:o}", "serial", certificate->serial, "issued",
					     admin_time(certificate->issued), "not_after",
					     admin_time(certificate->not_after)));
	return 0;
}

static json_t *key_json(const uint8_t *key)
{
	char text[TG_KEY_TEXT_LEN + 1];

	tg_key_to_base64(key, text);
	return json_string(text);
}

/* The public keys of its tunnels. */
static int collect_tunnel(void *arg, const struct store_tunnel *tunnel)
{
	json_array_append_new(arg,
			      json_pack("{s:s, s:o, s:o, s:o}", "tunnel", tunnel->keys.tunnel, "current",
					key_json(tunnel->keys.current), "next",
					tunnel->keys.has_next ? key_json(tunnel->keys.next) : json_null(),
					"since", admin_time(tunnel->since)));
	return 0;
}

static void print_tunnel(const json_t *tunnel)
{
	const char *next = json_string_value(json_object_get(tunnel, "next"));

	printf("tunnel         %s key %s since %s%s%s\n",
	       json_string_value(json_object_get(tunnel, "tunnel")),
	       json_string_value(json_object_get(tunnel, "current")),
	       json_string_value(json_object_get(tunnel, "since")), next ? ", next " : "", next ? next : "");
}

static void print_words(const char *key, const json_t *list)
{
	json_t *value;
	size_t i;

	if (!json_array_size(list))
		return;
	printf("%-14s", key);
	json_array_foreach((json_t *)(uintptr_t)list, i, value) if (json_is_string(value))
		printf(" %s", json_string_value(value));
	putchar('\n');
}

static void print_members(const json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		if (json_is_string(value))
			printf("%-14s %s\n", key, json_string_value(value));
		else if (json_is_integer(value))
			printf("%-14s %lld\n", key, (long long)json_integer_value(value));
	}
}

static void print_text(const json_t *object)
{
	const json_t *heartbeat = json_object_get(object, "heartbeat");
	json_t *value;
	size_t i;

	print_members(object);
	print_words("labels", json_object_get(object, "labels"));
	if (json_is_object(heartbeat))
		print_members(heartbeat);
	print_words("faults", json_object_get(heartbeat, "faults"));
	json_array_foreach(json_object_get(object, "certificates"), i, value)
		printf("certificate    %s until %s\n", json_string_value(json_object_get(value, "serial")),
		       json_string_value(json_object_get(value, "not_after")));
	json_array_foreach(json_object_get(object, "tunnels"), i, value) print_tunnel(value);
}

int cmd_agent_show(struct tg_cli *cli, struct tg_error *e)
{
	json_t *certificates = json_array(), *tunnels = json_array(), *object;
	struct store_heartbeat beat = { 0 };
	struct store *store = NULL;
	struct store_agent agent;
	const char *id;
	int ret;

	ret = admin_argument(cli, "the agent's id", &id, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = store_agent_get(store, id, &agent, e);
	if (!ret)
		ret = store_certificate_each(store, id, collect_certificate, certificates, e);
	if (!ret)
		ret = store_tunnel_each(store, id, collect_tunnel, tunnels, e);
	if (!ret) {
		ret = store_heartbeat_get(store, id, &beat, e);
		ret = ret == -ENOENT ? 0 : ret;
	}
	store_close(store);
	if (ret) {
		json_decref(certificates);
		json_decref(tunnels);
		return ret;
	}
	object = agent_json(&agent, &beat);
	json_object_set_new(object, "certificates", certificates);
	json_object_set_new(object, "tunnels", tunnels);
	if (cli->json)
		return tg_cli_print_json(object, e);
	print_text(object);
	json_decref(object);
	return admin_flush(e);
}

/* ---- labels ---- */

struct labelling {
	const struct tg_cli *cli;
	const char *id;
	bool add;
};

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_named(const struct tg_cli *cli, const char *label)
{
	for (int i = 1; i < cli->arg_count; i++)
		if (!strcmp(cli->args[i], label))
			return true;
	return false;
}

/* The former ones that stay, and those that are added; in order, each once. */
static int join_labels(const struct labelling *l, const char *labels, char ret_text[static STORE_TEXT_SIZE],
		       struct tg_error *e)
{
	const char *words[STORE_TEXT_SIZE + STORE_TEXT_SIZE / 2];
	char copy[STORE_TEXT_SIZE], *rest = copy, *word;
	size_t count = 0, len = 0;

	snprintf(copy, sizeof(copy), "%s", labels);
	while ((word = strsep(&rest, " ")))
		if (*word && !is_named(l->cli, word))
			words[count++] = word;
	for (int i = 1; l->add && i < l->cli->arg_count && count < STORE_TEXT_SIZE; i++)
		words[count++] = l->cli->args[i];
	qsort(words, count, sizeof(words[0]), compare_words);
	ret_text[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		if (i && !strcmp(words[i], words[i - 1]))
			continue;
		len += (size_t)snprintf(ret_text + len, STORE_TEXT_SIZE - len, "%s%s", len ? " " : "",
					words[i]);
		if (len >= STORE_TEXT_SIZE)
			return tg_error(e, -E2BIG, "an agent's labels have %d characters at most",
					STORE_TEXT_SIZE - 1);
	}
	return 0;
}

static int run_label(struct store *store, const void *arg, struct tg_error *e)
{
	const struct labelling *labelling = arg;
	char labels[STORE_TEXT_SIZE];
	struct store_agent agent;
	int ret = store_agent_get(store, labelling->id, &agent, e);

	if (!ret)
		ret = join_labels(labelling, agent.labels, labels, e);
	return ret ? ret : store_agent_label(store, labelling->id, labels, e);
}

static int check_labels(const struct tg_cli *cli, struct tg_error *e)
{
	if (cli->arg_count < 2 || cli->arg_count > STORE_TEXT_SIZE / 2)
		return tg_error(e, TG_CLI_USAGE, "expected the agent's id and at least one label");
	for (int i = 1; i < cli->arg_count; i++)
		if (!tg_id_valid(cli->args[i]))
			return tg_error(e, TG_CLI_USAGE, "'%.60s' is no label: 1 to 63 of a-z 0-9 - _ .",
					cli->args[i]);
	return 0;
}

static int change_labels(struct tg_cli *cli, bool add, struct tg_error *e)
{
	struct labelling labelling = { .cli = cli, .add = add };
	struct admin_change change = { .action = add ? "agent-label" : "agent-unlabel",
				       .run = run_label,
				       .arg = &labelling };
	char detail[STORE_TEXT_SIZE] = "";
	struct store *store = NULL;
	int ret = check_labels(cli, e);

	if (ret)
		return ret;
	labelling.id = change.target = cli->args[0];
	for (int i = 1; i < cli->arg_count; i++)
		snprintf(detail + strlen(detail), sizeof(detail) - strlen(detail), "%s%s", i > 1 ? " " : "",
			 cli->args[i]);
	change.detail = detail;
	ret = admin_store(cli, &store, e);
	if (!ret)
		ret = admin_apply(store, &change, e);
	if (!ret && cli->json)
		ret = tg_cli_print_json(
			json_pack("{s:s, s:s}", "agent", labelling.id, add ? "added" : "removed", detail), e);
	store_close(store);
	return ret;
}

int cmd_agent_label(struct tg_cli *cli, struct tg_error *e)
{
	return change_labels(cli, true, e);
}

int cmd_agent_unlabel(struct tg_cli *cli, struct tg_error *e)
{
	return change_labels(cli, false, e);
}

/* ---- revocation ---- */

static int run_revoke(struct store *store, const void *arg, struct tg_error *e)
{
	const struct admin_revocation *revocation = arg;

	return store_agent_revoke(store, revocation->name, revocation->reason, time(NULL), e);
}

int cmd_agent_revoke(struct tg_cli *cli, struct tg_error *e)
{
	return admin_revoke(cli, "the agent's id", "agent-revoke", run_revoke, e);
}

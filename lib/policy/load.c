/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/parts.h"

enum { DEFAULT_QUEUE = 5400, DEFAULT_QUEUE_LENGTH = 1024 };

static void free_tunnel(struct tg_tunnel *t)
{
	for (size_t i = 0; i < t->peer_count; i++) {
		free(t->peers[i].preshared_key_file);
		free(t->peers[i].allowed_ips);
	}
	free(t->peers);
	free(t->key_file);
}

static void free_rule(struct tg_policy_rule *rule)
{
	free(rule->to);
	free(rule->from);
	free(rule->ports);
	free(rule->source_ports);
	free(rule->cgroup);
	free(rule->sni);
}

void tg_policy_free(struct tg_policy *policy)
{
	if (!policy)
		return;
	for (size_t i = 0; i < policy->tunnel_count; i++)
		free_tunnel(&policy->tunnels[i]);
	for (size_t i = 0; i < policy->rule_count; i++)
		free_rule(&policy->rules[i]);
	free(policy->tunnels);
	free(policy->rules);
	free(policy->warnings);
	free(policy);
}

/* Another version of the language has other keys: it is looked at before they are. */
static int parse_version(const struct conf_group *g, const char *const *keys, size_t key_count)
{
	const config_setting_t *s = conf_get(g, "version");
	int ret;

	if (s &&
	    (config_setting_type(s) != CONFIG_TYPE_INT || config_setting_get_int(s) != TG_POLICY_VERSION))
		return conf_expected(g->conf, s, "%d, the version of the language", TG_POLICY_VERSION);
	ret = conf_check_keys(g, keys, key_count);
	return ret ? ret : conf_require(g, "version", &s);
}

static int parse_classifier(struct conf_group *root, struct tg_classifier_conf *classifier)
{
	static const struct conf_word words[] = { { "bypass", false }, { "hold", true }, { NULL, 0 } };
	static const char *const keys[] = { "undecided", "queue", "queue_length" };
	const config_setting_t *s = conf_get(root, "classifier");
	int64_t queue = DEFAULT_QUEUE, length = DEFAULT_QUEUE_LENGTH;
	int ret, hold = false;
	struct conf_group g;

	if (s) {
		ret = conf_group_begin(root->conf, s, "classifier", &g);
		if (!ret)
			ret = conf_check_keys(&g, keys, CONF_KEY_COUNT(keys));
		if (!ret)
			ret = conf_get_word(&g, "undecided", CONF_OPTIONAL, words, &hold);
		if (!ret)
			ret = conf_get_integer(&g, "queue", CONF_OPTIONAL, 0, 65535, &queue);
		if (!ret)
			ret = conf_get_integer(&g, "queue_length", CONF_OPTIONAL, 1, 65535, &length);
		if (ret)
			return ret;
	}
	*classifier = (struct tg_classifier_conf){ .hold = hold,
						   .queue = (uint16_t)queue,
						   .queue_length = (uint32_t)length };
	return 0;
}

/* After the classifier, whose queue must be another one. */
static int parse_engine(struct conf_group *g, struct tg_policy *policy)
{
	const config_setting_t *s = conf_get(g, "engine_queue");
	uint16_t other = policy->classifier.queue;
	int64_t queue = other == UINT16_MAX ? other - 1 : other + 1;
	int ret, engine = TG_ENGINE_AUTO;

	ret = conf_get_word(g, "engine", CONF_OPTIONAL, policy_engines, &engine);
	if (!ret && s && engine == TG_ENGINE_KERNEL)
		ret = conf_fail(g->conf, s,
				"engine_queue contradicts engine = \"kernel\", expected only one of them");
	if (!ret && s)
		ret = conf_integer(g->conf, s, 0, UINT16_MAX, &queue);
	if (!ret && queue == other)
		ret = conf_expected(g->conf, s, "another number than the classifier's queue");
	policy->engine = (enum tg_engine)engine;
	policy->engine_queue = (uint16_t)queue;
	return ret;
}

static int parse_head(struct conf_group *g, struct tg_policy *policy)
{
	static const char *const keys[] = { "version",    "name",    "policy_version", "role",
					    "profile",    "fail",    "engine",         "engine_queue",
					    "classifier", "tunnels", "rules" };
	int ret, role = TG_ROLE_EDGE, profile, fail = TG_FAIL_CLOSED;
	int64_t version;

	ret = parse_version(g, keys, CONF_KEY_COUNT(keys));
	if (!ret)
		ret = conf_get_name(g, policy->name, sizeof(policy->name));
	if (!ret)
		ret = conf_get_integer(g, "policy_version", CONF_REQUIRED, 1, INT64_MAX, &version);
	if (!ret)
		ret = conf_get_word(g, "role", CONF_OPTIONAL, policy_roles, &role);
	if (!ret)
		ret = conf_get_word(g, "profile", CONF_REQUIRED, policy_profiles, &profile);
	if (!ret)
		ret = conf_get_word(g, "fail", CONF_OPTIONAL, policy_fails, &fail);
	if (ret)
		return ret;
	policy->version = (uint64_t)version;
	policy->role = (enum tg_role)role;
	policy->profile = (enum tg_profile)profile;
	policy->fail = (enum tg_fail)fail;
	ret = parse_classifier(g, &policy->classifier);
	return ret ? ret : parse_engine(g, policy);
}

static int parse_tunnels(struct conf_group *g, struct tg_policy *policy)
{
	const config_setting_t *s;
	size_t count = 0;
	int ret;

	ret = conf_require(g, "tunnels", &s);
	if (!ret)
		ret = conf_list_length(g->conf, s, TG_MAX_TUNNELS, &count);
	if (ret)
		return ret;
	policy->tunnels = calloc(count, sizeof(*policy->tunnels));
	if (!policy->tunnels)
		return tg_error(g->conf->e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count && !ret; i++) {
		policy->tunnel_count++;
		ret = policy_parse_tunnel(g->conf, config_setting_get_elem(s, (unsigned)i),
					  &policy->tunnels[i]);
	}
	return ret;
}

static int parse_rules(struct conf_group *g, struct tg_policy *policy)
{
	const config_setting_t *s = conf_get(g, "rules");
	size_t count = 0;
	int ret;

	if (!s)
		return 0;
	ret = conf_list_length(g->conf, s, TG_MAX_RULES, &count);
	if (ret)
		return ret;
	policy->rules = calloc(count, sizeof(*policy->rules));
	if (!policy->rules)
		return tg_error(g->conf->e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count && !ret; i++) {
		policy->rule_count++;
		ret = policy_parse_rule(g->conf, config_setting_get_elem(s, (unsigned)i), &policy->rules[i]);
	}
	return ret;
}

/* ---- the site file ---- */

static int check_site_tunnels(struct conf *c, const config_setting_t *list, size_t count)
{
	const char *name, *other;
	int ret;

	for (unsigned i = 0; i < count; i++) {
		const config_setting_t *elem = config_setting_get_elem(list, i);

		ret = policy_check_site_tunnel(c, elem, &name);
		if (ret)
			return ret;
		for (unsigned k = 0; k < i; k++)
			if (config_setting_lookup_string(config_setting_get_elem(list, k), "name", &other) &&
			    !strcmp(name, other))
				return conf_expected(c, config_setting_get_member(elem, "name"),
						     "each tunnel once");
	}
	return 0;
}

/* Before the policy's tunnels are read: they look their device settings up here. */
static int check_site(struct conf *c)
{
	static const char *const keys[] = { "version", "tunnels" };
	const config_setting_t *list;
	struct conf_group g;
	size_t count = 0;
	int ret;

	ret = conf_group_begin(c, config_root_setting(&c->site.config), "the site file", &g);
	if (!ret)
		ret = parse_version(&g, keys, CONF_KEY_COUNT(keys));
	if (!ret)
		ret = conf_require(&g, "tunnels", &list);
	if (!ret)
		ret = conf_list_length(c, list, TG_MAX_TUNNELS, &count);
	return ret ? ret : check_site_tunnels(c, list, count);
}

/* Afterwards: an entry that no tunnel took is a misspelt name. */
static int check_site_used(const struct conf *c)
{
	const config_setting_t *list =
		config_setting_get_member(config_root_setting(&c->site.config), "tunnels");
	const char *name = NULL;

	for (int i = 0; i < config_setting_length(list); i++) {
		const config_setting_t *elem = config_setting_get_elem(list, (unsigned)i);
		size_t t = 0;

		config_setting_lookup_string(elem, "name", &name);
		while (t < c->out->tunnel_count && strcmp(c->out->tunnels[t].name, name))
			t++;
		if (t == c->out->tunnel_count)
			return conf_expected(c, config_setting_get_member(elem, "name"),
					     "the name of one of the policy's tunnels");
	}
	return 0;
}

/* ---- the policy ---- */

static int parse_policy(struct conf *c)
{
	struct conf_group g;
	int ret = 0;

	if (c->site.open)
		ret = check_site(c);
	if (!ret)
		ret = conf_group_begin(c, config_root_setting(&c->policy.config), "the policy", &g);
	if (!ret)
		ret = parse_head(&g, c->out);
	if (!ret)
		ret = parse_tunnels(&g, c->out);
	if (!ret && c->site.open)
		ret = check_site_used(c);
	if (!ret)
		ret = policy_check_tunnels(c);
	if (!ret)
		ret = parse_rules(&g, c->out);
	return ret ? ret : policy_add_warnings(c);
}

/* Both files are open, or the site file is not there. */
static int load(struct conf *c, struct tg_policy **ret_policy)
{
	int ret;

	c->out = calloc(1, sizeof(*c->out));
	if (!c->out)
		return tg_error(c->e, -ENOMEM, "out of memory");
	ret = parse_policy(c);
	if (ret) {
		tg_policy_free(c->out);
		return ret;
	}
	*ret_policy = c->out;
	return 0;
}

static int open_path(struct conf *c, struct conf_file *file, const char *path)
{
	size_t size;
	char *text;
	int ret;

	file->name = path;
	ret = conf_read(path, &text, &size, c->e);
	if (ret)
		return ret;
	ret = conf_file_open(c, file, text, size);
	free(text);
	return ret;
}

int tg_policy_load(const char *path, const char *site, struct tg_policy **ret_policy, struct tg_error *e)
{
	struct conf c = { .e = e };
	int ret;

	ret = open_path(&c, &c.policy, path);
	if (!ret && site)
		ret = open_path(&c, &c.site, site);
	if (!ret)
		ret = load(&c, ret_policy);
	conf_file_close(&c.site);
	conf_file_close(&c.policy);
	return ret;
}

static int parse(struct conf *c, const char *text, size_t size, const char *site,
		 struct tg_policy **ret_policy)
{
	int ret = conf_file_open(c, &c->policy, text, size);

	if (!ret && site)
		ret = open_path(c, &c->site, site);
	if (!ret)
		ret = load(c, ret_policy);
	conf_file_close(&c->site);
	conf_file_close(&c->policy);
	return ret;
}

int tg_policy_parse(const char *text, size_t size, const char *name, struct tg_policy **ret_policy,
		    struct tg_error *e)
{
	return tg_policy_parse_with(text, size, name, NULL, ret_policy, e);
}

int tg_policy_parse_with(const char *text, size_t size, const char *name, const char *site,
			 struct tg_policy **ret_policy, struct tg_error *e)
{
	struct conf c = { .policy.name = name, .e = e };

	return parse(&c, text, size, site, ret_policy);
}

int tg_policy_parse_rules(const char *text, size_t size, const char *name, struct tg_policy **ret_policy,
			  struct tg_error *e)
{
	struct conf c = { .policy.name = name, .rules_only = true, .e = e };

	return parse(&c, text, size, NULL, ret_policy);
}

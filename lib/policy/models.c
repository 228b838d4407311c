/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/conf.h"
#include "tensorguard/models.h"
#include "tensorguard/tgsp_manifest.h"

enum { VERSION = 1, QUOTA_MAX_MIB = 1 << 30 };

static void free_list(char **list, size_t count)
{
	for (size_t i = 0; list && i < count; i++)
		free(list[i]);
	free(list);
}

void tg_models_conf_free(struct tg_models_conf *conf)
{
	if (!conf)
		return;
	for (size_t i = 0; i < conf->consumer_count; i++) {
		free(conf->consumers[i].cgroup);
		free_list(conf->consumers[i].models, conf->consumers[i].model_count);
	}
	free_list(conf->accelerators, conf->accelerator_count);
	free(conf->consumers);
	free(conf->root);
	free(conf);
}

/* No name service: its libraries are more than who asks may need to load. */
int tg_user_number(const char *name, uint32_t *ret_uid)
{
	FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *user;
	int ret = -ENOENT;

	while (file && ret && (user = fgetpwent(file)))
		if (!strcmp(user->pw_name, name)) {
			*ret_uid = user->pw_uid;
			ret = 0;
		}
	if (file)
		fclose(file);
	return ret;
}

/* What a model and an accelerator can be called. */
static bool is_name(const char *text)
{
	size_t len = strlen(text);

	return len && len <= TG_TGSP_MAX_NAME && !strchr("._-", *text) &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static int parse_names(const struct conf_group *g, const char *key, char ***ret_list, size_t *ret_count)
{
	const config_setting_t *s = conf_get(g, key);
	size_t count;
	int ret = s ? conf_list_length(g->conf, s, TG_MODELS_LIST, &count) : 0;

	if (!s || ret)
		return ret;
	*ret_list = calloc(count, sizeof(**ret_list));
	if (!*ret_list)
		return tg_error(g->conf->e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		const config_setting_t *element = config_setting_get_elem(s, (unsigned)i);
		const char *text;

		ret = conf_string(g->conf, element, "a name", &text);
		if (!ret && !is_name(text))
			ret = conf_expected(g->conf, element, "1 to %d letters, digits, '.', '_' or '-'",
					    TG_TGSP_MAX_NAME);
		if (ret)
			return ret;
		(*ret_list)[i] = strdup(text);
		if (!(*ret_list)[i])
			return tg_error(g->conf->e, -ENOMEM, "out of memory");
		*ret_count = i + 1;
	}
	return 0;
}

static int parse_user(const struct conf_group *g, struct tg_models_consumer *consumer)
{
	const config_setting_t *s;
	const char *name;
	int64_t number;
	int ret = conf_require(g, "user", &s);

	if (ret)
		return ret;
	if (config_setting_type(s) != CONFIG_TYPE_STRING) {
		ret = conf_integer(g->conf, s, 0, UINT32_MAX - 1, &number);
		if (!ret)
			consumer->uid = (uint32_t)number;
		return ret;
	}
	ret = conf_string(g->conf, s, "a user's name or number", &name);
	if (!ret && tg_user_number(name, &consumer->uid))
		ret = conf_expected(g->conf, s, "a user of /etc/passwd, or a number");
	return ret;
}

static int parse_consumer(struct conf *c, const config_setting_t *s, struct tg_models_consumer *consumer)
{
	static const char *const keys[] = { "name", "user", "cgroup", "models" };
	struct conf_group g;
	int ret = conf_group_begin(c, s, "consumer", &g);

	if (ret)
		return ret;
	ret = conf_check_keys(&g, keys, CONF_KEY_COUNT(keys));
	if (!ret)
		ret = conf_get_name(&g, consumer->name, sizeof(consumer->name));
	if (!ret)
		ret = parse_user(&g, consumer);
	s = conf_get(&g, "cgroup");
	if (!ret && s)
		ret = conf_cgroup(c, s, &consumer->cgroup);
	return ret ? ret : parse_names(&g, "models", &consumer->models, &consumer->model_count);
}

static int parse_consumers(const struct conf_group *g, struct tg_models_conf *out)
{
	const config_setting_t *s = conf_get(g, "consumers");
	size_t count;
	int ret = s ? conf_list_length(g->conf, s, TG_MODELS_CONSUMERS, &count) : 0;

	if (!s || ret)
		return ret;
	out->consumers = calloc(count, sizeof(*out->consumers));
	if (!out->consumers)
		return tg_error(g->conf->e, -ENOMEM, "out of memory");
	for (size_t i = 0; !ret && i < count; i++) {
		out->consumer_count = i + 1;
		ret = parse_consumer(g->conf, config_setting_get_elem(s, (unsigned)i), &out->consumers[i]);
	}
	return ret;
}

static int parse(struct conf *c, struct tg_models_conf *out)
{
	static const char *const keys[] = { "version",      "root",      "targets",
					    "accelerators", "quota_mib", "consumers" };
	static const struct conf_word words[] = { { "required", true }, { "optional", false }, { NULL, 0 } };
	const config_setting_t *s;
	struct conf_group g;
	int64_t version = 0, quota = 0;
	int listed = true, ret;

	ret = conf_group_begin(c, config_root_setting(&c->policy.config), "file", &g);
	if (!ret)
		ret = conf_check_keys(&g, keys, CONF_KEY_COUNT(keys));
	if (!ret)
		ret = conf_get_integer(&g, "version", CONF_REQUIRED, VERSION, VERSION, &version);
	s = ret ? NULL : conf_get(&g, "root");
	if (s)
		ret = conf_path(c, s, &out->root);
	if (!ret)
		ret = conf_get_integer(&g, "quota_mib", CONF_OPTIONAL, 1, QUOTA_MAX_MIB, &quota);
	out->quota = (uint64_t)quota << 20;
	if (!ret)
		ret = conf_get_word(&g, "targets", CONF_OPTIONAL, words, &listed);
	out->listed = listed;
	if (!ret)
		ret = parse_names(&g, "accelerators", &out->accelerators, &out->accelerator_count);
	return ret ? ret : parse_consumers(&g, out);
}

int tg_models_conf_load(const char *path, struct tg_models_conf **ret_conf, struct tg_error *e)
{
	struct conf c = { .e = e, .policy = { .name = path } };
	struct tg_models_conf *out = calloc(1, sizeof(*out));
	char *text = NULL;
	size_t size;
	int ret = out ? conf_read(path, &text, &size, e) : tg_error(e, -ENOMEM, "out of memory");

	if (!ret) {
		ret = conf_file_open(&c, &c.policy, text, size);
		if (!ret)
			ret = parse(&c, out);
		conf_file_close(&c.policy);
	}
	free(text);
	if (ret)
		tg_models_conf_free(out);
	else
		*ret_conf = out;
	return ret;
}

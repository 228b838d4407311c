/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/conf.h"
#include "tensorguard/file.h"

enum { NAME_SHOWN = 160, VALUE_SHOWN = 48, TEXT_LEN = 384 };

/* The end of a long path says more than its beginning. */
static const char *shown_name(const char *name)
{
	size_t len = strlen(name);

	return len > NAME_SHOWN ? name + len - NAME_SHOWN : name;
}

/* ---- files ---- */

/* libconfig would open the file named there, from wherever the process stands. */
static bool find_include(const char *text, unsigned *ret_line)
{
	unsigned line = 1;

	for (const char *p = text; p; line++) {
		p += strspn(p, " \t");
		if (!strncmp(p, "@include", strlen("@include"))) {
			*ret_line = line;
			return true;
		}
		p = strchr(p, '\n');
		if (p)
			p++;
	}
	return false;
}

static int read_text(struct conf *c, struct conf_file *file, const char *text)
{
	const char *name = shown_name(file->name), *problem;
	struct conf_number number;
	unsigned line;

	if (find_include(text, &line))
		return tg_error(c->e, -EINVAL, "%s:%u: @include, expected one file that says everything",
				name, line);
	if (conf_scan(text, &number))
		return tg_error(c->e, -EINVAL, "%s:%u: %.*s, expected %s", name, number.line,
				number.len < VALUE_SHOWN ? number.len : VALUE_SHOWN, number.text,
				number.expected);
	if (config_read_string(&file->config, text))
		return 0;
	problem = config_error_text(&file->config);
	return tg_error(c->e, -EINVAL, "%s:%d: %s", name, config_error_line(&file->config),
			problem ? problem : "syntax error");
}

int conf_file_open(struct conf *c, struct conf_file *file, const char *text, size_t size)
{
	const char *name = shown_name(file->name);
	char *copy;
	int ret;

	if (size > CONF_MAX_SIZE)
		return tg_error(c->e, -EINVAL, "%s: more than %u bytes, expected a policy", name,
				CONF_MAX_SIZE);
	if (memchr(text, '\0', size))
		return tg_error(c->e, -EINVAL, "%s: a zero byte, expected text", name);
	copy = strndup(text, size);
	if (!copy)
		return tg_error(c->e, -ENOMEM, "%s: out of memory", name);
	config_init(&file->config);
	file->open = true;
	ret = read_text(c, file, copy);
	free(copy);
	return ret;
}

void conf_file_close(struct conf_file *file)
{
	if (file->open)
		config_destroy(&file->config);
	file->open = false;
}

int conf_read(const char *path, char **ret_text, size_t *ret_size, struct tg_error *e)
{
	ssize_t n = 0;
	char *text;
	int fd, ret = 0;

	text = malloc(CONF_MAX_SIZE + 1);
	if (!text)
		return tg_error(e, -ENOMEM, "out of memory");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		ret = tg_error(e, -errno, "cannot open %s: %s", shown_name(path), strerror(errno));
		goto out;
	}
	n = tg_read_full(fd, text, CONF_MAX_SIZE + 1);
	if (n < 0)
		ret = tg_error(e, (int)n, "cannot read %s: %s", shown_name(path), strerror((int)-n));
	close(fd);
out:
	if (ret) {
		free(text);
		return ret;
	}
	*ret_text = text;
	*ret_size = (size_t)n;
	return 0;
}

/* ---- messages ---- */

static const char *file_of(const struct conf *c, const config_setting_t *s)
{
	return shown_name(c->site.open && s->config == &c->site.config ? c->site.name : c->policy.name);
}

int conf_fail(const struct conf *c, const config_setting_t *s, const char *format, ...)
{
	char text[TEXT_LEN];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!config_setting_parent(s))
		return tg_error(c->e, -EINVAL, "%s: %s", file_of(c, s), text);
	return tg_error(c->e, -EINVAL, "%s:%u: %s", file_of(c, s), config_setting_source_line(s), text);
}

int conf_fail_at(const struct conf *c, unsigned line, const char *format, ...)
{
	char text[TEXT_LEN];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return tg_error(c->e, -EINVAL, "%s:%u: %s", shown_name(c->policy.name), line, text);
}

/* Quoted, cut, and with nothing in it that a terminal or a JSON writer would trip over. */
static void show_string(const char *value, char *text, size_t size)
{
	size_t len = strlen(value), n = 0;

	text[n++] = '"';
	for (; *value && n < VALUE_SHOWN; value++)
		text[n++] = *value >= ' ' && *value <= '~' ? *value : '?';
	snprintf(text + n, size - n, "%s", len >= VALUE_SHOWN ? "...\"" : "\"");
}

static void show_value(const config_setting_t *s, char *text, size_t size)
{
	switch (config_setting_type(s)) {
	case CONFIG_TYPE_STRING:
		show_string(config_setting_get_string(s), text, size);
		break;
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		snprintf(text, size, "%lld", config_setting_get_int64(s));
		break;
	case CONFIG_TYPE_FLOAT:
		snprintf(text, size, "%#g", config_setting_get_float(s));
		break;
	case CONFIG_TYPE_BOOL:
		snprintf(text, size, "%s", config_setting_get_bool(s) ? "true" : "false");
		break;
	case CONFIG_TYPE_GROUP:
		snprintf(text, size, "a group");
		break;
	default:
		snprintf(text, size, "a list of %d", config_setting_length(s));
		break;
	}
}

/* "cell", or "to[2]" for an element of a list. */
static void show_key(const config_setting_t *s, char *text, size_t size)
{
	const config_setting_t *parent = config_setting_parent(s);

	if (config_setting_name(s))
		snprintf(text, size, "%.40s", config_setting_name(s));
	else if (parent && config_setting_name(parent))
		snprintf(text, size, "%.40s[%d]", config_setting_name(parent), config_setting_index(s));
	else
		snprintf(text, size, "the value");
}

int conf_expected(const struct conf *c, const config_setting_t *s, const char *format, ...)
{
	char text[TEXT_LEN], key[64], value[2 * VALUE_SHOWN];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	show_key(s, key, sizeof(key));
	show_value(s, value, sizeof(value));
	return conf_fail(c, s, "%s is %s, expected %s", key, value, text);
}

int conf_expected_secret(const struct conf *c, const config_setting_t *s, const char *expected)
{
	char key[64];

	if (config_setting_type(s) != CONFIG_TYPE_STRING)
		return conf_expected(c, s, "%s", expected);
	show_key(s, key, sizeof(key));
	return conf_fail(c, s, "%s is a text that is not shown, expected %s", key, expected);
}

int conf_warn(struct conf *c, unsigned line, const char *format, ...)
{
	struct tg_policy *policy = c->out;
	char text[sizeof(*policy->warnings)];
	char(*warnings)[sizeof(text)];
	va_list args;
	int used;

	warnings = reallocarray(policy->warnings, policy->warning_count + 1, sizeof(*warnings));
	if (!warnings)
		return tg_error(c->e, -ENOMEM, "out of memory");
	policy->warnings = warnings;
	used = snprintf(text, sizeof(text), "%.80s:%u: ", shown_name(c->policy.name), line);
	va_start(args, format);
	vsnprintf(text + used, sizeof(text) - (size_t)used, format, args);
	va_end(args);
	memcpy(warnings[policy->warning_count++], text, sizeof(text));
	return 0;
}

/* ---- groups ---- */

int conf_group_begin(struct conf *c, const config_setting_t *s, const char *what,
		     struct conf_group *ret_group)
{
	if (!config_setting_is_group(s))
		return conf_expected(c, s, "a group: %s { ... }", what);
	*ret_group = (struct conf_group){ .conf = c, .set = s };
	snprintf(ret_group->what, sizeof(ret_group->what), "%s", what);
	return 0;
}

const config_setting_t *conf_get(const struct conf_group *g, const char *key)
{
	return config_setting_get_member(g->set, key);
}

const config_setting_t *conf_get_site(const struct conf_group *g, const char *key)
{
	const config_setting_t *s = g->site ? config_setting_get_member(g->site, key) : NULL;

	return s ? s : conf_get(g, key);
}

int conf_require(const struct conf_group *g, const char *key, const config_setting_t **ret_setting)
{
	const config_setting_t *s = conf_get(g, key);

	if (!s)
		return conf_fail(g->conf, g->set, "no key '%s' in %s", key, g->what);
	*ret_setting = s;
	return 0;
}

static int unknown_key(const struct conf_group *g, const config_setting_t *s, const char *const *keys,
		       size_t count)
{
	char list[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < count && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "", keys[i]);
	return conf_fail(g->conf, s, "unknown key '%.40s' in %s, expected one of %s", config_setting_name(s),
			 g->what, list);
}

int conf_check_keys(const struct conf_group *g, const char *const *keys, size_t count)
{
	for (int i = 0; i < config_setting_length(g->set); i++) {
		const config_setting_t *s = config_setting_get_elem(g->set, (unsigned)i);
		size_t k = 0;

		while (k < count && strcmp(keys[k], config_setting_name(s)))
			k++;
		if (k == count)
			return unknown_key(g, s, keys, count);
	}
	return 0;
}

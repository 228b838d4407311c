/* SPDX-License-Identifier: BSD-3-Clause */
/* Typed values of libconfig settings: each getter checks type, form and range. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/conf.h"
#include "util/parse.h"

enum { MAX_CGROUP = 1024 };

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

int conf_string(const struct conf *c, const config_setting_t *s, const char *expected, const char **ret_value)
{
	if (config_setting_type(s) != CONFIG_TYPE_STRING || !is_printable(config_setting_get_string(s)))
		return conf_expected(c, s, "%s", expected);
	*ret_value = config_setting_get_string(s);
	return 0;
}

int conf_integer(const struct conf *c, const config_setting_t *s, int64_t min, int64_t max,
		 int64_t *ret_value)
{
	int type = config_setting_type(s);
	int64_t value = config_setting_get_int64(s);

	if ((type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) || value < min || value > max)
		return conf_expected(c, s, "a whole number from %" PRId64 " to %" PRId64, min, max);
	*ret_value = value;
	return 0;
}

int conf_decimal(const struct conf *c, const config_setting_t *s, double min, double max,
		 uint32_t *ret_millionths)
{
	int type = config_setting_type(s);
	double value =
		type == CONFIG_TYPE_FLOAT ? config_setting_get_float(s) : (double)config_setting_get_int64(s);

	/* not `<`: what is no number at all compares with nothing */
	if ((type != CONFIG_TYPE_FLOAT && type != CONFIG_TYPE_INT) || !(value >= min && value <= max))
		return conf_expected(c, s, "a number from %g to %g", min, max);
	*ret_millionths = (uint32_t)(value * 1e6 + 0.5);
	return 0;
}

int conf_duration(const struct conf *c, const config_setting_t *s, uint64_t min_ns, uint64_t max_ns,
		  uint64_t *ret_ns)
{
	char min[TG_DURATION_TEXT_LEN], max[TG_DURATION_TEXT_LEN];
	uint64_t ns;

	if (config_setting_type(s) != CONFIG_TYPE_STRING ||
	    tg_parse_duration(config_setting_get_string(s), &ns) || ns < min_ns || ns > max_ns)
		return conf_expected(c, s, "a duration in quotes from %s to %s, units us, ms, s, min, h, d",
				     tg_duration_text(min_ns, min), tg_duration_text(max_ns, max));
	*ret_ns = ns;
	return 0;
}

int conf_name(const struct conf *c, const config_setting_t *s, char *ret_name, size_t size)
{
	const char *name = config_setting_get_string(s);
	size_t len;

	if (!name || !(name[0] >= 'a' && name[0] <= 'z'))
		goto bad;
	len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
	if (name[len] || len >= size)
		goto bad;
	memcpy(ret_name, name, len + 1);
	return 0;
bad:
	return conf_expected(c, s, "1 to %zu of a-z, 0-9, _ and -, beginning with a letter", size - 1);
}

int conf_path(const struct conf *c, const config_setting_t *s, char **ret_path)
{
	const char *text = config_setting_get_string(s);
	char *path;

	if (!text || text[0] != '/' || strlen(text) >= PATH_MAX || !is_printable(text))
		return conf_expected_secret(c, s, "the absolute path of a file");
	path = strdup(text);
	if (!path)
		return tg_error(c->e, -ENOMEM, "out of memory");
	*ret_path = path;
	return 0;
}

/* No empty, "." or ".." component: the path is compared with what the kernel reports. */
static bool cgroup_valid(const char *path)
{
	size_t len = strlen(path);

	if (!len || len > MAX_CGROUP)
		return false;
	for (const char *p = path;; p++) {
		size_t part = strcspn(p, "/");

		if (!part || (part == 1 && p[0] == '.') || (part == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += part;
		if (!*p)
			return true;
	}
}

int conf_cgroup(const struct conf *c, const config_setting_t *s, char **ret_path)
{
	static const char expected[] =
		"a cgroup v2 path such as system.slice/robot.service, without a slash at its ends";
	const char *path;
	int ret = conf_string(c, s, expected, &path);

	if (ret)
		return ret;
	if (!cgroup_valid(path))
		return conf_expected(c, s, "%s", expected);
	*ret_path = strdup(path);
	return *ret_path ? 0 : tg_error(c->e, -ENOMEM, "out of memory");
}

int conf_cidr(const struct conf *c, const config_setting_t *s, bool network, struct tg_cidr *ret_cidr)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	const char *text = config_setting_get_string(s);
	char corrected[TG_CIDR_TEXT_LEN];
	struct tg_cidr cidr, masked;

	if (!text || tg_parse_cidr(text, &cidr))
		return conf_expected(c, s, "an address or prefix such as 192.0.2.0/24 or 2001:db8::/32");
	masked = tg_cidr_network(&cidr);
	if (cidr.family == AF_INET6 && !memcmp(cidr.addr, mapped, sizeof(mapped)))
		return conf_expected(c, s, "an IPv4 address in its own form, as no packet carries this one");
	if (network && !tg_cidr_equal(&masked, &cidr))
		return conf_expected(c, s, "%s: no bits beyond the prefix", tg_cidr_text(&masked, corrected));
	*ret_cidr = cidr;
	return 0;
}

int conf_list_length(const struct conf *c, const config_setting_t *s, size_t max, size_t *ret_length)
{
	int type = config_setting_type(s), length = config_setting_length(s);

	if ((type != CONFIG_TYPE_LIST && type != CONFIG_TYPE_ARRAY) || length < 1 || (size_t)length > max)
		return conf_expected(c, s, "a list of 1 to %zu", max);
	*ret_length = (size_t)length;
	return 0;
}

int conf_cidr_list(const struct conf *c, const config_setting_t *s, size_t max, struct tg_cidr **ret_list,
		   size_t *ret_count)
{
	struct tg_cidr *list;
	size_t count = 0;
	int ret;

	ret = conf_list_length(c, s, max, &count);
	if (ret)
		return ret;
	list = calloc(count, sizeof(*list));
	if (!list)
		return tg_error(c->e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		const config_setting_t *elem = config_setting_get_elem(s, (unsigned)i);

		ret = conf_cidr(c, elem, true, &list[i]);
		for (size_t k = 0; k < i && !ret; k++)
			if (tg_cidr_equal(&list[k], &list[i]))
				ret = conf_expected(c, elem, "each prefix once");
		if (ret) {
			free(list);
			return ret;
		}
	}
	*ret_list = list;
	*ret_count = count;
	return 0;
}

int conf_in6_addr(const struct conf *c, const config_setting_t *s, struct in6_addr *ret_addr)
{
	const char *text = config_setting_get_string(s);
	struct in6_addr addr;

	if (!text || inet_pton(AF_INET6, text, &addr) != 1 || IN6_IS_ADDR_UNSPECIFIED(&addr) ||
	    IN6_IS_ADDR_MULTICAST(&addr) || IN6_IS_ADDR_LOOPBACK(&addr))
		return conf_expected(c, s, "the IPv6 address of one host, without a length");
	*ret_addr = addr;
	return 0;
}

/* Absent and optional: *ret_setting is NULL. */
static int get(const struct conf_group *g, const char *key, enum conf_need need,
	       const config_setting_t **ret_setting)
{
	if (need == CONF_REQUIRED)
		return conf_require(g, key, ret_setting);
	*ret_setting = conf_get(g, key);
	return 0;
}

int conf_get_word(const struct conf_group *g, const char *key, enum conf_need need,
		  const struct conf_word *words, int *ret_value)
{
	const config_setting_t *s;
	const char *text;
	char list[128] = "";
	size_t used = 0;
	int ret;

	ret = get(g, key, need, &s);
	if (ret || !s)
		return ret;
	text = config_setting_get_string(s);
	for (; words->word; words++) {
		if (text && !strcmp(text, words->word)) {
			*ret_value = words->value;
			return 0;
		}
		if (used < sizeof(list))
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s\"%s\"",
						 used ? ", " : "", words->word);
	}
	return conf_expected(g->conf, s, "one of %s", list);
}

int conf_get_integer(const struct conf_group *g, const char *key, enum conf_need need, int64_t min,
		     int64_t max, int64_t *ret_value)
{
	const config_setting_t *s;
	int ret;

	ret = get(g, key, need, &s);
	return ret || !s ? ret : conf_integer(g->conf, s, min, max, ret_value);
}

int conf_get_bool(const struct conf_group *g, const char *key, bool *ret_value)
{
	const config_setting_t *s = conf_get(g, key);

	if (!s)
		return 0;
	if (config_setting_type(s) != CONFIG_TYPE_BOOL)
		return conf_expected(g->conf, s, "true or false");
	*ret_value = config_setting_get_bool(s);
	return 0;
}

int conf_get_duration(const struct conf_group *g, const char *key, enum conf_need need, uint64_t min_ns,
		      uint64_t max_ns, uint64_t *ret_ns)
{
	const config_setting_t *s;
	int ret;

	ret = get(g, key, need, &s);
	return ret || !s ? ret : conf_duration(g->conf, s, min_ns, max_ns, ret_ns);
}

int conf_get_name(const struct conf_group *g, char *ret_name, size_t size)
{
	const config_setting_t *s;
	int ret;

	ret = conf_require(g, "name", &s);
	return ret ? ret : conf_name(g->conf, s, ret_name, size);
}

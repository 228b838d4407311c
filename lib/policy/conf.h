/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Strict reading of libconfig files. Each group names its keys; any other is an
 * error that names the ones that would have been right, and it comes before that
 * about a missing key, which may be the same key, misspelt.
 *
 * Getters leave *ret_value alone when an optional key is absent: callers put the
 * default there first.
 */
#ifndef POLICY_CONF_H
#define POLICY_CONF_H

#include <libconfig.h>

#include "tensorguard/policy.h"

#define CONF_MAX_SIZE (1u << 20) /* bytes of a file */

#define CONF_KEY_COUNT(keys) (sizeof(keys) / sizeof((keys)[0]))

/* One file in memory. Must stay where it is: settings point back into it. */
struct conf_file {
	config_t config;
	const char *name;	/* for messages */
	bool open;
};

/* What one call of tg_policy_load() works on. */
struct conf {
	struct conf_file policy, site; /* site.open is false without a site file */
	bool rules_only;	/* settings of devices are not looked at */
	struct tg_policy *out;
	struct tg_error *e;
};

struct conf_group {
	struct conf *conf;
	const config_setting_t *set;
	const config_setting_t *site; /* the site file's group for the same thing, or NULL */
	char what[64];		/* "class 'bulk'" */
};

enum conf_need { CONF_OPTIONAL, CONF_REQUIRED };

struct conf_word {
	const char *word;	/* NULL ends the table */
	int value;
};

/* A number that libconfig would misread. */
struct conf_number {
	const char *text;	/* where it stands; `len` characters */
	int len;
	unsigned line;
	const char *expected;
};

/* -ERANGE and the first such number in `text`, or 0. */
int conf_scan(const char *text, struct conf_number *ret_number);

/* Opens `text` of `size` bytes; -EINVAL with a message. The caller closes the file in any case. */
int conf_file_open(struct conf *c, struct conf_file *file, const char *text, size_t size);
void conf_file_close(struct conf_file *file);
/* Reads a file into memory; free it. */
int conf_read(const char *path, char **ret_text, size_t *ret_size, struct tg_error *e);

/* "FILE:LINE: " and the message. Return -EINVAL. */
int conf_fail(const struct conf *c, const config_setting_t *s, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same about a line of the policy file. */
int conf_fail_at(const struct conf *c, unsigned line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* "FILE:LINE: KEY is FOUND, expected " and the message. */
int conf_expected(const struct conf *c, const config_setting_t *s, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same without showing what was found if it is a string: it might be a key in the wrong place. */
int conf_expected_secret(const struct conf *c, const config_setting_t *s, const char *expected);
/* Adds a warning about a line of the policy file. -ENOMEM. */
int conf_warn(struct conf *c, unsigned line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* `s` must be a group, else an error. Whoever knows the site file's part sets ret_group->site. */
int conf_group_begin(struct conf *c, const config_setting_t *s, const char *what,
		     struct conf_group *ret_group);
/* Whether the group has none but these keys. To be called before a key is missed. */
int conf_check_keys(const struct conf_group *g, const char *const *keys, size_t count);

/* The setting or NULL; conf_get_site() looks into the site file first. */
const config_setting_t *conf_get(const struct conf_group *g, const char *key);
const config_setting_t *conf_get_site(const struct conf_group *g, const char *key);
int conf_require(const struct conf_group *g, const char *key, const config_setting_t **ret_setting);

/* Array or list with 1..max elements. */
int conf_list_length(const struct conf *c, const config_setting_t *s, size_t max, size_t *ret_length);

/* Values of settings. Strings are printable ASCII. */
int conf_string(const struct conf *c, const config_setting_t *s, const char *expected,
		const char **ret_value);
int conf_integer(const struct conf *c, const config_setting_t *s, int64_t min, int64_t max,
		 int64_t *ret_value);
/* A number, whole or not, in millionths. */
int conf_decimal(const struct conf *c, const config_setting_t *s, double min, double max,
		 uint32_t *ret_millionths);
int conf_duration(const struct conf *c, const config_setting_t *s, uint64_t min_ns, uint64_t max_ns,
		  uint64_t *ret_ns);
int conf_name(const struct conf *c, const config_setting_t *s, char *ret_name, size_t size);
int conf_cgroup(const struct conf *c, const config_setting_t *s, char **ret_path);
int conf_path(const struct conf *c, const config_setting_t *s, char **ret_path);
int conf_cidr(const struct conf *c, const config_setting_t *s, bool network, struct tg_cidr *ret_cidr);
int conf_cidr_list(const struct conf *c, const config_setting_t *s, size_t max, struct tg_cidr **ret_list,
		   size_t *ret_count);
int conf_in6_addr(const struct conf *c, const config_setting_t *s, struct in6_addr *ret_addr);

/* Values of a group's keys. */
int conf_get_word(const struct conf_group *g, const char *key, enum conf_need need,
		  const struct conf_word *words, int *ret_value);
int conf_get_integer(const struct conf_group *g, const char *key, enum conf_need need, int64_t min,
		     int64_t max, int64_t *ret_value);
/* Optional. */
int conf_get_bool(const struct conf_group *g, const char *key, bool *ret_value);
int conf_get_duration(const struct conf_group *g, const char *key, enum conf_need need, uint64_t min_ns,
		      uint64_t max_ns, uint64_t *ret_ns);
int conf_get_name(const struct conf_group *g, char *ret_name, size_t size);

#endif

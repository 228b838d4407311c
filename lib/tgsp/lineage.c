/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tensorguard/hex.h"
#include "tensorguard/tgsp_lineage.h"

enum { LINE_PARENTS = 4 };

json_t *tg_hash_json(const uint8_t *hash, size_t len)
{
	char text[2 * TG_SHA256_LEN + 1];

	if (len > TG_SHA256_LEN)
		return NULL;
	tg_hex(hash, len, text);
	return json_string(text);
}

json_t *tg_names_json(const struct tg_tgsp_names *names)
{
	json_t *list = json_array();

	for (size_t i = 0; i < names->count; i++)
		json_array_append_new(list, json_string(names->names[i]));
	return list;
}

static json_t *number_json(bool said, uint64_t number)
{
	return said ? json_integer((json_int_t)number) : json_null();
}

static json_t *hash_or_null(bool said, const uint8_t *hash)
{
	return said ? tg_hash_json(hash, TG_SHA256_LEN) : json_null();
}

json_t *tg_lineage_json(const struct tg_tgsp_manifest *m)
{
	json_t *parents = json_array();

	for (size_t i = 0; i < m->lineage.parent_count; i++)
		json_array_append_new(parents, tg_hash_json(m->lineage.parents[i], TG_SHA256_LEN));
	return json_pack("{s:o, s:s?, s:o, s:o, s:o, s:o}", "parents", parents, "training_run",
			 m->lineage.training_run[0] ? m->lineage.training_run : NULL, "data",
			 hash_or_null(m->lineage.has_data, m->lineage.data), "base",
			 hash_or_null(m->has_base, m->base), "epsilon_micro",
			 number_json(m->lineage.has_privacy, m->lineage.epsilon_micro), "delta_pico",
			 number_json(m->lineage.has_privacy, m->lineage.delta_pico));
}

/* Behind what is there, or not at all. */
static void add(char *line, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void add(char *line, size_t size, const char *format, ...)
{
	size_t len = strlen(line);
	va_list args;
	int more;

	va_start(args, format);
	more = vsnprintf(line + len, size - len, format, args);
	va_end(args);
	if (more < 0 || (size_t)more >= size - len)
		line[len] = '\0';
}

void tg_lineage_line(const struct tg_tgsp_manifest *m, int digits, char *ret_line, size_t size)
{
	char hash[2 * TG_SHA256_LEN + 1];

	*ret_line = '\0';
	add(ret_line, size, "run '%.64s'", m->lineage.training_run);
	if (m->lineage.has_data) {
		tg_hex(m->lineage.data, TG_SHA256_LEN, hash);
		add(ret_line, size, ", data %.*s", digits, hash);
	}
	for (size_t i = 0; i < m->lineage.parent_count && i < LINE_PARENTS; i++) {
		tg_hex(m->lineage.parents[i], TG_SHA256_LEN, hash);
		add(ret_line, size, "%s %.*s", i ? "" : ", parents", digits, hash);
	}
}

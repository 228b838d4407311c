/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ledger/record.h"

/* There is no number of an enterprise of ours: this one is for documentation (RFC 5612). */
#define STRUCTURE "tensorguard@32473"

enum { AUDIT_FACILITY = 13, WARNING = 4, INFORMATIONAL = 6, MSGID_MAX = 32, CEF_LOW = 3, CEF_HIGH = 7 };

const char *record_time(uint64_t time_ms, char ret_text[static RECORD_TIME_SIZE])
{
	time_t at = (time_t)(time_ms / 1000);
	struct tm tm = { 0 };
	size_t len;

	/* a year that no calendar of this machine has */
	if (!gmtime_r(&at, &tm) || tm.tm_year > 8099)
		return strcpy(ret_text, "9999-12-31T23:59:59.999Z");
	len = strftime(ret_text, RECORD_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret_text + len, RECORD_TIME_SIZE - len, ".%03uZ", (unsigned)(time_ms % 1000));
	return ret_text;
}

int record_json(const struct store_leaf *leaf, json_t **ret_object)
{
	char time[RECORD_TIME_SIZE], stored[RECORD_TIME_SIZE];
	struct tg_audit_record r;
	json_t *object;

	if (tg_audit_decode(leaf->data, leaf->len, &r, NULL))
		return -EIO;
	object = json_pack("{s:I, s:s?, s:I, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s}", "index",
			   (json_int_t)leaf->index, "agent", r.source[0] ? r.source : NULL, "sequence",
			   (json_int_t)r.sequence, "time", record_time(r.time_ms, time), "stored",
			   record_time((uint64_t)leaf->stored * 1000, stored), "count", (json_int_t)r.count,
			   "actor", r.actor, "action", r.action, "target", r.target, "outcome", r.outcome,
			   "detail", r.detail);
	if (!object)
		return -ENOMEM;
	*ret_object = object;
	return 0;
}

static int print_json(FILE *out, const struct store_leaf *leaf)
{
	json_t *object = NULL;
	int ret = record_json(leaf, &object);

	if (!ret && json_dumpf(object, out, JSON_COMPACT | JSON_PRESERVE_ORDER))
		ret = -EIO;
	json_decref(object);
	if (!ret && fputc('\n', out) == EOF)
		ret = -EIO;
	return ret;
}

static bool is_good(const struct tg_audit_record *r)
{
	return !strcmp(r->outcome, "done");
}

/* With a backslash before each of `special`. */
static void put_escaped(FILE *out, const char *text, const char *special)
{
	for (; *text; text++) {
		if (strchr(special, *text))
			fputc('\\', out);
		fputc(*text, out);
	}
}

/* ---- syslog ---- */

/* A field of the head: printable ASCII without spaces, not empty, at most `max`. */
static void put_field(FILE *out, const char *text, size_t max)
{
	size_t n = 0;

	for (; text[n] && n < max; n++)
		fputc(text[n] > ' ' && text[n] <= '~' ? text[n] : '_', out);
	if (!n)
		fputc('-', out);
}

static void put_parameter(FILE *out, const char *name, const char *value)
{
	fprintf(out, " %s=\"", name);
	put_escaped(out, value, "\"\\]");
	fputc('"', out);
}

static int print_syslog(FILE *out, const struct store_leaf *leaf)
{
	char time[RECORD_TIME_SIZE];
	struct tg_audit_record r;

	if (tg_audit_decode(leaf->data, leaf->len, &r, NULL))
		return -EIO;
	fprintf(out, "<%d>1 %s ", AUDIT_FACILITY * 8 + (is_good(&r) ? INFORMATIONAL : WARNING),
		record_time(r.time_ms, time));
	put_field(out, r.source, sizeof(r.source));
	fputs(" tensorguard - ", out);
	put_field(out, r.action, MSGID_MAX);
	fprintf(out, " [" STRUCTURE " index=\"%llu\" sequence=\"%llu\" count=\"%llu\"",
		(unsigned long long)leaf->index, (unsigned long long)r.sequence, (unsigned long long)r.count);
	put_parameter(out, "actor", r.actor);
	put_parameter(out, "action", r.action);
	put_parameter(out, "target", r.target);
	put_parameter(out, "outcome", r.outcome);
	put_parameter(out, "detail", r.detail);
	/* the mark of UTF-8 is what the RFC wants before such a text */
	fprintf(out, "] \xef\xbb\xbf%s: %s %s: %s\n", r.actor, r.action, r.target, r.outcome);
	return ferror(out) ? -EIO : 0;
}

/* ---- CEF ---- */

static void put_extension(FILE *out, const char *name, const char *value)
{
	if (!*value)
		return;
	fprintf(out, " %s=", name);
	put_escaped(out, value, "\\=");
}

static int print_cef(FILE *out, const struct store_leaf *leaf)
{
	struct tg_audit_record r;

	if (tg_audit_decode(leaf->data, leaf->len, &r, NULL))
		return -EIO;
	fputs("CEF:0|TensorGuard|Platform|" TG_VERSION "|", out);
	put_escaped(out, r.action, "\\|");
	fputc('|', out);
	put_escaped(out, r.action, "\\|");
	fputs(": ", out);
	put_escaped(out, r.outcome, "\\|");
	fprintf(out, "|%d|rt=%llu externalId=%llu cnt=%llu", is_good(&r) ? CEF_LOW : CEF_HIGH,
		(unsigned long long)r.time_ms, (unsigned long long)leaf->index, (unsigned long long)r.count);
	put_extension(out, "deviceExternalId", r.source);
	put_extension(out, "suser", r.actor);
	put_extension(out, "act", r.action);
	put_extension(out, "outcome", r.outcome);
	fprintf(out, " cn1Label=sequence cn1=%llu", (unsigned long long)r.sequence);
	if (r.target[0])
		fputs(" cs1Label=target", out);
	put_extension(out, "cs1", r.target);
	put_extension(out, "msg", r.detail);
	fputc('\n', out);
	return ferror(out) ? -EIO : 0;
}

record_print *record_format(const char *name)
{
	static const struct {
		const char *name;
		record_print *print;
	} formats[] = { { "json", print_json }, { "syslog", print_syslog }, { "cef", print_cef } };

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (!strcmp(name, formats[i].name))
			return formats[i].print;
	return NULL;
}

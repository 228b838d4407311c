/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admin/admin.h"
#include "ledger/record.h"
#include "store/ledger.h"
#include "tensorguard/hex.h"

enum { DEFAULT_COUNT = 100, MAX_COUNT = 100000, PAGE = 1000 };

/* "2026-11-29T15:00:00Z", "2026-11-29" or seconds since 1970. */
static int take_time(const char *text, const char *what, int64_t *ret_time, struct tg_error *e)
{
	unsigned long seconds;
	struct tm tm = { 0 };
	const char *end;

	if (!text)
		return 0;
	if (strlen(text) == strspn(text, "0123456789")) {
		int ret = tg_cli_parse_number(text, what, 0, INT32_MAX * 2ul, &seconds, e);

		if (!ret)
			*ret_time = (int64_t)seconds;
		return ret;
	}
	end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (!end) {
		memset(&tm, 0, sizeof(tm));
		end = strptime(text, "%Y-%m-%d", &tm);
	}
	if (!end || *end)
		return tg_error(e, TG_CLI_USAGE,
				"%s: expected 2026-11-29, 2026-11-29T15:00:00Z or seconds since 1970", what);
	*ret_time = timegm(&tm);
	return 0;
}

/* "platform" is no agent: the Platform's own records. An agent of that name is found by the whole list. */
static int take_query(const struct tg_cli *cli, struct store_leaf_query *query, struct tg_error *e)
{
	const struct platform_options *options = admin_options(cli);

	query->source = options->agent;
	if (options->agent && !strcmp(options->agent, "-"))
		query->source = "";
	else if (options->agent && !tg_id_valid(options->agent))
		return tg_error(e, TG_CLI_USAGE,
				"--agent: '%.70s' is no name of an agent; '-' is the Platform",
				options->agent);
	return take_time(options->since, "--since", &query->since, e);
}

static int collect(void *arg, const struct store_leaf *leaf)
{
	json_t *object = NULL;
	int ret = record_json(leaf, &object);

	return ret ? ret : json_array_append_new(arg, object);
}

static int print(void *arg, const struct store_leaf *leaf)
{
	struct tg_audit_record r;
	char time[RECORD_TIME_SIZE], count[32] = "";

	(void)arg;
	if (tg_audit_decode(leaf->data, leaf->len, &r, NULL))
		return -EIO;
	if (r.count > 1)
		snprintf(count, sizeof(count), " (%llu times)", (unsigned long long)r.count);
	printf("%6llu %s %s%s%s: %s%s%s: %s%s%s%s\n", (unsigned long long)leaf->index,
	       record_time(r.time_ms, time), r.source, r.source[0] ? " " : "", r.actor, r.action,
	       r.target[0] ? " " : "", r.target, r.outcome, count, r.detail[0] ? "; " : "", r.detail);
	return 0;
}

int cmd_audit_list(struct tg_cli *cli, struct tg_error *e)
{
	struct store_leaf_query query = { .newest_first = true };
	const char *text = admin_options(cli)->count;
	unsigned long count = DEFAULT_COUNT;
	json_t *list = json_array();
	struct store *store = NULL;
	int ret;

	ret = admin_no_arguments(cli, e);
	if (!ret && text)
		ret = tg_cli_parse_number(text, "--count", 1, MAX_COUNT, &count, e);
	if (!ret)
		ret = take_query(cli, &query, e);
	query.limit = count;
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = store_ledger_each(store, &query, cli->json ? collect : print, list, e);
	if (!ret)
		ret = cli->json ? tg_cli_print_json(json_pack("{s:O}", "records", list), e) : admin_flush(e);
	json_decref(list);
	store_close(store);
	return ret;
}

/* ---- export ---- */

struct export
{
	record_print *print;
	uint64_t next;
	bool any;
};

static int export_one(void *arg, const struct store_leaf *leaf)
{
	struct export *export = arg;

	export->next = leaf->index + 1;
	export->any = true;
	return export->print(stdout, leaf);
}

/* In pages: a back-end may hold a whole answer in memory. */
static int export_all(struct store *store, struct store_leaf_query *query, record_print *print_one,
		      struct tg_error *e)
{
	struct export export = { .print = print_one, .any = true };
	int ret = 0;

	query->limit = PAGE;
	while (!ret && export.any) {
		export.any = false;
		query->from = export.next;
		ret = store_ledger_each(store, query, export_one, &export, e);
	}
	return ret ? ret : admin_flush(e);
}

int cmd_audit_export(struct tg_cli *cli, struct tg_error *e)
{
	const char *format = admin_options(cli)->format;
	struct store_leaf_query query = { .from = 0 };
	record_print *print_one = record_format(format ? format : "json");
	struct store *store = NULL;
	int ret = admin_no_arguments(cli, e);

	if (!ret && !print_one)
		ret = tg_error(e, TG_CLI_USAGE, "--format: '%.20s' is none of json, syslog, cef", format);
	if (!ret)
		ret = take_query(cli, &query, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = export_all(store, &query, print_one, e);
	store_close(store);
	return ret;
}

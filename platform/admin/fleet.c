/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/admin.h"
#include "tensorguard/attest.h"
#include "tensorguard/certificate.h"
#include "tensorguard/hex.h"

/* What a measured boot of any firmware fills: firmware, its settings, option ROMs, boot loader, secure boot.
 */
#define DEFAULT_PCRS "0,1,2,3,4,5,6,7"

/* Of devices with a TPM: a week. */
enum { GRACE_DEFAULT = 7 * 86400, GRACE_MAX = 365 * 86400 };

/* Calls take() with each part of a list "a,b,c". */
static int each_part(const char *list, int (*take)(const char *part, void *arg, struct tg_error *e),
		     void *arg, struct tg_error *e)
{
	char *copy = strdup(list), *rest = copy, *part;
	int ret = 0;

	if (!copy)
		return tg_error(e, -ENOMEM, "out of memory");
	while (!ret && (part = strsep(&rest, ",")))
		ret = take(part, arg, e);
	free(copy);
	return ret;
}

static int take_level(const char *part, void *arg, struct tg_error *e)
{
	struct store_fleet *fleet = arg;
	enum tg_assurance level;

	if (tg_assurance_from_name(part, &level) || level == TG_ASSURANCE_NONE)
		return tg_error(e, TG_CLI_USAGE,
				"--levels: '%.40s', expected tpm-attested, tpm-unendorsed or software", part);
	fleet->levels |= TG_ALLOW(level);
	return 0;
}

static int take_pcr(const char *part, void *arg, struct tg_error *e)
{
	struct store_fleet *fleet = arg;
	unsigned long index;
	int ret = tg_cli_parse_number(part, "--pcrs", 0, TG_PCR_COUNT - 1, &index, e);

	if (!ret)
		fleet->pcr_mask |= 1u << index;
	return ret;
}

/* "7=HEX" */
static int take_pcr_value(const char *part, void *arg, struct tg_error *e)
{
	struct store_fleet *fleet = arg;
	struct store_pcr pcr;
	char number[8] = "";
	unsigned long index;
	size_t len = strcspn(part, "=");
	int ret;

	if (!part[len] || len >= sizeof(number) || tg_unhex(part + len + 1, pcr.value, sizeof(pcr.value)))
		return tg_error(e, TG_CLI_USAGE, "--pcr-values: '%.20s', expected PCR=64 hexadecimal digits",
				part);
	memcpy(number, part, len);
	ret = tg_cli_parse_number(number, "--pcr-values", 0, TG_PCR_COUNT - 1, &index, e);
	if (ret)
		return ret;
	if (!(fleet->pcr_mask >> index & 1))
		return tg_error(e, TG_CLI_USAGE, "--pcr-values: PCR %lu is not among --pcrs", index);
	for (size_t i = 0; i < fleet->pcr_count; i++)
		if (fleet->pcrs[i].index == index)
			return tg_error(e, TG_CLI_USAGE, "--pcr-values: PCR %lu twice", index);
	pcr.index = (uint8_t)index;
	fleet->pcrs[fleet->pcr_count++] = pcr;
	return 0;
}

static int take_event_log(const char *text, struct store_fleet *fleet, struct tg_error *e)
{
	if (strcmp(text, "required") && strcmp(text, "optional"))
		return tg_error(e, TG_CLI_USAGE, "--event-log: '%.40s', expected required or optional", text);
	fleet->event_log_optional = !strcmp(text, "optional");
	return 0;
}

static int take_seconds(const char *text, const char *option, int64_t *seconds, struct tg_error *e)
{
	unsigned long value;
	int ret = text ? tg_cli_parse_number(text, option, 0, GRACE_MAX, &value, e) : 0;

	if (text && !ret)
		*seconds = (int64_t)value;
	return ret;
}

/* What was not given stays as it is. Other PCRs invalidate the values of the former ones. */
static int take_options(const struct platform_options *options, struct store_fleet *fleet, struct tg_error *e)
{
	int ret = 0;

	if (options->levels) {
		fleet->levels = 0;
		ret = each_part(options->levels, take_level, fleet, e);
	}
	if (!ret && options->pcrs) {
		fleet->pcr_mask = 0;
		fleet->pcr_count = 0;
		ret = each_part(options->pcrs, take_pcr, fleet, e);
	}
	if (!ret && options->pcr_values) {
		fleet->pcr_count = 0;
		ret = options->pcr_values[0] ? each_part(options->pcr_values, take_pcr_value, fleet, e) : 0;
	}
	if (!ret && options->event_log)
		ret = take_event_log(options->event_log, fleet, e);
	if (!ret)
		ret = take_seconds(options->grace, "--grace", &fleet->grace, e);
	if (!ret)
		ret = take_seconds(options->grace_software, "--grace-software", &fleet->grace_software, e);
	return ret;
}

static json_t *levels_json(uint32_t levels)
{
	json_t *list = json_array();

	for (enum tg_assurance level = TG_ASSURANCE_SOFTWARE; level <= TG_ASSURANCE_TPM_ATTESTED; level++)
		if (levels & TG_ALLOW(level))
			json_array_append_new(list, json_string(tg_assurance_name(level)));
	return list;
}

static json_t *pcrs_json(uint32_t mask)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < TG_PCR_COUNT; i++)
		if (mask >> i & 1)
			json_array_append_new(list, json_integer(i));
	return list;
}

static json_t *values_json(const struct store_fleet *fleet)
{
	json_t *object = json_object();
	char key[8], text[2 * TG_SHA256_LEN + 1];

	for (size_t i = 0; i < fleet->pcr_count; i++) {
		snprintf(key, sizeof(key), "%u", fleet->pcrs[i].index);
		tg_hex(fleet->pcrs[i].value, TG_SHA256_LEN, text);
		json_object_set_new(object, key, json_string(text));
	}
	return object;
}

static json_t *fleet_json(const struct store_fleet *fleet)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:I, s:I, s:o}", "name", fleet->name, "levels",
			 levels_json(fleet->levels), "pcrs", pcrs_json(fleet->pcr_mask), "pcr_values",
			 values_json(fleet), "event_log", fleet->event_log_optional ? "optional" : "required",
			 "grace", (json_int_t)fleet->grace, "grace_software",
			 (json_int_t)fleet->grace_software, "created", admin_time(fleet->created));
}

static void print_fleet(const struct store_fleet *fleet)
{
	printf("%-20s", fleet->name);
	for (enum tg_assurance level = TG_ASSURANCE_SOFTWARE; level <= TG_ASSURANCE_TPM_ATTESTED; level++)
		if (fleet->levels & TG_ALLOW(level))
			printf(" %s", tg_assurance_name(level));
	printf("; PCRs");
	for (unsigned i = 0; i < TG_PCR_COUNT; i++)
		if (fleet->pcr_mask >> i & 1)
			printf(" %u", i);
	printf(", %zu of them fixed; event log %s; grace %lld s, without a TPM %lld s\n", fleet->pcr_count,
	       fleet->event_log_optional ? "optional" : "required", (long long)fleet->grace,
	       (long long)fleet->grace_software);
}

/* fleet_json() as text; free it. */
static char *fleet_text(const struct store_fleet *fleet)
{
	json_t *object = fleet_json(fleet);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	return text;
}

static int run_create(struct store *store, const void *arg, struct tg_error *e)
{
	return store_fleet_create(store, arg, e);
}

static int run_set(struct store *store, const void *arg, struct tg_error *e)
{
	return store_fleet_set(store, arg, e);
}

static int apply(const struct tg_cli *cli, struct store *store, const char *action, struct store_fleet *fleet,
		 struct tg_error *e)
{
	struct admin_change change = { .action = action,
				       .target = fleet->name,
				       .run = strcmp(action, "fleet-set") ? run_create : run_set,
				       .arg = fleet };
	char *detail;
	int ret;

	ret = take_options(admin_options(cli), fleet, e);
	if (ret)
		return ret;
	detail = fleet_text(fleet);
	if (!detail)
		return tg_error(e, -ENOMEM, "out of memory");
	change.detail = detail;
	ret = admin_apply(store, &change, e);
	free(detail);
	if (ret || cli->json)
		return ret ? ret : tg_cli_print_json(fleet_json(fleet), e);
	print_fleet(fleet);
	return admin_flush(e);
}

int cmd_fleet_create(struct tg_cli *cli, struct tg_error *e)
{
	struct store_fleet fleet = { .levels = TG_ALLOW(TG_ASSURANCE_TPM_ATTESTED),
				     .created = time(NULL),
				     .grace = GRACE_DEFAULT };
	struct store *store = NULL;
	const char *name;
	int ret;

	ret = admin_argument(cli, "the fleet's name", &name, e);
	if (!ret && !tg_id_valid(name))
		ret = tg_error(e, TG_CLI_USAGE,
			       "'%.70s': a fleet's name is 1 to 63 of a-z, 0-9, '-', '_', '.', first a "
			       "letter or digit",
			       name);
	if (!ret)
		ret = each_part(DEFAULT_PCRS, take_pcr, &fleet, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret) {
		snprintf(fleet.name, sizeof(fleet.name), "%s", name);
		ret = apply(cli, store, "fleet-create", &fleet, e);
	}
	store_close(store);
	return ret;
}

int cmd_fleet_set(struct tg_cli *cli, struct tg_error *e)
{
	struct store *store = NULL;
	struct store_fleet fleet;
	const char *name;
	int ret;

	ret = admin_argument(cli, "the fleet's name", &name, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = store_fleet_get(store, name, &fleet, e);
	if (!ret)
		ret = apply(cli, store, "fleet-set", &fleet, e);
	store_close(store);
	return ret;
}

static int collect(void *arg, const struct store_fleet *fleet)
{
	json_array_append_new(arg, fleet_json(fleet));
	return 0;
}

static int print(void *arg, const struct store_fleet *fleet)
{
	(void)arg;
	print_fleet(fleet);
	return 0;
}

static int each_fleet(struct store *store, bool json, json_t *list, struct tg_error *e)
{
	return store_fleet_each(store, json ? collect : print, list, e);
}

int cmd_fleet_list(struct tg_cli *cli, struct tg_error *e)
{
	return admin_list(cli, "fleets", each_fleet, e);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "release/stage.h"
#include "tensorguard/cli.h"
#include "tensorguard/crypto.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "12.5" as 1250; the text ends at `,` or at its end. 0 when it is no percentage. */
static uint32_t take_percent(const char **text)
{
	const char *p = *text;
	uint32_t value = 0;

	if (!is_digit(*p))
		return 0;
	while (is_digit(*p) && value <= 100)
		value = value * 10 + (uint32_t)(*p++ - '0');
	value *= 100;
	if (*p == '.') {
		uint32_t unit = 10;

		for (p++; unit && is_digit(*p); unit /= 10)
			value += unit * (uint32_t)(*p++ - '0');
		if (p[-1] == '.')
			return 0;
	}
	if ((*p && *p != ',') || value > STAGE_ALL)
		return 0;
	*text = p;
	return value;
}

int stages_parse(const char *text, struct stages *ret_stages, struct tg_error *e)
{
	struct stages stages = { 0 };
	const char *p = text;

	for (;;) {
		uint32_t value = take_percent(&p);

		if (!value || (stages.count && value <= stages.buckets[stages.count - 1]))
			return tg_error(e, TG_CLI_USAGE, "'%.60s', expected rising percentages, 0.01 to 100",
					text);
		stages.buckets[stages.count++] = value;
		if (!*p)
			break;
		if (stages.count == STAGES_MAX)
			return tg_error(e, TG_CLI_USAGE, "'%.60s': more than %d stages", text, STAGES_MAX);
		p++;
	}
	*ret_stages = stages;
	return 0;
}

void stages_print(const struct stages *stages, char ret_text[static STAGES_TEXT_SIZE])
{
	size_t len = 0;

	ret_text[0] = '\0';
	for (size_t i = 0; i < stages->count && i < STAGES_MAX; i++)
		len += (size_t)snprintf(ret_text + len, STAGES_TEXT_SIZE - len, "%s%g", i ? "," : "",
					stages->buckets[i] / 100.0);
}

int stage_bucket(const uint8_t manifest[static 32], const char *agent, uint32_t *ret_bucket,
		 struct tg_error *e)
{
	const struct tg_piece pieces[] = { { manifest, 32 }, { agent, strlen(agent) } };
	uint8_t hash[TG_SHA256_LEN];
	uint64_t number = 0;
	int ret = tg_sha256(pieces, 2, hash, e);

	if (ret)
		return ret;
	for (int i = 0; i < 8; i++)
		number = number << 8 | hash[i];
	*ret_bucket = (uint32_t)(number % STAGE_ALL);
	return 0;
}

bool stage_admits(const struct stage_counts *counts)
{
	int64_t silent = counts->told - counts->healthy - counts->failed;

	return silent < (counts->healthy > STAGE_FIRST ? counts->healthy : STAGE_FIRST);
}

static double share(double part, double whole)
{
	return whole > 0 ? part / whole * STAGE_ALL : 0;
}

/* What at least, with 95 % confidence, the share of failures is in all devices of which these are some. */
static double lower_bound(double failed, double answered)
{
	const double z = 1.645, p = failed / answered;

	return (p + z * z / (2 * answered) -
		z * sqrt(p * (1 - p) / answered + z * z / (4 * answered * answered))) /
	       (1 + z * z / answered) * STAGE_ALL;
}

enum stage_verdict stage_judge(const struct stage_rule *rule, const struct stage_counts *counts,
			       int64_t quiet)
{
	double failed = (double)counts->failed, answered = failed + (double)counts->healthy;

	if (counts->failed >= STAGE_EVIDENCE && lower_bound(failed, answered) > rule->failures)
		return STAGE_STOP;
	if (quiet < rule->soak || share(answered, (double)counts->told) < (counts->told ? rule->quorum : 0))
		return STAGE_WAIT;
	return share(failed, answered) > rule->failures ? STAGE_STOP : STAGE_NEXT;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admin/admin.h"
#include "release/json.h"
#include "release/package.h"
#include "release/release.h"

enum { DEFAULT_SOAK = 600, MAX_SOAK = 30 * 86400 };

#define DEFAULT_STAGES "0.1,1,10,100"
#define DEFAULT_FAILURES "5"
#define DEFAULT_QUORUM "90"

/* What a change of a roll-out is made of. */
struct change {
	const char *data, *model, *fleet;
	struct release_promotion promotion;	/* promote, rollback --to */
	int64_t now;
};

static int take_fleet(const struct tg_cli *cli, struct change *change, struct tg_error *e)
{
	change->data = admin_options(cli)->data;
	change->fleet = admin_options(cli)->fleet;
	change->now = time(NULL);
	return change->fleet ? 0 : tg_error(e, TG_CLI_USAGE, "--fleet NAME is needed");
}

static int take_share(const char *text, const char *standard, const char *what, uint32_t *ret_share,
		      struct tg_error *e)
{
	struct stages one;
	int ret = stages_parse(text ? text : standard, &one, e);

	if (!ret && one.count != 1)
		ret = tg_error(e, TG_CLI_USAGE, "expected one percentage");
	if (ret)
		return tg_error_prefix(e, ret, "%s", what);
	*ret_share = one.buckets[0];
	return 0;
}

static int take_rule(const struct platform_options *options, struct release_promotion *promotion,
		     struct tg_error *e)
{
	unsigned long soak = DEFAULT_SOAK;
	int ret;

	ret = stages_parse(options->stages ? options->stages : DEFAULT_STAGES, &promotion->stages, e);
	if (ret)
		return tg_error_prefix(e, ret, "--stages");
	ret = take_share(options->failures, DEFAULT_FAILURES, "--failures", &promotion->rule.failures, e);
	if (!ret)
		ret = take_share(options->quorum, DEFAULT_QUORUM, "--quorum", &promotion->rule.quorum, e);
	if (!ret && options->soak)
		ret = tg_cli_parse_number(options->soak, "--soak", 0, MAX_SOAK, &soak, e);
	promotion->rule.soak = (int64_t)soak;
	return ret;
}

static int apply(const struct tg_cli *cli, const char *action, const struct change *change,
		 int (*run)(struct store *store, const void *arg, struct tg_error *e), struct tg_error *e)
{
	char target[STORE_TEXT_SIZE], detail[STORE_TEXT_SIZE];
	struct admin_change made = {
		.action = action, .target = target, .detail = detail, .run = run, .arg = change
	};
	struct store_rollout rollout = { 0 };
	struct store *store = NULL;
	int ret = admin_store(cli, &store, e);

	snprintf(target, sizeof(target), "%s in %s", change->model, change->fleet);
	detail[0] = '\0';
	if (change->promotion.candidate)
		snprintf(detail, sizeof(detail), "release %lld", (long long)change->promotion.candidate);
	if (!ret)
		ret = admin_apply(store, &made, e);
	if (!ret)
		ret = store_rollout_get(store, change->model, change->fleet, &rollout, e);
	store_close(store);
	if (ret)
		return ret;
	if (cli->json)
		return tg_cli_print_json(rollout_json(&rollout), e);
	printf("%s in %s: release %lld over %lld, %s\n", rollout.model, rollout.fleet,
	       (long long)rollout.candidate, (long long)rollout.base, rollout_state_name(rollout.state));
	return admin_flush(e);
}

static int check_promotable(struct store *store, const struct change *change,
			    struct store_release *ret_release, struct tg_error *e)
{
	int ret = store_release_get(store, change->model, change->promotion.candidate, ret_release, e);

	return ret ? ret
		   : package_promotable(store, change->data, ret_release, change->fleet, change->now, e);
}

static int run_promote(struct store *store, const void *arg, struct tg_error *e)
{
	const struct change *change = arg;
	struct store_release release;
	int ret = check_promotable(store, change, &release, e);

	return ret ? ret : release_promote(store, &change->promotion, e);
}

static int take_candidate(const char *text, const char *what, struct change *change, struct tg_error *e)
{
	unsigned long number = 0;
	int ret = tg_cli_parse_number(text, what, 1, INT64_MAX, &number, e);

	change->promotion.candidate = (int64_t)number;
	change->promotion.model = change->model;
	change->promotion.fleet = change->fleet;
	change->promotion.now = change->now;
	return ret;
}

int cmd_release_promote(struct tg_cli *cli, struct tg_error *e)
{
	struct change change = { .promotion = { .reason = "promoted" } };
	int ret;

	if (cli->arg_count != 2)
		return tg_error(e, TG_CLI_USAGE,
				"expected two arguments, the model and the number of its release");
	change.model = cli->args[0];
	ret = take_fleet(cli, &change, e);
	if (!ret)
		ret = take_candidate(cli->args[1], "the release", &change, e);
	if (!ret)
		ret = take_rule(admin_options(cli), &change.promotion, e);
	return ret ? ret : apply(cli, "release-promote", &change, run_promote, e);
}

/* Into another state, if it is in one of two. */
static int set_state(struct store *store, const struct change *change, unsigned allowed,
		     enum rollout_state state, const char *reason, struct tg_error *e)
{
	struct store_rollout rollout;
	int ret = store_rollout_get(store, change->model, change->fleet, &rollout, e);

	if (ret)
		return ret;
	if (!(allowed >> rollout.state & 1))
		return tg_error(e, -EALREADY, "the roll-out is %s", rollout_state_name(rollout.state));
	/* whoever goes on after a stop has looked at the failures: they are not held against it again */
	if (rollout.state == ROLLOUT_STOPPED && state == ROLLOUT_RUNNING) {
		rollout.counts.told -= rollout.counts.failed;
		rollout.counts.failed = 0;
	}
	rollout.state = state;
	rollout.changed = change->now;
	snprintf(rollout.reason, sizeof(rollout.reason), "%s", reason);
	return store_rollout_put(store, &rollout, e);
}

static int run_pause(struct store *store, const void *arg, struct tg_error *e)
{
	return set_state(store, arg, 1u << ROLLOUT_RUNNING, ROLLOUT_PAUSED, "paused by an operator", e);
}

static int run_resume(struct store *store, const void *arg, struct tg_error *e)
{
	return set_state(store, arg, 1u << ROLLOUT_PAUSED | 1u << ROLLOUT_STOPPED, ROLLOUT_RUNNING,
			 "resumed by an operator", e);
}

static int one_model(struct tg_cli *cli, struct change *change, struct tg_error *e)
{
	int ret = admin_argument(cli, "the model", &change->model, e);

	return ret ? ret : take_fleet(cli, change, e);
}

int cmd_release_pause(struct tg_cli *cli, struct tg_error *e)
{
	struct change change = { 0 };
	int ret = one_model(cli, &change, e);

	return ret ? ret : apply(cli, "release-pause", &change, run_pause, e);
}

int cmd_release_resume(struct tg_cli *cli, struct tg_error *e)
{
	struct change change = { 0 };
	int ret = one_model(cli, &change, e);

	return ret ? ret : apply(cli, "release-resume", &change, run_resume, e);
}

/* Is there an earlier release with the same files? */
struct twin {
	const struct store_release *release;
	int64_t other;		/* the one that is rolled back */
	bool found;
};

static int look_for_twin(void *arg, const struct store_release *release)
{
	struct twin *twin = arg;

	twin->found =
		twin->found || (release->number < twin->release->number && release->number != twin->other &&
				!memcmp(release->content, twin->release->content, sizeof(release->content)));
	return 0;
}

/* What devices opened they do not go back from by number: the older content needs a higher one. */
static int check_twin(struct store *store, const struct change *change, const struct store_release *release,
		      int64_t candidate, struct tg_error *e)
{
	struct twin twin = { .release = release, .other = candidate };
	int ret = store_release_each(store, change->model, look_for_twin, &twin, e);

	if (!ret && !twin.found)
		ret = tg_error(e, -EINVAL, "release %lld has not the files of an earlier release: promote it",
			       (long long)release->number);
	return ret;
}

static int run_rollback(struct store *store, const void *arg, struct tg_error *e)
{
	const unsigned allowed =
		1u << ROLLOUT_RUNNING | 1u << ROLLOUT_PAUSED | 1u << ROLLOUT_STOPPED | 1u << ROLLOUT_DONE;
	const struct change *change = arg;
	struct store_rollout rollout;
	struct store_release release;
	int ret;

	ret = store_rollout_get(store, change->model, change->fleet, &rollout, e);
	if (!ret && (!change->promotion.candidate || rollout.state != ROLLOUT_ROLLED_BACK))
		ret = set_state(store, change, allowed, ROLLOUT_ROLLED_BACK, "rolled back by an operator", e);
	if (ret || !change->promotion.candidate)
		return ret;
	ret = check_promotable(store, change, &release, e);
	if (!ret)
		ret = check_twin(store, change, &release, rollout.candidate, e);
	return ret ? ret : release_promote(store, &change->promotion, e);
}

int cmd_release_rollback(struct tg_cli *cli, struct tg_error *e)
{
	struct change change = { .promotion = { .reason = "older content under a higher number" } };
	const char *to = admin_options(cli)->to;
	int ret = one_model(cli, &change, e);

	if (!ret && to)
		ret = take_candidate(to, "--to", &change, e);
	if (!ret && to)
		ret = take_rule(&(struct platform_options){ .stages = "100" }, &change.promotion, e);
	return ret ? ret : apply(cli, "release-rollback", &change, run_rollback, e);
}

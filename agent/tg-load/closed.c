/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tg-load apply when nothing may leave: a lockdown, a revocation, and a start that has failed. Here a failure
 * is no reason to stop: what can be blocked is, in the order of what matters, and from memory. A disk that is
 * full, and a policy that does not fit the device, disarm nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apply.h"
#include "tensorguard/file.h"

/* What went wrong on a way that was gone to its end: the first of it. */
struct trouble {
	int err;
	struct tg_error error;
};

static void note(struct trouble *t, int err, const struct tg_error *error)
{
	if (!err || t->err)
		return;
	t->err = err;
	t->error = *error;
}

/* ---- policies that say what is to be blocked ---- */

struct source {
	const char *name;
	const struct tg_signed_policy *policy; /* NULL: the file of that name */
};

struct blocked {
	struct tg_policy *policy;
	struct source source;
	bool whole;		/* it fits the device, and could be in force */
};

/* A text that does not go with the device's settings says what it matches all the same. */
static int load_text(const struct tg_bytes *text, const struct source *source, const char *site,
		     struct blocked *ret_blocked, struct tg_error *e)
{
	struct blocked blocked = { .source = *source, .whole = true };
	const char *data = text->data ? (const char *)text->data : "";
	int ret = tg_policy_parse_with(data, text->len, source->name, site, &blocked.policy, e);

	if (ret) {
		blocked.whole = false;
		if (tg_policy_parse_rules(data, text->len, source->name, &blocked.policy, NULL))
			return ret;
	}
	*ret_blocked = blocked;
	return ret;
}

/* Puts it into *ret_blocked whenever anything of it can be used, also with an error. */
static int load_source(const struct source *source, const char *site, struct blocked *ret_blocked,
		       struct tg_error *e)
{
	struct tg_bytes text = { 0 };
	int ret;

	if (source->policy)
		return load_text(&source->policy->text, source, site, ret_blocked, e);
	ret = tg_file_read(source->name, TG_POLICY_TEXT_MAX, &text, e);
	if (!ret)
		ret = load_text(&text, source, site, ret_blocked, e);
	tg_bytes_free(&text);
	return ret;
}

/* Whatever it was that failed early: the folder may be unknown yet, and its policy unread. */
static void look_for_kept(struct apply *a)
{
	int ret = a->keep[0] ? 0 : apply_find_keep(a, NULL);

	if (!ret && !a->kept.text.data)
		ret = apply_read_kept(a, NULL);
	a->kept_damaged = ret && ret != -ENOENT;
}

/* Of the kept policy and, with nothing up, what is left of one that is damaged, and the operator's file: the
 * first that can be used. */
static struct blocked load_known(struct apply *a, bool up, const char *site, struct trouble *t)
{
	struct source sources[3] = { { .name = NULL } };
	struct blocked blocked = { .policy = NULL };
	size_t count = 0;

	look_for_kept(a);
	if (a->kept.text.data)
		sources[count++] = (struct source){ "the kept policy", &a->kept };
	if (!up && a->kept_damaged)
		sources[count++] = (struct source){ a->text, NULL };
	if (!up && a->options->policy)
		sources[count++] = (struct source){ a->options->policy, NULL };
	for (size_t i = 0; i < count && !blocked.policy; i++) {
		struct tg_error why = { "" };

		note(t, load_source(&sources[i], site, &blocked, &why), &why);
	}
	return blocked;
}

/* ---- lockdown ---- */

/* So that the agent has something to serve, and the next policy something to replace. */
static int save_state(struct apply *a, const struct source *source, const char *site, struct tg_error *e)
{
	const char *path = source->name;
	int ret = source->policy ? apply_place_text(a, source->policy, &path, e) : 0;

	return ret ? ret : state_save(a->session.in.run_dir, path, site, e);
}

static void lock_cold(struct apply *a, const struct blocked *named, const char *site, struct trouble *t)
{
	struct tg_error why = { "" };
	int ret = instance_lock_down(&a->session.in, named->policy, &why);

	note(t, ret, &why);
	a->session.closed = !ret;
	if (named->whole)
		note(t, save_state(a, &named->source, site, &why), &why);
}

static void black_out(struct apply *a, const struct blocked *named, struct trouble *t)
{
	struct tg_error why = { "" };

	if (named->policy)
		note(t, instance_black_out(&a->session.in, named->policy, &why), &why);
}

/* What the lockdown names, beside what runs; what does not fit the device does not stand for what does. */
static void lock_named(struct apply *a, const struct tg_signed_policy *policy, bool up, const char *site,
		       struct trouble *t)
{
	const struct source source = { "the Platform's policy", policy };
	struct blocked named = { .policy = NULL }, known = { .policy = NULL };
	struct tg_error why = { "" };

	if (policy)
		note(t, load_source(&source, site, &named, &why), &why);
	if (up ? !named.policy : !named.whole)
		known = load_known(a, up, site, t);
	if (!up && (known.policy || named.policy))
		lock_cold(a, known.policy ? &known : &named, site, t);
	else if (!up && !t->err)
		lockdown_unmark(a->session.in.run_dir, NULL);
	if (up)
		black_out(a, &known, t);
	if (up || known.policy)
		black_out(a, &named, t);
	tg_policy_free(named.policy);
	tg_policy_free(known.policy);
}

int apply_lock_down(struct apply *a, const struct tg_signed_policy *policy, const char *reason,
		    const char *site, struct tg_error *e)
{
	const char *run_dir = a->session.in.run_dir;
	struct tg_policy *running = NULL;
	struct tg_error why = { "" };
	struct trouble t = { 0 };

	note(&t, lockdown_mark(run_dir, reason, &why), &why);
	if (!state_check_up(run_dir, NULL))
		note(&t, state_load(run_dir, &running, &why), &why);
	/* first what is not the running one's: pruning keeps what the last plan has */
	if (running)
		note(&t, instance_lock_down(&a->session.in, running, &why), &why);
	lock_named(a, policy, running, site, &t);
	tg_policy_free(running);
	a->done = "locked";
	return t.err ? tg_error(e, t.err, "%s", t.error.message) : 0;
}

/* ---- a start that has failed ---- */

bool apply_ended_open(const struct apply *a)
{
	return a->has_kept && a->kept.kind == TG_POLICY_NORMAL && a->kept.offline == TG_OFFLINE_OPEN &&
	       a->kept.not_after <= time(NULL);
}

/* Whatever the policy says of failing. */
static bool is_locked(const struct apply *a)
{
	const struct tg_signed_policy *kept = a->kept.text.data ? &a->kept : NULL;
	char reason[LOCKDOWN_REASON_LEN];

	if (a->revoked[0] || lockdown_is_on(a->session.in.run_dir, reason))
		return true;
	return kept && (kept->kind == TG_POLICY_LOCKDOWN ||
			(kept->offline == TG_OFFLINE_CLOSED && kept->not_after <= time(NULL)));
}

/* Whoever has the lock may be at work: nothing is taken away beside him. */
static int close_beside(struct apply *a, struct tg_policy *policy, int err, struct tg_error *e)
{
	struct tg_error first = *e;

	if (instance_black_out(&a->session.in, policy, NULL))
		return err;
	return tg_error(e, err, "%.200s; what the policy matches is blocked", first.message);
}

int apply_stay_closed(struct apply *a, int err, struct tg_error *e)
{
	struct trouble t = { 0 };
	struct blocked blocked;
	char *site = NULL;
	bool locked;

	if (a->session.closed || !state_check_up(a->session.in.run_dir, NULL))
		return err;
	apply_choose_site(a, &site, NULL);
	blocked = load_known(a, false, site, &t);
	locked = is_locked(a);
	if (blocked.policy && (locked || (blocked.policy->fail == TG_FAIL_CLOSED && !apply_ended_open(a))))
		err = a->session.lock_fd < 0
			      ? close_beside(a, blocked.policy, err, e)
			      : session_fall_closed(&a->session, blocked.policy, locked, err, e);
	tg_policy_free(blocked.policy);
	free(site);
	return err;
}

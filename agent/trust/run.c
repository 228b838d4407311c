/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/draw.h"
#include "trust/audit.h"
#include "trust/exchange.h"
#include "trust/fetch.h"
#include "trust/models.h"
#include "trust/run.h"
#include "trust/sync.h"
#include "trust/trail.h"

/* How often it looks whether the identity or the clock has changed. */
enum { LOOK_MS = 5000, SOON_MS = 100, FIRST_TRIES_S = 4 };

/* From a failure of tg-load apply, or to note a revocation, to the next try. */
#define APPLY_AGAIN_NS 30000000000ull

/* The guard reports every ten seconds. */
#define STATS_MAX_AGE_NS 35000000000ull

struct trust {
	struct trust_conf conf;
	struct event *timer, *done, *hurry;
	int done_fd;			/* eventfd, written to by the worker */
	int hurry_fd;			/* the same, by whoever wants the Platform asked */
	pthread_t worker;
	struct trust_models *models;
	struct trust_fetch *fetch;	/* NULL: no models are asked for */
	bool working;
	enum { RENEW, SYNC } task;	/* of the worker: one at a time */
	atomic_bool stop;
	uint64_t started_ns;

	struct audit_log *audit;
	struct trail trail;
	bool ledger_said;		/* that the ledger is refused */
	bool unsaved_said;		/* that its checkpoint is not on the disk */
	bool renewed;			/* the next generation is this process's work */

	unsigned generation;		/* of what follows */
	struct trust_times times;
	bool refused;
	char unnoted[TRUST_REASON_LEN]; /* why, as long as that is not on the disk; the worker's as well */
	uint64_t note_again_ns;		/* by the monotonic clock */
	bool said_absent;
	unsigned failures;		/* in a row */
	uint64_t next_try_ns;		/* by the monotonic clock */
	bool overdue;			/* the Platform says that the certificate has ended */

	struct tg_sync_heartbeat stats;	/* of the guard */
	uint64_t stats_ns;		/* 0: none yet */
	struct trust_troubles troubles;
	struct trust_sync sync;		/* the worker's, while it works at that */
	unsigned sync_failures;		/* in a row */
	uint64_t next_sync_ns;
	bool hurried;			/* the next one is wanted as soon as this one has ended */
	bool apply_due, applying;	/* tg-load apply is wanted; runs */
	int apply_result;
	int64_t apply_version;		/* of the policy in the state folder when it was asked for; 0: none */
	uint64_t apply_again_ns;	/* after a failure, by the monotonic clock */
	int64_t end_seen;		/* of a policy: tg-load apply was asked for because of it */

	/* of the worker, for whoever joins it */
	int result;
	struct tg_error error;
};

static void say(const struct trust *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(const struct trust *t, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	t->conf.log(line);
}

static void look_in(const struct trust *t, int64_t ms)
{
	struct timeval wait = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	evtimer_add(t->timer, &wait);
}

/* ---- the worker ---- */

static int do_renew(struct trust *t)
{
	struct trust_renewal renewal = { t->conf.directory, t->conf.secret, &t->stop, t->unnoted };
	struct trust_identity identity = { 0 };
	int ret;

	/* it is of the old certificate */
	trust_sync_close(&t->sync);
	ret = trust_renew(&renewal, &identity, &t->error);
	trust_identity_clear(&identity);
	return ret;
}

static int do_sync(struct trust *t)
{
	struct trust_sync_note note = { .good = true };
	struct tg_error second;
	int ret = trust_sync(&t->sync, &t->error);

	if (ret && t->fetch)
		trust_fetch_problem(t->fetch, t->error.message);
	note.good = !ret;
	note.period = t->sync.period;
	snprintf(note.error, sizeof(note.error), "%.*s", (int)sizeof(note.error) - 1,
		 ret || t->sync.refused[0] ? t->error.message : "");
	/* for the operator alone */
	trust_sync_note_save(t->conf.directory, &note, &second);
	return ret;
}

static void *work(void *arg)
{
	struct trust *t = arg;
	uint64_t one = 1;

	t->error.message[0] = '\0';
	t->result = t->task == SYNC ? do_sync(t) : do_renew(t);
	/* cannot fail: nobody else counts it up */
	(void)!write(t->done_fd, &one, sizeof(one));
	return NULL;
}

/* Signals are the event loop's. */
static int begin_work(struct trust *t, int task)
{
	sigset_t all, before;
	int ret;

	t->task = task;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&t->worker, NULL, work, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	t->working = !ret;
	return -ret;
}

static void wait_after_failure(struct trust *t)
{
	int64_t ms;

	t->failures++;
	ms = trust_retry_ms(&t->times, t->failures, (uint32_t)draw_number());
	t->next_try_ns = monotonic_ns() + (uint64_t)ms * 1000000;
	audit_log_add(t->audit, TG_AUDIT_RENEWAL_FAILED, "", t->failures, 0, t->error.message);
	say(t, "trust: the certificate cannot be renewed, next try in %lld s, %lld s are left: %s",
	    (long long)(ms + 999) / 1000, (long long)trust_left(&t->times, time(NULL)), t->error.message);
}

static void give_up(struct trust *t, const char *why)
{
	if (!t->refused) {
		say(t, "trust: nothing is renewed any more: %s", why);
		audit_log_add(t->audit, TG_AUDIT_IDENTITY_REFUSED, "", 0, 0, why);
	}
	t->refused = true;
}

/* ---- tg-load apply ---- */

/* One that has ended, or is of a device that the Platform refuses, is not what is put in force. */
static int64_t version_to_apply(const struct trust *t)
{
	struct trust_identity identity = { 0 };
	struct tg_signed_policy policy = { 0 };
	int64_t version = 0;

	if (!trust_identity_load(t->conf.directory, &identity, NULL) && !identity.refused[0] &&
	    !trust_policy_load(t->conf.directory, &identity, &policy, NULL) && policy.not_after > time(NULL))
		version = policy.version;
	tg_signed_policy_clear(&policy);
	trust_identity_clear(&identity);
	return version;
}

static void ask_apply(struct trust *t)
{
	int ret;

	if (!t->apply_due || t->applying || !t->conf.apply)
		return;
	/* before it is asked for: what comes meanwhile has it run once more */
	t->apply_version = version_to_apply(t);
	ret = t->conf.apply(t->conf.ctx);
	/* the supervisor does not read, or one is under way: it is asked again with the next look */
	if (ret)
		return;
	t->apply_due = false;
	t->applying = true;
}

void trust_applied(struct trust *t, int result)
{
	t->applying = false;
	t->apply_result = result;
	t->apply_again_ns = monotonic_ns() + APPLY_AGAIN_NS;
	if (result)
		say(t, "trust: tg-load apply has failed (%d): see its own message", result);
	trail_applied(&t->trail, t->apply_version, result);
	ask_apply(t);
}

/* A disk that was full, a lock that was held: what failed once is tried until it works. A lockdown most of
 * all. */
static void look_at_failure(struct trust *t)
{
	if (t->apply_result && !t->applying && monotonic_ns() >= t->apply_again_ns)
		t->apply_due = true;
}

/* A policy that has ended unattended is dealt with as it says. */
static void look_at_end(struct trust *t)
{
	int64_t end = t->sync.policy_end;

	if (!end || end == t->end_seen || time(NULL) < end)
		return;
	say(t, "trust: the policy in force has ended, and nothing newer has come");
	t->end_seen = end;
	trail_policy_ended(&t->trail, t->sync.policy_version, t->sync.policy_offline);
	t->apply_due = true;
}

/* ---- sync ---- */

static void add_fault(struct tg_sync_heartbeat *h, const char *word)
{
	if (h->fault_count < TG_SYNC_FAULTS_MAX)
		snprintf(h->faults[h->fault_count++], TG_SYNC_FAULT_LEN, "%s", word);
}

void trust_take_stats(struct trust *t, const struct tg_sync_heartbeat *stats,
		      const struct trust_troubles *troubles)
{
	t->troubles = *troubles;
	if (troubles->absent) {
		t->stats.restarts = stats->restarts;
		return;
	}
	t->stats = *stats;
	t->stats_ns = monotonic_ns();
}

static void add_troubles(const struct trust *t, struct tg_sync_heartbeat *h)
{
	const struct trust_troubles *x = &t->troubles;
	char word[TG_SYNC_FAULT_LEN];

	for (const char *const *name = x->loops; *name; name++) {
		snprintf(word, sizeof(word), "process-loops:%s", *name);
		add_fault(h, word);
	}
	if (x->broken)
		add_fault(h, "data-plane-broken");
	if (x->peer_silent)
		add_fault(h, "peer-silent");
}

static void describe(struct trust *t, struct tg_sync_heartbeat *ret_heartbeat)
{
	uint64_t now = monotonic_ns();
	struct tg_sync_heartbeat h = t->stats;
	char word[TG_SYNC_FAULT_LEN] = "";
	struct utsname name;

	snprintf(h.version, sizeof(h.version), "%s", TG_VERSION);
	snprintf(h.kernel, sizeof(h.kernel), "%s", uname(&name) ? "unknown" : name.release);
	h.uptime = (int64_t)((now - t->started_ns) / 1000000000u);
	if (!t->stats_ns || now - t->stats_ns > STATS_MAX_AGE_NS) {
		h.state = TG_SYNC_DOWN;
		h.engine = TG_SYNC_ENGINE_NONE;
		/* one that began a moment ago has said nothing yet: roll-outs take a fault for a failure */
		if (now - (t->stats_ns ? t->stats_ns : t->started_ns) > STATS_MAX_AGE_NS)
			add_fault(&h, "guard-absent");
	}
	add_troubles(t, &h);
	if (t->apply_result)
		add_fault(&h, "policy-not-applied");
	if (t->sync.refused[0])
		add_fault(&h, t->sync.refused);
	if (t->failures)
		add_fault(&h, "renewal-fails");
	if (t->sync.ledger_refused)
		add_fault(&h, "ledger-refused");
	if (t->fetch)
		trust_fetch_fault(t->fetch, word);
	if (word[0])
		add_fault(&h, word);
	if (h.state == TG_SYNC_UP && h.fault_count)
		h.state = TG_SYNC_DEGRADED;
	*ret_heartbeat = h;
}

static void free_records(struct trust *t)
{
	while (t->sync.record_count)
		tg_bytes_free(&t->sync.records[--t->sync.record_count]);
}

static int begin_sync(struct trust *t)
{
	int ret;

	describe(t, &t->sync.heartbeat);
	audit_log_peek(t->audit, t->sync.records, &t->sync.record_count);
	ret = begin_work(t, SYNC);
	if (ret)
		free_records(t);
	return ret;
}

/* What waits longer than one batch does not wait for the next period. */
static void audit_done(struct trust *t)
{
	struct trust_sync *s = &t->sync;
	bool full = s->record_count == TG_AUDIT_BATCH_RECORDS;

	free_records(t);
	/* whatever came of the answer's other parts */
	if (s->audit_stored)
		audit_log_stored(t->audit, s->audit_stored);
	/* the others would be refused again: they are no matter of the chain */
	if (!strcmp(s->audit_refused, "audit-fork") || !strcmp(s->audit_refused, "audit-gap") ||
	    !strcmp(s->audit_refused, "audit-ended"))
		audit_log_refused(t->audit, s->audit_refused);
	if (s->audit_refused[0])
		say(t, "trust: audit records were refused: %s", s->audit_refused);
	if (s->ledger_refused && !t->ledger_said) {
		say(t, "trust: the Platform's ledger is refused: %s", s->ledger_error.message);
		audit_log_add(t->audit, TG_AUDIT_CHECKPOINT_REFUSED, "", 0, 0, s->ledger_error.message);
	}
	t->ledger_said = s->ledger_refused;
	if (s->unsaved.has_checkpoint && !t->unsaved_said)
		say(t, "trust: the ledger's checkpoint is kept in memory: %s", s->unsaved_error.message);
	t->unsaved_said = s->unsaved.has_checkpoint;
	if ((full && s->audit_stored) || (s->more_keys && !t->result))
		t->next_sync_ns = monotonic_ns() + 1000000000u;
}

static void sync_done(struct trust *t)
{
	int64_t period = t->sync.period, ms;

	/* a network that comes up after the agent is waited for shortly: no answer has told a period yet */
	if (!period)
		period = t->result ? FIRST_TRIES_S : TG_SYNC_PERIOD;
	t->sync_failures = t->result ? t->sync_failures + 1 : 0;
	ms = trust_sync_ms(period, t->sync_failures, (uint32_t)draw_number());
	t->next_sync_ns = monotonic_ns() + (uint64_t)ms * 1000000u;
	audit_done(t);
	if (t->result == -EKEYREVOKED)
		return;
	/* the Platform is there again, and a renewal may have hours to wait until its next try, or days by a
	 * clock that stood still while the device was off */
	if (t->sync.expired) {
		t->next_try_ns = 0;
		t->overdue = true;
	}
	trail_sync(&t->trail, t->result, t->result == -EKEYREJECTED && !t->sync.expired, t->sync.status,
		   t->error.message);
	if (!t->result && t->sync.refused[0])
		trail_policy_refused(&t->trail, t->sync.refused_version, t->sync.refused, t->error.message);
	if (t->result)
		say(t, "trust: no sync, next try in %lld s: %s", (long long)(ms + 999) / 1000,
		    t->error.message);
	else if (t->sync.refused[0])
		say(t, "trust: %s: %s", t->sync.refused, t->error.message);
	else if (t->sync.news)
		say(t, "trust: the Platform gave a new policy");
}

/* ---- the worker's end ---- */

static void on_done(evutil_socket_t fd, short events, void *arg)
{
	struct trust *t = arg;
	uint64_t count;

	(void)events;
	if (read(fd, &count, sizeof(count)) != sizeof(count))
		return;
	pthread_join(t->worker, NULL);
	t->working = false;
	/* what it needed will not be needed for hours */
	malloc_trim(0);
	if (t->task == SYNC)
		sync_done(t);
	else if (t->result && t->result != -EKEYREVOKED)
		wait_after_failure(t);
	if (t->result == -EKEYREVOKED)
		give_up(t, t->error.message);
	t->apply_due |= t->result == -EKEYREVOKED || (t->task == SYNC && t->sync.news);
	ask_apply(t);
	t->renewed = t->task == RENEW && !t->result;
	t->overdue &= !t->renewed;
	if (t->hurried)
		t->next_sync_ns = 0;
	t->hurried = false;
	look_in(t, 0);
}

/* ---- revocation ---- */

/* What is not on the disk is not known to tg-load apply: until it is, the device is not locked down. */
static void note_revocation(struct trust *t, const struct trust_identity *identity)
{
	struct tg_error e;

	if (monotonic_ns() < t->note_again_ns)
		return;
	if (trust_revoked_note(t->conf.directory, identity, t->unnoted, &e)) {
		say(t, "trust: the revocation cannot be noted, next try in %llu s: %s",
		    APPLY_AGAIN_NS / 1000000000, e.message);
		t->note_again_ns = monotonic_ns() + APPLY_AGAIN_NS;
		return;
	}
	t->unnoted[0] = '\0';
	t->note_again_ns = 0;
	t->apply_due = true;
}

/* Both notes of it are there, or none: a kill or a full disk may have left one alone. Without the one for
 * tg-load apply there is no lockdown; without the other the identity passes for one in force. */
static void look_at_notes(struct trust *t, const struct trust_identity *identity, bool same)
{
	struct trust_revocation noted = { .generation = 0 };
	int ret = trust_revoked_load(t->conf.directory, &noted, NULL);
	bool refused = identity->refused[0];

	if (!same) {
		t->unnoted[0] = '\0';
		t->note_again_ns = 0;
	}
	if (refused && ret == -ENOENT)
		snprintf(t->unnoted, sizeof(t->unnoted), "%s", identity->refused);
	else if (!refused && !ret && noted.generation == identity->generation)
		snprintf(t->unnoted, sizeof(t->unnoted), "%s", noted.reason);
	else if (!refused && !same)
		trust_revoked_remove(t->conf.directory, NULL);
	if (!t->unnoted[0])
		return;
	give_up(t, t->unnoted);
	note_revocation(t, identity);
}

/* ---- looking ---- */

static void take(struct trust *t, const struct trust_identity *identity)
{
	bool same = t->generation == identity->generation;

	t->times = identity->times;
	t->refused = same && t->refused;
	look_at_notes(t, identity, same);
	if (identity->refused[0])
		give_up(t, identity->refused);
	else if (!same)
		say(t, "trust: %s in fleet %s (%s), certificate renews in %lld s, ends in %lld s",
		    identity->agent, identity->fleet, tg_assurance_name(identity->assurance),
		    (long long)trust_renew_in(&t->times, time(NULL)),
		    (long long)trust_left(&t->times, time(NULL)));
	if (!same)
		t->failures = 0;
	t->generation = identity->generation;
	t->said_absent = false;
	audit_log_identity(t->audit, identity->agent, identity->generation, t->renewed);
	t->renewed = false;
}

/* Whether there is an identity to look after. */
static bool read_identity(struct trust *t)
{
	struct trust_identity identity = { 0 };
	struct tg_error e;
	int ret = trust_identity_load(t->conf.directory, &identity, &e);

	if (!ret)
		take(t, &identity);
	else if (!t->said_absent)
		say(t, "trust: %s", e.message);
	if (ret) {
		t->generation = 0;
		t->said_absent = true;
	}
	trust_identity_clear(&identity);
	return !ret && !t->refused;
}

static int64_t ms_to_wait(const struct trust *t)
{
	uint64_t now = monotonic_ns();
	int64_t ms = t->overdue ? 0 : trust_renew_in(&t->times, time(NULL)) * 1000, pause;

	if (t->failures && t->next_try_ns > now) {
		pause = (int64_t)((t->next_try_ns - now) / 1000000) + 1;
		ms = pause > ms ? pause : ms;
	}
	return ms;
}

/* The clock was wrong and is right again: nothing is due, and what failed meanwhile was not to be done. */
static void forget_failures(struct trust *t)
{
	if (t->failures && trust_renew_in(&t->times, time(NULL)) > 0)
		t->failures = 0;
}

/* Milliseconds until the next task, which is *ret_task; 0 is now. */
static int64_t next_task(const struct trust *t, int *ret_task)
{
	int64_t renew = ms_to_wait(t), sync = 0;
	uint64_t now = monotonic_ns();

	/* a key that is new waits for the Platform; after a failure no longer than everything else */
	if (t->next_sync_ns > now &&
	    (t->sync_failures || !trust_tunnels_is_news(&t->sync.tunnels, t->sync.run_dir)))
		sync = (int64_t)((t->next_sync_ns - now) / 1000000u) + 1;
	*ret_task = renew <= sync ? RENEW : SYNC;
	return renew <= sync ? renew : sync;
}

static void on_timer(evutil_socket_t fd, short events, void *arg)
{
	struct trust *t = arg;
	int64_t ms = LOOK_MS;
	bool alive;
	int task;

	(void)fd;
	(void)events;
	if (t->working)
		return;
	look_at_end(t);
	look_at_failure(t);
	alive = read_identity(t);
	ask_apply(t);
	if (alive) {
		forget_failures(t);
		ms = next_task(t, &task);
		if (ms == 0 && !(task == SYNC ? begin_sync(t) : begin_work(t, RENEW)))
			return;
	}
	if (ms < SOON_MS)
		ms = SOON_MS;
	look_in(t, ms < LOOK_MS ? ms : LOOK_MS);
}

static void on_hurry(evutil_socket_t fd, short events, void *arg)
{
	struct trust *t = arg;
	uint64_t count;

	(void)events;
	if (read(fd, &count, sizeof(count)) != sizeof(count))
		return;
	trust_fetch_hurry(t->fetch);
	t->hurried = t->working;
	t->next_sync_ns = 0;
	look_in(t, 0);
}

static int start_models(struct trust *t, struct event_base *base, struct tg_error *e)
{
	int ret;

	t->hurry_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	t->hurry = t->hurry_fd < 0 ? NULL : event_new(base, t->hurry_fd, EV_READ | EV_PERSIST, on_hurry, t);
	if (!t->hurry || event_add(t->hurry, NULL))
		return tg_error(e, -ENOMEM, "cannot watch models");
	ret = trust_fetch_start(&t->conf, &t->fetch, e);
	t->sync.fetch = t->fetch;
	return ret ? ret : trust_models_start(&t->conf, t->hurry_fd, &t->models, e);
}

int trust_start(struct event_base *base, const struct trust_conf *conf, struct trust **ret_trust,
		struct tg_error *e)
{
	struct trust *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return tg_error(e, -ENOMEM, "out of memory");
	t->conf = *conf;
	t->hurry_fd = -1;
	t->started_ns = monotonic_ns();
	t->sync = (struct trust_sync){ .directory = conf->directory,
				       .secret = conf->secret,
				       .stop = &t->stop,
				       .run_dir = conf->run_dir,
				       .unnoted = t->unnoted };
	/* what was given earlier, whatever happened in between */
	t->apply_due = true;
	if (audit_log_new(&(struct audit_log_conf){ conf->directory, conf->recorded, conf->log, conf->ctx },
			  &t->audit)) {
		free(t);
		return tg_error(e, -ENOMEM, "out of memory");
	}
	t->trail.log = t->audit;
	t->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	t->timer = evtimer_new(base, on_timer, t);
	t->done = t->done_fd < 0 ? NULL : event_new(base, t->done_fd, EV_READ | EV_PERSIST, on_done, t);
	if (!t->timer || !t->done || event_add(t->done, NULL)) {
		trust_stop(t);
		return tg_error(e, -ENOMEM, "cannot watch the identity");
	}
	ret = conf->run_dir ? start_models(t, base, e) : 0;
	if (ret) {
		trust_stop(t);
		return ret;
	}
	look_in(t, 0);
	*ret_trust = t;
	return 0;
}

void trust_event(struct trust *t, const struct message_event *event)
{
	char lineage[TRUST_LINEAGE_SIZE] = "";
	bool of_model = event->code == TG_AUDIT_MODEL_OPENED || event->code == TG_AUDIT_MODEL_INSTALLED ||
			event->code == TG_AUDIT_MODEL_CLOSED || event->code == TG_AUDIT_MODEL_WITHDRAWN;

	if (t->fetch && of_model)
		trust_fetch_lineage(t->fetch, event->subject, sizeof(event->subject), event->a, lineage);
	audit_log_event(t->audit, event, lineage);
}

void trust_stop(struct trust *trust)
{
	if (!trust)
		return;
	atomic_store(&trust->stop, true);
	trust_models_stop(trust->models);
	if (trust->working)
		pthread_join(trust->worker, NULL);
	trust_fetch_stop(trust->fetch);
	if (trust->hurry)
		event_free(trust->hurry);
	if (trust->hurry_fd >= 0)
		close(trust->hurry_fd);
	trust_sync_close(&trust->sync);
	trust_tunnels_free(&trust->sync.tunnels);
	if (trust->timer)
		event_free(trust->timer);
	if (trust->done)
		event_free(trust->done);
	if (trust->done_fd >= 0)
		close(trust->done_fd);
	free_records(trust);
	audit_log_free(trust->audit);
	free(trust);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/draw.h"
#include "common/json.h"
#include "tensorguard/hex.h"
#include "trust/download.h"
#include "trust/fetch.h"
#include "trust/reports.h"
#include "trust/schedule.h"
#include "trust/sync.h"
#include "vault/assigned.h"
#include "vault/bundle.h"
#include "vault/call.h"

enum { ASK_SECONDS = 5, QUICK_MS = 500, RETRY_PERIOD = 1, LINEAGES = 64 };

/* What vault said once of a release. */
struct lineage {
	char model[TG_TGSP_MAX_NAME + 1];
	uint64_t release;
	char text[TRUST_LINEAGE_SIZE];
};

struct trust_fetch {
	const struct trust_conf *conf;
	struct trust_sync link;	/* for its connection alone */
	pthread_t thread;
	bool running;
	int wake;		/* eventfd */
	atomic_bool stop;
	atomic_bool abort;	/* what is under way is to end; so it is when `stop` is true */
	atomic_bool eager;	/* what failed is tried again at once */

	pthread_mutex_t lock;	/* of what follows */
	bool known;		/* the Platform has answered */
	struct tg_models_answer answer; /* its last one that said something */
	struct wanted wanted[TG_MODELS_MAX]; /* answer.assignments, and what became of them */
	struct wanted withdrawn[TG_MODELS_MAX]; /* what was wanted once, and is not any more */
	size_t withdrawn_count;
	uint8_t coming[TG_SHA256_LEN]; /* the blob that is under way; zeros: none */
	uint64_t syncs;
	char problem[256];	/* of the last sync, or "" */
	char fault[TG_SYNC_FAULT_LEN];
	int64_t asked, reported; /* when the last request was made; the last one that was answered */
	struct lineage lineages[LINEAGES];
	size_t lineage_count, lineage_next;

	/* of the thread alone */
	struct bundle
		documents; /* the last ones that were fetched, as long as vault has not taken them ... */
	struct tg_model_trust named[TG_MODEL_TRUST_MAX]; /* ... and what named them */
	size_t named_count;
	unsigned failures;	/* rounds in a row in which nothing came */
	uint64_t next_ns;	/* before that, by the monotonic clock, only what is new is tried */
	char said[sizeof(((struct tg_error *)0)->message)]; /* in the log last */
};

static void say(struct trust_fetch *f, const char *what, const char *message)
{
	char line[sizeof(f->said) + 128];

	if (!strcmp(f->said, message))
		return;
	snprintf(f->said, sizeof(f->said), "%s", message);
	snprintf(line, sizeof(line), "trust: %s: %s", what, message);
	f->conf->log(line);
}

/* ---- vault ---- */

static int connect_vault(const struct trust_fetch *f, int ms, int *ret_fd, struct tg_error *e)
{
	const struct timeval limit = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	int ret = call_connect(f->conf->run_dir, ret_fd, e);

	if (ret)
		return ret;
	setsockopt(*ret_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(*ret_fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return 0;
}

/* With the lock. */
static void remember_lineage(struct trust_fetch *f, const json_t *release)
{
	const char *model = json_text(release, "model");
	uint64_t number = (uint64_t)json_integer_value(json_object_get(release, "release"));
	struct lineage *l = NULL;

	if (!*model || strlen(model) >= sizeof(l->model))
		return;
	for (size_t i = 0; i < f->lineage_count; i++)
		if (f->lineages[i].release == number && !strcmp(f->lineages[i].model, model))
			l = &f->lineages[i];
	if (!l) {
		l = &f->lineages[f->lineage_next];
		f->lineage_next = (f->lineage_next + 1) % LINEAGES;
		f->lineage_count += f->lineage_count < LINEAGES;
	}
	strcpy(l->model, model);
	l->release = number;
	snprintf(l->text, sizeof(l->text), "%s", json_text(release, "lineage_line"));
}

static int ask_status(struct trust_fetch *f, int ms, json_t **ret_status, struct tg_error *e)
{
	const json_t *release;
	size_t i;
	int fd, ret = connect_vault(f, ms, &fd, e);

	if (ret)
		return ret;
	ret = call_ask(fd, json_pack("{s:s}", "op", "status"), NULL, 0, ret_status, NULL, e);
	close(fd);
	if (ret)
		return ret;
	pthread_mutex_lock(&f->lock);
	json_array_foreach(json_object_get(*ret_status, "models"), i, release) remember_lineage(f, release);
	pthread_mutex_unlock(&f->lock);
	return 0;
}

/* What vault is to know of the Platform's answer, and of what became of it. */
static json_t *assigned_json(struct trust_fetch *f)
{
	struct assignments *a = calloc(1, sizeof(*a));
	json_t *message;

	if (!a)
		return NULL;
	pthread_mutex_lock(&f->lock);
	a->known = f->known;
	a->syncs = f->syncs;
	strcpy(a->problem, f->problem);
	a->count = f->known ? f->answer.assignment_count : 0;
	for (size_t i = 0; i < a->count; i++) {
		a->list[i].package = f->wanted[i].package;
		a->list[i].failed = f->wanted[i].failed;
		strcpy(a->list[i].detail, f->wanted[i].detail);
	}
	a->revoked_count = f->known ? f->answer.revoked_count : 0;
	for (size_t i = 0; i < a->revoked_count; i++)
		memcpy(a->revoked[i], f->answer.revoked[i].manifest, TG_SHA256_LEN);
	pthread_mutex_unlock(&f->lock);
	message = assigned_message(a);
	free(a);
	return message;
}

static int tell_assigned(struct trust_fetch *f, struct tg_error *e)
{
	json_t *answer;
	int fd, ret = connect_vault(f, ASK_SECONDS * 1000, &fd, e);

	if (ret)
		return ret;
	ret = call_ask(fd, assigned_json(f), NULL, 0, &answer, NULL, e);
	if (!ret)
		json_decref(answer);
	close(fd);
	return ret;
}

/* ---- a sync ---- */

int trust_fetch_request(struct trust_fetch *f, struct tg_models_request *ret_request)
{
	struct tg_models_request *r = ret_request;
	struct tg_error e;
	json_t *status;
	size_t wanted;

	if (ask_status(f, ASK_SECONDS * 1000, &status, &e))
		return -ENOTCONN;
	*r = (struct tg_models_request){ .root = (uint64_t)json_integer_value(
						 json_object_get(json_object_get(status, "trust"), "root")) };
	pthread_mutex_lock(&f->lock);
	memcpy(r->tag, f->answer.tag, sizeof(r->tag));
	wanted = f->known ? f->answer.assignment_count : 0;
	reports_make(status, f->wanted, wanted, f->reported, r);
	reports_withdrawn(f->withdrawn, f->withdrawn_count, r);
	f->asked = time(NULL);
	pthread_mutex_unlock(&f->lock);
	json_decref(status);
	return 0;
}

static const struct wanted *find_wanted(const struct wanted *list, size_t count, const char *model)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].package.model, model))
			return &list[i];
	return NULL;
}

static bool is_named(const struct tg_models_answer *answer, const uint8_t blob[static TG_SHA256_LEN])
{
	for (size_t i = 0; i < answer->assignment_count; i++)
		if (!memcmp(answer->assignments[i].blob, blob, TG_SHA256_LEN))
			return true;
	return false;
}

/* Models that the answer names no more; they are reported until it does again. With the lock. */
static void note_withdrawn(struct trust_fetch *f, const struct tg_models_answer *answer)
{
	for (size_t i = 0; i < f->answer.assignment_count; i++) {
		const struct wanted *old = &f->wanted[i];
		struct wanted *place = (struct wanted *)(uintptr_t)find_wanted(
			f->withdrawn, f->withdrawn_count, old->package.model);

		if (is_named(answer, old->package.blob) || (!place && f->withdrawn_count == TG_MODELS_MAX))
			continue;
		if (!place)
			place = &f->withdrawn[f->withdrawn_count++];
		*place = *old;
		/* what went wrong with it is still what there is to say */
		place->revoked = !old->failed;
		if (place->revoked)
			place->since = time(NULL);
	}
}

/* What was known of a package that is still wanted goes along. With the lock. */
static void take_wanted(struct trust_fetch *f, const struct tg_models_answer *answer)
{
	struct wanted wanted[TG_MODELS_MAX];

	for (size_t i = 0; i < answer->assignment_count; i++) {
		const struct tg_model_assignment *package = &answer->assignments[i];
		const struct wanted *old =
			f->known ? find_wanted(f->wanted, f->answer.assignment_count, package->model) : NULL;

		if (old && !memcmp(old->package.blob, package->blob, sizeof(package->blob)))
			wanted[i] = *old;
		else
			wanted[i] = (struct wanted){ .package = *package, .since = time(NULL) };
	}
	memcpy(f->wanted, wanted, answer->assignment_count * sizeof(*wanted));
}

/* Of targets, snapshot and timestamp, which come last: roots are named only until they are known. */
static bool same_trust(const struct tg_models_answer *a, const struct tg_models_answer *b)
{
	enum { BELOW_ROOT = 3 };

	if (a->trust_count < BELOW_ROOT || b->trust_count < BELOW_ROOT)
		return a->trust_count == b->trust_count;
	return !memcmp(&a->trust[a->trust_count - BELOW_ROOT], &b->trust[b->trust_count - BELOW_ROOT],
		       BELOW_ROOT * sizeof(a->trust[0]));
}

static void take_answer(struct trust_fetch *f, const struct tg_models_answer *answer)
{
	static const uint8_t none[TG_SHA256_LEN];

	/* a download goes on through an answer that does not concern it */
	if (memcmp(f->coming, none, sizeof(none)) &&
	    (!is_named(answer, f->coming) || !same_trust(answer, &f->answer)))
		atomic_store(&f->abort, true);
	if (f->known)
		note_withdrawn(f, answer);
	take_wanted(f, answer);
	f->answer = *answer;
	f->known = true;
	atomic_store(&f->eager, true);
}

static void sync_ended(struct trust_fetch *f)
{
	struct tg_error e;

	/* a vault that is not there hears of it in the next round */
	tell_assigned(f, &e);
	eventfd_write(f->wake, 1);
}

void trust_fetch_answer(struct trust_fetch *f, const struct tg_models_answer *answer)
{
	pthread_mutex_lock(&f->lock);
	if (answer)
		take_answer(f, answer);
	f->reported = f->asked;
	f->syncs++;
	f->problem[0] = '\0';
	pthread_mutex_unlock(&f->lock);
	sync_ended(f);
}

void trust_fetch_problem(struct trust_fetch *f, const char *problem)
{
	pthread_mutex_lock(&f->lock);
	f->syncs++;
	snprintf(f->problem, sizeof(f->problem), "%.*s", (int)sizeof(f->problem) - 1, problem);
	pthread_mutex_unlock(&f->lock);
	sync_ended(f);
}

void trust_fetch_hurry(struct trust_fetch *f)
{
	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < f->answer.assignment_count; i++)
		f->wanted[i].failed = false;
	pthread_mutex_unlock(&f->lock);
	atomic_store(&f->eager, true);
}

void trust_fetch_fault(struct trust_fetch *f, char ret_word[static TG_SYNC_FAULT_LEN])
{
	pthread_mutex_lock(&f->lock);
	strcpy(ret_word, f->fault);
	pthread_mutex_unlock(&f->lock);
}

/* ---- lineage ---- */

/* `model` has `len` characters, and more if that is all there was room for. */
static bool is_model(const struct lineage *l, const char *model, size_t len)
{
	return !strncmp(l->model, model, len) &&
	       (strnlen(model, len) == len || strlen(l->model) == strlen(model));
}

static bool find_lineage(struct trust_fetch *f, const char *model, size_t len, uint64_t release,
			 char ret_text[static TRUST_LINEAGE_SIZE])
{
	bool found = false;

	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; !found && i < f->lineage_count; i++) {
		found = f->lineages[i].release == release && is_model(&f->lineages[i], model, len);
		if (found)
			strcpy(ret_text, f->lineages[i].text);
	}
	pthread_mutex_unlock(&f->lock);
	return found;
}

/* In the event loop: vault is asked once, and has little time, for a release that came from a file just now.
 */
void trust_fetch_lineage(struct trust_fetch *f, const char *model, size_t len, uint64_t release,
			 char ret_text[static TRUST_LINEAGE_SIZE])
{
	struct tg_error e;
	json_t *status;

	ret_text[0] = '\0';
	if (!release || find_lineage(f, model, len, release, ret_text) ||
	    ask_status(f, QUICK_MS, &status, &e))
		return;
	json_decref(status);
	find_lineage(f, model, len, release, ret_text);
}

/* ---- documents ---- */

static int get_document(struct https *https, const struct tg_model_trust *document, struct bundle *bundle,
			struct tg_error *e)
{
	struct tg_bytes *const places[TG_TGSP_ROLES] = { [TG_TGSP_TARGETS] = &bundle->targets,
							 [TG_TGSP_SNAPSHOT] = &bundle->snapshot,
							 [TG_TGSP_TIMESTAMP] = &bundle->timestamp };
	struct tg_bytes bytes = { 0 };
	int ret = download_small(https, document->blob, document->size, &bytes, e);

	if (ret)
		return tg_error_prefix(e, ret, "%s", tg_tgsp_role_name(document->role));
	if (document->role == TG_TGSP_ROOT) {
		ret = bundle_add_root(bundle, &bytes, e);
		tg_bytes_free(&bytes);
	} else {
		*places[document->role] = bytes;
	}
	return ret;
}

/* What vault has in force is not brought again. */
static bool is_in_force(const struct tg_models_answer *answer, const json_t *trust)
{
	for (size_t i = 0; i < answer->trust_count; i++) {
		const struct tg_model_trust *document = &answer->trust[i];
		const char *name = tg_tgsp_role_name(document->role);

		if ((document->role == TG_TGSP_ROOT || document->role == TG_TGSP_TIMESTAMP) &&
		    (uint64_t)json_integer_value(json_object_get(trust, name)) < document->version)
			return false;
	}
	return true;
}

static int give_documents(struct trust_fetch *f, const struct bundle *bundle, struct tg_error *e)
{
	struct tg_bytes bytes = { 0 };
	int fd, ret = bundle_encode(bundle, &bytes, e);

	if (!ret)
		ret = connect_vault(f, ASK_SECONDS * 1000, &fd, e);
	if (!ret) {
		ret = download_give(fd, "documents", &bytes, &f->abort, e);
		close(fd);
	}
	tg_bytes_free(&bytes);
	return ret;
}

static void forget_documents(struct trust_fetch *f)
{
	bundle_clear(&f->documents);
	f->named_count = 0;
}

/* Those that vault refused are at hand when they are tried again: a clock may have been wrong. */
static int get_documents(struct trust_fetch *f, struct https *https, const struct tg_model_trust *trust,
			 size_t count, struct tg_error *e)
{
	int ret = 0;

	if (f->named_count == count && !memcmp(f->named, trust, count * sizeof(*trust)))
		return 0;
	forget_documents(f);
	for (size_t i = 0; !ret && i < count; i++)
		ret = get_document(https, &trust[i], &f->documents, e);
	if (ret)
		return ret;
	memcpy(f->named, trust, count * sizeof(*trust));
	f->named_count = count;
	return 0;
}

static int bring_documents(struct trust_fetch *f, struct https *https, const struct tg_models_answer *answer,
			   struct tg_error *e)
{
	size_t count = answer->trust_count;
	int ret;

	/* more roots follow in the next answer: what they sign cannot be judged before */
	if (count > TG_MODEL_ROOTS_MAX && answer->trust[TG_MODEL_ROOTS_MAX - 1].role == TG_TGSP_ROOT)
		count = TG_MODEL_ROOTS_MAX;
	ret = get_documents(f, https, answer->trust, count, e);
	if (!ret)
		ret = give_documents(f, &f->documents, e);
	if (!ret)
		forget_documents(f);
	return ret;
}

static void set_fault(struct trust_fetch *f, const char *word)
{
	pthread_mutex_lock(&f->lock);
	snprintf(f->fault, sizeof(f->fault), "%s", word);
	pthread_mutex_unlock(&f->lock);
}

static int documents(struct trust_fetch *f, const struct tg_models_answer *answer, const json_t *status,
		     struct tg_error *e)
{
	struct https *https;
	int ret;

	/* it comes with the enrolment, or from the operator: there is nothing to judge them by before */
	if (!json_is_true(json_object_get(json_object_get(status, "trust"), "rooted")))
		return tg_error(e, -ENOKEY, "this device has no first root for models");
	if (is_in_force(answer, json_object_get(status, "trust"))) {
		set_fault(f, "");
		return 0;
	}
	ret = trust_sync_link(&f->link, &https, e);
	if (!ret)
		ret = bring_documents(f, https, answer, e);
	/* what vault says of them; that they could not be had is another matter */
	set_fault(f, ret == -EPROTO ? "model-trust-refused" : "");
	return ret ? tg_error_prefix(e, ret, "trust documents") : 0;
}

/* ---- packages ---- */

static void set_coming(struct trust_fetch *f, const struct tg_model_assignment *package)
{
	pthread_mutex_lock(&f->lock);
	if (package)
		memcpy(f->coming, package->blob, sizeof(f->coming));
	else
		memset(f->coming, 0, sizeof(f->coming));
	pthread_mutex_unlock(&f->lock);
}

/* What became of a package, if that is still wanted. */
static void note(struct trust_fetch *f, const struct tg_model_assignment *package, int ret, bool refused,
		 const char *detail)
{
	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < f->answer.assignment_count; i++) {
		struct wanted *w = &f->wanted[i];

		if (memcmp(w->package.blob, package->blob, sizeof(package->blob)))
			continue;
		if (w->failed != refused)
			w->since = time(NULL);
		w->failed = refused;
		w->revoked = ret == -EKEYREVOKED;
		snprintf(w->detail, sizeof(w->detail), "%.*s", (int)sizeof(w->detail) - 1, detail);
	}
	pthread_mutex_unlock(&f->lock);
}

static bool is_here(const json_t *status, const struct tg_model_assignment *package)
{
	char manifest[2 * TG_SHA256_LEN + 1];
	const json_t *release;
	size_t i;

	tg_hex(package->manifest, TG_SHA256_LEN, manifest);
	json_array_foreach(json_object_get(status, "models"), i,
			   release) if (!strcmp(json_text(release, "manifest"), manifest)) return true;
	return false;
}

static int bring(struct trust_fetch *f, const struct tg_model_assignment *package, uint64_t *ret_moved,
		 bool *ret_refused, struct tg_error *e)
{
	struct https *https;
	int fd, ret = trust_sync_link(&f->link, &https, e);

	*ret_moved = 0;
	*ret_refused = false;
	/* vault may have much to hash before it says where to go on */
	if (!ret)
		ret = connect_vault(f, 0, &fd, e);
	if (ret)
		return ret;
	set_coming(f, package);
	ret = download_package(https, fd, package, &f->abort, ret_moved, ret_refused, e);
	set_coming(f, NULL);
	close(fd);
	return ret;
}

static int package_round(struct trust_fetch *f, const struct tg_model_assignment *package)
{
	struct tg_error e = { "" };
	char line[TG_TGSP_MAX_NAME + 64];
	uint64_t moved;
	bool refused;
	int ret = bring(f, package, &moved, &refused, &e);

	if (ret == -ECANCELED)
		return ret;
	note(f, package, ret, refused, ret ? e.message : "");
	/* a download that moves is not given up on; the first bytes of one that is refused are no such move
	 */
	if (moved && !refused)
		f->failures = 0;
	snprintf(line, sizeof(line), "%.64s, release %llu", package->model,
		 (unsigned long long)package->release);
	if (ret)
		say(f, line, e.message);
	return ret;
}

/* ---- the thread ---- */

static bool snapshot(struct trust_fetch *f, struct tg_models_answer *ret_answer)
{
	bool known;

	pthread_mutex_lock(&f->lock);
	known = f->known;
	if (known)
		*ret_answer = f->answer;
	pthread_mutex_unlock(&f->lock);
	return known;
}

/* 0 when all is there that should be. */
static int run_round(struct trust_fetch *f, const struct tg_models_answer *answer)
{
	struct tg_error e = { "" };
	json_t *status;
	int ret = ask_status(f, ASK_SECONDS * 1000, &status, &e), first = 0;

	if (!ret)
		ret = tell_assigned(f, &e);
	else
		return ret;
	if (!ret)
		ret = documents(f, answer, status, &e);
	if (ret)
		say(f, "models", e.message);
	/* documents that were refused leave the older ones in force, which may name the package; those that
	 * could not be had are waited for, or the package would be refused for want of them */
	first = ret;
	if (ret && ret != -EPROTO) {
		json_decref(status);
		return ret;
	}
	for (size_t i = 0; i < answer->assignment_count && !atomic_load(&f->abort); i++) {
		if (is_here(status, &answer->assignments[i]))
			continue;
		ret = package_round(f, &answer->assignments[i]);
		first = first ? first : ret;
	}
	json_decref(status);
	if (answer->assignment_count)
		tell_assigned(f, &e);
	return first;
}

static int after_failure(struct trust_fetch *f)
{
	int64_t ms = trust_sync_ms(RETRY_PERIOD, ++f->failures, (uint32_t)draw_number());

	f->next_ns = monotonic_ns() + (uint64_t)ms * 1000000;
	return (int)ms;
}

/* Milliseconds until the next round; -1: until there is something to do. */
static int one_round(struct trust_fetch *f, struct tg_models_answer *answer)
{
	uint64_t now = monotonic_ns();
	int ret;

	if (!snapshot(f, answer))
		return -1;
	/* a sync ended that brought nothing: that is no reason to hurry */
	if (!atomic_exchange(&f->eager, false) && f->failures && now < f->next_ns)
		return (int)((f->next_ns - now) / 1000000) + 1;
	ret = run_round(f, answer);
	/* a connection in an unknown state is not used again */
	if (ret)
		trust_sync_close(&f->link);
	if (!ret) {
		f->failures = 0;
		f->said[0] = '\0';
		return -1;
	}
	if (ret == -ECANCELED)
		return 0;
	return after_failure(f);
}

/* False: it is to end. */
static bool wait_for_work(struct trust_fetch *f, int ms)
{
	struct pollfd fd = { .fd = f->wake, .events = POLLIN };
	eventfd_t count;

	if (poll(&fd, 1, ms) > 0)
		eventfd_read(f->wake, &count);
	/* in this order: who stops it sets the other one first */
	atomic_store(&f->abort, false);
	return !atomic_load(&f->stop);
}

static void *run(void *ctx)
{
	struct trust_fetch *f = ctx;
	struct tg_models_answer *answer = malloc(sizeof(*answer));
	int ms = -1;

	while (answer && wait_for_work(f, ms))
		ms = one_round(f, answer);
	free(answer);
	return NULL;
}

int trust_fetch_start(const struct trust_conf *conf, struct trust_fetch **ret_fetch, struct tg_error *e)
{
	struct trust_fetch *f = calloc(1, sizeof(*f));
	sigset_t all, before;
	int ret;

	if (!f)
		return tg_error(e, -ENOMEM, "out of memory");
	f->conf = conf;
	f->link = (struct trust_sync){ .directory = conf->directory,
				       .secret = conf->secret,
				       .stop = &f->abort };
	pthread_mutex_init(&f->lock, NULL);
	f->wake = eventfd(0, EFD_CLOEXEC);
	/* signals are the event loop's; SIGPIPE is nobody's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = f->wake < 0 ? errno : pthread_create(&f->thread, NULL, run, f);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	f->running = !ret;
	if (ret) {
		trust_fetch_stop(f);
		return tg_error(e, -ret, "no thread to fetch models with: %s", strerror(ret));
	}
	*ret_fetch = f;
	return 0;
}

void trust_fetch_stop(struct trust_fetch *f)
{
	if (!f)
		return;
	atomic_store(&f->stop, true);
	atomic_store(&f->abort, true);
	if (f->running) {
		eventfd_write(f->wake, 1);
		pthread_join(f->thread, NULL);
	}
	trust_sync_close(&f->link);
	forget_documents(f);
	if (f->wake >= 0)
		close(f->wake);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

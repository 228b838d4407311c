/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "trust/audit.h"
#include "trust/fetch.h"
#include "trust/https.h"
#include "trust/keys.h"
#include "trust/refusal.h"
#include "trust/sync.h"

/* A connection, and who it is made as. */
struct trust_link {
	struct trust_identity identity;
	struct trust_store store;
	struct https_conf conf;
	struct https *https;
};

void trust_sync_close(struct trust_sync *sync)
{
	struct trust_link *link = sync->link;

	if (!link)
		return;
	https_close(link->https);
	trust_identity_clear(&link->identity);
	free(link);
	sync->link = NULL;
}

/* For one handshake: a TPM that serves one program at a time is free for the others in between. */
static int load_key(void *arg, EVP_PKEY **ret_key, struct tg_error *e)
{
	struct trust_link *link = arg;
	struct trust_keys keys = { 0 };
	int ret = trust_keys_load(&link->store, link->identity.folder, &keys, e);

	if (ret)
		return ret;
	EVP_PKEY_up_ref(keys.tls_pkey);
	*ret_key = keys.tls_pkey;
	trust_keys_close(&keys);
	return 0;
}

static int open_link(struct trust_sync *sync, struct tg_error *e)
{
	struct trust_link *link = calloc(1, sizeof(*link));
	int ret;

	if (!link)
		return tg_error(e, -ENOMEM, "out of memory");
	sync->link = link;
	ret = trust_identity_load(sync->directory, &link->identity, e);
	if (!ret && link->identity.refused[0])
		ret = tg_error(e, -EKEYREVOKED, "the Platform refuses this device for good: %s",
			       link->identity.refused);
	link->store = (struct trust_store){ link->identity.software, link->identity.tcti, sync->secret };
	link->conf = (struct https_conf){ .url = link->identity.platform,
					  .ca = &link->identity.platform_ca,
					  .certificate = &link->identity.certificate,
					  .load_key = load_key,
					  .arg = link,
					  .not_before = link->identity.times.issued,
					  .stop = sync->stop };
	return ret ? ret : https_open(&link->conf, &link->https, e);
}

/* The one that is kept, unless a renewal or an enrolment made another identity. */
static int ensure_link(struct trust_sync *sync, struct tg_error *e)
{
	int ret;

	if (sync->link && sync->link->identity.generation == trust_generation(sync->directory))
		return 0;
	trust_sync_close(sync);
	ret = open_link(sync, e);
	if (ret)
		trust_sync_close(sync);
	return ret;
}

int trust_sync_link(struct trust_sync *sync, struct https **ret_https, struct tg_error *e)
{
	int ret = ensure_link(sync, e);

	if (!ret)
		*ret_https = sync->link->https;
	return ret;
}

/* ---- policy ---- */

static void note_policy(struct trust_sync *sync, const struct tg_signed_policy *policy)
{
	sync->policy_end = policy->not_after;
	sync->policy_version = policy->version;
	sync->policy_offline = policy->offline;
}

/* A file that is not good any more is none: the Platform sends the policy again. */
static int64_t add_policy(struct trust_sync *sync, struct tg_sync_request *request)
{
	struct tg_signed_policy policy = { 0 };
	int64_t version = 0;

	sync->policy_end = 0;
	if (trust_policy_load(sync->directory, &sync->link->identity, &policy, NULL))
		return 0;
	if (!tg_signed_policy_hash(&policy, request->policy.hash, NULL)) {
		version = request->policy.version = policy.version;
		request->has_policy = true;
		note_policy(sync, &policy);
	}
	tg_signed_policy_clear(&policy);
	return version;
}

static int take_policy(struct trust_sync *sync, const struct tg_signed_policy *policy, int64_t floor,
		       struct tg_error *e)
{
	const struct trust_identity *identity = &sync->link->identity;
	const struct tg_policy_holder holder = { .key = &identity->policy_key,
						 .agent = identity->agent,
						 .fleet = identity->fleet,
						 .floor = floor };
	enum tg_policy_refusal refusal = tg_signed_policy_admit(policy, &holder, time(NULL), e);
	int ret;

	if (refusal) {
		snprintf(sync->refused, sizeof(sync->refused), "policy-refused:%s",
			 tg_policy_refusal_name(refusal));
		sync->refused_version = policy->version;
		return 0;
	}
	ret = trust_policy_save(sync->directory, policy, e);
	if (ret)
		return ret;
	note_policy(sync, policy);
	sync->news = true;
	return 0;
}

/* ---- audit ---- */

/* One signature for all of them. Without a key (the TPM is gone for a moment) they wait for the next time. */
static int sign_batch(struct trust_sync *sync, struct tg_bytes *ret_batch)
{
	struct tg_error e;
	EVP_PKEY *key = NULL;
	int ret = load_key(sync->link, &key, &e);

	if (!ret)
		ret = tg_audit_batch_make(sync->records, sync->record_count, key, ret_batch, &e);
	EVP_PKEY_free(key);
	return ret;
}

static void add_audit(struct trust_sync *sync, struct tg_sync_request *request)
{
	struct audit_kept kept = { .has_key = false };
	struct tg_error e;

	/* what is damaged is found when the answer is compared with it */
	if (!audit_kept_newest(sync->directory, &sync->unsaved, &kept, &e))
		request->audit.checkpoint = kept.head.size;
	request->has_audit = sync->record_count ? !sign_batch(sync, &request->audit.batch)
						: !kept.has_checkpoint || sync->unsaved.has_checkpoint;
}

/* It continues what this device has seen. The disk may stay behind: an older checkpoint is a witness too. */
static int witness(struct trust_sync *sync, const struct tg_audit_pull *pull)
{
	const char *note = (const char *)pull->checkpoint.data;
	struct tg_tlog_proof proof;
	struct audit_kept kept;
	int ret = audit_kept_newest(sync->directory, &sync->unsaved, &kept, &sync->ledger_error);

	tg_audit_pull_proof(pull, &proof);
	if (!ret)
		ret = audit_kept_advance(&kept, pull->key, note, pull->checkpoint.len, &proof,
					 &sync->ledger_error);
	if (ret)
		return ret;
	sync->unsaved = kept;
	if (!audit_kept_save(sync->directory, &kept, note, pull->checkpoint.len, &sync->unsaved_error))
		sync->unsaved.has_checkpoint = false;
	return 0;
}

/* Records are given up only for that. */
static void take_audit(struct trust_sync *sync, const struct tg_audit_pull *pull)
{
	int ret = witness(sync, pull);

	sync->ledger_refused = ret == -EKEYREJECTED;
	if (ret)
		return;
	snprintf(sync->audit_refused, sizeof(sync->audit_refused), "%s", pull->refused);
	if (!pull->refused[0])
		sync->audit_stored = pull->stored;
}

/* ---- the request ---- */

/* What cannot be written is said again with the next answer. */
static int take_keys(struct trust_sync *sync, const struct tg_keys_request *asked,
		     const struct tg_keys_answer *answer, struct tg_error *e)
{
	return trust_tunnels_take(&sync->tunnels, sync->directory, asked, answer, &sync->more_keys, e);
}

static int take_answer(struct trust_sync *sync, const struct tg_bytes *body, int64_t floor,
		       const struct tg_keys_request *asked, struct tg_error *e)
{
	struct tg_sync_answer answer;
	int ret = 0;

	if (tg_sync_answer_decode(body->data, body->len, &answer, e))
		return tg_error_prefix(e, -EBADMSG, "the Platform's answer");
	sync->period = answer.period;
	if (answer.has_audit)
		take_audit(sync, &answer.audit);
	if (answer.has_policy)
		ret = take_policy(sync, &answer.policy, floor, e);
	if (sync->fetch)
		trust_fetch_answer(sync->fetch, answer.has_models ? &answer.models : NULL);
	if (!ret && answer.has_keys && asked)
		ret = take_keys(sync, asked, &answer.keys, e);
	tg_sync_answer_clear(&answer);
	return ret;
}

/* For tg-load apply, and for whoever reads the identity next. */
static int note_revoked(struct trust_sync *sync, const char *reason, struct tg_error *e)
{
	struct tg_error second;

	if (trust_revoked_note(sync->directory, &sync->link->identity, reason, &second)) {
		snprintf(sync->unnoted, TRUST_REASON_LEN, "%s", reason);
		tg_error_prefix(e, -EKEYREVOKED, "%s", second.message);
	}
	sync->news = true;
	return -EKEYREVOKED;
}

static int post(struct trust_sync *sync, const struct tg_bytes *body, int64_t floor,
		const struct tg_keys_request *asked, struct tg_error *e)
{
	char reason[TRUST_REASON_LEN] = "";
	struct https_answer answer = { 0 };
	int ret = https_post(sync->link->https, "/v1/sync", body, false, &answer, e);

	sync->status = ret ? 0 : answer.status;
	if (!ret && answer.status != 200) {
		ret = trust_refusal(&answer, reason, e);
		sync->expired = !strcmp(reason, "certificate-expired");
		if (ret == -EKEYREVOKED)
			ret = note_revoked(sync, reason, e);
	} else if (!ret) {
		ret = take_answer(sync, &answer.body, floor, asked, e);
	}
	tg_bytes_free(&answer.body);
	return ret;
}

int trust_sync(struct trust_sync *sync, struct tg_error *e)
{
	struct tg_sync_request request = { .format = TG_SYNC_FORMAT, .heartbeat = sync->heartbeat };
	struct tg_bytes body = { 0 };
	int64_t floor;
	int ret;

	sync->news = false;
	sync->refused[0] = '\0';
	sync->status = 0;
	sync->expired = false;
	sync->audit_stored = 0;
	sync->audit_refused[0] = '\0';
	sync->more_keys = false;
	ret = ensure_link(sync, e);
	if (ret)
		return ret;
	floor = add_policy(sync, &request);
	add_audit(sync, &request);
	request.has_models = sync->fetch && !trust_fetch_request(sync->fetch, &request.models);
	request.has_keys = trust_tunnels_add(&sync->tunnels, sync->run_dir, &request.keys);
	ret = tg_sync_request_encode(&request, &body, e);
	tg_sync_request_clear(&request);
	if (!ret)
		ret = post(sync, &body, floor, request.has_keys ? &request.keys : NULL, e);
	tg_bytes_free(&body);
	/* a connection in an unknown state is not used again */
	if (ret)
		trust_sync_close(sync);
	return ret;
}

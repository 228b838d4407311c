/* SPDX-License-Identifier: BSD-3-Clause */
/* The second message: the evidence, and the certificate for it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "enrol/parts.h"
#include "http/limit.h"
#include "release/package.h"
#include "tensorguard/crypto.h"
#include "tensorguard/hex.h"

enum { ID_BYTES = 16 };

/* A certificate that is signed and has not been given out: it waits for the store. */
struct issue {
	struct store_job job;
	struct request_call call;
	struct request *request;	/* held */
	enum tg_enrol_kind kind;
	struct store_enrolment enrolment;
	enum store_refusal refusal;
	struct tg_bytes answer;
	char actor[STORE_TEXT_SIZE], token[STORE_NAME_SIZE];
};

static void issue_free(struct issue *issue)
{
	if (!issue)
		return;
	tg_bytes_free(&issue->answer);
	tg_bytes_free(&issue->enrolment.ek_chain);
	free(issue);
}

static const char *action_of(enum tg_enrol_kind kind)
{
	return kind == TG_ENROL ? "enrol" : "renew";
}

/* The change and its record are one. What was refused has changed nothing; its record, if any, stays. */
static int run(struct store *store, struct store_job *job, struct tg_error *e)
{
	struct issue *issue = (struct issue *)job;
	const struct store_enrolment *enrolment = &issue->enrolment;
	char detail[STORE_TEXT_SIZE];
	struct store_audit record = { .time = enrolment->now,
				      .actor = issue->actor,
				      .action = action_of(issue->kind),
				      .target = enrolment->agent.id,
				      .detail = detail };
	int ret;

	if (issue->kind == TG_ENROL)
		ret = store_enrol(store, enrolment, &issue->refusal, e);
	else
		ret = store_renew(store, enrolment, &issue->refusal, e);
	if (ret)
		return ret;
	if (issue->refusal && !platform_may_record(issue->request->context, enrolment->agent.id,
						   store_refusal_name(issue->refusal)))
		return 0;
	snprintf(detail, sizeof(detail), "fleet %s, %s, certificate %s%s%s", enrolment->agent.fleet,
		 tg_assurance_name((enum tg_assurance)enrolment->agent.level), enrolment->certificate.serial,
		 issue->token[0] ? ", token " : "", issue->token);
	record.outcome = store_refusal_name(issue->refusal);
	return store_audit_add(store, &record, e);
}

/* In the worker's thread: the transaction is on disk, or has failed. */
static void answer(struct request_call *call)
{
	struct issue *issue = (void *)((char *)call - offsetof(struct issue, call));
	struct request *request = issue->request;
	struct platform *platform = request->context;
	const char *reason = store_refusal_name(issue->refusal);

	if (issue->job.result) {
		enrol_fail(request, "store", &issue->job.error);
	} else if (issue->refusal) {
		metrics_refusal(&platform->metrics, reason);
		request_fail(request, 403, reason, "the certificate was not issued");
	} else {
		metrics_count(&platform->metrics,
			      issue->kind == TG_ENROL ? METRICS_ENROLMENTS : METRICS_RENEWALS);
		enrol_answer(request, &issue->answer);
	}
	request_release(request);
	issue_free(issue);
}

static void done(struct store_job *job)
{
	struct issue *issue = (struct issue *)job;

	issue->call.run = answer;
	request_call(issue->request, &issue->call);
}

/* Who the device is: the name of its token, the id that it has, or one that is made from its key. */
static void name_agent(const struct request *request, const struct session *session,
		       const struct tg_attest_result *result, struct store_agent *ret_agent)
{
	bool software = result->assurance == TG_ASSURANCE_SOFTWARE;
	struct store_agent known;

	memcpy(ret_agent->identity, software ? result->tls_key_hash : result->ek_hash, STORE_HASH_LEN);
	if (session->token.name[0])
		memcpy(ret_agent->id, session->token.name, sizeof(ret_agent->id));
	else if (!store_agent_find(request->store, ret_agent->identity, &known, NULL))
		memcpy(ret_agent->id, known.id, sizeof(ret_agent->id));
	else
		tg_hex(ret_agent->identity, ID_BYTES, ret_agent->id);
}

static void describe_agent(const struct request *request, const struct session *session,
			   const struct tg_attest_result *result, struct store_agent *ret_agent)
{
	if (session->kind == TG_RENEW) {
		*ret_agent = request->agent;
	} else {
		memcpy(ret_agent->fleet, session->fleet, sizeof(ret_agent->fleet));
		name_agent(request, session, result, ret_agent);
	}
	/* what the evidence was verified with: the agent may have enrolled again since */
	memcpy(ret_agent->ak_public, session->ak_public, session->ak_public_len);
	ret_agent->ak_public_len = session->ak_public_len;
	ret_agent->level = result->assurance;
	memcpy(ret_agent->hpke_point, result->hpke_point, sizeof(ret_agent->hpke_point));
}

/* Signs a certificate for the CSR's key. */
static int sign(const struct platform *platform, const struct tg_bytes *csr, const struct store_agent *agent,
		int64_t now, X509 **ret_cert, struct tg_error *e)
{
	struct tg_client client = { .kind = TG_CLIENT_AGENT };
	EVP_PKEY *key;
	int ret;

	memcpy(client.fleet, agent->fleet, sizeof(client.fleet));
	memcpy(client.id, agent->id, sizeof(client.id));
	ret = tg_request_parse(csr->data, csr->len, &key, e);
	if (ret)
		return ret;
	ret = tg_client_certificate(platform->keys.ca_key, platform->keys.ca_cert, key, &client, now,
				    platform->lifetime, ret_cert, e);
	EVP_PKEY_free(key);
	return ret;
}

/* The answer's text, ready before the store is asked: afterwards nothing may fail any more. */
static int make_answer(const struct request *request, struct issue *issue, X509 *cert, struct tg_error *e)
{
	const struct platform *platform = request->context;
	struct store_agent *agent = &issue->enrolment.agent;
	struct tg_enrol_issued issued = { .assurance = (enum tg_assurance)agent->level };
	int ret;

	memcpy(issued.agent, agent->id, sizeof(issued.agent));
	memcpy(issued.fleet, agent->fleet, sizeof(issued.fleet));
	ret = tg_certificate_end(cert, &issued.not_after, e);
	if (!ret)
		ret = tg_certificate_serial(cert, issue->enrolment.certificate.serial, e);
	if (!ret)
		ret = tg_certificate_pem(cert, &issued.certificate, e);
	if (!ret)
		ret = tg_certificate_pem(platform->keys.ca_cert, &issued.ca, e);
	if (!ret &&
	    tg_bytes_copy(platform->keys.policy_key.data, platform->keys.policy_key.len, &issued.policy_key))
		ret = tg_error(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = trust_first_root(request->store, platform->data, &issued.model_root, e);
	if (!ret)
		ret = tg_enrol_issued_encode(&issued, &issue->answer, e);
	agent->not_after = issued.not_after;
	issue->enrolment.certificate.not_after = issued.not_after;
	tg_enrol_issued_clear(&issued);
	return ret;
}

static int prepare(const struct request *request, const struct session *session,
		   const struct tg_attest_result *result, const struct tg_bytes *csr, struct issue *issue,
		   struct tg_error *e)
{
	const struct platform *platform = request->context;
	struct store_enrolment *enrolment = &issue->enrolment;
	X509 *cert = NULL;
	int ret;

	issue->kind = session->kind;
	enrolment->now = time(NULL);
	memcpy(enrolment->token_hash, session->token.hash, sizeof(enrolment->token_hash));
	memcpy(issue->token, session->token.id, sizeof(issue->token));
	snprintf(issue->actor, sizeof(issue->actor), "address %s", request->address);
	describe_agent(request, session, result, &enrolment->agent);
	ret = tg_attest_session_ek_chain(session->attest, &enrolment->ek_chain, e);
	if (!ret)
		ret = sign(platform, csr, &enrolment->agent, enrolment->now, &cert, e);
	if (!ret)
		ret = make_answer(request, issue, cert, e);
	X509_free(cert);
	return ret;
}

static void issue_certificate(struct request *request, const struct session *session,
			      const struct tg_attest_result *result, const struct tg_bytes *csr)
{
	struct platform *platform = request->context;
	struct issue *issue = calloc(1, sizeof(*issue));
	struct tg_error e = { "" };
	int ret;

	ret = issue ? prepare(request, session, result, csr, issue, &e)
		    : tg_error(&e, -ENOMEM, "out of memory");
	if (!ret) {
		issue->job.run = run;
		issue->job.done = done;
		issue->request = request_hold(request);
		ret = issue->request ? writer_submit(platform->writer, &issue->job) : -ENOMEM;
		if (!ret)
			return;
		tg_error(&e, ret, "too much waits for the store");
		if (issue->request)
			request_release(issue->request);
	}
	issue_free(issue);
	enrol_fail(request, "issue", &e);
}

static int verify(struct request *request, struct session *session, const struct tg_enrol_finish *finish,
		  struct tg_attest_result *ret_result, struct tg_error *e)
{
	uint8_t exporter[TG_EXPORTER_LEN];
	struct fleet_policy policy = { 0 };
	int ret;

	ret_result->reason = TG_ATTEST_INTERNAL;
	ret = request_exporter(request, exporter, sizeof(exporter), e);
	if (!ret)
		ret = fleet_policy_load(request->context, request->store, session->fleet, &policy, e);
	if (!ret)
		ret = tg_attest_verify(&policy.policy, session->attest, &finish->evidence, exporter,
				       time(NULL), ret_result, e);
	fleet_policy_clear(&policy);
	return ret;
}

/* Why this session is not this request's to finish, or NULL. */
static const char *foreign(const struct request *request, const struct session *session,
			   enum tg_enrol_kind kind)
{
	uint8_t exporter[TG_EXPORTER_LEN];

	if (!session)
		return "session-unknown";
	if (session->kind != kind || (kind == TG_RENEW && strcmp(session->agent, request->agent.id) != 0))
		return "session-of-another";
	if (request_exporter(request, exporter, sizeof(exporter), NULL) ||
	    !tg_equal(exporter, session->exporter, sizeof(exporter)))
		return "session-of-another-connection";
	return NULL;
}

static void finish_session(struct request *request, const struct tg_enrol_finish *finish,
			   enum tg_enrol_kind kind)
{
	struct platform *platform = request->context;
	struct session *session = sessions_take(platform->sessions, finish->session, limiter_clock_ms());
	struct subject subject = { action_of(kind), kind == TG_RENEW ? request->agent.id : "" };
	const char *reason = foreign(request, session, kind);
	struct tg_attest_result result = { 0 };
	struct tg_error e = { "" };
	int ret;

	if (session && kind == TG_ENROL)
		subject.target = session->token.id;
	if (reason) {
		tg_error(&e, 0, "there is no such session on this connection, or no longer");
		enrol_refuse(request, &subject, reason, &e);
	} else {
		ret = verify(request, session, finish, &result, &e);
		if (ret || result.assurance == TG_ASSURANCE_NONE)
			enrol_blame(request, &subject, ret, result.reason, &e);
		else
			issue_certificate(request, session, &result, &finish->evidence.csr);
	}
	session_free(session);
}

static void post_finish(struct request *request, enum tg_enrol_kind kind)
{
	struct subject subject = { action_of(kind), kind == TG_RENEW ? request->agent.id : "" };
	struct tg_enrol_finish finish;
	struct tg_error e = { "" };
	const char *body;
	size_t len;

	body = request_body(request, &len);
	if (tg_enrol_finish_decode(body, len, &finish, &e)) {
		enrol_refuse(request, &subject, "malformed", &e);
		return;
	}
	finish_session(request, &finish, kind);
	tg_enrol_finish_clear(&finish);
}

void post_enrol_finish(struct request *request)
{
	post_finish(request, TG_ENROL);
}

void post_renew_finish(struct request *request)
{
	post_finish(request, TG_RENEW);
}

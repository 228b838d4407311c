/* SPDX-License-Identifier: BSD-3-Clause */
/* The first message: who wants in, and the challenge for it. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "enrol/parts.h"
#include "http/limit.h"
#include "tensorguard/crypto.h"

/* The token as the store has it. True when the request goes on; `session` has the token and its fleet then.
 */
static bool token_valid(struct request *request, const char *secret, struct session *session, int64_t now)
{
	static const enum store_refusal refusals[] = { [TOKEN_USED] = STORE_TOKEN_USED,
						       [TOKEN_EXPIRED] = STORE_TOKEN_EXPIRED,
						       [TOKEN_REVOKED] = STORE_TOKEN_REVOKED };
	struct platform *platform = request->context;
	struct subject subject = { "enrol", "" };
	uint8_t hash[TG_SHA256_LEN];
	enum token_state state;
	struct tg_error e = { "" };
	int ret;

	ret = tg_sha256(&(struct tg_piece){ secret, strlen(secret) }, 1, hash, &e);
	if (!ret && !limiter_take(platform->by_token, hash, sizeof(hash), limiter_clock_ms())) {
		metrics_refusal(&platform->metrics, "rate");
		request_fail(request, 429, "rate", "too many attempts with this token, try again later");
		return false;
	}
	if (!ret)
		ret = store_token_find(request->store, hash, &session->token, &e);
	if (ret == -ENOENT)
		enrol_refuse(request, &subject, store_refusal_name(STORE_TOKEN_UNKNOWN), &e);
	else if (ret)
		enrol_fail(request, "store", &e);
	if (ret)
		return false;
	subject.target = session->token.id;
	state = store_token_state(&session->token, now);
	if (state != TOKEN_UNUSED) {
		tg_error(&e, 0, "this token cannot be used any more");
		enrol_refuse(request, &subject, store_refusal_name(refusals[state]), &e);
		return false;
	}
	memcpy(session->fleet, session->token.fleet, sizeof(session->fleet));
	return true;
}

static bool pin_matches(struct request *request, const struct session *session)
{
	struct subject subject = { "enrol", session->token.id };
	struct tg_error e = { "this token is for another TPM" };

	if (!session->token.pinned ||
	    tg_equal(session->token.ek_hash, tg_attest_session_ek_hash(session->attest), TG_SHA256_LEN))
		return true;
	enrol_refuse(request, &subject, store_refusal_name(STORE_TOKEN_PINNED), &e);
	return false;
}

/* The answer, and the session into the table. Takes over the session. */
static void give_challenge(struct request *request, struct session *session)
{
	bool renewal = session->kind == TG_RENEW;
	struct subject subject = { renewal ? "renew" : "enrol",
				   renewal ? session->agent : session->token.id };
	struct platform *platform = request->context;
	struct tg_error e = { "" };
	struct tg_bytes text;
	int ret;

	ret = request_exporter(request, session->exporter, sizeof(session->exporter), &e);
	if (!ret)
		ret = tg_enrol_challenge_encode(tg_attest_session_challenge(session->attest), &text, &e);
	if (ret) {
		session_free(session);
		enrol_fail(request, "challenge", &e);
		return;
	}
	if (sessions_put(platform->sessions, session, limiter_clock_ms())) {
		tg_bytes_free(&text);
		tg_error(&e, 0, "too many enrolments are under way, try again later");
		enrol_refuse(request, &subject, "busy", &e);
		session_free(session);
		return;
	}
	enrol_answer(request, &text);
}

/* For the store: a renewal is by the AK of the enrolment before it, and of no other. */
static int keep_ak(struct session *session, const uint8_t *ak_public, size_t len, struct tg_error *e)
{
	if (len > sizeof(session->ak_public))
		return tg_error(e, -EKEYREJECTED, "the AK's public area is too long");
	if (len)
		memcpy(session->ak_public, ak_public, len);
	session->ak_public_len = len;
	return 0;
}

static void begin_enrolment(struct request *request, const struct tg_enrol_start *start,
			    struct session *session, int64_t now)
{
	struct subject subject = { "enrol", session->token.id };
	enum tg_attest_reason reason = TG_ATTEST_MALFORMED;
	struct fleet_policy policy = { 0 };
	struct tg_error e = { "" };
	int ret;

	ret = keep_ak(session, start->claim.ak_public.data, start->claim.ak_public.len, &e);
	if (!ret)
		ret = fleet_policy_load(request->context, request->store, session->fleet, &policy, &e);
	if (!ret)
		ret = tg_attest_enrol_begin(&policy.policy, &start->claim, now, &session->attest, &reason,
					    &e);
	fleet_policy_clear(&policy);
	if (ret)
		enrol_blame(request, &subject, ret, reason, &e);
	else if (pin_matches(request, session)) {
		give_challenge(request, session);
		return;
	}
	session_free(session);
}

void post_enrol_start(struct request *request)
{
	struct subject subject = { "enrol", "" };
	struct tg_enrol_start start;
	struct session *session;
	struct tg_error e = { "" };
	int64_t now = time(NULL);
	const char *body;
	size_t len;

	body = request_body(request, &len);
	if (tg_enrol_start_decode(body, len, TG_ENROL, &start, &e)) {
		enrol_refuse(request, &subject, "malformed", &e);
		return;
	}
	session = calloc(1, sizeof(*session));
	if (!session) {
		tg_error(&e, -ENOMEM, "out of memory");
		enrol_fail(request, "memory", &e);
	} else if (token_valid(request, start.token, session, now)) {
		session->kind = TG_ENROL;
		begin_enrolment(request, &start, session, now);
	} else {
		session_free(session);
	}
	tg_enrol_start_clear(&start);
}

/* The device as it enrolled. */
static struct tg_attest_device device_of(struct store_agent *agent)
{
	struct tg_attest_device device = { .assurance = (enum tg_assurance)agent->level,
					   .ak_public = { agent->ak_public, agent->ak_public_len } };

	if (device.assurance != TG_ASSURANCE_SOFTWARE)
		memcpy(device.ek_hash, agent->identity, sizeof(device.ek_hash));
	return device;
}

static void begin_renewal(struct request *request, const struct tg_enrol_start *start, int64_t now)
{
	struct subject subject = { "renew", request->agent.id };
	struct session *session = calloc(1, sizeof(*session));
	enum tg_attest_reason reason = TG_ATTEST_INTERNAL;
	struct tg_attest_device device = device_of(&request->agent);
	struct fleet_policy policy = { 0 };
	struct tg_error e = { "" };
	int ret;

	ret = session ? keep_ak(session, request->agent.ak_public, request->agent.ak_public_len, &e)
		      : tg_error(&e, -ENOMEM, "out of memory");
	if (!ret)
		ret = store_ek_chain_get(request->store, request->agent.id, &device.ek_chain, &e);
	if (!ret)
		ret = fleet_policy_load(request->context, request->store, request->agent.fleet, &policy, &e);
	if (!ret)
		ret = tg_attest_renew_begin(&policy.policy, &device, &start->claim, now, &session->attest,
					    &reason, &e);
	fleet_policy_clear(&policy);
	tg_bytes_free(&device.ek_chain);
	if (ret) {
		enrol_blame(request, &subject, ret, reason, &e);
		session_free(session);
		return;
	}
	session->kind = TG_RENEW;
	memcpy(session->fleet, request->agent.fleet, sizeof(session->fleet));
	memcpy(session->agent, request->agent.id, sizeof(session->agent));
	give_challenge(request, session);
}

void post_renew_start(struct request *request)
{
	struct subject subject = { "renew", request->agent.id };
	struct tg_enrol_start start;
	struct tg_error e = { "" };
	const char *body;
	size_t len;

	body = request_body(request, &len);
	if (tg_enrol_start_decode(body, len, TG_RENEW, &start, &e)) {
		enrol_refuse(request, &subject, "malformed", &e);
		return;
	}
	begin_renewal(request, &start, time(NULL));
	tg_enrol_start_clear(&start);
}

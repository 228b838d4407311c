/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tensorguard/enrol.h"
#include "tensorguard/file.h"
#include "trust/exchange.h"
#include "trust/https.h"
#include "trust/policy.h"
#include "trust/refusal.h"

enum { CA_MAX = 256 * 1024, TRIES = 2 };

/* One enrolment or renewal. */
struct exchange {
	enum tg_enrol_kind kind;
	struct https *https;
	const struct trust_keys *keys;
	const char *event_log;		/* NULL: none */
	struct tg_enrol_start start;	/* token and claim */
	struct tg_enrol_issued issued;
	char reason[TRUST_REASON_LEN];	/* of a refusal */
};

static int post(struct exchange *x, const char *step, const struct tg_bytes *body, bool same,
		struct tg_bytes *ret_answer, struct tg_error *e)
{
	struct https_answer answer = { 0 };
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/v1/%s/%s", x->kind == TG_ENROL ? "enrol" : "renew", step);
	ret = https_post(x->https, path, body, same, &answer, e);
	if (!ret && answer.status != 200)
		ret = trust_refusal(&answer, x->reason, e);
	if (ret)
		tg_bytes_free(&answer.body);
	else
		*ret_answer = answer.body;
	return ret;
}

/* ---- the two messages ---- */

static int send_start(struct exchange *x, struct tg_attest_challenge *ret_challenge, struct tg_error *e)
{
	struct tg_bytes body = { 0 }, answer = { 0 };
	int ret = tg_enrol_start_encode(&x->start, x->kind, &body, e);

	if (!ret)
		ret = post(x, "start", &body, false, &answer, e);
	if (!ret && tg_enrol_challenge_decode(answer.data, answer.len, ret_challenge, e))
		ret = tg_error_prefix(e, -EBADMSG, "the Platform's challenge");
	tg_bytes_free(&body);
	tg_bytes_free(&answer);
	return ret;
}

/* Only over the connection that the evidence is bound to. */
static int send_finish(struct exchange *x, const struct tg_attest_challenge *challenge, struct tg_error *e)
{
	struct tg_bytes body = { 0 }, answer = { 0 };
	struct tg_enrol_finish finish = { 0 };
	int ret;

	memcpy(finish.session, challenge->session, sizeof(finish.session));
	ret = trust_evidence(x->keys, &x->start.claim, challenge, https_exporter(x->https), x->event_log,
			     &finish.evidence, e);
	if (!ret)
		ret = tg_enrol_finish_encode(&finish, &body, e);
	if (!ret)
		ret = post(x, "finish", &body, true, &answer, e);
	if (!ret && tg_enrol_issued_decode(answer.data, answer.len, &x->issued, e))
		ret = tg_error_prefix(e, -EBADMSG, "what the Platform issued");
	tg_enrol_finish_clear(&finish);
	tg_bytes_free(&body);
	tg_bytes_free(&answer);
	return ret;
}

static int try_once(struct exchange *x, struct tg_error *e)
{
	struct tg_attest_challenge challenge = { 0 };
	int ret = send_start(x, &challenge, e);

	if (!ret)
		ret = send_finish(x, &challenge, e);
	tg_attest_challenge_clear(&challenge);
	return ret;
}

/* A connection that was lost between the messages costs nothing but a new beginning: no token was used. */
static int run(struct exchange *x, struct tg_error *e)
{
	int ret = trust_claim(x->keys, x->kind == TG_RENEW, &x->start.claim, e);

	for (int i = 0; !ret && i < TRIES; i++) {
		ret = try_once(x, e);
		if (ret != -ESTALE)
			return ret;
		ret = i + 1 < TRIES ? 0 : ret;
	}
	return ret;
}

static void clear(struct exchange *x)
{
	https_close(x->https);
	tg_enrol_start_clear(&x->start);
	tg_enrol_issued_clear(&x->issued);
}

/* ---- what was issued ---- */

static int read_certificate(const struct tg_bytes *pem, X509 **ret_certificate)
{
	BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);

	*ret_certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	return *ret_certificate ? 0 : -EBADMSG;
}

static int64_t seconds_of(const ASN1_TIME *time)
{
	struct tm tm;

	return ASN1_TIME_to_tm(time, &tm) == 1 ? timegm(&tm) : -1;
}

/* A certificate for somebody else, or for another key, is of no use, whoever made the mistake. */
static int check_issued(const struct exchange *x, X509 *certificate, X509 *ca, struct tg_error *e)
{
	struct tg_client client;
	EVP_PKEY *key = X509_get0_pubkey(certificate), *ca_key = X509_get0_pubkey(ca);

	if (!key || EVP_PKEY_eq(key, x->keys->tls_pkey) != 1)
		return tg_error(e, -EBADMSG, "the Platform issued a certificate for another key");
	if (!ca_key || X509_verify(certificate, ca_key) != 1)
		return tg_error(e, -EBADMSG, "the Platform issued a certificate that its CA did not sign");
	if (tg_certificate_client(certificate, &client, e) || client.kind != TG_CLIENT_AGENT ||
	    strcmp(client.id, x->issued.agent) || strcmp(client.fleet, x->issued.fleet))
		return tg_error(e, -EBADMSG, "the Platform issued a certificate for another name");
	return 0;
}

/*
 * The certificate begins a fixed time before the Platform issued it, and so tells what its clock says: what
 * is compared later is time that has passed, not two clocks.
 */
static int take_times(const X509 *certificate, int64_t now, struct trust_times *ret_times, struct tg_error *e)
{
	int64_t begin = seconds_of(X509_get0_notBefore(certificate));
	int64_t end = seconds_of(X509_get0_notAfter(certificate));

	if (begin < 0 || end < begin + TG_CLOCK_SKEW_SECONDS)
		return tg_error(e, -EBADMSG, "the Platform issued a certificate without a lifetime");
	begin += TG_CLOCK_SKEW_SECONDS;
	*ret_times = (struct trust_times){ begin, end, now - begin };
	return 0;
}

static int take_issued(struct exchange *x, struct trust_identity *identity, struct tg_error *e)
{
	X509 *certificate = NULL, *ca = NULL;
	int ret = read_certificate(&x->issued.certificate, &certificate);

	if (!ret)
		ret = read_certificate(&x->issued.ca, &ca);
	ret = ret ? tg_openssl_error(e, ret, "what the Platform issued")
		  : check_issued(x, certificate, ca, e);
	if (!ret)
		ret = take_times(certificate, time(NULL), &identity->times, e);
	X509_free(certificate);
	X509_free(ca);
	if (ret)
		return ret;
	strcpy(identity->agent, x->issued.agent);
	strcpy(identity->fleet, x->issued.fleet);
	identity->assurance = x->issued.assurance;
	tg_bytes_free(&identity->certificate);
	tg_bytes_free(&identity->ca);
	identity->certificate = x->issued.certificate;
	identity->ca = x->issued.ca;
	x->issued.certificate = x->issued.ca = (struct tg_bytes){ 0 };
	/* pinned once: what a renewal says of it changes nothing */
	if (!identity->policy_key.len) {
		identity->policy_key = x->issued.policy_key;
		x->issued.policy_key = (struct tg_bytes){ 0 };
	}
	if (!identity->model_root.len) {
		identity->model_root = x->issued.model_root;
		x->issued.model_root = (struct tg_bytes){ 0 };
	}
	return 0;
}

/* Keys on the disk, then the two messages, then the identity beside the keys. */
static int carry_out(struct exchange *x, struct trust_draft *draft, const struct trust_store *store,
		     struct trust_identity *identity, struct tg_error *e)
{
	int ret = trust_keys_save(x->keys, store, draft->place, e);

	if (!ret)
		ret = run(x, e);
	if (!ret)
		ret = take_issued(x, identity, e);
	return ret ? ret : trust_draft_commit(draft, identity, e);
}

/* ---- enrolment ---- */

static int read_token(const char *path, char ret_token[static TG_TOKEN_LEN], struct tg_error *e)
{
	struct tg_bytes text = { 0 };
	int ret = tg_file_read(path, TG_TOKEN_LEN, &text, e);
	size_t len = text.len;

	if (ret)
		return ret;
	while (len && (text.data[len - 1] == '\n' || text.data[len - 1] == '\r'))
		len--;
	if (!len || len >= TG_TOKEN_LEN)
		ret = tg_error(e, -EINVAL, "%s: expected one token in one line", path);
	for (size_t i = 0; !ret && i < len; i++)
		if (text.data[i] <= ' ' || text.data[i] > '~')
			ret = tg_error(e, -EINVAL, "%s: expected one token in one line", path);
	if (!ret) {
		memcpy(ret_token, text.data, len);
		ret_token[len] = '\0';
	}
	tg_bytes_free(&text);
	return ret;
}

/* A TPM's own firmware log belongs to the machine's TPM, and to no other that a TCTI may name. */
static const char *log_of(const struct trust_enrolment *enrolment)
{
	if (enrolment->event_log)
		return enrolment->event_log;
	if (!enrolment->tcti || !*enrolment->tcti || !strncmp(enrolment->tcti, "device", 6))
		return TG_TPM_EVENT_LOG;
	return "";
}

static int copy_name(const char *what, const char *value, char *ret_text, size_t room, struct tg_error *e)
{
	if (strlen(value) >= room)
		return tg_error(e, -EINVAL, "%s: too long", what);
	strcpy(ret_text, value);
	return 0;
}

static int describe(const struct trust_enrolment *enrolment, struct trust_identity *identity,
		    struct tg_error *e)
{
	int ret = https_check_url(enrolment->platform, e);

	identity->software = enrolment->software;
	if (!ret)
		ret = copy_name("--platform", enrolment->platform, identity->platform,
				sizeof(identity->platform), e);
	if (!ret && !enrolment->software)
		ret = copy_name("--tpm", enrolment->tcti ? enrolment->tcti : "", identity->tcti,
				sizeof(identity->tcti), e);
	if (!ret && !enrolment->software)
		ret = copy_name("--event-log", log_of(enrolment), identity->event_log,
				sizeof(identity->event_log), e);
	if (!ret && enrolment->ca_file)
		ret = tg_file_read(enrolment->ca_file, CA_MAX, &identity->platform_ca, e);
	return ret;
}

static const char *event_log_of(const struct trust_identity *identity)
{
	return identity->event_log[0] ? identity->event_log : NULL;
}

static int check_free(const struct trust_enrolment *enrolment, struct tg_error *e)
{
	struct trust_identity identity = { 0 };
	int ret = trust_identity_load(enrolment->directory, &identity, e);
	bool in_force = !ret && !identity.refused[0] && trust_left(&identity.times, time(NULL)) > 0;

	if (in_force && !enrolment->replace)
		ret = tg_error(e, -EEXIST,
			       "this device is enrolled as %s in fleet %s; --replace enrols it anew",
			       identity.agent, identity.fleet);
	else
		ret = 0;
	trust_identity_clear(&identity);
	return ret;
}

static int enrol(const struct trust_enrolment *enrolment, struct trust_draft *draft,
		 struct trust_identity *identity, struct tg_error *e)
{
	const struct trust_store store = { enrolment->software, identity->tcti, enrolment->secret };
	const struct https_conf conf = { .url = identity->platform, .ca = &identity->platform_ca };
	struct trust_keys keys = { 0 };
	struct exchange x = { .kind = TG_ENROL, .keys = &keys, .event_log = event_log_of(identity) };
	int ret = read_token(enrolment->token_file, x.start.token, e);

	if (!ret)
		ret = trust_keys_create(&store, &keys, e);
	if (!ret)
		ret = https_open(&conf, &x.https, e);
	if (!ret)
		ret = carry_out(&x, draft, &store, identity, e);
	clear(&x);
	trust_keys_close(&keys);
	return ret;
}

int trust_enrol(const struct trust_enrolment *enrolment, struct trust_identity *ret_identity,
		struct tg_error *e)
{
	struct trust_identity identity = { 0 };
	struct trust_draft draft;
	int ret = describe(enrolment, &identity, e);

	if (!ret)
		ret = check_free(enrolment, e);
	if (!ret)
		ret = trust_draft_begin(enrolment->directory, &draft, e);
	if (!ret) {
		ret = enrol(enrolment, &draft, &identity, e);
		trust_draft_end(&draft);
	}
	if (!ret && !geteuid())
		ret = trust_pin_forget(enrolment->directory, e);
	if (ret)
		trust_identity_clear(&identity);
	else
		*ret_identity = identity;
	return ret;
}

/* ---- renewal ---- */

static int renew(const struct trust_renewal *renewal, struct trust_draft *draft,
		 struct trust_identity *identity, struct exchange *x, struct tg_error *e)
{
	const struct trust_store store = { identity->software, identity->tcti, renewal->secret };
	struct trust_keys old = { 0 }, keys = { 0 };
	struct https_conf conf = { .url = identity->platform,
				   .ca = &identity->platform_ca,
				   .certificate = &identity->certificate,
				   .not_before = identity->times.issued,
				   .stop = renewal->stop };
	int ret = trust_keys_load(&store, identity->folder, &old, e);

	if (!ret)
		ret = trust_keys_renew(&old, &keys, e);
	conf.key = old.tls_pkey;
	x->keys = &keys;
	if (!ret)
		ret = https_open(&conf, &x->https, e);
	if (!ret)
		ret = carry_out(x, draft, &store, identity, e);
	clear(x);
	trust_keys_close(&keys);
	trust_keys_close(&old);
	return ret;
}

/* A note that cannot be written is no reason to go on asking: whoever called knows it. */
static int note_refusal(const struct trust_renewal *renewal, const struct trust_identity *identity,
			const char *reason, struct tg_error *e)
{
	struct tg_error second;

	if (!trust_revoked_note(renewal->directory, identity, reason, &second))
		return -EKEYREVOKED;
	snprintf(renewal->unnoted, TRUST_REASON_LEN, "%s", reason);
	return tg_error_prefix(e, -EKEYREVOKED, "%s", second.message);
}

static int renew_locked(const struct trust_renewal *renewal, struct trust_draft *draft,
			struct trust_identity *identity, struct tg_error *e)
{
	struct exchange x = { .kind = TG_RENEW };
	int ret = trust_identity_load(renewal->directory, identity, e);

	if (ret)
		return ret;
	if (identity->refused[0])
		return tg_error(e, -EKEYREVOKED, "the Platform refuses this device for good: %s",
				identity->refused);
	x.event_log = event_log_of(identity);
	ret = renew(renewal, draft, identity, &x, e);
	return ret == -EKEYREVOKED ? note_refusal(renewal, identity, x.reason, e) : ret;
}

int trust_renew(const struct trust_renewal *renewal, struct trust_identity *ret_identity, struct tg_error *e)
{
	struct trust_identity identity = { 0 };
	struct trust_draft draft;
	int ret = trust_draft_begin(renewal->directory, &draft, e);

	if (ret)
		return ret;
	ret = renew_locked(renewal, &draft, &identity, e);
	trust_draft_end(&draft);
	if (ret)
		trust_identity_clear(&identity);
	else
		*ret_identity = identity;
	return ret;
}

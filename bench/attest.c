/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * attest rsa|p256 MILLISECONDS: how many enrolments one core verifies, from message
 * to message: start decoded, EK chain, templates, credential; finish decoded, CSR,
 * proof, both certify statements, quote, event log; certificate made and encoded.
 * Prints enrolments per second of processor time; what the fake TPM needs does not
 * count.
 */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "faketpm.h"
#include "tensorguard/enrol.h"

static const uint8_t exporter[TG_EXPORTER_LEN] = "the exporter of this connection";

struct platform {
	struct tg_attest_policy policy;
	EVP_PKEY *key;
	X509 *ca;
	struct tg_bytes ca_text;
};

static void must(int ret, const struct tg_error *e)
{
	if (!ret)
		return;
	fprintf(stderr, "attest: %s\n", e->message);
	exit(EXIT_FAILURE);
}

static double processor_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void first_half(const struct platform *p, const struct tg_bytes *text,
		       struct tg_attest_session **ret_session, struct tg_bytes *ret_challenge)
{
	struct tg_enrol_start start;
	enum tg_attest_reason reason;
	struct tg_error e;

	must(tg_enrol_start_decode(text->data, text->len, TG_ENROL, &start, &e), &e);
	must(tg_attest_enrol_begin(&p->policy, &start.claim, FAKE_NOW, ret_session, &reason, &e), &e);
	must(tg_enrol_challenge_encode(tg_attest_session_challenge(*ret_session), ret_challenge, &e), &e);
	tg_enrol_start_clear(&start);
}

static void issue(const struct platform *p, const struct tg_attest_evidence *evidence,
		  const struct tg_attest_result *result)
{
	const struct tg_client client = { TG_CLIENT_AGENT, "fleet", "device" };
	struct tg_enrol_issued issued = { .agent = "device",
					  .fleet = "fleet",
					  .assurance = result->assurance };
	struct tg_bytes text;
	EVP_PKEY *key;
	X509 *certificate;
	struct tg_error e;

	must(tg_request_parse(evidence->csr.data, evidence->csr.len, &key, &e), &e);
	must(tg_client_certificate(p->key, p->ca, key, &client, FAKE_NOW, TG_AGENT_SECONDS_MAX, &certificate,
				   &e),
	     &e);
	must(tg_certificate_end(certificate, &issued.not_after, &e), &e);
	must(tg_certificate_pem(certificate, &issued.certificate, &e), &e);
	issued.ca = p->ca_text;
	issued.policy_key = p->ca_text;	/* nobody decodes it here */
	must(tg_enrol_issued_encode(&issued, &text, &e), &e);
	tg_bytes_free(&text);
	tg_bytes_free(&issued.certificate);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void second_half(const struct platform *p, struct tg_attest_session *session,
			const struct tg_bytes *text)
{
	struct tg_attest_result result;
	struct tg_enrol_finish finish;
	struct tg_error e;

	must(tg_enrol_finish_decode(text->data, text->len, &finish, &e), &e);
	must(tg_attest_verify(&p->policy, session, &finish.evidence, exporter, FAKE_NOW, &result, &e), &e);
	issue(p, &finish.evidence, &result);
	tg_enrol_finish_clear(&finish);
}

/* Processor time that the Platform spends on one enrolment. */
static double enrol(const struct platform *p, const struct fake *fake, const struct tg_bytes *start)
{
	struct tg_enrol_finish finish = { 0 };
	struct tg_attest_session *session;
	struct tg_bytes challenge, text;
	struct tg_error e;
	double begin = processor_seconds(), spent;

	first_half(p, start, &session, &challenge);
	spent = processor_seconds() - begin;
	fake_answer(fake, tg_attest_session_challenge(session), exporter, false, &finish.evidence);
	must(tg_enrol_finish_encode(&finish, &text, &e), &e);
	begin = processor_seconds();
	second_half(p, session, &text);
	tg_attest_session_free(session);
	spent += processor_seconds() - begin;
	tg_enrol_finish_clear(&finish);
	tg_bytes_free(&text);
	tg_bytes_free(&challenge);
	return spent;
}

int main(int argc, char **argv)
{
	struct platform p = { .policy = { .allowed = TG_ALLOW(TG_ASSURANCE_TPM_ATTESTED),
					  .pcr_mask = 0xff } };
	struct tg_enrol_start start = { .token = "0123456789abcdef0123456789abcdef" };
	double spent = 0, limit = argc == 3 ? atof(argv[2]) / 1000 : 0;
	struct tg_bytes text;
	unsigned count = 0;
	struct fake *fake;
	struct tg_error e;

	if (limit <= 0 || (strcmp(argv[1], "rsa") != 0 && strcmp(argv[1], "p256") != 0)) {
		fprintf(stderr, "Usage: %s rsa|p256 MILLISECONDS\n", argv[0]);
		return 2;
	}
	fake = fake_new(&(struct fake_options){ .ek_ecc = !strcmp(argv[1], "p256") });
	p.policy.roots = fake_roots(fake);
	must(tg_p256_generate(&p.key, &e), &e);
	must(tg_ca_make(p.key, "bench", FAKE_NOW, 86400, &p.ca, &e), &e);
	must(tg_certificate_pem(p.ca, &p.ca_text, &e), &e);
	start.claim = fake->claim;
	must(tg_enrol_start_encode(&start, TG_ENROL, &text, &e), &e);
	enrol(&p, fake, &text);	/* OpenSSL fetches its algorithms once */
	for (; spent < limit; count++)
		spent += enrol(&p, fake, &text);
	printf("%.1f\n", count / spent);
	tg_bytes_free(&text);
	tg_bytes_free(&p.ca_text);
	X509_free(p.ca);
	EVP_PKEY_free(p.key);
	tg_attest_roots_free((struct tg_attest_roots *)p.policy.roots);
	fake_free(fake);
	return EXIT_SUCCESS;
}

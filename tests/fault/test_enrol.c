/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whatever fails, nothing is attested: each allocation of OpenSSL, of jansson and
 * of lib in a whole enrolment fails once, with and without all that follow.
 * (CVE-2022-3500, CVE-2023-3674: verifiers whose error paths ended in "attested".)
 *
 * The linker gives lib's calls of malloc to __wrap_malloc (mk/tests.mk).
 */
#include <errno.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "faketpm.h"
#include "harness.h"
#include "tensorguard/enrol.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool armed;
static bool all_following;	/* not only the one */
static unsigned long allocations, failing;

static bool fails(void)
{
	if (!armed)
		return false;
	allocations++;
	return allocations == failing || (all_following && allocations > failing);
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : __real_malloc(size);
}

static void *openssl_realloc(void *old, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : realloc(old, size);
}

static void openssl_free(void *data, const char *file, int line)
{
	(void)file;
	(void)line;
	free(data);
}

/* OpenSSL takes these only before its first allocation. */
__attribute__((constructor)) static void intercept(void)
{
	if (CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) != 1)
		abort();
	json_set_alloc_funcs(__wrap_malloc, free);
}

static const uint8_t exporter[TG_EXPORTER_LEN] = "the exporter of this connection";

struct fixture {
	struct fake *fake;
	struct tg_attest_policy policy;
	struct tg_bytes start;	/* as JSON */
};

static void setup(struct fixture *f, const struct fake_options *options)
{
	struct tg_enrol_start start = { .token = "token" };

	f->fake = fake_new(options);
	f->policy = (struct tg_attest_policy){ .roots = fake_roots(f->fake),
					       .allowed = TG_ALLOW(TG_ASSURANCE_TPM_ATTESTED),
					       .pcr_mask = 0xff };
	start.claim = f->fake->claim;
	CU_ASSERT_EQUAL_FATAL(tg_enrol_start_encode(&start, TG_ENROL, &f->start, NULL), 0);
}

static void teardown(struct fixture *f)
{
	tg_bytes_free(&f->start);
	tg_attest_roots_free((struct tg_attest_roots *)f->policy.roots);
	fake_free(f->fake);
}

/* First half, from the message on. */
static int begin(const struct fixture *f, struct tg_attest_session **session, enum tg_attest_reason *reason)
{
	struct tg_enrol_start start = { 0 };
	struct tg_error e;
	int ret = tg_enrol_start_decode(f->start.data, f->start.len, TG_ENROL, &start, &e);

	if (!ret)
		ret = tg_attest_enrol_begin(&f->policy, &start.claim, FAKE_NOW, session, reason, &e);
	tg_enrol_start_clear(&start);
	return ret;
}

/* Second half, from the message on. */
static int verify(const struct fixture *f, struct tg_attest_session *session, const struct tg_bytes *text,
		  struct tg_attest_result *result)
{
	struct tg_enrol_finish finish = { 0 };
	struct tg_error e;
	int ret = tg_enrol_finish_decode(text->data, text->len, &finish, &e);

	if (!ret)
		ret = tg_attest_verify(&f->policy, session, &finish.evidence, exporter, FAKE_NOW, result, &e);
	tg_enrol_finish_clear(&finish);
	return ret;
}

static struct tg_bytes answer(const struct fixture *f, const struct tg_attest_session *session)
{
	struct tg_enrol_finish finish = { 0 };
	struct tg_bytes text;

	fake_answer(f->fake, tg_attest_session_challenge(session), exporter, false, &finish.evidence);
	CU_ASSERT_EQUAL_FATAL(tg_enrol_finish_encode(&finish, &text, NULL), 0);
	tg_enrol_finish_clear(&finish);
	return text;
}

static void arm(unsigned long n, bool following)
{
	allocations = 0;
	failing = n;
	all_following = following;
	armed = true;
}

/* One allocation may fail without harm, most of OpenSSL's are for caches and messages; all that follow may
 * not. */
static void fail_begin(const struct fixture *f, bool following)
{
	unsigned long n, refused = 0;

	for (n = 1;; n++) {
		struct tg_attest_session *session = NULL;
		enum tg_attest_reason reason = TG_ATTEST_INTERNAL;
		int ret;

		arm(n, following);
		ret = begin(f, &session, &reason);
		armed = false;
		if (ret) {
			CU_ASSERT_PTR_NULL(session);
			CU_ASSERT_NOT_EQUAL(reason, TG_ATTEST_ACCEPTED);
			refused++;
		}
		tg_attest_session_free(session);
		if (allocations < n)
			break;
		if (following && !ret)
			CU_FAIL("it needed no memory after all");
	}
	CU_ASSERT(n > 100 && refused > 100);
	printf("# first half%s: %lu allocations, %lu refused\n", following ? ", all that follow" : "", n - 1,
	       refused);
}

static bool all_zero_but_reason(struct tg_attest_result result)
{
	struct tg_attest_result nothing = { .reason = result.reason };

	return !memcmp(&result, &nothing, sizeof(nothing));
}

static void fail_verify(const struct fixture *f, bool following)
{
	unsigned long n, refused = 0;

	for (n = 1;; n++) {
		struct tg_attest_session *session = NULL;
		struct tg_attest_result result = { 0 };
		enum tg_attest_reason reason;
		struct tg_bytes text;
		int ret;

		CU_ASSERT_EQUAL_FATAL(begin(f, &session, &reason), 0);
		text = answer(f, session);
		arm(n, following);
		ret = verify(f, session, &text, &result);
		armed = false;
		if (ret) {
			CU_ASSERT(all_zero_but_reason(result));
			CU_ASSERT_EQUAL(result.assurance, TG_ASSURANCE_NONE);
			CU_ASSERT_NOT_EQUAL(result.reason, TG_ATTEST_ACCEPTED);
			refused++;
		} else {
			CU_ASSERT_EQUAL(result.assurance, TG_ASSURANCE_TPM_ATTESTED);
		}
		tg_bytes_free(&text);
		tg_attest_session_free(session);
		if (allocations < n)
			break;
		if (following && !ret)
			CU_FAIL("it needed no memory after all");
	}
	CU_ASSERT(n > 100 && refused > 100);
	printf("# second half%s: %lu allocations, %lu refused\n", following ? ", all that follow" : "", n - 1,
	       refused);
}

enum { STRIDE = 3 };

static void spoil_quote(struct tg_attest_evidence *evidence)
{
	evidence->quote.signature.data[evidence->quote.signature.len - 1] ^= 1;
}

static void spoil_proof(struct tg_attest_evidence *evidence)
{
	evidence->proof.data[0] ^= 1;
}

static void spoil_certify(struct tg_attest_evidence *evidence)
{
	struct tg_attest_statement tls = evidence->certify_tls;

	evidence->certify_tls = evidence->certify_hpke;
	evidence->certify_hpke = tls;
}

static void spoil_pcrs(struct tg_attest_evidence *evidence)
{
	evidence->pcrs.data[0] ^= 1;
}

static void spoil_request(struct tg_attest_evidence *evidence)
{
	evidence->csr.data[evidence->csr.len - 1] ^= 1;
}

/* Evidence that is wrong stays refused whichever allocation fails. */
static void fail_refusal(const struct fixture *f, void (*spoil)(struct tg_attest_evidence *),
			 unsigned long first)
{
	unsigned long n;

	for (n = first;; n += STRIDE) {
		struct tg_attest_session *session = NULL;
		struct tg_attest_result result = { 0 };
		enum tg_attest_reason reason;
		struct tg_enrol_finish finish = { 0 };
		struct tg_bytes text;

		CU_ASSERT_EQUAL_FATAL(begin(f, &session, &reason), 0);
		fake_answer(f->fake, tg_attest_session_challenge(session), exporter, false, &finish.evidence);
		spoil(&finish.evidence);
		CU_ASSERT_EQUAL_FATAL(tg_enrol_finish_encode(&finish, &text, NULL), 0);
		arm(n, false);
		CU_ASSERT_NOT_EQUAL(verify(f, session, &text, &result), 0);
		armed = false;
		CU_ASSERT(all_zero_but_reason(result) && result.reason != TG_ATTEST_ACCEPTED);
		tg_enrol_finish_clear(&finish);
		tg_bytes_free(&text);
		tg_attest_session_free(session);
		if (allocations < n)
			break;
	}
	CU_ASSERT(n > 100);
}

/* A wrong EK certificate stays refused whichever allocation fails. */
static void fail_certificate(enum fake_certificate certificate, unsigned long first)
{
	struct fixture f;
	unsigned long n;

	setup(&f, &(struct fake_options){ .ek_ecc = true, .certificate = certificate });
	for (n = first;; n += STRIDE) {
		struct tg_attest_session *session = NULL;
		enum tg_attest_reason reason = TG_ATTEST_INTERNAL;

		arm(n, false);
		CU_ASSERT_NOT_EQUAL(begin(&f, &session, &reason), 0);
		armed = false;
		CU_ASSERT_PTR_NULL(session);
		CU_ASSERT_NOT_EQUAL(reason, TG_ATTEST_ACCEPTED);
		tg_attest_session_free(session);
		if (allocations < n)
			break;
	}
	CU_ASSERT(n > 100);
	teardown(&f);
}

TEST(fault, what_is_wrong_stays_refused)
{
	static void (*const spoils[])(struct tg_attest_evidence *) = { spoil_quote, spoil_proof,
								       spoil_certify, spoil_pcrs,
								       spoil_request };
	struct fixture f;

	setup(&f, &(struct fake_options){ .ek_ecc = true });
	for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++)
		fail_refusal(&f, spoils[i], 1 + i % STRIDE);
	teardown(&f);
}

TEST(fault, wrong_certificates_stay_refused)
{
	static const enum fake_certificate kinds[] = {
		FAKE_CERTIFICATE_OTHER_ROOT,       FAKE_CERTIFICATE_CA,        FAKE_CERTIFICATE_NO_PURPOSE,
		FAKE_CERTIFICATE_NO_NAME,          FAKE_CERTIFICATE_OTHER_KEY, FAKE_CERTIFICATE_EXPIRED,
		FAKE_CERTIFICATE_UNKNOWN_CRITICAL,
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		fail_certificate(kinds[i], 1 + i % STRIDE);
}

TEST(fault, no_failed_allocation_ends_in_attested_with_rsa)
{
	struct fixture f;

	setup(&f, &(struct fake_options){ .ak_rsa = true });
	fail_begin(&f, false);
	fail_begin(&f, true);
	fail_verify(&f, false);
	fail_verify(&f, true);
	teardown(&f);
}

TEST(fault, no_failed_allocation_ends_in_attested_with_p256)
{
	struct fixture f;

	setup(&f, &(struct fake_options){ .ek_ecc = true });
	fail_begin(&f, false);
	fail_begin(&f, true);
	fail_verify(&f, false);
	fail_verify(&f, true);
	teardown(&f);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The whole verification, and everything that it has to refuse. */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faketpm.h"
#include "harness.h"
#include "tensorguard/attest.h"
#include "tensorguard/certificate.h"

static const uint8_t exporter[TG_EXPORTER_LEN] = "the exporter of this connection";
static const uint8_t other_exporter[TG_EXPORTER_LEN] = "that of another connection";

static const unsigned all = TG_ALLOW(TG_ASSURANCE_SOFTWARE) | TG_ALLOW(TG_ASSURANCE_TPM_UNENDORSED) |
			    TG_ALLOW(TG_ASSURANCE_TPM_ATTESTED);

/* One ceremony. */
struct ceremony {
	struct fake *fake;
	struct tg_attest_policy policy;
	struct tg_attest_session *session;
	struct tg_attest_evidence evidence;
	struct tg_attest_result result;
	enum tg_attest_reason reason;
	struct tg_error e;
};

static void setup(struct ceremony *c, const struct fake_options *options)
{
	memset(c, 0, sizeof(*c));
	c->fake = fake_new(options);
	c->policy =
		(struct tg_attest_policy){ .roots = fake_roots(c->fake), .allowed = all, .pcr_mask = 0xff };
}

static void teardown(struct ceremony *c)
{
	tg_attest_evidence_clear(&c->evidence);
	tg_attest_session_free(c->session);
	tg_attest_roots_free((struct tg_attest_roots *)c->policy.roots);
	fake_free(c->fake);
}

static int begin(struct ceremony *c)
{
	return tg_attest_enrol_begin(&c->policy, &c->fake->claim, FAKE_NOW, &c->session, &c->reason, &c->e);
}

static void answer(struct ceremony *c)
{
	fake_answer(c->fake, tg_attest_session_challenge(c->session), exporter, false, &c->evidence);
}

static int verify(struct ceremony *c)
{
	memset(&c->result, 0xa5, sizeof(c->result));
	return tg_attest_verify(&c->policy, c->session, &c->evidence, exporter, FAKE_NOW + 1, &c->result,
				&c->e);
}

static void expect_refused(struct ceremony *c, int ret, enum tg_attest_reason reason)
{
	struct tg_attest_result nothing = { .reason = reason };

	CU_ASSERT_EQUAL(ret, -EKEYREJECTED);
	CU_ASSERT_STRING_EQUAL(tg_attest_reason_name(c->result.reason), tg_attest_reason_name(reason));
	CU_ASSERT_EQUAL(memcmp(&c->result, &nothing, sizeof(nothing)), 0);
	CU_ASSERT_NOT_EQUAL(c->e.message[0], '\0');
}

static void expect_attested(const struct fake_options *options)
{
	struct ceremony c;

	setup(&c, options);
	CU_ASSERT_EQUAL_FATAL(begin(&c), 0);
	answer(&c);
	CU_ASSERT_EQUAL(verify(&c), 0);
	CU_ASSERT_EQUAL(c.result.assurance, TG_ASSURANCE_TPM_ATTESTED);
	CU_ASSERT_EQUAL(c.result.reason, TG_ATTEST_ACCEPTED);
	CU_ASSERT_EQUAL(c.result.pcr_mask, 0xff);
	CU_ASSERT_EQUAL(memcmp(c.result.pcrs, c.fake->pcrs, 8 * TG_SHA256_LEN), 0);
	CU_ASSERT_EQUAL(memcmp(c.result.ak_name, c.fake->ak_name, TG_TPM_NAME_LEN), 0);
	CU_ASSERT_TRUE(c.result.log_replayed);
	CU_ASSERT_EQUAL(c.result.reset_count, 7);
	teardown(&c);
}

TEST(attest, accepts_an_honest_device_of_every_kind)
{
	expect_attested(&(struct fake_options){ 0 });
	expect_attested(&(struct fake_options){ .ek_ecc = true });
	expect_attested(&(struct fake_options){ .ek_ecc = true, .ek_short_x = true });
	expect_attested(&(struct fake_options){ .ak_rsa = true });
	expect_attested(&(struct fake_options){ .ak_rsa = true, .ak_pss = true });
}

/* Options that the second half refuses, all else being honest. */
TEST(attest, refuses_statements_that_lie)
{
	static const struct {
		struct fake_options options;
		enum tg_attest_reason reason;
	} cases[] = {
		{ { .magic = 0xff544346 }, TG_ATTEST_CERTIFY_TLS }, /* CVE-2024-29038, -29040 */
		{ { .certify_type = 0x8018 }, TG_ATTEST_CERTIFY_TLS },
		{ { .quote_type = 0x8017 }, TG_ATTEST_QUOTE },
		{ { .quote_mask = 0x7f }, TG_ATTEST_PCR_SELECTION }, /* CVE-2024-29039 */
		{ { .quote_mask = 0x1ff }, TG_ATTEST_PCR_SELECTION },
		{ { .quote_mask = 0xff00 }, TG_ATTEST_PCR_SELECTION },
		{ { .quote_bank = 0x0004 }, TG_ATTEST_PCR_SELECTION },
		{ { .quote_two_banks = true }, TG_ATTEST_PCR_SELECTION },
		{ { .wrong_digest = true }, TG_ATTEST_PCR_DIGEST },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ceremony c;

		setup(&c, &cases[i].options);
		CU_ASSERT_EQUAL_FATAL(begin(&c), 0);
		answer(&c);
		expect_refused(&c, verify(&c), cases[i].reason);
		teardown(&c);
	}
}

/* Options that the first half refuses. */
TEST(attest, refuses_keys_of_another_kind)
{
	static const struct {
		struct fake_options options;
		enum tg_attest_reason reason;
	} cases[] = {
		{ { .certificate = FAKE_CERTIFICATE_OTHER_ROOT }, TG_ATTEST_EK_CHAIN },
		{ { .certificate = FAKE_CERTIFICATE_EXPIRED }, TG_ATTEST_EK_CHAIN },
		{ { .certificate = FAKE_CERTIFICATE_FUTURE }, TG_ATTEST_EK_CHAIN },
		{ { .certificate = FAKE_CERTIFICATE_UNKNOWN_CRITICAL }, TG_ATTEST_EK_CHAIN },
		{ { .certificate = FAKE_CERTIFICATE_LEAF_ISSUER }, TG_ATTEST_EK_CHAIN },
		{ { .certificate = FAKE_CERTIFICATE_SHA1 }, TG_ATTEST_EK_CHAIN },
		{ { .certificate = FAKE_CERTIFICATE_CA }, TG_ATTEST_EK_CERTIFICATE },
		{ { .certificate = FAKE_CERTIFICATE_NO_PURPOSE }, TG_ATTEST_EK_CERTIFICATE },
		{ { .certificate = FAKE_CERTIFICATE_NO_NAME }, TG_ATTEST_EK_CERTIFICATE },
		{ { .certificate = FAKE_CERTIFICATE_WRONG_USAGE }, TG_ATTEST_EK_CERTIFICATE },
		{ { .certificate = FAKE_CERTIFICATE_TRAILING }, TG_ATTEST_EK_CERTIFICATE },
		{ { .certificate = FAKE_CERTIFICATE_GARBAGE }, TG_ATTEST_EK_CERTIFICATE },
		{ { .certificate = FAKE_CERTIFICATE_OTHER_KEY, .ek_ecc = true }, TG_ATTEST_EK_KEY },
		{ { .ek_attributes = 0x000300b0 }, TG_ATTEST_EK_TEMPLATE },
		{ { .ek_attributes = 0x000300f2 }, TG_ATTEST_EK_TEMPLATE },
		{ { .ak_attributes = 0x00040072 }, TG_ATTEST_AK_TEMPLATE }, /* unrestricted */
		{ { .ak_attributes = 0x00070072 }, TG_ATTEST_AK_TEMPLATE }, /* decrypts too */
		{ { .ak_attributes = 0x00030072 }, TG_ATTEST_AK_TEMPLATE }, /* does not sign */
		{ { .ak_attributes = 0x00050070 }, TG_ATTEST_AK_TEMPLATE }, /* not fixedTPM */
		{ { .ak_attributes = 0x00050062 }, TG_ATTEST_AK_TEMPLATE }, /* not fixedParent */
		{ { .ak_attributes = 0x00050052 }, TG_ATTEST_AK_TEMPLATE }, /* made elsewhere */
		{ { .ak_attributes = 0x000d0072 }, TG_ATTEST_AK_TEMPLATE }, /* x509sign */
		{ { .ak_scheme = TG_TPM_ALG_NULL }, TG_ATTEST_AK_TEMPLATE },
		{ { .ak_scheme = TG_TPM_ALG_ECDH }, TG_ATTEST_AK_TEMPLATE },
		{ { .ak_scheme = TG_TPM_ALG_RSASSA }, TG_ATTEST_MALFORMED },
		{ { .tls_attributes = 0x00050072 }, TG_ATTEST_KEY_TEMPLATE },
		{ { .tls_attributes = 0x00060072 }, TG_ATTEST_KEY_TEMPLATE },
		{ { .tls_attributes = 0x00040070 }, TG_ATTEST_KEY_TEMPLATE },
		{ { .hpke_attributes = 0x00040072 }, TG_ATTEST_KEY_TEMPLATE },
		{ { .hpke_attributes = 0x00020070 }, TG_ATTEST_KEY_TEMPLATE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ceremony c;

		setup(&c, &cases[i].options);
		CU_ASSERT_EQUAL(begin(&c), -EKEYREJECTED);
		CU_ASSERT_STRING_EQUAL(tg_attest_reason_name(c.reason),
				       tg_attest_reason_name(cases[i].reason));
		CU_ASSERT_PTR_NULL(c.session);
		if (c.reason != cases[i].reason)
			printf("case %zu: %s\n", i, c.e.message);
		teardown(&c);
	}
}

/* Each is given honest evidence to spoil. */
static void spoil_csr_key(struct ceremony *c)
{
	tg_bytes_free(&c->evidence.csr);
	CU_ASSERT_EQUAL_FATAL(tg_request_make(c->fake->other, "agent", &c->evidence.csr, NULL), 0);
}

static void spoil_csr_signature(struct ceremony *c)
{
	c->evidence.csr.data[c->evidence.csr.len - 1] ^= 1;
}

static void spoil_csr_length(struct ceremony *c)
{
	c->evidence.csr.len--;
}

static void spoil_proof(struct ceremony *c)
{
	c->evidence.proof.data[31] ^= 1;
}

static void spoil_no_proof(struct ceremony *c)
{
	tg_bytes_free(&c->evidence.proof);
}

static void honest_binding(struct ceremony *c, const uint8_t *connection, uint8_t *binding)
{
	CU_ASSERT_EQUAL_FATAL(tg_attest_binding(tg_attest_session_challenge(c->session)->nonce,
						&c->evidence.csr, c->fake->ak_name, connection, binding,
						NULL),
			      0);
}

/* CVE-2022-1053: what certifies and quotes is another key than what the credential was made for */
static void spoil_ak_swapped(struct ceremony *c)
{
	uint8_t binding[TG_BINDING_LEN];

	honest_binding(c, exporter, binding);
	fake_statement_free(&c->evidence.certify_tls);
	c->evidence.certify_tls = fake_certify(c->fake, c->fake->other, c->fake->tls_name, binding);
}

static void spoil_ak_swapped_quote(struct ceremony *c)
{
	uint8_t binding[TG_BINDING_LEN];

	honest_binding(c, exporter, binding);
	fake_statement_free(&c->evidence.quote);
	c->evidence.quote = fake_quote(c->fake, c->fake->other, 0xff, binding);
}

static void spoil_certify_other_key(struct ceremony *c)
{
	struct tg_attest_statement tls = c->evidence.certify_tls;

	c->evidence.certify_tls = c->evidence.certify_hpke;
	c->evidence.certify_hpke = tls;
}

static void spoil_certify_hpke(struct ceremony *c)
{
	struct tg_attest_statement *to = &c->evidence.certify_hpke;

	fake_statement_free(to);
	CU_ASSERT_EQUAL_FATAL(tg_bytes_copy(c->evidence.certify_tls.attest.data,
					    c->evidence.certify_tls.attest.len, &to->attest),
			      0);
	CU_ASSERT_EQUAL_FATAL(tg_bytes_copy(c->evidence.certify_tls.signature.data,
					    c->evidence.certify_tls.signature.len, &to->signature),
			      0);
}

/* Evidence that another connection's end would accept: relayed */
static void spoil_relayed(struct ceremony *c)
{
	tg_attest_evidence_clear(&c->evidence);
	fake_answer(c->fake, tg_attest_session_challenge(c->session), other_exporter, false, &c->evidence);
}

/* The proof fits this connection, the quote was made for another. */
static void spoil_quote_relayed(struct ceremony *c)
{
	uint8_t binding[TG_BINDING_LEN];

	honest_binding(c, other_exporter, binding);
	fake_statement_free(&c->evidence.quote);
	c->evidence.quote = fake_quote(c->fake, c->fake->ak, 0xff, binding);
}

static void spoil_attest_trailing(struct ceremony *c)
{
	struct tg_bytes *attest = &c->evidence.quote.attest;

	attest->data = realloc(attest->data, attest->len + 1);
	attest->data[attest->len++] = 0;
}

static void spoil_attest_short(struct ceremony *c)
{
	c->evidence.quote.attest.len--;
}

static void spoil_signature_trailing(struct ceremony *c)
{
	struct tg_bytes *signature = &c->evidence.quote.signature;

	signature->data = realloc(signature->data, signature->len + 1);
	signature->data[signature->len++] = 0;
}

static void spoil_signature(struct ceremony *c)
{
	c->evidence.quote.signature.data[c->evidence.quote.signature.len - 1] ^= 1;
}

static void spoil_no_quote(struct ceremony *c)
{
	fake_statement_free(&c->evidence.quote);
}

static void spoil_pcrs(struct ceremony *c)
{
	c->evidence.pcrs.data[5] ^= 1;
}

static void spoil_pcrs_short(struct ceremony *c)
{
	c->evidence.pcrs.len -= TG_SHA256_LEN;
}

static void spoil_no_log(struct ceremony *c)
{
	tg_bytes_free(&c->evidence.event_log);
}

static void spoil_log(struct ceremony *c)
{
	c->evidence.event_log.data[c->evidence.event_log.len - 20] ^= 1;
}

static void spoil_log_cut(struct ceremony *c)
{
	c->evidence.event_log.len--;
}

/* A policy whose golden value is not what the device has. */
static void spoil_expected(struct ceremony *c)
{
	static const struct tg_attest_pcr wrong = { .index = 3 };

	c->policy.pcrs = &wrong;
	c->policy.pcr_count = 1;
}

/* A golden value of a PCR that is not even quoted. */
static void spoil_expected_unquoted(struct ceremony *c)
{
	static const struct tg_attest_pcr unquoted = { .index = 9 };

	c->policy.pcrs = &unquoted;
	c->policy.pcr_count = 1;
}

static void spoil_allowed(struct ceremony *c)
{
	c->policy.allowed = TG_ALLOW(TG_ASSURANCE_SOFTWARE);
}

TEST(attest, refuses_spoiled_evidence)
{
	static const struct {
		void (*spoil)(struct ceremony *c);
		enum tg_attest_reason reason;
	} cases[] = {
		{ spoil_csr_key, TG_ATTEST_CSR_KEY },
		{ spoil_csr_signature, TG_ATTEST_CSR },
		{ spoil_csr_length, TG_ATTEST_CSR },
		{ spoil_proof, TG_ATTEST_PROOF },
		{ spoil_no_proof, TG_ATTEST_PROOF },
		{ spoil_ak_swapped, TG_ATTEST_CERTIFY_TLS },
		{ spoil_ak_swapped_quote, TG_ATTEST_QUOTE },
		{ spoil_certify_other_key, TG_ATTEST_CERTIFY_TLS },
		{ spoil_certify_hpke, TG_ATTEST_CERTIFY_HPKE },
		{ spoil_relayed, TG_ATTEST_PROOF },
		{ spoil_quote_relayed, TG_ATTEST_QUOTE },
		{ spoil_attest_trailing, TG_ATTEST_QUOTE },
		{ spoil_attest_short, TG_ATTEST_QUOTE },
		{ spoil_signature_trailing, TG_ATTEST_QUOTE },
		{ spoil_signature, TG_ATTEST_QUOTE },
		{ spoil_no_quote, TG_ATTEST_QUOTE },
		{ spoil_pcrs, TG_ATTEST_PCR_DIGEST },
		{ spoil_pcrs_short, TG_ATTEST_PCR_DIGEST },
		{ spoil_no_log, TG_ATTEST_EVENT_LOG },
		{ spoil_log, TG_ATTEST_EVENT_LOG },
		{ spoil_log_cut, TG_ATTEST_EVENT_LOG },
		{ spoil_expected, TG_ATTEST_PCR_VALUE },
		{ spoil_expected_unquoted, TG_ATTEST_PCR_VALUE },
		{ spoil_allowed, TG_ATTEST_NOT_ALLOWED },
	};
	static const struct fake_options honest;
	struct ceremony c;

	setup(&c, &honest);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tg_attest_policy policy = c.policy;

		CU_ASSERT_EQUAL_FATAL(begin(&c), 0);
		answer(&c);
		cases[i].spoil(&c);
		expect_refused(&c, verify(&c), cases[i].reason);
		tg_attest_evidence_clear(&c.evidence);
		tg_attest_session_free(c.session);
		c.session = NULL;
		c.policy = policy;
	}
	teardown(&c);
}

TEST(attest, takes_evidence_once)
{
	static const struct fake_options honest;
	struct tg_attest_session *second = NULL;
	struct ceremony c;

	setup(&c, &honest);
	CU_ASSERT_EQUAL_FATAL(begin(&c), 0);
	answer(&c);
	CU_ASSERT_EQUAL(verify(&c), 0);
	expect_refused(&c, verify(&c), TG_ATTEST_USED);
	/* the same evidence in another session, over the same connection */
	second = c.session;
	c.session = NULL;
	CU_ASSERT_EQUAL_FATAL(begin(&c), 0);
	expect_refused(&c, verify(&c), TG_ATTEST_PROOF);
	/* a refusal uses the session up as well */
	expect_refused(&c, verify(&c), TG_ATTEST_USED);
	tg_attest_session_free(second);
	teardown(&c);
}

TEST(attest, a_nonce_lives_sixty_seconds)
{
	static const struct {
		int64_t later;
		int ret;
	} cases[] = { { -1, -EKEYREJECTED }, { 0, 0 }, { 60, 0 }, { 61, -EKEYREJECTED } };
	static const struct fake_options honest;
	struct ceremony c;

	setup(&c, &honest);
	for (size_t i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL_FATAL(begin(&c), 0);
		answer(&c);
		CU_ASSERT_EQUAL(tg_attest_verify(&c.policy, c.session, &c.evidence, exporter,
						 FAKE_NOW + cases[i].later, &c.result, &c.e),
				cases[i].ret);
		CU_ASSERT_EQUAL(c.result.reason, cases[i].ret ? TG_ATTEST_EXPIRED : TG_ATTEST_ACCEPTED);
		tg_attest_evidence_clear(&c.evidence);
		tg_attest_session_free(c.session);
		c.session = NULL;
	}
	teardown(&c);
}

TEST(attest, assurance_is_what_the_fleet_allows)
{
	static const struct tg_attest_claim nothing;
	static const struct fake_options unendorsed = { .certificate = FAKE_CERTIFICATE_NONE };
	struct ceremony c;

	setup(&c, &unendorsed);
	CU_ASSERT_EQUAL_FATAL(begin(&c), 0);
	answer(&c);
	CU_ASSERT_EQUAL(verify(&c), 0);
	CU_ASSERT_EQUAL(c.result.assurance, TG_ASSURANCE_TPM_UNENDORSED);
	tg_attest_session_free(c.session);
	c.session = NULL;
	c.policy.allowed = TG_ALLOW(TG_ASSURANCE_TPM_ATTESTED);
	CU_ASSERT_EQUAL(begin(&c), -EKEYREJECTED);
	CU_ASSERT_EQUAL(c.reason, TG_ATTEST_NOT_ALLOWED);
	CU_ASSERT_EQUAL(tg_attest_enrol_begin(&c.policy, &nothing, FAKE_NOW, &c.session, &c.reason, &c.e),
			-EKEYREJECTED);
	CU_ASSERT_EQUAL(c.reason, TG_ATTEST_NOT_ALLOWED);
	c.policy.allowed = 0;
	CU_ASSERT_EQUAL(begin(&c), -EKEYREJECTED);
	teardown(&c);
}

TEST(attest, a_device_without_a_tpm_has_a_request_and_no_more)
{
	static const struct tg_attest_claim nothing;
	static const struct fake_options honest;
	struct ceremony c;

	setup(&c, &honest);
	for (int with_log = 0; with_log < 2; with_log++) {
		CU_ASSERT_EQUAL_FATAL(
			tg_attest_enrol_begin(&c.policy, &nothing, FAKE_NOW, &c.session, &c.reason, &c.e), 0);
		CU_ASSERT_EQUAL(tg_attest_session_challenge(c.session)->pcr_mask, 0);
		CU_ASSERT_EQUAL(tg_attest_session_challenge(c.session)->credential.len, 0);
		CU_ASSERT_EQUAL_FATAL(tg_request_make(c.fake->other, "soft", &c.evidence.csr, NULL), 0);
		if (with_log)
			tg_bytes_copy("x", 1, &c.evidence.event_log);
		if (with_log) {
			expect_refused(&c, verify(&c), TG_ATTEST_MALFORMED);
		} else {
			CU_ASSERT_EQUAL(verify(&c), 0);
			CU_ASSERT_EQUAL(c.result.assurance, TG_ASSURANCE_SOFTWARE);
		}
		tg_attest_evidence_clear(&c.evidence);
		tg_attest_session_free(c.session);
		c.session = NULL;
	}
	teardown(&c);
}

TEST(attest, half_a_claim_is_none)
{
	static const struct fake_options honest;
	struct tg_attest_claim whole;
	struct ceremony c;

	setup(&c, &honest);
	whole = c.fake->claim;
	for (int missing = 0; missing < 4; missing++) {
		struct tg_attest_claim claim = whole;
		struct tg_bytes *fields[] = { &claim.ek_public, &claim.ak_public, &claim.tls_public,
					      &claim.hpke_public };

		*fields[missing] = (struct tg_bytes){ 0 };
		CU_ASSERT_EQUAL(
			tg_attest_enrol_begin(&c.policy, &claim, FAKE_NOW, &c.session, &c.reason, &c.e),
			-EKEYREJECTED);
		CU_ASSERT_EQUAL(c.reason, TG_ATTEST_MALFORMED);
	}
	whole.ek_certificate_count = TG_EK_CERTIFICATES_MAX + 1;
	CU_ASSERT_EQUAL(tg_attest_enrol_begin(&c.policy, &whole, FAKE_NOW, &c.session, &c.reason, &c.e),
			-EKEYREJECTED);
	teardown(&c);
}

TEST(attest, an_ek_under_no_pinned_root_is_refused_and_not_unendorsed)
{
	static const struct fake_options honest;
	struct tg_attest_roots *roots;
	struct ceremony c;

	setup(&c, &honest);
	roots = (struct tg_attest_roots *)c.policy.roots;
	c.policy.roots = NULL;
	CU_ASSERT_EQUAL(begin(&c), -EKEYREJECTED);
	CU_ASSERT_EQUAL(c.reason, TG_ATTEST_EK_CHAIN);
	c.policy.roots = roots;
	c.fake->claim.ek_certificate_count = 1; /* without its intermediate */
	CU_ASSERT_EQUAL(begin(&c), -EKEYREJECTED);
	CU_ASSERT_EQUAL(c.reason, TG_ATTEST_EK_CHAIN);
	c.fake->claim.ek_certificate_count = 2;
	teardown(&c);
}

/* What an enrolment leaves for the store. */
static void enrolled(struct ceremony *c, struct tg_bytes *ret_chain)
{
	CU_ASSERT_EQUAL_FATAL(begin(c), 0);
	CU_ASSERT_EQUAL_FATAL(tg_attest_session_ek_chain(c->session, ret_chain, &c->e), 0);
	CU_ASSERT(ret_chain->len > 500);
	tg_attest_session_free(c->session);
	c->session = NULL;
}

static int renew(struct ceremony *c, const struct tg_attest_device *device,
		 const struct tg_attest_claim *claim)
{
	return tg_attest_renew_begin(&c->policy, device, claim, FAKE_NOW, &c->session, &c->reason, &c->e);
}

TEST(attest, a_renewal_is_by_the_same_ak)
{
	static const struct fake_options honest;
	struct tg_attest_device device = { .assurance = TG_ASSURANCE_TPM_ATTESTED, .ek_hash = { 1, 2, 3 } };
	struct tg_attest_claim claim = { 0 };
	struct tg_bytes chain = { 0 };
	struct ceremony c;
	EVP_PKEY *ak;

	setup(&c, &honest);
	enrolled(&c, &chain);
	device.ek_chain = chain;
	device.ak_public = c.fake->claim.ak_public;
	claim.tls_public = c.fake->claim.tls_public;
	claim.hpke_public = c.fake->claim.hpke_public;
	CU_ASSERT_EQUAL_FATAL(renew(&c, &device, &claim), 0);
	fake_answer(c.fake, tg_attest_session_challenge(c.session), exporter, true, &c.evidence);
	CU_ASSERT_EQUAL(verify(&c), 0);
	CU_ASSERT_EQUAL(c.result.assurance, TG_ASSURANCE_TPM_ATTESTED);
	CU_ASSERT_EQUAL(memcmp(c.result.ek_hash, device.ek_hash, TG_SHA256_LEN), 0);
	tg_attest_evidence_clear(&c.evidence);
	tg_attest_session_free(c.session);

	/* another AK says the same */
	CU_ASSERT_EQUAL_FATAL(renew(&c, &device, &claim), 0);
	ak = c.fake->ak;
	c.fake->ak = c.fake->other;
	fake_answer(c.fake, tg_attest_session_challenge(c.session), exporter, true, &c.evidence);
	c.fake->ak = ak;
	expect_refused(&c, verify(&c), TG_ATTEST_CERTIFY_TLS);
	tg_attest_session_free(c.session);
	c.session = NULL;

	/* a device does not come back with another AK, nor as one without a TPM */
	claim.ak_public = c.fake->claim.ak_public;
	CU_ASSERT_EQUAL(renew(&c, &device, &claim), -EKEYREJECTED);
	CU_ASSERT_EQUAL(renew(&c, &device, &(struct tg_attest_claim){ 0 }), -EKEYREJECTED);
	device.assurance = TG_ASSURANCE_NONE;
	claim.ak_public = (struct tg_bytes){ 0 };
	CU_ASSERT_EQUAL(renew(&c, &device, &claim), -EKEYREJECTED);
	tg_bytes_free(&chain);
	teardown(&c);
}

/* A renewal, with what the store kept, below these roots, which it frees. */
static void renew_below(struct ceremony *c, struct tg_attest_roots *roots, struct tg_bytes chain, int64_t now,
			enum tg_attest_reason reason)
{
	struct tg_attest_device device = { .assurance = TG_ASSURANCE_TPM_ATTESTED,
					   .ak_public = c->fake->claim.ak_public,
					   .ek_chain = chain };
	struct tg_attest_claim claim = { .tls_public = c->fake->claim.tls_public,
					 .hpke_public = c->fake->claim.hpke_public };
	struct tg_attest_policy policy = c->policy;
	int ret;

	policy.roots = roots;
	ret = tg_attest_renew_begin(&policy, &device, &claim, now, &c->session, &c->reason, &c->e);
	CU_ASSERT_EQUAL(ret, reason == TG_ATTEST_ACCEPTED ? 0 : -EKEYREJECTED);
	CU_ASSERT_STRING_EQUAL(tg_attest_reason_name(c->reason), tg_attest_reason_name(reason));
	if (!ret)
		tg_attest_session_free(c->session);
	c->session = NULL;
	tg_attest_roots_free(roots);
}

/* The root that nobody pinned, which came at the end of its chain. */
static X509 *other_root(const struct fake *fake)
{
	const struct tg_bytes *der = &fake->claim.ek_certificates[2];
	const unsigned char *at = der->data;
	X509 *root = d2i_X509(NULL, &at, (long)der->len);

	CU_ASSERT_PTR_NOT_NULL_FATAL(root);
	return root;
}

TEST(attest, a_renewal_needs_the_ek_chain_of_the_enrolment_to_hold_still)
{
	static const struct fake_options honest, stranger = { .certificate = FAKE_CERTIFICATE_OTHER_ROOT };
	struct tg_bytes chain = { 0 };
	struct ceremony c, s;
	X509 *root;

	setup(&c, &honest);
	setup(&s, &stranger);
	enrolled(&c, &chain);
	renew_below(&c, fake_roots(c.fake), chain, FAKE_NOW, TG_ATTEST_ACCEPTED);
	/* the vendor withdrawn, with nobody in its place or with somebody of the same name */
	renew_below(&c, NULL, chain, FAKE_NOW, TG_ATTEST_EK_CHAIN);
	root = c.fake->root;
	c.fake->root = other_root(s.fake);
	renew_below(&c, fake_roots(c.fake), chain, FAKE_NOW, TG_ATTEST_EK_CHAIN);
	X509_free(c.fake->root);
	c.fake->root = root;
	/* six years later the certificates have ended */
	renew_below(&c, fake_roots(c.fake), chain, FAKE_NOW + 6ll * 365 * 86400, TG_ATTEST_EK_CHAIN);
	/* an enrolment of which nothing was kept, or half of it, or something else */
	renew_below(&c, fake_roots(c.fake), (struct tg_bytes){ 0 }, FAKE_NOW, TG_ATTEST_EK_CERTIFICATE);
	renew_below(&c, fake_roots(c.fake), (struct tg_bytes){ chain.data, chain.len - 1 }, FAKE_NOW,
		    TG_ATTEST_EK_CERTIFICATE);
	renew_below(&c, fake_roots(c.fake), c.fake->claim.ek_certificates[0], FAKE_NOW, TG_ATTEST_EK_CHAIN);
	renew_below(&c, fake_roots(c.fake), s.fake->claim.ek_certificates[0], FAKE_NOW, TG_ATTEST_EK_CHAIN);
	tg_bytes_free(&chain);
	teardown(&s);
	teardown(&c);
}

/* Revocation lists beside the roots, at enrolment and at renewal alike. */
TEST(attest, revoked_endorsement_keys_are_refused)
{
	static const struct fake_options honest;
	static const struct {
		struct fake_list lists[2];
		size_t count;
		enum tg_attest_reason reason;
	} cases[] = {
		{ { { 0 } }, 1, TG_ATTEST_ACCEPTED },
		{ { { .of_root = true } }, 1, TG_ATTEST_ACCEPTED },
		{ { { 0 }, { .of_root = true } }, 2, TG_ATTEST_ACCEPTED },
		{ { { .revokes = true } }, 1, TG_ATTEST_EK_CHAIN },
		{ { { .revokes = true, .of_root = true } }, 1, TG_ATTEST_EK_CHAIN },
		{ { { 0 }, { .revokes = true, .of_root = true } }, 2, TG_ATTEST_EK_CHAIN },
		/* a list that has ended, or that somebody else signed, lets nobody through */
		{ { { .until = FAKE_NOW - 1 } }, 1, TG_ATTEST_EK_CHAIN },
		{ { { .foreign_key = true } }, 1, TG_ATTEST_EK_CHAIN },
	};
	struct tg_bytes chain = { 0 };
	struct ceremony c;

	setup(&c, &honest);
	enrolled(&c, &chain);
	CU_ASSERT_EQUAL(tg_attest_roots_crl_end(c.policy.roots), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tg_attest_roots *roots = fake_roots_with(c.fake, cases[i].lists, cases[i].count);
		struct tg_attest_policy policy = c.policy;
		int ret;

		CU_ASSERT_EQUAL(tg_attest_roots_crl_end(roots),
				cases[i].lists[0].until ? cases[i].lists[0].until : FAKE_NOW + 86400);
		policy.roots = roots;
		ret = tg_attest_enrol_begin(&policy, &c.fake->claim, FAKE_NOW, &c.session, &c.reason, &c.e);
		CU_ASSERT_STRING_EQUAL(tg_attest_reason_name(c.reason),
				       tg_attest_reason_name(cases[i].reason));
		CU_ASSERT_EQUAL(ret, cases[i].reason == TG_ATTEST_ACCEPTED ? 0 : -EKEYREJECTED);
		if (!ret)
			tg_attest_session_free(c.session);
		c.session = NULL;
		renew_below(&c, roots, chain, FAKE_NOW, cases[i].reason);
	}
	tg_bytes_free(&chain);
	teardown(&c);
}

TEST(attest, revocation_lists_that_are_none)
{
	static const struct fake_options honest;
	static const struct fake_list endless = { .no_end = true };
	struct tg_attest_roots *roots = NULL;
	char folder[] = "/tmp/tg-lists-XXXXXX", root[64], list[64];
	struct ceremony c;
	FILE *file;

	setup(&c, &honest);
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(root, sizeof(root), "%s/root.pem", folder);
	snprintf(list, sizeof(list), "%s/a.crl", folder);
	file = fopen(root, "we");
	CU_ASSERT_FATAL(file && PEM_write_X509(file, c.fake->root) == 1 && !fclose(file));
	fake_list_write(c.fake, &endless, list);
	CU_ASSERT_EQUAL(tg_attest_roots_load(folder, &roots, &c.e), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(c.e.message, "a.crl"));
	file = fopen(list, "we");
	CU_ASSERT_FATAL(file && fputs("no list", file) >= 0 && !fclose(file));
	CU_ASSERT_EQUAL(tg_attest_roots_load(folder, &roots, &c.e), -EINVAL);
	/* a folder with lists alone pins nobody */
	unlink(root);
	fake_list_write(c.fake, &(struct fake_list){ 0 }, list);
	CU_ASSERT_EQUAL(tg_attest_roots_load(folder, &roots, &c.e), -EINVAL);
	unlink(list);
	rmdir(folder);
	teardown(&c);
}

TEST(attest, a_mask_without_pcrs_is_the_platforms_mistake)
{
	static const struct fake_options honest;
	struct ceremony c;

	setup(&c, &honest);
	c.policy.pcr_mask = 0;
	CU_ASSERT_EQUAL(begin(&c), -ERANGE);
	CU_ASSERT_EQUAL(c.reason, TG_ATTEST_INTERNAL);
	c.policy.pcr_mask = 1u << 24;
	CU_ASSERT_EQUAL(begin(&c), -ERANGE);
	teardown(&c);
}

/* Whatever single bit of the evidence is flipped, it is refused. */
static unsigned accepted_flips(struct ceremony *c, size_t which)
{
	unsigned accepted = 0;

	for (size_t at = 0;; at++) {
		struct tg_bytes *fields[] = {
			&c->evidence.certify_tls.attest,  &c->evidence.certify_tls.signature,
			&c->evidence.certify_hpke.attest, &c->evidence.quote.attest,
			&c->evidence.quote.signature,     &c->evidence.csr,
		};

		CU_ASSERT_EQUAL_FATAL(begin(c), 0);
		answer(c);
		if (at < fields[which]->len) {
			fields[which]->data[at] ^= (uint8_t)(1 << (at % 8));
			accepted += !verify(c);
		}
		bool done = at >= fields[which]->len;
		tg_attest_evidence_clear(&c->evidence);
		tg_attest_session_free(c->session);
		c->session = NULL;
		if (done)
			return accepted;
	}
}

TEST(attest, no_byte_of_the_evidence_can_be_changed)
{
	static const struct fake_options quick = { .ek_ecc = true };
	struct ceremony c;

	setup(&c, &quick);
	for (size_t which = 0; which < 6; which++)
		CU_ASSERT_EQUAL(accepted_flips(&c, which), 0);
	teardown(&c);
}

TEST(attest, reasons_and_assurances_have_names)
{
	enum tg_assurance assurance;

	CU_ASSERT_STRING_EQUAL(tg_attest_reason_name(TG_ATTEST_INTERNAL), "internal");
	CU_ASSERT_STRING_EQUAL(tg_attest_reason_name((enum tg_attest_reason)9999), "internal");
	CU_ASSERT_STRING_EQUAL(tg_attest_reason_name(TG_ATTEST_EVENT_LOG), "event-log");
	CU_ASSERT_STRING_EQUAL(tg_assurance_name((enum tg_assurance)9999), "none");
	for (int i = TG_ASSURANCE_NONE; i <= TG_ASSURANCE_TPM_ATTESTED; i++) {
		CU_ASSERT_EQUAL(tg_assurance_from_name(tg_assurance_name((enum tg_assurance)i), &assurance),
				0);
		CU_ASSERT_EQUAL(assurance, (enum tg_assurance)i);
	}
	CU_ASSERT_EQUAL(tg_assurance_from_name("tpm", &assurance), -EINVAL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <openssl/evp.h>
#include <string.h>

#include "faketpm.h"
#include "harness.h"
#include "tensorguard/enrol.h"
#include "tensorguard/key.h"

static struct tg_error e;

static bool same(const struct tg_bytes *a, const struct tg_bytes *b)
{
	return a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len));
}

TEST(enrol_json, start_comes_back_as_it_was)
{
	static const struct fake_options honest;
	struct fake *fake = fake_new(&honest);
	struct tg_enrol_start start = { .token = "tgt_secret", .claim = fake->claim }, back;
	struct tg_bytes text;

	CU_ASSERT_EQUAL_FATAL(tg_enrol_start_encode(&start, TG_ENROL, &text, &e), 0);
	CU_ASSERT_EQUAL(text.data[text.len], '\0');
	CU_ASSERT_EQUAL_FATAL(tg_enrol_start_decode(text.data, text.len, TG_ENROL, &back, &e), 0);
	CU_ASSERT_STRING_EQUAL(back.token, "tgt_secret");
	CU_ASSERT_EQUAL(back.claim.ek_certificate_count, 2);
	for (size_t i = 0; i < 2; i++)
		CU_ASSERT(same(&back.claim.ek_certificates[i], &start.claim.ek_certificates[i]));
	CU_ASSERT(same(&back.claim.ek_public, &start.claim.ek_public));
	CU_ASSERT(same(&back.claim.ak_public, &start.claim.ak_public));
	CU_ASSERT(same(&back.claim.tls_public, &start.claim.tls_public));
	CU_ASSERT(same(&back.claim.hpke_public, &start.claim.hpke_public));
	tg_enrol_start_clear(&back);
	CU_ASSERT_EQUAL(back.token[0], '\0');
	/* every beginning of it is refused */
	for (size_t len = 0; len < text.len; len += 7)
		CU_ASSERT_EQUAL(tg_enrol_start_decode(text.data, len, TG_ENROL, &back, &e), -EINVAL);
	tg_bytes_free(&text);
	fake_free(fake);
}

TEST(enrol_json, challenge_and_finish_come_back_as_they_were)
{
	static const struct fake_options honest = { .ek_ecc = true };
	static const uint8_t exporter[TG_EXPORTER_LEN];
	struct fake *fake = fake_new(&honest);
	struct tg_attest_policy policy = { .allowed = ~0u, .pcr_mask = 0x800481 };
	struct tg_attest_session *session;
	struct tg_attest_challenge challenge;
	struct tg_enrol_finish finish = { .session = { 1, 2, 3 } }, back;
	enum tg_attest_reason reason;
	struct tg_bytes text;

	fake->claim.ek_certificate_count = 0;
	CU_ASSERT_EQUAL_FATAL(tg_attest_enrol_begin(&policy, &fake->claim, FAKE_NOW, &session, &reason, &e),
			      0);
	CU_ASSERT_EQUAL_FATAL(tg_enrol_challenge_encode(tg_attest_session_challenge(session), &text, &e), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr((char *)text.data, "\"pcrs\":[0,7,10,23]"));
	CU_ASSERT_EQUAL_FATAL(tg_enrol_challenge_decode(text.data, text.len, &challenge, &e), 0);
	CU_ASSERT_EQUAL(challenge.pcr_mask, 0x800481);
	CU_ASSERT_EQUAL(memcmp(challenge.nonce, tg_attest_session_challenge(session)->nonce, TG_NONCE_LEN),
			0);
	CU_ASSERT(same(&challenge.secret, &tg_attest_session_challenge(session)->secret));
	tg_bytes_free(&text);

	fake_answer(fake, &challenge, exporter, false, &finish.evidence);
	CU_ASSERT_EQUAL_FATAL(tg_enrol_finish_encode(&finish, &text, &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_enrol_finish_decode(text.data, text.len, &back, &e), 0);
	CU_ASSERT_EQUAL(memcmp(back.session, finish.session, TG_SESSION_ID_LEN), 0);
	CU_ASSERT(same(&back.evidence.csr, &finish.evidence.csr));
	CU_ASSERT(same(&back.evidence.proof, &finish.evidence.proof));
	CU_ASSERT(same(&back.evidence.certify_hpke.attest, &finish.evidence.certify_hpke.attest));
	CU_ASSERT(same(&back.evidence.quote.signature, &finish.evidence.quote.signature));
	CU_ASSERT(same(&back.evidence.event_log, &finish.evidence.event_log));
	CU_ASSERT(same(&back.evidence.pcrs, &finish.evidence.pcrs));
	tg_enrol_finish_clear(&back);
	tg_enrol_finish_clear(&finish);
	tg_bytes_free(&text);
	tg_attest_challenge_clear(&challenge);
	tg_attest_session_free(session);
	fake_free(fake);
}

TEST(enrol_json, issued_comes_back_as_it_was)
{
	char certificate[] = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", ca[] = "ca";
	struct tg_enrol_issued issued = { .agent = "arm-7",
					  .fleet = "line.2",
					  .assurance = TG_ASSURANCE_SOFTWARE,
					  .not_after = FAKE_NOW,
					  .certificate = { (uint8_t *)certificate, sizeof(certificate) - 1 },
					  .ca = { (uint8_t *)ca, sizeof(ca) - 1 } },
			       back;
	uint8_t spki[TG_SPKI_MAX_LEN];
	struct tg_bytes text;
	EVP_PKEY *key = NULL;

	CU_ASSERT_EQUAL_FATAL(tg_key_generate(TG_KEY_EDDSA, &key, &e), 0);
	issued.policy_key.data = spki;
	CU_ASSERT_EQUAL_FATAL(tg_key_to_spki(key, spki, &issued.policy_key.len, &e), 0);
	EVP_PKEY_free(key);

	CU_ASSERT_EQUAL_FATAL(tg_enrol_issued_encode(&issued, &text, &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_enrol_issued_decode(text.data, text.len, &back, &e), 0);
	CU_ASSERT_STRING_EQUAL(back.agent, "arm-7");
	CU_ASSERT_STRING_EQUAL(back.fleet, "line.2");
	CU_ASSERT_EQUAL(back.assurance, TG_ASSURANCE_SOFTWARE);
	CU_ASSERT_EQUAL(back.not_after, FAKE_NOW);
	CU_ASSERT_STRING_EQUAL((char *)back.certificate.data, certificate);
	CU_ASSERT_EQUAL(back.policy_key.len, issued.policy_key.len);
	CU_ASSERT(!memcmp(back.policy_key.data, spki, back.policy_key.len));
	tg_enrol_issued_clear(&back);
	tg_bytes_free(&text);
}

TEST(enrol_json, refuses_what_is_not_described_and_says_where)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "", "not JSON: line 1, column 0" },
		{ "[]", "not an object" },
		{ "{}", "token: missing" },
		{ "{\"token\":\"a\"} x", "not JSON: line 1, column 15" },
		{ "{\"token\":\"a\",\"token\":\"a\"}", "not JSON: line 1, column 20" },
		{ "{\"token\":\"a\",\"tokens\":\"a\"}", "an unknown key" },
		{ "{\"token\":1}", "token: not a text of the right length" },
		{ "{\"token\":\"\"}", "token: not a text of the right length" },
		{ "{\"token\":null}", "token: not a text of the right length" },
		{ "{\"token\":\"a b\"}", "token: a character that has no place in it" },
		{ "{\"token\":\"\\u00fc\"}", "token: a character that has no place in it" },
		{ "{\"token\":\"a\",\"tpm\":1}", "tpm.not an object" },
		{ "{\"token\":\"a\",\"tpm\":{}}", "tpm.ek_public: missing" },
		{ "{\"token\":\"a\",\"tpm\":{\"ek_certificates\":[]}}",
		  "tpm.ek_certificates: not a list of the right length" },
		{ "{\"token\":\"a\",\"tpm\":{\"ek_certificates\":[\"AA==\",\"AA==\",\"AA==\",\"AA==\",\"AA=="
		  "\",\"AA==\"]}}",
		  "tpm.ek_certificates: not a list of the right length" },
		{ "{\"token\":\"a\",\"tpm\":{\"ek_certificates\":[\"AA=\"]}}",
		  "tpm.ek_certificates: not base64 of the right length" },
		{ "{\"token\":\"a\",\"tpm\":{\"ek_public\":\"AB==\"}}",
		  "tpm.ek_public: not base64 of the right length" },
		{ "{\"token\":\"a\",\"tpm\":{\"ek_public\":\"AA==\",\"ak_public\":\"AA==\",\"tls_public\":"
		  "\"AA==\","
		  "\"hpke_public\":\"AA==\",\"more\":1}}",
		  "tpm.an unknown key" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tg_enrol_start start;

		CU_ASSERT_EQUAL(
			tg_enrol_start_decode(cases[i].text, strlen(cases[i].text), TG_ENROL, &start, &e),
			-EINVAL);
		CU_ASSERT_STRING_EQUAL(e.message, cases[i].message);
		if (strcmp(e.message, cases[i].message) != 0)
			printf("case %zu: %s\n", i, e.message);
	}
}

TEST(enrol_json, pcrs_rise_and_exist)
{
	static const struct {
		const char *pcrs;
		uint32_t mask;
	} cases[] = {
		{ "[0]", 1 },   { "[0,23]", 0x800001 }, { "[]", 0 },           { "[24]", 0 },
		{ "[-1]", 0 },  { "[1,0]", 0 },         { "[1,1]", 0 },        { "[1.0]", 0 },
		{ "\"0\"", 0 }, { "[\"0\"]", 0 },       { "[4294967296]", 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tg_attest_challenge challenge = { 0 };
		char text[256];
		int len = snprintf(text, sizeof(text),
				   "{\"session\":\"AAAAAAAAAAAAAAAAAAAAAA==\",\"nonce\":"
				   "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"tpm\":{\"pcrs\":%s}}",
				   cases[i].pcrs);

		CU_ASSERT_EQUAL(tg_enrol_challenge_decode(text, (size_t)len, &challenge, &e),
				cases[i].mask ? 0 : -EINVAL);
		CU_ASSERT_EQUAL(challenge.pcr_mask, cases[i].mask);
	}
}

TEST(enrol_json, a_message_has_a_size)
{
	size_t len = TG_ENROL_BODY_MAX + 1;
	char *text = malloc(len);
	struct tg_enrol_finish finish;

	memset(text, ' ', len);
	CU_ASSERT_EQUAL(tg_enrol_finish_decode(text, len, &finish, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "a message of more than 1048576 bytes");
	free(text);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The device's own evidence, by agent/trust on a TPM, as the verifier sees it. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "swtpm.h"
#include "tensorguard/attest.h"
#include "trust/keys.h"

static const uint8_t exporter[TG_EXPORTER_LEN] = "the exporter of this connection";
static const int64_t now = 1900000000; /* the certificates of swtpm-localca begin today and last ten years */
enum { MASK = 0x00801011 };

static struct tg_error e;

struct ceremony {
	struct tg_attest_policy policy;
	struct tg_attest_claim claim;
	struct tg_attest_session *session;
	struct tg_attest_evidence evidence;
	struct tg_attest_result result;
};

static void setup(struct ceremony *c)
{
	*c = (struct ceremony){ .policy = { .allowed = TG_ALLOW(TG_ASSURANCE_TPM_ATTESTED),
					    .pcr_mask = MASK,
					    .event_log_optional = true } };
	CU_ASSERT_PTR_NOT_NULL_FATAL(swtpm_tcti());
	CU_ASSERT(swtpm_shell("mkdir -p roots && cp ca/*cert.pem roots/"));
	OK(tg_attest_roots_load(swtpm_path("roots"), (struct tg_attest_roots **)&c->policy.roots, &e));
}

static void clear(struct ceremony *c)
{
	tg_attest_claim_clear(&c->claim);
	tg_attest_evidence_clear(&c->evidence);
	tg_attest_session_free(c->session);
	c->session = NULL;
}

static void teardown(struct ceremony *c)
{
	clear(c);
	tg_attest_roots_free((struct tg_attest_roots *)c->policy.roots);
}

static struct trust_store store(void)
{
	return (struct trust_store){ .tcti = swtpm_tcti() };
}

static bool answer(struct ceremony *c, const struct trust_keys *keys)
{
	return OK(trust_evidence(keys, &c->claim, tg_attest_session_challenge(c->session), exporter, NULL,
				 &c->evidence, &e));
}

static bool enrol(struct ceremony *c, const struct trust_keys *keys)
{
	enum tg_attest_reason reason;

	return OK(trust_claim(keys, false, &c->claim, &e)) &&
	       OK(tg_attest_enrol_begin(&c->policy, &c->claim, now, &c->session, &reason, &e)) &&
	       answer(c, keys) &&
	       OK(tg_attest_verify(&c->policy, c->session, &c->evidence, exporter, now, &c->result, &e));
}

TEST(tpm_trust, enrols_and_renews_with_keys_from_its_files)
{
	struct trust_keys keys = { 0 }, kept = { 0 }, fresh = { 0 };
	struct trust_store where;
	struct ceremony c;
	struct tg_attest_result first;
	struct tg_attest_device device = { .assurance = TG_ASSURANCE_TPM_ATTESTED };
	enum tg_attest_reason reason;

	setup(&c);
	where = store();
	CU_ASSERT_FATAL(OK(trust_keys_create(&where, &keys, &e)));
	CU_ASSERT(enrol(&c, &keys));
	CU_ASSERT_EQUAL(c.result.assurance, TG_ASSURANCE_TPM_ATTESTED);
	CU_ASSERT_EQUAL(c.result.pcr_mask, MASK);
	first = c.result;
	OK(tg_attest_session_ek_chain(c.session, &device.ek_chain, &e));

	CU_ASSERT(swtpm_shell("mkdir -p keys"));
	OK(trust_keys_save(&keys, &where, swtpm_path("keys"), &e));
	OK(tg_bytes_copy(keys.ak.public_part.data, keys.ak.public_part.len, &device.ak_public));
	memcpy(device.ek_hash, first.ek_hash, sizeof(device.ek_hash));
	trust_keys_close(&keys);
	clear(&c);

	CU_ASSERT_FATAL(OK(trust_keys_load(&where, swtpm_path("keys"), &kept, &e)));
	CU_ASSERT_FATAL(OK(trust_keys_renew(&kept, &fresh, &e)));
	if (OK(trust_claim(&fresh, true, &c.claim, &e)) &&
	    OK(tg_attest_renew_begin(&c.policy, &device, &c.claim, now, &c.session, &reason, &e)) &&
	    answer(&c, &fresh)) {
		CU_ASSERT_EQUAL(c.evidence.proof.len, 0);
		OK(tg_attest_verify(&c.policy, c.session, &c.evidence, exporter, now, &c.result, &e));
		CU_ASSERT_EQUAL(c.result.assurance, TG_ASSURANCE_TPM_ATTESTED);
		CU_ASSERT_EQUAL(memcmp(c.result.ak_name, first.ak_name, sizeof(first.ak_name)), 0);
		CU_ASSERT_EQUAL(memcmp(c.result.hpke_point, first.hpke_point, sizeof(first.hpke_point)), 0);
		CU_ASSERT_NOT_EQUAL(
			memcmp(c.result.tls_key_hash, first.tls_key_hash, sizeof(first.tls_key_hash)), 0);
	}
	tg_bytes_free(&device.ak_public);
	tg_bytes_free(&device.ek_chain);
	trust_keys_close(&fresh);
	trust_keys_close(&kept);
	teardown(&c);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

/* What was made for one connection is worth nothing on another. */
TEST(tpm_trust, evidence_is_bound_to_its_connection)
{
	static const uint8_t other[TG_EXPORTER_LEN] = "the exporter of another one ...";
	struct trust_keys keys = { 0 };
	struct trust_store where;
	enum tg_attest_reason reason;
	struct ceremony c;

	setup(&c);
	where = store();
	CU_ASSERT_FATAL(OK(trust_keys_create(&where, &keys, &e)));
	if (OK(trust_claim(&keys, false, &c.claim, &e)) &&
	    OK(tg_attest_enrol_begin(&c.policy, &c.claim, now, &c.session, &reason, &e)) &&
	    answer(&c, &keys)) {
		CU_ASSERT_EQUAL(
			tg_attest_verify(&c.policy, c.session, &c.evidence, other, now, &c.result, &e),
			-EKEYREJECTED);
		CU_ASSERT_EQUAL(c.result.assurance, TG_ASSURANCE_NONE);
		CU_ASSERT_EQUAL(c.result.reason, TG_ATTEST_PROOF);
	}
	trust_keys_close(&keys);
	teardown(&c);
}

TEST(tpm_trust, a_challenge_for_another_kind_of_device_is_refused)
{
	struct tg_bytes secret = { (uint8_t *)"correct horse", 13 };
	struct tg_attest_challenge challenge = { .pcr_mask = 0 };
	struct tg_attest_claim claim = { 0 };
	struct tg_attest_evidence evidence;
	struct trust_keys keys = { 0 };
	struct trust_store where;

	CU_ASSERT_PTR_NOT_NULL_FATAL(swtpm_tcti());
	where = store();
	CU_ASSERT_FATAL(OK(trust_keys_create(&where, &keys, &e)));
	CU_ASSERT_EQUAL(trust_evidence(&keys, &claim, &challenge, exporter, NULL, &evidence, &e), -EBADMSG);
	trust_keys_close(&keys);
	where = (struct trust_store){ .software = true, .secret = &secret };
	challenge.pcr_mask = MASK;
	CU_ASSERT_FATAL(OK(trust_keys_create(&where, &keys, &e)));
	CU_ASSERT_EQUAL(trust_evidence(&keys, &claim, &challenge, exporter, NULL, &evidence, &e), -EBADMSG);
	trust_keys_close(&keys);
}

/* Without a TPM: what the files hold is of no use without the secret (softkey.h has tests of its own). */
TEST(tpm_trust, a_key_in_software_needs_its_secret)
{
	struct tg_bytes right = { (uint8_t *)"correct horse", 13 }, wrong = { (uint8_t *)"wrong horse", 11 };
	struct trust_store where = { .software = true, .secret = &right };
	struct trust_keys keys = { 0 }, again = { 0 };
	struct tg_bytes pem;

	CU_ASSERT_PTR_NOT_NULL_FATAL(swtpm_tcti());
	CU_ASSERT(swtpm_shell("mkdir -p soft"));
	CU_ASSERT_FATAL(OK(trust_keys_create(&where, &keys, &e)));
	OK(trust_keys_save(&keys, &where, swtpm_path("soft"), &e));
	pem = read_file("soft/tls.pem");
	CU_ASSERT(pem.len > 0 && memmem(pem.data, pem.len, "BEGIN ENCRYPTED PRIVATE KEY", 27));
	tg_bytes_free(&pem);
	if (OK(trust_keys_load(&where, swtpm_path("soft"), &again, &e)))
		CU_ASSERT_EQUAL(EVP_PKEY_eq(keys.tls_pkey, again.tls_pkey), 1);
	trust_keys_close(&again);
	where.secret = &wrong;
	CU_ASSERT_EQUAL(trust_keys_load(&where, swtpm_path("soft"), &again, &e), -EACCES);
	where.secret = NULL;
	CU_ASSERT_EQUAL(trust_keys_create(&where, &again, &e), -EINVAL);
	CU_ASSERT_EQUAL(trust_keys_load(&where, swtpm_path("soft"), &again, &e), -EINVAL);
	trust_keys_close(&keys);
}

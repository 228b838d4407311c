/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The verifier on what a TPM and its EK certificate really say: whole enrolments, once by tpm2-tools and
 * tpm2-openssl alone, which know nothing of lib/attest and lib/tpm, and once by lib/tpm.
 */
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faketpm.h"
#include "harness.h"
#include "swtpm.h"
#include "tensorguard/attest.h"
#include "tensorguard/enrol.h"

static const uint8_t exporter[TG_EXPORTER_LEN] = "the exporter of this connection";
static const int64_t now = 1900000000; /* the certificates of swtpm-localca begin today and last ten years */
enum { MASK = 0xff };

static struct tg_error e;

struct enrolment {
	struct tg_attest_policy policy;
	struct tg_attest_claim claim;
	struct tg_attest_session *session;
	struct tg_attest_evidence evidence;
	struct tg_attest_result result;
	uint8_t binding[TG_BINDING_LEN];
};

static bool shell(const char *command)
{
	return swtpm_shell("%s", command);
}

/*
 * The log of what is in PCRs 0 to 7: firmware's own where there was firmware, else one of ours, extended
 * once: each event's data is hashed by tpm2_pcrevent.
 */
static const struct tg_bytes *boot(void)
{
	static uint8_t pcrs[TG_PCR_COUNT][TG_SHA256_LEN];
	static struct tg_bytes log;

	if (log.len)
		return &log;
	if (swtpm_given())
		OK(tg_tpm_event_log(NULL, &log, &e));
	else
		log = fake_event_log(pcrs);
	CU_ASSERT_FATAL(log.len > 0);
	write_file("boot.log", log.data, log.len);
	if (swtpm_given())
		return &log;
	CU_ASSERT(shell("for i in $(seq 0 39); do printf 'event %u' $i > event;"
			" tpm2_pcrevent -Q $((i % 8)) event || exit 1; done"));
	return &log;
}

static void setup(struct enrolment *n, bool pinned)
{
	*n = (struct enrolment){ .policy = { .allowed = TG_ALLOW(TG_ASSURANCE_TPM_ATTESTED) |
							TG_ALLOW(TG_ASSURANCE_TPM_UNENDORSED),
					     .pcr_mask = MASK } };
	CU_ASSERT_PTR_NOT_NULL_FATAL(swtpm_tcti());
	boot();
	/* the CA's folder has its private keys as well, and a folder of roots has nothing but certificates */
	CU_ASSERT(shell("mkdir -p roots && cp ca/*cert.pem roots/"));
	if (pinned)
		OK(tg_attest_roots_load(swtpm_path("roots"), (struct tg_attest_roots **)&n->policy.roots,
					&e));
}

static void teardown(struct enrolment *n)
{
	tg_attest_claim_clear(&n->claim);
	tg_attest_evidence_clear(&n->evidence);
	tg_attest_session_free(n->session);
	tg_attest_roots_free((struct tg_attest_roots *)n->policy.roots);
}

static bool begin(struct enrolment *n)
{
	enum tg_attest_reason reason;

	return OK(tg_attest_enrol_begin(&n->policy, &n->claim, now, &n->session, &reason, &e));
}

static void compute_binding(struct enrolment *n)
{
	struct tg_tpm_public ak;

	OK(tg_tpm_public_parse(n->claim.ak_public.data, n->claim.ak_public.len, &ak, &e));
	OK(tg_attest_binding(tg_attest_session_challenge(n->session)->nonce, &n->evidence.csr, ak.name,
			     exporter, n->binding, &e));
}

static void compute_proof(struct enrolment *n, const struct tg_bytes *secret)
{
	uint8_t proof[TG_PROOF_LEN];

	OK(tg_attest_proof(secret, &n->claim, tg_attest_session_challenge(n->session), n->binding, proof,
			   &e));
	tg_bytes_copy(proof, sizeof(proof), &n->evidence.proof);
}

static void expect(struct enrolment *n, enum tg_assurance assurance)
{
	OK(tg_attest_verify(&n->policy, n->session, &n->evidence, exporter, now + 2, &n->result, &e));
	CU_ASSERT_EQUAL(n->result.assurance, assurance);
	CU_ASSERT_EQUAL(n->result.pcr_mask, MASK);
	CU_ASSERT_TRUE(n->result.log_replayed);
}

/* Keys by tpm2_createek, tpm2_createak, tpm2_create; TLS and HPKE key under a primary key of their own. */
static void tools_keys(struct enrolment *n, const char *ek, const char *type, const char *scheme)
{
	CU_ASSERT(swtpm_shell("rm -f *.ctx *.tss; tpm2_createek -Q -G %s -c ek.ctx -f tss -u ek.tss &&"
			      " tpm2_flushcontext -t &&"
			      " tpm2_createak -Q -C ek.ctx -c ak.ctx -G %s -g sha256 -s %s -f tss -u ak.tss "
			      "&& tpm2_flushcontext -t &&"
			      " tpm2_createprimary -Q -C o -G ecc -c parent.ctx && tpm2_flushcontext -t",
			      ek, type, scheme));
	CU_ASSERT(shell(
		"tpm2_create -Q -C parent.ctx -G ecc -u tls.tss -r tls.priv"
		" -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign' && tpm2_flushcontext -t &&"
		" tpm2_load -Q -C parent.ctx -u tls.tss -r tls.priv -c tls.ctx && tpm2_flushcontext -t &&"
		" tpm2_create -Q -C parent.ctx -G ecc:ecdh-sha256:null -u hpke.tss -r hpke.priv"
		" -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt' && tpm2_flushcontext -t "
		"&&"
		" tpm2_load -Q -C parent.ctx -u hpke.tss -r hpke.priv -c hpke.ctx && tpm2_flushcontext -t"));
	n->claim.ek_public = read_file("ek.tss");
	n->claim.ak_public = read_file("ak.tss");
	n->claim.tls_public = read_file("tls.tss");
	n->claim.hpke_public = read_file("hpke.tss");
}

/* Persistent, for tpm2-openssl and tpm2_send */
#define TLS_HANDLE "0x81010010"
#define HPKE_HANDLE "0x81010011"
#define AK_HANDLE "0x81010012"

static void tools_persist(void)
{
	CU_ASSERT(shell("tpm2_evictcontrol -Q -C o -c tls.ctx " TLS_HANDLE " && tpm2_flushcontext -t &&"
			" tpm2_evictcontrol -Q -C o -c hpke.ctx " HPKE_HANDLE " && tpm2_flushcontext -t &&"
			" tpm2_evictcontrol -Q -C o -c ak.ctx " AK_HANDLE " && tpm2_flushcontext -t"));
}

static void tools_forget(void)
{
	CU_ASSERT(shell("for i in " TLS_HANDLE " " HPKE_HANDLE " " AK_HANDLE
			"; do tpm2_evictcontrol -Q -C o -c $i || exit 1; done; tpm2_flushcontext -t"));
}

static void tools_request(struct enrolment *n)
{
	CU_ASSERT(shell("openssl req -provider tpm2 -provider default -propquery '?provider=tpm2' -new"
			" -key handle:" TLS_HANDLE " -subj /CN=tools -sha256 -outform der -out csr.der"));
	n->evidence.csr = read_file("csr.der");
}

/* tpm2-tools put a magic number and a version before the two structures. */
static void tools_activate(struct enrolment *n)
{
	const struct tg_attest_challenge *challenge = tg_attest_session_challenge(n->session);
	uint8_t file[1024] = { 0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1 };
	struct tg_bytes secret;

	memcpy(file + 8, challenge->credential.data, challenge->credential.len);
	memcpy(file + 8 + challenge->credential.len, challenge->secret.data, challenge->secret.len);
	write_file("credential", file, 8 + challenge->credential.len + challenge->secret.len);
	CU_ASSERT(shell("rm -f secret; tpm2_startauthsession -Q --policy-session -S session.ctx &&"
			" tpm2_policysecret -Q -S session.ctx -c e &&"
			" tpm2_activatecredential -Q -c ak.ctx -C ek.ctx -i credential -o secret"
			" -P session:session.ctx;"
			" result=$?; tpm2_flushcontext session.ctx; tpm2_flushcontext -t; exit $result"));
	secret = read_file("secret");
	CU_ASSERT_EQUAL(secret.len, TG_SHA256_LEN);
	compute_proof(n, &secret);
	tg_bytes_free(&secret);
}

static size_t be(const uint8_t *at, int len)
{
	size_t value = 0;

	while (len--)
		value = value << 8 | *at++;
	return value;
}

/* TPM2_Certify by tpm2_send: tpm2_certify of 5.4 always qualifies with the same four bytes. */
static struct tg_attest_statement tools_certify(const struct enrolment *n, uint8_t handle)
{
	uint8_t command[] = {
		0x80, 0x02, 0, 0,      0,    0,    0, 0,    0x01, 0x48, /* sessions, size, TPM_CC_Certify */
		0x81, 0x01, 0, handle, 0x81, 0x01, 0, 0x12,             /* object, AK */
		0,    0,    0, 18,                                      /* two empty passwords */
		0x40, 0,    0, 9,      0,    0,    0, 0,    0,    0x40,
		0,    0,    9, 0,      0,    0,    0, 0,    0,    TG_BINDING_LEN,
	};
	uint8_t whole[sizeof(command) + TG_BINDING_LEN + 2] = { 0 };
	struct tg_attest_statement statement = { 0 };
	struct tg_bytes answer;
	size_t attest_len, parameters_len;

	memcpy(whole, command, sizeof(command));
	whole[5] = sizeof(whole);
	memcpy(whole + sizeof(command), n->binding, TG_BINDING_LEN);
	whole[sizeof(whole) - 1] = TG_TPM_ALG_NULL; /* the key's own scheme */
	write_file("command", whole, sizeof(whole));
	CU_ASSERT(shell("rm -f answer; tpm2_send -o answer command"));
	answer = read_file("answer");
	CU_ASSERT_FATAL(answer.len > 16 && be(answer.data + 6, 4) == 0);
	parameters_len = be(answer.data + 10, 4);
	attest_len = be(answer.data + 14, 2);
	CU_ASSERT_FATAL(14 + parameters_len <= answer.len && 2 + attest_len < parameters_len);
	tg_bytes_copy(answer.data + 16, attest_len, &statement.attest);
	tg_bytes_copy(answer.data + 16 + attest_len, parameters_len - 2 - attest_len, &statement.signature);
	tg_bytes_free(&answer);
	return statement;
}

static void tools_quote(struct enrolment *n, const char *scheme)
{
	char hex[2 * TG_BINDING_LEN + 1];

	for (size_t i = 0; i < TG_BINDING_LEN; i++)
		snprintf(hex + 2 * i, 3, "%02x", n->binding[i]);
	CU_ASSERT(swtpm_shell("rm -f attest signature; tpm2_quote -Q -c " AK_HANDLE
			      " -l sha256:0,1,2,3,4,5,6,7 -q %s --scheme %s -m attest -s signature",
			      hex, scheme));
	n->evidence.quote.attest = read_file("attest");
	n->evidence.quote.signature = read_file("signature");
	/* the PCRs as a tool read them, and the log that was extended */
	CU_ASSERT(shell("tpm2_pcrread -Q sha256:0,1,2,3,4,5,6,7 -o pcrs"));
	n->evidence.pcrs = read_file("pcrs");
	CU_ASSERT_EQUAL(n->evidence.pcrs.len, 8 * TG_SHA256_LEN);
	tg_bytes_copy(boot()->data, boot()->len, &n->evidence.event_log);
}

/* With TG_SEEDS=FOLDER what the tools made is kept there, for fuzz/make-seeds. */
static void keep(const char *kind, const char *name, const void *data, size_t len)
{
	const char *folder = getenv("TG_SEEDS");
	char path[PATH_MAX];
	FILE *file;

	if (!folder)
		return;
	snprintf(path, sizeof(path), "%s/%s.%s", folder, kind, name);
	file = fopen(path, "wb");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	CU_ASSERT_EQUAL(fwrite(data, 1, len, file), len);
	CU_ASSERT_EQUAL(fclose(file), 0);
}

static void keep_statement(const char *kind, const char *name, const struct tg_attest_statement *statement)
{
	uint8_t whole[2 + TG_ATTEST_MAX + TG_SIGNATURE_MAX];
	size_t len = statement->attest.len;

	whole[0] = (uint8_t)(len >> 8);
	whole[1] = (uint8_t)len;
	memcpy(whole + 2, statement->attest.data, len);
	memcpy(whole + 2 + len, statement->signature.data, statement->signature.len);
	keep(kind, name, whole, 2 + len + statement->signature.len);
}

static void keep_messages(const struct enrolment *n, const char *name)
{
	struct tg_enrol_start start = { .token = "token", .claim = n->claim };
	struct tg_enrol_finish finish = { .evidence = n->evidence };
	struct tg_bytes text;

	if (OK(tg_enrol_start_encode(&start, TG_ENROL, &text, &e)))
		keep("enrol_json.s", name, text.data, text.len);
	tg_bytes_free(&text);
	if (OK(tg_enrol_challenge_encode(tg_attest_session_challenge(n->session), &text, &e)))
		keep("enrol_json.c", name, text.data, text.len);
	tg_bytes_free(&text);
	if (OK(tg_enrol_finish_encode(&finish, &text, &e)))
		keep("enrol_json.f", name, text.data, text.len);
	tg_bytes_free(&text);
}

static void keep_all(const struct enrolment *n, const char *ek, const char *scheme)
{
	const struct tg_attest_claim *claim = &n->claim;
	char name[64];

	snprintf(name, sizeof(name), "%s-%s", ek, scheme);
	keep_messages(n, name);
	keep("attest.p", "hpke", claim->hpke_public.data, claim->hpke_public.len);
	keep("attest.p", "tls", claim->tls_public.data, claim->tls_public.len);
	keep("attest.p", ek, claim->ek_public.data, claim->ek_public.len);
	keep("attest.p", scheme, claim->ak_public.data, claim->ak_public.len);
	keep_statement("attest.c", scheme, &n->evidence.certify_tls);
	keep_statement("attest.q", scheme, &n->evidence.quote);
	keep("certificate.r", "tools", n->evidence.csr.data, n->evidence.csr.len);
	keep("eventlog", "boot", n->evidence.event_log.data, n->evidence.event_log.len);
	if (claim->ek_certificate_count)
		keep("certificate.e", ek, claim->ek_certificates[0].data, claim->ek_certificates[0].len);
}

static bool left_to_the_socket(void)
{
	return swtpm_skips("tpm2-tools and lib/attest alone: an enrolment by them is shown with the RSA EK");
}

/* A whole enrolment without a line of ours on the device's side, but for binding and proof. */
static void enrol_by_tools(const char *ek, const char *type, const char *scheme, bool endorsed)
{
	struct enrolment n;

	setup(&n, endorsed);
	tools_keys(&n, ek, type, scheme);
	if (endorsed) {
		CU_ASSERT(shell("tpm2_getekcertificate -Q -o ek.der || tpm2_nvread -Q 0x01c00002 -o ek.der"));
		n.claim.ek_certificates[0] = read_file("ek.der");
		n.claim.ek_certificate_count = 1;
	}
	if (begin(&n)) {
		tools_persist();
		tools_request(&n);
		compute_binding(&n);
		tools_activate(&n);
		n.evidence.certify_tls = tools_certify(&n, 0x10);
		n.evidence.certify_hpke = tools_certify(&n, 0x11);
		tools_quote(&n, scheme);
		expect(&n, endorsed ? TG_ASSURANCE_TPM_ATTESTED : TG_ASSURANCE_TPM_UNENDORSED);
		keep_all(&n, ek, scheme);
		tools_forget();
	}
	teardown(&n);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

TEST(tpm_verify, tpm2_tools_enrol_by_an_rsa_ek)
{
	enrol_by_tools("rsa", "ecc", "ecdsa", true);
}

TEST(tpm_verify, tpm2_tools_enrol_by_a_p256_ek)
{
	if (!left_to_the_socket())
		enrol_by_tools("ecc", "ecc", "ecdsa", false);
}

TEST(tpm_verify, tpm2_tools_enrol_with_an_rsassa_ak)
{
	if (!left_to_the_socket())
		enrol_by_tools("rsa", "rsa", "rsassa", true);
}

TEST(tpm_verify, tpm2_tools_enrol_with_an_rsapss_ak)
{
	if (!left_to_the_socket())
		enrol_by_tools("rsa", "rsa", "rsapss", true);
}

static struct tg_attest_statement move(struct tg_tpm_statement *from)
{
	return (struct tg_attest_statement){ from->attest, from->signature };
}

static void library_certify(struct tg_tpm *tpm, const struct enrolment *n, const struct tg_tpm_key *key,
			    const struct tg_tpm_key *ak, struct tg_attest_statement *ret)
{
	struct tg_tpm_statement statement = { 0 };

	OK(tg_tpm_certify(tpm, key, ak, n->binding, sizeof(n->binding), &statement, &e));
	*ret = move(&statement);
}

static void library_answer(struct tg_tpm *tpm, struct enrolment *n, const struct tg_tpm_key keys[static 3])
{
	const struct tg_attest_challenge *challenge = tg_attest_session_challenge(n->session);
	uint8_t values[TG_TPM_PCRS][TG_TPM_DIGEST_BYTES];
	struct tg_tpm_statement quote = { 0 };
	struct tg_bytes secret = { 0 };
	EVP_PKEY *tls = NULL;

	OK(tg_tpm_provider_key(tpm, &keys[1], &tls, &e));
	OK(tg_request_make(tls, "library", &n->evidence.csr, &e));
	EVP_PKEY_free(tls);
	compute_binding(n);
	OK(tg_tpm_activate(tpm, TG_TPM_EK_RSA2048, &keys[0], &challenge->credential, &challenge->secret,
			   &secret, &e));
	compute_proof(n, &secret);
	tg_bytes_free(&secret);
	library_certify(tpm, n, &keys[1], &keys[0], &n->evidence.certify_tls);
	library_certify(tpm, n, &keys[2], &keys[0], &n->evidence.certify_hpke);
	OK(tg_tpm_quote(tpm, &keys[0], n->binding, sizeof(n->binding), MASK, &quote, &e));
	n->evidence.quote = move(&quote);
	OK(tg_tpm_pcr_read(tpm, MASK, values, &e));
	tg_bytes_copy(values, 8 * TG_SHA256_LEN, &n->evidence.pcrs);
	tg_bytes_copy(boot()->data, boot()->len, &n->evidence.event_log);
}

/* A whole enrolment by lib/tpm, its provider signing the request */
TEST(tpm_verify, lib_tpm_enrols)
{
	static const enum tg_tpm_use uses[] = { TG_TPM_AK, TG_TPM_TLS, TG_TPM_HPKE };
	struct tg_tpm_key keys[3] = { 0 };
	struct enrolment n;
	struct tg_tpm *tpm;

	setup(&n, true);
	tpm = swtpm_open();
	for (int i = 0; i < 3; i++)
		OK(tg_tpm_key_create(tpm, uses[i], TG_TPM_OWNER, &keys[i], &e));
	OK(tg_tpm_ek_certificate(tpm, TG_TPM_EK_RSA2048, &n.claim.ek_certificates[0], &e));
	n.claim.ek_certificate_count = 1;
	OK(tg_tpm_ek_public(tpm, TG_TPM_EK_RSA2048, &n.claim.ek_public, &e));
	tg_bytes_copy(keys[0].public_part.data, keys[0].public_part.len, &n.claim.ak_public);
	tg_bytes_copy(keys[1].public_part.data, keys[1].public_part.len, &n.claim.tls_public);
	tg_bytes_copy(keys[2].public_part.data, keys[2].public_part.len, &n.claim.hpke_public);
	if (begin(&n)) {
		library_answer(tpm, &n, keys);
		expect(&n, TG_ASSURANCE_TPM_ATTESTED);
	}
	for (int i = 0; i < 3; i++)
		tg_tpm_key_free(&keys[i]);
	teardown(&n);
	tg_tpm_close(tpm);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

TEST(tpm_verify, the_log_reads_the_same_to_tpm2_eventlog)
{
	CU_ASSERT_PTR_NOT_NULL_FATAL(swtpm_tcti());
	boot();
	/* what it computes is what the TPM has */
	CU_ASSERT(shell(
		"tpm2_eventlog boot.log | sed -n '/^  sha256:/,$p' | grep -oE '0x[0-9a-f]{64}' |"
		" tr A-F a-f > log.pcrs &&"
		" tpm2_pcrread sha256:0,1,2,3,4,5,6,7 | grep -oE '0x[0-9A-F]{64}' | tr A-F a-f > tpm.pcrs &&"
		" test $(wc -l < tpm.pcrs) = 8 && cmp log.pcrs tpm.pcrs"));
}

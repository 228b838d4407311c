/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Enrols with the TPM and the code of an honest device, but for one thing that it does as an attacker would.
 * It prints what the Platform answered to the attack, "STATUS REASON", or "200" if it was taken in.
 */
#include <errno.h>
#include <jansson.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/crypto.h"
#include "tensorguard/enrol.h"
#include "tensorguard/file.h"
#include "trust/https.h"
#include "trust/keys.h"

enum { FILE_MAX = 1 << 20 };

struct attack {
	const char *platform, *tcti, *file; /* file: of --ek-certificate, or for what is signed */
	struct tg_bytes ca;
	struct https *https, *other;	/* the second one for what goes over another connection */
	struct trust_keys keys, second;	/* the second: those of another enrolment on the same TPM */
	struct tg_enrol_start start;
	struct tg_attest_challenge challenge;
	struct tg_enrol_finish finish;
	uint8_t exporter[TG_EXPORTER_LEN];
	long status;
	char reason[64];
};

struct kind {
	const char *name;
	/* Each may be NULL. */
	void (*claim)(struct attack *a);	/* changes the claim before it is sent */
	void (*before)(struct attack *a);	/* after the challenge came, before the evidence is made */
	void (*evidence)(struct attack *a);	/* changes the evidence before it is sent */
	void (*after)(struct attack *a);	/* after the evidence was sent */
};

#define MUST(call)                                                             \
	do {                                                                   \
		struct tg_error e = { "" };                                    \
		if (call) {                                                    \
			fprintf(stderr, "attack: %s: %s\n", #call, e.message); \
			exit(2);                                               \
		}                                                              \
	} while (0)

static void replace(struct tg_bytes *bytes, const void *data, size_t len)
{
	tg_bytes_free(bytes);
	if (tg_bytes_copy(data, len, bytes))
		abort();
}

/* ---- the protocol ---- */

static struct tg_bytes post(struct attack *a, struct https *https, const char *step, struct tg_bytes *body)
{
	struct https_answer answer = { 0 };
	json_t *root;

	MUST(https_post(https, step, body, false, &answer, &e));
	a->status = answer.status;
	root = json_loadb((const char *)answer.body.data, answer.body.len, 0, NULL);
	if (answer.status != 200)
		snprintf(a->reason, sizeof(a->reason), "%s",
			 json_string_value(json_object_get(root, "reason")));
	json_decref(root);
	tg_bytes_free(body);
	return answer.body;
}

static void send_start(struct attack *a)
{
	struct tg_bytes body, answer;

	MUST(tg_enrol_start_encode(&a->start, TG_ENROL, &body, &e));
	answer = post(a, a->https, "/v1/enrol/start", &body);
	tg_attest_challenge_clear(&a->challenge);
	if (a->status == 200)
		MUST(tg_enrol_challenge_decode(answer.data, answer.len, &a->challenge, &e));
	tg_bytes_free(&answer);
	memcpy(a->exporter, https_exporter(a->https), sizeof(a->exporter));
}

static void send_finish(struct attack *a, struct https *https)
{
	struct tg_bytes body, answer;

	memcpy(a->finish.session, a->challenge.session, sizeof(a->finish.session));
	MUST(tg_enrol_finish_encode(&a->finish, &body, &e));
	answer = post(a, https, "/v1/enrol/finish", &body);
	tg_bytes_free(&answer);
}

static void make_evidence(struct attack *a)
{
	tg_attest_evidence_clear(&a->finish.evidence);
	MUST(trust_evidence(&a->keys, &a->start.claim, &a->challenge, a->exporter, NULL, &a->finish.evidence,
			    &e));
}

static void binding_of(const struct attack *a, uint8_t binding[static TG_BINDING_LEN])
{
	uint8_t name[TG_TPM_NAME_LEN];

	MUST(tg_tpm_key_name(&a->keys.ak, name, &e));
	MUST(tg_attest_binding(a->challenge.nonce, &a->finish.evidence.csr, name, a->exporter, binding, &e));
}

static void set_statement(struct tg_attest_statement *to, struct tg_tpm_statement *from)
{
	tg_bytes_free(&to->attest);
	tg_bytes_free(&to->signature);
	*to = (struct tg_attest_statement){ from->attest, from->signature };
}

static void quote_by(struct attack *a, const struct tg_tpm_key *ak, uint32_t mask)
{
	struct tg_tpm_statement statement;
	uint8_t binding[TG_BINDING_LEN];

	binding_of(a, binding);
	MUST(tg_tpm_quote(a->keys.tpm, ak, binding, sizeof(binding), mask, &statement, &e));
	set_statement(&a->finish.evidence.quote, &statement);
}

static void certify_by(struct attack *a, const struct tg_tpm_key *ak, const struct tg_tpm_key *key)
{
	struct tg_tpm_statement statement;
	uint8_t binding[TG_BINDING_LEN];

	binding_of(a, binding);
	MUST(tg_tpm_certify(a->keys.tpm, key, ak, binding, sizeof(binding), &statement, &e));
	set_statement(&a->finish.evidence.certify_tls, &statement);
}

static void second_keys(struct attack *a)
{
	MUST(tg_tpm_key_create(a->keys.tpm, TG_TPM_AK, TG_TPM_OWNER, &a->second.ak, &e));
	MUST(tg_tpm_key_create(a->keys.tpm, TG_TPM_TLS, TG_TPM_OWNER, &a->second.tls, &e));
}

/* ---- what an attacker does ---- */

/* An AK that signs whatever it is given. */
static void unrestricted_ak(struct attack *a)
{
	replace(&a->start.claim.ak_public, a->keys.tls.public_part.data, a->keys.tls.public_part.len);
}

static void other_certificate(struct attack *a)
{
	struct tg_bytes der = { 0 };

	MUST(tg_file_read(a->file, FILE_MAX, &der, &e));
	replace(&a->start.claim.ek_certificates[0], der.data, der.len);
	a->start.claim.ek_certificate_count = 1;
	tg_bytes_free(&der);
}

/* CVE-2022-1053: one AK for the check, another one for the use. */
static void swap_ak(struct attack *a)
{
	second_keys(a);
	certify_by(a, &a->second.ak, &a->keys.tls);
}

static void swap_quoting_ak(struct attack *a)
{
	second_keys(a);
	quote_by(a, &a->second.ak, a->challenge.pcr_mask);
}

/* The proof is honest, and the request is for a key outside the TPM. */
static void foreign_csr(struct attack *a)
{
	EVP_PKEY *inside = a->keys.tls_pkey, *outside;

	MUST(tg_p256_generate(&outside, &e));
	a->keys.tls_pkey = outside;
	make_evidence(a);
	a->keys.tls_pkey = inside;
	EVP_PKEY_free(outside);
}

/* The certified key is another one of the same TPM. */
static void certify_another(struct attack *a)
{
	second_keys(a);
	certify_by(a, &a->keys.ak, &a->second.tls);
}

/* CVE-2024-29039 */
static void quote_other_pcrs(struct attack *a)
{
	quote_by(a, &a->keys.ak, a->challenge.pcr_mask ^ 1u << 23);
}

static void lie_about_pcrs(struct attack *a)
{
	a->finish.evidence.pcrs.data[0] ^= 1;
}

static void wrong_proof(struct attack *a)
{
	a->finish.evidence.proof.data[0] ^= 1;
}

/* A TPM signs what does not begin with its magic number: tpm2-openssl has it hash and sign this for the AK.
 */
static struct tg_bytes sign_by_ak(struct attack *a, const struct tg_bytes *text)
{
	char command[2048], path[512];
	struct tg_bytes der = { 0 };

	snprintf(path, sizeof(path), "%s.ak", a->file);
	MUST(tg_tpm_key_save(&a->keys.ak, path, &e));
	MUST(tg_file_replace(a->file, text->data, text->len, 0600, &e));
	/* an swtpm serves one connection at a time */
	tg_tpm_close(a->keys.tpm);
	EVP_PKEY_free(a->keys.tls_pkey);
	a->keys.tpm = NULL;
	a->keys.tls_pkey = NULL;
	snprintf(
		command, sizeof(command),
		"openssl dgst -provider tpm2 -provider default -propquery '?provider=tpm2' -sha256 -sign '%s'"
		" -out '%s.sig' '%s' >&2",
		path, a->file, a->file);
	if (system(command)) {
		fprintf(stderr, "attack: the AK did not sign\n");
		exit(2);
	}
	snprintf(path, sizeof(path), "%s.sig", a->file);
	MUST(tg_file_read(path, FILE_MAX, &der, &e));
	return der;
}

/* TPMT_SIGNATURE of ECDSA with SHA-256 */
static void set_signature(struct tg_bytes *signature, const struct tg_bytes *der)
{
	const uint8_t *at = der->data;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)der->len);
	uint8_t out[4 + 2 * 34] = { 0, TG_TPM_ALG_ECDSA, 0, TG_TPM_ALG_SHA256, 0, 32 };

	out[38] = 0;
	out[39] = 32;
	if (!sig || BN_bn2binpad(ECDSA_SIG_get0_r(sig), out + 6, 32) != 32 ||
	    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 40, 32) != 32)
		abort();
	replace(signature, out, sizeof(out));
	ECDSA_SIG_free(sig);
}

/* CVE-2024-29038, CVE-2024-29040: all of it is right, signed by the AK, and not made by the TPM. */
static void without_magic(struct attack *a)
{
	struct tg_bytes der;

	a->finish.evidence.quote.attest.data[0] ^= 1;
	der = sign_by_ak(a, &a->finish.evidence.quote.attest);
	set_signature(&a->finish.evidence.quote.signature, &der);
	tg_bytes_free(&der);
}

/* The same evidence for a new challenge on the same connection. */
static void replay_in_session(struct attack *a)
{
	struct tg_attest_evidence old = a->finish.evidence;

	a->finish.evidence = (struct tg_attest_evidence){ 0 };
	send_start(a);
	a->finish.evidence = old;
}

/* The same message once more, over the same connection. */
static void send_again(struct attack *a)
{
	if (a->status != 200) {
		fprintf(stderr, "attack: the honest first message was refused: %s\n", a->reason);
		exit(2);
	}
	send_finish(a, a->https);
}

static void open_other(struct attack *a)
{
	struct https_conf conf = { .url = a->platform, .ca = &a->ca };

	MUST(https_open(&conf, &a->other, &e));
}

static void send_again_elsewhere(struct attack *a)
{
	if (a->status != 200) {
		fprintf(stderr, "attack: the honest first message was refused: %s\n", a->reason);
		exit(2);
	}
	open_other(a);
	send_finish(a, a->other);
}

/* Evidence for this connection, with the session of this one, goes out over another one. */
static void move_session(struct attack *a)
{
	struct https *own = a->https;

	open_other(a);
	a->https = a->other;
	a->other = own;
}

/* A session and its challenge on one connection, evidence for another. */
static void other_exporter(struct attack *a)
{
	memset(a->exporter, 0x5a, sizeof(a->exporter));
}

static const struct kind kinds[] = {
	{ .name = "honest" },
	{ .name = "unrestricted-ak", .claim = unrestricted_ak },
	{ .name = "ek-certificate", .claim = other_certificate },
	{ .name = "swapped-ak", .evidence = swap_ak },
	{ .name = "swapped-quoting-ak", .evidence = swap_quoting_ak },
	{ .name = "foreign-csr", .evidence = foreign_csr },
	{ .name = "certified-another", .evidence = certify_another },
	{ .name = "other-pcrs", .evidence = quote_other_pcrs },
	{ .name = "pcr-values", .evidence = lie_about_pcrs },
	{ .name = "wrong-proof", .evidence = wrong_proof },
	{ .name = "no-magic", .evidence = without_magic },
	{ .name = "replay-challenge", .evidence = replay_in_session },
	{ .name = "replay-message", .after = send_again },
	{ .name = "replay-elsewhere", .after = send_again_elsewhere },
	{ .name = "other-connection", .evidence = move_session },
	{ .name = "other-exporter", .before = other_exporter },
};

static void call(void (*step)(struct attack *a), struct attack *a)
{
	if (step)
		step(a);
}

static void run(const struct kind *kind, struct attack *a)
{
	struct trust_store store = { .tcti = a->tcti };
	struct https_conf conf = { .url = a->platform, .ca = &a->ca };

	MUST(trust_keys_create(&store, &a->keys, &e));
	MUST(trust_claim(&a->keys, false, &a->start.claim, &e));
	MUST(https_open(&conf, &a->https, &e));
	call(kind->claim, a);
	send_start(a);
	if (a->status != 200)
		return;
	call(kind->before, a);
	make_evidence(a);
	call(kind->evidence, a);
	send_finish(a, a->https);
	call(kind->after, a);
}

static void clear(struct attack *a)
{
	https_close(a->https);
	https_close(a->other);
	tg_enrol_start_clear(&a->start);
	tg_attest_challenge_clear(&a->challenge);
	tg_enrol_finish_clear(&a->finish);
	trust_keys_close(&a->keys);
	trust_keys_close(&a->second);
	tg_bytes_free(&a->ca);
}

int main(int argc, char **argv)
{
	struct attack a = { .reason = "" };
	struct tg_bytes token = { 0 };
	const struct kind *kind = NULL;

	for (size_t i = 0; argc == 7 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(argv[1], kinds[i].name))
			kind = &kinds[i];
	if (!kind) {
		fprintf(stderr, "Usage: identity-attack KIND PLATFORM CA TOKEN TCTI FILE\n");
		return 2;
	}
	a.platform = argv[2];
	a.tcti = argv[5];
	a.file = argv[6];
	MUST(tg_file_read(argv[3], FILE_MAX, &a.ca, &e));
	MUST(tg_file_read(argv[4], TG_TOKEN_LEN, &token, &e));
	memcpy(a.start.token, token.data, token.len - 1);
	tg_bytes_free(&token);
	run(kind, &a);
	if (a.status == 200)
		printf("200\n");
	else
		printf("%ld %s\n", a.status, a.reason);
	clear(&a);
	return 0;
}

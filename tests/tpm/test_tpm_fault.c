/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each operation of lib/tpm with each of its commands spoilt in each way: what
 * was spoilt ends in an error and gives nothing out, nothing stays in the TPM,
 * and the same operation works again afterwards.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <tss2/tss2_tpm2_types.h>

#include "fault.h"
#include "harness.h"
#include "swtpm.h"

enum {
	MOST_COMMANDS = 64,
	INDEX = 0x01800103,
};

static struct tg_error e;

/* What the operations work on, made without faults. */
static struct {
	struct tg_tpm_key ak, tls, hpke;
	struct tg_bytes object, encrypted, credential;
	uint8_t point[TG_TPM_POINT_BYTES];
} with;

/* Asserts that an output is there exactly when the call succeeded, and frees it. */
static int whole(int r, struct tg_bytes *bytes)
{
	CU_ASSERT_EQUAL(r == 0, bytes->data != NULL);
	tg_bytes_free(bytes);
	return r;
}

static int whole_key(int r, struct tg_tpm_key *key)
{
	CU_ASSERT_EQUAL(r == 0, key->public_part.data != NULL);
	CU_ASSERT_EQUAL(r == 0, key->private_part.data != NULL);
	tg_tpm_key_free(key);
	return r;
}

static int whole_statement(int r, struct tg_tpm_statement *statement)
{
	CU_ASSERT_EQUAL(r == 0, statement->attest.data != NULL);
	CU_ASSERT_EQUAL(r == 0, statement->signature.data != NULL);
	tg_tpm_statement_free(statement);
	return r;
}

static int ek_public(struct tg_tpm *tpm)
{
	struct tg_bytes public = { 0 };

	return whole(tg_tpm_ek_public(tpm, TG_TPM_EK_P256, &public, &e), &public);
}

static int ek_certificate(struct tg_tpm *tpm)
{
	struct tg_bytes der = { 0 };

	return whole(tg_tpm_ek_certificate(tpm, TG_TPM_EK_RSA2048, &der, &e), &der);
}

static int create_owner(struct tg_tpm *tpm)
{
	struct tg_tpm_key key = { 0 };

	return whole_key(tg_tpm_key_create(tpm, TG_TPM_AK, TG_TPM_OWNER, &key, &e), &key);
}

static int create_endorsement(struct tg_tpm *tpm)
{
	struct tg_tpm_key key = { 0 };

	return whole_key(tg_tpm_key_create(tpm, TG_TPM_HPKE, TG_TPM_ENDORSEMENT, &key, &e), &key);
}

static int sign(struct tg_tpm *tpm)
{
	static const uint8_t digest[TG_TPM_DIGEST_BYTES] = { 9 };
	struct tg_bytes der = { 0 };

	return whole(tg_tpm_sign(tpm, &with.tls, digest, &der, &e), &der);
}

static int ecdh(struct tg_tpm *tpm)
{
	static const uint8_t untouched[32];
	uint8_t x[32] = { 0 };
	int r = tg_tpm_ecdh(tpm, &with.hpke, with.point, x, &e);

	CU_ASSERT_EQUAL(r == 0, memcmp(x, untouched, sizeof(x)) != 0);
	return r;
}

static int activate(struct tg_tpm *tpm)
{
	struct tg_bytes secret = { 0 };

	return whole(
		tg_tpm_activate(tpm, TG_TPM_EK_P256, &with.ak, &with.object, &with.encrypted, &secret, &e),
		&secret);
}

static int certify(struct tg_tpm *tpm)
{
	struct tg_tpm_statement statement = { 0 };

	return whole_statement(tg_tpm_certify(tpm, &with.tls, &with.ak, "x", 1, &statement, &e), &statement);
}

static int quote(struct tg_tpm *tpm)
{
	struct tg_tpm_statement statement = { 0 };

	return whole_statement(tg_tpm_quote(tpm, &with.ak, "x", 1, 0xff, &statement, &e), &statement);
}

static int pcr_read(struct tg_tpm *tpm)
{
	uint8_t values[TG_TPM_PCRS][TG_TPM_DIGEST_BYTES], before[sizeof(values)];
	int r;

	memset(values, 0x5a, sizeof(values));
	memset(before, 0x5a, sizeof(before));
	r = tg_tpm_pcr_read(tpm, 0xffffff, values, &e);
	CU_ASSERT_EQUAL(r == 0, memcmp(values, before, sizeof(before)) != 0);
	return r;
}

static int counter_read(struct tg_tpm *tpm)
{
	uint64_t value = 0;
	int r = tg_tpm_counter_read(tpm, INDEX, "pin", 3, &value, &e);

	CU_ASSERT_EQUAL(r == 0, value != 0);
	return r;
}

static int counter_increment(struct tg_tpm *tpm)
{
	return tg_tpm_counter_increment(tpm, INDEX, "pin", 3, &e);
}

static const struct {
	const char *name;
	int (*run)(struct tg_tpm *tpm);
} operations[] = {
	{ "ek_public", ek_public },
	{ "ek_certificate", ek_certificate },
	{ "create_owner", create_owner },
	{ "create_endorsement", create_endorsement },
	{ "sign", sign },
	{ "ecdh", ecdh },
	{ "activate", activate },
	{ "certify", certify },
	{ "quote", quote },
	{ "pcr_read", pcr_read },
	{ "counter_read", counter_read },
	{ "counter_increment", counter_increment },
};

static void prepare(void)
{
	struct tg_tpm *tpm = swtpm_open();
	struct tg_bytes public = { 0 };
	uint8_t name[2 + TG_TPM_DIGEST_BYTES];
	char hex[2 * sizeof(name) + 1];

	OK(tg_tpm_key_create(tpm, TG_TPM_AK, TG_TPM_OWNER, &with.ak, &e));
	OK(tg_tpm_key_create(tpm, TG_TPM_TLS, TG_TPM_OWNER, &with.tls, &e));
	OK(tg_tpm_key_create(tpm, TG_TPM_HPKE, TG_TPM_OWNER, &with.hpke, &e));
	OK(tg_tpm_counter_define(tpm, INDEX, "pin", 3, &e));
	OK(tg_tpm_key_point(&with.tls, with.point, &e));
	OK(tg_tpm_key_name(&with.ak, name, &e));
	OK(tg_tpm_ek_public(tpm, TG_TPM_EK_P256, &public, &e));
	tg_tpm_close(tpm);
	swtpm_hex(name, sizeof(name), hex);
	write_file("ek.pub", public.data, public.len);
	tg_bytes_free(&public);
	swtpm_make_credential("of the test of faults", hex, &with.credential, &with.object, &with.encrypted);
}

static void unprepare(void)
{
	struct tg_tpm *tpm = swtpm_open();

	OK(tg_tpm_counter_remove(tpm, INDEX, &e));
	tg_tpm_close(tpm);
	tg_tpm_key_free(&with.ak);
	tg_tpm_key_free(&with.tls);
	tg_tpm_key_free(&with.hpke);
	tg_bytes_free(&with.credential);
}

/* Runs with one command spoilt. Returns whether there was such a command. */
static bool spoil(TSS2_TCTI_CONTEXT *tcti, struct tg_tpm *tpm, size_t which, enum fault_kind kind,
		  unsigned at, uint32_t code)
{
	uint32_t spoilt;
	int r;

	e.message[0] = '\0';
	fault_set(tcti, kind, at, code);
	r = operations[which].run(tpm);
	spoilt = fault_spoilt(tcti);
	/* giving back what was loaded is not the operation: that is mended behind it */
	if (spoilt && spoilt != TPM2_CC_FlushContext &&
	    (kind != FAULT_FLIPPED || fault_authenticated(tcti))) {
		if (!r)
			fprintf(stderr, "%s: succeeded with command %u (0x%x) spoilt in way %d\n",
				operations[which].name, at, spoilt, (int)kind);
		CU_ASSERT(r < 0);
		CU_ASSERT(!strncmp(e.message, "TPM", 3));
	}
	fault_clear(tcti);
	/* a TPM that came back only now is tidied up by whatever comes next */
	if (kind == FAULT_DEAD || kind == FAULT_REFUSED)
		CU_ASSERT_EQUAL(operations[which].run(tpm), 0);
	r = fault_loaded(tcti);
	if (r)
		fprintf(stderr, "%s: %d handles left with command %u (0x%x) spoilt in way %d\n",
			operations[which].name, r, at, spoilt, (int)kind);
	CU_ASSERT_EQUAL(r, 0);
	return spoilt != 0;
}

static void spoil_each(enum fault_kind kind, uint32_t code)
{
	TSS2_TCTI_CONTEXT *tcti;
	struct tg_tpm *tpm = NULL;
	unsigned at;

	if (swtpm_skips("answers are spoilt in front of the TCTI, whichever it is"))
		return;
	prepare();
	tcti = fault_open(swtpm_tcti());
	OK(tg_tpm_open_tcti(tcti, &tpm, &e));
	for (size_t i = 0; tpm && i < sizeof(operations) / sizeof(operations[0]); i++) {
		for (at = 0; at < MOST_COMMANDS && spoil(tcti, tpm, i, kind, at, code); at++)
			;
		CU_ASSERT(at > 0 && at < MOST_COMMANDS);
		CU_ASSERT_EQUAL(operations[i].run(tpm), 0);
	}
	tg_tpm_close(tpm);
	fault_free(tcti);
	unprepare();
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

TEST(tpm_fault, code)
{
	spoil_each(FAULT_CODE, TPM2_RC_FAILURE);
}

TEST(tpm_fault, lost)
{
	spoil_each(FAULT_LOST, 0);
}

TEST(tpm_fault, short_answer)
{
	spoil_each(FAULT_SHORT, 0);
}

TEST(tpm_fault, flipped_answer)
{
	spoil_each(FAULT_FLIPPED, 0);
}

TEST(tpm_fault, dead)
{
	spoil_each(FAULT_DEAD, 0);
}

/* A TPM that refuses everything from some command on, the giving back of what is loaded as well. */
TEST(tpm_fault, refused)
{
	spoil_each(FAULT_REFUSED, TPM2_RC_FAILURE);
}

static int result_with(TSS2_TCTI_CONTEXT *tcti, struct tg_tpm *tpm, enum fault_kind kind, uint32_t code)
{
	int r;

	fault_set(tcti, kind, 2, code);	/* the third command loads a key */
	r = sign(tpm);
	CU_ASSERT_EQUAL(fault_spoilt(tcti), TPM2_CC_Load);
	fault_clear(tcti);
	CU_ASSERT_EQUAL(sign(tpm), 0);
	CU_ASSERT_EQUAL(fault_loaded(tcti), 0);
	return r;
}

/* Where the specification says that a command may be sent again, it is, a bounded number of times. */
TEST(tpm_fault, codes_that_ask_for_patience)
{
	static const uint32_t again[] = { TPM2_RC_RETRY, TPM2_RC_YIELDED, TPM2_RC_TESTING, TPM2_RC_NV_RATE };
	static const struct {
		uint32_t code;
		int err;
	} other[] = {
		{ TPM2_RC_LOCKOUT, -EAGAIN },
		{ TPM2_RC_OBJECT_MEMORY, -ENOSPC },
		{ TPM2_RC_AUTH_FAIL + TPM2_RC_S + TPM2_RC_1, -EACCES },
		{ TPM2_RC_INTEGRITY + TPM2_RC_P + TPM2_RC_1, -EBADMSG },
		{ TPM2_RC_FAILURE, -EIO },
	};
	TSS2_TCTI_CONTEXT *tcti;
	struct tg_tpm *tpm = NULL;

	prepare();
	tcti = fault_open(swtpm_tcti());
	OK(tg_tpm_open_tcti(tcti, &tpm, &e));
	for (size_t i = 0; i < sizeof(again) / sizeof(again[0]); i++) {
		CU_ASSERT_EQUAL(result_with(tcti, tpm, FAULT_CODE, again[i]), 0);
		CU_ASSERT_EQUAL(result_with(tcti, tpm, FAULT_REFUSED, again[i]), -EAGAIN);
	}
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		CU_ASSERT_EQUAL(result_with(tcti, tpm, FAULT_CODE, other[i].code), other[i].err);
	CU_ASSERT_EQUAL(result_with(tcti, tpm, FAULT_LOST, 0), -EIO);
	tg_tpm_close(tpm);
	fault_free(tcti);
	unprepare();
}

/* Opening asks the TPM what is loaded: without an answer there is no context. */
TEST(tpm_fault, open)
{
	TSS2_TCTI_CONTEXT *tcti;
	struct tg_tpm *tpm = NULL;

	swtpm_tcti();
	tcti = fault_open(swtpm_tcti());
	for (int kind = FAULT_CODE; kind <= FAULT_REFUSED; kind++)
		for (unsigned at = 0; at < 2; at++) {
			fault_set(tcti, (enum fault_kind)kind, at, TPM2_RC_FAILURE);
			/* nothing protects a list of nothing: the last byte of it is its length */
			if (kind == FAULT_FLIPPED)
				continue;
			CU_ASSERT(tg_tpm_open_tcti(tcti, &tpm, &e) < 0);
			CU_ASSERT_PTR_NULL(tpm);
		}
	fault_clear(tcti);
	OK(tg_tpm_open_tcti(tcti, &tpm, &e));
	CU_ASSERT_EQUAL(fault_commands(tcti), 2);
	tg_tpm_close(tpm);
	fault_free(tcti);
}

/* Who listens on the bus sees neither secrets that come out of the TPM nor those that go in. */
TEST(tpm_bus, secrets_do_not_pass_in_clear)
{
	static const char pin[] = "thirty-two bytes as a secret pin";
	TSS2_TCTI_CONTEXT *tcti;
	struct tg_tpm *tpm = NULL;
	struct tg_bytes secret = { 0 };
	uint8_t x[32];
	uint64_t value;

	prepare();
	tcti = fault_open(swtpm_tcti());
	OK(tg_tpm_open_tcti(tcti, &tpm, &e));
	OK(tg_tpm_ecdh(tpm, &with.hpke, with.point, x, &e));
	CU_ASSERT(!fault_saw(tcti, x, sizeof(x)));
	/* the point goes in encrypted too; the key's own, which it is not, does not */
	CU_ASSERT(!fault_saw(tcti, with.point + 1, 32));
	CU_ASSERT(fault_saw(tcti, with.hpke.public_part.data + 2, 32));
	OK(tg_tpm_activate(tpm, TG_TPM_EK_P256, &with.ak, &with.object, &with.encrypted, &secret, &e));
	CU_ASSERT(!fault_saw(tcti, secret.data, secret.len));
	OK(tg_tpm_counter_define(tpm, INDEX + 1, pin, 32, &e));
	OK(tg_tpm_counter_increment(tpm, INDEX + 1, pin, 32, &e));
	OK(tg_tpm_counter_read(tpm, INDEX + 1, pin, 32, &value, &e));
	CU_ASSERT(!fault_saw(tcti, pin, 32));
	value = htobe64(value);
	CU_ASSERT(!fault_saw(tcti, &value, sizeof(value)));
	OK(tg_tpm_counter_remove(tpm, INDEX + 1, &e));
	tg_bytes_free(&secret);
	tg_tpm_close(tpm);
	fault_free(tcti);
	unprepare();
}

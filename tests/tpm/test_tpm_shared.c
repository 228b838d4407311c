/* SPDX-License-Identifier: BSD-3-Clause */
/* What only a resource manager makes possible: several holders of one TPM. */
#include <pthread.h>
#include <stdio.h>

#include "fault.h"
#include "harness.h"
#include "swtpm.h"

enum {
	HOLDERS = 2,
	ROUNDS = 2,
};

struct holder {
	TSS2_TCTI_CONTEXT *tcti;
	struct tg_tpm *tpm;
	struct tg_error e;
	int r;
};

/* Certifying fills all the slots that the kernel grants a holder. */
static int round_of(struct holder *holder)
{
	static const uint8_t digest[TG_TPM_DIGEST_BYTES] = { 7 };
	struct tg_tpm_key ak = { 0 }, tls = { 0 };
	struct tg_tpm_statement statement = { 0 };
	struct tg_bytes signature = { 0 };
	int r = tg_tpm_key_create(holder->tpm, TG_TPM_AK, TG_TPM_OWNER, &ak, &holder->e);

	if (!r)
		r = tg_tpm_key_create(holder->tpm, TG_TPM_TLS, TG_TPM_ENDORSEMENT, &tls, &holder->e);
	if (!r)
		r = tg_tpm_certify(holder->tpm, &tls, &ak, "x", 1, &statement, &holder->e);
	if (!r)
		r = tg_tpm_sign(holder->tpm, &tls, digest, &signature, &holder->e);
	tg_bytes_free(&signature);
	tg_tpm_statement_free(&statement);
	tg_tpm_key_free(&ak);
	tg_tpm_key_free(&tls);
	return r;
}

static void *hold(void *data)
{
	struct holder *holder = data;

	for (int i = 0; !holder->r && i < ROUNDS; i++)
		holder->r = round_of(holder);
	return NULL;
}

TEST(tpm_shared, holders_do_not_meet)
{
	struct holder holders[HOLDERS] = { 0 };
	pthread_t threads[HOLDERS];

	if (!swtpm_given()) {
		harness_skip("swtpm's socket has no resource manager");
		return;
	}
	for (int i = 0; i < HOLDERS; i++) {
		holders[i].tcti = fault_open(swtpm_tcti());
		CU_ASSERT_EQUAL_FATAL(tg_tpm_open_tcti(holders[i].tcti, &holders[i].tpm, &holders[i].e), 0);
	}
	for (int i = 0; i < HOLDERS; i++)
		CU_ASSERT_EQUAL(pthread_create(&threads[i], NULL, hold, &holders[i]), 0);
	for (int i = 0; i < HOLDERS; i++) {
		pthread_join(threads[i], NULL);
		CU_ASSERT_EQUAL(holders[i].r, 0);
		if (holders[i].r)
			fprintf(stderr, "holder %d: %s\n", i, holders[i].e.message);
		/* a holder is shown its own alone */
		CU_ASSERT_EQUAL(fault_loaded(holders[i].tcti), 0);
	}
	/* asked past the resource manager, and before it is told that the holders are gone */
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
	for (int i = 0; i < HOLDERS; i++) {
		tg_tpm_close(holders[i].tpm);
		fault_free(holders[i].tcti);
	}
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

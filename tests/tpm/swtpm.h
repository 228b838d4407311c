/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A TPM for the tests: swtpm with endorsement certificates by a certification
 * authority of its own, in a temporary folder, for as long as the program runs.
 * It serves one connection at a time: close the context before a tool runs.
 *
 * Or the TPM that the environment names: TG_TEST_TCTI for lib/tpm,
 * TG_TEST_TOOLS_TCTI (if another) for tpm2-tools and tpm2-openssl, and
 * TG_TEST_EK_ROOTS, a folder with the certificates of its vendor (*cert.pem).
 * The tests leave it as they found it, but for its PCRs 16 and 23.
 */
#ifndef TESTS_TPM_SWTPM_H
#define TESTS_TPM_SWTPM_H

#include <stdbool.h>
#include <stddef.h>

#include "tensorguard/tpm.h"

/* Started at first use; NULL, with the reason on stderr, if that fails. */
const char *swtpm_tcti(void);
/* A context; NULL and a failed assertion if there is none. */
struct tg_tpm *swtpm_open(void);
/* The environment named it: it cannot be restarted, and firmware has booted with it. */
bool swtpm_given(void);
/* With a given TPM the running test is marked as skipped: return from it if true. */
bool swtpm_skips(const char *reason);
/* Ends swtpm and, unless it is to stay down, starts it again at the same place: its PCRs are reset, its keys
 * are not. */
bool swtpm_restart(bool down);
/* Path of a file in the temporary folder, until the next but seven calls. */
const char *swtpm_path(const char *name);
/*
 * Runs a shell command in the temporary folder, with the TPM's address in the
 * environment of tpm2-tools and tpm2-openssl. True if it succeeded; what it
 * printed is on stderr if not.
 */
bool swtpm_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Objects and sessions in the TPM, saved sessions among them, as tpm2_getcap counts them. */
int swtpm_loaded(void);

void write_file(const char *name, const void *data, size_t len);
/* Empty if there is no such file. */
struct tg_bytes read_file(const char *name);

void swtpm_hex(const uint8_t *data, size_t len, char *ret_text);
/*
 * tpm2_makecredential for the endorsement key whose TPM2B_PUBLIC is in the file
 * ek.pub and for a key's name: its whole output, and the two structures in it.
 */
void swtpm_make_credential(const char *secret, const char *name, struct tg_bytes *ret_whole,
			   struct tg_bytes *ret_object, struct tg_bytes *ret_encrypted);

/* Asserts that a call succeeded and prints its message if not. */
#define OK(call)                                                                                \
	({                                                                                      \
		int ok_r = (call);                                                              \
		if (ok_r)                                                                       \
			fprintf(stderr, "%s:%d: %d %s\n", __FILE__, __LINE__, ok_r, e.message); \
		CU_ASSERT_EQUAL(ok_r, 0);                                                       \
		ok_r == 0;                                                                      \
	})

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The reader of TSS2 PRIVATE KEY files; what it accepts is written and read again. */
#include <openssl/pem.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/tpm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_and_write(const void *text, size_t len)
{
	struct tg_tpm_key key, again;
	struct tg_bytes pem;
	struct tg_error e;

	if (tg_tpm_key_from_pem(text, len, &key, &e))
		return;
	if (tg_tpm_key_to_pem(&key, &pem, &e) || tg_tpm_key_from_pem(pem.data, pem.len, &again, &e) ||
	    again.parent != key.parent || again.private_part.len != key.private_part.len ||
	    memcmp(again.private_part.data, key.private_part.data, key.private_part.len))
		abort();
	tg_bytes_free(&pem);
	tg_tpm_key_free(&key);
	tg_tpm_key_free(&again);
}

/* The input as it is, and as the DER within a PEM: base64 hides it from mutation. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;

	read_and_write(data, size);
	if (bio && size < 16384 && PEM_write_bio(bio, "TSS2 PRIVATE KEY", "", data, (long)size) > 0) {
		len = BIO_get_mem_data(bio, &text);
		read_and_write(text, (size_t)len);
	}
	BIO_free(bio);
	return 0;
}

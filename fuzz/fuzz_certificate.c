/* SPDX-License-Identifier: BSD-3-Clause */
/* Certificates and requests in DER. The first byte says for whom. No input is a device's. */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "faketpm.h"
#include "tensorguard/certificate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake *fake;
static struct tg_attest_policy policy = { .allowed = ~0u, .pcr_mask = 1 };

static void prepare(void)
{
	static const struct fake_options options = { .ek_ecc = true };

	if (fake)
		return;
	fake = fake_new(&options);
	policy.roots = fake_roots(fake);
}

/* As an EK's own certificate, or as its issuer's: nothing but the fake's own leads to its root. */
static void ek_certificate(const uint8_t *data, size_t size, bool issuer)
{
	struct tg_attest_claim claim = fake->claim;
	struct tg_attest_session *session;
	enum tg_attest_reason reason;
	struct tg_error e;

	claim.ek_certificate_count = issuer ? 2 : 1;
	claim.ek_certificates[issuer] = (struct tg_bytes){ (uint8_t *)data, size };
	if (!tg_attest_enrol_begin(&policy, &claim, FAKE_NOW, &session, &reason, &e))
		abort();
}

static void request(const uint8_t *data, size_t size)
{
	struct tg_error e;
	EVP_PKEY *key;

	if (!tg_request_parse(data, size, &key, &e))
		EVP_PKEY_free(key);
}

static void client(const uint8_t *data, size_t size)
{
	X509 *certificate = d2i_X509(NULL, &data, (long)size);
	char serial[TG_SERIAL_TEXT_LEN];
	struct tg_client found;
	struct tg_error e;
	int64_t end;

	if (!certificate)
		return;
	tg_certificate_client(certificate, &found, &e);
	tg_certificate_serial(certificate, serial, &e);
	tg_certificate_end(certificate, &end, &e);
	X509_free(certificate);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	prepare();
	switch (data[0]) {
	case 'e':
	case 'i':
		ek_certificate(data + 1, size - 1, data[0] == 'i');
		break;
	case 'r':
		request(data + 1, size - 1);
		break;
	case 'c':
		client(data + 1, size - 1);
		break;
	default:
		break;
	}
	return 0;
}

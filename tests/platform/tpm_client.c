/* SPDX-License-Identifier: BSD-3-Clause */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "tpm_client.h"

X509 *with_tpm(struct enrol_client *client, const struct fake *fake, const char *token,
	       struct enrol_reply *ret_reply, enum tg_assurance *ret_assurance)
{
	enum tg_enrol_kind kind = token ? TG_ENROL : TG_RENEW;
	struct tg_enrol_start start = { .claim = fake->claim };
	struct tg_attest_challenge challenge = { 0 };
	struct tg_enrol_finish message = { 0 };
	struct tg_enrol_issued issued = { 0 };
	uint8_t exporter[TG_EXPORTER_LEN];
	X509 *cert = NULL;

	memset(ret_reply, 0, sizeof(*ret_reply));
	snprintf(start.token, sizeof(start.token), "%s", token ? token : "");
	CU_ASSERT_EQUAL(enrol_client_exporter(client, exporter, NULL), 0);
	CU_ASSERT_EQUAL(enrol_client_start(client, kind, &start, &challenge, ret_reply, NULL), 0);
	if (ret_reply->status == 200) {
		enrol_reply_clear(ret_reply);
		memcpy(message.session, challenge.session, sizeof(message.session));
		fake_answer(fake, &challenge, exporter, !token, &message.evidence);
		CU_ASSERT_EQUAL(enrol_client_finish(client, kind, &message, &issued, ret_reply, NULL), 0);
	}
	if (ret_reply->status == 200)
		cert = fixture_parse(&issued.certificate);
	*ret_assurance = issued.assurance;
	tg_bytes_free(&ret_reply->body);
	tg_attest_challenge_clear(&challenge);
	tg_enrol_finish_clear(&message);
	tg_enrol_issued_clear(&issued);
	return cert;
}

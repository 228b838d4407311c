/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trust documents. The first byte says what the rest is: a root as it is; or
 * the payload of targets, a snapshot or a timestamp, which is signed here, since
 * nothing of them is decoded without a signature.
 */
#include <stdlib.h>

#include "tensorguard/tgsp_trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const types[] = {
	"application/vnd.tensorguard.tgsp-targets",
	"application/vnd.tensorguard.tgsp-snapshot",
	"application/vnd.tensorguard.tgsp-timestamp",
};
enum { NOW = 1000 };

static EVP_PKEY *key;
static struct tg_tgsp_trust *trust;
static const struct tg_tgsp_issue issue = { 1, NOW - 1, NOW + 1 };

static void set_up(void)
{
	struct tg_tgsp_root root = { .issue = issue };
	const struct tg_key_set set = { &key, 1 };
	struct tg_bytes document;

	if (tg_key_generate(TG_KEY_EDDSA, &key, NULL))
		abort();
	for (int role = 0; role < TG_TGSP_ROLES; role++) {
		root.roles[role].threshold = 1;
		root.roles[role].keys[0] = key;
		root.roles[role].count = 1;
	}
	if (tg_tgsp_root_sign(&root, &set, &document, NULL) || tg_tgsp_trust_new(&document, &trust, NULL))
		abort();
	tg_bytes_free(&document);
}

/* The input in the place of one document, good ones in the places above it. */
static void update(unsigned which, const uint8_t *data, size_t size)
{
	struct tg_bytes documents[3] = { { 0 } };
	struct tg_tgsp_target target = { "m", 1, { 0 } };
	const struct tg_key_set set = { &key, 1 };
	struct tg_cbor_writer w = { 0 };
	struct tg_error e;
	int ret = 0;

	if (tg_cose_sign(&w, types[which], data, size, &set, &e) ||
	    tg_cbor_take(&w, &documents[which].data, &documents[which].len))
		abort();
	if (which)
		ret = tg_tgsp_targets_sign(&issue, &target, 1, &set, &documents[0], &e);
	for (unsigned i = 1; !ret && i < 3; i++)
		if (i != which)
			ret = tg_tgsp_pointer_sign(i == 1 ? TG_TGSP_SNAPSHOT : TG_TGSP_TIMESTAMP, &issue,
						   &documents[i - 1], 1, &set, &documents[i], &e);
	if (!ret)
		(void)tg_tgsp_trust_update(trust, &documents[2], &documents[1], &documents[0], NOW, NULL, &e);
	for (int i = 0; i < 3; i++)
		tg_bytes_free(&documents[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tg_tgsp_trust *fresh;
	struct tg_error e;

	if (!trust)
		set_up();
	if (!size)
		return 0;
	if (data[0] % 4 < 3) {
		update(data[0] % 4, data + 1, size - 1);
	} else {
		struct tg_bytes root = { (uint8_t *)(uintptr_t)(data + 1), size - 1 };

		if (!tg_tgsp_trust_new(&root, &fresh, &e))
			tg_tgsp_trust_free(fresh);
	}
	return 0;
}

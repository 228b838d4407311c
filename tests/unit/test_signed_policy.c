/* SPDX-License-Identifier: BSD-3-Clause */
/* Signed policies and the sync messages: their encodings, and what a device refuses. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/sync.h"

enum { NOW = 1000000 };

static struct tg_error e;

/* A key, what is pinned of it, and a policy for the fleet "lab". */
struct bench {
	EVP_PKEY *key;
	uint8_t spki[TG_SPKI_MAX_LEN];
	struct tg_bytes pinned;
	struct tg_policy_holder holder;
	struct tg_signed_policy policy;
};

static char text[] = "version = 1;\nname = \"lab\";\n";

static struct bench *bench_new(enum tg_key_type type)
{
	struct bench *b = calloc(1, sizeof(*b));

	CU_ASSERT_PTR_NOT_NULL_FATAL(b);
	CU_ASSERT_EQUAL_FATAL(tg_key_generate(type, &b->key, &e), 0);
	b->pinned.data = b->spki;
	CU_ASSERT_EQUAL_FATAL(tg_key_to_spki(b->key, b->spki, &b->pinned.len, &e), 0);
	b->holder =
		(struct tg_policy_holder){ .key = &b->pinned, .agent = "arm", .fleet = "lab", .floor = 6 };
	b->policy = (struct tg_signed_policy){ .target = "fleet:lab",
					       .version = 7,
					       .not_before = NOW,
					       .not_after = NOW + 60,
					       .offline = TG_OFFLINE_CLOSED,
					       .text = { (uint8_t *)text, sizeof(text) - 1 } };
	return b;
}

static void bench_free(struct bench *b)
{
	EVP_PKEY_free(b->key);
	free(b);
}

static enum tg_policy_refusal admit(struct bench *b, int64_t now)
{
	return tg_signed_policy_admit(&b->policy, &b->holder, now, &e);
}

static void sign(struct bench *b)
{
	CU_ASSERT_EQUAL_FATAL(tg_signed_policy_sign(&b->policy, b->key, &e), 0);
}

TEST(signed_policy, statement_is_what_the_header_says)
{
	struct bench *b = bench_new(TG_KEY_EDDSA);
	char statement[TG_STATEMENT_MAX];
	size_t len;

	CU_ASSERT_EQUAL_FATAL(tg_signed_policy_statement(&b->policy, statement, &len, &e), 0);
	CU_ASSERT_STRING_EQUAL(statement,
			       "tensorguard policy statement 1\nkind policy\ntarget fleet:lab\nversion 7\n"
			       "not_before 1000000\nnot_after 1000060\noffline closed\nsha256 "
			       "52160b72558ca854358e7db3d96356cc2c3bd4db50c56ad47c807ecf89ff0b08\n");
	CU_ASSERT_EQUAL(len, strlen(statement));
	bench_free(b);
}

TEST(signed_policy, comes_back_as_it_was)
{
	struct bench *b = bench_new(TG_KEY_EDDSA);
	struct tg_signed_policy back;
	uint8_t one[TG_SHA256_LEN], two[TG_SHA256_LEN];
	struct tg_bytes document;

	b->policy.kind = TG_POLICY_LOCKDOWN;
	sign(b);
	CU_ASSERT_EQUAL_FATAL(tg_signed_policy_encode(&b->policy, &document, &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_signed_policy_decode(document.data, document.len, &back, &e), 0);
	CU_ASSERT_EQUAL(back.kind, TG_POLICY_LOCKDOWN);
	CU_ASSERT_EQUAL(back.offline, TG_OFFLINE_CLOSED);
	CU_ASSERT_STRING_EQUAL((char *)back.text.data, text);
	CU_ASSERT_EQUAL(tg_signed_policy_hash(&b->policy, one, &e) | tg_signed_policy_hash(&back, two, &e),
			0);
	CU_ASSERT(!memcmp(one, two, sizeof(one)));
	CU_ASSERT_EQUAL(tg_signed_policy_admit(&back, &b->holder, NOW, &e), TG_POLICY_ACCEPTED);
	tg_signed_policy_clear(&back);
	tg_bytes_free(&document);
	bench_free(b);
}

/* Each field is covered by the signature: one that is changed afterwards is refused. */
TEST(signed_policy, any_change_breaks_the_signature)
{
	struct bench *b = bench_new(TG_KEY_EDDSA), *other = bench_new(TG_KEY_EDDSA);
	struct tg_signed_policy good;
	char changed[] = "version = 1;\nname = \"laB\";\n";

	sign(b);
	good = b->policy;
	CU_ASSERT_EQUAL(admit(b, NOW), TG_POLICY_ACCEPTED);
	b->policy.kind = TG_POLICY_LOCKDOWN;
	CU_ASSERT_EQUAL(admit(b, NOW), TG_POLICY_BAD_SIGNATURE);
	b->policy = good;
	strcpy(b->policy.target, "label:x");
	CU_ASSERT_EQUAL(admit(b, NOW), TG_POLICY_BAD_SIGNATURE);
	b->policy = good;
	b->policy.version++;
	CU_ASSERT_EQUAL(admit(b, NOW), TG_POLICY_BAD_SIGNATURE);
	b->policy = good;
	b->policy.not_before--;
	CU_ASSERT_EQUAL(admit(b, NOW), TG_POLICY_BAD_SIGNATURE);
	b->policy = good;
	b->policy.not_after++;
	CU_ASSERT_EQUAL(admit(b, NOW), TG_POLICY_BAD_SIGNATURE);
	b->policy = good;
	b->policy.offline = TG_OFFLINE_OPEN;
	CU_ASSERT_EQUAL(admit(b, NOW), TG_POLICY_BAD_SIGNATURE);
	b->policy = good;
	b->policy.signature[63] ^= 1;
	CU_ASSERT_EQUAL(admit(b, NOW), TG_POLICY_BAD_SIGNATURE);
	b->policy = good;
	b->policy.text.data = (uint8_t *)changed;
	CU_ASSERT_EQUAL(admit(b, NOW), TG_POLICY_BAD_SIGNATURE);
	b->policy = good;
	b->holder.key = &other->pinned;
	CU_ASSERT_EQUAL(admit(b, NOW), TG_POLICY_BAD_SIGNATURE);
	bench_free(b);
	bench_free(other);
}

TEST(signed_policy, refuses_targets_versions_and_times)
{
	static const struct {
		const char *target;
		enum tg_policy_refusal refusal;
	} targets[] = {
		{ "fleet:lab", TG_POLICY_ACCEPTED }, { "fleet:lab2", TG_POLICY_FOREIGN },
		{ "fleet:arm", TG_POLICY_FOREIGN },  { "agent:arm", TG_POLICY_ACCEPTED },
		{ "agent:lab", TG_POLICY_FOREIGN },  { "label:any", TG_POLICY_ACCEPTED },
	};
	struct bench *b = bench_new(TG_KEY_EDDSA);

	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		strcpy(b->policy.target, targets[i].target);
		sign(b);
		CU_ASSERT_EQUAL(admit(b, NOW), targets[i].refusal);
	}
	strcpy(b->policy.target, "fleet:lab");
	sign(b);
	b->holder.floor = 7;
	CU_ASSERT_EQUAL(admit(b, NOW), TG_POLICY_OLD);
	CU_ASSERT_EQUAL(tg_signed_policy_verify(&b->policy, &b->holder, &e), TG_POLICY_ACCEPTED);
	b->holder.floor = 6;
	CU_ASSERT_EQUAL(admit(b, NOW - TG_CLOCK_SKEW_SECONDS), TG_POLICY_ACCEPTED);
	CU_ASSERT_EQUAL(admit(b, NOW - TG_CLOCK_SKEW_SECONDS - 1), TG_POLICY_TOO_EARLY);
	CU_ASSERT_EQUAL(admit(b, NOW + 59), TG_POLICY_ACCEPTED);
	CU_ASSERT_EQUAL(admit(b, NOW + 60), TG_POLICY_EXPIRED);
	bench_free(b);
}

TEST(signed_policy, only_ed25519_signs)
{
	struct bench *b = bench_new(TG_KEY_ES256);
	char statement[TG_STATEMENT_MAX];
	size_t len;

	CU_ASSERT_EQUAL(tg_signed_policy_sign(&b->policy, b->key, &e), -EINVAL);
	/* a good signature of the wrong kind of key */
	CU_ASSERT_EQUAL(tg_signed_policy_statement(&b->policy, statement, &len, &e), 0);
	CU_ASSERT_EQUAL(tg_key_sign(b->key, (uint8_t *)statement, len, b->policy.signature, &e), 0);
	CU_ASSERT_EQUAL(admit(b, NOW), TG_POLICY_BAD_SIGNATURE);
	bench_free(b);
}

#define BEAT                                                                                        \
	"\"heartbeat\":{\"version\":\"1\",\"kernel\":\"6\",\"engine\":\"kernel\",\"state\":\"up\"," \
	"\"uptime\":1,"                                                                             \
	"\"real\":1,\"pad\":2,\"dummy\":3,\"violations\":4,\"restarts\":5"

TEST(sync_json, takes_what_is_described)
{
	static const char with[] =
		"{\"format\":1," BEAT ",\"faults\":[\"a\",\"b\"]},\"policy\":{\"version\":7,"
		"\"hash\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=\"}}";
	struct tg_sync_request r;
	struct tg_bytes again;

	CU_ASSERT_EQUAL_FATAL(tg_sync_request_decode(with, sizeof(with) - 1, &r, &e), 0);
	CU_ASSERT_EQUAL(r.heartbeat.fault_count, 2);
	CU_ASSERT_STRING_EQUAL(r.heartbeat.faults[1], "b");
	CU_ASSERT_EQUAL(r.heartbeat.state, TG_SYNC_UP);
	CU_ASSERT(r.has_policy && r.policy.version == 7 && r.policy.hash[31] == 1);
	CU_ASSERT_EQUAL_FATAL(tg_sync_request_encode(&r, &again, &e), 0);
	CU_ASSERT_STRING_EQUAL((char *)again.data, with);
	tg_bytes_free(&again);
	tg_sync_request_clear(&r);
}

TEST(sync_json, refuses_the_rest_and_says_where)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "{}", "format: missing" },
		{ "{\"format\":2," BEAT "}}", "format: expected 1" },
		{ "{\"format\":1}", "heartbeat: missing" },
		{ "{\"format\":1," BEAT "},\"x\":1}", "an unknown key" },
		{ "{\"format\":1," BEAT ",\"x\":1}}", "heartbeat.an unknown key" },
		{ "{\"format\":1," BEAT ",\"faults\":[]}}",
		  "heartbeat.faults: not a list of the right length" },
		{ "{\"format\":1," BEAT ",\"faults\":[1,2,3,4,5,6,7,8,9]}}",
		  "heartbeat.faults: not a list of the right length" },
		{ "{\"format\":1," BEAT ",\"faults\":[\"a b\"]}}",
		  "heartbeat.faults: a character that has no place in it" },
		{ "{\"format\":1," BEAT "},\"policy\":{}}", "policy.version: missing" },
		{ "{\"format\":1," BEAT "},\"policy\":{\"version\":-1,\"hash\":\"\"}}",
		  "policy.version: not a number from 0" },
		{ "{\"format\":1,\"heartbeat\":{\"version\":\"1\",\"kernel\":\"6\",\"engine\":\"fast\"}}",
		  "heartbeat.engine: not one of the names for it" },
		{ "{\"format\":1,\"heartbeat\":{\"version\":\"12345678901234567890123456789012\"}}",
		  "heartbeat.version: not a text of the right length" },
	};
	struct tg_sync_request r;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(tg_sync_request_decode(cases[i].text, strlen(cases[i].text), &r, &e),
				-EINVAL);
		CU_ASSERT_STRING_EQUAL(e.message, cases[i].message);
	}
}

TEST(sync_json, bounds_the_period_and_checks_the_policy)
{
	static const struct {
		const char *text;
		int result;
	} cases[] = {
		{ "{\"format\":1,\"time\":5,\"period\":1}", 0 },
		{ "{\"format\":1,\"time\":5,\"period\":3600}", 0 },
		{ "{\"format\":1,\"time\":5,\"period\":0}", -EINVAL },
		{ "{\"format\":1,\"time\":5,\"period\":3601}", -EINVAL },
		{ "{\"format\":1,\"time\":5,\"period\":60.0}", -EINVAL },
	};
	struct bench *b = bench_new(TG_KEY_EDDSA);
	struct tg_sync_answer answer = { .format = 1, .time = 5, .period = 60, .has_policy = true }, back;
	struct tg_bytes encoded;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CU_ASSERT_EQUAL(tg_sync_answer_decode(cases[i].text, strlen(cases[i].text), &back, &e),
				cases[i].result);
	answer.policy = b->policy;
	CU_ASSERT_EQUAL_FATAL(tg_sync_answer_encode(&answer, &encoded, &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_sync_answer_decode(encoded.data, encoded.len, &back, &e), 0);
	CU_ASSERT_EQUAL(back.policy.version, 7);
	tg_sync_answer_clear(&back);
	tg_bytes_free(&encoded);
	strcpy(answer.policy.target, "nobody:x");
	CU_ASSERT_EQUAL_FATAL(tg_sync_answer_encode(&answer, &encoded, &e), 0);
	CU_ASSERT_EQUAL(tg_sync_answer_decode(encoded.data, encoded.len, &back, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "policy: target: expected fleet:NAME, label:NAME or agent:ID");
	tg_bytes_free(&encoded);
	bench_free(b);
}

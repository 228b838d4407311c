/* SPDX-License-Identifier: BSD-3-Clause */
/* Records, chains and batches of the audit trail. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/audit.h"

enum { RECORDS = 5 };

static const struct tg_audit_event event = { .time_ms = 1700000000123,
					     .count = 3,
					     .actor = "guard",
					     .action = "violation",
					     .target = "lab",
					     .outcome = "delay",
					     .detail = "class=2" };

static void make_chain(struct tg_audit_chain *ret_end, struct tg_bytes ret_records[static RECORDS])
{
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_begin("robot-1", ret_end, NULL), 0);
	for (int i = 0; i < RECORDS; i++)
		CU_ASSERT_EQUAL_FATAL(tg_audit_chain_add(ret_end, &event, &ret_records[i], NULL), 0);
}

static void free_all(struct tg_bytes records[static RECORDS])
{
	for (int i = 0; i < RECORDS; i++)
		tg_bytes_free(&records[i]);
}

static struct tg_audit_chain beginning(const struct tg_audit_chain *end)
{
	struct tg_audit_chain chain = { 0 };

	memcpy(chain.source, end->source, sizeof(chain.source));
	memcpy(chain.chain, end->chain, sizeof(chain.chain));
	return chain;
}

TEST(audit, a_record_comes_back_as_it_was)
{
	struct tg_audit_record record = { 0 };
	struct tg_bytes records[RECORDS], again;
	struct tg_audit_chain end;

	make_chain(&end, records);
	CU_ASSERT_EQUAL_FATAL(tg_audit_decode(records[0].data, records[0].len, &record, NULL), 0);
	CU_ASSERT_EQUAL(record.sequence, 1);
	CU_ASSERT_EQUAL(record.time_ms, 1700000000123);
	CU_ASSERT_EQUAL(record.count, 3);
	CU_ASSERT_STRING_EQUAL(record.source, "robot-1");
	CU_ASSERT_STRING_EQUAL(record.actor, "guard");
	CU_ASSERT_STRING_EQUAL(record.action, "violation");
	CU_ASSERT_STRING_EQUAL(record.target, "lab");
	CU_ASSERT_STRING_EQUAL(record.outcome, "delay");
	CU_ASSERT_STRING_EQUAL(record.detail, "class=2");
	CU_ASSERT_EQUAL_FATAL(tg_audit_encode(&record, &again, NULL), 0);
	CU_ASSERT(again.len == records[0].len && !memcmp(again.data, records[0].data, again.len));
	tg_bytes_free(&again);
	free_all(records);
}

/* docs/audit.md shows these bytes. */
TEST(audit, the_bytes_are_those_that_are_documented)
{
	static const uint8_t expected[] =
		"\xac\x01\x01\x02\x67robot-"
		"1\x03\x50\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
		"\x04\x01\x05\x58\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		"\x06\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b\x07\x03\x08\x65guard\x09\x69violation\x0a\x63lab"
		"\x0b"
		"\x65"
		"delay\x0c\x67"
		"class=2";
	struct tg_audit_chain chain = { .source = "robot-1" };
	struct tg_bytes record;

	for (uint8_t i = 0; i < TG_AUDIT_CHAIN_LEN; i++)
		chain.chain[i] = i;
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_add(&chain, &event, &record, NULL), 0);
	CU_ASSERT_EQUAL(record.len, sizeof(expected) - 1);
	CU_ASSERT_EQUAL(memcmp(record.data, expected, sizeof(expected) - 1), 0);
	tg_bytes_free(&record);
}

TEST(audit, texts_are_made_fit)
{
	char longer[2 * TG_AUDIT_DETAIL_SIZE];
	struct tg_audit_event odd = { .actor = "a\nb\tc\x7f",
				      .action = "\xff\xc3\xa4\xc3",
				      .target = "\xed\xa0\x80\xf4\x90\x80\x80",
				      .outcome = NULL,
				      .detail = longer };
	struct tg_audit_record record;
	struct tg_audit_chain chain;
	struct tg_bytes data;

	memset(longer, 'x', sizeof(longer));
	/* a character of two bytes that would be cut through */
	memcpy(longer + TG_AUDIT_DETAIL_SIZE - 2, "\xc3\xa4", 2);
	longer[sizeof(longer) - 1] = '\0';
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_begin("", &chain, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_add(&chain, &odd, &data, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_audit_decode(data.data, data.len, &record, NULL), 0);
	CU_ASSERT_STRING_EQUAL(record.actor, "a?b?c?");
	CU_ASSERT_STRING_EQUAL(record.action, "?\xc3\xa4?");
	CU_ASSERT_STRING_EQUAL(record.target, "???????");
	CU_ASSERT_STRING_EQUAL(record.outcome, "");
	CU_ASSERT_EQUAL(strlen(record.detail), TG_AUDIT_DETAIL_SIZE - 2);
	CU_ASSERT_EQUAL(record.count, 1);
	tg_bytes_free(&data);
}

TEST(audit, the_largest_record_fits)
{
	char text[TG_AUDIT_DETAIL_SIZE];
	struct tg_audit_event most = { UINT64_MAX, UINT64_MAX, text, text, text, text, text };
	struct tg_audit_record record;
	struct tg_audit_chain chain;
	struct tg_bytes data;

	memset(text, 'y', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	memset(&chain, 0, sizeof(chain));
	memset(chain.source, 'z', TG_ID_LEN - 1);
	chain.sequence = INT64_MAX - 1;
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_add(&chain, &most, &data, NULL), 0);
	CU_ASSERT(data.len <= TG_AUDIT_RECORD_MAX);
	CU_ASSERT_EQUAL(tg_audit_decode(data.data, data.len, &record, NULL), 0);
	tg_bytes_free(&data);
}

/* Whatever byte of whatever record is another one: the chain does not go on to its end. */
TEST(audit, every_byte_of_a_chain_counts)
{
	struct tg_bytes records[RECORDS];
	struct tg_audit_record record;
	struct tg_audit_chain end, chain;

	make_chain(&end, records);
	for (int changed = 0; changed < RECORDS; changed++)
		for (size_t at = 0; at < records[changed].len; at++) {
			int ret = 0;

			records[changed].data[at] ^= 0x20;
			chain = beginning(&end);
			for (int i = 0; !ret && i < RECORDS; i++)
				ret = tg_audit_chain_follow(&chain, records[i].data, records[i].len, &record,
							    NULL);
			if (!ret && !memcmp(chain.hash, end.hash, sizeof(end.hash)))
				CU_FAIL("a changed byte was not found");
			records[changed].data[at] ^= 0x20;
		}
	free_all(records);
}

TEST(audit, gaps_forks_and_strangers)
{
	struct tg_audit_chain end, other, chain;
	struct tg_bytes records[RECORDS], strange;
	struct tg_audit_record record;

	make_chain(&end, records);
	chain = beginning(&end);
	CU_ASSERT_EQUAL(tg_audit_chain_follow(&chain, records[1].data, records[1].len, &record, NULL),
			-ENODATA);
	CU_ASSERT_EQUAL(tg_audit_chain_follow(&chain, records[0].data, records[0].len, &record, NULL), 0);
	CU_ASSERT_EQUAL(tg_audit_chain_follow(&chain, records[0].data, records[0].len, &record, NULL),
			-EALREADY);
	/* another second record */
	other = beginning(&end);
	other.sequence = 1;
	memset(other.hash, 7, sizeof(other.hash));
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_add(&other, &event, &strange, NULL), 0);
	CU_ASSERT_EQUAL(tg_audit_chain_follow(&chain, strange.data, strange.len, &record, NULL), -EILSEQ);
	tg_bytes_free(&strange);
	other = chain;
	snprintf(other.source, sizeof(other.source), "robot-2");
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_add(&other, &event, &strange, NULL), 0);
	CU_ASSERT_EQUAL(tg_audit_chain_follow(&chain, strange.data, strange.len, &record, NULL), -EXDEV);
	tg_bytes_free(&strange);
	CU_ASSERT_EQUAL(chain.sequence, 1);
	free_all(records);
}

TEST(audit, batches_are_signed_and_every_byte_counts)
{
	struct tg_bytes records[RECORDS], data = { 0 };
	struct tg_audit_batch batch;
	struct tg_audit_chain end;
	EVP_PKEY *key = NULL, *another = NULL;

	make_chain(&end, records);
	CU_ASSERT_EQUAL_FATAL(tg_p256_generate(&key, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_p256_generate(&another, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_audit_batch_make(records + 1, RECORDS - 1, key, &data, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_audit_batch_decode(data.data, data.len, &batch, NULL), 0);
	CU_ASSERT(batch.first == 2 && batch.last == RECORDS && batch.count == RECORDS - 1);
	CU_ASSERT_EQUAL(memcmp(batch.last_hash, end.hash, sizeof(end.hash)), 0);
	CU_ASSERT_STRING_EQUAL(batch.source, "robot-1");
	CU_ASSERT_EQUAL(tg_audit_batch_verify(&batch, key, NULL), 0);
	CU_ASSERT_EQUAL(tg_audit_batch_verify(&batch, another, NULL), -EBADMSG);
	for (size_t at = 0; at < data.len; at++) {
		data.data[at] ^= 1;
		if (!tg_audit_batch_decode(data.data, data.len, &batch, NULL) &&
		    !tg_audit_batch_verify(&batch, key, NULL))
			CU_FAIL("a changed byte was not found");
		data.data[at] ^= 1;
	}
	for (size_t len = 0; len < data.len; len++)
		CU_ASSERT_EQUAL(tg_audit_batch_decode(data.data, len, &batch, NULL), -EBADMSG);
	tg_bytes_free(&data);
	/* a record left out, none at all */
	tg_bytes_free(&records[2]);
	records[2] = records[3];
	CU_ASSERT_EQUAL(tg_audit_batch_make(records, 3, key, &data, NULL), -EINVAL);
	CU_ASSERT_EQUAL(tg_audit_batch_make(records, 0, key, &data, NULL), -EINVAL);
	records[3] = (struct tg_bytes){ 0 };
	free_all(records);
	EVP_PKEY_free(key);
	EVP_PKEY_free(another);
}

TEST(audit, codes_have_meanings)
{
	char room[TG_AUDIT_DETAIL_SIZE];
	struct tg_audit_event made;

	CU_ASSERT_PTR_NULL(tg_audit_meaning(0));
	CU_ASSERT_PTR_NULL(tg_audit_meaning(TG_AUDIT_CODES_END));
	for (unsigned code = 1; code < TG_AUDIT_CODES_END; code++)
		CU_ASSERT_PTR_NOT_NULL(tg_audit_meaning(code));
	CU_ASSERT_EQUAL(
		tg_audit_event_of(TG_AUDIT_PROCESS_ENDED, 5, 1, "guard", 9, 2, "signal 9", room, &made), 0);
	CU_ASSERT_STRING_EQUAL(made.detail, "signal 9; status=9; restarts=2");
	CU_ASSERT_STRING_EQUAL(made.action, "process-restart");
	CU_ASSERT_EQUAL(tg_audit_event_of(0, 5, 1, "", 0, 0, "", room, &made), -EINVAL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Event logs put together event by event; that real TPMs and tpm2_eventlog agree is in tests/tpm. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "faketpm.h"
#include "harness.h"

static struct tg_error e;

struct log {
	uint8_t data[4096];
	size_t len;
};

static void le(struct log *log, uint64_t value, int len)
{
	for (int i = 0; i < len; i++)
		log->data[log->len++] = (uint8_t)(value >> (8 * i));
}

static void bytes(struct log *log, const void *data, size_t len)
{
	memcpy(log->data + log->len, data, len);
	log->len += len;
}

static void fill(struct log *log, int value, size_t len)
{
	memset(log->data + log->len, value, len);
	log->len += len;
}

/* A head that names SHA-256 and, if not 0, another bank. */
static void head(struct log *log, unsigned other, unsigned other_len)
{
	unsigned banks = other ? 2 : 1;

	log->len = 0;
	le(log, 0, 4);
	le(log, 3, 4);
	fill(log, 0, 20);
	le(log, 16 + 8 + 4 + 4 * banks + 1, 4);
	bytes(log, "Spec ID Event03", 16);
	fill(log, 0, 8);
	le(log, banks, 4);
	if (other) {
		le(log, other, 2);
		le(log, other_len, 2);
	}
	le(log, TG_TPM_ALG_SHA256, 2);
	le(log, 32, 2);
	le(log, 0, 1);
}

static void event(struct log *log, unsigned pcr, unsigned type, uint8_t digest, const void *data, size_t len)
{
	le(log, pcr, 4);
	le(log, type, 4);
	le(log, 1, 4);
	le(log, TG_TPM_ALG_SHA256, 2);
	fill(log, digest, 32);
	le(log, len, 4);
	bytes(log, data, len);
}

static void locality(struct log *log, uint8_t value)
{
	uint8_t data[17] = "StartupLocality";

	data[16] = value;
	event(log, 0, 3, 0, data, sizeof(data));
}

static int replay(const struct log *log, struct tg_event_log_pcrs *pcrs)
{
	return tg_event_log_replay(log->data, log->len, pcrs, &e);
}

static void expect_bad(const struct log *log, const char *message)
{
	struct tg_event_log_pcrs pcrs;

	CU_ASSERT_EQUAL(replay(log, &pcrs), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, message);
	if (strcmp(e.message, message) != 0)
		printf("# %s\n", e.message);
}

static void extended(uint8_t value[static 32], uint8_t digest)
{
	uint8_t both[64];

	memcpy(both, value, 32);
	memset(both + 32, digest, 32);
	EVP_Digest(both, sizeof(both), value, NULL, EVP_sha256(), NULL);
}

TEST(event_log, pcrs_start_as_the_platform_profile_says)
{
	struct tg_event_log_pcrs pcrs;
	uint8_t zero[32] = { 0 }, ones[32];
	struct log log;

	memset(ones, 0xff, sizeof(ones));
	head(&log, 0, 0);
	CU_ASSERT_EQUAL_FATAL(replay(&log, &pcrs), 0);
	for (int i = 0; i < TG_PCR_COUNT; i++)
		CU_ASSERT_EQUAL(memcmp(pcrs.values[i], i >= 17 && i <= 22 ? ones : zero, 32), 0);
	CU_ASSERT_EQUAL(pcrs.events, 0);
}

TEST(event_log, events_extend_their_pcr_in_their_order)
{
	struct tg_event_log_pcrs pcrs;
	uint8_t zero[32] = { 0 }, four[32] = { 0 };
	struct log log;

	head(&log, 0, 0);
	event(&log, 4, 5, 1, "x", 1);
	event(&log, 4, 3, 7, "nothing", 7); /* EV_NO_ACTION */
	event(&log, 0xffffffff, 3, 7, "", 0); /* its PCR is that of no event */
	event(&log, 4, 5, 2, "", 0);
	extended(four, 1);
	extended(four, 2);
	CU_ASSERT_EQUAL_FATAL(replay(&log, &pcrs), 0);
	CU_ASSERT_EQUAL(memcmp(pcrs.values[4], four, 32), 0);
	CU_ASSERT_EQUAL(memcmp(pcrs.values[0], zero, 32), 0);
	CU_ASSERT_EQUAL(pcrs.events, 2);
}

TEST(event_log, startup_locality_is_where_pcr_0_begins)
{
	static const uint8_t good[] = { 0, 3, 4 };
	struct tg_event_log_pcrs pcrs;
	struct log log;

	for (size_t i = 0; i < sizeof(good); i++) {
		uint8_t value[32] = { 0 };

		head(&log, 0, 0);
		locality(&log, good[i]);
		event(&log, 0, 8, 9, "", 0);
		value[31] = good[i];
		extended(value, 9);
		CU_ASSERT_EQUAL_FATAL(replay(&log, &pcrs), 0);
		CU_ASSERT_EQUAL(memcmp(pcrs.values[0], value, 32), 0);
	}
	head(&log, 0, 0);
	locality(&log, 1);
	expect_bad(&log, "event log: a startup locality that cannot be: 1");
	head(&log, 0, 0);
	locality(&log, 3);
	locality(&log, 3);
	expect_bad(&log, "event log: a startup locality that cannot be: 3");
	head(&log, 0, 0);
	event(&log, 0, 8, 9, "", 0);
	locality(&log, 3);
	expect_bad(&log, "event log: a startup locality that cannot be: 3");
}

TEST(event_log, heads_that_are_none)
{
	struct log log;

	head(&log, 0, 0);
	log.data[0] = 1;
	expect_bad(&log, "event log: it does not begin with \"Spec ID Event03\"");
	head(&log, 0, 0);
	log.data[10] = 1;
	expect_bad(&log, "event log: it does not begin with \"Spec ID Event03\"");
	head(&log, 0, 0);
	log.data[46] = '2';	/* "Spec ID Event02": SHA-1 alone */
	expect_bad(&log, "event log: it does not begin with \"Spec ID Event03\"");
	log.len = 0;
	expect_bad(&log, "event log: it does not begin with \"Spec ID Event03\"");
	head(&log, 0x0004, 21);
	expect_bad(&log, "event log: bank 0x4 with 21 bytes");
	head(&log, 0x7777, 32);
	expect_bad(&log, "event log: bank 0x7777 with 32 bytes");
	head(&log, TG_TPM_ALG_SHA256, 32);
	expect_bad(&log, "event log: bank 0xb with 32 bytes");
	head(&log, 0, 0);
	log.data[60] = 0x0c;	/* SHA-384 alone */
	log.data[62] = 48;
	expect_bad(&log, "event log: it has no SHA-256 digests");
	head(&log, 0, 0);
	log.data[56] = 0;
	expect_bad(&log, "event log: its head names 0 banks");
	log.data[56] = 9;
	expect_bad(&log, "event log: its head names 9 banks");
	head(&log, 0, 0);
	log.data[28]--;
	expect_bad(&log, "event log: its head has another size than it says");
}

TEST(event_log, events_that_are_none)
{
	struct log log;
	size_t first;

	head(&log, 0, 0);
	first = log.len;
	event(&log, 24, 5, 1, "", 0);
	expect_bad(&log, "event log: an event for PCR 24");
	log.len = first;
	event(&log, 0, 5, 1, "", 0);
	log.data[first + 8] = 2; /* two digests */
	expect_bad(&log, "event log: an event has other digests than the head says");
	log.data[first + 8] = 0;
	expect_bad(&log, "event log: an event has other digests than the head says");
	log.data[first + 8] = 1;
	log.data[first + 12] = 0x04; /* a digest of a bank that the head does not name */
	expect_bad(&log, "event log: an event has other digests than the head says");
	log.len = first;
	event(&log, 0, 5, 1, "data", 4);
	log.data[first + 46] = 5; /* one byte more than there are */
	expect_bad(&log, "event log: cut off within an event");
	log.data[first + 49] = 0xff;
	expect_bad(&log, "event log: cut off within an event");
}

/* A head with two banks, and an event that has one of them twice. */
TEST(event_log, each_bank_has_one_digest)
{
	struct tg_event_log_pcrs pcrs;
	struct log log;

	for (int twice = 0; twice < 2; twice++) {
		head(&log, 0x0004, 20);
		le(&log, 7, 4);
		le(&log, 5, 4);
		le(&log, 2, 4);
		le(&log, TG_TPM_ALG_SHA256, 2);
		fill(&log, 1, 32);
		le(&log, twice ? TG_TPM_ALG_SHA256 : 0x0004, 2);
		fill(&log, 1, twice ? 32 : 20);
		le(&log, 0, 4);
		if (twice)
			expect_bad(&log, "event log: an event has other digests than the head says");
		else
			CU_ASSERT_EQUAL(replay(&log, &pcrs), 0);
	}
}

TEST(event_log, no_beginning_of_a_log_is_a_log_but_between_events)
{
	uint8_t ignored[TG_PCR_COUNT][TG_SHA256_LEN];
	struct tg_bytes log = fake_event_log(ignored);
	struct tg_event_log_pcrs pcrs;
	unsigned accepted = 0;

	for (size_t len = 0; len <= log.len; len++)
		accepted += !tg_event_log_replay(log.data, len, &pcrs, &e);
	CU_ASSERT_EQUAL(accepted, 41); /* 40 events, and the head alone */
	CU_ASSERT_EQUAL(pcrs.events, 40);
	CU_ASSERT_EQUAL(memcmp(pcrs.values, ignored, sizeof(ignored)), 0);
	CU_ASSERT_EQUAL(tg_event_log_replay(log.data, TG_EVENT_LOG_MAX + 1, &pcrs, &e), -EINVAL);
	tg_bytes_free(&log);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCG PC Client Platform Firmware Profile 1.05, 10: the log that firmware keeps of what it extended
 * into PCRs. The first event has the old SHA-1 form and says which banks all others have digests of.
 *
 *	head    PCR 0, EV_NO_ACTION, 20 bytes of 0, size, "Spec ID Event03", class, version, banks
 *	event   PCR, type, count of digests, { bank, digest }, size, data
 */
#include <errno.h>
#include <string.h>

#include "attest/parts.h"
#include "attest/reader.h"

enum { EV_NO_ACTION = 3, BANKS_MAX = 8, DIGEST_MAX = 64, HCRTM_LOCALITY = 4 };

static const char spec_id[16] = "Spec ID Event03";
static const char startup_locality[16] = "StartupLocality";

static const struct bank {
	uint16_t algorithm, len;
} known_banks[] = {
	{ 0x0004, 20 }, /* SHA-1 */
	{ 0x000b, 32 }, /* SHA-256 */
	{ 0x000c, 48 }, /* SHA-384 */
	{ 0x000d, 64 }, /* SHA-512 */
	{ 0x0012, 32 }, /* SM3-256 */
	{ 0x0027, 32 }, { 0x0028, 48 }, { 0x0029, 64 }, /* SHA3 */
};

struct replay {
	struct bank banks[BANKS_MAX];
	uint32_t bank_count;
	bool extended_0;	/* PCR 0 is no longer as it started */
	bool has_locality;
	struct tg_event_log_pcrs pcrs;
};

struct event {
	uint32_t pcr, type;
	const uint8_t *sha256, *data;
	size_t len;
};

static bool bank_known(struct bank bank)
{
	for (size_t i = 0; i < sizeof(known_banks) / sizeof(known_banks[0]); i++)
		if (known_banks[i].algorithm == bank.algorithm)
			return known_banks[i].len == bank.len;
	return false;
}

static const struct bank *find_bank(const struct replay *replay, uint16_t algorithm)
{
	for (uint32_t i = 0; i < replay->bank_count; i++)
		if (replay->banks[i].algorithm == algorithm)
			return &replay->banks[i];
	return NULL;
}

static int read_banks(struct reader *r, struct replay *replay, struct tg_error *e)
{
	uint32_t count = (uint32_t)read_le(r, 4);

	if (r->failed || !count || count > BANKS_MAX)
		return tg_error(e, -EINVAL, "event log: its head names %u banks", count);
	for (uint32_t i = 0; i < count; i++) {
		struct bank bank;

		bank.algorithm = (uint16_t)read_le(r, 2);
		bank.len = (uint16_t)read_le(r, 2);
		if (r->failed || !bank_known(bank) || find_bank(replay, bank.algorithm))
			return tg_error(e, -EINVAL, "event log: bank %#x with %u bytes", bank.algorithm,
					bank.len);
		replay->banks[replay->bank_count++] = bank;
	}
	if (!find_bank(replay, TG_TPM_ALG_SHA256))
		return tg_error(e, -EINVAL, "event log: it has no SHA-256 digests");
	return 0;
}

/* TCG_PCClientPCREvent with a TCG_EfiSpecIDEvent */
static int read_head(struct reader *r, struct replay *replay, struct tg_error *e)
{
	static const uint8_t no_digest[20];
	uint32_t pcr = (uint32_t)read_le(r, 4), type = (uint32_t)read_le(r, 4);
	const uint8_t *digest = read_bytes(r, sizeof(no_digest)), *signature;
	size_t len = (size_t)read_le(r, 4);
	struct reader data = reader_of(read_bytes(r, len), len);
	int ret;

	signature = read_bytes(&data, sizeof(spec_id));
	if (r->failed || pcr || type != EV_NO_ACTION || memcmp(digest, no_digest, sizeof(no_digest)) ||
	    !signature || memcmp(signature, spec_id, sizeof(spec_id)))
		return tg_error(e, -EINVAL, "event log: it does not begin with \"%s\"", spec_id);
	read_bytes(&data, 4 + 4); /* platform class; minor, major, errata, size of a word */
	ret = read_banks(&data, replay, e);
	if (ret)
		return ret;
	read_bytes(&data, (size_t)read_le(&data, 1)); /* the vendor's */
	if (!read_whole(&data))
		return tg_error(e, -EINVAL, "event log: its head has another size than it says");
	return 0;
}

static bool read_digests(struct reader *r, const struct replay *replay, struct event *event)
{
	unsigned seen = 0;

	if (read_le(r, 4) != replay->bank_count)
		return false;
	for (uint32_t i = 0; i < replay->bank_count; i++) {
		const struct bank *bank = find_bank(replay, (uint16_t)read_le(r, 2));
		unsigned bit = bank ? 1u << (bank - replay->banks) : 0;
		const uint8_t *digest = bank ? read_bytes(r, bank->len) : NULL;

		if (!digest || seen & bit)
			return false;
		seen |= bit;
		if (bank->algorithm == TG_TPM_ALG_SHA256)
			event->sha256 = digest;
	}
	return true;
}

static int read_event(struct reader *r, const struct replay *replay, struct event *ret_event,
		      struct tg_error *e)
{
	struct event event = { 0 };

	event.pcr = (uint32_t)read_le(r, 4);
	event.type = (uint32_t)read_le(r, 4);
	if (!read_digests(r, replay, &event))
		return tg_error(e, -EINVAL, "event log: an event has other digests than the head says");
	event.len = (size_t)read_le(r, 4);
	event.data = read_bytes(r, event.len);
	if (r->failed)
		return tg_error(e, -EINVAL, "event log: cut off within an event");
	if (event.pcr >= TG_PCR_COUNT && event.type != EV_NO_ACTION)
		return tg_error(e, -EINVAL, "event log: an event for PCR %u", event.pcr);
	*ret_event = event;
	return 0;
}

/* EV_NO_ACTION extends nothing, but one such event says from which locality the TPM was started. */
static int note_event(struct replay *replay, const struct event *event, struct tg_error *e)
{
	uint8_t locality;

	if (event->len != sizeof(startup_locality) + 1 ||
	    memcmp(event->data, startup_locality, sizeof(startup_locality)) != 0)
		return 0;
	locality = event->data[sizeof(startup_locality)];
	if (event->pcr || replay->extended_0 || replay->has_locality ||
	    (locality != 0 && locality != 3 && locality != HCRTM_LOCALITY))
		return tg_error(e, -EINVAL, "event log: a startup locality that cannot be: %u", locality);
	replay->has_locality = true;
	replay->pcrs.values[0][TG_SHA256_LEN - 1] = locality;
	return 0;
}

static int extend(struct replay *replay, const struct event *event, struct tg_error *e)
{
	uint8_t *value = replay->pcrs.values[event->pcr];
	const struct tg_piece pieces[] = { { value, TG_SHA256_LEN }, { event->sha256, TG_SHA256_LEN } };

	if (!event->pcr)
		replay->extended_0 = true;
	replay->pcrs.events++;
	return tg_sha256(pieces, 2, value, e);
}

/* PC Client Platform TPM Profile 1.05, 4.6.2: PCRs of a dynamic launch start with all bits set. */
static void pcrs_start(struct tg_event_log_pcrs *pcrs)
{
	for (int i = 17; i <= 22; i++)
		memset(pcrs->values[i], 0xff, TG_SHA256_LEN);
}

int tg_event_log_replay(const void *data, size_t len, struct tg_event_log_pcrs *ret_pcrs, struct tg_error *e)
{
	struct reader r = reader_of(data, len);
	struct replay replay = { 0 };
	int ret;

	if (len > TG_EVENT_LOG_MAX)
		return tg_error(e, -EINVAL, "event log: larger than %d bytes", TG_EVENT_LOG_MAX);
	pcrs_start(&replay.pcrs);
	ret = read_head(&r, &replay, e);
	while (!ret && r.left) {
		struct event event = { 0 };

		ret = read_event(&r, &replay, &event, e);
		if (!ret)
			ret = event.type == EV_NO_ACTION ? note_event(&replay, &event, e)
							 : extend(&replay, &event, e);
	}
	if (!ret)
		*ret_pcrs = replay.pcrs;
	return ret;
}

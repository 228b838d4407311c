/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tensorguard/audit.h"
#include "tensorguard/cbor.h"

enum { FORMAT = 1 };

/* Keys of a record's map, in their order. */
enum {
	KEY_FORMAT = 1,
	KEY_SOURCE,
	KEY_CHAIN,
	KEY_SEQUENCE,
	KEY_PREVIOUS,
	KEY_TIME,
	KEY_COUNT,
	KEY_ACTOR,
	KEY_ACTION,
	KEY_TARGET,
	KEY_OUTCOME,
	KEY_DETAIL,
	KEY_END,
};

static const struct tg_audit_meaning meanings[TG_AUDIT_CODES_END] = {
#define X(number, symbol, actor, action, outcome, a, b, text) \
	[number] = { actor, action, outcome, a, b, text },
	TG_AUDIT_CODES(X)
#undef X
};

const struct tg_audit_meaning *tg_audit_meaning(unsigned code)
{
	return code < TG_AUDIT_CODES_END && meanings[code].actor ? &meanings[code] : NULL;
}

static void add_number(char *room, const char *name, uint64_t value)
{
	size_t len = strlen(room);

	if (*name && len < TG_AUDIT_DETAIL_SIZE)
		snprintf(room + len, TG_AUDIT_DETAIL_SIZE - len, "%s%s=%llu", len ? "; " : "", name,
			 (unsigned long long)value);
}

int tg_audit_event_of(unsigned code, uint64_t time_ms, uint64_t count, const char *target, uint64_t a,
		      uint64_t b, const char *text, char room[static TG_AUDIT_DETAIL_SIZE],
		      struct tg_audit_event *ret_event)
{
	const struct tg_audit_meaning *meaning = tg_audit_meaning(code);

	if (!meaning)
		return -EINVAL;
	snprintf(room, TG_AUDIT_DETAIL_SIZE, "%s", text);
	add_number(room, meaning->a, a);
	add_number(room, meaning->b, b);
	*ret_event = (struct tg_audit_event){ .time_ms = time_ms,
					      .count = count,
					      .actor = meaning->actor,
					      .action = meaning->action,
					      .target = target,
					      .outcome = meaning->outcome,
					      .detail = room };
	return 0;
}

struct tg_audit_event tg_audit_event_again(const struct tg_audit_record *r)
{
	return (struct tg_audit_event){ r->time_ms, r->count,   r->actor, r->action,
					r->target,  r->outcome, r->detail };
}

/* ---- texts ---- */

/* Bytes of the well-formed UTF-8 character at `text`, which ends with a NUL; 0 if there is none. */
static size_t character(const uint8_t *text)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t len;

	if (text[0] < 0x80)
		return text[0] >= 0x20 && text[0] != 0x7f;
	if (text[0] < 0xc2 || text[0] > 0xf4)
		return 0;
	len = text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
	/* overlong forms, surrogates, what is beyond Unicode */
	if (text[0] == 0xe0)
		low = 0xa0;
	else if (text[0] == 0xed)
		high = 0x9f;
	else if (text[0] == 0xf0)
		low = 0x90;
	else if (text[0] == 0xf4)
		high = 0x8f;
	if (text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	/* U+0080 to U+009F are control characters too */
	return text[0] == 0xc2 && text[1] < 0xa0 ? 0 : len;
}

static void put_clean(const char *text, char *ret_text, size_t size)
{
	const uint8_t *at = (const uint8_t *)(text ? text : "");
	size_t used = 0;

	while (*at) {
		size_t len = character(at);

		if (used + (len ? len : 1) >= size)
			break;
		if (len)
			memcpy(ret_text + used, at, len);
		else
			ret_text[used] = '?';
		used += len ? len : 1;
		at += len ? len : 1;
	}
	ret_text[used] = '\0';
}

static int take_text(struct tg_cbor *r, const char *what, char *ret_text, size_t size)
{
	const char *text;
	size_t len;
	int ret = tg_cbor_text(r, what, &text, &len);

	if (ret)
		return ret;
	if (len >= size)
		return tg_error(r->e, -EBADMSG, "%s: more than %zu bytes", what, size - 1);
	memcpy(ret_text, text, len);
	ret_text[len] = '\0';
	for (size_t at = 0, n; at < len; at += n) {
		n = character((const uint8_t *)ret_text + at);
		if (!n)
			return tg_error(r->e, -EBADMSG, "%s: a control character", what);
	}
	return 0;
}

/* ---- records ---- */

static int take_source(struct tg_cbor *r, char *ret_source)
{
	int ret = take_text(r, "source", ret_source, TG_ID_LEN);

	if (!ret && ret_source[0] && !tg_id_valid(ret_source))
		ret = tg_error(r->e, -EBADMSG, "source: not a name of an agent");
	return ret;
}

static int take_format(struct tg_cbor *r)
{
	uint64_t format;
	int ret = tg_cbor_uint(r, "format", &format);

	if (!ret && format != FORMAT)
		ret = tg_error(r->e, -EBADMSG, "format: not %d", FORMAT);
	return ret;
}

/* From 1, and no more than a store's numbers hold. */
static int take_number(struct tg_cbor *r, const char *what, uint64_t min, uint64_t *ret_number)
{
	int ret = tg_cbor_uint(r, what, ret_number);

	if (!ret && (*ret_number < min || *ret_number > INT64_MAX))
		ret = tg_error(r->e, -EBADMSG, "%s: out of its range", what);
	return ret;
}

static int take_value(struct tg_cbor *r, int64_t key, struct tg_audit_record *record)
{
	switch (key) {
	case KEY_FORMAT:
		return take_format(r);
	case KEY_SOURCE:
		return take_source(r, record->source);
	case KEY_CHAIN:
		return tg_cbor_bytes_fixed(r, "chain", record->chain, sizeof(record->chain));
	case KEY_SEQUENCE:
		return take_number(r, "sequence", 1, &record->sequence);
	case KEY_PREVIOUS:
		return tg_cbor_bytes_fixed(r, "previous", record->previous, sizeof(record->previous));
	case KEY_TIME:
		return take_number(r, "time", 0, &record->time_ms);
	case KEY_COUNT:
		return take_number(r, "count", 1, &record->count);
	case KEY_ACTOR:
		return take_text(r, "actor", record->actor, sizeof(record->actor));
	case KEY_ACTION:
		return take_text(r, "action", record->action, sizeof(record->action));
	case KEY_TARGET:
		return take_text(r, "target", record->target, sizeof(record->target));
	case KEY_OUTCOME:
		return take_text(r, "outcome", record->outcome, sizeof(record->outcome));
	default:
		return take_text(r, "detail", record->detail, sizeof(record->detail));
	}
}

int tg_audit_decode(const uint8_t *data, size_t len, struct tg_audit_record *ret_record, struct tg_error *e)
{
	struct tg_audit_record record = { 0 };
	struct tg_cbor_map map;
	struct tg_cbor r;
	int64_t key;
	int ret;

	if (len > TG_AUDIT_RECORD_MAX)
		return tg_error(e, -EBADMSG, "record: more than %d bytes", TG_AUDIT_RECORD_MAX);
	tg_cbor_init(&r, data, len, e);
	ret = tg_cbor_map(&r, "record", &map);
	for (int64_t wanted = KEY_FORMAT; !ret && wanted < KEY_END; wanted++) {
		ret = tg_cbor_map_next(&r, "record", &map, &key);
		if (ret >= 0)
			ret = ret && key == wanted
				      ? take_value(&r, key, &record)
				      : tg_error(e, -EBADMSG, "record: key %d is missing", (int)wanted);
	}
	if (!ret && tg_cbor_map_next(&r, "record", &map, &key))
		ret = tg_error(e, -EBADMSG, "record: an unknown key");
	if (!ret)
		ret = tg_cbor_done(&r, "record");
	if (!ret)
		*ret_record = record;
	return ret;
}

static void put_text(struct tg_cbor_writer *w, int key, const char *text)
{
	tg_cbor_put_uint(w, (uint64_t)key);
	tg_cbor_put_text(w, text);
}

static void put_number(struct tg_cbor_writer *w, int key, uint64_t number)
{
	tg_cbor_put_uint(w, (uint64_t)key);
	tg_cbor_put_uint(w, number);
}

static void put_bytes(struct tg_cbor_writer *w, int key, const uint8_t *data, size_t len)
{
	tg_cbor_put_uint(w, (uint64_t)key);
	tg_cbor_put_bytes(w, data, len);
}

int tg_audit_encode(const struct tg_audit_record *record, struct tg_bytes *ret_data, struct tg_error *e)
{
	struct tg_cbor_writer w = { 0 };
	struct tg_bytes data;

	tg_cbor_put_map(&w, KEY_END - 1);
	put_number(&w, KEY_FORMAT, FORMAT);
	put_text(&w, KEY_SOURCE, record->source);
	put_bytes(&w, KEY_CHAIN, record->chain, sizeof(record->chain));
	put_number(&w, KEY_SEQUENCE, record->sequence);
	put_bytes(&w, KEY_PREVIOUS, record->previous, sizeof(record->previous));
	put_number(&w, KEY_TIME, record->time_ms);
	put_number(&w, KEY_COUNT, record->count);
	put_text(&w, KEY_ACTOR, record->actor);
	put_text(&w, KEY_ACTION, record->action);
	put_text(&w, KEY_TARGET, record->target);
	put_text(&w, KEY_OUTCOME, record->outcome);
	put_text(&w, KEY_DETAIL, record->detail);
	if (tg_cbor_take(&w, &data.data, &data.len))
		return tg_error(e, -ENOMEM, "out of memory");
	*ret_data = data;
	return 0;
}

int tg_audit_hash(const uint8_t *data, size_t len, uint8_t ret_hash[static TG_SHA256_LEN], struct tg_error *e)
{
	return tg_sha256(&(struct tg_piece){ data, len }, 1, ret_hash, e);
}

/* ---- chains ---- */

int tg_audit_chain_begin(const char *source, struct tg_audit_chain *ret_chain, struct tg_error *e)
{
	struct tg_audit_chain chain = { 0 };
	int ret = tg_random(chain.chain, sizeof(chain.chain), e);

	if (ret)
		return ret;
	snprintf(chain.source, sizeof(chain.source), "%s", source);
	*ret_chain = chain;
	return 0;
}

static uint64_t within(uint64_t number, uint64_t min)
{
	return number < min ? min : number > INT64_MAX ? INT64_MAX : number;
}

int tg_audit_chain_add(struct tg_audit_chain *chain, const struct tg_audit_event *event,
		       struct tg_bytes *ret_data, struct tg_error *e)
{
	struct tg_audit_record record = { .sequence = chain->sequence + 1,
					  .time_ms = within(event->time_ms, 0),
					  .count = within(event->count, 1) };
	uint8_t hash[TG_SHA256_LEN];
	struct tg_bytes data;
	int ret;

	memcpy(record.source, chain->source, sizeof(record.source));
	memcpy(record.chain, chain->chain, sizeof(record.chain));
	memcpy(record.previous, chain->hash, sizeof(record.previous));
	put_clean(event->actor, record.actor, sizeof(record.actor));
	put_clean(event->action, record.action, sizeof(record.action));
	put_clean(event->target, record.target, sizeof(record.target));
	put_clean(event->outcome, record.outcome, sizeof(record.outcome));
	put_clean(event->detail, record.detail, sizeof(record.detail));
	ret = tg_audit_encode(&record, &data, e);
	if (ret)
		return ret;
	ret = tg_audit_hash(data.data, data.len, hash, e);
	if (ret) {
		tg_bytes_free(&data);
		return ret;
	}
	chain->sequence++;
	memcpy(chain->hash, hash, sizeof(chain->hash));
	*ret_data = data;
	return 0;
}

int tg_audit_chain_follow(struct tg_audit_chain *chain, const uint8_t *data, size_t len,
			  struct tg_audit_record *ret_record, struct tg_error *e)
{
	struct tg_audit_record record;
	uint8_t hash[TG_SHA256_LEN];
	int ret = tg_audit_decode(data, len, &record, e);

	if (ret)
		return ret;
	if (strcmp(record.source, chain->source) || memcmp(record.chain, chain->chain, sizeof(chain->chain)))
		return tg_error(e, -EXDEV, "record %llu is of another source or chain",
				(unsigned long long)record.sequence);
	if (record.sequence > chain->sequence + 1)
		return tg_error(e, -ENODATA, "record %llu follows %llu: a gap",
				(unsigned long long)record.sequence, (unsigned long long)chain->sequence);
	if (record.sequence <= chain->sequence)
		return tg_error(e, -EALREADY, "there is a record %llu already",
				(unsigned long long)record.sequence);
	if (memcmp(record.previous, chain->hash, sizeof(chain->hash)))
		return tg_error(e, -EILSEQ, "record %llu does not continue the one before",
				(unsigned long long)record.sequence);
	ret = tg_audit_hash(data, len, hash, e);
	if (ret)
		return ret;
	chain->sequence = record.sequence;
	memcpy(chain->hash, hash, sizeof(hash));
	*ret_record = record;
	return 0;
}

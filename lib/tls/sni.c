/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two layers, one byte string each. The record layer strips the five-byte
 * headers; what is left is cut into the fields below:
 *
 *	type length | version random | session id | cipher suites | compression | extensions
 *	                                                             type size body
 *	server_name body:  list length | (type, length, name)...
 *
 * A field is a number to read, bytes to skip, or the name. begin() takes its
 * bytes from everything around it first, so that no field can reach beyond its
 * message, block or extension; end() runs when its last byte has come.
 */
#include <stdbool.h>
#include <string.h>

#include "tensorguard/sni.h"

enum {
	RECORD_HANDSHAKE = 22,
	RECORD_MAX = 1 << 14,
	MESSAGE_CLIENT_HELLO = 1,
	EXTENSION_SERVER_NAME = 0,
	NAME_HOST = 0,
	SESSION_ID_MAX = 32,
	LABEL_MAX = 63,
};

enum field {
	MESSAGE_TYPE,
	MESSAGE_LENGTH,
	VERSION,
	RANDOM,
	SESSION_LENGTH,
	SESSION,
	SUITES_LENGTH,
	SUITES,
	COMPRESSION_LENGTH,
	COMPRESSION,
	BLOCK_LENGTH,
	EXTENSION_TYPE,		/* skipped over when it is not server_name */
	EXTENSION_SIZE,
	EXTENSION_BODY,
	SERVER_NAME_SIZE,
	LIST_LENGTH,
	NAME_TYPE,
	NAME_LENGTH,
	NAME,
	OTHER_NAME_LENGTH,
	OTHER_NAME,
};

static bool is_skipped(enum field field)
{
	return field == RANDOM || field == SESSION || field == SUITES || field == COMPRESSION ||
	       field == EXTENSION_BODY || field == OTHER_NAME;
}

static enum tg_sni_result begin(struct tg_sni *s, enum field field, uint32_t size)
{
	if (field > MESSAGE_LENGTH) {
		if (size > s->message_left)
			return TG_SNI_MALFORMED;
		s->message_left -= size;
	}
	if (field > BLOCK_LENGTH) {
		if (size > s->block_left)
			return TG_SNI_MALFORMED;
		s->block_left = (uint16_t)(s->block_left - size);
	}
	if (field > SERVER_NAME_SIZE) {
		if (size > s->body_left)
			return TG_SNI_MALFORMED;
		s->body_left = (uint16_t)(s->body_left - size);
	}
	s->field = (uint8_t)field;
	s->need = size;
	s->value = 0;
	return TG_SNI_NEED_MORE;
}

/* A name of letters, digits, hyphens and underscores; an address is no name (RFC 6066, section 3). */
static bool host_is_valid(const char *host, size_t len)
{
	size_t label = 0;
	bool numeric = true;

	for (size_t i = 0; i < len; i++) {
		char c = host[i];

		if (c == '.') {
			if (!label)
				return false;
			label = 0;
			numeric = true;
			continue;
		}
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return false;
		if (++label > LABEL_MAX)
			return false;
		numeric = numeric && c >= '0' && c <= '9';
	}
	return label && !numeric;
}

static enum tg_sni_result next_extension(struct tg_sni *s)
{
	return s->block_left ? begin(s, EXTENSION_TYPE, 2) : TG_SNI_NONE;
}

/* After a name, or at the start of the list: another one, or what the list comes to. */
static enum tg_sni_result next_name(struct tg_sni *s)
{
	if (s->body_left)
		return begin(s, NAME_TYPE, 1);
	if (!s->host_len)
		return next_extension(s);
	return host_is_valid(s->host, s->host_len) ? TG_SNI_FOUND : TG_SNI_MALFORMED;
}

static enum tg_sni_result end_name_field(struct tg_sni *s, uint32_t value)
{
	switch ((enum field)s->field) {
	case LIST_LENGTH:
		if (!value || value != s->body_left)
			return TG_SNI_MALFORMED;
		return next_name(s);
	case NAME_TYPE:
		if (value != NAME_HOST)
			return begin(s, OTHER_NAME_LENGTH, 2);
		/* the standard allows one name of a type */
		return s->host_len ? TG_SNI_MALFORMED : begin(s, NAME_LENGTH, 2);
	case NAME_LENGTH:
		if (!value || value > TG_SNI_MAX_HOST)
			return TG_SNI_MALFORMED;
		return begin(s, NAME, value);
	case OTHER_NAME_LENGTH:
		return value ? begin(s, OTHER_NAME, value) : TG_SNI_MALFORMED;
	default:
		return next_name(s);
	}
}

static enum tg_sni_result end_extension_field(struct tg_sni *s, uint32_t value)
{
	switch ((enum field)s->field) {
	case BLOCK_LENGTH:
		if (value != s->message_left)
			return TG_SNI_MALFORMED;
		s->block_left = (uint16_t)value;
		return next_extension(s);
	case EXTENSION_TYPE:
		return begin(s, value == EXTENSION_SERVER_NAME ? SERVER_NAME_SIZE : EXTENSION_SIZE, 2);
	case EXTENSION_SIZE:
		return value ? begin(s, EXTENSION_BODY, value) : next_extension(s);
	case SERVER_NAME_SIZE:
		s->body_left = (uint16_t)value;
		return begin(s, LIST_LENGTH, 2);
	default:
		return next_extension(s);
	}
}

/* The field is complete; `value` is the number in it, if it is one. */
static enum tg_sni_result end(struct tg_sni *s, uint32_t value)
{
	switch ((enum field)s->field) {
	case MESSAGE_TYPE:
		return value == MESSAGE_CLIENT_HELLO ? begin(s, MESSAGE_LENGTH, 3) : TG_SNI_NOT_TLS;
	case MESSAGE_LENGTH:
		s->message_left = value;
		return begin(s, VERSION, 2);
	case VERSION:
		return value >> 8 == 3 ? begin(s, RANDOM, 32) : TG_SNI_MALFORMED;
	case RANDOM:
		return begin(s, SESSION_LENGTH, 1);
	case SESSION_LENGTH:
		if (value > SESSION_ID_MAX)
			return TG_SNI_MALFORMED;
		return value ? begin(s, SESSION, value) : begin(s, SUITES_LENGTH, 2);
	case SESSION:
		return begin(s, SUITES_LENGTH, 2);
	case SUITES_LENGTH:
		return value && !(value & 1) ? begin(s, SUITES, value) : TG_SNI_MALFORMED;
	case SUITES:
		return begin(s, COMPRESSION_LENGTH, 1);
	case COMPRESSION_LENGTH:
		return value ? begin(s, COMPRESSION, value) : TG_SNI_MALFORMED;
	case COMPRESSION:
		return s->message_left ? begin(s, BLOCK_LENGTH, 2) : TG_SNI_NONE;
	default:
		return s->field < LIST_LENGTH ? end_extension_field(s, value) : end_name_field(s, value);
	}
}

/* Bytes of the handshake message, without record headers. Uses at least one of `size` (which is not 0). */
static size_t take(struct tg_sni *s, const uint8_t *data, size_t size)
{
	size_t n = size < s->need ? size : s->need;

	if (s->field == NAME) {
		for (size_t i = 0; i < n; i++) {
			uint8_t c = data[i];

			s->host[s->host_len++] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
		}
	} else if (!is_skipped((enum field)s->field)) {
		for (size_t i = 0; i < n; i++)
			s->value = s->value << 8 | data[i];
	}
	s->need -= (uint32_t)n;
	if (!s->need)
		s->result = (uint8_t)end(s, s->value);
	return n;
}

static enum tg_sni_result end_header(struct tg_sni *s)
{
	uint32_t length = (uint32_t)s->header[3] << 8 | s->header[4];

	if (!length || length > RECORD_MAX || s->records == TG_SNI_MAX_RECORDS)
		return TG_SNI_MALFORMED;
	s->records++;
	s->header_len = 0;
	s->record_left = (uint16_t)length;
	return TG_SNI_NEED_MORE;
}

/* A wrong first byte tells that this is not TLS at all; once inside a hello, it is broken TLS. */
static enum tg_sni_result header_byte(struct tg_sni *s, uint8_t byte)
{
	enum tg_sni_result other = s->records ? TG_SNI_MALFORMED : TG_SNI_NOT_TLS;

	if ((s->header_len == 0 && byte != RECORD_HANDSHAKE) || (s->header_len == 1 && byte != 3))
		return other;
	s->header[s->header_len++] = byte;
	return s->header_len == sizeof(s->header) ? end_header(s) : TG_SNI_NEED_MORE;
}

void tg_sni_init(struct tg_sni *sni)
{
	memset(sni, 0, sizeof(*sni));
	sni->field = MESSAGE_TYPE;
	sni->need = 1;
}

enum tg_sni_result tg_sni_feed(struct tg_sni *sni, const uint8_t *data, size_t size)
{
	while (size && sni->result == TG_SNI_NEED_MORE) {
		size_t n = 1, room = TG_SNI_MAX_BYTES - (size_t)sni->bytes;

		if (!room) {
			sni->result = TG_SNI_MALFORMED;
			break;
		}
		if (!sni->record_left) {
			sni->result = (uint8_t)header_byte(sni, *data);
		} else {
			n = size < sni->record_left ? size : sni->record_left;
			n = take(sni, data, n < room ? n : room);
			sni->record_left = (uint16_t)(sni->record_left - n);
		}
		sni->bytes = (uint16_t)(sni->bytes + n);
		data += n;
		size -= n;
	}
	return (enum tg_sni_result)sni->result;
}

const char *tg_sni_host(const struct tg_sni *sni)
{
	return sni->result == TG_SNI_FOUND ? sni->host : NULL;
}

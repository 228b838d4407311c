/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server name of a TLS ClientHello, read from the client's first bytes as
 * they come: any split over TCP segments and over TLS records, no allocation,
 * no copy of the stream. A parser is 300 bytes, so that thousands of flows can
 * be watched at once.
 *
 * Feed the client's bytes in order until the result is no longer
 * TG_SNI_NEED_MORE; it is final from then on and later bytes are ignored.
 *
 * The name is decided as soon as its extension has been read: what follows it in
 * the message is not looked at. With Encrypted ClientHello the name is the
 * outer one, which is all that a third party can see. Data outside TCP (DTLS,
 * QUIC) is not for this parser.
 */
#ifndef TENSORGUARD_SNI_H
#define TENSORGUARD_SNI_H

#include <stddef.h>
#include <stdint.h>

#define TG_SNI_MAX_HOST 253
#define TG_SNI_MAX_BYTES 16384	/* of the client's stream; beyond that a hello is malformed */
#define TG_SNI_MAX_RECORDS 1024

enum tg_sni_result {
	TG_SNI_NEED_MORE,
	TG_SNI_FOUND,     /* tg_sni_host() holds the name */
	TG_SNI_NONE,      /* a whole ClientHello that names no host */
	TG_SNI_NOT_TLS,   /* no handshake record, or its first message is no ClientHello (SSLv2 hellos too) */
	TG_SNI_MALFORMED, /* TLS, but broken, too long, or a name that is no host name */
};

/* Opaque; initialise with tg_sni_init(). Holds no pointers: may be copied and dropped at will. */
struct tg_sni {
	uint32_t value;		/* number being read, or 0 */
	uint32_t need;		/* bytes that the current field still lacks */
	uint32_t message_left;	/* bytes of the ClientHello not yet given to a field */
	uint16_t block_left;	/* of the extensions block */
	uint16_t body_left;	/* of the server_name extension */
	uint16_t record_left;	/* of the TLS record */
	uint16_t bytes;		/* fed so far */
	uint16_t records;
	uint8_t header[5];	/* of the TLS record */
	uint8_t header_len;
	uint8_t field;
	uint8_t result;
	uint8_t host_len;
	char host[TG_SNI_MAX_HOST + 1];
};

void tg_sni_init(struct tg_sni *sni);

/* Gives the next `size` bytes of the stream to the parser and returns its result so far. */
enum tg_sni_result tg_sni_feed(struct tg_sni *sni, const uint8_t *data, size_t size);

/* The name, in lower case, when the result is TG_SNI_FOUND; else NULL. */
const char *tg_sni_host(const struct tg_sni *sni);

#endif

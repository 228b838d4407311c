/* SPDX-License-Identifier: BSD-3-Clause */
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/sni.h"

struct bytes {
	uint8_t data[20000];
	size_t len;
};

static void put(struct bytes *b, const void *data, size_t len)
{
	if (b->len + len > sizeof(b->data)) {
		CU_FAIL("the test's buffer is too small");
		return;
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

static void put_number(struct bytes *b, uint32_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		put(b, &(uint8_t){ (uint8_t)(value >> 8 * (size - 1 - i)) }, 1);
}

/* Appends `inner` behind its length. */
static void put_counted(struct bytes *b, const struct bytes *inner, size_t size)
{
	put_number(b, (uint32_t)inner->len, size);
	put(b, inner->data, inner->len);
}

static void put_extension(struct bytes *b, uint32_t type, const void *body, size_t len)
{
	put_number(b, type, 2);
	put_number(b, (uint32_t)len, 2);
	put(b, body, len);
}

static void put_name(struct bytes *list, uint8_t type, const char *name, size_t len)
{
	put_number(list, type, 1);
	put_number(list, (uint32_t)len, 2);
	put(list, name, len);
}

static void put_server_name(struct bytes *b, const struct bytes *list)
{
	static struct bytes body;

	body.len = 0;
	put_counted(&body, list, 2);
	put_extension(b, 0, body.data, body.len);
}

static void put_host(struct bytes *b, const char *host)
{
	static struct bytes list;

	list.len = 0;
	put_name(&list, 0, host, strlen(host));
	put_server_name(b, &list);
}

/* The handshake message with this extensions block; NULL = none, as before TLS 1.2. */
static void build_message(struct bytes *message, const struct bytes *extensions)
{
	static struct bytes body;
	static const uint8_t random[32] = { 1, 2, 3 };

	body.len = 0;
	put_number(&body, 0x0303, 2);
	put(&body, random, sizeof(random));
	put_number(&body, 0, 1);
	put_number(&body, 4, 2);
	put_number(&body, 0x0a0a1301, 4);	/* a GREASE value and TLS_AES_128_GCM_SHA256 */
	put_number(&body, 0x0100, 2);
	if (extensions)
		put_counted(&body, extensions, 2);
	message->len = 0;
	put_number(message, 1, 1);
	put_counted(message, &body, 3);
}

static void put_records(struct bytes *b, const struct bytes *message, size_t fragment)
{
	for (size_t at = 0; at < message->len; at += fragment) {
		size_t len = message->len - at < fragment ? message->len - at : fragment;

		put_number(b, 0x160301, 3);
		put_number(b, (uint32_t)len, 2);
		put(b, message->data + at, len);
	}
}

static const struct bytes *build(const struct bytes *extensions, size_t fragment)
{
	static struct bytes message, stream;

	build_message(&message, extensions);
	stream.len = 0;
	put_records(&stream, &message, fragment);
	return &stream;
}

static const struct bytes *hello_for(const char *host)
{
	static struct bytes extensions;

	extensions.len = 0;
	put_host(&extensions, host);
	return build(&extensions, 16384);
}

static enum tg_sni_result read_all(struct tg_sni *sni, const struct bytes *b, size_t piece)
{
	enum tg_sni_result result = TG_SNI_NEED_MORE;

	tg_sni_init(sni);
	for (size_t at = 0; at < b->len; at += piece)
		result = tg_sni_feed(sni, b->data + at, b->len - at < piece ? b->len - at : piece);
	return result;
}

static void expect(const struct bytes *b, enum tg_sni_result want, const char *host)
{
	static const size_t pieces[] = { 1, 2, 3, 7, 100, 20000 };
	struct tg_sni sni;

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		CU_ASSERT_EQUAL(read_all(&sni, b, pieces[i]), want);
		if (!host) {
			CU_ASSERT_PTR_NULL(tg_sni_host(&sni));
			continue;
		}
		CU_ASSERT(tg_sni_host(&sni) && !strcmp(tg_sni_host(&sni), host));
	}
}

/* What OpenSSL's client sends first; `max` bounds the version, `groups` may be NULL. */
static void openssl_hello(struct bytes *b, int min, int max, const char *host, const char *groups)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	SSL *ssl;
	int n;

	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_min_proto_version(ctx, min);
	SSL_CTX_set_max_proto_version(ctx, max);
	if (groups)
		CU_ASSERT_EQUAL(SSL_CTX_set1_groups_list(ctx, groups), 1);
	ssl = SSL_new(ctx);
	SSL_set_bio(ssl, in, out);
	if (host)
		SSL_set_tlsext_host_name(ssl, host);
	SSL_set_connect_state(ssl);
	CU_ASSERT_EQUAL(SSL_do_handshake(ssl), -1);
	n = BIO_read(out, b->data, sizeof(b->data));
	CU_ASSERT(n > 0);
	b->len = n > 0 ? (size_t)n : 0;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

TEST(sni, openssl_clients_of_every_version)
{
	static const int versions[] = { TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION };
	static struct bytes b;

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		openssl_hello(&b, TLS1_VERSION, versions[i], "Arm-7.Robots.Example", NULL);
		expect(&b, TG_SNI_FOUND, "arm-7.robots.example");
		openssl_hello(&b, TLS1_VERSION, versions[i], NULL, NULL);
		expect(&b, TG_SNI_NONE, NULL);
	}
}

TEST(sni, openssl_hello_cut_in_two_at_every_byte)
{
	static struct bytes b;
	struct tg_sni sni;

	openssl_hello(&b, TLS1_2_VERSION, TLS1_3_VERSION, "plant.example", "P-521:P-384:P-256");
	for (size_t cut = 0; cut <= b.len; cut++) {
		tg_sni_init(&sni);
		tg_sni_feed(&sni, b.data, cut);
		CU_ASSERT_EQUAL(tg_sni_feed(&sni, b.data + cut, b.len - cut), TG_SNI_FOUND);
		CU_ASSERT_STRING_EQUAL(sni.host, "plant.example");
	}
}

TEST(sni, every_truncation_waits_for_more)
{
	static struct bytes b;
	struct tg_sni sni;

	openssl_hello(&b, TLS1_2_VERSION, TLS1_3_VERSION, NULL, NULL);
	for (size_t len = 0; len < b.len; len++) {
		tg_sni_init(&sni);
		CU_ASSERT_EQUAL(tg_sni_feed(&sni, b.data, len), TG_SNI_NEED_MORE);
		CU_ASSERT_PTR_NULL(tg_sni_host(&sni));
	}
}

TEST(sni, fragmented_over_records_of_every_size)
{
	static struct bytes extensions, message, stream;

	extensions.len = 0;
	put_extension(&extensions, 0x2a2a, "", 0);
	put_host(&extensions, "a.b.example");
	build_message(&message, &extensions);
	for (size_t fragment = 1; fragment <= message.len; fragment++) {
		stream.len = 0;
		put_records(&stream, &message, fragment);
		expect(&stream, TG_SNI_FOUND, "a.b.example");
	}
}

TEST(sni, name_behind_grease_padding_and_big_key_shares)
{
	static struct bytes extensions;
	static const uint8_t zeros[4000];

	extensions.len = 0;
	put_extension(&extensions, 0x0a0a, "", 0);
	put_extension(&extensions, 51, zeros, 1250);	/* a post-quantum key share */
	put_extension(&extensions, 21, zeros, sizeof(zeros));
	put_host(&extensions, "late.example");
	put_extension(&extensions, 0xfafa, zeros, 1);
	expect(build(&extensions, 16384), TG_SNI_FOUND, "late.example");
}

TEST(sni, no_extensions_block_is_no_name)
{
	struct bytes empty = { .len = 0 };

	expect(build(NULL, 16384), TG_SNI_NONE, NULL);
	expect(build(&empty, 16384), TG_SNI_NONE, NULL);
}

TEST(sni, what_follows_the_hello_is_ignored)
{
	static struct bytes b;

	b = *hello_for("x.example");
	put_records(&b, &b, 100);
	expect(&b, TG_SNI_FOUND, "x.example");
	b = *build(NULL, 16384);
	put(&b, "\x17\x03\x03\x00\x05hello", 10);
	expect(&b, TG_SNI_NONE, NULL);
}

TEST(sni, names_that_are_valid)
{
	char longest[TG_SNI_MAX_HOST + 1];

	expect(hello_for("LOCALHOST"), TG_SNI_FOUND, "localhost");
	expect(hello_for("_dns.1-a.xn--bcher-kva.example"), TG_SNI_FOUND, "_dns.1-a.xn--bcher-kva.example");
	expect(hello_for("1.2.3.4a"), TG_SNI_FOUND, "1.2.3.4a");
	memset(longest, 'a', sizeof(longest) - 1);
	for (size_t i = 63; i < sizeof(longest) - 1; i += 64)
		longest[i] = '.';
	longest[sizeof(longest) - 1] = '\0';
	expect(hello_for(longest), TG_SNI_FOUND, longest);
}

TEST(sni, names_that_are_not)
{
	static const char *const bad[] = {
		"",
		".",
		"a.",
		".a",
		"a..b",
		"a b",
		"a/b",
		"r\xc3\xb6mer.example",
		"10.0.0.1",
		"[::1]",
		"::1",
		"a:443",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example",
	};
	static struct bytes list, extensions;
	char over[TG_SNI_MAX_HOST + 2];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect(hello_for(bad[i]), TG_SNI_MALFORMED, NULL);
	memset(over, 'a', sizeof(over));
	for (size_t i = 50; i < sizeof(over) - 1; i += 51)
		over[i] = '.';
	over[sizeof(over) - 1] = '\0';
	expect(hello_for(over), TG_SNI_MALFORMED, NULL);
	list.len = extensions.len = 0;
	put_name(&list, 0, "a\0b", 3);
	put_server_name(&extensions, &list);
	expect(build(&extensions, 16384), TG_SNI_MALFORMED, NULL);
}

TEST(sni, several_names_in_the_list)
{
	static struct bytes list, extensions;

	list.len = extensions.len = 0;
	put_name(&list, 7, "\xff\x00\x01", 3);
	put_name(&list, 0, "one.example", 11);
	put_name(&list, 8, "?", 1);
	put_server_name(&extensions, &list);
	expect(build(&extensions, 16384), TG_SNI_FOUND, "one.example");

	list.len = extensions.len = 0;
	put_name(&list, 7, "other", 5);
	put_server_name(&extensions, &list);
	expect(build(&extensions, 16384), TG_SNI_NONE, NULL);

	list.len = extensions.len = 0;
	put_name(&list, 0, "one.example", 11);
	put_name(&list, 0, "two.example", 11);
	put_server_name(&extensions, &list);
	expect(build(&extensions, 16384), TG_SNI_MALFORMED, NULL);
}

TEST(sni, lengths_that_contradict_each_other)
{
	static struct bytes good, b;
	/* offsets into the hello for "x.example" */
	static const struct {
		size_t at;
		uint8_t value;
		const char *what;
	} edits[] = {
		{ 3, 0x41, "record beyond 16 KiB" },
		{ 9, 2, "version 2" },
		{ 43, 33, "session id of 33" },
		{ 45, 3, "odd cipher suites" },
		{ 45, 0, "no cipher suites" },
		{ 50, 0, "no compression" },
		{ 53, 200, "block beyond the message" },
		{ 53, 3, "block ends inside an extension" },
		{ 57, 200, "extension beyond the block" },
		{ 57, 0, "empty server name" },
		{ 59, 200, "list beyond the extension" },
		{ 59, 1, "list shorter than the extension" },
		{ 62, 200, "name beyond the list" },
		{ 62, 0, "empty name" },
	};

	good = *hello_for("x.example");
	expect(&good, TG_SNI_FOUND, "x.example");
	for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		b = good;
		b.data[edits[i].at] = edits[i].value;
		expect(&b, TG_SNI_MALFORMED, NULL);
	}
}

TEST(sni, a_hello_inside_other_records_is_malformed)
{
	static struct bytes b, message;

	build_message(&message, NULL);
	b.len = 0;
	put(&b, "\x16\x03\x01\x00\x04", 5);
	put(&b, message.data, 4);
	put(&b, "\x15\x03\x01\x00\x02\x01\x00", 7);
	expect(&b, TG_SNI_MALFORMED, NULL);
	b.len = 0;
	put(&b, "\x16\x03\x01\x00\x00", 5);
	expect(&b, TG_SNI_MALFORMED, NULL);
}

TEST(sni, other_protocols)
{
	static const struct {
		const char *data;
		size_t len;
	} others[] = {
		{ "GET / HTTP/1.1\r\n", 16 },
		{ "SSH-2.0-OpenSSH\r\n", 17 },
		{ "\x17\x03\x03\x00\x10", 5 },
		{ "\x80\x2e\x01\x00\x02\x00\x15", 7 }, /* SSLv2 */
		{ "\x16\x02\x00\x00\x10", 5 },
		{ "\x16\x03\x03\x00\x10\x02\x00\x00\x0c", 9 }, /* a ServerHello */
		{ "", 1 },
	};
	struct bytes b = { .len = 0 };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		b.len = 0;
		put(&b, others[i].data, others[i].len);
		expect(&b, TG_SNI_NOT_TLS, NULL);
	}
}

TEST(sni, bounded_in_bytes_and_records)
{
	static struct bytes extensions, b;
	static const uint8_t zeros[17000];

	extensions.len = 0;
	put_extension(&extensions, 21, zeros, sizeof(zeros));
	expect(build(&extensions, 16384), TG_SNI_MALFORMED, NULL);
	extensions.len = 0;
	put_extension(&extensions, 21, zeros, TG_SNI_MAX_RECORDS);
	b = *build(&extensions, 1);
	expect(&b, TG_SNI_MALFORMED, NULL);
}

TEST(sni, the_first_result_stays)
{
	struct tg_sni sni;

	tg_sni_init(&sni);
	CU_ASSERT_EQUAL(tg_sni_feed(&sni, (const uint8_t *)"G", 1), TG_SNI_NOT_TLS);
	CU_ASSERT_EQUAL(tg_sni_feed(&sni, hello_for("x.example")->data, 64), TG_SNI_NOT_TLS);
	CU_ASSERT_PTR_NULL(tg_sni_host(&sni));
}

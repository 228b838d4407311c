/* SPDX-License-Identifier: BSD-3-Clause */
/* What the process keys says and believes: datagrams, files, and which configuration a change is. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "keys/control.h"
#include "keys/device.h"
#include "keys/exchange.h"
#include "net/wg.h"
#include "supervise/message.h"
#include "tensorguard/audit.h"
#include "tensorguard/base64.h"
#include "tensorguard/x25519.h"

static struct tg_error e;

TEST(keys_parts, a_datagram_comes_back_as_it_was_and_no_other_is_one)
{
	struct control_message message = { .type = CONTROL_ASK,
					   .bound_ms = 96,
					   .number = 0x0102030405060708 };
	struct control_message parsed;
	uint8_t data[CONTROL_LEN + 1] = { 0 }, bad[CONTROL_LEN];

	memset(message.key, 7, sizeof(message.key));
	control_encode(&message, data);
	CU_ASSERT_EQUAL(control_decode(data, CONTROL_LEN, &parsed), 0);
	CU_ASSERT(parsed.type == CONTROL_ASK && parsed.bound_ms == 96 && parsed.number == message.number);
	CU_ASSERT_EQUAL(memcmp(parsed.key, message.key, TG_KEY_LEN), 0);
	for (size_t len = 0; len <= sizeof(data); len++)
		if (len != CONTROL_LEN)
			CU_ASSERT_EQUAL(control_decode(data, len, &parsed), -EBADMSG);
	for (int i = 0; i < 6; i++) {
		memcpy(bad, data, sizeof(bad));
		bad[i] ^= 0x55;
		CU_ASSERT_EQUAL(control_decode(bad, sizeof(bad), &parsed), -EBADMSG);
	}
	memcpy(bad, data, sizeof(bad));
	bad[4] = 0;
	CU_ASSERT_EQUAL(control_decode(bad, sizeof(bad), &parsed), -EBADMSG);
}

static struct tg_cidr cidr(const char *text, uint8_t length)
{
	struct tg_cidr c = { .family = strchr(text, ':') ? AF_INET6 : AF_INET, .length = length };

	CU_ASSERT_EQUAL(inet_pton(c.family, text, c.addr), 1);
	return c;
}

TEST(keys_parts, a_peer_is_spoken_to_at_its_tunnel_address)
{
	struct tg_tunnel tunnel = { .addresses = { cidr("10.84.0.2", 24), cidr("fd54:4700::2", 64) },
				    .address_count = 2 };
	struct tg_cidr allowed[] = { cidr("10.90.0.0", 16), cidr("192.0.2.9", 32), cidr("fd54:4700::1", 128),
				     cidr("10.84.0.1", 32) };
	struct tg_peer peer = { .allowed_ips = allowed, .allowed_ip_count = 4 };
	struct control_address address = control_address_of(&tunnel, &peer);

	/* the first one that is near */
	CU_ASSERT_EQUAL(address.family, AF_INET6);
	CU_ASSERT_EQUAL(memcmp(address.addr, allowed[2].addr, 16), 0);
	peer.allowed_ip_count = 2;
	address = control_address_of(&tunnel, &peer);
	CU_ASSERT_EQUAL(memcmp(address.addr, allowed[1].addr, 4), 0);
	peer.allowed_ip_count = 1;
	CU_ASSERT_EQUAL(control_address_of(&tunnel, &peer).family, 0);
}

TEST(keys_parts, only_keys_may_tell_of_tunnels_and_of_nothing_else)
{
	struct message m = message_of(MESSAGE_EVENT), parsed;

	m.event = (struct message_event){ .code = TG_AUDIT_TUNNEL_ROTATED, .count = 1, .subject = "tg0" };
	CU_ASSERT_EQUAL(message_parse(&m, sizeof(m), FROM_KEYS, &parsed), 0);
	CU_ASSERT_EQUAL(message_parse(&m, sizeof(m), FROM_GUARD, &parsed), -EBADMSG);
	CU_ASSERT_EQUAL(message_parse(&m, sizeof(m), FROM_VAULT, &parsed), -EBADMSG);
	m.event.code = TG_AUDIT_POLICY_LOADED;
	CU_ASSERT_EQUAL(message_parse(&m, sizeof(m), FROM_KEYS, &parsed), -EBADMSG);
	m = message_of(MESSAGE_APPLY);
	m.ask.number = 1;
	CU_ASSERT_EQUAL(message_parse(&m, sizeof(m), FROM_KEYS, &parsed), -EPERM);
	m = message_of(MESSAGE_READY);
	CU_ASSERT_EQUAL(message_parse(&m, sizeof(m), FROM_KEYS, &parsed), 0);
}

/* RFC 7748, section 6.1: Alice's. */
TEST(keys_parts, public_keys_are_those_of_the_standard)
{
	static const uint8_t private_key[TG_KEY_LEN] = { 0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d,
							 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
							 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a,
							 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a };
	static const uint8_t want[TG_KEY_LEN] = { 0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54,
						  0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a,
						  0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4,
						  0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a };
	uint8_t got[TG_KEY_LEN], made[TG_KEY_LEN];

	CU_ASSERT_EQUAL(tg_x25519_public(private_key, got, &e), 0);
	CU_ASSERT_EQUAL(memcmp(got, want, sizeof(want)), 0);
	CU_ASSERT_EQUAL(tg_x25519_generate(made, &e), 0);
	CU_ASSERT(!(made[0] & 7) && !(made[31] & 128) && (made[31] & 64));
}

/* ---- what a swap is ---- */

TEST(keys_parts, a_swap_moves_allowed_ips_and_makes_the_candidate_anew)
{
	struct tg_cidr ip = cidr("10.84.0.1", 32);
	struct tg_peer peers[2] = { { .allowed_ips = &ip, .allowed_ip_count = 1 }, { .keepalive_s = 0 } };
	const struct tg_tunnel tunnel = { .name = "tg0", .peers = peers, .peer_count = 2 };
	struct wg_peer_state on[2] = { { .allowed = { &ip, 1, 1 } }, { .allowed = { NULL, 0, 0 } } };
	struct wg_state state = { .peers = { on, 2, 2 } };
	uint8_t preshared[2][TG_KEY_LEN] = { { 0 }, { 9 } };
	const struct wg_secrets secrets = { .preshared = preshared, .count = 2 };
	const struct wg_change change = { .tunnel = &tunnel, .secrets = &secrets, .state = &state };
	static const char one[] = "0101010101010101010101010101010101010101010101010101010101010101";
	static const char two[] = "0202020202020202020202020202020202020202020202020202020202020202";
	char *text, *removed, *added, *lost, want[256];
	size_t size;

	/* on the device the first key has the address and the second none; it is to be the other way round */
	memset(on[0].status.public_key, 1, TG_KEY_LEN);
	memset(on[1].status.public_key, 2, TG_KEY_LEN);
	memset(peers[0].public_key, 2, TG_KEY_LEN);
	memset(peers[1].public_key, 1, TG_KEY_LEN);
	CU_ASSERT_FALSE(wg_change_keeps(&change, peers[0].public_key));
	CU_ASSERT_TRUE(wg_change_keeps(&change, peers[1].public_key));
	CU_ASSERT_EQUAL_FATAL(uapi_build(&change, &text, &size), 0);
	snprintf(want, sizeof(want), "public_key=%s\nremove=true\n", two);
	removed = strstr(text, want);
	added = strstr(text, "allowed_ip=10.84.0.1/32");
	snprintf(want, sizeof(want), "public_key=%s\n", one);
	lost = strstr(text, want);
	CU_ASSERT_PTR_NOT_NULL_FATAL(removed);
	CU_ASSERT_PTR_NOT_NULL_FATAL(added);
	CU_ASSERT_PTR_NOT_NULL_FATAL(lost);
	/* never a moment in which nobody has it */
	CU_ASSERT(removed < added && added < lost);
	CU_ASSERT_PTR_NOT_NULL(strstr(lost, "replace_allowed_ips=true"));
	free(text);
}

TEST(keys_parts, the_candidate_is_the_known_key_that_is_not_active)
{
	struct keys_peer peer = { .has_known = true, .has_active = true, .known = { .has_next = true } };

	memset(peer.known.current, 1, TG_KEY_LEN);
	memset(peer.known.next, 2, TG_KEY_LEN);
	memset(peer.active, 1, TG_KEY_LEN);
	CU_ASSERT_EQUAL(keys_candidate(&peer), peer.known.next);
	memset(peer.active, 2, TG_KEY_LEN);
	CU_ASSERT_EQUAL(keys_candidate(&peer), peer.known.current);
	peer.known.has_next = false;
	CU_ASSERT_PTR_NULL(keys_candidate(&peer));
}

/* ---- files ---- */

static char folder[] = "/tmp/tensorguard-keys.XXXXXX";
static char key_file[64];

static struct tg_tunnel tunnel_in_folder(struct tg_peer *peer)
{
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(key_file, sizeof(key_file), "%s/tg0.key", folder);
	strcpy(peer->agent, "gateway-1");
	return (struct tg_tunnel){ .name = "tg0", .key_file = key_file, .peers = peer, .peer_count = 1 };
}

static void remove_folder(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	CU_ASSERT_EQUAL(system(command), 0);
}

TEST(keys_parts, a_promoted_key_takes_the_place_and_the_old_one_is_wiped)
{
	struct tg_peer peer = { .keepalive_s = 0 };
	struct tg_tunnel tunnel = tunnel_in_folder(&peer);
	uint8_t next[TG_KEY_LEN], current[TG_KEY_LEN];
	char link_path[80], text[64] = "";
	struct stat st;
	FILE *file;

	CU_ASSERT_EQUAL(keys_ensure(&tunnel, &e), 0);
	CU_ASSERT(!stat(key_file, &st) && (st.st_mode & 07777) == 0600);
	CU_ASSERT_EQUAL(keys_make(&tunnel, KEYS_NEXT, &e), 0);
	CU_ASSERT_EQUAL(keys_read_public(&tunnel, KEYS_NEXT, next, &e), 0);
	/* a second name shows what became of the file */
	snprintf(link_path, sizeof(link_path), "%s/old", folder);
	CU_ASSERT_EQUAL(link(key_file, link_path), 0);
	CU_ASSERT_EQUAL(keys_promote(&tunnel, &e), 0);
	CU_ASSERT_EQUAL(keys_read_public(&tunnel, KEYS_CURRENT, current, &e), 0);
	CU_ASSERT_EQUAL(memcmp(current, next, TG_KEY_LEN), 0);
	CU_ASSERT_EQUAL(keys_read_public(&tunnel, KEYS_NEXT, next, NULL), -ENOENT);
	file = fopen(link_path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	CU_ASSERT_EQUAL(fread(text, 1, sizeof(text), file), TG_KEY_TEXT_LEN + 1);
	for (size_t i = 0; i < sizeof(text); i++)
		CU_ASSERT_EQUAL(text[i], 0);
	fclose(file);
	remove_folder();
}

TEST(keys_parts, the_mark_of_a_change_says_who_is_awaited)
{
	struct tg_peer peer = { .keepalive_s = 0 };
	struct tg_tunnel tunnel = tunnel_in_folder(&peer);
	struct keys_peer peers[] = { { .agent = "a", .awaited = true, .before = 1790000000123456789 },
				     { .agent = "b", .before = 7 },
				     { .agent = "c", .awaited = true } };
	struct keys_peer back[] = { { .agent = "c" }, { .agent = "b", .awaited = true }, { .agent = "a" } };
	const struct keys_state state = { .peers = peers, .count = 3 };
	struct keys_state got = { .peers = back, .count = 3 };
	char path[256];

	CU_ASSERT_FALSE(keys_is_marked(&tunnel));
	CU_ASSERT_EQUAL(keys_mark(&tunnel, &state, &e), 0);
	CU_ASSERT_EQUAL(keys_mark(&tunnel, &state, &e), 0);
	CU_ASSERT(keys_is_marked(&tunnel));
	CU_ASSERT_EQUAL(keys_mark_load(&tunnel, &got, &e), 0);
	CU_ASSERT(back[0].awaited && !back[0].before && !back[1].awaited);
	CU_ASSERT(back[2].awaited && back[2].before == peers[0].before);
	/* as a former version left it, or a full disk */
	snprintf(path, sizeof(path), "%s.switching", tunnel.key_file);
	CU_ASSERT_EQUAL(truncate(path, 0), 0);
	CU_ASSERT_EQUAL(keys_mark_load(&tunnel, &got, &e), -EBADMSG);
	CU_ASSERT_EQUAL(keys_unmark(&tunnel, &e), 0);
	CU_ASSERT_EQUAL(keys_unmark(&tunnel, &e), 0);
	CU_ASSERT_FALSE(keys_is_marked(&tunnel));
	remove_folder();
}

TEST(keys_parts, what_is_kept_of_peers_makes_the_tunnel)
{
	struct tg_peer peer = { .keepalive_s = 0 };
	struct tg_tunnel tunnel = tunnel_in_folder(&peer), resolved;
	struct keys_state state;

	CU_ASSERT_EQUAL_FATAL(keys_state_load(&tunnel, &state, &e), 0);
	CU_ASSERT_EQUAL(state.count, 1);
	CU_ASSERT_EQUAL(keys_resolve(&tunnel, &resolved, &e), 0);
	CU_ASSERT_EQUAL(resolved.peer_count, 0);
	keys_resolved_free(&tunnel, &resolved);
	state.epoch = 5;
	state.peers[0].has_known = state.peers[0].has_active = true;
	memset(state.peers[0].known.current, 3, TG_KEY_LEN);
	memset(state.peers[0].active, 3, TG_KEY_LEN);
	CU_ASSERT_EQUAL(keys_state_save(&tunnel, &state, &e), 0);
	keys_state_free(&state);
	CU_ASSERT_EQUAL(keys_resolve(&tunnel, &resolved, &e), 0);
	CU_ASSERT_EQUAL_FATAL(resolved.peer_count, 1);
	CU_ASSERT_EQUAL(resolved.peers[0].public_key[31], 3);
	keys_resolved_free(&tunnel, &resolved);
	CU_ASSERT_EQUAL_FATAL(keys_state_load(&tunnel, &state, &e), 0);
	CU_ASSERT_EQUAL(state.epoch, 5);
	keys_state_free(&state);
	remove_folder();
}

TEST(keys_parts, the_book_of_peers_is_read_as_if_an_enemy_had_written_it)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{\"format\":1}",
		"{\"format\":2,\"refused\":\"\",\"stored\":[],\"peers\":[]}",
		"{\"format\":1,\"refused\":\"\",\"stored\":{},\"peers\":[]}",
		"{\"format\":1,\"refused\":\"\",\"stored\":[],\"peers\":[],\"more\":1}",
		"{\"format\":1,\"refused\":\"\",\"stored\":[],\"peers\":[{\"agent\":\"a\",\"tunnel\":\"tg0\"}"
		"]}",
		"{\"format\":1,\"refused\":\"\",\"stored\":[],\"peers\":[{\"agent\":\"a\",\"tunnel\":\"tg0\","
		"\"current\":\"AQE\"}]}",
	};
	struct keys_book book = { .stored_count = 1, .stored = { { .tunnel = "tg0", .has_next = true } } },
			 again;
	struct tg_peer_keys peer = { .agent = "arm", .keys = { .tunnel = "tg0" } };
	char *text;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(keys_book_decode(bad[i], strlen(bad[i]), &again, &e), -EBADMSG);
	memset(book.stored[0].current, 1, TG_KEY_LEN);
	memset(book.stored[0].next, 2, TG_KEY_LEN);
	memset(peer.keys.current, 4, TG_KEY_LEN);
	book.peers = &peer;
	book.peer_count = 1;
	text = keys_book_encode(&book);
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_EQUAL_FATAL(keys_book_decode(text, strlen(text), &again, &e), 0);
	free(text);
	CU_ASSERT(again.stored_count == 1 && tg_tunnel_keys_equal(&again.stored[0], &book.stored[0]));
	CU_ASSERT_PTR_NOT_NULL(keys_book_find(&again, "arm", "tg0"));
	CU_ASSERT_PTR_NULL(keys_book_find(&again, "arm", "tg1"));
	keys_book_free(&again);
}

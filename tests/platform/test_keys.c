/* SPDX-License-Identifier: BSD-3-Clause */
/* Public keys of tunnels: in the store, and through POST /v1/sync. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "platform_fixture.h"
#include "store/tunnel.h"
#include "store_fixture.h"
#include "tensorguard/sync.h"

static struct tg_error e;

static struct tg_tunnel_keys keys_of(const char *tunnel, int current, int next)
{
	struct tg_tunnel_keys keys = { .has_next = next != 0 };

	strcpy(keys.tunnel, tunnel);
	memset(keys.current, current, sizeof(keys.current));
	memset(keys.next, next, sizeof(keys.next));
	return keys;
}

static struct tg_sync_request request_of(const struct tg_tunnel_keys *keys, size_t count)
{
	struct tg_sync_request request = {
		.format = TG_SYNC_FORMAT,
		.heartbeat = { .version = "1", .kernel = "6", .state = TG_SYNC_UP },
		.has_keys = true,
	};

	memcpy(request.keys.tunnels, keys, count * sizeof(*keys));
	request.keys.tunnel_count = count;
	return request;
}

static void want(struct tg_sync_request *request, const char *agent, const char *tunnel)
{
	struct tg_keys_wanted *wanted = &request->keys.peers[request->keys.peer_count++];

	strcpy(wanted->agent, agent);
	strcpy(wanted->tunnel, tunnel);
}

static long sync_text(struct enrol_client *client, const struct tg_bytes *text,
		      struct tg_sync_answer *ret_answer)
{
	struct enrol_reply reply = { 0 };
	long status;

	CU_ASSERT_EQUAL_FATAL(enrol_client_request(client, "/v1/sync", text, &reply, &e), 0);
	status = reply.status;
	if (status == 200)
		CU_ASSERT_EQUAL_FATAL(tg_sync_answer_decode(reply.body.data, reply.body.len, ret_answer, &e),
				      0);
	enrol_reply_clear(&reply);
	return status;
}

static struct tg_keys_answer sync_keys_of(struct enrol_client *client, const struct tg_sync_request *request)
{
	struct tg_sync_answer answer = { 0 };
	struct tg_bytes text = { 0 };
	struct tg_keys_answer keys;

	CU_ASSERT_EQUAL_FATAL(tg_sync_request_encode(request, &text, &e), 0);
	CU_ASSERT_EQUAL_FATAL(sync_text(client, &text, &answer), 200);
	CU_ASSERT(answer.has_keys);
	keys = answer.keys;
	tg_sync_answer_clear(&answer);
	tg_bytes_free(&text);
	return keys;
}

struct scene {
	struct fixture *fixture;
	EVP_PKEY *keys[3];
	struct enrol_client *arm, *gateway, *stranger; /* the last one is of another fleet */
};

static struct scene scene_new(void)
{
	struct scene s = { .fixture =
				   fixture_limited(NULL, &(struct fixture_limits){ .agent_rate = 100000 }) };

	fixture_fleet(s.fixture, "lab", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	fixture_fleet(s.fixture, "hall", TG_ALLOW(TG_ASSURANCE_SOFTWARE));
	for (int i = 0; i < 3; i++)
		s.keys[i] = fixture_key();
	s.arm = fixture_agent(s.fixture, "lab", "arm", s.keys[0]);
	s.gateway = fixture_agent(s.fixture, "lab", "gateway", s.keys[1]);
	s.stranger = fixture_agent(s.fixture, "hall", "stranger", s.keys[2]);
	return s;
}

static void scene_free(struct scene *s)
{
	enrol_client_close(s->arm);
	enrol_client_close(s->gateway);
	enrol_client_close(s->stranger);
	for (int i = 0; i < 3; i++)
		EVP_PKEY_free(s->keys[i]);
	fixture_free(s->fixture);
}

TEST(keys, are_given_to_peers_of_the_fleet_and_to_nobody_else)
{
	struct scene s = scene_new();
	struct tg_tunnel_keys arm = keys_of("tg0", 1, 2), gateway = keys_of("tg0", 3, 0);
	struct tg_sync_request request = request_of(&arm, 1);
	struct tg_keys_answer answer;

	want(&request, "gateway", "tg0");
	want(&request, "nobody", "tg0");
	answer = sync_keys_of(s.arm, &request);
	CU_ASSERT_EQUAL(answer.peer_count, 0);
	CU_ASSERT_STRING_EQUAL(answer.refused, "");
	request = request_of(&gateway, 1);
	want(&request, "arm", "tg0");
	want(&request, "arm", "tg1");
	answer = sync_keys_of(s.gateway, &request);
	CU_ASSERT_EQUAL_FATAL(answer.peer_count, 1);
	CU_ASSERT_STRING_EQUAL(answer.peers[0].agent, "arm");
	CU_ASSERT(tg_tunnel_keys_equal(&answer.peers[0].keys, &arm));
	/* the change is made: the next one is the current one */
	arm = keys_of("tg0", 2, 0);
	request = request_of(&arm, 1);
	want(&request, "gateway", "tg0");
	answer = sync_keys_of(s.arm, &request);
	CU_ASSERT_EQUAL_FATAL(answer.peer_count, 1);
	CU_ASSERT(tg_tunnel_keys_equal(&answer.peers[0].keys, &gateway));
	request = request_of(&gateway, 1);
	want(&request, "arm", "tg0");
	answer = sync_keys_of(s.gateway, &request);
	CU_ASSERT_EQUAL_FATAL(answer.peer_count, 1);
	CU_ASSERT(tg_tunnel_keys_equal(&answer.peers[0].keys, &arm));
	/* of another fleet */
	request.keys.tunnel_count = 0;
	answer = sync_keys_of(s.stranger, &request);
	CU_ASSERT_EQUAL(answer.peer_count, 0);
	/* revoked */
	CU_ASSERT_EQUAL(store_agent_revoke(s.fixture->store, "arm", "stolen", time(NULL), &e), 0);
	request = request_of(&gateway, 1);
	want(&request, "arm", "tg0");
	answer = sync_keys_of(s.gateway, &request);
	CU_ASSERT_EQUAL(answer.peer_count, 0);
	scene_free(&s);
}

TEST(keys, of_another_agent_are_refused_and_change_nothing)
{
	struct scene s = scene_new();
	struct tg_tunnel_keys taken[2] = { keys_of("tg0", 4, 0), keys_of("tg1", 5, 2) };
	struct tg_tunnel_keys arm = keys_of("tg0", 1, 2);
	struct tg_sync_request request = request_of(&arm, 1);
	struct tg_keys_answer answer;

	sync_keys_of(s.arm, &request);
	request = request_of(taken, 1);
	CU_ASSERT_STRING_EQUAL(sync_keys_of(s.gateway, &request).refused, "");
	request = request_of(taken, 2);
	want(&request, "arm", "tg0");
	answer = sync_keys_of(s.gateway, &request);
	CU_ASSERT_STRING_EQUAL(answer.refused, "key-taken");
	/* what it asked for is answered all the same */
	CU_ASSERT_EQUAL(answer.peer_count, 1);
	request = request_of(&arm, 1);
	want(&request, "gateway", "tg0");
	want(&request, "gateway", "tg1");
	answer = sync_keys_of(s.arm, &request);
	CU_ASSERT_EQUAL_FATAL(answer.peer_count, 1);
	CU_ASSERT(tg_tunnel_keys_equal(&answer.peers[0].keys, &taken[0]));
	/* in a fleet that cannot see it, too */
	request = request_of(&taken[0], 1);
	CU_ASSERT_STRING_EQUAL(sync_keys_of(s.stranger, &request).refused, "key-taken");
	scene_free(&s);
}

TEST(keys, that_are_none_are_refused)
{
#define ONES "\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\""
#define TWOS "\"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\""
#define ZEROS "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\""
#define TUNNEL(name, keys) "{\"tunnel\":\"" name "\"" keys "}"
	static const char *const parts[] = {
		"{\"tunnels\":[]}",
		"{\"peers\":[]}",
		"{\"tunnels\":[" TUNNEL("tg0", "") "]}",
		"{\"tunnels\":[" TUNNEL("tg0", ",\"current\":\"AAAA\"") "]}",
		"{\"tunnels\":[" TUNNEL("tg0", ",\"current\":" ZEROS) "]}",
		"{\"tunnels\":[" TUNNEL("longer-than-8", ",\"current\":" ONES) "]}",
		"{\"tunnels\":[" TUNNEL("tg0", ",\"current\":" ONES ",\"next\":" ONES) "]}",
		"{\"tunnels\":[" TUNNEL("tg0", ",\"current\":" ONES ",\"next\":" ZEROS) "]}",
		"{\"tunnels\":[" TUNNEL("tg0", ",\"current\":" ONES) "," TUNNEL("tg0",
										",\"current\":" TWOS) "]}",
		"{\"tunnels\":[" TUNNEL("tg0", ",\"current\":" ONES) "," TUNNEL("tg1",
										",\"current\":" ONES) "]}",
		"{\"private\":" ONES "}",
		"{\"peers\":[{\"agent\":\"a\",\"tunnel\":\"tg0\"},{\"agent\":\"a\",\"tunnel\":\"tg0\"}]}",
		"{\"peers\":[{\"agent\":\"A B\",\"tunnel\":\"tg0\"}]}",
	};
	struct scene s = scene_new();
	struct tg_sync_answer answer = { 0 };
	char text[1024];

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		int len = snprintf(text, sizeof(text),
				   "{\"format\":1,\"heartbeat\":{\"version\":\"1\",\"kernel\":\"6\","
				   "\"engine\":\"none\",\"state\":\"up\",\"uptime\":1,\"real\":0,\"pad\":0,"
				   "\"dummy\":0,\"violations\":0,\"restarts\":0},\"keys\":%s}",
				   parts[i]);
		struct tg_bytes body = { (uint8_t *)text, (size_t)len };

		if (sync_text(s.arm, &body, &answer) != 400)
			printf("fail keys: taken: %s\n", parts[i]);
		CU_ASSERT_EQUAL(sync_text(s.arm, &body, &answer), 400);
	}
	scene_free(&s);
}

/* ---- the store ---- */

struct found {
	struct store_tunnel tunnels[4];
	size_t count;
};

static int note(void *arg, const struct store_tunnel *tunnel)
{
	struct found *found = arg;

	found->tunnels[found->count++] = *tunnel;
	return 0;
}

TEST(keys, in_the_store_are_in_one_tunnel_only_and_go_with_it)
{
	struct scene s = scene_new();
	struct store *store = s.fixture->store;
	struct tg_tunnel_keys two[2] = { keys_of("tg1", 7, 0), keys_of("tg0", 6, 5) };
	struct tg_tunnel_keys one = keys_of("tg0", 5, 0);
	struct found found = { .count = 0 };
	bool taken = false;

	CU_ASSERT_EQUAL(store_tunnel_put(store, "arm", two, 2, 1000, &taken, &e), 0);
	CU_ASSERT_FALSE(taken);
	CU_ASSERT_EQUAL(store_tunnel_each(store, "arm", note, &found, &e), 0);
	CU_ASSERT_EQUAL_FATAL(found.count, 2);
	CU_ASSERT(tg_tunnel_keys_equal(&found.tunnels[0].keys, &two[1]));
	CU_ASSERT(tg_tunnel_keys_equal(&found.tunnels[1].keys, &two[0]));
	/* the same keys with a new next one keep their time */
	two[0] = keys_of("tg1", 7, 9);
	CU_ASSERT_EQUAL(store_tunnel_put(store, "arm", two, 2, 2000, &taken, &e), 0);
	found.count = 0;
	CU_ASSERT_EQUAL(store_tunnel_each(store, "arm", note, &found, &e), 0);
	CU_ASSERT_EQUAL(found.tunnels[1].since, 1000);
	/* one tunnel less, and what was next is current */
	CU_ASSERT_EQUAL(store_tunnel_put(store, "arm", &one, 1, 3000, &taken, &e), 0);
	found.count = 0;
	CU_ASSERT_EQUAL(store_tunnel_each(store, "arm", note, &found, &e), 0);
	CU_ASSERT_EQUAL_FATAL(found.count, 1);
	CU_ASSERT(tg_tunnel_keys_equal(&found.tunnels[0].keys, &one));
	CU_ASSERT_EQUAL(found.tunnels[0].since, 3000);
	/* keys that nobody has any more may be anybody's */
	CU_ASSERT_EQUAL(store_tunnel_put(store, "gateway", two, 1, 4000, &taken, &e), 0);
	CU_ASSERT_FALSE(taken);
	CU_ASSERT_EQUAL(store_tunnel_put(store, "gateway", &one, 1, 5000, &taken, &e), 0);
	CU_ASSERT(taken);
	CU_ASSERT_EQUAL(store_tunnel_put(store, "gateway", NULL, 0, 6000, &taken, &e), 0);
	found.count = 0;
	CU_ASSERT_EQUAL(store_tunnel_each(store, "gateway", note, &found, &e), 0);
	CU_ASSERT_EQUAL(found.count, 0);
	scene_free(&s);
}

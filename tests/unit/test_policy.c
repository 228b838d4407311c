/* SPDX-License-Identifier: BSD-3-Clause */
/* The policy language. Inputs with the messages that they must give are in tests/policies. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "tensorguard/base64.h"
#include "tensorguard/policy.h"

#define GOOD "tests/policies/good/full.conf"

/* The whole file as a string; NULL if it cannot be read. */
static char *read_text(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t room = 0;
	ssize_t size;

	if (!f)
		return NULL;
	size = getdelim(&text, &room, '\0', f);
	fclose(f);
	if (size >= 0)
		return text;
	free(text);
	return NULL;
}

/* `text` with the one place where `old` stands replaced; NULL if there is none or another. */
static char *replace(const char *text, const char *old, const char *new)
{
	const char *at = strstr(text, old);
	char *out;

	if (!at || strstr(at + 1, old) ||
	    asprintf(&out, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old)) < 0)
		return NULL;
	return out;
}

static void expect_message(const char *what, const char *found, const char *expected)
{
	if (strcmp(found, expected))
		printf("%s:\n  found    %s\n  expected %s\n", what, found, expected);
	CU_ASSERT_STRING_EQUAL(found, expected);
}

/* Parses; the policy must be refused with "NAME" and `rest`. */
static void expect_refused(const char *what, const char *text, const char *rest)
{
	struct tg_policy *policy = (struct tg_policy *)(uintptr_t)1;
	struct tg_error e = { "" };
	char expected[512];

	CU_ASSERT_EQUAL(tg_policy_parse(text, strlen(text), "t.conf", &policy, &e), -EINVAL);
	CU_ASSERT_PTR_EQUAL(policy, (void *)(uintptr_t)1);
	snprintf(expected, sizeof(expected), "t.conf:%s", rest[0] == ':' ? rest + 1 : rest);
	expect_message(what, e.message, expected);
}

static struct tg_policy *expect_loaded(const char *path, const char *site)
{
	struct tg_policy *policy = NULL;
	struct tg_error e = { "" };

	CU_ASSERT_EQUAL(tg_policy_load(path, site, &policy, &e), 0);
	if (!policy)
		printf("%s: %s\n", path, e.message);
	CU_ASSERT_PTR_NOT_NULL_FATAL(policy);
	return policy;
}

/* The good file with one change, which must load. */
static struct tg_policy *expect_changed(const char *old, const char *new)
{
	char *base = read_text(GOOD), *text;
	struct tg_policy *policy = NULL;
	struct tg_error e = { "" };

	CU_ASSERT_PTR_NOT_NULL_FATAL(base);
	text = replace(base, old, new);
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	if (tg_policy_parse(text, strlen(text), "t.conf", &policy, &e))
		printf("%s: %s\n", new, e.message);
	free(base);
	free(text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(policy);
	return policy;
}

/* ---- what is refused ---- */

/* Only the agent can pace these: a policy that forbids it is a mistake, and "auto" is none. */
TEST(policy, defences_of_the_agent_need_its_engine)
{
	static const char *const classes[] = {
		"defence = \"jitter\"; distribution = \"uniform\"; delay = \"20ms\";",
		"defence = \"regulator\"; cell = 160; rate = 200; decay = 0.94; threshold = \"50ms\"; "
		"dummies = 500; uplink_ratio = 4; hold = \"50ms\"; idle = \"30s\";",
		"defence = \"lean\"; cell = 208; tick = \"25ms\"; up = ( \"4ms\" ); down = ( \"4ms\" ); "
		"session = \"65s\"; idle = \"3s\";",
	};
	static const char *const names[] = { "jitter", "regulator", "lean" };
	static const char *const engines[] = { "queue", "auto", "kernel" };
	char text[1024], message[256];

	for (size_t i = 0; i < 9; i++) {
		struct tg_policy *policy = NULL;
		bool bad = i % 3 == 2;

		snprintf(
			text, sizeof(text),
			"version = 1; name = \"x\"; policy_version = 1; profile = \"lab\"; engine = \"%s\";\n"
			"tunnels = ( { name = \"a\"; external = \"wg1\"; dummy = { source = \"fd00::1\"; "
			"target "
			"= \"fd00::2\"; };\nclasses = ( { name = \"c\"; %s } ); } );",
			engines[i % 3], classes[i / 3]);
		snprintf(message, sizeof(message),
			 ":3: defence is \"%s\", expected another one under engine = \"kernel\": this one "
			 "needs "
			 "engine = \"queue\" or \"auto\"",
			 names[i / 3]);
		if (bad) {
			expect_refused(names[i / 3], text, message);
			continue;
		}
		CU_ASSERT_EQUAL_FATAL(tg_policy_parse(text, strlen(text), "t.conf", &policy, NULL), 0);
		CU_ASSERT(tg_policy_needs_agent(policy) && tg_policy_is_paced(policy));
		tg_policy_free(policy);
	}
}

/* Cuts the lines up to one that begins with `end` off *p. That line is left there. */
static char *take_lines(char **p, const char *end)
{
	char *start = *p, *at = start;

	while (strncmp(at, end, strlen(end))) {
		at = strchr(at, '\n');
		if (!at)
			return NULL;
		at++;
	}
	if (at > start)
		at[-1] = '\0';
	*p = at;
	return start;
}

static char *take_line(char **p)
{
	char *start = *p, *newline = strchr(start, '\n');

	if (!newline)
		return NULL;
	*newline = '\0';
	*p = newline + 1;
	return start;
}

TEST(policy, each_mistake_has_its_message)
{
	char *base = read_text(GOOD), *cases = read_text("tests/policies/errors.txt"), *p = cases;
	unsigned count = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(base);
	CU_ASSERT_PTR_NOT_NULL_FATAL(cases);
	while ((p = strstr(p, "\n@ "))) {
		char *name, *old, *new, *message, *text;

		p += 3;
		name = take_line(&p);
		old = take_lines(&p, "===\n");
		CU_ASSERT_PTR_NOT_NULL_FATAL(old);
		p += strlen("===\n");
		new = take_lines(&p, ">>> ");
		CU_ASSERT_PTR_NOT_NULL_FATAL(new);
		p += strlen(">>> ");
		message = p;
		p = strchr(p, '\n');
		CU_ASSERT_PTR_NOT_NULL_FATAL(p);
		text = replace(base, old, new);
		CU_ASSERT_PTR_NOT_NULL(text);
		*p = '\0';
		if (text)
			expect_refused(name, text, message);
		*p = '\n';
		free(text);
		count++;
	}
	CU_ASSERT(count > 200);
	free(base);
	free(cases);
}

/* The message after "# expect " in the file's first or second line. */
static void expected_of(const char *text, char *ret_message, size_t size)
{
	const char *at = strstr(text, "# expect ");

	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	at += strlen("# expect ");
	snprintf(ret_message, size, "%.*s", (int)strcspn(at, "\n"), at);
}

TEST(policy, each_bad_file_has_its_message)
{
	DIR *dir = opendir("tests/policies/bad");
	unsigned count = 0;
	struct dirent *entry;

	CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
	while ((entry = readdir(dir))) {
		char path[512], message[384], *text;

		if (!strstr(entry->d_name, ".conf"))
			continue;
		snprintf(path, sizeof(path), "tests/policies/bad/%s", entry->d_name);
		text = read_text(path);
		CU_ASSERT_PTR_NOT_NULL_FATAL(text);
		expected_of(text, message, sizeof(message));
		expect_refused(path, text, message);
		free(text);
		count++;
	}
	closedir(dir);
	CU_ASSERT(count >= 13);
}

TEST(policy, a_wrong_file_has_its_message)
{
	struct tg_policy *policy = NULL;
	struct tg_error e = { "" };
	char *big = calloc(1, (1 << 20) + 1);

	CU_ASSERT_PTR_NOT_NULL_FATAL(big);
	memset(big, ' ', (1 << 20) + 1);
	CU_ASSERT_EQUAL(tg_policy_parse(big, (1 << 20) + 1, "t.conf", &policy, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "t.conf: more than 1048576 bytes, expected a policy");
	CU_ASSERT_EQUAL(tg_policy_parse(big, 1 << 20, "t.conf", &policy, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "t.conf: no key 'version' in the policy");
	free(big);
	CU_ASSERT_EQUAL(tg_policy_parse("version = 1;\0x", 14, "t.conf", &policy, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "t.conf: a zero byte, expected text");
	CU_ASSERT_EQUAL(tg_policy_load("tests/policies/none.conf", NULL, &policy, &e), -ENOENT);
	CU_ASSERT_STRING_EQUAL(e.message, "cannot open tests/policies/none.conf: No such file or directory");
	CU_ASSERT_EQUAL(tg_policy_load("tests/policies", NULL, &policy, &e), -EISDIR);
	CU_ASSERT_STRING_EQUAL(e.message, "cannot read tests/policies: Is a directory");
	CU_ASSERT_EQUAL(tg_policy_load(GOOD, "tests/policies/none.conf", &policy, &e), -ENOENT);
	CU_ASSERT_EQUAL(tg_policy_load("tests/policies/bad/rules-text.conf", NULL, &policy, NULL), -EINVAL);
	CU_ASSERT_PTR_NULL(policy);
}

TEST(policy, a_long_path_does_not_hide_the_message)
{
	struct tg_policy *policy = NULL;
	struct tg_error e = { "" };
	char name[1024];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	CU_ASSERT_EQUAL(tg_policy_parse("\n\nversion = 3;", 14, name, &policy, &e), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(
		strstr(e.message, "n:3: version is 3, expected 1, the version of the language"));
}

/* ---- what is read ---- */

/* Warnings that are not about a weak defence: each such class of a policy has one, whatever else it says. */
static size_t other_warnings(const struct tg_policy *p)
{
	size_t weak = 0, count = 0;

	for (size_t i = 0; i < p->warning_count; i++)
		count += strstr(p->warnings[i], " an eavesdropper named ") == NULL;
	for (size_t i = 0; i < p->tunnel_count; i++)
		for (size_t k = 0; k < p->tunnels[i].class_count; k++)
			weak += p->tunnels[i].classes[k].defence != TG_DEFENCE_CONSTANT &&
				p->tunnels[i].classes[k].defence != TG_DEFENCE_LEAN;
	CU_ASSERT_EQUAL(p->warning_count - count, weak);
	return count;
}

TEST(policy, every_key_arrives)
{
	struct tg_policy *p = expect_loaded(GOOD, NULL);
	const struct tg_tunnel *t = &p->tunnels[0];
	const struct tg_policy_class *class = &t->classes[0];
	char text[INET6_ADDRSTRLEN], cidr[TG_CIDR_TEXT_LEN];

	CU_ASSERT_STRING_EQUAL(p->name, "full-example_1");
	CU_ASSERT_EQUAL(p->version, 5000000000ull);
	CU_ASSERT(p->role == TG_ROLE_EDGE && p->profile == TG_PROFILE_WAREHOUSE && p->fail == TG_FAIL_CLOSED);
	CU_ASSERT(p->classifier.hold && p->classifier.queue == 7 && p->classifier.queue_length == 99);
	CU_ASSERT_EQUAL(other_warnings(p), 0);
	CU_ASSERT_EQUAL_FATAL(p->tunnel_count, 2);

	CU_ASSERT_STRING_EQUAL(t->name, "tg0");
	CU_ASSERT_EQUAL(t->line, 11);
	CU_ASSERT_STRING_EQUAL(t->external, "");
	CU_ASSERT_STRING_EQUAL(t->key_file, "/etc/tensorguard/tg0.key");
	CU_ASSERT(t->listen_port == 51820 && t->mtu == 1400 && t->address_count == 3);
	CU_ASSERT_STRING_EQUAL(tg_cidr_text(&t->addresses[0], cidr), "10.84.0.2/24");
	CU_ASSERT_STRING_EQUAL(tg_cidr_text(&t->addresses[2], cidr), "fd54:4700::2/64");
	CU_ASSERT_STRING_EQUAL(inet_ntop(AF_INET6, &t->dummy_source, text, sizeof(text)), "fd54:4700::2");
	CU_ASSERT_STRING_EQUAL(inet_ntop(AF_INET6, &t->dummy_target, text, sizeof(text)), "fd54:4790::9");
	CU_ASSERT(t->class_count == 2 && t->default_class == 0);

	CU_ASSERT_STRING_EQUAL(class->name, "command");
	CU_ASSERT_EQUAL(class->line, 29);
	CU_ASSERT(class->defence == TG_DEFENCE_CONSTANT && class->pad_mode == TG_PAD_CELL &&
		  class->cell == 1280);
	CU_ASSERT(class->period_ns == 6250000 && class->session_ns == 65000000000ull);
	CU_ASSERT(class->idle_ns == 3000000000ull && class->budget_ns == 500000000);
	CU_ASSERT_EQUAL(class->overflow, TG_OVERFLOW_STRETCH);
	CU_ASSERT(class[1].session_ns == 0 && class[1].budget_ns == 100000000);
	CU_ASSERT_EQUAL(class[1].overflow, TG_OVERFLOW_DROP);
	tg_policy_free(p);
}

TEST(policy, every_key_of_a_peer_arrives)
{
	static const uint8_t endpoint[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
	struct tg_policy *p = expect_loaded(GOOD, NULL);
	const struct tg_peer *peer = &p->tunnels[0].peers[0];
	char cidr[TG_CIDR_TEXT_LEN];

	CU_ASSERT_EQUAL_FATAL(p->tunnels[0].peer_count, 1);
	for (unsigned i = 0; i < TG_KEY_LEN; i++)
		CU_ASSERT_EQUAL(peer->public_key[i], (13 * i + 29) % 251);
	CU_ASSERT_STRING_EQUAL(peer->preshared_key_file, "/etc/tensorguard/tg0.psk");
	CU_ASSERT(peer->endpoint.family == AF_INET6 && peer->endpoint.port == 51820);
	CU_ASSERT(!memcmp(peer->endpoint.addr, endpoint, sizeof(endpoint)));
	CU_ASSERT_EQUAL_FATAL(peer->allowed_ip_count, 3);
	CU_ASSERT_STRING_EQUAL(tg_cidr_text(&peer->allowed_ips[1], cidr), "fd54:4700::1/128");
	CU_ASSERT_EQUAL(peer->keepalive_s, 25);
	CU_ASSERT(!memcmp(&peer->dummy_target, &p->tunnels[0].dummy_target, 16));
	tg_policy_free(p);
}

TEST(policy, external_tunnels_and_pad_classes_arrive)
{
	struct tg_policy *p = expect_loaded(GOOD, NULL);
	const struct tg_tunnel *t = &p->tunnels[1];
	char text[INET6_ADDRSTRLEN];

	CU_ASSERT_STRING_EQUAL(t->external, "wg7");
	CU_ASSERT(!t->key_file && !t->peer_count && !t->address_count && t->mtu == 1420);
	CU_ASSERT_STRING_EQUAL(inet_ntop(AF_INET6, &t->dummy_source, text, sizeof(text)), "fd54:4701::2");
	CU_ASSERT_STRING_EQUAL(inet_ntop(AF_INET6, &t->dummy_target, text, sizeof(text)), "fd54:4701::1");
	CU_ASSERT_EQUAL_FATAL(t->class_count, 4);
	CU_ASSERT(t->classes[0].pad_mode == TG_PAD_CELL && t->classes[0].cell == 1420);
	CU_ASSERT(t->classes[1].pad_mode == TG_PAD_BUCKETS && t->classes[1].bucket_count == 3);
	CU_ASSERT(t->classes[1].buckets[0] == 256 && t->classes[1].buckets[2] == 1420);
	CU_ASSERT_EQUAL(t->classes[2].pad_mode, TG_PAD_POW2);
	CU_ASSERT_EQUAL(t->classes[3].pad_mode, TG_PAD_UNIFORM);
	tg_policy_free(p);
}

/* A managed gateway of `count` robots; the last one has the key of robot `like`. */
static char *many_peers(unsigned count, unsigned like)
{
	size_t size;
	char *text;
	FILE *f = open_memstream(&text, &size);

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fprintf(f,
		"version = 1; name = \"g\"; policy_version = 1; profile = \"lab\"; fail = \"closed\"; role = "
		"\"gateway\";\ntunnels = ( { name = \"tg0\"; key_file = \"/k\"; addresses = ( \"fd00::1/64\" "
		"); "
		"classes = ( { name = \"c\"; defence = \"constant\"; cell = 160; period = \"10ms\"; session "
		"= "
		"\"always\"; } );\npeers = (");
	for (unsigned i = 0; i < count; i++) {
		uint8_t key[TG_KEY_LEN] = { 1 };
		unsigned n = i + 1 == count ? like : i;
		char base64[45];

		key[1] = (uint8_t)(n >> 8);
		key[2] = (uint8_t)n;
		tg_key_to_base64(key, base64);
		fprintf(f,
			"%s\n{ public_key = \"%s\"; allowed_ips = ( \"10.%u.%u.0/24\", \"fd00::1:%x/128\" ); "
			"}",
			i ? "," : "", base64, i >> 8, i & 255, i);
	}
	fprintf(f, ");\n} );\nrules = ( { tunnel = \"tg0\"; class = \"c\"; to = ( \"10.0.0.0/8\" ); } );\n");
	fclose(f);
	return text;
}

/* Far below what comparing each with each would take, and far above what sorting does on a busy machine. */
TEST(policy, thousands_of_peers_load_quickly)
{
	enum { COUNT = 4000, SECONDS = 5 };
	char *text = many_peers(COUNT, COUNT - 1);
	struct tg_policy *p = NULL;
	struct tg_error e = { "" };
	time_t begun = time(NULL);

	CU_ASSERT_EQUAL_FATAL(tg_policy_parse(text, strlen(text), "t.conf", &p, &e), 0);
	CU_ASSERT_TRUE(time(NULL) - begun < SECONDS);
	CU_ASSERT_EQUAL(p->tunnels[0].peer_count, COUNT);
	CU_ASSERT_EQUAL(p->tunnels[0].peers[COUNT - 1].dummy_target.s6_addr[15], (COUNT - 1) & 255);
	tg_policy_free(p);
	free(text);
}

TEST(policy, one_key_among_thousands_is_found_twice)
{
	struct tg_policy *p = NULL;
	struct tg_error e = { "" };
	char *text = many_peers(1200, 700);

	CU_ASSERT_EQUAL(tg_policy_parse(text, strlen(text), "t.conf", &p, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message,
			       "t.conf:1203: two peers of tunnel 'tg0' have this public_key, expected one");
	free(text);
	text = many_peers(TG_MAX_PEERS + 1, TG_MAX_PEERS);
	CU_ASSERT_EQUAL(tg_policy_parse(text, strlen(text), "t.conf", &p, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "t.conf:3: peers is a list of 4097, expected a list of 1 to 4096");
	free(text);
}

TEST(policy, several_peers_need_no_target_for_dummies)
{
	struct tg_policy *p = expect_loaded("tests/policies/good/two-robots.conf", NULL);
	const struct tg_tunnel *t = &p->tunnels[0];

	CU_ASSERT(t->peer_count == 2 && p->role == TG_ROLE_GATEWAY && other_warnings(p) == 0);
	CU_ASSERT(t->peers[0].endpoint.family == 0 && t->peers[1].keepalive_s == 0);
	CU_ASSERT(t->peers[0].dummy_target.s6_addr[15] == 2 && t->peers[1].dummy_target.s6_addr[15] == 3);
	CU_ASSERT(t->dummy_source.s6_addr[15] == 1 && IN6_IS_ADDR_UNSPECIFIED(&t->dummy_target));
	tg_policy_free(p);
}

TEST(policy, every_key_of_a_rule_arrives)
{
	struct tg_policy *p = expect_loaded(GOOD, NULL);
	const struct tg_policy_rule *r = p->rules;
	char cidr[TG_CIDR_TEXT_LEN];

	CU_ASSERT_EQUAL_FATAL(p->rule_count, 7);
	CU_ASSERT(r[0].line == 63 && r[0].tunnel == 0 && r[0].class == 0);
	CU_ASSERT(r[0].to_count == 2 && r[0].from_count == 0 && r[0].proto == IPPROTO_UDP);
	CU_ASSERT_STRING_EQUAL(tg_cidr_text(&r[0].to[1], cidr), "fd54:4790::/65");
	CU_ASSERT(r[0].port_count == 2 && r[0].ports[0].lo == 7400 && r[0].ports[0].hi == 7500);
	CU_ASSERT(r[0].ports[1].lo == 9000 && r[0].ports[1].hi == 9000 && !r[0].source_port_count);
	CU_ASSERT(r[1].from_count == 2 && r[1].proto == 47 && r[1].class == 1 && !r[1].has_mark);
	CU_ASSERT(r[2].has_mark && r[2].mark == 0x10 && r[2].mark_mask == 0xff && !tg_rule_is_flow(&r[2]));
	CU_ASSERT(r[3].has_uid && r[3].uid_lo == 1000 && r[3].uid_hi == 1999 && tg_rule_is_flow(&r[3]));
	CU_ASSERT(r[3].tunnel == 1 && r[3].class == 0);
	CU_ASSERT_STRING_EQUAL(r[4].cgroup, "system.slice/robot.service");
	CU_ASSERT_STRING_EQUAL(r[5].sni, ".robot.example");
	CU_ASSERT(r[5].proto == IPPROTO_TCP && tg_rule_is_flow(&r[5]));
	CU_ASSERT_STRING_EQUAL(r[6].sni, "vision.example");
	CU_ASSERT(r[6].source_port_count == 1 && r[6].source_ports[0].lo == 443);
	tg_policy_free(p);
}

TEST(policy, what_is_left_out_has_its_default)
{
	static const char text[] = "version = 1; name = \"x\"; policy_version = 1; profile = \"lab\";"
				   "tunnels = ( { name = \"t\"; external = \"wg7\";"
				   "classes = ( { name = \"a\"; defence = \"pad\"; } ); } );";
	struct tg_policy *p = NULL;
	struct tg_error e;

	CU_ASSERT_EQUAL_FATAL(tg_policy_parse(text, sizeof(text) - 1, "t.conf", &p, &e), 0);
	CU_ASSERT(p->role == TG_ROLE_EDGE && p->fail == TG_FAIL_CLOSED);
	CU_ASSERT(!p->classifier.hold && p->classifier.queue == 5400 && p->classifier.queue_length == 1024);
	CU_ASSERT(p->tunnels[0].mtu == 1420 && p->tunnels[0].default_class == 0);
	CU_ASSERT(IN6_IS_ADDR_UNSPECIFIED(&p->tunnels[0].dummy_target));
	CU_ASSERT_EQUAL_FATAL(other_warnings(p), 1);
	CU_ASSERT_STRING_EQUAL(p->warnings[1], "t.conf:1: no rules: nothing is routed into the tunnels");
	tg_policy_free(p);
}

TEST(policy, a_single_host_is_the_target_of_dummies)
{
	struct tg_policy *p = expect_changed("dummy_target = \"fd54:4790::9\";", "");
	char text[INET6_ADDRSTRLEN];

	CU_ASSERT_STRING_EQUAL(inet_ntop(AF_INET6, &p->tunnels[0].dummy_target, text, sizeof(text)),
			       "fd54:4700::1");
	tg_policy_free(p);
	p = expect_changed("dummy_target = \"fd54:4790::9\";\n\t\t\t}\n\t\t);",
			   "}\n\t\t);dummy = { target = \"fd54:4790::8\"; };");
	CU_ASSERT_STRING_EQUAL(inet_ntop(AF_INET6, &p->tunnels[0].dummy_target, text, sizeof(text)),
			       "fd54:4790::8");
	CU_ASSERT_STRING_EQUAL(inet_ntop(AF_INET6, &p->tunnels[0].peers[0].dummy_target, text, sizeof(text)),
			       "fd54:4790::8");
	tg_policy_free(p);
}

TEST(policy, numbers_in_texts_and_comments_are_left_alone)
{
	struct tg_policy *p = expect_changed("policy_version = 5000000000L;",
					     "# 0x10 99999999999\n// 0x10 \"\n/* 0x10 \" 99999999999 */\n"
					     "policy_version = 2147483647; # \"");

	CU_ASSERT_EQUAL(p->version, 2147483647);
	CU_ASSERT_EQUAL(p->rules[2].mark, 0x10);
	tg_policy_free(p);
	p = expect_changed("5000000000L", "9223372036854775807LL");
	CU_ASSERT_EQUAL(p->version, 9223372036854775807ull);
	tg_policy_free(p);
}

TEST(policy, durations_are_exact)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} cases[] = {
		{ "100us", 100000 },       { "0.1ms", 100000 },   { "999.999us", 999999 },
		{ "1s", 1000000000 },      { "0.001s", 1000000 }, { "12.5ms", 12500000 },
		{ "0.005min", 300000000 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char new[64];
		struct tg_policy *p;

		snprintf(new, sizeof(new), "period = \"%s\";\n\t\t\t\tsession = \"always\";", cases[i].text);
		p = expect_changed("period = \"10ms\";\n\t\t\t\tsession = \"always\";", new);
		CU_ASSERT_EQUAL(p->tunnels[0].classes[1].period_ns, cases[i].ns);
		tg_policy_free(p);
	}
}

TEST(policy, words_and_values_agree)
{
	CU_ASSERT_STRING_EQUAL(tg_defence_name(TG_DEFENCE_CONSTANT), "constant");
	CU_ASSERT_STRING_EQUAL(tg_pad_mode_name(TG_PAD_POW2), "pow2");
	CU_ASSERT_STRING_EQUAL(tg_overflow_name(TG_OVERFLOW_STRETCH), "stretch");
	CU_ASSERT_STRING_EQUAL(tg_profile_name(TG_PROFILE_LAB), "lab");
	CU_ASSERT_STRING_EQUAL(tg_role_name(TG_ROLE_GATEWAY), "gateway");
	CU_ASSERT_STRING_EQUAL(tg_fail_name(TG_FAIL_OPEN), "open");
	CU_ASSERT_EQUAL(tg_profile_budget_ns(TG_PROFILE_SURGICAL), 500000);
	CU_ASSERT_EQUAL(tg_profile_budget_ns(TG_PROFILE_COLLABORATIVE), 2000000);
	CU_ASSERT_EQUAL(tg_profile_budget_ns(TG_PROFILE_WAREHOUSE), 10000000);
	CU_ASSERT_EQUAL(tg_profile_budget_ns(TG_PROFILE_LAB), 50000000);
}

TEST(policy, free_takes_null)
{
	tg_policy_free(NULL);
}

/* ---- the site file ---- */

TEST(policy, a_site_file_supplies_the_device)
{
	struct tg_policy *p =
		expect_loaded("tests/policies/site/portable.policy", "tests/policies/site/managed.conf");
	const struct tg_tunnel *t = &p->tunnels[0];

	CU_ASSERT_STRING_EQUAL(t->key_file, "/etc/tensorguard/robot7.key");
	CU_ASSERT(t->listen_port == 4000 && t->mtu == 1300 && t->peer_count == 1 && t->address_count == 1);
	CU_ASSERT_EQUAL(t->classes[0].cell, 1300);
	tg_policy_free(p);
}

TEST(policy, a_site_file_replaces_the_device)
{
	struct tg_policy *p = expect_loaded(GOOD, "tests/policies/site/external.conf");
	const struct tg_tunnel *t = &p->tunnels[0];

	CU_ASSERT_STRING_EQUAL(t->external, "wan0");
	CU_ASSERT(!t->key_file && !t->peer_count && !t->address_count && !t->listen_port);
	CU_ASSERT_EQUAL(t->mtu, 1400);
	CU_ASSERT_EQUAL(t->dummy_source.s6_addr[15], 7);
	CU_ASSERT_STRING_EQUAL(p->tunnels[1].external, "wg7");
	tg_policy_free(p);
}

TEST(policy, a_site_file_takes_over_an_external_device)
{
	struct tg_policy *p = expect_loaded(GOOD, "tests/policies/site/adopted.conf");
	const struct tg_tunnel *t = &p->tunnels[1];

	CU_ASSERT_STRING_EQUAL(t->external, "");
	CU_ASSERT_STRING_EQUAL(t->key_file, "/etc/tensorguard/tg1.key");
	CU_ASSERT(t->peer_count == 1 && t->address_count == 3);
	/* the policy's own word about dummies still holds, and was checked against these addresses */
	CU_ASSERT_EQUAL(t->dummy_source.s6_addr[15], 2);
	CU_ASSERT_EQUAL(t->peers[0].dummy_target.s6_addr[15], 1);
	CU_ASSERT_EQUAL(other_warnings(p), 0);
	tg_policy_free(p);
}

TEST(policy, each_bad_site_file_has_its_message)
{
	DIR *dir = opendir("tests/policies/site");
	unsigned count = 0;
	struct dirent *entry;

	CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
	while ((entry = readdir(dir))) {
		char path[512], rest[384], expected[1024], *text;
		struct tg_policy *policy = NULL;
		struct tg_error e = { "" };

		if (strncmp(entry->d_name, "bad-", 4))
			continue;
		snprintf(path, sizeof(path), "tests/policies/site/%s", entry->d_name);
		text = read_text(path);
		CU_ASSERT_PTR_NOT_NULL_FATAL(text);
		expected_of(text, rest, sizeof(rest));
		free(text);
		CU_ASSERT_EQUAL(tg_policy_load(GOOD, path, &policy, &e), -EINVAL);
		snprintf(expected, sizeof(expected), "%s:%s", path, rest[0] == ':' ? rest + 1 : rest);
		expect_message(path, e.message, expected);
		count++;
	}
	closedir(dir);
	CU_ASSERT(count >= 11);
}

/* What cannot be in force here says what it matches all the same. */
TEST(policy, rules_are_read_without_a_device)
{
	static const char text[] =
		"version = 1; name = \"t\"; policy_version = 1L; profile = \"lab\";\n"
		"tunnels = ( { name = \"tg0\"; mtu = 1400; external = 7;\n"
		"	classes = ( { name = \"c\"; defence = \"constant\"; cell = 1280; period = \"5ms\";\n"
		"		session = \"2s\"; idle = \"1s\"; } ); } );\n"
		"rules = ( { tunnel = \"tg0\"; class = \"c\"; to = ( \"10.90.0.0/16\" ); } );\n";
	struct tg_policy *policy = NULL;
	struct tg_error e = { "" };

	CU_ASSERT_EQUAL(tg_policy_parse_with(text, strlen(text), "t.conf", NULL, &policy, &e), -EINVAL);
	CU_ASSERT_PTR_NULL(policy);
	CU_ASSERT_EQUAL_FATAL(tg_policy_parse_rules(text, strlen(text), "t.conf", &policy, &e), 0);
	CU_ASSERT_EQUAL(policy->fail, TG_FAIL_CLOSED);
	CU_ASSERT_EQUAL(policy->rule_count, 1);
	CU_ASSERT_EQUAL(policy->tunnels[0].peer_count, 0);
	CU_ASSERT_STRING_EQUAL(tg_tunnel_device(&policy->tunnels[0]), "tg0");
	tg_policy_free(policy);
	/* the rest is looked at as ever */
	CU_ASSERT_EQUAL(tg_policy_parse_rules("version = 3;", 12, "t.conf", &policy, &e), -EINVAL);
}

TEST(policy, a_text_goes_with_a_site_file)
{
	static const char site[] = "tests/policies/site/bad-unknown-tunnel.conf";
	static const char none[] = "tests/policies/none.conf";
	char *text = read_text(GOOD);
	size_t size = text ? strlen(text) : 0;
	struct tg_policy *policy = NULL;
	struct tg_error e = { "" };

	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_EQUAL(tg_policy_parse_with(text, size, "t.conf", site, &policy, &e), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.message, site));
	CU_ASSERT_EQUAL(tg_policy_parse_with(text, size, "t.conf", none, &policy, &e), -ENOENT);
	CU_ASSERT_EQUAL_FATAL(tg_policy_parse_rules(text, size, "t.conf", &policy, &e), 0);
	tg_policy_free(policy);
	free(text);
}

/* ---- the manual ---- */

/* The next literal block from *p on. */
static char *take_example(char **p)
{
	static const char begin[] = ".Bd -literal -offset indent\n";
	char *start = strstr(*p, begin), *end = start ? strstr(start, ".Ed\n") : NULL;

	if (!end)
		return NULL;
	*end = '\0';
	*p = end + 1;
	return start + strlen(begin);
}

TEST(policy, the_examples_of_the_manual_are_valid)
{
	char *page = read_text("docs/man/tensorguard-policy.5"), *p = page, *policy_text, *site_text;
	char policy_path[] = "/tmp/tg-policy-XXXXXX", site_path[] = "/tmp/tg-site-XXXXXX";
	int policy_fd = mkstemp(policy_path), site_fd = mkstemp(site_path);
	struct tg_policy *policy;

	CU_ASSERT_FATAL(page && policy_fd >= 0 && site_fd >= 0);
	policy_text = take_example(&p);
	CU_ASSERT_PTR_NOT_NULL_FATAL(policy_text);
	site_text = take_example(&p);
	CU_ASSERT_PTR_NOT_NULL_FATAL(site_text);
	CU_ASSERT_EQUAL(write(policy_fd, policy_text, strlen(policy_text)), (ssize_t)strlen(policy_text));
	CU_ASSERT_EQUAL(write(site_fd, site_text, strlen(site_text)), (ssize_t)strlen(site_text));
	policy = expect_loaded(policy_path, site_path);
	CU_ASSERT_EQUAL(other_warnings(policy), 0);
	CU_ASSERT_STRING_EQUAL(policy->tunnels[0].key_file, "/etc/tensorguard/robot7.key");
	tg_policy_free(policy);
	close(policy_fd);
	close(site_fd);
	unlink(policy_path);
	unlink(site_path);
	free(page);
}

/* ---- warnings ---- */

static const char v6_rule[] = "{ tunnel = \"tg1\"; class = \"plain\"; uid = \"1000-1999\"; }";

static const struct {
	const char *old, *new;
	const char *warning;	/* after "t.conf:"; NULL = none */
} warnings[] = {
	{ "version = 1;\nname", "version = 1;\n\nname", NULL },
	{ "profile = \"warehouse\"", "profile = \"collaborative\"",
	  "29: class 'command': a cell waits up to its period of 6250us, profile \"collaborative\" allows "
	  "2ms" },
	{ "session = \"65s\"", "session = \"30s\"",
	  "29: class 'command': jobs are told apart by their length in steps of 30s; take the longest job "
	  "plus 5 %, "
	  "or \"always\"" },
	{ "cell = 1280;\n\t\t\t\tperiod = \"6.25ms\"", "cell = 1296;\n\t\t\t\tperiod = \"6.25ms\"",
	  "39: classes 'command' and 'second' are told apart by their cells of 1296 and 1280 bytes; give "
	  "each a tunnel of "
	  "its own" },
	{ "cell = 1280;\n\t\t\t\tperiod = \"6.25ms\"", "cell = 1400;\n\t\t\t\tperiod = \"6.25ms\"",
	  "29: class 'command': its cell of 1400 bytes is no multiple of 16: by routes locked to a smaller "
	  "cell "
	  "(the tunnel's networks, rules by uid, cgroup or sni) the kernel's WireGuard sends real ones "
	  "longer "
	  "than dummies" },
	{ "defence = \"constant\";\n\t\t\t\tcell = 1280;\n\t\t\t\tperiod = \"10ms\";\n\t\t\t\tsession = "
	  "\"always\";",
	  "defence = \"pad\"; cell = 1280;",
	  "39: classes 'command' and 'second' are told apart by their defences, constant and pad; give each "
	  "a "
	  "tunnel of its own" },
	{ v6_rule,
	  "{ tunnel = \"tg1\"; class = \"plain\"; to = ( \"203.0.113.0/25\" ); },\n"
	  "{ tunnel = \"tg1\"; class = \"plain\"; to = ( \"203.0.113.0/26\" ); from = ( \"10.0.0.0/8\" ); }",
	  "67: this rule never applies: the one in line 66 matches all that it matches" },
	{ v6_rule,
	  "{ tunnel = \"tg1\"; class = \"plain\"; to = ( \"10.90.1.0/28\" ); proto = \"udp\"; ports = ( "
	  "\"7410-7420\" ); }",
	  "66: this rule never applies: the one in line 63 matches all that it matches" },
	{ v6_rule,
	  "{ tunnel = \"tg1\"; class = \"plain\"; to = ( \"10.90.1.0/28\" ); proto = \"udp\"; ports = ( "
	  "\"7410-7501\" ); }",
	  NULL },
	{ v6_rule,
	  "{ tunnel = \"tg1\"; class = \"plain\"; to = ( \"10.90.1.0/28\" ); mark = \"0x110/0xfff\"; }",
	  "66: this rule never applies: the one in line 65 matches all that it matches" },
	{ v6_rule,
	  "{ tunnel = \"tg1\"; class = \"plain\"; to = ( \"10.90.1.0/28\" ); mark = \"0x10/0xf0\"; }", NULL },
	{ "sni = \"vision.example\"", "sni = \"arm.robot.example\"",
	  "69: this rule never applies: the one in line 68 matches all that it matches" },
	{ "sni = \"vision.example\"", "sni = \"robot.example\"",
	  "69: this rule never applies: the one in line 68 matches all that it matches" },
	{ "sni = \"vision.example\"", "sni = \"notrobot.example\"", NULL },
	{ "sni = \"*.Robot.example\"", "sni = \"vision.example\"",
	  "69: this rule never applies: the one in line 68 matches all that it matches" },
	{ "sni = \"*.Robot.example\"", "sni = \"robot.vision.example\"", NULL },
	{ v6_rule,
	  "{ tunnel = \"tg1\"; class = \"plain\"; to = ( \"203.0.113.0/24\" ); uid = 7; },\n"
	  "{ tunnel = \"tg1\"; class = \"plain\"; uid = 7; },\n"
	  "{ tunnel = \"tg1\"; class = \"plain\"; to = ( \"203.0.113.0/24\" ); uid = \"7-8\"; },\n"
	  "{ tunnel = \"tg1\"; class = \"plain\"; uid = 7; proto = \"udp\"; }",
	  "69: this rule never applies: the one in line 67 matches all that it matches" },
	/* 1360 bytes every 6.25 ms and every 10 ms: 353.6 kbyte/s */
	{ "80000000000L; dummy_share = 40; link_kbit_s = 100000; metered = false; "
	  "metered_dummy_bytes_per_day "
	  "= 5000000; violation = \"count\"",
	  "12729600000L",
	  "11: tunnel 'tg0': the day's 12729600000 bytes of dummies last for 10.0 hours of sessions; "
	  "after that their slots stay empty, which shows" },
	{ "dummy_share = 40; link_kbit_s = 100000; metered = false; metered_dummy_bytes_per_day = 5000000; "
	  "violation = \"count\"",
	  "dummy_share = 40; link_kbit_s = 5000",
	  "11: tunnel 'tg0': dummies take up to 2829 kbit/s and may have 2000: some slots stay empty, which "
	  "shows" },
	{ "\"10.90.1.0/24\", ", "\"10.91.1.0/24\", ",
	  "63: 10.91.1.0/24 is in no allowed_ips of tunnel 'tg0': its packets are lost" },
};

TEST(policy, what_defeats_the_purpose_is_a_warning)
{
	for (size_t i = 0; i < sizeof(warnings) / sizeof(warnings[0]); i++) {
		struct tg_policy *p = expect_changed(warnings[i].old, warnings[i].new);
		char expected[300] = "";
		bool found = !warnings[i].warning && !other_warnings(p);

		if (warnings[i].warning)
			snprintf(expected, sizeof(expected), "t.conf:%s", warnings[i].warning);
		for (size_t k = 0; k < p->warning_count; k++)
			found |= !strcmp(p->warnings[k], expected);
		CU_ASSERT(found);
		for (size_t k = 0; k < p->warning_count && !found; k++)
			printf("%s\n  found    %s\n  expected %s\n", warnings[i].new, p->warnings[k],
			       expected);
		tg_policy_free(p);
	}
}

/* The figures are those of docs/evaluation/results.md. */
TEST(policy, a_weak_defence_is_warned_about_with_what_was_measured)
{
	static const char format[] = "t.conf:54: class 'plain': under \"%s\" an eavesdropper named %s %% of "
				     "a robot arm's actions, "
				     "98.3 %% without any defence (docs/evaluation.md)";
	static const struct {
		const char *defence, *keys, *named;
	} weak[] = {
		{ "pad", "", "91.5" },
		{ "front", "cell = 1360; dummies = 2500; window = (\"1s\", \"14s\"); idle = \"45s\";",
		  "78.0" },
		{ "wtf-pad", "cell = 1360;", "91.0" },
		{ "jitter", "distribution = \"uniform\"; delay = \"10ms\"; delay_budget = \"50ms\";",
		  "85.3" },
		{ "regulator",
		  "cell = 1280; rate = 277; decay = 0.94; threshold = \"30ms\"; dummies = 3550; uplink_ratio "
		  "= 3.95; "
		  "hold = \"50ms\"; idle = \"10s\";",
		  "81.0" },
	};

	for (size_t i = 0; i < sizeof(weak) / sizeof(weak[0]); i++) {
		char class[300], expected[300];
		struct tg_policy *p;
		bool found = false;

		snprintf(class, sizeof(class), "{ name = \"plain\"; defence = \"%s\"; %s }", weak[i].defence,
			 weak[i].keys);
		snprintf(expected, sizeof(expected), format, weak[i].defence, weak[i].named);
		p = expect_changed("{ name = \"plain\"; defence = \"pad\"; }", class);
		for (size_t k = 0; p && k < p->warning_count; k++)
			found |= !strcmp(p->warnings[k], expected);
		CU_ASSERT(found);
		tg_policy_free(p);
	}
}

TEST(policy, a_gateway_is_warned_about_rules_for_local_processes)
{
	struct tg_policy *p = expect_changed("role = \"edge\"", "role = \"gateway\"");

	CU_ASSERT_EQUAL_FATAL(other_warnings(p), 2);
	CU_ASSERT_STRING_EQUAL(p->warnings[4],
			       "t.conf:66: forwarded packets have neither uid nor cgroup: this rule matches "
			       "only the gateway's own");
	CU_ASSERT_STRING_EQUAL(p->warnings[5],
			       "t.conf:67: forwarded packets have neither uid nor cgroup: this rule matches "
			       "only the gateway's own");
	tg_policy_free(p);
}

/* ---- the shipped policies ---- */

static const struct {
	const char *path;
	enum tg_profile profile;
	enum tg_defence defence;
	unsigned cell;
	uint64_t period_ns, session_ns;
	size_t warnings;
} shipped[] = {
	{ "policies/surgical.conf", TG_PROFILE_SURGICAL, TG_DEFENCE_CONSTANT, 160, 500000, 65000000000, 1 },
	{ "policies/collaborative.conf", TG_PROFILE_COLLABORATIVE, TG_DEFENCE_CONSTANT, 160, 2000000,
	  65000000000, 1 },
	{ "policies/warehouse.conf", TG_PROFILE_WAREHOUSE, TG_DEFENCE_CONSTANT, 160, 5000000, 65000000000,
	  1 },
	{ "policies/strict.conf", TG_PROFILE_WAREHOUSE, TG_DEFENCE_CONSTANT, 160, 5000000, 0, 1 },
	{ "policies/lab.conf", TG_PROFILE_LAB, TG_DEFENCE_CONSTANT, 1280, 10000000, 0, 0 },
	{ "policies/bulk.conf", TG_PROFILE_LAB, TG_DEFENCE_PAD, 1420, 0, 0, 0 },
	{ "policies/jitter.conf", TG_PROFILE_LAB, TG_DEFENCE_JITTER, 1420, 0, 0, 0 },
	{ "policies/regulator.conf", TG_PROFILE_LAB, TG_DEFENCE_REGULATOR, 1280, 0, 0, 0 },
	{ "policies/lean.conf", TG_PROFILE_LAB, TG_DEFENCE_LEAN, 240, 6250000, 65000000000, 0 },
	{ "policies/gateway.conf", TG_PROFILE_WAREHOUSE, TG_DEFENCE_CONSTANT, 160, 5000000, 65000000000, 1 },
};

TEST(policy, shipped_policies_are_valid)
{
	for (size_t i = 0; i < sizeof(shipped) / sizeof(shipped[0]); i++) {
		struct tg_policy *p = expect_loaded(shipped[i].path, NULL);
		const struct tg_policy_class *class = &p->tunnels[0].classes[0];

		CU_ASSERT_EQUAL(p->profile, shipped[i].profile);
		CU_ASSERT_EQUAL(p->fail, TG_FAIL_CLOSED);
		CU_ASSERT_EQUAL(class->defence, shipped[i].defence);
		CU_ASSERT_EQUAL(class->cell, shipped[i].cell);
		CU_ASSERT_EQUAL(class->period_ns, shipped[i].period_ns);
		CU_ASSERT_EQUAL(class->session_ns, shipped[i].session_ns);
		CU_ASSERT(class->period_ns <= tg_profile_budget_ns(p->profile));
		CU_ASSERT_EQUAL(other_warnings(p), shipped[i].warnings);
		for (size_t k = 0; k < p->warning_count; k++)
			CU_ASSERT(strstr(p->warnings[k], "IPv6 datagrams above 160 bytes do not fit") ||
				  p->warning_count > other_warnings(p));
		tg_policy_free(p);
	}
}

TEST(policy, every_shipped_policy_is_in_the_list)
{
	DIR *dir = opendir("policies");
	struct dirent *entry;
	size_t count = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
	while ((entry = readdir(dir)))
		count += strstr(entry->d_name, ".conf") != NULL;
	closedir(dir);
	CU_ASSERT_EQUAL(count, sizeof(shipped) / sizeof(shipped[0]));
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/options.h"
#include "instance/health.h"
#include "instance/print.h"
#include "tensorguard/base64.h"

static const char *shaping_name(const struct tunnel_report *t)
{
	switch (t->peer_shaping) {
	case PEER_SHAPES:
		return "yes";
	case PEER_DOES_NOT_SHAPE:
		return "no";
	default:
		return "unknown";
	}
}

static const char *agent_name(const struct report *report)
{
	switch (report->agent) {
	case AGENT_RUNS:
		return "running";
	case AGENT_ABSENT:
		return "not running";
	default:
		return "not needed";
	}
}

static void format_endpoint(const struct tg_endpoint *endpoint, char *text, size_t size)
{
	char addr[INET6_ADDRSTRLEN];

	if (!endpoint->family || !inet_ntop(endpoint->family, endpoint->addr, addr, sizeof(addr)))
		snprintf(text, size, "none");
	else
		snprintf(text, size, endpoint->family == AF_INET6 ? "[%s]:%u" : "%s:%u", addr,
			 endpoint->port);
}

static json_t *peer_json(const struct wg_peer_status *peer)
{
	char key[45], endpoint[64];
	json_t *age = json_null();

	tg_key_to_base64(peer->public_key, key);
	format_endpoint(&peer->endpoint, endpoint, sizeof(endpoint));
	if (peer->last_handshake_s)
		age = json_integer((json_int_t)(time(NULL) - peer->last_handshake_s));
	return json_pack("{s:s, s:s, s:o, s:I, s:I}", "public_key", key, "endpoint", endpoint,
			 "handshake_age_s", age, "rx_bytes", (json_int_t)peer->rx_bytes, "tx_bytes",
			 (json_int_t)peer->tx_bytes);
}

static json_t *violations_json(const struct tunnel_report *t)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < TG_VIOLATION_COUNT; i++)
		json_object_set_new(o, dataplane_violation_name(i),
				    json_integer((json_int_t)t->violations[i]));
	return o;
}

static json_t *tunnel_json(const struct tg_tunnel *tunnel, const struct tunnel_report *t)
{
	json_t *peers = json_array();

	for (size_t i = 0; t->has_wireguard && i < t->wireguard.peer_count; i++)
		json_array_append_new(peers, peer_json(&t->wireguard.peers[i]));
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:o, s:o}", "name", tunnel->name, "device",
			 t->device, "engine", t->engine, "backend", t->backend, "generation",
			 (json_int_t)t->generation, "peer_shaping", shaping_name(t), "violations",
			 violations_json(t), "peers", peers);
}

static json_t *degraded_json(const struct degraded *degraded)
{
	json_t *words = json_array();

	for (size_t i = 0; i < degraded->count; i++)
		json_array_append_new(words, json_string(degraded->words[i]));
	return words;
}

static json_t *report_json(const struct tg_policy *policy, const struct report *report,
			   const struct degraded *degraded)
{
	json_t *tunnels = json_array(), *problems = json_array();

	for (size_t i = 0; i < policy->tunnel_count; i++)
		json_array_append_new(tunnels, tunnel_json(&policy->tunnels[i], &report->tunnels[i]));
	for (size_t i = 0; i < report->problem_count; i++)
		json_array_append_new(problems, json_string(report->problems[i]));
	return json_pack("{s:b, s:s, s:I, s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "healthy",
			 !report->problem_count && !degraded->serious, "policy", policy->name,
			 "policy_version", (json_int_t)policy->version, "role", tg_role_name(policy->role),
			 "profile", tg_profile_name(policy->profile), "fail", tg_fail_name(policy->fail),
			 "agent", agent_name(report), "tunnels", tunnels, "problems", problems, "degraded",
			 degraded_json(degraded));
}

static void print_peers(const struct tunnel_report *t)
{
	for (size_t i = 0; t->has_wireguard && i < t->wireguard.peer_count; i++) {
		const struct wg_peer_status *peer = &t->wireguard.peers[i];
		char key[45], endpoint[64];

		tg_key_to_base64(peer->public_key, key);
		format_endpoint(&peer->endpoint, endpoint, sizeof(endpoint));
		printf("    peer %.8s... at %s: ", key, endpoint);
		if (peer->last_handshake_s)
			printf("handshake %lld s ago", (long long)(time(NULL) - peer->last_handshake_s));
		else
			printf("no handshake yet");
		printf(", %llu bytes in, %llu out\n", (unsigned long long)peer->rx_bytes,
		       (unsigned long long)peer->tx_bytes);
	}
}

/* Promises broken since the counters began; nothing that a repair could mend. */
static void print_violations(const struct tunnel_report *t)
{
	const char *before = "    violations: ";

	for (unsigned i = 0; i < TG_VIOLATION_COUNT; i++) {
		if (!t->violations[i])
			continue;
		printf("%s%s %llu", before, dataplane_violation_name(i),
		       (unsigned long long)t->violations[i]);
		before = ", ";
	}
	if (before[0] == ',')
		putchar('\n');
}

static int print_text(const struct tg_policy *policy, const struct report *report,
		      const struct degraded *degraded, struct tg_error *e)
{
	printf("policy %s, version %llu (%s, %s, fail %s)\n", policy->name,
	       (unsigned long long)policy->version, tg_role_name(policy->role),
	       tg_profile_name(policy->profile), tg_fail_name(policy->fail));
	for (size_t i = 0; i < policy->tunnel_count; i++) {
		const struct tunnel_report *t = &report->tunnels[i];

		printf("  tunnel %s: device %s (%s), engine %s, generation %llu, peer shapes: %s\n",
		       policy->tunnels[i].name, t->device, t->backend[0] ? t->backend : "absent",
		       t->engine[0] ? t->engine : "none", (unsigned long long)t->generation, shaping_name(t));
		print_peers(t);
		print_violations(t);
	}
	if (report->agent != AGENT_NOT_NEEDED)
		printf("  agent: %s\n", agent_name(report));
	for (size_t i = 0; i < report->problem_count; i++)
		printf("problem: %s\n", report->problems[i]);
	for (size_t i = 0; i < degraded->count; i++)
		printf("degraded: %s\n", degraded->words[i]);
	if (!report->problem_count && !degraded->serious)
		printf("healthy\n");
	return fflush(stdout) ? tg_error(e, -EIO, "cannot write to standard output") : 0;
}

int report_print(const struct tg_cli *cli, const struct tg_policy *policy, const struct report *report,
		 struct tg_error *e)
{
	struct degraded degraded;
	int ret;

	degraded_read(agent_options(cli)->run_dir, &degraded);
	ret = cli->json ? tg_cli_print_json(report_json(policy, report, &degraded), e)
			: print_text(policy, report, &degraded, e);
	/* that a process loops is nothing that a repair failed at */
	if (!ret && !report->problem_count && degraded.serious && !agent_options(cli)->repair)
		return tg_error(e, TG_CLI_REPORTED, "degraded: %s", degraded.words[0]);
	if (ret || !report->problem_count)
		return ret;
	return tg_error(e, TG_CLI_REPORTED, "%zu problem%s; tg-load status --repair mends what it can",
			report->problem_count, report->problem_count == 1 ? "" : "s");
}

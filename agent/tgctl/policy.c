/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "policy.h"
#include "tensorguard/compile.h"

enum { DURATION_LEN = 32 };

static int load(struct tg_cli *cli, struct tg_policy **ret_policy, struct tg_error *e)
{
	if (cli->arg_count != 1)
		return tg_error(e, TG_CLI_USAGE, "%s: %d files, expected one policy file; see --help",
				cli->command, cli->arg_count);
	return tg_policy_load(cli->args[0], agent_options(cli)->site, ret_policy, e);
}

static int flush(struct tg_error *e)
{
	if (fflush(stdout) || ferror(stdout))
		return tg_error(e, -EIO, "cannot write to standard output");
	return 0;
}

static json_t *warnings_json(const struct tg_policy *policy)
{
	json_t *list = json_array();

	for (size_t i = 0; i < policy->warning_count; i++)
		json_array_append_new(list, json_string(policy->warnings[i]));
	return list;
}

/* ---- check ---- */

static int check_json(const char *file, const struct tg_policy *policy, struct tg_error *e)
{
	return tg_cli_print_json(json_pack("{s:s, s:b, s:s, s:I, s:o}", "file", file, "ok", 1, "name",
					   policy->name, "policy_version", (json_int_t)policy->version,
					   "warnings", warnings_json(policy)),
				 e);
}

static int check_text(const char *file, const struct tg_policy *policy, struct tg_error *e)
{
	printf("%s: ok, %zu warning%s\n", file, policy->warning_count, policy->warning_count == 1 ? "" : "s");
	for (size_t i = 0; i < policy->warning_count; i++)
		printf("warning: %s\n", policy->warnings[i]);
	return flush(e);
}

/* What fits the language may still not fit the kernel's maps. */
static int check_compiles(const char *file, const struct tg_policy *policy, struct tg_error *e)
{
	struct tg_compiled *compiled;
	int ret;

	for (size_t i = 0; i < policy->tunnel_count; i++) {
		ret = tg_policy_compile(policy, i, &compiled, e);
		if (ret)
			return tg_error_prefix(e, ret, "%s", file);
		tg_compiled_free(compiled);
	}
	return 0;
}

int cmd_policy_check(struct tg_cli *cli, struct tg_error *e)
{
	struct tg_policy *policy;
	int ret;

	ret = load(cli, &policy, e);
	if (ret)
		return ret;
	ret = check_compiles(cli->args[0], policy, e);
	if (!ret)
		ret = cli->json ? check_json(cli->args[0], policy, e) : check_text(cli->args[0], policy, e);
	tg_policy_free(policy);
	return ret;
}

/* ---- what show computes ---- */

static unsigned wire_bytes(const struct tg_tunnel *t, const struct tg_policy_class *class)
{
	return tg_wire_size(class->cell, t->mtu, tg_outer_family(t));
}

/* Each direction, while a session runs. */
static double wire_kbit_s(const struct tg_tunnel *t, const struct tg_policy_class *class)
{
	return wire_bytes(t, class) * 8e6 / (double)class->period_ns;
}

static const char *duration(uint64_t ns, char text[static DURATION_LEN])
{
	if (ns >= 1000000000ull)
		snprintf(text, DURATION_LEN, "%.9g s", (double)ns / 1e9);
	else
		snprintf(text, DURATION_LEN, "%.9g ms", (double)ns / 1e6);
	return text;
}

static const char *in6_text(const struct in6_addr *addr, char text[static INET6_ADDRSTRLEN])
{
	if (!inet_ntop(AF_INET6, addr, text, INET6_ADDRSTRLEN))
		text[0] = '\0';
	return text;
}

static const char *side_name(enum tg_lpm_side side)
{
	static const char *const names[] = {
		[TG_LPM_TO] = "to",
		[TG_LPM_FROM] = "from",
		[TG_LPM_ALLOWED] = "allowed",
	};

	return names[side];
}

/* An allowed prefix has no rules: that it is there says all. */
static uint64_t rules_of(const struct tg_compiled_prefix *prefix)
{
	return prefix->side == TG_LPM_ALLOWED ? 0 : prefix->set.rules;
}

/* ---- show as JSON ---- */

static json_t *cidrs_json(const struct tg_cidr *list, size_t count)
{
	json_t *array = json_array();
	char text[TG_CIDR_TEXT_LEN];

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_string(tg_cidr_text(&list[i], text)));
	return array;
}

static json_t *queue_json(const struct tg_tunnel *t, const struct tg_compiled_queue *q)
{
	const struct tg_policy_class *class = &t->classes[q->class];

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:s, s:b, s:i, s:I, s:f}", "period_ns",
			 (json_int_t) class->period_ns, "session_ns", (json_int_t) class->session_ns,
			 "session_slots", (json_int_t)q->queue.slots, "idle_ns", (json_int_t) class->idle_ns,
			 "delay_budget_ns", (json_int_t) class->budget_ns, "budget_cells",
			 (int)q->queue.budget_cells, "limit_cells", (int)q->queue.limit_cells, "frame_bytes",
			 (int)q->frame, "overflow", tg_overflow_name(class->overflow), "dither",
			 class->dither, "wire_bytes", (int)wire_bytes(t, class), "rate_bytes_s",
			 (json_int_t)q->rate, "wire_kbit_s", wire_kbit_s(t, class));
}

static json_t *histogram_json(const struct tg_policy_histogram *h)
{
	json_t *bins = json_array();

	for (size_t i = 0; i < h->count; i++)
		json_array_append_new(bins, json_pack("{s:o, s:i}", "up_to_ns",
						      h->bins[i].edge_ns
							      ? json_integer((json_int_t)h->bins[i].edge_ns)
							      : json_null(),
						      "tokens", (int)h->bins[i].tokens));
	return bins;
}

static json_t *metronome_json(const struct tg_policy_class *class)
{
	json_t *o = json_pack("{s:s, s:I}", "clock", tg_clock_choice_name(class->clock), "tick_ns",
			      (json_int_t) class->tick_ns);

	if (class->defence == TG_DEFENCE_FRONT) {
		json_object_set_new(o, "dummies", json_integer(class->dummies));
		json_object_set_new(o, "window_ns",
				    json_pack("[I,I]", (json_int_t) class->window_min_ns,
					      (json_int_t) class->window_max_ns));
		json_object_set_new(o, "idle_ns", json_integer((json_int_t) class->idle_ns));
	} else {
		json_object_set_new(o, "burst", histogram_json(&class->burst));
		json_object_set_new(o, "gap", histogram_json(&class->gap));
	}
	return o;
}

static json_t *jitter_json(const struct tg_policy_class *class)
{
	return json_pack("{s:s, s:I, s:I}", "distribution", tg_distribution_name(class->distribution),
			 "delay_ns", (json_int_t) class->delay_ns, "delay_budget_ns",
			 (json_int_t) class->budget_ns);
}

/* Rates are of this end's direction. */
static json_t *regulator_json(const struct tg_policy *policy, const struct tg_tunnel *t,
			      const struct tg_policy_class *class)
{
	double rate = tg_regulator_rate(policy, class);

	return json_pack("{s:s, s:f, s:f, s:I, s:i, s:f, s:I, s:I, s:f}", "side",
			 policy->role == TG_ROLE_EDGE ? "uplink" : "downlink", "rate", rate, "decay",
			 class->decay / 1e6, "threshold_ns", (json_int_t) class->threshold_ns, "dummies",
			 (int)class->dummies, "uplink_ratio", class->uplink_ratio / 1e6, "hold_ns",
			 (json_int_t) class->budget_ns, "idle_ns", (json_int_t) class->idle_ns, "wire_kbit_s",
			 wire_bytes(t, class) * 8 * rate / 1000);
}

/* Of one direction, while a session runs and its tick is known. */
static double lean_kbit_s(const struct tg_tunnel *t, const struct tg_policy_class *class,
			  const struct tg_policy_slots *slots)
{
	return wire_bytes(t, class) * 8e6 * (double)slots->count / (double)class->tick_ns;
}

static json_t *slots_json(const struct tg_policy_slots *slots)
{
	json_t *list = json_array();

	for (size_t i = 0; i < slots->count; i++)
		json_array_append_new(list, json_integer((json_int_t)slots->at_ns[i]));
	return list;
}

/* Cells are those of this end. */
static json_t *lean_json(const struct tg_policy *policy, const struct tg_tunnel *t,
			 const struct tg_policy_class *class)
{
	struct tg_schedule s;

	tg_policy_schedule(policy, class, &s);
	return json_pack(
		"{s:s, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:s, s:i, s:f, s:f}", "side",
		policy->role == TG_ROLE_EDGE ? "up" : "down", "tick_ns", (json_int_t) class->tick_ns, "up_ns",
		slots_json(&class->up), "down_ns", slots_json(&class->down), "learn_ns",
		(json_int_t)tg_lean_learn_ns(policy, class), "learn_period_ns", (json_int_t) class->period_ns,
		"session_ns", (json_int_t) class->session_ns, "session_slots", (json_int_t)s.queue.slots,
		"idle_ns", (json_int_t) class->idle_ns, "delay_budget_ns", (json_int_t) class->budget_ns,
		"budget_cells", (int)s.queue.budget_cells, "limit_cells", (int)s.queue.limit_cells,
		"overflow", tg_overflow_name(class->overflow), "packet", (int)tg_class_packet(class),
		"up_kbit_s", lean_kbit_s(t, class, &class->up), "down_kbit_s",
		lean_kbit_s(t, class, &class->down));
}

/* The schedule of a class, NULL when it has none. */
static const struct tg_compiled_queue *queue_of(const struct tg_compiled *compiled, size_t class)
{
	for (size_t i = 0; i < compiled->queue_count; i++)
		if (compiled->queues[i].class == class)
			return &compiled->queues[i];
	return NULL;
}

static json_t *class_json(const struct tg_policy *policy, const struct tg_tunnel *t,
			  const struct tg_compiled *compiled, size_t index)
{
	const struct tg_policy_class *class = &t->classes[index];
	const struct tg_compiled_queue *queue = queue_of(compiled, index);
	json_t *buckets = json_array();

	for (size_t i = 0; i < class->bucket_count; i++)
		json_array_append_new(buckets, json_integer(class->buckets[i]));
	return json_pack(
		"{s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "name", class->name, "defence",
		tg_defence_name(class->defence), "pad", tg_pad_mode_name(class->pad_mode), "cell",
		(int)class->cell, "wire_bytes", (int)wire_bytes(t, class), "buckets", buckets, "queue",
		queue ? queue_json(t, queue) : json_null(), "metronome",
		tg_defence_has_metronome(class->defence) ? metronome_json(class) : json_null(), "jitter",
		class->defence == TG_DEFENCE_JITTER ? jitter_json(class) : json_null(), "regulator",
		class->defence == TG_DEFENCE_REGULATOR ? regulator_json(policy, t, class) : json_null(),
		"lean", class->defence == TG_DEFENCE_LEAN ? lean_json(policy, t, class) : json_null());
}

static json_t *rule_json(const struct tg_policy *policy, const struct tg_tunnel *t,
			 const struct tg_compiled *compiled, size_t index)
{
	const struct tg_policy_rule *origin = &policy->rules[compiled->rule_origin[index]];
	const struct tg_rule *rule = &compiled->rules[index];
	json_t *o = json_pack(
		"{s:i, s:s, s:i, s:[i,i], s:[i,i], s:I, s:I, s:b, s:s?, s:s?}", "line", (int)origin->line,
		"class", t->classes[rule->class].name, "proto", (int)rule->proto, "ports",
		(int)rule->dport_lo, (int)rule->dport_hi, "source_ports", (int)rule->sport_lo,
		(int)rule->sport_hi, "mark", (json_int_t)rule->mark, "mark_mask", (json_int_t)rule->mark_mask,
		"flow", (rule->flags & TG_RULE_FLOW) != 0, "cgroup", origin->cgroup, "sni", origin->sni);

	if (o)
		json_object_set_new(o, "uid",
				    origin->has_uid ? json_pack("[I,I]", (json_int_t)origin->uid_lo,
								(json_int_t)origin->uid_hi)
						    : json_null());
	return o;
}

static json_t *prefix_json(const struct tg_compiled_prefix *prefix)
{
	char text[TG_CIDR_TEXT_LEN];
	json_t *rules = json_array();

	for (unsigned i = 0; i < TG_MAX_RULES; i++)
		if (rules_of(prefix) >> i & 1)
			json_array_append_new(rules, json_integer(i));
	return json_pack("{s:s, s:s, s:o}", "side", side_name(prefix->side), "prefix",
			 tg_cidr_text(&prefix->cidr, text), "rules", rules);
}

static json_t *dummy_json(const struct tg_tunnel *t)
{
	char source[INET6_ADDRSTRLEN], target[INET6_ADDRSTRLEN];

	if (IN6_IS_ADDR_UNSPECIFIED(&t->dummy_source) || IN6_IS_ADDR_UNSPECIFIED(&t->dummy_target))
		return json_null();
	return json_pack("{s:s, s:s}", "source", in6_text(&t->dummy_source, source), "target",
			 in6_text(&t->dummy_target, target));
}

static json_t *day_json(bool limited, uint64_t bytes)
{
	return limited ? json_integer((json_int_t)bytes) : json_null();
}

static json_t *budget_json(const struct tg_policy_budget *b)
{
	if (!b->day_limited && !b->metered_limited && !b->dummy_share)
		return json_null();
	return json_pack("{s:o, s:I, s:I, s:b, s:o, s:s}", "dummy_bytes_per_day",
			 day_json(b->day_limited, b->day_bytes), "dummy_share", (json_int_t)b->dummy_share,
			 "link_kbit_s", (json_int_t)b->link_kbit_s, "metered", b->metered,
			 "metered_dummy_bytes_per_day", day_json(b->metered_limited, b->metered_bytes),
			 "violation", tg_violation_name(b->violation));
}

static json_t *tunnel_json(const struct tg_policy *policy, size_t index, const struct tg_compiled *compiled)
{
	const struct tg_tunnel *t = &policy->tunnels[index];
	json_t *classes = json_array(), *rules = json_array(), *prefixes = json_array();

	for (size_t i = 0; i < t->class_count; i++)
		json_array_append_new(classes, class_json(policy, t, compiled, i));
	for (size_t i = 0; i < compiled->config.rule_count; i++)
		json_array_append_new(rules, rule_json(policy, t, compiled, i));
	for (size_t i = 0; i < compiled->prefix_count; i++)
		json_array_append_new(prefixes, prefix_json(&compiled->prefixes[i]));
	return json_pack("{s:s, s:s?, s:i, s:i, s:i, s:o, s:o, s:o, s:s, s:o, s:o, s:o}", "name", t->name,
			 "external", t->external[0] ? t->external : NULL, "mtu", (int)t->mtu, "listen_port",
			 (int)t->listen_port, "peers", (int)t->peer_count, "addresses",
			 cidrs_json(t->addresses, t->address_count), "dummy", dummy_json(t), "budget",
			 budget_json(&t->budget), "default_class", t->classes[t->default_class].name,
			 "classes", classes, "rules", rules, "prefixes", prefixes);
}

static int show_json(const struct tg_policy *policy, struct tg_error *e)
{
	json_t *tunnels = json_array();
	struct tg_compiled *compiled;
	int ret;

	for (size_t i = 0; i < policy->tunnel_count; i++) {
		ret = tg_policy_compile(policy, i, &compiled, e);
		if (ret) {
			json_decref(tunnels);
			return ret;
		}
		json_array_append_new(tunnels, tunnel_json(policy, i, compiled));
		tg_compiled_free(compiled);
	}
	return tg_cli_print_json(
		json_pack("{s:s, s:I, s:s, s:s, s:I, s:s, s:s, s:i, s:{s:s, s:i, s:i}, s:o, s:o}", "name",
			  policy->name, "policy_version", (json_int_t)policy->version, "role",
			  tg_role_name(policy->role), "profile", tg_profile_name(policy->profile),
			  "profile_budget_ns", (json_int_t)tg_profile_budget_ns(policy->profile), "fail",
			  tg_fail_name(policy->fail), "engine", tg_engine_name(policy->engine),
			  "engine_queue", (int)policy->engine_queue, "classifier", "undecided",
			  policy->classifier.hold ? "hold" : "bypass", "queue", (int)policy->classifier.queue,
			  "queue_length", (int)policy->classifier.queue_length, "tunnels", tunnels,
			  "warnings", warnings_json(policy)),
		e);
}

/* ---- show as text ---- */

static void show_histogram(const char *name, const struct tg_policy_histogram *h)
{
	char edge[DURATION_LEN];

	printf("    %s:", name);
	for (size_t i = 0; i < h->count; i++)
		printf("%s %u up to %s", i ? "," : "", h->bins[i].tokens,
		       h->bins[i].edge_ns ? duration(h->bins[i].edge_ns, edge) : "infinity");
	putchar('\n');
}

static void show_metronome(const struct tg_policy_class *class)
{
	char tick[DURATION_LEN], min[DURATION_LEN], max[DURATION_LEN], idle[DURATION_LEN];

	printf("    metronome: clock %s, a tick every %s\n", tg_clock_choice_name(class->clock),
	       duration(class->tick_ns, tick));
	if (class->defence == TG_DEFENCE_FRONT) {
		printf("    1 to %u dummies per session and direction, window %s to %s, idle %s\n",
		       class->dummies, duration(class->window_min_ns, min),
		       duration(class->window_max_ns, max), duration(class->idle_ns, idle));
	} else {
		show_histogram("burst", &class->burst);
		show_histogram("gap", &class->gap);
	}
}

static void show_jitter(const struct tg_policy_class *class)
{
	char delay[DURATION_LEN], budget[DURATION_LEN];

	printf("    each packet waits for a %s time of up to %s, in order; delay budget %s\n",
	       tg_distribution_name(class->distribution), duration(class->delay_ns, delay),
	       duration(class->budget_ns, budget));
}

static void show_regulator(const struct tg_policy *policy, const struct tg_tunnel *t,
			   const struct tg_policy_class *class)
{
	char threshold[DURATION_LEN], hold[DURATION_LEN], idle[DURATION_LEN];
	double rate = tg_regulator_rate(policy, class);

	printf("    surges of %.1f cells/s (%.1f kbit/s), %s; after a second %g of that; a new one beyond a "
	       "backlog of %s\n",
	       rate, wire_bytes(t, class) * 8 * rate / 1000, policy->role == TG_ROLE_EDGE ? "up" : "down",
	       class->decay / 1e6, duration(class->threshold_ns, threshold));
	printf("    0 to %u dummies per session and direction, packets held %s at most, idle %s\n",
	       class->dummies, duration(class->budget_ns, hold), duration(class->idle_ns, idle));
}

static void show_slots(const char *way, const struct tg_tunnel *t, const struct tg_policy_class *class,
		       const struct tg_policy_slots *slots)
{
	printf(" %s at", way);
	for (size_t i = 0; i < slots->count; i++)
		printf("%s %.9g", i ? "," : "", (double)slots->at_ns[i] / 1e6);
	printf(" ms (%.1f kbit/s)", lean_kbit_s(t, class, slots));
}

static void show_lean(const struct tg_policy *policy, const struct tg_tunnel *t,
		      const struct tg_policy_class *class)
{
	char tick[DURATION_LEN], learn[DURATION_LEN], period[DURATION_LEN], session[DURATION_LEN];
	char budget[DURATION_LEN];
	struct tg_schedule s;

	tg_policy_schedule(policy, class, &s);
	printf("    cells per tick of %s:", duration(class->tick_ns, tick));
	show_slots("up", t, class, &class->up);
	putchar(',');
	show_slots("down", t, class, &class->down);
	printf("\n    learnt in %s with a cell every %s; session %s (%u cells %s); packets up to %u B\n",
	       duration(tg_lean_learn_ns(policy, class), learn), duration(class->period_ns, period),
	       duration(class->session_ns, session), s.queue.slots,
	       policy->role == TG_ROLE_EDGE ? "up" : "down", tg_class_packet(class));
	printf("    delay budget %s (%u cells), overflow %s, at most %u cells queued\n",
	       duration(class->budget_ns, budget), s.queue.budget_cells, tg_overflow_name(class->overflow),
	       s.queue.limit_cells);
}

static void show_class(const struct tg_policy *policy, const struct tg_tunnel *t,
		       const struct tg_compiled *compiled, size_t index)
{
	const struct tg_policy_class *class = &t->classes[index];
	char period[DURATION_LEN], session[DURATION_LEN] = "always", budget[DURATION_LEN];
	const struct tg_compiled_queue *compiled_queue = queue_of(compiled, index);
	const struct tg_queue *q;

	printf("  class %s%s: %s, pad %s, cell %u B, %u B on the wire", class->name,
	       index == t->default_class ? " (default)" : "", tg_defence_name(class->defence),
	       tg_pad_mode_name(class->pad_mode), class->cell, wire_bytes(t, class));
	for (size_t i = 0; i < class->bucket_count; i++)
		printf("%s%u", i ? ", " : "; buckets ", class->buckets[i]);
	putchar('\n');
	if (tg_defence_has_metronome(class->defence))
		show_metronome(class);
	if (class->defence == TG_DEFENCE_JITTER)
		show_jitter(class);
	if (class->defence == TG_DEFENCE_REGULATOR)
		show_regulator(policy, t, class);
	if (class->defence == TG_DEFENCE_LEAN)
		show_lean(policy, t, class);
	if (!compiled_queue)
		return;
	q = &compiled_queue->queue;
	if (class->session_ns)
		duration(class->session_ns, session);
	printf("    a cell every %s%s: %.1f kbit/s each way, session %s (%u cells)\n",
	       duration(class->period_ns, period), class->dither ? ", up to 1/16 more or less" : "",
	       wire_kbit_s(t, class), session, q->slots);
	printf("    delay budget %s (%u cells), overflow %s, at most %u cells queued\n",
	       duration(class->budget_ns, budget), q->budget_cells, tg_overflow_name(class->overflow),
	       q->limit_cells);
}

/* What the kernel holds the tunnel's dummies to. */
static void show_budget(const struct tg_tunnel *t, const struct tg_budget *b)
{
	if (!b->flags)
		return;
	printf("  budget of dummies%s:", b->flags & TG_BUDGET_METERED ? " on a metered link" : "");
	if (b->flags & TG_BUDGET_DAY)
		printf(" %llu bytes a day", (unsigned long long)b->day_bytes);
	if (b->flags & TG_BUDGET_SHARE)
		printf("%s %u %% of %llu kbit/s", b->flags & TG_BUDGET_DAY ? "," : "", t->budget.dummy_share,
		       (unsigned long long)t->budget.link_kbit_s);
	printf("; beyond it: %s\n", tg_violation_name(t->budget.violation));
}

static void show_range(const char *what, unsigned lo, unsigned hi)
{
	if (lo == hi)
		printf(", %s %u", what, lo);
	else
		printf(", %s %u-%u", what, lo, hi);
}

static void show_ports(const char *what, unsigned lo, unsigned hi)
{
	if (lo || hi != 65535)
		show_range(what, lo, hi);
}

static void show_protocol(unsigned proto)
{
	const char *name = tg_protocol_name(proto);

	if (name)
		printf(", %s", name);
	else if (proto)
		printf(", protocol %u", proto);
}

static void show_rule(const struct tg_policy *policy, const struct tg_tunnel *t,
		      const struct tg_compiled *compiled, size_t index)
{
	const struct tg_policy_rule *origin = &policy->rules[compiled->rule_origin[index]];
	const struct tg_rule *rule = &compiled->rules[index];

	printf("  rule %zu (line %u): class %s", index, origin->line, t->classes[rule->class].name);
	show_protocol(rule->proto);
	show_ports("port", rule->dport_lo, rule->dport_hi);
	show_ports("source port", rule->sport_lo, rule->sport_hi);
	if (rule->mark_mask)
		printf(", mark 0x%x/0x%x", rule->mark, rule->mark_mask);
	if (origin->has_uid)
		show_range("uid", origin->uid_lo, origin->uid_hi);
	if (origin->cgroup)
		printf(", cgroup %s", origin->cgroup);
	if (origin->sni)
		printf(", sni %s%s", origin->sni[0] == '.' ? "*" : "", origin->sni);
	printf("%s\n", rule->flags & TG_RULE_FLOW ? "; decided per flow" : "");
}

static void show_prefix(const struct tg_compiled_prefix *prefix)
{
	char text[TG_CIDR_TEXT_LEN];

	printf("  %s %s%s", side_name(prefix->side), tg_cidr_text(&prefix->cidr, text),
	       prefix->side == TG_LPM_ALLOWED ? "" : ": rules");
	for (unsigned i = 0; i < TG_MAX_RULES; i++)
		if (rules_of(prefix) >> i & 1)
			printf(" %u", i);
	putchar('\n');
}

static void show_tunnel(const struct tg_policy *policy, size_t index, const struct tg_compiled *compiled)
{
	const struct tg_tunnel *t = &policy->tunnels[index];
	char source[INET6_ADDRSTRLEN], target[INET6_ADDRSTRLEN];

	printf("tunnel %s: ", t->name);
	if (t->external[0])
		printf("external device %s", t->external);
	else
		printf("managed, %zu peer%s", t->peer_count, t->peer_count == 1 ? "" : "s");
	printf(", mtu %u\n", t->mtu);
	if (!IN6_IS_ADDR_UNSPECIFIED(&t->dummy_source) && !IN6_IS_ADDR_UNSPECIFIED(&t->dummy_target))
		printf("  dummies from %s to %s\n", in6_text(&t->dummy_source, source),
		       in6_text(&t->dummy_target, target));
	for (size_t i = 0; i < t->class_count; i++)
		show_class(policy, t, compiled, i);
	show_budget(t, &compiled->budget);
	for (size_t i = 0; i < compiled->config.rule_count; i++)
		show_rule(policy, t, compiled, i);
	for (size_t i = 0; i < compiled->prefix_count; i++)
		show_prefix(&compiled->prefixes[i]);
}

static int show_text(const struct tg_policy *policy, struct tg_error *e)
{
	struct tg_compiled *compiled;
	char budget[DURATION_LEN];
	int ret;

	printf("policy %s, version %" PRIu64
	       ": %s, profile %s (%s), fail %s, engine %s, undecided flows %s\n",
	       policy->name, policy->version, tg_role_name(policy->role), tg_profile_name(policy->profile),
	       duration(tg_profile_budget_ns(policy->profile), budget), tg_fail_name(policy->fail),
	       tg_engine_name(policy->engine), policy->classifier.hold ? "hold" : "bypass");
	for (size_t i = 0; i < policy->tunnel_count; i++) {
		ret = tg_policy_compile(policy, i, &compiled, e);
		if (ret)
			return ret;
		show_tunnel(policy, i, compiled);
		tg_compiled_free(compiled);
	}
	for (size_t i = 0; i < policy->warning_count; i++)
		printf("warning: %s\n", policy->warnings[i]);
	return flush(e);
}

int cmd_policy_show(struct tg_cli *cli, struct tg_error *e)
{
	struct tg_policy *policy;
	int ret;

	ret = load(cli, &policy, e);
	if (ret)
		return ret;
	/* errors first: nothing is shown of a policy that does not compile */
	ret = check_compiles(cli->args[0], policy, e);
	if (!ret)
		ret = cli->json ? show_json(policy, e) : show_text(policy, e);
	tg_policy_free(policy);
	return ret;
}

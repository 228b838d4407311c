/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A policy: what tensorguard(5) policy files say, checked and with defaults
 * filled in. docs/man/tensorguard-policy.5 is the language's reference.
 *
 * tg_policy_load() parses and checks; a policy that it returns is valid as a
 * whole, so users of the structures need not check again. compile.h turns it
 * into the maps of include/shared/types.h.
 */
#ifndef TENSORGUARD_POLICY_H
#define TENSORGUARD_POLICY_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/jitter.h"
#include "shared/lean.h"
#include "shared/types.h"
#include "tensorguard/error.h"

#define TG_POLICY_VERSION 1
#define TG_MAX_TUNNELS 16
#define TG_MAX_ADDRESSES 8	/* per tunnel */
#define TG_MAX_LIST 256		/* CIDRs or port ranges in one rule */
#define TG_NAME_LEN 32		/* names of policies and classes, with the final NUL */
#define TG_TUNNEL_NAME_LEN 9	/* eight characters: internal devices append to it */
#define TG_KEY_LEN 32
#define TG_AGENT_NAME_LEN 64	/* an agent's id, with the final NUL */
#define TG_KEYS_FOLDER "/var/lib/tensorguard-keys" /* where tunnels' keys are kept that the agent makes */

/* An address or prefix of either family. Those of rules and allowed_ips have no bits beyond their length. */
struct tg_cidr {
	int family;		/* AF_INET or AF_INET6 */
	uint8_t length;		/* 0..32 or 0..128 */
	uint8_t addr[16];	/* network order; 4 or 16 bytes used, the rest 0 */
};

bool tg_cidr_equal(const struct tg_cidr *a, const struct tg_cidr *b);
bool tg_cidr_contains(const struct tg_cidr *outer, const struct tg_cidr *inner);
bool tg_cidr_overlap(const struct tg_cidr *a, const struct tg_cidr *b);
/* The prefix without the bits beyond its length. */
struct tg_cidr tg_cidr_network(const struct tg_cidr *cidr);
/* "10.84.0.2/24"; always with the length. Returns `text`. */
#define TG_CIDR_TEXT_LEN 50
const char *tg_cidr_text(const struct tg_cidr *cidr, char text[static TG_CIDR_TEXT_LEN]);

struct tg_port_range {
	uint16_t lo, hi;	/* host order, inclusive, lo <= hi */
};

struct tg_endpoint {
	int family;		/* AF_INET, AF_INET6; 0 = none (the peer calls us) */
	uint16_t port;		/* host order */
	uint8_t addr[16];
};

struct tg_peer {
	uint8_t public_key[TG_KEY_LEN]; /* zeros: it is the agent's, and comes from the Platform */
	char agent[TG_AGENT_NAME_LEN];	/* whose keys it has, in its tunnel of the same name; "" = none */
	char *preshared_key_file; /* NULL = none */
	struct tg_endpoint endpoint;
	struct tg_cidr *allowed_ips; /* at least one */
	size_t allowed_ip_count;
	unsigned keepalive_s;	/* 0 = off; 1..65535 */
	struct in6_addr dummy_target; /* inner IPv6 address that dummies are sent to; :: = none known */
};

enum tg_role { TG_ROLE_EDGE, TG_ROLE_GATEWAY };
enum tg_fail { TG_FAIL_CLOSED, TG_FAIL_OPEN };
enum tg_engine { TG_ENGINE_AUTO, TG_ENGINE_KERNEL, TG_ENGINE_QUEUE };
enum tg_profile { TG_PROFILE_SURGICAL, TG_PROFILE_COLLABORATIVE, TG_PROFILE_WAREHOUSE, TG_PROFILE_LAB };

/* One bin of a `wtf-pad` histogram: intervals above the bin before and up to `edge_ns`; 0 = infinity. */
struct tg_policy_bin {
	uint64_t edge_ns;
	unsigned tokens;
};

struct tg_policy_histogram {
	struct tg_policy_bin bins[TG_MAX_BINS + 1]; /* ascending, infinity last */
	size_t count;
};

/* Slots of a tick. */
struct tg_policy_slots {
	uint64_t at_ns[TG_LEAN_SLOTS]; /* ascending, below the tick */
	size_t count;		/* at least 1 */
};

/* Which clock a metronome takes; auto: fq where the kernel has it, else tbf. */
enum tg_clock_choice { TG_CLOCK_CHOICE_AUTO, TG_CLOCK_CHOICE_FQ, TG_CLOCK_CHOICE_TBF };

struct tg_policy_class {
	char name[TG_NAME_LEN];
	unsigned line;
	enum tg_defence defence;
	enum tg_pad_mode pad_mode;
	unsigned cell;		/* bytes of inner IP packet; a multiple of 16, or the tunnel's MTU */
	unsigned buckets[TG_MAX_BUCKETS];
	size_t bucket_count;
	/* constant */
	uint64_t period_ns;	/* 100 us .. 1 s */
	uint64_t session_ns;	/* the quantum; 0 = always */
	uint64_t idle_ns;
	uint64_t budget_ns;	/* delay budget: how long a cell may wait in the queue */
	enum tg_overflow overflow;
	bool dither;		/* what a cell costs is drawn (shared/dither.h) */
	/* front and wtf-pad */
	uint64_t tick_ns;	/* 200 us .. 100 ms */
	enum tg_clock_choice clock;
	/* front and regulator; idle_ns above as well */
	unsigned dummies;	/* N */
	/* front */
	uint64_t window_min_ns, window_max_ns;
	/* wtf-pad */
	struct tg_policy_histogram burst, gap;
	/* jitter; budget_ns above as well */
	enum tg_distribution distribution;
	uint64_t delay_ns;	/* the most that is drawn; at most budget_ns */
	/* regulator; budget_ns is C */
	unsigned rate;		/* R, cells per second */
	uint32_t decay, uplink_ratio; /* D and U in millionths */
	uint64_t threshold_ns;	/* T */
	/* lean; session_ns, idle_ns, budget_ns and overflow above as well; period_ns is that of learning, and
	 * tick_ns the robot's */
	struct tg_policy_slots up, down;
	uint64_t learn_ns;
	unsigned packet;	/* the longest packet, where cells are shared; 0 or at least cell */
};

enum tg_budget_violation { TG_BUDGET_COUNT_ONLY, TG_BUDGET_STOP_DUMMIES };

/* What a tunnel's dummies may cost, in bytes of the outer packets. */
struct tg_policy_budget {
	bool day_limited, metered_limited;
	uint64_t day_bytes, metered_bytes; /* in 24 hours; the latter replaces all else when metered */
	unsigned dummy_share;	/* percent of the link; 0 = no limit */
	uint64_t link_kbit_s;
	bool metered;
	enum tg_budget_violation violation;
};

/* A tunnel, and the classes of what it carries. */
struct tg_tunnel {
	char name[TG_TUNNEL_NAME_LEN]; /* also the device's name when managed */
	unsigned line;
	char external[IFNAMSIZ]; /* "" = managed by tg-load; else the name of a device that exists already */
	char *key_file;		/* managed only */
	uint64_t rotation_ns;	/* how often the agent makes a new key; 0 = never. 1 s .. 30 days */
	uint16_t listen_port;	/* 0 = any */
	unsigned mtu;		/* 1280..9000; default 1420 */
	struct tg_cidr addresses[TG_MAX_ADDRESSES];
	size_t address_count;
	struct tg_peer *peers;
	size_t peer_count;
	struct tg_policy_class classes[TG_MAX_CLASSES];
	size_t class_count;	/* at least 1 */
	unsigned default_class;	/* index into classes */
	struct tg_policy_budget budget; /* all zero = none */
	/* Dummies are IPv6 packets from source to target; both are known when a class sends any, else
	 * perhaps :: */
	struct in6_addr dummy_source, dummy_target;
};

struct tg_policy_rule {
	unsigned line;
	unsigned tunnel;	/* index into tunnels */
	unsigned class;		/* index into that tunnel's classes */
	struct tg_cidr *to, *from; /* empty = any address */
	size_t to_count, from_count;
	uint8_t proto;		/* IPPROTO_*, 0 = any */
	struct tg_port_range *ports, *source_ports; /* empty = any; need proto tcp, udp or sctp */
	size_t port_count, source_port_count;
	bool has_mark;
	uint32_t mark, mark_mask;
	/* decided per flow by the agent: a rule with one of these is a "flow rule" */
	bool has_uid;
	uint32_t uid_lo, uid_hi; /* inclusive */
	char *cgroup; /* cgroup v2 path below the mount point, without a leading slash; NULL = any */
	char *sni;    /* lower case; "host" exact, ".suffix" the suffix and everything below; NULL = any */
};

struct tg_classifier_conf {
	bool hold; /* true: undecided packets wait for the agent, and are dropped without it; false: they
		      bypass */
	uint16_t queue;		/* NFQUEUE number */
	uint32_t queue_length;	/* packets held at most */
};

struct tg_policy {
	char name[TG_NAME_LEN];
	uint64_t version;	/* the policy's own, monotonic; not the language's */
	enum tg_role role;
	enum tg_profile profile;
	enum tg_fail fail;
	enum tg_engine engine;	/* what paces; AUTO is settled by the loader, which knows the kernel */
	uint16_t engine_queue;	/* NFQUEUE number of the queue engine */
	struct tg_classifier_conf classifier;
	struct tg_tunnel *tunnels;
	size_t tunnel_count;	/* 1..TG_MAX_TUNNELS */
	struct tg_policy_rule *rules;
	size_t rule_count;	/* 0..TG_MAX_RULES, over all tunnels */
	char (*warnings)[256];	/* what is legal but defeats the purpose: one line each, "FILE:LINE: text" */
	size_t warning_count;
};

/*
 * Loads `path`. `site` may be NULL or name a file whose `tunnels` entries
 * replace, by name, the device settings (key_file, listen_port, addresses, mtu,
 * external, peers, dummy) of the policy's tunnels, so that one policy serves many
 * devices. `@include` is refused: what is reviewed or signed is the whole policy.
 * On success *ret_policy is owned by the caller. Errors: -EINVAL with
 * "FILE:LINE: what was found, what was expected" in `e`; -ENOENT and other
 * errno values of open(2); -ENOMEM.
 */
int tg_policy_load(const char *path, const char *site, struct tg_policy **ret_policy, struct tg_error *e);

/* The same from memory; `name` stands for the file in messages. */
int tg_policy_parse(const char *text, size_t size, const char *name, struct tg_policy **ret_policy,
		    struct tg_error *e);
/* With a site file, or NULL. */
int tg_policy_parse_with(const char *text, size_t size, const char *name, const char *site,
			 struct tg_policy **ret_policy, struct tg_error *e);
/* Settings of devices are passed over, right or wrong: what the policy matches can be kept in where there is
 * no site file that it goes with. Its tunnels have neither keys nor addresses nor peers. */
int tg_policy_parse_rules(const char *text, size_t size, const char *name, struct tg_policy **ret_policy,
			  struct tg_error *e);

/* NULL-safe. */
void tg_policy_free(struct tg_policy *policy);

/* The added delay that a profile allows at p99, in nanoseconds. */
uint64_t tg_profile_budget_ns(enum tg_profile profile);

/* The tunnel's device: the managed one or the external one. */
const char *tg_tunnel_device(const struct tg_tunnel *tunnel);

/* The longest packet that a class takes: its cell, unless packets may be cut into several. */
unsigned tg_class_packet(const struct tg_policy_class *class);
/* The slots of this end, and how long its sessions learn. */
const struct tg_policy_slots *tg_lean_slots(const struct tg_policy *policy,
					    const struct tg_policy_class *class);
uint64_t tg_lean_learn_ns(const struct tg_policy *policy, const struct tg_policy_class *class);

/* The smallest of these of a tunnel's classes, its MTU if none is smaller: what fits whichever class it ends
 * in. */
unsigned tg_tunnel_smallest_cell(const struct tg_tunnel *tunnel);

bool tg_rule_is_flow(const struct tg_policy_rule *rule);
/* The longest packet that comes by the rule's routes in one piece: of its class; of a flow, whose class
 * nobody knows yet, the tunnel's smallest. */
unsigned tg_rule_packet(const struct tg_policy *policy, const struct tg_policy_rule *rule);

/*
 * A rule for one protocol does not match the ICMP messages about its packets,
 * which quote them. *ret_icmp becomes the rule that keeps those with it, in
 * `family`; it borrows the lists of `rule`. False when there is no need (the
 * rule matches any protocol, or ICMP) or no way (the kernel sends such messages
 * without a user or a mark).
 */
bool tg_rule_icmp(const struct tg_policy_rule *rule, int family, struct tg_policy_rule *ret_icmp);

const char *tg_defence_name(enum tg_defence defence);
/* Whether a class with it sends dummies. */
bool tg_defence_has_dummies(enum tg_defence defence);
/* Whether its dummies come from a metronome. */
bool tg_defence_has_metronome(enum tg_defence defence);
/* Whether its packets are held and leave by a schedule. */
bool tg_defence_is_paced(enum tg_defence defence);
/* Whether only the agent can pace it. */
bool tg_defence_needs_agent(enum tg_defence defence);
const char *tg_distribution_name(enum tg_distribution distribution);
const char *tg_clock_choice_name(enum tg_clock_choice choice);
const char *tg_pad_mode_name(enum tg_pad_mode mode);
const char *tg_overflow_name(enum tg_overflow overflow);
const char *tg_violation_name(enum tg_budget_violation violation);
const char *tg_profile_name(enum tg_profile profile);
const char *tg_role_name(enum tg_role role);
const char *tg_fail_name(enum tg_fail fail);
const char *tg_protocol_name(unsigned proto); /* NULL when the language has no word for it */
const char *tg_engine_name(enum tg_engine engine);

/* Whether a peer's keys come from the Platform: then the agent makes this end's own (docs/keys.md). */
bool tg_tunnel_has_agents(const struct tg_tunnel *tunnel);
/* Whether any of the tunnel's classes sends dummies. */
bool tg_tunnel_has_dummies(const struct tg_tunnel *tunnel);
/* Whether any of the tunnel's classes has a schedule. */
bool tg_tunnel_is_paced(const struct tg_tunnel *tunnel);
bool tg_policy_is_paced(const struct tg_policy *policy);
/* Whether any class is for the agent alone. */
bool tg_policy_needs_agent(const struct tg_policy *policy);

#endif

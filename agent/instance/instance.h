/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The running instance: which policy is in force, what the network must look
 * like because of it, and in what it differs. One instance per network
 * namespace; its traces outside the kernel are the copies of the policy and
 * site files in run_dir.
 */
#ifndef AGENT_INSTANCE_INSTANCE_H
#define AGENT_INSTANCE_INSTANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/dataplane.h"
#include "net/net.h"
#include "tensorguard/compile.h"
#include "tensorguard/policy.h"

/* ---- run state (state.c) ---- */

#define STATE_TEXT "policy.text" /* in run_dir: of a policy that tg-load apply puts in force; for a moment */

/* Takes the instance's lock (waits up to 30 s), making run_dir if need be. Returns the descriptor in *ret_fd.
 */
int state_lock(const char *run_dir, int *ret_fd, struct tg_error *e);
/* Releases the lock and removes the lock file, and run_dir when it is empty. */
void state_unlock(const char *run_dir, int fd, bool remove);
/* Copies the files into run_dir, atomically; site may be NULL. The policy file comes last: it marks "up". */
int state_save(const char *run_dir, const char *policy, const char *site, struct tg_error *e);
/* 0 when the instance is up; -ENOENT when it is not, with a message that says how to start it. */
int state_check_up(const char *run_dir, struct tg_error *e);
/* Loads the running policy. -ENOENT when the instance is not up. */
int state_load(const char *run_dir, struct tg_policy **ret_policy, struct tg_error *e);
/* Whether the running policy's text is that of these files. */
int state_same(const char *run_dir, const char *policy, const char *site, bool *ret_same, struct tg_error *e);
int state_remove(const char *run_dir, struct tg_error *e);
/* The paths of the copies; *ret_site is NULL when there is none. Free both. */
int state_paths(const char *run_dir, char **ret_policy, char **ret_site, struct tg_error *e);

/* ---- what routing a policy wants (routing.c) ---- */

struct routing {
	struct net_rule *rules;
	size_t rule_count;
	struct net_route *routes; /* ifindex of the tunnel's device, filled by the caller's lookup */
	size_t route_count;
};

/*
 * Rules and routes for all tunnels; `ifindexes` holds a device per tunnel, 0
 * where it is missing (its routes are left out, its blackholes stay). `caps`
 * may be NULL or hold an upper bound per tunnel for the packet size, 0 = none.
 */
int routing_plan(const struct tg_policy *policy, const unsigned *ifindexes, const unsigned *caps,
		 struct routing *ret_plan, struct tg_error *e);
void routing_free(struct routing *plan);
/* Adds what is missing, then, with `prune`, removes what is ours and not in the plan: never a moment without
 * a rule. */
int routing_apply(struct net *net, const struct routing *plan, bool prune, struct tg_error *e);
/* Only the blackholes of a fail-closed policy. */
int routing_apply_blackholes(struct net *net, const struct routing *plan, struct tg_error *e);
int routing_remove(struct net *net, struct tg_error *e);

/* ---- bringing about (bring.c) ---- */

struct instance {
	const char *pin_dir, *run_dir;
	const struct tg_policy *policy;
	struct net *net;
	/* instance_inspect() asks the kernel's network and maps alone: no WireGuard, no iptables, no agent,
	 * and nothing of how peer and agent behave. What it finds then can be repaired. */
	bool kernel_only;
};

/*
 * Makes the network as the policy wants it, from whatever state it is in: fresh,
 * half made by a killed run, damaged by someone, or running `old` (NULL when
 * nothing is known to run). Packets under way are neither lost nor mis-shaped.
 */
int instance_bring_up(struct instance *in, const struct tg_policy *old, struct tg_error *e);
/* Takes everything away that carries our tags; needs no policy. */
int instance_bring_down(struct instance *in, struct tg_error *e);
/* The same but for what keeps in what the policy matches, however it fails otherwise: that is made. There is
 * no moment without. */
int instance_fall_closed(struct instance *in, struct tg_policy *policy, struct tg_error *e);
/* Names of the segmenter's devices. */
void segmenter_names(const char *tunnel, char ret_head[IFNAMSIZ], char ret_tail[IFNAMSIZ]);

/* ---- lockdown (lockdown.c) ---- */

#define STATE_LOCKDOWN "lockdown" /* the mark in run_dir; its text says why */
enum { LOCKDOWN_REASON_LEN = 256 };

int lockdown_mark(const char *run_dir, const char *reason, struct tg_error *e);
int lockdown_unmark(const char *run_dir, struct tg_error *e);
bool lockdown_is_on(const char *run_dir, char ret_reason[static LOCKDOWN_REASON_LEN]);
/* -EPERM, with the reason, when it is on. */
int lockdown_check(const char *run_dir, struct tg_error *e);
/*
 * Nothing that the policy matches leaves any more, shaped or in clear, however it fails otherwise. What is to
 * be seen of it afterwards is mended by instance_bring_up().
 */
int instance_lock_down(struct instance *in, struct tg_policy *policy, struct tg_error *e);
/* Adds blackholes for what another policy matches. */
int instance_black_out(struct instance *in, struct tg_policy *policy, struct tg_error *e);

/* ---- differences (inspect.c) ---- */

struct tunnel_report {
	char device[IFNAMSIZ];
	char engine[16];	/* "kernel", "queue", or "" when nothing is loaded */
	char backend[16];	/* "wireguard", "wireguard-go", "external" or "" */
	unsigned ifindex;
	unsigned xdp_id;	/* of the program in its generic XDP hook, 0 = none */
	bool has_dataplane;
	uint64_t generation;
	enum { PEER_UNKNOWN, PEER_SHAPES, PEER_DOES_NOT_SHAPE } peer_shaping;
	uint64_t violations[TG_VIOLATION_COUNT]; /* of all classes */
	bool has_wireguard;
	struct wg_status wireguard;
};

struct report {
	struct tunnel_report *tunnels; /* as many as the policy has */
	size_t tunnel_count;
	/* needed by flow rules and the queue engine */
	enum { AGENT_NOT_NEEDED, AGENT_RUNS, AGENT_ABSENT } agent;
	char (*problems)[384];	/* one line each; none = healthy */
	size_t problem_count;
	size_t behaviour_count; /* of these: how peers and the agent behave, which no repair changes */
};

/* Its name, under a policy whose engine is settled (engine.h). */
const char *tunnel_engine(const struct tg_policy *policy, const struct tg_tunnel *tunnel);
int instance_inspect(struct instance *in, struct report *ret_report, struct tg_error *e);
void report_free(struct report *report);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pinned programs and maps of one tunnel, PINDIR/<tunnel>/. All knowledge
 * of libbpf is here; the map types are those of include/shared/types.h.
 *
 * Errors: negative errno with a message in `e`.
 */
#ifndef AGENT_DATAPLANE_DATAPLANE_H
#define AGENT_DATAPLANE_DATAPLANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/net.h"
#include "shared/metronome.h"
#include "shared/budget.h"
#include "shared/paced.h"
#include "shared/session.h"
#include "shared/types.h"
#include "tensorguard/compile.h"
#include "tensorguard/policy.h"

enum dp_map {
	DP_POLICY,
	DP_CONFIG,
	DP_CLASSES,
	DP_RULES,
	DP_RULES4,
	DP_RULES6,
	DP_FLOWS,
	DP_QUEUES,
	DP_SESSIONS,
	DP_PEERS,
	DP_DRAWS,
	DP_METRONOMES,
	DP_METRONOME_STATE,
	DP_EXPONENTIAL,
	DP_DEVICES,
	DP_PORTS,
	DP_STATS,
	DP_REASONS,
	DP_BUDGET,
	DP_SPENDING,
	DP_PACED,
	DP_PACED_SESSIONS,
	DP_MAP_COUNT
};

enum dp_prog {
	DP_EGRESS,
	DP_INGRESS,
	DP_SEGMENT,
	DP_STEER,
	DP_RELEASE,
	DP_METRONOME,
	DP_TIMED,
	DP_MUTE,
	DP_PROG_COUNT
};

struct dataplane {
	char tunnel[TG_TUNNEL_NAME_LEN];
	int maps[DP_MAP_COUNT];
	int progs[DP_PROG_COUNT];
	unsigned queues, room;	/* entries of maps `queues` and `peers` */
	unsigned blocks;	/* queues that `sessions` has room for: that times `room` entries */
	unsigned paced;		/* classes that `paced_sessions` has room for */
};

extern const char *const dp_map_names[DP_MAP_COUNT];
extern const char *const dp_prog_names[DP_PROG_COUNT];

/* ---- pins and programs (load.c) ---- */

/* libbpf says nothing on stderr from here on: errors are told by return values. Those below call it. */
void dataplane_quiet(void);
/* Opens what is pinned. -ENOENT when any pin is missing. */
int dataplane_open(const char *pin_dir, const char *tunnel, struct dataplane **ret_dp, struct tg_error *e);
/* Opens what is pinned if it is whole, of this build and has room for the tunnel's queues and peers beside
 * those of before; else loads and pins afresh, with room to grow. *ret_fresh tells which. Mounts a BPF file
 * system on /sys/fs/bpf when pin_dir lies below it and none is there. */
int dataplane_ensure(const char *pin_dir, const struct tg_tunnel *tunnel, enum tg_engine engine,
		     struct dataplane **ret_dp, bool *ret_fresh, struct tg_error *e);
void dataplane_close(struct dataplane *dp);	/* NULL-safe; pins stay */
/* Removes the tunnel's pins, and pin_dir itself when it is empty then. Succeeds when there are none. */
int dataplane_unpin(const char *pin_dir, const char *tunnel, struct tg_error *e);
/* Names of the tunnels that have a folder in pin_dir; free each and the array. */
int dataplane_list(const char *pin_dir, char ***ret_names, size_t *ret_count, struct tg_error *e);

/* Whether the programs load and attach: tries it on a device that the caller throws away afterwards. */
int dataplane_probe(unsigned ifindex, struct tg_error *e);
/* Whether the device takes the clocks of paced classes. */
int dataplane_probe_clock(struct net *net, unsigned ifindex, struct tg_error *e);

/* ---- attachment (attach.c) ---- */

enum dp_hook { DP_HOOK_INGRESS, DP_HOOK_EGRESS, DP_HOOK_CLOCK /* the HTB of net_clock_ensure() */ };

int dataplane_attach(const struct dataplane *dp, enum dp_prog prog, unsigned ifindex, enum dp_hook hook,
		     struct tg_error *e);
/* Whether exactly this program is attached there. */
int dataplane_attached(const struct dataplane *dp, enum dp_prog prog, unsigned ifindex, enum dp_hook hook,
		       bool *ret_attached, struct tg_error *e);
/* The same for tg_mute: generic XDP, so that any device takes it. -EBUSY when somebody else's program is
 * there. */
int dataplane_attach_mute(const struct dataplane *dp, unsigned ifindex, struct tg_error *e);
/* Whether the program of that number is ours, of this load. */
int dataplane_is_mute(const struct dataplane *dp, uint32_t id, bool *ret_is, struct tg_error *e);
/* Takes it off; somebody else's program stays. */
int dataplane_detach_mute(unsigned ifindex, struct tg_error *e);
/* Takes our filters off a device that stays (an external tunnel), and its clsact if nobody else's filter is
 * in it. */
int dataplane_detach(struct net *net, unsigned ifindex, struct tg_error *e);

/* ---- tables (tables.c) ---- */

/*
 * Fills the slot that is not in use with `compiled` (queue_ids maps its queue
 * indices to ids of the `queues` map, peer_numbers those of its peers to numbers
 * of the `peers` map; NULL = each to itself) and switches over with one write.
 * *ret_generation is the new generation.
 */
int dataplane_switch(const struct dataplane *dp, const struct tg_compiled *compiled,
		     const unsigned *queue_ids, const unsigned *peer_numbers, uint64_t *ret_generation,
		     struct tg_error *e);
int dataplane_generation(const struct dataplane *dp, uint64_t *ret_generation, struct tg_error *e);
int dataplane_set_devices(const struct dataplane *dp, const struct tg_devices *devices, struct tg_error *e);
int dataplane_devices_get(const struct dataplane *dp, struct tg_devices *ret_devices, struct tg_error *e);
/* What was spent of the day stays spent. */
int dataplane_budget_set(const struct dataplane *dp, const struct tg_budget *budget, struct tg_error *e);
int dataplane_port_set(const struct dataplane *dp, unsigned ifindex, uint32_t queue, struct tg_error *e);
int dataplane_port_clear(const struct dataplane *dp, unsigned ifindex, struct tg_error *e);
int dataplane_queue_get(const struct dataplane *dp, unsigned id, struct tg_queue *ret_queue,
			struct tg_error *e);
int dataplane_queue_set(const struct dataplane *dp, unsigned id, const struct tg_queue *queue,
			struct tg_error *e);

/* ---- reading (read.c) ---- */

int dataplane_class_get(const struct dataplane *dp, uint64_t generation, unsigned class,
			struct tg_class *ret_class, struct tg_error *e);
/* What the agent tells of a class that it paces; zeros of any other. */
int dataplane_paced_get(const struct dataplane *dp, unsigned class, struct tg_paced *ret_paced,
			struct tg_error *e);
/* Sum over all processors, and what the agent adds. */
int dataplane_stats_get(const struct dataplane *dp, enum tg_direction direction, unsigned class,
			struct tg_stats *ret_stats, struct tg_error *e);
int dataplane_stats_reset(const struct dataplane *dp, unsigned class, struct tg_error *e);
int dataplane_reasons_get(const struct dataplane *dp, uint64_t ret_reasons[TG_REASON_COUNT],
			  struct tg_error *e);
/* A consistent copy (BPF_F_LOCK). */
int dataplane_session_get(const struct dataplane *dp, unsigned id, struct tg_session_state *ret_state,
			  struct tg_error *e);
/* Back to its beginning, with the clock of that queue. */
int dataplane_session_clear(const struct dataplane *dp, unsigned id, unsigned queue, struct tg_error *e);
/* The same for a session that the agent paces: entry of `paced_sessions`. It may be torn. */
int dataplane_paced_session_get(const struct dataplane *dp, unsigned id, struct tg_session_state *ret_state,
				struct tg_error *e);
int dataplane_spending_get(const struct dataplane *dp, struct tg_spending_state *ret_state,
			   struct tg_error *e);
/* Lower-case name of a violation, e.g. "dummy_day". */
const char *dataplane_violation_name(unsigned violation);
/* Lower-case name of a reason without its TG_ prefix, e.g. "drop_oversize". */
const char *dataplane_reason_name(unsigned reason);

/* ---- peers (peers.c) ---- */

/* Who has which number: the tunnel's peers, and those of before, which are still to be drained. */
struct roster {
	size_t room;			/* numbers 0..room-1 */
	struct tg_peer_entry *entries;	/* by number: who is to have it */
	bool *member;			/* by number: a peer of the tunnel */
	bool *gone;			/* by number: a peer of before */
	unsigned *numbers;		/* by index in the tunnel: the peer's number */
};

/* A tunnel without paced classes has no sessions: its roster has no members. A peer keeps the number that it
 * has. -ENOSPC when there are not enough. */
int roster_make(const struct dataplane *dp, const struct tg_tunnel *tunnel, struct roster *ret_roster,
		struct tg_error *e);
void roster_free(struct roster *roster);
/* Writes the members into the map; after the drain, `gone` out of it. */
int roster_put(const struct dataplane *dp, const struct roster *roster, struct tg_error *e);
int roster_clear_gone(const struct dataplane *dp, const struct roster *roster, struct tg_error *e);
/* Numbers that a dataplane of `tunnel` needs, beside those of `dp` (may be NULL) that are in use. */
size_t roster_need(const struct dataplane *dp, const struct tg_tunnel *tunnel);
/* All dp->room entries of the map. */
int roster_read(const struct dataplane *dp, struct tg_peer_entry *entries, struct tg_error *e);
bool roster_is_free(const struct tg_peer_entry *entry);
/* The number of the peer that takes packets to the destination of the flow, as the programs see it in that
 * generation's tables. False = none does. */
bool roster_find(const struct dataplane *dp, uint64_t generation, const struct tg_flow_key *key,
		 unsigned *ret_number);
/* By number: whether somebody has it. Free the array, which has dp->room entries. */
int roster_taken(const struct dataplane *dp, bool **ret_taken, struct tg_error *e);

/* ---- queues (queue.c) ---- */

/* Which queue is to serve a class, and which one (or TG_NO_QUEUE) serves it now. */
struct queue_choice {
	unsigned id, from;
};

/* How well a running queue must fit to be chosen for a class. */
enum queue_fit {
	QUEUE_AS_WANTED,
	QUEUE_OF_CLASS,		/* it serves the class's number */
	QUEUE_ANY,		/* that no class wants any more, or a new one */
};

/* Chooses for a class among the queues that are not taken. One that runs and has too little room is left for
 * another that takes over its sessions. -ENOENT when none fits so well, -ENOSPC when none is free. */
int queue_choose(const struct dataplane *dp, const struct tg_compiled_queue *wanted, enum queue_fit fit,
		 const bool *taken, struct queue_choice *ret_choice, struct tg_error *e);
/*
 * Ensures the chosen queue: the veth pair, program, map entries and, for each member, a clock with its
 * circulating cells. One that runs is changed in place, so that its sessions go on: cells in it take their
 * new size, and the clocks their new period, at one moment. It waits before that until cells that may be too
 * large are gone.
 */
int queue_ensure(const struct dataplane *dp, struct net *net, const struct tg_tunnel *tunnel,
		 const struct queue_choice *choice, const struct tg_compiled_queue *queue,
		 const struct roster *roster, struct tg_error *e);
/* Moves sessions that are still in another queue to this one, which the classes name already. */
int queue_settle(const struct dataplane *dp, const struct tg_tunnel *tunnel, unsigned id,
		 const struct roster *roster, struct tg_error *e);
/* Waits until no real cell is in the queue (bounded by its limit), then removes it. */
int queue_drain(const struct dataplane *dp, struct net *net, unsigned id, struct tg_error *e);
/* The same for the sessions of the peers that are gone. */
int queue_drain_gone(const struct dataplane *dp, struct net *net, unsigned id, const struct roster *roster,
		     struct tg_error *e);
/* ret_stopped[n]: whether the clock of session n, with wanted[n], stands still. One look at all of them, and
 * more for a bounded time while some seem to stand. *ret_count is how many do. */
int queue_stopped(const struct dataplane *dp, unsigned id, const bool *wanted, bool *ret_stopped,
		  size_t *ret_count, struct tg_error *e);
/* The head's and the tail's interface names. */
void queue_names(const char *tunnel, unsigned id, char ret_head[IFNAMSIZ], char ret_tail[IFNAMSIZ]);

/* ---- metronomes (metronome.c); their number is that of their class ---- */

int dataplane_metronome_get(const struct dataplane *dp, unsigned class, struct tg_metronome *ret_metronome,
			    struct tg_error *e);
/* Writes the entry and the table that it needs, and forgets the session. */
int dataplane_metronome_set(const struct dataplane *dp, unsigned class, const struct tg_metronome *metronome,
			    struct tg_error *e);
/* A consistent copy (BPF_F_LOCK). */
int dataplane_metronome_state(const struct dataplane *dp, unsigned class,
			      struct tg_metronome_state *ret_state, struct tg_error *e);
/* Ensures the metronome: the pair, its clock, programs, map entries and the packet that goes round. One that
 * is as it should be is left alone; any other is made anew, and its session forgotten. */
int metronome_ensure(const struct dataplane *dp, struct net *net, const struct tg_tunnel *tunnel,
		     const struct tg_compiled_metronome *wanted, struct tg_error *e);
/* Succeeds when there is none. */
int metronome_remove(const struct dataplane *dp, struct net *net, unsigned class, struct tg_error *e);
/* Whether its packet came round within the last few ticks. */
int metronome_ticking(const struct dataplane *dp, unsigned class, bool *ret_ticking, struct tg_error *e);
void metronome_names(const char *tunnel, unsigned class, char ret_head[IFNAMSIZ], char ret_tail[IFNAMSIZ]);
/* Kind of the qdisc. */
const char *metronome_clock_name(unsigned clock);
/* Whether `running` is what is wanted (everything equal but the devices). */
bool metronome_serves(const struct tg_metronome *running, const struct tg_compiled_metronome *wanted);

#endif

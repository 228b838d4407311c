/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/ip6.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "guard/decide.h"
#include "guard/packet.h"
#include "instance/instance.h"
#include "net/net.h"
#include "pace/plan.h"
#include "shared/chatter.h"
#include "shared/mark.h"
#include "tensorguard/compile.h"

static size_t map_size(size_t entries, size_t entry)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	_Static_assert(sizeof(struct tg_paced) % 8 == 0, "an array's entries are 8 bytes apart");
	return (entries * entry + page - 1) / page * page;
}

static size_t shared_size(void)
{
	return map_size(TG_MAX_CLASSES, sizeof(struct tg_paced));
}

static size_t sessions_size(const struct dataplane *dp)
{
	size_t entries = (size_t)dp->paced * dp->room;

	return map_size(entries ? entries : 1, sizeof(struct tg_session_state));
}

/* Every pin is a file of its own. 0 when there is none. */
static ino_t pin_of(const char *pin_dir, const char *tunnel)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s/%s", pin_dir, tunnel, dp_map_names[DP_PACED]);
	return stat(path, &st) ? 0 : st.st_ino;
}

/* ---- devices ---- */

/* By netlink, which is all that the sandbox leaves us; zeros = there is none. */
static struct net_link device(const char *name)
{
	struct net_link link = { 0 };
	struct net *net;

	if (net_open(&net, NULL))
		return link;
	if (net_link_get(net, name, &link, NULL))
		link = (struct net_link){ 0 };
	net_close(net);
	return link;
}

static unsigned device_index(const char *name)
{
	return device(name).ifindex;
}

static void segmenter_devices(const struct tg_tunnel *tunnel, unsigned *ret_head, unsigned *ret_tail)
{
	char head[IFNAMSIZ], tail[IFNAMSIZ];
	struct net_link link;

	segmenter_names(tunnel->name, head, tail);
	link = device(head);
	*ret_head = link.ifindex;
	*ret_tail = link.peer_ifindex;
}

/* Whether a lean class's way to the agent is still the one that the plan knows. */
static bool segmenter_is_same(const struct tg_tunnel *tunnel, const struct plan_tunnel *t)
{
	unsigned head, tail;

	if (!t->tail_ifindex)
		return true;
	segmenter_devices(tunnel, &head, &tail);
	return head == t->head_ifindex && tail == t->tail_ifindex;
}

/* ---- making a plan ---- */

/* An IPv6 packet with nothing in it, as long as a cell: what the queue of the kernel sends, byte by byte. */
static uint8_t *make_dummy(const struct tg_tunnel *tunnel, unsigned cell)
{
	struct ip6_hdr ip = { .ip6_src = tunnel->dummy_source };
	uint8_t *dummy = calloc(1, cell);

	if (!dummy)
		return NULL;
	ip.ip6_flow = htonl(6u << 28);
	ip.ip6_plen = htons((uint16_t)(cell - sizeof(ip)));
	ip.ip6_nxt = IPPROTO_NONE;
	ip.ip6_hlim = 64;
	memcpy(dummy, &ip, sizeof(ip));
	return dummy;
}

/* Says that this end takes shared cells apart: it can where it knows whose addresses are whose. */
static void put_hello(const struct tg_tunnel *tunnel, uint8_t *dummy)
{
	const struct tg_hello hello = { .magic = htonl(TG_HELLO_MAGIC), .version = TG_HELLO_VERSION };

	if (tunnel->peer_count)
		memcpy(dummy + sizeof(struct ip6_hdr), &hello, sizeof(hello));
}

/* Packets that a class holds at most, for all peers. */
static uint32_t most_held(const struct tg_tunnel *tunnel, const struct tg_queue *q)
{
	uint32_t each = (q->limit_cells > q->budget_cells ? q->limit_cells : q->budget_cells) + 1;

	return each * (uint32_t)(tunnel->peer_count ? tunnel->peer_count : 1);
}

static int plan_lean_class(struct plan_tunnel *t, const struct tg_tunnel *tunnel, size_t index)
{
	struct plan_class *class = &t->classes[index];

	class->lean_of_peer = calloc(t->dp->room, sizeof(struct lean *));
	class->lean_made = calloc(t->dp->room, sizeof(struct lean *));
	if (!class->lean_of_peer || !class->lean_made)
		return -ENOMEM;
	put_hello(tunnel, class->dummy);
	if (!t->tail_ifindex) {
		segmenter_devices(tunnel, &t->head_ifindex, &t->tail_ifindex);
		t->first_lean = index;
	}
	return 0;
}

/* The `ordinal`th that is the agent's. */
static int plan_one(struct plan *plan, struct plan_tunnel *t, const struct tg_tunnel *tunnel, size_t index,
		    uint32_t ordinal)
{
	struct plan_class *class = &t->classes[index];
	uint32_t room = t->dp->room;

	tg_policy_schedule(plan->policy, &tunnel->classes[index], &class->schedule);
	class->schedule.queue.class = (uint32_t)index;
	class->schedule.queue.first = ordinal * room;
	class->schedule.queue.room = room;
	class->mark = TG_MARK_PACED | TG_MARK_OF_CLASS((uint32_t)index) | tg_mark_tag(tunnel);
	class->dummy = make_dummy(tunnel, tunnel->classes[index].cell);
	class->of_peer = calloc(room, sizeof(struct pacer *));
	class->made = calloc(room, sizeof(struct pacer *));
	if (!class->dummy || !class->of_peer || !class->made)
		return -ENOMEM;
	if (class->schedule.defence == TG_DEFENCE_LEAN && plan_lean_class(t, tunnel, index))
		return -ENOMEM;
	class->paced = t->paced = true;
	plan->paced++;
	plan->limit += most_held(tunnel, &class->schedule.queue);
	return 0;
}

/* The classes that the loader gave to the agent. -EAGAIN when policy and maps are not of one mind (yet). */
static int plan_classes(struct plan *plan, size_t n, struct tg_error *e)
{
	const struct tg_tunnel *tunnel = &plan->policy->tunnels[n];
	struct plan_tunnel *t = &plan->tunnels[n];
	uint32_t ordinal = 0;
	int ret = 0;

	for (size_t i = 0; i < tunnel->class_count && !ret; i++) {
		struct tg_class class;

		ret = dataplane_class_get(t->dp, t->generation, (unsigned)i, &class, e);
		if (ret)
			break;
		if (class.defence != tunnel->classes[i].defence || class.cell != tunnel->classes[i].cell)
			ret = tg_error(e, -EAGAIN, "tunnel %s: class %s is not the one that is in force",
				       tunnel->name, tunnel->classes[i].name);
		else if (class.flags & TG_CLASS_AGENT && ordinal == t->dp->paced)
			ret = tg_error(e, -EAGAIN, "tunnel %s: no room for the sessions of class %s",
				       tunnel->name, tunnel->classes[i].name);
		else if (class.flags & TG_CLASS_AGENT && plan_one(plan, t, tunnel, i, ordinal++))
			ret = tg_error(e, -ENOMEM, "out of memory");
	}
	return ret;
}

static bool has_flow_rules(const struct tg_policy *policy, size_t tunnel)
{
	for (size_t i = 0; i < policy->rule_count; i++)
		if (policy->rules[i].tunnel == tunnel && tg_rule_is_flow(&policy->rules[i]))
			return true;
	return false;
}

static int map_one(const struct dataplane *dp, enum dp_map map, size_t size, void **ret_memory,
		   struct tg_error *e)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dp->maps[map], 0);

	if (memory == MAP_FAILED)
		return tg_error(e, -errno, "cannot map the map %s of %s: %s", dp_map_names[map], dp->tunnel,
				strerror(errno));
	*ret_memory = memory;
	return 0;
}

static int map_memory(struct plan_tunnel *t, struct tg_error *e)
{
	void *shared = NULL, *sessions = NULL;
	int ret = map_one(t->dp, DP_PACED, shared_size(), &shared, e);

	if (ret)
		return ret;
	t->shared = shared;
	ret = map_one(t->dp, DP_PACED_SESSIONS, sessions_size(t->dp), &sessions, e);
	if (!ret)
		t->sessions = sessions;
	return ret;
}

static int read_peers(struct plan_tunnel *t, struct tg_error *e)
{
	t->peers = calloc(t->dp->room, sizeof(*t->peers));
	return t->peers ? roster_read(t->dp, t->peers, e) : tg_error(e, -ENOMEM, "out of memory");
}

static int plan_tunnel(struct plan *plan, size_t n, const char *pin_dir, struct tg_error *e)
{
	const struct tg_tunnel *tunnel = &plan->policy->tunnels[n];
	struct plan_tunnel *t = &plan->tunnels[n];
	int ret;

	ret = dataplane_open(pin_dir, tunnel->name, &t->dp, e);
	if (ret)
		return ret;
	t->table = &plan->table;
	t->pin = pin_of(pin_dir, tunnel->name);
	t->ifindex = device_index(tg_tunnel_device(tunnel));
	t->flow_rules = has_flow_rules(plan->policy, n);
	ret = dataplane_generation(t->dp, &t->generation, e);
	if (!ret)
		ret = plan_classes(plan, n, e);
	if (!ret)
		ret = read_peers(t, e);
	if (!ret)
		ret = map_memory(t, e);
	return ret;
}

int plan_new(const char *pin_dir, struct tg_policy *policy, struct plan **ret_plan, struct tg_error *e)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	int ret = 0;

	if (!plan) {
		tg_policy_free(policy);
		return tg_error(e, -ENOMEM, "out of memory");
	}
	plan->policy = policy;
	tg_exponential_fill(&plan->table);
	for (size_t i = 0; i < policy->tunnel_count && !ret; i++)
		ret = plan_tunnel(plan, i, pin_dir, e);
	if (ret) {
		plan_free(plan);
		return ret;
	}
	*ret_plan = plan;
	return 0;
}

static void free_class(struct plan_class *class)
{
	for (size_t i = 0; i < class->made_count; i++) {
		pacer_free(class->made[i]);
		free(class->made[i]);
	}
	for (size_t i = 0; i < class->lean_count; i++) {
		lean_free(class->lean_made[i]);
		free(class->lean_made[i]);
	}
	free(class->lean_made);
	free(class->lean_of_peer);
	free(class->made);
	free(class->of_peer);
	free(class->dummy);
}

static void free_tunnel(struct plan_tunnel *t)
{
	for (size_t i = 0; i < TG_MAX_CLASSES; i++)
		free_class(&t->classes[i]);
	if (t->shared)
		munmap(t->shared, shared_size());
	if (t->sessions)
		munmap(t->sessions, sessions_size(t->dp));
	free(t->peers);
	dataplane_close(t->dp);
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->policy->tunnel_count; i++)
		free_tunnel(&plan->tunnels[i]);
	tg_policy_free(plan->policy);
	free(plan);
}

bool plan_is_current(const struct plan *plan, const char *pin_dir)
{
	for (size_t i = 0; i < plan->policy->tunnel_count; i++) {
		const struct tg_tunnel *tunnel = &plan->policy->tunnels[i];
		const struct plan_tunnel *t = &plan->tunnels[i];
		uint64_t generation;

		if (pin_of(pin_dir, tunnel->name) != t->pin ||
		    device_index(tg_tunnel_device(tunnel)) != t->ifindex ||
		    dataplane_generation(t->dp, &generation, NULL) || generation != t->generation ||
		    !segmenter_is_same(tunnel, t))
			return false;
	}
	return true;
}

struct pacer *plan_pacer(struct plan_tunnel *t, struct plan_class *class, unsigned peer, uint64_t now)
{
	const struct tg_queue *q = &class->schedule.queue;
	const struct pacer_setup setup = { .schedule = &class->schedule,
					   .table = t->table,
					   .peer = peer,
					   .session = &t->sessions[q->first + peer],
					   .shared = &t->shared[q->class] };
	struct pacer *pacer = class->of_peer[peer];

	if (pacer)
		return pacer;
	pacer = malloc(sizeof(*pacer));
	if (!pacer)
		return NULL;
	if (pacer_init(pacer, &setup, now)) {
		free(pacer);
		return NULL;
	}
	class->of_peer[peer] = class->made[class->made_count++] = pacer;
	return pacer;
}

struct lean *plan_lean(struct plan_tunnel *t, struct plan_class *class, unsigned peer, uint64_t now)
{
	const struct tg_queue *q = &class->schedule.queue;
	struct lean_setup setup = { .schedule = &class->schedule,
				    .peer = peer,
				    .session = &t->sessions[q->first + peer],
				    .shared = &t->shared[q->class],
				    .dummy = class->dummy,
				    .target = t->peers[peer].dummy_target };
	struct lean *lean = class->lean_of_peer[peer];

	if (lean)
		return lean;
	lean = malloc(sizeof(*lean));
	if (!lean || getrandom(&setup.sequence, sizeof(setup.sequence), 0) != sizeof(setup.sequence) ||
	    lean_init(lean, &setup, now)) {
		free(lean);
		return NULL;
	}
	class->lean_of_peer[peer] = class->lean_made[class->lean_count++] = lean;
	return lean;
}

/* ---- packets ---- */

/* The class that was decided for the flow, as decided_class() of bpf/classify.h sees it. */
static bool decided_class(const struct plan *plan, size_t n, const struct tg_flow_key *key, uint32_t mark,
			  unsigned *ret_class)
{
	const struct tg_tunnel *tunnel = &plan->policy->tunnels[n];
	uint32_t in_mark = (mark & TG_MARK_CLASS_MASK) >> TG_MARK_CLASS_SHIFT;
	const struct plan_tunnel *t = &plan->tunnels[n];
	struct tg_flow flow;

	if (!t->flow_rules)
		return false;
	if (!bpf_map_lookup_elem(t->dp->maps[DP_FLOWS], key, &flow) &&
	    flow.generation == (uint32_t)t->generation && flow.class < tunnel->class_count) {
		*ret_class = flow.class;
		return true;
	}
	if (!in_mark || in_mark > tunnel->class_count || (mark & TG_MARK_TAG_MASK) != tg_mark_tag(tunnel))
		return false;
	*ret_class = in_mark - 1;
	return true;
}

static bool find_class(const struct plan *plan, size_t n, const struct packet *p, uint32_t mark,
		       unsigned *ret_class)
{
	if (decided_class(plan, n, &p->key, mark, ret_class) ||
	    decide_by_header(plan->policy, (unsigned)n, &p->key, mark, p->kind == PACKET_FRAGMENT, ret_class))
		return true;
	if (tg_is_link_chatter(p->key.daddr, packet_addr_is_ipv4(p->key.daddr)))
		return false;
	*ret_class = plan->policy->tunnels[n].default_class;
	return true;
}

/* As peer_of() of bpf/classify.h: of an external tunnel perhaps nobody told who is behind it. */
static bool find_peer(const struct plan *plan, size_t n, const struct tg_flow_key *key, unsigned *ret_peer)
{
	const struct plan_tunnel *t = &plan->tunnels[n];

	*ret_peer = 0;
	return !plan->policy->tunnels[n].peer_count || roster_find(t->dp, t->generation, key, ret_peer);
}

/*
 * Behind us what its route does not take in one piece is cut up, and every fragment has the mark that
 * released the packet: they would leave together, in one slot. A lean class takes fragments one by one
 * (pace/share.c).
 */
static bool fits(const struct plan *plan, const struct plan_place *place, const struct queue_packet *packet,
		 const struct packet *p)
{
	const struct decide_facts facts = { .key = &p->key,
					    .mark = packet->mark,
					    .has_uid = packet->has_uid,
					    .uid = packet->uid,
					    .tunnel = (int)place->tunnel };

	if (packet->total > tg_class_packet(&plan->policy->tunnels[place->tunnel].classes[place->class]))
		return false;
	return plan->tunnels[place->tunnel].classes[place->class].lean_made ||
	       packet->total <= decide_route_mtu(plan->policy, &facts, p->kind == PACKET_FRAGMENT);
}

enum plan_answer plan_classify(const struct plan *plan, const struct queue_packet *packet,
			       struct plan_place *ret_place)
{
	size_t n = 0, count = plan->policy->tunnel_count;
	struct packet p;
	unsigned class, peer;

	while (n < count && (!packet->out_ifindex || plan->tunnels[n].ifindex != packet->out_ifindex))
		n++;
	if (n == count)
		return PLAN_PASS;
	if (packet_parse(packet->data, packet->size, packet->total, &p) == PACKET_MALFORMED ||
	    !find_class(plan, n, &p, packet->mark, &class))
		return PLAN_REFUSE;
	if (!plan->tunnels[n].classes[class].paced)
		return PLAN_PASS;
	if (!find_peer(plan, n, &p.key, &peer))
		return PLAN_REFUSE;
	*ret_place = (struct plan_place){ .tunnel = n, .class = class, .peer = peer };
	return fits(plan, ret_place, packet, &p) ? PLAN_PACE : PLAN_REFUSE;
}

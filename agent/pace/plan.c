/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/ip6.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "dataplane/dataplane.h"
#include "guard/decide.h"
#include "guard/packet.h"
#include "pace/plan.h"
#include "shared/chatter.h"
#include "shared/mark.h"
#include "tensorguard/compile.h"

static size_t map_size(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = TG_MAX_CLASSES * sizeof(struct tg_paced);

	_Static_assert(sizeof(struct tg_paced) % 8 == 0, "an array's entries are 8 bytes apart");
	return (size + page - 1) / page * page;
}

/* Every pin is a file of its own. 0 when there is none. */
static ino_t pin_of(const char *pin_dir, const char *tunnel)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s/%s", pin_dir, tunnel, dp_map_names[DP_PACED]);
	return stat(path, &st) ? 0 : st.st_ino;
}

/* ---- making a plan ---- */

/* An IPv6 packet with nothing in it, as long as a cell: what the queue of the kernel sends, byte by byte. */
static uint8_t *make_dummy(const struct tg_tunnel *tunnel, unsigned cell)
{
	struct ip6_hdr ip = { .ip6_src = tunnel->dummy_source, .ip6_dst = tunnel->dummy_target };
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

static int plan_one(struct plan *plan, struct plan_tunnel *t, const struct tg_tunnel *tunnel, size_t index)
{
	struct plan_class *class = &t->classes[index];

	tg_policy_schedule(&tunnel->classes[index], &class->schedule);
	class->schedule.class = (uint32_t)index;
	class->mark = TG_MARK_PACED | TG_MARK_OF_CLASS((uint32_t)index) | tg_mark_tag(tunnel);
	class->dummy = make_dummy(tunnel, tunnel->classes[index].cell);
	if (!class->dummy || pacer_init(&class->pacer, &class->schedule))
		return -ENOMEM;
	class->paced = t->paced = true;
	plan->paced++;
	plan->limit += (uint32_t) class->pacer.room;
	return 0;
}

/* The classes that the loader gave to the agent. -EAGAIN when policy and maps are not of one mind (yet). */
static int plan_classes(struct plan *plan, size_t n, const struct dataplane *dp, struct tg_error *e)
{
	const struct tg_tunnel *tunnel = &plan->policy->tunnels[n];
	struct plan_tunnel *t = &plan->tunnels[n];
	int ret = 0;

	for (size_t i = 0; i < tunnel->class_count && !ret; i++) {
		struct tg_class class;

		ret = dataplane_class_get(dp, t->generation, (unsigned)i, &class, e);
		if (ret)
			break;
		if (class.defence != tunnel->classes[i].defence || class.cell != tunnel->classes[i].cell)
			ret = tg_error(e, -EAGAIN, "tunnel %s: class %s is not the one that is in force",
				       tunnel->name, tunnel->classes[i].name);
		else if (class.flags & TG_CLASS_AGENT && plan_one(plan, t, tunnel, i))
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

static int map_memory(struct plan *plan, size_t n, const struct dataplane *dp, struct tg_error *e)
{
	struct plan_tunnel *t = &plan->tunnels[n];
	void *memory = mmap(NULL, map_size(), PROT_READ | PROT_WRITE, MAP_SHARED, dp->maps[DP_PACED], 0);

	if (memory == MAP_FAILED)
		return tg_error(e, -errno, "cannot map the map paced of %s: %s", dp->tunnel, strerror(errno));
	t->shared = memory;
	t->policy = dup(dp->maps[DP_POLICY]);
	if (has_flow_rules(plan->policy, n))
		t->flows = dup(dp->maps[DP_FLOWS]);
	if (t->policy < 0 || (has_flow_rules(plan->policy, n) && t->flows < 0))
		return tg_error(e, -EMFILE, "out of descriptors");
	return 0;
}

static int plan_tunnel(struct plan *plan, size_t n, const char *pin_dir, struct tg_error *e)
{
	const struct tg_tunnel *tunnel = &plan->policy->tunnels[n];
	struct plan_tunnel *t = &plan->tunnels[n];
	struct dataplane *dp;
	int ret;

	ret = dataplane_open(pin_dir, tunnel->name, &dp, e);
	if (ret)
		return ret;
	t->pin = pin_of(pin_dir, tunnel->name);
	t->ifindex = if_nametoindex(tg_tunnel_device(tunnel));
	ret = dataplane_generation(dp, &t->generation, e);
	if (!ret)
		ret = plan_classes(plan, n, dp, e);
	if (!ret)
		ret = map_memory(plan, n, dp, e);
	dataplane_close(dp);
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
	for (size_t i = 0; i < policy->tunnel_count; i++)
		plan->tunnels[i].flows = plan->tunnels[i].policy = -1;
	for (size_t i = 0; i < policy->tunnel_count && !ret; i++)
		ret = plan_tunnel(plan, i, pin_dir, e);
	if (ret) {
		plan_free(plan);
		return ret;
	}
	*ret_plan = plan;
	return 0;
}

static void free_tunnel(struct plan_tunnel *t)
{
	for (size_t i = 0; i < TG_MAX_CLASSES; i++) {
		pacer_free(&t->classes[i].pacer);
		free(t->classes[i].dummy);
	}
	if (t->shared)
		munmap(t->shared, map_size());
	if (t->flows >= 0)
		close(t->flows);
	if (t->policy >= 0)
		close(t->policy);
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
		struct tg_policy_word word = { 0 };
		__u32 zero = 0;

		if (pin_of(pin_dir, tunnel->name) != t->pin ||
		    if_nametoindex(tg_tunnel_device(tunnel)) != t->ifindex ||
		    bpf_map_lookup_elem(t->policy, &zero, &word) || word.generation != t->generation)
			return false;
	}
	return true;
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

	if (t->flows < 0)
		return false;
	if (!bpf_map_lookup_elem(t->flows, key, &flow) && flow.generation == (uint32_t)t->generation &&
	    flow.class < tunnel->class_count) {
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

enum plan_answer plan_classify(const struct plan *plan, const struct queue_packet *packet, size_t *ret_tunnel,
			       size_t *ret_class)
{
	size_t n = 0, count = plan->policy->tunnel_count;
	const struct tg_tunnel *tunnel;
	struct packet p;
	unsigned class;

	while (n < count && (!packet->out_ifindex || plan->tunnels[n].ifindex != packet->out_ifindex))
		n++;
	if (n == count)
		return PLAN_PASS;
	tunnel = &plan->policy->tunnels[n];
	if (packet_parse(packet->data, packet->size, packet->total, &p) == PACKET_MALFORMED ||
	    !find_class(plan, n, &p, packet->mark, &class) || !decide_has_peer(tunnel, &p.key))
		return PLAN_REFUSE;
	if (!plan->tunnels[n].classes[class].paced)
		return PLAN_PASS;
	if (packet->total > tunnel->classes[class].cell)
		return PLAN_REFUSE;
	*ret_tunnel = n;
	*ret_class = class;
	return PLAN_PACE;
}

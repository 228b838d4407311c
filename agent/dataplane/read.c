/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dataplane/dataplane.h"

static int unreadable(const struct dataplane *dp, enum dp_map map, struct tg_error *e)
{
	return tg_error(e, -errno, "cannot read map %s of %s: %s", dp_map_names[map], dp->tunnel,
			strerror(errno));
}

int dataplane_class_get(const struct dataplane *dp, uint64_t generation, unsigned class,
			struct tg_class *ret_class, struct tg_error *e)
{
	uint32_t index = (uint32_t)(generation & 1) * TG_MAX_CLASSES + class;

	if (bpf_map_lookup_elem(dp->maps[DP_CLASSES], &index, ret_class))
		return unreadable(dp, DP_CLASSES, e);
	return 0;
}

/* One u64 after the other, summed over processors; `words` per entry. */
static int sum_percpu(const struct dataplane *dp, enum dp_map map, uint32_t index, uint64_t *ret_words,
		      size_t words, struct tg_error *e)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *values;

	if (cpus < 0)
		return tg_error(e, cpus, "cannot count the processors: %s", strerror(-cpus));
	values = calloc((size_t)cpus * words, sizeof(*values));
	if (!values)
		return tg_error(e, -ENOMEM, "out of memory");
	if (bpf_map_lookup_elem(dp->maps[map], &index, values)) {
		free(values);
		return unreadable(dp, map, e);
	}
	memset(ret_words, 0, words * sizeof(*ret_words));
	for (size_t i = 0; i < (size_t)cpus * words; i++)
		ret_words[i % words] += values[i];
	free(values);
	return 0;
}

int dataplane_paced_get(const struct dataplane *dp, unsigned class, struct tg_paced *ret_paced,
			struct tg_error *e)
{
	if (bpf_map_lookup_elem(dp->maps[DP_PACED], &class, ret_paced))
		return unreadable(dp, DP_PACED, e);
	return 0;
}

int dataplane_stats_get(const struct dataplane *dp, enum tg_direction direction, unsigned class,
			struct tg_stats *ret_stats, struct tg_error *e)
{
	_Static_assert(sizeof(struct tg_stats) % sizeof(uint64_t) == 0, "tg_stats is made of u64");
	uint64_t words[sizeof(struct tg_stats) / sizeof(uint64_t)];
	uint64_t more[sizeof(struct tg_stats) / sizeof(uint64_t)] = { 0 };
	struct tg_paced paced;
	int ret = sum_percpu(dp, DP_STATS, (uint32_t)direction * TG_MAX_CLASSES + class, words,
			     sizeof(words) / sizeof(words[0]), e);

	if (!ret && direction == TG_OUT) {
		ret = dataplane_paced_get(dp, class, &paced, e);
		if (!ret)
			memcpy(more, &paced.stats, sizeof(more));
	}
	if (ret)
		return ret;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		words[i] += more[i];
	memcpy(ret_stats, words, sizeof(*ret_stats));
	return 0;
}

/* The agent's part goes with its sessions: those that run for the old class mean nothing to the new one. */
static int reset_paced(const struct dataplane *dp, unsigned class, struct tg_error *e)
{
	struct tg_paced zero = { .flags = 0 };

	if (bpf_map_update_elem(dp->maps[DP_PACED], &class, &zero, BPF_ANY))
		return tg_error(e, -errno, "cannot write map paced of %s: %s", dp->tunnel, strerror(errno));
	return 0;
}

int dataplane_stats_reset(const struct dataplane *dp, unsigned class, struct tg_error *e)
{
	int cpus = libbpf_num_possible_cpus(), ret = 0;
	struct tg_stats *zero;

	if (cpus < 0)
		return tg_error(e, cpus, "cannot count the processors: %s", strerror(-cpus));
	zero = calloc((size_t)cpus, sizeof(*zero));
	if (!zero)
		return tg_error(e, -ENOMEM, "out of memory");
	for (uint32_t direction = TG_OUT; direction <= TG_IN && !ret; direction++) {
		uint32_t index = direction * TG_MAX_CLASSES + class;

		if (bpf_map_update_elem(dp->maps[DP_STATS], &index, zero, BPF_ANY))
			ret = tg_error(e, -errno, "cannot write map stats of %s: %s", dp->tunnel,
				       strerror(errno));
	}
	free(zero);
	return ret ? ret : reset_paced(dp, class, e);
}

/* What the agent did where the kernel's queue would have done it. */
static int add_paced_reasons(const struct dataplane *dp, unsigned class, uint64_t *reasons,
			     struct tg_error *e)
{
	struct tg_paced paced;
	int ret = dataplane_paced_get(dp, class, &paced, e);

	if (ret)
		return ret;
	reasons[TG_DROP_OVERFLOW] += paced.stats.drop_packets;
	reasons[TG_NOTE_LATE] += paced.stats.late_packets;
	reasons[TG_NOTE_EXTENDED] += paced.extensions;
	return 0;
}

int dataplane_reasons_get(const struct dataplane *dp, uint64_t ret_reasons[TG_REASON_COUNT],
			  struct tg_error *e)
{
	int ret = 0;

	for (uint32_t i = 0; i < TG_REASON_COUNT && !ret; i++)
		ret = sum_percpu(dp, DP_REASONS, i, &ret_reasons[i], 1, e);
	for (unsigned i = 0; i < TG_MAX_CLASSES && !ret; i++)
		ret = add_paced_reasons(dp, i, ret_reasons, e);
	return ret;
}

int dataplane_session_get(const struct dataplane *dp, unsigned id, struct tg_session_state *ret_state,
			  struct tg_error *e)
{
	struct tg_session session;

	if (bpf_map_lookup_elem_flags(dp->maps[DP_SESSIONS], &id, &session, BPF_F_LOCK))
		return unreadable(dp, DP_SESSIONS, e);
	*ret_state = session.state;
	return 0;
}

int dataplane_paced_session_get(const struct dataplane *dp, unsigned id, struct tg_session_state *ret_state,
				struct tg_error *e)
{
	if (bpf_map_lookup_elem(dp->maps[DP_PACED_SESSIONS], &id, ret_state))
		return unreadable(dp, DP_PACED_SESSIONS, e);
	return 0;
}

int dataplane_spending_get(const struct dataplane *dp, struct tg_spending_state *ret_state,
			   struct tg_error *e)
{
	struct tg_spending spending;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem_flags(dp->maps[DP_SPENDING], &zero, &spending, BPF_F_LOCK))
		return unreadable(dp, DP_SPENDING, e);
	*ret_state = spending.state;
	return 0;
}

const char *dataplane_violation_name(unsigned violation)
{
	static const char *const names[TG_VIOLATION_COUNT] = {
		[TG_VIOLATION_DELAY] = "delay",           [TG_VIOLATION_OVERFLOW] = "overflow",
		[TG_VIOLATION_DAY] = "dummy_day",         [TG_VIOLATION_SHARE] = "dummy_share",
		[TG_VIOLATION_METERED] = "dummy_metered",
	};

	return violation < TG_VIOLATION_COUNT ? names[violation] : "unknown";
}

int dataplane_session_clear(const struct dataplane *dp, unsigned id, unsigned queue, struct tg_error *e)
{
	const struct tg_session session = { .state = { .queue = queue } };

	if (bpf_map_update_elem(dp->maps[DP_SESSIONS], &id, &session, BPF_F_LOCK))
		return tg_error(e, -errno, "cannot write map sessions of %s: %s", dp->tunnel,
				strerror(errno));
	return 0;
}

const char *dataplane_reason_name(unsigned reason)
{
	static const char *const names[TG_REASON_COUNT] = {
		[TG_PASS_RELEASED] = "pass_released",
		[TG_PASS_PADDED] = "pass_padded",
		[TG_PASS_QUEUED] = "pass_queued",
		[TG_PASS_SEGMENT] = "pass_segment",
		[TG_PASS_CELL_REAL] = "pass_cell_real",
		[TG_PASS_CELL_DUMMY] = "pass_cell_dummy",
		[TG_PASS_CELL_WITHHELD] = "pass_cell_withheld",
		[TG_PASS_CELL_IDLE] = "pass_cell_idle",
		[TG_PASS_CELL_START] = "pass_cell_start",
		[TG_PASS_CELL_RETIRED] = "pass_cell_retired",
		[TG_PASS_TICK] = "pass_tick",
		[TG_PASS_TIMED] = "pass_timed",
		[TG_PASS_INGRESS] = "pass_ingress",
		[TG_PASS_TAKEN] = "pass_taken",
		[TG_PASS_SHARED] = "pass_shared",
		[TG_PASS_GIVEN] = "pass_given",
		[TG_PASS_HANDED] = "pass_handed",
		[TG_PASS_INNER] = "pass_inner",
		[TG_NOTE_FRAGMENT] = "note_fragment",
		[TG_NOTE_EXT_HEADER] = "note_ext_header",
		[TG_NOTE_ICMP_ERROR] = "note_icmp_error",
		[TG_NOTE_DEFAULT] = "note_default",
		[TG_NOTE_ECN] = "note_ecn",
		[TG_NOTE_LATE] = "note_late",
		[TG_NOTE_EXTENDED] = "note_extended",
		[TG_NOTE_CLOCK] = "note_clock",
		[TG_NOTE_TWIN] = "note_twin",
		[TG_NOTE_TICK_DUMMY] = "note_tick_dummy",
		[TG_DROP_DUMMY] = "drop_dummy",
		[TG_DROP_OVERSIZE] = "drop_oversize",
		[TG_DROP_TRUNCATED] = "drop_truncated",
		[TG_DROP_NOT_IP] = "drop_not_ip",
		[TG_DROP_VLAN] = "drop_vlan",
		[TG_DROP_OVERFLOW] = "drop_overflow",
		[TG_DROP_GSO] = "drop_gso",
		[TG_DROP_LINK_CHATTER] = "drop_link_chatter",
		[TG_DROP_NOT_ALLOWED] = "drop_not_allowed",
		[TG_DROP_NO_CLASS] = "drop_no_class",
		[TG_DROP_HELPER] = "drop_helper",
		[TG_DROP_UNPACED] = "drop_unpaced",
		[TG_DROP_UNRELEASED] = "drop_unreleased",
		[TG_DROP_STRAY] = "drop_stray",
	};

	return reason < TG_REASON_COUNT && names[reason] ? names[reason] : "unknown";
}

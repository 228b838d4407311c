/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "guard/flowhash.h"
#include "guard/tracker.h"

/* Index 0 is no flow: a table of zeros is an empty one, and pages never used are never touched. */
enum { NONE = 0 };

struct flow {
	struct tg_flow_key key;
	uint64_t payload_ns;	/* first payload; 0 = none yet */
	uint64_t last_ns;
	uint32_t chain;		/* next in the hash bucket, or in the free list */
	uint32_t newer, older;	/* order of use */
	uint32_t start;		/* sequence number of the first payload byte */
	uint32_t next;		/* of the first byte not read yet */
	uint16_t idle;		/* packets that brought nothing new */
	uint16_t early;		/* copies in the pool */
	uint8_t state;		/* enum tracker_state */
	struct tg_sni sni;
};

/* A segment beyond a gap. */
struct early {
	uint32_t flow;		/* NONE = unused */
	uint32_t seq;
	uint32_t len;
	uint64_t arrival;	/* order in which copies were made */
	uint8_t data[TRACKER_EARLY_BYTES];
};

struct tracker {
	struct flow *flows;	/* 1..flow_max */
	uint32_t *buckets;
	struct early *pool;
	size_t flow_max, bucket_mask, pool_max, count;
	uint32_t used;		/* flows that were ever in use; those beyond are as calloc() left them */
	uint32_t free, newest, oldest;
	uint64_t seed, arrivals;
	struct tracker_stats stats;
};

/* Signed distance, as TCP compares sequence numbers. */
static int32_t seq_diff(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b);
}

static uint32_t *bucket_of(struct tracker *t, const struct tg_flow_key *key)
{
	return &t->buckets[flow_hash(key, t->seed) & t->bucket_mask];
}

static struct flow *find(struct tracker *t, const struct tg_flow_key *key)
{
	for (uint32_t i = *bucket_of(t, key); i != NONE; i = t->flows[i].chain)
		if (!memcmp(&t->flows[i].key, key, sizeof(*key)))
			return &t->flows[i];
	return NULL;
}

static uint32_t index_of(const struct tracker *t, const struct flow *f)
{
	return (uint32_t)(f - t->flows);
}

static void unlink_use(struct tracker *t, struct flow *f)
{
	if (f->newer != NONE)
		t->flows[f->newer].older = f->older;
	else
		t->newest = f->older;
	if (f->older != NONE)
		t->flows[f->older].newer = f->newer;
	else
		t->oldest = f->newer;
}

static void link_newest(struct tracker *t, struct flow *f)
{
	f->newer = NONE;
	f->older = t->newest;
	if (t->newest != NONE)
		t->flows[t->newest].newer = index_of(t, f);
	else
		t->oldest = index_of(t, f);
	t->newest = index_of(t, f);
}

static void forget_early(struct tracker *t, struct flow *f)
{
	for (size_t i = 0; f->early && i < t->pool_max; i++) {
		if (t->pool[i].flow != index_of(t, f))
			continue;
		t->pool[i].flow = NONE;
		f->early--;
	}
}

static void release(struct tracker *t, struct flow *f)
{
	uint32_t *link = bucket_of(t, &f->key);

	while (*link != index_of(t, f))
		link = &t->flows[*link].chain;
	*link = f->chain;
	forget_early(t, f);
	unlink_use(t, f);
	f->chain = t->free;
	t->free = index_of(t, f);
	t->count--;
}

static void start(struct flow *f, const struct packet *p)
{
	f->start = f->next = p->tcp_flags & PACKET_SYN ? p->seq + 1 : p->seq;
	f->payload_ns = 0;
	f->idle = 0;
	f->state = TRACKER_WAIT;
	tg_sni_init(&f->sni);
}

static struct flow *take_up(struct tracker *t, const struct packet *p)
{
	uint32_t *bucket = bucket_of(t, &p->key);
	struct flow *f;

	if (t->free == NONE && t->used == t->flow_max) {
		f = &t->flows[t->oldest];
		t->stats.evicted += f->state == TRACKER_WAIT;
		release(t, f);
	}
	if (t->free == NONE) {
		f = &t->flows[++t->used];
	} else {
		f = &t->flows[t->free];
		t->free = f->chain;
	}
	f->key = p->key;
	f->early = 0;
	f->chain = *bucket;
	*bucket = index_of(t, f);
	link_newest(t, f);
	start(f, p);
	t->count++;
	t->stats.flows++;
	return f;
}

static struct early *pool_slot(struct tracker *t)
{
	struct early *oldest = NULL;

	for (size_t i = 0; i < t->pool_max; i++) {
		struct early *e = &t->pool[i];

		if (e->flow == NONE)
			return e;
		if (!oldest || e->arrival < oldest->arrival)
			oldest = e;
	}
	if (!oldest)
		return NULL;
	t->flows[oldest->flow].early--;
	t->stats.early_lost++;
	return oldest;
}

static void keep_early(struct tracker *t, struct flow *f, uint32_t seq, const uint8_t *data, size_t len)
{
	struct early *e = pool_slot(t);

	if (!e)
		return;
	e->flow = index_of(t, f);
	e->seq = seq;
	e->len = (uint32_t)(len < sizeof(e->data) ? len : sizeof(e->data));
	e->arrival = t->arrivals++;
	memcpy(e->data, data, e->len);
	f->early++;
	t->stats.early++;
}

/* The copy that came first among those that hold the byte at f->next. */
static struct early *first_with_next(struct tracker *t, const struct flow *f)
{
	struct early *best = NULL;

	for (size_t i = 0; i < t->pool_max; i++) {
		struct early *e = &t->pool[i];

		if (e->flow != index_of(t, f) || seq_diff(f->next, e->seq) < 0 ||
		    seq_diff(f->next, e->seq + e->len) >= 0)
			continue;
		if (!best || e->arrival < best->arrival)
			best = e;
	}
	return best;
}

/* Where a copy older than `arrival` begins inside (f->next, end), else `end`: its bytes came first. */
static uint32_t until_older(const struct tracker *t, const struct flow *f, uint64_t arrival, uint32_t end)
{
	for (size_t i = 0; i < t->pool_max; i++) {
		const struct early *e = &t->pool[i];

		if (e->flow == index_of(t, f) && e->arrival < arrival && seq_diff(e->seq, f->next) > 0 &&
		    seq_diff(e->seq, end) < 0)
			end = e->seq;
	}
	return end;
}

static void drop_read_copies(struct tracker *t, struct flow *f)
{
	for (size_t i = 0; f->early && i < t->pool_max; i++) {
		struct early *e = &t->pool[i];

		if (e->flow == index_of(t, f) && seq_diff(e->seq + e->len, f->next) <= 0) {
			e->flow = NONE;
			f->early--;
		}
	}
}

/* Reads on from f->next: from copies where they hold the byte, else from the segment just come. */
static void read_in_order(struct tracker *t, struct flow *f, uint32_t seq, const uint8_t *data, size_t len)
{
	while (f->sni.result == TG_SNI_NEED_MORE) {
		struct early *e = f->early ? first_with_next(t, f) : NULL;
		uint32_t end = e ? e->seq + e->len : seq + (uint32_t)len;
		const uint8_t *from;

		if (!e && (seq_diff(f->next, seq) < 0 || seq_diff(f->next, end) >= 0))
			break;
		from = e ? e->data + (f->next - e->seq) : data + (f->next - seq);
		if (f->early)
			end = until_older(t, f, e ? e->arrival : UINT64_MAX, end);
		tg_sni_feed(&f->sni, from, end - f->next);
		f->next = end;
	}
	drop_read_copies(t, f);
}

static void take_payload(struct tracker *t, struct flow *f, const struct packet *p)
{
	uint32_t seq = p->tcp_flags & PACKET_SYN ? p->seq + 1 : p->seq;
	int32_t ahead = seq_diff(seq, f->next);

	if (!p->payload_len || seq_diff(seq + (uint32_t)p->payload_len, f->next) <= 0)
		return;
	if (ahead > (int32_t)TG_SNI_MAX_BYTES)
		return;
	if (ahead > 0)
		keep_early(t, f, seq, p->payload, p->payload_len);
	else
		read_in_order(t, f, seq, p->payload, p->payload_len);
}

/* Counts how the reading of a name ended. */
static enum tracker_state name_state(struct tracker *t, enum tg_sni_result result)
{
	switch (result) {
	case TG_SNI_NEED_MORE:
		return TRACKER_WAIT;
	case TG_SNI_FOUND:
		t->stats.named++;
		return TRACKER_NAMED;
	case TG_SNI_NONE:
		t->stats.no_name++;
		break;
	case TG_SNI_NOT_TLS:
		t->stats.not_tls++;
		break;
	case TG_SNI_MALFORMED:
		t->stats.malformed++;
		break;
	}
	return TRACKER_NAMELESS;
}

static enum tracker_state apply_limits(struct tracker *t, const struct flow *f, const struct packet *p,
				       uint64_t now)
{
	/* a FIN beyond a gap does not end what is still to come before it */
	bool closed =
		(p->tcp_flags & PACKET_FIN && seq_diff(p->seq + (uint32_t)p->payload_total, f->next) <= 0) ||
		p->tcp_flags & PACKET_RST;

	if (closed)
		t->stats.closed++;
	else if (f->idle >= TRACKER_MAX_IDLE)
		t->stats.limit_idle++;
	else if (f->payload_ns && now - f->payload_ns >= TRACKER_MAX_NS)
		t->stats.limit_time++;
	else
		return TRACKER_WAIT;
	return TRACKER_NAMELESS;
}

enum tracker_state tracker_packet(struct tracker *t, const struct packet *p, uint64_t now,
				  const char **ret_host)
{
	struct flow *f = find(t, &p->key);
	bool syn = p->tcp_flags & PACKET_SYN;
	uint32_t before;

	if (!f) {
		f = take_up(t, p);
	} else {
		unlink_use(t, f);
		link_newest(t, f);
		/* the same ports again: a new connection */
		if (syn && p->seq + 1 != f->start) {
			forget_early(t, f);
			start(f, p);
		}
	}
	f->last_ns = now;
	if (f->state == TRACKER_WAIT) {
		if (p->payload_len && !f->payload_ns)
			f->payload_ns = now;
		before = f->next;
		take_payload(t, f, p);
		f->idle = (uint16_t)(f->idle + (f->next == before && !syn));
		f->state = (uint8_t)name_state(t, (enum tg_sni_result)f->sni.result);
	}
	if (f->state == TRACKER_WAIT)
		f->state = (uint8_t)apply_limits(t, f, p, now);
	if (f->state == TRACKER_NAMED)
		*ret_host = tg_sni_host(&f->sni);
	return (enum tracker_state)f->state;
}

void tracker_expire(struct tracker *t, uint64_t now)
{
	while (t->oldest != NONE && now - t->flows[t->oldest].last_ns >= TRACKER_KEEP_NS)
		release(t, &t->flows[t->oldest]);
}

size_t tracker_count(const struct tracker *t)
{
	return t->count;
}

const struct tracker_stats *tracker_stats(const struct tracker *t)
{
	return &t->stats;
}

int tracker_new(size_t flows, size_t early_segments, uint64_t seed, struct tracker **ret_tracker)
{
	struct tracker *t;
	size_t buckets = 1;

	if (!flows || flows >= UINT32_MAX / 2)
		return -EINVAL;
	while (buckets < flows)
		buckets *= 2;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->flow_max = flows;
	t->pool_max = early_segments;
	t->bucket_mask = buckets - 1;
	t->seed = seed;
	t->flows = calloc(flows + 1, sizeof(*t->flows));
	t->pool = calloc(early_segments ? early_segments : 1, sizeof(*t->pool));
	t->buckets = calloc(buckets, sizeof(*t->buckets));
	if (!t->flows || !t->pool || !t->buckets) {
		tracker_free(t);
		return -ENOMEM;
	}
	*ret_tracker = t;
	return 0;
}

void tracker_free(struct tracker *t)
{
	if (!t)
		return;
	free(t->flows);
	free(t->pool);
	free(t->buckets);
	free(t);
}

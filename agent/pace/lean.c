/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip6.h>
#include <stdlib.h>
#include <string.h>

#include "pace/lean.h"
#include "shared/hist.h"

enum {
	CELL_HEADERS = sizeof(struct ip6_hdr) + TG_AGGFRAG_HEADER,
	SMALLEST_PACKET = 20,	/* an IPv4 header */
};

/* A peer that goes on says it once per tick, which is a second at most. One that is silent for so long may
 * have another policy, or nobody who takes cells apart. */
#define HEARD_NS 3000000000ull

/* So often is it said: each time the peer's kernel hands a dummy to its agent. */
#define SAY_NS 500000000ull

/* So long after a session's start a packet that needs several cells waits for the peer to say that. */
#define GRACE_NS 500000000ull

static const struct tg_lean *pattern_of(const struct lean *l)
{
	return &l->setup.schedule->lean;
}

static const struct tg_queue *queue_of(const struct lean *l)
{
	return &l->setup.schedule->queue;
}

/* Bytes of packets in a shared cell. */
static size_t payload_of(const struct lean *l)
{
	return queue_of(l)->cell - (size_t)CELL_HEADERS;
}

/* ---- when the next slot comes ---- */

static bool is_running(const struct lean *l)
{
	return l->setup.session->left || l->count;
}

/* At or after `now`, by the grid on which the session is. */
static uint64_t slot_after(const struct lean *l, uint64_t now)
{
	const struct tg_session_state *s = l->setup.session;

	if (tg_lean_is_learning(s))
		return tg_grid_first(now, pattern_of(l)->learn_period_ns, l->phase_ns);
	return tg_lean_slot(pattern_of(l), s->clock_due_ns, s->last_clock_ns, now);
}

static uint64_t least_gap(const struct lean *l)
{
	return tg_lean_is_learning(l->setup.session) ? pattern_of(l)->learn_period_ns
						     : tg_lean_least_gap(pattern_of(l));
}

/* The first one that does not close up to the cell before. */
static uint64_t next_slot(const struct lean *l, uint64_t now)
{
	uint64_t earliest = l->setup.session->last_tick_ns + least_gap(l) / 2;

	return slot_after(l, l->setup.session->ticks && earliest > now ? earliest : now);
}

/* Slots that went by while nobody served them. */
static void note_missed(struct lean *l, uint64_t due, uint64_t now)
{
	struct tg_paced *shared = l->setup.shared;

	if (now - due > least_gap(l) / 2)
		shared->late_wakes++;
	while ((due = slot_after(l, due + 1)) <= now)
		shared->missed_slots++;
}

/* ---- beginning and end ---- */

static int allocate(struct lean *l)
{
	const struct tg_queue *q = queue_of(l);
	uint32_t cells = q->limit_cells > q->budget_cells ? q->limit_cells : q->budget_cells;
	uint32_t most = pattern_of(l)->mtu;

	l->byte_room = (size_t)(cells + 1) * q->cell + most;
	l->packet_room = l->byte_room / SMALLEST_PACKET + 1;
	l->bytes = malloc(l->byte_room);
	l->packets = calloc(l->packet_room, sizeof(*l->packets));
	l->reader.room = most;
	l->reader.buffer = malloc(most);
	return l->bytes && l->packets && l->reader.buffer ? 0 : -ENOMEM;
}

/* A session that began under another tick goes on with the new one. */
static void keep_tick(struct lean *l)
{
	struct tg_session_state *s = l->setup.session;
	uint64_t nominal = pattern_of(l)->tick_ns, most = nominal / TG_TICK_STEP * TG_TICK_STEPS;

	if (s->clock_due_ns && (s->last_clock_ns > nominal + most || s->last_clock_ns + most < nominal))
		s->last_clock_ns = nominal;
}

int lean_init(struct lean *l, const struct lean_setup *setup, uint64_t now)
{
	*l = (struct lean){ .setup = *setup, .sequence = setup->sequence & TG_AGGFRAG_SEQUENCE_MASK };
	l->phase_ns = tg_grid_phase(setup->peer, pattern_of(l)->learn_period_ns);
	if (allocate(l)) {
		lean_free(l);
		return -ENOMEM;
	}
	/* a session that ran under an agent before us goes on; what that one held went with it */
	tg_session_forget(setup->session);
	keep_tick(l);
	if (is_running(l)) {
		l->next_ns = next_slot(l, now);
		if (setup->session->last_tick_ns && setup->session->last_tick_ns < now)
			setup->shared->missed_slots +=
				(now - setup->session->last_tick_ns - 1) / queue_of(l)->period_ns;
	}
	return 0;
}

void lean_free(struct lean *l)
{
	free(l->bytes);
	free(l->packets);
	free(l->reader.buffer);
	l->bytes = l->reader.buffer = NULL;
	l->packets = NULL;
	l->count = l->length = 0;
}

/* ---- packets that come ---- */

bool lean_shares(const struct lean *l, uint64_t now)
{
	return l->heard_ns && l->heard_ns >= l->setup.session->started_ns && now < l->heard_ns + HEARD_NS;
}

/* Whether cells are shared, or may soon be. */
static bool may_share(const struct lean *l, uint64_t now)
{
	return lean_shares(l, now) || now < l->setup.session->started_ns + GRACE_NS;
}

/* The longest packet that has a way to the peer. */
static uint32_t longest(const struct lean *l, uint64_t now)
{
	return may_share(l, now) ? pattern_of(l)->mtu : queue_of(l)->cell;
}

static void put_packet(struct lean *l, const struct lean_packet *packet, const uint8_t *bytes)
{
	if (l->start + l->length + packet->size > l->byte_room) {
		memmove(l->bytes, l->bytes + l->start, l->length);
		l->start = 0;
	}
	memcpy(l->bytes + l->start + l->length, bytes, packet->size);
	l->length += packet->size;
	l->packets[(l->first + l->count++) % l->packet_room] = *packet;
}

/* The cells that all that waits would take, `more` bytes of one more packet among it. */
static size_t cells_with(const struct lean *l, size_t more, uint64_t now)
{
	if (!lean_shares(l, now))
		return l->count + 1;
	return (l->length - l->sent + more + payload_of(l) - 1) / payload_of(l);
}

static bool count_drop(struct lean *l, const struct lean_packet *packet)
{
	l->setup.shared->stats.drop_packets++;
	l->setup.shared->stats.drop_bytes += packet->size;
	return false;
}

static void begin_session(struct lean *l, bool asked, uint64_t now)
{
	struct tg_session_state *s = l->setup.session;

	s->left = pattern_of(l)->first_slots;
	s->started_ns = now;
	s->sessions++;
	s->clock_due_ns = s->last_clock_ns = 0;
	s->stale = asked;
	l->arrival_count = 0;
	l->next_ns = next_slot(l, now);
}

void lean_hear(struct lean *l, bool asks, uint64_t now)
{
	l->heard_ns = now;
	l->answers |= asks;
	if (!asks || is_running(l))
		return;
	l->setup.session->last_real_ns = now;
	begin_session(l, true, now);
}

bool lean_admit(struct lean *l, const struct lean_packet *packet, const uint8_t *bytes)
{
	struct tg_session_state *s = l->setup.session;
	const struct tg_queue *q = queue_of(l);
	uint32_t limit = q->overflow == TG_OVERFLOW_STRETCH ? q->limit_cells : q->budget_cells;
	size_t cells;

	/* what is dropped is traffic all the same: it starts a session, and none ends on it */
	s->last_real_ns = packet->arrived_ns;
	if (!s->left && !l->count)
		begin_session(l, false, packet->arrived_ns);
	if (packet->size > longest(l, packet->arrived_ns))
		return count_drop(l, packet);
	if (!packet->bare && tg_lean_listens(s, pattern_of(l)) && l->arrival_count < TG_TICK_MOST)
		l->arrivals[l->arrival_count++] = packet->arrived_ns;
	cells = cells_with(l, packet->size, packet->arrived_ns);
	if (cells > q->budget_cells)
		l->setup.shared->stats.violations[TG_VIOLATION_OVERFLOW]++;
	if (cells > limit || l->length + packet->size > l->byte_room)
		return count_drop(l, packet);
	put_packet(l, packet, bytes);
	s->admitted++;
	return true;
}

/* ---- cells that leave ---- */

static void account_delay(struct lean *l, uint64_t delay)
{
	struct tg_stats *stats = &l->setup.shared->stats;

	stats->delay[tg_hist_bucket(delay)]++;
	if (delay > l->setup.schedule->budget_ns)
		stats->late_packets++;
	if (delay > queue_of(l)->guard_ns)
		stats->violations[TG_VIOLATION_DELAY]++;
}

/* The last of the first packet leaves at `now`. */
static struct lean_packet take_packet(struct lean *l, uint64_t now)
{
	struct lean_packet packet = l->packets[l->first];

	l->first = (l->first + 1) % l->packet_room;
	l->count--;
	l->start += packet.size;
	l->length -= packet.size;
	l->sent = 0;
	l->setup.session->released++;
	account_delay(l, now > packet.arrived_ns ? now - packet.arrived_ns : 0);
	return packet;
}

static void put_head(const struct lean *l, uint8_t *cell, uint8_t protocol, uint32_t sequence)
{
	struct ip6_hdr ip;

	memcpy(&ip, l->setup.dummy, sizeof(ip));
	ip.ip6_flow = htonl(6u << 28 | sequence);
	ip.ip6_nxt = protocol;
	memcpy(&ip.ip6_dst, l->setup.target, sizeof(ip.ip6_dst));
	memcpy(cell, &ip, sizeof(ip));
}

static void fill_dummy(struct lean *l, uint64_t now, uint8_t *cell)
{
	bool asks = !l->setup.session->stale && !lean_shares(l, now);
	struct tg_hello hello;

	memcpy(cell, l->setup.dummy, queue_of(l)->cell);
	put_head(l, cell, IPPROTO_NONE, 0);
	memcpy(&hello, cell + sizeof(struct ip6_hdr), sizeof(hello));
	if (!hello.magic)
		return;
	if (asks || l->answers || now >= l->said_ns + SAY_NS) {
		hello.flags = asks ? TG_HELLO_ASKS : 0;
		l->said_ns = now;
		l->answers = false;
	} else {
		memset(&hello, 0, sizeof(hello));
	}
	memcpy(cell + sizeof(struct ip6_hdr), &hello, sizeof(hello));
}

/* As much of what waits as one cell takes. */
static void fill_shared(struct lean *l, uint64_t now, uint8_t *cell)
{
	struct tg_paced *shared = l->setup.shared;
	size_t rest = l->sent ? l->packets[l->first].size - l->sent : 0, bytes = 0, part;
	struct tg_aggfrag_writer w;

	put_head(l, cell, TG_LEAN_PROTOCOL, l->sequence);
	l->sequence = (l->sequence + 1) & TG_AGGFRAG_SEQUENCE_MASK;
	tg_aggfrag_begin(&w, cell + sizeof(struct ip6_hdr), queue_of(l)->cell - sizeof(struct ip6_hdr), rest);
	while (l->count) {
		size_t left = l->packets[l->first].size - l->sent;

		part = tg_aggfrag_put(&w, l->bytes + l->start + l->sent, left, !l->sent);
		bytes += part;
		l->sent += part;
		if (part < left)
			break;
		take_packet(l, now);
		shared->stats.real_packets++;
		shared->lean.shared_packets++;
	}
	tg_aggfrag_end(&w);
	shared->lean.shared_cells++;
	shared->stats.real_bytes += bytes;
	shared->stats.pad_bytes += queue_of(l)->cell - bytes;
}

/* The first packet cannot have a cell of its own: it has begun to be sent, or is too long. */
static bool needs_sharing(const struct lean *l)
{
	return l->count && (l->sent || l->packets[l->first].size > queue_of(l)->cell);
}

static void drop_first(struct lean *l, uint64_t now)
{
	struct lean_packet packet = take_packet(l, now);

	count_drop(l, &packet);
}

static enum lean_step fill(struct lean *l, uint64_t now, uint8_t *cell, struct lean_cell *ret_cell)
{
	bool shares = lean_shares(l, now);
	struct lean_packet packet;

	while (!may_share(l, now) && needs_sharing(l))
		drop_first(l, now);
	if (!l->count || (!shares && needs_sharing(l))) {
		fill_dummy(l, now, cell);
		return LEAN_DUMMY;
	}
	if (shares) {
		fill_shared(l, now, cell);
		return LEAN_SHARED;
	}
	memcpy(cell, l->bytes + l->start, l->packets[l->first].size);
	packet = take_packet(l, now);
	*ret_cell = (struct lean_cell){ .size = packet.size, .mark = packet.mark };
	return LEAN_SINGLE;
}

/* From here on the slots are those of the pattern. */
static void freeze(struct lean *l)
{
	struct tg_session_state *s = l->setup.session;
	struct tg_tick tick = tg_tick_learn(pattern_of(l), s->started_ns, l->arrivals, l->arrival_count);

	s->clock_due_ns = tick.origin_ns;
	s->last_clock_ns = tick.period_ns;
	if (tick.found)
		l->setup.shared->lean.locked++;
	else
		l->setup.shared->lean.unlocked++;
}

static void use_slot(struct lean *l, uint64_t now)
{
	struct tg_session_state *s = l->setup.session;

	s->last_tick_ns = now;
	s->ticks++;
	l->setup.shared->extensions +=
		(uint64_t)tg_lean_spend(s, pattern_of(l), queue_of(l), l->count > 0, now);
	if (s->left && tg_lean_has_learnt(s, pattern_of(l)))
		freeze(l);
	l->next_ns = is_running(l) ? next_slot(l, now) : 0;
}

enum lean_step lean_step(struct lean *l, uint64_t now, uint8_t *cell, struct lean_cell *ret_cell)
{
	enum lean_step step;

	if (!l->next_ns || now < l->next_ns)
		return LEAN_NOTHING;
	note_missed(l, l->next_ns, now);
	step = fill(l, now, cell, ret_cell);
	use_slot(l, now);
	return step;
}

/* ---- other policies ---- */

/* A packet of which a part has come waits for the rest. */
static void take_over_reader(struct lean *l, struct lean *from)
{
	struct tg_aggfrag_reader unused = l->reader;

	if (from->reader.room != l->reader.room)
		return;
	l->reader = from->reader;
	from->reader = unused;
}

void lean_take_over(struct lean *l, struct lean *from, uint64_t now)
{
	size_t at = from->start;

	take_over_reader(l, from);
	l->heard_ns = from->heard_ns;
	memcpy(l->arrivals, from->arrivals, sizeof(l->arrivals));
	l->arrival_count = from->arrival_count;
	l->sequence = from->sequence;
	for (size_t i = 0; i < from->count; i++) {
		const struct lean_packet *packet = &from->packets[(from->first + i) % from->packet_room];

		if (packet->size > pattern_of(l)->mtu || l->length + packet->size > l->byte_room ||
		    l->count == l->packet_room) {
			count_drop(l, packet);
		} else {
			put_packet(l, packet, from->bytes + at);
			l->setup.session->admitted++;
			if (!i)
				l->sent = from->sent;
			/* lean_init() took it for gone with an agent */
			if (l->setup.peer == from->setup.peer && l->setup.session->lost)
				l->setup.session->lost--;
		}
		at += packet->size;
	}
	from->count = from->length = from->sent = 0;
	if (is_running(l) && !l->next_ns)
		l->next_ns = next_slot(l, now);
}

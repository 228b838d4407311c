/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The numbers of a tunnel's peers. A session, its clock and its entry in the
 * maps go by number, and a peer keeps its number as long as it is in the policy:
 * its schedule then runs on, whatever becomes of the others.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "dataplane/dataplane.h"
#include "tensorguard/crypto.h"

/* Sessions per queue: a tunnel whose owner names no peers has one for whatever is behind it. */
static size_t session_count(const struct tg_tunnel *tunnel)
{
	if (!tg_tunnel_is_paced(tunnel))
		return 0;
	return tunnel->peer_count ? tunnel->peer_count : 1;
}

/* Another dummy target is another peer: the clock cells in circulation hold the old one. */
static struct tg_peer_entry entry_of(const struct tg_tunnel *tunnel, size_t n)
{
	static const uint8_t no_key[TG_KEY_LEN];
	const struct tg_peer *peer = tunnel->peer_count ? &tunnel->peers[n] : NULL;
	struct tg_peer_entry entry = { .identity = { 0 } };

	memcpy(entry.dummy_target, peer ? &peer->dummy_target : &tunnel->dummy_target,
	       sizeof(entry.dummy_target));
	if (peer && peer->agent[0])
		/* a name's hash: its keys come and go. No hash is made where there is no memory for it */
		(void)!tg_sha256(&(struct tg_piece){ peer->agent, strlen(peer->agent) }, 1, entry.identity,
				 NULL);
	else if (peer && memcmp(peer->public_key, no_key, sizeof(no_key)))
		memcpy(entry.identity, peer->public_key, sizeof(entry.identity));
	else
		memcpy(entry.identity, entry.dummy_target, sizeof(entry.dummy_target));
	return entry;
}

bool roster_is_free(const struct tg_peer_entry *entry)
{
	static const struct tg_peer_entry none;

	return !memcmp(entry, &none, sizeof(none));
}

int roster_read(const struct dataplane *dp, struct tg_peer_entry *entries, struct tg_error *e)
{
	for (uint32_t n = 0; n < dp->room; n++)
		if (bpf_map_lookup_elem(dp->maps[DP_PEERS], &n, &entries[n]))
			return tg_error(e, -errno, "cannot read map peers of %s: %s", dp->tunnel,
					strerror(errno));
	return 0;
}

/* An entry with the number that it has, or with the peer's index. */
struct place {
	struct tg_peer_entry entry;
	unsigned where;
};

static int by_entry(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return memcmp(&x->entry, &y->entry, sizeof(x->entry));
}

/* The taken entries in order; free the array. NULL = out of memory. */
static struct place *sort_entries(const struct tg_peer_entry *entries, size_t count, size_t *ret_taken)
{
	struct place *places = calloc(count + 1, sizeof(*places));

	*ret_taken = 0;
	for (size_t n = 0; places && n < count; n++)
		if (!roster_is_free(&entries[n]))
			places[(*ret_taken)++] = (struct place){ .entry = entries[n], .where = (unsigned)n };
	if (places)
		qsort(places, *ret_taken, sizeof(*places), by_entry);
	return places;
}

static const struct place *find_entry(const struct place *places, size_t count,
				      const struct tg_peer_entry *entry)
{
	struct place key = { .entry = *entry };

	return bsearch(&key, places, count, sizeof(*places), by_entry);
}

/* Those who are there keep their numbers. */
static void keep_numbers(struct roster *r, const struct tg_tunnel *tunnel, const struct place *places,
			 size_t taken)
{
	for (size_t i = 0; i < session_count(tunnel); i++) {
		struct tg_peer_entry entry = entry_of(tunnel, i);
		const struct place *place = find_entry(places, taken, &entry);

		if (!place)
			continue;
		r->numbers[i] = place->where;
		r->member[place->where] = true;
	}
	for (size_t n = 0; n < r->room; n++)
		r->gone[n] = !r->member[n] && !roster_is_free(&r->entries[n]);
}

static int give_numbers(struct roster *r, const struct tg_tunnel *tunnel, struct tg_error *e)
{
	size_t n = 0;

	for (size_t i = 0; i < session_count(tunnel); i++) {
		struct tg_peer_entry entry = entry_of(tunnel, i);

		if (r->member[r->numbers[i]] && !memcmp(&r->entries[r->numbers[i]], &entry, sizeof(entry)))
			continue;
		/* without a list of peers every packet is number 0's */
		if (!tunnel->peer_count)
			r->gone[0] = false;
		while (n < r->room && (r->member[n] || r->gone[n]))
			n++;
		if (n == r->room)
			return tg_error(e, -ENOSPC, "%zu numbers for peers, expected room for more", r->room);
		r->numbers[i] = (unsigned)n;
		r->entries[n] = entry;
		r->member[n] = true;
	}
	return 0;
}

int roster_make(const struct dataplane *dp, const struct tg_tunnel *tunnel, struct roster *ret_roster,
		struct tg_error *e)
{
	struct roster r = { .room = dp->room };
	struct place *places = NULL;
	size_t taken;
	int ret = -ENOMEM;

	r.entries = calloc(r.room + 1, sizeof(*r.entries));
	r.member = calloc(r.room + 1, sizeof(*r.member));
	r.gone = calloc(r.room + 1, sizeof(*r.gone));
	r.numbers = calloc(tunnel->peer_count + 1, sizeof(*r.numbers));
	if (r.entries && r.member && r.gone && r.numbers)
		ret = roster_read(dp, r.entries, e);
	if (!ret) {
		places = sort_entries(r.entries, r.room, &taken);
		ret = places ? 0 : -ENOMEM;
	}
	if (!ret) {
		keep_numbers(&r, tunnel, places, taken);
		ret = give_numbers(&r, tunnel, e);
	}
	free(places);
	if (ret) {
		roster_free(&r);
		return ret == -ENOMEM ? tg_error(e, ret, "out of memory") : ret;
	}
	*ret_roster = r;
	return 0;
}

void roster_free(struct roster *roster)
{
	free(roster->entries);
	free(roster->member);
	free(roster->gone);
	free(roster->numbers);
	memset(roster, 0, sizeof(*roster));
}

static int put_entry(const struct dataplane *dp, uint32_t n, const struct tg_peer_entry *entry,
		     struct tg_error *e)
{
	if (bpf_map_update_elem(dp->maps[DP_PEERS], &n, entry, BPF_ANY))
		return tg_error(e, -errno, "cannot write map peers of %s: %s", dp->tunnel, strerror(errno));
	return 0;
}

int roster_put(const struct dataplane *dp, const struct roster *roster, struct tg_error *e)
{
	int ret = 0;

	for (uint32_t n = 0; n < roster->room && !ret; n++)
		if (roster->member[n])
			ret = put_entry(dp, n, &roster->entries[n], e);
	return ret;
}

int roster_clear_gone(const struct dataplane *dp, const struct roster *roster, struct tg_error *e)
{
	static const struct tg_peer_entry none;
	int ret = 0;

	for (uint32_t n = 0; n < roster->room && !ret; n++)
		if (roster->gone[n])
			ret = put_entry(dp, n, &none, e);
	return ret;
}

bool roster_find(const struct dataplane *dp, uint64_t generation, const struct tg_flow_key *key,
		 unsigned *ret_number)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	uint16_t slot = (uint16_t)(generation & 1);
	struct tg_lpm4_key key4 = { .prefixlen = 64, .slot = slot, .side = TG_LPM_ALLOWED };
	struct tg_lpm6_key key6 = { .prefixlen = 160, .slot = slot, .side = TG_LPM_ALLOWED };
	struct tg_rule_set set;
	int ret;

	memcpy(key4.addr, key->daddr + sizeof(mapped), sizeof(key4.addr));
	memcpy(key6.addr, key->daddr, sizeof(key6.addr));
	if (!memcmp(key->daddr, mapped, sizeof(mapped)))
		ret = bpf_map_lookup_elem(dp->maps[DP_RULES4], &key4, &set);
	else
		ret = bpf_map_lookup_elem(dp->maps[DP_RULES6], &key6, &set);
	if (ret || !set.rules || set.rules > dp->room)
		return false;
	*ret_number = (unsigned)set.rules - 1;
	return true;
}

int roster_taken(const struct dataplane *dp, bool **ret_taken, struct tg_error *e)
{
	struct tg_peer_entry *entries = calloc(dp->room, sizeof(*entries));
	bool *taken = calloc(dp->room, sizeof(*taken));
	int ret = -ENOMEM;

	if (entries && taken)
		ret = roster_read(dp, entries, e);
	else
		tg_error(e, ret, "out of memory");
	for (uint32_t n = 0; n < dp->room && !ret; n++)
		taken[n] = !roster_is_free(&entries[n]);
	free(entries);
	if (ret) {
		free(taken);
		return ret;
	}
	*ret_taken = taken;
	return 0;
}

size_t roster_need(const struct dataplane *dp, const struct tg_tunnel *tunnel)
{
	size_t need = session_count(tunnel), taken = 0, total = need;
	struct tg_peer_entry *entries = dp ? calloc(dp->room + 1, sizeof(*entries)) : NULL;
	struct place *places = NULL;

	if (entries && !roster_read(dp, entries, NULL))
		places = sort_entries(entries, dp->room, &taken);
	for (size_t i = 0; places && i < need; i++) {
		struct tg_peer_entry entry = entry_of(tunnel, i);

		total -= !!find_entry(places, taken, &entry);
	}
	free(entries);
	free(places);
	/* without a list of peers there is number 0 alone */
	return tunnel->peer_count ? total + taken : need;
}

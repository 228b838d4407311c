/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "instance/health.h"
#include "supervise/loops.h"
#include "tensorguard/bytes.h"
#include "tensorguard/file.h"

#define FIRST_LINE "tensorguard health 1"

bool health_peer_is_silent(const struct wg_peer_status *peer, const struct health_peer *before, int64_t now_s)
{
	/* one in the future is a clock that was set */
	if (peer->last_handshake_s && now_s - peer->last_handshake_s < HEALTH_SILENT_S)
		return false;
	if (!before)
		return false;
	return before->silent || peer->tx_bytes > before->tx_bytes;
}

void health_free(struct health *health)
{
	free(health->peers);
	*health = (struct health){ 0 };
}

static int path_of(const char *run_dir, char ret_path[static PATH_MAX], struct tg_error *e)
{
	if (snprintf(ret_path, PATH_MAX, "%s/" HEALTH_FILE, run_dir) >= PATH_MAX)
		return tg_error(e, -ENAMETOOLONG, "%.100s...: the path is too long", run_dir);
	return 0;
}

/* ---- reading ---- */

static int parse_peer(const char *line, struct health_peer *ret_peer)
{
	int silent, end = 0;

	if (sscanf(line, "peer %8s %u tx %" SCNu64 " silent %d%n", ret_peer->tunnel, &ret_peer->number,
		   &ret_peer->tx_bytes, &silent, &end) != 4 ||
	    line[end] || (silent != 0 && silent != 1))
		return -EBADMSG;
	ret_peer->silent = silent;
	return 0;
}
_Static_assert(TG_TUNNEL_NAME_LEN == 8 + 1, "the width in parse_peer()");

static int parse_run(const char *line, struct health *h)
{
	int end = 0;

	if (sscanf(line, "run %" SCNu64 " found %" SCNu64 " left %" SCNu64 " error %d%n", &h->number,
		   &h->found, &h->left, &h->error, &end) != 4 ||
	    line[end] || !h->number || h->error < 0)
		return -EBADMSG;
	return 0;
}

static int parse(char *text, struct health *ret_health)
{
	struct health h = { .peers = calloc(HEALTH_PEERS_MAX, sizeof(*h.peers)) };
	char *state, *line = strtok_r(text, "\n", &state);
	int ret = h.peers ? 0 : -ENOMEM;

	if (!ret && (!line || strcmp(line, FIRST_LINE)))
		ret = -EBADMSG;
	if (!ret) {
		line = strtok_r(NULL, "\n", &state);
		ret = line ? parse_run(line, &h) : -EBADMSG;
	}
	while (!ret && (line = strtok_r(NULL, "\n", &state))) {
		ret = h.peer_count < HEALTH_PEERS_MAX ? parse_peer(line, &h.peers[h.peer_count]) : -EBADMSG;
		h.peer_count += !ret;
	}
	if (ret)
		health_free(&h);
	else
		*ret_health = h;
	return ret;
}

int health_load(const char *run_dir, struct health *ret_health, struct tg_error *e)
{
	struct tg_bytes text = { 0 };
	char path[PATH_MAX], *copy;
	int ret = path_of(run_dir, path, e);

	if (!ret)
		ret = tg_file_read(path, HEALTH_FILE_MAX, &text, e);
	if (ret)
		return ret;
	copy = strndup((const char *)text.data, text.len);
	ret = copy ? parse(copy, ret_health) : -ENOMEM;
	free(copy);
	tg_bytes_free(&text);
	return ret ? tg_error(e, ret, "%s: %s", path,
			      ret == -ENOMEM ? "out of memory" : "not as it was written")
		   : 0;
}

/* ---- writing ---- */

int health_save(const char *run_dir, const struct health *h, struct tg_error *e)
{
	char path[PATH_MAX], *text = NULL;
	size_t size = 0;
	FILE *f;
	int ret = path_of(run_dir, path, e);

	if (ret)
		return ret;
	f = open_memstream(&text, &size);
	if (!f)
		return tg_error(e, -ENOMEM, "out of memory");
	fprintf(f, FIRST_LINE "\nrun %" PRIu64 " found %" PRIu64 " left %" PRIu64 " error %d\n", h->number,
		h->found, h->left, h->error);
	for (size_t i = 0; i < h->peer_count; i++)
		fprintf(f, "peer %s %u tx %" PRIu64 " silent %d\n", h->peers[i].tunnel, h->peers[i].number,
			h->peers[i].tx_bytes, h->peers[i].silent);
	ret = fclose(f) ? tg_error(e, -ENOMEM, "out of memory") : 0;
	if (!ret)
		ret = tg_file_replace(path, text, size, 0600, e);
	free(text);
	return ret;
}

/* ---- making ---- */

static const struct health_peer *find(const struct health *h, const char *tunnel, unsigned number)
{
	for (size_t i = 0; i < h->peer_count; i++)
		if (h->peers[i].number == number && !strcmp(h->peers[i].tunnel, tunnel))
			return &h->peers[i];
	return NULL;
}

/* WireGuard has them in an order of its own; who they are is what their keys say. */
static bool number_of(const struct tg_tunnel *tunnel, const uint8_t *key, unsigned *ret_number)
{
	for (size_t i = 0; i < tunnel->peer_count; i++)
		if (!memcmp(tunnel->peers[i].public_key, key, TG_KEY_LEN)) {
			*ret_number = (unsigned)i;
			return true;
		}
	return false;
}

static void add_peers(struct health *h, const struct health *before, const struct tg_tunnel *tunnel,
		      const struct tunnel_report *t)
{
	for (size_t i = 0; t->has_wireguard && i < t->wireguard.peer_count; i++) {
		const struct wg_peer_status *peer = &t->wireguard.peers[i];
		struct health_peer *p = &h->peers[h->peer_count];

		if (h->peer_count == HEALTH_PEERS_MAX)
			return;
		if (!number_of(tunnel, peer->public_key, &p->number))
			continue;
		snprintf(p->tunnel, sizeof(p->tunnel), "%s", tunnel->name);
		p->tx_bytes = peer->tx_bytes;
		p->silent = health_peer_is_silent(peer, find(before, tunnel->name, p->number), time(NULL));
		h->peer_count++;
	}
}

int health_make(const struct health *before, const struct tg_policy *policy, size_t found, int error,
		const struct report *after, struct health *ret_health)
{
	struct health h = { .number = before->number + 1,
			    .found = found,
			    .left = after->problem_count - after->behaviour_count,
			    .error = error,
			    .peers = calloc(HEALTH_PEERS_MAX, sizeof(*h.peers)) };

	if (!h.peers)
		return -ENOMEM;
	for (size_t i = 0; i < policy->tunnel_count && i < after->tunnel_count; i++)
		add_peers(&h, before, &policy->tunnels[i], &after->tunnels[i]);
	*ret_health = h;
	return 0;
}

/* ---- for whoever looks ---- */

static void add_word(struct degraded *d, bool serious, const char *what, const char *name)
{
	if (d->count == DEGRADED_MAX)
		return;
	snprintf(d->words[d->count++], DEGRADED_LEN, "%s%s", what, name);
	d->serious += serious;
}

static void add_loops(const char *run_dir, struct degraded *d)
{
	char path[PATH_MAX], line[DEGRADED_LEN / 2];
	FILE *f;

	snprintf(path, sizeof(path), "%s/" LOOPS_FILE, run_dir);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		add_word(d, true, "process-loops:", line);
	}
	if (f)
		fclose(f);
}

void degraded_read(const char *run_dir, struct degraded *ret_degraded)
{
	struct degraded d = { .count = 0 };
	struct health h = { 0 };
	bool silent = false;

	add_loops(run_dir, &d);
	if (!health_load(run_dir, &h, NULL)) {
		if (h.left || h.error)
			add_word(&d, true, "data-plane-broken", "");
		for (size_t i = 0; i < h.peer_count; i++)
			silent |= h.peers[i].silent;
		if (silent)
			add_word(&d, false, "peer-silent", "");
		health_free(&h);
	}
	*ret_degraded = d;
}

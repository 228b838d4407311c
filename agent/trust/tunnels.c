/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tensorguard/file.h"
#include "trust/tunnels.h"

void trust_tunnels_free(struct trust_tunnels *t)
{
	keys_book_free(&t->book);
	free(t->wanted);
	free(t->written);
	*t = (struct trust_tunnels){ .next = 0 };
}

/* ---- what keys says ---- */

static bool path_of(const char *run_dir, char ret_path[static PATH_MAX])
{
	return run_dir && snprintf(ret_path, PATH_MAX, "%s/" KEYS_FILE, run_dir) < PATH_MAX;
}

static bool look(const char *run_dir, struct timespec *ret_mark)
{
	char path[PATH_MAX];
	struct stat st;

	if (!path_of(run_dir, path) || stat(path, &st))
		return false;
	*ret_mark = st.st_ctim;
	return true;
}

bool trust_tunnels_is_news(const struct trust_tunnels *t, const char *run_dir)
{
	struct timespec mark;

	return look(run_dir, &mark) && (mark.tv_sec != t->mark.tv_sec || mark.tv_nsec != t->mark.tv_nsec);
}

static void take_wanted(struct trust_tunnels *t, const json_t *peers, const char *tunnel, size_t room)
{
	const json_t *peer;
	size_t i;

	json_array_foreach(peers, i, peer)
	{
		const char *agent = json_string_value(json_object_get(peer, "agent"));

		if (!agent || strlen(agent) >= TG_ID_LEN || t->wanted_count == room)
			continue;
		strcpy(t->wanted[t->wanted_count].agent, agent);
		strcpy(t->wanted[t->wanted_count++].tunnel, tunnel);
	}
}

static size_t count_peers(const json_t *tunnels)
{
	const json_t *tunnel;
	size_t i, count = 0;

	json_array_foreach(tunnels, i, tunnel) count += json_array_size(json_object_get(tunnel, "peers"));
	return count;
}

/* A tunnel without a key yet has nothing to publish, and its peers are asked for all the same. */
static int take_tunnels(struct trust_tunnels *t, const json_t *tunnels, struct tg_keys_request *request)
{
	size_t i, room = count_peers(tunnels);
	const json_t *object;

	free(t->wanted);
	t->wanted_count = 0;
	t->wanted = calloc(room + 1, sizeof(*t->wanted));
	if (!t->wanted)
		return -ENOMEM;
	json_array_foreach(tunnels, i, object)
	{
		const char *name = json_string_value(json_object_get(object, "tunnel"));
		struct tg_tunnel_keys *keys = &request->tunnels[request->tunnel_count];

		if (!name || strlen(name) >= sizeof(keys->tunnel) || request->tunnel_count == TG_MAX_TUNNELS)
			continue;
		take_wanted(t, json_object_get(object, "peers"), name, room);
		strcpy(keys->tunnel, name);
		if (json_object_get(object, "current") && keys_take(object, keys))
			request->tunnel_count++;
	}
	return 0;
}

static void ask_for(struct trust_tunnels *t, struct tg_keys_request *request)
{
	if (t->next >= t->wanted_count)
		t->next = 0;
	while (t->next < t->wanted_count && request->peer_count < TG_KEYS_PEERS_MAX)
		request->peers[request->peer_count++] = t->wanted[t->next++];
}

bool trust_tunnels_add(struct trust_tunnels *t, const char *run_dir, struct tg_keys_request *ret_request)
{
	struct tg_keys_request request = { .tunnel_count = 0 };
	struct tg_bytes text = { 0 };
	char path[PATH_MAX];
	json_t *root;
	int ret;

	/* before it is read: what comes in between is sent again */
	if (!look(run_dir, &t->mark) || !path_of(run_dir, path) ||
	    tg_file_read(path, KEYS_FILE_MAX, &text, NULL))
		return false;
	root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	tg_bytes_free(&text);
	ret = take_tunnels(t, json_object_get(root, "tunnels"), &request);
	json_decref(root);
	if (ret || tg_keys_request_check(&request, NULL))
		return false;
	ask_for(t, &request);
	*ret_request = request;
	/* that there is none any more is said once */
	return request.tunnel_count || request.peer_count || t->book.stored_count;
}

/* ---- what the Platform says ---- */

static bool is_same(const struct tg_peer_keys *known, const struct tg_keys_wanted *wanted)
{
	return !strcmp(known->agent, wanted->agent) && !strcmp(known->keys.tunnel, wanted->tunnel);
}

static bool is_in(const struct tg_peer_keys *known, const struct tg_keys_wanted *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_same(known, &list[i]))
			return true;
	return false;
}

/* Those that were not asked for this time, and are wanted still, stay; the others are what the answer says.
 */
static int merge(struct trust_tunnels *t, const struct tg_keys_request *asked,
		 const struct tg_keys_answer *answer)
{
	struct tg_peer_keys *peers = calloc(t->book.peer_count + answer->peer_count + 1, sizeof(*peers));
	size_t count = 0;

	if (!peers)
		return -ENOMEM;
	for (size_t i = 0; i < t->book.peer_count; i++)
		if (!is_in(&t->book.peers[i], asked->peers, asked->peer_count) &&
		    is_in(&t->book.peers[i], t->wanted, t->wanted_count))
			peers[count++] = t->book.peers[i];
	for (size_t i = 0; i < answer->peer_count; i++)
		if (is_in(&answer->peers[i], asked->peers, asked->peer_count))
			peers[count++] = answer->peers[i];
	free(t->book.peers);
	t->book.peers = peers;
	t->book.peer_count = count;
	return 0;
}

static void take_stored(struct trust_tunnels *t, const struct tg_keys_request *asked,
			const struct tg_keys_answer *answer)
{
	memcpy(t->book.refused, answer->refused, sizeof(t->book.refused));
	t->book.stored_count = answer->refused[0] ? 0 : asked->tunnel_count;
	memcpy(t->book.stored, asked->tunnels, sizeof(t->book.stored));
}

static int write_book(struct trust_tunnels *t, const char *directory, struct tg_error *e)
{
	char folder[PATH_MAX], path[PATH_MAX + sizeof(KEYS_PEERS_FILE) + 1];
	char *text = keys_book_encode(&t->book);
	int ret = 0;

	if (!text)
		return tg_error(e, -ENOMEM, "out of memory");
	if (t->written && !strcmp(text, t->written)) {
		free(text);
		return 0;
	}
	if (snprintf(folder, sizeof(folder), "%s/" KEYS_PEERS_FOLDER, directory) >= (int)sizeof(folder))
		ret = tg_error(e, -ENAMETOOLONG, "%.100s...: the path is too long", directory);
	if (!ret && mkdir(folder, 0700) && errno != EEXIST)
		ret = tg_error(e, -errno, "%s: %s", folder, strerror(errno));
	snprintf(path, sizeof(path), "%s/" KEYS_PEERS_FILE, folder);
	if (!ret)
		ret = tg_file_replace(path, text, strlen(text), 0600, e);
	if (ret) {
		free(text);
		return ret;
	}
	free(t->written);
	t->written = text;
	return 0;
}

int trust_tunnels_take(struct trust_tunnels *t, const char *directory, const struct tg_keys_request *asked,
		       const struct tg_keys_answer *answer, bool *ret_more, struct tg_error *e)
{
	if (merge(t, asked, answer))
		return tg_error(e, -ENOMEM, "out of memory");
	take_stored(t, asked, answer);
	*ret_more = t->next < t->wanted_count;
	t->round |= !*ret_more;
	/* who was not asked for yet would be taken for one without a key */
	return t->round ? write_book(t, directory, e) : 0;
}

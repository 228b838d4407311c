/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys/state.h"
#include "net/net.h"
#include "tensorguard/base64.h"
#include "tensorguard/file.h"
#include "tensorguard/x25519.h"

enum { STATE_MAX = 4 << 20, STATE_FORMAT = 1 };

static int path_of(const struct tg_tunnel *tunnel, const char *suffix, char ret_path[static PATH_MAX],
		   struct tg_error *e)
{
	if (snprintf(ret_path, PATH_MAX, "%s%s", tunnel->key_file, suffix) >= PATH_MAX)
		return tg_error(e, -ENAMETOOLONG, "key file %.100s...: the path is too long",
				tunnel->key_file);
	return 0;
}

/* ---- the state ---- */

void keys_state_free(struct keys_state *state)
{
	free(state->peers);
	*state = (struct keys_state){ .epoch = 0 };
}

static int make_peers(const struct tg_tunnel *tunnel, struct keys_state *state, struct tg_error *e)
{
	state->peers = calloc(tunnel->peer_count + 1, sizeof(*state->peers));
	if (!state->peers)
		return tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < tunnel->peer_count; i++)
		if (tunnel->peers[i].agent[0])
			memcpy(state->peers[state->count++].agent, tunnel->peers[i].agent, TG_AGENT_NAME_LEN);
	return 0;
}

static bool take_key(const json_t *object, const char *name, uint8_t *ret_key)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text && !tg_key_from_base64(text, ret_key);
}

static void take_peer(struct keys_peer *peer, const json_t *object)
{
	peer->has_known = take_key(object, "current", peer->known.current);
	peer->known.has_next = take_key(object, "next", peer->known.next);
	peer->has_active = take_key(object, "active", peer->active);
}

/* Root's own file: what is not as it was written is not there, and comes again from the Platform. */
static int parse(const struct tg_bytes *text, struct keys_state *state)
{
	json_t *root = json_loadb((const char *)text->data, text->len, JSON_REJECT_DUPLICATES, NULL), *peers;
	json_int_t epoch, made;
	int format, ret = 0;

	if (json_unpack(root, "{s:i, s:I, s:I, s:o !}", "format", &format, "epoch", &epoch, "made", &made,
			"peers", &peers) ||
	    format != STATE_FORMAT || epoch < 0 || !json_is_object(peers))
		ret = -EBADMSG;
	for (size_t i = 0; !ret && i < state->count; i++)
		take_peer(&state->peers[i], json_object_get(peers, state->peers[i].agent));
	if (!ret) {
		state->epoch = (uint64_t)epoch;
		state->made = made;
	}
	json_decref(root);
	return ret;
}

int keys_state_load(const struct tg_tunnel *tunnel, struct keys_state *ret_state, struct tg_error *e)
{
	struct keys_state state = { .epoch = 0 };
	struct tg_bytes text = { 0 };
	char path[PATH_MAX];
	int ret = path_of(tunnel, ".json", path, e);

	if (!ret)
		ret = make_peers(tunnel, &state, e);
	if (ret)
		return ret;
	ret = tg_file_read(path, STATE_MAX, &text, e);
	if (!ret && parse(&text, &state))
		ret = tg_error(e, -EBADMSG, "%s: not as it was written", path);
	tg_bytes_free(&text);
	if (ret && ret != -ENOENT) {
		keys_state_free(&state);
		return ret;
	}
	*ret_state = state;
	return 0;
}

static void put_key(json_t *object, const char *name, bool has, const uint8_t *key)
{
	char text[TG_KEY_TEXT_LEN + 1];

	if (!has)
		return;
	tg_key_to_base64(key, text);
	json_object_set_new(object, name, json_string(text));
}

static char *encode(const struct keys_state *state)
{
	json_t *peers = json_object(), *root;
	char *text;

	for (size_t i = 0; i < state->count; i++) {
		const struct keys_peer *peer = &state->peers[i];
		json_t *object = json_object();

		put_key(object, "current", peer->has_known, peer->known.current);
		put_key(object, "next", peer->has_known && peer->known.has_next, peer->known.next);
		put_key(object, "active", peer->has_active, peer->active);
		json_object_set_new(peers, peer->agent, object);
	}
	root = json_pack("{s:i, s:I, s:I, s:o}", "format", STATE_FORMAT, "epoch", (json_int_t)state->epoch,
			 "made", (json_int_t)state->made, "peers", peers);
	text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	json_decref(root);
	return text;
}

int keys_state_save(const struct tg_tunnel *tunnel, const struct keys_state *state, struct tg_error *e)
{
	char path[PATH_MAX], *text;
	int ret = path_of(tunnel, ".json", path, e);

	if (ret)
		return ret;
	text = encode(state);
	ret = text ? tg_file_replace(path, text, strlen(text), 0600, e)
		   : tg_error(e, -ENOMEM, "out of memory");
	free(text);
	return ret;
}

/* ---- for whoever configures the device ---- */

void keys_folder(const struct tg_tunnel *tunnel, char ret_folder[static PATH_MAX])
{
	char *slash;

	snprintf(ret_folder, PATH_MAX, "%s", tunnel->key_file);
	slash = strrchr(ret_folder, '/');
	if (slash)
		slash[slash == ret_folder] = '\0';
	else
		strcpy(ret_folder, ".");
}

int keys_resolve(const struct tg_tunnel *tunnel, struct tg_tunnel *ret_resolved, struct tg_error *e)
{
	struct tg_tunnel resolved = *tunnel;
	struct keys_state state;
	size_t agent = 0;
	int ret;

	if (!tg_tunnel_has_agents(tunnel)) {
		*ret_resolved = resolved;
		return 0;
	}
	ret = keys_state_load(tunnel, &state, e);
	if (ret)
		return ret;
	resolved.peers = calloc(tunnel->peer_count, sizeof(*resolved.peers));
	resolved.peer_count = 0;
	for (size_t i = 0; resolved.peers && i < tunnel->peer_count; i++) {
		const struct keys_peer *known = tunnel->peers[i].agent[0] ? &state.peers[agent++] : NULL;

		if (known && !known->has_active)
			continue;
		resolved.peers[resolved.peer_count] = tunnel->peers[i];
		if (known)
			memcpy(resolved.peers[resolved.peer_count].public_key, known->active, TG_KEY_LEN);
		resolved.peer_count++;
	}
	keys_state_free(&state);
	if (!resolved.peers)
		return tg_error(e, -ENOMEM, "out of memory");
	*ret_resolved = resolved;
	return 0;
}

void keys_resolved_free(const struct tg_tunnel *tunnel, struct tg_tunnel *resolved)
{
	if (resolved->peers != tunnel->peers)
		free(resolved->peers);
}

int keys_ensure(const struct tg_tunnel *tunnel, struct tg_error *e)
{
	char folder[PATH_MAX];

	if (!tg_tunnel_has_agents(tunnel) || !access(tunnel->key_file, F_OK) || errno != ENOENT)
		return 0;
	keys_folder(tunnel, folder);
	if (mkdir(folder, 0700) && errno != EEXIST)
		return tg_error(e, -errno, "%s: %s", folder, strerror(errno));
	return keys_make(tunnel, KEYS_CURRENT, e);
}

/* ---- key files ---- */

static const char *suffix_of(enum keys_which which)
{
	return which == KEYS_NEXT ? ".next" : "";
}

int keys_read(const struct tg_tunnel *tunnel, enum keys_which which, uint8_t ret_private[static TG_KEY_LEN],
	      struct tg_error *e)
{
	char path[PATH_MAX];
	int ret = path_of(tunnel, suffix_of(which), path, e);

	return ret ? ret : wg_key_file_read(path, ret_private, e);
}

int keys_read_public(const struct tg_tunnel *tunnel, enum keys_which which,
		     uint8_t ret_public[static TG_KEY_LEN], struct tg_error *e)
{
	uint8_t private_key[TG_KEY_LEN];
	int ret = keys_read(tunnel, which, private_key, e);

	if (!ret)
		ret = tg_x25519_public(private_key, ret_public, e);
	explicit_bzero(private_key, sizeof(private_key));
	return ret;
}

/* Whatever has the name of the file after this, its bytes are gone from the file that had it before. */
static int open_old(const char *path)
{
	return open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
}

static int wipe(int fd, struct tg_error *e)
{
	static const char zeros[TG_KEY_TEXT_LEN + 1];
	int ret = 0;

	if (fd < 0)
		return 0;
	if (pwrite(fd, zeros, sizeof(zeros), 0) != sizeof(zeros) || fsync(fd))
		ret = tg_error(e, -EIO, "an old key could not be overwritten: %s", strerror(errno));
	close(fd);
	return ret;
}

int keys_make(const struct tg_tunnel *tunnel, enum keys_which which, struct tg_error *e)
{
	uint8_t private_key[TG_KEY_LEN];
	char path[PATH_MAX], text[TG_KEY_TEXT_LEN + 2];
	int fd, ret = path_of(tunnel, suffix_of(which), path, e);

	if (!ret)
		ret = tg_x25519_generate(private_key, e);
	if (ret)
		return ret;
	tg_key_to_base64(private_key, text);
	explicit_bzero(private_key, sizeof(private_key));
	text[TG_KEY_TEXT_LEN] = '\n';
	fd = open_old(path);
	ret = tg_file_replace(path, text, TG_KEY_TEXT_LEN + 1, 0600, e);
	explicit_bzero(text, sizeof(text));
	if (!ret)
		return wipe(fd, e);
	if (fd >= 0)
		close(fd);
	return ret;
}

int keys_promote(const struct tg_tunnel *tunnel, struct tg_error *e)
{
	char next[PATH_MAX], folder[PATH_MAX];
	int fd, ret = path_of(tunnel, ".next", next, e);

	if (ret)
		return ret;
	fd = open_old(tunnel->key_file);
	if (rename(next, tunnel->key_file)) {
		ret = tg_error(e, -errno, "%s: %s", next, strerror(errno));
		if (fd >= 0)
			close(fd);
		return ret;
	}
	keys_folder(tunnel, folder);
	ret = tg_folder_sync(folder, e);
	if (ret) {
		if (fd >= 0)
			close(fd);
		return ret;
	}
	return wipe(fd, e);
}

/* ---- the mark ---- */

int keys_unmark(const struct tg_tunnel *tunnel, struct tg_error *e)
{
	char path[PATH_MAX];
	int ret = path_of(tunnel, ".switching", path, e);

	if (ret)
		return ret;
	return unlink(path) && errno != ENOENT ? tg_error(e, -errno, "%s: %s", path, strerror(errno)) : 0;
}

static char *encode_mark(const struct keys_state *state)
{
	json_t *peers = json_object();
	char *text;

	for (size_t i = 0; i < state->count; i++)
		if (state->peers[i].awaited)
			json_object_set_new(peers, state->peers[i].agent,
					    json_integer((json_int_t)state->peers[i].before));
	text = json_dumps(peers, JSON_COMPACT);
	json_decref(peers);
	return text;
}

/* Not by way of the disk: it is of use as long as the device is. */
static int write_new(const char *path, const char *text, struct tg_error *e)
{
	size_t len = strlen(text);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), ret = 0;

	if (fd < 0)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	errno = ENOSPC;
	if (write(fd, text, len) != (ssize_t)len)
		ret = tg_error(e, -errno, "%s: %s", path, strerror(errno));
	close(fd);
	if (ret)
		unlink(path);
	return ret;
}

int keys_mark(const struct tg_tunnel *tunnel, const struct keys_state *state, struct tg_error *e)
{
	char path[PATH_MAX], *text;
	int ret = path_of(tunnel, ".switching", path, e);

	if (!ret)
		ret = keys_unmark(tunnel, e);
	if (ret)
		return ret;
	text = encode_mark(state);
	ret = text ? write_new(path, text, e) : tg_error(e, -ENOMEM, "out of memory");
	free(text);
	return ret;
}

bool keys_is_marked(const struct tg_tunnel *tunnel)
{
	char path[PATH_MAX];
	struct stat st;

	return !path_of(tunnel, ".switching", path, NULL) && !lstat(path, &st);
}

int keys_mark_load(const struct tg_tunnel *tunnel, struct keys_state *state, struct tg_error *e)
{
	struct tg_bytes text = { 0 };
	char path[PATH_MAX];
	json_t *root;
	int ret = path_of(tunnel, ".switching", path, e);

	if (!ret)
		ret = tg_file_read(path, STATE_MAX, &text, e);
	if (ret)
		return ret;
	root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	tg_bytes_free(&text);
	for (size_t i = 0; i < state->count; i++) {
		const json_t *before = json_object_get(root, state->peers[i].agent);

		state->peers[i].awaited = json_is_integer(before);
		state->peers[i].before = (int64_t)json_integer_value(before);
	}
	ret = json_is_object(root) ? 0 : tg_error(e, -EBADMSG, "%s: not as it was written", path);
	json_decref(root);
	return ret;
}

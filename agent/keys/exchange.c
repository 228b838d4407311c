/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/untrusted.h"
#include "keys/exchange.h"
#include "tensorguard/base64.h"
#include "tensorguard/file.h"

void keys_book_free(struct keys_book *book)
{
	free(book->peers);
	*book = (struct keys_book){ .peers = NULL };
}

const struct tg_tunnel_keys *keys_book_find(const struct keys_book *book, const char *agent,
					    const char *tunnel)
{
	for (size_t i = 0; i < book->peer_count; i++)
		if (!strcmp(book->peers[i].agent, agent) && !strcmp(book->peers[i].keys.tunnel, tunnel))
			return &book->peers[i].keys;
	return NULL;
}

/* ---- writing ---- */

static void put_key(json_t *object, const char *name, const uint8_t *key)
{
	char text[TG_KEY_TEXT_LEN + 1];

	tg_key_to_base64(key, text);
	json_object_set_new(object, name, json_string(text));
}

void keys_put(json_t *object, const struct tg_tunnel_keys *keys)
{
	put_key(object, "current", keys->current);
	if (keys->has_next)
		put_key(object, "next", keys->next);
}

char *keys_book_encode(const struct keys_book *book)
{
	json_t *stored = json_array(), *peers = json_array(), *object, *root;
	char *text;

	for (size_t i = 0; i < book->stored_count; i++) {
		object = json_pack("{s:s}", "tunnel", book->stored[i].tunnel);
		keys_put(object, &book->stored[i]);
		json_array_append_new(stored, object);
	}
	for (size_t i = 0; i < book->peer_count; i++) {
		object = json_pack("{s:s, s:s}", "agent", book->peers[i].agent, "tunnel",
				   book->peers[i].keys.tunnel);
		keys_put(object, &book->peers[i].keys);
		json_array_append_new(peers, object);
	}
	root = json_pack("{s:i, s:s, s:o, s:o}", "format", KEYS_FORMAT, "refused", book->refused, "stored",
			 stored, "peers", peers);
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	return text;
}

/* ---- reading ---- */

static bool take_key(const json_t *value, uint8_t *ret_key)
{
	const char *text = json_string_value(value);

	return text && !tg_key_from_base64(text, ret_key);
}

bool keys_take(const json_t *object, struct tg_tunnel_keys *ret_keys)
{
	const json_t *next = json_object_get(object, "next");

	ret_keys->has_next = next != NULL;
	return take_key(json_object_get(object, "current"), ret_keys->current) &&
	       (!next || take_key(next, ret_keys->next));
}

static bool take_name(const json_t *object, const char *key, char *ret_name, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (!text || !*text || strlen(text) >= size)
		return false;
	strcpy(ret_name, text);
	return true;
}

static bool take_tunnel(const json_t *object, struct tg_tunnel_keys *ret_keys)
{
	return take_name(object, "tunnel", ret_keys->tunnel, sizeof(ret_keys->tunnel)) &&
	       keys_take(object, ret_keys);
}

static bool take_lists(const json_t *stored, const json_t *peers, struct keys_book *book)
{
	size_t count = json_array_size(peers);

	if (!json_is_array(stored) || json_array_size(stored) > TG_MAX_TUNNELS || !json_is_array(peers) ||
	    count > (size_t)TG_MAX_PEERS * TG_MAX_TUNNELS)
		return false;
	for (; book->stored_count < json_array_size(stored); book->stored_count++)
		if (!take_tunnel(json_array_get(stored, book->stored_count),
				 &book->stored[book->stored_count]))
			return false;
	book->peers = calloc(count + 1, sizeof(*book->peers));
	for (; book->peers && book->peer_count < count; book->peer_count++) {
		const json_t *object = json_array_get(peers, book->peer_count);
		struct tg_peer_keys *peer = &book->peers[book->peer_count];

		if (!take_name(object, "agent", peer->agent, sizeof(peer->agent)) ||
		    !take_tunnel(object, &peer->keys))
			return false;
	}
	return book->peers != NULL;
}

int keys_book_decode(const void *text, size_t len, struct keys_book *ret_book, struct tg_error *e)
{
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL), *stored, *peers;
	struct keys_book book = { .peers = NULL };
	const char *refused;
	int format, ret = 0;

	if (json_unpack(root, "{s:i, s:s, s:o, s:o !}", "format", &format, "refused", &refused, "stored",
			&stored, "peers", &peers) ||
	    format != KEYS_FORMAT || strlen(refused) >= sizeof(book.refused) ||
	    !take_lists(stored, peers, &book))
		ret = tg_error(e, -EBADMSG, "not a list of keys");
	else
		strcpy(book.refused, refused);
	json_decref(root);
	if (ret)
		keys_book_free(&book);
	else
		*ret_book = book;
	return ret;
}

int keys_book_read(const char *state_dir, struct timespec *mark, struct keys_book *ret_book,
		   struct tg_error *e)
{
	struct tg_bytes text = { 0 };
	struct stat st;
	int fd = untrusted_open(state_dir, KEYS_PEERS_FOLDER, KEYS_PEERS_FILE, e), ret;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (fstat(fd, &st)) {
		ret = tg_error(e, -errno, "%s: %s", KEYS_PEERS_FILE, strerror(errno));
		close(fd);
		return ret;
	}
	if (st.st_ctim.tv_sec == mark->tv_sec && st.st_ctim.tv_nsec == mark->tv_nsec) {
		close(fd);
		return 0;
	}
	*mark = st.st_ctim;
	ret = tg_file_read_fd(fd, KEYS_PEERS_FILE, KEYS_FILE_MAX, &text, e);
	close(fd);
	if (!ret)
		ret = keys_book_decode(text.data, text.len, ret_book, e);
	tg_bytes_free(&text);
	return ret ? tg_error_prefix(e, ret, "%s", KEYS_PEERS_FILE) : 1;
}

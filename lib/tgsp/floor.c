/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensorguard/cbor.h"
#include "tensorguard/crypto.h"
#include "tensorguard/floor.h"
#include "tensorguard/file.h"

/*
 * The file: 32 bytes of HMAC-SHA256 over the rest | CBOR array [1, tied to a
 * counter?, the counter's value, [[name, value], ...]], names ascending.
 */
enum { FORMAT = 1, MAX_FILE = 1 << 20 };

struct entry {
	char name[TG_FLOOR_MAX_NAME + 1];
	uint64_t value;
};

struct tg_floor {
	char *path;
	int lock;
	uint8_t key[TG_FLOOR_KEY_LEN];
	const struct tg_floor_counter *counter;
	bool later;		/* nobody has said yet what the counter is */
	bool tied;		/* the file is, to a counter */
	bool behind;		/* the counter may not have followed */
	uint64_t generation;	/* the counter's value that belongs to the file */
	pthread_mutex_t lock_entries; /* of what follows: one thread may raise it while others ask */
	struct entry *entries;
	size_t count;
};

static int mac(const struct tg_floor *floor, const uint8_t *data, size_t len, uint8_t *ret_mac,
	       struct tg_error *e)
{
	return tg_hmac_sha256(floor->key, sizeof(floor->key), &(struct tg_piece){ data, len }, 1, ret_mac, e);
}

static int decode_entry(struct tg_cbor *r, struct entry *entry, const struct entry *before)
{
	const char *name;
	size_t len;
	int ret = tg_cbor_array(r, "entry", &len);

	if (!ret && len != 2)
		ret = -EBADMSG;
	if (!ret)
		ret = tg_cbor_text(r, "name", &name, &len);
	if (!ret && (!len || len > TG_FLOOR_MAX_NAME))
		ret = -EBADMSG;
	if (!ret) {
		memcpy(entry->name, name, len);
		entry->name[len] = '\0';
		ret = tg_cbor_uint(r, "value", &entry->value);
	}
	if (!ret && before && strcmp(before->name, entry->name) >= 0)
		ret = -EBADMSG;
	return ret;
}

static int decode(struct tg_floor *floor, const uint8_t *data, size_t len)
{
	uint64_t format;
	struct tg_cbor r;
	size_t count;
	int ret;

	tg_cbor_init(&r, data, len, NULL);
	ret = tg_cbor_array(&r, "state", &count);
	if (ret || count != 4 || tg_cbor_uint(&r, "format", &format) || format != FORMAT ||
	    tg_cbor_bool(&r, "counter", &floor->tied) || tg_cbor_uint(&r, "generation", &floor->generation) ||
	    tg_cbor_array(&r, "entries", &count) || count > TG_FLOOR_MAX_ENTRIES)
		return -EBADMSG;
	if (!floor->later && floor->tied != (floor->counter != NULL))
		return -ENOTUNIQ;
	floor->entries = calloc(count ? count : 1, sizeof(*floor->entries));
	if (!floor->entries)
		return -ENOMEM;
	for (; !ret && floor->count < count; floor->count++)
		ret = decode_entry(&r, &floor->entries[floor->count],
				   floor->count ? &floor->entries[floor->count - 1] : NULL);
	return ret ? -EBADMSG : tg_cbor_done(&r, "state");
}

static int load(struct tg_floor *floor, const uint8_t *data, size_t len, struct tg_error *e)
{
	uint8_t expected[TG_SHA256_LEN];
	int ret;

	if (len < sizeof(expected))
		return tg_error(e, -EBADMSG, "%s: too short for an anti-rollback state", floor->path);
	ret = mac(floor, data + sizeof(expected), len - sizeof(expected), expected, e);
	if (ret)
		return ret;
	if (!tg_equal(expected, data, sizeof(expected)))
		return tg_error(e, -EBADMSG, "%s: damaged, or written with another key", floor->path);
	ret = decode(floor, data + sizeof(expected), len - sizeof(expected));
	if (ret == -ENOTUNIQ)
		return tg_error(e, -EBADMSG, "%s: %s tied to a counter", floor->path,
				floor->counter ? "not" : "it is");
	return ret ? tg_error(e, ret, "%s: not an anti-rollback state", floor->path) : 0;
}

/*
 * The file is written one generation ahead, then the counter follows. A crash in
 * between leaves the file ahead by one: the counter is made to follow now.
 */
static int follow(struct tg_floor *floor, uint64_t value, struct tg_error *e)
{
	const struct tg_floor_counter *c = floor->counter;
	int ret = 0;

	if (floor->generation == value + 1 && value != UINT64_MAX)
		ret = c->increment(c->ctx, e);
	else if (floor->generation != value)
		ret = tg_error(e, -ESTALE,
			       "%s: an older copy: it is of count %llu, the counter stands at %llu",
			       floor->path, (unsigned long long)floor->generation, (unsigned long long)value);
	floor->behind = ret != 0;
	return ret;
}

static int check_counter(struct tg_floor *floor, bool found, struct tg_error *e)
{
	const struct tg_floor_counter *c = floor->counter;
	uint64_t value;
	int ret;

	if (!c)
		return 0;
	ret = c->read(c->ctx, &value, e);
	if (ret)
		return ret;
	if (found)
		return follow(floor, value, e);
	floor->generation = value;
	return 0;
}

static int take_lock(struct tg_floor *floor, struct tg_error *e)
{
	char *path;
	int ret = 0;

	if (asprintf(&path, "%s.lock", floor->path) < 0)
		return tg_error(e, -ENOMEM, "out of memory");
	floor->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (floor->lock < 0)
		ret = tg_error(e, -errno, "%s: %s", path, strerror(errno));
	else if (flock(floor->lock, LOCK_EX | LOCK_NB))
		ret = tg_error(e, -EBUSY, "%s: another process has it open", floor->path);
	free(path);
	return ret;
}

static int open_floor(const char *path, const uint8_t *key, const struct tg_floor_counter *counter,
		      bool later, bool create, struct tg_floor **ret_floor, struct tg_error *e)
{
	struct tg_floor *floor = calloc(1, sizeof(*floor));
	struct tg_bytes state = { 0 };
	bool found = false;
	int ret;

	if (!floor)
		return tg_error(e, -ENOMEM, "out of memory");
	pthread_mutex_init(&floor->lock_entries, NULL);
	floor->lock = -1;
	floor->counter = counter;
	floor->later = later;
	floor->tied = counter != NULL;
	memcpy(floor->key, key, sizeof(floor->key));
	floor->path = strdup(path);
	ret = floor->path ? take_lock(floor, e) : tg_error(e, -ENOMEM, "out of memory");
	if (!ret) {
		ret = tg_file_read(path, MAX_FILE, &state, e);
		found = !ret;
		if (ret == -ENOENT && create)
			ret = 0;
	}
	if (!ret && found)
		ret = load(floor, state.data, state.len, e);
	if (!ret)
		ret = check_counter(floor, found, e);
	tg_bytes_free(&state);
	if (ret) {
		tg_floor_close(floor);
		return ret;
	}
	*ret_floor = floor;
	return 0;
}

int tg_floor_open(const char *path, const uint8_t key[static TG_FLOOR_KEY_LEN],
		  const struct tg_floor_counter *counter, bool create, struct tg_floor **ret_floor,
		  struct tg_error *e)
{
	return open_floor(path, key, counter, false, create, ret_floor, e);
}

int tg_floor_open_later(const char *path, const uint8_t key[static TG_FLOOR_KEY_LEN], bool create,
			struct tg_floor **ret_floor, struct tg_error *e)
{
	return open_floor(path, key, NULL, true, create, ret_floor, e);
}

bool tg_floor_is_tied(const struct tg_floor *floor)
{
	return floor->tied;
}

void tg_floor_close(struct tg_floor *floor)
{
	if (!floor)
		return;
	if (floor->lock >= 0)
		close(floor->lock);
	pthread_mutex_destroy(&floor->lock_entries);
	free(floor->path);
	free(floor->entries);
	OPENSSL_cleanse(floor, sizeof(*floor));
	free(floor);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static struct entry *find(struct entry *entries, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(entries[i].name, name))
			return &entries[i];
	return NULL;
}

uint64_t tg_floor_get(struct tg_floor *floor, const char *name)
{
	const struct entry *entry;
	uint64_t value;

	pthread_mutex_lock(&floor->lock_entries);
	entry = find(floor->entries, floor->count, name);
	value = entry ? entry->value : 0;
	pthread_mutex_unlock(&floor->lock_entries);
	return value;
}

static int write_state(const struct tg_floor *floor, const struct entry *entries, size_t count,
		       uint64_t generation, struct tg_error *e)
{
	uint8_t head[TG_SHA256_LEN] = { 0 }, *data;
	struct tg_cbor_writer w = { 0 };
	size_t len;
	int ret;

	tg_cbor_put_raw(&w, head, sizeof(head));
	tg_cbor_put_array(&w, 4);
	tg_cbor_put_uint(&w, FORMAT);
	tg_cbor_put_bool(&w, floor->tied);
	tg_cbor_put_uint(&w, generation);
	tg_cbor_put_array(&w, count);
	for (size_t i = 0; i < count; i++) {
		tg_cbor_put_array(&w, 2);
		tg_cbor_put_text(&w, entries[i].name);
		tg_cbor_put_uint(&w, entries[i].value);
	}
	ret = tg_cbor_take(&w, &data, &len);
	if (ret)
		return tg_error(e, ret, "out of memory");
	ret = mac(floor, data + sizeof(head), len - sizeof(head), head, e);
	memcpy(data, head, sizeof(head));
	if (!ret)
		ret = tg_file_replace(floor->path, data, len, 0600, e);
	free(data);
	return ret;
}

/* A copy with the entries raised; *ret_changed tells whether it differs. */
static int raised(const struct tg_floor *floor, const struct tg_floor_entry *entries, size_t count,
		  struct entry **ret_entries, size_t *ret_count, bool *ret_changed, struct tg_error *e)
{
	struct entry *copy = calloc(floor->count + count + 1, sizeof(*copy));
	size_t used = floor->count;

	if (!copy)
		return tg_error(e, -ENOMEM, "out of memory");
	if (used)
		memcpy(copy, floor->entries, used * sizeof(*copy));
	*ret_changed = false;
	for (size_t i = 0; i < count; i++) {
		struct entry *entry = find(copy, used, entries[i].name);
		size_t len = strlen(entries[i].name);

		if (!len || len > TG_FLOOR_MAX_NAME || (!entry && used == TG_FLOOR_MAX_ENTRIES)) {
			free(copy);
			return tg_error(e, -EINVAL, "an anti-rollback state has %d names of 1 to %d bytes",
					TG_FLOOR_MAX_ENTRIES, TG_FLOOR_MAX_NAME);
		}
		if (entries[i].value <= (entry ? entry->value : 0))
			continue;
		if (!entry) {
			entry = &copy[used++];
			memcpy(entry->name, entries[i].name, len + 1);
		}
		entry->value = entries[i].value;
		*ret_changed = true;
	}
	qsort(copy, used, sizeof(*copy), by_name);
	*ret_entries = copy;
	*ret_count = used;
	return 0;
}

/* The counter first: without the file after it, nothing opens until somebody has removed it. */
static int tie_anew(struct tg_floor *floor, const struct tg_floor_counter *c, struct tg_error *e)
{
	int ret = c->define(c->ctx, e);

	if (!ret)
		ret = c->read(c->ctx, &floor->generation, e);
	if (ret)
		return ret;
	floor->tied = true;
	ret = write_state(floor, floor->entries, floor->count, floor->generation, e);
	if (ret)
		floor->tied = false;
	return ret;
}

int tg_floor_tie(struct tg_floor *floor, const struct tg_floor_counter *counter, struct tg_error *e)
{
	uint64_t value;
	int ret;

	floor->later = true;
	floor->counter = counter;
	if (!counter) {
		if (floor->tied)
			return tg_error(e, -ESTALE, "%s: tied to a counter, which this device does not have",
					floor->path);
		floor->later = false;
		return 0;
	}
	ret = counter->read(counter->ctx, &value, e);
	if (ret == -ENOENT && floor->tied)
		ret = tg_error(e, -ESTALE, "%s: the counter that it is tied to is gone", floor->path);
	else if (ret == -ENOENT)
		ret = tie_anew(floor, counter, e);
	else if (!ret && !floor->tied)
		ret = tg_error(
			e, -ESTALE,
			"%s: an older copy, or a new one: the counter stands at %llu, and it knows none",
			floor->path, (unsigned long long)value);
	else if (!ret)
		ret = follow(floor, value, e);
	floor->later = ret != 0;
	return ret;
}

/* Whether it may be raised. */
static int ready(struct tg_floor *floor, struct tg_error *e)
{
	if (floor->later && floor->tied)
		return tg_error(e, -EAGAIN, "%s: not held against its counter yet", floor->path);
	return floor->behind ? check_counter(floor, true, e) : 0;
}

int tg_floor_raise(struct tg_floor *floor, const struct tg_floor_entry *entries, size_t count,
		   struct tg_error *e)
{
	struct entry *fresh = NULL;
	size_t fresh_count = 0;
	uint64_t generation;
	bool changed = false;
	int ret = raised(floor, entries, count, &fresh, &fresh_count, &changed, e);

	if (ret)
		return ret;
	generation = floor->generation + floor->tied;
	if (changed)
		ret = ready(floor, e);
	if (!ret && changed)
		ret = write_state(floor, fresh, fresh_count, generation, e);
	if (ret || !changed) {
		free(fresh);
		return ret;
	}
	/* what is on the disk counts, whatever becomes of the counter */
	pthread_mutex_lock(&floor->lock_entries);
	free(floor->entries);
	floor->entries = fresh;
	floor->count = fresh_count;
	pthread_mutex_unlock(&floor->lock_entries);
	floor->generation = generation;
	if (floor->tied)
		ret = floor->counter->increment(floor->counter->ctx, e);
	floor->behind = ret != 0;
	return ret;
}

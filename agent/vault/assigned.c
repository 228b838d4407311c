/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/hex.h"
#include "vault/assigned.h"

static int take_hash(const json_t *value, uint8_t ret_hash[static TG_SHA256_LEN])
{
	const char *text = json_string_value(value);

	return text ? tg_unhex(text, ret_hash, TG_SHA256_LEN) : -EINVAL;
}

static int take_text(const json_t *value, char *ret_text, size_t size)
{
	const char *text = json_string_value(value);

	if (!text || strlen(text) >= size)
		return -EINVAL;
	strcpy(ret_text, text);
	return 0;
}

static int take_number(const json_t *value, uint64_t *ret_number)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return -EINVAL;
	*ret_number = (uint64_t)json_integer_value(value);
	return 0;
}

static int take_one(const json_t *object, struct assigned *ret_one)
{
	struct tg_model_assignment *package = &ret_one->package;

	ret_one->failed = json_is_true(json_object_get(object, "failed"));
	if (take_text(json_object_get(object, "model"), package->model, sizeof(package->model)) ||
	    take_number(json_object_get(object, "release"), &package->release) ||
	    take_hash(json_object_get(object, "manifest"), package->manifest) ||
	    take_hash(json_object_get(object, "blob"), package->blob) ||
	    take_number(json_object_get(object, "size"), &package->size) ||
	    take_text(json_object_get(object, "detail"), ret_one->detail, sizeof(ret_one->detail)))
		return -EBADMSG;
	return 0;
}

static int take_lists(struct assignments *a, const json_t *list, const json_t *revoked)
{
	const json_t *item;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > TG_MODELS_MAX || !json_is_array(revoked) ||
	    json_array_size(revoked) > TG_MODELS_REVOKED_MAX)
		return -EBADMSG;
	a->known = true;
	a->count = json_array_size(list);
	a->revoked_count = json_array_size(revoked);
	json_array_foreach(list, i, item) if (take_one(item, &a->list[i])) return -EBADMSG;
	json_array_foreach(revoked, i, item) if (take_hash(item, a->revoked[i])) return -EBADMSG;
	return 0;
}

int assigned_take(struct assignments *assignments, const json_t *message, int64_t now, struct tg_error *e)
{
	const json_t *list = json_object_get(message, "assignments");
	struct assignments *a = malloc(sizeof(*a));
	int ret = a ? 0 : -ENOMEM;

	if (!ret) {
		*a = *assignments;
		a->time = now;
		ret = take_number(json_object_get(message, "syncs"), &a->syncs);
	}
	if (!ret)
		ret = take_text(json_object_get(message, "problem"), a->problem, sizeof(a->problem));
	if (!ret && list)
		ret = take_lists(a, list, json_object_get(message, "revoked"));
	if (!ret)
		*assignments = *a;
	free(a);
	return ret ? tg_error(e, ret == -ENOMEM ? ret : -EBADMSG, "assigned: not as it should be") : 0;
}

static json_t *hash_json(const uint8_t hash[static TG_SHA256_LEN])
{
	char text[STORE_HASH_TEXT];

	tg_hex(hash, TG_SHA256_LEN, text);
	return json_string(text);
}

static json_t *one_message(const struct assigned *one)
{
	const struct tg_model_assignment *package = &one->package;

	return json_pack("{s:s, s:I, s:o, s:o, s:I, s:b, s:s}", "model", package->model, "release",
			 (json_int_t)package->release, "manifest", hash_json(package->manifest), "blob",
			 hash_json(package->blob), "size", (json_int_t)package->size, "failed", one->failed,
			 "detail", one->detail);
}

json_t *assigned_message(const struct assignments *a)
{
	json_t *message = json_pack("{s:s, s:I, s:s}", "op", "assigned", "syncs", (json_int_t)a->syncs,
				    "problem", a->problem);
	json_t *list = json_array(), *revoked = json_array();

	for (size_t i = 0; i < a->count; i++)
		json_array_append_new(list, one_message(&a->list[i]));
	for (size_t i = 0; i < a->revoked_count; i++)
		json_array_append_new(revoked, hash_json(a->revoked[i]));
	if (a->known) {
		json_object_set(message, "assignments", list);
		json_object_set(message, "revoked", revoked);
	}
	json_decref(list);
	json_decref(revoked);
	return message;
}

const struct assigned *assigned_find(const struct assignments *a, const char *model)
{
	for (size_t i = 0; i < a->count; i++)
		if (!strcmp(a->list[i].package.model, model))
			return &a->list[i];
	return NULL;
}

const struct assigned *assigned_blob(const struct assignments *a, const uint8_t blob[static TG_SHA256_LEN])
{
	for (size_t i = 0; i < a->count; i++)
		if (!memcmp(a->list[i].package.blob, blob, TG_SHA256_LEN))
			return &a->list[i];
	return NULL;
}

bool assigned_is_revoked(const struct assignments *a, const uint8_t manifest[static TG_SHA256_LEN])
{
	for (size_t i = 0; i < a->revoked_count; i++)
		if (!memcmp(a->revoked[i], manifest, TG_SHA256_LEN))
			return true;
	return false;
}

bool assigned_ends(const struct assignments *a, const struct store *store, const struct release *release)
{
	const struct assigned *one = assigned_find(a, release->model);

	if (!hashes_have(&store->platform, release->hash) || !a->known)
		return false;
	if (assigned_is_revoked(a, release->hash) || !one)
		return true;
	if (!memcmp(one->package.manifest, release->hash, TG_SHA256_LEN))
		return false;
	/* an older one stays until the newer one was opened: till then it is what there is */
	return release->number >= one->package.release;
}

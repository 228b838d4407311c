/* SPDX-License-Identifier: BSD-3-Clause */
/* What OpenSSL asks about a key. The private half is never in this process: it can be neither exported nor
 * compared. */
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#include "provider.h"

/* What OpenSSL holds: made empty, filled once by an import. */
struct key_slot {
	struct provider_key *key;
};

static void *slot_new(void *provctx)
{
	(void)provctx;
	return calloc(1, sizeof(struct key_slot));
}

static void slot_free(void *data)
{
	struct key_slot *slot = data;

	if (!slot)
		return;
	provider_key_unref(slot->key);
	free(slot);
}

static void *slot_dup(const void *data, int selection)
{
	const struct key_slot *from = data;
	struct key_slot *to = slot_new(NULL);

	(void)selection;
	if (to && from->key)
		to->key = provider_key_ref(from->key);
	return to;
}

static int has(const void *data, int selection)
{
	const struct key_slot *slot = data;

	if (!slot || !slot->key)
		return 0;
	return !(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) || slot->key->tpm != NULL;
}

static int match(const void *first, const void *second, int selection)
{
	const struct key_slot *a = first, *b = second;

	if (!a->key || !b->key)
		return 0;
	/* all keys have the same domain parameters; a private key is the same if its public one is */
	if (!(selection & OSSL_KEYMGMT_SELECT_KEYPAIR))
		return 1;
	return !memcmp(a->key->point, b->key->point, sizeof(a->key->point));
}

/* The public half of somebody else's key, so that OpenSSL can compare it with ours. */
static struct provider_key *import_public(const OSSL_PARAM params[])
{
	const OSSL_PARAM *group = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME);
	const OSSL_PARAM *public = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY);
	struct provider_key *key;
	const char *name;

	if (!group || !public || !OSSL_PARAM_get_utf8_string_ptr(group, &name) ||
	    (strcmp(name, "prime256v1") && strcmp(name, "P-256")) ||
	    public->data_type != OSSL_PARAM_OCTET_STRING || public->data_size != sizeof(key->point) ||
	    *(const uint8_t *)public->data != 4)
		return NULL;
	key = calloc(1, sizeof(*key));
	if (!key)
		return NULL;
	key->holders = 1;
	memcpy(key->point, public->data, sizeof(key->point));
	return key;
}

static int import(void *data, int selection, const OSSL_PARAM params[])
{
	const OSSL_PARAM *ours = OSSL_PARAM_locate_const(params, PROVIDER_KEY_PARAM);
	struct key_slot *slot = data;
	struct provider_key *key;

	if (slot->key)
		return provider_error("the key is there already");
	if (ours && ours->data_type == OSSL_PARAM_OCTET_STRING && ours->data_size == sizeof(key)) {
		memcpy(&key, ours->data, sizeof(key));
		slot->key = provider_key_ref(key);
		return 1;
	}
	if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)
		return provider_error("private keys are made in the TPM, not imported");
	slot->key = import_public(params);
	return slot->key ? 1 : provider_error("not the public half of a P-256 key");
}

static const OSSL_PARAM *import_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_octet_string(PROVIDER_KEY_PARAM, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)selection;
	return types;
}

static int export(void *data, int selection, OSSL_CALLBACK *callback, void *argument)
{
	const struct key_slot *slot = data;
	OSSL_PARAM params[3];

	/* no words about it: this is how OpenSSL learns that it has to come here for a signature */
	if (!slot->key || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY))
		return 0;
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char[]){ "prime256v1" }, 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, slot->key->point,
						      sizeof(slot->key->point));
	params[2] = OSSL_PARAM_construct_end();
	return callback(params, argument);
}

static const OSSL_PARAM *export_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_END,
	};

	return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : types;
}

static int set_int(OSSL_PARAM params[], const char *name, int value)
{
	OSSL_PARAM *param = OSSL_PARAM_locate(params, name);

	return !param || OSSL_PARAM_set_int(param, value);
}

static int set_text(OSSL_PARAM params[], const char *name, const char *value)
{
	OSSL_PARAM *param = OSSL_PARAM_locate(params, name);

	return !param || OSSL_PARAM_set_utf8_string(param, value);
}

static int set_bytes(OSSL_PARAM params[], const char *name, const uint8_t *value, size_t len)
{
	OSSL_PARAM *param = OSSL_PARAM_locate(params, name);

	return !param || OSSL_PARAM_set_octet_string(param, value, len);
}

static int get_params(void *data, OSSL_PARAM params[])
{
	const struct key_slot *slot = data;
	const struct provider_key *key = slot->key;

	return key && set_int(params, OSSL_PKEY_PARAM_BITS, 256) &&
	       set_int(params, OSSL_PKEY_PARAM_SECURITY_BITS, 128) &&
	       set_int(params, OSSL_PKEY_PARAM_MAX_SIZE, SIGNATURE_MAX) &&
	       set_text(params, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1") &&
	       set_text(params, OSSL_PKEY_PARAM_DEFAULT_DIGEST, "SHA256") &&
	       set_text(params, OSSL_PKEY_PARAM_MANDATORY_DIGEST, "SHA256") &&
	       set_bytes(params, OSSL_PKEY_PARAM_PUB_KEY, key->point, sizeof(key->point)) &&
	       set_bytes(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, key->point, sizeof(key->point));
}

static const OSSL_PARAM *gettable_params(void *provctx)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)provctx;
	return types;
}

static const char *operation_name(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

struct provider_key *provider_key_of(void *data)
{
	const struct key_slot *slot = data;

	return slot ? slot->key : NULL;
}

const OSSL_DISPATCH tg_provider_keymgmt[] = {
	FUNCTION(OSSL_FUNC_KEYMGMT_NEW, slot_new),
	FUNCTION(OSSL_FUNC_KEYMGMT_FREE, slot_free),
	FUNCTION(OSSL_FUNC_KEYMGMT_DUP, slot_dup),
	FUNCTION(OSSL_FUNC_KEYMGMT_HAS, has),
	FUNCTION(OSSL_FUNC_KEYMGMT_MATCH, match),
	FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT, import),
	FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, import_types),
	FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT, export),
	FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, export_types),
	FUNCTION(OSSL_FUNC_KEYMGMT_GET_PARAMS, get_params),
	FUNCTION(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, gettable_params),
	FUNCTION(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, operation_name),
	{ 0, NULL },
};

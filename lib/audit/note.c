/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/base64.h"
#include "tensorguard/hex.h"
#include "tensorguard/key.h"
#include "tensorguard/tlog.h"

/* "— ", an em dash and a space, before each signature */
#define MARK "\xe2\x80\x94 "
#define PROOF_NAME "c2sp.org/tlog-proof@v1\n"

enum {
	ED25519 = 1,	/* signature type */
	KEY_LEN = 32,
	HASH_TEXT = TG_BASE64_LEN(TG_SHA256_LEN),
	SIGNATURE_LEN = 4 + TG_SIGNATURE_LEN,
	SIGNATURE_TEXT = TG_BASE64_LEN(SIGNATURE_LEN),
};

/* ---- tiles ---- */

/* A number without signs and zeros in front, below `limit`. */
static int take_number(const char **text, uint64_t limit, uint64_t *ret_number)
{
	uint64_t number = 0;
	const char *at = *text;

	if (*at < '0' || *at > '9' || (at[0] == '0' && at[1] >= '0' && at[1] <= '9'))
		return -EINVAL;
	for (; *at >= '0' && *at <= '9'; at++) {
		number = 10 * number + (uint64_t)(*at - '0');
		if (number >= limit)
			return -EINVAL;
	}
	*text = at;
	*ret_number = number;
	return 0;
}

static bool three_digits(const char *at)
{
	for (int i = 0; i < 3; i++)
		if (at[i] < '0' || at[i] > '9')
			return false;
	return true;
}

/* "x001/x234/067" */
static int take_index(const char **text, uint64_t *ret_index)
{
	const char *at = *text;
	uint64_t index = 0;
	bool more = true;

	for (int parts = 0; more; parts++) {
		more = *at == 'x';
		at += more;
		if (!three_digits(at) || parts == 5)
			return -EINVAL;
		/* "x000/001" is no name of 1 */
		if (!parts && more && !memcmp(at, "000", 3))
			return -EINVAL;
		index = index * 1000 + (uint64_t)((at[0] - '0') * 100 + (at[1] - '0') * 10 + (at[2] - '0'));
		at += 3;
		if (more && *at++ != '/')
			return -EINVAL;
	}
	*text = at;
	*ret_index = index;
	return 0;
}

int tg_tlog_tile_parse(const char *text, struct tg_tlog_tile *ret_tile)
{
	struct tg_tlog_tile tile = { .level = TG_TLOG_ENTRIES, .width = TG_TLOG_TILE };
	uint64_t number;

	if (!strncmp(text, "entries/", 8)) {
		text += 8;
	} else {
		if (take_number(&text, 64, &number) || *text++ != '/')
			return -EINVAL;
		tile.level = (int)number;
	}
	if (take_index(&text, &tile.index))
		return -EINVAL;
	if (!strncmp(text, ".p/", 3)) {
		text += 3;
		if (take_number(&text, TG_TLOG_TILE, &number) || !number)
			return -EINVAL;
		tile.width = (unsigned)number;
	}
	if (*text)
		return -EINVAL;
	*ret_tile = tile;
	return 0;
}

/* ---- keys ---- */

bool tg_tlog_origin_valid(const char *origin)
{
	size_t len = 0;

	for (; origin[len]; len++)
		if (origin[len] <= ' ' || origin[len] > '~' || origin[len] == '+' ||
		    len + 1 == TG_TLOG_ORIGIN_SIZE)
			return false;
	return len > 0;
}

static int set_id(struct tg_tlog_key *key, struct tg_error *e)
{
	const uint8_t rest[] = { '\n', ED25519 };
	const struct tg_piece pieces[] = { { key->origin, strlen(key->origin) },
					   { rest, sizeof(rest) },
					   { key->point, sizeof(key->point) } };
	uint8_t hash[TG_SHA256_LEN];
	int ret = tg_sha256(pieces, 3, hash, e);

	if (!ret)
		memcpy(key->id, hash, sizeof(key->id));
	return ret;
}

int tg_tlog_key_of(const char *origin, const EVP_PKEY *pkey, struct tg_tlog_key *ret_key, struct tg_error *e)
{
	struct tg_tlog_key key = { .origin = "" };
	size_t len = sizeof(key.point);
	int ret;

	if (!tg_tlog_origin_valid(origin))
		return tg_error(e, -EINVAL, "'%.130s' cannot be the name of a log", origin);
	if (EVP_PKEY_get_id(pkey) != EVP_PKEY_ED25519 ||
	    EVP_PKEY_get_raw_public_key(pkey, key.point, &len) != 1 || len != sizeof(key.point))
		return tg_error(e, -EINVAL, "a log's key is an Ed25519 key");
	snprintf(key.origin, sizeof(key.origin), "%s", origin);
	ret = set_id(&key, e);
	if (!ret)
		*ret_key = key;
	return ret;
}

int tg_tlog_key_format(const struct tg_tlog_key *key, char ret_text[static TG_TLOG_KEY_SIZE],
		       struct tg_error *e)
{
	char id[9], point[TG_BASE64_LEN(1 + KEY_LEN) + 1];
	uint8_t typed[1 + KEY_LEN] = { ED25519 };

	memcpy(typed + 1, key->point, KEY_LEN);
	tg_hex(key->id, sizeof(key->id), id);
	tg_base64_encode(typed, sizeof(typed), point);
	if (snprintf(ret_text, TG_TLOG_KEY_SIZE, "%s+%s+%s", key->origin, id, point) >= TG_TLOG_KEY_SIZE)
		return tg_error(e, -EINVAL, "a log's name that is too long");
	return 0;
}

int tg_tlog_key_parse(const char *text, struct tg_tlog_key *ret_key, struct tg_error *e)
{
	const char *id = strchr(text, '+'), *point = id ? strchr(id + 1, '+') : NULL;
	struct tg_tlog_key key = { .origin = "" };
	uint8_t typed[1 + KEY_LEN], given[4];
	char id_text[9];
	size_t used;
	int ret;

	if (!point || (size_t)(id - text) >= sizeof(key.origin) || point - id != 9)
		return tg_error(e, -EBADMSG, "not a log's key, NAME+HASH+BASE64");
	memcpy(key.origin, text, (size_t)(id - text));
	memcpy(id_text, id + 1, 8);
	id_text[8] = '\0';
	if (!tg_tlog_origin_valid(key.origin) || tg_unhex(id_text, given, sizeof(given)) ||
	    tg_base64_decode(point + 1, strlen(point + 1), typed, sizeof(typed), &used) ||
	    used != sizeof(typed) || typed[0] != ED25519)
		return tg_error(e, -EBADMSG, "not a log's key, NAME+HASH+BASE64");
	memcpy(key.point, typed + 1, KEY_LEN);
	ret = set_id(&key, e);
	if (!ret && memcmp(given, key.id, sizeof(given)))
		ret = tg_error(e, -EBADMSG, "a log's key whose hash is another's");
	if (!ret)
		*ret_key = key;
	return ret;
}

/* ---- checkpoints ---- */

int tg_tlog_checkpoint_sign(const struct tg_tlog_head *head, const char *origin, EVP_PKEY *pkey,
			    struct tg_bytes *ret_note, struct tg_error *e)
{
	char root[HASH_TEXT + 1], signature_text[SIGNATURE_TEXT + 1], *text, *note;
	uint8_t signature[SIGNATURE_LEN];
	struct tg_tlog_key key;
	int ret = tg_tlog_key_of(origin, pkey, &key, e), len;

	if (ret)
		return ret;
	tg_base64_encode(head->root, sizeof(head->root), root);
	len = asprintf(&text, "%s\n%" PRIu64 "\n%s\n", origin, head->size, root);
	if (len < 0)
		return tg_error(e, -ENOMEM, "out of memory");
	memcpy(signature, key.id, sizeof(key.id));
	ret = tg_key_sign(pkey, (const uint8_t *)text, (size_t)len, signature + 4, e);
	if (!ret) {
		tg_base64_encode(signature, sizeof(signature), signature_text);
		len = asprintf(&note, "%s\n" MARK "%s %s\n", text, origin, signature_text);
		if (len < 0)
			ret = tg_error(e, -ENOMEM, "out of memory");
		else
			*ret_note = (struct tg_bytes){ (uint8_t *)note, (size_t)len };
	}
	free(text);
	return ret;
}

static int bad(struct tg_error *e, const char *what)
{
	return tg_error(e, -EBADMSG, "checkpoint: %s", what);
}

/* The line at *at, which ends before `end` with a newline; *at goes behind it. NULL: there is none. */
static const char *take_line(const char **at, const char *end, size_t *ret_len)
{
	const char *line = *at, *stop = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;

	if (!stop)
		return NULL;
	*ret_len = (size_t)(stop - line);
	*at = stop + 1;
	return line;
}

/* The text's end, before the empty line that the signatures follow. NULL: there is none. */
static const char *find_signatures(const char *note, size_t len)
{
	for (const char *at = note + len - 1; at > note; at--)
		if (at[0] == '\n' && at[-1] == '\n')
			return at;
	return NULL;
}

static int take_head(const char *text, const char *end, const struct tg_tlog_key *key,
		     struct tg_tlog_head *ret_head, struct tg_error *e)
{
	const char *line, *digits;
	char number[24] = "";
	size_t len, used;

	line = take_line(&text, end, &len);
	if (!line || len != strlen(key->origin) || memcmp(line, key->origin, len))
		return tg_error(e, -EKEYREJECTED, "checkpoint: of another log");
	line = take_line(&text, end, &len);
	if (!line || len >= sizeof(number))
		return bad(e, "no size");
	memcpy(number, line, len);
	digits = number;
	if (take_number(&digits, TG_TLOG_LEAVES_MAX + 1, &ret_head->size) || digits != number + len)
		return bad(e, "the size is no number");
	line = take_line(&text, end, &len);
	if (!line || tg_base64_decode(line, len, ret_head->root, sizeof(ret_head->root), &used) ||
	    used != sizeof(ret_head->root))
		return bad(e, "the root is no hash");
	/* lines of extensions may follow, none of them empty; we know none */
	while (text < end) {
		line = take_line(&text, end, &len);
		if (!line || !len)
			return bad(e, "an empty line");
	}
	return 0;
}

static int verify(const struct tg_tlog_key *key, const char *text, size_t len, const uint8_t *signature,
		  struct tg_error *e)
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->point, sizeof(key->point));
	int ret;

	if (!pkey)
		return tg_openssl_error(e, -EKEYREJECTED, "the log's key");
	ret = tg_key_verify(pkey, (const uint8_t *)text, len, signature, TG_SIGNATURE_LEN, e);
	EVP_PKEY_free(pkey);
	return ret == -EBADMSG ? tg_error(e, -EKEYREJECTED, "checkpoint: the signature is not the log's")
			       : ret;
}

/* One signature line. 1: the key's, and right; 0: another's. */
static int check_signature(const struct tg_tlog_key *key, const char *text, size_t text_len, const char *line,
			   size_t len, struct tg_error *e)
{
	size_t name = strlen(key->origin), used;
	uint8_t signature[SIGNATURE_LEN];
	int ret;

	if (len < sizeof(MARK) || memcmp(line, MARK, sizeof(MARK) - 1))
		return bad(e, "a line that is no signature");
	line += sizeof(MARK) - 1;
	len -= sizeof(MARK) - 1;
	if (len <= name || memcmp(line, key->origin, name) || line[name] != ' ' ||
	    tg_base64_decode(line + name + 1, len - name - 1, signature, sizeof(signature), &used) ||
	    used != sizeof(signature) || memcmp(signature, key->id, sizeof(key->id)))
		return 0;
	ret = verify(key, text, text_len, signature + 4, e);
	return ret ? ret : 1;
}

int tg_tlog_checkpoint_verify(const char *note, size_t len, const struct tg_tlog_key *key,
			      struct tg_tlog_head *ret_head, struct tg_error *e)
{
	const char *text_end, *at, *line;
	struct tg_tlog_head head;
	bool found = false;
	size_t line_len;
	int ret;

	if (!len || len > TG_TLOG_NOTE_MAX || memchr(note, '\0', len) || note[len - 1] != '\n')
		return bad(e, "not a note");
	text_end = find_signatures(note, len);
	if (!text_end)
		return bad(e, "no signatures");
	ret = take_head(note, text_end, key, &head, e);
	if (ret)
		return ret;
	at = text_end + 1;
	if (at == note + len)
		return bad(e, "no signatures");
	while (at < note + len) {
		line = take_line(&at, note + len, &line_len);
		ret = line ? check_signature(key, note, (size_t)(text_end - note), line, line_len, e)
			   : bad(e, "a line without an end");
		if (ret < 0)
			return ret;
		found |= ret;
	}
	if (!found)
		return tg_error(e, -EKEYREJECTED, "checkpoint: not signed by the log");
	*ret_head = head;
	return 0;
}

/* ---- proof files ---- */

int tg_tlog_proof_format(const struct tg_tlog_proof *proof, uint64_t index, const char *checkpoint,
			 struct tg_bytes *ret_text, struct tg_error *e)
{
	size_t size = sizeof(PROOF_NAME) + 32 + proof->count * (HASH_TEXT + 1) + strlen(checkpoint) + 2;
	char *text = malloc(size), *at = text;

	if (!text)
		return tg_error(e, -ENOMEM, "out of memory");
	at += snprintf(at, size, PROOF_NAME "index %" PRIu64 "\n", index);
	for (size_t i = 0; i < proof->count; i++) {
		tg_base64_encode(proof->hashes[i], TG_SHA256_LEN, at);
		at = stpcpy(at + HASH_TEXT, "\n");
	}
	at = stpcpy(stpcpy(at, "\n"), checkpoint);
	*ret_text = (struct tg_bytes){ (uint8_t *)text, (size_t)(at - text) };
	return 0;
}

static int take_hashes(const char **at, const char *end, struct tg_tlog_proof *proof)
{
	const char *line;
	size_t len, used;

	while ((line = take_line(at, end, &len)) && len) {
		if (proof->count == TG_TLOG_PROOF_MAX ||
		    tg_base64_decode(line, len, proof->hashes[proof->count], TG_SHA256_LEN, &used) ||
		    used != TG_SHA256_LEN)
			return -EBADMSG;
		proof->count++;
	}
	return line ? 0 : -EBADMSG;
}

int tg_tlog_proof_parse(const char *text, size_t len, struct tg_tlog_proof *ret_proof, uint64_t *ret_index,
			const char **ret_checkpoint, struct tg_error *e)
{
	const char *at = text, *end = text + len, *line;
	struct tg_tlog_proof proof = { .count = 0 };
	size_t line_len;
	uint64_t index;

	if (len < sizeof(PROOF_NAME) - 1 || memcmp(text, PROOF_NAME, sizeof(PROOF_NAME) - 1) ||
	    text[len - 1] != '\n')
		return tg_error(e, -EBADMSG, "not a proof of a log");
	at += sizeof(PROOF_NAME) - 1;
	line = take_line(&at, end, &line_len);
	/* what comes along, and proves nothing */
	if (line && line_len > 6 && !memcmp(line, "extra ", 6))
		line = take_line(&at, end, &line_len);
	if (!line || line_len < 7 || memcmp(line, "index ", 6))
		return tg_error(e, -EBADMSG, "proof: no index");
	line += 6;
	if (take_number(&line, TG_TLOG_LEAVES_MAX, &index) || *line != '\n')
		return tg_error(e, -EBADMSG, "proof: the index is no number");
	if (take_hashes(&at, end, &proof) || at == end)
		return tg_error(e, -EBADMSG, "proof: a hash, or the checkpoint, is missing");
	*ret_proof = proof;
	*ret_index = index;
	*ret_checkpoint = at;
	return 0;
}

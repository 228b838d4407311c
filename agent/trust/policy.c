/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensorguard/file.h"
#include "trust/policy.h"

#define NOTE_FILE "sync.json"

enum { NOTE_MAX = 4096 };

static int path_of(const char *directory, const char *name, char ret_path[static PATH_MAX],
		   struct tg_error *e)
{
	if (snprintf(ret_path, PATH_MAX, "%s/" TRUST_POLICY_FOLDER "%s%s", directory, name ? "/" : "",
		     name ? name : "") >= PATH_MAX)
		return tg_error(e, -ENAMETOOLONG, "%.100s...: the path is too long", directory);
	return 0;
}

static int put(const char *directory, const char *name, const void *data, size_t len, struct tg_error *e)
{
	char folder[PATH_MAX], path[PATH_MAX];
	int ret = path_of(directory, NULL, folder, e);

	if (!ret && mkdir(folder, 0700) && errno != EEXIST)
		ret = tg_error(e, -errno, "%s: %s", folder, strerror(errno));
	if (!ret)
		ret = path_of(directory, name, path, e);
	return ret ? ret : tg_file_replace(path, data, len, 0600, e);
}

static int get(const char *directory, const char *name, size_t max, struct tg_bytes *ret_bytes,
	       struct tg_error *e)
{
	char path[PATH_MAX];
	int ret = path_of(directory, name, path, e);

	return ret ? ret : tg_file_read(path, max, ret_bytes, e);
}

/* ---- the policy ---- */

int trust_policy_load(const char *directory, const struct trust_identity *identity,
		      struct tg_signed_policy *ret_policy, struct tg_error *e)
{
	const struct tg_policy_holder holder = { .key = &identity->policy_key,
						 .agent = identity->agent,
						 .fleet = identity->fleet };
	struct tg_signed_policy policy = { 0 };
	struct tg_bytes text = { 0 };
	int ret = get(directory, TRUST_POLICY_FILE, TG_SIGNED_POLICY_MAX, &text, e);

	if (ret)
		return ret;
	ret = tg_signed_policy_decode(text.data, text.len, &policy, e);
	tg_bytes_free(&text);
	if (!ret && tg_signed_policy_verify(&policy, &holder, e))
		ret = -EKEYREJECTED;
	if (ret)
		tg_signed_policy_clear(&policy);
	else
		*ret_policy = policy;
	return ret;
}

int trust_policy_save(const char *directory, const struct tg_signed_policy *policy, struct tg_error *e)
{
	struct tg_bytes text = { 0 };
	int ret = tg_signed_policy_encode(policy, &text, e);

	if (!ret)
		ret = put(directory, TRUST_POLICY_FILE, text.data, text.len, e);
	tg_bytes_free(&text);
	return ret;
}

/* ---- revocation ---- */

int trust_revoked_note(const char *directory, const struct trust_identity *identity, const char *reason,
		       struct tg_error *e)
{
	char text[TRUST_POLICY_REASON_LEN];
	int len = snprintf(text, sizeof(text), "%.*s\ngeneration %u\n", TRUST_REASON_LEN - 1, reason,
			   identity->generation);
	int ret = put(directory, TRUST_REVOKED_FILE, text, (size_t)len, e);

	return ret ? ret : trust_refused(identity, reason, e);
}

int trust_revoked_load(const char *directory, struct trust_revocation *ret_revocation, struct tg_error *e)
{
	struct trust_revocation revocation = { .generation = 0 };
	struct tg_bytes bytes = { 0 };
	char text[TRUST_POLICY_REASON_LEN];
	int ret = get(directory, TRUST_REVOKED_FILE, sizeof(text) - 1, &bytes, e);
	size_t line;

	if (ret)
		return ret;
	snprintf(text, sizeof(text), "%.*s", (int)bytes.len, bytes.data ? (const char *)bytes.data : "");
	tg_bytes_free(&bytes);
	line = strcspn(text, "\n");
	snprintf(revocation.reason, sizeof(revocation.reason), "%.*s", line ? (int)line : 1,
		 line ? text : "?");
	if (sscanf(text + line, "\ngeneration %u", &revocation.generation) != 1)
		revocation.generation = 0;
	*ret_revocation = revocation;
	return 0;
}

int trust_revoked_remove(const char *directory, struct tg_error *e)
{
	char path[PATH_MAX];
	int ret = path_of(directory, TRUST_REVOKED_FILE, path, e);

	if (!ret && unlink(path) && errno != ENOENT)
		ret = tg_error(e, -errno, "%s: %s", path, strerror(errno));
	return ret;
}

/* ---- the note ---- */

static int encode_note(const struct trust_sync_note *note, char **ret_text)
{
	json_t *root = json_pack("{s:b, s:s, s:I}", "good", note->good, "error", note->error, "period",
				 (json_int_t)note->period);

	*ret_text = root ? json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	json_decref(root);
	return *ret_text ? 0 : -ENOMEM;
}

int trust_sync_note_load(const char *directory, struct trust_sync_note *ret_note, struct tg_error *e)
{
	struct trust_sync_note note = { 0 };
	struct tg_bytes text = { 0 };
	const char *error;
	char path[PATH_MAX];
	json_int_t period;
	struct stat st;
	json_t *root;
	int good, ret = get(directory, NOTE_FILE, NOTE_MAX, &text, e);

	if (ret)
		return ret;
	root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	tg_bytes_free(&text);
	if (json_unpack(root, "{s:b, s:s, s:I !}", "good", &good, "error", &error, "period", &period))
		ret = tg_error(e, -EBADMSG, "%s/" TRUST_POLICY_FOLDER "/" NOTE_FILE ": not as it was written",
			       directory);
	if (!ret) {
		note.good = good;
		note.period = period;
		snprintf(note.error, sizeof(note.error), "%s", error);
		ret = path_of(directory, NOTE_FILE, path, e);
	}
	if (!ret && !stat(path, &st))
		note.time = st.st_mtime;
	json_decref(root);
	if (!ret)
		*ret_note = note;
	return ret;
}

/* Once a minute for years: a flash disk has better to do than to take the same text again. */
static bool touch(const char *directory, const char *text)
{
	struct tg_bytes old = { 0 };
	char path[PATH_MAX];
	bool same = !get(directory, NOTE_FILE, NOTE_MAX, &old, NULL) && old.len == strlen(text) &&
		    !memcmp(old.data, text, old.len);

	tg_bytes_free(&old);
	return same && !path_of(directory, NOTE_FILE, path, NULL) && !utimensat(AT_FDCWD, path, NULL, 0);
}

int trust_sync_note_save(const char *directory, const struct trust_sync_note *note, struct tg_error *e)
{
	char *text;
	int ret = encode_note(note, &text);

	if (ret)
		return tg_error(e, ret, "out of memory");
	if (!touch(directory, text))
		ret = put(directory, NOTE_FILE, text, strlen(text), e);
	free(text);
	return ret;
}

/* ---- enrolled anew ---- */

int trust_pin_forget(const char *directory, struct tg_error *e)
{
	static const char *const names[] = { "pin.json", "policy.json" };
	size_t len = strlen(directory);
	char path[PATH_MAX];

	while (len > 1 && directory[len - 1] == '/')
		len--;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%.*s-applied/%s", (int)len, directory, names[i]);
		if (unlink(path) && errno != ENOENT)
			return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	}
	return 0;
}

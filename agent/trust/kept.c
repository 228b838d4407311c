/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger's key and newest checkpoint, as this device has seen them: what makes it a witness. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tensorguard/file.h"
#include "trust/audit.h"

static int path_of(const char *directory, const char *name, char ret_path[static PATH_MAX],
		   struct tg_error *e)
{
	if (snprintf(ret_path, PATH_MAX, "%s/" AUDIT_FOLDER "/%s", directory, name) >= PATH_MAX)
		return tg_error(e, -ENAMETOOLONG, "%.60s...: the path is too long", directory);
	return 0;
}

static int read_text(const char *directory, const char *name, struct tg_bytes *ret_text, struct tg_error *e)
{
	char path[PATH_MAX];
	struct tg_bytes text;
	int ret = path_of(directory, name, path, e);

	if (!ret)
		ret = tg_file_read(path, TG_TLOG_NOTE_MAX, &text, e);
	if (ret)
		return ret;
	*ret_text = (struct tg_bytes){ malloc(text.len + 1), text.len };
	if (ret_text->data) {
		memcpy(ret_text->data, text.data, text.len);
		ret_text->data[text.len] = '\0';
	}
	tg_bytes_free(&text);
	return ret_text->data ? 0 : tg_error(e, -ENOMEM, "out of memory");
}

static int load_key(const char *directory, struct audit_kept *kept, struct tg_error *e)
{
	struct tg_bytes text;
	int ret = read_text(directory, "log.vkey", &text, e);

	if (ret)
		return ret == -ENOENT ? 0 : ret;
	((char *)text.data)[strcspn((char *)text.data, "\n")] = '\0';
	ret = tg_tlog_key_parse((char *)text.data, &kept->key, e);
	tg_bytes_free(&text);
	kept->has_key = !ret;
	return ret;
}

static int load_checkpoint(const char *directory, struct audit_kept *kept, struct tg_error *e)
{
	struct tg_bytes text;
	int ret = read_text(directory, "checkpoint", &text, e);

	if (ret)
		return ret == -ENOENT ? 0 : ret;
	ret = kept->has_key
		      ? tg_tlog_checkpoint_verify((char *)text.data, text.len, &kept->key, &kept->head, e)
		      : tg_error(e, -EBADMSG, "a checkpoint is kept and log.vkey is not");
	tg_bytes_free(&text);
	kept->has_checkpoint = !ret;
	return ret ? -EBADMSG : 0;
}

int audit_kept_load(const char *directory, struct audit_kept *ret_kept, struct tg_error *e)
{
	struct audit_kept kept = { .has_key = false };
	int ret = load_key(directory, &kept, e);

	if (!ret)
		ret = load_checkpoint(directory, &kept, e);
	if (!ret)
		*ret_kept = kept;
	return ret;
}

static int save(const char *directory, const char *name, const char *text, size_t len, struct tg_error *e)
{
	char path[PATH_MAX];
	int ret = path_of(directory, name, path, e);

	return ret ? ret : tg_file_replace(path, text, len, 0600, e);
}

static bool same_key(const struct tg_tlog_key *a, const struct tg_tlog_key *b)
{
	return !strcmp(a->origin, b->origin) && !memcmp(a->point, b->point, sizeof(a->point));
}

int audit_kept_newest(const char *directory, const struct audit_kept *unsaved, struct audit_kept *ret_kept,
		      struct tg_error *e)
{
	struct audit_kept kept;
	int ret = audit_kept_load(directory, &kept, e);

	if (ret)
		return ret == -EBADMSG ? -EKEYREJECTED : ret;
	/* unless another key was put there on purpose */
	if (unsaved->has_checkpoint && unsaved->head.size >= kept.head.size &&
	    (!kept.has_key || same_key(&unsaved->key, &kept.key)))
		kept = *unsaved;
	*ret_kept = kept;
	return 0;
}

int audit_kept_advance(struct audit_kept *kept, const char *key, const char *note, size_t note_len,
		       const struct tg_tlog_proof *proof, struct tg_error *e)
{
	struct audit_kept next = { .has_key = true, .has_checkpoint = true, .key = kept->key };
	int ret = kept->has_key ? 0 : tg_tlog_key_parse(key, &next.key, e);

	if (!ret)
		ret = tg_tlog_checkpoint_verify(note, note_len, &next.key, &next.head, e);
	if (ret)
		return ret == -EBADMSG ? -EKEYREJECTED : ret;
	ret = tg_tlog_check_consistency(proof, &kept->head, &next.head, e);
	if (ret == -EKEYREJECTED)
		return tg_error(
			e, ret,
			"the ledger of %llu records is not shown to continue the one of %llu that is kept",
			(unsigned long long)next.head.size, (unsigned long long)kept->head.size);
	if (!ret)
		*kept = next;
	return ret;
}

static int save_key(const char *directory, const struct tg_tlog_key *key, struct tg_error *e)
{
	char line[TG_TLOG_KEY_SIZE + 1];
	int ret = tg_tlog_key_format(key, line, e);

	if (ret)
		return ret;
	strcat(line, "\n");
	return save(directory, "log.vkey", line, strlen(line), e);
}

int audit_kept_save(const char *directory, const struct audit_kept *kept, const char *note, size_t note_len,
		    struct tg_error *e)
{
	struct audit_kept on_disk = { .has_key = false };
	int ret = load_key(directory, &on_disk, e);

	if (!ret && !on_disk.has_key)
		ret = save_key(directory, &kept->key, e);
	return ret ? ret : save(directory, "checkpoint", note, note_len, e);
}

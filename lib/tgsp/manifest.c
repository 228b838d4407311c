/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/tgsp_manifest.h"
#include "tgsp/field.h"

static void names_clear(struct tg_tgsp_names *names)
{
	for (size_t i = 0; names->names && i < names->count; i++)
		free(names->names[i]);
	free(names->names);
}

void tg_tgsp_manifest_clear(struct tg_tgsp_manifest *m)
{
	for (size_t i = 0; m->files && i < m->file_count; i++)
		free(m->files[i].path);
	free(m->files);
	names_clear(&m->policy.fleets);
	names_clear(&m->policy.accelerators);
	free(m->lineage.parents);
	*m = (struct tg_tgsp_manifest){ .file_count = 0 };
}

void tg_tgsp_manifest_free(struct tg_tgsp_manifest *manifest)
{
	if (!manifest)
		return;
	tg_tgsp_manifest_clear(manifest);
	free(manifest);
}

uint64_t tg_tgsp_plain_len(const struct tg_tgsp_manifest *manifest)
{
	uint64_t len = 0;

	/* tg_tgsp_manifest_check() has seen to it that the sum is small */
	for (size_t i = 0; i < manifest->file_count; i++)
		len += manifest->files[i].size;
	return len;
}

int tg_tgsp_names_add(struct tg_tgsp_names *names, const char *name, struct tg_error *e)
{
	size_t at = 0;
	char **grown, *copy;

	if (!tgsp_name_valid(name, strlen(name)))
		return tg_error(e, -EINVAL, "'%.80s' is not a name: 1 to %d letters, digits, '.', '_', '-'",
				name, TG_TGSP_MAX_NAME);
	if (names->count == TG_TGSP_MAX_LIST)
		return tg_error(e, -E2BIG, "more than %d names", TG_TGSP_MAX_LIST);
	while (at < names->count && strcmp(names->names[at], name) < 0)
		at++;
	if (at < names->count && !strcmp(names->names[at], name))
		return tg_error(e, -EEXIST, "'%s' is named twice", name);
	grown = realloc(names->names, (names->count + 1) * sizeof(*grown));
	if (grown)
		names->names = grown;
	copy = grown ? strdup(name) : NULL;
	if (!copy)
		return tg_error(e, -ENOMEM, "out of memory");
	memmove(grown + at + 1, grown + at, (names->count - at) * sizeof(*grown));
	grown[at] = copy;
	names->count++;
	return 0;
}

static int check_names(const struct tg_tgsp_names *names, const char *what, struct tg_error *e)
{
	if (names->count > TG_TGSP_MAX_LIST)
		return tg_error(e, -EINVAL, "%s: more than %d", what, TG_TGSP_MAX_LIST);
	for (size_t i = 0; i < names->count; i++) {
		if (!tgsp_name_valid(names->names[i], strlen(names->names[i])))
			return tg_error(e, -EINVAL, "%s: '%s' is not a name", what, names->names[i]);
		if (i && strcmp(names->names[i - 1], names->names[i]) >= 0)
			return tg_error(e, -EINVAL, "%s: out of order or twice", what);
	}
	return 0;
}

static int by_path(const void *a, const void *b)
{
	const struct tg_tgsp_file *x = a, *y = b;

	return strcmp(x->path, y->path);
}

/* No file may be a folder for another one. */
static int check_parents(const struct tg_tgsp_manifest *m, const char *path, struct tg_error *e)
{
	char parent[TG_TGSP_MAX_PATH + 1];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		struct tg_tgsp_file key = { .path = parent };

		memcpy(parent, path, (size_t)(slash - path));
		parent[slash - path] = '\0';
		if (bsearch(&key, m->files, m->file_count, sizeof(*m->files), by_path))
			return tg_error(e, -EINVAL, "'%s' is a file and a folder", parent);
	}
	return 0;
}

static int check_files(const struct tg_tgsp_manifest *m, struct tg_error *e)
{
	uint64_t total = 0;

	if (!m->file_count || m->file_count > TG_TGSP_MAX_FILES)
		return tg_error(e, -EINVAL, "%zu files, expected 1 to %d", m->file_count, TG_TGSP_MAX_FILES);
	for (size_t i = 0; i < m->file_count; i++) {
		const struct tg_tgsp_file *file = &m->files[i];
		int ret = tg_tgsp_path_check(file->path, strlen(file->path), e);

		if (ret)
			return ret;
		if (i && strcmp(m->files[i - 1].path, file->path) >= 0)
			return tg_error(e, -EINVAL, "files out of order or twice");
		if (file->size > TG_TGSP_MAX_SIZE || (total += file->size) > TG_TGSP_MAX_SIZE)
			return tg_error(e, -EINVAL, "files of more than 2^50 bytes");
	}
	for (size_t i = 0; i < m->file_count; i++) {
		int ret = check_parents(m, m->files[i].path, e);

		if (ret)
			return ret;
	}
	return 0;
}

static int check_policy(const struct tg_tgsp_manifest *m, struct tg_error *e)
{
	uint32_t numbers[3];
	int ret = check_names(&m->policy.fleets, "fleets", e);

	if (!ret)
		ret = check_names(&m->policy.accelerators, "accelerators", e);
	if (!ret && m->policy.agent_version[0] &&
	    !tgsp_plain_version(m->policy.agent_version, strlen(m->policy.agent_version), numbers))
		ret = tg_error(e, -EINVAL, "the agent version is not MAJOR.MINOR.PATCH");
	return ret;
}

static int check_lineage(const struct tg_tgsp_manifest *m, struct tg_error *e)
{
	if (m->lineage.parent_count > TG_TGSP_MAX_LIST)
		return tg_error(e, -EINVAL, "parents: more than %d", TG_TGSP_MAX_LIST);
	for (size_t i = 1; i < m->lineage.parent_count; i++)
		if (memcmp(m->lineage.parents[i - 1], m->lineage.parents[i], TG_SHA256_LEN) >= 0)
			return tg_error(e, -EINVAL, "parents: out of order or twice");
	if (!tgsp_text_valid(m->lineage.training_run, strlen(m->lineage.training_run)))
		return tg_error(e, -EINVAL, "the training run has a control character");
	return 0;
}

int tg_tgsp_manifest_check(const struct tg_tgsp_manifest *m, struct tg_error *e)
{
	int ret;

	if (!tgsp_name_valid(m->model, strlen(m->model)))
		return tg_error(e, -EINVAL, "the model's name is not 1 to %d letters, digits, '.', '_', '-'",
				TG_TGSP_MAX_NAME);
	if (!tgsp_semver_valid(m->version, strlen(m->version)))
		return tg_error(e, -EINVAL, "the version is not a semantic version (MAJOR.MINOR.PATCH)");
	if (m->not_before >= m->not_after)
		return tg_error(e, -EINVAL, "the package is valid at no time");
	if (m->payload.segment < TG_FLOE_MIN_SEGMENT || m->payload.segment > TG_FLOE_MAX_SEGMENT)
		return tg_error(e, -EINVAL, "segments of %u bytes, expected %d to %u", m->payload.segment,
				TG_FLOE_MIN_SEGMENT, TG_FLOE_MAX_SEGMENT);
	ret = check_files(m, e);
	if (!ret && !tg_floe_body_len(m->payload.segment, tg_tgsp_plain_len(m)))
		ret = tg_error(e, -EINVAL, "segments too small for that many bytes");
	if (!ret)
		ret = check_policy(m, e);
	return ret ? ret : check_lineage(m, e);
}

int tg_tgsp_manifest_valid_at(const struct tg_tgsp_manifest *manifest, uint64_t now, struct tg_error *e)
{
	if (now < manifest->not_before)
		return tg_error(e, -EPERM, "the package is not valid yet");
	if (now >= manifest->not_after)
		return tg_error(e, -EPERM, "the package has expired");
	return 0;
}

static bool has_name(const struct tg_tgsp_names *names, const char *name)
{
	for (size_t i = 0; name && i < names->count; i++)
		if (!strcmp(names->names[i], name))
			return true;
	return false;
}

/* Whether `version` is at least the manifest's. */
static bool new_enough(const char *version, const char *lowest)
{
	uint32_t have[3], need[3];

	if (!lowest[0])
		return true;
	if (!version || !tgsp_plain_version(version, strlen(version), have) ||
	    !tgsp_plain_version(lowest, strlen(lowest), need))
		return false;
	for (int i = 0; i < 3; i++)
		if (have[i] != need[i])
			return have[i] > need[i];
	return true;
}

static bool has_accelerator(const struct tg_tgsp_manifest *m, const struct tg_tgsp_device *device)
{
	if (!m->policy.accelerators.count)
		return true;
	for (size_t i = 0; i < device->accelerator_count; i++)
		if (has_name(&m->policy.accelerators, device->accelerators[i]))
			return true;
	return false;
}

/* A contact that lies ahead of the clock says that the clock went back: it counts as none. */
static bool recent_contact(const struct tg_tgsp_manifest *m, const struct tg_tgsp_device *device,
			   uint64_t now)
{
	return !m->policy.offline_s || (device->last_contact && device->last_contact <= now &&
					now - device->last_contact <= m->policy.offline_s);
}

int tg_tgsp_manifest_permits(const struct tg_tgsp_manifest *m, const struct tg_tgsp_device *device,
			     uint64_t now, struct tg_error *e)
{
	int ret = tg_tgsp_manifest_valid_at(m, now, e);

	if (ret)
		return ret;
	if (m->policy.fleets.count && !has_name(&m->policy.fleets, device->fleet))
		return tg_error(e, -EPERM, "the package is not for this device's fleet");
	if (!new_enough(device->agent_version, m->policy.agent_version))
		return tg_error(e, -EPERM, "the package needs agent version %s", m->policy.agent_version);
	if (m->policy.attested && !device->attested)
		return tg_error(e, -EPERM, "the package is for attested devices only");
	if (!has_accelerator(m, device))
		return tg_error(e, -EPERM, "the package needs an accelerator that this device has not");
	if (!recent_contact(m, device, now))
		return tg_error(e, -ENETDOWN, "the device was offline for longer than the package allows");
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensorguard/file.h"
#include "trust/state.h"

#define PREFIX "generation-"

enum { FILE_MAX = 64 * 1024, RESERVE = 112 * 1024, FORMAT = 1 };

static int join(const char *folder, const char *name, char path[static PATH_MAX], struct tg_error *e)
{
	if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
		return tg_error(e, -ENAMETOOLONG, "%.100s...: the path is too long", folder);
	return 0;
}

/* ---- reading ---- */

/* 0 unless it is a generation's name. */
static unsigned number_of(const char *name)
{
	unsigned long number;
	char *end;

	if (strncmp(name, PREFIX, strlen(PREFIX)))
		return 0;
	name += strlen(PREFIX);
	if (*name < '1' || *name > '9')
		return 0;
	number = strtoul(name, &end, 10);
	return *end || number >= UINT_MAX ? 0 : (unsigned)number;
}

unsigned trust_generation(const char *directory)
{
	char path[PATH_MAX], target[64];
	ssize_t len;

	if (join(directory, "current", path, NULL))
		return 0;
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return 0;
	target[len] = '\0';
	return number_of(target);
}

static int read_part(const char *folder, const char *name, bool optional, struct tg_bytes *ret_bytes,
		     struct tg_error *e)
{
	char path[PATH_MAX];
	int ret = join(folder, name, path, e);

	if (!ret)
		ret = tg_file_read(path, FILE_MAX, ret_bytes, e);
	return ret == -ENOENT && optional ? 0 : ret;
}

static int take_text(const char *value, const char *key, char *ret_text, size_t room, struct tg_error *e)
{
	if (strlen(value) >= room)
		return tg_error(e, -EBADMSG, "%s is too long", key);
	strcpy(ret_text, value);
	return 0;
}

struct texts {
	const char *platform, *keys, *tcti, *event_log, *agent, *fleet, *assurance;
};

static int take_texts(const struct texts *t, struct trust_identity *identity, struct tg_error *e)
{
	int ret = take_text(t->platform, "platform", identity->platform, sizeof(identity->platform), e);

	identity->software = !strcmp(t->keys, "software");
	if (!ret && !identity->software && strcmp(t->keys, "tpm"))
		ret = tg_error(e, -EBADMSG, "keys: expected tpm or software");
	if (!ret)
		ret = take_text(t->tcti, "tcti", identity->tcti, sizeof(identity->tcti), e);
	if (!ret)
		ret = take_text(t->event_log, "event_log", identity->event_log, sizeof(identity->event_log),
				e);
	if (!ret)
		ret = take_text(t->agent, "agent", identity->agent, sizeof(identity->agent), e);
	if (!ret)
		ret = take_text(t->fleet, "fleet", identity->fleet, sizeof(identity->fleet), e);
	if (!ret && tg_assurance_from_name(t->assurance, &identity->assurance))
		ret = tg_error(e, -EBADMSG, "assurance: unknown");
	return ret;
}

static int parse(const struct tg_bytes *text, struct trust_identity *identity, struct tg_error *e)
{
	json_error_t error;
	json_t *root = json_loadb((const char *)text->data, text->len, JSON_REJECT_DUPLICATES, &error);
	json_int_t issued, not_after, skew;
	struct texts t;
	int format, ret;

	if (!root ||
	    json_unpack_ex(root, &error, 0, "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I !}",
			   "format", &format, "platform", &t.platform, "keys", &t.keys, "tcti", &t.tcti,
			   "event_log", &t.event_log, "agent", &t.agent, "fleet", &t.fleet, "assurance",
			   &t.assurance, "issued", &issued, "not_after", &not_after, "skew", &skew)) {
		ret = tg_error(e, -EBADMSG, "%s", error.text);
	} else if (format != FORMAT) {
		ret = tg_error(e, -EBADMSG, "format %d, expected %d", format, FORMAT);
	} else {
		identity->times = (struct trust_times){ issued, not_after, skew };
		ret = take_texts(&t, identity, e);
	}
	json_decref(root);
	return ret;
}

static int read_identity(struct trust_identity *identity, struct tg_error *e)
{
	struct tg_bytes text = { 0 };
	int ret = read_part(identity->folder, "identity.json", false, &text, e);

	if (ret)
		return ret;
	ret = parse(&text, identity, e);
	tg_bytes_free(&text);
	return ret ? tg_error_prefix(e, ret, "%s/identity.json", identity->folder) : 0;
}

/* A reason that cannot be read is one all the same. */
static int read_refused(struct trust_identity *identity, struct tg_error *e)
{
	struct tg_bytes text = { 0 };
	int ret = read_part(identity->folder, "refused", true, &text, e);

	if (!ret && text.data)
		snprintf(identity->refused, sizeof(identity->refused), "%.*s",
			 text.len > 1 ? (int)text.len - 1 : 1, text.len > 1 ? (const char *)text.data : "?");
	tg_bytes_free(&text);
	return ret;
}

static int load_parts(struct trust_identity *identity, struct tg_error *e)
{
	int ret = read_identity(identity, e);

	if (!ret)
		ret = read_part(identity->folder, "certificate.pem", false, &identity->certificate, e);
	if (!ret)
		ret = read_part(identity->folder, "ca.pem", false, &identity->ca, e);
	if (!ret)
		ret = read_part(identity->folder, "platform-ca.pem", true, &identity->platform_ca, e);
	if (!ret)
		ret = read_part(identity->folder, "policy-key.der", true, &identity->policy_key, e);
	if (!ret)
		ret = read_part(identity->folder, "models.root", true, &identity->model_root, e);
	return ret ? ret : read_refused(identity, e);
}

int trust_identity_load(const char *directory, struct trust_identity *ret_identity, struct tg_error *e)
{
	struct trust_identity *identity = calloc(1, sizeof(*identity));
	char name[64];
	int ret;

	if (!identity)
		return tg_error(e, -ENOMEM, "out of memory");
	identity->generation = trust_generation(directory);
	snprintf(name, sizeof(name), PREFIX "%u", identity->generation);
	if (identity->generation)
		ret = join(directory, name, identity->folder, e);
	else if (access(directory, R_OK | X_OK) && errno != ENOENT)
		ret = tg_error(e, -errno, "%s: %s", directory, strerror(errno));
	else
		ret = tg_error(e, -ENOENT, "this device has not been enrolled (%s has no identity)",
			       directory);
	if (!ret)
		ret = load_parts(identity, e);
	if (ret)
		trust_identity_clear(identity);
	else
		*ret_identity = *identity;
	free(identity);
	return ret;
}

void trust_identity_clear(struct trust_identity *identity)
{
	tg_bytes_free(&identity->certificate);
	tg_bytes_free(&identity->ca);
	tg_bytes_free(&identity->platform_ca);
	tg_bytes_free(&identity->policy_key);
	tg_bytes_free(&identity->model_root);
	*identity = (struct trust_identity){ 0 };
}

/* ---- writing ---- */

/*
 * The folder is the agent's, whoever it is that writes to it. What root writes and gives away is named by
 * descriptors and never through a symbolic link: whoever owns the folder can put one there at any time.
 */
/*
 * Whatever its group: what lies there is for its user alone, and who is not root can give nothing away; the
 * sandbox of trust ends it for trying.
 */
static bool is_own(const struct stat *owner)
{
	return owner->st_uid == geteuid();
}

/* NULL and errno for a symbolic link as for anything else that is no folder. */
static DIR *open_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

static void remove_folder(const char *folder)
{
	DIR *dir = open_folder(folder);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	/* something else in its place would be in the way of the generation of that number */
	if (rmdir(folder) && errno == ENOTDIR)
		unlink(folder);
}

/* Every generation but `keep`. */
static void remove_others(const char *directory, unsigned keep)
{
	DIR *dir = opendir(directory);
	const struct dirent *entry;
	char path[PATH_MAX];

	while (dir && (entry = readdir(dir))) {
		unsigned number = number_of(entry->d_name);

		if (number && number != keep && !join(directory, entry->d_name, path, NULL))
			remove_folder(path);
	}
	if (dir)
		closedir(dir);
}

static int make_directory(const char *directory, struct tg_error *e)
{
	struct stat st;

	if (mkdir(directory, 0700) && errno != EEXIST)
		return tg_error(e, -errno, "%s: %s", directory, strerror(errno));
	if (stat(directory, &st))
		return tg_error(e, -errno, "%s: %s", directory, strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_mode & 077)
		return tg_error(e, -EPERM, "%s: expected a folder that is its owner's alone (mode 0700)",
				directory);
	return 0;
}

/*
 * By what root can hold on to: a file that has another name somewhere is not given away, as it may be one of
 * root's own that was linked here. `fd` may be open with O_PATH.
 */
static int give(int fd, const struct stat *owner)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return -EPERM;
	return fchownat(fd, "", owner->st_uid, owner->st_gid, AT_EMPTY_PATH) ? -errno : 0;
}

static int open_lock(const char *directory, const char *path, int *ret_fd)
{
	struct stat owner;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), ret = 0;

	if (fd < 0 || stat(directory, &owner))
		ret = -errno;
	else if (!is_own(&owner))
		ret = give(fd, &owner);
	if (ret && fd >= 0)
		close(fd);
	if (!ret)
		*ret_fd = fd;
	return ret;
}

static int take_lock(const char *directory, int *ret_lock, struct tg_error *e)
{
	char path[PATH_MAX];
	int ret = join(directory, "lock", path, e), fd;

	if (ret)
		return ret;
	ret = open_lock(directory, path, &fd);
	if (ret)
		return tg_error(e, ret, "%s: %s", path, strerror(-ret));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return tg_error(e, -EBUSY, "%s: an enrolment or a renewal is under way", directory);
	}
	*ret_lock = fd;
	return 0;
}

static int reserve(const struct trust_draft *draft, struct tg_error *e)
{
	int fd = openat(draft->fd, "reserve", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int ret = fd < 0 ? errno : posix_fallocate(fd, 0, RESERVE);

	if (fd >= 0)
		close(fd);
	return ret ? tg_error(e, -ret, "%s/reserve: %s", draft->folder, strerror(ret)) : 0;
}

/* Makes the folder, and holds the one that it has made. */
static int make_folder(struct trust_draft *draft, struct tg_error *e)
{
	struct stat st;

	if (mkdir(draft->folder, 0700))
		return tg_error(e, -errno, "%s: %s", draft->folder, strerror(errno));
	draft->fd = open(draft->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (draft->fd < 0 || fstat(draft->fd, &st))
		return tg_error(e, -errno, "%s: %s", draft->folder, strerror(errno));
	if (st.st_uid != geteuid())
		return tg_error(e, -EPERM, "%s: somebody else has put another folder there", draft->folder);
	snprintf(draft->place, sizeof(draft->place), "/proc/self/fd/%d", draft->fd);
	return 0;
}

/* Whether its name still leads to it. */
static int check_folder(const struct trust_draft *draft, struct tg_error *e)
{
	struct stat ours, named;

	if (fstat(draft->fd, &ours) || lstat(draft->folder, &named))
		return tg_error(e, -errno, "%s: %s", draft->folder, strerror(errno));
	if (ours.st_ino != named.st_ino || ours.st_dev != named.st_dev)
		return tg_error(e, -ESTALE, "%s: somebody else has put something else there", draft->folder);
	return 0;
}

int trust_draft_begin(const char *directory, struct trust_draft *ret_draft, struct tg_error *e)
{
	struct trust_draft draft = { .lock = -1, .fd = -1 };
	unsigned current;
	int ret = make_directory(directory, e);

	if (!ret)
		ret = take_lock(directory, &draft.lock, e);
	if (ret)
		return ret;
	current = trust_generation(directory);
	remove_others(directory, current);
	draft.generation = current + 1;
	snprintf(draft.directory, sizeof(draft.directory), "%s", directory);
	if (snprintf(draft.folder, sizeof(draft.folder), "%s/" PREFIX "%u", directory, draft.generation) >=
	    PATH_MAX)
		ret = tg_error(e, -ENAMETOOLONG, "%.100s...: the path is too long", directory);
	if (!ret)
		ret = make_folder(&draft, e);
	if (!ret)
		ret = reserve(&draft, e);
	if (ret)
		trust_draft_end(&draft);
	else
		*ret_draft = draft;
	return ret;
}

static int write_part(const char *folder, const char *name, const struct tg_bytes *bytes, struct tg_error *e)
{
	char path[PATH_MAX];
	int ret = join(folder, name, path, e);

	return ret ? ret : tg_file_replace(path, bytes->data, bytes->len, 0600, e);
}

static int write_json(const char *folder, const struct trust_identity *identity, struct tg_error *e)
{
	json_t *root =
		json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "format", FORMAT,
			  "platform", identity->platform, "keys", identity->software ? "software" : "tpm",
			  "tcti", identity->tcti, "event_log", identity->event_log, "agent", identity->agent,
			  "fleet", identity->fleet, "assurance", tg_assurance_name(identity->assurance),
			  "issued", (json_int_t)identity->times.issued, "not_after",
			  (json_int_t)identity->times.not_after, "skew", (json_int_t)identity->times.skew);
	char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
	int ret = text ? write_part(folder, "identity.json",
				    &(struct tg_bytes){ (uint8_t *)text, strlen(text) }, e)
		       : tg_error(e, -ENOMEM, "out of memory");

	free(text);
	json_decref(root);
	return ret;
}

static int write_all(const struct trust_draft *draft, const struct trust_identity *identity,
		     struct tg_error *e)
{
	int ret = write_part(draft->place, "certificate.pem", &identity->certificate, e);

	if (!ret)
		ret = write_part(draft->place, "ca.pem", &identity->ca, e);
	if (!ret && identity->platform_ca.len)
		ret = write_part(draft->place, "platform-ca.pem", &identity->platform_ca, e);
	if (!ret && identity->policy_key.len)
		ret = write_part(draft->place, "policy-key.der", &identity->policy_key, e);
	if (!ret && identity->model_root.len)
		ret = write_part(draft->place, "models.root", &identity->model_root, e);
	return ret ? ret : write_json(draft->place, identity, e);
}

static int give_entry(DIR *dir, const char *name, const struct stat *owner)
{
	int fd = openat(dirfd(dir), name, O_PATH | O_NOFOLLOW | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = give(fd, owner);
	close(fd);
	return ret;
}

/* The folder last: from then on its owner can put anything into it. */
static int give_each(DIR *dir, const struct stat *owner)
{
	const struct dirent *entry;
	int ret = 0;

	while (!ret && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			ret = give_entry(dir, entry->d_name, owner);
	return !ret && fchown(dirfd(dir), owner->st_uid, owner->st_gid) ? -errno : ret;
}

static int give_all(const struct trust_draft *draft, struct tg_error *e)
{
	struct stat owner;
	DIR *dir;
	int ret;

	if (stat(draft->directory, &owner))
		return tg_error(e, -errno, "%s: %s", draft->directory, strerror(errno));
	if (is_own(&owner))
		return 0;
	dir = opendir(draft->place);
	if (!dir)
		return tg_error(e, -errno, "%s: %s", draft->folder, strerror(errno));
	ret = give_each(dir, &owner);
	closedir(dir);
	return ret ? tg_error(e, ret, "%s: %s", draft->folder, strerror(-ret)) : 0;
}

/* The moment at which the new generation is in force. */
static int switch_over(const struct trust_draft *draft, struct tg_error *e)
{
	char link[PATH_MAX], fresh[PATH_MAX], target[64];
	int ret = join(draft->directory, "current", link, e);

	if (!ret)
		ret = join(draft->directory, "current.new", fresh, e);
	if (ret)
		return ret;
	snprintf(target, sizeof(target), PREFIX "%u", draft->generation);
	unlink(fresh);
	if (symlink(target, fresh) || rename(fresh, link))
		return tg_error(e, -errno, "%s: %s", link, strerror(errno));
	return tg_folder_sync(draft->directory, e);
}

int trust_draft_commit(struct trust_draft *draft, struct trust_identity *identity, struct tg_error *e)
{
	int ret = unlinkat(draft->fd, "reserve", 0)
			  ? tg_error(e, -errno, "%s/reserve: %s", draft->folder, strerror(errno))
			  : write_all(draft, identity, e);

	if (!ret)
		ret = give_all(draft, e);
	if (!ret)
		ret = tg_folder_sync(draft->place, e);
	if (!ret)
		ret = check_folder(draft, e);
	if (!ret)
		ret = switch_over(draft, e);
	if (ret)
		return ret;
	identity->generation = draft->generation;
	strcpy(identity->folder, draft->folder);
	remove_others(draft->directory, draft->generation);
	return 0;
}

void trust_draft_end(struct trust_draft *draft)
{
	if (draft->lock < 0)
		return;
	if (draft->folder[0] && trust_generation(draft->directory) != draft->generation)
		remove_folder(draft->folder);
	if (draft->fd >= 0)
		close(draft->fd);
	close(draft->lock);
	draft->lock = -1;
}

int trust_refused(const struct trust_identity *identity, const char *reason, struct tg_error *e)
{
	char line[TRUST_REASON_LEN + 1];
	int len = snprintf(line, sizeof(line), "%.*s\n", TRUST_REASON_LEN - 1, reason);

	return write_part(identity->folder, "refused", &(struct tg_bytes){ (uint8_t *)line, (size_t)len }, e);
}

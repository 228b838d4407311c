/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dataplane/dataplane.h"
#include "guardian.skel.h"

enum { PIN_PATH_MAX = 512 };

const char *const dp_map_names[DP_MAP_COUNT] = {
	[DP_POLICY] = "policy",
	[DP_CONFIG] = "config",
	[DP_CLASSES] = "classes",
	[DP_RULES] = "rules",
	[DP_RULES4] = "rules4",
	[DP_RULES6] = "rules6",
	[DP_FLOWS] = "flows",
	[DP_QUEUES] = "queues",
	[DP_SESSIONS] = "sessions",
	[DP_PEERS] = "peers",
	[DP_DEVICES] = "devices",
	[DP_PORTS] = "ports",
	[DP_STATS] = "stats",
	[DP_REASONS] = "reasons",
	[DP_DRAWS] = "draws",
	[DP_METRONOMES] = "metronomes",
	[DP_METRONOME_STATE] = "metronome_state",
	[DP_EXPONENTIAL] = "exponential",
	[DP_BUDGET] = "budget",
	[DP_SPENDING] = "spending",
	[DP_PACED] = "paced",
	[DP_PACED_SESSIONS] = "paced_sessions",
};

const char *const dp_prog_names[DP_PROG_COUNT] = {
	[DP_EGRESS] = "tg_egress", [DP_INGRESS] = "tg_ingress", [DP_SEGMENT] = "tg_segment",
	[DP_STEER] = "tg_steer",   [DP_RELEASE] = "tg_release", [DP_METRONOME] = "tg_metronome",
	[DP_TIMED] = "tg_timed",   [DP_MUTE] = "tg_mute",
};

/* What libbpf said last: the verifier's reason, mostly. */
static char last_warning[256];

static int keep_warning(enum libbpf_print_level level, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

static int keep_warning(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[1024];
	size_t len;

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = 0;
	len = strlen(line);
	snprintf(last_warning, sizeof(last_warning), "%.250s", len < 250 ? line : line + len - 250);
	return 0;
}

void dataplane_quiet(void)
{
	libbpf_set_print(keep_warning);
}

static int pin_path(char path[PIN_PATH_MAX], const char *pin_dir, const char *tunnel, const char *name,
		    struct tg_error *e)
{
	int n = name ? snprintf(path, PIN_PATH_MAX, "%s/%s/%s", pin_dir, tunnel, name)
		     : snprintf(path, PIN_PATH_MAX, "%s/%s", pin_dir, tunnel);

	return n < PIN_PATH_MAX ? 0 : tg_error(e, -ENAMETOOLONG, "the pin folder's path is too long");
}

static struct dataplane *dataplane_new(const char *tunnel)
{
	struct dataplane *dp = calloc(1, sizeof(*dp));

	if (!dp)
		return NULL;
	snprintf(dp->tunnel, sizeof(dp->tunnel), "%s", tunnel);
	memset(dp->maps, 0xff, sizeof(dp->maps));
	memset(dp->progs, 0xff, sizeof(dp->progs));
	return dp;
}

void dataplane_close(struct dataplane *dp)
{
	if (!dp)
		return;
	for (int i = 0; i < DP_MAP_COUNT; i++)
		if (dp->maps[i] >= 0)
			close(dp->maps[i]);
	for (int i = 0; i < DP_PROG_COUNT; i++)
		if (dp->progs[i] >= 0)
			close(dp->progs[i]);
	free(dp);
}

static int open_pin(const char *pin_dir, const char *tunnel, const char *name, int *ret_fd,
		    struct tg_error *e)
{
	char path[PIN_PATH_MAX];
	int ret, fd;

	ret = pin_path(path, pin_dir, tunnel, name, e);
	if (ret)
		return ret;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	*ret_fd = fd;
	return 0;
}

static int map_entries(int fd, unsigned *ret_entries, struct tg_error *e)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return tg_error(e, -errno, "cannot read the size of a map: %s", strerror(errno));
	*ret_entries = info.max_entries;
	return 0;
}

int dataplane_open(const char *pin_dir, const char *tunnel, struct dataplane **ret_dp, struct tg_error *e)
{
	struct dataplane *dp = dataplane_new(tunnel);
	int ret = 0;

	dataplane_quiet();
	if (!dp)
		return tg_error(e, -ENOMEM, "out of memory");
	for (int i = 0; i < DP_MAP_COUNT && !ret; i++)
		ret = open_pin(pin_dir, tunnel, dp_map_names[i], &dp->maps[i], e);
	for (int i = 0; i < DP_PROG_COUNT && !ret; i++)
		ret = open_pin(pin_dir, tunnel, dp_prog_names[i], &dp->progs[i], e);
	if (!ret)
		ret = map_entries(dp->maps[DP_QUEUES], &dp->queues, e);
	if (!ret)
		ret = map_entries(dp->maps[DP_PEERS], &dp->room, e);
	if (!ret)
		ret = map_entries(dp->maps[DP_SESSIONS], &dp->blocks, e);
	if (!ret)
		ret = map_entries(dp->maps[DP_PACED_SESSIONS], &dp->paced, e);
	if (!ret)
		dp->paced /= dp->room;
	if (!ret)
		dp->blocks /= dp->room;
	if (ret) {
		dataplane_close(dp);
		return ret;
	}
	*ret_dp = dp;
	return 0;
}

static int prog_tag(int fd, uint8_t ret_tag[BPF_TAG_SIZE])
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	memcpy(ret_tag, info.tag, BPF_TAG_SIZE);
	return 0;
}

static int skeleton_prog_fd(const struct guardian_bpf *skel, enum dp_prog prog)
{
	const struct bpf_program *const progs[DP_PROG_COUNT] = {
		[DP_EGRESS] = skel->progs.tg_egress,   [DP_INGRESS] = skel->progs.tg_ingress,
		[DP_SEGMENT] = skel->progs.tg_segment, [DP_STEER] = skel->progs.tg_steer,
		[DP_RELEASE] = skel->progs.tg_release, [DP_METRONOME] = skel->progs.tg_metronome,
		[DP_TIMED] = skel->progs.tg_timed,     [DP_MUTE] = skel->progs.tg_mute,
	};

	return bpf_program__fd(progs[prog]);
}

/* Whether the pinned programs are those of this build: the kernel's tag is a hash of the instructions. */
static bool same_build(const struct dataplane *dp, const struct guardian_bpf *skel)
{
	uint8_t pinned[BPF_TAG_SIZE], built[BPF_TAG_SIZE];

	for (int i = 0; i < DP_PROG_COUNT; i++)
		if (prog_tag(dp->progs[i], pinned) || prog_tag(skeleton_prog_fd(skel, i), built) ||
		    memcmp(pinned, built, BPF_TAG_SIZE))
			return false;
	return true;
}

static int mount_bpffs(const char *pin_dir, struct tg_error *e)
{
	static const char mount_point[] = "/sys/fs/bpf";
	struct statfs fs;

	if (strncmp(pin_dir, mount_point, sizeof(mount_point) - 1))
		return 0;
	if (statfs(mount_point, &fs))
		return tg_error(e, -errno, "%s: %s; has this kernel CONFIG_BPF_SYSCALL?", mount_point,
				strerror(errno));
	if ((unsigned long)fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (mount("bpf", mount_point, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return tg_error(e, -errno, "cannot mount a BPF file system on %s: %s", mount_point,
				strerror(errno));
	return 0;
}

static int make_dir(const char *path, struct tg_error *e)
{
	struct statfs fs;

	if (mkdir(path, 0700) && errno != EEXIST)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	if (statfs(path, &fs) || (unsigned long)fs.f_type != BPF_FS_MAGIC)
		return tg_error(e, -EINVAL, "%s is not on a BPF file system", path);
	return 0;
}

static int pin_one(int fd, const char *pin_dir, const char *tunnel, const char *name, struct tg_error *e)
{
	char path[PIN_PATH_MAX];
	int ret = pin_path(path, pin_dir, tunnel, name, e);

	if (ret)
		return ret;
	if (bpf_obj_pin(fd, path))
		return tg_error(e, -errno, "cannot pin %s: %s", path, strerror(errno));
	return 0;
}

/* Maps first, programs last: a set without programs counts as not there, whatever killed us in between. */
static int pin_all(struct guardian_bpf *skel, const char *pin_dir, const char *tunnel, struct tg_error *e)
{
	char dir[PIN_PATH_MAX];
	int ret;

	ret = dataplane_unpin(pin_dir, tunnel, e);
	if (!ret)
		ret = make_dir(pin_dir, e);
	if (!ret)
		ret = pin_path(dir, pin_dir, tunnel, NULL, e);
	if (!ret)
		ret = make_dir(dir, e);
	for (int i = 0; i < DP_MAP_COUNT && !ret; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(skel->obj, dp_map_names[i]);

		ret = map ? pin_one(bpf_map__fd(map), pin_dir, tunnel, dp_map_names[i], e)
			  : tg_error(e, -ENOENT, "no map %s in the BPF object", dp_map_names[i]);
	}
	for (int i = 0; i < DP_PROG_COUNT && !ret; i++)
		ret = pin_one(skeleton_prog_fd(skel, i), pin_dir, tunnel, dp_prog_names[i], e);
	return ret;
}

/* Entries of the maps that the policy sizes. */
struct size {
	unsigned queues, room, blocks, paced;
};

/* No map is empty. */
static unsigned at_least_one(unsigned entries)
{
	return entries ? entries : 1;
}

static int size_maps(struct guardian_bpf *skel, const struct size *size)
{
	int ret = bpf_map__set_max_entries(skel->maps.queues, size->queues);

	if (!ret)
		ret = bpf_map__set_max_entries(skel->maps.peers, size->room);
	if (!ret)
		ret = bpf_map__set_max_entries(skel->maps.sessions, at_least_one(size->blocks * size->room));
	if (!ret)
		ret = bpf_map__set_max_entries(skel->maps.paced_sessions,
					       at_least_one(size->paced * size->room));
	return ret;
}

static int load_skeleton(const struct size *size, struct guardian_bpf **ret_skel, struct tg_error *e)
{
	struct tg_siphash_key key;
	struct guardian_bpf *skel;
	int ret;

	last_warning[0] = 0;
	dataplane_quiet();
	skel = guardian_bpf__open();
	if (!skel)
		return tg_error(e, -errno, "cannot open the BPF object: %s", strerror(errno));
	ret = size_maps(skel, size);
	if (!ret && getrandom(&key, sizeof(key), 0) != sizeof(key))
		ret = -EIO;	/* so few bytes come whole once the machine has booted */
	if (!ret) {
		memcpy((void *)&skel->rodata->draw_key, &key, sizeof(key));
		ret = guardian_bpf__load(skel);
	}
	if (ret) {
		guardian_bpf__destroy(skel);
		return tg_error(e, ret, "cannot load the BPF programs: %s: %s", strerror(-ret), last_warning);
	}
	*ret_skel = skel;
	return 0;
}

int dataplane_probe(unsigned ifindex, struct tg_error *e)
{
	struct dataplane dp = { .tunnel = "probe" };
	const struct size size = { .queues = 1, .room = 1 };
	struct guardian_bpf *skel;
	int ret = load_skeleton(&size, &skel, e);

	if (ret)
		return ret;
	for (int i = 0; i < DP_PROG_COUNT; i++)
		dp.progs[i] = skeleton_prog_fd(skel, i);
	ret = dataplane_attach(&dp, DP_EGRESS, ifindex, DP_HOOK_EGRESS, e);
	guardian_bpf__destroy(skel);
	return ret;
}

int dataplane_probe_clock(struct net *net, unsigned ifindex, struct tg_error *e)
{
	enum { PERIOD_NS = 5000000 };
	const struct size size = { .queues = 1, .room = 1 };
	struct guardian_bpf *skel;
	bool wanted = true, fresh;
	int ret = load_skeleton(&size, &skel, e);

	if (ret)
		return ret;
	ret = net_clock_ensure(net, ifindex, PERIOD_NS, skeleton_prog_fd(skel, DP_STEER), &wanted, 1, &fresh,
			       e);
	guardian_bpf__destroy(skel);
	return ret;
}

/*
 * What the tunnel needs, and a quarter more peers: most changes then go without
 * loading anew. Of queues twice as many, as those of the policy before are drained
 * beside the new ones; but sessions move from queue to queue with their entries.
 * What the agent paces has entries of its own instead.
 */
static struct size wanted_size(const struct dataplane *dp, const struct tg_tunnel *tunnel,
			       enum tg_engine engine)
{
	size_t need = roster_need(dp, tunnel), paced = 0;
	struct size size = { .queues = 2, .room = (unsigned)(need > 1 ? need + need / 4 : 1) };

	for (size_t i = 0; i < tunnel->class_count; i++)
		paced += tg_defence_is_paced(tunnel->classes[i].defence);
	if (engine == TG_ENGINE_QUEUE)
		size.paced = (unsigned)paced;
	else
		size.blocks = (unsigned)paced;
	if (size.queues < 2 * size.blocks)
		size.queues = 2 * size.blocks;
	return size;
}

static bool has_room(const struct dataplane *dp, const struct size *size, size_t need)
{
	return dp->queues >= size->queues && dp->blocks >= size->blocks && dp->paced >= size->paced &&
	       dp->room >= need;
}

static int pin_afresh(struct guardian_bpf *skel, const char *pin_dir, const char *tunnel,
		      struct dataplane **dp, struct tg_error *e)
{
	int ret;

	dataplane_close(*dp);
	*dp = NULL;
	ret = pin_all(skel, pin_dir, tunnel, e);
	return ret ? ret : dataplane_open(pin_dir, tunnel, dp, e);
}

int dataplane_ensure(const char *pin_dir, const struct tg_tunnel *tunnel, enum tg_engine engine,
		     struct dataplane **ret_dp, bool *ret_fresh, struct tg_error *e)
{
	struct dataplane *dp = NULL;
	struct guardian_bpf *skel;
	struct size size;
	bool fresh;
	int ret;

	ret = mount_bpffs(pin_dir, e);
	if (ret)
		return ret;
	dataplane_open(pin_dir, tunnel->name, &dp, NULL);
	size = wanted_size(dp, tunnel, engine);
	ret = load_skeleton(&size, &skel, e);
	if (ret) {
		dataplane_close(dp);
		return ret;
	}
	fresh = !dp || !same_build(dp, skel) || !has_room(dp, &size, roster_need(dp, tunnel));
	if (fresh)
		ret = pin_afresh(skel, pin_dir, tunnel->name, &dp, e);
	guardian_bpf__destroy(skel);
	if (ret)
		return ret;
	*ret_dp = dp;
	*ret_fresh = fresh;
	return 0;
}

static int unpin_names(const char *pin_dir, const char *tunnel, const char *const *names, size_t count,
		       struct tg_error *e)
{
	char path[PIN_PATH_MAX];
	int ret = 0;

	for (size_t i = 0; i < count && !ret; i++) {
		ret = pin_path(path, pin_dir, tunnel, names[i], e);
		if (!ret && unlink(path) && errno != ENOENT && errno != ENOTDIR)
			ret = tg_error(e, -errno, "%s: %s", path, strerror(errno));
	}
	return ret;
}

int dataplane_unpin(const char *pin_dir, const char *tunnel, struct tg_error *e)
{
	char dir[PIN_PATH_MAX];
	int ret;

	ret = unpin_names(pin_dir, tunnel, dp_prog_names, DP_PROG_COUNT, e);
	if (!ret)
		ret = unpin_names(pin_dir, tunnel, dp_map_names, DP_MAP_COUNT, e);
	if (!ret)
		ret = pin_path(dir, pin_dir, tunnel, NULL, e);
	if (!ret && rmdir(dir) && errno != ENOENT)
		ret = tg_error(e, -errno, "%s: %s", dir, strerror(errno));
	if (!ret && rmdir(pin_dir) && errno != ENOENT && errno != ENOTEMPTY && errno != EBUSY)
		ret = tg_error(e, -errno, "%s: %s", pin_dir, strerror(errno));
	return ret;
}

static int add_name(char ***names, size_t *count, const char *name)
{
	char **grown = realloc(*names, (*count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	*names = grown;
	grown[*count] = strdup(name);
	if (!grown[*count])
		return -ENOMEM;
	(*count)++;
	return 0;
}

int dataplane_list(const char *pin_dir, char ***ret_names, size_t *ret_count, struct tg_error *e)
{
	struct dirent *entry;
	char **names = NULL;
	size_t count = 0;
	int ret = 0;
	DIR *dir = opendir(pin_dir);

	/* a file of that name: nothing of ours is in it, and `down` has other things to take away */
	if (!dir && errno != ENOENT && errno != ENOTDIR)
		return tg_error(e, -errno, "%s: %s", pin_dir, strerror(errno));
	while (dir && !ret && (entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			ret = add_name(&names, &count, entry->d_name);
	if (dir)
		closedir(dir);
	if (ret) {
		while (count)
			free(names[--count]);
		free(names);
		return tg_error(e, ret, "out of memory");
	}
	*ret_names = names;
	*ret_count = count;
	return 0;
}

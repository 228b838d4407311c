/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "guard/flowmap.h"

static int open_pin(const char *pin_dir, const char *tunnel, const char *name)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s/%s", pin_dir, tunnel, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return bpf_obj_get(path);
}

/* A map of another layout under our name must not be written to. */
static int open_map(const char *pin_dir, const char *tunnel, const char *name, __u32 key_size,
		    __u32 value_size)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	int fd = open_pin(pin_dir, tunnel, name);

	if (fd < 0)
		return -1;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) || info.key_size != key_size ||
	    info.value_size != value_size) {
		close(fd);
		return -1;
	}
	return fd;
}

static uint64_t read_generation(int fd)
{
	struct tg_policy_word word = { 0 };
	__u32 zero = 0;

	if (fd < 0 || bpf_map_lookup_elem(fd, &zero, &word))
		return 0;
	return word.generation;
}

void flowmap_retry(struct flowmap *map, const char *pin_dir, const struct tg_policy *policy,
		   size_t *ret_missing)
{
	size_t missing = 0;

	for (size_t i = 0; i < map->count; i++) {
		const char *name = policy->tunnels[i].name;

		if (map->tunnels[i].policy < 0) {
			map->tunnels[i].policy = open_map(pin_dir, name, "policy", sizeof(__u32),
							  sizeof(struct tg_policy_word));
			map->tunnels[i].generation = read_generation(map->tunnels[i].policy);
		}
		if (map->tunnels[i].flows < 0)
			map->tunnels[i].flows = open_map(pin_dir, name, "flows", sizeof(struct tg_flow_key),
							 sizeof(struct tg_flow));
		missing += map->tunnels[i].flows < 0;
	}
	*ret_missing = missing;
}

void flowmap_open(struct flowmap *map, const char *pin_dir, const struct tg_policy *policy)
{
	size_t missing;

	map->count = policy->tunnel_count;
	for (size_t i = 0; i < map->count; i++)
		map->tunnels[i].flows = map->tunnels[i].policy = -1;
	flowmap_retry(map, pin_dir, policy, &missing);
}

void flowmap_close(struct flowmap *map)
{
	for (size_t i = 0; i < map->count; i++) {
		if (map->tunnels[i].flows >= 0)
			close(map->tunnels[i].flows);
		if (map->tunnels[i].policy >= 0)
			close(map->tunnels[i].policy);
	}
	map->count = 0;
}

bool flowmap_is_stale(const struct flowmap *map)
{
	for (size_t i = 0; i < map->count; i++)
		if (read_generation(map->tunnels[i].policy) != map->tunnels[i].generation)
			return true;
	return false;
}

static __u32 map_id(int fd)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.id;
}

bool flowmap_is_replaced(const struct flowmap *map, const char *pin_dir, const struct tg_policy *policy)
{
	bool replaced = false;

	for (size_t i = 0; i < map->count && !replaced; i++) {
		int fd;

		if (map->tunnels[i].flows < 0)
			continue;
		fd = open_pin(pin_dir, policy->tunnels[i].name, "flows");
		if (fd < 0)
			continue;
		replaced = map_id(fd) != map_id(map->tunnels[i].flows);
		close(fd);
	}
	return replaced;
}

int flowmap_write(const struct flowmap *map, const struct tg_flow_key *key, const struct decision *decision,
		  uint64_t now)
{
	struct tg_flow flow = {
		.decided_ns = now,
		.generation = (__u32)map->tunnels[decision->tunnel].generation,
		.class = (__u16)decision->class,
	};
	int fd = map->tunnels[decision->tunnel].flows;

	if (fd < 0)
		return -ENOENT;
	return bpf_map_update_elem(fd, key, &flow, BPF_ANY) ? -errno : 0;
}

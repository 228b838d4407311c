/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device features through the ethtool ioctl: kernels name them with strings,
 * so that nothing here depends on a header's bit numbers.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net/internal.h"

enum { MAX_FEATURES = 1024 };

static bool begins(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

bool net_feature_is_offload(const char *feature)
{
	if (begins(feature, "tx-"))
		return strstr(feature, "segmentation") || begins(feature, "tx-gso-");
	return begins(feature, "rx-gro") || begins(feature, "rx-lro") ||
	       !strcmp(feature, "rx-udp-gro-forwarding");
}

static int call(int fd, const char *name, void *command)
{
	struct ifreq request = { .ifr_data = command };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

static int feature_count(int fd, const char *name, unsigned *ret_count)
{
	union {
		struct ethtool_sset_info info;
		char room[sizeof(struct ethtool_sset_info) + sizeof(uint32_t)];
	} query;
	int err;

	memset(&query, 0, sizeof(query));
	query.info.cmd = ETHTOOL_GSSET_INFO;
	query.info.sset_mask = 1ull << ETH_SS_FEATURES;
	err = call(fd, name, &query);
	if (err)
		return err;
	if (!query.info.sset_mask || query.info.data[0] > MAX_FEATURES)
		return -EOPNOTSUPP;
	*ret_count = query.info.data[0];
	return 0;
}

static int feature_names(int fd, const char *name, unsigned count, struct ethtool_gstrings **ret_names)
{
	struct ethtool_gstrings *names = calloc(1, sizeof(*names) + (size_t)count * ETH_GSTRING_LEN);
	int err;

	if (!names)
		return -ENOMEM;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = count;
	err = call(fd, name, names);
	if (err) {
		free(names);
		return err;
	}
	for (unsigned i = 0; i < count; i++)
		names->data[(i + 1) * ETH_GSTRING_LEN - 1] = '\0';
	*ret_names = names;
	return 0;
}

static int features_get(int fd, const char *name, unsigned blocks, struct ethtool_gfeatures **ret_features)
{
	struct ethtool_gfeatures *features =
		calloc(1, sizeof(*features) + blocks * sizeof(features->features[0]));
	int err;

	if (!features)
		return -ENOMEM;
	features->cmd = ETHTOOL_GFEATURES;
	features->size = blocks;
	err = call(fd, name, features);
	if (err) {
		free(features);
		return err;
	}
	*ret_features = features;
	return 0;
}

/*
 * The offloads that are on; NULL in *ret_first when none is. Those of them that can be changed go into
 * `set`.
 */
static int find_active(int fd, const char *name, const struct ethtool_gstrings *names,
		       struct ethtool_sfeatures *set, const char **ret_first)
{
	struct ethtool_gfeatures *now;
	int err = features_get(fd, name, set->size, &now);

	if (err)
		return err;
	*ret_first = NULL;
	for (unsigned i = 0; i < names->len; i++) {
		const char *feature = (const char *)names->data + (size_t)i * ETH_GSTRING_LEN;
		const struct ethtool_get_features_block *block = &now->features[i / 32];
		uint32_t bit = 1u << (i % 32);

		/* what is merely requested would come back with the next change of another feature */
		if (!net_feature_is_offload(feature) || !((block->active | block->requested) & bit))
			continue;
		if ((block->available & bit) && !(block->never_changed & bit))
			set->features[i / 32].valid |= bit;
		if (block->active & bit)
			*ret_first = feature;
	}
	free(now);
	return 0;
}

static int switch_off(int fd, const char *name, const struct ethtool_gstrings *names, struct tg_error *e)
{
	unsigned blocks = (names->len + 31) / 32;
	struct ethtool_sfeatures *set = calloc(1, sizeof(*set) + blocks * sizeof(set->features[0]));
	const char *active;
	int err;

	if (!set)
		return tg_error(e, -ENOMEM, "out of memory");
	set->cmd = ETHTOOL_SFEATURES;
	set->size = blocks;
	err = find_active(fd, name, names, set, &active);
	if (!err)
		err = call(fd, name, set);	/* valid bits with requested = 0: off */
	if (!err)
		err = find_active(fd, name, names, set, &active);
	if (err)
		tg_error(e, err, "link %s: cannot change offloads: %s", name, strerror(-err));
	else if (active)
		err = tg_error(e, -EOPNOTSUPP, "link %s: offload %s cannot be turned off", name, active);
	free(set);
	return err;
}

int net_offload_off(const char *name, struct tg_error *e)
{
	struct ethtool_gstrings *names = NULL;
	unsigned count;
	int fd, err;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return tg_error(e, -errno, "cannot open a socket: %s", strerror(errno));
	err = feature_count(fd, name, &count);
	if (!err)
		err = feature_names(fd, name, count, &names);
	if (err)
		tg_error(e, err, "link %s: cannot list device features: %s", name, strerror(-err));
	else
		err = switch_off(fd, name, names, e);
	free(names);
	close(fd);
	return err;
}

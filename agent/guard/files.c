/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guard/files.h"

const char *files_policy(const struct guard_conf *conf, char buffer[PATH_MAX])
{
	if (conf->policy)
		return conf->policy;
	snprintf(buffer, PATH_MAX, "%s/policy.conf", conf->run_dir);
	return buffer;
}

const char *files_site(const struct guard_conf *conf, char buffer[PATH_MAX])
{
	if (conf->policy || conf->site)
		return conf->site;
	snprintf(buffer, PATH_MAX, "%s/site.conf", conf->run_dir);
	return access(buffer, F_OK) ? NULL : buffer;
}

void files_stat(const struct guard_conf *conf, struct stat files[2])
{
	char policy[PATH_MAX], site[PATH_MAX];
	const char *site_file = files_site(conf, site);

	memset(files, 0, 2 * sizeof(files[0]));
	if (stat(files_policy(conf, policy), &files[0]))
		memset(&files[0], 0, sizeof(files[0]));
	if (site_file && stat(site_file, &files[1]))
		memset(&files[1], 0, sizeof(files[1]));
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

bool files_changed(const struct guard_conf *conf, const struct stat files[2])
{
	struct stat now[2];

	files_stat(conf, now);
	return now[0].st_ino && (!same_file(&now[0], &files[0]) || !same_file(&now[1], &files[1]));
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is at the other end of a connection, and whether models.conf lets that process have a model. */
#ifndef AGENT_VAULT_PEER_H
#define AGENT_VAULT_PEER_H

#include <stdbool.h>
#include <sys/types.h>

#include "tensorguard/models.h"

enum { PEER_CGROUP_LEN = 4096 };

struct peer {
	uid_t uid;	/* when it connected */
	pid_t pid;
	int pidfd;	/* of that process, which its number alone would not be for ever */
};

int peer_of(int fd, struct peer *ret_peer, struct tg_error *e);
void peer_close(struct peer *peer);

/* Its cgroup now, without the slash that it begins with. -ESRCH when the process has ended. */
int peer_cgroup(const struct peer *peer, char ret_path[static PEER_CGROUP_LEN], struct tg_error *e);

/* Whether `path` is `group` or below it. */
bool peer_is_below(const char *path, const char *group);

/* Whether anything at all is for this user. */
bool peer_is_known(const struct tg_models_conf *conf, uid_t uid);
/* The consumer that it is: -EACCES with the reason. */
int peer_consumer(const struct tg_models_conf *conf, const struct peer *peer, const char *model,
		  const struct tg_models_consumer **ret_consumer, struct tg_error *e);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The file that says who on this machine may use models (tensorguard-models(5)). */
#ifndef TENSORGUARD_MODELS_H
#define TENSORGUARD_MODELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

#define TG_MODELS_FILE "/etc/tensorguard/models.conf"
#define TG_MODELS_CONSUMERS 64
#define TG_MODELS_LIST 64	/* models of a consumer, accelerators */

struct tg_models_consumer {
	char name[64];
	uint32_t uid;
	char *cgroup;		/* its processes are in this one or below it; NULL: anywhere */
	char **models;		/* NULL: all */
	size_t model_count;
};

struct tg_models_conf {
	char *root;		/* file of the first root that is trusted; NULL: that of the enrolment */
	uint64_t quota;		/* bytes that packages may take; 0: what the file system has */
	bool listed;		/* packages must be named by signed targets */
	char **accelerators;	/* what the device has */
	size_t accelerator_count;
	struct tg_models_consumer *consumers;
	size_t consumer_count;
};

/*
 * Reads the file, strictly: unknown keys, users that are not in /etc/passwd and names that no model can have
 * are errors, with their line. -ENOENT, -EINVAL, -ENOMEM. Free it with tg_models_conf_free().
 */
int tg_models_conf_load(const char *path, struct tg_models_conf **ret_conf, struct tg_error *e);
void tg_models_conf_free(struct tg_models_conf *conf); /* NULL-safe */

/* The number of a user of /etc/passwd; other sources of names are not asked. -ENOENT. */
int tg_user_number(const char *name, uint32_t *ret_uid);

#endif

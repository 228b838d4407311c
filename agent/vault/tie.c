/* SPDX-License-Identifier: BSD-3-Clause */
/* The floor and the TPM's counter: who puts an older copy of vault's folder back gets nothing opened. */
#include <errno.h>
#include <string.h>

#include "vault/internal.h"

/* What the store has and the floor may lack. */
static void hold(struct vault *v, int (*into_floor)(struct store *store, struct tg_error *e),
		 const char *failed)
{
	struct tg_error e = { "" };
	int ret;

	pthread_mutex_lock(&v->lock);
	ret = into_floor(&v->store, &e);
	pthread_mutex_unlock(&v->lock);
	if (ret)
		vault_report(v, failed, NULL, NULL, e.message);
}

void vault_tie_floor(struct vault *v)
{
	bool tpm = link_counter(&v->link, &v->counter);
	struct tg_error e = { "" };
	int ret = tg_floor_tie(v->store.floor, tpm ? &v->counter : NULL, &e);
	bool news = ret && strcmp(v->floor_problem.message, e.message);

	v->floor_held = true;
	v->floor_err = ret;
	v->floor_problem = e;
	if (news)
		vault_report(v, "opens nothing", NULL, NULL, e.message);
	/* trust comes again, and with it the next attempt */
	if (ret && ret != -ESTALE)
		link_drop(&v->link);
	if (!ret) {
		vault_hold_revoked(v);
		/* documents that were kept when the power went, before the floor knew of them */
		hold(v, store_raise_trust, "does not have the trust documents in the floor");
	}
}

void vault_hold_revoked(struct vault *v)
{
	hold(v, store_hold_revoked, "does not have all that was revoked in the floor");
}

int vault_floor_ready(const struct vault *v, struct tg_error *e)
{
	if (v->floor_err)
		return tg_error(e, v->floor_err, "%s", v->floor_problem.message);
	if (!v->floor_held && tg_floor_is_tied(v->store.floor))
		return tg_error(e, -EAGAIN,
				"the agent's process trust, which has the TPM's counter, is not there");
	return 0;
}

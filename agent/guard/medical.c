/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/medical.h"
#include "tensorguard/audit.h"

struct medical {
	const char *run_dir;
	struct medical_ops ops;
	struct stat seen; /* of the file that `last` is from */
	struct health last;
	bool silent, broken;
};

static bool read_health(struct medical *m, struct health *ret_health)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" HEALTH_FILE, m->run_dir);
	if (stat(path, &st))
		return false;
	/* it is replaced as a whole: another one is another inode, or at another time */
	if (st.st_ino == m->seen.st_ino && st.st_mtim.tv_sec == m->seen.st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == m->seen.st_mtim.tv_nsec)
		return false;
	if (health_load(m->run_dir, ret_health, NULL))
		return false;
	m->seen = st;
	return true;
}

static bool was_silent(const struct health *last, const struct health_peer *peer)
{
	for (size_t i = 0; i < last->peer_count; i++)
		if (last->peers[i].number == peer->number && !strcmp(last->peers[i].tunnel, peer->tunnel))
			return last->peers[i].silent;
	return false;
}

/* What nobody heard is silent again next time only if it is news again: so it is not taken over as told. */
static void tell_peers(struct medical *m, struct health *now)
{
	for (size_t i = 0; i < now->peer_count; i++) {
		struct health_peer *p = &now->peers[i];

		if (p->silent && !was_silent(&m->last, p) &&
		    !m->ops.told(m->ops.ctx, TG_AUDIT_PEER_FAILED, p->tunnel, p->number, 0))
			p->silent = false;
	}
}

static void take(struct medical *m, struct health *now)
{
	m->silent = false;
	m->broken = now->left || now->error;
	for (size_t i = 0; i < now->peer_count; i++)
		m->silent |= now->peers[i].silent;
	health_free(&m->last);
	m->last = *now;
}

static void tell_repair(const struct medical *m, const struct health *now)
{
	if (now->error || now->left)
		m->ops.told(m->ops.ctx, TG_AUDIT_DATAPLANE_BROKEN, "", now->left ? now->left : now->found,
			    (uint64_t)now->error);
	else if (now->found || m->broken)
		m->ops.told(m->ops.ctx, TG_AUDIT_DATAPLANE_REPAIRED, "",
			    now->found ? now->found : m->last.left, 0);
}

void medical_look(struct medical *m)
{
	struct health now;

	if (!read_health(m, &now))
		return;
	if (now.number != m->last.number)
		tell_repair(m, &now);
	tell_peers(m, &now);
	take(m, &now);
}

/* One that did not come as far as to leave a note has failed all the same. */
void medical_repaired(struct medical *m, int result)
{
	uint64_t before = m->last.number;
	char reason[LOCKDOWN_REASON_LEN];

	medical_look(m);
	/* what is not up, or locked down, is nobody's to repair */
	if (m->last.number != before || !result || state_check_up(m->run_dir, NULL) ||
	    lockdown_is_on(m->run_dir, reason))
		return;
	m->broken = true;
	m->ops.told(m->ops.ctx, TG_AUDIT_DATAPLANE_BROKEN, "", 0, (uint64_t)(result < 0 ? -result : result));
}

bool medical_is_broken(const struct medical *m)
{
	return m->broken;
}

bool medical_has_silent_peer(const struct medical *m)
{
	return m->silent;
}

int medical_new(const char *run_dir, const struct medical_ops *ops, struct medical **ret_medical)
{
	struct medical *m = calloc(1, sizeof(*m));
	struct health now;

	if (!m)
		return -ENOMEM;
	m->run_dir = run_dir;
	m->ops = *ops;
	if (read_health(m, &now))
		take(m, &now);
	*ret_medical = m;
	return 0;
}

void medical_free(struct medical *m)
{
	if (!m)
		return;
	health_free(&m->last);
	free(m);
}

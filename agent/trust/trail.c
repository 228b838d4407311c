/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "trust/trail.h"

void trail_applied(struct trail *t, int64_t version, int result)
{
	if (!version)
		return;
	if (!result && t->applied != version)
		audit_log_add(t->log, TG_AUDIT_POLICY_APPLIED, "", (uint64_t)version, 0, "");
	else if (result && t->rejected != version)
		audit_log_add(t->log, TG_AUDIT_POLICY_REJECTED, "", (uint64_t)version,
			      (uint64_t)(result < 0 ? -result : result),
			      result < 0 ? "tg-load apply could not be run to its end"
					 : "tg-load apply failed: the device's log says why");
	if (result)
		t->rejected = version;
	else
		t->applied = version;
}

void trail_policy_refused(struct trail *t, int64_t version, const char *reason, const char *text)
{
	if (t->refused == version && !strcmp(t->reason, reason))
		return;
	t->refused = version;
	snprintf(t->reason, sizeof(t->reason), "%s", reason);
	audit_log_add(t->log, TG_AUDIT_POLICY_REJECTED, reason, (uint64_t)version, 0, text);
}

void trail_policy_ended(struct trail *t, int64_t version, enum tg_offline offline)
{
	audit_log_add(t->log, TG_AUDIT_POLICY_OFFLINE, tg_offline_name(offline), (uint64_t)version, 0, "");
}

void trail_sync(struct trail *t, int result, bool refused, long status, const char *text)
{
	if (!result) {
		if (t->failures >= TRAIL_OUTAGE || t->said_refusal)
			audit_log_add(t->log, TG_AUDIT_SYNC_RECOVERED, "", t->failures, 0, "");
		t->failures = 0;
		t->said_refusal = false;
		return;
	}
	t->failures++;
	if (!refused || (t->said_refusal && t->status == status))
		return;
	t->said_refusal = true;
	t->status = status;
	audit_log_add(t->log, TG_AUDIT_SYNC_REFUSED, "", (uint64_t)status, 0, text);
}

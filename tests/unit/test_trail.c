/* SPDX-License-Identifier: BSD-3-Clause */
/* What trust tells the audit trail of policies and syncs: each thing once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "trust/trail.h"

static char directory[] = "/tmp/tg-told-XXXXXX";
static struct audit_log *audit;
static uint64_t taken;

static void quiet(const char *line)
{
	(void)line;
}

static struct trail begin(void)
{
	const struct audit_log_conf conf = { directory, NULL, quiet, NULL };
	char command[96];

	if (access(directory, F_OK))
		CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
	snprintf(command, sizeof(command), "rm -rf %s/*", directory);
	CU_ASSERT_EQUAL(system(command), 0);
	CU_ASSERT_EQUAL_FATAL(audit_log_new(&conf, &audit), 0);
	audit_log_identity(audit, "robot-1", 1, false);
	audit_log_stored(audit, 1);
	taken = 1;
	return (struct trail){ .log = audit };
}

/* What was told since the last call: "action/outcome:target:detail ...", and it is gone then. */
static const char *told(void)
{
	struct tg_bytes records[TG_AUDIT_BATCH_RECORDS];
	static char text[2048];
	struct tg_audit_record r;
	size_t count = 0, used = 0;

	text[0] = '\0';
	CU_ASSERT_EQUAL(audit_log_peek(audit, records, &count), 0);
	for (size_t i = 0; i < count; i++) {
		CU_ASSERT_EQUAL(tg_audit_decode(records[i].data, records[i].len, &r, NULL), 0);
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s/%s:%s:%s", i ? " " : "",
					 r.action, r.outcome, r.target, r.detail);
		tg_bytes_free(&records[i]);
	}
	taken += count;
	if (count)
		audit_log_stored(audit, taken);
	return text;
}

TEST(trail, a_policy_is_applied_once_and_rejected_once)
{
	struct trail t = begin();

	trail_applied(&t, 0, 0);
	CU_ASSERT_STRING_EQUAL(told(), "");
	trail_applied(&t, 7, 0);
	CU_ASSERT_STRING_EQUAL(told(), "policy-apply/done::version=7");
	trail_applied(&t, 7, 0);
	CU_ASSERT_STRING_EQUAL(told(), "");
	trail_applied(&t, 8, 1);
	CU_ASSERT_STRING_EQUAL(
		told(),
		"policy-apply/refused::tg-load apply failed: the device's log says why; version=8; error=1");
	trail_applied(&t, 8, 1);
	CU_ASSERT_STRING_EQUAL(told(), "");
	trail_applied(&t, 9, -ETIMEDOUT);
	CU_ASSERT_PTR_NOT_NULL(strstr(told(), "could not be run to its end; version=9; error=110"));
	/* it holds in the end */
	trail_applied(&t, 8, 0);
	CU_ASSERT_STRING_EQUAL(told(), "policy-apply/done::version=8");
	audit_log_free(audit);
}

TEST(trail, the_same_refusal_each_minute_is_one_record)
{
	struct trail t = begin();

	for (int i = 0; i < 100; i++)
		trail_policy_refused(&t, 5, "policy-refused:bad-signature", "not the key");
	CU_ASSERT_STRING_EQUAL(
		told(), "policy-apply/refused:policy-refused:bad-signature:not the key; version=5; error=0");
	trail_policy_refused(&t, 5, "policy-refused:too-early", "not yet");
	trail_policy_refused(&t, 6, "policy-refused:too-early", "not yet");
	CU_ASSERT_STRING_EQUAL(told(),
			       "policy-apply/refused:policy-refused:too-early:not yet; version=5; error=0 "
			       "policy-apply/refused:policy-refused:too-early:not yet; version=6; error=0");
	trail_policy_ended(&t, 6, TG_OFFLINE_CLOSED);
	CU_ASSERT_STRING_EQUAL(told(), "policy-offline/done:closed:version=6");
	audit_log_free(audit);
}

TEST(trail, an_outage_is_told_at_its_end_and_a_refusal_at_its_beginning)
{
	struct trail t = begin();

	/* one that is lost on the way is no news */
	trail_sync(&t, -ETIMEDOUT, false, 0, "late");
	trail_sync(&t, 0, false, 200, "");
	CU_ASSERT_STRING_EQUAL(told(), "");
	for (int i = 0; i < 40; i++)
		trail_sync(&t, -ETIMEDOUT, false, 0, "late");
	CU_ASSERT_STRING_EQUAL(told(), "");
	trail_sync(&t, 0, false, 200, "");
	CU_ASSERT_STRING_EQUAL(told(), "sync/done::failures=40");
	for (int i = 0; i < 40; i++)
		trail_sync(&t, -EKEYREJECTED, true, 401, "no certificate");
	CU_ASSERT_STRING_EQUAL(told(), "sync/refused::no certificate; status=401");
	/* somebody else answers there */
	trail_sync(&t, -EKEYREJECTED, true, 0, "another CA");
	CU_ASSERT_STRING_EQUAL(told(), "sync/refused::another CA; status=0");
	trail_sync(&t, 0, false, 200, "");
	CU_ASSERT_STRING_EQUAL(told(), "sync/done::failures=41");
	trail_sync(&t, 0, false, 200, "");
	CU_ASSERT_STRING_EQUAL(told(), "");
	audit_log_free(audit);
}

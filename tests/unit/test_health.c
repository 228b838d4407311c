/* SPDX-License-Identifier: BSD-3-Clause */
/* What repairs leave for the guard, what it makes of that, and what of it an operator sees. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/medical.h"
#include "harness.h"
#include "supervise/loops.h"
#include "tensorguard/audit.h"
#include "tensorguard/file.h"

static char run_dir[] = "/tmp/tg-health-XXXXXX";
static char told[1024];
static bool hears = true;

static void fresh(void)
{
	char command[96];

	if (access(run_dir, F_OK))
		CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(run_dir));
	/* up, and not locked down */
	snprintf(command, sizeof(command), "rm -rf %s/* && touch %s/policy.conf", run_dir, run_dir);
	CU_ASSERT_EQUAL(system(command), 0);
	told[0] = '\0';
	hears = true;
}

static void put(const char *text)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/" HEALTH_FILE, run_dir);
	CU_ASSERT_EQUAL(tg_file_replace(path, text, strlen(text), 0600, NULL), 0);
}

static int load(const char *text, struct health *ret_health)
{
	put(text);
	return health_load(run_dir, ret_health, NULL);
}

TEST(health, a_peer_that_is_sent_something_and_has_no_session_is_silent)
{
	const struct health_peer before = { .tx_bytes = 100 }, was = { .tx_bytes = 100, .silent = true };
	struct wg_peer_status now = { .tx_bytes = 248 };

	CU_ASSERT_TRUE(health_peer_is_silent(&now, &before, 1000));
	/* the first look knows nothing */
	CU_ASSERT_FALSE(health_peer_is_silent(&now, NULL, 1000));
	now.last_handshake_s = 1000 - HEALTH_SILENT_S;
	CU_ASSERT_TRUE(health_peer_is_silent(&now, &before, 1000));
	now.last_handshake_s++;
	CU_ASSERT_FALSE(health_peer_is_silent(&now, &before, 1000));
	CU_ASSERT_FALSE(health_peer_is_silent(&now, &was, 1000));
	/* a clock that was set back */
	now.last_handshake_s = 2000;
	CU_ASSERT_FALSE(health_peer_is_silent(&now, &was, 1000));
	/* nothing was sent: it stays what it was */
	now = (struct wg_peer_status){ .tx_bytes = 100 };
	CU_ASSERT_FALSE(health_peer_is_silent(&now, &before, 1000));
	CU_ASSERT_TRUE(health_peer_is_silent(&now, &was, 1000));
}

TEST(health, what_is_written_is_read)
{
	struct health_peer peers[] = { { "tg0", 0, 12345678901234, true }, { "arm", 7, 0, false } };
	const struct health wrote = {
		.number = 3, .found = 2, .left = 1, .error = ENOENT, .peer_count = 2, .peers = peers
	};
	struct health read = { 0 };

	fresh();
	CU_ASSERT_EQUAL(health_load(run_dir, &read, NULL), -ENOENT);
	CU_ASSERT_EQUAL(health_save(run_dir, &wrote, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(health_load(run_dir, &read, NULL), 0);
	CU_ASSERT_EQUAL(read.number, 3);
	CU_ASSERT_EQUAL(read.found, 2);
	CU_ASSERT_EQUAL(read.left, 1);
	CU_ASSERT_EQUAL(read.error, ENOENT);
	CU_ASSERT_EQUAL_FATAL(read.peer_count, 2);
	CU_ASSERT_STRING_EQUAL(read.peers[0].tunnel, "tg0");
	CU_ASSERT_EQUAL(read.peers[0].tx_bytes, 12345678901234);
	CU_ASSERT_TRUE(read.peers[0].silent);
	CU_ASSERT_EQUAL(read.peers[1].number, 7);
	CU_ASSERT_FALSE(read.peers[1].silent);
	health_free(&read);
}

TEST(health, anything_else_is_refused)
{
	static const char *const texts[] = {
		"",
		"tensorguard health 1\n",
		"tensorguard health 2\nrun 1 found 0 left 0 error 0\n",
		"tensorguard health 1\nrun 0 found 0 left 0 error 0\n",
		"tensorguard health 1\nrun 1 found 0 left 0 error -2\n",
		"tensorguard health 1\nrun 1 found 0 left 0 error 0 more\n",
		"tensorguard health 1\nrun 1 found 0 left 0\n",
		"tensorguard health 1\nrun 1 found 0 left 0 error 0\npeer tg0 0 tx 1 silent 2\n",
		"tensorguard health 1\nrun 1 found 0 left 0 error 0\npeer longer-than-one 0 tx 1 silent 0\n",
		"tensorguard health 1\nrun 1 found 0 left 0 error 0\npeer tg0 0 tx 1 silent 0x\n",
	};
	struct health read;

	fresh();
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CU_ASSERT_EQUAL(load(texts[i], &read), -EBADMSG);
}

static bool tell(void *ctx, unsigned code, const char *tunnel, uint64_t a, uint64_t b)
{
	size_t len = strlen(told);

	(void)ctx;
	if (hears)
		snprintf(told + len, sizeof(told) - len, "%s%u:%s:%llu:%llu", len ? " " : "", code, tunnel,
			 (unsigned long long)a, (unsigned long long)b);
	return hears;
}

static const char *since(void)
{
	static char text[sizeof(told)];

	strcpy(text, told);
	told[0] = '\0';
	return text;
}

#define HEAD "tensorguard health 1\nrun "

TEST(health, the_guard_tells_what_repairs_left)
{
	const struct medical_ops ops = { tell, NULL };
	struct medical *m;

	fresh();
	put(HEAD "1 found 3 left 3 error 5\n");
	CU_ASSERT_EQUAL_FATAL(medical_new(run_dir, &ops, &m), 0);
	medical_look(m);
	/* what was there before is no news, but it is not well */
	CU_ASSERT_STRING_EQUAL(since(), "");
	CU_ASSERT_TRUE(medical_is_broken(m));
	put(HEAD "2 found 3 left 0 error 0\n");
	medical_look(m);
	CU_ASSERT_STRING_EQUAL(since(), "18::3:0");
	CU_ASSERT_FALSE(medical_is_broken(m));
	medical_look(m);
	CU_ASSERT_STRING_EQUAL(since(), "");
	/* all was well: nothing was mended */
	put(HEAD "3 found 0 left 0 error 0\n");
	medical_repaired(m, 0);
	CU_ASSERT_STRING_EQUAL(since(), "");
	put(HEAD "4 found 2 left 1 error 13\n");
	medical_repaired(m, 1);
	CU_ASSERT_STRING_EQUAL(since(), "19::1:13");
	/* killed before it could say anything */
	medical_repaired(m, -ETIMEDOUT);
	CU_ASSERT_STRING_EQUAL(since(), "19::0:110");
	CU_ASSERT_TRUE(medical_is_broken(m));
	/* somebody mended it by hand */
	put(HEAD "5 found 0 left 0 error 0\n");
	medical_look(m);
	CU_ASSERT_STRING_EQUAL(since(), "18::1:0");
	medical_free(m);
}

TEST(health, a_peer_that_falls_silent_is_told_once)
{
	const struct medical_ops ops = { tell, NULL };
	struct medical *m;

	fresh();
	CU_ASSERT_EQUAL_FATAL(medical_new(run_dir, &ops, &m), 0);
	put(HEAD "1 found 0 left 0 error 0\npeer tg0 0 tx 1 silent 0\npeer tg0 4 tx 1 silent 1\n");
	/* the supervisor does not read: it is told the next time */
	hears = false;
	medical_look(m);
	hears = true;
	put(HEAD "2 found 0 left 0 error 0\npeer tg0 0 tx 1 silent 0\npeer tg0 4 tx 2 silent 1\n");
	medical_look(m);
	CU_ASSERT_STRING_EQUAL(since(), "17:tg0:4:0");
	CU_ASSERT_TRUE(medical_has_silent_peer(m));
	put(HEAD "3 found 0 left 0 error 0\npeer tg0 0 tx 1 silent 1\npeer tg0 4 tx 2 silent 1\n");
	medical_look(m);
	CU_ASSERT_STRING_EQUAL(since(), "17:tg0:0:0");
	put(HEAD "4 found 0 left 0 error 0\npeer tg0 0 tx 1 silent 0\npeer tg0 4 tx 2 silent 0\n");
	medical_look(m);
	CU_ASSERT_STRING_EQUAL(since(), "");
	CU_ASSERT_FALSE(medical_has_silent_peer(m));
	medical_free(m);
}

TEST(health, an_operator_sees_who_loops_and_what_is_broken)
{
	static const struct child_kind kinds[] = { { .name = "guard", .sender = FROM_GUARD },
						   { .name = "vault", .sender = FROM_VAULT },
						   { .name = NULL } };
	struct degraded d;

	fresh();
	degraded_read(run_dir, &d);
	CU_ASSERT_EQUAL(d.count, 0);
	loops_note(run_dir, kinds, FROM_VAULT | FROM_GUARD);
	put(HEAD "1 found 1 left 1 error 0\npeer tg0 0 tx 1 silent 1\n");
	degraded_read(run_dir, &d);
	CU_ASSERT_EQUAL_FATAL(d.count, 4);
	CU_ASSERT_STRING_EQUAL(d.words[0], "process-loops:guard");
	CU_ASSERT_STRING_EQUAL(d.words[1], "process-loops:vault");
	CU_ASSERT_STRING_EQUAL(d.words[2], "data-plane-broken");
	CU_ASSERT_STRING_EQUAL(d.words[3], "peer-silent");
	CU_ASSERT_EQUAL(d.serious, 3);
	loops_note(run_dir, kinds, 0);
	put(HEAD "2 found 1 left 0 error 0\n");
	degraded_read(run_dir, &d);
	CU_ASSERT_EQUAL(d.count, 0);
}

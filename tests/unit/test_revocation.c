/* SPDX-License-Identifier: BSD-3-Clause */
/* That the Platform refuses the device: two notes, in whose order nothing is lost, and of which none stays
 * alone. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "tensorguard/file.h"
#include "trust/policy.h"
#include "trust/run.h"

static struct tg_error e;
static char folder[64], directory[PATH_MAX];
static struct trust_identity identity;

static const char *in(const char *name)
{
	static char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static bool is_there(const char *name)
{
	return !access(in(name), F_OK);
}

static void enrol(void)
{
	struct trust_identity made = { .platform = "https://127.0.0.1:1",
				       .agent = "robot-1",
				       .fleet = "lab",
				       .software = true,
				       .times = { 1900000000, 1900086400, 0 } };
	struct trust_draft draft;

	CU_ASSERT_EQUAL(tg_bytes_copy("certificate", 11, &made.certificate), 0);
	CU_ASSERT_EQUAL(tg_bytes_copy("ca", 2, &made.ca), 0);
	CU_ASSERT_EQUAL_FATAL(trust_draft_begin(directory, &draft, &e), 0);
	CU_ASSERT_EQUAL_FATAL(trust_draft_commit(&draft, &made, &e), 0);
	trust_draft_end(&draft);
	trust_identity_clear(&made);
	trust_identity_clear(&identity);
	CU_ASSERT_EQUAL_FATAL(trust_identity_load(directory, &identity, &e), 0);
}

static void setup(void)
{
	strcpy(folder, "/tmp/tensorguard-revoked.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(directory, sizeof(directory), "%s/state", folder);
	enrol();
}

static void teardown(void)
{
	char command[128];

	trust_identity_clear(&identity);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	CU_ASSERT_EQUAL(system(command), 0);
}

/* ---- what trust makes of it when it starts ---- */

struct seen {
	struct event_base *base;
	bool noted;	/* when tg-load apply was asked for */
	unsigned asked;
};

static char said[512];

static void take_line(const char *line)
{
	if (strstr(line, "cannot be noted"))
		snprintf(said, sizeof(said), "%s", line);
}

static int apply(void *ctx)
{
	struct seen *seen = ctx;

	seen->noted = is_there("policy/revoked");
	seen->asked++;
	event_base_loopbreak(seen->base);
	return 0;
}

/* Until tg-load apply is asked for. */
static struct seen start(void)
{
	struct seen seen = { .base = event_base_new() };
	const struct trust_conf conf = {
		.directory = directory, .log = take_line, .apply = apply, .ctx = &seen
	};
	const struct timeval limit = { .tv_sec = 20 };
	struct trust *trust = NULL;

	said[0] = '\0';
	CU_ASSERT_PTR_NOT_NULL_FATAL(seen.base);
	CU_ASSERT_EQUAL_FATAL(trust_start(seen.base, &conf, &trust, &e), 0);
	event_base_loopexit(seen.base, &limit);
	event_base_dispatch(seen.base);
	trust_stop(trust);
	event_base_free(seen.base);
	CU_ASSERT_EQUAL(seen.asked, 1);
	return seen;
}

static void expect_refused(const char *reason)
{
	struct trust_identity now = { 0 };

	CU_ASSERT_EQUAL_FATAL(trust_identity_load(directory, &now, &e), 0);
	CU_ASSERT_STRING_EQUAL(now.refused, reason);
	trust_identity_clear(&now);
}

static void expect_noted(const char *reason, unsigned generation)
{
	struct trust_revocation noted = { .generation = 9 };

	CU_ASSERT_EQUAL(trust_revoked_load(directory, &noted, &e), 0);
	CU_ASSERT_STRING_EQUAL(noted.reason, reason);
	CU_ASSERT_EQUAL(noted.generation, generation);
}

static void write_note(const char *text)
{
	CU_ASSERT(!mkdir(in("policy"), 0700) || errno == EEXIST);
	CU_ASSERT_EQUAL(tg_file_replace(in("policy/revoked"), text, strlen(text), 0600, &e), 0);
}

TEST(revocation, is_noted_for_apply_first)
{
	struct trust_revocation noted;

	setup();
	CU_ASSERT_EQUAL(trust_revoked_load(directory, &noted, &e), -ENOENT);
	/* no room for the note: no refusal that would pass for a device that is locked down */
	CU_ASSERT_EQUAL(tg_file_replace(in("policy"), "", 0, 0600, &e), 0);
	CU_ASSERT_NOT_EQUAL(trust_revoked_note(directory, &identity, "agent-revoked", &e), 0);
	expect_refused("");
	CU_ASSERT_EQUAL(unlink(in("policy")), 0);
	/* none for the refusal: the note is there */
	CU_ASSERT_EQUAL(mkdir(in("current/refused"), 0700), 0);
	CU_ASSERT_NOT_EQUAL(trust_revoked_note(directory, &identity, "agent-revoked", &e), 0);
	expect_noted("agent-revoked", 1);
	CU_ASSERT_EQUAL(rmdir(in("current/refused")), 0);
	CU_ASSERT_EQUAL(trust_revoked_note(directory, &identity, "agent-revoked", &e), 0);
	expect_refused("agent-revoked");
	expect_noted("agent-revoked", 1);
	teardown();
}

TEST(revocation, a_note_is_read_as_it_was_written)
{
	setup();
	write_note("agent-revoked");
	expect_noted("agent-revoked", 0);
	write_note("");
	expect_noted("?", 0);
	write_note("agent-revoked\ngeneration x\n");
	expect_noted("agent-revoked", 0);
	write_note("agent-unknown\ngeneration 4711\n");
	expect_noted("agent-unknown", 4711);
	teardown();
}

/* What an agent left that wrote the refusal first, and was killed. */
TEST(revocation, a_refusal_alone_becomes_a_lockdown)
{
	setup();
	CU_ASSERT_EQUAL(trust_refused(&identity, "agent-revoked", &e), 0);
	CU_ASSERT_TRUE(start().noted);
	expect_noted("agent-revoked", 1);
	expect_refused("agent-revoked");
	teardown();
}

TEST(revocation, a_note_alone_is_no_less)
{
	setup();
	write_note("agent-revoked\ngeneration 1\n");
	CU_ASSERT_TRUE(start().noted);
	expect_noted("agent-revoked", 1);
	expect_refused("agent-revoked");
	teardown();
}

TEST(revocation, ends_with_another_identity)
{
	setup();
	CU_ASSERT_EQUAL(trust_revoked_note(directory, &identity, "agent-revoked", &e), 0);
	enrol();
	CU_ASSERT_FALSE(start().noted);
	CU_ASSERT_FALSE(is_there("policy/revoked"));
	expect_refused("");
	/* an older agent's note does not say whose it is */
	write_note("agent-revoked");
	CU_ASSERT_FALSE(start().noted);
	expect_refused("");
	teardown();
}

TEST(revocation, what_cannot_be_noted_is_said)
{
	setup();
	CU_ASSERT_EQUAL(trust_refused(&identity, "agent-revoked", &e), 0);
	CU_ASSERT_EQUAL(symlink("nowhere", in("policy")), 0);
	CU_ASSERT_FALSE(start().noted);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "next try in 30 s"));
	teardown();
}

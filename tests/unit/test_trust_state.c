/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device keeps on its disk: whole or not at all, whatever ends in the middle. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "tensorguard/file.h"
#include "trust/state.h"

static struct tg_error e;
static char folder[64], directory[PATH_MAX];

static void setup(void)
{
	strcpy(folder, "/tmp/tensorguard-state.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(directory, sizeof(directory), "%s/state", folder);
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	CU_ASSERT_EQUAL(system(command), 0);
}

static const char *in(const char *name)
{
	static char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static struct trust_identity example(unsigned number)
{
	struct trust_identity identity = { .platform = "https://platform.example:8443",
					   .tcti = "device:/dev/tpmrm0",
					   .event_log = "/log",
					   .fleet = "lab",
					   .assurance = TG_ASSURANCE_TPM_ATTESTED,
					   .times = { 1900000000, 1900086400, -7 } };

	snprintf(identity.agent, sizeof(identity.agent), "robot-%u", number);
	CU_ASSERT_EQUAL(tg_bytes_copy("certificate", 11, &identity.certificate), 0);
	CU_ASSERT_EQUAL(tg_bytes_copy("ca", 2, &identity.ca), 0);
	CU_ASSERT_EQUAL(tg_bytes_copy("platform", 8, &identity.platform_ca), 0);
	return identity;
}

static int write_one(unsigned number)
{
	struct trust_identity identity = example(number);
	struct trust_draft draft;
	int ret = trust_draft_begin(directory, &draft, &e);

	if (!ret) {
		ret = trust_draft_commit(&draft, &identity, &e);
		trust_draft_end(&draft);
	}
	trust_identity_clear(&identity);
	return ret;
}

static void expect(unsigned generation, unsigned number)
{
	struct trust_identity identity = { 0 };
	char agent[32];

	snprintf(agent, sizeof(agent), "robot-%u", number);
	CU_ASSERT_EQUAL_FATAL(trust_identity_load(directory, &identity, &e), 0);
	CU_ASSERT_EQUAL(identity.generation, generation);
	CU_ASSERT_STRING_EQUAL(identity.agent, agent);
	CU_ASSERT_STRING_EQUAL(identity.platform, "https://platform.example:8443");
	CU_ASSERT_STRING_EQUAL(identity.tcti, "device:/dev/tpmrm0");
	CU_ASSERT_STRING_EQUAL(identity.event_log, "/log");
	CU_ASSERT_STRING_EQUAL(identity.fleet, "lab");
	CU_ASSERT_FALSE(identity.software);
	CU_ASSERT_EQUAL(identity.assurance, TG_ASSURANCE_TPM_ATTESTED);
	CU_ASSERT_EQUAL(identity.times.issued, 1900000000);
	CU_ASSERT_EQUAL(identity.times.not_after, 1900086400);
	CU_ASSERT_EQUAL(identity.times.skew, -7);
	CU_ASSERT_EQUAL(identity.certificate.len, 11);
	CU_ASSERT_EQUAL(identity.platform_ca.len, 8);
	trust_identity_clear(&identity);
}

TEST(trust_state, is_read_as_it_was_written)
{
	struct trust_identity identity = { 0 };
	struct stat st;

	setup();
	CU_ASSERT_EQUAL(trust_identity_load(directory, &identity, &e), -ENOENT);
	CU_ASSERT_EQUAL(trust_generation(directory), 0);
	CU_ASSERT_EQUAL(write_one(1), 0);
	expect(1, 1);
	CU_ASSERT_EQUAL(stat(directory, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0700);
	CU_ASSERT_EQUAL(stat(in("current/identity.json"), &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	CU_ASSERT_EQUAL(write_one(2), 0);
	expect(2, 2);
	CU_ASSERT_EQUAL(trust_generation(directory), 2);
	/* the old one is gone with its keys */
	CU_ASSERT_EQUAL(stat(in("generation-1"), &st), -1);
	teardown();
}

TEST(trust_state, a_draft_that_is_given_up_leaves_nothing)
{
	struct trust_draft draft, second;
	struct stat st;

	setup();
	CU_ASSERT_EQUAL(write_one(1), 0);
	CU_ASSERT_EQUAL_FATAL(trust_draft_begin(directory, &draft, &e), 0);
	CU_ASSERT_EQUAL(trust_draft_begin(directory, &second, &e), -EBUSY);
	CU_ASSERT_EQUAL(stat(in("generation-2"), &st), 0);
	trust_draft_end(&draft);
	CU_ASSERT_EQUAL(stat(in("generation-2"), &st), -1);
	expect(1, 1);
	CU_ASSERT_EQUAL(write_one(2), 0);
	expect(2, 2);
	teardown();
}

TEST(trust_state, a_folder_that_others_can_enter_is_refused)
{
	setup();
	CU_ASSERT_EQUAL(mkdir(directory, 0755), 0);
	CU_ASSERT_EQUAL(chmod(directory, 0755), 0);
	CU_ASSERT_EQUAL(write_one(1), -EPERM);
	teardown();
}

TEST(trust_state, a_refusal_is_remembered_until_the_next_enrolment)
{
	struct trust_identity identity = { 0 };

	setup();
	CU_ASSERT_EQUAL(write_one(1), 0);
	CU_ASSERT_EQUAL_FATAL(trust_identity_load(directory, &identity, &e), 0);
	CU_ASSERT_STRING_EQUAL(identity.refused, "");
	CU_ASSERT_EQUAL(trust_refused(&identity, "agent-revoked", &e), 0);
	trust_identity_clear(&identity);
	CU_ASSERT_EQUAL_FATAL(trust_identity_load(directory, &identity, &e), 0);
	CU_ASSERT_STRING_EQUAL(identity.refused, "agent-revoked");
	trust_identity_clear(&identity);
	CU_ASSERT_EQUAL(write_one(2), 0);
	CU_ASSERT_EQUAL_FATAL(trust_identity_load(directory, &identity, &e), 0);
	CU_ASSERT_STRING_EQUAL(identity.refused, "");
	trust_identity_clear(&identity);
	teardown();
}

TEST(trust_state, what_is_not_ours_is_an_error)
{
	static const char *const texts[] = {
		"",
		"{}",
		"[]",
		"{\"format\": 1}",
		"nonsense",
		"{\"format\": 2, \"platform\": \"p\", \"keys\": \"tpm\", \"tcti\": \"\", \"event_log\": \"\","
		" \"agent\": \"a\", \"fleet\": \"f\", \"assurance\": \"software\", \"issued\": 1,"
		" \"not_after\": 2, \"skew\": 0}",
		"{\"format\": 1, \"platform\": \"p\", \"keys\": \"paper\", \"tcti\": \"\", \"event_log\": "
		"\"\","
		" \"agent\": \"a\", \"fleet\": \"f\", \"assurance\": \"software\", \"issued\": 1,"
		" \"not_after\": 2, \"skew\": 0}",
		"{\"format\": 1, \"platform\": \"p\", \"keys\": \"tpm\", \"tcti\": \"\", \"event_log\": \"\","
		" \"agent\": \"a\", \"fleet\": \"f\", \"assurance\": \"good\", \"issued\": 1,"
		" \"not_after\": 2, \"skew\": 0}",
		"{\"format\": 1, \"platform\": \"p\", \"keys\": \"tpm\", \"tcti\": \"\", \"event_log\": \"\","
		" \"agent\": \"a\", \"fleet\": \"f\", \"assurance\": \"software\", \"issued\": 1,"
		" \"not_after\": 2, \"skew\": 0, \"more\": 1}",
	};
	struct trust_identity identity = { 0 };

	setup();
	CU_ASSERT_EQUAL(write_one(1), 0);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		CU_ASSERT_EQUAL(
			tg_file_replace(in("current/identity.json"), texts[i], strlen(texts[i]), 0600, &e),
			0);
		CU_ASSERT_EQUAL(trust_identity_load(directory, &identity, &e), -EBADMSG);
	}
	teardown();
}

/* Killed at any moment: one of the two generations, whole, and the next change works. */
TEST(trust_state, survives_being_killed_at_any_moment)
{
	unsigned number = 1, lost = 0;

	setup();
	CU_ASSERT_EQUAL(write_one(0), 0);
	for (unsigned delay = 0; delay < 60; delay++) {
		struct trust_identity identity = { 0 };
		pid_t child = fork();
		int status;

		if (child == 0)
			for (;;)
				write_one(number++);
		usleep(500 + 137 * delay);
		CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
		CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
		CU_ASSERT_EQUAL_FATAL(trust_identity_load(directory, &identity, &e), 0);
		CU_ASSERT_EQUAL(identity.times.skew, -7);
		lost += identity.generation == 0;
		trust_identity_clear(&identity);
		CU_ASSERT_EQUAL(write_one(number), 0);
	}
	CU_ASSERT_EQUAL(lost, 0);
	teardown();
}

/* Who owns the folder could lead another user, even root, somewhere else by a symbolic link. */
TEST(trust_state, nothing_is_removed_through_a_symbolic_link)
{
	char foreign[128], file[160];
	struct stat st;

	setup();
	snprintf(foreign, sizeof(foreign), "%s/foreign", folder);
	snprintf(file, sizeof(file), "%s/file", foreign);
	CU_ASSERT_EQUAL(mkdir(foreign, 0700), 0);
	CU_ASSERT_EQUAL(tg_file_replace(file, "x", 1, 0600, &e), 0);
	CU_ASSERT_EQUAL(write_one(1), 0);
	CU_ASSERT_EQUAL(symlink(foreign, in("generation-7")), 0);
	CU_ASSERT_EQUAL(symlink(foreign, in("generation-2")), 0);
	CU_ASSERT_EQUAL(write_one(2), 0);
	expect(2, 2);
	CU_ASSERT_EQUAL(stat(file, &st), 0);
	CU_ASSERT_EQUAL(lstat(in("generation-7"), &st), -1);
	CU_ASSERT_EQUAL(lstat(in("generation-2"), &st), 0);
	CU_ASSERT(S_ISDIR(st.st_mode));
	teardown();
}

static int entries(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	int count = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* Its own user's folder with a group of somebody else: an operator's `chown user` without a group. */
TEST(trust_state, gives_nothing_away_for_another_group)
{
	struct trust_identity identity = example(1);
	struct trust_draft draft;
	struct stat st;

	if (geteuid()) {
		trust_identity_clear(&identity);
		return;
	}
	setup();
	CU_ASSERT_EQUAL(mkdir(directory, 0700), 0);
	CU_ASSERT_EQUAL(chown(directory, 0, 65534), 0);
	CU_ASSERT_EQUAL_FATAL(trust_draft_begin(directory, &draft, &e), 0);
	CU_ASSERT_EQUAL(trust_draft_commit(&draft, &identity, &e), 0);
	trust_draft_end(&draft);
	CU_ASSERT_EQUAL(stat(in("lock"), &st), 0);
	CU_ASSERT_EQUAL(st.st_gid, getegid());
	CU_ASSERT_EQUAL(stat(in("generation-1/identity.json"), &st), 0);
	CU_ASSERT_EQUAL(st.st_gid, getegid());
	trust_identity_clear(&identity);
	teardown();
}

/* Root writes into another user's folder: what it makes is that user's, what a link leads to is not. */
TEST(trust_state, nothing_is_given_away_through_a_symbolic_link)
{
	struct trust_identity identity = example(1);
	struct trust_draft draft;
	char foreign[128], file[160];
	struct stat st;

	if (geteuid()) {
		trust_identity_clear(&identity);
		return;
	}
	setup();
	snprintf(foreign, sizeof(foreign), "%s/foreign", folder);
	snprintf(file, sizeof(file), "%s/file", foreign);
	CU_ASSERT_EQUAL(mkdir(foreign, 0700), 0);
	CU_ASSERT_EQUAL(tg_file_replace(file, "x", 1, 0600, &e), 0);
	CU_ASSERT_EQUAL(mkdir(directory, 0700), 0);
	CU_ASSERT_EQUAL(chown(directory, 65534, 65534), 0);
	CU_ASSERT_EQUAL_FATAL(trust_draft_begin(directory, &draft, &e), 0);
	CU_ASSERT_EQUAL(trust_draft_commit(&draft, &identity, &e), 0);
	trust_draft_end(&draft);
	CU_ASSERT_EQUAL(stat(in("generation-1/identity.json"), &st), 0);
	CU_ASSERT_EQUAL(st.st_uid, 65534);
	CU_ASSERT_EQUAL(stat(in("lock"), &st), 0);
	CU_ASSERT_EQUAL(st.st_uid, 65534);

	CU_ASSERT_EQUAL_FATAL(trust_draft_begin(directory, &draft, &e), 0);
	CU_ASSERT_EQUAL(rename(draft.folder, in("aside")), 0);
	CU_ASSERT_EQUAL(symlink(foreign, draft.folder), 0);
	CU_ASSERT_EQUAL(tg_file_replace(in("generation-2/reserve"), "", 0, 0600, &e), 0);
	CU_ASSERT_EQUAL(trust_draft_commit(&draft, &identity, &e), -ESTALE);
	trust_draft_end(&draft);
	CU_ASSERT_EQUAL(stat(file, &st), 0);
	CU_ASSERT_EQUAL(st.st_uid, 0);
	/* nor is anything written there: two files as before */
	CU_ASSERT_EQUAL(entries(foreign), 2);
	/* it went into the folder that root made, which had been moved away */
	CU_ASSERT_EQUAL(stat(in("aside/certificate.pem"), &st), 0);
	expect(1, 1);
	trust_identity_clear(&identity);
	teardown();
}

/* A file of root's that its user has linked into the folder under a name that root gives away. */
TEST(trust_state, nothing_is_given_away_through_a_hard_link)
{
	struct trust_identity identity = example(1);
	struct trust_draft draft;
	char file[128];
	struct stat st;

	if (geteuid()) {
		trust_identity_clear(&identity);
		return;
	}
	setup();
	snprintf(file, sizeof(file), "%s/file", folder);
	CU_ASSERT_EQUAL(tg_file_replace(file, "x", 1, 0600, &e), 0);
	CU_ASSERT_EQUAL(mkdir(directory, 0700), 0);
	CU_ASSERT_EQUAL(chown(directory, 65534, 65534), 0);
	CU_ASSERT_EQUAL(link(file, in("lock")), 0);
	CU_ASSERT_EQUAL(trust_draft_begin(directory, &draft, &e), -EPERM);
	CU_ASSERT_EQUAL(stat(file, &st), 0);
	CU_ASSERT_EQUAL(st.st_uid, 0);
	CU_ASSERT_EQUAL(unlink(in("lock")), 0);

	CU_ASSERT_EQUAL_FATAL(trust_draft_begin(directory, &draft, &e), 0);
	CU_ASSERT_EQUAL(link(file, in("generation-1/refused")), 0);
	CU_ASSERT_EQUAL(trust_draft_commit(&draft, &identity, &e), -EPERM);
	trust_draft_end(&draft);
	CU_ASSERT_EQUAL(stat(file, &st), 0);
	CU_ASSERT_EQUAL(st.st_uid, 0);
	trust_identity_clear(&identity);
	teardown();
}

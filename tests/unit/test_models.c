/* SPDX-License-Identifier: BSD-3-Clause */
/* models.conf: what it says is taken, and whatever is not right is refused with its line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "tensorguard/models.h"
#include "vault/peer.h"

static struct tg_error problem;

static int load(const char *text, struct tg_models_conf **ret_conf)
{
	char path[] = "/tmp/models.conf.XXXXXX";
	int fd = mkstemp(path), ret = -EIO;

	if (fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text))
		ret = tg_models_conf_load(path, ret_conf, &problem);
	close(fd);
	unlink(path);
	return ret;
}

TEST(models, what_is_right_is_taken)
{
	struct tg_models_conf *conf = NULL;

	CU_ASSERT_EQUAL_FATAL(
		load("version = 1; root = \"/etc/r\"; targets = \"optional\"; accelerators = ( \"npu\" );\n"
		     "consumers = ( { name = \"a\"; user = \"bin\"; cgroup = \"x/y\"; },\n"
		     "{ name = \"b\"; user = 7; models = ( \"arm\", \"leg\" ); } );",
		     &conf),
		0);
	CU_ASSERT_STRING_EQUAL(conf->root, "/etc/r");
	CU_ASSERT_FALSE(conf->listed);
	CU_ASSERT_EQUAL(conf->accelerator_count, 1);
	CU_ASSERT_EQUAL_FATAL(conf->consumer_count, 2);
	CU_ASSERT_EQUAL(conf->consumers[0].uid, 2);
	CU_ASSERT_STRING_EQUAL(conf->consumers[0].cgroup, "x/y");
	CU_ASSERT_PTR_NULL(conf->consumers[0].models);
	CU_ASSERT_EQUAL(conf->consumers[1].uid, 7);
	CU_ASSERT_EQUAL(conf->consumers[1].model_count, 2);
	tg_models_conf_free(conf);
	CU_ASSERT_EQUAL_FATAL(load("version = 1; root = \"/etc/r\";", &conf), 0);
	CU_ASSERT_TRUE(conf->listed);
	CU_ASSERT_EQUAL(conf->consumer_count, 0);
	CU_ASSERT_EQUAL(conf->quota, 0);
	tg_models_conf_free(conf);
	/* the root is that of the enrolment then */
	CU_ASSERT_EQUAL_FATAL(load("version = 1; quota_mib = 3;", &conf), 0);
	CU_ASSERT_PTR_NULL(conf->root);
	CU_ASSERT_EQUAL(conf->quota, 3 << 20);
	tg_models_conf_free(conf);
}

TEST(models, what_is_wrong_is_refused_with_its_line)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{ "root = \"/r\";", "version" },
		{ "version = 2; root = \"/r\";", ":1: version is 2" },
		{ "version = 1; root = 5;", "root" },
		{ "version = 1; quota_mib = 0;", "quota_mib is 0, expected" },
		{ "version = 1; root = \"r\";", "absolute path" },
		{ "version = 1; root = \"/r\";\ncosumers = ();", ":2: unknown key 'cosumers'" },
		{ "version = 1; root = \"/r\"; targets = \"no\";", "targets" },
		{ "version = 1; root = \"/r\";\nconsumers = ( { name = \"a\"; } );", "user" },
		{ "version = 1; root = \"/r\";\nconsumers = ( { name = \"a\"; user = \"no-such-user\"; } );",
		  ":2: user is \"no-such-user\", expected a user of /etc/passwd" },
		{ "version = 1; root = \"/r\";\nconsumers = ( { name = \"a\"; user = 1; cgroup = \"/x\"; } "
		  ");",
		  "without a slash at its ends" },
		{ "version = 1; root = \"/r\";\nconsumers = ( { name = \"a\"; user = 1; cgroup = \"x/../y\"; "
		  "} );",
		  "without a slash at its ends" },
		{ "version = 1; root = \"/r\";\nconsumers = ( { name = \"a\"; user = 1; models = ( \"../x\" "
		  "); } );",
		  "letters, digits" },
		{ "version = 1; root = \"/r\";\nconsumers = ( { name = \"a\"; user = 1; model = ( \"x\" ); } "
		  ");",
		  "unknown key 'model'" },
	};
	struct tg_models_conf *conf;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(load(cases[i].text, &conf), -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(problem.message, cases[i].part));
		if (!strstr(problem.message, cases[i].part))
			printf("# %s: expected '%s'\n", problem.message, cases[i].part);
	}
}

TEST(models, a_cgroup_is_one_or_below_it)
{
	CU_ASSERT_TRUE(peer_is_below("a/b", "a/b"));
	CU_ASSERT_TRUE(peer_is_below("a/b/c", "a/b"));
	CU_ASSERT_FALSE(peer_is_below("a/bc", "a/b"));
	CU_ASSERT_FALSE(peer_is_below("a", "a/b"));
	CU_ASSERT_FALSE(peer_is_below("", "a/b"));
	CU_ASSERT_FALSE(peer_is_below("x/a/b", "a/b"));
}

/* Of ourselves, over a connection to ourselves. */
TEST(models, the_peer_is_who_it_is)
{
	struct tg_models_consumer consumer = { .name = "me",
					       .uid = getuid(),
					       .cgroup = (char *)"no/such/cgroup" };
	const struct tg_models_conf conf = { .consumers = &consumer, .consumer_count = 1 };
	const struct tg_models_consumer *found = NULL;
	struct tg_error e;
	struct peer peer;
	int fds[2];

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	CU_ASSERT_EQUAL_FATAL(peer_of(fds[0], &peer, &e), 0);
	CU_ASSERT_EQUAL(peer.uid, getuid());
	CU_ASSERT_EQUAL(peer.pid, getpid());
	CU_ASSERT_EQUAL(peer_consumer(&conf, &peer, "arm", &found, &e), -EACCES);
	consumer.cgroup = NULL;
	CU_ASSERT_EQUAL(peer_consumer(&conf, &peer, "arm", &found, &e), 0);
	CU_ASSERT_PTR_EQUAL(found, &consumer);
	consumer.uid++;
	CU_ASSERT_EQUAL(peer_consumer(&conf, &peer, "arm", &found, &e), -EACCES);
	peer_close(&peer);
	close(fds[0]);
	close(fds[1]);
}

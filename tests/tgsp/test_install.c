/* SPDX-License-Identifier: BSD-3-Clause */
/* Packages on their way into vault's folder: whatever ends them, whole segments stay, and nothing else
 * counts. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "harness.h"
#include "vault/install.h"

enum { SEGMENT = 4096, KILLS = 50, PIECE = 700 };

static const size_t sizes[FIXTURE_FILES] = { 100, 600000, 3000 };

struct coming {
	struct fixture f;
	uint8_t *data;
	size_t len;
	uint64_t payload; /* where it begins */
	char folder[32], path[64];
	int stop;
	int refuse;  /* what `accept` says */
	rlim_t room; /* for a file, from there on; 0: as before */
};

static void coming_init(struct coming *c)
{
	struct tg_tgsp *package;
	int fd;

	*c = (struct coming){ .folder = "/tmp/install.XXXXXX" };
	fixture_init(&c->f, sizes);
	fd = fixture_pack(&c->f, SEGMENT);
	c->data = content_of(fd, &c->len);
	lseek(fd, 0, SEEK_SET);
	CU_ASSERT_EQUAL_FATAL(tg_tgsp_read(fd, &package, NULL), 0);
	c->payload = c->len - tg_floe_body_len(SEGMENT, tg_tgsp_plain_len(tg_tgsp_manifest(package)));
	tg_tgsp_free(package);
	close(fd);
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(c->folder));
	snprintf(c->path, sizeof(c->path), "%s/x.partial", c->folder);
	c->stop = eventfd(0, EFD_CLOEXEC);
}

static void coming_clear(struct coming *c)
{
	unlink(c->path);
	rmdir(c->folder);
	close(c->stop);
	free(c->data);
	fixture_clear(&c->f);
}

static int accept_it(void *ctx, const struct tg_tgsp *package, struct tg_error *e)
{
	struct coming *c = ctx;
	struct rlimit limit;

	if (c->room && !getrlimit(RLIMIT_FSIZE, &limit)) {
		limit.rlim_cur = c->room;
		setrlimit(RLIMIT_FSIZE, &limit);
	}
	if (c->refuse)
		return tg_error(e, c->refuse, "refused");
	return tg_tgsp_accept(package, &c->f.rules, e);
}

/* Bytes [from, to) of the package through a file; then it ends. */
static int run_from(struct coming *c, struct install *i, size_t to, struct tg_error *e)
{
	int fd = file_of(c->data + i->offset, to - (size_t)i->offset);
	int ret = install_run(i, fd, c->stop, accept_it, c, e);

	close(fd);
	return ret;
}

static int try_until(struct coming *c, size_t to, uint64_t *ret_offset, struct tg_error *e)
{
	struct install i;
	int ret = install_begin(c->path, c->len, &i, e);

	if (ret)
		return ret;
	*ret_offset = i.offset;
	ret = i.offset > to ? -EAGAIN : run_from(c, &i, to, e);
	install_end(&i);
	return ret;
}

static void check_complete(const struct coming *c)
{
	int fd = open(c->path, O_RDONLY | O_CLOEXEC);
	size_t len;
	uint8_t *data = content_of(fd, &len);

	CU_ASSERT_EQUAL(len, c->len);
	CU_ASSERT(len == c->len && !memcmp(data, c->data, len));
	free(data);
	close(fd);
}

/* At every end of a segment, just before and just behind it: it goes on at the last whole one. */
TEST(install, taken_up_at_every_segment)
{
	struct tg_error e;
	struct coming c;
	uint64_t offset;

	coming_init(&c);
	for (size_t at = (size_t)c.payload; at < c.len; at += SEGMENT)
		for (size_t to = at ? at - 1 : at; to <= at + 1 && to < c.len; to++) {
			uint64_t whole = to < c.payload ? 0 : to - (to - c.payload) % SEGMENT;

			CU_ASSERT_EQUAL(try_until(&c, to, &offset, &e), -EAGAIN);
			CU_ASSERT_EQUAL(try_until(&c, to, &offset, &e), -EAGAIN);
			/* a front alone is no progress */
			CU_ASSERT_EQUAL(offset, whole > c.payload ? whole : 0);
		}
	CU_ASSERT_EQUAL(try_until(&c, c.len, &offset, &e), 0);
	check_complete(&c);
	coming_clear(&c);
}

/* A process that takes what comes, which is killed when it has taken some of it. */
static void kill_after(struct coming *c, size_t bytes)
{
	int ends[2], status;
	struct install i;
	pid_t pid;

	CU_ASSERT_EQUAL_FATAL(install_begin(c->path, c->len, &i, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		close(ends[1]);
		_exit(install_run(&i, ends[0], c->stop, accept_it, c, NULL) ? 1 : 0);
	}
	close(ends[0]);
	for (size_t sent = 0; sent < bytes && i.offset + sent < c->len;) {
		size_t n = bytes - sent < PIECE ? bytes - sent : PIECE;

		if (n > c->len - i.offset - sent)
			n = c->len - (size_t)i.offset - sent;
		CU_ASSERT_EQUAL_FATAL(write(ends[1], c->data + i.offset + sent, n), (ssize_t)n);
		sent += n;
	}
	/* three times out of four when it has read all of it, and does what it does then */
	for (int left = 1; rand() % 4 && left && !ioctl(ends[1], FIONREAD, &left);)
		sched_yield();
	kill(pid, SIGKILL);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT(WIFSIGNALED(status));
	close(ends[1]);
	install_end(&i);
}

TEST(install, killed_fifty_times)
{
	uint64_t offset = 0, before = 0;
	struct tg_error e;
	struct coming c;

	coming_init(&c);
	srand(4711);
	/* where another process has the processor, a child is killed before it has done anything */
	for (int i = 0; i < KILLS || (before <= c.payload && i < 20 * KILLS); i++) {
		struct install now;

		kill_after(&c, (size_t)rand() % (4 * SEGMENT));
		CU_ASSERT_EQUAL_FATAL(install_begin(c.path, c.len, &now, &e), 0);
		CU_ASSERT(now.offset >= before || before <= c.payload);
		CU_ASSERT(!now.offset || (now.offset - c.payload) % SEGMENT == 0);
		before = now.offset;
		install_end(&now);
	}
	printf("# %d kills: %llu of %zu bytes are there\n", KILLS, (unsigned long long)before, c.len);
	CU_ASSERT(before > c.payload && before < c.len);
	CU_ASSERT_EQUAL(try_until(&c, c.len, &offset, &e), 0);
	CU_ASSERT_EQUAL(offset, before);
	check_complete(&c);
	coming_clear(&c);
}

/* Wrong bytes are never complete, wherever they are, and what is wrong does not stay. */
TEST(install, a_byte_is_wrong)
{
	struct tg_error e;
	struct coming c;
	uint64_t offset;

	coming_init(&c);
	for (size_t at = 0; at < c.len; at += 4999) {
		int ret;

		c.data[at] ^= 0x40;
		ret = try_until(&c, c.len, &offset, &e);
		CU_ASSERT_EQUAL(offset, 0);
		CU_ASSERT(ret == -EBADMSG || ret == -EKEYREJECTED);
		CU_ASSERT(access(c.path, F_OK));
		c.data[at] ^= 0x40;
	}
	CU_ASSERT_EQUAL(try_until(&c, c.len, &offset, &e), 0);
	check_complete(&c);
	coming_clear(&c);
}

/* A file that was damaged on the disk after it landed is found out at the end, and begins anew. */
TEST(install, damaged_on_the_disk)
{
	struct tg_error e;
	struct coming c;
	uint64_t offset;
	int fd;

	coming_init(&c);
	CU_ASSERT_EQUAL(try_until(&c, (size_t)c.payload + 10 * SEGMENT, &offset, &e), -EAGAIN);
	fd = open(c.path, O_WRONLY | O_CLOEXEC);
	CU_ASSERT_EQUAL(pwrite(fd, "x", 1, (off_t)c.payload + 5 * SEGMENT + 7), 1);
	close(fd);
	CU_ASSERT_EQUAL(try_until(&c, c.len, &offset, &e), -EBADMSG);
	CU_ASSERT_EQUAL(offset, c.payload + 10 * SEGMENT);
	CU_ASSERT(access(c.path, F_OK));
	CU_ASSERT_EQUAL(try_until(&c, c.len, &offset, &e), 0);
	check_complete(&c);
	coming_clear(&c);
}

TEST(install, what_is_refused_leaves_nothing)
{
	struct tg_error e;
	struct coming c;
	uint64_t offset;

	coming_init(&c);
	c.refuse = -EPERM;
	CU_ASSERT_EQUAL(try_until(&c, c.len, &offset, &e), -EPERM);
	CU_ASSERT(access(c.path, F_OK));
	/* another length than announced, and more than the package has */
	c.refuse = 0;
	c.len--;
	CU_ASSERT_EQUAL(try_until(&c, c.len, &offset, &e), -EBADMSG);
	c.len += 1;
	coming_clear(&c);
}

/* No more room in the middle of it: whole segments stay, and it goes on when there is room again. */
TEST(install, full_in_the_middle)
{
	enum { ROOM = 100000 };
	struct rlimit before;
	struct tg_error e;
	struct coming c;
	uint64_t offset;

	coming_init(&c);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	c.room = ROOM;
	CU_ASSERT_EQUAL(try_until(&c, c.len, &offset, &e), -EFBIG);
	CU_ASSERT_EQUAL(offset, 0);
	c.room = 0;
	setrlimit(RLIMIT_FSIZE, &before);
	signal(SIGXFSZ, SIG_DFL);
	CU_ASSERT_EQUAL(try_until(&c, c.len, &offset, &e), 0);
	CU_ASSERT_EQUAL(offset, ROOM - (ROOM - c.payload) % SEGMENT);
	check_complete(&c);
	coming_clear(&c);
}

/* A pipe that is silent is given up when that is asked for; two at once do not mix. */
TEST(install, silence_and_two_at_once)
{
	struct install i, other;
	struct tg_error e;
	struct coming c;
	int ends[2];

	coming_init(&c);
	CU_ASSERT_EQUAL_FATAL(install_begin(c.path, c.len, &i, &e), 0);
	CU_ASSERT_EQUAL(install_begin(c.path, c.len, &other, &e), -EBUSY);
	CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC), 0);
	CU_ASSERT_EQUAL(write(ends[1], c.data, 20), 20);
	eventfd_write(c.stop, 1);
	CU_ASSERT_EQUAL(install_run(&i, ends[0], c.stop, accept_it, &c, &e), -ECANCELED);
	install_end(&i);
	close(ends[0]);
	close(ends[1]);
	coming_clear(&c);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is left in memory. A process packs, opens and adds a recipient, then
 * stops; another one derives the keys on its own and searches all memory that
 * the first can write to: data key, the keys that FLOE derives from it, plaintext.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "harness.h"

static const size_t sizes[FIXTURE_FILES] = { 1000, 70000, 5 };

enum { SEGMENT = 4096, NEEDLES = 4, NEEDLE = 32, MAX_AREA = 1 << 30 };

struct needle {
	const char *what;
	uint8_t bytes[NEEDLE];
};

/* Everything that handles keys; the plaintext's own buffers are the sources' business. */
static void work(int fd, struct fixture *f)
{
	const struct tg_tgsp_recipients to = { &f->other_key.point, 1 };
	struct tg_tgsp_files files = { 0 };
	struct tg_tgsp *package;
	int again = memfd_create("again", MFD_CLOEXEC);

	lseek(fd, 0, SEEK_SET);
	if (tg_tgsp_read(fd, &package, NULL) ||
	    tg_tgsp_open(package, &f->rules, &f->device_key, NULL, &files, NULL))
		_exit(1);
	tg_tgsp_files_close(&files);
	tg_tgsp_free(package);
	lseek(fd, 0, SEEK_SET);
	if (tg_tgsp_read(fd, &package, NULL) ||
	    tg_tgsp_rewrap(package, &f->device_key, &to, NULL, 0, again, NULL, NULL))
		_exit(1);
	tg_tgsp_free(package);
}

/* As FLOE's specification says it, apart from the library's own FLOE. */
static void derive_needles(int fd, struct fixture *f, struct needle needles[NEEDLES])
{
	uint8_t info[10 + 32 + 16 + TG_SHA256_LEN], message_key[48], key[32];
	const struct tg_tgsp_manifest *m;
	struct tg_tgsp *package;

	lseek(fd, 0, SEEK_SET);
	CU_ASSERT_FATAL(!tg_tgsp_read(fd, &package, NULL));
	m = tg_tgsp_manifest(package);
	CU_ASSERT_FATAL(!tg_tgsp_data_key(package, &f->device_key, key, NULL));
	memcpy(info, m->payload.header, 42);
	memcpy(info + 42, "MESSAGE_KEY:", 12);
	CU_ASSERT(!tg_tgsp_manifest_payload_aad(m, info + 54, NULL));
	CU_ASSERT(!tg_hkdf_expand(TG_HKDF_SHA384, key, 32, info, 54 + TG_SHA256_LEN, message_key, 48, NULL));
	memcpy(info + 42, "DEK:\0\0\0\0\0\0\0", 12);
	CU_ASSERT(!tg_tgsp_manifest_payload_aad(m, info + 54, NULL));
	memcpy(needles[0].bytes, key, NEEDLE);
	memcpy(needles[1].bytes, message_key, NEEDLE);
	CU_ASSERT(!tg_hkdf_expand(TG_HKDF_SHA384, message_key, 48, info, 54 + TG_SHA256_LEN, needles[2].bytes,
				  NEEDLE, NULL));
	memcpy(needles[3].bytes, f->content[1] + 50000, NEEDLE);
	tg_tgsp_free(package);
}

/* How often the needle is in the memory of `pid` that can be written to. */
static unsigned search(pid_t pid, const uint8_t *needle, size_t *ret_bytes)
{
	char path[64], line[512];
	unsigned found = 0;
	int memory;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "r");
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	memory = open(path, O_RDONLY | O_CLOEXEC);
	CU_ASSERT_FATAL(maps && memory >= 0);
	while (fgets(line, sizeof(line), maps)) {
		uint64_t from, to;
		char rights[8];
		uint8_t *copy;
		ssize_t n;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to, rights) != 3 ||
		    rights[1] != 'w' || to - from > MAX_AREA) /* the address sanitizer's own table */
			continue;
		copy = malloc(to - from);
		n = pread(memory, copy, to - from, (off_t)from);
		for (uint8_t *at = copy; n > 0 && (at = memmem(at, (size_t)(copy + n - at), needle, NEEDLE));
		     at++)
			found++;
		*ret_bytes += n > 0 ? (size_t)n : 0;
		free(copy);
	}
	fclose(maps);
	close(memory);
	return found;
}

TEST(secrets, wiped_after_use)
{
	struct needle needles[NEEDLES] = { { .what = "data key" },
					   { .what = "message key" },
					   { .what = "segment key" },
					   { .what = "plaintext" } };
	uint8_t *control = malloc(NEEDLE);
	size_t bytes = 0;
	struct fixture f;
	int fd, status;
	pid_t pid;

	fixture_init(&f, sizes);
	fd = fixture_pack(&f, SEGMENT);
	CU_ASSERT_FATAL(!tg_random(control, NEEDLE, NULL));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		/* the fixture's own copy of the plaintext is not what is looked for */
		for (int i = 0; i < FIXTURE_FILES; i++)
			explicit_bzero(f.content[i], f.len[i]);
		work(fd, &f);
		raise(SIGSTOP);
		_exit(0);
	}
	CU_ASSERT_FATAL(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	derive_needles(fd, &f, needles);
	for (int i = 0; i < NEEDLES; i++) {
		unsigned found = search(pid, needles[i].bytes, &bytes);

		CU_ASSERT_EQUAL(found, 0);
		if (found)
			printf("%s: found %u times\n", needles[i].what, found);
	}
	/* the search finds what is there */
	CU_ASSERT_EQUAL(search(pid, control, &bytes), 1);
	CU_ASSERT(bytes > 100000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	free(control);
	close(fd);
	fixture_clear(&f);
}

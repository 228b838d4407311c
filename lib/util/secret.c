/* SPDX-License-Identifier: BSD-3-Clause */
#include <openssl/crypto.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tensorguard/secret.h"

/* The number is the same on every architecture; older headers lack it. */
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

enum { MAX_SECRETMEM = 4096 };

/* NULL: a kernel without it, or not enough memory that may be locked. */
static void *map_secretmem(size_t size)
{
	int fd = (int)syscall(SYS_memfd_secret, 0);
	void *area = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (!ftruncate(fd, (off_t)size))
		area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return area == MAP_FAILED ? NULL : area;
}

void *tg_secret_new(size_t size)
{
	/* larger buffers are read by system calls, and would cost the kernel its large pages */
	void *area = size <= MAX_SECRETMEM ? map_secretmem(size) : NULL;

	if (area)
		return area;
	area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return NULL;
	/* both are further protections, which a limit may refuse */
	(void)mlock(area, size);
	(void)madvise(area, size, MADV_DONTDUMP);
	return area;
}

void tg_secret_free(void *secret, size_t size)
{
	if (!secret)
		return;
	OPENSSL_cleanse(secret, size);
	munmap(secret, size);
}

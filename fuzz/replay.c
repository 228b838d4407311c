/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a fuzz target over files: replay FILE-OR-FOLDER... Each input has a
 * process of its own, so that a crash fails that input and the rest still runs.
 */
#include <errno.h>
#include <fts.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of the processor; a machine that is busy with something else may take longer, but not for ever. */
enum { MAX_CPU_SECONDS = 10, MAX_SECONDS = 120 };

/* Not in main: a child exits with the tree still open, and the leak checker looks for what no global reaches.
 */
static FTS *tree;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The buffer has exactly the input's size: a read beyond it is seen by the sanitizer. */
static int read_input(const char *path, size_t size, uint8_t **ret_data)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	int ret = -EIO;

	if (!f)
		return -errno;
	data = malloc(size ? size : 1);
	if (!data) {
		ret = -ENOMEM;
		goto out;
	}
	if (fread(data, 1, size, f) != size)
		goto out;
	*ret_data = data;
	data = NULL;
	ret = 0;
out:
	free(data);
	fclose(f);
	return ret;
}

static void limit_time(void)
{
	const struct rlimit cpu = { MAX_CPU_SECONDS, MAX_CPU_SECONDS + 1 };

	if (setrlimit(RLIMIT_CPU, &cpu)) {
		perror("replay: setrlimit");
		exit(EXIT_FAILURE);
	}
	alarm(MAX_SECONDS);
}

/* In the child: never returns. */
static void run_input(const char *path, size_t size)
{
	uint8_t *data;
	int ret = read_input(path, size, &data);

	if (ret) {
		fprintf(stderr, "replay: %s: %s\n", path, strerror(-ret));
		exit(EXIT_FAILURE);
	}
	limit_time();
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	exit(EXIT_SUCCESS);
}

static int replay(const char *path, size_t size)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		run_input(path, size);
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
		return 0;
	if (WIFSIGNALED(status))
		printf("not ok %s: %s\n", path, strsignal(WTERMSIG(status)));
	else
		printf("not ok %s: exit status %d\n", path, WEXITSTATUS(status));
	return -EINVAL;
}

int main(int argc, char **argv)
{
	unsigned passed = 0, failed = 0;
	FTSENT *entry;

	if (argc < 2) {
		fprintf(stderr, "Usage: %s FILE-OR-FOLDER...\n", argv[0]);
		return 2;
	}
	tree = fts_open(argv + 1, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	if (!tree) {
		perror("replay");
		return EXIT_FAILURE;
	}
	while ((entry = fts_read(tree))) {
		if (entry->fts_info == FTS_F &&
		    !replay(entry->fts_accpath, (size_t)entry->fts_statp->st_size))
			passed++;
		else if (entry->fts_info != FTS_D && entry->fts_info != FTS_DP)
			failed++;
	}
	fts_close(tree);
	if (!passed && !failed) {
		fprintf(stderr, "replay: no input\n");
		failed++;
	}
	printf("%u passed, %u failed, 0 skipped\n", passed, failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

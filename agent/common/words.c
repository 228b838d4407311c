/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/words.h"
#include "tensorguard/cli.h"

/* NULL when there is nothing to replace. */
static int replace(const char *word, const struct word_file *files, size_t count, char **ret_word,
		   struct tg_error *e)
{
	const char *open = strchr(word, '{'), *close = open ? strchr(open, '}') : NULL;
	size_t len = close ? (size_t)(close - open - 1) : 0;

	*ret_word = NULL;
	if (!close)
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (len && (strlen(files[i].path) != len || memcmp(files[i].path, open + 1, len)))
			continue;
		if (asprintf(ret_word, "%.*s/proc/self/fd/%d%s", (int)(open - word), word, files[i].fd,
			     close + 1) < 0)
			return tg_error(e, -ENOMEM, "out of memory");
		return 0;
	}
	return tg_error(e, TG_CLI_USAGE, "'%.*s' is no file of the package", (int)len, open + 1);
}

static int keep_open(const struct word_file *files, size_t count, struct tg_error *e)
{
	for (size_t i = 0; i < count; i++)
		if (fcntl(files[i].fd, F_SETFD, 0))
			return tg_error(e, -errno, "%s", strerror(errno));
	return 0;
}

int words_exec(char *const *words, int count, const struct word_file *files, size_t file_count,
	       struct tg_error *e)
{
	char **argv = calloc((size_t)count + 1, sizeof(*argv)), *word;
	int ret = argv ? 0 : tg_error(e, -ENOMEM, "out of memory");

	for (int i = 0; !ret && i < count; i++) {
		ret = replace(words[i], files, file_count, &word, e);
		if (!ret)
			argv[i] = word ? word : words[i];
	}
	if (!ret)
		ret = keep_open(files, file_count, e);
	if (!ret) {
		execvp(argv[0], argv);
		ret = tg_error(e, -errno, "%s: %s", argv[0], strerror(errno));
	}
	free(argv);
	return ret;
}

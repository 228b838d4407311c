/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "supervise/loops.h"
#include "tensorguard/file.h"

void loops_note(const char *run_dir, const struct child_kind *kinds, uint32_t senders)
{
	char path[PATH_MAX], text[256] = "";
	size_t len = 0;

	if (snprintf(path, sizeof(path), "%s/" LOOPS_FILE, run_dir) >= (int)sizeof(path))
		return;
	for (; kinds->name; kinds++)
		if (senders & kinds->sender && len < sizeof(text))
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\n", kinds->name);
	if (senders)
		(void)tg_file_replace(path, text, strlen(text), 0644, NULL);
	else
		unlink(path);
}

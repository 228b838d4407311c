/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/wg.h"
#include "tensorguard/base64.h"
#include "tensorguard/file.h"

static int check_file(int fd, const char *path, struct tg_error *e)
{
	struct stat info;

	if (fstat(fd, &info))
		return tg_error(e, -errno, "key file %s: %s", path, strerror(errno));
	if (!S_ISREG(info.st_mode))
		return tg_error(e, -EINVAL, "key file %s: not a regular file", path);
	if (info.st_uid && info.st_uid != geteuid())
		return tg_error(e, -EPERM, "key file %s: belongs to uid %u, expected root or uid %u", path,
				info.st_uid, geteuid());
	if (info.st_mode & 077)
		return tg_error(e, -EPERM, "key file %s: mode %04o lets others at the key, expected 0600",
				path, info.st_mode & 07777);
	return 0;
}

int wg_key_file_read(const char *path, uint8_t ret_key[static TG_KEY_LEN], struct tg_error *e)
{
	char text[TG_KEY_TEXT_LEN + 3];	/* a newline, one byte too many to notice, a NUL */
	ssize_t got;
	int fd, err;

	/* O_NONBLOCK: a FIFO must not hang us before it is refused */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return tg_error(e, -errno, "key file %s: %s", path, strerror(errno));
	err = check_file(fd, path, e);
	if (err)
		goto out;
	got = tg_read_full(fd, text, sizeof(text) - 1);
	if (got < 0) {
		err = tg_error(e, (int)got, "key file %s: %s", path, strerror((int)-got));
		goto out;
	}
	if (got == TG_KEY_TEXT_LEN + 1 && text[got - 1] == '\n')
		got--;
	text[got] = '\0';
	err = (size_t)got == strlen(text) ? tg_key_from_base64(text, ret_key) : -EINVAL;
	if (err)
		tg_error(e, err, "key file %s: expected %d characters of base64 and a newline", path,
			 TG_KEY_TEXT_LEN);
out:
	explicit_bzero(text, sizeof(text));
	close(fd);
	return err;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Small things that several of the other files need. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/internal.h"

unsigned net_family_bytes(int family)
{
	return family == AF_INET ? 4 : 16;
}

bool net_cidr_equal(const struct tg_cidr *a, const struct tg_cidr *b)
{
	return a->family == b->family && a->length == b->length &&
	       !memcmp(a->addr, b->addr, net_family_bytes(a->family));
}

const char *net_cidr_text(const struct tg_cidr *cidr, char text[static INET6_ADDRSTRLEN + 4])
{
	size_t used;

	if (!inet_ntop(cidr->family, cidr->addr, text, INET6_ADDRSTRLEN))
		return "?";
	used = strlen(text);
	snprintf(text + used, INET6_ADDRSTRLEN + 4 - used, "/%u", cidr->length);
	return text;
}

bool net_has_ipv6(void)
{
	return !access("/proc/sys/net/ipv6", F_OK);
}

static const char *conf_family(int family)
{
	return family == AF_INET6 ? "ipv6" : "ipv4";
}

static int conf_open(int family, const char *name, const char *key, int flags)
{
	char path[128];
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", conf_family(family), name,
			     key) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int net_conf_get(int family, const char *name, const char *key, bool *ret_on)
{
	int fd = conf_open(family, name, key, O_RDONLY), err = 0;
	char digit;

	if (fd < 0)
		return fd;
	if (read(fd, &digit, 1) == 1)
		*ret_on = digit != '0';
	else
		err = -EIO;
	close(fd);
	return err;
}

int net_conf_set(int family, const char *name, const char *key, bool on, struct tg_error *e)
{
	int fd = conf_open(family, name, key, O_WRONLY), err = fd < 0 ? fd : 0;

	if (!err && write(fd, on ? "1" : "0", 1) != 1)
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err)
		return tg_error(e, err, "sysctl net.%s.conf.%s.%s: %s", conf_family(family), name, key,
				strerror(-err));
	return 0;
}

void *net_array_add(struct net_array *array, size_t width)
{
	char *entry;

	if (array->count == array->size) {
		size_t size = array->size ? 2 * array->size : 16;
		void *data = reallocarray(array->data, size, width);

		if (!data)
			return NULL;
		array->data = data;
		array->size = size;
	}
	entry = (char *)array->data + width * array->count++;
	memset(entry, 0, width);
	return entry;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "supervise/listen.h"
#include "vault/call.h"

int call_connect(const char *run_dir, int *ret_fd, struct tg_error *e)
{
	struct sockaddr_un address;
	int fd, ret = listen_address(run_dir, CALL_SOCKET, &address, e);

	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return tg_error(e, -errno, "cannot make a socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
		ret = tg_error(e, -errno,
			       "nobody keeps models here: %s: %s (does tensorguard-agent run, and is "
			       "there a models.conf?)",
			       address.sun_path, strerror(errno));
		close(fd);
		return ret;
	}
	*ret_fd = fd;
	return 0;
}

/* Room for the descriptors of a message, aligned as the kernel wants it. */
union control {
	struct cmsghdr head;
	char room[CMSG_SPACE(CALL_FDS * sizeof(int))];
};

static void put_fds(struct msghdr *m, union control *control, const int *fds, size_t count)
{
	memset(control, 0, sizeof(*control));
	m->msg_control = control->room;
	m->msg_controllen = CMSG_SPACE(count * sizeof(int));
	control->head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
					  .cmsg_type = SCM_RIGHTS,
					  .cmsg_len = CMSG_LEN(count * sizeof(int)) };
	memcpy(CMSG_DATA(&control->head), fds, count * sizeof(int));
}

int call_send(int fd, json_t *message, const int *fds, size_t count)
{
	char *text = message ? json_dumps(message, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	struct iovec part = { text, text ? strlen(text) : 0 };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
	union control control;
	int ret = 0;

	json_decref(message);
	if (!text)
		return -ENOMEM;
	if (count)
		put_fds(&m, &control, fds, count);
	if (part.iov_len > CALL_MAX || count > CALL_FDS)
		ret = -EMSGSIZE;
	else if (sendmsg(fd, &m, MSG_NOSIGNAL) < 0)
		ret = -errno;
	free(text);
	return ret;
}

void call_close(struct call_fds *fds)
{
	while (fds->count)
		close(fds->fds[--fds->count]);
}

static void take_fds(struct msghdr *m, struct call_fds *fds)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		/* more than there is room for was not received: the kernel cuts them off */
		memcpy(fds->fds + fds->count, CMSG_DATA(c), count * sizeof(int));
		fds->count += count;
	}
}

static int parse(const char *text, size_t len, json_t **ret_message)
{
	json_t *message = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_object(message)) {
		json_decref(message);
		return -EBADMSG;
	}
	*ret_message = message;
	return 1;
}

/* Who hangs up without having read what we said resets the connection; what he said comes behind that. */
static ssize_t receive(int fd, struct msghdr *m)
{
	size_t room = m->msg_controllen;
	bool again = true;
	ssize_t n;

	for (;;) {
		m->msg_controllen = room;
		n = recvmsg(fd, m, MSG_CMSG_CLOEXEC);
		if (n >= 0 || (errno != EINTR && (errno != ECONNRESET || !again)))
			break;
		again = errno == EINTR;
	}
	return n < 0 ? -errno : n;
}

int call_receive(int fd, json_t **ret_message, struct call_fds *ret_fds)
{
	char *text = malloc(CALL_MAX);
	struct iovec part = { text, CALL_MAX };
	union control control;
	struct msghdr m = { .msg_iov = &part,
			    .msg_iovlen = 1,
			    .msg_control = control.room,
			    .msg_controllen = sizeof(control.room) };
	struct call_fds fds = { .count = 0 };
	ssize_t n;
	int ret;

	if (!text)
		return -ENOMEM;
	n = receive(fd, &m);
	/* a message without a byte may have some too */
	if (n >= 0)
		take_fds(&m, &fds);
	if (n > 0 && (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		n = -EMSGSIZE;
	ret = n > 0 ? parse(text, (size_t)n, ret_message) : (int)n;
	free(text);
	if (ret == 1 && ret_fds)
		*ret_fds = fds;
	else
		call_close(&fds);
	return ret;
}

static const struct {
	int error;
	const char *word;
} reasons[] = {
	{ -EAGAIN, "early" }, /* what is there is kept */
	{ -EBUSY, "busy" },     { -ECANCELED, "stopping" }, { -EKEYREVOKED, "revoked" },
	{ -ENOKEY, "no-root" }, { -ENOSPC, "room" },
};

const char *call_reason(int error)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].error == error)
			return reasons[i].word;
	return NULL;
}

static int error_of(const json_t *answer)
{
	const char *word = json_string_value(json_object_get(answer, "reason"));

	for (size_t i = 0; word && i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (!strcmp(reasons[i].word, word))
			return reasons[i].error;
	return -EPROTO;
}

int call_answer(int fd, json_t **ret_answer, struct call_fds *ret_fds, struct tg_error *e)
{
	struct call_fds fds = { .count = 0 };
	json_t *answer, *error;
	int ret = call_receive(fd, &answer, &fds);

	if (ret <= 0)
		return tg_error(e, ret ? ret : -ECONNRESET, "the agent's process vault hung up%s%s",
				ret ? ": " : "", ret ? strerror(-ret) : "");
	error = json_object_get(answer, "error");
	if (!error) {
		if (ret_fds)
			*ret_fds = fds;
		else
			call_close(&fds);
		*ret_answer = answer;
		return 0;
	}
	ret = tg_error(e, error_of(answer), "%.350s",
		       json_is_string(error) ? json_string_value(error) : "refused");
	call_close(&fds);
	json_decref(answer);
	return ret;
}

int call_ask(int fd, json_t *request, const int *fds, size_t count, json_t **ret_answer,
	     struct call_fds *ret_fds, struct tg_error *e)
{
	int ret = call_send(fd, request, fds, count);

	/* who hangs up has perhaps said why */
	if (ret && ret != -EPIPE && ret != -ECONNRESET)
		return tg_error(e, ret, "cannot ask the agent's process vault: %s", strerror(-ret));
	return call_answer(fd, ret_answer, ret_fds, e);
}

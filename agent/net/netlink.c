/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "net/internal.h"

enum { DUMP_ATTEMPTS = 10, RECEIVE_TIMEOUT_S = 10 };

int net_socket_open(int bus, struct mnl_socket **ret_socket, struct tg_error *e)
{
	struct timeval timeout = { .tv_sec = RECEIVE_TIMEOUT_S };
	struct mnl_socket *socket;
	int on = 1, err;

	socket = mnl_socket_open2(bus, SOCK_CLOEXEC);
	if (!socket)
		return tg_error(e, -errno, "cannot open a netlink socket: %s", strerror(errno));
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout))) {
		err = tg_error(e, -errno, "cannot set up a netlink socket: %s", strerror(errno));
		mnl_socket_close(socket);
		return err;
	}
	/* Both make errors readable, and an error must not echo a request that holds a key; nothing else
	 * depends on them. */
	mnl_socket_setsockopt(socket, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(socket, NETLINK_CAP_ACK, &on, sizeof(on));
	*ret_socket = socket;
	return 0;
}

int net_open(struct net **ret_net, struct tg_error *e)
{
	struct net *net = calloc(1, sizeof(*net));
	int err;

	if (!net)
		return tg_error(e, -ENOMEM, "out of memory");
	err = net_socket_open(NETLINK_ROUTE, &net->route, e);
	if (err) {
		free(net);
		return err;
	}
	*ret_net = net;
	return 0;
}

void net_close(struct net *net)
{
	if (!net)
		return;
	if (net->generic)
		mnl_socket_close(net->generic);
	mnl_socket_close(net->route);
	explicit_bzero(net, sizeof(*net));
	free(net);
}

struct nlmsghdr *net_message(struct net *net, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(net->out);

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	/* both of its bits: alone they are NLM_F_REPLACE and NLM_F_EXCL */
	if ((flags & NLM_F_DUMP) != NLM_F_DUMP)
		message->nlmsg_flags |= NLM_F_ACK;
	return message;
}

int net_gather(const struct nlattr *attr, void *data)
{
	const struct net_attrs *attrs = data;
	unsigned type = mnl_attr_get_type(attr);

	if (type <= attrs->max)
		attrs->table[type] = attr;
	return MNL_CB_OK;
}

uint32_t net_attr_u32(const struct nlattr *attr, uint32_t otherwise)
{
	if (!attr || mnl_attr_get_payload_len(attr) < sizeof(uint32_t))
		return otherwise;
	return mnl_attr_get_u32(attr);
}

void net_attr_text(const struct nlattr *attr, char *ret_text, size_t size)
{
	size_t len = attr ? strnlen(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr)) : 0;

	if (len >= size)
		len = size - 1;
	if (len)
		memcpy(ret_text, mnl_attr_get_payload(attr), len);
	ret_text[len] = '\0';
}

/* Bytes of an NLMSG_ERROR or NLMSG_DONE message before its attributes. */
static size_t ack_fixed_len(const struct nlmsghdr *message)
{
	const struct nlmsgerr *ack = mnl_nlmsg_get_payload(message);
	size_t len;

	if (message->nlmsg_type == NLMSG_DONE)
		return sizeof(int);
	len = sizeof(*ack);
	/* without NETLINK_CAP_ACK a refusal carries the whole request */
	if (!(message->nlmsg_flags & NLM_F_CAPPED) && ack->error && ack->msg.nlmsg_len > NLMSG_HDRLEN)
		len += MNL_ALIGN(ack->msg.nlmsg_len - NLMSG_HDRLEN);
	return len;
}

const char *net_ack_text(const struct nlmsghdr *message)
{
	const struct nlattr *table[NLMSGERR_ATTR_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, NLMSGERR_ATTR_MAX };
	const struct nlattr *text;
	size_t fixed;

	if (!(message->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	fixed = ack_fixed_len(message);
	if (mnl_nlmsg_get_payload_len(message) <= fixed)
		return NULL;
	if (mnl_attr_parse(message, (unsigned)fixed, net_gather, &attrs) < 0)
		return NULL;
	text = table[NLMSGERR_ATTR_MSG];
	if (!text || mnl_attr_validate(text, MNL_TYPE_NUL_STRING) < 0)
		return NULL;
	return mnl_attr_get_str(text);
}

/* The verdict of an NLMSG_ERROR or NLMSG_DONE message. */
static int ack_result(const struct nlmsghdr *message, struct tg_error *e)
{
	const char *text = net_ack_text(message);
	int err;

	/* both begin with the negative errno; a DONE of old kernels may be empty */
	if (mnl_nlmsg_get_payload_len(message) < sizeof(int))
		return message->nlmsg_type == NLMSG_DONE ? 0
							 : tg_error(e, -EBADMSG, "truncated netlink reply");
	err = *(const int *)mnl_nlmsg_get_payload(message);
	if (err >= 0)
		return 0;
	if (text)
		return tg_error(e, err, "%s (%s)", text, strerror(-err));
	return tg_error(e, err, "%s", strerror(-err));
}

struct exchange {
	uint32_t seq, port;
	net_reply_fn fn;
	void *data;
	int err;		/* the first error of `fn` */
	bool interrupted;
};

/*
 * Returns 1 when the message ends the exchange, 0 when more follow, a negative errno when the kernel
 * refused.
 */
static int take_message(struct exchange *x, const struct nlmsghdr *message, struct tg_error *e)
{
	int err;

	/* what an earlier exchange left behind after a time-out */
	if (message->nlmsg_seq != x->seq || message->nlmsg_pid != x->port)
		return 0;
	if (message->nlmsg_flags & NLM_F_DUMP_INTR)
		x->interrupted = true;
	switch (message->nlmsg_type) {
	case NLMSG_NOOP:
		return 0;
	case NLMSG_OVERRUN:
		return tg_error(e, -EOVERFLOW, "netlink replies were lost");
	case NLMSG_ERROR:
	case NLMSG_DONE:
		err = ack_result(message, e);
		return err ? err : 1;
	}
	if (x->fn && !x->err)
		x->err = x->fn(message, x->data);
	return 0;
}

/* One read of what the kernel has to say, into net->in. Returns its length. */
static int receive(struct net *net, struct mnl_socket *socket, struct tg_error *e)
{
	ssize_t got;

	do
		got = mnl_socket_recvfrom(socket, net->in, sizeof(net->in));
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return tg_error(e, -errno, "no answer from the kernel: %s", strerror(errno));
	return (int)got;
}

static int exchange_run(struct net *net, struct mnl_socket *socket, struct nlmsghdr *request,
			struct exchange *x, struct tg_error *e)
{
	request->nlmsg_seq = x->seq = ++net->seq;
	x->port = mnl_socket_get_portid(socket);
	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return tg_error(e, -errno, "cannot send to the kernel: %s", strerror(errno));
	for (;;) {
		const struct nlmsghdr *message = (const void *)net->in;
		int left = receive(net, socket, e);

		if (left < 0)
			return left;
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
			int end = take_message(x, message, e);

			if (end)
				return end < 0 ? end : 0;
		}
	}
}

int net_request(struct net *net, struct mnl_socket *socket, struct nlmsghdr *request, net_reply_fn fn,
		void *data, struct tg_error *e)
{
	struct exchange x = { .fn = fn, .data = data };
	int err = exchange_run(net, socket, request, &x, e);

	if (!err && x.err)
		err = tg_error(e, x.err, "%s", strerror(-x.err));
	return err;
}

int net_dump(struct net *net, struct mnl_socket *socket, struct nlmsghdr *request, net_reply_fn fn,
	     void (*restart)(void *data), void *data, struct tg_error *e)
{
	for (int attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
		struct exchange x = { .fn = fn, .data = data };
		int err = exchange_run(net, socket, request, &x, e);

		if (!err && x.err)
			err = tg_error(e, x.err, "%s", strerror(-x.err));
		if (err || !x.interrupted)
			return err;
		restart(data);
	}
	return tg_error(e, -EAGAIN, "the list kept changing while it was read (%d attempts)", DUMP_ATTEMPTS);
}

int net_apply(struct net *net, struct nlmsghdr *request, struct tg_error *e)
{
	return net_request(net, net->route, request, NULL, NULL, e);
}

/* ---- traffic control ---- */

int net_tc_parse(const struct nlmsghdr *reply, const struct nlattr **table, const struct tcmsg **ret_header)
{
	struct net_attrs attrs = { table, TCA_MAX };

	*ret_header = mnl_nlmsg_get_payload(reply);
	if (mnl_nlmsg_get_payload_len(reply) < sizeof(**ret_header) ||
	    mnl_attr_parse(reply, sizeof(**ret_header), net_gather, &attrs) < 0)
		return -EBADMSG;
	return 0;
}

struct nlmsghdr *net_tc_message(struct net *net, uint16_t type, uint16_t flags, unsigned ifindex,
				uint32_t handle, uint32_t parent)
{
	struct nlmsghdr *message = net_message(net, type, flags);
	struct tcmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));

	header->tcm_family = AF_UNSPEC;
	header->tcm_ifindex = (int)ifindex;
	header->tcm_handle = handle;
	header->tcm_parent = parent;
	return message;
}

/* ---- many requests at once ---- */

enum { BATCH_MESSAGES = 64 };	/* their acknowledgements fit the socket's receive buffer */

/* Returns 1 for an acknowledgement of the batch, 0 for anything else; *err keeps the first refusal. */
static int take_ack(const struct net_batch *batch, const struct nlmsghdr *message, int *err,
		    struct tg_error *e)
{
	uint32_t first = batch->net->seq - batch->count;

	if (message->nlmsg_pid != mnl_socket_get_portid(batch->net->route) ||
	    message->nlmsg_seq - first - 1 >= batch->count || message->nlmsg_type != NLMSG_ERROR)
		return 0;
	if (!*err)
		*err = ack_result(message, e);
	return 1;
}

static int take_acks(struct net_batch *batch, struct tg_error *e)
{
	struct net *net = batch->net;
	uint32_t seen = 0;
	int err = 0;

	while (seen < batch->count) {
		const struct nlmsghdr *message = (const void *)net->in;
		int left = receive(net, net->route, e);

		if (left < 0)
			return left;
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			seen += (uint32_t)take_ack(batch, message, &err, e);
	}
	return err;
}

int net_batch_end(struct net_batch *batch, struct tg_error *e)
{
	int err = 0;

	if (!batch->count)
		return 0;
	if (mnl_socket_sendto(batch->net->route, batch->buffer, batch->used) < 0)
		err = tg_error(e, -errno, "cannot send to the kernel: %s", strerror(errno));
	else
		err = take_acks(batch, e);
	batch->used = 0;
	batch->count = 0;
	return err;
}

int net_batch_add(struct net_batch *batch, const struct nlmsghdr *message, struct tg_error *e)
{
	size_t size = MNL_ALIGN(message->nlmsg_len);
	struct nlmsghdr *copy;
	int err = 0;

	if (batch->count == BATCH_MESSAGES || batch->used + size > sizeof(batch->buffer))
		err = net_batch_end(batch, e);
	if (err)
		return err;
	copy = (void *)(batch->buffer + batch->used);
	memcpy(copy, message, size);
	copy->nlmsg_seq = ++batch->net->seq;
	batch->used += size;
	batch->count++;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <libnetfilter_queue/libnetfilter_queue.h>

#include "guard/queue.h"
#include "tensorguard/sni.h"

enum {
	BATCH = 64,
	/* the most that a hello may take, behind IPv6 and TCP headers with extensions and options */
	COPY_RANGE = TG_SNI_MAX_BYTES + 512,
	MESSAGE_MAX = COPY_RANGE + 1024,
	VERDICTS_MAX = 8192,	/* bytes of one batch of verdicts */
	VERDICT_ROOM = 64,
	PACKET_COST = 2304,	/* what a queued MTU-sized packet takes of the receive buffer */
	RCVBUF_MIN = 1 << 20,
	RCVBUF_MAX = 64 << 20,
};

struct queue {
	struct mnl_socket *socket;
	uint16_t number;
	struct queue_stats stats;
	size_t verdicts_len;
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	_Alignas(struct nlmsghdr) char verdicts[VERDICTS_MAX];
	_Alignas(struct nlmsghdr) char buffers[BATCH][MESSAGE_MAX];
};

_Static_assert(MESSAGE_MAX % _Alignof(struct nlmsghdr) == 0, "every buffer is aligned");

/* Sends a request and waits for the kernel's answer to it. */
static int request(struct queue *q, struct nlmsghdr *nlh)
{
	struct mnl_socket *s = q->socket;
	ssize_t n;

	nlh->nlmsg_flags |= NLM_F_ACK;
	nlh->nlmsg_seq = 1;
	if (mnl_socket_sendto(s, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	n = mnl_socket_recvfrom(s, q->buffers[0], sizeof(q->buffers[0]));
	if (n < 0 || mnl_cb_run(q->buffers[0], (size_t)n, 1, mnl_socket_get_portid(s), NULL, NULL) < 0)
		return -errno;
	return 0;
}

static struct nlmsghdr *start_config(struct queue *q)
{
	return nfq_nlmsg_put(q->verdicts, NFQNL_MSG_CONFIG, q->number);
}

static int bind_queue(struct queue *q)
{
	struct nlmsghdr *nlh = start_config(q);

	nfq_nlmsg_cfg_put_cmd(nlh, AF_UNSPEC, NFQNL_CFG_CMD_BIND);
	return request(q, nlh);
}

static struct nlmsghdr *put_settings(struct queue *q, const struct queue_conf *conf)
{
	uint32_t flags = NFQA_CFG_F_UID_GID | (conf->headers_only ? 0 : NFQA_CFG_F_GSO) |
			 (conf->fail_open ? NFQA_CFG_F_FAIL_OPEN : 0);
	uint32_t mask = NFQA_CFG_F_GSO | NFQA_CFG_F_UID_GID | NFQA_CFG_F_FAIL_OPEN;
	struct nlmsghdr *nlh = start_config(q);

	mnl_attr_put_u32(nlh, NFQA_CFG_FLAGS, htonl(flags));
	mnl_attr_put_u32(nlh, NFQA_CFG_MASK, htonl(mask));
	mnl_attr_put_u32(nlh, NFQA_CFG_QUEUE_MAXLEN, htonl(conf->length));
	return nlh;
}

/* Last, and without waiting: from here on packets come, and would come between us and the answer. */
static int start_packets(struct queue *q, const struct queue_conf *conf)
{
	struct nlmsghdr *nlh = start_config(q);

	nfq_nlmsg_cfg_put_params(nlh, NFQNL_COPY_PACKET, conf->headers_only ? QUEUE_HEADERS : COPY_RANGE);
	return mnl_socket_sendto(q->socket, nlh, nlh->nlmsg_len) < 0 ? -errno : 0;
}

/* Room for everything that the kernel may keep for us: 0 or -errno. */
static int set_buffer(struct queue *q, const struct queue_conf *conf)
{
	size_t want = (size_t)conf->length * PACKET_COST;
	int size = (int)(want < RCVBUF_MIN ? RCVBUF_MIN : want > RCVBUF_MAX ? RCVBUF_MAX : want);

	return setsockopt(queue_fd(q), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ? -errno : 0;
}

static int open_socket(struct queue *q, const struct queue_conf *conf)
{
	const struct timeval limit = { .tv_sec = 2 };
	int ret;

	q->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!q->socket || mnl_socket_bind(q->socket, 0, MNL_SOCKET_AUTOPID))
		return -errno;
	if (setsockopt(queue_fd(q), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		return -errno;
	ret = set_buffer(q, conf);
	if (!ret)
		ret = bind_queue(q);
	if (!ret)
		ret = request(q, put_settings(q, conf));
	return ret ? ret : start_packets(q, conf);
}

int queue_open(const struct queue_conf *conf, struct queue **ret_queue, struct tg_error *e)
{
	struct queue *q = calloc(1, sizeof(*q));
	int ret;

	if (!q)
		return tg_error(e, -ENOMEM, "out of memory");
	q->number = conf->number;
	for (size_t i = 0; i < BATCH; i++) {
		q->vectors[i] = (struct iovec){ q->buffers[i], MESSAGE_MAX };
		q->messages[i].msg_hdr.msg_iov = &q->vectors[i];
		q->messages[i].msg_hdr.msg_iovlen = 1;
	}
	ret = open_socket(q, conf);
	if (ret) {
		queue_close(q);
		/* the kernel says EPERM to root when the queue is someone else's */
		if (ret == -EBUSY || ret == -EPERM)
			return tg_error(e, ret,
					"queue %u is served by another program, or we lack CAP_NET_ADMIN",
					conf->number);
		return tg_error(e, ret, "cannot open queue %u: %s", conf->number, strerror(-ret));
	}
	*ret_queue = q;
	return 0;
}

void queue_close(struct queue *q)
{
	if (!q)
		return;
	if (q->socket)
		mnl_socket_close(q->socket);
	free(q);
}

void queue_change(struct queue *q, const struct queue_conf *conf)
{
	struct nlmsghdr *nlh;

	/* the settings are made where verdicts wait */
	queue_flush(q);
	nlh = put_settings(q, conf);
	if (set_buffer(q, conf) || mnl_socket_sendto(q->socket, nlh, nlh->nlmsg_len) < 0)
		q->stats.verdict_errors++;
}

int queue_fd(const struct queue *q)
{
	return mnl_socket_get_fd(q->socket);
}

/* A value of exactly `size` bytes, or NULL. */
static const void *value_of(const struct nlattr *attr, size_t size)
{
	return mnl_attr_get_payload_len(attr) == size ? mnl_attr_get_payload(attr) : NULL;
}

static uint32_t number_of(const struct nlattr *attr)
{
	const void *value = value_of(attr, sizeof(uint32_t));
	uint32_t number = 0;

	if (value)
		memcpy(&number, value, sizeof(number));
	return ntohl(number);
}

static void take_attr(const struct nlattr *attr, struct queue_packet *p, bool *has_id, bool *has_in)
{
	const struct nfqnl_msg_packet_hdr *header;

	switch (mnl_attr_get_type(attr)) {
	case NFQA_PACKET_HDR:
		header = value_of(attr, sizeof(*header));
		if (!header)
			break;
		p->id = ntohl(header->packet_id);
		p->local = header->hook == NF_INET_LOCAL_OUT || header->hook == NF_INET_POST_ROUTING;
		*has_id = true;
		break;
	case NFQA_MARK:
		p->mark = number_of(attr);
		break;
	case NFQA_IFINDEX_INDEV:
		*has_in = true;
		break;
	case NFQA_IFINDEX_OUTDEV:
		p->out_ifindex = number_of(attr);
		break;
	case NFQA_UID:
		p->uid = number_of(attr);
		p->has_uid = true;
		break;
	case NFQA_CAP_LEN:
		p->total = number_of(attr);
		break;
	case NFQA_PAYLOAD:
		p->data = mnl_attr_get_payload(attr);
		p->size = mnl_attr_get_payload_len(attr);
		break;
	default:
		break;
	}
}

/* False when the message names no packet at all. */
static bool read_packet(const struct nlmsghdr *nlh, struct queue_packet *ret_packet)
{
	bool has_id = false, has_in = false;
	const struct nlattr *attr;

	*ret_packet = (struct queue_packet){ .data = (const uint8_t *)"" };
	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct nfgenmsg))
		return false;
	mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg)) take_attr(attr, ret_packet, &has_id, &has_in);
	if (ret_packet->total < ret_packet->size)
		ret_packet->total = ret_packet->size;
	/* what POSTROUTING forwards came in from a device */
	ret_packet->local = ret_packet->local && !has_in;
	return has_id;
}

static int take_message(struct queue *q, const struct nlmsghdr *nlh,
			void (*handle)(void *ctx, const struct queue_packet *packet), void *ctx)
{
	struct queue_packet packet;

	if (nlh->nlmsg_type == NLMSG_ERROR) {
		q->stats.verdict_errors++;
		return 0;
	}
	if (nlh->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET) || !read_packet(nlh, &packet)) {
		q->stats.bad_messages++;
		return 0;
	}
	q->stats.packets++;
	handle(ctx, &packet);
	return 1;
}

int queue_receive(struct queue *q, void (*handle)(void *ctx, const struct queue_packet *packet), void *ctx)
{
	int packets = 0, n = recvmmsg(queue_fd(q), q->messages, BATCH, MSG_DONTWAIT, NULL);

	if (n < 0 && errno == ENOBUFS) {
		q->stats.enobufs++;
		return 1;
	}
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		const struct nlmsghdr *nlh = (const void *)q->buffers[i];
		int left = (int)q->messages[i].msg_len;

		if (q->messages[i].msg_hdr.msg_flags & MSG_TRUNC)
			q->stats.bad_messages++;
		for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
			packets += take_message(q, nlh, handle, ctx);
	}
	queue_flush(q);
	return packets;
}

void queue_flush(struct queue *q)
{
	ssize_t n = 0;

	if (!q->verdicts_len)
		return;
	do {
		n = mnl_socket_sendto(q->socket, q->verdicts, q->verdicts_len);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		q->stats.verdict_errors++;
	q->verdicts_len = 0;
}

void queue_verdict(struct queue *q, uint32_t id, unsigned verdict, const uint32_t *mark)
{
	struct nlmsghdr *nlh;

	if (q->verdicts_len + VERDICT_ROOM > sizeof(q->verdicts))
		queue_flush(q);
	nlh = nfq_nlmsg_put(q->verdicts + q->verdicts_len, NFQNL_MSG_VERDICT, q->number);
	nfq_nlmsg_verdict_put(nlh, (int)id, (int)verdict);
	if (mark)
		nfq_nlmsg_verdict_put_mark(nlh, *mark);
	q->verdicts_len += MNL_ALIGN(nlh->nlmsg_len);
}

const struct queue_stats *queue_stats(const struct queue *q)
{
	return &q->stats;
}

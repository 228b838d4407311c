/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pace/tap.h"

enum { RECEIVE_BUFFER = 4 << 20 };

/* Frames of the kinds that are for us, whole. */
static int set_filter(int fd, int listens)
{
	struct sock_filter wanted[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct tg_ether_meta, kind)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TG_CELL_TAKEN, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TG_CELL_GIVEN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_filter none[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_fprog program = { sizeof(wanted) / sizeof(wanted[0]), wanted };

	if (!listens)
		program = (struct sock_fprog){ 1, none };
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
}

int tap_open(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), ret;
	const int on = 1, room = RECEIVE_BUFFER;

	if (fd < 0)
		return -errno;
	ret = set_filter(fd, 0);
	if (!ret && (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) ||
		     setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room))))
		ret = -errno;
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

int tap_listen(int fd, unsigned tail_ifindex)
{
	const struct sockaddr_ll at = { .sll_family = AF_PACKET,
					.sll_protocol = htons(ETH_P_ALL),
					.sll_ifindex = (int)tail_ifindex };

	/* bound first: a socket that hears nothing must not begin with the pair that it is leaving */
	if (tail_ifindex && bind(fd, (const struct sockaddr *)&at, sizeof(at)))
		return -errno;
	return set_filter(fd, tail_ifindex != 0);
}

int tap_silence(int fd)
{
	int ret = set_filter(fd, 0), error;
	socklen_t len = sizeof(error);
	uint8_t byte;

	/* that its device went away, which it would tell before what it still has */
	if (!ret && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
		ret = -errno;
	while (!ret && (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0 || errno == EINTR))
		;
	return ret;
}

int tap_receive(int fd, uint8_t *frame, struct tg_ether_meta *ret_meta, const uint8_t **ret_packet,
		size_t *ret_size)
{
	ssize_t n;

	do {
		n = recv(fd, frame, TAP_FRAME_MAX, MSG_DONTWAIT);
	} while (n >= 0 && (size_t)n <= sizeof(*ret_meta));
	/* the device went away or down: another plan has the new one */
	if (n < 0)
		return errno == EAGAIN || errno == EINTR || errno == ENETDOWN || errno == ENXIO ? 0 : -errno;
	memcpy(ret_meta, frame, sizeof(*ret_meta));
	*ret_packet = frame + sizeof(*ret_meta);
	*ret_size = (size_t)n - sizeof(*ret_meta);
	return 1;
}

int tap_send(int fd, unsigned head_ifindex, const struct tg_ether_meta *meta, uint32_t mark,
	     const uint8_t *packet, size_t size)
{
	struct tg_ether_meta head = *meta;
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)head_ifindex };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(mark))] = { 0 };
	struct iovec parts[] = { { &head, sizeof(head) }, { (void *)(uintptr_t)packet, size } };
	struct msghdr message = { .msg_name = &to,
				  .msg_namelen = sizeof(to),
				  .msg_iov = parts,
				  .msg_iovlen = 2,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *option = CMSG_FIRSTHDR(&message);

	head.h_proto = htons(size && packet[0] >> 4 == 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
	to.sll_protocol = head.h_proto;
	option->cmsg_level = SOL_SOCKET;
	option->cmsg_type = SO_MARK;
	option->cmsg_len = CMSG_LEN(sizeof(mark));
	memcpy(CMSG_DATA(option), &mark, sizeof(mark));
	return sendmsg(fd, &message, MSG_DONTWAIT) < 0 ? -errno : 0;
}

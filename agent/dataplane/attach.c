/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/if_link.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dataplane/dataplane.h"

/* Where our filters sit: first in line, under a handle that nobody picks by accident ("TG"). */
enum { FILTER_PRIORITY = 1, FILTER_HANDLE = 0x5447 };

static enum bpf_tc_attach_point attach_point(enum dp_hook hook)
{
	if (hook == DP_HOOK_CLOCK)
		return BPF_TC_CUSTOM;
	return hook == DP_HOOK_EGRESS ? BPF_TC_EGRESS : BPF_TC_INGRESS;
}

static const char *hook_name(enum dp_hook hook)
{
	static const char *const names[] = {
		[DP_HOOK_INGRESS] = "ingress", [DP_HOOK_EGRESS] = "egress", [DP_HOOK_CLOCK] = "htb"
	};

	return names[hook];
}

static int program_id(const struct dataplane *dp, enum dp_prog prog, __u32 *ret_id, struct tg_error *e)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(dp->progs[prog], &info, &len))
		return tg_error(e, -errno, "cannot read the program's identity: %s", strerror(errno));
	*ret_id = info.id;
	return 0;
}

int dataplane_attach(const struct dataplane *dp, enum dp_prog prog, unsigned ifindex, enum dp_hook hook,
		     struct tg_error *e)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = (int)ifindex, .attach_point = attach_point(hook));
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY,
			    .prog_fd = dp->progs[prog], .flags = BPF_TC_F_REPLACE);
	bool attached;
	int ret;

	ret = dataplane_attached(dp, prog, ifindex, hook, &attached, e);
	if (ret || attached)
		return ret;
	/* libbpf prints a warning when the hook is there already, which is no error to us. */
	ret = bpf_tc_hook_create(&tc);
	if (ret && ret != -EEXIST)
		return tg_error(e, ret, "cannot add clsact to device %u: %s", ifindex, strerror(-ret));
	ret = bpf_tc_attach(&tc, &opts);
	if (ret)
		return tg_error(e, ret, "cannot attach %s to the %s of device %u: %s", dp_prog_names[prog],
				hook_name(hook), ifindex, strerror(-ret));
	return 0;
}

int dataplane_attached(const struct dataplane *dp, enum dp_prog prog, unsigned ifindex, enum dp_hook hook,
		       bool *ret_attached, struct tg_error *e)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = (int)ifindex, .attach_point = attach_point(hook),
			    .parent = hook == DP_HOOK_CLOCK ? NET_CLOCK_PARENT : 0);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	__u32 id;
	int ret;

	ret = program_id(dp, prog, &id, e);
	if (ret)
		return ret;
	ret = bpf_tc_query(&tc, &opts);
	/* no filter there, no clsact, or no such device */
	if (ret == -ENOENT || ret == -EINVAL || ret == -ENODEV) {
		*ret_attached = false;
		return 0;
	}
	if (ret)
		return tg_error(e, ret, "cannot query the %s filters of device %u: %s", hook_name(hook),
				ifindex, strerror(-ret));
	*ret_attached = opts.prog_id == id;
	return 0;
}

/* Identity of the generic XDP program of the device, 0 = none. */
static int xdp_program(unsigned ifindex, __u32 *ret_id, struct tg_error *e)
{
	int ret = bpf_xdp_query_id((int)ifindex, XDP_FLAGS_SKB_MODE, ret_id);

	return ret ? tg_error(e, ret, "cannot query the XDP program of device %u: %s", ifindex,
			      strerror(-ret))
		   : 0;
}

int dataplane_is_mute(const struct dataplane *dp, uint32_t id, bool *ret_is, struct tg_error *e)
{
	__u32 ours;
	int ret = program_id(dp, DP_MUTE, &ours, e);

	if (!ret)
		*ret_is = id == ours;
	return ret;
}

/* Whether the program is a tg_mute, of this or of an earlier load. */
static bool is_mute(__u32 id)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id), err;

	if (fd < 0)
		return false;
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	close(fd);
	return !err && !strcmp(info.name, dp_prog_names[DP_MUTE]);
}

int dataplane_attach_mute(const struct dataplane *dp, unsigned ifindex, struct tg_error *e)
{
	__u32 ours, there;
	int ret;

	ret = program_id(dp, DP_MUTE, &ours, e);
	if (!ret)
		ret = xdp_program(ifindex, &there, e);
	if (ret || there == ours)
		return ret;
	if (there && !is_mute(there))
		return tg_error(e, -EBUSY, "device %u has an XDP program of somebody else", ifindex);
	ret = bpf_xdp_attach((int)ifindex, dp->progs[DP_MUTE], XDP_FLAGS_SKB_MODE, NULL);
	if (ret)
		return tg_error(e, ret, "cannot attach %s to device %u: %s", dp_prog_names[DP_MUTE], ifindex,
				strerror(-ret));
	return 0;
}

int dataplane_detach_mute(unsigned ifindex, struct tg_error *e)
{
	__u32 there;
	int ret = xdp_program(ifindex, &there, e);

	if (ret || !there || !is_mute(there))
		return ret;
	ret = bpf_xdp_detach((int)ifindex, XDP_FLAGS_SKB_MODE, NULL);
	return ret ? tg_error(e, ret, "cannot detach from the XDP hook of device %u: %s", ifindex,
			      strerror(-ret))
		   : 0;
}

/* Whether the program is one of ours, of this or of an earlier load. */
static bool is_ours(__u32 id)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id), err;
	bool ours = false;

	if (fd < 0)
		return false;
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	close(fd);
	for (int i = 0; i < DP_PROG_COUNT && !err; i++)
		ours |= !strcmp(info.name, dp_prog_names[i]);
	return ours;
}

static bool nothing_there(int err)
{
	return err == -ENOENT || err == -EINVAL || err == -ENODEV;
}

static int detach_hook(unsigned ifindex, enum dp_hook hook, bool *ret_found, struct tg_error *e)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = (int)ifindex, .attach_point = attach_point(hook));
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, there, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	int ret = bpf_tc_query(&tc, &there);

	if (nothing_there(ret) || (!ret && !is_ours(there.prog_id)))
		return 0;
	if (!ret)
		ret = bpf_tc_detach(&tc, &opts);
	if (ret && !nothing_there(ret))
		return tg_error(e, ret, "cannot detach from the %s of device %u: %s", hook_name(hook),
				ifindex, strerror(-ret));
	*ret_found = true;
	return 0;
}

int dataplane_detach(struct net *net, unsigned ifindex, struct tg_error *e)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, both, .ifindex = (int)ifindex,
			    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	bool used, found = false;
	int ret;

	dataplane_quiet();
	ret = detach_hook(ifindex, DP_HOOK_INGRESS, &found, e);
	if (!ret)
		ret = detach_hook(ifindex, DP_HOOK_EGRESS, &found, e);
	if (ret || !found)
		return ret;
	ret = net_filters_present(net, ifindex, &used, e);
	if (ret || used)
		return ret;
	ret = bpf_tc_hook_destroy(&both);
	if (ret && !nothing_there(ret))
		return tg_error(e, ret, "cannot remove clsact from device %u: %s", ifindex, strerror(-ret));
	return 0;
}

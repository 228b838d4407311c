/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "tensorguard/base64.h"

enum { MTU = 1380, FWMARK = 0x400000 };

/* A tunnel whose peers have the public keys 1, 2, ... in their first byte. */
struct fake {
	struct tg_tunnel tunnel;
	struct tg_peer peers[3];
	struct tg_cidr allowed[3][3];
};

static void make_key_file(const char *path)
{
	CU_ASSERT_EQUAL_FATAL(fixture_run("umask 077 && wg genkey >%s", path), 0);
}

static void fake_init(struct fake *fake, const char *name, size_t peers)
{
	memset(fake, 0, sizeof(*fake));
	snprintf(fake->tunnel.name, sizeof(fake->tunnel.name), "%s", name);
	fake->tunnel.key_file = (char *)"/run/key";
	fake->tunnel.peers = fake->peers;
	fake->tunnel.peer_count = peers;
	for (size_t i = 0; i < peers; i++) {
		struct tg_peer *peer = &fake->peers[i];

		memset(peer->public_key, (int)i + 1, sizeof(peer->public_key));
		peer->endpoint = (struct tg_endpoint){ .family = AF_INET, .port = (uint16_t)(1000 + i) };
		inet_pton(AF_INET, "192.0.2.1", peer->endpoint.addr);
		fake->allowed[i][0] = fixture_cidr("10.77.0.0/24");
		fake->allowed[i][0].addr[2] = (uint8_t)i;
		fake->allowed[i][1] = fixture_cidr("fd77::/64");
		fake->allowed[i][1].addr[7] = (uint8_t)i;
		fake->allowed[i][2] = fixture_cidr("10.99.0.0/24");
		fake->allowed[i][2].addr[2] = (uint8_t)i;
		peer->allowed_ips = fake->allowed[i];
		peer->allowed_ip_count = 2;
		peer->keepalive_s = 25;
	}
}

static int ensure_as(enum wg_backend backend, const char *name, struct tg_error *e)
{
	return wg_device_ensure(fixture_net(), name, backend, MTU, e);
}

static int ensure(const char *name, struct tg_error *e)
{
	return ensure_as(WG_USERSPACE, name, e);
}

/* False, and the test is marked as skipped, where the kernel has no WireGuard. */
static bool need_kernel(void)
{
	bool available = false;
	struct tg_error e;

	OK(wg_kernel_available(fixture_net(), &available, &e), e);
	if (!available)
		harness_skip("this kernel has no wireguard links");
	return available;
}

static unsigned process_id(const char *name)
{
	return (unsigned)atoi(fixture_output("pgrep -x -f 'wireguard-go %s'", name));
}

static void remove_device(const char *name)
{
	struct tg_error e;

	OK(net_link_remove(fixture_net(), name, &e), e);
	CU_ASSERT_NOT_EQUAL(fixture_run("ip link show %s 2>/dev/null", name), 0);
	CU_ASSERT_NOT_EQUAL(access("/var/run/wireguard/tgw0.sock", F_OK), 0);
	for (int i = 0; i < 100 && process_id(name); i++)
		usleep(20000);
	CU_ASSERT_EQUAL(process_id(name), 0);
}

TEST(net_wireguard, device_twice_is_once)
{
	enum wg_backend backend;
	struct net_link link;
	struct tg_error e;
	unsigned pid, ifindex;
	int leak = open("/run/leak", O_RDWR | O_CREAT, 0600);

	OK(ensure("tgw0", &e), e);
	close(leak);
	OK(net_link_get(fixture_net(), "tgw0", &link, &e), e);
	CU_ASSERT_EQUAL(link.mtu, MTU);
	CU_ASSERT_STRING_EQUAL(link.alias, "tensorguard:tgw0");
	CU_ASSERT_STRING_EQUAL(link.kind, "tun");
	OK(wg_backend_of(fixture_net(), "tgw0", &backend, &e), e);
	CU_ASSERT_EQUAL(backend, WG_USERSPACE);
	pid = process_id("tgw0");
	CU_ASSERT_NOT_EQUAL(pid, 0);
	ifindex = link.ifindex;
	OK(ensure("tgw0", &e), e);
	OK(net_link_get(fixture_net(), "tgw0", &link, &e), e);
	CU_ASSERT_EQUAL(link.ifindex, ifindex);
	CU_ASSERT_EQUAL(process_id("tgw0"), pid);
	/* nothing of ours stays with the process */
	CU_ASSERT_STRING_EQUAL(fixture_output("ls -l /proc/%u/fd | grep -oE '/dev/null$' | wc -l", pid), "3");
	CU_ASSERT_STRING_EQUAL(fixture_output("ls -l /proc/%u/fd | grep -E 'memfd|/run/leak'", pid), "");
	CU_ASSERT_STRING_EQUAL(fixture_output("readlink /proc/%u/cwd", pid), "/");
	CU_ASSERT_NOT_EQUAL(atoi(fixture_output("ps -o sid= -p %u", pid)), (int)getsid(0));
	remove_device("tgw0");
	remove_device("tgw0");
}

TEST(net_wireguard, device_is_silent_when_up)
{
	struct tg_cidr v4 = fixture_cidr("10.66.0.1/24"), v6 = fixture_cidr("fd66::1/64");
	struct net_link link;
	struct tg_error e;

	OK(ensure("tgw0", &e), e);
	OK(net_link_get(fixture_net(), "tgw0", &link, &e), e);
	OK(net_addr_ensure(fixture_net(), link.ifindex, &v4, &e), e);
	OK(net_addr_ensure(fixture_net(), link.ifindex, &v6, &e), e);
	OK(net_link_set_up(fixture_net(), "tgw0", true, &e), e);
	sleep(2);
	CU_ASSERT_STRING_EQUAL(fixture_output("cat /sys/class/net/tgw0/statistics/tx_packets"), "0");
	CU_ASSERT_STRING_EQUAL(fixture_output("ip -6 -o addr show dev tgw0 scope link"), "");
	remove_device("tgw0");
}

TEST(net_wireguard, device_repairs)
{
	struct net_link link;
	struct tg_error e;

	/* killed: the TUN goes, the socket file stays */
	OK(ensure("tgw0", &e), e);
	CU_ASSERT_EQUAL(fixture_run("kill -9 %u", process_id("tgw0")), 0);
	for (int i = 0; i < 100 && !fixture_run("ip link show tgw0 >/dev/null 2>&1"); i++)
		usleep(20000);
	CU_ASSERT_EQUAL(access("/var/run/wireguard/tgw0.sock", F_OK), 0);
	OK(ensure("tgw0", &e), e);
	CU_ASSERT_NOT_EQUAL(process_id("tgw0"), 0);
	/* the same, and then `down` */
	CU_ASSERT_EQUAL(fixture_run("kill -9 %u", process_id("tgw0")), 0);
	for (int i = 0; i < 100 && !fixture_run("ip link show tgw0 >/dev/null 2>&1"); i++)
		usleep(20000);
	remove_device("tgw0");
	/* no moment of ours leaves a TUN without the alias: it is somebody else's then */
	OK(ensure("tgw0", &e), e);
	CU_ASSERT_EQUAL(fixture_run("ip link set tgw0 alias '' mtu 1420"), 0);
	CU_ASSERT_EQUAL(ensure("tgw0", &e), -EEXIST);
	/* killed before the rest was settled */
	CU_ASSERT_EQUAL(fixture_run("ip link set tgw0 alias tensorguard:tgw0"), 0);
	OK(ensure("tgw0", &e), e);
	OK(net_link_get(fixture_net(), "tgw0", &link, &e), e);
	CU_ASSERT_STRING_EQUAL(link.alias, "tensorguard:tgw0");
	CU_ASSERT_EQUAL(link.mtu, MTU);
	/* the link deleted by hand, wireguard-go on its way out */
	CU_ASSERT_EQUAL(fixture_run("ip link del tgw0"), 0);
	OK(ensure("tgw0", &e), e);
	CU_ASSERT_NOT_EQUAL(process_id("tgw0"), 0);
	remove_device("tgw0");
}

TEST(net_wireguard, foreign_devices_stay)
{
	enum wg_backend backend;
	struct tg_error e;

	/* somebody's wireguard-go, configured */
	make_key_file("/run/key");
	CU_ASSERT_EQUAL_FATAL(fixture_run("wireguard-go tgw0 >/dev/null 2>&1"), 0);
	CU_ASSERT_EQUAL_FATAL(fixture_run("sleep 0.2; wg set tgw0 private-key /run/key"), 0);
	CU_ASSERT_EQUAL(ensure("tgw0", &e), -EEXIST);
	CU_ASSERT_STRING_EQUAL(e.message, "link tgw0: exists and was not made by TensorGuard");
	CU_ASSERT_EQUAL(net_link_remove(fixture_net(), "tgw0", &e), -EPERM);
	CU_ASSERT_NOT_EQUAL(process_id("tgw0"), 0);
	OK(wg_backend_of(fixture_net(), "tgw0", &backend, &e), e);
	CU_ASSERT_EQUAL(backend, WG_USERSPACE);
	CU_ASSERT_EQUAL(fixture_run("ip link del tgw0; sleep 0.3"), 0);
	/* a TUN of something else */
	CU_ASSERT_EQUAL_FATAL(fixture_run("ip tuntap add tgw0 mode tun"), 0);
	CU_ASSERT_EQUAL(ensure("tgw0", &e), -EEXIST);
	CU_ASSERT_EQUAL(wg_backend_of(fixture_net(), "tgw0", &backend, &e), -ENODEV);
	CU_ASSERT_STRING_EQUAL(e.message, "link tgw0: no WireGuard device");
	CU_ASSERT_EQUAL(fixture_run("ip link del tgw0"), 0);
	CU_ASSERT_EQUAL(wg_backend_of(fixture_net(), "tgw0", &backend, &e), -ENODEV);
	CU_ASSERT_STRING_EQUAL(e.message, "link tgw0: No such device");
}

TEST(net_wireguard, messages)
{
	struct tg_error e;

	setenv("TG_WIREGUARD_GO", "/nowhere/wireguard-go", 1);
	CU_ASSERT_EQUAL(ensure("tgw0", &e), -ENOENT);
	CU_ASSERT_STRING_EQUAL(e.message,
			       "link tgw0: cannot make a tunnel: /nowhere/wireguard-go: no such program "
			       "(is it installed?)");
	setenv("TG_WIREGUARD_GO", "/bin/false", 1);
	CU_ASSERT_EQUAL(ensure("tgw0", &e), -EIO);
	CU_ASSERT_STRING_EQUAL(e.message,
			       "link tgw0: cannot make a tunnel: /bin/false tgw0 failed (exit status 1); "
			       "see what `LOG_LEVEL=debug /bin/false -f tgw0` says");
	unsetenv("TG_WIREGUARD_GO");
}

static void check_configure(enum wg_backend backend)
{
	struct wg_status status;
	struct fake fake;
	struct tg_error e;

	make_key_file("/run/key");
	CU_ASSERT_EQUAL(fixture_run("umask 077; wg genpsk >/run/psk"), 0);
	fake_init(&fake, "tgw0", 3);
	fake.tunnel.listen_port = 51999;
	fake.peers[1].preshared_key_file = (char *)"/run/psk";
	OK(ensure_as(backend, "tgw0", &e), e);
	OK(net_link_set_up(fixture_net(), "tgw0", true, &e), e);
	for (int twice = 0; twice < 2; twice++) {
		OK(wg_configure(fixture_net(), &fake.tunnel, backend, FWMARK, &e), e);
		CU_ASSERT_STRING_EQUAL(fixture_output("wg show tgw0 private-key"),
				       fixture_output("cat /run/key"));
		CU_ASSERT_STRING_EQUAL(fixture_output("wg show tgw0 listen-port"), "51999");
		CU_ASSERT_STRING_EQUAL(fixture_output("wg show tgw0 fwmark"), "0x400000");
		CU_ASSERT_STRING_EQUAL(
			fixture_output("wg show tgw0 preshared-keys | cut -f2 | grep -vc none"), "1");
		CU_ASSERT_STRING_EQUAL(fixture_output("wg show tgw0 allowed-ips | cut -f2 | sort"),
				       "10.77.0.0/24 fd77::/64\n10.77.1.0/24 fd77:0:0:1::/64\n"
				       "10.77.2.0/24 fd77:0:0:2::/64");
		CU_ASSERT_STRING_EQUAL(fixture_output("wg show tgw0 endpoints | cut -f2 | sort"),
				       "192.0.2.1:1000\n192.0.2.1:1001\n192.0.2.1:1002");
		CU_ASSERT_STRING_EQUAL(fixture_output("wg show tgw0 persistent-keepalive | cut -f2 | uniq"),
				       "25");
	}
	OK(wg_status_get(fixture_net(), "tgw0", backend, &status, &e), e);
	CU_ASSERT_EQUAL(status.listen_port, 51999);
	CU_ASSERT_EQUAL(status.fwmark, FWMARK);
	CU_ASSERT_EQUAL(status.peer_count, 3);
	CU_ASSERT_EQUAL(status.peers[0].last_handshake_s, 0);
	CU_ASSERT_EQUAL(status.peers[0].endpoint.family, AF_INET);
	/* a peer goes, one gets an address of its, one loses one; the preshared key goes */
	fake.tunnel.peer_count = 2;
	fake.peers[0].allowed_ip_count = 3;
	fake.allowed[0][2] = fixture_cidr("10.77.2.0/24");
	fake.peers[1].allowed_ip_count = 1;
	fake.peers[1].preshared_key_file = NULL;
	OK(wg_configure(fixture_net(), &fake.tunnel, backend, 0, &e), e);
	CU_ASSERT_STRING_EQUAL(fixture_output("wg show tgw0 allowed-ips | cut -f2 | tr ' ' '\\n' | sort"),
			       "10.77.0.0/24\n10.77.1.0/24\n10.77.2.0/24\nfd77::/64");
	CU_ASSERT_STRING_EQUAL(fixture_output("wg show tgw0 preshared-keys | cut -f2 | uniq"), "(none)");
	CU_ASSERT_STRING_EQUAL(fixture_output("wg show tgw0 fwmark"), "off");
	remove_device("tgw0");
}

TEST(net_wireguard, configure)
{
	check_configure(WG_USERSPACE);
}

TEST(net_wireguard, configure_kernel)
{
	if (need_kernel())
		check_configure(WG_KERNEL);
}

static void check_key_error(struct fake *fake, int want, const char *message)
{
	struct tg_error e;

	CU_ASSERT_EQUAL(wg_configure(fixture_net(), &fake->tunnel, WG_USERSPACE, 0, &e), want);
	CU_ASSERT_STRING_EQUAL(e.message, message);
}

TEST(net_wireguard, key_files)
{
	struct fake fake;
	struct tg_error e;

	fake_init(&fake, "tgw0", 1);
	OK(ensure("tgw0", &e), e);
	unlink("/run/key");
	check_key_error(&fake, -ENOENT, "key file /run/key: No such file or directory");
	make_key_file("/run/key");
	chmod("/run/key", 0644);
	check_key_error(&fake, -EPERM, "key file /run/key: mode 0644 lets others at the key, expected 0600");
	chmod("/run/key", 0600);
	CU_ASSERT_EQUAL(fixture_run("echo >>/run/key"), 0);
	check_key_error(&fake, -EINVAL, "key file /run/key: expected 44 characters of base64 and a newline");
	CU_ASSERT_EQUAL(fixture_run("head -c 40 /run/key >/run/k; cat /run/k >/run/key"), 0);
	check_key_error(&fake, -EINVAL, "key file /run/key: expected 44 characters of base64 and a newline");
	CU_ASSERT_EQUAL(fixture_run("head -c 32 /dev/zero | base64 >/run/key"), 0);
	check_key_error(&fake, -EINVAL, "key file /run/key: the key is all zero");
	CU_ASSERT_EQUAL(fixture_run("chown 12345 /run/key"), 0);
	check_key_error(&fake, -EPERM, "key file /run/key: belongs to uid 12345, expected root or uid 0");
	unlink("/run/key");
	CU_ASSERT_EQUAL(fixture_run("mkfifo -m 0600 /run/key"), 0);
	check_key_error(&fake, -EINVAL, "key file /run/key: not a regular file");
	unlink("/run/key");
	make_key_file("/run/key");
	CU_ASSERT_EQUAL(fixture_run("printf %%s $(cat /run/key) >/run/k; cat /run/k >/run/key"), 0);
	OK(wg_configure(fixture_net(), &fake.tunnel, WG_USERSPACE, 0, &e), e);
	remove_device("tgw0");
}

/* Two tunnels that talk to each other over lo: a second wg_configure() must not cost the session. */
static void check_sessions(enum wg_backend backend)
{
	struct fake fakes[2];
	static const char *const names[2] = { "tgw0", "tgw1" };
	char keys[2][32];
	struct tg_error e;
	char first[64];

	for (int i = 0; i < 2; i++) {
		fake_init(&fakes[i], names[i], 1);
		snprintf(keys[i], sizeof(keys[i]), "/run/key%d", i);
		make_key_file(keys[i]);
		fakes[i].tunnel.key_file = keys[i];
		fakes[i].tunnel.listen_port = (uint16_t)(52000 + i);
		OK(ensure_as(backend, names[i], &e), e);
		OK(net_link_set_up(fixture_net(), names[i], true, &e), e);
	}
	for (int i = 0; i < 2; i++) {
		struct tg_peer *peer = &fakes[i].peers[0];

		CU_ASSERT_EQUAL(
			tg_key_from_base64(fixture_output("wg pubkey <%s", keys[!i]), peer->public_key), 0);
		peer->endpoint.port = (uint16_t)(52000 + !i);
		inet_pton(AF_INET, "127.0.0.1", peer->endpoint.addr);
		OK(wg_configure(fixture_net(), &fakes[i].tunnel, backend, 0, &e), e);
	}
	/* a persistent keepalive makes the handshake */
	for (int i = 0; i < 200; i++) {
		snprintf(first, sizeof(first), "%s",
			 fixture_output("wg show tgw0 latest-handshakes | cut -f2"));
		if (atoi(first))
			break;
		usleep(20000);
	}
	CU_ASSERT_NOT_EQUAL(atoi(first), 0);
	for (int i = 0; i < 2; i++)
		OK(wg_configure(fixture_net(), &fakes[i].tunnel, backend, 0, &e), e);
	CU_ASSERT_STRING_EQUAL(fixture_output("wg show tgw0 latest-handshakes | cut -f2"), first);
	remove_device("tgw0");
	remove_device("tgw1");
}

TEST(net_wireguard, sessions_survive)
{
	check_sessions(WG_USERSPACE);
}

TEST(net_wireguard, sessions_survive_kernel)
{
	if (need_kernel())
		check_sessions(WG_KERNEL);
}

TEST(net_wireguard, device_kernel)
{
	enum wg_backend backend;
	struct net_link first, second;
	struct tg_error e;

	if (!need_kernel())
		return;
	OK(ensure_as(WG_KERNEL, "tgw0", &e), e);
	OK(net_link_get(fixture_net(), "tgw0", &first, &e), e);
	CU_ASSERT_STRING_EQUAL(first.kind, "wireguard");
	CU_ASSERT_STRING_EQUAL(first.alias, "tensorguard:tgw0");
	CU_ASSERT_EQUAL(first.mtu, MTU);
	OK(wg_backend_of(fixture_net(), "tgw0", &backend, &e), e);
	CU_ASSERT_EQUAL(backend, WG_KERNEL);
	/* killed before the alias */
	CU_ASSERT_EQUAL(fixture_run("ip link set tgw0 alias ''"), 0);
	OK(ensure_as(WG_KERNEL, "tgw0", &e), e);
	OK(net_link_get(fixture_net(), "tgw0", &second, &e), e);
	CU_ASSERT_EQUAL(first.ifindex, second.ifindex);
	CU_ASSERT_STRING_EQUAL(second.alias, "tensorguard:tgw0");
	remove_device("tgw0");
	CU_ASSERT_EQUAL(fixture_run("ip link add tgw0 type wireguard"), 0);
	CU_ASSERT_EQUAL(ensure_as(WG_KERNEL, "tgw0", &e), -EEXIST);
	CU_ASSERT_EQUAL(fixture_run("ip link del tgw0"), 0);
}

/* Hundreds of allowed IPs: several messages there and several back. */
TEST(net_wireguard, many_allowed_ips_kernel)
{
	enum { COUNT = 900 };
	static struct tg_cidr many[COUNT];
	struct fake fake;
	struct tg_error e;

	if (!need_kernel())
		return;
	make_key_file("/run/key");
	fake_init(&fake, "tgw0", 3);
	for (int i = 0; i < COUNT; i++) {
		many[i] = fixture_cidr("10.50.0.0/32");
		many[i].addr[2] = (uint8_t)(i >> 8);
		many[i].addr[3] = (uint8_t)i;
	}
	fake.peers[1].allowed_ips = many;
	fake.peers[1].allowed_ip_count = COUNT;
	OK(ensure_as(WG_KERNEL, "tgw0", &e), e);
	for (int twice = 0; twice < 2; twice++) {
		OK(wg_configure(fixture_net(), &fake.tunnel, WG_KERNEL, 0, &e), e);
		CU_ASSERT_STRING_EQUAL(fixture_output("wg show tgw0 allowed-ips | grep -o 10.50 | wc -l"),
				       "900");
		CU_ASSERT_STRING_EQUAL(fixture_output("wg show tgw0 peers | wc -l"), "3");
	}
	remove_device("tgw0");
}

TEST(net_wireguard, kernel_is_tried)
{
	bool available, here;
	struct tg_error e;

	here = !fixture_run("ip link add tgwk type wireguard 2>/dev/null && ip link del tgwk");
	OK(wg_kernel_available(fixture_net(), &available, &e), e);
	CU_ASSERT_EQUAL(available, here);
	CU_ASSERT_NOT_EQUAL(fixture_run("ip link show tgprobe0 2>/dev/null"), 0);
	if (here)
		return;
	CU_ASSERT_EQUAL(wg_device_ensure(fixture_net(), "tgwk", WG_KERNEL, MTU, &e), -EOPNOTSUPP);
	CU_ASSERT_STRING_EQUAL(e.message, "link tgwk: cannot make a tunnel: Unknown device type "
					  "(Operation not supported)");
}

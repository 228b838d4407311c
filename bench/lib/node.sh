# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# One machine with a tunnel, in namespaces of its own. Needs bench/lib/report.sh.

# enter_node SCRIPT [ARGUMENT]: starts the script again in new namespaces, unless it is there already
enter_node()
{
	[ "${2:-}" = --inside ] ||
		exec unshare --net --mount --pid --fork --kill-child --mount-proc "$1" --inside
}

# In the namespaces: /run and bpffs of their own, a link, a key and a site file.
node_setup()
{
	mount --make-rprivate / && mount -t tmpfs -o mode=755 tmpfs /run && mount -t bpf bpf /sys/fs/bpf &&
		mkdir -p /run/wireguard && ip link set lo up && ip link add eth0 type veth peer name eth1 &&
		ip addr add 192.0.2.2/24 dev eth0 && ip link set eth0 up && ip link set eth1 up || return 1
	(umask 077 && wg genkey > "$DIR/key") && wg genkey | wg pubkey > "$DIR/peer" || return 1
	cat > "$DIR/site" <<-TEXT
		version = 1;
		tunnels = ( { name = "tg0"; key_file = "$DIR/key"; peers = ( {
			public_key = "$(cat "$DIR/peer")"; endpoint = "192.0.2.1:51820";
			allowed_ips = ( "10.90.0.0/16", "10.84.0.1/32", "fd54:4700::1/128", "fd54:4790::/64" );
		} ); } );
	TEXT
}

# The same tunnel as anybody would make it.
plain_up()
{
	ip link add tg0 type wireguard 2> /dev/null || LOG_LEVEL=error wireguard-go tg0 || return 1
	wg set tg0 private-key "$DIR/key" peer "$(cat "$DIR/peer")" endpoint 192.0.2.1:51820 \
		allowed-ips 10.90.0.0/16,10.84.0.1/32,fd54:4700::1/128,fd54:4790::/64 &&
		ip addr add 10.84.0.2/24 dev tg0 && ip addr add fd54:4700::2/64 dev tg0 nodad &&
		ip link set tg0 mtu 1420 up && ip route add 10.90.0.0/16 dev tg0 &&
		ip -6 route add fd54:4790::/64 dev tg0
}

plain_down()
{
	local end=$((SECONDS + 5))
	ip link del tg0
	while pgrep -x wireguard-go > /dev/null; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.01
	done
}

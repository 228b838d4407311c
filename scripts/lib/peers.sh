# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# A gateway with many peers that nobody answers for: what sessions cost, without the peers.

# peers_key N: 32 bytes that look like the public key of peer N
peers_key() { printf 'peer %027d' "$1" | base64; }

# peers_policy COUNT PERIOD [DEVICE]: one paced class, a session that always runs for each peer; on a device that is there
# already, or on a tunnel of TensorGuard's own, whose key is in $PEERS_KEY.
peers_policy()
{
	local count=$1 period=$2 device=${3:-} n address name tunnel
	tunnel="key_file = \"${PEERS_KEY:-}\"; listen_port = 51820;"
	[ -z "$device" ] || tunnel="external = \"$device\";"
	cat <<-TEXT
		version = 1; name = "peers"; policy_version = 1L; role = "gateway"; profile = "lab"; fail = "open";
		tunnels = ( { name = "tg0"; $tunnel mtu = 1420; default = "main";
		$([ -n "$device" ] && echo 'dummy = { source = "fd54:4700::ffff"; };' ||
			echo 'addresses = ( "10.84.255.254/16", "fd54:4700::ffff/64" );')
		peers = (
	TEXT
	for ((n = 0; n < count; n++)); do
		address=10.84.$((n / 250)).$((n % 250 + 1))
		name="public_key = \"$(peers_key $n)\";"
		[ -z "$device" ] || name=
		printf '%s{ %s allowed_ips = ( "%s/32", "fd54:4700::%x/128" ); }\n' "$([ $n = 0 ] || echo ,)" "$name" "$address" \
			$((n + 1))
	done
	cat <<-TEXT
		); classes = ( { name = "main"; defence = "constant"; cell = 160; period = "$period"; session = "always";
		delay_budget = "1s"; overflow = "drop"; } ); } );
		rules = ( { tunnel = "tg0"; class = "main"; to = ( "10.84.0.0/16", "fd54:4700::/64" ); } );
	TEXT
}

# peers_device NAME: a device like a tunnel's, whose packets a process takes and throws away; its id is in $PEERS_READER
peers_device()
{
	socat -u "TUN,tun-name=$1,iff-no-pi,iff-up" OPEN:/dev/null < /dev/null > /dev/null 2>&1 &
	# shellcheck disable=SC2034 # for the caller
	PEERS_READER=$!
}

# peers_memory DIR: bytes of memory that the tunnel's maps of that folder of pins take, as the kernel counts it: those with an
# entry per session or peer, and all
peers_memory()
{
	local map all=0 sessions=0 bytes
	for map in "$1"/*; do
		bytes=$(bpftool -j map show pinned "$map" 2> /dev/null | jq '.bytes_memlock // 0')
		case ${map##*/} in
		queues | sessions | peers) sessions=$((sessions + bytes)) ;;
		esac
		all=$((all + bytes))
	done
	echo "$sessions $all"
}

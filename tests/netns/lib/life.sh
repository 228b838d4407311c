# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Tests of the loader's life cycle: a machine (this namespace) between a network
# "far", where every packet that left it in clear is counted and dropped, and a
# host "lan", whose traffic it forwards. To be sourced from the project's
# folder, with the tests' environment (tests/netns/run) around it.
# shellcheck source=tests/cli/lib.sh
. tests/cli/lib.sh

# It kills processes by name and takes devices away: never outside a process namespace of its own.
if ! tr '\0' ' ' < /proc/1/cmdline | grep -q 'tests/netns/run'; then
	not_ok setup "this runs inside tests/netns/run only"
	finish
fi

LOAD=$BIN/tg-load
RUN_DIR=/run/tensorguard
PINS=/sys/fs/bpf/tensorguard
PEER_KEY=HSo3RFFea3iFkp+sucbT4O36DBkmM0BNWmd0gY6bqLU=

far() { nsenter --net=/run/netns/far "$@"; }
lan() { nsenter --net=/run/netns/lan "$@"; }

# link NAME NAMESPACE NUMBER: a cable from here to that namespace, with addresses and no neighbour discovery
link()
{
	local here="02:00:00:00:$3:01" there="02:00:00:00:$3:02"
	ip netns add "$2" &&
		ip link add "$1" address "$here" type veth peer name eth0 address "$there" netns "$2" &&
		sysctl -qw "net.ipv6.conf.$1.addr_gen_mode=1" "net.ipv6.conf.$1.accept_ra=0" &&
		nsenter --net="/run/netns/$2" sysctl -qw net.ipv6.conf.eth0.addr_gen_mode=1 &&
		ip addr add "192.0.$3.2/24" dev "$1" && ip addr add "2001:db8:$3::2/64" dev "$1" nodad &&
		ip link set "$1" up &&
		nsenter --net="/run/netns/$2" ip addr add "192.0.$3.1/24" dev eth0 &&
		nsenter --net="/run/netns/$2" ip addr add "2001:db8:$3::1/64" dev eth0 nodad &&
		nsenter --net="/run/netns/$2" ip link set eth0 up &&
		ip neigh add "192.0.$3.1" lladdr "$there" dev "$1" nud permanent &&
		ip neigh add "2001:db8:$3::1" lladdr "$there" dev "$1" nud permanent &&
		nsenter --net="/run/netns/$2" ip neigh add "192.0.$3.2" lladdr "$here" dev eth0 nud permanent &&
		nsenter --net="/run/netns/$2" ip neigh add "2001:db8:$3::2" lladdr "$here" dev eth0 nud permanent
}

make_network()
{
	link eth0 far 10 && link lan0 lan 20 &&
		sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 &&
		ip route add default via 192.0.10.1 && ip -6 route add default via 2001:db8:10::1 &&
		lan ip route add default via 192.0.20.2 && lan ip -6 route add default via 2001:db8:20::2 &&
		far iptables -t raw -A PREROUTING -d 10.90.0.0/15 -j DROP &&
		far ip6tables -t raw -A PREROUTING -d fd54:4790::/32 -j DROP &&
		modprobe -q tun; [ -e /dev/net/tun ] &&
		(umask 077 && wg genkey > "$WORK/key" && wg genkey > "$WORK/other.key")
}

# How many packets to matched destinations have left this machine in clear.
clear_packets()
{
	{
		far iptables -t raw -nvxL PREROUTING
		far ip6tables -t raw -nvxL PREROUTING
	} | awk '$3 == "DROP" { n += $1 } END { print n + 0 }'
}

# write_policy FILE [KEY=VALUE...]: rules, classes, fail, version, tunnels: text that replaces the default
write_policy()
{
	local file=$1 version=1 fail=closed rules classes default=main external='' more='' \
		key="$WORK/key" port=51820 name=life
	classes='{ name = "main"; defence = "pad"; pad = "cell"; cell = 1280; }'
	rules='{ tunnel = "tg0"; class = "main"; to = ( "10.90.0.0/16", "fd54:4790::/64" ); }'
	shift
	while [ $# -gt 0 ]; do
		local "$1"
		shift
	done
	cat > "$file" <<TEXT
version = 1; name = "$name"; policy_version = ${version}L; role = "edge"; profile = "lab"; fail = "$fail";
tunnels = ( {
	name = "tg0"; default = "$default";
	$(tunnel_body "$external" "$key" "$port" 0)
	classes = ( $classes );
} $more );
rules = ( $rules );
TEXT
}

# tunnel_body EXTERNAL KEY PORT NUMBER
tunnel_body()
{
	if [ -n "$1" ]; then
		echo "external = \"$1\"; dummy = { source = \"fd54:470$4::2\"; target = \"fd54:470$4::1\"; };"
		return
	fi
	cat <<TEXT
	key_file = "$2"; listen_port = $3;
	addresses = ( "10.84.$4.2/24", "fd54:470$4::2/64" );
	peers = ( { public_key = "$PEER_KEY"; endpoint = "192.0.10.1:51820";
		allowed_ips = ( "10.9$4.0.0/16", "10.84.$4.1/32", "fd54:470$4::1/128", "fd54:479$4::/64" ); } );
TEXT
}

constant() { echo "{ name = \"$1\"; defence = \"constant\"; cell = $2; period = \"$3\"; session = \"2s\"; idle = \"1s\"; }"; }
export UID_RULE='{ tunnel = "tg0"; class = "main"; to = ( "10.91.0.0/16" ); uid = 65533; },'

links() { ip -o link show | sed -E 's/^[0-9]+: ([^:@]+)[:@].*/\1/'; }

# Everything that tg-load could touch, in full; with --like without what differs from one making to the next.
snapshot()
{
	if [ "${1:-}" = --like ]; then
		raw_snapshot | sed -E -e 's/^[0-9]+: //' -e 's/@[^ :]+//' -e 's/link-netns(id)? [^ ]+//' \
			-e 's/([0-9a-f]{2}:){5}[0-9a-f]{2}/MAC/g' -e 's/ id [0-9]+//g' -e 's/dev if[0-9]+/dev IF/' \
			-e 's/^process [0-9]+/process/' -e 's/(tg_[a-z]+):\[[0-9]+\]/\1/' -e 's/(load_time|btf_id) [0-9]+//g' | sort
	else
		raw_snapshot
		find "$PINS" -name 'tg_*' 2> /dev/null | sort | while read -r pin; do
			echo "pin $pin $(bpftool -j prog show pinned "$pin" | jq -c '[.id, .map_ids]')"
		done
	fi
}

raw_snapshot()
{
	local device
	ip -d -o link show
	ip -o addr show
	ip route show table all
	ip -6 route show table all
	ip rule show
	ip -6 rule show
	tc qdisc show
	for device in $(links); do
		printf 'filter show dev %s %s\n' "$device" ingress "$device" egress
	done | tc -force -batch - 2> /dev/null
	iptables-save | sed -E -e "/^(#|\*|COMMIT|:[A-Z]+ ACCEPT)/d" -e "s/\[[0-9]+:[0-9]+\]//"
	ip6tables-save | sed -E -e "/^(#|\*|COMMIT|:[A-Z]+ ACCEPT)/d" -e "s/\[[0-9]+:[0-9]+\]//"
	# what repairs leave for the guard is another one each time
	find /sys/fs/bpf "$RUN_DIR" /run/wireguard/* ! -path "$RUN_DIR/health" -printf '%y %m %p\n' 2> /dev/null | sort
	find "$RUN_DIR" -name '*.conf*' -exec sha256sum {} + 2> /dev/null
	ps -e -o pid=,comm= | awk '$2 ~ /^(wireguard-go|ip6?tables|tg-load)/ { print "process", $1, $2 }'
}

# same NAME BEFORE AFTER: whether two snapshots agree; shows in what they differ
same() { check "$1" "$(diff "$2" "$3" | grep '^[<>]' | head -n 8 | cut -c 1-200 | tr '\n' '|')" cmp -s "$2" "$3"; }

# done_ok NAME: the last `run` succeeded
done_ok() { check "$1" "$(seen)" [ $status -eq 0 ]; }
# up FILE, down, reload FILE: through `run`
up() { run "$LOAD" up --policy "$1" "${@:2}"; }
down() { run "$LOAD" down; }
reload() { run "$LOAD" reload --policy "$1" "${@:2}"; }
healthy() { "$LOAD" status --json > "$WORK/status" 2> /dev/null && jq -e '.healthy' "$WORK/status" > /dev/null; }
problems() { "$LOAD" status --json 2> /dev/null | jq -c '.problems // .error'; }

# A link has its carrier a moment after both ends were set up, and until then a snapshot would differ from the next one.
settled() { ! ip -o link show up | grep -q 'state LOWERLAYERDOWN'; }

export CLASS='{ name = "main"; defence = "pad"; pad = "cell"; cell = 1280; }'

# the ticks of the first queue's clock since it began, as the kernel has it
ticks() { bpftool -j map lookup pinned "$PINS/tg0/sessions" key 0 0 0 0 | jq 'first(.. | .ticks? // empty)'; }
ifindex() { ip -o link show "$1" | cut -d : -f 1; }

# traceless NAME: all is as in $WORK/clean
traceless() { snapshot --like > "$WORK/after"; same "$1" "$WORK/clean" "$WORK/after"; }

# path_without PROGRAM...: a folder for PATH with all programs but these
path_without()
{
	local folder=$WORK/path-$1 name
	rm -rf "$folder"
	mkdir "$folder"
	# a process for each of thousands of programs took a minute and a half
	for name in /usr/sbin /usr/bin /sbin; do ln -sf -t "$folder" "$name"/*; done
	for name in "$@"; do rm -f "$folder/$name"; done
	echo "$folder"
}

if ! make_network || ! wait_until 20 settled; then
	not_ok setup "cannot make the test's network"
	finish
fi

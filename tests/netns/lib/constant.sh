# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2119 # jq variables; functions take options or none
# Constant classes, whichever ENGINE paces them: a session is the same number
# of packets of one size whatever is sent in it; it starts with the first real
# packet, lasts whole quanta and is followed by silence. The test that sources
# this says what happens without the agent: a function without_agent.
# shellcheck source=tests/netns/lib/wire.sh
. tests/netns/lib/wire.sh

PERIOD_US=2000
RULES='{ tunnel = "tg0"; class = "main"; to = ( "10.90.0.0/16" ); uid = 65533; },
	{ tunnel = "tg0"; class = "main"; to = ( "10.90.0.0/16", "fd54:4790::/64" ); }'
SESSION=${TG_LONG:+65}
SESSION=${SESSION:-4}
SLOTS=$((SESSION * 1000000 / PERIOD_US))

# session NAME QUANTA [SIZE]: what the last recording must have been, in both directions
session()
{
	is "$1-packets" "$(wire '[.up.packets, .down.packets]')" "[$(($2 * SLOTS)),$(($2 * SLOTS))]" ||
		for node in robot gateway; do echo "# $1: $node $(stats $node '[$c.session, $c.out, $t.reasons]')"; done
	sizes_are "$1" "${3:-1340}"
	grid_is "$1"
	echo "# $1: slot error up $(wire '.up.grid.error_us | "p50 \(.p50) p99 \(.p99)"') down" \
		"$(wire '.down.grid.error_us | "p50 \(.p50) p99 \(.p99)"') us, late $(wire '[.up.grid.late, .down.grid.late]')"
}

# counters_match NAME: the sessions since the last call, to the byte
counters_match()
{
	local up down
	up=$(stats robot '$c.out | [.real_bytes + .pad_bytes + .dummy_bytes, .real_packets + .dummy_packets]')
	down=$(stats gateway '$c.out | [.real_bytes + .pad_bytes + .dummy_bytes, .real_packets + .dummy_packets]')
	total_up=$((total_up + $(wire .up.packets))) total_down=$((total_down + $(wire .down.packets)))
	is "$1-up-bytes" "$up" "[$((total_up * 1280)),$total_up]"
	is "$1-down-bytes" "$down" "[$((total_down * 1280)),$total_down]"
	is "$1-up-packets" "$(($(stats gateway '$c.in | .real_packets + .dummy_packets') + $(no_room gateway)))" $total_up
	is "$1-down-packets" "$(($(stats robot '$c.in | .real_packets + .dummy_packets') + $(no_room robot)))" $total_down
}
total_up=0 total_down=0

# recorded_session NAME: to the end of the session, with a copy of the recording
recorded_session()
{
	silent $((2 * SESSION + 20)) || not_ok "$1-silent" "the link does not fall silent"
	recorded
	cp "$WORK/wire.csv" "$WORK/$1.csv"
}

# sizes_in_order NAME: of its recording, direction by direction
sizes_in_order() { tail -n +2 "$WORK/$1.csv" | sort -s -t, -k2,2n | cut -d, -f2,3; }

# same_sequence NAME: that session looks like the one with a single echo in it, slot by slot
same_sequence()
{
	is "$1-same-sizes" "$(sizes_in_order "$1" | sha256sum)" "$(sizes_in_order one | sha256sum)"
	if [ $one_quiet = yes ] && quiet "$1" && unbroken; then
		run "$TOOLS/tg-wire" --compare "$WORK/one.csv" "$WORK/$1.csv" --period $PERIOD_US
		check "$1-same-sequence" "$(seen)" json '.equal and .up.differing == 0 and .down.differing == 0'
	fi
}

# capture NODE DEVICE DIRECTION: as an operator would; starts before the first packet
capture()
{
	local file=$WORK/$1-$2
	start "$1" tcpdump --immediate-mode -U -n -i "$2" -Q "$3" -w "$file.pcap"
	echo "${CHILDREN[-1]}" > "$file.pid"
	wait_for 40 test -s "$file.pcap" || not_ok "capture-$1-$2" "tcpdump does not start"
}

# captured PLACE: it saw the echo, and nothing with next header 59
captured()
{
	local file=$WORK/$1
	kill "$(cat "$file.pid")" 2> /dev/null
	is "$1-capture" "$(tcpdump -n -r "$file.pcap" icmp 2> /dev/null | wc -l)" "$2"
	is "$1-no-dummy" "$(tcpdump -n -r "$file.pcap" 'ip6 proto 59' 2> /dev/null | wc -l)" 0
}

# swap SESSION MORE: another constant class by reload, at both ends
swap()
{
	policy "$WORK/policy" "$(constant_class 1280 2ms "$@")" "$RULES"
	swap_both
}

# p99_since FILE: of the delays since that histogram was saved, the lower edge of the bucket that holds it
p99_since()
{
	stats robot '$c.delay.histogram' | jq --slurpfile was "$1" '
		($was[0] | map({(.from_us | tostring): .count}) | add // {}) as $old |
		map(.count -= ($old[.from_us | tostring] // 0)) | (map(.count) | add) as $all |
		reduce .[] as $b ({n: 0}; .n += $b.count | if .p99 == null and .n >= 0.99 * $all then .p99 = $b.from_us else . end) | .p99'
}

head -c 300000 /dev/urandom > "$WORK/data"
policy "$WORK/policy" "$(constant_class 1280 2ms "${SESSION}s" 'idle = "500ms"; delay_budget = "1s";')" "$RULES"
bed constant --policy "$WORK/policy"

# ---- sessions ----
# Nobody has sent anything: no packet.
record --period $PERIOD_US
silent 10 || not_ok before-silent "the link is not silent before anything is sent"
recorded
is before "$(wire '[.up.packets, .down.packets, .clear_packets]')" "[0,0,0]"

# One echo, and then nothing. No dummy gets past the tunnel's end: not to a packet socket there, not into the
# network behind it, not to a raw socket.
capture robot tg0 in
capture gateway tg0 in
capture gateway lan inout
start gateway socat -u IP6-RECV:59 "OPEN:$WORK/raw,creat"
record --period $PERIOD_US
echoed one-echo $PLANT
recorded_session one
session one 1
one_quiet=no
quiet one && unbroken && one_quiet=yes
counters_match one
is one-real "$(stats robot '[$c.out.real_packets, $c.in.real_packets, $c.session.sessions, $c.session.extensions]')" \
	"[1,1,1,0]"

is dummies-arrived "$(stats gateway '$c.in.dummy_packets')" $((SLOTS - 1 - $(no_room gateway)))
captured robot-tg0 1
captured gateway-tg0 1
captured gateway-lan 2
is dummies-raw-socket "$(stat -c %s "$WORK/raw")" 0

# The same class full of traffic: IPv4 and IPv6, TCP, UDP of many sizes, echo requests.
record --period $PERIOD_US
echoed bulk-echo4 $PLANT
echoed bulk-echo6 $PLANT6
probe plant robot $ROBOT6 --count 300 --sizes 4-303 --interval 3000 &
pid=$!
transfer bulk-tcp robot plant $PLANT "$WORK/data" 20
wait $pid
arrived bulk-udp6-down
recorded_session bulk
session bulk 1
[ "$ENGINE" = queue ] || holds bulk-segmenter "pass_segment is 0" "$(stats robot '$t.reasons.pass_segment') > 0"
counters_match bulk
same_sequence bulk

# Echoes beyond the end of the session: exactly one quantum more.
record --period $PERIOD_US
on robot ping -q -i 0.3 -c $((4 * SESSION)) -W 5 $PLANT > /dev/null
recorded_session extended
session extended 2
counters_match extended
is extensions "$(stats robot '[$c.session.sessions, $c.session.extensions]')" "[3,1]"

# ---- without any process of ours ----
without_agent

# ---- overload ----
# Ten times the rate for a second, drop: the wire does not show it, delays stay in the budget, drops are counted. By time, not
# by count: a busy machine sends more slowly, and packets in the last idle time of a session rightly extend it.
swap "${SESSION}s" 'idle = "500ms"; delay_budget = "40ms"; overflow = "drop";'
record --period $PERIOD_US
before=$(stats robot '$c.out.drop_packets')
stats robot '$c.delay.histogram' > "$WORK/delays"
echoed drop-echo $PLANT
probe robot plant $PLANT --count 10000 --sizes 100-1000 --interval 200 --seconds 1 --linger 1
recorded_session drop
session drop 1
lost=$(jq .lost "$WORK/probe.json") dropped=$(($(stats robot '$c.out.drop_packets') - before))
sent=$(jq .sent "$WORK/probe.json") passed=$(jq .received "$WORK/probe.json")
# as many as there are slots in a second, and what the budget lets wait
holds drop-overload "$sent are sent" "$sent > 3 * 1000000 / $PERIOD_US"
holds drop-most "$passed of $sent arrive" "$passed > 900000 / $PERIOD_US && $passed <= (1000000 + 40000) / $PERIOD_US + 2"
is drop-counted "$dropped" "$lost"
is drop-reason "$(stats robot '$t.reasons.drop_overflow')" "$dropped"
p99=$(p99_since "$WORK/delays")
# edges of the histogram's buckets; a busy machine's timers stretch every wait
limit=100000
! quiet drop || limit=49152
holds drop-delay "p99 is $p99 us" "$p99 <= $limit"
echo "# overload, drop: delay p99 $p99 us of 40000, dropped $dropped of $sent"
counters_match drop

# The same class with stretch: what fits a second is late, but not lost.
swap "${SESSION}s" 'idle = "500ms"; delay_budget = "40ms"; overflow = "stretch";'
record --period $PERIOD_US
before=$(stats robot '$c.out.drop_packets')
late=$(stats robot '$c.out.late_packets')
echoed stretch-echo $PLANT
probe robot plant $PLANT --count 450 --sizes 100-1000 --interval 100 --linger 3
recorded_session stretch
session stretch 1
arrived stretch-arrived
is stretch-no-drop "$(stats robot '$c.out.drop_packets')" "$before"
late=$(($(stats robot '$c.out.late_packets') - late))
holds stretch-late "$late packets are late" "$late > 300 && $late < 450"
counters_match stretch

# ---- always ----
swap always ''
sleep 0.3
record --period $PERIOD_US --duration 3
echoed always-echo $PLANT
wait "$(cat "$WORK/wire.pid")"
WIRE=$WORK/wire.json
sizes_are always 1340
grid_is always
rate_is always up down
bed_down

# ---- IPv6 outside: one engine in the check, the other one with TG_LONG ----
if [ "$ENGINE" = queue ] && [ -z "${TG_LONG:-}" ]; then finish; fi
policy "$WORK/policy" "$(constant_class 1280 2ms "${SESSION}s" 'idle = "500ms"; delay_budget = "1s";')"
bed constant6 --policy "$WORK/policy" --outer 6
record --period $PERIOD_US
echoed outer6-echo $PLANT6
transfer outer6-tcp robot plant $PLANT "$WORK/data" 20
recorded_session outer6
session outer6 1 1360
finish

# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2119,SC2034 # jq variables; functions take options or none; constants are for the tests
# Sessions of the defence lean on the wire: their cells, counted and in their slots. To be sourced like wire.sh.
# shellcheck source=tests/netns/lib/wire.sh
. tests/netns/lib/wire.sh

# 400 ms of learning at 5 ms, then 60 ticks of 24 ms with 3 slots up; 800 ms, then 43 ticks with 2 down; 76 ticks in every
# further quantum
TICK=24 UP='2 8 18' DOWN='4 10' LEARN=80 TICKS=60 DOWN_LEARN=160 DOWN_TICKS=43 MORE=76

slots() { sed -E 's/([0-9]+)/"\1ms"/g; s/ /, /g' <<< "$1"; }
lean_class()
{
	echo "{ name = \"main\"; defence = \"lean\"; cell = $1; packet = 1280; tick = \"${TICK}ms\";" \
		"up = ( $(slots "$UP") ); down = ( $(slots "$DOWN") ); learn = \"400ms\"; session = \"1840ms\";" \
		'idle = "400ms"; delay_budget = "1s"; overflow = "stretch"; }'
}

# lean_session NAME: to its end; one size, a fixed number of cells, in the pattern
lean_session()
{
	silent 40 || not_ok "$1-silent" "the link does not fall silent"
	recorded
	sizes_are "$1" 268
	# each session has a phase of its own
	if [ "$(stats robot '$c.session.sessions')" = $(($(jq '.[0]' <<< "$begun") + 1)) ]; then
		in_pattern "$1" up robot "$UP"
		in_pattern "$1" down gateway "$DOWN"
	fi
	cp "$WORK/wire.csv" "$WORK/$1.csv"
}

# in_pattern NAME DIRECTION NODE SLOTS: after the learning each cell is in a slot of the tick, but for one in 200. Where
# more are late, and the machine was as well, which is seen without us, that tells nothing.
in_pattern()
{
	local tick off skip=$LEARN
	[ "$2" = up ] || skip=$DOWN_LEARN
	tick=$(stats "$3" '$c.session.peers[0].tick_ns')
	# which phase the tick has is what was learnt: the one that fits best
	off=$(tail -n +2 "$WORK/wire.csv" | awk -F, -v way="$2" -v tick="$tick" -v skip=$skip -v at="$4" '
		function off_slots(origin, k, i, error, off) {
			for (k = 0; k < count; k++) {
				off++
				for (i = 1; i <= n; i++) {
					error = time[k] - origin - slot[i] * 1000
					error -= int(error / us + 0.5) * us
					if (error > -us && error < 1500 && error > -500) { off--; break }
				}
			}
			return off + 0
		}
		BEGIN { n = split(at, slot, " "); us = tick / 1000 }
		($2 == 1) == (way == "up") && ++seen > skip { time[count++] = $1 }
		END {
			best = count
			for (first = 0; first < 12; first++)
				for (s = 1; s <= n; s++)
					if ((off = off_slots(time[first] - slot[s] * 1000)) < best) best = off
			print best
		}')
	[ $((off * 200)) -le "$(wire ".$2.packets")" ] && return
	echo "# $1 $2: slots are not looked at, the machine is too busy: $off cells off, $(wire .machine)"
	[ "$(wire .machine.late)" -gt 0 ] || not_ok "$1-pattern-$2" "$off cells are off their slots, tick $tick ns"
}

# counted_cells NAME: what went up is whole sessions and quanta, as many as the robot began since the last call
counted_cells()
{
	local now
	now=$(stats robot '$c.session | [.sessions, .extensions]')
	is "$1-packets" "$(wire .up.packets)" "$(jq -n --argjson now "$now" --argjson was "$begun" \
		"(\$now[0] - \$was[0]) * $((LEARN + 3 * TICKS)) + (\$now[1] - \$was[1]) * $((3 * MORE))")"
	begun=$now
}
begun='[0,0]'

# sequence NAME: directions and sizes of a session's first quantum
sequence()
{
	awk -F, -v up=$((LEARN + 3 * TICKS)) -v down=$((DOWN_LEARN + 2 * DOWN_TICKS)) 'NR > 1 && ++n[$2] <= ($2 == 1 ? up : down) { print $2, $3 }' \
		"$WORK/$1.csv" | sort | sha256sum
}
datagrams() { probe robot plant "$1" --linger 0.6 "${@:2}"; }

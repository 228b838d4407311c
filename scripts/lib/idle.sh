# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# What a program and everything that it started take while nothing happens: memory and processor time, of /proc.

# idle_tree PID: it and all its descendants
idle_tree()
{
	local child
	echo "$1"
	for child in $(pgrep -P "$1"); do
		idle_tree "$child"
	done
}

# idle_memory PID: per process and in all, in KiB. Of a page that several processes have, RSS counts all for each of
# them, PSS a part, by all processes of the machine that have it. `together` counts each page once: the resident set of
# all of them as one.
idle_memory()
{
	local pid
	for pid in $(idle_tree "$1"); do
		awk -v name="$(cat "/proc/$pid/comm")" '$1 == "Rss:" { rss = $2 } $1 == "Pss:" { pss = $2 }
			$1 == "Pss_Anon:" { anon = $2 }
			END { printf "{\"name\":\"%s\",\"rss\":%d,\"pss\":%d,\"anonymous\":%d}\n", name, rss, pss, anon }' \
			"/proc/$pid/smaps_rollup"
	done | jq -cs '{ processes: ., rss: (map(.rss) | add), pss: (map(.pss) | add) }' |
		jq -c --argjson together "$(idle_tree "$1" | xargs /usr/bin/python3 scripts/lib/idle-pages)" '. + { together: $together }'
}

# idle_ns PID: processor time of all of them so far, in nanoseconds, with that of children that have ended
idle_ns()
{
	local pid
	for pid in $(idle_tree "$1"); do
		cat /proc/"$pid"/task/*/schedstat | awk '{ print $1 }'
		# behind the name, which may have blanks: fields 16 and 17 are the ended children's, in ticks
		sed 's/.*) //' "/proc/$pid/stat" | awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000000000 / hz }'
	done | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# idle_percent PID SECONDS: of one processor, on average over that time
idle_percent()
{
	local before after begun
	begun=$(date +%s%N) before=$(idle_ns "$1")
	sleep "$2"
	after=$(idle_ns "$1")
	awk -v used=$((after - before)) -v time=$(($(date +%s%N) - begun)) 'BEGIN { printf "%.3f\n", used * 100 / time }'
}

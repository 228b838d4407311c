# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Running a ring of tests and reading its result. A ring is any command that
# ends with the line "N passed, N failed, N skipped"; a test that it skips is a
# line "skip NAME: REASON".

COUNT_LINE='^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$'

# ring_count LOG: prints "passed failed skipped" of the last count line; fails if there is none.
ring_count()
{
	local line
	line=$(grep -aE "$COUNT_LINE" "$1" | tail -n 1)
	[ -n "$line" ] || return 1
	echo "$line" | tr -dc '0-9 \n' | tr -s ' '
}

# ring_skips RING LOG: prints "RING: NAME<TAB>REASON" for each skip.
ring_skips()
{
	sed -nE "s/^skip ([^:]+): *(.*)\$/$1: \1\t\2/p" "$2"
}

# is_expected NAME FILE: whether the list holds exactly this "RING: TEST", or that with " (may run)" behind it.
is_expected()
{
	[ -e "$2" ] && grep -qxF -e "$1" -e "$1 (may run)" -- "$2"
}

# ring_judge RING LOG STATUS EXPECTED: prints "passed failed skipped" as they count for the sum, then one
# line "! TEXT" for each thing that is wrong and "- TEXT" for each thing worth saying.
# A ring that crashes, prints no count or miscounts its skips is a failure whatever else it says.
ring_judge()
{
	local ring=$1 log=$2 status=$3 expected=$4
	local passed=0 failed=0 skipped=0 counted listed=0 name reason notes=''

	if read -r passed failed skipped < <(ring_count "$log"); then
		if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
			failed=1
			notes+="! ended with status $status$(status_text "$status") although it counts no failure"$'\n'
		elif [ "$status" -eq 0 ] && [ "$failed" -ne 0 ]; then
			notes+="! counts $failed failed but ended with status 0"$'\n'
		fi
	else
		passed=0 failed=1 skipped=0
		notes+="! printed no count and ended with status $status$(status_text "$status")"$'\n'
	fi
	counted=$skipped
	while IFS=$'\t' read -r name reason; do
		listed=$((listed + 1))
		if is_expected "$name" "$expected"; then
			notes+="- skipped, as expected: $name: $reason"$'\n'
		else
			notes+="! skipped, not expected: $name: $reason"$'\n'
			failed=$((failed + 1)) skipped=$((skipped - 1))
		fi
	done < <(ring_skips "$ring" "$log")
	if [ "$listed" -ne "$counted" ]; then
		notes+="! lists $listed skips but counts $counted"$'\n'
		failed=$((failed + 1))
		[ "$skipped" -ge 0 ] || skipped=0
	fi
	notes+=$(sed -n 's/^# again /- judged again, alone: /p' "$log"; unexpected_runs "$ring" "$log" "$expected")
	printf '%s %s %s\n%s' "$passed" "$failed" "$skipped" "$notes"
}

# Expected skips of a ring that ran after all: worth taking off the list.
unexpected_runs()
{
	local ring=$1 log=$2 expected=$3 name

	[ -e "$expected" ] || return 0
	grep "^$ring: " "$expected" | grep -v ' (may run)$' | while IFS= read -r name; do
		ring_skips "$ring" "$log" | cut -f 1 | grep -qxF -- "$name" ||
			echo "- ran, although tests/expected-skips lists it: $name"
	done
}

status_text()
{
	case $1 in
	124) echo " (timed out)" ;;
	1[3-9][0-9]) echo " (signal $(($1 - 128)))" ;;
	esac
}

# Sums of run_script, for print_count, and what each script added to them.
passed=0 failed=0 skipped=0
declare -A counts=()

# run_script NAME COMMAND...: runs a script of tests, prints its lines with NAME in front and adds to the sums.
run_script()
{
	local name=$1 log status p f s notes started=$SECONDS
	shift

	echo "== $name"
	log=$(mktemp) || exit 1
	"$@" < /dev/null 2>&1 | tee "$log" | grep --line-buffered -avE "$COUNT_LINE" |
		sed -uE "s#^(ok|not ok|skip) #\1 $name/#"
	status=${PIPESTATUS[0]}
	ring_skips "$name" "$log" | cut -f 1 > "$log.skips"
	{
		read -r p f s
		notes=$(sed -n 's/^! //p')
	} < <(ring_judge "$name" "$log" "$status" "$log.skips")
	rm -f "$log" "$log.skips"
	[ -z "$notes" ] || echo "not ok $name: ${notes//$'\n'/; }"
	add_counts "$name" "$p" "$f" "$s"
	echo "# $name: $((SECONDS - started)) s"
}

# add_counts NAME PASSED FAILED SKIPPED
add_counts()
{
	counts[$1]="$2 $3 $4"
	passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
}

# run_aside FOLDER NAME COMMAND: one of run_scripts, in a shell of its own
run_aside()
{
	passed=0 failed=0 skipped=0
	run_script "$2" "$3" "$2" > "$1/$2.log" 2>&1
	cat "$1/$2.log"
	echo "$passed $failed $skipped" > "$1/$2.count"
}

# run_scripts JOBS COMMAND NAME...: run_script NAME COMMAND NAME for each, JOBS of them at a time. Of several, each is
# heard when it has ended.
run_scripts()
{
	local jobs=$1 command=$2 name folder running=0 p f s
	shift 2

	if [ "$jobs" -le 1 ]; then
		for name in "$@"; do
			run_script "$name" "$command" "$name"
		done
		return
	fi
	folder=$(mktemp -d) || exit 1
	for name in "$@"; do
		if [ $running -eq "$jobs" ]; then
			wait -n
			running=$((running - 1))
		fi
		run_aside "$folder" "$name" "$command" &
		running=$((running + 1))
	done
	wait
	for name in "$@"; do
		p=0 f=1 s=0
		[ ! -s "$folder/$name.count" ] || read -r p f s < "$folder/$name.count"
		add_counts "$name" "$p" "$f" "$s"
	done
	rm -rf "$folder"
}

# More failures than these are not chance.
AGAIN_MOST=3

# run_again COMMAND NAME...: those of them that failed, if they are few, once more and alone; the second result
# counts. For tests that judge times: a machine that stands still at the wrong moment fails them, and they cannot
# always tell. "# again NAME" in the log says so, and ring_judge() repeats it.
run_again()
{
	local command=$1 name p f s repeated=()
	shift

	for name in "$@"; do
		read -r p f s <<< "${counts[$name]}"
		[ "$f" -eq 0 ] || repeated+=("$name")
	done
	[ ${#repeated[@]} -gt 0 ] && [ ${#repeated[@]} -le $AGAIN_MOST ] || return 0
	for name in "${repeated[@]}"; do
		read -r p f s <<< "${counts[$name]}"
		passed=$((passed - p)) failed=$((failed - f)) skipped=$((skipped - s))
		echo "# again $name: $f failed beside other work"
		run_script "$name" "$command" "$name"
	done
}

# The count line of all that ran; fails when something did.
print_count()
{
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
}

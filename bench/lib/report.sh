# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# From rounds to JSON lines. A benchmark writes one line "VALUE [REFERENCE]" per
# round into a file, the two measured one right after the other.

# What all of bench/*.sh begin with: the root of the tree, the build, a folder for files.
# bench_begin NAME
bench_begin()
{
	BENCH=$1
	BUILD=${BUILD:-build}
	# shellcheck disable=SC2034 # for the benchmarks
	BIN=$BUILD/bin TOOLS=$BUILD/tools
	[ "$(id -u)" -eq 0 ] || die "needs root"
	DIR=$(mktemp -d) || exit 1
	trap bench_end EXIT
	trap 'exit 1' INT TERM HUP
}

# A benchmark that has more to clean up adds the names of functions to this.
CLEANUPS=()

bench_end()
{
	local status=$? cleanup
	trap - EXIT
	for cleanup in "${CLEANUPS[@]}"; do
		"$cleanup"
	done
	rm -rf "$DIR"
	exit "$status"
}

die()
{
	echo "$BENCH: $*" >&2
	exit 1
}

# median FILE [COLUMN]
median()
{
	cut -d' ' -f"${2:-1}" "$1" | sort -g |
		awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# report NAME UNIT FILE [CONDITION...]: medians of the rounds in FILE. `ratio` is the median of the
# rounds' own ratios: what disturbs a round disturbs both of its halves. A CONDITION is value<=N, ratio>=N
# and so on; together they are the target.
report()
{
	local name=$1 unit=$2 file=$3 reference=null ratio=null
	shift 3
	[ -s "$file" ] || die "$name: nothing was measured"
	if [ "$(awk '{ print NF; exit }' "$file")" -eq 2 ]; then
		reference=$(median "$file" 2)
		awk '$2 != 0 { print $1 / $2 }' "$file" > "$file.ratio"
		[ ! -s "$file.ratio" ] || ratio=$(median "$file.ratio")
	fi
	jq -nc --arg name "$name" --argjson value "$(median "$file")" --arg unit "$unit" --argjson reference "$reference" \
		--argjson ratio "$ratio" --slurpfile rounds <(cut -d' ' -f1 "$file") --arg target "$*" '
		def rounded: if . == null then . else . as $x | ($x | fabs) as $a |
			(if $a >= 100 then 1 elif $a >= 1 then 100 else 10000 end) as $unit |
			($x * $unit | round) / $unit end;
		def holds($c): ($c | capture("^(?<left>value|ratio)(?<op><=|>=)(?<right>[0-9.]+)$")) as $m |
			({value: $value, ratio: $ratio}[$m.left]) as $left | ($m.right | tonumber) as $right |
			$left != null and (if $m.op == "<=" then $left <= $right else $left >= $right end);
		{name: $name, value: ($value | rounded), unit: $unit, reference: ($reference | rounded),
			ratio: ($ratio | rounded), spread: [($rounds | min | rounded), ($rounds | max | rounded)],
			rounds: ($rounds | length)} +
		if $target == "" then {} else {target: $target,
			met: (($target / " ") | all(. as $c | holds($c)))} end' || die "$name: cannot report"
}

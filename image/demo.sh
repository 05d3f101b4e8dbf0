#!/bin/bash
# The demo: three virtual nodes, one program that leaves home while it runs, and comes back. Started by
# `./mkiso.sh demo`, which has built what it boots.
#
# 1. Three virtual machines boot the netboot files and find each other.
# 2. An ordinary program runs once on n1 without Limosa, for comparison.
# 3. It runs again under `limosa run`, is sent to n2, home, to n3 and home, while its output is shown.
# 4. Both outputs are compared.
#
# Whatever happens, ^C included, the virtual machines are gone at the end: the lab is bound to this process.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

lab=target/x86_64-unknown-linux-gnu/release/lab
name=demo-$$
lines=60
# How much one line of output takes: a third of a second or more in an emulated machine.
work=2500
# Longest wait for a line of output before something must be wrong.
patience_s=60

directory=$(mktemp -d)
program_job=
finish() {
	trap - EXIT INT TERM
	"$lab" down --name "$name" >/dev/null 2>&1 || true
	[[ -z $program_job ]] || wait "$program_job" 2>/dev/null || true
	rm -rf "$directory"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [[ -t 1 ]]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
on() {
	local node=$1
	shift
	"$lab" exec --name "$name" "$node" -- "$@"
}
# Shows a command as one would type it on the node, and runs it there.
show() {
	printf '%s%s# %s%s\n' "$bold" "$1" "${*:2}" "$plain"
	on "$@"
}
# A number that a JSON answer (standard input) has under a name.
number() { sed -n "s/.*\"$1\": *\([0-9.]*\).*/\1/p" | sed -n 1p; }
lines_so_far() { wc -l <"$directory/away"; }
wait_for_line() {
	local deadline=$((SECONDS + patience_s))
	until (($(lines_so_far) >= $1)); do
		if ! kill -0 "$program_job" 2>/dev/null; then
			echo "the program ended early" >&2
			exit 1
		elif ((SECONDS > deadline)); then
			echo "no line $1 within $patience_s s" >&2
			exit 1
		fi
		sleep 0.1
	done
}
migrate() {
	local answer freeze_ms
	answer=$(on n1 limosa migrate "$pid" "$1" --json)
	freeze_ms=$(LC_ALL=C printf '%.0f' "$(number freeze_ms <<<"$answer")")
	echo "$freeze_ms" >>"$directory/freezes"
	printf '%sn1# limosa migrate %s %s%s   frozen for %s ms\n' "$bold" "$pid" "$1" "$plain" "$freeze_ms"
}

say "Three PCs boot (virtual ones, emulated without KVM: real ones are much faster)"
started=$SECONDS
"$lab" up --name "$name" --vm --nodes 3 --owner $$ >"$directory/up"
echo "They found each other by themselves. That took $((SECONDS - started)) s."
show n1 limosa nodes

say "An ordinary program on n1: awk, counting primes. First without Limosa, for comparison"
on n1 sh -c 'cat >/tmp/demo.awk <<\END
'"$(<image/demo.awk)"'
END'
program=(awk -v "lines=$lines" -v "work=$work" -f /tmp/demo.awk)
started=$SECONDS
on n1 "${program[@]}" >"$directory/home"
echo "$lines lines in $((SECONDS - started)) s. The last:"
tail -n 1 "$directory/home"

say "The same under limosa run, and this time it travels"
printf '%sn1# limosa run %s%s\n' "$bold" "${program[*]}" "$plain"
: >"$directory/away"
on n1 limosa run "${program[@]}" > >(tee "$directory/away" | sed -u 's/^/      /') &
program_job=$!
wait_for_line 3
pid=$(on n1 limosa ps --json | number pid)
[[ -n $pid ]] || { echo "limosa ps does not know the program" >&2; exit 1; }

for stay in n2 n3; do
	migrate $stay
	wait_for_line $(($(lines_so_far) + 5))
	show n1 limosa ps
	# The deputy waits in pause(2) for calls to make; the work shows in the other node's process list.
	show n1 grep State: "/proc/$pid/status"
	printf '%s%s# top%s\n' "$bold" "$stay" "$plain"
	on $stay top -b -n 1 | sed -n '/PID/p; /awk/p'
	migrate home
	wait_for_line $(($(lines_so_far) + 4))
done
show n1 limosa ps
status=0
wait "$program_job" || status=$?
program_job=

say "It ended with exit status $status"
if [[ $status -ne 0 ]] || ! cmp "$directory/home" "$directory/away"; then
	echo "The travelled program's output is NOT that of the one that stayed." >&2
	exit 1
fi
echo "All $lines lines are byte for byte those of the run that stayed at home."
echo "It was frozen for $(paste -sd ' ' "$directory/freezes" | sed 's/ /, /g') ms while it moved (emulated machines)."

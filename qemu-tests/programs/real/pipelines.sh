# Pipelines, substitutions, here-documents, subshells, loops that read, coprocesses, statuses of each part.
set -u -o pipefail

for ((turn = 1; turn <= 4 * SCALE; turn++)); do
	seq 1 2000 | grep -v "$turn" | sort -r | awk '{ sum += $1 } END { print NR, sum }'
	words=$(printf '%s\n' one two three "turn $turn" | tr a-z A-Z | tee words.txt | wc -c)
	echo "$words $(<words.txt)" | tr '\n' ' '
	echo
	while read -r number text; do
		echo "$((number * turn)) ${text^^}"
	done < <(for number in 1 2 3; do echo "$number text$number"; done)
	(cd / && pwd; exit 3)
	echo "subshell: $?"
	false | true | sh -c 'cat >/dev/null; exit 4' | cat
	echo "parts: ${PIPESTATUS[*]}"
	cat <<-END | sed 's/turn/Turn/' >>log.txt
		turn $turn of $((4 * SCALE))
	END
done
coproc upper { while read -r line; do echo "${line^^}"; done; }
for word in alpha beta gamma; do
	echo "$word" >&"${upper[1]}"
	read -r answer <&"${upper[0]}"
	echo "$answer"
done
exec {upper[1]}>&-
wait
wc -l <log.txt

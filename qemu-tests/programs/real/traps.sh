# Traps of signals, errors and the end; waiting that a signal ends; children that are killed; nested shells.
set -u -E

trap 'echo "end with $?"' EXIT
trap 'echo "failed in line $LINENO"' ERR
heard=0
trap 'heard=$((heard + 1)); echo "heard USR1 ($heard)"' USR1
trap 'echo "heard TERM"' TERM

for ((turn = 1; turn <= 3 * SCALE; turn++)); do
	before=$heard
	(sleep 0.05; kill -USR1 $$) &
	child=$!
	# It ends with the signal, or with the child if the signal came first.
	wait "$child" || true
	while [ "$heard" -eq "$before" ]; do sleep 0.01; done
	sleep 1000 &
	# Before it is a sleeper it is still a shell that hears TERM.
	until [ "$(</proc/$!/comm)" = sleep ]; do sleep 0.01; done
	kill -TERM $!
	wait $!
	echo "turn $turn: sleeper ended with $?"
	kill -TERM $$
	false
	bash -c 'trap "echo inner end" EXIT; trap "exit 9" INT; kill -INT $$; echo never'
	echo "inner: $?"
done
(trap 'echo "subshell end"' EXIT; exit 5)
echo "subshell: $?"
timeout 0.1 sleep 1000
echo "timeout: $?"
exit 6

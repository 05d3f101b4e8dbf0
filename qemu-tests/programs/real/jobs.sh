# Job control in a script: groups, background jobs, stop, continue, kill, wait.
set -m

for ((turn = 1; turn <= 2 * SCALE; turn++)); do
	sleep 1000 &
	sleep 1000 | cat &
	for job in %1 %2; do
		# Until they are what they will be, they are still shells.
		for pid in $(jobs -p $job); do until [ "$(</proc/$pid/comm)" != bash ]; do sleep 0.01; done; done
	done
	jobs
	kill -STOP %1
	until [[ $(jobs %1) == *Stopped* ]]; do sleep 0.01; done
	echo stopped
	bg %1
	kill %2
	wait %2
	echo "second: $?"
	kill -KILL %1
	wait %1
	echo "first: $?"
	(exit "$turn") &
	wait $!
	echo "turn $turn: $?"
	sh -c 'kill -STOP $$; echo continued' &
	until [[ $(jobs %?continued) == *Stopped* ]]; do sleep 0.01; done
	fg %?continued >/dev/null
	echo "foreground: $?"
done 2>&1

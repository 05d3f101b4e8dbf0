# The demo's program: an ordinary awk script that counts primes and looks about itself. It knows nothing of
# Limosa, needs no terminal, and its output is the same wherever it runs.
#
# awk -v lines=40 -v work=2000 -f demo.awk

function pid_now(    line, field) {
	getline line < "/proc/self/stat"
	close("/proc/self/stat")
	split(line, field, " ")
	return field[1]
}

function host_now(    line) {
	getline line < "/proc/sys/kernel/hostname"
	close("/proc/sys/kernel/hostname")
	return line
}

function is_prime(number,    divisor) {
	if (number % 2 == 0) return number == 2
	for (divisor = 3; divisor * divisor <= number; divisor += 2)
		if (number % divisor == 0) return 0
	return number > 1
}

BEGIN {
	pid = pid_now()
	for (line = 1; line <= lines; line++) {
		for (step = 0; step < work; step++) {
			number++
			if (is_prime(number)) { count++; sum = (sum * 31 + number) % 1000003 }
		}
		same = pid_now() == pid ? "pid as at the start" : "PID CHANGED"
		printf "line %2d  %5d primes below %6d  checksum %6d  host %s  %s\n", \
			line, count, number, sum, host_now(), same
		fflush()
	}
}

"""Children with pipes, environments, working directories, statuses and signals."""

import os
import signal
import subprocess
import sys

SCALE = int(os.environ["SCALE"])

for turn in range(2 * SCALE):
    text = "\n".join(f"{(turn * 7919 + line * 104729) % 10007}" for line in range(3000))
    ordered = subprocess.run(["sort", "-n"], input=text, capture_output=True, text=True, check=True).stdout
    print(turn, len(ordered), sum(map(int, ordered.split()[:100])))
    first = subprocess.Popen(["seq", "20000"], stdout=subprocess.PIPE)
    second = subprocess.Popen(["grep", "7"], stdin=first.stdout, stdout=subprocess.PIPE)
    third = subprocess.Popen(["wc", "-l"], stdin=second.stdout, stdout=subprocess.PIPE, text=True)
    first.stdout.close()
    second.stdout.close()
    print(turn, third.communicate()[0].strip(), first.wait(), second.wait(), third.returncode)
    failed = subprocess.run(["sh", "-c", "echo $VALUE; pwd >&2; exit 7"], env={"VALUE": str(turn)}, cwd="/", capture_output=True)
    print(turn, failed)
    sleeper = subprocess.Popen(["sleep", "1000"])
    sleeper.send_signal(signal.SIGTERM)
    print(turn, "sleeper", sleeper.wait())
    worker = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(sum(n * n for n in range(int(sys.stdin.read()))))"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(turn, worker.communicate("300000")[0].strip(), worker.returncode)
    pid = os.fork()
    if pid == 0:
        os._exit(turn % 50)
    print(turn, "forked", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

//! Interpreters, with all that they do by themselves.

use crate::journeys::{Allowance, Mode, native, travel};
use crate::programs::Program;

/// Runs the program in every mode and compares.
fn conforms(program: &Program) {
    let allowance = Allowance {
        comes_home: true,
        ..Allowance::default()
    };
    let wanted = native(program);
    for mode in Mode::ALL.into_iter().skip(1) {
        let (outcome, _) = travel(program, mode, &allowance, 1);
        assert_eq!(outcome, wanted, "{} {mode:?}", program.name);
    }
}

const PYTHON: &str = "
import os, sys, threading, time, json, hashlib, tempfile
gate = os.environ['GATE']
results = set()
def work(n):
    while True:
        results.add((n, hashlib.sha256(bytes(range(256)) * 200 * n).hexdigest()))
        json.loads(json.dumps({str(i): i for i in range(500)}))
        time.sleep(0.003)
        if os.path.exists(gate): return
threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
with tempfile.TemporaryFile() as f:
    f.write(b'x' * 3000000); f.seek(0); print(len(f.read()))
print(sorted(results))
import subprocess
print(subprocess.run(['echo', 'child'], capture_output=True).stdout)
sys.exit(3)
";

#[test]
fn python_with_threads_files_and_children_prints_the_same() {
    conforms(&Program::command("/usr/bin/python3", &["-c", PYTHON]));
}

const SHELL: &str = "
i=0
while :; do
  i=$((i+1)); x=$(echo $((6*7)) | tr 4 5); [ \"$x\" = 52 ] || exit 9
  [ -e \"$GATE\" ] && break
done
trap 'echo trapped' USR1; kill -USR1 $$; cd /usr && pwd; (exit 4); echo $?; exit 6
";

#[test]
fn shells_run_their_pipelines() {
    for shell in ["/usr/bin/dash", "/usr/bin/bash"] {
        conforms(&Program::command(shell, &["-c", SHELL]));
    }
}
